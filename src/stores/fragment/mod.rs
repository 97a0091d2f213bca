//! The intermediate form of a sub-plan that one store runs whole: relational algebra over positional columns.
//!
//! ```text
//! optimised plan ─ federation/placement → Relation ─ Connector::accepts, node by node, bottom up → Fragment
//! Fragment ─ Branch::run → the store's own words (SQL with bound values, an aggregation pipeline) → Arrow batches
//! ```
//!
//! Operators and functions mean what PostgreSQL means by them, over the Postgres types that every [`Expression`] carries;
//! text is ordered and compared by bytes. A store that cannot be proved to compute a node that way refuses it, and the engine
//! computes it instead.
//!
//! **Invariants:** a column is an ordinal into the columns of the node's input (for a join, those of the left input, then those
//! of the right one); nothing here names an SQL text, so no value can become part of one by accident; a fragment is plain,
//! serialisable, and holds no pool. [`Function`] is the complete list of what may be called in a store: a function that is not
//! on it reaches no store on any path. Deliberately absent: what each store accepts (its own `fragment.rs`).

mod expression;
mod relation;
mod shape;
mod walk;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::connector::StoreName;
use super::schema::{Table, TableId};

pub use expression::{DateField, Expression, Function, Node};
pub use relation::{Aggregate, AggregateCall, Bound, Frame, FrameUnit, JoinKind, Relation, SortKey, WindowCall, WindowFunction};
pub use shape::{Origin, Shape, shapes};

/// The stored tables that a fragment reads, by their names in the store.
pub type Tables = BTreeMap<TableId, Arc<Table>>;

/// A sub-plan that one store runs whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fragment {
    /// The store whose pool runs it.
    pub store: StoreName,
    /// What it computes.
    pub root: Relation,
    /// Whether the store's own collations count wherever it compares texts: it is a whole statement, and nothing in it is compared
    /// otherwise ([`super::collation::settles`]).
    pub by_own_collations: bool,
}

impl Fragment {
    /// A sub-plan in which text is ordered and compared by bytes, but for conditions over constants.
    pub fn new(store: StoreName, root: Relation) -> Self {
        Self { store, root, by_own_collations: false }
    }
}

/// Why a store does not run a node of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The operation or expression that is refused, as `EXPLAIN` shows it.
    pub subject: String,
    /// The rule that refuses it, as a clause: `the collation of the column does not order by bytes`.
    pub rule: &'static str,
}

impl Refusal {
    /// A refusal of `subject` by `rule`.
    pub fn new(subject: impl fmt::Display, rule: &'static str) -> Self {
        Self { subject: subject.to_string(), rule }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.rule)
    }
}
