//! What the SQL stores share: how a dialect spells things, and how a predicate becomes SQL text.
//!
//! ```text
//! Predicate ─ predicate::write(spelling) → Sql { text, values } → prepared statement with bound parameters
//!                                        └ Sql in literal mode  → COPY (…) TO STDOUT, which takes no parameters
//! Edit ─ edit → the text of INSERT, UPDATE and DELETE around the rows, conditions and values
//! Define ─ define → the text of CREATE, ALTER and DROP, which take no parameters
//! ```
//!
//! **Invariants:** a value reaches SQL text only through [`literal`], and only for PostgreSQL, or as a constant of a definition through
//! [`define::quoted_text`]; everywhere else it is bound.
//! Names reach SQL text only through [`Dialect::quote`]. Deliberately absent: which predicates a store can evaluate, which
//! each connector decides in its own `pushdown.rs`.

pub mod checks;
pub mod define;
pub mod dialect;
pub mod documents;
pub mod edit;
pub mod embedded;
pub mod field;
pub mod fragment;
pub mod like;
pub mod literal;
pub mod predicate;
pub mod rows;
pub mod sql;

pub use dialect::Dialect;
pub use predicate::{Spelling, Use, write_all};
pub use sql::{Sql, Unwritable};
