-- Transactions over one store.
BEGIN
INSERT INTO target.things (_id, name) VALUES (20, 'in a block')
SELECT _id, name FROM target.things WHERE _id = 20
UPDATE target.things SET qty = 1 WHERE _id = 20
UPDATE target.things SET qty = t.qty + s.qty FROM target.things t, other.sources s WHERE t._id = 20 AND s._id = 11 AND things._id = 20
SELECT count(*), sum(qty) FROM target.things
DELETE FROM target.things WHERE name = 'in a block' RETURNING qty
INSERT INTO target.things (_id, name) SELECT _id + 30, name FROM target.things WHERE _id < 3
COMMIT
BEGIN
DELETE FROM target.things
SELECT count(*) FROM target.things
ROLLBACK
BEGIN
INSERT INTO target.things (_id, name) VALUES (40, 'first')
INSERT INTO target.things (_id, name) VALUES (40, 'twice')
SELECT 1
INSERT INTO target.things (_id, name) VALUES (41, 'after a failure')
COMMIT
SELECT count(*) FROM target.things
BEGIN
INSERT INTO target.things (_id, qty) VALUES (42, 1)
UPDATE target.things SET qty = 1 / (qty - 1) WHERE _id = 42
ROLLBACK
BEGIN READ ONLY
INSERT INTO target.things (_id) VALUES (43)
ROLLBACK
BEGIN READ ONLY
UPDATE target.things SET qty = 1 WHERE false
COMMIT
BEGIN ISOLATION LEVEL REPEATABLE READ
SELECT count(*) FROM target.things
INSERT INTO target.things (_id, name) VALUES (44, 'repeatable')
SELECT name FROM target.things WHERE _id = 44
UPDATE target.things SET name = name || '!' WHERE _id = 44 RETURNING name
COMMIT
BEGIN ISOLATION LEVEL REPEATABLE READ
UPDATE target.things SET name = 'gone' WHERE _id = 44
ROLLBACK
[shop, crm, archive] BEGIN ISOLATION LEVEL SERIALIZABLE
[shop, crm, archive] SELECT count(*), max(_id) FROM target.things
[shop, crm, archive] SAVEPOINT looked
[shop, crm, archive] SELECT 1 / (_id - _id) FROM target.things
[shop, crm, archive] ROLLBACK TO looked
[shop, crm, archive] INSERT INTO target.things (_id, name) VALUES (45, 'serial')
[shop, crm, archive] SELECT name FROM target.things WHERE _id = 45
[shop, crm, archive] COMMIT
-- Nothing is written in a second store that cannot be committed with the first, and the block is over.
[archive] BEGIN
[archive] UPDATE target.things SET name = 'of two' WHERE _id = 1
-- refused by archive: neither archive nor field is prepared
[archive] INSERT INTO other.things (_id, name) VALUES (46, 'of two')
[archive] SELECT 1
[archive] COMMIT
[archive] SELECT name FROM target.things WHERE _id = 1
-- Rows that are locked are those that are read.
-- refused by field: no row locks
SELECT _id, name FROM target.things WHERE _id < 3 FOR UPDATE
[shop, crm, archive] BEGIN
[shop, crm, archive] SELECT _id, name FROM target.things WHERE _id < 3 ORDER BY _id DESC LIMIT 1 FOR NO KEY UPDATE
[shop, crm, archive] SELECT t._id, s.qty FROM target.things t JOIN other.sources s ON s.item = t._id FOR SHARE OF t
[shop, crm, archive] UPDATE target.things SET qty = 7 WHERE _id = 1
[shop, crm, archive] SELECT qty FROM target.things WHERE _id = 1 FOR KEY SHARE
-- refused by shop, crm, archive: groups are no rows, for PostgreSQL too
[shop, crm, archive] SELECT count(*) FROM target.things FOR UPDATE
[shop, crm, archive] ROLLBACK
[shop, crm, archive] SELECT _id FROM target.things FOR UPDATE OF nothing
START TRANSACTION
UPDATE target.things SET qty = NULL
COMMIT
