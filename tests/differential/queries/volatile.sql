-- Functions that give another value each time: what holds whatever the numbers are, but for chances of less than one in 2^50.
SELECT count(*) BETWEEN 1 AND 999 AS few FROM (SELECT generate_series(1, 1000) AS i) q WHERE random() < 0.5
SELECT count(*) BETWEEN 1 AND 999 AS few FROM generate_series(1, 1000) AS g(i) WHERE random() < 0.5
SELECT count(*) AS n FROM generate_series(1, 1000) AS g(i) WHERE random() >= 0
SELECT count(*) AS n FROM generate_series(1, 1000) AS g(i) WHERE random() < 0
SELECT count(*) BETWEEN 1 AND 400 AS few FROM generate_series(1, 1000) AS g(i) WHERE random() < 0.5 AND random() < 0.5
SELECT count(*) BETWEEN 1 AND 400 AS few FROM (SELECT i FROM generate_series(1, 1000) AS g(i) WHERE random() < 0.5) q WHERE random() < 0.5
SELECT count(*) AS n FROM (SELECT i % 10 AS k, count(*) AS n FROM generate_series(1, 1000) AS g(i) GROUP BY 1 HAVING random() < 0.5) q WHERE n <> 100
SELECT count(*) AS n FROM (SELECT i % 10 AS k, count(*) AS n FROM generate_series(1, 1000) AS g(i) GROUP BY 1) q WHERE random() < 0.5 AND n <> 100
SELECT count(*) AS n FROM (SELECT count(*) OVER (PARTITION BY i % 10) AS n FROM generate_series(1, 1000) AS g(i)) q WHERE random() < 0.5 AND n <> 100
SELECT count(*) BETWEEN 1 AND 999 AS few FROM (SELECT DISTINCT i FROM generate_series(1, 1000) AS g(i)) q WHERE random() < 0.5
SELECT count(*) AS n FROM (SELECT id FROM shop.customers ORDER BY random() LIMIT 5) AS s
SELECT count(*) AS n FROM (SELECT i FROM generate_series(1, 10) AS g(i) ORDER BY random() OFFSET 3) AS s
SELECT 1 AS a FROM (SELECT id FROM archive.parcels ORDER BY random() LIMIT 2) AS s
SELECT count(*) BETWEEN 1 AND 1999 AS few FROM (SELECT i FROM generate_series(1, 1000) AS g(i) UNION ALL SELECT i FROM generate_series(1, 1000) AS h(i)) q WHERE random() < 0.5
SELECT count(*) AS n FROM (SELECT i, count(*) AS n FROM (SELECT a.i, b.j FROM generate_series(1, 60) AS a(i), generate_series(1, 60) AS b(j)) q WHERE random() < 0.5 GROUP BY i) r WHERE n = 60
SELECT count(*) AS n FROM (SELECT i, count(*) AS n FROM generate_series(1, 60) AS a(i) JOIN generate_series(1, 60) AS b(j) ON random() < 0.5 GROUP BY i) r WHERE n = 60
SELECT count(*) AS n FROM (SELECT i, count(j) AS n FROM generate_series(1, 60) AS a(i) LEFT JOIN generate_series(1, 60) AS b(j) ON random() < 0.5 GROUP BY i) r WHERE n IN (0, 60)
SELECT count(DISTINCT j) < 1000 AS few FROM generate_series(0, 9) AS a(i) JOIN generate_series(1, 1000) AS b(j) ON a.i = (random() * 9)::int + 0 * b.j
SELECT count(DISTINCT j) < 1000 AS few FROM generate_series(0, 9) AS a(i), generate_series(1, 1000) AS b(j) WHERE a.i = (random() * 9)::int + 0 * b.j
SELECT count(*) AS n FROM (SELECT DISTINCT c.id, random() AS r FROM shop.customers c JOIN shop.orders o ON o.customer = c.id) q
SELECT count(*) AS n FROM (SELECT DISTINCT c.id, random() AS r FROM shop.customers c JOIN crm.clients k ON k.shop_id = c.id) q
SELECT count(*) AS n FROM shop.customers c JOIN crm.clients k ON k.shop_id = c.id WHERE random() >= 0 AND c.active
SELECT count(*) AS n FROM shop.customers c LEFT JOIN crm.clients k ON k.shop_id = c.id AND random() < 0 WHERE c.small > 3
SELECT count(*) AS n FROM shop.customers c FULL JOIN crm.clients k ON k.shop_id = c.id AND random() >= 0 AND k.tier > 1
SELECT c.small, count(*) AS n FROM shop.customers c WHERE gen_random_uuid() IS NOT NULL GROUP BY c.small HAVING clock_timestamp() > now() - interval '1 day' AND c.small > 2
SELECT count(*) AS n FROM generate_series(1, 1000) AS g(i) WHERE CASE WHEN random() < 0.5 THEN i > 0 ELSE i > 0 END
SELECT count(*) AS n FROM generate_series(1, 1000) AS g(i) WHERE CASE WHEN random() < 0.5 THEN 1 WHEN random() < 0.5 THEN 1 ELSE 1 END = 1
SELECT count(*) AS n FROM generate_series(1, 1000) AS g(i) WHERE (random() * 2)::int + 0 * i IN (0, 1, 2)
SELECT count(*) AS n FROM generate_series(1, 1000) AS g(i) WHERE (random() * 2)::int + 0 * i IN (0, 1.0, 2.5, 2)
SELECT count(*) AS n FROM generate_series(1, 1000) AS g(i) WHERE (random() * 2)::int + 0 * i NOT IN (0, 1.0, 2.5, 2)
SELECT bool_and(r = s AND r * 2 = r + s) AS equal FROM (SELECT r, r AS s FROM (SELECT random() AS r FROM generate_series(1, 100)) q) p
WITH q AS (SELECT random() AS r FROM generate_series(1, 100)) SELECT bool_and(r = r) AS equal FROM q
WITH q AS (SELECT random() AS r) SELECT a.r = b.r AS equal FROM q a, q b
SELECT count(*) AS n FROM generate_series(1, 1000) AS g(i) WHERE ((random() * 2)::int, 1) <= (2, 1)

-- Each call over a volatile function is computed by itself, but a key of ORDER BY that is an output.
SELECT sum(random()) = sum(random()) AS a, count(random()) = count(random()) AS b FROM generate_series(1, 100) AS g(i)
SELECT sum(i) = sum(i) AS a, max(random() + i) < max(random() + i) + 2 AS b FROM generate_series(1, 100) AS g(i) HAVING sum(random()) <> sum(random())
SELECT bool_or(s <> t) AS a FROM (SELECT sum(random()) OVER () AS s, sum(random()) OVER () AS t FROM generate_series(1, 100) AS g(i)) AS x
SELECT count(*) AS n FROM (SELECT i % 10 AS k, max(random()) AS m FROM generate_series(1, 100) AS g(i) GROUP BY i % 10 ORDER BY max(random())) AS x

-- Orders by what changes, over rows without columns.
SELECT row_number() OVER (ORDER BY random()) AS n FROM shop.orders ORDER BY 1
SELECT max(n) AS n FROM (SELECT row_number() OVER (ORDER BY random()) AS n FROM shop.customers) AS q
SELECT sum(n) AS n FROM (SELECT count(*) OVER (PARTITION BY random() < 2) AS n FROM shop.customers) AS q
SELECT cardinality(array_agg(random() ORDER BY random())) AS n FROM generate_series(1, 3)
SELECT array_agg(1 ORDER BY random()) AS a FROM shop.customers
SELECT length(string_agg('x', '' ORDER BY random(), random() DESC)) AS n FROM crm.clients

-- Calls over subqueries that change.
SELECT sum((SELECT random())) >= 0 AS a, sum((SELECT random())) <= 3 AS b FROM generate_series(1, 3)
SELECT count(*) FILTER (WHERE EXISTS (SELECT random())) AS a, count(*) FILTER (WHERE EXISTS (SELECT random())) AS b FROM generate_series(1, 3) AS g(i)
SELECT sum(i + (SELECT random() * 0)) AS a, max(i + (SELECT random() * 0)) AS b, sum(i + (SELECT random() * 0)) OVER () AS c FROM generate_series(1, 3) AS g(i) GROUP BY i ORDER BY i
