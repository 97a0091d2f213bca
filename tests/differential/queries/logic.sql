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
