-- Names of WITH queries inside others of the same name, and of relations beside columns.
WITH a AS (SELECT id, small FROM shop.customers) SELECT x.id, a.small FROM (WITH a AS (SELECT id FROM crm.clients) SELECT id FROM a) x JOIN a ON a.id = x.id
WITH a AS (SELECT id FROM shop.customers) SELECT id FROM a WHERE id IN (WITH a AS (SELECT shop_id FROM crm.clients) SELECT a.shop_id FROM a)
WITH a AS (SELECT id FROM shop.orders WHERE id < 9), b AS (WITH a AS (SELECT id * 10 AS id FROM a) SELECT a.id, count(*) OVER () AS n FROM a) SELECT a.id, b.id AS t, b.n FROM a JOIN b ON b.id = a.id * 10
WITH a AS (WITH a AS (SELECT 1 AS n) SELECT n + 1 AS n FROM a) SELECT n FROM a
WITH a AS (SELECT 1 AS n) SELECT (WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a WHERE n < 4) SELECT sum(n) FROM a) AS s, n FROM a
WITH a AS (SELECT 1 AS n) SELECT x.n, y.n AS m FROM (WITH a AS (SELECT 2 AS n) SELECT a.* FROM a) x, (WITH "A" AS (SELECT 3 AS n) SELECT * FROM "A", a) y(n, o)
WITH a AS (SELECT 1 AS n) SELECT (WITH a AS (SELECT 2), a AS (SELECT 3) SELECT 4) AS n
WITH a AS (SELECT id, name FROM shop.customers WHERE id < 5) SELECT a.id, x.n FROM a, LATERAL (WITH a AS (SELECT k.id AS n FROM crm.clients k WHERE k.shop_id = a.id) SELECT n FROM a) x
-- TABLE behind WITH, in its queries, in parentheses, and beside ALL and DISTINCT.
WITH a AS (SELECT id FROM shop.customers WHERE id < 4) TABLE a
WITH a AS (SELECT id FROM shop.customers WHERE id < 4), b AS (TABLE a) TABLE b ORDER BY id DESC LIMIT 2
WITH a AS (SELECT 1 AS n) (TABLE a) UNION DISTINCT (TABLE a)
SELECT (WITH a AS (VALUES (1)) TABLE a) AS a, EXISTS (WITH a AS (SELECT 1) TABLE a) AS b
WITH a AS (SELECT 1 AS n) SELECT q.* FROM (WITH a AS (SELECT 2 AS n) TABLE a) q, a
-- Stars beside outputs of the same names.
SELECT t.*, t.id FROM shop.orders t ORDER BY t.id LIMIT 5
SELECT t.id, t.* FROM shop.orders t ORDER BY id LIMIT 5
SELECT *, id FROM shop.orders t ORDER BY t.id DESC LIMIT 5
SELECT orders.*, -id AS id FROM shop.orders ORDER BY orders.id LIMIT 5
SELECT t.*, -t.id AS id FROM shop.orders t ORDER BY id LIMIT 5
SELECT *, * FROM crm.calls t ORDER BY t.id LIMIT 5
SELECT DISTINCT t.id, t.* FROM shop.orders t ORDER BY t.id LIMIT 5
SELECT *, o.total FROM shop.customers c JOIN shop.orders o ON o.customer = c.id ORDER BY o.id, c.id LIMIT 3
SELECT *, u.total FROM shop.orders t JOIN shop.orders u USING (id) ORDER BY u.total, id LIMIT 3
SELECT q.id, q.total FROM (SELECT t.*, t.id AS i FROM shop.orders t) q ORDER BY q.id LIMIT 3
SELECT q.total FROM (SELECT t.*, t.id FROM shop.orders t) q ORDER BY q.total LIMIT 3
SELECT q.id FROM (SELECT t.*, t.id FROM shop.orders t) q
SELECT q.* FROM (SELECT t.*, t.id FROM shop.orders t WHERE t.id < 4) q ORDER BY 1
SELECT t.*, t.id FROM shop.orders t WHERE t.id < 3 UNION ALL SELECT t.*, t.id FROM shop.orders t WHERE t.id = 3 ORDER BY total
SELECT o.*, o.id, count(*) AS n FROM shop.orders o JOIN shop.order_lines l ON l.order_id = o.id GROUP BY o.id ORDER BY o.id LIMIT 3
-- Outputs of a subquery that are of relations around it.
SELECT o.id, x.total, x.id AS i FROM shop.orders o, LATERAL (SELECT o.*) x
SELECT x.* FROM crm.clients k, LATERAL (SELECT k.name, o.* FROM shop.orders o WHERE o.customer = k.shop_id) x ORDER BY x.id, k.id LIMIT 9
SELECT c.id, x.name, x.balance FROM shop.customers c LEFT JOIN LATERAL (SELECT c.name, balance FROM crm.clients k WHERE k.shop_id = c.id) x ON true
SELECT o.id, (SELECT count(*) FROM (SELECT o.*) q) AS n, (SELECT q.note FROM (SELECT o.note) q) AS m FROM shop.orders o
SELECT o.id FROM shop.orders o WHERE EXISTS (SELECT o.* FROM crm.clients k WHERE k.shop_id = o.customer)
SELECT a.id FROM shop.customers a, (SELECT a.*) x
-- Relations around a subquery whose name a column of it has too.
SELECT tier.id FROM shop.customers tier WHERE EXISTS (SELECT 1 FROM crm.clients k WHERE k.shop_id = tier.id AND tier > 1)
SELECT total.id, total.name, (SELECT max(total) FROM shop.orders o WHERE o.customer = total.id) AS most FROM shop.customers total WHERE total.id < 20 ORDER BY total.id
SELECT status.*, x.n FROM shop.orders status, LATERAL (SELECT count(*) AS n FROM shop.orders o WHERE o.customer = status.customer AND o.status = status.status) x ORDER BY status.id LIMIT 9
SELECT name.id FROM shop.customers AS name WHERE name.id IN (SELECT k.shop_id FROM crm.clients k WHERE k.name <> name.email)
SELECT name.id, (SELECT (SELECT count(*) FROM crm.calls l WHERE l.client = name.id) FROM crm.clients k WHERE k.id = name.id) AS n FROM shop.customers name
SELECT total.nothing FROM shop.customers total WHERE EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = total.id)
SELECT x.note, x.id, x.other FROM shop.orders minutes, LATERAL (SELECT minutes.*, l.topic AS other FROM crm.calls l WHERE l.client = minutes.id) x
-- Aliases that name the first columns only.
SELECT x.* FROM (SELECT id, customer, status FROM shop.orders) x (a, b) WHERE x.a < 9 AND x.status IS NOT NULL
SELECT x.a, x.name FROM shop.customers x (a) WHERE x.a < 9
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) v (x) ORDER BY x
WITH c (a) AS (SELECT id, name FROM shop.customers) SELECT d.b, d.name FROM c d (b) WHERE d.b < 9
SELECT x.* FROM shop.customers c, LATERAL (SELECT o.id, o.status FROM shop.orders o WHERE o.customer = c.id) x (a)
SELECT x.a FROM shop.customers x (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z, aa, bb, cc, dd, ee, ff, gg, hh, ii, jj, kk)
