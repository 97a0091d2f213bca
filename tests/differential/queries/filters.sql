-- Every column whole, then a filter on every type.
SELECT * FROM shop.customers
SELECT * FROM shop.products
SELECT * FROM shop.orders
SELECT * FROM shop.order_lines
SELECT * FROM shop.nothing
SELECT * FROM crm.clients
SELECT * FROM crm.calls
SELECT * FROM archive.parcels
SELECT * FROM archive.reviews
SELECT * FROM archive.empty_box
SELECT * FROM field.visits
SELECT * FROM field.empty
SELECT id FROM shop.customers WHERE id = 5
SELECT id FROM shop.customers WHERE id > 250 OR id < 3
SELECT id FROM shop.customers WHERE small = -32768
SELECT id, name FROM shop.customers WHERE name = 'ada'
SELECT id, name FROM shop.customers WHERE name < 'b'
SELECT id, name FROM shop.customers WHERE name >= 'Z' AND name < 'a'
SELECT id FROM shop.customers WHERE active
SELECT id FROM shop.customers WHERE NOT active
SELECT id FROM shop.customers WHERE active IS NOT TRUE
SELECT id FROM shop.customers WHERE active IS UNKNOWN
SELECT id, score FROM shop.customers WHERE score = 'NaN'
SELECT id, score FROM shop.customers WHERE score > 1e300
SELECT id, score FROM shop.customers WHERE score = 0
SELECT id, rating FROM shop.customers WHERE rating = 1.1::real
SELECT id, rating FROM shop.customers WHERE rating = 1.1
SELECT id, rating FROM shop.customers WHERE rating > 'Infinity'
SELECT id, born FROM shop.customers WHERE born < '1970-01-01'
SELECT id, born FROM shop.customers WHERE born = 'infinity'
SELECT id, born FROM shop.customers WHERE born >= DATE '2262-04-12'
SELECT id, born FROM shop.customers WHERE born = '0044-03-15 BC'
SELECT id, seen FROM shop.customers WHERE seen = '2024-02-29 12:30:45.123456+00'
SELECT id, seen FROM shop.customers WHERE seen > '2024-02-29 12:30:45.123456+00' AND seen < 'infinity'
SELECT id, seen FROM shop.customers WHERE seen < '1970-01-01'
SELECT id, placed FROM shop.orders WHERE placed = '2024-01-01 00:00:00.000001'
SELECT id, placed FROM shop.orders WHERE placed > '2262-04-11'
SELECT id, placed FROM shop.orders WHERE placed BETWEEN '1969-01-01' AND '1970-01-01'
SELECT id FROM shop.customers WHERE token = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'
SELECT id, token FROM shop.customers WHERE token > 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a13'
SELECT id, balance FROM shop.customers WHERE balance = 12.5
SELECT id, balance FROM shop.customers WHERE balance > 99.99
SELECT id, wide FROM shop.customers WHERE wide = 12.5
SELECT id, wide FROM shop.customers WHERE wide > 10
SELECT id, wide FROM shop.customers WHERE wide = 'NaN'
SELECT id, wide FROM shop.customers WHERE wide = 1234567890123456789012345678901234567890.12345
SELECT id, wide FROM shop.customers WHERE wide < 0
SELECT id, raw FROM shop.customers WHERE raw = '\xdeadbeef'
SELECT id, raw FROM shop.customers WHERE raw > '\x41'
SELECT id, code FROM shop.customers WHERE code = 'ab'
SELECT id, code FROM shop.customers WHERE code = 'ab    '
SELECT id, code FROM shop.customers WHERE code > 'ab'
SELECT id, level FROM shop.customers WHERE level = 'gold'
SELECT id, address FROM shop.customers WHERE address = '10.0.0.1'
SELECT id, address FROM shop.customers WHERE address > '10.0.0.2'
SELECT id, wait FROM shop.customers WHERE wait = '1 day'
SELECT id, wait FROM shop.customers WHERE wait > '30 days'
SELECT id, tags FROM shop.customers WHERE tags = '{a,b}'
SELECT id, tags FROM shop.customers WHERE 'a' = ANY(tags)
SELECT id, marks FROM shop.customers WHERE 3 = ANY(marks)
SELECT id, prefs FROM shop.customers WHERE prefs = '{"b": [1, 2], "a": 1}'
SELECT id, price FROM shop.products WHERE price = 10
SELECT id, price FROM shop.products WHERE price > 0.333333333333333333333333333332
SELECT id, name FROM crm.clients WHERE name = 'Ada'
SELECT id, name FROM crm.clients WHERE name < 'b'
SELECT id, name FROM crm.clients WHERE name IN ('ada', 'zoe')
SELECT id, name FROM crm.clients WHERE name <> 'Ada'
SELECT id, name FROM crm.clients WHERE name LIKE 'a%'
SELECT id, code FROM crm.clients WHERE code = 'A1'
SELECT id, code FROM crm.clients WHERE code = 'a1 '
SELECT id, city FROM crm.clients WHERE city = 'zurich'
SELECT id, city FROM crm.clients WHERE city BETWEEN 'K' AND 'L'
SELECT id, credit FROM crm.clients WHERE credit = -0.0000000001
SELECT id, credit FROM crm.clients WHERE credit > 1.1
SELECT id, big FROM crm.clients WHERE big > 9223372036854775807
SELECT id, big FROM crm.clients WHERE big = 18446744073709551615
SELECT id, since FROM crm.clients WHERE since < '1970-01-01'
SELECT id, seen FROM crm.clients WHERE seen = '2024-02-29 12:30:45.123457'
SELECT id, tier FROM crm.clients WHERE tier < 0
SELECT id, kind FROM crm.clients WHERE kind = 'it''s'
SELECT id, raw FROM crm.clients WHERE raw = '\x5c27'
SELECT id, at FROM crm.calls WHERE at = '2024-01-01 00:00:00.000001+00'
SELECT id, at FROM crm.calls WHERE at < '1971-01-01'
SELECT id, cost FROM crm.calls WHERE cost >= 0.5
SELECT id, label FROM archive.parcels WHERE label = 'box'
SELECT id, label FROM archive.parcels WHERE label < 'a'
SELECT id, weight FROM archive.parcels WHERE weight = 1.5
SELECT id, weight FROM archive.parcels WHERE weight < 0
SELECT id, sent FROM archive.parcels WHERE sent < '1970-01-01'
SELECT id, sent FROM archive.parcels WHERE sent = '2024-02-29'
SELECT id, noted FROM archive.parcels WHERE noted = '2024-02-29 12:30:45.123456'
SELECT id, noted FROM archive.parcels WHERE noted > '2023-11-14 22:13:19'
SELECT id, ok FROM archive.parcels WHERE ok
SELECT id, body FROM archive.parcels WHERE body = '\x41'
SELECT id, ref FROM archive.parcels WHERE ref = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'
SELECT id, iso FROM archive.parcels WHERE iso > '2024-02-28' AND iso < '3'
SELECT id, rating FROM archive.reviews WHERE rating > 3
SELECT id, title FROM archive.reviews WHERE title = 'fine'
SELECT id, tags FROM archive.reviews WHERE 'a' = ANY(tags)
SELECT no, mood FROM field.visits WHERE mood = 'happy'
SELECT no, mood FROM field.visits WHERE mood <> 'happy'
SELECT no, mood FROM field.visits WHERE mood > 'a'
SELECT no, mixed FROM field.visits WHERE mixed = '5'
SELECT no, mixed FROM field.visits WHERE mixed > '"'
SELECT no, amount FROM field.visits WHERE amount = 10.5
SELECT no, amount FROM field.visits WHERE amount < 0.1
SELECT no, at FROM field.visits WHERE at = '2024-02-29 12:30:45.123+00'
SELECT no, at FROM field.visits WHERE at = '2024-02-29 12:30:45.1234+00'
SELECT no, at FROM field.visits WHERE at > '2262-01-01+00'
SELECT no, open FROM field.visits WHERE open
SELECT no, open FROM field.visits WHERE open IS NULL
SELECT no, ref FROM field.visits WHERE ref = '5f0000000000000000000001'
SELECT no, ref FROM field.visits WHERE ref > '5f'
SELECT _id FROM field.visits WHERE _id = '000000000000000000000007'
SELECT no, scores FROM field.visits WHERE 5 = ANY(scores)
SELECT no, ratio FROM field.visits WHERE ratio > 0.4
SELECT count(*) FROM field.visits WHERE client = 1
SELECT count(*) FROM field.visits WHERE client <> 1
-- A date against a moment, which the store is asked as a date.
SELECT id, born FROM shop.customers WHERE born < TIMESTAMP '1990-05-01 00:00'
SELECT id, born FROM shop.customers WHERE born <= TIMESTAMP '1990-05-01 13:00'
SELECT id, born FROM shop.customers WHERE born >= DATE '1980-01-01' + INTERVAL '1 month' AND born < DATE '1980-01-01' + INTERVAL '30 years'
SELECT id, born FROM shop.customers WHERE born > TIMESTAMP '1985-02-28 23:59:59.999999'
SELECT id, born FROM shop.customers WHERE born = TIMESTAMP '1985-02-28 12:00' OR born <> TIMESTAMP '1985-02-28 12:00'
SELECT id, born FROM shop.customers WHERE born < TIMESTAMP 'infinity' AND born > TIMESTAMP '-infinity'
-- A varchar as the text it is.
SELECT id, sku FROM shop.products WHERE sku::text LIKE 'A%'
SELECT id, sku FROM shop.products WHERE sku NOT LIKE '%1%' AND sku > 'B'
SELECT id, since FROM crm.clients WHERE since < TIMESTAMP '2021-05-01 12:00'
SELECT id, since FROM crm.clients WHERE since >= DATE '2020-01-01' + INTERVAL '1 month' OR name LIKE 'A%' OR code::text LIKE 'a%'
-- Unconstrained constants and parameters against columns with a scale.
SELECT id, balance FROM shop.customers WHERE balance = $1::numeric <- -0.010
SELECT id, balance FROM shop.customers WHERE balance < $1::numeric OR balance > $2::numeric <- 0.005 <- 1e30
SELECT id, balance FROM shop.customers WHERE balance <> $1::numeric <- NaN
SELECT id, balance FROM shop.customers WHERE balance BETWEEN 0.00::numeric AND 100.001::numeric
SELECT id, small FROM shop.customers WHERE small < $1::numeric AND id > $2::numeric <- 7.5 <- 0.0000000000000000000000000000000000000000001
-- Patterns in arrays.
SELECT id, name FROM shop.customers WHERE name LIKE ANY (ARRAY['a%', '%b%', NULL])
SELECT id, name FROM shop.customers WHERE name NOT LIKE ALL (ARRAY['a%', '%b%'])
SELECT id, name ILIKE ANY (ARRAY['A%', '%B']) AS a, name NOT ILIKE ANY (ARRAY['A%', '%B']) AS b, name ~ ANY (ARRAY['^a', 'b$']) AS c, name !~* ALL (ARRAY['^A', NULL]) AS d, name LIKE ANY (ARRAY[]::text[]) AS e, name LIKE ALL (ARRAY[]::text[]) AS f, name LIKE ANY (ARRAY['a!%%', 'b!_%']) AS g FROM shop.customers
SELECT id FROM archive.parcels WHERE label LIKE ANY (ARRAY['%e%', '%ü%']) AND NOT label LIKE ALL (ARRAY['%e%', '%a%'])
SELECT NOT EXISTS (SELECT 1 WHERE false), EXISTS (SELECT 1)
