-- Upper and lower case letter by letter, ILIKE, ~*, blanks of character(n), masks of addresses.
SELECT upper('straße ﬁ ŉ ǰ ΐ') AS a, lower('İSTANBUL ΣΊΣΥΦΟΣ ẞ') AS b, initcap('élan d''été-ÀB_c x٣ab ½ab ②cd ǆa') AS c
SELECT upper('ᾳ ᾀ ᾧ ῃ ῳ') AS a, lower('ᾼ ᾈ ᾯ') AS b, upper('ǆ ǅ Ǆ ÿ µ ſ ı') AS c, lower('Ǆ ǅ K Å Ω') AS d, upper('ა') AS e, lower('Ა') AS f
SELECT upper(NULL) AS a, lower('') AS b, initcap('') AS c, initcap('  two  words ') AS d, initcap('o''brien MAC-donald 3rd') AS e
SELECT id, upper(name) AS a, lower(name) AS b, initcap(name) AS c FROM crm.clients
SELECT id, upper(tags::text) AS a, lower(email) AS b FROM shop.customers
SELECT id FROM shop.customers WHERE upper(name) = 'ZOË'
SELECT id FROM shop.customers WHERE lower(name) LIKE 'å%'
SELECT id FROM shop.customers WHERE name ILIKE 'ÅNG%'
SELECT id FROM shop.customers WHERE name ILIKE 'ZO_'
SELECT id FROM shop.customers WHERE name NOT ILIKE '%A%'
SELECT id FROM crm.clients WHERE name ILIKE '%É%'
SELECT id FROM shop.customers WHERE code ILIKE 'AB%'
SELECT id FROM shop.customers WHERE code ILIKE 'AB'
SELECT id FROM shop.customers WHERE email ILIKE '\%\_@%'
SELECT 'straße' ILIKE 'STRASSE' AS a, 'straße' ILIKE 'STRAßE' AS b, 'ſ' ILIKE 's' AS c, 'K' ILIKE 'k' AS d, 'İ' ILIKE 'i' AS e, 'Σ' ILIKE 'ς' AS f, 'a\B' ILIKE 'A\\b' AS g, NULL ILIKE 'a' AS h
SELECT id FROM shop.customers WHERE name ~* 'Å|ZOË'
SELECT id FROM shop.customers WHERE name !~* 'a'
SELECT 'ÉTÉ' ~* 'été' AS a, 'ÉTÉ' ~ 'été' AS b, 'Ж' ~* '[а-я]' AS c
SELECT id, octet_length(code) AS a, bit_length(code) AS b, length(code) AS c, char_length(code) AS d, concat(code, '|') AS e, code || '|' AS f, reverse(code) AS g FROM shop.customers
SELECT octet_length('ab'::char(4)) AS a, octet_length('äb'::char(4)) AS b, octet_length('ab'::varchar(4)) AS c, octet_length('ab') AS d, octet_length(NULL::char(4)) AS e, bit_length('ab'::char(4)) AS f
SELECT id, quote_literal(code) AS a, md5(code) AS b, left(code, 4) || '|' AS c, position('b' IN code) AS d, trim(code) || '|' AS e, rpad(code, 8, '.') AS f FROM shop.customers
SELECT id, address::text AS a, address || '' AS b, address::varchar AS c, concat(address, '') AS d, quote_literal(address) AS e, ARRAY[address]::text AS f, address::varchar(4) AS g FROM shop.customers
SELECT '10.0.0.1'::inet::text AS a, '10.0.0.0/8'::cidr::text AS b, '::1'::inet::text AS c, '10.0.0.1/24'::inet::text AS d, '2001:db8::/32'::cidr::text AS e, '10.0.0.1'::inet AS f
SELECT string_agg(address::text, ',' ORDER BY id) AS a FROM shop.customers
SELECT datcollate, datctype FROM pg_database WHERE datname = current_database()
SHOW lc_ctype
SELECT id, host(address) AS a, masklen(address) AS b, network(address) AS c, family(address) AS d FROM shop.customers
SELECT host('10.1.2.3/16'::inet) AS a, network('2001:db8::ffff/33'::inet) AS b, family('::1') AS c, masklen('10.0.0.0/8'::cidr) AS d, host('2001:DB8::1/64'::inet) AS e, network('10.1.2.3') AS f, network('10.1.2.3/0') AS g, host(NULL) AS h
SELECT host(address) AS a, count(*) AS n FROM shop.customers WHERE family(address) = 4 AND masklen(address) > 8 GROUP BY host(address)
