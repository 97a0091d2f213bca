-- Days and moments before 1970 and after 2262, where a count of nanoseconds ends.
-- over: shop, crm, archive
INSERT INTO target.things (_id, day, noted) VALUES (20, '1582-10-15', '1583-01-01 00:00:00.000001'), (21, '2262-04-12', '2262-04-11 23:47:16.854776'), (22, '9999-12-31', '9999-12-31 23:59:59.999999'), (23, '1900-02-28', '1900-03-01 00:00:00')
SELECT _id, day, noted FROM target.things WHERE day > '2262-01-01' OR noted < '1900-01-01'
UPDATE target.things SET day = day + 400, noted = noted + INTERVAL '300 years' WHERE _id IN (20, 23)
UPDATE target.things SET day = noted::date WHERE _id = 21
UPDATE target.things SET noted = day::timestamp - INTERVAL '1 microsecond' WHERE _id IN (20, 21, 23)
UPDATE target.things SET name = to_char(noted, 'YYYY-MM-DD HH24:MI:SS.US') WHERE noted IS NOT NULL
UPDATE target.things SET qty = day - DATE '1970-01-01' WHERE day IS NOT NULL
DELETE FROM target.things WHERE day < '1970-01-01' RETURNING _id, day
DELETE FROM target.things WHERE noted >= '2262-04-11 23:47:16.854775' RETURNING _id, noted
INSERT INTO target.things (_id, day) VALUES (30, '1500-02-28'), (31, $1) RETURNING day <- 3000-01-01
UPDATE target.things SET noted = $1 WHERE day = $2 RETURNING noted <- 2500-06-01 12:00:00.5 <- 3000-01-01
COPY target.things (_id, day, noted) FROM STDIN <<< 40⇥1600-01-01⇥1600-01-01 01:02:03.000004⏎41⇥4000-02-29⇥4000-02-29 00:00:00⏎
UPDATE target.things SET day = '9999-12-31'::date WHERE _id = 40 RETURNING day, noted
SELECT _id, day, noted FROM target.things WHERE noted IS NOT NULL ORDER BY noted
INSERT INTO target.things (_id, day) VALUES (50, '1900-02-29')
INSERT INTO target.things (_id, noted) VALUES (51, '2024-01-01 25:00:00')
INSERT INTO target.things (_id, day) VALUES (52, 'soon')
-- Without end, where a store has it.
[shop] UPDATE target.things SET day = 'infinity', noted = '-infinity' WHERE _id = 1 RETURNING day, noted
[shop] UPDATE target.things SET day = '0044-03-15 BC', noted = '4713-01-01 BC' WHERE _id = 2 RETURNING day, noted
[shop] UPDATE target.things SET day = '5874897-12-31' WHERE _id = 3 RETURNING day
[shop] SELECT _id, day, noted FROM target.things WHERE day > '9999-12-31' OR noted < '0001-01-01 BC'
[shop] DELETE FROM target.things WHERE day = 'infinity' OR noted = '4713-01-01 BC' RETURNING _id
