-- What a statement leaves out gets its default, and NULL that is written is NULL.
-- over: shop, crm, archive
INSERT INTO target.people (_id, email) VALUES (10, 'ten@x')
INSERT INTO target.people (_id, email, note) VALUES (11, 'eleven@x', NULL)
INSERT INTO target.people (_id, email, note, visits) VALUES (12, 'twelve@x', DEFAULT, DEFAULT)
INSERT INTO target.people (_id, email, note, visits) VALUES (13, 'a@y', DEFAULT, 5), (14, 'b@y', 'x', DEFAULT), (15, 'c@y', 'y', 6), (16, 'd@y', NULL, 7) RETURNING _id, note, visits
INSERT INTO target.people (_id, email) SELECT _id + 100, 'of ' || name FROM other.sources WHERE item > 2 AND name <> ''
-- refused by shop, crm, archive: a default in UPDATE
UPDATE target.people SET note = DEFAULT WHERE _id = 1
-- refused by shop, crm, archive: a default in UPDATE
UPDATE target.people SET visits = DEFAULT, note = 'again' WHERE _id > 10
INSERT INTO target.people (_id, email, visits) VALUES (17, 'q@y', NULL)
INSERT INTO target.people (_id, email, visits) VALUES (18, 'r@y', 1 + DEFAULT)
INSERT INTO target.people DEFAULT VALUES
INSERT INTO target.people (_id) VALUES (19)
