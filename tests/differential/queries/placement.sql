-- Whole parts of statements that one store may run: groups by keys of opaque types, joins with residues, sorted limits, unions, windows.
SELECT c.name, count(*), sum(o.total), avg(o.total), min(o.placed) FROM shop.customers c JOIN shop.orders o ON o.customer = c.id GROUP BY c.name ORDER BY 1
SELECT c.code, count(*) FROM shop.customers c JOIN shop.orders o ON o.customer = c.id GROUP BY c.code
SELECT p.price, count(*), min(p.title) FROM shop.products p JOIN shop.order_lines l ON l.product = p.id GROUP BY p.price HAVING count(*) > 1
SELECT c.score, count(*) FROM shop.customers c GROUP BY c.score
SELECT c.wide, count(DISTINCT c.id) FROM shop.customers c WHERE c.wide IS NOT NULL GROUP BY c.wide
SELECT extract(year FROM o.placed) AS y, count(*), sum(o.total) FILTER (WHERE o.status = 'open') FROM shop.orders o GROUP BY 1 ORDER BY 1
SELECT o.status, count(*), count(o.note), count(DISTINCT o.customer), sum(DISTINCT o.total) FROM shop.orders o GROUP BY o.status ORDER BY o.status
SELECT o.id, o.total FROM shop.orders o WHERE o.total > (SELECT avg(total) FROM shop.orders) ORDER BY o.total DESC, o.id LIMIT 7
SELECT o.id, o.total FROM shop.orders o WHERE o.total > (SELECT avg(x.total) FROM shop.orders x WHERE x.customer = o.customer) ORDER BY o.id
SELECT o.id FROM shop.orders o WHERE o.customer NOT IN (SELECT id FROM shop.customers WHERE active) ORDER BY o.id
SELECT o.id FROM shop.orders o WHERE o.id NOT IN (SELECT order_id FROM shop.order_lines) ORDER BY o.id
SELECT c.id FROM shop.customers c WHERE NOT EXISTS (SELECT FROM shop.orders o WHERE o.customer = c.id AND o.total > 10) ORDER BY c.id LIMIT 20
SELECT c.id, o.id FROM shop.customers c LEFT JOIN shop.orders o ON o.customer = c.id AND upper(o.status) = 'OPEN' ORDER BY 1, 2 LIMIT 30
SELECT c.id, o.id FROM shop.customers c JOIN shop.orders o ON o.customer = c.id WHERE upper(c.name) = 'ANNA' OR o.total > 100 ORDER BY 1, 2
SELECT o.id, l.line_no, p.title FROM shop.orders o JOIN shop.order_lines l ON l.order_id = o.id JOIN shop.products p ON p.id = l.product WHERE l.quantity > 1 ORDER BY 1, 2, l.id LIMIT 25 OFFSET 3
SELECT a.id FROM (SELECT id, total FROM shop.orders ORDER BY total DESC, id LIMIT 10) a JOIN shop.order_lines l ON l.order_id = a.id ORDER BY a.id, l.id
SELECT x.status, x.n FROM (SELECT status, count(*) AS n FROM shop.orders GROUP BY status) x WHERE x.n > 2 ORDER BY x.n, x.status
SELECT id, customer FROM shop.orders WHERE total > 50 UNION SELECT id, customer FROM shop.orders WHERE status = 'open' ORDER BY 1
SELECT count(*), sum(n) FROM (SELECT quantity AS n FROM shop.order_lines UNION ALL SELECT line_no::integer FROM shop.order_lines) t
SELECT id FROM shop.orders INTERSECT SELECT order_id FROM shop.order_lines WHERE quantity > 0 ORDER BY 1
SELECT id FROM shop.orders EXCEPT SELECT order_id FROM shop.order_lines ORDER BY 1
SELECT DISTINCT o.status, o.customer IS NULL FROM shop.orders o ORDER BY 1, 2
SELECT o.id, row_number() OVER (PARTITION BY o.customer ORDER BY o.total DESC, o.id) AS n, sum(o.total) OVER (PARTITION BY o.customer ORDER BY o.id) AS s FROM shop.orders o ORDER BY o.id
SELECT * FROM (SELECT o.id, o.customer, rank() OVER (PARTITION BY o.customer ORDER BY o.total DESC) AS r FROM shop.orders o) t WHERE r = 1 ORDER BY id
SELECT o.id, lag(o.total) OVER (ORDER BY o.id), lead(o.status, 2, 'none') OVER (ORDER BY o.id), first_value(o.id) OVER (PARTITION BY o.status ORDER BY o.id) FROM shop.orders o ORDER BY o.id
SELECT CASE WHEN l.quantity > 2 THEN l.price * l.quantity ELSE 0 END AS v, count(*) FROM shop.order_lines l GROUP BY 1 ORDER BY 1
SELECT sum(l.price * (1 - l.discount::numeric)), sum(CASE WHEN l.quantity > 2 THEN l.price ELSE 0 END) / sum(l.quantity) FROM shop.order_lines l
SELECT avg(quantity), avg(line_no), avg(id), avg(discount), sum(line_no), sum(quantity), sum(id::bigint) FROM shop.order_lines
SELECT count(*), sum(total), avg(total), max(status), bool_and(total > 0), bool_or(note IS NULL) FROM shop.orders WHERE id < 0
SELECT status, avg(total) FROM shop.orders WHERE id < 0 GROUP BY status
SELECT coalesce(o.note, o.status, 'x') AS t, nullif(o.status, 'open') AS n, greatest(o.total, 5), least(o.total, 5) FROM shop.orders o JOIN shop.customers c ON c.id = o.customer ORDER BY o.id
SELECT substring(o.status FROM 1 FOR 2), length(o.note), o.note || o.status, strpos(o.status, 'e') FROM shop.orders o JOIN shop.customers c ON c.id = o.customer ORDER BY o.id
SELECT o.id / 7, o.id % 7, -o.id, abs(o.total), round(o.total, 1), floor(o.total), trunc(o.total / 3, 2) FROM shop.orders o JOIN shop.customers c ON c.id = o.customer ORDER BY o.id
SELECT o.id / (o.id - 5) FROM shop.orders o JOIN shop.customers c ON c.id = o.customer
SELECT (SELECT o.id FROM shop.orders o WHERE o.id < 3), count(*) FROM shop.customers
SELECT count(*) FROM shop.customers c JOIN shop.orders o ON o.customer = c.id
SELECT count(*) FROM shop.nothing n LEFT JOIN shop.orders o ON o.id = n.id
SELECT sum(sum), max(label), count(*) FROM shop.nothing
SELECT k.name, count(*), sum(a.minutes), avg(a.cost) FROM crm.clients k JOIN crm.calls a ON a.client = k.id GROUP BY k.name
SELECT k.city, count(*), min(k.name), max(k.credit), avg(k.tier), sum(k.big) FROM crm.clients k GROUP BY k.city ORDER BY k.city
SELECT k.id, a.id FROM crm.clients k LEFT JOIN crm.calls a ON a.client = k.id AND a.minutes > 5 ORDER BY k.name, k.id, a.id LIMIT 30
SELECT DISTINCT topic FROM crm.calls ORDER BY 1
SELECT p.label, count(*), sum(p.weight), avg(p.weight), min(p.sent), max(p.ratio) FROM archive.parcels p GROUP BY p.label ORDER BY p.label
SELECT p.id, p.label FROM archive.parcels p WHERE p.weight > (SELECT avg(weight) FROM archive.parcels) ORDER BY p.label DESC, p.id LIMIT 9
SELECT p.ok, count(*), count(DISTINCT p.label), sum(p.order_no), avg(p.order_no) FROM archive.parcels p GROUP BY p.ok ORDER BY p.ok
SELECT r.rating, count(*), avg(r.rating), min(r.title) FROM archive.reviews r GROUP BY r.rating ORDER BY r.rating
SELECT v.mood, count(*), sum(v.no), avg(v.no), max(v.at) FROM field.visits v GROUP BY v.mood ORDER BY v.mood
SELECT v.open, count(*), sum(v.amount) FROM field.visits v WHERE v.no > 3 GROUP BY v.open ORDER BY v.open
SELECT v.no, v.mood FROM field.visits v WHERE v.mood IS NOT NULL ORDER BY v.mood DESC, v.no LIMIT 8
SELECT c.id, t.n, t.s FROM crm.clients c JOIN (SELECT customer, count(*) AS n, sum(total) AS s FROM shop.orders GROUP BY customer) t ON t.customer = c.shop_id ORDER BY c.id
SELECT c.tier, count(*), sum(t.s) FROM crm.clients c JOIN (SELECT o.customer, sum(l.price * l.quantity) AS s FROM shop.orders o JOIN shop.order_lines l ON l.order_id = o.id GROUP BY o.customer) t ON t.customer = c.shop_id WHERE c.id < 9 GROUP BY c.tier ORDER BY c.tier

-- Aggregates that one part reads more than once, with constants before, in and behind them.
WITH r AS (SELECT customer, sum(total) AS s, count(*) AS n FROM shop.orders WHERE id > 2 GROUP BY customer) SELECT c.id, r.s, r.n FROM shop.customers c JOIN r ON r.customer = c.id WHERE c.id < 900 AND r.s = (SELECT max(s) FROM r) ORDER BY c.id
WITH r AS (SELECT customer, sum(total) AS s FROM shop.orders WHERE id > 2 GROUP BY customer) SELECT a.customer, b.s FROM r a LEFT JOIN r b ON b.customer = a.customer AND b.s > 20 WHERE a.s < 5000
WITH r AS (SELECT order_no, sum(weight) AS s, count(*) AS n FROM archive.parcels WHERE id < 150 GROUP BY order_no) SELECT order_no, n FROM r WHERE s >= (SELECT avg(s) FROM r) AND n > 0
WITH r AS (SELECT DISTINCT label FROM archive.parcels WHERE id < 90) SELECT count(*) FROM r WHERE label IS NULL OR label = (SELECT min(label) FROM r)
-- Constants of every type that stores send back.
SELECT 1::smallint FROM archive.parcels t1 ORDER BY t1.id LIMIT 5
SELECT NULL::smallint AS a, (-32768)::smallint AS b, 32767::smallint AS c FROM archive.parcels ORDER BY id LIMIT 2
SELECT 1::smallint AS a, count(*) AS n FROM archive.parcels GROUP BY 1
SELECT CASE WHEN id > 2 THEN 1::smallint END AS a FROM archive.parcels ORDER BY id LIMIT 4
SELECT 1 AS a, 2::bigint AS b, 1.5::numeric AS c, 1.5::float8 AS d, 1.5::real AS e, true AS f, '\x01'::bytea AS g, 'a' AS h, 'b'::varchar AS i, 'c'::char(3) AS j, DATE '2024-02-29' AS k, TIME '01:02:03' AS l, INTERVAL '1 day' AS m FROM archive.parcels ORDER BY id LIMIT 1
SELECT 1::smallint AS z, 1 AS a, 2::bigint AS b, 1.5::numeric AS c, 1.5::float8 AS d, 1.5::real AS e, true AS f, '\x01'::bytea AS g, 'a' AS h, 'b'::varchar AS i, 'c'::char(3) AS j, DATE '2024-02-29' AS k, TIME '01:02:03' AS l, INTERVAL '1 day' AS m FROM crm.clients ORDER BY id LIMIT 1
SELECT 1::smallint AS z, 1 AS a, 2::bigint AS b, 1.5::numeric AS c, 1.5::float8 AS d, 1.5::real AS e, true AS f, '\x01'::bytea AS g, 'a' AS h, 'b'::varchar AS i, 'c'::char(3) AS j, DATE '2024-02-29' AS k, TIME '01:02:03' AS l, INTERVAL '1 day' AS m FROM shop.customers ORDER BY id LIMIT 1
SELECT 1::smallint AS z, 1 AS a, 2::bigint AS b, 1.5::numeric AS c, 1.5::float8 AS d, 1.5::real AS e, true AS f, 'a' AS h, 'b'::varchar AS i, 'c'::char(3) AS j, DATE '2024-02-29' AS k, TIME '01:02:03' AS l, INTERVAL '1 day' AS m FROM field.readings ORDER BY no LIMIT 1
