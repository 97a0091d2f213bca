-- Three-valued logic, IN with NULL, BETWEEN, CASE, COALESCE.
SELECT id, balance > 0 AND active AS both, balance > 0 OR active AS either, NOT (balance > 0) AS no FROM shop.customers
SELECT id FROM shop.customers WHERE balance > 0 AND active IS DISTINCT FROM false
SELECT id FROM shop.customers WHERE small NOT IN (1, 2, NULL)
SELECT id FROM shop.customers WHERE small IN (1, 2, NULL)
SELECT id FROM shop.customers WHERE small NOT IN (1, 2)
SELECT id, small IN (1, NULL) AS a, small NOT IN (1, NULL) AS b, NULL IN (1) AS c FROM shop.customers WHERE id < 13
SELECT id FROM crm.clients WHERE tier NOT IN (1, 2, NULL)
SELECT id FROM archive.parcels WHERE ratio NOT IN (0.5, 2.5)
SELECT no FROM field.visits WHERE mood NOT IN ('happy', '')
SELECT no FROM field.visits WHERE NOT (mood = 'happy' AND open)
SELECT no FROM field.visits WHERE NOT (mood = 'happy' OR ratio > 1)
SELECT no FROM field.visits WHERE mood IS NULL AND open IS NOT NULL
SELECT no FROM field.visits WHERE mood IS DISTINCT FROM 'happy'
SELECT id FROM crm.clients WHERE memo IS NOT DISTINCT FROM NULL
SELECT id FROM shop.customers WHERE small BETWEEN 2 AND 5
SELECT id FROM shop.customers WHERE small NOT BETWEEN 2 AND 5
SELECT id FROM shop.customers WHERE small BETWEEN SYMMETRIC 5 AND 2
SELECT id FROM shop.customers WHERE balance BETWEEN 0 AND NULL
SELECT id, CASE WHEN small < 0 THEN 'low' WHEN small < 5 THEN 'mid' WHEN small IS NULL THEN NULL ELSE 'high' END AS size FROM shop.customers
SELECT id, CASE level WHEN 'gold' THEN 1 WHEN 'silver' THEN 2 END AS medal FROM shop.customers
SELECT id, CASE WHEN active THEN small ELSE balance END AS mixed FROM shop.customers
SELECT id, COALESCE(email, name, '?') AS who, COALESCE(small, 0) AS small, COALESCE(NULL, balance, 1) AS b FROM shop.customers
SELECT id, NULLIF(small, 1) AS a, NULLIF(name, '') AS b, NULLIF(balance, 0) AS c FROM shop.customers
SELECT id, GREATEST(small, 3) AS a, LEAST(small, NULL, 3) AS b, GREATEST(born, DATE '2000-01-01') AS c FROM shop.customers
SELECT NULL = NULL AS a, NULL IS NULL AS b, NULL AND false AS c, NULL OR true AS d, NOT NULL::boolean AS e
SELECT 1 = 1 AND NULL AS a, (1 = 2) IS NULL AS b, true > false AS c
SELECT id FROM shop.customers WHERE (small, active) = (1, true)
SELECT id FROM shop.customers WHERE (small, balance) IN ((1, 100.00), (2, 12.50))
SELECT id FROM shop.customers WHERE (small, id) > (5, 100)
SELECT id, active::text AS a, (small > 3)::text AS b FROM shop.customers
SELECT id FROM shop.customers WHERE CASE WHEN small = 0 THEN false ELSE 10 / small > 2 END
SELECT bool_and(active) AS a, bool_or(active) AS b, every(active) AS c FROM shop.customers

-- Tests of rows for NULL.
SELECT id FROM shop.customers WHERE (small, email) IS NULL
SELECT id FROM shop.customers WHERE (small, email) IS NOT NULL
SELECT id, row(small, email) IS NULL AS a, NOT row(small, email) IS NULL AS b, ((small, email, id)) IS NOT NULL AS c, (small, email) NOTNULL AS d FROM shop.customers
SELECT row(NULL, NULL) IS NULL AS a, row() IS NULL AS b, row() IS NOT NULL AS c, row(1, NULL) IS NULL AS d, row(1, NULL) IS NOT NULL AS e
SELECT row(row(NULL)) IS NULL AS a, row(row(NULL)) IS NOT NULL AS b, (NULL, (NULL, NULL)) IS NULL AS c, (1, (NULL, NULL)) IS NOT NULL AS d
SELECT c.id FROM shop.customers c LEFT JOIN shop.orders o ON o.customer = c.id WHERE o.* IS NULL
SELECT c.id FROM shop.customers c LEFT JOIN shop.orders o ON o.customer = c.id WHERE o IS NULL
SELECT c.id, o.id AS n FROM shop.customers c LEFT JOIN shop.orders o ON o.customer = c.id WHERE o IS NOT NULL
SELECT k.id FROM crm.clients k LEFT JOIN shop.orders o ON o.customer = k.shop_id AND o.total > 10 WHERE (o.*) IS NULL
SELECT p.a, p IS NULL AS b, (p.*) IS NOT NULL AS c FROM (VALUES (1, NULL), (NULL, NULL), (2, 3)) AS p(a, b)
SELECT count(*) FILTER (WHERE (small, email) IS NULL) AS a, count(*) FILTER (WHERE (small, email) IS NOT NULL) AS b FROM shop.customers
SELECT id FROM shop.customers WHERE CASE WHEN active THEN (small, email) END IS NULL
SELECT c.id FROM shop.customers c WHERE row(c.*) IS NOT NULL
-- Conditions on one column, in several spellings.
SELECT id FROM shop.customers WHERE id = 3::int AND id = 3
SELECT id FROM shop.customers WHERE id = 3::bigint AND 3 = id AND id = 3::smallint
SELECT id FROM shop.customers WHERE id IN (3::int, 4) AND id IN (3, 5)
SELECT id FROM shop.customers WHERE id IN (1, 2) AND id NOT IN (2, NULL)
SELECT id, id IN (1, 2) AND id NOT IN (2, NULL) AS a, id IN (1, NULL) AS b, id NOT IN (1, NULL) AS c, id IN (1, 2) OR id IN (3, NULL) AS d, id NOT IN (1, 2) OR id NOT IN (2, NULL) AS e FROM shop.customers
SELECT id FROM shop.customers WHERE id IN (id, 0) AND id IN (id + 0, -1)
SELECT id FROM shop.customers WHERE id IN (small, 1) AND id NOT IN (id, 2)
SELECT id FROM shop.customers WHERE id NOT IN (small) OR id NOT IN (big)
SELECT id FROM shop.customers WHERE small IN (id, big, NULL) AND small NOT IN (3, id + 1)
SELECT id FROM shop.customers WHERE name IN ('Ada'::varchar, 'x') AND name NOT IN ('x'::text, name || 'y')
SELECT id FROM shop.orders WHERE total = 10.5::numeric(10,2) AND total = 10.50 AND total >= 10.5::numeric
SELECT id FROM shop.orders WHERE total > 1.0 AND total > 1.00 AND 1 < total AND total >= 1.000::numeric(8,3)
SELECT c.id FROM shop.customers c JOIN crm.clients k ON k.id = c.id AND c.id >= 2 AND 2 < c.id
SELECT c.id FROM shop.customers c JOIN crm.clients k ON k.id = c.id AND c.id = 2 AND 2 = c.id
SELECT c.id FROM shop.customers c JOIN crm.clients k ON k.id = c.id WHERE c.id = 2::bigint AND k.id = 2
SELECT p.id FROM archive.parcels p WHERE p.id = 1::smallint AND p.id = 1 AND p.id IN (1::int, 2)
SELECT v.no FROM field.visits v WHERE v.no = 1::bigint AND v.no = 1 AND 1 = v.no
WITH c AS (SELECT id, name FROM shop.customers WHERE id = 3::int) SELECT id FROM c WHERE id = 3
SELECT id, CASE WHEN id IN (small, 1, NULL) THEN 'a' WHEN id NOT IN (2, NULL) THEN 'b' END AS a FROM shop.customers
SELECT count(*) FILTER (WHERE id IN (small, 3)) AS a, id IN (1, NULL) AS b FROM shop.customers GROUP BY id IN (1, NULL) ORDER BY 1, 2
SELECT id FROM shop.customers ORDER BY id IN (small, 3), id
SELECT id FROM shop.customers WHERE name LIKE 'Ada' AND name = 'Ada'
SELECT id, name FROM shop.customers WHERE name IS NOT NULL AND name LIKE name AND name = name AND name NOT LIKE 'Ada' AND name <> 'Bob'
SELECT c.id FROM shop.customers c JOIN shop.customers d ON d.id = c.id WHERE c.name = d.name AND d.name LIKE 'Ada' AND d.name = 'Ada' AND c.name NOT LIKE 'Bob'
SELECT id FROM archive.parcels WHERE label = 'a' AND label NOT LIKE 'a'
SELECT id FROM shop.customers WHERE id BETWEEN 3 AND 3 AND id = 3
SELECT id FROM shop.customers WHERE name BETWEEN 'Ada' AND 'Ada' AND name = 'Ada'
SELECT id FROM shop.customers WHERE id IN (1, 2) AND NOT (id = ANY ('{2,NULL}'::int[]))
SELECT id FROM shop.customers WHERE id NOT IN (1, 2) OR NOT (id = ANY ('{2,NULL}'::int[]))
SELECT id FROM shop.customers WHERE token = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' AND token = ANY ('{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'::uuid[])
SELECT id FROM shop.customers WHERE token = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' AND NOT (token = ANY ('{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'::uuid[]))
SELECT id FROM (SELECT id, 3 AS n FROM shop.customers) t WHERE id = n AND id = 3
SELECT id FROM (SELECT id, 3 AS a FROM shop.customers) t WHERE id >= 3 AND id > a
SELECT id FROM (SELECT id, NULL::int AS n FROM shop.customers) t WHERE id > n AND id > 2
SELECT id FROM (SELECT id, 2 AS low FROM shop.customers UNION ALL SELECT id, NULL FROM crm.clients) t WHERE id > low AND id > 1
SELECT id FROM (SELECT id, 1 AS kind FROM shop.customers UNION ALL SELECT id, 2 FROM crm.clients) t WHERE id = kind AND id = 1
SELECT id FROM (SELECT id, 5 AS n FROM (VALUES (4), (5), (6)) v(id)) t WHERE id = 5 AND id <> n
SELECT id FROM (VALUES (4), (5), (6)) v(id) WHERE id = 5 AND 5 = id AND id = 5::bigint AND id <> 6::smallint
SELECT t FROM (VALUES (timestamptz '2020-01-01 00:00+00')) v(t) WHERE t = to_timestamp('2020-01-01 00+00', 'YYYY-MM-DD HH24TZH') AND t = '2020-01-01 00:00+00'
SELECT a FROM (VALUES ('UTC'), ('x')) v(a) WHERE a = current_setting('TimeZone') AND a <> 'UTC'
SELECT c.id FROM shop.customers c LEFT JOIN crm.clients k ON k.id = c.id AND 2 < k.id AND k.id >= 2 AND k.id IN (2, 3, NULL) ORDER BY 1
