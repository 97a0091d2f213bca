-- Conditions that no row meets must not become statements without a condition.
DELETE FROM target.things WHERE false
DELETE FROM target.things WHERE 1 = 0
DELETE FROM target.things WHERE NULL
DELETE FROM target.things WHERE qty = NULL
DELETE FROM target.things WHERE qty = 1 AND false
DELETE FROM target.things WHERE _id = 1 AND _id = 2
DELETE FROM target.things WHERE _id IN (SELECT 1 WHERE false)
DELETE FROM target.things WHERE _id IN (SELECT item FROM other.sources WHERE false)
DELETE FROM target.things USING other.sources s WHERE false
DELETE FROM target.things WHERE NOT (true OR qty = 1)
DELETE FROM target.things WHERE name <> name
DELETE FROM target.things WHERE $1 <- false
DELETE FROM target.things WHERE qty > $1 <- \N
DELETE FROM target.things WHERE _id = ANY ($1) <- {}
UPDATE target.things SET qty = 0 WHERE false
UPDATE target.things SET qty = 0 WHERE 1 = 0 RETURNING _id
UPDATE target.things SET qty = 0 WHERE NULL::boolean
UPDATE target.things SET qty = 1 / qty WHERE false
UPDATE target.things SET qty = s.qty FROM other.sources s WHERE 1 = 2
UPDATE target.things SET name = 'x' WHERE name = 'a' AND name = 'b'
INSERT INTO target.things (_id) SELECT _id FROM other.sources WHERE 1 = 0
INSERT INTO target.things (_id) SELECT 1 WHERE false RETURNING _id
INSERT INTO target.things (_id) SELECT _id FROM other.sources LIMIT 0
-- And those that all rows meet are all rows.
UPDATE target.things SET name = 'all' WHERE true
UPDATE target.things SET name = 'all' WHERE 1 = 1 AND NOT false
DELETE FROM target.things WHERE true
