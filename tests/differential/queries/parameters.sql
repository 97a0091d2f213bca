-- Statements with parameters: each is asked with a plan for its values and with one for all values.
SELECT id, name FROM shop.customers WHERE id = $1 <- 7
SELECT id, name FROM shop.customers WHERE id = $1 <- \N
SELECT id FROM shop.customers WHERE id > $1 AND id <= $2 <- 3 <- 9
SELECT id FROM shop.customers WHERE id BETWEEN $1 AND $2 <- 9 <- 3
SELECT id FROM shop.customers WHERE id BETWEEN $1 AND $2 <- 3 <- \N
SELECT id FROM shop.customers WHERE id IN ($1, $2, 3) <- 1 <- \N
SELECT id FROM shop.customers WHERE id NOT IN ($1, $2) AND id < 9 <- 1 <- \N
SELECT id FROM shop.customers WHERE id = 5 AND id = $1 <- 6
SELECT id FROM shop.customers WHERE id = $1 OR $2 <- 6 <- f
SELECT id FROM shop.customers WHERE (id = $1 OR $2) AND id < 9 <- 6 <- t
SELECT id FROM shop.customers WHERE ($1::bigint IS NULL OR id = $1) AND id < 9 <- \N
SELECT id FROM shop.customers WHERE ($1::bigint IS NULL OR id = $1) AND id < 9 <- 4
SELECT id FROM shop.customers WHERE $1::boolean AND id < 4 <- \N
SELECT id FROM shop.customers WHERE name LIKE $1 <- A%
SELECT id FROM shop.customers WHERE name LIKE $1 <- a\
SELECT id FROM shop.customers WHERE name NOT LIKE $1 AND id < 20 <- \N
SELECT id FROM crm.clients WHERE name = $1 <- Ada
SELECT id FROM crm.clients WHERE name = $1 AND code = $2 <- ADA <- a1
SELECT id FROM crm.clients WHERE tier = $1 OR since > $2 <- 1 <- 2020-01-01
SELECT id FROM crm.clients WHERE big = $1 <- 18446744073709551615
SELECT id FROM archive.parcels WHERE label = $1 OR id = $2 <- é <- 3
SELECT id FROM archive.parcels WHERE weight > $1 AND ok = $2 <- 1.5 <- t
SELECT no FROM field.visits WHERE mood = $1 <- happy
SELECT no FROM field.visits WHERE at >= $1 AND ratio < $2 <- 1970-01-01 00:00:00+00 <- NaN
SELECT no FROM field.visits WHERE amount = $1 <- 10.50
SELECT id FROM shop.customers WHERE small IS DISTINCT FROM $1 AND id < 20 <- \N
SELECT id FROM shop.customers WHERE seen > $1::timestamptz - $2::interval <- 2024-02-29 12:30:45+00 <- 1 year
SELECT id FROM shop.customers WHERE score = $1 OR rating = $2 <- NaN <- -0
SELECT id FROM shop.customers WHERE token = $1 OR raw = $2 <- A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11 <- \x0a
SELECT id FROM shop.customers WHERE code = $1 <- ab
SELECT id FROM shop.customers WHERE id = ANY ($1::bigint[]) <- {1,3,NULL}
SELECT id FROM shop.customers WHERE id = ANY ($1::bigint[]) <- {}
SELECT id FROM shop.customers WHERE id = ANY ($1::bigint[]) <- \N
SELECT id FROM shop.customers WHERE id <> ALL ($1::bigint[]) AND id < 9 <- {1,3}
SELECT id FROM shop.customers WHERE id / $1 = 1 <- 2
SELECT id FROM shop.customers WHERE id / $1 = 1 <- 0
SELECT id FROM shop.customers WHERE id > 10 / $1::int <- 0
-- Outputs, groups and orders.
SELECT id + $1 AS a, $2::text AS b, $3::text || name AS c FROM shop.customers WHERE id < 5 <- 10 <- \N <- x
SELECT small % $1 AS k, count(*) AS n, sum(id + $1) AS s FROM shop.customers GROUP BY small % $1 <- 3
SELECT DISTINCT small / $1 AS k FROM shop.customers <- 2
SELECT id, CASE WHEN small = $1 THEN $2 ELSE name END AS a FROM shop.customers WHERE id < 9 <- 1 <- one
SELECT id FROM shop.customers ORDER BY small % $1, id LIMIT 10 <- 3
SELECT id FROM shop.customers ORDER BY id LIMIT $1 <- 3
SELECT id FROM shop.customers ORDER BY id LIMIT $1 <- 0
SELECT id FROM shop.customers ORDER BY id LIMIT $1 OFFSET $2 <- \N <- 250
SELECT id FROM shop.customers ORDER BY id LIMIT $1 <- -1
SELECT id FROM shop.customers ORDER BY id OFFSET $1 <- -1
SELECT id FROM crm.clients WHERE id > $1 ORDER BY id LIMIT $2 <- 5 <- 4
SELECT no FROM field.visits ORDER BY no LIMIT $1 OFFSET $2 <- 3 <- 2
SELECT count(*) AS n FROM (SELECT id FROM archive.parcels ORDER BY id LIMIT $1) s WHERE id > $2 <- 9 <- 4
SELECT id, sum(small + $1) OVER (PARTITION BY active ORDER BY id) AS s FROM shop.customers WHERE id < $2 <- 1 <- 20
SELECT id, coalesce(small, $1) AS a, nullif(small, $1) AS b, greatest(small, $1) AS c FROM shop.customers WHERE id < 20 <- 1
SELECT count(*) FILTER (WHERE small > $1) AS a, max(name) FILTER (WHERE id < $2) AS b FROM shop.customers <- 3 <- 9
-- Several stores.
SELECT c.id, k.id AS k FROM shop.customers c JOIN crm.clients k ON k.shop_id = c.id WHERE c.id = $1 <- 8
SELECT c.id, k.id AS k FROM shop.customers c JOIN crm.clients k ON k.shop_id = c.id WHERE c.id = $1 <- \N
SELECT c.id, k.id AS k FROM shop.customers c LEFT JOIN crm.clients k ON k.shop_id = c.id AND k.tier = $1 WHERE c.small IN ($2, $3) <- 1 <- 1 <- 2
SELECT c.id, k.id AS k FROM shop.customers c LEFT JOIN crm.clients k ON k.shop_id = c.id AND k.tier = $1 WHERE c.id < $2 <- \N <- 9
SELECT c.id, o.id AS o, p.id AS p FROM shop.customers c JOIN shop.orders o ON o.customer = c.id JOIN archive.parcels p ON p.order_no = o.id WHERE c.active = $1 AND p.ok AND o.total > $2 <- t <- 10
SELECT v.no, c.name, k.city FROM field.visits v JOIN shop.customers c ON c.id = v.person LEFT JOIN crm.clients k ON k.id = v.client WHERE v.mood <> $1 AND c.id < $2 <- happy <- 30
SELECT c.name, count(*) AS n, sum(k.credit) AS s FROM shop.customers c JOIN crm.clients k ON k.shop_id = c.id WHERE k.credit > $1 GROUP BY c.name HAVING count(*) >= $2 <- 0 <- 1
SELECT id FROM shop.customers WHERE id IN (SELECT shop_id FROM crm.clients WHERE tier = $1) <- 1
SELECT id FROM shop.customers c WHERE NOT EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id AND o.total > $1) AND id < $2 <- 5 <- 50
SELECT id, (SELECT count(*) FROM archive.parcels p WHERE p.order_no = o.id AND p.weight > $1) AS n FROM shop.orders o WHERE o.id < $2 <- 1 <- 30
SELECT id FROM shop.customers WHERE id = $1 UNION ALL SELECT id FROM crm.clients WHERE id = $2 UNION ALL SELECT $1 <- 3 <- 4
SELECT id FROM shop.customers WHERE id = $1 UNION SELECT id FROM archive.parcels WHERE id = $2 <- \N <- 4
SELECT c.id, g FROM shop.customers c JOIN generate_series($1::int, $2::int) g ON g = c.id <- 2 <- 4
WITH RECURSIVE r(n) AS (SELECT $1::bigint UNION ALL SELECT n + 1 FROM r WHERE n < $2) SELECT r.n, c.name FROM r JOIN shop.customers c ON c.id = r.n <- 2 <- 4
SELECT id FROM shop.customers WHERE seen < now() - $1::interval AND id < $2 <- 1 day <- 9
-- Numbers of rows that analysis reads.
SELECT count(*) AS n FROM shop.customers c WHERE EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id LIMIT $1) <- \N
SELECT count(*) AS n FROM shop.customers c WHERE EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id LIMIT $1) <- 1
SELECT count(*) AS n FROM shop.customers c WHERE EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id OFFSET $1) <- \N
SELECT c.id, s.id AS o FROM shop.customers c CROSS JOIN LATERAL (SELECT o.id FROM shop.orders o WHERE o.customer = c.id ORDER BY o.id LIMIT $1 OFFSET $2) s WHERE c.id < 30 <- 2 <- \N
SELECT c.id, s.id AS o FROM shop.customers c CROSS JOIN LATERAL (SELECT o.id FROM shop.orders o WHERE o.customer = c.id ORDER BY o.id LIMIT $1 OFFSET $2) s WHERE c.id < 30 <- \N <- 1
SELECT id, lag(id, $1) OVER (ORDER BY id) AS a FROM shop.customers WHERE id < 9 <- \N
SELECT id, lead(id, $1, $2) OVER (ORDER BY id) AS a FROM shop.customers WHERE id < 9 <- 2 <- 0
SELECT id, nth_value(id, $1) OVER (ORDER BY id) AS a FROM shop.customers WHERE id < 9 <- \N
SELECT id, nth_value(id, $1) OVER (ORDER BY id) AS a FROM shop.customers WHERE id < 9 <- 0
SELECT id, ntile($1) OVER (ORDER BY id) AS a FROM shop.customers WHERE id < 9 <- \N
SELECT id, ntile($1) OVER (ORDER BY id) AS a FROM shop.customers WHERE id < 9 <- 0
SELECT count(*) AS n FROM (SELECT id FROM shop.customers UNION ALL SELECT id FROM crm.clients LIMIT $1 OFFSET $2) s <- 9223372036854775807 <- 5
-- Parameters of WITH queries that nothing reads.
WITH a AS (SELECT $1::int AS n) SELECT 1 AS n <- 5
WITH a AS (SELECT id FROM shop.customers WHERE id = $1 LIMIT $3) SELECT $2::text AS t <- 5 <- x <- 3
WITH a AS (SELECT $1::int AS n) SELECT $1::text AS t <- 05
WITH b AS (SELECT $1::int AS n), a AS (SELECT $1::text AS t) SELECT n::text AS t FROM b <- 05
WITH b AS (SELECT $2::int AS n), a AS (SELECT n + $1 AS m FROM b) SELECT $3::int AS o <- 1 <- 2 <- 3
WITH a AS (SELECT $1 AS t) SELECT $1 AS t <- x
-- A parameter is of any length, whatever it is cast to.
SELECT $1::varchar(3) AS a, $1 AS b <- abcdef
SELECT $1::char(3) AS a, length($1::char(3)) AS b, $1 AS c <- abcdef
SELECT $1::numeric(5,1) AS a, $1 AS b <- 1.257
SELECT $1::timestamp(0) AS a, $1 AS b <- 2020-01-01 10:00:00.777
SELECT $1::interval(0) AS a, $1 AS b <- 1.777s
SELECT $1::numeric(3,1) AS a <- 1000
SELECT id FROM shop.customers WHERE name = $1::varchar(3) OR name = $1 <- Adam
-- A number of rows that is computed: the parameter has the type of its use.
SELECT id FROM shop.customers ORDER BY id LIMIT length($1) <- abc
SELECT id FROM shop.customers ORDER BY id LIMIT CASE WHEN $1 THEN 1 ELSE 2 END <- f
-- Rows of VALUES with and without parameters.
VALUES ($1, 'a'), (2, 'b') <- 1
VALUES (2, 'b'), ($1, $2) <- \N <- c
SELECT * FROM (VALUES (1), (length('ab'))) v(x) WHERE x = $1 <- 2
SELECT * FROM (VALUES ('a'), (lower('AB'))) v(x) WHERE x <> $1 ORDER BY 1 <- c
SELECT * FROM (VALUES (date '2020-01-01'), ('2020-01-02')) v(x) WHERE x <> $1 ORDER BY 1 <- 2020-01-03
SELECT id FROM shop.customers WHERE id IN (VALUES (1), ($1)) ORDER BY 1 <- 2
SELECT c.id, v.t FROM shop.customers c JOIN (VALUES (3, 'x'), ($1, $2)) v(id, t) ON v.id = c.id ORDER BY 1 <- 5 <- y
