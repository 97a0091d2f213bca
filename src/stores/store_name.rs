//! Names of stores.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of a store, which is also its SQL schema: the file name of `stores/<name>.toml`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StoreName(Arc<str>);

impl StoreName {
    /// Wraps a name that `config/` has checked.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
