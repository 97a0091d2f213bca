-- Savepoints in transactions that write to two stores. MongoDB cannot go back behind a write.
-- over: shop+crm, shop+archive
BEGIN
INSERT INTO target.things (_id, name) VALUES (20, 'kept')
SAVEPOINT one
INSERT INTO target.things (_id, name) VALUES (21, 'gone')
INSERT INTO other.things (_id, name) VALUES (21, 'gone')
SELECT t._id FROM target.things t JOIN other.things o ON o._id = t._id WHERE t._id > 19
ROLLBACK TO one
SELECT count(*) FROM other.things
INSERT INTO other.things (_id, name) VALUES (22, 'kept')
SAVEPOINT two
UPDATE target.things SET name = 'changed' WHERE _id = 20
UPDATE other.things SET name = 'changed' WHERE _id = 22
RELEASE two
COMMIT
SELECT t.name, o.name FROM target.things t, other.things o WHERE t._id = 20 AND o._id = 22
-- A failure in either store is undone in both.
BEGIN
UPDATE target.people SET visits = visits + 5 WHERE _id = 1
SAVEPOINT one
UPDATE other.people SET visits = visits + 5 WHERE _id = 1
SAVEPOINT two
INSERT INTO other.people (_id, email) VALUES (1, 'again@x')
SELECT 1
ROLLBACK TO two
SELECT visits FROM other.people WHERE _id = 1
INSERT INTO target.people (_id, email) VALUES (1, 'again@x')
ROLLBACK TO one
SELECT t.visits, o.visits FROM target.people t JOIN other.people o ON o._id = t._id WHERE t._id = 1
UPDATE other.people SET visits = 0 WHERE _id = 3
COMMIT
-- A store that is first written to behind a savepoint, and left out again.
BEGIN
SAVEPOINT one
INSERT INTO other.pairs (a, b, qty) VALUES (8, 'p', 1)
ROLLBACK TO one
INSERT INTO target.pairs (a, b, qty) VALUES (8, 'p', 2)
RELEASE one
COMMIT
BEGIN
INSERT INTO target.pairs (a, b, qty) VALUES (9, 'p', 1)
SAVEPOINT one
INSERT INTO other.pairs (a, b, qty) VALUES (9, 'p', 1)
SAVEPOINT one
DELETE FROM other.pairs WHERE a = 9
DELETE FROM target.pairs WHERE a = 9
ROLLBACK TO one
RELEASE one
ROLLBACK TO one
SELECT count(*) FROM other.pairs
COMMIT
BEGIN
UPDATE other.pairs SET qty = 1
SAVEPOINT one
UPDATE target.pairs SET qty = 1
ROLLBACK
SELECT sum(t.qty), sum(o.qty) FROM target.pairs t JOIN other.pairs o ON o.a = t.a AND o.b = t.b
