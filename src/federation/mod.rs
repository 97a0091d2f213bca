//! What runs where: planning across stores, and the meaning of expressions that run here.
//!
//! **Invariants:** an expression gives what PostgreSQL 15 gives, wherever it runs ([`semantics`]).

pub mod semantics;
