-- COPY … FROM STDIN: the formats and their options, and what leaves nothing behind.

COPY target.things (_id, name, qty, ok) FROM STDIN <<< 20⇥Ann⇥5⇥t⏎21⇥\N⇥\N⇥f⏎
COPY target.things (_id, name, price, ratio) FROM STDIN (FORMAT csv, HEADER) <<< id,name,price,ratio⏎22,"a ""quoted"", name",1.25,-0.5⏎23,,2.50,1e10⏎
COPY target.things (_id, name, qty) FROM STDIN (FORMAT csv, HEADER match) <<< _id,name,qty⏎40,"two⏎lines",1⏎
COPY target.things (_id, name, qty) FROM STDIN (FORMAT csv, HEADER match) <<< _id,qty,name⏎41,1,x⏎
COPY target.things (_id, seen, code) FROM STDIN CSV NULL 'nil' QUOTE '''' <<< 24,2024-02-29 12:00:00+02,nil⏎25,nil,'nil'⏎
COPY target.things (_id, name) FROM STDIN (FORMAT csv, FORCE_NOT_NULL (name)) <<< 42,⏎43,""⏎
COPY target.things (_id, name) FROM STDIN (FORMAT csv, FORCE_NULL (name)) <<< 44,⏎45,""⏎
COPY target.things (_id, name) FROM STDIN WITH (DELIMITER '|', NULL '') <<< 35|a\|b⏎36|⏎37|tab\tnew\nline\\⏎\.⏎38|x⏎
COPY target.things (_id, name) FROM STDIN USING DELIMITERS ';' <<< 46;\x41\101⏎47;日本
COPY target.things (_id, qty) FROM STDIN WHERE qty > 3 <<< 26⇥3⏎27⇥4⏎28⇥\N⏎
COPY target.things (_id, name) FROM STDIN WHERE _id IS NOT NULL AND length(name) = 2 <<< \N⇥ab⏎48⇥cd⏎49⇥e⏎
COPY target.things (_id, qty) FROM STDIN WHERE ok IS NULL <<< 50⇥1⏎
[shop, crm, archive] COPY target.things (_id, day, noted, raw, ref) FROM STDIN <<< 51⇥2024-02-29⇥2024-02-29 12:30:00⇥\\x00ff⇥a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11⏎52⇥\N⇥\N⇥\N⇥\N⏎

-- Nothing is kept of what fails.
COPY target.things (_id, qty) FROM STDIN <<< 30⇥1⏎31⇥x⏎
COPY target.things (_id, qty) FROM STDIN <<< 32⇥1⏎33⏎
COPY target.things (_id, qty) FROM STDIN <<< 32⇥1⏎33⇥1⇥2⏎
COPY target.things (_id, qty) FROM STDIN <<< 34⇥1⏎1⇥1⏎
COPY target.things (_id, qty) FROM STDIN <<< 34⇥1⏎34⇥1⏎
COPY target.things (_id, name) FROM STDIN CSV <<< 34,"open⏎
COPY target.things (_id, qty) FROM STDIN WHERE 1 / (_id - 34) > 0 <<< 33⇥1⏎34⇥1⏎
[shop, crm] COPY target.things (_id, code) FROM STDIN <<< 34⇥toolong⏎
[shop, crm] COPY target.things (_id, small) FROM STDIN <<< 34⇥40000⏎
[shop, crm, archive] COPY target.people (_id, email) FROM STDIN <<< 90⇥\N⏎
COPY target.things (_id, _id) FROM STDIN <<< 34⇥1⏎
COPY target.things (_id, nothing) FROM STDIN <<< 34⇥1⏎
COPY target.things (_id) FROM STDIN WHERE nothing = 1 <<< 34⏎
COPY target.things (_id) FROM STDIN WHERE _id <<< 34⏎
COPY target.things (_id) FROM STDIN WHERE count(*) > 0 <<< 34⏎
-- refused by shop, crm, archive, field: PostgreSQL takes no subquery there either
COPY target.things (_id) FROM STDIN WHERE _id IN (SELECT 1) <<< 34⏎

-- A block has it or not, and sees it.
BEGIN
COPY target.things (_id, qty) FROM STDIN <<< 60⇥1⏎61⇥2⏎
UPDATE target.things SET qty = qty + 1 WHERE _id >= 60
ROLLBACK
BEGIN
COPY target.things (_id, qty) FROM STDIN <<< 60⇥1⏎61⇥2⏎
INSERT INTO target.things (_id, qty) SELECT _id + 10, qty FROM target.things WHERE _id >= 60
COMMIT
BEGIN
COPY target.things (_id, qty) FROM STDIN <<< 62⇥1⏎
COPY target.things (_id, qty) FROM STDIN <<< 63⇥x⏎
COPY target.things (_id, qty) FROM STDIN <<< 64⇥1⏎
COMMIT
