//! Placement: which parts of a plan run whole in a store.
//!
//! ```text
//! optimised plan ─ cut (bottom up: does the node still belong to the store of its inputs?)
//!     ─ expression (what the engine resolved, in the intermediate form) ─ Connector::accepts, node by node
//!     → the plan with RemoteFragment nodes where the largest accepted parts were → exec (lazy, through the statement's branches)
//! ```
//!
//! A part is cut out when it does more than filter and project one table: a plain read stays a scan (`provider`, `scan`), which
//! can be split, and takes filters while the statement runs.
//!
//! **Invariants:** only what a store accepted node by node is sent, everything else stays as the optimiser left it; the columns
//! of a cut part are those of the node it stands for, with the same names, carriers and metadata; an order is relied on only at
//! the root of the statement, where nothing of the engine stands above. Two seams are built in: before a table joins a part,
//! [`Copies::offered`] may serve it from elsewhere, and a [`FragmentExec`](exec::FragmentExec) may hold an alternative that is
//! chosen when its first batch is asked for.

mod cut;
mod estimate;
pub mod exec;
mod expression;
mod functions;
mod held;
mod literal;
mod node;
mod scope;

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use crate::stores::fragment::Refusal;
use crate::stores::{Fragment, StoreName, Table, Tables};
use cut::Cutter;

pub use node::PlacementPlanner;

/// How much of a plan goes to the stores: `tributary.pushdown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Level {
    /// The largest parts that a store can be proved to run.
    #[default]
    Full,
    /// Filters and limits of single tables.
    Scans,
    /// Columns of single tables.
    None,
}

impl Level {
    /// The words of the setting.
    pub const WORDS: &'static [&'static str] = &["full", "scans", "none"];

    /// The level of a word; `Full` for any other.
    pub fn of_word(word: &str) -> Self {
        match word {
            "none" => Self::None,
            "scans" => Self::Scans,
            _ => Self::Full,
        }
    }
}

/// The seam for copies of tables that are kept elsewhere.
pub trait Copies: Send + Sync {
    /// Whether a fresh enough copy of the table is offered. Such a table joins no part that its store would run: reading the
    /// copy costs no round trip.
    fn offered(&self, store: &StoreName, table: &Table) -> bool;
}

/// No copies are kept.
#[derive(Debug, Clone, Copy)]
pub struct NoCopies;

impl Copies for NoCopies {
    fn offered(&self, _store: &StoreName, _table: &Table) -> bool {
        false
    }
}

/// Why a node stays with the engine though its input is a store's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residual {
    /// The operation.
    pub operation: &'static str,
    /// The condition, where the store evaluates about it and it is checked again here.
    pub checked: Option<String>,
    /// The store that does not run it.
    pub store: String,
    /// The expression that is refused, and the rule.
    pub refusal: Refusal,
}

/// A plan with its parts placed.
#[derive(Debug)]
pub struct Placed {
    /// The plan.
    pub plan: LogicalPlan,
    /// What stays here, and why, from the leaves upwards.
    pub residuals: Vec<Residual>,
}

/// Cuts an optimised plan.
///
/// # Errors
/// What building the new nodes fails with.
pub fn place(plan: LogicalPlan, level: Level, copies: &dyn Copies) -> Result<Placed> {
    if level != Level::Full {
        let residuals = held::back(&plan, level)?;
        return Ok(Placed { plan, residuals });
    }
    let mut cutter = Cutter::new(copies, true);
    if let Some(changed) = cutter.statement(&plan)? {
        return Ok(Placed { plan: changed.unwrap_or(plan), residuals: cutter.into_residuals() });
    }
    // An order that a store makes would not reach the client through what stays here.
    let mut cutter = Cutter::new(copies, false);
    let changed = cutter.statement(&plan)?.flatten();
    Ok(Placed { plan: changed.unwrap_or(plan), residuals: cutter.into_residuals() })
}

/// The part that an optimised plan is as a whole, also where it does no more than a scan could: what a store is asked to change has to
/// be found by the store alone. `None` when anything of the plan stays here.
///
/// # Errors
/// What building new nodes fails with.
pub fn whole(plan: &LogicalPlan) -> Result<Option<(Fragment, Tables)>> {
    Cutter::new(&NoCopies, false).whole(plan)
}
