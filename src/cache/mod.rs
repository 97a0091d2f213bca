//! Copies of tables that follow their stores.

mod version;

pub use version::{Broken, Reader, TableVersion, refusal};
