-- Blanks at the end of character(n): beside character varying they do not count, beside text they do.
SELECT id, code = 'ab '::varchar AS a, code <> 'ab'::varchar AS b, code < 'ab  '::varchar AS c, 'ab '::varchar >= code AS d, code = 'ab '::text AS e, code = 'ab '::name AS f FROM shop.customers
SELECT id FROM shop.customers WHERE code = 'ab '::varchar
SELECT id FROM shop.customers WHERE code <> 'ab '::varchar
SELECT id FROM shop.customers WHERE code = 'ab '::text
SELECT id FROM shop.customers WHERE code = $1::varchar <- ab 
SELECT id FROM shop.customers WHERE code = $1::text <- ab
SELECT id FROM shop.customers WHERE code BETWEEN 'a  '::varchar AND 'ab   '::varchar
SELECT id FROM shop.customers WHERE (email || ' ')::varchar = (email || '')::char(80)
SELECT id FROM shop.customers WHERE email = 'ada@example.org  '::char(30)
SELECT id FROM crm.clients WHERE code = 'A1'::char(5)
SELECT id FROM crm.clients WHERE code IN ('A1'::char(5), 'b'::char(5))
SELECT id FROM crm.clients WHERE code IN ('b'::char(5))
SELECT c.id, k.id AS k FROM shop.customers c JOIN crm.clients k ON upper(c.code)::char(6) = k.code WHERE c.id < 20
SELECT c.id, k.id AS k FROM shop.customers c JOIN (SELECT id, (name || '  ')::varchar AS name FROM crm.clients) k ON c.code = k.name
SELECT c.id, o.id AS o FROM shop.customers c JOIN shop.customers o ON o.code = (c.code || ' ')::varchar WHERE c.id < 15 AND o.id < 15
SELECT id FROM shop.customers WHERE (code || ' ')::varchar IN (SELECT code FROM shop.customers WHERE id < 9)
SELECT id FROM shop.customers WHERE code IN (SELECT (name || ' ')::varchar FROM crm.clients)
SELECT id FROM shop.customers WHERE code NOT IN (SELECT (code || ' ')::varchar FROM shop.customers WHERE id < 4)
SELECT id FROM shop.customers WHERE code IN (SELECT code || ' ' FROM shop.customers)
SELECT id, code IN ('ab '::text, 'zz') AS a, code IN ('ab '::text) AS b, code NOT IN ('ab '::text, 'zz '::varchar) AS c, code IN (name, 'ab '::text) AS d, code IN (email, 'ab '::text, 'zz ') AS e FROM shop.customers
SELECT id, email IN ('ada@example.org'::char(30), 'x'::text) AS a, name IN ('Ada'::char(5), 'ada'::char(5)) AS b, 'ab '::varchar IN (code, 'x') AS c, 'ab' IN (code, 'ab '::text) AS d FROM shop.customers
SELECT id, nullif(code, 'ab '::varchar) AS a, nullif(code, 'ab '::text) AS b, nullif((code || ' ')::varchar, code) AS c, nullif(code, name) AS d, nullif('ab', code) AS e, nullif(email, code) AS f FROM shop.customers
SELECT nullif(NULL, 1) AS a, nullif('1', 1) AS b, nullif('a', 'b'::varchar) AS c, nullif('a', 'b'::name) AS d, nullif('a'::name, 'b'::text) AS e, nullif('2024-01-01', DATE '2024-01-02') AS f
SELECT nullif('x', 1) AS a
SELECT id, code IS DISTINCT FROM (code || ' ')::varchar AS a, code IS NOT DISTINCT FROM (code || ' ')::text AS b, CASE code WHEN 'ab '::varchar THEN 1 WHEN 'zz '::text THEN 2 WHEN 'zz' THEN 3 END AS c, (code, id) = ((code || ' ')::varchar, id) AS d FROM shop.customers
SELECT id, code = ANY (ARRAY[email, 'ab '::varchar]) AS a, code = ANY ('{"ab ",zz}'::varchar[]) AS b, code <> ALL (ARRAY['ab  '::varchar]) AS c, code = ANY ('{"ab "}'::text[]) AS d, code > ALL ('{"a "}'::varchar[]) AS e, (code || ' ')::varchar = ANY ('{ab,zz}'::char(6)[]) AS f, code || ' ' = ANY ('{ab,zz}'::char(6)[]) AS g FROM shop.customers
SELECT id FROM shop.customers WHERE code = ANY ($1::varchar[]) <- {"ab ","zz   "}
SELECT id FROM shop.customers WHERE code = ANY ($1::text[]) <- {"ab ",zz}
SELECT id, code LIKE 'ab    ' AS a, 'ab' LIKE code AS b, name LIKE 'Ada'::char(9) AS c, code LIKE code AS d, trim(code) LIKE code AS e, name ILIKE 'ADA'::char(9) AS f, name ~ '^Ada$'::char(9) AS g, code ~ '^ab$' AS h FROM shop.customers
SELECT id FROM shop.customers WHERE name LIKE 'Ada'::char(9)
-- Branches of unions keep their own blanks; of values that are equal and look different UNION shows one, in PostgreSQL any one.
SELECT id, x, octet_length(x) AS n FROM (SELECT id, code AS x FROM shop.customers UNION ALL SELECT id, code::char(9) FROM shop.customers UNION ALL SELECT id, email FROM shop.customers UNION ALL SELECT id, name FROM shop.customers) AS s
SELECT k.id, s.x, octet_length(s.x) AS n FROM (SELECT code AS x FROM shop.customers UNION ALL SELECT code FROM crm.clients) AS s JOIN crm.clients k ON k.code = s.x
SELECT rtrim(x) AS x FROM (SELECT code AS x FROM shop.customers UNION SELECT code::char(9) FROM shop.customers UNION SELECT code FROM crm.clients) AS s
SELECT x::text AS x FROM (SELECT code AS x FROM shop.customers INTERSECT SELECT (code || ' ')::varchar FROM shop.customers) AS s
SELECT count(*) AS n FROM (SELECT code AS x FROM shop.customers EXCEPT SELECT (code || '  ')::text FROM shop.customers) AS s
SELECT x, octet_length(x) AS n FROM (SELECT code AS x FROM shop.customers WHERE id < 5 UNION SELECT 'qqq'::varchar) AS s
-- Keys that are computed, or come from a union, and what is computed of them.
SELECT length(coalesce(email, name)) AS a, count(*) AS n FROM shop.customers GROUP BY coalesce(email, name)
SELECT email || '|' AS a FROM (SELECT email FROM shop.customers UNION SELECT name FROM shop.customers) AS x
SELECT rtrim(code || '|') AS a FROM (SELECT DISTINCT coalesce(code, 'zz') AS code FROM shop.customers) AS x
SELECT coalesce(note, '1')::varchar(2) AS a, count(*) AS n FROM shop.orders GROUP BY coalesce(note, '1')
SELECT (coalesce(note, '1') || '1')::varchar(1) AS a, max(id) AS n FROM shop.orders GROUP BY coalesce(note, '1') HAVING coalesce(note, '1')::varchar(1) <> 'x'
SELECT coalesce(email, name) AS a, count(*) AS n FROM shop.customers GROUP BY coalesce(email, name) HAVING coalesce(email, name) > 'b' AND count(*) > 0 ORDER BY length(coalesce(email, name)), a
SELECT e || '|' AS a, rank() OVER (ORDER BY e || '|') AS r FROM (SELECT DISTINCT coalesce(email, code) AS e FROM shop.customers) AS x
SELECT coalesce(email, 'z') AS a, rank() OVER (PARTITION BY length(coalesce(email, 'z')) ORDER BY count(*), coalesce(email, 'z')) AS r FROM shop.customers GROUP BY coalesce(email, 'z')
SELECT left(coalesce(sku, 'z'), 1) AS a, coalesce(sku, 'z') AS b, sum(price) AS s FROM shop.products GROUP BY coalesce(sku, 'z') ORDER BY left(coalesce(sku, 'z'), 1), b LIMIT 5
