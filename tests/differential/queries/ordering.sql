-- ORDER BY, NULLS, LIMIT, OFFSET.
SELECT id, small FROM shop.customers ORDER BY small, id
SELECT id, small FROM shop.customers ORDER BY small DESC, id
SELECT id, small FROM shop.customers ORDER BY small NULLS FIRST, id LIMIT 20
SELECT id, small FROM shop.customers ORDER BY small DESC NULLS LAST, id DESC LIMIT 20 OFFSET 5
SELECT id, name FROM shop.customers ORDER BY name, id
SELECT id, name FROM shop.customers ORDER BY name DESC, id LIMIT 10
SELECT id, code FROM shop.customers ORDER BY code, id
SELECT id, wide FROM shop.customers ORDER BY wide, id
SELECT id, wide FROM shop.customers ORDER BY wide DESC NULLS LAST, id LIMIT 30
SELECT id, score FROM shop.customers ORDER BY score, id
SELECT id, rating FROM shop.customers ORDER BY rating DESC, id LIMIT 40
SELECT id, born FROM shop.customers ORDER BY born, id
SELECT id, seen FROM shop.customers ORDER BY seen DESC NULLS LAST, id LIMIT 25
SELECT id, wait FROM shop.customers ORDER BY wait, id
SELECT id, address FROM shop.customers ORDER BY address, id
SELECT id, level FROM shop.customers ORDER BY level::text, id
SELECT id, token FROM shop.customers ORDER BY token, id LIMIT 30
SELECT id, raw FROM shop.customers ORDER BY raw, id
SELECT id, marks FROM shop.customers ORDER BY marks, id
SELECT id, tags FROM shop.customers ORDER BY tags, id
SELECT id, active FROM shop.customers ORDER BY active DESC, id
SELECT id, name FROM crm.clients ORDER BY name, id
SELECT id, name FROM crm.clients ORDER BY name DESC, id DESC LIMIT 7
SELECT id, tier FROM crm.clients ORDER BY tier DESC, id LIMIT 30
SELECT id, tier FROM crm.clients ORDER BY tier NULLS FIRST, id LIMIT 30
SELECT id, big FROM crm.clients ORDER BY big, id
SELECT id, city FROM crm.clients ORDER BY city, id LIMIT 50
SELECT id, label FROM archive.parcels ORDER BY label, id
SELECT id, label FROM archive.parcels ORDER BY label DESC, id LIMIT 12
SELECT id, weight FROM archive.parcels ORDER BY weight DESC, id LIMIT 12
SELECT id, noted FROM archive.parcels ORDER BY noted, id LIMIT 50
SELECT no, mood FROM field.visits ORDER BY mood, no
SELECT no, mood FROM field.visits ORDER BY mood DESC, no LIMIT 50
SELECT no, amount FROM field.visits ORDER BY amount, no LIMIT 200
SELECT no, mixed FROM field.visits ORDER BY mixed, no
SELECT no, at FROM field.visits ORDER BY at NULLS FIRST, no LIMIT 40
SELECT id FROM shop.customers ORDER BY id LIMIT 0
SELECT id FROM shop.customers ORDER BY id LIMIT ALL OFFSET 250
SELECT id FROM shop.customers ORDER BY id OFFSET 10000
SELECT id FROM shop.customers ORDER BY id LIMIT NULL
SELECT id FROM shop.customers ORDER BY id FETCH FIRST 3 ROWS ONLY
SELECT id FROM shop.customers ORDER BY id LIMIT $1 OFFSET $2 <- 3 <- 2
SELECT id FROM shop.customers ORDER BY id LIMIT -1
SELECT id, small AS s FROM shop.customers ORDER BY s, 1
SELECT id, -small AS s FROM shop.customers ORDER BY 2 DESC NULLS LAST, 1 LIMIT 5
SELECT id FROM shop.customers ORDER BY small + 1, name, id
SELECT id FROM shop.customers ORDER BY CASE WHEN active THEN 0 ELSE 1 END, id DESC
SELECT name FROM shop.customers WHERE id < 30 GROUP BY name ORDER BY count(*) DESC, name
SELECT id FROM (SELECT id FROM shop.customers ORDER BY id DESC LIMIT 5) AS t ORDER BY id
SELECT id, price FROM shop.products ORDER BY price, id
SELECT id, total FROM shop.orders ORDER BY total DESC NULLS LAST, id LIMIT 3
SELECT status, id FROM shop.orders ORDER BY status, id
-- A column that ORDER BY names with its relation, beside an output of the same name.
SELECT 1 AS c0 FROM (SELECT id AS c0 FROM shop.customers) AS d ORDER BY d.c0 LIMIT 5
SELECT -d.c0 AS c0, d.c0 AS c1 FROM (SELECT id AS c0 FROM shop.customers) AS d ORDER BY d.c0 DESC
SELECT -d.c0 AS c0 FROM (SELECT id AS c0 FROM shop.customers) AS d ORDER BY c0
SELECT lower(name) AS name FROM shop.customers AS c WHERE id < 20 ORDER BY c.name, id
SELECT d.c0 % 5 AS c0, count(*) FROM (SELECT id AS c0 FROM shop.customers) AS d GROUP BY d.c0 ORDER BY d.c0 LIMIT 7
-- A name inside an expression is a column, and alone an output if there is one.
SELECT -id AS id FROM shop.customers ORDER BY id + 0 LIMIT 5
SELECT -id AS id, small AS s FROM shop.customers ORDER BY small + 0, id, 2
SELECT -id AS id FROM shop.customers ORDER BY CASE WHEN id > 10 THEN 0 ELSE 1 END, (id) LIMIT 20
SELECT small AS id, id AS small FROM shop.customers ORDER BY -id, small LIMIT 9
SELECT sum(small) AS small, level FROM shop.customers GROUP BY level ORDER BY -sum(small), level::text
SELECT -o.id AS id, count(*) AS total FROM shop.orders o GROUP BY o.id ORDER BY id * 1 DESC LIMIT 3
SELECT -small AS small FROM shop.customers ORDER BY sum(small) OVER (ORDER BY small, id), id
SELECT lower(name) AS name, id FROM shop.customers WHERE id < 30 ORDER BY length(name) DESC, name || 'x', id
SELECT -small AS small FROM shop.customers c ORDER BY (SELECT count(*) FROM shop.orders o WHERE o.customer = small) DESC, c.id LIMIT 9
SELECT s.id FROM (SELECT -id AS id FROM shop.customers ORDER BY id + 0 LIMIT 4) AS s ORDER BY s.id
SELECT DISTINCT -small AS small FROM shop.customers ORDER BY -small
SELECT DISTINCT -small AS small FROM shop.customers ORDER BY small + 0
SELECT -id AS other FROM shop.customers ORDER BY other + 0
SELECT id + 1 AS id FROM shop.orders JOIN shop.order_lines USING (id) ORDER BY id % 5, id
SELECT -id AS id, total FROM shop.orders WHERE id < 30 ORDER BY orders.id % 5, id
SELECT -id AS id, total FROM shop.orders WHERE id < 30 ORDER BY (id), orders.id + 1 LIMIT 7
SELECT o.id % 3 AS id, count(*) FROM shop.orders AS o JOIN crm.clients AS c ON c.id = o.id GROUP BY o.id, c.id ORDER BY c.id % 5, id, o.id
SELECT id FROM shop.orders LEFT JOIN crm.stock USING (id) WHERE id < 40 ORDER BY id DESC, stock.id NULLS FIRST
SELECT u.*, -t.id AS id FROM shop.orders t, (SELECT 1 AS one) u ORDER BY id + 0
SELECT DISTINCT ON (customer) customer, -id AS id FROM shop.orders ORDER BY customer, id + 0
SELECT c.name AS id FROM shop.customers c WHERE c.id < 20 ORDER BY c.id
SELECT c.name AS id FROM shop.customers c WHERE c.id < 20 ORDER BY -c.id, c.id + 0
SELECT name AS id FROM shop.customers WHERE id < 20 ORDER BY customers.id DESC, id
SELECT o.*, c.name AS id FROM shop.orders o JOIN shop.customers c ON c.id = o.customer WHERE o.id < 20 ORDER BY o.id + 0
SELECT s.id FROM (SELECT c.name AS id FROM shop.customers c ORDER BY c.id DESC LIMIT 4) AS s ORDER BY s.id
SELECT s.id FROM (SELECT upper(c.name) AS id FROM shop.customers c ORDER BY c.id DESC LIMIT 4) AS s ORDER BY s.id
SELECT c.id, (SELECT o.total AS id FROM shop.orders o WHERE o.customer = c.id ORDER BY o.id DESC LIMIT 1) AS latest FROM shop.customers c WHERE c.id < 9 ORDER BY c.id
SELECT DISTINCT ON (date_trunc('day', seen)) date_trunc('day', seen) AS seen, id FROM shop.customers ORDER BY date_trunc('day', seen), id
SELECT DISTINCT ON (upper(name)) upper(name) AS name, id FROM shop.customers ORDER BY upper(name), id
SELECT DISTINCT ON (lower(c.name)) lower(name) AS name, o.id FROM shop.customers c JOIN shop.orders o ON o.customer = c.id ORDER BY LOWER(name), o.id DESC
SELECT s.* FROM (SELECT DISTINCT ON (small % 3) small % 3 AS small, id FROM shop.customers ORDER BY small % 3, id) AS s ORDER BY s.small, s.id
SELECT DISTINCT ON (i % 3) i % 3 AS i, i + 0 AS j FROM generate_series(1, 9) AS g(i) ORDER BY i % 3, i + 0 DESC
SELECT *, upper(name) AS name FROM crm.clients ORDER BY upper(name), 1
SELECT o.*, -c.small AS small FROM shop.orders o JOIN shop.customers c ON c.id = o.customer WHERE o.id < 20 ORDER BY small + 0, o.id

-- Places of outputs.
SELECT DISTINCT ON (1) id, name FROM shop.customers ORDER BY 1
SELECT DISTINCT ON (2) id, customer FROM shop.orders ORDER BY 2, 1 DESC
SELECT DISTINCT ON ((2), 1) customer % 3 AS a, customer % 2 AS b, id FROM shop.orders ORDER BY 2, 1, 3
SELECT DISTINCT ON (2) id, upper(name) AS name FROM shop.customers ORDER BY 2, 1
SELECT DISTINCT ON (3) id, customer FROM shop.orders
SELECT DISTINCT ON (1) id, name FROM shop.customers ORDER BY name
SELECT id FROM shop.orders ORDER BY -1
SELECT id FROM shop.orders ORDER BY (-(1))
SELECT id FROM shop.orders UNION SELECT 1 ORDER BY -1.5
SELECT count(*) AS n FROM shop.orders GROUP BY -1
SELECT id FROM shop.orders WHERE id < 5 ORDER BY -id
SELECT id, rank() OVER (ORDER BY -1) AS a FROM shop.orders WHERE id < 5 ORDER BY +1, id

-- Keys that are outputs in other words.
SELECT DISTINCT lower(name) AS name FROM shop.customers ORDER BY LOWER(name)
SELECT DISTINCT lower(c.name) AS name FROM shop.customers c ORDER BY lower(name)
SELECT DISTINCT lower(name) AS name FROM shop.customers c ORDER BY (lower(c.name)) DESC
SELECT DISTINCT price::int AS price FROM shop.products ORDER BY CAST(price AS integer)
SELECT DISTINCT CAST(price AS decimal(8,1)) FROM shop.products ORDER BY price::numeric(8,1) DESC
SELECT DISTINCT lower(name) AS x FROM shop.customers ORDER BY lower(name)
SELECT DISTINCT lower(name), small + 1 AS y FROM shop.customers ORDER BY y, pg_catalog.lower(name)
SELECT DISTINCT name AS x FROM shop.customers c ORDER BY c.name
SELECT DISTINCT c.name AS x FROM shop.customers c ORDER BY name
SELECT DISTINCT sum(small) AS s FROM shop.customers GROUP BY level ORDER BY SUM(small)
SELECT DISTINCT lower(c.name) AS name FROM shop.customers c JOIN crm.clients k ON k.id = c.id ORDER BY lower(k.name)
SELECT DISTINCT price::int AS price FROM shop.products ORDER BY price::bigint
SELECT DISTINCT c.name AS id FROM shop.customers c ORDER BY c.id

SELECT date_trunc('hour', seen) AS h, count(*) FROM shop.customers GROUP BY 1
SELECT DISTINCT ON (customer) customer, id, total FROM shop.orders ORDER BY customer, total DESC, id, customer DESC, total
SELECT DISTINCT ON (customer, customer) customer, id FROM shop.orders ORDER BY customer DESC, id, id
SELECT DISTINCT ON (name) name, id FROM crm.clients ORDER BY name NULLS FIRST, id, id

-- Keys that hold comparisons of functions and of CASE, of sorts, aggregates and windows over several partitions.
SELECT t1.id, t2.id, rank() OVER (ORDER BY CASE WHEN t1.discount > -0.25 THEN t2.name ELSE t2.name END DESC NULLS LAST) FROM shop.order_lines AS t1 JOIN shop.customers AS t2 ON t1.order_id = t2.id AND t2.id < -1 WHERE t1.order_id = 1
SELECT t1.id, t2.id, rank() OVER (ORDER BY CASE WHEN t1.discount > -0.25 THEN t2.name ELSE t2.name END) AS place FROM shop.order_lines AS t1 JOIN shop.customers AS t2 ON t1.order_id = t2.id
SELECT t1.id, t2.id FROM shop.order_lines AS t1 JOIN shop.customers AS t2 ON t1.order_id = t2.id ORDER BY CASE WHEN t1.discount > -0.25 THEN t2.name ELSE t2.name END, t1.id, t2.id
SELECT array_agg(id ORDER BY CASE WHEN discount > -0.25 THEN id ELSE -id END) AS ids FROM shop.order_lines
SELECT level, string_agg(name, ',' ORDER BY CASE WHEN score > 1 THEN id ELSE -id END) AS names FROM shop.customers GROUP BY level
SELECT id, row_number() OVER (PARTITION BY CASE WHEN score > 1 THEN active END ORDER BY NOT (score > 1 AND rating < 2), id) AS n FROM shop.customers
SELECT id, row_number() OVER (ORDER BY CASE WHEN CASE WHEN id > 3 THEN 1 ELSE 2 END > 1 THEN id ELSE -id END) AS n FROM shop.order_lines

-- A key of one side of a join determines nothing of the other side, above DISTINCT and GROUP BY neither.
SELECT DISTINCT t1.id AS r_0, t2.born AS r_1, t1.id AS r_2 FROM (SELECT * FROM crm.stock WHERE id <= 30) AS t1 CROSS JOIN (SELECT * FROM shop.customers WHERE id <= 30) AS t2 WHERE NOT (t1.id IS NULL) ORDER BY r_0, r_1, r_2
SELECT d.a, count(*) AS n FROM (SELECT DISTINCT t1.id AS a, t2.born AS b FROM crm.stock AS t1 CROSS JOIN shop.customers AS t2 WHERE t1.id <= 3) AS d GROUP BY d.a, d.b ORDER BY 1, 2
SELECT DISTINCT d.a FROM (SELECT t1.id AS a, t2.born AS b, count(*) AS n FROM crm.stock AS t1 CROSS JOIN shop.customers AS t2 WHERE t1.id <= 3 GROUP BY t1.id, t2.born) AS d
SELECT d.a, d.b, d.n FROM (SELECT t1.id AS a, t2.born AS b, count(*) AS n FROM shop.orders AS t1 CROSS JOIN shop.customers AS t2 WHERE t1.id <= 3 GROUP BY t1.id, t2.born) AS d ORDER BY d.a, d.b, d.n
SELECT DISTINCT d.level, t2.id AS b FROM (SELECT level, count(*) AS n FROM shop.customers GROUP BY level) AS d CROSS JOIN shop.products AS t2 ORDER BY d.level, b
SELECT DISTINCT t1.id, t1.name FROM shop.customers AS t1 ORDER BY t1.id, t1.name
-- Keys that are one expression once they are simplified.
SELECT DISTINCT ON (COALESCE(id, id)) COALESCE(id, id) AS a, name FROM shop.customers ORDER BY COALESCE(id, id), id
SELECT DISTINCT ON (COALESCE(customer, customer)) customer, id FROM shop.orders ORDER BY COALESCE(customer, customer), customer DESC, id
SELECT DISTINCT ON (id) id, name FROM shop.customers ORDER BY id, COALESCE(id, id) DESC, name
SELECT string_agg(name, ',' ORDER BY COALESCE(id, id), id DESC) AS a FROM shop.customers
SELECT array_agg(id ORDER BY customer, NULLIF(customer, NULL), id) AS a FROM shop.orders
-- Running extremes begin with NULLs.
SELECT id, max(x) OVER (ORDER BY id) AS m FROM (VALUES (1, NULL), (2, 5), (3, 7)) v(id, x) ORDER BY m, id
SELECT id, max(x) OVER (ORDER BY id) AS m FROM (VALUES (1, NULL), (2, 5), (3, 7)) v(id, x) ORDER BY m LIMIT 1
SELECT id, min(x) OVER (ORDER BY id) AS m FROM (VALUES (1, NULL), (2, 7), (3, 5)) v(id, x) ORDER BY m DESC NULLS LAST, id
SELECT o.id, max(t.ratio) OVER (ORDER BY o.id) AS m FROM shop.orders o JOIN crm.clients t ON t.id = o.customer WHERE o.id < 12 ORDER BY m, o.id
SELECT o.id, sum(t.visits) OVER (ORDER BY o.id) AS m, count(t.visits) OVER (ORDER BY o.id) AS n FROM shop.orders o JOIN crm.clients t ON t.id = o.customer WHERE o.id < 12 ORDER BY n, m, o.id
SELECT id, max(small) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS m FROM shop.customers ORDER BY m NULLS FIRST, id DESC LIMIT 7
-- Distinct values in the order of something else, and limits beyond any number of rows.
SELECT -k AS k FROM (SELECT DISTINCT small AS k FROM shop.customers WHERE small IS NOT NULL) s ORDER BY k LIMIT 1
SELECT DISTINCT active FROM shop.customers ORDER BY active LIMIT 1000000000000
SELECT small, max(id) AS most FROM shop.customers GROUP BY small ORDER BY most DESC, small LIMIT 1000000000000
SELECT DISTINCT ON (customer, total) customer, total, id FROM shop.orders ORDER BY total, customer, id
SELECT DISTINCT ON (2, 1) customer % 3 AS a, customer % 2 AS b, id FROM shop.orders ORDER BY 1, 2 DESC, 3
SELECT DISTINCT ON (customer, total) customer, total, id FROM shop.orders ORDER BY orders.total, orders.customer, id
SELECT DISTINCT ON (customer, a) customer % 3 AS a, customer, id FROM shop.orders ORDER BY customer % 3, a DESC, customer, id
SELECT DISTINCT ON (customer, total) customer, total, id FROM shop.orders ORDER BY total, id, customer
SELECT id, name AS id FROM shop.customers ORDER BY id
SELECT id, customers.id FROM shop.customers ORDER BY id
SELECT id % 3 AS id FROM shop.orders UNION SELECT id FROM crm.clients ORDER BY id + 1
SELECT id % 3 AS id FROM shop.orders UNION SELECT id FROM crm.clients ORDER BY id
SELECT id AS a, id AS a FROM shop.orders UNION SELECT 1, 2 ORDER BY a
SELECT id FROM shop.orders UNION SELECT id FROM crm.clients ORDER BY nothing + 1
