//! Changes on their way to their owners.
//!
//! ```text
//! a planned write → access (who may) → run (its edits, one after the other) → coordinator (before the command tag, or at COMMIT)
//! coordinator: one store → commit; several → protocol (prepare, decide, end) or saga (one after the other, with what undoes them)
//!              → log (the decision) · open (what is under way, and what is left) · failpoint (where tests stop it)
//! afterwards, and at every start: recover ends what was left, by log and open; resolve what somebody ends by hand
//! before rows are changed that were read from copies: conflict (are they still what was read? `named`: rows by their keys)
//! beside the rows: keys (a statement sent again runs once; kept: the rows that it gave), outbox (messages), inverse (what undoes an edit)
//! when the log of changes has an event: hand_over (its message is removed)
//! ```
//!
//! **Invariants:** an edit is never dropped half-way: it is asked to stop and its answer is waited for; of a transaction that wrote to
//! several stores all are committed or none, unless its session asked for steps; nothing is sent twice. Deliberately absent: names and
//! plans of statements (`federation::dml`), and which branches they write through (`federation::writers`).

pub mod access;
pub mod commit;
pub mod conflict;
pub mod coordinator;
pub mod failpoint;
#[cfg(test)]
mod fakes;
pub mod hand_over;
pub mod inverse;
pub mod kept;
pub mod keys;
pub mod log;
pub mod named;
pub mod open;
pub mod outbox;
mod protocol;
pub mod recover;
pub mod resolve;
pub mod run;
pub mod saga;
