//! Which parts of plans the server may run, and how they are spelled for it.
//!
//! PostgreSQL means what PostgreSQL means, so nearly all is accepted. What is refused depends on settings of the client's session (time
//! zone, date style), on the locale (`upper`), or on values that reach us in another form than the server computes with.

mod judge;
mod phrasing;
#[cfg(test)]
mod tests;

pub(super) use judge::accepts;
pub(super) use phrasing::Postgres;

use super::super::collation;
use super::super::fragment::{Fragment, Tables};
use super::super::relational::{Dialect, Sql, Unwritable, Use, fragment};
use super::super::schema::Column;

/// Whether a column whose collation counts is compared under it: patterns look at no collation.
pub(super) fn compares_by_own(_column: &Column, purpose: Use) -> bool {
    matches!(purpose, Use::Compare(_) | Use::Member)
}

/// The statement as `EXPLAIN` shows it: values as placeholders and behind it, without the wrapping COPY and the check of the
/// tables' columns.
pub(super) fn describe(fragment: &Fragment, tables: &Tables) -> String {
    let mut sql = Sql::bound(Dialect::Postgres);
    let by_own_collations = fragment.by_own_collations;
    match fragment::write(&fragment.root, tables, &Postgres { by_own_collations }, None, &mut sql) {
        Ok(()) => {
            let text = fragment::shown(sql);
            collation::noted_part(text, &fragment.root, tables, by_own_collations, &compares_by_own)
        }
        Err(Unwritable(rule)) => format!("not sent: a value {rule}"),
    }
}
