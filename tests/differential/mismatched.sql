-- Statements whose answers differ from those of PostgreSQL, each group with its reason.

-- generate_series over dates gives timestamps without time zone.
SELECT d FROM generate_series(DATE '2024-01-30', DATE '2024-02-02', INTERVAL '1 day') AS g(d)

-- A literal just beyond bigint is read as bigint and not as numeric.
SELECT -(-9223372036854775808) AS a


-- The parser does not know BETWEEN SYMMETRIC.
SELECT id FROM shop.customers WHERE small BETWEEN SYMMETRIC 5 AND 2

-- generate_series over integers gives bigint.
SELECT * FROM generate_series(1, 5) AS g(i)
SELECT i, c.name FROM generate_series(1, 5) AS g(i) LEFT JOIN shop.customers c ON c.id = g.i

-- Interval literals go through the planner's own parser, which does not know hours and minutes.
SELECT id, born + INTERVAL '1 month' AS a, seen + INTERVAL '1 day 02:00' AS b, seen - INTERVAL '1 month' AS c FROM shop.customers WHERE isfinite(born) AND isfinite(seen)
SELECT id, placed - TIMESTAMP '2024-01-01' AS a, placed + INTERVAL '00:00:00.000001' AS b FROM shop.orders WHERE isfinite(placed)
SELECT INTERVAL '1 year 2 months' + INTERVAL '3 days' AS a, INTERVAL '1 month' = INTERVAL '30 days' AS b, -INTERVAL '1:02:03' AS c, INTERVAL '90 minutes' / 2 AS d, justify_days(INTERVAL '65 days') AS e

-- Literals are bigint in casts, and bigint is not cast to bit.
SELECT 10::bit(4) AS a

-- COALESCE takes the common type by category preference, not by the first type of the branches.
SELECT id, COALESCE(email, name, '?') AS who, COALESCE(small, 0) AS small, COALESCE(NULL, balance, 1) AS b FROM shop.customers

-- Literals are bigint in casts, and bigint is not cast to boolean.
SELECT CAST('x' AS char(3)) AS a, 'abcdef'::varchar(3) AS b, 'ab'::char(4) || '|' AS c, 1::text AS d, true::int AS e, 0::boolean AS f

-- cbrt is the nearest float; the C library's is off by one unit in the last place before glibc 2.41.
SELECT cbrt(27::float8) AS a

-- pg_typeof gives text and not regtype.
SELECT pg_typeof(1) AS a, pg_typeof(1.5) AS b, pg_typeof('x'::text) AS c, pg_typeof(id) AS d, pg_typeof(balance) AS e, pg_typeof(born) AS f FROM shop.customers WHERE id = 1

-- A CASE that is a condition becomes AND and OR, which compute every branch.
SELECT id FROM shop.customers WHERE CASE WHEN small = 0 THEN false ELSE 10 / small > 2 END

-- generate_series in a select list gives an array, not rows.
SELECT generate_series(1, 3) AS g

-- PostgreSQL 15 has no hexadecimal numbers; the parser takes them for bytes.
SELECT 12345678901234567890 AS a, 1234567890123 AS b, 1e5 AS c, .5 AS d, 0x1F AS e
