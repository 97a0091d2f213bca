//! What differs between two states of a history, and of which states nothing is known.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Change, apply, batch, column, contents, empty, texts};
use crate::cache::version::TableVersion;
use crate::pgtype::PgType;
use crate::stores::change::Operation::{Delete, Insert, Update};
use crate::stores::change::Shape;
use crate::stores::schema::Table;

fn rows(batch: Option<&RecordBatch>) -> BTreeSet<Vec<String>> {
    batch.map(texts).unwrap_or_default().into_iter().collect()
}

/// Laid over the older state the difference gives the newer one, and it has no row of which nothing was touched.
fn check(older: &TableVersion, newer: &TableVersion, touched: &BTreeSet<i64>) {
    let difference = newer.since(older).unwrap();
    let (left, came) = (rows(difference.old.as_ref()), rows(difference.new.as_ref()));
    let mut laid = contents(older, 100);
    for row in &left {
        assert!(laid.remove(row), "{row:?} was not there");
    }
    for row in &came {
        assert!(laid.insert(row.clone()), "{row:?} was there");
    }
    assert_eq!(laid, contents(newer, 100));
    for row in left.iter().chain(&came) {
        assert!(touched.contains(&row[0].parse::<i64>().unwrap()), "{row:?} was not touched");
    }
}

#[test]
fn what_differs_is_what_was_touched_between_two_states() {
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let filled: Vec<(i64, &str, Option<&str>, i64)> = (0..50).map(|n| (n, "x", None, n)).collect();
        let mut states = vec![empty().filled(&batch(&filled)).unwrap()];
        let mut touched: Vec<BTreeSet<i64>> = vec![BTreeSet::new()];
        for n in 0..60_usize {
            let mut keys = BTreeSet::new();
            let mut version = states[n].clone();
            for _ in 0..random.random_range(1..4) {
                let key: i64 = random.random_range(0..60);
                keys.insert(key);
                let (key, value) = (key.to_string(), random.random_range(0..9).to_string());
                let there = contents(&version, 100).iter().any(|row| row[0] == key);
                let row = [key.as_str(), "x", "note", value.as_str()];
                let change: Change<'_> = match (there, random.random_range(0..3)) {
                    (true, 0) => (Delete, &[], Some(&row[..2])),
                    (true, _) => (Update, &row, None),
                    (false, _) => (Insert, &row, None),
                };
                version = apply(&version, &[change]).unwrap();
            }
            states.push(version);
            touched.push(keys);
        }
        for _ in 0..40 {
            let newer = random.random_range(0..states.len());
            let older = random.random_range(0..=newer);
            let between: BTreeSet<i64> = touched[older + 1..=newer].iter().flatten().copied().collect();
            check(&states[older], &states[newer], &between);
            if older < newer {
                assert!(states[older].since(&states[newer]).is_none(), "an older state is after a newer one");
            }
        }
    }
}

#[test]
fn rows_that_came_and_went_and_columns_that_are_not_asked_for_are_left_out() {
    let first = apply(&empty(), &[(Insert, &["1", "x", "one", "1"], None)]).unwrap();
    let second = apply(&first, &[(Insert, &["2", "x", "two", "2"], None)]).unwrap();
    let third = apply(&second, &[(Delete, &[], Some(&["2", "x"]))]).unwrap();
    let difference = third.since(&first).unwrap();
    assert!(difference.old.is_none() && difference.new.is_none());
    let difference = third.since_in(&second, &[3, 0]).unwrap();
    assert_eq!(rows(difference.old.as_ref()), BTreeSet::from([vec!["2".to_owned(), "2".to_owned()]]));
    assert!(difference.new.is_none());
    assert!(third.since(&third).unwrap().old.is_none());
}

#[test]
fn nothing_is_known_of_states_of_another_history() {
    let first = apply(&empty(), &[(Insert, &["1", "x", "one", "1"], None)]).unwrap();
    let left = apply(&first, &[(Insert, &["2", "x", "two", "2"], None)]).unwrap();
    let right = apply(&first, &[(Insert, &["3", "x", "three", "3"], None)]).unwrap();
    let after = apply(&left, &[(Insert, &["4", "x", "four", "4"], None)]).unwrap();
    assert!(after.since(&left).is_some() && after.since(&first).is_some());
    // They have as many steps behind them, and others.
    assert!(left.since(&right).is_none() && after.since(&right).is_none());
    // Loaded again, and filled further.
    let again = apply(&empty(), &[(Insert, &["1", "x", "one", "1"], None)]).unwrap();
    assert!(left.since(&again).is_none() && again.since(&empty()).is_none());
    let filled = first.filled(&batch(&[(9, "x", None, 9)])).unwrap();
    assert!(filled.since(&first).is_none());
}

#[test]
fn the_list_reaches_back_as_far_as_it_is_bounded_to() {
    let mut random = StdRng::seed_from_u64(7);
    let first = empty().filled(&batch(&[(0, "x", None, 0)])).unwrap();
    let mut version = first.clone();
    let mut states = Vec::new();
    for _ in 0..120_i64 {
        states.push(version.clone());
        let numbers: Vec<String> = (0..100_i64).map(|n| (n * 7 + random.random_range(0..7)).to_string()).collect();
        let rows: Vec<[&str; 4]> = numbers.iter().map(|number| [number.as_str(), "x", "note", "1"]).collect();
        let changes: Vec<Change<'_>> = rows.iter().map(|row| -> Change<'_> { (Insert, row, None) }).collect();
        version = apply(&version, &changes).unwrap();
    }
    // 8 192 keys are 81 steps of a hundred.
    assert!(version.since(&first).is_none() && version.since(&states[20]).is_none());
    assert!(version.since(&states[60]).is_some());
    assert!(version.touched.bytes() < 1 << 20);
    // More at once than the list takes.
    let numbers: Vec<String> = (0..9_000).map(|n| n.to_string()).collect();
    let rows: Vec<[&str; 4]> = numbers.iter().map(|number| [number.as_str(), "x", "note", "1"]).collect();
    let changes: Vec<Change<'_>> = rows.iter().map(|row| -> Change<'_> { (Insert, row, None) }).collect();
    let many = apply(&version, &changes).unwrap();
    assert!(many.since(&version).is_none());
    let next = apply(&many, &[(Insert, &["1", "x", "n", "1"], None)]).unwrap();
    assert!(next.since(&many).is_some());
}

#[test]
fn rows_of_a_view_may_have_null_in_their_key() {
    let table = Arc::new(Table::plain("public", "v", vec![column("a", PgType::INT8, true), column("b", PgType::INT8, true)]));
    let shape = Shape::of(&table, vec![0], vec![true; 2]);
    let rows = |rows: &[(Option<i64>, i64)]| {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Int64Array>()),
        ];
        RecordBatch::try_new(Arc::clone(&table.schema), columns).unwrap()
    };
    let none = rows(&[]);
    let first = TableVersion::of_view(&table, &shape, false).unwrap().exchanged(&none, &rows(&[(None, 1), (Some(2), 2)])).unwrap();
    assert_eq!(first.rows(), 2);
    let second = first.exchanged(&rows(&[(None, 1)]), &rows(&[(None, 3)])).unwrap();
    let difference = second.since(&first).unwrap();
    assert_eq!(texts(&difference.old.unwrap()), [["NULL", "1"]]);
    assert_eq!(texts(&difference.new.unwrap()), [["NULL", "3"]]);
    let keys = rows(&[(None, 0), (Some(7), 0)]).project(&[0]).unwrap();
    assert_eq!(second.stand(&keys).unwrap(), [true, false]);
    // No condition finds NULL by its value.
    assert_eq!(second.look_up(&keys, &[1]).unwrap().num_rows(), 0);
    // What is not there does not go, and what is does not come.
    assert!(second.exchanged(&rows(&[(Some(9), 1)]), &none).unwrap_err().reason.contains("was not there"));
    assert!(second.exchanged(&none, &rows(&[(Some(2), 1)])).unwrap_err().reason.contains("one key"));
}
