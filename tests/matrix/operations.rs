//! What is tried: operations as templates of statements, and columns of every type in every store.
//!
//! `{t}` is a table, `{k}` its key, `{c}` the column, `{l}` and `{m}` literals of its type, `{o}` another column of it.

use super::Stays;

/// The stores of the stage by their schemas, in the order of the matrix.
pub const STORES: [(&str, &str); 4] = [("shop", "PostgreSQL"), ("crm", "MariaDB"), ("archive", "SQLite"), ("field", "MongoDB")];

/// A column of a store that stands for a type.
pub struct Sample {
    pub ty: &'static str,
    /// For each store its table, the table's key and the column, if it has the type.
    pub columns: [Option<(&'static str, &'static str, &'static str)>; 4],
    pub literals: [&'static str; 2],
}

/// Every type that is tried, the nasty values among it.
pub const SAMPLES: &[Sample] = &[
    Sample {
        ty: "integer",
        columns: [
            Some(("shop.customers", "id", "small")),
            Some(("crm.clients", "id", "tier")),
            Some(("archive.parcels", "id", "order_no")),
            Some(("field.visits", "no", "client")),
        ],
        literals: ["2", "7"],
    },
    Sample {
        ty: "numeric",
        columns: [
            Some(("shop.customers", "id", "balance")),
            Some(("crm.clients", "id", "credit")),
            Some(("archive.parcels", "id", "weight")),
            Some(("field.visits", "no", "amount")),
        ],
        literals: ["-0.01", "12.5"],
    },
    Sample {
        ty: "numeric (unconstrained)",
        columns: [Some(("shop.customers", "id", "wide")), None, None, None],
        literals: ["-0.01", "12.5"],
    },
    Sample {
        ty: "double precision",
        columns: [
            Some(("shop.moves", "id", "factor")),
            Some(("crm.clients", "id", "ratio")),
            Some(("archive.stamps", "id", "weight")),
            Some(("field.readings", "no", "level")),
        ],
        literals: ["0", "2.5"],
    },
    Sample {
        ty: "text",
        columns: [
            Some(("shop.customers", "id", "name")),
            Some(("crm.clients", "id", "name")),
            Some(("archive.parcels", "id", "label")),
            Some(("field.visits", "no", "mood")),
        ],
        literals: ["'Ada'", "'zoe'"],
    },
    Sample {
        ty: "text (compared in its own way by the store)",
        columns: [
            Some(("shop.orders", "id", "status")),
            Some(("crm.clients", "id", "city")),
            Some(("archive.stamps", "id", "label")),
            Some(("field.visits", "no", "mixed")),
        ],
        literals: ["'Oslo'", "'open'"],
    },
    Sample {
        ty: "text (compared by bytes)",
        columns: [Some(("shop.products", "id", "title")), Some(("crm.clients", "id", "code")), None, None],
        literals: ["'A1'", "'b'"],
    },
    Sample {
        ty: "date",
        columns: [
            Some(("shop.customers", "id", "born")),
            Some(("crm.clients", "id", "since")),
            Some(("archive.parcels", "id", "sent")),
            None,
        ],
        literals: ["DATE '1969-12-31'", "DATE '9999-12-31'"],
    },
    Sample {
        ty: "timestamp",
        columns: [
            Some(("shop.orders", "id", "placed")),
            Some(("crm.clients", "id", "seen")),
            Some(("archive.parcels", "id", "noted")),
            None,
        ],
        literals: ["TIMESTAMP '1969-12-31 23:59:59.999999'", "TIMESTAMP '2024-02-29 12:30:45.123456'"],
    },
    Sample {
        ty: "timestamptz",
        columns: [
            Some(("shop.customers", "id", "seen")),
            Some(("crm.calls", "id", "at")),
            None,
            Some(("field.visits", "no", "at")),
        ],
        literals: ["TIMESTAMPTZ '1969-12-31 23:59:59.999999+00'", "TIMESTAMPTZ '2024-02-29 12:30:45.123+00'"],
    },
    Sample {
        ty: "boolean",
        columns: [
            Some(("shop.customers", "id", "active")),
            None,
            Some(("archive.parcels", "id", "ok")),
            Some(("field.visits", "no", "open")),
        ],
        literals: ["true", "false"],
    },
    Sample {
        ty: "uuid",
        columns: [Some(("shop.customers", "id", "token")), None, Some(("archive.parcels", "id", "ref")), None],
        literals: ["UUID 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "UUID 'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
    },
    Sample {
        ty: "bytea",
        columns: [
            Some(("shop.customers", "id", "raw")),
            Some(("crm.clients", "id", "raw")),
            Some(("archive.parcels", "id", "body")),
            None,
        ],
        literals: ["'\\x00ff'::bytea", "'\\x41'::bytea"],
    },
];

/// A row of the matrix, for every type that fits.
pub struct Operation {
    pub name: &'static str,
    pub sql: &'static str,
    /// What stays here when the store does not do it.
    pub stays: Stays,
    pub types: &'static [&'static str],
}

const ALL: &[&str] = &[
    "integer",
    "numeric",
    "numeric (unconstrained)",
    "double precision",
    "text",
    "text (compared in its own way by the store)",
    "text (compared by bytes)",
    "date",
    "timestamp",
    "timestamptz",
    "boolean",
    "uuid",
    "bytea",
];
const NUMBERS: &[&str] = &["integer", "numeric", "numeric (unconstrained)", "double precision"];
const EXACT_NUMBERS: &[&str] = &["integer", "numeric", "numeric (unconstrained)"];
const TEXTS: &[&str] = &["text", "text (compared in its own way by the store)", "text (compared by bytes)"];
const TIMES: &[&str] = &["date", "timestamp", "timestamptz"];
const BOOLEAN: &[&str] = &["boolean"];
/// One of each family.
const SOME: &[&str] = &["integer", "numeric", "double precision", "text", "date", "timestamptz", "boolean"];
const MOST: &[&str] = &["integer", "numeric", "double precision", "text", "date", "timestamp", "timestamptz"];
const KEYS: &[&str] =
    &["integer", "numeric", "text", "text (compared in its own way by the store)", "text (compared by bytes)", "date", "uuid"];

const fn row(name: &'static str, sql: &'static str, stays: Stays, types: &'static [&'static str]) -> Operation {
    Operation { name, sql, stays, types }
}

/// The sections of the matrix.
pub const SECTIONS: &[(&str, &[Operation])] = &[
    ("Conditions", CONDITIONS),
    ("Expressions, in a condition that the store must compute", EXPRESSIONS),
    ("Joins and subqueries within one store, by the type of the key", JOINS),
    ("Aggregates", AGGREGATES),
    ("Orders and limits", ORDERS),
    ("Set operations and windows", OTHERS),
];

const CONDITIONS: &[Operation] = &[
    row("=", "SELECT {k}, {c} FROM {t} WHERE {c} = {l}", Stays::Filter, ALL),
    row("<>", "SELECT {k}, {c} FROM {t} WHERE {c} <> {l}", Stays::Filter, ALL),
    row("<", "SELECT {k}, {c} FROM {t} WHERE {c} < {m}", Stays::Filter, ALL),
    row("<=", "SELECT {k}, {c} FROM {t} WHERE {c} <= {l}", Stays::Filter, MOST),
    row(">", "SELECT {k}, {c} FROM {t} WHERE {c} > {l}", Stays::Filter, ALL),
    row(">=", "SELECT {k}, {c} FROM {t} WHERE {c} >= {m}", Stays::Filter, MOST),
    row("BETWEEN", "SELECT {k}, {c} FROM {t} WHERE {c} BETWEEN {l} AND {m}", Stays::Filter, MOST),
    row("IN", "SELECT {k}, {c} FROM {t} WHERE {c} IN ({l}, {m})", Stays::Filter, ALL),
    row("NOT IN", "SELECT {k}, {c} FROM {t} WHERE {c} NOT IN ({l}, {m})", Stays::Filter, ALL),
    row("IS NULL", "SELECT {k}, {c} FROM {t} WHERE {c} IS NULL", Stays::Filter, ALL),
    row("IS NOT NULL", "SELECT {k}, {c} FROM {t} WHERE {c} IS NOT NULL", Stays::Filter, ALL),
    row("LIKE", "SELECT {k}, {c} FROM {t} WHERE {c} LIKE 'A%'", Stays::Filter, TEXTS),
    row("ILIKE", "SELECT {k}, {c} FROM {t} WHERE {c} ILIKE '%o%'", Stays::Filter, TEXTS),
    row("AND, OR, NOT", "SELECT {k} FROM {t} WHERE NOT ({c} = {l} AND {k} > 5) OR {c} = {m}", Stays::Filter, SOME),
    row("IS DISTINCT FROM", "SELECT {k}, {c} FROM {t} WHERE {c} IS DISTINCT FROM {l}", Stays::Filter, SOME),
];

const EXPRESSIONS: &[Operation] = &[
    row("+", "SELECT {k} FROM {t} WHERE {c} + 1 > {l}", Stays::Filter, NUMBERS),
    row("-", "SELECT {k} FROM {t} WHERE {c} - 1 < {m}", Stays::Filter, NUMBERS),
    row("*", "SELECT {k} FROM {t} WHERE {c} * 2 = 4", Stays::Filter, NUMBERS),
    row("/", "SELECT {k} FROM {t} WHERE {c} / 2 >= 1", Stays::Filter, NUMBERS),
    row("%", "SELECT {k} FROM {t} WHERE {c} % 3 = 1", Stays::Filter, EXACT_NUMBERS),
    row("||", "SELECT {k} FROM {t} WHERE {c} || 'x' = 'Adax'", Stays::Filter, TEXTS),
    row("cast to text", "SELECT {k} FROM {t} WHERE {c}::text = '1'", Stays::Filter, MOST),
    row("cast to numeric", "SELECT {k} FROM {t} WHERE {c}::numeric = 2.5", Stays::Filter, NUMBERS),
    row("CASE", "SELECT {k} FROM {t} WHERE CASE WHEN {c} = {l} THEN 1 ELSE {k} END = 1", Stays::Filter, SOME),
    row("COALESCE", "SELECT {k} FROM {t} WHERE COALESCE({c}, {l}) = {l}", Stays::Filter, SOME),
    row("upper", "SELECT {k} FROM {t} WHERE upper({c}) = 'ADA'", Stays::Filter, TEXTS),
    row("lower", "SELECT {k} FROM {t} WHERE lower({c}) = 'zoë'", Stays::Filter, TEXTS),
    row("length", "SELECT {k} FROM {t} WHERE length({c}) = 3", Stays::Filter, TEXTS),
    row("substring", "SELECT {k} FROM {t} WHERE substring({c} FROM 1 FOR 1) = 'A'", Stays::Filter, TEXTS),
    row("extract(year)", "SELECT {k} FROM {t} WHERE extract(year FROM {c}) = 2024", Stays::Filter, TIMES),
    row("+ interval", "SELECT {k} FROM {t} WHERE {c} + INTERVAL '1 day' > {l}", Stays::Filter, TIMES),
    row("date_trunc", "SELECT {k} FROM {t} WHERE date_trunc('month', {c}) = {l}", Stays::Filter, TIMES),
];

const JOINS: &[Operation] = &[
    row(
        "JOIN",
        "SELECT a.{k}, b.{k} AS o FROM {t} a JOIN {t} b ON a.{c} = b.{c} WHERE a.{k} < 9 AND b.{k} < 20",
        Stays::Join,
        KEYS,
    ),
    row(
        "LEFT JOIN",
        "SELECT a.{k}, b.{k} AS o FROM {t} a LEFT JOIN {t} b ON a.{c} = b.{c} AND b.{k} < 9 WHERE a.{k} < 9",
        Stays::Join,
        KEYS,
    ),
    row("FULL JOIN", "SELECT a.{k}, b.{k} AS o FROM {t} a FULL JOIN {t} b ON a.{c} = b.{c} AND a.{k} = b.{k}", Stays::Join, KEYS),
    row("EXISTS", "SELECT a.{k} FROM {t} a WHERE EXISTS (SELECT FROM {t} b WHERE b.{c} = a.{c} AND b.{k} < 4)", Stays::Join, KEYS),
    row(
        "NOT EXISTS",
        "SELECT a.{k} FROM {t} a WHERE NOT EXISTS (SELECT FROM {t} b WHERE b.{c} = a.{c} AND b.{k} < 4)",
        Stays::Join,
        KEYS,
    ),
    row("IN", "SELECT {k} FROM {t} WHERE {c} IN (SELECT b.{c} FROM {t} b WHERE b.{k} < 5)", Stays::Join, KEYS),
    row("NOT IN", "SELECT {k} FROM {t} WHERE {c} NOT IN (SELECT b.{c} FROM {t} b WHERE b.{k} < 3)", Stays::Join, KEYS),
    row("scalar subquery", "SELECT a.{k}, (SELECT max(b.{k}) FROM {t} b WHERE b.{c} = a.{c}) AS m FROM {t} a", Stays::Join, KEYS),
];

const AGGREGATES: &[Operation] = &[
    row("count(*)", "SELECT count(*) AS n FROM {t} WHERE {c} IS NOT NULL", Stays::Aggregate, &["integer"]),
    row("count", "SELECT count({c}) AS n FROM {t}", Stays::Aggregate, ALL),
    row("count(DISTINCT)", "SELECT count(DISTINCT {c}) AS n FROM {t}", Stays::Aggregate, ALL),
    row("sum", "SELECT sum({c}) AS n FROM {t} WHERE {k} < 100", Stays::Aggregate, NUMBERS),
    row("sum(DISTINCT)", "SELECT sum(DISTINCT {c}) AS n FROM {t}", Stays::Aggregate, EXACT_NUMBERS),
    row("avg", "SELECT avg({c}) AS n FROM {t} WHERE {c} < 100", Stays::Aggregate, NUMBERS),
    row("min", "SELECT min({c}) AS n FROM {t}", Stays::Aggregate, &ALL_ORDERED),
    row("max", "SELECT max({c}) AS n FROM {t}", Stays::Aggregate, &ALL_ORDERED),
    row("bool_and", "SELECT bool_and({c}) AS n, bool_or({c}) AS m FROM {t}", Stays::Aggregate, BOOLEAN),
    row("FILTER", "SELECT count(*) FILTER (WHERE {c} = {l}) AS n FROM {t}", Stays::Aggregate, SOME),
    row("of no rows", "SELECT count({c}) AS n, max({k}) AS m FROM {t} WHERE {k} < -5", Stays::Aggregate, SOME),
    row("GROUP BY", "SELECT {c}, count(*) AS n FROM {t} GROUP BY {c}", Stays::Aggregate, ALL),
    row("HAVING", "SELECT {c}, max({k}) AS n FROM {t} GROUP BY {c} HAVING count(*) > 3", Stays::Aggregate, SOME),
    row("DISTINCT", "SELECT DISTINCT {c} FROM {t}", Stays::Aggregate, ALL),
];

const ALL_ORDERED: [&str; 10] = [
    "integer",
    "numeric",
    "numeric (unconstrained)",
    "double precision",
    "text",
    "text (compared in its own way by the store)",
    "text (compared by bytes)",
    "date",
    "timestamp",
    "timestamptz",
];

const ORDERS: &[Operation] = &[
    row("ORDER BY", "SELECT {k}, {c} FROM {t} ORDER BY {c}, {k}", Stays::Sort, ALL),
    row("ORDER BY … DESC", "SELECT {k}, {c} FROM {t} ORDER BY {c} DESC, {k}", Stays::Sort, MOST),
    row("NULLS FIRST", "SELECT {k}, {c} FROM {t} ORDER BY {c} NULLS FIRST, {k}", Stays::Sort, MOST),
    row("DESC NULLS LAST", "SELECT {k}, {c} FROM {t} ORDER BY {c} DESC NULLS LAST, {k}", Stays::Sort, MOST),
    row("LIMIT", "SELECT count(*) AS n FROM (SELECT {k} FROM {t} LIMIT 5) s", Stays::Limit, &["integer"]),
    row("LIMIT with a condition", "SELECT count(*) AS n FROM (SELECT {k} FROM {t} WHERE {c} = {l} LIMIT 2) s", Stays::Limit, SOME),
    row("ORDER BY … LIMIT", "SELECT {k}, {c} FROM {t} ORDER BY {c} DESC, {k} LIMIT 7 OFFSET 2", Stays::Sort, ALL),
];

const OTHERS: &[Operation] = &[
    row("UNION ALL", "SELECT {c} FROM {t} WHERE {k} < 9 UNION ALL SELECT {c} FROM {t} WHERE {k} > 90", Stays::Union, SOME),
    row("row_number", "SELECT {k}, row_number() OVER (PARTITION BY {c} ORDER BY {k}) AS n FROM {t}", Stays::Window, SOME),
    row("rank", "SELECT {k}, rank() OVER (ORDER BY {c}) AS n FROM {t}", Stays::Window, SOME),
    row("sum OVER", "SELECT {k}, sum({k}) OVER (PARTITION BY {c} ORDER BY {k}) AS n FROM {t}", Stays::Window, SOME),
];
