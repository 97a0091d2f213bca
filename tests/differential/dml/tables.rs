//! The tables that are written to: what each store calls them, what their copies are, and the rows that every topic begins with.
//!
//! Columns stand in the order of their names behind the key, which is the order in which MongoDB's declared columns come.

use Kind::{Array, Bool, Bytes, Clock, Date, Float, Int, Json, Moment, Numeric, Person, Text, Uuid};

/// The stores, which are schemas in Tributary and in the copy; each takes another's rows from the one after it.
pub const STORES: [&str; 4] = ["shop", "crm", "archive", "field"];

/// How a store keeps the values of a column, and how two texts of one value are made the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Bool,
    Int,
    Numeric,
    Float,
    Text,
    Bytes,
    Date,
    /// With or without a time zone.
    Moment,
    /// A time of day, or how long something takes.
    Clock,
    /// A document `{age bigint, name text}`, which in the copy is a composite value: `(36,Ada)`. Names need no quotes there.
    Person,
    Uuid,
    /// Text that is told as it is written.
    Json,
    /// Of texts.
    Array,
}

/// The type of `kinds.level` in PostgreSQL, by name and labels.
pub const LEVEL: &str = "CREATE TYPE level_of_kinds AS ENUM ('low', 'mid', 'high')";

/// A column; the words are those of the stores in the order of [`STORES`], and an empty one means that the store has no such column.
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub stored: [&'static str; 4],
    pub copied: [&'static str; 4],
}

impl Column {
    /// What shows its values as both sides write them.
    pub fn shown(&self) -> String {
        if self.kind == Person { format!("to_json({})::text", self.name) } else { self.name.to_owned() }
    }
}

/// A table.
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [Column],
    /// What follows the columns in every SQL store and in the copy.
    pub rules: &'static str,
    /// The column that no two documents share, besides `_id`.
    pub unique: Option<&'static str>,
    /// Whether the store counts up the key by itself.
    pub counts: bool,
    /// The rows that it begins with, as `|` separates their values in the order of the columns; `~` is NULL.
    pub rows: &'static [&'static str],
}

impl Table {
    /// The columns that a store has, with their places in a row.
    pub fn columns_of(&self, store: usize) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(move |(_, column)| !column.stored[store].is_empty())
    }

    /// Whether a store has the table.
    pub fn is_in(&self, store: usize) -> bool {
        self.columns_of(store).next().is_some()
    }

    /// Whether topics write to it. Others read the one table that nobody writes to meanwhile, from another store.
    pub fn is_written(&self) -> bool {
        self.name != "sources"
    }

    /// The first rows as a store has them.
    pub fn rows_of(&self, store: usize) -> Vec<Vec<Option<String>>> {
        let of_row = |row: &&str| {
            let cells: Vec<&str> = row.split('|').collect();
            assert_eq!(cells.len(), self.columns.len(), "{}: {row}", self.name);
            self.columns_of(store).map(|(place, _)| (cells[place] != "~").then(|| cells[place].to_owned())).collect()
        };
        self.rows.iter().map(of_row).collect()
    }

    /// `CREATE TABLE` in a SQL store's own words, or in the copy's.
    pub fn definition(&self, name: &str, store: usize, copied: bool) -> String {
        let types = |column: &Column| if copied { column.copied[store] } else { column.stored[store] };
        let columns: Vec<String> = self.columns_of(store).map(|(_, column)| format!("{} {}", column.name, types(column))).collect();
        format!("CREATE TABLE {name} ({}{})", columns.join(", "), self.rules)
    }
}

const fn column(name: &'static str, kind: Kind, stored: [&'static str; 4], copied: [&'static str; 4]) -> Column {
    Column { name, kind, stored, copied }
}

const KEY: Column =
    column("_id", Int, ["bigint PRIMARY KEY", "bigint PRIMARY KEY", "INTEGER PRIMARY KEY", "bigint"], ["bigint PRIMARY KEY"; 4]);

const INT: [&str; 4] = ["integer", "int", "INTEGER", "bigint"];
const INT_COPIED: [&str; 4] = ["integer", "integer", "bigint", "bigint"];
const NAME: [&str; 4] = ["text", "varchar(60) COLLATE utf8mb4_general_ci", "TEXT", "text"];
const NAME_COPIED: [&str; 4] = ["text", "varchar(60)", "text", "text"];
const PRICE: [&str; 4] = ["numeric(10,2)", "decimal(10,2)", "DECIMAL(10,2)", "numeric"];
const PRICE_COPIED: [&str; 4] = ["numeric(10,2)", "numeric(10,2)", "numeric(10,2)", "numeric"];
const RATIO: [&str; 4] = ["double precision", "double", "REAL", "double precision"];
const RATIO_COPIED: [&str; 4] = ["double precision"; 4];

/// All of them.
pub const TABLES: &[Table] = &[
    // Every kind of value. Names compare without case in MariaDB.
    Table {
        name: "things",
        columns: &[
            KEY,
            column(
                "code",
                Text,
                ["varchar(6)", "varchar(6) COLLATE utf8mb4_bin", "TEXT", "text"],
                ["varchar(6)", "varchar(6)", "text", "text"],
            ),
            column("day", Date, ["date", "date", "DATE", ""], ["date"; 4]),
            column("name", Text, NAME, NAME_COPIED),
            column("noted", Moment, ["timestamp", "datetime(6)", "TIMESTAMP", ""], ["timestamp"; 4]),
            column("ok", Bool, ["boolean", "boolean", "BOOLEAN", "boolean"], ["boolean"; 4]),
            column("price", Numeric, PRICE, PRICE_COPIED),
            column("qty", Int, INT, INT_COPIED),
            column("ratio", Float, RATIO, RATIO_COPIED),
            column("raw", Bytes, ["bytea", "varbinary(40)", "BLOB", ""], ["bytea"; 4]),
            column("ref", Uuid, ["uuid", "uuid", "UUID", ""], ["uuid"; 4]),
            column("seen", Moment, ["timestamptz", "timestamp(6) NULL", "TIMESTAMPTZ", "timestamptz"], ["timestamptz"; 4]),
            column("small", Int, ["smallint", "smallint", "", ""], ["smallint"; 4]),
        ],
        rules: "",
        unique: None,
        counts: false,
        rows: &[
            "1|A1|2024-02-29|Ada|2024-02-29 12:30:45.123456|true|12.50|3|0.5|\\x00ff|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|2024-02-29 12:30:45.123|1",
            "2|a1|1970-01-01|ada|1970-01-01 00:00:00|false|0.00|0|-2.25|\\x|00000000-0000-0000-0000-000000000000|1999-12-31 23:59:59.999|-1",
            "3|~|~|~|~|~|~|~|~|~|~|~|~",
            "4|b|1969-12-31|Zoë|1999-12-31 23:59:59.999999|true|-3.25|-7|1e300|\\x41|~|2024-01-01 00:00:00|32767",
            "5|B|9999-12-31|it's|2024-01-01 00:00:00|~|99999999.99|2147483647|1024|~|~|~|-32768",
            "6|~|2024-02-29||~|false|0.01|5|0|\\x27|~|2001-02-03 04:05:06|0",
            "7|zoe|~|日本|~|true|10.00|12|0.5|~|ffffffff-ffff-ffff-ffff-ffffffffffff|~|7",
            "8|box|2024-03-01|ada |~|~|12.50|-2147483648|2.5|~|~|~|~",
        ],
    },
    // Keys beside the primary one, defaults, and a condition that rows must satisfy; MongoDB has the keys only.
    Table {
        name: "people",
        columns: &[
            KEY,
            column(
                "email",
                Text,
                [
                    "varchar(40) NOT NULL UNIQUE",
                    "varchar(40) COLLATE utf8mb4_nopad_bin NOT NULL UNIQUE",
                    "TEXT NOT NULL UNIQUE",
                    "text",
                ],
                ["varchar(40) NOT NULL UNIQUE", "varchar(40) NOT NULL UNIQUE", "text NOT NULL UNIQUE", "text UNIQUE"],
            ),
            column(
                "note",
                Text,
                ["text DEFAULT 'none'", "varchar(40) DEFAULT 'none'", "TEXT DEFAULT 'none'", "text"],
                ["text DEFAULT 'none'", "varchar(40) DEFAULT 'none'", "text DEFAULT 'none'", "text"],
            ),
            column(
                "visits",
                Int,
                [
                    "integer NOT NULL DEFAULT 1 CHECK (visits >= 0)",
                    "int NOT NULL DEFAULT 1 CHECK (visits >= 0)",
                    "INTEGER NOT NULL DEFAULT 1 CHECK (visits >= 0)",
                    "bigint",
                ],
                [
                    "integer NOT NULL DEFAULT 1 CHECK (visits >= 0)",
                    "integer NOT NULL DEFAULT 1 CHECK (visits >= 0)",
                    "bigint NOT NULL DEFAULT 1 CHECK (visits >= 0)",
                    "bigint",
                ],
            ),
        ],
        rules: "",
        unique: Some("email"),
        counts: false,
        rows: &["1|ada@x|first|3", "2|bob@x|~|0", "3|cid@x|none|7"],
    },
    // A key that the store makes.
    Table {
        name: "journal",
        columns: &[
            column(
                "_id",
                Int,
                [
                    "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
                    "bigint AUTO_INCREMENT PRIMARY KEY",
                    "INTEGER PRIMARY KEY",
                    "",
                ],
                ["bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"; 4],
            ),
            column(
                "line",
                Text,
                ["text DEFAULT 'empty'", "varchar(40) DEFAULT 'empty'", "TEXT DEFAULT 'empty'", ""],
                ["text DEFAULT 'empty'", "varchar(40) DEFAULT 'empty'", "text DEFAULT 'empty'", ""],
            ),
            column("marks", Int, ["integer", "int", "INTEGER", ""], ["integer", "integer", "bigint", ""]),
        ],
        rules: "",
        unique: None,
        counts: true,
        rows: &[],
    },
    // A key of two columns.
    Table {
        name: "pairs",
        columns: &[
            column(
                "a",
                Int,
                ["integer NOT NULL", "int NOT NULL", "INTEGER NOT NULL", ""],
                ["integer NOT NULL", "integer NOT NULL", "bigint NOT NULL", ""],
            ),
            column(
                "b",
                Text,
                ["varchar(10) NOT NULL", "varchar(10) COLLATE utf8mb4_nopad_bin NOT NULL", "TEXT NOT NULL", ""],
                ["varchar(10) NOT NULL", "varchar(10) NOT NULL", "text NOT NULL", ""],
            ),
            column("qty", Int, ["integer", "int", "INTEGER", ""], ["integer", "integer", "bigint", ""]),
        ],
        rules: ", PRIMARY KEY (a, b)",
        unique: None,
        counts: false,
        rows: &["1|x|10", "1|y|20", "2|x|~", "3|X|40"],
    },
    // No key.
    Table {
        name: "heap",
        columns: &[
            column("label", Text, ["text", "varchar(20)", "TEXT", ""], ["text", "varchar(20)", "text", ""]),
            column("n", Int, ["integer", "int", "INTEGER", ""], ["integer", "integer", "bigint", ""]),
        ],
        rules: "",
        unique: None,
        counts: false,
        rows: &["a|1", "a|1", "b|2", "~|~"],
    },
    // A document inside of documents; a field of it may be absent, and so may all of it.
    Table {
        name: "docs",
        columns: &[
            column("_id", Int, ["", "", "", "bigint"], ["", "", "", "bigint PRIMARY KEY"]),
            column("n", Int, ["", "", "", "bigint"], ["", "", "", "bigint"]),
            column("person", Person, ["", "", "", "{ age = \"bigint\", name = \"text\" }"], ["", "", "", "field.person"]),
        ],
        rules: "",
        unique: None,
        counts: false,
        rows: &["1|5|(36,Ada)", "2|6|(,bob)", "3|7|~", "4|~|(7,)"],
    },
    // Types that not every store has.
    Table {
        name: "kinds",
        columns: &[
            KEY,
            column("clock", Clock, ["time", "", "TIME", ""], ["time", "", "time", ""]),
            column("doc", Json, ["jsonb", "json", "JSON", ""], ["jsonb", "json", "json", ""]),
            column(
                "level",
                Text,
                ["level_of_kinds", "enum('low', 'mid', 'high') COLLATE utf8mb4_bin", "", ""],
                ["level_of_kinds", "level_of_kinds", "", ""],
            ),
            column("span", Clock, ["interval", "time(6)", "", ""], ["interval", "interval", "", ""]),
            column("tags", Array, ["text[]", "", "", "text[]"], ["text[]", "", "", "text[]"]),
            column("wide", Numeric, ["numeric", "decimal(40,10)", "", "numeric"], ["numeric", "numeric(40,10)", "", "numeric"]),
        ],
        rules: "",
        unique: None,
        counts: false,
        rows: &[
            "1|08:30:00|{\"a\": 1}|low|01:30:00|{a,b}|1.5",
            "2|~|~|~|~|~|~",
            "3|23:59:59.999999|[1, 2]|high|-00:00:01|{}|-12345678901234567890.5",
            "4|00:00:00|{\"b\": {\"c\": null}}|mid|26:00:00|{x,NULL,\"y z\"}|0",
        ],
    },
    // What others take rows from; nobody writes to it.
    Table {
        name: "sources",
        columns: &[
            KEY,
            column("item", Int, ["bigint"; 4], ["bigint"; 4]),
            column("name", Text, NAME, NAME_COPIED),
            column("price", Numeric, PRICE, PRICE_COPIED),
            column("qty", Int, INT, INT_COPIED),
            column("ratio", Float, RATIO, RATIO_COPIED),
        ],
        rules: "",
        unique: None,
        counts: false,
        rows: &[
            "11|1|Ada|1.25|10|0.5",
            "12|2|bob|2.50|20|-1",
            "13|2|Bob|2.75|21|1.5",
            "14|~|nobody|~|~|~",
            "15|7|Zoë|-4.00|-3|0",
            "16|99||0.00|0|3",
            "17|4|~|100.00|7|~",
        ],
    },
];

/// The place of a table in [`TABLES`].
pub fn place(name: &str) -> usize {
    TABLES.iter().position(|table| table.name == name).unwrap_or_else(|| panic!("there is no table {name}"))
}

#[test]
fn every_table_has_rows_of_its_columns() {
    for table in TABLES {
        for store in 0..STORES.len() {
            let width = table.columns_of(store).count();
            assert!(table.rows_of(store).iter().all(|row| row.len() == width), "{}", table.name);
            assert!(table.columns_of(store).all(|(_, column)| !column.copied[store].is_empty()), "{}", table.name);
        }
        let mut names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        names.sort_unstable();
        assert!(table.columns.iter().map(|column| column.name).eq(names), "{}: columns stand in the order of names", table.name);
    }
    assert_eq!(place("things"), 0);
}
