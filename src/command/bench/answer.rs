//! Answers as text, and whether two of them are the same.
//!
//! Rows count as a multiset, because ORDER BY leaves rows with equal keys in any order; the columns that it sorts by must stand
//! in the same sequence.

/// A cell; NULL is `None`.
pub(super) type Cell = Option<String>;

/// Rows of an answer, as a client of the Postgres protocol reads them in text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) rows: Vec<Vec<Cell>>,
    /// Columns that are `real` or `double precision`.
    pub(super) floats: Vec<usize>,
}

/// How exactly two answers must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exactness {
    /// To the letter, except floats.
    Text,
    /// Numbers by value within [`TOLERANCE`]: the other side computes with floats or writes numbers in another way.
    Number,
}

/// How far two numbers may be apart, relative to the larger one. Sums of floats over all lines at scale 10 stay far below.
pub(super) const TOLERANCE: f64 = 1e-9;
/// Longest cell that is quoted in a complaint, in characters.
const QUOTED_MAX: usize = 60;

/// The first difference between an answer and the one that it should be.
pub(super) fn difference(found: &Answer, expected: &Answer, sorted_by: &[usize], exactness: Exactness) -> Option<String> {
    let (count, wanted) = (found.rows.len(), expected.rows.len());
    if count != wanted {
        return Some(format!("{count} rows instead of {wanted}"));
    }
    let width = |answer: &Answer| answer.rows.first().map_or(0, Vec::len);
    if width(found) != width(expected) {
        return Some(format!("{} columns instead of {}", width(found), width(expected)));
    }
    let how = |column: usize| {
        let is_float = found.floats.contains(&column) || expected.floats.contains(&column);
        if is_float { Exactness::Number } else { exactness }
    };
    for (place, (row, other)) in found.rows.iter().zip(&expected.rows).enumerate() {
        for &column in sorted_by {
            if !same(cell(row, column), cell(other, column), how(column)) {
                let (a, b) = (quoted(cell(row, column)), quoted(cell(other, column)));
                return Some(format!("row {}, column {}: {a} instead of {b}", place + 1, column + 1));
            }
        }
    }
    let (mut left, mut right) = (in_order(&found.rows), in_order(&expected.rows));
    let agree =
        |row: &[Cell], other: &[Cell]| (0..row.len()).all(|column| same(cell(row, column), cell(other, column), how(column)));
    // Numbers that differ within the tolerance may have sorted differently.
    left.retain(|row| match right.iter().position(|other| agree(row, other)) {
        Some(at) => {
            right.remove(at);
            false
        }
        None => true,
    });
    let (row, other) = (left.first()?, right.first()?);
    let column = (0..row.len()).find(|&column| !same(cell(row, column), cell(other, column), how(column))).unwrap_or(0);
    let (a, b) = (quoted(cell(row, column)), quoted(cell(other, column)));
    Some(format!("{} rows differ; in one, column {} is {a} instead of {b}", left.len(), column + 1))
}

fn cell(row: &[Cell], column: usize) -> Option<&str> {
    row.get(column)?.as_deref()
}

/// Rows by their texts. Equal rows of both sides then meet at the front, so that finding each takes a step or a few.
fn in_order(rows: &[Vec<Cell>]) -> Vec<&[Cell]> {
    let mut rows: Vec<&[Cell]> = rows.iter().map(Vec::as_slice).collect();
    rows.sort_by_cached_key(|row| row.iter().map(rounded).collect::<Vec<_>>());
    rows
}

/// A cell for sorting: numbers by their first six digits, so that nearly equal ones nearly always sort alike.
fn rounded(cell: &Cell) -> Option<String> {
    let text = cell.as_ref()?;
    Some(match text.parse::<f64>() {
        Ok(number) if text.contains(['.', 'e']) => format!("{number:.5e}"),
        _ => text.clone(),
    })
}

fn same(a: Option<&str>, b: Option<&str>, exactness: Exactness) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return a.is_none() == b.is_none() };
    if a == b {
        return true;
    }
    let (Ok(x), Ok(y)) = (a.parse::<f64>(), b.parse::<f64>()) else { return false };
    exactness == Exactness::Number && (x - y).abs() <= TOLERANCE * x.abs().max(y.abs())
}

fn quoted(cell: Option<&str>) -> String {
    let Some(text) = cell else { return "NULL".to_owned() };
    let short: String = text.chars().take(QUOTED_MAX).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("\"{short}{more}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(rows: &[&[&str]]) -> Answer {
        let cell = |text: &&str| (*text != "~").then(|| (*text).to_owned());
        Answer { rows: rows.iter().map(|row| row.iter().map(cell).collect()).collect(), floats: Vec::new() }
    }

    #[test]
    fn rows_may_change_places_only_within_equal_keys() {
        let expected = answer(&[&["1", "a"], &["1", "b"], &["2", "c"]]);
        let swapped = answer(&[&["1", "b"], &["1", "a"], &["2", "c"]]);
        let unsorted = answer(&[&["2", "c"], &["1", "b"], &["1", "a"]]);
        let check = |found: &Answer, sorted_by: &[usize]| difference(found, &expected, sorted_by, Exactness::Text);
        assert_eq!(check(&swapped, &[0]), None);
        assert_eq!(check(&unsorted, &[]), None);
        assert_eq!(check(&unsorted, &[0]).as_deref(), Some("row 1, column 1: \"2\" instead of \"1\""));
    }

    #[test]
    fn values_numbers_and_nulls_are_told_apart() {
        type Rows = &'static [&'static [&'static str]];
        let rows: &[(Rows, Rows, bool, bool)] = &[
            (&[&["1.0"]], &[&["1.00"]], false, true),
            (&[&["0.3000000000000004"]], &[&["0.3"]], false, true),
            (&[&["0.300001"]], &[&["0.3"]], false, false),
            (&[&["~"]], &[&["0"]], false, false),
            (&[&["~"]], &[&["~"]], true, true),
            (&[&["a"]], &[&["b"]], false, false),
            (&[&["a"], &["a"]], &[&["a"], &["b"]], false, false),
            (&[&["a"]], &[&["a"], &["a"]], false, false),
            (&[&["a", "b"]], &[&["a"]], false, false),
            (&[&["2.0000000001", "x"], &["2", "y"]], &[&["2", "x"], &["2", "y"]], false, true),
        ];
        for (found, expected, text, number) in rows {
            let check = |exactness| difference(&answer(found), &answer(expected), &[], exactness).is_none();
            assert_eq!((check(Exactness::Text), check(Exactness::Number)), (*text, *number), "{found:?} {expected:?}");
        }
        let floats = Answer { floats: vec![0], ..answer(&[&["0.30000000000000004"]]) };
        assert_eq!(difference(&floats, &answer(&[&["0.3"]]), &[], Exactness::Text), None);
    }
}
