-- LIKE, ILIKE, regular expressions, injection strings.
SELECT id, name FROM shop.customers WHERE name LIKE 'a%'
SELECT id, name FROM shop.customers WHERE name ILIKE 'A%'
SELECT id, name FROM shop.customers WHERE name LIKE '%\_b\%%'
SELECT id, name FROM shop.customers WHERE name LIKE 'a!_b!%c' ESCAPE '!'
SELECT id, name FROM shop.customers WHERE name NOT LIKE '%a%'
SELECT id, name FROM shop.customers WHERE name ILIKE '%Å%'
SELECT id, name FROM shop.customers WHERE name LIKE '日_語%'
SELECT id, name FROM shop.customers WHERE name LIKE ''
SELECT id, name FROM shop.customers WHERE name LIKE '%\\%'
SELECT id, name FROM shop.customers WHERE email LIKE '%@example.___'
SELECT id, name FROM shop.customers WHERE name ~ '^[A-Z]'
SELECT id, name FROM shop.customers WHERE name ~* '^z'
SELECT id, name FROM shop.customers WHERE name !~ 'a'
SELECT id, name FROM shop.customers WHERE name SIMILAR TO '(a|z)%'
SELECT id, code FROM shop.customers WHERE code LIKE 'ab%'
SELECT id, code FROM shop.customers WHERE code LIKE 'ab'
SELECT id, name FROM crm.clients WHERE name ILIKE 'ADA%'
SELECT id, name FROM crm.clients WHERE name NOT LIKE 'A%'
SELECT id, memo FROM crm.clients WHERE memo LIKE 'a_b'
SELECT id, memo FROM crm.clients WHERE memo LIKE 'a\_b'
SELECT id, memo FROM crm.clients WHERE memo LIKE '%\%'
SELECT id, label FROM archive.parcels WHERE label LIKE 'b%'
SELECT id, label FROM archive.parcels WHERE label ILIKE 'B%'
SELECT id, label FROM archive.parcels WHERE label LIKE '%ü%' OR label LIKE '%\\''%'
SELECT no, mood FROM field.visits WHERE mood LIKE 'h%'
SELECT no, mood FROM field.visits WHERE mood ILIKE 'h%'
SELECT no, mood FROM field.visits WHERE mood LIKE '%\\%'
SELECT id FROM shop.customers WHERE name = 'back\slash \'' or 1=1 -- '
SELECT id FROM shop.customers WHERE email = 'a''b'
SELECT id FROM crm.clients WHERE memo = '\'' or 1=1 -- '
SELECT id FROM crm.clients WHERE memo = 'a''b'
SELECT id FROM crm.clients WHERE memo = E'\\'' or 1=1 -- '
SELECT id FROM archive.parcels WHERE label = '\'' or 1=1 -- '
SELECT id FROM archive.parcels WHERE label = 'a''b'
SELECT no FROM field.visits WHERE mood = '\'' or 1=1 -- '
SELECT no FROM field.visits WHERE mood = 'a''b'
SELECT id FROM shop.customers WHERE name = $1 <- back\slash \' or 1=1 -- 
SELECT id FROM shop.customers WHERE email = $1 <- a''b
SELECT id FROM crm.clients WHERE memo = $1 <- \' or 1=1 -- 
SELECT id FROM crm.clients WHERE memo = $1 <- a''b
SELECT id FROM archive.parcels WHERE label = $1 <- \' or 1=1 -- 
SELECT id FROM archive.parcels WHERE label = $1 <- a''b
SELECT no FROM field.visits WHERE mood = $1 <- \' or 1=1 -- 
SELECT no FROM field.visits WHERE mood = $1 <- a''b
SELECT no FROM field.visits WHERE mood = $1 <- {"$gt": ""}
SELECT '\'' or 1=1 -- ' AS a, 'a''''b' AS b, E'\'\\\n\u00fc' AS c, $$it's$$ AS d
SELECT $1::text AS a, $2::int AS b, $3::numeric AS c, $4::date AS d <- \' or 1=1 --  <- 42 <- 1.50 <- 0044-03-15 BC
SELECT id FROM shop.customers WHERE small = $1 AND balance > $2 AND born < $3 <- 1 <- 0 <- 2000-01-01
SELECT id FROM shop.customers WHERE name = $1 <- \N
SELECT id FROM shop.customers WHERE id IN ($1, $2, $3) <- 1 <- \N <- 3
SELECT id FROM crm.clients WHERE credit = $1 OR big = $2 <- 0.5 <- 18446744073709551615
SELECT id FROM shop.customers WHERE token = $1 OR address = $2 <- a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 <- 10.0.0.1
SELECT no FROM field.visits WHERE at < $1 AND ratio >= $2 <- 1970-01-01 00:00:00+00 <- 0.5
