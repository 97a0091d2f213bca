//! The catalog directory, read and checked: everything an operator can configure.
//!
//! ```text
//! load      directory → Config, or every problem at once
//! settings  tributary.toml: addresses, TLS, roles, limits, logs
//! store     stores/<name>.toml: the keys all kinds share; the rest goes to the kind's own parser
//! namespace which SQL schema a store's namespace appears as
//! name      what may be a name
//! secret    ${NAME} and { file = "…" }
//! check     settings that are valid but weak
//! state     .state: what the program itself keeps beside the configuration
//! ```
//!
//! **Invariants:** only `server.rs` and `command/` read a [`Config`], and they hand each room its own part; a value is
//! either valid or reported, never replaced by a guess; no secret is in an error or in `Debug`.
//! Not here: the options of a store kind (`stores/<kind>`), how one key is read (`options.rs`).

pub mod check;
pub mod environment;
pub mod namespace;
pub mod settings;
pub mod state;

mod load;
mod name;
#[cfg(test)]
mod reference;
mod secret;
mod store;

use std::path::PathBuf;
use std::sync::Arc;

pub use load::load;
pub use namespace::NamespaceMap;
pub use settings::{Limits, Log, LogFormat, Settings, Tls};
pub use state::{State, StateError};

use crate::stores::{Connector, StoreName};

/// A whole catalog directory, valid.
#[derive(Debug)]
pub struct Config {
    /// The directory it was read from, absolute.
    pub directory: PathBuf,
    /// What `tributary.toml` says.
    pub settings: Settings,
    /// Enabled stores in name order.
    pub stores: Vec<StoreConfig>,
    /// Stores that their files switch off, in name order.
    pub disabled: Vec<StoreName>,
    /// Views in name order.
    pub views: Vec<ViewConfig>,
    /// Files of the directory that hold secrets, for [`check::weaknesses`].
    pub confidential: Vec<Confidential>,
}

/// One store file.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The file's name without its ending.
    pub name: StoreName,
    /// The connector that its kind made.
    pub connector: Arc<dyn Connector>,
    /// Which SQL schemas its namespaces become.
    pub namespaces: NamespaceMap,
    /// The word that the store file gives for `tls`, where the kind has such an option.
    pub tls: Option<String>,
}

/// One view file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewConfig {
    /// The file's name without its ending: the view's name in the schema `public`.
    pub name: String,
    /// The query.
    pub sql: String,
}

/// A file that holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Confidential {
    /// The file.
    pub path: PathBuf,
    /// What is in it, as a noun phrase: `a private key`.
    pub content: &'static str,
}
