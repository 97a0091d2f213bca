//! Copies of tables that follow their stores.

pub mod version;

pub use version::{Broken, Reader, TableVersion, refusal};
