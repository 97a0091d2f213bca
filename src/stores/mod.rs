//! One folder per store kind behind one contract.
//!
//! ```text
//! a Kind parses its store file → Connector
//! Connector::discover → StoreSchema → catalog/snapshot
//! Connector::open(purpose) → Branch (one consistent view) → Branch::scan(Scan) or Branch::run(Fragment) → Arrow batches
//! Edit ─ Connector::accepts_edit → Branch::edit → how many rows, and those that were asked for
//! Branch::prepare → Vote → Branch::commit_prepared, or Connector::resolve by whoever finds it afterwards
//! Connector::capture → Capture::start(tables) → Feed → Group (whole transactions, in commit order)
//! Connector::keep(Scan) → what a connector keeps of a lookup → Connector::relay(values) → rows as clients get them
//! ```
//!
//! **Invariants:** a connector knows no other store, no session and no plan; a [`Scan`] is a serialisable description that
//! holds no pool, closure or secret; dropping a [`BatchStream`] stops the query in the store; positions are opaque outside
//! their connector. Deliberately absent: a registry that stores add themselves to at run time. A new store is a folder and a
//! line in [`KINDS`].

mod builders;
mod capabilities;
pub mod capture;
pub mod cell;
pub mod change;
pub mod collation;
pub mod commit;
pub mod connector;
pub mod define;
pub mod document;
pub mod edit;
pub mod error;
pub mod fragment;
pub mod lock;
pub mod position;
pub mod predicate;
mod purpose;
pub mod relational;
pub mod relay;
mod scan;
pub mod schema;
mod store_name;
pub mod truncate;
pub mod value;

pub mod mongodb;
pub mod mysql;
pub mod postgres;
pub mod sqlite;

pub use connector::{BatchStream, Branch, Connector, Kind, Purpose, Scan, Serial, StoreName, WriteIsolation};
pub use edit::{Edit, Edited};
pub use error::StoreError;
pub use fragment::{Fragment, Refusal, Relation, Tables};
pub use predicate::{Predicate, Pushdown};
pub use schema::{StoreSchema, Table};

/// Every store kind, by the word that `kind = "…"` uses in a store file.
pub const KINDS: &[&dyn Kind] = &[&postgres::KIND, &mysql::KIND, &sqlite::KIND, &mongodb::KIND];

/// Finds a kind by its word or one of its aliases.
pub fn kind(word: &str) -> Option<&'static dyn Kind> {
    KINDS.iter().copied().find(|kind| kind.words().contains(&word))
}
