//! Transactions with rows of several tables, and with what is no row.

use datafusion::scalar::ScalarValue;

use super::{group_of, shape_of};
use crate::stores::StoreName;
use crate::stores::change::builder::{Cell, RowsBuilder};
use crate::stores::change::{Barrier, Entry, Group, Operation};

/// What happens to a row, or else, in transactions of [`mixed_of`].
#[derive(Debug, Clone)]
pub(crate) enum Did<'a> {
    /// A row is there with a total.
    Put(&'a str, i64),
    /// A row has changed, and its total was not sent.
    Part(&'a str),
    /// A row has another key, and its total was not sent.
    Move(&'a str, &'a str),
    /// A row is gone.
    Gone(&'a str),
    /// No row.
    Tell(Barrier),
}

/// A group of whole transactions by their positions, with rows of several tables.
pub(crate) fn mixed_of(store: &StoreName, transactions: &[(u64, Vec<(&str, Did<'_>)>)]) -> Group {
    const NO_ROWS: &[(&str, i64)] = &[];
    let empty: Vec<(u64, &[(&str, i64)])> = transactions.iter().map(|(position, _)| (*position, NO_ROWS)).collect();
    let mut group = group_of(store, &empty);
    let mut builders: Vec<(&str, RowsBuilder)> = Vec::new();
    for (transaction, (_, entries)) in group.transactions.iter_mut().zip(transactions) {
        for (table, did) in entries {
            if let Did::Tell(barrier) = did {
                transaction.entries.push(Entry::Barrier(barrier.clone()));
                continue;
            }
            let known = builders.iter().position(|(known, _)| known == table);
            let place = known.unwrap_or(builders.len());
            if known.is_none() {
                builders.push((*table, RowsBuilder::new(&shape_of(table))));
            }
            let builder = &mut builders[place].1;
            let nothing = &mut std::iter::empty::<Cell<'_>>();
            let row = match did {
                Did::Put(name, total) => {
                    let new = &mut [Cell::Text(name), Cell::Value(ScalarValue::Int64(Some(*total)))].into_iter();
                    builder.push(Operation::Upsert, new, None)
                }
                Did::Part(name) => builder.push(Operation::Update, &mut [Cell::Text(name), Cell::Unknown].into_iter(), None),
                Did::Move(from, to) => {
                    let old: &mut dyn Iterator<Item = Cell<'_>> = &mut [Cell::Text(from)].into_iter();
                    builder.push(Operation::Update, &mut [Cell::Text(to), Cell::Unknown].into_iter(), Some(old))
                }
                Did::Gone(name) => {
                    let old: &mut dyn Iterator<Item = Cell<'_>> = &mut [Cell::Text(name)].into_iter();
                    builder.push(Operation::Delete, nothing, Some(old))
                }
                Did::Tell(_) => continue,
            };
            transaction.entries.push(Entry::Row { rows: u32::try_from(place).unwrap(), row: row.unwrap() });
        }
    }
    group.rows = builders.iter_mut().map(|(_, builder)| builder.finish().unwrap()).collect();
    group
}
