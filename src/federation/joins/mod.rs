//! Joins across stores: in which order, and which rows a store need not send because nothing will meet them.
//!
//! ```text
//! optimised plan → reduce (aggregates to the groups that joins meet) → semi (to the relation they filter)
//!     → order (clusters of inner joins, by cardinality; implied: what equal columns hand on) → placement → physical plan
//! a join has read its first side → dynamic (what that says of the other) → keys → the scan of the other, at its first poll
//!                                └ spill: it is more than the memory that is left, so both sides go to disk in buckets
//! ```
//!
//! **Invariants:** an order changes no answer and evaluates nothing that can fail on rows that the written order would have left out;
//! a condition that a join hands to a scan may only leave out rows that the join would. Deliberately absent: what a store may evaluate
//! (its connector says), and where a sub-plan runs.

mod cardinality;
mod cluster;
pub mod dynamic;
pub mod filters;
mod implied;
pub mod keys;
pub mod order;
mod reduce;
mod semi;
mod sources;
pub mod spill;
