//! What is tried: operations as templates of statements.
//!
//! `{t}` is a table, `{k}` its key, `{c}` the column, `{l}` and `{m}` literals of its type.

use super::Stays;

/// A row of the matrix, for every type that fits.
pub struct Operation {
    pub name: &'static str,
    pub sql: &'static str,
    /// What stays here when the store does not do it.
    pub stays: Stays,
    pub types: &'static [&'static str],
    /// The time zone of the session.
    pub zone: &'static str,
}

const ALL: &[&str] = &[
    "integer",
    "numeric",
    "numeric (38 digits)",
    "numeric (unconstrained)",
    "double precision",
    "double precision (zeros of both signs)",
    "text",
    "text (compared in its own way by the store)",
    "text (compared by bytes)",
    "text (whose trailing blanks do not count in the store)",
    "character(n)",
    "enum",
    "date",
    "timestamp",
    "timestamptz",
    "boolean",
    "uuid",
    "bytea",
];
/// As `ALL`, for literals that have become texts, to which PostgreSQL has labels of a type of its own be equal only as texts.
const EQUAL_TO_TEXTS: &[&str] = &[
    "integer",
    "numeric",
    "numeric (38 digits)",
    "numeric (unconstrained)",
    "double precision",
    "double precision (zeros of both signs)",
    "text",
    "text (compared in its own way by the store)",
    "text (compared by bytes)",
    "text (whose trailing blanks do not count in the store)",
    "character(n)",
    "text (an enum in the store)",
    "date",
    "timestamp",
    "timestamptz",
    "boolean",
    "uuid",
    "bytea",
];
const NUMBERS: &[&str] = &["integer", "numeric", "numeric (38 digits)", "numeric (unconstrained)", "double precision"];
const EXACT_NUMBERS: &[&str] = &["integer", "numeric", "numeric (38 digits)", "numeric (unconstrained)"];
const TEXTS: &[&str] = &[
    "text",
    "text (compared in its own way by the store)",
    "text (compared by bytes)",
    "text (whose trailing blanks do not count in the store)",
];
const TEXT: &[&str] = &["text"];
const TIMES: &[&str] = &["date", "timestamp", "timestamptz"];
const ZONED: &[&str] = &["timestamptz"];
const BOOLEAN: &[&str] = &["boolean"];
const INTEGER: &[&str] = &["integer"];
/// One of each family.
const SOME: &[&str] = &["integer", "numeric", "double precision", "text", "date", "timestamptz", "boolean"];
/// One of each kind of trouble.
const FEW: &[&str] = &["integer", "numeric", "text", "timestamptz"];
const MOST: &[&str] = &["integer", "numeric", "double precision", "text", "date", "timestamp", "timestamptz"];
/// Those whose equal values look alike.
const PLAIN: &[&str] = &["integer", "numeric", "text", "date", "timestamptz", "boolean"];
const KEYS: &[&str] = &[
    "integer",
    "numeric",
    "text",
    "text (compared in its own way by the store)",
    "text (compared by bytes)",
    "text (whose trailing blanks do not count in the store)",
    "date",
    "uuid",
];
/// Whose equality is not that of their bytes.
const LOOSE: &[&str] = &["double precision (zeros of both signs)", "numeric (38 digits)", "character(n)"];
const ARRAYS: &[&str] = &["text[]", "integer[]"];
const DOCUMENTS: &[&str] = &["text in a document", "number in a document"];
const KEY: &[&str] = &["key"];
const ORDERED: &[&str] = &[
    "integer",
    "numeric",
    "numeric (38 digits)",
    "numeric (unconstrained)",
    "double precision",
    "double precision (zeros of both signs)",
    "text",
    "text (compared in its own way by the store)",
    "text (compared by bytes)",
    "text (whose trailing blanks do not count in the store)",
    "enum",
    "date",
    "timestamp",
    "timestamptz",
];

const fn row(name: &'static str, sql: &'static str, stays: Stays, types: &'static [&'static str]) -> Operation {
    Operation { name, sql, stays, types, zone: "UTC" }
}

/// In a session whose clock changes in summer.
const fn zoned(name: &'static str, sql: &'static str, stays: Stays, types: &'static [&'static str]) -> Operation {
    Operation { name, sql, stays, types, zone: "America/New_York" }
}

/// The sections of the matrix.
pub const SECTIONS: &[(&str, &[Operation])] = &[
    ("Conditions", CONDITIONS),
    ("Expressions, in a condition that the store must compute", EXPRESSIONS),
    ("Expressions in the select list, of a part that the store runs", PROJECTIONS),
    ("Times in a session of another time zone", ZONES),
    ("Arrays and documents", NESTED),
    ("Lists of rows", LISTS),
    ("Lookups by two keys in one statement, of a join with rows that are not the store's", LOOKUPS),
    ("Joins and subqueries within one store, by the type of the key", JOINS),
    ("Joins with the rows that a key names (`$lookup` in MongoDB)", KEYED_JOINS),
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
    row("IS NOT DISTINCT FROM", "SELECT {k}, {c} FROM {t} WHERE {c} IS NOT DISTINCT FROM {l}", Stays::Filter, FEW),
    row("NOT BETWEEN", "SELECT {k}, {c} FROM {t} WHERE {c} NOT BETWEEN {l} AND {m}", Stays::Filter, MOST),
    row("IN with NULL", "SELECT {k}, {c} FROM {t} WHERE {c} IN ({l}, NULL)", Stays::Filter, FEW),
    row("NOT IN with NULL", "SELECT {k}, {c} FROM {t} WHERE {c} NOT IN ({l}, NULL)", Stays::Filter, FEW),
    row("= ANY", "SELECT {k}, {c} FROM {t} WHERE {c} = ANY (ARRAY[{l}, {m}])", Stays::Filter, FEW),
    row("<> ALL", "SELECT {k}, {c} FROM {t} WHERE {c} <> ALL (ARRAY[{l}, {m}])", Stays::Filter, FEW),
    row("NOT LIKE", "SELECT {k}, {c} FROM {t} WHERE {c} NOT LIKE 'A%'", Stays::Filter, TEXTS),
    row("LIKE, in the middle", "SELECT {k}, {c} FROM {t} WHERE {c} LIKE '%o_e%'", Stays::Filter, TEXTS),
    row("~", "SELECT {k}, {c} FROM {t} WHERE {c} ~ '^[A-Z]'", Stays::Filter, TEXTS),
    row("IS TRUE", "SELECT {k}, {c} FROM {t} WHERE {c} IS TRUE", Stays::Filter, BOOLEAN),
    row("IS NOT FALSE", "SELECT {k}, {c} FROM {t} WHERE {c} IS NOT FALSE", Stays::Filter, BOOLEAN),
    row("NOT", "SELECT {k}, {c} FROM {t} WHERE NOT {c}", Stays::Filter, BOOLEAN),
    row("a column and a column", "SELECT {k} FROM {t} WHERE {c} < {k}", Stays::Filter, &["integer", "numeric", "double precision"]),
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
    row("- (of one)", "SELECT {k} FROM {t} WHERE -{c} < {l}", Stays::Filter, &["numeric", "double precision"]),
    row("abs", "SELECT {k} FROM {t} WHERE abs({c}) > 2", Stays::Filter, &["numeric", "numeric (38 digits)", "double precision"]),
    row("round", "SELECT {k} FROM {t} WHERE round({c}) = 12", Stays::Filter, NUMBERS),
    row(
        "cast to bigint",
        "SELECT {k} FROM {t} WHERE CASE WHEN {c} > -1000 AND {c} < 1000 THEN {c}::bigint END = 2",
        Stays::Filter,
        EXACT_NUMBERS,
    ),
    row("cast to double precision", "SELECT {k} FROM {t} WHERE {c}::double precision > 2.5", Stays::Filter, EXACT_NUMBERS),
    row("cast to date", "SELECT {k} FROM {t} WHERE {c}::date = DATE '2024-02-29'", Stays::Filter, TIMES),
    row("NULLIF", "SELECT {k} FROM {t} WHERE NULLIF({c}, {l}) IS NULL", Stays::Filter, SOME),
    row("GREATEST", "SELECT {k} FROM {t} WHERE GREATEST({c}, {l}) = {l}", Stays::Filter, SOME),
    row("trim", "SELECT {k} FROM {t} WHERE trim({c}) = 'ada'", Stays::Filter, TEXTS),
    row("replace", "SELECT {k} FROM {t} WHERE replace({c}, 'a', 'o') = 'Ado'", Stays::Filter, TEXTS),
    row("strpos", "SELECT {k} FROM {t} WHERE strpos({c}, 'd') = 2", Stays::Filter, TEXTS),
    row("extract(dow)", "SELECT {k} FROM {t} WHERE extract(dow FROM {c}) = 4", Stays::Filter, TIMES),
    row(
        "date - date",
        "SELECT {k} FROM {t} WHERE CASE WHEN isfinite({c}) THEN {c} - DATE '2024-01-01' END > 50",
        Stays::Filter,
        &["date"],
    ),
];

/// The first rows by their key make it a part that is worth sending: of one table alone columns are computed here.
const PROJECTIONS: &[Operation] = &[
    row("=", "SELECT {k}, {c} = {l} AS v FROM {t} ORDER BY {k} LIMIT 60", Stays::Projection, FEW),
    row("<", "SELECT {k}, {c} < {m} AS v FROM {t} ORDER BY {k} LIMIT 60", Stays::Projection, FEW),
    row("IN", "SELECT {k}, {c} IN ({l}, {m}) AS v FROM {t} ORDER BY {k} LIMIT 60", Stays::Projection, FEW),
    row("IS NULL", "SELECT {k}, {c} IS NULL AS v FROM {t} ORDER BY {k} LIMIT 60", Stays::Projection, FEW),
    row("LIKE", "SELECT {k}, {c} LIKE 'A%' AS v FROM {t} ORDER BY {k} LIMIT 60", Stays::Projection, TEXTS),
    row("+", "SELECT {k}, {c} + 1 AS v FROM {t} ORDER BY {k} LIMIT 60", Stays::Projection, &["numeric", "double precision"]),
    row("*", "SELECT {k}, {c} * 2 AS v FROM {t} WHERE {k} < 20 ORDER BY {k} LIMIT 60", Stays::Projection, EXACT_NUMBERS),
    row("||", "SELECT {k}, {c} || 'x' AS v FROM {t} ORDER BY {k} LIMIT 60", Stays::Projection, TEXTS),
    row("cast to text", "SELECT {k}, {c}::text AS v FROM {t} ORDER BY {k} LIMIT 60", Stays::Projection, MOST),
    row("CASE", "SELECT {k}, CASE WHEN {c} = {l} THEN 1 ELSE 2 END AS v FROM {t} ORDER BY {k} LIMIT 60", Stays::Projection, FEW),
    row("COALESCE", "SELECT {k}, COALESCE({c}, {l}) AS v FROM {t} ORDER BY {k} LIMIT 60", Stays::Projection, FEW),
    row("upper", "SELECT {k}, upper({c}) AS v FROM {t} ORDER BY {k} LIMIT 60", Stays::Projection, TEXT),
    row("length", "SELECT {k}, length({c}) AS v FROM {t} ORDER BY {k} LIMIT 60", Stays::Projection, TEXTS),
    row("extract(year)", "SELECT {k}, extract(year FROM {c}) AS v FROM {t} ORDER BY {k} LIMIT 60", Stays::Projection, TIMES),
    row("of one table alone", "SELECT {k}, {c} IS NULL AS v FROM {t}", Stays::Projection, INTEGER),
];

/// New York's clock has an hour twice, and one never; Berlin's too, on other days.
const ZONES: &[Operation] = &[
    zoned("the column", "SELECT {k}, {c} FROM {t} WHERE {c} IS NOT NULL", Stays::Filter, ZONED),
    zoned(
        "= a time of another zone",
        "SELECT {k} FROM {t} WHERE {c} = TIMESTAMPTZ '2024-02-29 13:30:45.123 Europe/Berlin'",
        Stays::Filter,
        ZONED,
    ),
    zoned("< a local time", "SELECT {k} FROM {t} WHERE {c} < TIMESTAMPTZ '2024-03-10 02:30:00'", Stays::Filter, ZONED),
    zoned("< a date", "SELECT {k} FROM {t} WHERE {c} < DATE '2024-03-10'", Stays::Filter, ZONED),
    zoned("cast to date", "SELECT {k} FROM {t} WHERE {c}::date = DATE '1969-12-31'", Stays::Filter, ZONED),
    zoned("cast to timestamp", "SELECT {k} FROM {t} WHERE {c}::timestamp > TIMESTAMP '2024-01-01'", Stays::Filter, ZONED),
    zoned(
        "cast of a timestamp",
        "SELECT {k} FROM {t} WHERE {c}::timestamptz > TIMESTAMPTZ '2024-01-01'",
        Stays::Filter,
        &["timestamp"],
    ),
    zoned(
        "AT TIME ZONE",
        "SELECT {k} FROM {t} WHERE {c} AT TIME ZONE 'Europe/Berlin' > TIMESTAMP '2024-01-01'",
        Stays::Filter,
        ZONED,
    ),
    zoned("extract(hour)", "SELECT {k} FROM {t} WHERE extract(hour FROM {c}) = 19", Stays::Filter, ZONED),
    zoned("extract(epoch)", "SELECT {k} FROM {t} WHERE extract(epoch FROM {c}) < 0", Stays::Filter, ZONED),
    zoned("date_trunc", "SELECT {k} FROM {t} WHERE date_trunc('day', {c}) = TIMESTAMPTZ '1969-12-31'", Stays::Filter, ZONED),
    zoned("+ interval", "SELECT {k} FROM {t} WHERE {c} + INTERVAL '1 day' > {m}", Stays::Filter, ZONED),
    zoned("GROUP BY", "SELECT {c}, count(*) AS n FROM {t} GROUP BY {c}", Stays::Aggregate, ZONED),
    zoned("GROUP BY its date", "SELECT {c}::date AS d, count(*) AS n FROM {t} GROUP BY {c}::date", Stays::Aggregate, ZONED),
    zoned("max", "SELECT max({c}) AS n FROM {t}", Stays::Aggregate, ZONED),
    zoned("ORDER BY … LIMIT", "SELECT {k}, {c} FROM {t} ORDER BY {c} DESC, {k} LIMIT 7", Stays::Sort, ZONED),
];

const NESTED: &[Operation] = &[
    row("=", "SELECT {k} FROM {t} WHERE {c} = {l}", Stays::Filter, ARRAYS),
    row("<>", "SELECT {k} FROM {t} WHERE {c} <> {l}", Stays::Filter, ARRAYS),
    row("<", "SELECT {k} FROM {t} WHERE {c} < {l}", Stays::Filter, ARRAYS),
    row("IS NULL", "SELECT {k} FROM {t} WHERE {c} IS NULL", Stays::Filter, ARRAYS),
    row("@>", "SELECT {k} FROM {t} WHERE {c} @> {l}", Stays::Filter, ARRAYS),
    row("&&", "SELECT {k} FROM {t} WHERE {c} && {l}", Stays::Filter, ARRAYS),
    row("= ANY", "SELECT {k} FROM {t} WHERE 'a' = ANY ({c})", Stays::Filter, &["text[]"]),
    row("= ANY", "SELECT {k} FROM {t} WHERE 5 = ANY ({c})", Stays::Filter, &["integer[]"]),
    row("an element", "SELECT {k} FROM {t} WHERE ({c})[1] = 'a'", Stays::Filter, &["text[]"]),
    row("an element", "SELECT {k} FROM {t} WHERE ({c})[1] = 1", Stays::Filter, &["integer[]"]),
    row("cardinality", "SELECT {k} FROM {t} WHERE cardinality({c}) = 2", Stays::Filter, ARRAYS),
    row("the column", "SELECT {k}, {c} FROM {t} ORDER BY {k} LIMIT 60", Stays::Sort, ARRAYS),
    row("unnest", "SELECT {k}, e FROM {t}, unnest({c}) AS u(e) WHERE {k} < 20", Stays::Unnest, ARRAYS),
    row("count", "SELECT count({c}) AS n FROM {t}", Stays::Aggregate, ARRAYS),
    row("GROUP BY", "SELECT {c}, count(*) AS n FROM {t} GROUP BY {c}", Stays::Aggregate, ARRAYS),
    row("DISTINCT", "SELECT DISTINCT {c} FROM {t}", Stays::Aggregate, ARRAYS),
    row("ORDER BY", "SELECT {k}, {c} FROM {t} ORDER BY {c}, {k}", Stays::Sort, ARRAYS),
    row(
        "JOIN",
        "SELECT a.{k}, b.{k} AS o FROM {t} a JOIN {t} b ON a.{c} = b.{c} WHERE a.{k} < 9 AND b.{k} < 20",
        Stays::Join,
        ARRAYS,
    ),
    row("=", "SELECT {k} FROM {t} WHERE {c} = {l}", Stays::Filter, DOCUMENTS),
    row("<", "SELECT {k} FROM {t} WHERE {c} < {m}", Stays::Filter, DOCUMENTS),
    row("IN", "SELECT {k} FROM {t} WHERE {c} IN ({l}, {m})", Stays::Filter, DOCUMENTS),
    row("IS NULL", "SELECT {k} FROM {t} WHERE {c} IS NULL", Stays::Filter, DOCUMENTS),
    row("LIKE", "SELECT {k} FROM {t} WHERE {c} LIKE 'A%'", Stays::Filter, &["text in a document"]),
    row("the field", "SELECT {k}, {c} AS v FROM {t} ORDER BY {k} LIMIT 60", Stays::Projection, DOCUMENTS),
    row("GROUP BY", "SELECT {c} AS v, count(*) AS n FROM {t} GROUP BY {c}", Stays::Aggregate, DOCUMENTS),
    row("max", "SELECT max({c}) AS n FROM {t}", Stays::Aggregate, DOCUMENTS),
    row("ORDER BY", "SELECT {k}, {c} AS v FROM {t} ORDER BY {c}, {k}", Stays::Sort, DOCUMENTS),
];

/// A NULL in a row is equal to nothing, and makes a row unlike another only where the rest of them does.
const LISTS: &[Operation] = &[
    row("IN", "SELECT {k}, {c} FROM {t} WHERE ({k}, {c}) IN ((1, {l}), (2, {m}), (3, {l}), (5, {m}))", Stays::Filter, ALL),
    row(
        "IN, the column first",
        "SELECT {k}, {c} FROM {t} WHERE ({c}, {k}) IN (({l}, 1), ({m}, 1), ({l}, 2), ({m}, 8))",
        Stays::Filter,
        FEW,
    ),
    row("NOT IN", "SELECT {k}, {c} FROM {t} WHERE ({k}, {c}) NOT IN ((1, {l}), (2, {m}), (3, {l}), (5, {m}))", Stays::Filter, ALL),
    row(
        "IN with NULL",
        "SELECT {k}, {c} FROM {t} WHERE ({k}, {c}) IN ((1, {l}), (2, NULL), (NULL, {m}), (NULL, NULL))",
        Stays::Filter,
        SOME,
    ),
    row("NOT IN with NULL", "SELECT {k}, {c} FROM {t} WHERE ({k}, {c}) NOT IN ((1, {l}), (2, NULL))", Stays::Filter, FEW),
    row(
        "IN of twelve rows",
        "SELECT {k}, {c} FROM {t} WHERE ({k}, {c}) IN ((1, {l}), (1, {m}), (2, {l}), (2, {m}), (3, {l}), (5, {m}), (7, {l}), (8, {m}), (12, {l}), (30, {m}), (99, {l}), (100, {m}))",
        Stays::Filter,
        ALL,
    ),
    row(
        "NOT IN of twelve rows",
        "SELECT {k}, {c} FROM {t} WHERE ({k}, {c}) NOT IN ((1, {l}), (1, {m}), (2, {l}), (2, {m}), (3, {l}), (5, {m}), (7, {l}), (8, {m}), (12, {l}), (30, {m}), (99, {l}), (100, {m}))",
        Stays::Filter,
        FEW,
    ),
    row(
        "IN of twelve rows with NULL",
        "SELECT {k}, {c} FROM {t} WHERE ({k}, {c}) IN ((1, {l}), (1, NULL), (2, {l}), (2, {m}), (3, NULL), (5, {m}), (NULL, {l}), (8, {m}), (12, {l}), (30, {m}), (NULL, NULL), (100, {m}))",
        Stays::Filter,
        SOME,
    ),
    row(
        "IN of three columns",
        "SELECT {k} FROM {t} WHERE ({c}, {k}, {c}) IN (({l}, 1, {l}), ({m}, 2, {m}), ({l}, 3, {m}))",
        Stays::Filter,
        FEW,
    ),
    row("= of two rows", "SELECT {k}, {c} FROM {t} WHERE ({k}, {c}) = (1, {l})", Stays::Filter, FEW),
    row("< of two rows", "SELECT {k}, {c} FROM {t} WHERE ({c}, {k}) < ({m}, 20)", Stays::Filter, FEW),
    row(
        "IN in an aggregate",
        "SELECT count(*) AS n FROM {t} WHERE ({k}, {c}) IN ((1, {l}), (2, {m}), (3, {l}), (5, {m}))",
        Stays::Aggregate,
        FEW,
    ),
];

/// The rows are made here, so that a scan is told its keys when they are known. Not all pairs of their values are among them.
const LOOKUPS: &[Operation] = &[
    row(
        "JOIN",
        "SELECT a.{c}, a.{k} FROM (VALUES (1, {l}), (1, {m}), (2, {m}), (3, {l}), (7, {m}), (12, {l}), (99, {l})) AS v(k, c) JOIN {t} a ON a.{k} = v.k AND a.{c} = v.c",
        Stays::Keys,
        EQUAL_TO_TEXTS,
    ),
    row(
        "JOIN with NULL",
        "SELECT a.{c}, a.{k} FROM (VALUES (1, {l}), (2, NULL), (NULL, {m}), (NULL, NULL), (8, {m}), (4, {l})) AS v(k, c) JOIN {t} a ON a.{k} = v.k AND a.{c} = v.c",
        Stays::Keys,
        SOME,
    ),
    row(
        "LEFT JOIN",
        "SELECT v.k, a.{k} AS o FROM (VALUES (1, {l}), (2, {m}), (3, {l}), (8, {m}), (5, NULL)) AS v(k, c) LEFT JOIN {t} a ON a.{k} = v.k AND a.{c} = v.c",
        Stays::Keys,
        FEW,
    ),
    row(
        "EXISTS",
        "SELECT a.{k} FROM {t} a WHERE EXISTS (SELECT FROM (VALUES (1, {l}), (2, {m}), (3, {l}), (8, {m})) AS v(k, c) WHERE v.k = a.{k} AND v.c = a.{c})",
        Stays::Keys,
        FEW,
    ),
    row(
        "NOT EXISTS",
        "SELECT a.{k} FROM {t} a WHERE NOT EXISTS (SELECT FROM (VALUES (1, {l}), (2, {m}), (3, {l}), (8, {m})) AS v(k, c) WHERE v.k = a.{k} AND v.c = a.{c})",
        Stays::Keys,
        INTEGER,
    ),
    row(
        "IS NOT DISTINCT FROM",
        "SELECT a.{c}, a.{k} FROM (VALUES (1, {l}), (2, NULL), (4, NULL), (8, {m})) AS v(k, c) JOIN {t} a ON a.{k} IS NOT DISTINCT FROM v.k AND a.{c} IS NOT DISTINCT FROM v.c",
        Stays::Keys,
        INTEGER,
    ),
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
    row(
        "JOIN, of values that are not their bytes",
        "SELECT a.{k}, b.{k} AS o FROM {t} a JOIN {t} b ON a.{c} = b.{c} WHERE a.{k} < 9 AND b.{k} < 20",
        Stays::Join,
        LOOSE,
    ),
    row(
        "RIGHT JOIN",
        "SELECT a.{k}, b.{k} AS o FROM {t} a RIGHT JOIN {t} b ON a.{c} = b.{c} AND a.{k} < 9 WHERE b.{k} < 9",
        Stays::Join,
        KEYS,
    ),
    row("CROSS JOIN", "SELECT a.{k}, b.{c} FROM {t} a CROSS JOIN {t} b WHERE a.{k} < 4 AND b.{k} < 5", Stays::Join, INTEGER),
    row(
        "JOIN by two columns",
        "SELECT a.{k}, b.{k} AS o FROM {t} a JOIN {t} b ON a.{c} = b.{c} AND a.{k} = b.{k} WHERE a.{k} < 20",
        Stays::Join,
        KEYS,
    ),
    row(
        "JOIN by <",
        "SELECT a.{k}, b.{k} AS o FROM {t} a JOIN {t} b ON a.{c} < b.{c} WHERE a.{k} < 9 AND b.{k} < 9",
        Stays::Join,
        &["integer", "numeric", "text", "date"],
    ),
    row(
        "JOIN by IS NOT DISTINCT FROM",
        "SELECT a.{k}, b.{k} AS o FROM {t} a JOIN {t} b ON a.{c} IS NOT DISTINCT FROM b.{c} WHERE a.{k} < 9 AND b.{k} < 20",
        Stays::Join,
        &["integer", "numeric", "text", "date"],
    ),
    row(
        "LATERAL",
        "SELECT a.{k}, x.n FROM {t} a, LATERAL (SELECT count(*) AS n FROM {t} b WHERE b.{c} = a.{c}) x WHERE a.{k} < 20",
        Stays::Join,
        &["integer", "text"],
    ),
    row(
        "a join, grouped",
        "SELECT a.{c}, count(*) AS n FROM {t} a JOIN {t} b ON a.{c} = b.{c} WHERE b.{k} < 20 GROUP BY a.{c}",
        Stays::Aggregate,
        KEYS,
    ),
];

const KEYED_JOINS: &[Operation] = &[
    row("JOIN", "SELECT a.{k}, b.{k} AS o FROM {t} a JOIN {t} b ON b.{k} = a.{c}", Stays::Join, KEY),
    row("LEFT JOIN", "SELECT a.{k}, b.{k} AS o FROM {t} a LEFT JOIN {t} b ON b.{k} = a.{c}", Stays::Join, KEY),
    row("RIGHT JOIN", "SELECT a.{k}, b.{k} AS o FROM {t} b RIGHT JOIN {t} a ON b.{k} = a.{c}", Stays::Join, KEY),
    row("EXISTS", "SELECT a.{k} FROM {t} a WHERE EXISTS (SELECT FROM {t} b WHERE b.{k} = a.{c})", Stays::Join, KEY),
    row("NOT EXISTS", "SELECT a.{k} FROM {t} a WHERE NOT EXISTS (SELECT FROM {t} b WHERE b.{k} = a.{c})", Stays::Join, KEY),
    row("IN", "SELECT {k} FROM {t} WHERE {c} IN (SELECT b.{k} FROM {t} b)", Stays::Join, KEY),
    row("NOT IN", "SELECT {k} FROM {t} WHERE {c} NOT IN (SELECT b.{k} FROM {t} b)", Stays::Join, KEY),
    row("scalar subquery", "SELECT a.{k}, (SELECT b.{c} FROM {t} b WHERE b.{k} = a.{c}) AS m FROM {t} a", Stays::Join, KEY),
    row(
        "two of them",
        "SELECT a.{k}, b.{k} AS o, d.{k} AS p FROM {t} a JOIN {t} b ON b.{k} = a.{c} LEFT JOIN {t} d ON d.{k} = b.{c}",
        Stays::Join,
        KEY,
    ),
    row("grouped", "SELECT b.{k}, count(*) AS n FROM {t} a JOIN {t} b ON b.{k} = a.{c} GROUP BY b.{k}", Stays::Aggregate, KEY),
    row(
        "ordered, the first rows",
        "SELECT a.{k}, b.{k} AS o FROM {t} a JOIN {t} b ON b.{k} = a.{c} ORDER BY a.{k} DESC LIMIT 5",
        Stays::Sort,
        KEY,
    ),
];

const AGGREGATES: &[Operation] = &[
    row("count(*)", "SELECT count(*) AS n FROM {t} WHERE {c} IS NOT NULL", Stays::Aggregate, &["integer"]),
    row("count", "SELECT count({c}) AS n FROM {t}", Stays::Aggregate, ALL),
    row("count(DISTINCT)", "SELECT count(DISTINCT {c}) AS n FROM {t}", Stays::Aggregate, ALL),
    row("sum", "SELECT sum({c}) AS n FROM {t} WHERE {k} < 100", Stays::Aggregate, NUMBERS),
    row("sum(DISTINCT)", "SELECT sum(DISTINCT {c}) AS n FROM {t}", Stays::Aggregate, EXACT_NUMBERS),
    row("avg", "SELECT avg({c}) AS n FROM {t} WHERE {c} < 100", Stays::Aggregate, NUMBERS),
    row("min", "SELECT min({c}) AS n FROM {t}", Stays::Aggregate, ORDERED),
    row("max", "SELECT max({c}) AS n FROM {t}", Stays::Aggregate, ORDERED),
    row("bool_and", "SELECT bool_and({c}) AS n, bool_or({c}) AS m FROM {t}", Stays::Aggregate, BOOLEAN),
    row("FILTER", "SELECT count(*) FILTER (WHERE {c} = {l}) AS n FROM {t}", Stays::Aggregate, SOME),
    row("of no rows", "SELECT count({c}) AS n, max({k}) AS m FROM {t} WHERE {k} < -5", Stays::Aggregate, SOME),
    row("GROUP BY", "SELECT {c}, count(*) AS n FROM {t} GROUP BY {c}", Stays::Aggregate, ALL),
    row("HAVING", "SELECT {c}, max({k}) AS n FROM {t} GROUP BY {c} HAVING count(*) > 3", Stays::Aggregate, SOME),
    row("DISTINCT", "SELECT DISTINCT {c} FROM {t}", Stays::Aggregate, ALL),
    row("avg(DISTINCT)", "SELECT avg(DISTINCT {c}) AS n FROM {t} WHERE {c} < 100", Stays::Aggregate, EXACT_NUMBERS),
    row("stddev", "SELECT stddev({c}) AS n FROM {t} WHERE {c} BETWEEN -9 AND 100", Stays::Aggregate, &["integer", "numeric"]),
    row("string_agg", "SELECT string_agg({c}, ',' ORDER BY {k}) AS n FROM {t} WHERE {k} < 20", Stays::Aggregate, TEXT),
    row("array_agg", "SELECT array_agg({c} ORDER BY {k}) AS n FROM {t} WHERE {k} < 20", Stays::Aggregate, FEW),
    row("sum, FILTER", "SELECT sum({k}) FILTER (WHERE {c} > {l}) AS n FROM {t}", Stays::Aggregate, FEW),
    row("count(DISTINCT), FILTER", "SELECT count(DISTINCT {c}) FILTER (WHERE {k} < 20) AS n FROM {t}", Stays::Aggregate, FEW),
    row(
        "count(DISTINCT), GROUP BY",
        "SELECT {k} % 3 AS g, count(DISTINCT {c}) AS n FROM {t} GROUP BY {k} % 3",
        Stays::Aggregate,
        FEW,
    ),
    row(
        "min and max, GROUP BY",
        "SELECT {c} IS NULL AS g, min({c}) AS n, max({c}) AS m FROM {t} GROUP BY {c} IS NULL",
        Stays::Aggregate,
        MOST,
    ),
    row("GROUP BY two columns", "SELECT {c}, {k} > 9 AS g, count(*) AS n FROM {t} GROUP BY {c}, {k} > 9", Stays::Aggregate, FEW),
    row("GROUP BY a condition", "SELECT {c} = {l} AS g, count(*) AS n FROM {t} GROUP BY {c} = {l}", Stays::Aggregate, FEW),
    row("ROLLUP", "SELECT {c}, count(*) AS n FROM {t} GROUP BY ROLLUP ({c})", Stays::Aggregate, FEW),
    row(
        "HAVING, of another call",
        "SELECT {c}, count(*) AS n FROM {t} GROUP BY {c} HAVING min({k}) < 5 AND count({c}) > 0",
        Stays::Aggregate,
        FEW,
    ),
    row("HAVING without GROUP BY", "SELECT count({c}) AS n FROM {t} HAVING count({c}) > 3", Stays::Aggregate, FEW),
    row("DISTINCT of two columns", "SELECT DISTINCT {c}, {k} % 2 AS g FROM {t}", Stays::Aggregate, FEW),
    row("count of DISTINCT rows", "SELECT count(*) AS n FROM (SELECT DISTINCT {c} FROM {t}) d", Stays::Aggregate, FEW),
];

const ORDERS: &[Operation] = &[
    row("ORDER BY", "SELECT {k}, {c} FROM {t} ORDER BY {c}, {k}", Stays::Sort, ALL),
    row("ORDER BY … DESC", "SELECT {k}, {c} FROM {t} ORDER BY {c} DESC, {k}", Stays::Sort, MOST),
    row("NULLS FIRST", "SELECT {k}, {c} FROM {t} ORDER BY {c} NULLS FIRST, {k}", Stays::Sort, MOST),
    row("DESC NULLS LAST", "SELECT {k}, {c} FROM {t} ORDER BY {c} DESC NULLS LAST, {k}", Stays::Sort, MOST),
    row("LIMIT", "SELECT count(*) AS n FROM (SELECT {k} FROM {t} LIMIT 5) s", Stays::Limit, &["integer"]),
    row("LIMIT with a condition", "SELECT count(*) AS n FROM (SELECT {k} FROM {t} WHERE {c} = {l} LIMIT 2) s", Stays::Limit, SOME),
    row("ORDER BY … LIMIT", "SELECT {k}, {c} FROM {t} ORDER BY {c} DESC, {k} LIMIT 7 OFFSET 2", Stays::Sort, ALL),
    row("LIMIT with OFFSET", "SELECT count(*) AS n FROM (SELECT {k} FROM {t} LIMIT 5 OFFSET 3) s", Stays::Limit, INTEGER),
    row("LIMIT 0", "SELECT {k}, {c} FROM {t} LIMIT 0", Stays::Limit, INTEGER),
    row("ORDER BY … NULLS FIRST LIMIT", "SELECT {k}, {c} FROM {t} ORDER BY {c} NULLS FIRST, {k} LIMIT 7", Stays::Sort, MOST),
    row(
        "ORDER BY … LIMIT with a condition",
        "SELECT {k}, {c} FROM {t} WHERE {c} > {l} ORDER BY {c}, {k} LIMIT 3",
        Stays::Sort,
        MOST,
    ),
    row("ORDER BY two ways", "SELECT {k}, {c} FROM {t} ORDER BY {c} DESC, {k} DESC LIMIT 9", Stays::Sort, FEW),
    row("ORDER BY an expression", "SELECT {k}, {c} FROM {t} ORDER BY {c} IS NULL, {k}", Stays::Sort, FEW),
    row(
        "groups by their count, the first",
        "SELECT {c}, count(*) AS n FROM {t} GROUP BY {c} ORDER BY count(*) DESC, {c} LIMIT 3",
        Stays::Sort,
        PLAIN,
    ),
    row("DISTINCT ON", "SELECT DISTINCT ON ({c}) {c}, {k} FROM {t} ORDER BY {c}, {k}", Stays::Sort, SOME),
];

const OTHERS: &[Operation] = &[
    row("UNION ALL", "SELECT {c} FROM {t} WHERE {k} < 9 UNION ALL SELECT {c} FROM {t} WHERE {k} > 90", Stays::Union, SOME),
    row("row_number", "SELECT {k}, row_number() OVER (PARTITION BY {c} ORDER BY {k}) AS n FROM {t}", Stays::Window, SOME),
    row("rank", "SELECT {k}, rank() OVER (ORDER BY {c}) AS n FROM {t}", Stays::Window, SOME),
    row("sum OVER", "SELECT {k}, sum({k}) OVER (PARTITION BY {c} ORDER BY {k}) AS n FROM {t}", Stays::Window, SOME),
    row("UNION", "SELECT {c} FROM {t} WHERE {k} < 9 UNION SELECT {c} FROM {t} WHERE {k} > 90", Stays::Union, SOME),
    row(
        "UNION ALL, grouped",
        "SELECT u.c, count(*) AS n FROM (SELECT {c} AS c FROM {t} WHERE {k} < 9 UNION ALL SELECT {c} FROM {t} WHERE {k} > 90) u GROUP BY u.c",
        Stays::Union,
        FEW,
    ),
    row(
        "UNION ALL, the first",
        "SELECT {k}, {c} FROM {t} WHERE {k} < 9 UNION ALL SELECT {k}, {c} FROM {t} WHERE {k} > 90 ORDER BY 1 LIMIT 5",
        Stays::Union,
        FEW,
    ),
    row("INTERSECT", "SELECT {c} FROM {t} WHERE {k} < 9 INTERSECT SELECT {c} FROM {t} WHERE {k} > 5", Stays::Join, SOME),
    row("EXCEPT", "SELECT {c} FROM {t} WHERE {k} < 9 EXCEPT SELECT {c} FROM {t} WHERE {k} > 5 AND {k} < 12", Stays::Join, SOME),
    row("INTERSECT ALL", "SELECT {c} FROM {t} WHERE {k} < 9 INTERSECT ALL SELECT {c} FROM {t} WHERE {k} > 5", Stays::Join, INTEGER),
    row("dense_rank", "SELECT {k}, dense_rank() OVER (ORDER BY {c} DESC) AS n FROM {t}", Stays::Window, FEW),
    row("lag", "SELECT {k}, lag({c}) OVER (ORDER BY {k}) AS n FROM {t}", Stays::Window, FEW),
    row("lead with a default", "SELECT {k}, lead({c}, 2, {l}) OVER (ORDER BY {k}) AS n FROM {t}", Stays::Window, FEW),
    row("first_value", "SELECT {k}, first_value({c}) OVER (PARTITION BY {k} % 3 ORDER BY {k}) AS n FROM {t}", Stays::Window, FEW),
    row("count(*) OVER ()", "SELECT {k}, count(*) OVER () AS n FROM {t}", Stays::Window, INTEGER),
    row("max OVER", "SELECT {k}, max({c}) OVER (PARTITION BY {k} % 3) AS n FROM {t}", Stays::Window, MOST),
    row(
        "count OVER a frame",
        "SELECT {k}, count({c}) OVER (ORDER BY {k} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS n FROM {t}",
        Stays::Window,
        FEW,
    ),
    row("ntile", "SELECT {k}, ntile(4) OVER (ORDER BY {k}) AS n FROM {t}", Stays::Window, INTEGER),
    row(
        "the first of each group",
        "SELECT s.{k}, s.{c} FROM (SELECT {k}, {c}, row_number() OVER (PARTITION BY {c} ORDER BY {k}) AS n FROM {t}) s WHERE s.n = 1",
        Stays::Window,
        FEW,
    ),
];
