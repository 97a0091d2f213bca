//! Lookups by key whose row is at hand in a copy: it goes to the client from where it lies, without a stream, a batch or a branch.
//!
//! **Invariants:** what is answered here, the copy would have answered through [`Ready::run`](super::Ready::run): the same copy under the same
//! guarantee, by conditions that say of each column of its key what it equals, and nothing else. Whatever is not so, or would have to be waited
//! for, is left to that.

use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::scalar::ScalarValue;

use super::condition::Test;
use super::{Lookup, schema_of};
use crate::cache::version::TableVersion;
use crate::cache::{Caches, Wants};
use crate::federation::copy::{fits, one_key, refusal};
use crate::federation::output::OutputColumn;
use crate::stores::Table;
use crate::stores::predicate::Comparison;
use crate::stores::value::Value;

/// The row that a lookup has found in a copy, or that there is none. It stays as it is.
#[derive(Debug)]
pub struct Point {
    lookup: Arc<Lookup>,
    version: Arc<TableVersion>,
    number: Option<u64>,
}

/// Whether rows of a table go out as they lie in a copy, and conditions can find one of them by its key.
pub(super) fn is_point(table: &Table, ordinals: &[usize], tests: impl IntoIterator<Item = bool>) -> bool {
    let given = table.project(ordinals);
    refusal(table).is_none() && given.fields() == schema_of(table, ordinals).fields() && tests.into_iter().all(|is_equal| is_equal)
}

impl Lookup {
    /// The row in the copy of its table, as it is now; `None` says nothing of whether there is one.
    pub fn point(self: &Arc<Self>, caches: &Caches, wants: &Wants, values: &[ScalarValue]) -> Option<Point> {
        if !self.is_point {
            return None;
        }
        let mut said: Vec<(usize, Value)> = Vec::with_capacity(self.conditions.len());
        for condition in &self.conditions {
            said.push((condition.column, condition.value(values)?));
        }
        let offered = caches.offered(&self.store, &self.table.id);
        let version = caches.at_once(&self.store, &self.table.id, wants).filter(|_| offered)?;
        let key = version.shape().key.as_slice();
        if !fits(&version, &self.table) || said.len() != key.len() {
            return None;
        }
        let value_of = |ordinal: usize| said.iter().find(|(column, _)| *column == ordinal).map(|(_, value)| value);
        let key = one_key(&self.table, key, value_of)?;
        let number = version.number_of(&key).ok()?;
        if let Some(number) = number {
            version.at(number)?;
        }
        Some(Point { lookup: Arc::clone(self), version, number })
    }
}

impl Point {
    /// The columns of the result.
    pub fn columns(&self) -> &[OutputColumn] {
        &self.lookup.columns
    }

    /// The columns of the row, in the order of the result, and its place in them; `None` where there is no row.
    pub fn row(&self) -> Option<(impl Iterator<Item = &ArrayRef>, usize)> {
        let (columns, place) = self.version.at(self.number?)?;
        Some((self.lookup.ordinals.iter().filter_map(|ordinal| columns.get(*ordinal)), place))
    }
}

/// Whether a condition says what its column equals.
pub(super) fn is_equal(test: &Test) -> bool {
    matches!(test, Test::Compare(Comparison::Equal, _))
}
