-- Conditions that keep rows from what would fail for them.
SELECT x, x = 0 OR 10 / x > 2 AS a, x <> 0 AND 10 / x > 2 AS b, NOT (x = 0 OR 10 / x > 2) AS c FROM (VALUES (0), (1), (5), (NULL)) AS v(x)
SELECT x FROM (VALUES (0), (1), (5), (NULL)) AS v(x) WHERE x = 0 OR 10 / x > 2
SELECT x FROM (VALUES (0), (1), (5), (NULL)) AS v(x) WHERE x <> 0 AND 10 / x > 2
SELECT x FROM (VALUES (0), (1), (5)) AS v(x) WHERE 10 / x > 2 AND x <> 0
SELECT x FROM (VALUES (NULL::boolean, 0), (true, 1), (false, 0)) AS v(b, x) WHERE b AND 10 / x > 2
SELECT x FROM (VALUES (NULL::boolean, 0), (true, 1)) AS v(b, x) WHERE (b AND 10 / x > 2) IS NOT FALSE
SELECT x FROM (VALUES ('1'), ('a'), ('-7')) AS v(x) WHERE x ~ '^-?[0-9]+$' AND x::int > 0
SELECT x FROM (VALUES (2147483647), (5)) AS v(x) WHERE x < 10 AND x + 1 > 2
SELECT CASE WHEN x <> 0 AND 10 / x > 2 THEN 'a' WHEN x = 0 OR 10 / x > 1 THEN 'b' ELSE 'c' END AS a FROM (VALUES (0), (1), (5), (20)) AS v(x)
SELECT (x <> 0 AND 10 / x > 2) OR (x = 0 AND 10 / (x + 1) > 2) AS a FROM (VALUES (0), (1), (5)) AS v(x)
SELECT x FROM (VALUES (0), (1), (5)) AS v(x) WHERE COALESCE(x <> 0 AND 10 / x > 2, false)
SELECT x FROM (VALUES (0), (1), (5)) AS v(x) ORDER BY x <> 0 AND 10 / x > 2, x
SELECT DISTINCT x <> 0 AND 10 / x > 2 AS a FROM (VALUES (0), (1), (5)) AS v(x)
SELECT x <> 0 AND 10 / x > 2 AS a, count(*) AS n FROM (VALUES (0), (1), (5)) AS v(x) GROUP BY 1
SELECT x, count(*) AS n FROM (VALUES (0), (1), (5)) AS v(x) GROUP BY x HAVING x <> 0 AND 10 / x > 1
SELECT bool_and(x = 0 OR 10 / x > 2) AS a FROM (VALUES (0), (1), (5)) AS v(x)
SELECT x FROM generate_series(0, 3) AS v(x) WHERE x > 0 AND 10 / x > 3
SELECT i, generate_series(1, CASE WHEN i <> 0 AND 10 / i > 3 THEN 2 ELSE 1 END) AS a FROM (VALUES (0), (2), (5)) AS v(i)
SELECT i, unnest(CASE WHEN i = 0 OR 10 / i > 3 THEN ARRAY[1, 2] ELSE ARRAY[3] END) AS a FROM (VALUES (0), (2), (5)) AS v(i)
SELECT i, unnest(ARRAY[i <> 0 AND 10 / i > 3, i = 0 OR 10 / i > 3]) AS a FROM (VALUES (0), (2), (5)) AS v(i)
SELECT v.i, a FROM (VALUES (0), (2), (5)) AS v(i), generate_series(1, CASE WHEN v.i <> 0 AND 10 / v.i > 3 THEN 2 ELSE 1 END) AS g(a)
SELECT x FROM (VALUES ('1'), ('b')) AS v(x) WHERE x::int > 0 AND x ~ '^\d$'
SELECT x FROM (VALUES ('1'), ('b')) AS v(x) WHERE x::int > 0 AND x !~* '^[A-Z]$'
SELECT x FROM (VALUES ('1'), ('b')) AS v(x) WHERE x <> '1' AND x ~ '('
SELECT a.x, b.x AS y FROM (VALUES (0), (1), (5)) AS a(x) LEFT JOIN (VALUES (0), (1), (5)) AS b(x) ON a.x <> 0 AND 10 / a.x > b.x
SELECT a.x FROM (VALUES (0), (1), (5)) AS a(x) JOIN (VALUES (1), (5)) AS b(x) ON a.x = b.x WHERE 10 / b.x > 2
SELECT x FROM (SELECT x, 10 / x AS q FROM (VALUES (0), (1), (5)) AS v(x) WHERE x <> 0) AS s WHERE q > 2
SELECT 10 / x > 2 AND x <> 0 AS a FROM (VALUES (0), (1)) AS v(x)
SELECT id FROM archive.parcels WHERE weight = 0 OR 10 / weight > 2
SELECT id FROM archive.parcels WHERE weight <> 0 AND 10 / weight > 2
SELECT id FROM archive.parcels WHERE label ~ '^[a-z]' AND weight <> 0 AND 10 / weight > 2
SELECT id, weight <> 0 AND 10 / weight > 2 AS a FROM archive.parcels
SELECT id FROM crm.clients WHERE visits = 0 OR 100 / visits > 10
SELECT id FROM crm.clients WHERE name ~ '^[A-Z]' AND visits <> 0 AND 100 / visits > 10
SELECT id FROM shop.customers WHERE small = 0 OR 10 / small > 2
SELECT id FROM shop.customers WHERE small <> 0 AND 10 / small > 2
SELECT id FROM shop.customers WHERE name ~ '^[A-Z]' AND small <> 0 AND 10 / small > 2
SELECT id FROM shop.customers WHERE name ~ '^[A-Z]' AND (small = 0 OR 10 / small > 2)
SELECT no FROM field.visits WHERE ratio <> 0 AND 1 / ratio > 1
SELECT no, ratio = 0 OR abs(ratio) < 1e-300 OR 1 / ratio > 1 AS a FROM field.visits
SELECT c.id, k.id AS k FROM shop.customers c LEFT JOIN crm.clients k ON k.shop_id = c.id AND c.small <> 0 AND 10 / c.small > k.visits WHERE c.id < 20

-- What FILTER leaves out is not computed.
SELECT sum(10 / x) FILTER (WHERE x <> 0) AS a, count(10 / x) FILTER (WHERE x <> 0) AS b FROM (VALUES (0), (1), (5)) AS v(x)
SELECT x, sum(10 / x) FILTER (WHERE x <> 0) AS a FROM (VALUES (0), (1), (5)) AS v(x) GROUP BY x
SELECT x % 2 AS k, sum(10 / x) FILTER (WHERE x <> 0) AS a, avg(10 / x) FILTER (WHERE x <> 0) AS b FROM (VALUES (0), (1), (5)) AS v(x) GROUP BY 1
SELECT count(10 / x) FILTER (WHERE x <> 0 AND 10 / x > 2) AS a FROM (VALUES (0), (1), (5)) AS v(x)
SELECT x, sum(10 / x) FILTER (WHERE x <> 0) OVER (ORDER BY x) AS a FROM (VALUES (0), (1), (5)) AS v(x)
SELECT array_agg(10 / x ORDER BY 10 / x DESC) FILTER (WHERE x <> 0) AS a FROM (VALUES (0), (1), (5)) AS v(x)
SELECT string_agg((10 / x)::text, ',' ORDER BY x) FILTER (WHERE x <> 0) AS a, count(DISTINCT 10 / x) FILTER (WHERE x <> 0) AS b FROM (VALUES (0), (1), (5)) AS v(x)
SELECT k, count(DISTINCT 10 / x) FILTER (WHERE x <> 0) AS a, max((10 / x)::text) FILTER (WHERE x <> 0) AS b FROM (VALUES (1, 0), (1, 1), (2, 0)) AS v(k, x) GROUP BY k
SELECT x, sum(10 / x) FILTER (WHERE x <> 0) AS a FROM (VALUES (0), (1), (5)) AS v(x) GROUP BY ROLLUP (x)
SELECT ok, sum(1 / weight) FILTER (WHERE weight > 1) AS a FROM archive.parcels GROUP BY ok
SELECT active, sum(10 / small) FILTER (WHERE small <> 0) AS a FROM shop.customers GROUP BY active

-- Numbers that no decimal type has room for at once.
SELECT x, x BETWEEN 0.000000000000000000000001 AND 1e25 AS a, x NOT BETWEEN 0.000000000000000000000001 AND 1e25 AS b FROM (VALUES (1), (0), (NULL)) AS v(x)
SELECT x::numeric(20,2) BETWEEN 0.0000000001 AND 1e30 AS a, x::numeric(20,2) IN (1e20, 0.0000000000000000001, 1) AS b FROM (VALUES (1), (0)) AS v(x)
SELECT x NOT IN (1e20, 0.00000000000000000001) AS a, x = ANY (ARRAY[1e20, 0.00000000000000000001, 1]) AS b FROM (VALUES (1), (0)) AS v(x)
SELECT sum(x) FILTER (WHERE x IN (2.50, 1e36)) AS a FROM (SELECT x::numeric(20,1) AS x FROM (VALUES (2.5), (7)) AS v(x)) AS w
SELECT id FROM archive.parcels WHERE weight BETWEEN 0.0000000000000000000000000001 AND 1e20
SELECT id FROM shop.orders WHERE total IN (10, 1e30, 0.00000000000000000001, 20.5)
SELECT id FROM crm.clients WHERE credit BETWEEN 0.00000000000000000001 AND 1e19
SELECT id FROM crm.clients WHERE credit BETWEEN SYMMETRIC 1e19 AND 0.00000000000000000001

-- Object ids have no sign.
SELECT (-1)::int::oid AS a, (-1)::int2::oid AS b, 4294967295::oid::int AS c, 4294967295::oid::bigint AS d, 3000000000::oid::int4 AS e
SELECT (-1)::bigint::oid AS a
SELECT 4294967296::oid AS a
SELECT 5000000000::oid AS a
SELECT 1::oid::int2 AS a
SELECT 4294967295::oid = -1 AS a, (-1)::int = 4294967295::oid AS b, 4294967295::oid IN (1, -1) AS c, 4294967295::oid = ANY (ARRAY[-1]) AS d, 4294967295::oid IS DISTINCT FROM -1 AS e
SELECT 1::oid < 4294967296 AS a
SELECT 1::oid BETWEEN -1 AND 5 AS a, 5::oid BETWEEN 1 AND -1 AS b, nullif(4294967295::oid, -1) AS c, greatest(1::oid, -1) AS d
SELECT x::oid AS a, x = 4294967295::oid AS b FROM (VALUES (1), (-1), (NULL)) AS v(x)
SELECT x::oid AS a FROM (VALUES (1::bigint), (-1)) AS v(x)
SELECT ARRAY[-1]::oid[] AS a
SELECT a.x FROM (VALUES (1), (-1)) AS a(x) JOIN (VALUES (4294967295::oid), (1)) AS b(y) ON a.x = b.y

-- Constants of two types beside labels.
SELECT id FROM crm.clients WHERE kind = 'old' AND kind = 'old'::text
SELECT id FROM crm.clients WHERE kind = 'new' AND kind <> 'old'::text
SELECT id FROM crm.clients WHERE kind IN ('new', 'old') AND kind NOT IN ('old'::text, 'it''s')

-- Patterns that are computed.
SELECT 'ab' LIKE ('a' || '\') AS a
SELECT 'a' LIKE ('a' || '\') AS a, 'a' LIKE ('b' || '\') AS b, '' LIKE ('%' || '\') AS c, 'a' NOT LIKE ('a' || '\') AS d, NULL LIKE ('a' || '\') AS e
SELECT 'a' LIKE ('%' || '\') AS a
SELECT 'Ab' ILIKE ('a' || '\') AS a
SELECT 'ab' NOT LIKE ('a' || '\') AS a
SELECT 'ab' LIKE 'ax' ESCAPE 'x' AS a
SELECT x LIKE p AS a, x NOT LIKE p AS b, x ILIKE upper(p) AS c FROM (VALUES ('abc', 'a%'), ('a%c', 'a\%_'), ('', '%'), ('aäc', '_ä_'), ('a', NULL), ('xaby', '%a_%')) AS v(x, p)
SELECT id FROM shop.customers WHERE name LIKE 'A' || '%'
SELECT id FROM archive.parcels WHERE label LIKE left(label, 1) || '%'
SELECT 'a' SIMILAR TO 'a\' AS a, 'ab' SIMILAR TO 'a\' AS b
SELECT 'a' SIMILAR TO 'a' ESCAPE 'xy' AS a
SELECT 'a' LIKE 'a' ESCAPE 'xy' AS a
SELECT 'a' SIMILAR TO 'a' ESCAPE NULL AS a, 'a' LIKE 'a' ESCAPE NULL AS b
