//! Planning across stores: what runs where, and the scans that fetch what must travel.
//!
//! ```text
//! parsed query → ast (Postgres spelling, names, literals) → plan (names from the snapshot, types, optimiser)
//!              → placement (which parts a store runs whole) → provider (which filters each store takes)
//!              → scan (a lazy node per table), or copy (of one that is kept here), or materialized (the rows of a view)
//!              → DataFusion joins the rest
//! ```
//!
//! What one scan of one table answers takes the way past the planner (`fast`); what is executed again and again is optimised
//! once for all values of its parameters (`generic`). Statements that change rows are queries here whose rows become edits (`dml`).
//!
//! **Invariants:** a filter that a store cannot prove equal is checked again here; a physical plan holds no pool, only store names and
//! serialisable scans; all scans of one store in one statement go through one branch. Deliberately absent: SQL text of any
//! store (that is the connectors'), and running edits (that is `write`, never the engine's own planner).

pub mod ast;
pub mod branches;
pub mod changes;
pub mod context;
pub mod copy;
mod correlated;
pub mod counts;
pub mod define;
pub mod digits;
pub mod dml;
pub mod engine;
pub mod error;
pub mod estimate;
pub mod explain;
pub mod fast;
pub mod field;
pub mod generic;
pub mod items;
pub mod joins;
pub mod kept_query;
mod lateral;
mod locking;
pub mod locks;
pub mod materialized;
mod ordering;
pub mod output;
mod parameters;
mod pauses;
pub mod placement;
pub mod plan;
pub mod plans;
mod projections;
pub mod provider;
pub mod pushdown;
pub mod ranges;
mod rechecks;
pub mod results;
pub mod scan;
pub mod semantics;
mod setting;
pub mod subscribe;
mod unread;
pub mod updatable;
pub mod views;
mod wall;
pub mod writers;
