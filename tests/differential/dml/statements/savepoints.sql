-- Parts of transactions that are undone.
-- over: shop, crm, archive
BEGIN
INSERT INTO target.things (_id, name) VALUES (20, 'kept')
SAVEPOINT a
INSERT INTO target.things (_id, name) VALUES (21, 'undone')
UPDATE target.things SET name = 'undone' WHERE _id < 5
ROLLBACK TO SAVEPOINT a
SELECT count(*) FROM target.things
INSERT INTO target.things (_id, name) VALUES (21, 'kept too')
RELEASE SAVEPOINT a
COMMIT
BEGIN
SAVEPOINT before
INSERT INTO target.things (_id, name) VALUES (22, 'a')
INSERT INTO target.things (_id, name) VALUES (22, 'b')
SELECT 1
ROLLBACK TO before
INSERT INTO target.things (_id, name) VALUES (23, 'after a failure')
SAVEPOINT inner_one
DELETE FROM target.things
SAVEPOINT inmost
INSERT INTO target.things (_id, name) VALUES (24, 'alone')
ROLLBACK TO inmost
SELECT count(*) FROM target.things
ROLLBACK TO before
SELECT count(*) FROM target.things
ROLLBACK TO inmost
ROLLBACK TO before
INSERT INTO target.things (_id, name) VALUES (25, 'at last')
COMMIT
BEGIN
SAVEPOINT a
INSERT INTO target.things (_id, name) VALUES (26, 'one')
SAVEPOINT a
INSERT INTO target.things (_id, name) VALUES (27, 'two')
ROLLBACK TO a
INSERT INTO target.things (_id, name) VALUES (28, 'three')
RELEASE a
ROLLBACK TO a
INSERT INTO target.things (_id, name) VALUES (29, 'four')
COMMIT
BEGIN
SELECT count(*) FROM target.things
SAVEPOINT early
INSERT INTO target.things (_id, name) VALUES (31, 'x')
ROLLBACK TO early
COMMIT
BEGIN
SAVEPOINT a
UPDATE target.things SET qty = 0
ROLLBACK
