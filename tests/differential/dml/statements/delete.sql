DELETE FROM target.things WHERE _id = 1
DELETE FROM target.things WHERE name = 'ADA'
DELETE FROM target.things WHERE name = 'ada'
DELETE FROM target.things WHERE qty IS NULL AND name IS NULL
DELETE FROM target.things WHERE price > 1000 OR ratio > 1e200
DELETE FROM target.things WHERE _id = 1
INSERT INTO target.things (_id, name, qty) SELECT _id - 10, name, qty FROM other.sources ON CONFLICT DO NOTHING
DELETE FROM target.things WHERE _id IN (SELECT item FROM other.sources WHERE qty > 15)
DELETE FROM target.things WHERE _id NOT IN (SELECT item FROM other.sources)
DELETE FROM target.things t WHERE EXISTS (SELECT 1 FROM other.sources s WHERE s.item = t._id AND s.name = 'Zoë')
DELETE FROM target.things USING other.sources s WHERE s.item = things._id AND s.price > 50
DELETE FROM target.things WHERE NOT EXISTS (SELECT 1 FROM other.sources s WHERE s._id = things._id + 10)
DELETE FROM target.things WHERE length(name) > 3 AND upper(name) = 'NOBODY'
DELETE FROM target.things WHERE qty = (SELECT max(qty) FROM target.things)
DELETE FROM target.things WHERE 10 / (_id - 3) > 0
DELETE FROM target.things WHERE nowhere = 1
DELETE FROM target.things WHERE name
DELETE FROM target.things WHERE ok IS NOT TRUE AND _id % 2 = 0
WITH few AS (SELECT item FROM other.sources WHERE qty < 0) DELETE FROM target.things WHERE _id IN (SELECT item FROM few)
DELETE FROM target.things
DELETE FROM target.things
INSERT INTO target.things (_id, name) VALUES (1, 'there again')
DELETE FROM target.things WHERE sum(qty) > 1
DELETE FROM target.things WHERE row_number() OVER () = 1
DELETE FROM target.things USING other.sources s, other.sources s WHERE s._id = things._id
WITH few AS (SELECT count() FROM other.sources) DELETE FROM target.things WHERE _id = 1
