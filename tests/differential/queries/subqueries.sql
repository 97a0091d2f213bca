-- Subqueries, EXISTS, set operations, CTEs, windows, VALUES, arrays, documents.
SELECT id FROM shop.customers WHERE id IN (SELECT customer FROM shop.orders WHERE total > 100)
SELECT id FROM shop.customers WHERE id NOT IN (SELECT customer FROM shop.orders WHERE total > 100)
SELECT id FROM shop.customers WHERE id NOT IN (SELECT customer FROM shop.orders WHERE total > 100 AND customer IS NOT NULL)
SELECT id FROM shop.customers c WHERE EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id AND o.total > 10)
SELECT id FROM shop.customers c WHERE NOT EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id AND o.total > 10) AND c.small > 2
SELECT id FROM shop.customers WHERE id IN (SELECT shop_id FROM crm.clients WHERE name = 'Ada')
SELECT id FROM crm.clients WHERE shop_id IN (SELECT id FROM shop.customers WHERE active) AND name = 'zoe'
SELECT id FROM crm.clients k WHERE EXISTS (SELECT 1 FROM field.visits v WHERE v.client = k.id AND v.open) AND NOT EXISTS (SELECT 1 FROM crm.calls l WHERE l.client = k.id AND l.minutes > 5)
SELECT id FROM crm.clients WHERE name IN (SELECT name FROM shop.customers)
SELECT id FROM shop.customers WHERE name IN (SELECT name FROM crm.clients WHERE id < 10)
SELECT no FROM field.visits WHERE client IN (SELECT id FROM crm.clients WHERE city = 'Oslo') AND person IN (SELECT id FROM shop.customers WHERE balance > 0)
SELECT id, (SELECT max(total) FROM shop.orders o WHERE o.customer = c.id) AS most FROM shop.customers c
SELECT id, (SELECT count(*) FROM crm.clients k WHERE k.shop_id = c.id) AS n FROM shop.customers c WHERE c.id < 30
SELECT id, (SELECT sum(p.weight) FROM archive.parcels p WHERE p.order_no = o.id) AS w FROM shop.orders o
SELECT id FROM shop.orders o WHERE total > (SELECT avg(total) FROM shop.orders i WHERE i.customer = o.customer)
SELECT id FROM shop.orders WHERE total > (SELECT avg(total) FROM shop.orders)
SELECT (SELECT max(id) FROM shop.customers) AS a, (SELECT min(name) FROM crm.clients) AS b, (SELECT count(*) FROM field.visits) AS c
SELECT id, (SELECT id FROM shop.orders) AS a FROM shop.customers
SELECT id FROM shop.customers WHERE small > ALL (SELECT tier FROM crm.clients WHERE tier < 3 AND tier > 0)
SELECT id FROM shop.customers WHERE small = ANY (SELECT tier FROM crm.clients)
SELECT id FROM shop.customers WHERE small > ANY (ARRAY[5, 6])
SELECT id FROM shop.customers WHERE small <> ALL (ARRAY[1, 2, 3])
SELECT id FROM shop.customers WHERE id = ANY ($1) <- {1,3,5}
SELECT small FROM shop.customers UNION SELECT tier FROM crm.clients
SELECT small FROM shop.customers UNION ALL SELECT line_no FROM shop.order_lines
SELECT small FROM shop.customers INTERSECT SELECT tier FROM crm.clients
SELECT small FROM shop.customers INTERSECT ALL SELECT tier FROM crm.clients
SELECT small FROM shop.customers EXCEPT SELECT tier FROM crm.clients
SELECT small FROM shop.customers EXCEPT ALL SELECT tier FROM crm.clients
SELECT name FROM shop.customers UNION SELECT name FROM crm.clients UNION SELECT label FROM archive.parcels UNION SELECT mood FROM field.visits
SELECT name FROM crm.clients EXCEPT SELECT name FROM shop.customers
SELECT name FROM crm.clients INTERSECT SELECT name FROM shop.customers
SELECT id, balance FROM shop.customers UNION ALL SELECT id, credit FROM crm.clients UNION ALL SELECT id, weight FROM archive.parcels UNION ALL SELECT no, amount FROM field.visits
SELECT 1 AS a UNION SELECT 1.5 UNION SELECT NULL
SELECT 'a' AS a UNION SELECT NULL UNION ALL SELECT 'a'
SELECT wait FROM shop.customers WHERE id < 13 UNION SELECT INTERVAL '31 days' UNION SELECT NULL
SELECT 1 AS a UNION SELECT 'x'
(SELECT id FROM shop.customers ORDER BY id LIMIT 2) UNION ALL (SELECT id FROM shop.orders ORDER BY id DESC LIMIT 2) ORDER BY 1
WITH rich AS (SELECT id, balance FROM shop.customers WHERE balance > 50) SELECT r.id, o.id AS o FROM rich r JOIN shop.orders o ON o.customer = r.id
WITH a AS (SELECT id FROM shop.customers WHERE small = 1), b AS (SELECT shop_id FROM crm.clients WHERE shop_id IN (SELECT id FROM a)) SELECT count(*), count(DISTINCT shop_id) FROM b
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10) SELECT i, i * i AS square FROM n ORDER BY i
WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT (i * 2) % 7 FROM n) SELECT i FROM n
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT n.i, c.name FROM n JOIN shop.customers c ON c.id = n.i
WITH RECURSIVE t(id) AS (SELECT id FROM shop.customers WHERE id = 1 UNION ALL SELECT c.id FROM t JOIN shop.customers c ON c.id = t.id * 2) SELECT id FROM t ORDER BY id
WITH RECURSIVE t(id) AS (SELECT 1::bigint UNION ALL SELECT e.id FROM t JOIN (SELECT c.id FROM shop.customers c WHERE EXISTS (SELECT 1 FROM crm.clients x WHERE x.id = c.id)) e ON e.id = t.id + 1 WHERE t.id < 9) SELECT id FROM t ORDER BY id
WITH RECURSIVE t(id) AS (SELECT 1::bigint UNION ALL SELECT c.id FROM t JOIN shop.customers c ON c.id = t.id + 1 WHERE c.id < 30 AND NOT EXISTS (SELECT 1 FROM crm.clients x WHERE x.id = c.id + 1000000)) SELECT count(*), max(id) FROM t
WITH t(a, b) AS (VALUES (1, 'x'), (2, NULL)) SELECT * FROM t
VALUES (1, 'a'), (2, 'b'), (NULL, NULL)
VALUES (1), (2.5)
SELECT * FROM (VALUES (1, 'a'), (2, NULL)) AS v(n, t) WHERE n > 1
SELECT c.id, v.t FROM shop.customers c JOIN (VALUES (1, 'one'), (3, 'three')) AS v(n, t) ON v.n = c.id
SELECT id, row_number() OVER (ORDER BY id) AS a, rank() OVER (ORDER BY small NULLS FIRST) AS b, dense_rank() OVER (ORDER BY small) AS c FROM shop.customers
SELECT id, sum(small) OVER (PARTITION BY active ORDER BY id) AS a, avg(balance) OVER (PARTITION BY small) AS b, count(*) OVER () AS c FROM shop.customers
SELECT id, lag(id) OVER (ORDER BY id) AS a, lead(id, 2, 0) OVER (ORDER BY id) AS b, first_value(name) OVER (PARTITION BY small ORDER BY id) AS c, last_value(id) OVER (PARTITION BY small ORDER BY id) AS d FROM shop.customers
SELECT id, sum(total) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS a, max(total) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS b FROM shop.orders
SELECT id, ntile(4) OVER (ORDER BY id) AS a, percent_rank() OVER (ORDER BY id) AS b, cume_dist() OVER (ORDER BY id) AS c, nth_value(id, 3) OVER (ORDER BY id) AS d FROM shop.products
SELECT name, id, rank() OVER (PARTITION BY name ORDER BY id) AS r FROM crm.clients
SELECT label, id, row_number() OVER (PARTITION BY label ORDER BY weight, id) AS r FROM archive.parcels
SELECT id, rank() OVER (ORDER BY wide) AS a, rank() OVER (ORDER BY wait) AS b, rank() OVER (ORDER BY code) AS c FROM shop.customers
SELECT * FROM (SELECT id, small, row_number() OVER (PARTITION BY small ORDER BY id DESC) AS r FROM shop.customers) t WHERE r <= 2
SELECT small, sum(count(*)) OVER (ORDER BY small) AS running FROM shop.customers GROUP BY small
SELECT id, sum(small) OVER w AS a, count(small) OVER w AS b FROM shop.customers WINDOW w AS (PARTITION BY level ORDER BY id)
SELECT id, unnest(marks) AS m FROM shop.customers
SELECT c.id, t.tag FROM shop.customers c, unnest(c.tags) AS t(tag)
SELECT c.id, t.tag, t.place FROM shop.customers c CROSS JOIN LATERAL unnest(c.tags) WITH ORDINALITY AS t(tag, place)
SELECT v.no, t.tag FROM field.visits v, unnest(v.tags) AS t(tag) WHERE v.no < 20
SELECT t.tag, count(*) FROM field.visits v, unnest(v.tags) AS t(tag) GROUP BY t.tag
SELECT unnest(ARRAY[1, 2, NULL]) AS a
SELECT * FROM unnest(ARRAY['a', 'b']) AS t(x)
SELECT id, marks[1] AS a, array_length(marks, 1) AS b, cardinality(tags) AS c, marks || 9 AS d, array_append(tags, 'z') AS e FROM shop.customers
SELECT id, tags @> ARRAY['a'] AS a, tags && ARRAY['b', 'Ü'] AS b, array_position(tags, 'b') AS c FROM shop.customers
SELECT no, scores[1] AS a, cardinality(scores) AS b, array_length(tags, 1) AS c, tags[2] AS d FROM field.visits
SELECT id, tags[1] AS a, cardinality(tags) AS b FROM archive.reviews
SELECT no, (address).city AS city FROM field.visits ==> SELECT no, address->>'city' AS city FROM field.visits
SELECT no, (address).zip AS zip FROM field.visits WHERE (address).zip > 0 ==> SELECT no, (address->>'zip')::bigint AS zip FROM field.visits WHERE (address->>'zip')::bigint > 0
SELECT no, (address).geo.lat AS lat FROM field.visits WHERE (address).city = 'Oslo' ==> SELECT no, (address->'geo'->>'lat')::float8 AS lat FROM field.visits WHERE address->>'city' = 'Oslo'
SELECT (address).city AS city, count(*), sum((address).zip) AS zips FROM field.visits GROUP BY (address).city ==> SELECT address->>'city' AS city, count(*), sum((address->>'zip')::bigint) AS zips FROM field.visits GROUP BY address->>'city'
SELECT id, (author).name AS name, (author).age AS age FROM archive.reviews WHERE (author).age > 0 ==> SELECT id, author->>'name' AS name, (author->>'age')::bigint AS age FROM archive.reviews WHERE (author->>'age')::bigint > 0
SELECT v.no, c.name FROM field.visits v JOIN shop.customers c ON c.name = (v.address).city OR c.id = (v.address).zip ==> SELECT v.no, c.name FROM field.visits v JOIN shop.customers c ON c.name = v.address->>'city' OR c.id = (v.address->>'zip')::bigint
SELECT no FROM field.visits WHERE (address).geo.lon IS NULL AND (address).city IS NOT NULL ==> SELECT no FROM field.visits WHERE address->'geo'->>'lon' IS NULL AND address->>'city' IS NOT NULL
SELECT no, address->>'city' AS city FROM field.visits
SELECT id, prefs->>'a' AS a, prefs->'b' AS b FROM shop.customers
SELECT * FROM generate_series(1, 5) AS g(i)
SELECT i, c.name FROM generate_series(1, 5) AS g(i) LEFT JOIN shop.customers c ON c.id = g.i
SELECT generate_series(1, 3) AS g
SELECT d FROM generate_series(DATE '2024-01-30', DATE '2024-02-02', INTERVAL '1 day') AS g(d)
SELECT c.id, t.id AS o FROM shop.customers c, LATERAL (SELECT o.id FROM shop.orders o WHERE o.customer = c.id) t WHERE c.id < 20
SELECT c.id, t.m FROM shop.customers c LEFT JOIN LATERAL (SELECT max(o.total) AS m FROM shop.orders o WHERE o.customer = c.id) t ON true
SELECT id FROM customers WHERE id = 3
SELECT no FROM visits WHERE no = 3
SELECT nope FROM shop.customers
SELECT id FROM shop.nope
SELECT id FROM nope.customers
SELECT id FROM shop.customers WHERE
SELECT nope(1)
SELECT id FROM shop.customers a JOIN crm.clients b ON a.id = b.id
SELECT 1 AS a WHERE false
SELECT FROM shop.products
SELECT id FROM shop.customers FOR UPDATE
SELECT id FROM (SELECT id FROM shop.customers FOR UPDATE) AS s
SELECT c.id, EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id) AS e, NOT EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id AND o.total > 10) AS n FROM shop.customers c
SELECT c.id, EXISTS (SELECT 1 FROM shop.orders WHERE total > 100) AS e, EXISTS (SELECT 1 FROM shop.nothing) AS n FROM shop.customers c
SELECT id, id IN (SELECT customer FROM shop.orders) AS a, id NOT IN (SELECT customer FROM shop.orders) AS b, id IN (SELECT customer FROM shop.orders WHERE customer IS NOT NULL) AS c, id NOT IN (SELECT customer FROM shop.orders WHERE customer IS NOT NULL) AS d FROM shop.customers
SELECT id, small IN (SELECT tier FROM crm.clients) AS a, small NOT IN (SELECT tier FROM crm.clients WHERE tier IS NOT NULL) AS b, small IN (SELECT tier FROM crm.clients WHERE false) AS c, small NOT IN (SELECT tier FROM crm.clients WHERE false) AS d FROM shop.customers
SELECT id, small = ANY (SELECT tier FROM crm.clients) AS a, small <> ALL (SELECT tier FROM crm.clients) AS b, small > ANY (SELECT tier FROM crm.clients) AS c, small > ALL (SELECT tier FROM crm.clients WHERE tier < 3) AS d, small <= ALL (SELECT tier FROM crm.clients WHERE false) AS e FROM shop.customers
SELECT id, small IN (SELECT k.tier FROM crm.clients k WHERE k.shop_id = c.id) AS a, small NOT IN (SELECT k.tier FROM crm.clients k WHERE k.shop_id = c.id) AS b FROM shop.customers c
SELECT id, balance IN (SELECT total FROM shop.orders) AS a, wide IN (SELECT total FROM shop.orders) AS b, name IN (SELECT name FROM crm.clients) AS c FROM shop.customers
SELECT id, NULL IN (SELECT id FROM shop.orders) AS a, NULL NOT IN (SELECT id FROM shop.nothing) AS b, 1 IN (SELECT NULL::int) AS c FROM shop.customers WHERE id < 4
SELECT id, CASE WHEN EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id) THEN 'buys' WHEN c.id IN (SELECT shop_id FROM crm.clients) THEN 'calls' ELSE 'none' END AS k FROM shop.customers c
SELECT id FROM shop.customers c WHERE EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id AND o.total > 50) OR c.small = 1 OR c.id IN (SELECT shop_id FROM crm.clients WHERE tier = 2)
SELECT id FROM shop.customers c WHERE NOT (c.small IN (SELECT tier FROM crm.clients WHERE tier > 1) AND c.active)
SELECT id FROM shop.customers c WHERE (c.small NOT IN (SELECT k.tier FROM crm.clients k WHERE k.shop_id = c.id)) IS NULL
SELECT id FROM shop.customers c WHERE c.small NOT IN (SELECT k.tier FROM crm.clients k WHERE k.shop_id = c.id)
SELECT id FROM shop.customers c WHERE c.id NOT IN (SELECT o.customer FROM shop.orders o WHERE o.total > c.small)
SELECT id, name FROM shop.customers c ORDER BY EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id) DESC, id
SELECT id FROM shop.customers c ORDER BY (SELECT count(*) FROM shop.orders o WHERE o.customer = c.id) DESC, c.id IN (SELECT shop_id FROM crm.clients), id
SELECT c.id, (SELECT o.total FROM shop.orders o WHERE o.customer = c.id ORDER BY o.id DESC LIMIT 1) AS last FROM shop.customers c
SELECT c.id, (SELECT o.total FROM shop.orders o WHERE o.customer = c.id ORDER BY o.total DESC NULLS LAST, o.id LIMIT 1 OFFSET 1) AS second FROM shop.customers c
SELECT c.id, (SELECT o.id FROM shop.orders o WHERE o.total > c.small ORDER BY o.total, o.id LIMIT 1) AS next FROM shop.customers c
SELECT c.id, (SELECT k.name FROM crm.clients k WHERE k.shop_id = c.id AND k.tier >= c.small ORDER BY k.id LIMIT 1) AS k FROM shop.customers c
SELECT c.id, (SELECT k.credit FROM crm.clients k WHERE k.id = c.id) AS k, (SELECT v.mood FROM field.visits v WHERE v.no = c.id) AS m FROM shop.customers c
SELECT c.id, (SELECT o.id FROM shop.orders o WHERE o.customer = c.id) AS a FROM shop.customers c
SELECT c.id, (SELECT o.id FROM shop.orders o WHERE o.customer > c.id) AS a FROM shop.customers c WHERE c.id < 3
SELECT c.id, (SELECT DISTINCT o.customer FROM shop.orders o WHERE o.customer = c.id) AS a FROM shop.customers c
SELECT c.id, (SELECT count(DISTINCT o.total) FROM shop.orders o WHERE o.customer = c.id) AS a, (SELECT count(*) FROM shop.orders o WHERE o.total < c.balance) AS b FROM shop.customers c
SELECT c.id, (SELECT sum(o.total) FROM shop.orders o WHERE o.customer = c.id HAVING count(*) > 1) AS a FROM shop.customers c
SELECT c.id, (SELECT count(*) FROM shop.orders o WHERE o.customer = c.id HAVING count(*) < 2) AS a FROM shop.customers c
SELECT c.id, (SELECT o.customer FROM shop.orders o WHERE o.customer = c.id GROUP BY o.customer HAVING sum(o.total) > 10) AS a FROM shop.customers c
SELECT c.id, (SELECT max(t.n) FROM (SELECT count(*) AS n FROM shop.orders o WHERE o.customer = c.id GROUP BY o.total) t) AS a FROM shop.customers c
SELECT c.id, (SELECT string_agg(o.id::text, ',' ORDER BY o.id) FROM shop.orders o WHERE o.customer = c.id) AS a, (SELECT array_agg(o.id ORDER BY o.id DESC) FROM shop.orders o WHERE o.customer = c.id) AS b FROM shop.customers c
SELECT c.id, (SELECT c.small + count(*) FROM shop.orders o WHERE o.customer = c.id) AS a, (SELECT c.name) AS b, (SELECT c.small + 1 WHERE c.active) AS d FROM shop.customers c
SELECT c.id, (SELECT coalesce(sum(o.total), 0) FROM shop.orders o WHERE o.customer = c.id AND o.total > c.small) AS a FROM shop.customers c
SELECT c.id, (SELECT x FROM (SELECT o.id AS x FROM shop.orders o WHERE o.customer = c.id UNION ALL SELECT k.id FROM crm.clients k WHERE k.shop_id = c.id) u ORDER BY x LIMIT 1) AS a FROM shop.customers c
SELECT c.id, (SELECT count(*) FROM shop.orders o WHERE o.customer = c.id AND EXISTS (SELECT 1 FROM shop.order_lines l WHERE l.order_id = o.id AND l.line_no > c.small)) AS a FROM shop.customers c
SELECT c.id, EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id AND o.id IN (SELECT l.order_id FROM shop.order_lines l)) AS a FROM shop.customers c
SELECT small, count(*) FILTER (WHERE EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id)) AS a, sum((SELECT count(*) FROM shop.orders o WHERE o.customer = c.id)) AS b FROM shop.customers c GROUP BY small
SELECT EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id) AS e, count(*) FROM shop.customers c GROUP BY EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id)
SELECT EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id) AS e, count(*) FROM shop.customers c GROUP BY 1
SELECT c.id, t.id AS o FROM shop.customers c LEFT JOIN LATERAL (SELECT o.id FROM shop.orders o WHERE o.customer = c.id ORDER BY o.id DESC LIMIT 2) t ON true
SELECT c.id, t.id AS o FROM shop.customers c CROSS JOIN LATERAL (SELECT o.id FROM shop.orders o WHERE o.customer = c.id ORDER BY o.total DESC, o.id LIMIT 1) t
SELECT c.id, t.id AS o, t.total FROM shop.customers c LEFT JOIN LATERAL (SELECT o.id, o.total FROM shop.orders o WHERE o.customer = c.id) t ON t.total > c.small
SELECT c.id, t.n FROM shop.customers c LEFT JOIN LATERAL (SELECT count(*) AS n FROM shop.orders o WHERE o.customer = c.id) t ON t.n > 0
SELECT c.id, t.n FROM shop.customers c JOIN LATERAL (SELECT count(*) AS n FROM shop.orders o WHERE o.customer = c.id) t ON t.n < 2
SELECT c.id, t.n, u.m FROM shop.customers c, LATERAL (SELECT count(*) AS n FROM shop.orders o WHERE o.customer = c.id) t, LATERAL (SELECT t.n + c.small AS m) u
SELECT c.id, x.v FROM shop.customers c, LATERAL (VALUES (c.id), (c.small), (NULL)) AS x(v)
SELECT c.id, x.v FROM shop.customers c CROSS JOIN LATERAL (SELECT o.total FROM shop.orders o WHERE o.customer = c.id UNION ALL SELECT k.credit FROM crm.clients k WHERE k.shop_id = c.id) AS x(v)
SELECT c.id, t.r, t.o FROM shop.customers c JOIN LATERAL (SELECT o.id AS o, row_number() OVER (ORDER BY o.total, o.id) AS r FROM shop.orders o WHERE o.customer = c.id) t ON t.r <= 2
SELECT c.id, t.o FROM shop.customers c LEFT JOIN LATERAL (SELECT DISTINCT ON (o.customer) o.id AS o FROM shop.orders o WHERE o.customer = c.id ORDER BY o.customer, o.id DESC) t ON true
SELECT c.id, o.id AS o FROM shop.customers c LEFT JOIN shop.orders o ON o.customer = c.id AND EXISTS (SELECT 1 FROM shop.order_lines l WHERE l.order_id = o.id)
SELECT c.id, k.id AS k FROM shop.customers c JOIN crm.clients k ON k.shop_id = c.id AND (k.tier IN (SELECT line_no FROM shop.order_lines) OR c.active)
SELECT c.id, wide IN (SELECT d.wide FROM shop.customers d WHERE d.id > c.id) AS a, code IN (SELECT d.code FROM shop.customers d WHERE d.id <> c.id) AS b, wait IN (SELECT d.wait FROM shop.customers d WHERE d.id <> c.id) AS w FROM shop.customers c
SELECT id, (SELECT v.mood FROM field.visits v WHERE v.person = c.id AND v.client IN (SELECT k.id FROM crm.clients k WHERE k.shop_id = c.id) ORDER BY v.no LIMIT 1) AS m FROM shop.customers c
SELECT id, row_number() OVER (ORDER BY EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id), id) AS r FROM shop.customers c
SELECT DISTINCT EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id) AS e FROM shop.customers c
SELECT (SELECT id, name FROM shop.customers WHERE id = 1) AS a
SELECT id FROM shop.customers WHERE id IN (SELECT id, name FROM shop.customers)
SELECT c.id, o.id AS o FROM shop.customers c LEFT JOIN shop.orders o ON o.customer = c.id AND c.id IN (SELECT k.shop_id FROM crm.clients k) AND o.total > 10
SELECT t.id, (SELECT count(*) FROM shop.orders o WHERE o.total < t.small) AS n FROM (SELECT id, small FROM shop.customers ORDER BY id LIMIT 5) AS t
SELECT t.id, (SELECT count(*) FROM shop.orders o WHERE o.customer = t.id) AS n, (SELECT o.id FROM shop.orders o WHERE o.customer = t.id ORDER BY o.id LIMIT 1) AS f FROM (SELECT id FROM shop.customers ORDER BY id LIMIT 5) AS t

-- A scalar subquery without a row is NULL, whatever its column is.
SELECT (SELECT 1 WHERE false) AS a, (SELECT 1 WHERE false) IS NULL AS b, coalesce((SELECT 2 WHERE false), 3) AS c
SELECT (SELECT id FROM shop.customers WHERE id = -1) IS NULL AS a, (SELECT id FROM shop.customers WHERE id = -1) IS DISTINCT FROM 1 AS b
SELECT count(*) AS n FROM shop.customers WHERE (SELECT 1 WHERE false) IS NULL
SELECT count(*) AS n FROM shop.customers WHERE (SELECT id FROM shop.customers WHERE id = -1) IS NOT NULL
SELECT CASE WHEN (SELECT id FROM shop.customers WHERE id = -1) IS NULL THEN 'none' ELSE 'some' END AS a, (SELECT count(*) FROM shop.customers WHERE id = -1) IS NULL AS b

-- What would be computed once for equal rows, or lose its order.
SELECT c.id, (SELECT random() < 2 AND c.id > 0) AS a FROM shop.customers c
SELECT c.id, (SELECT x FROM (SELECT o.id AS x FROM shop.orders o WHERE o.customer = c.id ORDER BY o.id DESC) s LIMIT 1) AS latest FROM shop.customers c ORDER BY c.id

-- The order inside a subquery is what LIMIT outside of it counts by.
SELECT x FROM (SELECT id AS x FROM shop.customers ORDER BY id DESC) s LIMIT 3

-- Outputs that are called as a column that a condition of the subquery reads: casts to the type of the operand, and aliases.
SELECT t1.id FROM shop.customers t1 JOIN shop.customers t2 ON t1.id = t2.id WHERE t1.id = ALL (SELECT t3.id FROM shop.products t3 WHERE t3.id = t1.id AND t3.id >= 1)
SELECT t1.id FROM shop.customers t1 WHERE t1.id > ANY (SELECT t3.id::bigint FROM shop.products t3 WHERE t3.id <= t1.id)
SELECT t1.id FROM shop.customers t1 WHERE t1.id > ANY (SELECT t3.price AS id FROM shop.products t3 WHERE t3.id <= t1.id)
SELECT t1.id FROM shop.customers t1 WHERE t1.id > ANY (SELECT t4.id FROM shop.products t3 JOIN shop.order_lines t4 ON t3.id = t4.id WHERE t4.id <= t1.id AND t3.id < t1.id)
SELECT t1.id FROM shop.customers t1 WHERE EXISTS (SELECT t3.released - date '2000-01-01' AS id FROM shop.products t3 WHERE t3.id = t1.id)
SELECT t1.id FROM shop.customers t1 WHERE t1.id < (SELECT max(t3.id) AS id FROM shop.products t3 WHERE t3.id = t1.id)
SELECT t1.id, (SELECT max(t3.price) AS id FROM shop.products t3 WHERE t3.id = t1.id) AS price FROM shop.customers t1
SELECT t1.id FROM shop.customers t1 WHERE t1.id IN (SELECT y.id FROM (SELECT t3.price AS id FROM shop.products t3 WHERE t3.id <= t1.id) y)
SELECT t1.id FROM shop.customers t1 WHERE t1.id > ANY (SELECT y.id FROM (SELECT t3.price AS id FROM shop.products t3 WHERE t3.id <= t1.id) y)
SELECT t1.id FROM shop.customers t1 WHERE t1.id <= (SELECT y.id FROM (SELECT max(t3.id) AS id FROM shop.products t3 WHERE t3.id = t1.id) y)
SELECT t1.id FROM shop.customers t1 WHERE EXISTS (SELECT y.id FROM (SELECT t3.price AS id FROM shop.products t3 WHERE t3.id = t1.id) y WHERE y.id > 3)
SELECT t1.id FROM shop.customers t1 WHERE EXISTS (SELECT y.id FROM (SELECT t4.id FROM shop.products t3 JOIN shop.order_lines t4 ON t3.id = t4.order_id WHERE t3.id = t1.id) y WHERE y.id > 3)
SELECT t1.id, l.id AS released FROM shop.customers t1, LATERAL (SELECT t3.released AS id FROM shop.products t3 WHERE t3.id = t1.id) l
SELECT t1.id, l.id AS released FROM shop.customers t1 LEFT JOIN LATERAL (SELECT t3.released AS id FROM shop.products t3 WHERE t3.id = t1.id) l ON true

-- Computed operands of ANY and ALL.
SELECT t1.id FROM shop.customers t1 WHERE t1.id + 1 > ALL (SELECT o.id FROM shop.orders o WHERE o.customer = t1.id AND o.total > t1.small ORDER BY o.id LIMIT 2)
SELECT t1.id, t1.id * 2 < ANY (SELECT o.id FROM shop.orders o WHERE o.customer = t1.id) AS a, (SELECT max(o.id) FROM shop.orders o WHERE o.customer = t1.id) - 1 <> ANY (SELECT o.id FROM shop.orders o WHERE o.customer = t1.id OR o.customer IS NULL) AS b FROM shop.customers t1

-- Aggregates of which a join wants few groups: empty groups, NULL keys, joins that keep what has none, and keys of another integer type.
SELECT c.id, c.name FROM shop.customers c WHERE c.id = 3 AND c.balance <= (SELECT max(x.balance) FROM shop.customers x WHERE x.id = c.id)
SELECT c.id, (SELECT count(*) FROM shop.orders o WHERE o.id = c.id) AS n, (SELECT sum(o.total) FROM shop.orders o WHERE o.id = c.id) AS s FROM shop.customers c WHERE c.id IN (1, 2, 30)
SELECT c.id, t.n FROM shop.customers c LEFT JOIN (SELECT customer, count(*) AS n FROM shop.orders GROUP BY customer) t ON t.customer = c.id WHERE c.id = 2
SELECT c.id, t.id, t.n FROM shop.customers c LEFT JOIN (SELECT id, count(*) AS n, min(total) AS least FROM shop.orders GROUP BY id) t ON t.id = c.id AND t.least > 1 WHERE c.name LIKE 'A%'
SELECT c.id FROM shop.customers c WHERE c.id = 4 AND NOT EXISTS (SELECT FROM (SELECT id, sum(total) AS s FROM shop.orders GROUP BY id) t WHERE t.id = c.id AND t.s > 10)
SELECT c.id FROM shop.customers c WHERE c.id = 4 AND c.small NOT IN (SELECT id FROM shop.orders GROUP BY id)
SELECT o.id, t.n FROM shop.orders o LEFT JOIN (SELECT id, count(balance) AS n FROM shop.customers GROUP BY id) t ON t.id = o.customer WHERE o.id IN (5, 6)
SELECT o.id, t.best FROM shop.orders o RIGHT JOIN (SELECT id, max(balance) AS best FROM shop.customers GROUP BY id HAVING count(*) > 0) t ON t.id = o.customer WHERE o.id = 5 OR t.best IS NULL
SELECT o.id, t.n, u.n AS m FROM shop.orders o JOIN (SELECT id, count(*) AS n FROM shop.customers GROUP BY id) t ON t.id = o.customer LEFT JOIN (SELECT id, count(*) AS n FROM shop.customers WHERE small > 0 GROUP BY id) u ON u.id = t.id WHERE o.id = 3
SELECT c.id, t.n FROM shop.customers c JOIN (SELECT id, small, count(*) AS n FROM shop.customers GROUP BY GROUPING SETS ((id), (small))) t ON t.id = c.id WHERE c.id = 3
WITH RECURSIVE f(n) AS (SELECT 1::numeric UNION ALL SELECT n + 1 FROM f WHERE n < 12) SELECT max(n) AS a, sum(n) AS b FROM f
WITH RECURSIVE t(i, b) AS (VALUES (1, 100.00) UNION ALL SELECT i + 1, b * 1.05 FROM t WHERE i < 5) SELECT max(b) AS a, min(b) AS b FROM t
WITH RECURSIVE f(i, n) AS (SELECT 1, balance * 1.0 FROM shop.customers WHERE id = 1 UNION ALL SELECT i + 1, n * 1.5 FROM f WHERE i < 9) SELECT i, n, n > 9 AS big FROM f
-- Values that are equal and look different are counted for one by one, whatever the store makes of them.
SELECT d.p, (SELECT count(*) FROM crm.clients t WHERE t.id = d.p AND t.id = 1) AS n FROM (SELECT price AS p FROM shop.products WHERE id < 3) d
SELECT d.p, (SELECT count(*) FROM crm.clients t WHERE t.id = d.p) AS n FROM (SELECT price AS p FROM shop.products) d
SELECT c.id, (SELECT count(*) FROM archive.parcels p WHERE p.weight = c.wide) AS n FROM shop.customers c
SELECT c.id, (SELECT count(*) FROM shop.products p WHERE p.price >= c.wide) AS n FROM shop.customers c WHERE c.id < 20
SELECT c.id, (SELECT count(*) FROM crm.clients t WHERE t.ratio > c.score) AS n FROM shop.customers c WHERE c.id < 20
SELECT c.id, (SELECT count(*) FROM crm.clients t WHERE t.name > c.code) AS n FROM shop.customers c WHERE c.id < 12
SELECT c.id, (SELECT max(o.id) FROM shop.orders o WHERE o.id < 12 AND o.placed + c.wait > o.placed) AS n FROM shop.customers c WHERE c.id < 12
SELECT c.id, EXISTS (SELECT 1 FROM shop.products p WHERE p.price < c.wide) AS n FROM shop.customers c WHERE c.id < 20
SELECT c.id, c.wide IN (SELECT p.price + c.wide FROM shop.products p) AS n FROM shop.customers c WHERE c.id < 20
-- Both sides of a set operation have their common type.
SELECT small FROM shop.customers INTERSECT SELECT id FROM shop.customers
SELECT id FROM shop.customers WHERE id < 4 EXCEPT SELECT 1.5
SELECT id FROM shop.customers WHERE id < 4 EXCEPT SELECT 2.0
SELECT rating FROM shop.customers WHERE id < 9 EXCEPT SELECT ratio FROM crm.clients
SELECT rating FROM shop.customers INTERSECT SELECT score FROM shop.customers
SELECT small FROM shop.customers EXCEPT ALL SELECT visits FROM crm.clients WHERE id < 50
SELECT id FROM shop.orders WHERE id < 9 INTERSECT ALL SELECT customer FROM shop.orders
SELECT total FROM shop.orders WHERE id < 30 EXCEPT SELECT price FROM shop.products
SELECT code FROM shop.customers WHERE id < 9 EXCEPT SELECT 'ab'
SELECT code FROM shop.customers WHERE id < 9 INTERSECT SELECT name FROM crm.clients
SELECT NULL AS a EXCEPT SELECT small FROM shop.customers WHERE id = 1
SELECT 'a' AS a EXCEPT SELECT '7'
SELECT '1' AS a INTERSECT SELECT small FROM shop.customers
SELECT born FROM shop.customers WHERE id < 9 EXCEPT SELECT placed FROM shop.orders
SELECT born FROM shop.customers WHERE id < 9 INTERSECT SELECT since FROM crm.clients
SELECT small, name FROM shop.customers WHERE id < 9 EXCEPT SELECT id, city FROM crm.clients
SELECT small FROM shop.customers EXCEPT SELECT id FROM shop.orders EXCEPT SELECT price FROM shop.products
SELECT small FROM shop.customers WHERE id < 9 EXCEPT (SELECT id FROM shop.orders INTERSECT SELECT 7.0)
SELECT small FROM shop.customers UNION SELECT id FROM shop.orders WHERE id < 3 INTERSECT SELECT 2.00
SELECT id FROM shop.customers EXCEPT SELECT name FROM crm.clients
SELECT NULL EXCEPT SELECT 1
SELECT NULL AS id EXCEPT SELECT id FROM shop.customers
SELECT '1' AS id INTERSECT SELECT id FROM shop.customers
SELECT 1.5 INTERSECT SELECT '1.50'
SELECT NULL EXCEPT ALL SELECT 1
SELECT '7' AS id INTERSECT ALL SELECT id FROM shop.customers
SELECT v FROM (VALUES (0.1), (0.10000000000000000001)) t(v) EXCEPT ALL SELECT 0.5::float8
SELECT v FROM (VALUES (9007199254740993), (9007199254740992)) t(v) INTERSECT ALL SELECT w FROM (VALUES (9007199254740992::float8), (9007199254740992::float8)) u(w)
SELECT id FROM shop.customers WHERE id < 4 EXCEPT ALL SELECT 1.0
SELECT a FROM (SELECT NULL AS a) x EXCEPT SELECT 1
(SELECT NULL LIMIT 1) EXCEPT SELECT 1
(SELECT '7' LIMIT 2) UNION SELECT id FROM shop.customers WHERE id < 3
SELECT small FROM shop.customers EXCEPT ALL (SELECT id FROM shop.orders INTERSECT ALL SELECT 7.0)
SELECT c.id, c.score::text, (SELECT count(*) FROM crm.clients t WHERE t.ratio > c.score) AS n FROM shop.customers c
SELECT x.v, (SELECT max(p.price) || x.v::text FROM shop.products p WHERE p.price > x.v::numeric) AS n FROM (VALUES (-0.0::float8), (0.0), (2.5)) x(v)
SELECT c.id, t.n FROM shop.customers c, LATERAL (SELECT count(*) AS n FROM crm.clients t WHERE t.ratio < c.score OR t.id = c.id) t
SELECT active FROM shop.customers INTERSECT SELECT id FROM crm.clients
SELECT x.a + 0.5 AS b FROM (SELECT small AS a FROM shop.customers WHERE id < 9 EXCEPT SELECT id FROM shop.orders) x
WITH RECURSIVE r(x) AS (SELECT date '2024-01-01' UNION ALL SELECT x + interval '12 hours' FROM r WHERE x < date '2024-01-03') SELECT * FROM r
WITH RECURSIVE r(x) AS (SELECT timestamp '2024-01-01 00:00:00' UNION ALL SELECT x + interval '12 hours' FROM r WHERE x < date '2024-01-03') SELECT * FROM r
WITH RECURSIVE r(x) AS (SELECT 'a'::varchar(2) UNION ALL SELECT x || 'b' FROM r WHERE length(x) < 4) SELECT * FROM r
WITH RECURSIVE r(x) AS (SELECT 'a'::text UNION ALL SELECT x || 'b' FROM r WHERE length(x) < 4) SELECT * FROM r
WITH RECURSIVE r(x) AS (SELECT 'a' UNION ALL SELECT x || 'b' FROM r WHERE length(x) < 4) SELECT * FROM r
WITH RECURSIVE r(x) AS (SELECT 'a'::text UNION ALL SELECT 1 FROM r) SELECT * FROM r LIMIT 3
-- Conditions with an outer row inside derived tables and CTEs of a subquery.
SELECT (SELECT m FROM (SELECT max(o.total) AS m FROM shop.orders o WHERE o.customer = c.id) z) AS a FROM shop.customers c WHERE c.id < 20
SELECT c.id FROM shop.customers c WHERE (SELECT m FROM (SELECT count(*) AS m FROM crm.clients t WHERE t.id = c.id) z) > 0 AND c.id < 9
SELECT c.id FROM shop.customers c WHERE c.small IN (WITH z AS (SELECT customer FROM shop.orders o WHERE o.id = c.id) SELECT customer FROM z)
SELECT c.id FROM shop.customers c WHERE EXISTS (SELECT FROM (SELECT t.name AS n FROM crm.clients t WHERE t.id = c.id) z WHERE z.n <> 'x')
SELECT c.id FROM shop.customers c WHERE NOT EXISTS (WITH z AS (SELECT o.total AS n FROM shop.orders o WHERE o.customer = c.id) SELECT FROM z WHERE z.n > 50)
-- Recursion that carries a value of its start.
WITH RECURSIVE t AS (SELECT id, id AS root FROM shop.customers WHERE id < 3 UNION ALL SELECT c.id, t.root FROM shop.customers c JOIN t ON c.id = t.id + 5 WHERE c.id < 30) SELECT root, count(*) AS n, max(id) AS m FROM t GROUP BY root
WITH RECURSIVE t AS (SELECT id, id AS root, name FROM crm.clients WHERE id < 3 UNION ALL SELECT c.id, t.root, t.name FROM crm.clients c JOIN t ON c.id = t.id + 5 WHERE c.id < 30) SELECT root, name, count(*) AS n FROM t GROUP BY root, name
WITH RECURSIVE t AS (SELECT id, id AS root, weight FROM archive.parcels WHERE id < 3 UNION ALL SELECT p.id, t.root, t.weight FROM archive.parcels p JOIN t ON p.id = t.id + 5 WHERE p.id < 30) SELECT root, weight, count(*) AS n FROM t GROUP BY root, weight
-- ANY and ALL over the table that is compared.
SELECT id FROM shop.orders WHERE total >= ALL (SELECT total FROM shop.orders WHERE total IS NOT NULL)
SELECT id FROM shop.customers WHERE small >= ALL (SELECT small FROM shop.customers WHERE small IS NOT NULL)
SELECT id FROM shop.customers WHERE small > ALL (SELECT small FROM shop.customers WHERE active)
SELECT id FROM shop.customers WHERE small <> ALL (SELECT small FROM shop.customers WHERE id < 4 AND small IS NOT NULL)
SELECT id FROM shop.customers WHERE small < ANY (SELECT small FROM shop.customers)
SELECT id FROM shop.customers WHERE small = ANY (SELECT small FROM shop.customers WHERE id > 3)
SELECT id FROM shop.customers WHERE NOT (small < ANY (SELECT small FROM shop.customers WHERE id < 4)) AND id > 1
SELECT count(*) FROM crm.clients WHERE tier <= ALL (SELECT tier FROM crm.clients WHERE tier > 0)
SELECT count(*) FROM archive.parcels WHERE id > ANY (SELECT id FROM archive.parcels)
SELECT count(*) FROM field.visits WHERE no >= ALL (SELECT no FROM field.visits)
SELECT id, CASE WHEN small >= ALL (SELECT small FROM shop.customers WHERE small IS NOT NULL) THEN 'most' ELSE 'less' END AS how FROM shop.customers WHERE CASE WHEN small >= ALL (SELECT small FROM shop.customers WHERE id < 5 AND small IS NOT NULL) THEN id END IS NOT NULL
WITH r AS (SELECT id, small FROM shop.customers) SELECT count(*) FROM r WHERE small >= ALL (SELECT small FROM r WHERE id < 6 AND small IS NOT NULL)
SELECT customers.id, p.id AS other FROM shop.customers, shop.products p WHERE small >= ALL (SELECT small FROM shop.customers WHERE customers.id < p.id AND small IS NOT NULL)
SELECT customers.id, p.id AS other FROM shop.customers, shop.products p WHERE customers.id >= ANY (SELECT small FROM shop.customers WHERE customers.id < p.id)
SELECT max(id) AS m FROM shop.customers GROUP BY active HAVING max(id) >= ALL (SELECT max(id) FROM shop.customers GROUP BY active)

-- NOT IN with operands that may be NULL though their columns are not, or that have no column, or none once they are simplified.
SELECT id FROM shop.customers WHERE nullif(id, 3) NOT IN (SELECT id FROM crm.clients WHERE id > 20)
SELECT id FROM shop.customers WHERE NOT nullif(id, 3) IN (SELECT id FROM shop.products)
SELECT id FROM shop.customers WHERE (CASE WHEN id < 9 THEN id END) NOT IN (SELECT id FROM crm.clients WHERE id < 4)
SELECT id FROM shop.customers WHERE (CASE id WHEN 1 THEN 5 WHEN 2 THEN 6 END) NOT IN (SELECT id FROM shop.orders WHERE id = 6)
SELECT id FROM shop.customers WHERE (ARRAY[7, 8])[id::int] NOT IN (SELECT id FROM shop.products WHERE id < 8)
SELECT id FROM crm.clients WHERE id + nullif(id, 3) NOT IN (SELECT id FROM shop.orders WHERE id < 9)
SELECT id FROM shop.customers WHERE nullif(id, 3) NOT IN (SELECT id FROM shop.orders WHERE id < 0)
SELECT id FROM shop.customers WHERE nullif(id, 3) <> ALL (SELECT id FROM crm.clients WHERE id > 20)
SELECT id FROM shop.customers WHERE id NOT IN (SELECT nullif(id, 3) FROM shop.products)
SELECT id FROM shop.customers WHERE substring(name from 'x.*') NOT IN (SELECT sku FROM shop.products)
SELECT id FROM shop.customers WHERE id::text || nullif('x', 'x') NOT IN (SELECT sku FROM shop.products)
SELECT count(*) AS n FROM shop.customers WHERE 3000 NOT IN (SELECT customer FROM shop.orders)
SELECT count(*) AS n FROM shop.customers WHERE 3000 NOT IN (SELECT customer FROM shop.orders WHERE customer IS NOT NULL)
SELECT count(*) AS n FROM shop.customers WHERE NOT 1 IN (SELECT customer FROM shop.orders WHERE customer IS NOT NULL)
SELECT count(*) AS n FROM shop.customers WHERE NULL NOT IN (SELECT id FROM shop.orders)
SELECT count(*) AS n FROM shop.customers WHERE NULL NOT IN (SELECT id FROM shop.nothing)
SELECT count(*) AS n FROM shop.customers WHERE nullif(3, 3) NOT IN (SELECT id FROM shop.orders)
SELECT count(*) AS n FROM shop.customers WHERE (CASE WHEN true THEN 3000 ELSE id END) NOT IN (SELECT customer FROM shop.orders)
SELECT count(*) AS n FROM (SELECT 3000 AS k FROM shop.customers) c WHERE k NOT IN (SELECT customer FROM shop.orders)
SELECT 1 AS a WHERE 3000 NOT IN (SELECT customer FROM shop.orders)
SELECT small FROM shop.customers GROUP BY small HAVING nullif(count(*), 5) NOT IN (SELECT id FROM shop.products WHERE id > 10)
SELECT small FROM shop.customers GROUP BY small HAVING 3000 NOT IN (SELECT customer FROM shop.orders)
SELECT c.id, o.id AS o FROM shop.customers c JOIN shop.orders o ON o.customer = c.id AND nullif(o.id, 3) NOT IN (SELECT id FROM crm.clients WHERE id > 9)
SELECT c.id, o.id AS o FROM shop.customers c LEFT JOIN shop.orders o ON o.customer = c.id AND nullif(o.id, 3) NOT IN (SELECT id FROM crm.clients WHERE id > 9)
SELECT id FROM shop.customers WHERE id NOT IN (SELECT p.id FROM shop.products p WHERE nullif(p.id, 3) NOT IN (SELECT k.id FROM crm.clients k WHERE k.id < 9))
SELECT id FROM shop.customers WHERE (SELECT o.id FROM shop.orders o WHERE o.id = -1) NOT IN (SELECT k.id FROM crm.clients k)
SELECT id FROM shop.customers WHERE (SELECT max(o.id) FROM shop.orders o) NOT IN (SELECT k.shop_id FROM crm.clients k WHERE k.shop_id IS NOT NULL)
SELECT id FROM shop.customers WHERE id IN (VALUES (1))
SELECT id FROM shop.customers WHERE id < 4 AND id NOT IN (VALUES (1))

-- A second row is an error, and one row is none.
SELECT c.id, (SELECT c.id UNION ALL SELECT 2) AS a FROM shop.customers c
SELECT c.id, (SELECT c.id UNION SELECT 2) AS a FROM shop.customers c WHERE c.id = 2
SELECT c.id, (SELECT c.id UNION SELECT 2) AS a FROM shop.customers c
SELECT c.id, (SELECT c.small WHERE c.id = 1 UNION ALL SELECT 2 WHERE c.id <> 1) AS a FROM shop.customers c
SELECT c.id, (SELECT a.v FROM (SELECT c.id AS v) a CROSS JOIN (VALUES (1), (2)) b(w)) AS a FROM shop.customers c
SELECT c.id, (SELECT a.v FROM (SELECT c.id AS v) a CROSS JOIN (SELECT 1) b(w)) AS a FROM shop.customers c
SELECT c.id, (SELECT row_number() OVER () FROM (SELECT 7 UNION ALL SELECT 8) u(y) WHERE y > c.id) AS a FROM shop.customers c
SELECT c.id, (SELECT count(*) FROM (SELECT 7 UNION ALL SELECT 8) u(y) WHERE y > c.id GROUP BY y) AS a FROM shop.customers c
SELECT c.id, (SELECT y FROM (SELECT 7 UNION ALL SELECT 7) u(y) WHERE y = c.id) AS a FROM shop.customers c
SELECT c.id, (SELECT y FROM (SELECT 7 UNION ALL SELECT 7) u(y) WHERE y = c.id) AS a FROM shop.customers c WHERE c.id < 7
SELECT c.id, (SELECT o.id FROM shop.orders o WHERE o.id = o.id + 0 * c.small) AS a FROM shop.customers c
SELECT c.id, (SELECT o.total FROM (SELECT id AS n, total FROM shop.orders) o WHERE o.n = c.id) AS a FROM shop.customers c
SELECT c.id, (SELECT DISTINCT ON (c.id) o.id FROM shop.orders o WHERE o.customer >= c.id ORDER BY c.id, o.id) AS a FROM shop.customers c WHERE c.id < 20
SELECT c.id, (SELECT generate_series(1, c.id) LIMIT 1) AS a FROM shop.customers c WHERE c.id < 5
SELECT c.id, (SELECT unnest(ARRAY[c.id, 2]) LIMIT 1) AS a FROM shop.customers c WHERE c.id < 5
SELECT c.id, (SELECT unnest(ARRAY[c.id, 2])) AS a FROM shop.customers c WHERE c.id < 5

-- Arrays read what stands around them: outer rows, and WITH queries that are called as tables.
WITH orders AS (SELECT 1 AS id) SELECT ARRAY[(SELECT max(id) FROM orders)] AS a
SELECT c.id, (SELECT ARRAY[c.id, o.id] FROM shop.orders o WHERE o.id = c.id) AS a FROM shop.customers c
SELECT c.id FROM shop.customers c WHERE EXISTS (SELECT FROM shop.orders o WHERE o.customer = ANY (ARRAY[c.id, 7]) AND o.id < 9)

-- Aggregates that belong to the outer query.
SELECT (SELECT count(c.id)) AS n FROM shop.customers c
SELECT (SELECT max(c.id) FROM shop.products p WHERE p.id = 1) AS m FROM shop.customers c
SELECT c.active, (SELECT count(*) FILTER (WHERE c.active) FROM shop.products p WHERE p.id = 1) AS n FROM shop.customers c GROUP BY c.active
SELECT (SELECT sum(c.id + p.id) FROM shop.products p) AS s FROM shop.customers c WHERE c.id < 4
-- Rows of VALUES with subqueries that read no table.
SELECT * FROM (VALUES (1), ((SELECT 2))) v(x) WHERE x <> 7 ORDER BY 1
SELECT * FROM (VALUES (EXISTS (SELECT 1)), (2 IN (SELECT 1)), (1 = ANY (SELECT 1))) v(x) ORDER BY 1
VALUES ((SELECT count(*) FROM generate_series(1, 2)))
