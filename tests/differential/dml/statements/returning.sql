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
UPDATE target.things SET price = price + 1 WHERE _id IN (SELECT item FROM other.sources) RETURNING _id, price
UPDATE target.things SET qty = 5 WHERE _id = 12345 RETURNING _id
UPDATE target.things SET qty = 6 WHERE _id = 1 RETURNING CASE WHEN qty > 5 THEN 'more' ELSE 'less' END AS said
-- refused by shop, crm, archive, field: a subquery in RETURNING
UPDATE target.things SET qty = 7 WHERE _id = 1 RETURNING (SELECT max(qty) FROM other.sources) AS most
UPDATE target.things SET qty = 7 WHERE _id = 2 RETURNING nowhere
UPDATE target.things SET qty = 8 WHERE _id = 2 RETURNING 1 / (qty - 8)
UPDATE target.things SET qty = 9 WHERE _id = 2 RETURNING sum(qty)
-- refused by shop, crm, archive, field: columns of another table in RETURNING
UPDATE target.things SET qty = s.qty FROM other.sources s WHERE s.item = things._id AND s._id = 11 RETURNING things._id, s.name
DELETE FROM target.things WHERE _id = 20 RETURNING _id, name, price
DELETE FROM target.things WHERE _id > 20 RETURNING _id, coalesce(name, 'none') AS name, ok
DELETE FROM target.things WHERE name = 'nobody at all' RETURNING *
DELETE FROM target.things WHERE _id IN (SELECT item FROM other.sources) RETURNING _id, qty
DELETE FROM target.things WHERE _id = 3 RETURNING 10 / (_id - 3)
DELETE FROM target.things RETURNING _id, seen
[shop, crm, archive] DELETE FROM target.pairs WHERE a = 1 RETURNING b, a
[shop, crm, archive] UPDATE target.pairs SET qty = 1 WHERE qty IS NULL RETURNING a, b, qty
