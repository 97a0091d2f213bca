-- mismatched
-- TODO binary: Tributary error 42702: column reference "id" is ambiguous PostgreSQL 3 row(s) of [id:23, customer:20, placed:1114, total:1700, status:25, note
SELECT o.*, p.label FROM shop.orders o JOIN archive.parcels p USING (id) WHERE id < 4
-- TODO binary: Tributary error 42883: operator does not exist: json = json PostgreSQL 5 row(s) of [id:20]
SELECT id FROM shop.customers WHERE (small, balance) IN ((1, 100.00), (2, 12.50))
-- TODO binary: Tributary error 42883: operator does not exist: jsonb ->> unknown PostgreSQL 260 row(s) of [id:20, a:25, b:3802]
SELECT id, prefs->>'a' AS a, prefs->'b' AS b FROM shop.customers
-- TODO binary: columns differ Tributary 4 row(s) of [d:1114] PostgreSQL 4 row(s) of [d:1184]
SELECT d FROM generate_series(DATE '2024-01-30', DATE '2024-02-02', INTERVAL '1 day') AS g(d)
-- TODO binary: Tributary error 22003: bigint out of range PostgreSQL 1 row(s) of [a:1700]
SELECT -(-9223372036854775808) AS a
-- TODO binary: 260 row(s), expected 260 only Tributary x0000000000000001 | ab| | x00000002 | x01 | AB | x00000002 only Tributary x0000000000000002 | a| | x00
SELECT id, code || '|' AS a, length(code) AS b, code = 'ab' AS c, upper(code) AS d, octet_length(code) AS e FROM shop.customers
-- TODO binary: Tributary error 42883: operator does not exist: json = json PostgreSQL 1 row(s) of [a:16, b:16]
SELECT ROW(1, 'a') = ROW(1, 'a') AS a, (1, 2) < (1, 3) AS b
-- TODO binary: Tributary error 42804: argument of OR must be type boolean, not type bigint PostgreSQL 71 row(s) of [no:20]
SELECT o.no FROM field.visits o WHERE NOT EXISTS (SELECT 1 FROM shop.customers i WHERE i.id = o.person AND NOT (i.seen IS NULL AND i.active NOT IN (true, false))) AND (o.person IS DISTINCT FROM 7 OR o.parcel = -1)
-- TODO binary: Tributary error 42804: argument of OR must be type boolean, not type date PostgreSQL 126 row(s) of [id:20, other:20]
SELECT a.id, b.id AS other FROM archive.parcels a JOIN crm.clients b ON a.id = b.shop_id WHERE (a.order_no BETWEEN -1 AND 7 AND (b.since IS DISTINCT FROM DATE '2024-02-29' OR b.memo IS DISTINCT FROM 'open'))
-- TODO binary: Tributary error 42804: argument of OR must be type boolean, not type numeric PostgreSQL 2 row(s) of [v:20]
SELECT t.client AS v FROM crm.calls t WHERE (t.cost BETWEEN 1000 AND -0.0001 OR t.minutes IN (0, 0)) EXCEPT SELECT t.product FROM archive.reviews t WHERE (t.share IS DISTINCT FROM -0.25 OR t.product IS NULL)
-- TODO binary: 11 row(s), expected 11 only Tributary x0000000000000000 | x0000000000000029 only PostgreSQL x8000000000000000 | x0000000000000029
SELECT score, count(*) FROM shop.customers GROUP BY score
-- TODO binary: Tributary error 42883: function json_agg does not exist PostgreSQL 1 row(s) of [a:114]
SELECT json_agg(small ORDER BY id) AS a FROM shop.customers WHERE id < 5
-- TODO binary: Tributary error 42601: syntax error at or near "5" PostgreSQL 89 row(s) of [id:20]
SELECT id FROM shop.customers WHERE small BETWEEN SYMMETRIC 5 AND 2
-- TODO binary: Tributary error 42883: operator does not exist: json > json PostgreSQL 77 row(s) of [id:20]
SELECT id FROM shop.customers WHERE (small, id) > (5, 100)
-- TODO binary: columns differ Tributary 5 row(s) of [i:20] PostgreSQL 5 row(s) of [i:23]
SELECT * FROM generate_series(1, 5) AS g(i)
-- TODO binary: 260 row(s), expected 260 only Tributary x0000000000000001 | a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 | \x00ff | {a,b} | {1,2,3} | {"a": 1, "b": [1
SELECT id, token::text AS a, raw::text AS b, tags::text AS c, marks::text AS d, prefs::text AS e, address::text AS f, level::text AS g, code::text AS h FROM shop.customers
-- TODO binary: Tributary error 42883: function isfinite does not exist PostgreSQL 190 row(s) of [id:20, a:1114, b:1184, c:1184]
SELECT id, born + INTERVAL '1 month' AS a, seen + INTERVAL '1 day 02:00' AS b, seen - INTERVAL '1 month' AS c FROM shop.customers WHERE isfinite(born) AND isfinite(seen)
-- TODO binary: Tributary error 42883: function isfinite does not exist PostgreSQL 197 row(s) of [id:20, a:1184, b:1114]
SELECT id, date_trunc('month', seen) AS a, date_trunc('hour', placed) AS b FROM shop.customers JOIN shop.orders USING (id) WHERE isfinite(seen)
-- TODO binary: 200 row(s), expected 200 only Tributary x0000000000000001 | x00000000 | x000003e8 | 1 | ZüRICH | x00000003 | Ada| only Tributary x000000000000
SELECT id, visits / 7 AS a, tier * 1000 AS b, tier::text AS c, upper(city) AS d, length(name) AS e, name || '|' AS f FROM crm.clients
-- TODO binary: Tributary error 42846: cannot cast type bigint to bit PostgreSQL 1 row(s) of [a:1560]
SELECT 10::bit(4) AS a
-- TODO binary: Tributary error 42804: argument of OR must be type boolean, not type numeric PostgreSQL 141 row(s) of [id:23, other:20]
SELECT a.id, b.id AS other FROM shop.orders a RIGHT JOIN shop.customers b ON a.id = b.id AND b.small <> -1 WHERE ((a.total IS DISTINCT FROM 0.5 OR a.status NOT IN ('日本', 'zoe')) AND (b.active <> false AND b.active IS DISTINCT FROM false))
-- TODO binary: Tributary error 42883: Cannot infer common argument type for logical boolean operation Utf8 AND Boolean PostgreSQL 267 row(s) of [id:20, topic
SELECT id, topic, minutes, cost, at FROM crm.calls t WHERE NOT (NOT (t.topic IS DISTINCT FROM 'Zoë' AND t.topic IS NOT NULL) AND (t.topic = 'ada ' OR t.cost IS NOT NULL))
-- TODO binary: Tributary error 42804: argument of OR must be type boolean, not type bigint PostgreSQL 8 row(s) of [quantity:23, count:20, avg:1700, sum:20, s
SELECT quantity, count(*), avg(order_id), sum(product), sum(quantity), max(price), min(discount) FROM shop.order_lines t WHERE (t.product IS DISTINCT FROM 8 OR t.order_id NOT IN (2, 1)) GROUP BY quantity
-- TODO binary: Tributary error 42883: Cannot infer common argument type for logical boolean operation Timestamp(µs, "UTC") OR Boolean PostgreSQL 120 row(s) o
SELECT a.no, b.no AS other FROM field.visits a FULL JOIN field.visits b ON a.parcel = b.client AND NOT (b.at IS DISTINCT FROM TIMESTAMPTZ '1970-01-01 00:00+00' OR b.no IS NULL) WHERE (a.amount NOT IN (-3.25, 12.340) AND b.amount NOT IN (-0.0001, 12.340))
-- TODO binary: 12 row(s), expected 12 only Tributary NULL | x0000000000000012 | x000100000000000008f7 | | x000000000000000b | x01 | x0000000000000000 | x002c
SELECT balance, count(*), sum(id), min(name), count(email), bool_or(active), min(score), max(born), max(seen), max(balance), sum(small) FROM shop.customers t WHERE (t.active BETWEEN true AND true OR t.born = DATE '1970-01-01') GROUP BY balance HAVING count(*) > 2
-- TODO binary: 1 row(s), expected 1 only Tributary x000000000000000b | x000000000000000a | x000000000000000a | x0000000000000009 | x000000000000000c only Pos
SELECT count(DISTINCT name) AS a, count(DISTINCT code) AS b, count(DISTINCT token) AS c, count(DISTINCT wait) AS d, count(DISTINCT score) AS e FROM shop.customers
-- TODO binary: columns differ Tributary 260 row(s) of [id:20, who:25, small:23, b:25] PostgreSQL 260 row(s) of [id:20, who:1043, small:23, b:1700]
SELECT id, COALESCE(email, name, '?') AS who, COALESCE(small, 0) AS small, COALESCE(NULL, balance, 1) AS b FROM shop.customers
-- TODO binary: the same rows in another order, from row 72: Tributary x0000000000000022 | x8000000000000000 PostgreSQL x0000000000000007 | x0000000000000000
SELECT id, score FROM shop.customers ORDER BY score, id
-- TODO binary: columns differ Tributary 5 row(s) of [i:20, name:25] PostgreSQL 5 row(s) of [i:23, name:25]
SELECT i, c.name FROM generate_series(1, 5) AS g(i) LEFT JOIN shop.customers c ON c.id = g.i
-- TODO binary: Tributary error 42000: Unary operator '-' only supports signed numeric, interval and timestamp types PostgreSQL 260 row(s) of [id:20, a:1700, 
SELECT id, wide + 1 AS a, wide * 2 AS b, wide - wide AS c, -wide AS d, abs(wide) AS e, round(wide, 3) AS f FROM shop.customers
-- TODO binary: Tributary error 42846: cannot cast type bigint to boolean PostgreSQL 1 row(s) of [a:1042, b:1043, c:25, d:25, e:23, f:16]
SELECT CAST('x' AS char(3)) AS a, 'abcdef'::varchar(3) AS b, 'ab'::char(4) || '|' AS c, 1::text AS d, true::int AS e, 0::boolean AS f
-- TODO binary: 1 row(s), expected 1 only Tributary x3ff6a09e667f3bcd | x000500000000000f0001102e054c094503b6 | x00050000000000100001102e054c094503b6 | x4005b
SELECT sqrt(2::float8) AS a, sqrt(2::numeric) AS b, power(2, 0.5) AS c, exp(1::float8) AS d, ln(10::float8) AS e, log(100::numeric) AS f, mod(7, 3) AS g, div(7, 2) AS h, cbrt(27::float8) AS i
-- TODO binary: Tributary error 42883: function isfinite does not exist PostgreSQL 174 row(s) of [id:23, a:1186, b:1114]
SELECT id, placed - TIMESTAMP '2024-01-01' AS a, placed + INTERVAL '00:00:00.000001' AS b FROM shop.orders WHERE isfinite(placed)
-- TODO binary: Tributary error 22000: Cannot cast Timestamp(µs, "UTC") value 9223372800000000 to Timestamp(ns): converted value exceeds the representable i64
SELECT id, to_char(seen, 'YYYY-MM-DD HH24:MI:SS.US') AS a FROM shop.customers WHERE seen BETWEEN '1900-01-01' AND '2300-01-01'
-- TODO binary: Tributary error 22P02: Invalid input syntax for type interval: "-1:02:03" PostgreSQL 1 row(s) of [a:1186, b:16, c:1186, d:1186, e:1186]
SELECT INTERVAL '1 year 2 months' + INTERVAL '3 days' AS a, INTERVAL '1 month' = INTERVAL '30 days' AS b, -INTERVAL '1:02:03' AS c, INTERVAL '90 minutes' / 2 AS d, justify_days(INTERVAL '65 days') AS e
-- TODO binary: 260 row(s), expected 260 only Tributary x0000000000000003 | ÅNGSTRöM | Ångström | ÅNgströM | x00000008 | x0000000a | x00000008 only Tributary 
SELECT id, upper(name) AS a, lower(name) AS b, initcap(name) AS c, length(name) AS d, octet_length(name) AS e, char_length(name) AS f FROM shop.customers
-- TODO binary: columns differ Tributary 1 row(s) of [a:25, b:25, c:25, d:25, e:25, f:25] PostgreSQL 1 row(s) of [a:2206, b:2206, c:2206, d:2206, e:2206, f:22
SELECT pg_typeof(1) AS a, pg_typeof(1.5) AS b, pg_typeof('x'::text) AS c, pg_typeof(id) AS d, pg_typeof(balance) AS e, pg_typeof(born) AS f FROM shop.customers WHERE id = 1
-- TODO binary: Tributary error 42883: Cannot infer common argument type for logical boolean operation Int64 AND Boolean PostgreSQL 282 row(s) of [id:20, othe
SELECT a.id, b.id AS other FROM crm.calls a RIGHT JOIN archive.parcels b ON a.client = b.id WHERE (NOT (a.minutes IS DISTINCT FROM 2 AND a.topic IS NULL) OR b.weight > 10.5)
-- TODO binary: Tributary error 42804: argument of AND must be type boolean, not type timestamp with time zone PostgreSQL 22 row(s) of [id:20]
SELECT o.id FROM shop.customers o WHERE o.id NOT IN (SELECT i.client FROM crm.calls i WHERE i.topic BETWEEN 'happy' AND 'happy') AND (o.seen IS DISTINCT FROM TIMESTAMPTZ '1970-01-01 00:00+00' AND o.score IN (-0.25, 2.5))
-- TODO binary: Tributary error 42883: Cannot infer common argument type for logical boolean operation Int64 AND Boolean PostgreSQL 200 row(s) of [id:20, othe
SELECT a.id, b.id AS other FROM crm.clients a LEFT JOIN archive.reviews b ON a.id = b.product AND NOT (b.rating IS DISTINCT FROM -128 AND b.title NOT IN ('日本', 'zoe')) WHERE (a.name IS NOT NULL AND (b.share > 2.5 OR b.rating IS NULL))
-- TODO binary: Tributary error 42804: argument of AND must be type boolean, not type timestamp without time zone PostgreSQL 223 row(s) of [id:20, other:20]
SELECT a.id, b.id AS other FROM archive.parcels a JOIN crm.calls b ON a.id = b.client WHERE (a.noted IS DISTINCT FROM TIMESTAMP '1970-01-01' AND b.client IS NOT NULL)
-- TODO binary: Tributary error 42883: Cannot infer common argument type for logical boolean operation Int64 AND Boolean PostgreSQL 1 row(s) of [v:1700]
SELECT t.price::numeric(24,4) AS v FROM shop.order_lines t WHERE NOT (t.product IS NULL OR t.price IS NOT NULL) INTERSECT SELECT t.quantity::numeric(24,4) FROM shop.order_lines t WHERE NOT (t.product IS DISTINCT FROM 7 AND t.quantity IN (127, 3))
-- TODO binary: Tributary error 42702: column reference "id" is ambiguous PostgreSQL 3 row(s) of [id:20, customer:20, placed:1114, total:1700, status:25, note
SELECT * FROM shop.orders o JOIN crm.calls c USING (id) WHERE id < 4
-- TODO binary: Tributary error 42883: operator does not exist: json = json PostgreSQL 8 row(s) of [id:20]
SELECT id FROM shop.customers WHERE (small, active) = (1, true)
-- TODO binary: Tributary error 22012: division by zero PostgreSQL 69 row(s) of [id:20]
SELECT id FROM shop.customers WHERE CASE WHEN small = 0 THEN false ELSE 10 / small > 2 END
-- TODO binary: Tributary error 42883: function unnest does not exist PostgreSQL 383 row(s) of [id:20, tag:25, place:20]
SELECT c.id, t.tag, t.place FROM shop.customers c CROSS JOIN LATERAL unnest(c.tags) WITH ORDINALITY AS t(tag, place)
-- TODO binary: Tributary error 42883: operator does not exist: json ->> unknown PostgreSQL 250 row(s) of [no:20, city:25]
SELECT no, address->>'city' AS city FROM field.visits
-- TODO binary: columns differ Tributary 1 row(s) of [g:1016] PostgreSQL 3 row(s) of [g:23]
SELECT generate_series(1, 3) AS g
-- TODO binary: columns differ Tributary 1 row(s) of [a:1184, b:1114, c:1184] PostgreSQL 1 row(s) of [a:1184, b:1184, c:1114]
SELECT TIMESTAMPTZ '2024-03-31 02:30:00 Europe/Berlin' AS a, TIMESTAMP '2024-07-01 12:00' AT TIME ZONE 'Europe/Berlin' AS b, TIMESTAMPTZ '2024-07-01 12:00+00' AT TIME ZONE 'America/New_York' AS c
-- TODO binary: Tributary error 42883: function to_number does not exist PostgreSQL 1 row(s) of [a:1009, b:25, c:25, d:1700]
SELECT string_to_array('a,b,,c', ',') AS a, array_to_string(ARRAY['a', NULL, 'c'], ',', '*') AS b, to_char(1234.5, 'FM9,999.00') AS c, to_number('1,234.5', '9,999.9') AS d
-- TODO binary: Tributary 1 row(s) of [a:1700, b:20, c:1700, d:1700, e:17] PostgreSQL error 42601: trailing junk after numeric literal at or near "0x1F"
SELECT 12345678901234567890 AS a, 1234567890123 AS b, 1e5 AS c, .5 AS d, 0x1F AS e
-- TODO binary: 12 row(s), expected 12 only Tributary NULL | x0000000000000017 | x00010000000000000dc3 | x0000000000000014 | %_@example.org | x01 | x7ff000000
SELECT small, count(*), sum(id), count(name), min(email), bool_or(active), max(score), max(born), count(seen), sum(balance), max(small) FROM shop.customers t WHERE (t.id IS NOT NULL OR t.email IS DISTINCT FROM 'box') GROUP BY small HAVING count(*) > 2
-- TODO binary: Tributary error 42804: argument of OR must be type boolean, not type bigint PostgreSQL 147 row(s) of [id:20]
SELECT o.id FROM archive.reviews o WHERE EXISTS (SELECT 1 FROM shop.order_lines i WHERE i.product = o.product AND (i.order_id IS DISTINCT FROM 30 OR i.quantity BETWEEN 0 AND 1.5)) AND o.rating IS DISTINCT FROM 2
-- TODO binary: 3 row(s), expected 3 only Tributary NULL | x0000000000000036 | x00010000000000001b90 | x0000000000000033 | x@y.z | NULL | x4340000000000000 | 
SELECT active, count(*), sum(id), count(name), max(email), bool_or(active), max(score), max(born), count(seen), sum(balance), sum(small) FROM shop.customers t WHERE (t.id IS NOT NULL OR t.email LIKE 'z_e') GROUP BY active
-- TODO binary: Tributary error 42804: argument of OR must be type boolean, not type bigint PostgreSQL 78 row(s) of [id:20]
SELECT o.id FROM archive.parcels o WHERE NOT EXISTS (SELECT 1 FROM shop.order_lines i WHERE i.product = o.order_no AND (i.product IS DISTINCT FROM 1 OR i.price IS NOT NULL)) AND NOT (o.label IS NOT NULL AND o.ok IS NULL)
-- TODO binary: Tributary error 42883: Cannot infer common argument type for logical boolean operation Int64 OR Boolean PostgreSQL 0 row(s) of [no:20, other:2
SELECT a.no, b.id AS other FROM field.visits a FULL JOIN shop.orders b ON a.mood = b.status AND b.status >= 'b' WHERE (NOT (a.open > false OR a.ratio IN (1e300, 1e300)) OR NOT (b.customer IS DISTINCT FROM 8 OR b.placed IN (TIMESTAMP '1970-01-01', TIMESTAMP '2024-02-29 12:30:45.123456'))) AND a.no < 40 AND b.id < 40
-- TODO binary: Tributary error 42883: Cannot infer common argument type for logical boolean operation Utf8 AND Boolean PostgreSQL 33 row(s) of [id:20]
SELECT o.id FROM archive.parcels o WHERE NOT EXISTS (SELECT 1 FROM shop.order_lines i WHERE i.product = o.id AND NOT (i.discount IS DISTINCT FROM 1e300 AND i.order_id > 30)) AND NOT (o.sent NOT IN (DATE '2024-02-29', DATE '1970-01-01') AND o.weight NOT IN (1000, -0.0001))
-- TODO binary: Tributary error 22P02: invalid input syntax for type boolean: "happy" PostgreSQL 5 row(s) of [id:20, b:701]
SELECT id, score AS b FROM shop.customers t WHERE (t.email IS DISTINCT FROM 'happy' OR t.score > 1e300) ORDER BY score, id LIMIT 5 OFFSET 5
