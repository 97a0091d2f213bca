-- What passes over the syntax tree write cannot be called.
SELECT "set generate_series"(1, 2) AS a
SELECT * FROM "set functions"(1) AS a
SELECT * FROM "set generate_series"(1, 2) AS a
SELECT "operator +"(1, 2) AS a
SELECT pg_negate(1) AS a
SELECT pg_cast_int4('1') AS a
SELECT pg_json_row('a', 1) AS a
SELECT pg_ordinals(ARRAY[1]) AS a
SELECT * FROM range(1, 3) AS a
SELECT range(1, 3) AS a
SELECT bit_and(generate_series(1, 2)) AS a
SELECT corr(generate_series(1, 2), 1) AS a
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY generate_series(1, 2)) AS a
SELECT jsonb_object_agg('a', generate_series(1, 2)) AS a
