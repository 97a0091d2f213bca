-- Literals, operators and the types of expressions.

-- A CASE or COALESCE computes only what a row reaches.
SELECT id FROM shop.customers WHERE CASE WHEN small = 0 THEN true ELSE 10 / small > 2 END
SELECT id FROM shop.customers WHERE CASE WHEN small IS NULL THEN false WHEN small = 0 THEN true WHEN 10 / small > 2 THEN active ELSE 100 / small = 20 END
SELECT id FROM shop.customers WHERE CASE WHEN small = 0 THEN 'none' WHEN 10 / small > 2 THEN 'few' ELSE 'many' END = 'many'
SELECT id FROM shop.customers WHERE NOT CASE WHEN small = 0 THEN false ELSE 10 / small > 2 END
SELECT id, CASE WHEN small <> 0 THEN 10 / small END AS a, CASE small WHEN 0 THEN NULL ELSE 10 / small END AS b FROM shop.customers
SELECT id, CASE WHEN small = 0 THEN NULL ELSE 10 / small > 2 END AS a FROM shop.customers
SELECT id FROM shop.customers WHERE COALESCE(active, id / (id - id) > 0) AND active IS NOT NULL
SELECT id FROM shop.customers WHERE COALESCE(small > 2, id / small > 0) AND small <> 0
SELECT c.id, o.id AS o FROM shop.customers c JOIN shop.orders o ON o.customer = c.id AND CASE WHEN c.small = 0 THEN false ELSE 10 / c.small > 2 END
SELECT small, CASE WHEN count(email) = 0 THEN NULL ELSE count(*) / count(email) END AS a FROM shop.customers GROUP BY small
SELECT count(*) FILTER (WHERE CASE WHEN small = 0 THEN true ELSE 10 / small > 2 END) AS a FROM shop.customers
SELECT id FROM shop.customers WHERE CASE WHEN small = 0 THEN true ELSE 10 / small > $1 END <- 2

-- Constants fail before any row does.
SELECT CASE WHEN true THEN 1 ELSE 1 / 0 END AS a
SELECT CASE WHEN id > 0 THEN 1 ELSE 1 / 0 END AS a FROM shop.customers
SELECT CASE WHEN 1 = 2 THEN 1 / 0 ELSE 5 END AS a FROM shop.customers WHERE id < 3
SELECT CASE 1 WHEN 1 THEN 7 WHEN 2 THEN 1 / 0 END AS a
SELECT COALESCE(1, 1 / 0) AS a, COALESCE(NULL, 2, 1 / 0) AS b
SELECT COALESCE(small, 1 / 0) AS a FROM shop.customers WHERE small IS NOT NULL
SELECT 1 / 0 AS a FROM shop.nothing
SELECT id FROM shop.customers WHERE false AND 1 / 0 = 1
SELECT 99999::smallint AS a FROM shop.nothing
SELECT CASE WHEN false THEN 99999::smallint ELSE 5 END AS a
SELECT CASE WHEN NULL THEN 1 / 0 ELSE 3 END AS a, true OR 1 / 0 = 1 AS b

-- Interval literals in every form.
SELECT INTERVAL '1 day 02:00' AS a, INTERVAL '00:00:00.000001' AS b, INTERVAL '1 year 2 months' AS c, INTERVAL 'P1Y2M' AS d, INTERVAL '-1:02:03' AS e, INTERVAL '1.5 days' AS f, INTERVAL '1 day 3 hours ago' AS g
SELECT INTERVAL '@ 1 minute 30 secs' AS a, INTERVAL '1-2' AS b, INTERVAL '3 4:05:06' AS c, INTERVAL 'P0001-02-03T04:05:06' AS d, INTERVAL '1.5 months' AS e, INTERVAL '2 weeks 1.25 hours' AS f, INTERVAL '1 mon -1 days +02:03:04' AS g
SELECT INTERVAL '1' DAY AS a, INTERVAL '1:30' HOUR TO MINUTE AS b, INTERVAL '1:30' MINUTE TO SECOND AS c, INTERVAL '2-6' YEAR AS d, INTERVAL '5' MONTH AS e, INTERVAL '1 2:03:04' DAY TO SECOND AS f, INTERVAL '90' MINUTE AS g
SELECT INTERVAL '1.2345' SECOND(2) AS a, INTERVAL '1 day 2:03:04' HOUR AS b, INTERVAL '1 day 2:03:04' DAY AS c, '1.98765'::interval(1) AS d, '10'::interval hour AS e
SELECT INTERVAL '1 2' DAY TO HOUR AS a, INTERVAL '1 2:03' DAY TO MINUTE AS b, INTERVAL '1 2 hours' AS c, INTERVAL '-1 2:03:04' AS d, INTERVAL '5 mins 10' AS e, INTERVAL 'P-1Y2M' AS f
SELECT INTERVAL '1:60:00' AS a
SELECT INTERVAL '1-13' AS a
SELECT INTERVAL '1 2' AS a
SELECT INTERVAL '1 foo' AS a
SELECT INTERVAL '' AS a
SELECT INTERVAL '1 day 1 day' AS a
SELECT INTERVAL '1 month' = INTERVAL '30 days' AS a, INTERVAL '1 day' = INTERVAL '24:00' AS b, INTERVAL '1 month' < INTERVAL '31 days' AS c, INTERVAL '-1 day' < INTERVAL '0' AS d, INTERVAL '1 year' > INTERVAL '359 days' AS e
SELECT INTERVAL '1 month' * 1.5 AS a, INTERVAL '1 month' / 3 AS b, 2 * INTERVAL '1:30' AS c, INTERVAL '1 year' / 7 AS d, INTERVAL '1 day' * 0.3 AS e, INTERVAL '5 days' / 2.5 AS f, -INTERVAL '1 mon -2 days' AS g
SELECT INTERVAL '1 day' / 0 AS a
SELECT justify_days(INTERVAL '65 days') AS a, justify_hours(INTERVAL '50:10') AS b, justify_interval(INTERVAL '1 mon -1 hour') AS c, justify_days(INTERVAL '-35 days') AS d, justify_hours(INTERVAL '-25:00') AS e
SELECT extract(epoch FROM INTERVAL '1 day 02:00') AS a, extract(month FROM INTERVAL '14 months') AS b, extract(hour FROM INTERVAL '50:10') AS c, date_part('day', INTERVAL '3 days 4 hours') AS d, extract(second FROM INTERVAL '1.25 secs') AS e
SELECT age(TIMESTAMP '2024-03-01', TIMESTAMP '2023-01-31') AS a, age(DATE '2000-01-01', DATE '2000-02-29') AS b, TIMESTAMP '2024-03-01 12:00' - TIMESTAMP '2024-02-28 13:00' AS c
SELECT DATE '2024-01-31' + INTERVAL '1 month' AS a, TIMESTAMP '2024-03-31 10:00' - INTERVAL '1 month 1:00' AS b, TIME '10:00' + INTERVAL '25:30' AS c, TIMESTAMPTZ '2024-01-01 00:00+00' + INTERVAL '1 day 00:00:01' AS d
SELECT id, wait + INTERVAL '1:00' AS a, wait * 2 AS b, wait > INTERVAL '1 day' AS c FROM shop.customers
SELECT id FROM shop.orders WHERE placed >= TIMESTAMP '2024-03-01' - INTERVAL '1 month' AND placed < TIMESTAMP '2024-03-01' + INTERVAL '12' HOUR

-- Whole numbers have the first type they fit.
SELECT pg_typeof(1) AS a, pg_typeof(2147483648) AS b, pg_typeof(9223372036854775808) AS c, pg_typeof(-2147483648) AS d, pg_typeof(-9223372036854775808) AS e, pg_typeof(-(-9223372036854775808)) AS f, pg_typeof(1.0) AS g, pg_typeof(1e2) AS h
SELECT -2147483648 AS a, -9223372036854775808 AS b, -(-2147483648) AS c, - -5 AS d, 9223372036854775808 AS e, -9223372036854775809 AS f, +7 AS g
SELECT -9223372036854775808::bigint AS a
SELECT 2147483648::int AS a
SELECT 0::boolean AS a, 2::boolean AS b, 1::text AS c, 3::bigint AS d, 5::numeric(5,2) AS e, 7::float4 AS f, 1::smallint AS g, (-1)::text AS h
SELECT 10::bit(8) AS a, 10::bit AS b, (-1)::bit(40) AS c, 10::bigint::bit(4) AS d, 10::bit(4)::int AS e, B'1010' AS f, X'1F' AS g, B'1010'::bigint AS h
SELECT id FROM shop.customers WHERE id < 9223372036854775808 AND small > -9223372036854775809
SELECT small + 2147483648 AS a, small * 9223372036854775808 AS b FROM shop.customers WHERE small < 5
SELECT to_hex(10) AS a, abs(-5) AS b, mod(7, 4) AS c, sum(1) AS d, avg(2) AS e, max(3) AS f
SELECT 0x1F AS a
SELECT 1_000 AS a
SELECT 12abc

-- Types by name.
SELECT pg_typeof('x') AS a, pg_typeof(NULL) AS b, pg_typeof(ARRAY[1, 2]) AS c, pg_typeof(INTERVAL '1 day') AS d, pg_typeof(now()) AS e, pg_typeof(true) AS f, pg_typeof(pg_typeof(1)) AS g
SELECT pg_typeof(name) AS a, pg_typeof(email) AS b, pg_typeof(tags) AS c, pg_typeof(score) AS d, pg_typeof(wait) AS e, pg_typeof(code) AS f FROM shop.customers WHERE id = 1
SELECT pg_typeof(1) = 'int8' AS a
SELECT pg_typeof(1) = 'integer'::regtype AS a, pg_typeof(1) = '20' AS b, pg_typeof(1)::text AS c, 'character varying'::regtype AS d, pg_typeof(1)::oid AS e

-- Operators.
SELECT id FROM shop.customers WHERE small BETWEEN SYMMETRIC 2 AND 5
SELECT id FROM shop.customers WHERE small NOT BETWEEN SYMMETRIC 5 AND 2
SELECT id FROM shop.customers WHERE small BETWEEN ASYMMETRIC 2 AND 5
SELECT id, small BETWEEN SYMMETRIC NULL AND 3 AS a, small NOT BETWEEN SYMMETRIC 3 + 1 AND 1 AS b FROM shop.customers
SELECT id FROM shop.customers WHERE name BETWEEN SYMMETRIC 'm' AND 'a' AND NOT active
SELECT ~5 AS a, ~(-1) AS b, @ -5 AS c, @ -5.5 AS d, |/ 25 AS e, ||/ 8.0 AS f, ~5::bigint AS g, ~B'101' AS h
SELECT ~ 5 + 1 AS a, @ -5 + 3 AS b, |/ 16 + 9 AS c, 2 * @ -3 + 1 AS d, ~ 5 * 2 AS e
SELECT -2 ^ 2 AS a, 2 ^ 3 ^ 2 AS b, 2 ^ -1 AS c, -(2 ^ 2) AS d, 2 * 3 ^ 2 AS e, 2 ^ -1 ^ 2 AS f
SELECT id, ~small AS a, @ small AS b, @ balance AS c FROM shop.customers
SELECT id, small & 3 AS a, small | 8 AS b, small # 5 AS c, small << 2 AS d, id >> 1 AS e, small & id AS f FROM shop.customers
SELECT 1 << 33 AS a, 1::bigint << 40 AS b, -8 >> 1 AS c, 1 << 2 + 1 AS d, 5 & 3 | 8 AS e, B'1010' & B'0110' AS f, B'1010' # B'0110' AS g, 32767::smallint << 1 AS h
SELECT B'101' & B'1' AS a
SELECT 1.5 & 1 AS a
SELECT !! 5 AS a
SELECT ~ 'x'::text AS a

-- The common type of branches.
SELECT id, COALESCE(email, name) AS a, COALESCE(name, email) AS b, COALESCE(code, email) AS c, COALESCE(email, 'none') AS d FROM shop.customers
SELECT id, CASE WHEN active THEN email ELSE name END AS a, CASE WHEN active THEN name ELSE email END AS b, CASE WHEN active THEN email END AS c FROM shop.customers
SELECT id, GREATEST(small, balance) AS a, LEAST(small, 2.5) AS b, GREATEST(email, name) AS c, COALESCE(small, 1.5) AS d, COALESCE(rating, balance) AS e FROM shop.customers
SELECT email FROM shop.customers UNION ALL SELECT name FROM shop.customers
SELECT name FROM shop.customers UNION SELECT email FROM shop.customers
SELECT small FROM shop.customers UNION ALL SELECT 1.5
SELECT ARRAY[1, 2.5] AS a, ARRAY[small, id] AS b, ARRAY[email, name] AS c FROM shop.customers WHERE id = 1
SELECT DATE '2024-01-01' AS a UNION SELECT TIMESTAMP '2024-01-02 03:04'
SELECT DATE '2024-01-01' AS a UNION SELECT TIME '10:00'
SELECT 1 AS a UNION SELECT 'x'::text
SELECT CASE WHEN true THEN 1 ELSE 'x'::text END AS a
SELECT COALESCE(1, 'x') AS a
SELECT COALESCE(born, seen) AS a FROM shop.customers

-- A name that two outputs have.
SELECT a FROM (SELECT 1 AS a, 2 AS a) t
SELECT t.a FROM (SELECT 1 AS a, 2 AS a) t
SELECT * FROM (SELECT 1 AS a, 2 AS a, 3 AS b) t
SELECT b FROM (SELECT 1 AS a, 2 AS a, 3 AS b) t
WITH t AS (SELECT id, id, name FROM shop.customers) SELECT id FROM t
WITH t AS (SELECT id, id, name FROM shop.customers) SELECT * FROM t
WITH t(x, y) AS (SELECT id, id FROM shop.customers) SELECT x, y FROM t
SELECT count(*) AS n FROM (SELECT c.id, o.id FROM shop.customers c JOIN shop.orders o ON o.customer = c.id) t

-- Escapes of Unicode.
SELECT U&'\00e9t\+0000e9' AS a, u&'a''b\\c' AS b
-- String literals beside each other: one over several lines, an error on one.
SELECT 'a'⏎'b' AS a
SELECT 'it'⏎'''s'  -- a 'comment'⏎⏎ ' b' AS a
SELECT E'a\t'⏎'\x41''b' AS a, 'a\n'⏎'\n' AS b
SELECT id FROM shop.customers WHERE name = 'A'⏎'da'
SELECT 'a'⏎'b' || 'c'⏎'d' AS a, '1'⏎'2'::int AS b
SELECT id FROM shop.customers WHERE name IN ('A'⏎'da',⏎'zoe')
SELECT 'a' 'b' AS a
SELECT 'a' 'b'
SELECT 'a' /* x */⏎'b' AS a
SELECT 'a'⏎'b' 'c' AS a
SELECT 'a'⏎E'b' AS a
SELECT $$a$$⏎'b' AS a
-- Signs right behind operators.
SELECT 4>-4 AS a, 4>=-4 AS b, 4<>-4 AS c, 1>+1 AS d, 8<<-(-1) AS e, '[1,2]'::jsonb->-1 AS f, '[1,2]'::jsonb->>-1 AS g, 1-+1 AS h, 3<-3 AS i, 2=-2 AS j, 2*-3 AS k, 5>/* five */3 AS l
SELECT id FROM shop.customers WHERE small>-1 AND id<>-1 AND small>=-32768

-- Ranges: one text for each, and what is none.
SELECT '[1,5]'::int4range::text AS a, '(1,5)'::int8range::text AS b, ' [ 2024-02-28 , 2024-02-29 ] '::daterange::text AS c, '(1,2)'::int4range::text AS d, 'Empty'::int4range::text AS e, '[,5]'::int4range::text AS f, '(,)'::int8range::text AS g
SELECT '[1.50,2.0]'::numrange::text AS a, '(1.0,1]'::numrange::text AS b, '[2024-01-01,"2024-01-02 03:04")'::tsrange::text AS c, '(-infinity,infinity]'::daterange::text AS d, '["1",\5]'::int4range::text AS e, '[2024-01-01 00:00+01,)'::tstzrange::text AS f
SELECT '[5,1]'::int4range AS a
SELECT '[1,2'::int4range AS a
SELECT '[1;2]'::int4range AS a
SELECT '[a,2]'::int4range AS a
SELECT '[1,2147483647]'::int4range AS a
SELECT '(9223372036854775807,)'::int8range AS a
SELECT '[2024-02-30,)'::daterange AS a
SELECT id FROM shop.customers WHERE small @> 5
SELECT id FROM shop.customers WHERE small && 5 AND id > 0
SELECT id FROM shop.customers WHERE small <@ ARRAY[1]
-- Words that are names where they stand.
SELECT id, by FROM (SELECT 1 AS id, 2 AS by) AS t
SELECT by, count(*) AS n FROM (SELECT id % 3 AS by FROM shop.orders) AS t WHERE by IS NOT NULL GROUP BY by ORDER BY by
SELECT t.by FROM (SELECT 2 AS by) AS t
SELECT 1 AS where FROM (SELECT 1) AS t(a)
SELECT 1 AS and, 2 AS not, 3 AS having FROM shop.customers WHERE id = 1
SELECT id FROM shop.customers ORDER BY WHERE id
SELECT 'foo'::point
SELECT ('(1, 2.50)'::point)::text AS a, (' 1,4,3,2'::box)::text AS b, ('[(1,2),(3,4)]'::path)::text AS c, ('<(1,2),3>'::circle)::text AS d
SELECT name::polygon::text AS a FROM shop.customers WHERE name IS NOT NULL
