//! Materialized views: results of queries that are kept, and follow the copies of their tables.
//!
//! ```text
//! cache: states of tables ── differences ──> engine: Machine ── rows that left and came ──> output: a state of the view
//! ```

pub mod engine;
pub mod output;
