//! What stores would tell of the tables of TPC-H at scale 1, for plans over tables that hold a hundredth of it.
//!
//! Only what a store has told of a table or column is replaced, so that what stores do not know stays unknown. The numbers are those
//! of the generator's data at scale 1; nothing here depends on what a sample happened to find.

use std::sync::Arc;

use tributary::stores::schema::{ColumnStatistics, StoreSchema, Table};

/// Rows of each table.
static ROWS: [(&str, u64); 8] = [
    ("region", 5),
    ("nation", 25),
    ("supplier", 10_000),
    ("customer", 150_000),
    ("part", 200_000),
    ("partsupp", 800_000),
    ("orders", 1_500_000),
    ("lineitem", 6_001_215),
];

/// A column: its name, different values, ends as places on a line (days since 1970 for dates) and bytes of an average value.
type Told = (&'static str, u64, Option<(f64, f64)>, u32);

static COLUMNS: [Told; 61] = [
    ("r_regionkey", 5, Some((0.0, 4.0)), 8),
    ("r_name", 5, None, 7),
    ("r_comment", 5, None, 66),
    ("n_nationkey", 25, Some((0.0, 24.0)), 8),
    ("n_name", 25, None, 7),
    ("n_regionkey", 5, Some((0.0, 4.0)), 8),
    ("n_comment", 25, None, 75),
    ("s_suppkey", 10_000, Some((1.0, 10_000.0)), 8),
    ("s_name", 10_000, None, 19),
    ("s_address", 10_000, None, 25),
    ("s_nationkey", 25, Some((0.0, 24.0)), 8),
    ("s_phone", 10_000, None, 16),
    ("s_acctbal", 9_955, Some((-998.22, 9_999.72)), 6),
    ("s_comment", 9_977, None, 63),
    ("c_custkey", 150_000, Some((1.0, 150_000.0)), 8),
    ("c_name", 150_000, None, 19),
    ("c_address", 150_000, None, 26),
    ("c_nationkey", 25, Some((0.0, 24.0)), 8),
    ("c_phone", 150_000, None, 16),
    ("c_acctbal", 140_187, Some((-999.99, 9_999.99)), 6),
    ("c_mktsegment", 5, None, 10),
    ("c_comment", 149_968, None, 73),
    ("p_partkey", 200_000, Some((1.0, 200_000.0)), 8),
    ("p_name", 199_997, None, 33),
    ("p_mfgr", 5, None, 15),
    ("p_brand", 25, None, 9),
    ("p_type", 150, None, 21),
    ("p_size", 50, Some((1.0, 50.0)), 4),
    ("p_container", 40, None, 8),
    ("p_retailprice", 20_899, Some((901.0, 2_098.99)), 6),
    ("p_comment", 131_753, None, 14),
    ("ps_partkey", 200_000, Some((1.0, 200_000.0)), 8),
    ("ps_suppkey", 10_000, Some((1.0, 10_000.0)), 8),
    ("ps_availqty", 9_999, Some((1.0, 9_999.0)), 4),
    ("ps_supplycost", 99_901, Some((1.0, 1_000.0)), 6),
    ("ps_comment", 799_124, None, 124),
    ("o_orderkey", 1_500_000, Some((1.0, 6_000_000.0)), 8),
    ("o_custkey", 99_996, Some((1.0, 149_999.0)), 8),
    ("o_orderstatus", 3, None, 2),
    ("o_totalprice", 1_464_556, Some((857.71, 555_285.16)), 8),
    ("o_orderdate", 2_406, Some((8_035.0, 10_440.0)), 4),
    ("o_orderpriority", 5, None, 9),
    ("o_clerk", 1_000, None, 16),
    ("o_shippriority", 1, Some((0.0, 0.0)), 4),
    ("o_comment", 1_482_071, None, 49),
    ("l_orderkey", 1_500_000, Some((1.0, 6_000_000.0)), 8),
    ("l_partkey", 200_000, Some((1.0, 200_000.0)), 8),
    ("l_suppkey", 10_000, Some((1.0, 10_000.0)), 8),
    ("l_linenumber", 7, Some((1.0, 7.0)), 4),
    ("l_quantity", 50, Some((1.0, 50.0)), 5),
    ("l_extendedprice", 933_900, Some((901.0, 104_949.5)), 8),
    ("l_discount", 11, Some((0.0, 0.1)), 4),
    ("l_tax", 9, Some((0.0, 0.08)), 4),
    ("l_returnflag", 3, None, 2),
    ("l_linestatus", 2, None, 2),
    ("l_shipdate", 2_526, Some((8_036.0, 10_561.0)), 4),
    ("l_commitdate", 2_466, Some((8_065.0, 10_530.0)), 4),
    ("l_receiptdate", 2_554, Some((8_038.0, 10_591.0)), 4),
    ("l_shipinstruct", 4, None, 13),
    ("l_shipmode", 7, None, 5),
    ("l_comment", 4_580_667, None, 27),
];

/// What a store has told, with the numbers of scale 1.
pub fn of(found: &StoreSchema) -> StoreSchema {
    // A server that other tests use as well has tables of theirs.
    let own = found.tables.iter().filter(|table| table.id.namespace == found.default_namespace);
    StoreSchema { tables: own.map(|table| Arc::new(grown(table))).collect(), ..found.clone() }
}

fn grown(table: &Table) -> Table {
    let name = &table.id.name;
    let (_, rows) = ROWS.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name} is no table of TPC-H"));
    let mut grown = table.clone();
    grown.row_estimate = table.row_estimate.and(Some(*rows));
    for column in &mut grown.columns {
        let told = COLUMNS.iter().find(|(known, ..)| *known == column.name());
        column.statistics = told.map_or_else(ColumnStatistics::default, |told| of_column(column.statistics, told));
    }
    grown
}

fn of_column(found: ColumnStatistics, (_, distinct, range, width): &Told) -> ColumnStatistics {
    ColumnStatistics {
        distinct: found.distinct.and(Some(*distinct)),
        // No column of TPC-H holds a NULL.
        null_fraction: found.null_fraction.and(Some(0.0)),
        range: found.range.and(*range),
        width: found.width.and(Some(*width)),
    }
}
