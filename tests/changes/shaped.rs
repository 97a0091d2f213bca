//! What must hold of what is told of a table that is altered and emptied while it is followed. Rows behind an alteration may be missing
//! until the table is looked at again, and then it is told that it was; nothing else may be missing, nor come twice or in another order.
//! Of a store whose log cannot be read as it was before the alteration, rows before one may be missing too that were not read in time,
//! and it is told so; and of any where the feed begins again meanwhile.

use std::collections::BTreeMap;

/// What was done to the table, each by itself and one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A row with this number was added.
    Row(i64),
    /// TRUNCATE.
    Emptied,
    /// It has got another column or index.
    Altered,
    /// The feed was ended or cut, and may begin again at any time behind this, with the table as it is then.
    Cut,
}

/// What was told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Row(i64),
    Emptied,
    /// It has stopped, or goes on in another shape.
    Shaped,
}

/// Everything that is wrong with what was told. `reads_back`: whether rows are told that were written before an alteration and are read
/// behind it.
pub fn complaints(done: &[Step], told: &[Seen], reads_back: bool) -> Vec<String> {
    let places: BTreeMap<i64, usize> = done
        .iter()
        .enumerate()
        .filter_map(|(place, step)| if let Step::Row(row) = step { Some((*row, place)) } else { None })
        .collect();
    let mut found = Vec::new();
    // Behind the last row that was told, of what was done and of what was told.
    let (mut next, mut seen) = (0, 0);
    for (at, row) in
        told.iter().enumerate().filter_map(|(at, seen)| if let Seen::Row(row) = seen { Some((at, *row)) } else { None })
    {
        match places.get(&row) {
            None => found.push(format!("the row {row} was never added")),
            Some(&place) if place < next => found.push(format!("the row {row} is told twice or behind a later one")),
            Some(&place) => {
                found.extend(between(&done[next..place], &told[seen..at], reads_back));
                (next, seen) = (place + 1, at + 1);
            }
        }
    }
    found.extend(between(&done[next..], &told[seen..], reads_back));
    found
}

/// What is wrong between two rows that are told.
fn between(done: &[Step], told: &[Seen], reads_back: bool) -> Vec<String> {
    let mut found = Vec::new();
    let reads_back = reads_back && !done.contains(&Step::Cut);
    let altered = done.iter().position(|step| *step == Step::Altered).map(|altered| if reads_back { altered } else { 0 });
    let before = &done[..altered.unwrap_or(done.len())];
    found.extend(
        before
            .iter()
            .filter_map(|step| if let Step::Row(row) = step { Some(row) } else { None })
            .map(|row| format!("the row {row} is not told, and nothing was altered before it")),
    );
    let count = |steps: &[Step]| steps.iter().filter(|step| **step == Step::Emptied).count();
    let emptied = told.iter().filter(|seen| **seen == Seen::Emptied).count();
    if emptied < count(before) || emptied > count(done) {
        found.push(format!("it was emptied {} times, which is told {emptied} times", count(done)));
    }
    let is_short = emptied < count(done) || done.iter().any(|step| matches!(step, Step::Row(_)));
    if is_short && !told.contains(&Seen::Shaped) {
        found.push(format!("of {done:?} only {told:?} is told, and not that it has another shape"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: [Step; 8] =
        [Step::Row(1), Step::Emptied, Step::Row(2), Step::Altered, Step::Row(3), Step::Emptied, Step::Row(4), Step::Row(5)];

    #[track_caller]
    fn assert_told(told: &[Seen], expected: &str) {
        let found = complaints(&DONE, told, true);
        assert!(found.iter().any(|complaint| complaint.contains(expected)), "{expected:?} is not among {found:?}");
    }

    #[test]
    fn what_is_whole_or_said_to_be_missing_has_no_complaint() {
        use Seen::{Emptied, Row, Shaped};
        for told in [
            vec![Row(1), Emptied, Row(2), Row(3), Emptied, Row(4), Row(5)],
            vec![Row(1), Emptied, Row(2), Shaped, Row(3), Emptied, Row(4), Row(5)],
            vec![Row(1), Emptied, Row(2), Shaped, Shaped, Row(4), Row(5)],
            vec![Row(1), Emptied, Row(2), Shaped, Emptied, Row(4), Row(5)],
            vec![Row(1), Emptied, Row(2), Row(3), Emptied, Row(4), Row(5), Shaped],
        ] {
            assert_eq!(complaints(&DONE, &told, true), Vec::<String>::new(), "{told:?}");
            assert_eq!(complaints(&DONE, &told, false), Vec::<String>::new(), "{told:?}");
        }
    }

    #[test]
    fn rows_before_an_alteration_may_be_missing_only_where_none_are_read_back_and_it_is_said() {
        use Seen::{Emptied, Row, Shaped};
        let told = [Row(1), Emptied, Shaped, Row(3), Emptied, Row(4), Row(5)];
        assert_eq!(complaints(&DONE, &told, false), Vec::<String>::new());
        assert_told(&told, "the row 2 is not told");
        for (told, expected) in [
            (vec![Row(1), Emptied, Row(3), Emptied, Row(4), Row(5)], "and not that it has another shape"),
            (vec![Row(1), Emptied, Row(2), Shaped, Row(3), Emptied, Row(5)], "the row 4 is not told"),
            (vec![Shaped, Row(1), Row(3), Emptied, Row(4), Row(5), Row(5)], "5 is told twice"),
        ] {
            let found = complaints(&DONE, &told, false);
            assert!(found.iter().any(|complaint| complaint.contains(expected)), "{expected:?} is not among {found:?}");
        }
    }

    #[test]
    fn rows_that_a_feed_finds_when_it_begins_again_may_be_missing_before_an_alteration() {
        use Seen::{Row, Shaped};
        let done = [Step::Row(1), Step::Cut, Step::Row(2), Step::Emptied, Step::Altered, Step::Row(3), Step::Row(4), Step::Cut];
        let found = |told: &[Seen]| complaints(&done, told, true);
        assert_eq!(found(&[Row(1), Shaped, Row(3), Row(4)]), Vec::<String>::new());
        assert!(found(&[Row(1), Row(3), Row(4)])[0].contains("and not that it has another shape"));
        // What was told behind it shows that it goes on, and nothing was altered since.
        assert!(found(&[Row(1), Row(2), Shaped, Row(3)]).iter().any(|complaint| complaint.contains("the row 4 is not told")));
        assert!(found(&[Shaped, Row(2), Row(3), Row(4)]).iter().any(|complaint| complaint.contains("the row 1 is not told")));
    }

    #[test]
    fn what_is_missing_doubled_or_moved_is_noticed() {
        use Seen::{Emptied, Row, Shaped};
        // Before anything was altered, and with nothing said.
        assert_told(&[Emptied, Row(2), Row(3), Emptied, Row(4), Row(5)], "the row 1 is not told");
        assert_told(&[Row(1), Shaped, Emptied, Row(3), Emptied, Row(4), Row(5)], "the row 2 is not told");
        assert_told(&[Row(1), Emptied, Row(2), Row(4), Row(5)], "and not that it has another shape");
        // Behind a row that was told again.
        assert_told(&[Row(1), Emptied, Row(2), Shaped, Row(3), Emptied, Row(5)], "the row 4 is not told");
        assert_told(&[Row(1), Emptied, Row(2), Shaped, Row(3), Emptied, Row(4)], "the row 5 is not told");
        assert_told(&[Row(1), Row(2), Row(3), Emptied, Row(4), Row(5)], "emptied 1 times, which is told 0 times");
        assert_told(&[Row(1), Emptied, Emptied, Row(2), Row(3), Emptied, Row(4), Row(5)], "which is told 2 times");
        assert_told(&[Row(1), Emptied, Row(2), Row(3), Row(4), Emptied, Row(5)], "which is told 0 times");
        assert_told(&[Row(1), Emptied, Row(2), Row(2), Row(3), Emptied, Row(4), Row(5)], "2 is told twice");
        assert_told(&[Row(1), Emptied, Row(2), Row(3), Emptied, Row(5), Row(4)], "4 is told twice or behind");
        assert_told(&[Row(1), Emptied, Row(2), Row(3), Emptied, Row(4), Row(9), Row(5)], "9 was never added");
    }
}
