//! The servers side by side: Tributary and those that it is measured against.

mod duckdb;
mod fdw;

use std::fmt;
use std::time::Duration;

pub(super) use duckdb::Duckdb;
pub use duckdb::python as duckdb_python;

use super::answer::Exactness;
use super::client::{Client, Failure, Timed};
use super::load::Site;
use super::placement::{Placement, StoreKind};
use super::stage::Stage;
use crate::command::CommandError;
use crate::sandbox::Endpoint;

/// What Tributary can be measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Peer {
    /// DuckDB with its scanners for PostgreSQL, MySQL and SQLite.
    Duckdb,
    /// A PostgreSQL without rows of its own, with postgres_fdw and mysql_fdw.
    Fdw,
    /// One PostgreSQL that holds everything.
    Postgres,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Duckdb => "duckdb",
            Self::Fdw => "fdw",
            Self::Postgres => "postgres",
        })
    }
}

/// One that queries are sent to.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) exactness: Exactness,
    door: Door,
}

#[derive(Debug)]
enum Door {
    Client(Client),
    Duckdb(Box<Duckdb>),
}

impl Contender {
    /// A server of the Postgres protocol.
    pub(super) fn served(name: &str, endpoint: &Endpoint, limit: Duration) -> Self {
        let door = Door::Client(Client::new(endpoint, limit));
        Self { name: name.to_owned(), exactness: Exactness::Text, door }
    }

    /// Runs a query.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Timed, Failure> {
        match &mut self.door {
            Door::Client(client) => client.ask(sql).await,
            Door::Duckdb(duckdb) => duckdb.ask(sql).await,
        }
    }
}

/// The stores as a peer reaches them.
pub(super) struct Reached<'a> {
    pub(super) placement: &'a Placement,
    pub(super) sites: &'a [Site],
    /// The PostgreSQL that holds everything.
    pub(super) everything: Option<&'a Endpoint>,
    pub(super) limit: Duration,
}

impl Peer {
    /// Why this peer cannot read the placement.
    pub(super) fn missing(self, placement: &Placement) -> Option<String> {
        let kinds: &[StoreKind] = match self {
            Self::Duckdb => &[StoreKind::Postgres, StoreKind::Mariadb, StoreKind::Sqlite],
            Self::Fdw => &[StoreKind::Postgres, StoreKind::Mariadb],
            Self::Postgres => return None,
        };
        let lacking = placement.stores.iter().find(|store| !kinds.contains(&store.kind))?;
        Some(format!("{self} cannot read {} and is left out", lacking.kind.word()))
    }

    /// Makes it ready.
    ///
    /// # Errors
    /// Something that it needs is not installed, or refuses.
    pub(super) async fn prepare(self, stage: &Stage, reached: &Reached<'_>) -> Result<Contender, CommandError> {
        let name = self.to_string();
        match self {
            Self::Postgres => {
                let absent = || CommandError::Refused("there is no PostgreSQL to compare with".to_owned());
                Ok(Contender::served(&name, reached.everything.ok_or_else(absent)?, reached.limit))
            }
            Self::Fdw => Ok(Contender::served(&name, &fdw::prepare(stage, reached).await?, reached.limit)),
            Self::Duckdb => {
                let door = Door::Duckdb(Box::new(Duckdb::start(stage.directory(), reached).await?));
                // It divides decimals as floats.
                Ok(Contender { name, exactness: Exactness::Number, door })
            }
        }
    }
}
