//! Which rows of values a store can be given, judged by the list that each of their columns would be.
//!
//! `(a, b) IN (…)` compares each column with values of its own, so a store evaluates it as well as it evaluates a list over each
//! column. Where a list is changed before it is sent (a `uuid` in all its forms), rows cannot be; then alternatives are tried,
//! which each store judges part by part.

use super::super::predicate::{ColumnRef, Predicate, Pushdown, Rows};
use super::super::schema::Table;
use super::embedded;

/// The most values of one condition on rows that are sent as parameters: SQLite takes 32,766 in a statement, MySQL 65,535.
pub const VALUES_MAX: usize = 10_000;

/// More rows than this are not written out as alternatives; SQLite refuses expressions deeper than 1000.
const ALTERNATIVES_MAX: usize = 400;

const REFUSED: Pushdown = Pushdown::Refused("the rows of values have no form that the store takes");

/// How a store evaluates rows, given how it evaluates other conditions. It is sent at most `values_max` values.
pub fn judge(table: &Table, rows: &Rows, values_max: usize, judge: &dyn Fn(&Predicate) -> Pushdown) -> Pushdown {
    let whole = as_a_whole(table, rows, values_max, judge);
    if !matches!(whole, Pushdown::Refused(_)) || rows.rows.is_empty() || rows.rows.len() > ALTERNATIVES_MAX {
        return whole;
    }
    judge(&rows.alternatives())
}

fn as_a_whole(table: &Table, rows: &Rows, values_max: usize, judge: &dyn Fn(&Predicate) -> Pushdown) -> Pushdown {
    let fits = rows.columns.len() > 1 && !rows.rows.is_empty() && rows.values() <= values_max;
    let is_complete = rows.rows.iter().all(|row| row.len() == rows.columns.len());
    if !fits || !is_complete || !rows.columns.iter().all(|column| is_plain(table, column)) {
        return REFUSED;
    }
    let mut exact = true;
    for list in rows.lists() {
        match judge(&list) {
            Pushdown::Exact(kept) if kept == list => {}
            Pushdown::Superset(kept) if kept == list => exact = false,
            Pushdown::Refused(reason) => return Pushdown::Refused(reason),
            Pushdown::Exact(_) | Pushdown::Superset(_) => return REFUSED,
        }
    }
    let kept = Predicate::Rows(rows.clone());
    if exact { Pushdown::Exact(kept) } else { Pushdown::Superset(kept) }
}

/// Whether it is a column of the table itself, not a field of a document.
fn is_plain(table: &Table, column: &ColumnRef) -> bool {
    let found = table.columns.get(column.column).filter(|_| column.path.is_empty());
    found.is_some_and(|found| embedded::source(&found.field).is_none())
}
