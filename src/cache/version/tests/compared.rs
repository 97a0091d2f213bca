//! What two states differ in, which changes touch that, and which rows chance finds.

use super::*;
use crate::cache::version::{Differences, Differing};

fn filled(rows: &[(i64, &str, Option<&str>, i64)]) -> TableVersion {
    empty().filled(&batch(rows)).unwrap()
}

/// How many rows are missing, are there too much, and are others.
fn counts(differences: &Differences) -> [usize; 3] {
    [Differing::Missing, Differing::Extra, Differing::Other].map(|kind| differences.count(kind))
}

/// Two states, and the keys of all rows of both.
fn both() -> (TableVersion, TableVersion, RecordBatch) {
    let own = filled(&[(1, "x", Some("one"), 10), (2, "x", None, 20), (3, "x", Some("three"), 30), (4, "x", Some("four"), 40)]);
    let its = filled(&[(1, "x", Some("one"), 10), (2, "x", Some("two"), 20), (3, "x", Some("three"), 31), (5, "x", None, 50)]);
    (own, its, key_batch(&[(1, "x"), (2, "x"), (3, "x"), (4, "x"), (5, "x"), (6, "x")]))
}

#[test]
fn states_differ_in_rows_that_one_has_and_in_values() {
    let (own, its, keys) = both();
    let differences = own.differing(&its, &keys).unwrap();
    assert_eq!((differences.len(), counts(&differences)), (4, [1, 1, 2]));
    assert!(own.differing(&own.clone(), &keys).unwrap().is_empty());
    // Each once, however often its key is given.
    let mut twice = own.differing(&its, &keys).unwrap();
    twice.with(own.differing(&its, &keys).unwrap());
    assert_eq!(twice.len(), 4);
    assert!(own.differing(&its, &batch(&[(1, "x", None, 1)])).is_err(), "these are no keys");
}

#[test]
fn values_are_the_same_that_are_read_as_the_same() {
    let column_of = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
    let table = Arc::new(Table::plain("public", "t", vec![column("a", PgType::INT8, false), column("f", PgType::FLOAT8, true)]));
    let shape = Shape::of(&table, vec![0], vec![true, true]);
    let state = |values: Vec<f64>| {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..values.len() as i64));
        let rows = RecordBatch::try_new(Arc::clone(&table.schema), vec![keys, column_of(values)]).unwrap();
        TableVersion::empty(&table, &shape).unwrap().filled(&rows).unwrap()
    };
    let keys: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2]));
    let keys = RecordBatch::try_new(table.project(&[0]), vec![keys]).unwrap();
    let other_nan = f64::from_bits(f64::NAN.to_bits() | 1);
    let (own, its) = (state(vec![0.0, f64::NAN, 1.0]), state(vec![-0.0, other_nan, 1.5]));
    assert_eq!(counts(&own.differing(&its, &keys).unwrap()), [0, 0, 1]);
}

#[test]
fn what_changes_touch_is_left_out() {
    let (own, its, keys) = both();
    let left = |change: Change<'_>| {
        let mut differences = own.differing(&its, &keys).unwrap();
        let rows = rows_of(own.shape(), &[change]);
        let is_told = own.leave_out(&mut differences, &rows, 0).unwrap();
        (is_told, differences.len())
    };
    assert_eq!(left((Insert, &["5", "x", NULL, "50"], None)), (true, 3));
    assert_eq!(left((Update, &["3", "x", UNTOLD, "31"], None)), (true, 3));
    assert_eq!(left((Delete, &[], Some(&["4", "x"]))), (true, 3));
    // Of what moves both keys are touched.
    assert_eq!(left((Update, &["5", "x", NULL, "50"], Some(&["4", "x"]))), (true, 2));
    assert_eq!(left((Upsert, &["77", "x", NULL, "1"], None)), (true, 4));
    // One whose key is not told may touch any row.
    assert!(!left((Update, &["5", UNTOLD, NULL, "50"], None)).0);
    assert!(!left((Update, &["5", UNTOLD, NULL, "50"], Some(&["4", "x"]))).0, "the new key is told in part");
    let rows = rows_of(own.shape(), &[(Insert, &["5", "x", NULL, "50"], None)]);
    assert!(!own.leave_out(&mut Differences::default(), &rows, 7).unwrap());
}

#[test]
fn every_row_that_is_there_can_be_drawn_and_no_other() {
    assert_eq!(empty().drawn(&[1, 2, 3]).unwrap().num_rows(), 0);
    let rows: Vec<(i64, &str, Option<&str>, i64)> = (0..20_000).map(|key| (key, "x", None, key)).collect();
    let mut version = filled(&rows);
    for key in 0..50 {
        let key = (key * 100).to_string();
        version = apply(&version, &[(Delete, &[], Some(&[key.as_str(), "x"]))]).unwrap();
    }
    version = apply(&version, &[(Insert, &["90000", "x", NULL, "1"], None)]).unwrap();
    // Every place of chunks that lie about everywhere.
    let end = version.chunks.end();
    let places = (0..end).step_by(1_000).chain([end - 1]);
    let numbers: Vec<u64> = places.flat_map(|place| (0..9_000).map(move |row| place + end * row)).collect();
    let drawn = version.drawn(&numbers).unwrap();
    let found: BTreeSet<Vec<String>> = texts(&drawn).into_iter().collect();
    assert_eq!(found.len(), drawn.num_rows(), "a row is drawn twice");
    assert_eq!(version.look_up(&drawn, &[0]).unwrap().num_rows(), drawn.num_rows(), "a row is drawn that is gone");
    assert_eq!(found.len(), version.rows(), "rows are never drawn");
    // Numbers as chance gives them find some rows of the first chunk and of others.
    let some = version.drawn(&(0..500).map(|_| rand::random()).collect::<Vec<u64>>()).unwrap();
    assert!(some.num_rows() > 400, "{}", some.num_rows());
}
