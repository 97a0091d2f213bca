//! The catalog directory, read and checked: everything an operator can configure.
//!
//! ```text
//! load      directory → Config, or every problem at once
//! settings  tributary.toml: addresses, TLS, roles, limits, logs
//! store     stores/<name>.toml: the keys all kinds share; the rest goes to the kind's own parser
//! changes   which changes of stores are followed, and how much is kept of them
//! cache     how much memory copies of tables take, and how long reads wait for them
//! namespace whether two namespaces claim one SQL schema
//! name      what may be a name
//! secret    ${NAME} and { file = "…" }
//! check     settings that are valid but weak
//! target    whether two files name one store
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

mod cache;
mod changes;
mod load;
mod name;
#[cfg(test)]
mod reference;
mod secret;
mod store;
mod target;

use std::path::PathBuf;

pub use cache::CopyBounds;
pub use changes::ChangeLog;
pub use load::{load, one_store, others_of};
pub use settings::{Limits, Settings, Tls};
pub use state::{State, StateError};
pub use store::Fingerprint;

use crate::catalog::discover::{StoreEntry, ViewSource};
use crate::stores::StoreName;

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
    pub views: Vec<ViewSource>,
    /// Files of the directory that hold secrets, for [`check::weaknesses`].
    pub confidential: Vec<Confidential>,
}

/// One store file.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The file's name without its ending.
    pub name: StoreName,
    /// The connector that its kind made, and how its namespaces are named.
    pub entry: StoreEntry,
    /// How the connection to a store on another machine is encrypted, in the words of the kind's option `tls`.
    pub tls: Option<String>,
    /// What tells whether its file says the same as before.
    pub fingerprint: Fingerprint,
}

/// A file that holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Confidential {
    /// The file.
    pub path: PathBuf,
    /// What is in it, as a noun phrase: `a private key`.
    pub content: &'static str,
}
