-- refused
-- TODO Physical plan does not support logical expression OuterReferenceColumn(Field { name: "tags", data_type: List(Field { data_type: Utf8, nullable: true, 
SELECT v.no, t.tag FROM field.visits v, unnest(v.tags) AS t(tag) WHERE v.no < 20
-- TODO Decimal scale -300 exceeds the minimum supported scale: -128
SELECT id, score + 1 AS a, score * 2 AS b, -score AS c, abs(score) AS d, score = score AS e FROM shop.customers WHERE abs(score) < 1e300 OR score = 'NaN'
-- TODO Decimal scale -300 exceeds the minimum supported scale: -128
SELECT a.no, b.id AS other FROM field.visits a JOIN archive.parcels b ON a.person = b.order_no WHERE (NOT (a.at = TIMESTAMPTZ '2262-01-01 01:00+01' AND a.ratio IN (1e300, 2.5)) AND NOT (b.order_no BETWEEN 7 AND 12 OR b.ratio <> 2.5))
-- TODO Decimal scale -300 exceeds the minimum supported scale: -128
SELECT id, order_no, label, noted, ratio FROM archive.parcels t WHERE NOT (t.order_no IS NULL AND t.ratio BETWEEN -0.25 AND 1e300)
-- TODO Decimal scale -300 exceeds the minimum supported scale: -128
SELECT a.no, b.id AS other FROM field.visits a FULL JOIN shop.orders b ON a.mood = b.status AND b.status >= 'b' WHERE (NOT (a.open > false OR a.ratio IN (1e300, 1e300)) OR NOT (b.customer IS DISTINCT FROM 8 OR b.placed IN (TIMESTAMP '1970-01-01', TIMESTAMP '2024-02-29 12:30:45.123456'))) AND a.no < 40 AND b.id < 40
-- TODO FETCH clause is not supported yet
SELECT id FROM shop.customers ORDER BY id FETCH FIRST 3 ROWS ONLY
-- TODO Physical plan does not support logical expression OuterReferenceColumn(Field { name: "tags", data_type: List(Field { data_type: Utf8, nullable: true, 
SELECT t.tag, count(*) FROM field.visits v, unnest(v.tags) AS t(tag) GROUP BY t.tag
-- TODO row locks (FOR UPDATE, FOR SHARE) are not supported yet
SELECT id FROM shop.customers FOR UPDATE
-- TODO Decimal scale -300 exceeds the minimum supported scale: -128
SELECT o.id FROM archive.parcels o WHERE NOT EXISTS (SELECT 1 FROM shop.order_lines i WHERE i.product = o.id AND NOT (i.discount IS DISTINCT FROM 1e300 AND i.order_id > 30)) AND NOT (o.sent NOT IN (DATE '2024-02-29', DATE '1970-01-01') AND o.weight NOT IN (1000, -0.0001))
-- TODO Physical plan does not support logical expression OuterReferenceColumn(Field { name: "tags", data_type: List(Field { data_type: Utf8, nullable: true, 
SELECT c.id, t.tag FROM shop.customers c, unnest(c.tags) AS t(tag)
-- TODO Decimal scale -300 exceeds the minimum supported scale: -128
SELECT id, order_id, product, discount FROM shop.order_lines t WHERE NOT (NOT (t.order_id NOT IN (8, 7) OR t.quantity = -1) OR (t.price IN (-0.0001, 99.99) AND t.discount IS DISTINCT FROM 1e300))
-- TODO Decimal scale -300 exceeds the minimum supported scale: -128
SELECT id, score FROM shop.customers WHERE score > 1e300
-- TODO Unsupported SQL unary operator BitwiseNot
SELECT 5 & 3 AS a, 5 | 3 AS b, 5 # 3 AS c, ~5 AS d, 1 << 4 AS e, 256 >> 4 AS f
-- TODO Decimal scale -300 exceeds the minimum supported scale: -128
SELECT id, score AS b FROM shop.customers t WHERE (t.email IS DISTINCT FROM 'happy' OR t.score > 1e300) ORDER BY score, id LIMIT 5 OFFSET 5
