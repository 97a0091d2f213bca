-- Joins inside one store and across two, three and four, with filters on each side.
SELECT c.id, o.id AS o, o.total FROM shop.customers c JOIN shop.orders o ON o.customer = c.id
SELECT c.id, o.id AS o FROM shop.customers c LEFT JOIN shop.orders o ON o.customer = c.id WHERE c.small > 3
SELECT c.id, o.id AS o FROM shop.customers c LEFT JOIN shop.orders o ON o.customer = c.id AND o.total > 10 WHERE c.small > 3
SELECT c.id, o.id AS o FROM shop.customers c LEFT JOIN shop.orders o ON o.customer = c.id WHERE o.id IS NULL
SELECT c.id, o.id AS o FROM shop.customers c RIGHT JOIN shop.orders o ON o.customer = c.id AND c.active WHERE o.total > 10
SELECT c.id, o.id AS o FROM shop.customers c FULL JOIN shop.orders o ON o.customer = c.id WHERE c.small > 3 OR c.id IS NULL
SELECT c.id, o.id AS o FROM shop.customers c FULL JOIN shop.orders o ON o.customer = c.id AND o.total > 10 AND c.small > 3
SELECT a.id, b.id AS b FROM shop.products a CROSS JOIN shop.products b WHERE a.id < 4 AND b.id < 4
SELECT a.id, b.id AS b FROM shop.products a JOIN shop.products b ON a.price < b.price AND a.id < 10
SELECT id, c.name, k.name AS crm_name FROM shop.customers c JOIN crm.clients k USING (id)
SELECT c.id, k.id AS k FROM shop.customers c JOIN crm.clients k ON k.shop_id = c.id WHERE c.active AND k.tier > 1
SELECT c.id, k.id AS k FROM shop.customers c LEFT JOIN crm.clients k ON k.shop_id = c.id WHERE c.small IN (1, 2) AND k.tier IS DISTINCT FROM 1
SELECT c.id, k.id AS k FROM shop.customers c LEFT JOIN crm.clients k ON k.shop_id = c.id AND k.tier = 1 WHERE c.small IN (1, 2)
SELECT c.id, k.id AS k FROM crm.clients k RIGHT JOIN shop.customers c ON k.shop_id = c.id WHERE c.small = 2
SELECT c.id, k.id AS k FROM crm.clients k FULL JOIN shop.customers c ON k.id = c.id AND k.tier = 1 AND c.active
SELECT c.id, k.id AS k FROM shop.customers c JOIN crm.clients k ON k.name = c.name
SELECT c.id, k.id AS k FROM shop.customers c JOIN crm.clients k ON k.name = c.name WHERE c.id < 13 AND k.id < 10
SELECT c.id, k.id AS k FROM shop.customers c LEFT JOIN crm.clients k ON k.code = c.email AND k.id < 10 WHERE c.id < 13
SELECT a.id, b.id AS b FROM crm.clients a JOIN crm.clients b ON a.name = b.name AND a.id < b.id
SELECT a.id, b.id AS b FROM crm.clients a JOIN crm.clients b ON a.city = b.code WHERE a.id < 100
SELECT p.id, q.id AS q FROM shop.products p JOIN archive.parcels q ON p.sku = q.label
SELECT a.id, b.id AS b FROM shop.products a JOIN shop.products b ON lower(a.sku) = lower(b.sku) AND a.id <> b.id
SELECT o.id, p.id AS p, p.label FROM shop.orders o JOIN archive.parcels p ON p.order_no = o.id WHERE o.total > 5 AND p.ok
SELECT o.id, p.id AS p FROM shop.orders o LEFT JOIN archive.parcels p ON p.order_no = o.id AND p.weight > 1 WHERE o.status = 'open'
SELECT v.no, c.name FROM field.visits v JOIN shop.customers c ON c.id = v.person WHERE v.mood = 'happy' AND c.active
SELECT v.no, k.name FROM field.visits v LEFT JOIN crm.clients k ON k.id = v.client WHERE v.open
SELECT v.no, p.label FROM field.visits v JOIN archive.parcels p ON p.id = v.parcel WHERE p.label LIKE 'b%' AND v.ratio IS NOT NULL
SELECT k.id, l.id AS l, l.cost FROM crm.clients k JOIN crm.calls l ON l.client = k.id WHERE k.name = 'Ada' AND l.minutes > 4
SELECT r.id, p.title, r.rating FROM archive.reviews r JOIN shop.products p ON p.id = r.product WHERE r.rating > 1 AND p.price < 100
SELECT c.id, o.id AS o, p.id AS p FROM shop.customers c JOIN shop.orders o ON o.customer = c.id JOIN archive.parcels p ON p.order_no = o.id WHERE c.active AND p.ok
SELECT c.id, k.id AS k, v.no FROM shop.customers c JOIN crm.clients k ON k.shop_id = c.id JOIN field.visits v ON v.client = k.id WHERE v.open AND k.tier < 3
SELECT c.name, k.city, p.label, v.mood FROM shop.customers c JOIN crm.clients k ON k.shop_id = c.id JOIN field.visits v ON v.client = k.id JOIN archive.parcels p ON p.id = v.parcel WHERE c.active AND k.tier < 4 AND p.ok AND v.mood <> ''
SELECT c.name, count(*) AS n, sum(k.credit) AS credit, max(p.weight) AS weight, min(v.at) AS at FROM shop.customers c JOIN crm.clients k ON k.shop_id = c.id JOIN field.visits v ON v.client = k.id JOIN archive.parcels p ON p.id = v.parcel WHERE c.balance > 0 AND k.credit > 0 AND p.weight > 0 AND v.ratio < 10 GROUP BY c.name ORDER BY n DESC, c.name
SELECT c.id, k.id AS k, v.no, p.id AS p FROM shop.customers c LEFT JOIN crm.clients k ON k.shop_id = c.id LEFT JOIN field.visits v ON v.client = k.id LEFT JOIN archive.parcels p ON p.id = v.parcel WHERE c.id < 20
SELECT o.id, l.line_no, p.title, l.quantity * p.price AS worth FROM shop.orders o JOIN shop.order_lines l ON l.order_id = o.id JOIN shop.products p ON p.id = l.product WHERE o.id < 50
SELECT o.id, p.id AS p FROM shop.orders o JOIN archive.parcels p ON p.noted::date = o.placed::date WHERE o.id < 30 AND p.id < 30
SELECT o.id, p.id AS p FROM shop.orders o JOIN archive.parcels p ON p.weight < o.total AND p.order_no = o.id
SELECT c.id, p.id AS p FROM shop.customers c JOIN archive.parcels p ON p.ref = c.token WHERE c.id < 40 AND p.id < 40
SELECT c.id, k.id AS k FROM shop.customers c JOIN crm.clients k ON k.credit = c.wide
SELECT a.id, b.id AS b FROM shop.customers a JOIN shop.customers b ON a.wide = b.wide AND a.id < 13 AND b.id < 13
SELECT a.id, b.id AS b FROM shop.customers a JOIN shop.customers b ON a.score = b.score WHERE a.id < 13 AND b.id < 13
SELECT a.id, b.id AS b FROM shop.customers a JOIN shop.customers b ON a.wait = b.wait WHERE a.id < 13 AND b.id < 13
SELECT a.id, b.id AS b FROM shop.customers a JOIN shop.customers b ON a.code = b.code WHERE a.id < 13 AND b.id < 13
SELECT a.id, b.id AS b FROM shop.customers a JOIN shop.customers b ON a.born = b.born AND a.level = b.level WHERE a.id < 40 AND b.id < 40
SELECT c.id, e.id AS e FROM shop.customers c LEFT JOIN archive.empty_box e ON e.id = c.id WHERE c.id < 5
SELECT c.id, e.id AS e FROM shop.customers c JOIN field.empty f ON f.no = c.id RIGHT JOIN shop.nothing e ON e.id = c.id
SELECT count(*) FROM shop.customers c NATURAL JOIN crm.calls k
SELECT c.id, k.id AS k FROM shop.customers c, crm.clients k WHERE c.id = k.shop_id AND c.small = k.tier
SELECT c.id, t.n FROM shop.customers c JOIN (SELECT customer, count(*) AS n FROM shop.orders WHERE total > 0 GROUP BY customer) t ON t.customer = c.id WHERE t.n > 3
SELECT * FROM shop.orders o JOIN crm.calls c USING (id) WHERE id < 4
SELECT o.*, p.label FROM shop.orders o JOIN archive.parcels p USING (id) WHERE id < 4

-- Filters and keys of joins over rows with two columns of one name.
SELECT d4.c1_0 AS r_0 FROM (SELECT t2.id AS c1_0, t3.id AS c1_1, t2.id AS c1_2 FROM (SELECT * FROM shop.orders WHERE id <= 30) AS t2 RIGHT JOIN (SELECT * FROM crm.stock WHERE id <= 30) AS t3 ON t2.customer = t3.item) AS d4 WHERE ((d4.c1_1 NOT IN (NULL::integer, 1) AND d4.c1_0 = NULL::integer) OR d4.c1_0 = 1)
SELECT t1.id AS r_0, t2.id AS r_1, t3.no AS r_2, 1 AS r_3 FROM archive.empty_box AS t1 FULL JOIN archive.stamps AS t2 ON t1.id = t2.id JOIN field.visits AS t3 ON t2.id = t3.no AND t2.id > 1 WHERE (t3.open) IS TRUE
SELECT t1.id AS r_0, count(*) AS r_1 FROM shop.orders AS t1 JOIN shop.order_lines AS t2 ON t1.id = t2.order_id AND t1.id IN (150, 7, 1, 1) JOIN (SELECT * FROM shop.orders WHERE id <= 30) AS t3 ON t2.id = t3.customer GROUP BY 1
SELECT t1.id, t2.id AS line, t3.id AS stock FROM shop.orders AS t1 JOIN shop.order_lines AS t2 ON t1.id = t2.order_id JOIN crm.stock AS t3 ON t2.id = t3.item WHERE t1.id < 9
SELECT t1.id, t2.id AS line, t3.id AS stock FROM shop.orders AS t1 LEFT JOIN shop.order_lines AS t2 ON t1.id = t2.order_id JOIN crm.stock AS t3 ON t2.id = t3.item AND t3.id < 40
-- Keys computed of fields of documents.
SELECT v.no, t.id FROM field.visits v JOIN crm.clients t ON upper(t.city) = upper(v.address->>'city') WHERE t.id < 30
SELECT v.no, t.id FROM field.visits v LEFT JOIN crm.clients t ON t.city || 'x' = (v.address->>'city') || 'x' AND t.id < 20
SELECT count(*) AS n FROM crm.clients t JOIN field.visits v ON length(v.address->>'city') + 1 = t.id
-- What is equal where both are NULL, beside what is not.
SELECT count(*) AS n FROM shop.customers a JOIN shop.customers b ON a.email = b.email AND a.small IS NOT DISTINCT FROM b.small
SELECT count(*) AS n FROM shop.customers a JOIN shop.customers b ON a.small IS NOT DISTINCT FROM b.small WHERE a.email = b.email
SELECT count(*) AS n FROM shop.customers a JOIN shop.customers b ON a.email IS NOT DISTINCT FROM b.email WHERE a.small = b.small
SELECT count(*) AS n FROM shop.customers a LEFT JOIN crm.clients k ON a.email IS NOT DISTINCT FROM k.code WHERE a.small = k.tier
SELECT count(*) AS n FROM shop.customers a LEFT JOIN crm.clients k ON a.email IS NOT DISTINCT FROM k.code AND a.small = k.tier
SELECT count(*) AS n FROM shop.customers a FULL JOIN crm.clients k ON a.email IS NOT DISTINCT FROM k.code AND a.small = k.tier
SELECT count(*) AS n FROM shop.customers a JOIN crm.clients k ON a.email IS NOT DISTINCT FROM k.code JOIN shop.customers b ON b.small = a.small AND b.email = k.code WHERE b.id < 40
SELECT count(*) AS n FROM shop.customers a, crm.clients k, shop.customers b WHERE a.email IS NOT DISTINCT FROM k.code AND b.small = a.small AND b.id < 10
SELECT count(*) AS n FROM (SELECT email, small FROM shop.customers INTERSECT SELECT code, tier FROM crm.clients) q JOIN shop.customers c ON q.small = c.small
-- Keys that read two relations.
SELECT count(*) AS n FROM shop.customers a JOIN crm.clients b ON true JOIN shop.orders c ON a.id + b.id = c.id AND a.id = c.customer WHERE a.id < 60 AND b.id < 60
SELECT count(*) AS n FROM shop.customers a CROSS JOIN crm.clients b JOIN shop.orders c ON a.id + b.id = c.id WHERE a.id < 40 AND b.id < 40
-- USING and NATURAL.
SELECT * FROM (SELECT id, small FROM shop.customers WHERE id < 4) a NATURAL FULL JOIN (SELECT id, tier FROM crm.clients WHERE id BETWEEN 3 AND 5) b ORDER BY id
SELECT * FROM (SELECT small, id FROM shop.customers WHERE id < 4) a NATURAL RIGHT JOIN (SELECT tier, id FROM crm.clients WHERE id BETWEEN 3 AND 5) b ORDER BY id
SELECT * FROM (SELECT small, id FROM shop.customers WHERE id < 4) a NATURAL LEFT JOIN (SELECT tier, id FROM crm.clients WHERE id BETWEEN 3 AND 5) b ORDER BY id
SELECT a.id AS a, b.id AS b, id FROM (SELECT id FROM shop.customers WHERE id < 4) a NATURAL FULL JOIN (SELECT id FROM crm.clients WHERE id BETWEEN 3 AND 5) b ORDER BY id
SELECT * FROM (SELECT id, small FROM shop.customers WHERE id < 9) a FULL JOIN (SELECT id, tier FROM crm.clients WHERE id BETWEEN 3 AND 12) b USING (id) JOIN (SELECT tier, id AS x FROM crm.clients WHERE id < 6) c USING (tier) ORDER BY id, x
SELECT * FROM ((VALUES (1)) AS a(x) FULL JOIN (VALUES (2)) AS b(x) USING (x)) ORDER BY x
SELECT * FROM ((VALUES (1, 5)) AS a(x, y) FULL JOIN (VALUES (2)) AS b(x) USING (x)) LEFT JOIN (VALUES (2, 7)) AS c(x, z) USING (x) ORDER BY x
SELECT x FROM (((VALUES (1)) AS a(x) FULL JOIN (VALUES (2)) AS b(x) USING (x)) FULL JOIN (VALUES (3)) AS c(x) USING (x)) WHERE x > 1 ORDER BY x
SELECT * FROM unnest(ARRAY[1, 2, 3]) AS a(x) JOIN unnest(ARRAY[2, 3, 4]) AS b(x) USING (x) ORDER BY x
SELECT * FROM unnest(ARRAY[1, 2, 3]) AS a(x) FULL JOIN unnest(ARRAY[2, 3, 4]) WITH ORDINALITY AS b(x, n) USING (x) ORDER BY x
SELECT * FROM generate_series(1, 3) AS a(x) NATURAL FULL JOIN generate_series(2, 4) AS b(x) ORDER BY x
SELECT x FROM (VALUES (1)) AS a(x) JOIN (VALUES (1)) AS b(x) USING (x), (VALUES (1)) AS c(x)
SELECT a.x FROM (VALUES (1)) AS a(x) JOIN (VALUES (1)) AS b(x) USING (x) JOIN (VALUES (1)) AS c(x) ON x = 1
SELECT * FROM (SELECT id FROM shop.customers WHERE id < 3) a CROSS JOIN (SELECT 2 AS x) c LEFT JOIN (SELECT id, tier FROM crm.clients WHERE id > 1) b USING (id) ORDER BY id
SELECT id, count(*) AS n FROM (SELECT id FROM shop.customers WHERE id < 4) a NATURAL FULL JOIN (SELECT id FROM crm.clients WHERE id BETWEEN 3 AND 5) b WHERE id > 1 GROUP BY id ORDER BY id
SELECT count(o.total) AS n FROM shop.orders o NATURAL JOIN (SELECT c.id, k.tier FROM shop.customers c CROSS JOIN crm.clients k WHERE k.id < 9 GROUP BY c.id, k.tier) g
SELECT count(o.total) AS n FROM shop.orders o JOIN (SELECT DISTINCT c.id, k.id AS k FROM shop.customers c CROSS JOIN crm.clients k WHERE k.id < 9) g USING (id)
SELECT count(*) AS n FROM shop.orders o LEFT JOIN (SELECT c.id, k.id AS k FROM shop.customers c CROSS JOIN crm.clients k WHERE k.id < 9 GROUP BY c.id, k.id) g ON g.id = o.customer
SELECT * FROM (VALUES (1), (2)) a(id) NATURAL FULL JOIN (VALUES (2), (3)) b(id) ORDER BY 1
SELECT r.id, r.name FROM (VALUES (3::bigint), (5), (7)) p(x) JOIN crm.clients r ON r.id = p.x WHERE EXISTS (SELECT 1 FROM archive.reviews v WHERE v.product = r.id AND v.id <> r.visits) ORDER BY 1
SELECT r.id FROM (VALUES (3::bigint), (5), (7)) p(x) JOIN crm.clients r ON r.id = p.x WHERE r.id IN (SELECT o.customer FROM shop.orders o WHERE o.id <> r.visits) ORDER BY 1
SELECT r.id FROM (VALUES (3), (5), (7)) p(x) JOIN shop.customers r ON r.id = p.x WHERE EXISTS (SELECT 1 FROM shop.order_lines l WHERE l.product = r.id AND l.id <> r.small) ORDER BY 1
SELECT r.id FROM (VALUES (3::bigint), (5), (7)) p(x) JOIN archive.reviews r ON r.id = p.x WHERE NOT EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = r.id AND o.id <> r.product) ORDER BY 1
SELECT x.* FROM (SELECT customer AS id, id % 40 AS k FROM shop.orders INTERSECT SELECT product, id FROM archive.reviews) x JOIN (VALUES (1::bigint), (3)) p(y) ON p.y = x.id ORDER BY 1, 2
SELECT x.* FROM (SELECT customer AS id, id % 40 AS k FROM shop.orders EXCEPT SELECT product, id FROM archive.reviews) x JOIN (VALUES (1::bigint), (3)) p(y) ON p.y = x.id ORDER BY 1, 2
SELECT g.* FROM (VALUES (3), (5), (97)) p(x) JOIN (SELECT o.id AS oid, c.id AS cid FROM crm.clients c JOIN shop.orders o ON o.customer = c.id GROUP BY o.id, c.id) g ON g.oid = p.x ORDER BY 1, 2
SELECT g.* FROM (VALUES (3), (5), (97)) p(x) JOIN (SELECT DISTINCT o.id AS oid, c.id AS cid FROM crm.clients c JOIN shop.orders o ON o.customer = c.id) g ON g.oid = p.x ORDER BY 1, 2
SELECT g.* FROM (VALUES (3), (5), (97)) p(x) JOIN (SELECT o.id AS oid, c.id AS cid, count(*) AS n FROM crm.clients c JOIN shop.orders o ON o.customer = c.id GROUP BY o.id, c.id) g ON g.oid = p.x ORDER BY 1, 2
SELECT r.id, EXISTS (SELECT 1 FROM archive.reviews v WHERE v.product = r.id AND v.id <> r.visits) AS e FROM (VALUES (3::bigint), (5), (7)) p(x) JOIN crm.clients r ON r.id = p.x ORDER BY 1

-- Columns of USING in the common type of both sides.
SELECT x, x / 2 AS half FROM (VALUES (1), (3)) AS a(x) JOIN (VALUES (1.0), (3.00)) AS b(x) USING (x)
SELECT x, x / 2 AS half FROM (VALUES (1.0), (3.00)) AS a(x) JOIN (VALUES (1), (3)) AS b(x) USING (x)
SELECT x, x / 2 AS half FROM (VALUES (1), (3)) AS a(x) LEFT JOIN (VALUES (1.0)) AS b(x) USING (x)
SELECT x, x / 2 AS half FROM (VALUES (1)) AS a(x) RIGHT JOIN (VALUES (1.0), (3.00)) AS b(x) USING (x)
SELECT x, x / 2 AS half FROM (VALUES (1), (5)) AS a(x) FULL JOIN (VALUES (1.0), (3.00)) AS b(x) USING (x)
SELECT * FROM (VALUES (1), (3)) AS a(x) JOIN (VALUES (1.00), (3.0)) AS b(x) USING (x) WHERE x / 2 > 0.6
SELECT x, count(*) FROM (VALUES (1), (3), (3)) AS a(x) JOIN (VALUES (1.00), (3.0)) AS b(x) USING (x) GROUP BY x HAVING x / 2 > 0.4
SELECT x::text, x + 0.5 AS y FROM (VALUES (1)) AS a(x) JOIN (VALUES (1.0::numeric(5, 2))) AS b(x) USING (x) JOIN (VALUES (1::float8)) AS c(x) USING (x)
SELECT x FROM (VALUES (1), (7)) AS a(x) JOIN (VALUES (1::bigint), (7)) AS b(x) USING (x) JOIN (VALUES (1), (7)) AS c(y) ON x / 2 = 3 AND y = x
SELECT x FROM (SELECT small AS x FROM shop.customers WHERE id < 40) AS a JOIN (SELECT credit AS x FROM crm.clients) AS b USING (x)
SELECT x FROM (SELECT credit AS x FROM crm.clients) AS a JOIN (SELECT small AS x FROM shop.customers WHERE id < 40) AS b USING (x)
SELECT x FROM (SELECT small AS x FROM shop.customers WHERE id < 40) AS a LEFT JOIN (SELECT credit AS x FROM crm.clients) AS b USING (x)
SELECT x FROM (SELECT small AS x FROM shop.customers WHERE id < 40) AS a RIGHT JOIN (SELECT credit AS x FROM crm.clients) AS b USING (x)
SELECT x FROM (SELECT small AS x FROM shop.customers WHERE id < 40) AS a JOIN (SELECT credit + 0 AS x FROM crm.clients) AS b USING (x)
SELECT x FROM (SELECT weight AS x FROM archive.parcels) AS a JOIN (SELECT credit AS x FROM crm.clients) AS b USING (x)
SELECT x FROM (SELECT weight AS x FROM archive.parcels) AS a JOIN (SELECT credit * 1.0 AS x FROM crm.clients) AS b USING (x)
SELECT id, x FROM (SELECT id, email AS x FROM shop.customers WHERE id < 40) AS a LEFT JOIN (SELECT name AS x FROM shop.customers) AS b USING (x)
SELECT id, total FROM shop.orders LEFT JOIN (SELECT id::bigint AS id, line_no FROM shop.order_lines) AS l USING (id) WHERE id < 9 ORDER BY id + 0
SELECT c.id FROM shop.customers c JOIN shop.orders o USING (id) GROUP BY id ORDER BY c.id
SELECT c.id, count(*) FROM shop.orders o RIGHT JOIN shop.customers c USING (id) GROUP BY id HAVING c.id > 2 ORDER BY c.id
SELECT c.id + 1 AS x FROM shop.customers c LEFT JOIN shop.orders o USING (id) GROUP BY id ORDER BY x
SELECT o.id FROM shop.customers c JOIN shop.orders o USING (id) GROUP BY id

-- All columns of a relation by the last part of its name.
SELECT orders.* FROM shop.orders WHERE id < 5
SELECT clients.*, orders.id FROM crm.clients JOIN shop.orders ON orders.customer = clients.id WHERE orders.id < 9
SELECT o.n FROM (SELECT orders.*, 1 AS n FROM shop.orders WHERE id < 3) AS o
SELECT orders.* FROM shop.orders AS o WHERE id < 5
