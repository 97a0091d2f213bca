-- to_char, to_number, to_date, to_timestamp over columns; the templates themselves are compared by `templates`.
SELECT id, to_char(seen, 'YYYY-MM-DD HH24:MI:SS.US TZ AD') AS a, to_char(seen, 'FMDay, FMDDth "of" FMMonth Y,YYY') AS b FROM shop.customers
SELECT id, to_char(born, 'IYYY-IW-ID J DDD') AS a, to_char(born, 'Dy DD Mon YYYY BC') AS b FROM shop.customers
SELECT id, to_char(wait, 'YYYY MM DD HH24:MI:SS.MS') AS a, to_char(wait, 'FMRM CC') AS b FROM shop.customers
SELECT id, to_char(balance, 'FM999G999G990D00') AS a, to_char(balance, 'S9999999999.99') AS b, to_char(wide, '9.99EEEE') AS c FROM shop.customers
SELECT id, to_char(score, '999999.999') AS a, to_char(rating, 'FM0000.0000') AS b, to_char(small, '00000PR') AS c, to_char(id, 'FMRN') AS d FROM shop.customers
SELECT id, to_char(placed, 'DD.MM.YYYY') AS a FROM shop.orders
SELECT id, to_date(to_char(born, 'YYYY-MM-DD BC'), 'YYYY-MM-DD BC') = born AS a FROM shop.customers WHERE isfinite(born)
SELECT id, to_number(to_char(balance, '9999999999.99'), '9999999999.99') = balance AS a FROM shop.customers
SELECT to_char(TIME '04:05:06', 'HH12:MI:SS AM') AS a, to_char(DATE '2024-02-29', 'Day TZH') AS b, to_char(1::smallint, '09') AS c
SELECT to_char(now(), '') AS a, to_char(1, '') AS b, to_number('1', '') AS c, to_timestamp('', '') AS d, to_char(NULL::timestamp, 'YYYY') AS e
SELECT to_char(TIMESTAMP '2024-02-29', $1) AS a <- Month
SELECT to_date('2024-02-30', 'YYYY-MM-DD') AS a
SELECT to_timestamp('25', 'HH24') AS a
SELECT to_number('12345', '99') AS a
SELECT to_char(INTERVAL '1 day', 'Day') AS a
SELECT to_char(1, '9.9.9') AS a
SELECT to_char(99999999999::bigint, 'RN') AS a
