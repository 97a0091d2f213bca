//! Documents as columns: type inference over samples, declared schemas, and conversion of values into Arrow.
//!
//! ```text
//! sampled values ─ infer::Sample ─┐
//! store file ─── declared ────────┴→ DocumentSchema (versioned) → Arrow fields marked with Postgres types
//! a scan's values ─ DocumentValue ─→ DocumentBuilder (by the same fields) → Arrow arrays
//! ```
//!
//! Used by MongoDB, whose values come as raw BSON, and by JSON columns of relational stores that the store file declares as
//! documents, whose values come as JSON text ([`json_text`]).
//!
//! **Invariants:** a document is walked once, in its own field order, which earlier documents only let one guess; a value that
//! its column cannot hold without loss is a mismatch, and [`OnMismatch`] alone decides what becomes of it; every column is
//! nullable, because a field may be missing.
//! Deliberately absent: how a store samples and which conditions it can evaluate, which each connector knows.

pub mod build;
mod cells;
pub mod declared;
pub mod extended;
pub mod infer;
pub mod json;
pub mod json_text;
pub mod memory;
pub mod options;
pub mod scalar;
pub mod schema;
mod structs;
pub mod types;
pub mod value;

#[cfg(test)]
mod build_tests;

pub use build::DocumentBuilder;
pub use infer::Sample;
pub use memory::{Known, Learning, Memory};
pub use options::{DocumentOptions, OnMismatch};
pub use schema::DocumentSchema;
pub use structs::{Filling, Place};
pub use types::{DocumentField, DocumentType};
pub use value::{DocumentValue, Elements, Fields, Mismatch};
