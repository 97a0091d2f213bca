//! Groups cut where transactions begin and end, and behind an entry.
//!
//! A group may begin with the last piece of one transaction and end with the first of another. Those that are whole can be published at
//! once; the pieces wait in the log until there is a last one.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::buffer::BooleanBuffer;

use super::log::Part;
use crate::stores::change::{Entry, Group, Known, Resume, Rows, Transaction};

/// A part of a group.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) group: Group,
    pub(super) part: Part,
    /// Whether its resume is that of its own end.
    pub(super) has_resume: bool,
}

/// Takes a group apart, in order. Those before the last whole transaction go on from `before`: the group's own resume is behind them.
pub(super) fn split(group: Group, before: &Resume) -> Vec<Cut> {
    let count = group.transactions.len();
    let is_last_piece = group.transactions.first().is_some_and(|first| first.first > 0 && first.ends);
    let is_piece = group.transactions.last().is_some_and(|last| !last.ends);
    let (start, end) = (usize::from(is_last_piece), count - usize::from(is_piece));
    let part = |is_alone: bool| match (is_last_piece, is_piece) {
        (true, _) if is_alone => Part::LastPiece,
        (_, true) if is_alone => Part::Piece,
        _ => Part::Whole,
    };
    if count == 1 || (start == 0 && end == count) {
        let part = part(count == 1);
        return vec![Cut { group, part, has_resume: part != Part::Piece }];
    }
    let mut cuts = Vec::new();
    if is_last_piece {
        // Nothing is behind it in this group but a piece.
        let is_end = start == end;
        cuts.push(of(&group, 0..1, Part::LastPiece, (!is_end).then_some(before)));
    }
    if start < end {
        cuts.push(of(&group, start..end, Part::Whole, None));
    }
    if is_piece {
        cuts.push(of(&group, end..count, Part::Piece, Some(before)));
    }
    cuts
}

fn of(group: &Group, range: Range<usize>, part: Part, before: Option<&Resume>) -> Cut {
    let mut cut = select(group, range);
    if let Some(before) = before {
        cut.resume = before.clone();
    }
    Cut { group: cut, part, has_resume: before.is_none() }
}

/// Some of the transactions, with the rows that they name and, where others lie between them, those.
fn select(group: &Group, range: Range<usize>) -> Group {
    let mut transactions: Vec<Transaction> = group.transactions.get(range).unwrap_or_default().to_vec();
    let mut rows = Vec::new();
    for (number, of) in group.rows.iter().enumerate() {
        let named = |entry: &Entry| match entry {
            Entry::Row { rows, row } if usize::try_from(*rows) == Ok(number) => usize::try_from(*row).ok(),
            Entry::Row { .. } | Entry::Barrier(_) => None,
        };
        let all = || transactions.iter().flat_map(|transaction| &transaction.entries).filter_map(named);
        let Some((first, last)) = all().min().zip(all().max()) else { continue };
        let place = rows.len();
        rows.push((slice(of, first..last + 1), number, first, place));
    }
    for entry in transactions.iter_mut().flat_map(|transaction| &mut transaction.entries) {
        if let Entry::Row { rows: of, row } = entry {
            let found = rows.iter().find(|(_, number, _, _)| usize::try_from(*of) == Ok(*number));
            if let Some((_, _, first, place)) = found {
                *of = u32::try_from(*place).unwrap_or(u32::MAX);
                *row = row.saturating_sub(u32::try_from(*first).unwrap_or(u32::MAX));
            }
        }
    }
    let rows = rows.into_iter().map(|(rows, _, _, _)| rows).collect();
    with(group, transactions, rows)
}

fn with(group: &Group, transactions: Vec<Transaction>, rows: Vec<Rows>) -> Group {
    let Group { store, identity, resume, received_ms, .. } = group;
    Group {
        store: store.clone(),
        identity: Arc::clone(identity),
        transactions,
        rows,
        resume: resume.clone(),
        received_ms: *received_ms,
    }
}

/// Some rows. They share the memory of all of them.
fn slice(rows: &Rows, range: Range<usize>) -> Rows {
    let length = range.len();
    let known = |known: &Known| {
        let cut = |mask: &Option<BooleanBuffer>| mask.as_ref().map(|mask| mask.slice(range.start, length));
        Known(known.0.iter().map(cut).collect())
    };
    Rows {
        shape: Arc::clone(&rows.shape),
        operations: rows.operations.get(range.clone()).unwrap_or_default().to_vec(),
        new: rows.new.slice(range.start, length),
        old: rows.old.as_ref().map(|old| old.slice(range.start, length)),
        new_known: known(&rows.new_known),
        old_known: known(&rows.old_known),
        payloads: OnceLock::new(),
    }
}

/// The same rows, which nobody has been told of.
fn copy(rows: &Rows) -> Rows {
    Rows {
        shape: Arc::clone(&rows.shape),
        operations: rows.operations.clone(),
        new: rows.new.clone(),
        old: rows.old.clone(),
        new_known: rows.new_known.clone(),
        old_known: rows.old_known.clone(),
        payloads: OnceLock::new(),
    }
}

/// One transaction, or piece of one, with its entries from an ordinal on.
pub(super) fn from(group: &Group, transaction: usize, ordinal: u64) -> Group {
    let mut transactions: Vec<Transaction> =
        group.transactions.get(transaction..).unwrap_or_default().iter().take(1).cloned().collect();
    for transaction in &mut transactions {
        let skipped = usize::try_from(ordinal.saturating_sub(u64::from(transaction.first))).unwrap_or(usize::MAX);
        let skipped = skipped.min(transaction.entries.len());
        transaction.entries.drain(..skipped);
        transaction.first = transaction.first.saturating_add(u32::try_from(skipped).unwrap_or(u32::MAX));
    }
    with(group, transactions, group.rows.iter().map(copy).collect())
}

/// Leaves out the rows of some tables, and transactions of which nothing is left. What is left keeps its order; ordinals are given anew.
pub(super) fn without(group: &mut Group, is_left_out: impl Fn(&Rows) -> bool) {
    let left_out: Vec<bool> = group.rows.iter().map(is_left_out).collect();
    if left_out.iter().any(|left_out| *left_out) {
        for transaction in &mut group.transactions {
            transaction.entries.retain(|entry| match entry {
                Entry::Row { rows, .. } => !usize::try_from(*rows).is_ok_and(|rows| left_out.get(rows) == Some(&true)),
                Entry::Barrier(_) => true,
            });
        }
    }
    // A piece says where its transaction ends, though there be nothing else in it.
    group.transactions.retain(|transaction| !transaction.entries.is_empty() || !transaction.ends || transaction.first > 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::fakes::{group_of, resume_of};
    use crate::stores::StoreName;

    fn group() -> Group {
        group_of(&StoreName::new("s"), &[(5, &[("a", 1), ("b", 2)]), (6, &[("c", 3)]), (7, &[("d", 4), ("e", 5)])])
    }

    /// Names by transaction, as they stand in the rows.
    fn content(group: &Group) -> Vec<Vec<String>> {
        let name = |entry: &Entry| match entry {
            Entry::Row { rows, row } => {
                let rows = &group.rows[usize::try_from(*rows).unwrap()];
                let names = arrow::array::AsArray::as_string::<i32>(rows.new.column(0).as_ref());
                names.value(usize::try_from(*row).unwrap()).to_owned()
            }
            Entry::Barrier(barrier) => format!("{barrier:?}"),
        };
        group.transactions.iter().map(|transaction| transaction.entries.iter().map(name).collect()).collect()
    }

    type Told = (Part, bool, Resume, Vec<Vec<String>>, usize);

    fn cuts(first: u32, last_ends: bool) -> Vec<Told> {
        let mut group = group();
        group.transactions[0].first = first;
        group.transactions[2].ends = last_ends;
        let cuts = split(group, &resume_of(4)).into_iter();
        cuts.map(|cut| {
            let rows = cut.group.rows.iter().map(|rows| rows.operations.len()).sum();
            (cut.part, cut.has_resume, cut.group.resume.clone(), content(&cut.group), rows)
        })
        .collect()
    }

    #[test]
    fn pieces_are_cut_from_what_is_whole() {
        let texts = |names: &[&[&str]]| {
            names.iter().map(|names| names.iter().map(|name| (*name).to_owned()).collect()).collect::<Vec<Vec<String>>>()
        };
        let (own, before) = (resume_of(7), resume_of(4));
        assert_eq!(cuts(0, true), [(Part::Whole, true, own.clone(), texts(&[&["a", "b"], &["c"], &["d", "e"]]), 5)]);
        assert_eq!(
            cuts(9, false),
            [
                (Part::LastPiece, false, before.clone(), texts(&[&["a", "b"]]), 2),
                (Part::Whole, true, own.clone(), texts(&[&["c"]]), 1),
                (Part::Piece, false, before.clone(), texts(&[&["d", "e"]]), 2),
            ]
        );
        assert_eq!(cuts(9, true).len(), 2);
        assert_eq!(cuts(0, false)[1], (Part::Piece, false, before, texts(&[&["d", "e"]]), 2));
    }

    #[test]
    fn what_is_alone_is_not_cut() {
        for (first, ends, part) in
            [(0, true, Part::Whole), (0, false, Part::Piece), (3, false, Part::Piece), (3, true, Part::LastPiece)]
        {
            let mut group = group_of(&StoreName::new("s"), &[(5, &[("a", 1)])]);
            (group.transactions[0].first, group.transactions[0].ends) = (first, ends);
            let cuts = split(group, &resume_of(4));
            assert_eq!((cuts.len(), cuts[0].part, cuts[0].has_resume), (1, part, part != Part::Piece));
        }
        // The end of one and the beginning of the next.
        let mut group = group_of(&StoreName::new("s"), &[(5, &[("a", 1)]), (6, &[("b", 1)])]);
        (group.transactions[0].first, group.transactions[1].ends) = (3, false);
        let cuts = split(group, &resume_of(4));
        let parts: Vec<_> = cuts.iter().map(|cut| (cut.part, cut.has_resume, cut.group.resume.clone())).collect();
        assert_eq!(parts, [(Part::LastPiece, true, resume_of(6)), (Part::Piece, false, resume_of(4))]);
    }

    #[test]
    fn entries_that_were_given_are_left_out() {
        let cut = from(&group(), 2, 1);
        assert_eq!((content(&cut), cut.transactions[0].first), (vec![vec!["e".to_owned()]], 1));
        assert!(from(&group(), 2, 2).transactions[0].entries.is_empty());
        assert!(from(&group(), 2, u64::MAX).transactions[0].entries.is_empty());
        assert_eq!(content(&from(&group(), 0, 0))[0].len(), 2);
    }

    #[test]
    fn tables_that_are_not_followed_leave_nothing() {
        let mut all = group();
        without(&mut all, |_| false);
        assert_eq!(content(&all).len(), 3);
        without(&mut all, |rows| rows.shape.id.name == "orders");
        assert!(all.transactions.is_empty());
        let mut piece = group();
        piece.transactions[0].first = 2;
        without(&mut piece, |_| true);
        assert_eq!(piece.transactions.len(), 1);
    }
}
