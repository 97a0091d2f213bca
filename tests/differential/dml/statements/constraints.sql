-- What stores do not take.
-- over: shop, crm, archive
INSERT INTO target.people (_id, email) VALUES (1, 'other@x')
INSERT INTO target.people (_id, email) VALUES (10, 'ada@x')
INSERT INTO target.people (_id, email) VALUES (10, NULL)
INSERT INTO target.people (_id, email, visits) VALUES (10, 'ten@x', -1)
INSERT INTO target.people (_id, email, visits) VALUES (10, 'ten@x', NULL)
INSERT INTO target.people (_id, email) VALUES (10, 'ten@x'), (11, 'ada@x')
UPDATE target.people SET email = 'bob@x' WHERE _id = 1
UPDATE target.people SET email = NULL WHERE _id = 1
UPDATE target.people SET visits = visits - 5
UPDATE target.people SET visits = -1 WHERE _id = 1
UPDATE target.people SET email = 'one for all@x'
UPDATE target.people SET email = upper(email)
INSERT INTO target.people (_id, email) VALUES (12, 'ada@x'), (13, 'ADA@x ')
UPDATE target.people SET visits = s.qty FROM other.sources s WHERE s.item = people._id AND s._id IN (15, 11)
DELETE FROM target.people WHERE email = 'ADA@X'
INSERT INTO target.people (_id, email) SELECT _id, 'one@x' FROM other.sources
[shop, crm] INSERT INTO target.people (_id, email) VALUES (14, 'a text that is longer than the forty characters of its column')
