-- Set-returning functions: types, steps, bounds.
SELECT i, i + 1 AS j FROM generate_series(1, 10, 3) AS g(i)
SELECT i FROM generate_series(5, 1, -2) AS g(i) ORDER BY i
SELECT i FROM generate_series(5, 1) AS g(i)
SELECT i FROM generate_series(1::bigint, 3) AS g(i)
SELECT i FROM generate_series(1, 3::bigint) AS g(i)
SELECT i FROM generate_series(1::smallint, 3::smallint) AS g(i)
SELECT i FROM generate_series(1.0, 2, 0.25) AS g(i)
SELECT i FROM generate_series(-1.5, 1) AS g(i)
SELECT i FROM generate_series(9223372036854775805, 9223372036854775807) AS g(i)
SELECT i FROM generate_series(2147483645, 2147483647) AS g(i)
SELECT i FROM generate_series(2147483645, 2147483647, 2) AS g(i)
SELECT i FROM generate_series(1, NULL::int) AS g(i)
SELECT i FROM generate_series(NULL::int, 3) AS g(i)
SELECT i FROM generate_series(1, 3, NULL::int) AS g(i)
SELECT i FROM generate_series(1, 3, 0) AS g(i)
SELECT i FROM generate_series(1.5, 3, 0.0) AS g(i)
SELECT i FROM generate_series('NaN'::numeric, 3) AS g(i)
SELECT i FROM generate_series(1, 'Infinity'::numeric) AS g(i)
SELECT i FROM generate_series(1, 1000000) AS g(i) LIMIT 3
SELECT count(*) AS n, sum(i) AS s FROM generate_series(1, 20000) AS g(i)
SELECT d FROM generate_series(TIMESTAMP '2024-01-31', TIMESTAMP '2024-06-30', INTERVAL '1 month') AS g(d)
SELECT d FROM generate_series(TIMESTAMP '2024-03-01 12:00:00', TIMESTAMP '2024-02-28', INTERVAL '-1 day') AS g(d)
SELECT d FROM generate_series(TIMESTAMPTZ '2024-01-30 00:00:00+00', TIMESTAMPTZ '2024-02-02 00:00:00+00', INTERVAL '12 hours') AS g(d)
SELECT d::date AS d FROM generate_series(DATE '2024-02-27', DATE '2024-03-01', INTERVAL '1 day') AS g(d)
SELECT d FROM generate_series(TIMESTAMP '2024-01-01', TIMESTAMP '2024-01-02', INTERVAL '0 days') AS g(d)
SELECT d FROM generate_series(DATE '2024-01-01', DATE '2024-12-31', '3 months') AS g(d)
SELECT d FROM generate_series('2024-01-01', '2024-01-03', INTERVAL '1 day') AS g(d)
SELECT i FROM generate_series(1.5::float8, 3) AS g(i)
SELECT * FROM generate_series(1, 3)
SELECT generate_series FROM generate_series(1, 3)
SELECT g FROM generate_series(1, 3) AS g
SELECT g.g, g.g * 2 AS h FROM generate_series(1, 3) g
SELECT * FROM generate_series('a', 'b') AS g(i)
SELECT * FROM generate_series(1, 3) AS g(i, j)
SELECT a.i, b.j FROM generate_series(1, 3) AS a(i), generate_series(1, 2) AS b(j)
SELECT a.i, b.j FROM generate_series(1, 3) AS a(i), generate_series(1, a.i) AS b(j)
SELECT a.i, b.j FROM generate_series(1, 3) AS a(i) CROSS JOIN LATERAL generate_series(a.i, 3) AS b(j) WHERE b.j > 1
SELECT a.i, b.j FROM generate_series(0, 2) AS a(i) LEFT JOIN LATERAL generate_series(1, a.i) AS b(j) ON true
SELECT a.i, b.j FROM generate_series(0, 3) AS a(i) JOIN LATERAL generate_series(1, a.i) AS b(j) ON b.j = a.i
SELECT c.id, g.i FROM shop.customers c, generate_series(1, c.small) AS g(i) WHERE c.small BETWEEN 1 AND 4
SELECT c.id, g.i FROM shop.customers c, LATERAL generate_series(1, cardinality(c.marks)) AS g(i)
SELECT l.id, g.i FROM crm.clients l LEFT JOIN LATERAL generate_series(l.tier, 3) AS g(i) ON true WHERE l.tier BETWEEN 0 AND 9
SELECT g.i, c.name FROM shop.customers c RIGHT JOIN generate_series(1, 5) AS g(i) ON c.id = g.i
SELECT g.i, count(c.id) AS n FROM generate_series(1, 12) AS g(i) LEFT JOIN shop.orders c ON c.customer = g.i GROUP BY g.i ORDER BY g.i
SELECT i FROM generate_series(1, 5) AS g(i) WHERE i IN (SELECT customer FROM shop.orders)
SELECT i FROM generate_series(1, (SELECT max(id) FROM shop.products WHERE id < 6)) AS g(i)
SELECT i FROM generate_series($1::int, $2::int) AS g(i) <- 2 <- 5
-- In the select list.
SELECT generate_series(1, 3) AS a, generate_series(1, 2) AS b
SELECT generate_series(1, 2) + 10 AS a, 'x' AS b
SELECT id, generate_series(1, small) AS n FROM shop.customers WHERE small BETWEEN 1 AND 3
SELECT id, unnest(tags) AS tag, unnest(marks) AS mark FROM shop.customers
SELECT id, unnest(tags) AS tag, generate_series(1, 2) AS n FROM shop.customers
SELECT id, upper(unnest(tags)) || '!' AS tag FROM shop.customers WHERE id < 3
SELECT generate_series(1, 6) AS a ORDER BY a DESC LIMIT 2
SELECT generate_series(3, 1, -1) AS a ORDER BY 1
SELECT DISTINCT generate_series(1, 4) % 2 AS a
SELECT unnest(tags) AS tag, count(*) AS n FROM shop.customers GROUP BY tag
SELECT unnest(tags) AS tag, count(*) AS n FROM shop.customers GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3
SELECT small, count(*) AS n, generate_series(1, 2) AS g FROM shop.customers WHERE small < 5 GROUP BY small
SELECT sum(x) AS s FROM (SELECT unnest(marks)::bigint AS x FROM shop.customers) AS t
SELECT count(*) AS n FROM (SELECT generate_series(1, 100)) AS t
SELECT x FROM (SELECT generate_series(1, 10) AS x) AS t WHERE x > 8
SELECT generate_series(1, 3) AS a UNION ALL SELECT 9
SELECT generate_series(1, NULL::int) AS a
SELECT generate_series(1, 3, 0) AS a
SELECT id, generate_subscripts(marks, 1) AS place FROM shop.customers
SELECT id, generate_subscripts(marks, 1, true) AS place, unnest(marks) AS mark FROM shop.customers
SELECT id, generate_subscripts(marks, 2) AS place FROM shop.customers
SELECT regexp_matches('foobarbequebaz', 'ba.', 'g') AS m
SELECT regexp_matches('foobarbequebaz', '(ba)(.)', 'g') AS m
SELECT regexp_matches('foobar', 'x') AS m
SELECT unnest(regexp_matches('foobarbequebaz', '(ba)(.)', 'g')) AS m
SELECT id, (regexp_matches(name, '[a-z]+', 'g'))[1] AS word FROM shop.customers WHERE id < 12
SELECT regexp_split_to_table('a, b,c', ',\s*') AS part
SELECT id, regexp_split_to_table(email, '@') AS part FROM shop.customers WHERE id < 5
SELECT * FROM regexp_split_to_table('one two three', '\s') WITH ORDINALITY AS t(word, place)
SELECT * FROM regexp_matches('a1b2', '[a-z]([0-9])', 'g') AS m
SELECT * FROM string_to_table('a,b,,c', ',', '') AS t(part)
SELECT string_to_table('abc', NULL) AS letter
-- Orders by what is not selected.
SELECT name, unnest(tags) AS tag FROM shop.customers WHERE id < 12 ORDER BY id, tag
SELECT unnest(tags) AS tag FROM shop.customers WHERE id < 12 ORDER BY -id, 1 LIMIT 5
SELECT generate_series(1, 2) AS n, name FROM shop.customers WHERE id < 6 ORDER BY customers.id DESC, n
SELECT c.name, regexp_split_to_table(c.email, '@') AS part FROM shop.customers c WHERE c.id < 9 ORDER BY c.id, part DESC NULLS LAST
SELECT name, jsonb_array_elements_text('["b", "a"]'::jsonb) AS e FROM shop.customers WHERE id < 4 ORDER BY id, e
SELECT id FROM shop.customers WHERE id < 12 ORDER BY unnest(marks), id
SELECT small, generate_series(1, 2) AS g FROM shop.customers WHERE small < 5 GROUP BY small ORDER BY count(*), small, g
SELECT count(*) AS n, max(x) AS m FROM (SELECT unnest(tags) AS x FROM shop.customers ORDER BY id DESC, x LIMIT 4) AS t
SELECT level, row_number() OVER (ORDER BY id) AS r, generate_series(1, 2) AS g FROM shop.customers WHERE id < 5 ORDER BY id DESC, g
SELECT unnest(tags) AS tag FROM shop.customers WHERE id < 12 ORDER BY nothing
-- Places that take no sets.
SELECT id FROM shop.customers WHERE generate_series(1, 2) = 1
SELECT id FROM shop.customers WHERE unnest(marks) = 1
SELECT CASE WHEN id > 1 THEN generate_series(1, 2) ELSE 0 END AS a FROM shop.customers
SELECT COALESCE(unnest(marks), 0) AS a FROM shop.customers
SELECT sum(generate_series(1, 3)) AS a
SELECT count(*) FROM shop.customers HAVING generate_series(1, 2) > 0
SELECT c.id FROM shop.customers c JOIN shop.orders o ON generate_series(1, 2) = o.id
SELECT id FROM shop.customers LIMIT generate_series(1, 2)
SELECT * FROM generate_series(1, generate_series(1, 2)) AS g(i)
VALUES (generate_series(1, 2))
-- Ordinality, several arrays.
SELECT * FROM generate_series(10, 12) WITH ORDINALITY
SELECT * FROM generate_series(10, 12) WITH ORDINALITY AS g(i, n) ORDER BY n DESC
SELECT * FROM unnest(ARRAY['a', 'b', NULL]) WITH ORDINALITY AS t(x)
SELECT t.x, t.ordinality FROM unnest(ARRAY[1, 2]) WITH ORDINALITY AS t(x)
SELECT * FROM unnest(ARRAY[1, 2, 3], ARRAY['a', 'b']) AS t(n, x)
SELECT * FROM unnest(ARRAY[1, 2, 3], ARRAY['a', 'b']) WITH ORDINALITY AS t(n, x, place)
SELECT * FROM unnest(ARRAY[1, 2], ARRAY['a'])
SELECT c.id, t.tag, t.mark, t.n FROM shop.customers c, unnest(c.tags, c.marks) WITH ORDINALITY AS t(tag, mark, n)
SELECT c.id, t.tag FROM shop.customers c LEFT JOIN LATERAL unnest(c.tags) AS t(tag) ON true
SELECT c.id, t.tag, t.n FROM shop.customers c LEFT JOIN unnest(c.tags) WITH ORDINALITY AS t(tag, n) ON true
SELECT c.id, t.tag FROM shop.customers c JOIN unnest(c.tags) AS t(tag) ON t.tag > 'a'
SELECT c.id, a.x, b.y FROM shop.customers c, unnest(c.tags) AS a(x), unnest(c.marks) AS b(y)
SELECT v.no, s.score, s.n FROM field.visits v, unnest(v.scores) WITH ORDINALITY AS s(score, n)
SELECT v.no, t.x FROM field.visits v CROSS JOIN LATERAL (SELECT unnest(v.tags) AS x) AS t
SELECT c.id, t.tag FROM shop.customers c, unnest(c.tags) AS t(tag) WHERE c.id = 4 AND t.tag <> ''
SELECT * FROM unnest(NULL::int[]) AS t(x)
SELECT * FROM unnest('{}'::text[]) AS t(x)
SELECT * FROM unnest('{1.50,2,NULL}'::numeric[]) AS t(x)
SELECT unnest(ARRAY['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']::uuid[]) AS u, unnest(ARRAY[1.5, 2.25]) AS n
SELECT id FROM shop.customers WHERE id IN (SELECT unnest(ARRAY[1, 3, 5]))
SELECT array_agg(x ORDER BY x DESC) AS a FROM unnest(ARRAY[3, 1, 2]) AS t(x)
-- Arrays on either side of a join.
SELECT a.id, b.id AS other, a.tags, b.marks FROM shop.customers a JOIN shop.customers b ON a.id < b.id AND b.id < a.id + 2 WHERE a.id < 12
SELECT a.id, a.tags, b.tags AS other FROM (SELECT id, tags FROM shop.customers WHERE id < 5) a CROSS JOIN (SELECT id, tags FROM shop.customers WHERE id < 4) b
SELECT a.id, b.no, a.marks, b.scores, b.tags FROM shop.customers a CROSS JOIN field.visits b WHERE a.id < 6 AND b.no < 6
SELECT v.no, c.id, v.tags, c.tags AS other FROM field.visits v LEFT JOIN shop.customers c ON v.no > c.id WHERE v.no < 8
SELECT v.no, r.id, v.tags, r.tags AS other FROM field.visits v JOIN archive.reviews r ON v.no = r.id
SELECT v.no, v.scores, l.id FROM crm.clients l CROSS JOIN field.visits v WHERE v.no < 4 AND l.id < 4
SELECT a.id, t.u, t.n FROM shop.products a CROSS JOIN (SELECT ARRAY['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']::uuid[] AS u, ARRAY[1.5, 2.25] AS n) t WHERE a.id < 4
SELECT a.id, b.all_tags FROM shop.products a CROSS JOIN (SELECT array_agg(tag ORDER BY tag) AS all_tags FROM shop.customers c, unnest(c.tags) AS t(tag)) b WHERE a.id < 3
SELECT a.id, a.tags FROM shop.customers a FULL JOIN shop.customers b ON a.tags = b.tags AND a.id > b.id WHERE a.id < 20
SELECT a.id, b.id AS other FROM shop.customers a JOIN shop.customers b ON a.marks < b.marks WHERE a.id < 8 AND b.id < 8
-- Grouping sets and distinct values over types whose carriers compare differently.
SELECT wide, count(*) AS n FROM shop.customers WHERE id < 30 AND wide <> 'NaN' GROUP BY ROLLUP (wide) HAVING count(*) > 1
SELECT level, count(*) AS n FROM shop.customers GROUP BY ROLLUP (level)
SELECT level, active, count(*) AS n, grouping(level) AS g, grouping(active) AS h FROM shop.customers GROUP BY CUBE (level, active)
SELECT level, active, count(*) AS n FROM shop.customers GROUP BY GROUPING SETS ((level, active), (level), ())
SELECT prefs, level, count(*) AS n FROM shop.customers WHERE id < 20 GROUP BY GROUPING SETS ((prefs), (level))
SELECT address, count(*) AS n FROM shop.customers WHERE id < 20 GROUP BY ROLLUP (address)
SELECT code, level, sum(small) AS s, grouping(code, level) AS g FROM shop.customers WHERE id < 20 GROUP BY ROLLUP (code, level)
SELECT extract(year from seen) AS y, level, count(*) AS n FROM shop.customers WHERE isfinite(seen) GROUP BY CUBE (extract(year from seen), level)
SELECT level, sum(wide) AS s, max(wide) AS m FROM shop.customers WHERE wide <> 'NaN' GROUP BY ROLLUP (level) ORDER BY level NULLS FIRST, s
SELECT count(*) AS n FROM (SELECT wait FROM shop.customers GROUP BY ROLLUP (wait)) AS t
SELECT level, count(*) AS n FROM shop.customers GROUP BY level, ROLLUP (level)
SELECT active, array_agg(DISTINCT level)::text[] AS a FROM shop.customers GROUP BY active
SELECT array_agg(DISTINCT level ORDER BY level DESC)::text[] AS a FROM shop.customers
SELECT array_agg(DISTINCT level ORDER BY level NULLS FIRST)::text[] AS a FROM shop.customers
SELECT array_agg(DISTINCT small ORDER BY small DESC) AS a, array_agg(DISTINCT small) AS b FROM shop.customers
SELECT array_agg(DISTINCT name ORDER BY name) AS a FROM shop.customers WHERE id < 12
SELECT array_agg(DISTINCT address) AS a, array_agg(DISTINCT active) AS b FROM shop.customers WHERE id < 15
SELECT array_agg(DISTINCT token) AS a, array_agg(DISTINCT born) AS b FROM shop.customers WHERE id < 8
SELECT array_agg(DISTINCT small) FILTER (WHERE small > 3) AS a FROM shop.customers
SELECT array_agg(DISTINCT small ORDER BY id) AS a FROM shop.customers
SELECT array_agg(DISTINCT wide) AS a FROM shop.nothing n CROSS JOIN shop.customers c
SELECT count(DISTINCT wide) AS a, count(DISTINCT level) AS b, count(DISTINCT address) AS c, count(DISTINCT prefs) AS d FROM shop.customers
SELECT sum(DISTINCT wide) AS a, avg(DISTINCT wide) AS b FROM shop.customers WHERE wide <> 'NaN'
SELECT level, sum(wide) AS a, avg(wide) AS b, avg(balance) AS c, avg(small) AS d FROM shop.customers GROUP BY level
SELECT small, sum(wide) AS a, avg(wide) AS b, avg(id) AS c FROM shop.customers WHERE wide <> 'NaN' GROUP BY small
SELECT sum(wide) AS a, avg(wide) AS b FROM shop.customers WHERE false
SELECT small, sum(wide) FILTER (WHERE id > 20) AS a, avg(balance) FILTER (WHERE active) AS b FROM shop.customers GROUP BY small
SELECT sum(price) AS a, avg(price) AS b, stddev(price) AS c FROM shop.products
SELECT i % 7 AS k, sum(i * 1.001) AS a, avg(i * 0.5) AS b FROM generate_series(1, 2000) AS g(i) GROUP BY i % 7
-- An array of several dimensions is one sequence of elements; subscripts are those of one dimension.
SELECT u FROM unnest(ARRAY[[1, 2], [3, 4]]) AS u
SELECT unnest(ARRAY[['a', 'b'], ['c', NULL]]) AS u
SELECT u, o FROM unnest(ARRAY[[[1], [2]], [[3], [4]]]) WITH ORDINALITY AS t(u, o)
SELECT id, unnest(ARRAY[[id, small], [1, 2]]) AS u FROM shop.customers WHERE id < 4
SELECT id, u FROM (SELECT id, tags, unnest(tags) AS u FROM shop.customers) AS s ORDER BY id DESC, u NULLS FIRST LIMIT 30
SELECT u, email, id FROM (SELECT id, email, tags, name, unnest(tags) AS u FROM shop.customers) AS s ORDER BY email NULLS FIRST, id, u LIMIT 30
SELECT generate_subscripts(ARRAY[[1, 2, 3], [4, 5, 6]], 1) AS a
SELECT i FROM generate_subscripts(ARRAY[[1, 2, 3], [4, 5, 6]], 2) AS i
SELECT i FROM generate_subscripts(ARRAY[[1, 2, 3], [4, 5, 6]], 2, true) AS i
SELECT i FROM generate_subscripts(ARRAY[[1, 2, 3], [4, 5, 6]], 3) AS i
SELECT i FROM generate_subscripts(ARRAY[1], 0) AS i
SELECT array_ndims(ARRAY[[1, 2, 3], [4, 5, 6]]) AS a, array_length(ARRAY[[1, 2, 3], [4, 5, 6]], 2) AS b, array_upper(ARRAY[[1, 2, 3], [4, 5, 6]], 1) AS c, array_lower(ARRAY[[1, 2, 3], [4, 5, 6]], 2) AS d, cardinality(ARRAY[[1, 2, 3], [4, 5, 6]]) AS e, array_length(ARRAY[[1, 2, 3], [4, 5, 6]], 3) AS f
SELECT array_ndims('{}'::int[]) AS a, cardinality('{}'::int[]) AS b, array_lower('{}'::int[], 1) AS c, array_upper(ARRAY[7, 8], 1) AS d, cardinality(NULL::int[]) AS e
SELECT indkey[0] IS NOT NULL AS a, array_lower(indkey, 1) AS b, array_upper(indkey, 1) - array_length(indkey, 1) AS c FROM pg_index WHERE indnatts = 1 LIMIT 1
SELECT DISTINCT generate_subscripts(indkey, 1) AS a FROM pg_index WHERE indnatts = 1
SELECT DISTINCT indkey[1] IS NULL AS a FROM pg_index WHERE indnatts = 1
-- A subquery over a function of the row around it.
SELECT id, (SELECT count(*) FROM unnest(tags) AS u) AS n FROM shop.customers
SELECT id, (SELECT max(m) FROM unnest(c.marks) AS m WHERE m < c.id) AS m, email FROM shop.customers c
SELECT id, (SELECT string_agg(u, '-' ORDER BY u DESC) FROM unnest(tags) AS u WHERE u <> 'a') AS a, (SELECT sum(m) + c.id FROM unnest(c.marks) AS m) AS b FROM shop.customers c WHERE id < 100
SELECT id, (SELECT count(*) FROM generate_series(1, c.small) AS g(i) WHERE i % 2 = 0) AS n FROM shop.customers c WHERE small BETWEEN -5 AND 50
SELECT id FROM shop.customers c WHERE EXISTS (SELECT 1 FROM unnest(c.tags) AS x WHERE x = 'a')
SELECT id, balance FROM shop.customers c WHERE NOT EXISTS (SELECT 1 FROM unnest(c.tags) AS x(tag) WHERE x.tag <> 'a')
SELECT id, EXISTS (SELECT FROM unnest(c.marks) AS m WHERE m > 1) AS a FROM shop.customers c
SELECT id FROM shop.customers c WHERE (SELECT count(*) FROM unnest(c.marks) AS m) > 2 ORDER BY id
SELECT id, (SELECT bool_or(m IS NULL) FROM unnest(c.marks) AS m) AS a, (SELECT array_agg(m ORDER BY m) FROM unnest(c.marks) AS m) AS b FROM shop.customers c
SELECT c.id, o.id AS o, (SELECT count(*) FROM unnest(c.tags) AS u WHERE u < o.status) AS n FROM shop.customers c JOIN shop.orders o ON o.customer = c.id
SELECT no, (SELECT count(t) FROM unnest(v.tags) AS t) AS n, (SELECT avg(s) FROM unnest(v.scores) AS s) AS m FROM field.visits v
SELECT id, (SELECT count(*) FROM jsonb_array_elements(prefs) AS e) AS n FROM shop.customers WHERE jsonb_typeof(prefs) = 'array'
SELECT id, name, code, balance, wide, level, (SELECT count(*) FROM unnest(tags)) AS n FROM shop.customers
SELECT catcode::text AS c, barelabel, count(*) AS n, min(word) AS a, max(word) AS b FROM pg_get_keywords() GROUP BY catcode, barelabel
SELECT string_agg(k.word, ',' ORDER BY k.word) AS words FROM pg_catalog.pg_get_keywords() AS k WHERE k.word <> ALL ('{all,and,any}'::text[]) AND k.catdesc = 'reserved'
TABLE shop.products
SELECT id FROM (TABLE crm.clients ORDER BY id LIMIT 3) AS t
SELECT current_schema IS NULL AS a, current_schema() = current_schema AS b
SELECT x::regtype::text AS t FROM (VALUES ('int4'), ('text'), ('timestamptz')) AS v(x)
VALUES (2, 'b'), (1, 'a') ORDER BY column1 LIMIT 1

-- Outputs beside sets that have the names of columns which are read.
SELECT seen::date AS seen, unnest(tags) AS tag FROM shop.customers
SELECT seen::date AS seen, unnest(tags) FROM shop.customers WHERE id < 9 ORDER BY seen, 2
SELECT seen::date AS seen, unnest(tags) AS tag FROM shop.customers ORDER BY id, unnest(tags)
SELECT small AS id, id AS small, unnest(marks) AS mark FROM shop.customers ORDER BY small, mark
SELECT DISTINCT small % 2 AS small, unnest(tags) AS tag FROM shop.customers
SELECT small + 1 AS small, generate_series(1, small) AS n FROM shop.customers WHERE small BETWEEN 1 AND 3 UNION ALL SELECT 1, 2
SELECT q.small, count(*) AS n FROM (SELECT c.small % 3 AS small, unnest(c.tags) AS tag FROM shop.customers c) AS q GROUP BY q.small
SELECT max(small) AS small, unnest(tags) AS tag FROM shop.customers GROUP BY tags
SELECT -id AS id, unnest(ARRAY[id, 7]) AS u FROM shop.orders WHERE id < 4 GROUP BY id
SELECT -id AS id, unnest(ARRAY[id, 7]) AS u FROM shop.orders WHERE id < 4 GROUP BY id ORDER BY u, id
SELECT -id AS id, unnest(ARRAY[id, 7]) AS u FROM shop.orders WHERE id < 4 GROUP BY id HAVING count(*) > 0 ORDER BY count(*), id, u
