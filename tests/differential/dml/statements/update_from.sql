-- Values and conditions from other tables, of other stores and of the same one.
UPDATE target.things SET qty = s.qty FROM other.sources s WHERE s.item = things._id AND s.name <> 'Bob'
UPDATE target.things SET name = s.name || ' of ' || things._id, price = s.price FROM other.sources AS s WHERE s.item = things._id AND s._id IN (11, 15)
UPDATE target.things t SET ratio = s.ratio + t.qty FROM other.sources s, target.sources u WHERE s.item = t._id AND u._id = s._id AND s._id = 12
UPDATE target.things SET name = 'met' FROM other.sources s WHERE s.item = things._id
UPDATE target.things SET name = 'not met' FROM other.sources s WHERE s.item = things._id AND s.qty > 1000
UPDATE target.things SET qty = (SELECT max(qty) FROM other.sources) WHERE _id = 3
UPDATE target.things SET qty = (SELECT sum(s.qty) FROM other.sources s WHERE s.item = things._id) WHERE _id < 5
UPDATE target.things SET name = (SELECT name FROM other.sources WHERE _id = 9999) WHERE _id = 4
UPDATE target.things SET name = (SELECT name FROM other.sources) WHERE _id = 5
UPDATE target.things SET ok = EXISTS (SELECT 1 FROM other.sources s WHERE s.item = things._id)
UPDATE target.things SET price = 1 WHERE _id IN (SELECT item FROM other.sources WHERE qty > 10)
UPDATE target.things SET price = 2 WHERE _id NOT IN (SELECT item FROM other.sources)
UPDATE target.things SET price = 3 WHERE _id NOT IN (SELECT item FROM other.sources WHERE item IS NOT NULL)
UPDATE target.things SET price = 4 WHERE EXISTS (SELECT 1 FROM other.sources s WHERE s.name = things.name)
UPDATE target.things SET price = 5 WHERE qty > (SELECT avg(qty) FROM other.sources)
UPDATE target.things SET qty = 6 WHERE _id = (SELECT min(_id) FROM target.things)
UPDATE target.things SET qty = (SELECT count(*) FROM target.things t WHERE t._id < things._id)
WITH best AS (SELECT item, max(qty) AS most FROM other.sources GROUP BY item) UPDATE target.things SET qty = best.most FROM best WHERE best.item = things._id
UPDATE target.things SET qty = s.qty FROM other.sources s JOIN target.sources u ON u._id = s._id WHERE s.item = things._id AND u.qty > 5 AND s._id <> 12
UPDATE target.things SET (name, qty) = (SELECT name, qty FROM other.sources WHERE _id = 11) WHERE _id = 1
UPDATE target.things SET (name, qty) = (SELECT s.name, s.qty FROM other.sources s WHERE s.item = things._id AND s._id <> 13) WHERE _id < 8
UPDATE target.things SET (qty, price) = (SELECT max(qty), 1.5 FROM other.sources) WHERE _id = 2
UPDATE target.things SET (qty, name) = (SELECT qty, name FROM other.sources) WHERE _id = 2
UPDATE target.things SET (qty, name) = (SELECT qty, name FROM other.sources WHERE false) WHERE _id = 2
UPDATE target.things SET (qty, name) = (SELECT qty FROM other.sources WHERE _id = 11) WHERE _id = 2
UPDATE target.things SET (qty, name) = (VALUES (5, 'five')) WHERE _id = 2
UPDATE target.things SET (qty, name) = ROW(qty + 1, upper(name)) WHERE _id = 2
UPDATE target.things SET (qty, name) = ROW(1) WHERE _id = 2
UPDATE target.things SET (qty, name) = (SELECT name, qty FROM other.sources WHERE _id = 11) WHERE _id = 2
UPDATE target.things SET (qty) = (SELECT qty FROM other.sources WHERE _id = 12) WHERE _id = 2
-- Each column has a subquery of its own, which may not read another row.
-- refused by shop, crm, archive, field: rows are picked by their order
UPDATE target.things SET (qty, name) = (SELECT qty, name FROM other.sources WHERE item = 2 ORDER BY item LIMIT 1) WHERE _id = 2
-- refused by shop, crm, archive, field: the same in the statement's WITH
WITH one AS (SELECT qty, name FROM other.sources WHERE item = 2 LIMIT 1) UPDATE target.things SET (qty, name) = (SELECT qty, name FROM one) WHERE _id = 2
UPDATE target.things SET (qty) = (SELECT qty FROM other.sources ORDER BY _id LIMIT 1) WHERE _id = 2
WITH best AS (SELECT max(qty) AS most, min(name) AS first FROM other.sources WHERE _id < 12) UPDATE target.things SET (qty, name) = (SELECT most, first FROM best) WHERE _id = 2
UPDATE target.things SET (qty, name) = (SELECT * FROM other.sources) WHERE _id = 2
UPDATE target.things SET (qty, name) = ((SELECT qty, name FROM other.sources WHERE _id = 11)) WHERE _id = 2
UPDATE target.things SET (qty, name) = ((6, 'six')) WHERE _id = 2
UPDATE target.things SET (qty) = ROW(7) WHERE _id = 2
-- refused by shop, crm, archive, field: as by PostgreSQL
UPDATE target.things SET (qty) = (5) WHERE _id = 2
-- One row is left by the condition, and two values of it are looked up.
UPDATE target.people AS t SET (note, visits) = (SELECT min(u.name), count(*) FROM other.sources u WHERE u.item = t._id) WHERE EXISTS (SELECT 1 FROM target.things u WHERE u._id = t._id AND u._id = 2)
-- A read that a join does not need to its end.
UPDATE target.things AS t SET (name, qty) = (SELECT min(u.name), count(*) FROM other.sources u WHERE u.item = t._id) WHERE NOT (t.qty BETWEEN 0 AND 15)
