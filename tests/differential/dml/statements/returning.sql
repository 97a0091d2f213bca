-- New rows of INSERT and UPDATE, old ones of DELETE.
INSERT INTO target.things (_id, name, qty, price) VALUES (20, 'Ada', 3, 1.5) RETURNING _id, name, qty, price, ratio
INSERT INTO target.things (_id, name) VALUES (21, 'a'), (22, 'b'), (23, NULL) RETURNING _id AS key, upper(name) AS big, qty IS NULL AS none
INSERT INTO target.things (_id, name, qty) SELECT _id + 20, name, qty FROM other.sources WHERE qty > 5 RETURNING _id, name || '!' AS loud, qty * 2 AS twice
[shop, crm, archive] INSERT INTO target.things (_id, price) VALUES (24, 1.005) RETURNING price, price * 2 AS twice
[shop, crm, archive] INSERT INTO target.things (_id, day, noted, raw) VALUES (25, '2024-01-01', '2024-01-01 01:02:03.4', '\x00') RETURNING day, noted, raw, day + 1 AS later
[shop, crm, archive] INSERT INTO target.things (_id, ref, seen) VALUES (26, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a13', '2024-01-01 12:00+02') RETURNING ref, seen
[shop, crm, archive] INSERT INTO target.people (_id, email) VALUES (30, 'thirty@x') RETURNING *
INSERT INTO target.things (_id) VALUES (27) RETURNING 1 AS one, 'a' || 'b' AS ab
INSERT INTO target.things (_id, name) VALUES (28, 'x') RETURNING things._id, target.things.name
INSERT INTO target.things AS t (_id, name) VALUES (29, 'x') RETURNING t._id, t.name
UPDATE target.things SET qty = qty + 1 WHERE _id < 5 RETURNING _id, qty
UPDATE target.things SET name = lower(name) RETURNING _id, name, length(name) AS long
UPDATE target.things t SET qty = 0 WHERE t._id = 8 RETURNING t.*, t.qty = 0 AS zero
UPDATE target.people SET visits = visits + 1 WHERE _id = 1 RETURNING people.*
DELETE FROM target.people USING other.sources WHERE people._id = sources.item AND people._id > 1000 RETURNING sources.*, people.*
UPDATE target.things SET price = price + 1 WHERE _id IN (SELECT item FROM other.sources) RETURNING _id, price
UPDATE target.things SET qty = 5 WHERE _id = 12345 RETURNING _id
UPDATE target.things SET qty = 6 WHERE _id = 1 RETURNING CASE WHEN qty > 5 THEN 'more' ELSE 'less' END AS said
UPDATE target.things SET qty = 7 WHERE _id = 1 RETURNING (SELECT max(qty) FROM other.sources) AS most
UPDATE target.things SET qty = 7 WHERE _id = 2 RETURNING nowhere
UPDATE target.things SET qty = 8 WHERE _id = 2 RETURNING 1 / (qty - 8)
UPDATE target.things SET qty = 9 WHERE _id = 2 RETURNING sum(qty)
UPDATE target.things SET qty = s.qty FROM other.sources s WHERE s.item = things._id AND s._id = 11 RETURNING things._id, s.name
DELETE FROM target.things WHERE _id = 20 RETURNING _id, name, price
DELETE FROM target.things WHERE _id > 20 RETURNING _id, coalesce(name, 'none') AS name, ok
DELETE FROM target.things WHERE name = 'nobody at all' RETURNING *
DELETE FROM target.things WHERE _id IN (SELECT item FROM other.sources) RETURNING _id, qty
DELETE FROM target.things WHERE _id = 3 RETURNING 10 / (_id - 3)
DELETE FROM target.things RETURNING _id, seen
[shop, crm, archive] DELETE FROM target.pairs WHERE a = 1 RETURNING b, a
[shop, crm, archive] UPDATE target.pairs SET qty = 1 WHERE qty IS NULL RETURNING a, b, qty
-- Columns of the tables beside the target, and subqueries over others.
UPDATE target.people SET visits = s.qty + 100 FROM other.sources s WHERE s.item = people._id AND s._id IN (11, 12, 14) RETURNING s.*, people._id, visits
UPDATE target.people p SET note = s.name FROM other.sources AS s, target.sources u WHERE s.item = p._id AND u._id = s._id AND s._id < 13 RETURNING *
UPDATE target.people SET visits = sources.qty FROM other.sources WHERE item = people._id AND sources._id = 11 RETURNING email, item, sources.name || '!' AS loud, visits - qty AS nothing
-- refused by field: an `_id` stays as it is
UPDATE target.people SET _id = people._id + 100 FROM other.sources s WHERE s.item = people._id AND s._id <> 13 RETURNING people._id, s._id AS source, s.name
UPDATE target.people SET visits = j.most FROM (SELECT item, max(qty) AS most FROM other.sources GROUP BY item) AS j WHERE j.item + 100 = people._id RETURNING people._id, j.most, j.item
WITH best AS (SELECT item, max(qty) AS most FROM other.sources GROUP BY item) UPDATE target.people SET visits = best.most FROM best WHERE best.item + 100 = people._id RETURNING people._id, best.most, visits
UPDATE target.people SET note = 'left' FROM other.sources s LEFT JOIN target.sources u ON u._id = s._id + 5 WHERE s.item + 100 = people._id AND s._id <> 13 RETURNING people._id, s._id, u._id, u.name
UPDATE target.people SET visits = 5 RETURNING _id, (SELECT max(s.qty) FROM other.sources s WHERE s.item + 100 = people._id) AS most
UPDATE target.people SET visits = 6 RETURNING _id, EXISTS (SELECT 1 FROM other.sources s WHERE s.item = people._id) AS is_there
UPDATE target.people SET visits = 7 WHERE _id = 101 RETURNING (SELECT name FROM other.sources)
INSERT INTO target.people (_id, email, visits) VALUES (200, 'sub@x', 2) RETURNING _id, (SELECT count(*) FROM other.sources) AS many
UPDATE target.people SET visits = 8 FROM other.sources s WHERE s.item = 1 AND people._id = 200 RETURNING nowhere
UPDATE target.people SET visits = 8 FROM other.sources s WHERE s.item = 1 AND people._id = 200 RETURNING _id
DELETE FROM target.people USING other.sources s WHERE s.item = 1 AND people._id = 200 RETURNING s.name, _id
UPDATE target.people SET visits = $1 FROM other.sources s WHERE s._id = $2 AND people._id = 200 RETURNING s.name || $3 AS told, visits <- 9 <- 11 <- ?
DELETE FROM target.people USING other.sources s WHERE s.item + 100 = people._id AND s._id = 12 RETURNING people._id, s.name, s.qty
DELETE FROM target.people p USING other.sources s WHERE s._id = 11 AND p.visits = s._id - 2 RETURNING *
DELETE FROM target.people USING other.sources s WHERE s._id = 9999 RETURNING s.name, people.email
-- refused by shop, crm, archive, field: the changed table once more
DELETE FROM target.people RETURNING (SELECT count(*) FROM target.people)
DELETE FROM target.people RETURNING _id, (SELECT min(_id) FROM other.sources) AS first
