-- NaN is equal to itself and above every number, -0 is equal to 0. Which of two zeros stands for a group depends on the order in
-- which rows are met, so that adding 0 takes the sign off before they are compared.
SELECT min(score) AS a, max(score) AS b, min(rating) AS c, max(rating) AS d FROM shop.customers
SELECT min(score) = 0 AS a, max(score) = 0 AS b, count(*) AS c FROM shop.customers WHERE score = 0
SELECT min(score) AS a, max(score) AS b, min(rating) AS c FROM shop.customers WHERE false
SELECT active, min(score) + 0 AS a, max(score) + 0 AS b, min(rating) + 0 AS c, max(rating) + 0 AS d FROM shop.customers GROUP BY active
SELECT active, max(rating) FILTER (WHERE id > 5) AS a, min(score) FILTER (WHERE score < 0) AS b FROM shop.customers GROUP BY active
SELECT min(ratio) AS a, max(ratio) AS b, count(DISTINCT ratio) AS c FROM crm.clients
SELECT min(ratio) AS a, max(ratio) AS b, count(DISTINCT ratio) AS c FROM archive.parcels
SELECT min(ratio) AS a, max(ratio) AS b, count(DISTINCT ratio) AS c FROM field.visits
SELECT min(share) AS a, max(share) AS b FROM archive.reviews
SELECT max(v) AS a, min(v) AS b FROM (VALUES ('NaN'::float8), (1), (NULL)) AS t(v)
SELECT max(v) AS a, min(v) AS b FROM (VALUES ('NaN'::float4), ('Infinity'), ('-Infinity')) AS t(v)
SELECT max(v) AS a, min(v) AS b FROM (VALUES ('0'::float8), ('-0')) AS t(v)
SELECT max(v) AS a, min(v) AS b FROM (VALUES ('-0'::float8), ('0')) AS t(v)
SELECT rating + 0 AS rating, count(*) FROM shop.customers GROUP BY rating
SELECT score + 0 AS score, rating + 0 AS rating, count(*) FROM shop.customers GROUP BY score, rating
SELECT v, count(*) AS n FROM (VALUES ('-0'::float8), ('0'), ('NaN'), ('-NaN'), (NULL)) AS t(v) GROUP BY v
SELECT v, count(*) AS n FROM (VALUES ('0'::float4), ('-0'), ('NaN'), ('NaN'), (NULL), (NULL)) AS t(v) GROUP BY v
SELECT score * 2 AS twice, count(*) AS n FROM shop.customers WHERE abs(score) < 1e300 OR score IS NULL GROUP BY score * 2
SELECT score + 0 AS score FROM (SELECT DISTINCT score FROM shop.customers) AS t
SELECT rating + 0 AS rating, active FROM (SELECT DISTINCT rating, active FROM shop.customers) AS t
SELECT DISTINCT ON (score) score, id FROM shop.customers ORDER BY score, id DESC
SELECT count(DISTINCT rating) AS a, count(DISTINCT score) AS b, count(DISTINCT score) FILTER (WHERE active) AS c FROM shop.customers
SELECT sum(DISTINCT score) AS a, avg(DISTINCT score) AS b, count(DISTINCT score) AS c FROM shop.customers WHERE abs(score) < 3 AND score <> 1e-300
SELECT score, id FROM shop.customers ORDER BY score DESC, id
SELECT rating, id FROM shop.customers ORDER BY rating, id DESC
SELECT id, score FROM shop.customers ORDER BY score NULLS FIRST, id LIMIT 9
SELECT id, rank() OVER (ORDER BY score) AS a, dense_rank() OVER (ORDER BY rating DESC) AS b FROM shop.customers
SELECT id, count(*) OVER (PARTITION BY score) AS a, row_number() OVER (PARTITION BY rating ORDER BY id) AS b FROM shop.customers
SELECT id, min(score) OVER (ORDER BY id ROWS 2 PRECEDING) AS a, max(score) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS b FROM shop.customers
SELECT id, max(rating) OVER (ORDER BY id) AS a, min(rating) OVER (PARTITION BY active ORDER BY id ROWS BETWEEN CURRENT ROW AND 2 FOLLOWING) AS b FROM shop.customers
SELECT id, max(wide) OVER (ORDER BY id ROWS 2 PRECEDING) AS a, min(wait) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING) AS b FROM shop.customers
SELECT a.id, b.id AS b FROM shop.customers a JOIN shop.customers b ON a.score = b.score
SELECT a.id, b.id AS b FROM shop.customers a JOIN shop.customers b ON a.score = b.rating
SELECT a.id, b.id AS b FROM shop.customers a LEFT JOIN shop.customers b ON a.rating = b.rating AND b.id > a.id
SELECT a.id, b.id AS b FROM crm.clients b JOIN shop.customers a ON a.score = b.ratio
SELECT id FROM shop.customers WHERE score IN (SELECT rating FROM shop.customers)
SELECT id FROM shop.customers WHERE score NOT IN (SELECT rating FROM shop.customers WHERE rating IS NOT NULL)
SELECT score + 0 AS score FROM (SELECT score FROM shop.customers UNION SELECT rating FROM shop.customers) AS t
SELECT score + 0 AS score FROM (SELECT score FROM shop.customers INTERSECT SELECT rating FROM shop.customers) AS t
SELECT score + 0 AS score FROM (SELECT score FROM shop.customers EXCEPT SELECT rating FROM shop.customers) AS t
SELECT id, score FROM shop.customers WHERE score = 0
SELECT id, score FROM shop.customers WHERE score = '-0'
SELECT id, score FROM shop.customers WHERE score <> 0
SELECT id, score FROM shop.customers WHERE score IN (0, 'NaN')
SELECT id, score FROM shop.customers WHERE score NOT IN (0, 'NaN')
SELECT id, score FROM shop.customers WHERE score BETWEEN '-0' AND 3
SELECT id, score FROM shop.customers WHERE score NOT BETWEEN 0 AND 3
SELECT id, score FROM shop.customers WHERE score < 'NaN'
SELECT id, score FROM shop.customers WHERE score > 'Infinity'
SELECT id, score FROM shop.customers WHERE NOT (score < 'NaN')
SELECT id, score FROM shop.customers WHERE score IS DISTINCT FROM 'NaN'
SELECT id, score FROM shop.customers WHERE score IS NOT DISTINCT FROM '-0'
SELECT id, score FROM shop.customers WHERE score = ANY ('{0,NaN}'::float8[])
SELECT id, score FROM shop.customers WHERE score = -0.0
SELECT id, score FROM shop.customers WHERE score = $1 <- -0
SELECT id, score FROM shop.customers WHERE score >= $1 <- NaN
SELECT id, rating FROM shop.customers WHERE rating = 0
SELECT id, rating FROM shop.customers WHERE rating IN ('NaN', '-0')
SELECT id, rating FROM shop.customers WHERE rating >= 'Infinity'
SELECT id, rating FROM shop.customers WHERE rating = score OR rating > 1e30
SELECT id, rating = 'NaN' AS a, score = rating AS b, score > 'NaN' AS c, score < 'NaN'::float8 AS d, rating IS DISTINCT FROM 0 AS e FROM shop.customers
SELECT id, CASE score WHEN 0 THEN 'zero' WHEN 'NaN' THEN 'nan' ELSE 'other' END AS a, NULLIF(score, 0) AS b FROM shop.customers
SELECT id, greatest(score, 0) AS a, least(score, '-0') AS b, greatest(rating, 'NaN') AS c, least(rating, score) AS d FROM shop.customers
SELECT id, ARRAY[score] = ARRAY['0'::float8] AS a, ARRAY[score, rating] < ARRAY['NaN'::float8, 1] AS b FROM shop.customers
SELECT '-0'::float8 = 0 AS a, 'NaN'::float8 = 'NaN' AS b, 'NaN'::float8 > 'Infinity' AS c, '-0'::float8 < 0 AS d, '-0'::float4 IS DISTINCT FROM '0'::float8 AS e, 'NaN'::float8 BETWEEN 1 AND 'NaN' AS f
SELECT no, ratio FROM field.visits WHERE ratio = 0 OR ratio > 'Infinity'
SELECT no, ratio FROM field.visits WHERE ratio <= 'NaN'
SELECT ratio + 0 AS ratio, count(*) AS n FROM field.visits GROUP BY ratio
SELECT score, active, count(*) AS n FROM shop.customers WHERE score <> 0 GROUP BY ROLLUP (score, active)
-- Results that leave the range of their type.
SELECT id, sign(score) AS a, sign(rating) AS b, sign(wide) AS c FROM shop.customers
SELECT id FROM shop.customers WHERE sign(score) = 0
SELECT no, sign(ratio) AS a FROM field.visits
SELECT id, score FROM shop.customers WHERE score < 1e400
SELECT id, score FROM shop.customers WHERE score > 1e-400
SELECT id, rating FROM shop.customers WHERE rating = 1e400
SELECT no, ratio FROM field.visits WHERE ratio < 1e400
SELECT id, ratio FROM crm.clients WHERE ratio <> 1e400
SELECT 1e400::float8 AS a
SELECT 1e-400::float8 AS a
SELECT v::float8 AS a FROM (VALUES (1e400), (1)) AS t(v)
SELECT v::real AS a FROM (VALUES (1e39), (1)) AS t(v)
SELECT v::real AS a FROM (VALUES (1e-60), (1)) AS t(v)
SELECT v::float8 AS a, v::real AS b FROM (SELECT w::numeric AS v FROM (VALUES ('0.000'), ('1e-40'), ('3.4028235e38'), ('Infinity'), ('NaN')) AS s(w)) AS t
SELECT v::float8 AS a, v::real AS b FROM (SELECT 0.000 AS v UNION ALL SELECT 1e-40 UNION ALL SELECT 3.4028235e38 UNION ALL SELECT 'Infinity' UNION ALL SELECT 'NaN') AS t
SELECT sin(v) AS a FROM (VALUES (1e400), (1)) AS t(v)
SELECT v + 1::float8 AS a FROM (VALUES (1e400), (1)) AS t(v)
SELECT 1e400 = 1::float8 AS a
SELECT greatest(1e400, 1::float8) AS a
SELECT power(score, 1.5) AS a FROM shop.customers
SELECT power(v, 2) AS a FROM (VALUES (1e-200::float8)) AS t(v)
SELECT power(v, -400) AS a FROM (VALUES (10::float8)) AS t(v)
SELECT power(v, 400) AS a FROM (VALUES (10::float8)) AS t(v)
SELECT power(v, w) AS a, v ^ w AS b FROM (VALUES ('-Infinity'::float8, 3::float8), ('-Infinity', -3), ('NaN', 0), (1, 'NaN'), (0.5, 'Infinity'), (2, -1074), (0, 0)) AS t(v, w)
SELECT power(v, 1.5) AS a FROM (VALUES ('-Infinity'::float8)) AS t(v)
SELECT exp(v) AS a FROM (VALUES (-800::float8)) AS t(v)
SELECT exp(v) AS a FROM (VALUES (800::float8)) AS t(v)
SELECT exp(v) AS a FROM (VALUES (-745::float8), ('Infinity'), ('-Infinity'), ('NaN'), (1)) AS t(v)
SELECT radians(v) AS a FROM (VALUES (5e-324::float8)) AS t(v)
SELECT degrees(v) AS a, radians(v) AS b FROM (VALUES ('Infinity'::float8), (180), ('NaN'), ('-0')) AS t(v)
SELECT n, asinh(n * 0.37) AS a, acosh(1 + abs(n) * 0.11) AS b, atanh(n * 0.049) AS c FROM generate_series(-20, 20) AS t(n)
SELECT asinh(v) AS a FROM (VALUES ('Infinity'::float8), ('-Infinity'), ('NaN'), ('-0'), (1e-30), (-1e300)) AS t(v)
SELECT acosh(v) AS a FROM (VALUES ('Infinity'::float8), ('NaN'), (1), (1e300)) AS t(v)
SELECT acosh(0.5) AS a
SELECT atanh(v) AS a FROM (VALUES (1::float8), (-1), ('NaN'), ('-0'), (1e-30)) AS t(v)
SELECT atanh(2) AS a
SELECT n, sind(n * 7.5) AS a, cosd(n * 7.5) AS b, tand(n * 7.5) AS c, cotd(n * 7.5) AS d FROM generate_series(-60, 60) AS t(n)
SELECT n, asind(n / 20.0) AS a, acosd(n / 20.0) AS b, atand(n / 4.0) AS c, atan2d(n, 3) AS d, atan2d(-3, n) AS e FROM generate_series(-20, 20) AS t(n)
SELECT sind(v) AS a, cosd(v) AS b, tand(v) AS c, asind(v) AS d, atand(v) AS e FROM (VALUES ('NaN'::float8), ('-0'), (1)) AS t(v)
SELECT sind('Infinity') AS a
SELECT cotd('-Infinity') AS a
SELECT asind(1.5) AS a
SELECT acosd(-1.5) AS a
SELECT sind(id) AS a, cosd(quantity) AS b FROM shop.order_lines
