-- Words that stand before tables, behind columns and behind keys.
-- refused by shop: other tables may inherit from it
UPDATE ONLY target.things SET qty = 1 WHERE _id = 1
-- refused by shop: other tables may inherit from it
UPDATE ONLY (target.things) AS x SET qty = coalesce(x.qty, 0) + 1 WHERE x._id < 4 RETURNING x._id, qty
-- refused by shop: other tables may inherit from it
DELETE FROM ONLY target.things WHERE _id = 2
INSERT INTO target.people (_id, email, visits) OVERRIDING SYSTEM VALUE VALUES (20, 'o@x', 1)
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) OVERRIDING USER VALUE SELECT 21, 'p@x', 2
-- refused by archive: its store counts the key, beside an ON CONFLICT that names it
[shop, crm, archive] INSERT INTO target.people AS p (_id, email, visits) OVERRIDING USER VALUE VALUES (21, 'p@x', 2) ON CONFLICT (_id) DO UPDATE SET visits = p.visits + 1
[shop, crm, archive] INSERT INTO target.journal (_id, line) OVERRIDING USER VALUE VALUES (100, 'counted'), (NULL, 'again'), ($1, 'so') RETURNING _id, line <- 7
[shop, crm, archive] INSERT INTO target.journal (_id, line) OVERRIDING USER VALUE SELECT 100, 'of a query' RETURNING _id, line
[shop, crm, archive] INSERT INTO target.journal (_id, line) OVERRIDING SYSTEM VALUE VALUES (100, 'given') RETURNING _id, line
-- refused by shop, crm, archive, field: keys of some rows
INSERT INTO target.people (_id, email, visits) VALUES (1, 'q@x', 1) ON CONFLICT (_id) WHERE visits > 0 DO NOTHING
-- refused by shop, crm, archive, field: keys of expressions
INSERT INTO target.people (_id, email, visits) VALUES (1, 'q@x', 1) ON CONFLICT (lower(email)) DO UPDATE SET visits = 1
SELECT count(*) FROM target.people
