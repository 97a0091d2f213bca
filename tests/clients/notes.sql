-- The SQLite store of the client tests: a large table for streaming, and a table with a document in it.
CREATE TABLE numbers (id INTEGER PRIMARY KEY, square INTEGER NOT NULL, label TEXT NOT NULL);
INSERT INTO numbers
    WITH RECURSIVE count (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 200000)
    SELECT n, n * n, 'number ' || n FROM count;
CREATE TABLE reviews (id INTEGER PRIMARY KEY, order_id INTEGER, doc TEXT);
INSERT INTO reviews VALUES (1, 1, '{"stars": 5, "text": "fine"}'), (2, 2, '{"stars": 1, "text": "späť"}');
CREATE TABLE stars (review INTEGER REFERENCES reviews (id) ON DELETE CASCADE, stars INTEGER CHECK (stars BETWEEN 1 AND 5));
