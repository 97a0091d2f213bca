-- The labels of an enum have an order of their own.
SELECT id, level FROM shop.customers ORDER BY level, id
SELECT id, level FROM shop.customers ORDER BY level DESC NULLS LAST, id DESC LIMIT 20
SELECT DISTINCT level FROM shop.customers ORDER BY level
SELECT level, count(*) AS n FROM shop.customers GROUP BY level ORDER BY level DESC
SELECT min(level) AS a, max(level) AS b FROM shop.customers
SELECT active, min(level) AS a, max(level) FILTER (WHERE id > 20) AS b FROM shop.customers GROUP BY active
SELECT id FROM shop.customers WHERE level > 'silver'
SELECT id FROM shop.customers WHERE level BETWEEN 'bronze' AND 'silver'
SELECT id FROM shop.customers WHERE level <= $1 <- silver
SELECT id FROM shop.customers WHERE level = $1 <- gold
SELECT id FROM shop.customers WHERE level IN ('gold', 'bronze')
SELECT id FROM shop.customers WHERE level <> 'gold' AND level IS DISTINCT FROM 'bronze'
SELECT id FROM shop.customers WHERE level > 'copper'
SELECT id, level > 'bronze' AS a, greatest(level, 'silver') AS b, least(level, 'silver') AS c, coalesce(level, 'bronze') AS d FROM shop.customers
SELECT id, rank() OVER (ORDER BY level) AS a, max(level) OVER (ORDER BY id ROWS 2 PRECEDING) AS b FROM shop.customers
SELECT string_agg(level::text, ',' ORDER BY level, id) AS a FROM shop.customers WHERE id < 12
SELECT id, level::text AS t FROM shop.customers ORDER BY level::text DESC, id
SELECT id FROM shop.customers WHERE level::text > 'gold'
SELECT a.id, b.id AS b FROM shop.customers a JOIN shop.customers b ON a.level < b.level WHERE a.id < 10 AND b.id < 10
SELECT a.id, b.id AS b FROM shop.customers a JOIN shop.customers b ON a.level = b.level WHERE a.id < 10 AND b.id < 10
SELECT level FROM (SELECT level FROM shop.customers UNION SELECT level FROM shop.customers) AS u ORDER BY level NULLS FIRST
SELECT (SELECT max(level) FROM shop.customers) AS m
SELECT CASE WHEN id < 5 THEN level ELSE 'bronze' END AS l, id FROM shop.customers WHERE id < 9 ORDER BY l, id
SELECT id FROM crm.clients WHERE kind LIKE 'none of them'
SELECT id FROM crm.clients WHERE kind = 'none of them'::text AND kind <> 'other'::text
SELECT id, level FROM shop.customers WHERE level::text LIKE 'gold' AND level::text <> 'none of them'

-- So have those of MariaDB.
SELECT id, level FROM crm.ranks ORDER BY level, id
SELECT id, level FROM crm.ranks ORDER BY level DESC NULLS LAST, id DESC LIMIT 20
SELECT DISTINCT level FROM crm.ranks ORDER BY level
SELECT level, count(*) AS n FROM crm.ranks GROUP BY level ORDER BY level DESC
SELECT min(level) AS a, max(level) AS b FROM crm.ranks
SELECT id % 3 AS g, min(level) AS a, max(level) FILTER (WHERE id > 20) AS b FROM crm.ranks GROUP BY id % 3
SELECT id FROM crm.ranks WHERE level > 'silver'
SELECT id FROM crm.ranks WHERE level BETWEEN 'bronze' AND 'silver'
SELECT id FROM crm.ranks WHERE level <= $1 <- silver
SELECT id FROM crm.ranks WHERE level IN ('gold', 'bronze') AND level <> 'bronze'
SELECT id, level > 'bronze' AS a, greatest(level, 'silver') AS b, least(level, 'silver') AS c, coalesce(level, 'bronze') AS d FROM crm.ranks
SELECT id, rank() OVER (ORDER BY level) AS a, max(level) OVER (ORDER BY id ROWS 2 PRECEDING) AS b FROM crm.ranks
SELECT string_agg(level::text, ',' ORDER BY level, id) AS a FROM crm.ranks WHERE id < 12
SELECT id FROM crm.ranks WHERE level::text > 'gold'
SELECT a.id, b.id AS b FROM crm.ranks a JOIN crm.ranks b ON a.level < b.level WHERE a.id < 10 AND b.id < 10
SELECT a.id, b.id AS b FROM crm.ranks a JOIN crm.ranks b ON a.level = b.level WHERE a.id < 10 AND b.id < 10
SELECT c.id, r.id AS r FROM shop.customers c JOIN crm.ranks r ON r.level = c.level WHERE c.id < 10 AND r.id < 10
SELECT id FROM crm.ranks r WHERE level = (SELECT max(level) FROM shop.customers)
