-- Types that not every store has: times of day, documents, labels, intervals, arrays, wide and endless numbers.
INSERT INTO target.kinds (_id) VALUES (10), (11), (12)
DELETE FROM target.kinds WHERE _id > 9
-- Times of day.
[shop, archive] INSERT INTO target.kinds (_id, clock) VALUES (20, '12:30'), (21, '00:00:00.000001'), (22, TIME '23:59:59'), (23, NULL)
[shop, archive] UPDATE target.kinds SET clock = clock + INTERVAL '90 minutes' WHERE _id IN (1, 20, 22) RETURNING clock
[shop, archive] UPDATE target.kinds SET clock = $1 WHERE clock = $2 RETURNING _id <- 01:02:03.5 <- 00:00:00.000001
[shop, archive] DELETE FROM target.kinds WHERE clock > '14:00' RETURNING _id, clock
[shop, archive] INSERT INTO target.kinds (_id, clock) VALUES (24, '25:00')
[shop, archive] INSERT INTO target.kinds (_id, clock) VALUES (24, 'noon')
[shop, archive] COPY target.kinds (_id, clock) FROM STDIN <<< 25⇥04:05:06.789⏎26⇥\N⏎
[shop, archive] SELECT _id, clock FROM target.kinds ORDER BY clock, _id
-- Documents.
[shop, crm, archive] INSERT INTO target.kinds (_id, doc) VALUES (30, '{"a": {"b": [1, null, "x"]}}'), (31, '[]'), (32, NULL), (33, '{}')
[shop, crm, archive] UPDATE target.kinds SET doc = '{"z": 1.50}' WHERE _id = 31 RETURNING _id, doc
[shop, crm, archive] UPDATE target.kinds SET doc = $1 WHERE _id = $2 <- {"q": "it's"} <- 32
[shop, crm, archive] INSERT INTO target.kinds (_id, doc) VALUES (34, '{"a":')
[shop, crm, archive] UPDATE target.kinds SET doc = 'no document' WHERE _id = 30
[shop] DELETE FROM target.kinds WHERE doc @> '{"a": 1}' RETURNING _id
[shop, crm, archive] DELETE FROM target.kinds WHERE doc ->> 'q' = 'it''s' RETURNING _id
[shop] UPDATE target.kinds SET doc = jsonb_build_object('n', _id) WHERE doc = '{}' RETURNING doc
[shop, crm, archive] SELECT _id, doc FROM target.kinds
-- Labels, in the order of their type.
[shop, crm] INSERT INTO target.kinds (_id, level) VALUES (40, 'mid'), (41, 'high'), (42, NULL)
[shop, crm] UPDATE target.kinds SET level = 'low' WHERE level = 'mid' RETURNING _id, level
[shop, crm] UPDATE target.kinds SET level = $1 WHERE _id = 42 RETURNING level <- mid
[shop, crm] DELETE FROM target.kinds WHERE level > 'mid' RETURNING _id
[shop, crm] SELECT _id, level FROM target.kinds ORDER BY level, _id
[shop, crm] SELECT max(level), min(level) FROM target.kinds
[shop, crm] INSERT INTO target.kinds (_id, level) VALUES (43, 'none')
[shop, crm] UPDATE target.kinds SET level = 'LOW' WHERE _id = 40
[shop, crm] UPDATE target.kinds SET level = '1' WHERE _id = 40
-- Intervals, which are hours in MariaDB.
[shop, crm] INSERT INTO target.kinds (_id, span) VALUES (50, '2 hours'), (51, '-00:00:00.5'), (52, INTERVAL '30 minutes'), (53, '100:00:00')
[shop, crm] UPDATE target.kinds SET span = span + INTERVAL '1 minute' WHERE span > '00:00' AND _id >= 50 RETURNING _id, span
[shop, crm] UPDATE target.kinds SET span = $1 WHERE _id = 52 RETURNING span <- 00:45:00
[shop, crm] DELETE FROM target.kinds WHERE span = '00:45' RETURNING _id
[shop, crm] INSERT INTO target.kinds (_id, span) VALUES (54, 'soon')
[shop] UPDATE target.kinds SET span = '1 mon 2 days 03:04:05' WHERE _id = 1 RETURNING span
[shop, crm] SELECT _id, span FROM target.kinds ORDER BY span, _id
-- Arrays.
[shop, field] INSERT INTO target.kinds (_id, tags) VALUES (60, ARRAY['a', 'b c', NULL]), (61, '{}'), (62, '{"q\"","",x}'), (63, NULL)
[shop, field] UPDATE target.kinds SET tags = ARRAY['new'] WHERE _id = 61 RETURNING tags
[shop, field] UPDATE target.kinds SET tags = tags || 'more' WHERE _id IN (60, 62) RETURNING _id, tags
[shop, field] UPDATE target.kinds SET tags = $1 WHERE _id = 63 RETURNING tags <- {p,q}
[shop, field] UPDATE target.kinds SET tags = NULL WHERE tags = ARRAY['p', 'q'] RETURNING _id
[shop, field] DELETE FROM target.kinds WHERE 'more' = ANY (tags) AND _id = 62 RETURNING tags
[shop, field] DELETE FROM target.kinds WHERE cardinality(tags) = 1 RETURNING _id
[shop, field] INSERT INTO target.kinds (_id, tags) VALUES (64, '{open')
[shop, field] SELECT _id, tags FROM target.kinds
-- Numbers of forty digits, and those without an end.
[shop, crm] INSERT INTO target.kinds (_id, wide) VALUES (70, 123456789012345678901234567890.1234567890), (71, -0.0000000001), (72, '999999999999999999999999999999.9999999999')
[shop, crm] UPDATE target.kinds SET wide = wide + 0.0000000001 WHERE _id IN (70, 71) RETURNING _id, wide
[shop, crm] UPDATE target.kinds SET wide = $1 WHERE wide = $2 <- 42.5 <- 123456789012345678901234567890.1234567891
[shop, crm] COPY target.kinds (_id, wide) FROM STDIN <<< 73⇥-999999999999999999999999999999.0000000001⏎74⇥\N⏎
[shop, crm] DELETE FROM target.kinds WHERE wide < -99999999999999999999999999999 RETURNING _id, wide
[crm] UPDATE target.kinds SET wide = wide + 0.0000000001 WHERE _id = 72
[crm] INSERT INTO target.kinds (_id, wide) VALUES (75, 1000000000000000000000000000000)
[crm] INSERT INTO target.kinds (_id, wide) VALUES (75, 0.00000000005) RETURNING wide
[shop, field] INSERT INTO target.kinds (_id, wide) VALUES (80, 'NaN'), (81, 'Infinity'), (82, '-Infinity'), (83, 1234567890123456789012345678901234)
[shop, field] SELECT _id, wide FROM target.kinds WHERE wide > 0 OR wide = 'NaN' OR wide IS NULL
[shop, field] UPDATE target.kinds SET wide = 0 WHERE wide = 'NaN' RETURNING _id
[shop, field] DELETE FROM target.kinds WHERE wide = '-Infinity' OR wide > 1e33 RETURNING _id, wide
[shop] UPDATE target.kinds SET wide = 12345678901234567890123456789012345678901234567890.12345678901234567890 WHERE _id = 80 RETURNING wide
-- Floats that are no numbers.
[shop, field] UPDATE target.things SET ratio = 'NaN' WHERE _id = 1 RETURNING ratio
[shop, archive, field] UPDATE target.things SET ratio = 'Infinity' WHERE _id = 2 RETURNING ratio
[shop, archive, field] UPDATE target.things SET ratio = -ratio WHERE ratio > 1e308 AND _id = 2 RETURNING _id, ratio
[shop, field] DELETE FROM target.things WHERE ratio = 'NaN' RETURNING _id
[shop, archive, field] DELETE FROM target.things WHERE ratio < -1e308 RETURNING _id
SELECT _id, ratio FROM target.things
