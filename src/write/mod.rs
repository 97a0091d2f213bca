//! Changes on their way to their owners.
//!
//! ```text
//! a planned write → access (who may) → run (its edits, one after the other) → commit (before the command tag, or at COMMIT)
//! ```
//!
//! **Invariants:** an edit is never dropped half-way: it is asked to stop and its answer is waited for; at most one store is committed;
//! nothing is sent twice. Deliberately absent: names and plans of statements (`federation::dml`), and which branches they write
//! through (`federation::writers`).

pub mod access;
pub mod commit;
pub mod run;
