-- Keys that the store makes. No statement here fails: stores differ in whether a failure uses a number up.
-- over: shop, crm, archive
INSERT INTO target.journal (line) VALUES ('one')
INSERT INTO target.journal (line) VALUES ('two'), ('three') RETURNING _id
INSERT INTO target.journal DEFAULT VALUES
INSERT INTO target.journal DEFAULT VALUES RETURNING *
INSERT INTO target.journal (_id, line) VALUES (DEFAULT, 'six')
INSERT INTO target.journal (line, marks) SELECT name, qty FROM other.sources WHERE item = 2 ORDER BY _id RETURNING _id, line
INSERT INTO target.journal (marks) VALUES (1), (2), (3) RETURNING _id, marks * 2 AS twice
INSERT INTO target.journal (line) VALUES ($1) RETURNING _id <- parameter
UPDATE target.journal SET marks = _id * 10 WHERE marks IS NULL
DELETE FROM target.journal WHERE _id IN (1, 3) RETURNING line
BEGIN
INSERT INTO target.journal (line) VALUES ('in a block') RETURNING _id
INSERT INTO target.journal (line) SELECT line || ' again' FROM target.journal WHERE _id = 2
COMMIT
