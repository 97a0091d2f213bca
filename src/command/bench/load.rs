//! Fills a store with the tables that a placement gives it, as fast as its own protocol takes them.

mod mariadb;
mod mongodb;
mod postgres;
mod progress;
mod sqlite;

use std::path::PathBuf;

pub(super) use progress::Progress;

use super::Indexes;
use super::placement::{PlacedStore, StoreKind};
use super::table::Table;
use crate::command::CommandError;
use crate::sandbox::Endpoint;

/// Where a store is.
#[derive(Debug, Clone)]
pub(super) enum Site {
    /// A database of a server.
    Server(Endpoint),
    /// A SQLite file.
    File(PathBuf),
}

/// How much is loaded, and with which indexes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) scale: f64,
    pub(super) indexes: Indexes,
}

/// Why a table could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// A relational store refused.
    #[error("{0}")]
    Sql(#[from] sqlx::Error),
    /// The document store refused.
    #[error("{0}")]
    Documents(#[from] ::mongodb::error::Error),
    /// A field is not what its column says.
    #[error("the generator made {value:?} for {column}")]
    Field {
        /// Of which column.
        column: &'static str,
        /// The text.
        value: String,
    },
}

/// Loads all tables of a store and returns how many rows that were.
///
/// # Errors
/// The table and what the store answered.
pub(super) async fn load(store: &PlacedStore, site: &Site, size: Size, progress: &mut Progress) -> Result<u64, CommandError> {
    let mut rows = 0;
    for table in &store.tables {
        progress.begin(&format!("{} into {}", table.name, store.name), table.expected_rows(size.scale));
        let loaded = Box::pin(load_table(store, site, table, size, progress)).await;
        progress.clear();
        rows += loaded.map_err(|error| failed(table, &store.name, &error))?;
    }
    Ok(rows)
}

async fn load_table(
    store: &PlacedStore,
    site: &Site,
    table: &'static Table,
    size: Size,
    progress: &mut Progress,
) -> Result<u64, LoadError> {
    match (site, store.kind) {
        (Site::File(path), _) => sqlite::load(path, table, size, progress).await,
        (Site::Server(endpoint), StoreKind::Mariadb) => mariadb::load(endpoint, table, size, progress).await,
        (Site::Server(endpoint), StoreKind::Mongodb) => {
            let nests = store.nests_lines && table.name == "orders";
            mongodb::load(endpoint, table, nests, size, progress).await
        }
        (Site::Server(endpoint), _) => postgres::load(endpoint, table, size, progress).await,
    }
}

/// Loads a table into a PostgreSQL database that is no store: the reference.
///
/// # Errors
/// As [`load`].
pub(super) async fn load_reference(
    endpoint: &Endpoint,
    table: &'static Table,
    size: Size,
    progress: &mut Progress,
) -> Result<u64, CommandError> {
    progress.begin(&format!("{} into the reference", table.name), table.expected_rows(size.scale));
    let loaded = Box::pin(postgres::load(endpoint, table, size, progress)).await;
    progress.clear();
    loaded.map_err(|error| failed(table, "the reference", &error))
}

fn failed(table: &Table, place: &str, error: &LoadError) -> CommandError {
    CommandError::Refused(format!("{} cannot be loaded into {place}: {error}", table.name))
}
