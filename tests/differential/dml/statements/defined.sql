-- Tables that are made, filled, changed and dropped here, and what the catalogs then tell of them.
DROP TABLE IF EXISTS target.made
[shop, crm, archive] CREATE TABLE target.made (_id bigint PRIMARY KEY, label text, n bigint NOT NULL, ok boolean, price numeric(10,2), ratio double precision)
[field] CREATE TABLE target.made (_id bigint PRIMARY KEY, label text, n bigint NOT NULL, ok boolean, price numeric, ratio double precision)
CREATE TABLE target.made (_id bigint PRIMARY KEY)
CREATE TABLE IF NOT EXISTS target.made (_id bigint PRIMARY KEY)
[field] SELECT column_name, data_type, numeric_precision, numeric_scale FROM information_schema.columns WHERE table_schema = replace('target.', '.', '') AND table_name = 'made' AND column_name <> 'price' ORDER BY column_name
[shop, crm, archive] SELECT column_name, data_type, is_nullable, numeric_precision, numeric_scale FROM information_schema.columns WHERE table_schema = replace('target.', '.', '') AND table_name = 'made' ORDER BY column_name
SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = replace('target.', '.', '') AND table_name LIKE 'mad%'
SELECT c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = replace('target.', '.', '') AND c.relname = 'made'
[shop, crm, archive] SELECT a.attname, a.attnotnull FROM pg_attribute a WHERE a.attrelid = 'target.made'::regclass AND a.attnum > 0 ORDER BY a.attname
SELECT * FROM target.made
INSERT INTO target.made (_id, label, n, price, ok, ratio) VALUES (1, 'one', 10, 1.25, true, 0.5), (2, NULL, 20, NULL, NULL, NULL)
INSERT INTO target.made SELECT _id, name, coalesce(qty, 0), qty > 5, price, ratio FROM other.sources WHERE _id < 15
INSERT INTO target.made (_id, n) VALUES (1, 1)
[shop, crm, archive] INSERT INTO target.made (_id, label) VALUES (3, 'no n')
INSERT INTO target.made (_id, n, price) VALUES (3, 1, 'dear')
INSERT INTO target.made (_id, n) VALUES (3, 9223372036854775808)
[shop, crm, archive] INSERT INTO target.made (_id, n, price) VALUES (3, 1, 123456789.00)
UPDATE target.made SET n = n + 1, label = coalesce(label, 'none') WHERE _id < 10 RETURNING _id, label, n, price, ok, ratio
COPY target.made (_id, n) FROM STDIN <<< 30⇥300⏎31⇥310⏎
DELETE FROM target.made WHERE ok RETURNING _id
MERGE INTO target.made t USING other.sources s ON s._id = t._id WHEN MATCHED THEN UPDATE SET n = s._id WHEN NOT MATCHED THEN INSERT (_id, n) VALUES (s._id + 100, 0)
SELECT * FROM target.made
SELECT t.label, s.name FROM target.made t JOIN other.sources s ON s._id = t._id
-- Indexes, and keys that are added.
CREATE INDEX made_by_n ON target.made (n)
CREATE INDEX made_by_n ON target.made (n)
CREATE INDEX IF NOT EXISTS made_by_n ON target.made (n)
CREATE INDEX ON target.made (nothing)
DROP INDEX target.made_by_n
DROP INDEX target.made_by_n
DROP INDEX IF EXISTS target.made_by_n
UPDATE target.made SET n = _id * 10
-- refused by field: what a validator requires is not known to be NOT NULL
CREATE UNIQUE INDEX made_n ON target.made (n)
INSERT INTO target.made (_id, n) VALUES (500, 5000), (501, 5000)
INSERT INTO target.made (_id, n) VALUES (500, 5000), (501, 5001) ON CONFLICT (n) DO UPDATE SET label = 'met'
INSERT INTO target.made AS m (_id, n) VALUES (502, 5000) ON CONFLICT (n) DO UPDATE SET label = 'met ' || m._id RETURNING _id, label
DROP INDEX target.made_n
-- Changes, which the next statement sees.
[shop, crm, archive] ALTER TABLE target.made ADD COLUMN note text
[shop, crm, archive] ALTER TABLE target.made ADD COLUMN note text
[shop, crm, archive] ALTER TABLE target.made ADD COLUMN IF NOT EXISTS note bigint
[shop, crm, archive] INSERT INTO target.made (_id, n, note) VALUES (600, 1, 'noted')
[shop, crm, archive] UPDATE target.made SET note = label WHERE _id < 100
[shop, crm, archive] ALTER TABLE target.made RENAME COLUMN note TO remark
[shop, crm, archive] SELECT note FROM target.made
[shop, crm, archive] UPDATE target.made SET note = 'x'
[shop, crm, archive] SELECT _id, remark FROM target.made ORDER BY _id
[shop, crm, archive] ALTER TABLE target.made RENAME COLUMN nothing TO something
[shop, crm, archive] ALTER TABLE target.made RENAME COLUMN remark TO label
[shop, crm, archive] ALTER TABLE target.made DROP COLUMN ratio
[shop, crm, archive] ALTER TABLE target.made DROP COLUMN ratio
[shop, crm, archive] ALTER TABLE target.made DROP COLUMN IF EXISTS ratio
[shop, crm, archive] INSERT INTO target.made (_id, n, ratio) VALUES (601, 1, 1.5)
[shop, crm, archive] SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_schema = replace('target.', '.', '') AND table_name = 'made' ORDER BY column_name
[shop, crm] ALTER TABLE target.made ADD CONSTRAINT made_bounds CHECK (n >= 0)
[shop, crm] INSERT INTO target.made (_id, n) VALUES (602, -1)
[shop, crm] UPDATE target.made SET n = -n WHERE n > 0
[shop, crm] ALTER TABLE target.made DROP CONSTRAINT made_bounds
[shop, crm] UPDATE target.made SET n = -n WHERE _id = 600 RETURNING n
[shop, crm] ALTER TABLE target.made ALTER COLUMN label SET DEFAULT 'usual'
[shop, crm] INSERT INTO target.made (_id, n) VALUES (603, 1) RETURNING _id, label
[shop, crm] ALTER TABLE target.made ALTER COLUMN label DROP DEFAULT
[shop, crm] INSERT INTO target.made (_id, n, label) VALUES (604, 1, DEFAULT) RETURNING _id, label
-- Keys that the store makes, defaults, conditions and references.
[shop, crm, archive] DROP TABLE IF EXISTS target.made_lines, target.made_heads
[shop, crm, archive] CREATE TABLE target.made_heads (_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, label text, n bigint NOT NULL DEFAULT 5 CHECK (n > 0))
[shop, crm, archive] CREATE TABLE target.made_lines (_id bigint PRIMARY KEY, head bigint REFERENCES target.made_heads ON DELETE CASCADE)
[shop, crm, archive] INSERT INTO target.made_heads (label) VALUES ('a'), ('b') RETURNING _id, label, n
[shop, crm, archive] INSERT INTO target.made_lines VALUES (1, 1), (2, 2), (3, NULL)
[shop, crm, archive] INSERT INTO target.made_lines VALUES (4, 77)
[shop, crm, archive] INSERT INTO target.made_heads (label, n) VALUES ('c', 0)
[shop, crm, archive] UPDATE target.made_heads SET n = DEFAULT, label = DEFAULT WHERE _id = 1 RETURNING label, n
[shop, crm, archive] DELETE FROM target.made_heads WHERE _id = 1
[shop, crm, archive] SELECT _id, head FROM target.made_lines ORDER BY _id
[shop, crm, archive] DROP TABLE target.made_heads
[shop, crm, archive] DROP TABLE target.made_lines, target.made_heads
[shop, crm, archive] SELECT count(*) FROM target.made_lines
-- What is wrong, and what is gone.
CREATE TABLE target.bad (_id bigint PRIMARY KEY, _id text)
CREATE TABLE target.bad (_id bigint PRIMARY KEY, a nosuchtype)
[shop, crm, archive] ALTER TABLE target.nothing ADD COLUMN a bigint
DROP TABLE target.nothing
DROP TABLE IF EXISTS target.nothing
DROP TABLE target.made
SELECT * FROM target.made
INSERT INTO target.made (_id, n) VALUES (1, 1)
SELECT count(*) FROM information_schema.columns WHERE table_schema = replace('target.', '.', '') AND table_name = 'made'
DROP TABLE target.made
