-- Statements whose answers differ from those of PostgreSQL, each group with its reason.

-- generate_series over dates gives timestamps without time zone.
SELECT d FROM generate_series(DATE '2024-01-30', DATE '2024-02-02', INTERVAL '1 day') AS g(d)


-- generate_series over integers gives bigint.
SELECT * FROM generate_series(1, 5) AS g(i)
SELECT i, c.name FROM generate_series(1, 5) AS g(i) LEFT JOIN shop.customers c ON c.id = g.i

-- cbrt is the nearest float; the C library's is off by one unit in the last place before glibc 2.41.
SELECT cbrt(27::float8) AS a

-- generate_series in a select list gives an array, not rows.
SELECT generate_series(1, 3) AS g
