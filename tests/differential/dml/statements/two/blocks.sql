-- Transactions that write to two stores: all of it or none, each statement seen by the next ones.
BEGIN
INSERT INTO target.things (_id, name, qty) VALUES (20, 'of two', 1)
INSERT INTO other.things (_id, name, qty) VALUES (20, 'of two', 2)
SELECT t._id, t.qty, o.qty FROM target.things t JOIN other.things o ON o._id = t._id WHERE t.name = 'of two'
UPDATE target.things SET qty = o.qty + 1 FROM other.things o WHERE o._id = things._id AND things._id = 20 RETURNING qty
UPDATE other.things SET qty = t.qty * 10 FROM target.things t WHERE t._id = things._id AND things._id = 20 RETURNING qty
COMMIT
SELECT t.qty, o.qty FROM target.things t JOIN other.things o ON o._id = t._id WHERE t._id = 20
BEGIN
DELETE FROM other.things USING target.things t WHERE t._id = things._id AND t.qty > 10
MERGE INTO target.things t USING other.things o ON o._id = t._id WHEN MATCHED AND o.ok THEN UPDATE SET name = o.name || '!' WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (_id, name) VALUES (o._id + 100, o.name)
SELECT count(*) FROM target.things
ROLLBACK
BEGIN
UPDATE target.people SET visits = visits - 1 WHERE _id = 1
UPDATE other.people SET visits = visits + 1 WHERE _id = 2
COMMIT
SELECT t.visits, o.visits FROM target.people t, other.people o WHERE t._id = 1 AND o._id = 2
-- What fails in one store leaves nothing in the other.
BEGIN
INSERT INTO target.people (_id, email, visits) VALUES (30, 'thirty@x', 1)
INSERT INTO other.people (_id, email, visits) VALUES (30, 'ada@x', 1)
SELECT 1
COMMIT
SELECT count(*) FROM target.people
BEGIN
INSERT INTO other.people (_id, email, visits) VALUES (31, 'thirty-one@x', 1)
UPDATE target.people SET visits = 1 / (visits - visits) WHERE _id = 1
ROLLBACK
BEGIN
COPY target.people (_id, email, visits) FROM STDIN <<< 40⇥forty@x⇥1⏎41⇥forty-one@x⇥2⏎
COPY other.people (_id, email, visits) FROM STDIN <<< 40⇥forty@x⇥x⏎
COMMIT
BEGIN
COPY target.people (_id, email, visits) FROM STDIN <<< 40⇥forty@x⇥1⏎41⇥forty-one@x⇥2⏎
COPY other.people (_id, email, visits) FROM STDIN <<< 40⇥forty@x⇥3⏎
INSERT INTO other.people AS p (_id, email, visits) SELECT _id, email, visits FROM target.people WHERE _id >= 40 ON CONFLICT (_id) DO UPDATE SET visits = p.visits + excluded.visits RETURNING p._id, p.visits
COMMIT
-- One statement after another, outside of blocks.
INSERT INTO target.things (_id, name) SELECT _id + 200, name FROM other.things WHERE ok
DELETE FROM other.things WHERE _id IN (SELECT _id - 200 FROM target.things)
BEGIN READ ONLY
SELECT count(*) FROM target.things, other.things
UPDATE other.things SET qty = 1
ROLLBACK
BEGIN
UPDATE target.things SET qty = 70 WHERE _id = 1
UPDATE other.things SET qty = 70 WHERE false
COMMIT
BEGIN
DELETE FROM target.things
DELETE FROM other.things
SELECT (SELECT count(*) FROM target.things) + (SELECT count(*) FROM other.things) AS left
COMMIT
