//! The tables of the stage as generators know them: columns, their types, and literals that meet their values.

use Type::{Big, Bool, Bytes, Date, Float, Int, Interval, Moment, Numeric, Small, Text, Uuid, Zoned};

/// A table.
pub struct Table {
    /// With its schema.
    pub name: &'static str,
    /// The column that is different in every row and never NULL.
    pub key: &'static str,
    /// Roughly how many rows it has.
    pub rows: usize,
    /// Its columns.
    pub columns: &'static [Column],
}

/// A column.
pub struct Column {
    pub name: &'static str,
    pub ty: Type,
    /// Whether values are keys of other tables.
    pub refers: bool,
    /// Literals that are there, or nearly.
    pub literals: &'static [&'static str],
    pub nature: Nature,
    /// Whether the typed generator alone reads it.
    pub typed: bool,
}

/// How the values of a column look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nature {
    /// Equal values look the same.
    Plain,
    /// Equal values may look different: 1.0 and 1.00, -0 and 0.
    Loose,
    /// As `Loose`, and sums of them leave the range of their type, or lose small values in large ones.
    Wild,
}

/// Types of expressions. `character varying` is text, `real` is a float.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    Bool,
    Small,
    Int,
    Big,
    Numeric,
    Float,
    Text,
    Date,
    Moment,
    Zoned,
    Interval,
    Uuid,
    Bytes,
}

const fn column(name: &'static str, ty: Type, literals: &'static [&'static str]) -> Column {
    let nature = if matches!(ty, Float | Interval) { Nature::Loose } else { Nature::Plain };
    Column { name, ty, refers: false, literals, nature, typed: matches!(ty, Interval | Uuid | Bytes) }
}

const fn key(name: &'static str, ty: Type) -> Column {
    Column { name, ty, refers: true, literals: KEYS, nature: Nature::Plain, typed: false }
}

const fn of(nature: Nature, column: Column) -> Column {
    Column { nature, ..column }
}

const fn typed(column: Column) -> Column {
    Column { typed: true, ..column }
}

const KEYS: &[&str] = &["1", "2", "3", "7", "8", "12", "999", "150", "30", "-1"];
const SMALL: &[&str] = &["0", "1", "2", "3", "5", "127", "-128", "1.5", "-1"];
const DECIMALS: &[&str] = &["0", "10.5", "-0.0001", "99.99", "12.340", "1000", "-3.25", "0.5"];
const FLOATS: &[&str] = &["0", "0.5", "-0.25", "2.5", "1e300", "-2.5"];
const ODD_FLOATS: &[&str] = &["0", "'NaN'", "0.5", "'Infinity'", "-0.25", "'-Infinity'", "2.5", "'-0'"];
const TEXTS: &[&str] = &[
    "'Ada'",
    "'ada'",
    "'ada '",
    "''",
    "'zoe'",
    "'Zoë'",
    "'b'",
    "'Oslo'",
    "'open'",
    "'box'",
    "'happy'",
    "'Billing'",
    "'it''s'",
    "'日本'",
];
const CODES: &[&str] = &["'A1'", "'a1'", "'A1 '", "'b'", "'B'", "''", "'zoe'", "'Zoë'"];
const DATES: &[&str] = &["DATE '1970-01-01'", "DATE '2024-02-29'", "DATE '1969-12-31'", "DATE '9999-12-31'", "DATE '2262-04-12'"];
const MOMENTS: &[&str] = &[
    "TIMESTAMP '1970-01-01'",
    "TIMESTAMP '2024-02-29 12:30:45.123456'",
    "TIMESTAMP '1969-12-31 23:59:59.999999'",
    "TIMESTAMP '2262-04-12'",
];
const ZONED: &[&str] = &[
    "TIMESTAMPTZ '1970-01-01 00:00+00'",
    "TIMESTAMPTZ '2024-02-29 12:30:45.123+00'",
    "TIMESTAMPTZ '2024-01-01 00:00:00.000001+00'",
    "TIMESTAMPTZ '2262-01-01 01:00+01'",
];
const INTERVALS: &[&str] = &["INTERVAL '1 day'", "INTERVAL '30 days'", "INTERVAL '1 mon'", "INTERVAL '-00:00:01'", "INTERVAL '0'"];
const TRUTHS: &[&str] = &["true", "false"];
const UUIDS: &[&str] = &["UUID 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "UUID '00000000-0000-0000-0000-000000000000'"];
const BYTES: &[&str] = &["'\\x00ff'::bytea", "'\\x'::bytea", "'\\x41'::bytea"];

/// All of them.
pub const TABLES: &[Table] = &[
    Table {
        name: "shop.customers",
        key: "id",
        rows: 260,
        columns: &[
            key("id", Big),
            column("name", Text, TEXTS),
            column("email", Text, TEXTS),
            column("active", Bool, TRUTHS),
            of(Nature::Wild, column("score", Float, FLOATS)),
            column("born", Date, DATES),
            column("seen", Zoned, ZONED),
            column("balance", Numeric, DECIMALS),
            column("small", Small, SMALL),
            typed(of(Nature::Wild, column("rating", Float, ODD_FLOATS))),
            typed(of(Nature::Loose, column("wide", Numeric, DECIMALS))),
            column("token", Uuid, UUIDS),
            column("raw", Bytes, BYTES),
            column("wait", Interval, INTERVALS),
        ],
    },
    Table {
        name: "shop.orders",
        key: "id",
        rows: 240,
        columns: &[
            key("id", Int),
            key("customer", Big),
            column("placed", Moment, MOMENTS),
            column("total", Numeric, DECIMALS),
            column("status", Text, TEXTS),
            typed(column("note", Text, TEXTS)),
        ],
    },
    Table {
        name: "shop.order_lines",
        key: "id",
        rows: 400,
        columns: &[
            key("order_id", Int),
            key("product", Int),
            column("quantity", Int, SMALL),
            column("price", Numeric, DECIMALS),
            column("discount", Float, FLOATS),
            typed(key("id", Int)),
            typed(column("line_no", Small, SMALL)),
        ],
    },
    Table {
        name: "crm.clients",
        key: "id",
        rows: 200,
        columns: &[
            key("id", Big),
            key("shop_id", Big),
            column("name", Text, TEXTS),
            column("code", Text, TEXTS),
            column("city", Text, TEXTS),
            column("memo", Text, TEXTS),
            column("credit", Numeric, DECIMALS),
            column("tier", Small, SMALL),
            column("since", Date, DATES),
            column("seen", Moment, MOMENTS),
            of(Nature::Wild, column("ratio", Float, FLOATS)),
            typed(column("visits", Int, SMALL)),
            typed(column("big", Numeric, DECIMALS)),
            column("raw", Bytes, BYTES),
        ],
    },
    Table {
        name: "crm.calls",
        key: "id",
        rows: 300,
        columns: &[
            key("client", Big),
            column("topic", Text, TEXTS),
            column("minutes", Int, SMALL),
            column("cost", Numeric, DECIMALS),
            column("at", Zoned, ZONED),
            typed(key("id", Big)),
        ],
    },
    Table {
        name: "archive.parcels",
        key: "id",
        rows: 220,
        columns: &[
            key("id", Big),
            key("order_no", Big),
            column("label", Text, TEXTS),
            column("weight", Numeric, DECIMALS),
            column("sent", Date, DATES),
            column("noted", Moment, MOMENTS),
            column("ok", Bool, TRUTHS),
            of(Nature::Wild, column("ratio", Float, FLOATS)),
            typed(column("iso", Text, &["'2024-02-29'", "'99'", "'zz'", "'1.5'"])),
            column("ref", Uuid, UUIDS),
            column("body", Bytes, BYTES),
        ],
    },
    Table {
        name: "archive.reviews",
        key: "id",
        rows: 180,
        columns: &[
            key("product", Big),
            column("rating", Big, SMALL),
            column("title", Text, TEXTS),
            of(Nature::Wild, column("share", Float, FLOATS)),
            typed(key("id", Big)),
            typed(column("extra", Text, TEXTS)),
        ],
    },
    Table {
        name: "field.visits",
        key: "no",
        rows: 250,
        columns: &[
            key("no", Big),
            key("client", Big),
            key("parcel", Big),
            key("person", Big),
            column("amount", Numeric, DECIMALS),
            column("mood", Text, TEXTS),
            column("open", Bool, TRUTHS),
            of(Nature::Wild, column("ratio", Float, FLOATS)),
            column("at", Zoned, ZONED),
            typed(column("mixed", Text, &["'5'", "'text'", "'2.5'", "'true'"])),
        ],
    },
    Table {
        name: "shop.products",
        key: "id",
        rows: 40,
        columns: &[
            key("id", Int),
            column("sku", Text, CODES),
            column("title", Text, TEXTS),
            of(Nature::Loose, column("price", Numeric, DECIMALS)),
            column("released", Date, DATES),
        ],
    },
    Table {
        name: "archive.stamps",
        key: "id",
        rows: 150,
        columns: &[
            key("id", Big),
            key("owner", Big),
            column("label", Text, TEXTS),
            column("code", Text, CODES),
            column("worth", Numeric, DECIMALS),
            of(Nature::Wild, column("weight", Float, FLOATS)),
            column("issued", Date, DATES),
            column("noted", Moment, MOMENTS),
            column("used", Bool, TRUTHS),
        ],
    },
    Table {
        name: "shop.nothing",
        key: "id",
        rows: 0,
        columns: &[key("id", Int), column("label", Text, TEXTS), column("sum", Numeric, DECIMALS)],
    },
    Table {
        name: "archive.empty_box",
        key: "id",
        rows: 0,
        columns: &[key("id", Big), column("label", Text, TEXTS), column("qty", Big, SMALL)],
    },
    Table { name: "field.empty", key: "no", rows: 0, columns: &[key("no", Big), column("label", Text, TEXTS)] },
    Table {
        name: "shop.moves",
        key: "id",
        rows: 4000,
        columns: &[
            key("id", Int),
            key("item", Int),
            column("bin", Text, CODES),
            column("qty", Int, SMALL),
            column("price", Numeric, DECIMALS),
            column("factor", Float, ODD_FLOATS),
            column("day", Date, DATES),
            column("at", Zoned, ZONED),
            column("span", Interval, INTERVALS),
        ],
    },
    Table {
        name: "crm.stock",
        key: "id",
        rows: 1500,
        columns: &[
            key("id", Int),
            key("item", Int),
            column("bin", Text, CODES),
            column("qty", Small, SMALL),
            column("price", Numeric, DECIMALS),
            column("wide", Numeric, DECIMALS),
            of(Nature::Wild, column("rate", Float, FLOATS)),
            column("day", Date, DATES),
            column("at", Moment, MOMENTS),
        ],
    },
    Table {
        name: "field.readings",
        key: "no",
        rows: 1200,
        columns: &[
            key("no", Big),
            key("item", Big),
            column("level", Float, ODD_FLOATS),
            column("cost", Numeric, DECIMALS),
            column("bin", Text, CODES),
            column("at", Zoned, ZONED),
            column("lit", Bool, TRUTHS),
            of(Nature::Wild, column("blend", Float, FLOATS)),
        ],
    },
];

/// How many tables, from the first on, the plain generator reads: those without loose numbers that are of one size.
pub const PLAIN: usize = 8;
