-- What statements of the typed generator showed, made small.
SELECT t1.id, t2.id AS other, sum(t2.wide) OVER (PARTITION BY t1.id ORDER BY t1.id) AS s, count(*) OVER () AS n FROM crm.clients AS t1 JOIN crm.stock AS t2 ON t1.id = t2.id WHERE t1.id <> 1
SELECT id, wide + id AS a, id - wide AS b, wide - (SELECT max(id) FROM shop.products) AS c, sum(wide) OVER (ORDER BY id) AS d FROM crm.stock WHERE id IN (3, 12, 21)
SELECT a + 0 AS a, 0 - a AS b, 3 + a AS c, a - 3 AS d, a * 2 AS e FROM (SELECT 0.00000000000000000000::numeric * length(name) AS a FROM shop.customers WHERE id = 1) AS t
SELECT t2.id AS a, t2.id AS b, t2.name AS c, count(*) AS n FROM shop.customers AS t2 WHERE t2.id < 4 GROUP BY 1, 2, 3
SELECT id, wait, name, count(*) FROM shop.customers WHERE id < 4 GROUP BY id, customers.id, 2, name, 3
SELECT 1 AS one FROM (SELECT t2.id AS a, t2.id AS b, t2.name AS c, count(*) AS n FROM shop.customers AS t2 WHERE t2.id = 1 GROUP BY 1, 2, 3) AS t
SELECT t1.id AS a, t1.id AS b, t1.name AS c, count(*) AS n FROM shop.customers AS t1 JOIN crm.clients AS t2 ON t1.id = t2.id GROUP BY 1, 2, 3
SELECT id, lag('') OVER (ORDER BY id) AS a FROM shop.products
SELECT id, lead(NULL, 2) OVER (ORDER BY id) AS a FROM shop.products
SELECT id, first_value('x') OVER (ORDER BY id) AS a FROM shop.products
SELECT id, last_value(NULL) OVER (ORDER BY id) AS a FROM shop.products
SELECT id, nth_value('x', 2) OVER (ORDER BY id) AS a FROM shop.products
SELECT id, nth_value(NULL, NULL) OVER (ORDER BY id) AS a FROM shop.products
SELECT id, lag($1) OVER (ORDER BY id) AS a FROM shop.products <- x
SELECT id, lag($1::text) OVER (ORDER BY id) AS a, lag('', 1, 'x') OVER (ORDER BY id) AS b, first_value(x) OVER (ORDER BY id) AS c, lag(CASE WHEN id > 3 THEN 'y' END) OVER (ORDER BY id) AS d, lag((SELECT 'z')) OVER (ORDER BY id) AS e FROM (SELECT id, '' AS x FROM shop.products) AS t <- x
SELECT id, lag(i) OVER (ORDER BY id) AS a FROM (SELECT id, NULL AS i FROM shop.products) AS t
SELECT 12::bigint AS a FROM crm.stock ORDER BY a, id LIMIT 5
SELECT -3::bigint AS a, id FROM crm.stock ORDER BY a, id LIMIT 3 OFFSET 1000
SELECT 1::bigint AS a, 2::smallint AS b, qty FROM crm.stock ORDER BY b DESC, qty, a, id LIMIT 7
SELECT 9::int AS a, count(*) AS n FROM crm.stock GROUP BY 1 ORDER BY 1 LIMIT 2
SELECT 9::int AS a FROM archive.parcels ORDER BY a, id LIMIT 2
SELECT 9::int AS a FROM field.visits ORDER BY a, no LIMIT 2
SELECT DISTINCT 9::int AS a, qty FROM crm.stock ORDER BY a, qty LIMIT 4
SELECT id, row_number() OVER (PARTITION BY 9::int ORDER BY 7::int, id) AS n, 9::int AS a FROM crm.stock ORDER BY a, n LIMIT 4
SELECT LEAST(email, email) AS a, id FROM shop.customers INTERSECT SELECT name, id FROM shop.customers
SELECT coalesce(bin, bin) AS a, count(*) AS n FROM shop.moves GROUP BY 1 HAVING coalesce(bin, bin) > 'A'
SELECT DISTINCT GREATEST(email, name) AS a, coalesce(code, code) AS b FROM shop.customers
SELECT coalesce(code, code) AS a, count(*) AS n FROM shop.customers GROUP BY 1
SELECT d.a, 1 AS one FROM (SELECT coalesce(m.bin, m.bin) AS a, count(*) AS n, sum(e.sum) AS s, avg(1::bigint) AS v FROM shop.nothing AS e RIGHT JOIN shop.moves AS m ON e.id = m.id GROUP BY 1) AS d
SELECT coalesce(email, email) AS a, count(*) AS n FROM shop.customers GROUP BY 1 ORDER BY a NULLS FIRST, n LIMIT 5
SELECT total FROM shop.orders UNION ALL SELECT worth FROM archive.stamps WHERE owner <> 1
SELECT weight FROM archive.parcels WHERE id <> order_no UNION ALL SELECT worth FROM archive.stamps WHERE owner <> id
SELECT trim_scale(weight) AS weight FROM (SELECT weight FROM archive.parcels UNION SELECT worth FROM archive.stamps WHERE owner <> id UNION ALL SELECT total FROM shop.orders) AS t
SELECT worth FROM archive.stamps WHERE owner <> id UNION ALL SELECT 1.5
SELECT coalesce(worth, 1.5) AS a FROM archive.stamps WHERE owner < id
SELECT avg(x), min(x), max(x), count(DISTINCT x) FROM (SELECT worth AS x FROM archive.stamps WHERE owner <> id UNION ALL SELECT weight FROM archive.parcels WHERE id <> order_no) AS t
SELECT s.worth, p.weight FROM archive.stamps AS s JOIN archive.parcels AS p ON p.id = s.id WHERE s.owner <> s.id UNION ALL SELECT total, 1.5::numeric(3,2) FROM shop.orders
SELECT amount FROM field.visits WHERE client <> person UNION ALL SELECT cost FROM field.readings WHERE no <> item UNION ALL SELECT wide FROM crm.stock WHERE item <> qty
SELECT 1 AS one FROM field.readings WHERE cost = cost * cost
SELECT no, cost * cost AS a, cost + cost AS b, cost - 0.00001 AS c FROM field.readings WHERE cost <> 1
SELECT bin, sum(cost * cost) AS a, sum(cost) AS b, avg(cost * 2) AS c FROM field.readings GROUP BY bin
SELECT sum(amount * amount * amount) AS a FROM field.visits
SELECT no FROM field.readings WHERE cost * cost > $1 ORDER BY no LIMIT 5 <- 1e30
SELECT no FROM field.visits WHERE no * 4611686018427387904 > 0
SELECT upper(a) AS u, a || 'x' AS x, length(a) AS l, n FROM (SELECT coalesce(email, email) AS a, count(*) AS n FROM shop.customers GROUP BY 1 HAVING coalesce(email, email) LIKE '%@%' OR coalesce(email, email) < 'b') AS t
SELECT upper(coalesce(bin, bin)) AS u, count(*) AS n FROM shop.moves GROUP BY coalesce(bin, bin) HAVING count(*) > 1 AND lower(coalesce(bin, bin)) > 'a'
SELECT coalesce(code, code) || '!' AS a, length(coalesce(code, code)) AS l FROM shop.customers GROUP BY coalesce(code, code) HAVING coalesce(code, code) <> 'abc'
SELECT c.id, (SELECT count(*) FROM shop.orders o WHERE o.customer = c.id GROUP BY c.id) AS n FROM shop.customers c WHERE id < 9
SELECT c.id, (SELECT max(o.id) FROM shop.orders o WHERE o.customer = c.id GROUP BY c.id, o.customer, c.name) AS n FROM shop.customers c WHERE id < 9
SELECT c.id, x.* FROM shop.customers c, LATERAL (SELECT c.id AS a, o.customer AS b, c.id AS d, count(*) AS n FROM shop.orders o WHERE o.customer = c.id GROUP BY 1, 2, 3) x WHERE c.id < 9
SELECT c.id, x.* FROM shop.customers c, LATERAL (SELECT o.id AS a, o.id AS b, o.customer AS d, count(*) AS n FROM shop.orders o WHERE o.customer = c.id GROUP BY 1, 2, 3) x WHERE c.id < 9
SELECT count(*) FROM shop.products GROUP BY true
SELECT count(*) FROM shop.products GROUP BY 'x'
SELECT count(*) FROM shop.products GROUP BY GROUPING SETS ((), (NULL))
SELECT id FROM shop.products ORDER BY 1.5
SELECT DISTINCT ON (true) id FROM shop.products
SELECT id FROM shop.products UNION SELECT 1 ORDER BY ('x')
SELECT count(*) FROM shop.products GROUP BY true::boolean ORDER BY 'x'::text
SELECT upper(a) AS u, a || 'x' AS x, length(a) AS l, n FROM (SELECT coalesce(email, email) AS a, count(*) AS n FROM shop.customers GROUP BY 1 HAVING coalesce(email, email) LIKE '%@%' OR coalesce(email, email) < 'b') AS t
SELECT upper(coalesce(bin, bin)) AS u, count(*) AS n FROM shop.moves GROUP BY coalesce(bin, bin) HAVING count(*) > 1 AND lower(coalesce(bin, bin)) > 'a'
SELECT coalesce(code, code) || '!' AS a, length(coalesce(code, code)) AS l FROM shop.customers GROUP BY coalesce(code, code) HAVING coalesce(code, code) <> 'abc'
SELECT t1.id AS a, count(*) AS n FROM shop.orders AS t1 LEFT JOIN shop.products AS t2 ON t1.id = t2.id WHERE NOT (t2.id IS NOT NULL OR t2.id BETWEEN 1 AND 1) GROUP BY 1
SELECT o.id, c.name FROM shop.orders AS o LEFT JOIN shop.customers AS c ON o.customer = c.id WHERE c.id IS NULL AND c.name > 'a'
SELECT o.id FROM crm.stock AS o LEFT JOIN crm.clients AS c ON o.item = c.id WHERE c.id IS NULL AND c.city <> 'x' OR c.id < 0
SELECT o.id FROM archive.stamps AS o LEFT JOIN archive.reviews AS c ON o.owner = c.id WHERE c.id IS NULL AND c.rating > 0
SELECT o.no FROM field.visits AS o LEFT JOIN field.readings AS c ON o.no = c.no WHERE c.no IS NULL AND c.item > 0
SELECT (id % 3)::int * 2 AS a, sum(wide) AS s, every(id > 0) AS e FROM crm.clients GROUP BY ROLLUP ((id % 3)::int * 2, (city))
SELECT ((id % 10) + 1)::bigint AS a, city, count(*) AS n FROM crm.clients GROUP BY CUBE (((id % 10) + 1)::bigint, city)
SELECT (id % 4)::text AS a, tier, count(*) AS n FROM crm.clients GROUP BY GROUPING SETS (((id % 4)::text, tier), (id % 4)::text, (tier), ())
SELECT a % 2 AS b FROM (SELECT CASE WHEN NULL::text = 'x' THEN 1 END AS a FROM shop.products) AS t
SELECT (CASE WHEN NULL::boolean THEN 1.5 END) % 2 AS a, coalesce(NULL::int, NULL::int) % 2 AS b, (CASE WHEN false THEN qty END) + 1 AS c FROM crm.stock
SELECT 1 AS one FROM (SELECT t2.id::text AS a, count(*) AS n FROM archive.reviews AS t2 JOIN shop.customers AS t3 ON t2.product = t3.id GROUP BY 1) AS t
SELECT id::text AS a, count(*) AS n FROM shop.customers GROUP BY id::text
SELECT id::text::varchar(1) AS a, count(*) AS n, max(name) AS m FROM shop.customers GROUP BY 1
SELECT c.id::numeric(5, 1) AS a, count(*) AS n FROM crm.clients AS c JOIN archive.reviews AS r ON r.product = c.id GROUP BY c.id::numeric(5, 1) HAVING count(*) > 1
WITH w AS (SELECT -3::bigint::text AS a) SELECT 1 AS one FROM shop.products
WITH w AS (SELECT upper(id) AS a FROM shop.products), v AS (SELECT 1 AS b) SELECT b FROM v
WITH w AS (SELECT 1 / 0 AS a), v AS (SELECT 1 AS b) SELECT b FROM v
SELECT d.one FROM shop.order_lines AS t1 JOIN (SELECT t7.id AS a, 1 AS one FROM (SELECT count(*) AS n FROM crm.clients AS t4 JOIN shop.customers AS t5 ON t4.id = t5.id WHERE t4.id = 30) AS d6 JOIN shop.customers AS t7 ON d6.n = t7.id) AS d ON t1.id = d.a AND t1.id = 1 ORDER BY d.one, d.one, t1.id, d.a
SELECT d.one FROM shop.order_lines AS t1 JOIN (SELECT t7.id AS a, 1 AS one FROM (SELECT bool_and(t4.id IS NULL) AS b, count(*) AS n FROM crm.clients AS t4 JOIN shop.customers AS t5 ON t4.id = t5.id WHERE t4.id = 30) AS d6 JOIN shop.customers AS t7 ON d6.n = t7.id) AS d ON t1.id = d.a AND t1.id = -1 ORDER BY one, t1.id, d.a
WITH w AS MATERIALIZED (SELECT t2.id AS a FROM shop.customers AS t2 ORDER BY t2.id LIMIT 5) SELECT t5.weight AS r FROM archive.stamps AS t5 LEFT JOIN crm.calls AS t6 ON t5.code = t6.topic LEFT JOIN (SELECT * FROM crm.stock WHERE id <= 30) AS t7 ON false WHERE (t7.rate, t5.weight) IN ((1e300, -0.25), (-0.25, -0.25)) ORDER BY r, t5.id, t6.id, t7.id LIMIT 5
