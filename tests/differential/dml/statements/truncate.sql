-- All rows go. What TRUNCATE does in blocks is tried elsewhere: PostgreSQL lets nobody read the table until they end.
TRUNCATE target.things
SELECT count(*) FROM target.things
INSERT INTO target.things (_id, name) VALUES (1, 'again'), (2, 'and again')
TRUNCATE TABLE target.things, target.people CONTINUE IDENTITY RESTRICT
INSERT INTO target.things (_id, name) VALUES (3, 'once more')
SELECT _id, name FROM target.things
BEGIN READ ONLY
TRUNCATE target.things
ROLLBACK
-- refused by shop, crm, archive, field: two stores
TRUNCATE target.things, other.things
TRUNCATE target.things
TRUNCATE target.things
