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
SELECT ARRAY(WITH a AS (VALUES (1), (2)) TABLE a ORDER BY 1) AS a, EXISTS (WITH a AS (SELECT 1) TABLE a) AS b
WITH a AS (SELECT 1 AS n) SELECT q.* FROM (WITH a AS (SELECT 2 AS n) TABLE a) q, a
