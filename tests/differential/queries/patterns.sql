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
-- The longest of the matches that start first.
SELECT substring('Rhine' FROM 'R|Rhi') AS a, regexp_replace('abcd', 'a|ab', 'X') AS b, regexp_replace('xabcab', 'a|abc|ab', '<\&>', 'g') AS c
SELECT substring('ab' FROM '(?:a?)(?:ab)?') AS a, substring('abxx' FROM '(?:a|ab)x*?') AS b, substring('XY1234Z' FROM 'Y*?([0-9]{1,3})') AS c, substring('XY1234Z' FROM 'Y*([0-9]{1,3})') AS d
SELECT regexp_match('abc01234xyz', '(.*)(\d+)(.*)') AS a, regexp_match('abc01234xyz', '(.*?)(\d+)(.*)') AS b, regexp_match('abc01234xyz', '(?:(.*?)(\d+)(.*)){1,1}') AS c
SELECT regexp_match('a@b@c', '^(.*)@(.*)$') AS a, regexp_match('20240229', '(\d{4})(\d{2})(\d{2})') AS b, regexp_match('http://a.b', '(https?)://([^/]+)(/.*)?') AS c, regexp_match('a,b', '(^|,)(\w+)') AS d
SELECT regexp_replace('<a><b>', '<(.*?)>', '[\1]', 'g') AS a, regexp_replace('<a><b>', '<(.*)>', '[\1]', 'g') AS b, regexp_replace('abc', 'b', '[\1]') AS c
SELECT regexp_match('abcd', '(a|ab)(c|bcd)(d*)') AS m, regexp_match('PUT /x', '(GET|POST|PUT|DELETE) (\S+)') AS n, regexp_match('ab', '(|a)(ab|b)') AS o, regexp_replace('Mrs Smith, Ms. Lee', '(Mr|Mrs|Ms)\.? (\w+)', '\2 \1', 'g') AS p
SELECT regexp_match('ab', '((a)|b)*') AS m
-- Newlines, places, escapes and options.
SELECT E'first\nsecond' ~ 'first.second' AS a, E'\n' ~ '[^a]' AS b, E'a\nb' ~ '(?n)a.b' AS c, E'a\nb' ~ 'a$' AS d, E'a\nb' ~ '(?w)a$' AS e
SELECT regexp_replace('cab ab', '\mab\M', 'X') AS a, 'ab' ~ '\Aab\Z' AS b, regexp_replace('ab b', '\yb', 'X') AS c, regexp_replace('ab b', '\Yb', 'X') AS d, 'a b' ~ '[[:<:]]b[[:>:]]' AS e
SELECT 'a.b' ~ '***=a.b' AS a, 'axb' ~ '***=a.b' AS b, 'AB' ~ '(?i)ab' AS c, 'ab' ~ '(?x) a b # c' AS d, 'a{' ~ 'a{' AS e, 'A' ~ '\x41' AS f, 'é' ~ '^[[:alpha:]]$' AS g, 'É' ~* 'é' AS h
SELECT regexp_replace('baaac', 'a*', '-', 'g') AS a, regexp_replace('abc', '', '-', 'g') AS b, regexp_split_to_array('abc', '') AS c, regexp_split_to_array('a1b22c', '[0-9]*') AS d
SELECT id, name FROM shop.customers WHERE name ~ 'a_b'
SELECT id, name FROM shop.customers WHERE name !~ '^a'
SELECT id, label FROM archive.parcels WHERE label ~ 'ü$' OR label ~* '^B'
SELECT id, memo FROM crm.clients WHERE memo ~ '^(a|x).b'
-- Mistakes, and what is refused.
SELECT 'a' ~ '(' AS a
SELECT 'a' ~ '*' AS a
SELECT 'a' ~ '[z-a]' AS a
SELECT 'a' ~* 'a**' AS a
SELECT id FROM shop.customers WHERE name ~ 'a{2,1}'
SELECT regexp_match('a', '\q') AS a
SELECT substring('a' FROM '\1') AS a
SELECT regexp_split_to_array('a', '[[:x:]]') AS a
SELECT 'abab' ~ '(ab)\1' AS a
SELECT 'foo' ~ 'f(?=o)' AS a
SELECT regexp_replace('foobaz', 'foo(?!bar)', 'x') AS a
SELECT 'abc' LIKE 'a\' AS a
SELECT 'abc' NOT ILIKE '%B\' AS a
SELECT 'xbc' LIKE 'a\' AS a, 'a' LIKE 'a\' AS b, '' LIKE '%\' AS c, 'x' NOT LIKE 'a\' AS d
