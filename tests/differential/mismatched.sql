-- Statements whose answers differ from those of PostgreSQL, each group with its reason.

-- JSON numbers lose trailing zeros when a document is taken apart.
SELECT id, prefs->>'a' AS a, prefs->'b' AS b FROM shop.customers

-- generate_series over dates gives timestamps without time zone.
SELECT d FROM generate_series(DATE '2024-01-30', DATE '2024-02-02', INTERVAL '1 day') AS g(d)

-- char(n) is carried without its blanks, so octet_length does not count them.
SELECT id, code || '|' AS a, length(code) AS b, code = 'ab' AS c, upper(code) AS d, octet_length(code) AS e FROM shop.customers

-- 0 and -0 are one group; which of them is shown depends on the order of rows.
SELECT score, count(*) FROM shop.customers GROUP BY score

-- The aggregate json_agg is missing.
SELECT json_agg(small ORDER BY id) AS a FROM shop.customers WHERE id < 5

-- generate_series over integers gives bigint.
SELECT * FROM generate_series(1, 5) AS g(i)
SELECT i, c.name FROM generate_series(1, 5) AS g(i) LEFT JOIN shop.customers c ON c.id = g.i

-- inet without a mask is cast to text without /32.
SELECT id, token::text AS a, raw::text AS b, tags::text AS c, marks::text AS d, prefs::text AS e, address::text AS f, level::text AS g, code::text AS h FROM shop.customers

-- upper, lower and initcap change ASCII letters only.
SELECT id, visits / 7 AS a, tier * 1000 AS b, tier::text AS c, upper(city) AS d, length(name) AS e, name || '|' AS f FROM crm.clients
SELECT id, upper(name) AS a, lower(name) AS b, initcap(name) AS c, length(name) AS d, octet_length(name) AS e, char_length(name) AS f FROM shop.customers

-- min and max of floats pass over NaN and tell 0 from -0.
SELECT balance, count(*), sum(id), min(name), count(email), bool_or(active), min(score), max(born), max(seen), max(balance), sum(small) FROM shop.customers t WHERE (t.active BETWEEN true AND true OR t.born = DATE '1970-01-01') GROUP BY balance HAVING count(*) > 2
SELECT small, count(*), sum(id), count(name), min(email), bool_or(active), max(score), max(born), count(seen), sum(balance), max(small) FROM shop.customers t WHERE (t.id IS NOT NULL OR t.email IS DISTINCT FROM 'box') GROUP BY small HAVING count(*) > 2
SELECT active, count(*), sum(id), count(name), max(email), bool_or(active), max(score), max(born), count(seen), sum(balance), sum(small) FROM shop.customers t WHERE (t.id IS NOT NULL OR t.email LIKE 'z_e') GROUP BY active

-- 0 and -0 are counted as two values.
SELECT count(DISTINCT name) AS a, count(DISTINCT code) AS b, count(DISTINCT token) AS c, count(DISTINCT wait) AS d, count(DISTINCT score) AS e FROM shop.customers

-- -0 sorts before 0, where PostgreSQL takes them as equal.
SELECT id, score FROM shop.customers ORDER BY score, id

-- cbrt is exact where the C library is off by one unit in the last place.
SELECT sqrt(2::float8) AS a, sqrt(2::numeric) AS b, power(2, 0.5) AS c, exp(1::float8) AS d, ln(10::float8) AS e, log(100::numeric) AS f, mod(7, 3) AS g, div(7, 2) AS h, cbrt(27::float8) AS i

-- to_char computes in nanoseconds, which end in 2262.
SELECT id, to_char(seen, 'YYYY-MM-DD HH24:MI:SS.US') AS a FROM shop.customers WHERE seen BETWEEN '1900-01-01' AND '2300-01-01'

-- UNNEST WITH ORDINALITY is missing.
SELECT c.id, t.tag, t.place FROM shop.customers c CROSS JOIN LATERAL unnest(c.tags) WITH ORDINALITY AS t(tag, place)

-- A document column is a struct, and ->> on it gives NULL; (address).city is right.
SELECT no, address->>'city' AS city FROM field.visits

-- generate_series in a select list gives an array, not rows.
SELECT generate_series(1, 3) AS g

-- The function to_number is missing.
SELECT string_to_array('a,b,,c', ',') AS a, array_to_string(ARRAY['a', NULL, 'c'], ',', '*') AS b, to_char(1234.5, 'FM9,999.00') AS c, to_number('1,234.5', '9,999.9') AS d
