-- Arrays beside untyped literals and parameters, arrays of labels, and untyped NULLs in documents.
SELECT ARRAY[2] @> '{1}' AS a, ARRAY[2, 1] @> '{1}' AS b, '{1}' <@ ARRAY[1, 2] AS c, ARRAY['a', 'b'] && '{b}' AS d, ARRAY[1.50] @> '{1.5}' AS e, ARRAY[1] @> NULL AS f
SELECT id, tags @> '{a}' AS a, tags && '{b,Ü}' AS b, tags <@ '{a,b,NULL}' AS c, '{a}' <@ tags AS d, tags @> '{}' AS e, marks @> '{1}' AS f, marks && '{0,3}' AS g FROM shop.customers
SELECT id FROM shop.customers WHERE tags @> '{a}'
SELECT id FROM shop.customers WHERE marks <@ '{0,1,2,3}' AND NOT marks && '{3}'
SELECT count(*) FILTER (WHERE tags && '{a}') AS a, bool_or(marks @> '{0}') AS b FROM shop.customers
SELECT a.id, b.id AS b FROM shop.customers a JOIN shop.customers b ON a.marks && '{1}' AND b.tags @> '{a}' AND a.id = b.id WHERE a.id < 50
SELECT id, CASE WHEN tags @> '{a}' THEN 'a' WHEN marks && '{0}' THEN 'zero' END AS a FROM shop.customers ORDER BY tags @> '{b}', id
SELECT level, bool_and(tags <@ '{a,b}') AS a FROM shop.customers GROUP BY level HAVING NOT bool_and(tags @> '{zz}')
SELECT id FROM shop.customers WHERE tags @> 'a'
SELECT ARRAY[1] && 'x' AS a
SELECT ARRAY[1] @> '{a}' AS a
SELECT '{1}' @> '{2}' AS a
SELECT ARRAY[1] @> ARRAY[1::bigint] AS a
SELECT ARRAY[1] @> 1 AS a
SELECT array_length('{1,2}', 1) AS a
SELECT array_to_string('{1,2}', ',') AS a
SELECT array_cat(ARRAY[1], '{2}') AS a, array_append(ARRAY[1], '2') AS b, array_prepend('2', ARRAY[1]) AS c, ARRAY[1] || '{2,3}' AS d, '{0}' || ARRAY[1] AS e, ARRAY[1] || NULL AS f
SELECT ARRAY[1] || 2.5 AS a, array_cat(ARRAY[1], ARRAY[2::bigint]) AS b, ARRAY[1.50] || 2 AS c, array_append(ARRAY[1::smallint], 2) AS d
SELECT id, array_append(tags, 'z') AS a, array_prepend('z', tags) AS b, array_cat(tags, '{y,z}') AS c, marks || '{5}' AS d, '{5}' || marks AS e FROM shop.customers
SELECT array_cat(ARRAY[1], 'x') AS a
SELECT array_append(ARRAY[1], 'x') AS a
SELECT array_append(ARRAY[1], 'x'::text) AS a
SELECT id, array_position(marks, '3') AS a, array_positions(marks, 3) AS b, array_remove(tags, 'a') AS c, array_replace(marks, '3', NULL) AS d, array_remove(marks, NULL) AS e FROM shop.customers
SELECT array_position(ARRAY[1.5, 2.0], 2) AS a, array_position(ARRAY[1, 2], 2.0) AS b, array_remove(ARRAY[1, 2, 1], 1) AS c, array_replace(ARRAY[1, 2, 1], 1, 9) AS d, array_position('{a,b}', 'b') AS e
SELECT id, tags IS DISTINCT FROM '{a,b}' AS a, marks IS NOT DISTINCT FROM '{1,2,3}' AS b, '{}' IS DISTINCT FROM marks AS c FROM shop.customers
SELECT id FROM shop.customers WHERE marks IS DISTINCT FROM '{}' AND small IS DISTINCT FROM '1'
SELECT id, tags = '{a,b}' AS a, marks < '{1,2}' AS b, marks <> '{0}' AS c FROM shop.customers
SELECT ARRAY[1] IS DISTINCT FROM 'x' AS a
SELECT id FROM shop.customers WHERE tags @> $1 <- {a}
SELECT id FROM shop.customers WHERE tags && $1 <- {b,"x y"}
SELECT id FROM shop.customers WHERE marks <@ $1 <- {0,1,2,3}
SELECT id FROM shop.customers WHERE $1 <@ marks <- {3}
SELECT id, marks || $1 AS a FROM shop.customers WHERE id < 9 <- {7,NULL}
SELECT id, array_append(marks, $1) AS a FROM shop.customers WHERE id < 9 <- 7
SELECT id FROM shop.customers WHERE marks IS DISTINCT FROM $1 <- {1,2,3}
SELECT id FROM shop.customers WHERE tags @> $1 <- \N
SELECT active, array_agg(level) @> '{gold}' AS a, array_agg(level) && '{bronze,silver}' AS b, array_agg(level) <@ '{gold,silver}' AS c FROM shop.customers GROUP BY active
SELECT active, array_agg(level)::text[] @> ARRAY['gold'] AS a, array_agg(level)::text[] <@ ARRAY['gold', 'silver', 'bronze'] AS b FROM shop.customers GROUP BY active
SELECT id FROM shop.customers WHERE ARRAY[level] @> '{gold}'
SELECT id FROM shop.customers WHERE ARRAY[level] && '{gold,bronze}' AND id < 60
SELECT id FROM shop.customers WHERE ARRAY[level] <@ '{silver}'
SELECT id FROM shop.customers WHERE ARRAY[level] @> '{copper}'
SELECT a.id, b.id AS b FROM shop.customers a JOIN shop.customers b ON ARRAY[a.level] && ARRAY[b.level] WHERE a.id < 10 AND b.id < 10
SELECT id, array_position(ARRAY[level], 'gold') AS a FROM shop.customers WHERE id < 20
SELECT id FROM shop.customers WHERE ARRAY[level] && $1 <- {gold,silver}
SELECT row_to_json(r) AS a FROM (SELECT 1 AS a, NULL AS b) r
SELECT to_jsonb(r) AS a, to_json(r) AS b FROM (SELECT NULL AS a, 'x' AS b, NULL AS c) r
SELECT json_agg(r) AS a, jsonb_agg(r) AS b FROM (SELECT 1 AS a, NULL AS b) r
SELECT json_build_object('b', b, 'c', NULL) AS a, jsonb_build_array(b, NULL) AS b, to_json(b) AS c, json_agg(b) AS d FROM (SELECT NULL AS b) r GROUP BY b
SELECT id, row_to_json(r) AS a FROM (SELECT id, NULL AS nothing FROM shop.products) r WHERE id < 5
SELECT row_to_json(r) AS a FROM (SELECT id, NULL AS nothing FROM archive.parcels WHERE id < 5) r
SELECT json_agg(row_to_json(r)) AS a FROM (VALUES (1, NULL), (2, NULL)) r(a, b)
SELECT upper(b) AS a, b || 'x' AS b, length(b) AS c, coalesce(b, 'none') AS d, concat('<', b, '>') AS e, b IS NULL AS f FROM (SELECT 1 AS a, NULL AS b) r
SELECT json_object_agg(a, b) AS a FROM (SELECT 'k' AS a, NULL AS b) r
SELECT active FROM shop.customers GROUP BY active HAVING 'gold' < ANY (array_agg(level)) OR 'silver' >= ALL (array_agg(level))
-- Literals with bounds, which a list carries where they begin at 1.
SELECT '[1:2]={1,2}'::int[] AS a, ' [2] = {x,"y z"}'::text[] AS b, ('[1:2]={3,4}'::int[])[2] AS c, ARRAY[1, 2] @> '[1:1]={2}' AS d
SELECT $1::int[] AS a, $2::text[] AS b <- [1:2]={1,2} <- [+1:1]={a}
SELECT '[1:3]={1,2}'::int[] AS a
SELECT '[1:2]={{1},{2}}'::int[] AS a
SELECT '[1:2]{1,2}'::int[] AS a
SELECT '[1:2]=1,2'::int[] AS a
SELECT '[1:]={1,2}'::int[] AS a
SELECT '[x:2]={1,2}'::int[] AS a
SELECT '[2:1]={}'::int[] AS a
SELECT '[1][1][1][1][1][1][1]={1}'::int[] AS a
SELECT '{a"b"}'::text[] AS a
SELECT '[2:3]={1,2}'::int[] AS a
