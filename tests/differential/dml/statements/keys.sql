-- Keys that change, keys of two columns, tables without one.
[shop, crm, archive] UPDATE target.things SET _id = _id + 100 WHERE _id < 4
[shop, crm, archive] UPDATE target.things SET _id = 50, name = 'moved' WHERE _id = 4 RETURNING _id, name
[shop, crm, archive] UPDATE target.things SET _id = s._id FROM other.sources s WHERE s.item = things._id
[shop, crm, archive] UPDATE target.things SET _id = 8 WHERE _id = 5
-- refused by field: an _id never changes
[field] UPDATE target.things SET _id = 50 WHERE _id = 4
[shop, crm, archive] UPDATE target.pairs SET qty = qty + 1 WHERE a = 1 AND b = 'x'
[shop, crm, archive] UPDATE target.pairs SET qty = length(b) + 100 WHERE upper(b) = 'X'
[shop, crm, archive] UPDATE target.pairs SET b = b || 'z', a = a + 10 WHERE a IN (SELECT item FROM other.sources)
[shop, crm, archive] DELETE FROM target.pairs WHERE b IN (SELECT lower(b) FROM target.pairs)
[shop, crm, archive] INSERT INTO target.pairs (a, b) VALUES (3, 'X')
[shop, crm, archive] INSERT INTO target.pairs (a, b) VALUES (3, 'x'), (3, 'X ')
[shop, crm, archive] INSERT INTO target.heap (label, n) VALUES ('a', 1), (NULL, NULL)
[shop, crm, archive] UPDATE target.heap SET n = 5 WHERE n = 1
[shop, crm, archive] DELETE FROM target.heap WHERE n = 2
-- refused by shop, crm, archive: no key by which rows could be changed one by one
[shop, crm, archive] UPDATE target.heap SET n = 6 WHERE n IN (SELECT item FROM other.sources)
-- refused by shop, crm, archive: no key by which rows could be changed one by one
[shop, crm, archive] DELETE FROM target.heap WHERE n IN (SELECT item FROM other.sources)
[shop, crm, archive] DELETE FROM target.heap
