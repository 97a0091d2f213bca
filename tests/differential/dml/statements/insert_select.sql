-- Rows of queries: of another store, of the same one, of the table itself, of both.
INSERT INTO target.things (_id, name, price, qty, ratio) SELECT _id, name, price, qty, ratio FROM other.sources
INSERT INTO target.things (_id, name) SELECT _id + 20, upper(name) FROM other.sources WHERE qty > 5 ORDER BY _id DESC
INSERT INTO target.things (_id, name, qty) SELECT s._id + 40, t.name, s.qty + 1 FROM other.sources s JOIN target.things t ON t._id = s.item
INSERT INTO target.things (_id, name) SELECT _id + 100, name FROM target.things WHERE _id < 10
INSERT INTO target.things (_id, name) SELECT _id + 1000, name FROM target.things
INSERT INTO target.things (_id, qty) SELECT 200 + item, sum(qty) FROM other.sources WHERE item IS NOT NULL GROUP BY item HAVING count(*) > 1
INSERT INTO target.things (_id, name) SELECT 301, 'a' UNION ALL SELECT 302, name FROM other.sources WHERE _id = 11
INSERT INTO target.things (_id, name) SELECT 311, NULL UNION SELECT 312, NULL
INSERT INTO target.things (_id) SELECT g FROM generate_series(400, 405) g
INSERT INTO target.things (_id, name) SELECT v.a, v.b FROM (VALUES (410, 'x'), (411, NULL)) AS v (a, b)
WITH picked AS (SELECT _id, name FROM other.sources WHERE item = 2) INSERT INTO target.things (_id, name) SELECT _id + 500, name FROM picked
INSERT INTO target.things (_id, name) WITH picked AS (SELECT 520 AS a, 'inside' AS b) SELECT a, b FROM picked
INSERT INTO target.things (_id, name) SELECT _id + 600, name FROM other.sources WHERE false
INSERT INTO target.things (_id, name) SELECT _id + 600, name FROM other.sources WHERE name = 'nobody at all'
INSERT INTO target.things (_id, name) SELECT _id + 700, name FROM other.sources s WHERE NOT EXISTS (SELECT 1 FROM target.things t WHERE t._id = s.item)
INSERT INTO target.things (_id, name) SELECT _id + 800, 'row ' || row_number() OVER (ORDER BY _id) FROM other.sources ORDER BY _id LIMIT 3
INSERT INTO target.things (_id, qty) SELECT _id + 900, price FROM other.sources WHERE price < 50
INSERT INTO target.things (_id, name) SELECT _id + 900, qty FROM other.sources WHERE price > 50
INSERT INTO target.things (_id, price) SELECT _id + 2000, ratio FROM other.sources
-- A row that fails, or that is there already, leaves nothing.
INSERT INTO target.things (_id, name) SELECT _id, 'again' FROM other.sources
INSERT INTO target.things (_id, qty) SELECT 3000 + _id, 10 / (qty - 20) FROM other.sources
INSERT INTO target.things (_id, qty) SELECT 3100 + _id, name FROM other.sources
INSERT INTO target.things (_id, ok) SELECT 3200 + _id, qty FROM other.sources
INSERT INTO target.things (_id, name) SELECT _id FROM other.sources
INSERT INTO target.things (_id) SELECT _id, name FROM other.sources
INSERT INTO target.things (_id, name) SELECT 3300 + _id, t.name FROM other.sources
-- Of more rows than one edit has, and of more than fit into one batch.
INSERT INTO target.things (_id, name, qty) SELECT g + 10000, 'row ' || g, g FROM generate_series(1, 2500) g
INSERT INTO target.things (_id, name) SELECT g + 12400, 'clash' FROM generate_series(1, 700) g
DELETE FROM target.things WHERE _id > 10000
