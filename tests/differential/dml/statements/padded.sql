-- Columns whose store takes texts for equal that differ in blanks at their end, or in capitals: what is changed is what PostgreSQL would change.
-- over: shop, crm, archive
DELETE FROM target.things WHERE name = 'ADA'
DELETE FROM target.things WHERE name = 'ada  '
UPDATE target.things SET qty = 100 WHERE name = 'ada'
UPDATE target.things SET qty = 200 WHERE name = 'ada '
UPDATE target.things SET qty = 300 WHERE name IN ('Ada', 'ZOË')
UPDATE target.things SET qty = 400 WHERE name <> 'ada' AND _id < 5
UPDATE target.things SET qty = 500 WHERE name > 'ada' AND name <= 'ada '
UPDATE target.things SET qty = 600 WHERE name BETWEEN 'ada' AND 'ada!'
UPDATE target.things SET qty = 700 WHERE name = ''
UPDATE target.things SET qty = 800 WHERE name = ' '
UPDATE target.things SET qty = 900 WHERE code = 'B'
UPDATE target.things SET qty = 901 WHERE code = 'a1' OR code = 'A1 '
UPDATE target.things SET ok = true WHERE name LIKE 'ada_'
UPDATE target.things SET ok = NULL WHERE name NOT LIKE 'A%'
UPDATE target.things SET ok = false WHERE upper(name) = 'ADA'
UPDATE target.things SET qty = s.qty FROM other.sources s WHERE s.name = things.name AND s._id <> 13 RETURNING _id, things.qty
DELETE FROM target.things USING other.sources s WHERE s.name = things.name || '' AND things.name = 'Zoë' RETURNING _id
UPDATE target.things SET qty = $1 WHERE name = $2 <- 77 <- ada
DELETE FROM target.things WHERE name = $1 <- ada 
SELECT _id, name, qty FROM target.things
UPDATE target.things SET name = 'ada' WHERE name = 'ada '
UPDATE target.things SET name = name || ' ' WHERE _id = 2
DELETE FROM target.things WHERE name = 'ada'
MERGE INTO target.things t USING (SELECT * FROM other.sources WHERE _id IN (11, 12)) s ON s.name = t.name WHEN MATCHED THEN UPDATE SET qty = s.qty WHEN NOT MATCHED THEN INSERT (_id, name) VALUES (s._id + 50, s.name || ' ')
MERGE INTO target.things t USING (VALUES ('bob'), ('bob ')) s (name) ON s.name = t.name WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (_id, name) VALUES (71, s.name)
SELECT _id, name, length(name) FROM target.things
-- Keys that differ in blanks and capitals are different keys.
INSERT INTO target.pairs (a, b, qty) VALUES (1, 'x ', 5), (1, 'X', 6)
UPDATE target.pairs SET qty = 7 WHERE a = 1 AND b = 'x'
UPDATE target.pairs SET qty = 8 WHERE (a, b) IN ((1, 'X'), (2, 'X'))
DELETE FROM target.pairs WHERE b = 'x ' RETURNING a, qty
INSERT INTO target.pairs (a, b, qty) VALUES (1, 'X ', 9) ON CONFLICT (a, b) DO UPDATE SET qty = 0
SELECT a, b, length(b), qty FROM target.pairs
