-- The SQLite store of the clients' writes: the tables of the PostgreSQL store, as SQLite declares them.
CREATE TABLE parts (
    id INTEGER PRIMARY KEY,
    code TEXT NOT NULL CONSTRAINT parts_code_key UNIQUE,
    amount INTEGER NOT NULL DEFAULT 1 CONSTRAINT parts_amount_check CHECK (amount >= 0),
    label TEXT
);
CREATE TABLE bins (
    id INTEGER PRIMARY KEY,
    part INTEGER NOT NULL CONSTRAINT bins_part_fkey REFERENCES parts (id),
    label TEXT
);
CREATE TABLE kinds (
    id INTEGER PRIMARY KEY,
    big INTEGER,
    yes BOOLEAN,
    whole DOUBLE,
    words TEXT,
    day DATE,
    local DATETIME,
    bytes BLOB
);
