-- Statements that are refused with 0A000, each group with its reason.

-- Row locks would be ignored.
SELECT id FROM shop.customers FOR UPDATE

-- The planner has no ~ operator.
SELECT 5 & 3 AS a, 5 | 3 AS b, 5 # 3 AS c, ~5 AS d, 1 << 4 AS e, 256 >> 4 AS f
