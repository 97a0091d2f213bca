//! What states cost: chunks, memory, and what of a large table a change leaves as it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{UNTOLD, apply, batch, contents, empty, key_batch, push, texts};
use crate::cache::version::TableVersion;
use crate::stores::change::Operation::{Delete, Insert, Update};
use crate::stores::change::Rows;
use crate::stores::change::builder::RowsBuilder;

#[test]
fn small_transactions_do_not_end_as_many_chunks() {
    let mut version = empty();
    for n in 0..2_000_i64 {
        let number = n.to_string();
        version = apply(&version, &[(Insert, &[number.as_str(), "x", "note", "1"], None)]).unwrap();
        assert!(version.chunks.count() <= 12, "{} chunks of {} rows", version.chunks.count(), version.rows());
    }
    for n in (0..2_000_i64).filter(|n| n % 100 != 0) {
        let number = n.to_string();
        version = apply(&version, &[(Delete, &[], Some(&[number.as_str(), "x"]))]).unwrap();
    }
    assert_eq!(version.rows(), 20);
    assert!(version.chunks.held() <= 40 && version.chunks.count() <= 12);
    let before = version.bytes();
    let rest: Vec<String> = (0..20).map(|n| (n * 100).to_string()).collect();
    for number in &rest {
        version = apply(&version, &[(Delete, &[], Some(&[number.as_str(), "x"]))]).unwrap();
    }
    assert_eq!((version.rows(), version.chunks.count(), version.chunks.bytes()), (0, 0, 0));
    assert!(version.bytes() < before);
    // But for the keys that the last steps touched.
    assert_eq!(version.bytes() - version.touched.bytes(), empty().bytes() - empty().touched.bytes());
}

#[test]
fn memory_does_not_grow_with_updates() {
    let rows: Vec<(i64, &str, Option<&str>, i64)> =
        (0..100).map(|n| (n, "a text that is longer than what is kept in place", Some("a note of some length"), n)).collect();
    let mut version = empty().filled(&batch(&rows)).unwrap();
    let first = version.bytes();
    let mut builder = RowsBuilder::new(version.shape());
    for n in 0..50 {
        // Forty keys, of which some come twice.
        let (key, count) = ((n * 7 % 40).to_string(), n.to_string());
        let new = [key.as_str(), "a text that is longer than what is kept in place", UNTOLD, count.as_str()];
        push(&mut builder, Update, &new, None);
    }
    let changes = builder.finish().unwrap();
    let changes: Vec<(&Rows, u32)> = (0..50).map(|row| (&changes, row)).collect();
    for round in 0..2_000_usize {
        // The last ones change together, the others by parts.
        let (from, to) = if round % 2 == 0 { (0, 50) } else { (round % 50, round % 50 + 1) };
        version = version.applied(&changes[from..to]).unwrap();
        let bytes = version.bytes() - version.touched.bytes();
        assert!(bytes <= 3 * first, "{bytes} bytes after {round} rounds, {first} at first");
        assert!(version.touched.bytes() < 4 << 20, "{} bytes after {round} rounds", version.touched.bytes());
        assert!(version.chunks.held() <= 200);
    }
    assert_eq!(version.rows(), 100);
    assert!(contents(&version, 1_000).iter().all(|row| row[2] == "a note of some length"));
}

#[test]
fn a_change_leaves_almost_all_of_a_large_table_as_it_is() {
    let mut version = empty();
    for start in (0..80_000).step_by(8_000) {
        let rows: Vec<(i64, &str, Option<&str>, i64)> = (start..start + 8_000).map(|n| (n, "x", Some("note"), n)).collect();
        version = version.filled(&batch(&rows)).unwrap();
    }
    let places = |version: &TableVersion| {
        let (mut places, mut number) = (BTreeSet::new(), 0);
        while let Some((first, chunk)) = version.chunks.not_below(number) {
            places.insert(Arc::as_ptr(&chunk.columns()[3]).cast::<()>() as usize);
            number = first + 1;
        }
        places
    };
    let before = places(&version);
    assert_eq!(before.len(), 10);
    let after = apply(
        &version,
        &[
            (Update, &["7", "x", UNTOLD, "1"], None),
            (Update, &["44000", "x", UNTOLD, "1"], None),
            (Delete, &[], Some(&["79999", "x"])),
        ],
    )
    .unwrap();
    assert!(places(&after).is_superset(&before) && places(&after).len() == 11);
    assert_eq!((after.rows(), version.rows()), (79_999, 80_000));
    // The masks of three chunks and a chunk of two rows.
    assert!(after.bytes() - version.bytes() < 8 << 10, "{} {}", after.bytes(), version.bytes());
    let found = after.look_up(&key_batch(&[(44_000, "x"), (79_999, "x"), (8, "x")]), &[0, 3]).unwrap();
    assert_eq!(texts(&found), [["44000", "1"], ["8", "8"]]);
}
