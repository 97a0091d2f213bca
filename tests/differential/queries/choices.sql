-- What gives one of its parts computes each part once.
SELECT count(*) AS n FROM generate_series(1, 1000) AS g(i) WHERE CASE (random() * 2)::int WHEN 0 THEN 1 WHEN 1 THEN 1 WHEN 2 THEN 1 END IS NULL
SELECT count(*) AS n FROM generate_series(1, 1000) AS g(i) WHERE CASE (random() * 2)::int + i - i WHEN 0 THEN true WHEN 1 THEN true WHEN 2.0 THEN true END IS NULL
SELECT count(*) AS n FROM generate_series(1, 1000) AS g(i) WHERE coalesce(CASE WHEN random() < 0.5 THEN i END, -1) IS NULL
SELECT count(*) AS n FROM generate_series(1, 1000) AS g(i) WHERE coalesce(CASE WHEN random() < 0.5 THEN i > 0 END, true) IS NULL
SELECT count(*) AS n FROM generate_series(1, 1000) AS g(i) WHERE nullif((random() * 1)::int, 0) = 0
SELECT id, CASE lower(name || coalesce(email, '')) WHEN 'adaada@example.org' THEN 1 WHEN 'ada' THEN 2 ELSE 3 END AS a FROM shop.customers
SELECT id, CASE (small + 1) * 2 - small WHEN 4 THEN 'int' WHEN 2.0 THEN 'numeric' WHEN 1e0 THEN 'float' END AS a FROM shop.customers WHERE small < 1000
SELECT id, CASE coalesce(score, 0) * 2 + rating - rating WHEN 3 THEN 'three' WHEN 'NaN' THEN 'nan' END AS a FROM shop.customers
SELECT id, CASE upper(code || 'x' || code) WHEN 'ABXAB' THEN 1 WHEN 'AXA' THEN 2 END AS a FROM shop.customers
SELECT id, CASE born + interval '1 day' - interval '1 hour' WHEN DATE '1815-12-10' THEN 1 WHEN TIMESTAMP '1815-12-10 23:00:00' THEN 2 END AS a FROM shop.customers WHERE isfinite(born)
SELECT id, CASE level::text || '-' || id::text || '-' || small::text WHEN 'gold-1-1' THEN 'first' WHEN NULL THEN 'never' END AS a FROM shop.customers
SELECT id, coalesce(nullif(lower(name || email || code), 'x'), upper(name || id::text || 'y'), 'none') AS a FROM shop.customers
SELECT id, coalesce(1 / nullif(small + id - id - 1, 0) * 2 - 1, id + 1 / (id - id + 1), 0) AS a FROM shop.customers
SELECT coalesce(nullif(i * 2 - i + 1 - 1, 3), 1 / (i - 3)) AS a FROM generate_series(4, 6) AS g(i)
SELECT coalesce(nullif(i * 2 - i + 1 - 1, 3), 1 / (i - 3)) AS a FROM generate_series(3, 6) AS g(i)
SELECT coalesce(NULLIF(i * 2 - i + 1 - 1, 3), 7, 1 / (i - 3)) AS a FROM generate_series(3, 6) AS g(i)
SELECT id, nullif(lower(name || code), 'adaab') AS a, nullif((small + 1) * 2 - 3, 1.0) AS b, nullif(score * 2 + 1 - 1, 3) AS c, nullif(coalesce(rating, 1) * 2 + 0, 'NaN') AS d FROM shop.customers
SELECT id, nullif(coalesce(born, DATE '2024-01-01') + interval '2 days' - interval '1 day', TIMESTAMP '1815-12-11') AS a FROM shop.customers WHERE isfinite(born) OR born IS NULL
SELECT id, nullif(array_append(array_append(array_append(tags, 'x'), 'y'), 'z'), ARRAY['a', 'b', 'x', 'y', 'z']) AS a FROM shop.customers
SELECT nullif(1 + id * 2 - id * 2 + 0, 'a') AS a FROM shop.customers
SELECT id, coalesce((SELECT max(o.total) FROM shop.orders o WHERE o.customer = c.id), 0) AS a FROM shop.customers c
SELECT id, coalesce((SELECT max(total) FROM shop.orders WHERE id < 0), (SELECT min(total) FROM shop.orders), 0) AS a FROM shop.customers WHERE id < 4
SELECT id, CASE (SELECT count(*) FROM shop.orders o WHERE o.customer = c.id) WHEN 0 THEN 'none' WHEN 1 THEN 'one' ELSE 'more' END AS a FROM shop.customers c
SELECT active, coalesce(sum(small + 1 - 1 + 0), 0) AS a, coalesce(max(lower(name || code)), 'none') AS b FROM shop.customers GROUP BY active
SELECT id FROM shop.customers WHERE coalesce(lower(name || email || code) = 'x', small + 1 - 1 > 5, true)
SELECT id, coalesce(prefs -> 'a' -> 'b' -> 'c', prefs -> 'deep' -> 'x', 'null'::jsonb) AS a FROM shop.customers
SELECT id, coalesce($1 || lower(name || code), 'none') AS a FROM shop.customers <- pre

-- NULLIF has the type of its first operand, whatever carries it.
SELECT NULLIF(token, token) AS a, NULLIF(wide, wide) AS b, NULLIF(wide, 1) AS c, NULLIF(address, address) AS d, NULLIF(prefs, prefs) AS e, NULLIF(code, 'a') AS f, NULLIF(email, email) AS g, NULLIF(level, 'gold') AS h, NULLIF('a', 'a') AS i, NULLIF(balance, 0) AS j FROM shop.customers
SELECT c.id, (SELECT NULLIF(p.price, p.price) FROM shop.products AS p WHERE p.id = c.id) AS a FROM shop.customers AS c
SELECT DISTINCT ON (NULLIF(price, price)) NULLIF(price, price) AS a, id FROM shop.products ORDER BY NULLIF(price, price), id

-- NULLIF of numbers of different types has the type in which they were compared.
SELECT NULLIF(1, 2.0) / 2 AS a, NULLIF(7::bigint, 2.5) / 2 AS b, NULLIF(3::smallint, 4::bigint) / 2 AS c, NULLIF(5, 2::real) / 2 AS d, NULLIF(2.5, 1::float8) / 2 AS e, NULLIF(1::real, 2.5) AS f, NULLIF(1::float8, 2) AS g
SELECT id, NULLIF(id, 2.0) / 2 AS a, NULLIF(small, 1::float8) / 2 AS b, NULLIF(price, id::float8) AS c FROM (SELECT p.id, c.small, p.price FROM shop.products p JOIN shop.customers c ON c.id = p.id) q
SELECT i, NULLIF(i * 2 - i + 1 - 1, 2.0) / 2 AS a, NULLIF(i * 2 - i + 1 - 1, 3::real) / 2 AS b FROM generate_series(1, 4) AS g(i)
