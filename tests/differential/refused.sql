-- Statements that are refused with 0A000, each group with its reason.

-- Rows are locked by the outermost query only.
SELECT id FROM (SELECT id FROM shop.customers FOR UPDATE) AS s

-- A subquery that reads an outer row in other ways than equalities reads the outer rows twice, and LIMIT may then take others.
SELECT t.id, (SELECT count(*) FROM shop.orders o WHERE o.total < t.small) AS n FROM (SELECT id, small FROM shop.customers ORDER BY id LIMIT 5) AS t

-- A correlated subquery is computed once for rows that are equal in what it reads.
SELECT c.id, (SELECT random() < 2 AND c.id > 0) AS a FROM shop.customers c

-- A row number without an order of its own would lose the order below it.
SELECT c.id, (SELECT x FROM (SELECT o.id AS x FROM shop.orders o WHERE o.customer = c.id ORDER BY o.id DESC) s LIMIT 1) AS latest FROM shop.customers c ORDER BY c.id

-- Of rows that are not written out field by field, only the row itself could be tested for NULL.
SELECT id FROM shop.customers WHERE CASE WHEN active THEN (small, email) END IS NULL
SELECT c.id FROM shop.customers c WHERE row(c.*) IS NOT NULL

-- Groups of a regular expression that may be divided in several ways.
SELECT regexp_match('ab', '((a)|b)*') AS m

-- Back references and look-around.
SELECT 'abab' ~ '(ab)\1' AS a
SELECT 'foo' ~ 'f(?=o)' AS a
SELECT regexp_replace('foobaz', 'foo(?!bar)', 'x') AS a

-- An aggregate over columns of an outer query alone is one of that query.
SELECT (SELECT count(c.id)) AS n FROM shop.customers c
SELECT (SELECT max(c.id) FROM shop.products p WHERE p.id = 1) AS m FROM shop.customers c
SELECT c.active, (SELECT count(*) FILTER (WHERE c.active) FROM shop.products p WHERE p.id = 1) AS n FROM shop.customers c GROUP BY c.active

-- The copies of a WITH query, and of a column of a row, would give different values.
WITH q AS (SELECT random() AS r) SELECT a.r = b.r AS equal FROM q a, q b
SELECT count(*) AS n FROM generate_series(1, 1000) AS g(i) WHERE ((random() * 2)::int, 1) <= (2, 1)

-- Frames without rows of their own, ranges that end before they begin, and offsets that differ from row to row.
SELECT x, sum(x) OVER (ORDER BY x ROWS 1 PRECEDING EXCLUDE CURRENT ROW) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, count(*) OVER (ORDER BY x RANGE BETWEEN 1 PRECEDING AND 2 PRECEDING) AS a FROM generate_series(1, 4) AS g(x)
SELECT x, lag(x, n) OVER (ORDER BY x) AS a FROM (VALUES (1, 1), (2, 2), (3, 0)) AS g(x, n)

-- Rows are looked for in subqueries where NULL means false, and by one computed column in HAVING.
SELECT id, (id, small) IN (SELECT shop_id, tier FROM crm.clients) AS a FROM shop.customers
SELECT id FROM shop.customers WHERE (id, small) = (SELECT shop_id, tier FROM crm.clients WHERE id = 1)
SELECT id FROM shop.customers WHERE (id, small) < ANY (SELECT shop_id, tier FROM crm.clients)
SELECT small FROM shop.customers GROUP BY small HAVING (max(id), count(*)) IN (SELECT shop_id, tier FROM crm.clients)
SELECT id FROM shop.customers WHERE (random() < 2, id) IN (SELECT true, shop_id FROM crm.clients)

-- Lists begin at 1.
SELECT '[2:3]={1,2}'::int[] AS a
