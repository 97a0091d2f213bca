-- Conditions and values that the store may compute whole, and those it may not.
UPDATE target.things SET qty = 1 WHERE _id = 1
UPDATE target.things SET qty = qty + 1 WHERE qty < 100
UPDATE target.things SET name = 'x' WHERE name = 'ada'
UPDATE target.things SET name = upper(name) || '!' WHERE name IS NOT NULL
UPDATE target.things SET name = NULL, qty = NULL WHERE _id = 6
UPDATE target.things SET ok = NOT ok
UPDATE target.things SET ok = qty > 2 WHERE qty IS NOT NULL
UPDATE target.things SET price = price * 2, qty = -qty WHERE _id IN (1, 2, 4)
UPDATE target.things SET price = price + 0.25 WHERE price BETWEEN 0 AND 100
[shop, crm, archive] UPDATE target.things SET price = price * 1.005 WHERE price IS NOT NULL AND price < 1000
UPDATE target.things SET ratio = ratio / 2 WHERE ratio < 1000
UPDATE target.things SET ratio = qty WHERE ratio IS NULL
UPDATE target.things SET (name, qty) = ('both', 9) WHERE _id = 8
UPDATE target.things AS t SET qty = t.qty + 1 WHERE t._id = 8
UPDATE target.things t SET name = t.code WHERE t.code IS NOT NULL
UPDATE target.things SET qty = CASE WHEN qty > 0 THEN 1 WHEN qty < 0 THEN -1 ELSE qty END
UPDATE target.things SET name = coalesce(name, code, 'neither')
UPDATE target.things SET seen = seen + INTERVAL '1 day' WHERE seen < '2024-02-01'
[shop, crm, archive] UPDATE target.things SET day = day + 1 WHERE day IS NOT NULL AND day < '9999-12-31'
[shop, crm, archive] UPDATE target.things SET raw = '\x01' WHERE raw = '\x'
[shop, crm, archive] UPDATE target.things SET ref = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12' WHERE ref = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'
-- All values are those from before.
UPDATE target.things SET name = code, code = left(name, 6) WHERE code IS NOT NULL
UPDATE target.things SET price = qty, qty = price WHERE _id IN (1, 2)
UPDATE target.things SET qty = qty + 1, price = qty WHERE _id = 2
-- Counted are the rows that are met, also where nothing is new.
UPDATE target.things SET qty = qty
UPDATE target.things SET name = name WHERE _id < 3
UPDATE target.things SET qty = 3 WHERE _id = 12345
-- Values that do not fit leave all rows as they are.
UPDATE target.things SET qty = qty + 9223372036854775807 WHERE qty IS NOT NULL
[shop, crm] UPDATE target.things SET qty = 2147483647 + _id
[shop, crm] UPDATE target.things SET small = qty * 40000 WHERE _id < 3
[shop, crm] UPDATE target.things SET code = 'seven' || _id || 'x'
[shop, crm] UPDATE target.things SET code = 'ab        '  WHERE _id = 1
[shop, crm, archive] UPDATE target.things SET price = 1000000000
UPDATE target.things SET qty = 10 / (_id - 4)
UPDATE target.things SET qty = 'x' WHERE _id = 1
UPDATE target.things SET qty = 'x' WHERE false
UPDATE target.things SET ok = qty WHERE _id = 1
UPDATE target.things SET qty = ok WHERE _id = 1
UPDATE target.things SET qty = '7' WHERE _id = 1
UPDATE target.things SET qty = 2.5 WHERE _id = 1
UPDATE target.things SET qty = ratio WHERE _id IN (7, 8)
UPDATE target.things SET name = qty WHERE _id = 1
UPDATE target.things SET name = 1.50 WHERE _id = 2
UPDATE target.things SET nowhere = 1
UPDATE target.things SET qty = nowhere
UPDATE target.things SET qty = 1, qty = 2
UPDATE target.things SET qty = 1 WHERE qty
UPDATE target.things SET qty = sum(qty)
[shop, crm, archive] UPDATE target.things SET _id = NULL WHERE _id = 1
UPDATE target.things SET qty = 1 WHERE count(*) > 1
UPDATE target.things SET qty = rank() WHERE _id = 1
UPDATE target.things SET qty = 1 FROM other.sources AS things WHERE things._id = 1
UPDATE target.things SET qty = (SELECT qty FROM other.sources ORDER BY 'x' LIMIT 1)
UPDATE target.things SET qty = (SELECT DISTINCT qty FROM other.sources ORDER BY _id LIMIT 1)
