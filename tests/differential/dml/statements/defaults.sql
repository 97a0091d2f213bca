-- What a statement leaves out gets its default, and NULL that is written is NULL.
-- over: shop, crm, archive
INSERT INTO target.people (_id, email) VALUES (10, 'ten@x')
INSERT INTO target.people (_id, email, note) VALUES (11, 'eleven@x', NULL)
INSERT INTO target.people (_id, email, note, visits) VALUES (12, 'twelve@x', DEFAULT, DEFAULT)
INSERT INTO target.people (_id, email, note, visits) VALUES (13, 'a@y', DEFAULT, 5), (14, 'b@y', 'x', DEFAULT), (15, 'c@y', 'y', 6), (16, 'd@y', NULL, 7) RETURNING _id, note, visits
INSERT INTO target.people (_id, email) SELECT _id + 100, 'of ' || name FROM other.sources WHERE item > 2 AND name <> ''
UPDATE target.people SET note = DEFAULT WHERE _id = 1
UPDATE target.people SET visits = DEFAULT, note = 'again' WHERE _id > 10
INSERT INTO target.people (_id, email, visits) VALUES (17, 'q@y', NULL)
INSERT INTO target.people (_id, email, visits) VALUES (18, 'r@y', 1 + DEFAULT)
INSERT INTO target.people DEFAULT VALUES
INSERT INTO target.people (_id) VALUES (19)
UPDATE target.people SET (note, visits) = (DEFAULT, visits + 1) WHERE _id = 12
UPDATE target.people SET (note, visits) = ROW(DEFAULT, 4) WHERE _id = 12
UPDATE target.people SET note = DEFAULT, visits = s.qty FROM other.sources s WHERE s.item = people._id AND s._id = 11
UPDATE target.people SET email = DEFAULT WHERE _id = 12
UPDATE target.things SET name = DEFAULT, qty = DEFAULT WHERE _id = 1
UPDATE target.journal SET line = DEFAULT
INSERT INTO target.journal (line) VALUES ('one')
UPDATE target.journal SET line = DEFAULT
