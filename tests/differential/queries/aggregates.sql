-- Aggregates, GROUP BY, HAVING, DISTINCT.
SELECT count(*), count(small), count(DISTINCT small), sum(small), avg(small), min(small), max(small) FROM shop.customers
SELECT sum(id), avg(id), min(id), max(id), sum(balance), avg(balance), min(balance), max(balance) FROM shop.customers
SELECT sum(quantity), avg(quantity), sum(price), avg(price), sum(discount), avg(discount), min(discount) FROM shop.order_lines
SELECT sum(wide) AS s FROM shop.customers WHERE wide < 1e10
SELECT min(wide) AS a, max(wide) AS b, count(DISTINCT wide) AS c FROM shop.customers
SELECT avg(wide) AS a FROM shop.customers WHERE wide < 1e10
SELECT min(name) AS a, max(name) AS b, min(code) AS c, max(code) AS d, min(email) AS e FROM shop.customers
SELECT min(born) AS a, max(born) AS b, min(seen) AS c, max(seen) AS d, min(wait) AS e, max(wait) AS f FROM shop.customers
SELECT min(score) AS a, max(score) AS b, max(rating) AS c, min(address) AS d, max(address) AS e FROM shop.customers
SELECT min(token::text) AS a, max(level::text) AS b FROM shop.customers
SELECT count(DISTINCT name) AS a, count(DISTINCT code) AS b, count(DISTINCT token) AS c, count(DISTINCT wait) AS d, count(DISTINCT score) AS e FROM shop.customers
SELECT count(*), sum(id), avg(id), min(label), max(sum), count(id) FROM shop.nothing
SELECT label, count(*) FROM shop.nothing GROUP BY label
SELECT count(*), sum(qty), max(label) FROM archive.empty_box
SELECT count(*), sum(no), max(label) FROM field.empty
SELECT small, count(*), sum(balance), min(name), max(born) FROM shop.customers GROUP BY small
SELECT name, count(*) FROM shop.customers GROUP BY name
SELECT score + 0 AS score, count(*) FROM shop.customers GROUP BY score
SELECT wide, count(*) FROM shop.customers WHERE wide <> 12.5 AND wide <> 0 OR wide IS NULL GROUP BY wide
SELECT wait, count(*) FROM shop.customers WHERE wait <> '30 days' AND wait <> '1 day' AND wait <> '1 day 24:00:00' GROUP BY wait
SELECT address, count(*) FROM shop.customers GROUP BY address
SELECT level, count(*) FROM shop.customers GROUP BY level
SELECT code, count(*) FROM shop.customers GROUP BY code
SELECT tags, count(*) FROM shop.customers GROUP BY tags
SELECT active, small, count(*) AS n FROM shop.customers GROUP BY active, small HAVING count(*) > 5
SELECT active, sum(small) AS s FROM shop.customers GROUP BY 1 HAVING sum(small) IS NOT NULL
SELECT count(*) FILTER (WHERE active) AS a, sum(small) FILTER (WHERE small > 0) AS b, count(DISTINCT small) FILTER (WHERE active) AS c FROM shop.customers
SELECT active, count(*) FILTER (WHERE small > 3) AS a, max(name) FILTER (WHERE name < 'a') AS b FROM shop.customers GROUP BY active
SELECT string_agg(name, ',' ORDER BY name, id) AS a FROM shop.customers WHERE id < 15
SELECT array_agg(id ORDER BY id) AS a, array_agg(small ORDER BY id DESC) AS b FROM shop.customers WHERE id < 10
SELECT stddev(small) AS a, variance(small) AS b, stddev_pop(small) AS c FROM shop.customers
SELECT stddev(discount) AS a, var_pop(discount) AS b FROM shop.order_lines
SELECT small + 1 AS k, count(*) FROM shop.customers GROUP BY small + 1
SELECT extract(year FROM born) AS y, count(*) FROM shop.customers GROUP BY y
SELECT date_trunc('year', placed) AS y, sum(total) FROM shop.orders WHERE isfinite(placed) GROUP BY 1
SELECT customer, sum(total) AS s FROM shop.orders GROUP BY customer HAVING sum(total) > 100 ORDER BY s DESC, customer NULLS LAST
SELECT name, count(*) FROM crm.clients GROUP BY name
SELECT city, count(*), min(name), max(name) FROM crm.clients GROUP BY city
SELECT count(DISTINCT name) AS a, count(DISTINCT city) AS b, count(DISTINCT code) AS c, min(name) AS d, max(city) AS e FROM crm.clients
SELECT DISTINCT name FROM crm.clients
SELECT DISTINCT topic FROM crm.calls
SELECT topic, sum(cost), avg(cost), count(*), avg(minutes) FROM crm.calls GROUP BY topic
SELECT sum(credit), avg(credit), min(credit), max(credit), sum(big), avg(big), sum(tier), sum(visits), sum(ratio) FILTER (WHERE ratio < 1e10) FROM crm.clients
SELECT min(since), max(since), min(seen), max(seen), min(at), max(at) FROM crm.clients JOIN crm.calls USING (id)
SELECT kind, count(*) FROM crm.clients GROUP BY kind
SELECT label, count(*), sum(weight), avg(weight), max(sent), min(noted) FROM archive.parcels GROUP BY label
SELECT ok, count(*), sum(ratio) FILTER (WHERE ratio < 1e10) FROM archive.parcels GROUP BY ok
SELECT rating, count(*), max(title) FROM archive.reviews GROUP BY rating
SELECT mood, count(*), sum(client), max(amount), min(at) FROM field.visits GROUP BY mood
SELECT mixed, count(*) FROM field.visits GROUP BY mixed
SELECT open, count(*), count(mood), count(DISTINCT mood), avg(client), sum(amount) FROM field.visits GROUP BY open
SELECT avg(amount) AS a, sum(amount) AS b, max(ref) AS c, min(mood) AS d FROM field.visits
SELECT DISTINCT small FROM shop.customers
SELECT DISTINCT active, level FROM shop.customers
SELECT DISTINCT ON (customer) customer, id, total FROM shop.orders ORDER BY customer, id DESC
SELECT DISTINCT ON (name) name, id FROM crm.clients ORDER BY name, id
SELECT count(*) FROM (SELECT DISTINCT status FROM shop.orders) AS s
SELECT small, active, count(*) FROM shop.customers GROUP BY GROUPING SETS ((small), (active), ())
SELECT small, active, count(*) FROM shop.customers GROUP BY ROLLUP (small, active)
SELECT small, active, count(*), grouping(small) AS g FROM shop.customers GROUP BY CUBE (small, active)
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY small) AS a FROM shop.customers
SELECT json_agg(small ORDER BY id) AS a FROM shop.customers WHERE id < 5
SELECT corr(small, id) AS a FROM shop.customers WHERE id < 3
SELECT bit_and(small) AS a, bit_or(small) AS b FROM shop.customers
SELECT id, count(*) FROM shop.customers
SELECT sum(name) FROM shop.customers
SELECT max(id) FROM shop.customers HAVING count(*) > 1000
SELECT sum(id * 10000000000000000) FROM shop.customers
SELECT id, count(*) AS n FROM archive.reviews GROUP BY id
SELECT id, title, max(rating) AS m FROM archive.reviews GROUP BY id
SELECT r.id, count(p.id) AS n FROM archive.reviews r LEFT JOIN shop.products p ON p.id = r.product GROUP BY r.id
SELECT string_agg(title, ',' ORDER BY title, id, title DESC, id) AS a FROM shop.products
SELECT array_agg(id ORDER BY price, id, price) AS a FROM shop.products
SELECT n FROM (SELECT count(*) AS n FROM shop.products) s WHERE NOT (n < 0 OR NULL::text LIKE 'a%')
SELECT n FROM (SELECT count(*) AS n FROM crm.clients) s WHERE n >= 0 AND $1::boolean <- f
SELECT n FROM (SELECT count(*) AS n FROM archive.parcels) s WHERE n >= 0 AND $1::boolean <- t
SELECT count(*) AS n FROM field.visits HAVING count(*) > 0 AND now() < '2000-01-01'
SELECT active, count(*) AS n FROM shop.customers GROUP BY ROLLUP (active) HAVING count(*) > 0 AND now() < '2000-01-01'
SELECT active, small, count(*) AS n FROM shop.customers GROUP BY ROLLUP (1, 2)
SELECT active, count(*) AS n FROM shop.customers GROUP BY GROUPING SETS ((1), ())
SELECT upper(status) AS u, count(*) AS n FROM shop.orders GROUP BY CUBE (1)
-- An output that is named by its number is grouped by itself, even where another is the same.
SELECT id, id FROM shop.customers WHERE id < 4 GROUP BY ROLLUP (1, 2)
SELECT id AS a, id AS b, count(*) AS n FROM shop.customers WHERE id < 4 GROUP BY ROLLUP (1, 2)
SELECT id AS a, id AS b, count(*) AS n FROM shop.customers WHERE id < 4 GROUP BY ROLLUP (2, 1)
SELECT id AS a, id AS b FROM shop.customers WHERE id < 4 GROUP BY CUBE (1, 2)
SELECT id AS a, id AS b FROM shop.customers WHERE id < 4 GROUP BY ROLLUP (id, id)
SELECT id AS a, id AS b FROM shop.customers WHERE id < 4 GROUP BY ROLLUP (1, id)
SELECT id AS a, id AS b FROM shop.customers WHERE id < 4 GROUP BY ROLLUP (2, id)
SELECT id AS a, id AS b FROM shop.customers WHERE id < 4 GROUP BY CUBE (id, id)
SELECT id AS a, id AS b FROM shop.customers WHERE id < 4 GROUP BY GROUPING SETS ((1), (1, 2), ())
SELECT id AS a, id AS b FROM shop.customers WHERE id < 4 GROUP BY GROUPING SETS ((1), (2), (2, 1))
SELECT id AS a, id AS b, id AS c FROM shop.customers WHERE id < 4 GROUP BY ROLLUP (1, 2, 3)
SELECT small + 1 AS a, small + 1 AS b, count(*) AS n FROM shop.customers GROUP BY ROLLUP (1, 2)
SELECT wide AS a, wide AS b, count(*) AS n FROM shop.customers WHERE id BETWEEN 2 AND 6 GROUP BY ROLLUP (1, 2)
SELECT score AS a, score AS b, count(*) AS n FROM shop.customers WHERE id < 5 GROUP BY ROLLUP (1, 2)
SELECT name AS a, name AS b, count(*) AS n FROM crm.clients WHERE id < 9 GROUP BY CUBE (1, 2)
SELECT COALESCE(small, small) AS a, small AS b, count(*) AS n FROM shop.customers GROUP BY ROLLUP (1, 2)
SELECT COALESCE(id, id) AS a, id AS b, count(*) AS n FROM shop.customers WHERE id < 4 GROUP BY ROLLUP (1, 2)
SELECT COALESCE(id, id) AS a, COALESCE(id, id) AS b, count(*) AS n FROM shop.customers WHERE id < 4 GROUP BY GROUPING SETS ((1), (2))
SELECT 1 AS a, 1 AS b, count(*) AS n FROM shop.customers GROUP BY ROLLUP (1, 2)
SELECT 'x' AS a, 'x' AS b, count(*) AS n FROM shop.customers GROUP BY CUBE (1, 2)
SELECT id AS a, id AS b FROM shop.customers WHERE id < 4 GROUP BY ROLLUP (1, 2) HAVING count(*) > 1
SELECT id AS a, id AS b FROM shop.customers WHERE id < 4 GROUP BY ROLLUP (1, 2) ORDER BY 1, 2
SELECT c.id AS a, o.customer AS b, count(*) AS n FROM shop.customers c JOIN shop.orders o ON o.customer = c.id GROUP BY ROLLUP (1, 2) ORDER BY 1, 2
SELECT id AS a, coalesce(id, id) AS b FROM shop.customers WHERE id < 9 GROUP BY GROUPING SETS ((1), (2)) ORDER BY a, b
SELECT id AS a, id AS b, id AS c, id AS d FROM shop.customers WHERE id < 4 GROUP BY CUBE (1, 2, 3, 4)
SELECT id AS a, id AS b FROM shop.customers WHERE id < 4 GROUP BY 1, ROLLUP (2)
SELECT id AS a, id AS b FROM shop.customers WHERE id < 4 GROUP BY ROLLUP (1), 2
SELECT id AS a, id AS b FROM shop.customers WHERE id < 4 GROUP BY GROUPING SETS ((a), (b))
SELECT id AS a, id AS b FROM shop.customers WHERE id < 4 GROUP BY ROLLUP (a, b)
SELECT c.id AS a, id AS b FROM shop.customers c WHERE id < 4 GROUP BY GROUPING SETS ((1), (2))
SELECT c.id AS a, id AS b FROM shop.customers c WHERE id < 4 GROUP BY GROUPING SETS ((1), (id))
SELECT upper(status) AS a, UPPER(status) AS b, count(*) AS n FROM shop.orders GROUP BY CUBE (1, 2)
SELECT c.id AS a, o.id AS b, count(*) AS n FROM shop.customers c JOIN shop.orders o ON o.customer = c.id WHERE c.id < 9 GROUP BY ROLLUP (1, 2)
SELECT id AS a, id AS b, id + 1 AS c FROM shop.customers WHERE id < 4 GROUP BY ROLLUP (1), id
SELECT small, active, count(*) FROM shop.customers GROUP BY GROUPING SETS ((small, small), (active), (small))
SELECT COALESCE(id, id) AS a, count(*) AS n, COALESCE(id, id) AS b FROM shop.customers WHERE id < 4 GROUP BY COALESCE(id, id)
SELECT COALESCE(name, name) AS a, COALESCE(name, name) AS b FROM crm.clients WHERE id < 9 GROUP BY 1, 2
-- Calls with orders of their own beside each other.
SELECT string_agg(name, ',' ORDER BY id) AS a, string_agg(name, ',' ORDER BY name DESC, id) AS b FROM shop.customers
SELECT array_agg(name ORDER BY id) AS a, array_agg(id ORDER BY id DESC) AS b, count(*) AS n FROM shop.customers GROUP BY small
SELECT small, array_agg(wide ORDER BY wide, id) AS a, array_agg(wide ORDER BY wide DESC NULLS LAST, id) AS b FROM shop.customers GROUP BY small
SELECT status, string_agg(note, '' ORDER BY id) AS a, string_agg(note, '' ORDER BY id DESC) AS b, string_agg(note, '-') FILTER (WHERE id < 1) AS c FROM shop.orders GROUP BY status
SELECT string_agg(note, status ORDER BY id) AS a, string_agg(note, note ORDER BY id DESC) AS b FROM shop.orders
SELECT string_agg(DISTINCT status, ',' ORDER BY status) AS a, string_agg(status, ',' ORDER BY id) AS b FROM shop.orders
SELECT string_agg(DISTINCT status, ',' ORDER BY status) AS a, string_agg(DISTINCT status, ',' ORDER BY status DESC) AS b FROM shop.orders
SELECT string_agg(note, ',' ORDER BY id) AS a, array_agg(id ORDER BY note, id) AS b FROM shop.orders WHERE id < 0
SELECT string_agg(note, ',' ORDER BY id) AS a, array_agg(id ORDER BY note, id) FILTER (WHERE id > 5) AS b FROM shop.orders WHERE id < 20
SELECT array_agg(score ORDER BY score, id) AS a, array_agg(born ORDER BY born DESC, id) AS b, array_agg(token ORDER BY token, id) AS c FROM shop.customers WHERE id < 12
SELECT array_agg(code ORDER BY code, id) AS a, array_agg(raw ORDER BY raw DESC, id) AS b, array_agg(wait ORDER BY wait, id) AS c FROM shop.customers WHERE id < 12
SELECT json_agg(id ORDER BY id) AS a, json_agg(name ORDER BY id DESC) AS b FROM shop.customers WHERE id < 5
SELECT array_agg(level::text ORDER BY id) AS a, array_agg(level::text ORDER BY level DESC, id) AS b FROM shop.customers WHERE id < 5
SELECT c.id, array_agg(o.id ORDER BY o.id) AS a, array_agg(o.id ORDER BY o.total, o.id) AS b FROM shop.customers c JOIN shop.orders o ON o.customer = c.id GROUP BY c.id
SELECT active, string_agg(name, ',' ORDER BY id) AS a, string_agg(name, ',' ORDER BY id DESC) AS b FROM shop.customers GROUP BY ROLLUP (active)
SELECT x.a, x.b FROM (SELECT string_agg(name, ',' ORDER BY id) AS a, string_agg(city, ',' ORDER BY city, id) AS b FROM crm.clients) x WHERE x.a > x.b OR x.b IS NOT NULL
SELECT array_agg(name ORDER BY id) OVER (PARTITION BY small) AS a FROM shop.customers
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY balance) AS a, percentile_cont(0.3) WITHIN GROUP (ORDER BY small DESC) AS b, percentile_cont(0.9) WITHIN GROUP (ORDER BY id) FILTER (WHERE id < 10) AS c FROM shop.customers WHERE balance < 'Infinity'
SELECT active, percentile_cont(0.25) WITHIN GROUP (ORDER BY score) AS a, percentile_cont(1) WITHIN GROUP (ORDER BY rating) AS b, pg_typeof(percentile_cont(0) WITHIN GROUP (ORDER BY rating)) AS c FROM shop.customers WHERE score <> 0 GROUP BY active
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x) AS a, percentile_cont(0.123456789) WITHIN GROUP (ORDER BY x) AS b FROM (VALUES (1.5), (2), (NULL), (10)) t(x)
SELECT percentile_cont(1.5) WITHIN GROUP (ORDER BY id) AS a FROM shop.customers
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id) AS a FROM shop.customers WHERE id < 0
SELECT percentile_cont(NULL) WITHIN GROUP (ORDER BY id) AS a FROM shop.customers
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY name) AS a FROM shop.customers
SELECT client, percentile_cont(0.75) WITHIN GROUP (ORDER BY total) AS a FROM (SELECT id % 5 AS client, credit AS total FROM crm.clients) t GROUP BY client

-- HAVING without GROUP BY makes one group of all rows; the rows of a table are never NULL.
SELECT 1 AS a FROM shop.customers HAVING true
SELECT 1 AS a FROM shop.customers HAVING 1 > 2
SELECT 1 AS a FROM shop.nothing HAVING true
SELECT small FROM shop.customers GROUP BY small HAVING bool_and(active)
SELECT count(c) AS a, count(c.*) AS b, count(c) FILTER (WHERE c.id < 5) AS d FROM shop.customers c
SELECT count(n) AS a FROM shop.nothing n
SELECT v._id, v.mood, v.client + 1 AS c, count(p.id) AS n FROM field.visits v LEFT JOIN archive.parcels p ON p.id = v.parcel GROUP BY v._id ORDER BY v._id
SELECT no, count(*) AS n, max(amount) AS m FROM field.visits GROUP BY _id HAVING no < 50 ORDER BY mood, no
SELECT c.id, c.name, count(o.id) AS n, sum(o.total) AS s FROM shop.customers c LEFT JOIN shop.orders o ON o.customer = c.id GROUP BY c.id ORDER BY c.born, c.id
SELECT k.*, count(p.id) AS n FROM crm.clients k LEFT JOIN archive.parcels p ON p.id = k.id GROUP BY k.id ORDER BY k.id
SELECT c.name, o.status FROM shop.customers c JOIN shop.orders o ON o.customer = c.id GROUP BY c.id
-- Statistics over pairs of which no part is NULL.
SELECT corr(y, x) AS a, covar_pop(y, x) AS b, covar_samp(y, x) AS c, regr_r2(y, x) AS d, regr_slope(y, x) AS e, regr_intercept(y, x) AS f FROM (VALUES (2.5, 1), (3.1, 2), (7.7, 3), (NULL, 4), (9, NULL)) AS t(y, x)
SELECT regr_count(y, x) AS a, regr_avgx(y, x) AS b, regr_avgy(y, x) AS c, regr_sxx(y, x) AS d, regr_syy(y, x) AS e, regr_sxy(y, x) AS f FROM (VALUES (2.5, 1), (3.1, 2), (7.7, 3), (NULL, 4), (9, NULL)) AS t(y, x)
SELECT regr_count(y, x) AS a, corr(y, x) AS b, regr_sxx(y, x) AS c, regr_r2(y, x) AS d, regr_slope(y, x) AS e, covar_samp(y, x) AS f FROM (VALUES (2, 1)) AS t(y, x)
SELECT corr(y, x) AS a, regr_r2(y, x) AS b, regr_slope(y, x) AS c FROM (VALUES (2, 1), (2, 3)) AS t(y, x)
SELECT corr(y, x) AS a, regr_r2(y, x) AS b, regr_slope(y, x) AS c FROM (VALUES (1, 2), (3, 2)) AS t(y, x)
SELECT regr_count(small, id) AS a, regr_avgx(small, id) AS b, regr_sxy(small, id) AS c FROM shop.customers WHERE id < 3
SELECT regr_count(small, id) AS a, corr(small, id) AS b FROM shop.customers WHERE false
SELECT active, regr_count(small, id) AS a, regr_count(score, rating) AS b FROM shop.customers GROUP BY active
SELECT (SELECT regr_count(o.total, o.id) FROM shop.orders o WHERE o.customer = c.id) AS a, c.id FROM shop.customers c
SELECT regr_slope(y, x) AS a, regr_syy(y, x) AS b, regr_avgy(y, x) AS c FROM (VALUES ('Infinity'::float8, 1), (2, 3)) AS t(y, x)
SELECT regr_syy(y, x) AS a FROM (VALUES (1e200::float8, 1), (-1e200, 3)) AS t(y, x)
SELECT regr_count(y, x) AS a FROM (VALUES (1e200::float8, 1), (-1e200, 3)) AS t(y, x)
SELECT regr_count(y, x) AS a FROM (VALUES (1e400, 1), (2, 3)) AS t(y, x)
SELECT regr_count(DISTINCT y, x) AS a, covar_pop(DISTINCT y, x) AS b, regr_sxy(y, x) FILTER (WHERE x > 1) AS c FROM (VALUES (2.5, 1), (3.1, 2), (2.5, 1)) AS t(y, x)
SELECT x, covar_pop(y, x) OVER (ORDER BY x) AS a, regr_slope(y, x) OVER (ORDER BY x ROWS 1 PRECEDING) AS b, regr_count(y, x) OVER () AS c FROM (VALUES (2.5, 1), (3.1, 2), (7.7, 3)) AS t(y, x)
SELECT regr_slope('1', 2) AS a, corr(NULL, 1) AS b
SELECT corr(name, id) AS a FROM shop.customers
SELECT corr(id) AS a FROM shop.customers
