//! The Postgres protocol, version 3: what travels between a client's socket and its session.
//!
//! **Invariants:** this room knows bytes, not the meaning of SQL; rows are encoded a batch at a time and never collected.

pub mod decode;
pub mod encode;
