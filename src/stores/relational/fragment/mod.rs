//! Writes a fragment as one SQL statement.
//!
//! ```text
//! Relation ─ build → Block (one SELECT: FROM, WHERE, GROUP BY, …) over terms ─ write → Sql, in the words of a Phrasing
//! ```
//!
//! A node joins the SELECT of its input wherever that is plainly the same, because not every store looks through derived tables;
//! otherwise its input becomes a derived table with an alias of its own and columns `c0`, `c1`, …. What occurs more than once and
//! is costly is written once, before the statement, where the store then computes it once ([`Phrasing::kept`]).
//!
//! **Invariants:** values reach the text only as the [`Phrasing`] writes literals, names only in quotes; every alias of a
//! statement occurs once, so that a column means the same at any depth; text is written in the order in which it is sent, so
//! that placeholders are numbered as they are bound. Deliberately absent: what a store accepts (its own `fragment.rs`).

mod block;
mod build;
mod check;
mod pen;
mod phrasing;
mod shared;
mod target;
#[cfg(test)]
mod tests;
mod write;

pub use check::{Judge, conjuncts, input_shapes, is_counted, is_equality_of_sides, visit_expressions};
pub use pen::Pen;
pub use phrasing::{Like, Phrasing};
pub(super) use target::{Target, write_delete, write_update};

use super::super::fragment::{Relation, Tables};
use super::super::value::Value;
use super::literal;
use super::sql::{Sql, Unwritable};

/// The most letters of a text that are shown: lists of keys are texts of megabytes.
const SHOWN_MAX: usize = 500;

/// Writes `relation` to the end of `sql`, one column per column of it, named `c0`, `c1`, …. `guard` is a condition of our own words that
/// holds for all rows or fails.
///
/// # Errors
/// A value or column that cannot be written.
pub fn write(
    relation: &Relation,
    tables: &Tables,
    phrasing: &dyn Phrasing,
    guard: Option<&str>,
    sql: &mut Sql,
) -> Result<(), Unwritable> {
    Pen::new(phrasing, tables, sql).statement(relation, guard)
}

/// The statement with its values behind it, as `EXPLAIN` shows it.
pub fn shown(sql: Sql) -> String {
    let (text, values) = sql.into_parts();
    text + &shown_values(&values)
}

/// The values of a statement as they are shown behind it.
pub fn shown_values(values: &[Value]) -> String {
    let mut text = String::new();
    for (place, value) in values.iter().enumerate() {
        text.push_str(if place == 0 { " -- " } else { ", " });
        // A literal of PostgreSQL, whatever the store: it is read by people.
        if let Value::Text(content) = value
            && content.len() > SHOWN_MAX
        {
            let start: String = content.chars().take(SHOWN_MAX).collect();
            let is_written = literal::write_text(&start, &mut text).is_ok();
            text.push_str(if is_written { "…" } else { "?" });
        } else if literal::write(value, &mut text).is_err() {
            text.push('?');
        }
    }
    text
}
