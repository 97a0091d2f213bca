-- Fields inside of a document, which in the copy is a composite value.
-- over: field
UPDATE target.docs SET person.name = 'Eve' WHERE _id = 1
UPDATE target.docs SET person.age = 40, n = n + 1 WHERE _id IN (2, 3)
UPDATE target.docs SET person.name = upper((person).name) || '!' WHERE _id < 3
UPDATE target.docs SET (person.name, person.age) = ('both', 9) WHERE _id = 1
UPDATE target.docs SET (person.name, n) = (SELECT name, qty FROM other.sources WHERE _id = 11) WHERE _id = 4
UPDATE target.docs SET person.name = s.name FROM other.sources AS s WHERE s._id = 12 AND docs._id = 4
UPDATE target.docs SET person.age = (person).age + n WHERE _id = 1
UPDATE target.docs SET person.name = 'one', person.age = (person).age WHERE (person).age > 30
UPDATE target.docs SET person.name = 'new' WHERE _id = 3 RETURNING _id, to_json(person)::text AS shown, (person).name AS name
UPDATE target.docs SET person.name = NULL WHERE _id = 1
UPDATE target.docs SET person.age = n
UPDATE target.docs SET person.age = '7' WHERE _id = 1
UPDATE target.docs SET person.age = 2.5 WHERE _id = 1
UPDATE target.docs SET person.name = 12 WHERE _id = 1
UPDATE target.docs SET person.name = $1 WHERE _id = 1 <- given
UPDATE target.docs SET person.name = 'all'
-- What is no field, and what does not fit it.
UPDATE target.docs SET person.age = true WHERE _id = 1
UPDATE target.docs SET person.age = 'x' WHERE _id = 1
UPDATE target.docs SET person.age = 9223372036854775808 WHERE _id = 1
UPDATE target.docs SET person.nowhere = 1
UPDATE target.docs SET n.x = 1
UPDATE target.docs SET nowhere.x = 1
UPDATE target.docs SET docs.n = 1
UPDATE target.docs SET person.age = 1, person = NULL
-- refused by field: PostgreSQL refuses it with the same code
UPDATE target.docs SET person.age = DEFAULT
-- New documents have the fields that are named.
INSERT INTO target.docs (_id, person.name) VALUES (10, 'ten')
INSERT INTO target.docs (_id, person.age, person.name) VALUES (11, 1, 'a'), (12, NULL, 'b'), (13, 3, NULL)
INSERT INTO target.docs (person.name, _id) SELECT name, _id FROM other.sources WHERE _id IN (11, 12) AND _id > 100
INSERT INTO target.docs (person.name, _id) SELECT name, _id + 100 FROM other.sources WHERE _id IN (11, 12)
INSERT INTO target.docs (_id, person.name, person) VALUES (20, 'a', NULL)
INSERT INTO target.docs (_id, person.nowhere) VALUES (20, 'a')
INSERT INTO target.docs (_id, n.x) VALUES (20, 1)
INSERT INTO target.docs (_id, person.name) VALUES (1, 'met') ON CONFLICT (_id) DO NOTHING
INSERT INTO target.docs (_id, person.name) VALUES (1, 'met'), (21, 'not') ON CONFLICT (_id) DO UPDATE SET person.name = 'again', n = docs.n + 1
MERGE INTO target.docs AS t USING (SELECT 1 AS i, 'm' AS word UNION ALL SELECT 50, 'w') AS s ON t._id = s.i WHEN MATCHED THEN UPDATE SET person.name = s.word WHEN NOT MATCHED THEN INSERT (_id, person.name) VALUES (s.i, s.word)
UPDATE target.docs SET person = NULL WHERE _id = 2
BEGIN
UPDATE target.docs SET person.name = 'gone' WHERE _id = 1
SELECT _id, (person).name AS name FROM target.docs
ROLLBACK
DELETE FROM target.docs WHERE (person).age IS NULL
