-- JSON: documents, json and jsonb columns, their operators, functions and aggregates.
SELECT no, address->'geo' AS geo, address->>'geo' AS shown, address->'city' AS city, address->>'zip' AS zip FROM field.visits
SELECT no, address->'geo'->>'lat' AS lat, address #>> '{geo,lon}' AS lon, address #> '{geo}' AS geo FROM field.visits
SELECT no, address->>'nowhere' AS a, address->'nowhere' AS b, address->'city'->>'x' AS c, address->0 AS d FROM field.visits
SELECT no FROM field.visits WHERE address->>'city' = 'Oslo'
SELECT no FROM field.visits WHERE address->>'zip' = '150' OR address->'geo'->>'lat' IS NULL
SELECT no FROM field.visits WHERE address->'geo' IS NULL OR address->'city' IS NULL
SELECT address->>'city' AS city, count(*) FROM field.visits GROUP BY address->>'city' ORDER BY 1
SELECT no, address->>'City' AS a FROM field.visits WHERE no < 10
SELECT id, author->>'name' AS name, author->>'age' AS age, author->'age' AS json_age FROM archive.reviews
SELECT id FROM archive.reviews WHERE author->>'name' = 'Ada' ORDER BY id
SELECT no, address ? 'city' AS a FROM field.visits
SELECT no, address::jsonb ? 'city' AS a, address::jsonb->'geo' AS b, address::text AS c FROM field.visits
SELECT no, json_typeof(address) AS a, json_typeof(address->'geo') AS b FROM field.visits
SELECT no, to_json(address) AS a, json_build_object('at', address, 'tags', tags, 'when', at) AS b, to_jsonb(address) AS c FROM field.visits
SELECT no, COALESCE(address, '{"city": "none"}') AS a FROM field.visits
SELECT no, CASE WHEN no > 5 THEN address ELSE '[]'::json END AS a FROM field.visits
SELECT address FROM field.visits WHERE no < 9 UNION ALL SELECT '{"a" : 1}'::json
SELECT no, e.key, e.value FROM field.visits, json_each(address) AS e
SELECT count(*) FROM field.visits GROUP BY address
SELECT id, prefs->'b' AS a, prefs->'b'->0 AS b, prefs->'b'->> -1 AS c, prefs #> '{deep,x}' AS d, prefs #>> '{b,1}' AS e FROM shop.customers
SELECT id, prefs ? 'a' AS a, prefs ?| ARRAY['x', 'b'] AS b, prefs ?& ARRAY['a', 'b'] AS c, prefs @> '{"a": 1}' AS d, '{"a": 1.0}' <@ prefs AS e FROM shop.customers
SELECT id, prefs || '{"z": 1.50}' AS a, prefs || '[1]' AS b, prefs - 'a' AS c, prefs - ARRAY['a', 'deep'] AS d, prefs #- '{b,0}' AS e FROM shop.customers WHERE jsonb_typeof(prefs) = 'object'
SELECT id, prefs FROM shop.customers ORDER BY prefs, id
SELECT prefs, count(*) FROM shop.customers GROUP BY prefs
SELECT DISTINCT prefs FROM shop.customers
SELECT a.id, b.id FROM shop.customers a JOIN shop.customers b ON a.prefs = b.prefs AND a.id < b.id WHERE a.id < 20 AND b.id < 20
SELECT id, jsonb_typeof(prefs) AS a, jsonb_pretty(prefs) AS b, jsonb_strip_nulls(prefs) AS c, prefs::text AS d FROM shop.customers
SELECT id, jsonb_set(prefs, '{a}', '1.50') AS a, jsonb_set(prefs, '{deep,x}', '[]', false) AS b, jsonb_insert(prefs, '{new}', '2') AS c FROM shop.customers WHERE jsonb_typeof(prefs) = 'object'
SELECT '{"a": 1.50, "b": 12345678901234567890.1234567890, "c":1e3 ,"d":-0}'::json AS a, '{"a": 1.50, "b": 12345678901234567890.1234567890, "c":1e3 ,"d":-0}'::jsonb AS b
SELECT '{"a" : {"b" : [1 ,  2.0]}, "a": {"b" :  3}}'::json->'a' AS a, '{"a" : {"b" : [1 ,  2.0]}, "a": {"b" :  3}}'::jsonb->'a' AS b
SELECT '{"n": 1.500, "s": "a\u0041\n", "z": null, "t": true}'::json->>'n' AS a, '{"n": 1.500, "s": "a\u0041\n"}'::json->>'s' AS b, '{"z": null}'::json->>'z' AS c, '{"z": null}'::json->'z' AS d
SELECT ' [1, [2 , 3]] '::json #> '{}' AS a, '[1,[2,3]]'::json #>> '{1, -1}' AS b, '"x"'::jsonb #>> '{}' AS c, '{"a":1}'::json #> '{a,NULL}' AS d, '[1,2]'::jsonb #> '{x}' AS e
SELECT '{"bb": 1, "a": 2, "aa": 3}'::jsonb AS a, '{"a": 1, "a": 2}'::jsonb AS b, '{"a": 1, "a": 2}'::json AS c, json_array_length('[1, [2], {}]') AS d, jsonb_array_length('[]') AS e
SELECT '{"a": 1'::json
SELECT '{"a": 1}'::json = '{"a": 1}'::json
SELECT '{"a": "\u0000"}'::jsonb
SELECT jsonb '1.0' = '1' AS a, jsonb '[]' < 'null' AS b, jsonb '{}' > '[1, 2]' AS c, jsonb 'true' > '99' AS d, jsonb '"a"' < '1' AS e, jsonb '{"aa": 1}' < '{"b": 1}' AS f, jsonb '12345678901234567890.1' < '12345678901234567890.2' AS g
SELECT (jsonb '1.50')::numeric AS a, (jsonb '2.5')::int AS b, (jsonb 'true')::boolean AS c, (jsonb '1e2')::bigint AS d, (jsonb '12345678901234567890.5')::numeric AS e
SELECT to_json(1.50) AS a, to_json('a"b'::text) AS b, to_json(true) AS c, to_json(ARRAY[1, NULL, 3]) AS d, to_json(DATE '2024-02-29') AS e, to_json(TIMESTAMP '2024-02-29 12:30:45.5') AS f, to_json(TIMESTAMPTZ '2024-02-29 12:30:45+00') AS g, to_json('NaN'::float8) AS h, to_json('{"a" :  1}'::json) AS i
SELECT id, to_json(name) AS a, to_json(score) AS b, to_json(rating) AS c, to_json(born) AS d, to_json(seen) AS e, to_json(tags) AS f, to_json(marks) AS g FROM shop.customers
SELECT id, to_json(prefs) AS a, to_json(token) AS b, to_json(balance) AS c, to_json(wide) AS d, to_json(raw) AS e, to_json(code) AS f, to_json(address) AS g, to_json(wait) AS h, to_json(small) AS i FROM shop.customers
SELECT id, to_jsonb(score) AS a, to_jsonb(seen) AS b, to_jsonb(wide) AS c, to_jsonb(tags) AS d, to_jsonb(prefs) AS e, to_jsonb(active) AS f FROM shop.customers
SELECT id, json_build_object('id', id, 'n', name, 'tags', tags, 'p', prefs) AS a, json_build_array(id, name, NULL, score) AS b, jsonb_build_object('b', balance, 'aa', 1, 'b', small) AS c, jsonb_build_array(born, wait) AS d FROM shop.customers
SELECT json_build_object() AS a, json_build_array() AS b, jsonb_build_object(1, 2, true, DATE '2024-01-02') AS c, json_object('{a,1,b,NULL}') AS d, jsonb_object('{b,aa}', '{1,2}') AS e
SELECT json_build_object('a')
SELECT json_build_object(NULL, 1)
SELECT jsonb_build_object('{}'::json, 1)
SELECT json_agg(name ORDER BY id) AS a, json_agg(marks ORDER BY id) AS b, jsonb_agg(prefs ORDER BY id DESC) AS c, json_agg(seen ORDER BY id) AS d FROM shop.customers
SELECT json_agg(balance ORDER BY id) FILTER (WHERE small > 0) AS a, jsonb_agg(wide ORDER BY id) FILTER (WHERE id < 10) AS b, json_agg(id) FILTER (WHERE false) AS c FROM shop.customers
SELECT json_agg(DISTINCT small) AS a, jsonb_agg(DISTINCT active ORDER BY active DESC) AS b, json_agg(DISTINCT tags) AS c, json_agg(DISTINCT wide ORDER BY wide NULLS FIRST) AS d FROM shop.customers WHERE wide IS NULL OR wide <> 0
SELECT active, json_agg(id ORDER BY id) AS ids, json_object_agg(id, name ORDER BY id) AS names FROM shop.customers WHERE id < 60 GROUP BY active
SELECT json_object_agg(id, marks ORDER BY id) AS a, jsonb_object_agg(id % 7, name ORDER BY id) AS b FROM shop.customers WHERE id < 50
SELECT json_object_agg(name, id ORDER BY id) AS a FROM shop.customers WHERE name IS NOT NULL
SELECT json_object_agg(name, id) FROM shop.customers
SELECT json_object_agg(name, id ORDER BY id) FILTER (WHERE name IS NOT NULL) AS a FROM shop.customers
SELECT json_agg(id) AS a, jsonb_agg(id) AS b, json_object_agg(id, id) AS c FROM shop.nothing
SELECT json_agg(prefs::json) AS a FROM shop.customers WHERE id = 1
SELECT json_agg(DISTINCT prefs::json) AS a FROM shop.customers
SELECT no, json_agg(no) OVER (ORDER BY no ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS a FROM field.visits WHERE no < 20
SELECT jsonb_agg(address->'city' ORDER BY no) AS a, json_agg(address ORDER BY no) AS b FROM field.visits
SELECT id, k FROM shop.customers, jsonb_object_keys(prefs) AS k WHERE jsonb_typeof(prefs) = 'object'
SELECT id, e.key, e.value FROM shop.customers c, jsonb_each(c.prefs) AS e WHERE jsonb_typeof(prefs) = 'object'
SELECT id, e.key, e.value FROM shop.customers c CROSS JOIN LATERAL jsonb_each_text(c.prefs) e WHERE jsonb_typeof(prefs) = 'object' AND e.value <> '1'
SELECT c.id, e, e + 1 AS f FROM shop.customers c, unnest(c.marks) AS e
SELECT id, v, n FROM shop.customers c, jsonb_array_elements(CASE WHEN jsonb_typeof(c.prefs->'b') = 'array' THEN c.prefs->'b' END) WITH ORDINALITY AS e(v, n)
SELECT id, e, e::text AS t FROM shop.customers c, jsonb_array_elements_text(CASE WHEN jsonb_typeof(c.prefs->'b') = 'array' THEN c.prefs->'b' END) AS e ORDER BY id, e
SELECT id, e->>'x' AS x FROM shop.customers c, jsonb_array_elements(jsonb_build_array(c.prefs->'deep', c.prefs)) AS e
SELECT * FROM json_array_elements('[1, "a" , {"b" :  2.50}]')
SELECT * FROM json_each_text('{"a": null, "b": "x", "c": [1, 2.50]}') AS t
SELECT value, value->'b' AS b FROM jsonb_array_elements('[{"b": 1.50}, {"b": [ ]}, 3]')
SELECT * FROM json_array_elements('{}')
SELECT * FROM jsonb_each('[]')
SELECT id, jsonb_array_elements(CASE WHEN jsonb_typeof(prefs->'b') = 'array' THEN prefs->'b' END) AS e FROM shop.customers
SELECT id, jsonb_array_elements(prefs->'b') AS e FROM shop.customers
SELECT json_array_elements_text('[1, null, "x"]') AS a, json_object_keys('{"a": 1, "b": 2}') AS b
SELECT json_strip_nulls('{"a": null, "b": [1 , null, {"c": null}], "d": 1.50}') AS a, jsonb_pretty('{"a": [], "b": {}, "c": [1.0, {"d": null}]}') AS b
SELECT jsonb_set('[1, 2]', '{-5}', '0') AS a, jsonb_set('[1, 2]', '{9}', '0') AS b, jsonb_set('{"a": {"b": 1}}', '{a,b}', '[2]') AS c, jsonb_insert('[1, 2]', '{-1}', '9', true) AS d, '[1, [2, 3]]'::jsonb #- '{1,-1}' AS e
SELECT jsonb_set('[1]', '{x}', '2')
SELECT jsonb_insert('{"a": 1}', '{a}', '2')
SELECT '{"a": 1}'::jsonb || '2' AS a, '1'::jsonb || '[2]' AS b, '[]'::jsonb || '{}' AS c, '[1, 2, 3]'::jsonb - 1 AS d, '[1, 2, 3]'::jsonb - (-7) AS e, '["a", "b"]'::jsonb - 'a' AS f
SELECT '1'::jsonb - 'a'
SELECT '{}'::jsonb - 0
SELECT row_to_json(t) AS a FROM shop.products t
SELECT row_to_json(t) AS a, to_jsonb(t) AS b FROM (SELECT id, name, balance AS "Sum", seen, marks FROM shop.customers) t
SELECT json_agg(t ORDER BY t.id) AS a, jsonb_agg(t ORDER BY t.id) AS b FROM (SELECT id, title, price FROM shop.products) AS t
SELECT o.id, (SELECT json_agg(l ORDER BY l.id) FROM shop.order_lines l WHERE l.order_id = o.id) AS lines FROM shop.orders o WHERE o.id < 20
SELECT row_to_json(ROW(1, 'a', NULL, 1.50)) AS a, to_json(ROW(ARRAY[1, 2], '{"b" : 1}'::json)) AS b, json_build_array(ROW(1), 2) AS c
SELECT c.id, row_to_json(v) AS visit FROM shop.customers c JOIN field.visits v ON v.no = c.id WHERE c.id < 5
SELECT id, prefs->>$1 AS a, prefs->$2 AS b FROM shop.customers <- a <- b
SELECT no, address->>$1 AS a FROM field.visits <- city
SELECT c.id, e.value, t.tag FROM shop.customers c LEFT JOIN LATERAL jsonb_array_elements(CASE WHEN jsonb_typeof(c.prefs->'b') = 'array' THEN c.prefs->'b' END) AS e ON true LEFT JOIN LATERAL unnest(c.tags) AS t(tag) ON true
SELECT no, e.key FROM field.visits v LEFT JOIN json_object_keys(v.address->'geo') AS e(key) ON true
SELECT no FROM field.visits WHERE address->'geo'->>'lat' > '59' AND address->>'zip' <> ''
SELECT a.no FROM field.visits a JOIN field.visits b ON a.address->>'city' = b.address->>'city' AND a.no < b.no WHERE b.no < 12
SELECT no, address->'geo'->'lat' AS a, (address->'geo')->>'lat' || '!' AS b, address #> '{geo,lat}' AS c FROM field.visits
SELECT (address->>'zip')::bigint AS zip, sum((address->'geo'->>'lat')::float8) AS s FROM field.visits GROUP BY (address->>'zip')::bigint
SELECT no FROM field.visits WHERE address->>'city' LIKE 'O%' ORDER BY address->>'city', no
SELECT c.id, p.prefs->>'a' AS a FROM shop.customers c LEFT JOIN shop.customers p ON p.id = c.id AND p.prefs->>'a' = '1'
SELECT '2'::jsonb->0 AS a, '2'::jsonb->> -1 AS b, '2'::jsonb->1 AS c, '2'::json->0 AS d, '2'::jsonb #> '{0}' AS e
SELECT e.value->>'b' AS b, count(*) FROM jsonb_array_elements('[{"b": 1.0}, {"b": 1.00}, {"c": 1}, {"b": 1.0}]') AS e GROUP BY e.value->>'b'
SELECT e, count(*) FROM jsonb_array_elements('[{"b": 1.0}, {"b": 1.00}, {"c": 1}, {"b": 1.0}]') AS e GROUP BY e
SELECT id, (SELECT string_agg(k, ',' ORDER BY k) FROM jsonb_object_keys(prefs) AS k) AS keys FROM shop.customers WHERE jsonb_typeof(prefs) = 'object'
SELECT id FROM shop.customers WHERE prefs @> '{"a": 1}' AND EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = id)
