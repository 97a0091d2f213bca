-- MERGE from other stores, queries and the store itself.
MERGE INTO target.people USING other.sources s ON people._id = s.item WHEN MATCHED THEN UPDATE SET visits = 1
MERGE INTO target.people p USING other.sources s ON p._id = s.item AND s._id <> 13 WHEN MATCHED THEN UPDATE SET visits = p.visits + coalesce(s.qty, 0) + 100, note = s.name WHEN NOT MATCHED THEN INSERT (_id, email, visits) VALUES (s._id + 100, 'of ' || s._id, 1)
MERGE INTO target.people USING other.sources AS s ON people._id = s.item WHEN MATCHED AND s._id = 12 THEN DELETE WHEN MATCHED AND s._id = 13 THEN DO NOTHING WHEN MATCHED THEN UPDATE SET visits = 0 WHEN NOT MATCHED AND s.qty > 5 THEN INSERT (_id, email, visits) VALUES (_id + 200, 'n' || item, qty) WHEN NOT MATCHED THEN DO NOTHING
MERGE INTO target.people p USING (SELECT item, max(qty) AS most FROM other.sources WHERE item IS NOT NULL GROUP BY item) AS j ON j.item = p._id WHEN MATCHED AND j.most > 9 THEN UPDATE SET visits = j.most WHEN MATCHED THEN DELETE
WITH best AS (SELECT _id, name FROM other.sources WHERE _id < 13) MERGE INTO target.people USING best ON people._id = best._id + 100 WHEN MATCHED THEN UPDATE SET note = best.name WHEN NOT MATCHED THEN INSERT (_id, email, note, visits) VALUES (best._id + 300, 'best ' || best._id, DEFAULT, 2)
MERGE INTO target.things t USING target.sources s ON t._id = s.item AND s.qty > 5 AND s._id <> 12 WHEN MATCHED AND t.qty IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET (qty, name) = (s.qty + t.qty, upper(s.name)), price = DEFAULT WHEN NOT MATCHED AND s.item IS NOT NULL THEN INSERT (_id, name, qty, price) VALUES (s._id, s.name, s.qty, s.price)
MERGE INTO target.people p USING (VALUES (1, 'one'), (400, 'new')) AS v (k, word) ON p._id = v.k WHEN MATCHED THEN UPDATE SET note = word WHEN NOT MATCHED THEN INSERT (_id, email, note, visits) VALUES (k, word || '@x', word, 3)
MERGE INTO target.people p USING other.sources s ON p._id = s.item AND s._id = $1 WHEN MATCHED THEN UPDATE SET visits = $2, note = $3 <- 11 <- 5 <- five
MERGE INTO target.people p USING other.sources s ON p._id = s.item AND s._id IN (11, 17) WHEN MATCHED THEN UPDATE SET visits = 10 / (s._id - 14)
MERGE INTO target.people p USING other.sources s ON p._id = s.item AND s._id = 11 WHEN MATCHED THEN UPDATE SET visits = 10 / (s._id - 11)
MERGE INTO target.people p USING other.sources s ON p._id = s.item WHEN MATCHED AND s._id > 100 THEN DELETE
MERGE INTO target.people p USING other.sources s ON p._id = s.item WHEN MATCHED AND EXISTS (SELECT 1 FROM other.sources u WHERE u._id = s._id AND u.qty > 9) AND s._id <> 13 THEN UPDATE SET note = 'much'
MERGE INTO target.people p USING other.sources s ON false WHEN NOT MATCHED AND s._id = 11 THEN INSERT (_id, email, visits) VALUES (700, 'seven@x', 7)
[shop, crm, archive] MERGE INTO target.journal j USING other.sources s ON false WHEN NOT MATCHED AND s._id = 11 THEN INSERT DEFAULT VALUES
[shop, crm, archive] MERGE INTO target.people p USING other.sources s ON p._id = s.item + 1000 WHEN NOT MATCHED AND s._id = 12 THEN INSERT VALUES (s._id, 'by place', DEFAULT)
[shop, crm] MERGE INTO target.pairs p USING (VALUES (1, 'x', 5), (9, 'z', 6)) AS v (a, b, n) ON p.a = v.a AND p.b = v.b WHEN MATCHED THEN UPDATE SET qty = p.qty + n WHEN NOT MATCHED THEN INSERT (a, b, qty) VALUES (v.a, v.b, n)
-- What fails, with nothing written.
MERGE INTO target.people p USING other.sources s ON s._id = 11 AND p._id = 700 WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (_id, email) VALUES (s._id + 800, 'twice@x')
MERGE INTO target.people p USING other.sources s ON p._id = s.item WHEN MATCHED THEN DELETE WHEN MATCHED THEN DO NOTHING
MERGE INTO target.people p USING other.sources s ON p._id = s.item WHEN NOT MATCHED THEN DO NOTHING WHEN NOT MATCHED AND s._id > 1 THEN DO NOTHING
MERGE INTO target.people p USING other.sources s ON p._id = s.item WHEN MATCHED THEN DELETE RETURNING p._id
MERGE target.people p USING other.sources s ON p._id = s.item WHEN MATCHED THEN DELETE
MERGE INTO target.people p USING other.sources s ON p._id = s.item
MERGE INTO target.people p USING other.sources s ON p._id = s.item WHEN NOT MATCHED THEN DELETE
MERGE INTO target.people p USING other.sources s ON p._id = s.item WHEN NOT MATCHED THEN INSERT (_id, email) VALUES (p._id, 'x')
MERGE INTO target.people p USING other.sources s ON p._id = s.item WHEN NOT MATCHED THEN INSERT (_id, email) VALUES (s._id, email)
MERGE INTO target.people p USING other.sources s ON p._id = s.item WHEN NOT MATCHED THEN INSERT (_id, email) VALUES (s._id)
MERGE INTO target.people p USING other.sources s ON p._id = s.item WHEN NOT MATCHED THEN INSERT (_id) VALUES (s._id, 'x')
MERGE INTO target.people p USING other.sources s ON p._id = s.item WHEN NOT MATCHED THEN INSERT (_id, email) VALUES (s.name, 'x')
MERGE INTO target.people p USING other.sources s ON p._id = s.item WHEN MATCHED THEN UPDATE SET nowhere = 1
MERGE INTO target.people p USING other.sources s ON p._id = s.item WHEN MATCHED THEN UPDATE SET visits = _id
MERGE INTO target.people p USING other.sources s ON p._id = s.item WHEN MATCHED AND count(*) > 1 THEN DELETE
MERGE INTO target.people p USING other.sources s ON p._id = s.nowhere WHEN MATCHED THEN DELETE
[shop, crm, archive] MERGE INTO target.people p USING other.sources s ON s._id = p._id + 10000 WHEN NOT MATCHED AND s._id = 11 THEN INSERT (_id, email, visits) VALUES (901, 'neg@x', -1)
[archive] MERGE INTO target.pairs p USING other.sources s ON p.a = s.item WHEN MATCHED THEN DELETE
-- refused by shop, crm, archive: there is no key
[shop, crm, archive] MERGE INTO target.heap h USING other.sources s ON h.n = s.item WHEN MATCHED THEN DELETE
MERGE INTO target.people p USING other.sources s ON p._id = s.item + 100 WHEN MATCHED AND s._id <> 13 THEN DELETE
MERGE INTO target.people USING other.people ON false WHEN MATCHED THEN DELETE
MERGE INTO target.people AS s USING other.sources s ON false WHEN MATCHED THEN DELETE
