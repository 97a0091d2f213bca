//! Lookups by key whose row is at hand in a copy: it goes to the client from where it lies, without a stream, a batch or a branch.
//!
//! **Invariants:** what is answered here, the copy would have answered through [`Ready::run`](super::Ready::run): the same copy under the same
//! guarantee, by conditions that say of each column of its key what it equals, and nothing else. Whatever is not so, or would have to be waited
//! for, is left to that.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::scalar::ScalarValue;

use super::condition::{Condition, Test};
use super::{Lookup, schema_of};
use crate::cache::version::TableVersion;
use crate::cache::{Caches, CopiesRead, Wants};
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

/// Whether rows of a table go out as they lie in a copy, and conditions can find one of them by its key: each says what one column equals, and
/// no two are of the same column.
pub(super) fn is_point(table: &Table, ordinals: &[usize], conditions: &[Condition]) -> bool {
    let mut seen = BTreeSet::new();
    let is_of_key = |condition: &Condition| is_equal(&condition.test) && seen.insert(condition.column);
    let given = table.project(ordinals);
    refusal(table).is_none()
        && given.fields() == schema_of(table, ordinals).fields()
        && !conditions.is_empty()
        && conditions.iter().all(is_of_key)
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
        let is_of_key = |version: &TableVersion| fits(version, &self.table) && version.shape().key.len() == said.len();
        let at_once = caches.at_once(&self.store, &self.table.id, wants, is_of_key)?;
        let version = at_once.version();
        let value_of = |ordinal: usize| said.iter().find(|(column, _)| *column == ordinal).map(|(_, value)| value);
        let key = one_key(&self.table, &version.shape().key, value_of)?;
        let number = version.number_of(&key).ok()?;
        if let Some(number) = number {
            version.at(number)?;
        }
        Some(Point { lookup: Arc::clone(self), version: at_once.served(), number })
    }
}

impl Point {
    /// Takes note of the state that was read, for a transaction that may write later on.
    pub fn note(&self, noted: &CopiesRead) {
        noted.note(&self.lookup.store, &self.lookup.table.id, &self.version);
    }

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
fn is_equal(test: &Test) -> bool {
    matches!(test, Test::Compare(Comparison::Equal, _))
}
