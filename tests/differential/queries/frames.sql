-- Frames that move: what left leaves no trace, neither of its value nor of its scale.
SELECT id, sum(wide) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS a, avg(wide) OVER (ORDER BY id ROWS 1 PRECEDING) AS b FROM shop.customers
SELECT i, sum(v) OVER w AS a, avg(v) OVER w AS b, count(v) OVER w AS c FROM (SELECT i, v::numeric AS v FROM (VALUES (1, '1.5'), (2, 'NaN'), (3, '2.25'), (4, 'Infinity'), (5, '-Infinity'), (6, NULL), (7, '0.001'), (8, '3'), (9, '2.0')) AS s(i, v)) AS t WINDOW w AS (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
SELECT i, stddev(v) OVER w AS a, variance(v) OVER w AS b, var_pop(v) OVER w AS c, stddev_pop(v) OVER w AS d FROM (SELECT i, v::numeric AS v FROM (VALUES (1, '1.5'), (2, 'NaN'), (3, '2.25'), (4, 'Infinity'), (5, '4'), (6, NULL), (7, '0.001'), (8, '3')) AS s(i, v)) AS t WINDOW w AS (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
SELECT id, sum(balance) OVER w AS a, avg(balance) OVER w AS b, sum(small) OVER w AS c, avg(small) OVER w AS d, stddev(small) OVER w AS e FROM shop.customers WINDOW w AS (ORDER BY id ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING)
SELECT id, sum(wide) OVER w AS a, avg(wide) OVER w AS b, sum(score) OVER w AS c, avg(score) OVER w AS d FROM shop.customers WINDOW w AS (PARTITION BY active ORDER BY id ROWS BETWEEN 2 FOLLOWING AND 4 FOLLOWING)
SELECT id, sum(id) OVER w AS a, avg(id) OVER w AS b, sum(id * 1.50) OVER w AS c FROM shop.customers WHERE abs(small) < 1000 WINDOW w AS (ORDER BY small RANGE BETWEEN 2 PRECEDING AND 3 FOLLOWING)
SELECT id, sum(score) OVER (ORDER BY id ROWS 2 PRECEDING) AS a, avg(score) OVER (ORDER BY id ROWS 1 PRECEDING) AS b FROM shop.customers WHERE abs(score) < 1e100 OR score IS NULL
SELECT id, sum(rating) OVER (ORDER BY id ROWS BETWEEN CURRENT ROW AND 2 FOLLOWING) AS a, avg(rating) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS b FROM shop.customers
SELECT i, sum(v) OVER w AS a, avg(v) OVER w AS b, stddev(v) OVER w AS c, var_pop(v) OVER w AS d FROM (SELECT i, v::float8 AS v FROM (VALUES (1, '1e300'), (2, '0.1'), (3, '0.2'), (4, 'NaN'), (5, '0.3'), (6, 'Infinity'), (7, NULL), (8, '-0.5'), (9, '-Infinity'), (10, '7')) AS s(i, v)) AS t WINDOW w AS (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
SELECT i, sum(v) OVER w AS a, avg(v) OVER w AS b FROM (SELECT i, v::float4 AS v FROM (VALUES (1, '1e30'), (2, '0.1'), (3, '0.2'), (4, 'NaN'), (5, '0.3'), (6, NULL)) AS s(i, v)) AS t WINDOW w AS (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
SELECT i, sum(v) OVER w AS a, avg(v) OVER w AS b FROM (SELECT i, v::interval AS v FROM (VALUES (1, '1 month'), (2, '-3 days'), (3, NULL), (4, '1 year 00:00:00.000001'), (5, '7 hours')) AS s(i, v)) AS t WINDOW w AS (ORDER BY i ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)
SELECT i, sum(v) FILTER (WHERE i <> 2) OVER w AS a, avg(v) FILTER (WHERE i <> 2) OVER w AS b FROM (SELECT i, v::float8 AS v FROM (VALUES (1, '0.5'), (2, 'NaN'), (3, '0.25'), (4, '8'), (5, '1')) AS s(i, v)) AS t WINDOW w AS (ORDER BY i ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)
SELECT id, sum(wait) OVER (ORDER BY id ROWS 2 PRECEDING) AS a, avg(wait) OVER (ORDER BY id ROWS 2 PRECEDING) AS b FROM shop.customers
SELECT no, avg(ratio) OVER (ORDER BY no ROWS 3 PRECEDING) AS a FROM field.visits WHERE ratio < 1e100
SELECT i, sum(v) OVER (ORDER BY i) AS a, avg(v) OVER (ORDER BY i) AS b FROM (SELECT i, v::float8 AS v FROM (VALUES (1, '0.1'), (2, '0.2'), (3, '0.3'), (4, '1e20'), (5, '-1e20')) AS s(i, v)) AS t
-- Sums of floats leave the range only by an error.
SELECT sum(v) AS a FROM (SELECT v::float8 AS v FROM (VALUES ('1e308'), ('1e308')) AS s(v)) AS t
SELECT sum(v) AS a FROM (SELECT v::float4 AS v FROM (VALUES ('3e38'), ('3e38')) AS s(v)) AS t
SELECT avg(v) AS a FROM (SELECT v::float8 AS v FROM (VALUES ('1e308'), ('1e308')) AS s(v)) AS t
SELECT avg(v) AS a FROM (SELECT v::float8 AS v FROM (VALUES ('1e200'), ('-1e200')) AS s(v)) AS t
SELECT sum(v) AS a, avg(v) AS b FROM (SELECT v::float8 AS v FROM (VALUES ('1e308'), ('Infinity'), ('1e308')) AS s(v)) AS t
SELECT sum(v) AS a, avg(v) AS b FROM (SELECT v::float8 AS v FROM (VALUES ('-0')) AS s(v)) AS t
SELECT sum(v) AS a, avg(v) AS b, stddev(v) AS c, var_pop(v) AS d FROM (SELECT v::float8 AS v FROM (VALUES ('NaN')) AS s(v)) AS t
SELECT sum(v) AS a, avg(v) AS b, stddev(v) AS c FROM (SELECT v::float8 AS v FROM (VALUES ('1')) AS s(v)) AS t WHERE v > 2
SELECT stddev(v) AS a, var_pop(v) AS b FROM (SELECT v::float8 AS v FROM (VALUES ('1'), ('Infinity'), ('2')) AS s(v)) AS t
SELECT k, sum(v) AS a, avg(v) AS b, stddev_pop(v) AS c FROM (SELECT k, v::float4 AS v FROM (VALUES (1, '0.5'), (1, '0.25'), (2, NULL), (3, '7'), (3, 'NaN')) AS s(k, v)) AS t GROUP BY k
SELECT active, avg(rating) AS a FROM shop.customers WHERE abs(rating) < 100 GROUP BY active
-- Parts of months become days, parts of days time.
SELECT avg(v) AS a FROM (SELECT v::interval AS v FROM (VALUES ('1 month'), ('2 days'), ('3 hours 0.000001 s')) AS s(v)) AS t
SELECT avg(v) AS a FROM (SELECT v::interval AS v FROM (VALUES ('1 month'), ('0 s'), ('0 s'), ('0 s'), ('0 s'), ('0 s'), ('0 s')) AS s(v)) AS t
SELECT avg(v) AS a FROM (SELECT v::interval AS v FROM (VALUES ('1 day'), ('0 s'), ('0 s')) AS s(v)) AS t
SELECT avg(v) AS a FROM (SELECT v::interval AS v FROM (VALUES ('0.000001 s'), ('0.000002 s')) AS s(v)) AS t
SELECT avg(v) AS a FROM (SELECT v::interval AS v FROM (VALUES ('-1 month -1 day'), ('5 days'), ('1 year')) AS s(v)) AS t
SELECT active, avg(wait) AS a, sum(wait) AS b FROM shop.customers GROUP BY active
SELECT id, sum(1) OVER (ORDER BY id) AS a, sum(2) OVER () AS b, avg(3) OVER (ORDER BY id) AS c FROM shop.products
SELECT id, first_value(1) OVER (ORDER BY id) AS a, lag(7) OVER (ORDER BY id) AS b, lag(id, 2, -1) OVER (ORDER BY id) AS c, nth_value(5, 2) OVER (ORDER BY id) AS d FROM shop.products
SELECT id, ntile(3) OVER (ORDER BY id) AS a, lead(-1, 1) OVER (ORDER BY id) AS b, count(1) OVER (ORDER BY id) AS c, max(4) OVER () AS d FROM shop.products

-- Equal values of types over which the engine makes no frames of ranges.
SELECT id, rank() OVER (ORDER BY raw) AS a, sum(id) OVER (ORDER BY raw) AS b, count(*) OVER (PARTITION BY active ORDER BY raw DESC, id) AS c FROM shop.customers
SELECT id, first_value(raw) OVER (ORDER BY raw) AS a, last_value(raw) OVER (ORDER BY raw) AS b, percent_rank() OVER (ORDER BY raw) AS c, cume_dist() OVER (ORDER BY raw) AS d FROM shop.customers
SELECT id, rank() OVER (ORDER BY seen::time) AS a, sum(id) OVER (ORDER BY seen::time) AS b FROM shop.customers
SELECT id, rank() OVER (ORDER BY tags) AS a, sum(id) OVER (ORDER BY marks) AS b, sum(id) OVER (ORDER BY prefs DESC) AS c FROM shop.customers
SELECT id, rank() OVER (ORDER BY address) AS a, sum(id) OVER (ORDER BY wait) AS b, sum(id) OVER (ORDER BY level) AS c, sum(id) OVER (ORDER BY wide) AS d FROM shop.customers
SELECT id, sum(id) OVER (ORDER BY raw RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS a, sum(id) OVER (ORDER BY raw DESC NULLS LAST RANGE BETWEEN CURRENT ROW AND CURRENT ROW) AS b FROM shop.customers
SELECT id, sum(id) OVER (ORDER BY wait RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS a FROM shop.customers
SELECT id, sum(id) OVER (ORDER BY raw RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS a FROM shop.customers
SELECT id, sum(id) OVER (ORDER BY token RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS a FROM shop.customers
SELECT id, sum(id) OVER (ORDER BY tags RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS a FROM shop.customers
SELECT id, sum(id) OVER (ORDER BY name RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS a FROM shop.customers
SELECT id, sum(id) OVER (ORDER BY balance RANGE BETWEEN 1.5 PRECEDING AND CURRENT ROW) AS a, sum(id) OVER (ORDER BY score RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS b FROM shop.customers

-- Windows that begin with a window of the WINDOW clause.
SELECT id, count(*) OVER (w ORDER BY id) AS a, count(*) OVER (w) AS b, count(*) OVER w AS c FROM shop.customers WINDOW w AS (PARTITION BY active)
SELECT id, sum(id) OVER (w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS a, count(*) OVER (w) AS b FROM shop.customers WINDOW w AS (PARTITION BY small ORDER BY id)
SELECT id, rank() OVER (v) AS a, sum(id) OVER (V RANGE UNBOUNDED PRECEDING) AS b FROM shop.customers WINDOW w AS (PARTITION BY active), v AS (w ORDER BY small)
SELECT c.id, o.id AS o, count(*) OVER (w ORDER BY o.id) AS a FROM shop.orders o JOIN crm.clients c ON c.shop_id = o.customer WINDOW w AS (PARTITION BY c.id)
SELECT customer, sum(count(*)) OVER (w ORDER BY customer) AS a FROM shop.orders GROUP BY customer WINDOW w AS ()
SELECT id, sum(id) OVER v AS a FROM shop.products WINDOW w AS (ORDER BY id), v AS (w ROWS 2 PRECEDING)
SELECT id FROM shop.products WINDOW w AS (ORDER BY id DESC) ORDER BY row_number() OVER w LIMIT 5
SELECT t.id, t.a, count(*) OVER (w ORDER BY t.id) AS b FROM (SELECT id, count(*) OVER (w ORDER BY id DESC) AS a FROM shop.products WINDOW w AS ()) AS t WINDOW w AS (PARTITION BY t.a > 10)
SELECT id, count(*) OVER (w PARTITION BY small) AS a FROM shop.customers WINDOW w AS (ORDER BY id)
SELECT id, count(*) OVER (w ORDER BY small) AS a FROM shop.customers WINDOW w AS (ORDER BY id)
SELECT id, count(*) OVER (w) AS a FROM shop.customers WINDOW w AS (ORDER BY id ROWS 1 PRECEDING)
SELECT id, count(*) OVER v AS a FROM shop.customers WINDOW w AS (ORDER BY id ROWS 1 PRECEDING), v AS (w)
SELECT id, count(*) OVER (v) AS a FROM shop.customers WINDOW w AS (ORDER BY id)
SELECT id, count(*) OVER v AS a FROM shop.customers
SELECT id FROM shop.customers WINDOW w AS (v), v AS (ORDER BY id)
SELECT id FROM shop.customers WINDOW w AS (ORDER BY id), w AS (ORDER BY small)
SELECT id, (SELECT count(*) OVER w FROM shop.products p LIMIT 1) AS a FROM shop.customers WINDOW w AS (ORDER BY id)

-- Offsets of lag and lead, and what stands where there is no row.
SELECT x, lag(x, -1) OVER (ORDER BY x) AS a, lead(x, -2) OVER (ORDER BY x) AS b, lag(x, 0) OVER (ORDER BY x) AS c, lag(x, 1 + 1) OVER (ORDER BY x) AS d FROM generate_series(1, 4) AS g(x)
SELECT x, lag(x, NULL) OVER (ORDER BY x) AS a, lag(x, 2147483647, 5) OVER (ORDER BY x) AS b FROM generate_series(1, 4) AS g(x)
SELECT x, lead(x, NULL::int, 7) OVER (ORDER BY x) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, lag(x, NULL) OVER (ORDER BY x) AS a, lead(x, NULL::int, 7) OVER (ORDER BY x) AS b, ntile(NULL) OVER (ORDER BY x) AS c FROM generate_series(1, 4) AS g(x)
SELECT x, lag(x, NULL) OVER (ORDER BY x) AS a, lag(x + 1, NULL) OVER (ORDER BY x) AS b, nth_value(x, NULL) OVER (ORDER BY x) AS c, nth_value(-x, NULL) OVER (ORDER BY x) AS d FROM generate_series(1, 4) AS g(x)
SELECT x, lag(x, 1 + 1) OVER (ORDER BY x) AS a, lag(x, 2) OVER (ORDER BY x) AS b, sum(x) OVER (ORDER BY x) AS c, sum(x::int) OVER (ORDER BY x) AS d FROM generate_series(1, 4) AS g(x)
SELECT id, lag(small, NULL) OVER (PARTITION BY active ORDER BY id) AS a, lead(small, NULL) OVER (PARTITION BY active ORDER BY id) AS b, rank() OVER (ORDER BY small) AS c FROM shop.customers
SELECT x, lag(x, $1::int, 9) OVER (ORDER BY x) AS a FROM generate_series(1, 4) AS g(x) <- \N
SELECT x, lag(x, 1, 0.5) OVER (ORDER BY x) AS a, lead(x, 1, 0::bigint) OVER (ORDER BY x) AS b, lag(x, 1, '9') OVER (ORDER BY x) AS c, lag(x, 1, NULL) OVER (ORDER BY x) AS d FROM generate_series(1, 4) AS g(x)
SELECT id, lag(balance, 1, 0.555) OVER (ORDER BY id) AS a, lead(balance, 1, 0) OVER (ORDER BY id) AS b FROM shop.customers
SELECT id, lag(credit, 1, 0.555) OVER (ORDER BY id) AS a FROM crm.clients
SELECT x, lag(x::text, 1, 9) OVER (ORDER BY x) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, lag(x, 1, 'z') OVER (ORDER BY x) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, lag(x, 2147483648) OVER (ORDER BY x) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, lead(x, 1.5) OVER (ORDER BY x) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, lag(x) IGNORE NULLS OVER (ORDER BY x) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, first_value(x, 1) OVER () AS a FROM generate_series(1, 3) AS g(x)
SELECT x, nth_value(x) OVER () AS a FROM generate_series(1, 3) AS g(x)
-- Counts that are NULL or none.
SELECT x, ntile(NULL::int) OVER (ORDER BY x) AS a, nth_value(x, NULL) OVER (ORDER BY x) AS b, ntile(3) OVER (ORDER BY x) AS c FROM generate_series(1, 4) AS g(x)
SELECT x, ntile(0) OVER (ORDER BY x) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, ntile(-1) OVER (ORDER BY x) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, ntile(3::bigint) OVER (ORDER BY x) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, nth_value(x, 0) OVER (ORDER BY x) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, nth_value(x, -1) OVER (ORDER BY x) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, ntile(0) OVER (ORDER BY x) AS a, nth_value(x, 0) OVER () AS b FROM generate_series(1, 4) AS g(x) WHERE x > 9
SELECT id, ntile(-1) OVER (ORDER BY id) AS a, nth_value(name, 0) OVER (PARTITION BY active ORDER BY id) AS b FROM shop.customers WHERE id < 0
SELECT x, sum(DISTINCT x) OVER (ORDER BY x) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, lag(x, 1, 0) FILTER (WHERE x > 1) OVER (ORDER BY x) AS a FROM generate_series(1, 4) AS g(x)
-- Frames that lie before or behind the row, in rows and in groups, and frames that end before they begin.
SELECT x, first_value(x) OVER w AS a, last_value(x) OVER w AS b, count(*) OVER w AS c, sum(x) OVER w AS d, nth_value(x, 2) OVER w AS e FROM generate_series(1, 5) AS g(x) WINDOW w AS (ORDER BY x ROWS BETWEEN 1 FOLLOWING AND 2 FOLLOWING)
SELECT x, sum(x) OVER (ORDER BY y GROUPS BETWEEN 1 FOLLOWING AND 2 FOLLOWING) AS a, sum(x) OVER (ORDER BY y GROUPS BETWEEN 2 PRECEDING AND 1 PRECEDING) AS b, count(*) OVER (ORDER BY y GROUPS CURRENT ROW) AS c FROM (VALUES (1, 1), (2, 1), (3, 2), (4, 4), (5, 4), (6, 9)) AS g(x, y)
SELECT x, count(*) OVER w AS a, sum(x) OVER w AS b, max(x) OVER w AS c, first_value(x) OVER w AS d FROM generate_series(1, 4) AS g(x) WINDOW w AS (ORDER BY x ROWS BETWEEN 1 PRECEDING AND 2 PRECEDING)
SELECT x, count(*) OVER w AS a, sum(x) OVER w AS b, last_value(x) OVER w AS c FROM generate_series(1, 4) AS g(x) WINDOW w AS (ORDER BY x GROUPS BETWEEN 3 FOLLOWING AND 1 FOLLOWING)
SELECT x, sum(x) OVER (ORDER BY x ROWS BETWEEN (1) PRECEDING AND 1::bigint FOLLOWING) AS a, sum(x) OVER (ORDER BY x ROWS '1' PRECEDING) AS b FROM generate_series(1, 4) AS g(x)
SELECT x, sum(x) OVER (ORDER BY x ROWS BETWEEN -1 PRECEDING AND CURRENT ROW) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, sum(x) OVER (ORDER BY x GROUPS BETWEEN CURRENT ROW AND -1 FOLLOWING) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, sum(x) OVER (ORDER BY x RANGE BETWEEN -1 PRECEDING AND CURRENT ROW) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, sum(x) OVER (ORDER BY x ROWS NULL PRECEDING) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, sum(x) OVER (ORDER BY x ROWS x PRECEDING) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, sum(x) OVER (ORDER BY x ROWS 9223372036854775808 PRECEDING) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, sum(x) OVER (ORDER BY x ROWS BETWEEN CURRENT ROW AND 1 PRECEDING) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, sum(x) OVER (ORDER BY x ROWS 1 FOLLOWING) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, sum(x) OVER (ORDER BY x ROWS BETWEEN UNBOUNDED FOLLOWING AND CURRENT ROW) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, sum(x) OVER (GROUPS 1 PRECEDING) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, sum(x) OVER (RANGE 1 PRECEDING) AS a FROM generate_series(1, 4) AS g(x)
-- Distances that the type of the values does not hold, or not exactly.
SELECT x, count(*) OVER (ORDER BY x::int2 RANGE BETWEEN 40000 PRECEDING AND 40000 FOLLOWING) AS a FROM (VALUES (1), (32767), (-32768)) AS g(x)
SELECT x, count(*) OVER (ORDER BY x RANGE BETWEEN 3000000000 PRECEDING AND CURRENT ROW) AS a FROM (VALUES (1), (2147483647), (-2147483648)) AS g(x)
SELECT x, sum(y) OVER (ORDER BY x RANGE BETWEEN CURRENT ROW AND 100 FOLLOWING) AS a FROM (VALUES (9223372036854775800::bigint, 1), (5, 2), (NULL, 4)) AS v(x, y)
SELECT x, sum(y) OVER (ORDER BY x DESC NULLS LAST RANGE BETWEEN 9223372036854775807 PRECEDING AND 9223372036854775807 FOLLOWING) AS a FROM (VALUES (9223372036854775807::bigint, 1), (-9223372036854775808, 2), (0, 8), (NULL, 4)) AS v(x, y)
SELECT x, count(*) OVER (ORDER BY x RANGE BETWEEN 9223372036854775800 PRECEDING AND 5 PRECEDING) AS a FROM (VALUES (-10), (7), (NULL), (2147483647)) AS v(x)
SELECT x, count(*) OVER (ORDER BY x::float4 RANGE BETWEEN 0.1 PRECEDING AND CURRENT ROW) AS a FROM (VALUES (0.1), (0.2), (0.3), (0.4)) AS v(x)
SELECT x, count(*) OVER (ORDER BY x::numeric(10, 0) RANGE BETWEEN 1.5 PRECEDING AND CURRENT ROW) AS a, sum(x) OVER (ORDER BY x::numeric(6, 1) DESC RANGE BETWEEN 0.55 PRECEDING AND 1.55 FOLLOWING) AS b FROM generate_series(1, 5) AS g(x)
SELECT id, count(*) OVER (ORDER BY balance RANGE BETWEEN 1000.005 PRECEDING AND CURRENT ROW) AS a FROM shop.customers
SELECT x, count(*) OVER (ORDER BY x RANGE BETWEEN 1.5 PRECEDING AND CURRENT ROW) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, count(*) OVER (ORDER BY date '2024-01-01' + x RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, count(*) OVER (ORDER BY x RANGE BETWEEN 1 PRECEDING AND 2 PRECEDING) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, sum(x) OVER (ORDER BY x ROWS 1 PRECEDING EXCLUDE CURRENT ROW) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, lag(x, n) OVER (ORDER BY x) AS a FROM (VALUES (1, 1), (2, 2), (3, 0)) AS g(x, n)
