-- Statements that are refused with 0A000, each group with its reason.

-- Row locks would be ignored.
SELECT id FROM shop.customers FOR UPDATE

-- A subquery that reads an outer row in other ways than equalities reads the outer rows twice, and LIMIT may then take others.
SELECT t.id, (SELECT count(*) FROM shop.orders o WHERE o.total < t.small) AS n FROM (SELECT id, small FROM shop.customers ORDER BY id LIMIT 5) AS t
