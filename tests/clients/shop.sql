-- The PostgreSQL store of the client tests: one column of every type that drivers treat in their own way, and tables with
-- every kind of constraint that clients ask the catalog for.
CREATE TABLE kinds (
    id integer PRIMARY KEY,
    small smallint,
    big bigint,
    yes boolean,
    exact numeric(20, 5),
    wide numeric,
    half real,
    whole double precision,
    words text,
    code varchar(10),
    day date,
    at timestamptz,
    local timestamp,
    key uuid,
    doc jsonb,
    raw json,
    bytes bytea,
    numbers integer[],
    tags text[]
);
INSERT INTO kinds VALUES
    (1, -32768, 9223372036854775807, true, 12345.67890, 123456789012345678901234567890.123456789, 1.5, -0.1, 'naïve 漢字 🦀',
     'abc', '2024-02-29', '2024-02-29 12:34:56.789012+02', '1999-12-31 23:59:59', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
     '{"a": [1, 2], "b": null}', '{"z": 1}', '\x00ff10', '{1,NULL,3}', '{"a b","c\"d",NULL}'),
    (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE customers (
    id integer PRIMARY KEY,
    email text NOT NULL CONSTRAINT customers_email_key UNIQUE,
    name varchar(40) DEFAULT 'nobody'
);
COMMENT ON TABLE customers IS 'Who buys';
COMMENT ON COLUMN customers.email IS 'In lower case';
INSERT INTO customers VALUES (1, 'ada@example.org', 'Ada'), (2, 'bob@example.org', 'Bob');

CREATE TABLE orders (
    id bigint PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers (id),
    total numeric(10, 2) NOT NULL DEFAULT 0,
    placed timestamptz DEFAULT now(),
    CONSTRAINT orders_total_check CHECK (total >= 0)
);
CREATE INDEX orders_customer_idx ON orders (customer_id, placed);
INSERT INTO orders VALUES (1, 1, 9.50, '2024-01-01 00:00:00+00'), (2, 2, 20.00, '2024-01-02 00:00:00+00');

CREATE TABLE refunds (
    order_id bigint PRIMARY KEY REFERENCES orders (id) ON UPDATE CASCADE ON DELETE SET NULL,
    reason text CHECK (reason <> '')
);

CREATE VIEW totals AS SELECT customer_id, sum(total) AS total FROM orders GROUP BY customer_id;
