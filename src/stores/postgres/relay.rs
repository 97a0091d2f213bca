//! Lookups whose rows go on to a client: each value is taken from the bytes that the server sent, and no batch is made.
//!
//! ```text
//! keep    Scan with sample values → Lookup (its statement) + a Way for each column, where every column has one
//! run     values → Lookup::look_up → rows, value by value → Relayed
//! ```
//!
//! **Invariants:** what is kept holds for all values of the types of the samples, because its text and the types of its parameters
//! do not depend on them; it holds no pool and no connection.

use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgRow;

use super::super::connector::Scan;
use super::super::error::StoreError;
use super::super::predicate::Predicate;
use super::super::relay::Relayed;
use super::super::schema::Table;
use super::super::value::Value;
use super::branch::Inner;
use super::lookup::{Failure, Gather, Lookup};
use super::types::Way;
use crate::format::Format;

/// A lookup but for its values.
pub(super) struct Kept {
    lookup: Lookup,
    /// For each column that is put out.
    ways: Vec<Way>,
    /// As many as there are ways.
    width: u16,
}

/// Prepares a scan; `None` when it is no lookup, when its text depends on its values, or when a column has to be decoded.
pub(super) fn keep(table: &Arc<Table>, scan: &Scan, formats: &[Format], deadline: Duration) -> Option<Kept> {
    let samples = scan.filter.iter().map(sample).collect::<Option<Vec<&Value>>>()?;
    let lookup = Lookup::of(table, scan, deadline)?;
    let ways = lookup.columns().zip(formats).map(|(column, format)| Way::of(column, *format)).collect::<Option<Vec<Way>>>()?;
    let width = u16::try_from(ways.len()).ok()?;
    let is_whole = ways.len() == scan.columns.len() && lookup.values().iter().eq(samples);
    is_whole.then_some(Kept { lookup, ways, width })
}

/// The value of a condition that is written as the same text whatever value of its type it is.
fn sample(condition: &Predicate) -> Option<&Value> {
    match condition {
        Predicate::Compare { value: value @ (Value::Bool(_) | Value::Int(_) | Value::Text(_)), .. } => Some(value),
        _ => None,
    }
}

/// The rows for these values.
///
/// # Errors
/// What the server answered, a value that cannot be given, a missed deadline.
pub(super) async fn run(inner: &Inner, kept: &Kept, values: &[Value]) -> Result<Relayed, StoreError> {
    let samples = kept.lookup.values();
    let is_alike = samples.len() == values.len() && samples.iter().zip(values).all(|(a, b)| discriminant(a) == discriminant(b));
    if !is_alike {
        let feature = "values of other types than those that a statement was prepared for";
        return Err(StoreError::Unsupported { store: inner.name.to_string(), feature });
    }
    let mut rows = Rows { kept, relayed: Relayed::default() };
    kept.lookup.look_up(&inner.pools.scans, values, &mut rows).await?;
    Ok(rows.relayed)
}

/// Rows on their way through.
struct Rows<'a> {
    kept: &'a Kept,
    relayed: Relayed,
}

impl Gather for Rows<'_> {
    fn restart(&mut self) {
        self.relayed.clear();
    }

    fn take(&mut self, lookup: &Lookup, row: &PgRow) -> Result<(), Failure> {
        self.relayed.begin_row(self.kept.width);
        for ((place, way), column) in self.kept.ways.iter().enumerate().zip(lookup.columns()) {
            match lookup.value(row, place)? {
                Some(bytes) => way.put(bytes, &mut self.relayed).map_err(|broken| lookup.broken(column, broken))?,
                None => self.relayed.null(),
            }
        }
        self.relayed.end_row();
        Ok(())
    }
}
