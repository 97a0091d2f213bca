-- refused
-- TODO row locks (FOR UPDATE, FOR SHARE) are not supported yet
SELECT id FROM shop.customers FOR UPDATE
-- TODO Unsupported SQL unary operator BitwiseNot
SELECT 5 & 3 AS a, 5 | 3 AS b, 5 # 3 AS c, ~5 AS d, 1 << 4 AS e, 256 >> 4 AS f
