-- PostgreSQL has no LIMIT and no ORDER BY in statements that change or remove rows, whatever a store has.
DELETE FROM target.things LIMIT 1
DELETE FROM target.things WHERE qty > 0 LIMIT 1
DELETE FROM target.things ORDER BY _id
DELETE FROM target.things WHERE ok ORDER BY _id DESC LIMIT 2
DELETE FROM target.things ORDER BY _id LIMIT 1 RETURNING _id
DELETE FROM target.things WHERE _id = $1 LIMIT 1 <- 1
UPDATE target.things SET qty = 1 LIMIT 1
UPDATE target.things SET qty = 1 WHERE qty > 0 LIMIT 2
UPDATE target.things SET qty = 1 ORDER BY _id
UPDATE target.things SET qty = 1 WHERE ok ORDER BY _id LIMIT 1
UPDATE target.things SET qty = qty + 1 FROM other.sources s WHERE s.item = things._id LIMIT 1
UPDATE target.things SET qty = 1 OFFSET 1
DELETE FROM target.things WHERE ok FETCH FIRST 1 ROW ONLY
DELETE target.things FROM target.things WHERE _id = 1
DELETE things, u FROM target.things JOIN target.people u ON u._id = things._id
UPDATE target.things, target.people SET qty = 1
UPDATE IGNORE target.things SET qty = 1
INSERT IGNORE INTO target.things (_id) VALUES (1)
REPLACE INTO target.things (_id) VALUES (1)
INSERT INTO target.things (_id) VALUES (1) ON DUPLICATE KEY UPDATE qty = 1
INSERT OR REPLACE INTO target.things (_id) VALUES (1)
UPDATE OR IGNORE target.things SET qty = 1
INSERT INTO target.things SET _id = 1
BEGIN
DELETE FROM target.things LIMIT 1
COMMIT
-- A query may have both, and means the rows that it gives.
DELETE FROM target.things WHERE _id IN (SELECT _id FROM target.things ORDER BY qty DESC NULLS LAST, _id LIMIT 2)
UPDATE target.things SET name = 'last' WHERE _id = (SELECT _id FROM target.things ORDER BY _id DESC LIMIT 1)
DELETE FROM target.things WHERE _id IN (SELECT u._id FROM target.things u ORDER BY u._id OFFSET 3) RETURNING _id
SELECT count(*) FROM target.things
