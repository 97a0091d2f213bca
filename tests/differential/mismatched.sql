-- Statements whose answers differ from those of PostgreSQL, each group with its reason.

-- cbrt is the nearest float; the C library's is off by one unit in the last place before glibc 2.41.
SELECT cbrt(27::float8) AS a

-- An enum of a store is text here, and sorts as text where it is not the argument of an aggregate.
SELECT level, sum(wide) AS s, max(wide) AS m FROM shop.customers WHERE wide <> 'NaN' GROUP BY ROLLUP (level) ORDER BY level NULLS FIRST, s
