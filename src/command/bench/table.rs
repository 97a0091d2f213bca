//! The eight tables of TPC-H (specification 3.0, clause 1.4): names, columns, keys, and how many rows a scale has.
//!
//! Texts have varying length here in every store: stores disagree on what the padding of fixed text means.

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole number of 32 bits.
    Integer,
    /// A key, of 64 bits.
    Key,
    /// An amount with two digits after the point.
    Decimal,
    /// Text of at most so many characters.
    Text(u16),
    /// A day.
    Day,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [Column],
    pub(super) primary_key: &'static [&'static str],
    /// Columns that refer to other tables and do not lead the primary key.
    pub(super) foreign_keys: &'static [&'static [&'static str]],
    /// Rows at scale 1; those of `nation` and `region` do not grow.
    rows: u32,
    grows: bool,
}

impl Table {
    /// About how many rows there are at a scale. The number of lines is random, that of the others exact.
    pub(super) fn expected_rows(&self, scale: f64) -> f64 {
        f64::from(self.rows) * if self.grows { scale } else { 1.0 }
    }

    /// `CREATE TABLE`, with a type word for each kind and without keys.
    pub(super) fn create(&self, word: impl Fn(Kind) -> String, more: &str) -> String {
        let columns: Vec<String> =
            self.columns.iter().map(|column| format!("{} {} NOT NULL", column.name, word(column.kind))).collect();
        format!("CREATE TABLE {} ({}{more})", self.name, columns.join(", "))
    }

    /// `CREATE INDEX` for each foreign key.
    pub(super) fn foreign_indexes(&self) -> impl Iterator<Item = String> {
        self.foreign_keys
            .iter()
            .map(|key| format!("CREATE INDEX {}_{} ON {} ({})", self.name, key.join("_"), self.name, key.join(", ")))
    }
}

/// The table of that name.
pub(super) fn table(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

use Kind::{Day, Decimal, Integer, Key, Text};

pub(super) static TABLES: [Table; 8] = [
    Table {
        name: "region",
        columns: &[column("r_regionkey", Key), column("r_name", Text(25)), column("r_comment", Text(152))],
        primary_key: &["r_regionkey"],
        foreign_keys: &[],
        rows: 5,
        grows: false,
    },
    Table {
        name: "nation",
        columns: &[
            column("n_nationkey", Key),
            column("n_name", Text(25)),
            column("n_regionkey", Key),
            column("n_comment", Text(152)),
        ],
        primary_key: &["n_nationkey"],
        foreign_keys: &[&["n_regionkey"]],
        rows: 25,
        grows: false,
    },
    Table {
        name: "supplier",
        columns: &[
            column("s_suppkey", Key),
            column("s_name", Text(25)),
            column("s_address", Text(40)),
            column("s_nationkey", Key),
            column("s_phone", Text(15)),
            column("s_acctbal", Decimal),
            column("s_comment", Text(101)),
        ],
        primary_key: &["s_suppkey"],
        foreign_keys: &[&["s_nationkey"]],
        rows: 10_000,
        grows: true,
    },
    Table {
        name: "customer",
        columns: &[
            column("c_custkey", Key),
            column("c_name", Text(25)),
            column("c_address", Text(40)),
            column("c_nationkey", Key),
            column("c_phone", Text(15)),
            column("c_acctbal", Decimal),
            column("c_mktsegment", Text(10)),
            column("c_comment", Text(117)),
        ],
        primary_key: &["c_custkey"],
        foreign_keys: &[&["c_nationkey"]],
        rows: 150_000,
        grows: true,
    },
    Table {
        name: "part",
        columns: &[
            column("p_partkey", Key),
            column("p_name", Text(55)),
            column("p_mfgr", Text(25)),
            column("p_brand", Text(10)),
            column("p_type", Text(25)),
            column("p_size", Integer),
            column("p_container", Text(10)),
            column("p_retailprice", Decimal),
            column("p_comment", Text(23)),
        ],
        primary_key: &["p_partkey"],
        foreign_keys: &[],
        rows: 200_000,
        grows: true,
    },
    Table {
        name: "partsupp",
        columns: &[
            column("ps_partkey", Key),
            column("ps_suppkey", Key),
            column("ps_availqty", Integer),
            column("ps_supplycost", Decimal),
            column("ps_comment", Text(199)),
        ],
        primary_key: &["ps_partkey", "ps_suppkey"],
        foreign_keys: &[&["ps_suppkey"]],
        rows: 800_000,
        grows: true,
    },
    Table {
        name: "orders",
        columns: &[
            column("o_orderkey", Key),
            column("o_custkey", Key),
            column("o_orderstatus", Text(1)),
            column("o_totalprice", Decimal),
            column("o_orderdate", Day),
            column("o_orderpriority", Text(15)),
            column("o_clerk", Text(15)),
            column("o_shippriority", Integer),
            column("o_comment", Text(79)),
        ],
        primary_key: &["o_orderkey"],
        foreign_keys: &[&["o_custkey"]],
        rows: 1_500_000,
        grows: true,
    },
    Table {
        name: "lineitem",
        columns: &[
            column("l_orderkey", Key),
            column("l_partkey", Key),
            column("l_suppkey", Key),
            column("l_linenumber", Integer),
            column("l_quantity", Decimal),
            column("l_extendedprice", Decimal),
            column("l_discount", Decimal),
            column("l_tax", Decimal),
            column("l_returnflag", Text(1)),
            column("l_linestatus", Text(1)),
            column("l_shipdate", Day),
            column("l_commitdate", Day),
            column("l_receiptdate", Day),
            column("l_shipinstruct", Text(25)),
            column("l_shipmode", Text(10)),
            column("l_comment", Text(44)),
        ],
        primary_key: &["l_orderkey", "l_linenumber"],
        foreign_keys: &[&["l_partkey", "l_suppkey"], &["l_suppkey"]],
        rows: 6_001_215,
        grows: true,
    },
];
