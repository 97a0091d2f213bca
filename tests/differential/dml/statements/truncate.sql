-- All rows go, in the transaction where the store has it there.
TRUNCATE target.things
SELECT count(*) FROM target.things
INSERT INTO target.things (_id, name) VALUES (1, 'again'), (2, 'and again')
TRUNCATE TABLE target.things, target.people CONTINUE IDENTITY RESTRICT
INSERT INTO target.things (_id, name) VALUES (3, 'once more')
[shop, archive, field] BEGIN
[shop, archive, field] TRUNCATE target.things
[shop, archive, field] SELECT count(*) FROM target.things
[shop, archive, field] INSERT INTO target.things (_id, name) VALUES (4, 'in a block')
[shop, archive, field] ROLLBACK
SELECT _id, name FROM target.things
BEGIN READ ONLY
TRUNCATE target.things
ROLLBACK
-- refused by shop, crm, archive, field: two stores
TRUNCATE target.things, other.things
TRUNCATE target.things
TRUNCATE target.things
