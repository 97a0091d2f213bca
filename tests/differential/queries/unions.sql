-- Branches whose columns have other names, beside branches without rows.
SELECT 1 AS a, 2 AS b WHERE false UNION ALL SELECT DISTINCT b, a FROM (VALUES (1, 2)) AS v(a, b)
SELECT 1 AS a, 2 AS b WHERE false UNION ALL (SELECT b, a FROM (VALUES (1, 2)) AS v(a, b) LIMIT 5)
SELECT 1 AS a, 2 AS b WHERE false UNION ALL (SELECT b, a FROM (VALUES (1, 2)) AS v(a, b) ORDER BY a)
SELECT 1 AS a, 2 AS b WHERE false UNION ALL (SELECT b, a FROM (VALUES (1, 2)) AS v(a, b) EXCEPT SELECT a, b FROM (VALUES (1, 2)) AS v(a, b))
SELECT 1 AS a, 2 AS b WHERE false UNION ALL (SELECT DISTINCT ON (a) b, a FROM (VALUES (1, 2)) AS v(a, b) ORDER BY a)
SELECT 1 AS column2, 2 AS column1 WHERE false UNION ALL VALUES (3, 4), (5, 6)
SELECT 1 AS a, 2 AS b WHERE false UNION SELECT DISTINCT b, a FROM (VALUES (1, 2)) AS v(a, b)
(SELECT 1 AS a, 2 AS b LIMIT 0) UNION ALL SELECT DISTINCT b, a FROM (VALUES (1, 2)) AS v(a, b)
SELECT id, customer FROM shop.orders WHERE false UNION ALL SELECT DISTINCT customer, id FROM shop.orders WHERE id < 9
SELECT id, customer FROM shop.orders WHERE id < 3 UNION ALL SELECT DISTINCT customer, id FROM shop.orders WHERE false
SELECT b FROM (SELECT 1 AS a, 2 AS b WHERE false UNION ALL SELECT DISTINCT b, a FROM (VALUES (1, 2)) AS v(a, b) UNION ALL SELECT DISTINCT b, a FROM (VALUES (11, 12)) AS v(a, b)) AS s
SELECT id FROM (SELECT id, customer, total FROM shop.orders WHERE false UNION ALL SELECT DISTINCT customer, id, total FROM shop.orders WHERE id < 5 UNION ALL SELECT DISTINCT customer, id, total FROM shop.orders WHERE id < 3) AS s
SELECT id FROM shop.customers WHERE id IN (SELECT 1 WHERE false UNION ALL SELECT DISTINCT customer FROM shop.orders WHERE id < 9)
SELECT id FROM shop.customers WHERE id IN (SELECT a FROM (SELECT 1 AS a, 2 AS b WHERE false UNION ALL SELECT DISTINCT customer, id FROM shop.orders) AS s)
SELECT c.id, (SELECT sum(s.b) FROM (SELECT 1 AS a, 2 AS b WHERE false UNION ALL SELECT DISTINCT o.id, o.customer FROM shop.orders o WHERE o.customer = c.id) AS s) AS n FROM shop.customers c
SELECT count(*) AS n, sum(a) AS a, min(b) AS b FROM (SELECT 1 AS a, 2 AS b WHERE false UNION ALL SELECT DISTINCT b, a FROM (VALUES (1, 2), (3, 4)) AS v(a, b)) AS s
SELECT a, b FROM (VALUES (1, 2)) AS t(a, b) EXCEPT SELECT b, a FROM (VALUES (1, 2)) AS t(a, b) WHERE false
SELECT a, b FROM (VALUES (1, 2)) AS t(a, b) WHERE false EXCEPT SELECT b, a FROM (VALUES (1, 2)) AS t(a, b)
SELECT a, b FROM (VALUES (1, 2)) AS t(a, b) INTERSECT SELECT b, a FROM (VALUES (1, 2)) AS t(a, b) WHERE false
-- Unions inside unions of other types: the branches of the inner one become branches of the outer one.
(SELECT DISTINCT a, b FROM (VALUES (1, 2)) AS v(a, b) UNION ALL SELECT DISTINCT b, a FROM (VALUES (10, 20)) AS v(a, b)) UNION ALL SELECT 1::bigint, 2::bigint
SELECT 1::bigint AS x, 2::bigint AS y UNION ALL (SELECT DISTINCT a, b FROM (VALUES (1, 2)) AS v(a, b) UNION ALL SELECT DISTINCT b, a FROM (VALUES (10, 20)) AS v(a, b))
(SELECT 1 AS a, 2 AS b UNION ALL (SELECT b, a FROM (VALUES (1, 2)) AS v(a, b) LIMIT 5)) UNION ALL SELECT 1.5, 2.5
(SELECT id, customer FROM shop.orders WHERE id < 3 UNION ALL SELECT DISTINCT customer, id FROM shop.orders WHERE id < 5) UNION ALL SELECT 1.0, 2.0
-- Row counts whose sum no count holds.
SELECT x FROM generate_series(1, 10) AS g(x) ORDER BY x LIMIT 9223372036854775807 OFFSET 5
SELECT count(*) AS n FROM ((SELECT id FROM shop.orders UNION ALL SELECT id FROM shop.customers) LIMIT 9223372036854775807 OFFSET 5) AS s
SELECT count(*) AS n FROM (SELECT o.id FROM shop.orders o, shop.products p LIMIT 9223372036854775807 OFFSET 5) AS s
SELECT count(*) AS n FROM (SELECT o.id FROM shop.orders o LEFT JOIN shop.customers c ON c.id = o.customer LIMIT 9223372036854775807 OFFSET 5) AS s
SELECT count(*) AS n FROM (SELECT * FROM (SELECT * FROM (SELECT id FROM shop.orders OFFSET 9223372036854775807) AS x OFFSET 9223372036854775807) AS y OFFSET 9223372036854775807) AS z
SELECT count(*) AS n FROM (SELECT id FROM shop.orders ORDER BY total LIMIT 9223372036854775807 OFFSET 9223372036854775807) AS s
SELECT count(*) AS n FROM (SELECT id FROM archive.parcels LIMIT 9223372036854775807 OFFSET 2) AS s
SELECT count(*) AS n FROM (SELECT id FROM crm.clients LIMIT 9223372036854775807 OFFSET 2) AS s
SELECT count(*) AS n FROM (SELECT no FROM field.visits LIMIT 9223372036854775807 OFFSET 2) AS s
SELECT count(*) AS n FROM (SELECT id FROM shop.orders LIMIT $1 OFFSET $2) AS s <- 9223372036854775807 <- 3
-- Orders that repeat a key, and DISTINCT ON.
SELECT customer, id FROM shop.orders ORDER BY customer, customer DESC, id DESC, id LIMIT 9
SELECT DISTINCT ON (customer) customer, id, total FROM shop.orders ORDER BY customer, id DESC
SELECT DISTINCT ON (customer, status) customer, status, id FROM shop.orders ORDER BY customer, customer DESC, status DESC, id
SELECT DISTINCT ON (customer) customer, id FROM shop.orders ORDER BY id
-- Columns that are called as the engine calls its own.
SELECT alias1, count(DISTINCT b) AS n FROM (VALUES (1, 2), (1, 3), (2, 2)) AS v(alias1, b) GROUP BY alias1
SELECT alias2, count(DISTINCT b) AS n, sum(b) AS s FROM (VALUES (1, 2), (1, 3), (2, 2)) AS v(alias2, b) GROUP BY alias2
SELECT group_alias_1, b + 1 AS c, count(DISTINCT b) AS n FROM (VALUES (1, 2), (1, 3), (2, 2)) AS v(group_alias_1, b) GROUP BY group_alias_1, b + 1
SELECT v."__key_1", n, count(*) AS c FROM (VALUES (1, 1.5::text::numeric), (1, 1.5), (2, 1.5)) AS v("__key_1", n) GROUP BY 1, 2
SELECT v."__first_1", n, count(*) AS c FROM (VALUES (1, 1.5::text::numeric), (1, 1.5), (2, 1.5)) AS v("__first_1", n) GROUP BY 1, 2
SELECT "__common_expr_1", "__common_expr_2", (a * 2) % 7 + 1 AS x, (a * 2) % 7 + 2 AS y FROM (VALUES (5, 9, 8)) AS v("__common_expr_1", "__common_expr_2", a)
SELECT "__correlated_sq_1".id FROM shop.customers "__correlated_sq_1" JOIN shop.customers "__correlated_sq_2" USING (id) WHERE "__correlated_sq_1".id IN (SELECT customer FROM shop.orders WHERE id < 9)
-- Aggregates of distinct values.
SELECT string_agg(DISTINCT x, x) AS a FROM (VALUES ('a'), ('b'), ('a')) AS v(x)
SELECT y, string_agg(DISTINCT x, x) AS a, count(DISTINCT x) AS n FROM (VALUES ('a', 1), ('b', 1), ('a', 2), ('a', 2)) AS v(x, y) GROUP BY y
SELECT string_agg(DISTINCT x, ',') AS a, string_agg(DISTINCT x, NULL) AS b FROM (VALUES ('b'), ('a'), ('a'), (NULL)) AS v(x)
SELECT string_agg(DISTINCT x, d ORDER BY x, d) AS a, string_agg(DISTINCT x, d ORDER BY d DESC, x) AS b, string_agg(DISTINCT x, d ORDER BY x DESC) AS c FROM (VALUES ('b', '1'), ('a', '2'), ('a', '3'), ('a', '3'), ('c', NULL)) AS v(x, d)
SELECT string_agg(DISTINCT x, ',' ORDER BY x) FILTER (WHERE x > 'a') AS a, count(DISTINCT x) FILTER (WHERE x < 'c') AS n FROM (VALUES ('b'), ('a'), ('a'), ('c')) AS v(x)
SELECT string_agg(DISTINCT x, ',' ORDER BY y) AS a FROM (VALUES ('b', 1), ('a', 2)) AS v(x, y)
SELECT string_agg(DISTINCT y::text, ',' ORDER BY y) AS a FROM (VALUES ('b', 1), ('a', 2)) AS v(x, y)
SELECT status, string_agg(DISTINCT status, ';') AS a, count(DISTINCT customer) AS n FROM shop.orders GROUP BY status
SELECT count(DISTINCT a, b) AS n FROM (VALUES (1, 2)) AS v(a, b)
SELECT count(a, b) AS n FROM (VALUES (1, 2)) AS v(a, b)
SELECT count() AS n FROM (VALUES (1, 2)) AS v(a, b)
SELECT count(DISTINCT *) AS n FROM (VALUES (1, 2)) AS v(a, b)
SELECT count(DISTINCT a) AS n, sum(DISTINCT b) AS s, sum(f) AS f FROM (VALUES (1, 2, 0.1::float8), (1, 2, 0.2), (2, 5, 0.3), (2, 2, 0.4)) AS v(a, b, f)
SELECT a, b, count(DISTINCT c) AS n, sum(c) AS s FROM (VALUES (1, 2, 3), (1, 2, 4), (2, 5, 3)) AS v(a, b, c) GROUP BY CUBE (a, b)
-- Calls and keys that differ by a cast alone.
SELECT min(x) AS a, min(x::text) AS b, max(x::float8) AS c, max(x) AS d FROM (VALUES (1), (2), (10)) AS v(x)
SELECT count(DISTINCT d) AS a, count(DISTINCT d::date) AS b FROM (VALUES (timestamp '2024-01-01 10:00'), ('2024-01-01 11:00')) AS v(d)
SELECT d::date AS a, d AS b, count(*) AS n FROM (VALUES (timestamp '2024-01-01 10:00'), ('2024-01-01 11:00')) AS v(d) GROUP BY d::date, d
SELECT d::date, d::time, count(*) FROM (VALUES (timestamp '2024-01-01 10:00'), ('2024-01-01 11:00')) AS v(d) GROUP BY 1, 2 ORDER BY 2
SELECT x, sum(x) OVER () AS a, sum(x::text::numeric(8,2)) OVER () AS b, lag(x::varchar) OVER (ORDER BY x) AS c, lag(x) OVER (ORDER BY x) AS d FROM (VALUES (1), (2)) AS v(x)
SELECT max(x) AS a FROM (VALUES (1), (2), (10)) AS v(x) HAVING max(x::text) = '2'
SELECT y, max(x) AS a FROM (VALUES (1, 1), (2, 1), (10, 2)) AS v(x, y) GROUP BY y ORDER BY max(x::text) DESC
SELECT status, max(total) AS a, max(total::float8) AS b, min(customer) AS c, min(customer::text) AS d FROM shop.orders GROUP BY status
SELECT x + 1 AS a, x::bigint + 1 AS b FROM (VALUES (1), (2)) AS v(x) GROUP BY x + 1, x::bigint + 1
