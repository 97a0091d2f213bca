//! The stores of a placement, started and filled, and the reference beside them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sqlx::{AssertSqlSafe, Connection, raw_sql};
use tempfile::TempDir;

use super::client;
use super::load::{Progress, Site, Size, load, load_reference};
use super::placement::{PlacedStore, Placement, StoreKind};
use super::table::TABLES;
use crate::command::CommandError;
use crate::sandbox::{Durability, Endpoint, MariaDb, Mongo, Postgres, SandboxError, Setup};

/// Least and most memory for the cache of a server, in MiB.
const CACHE_MIB: (f64, f64) = (256.0, 4096.0);
/// Settings of PostgreSQL for much data on one machine: no log for copies of data that are made anew each time.
const POSTGRES_SETTINGS: &[&str] = &[
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=16GB",
    "checkpoint_timeout=1h",
    "work_mem=64MB",
    "maintenance_work_mem=512MB",
    "random_page_cost=1.1",
];

/// Servers of which a placement uses some.
#[derive(Debug, Default)]
struct Servers {
    postgres: Option<Postgres>,
    mariadb: Option<MariaDb>,
    mongodb: Option<Mongo>,
}

/// The stores of a placement with all their rows. Dropping it ends the servers and removes the files.
#[derive(Debug)]
pub(super) struct Stage {
    servers: Servers,
    files: TempDir,
    /// Where each store of the placement is, in its order.
    pub(super) sites: Vec<Site>,
    /// A PostgreSQL database that holds everything, where there is a PostgreSQL.
    pub(super) everything: Option<Endpoint>,
}

impl Stage {
    /// Starts what the placement needs, and a PostgreSQL for the reference where there are servers or `needs_postgres`.
    ///
    /// # Errors
    /// A server is missing, with the way to install it, or a store cannot be filled.
    pub(super) async fn build(
        placement: &Placement,
        size: Size,
        needs_postgres: bool,
        output: &mut dyn Write,
    ) -> Result<Self, CommandError> {
        let is_served = placement.stores.iter().any(|store| store.kind != StoreKind::Sqlite);
        let servers = Box::pin(Servers::start(placement, size.scale, is_served || needs_postgres)).await?;
        let mut stage = Self { servers, files: tempfile::tempdir()?, sites: Vec::new(), everything: None };
        let mut progress = Progress::new();
        for store in &placement.stores {
            let started = Instant::now();
            let site = stage.site(store).await?;
            let rows = load(store, &site, size, &mut progress).await?;
            let tables: Vec<&str> = store.tables.iter().map(|table| table.name).collect();
            let lines = if store.nests_lines { " with their lines inside" } else { "" };
            let (name, kind, tables) = (&store.name, store.kind.word(), tables.join(", "));
            writeln!(output, "  {name:12} {kind:9} {rows} rows in {:.1} s: {tables}{lines}", started.elapsed().as_secs_f64())?;
            output.flush()?;
            stage.sites.push(site);
        }
        if stage.servers.postgres.is_some() {
            let started = Instant::now();
            stage.everything = Some(stage.hold_everything(placement, size, &mut progress).await?);
            writeln!(output, "  {:12} postgres  holds everything after {:.1} s", "reference", started.elapsed().as_secs_f64())?;
        }
        Ok(stage)
    }

    /// The SQLite files.
    pub(super) fn sqlite_files(&self) -> Vec<PathBuf> {
        let file = |site: &Site| match site {
            Site::File(path) => Some(path.clone()),
            Site::Server(_) => None,
        };
        self.sites.iter().filter_map(file).collect()
    }

    /// The PostgreSQL server, for databases of peers.
    pub(super) fn postgres(&self) -> Option<&Postgres> {
        self.servers.postgres.as_ref()
    }

    /// A directory that goes with the stage.
    pub(super) fn directory(&self) -> &Path {
        self.files.path()
    }

    /// An empty database or a file for a store.
    async fn site(&self, store: &PlacedStore) -> Result<Site, CommandError> {
        let absent = || CommandError::Refused(format!("the server of {} was not started", store.name));
        let (endpoint, database): (&Endpoint, String) = match store.kind {
            StoreKind::Sqlite => return Ok(Site::File(self.files.path().join(format!("{}.db", store.name)))),
            StoreKind::Postgres => {
                let server = self.servers.postgres.as_ref().ok_or_else(absent)?;
                (server, server.fresh_database().await.map_err(told)?)
            }
            StoreKind::Mariadb => {
                let server = self.servers.mariadb.as_ref().ok_or_else(absent)?;
                (server, server.fresh_database().await.map_err(told)?)
            }
            StoreKind::Mongodb => {
                let server = self.servers.mongodb.as_ref().ok_or_else(absent)?;
                (server, server.fresh_database().await.map_err(told)?)
            }
        };
        Ok(Site::Server(Endpoint { database, ..endpoint.clone() }))
    }

    /// A database with all tables: a PostgreSQL store that has them, or a copy of the largest with the others added.
    async fn hold_everything(&self, placement: &Placement, size: Size, progress: &mut Progress) -> Result<Endpoint, CommandError> {
        let Some(server) = self.servers.postgres.as_ref() else {
            return Err(CommandError::Refused("the reference has no server".to_owned()));
        };
        let in_postgres = placement.stores.iter().zip(&self.sites).filter_map(|(store, site)| match site {
            Site::Server(endpoint) if store.kind == StoreKind::Postgres => Some((store, endpoint)),
            _ => None,
        });
        let largest = in_postgres.max_by_key(|(store, _)| store.tables.len());
        if let Some((_, endpoint)) = largest.filter(|(store, _)| store.tables.len() == TABLES.len()) {
            return Ok(endpoint.clone());
        }
        let template = largest.map_or("template0", |(_, endpoint)| endpoint.database.as_str());
        let everything = Endpoint { database: "everything".to_owned(), ..Endpoint::clone(server) };
        // A copy of the files is much faster than loading the rows again.
        let create = format!("CREATE DATABASE {} TEMPLATE {template} STRATEGY file_copy", everything.database);
        let refused = |error: sqlx::Error| CommandError::Refused(format!("the reference cannot be made: {error}"));
        let mut connection = client::open(server, std::time::Duration::ZERO).await.map_err(refused)?;
        raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.map_err(refused)?;
        connection.close().await.map_err(refused)?;
        let is_there = |name: &str| largest.is_some_and(|(store, _)| store.tables.iter().any(|table| table.name == name));
        for table in TABLES.iter().filter(|table| !is_there(table.name)) {
            load_reference(&everything, table, size, progress).await?;
        }
        Ok(everything)
    }
}

impl Servers {
    async fn start(placement: &Placement, scale: f64, needs_postgres: bool) -> Result<Self, CommandError> {
        let setup = Setup { durability: Durability::Forgone, cache_mib: Some(cache_mib(scale)), ..Setup::default() };
        let for_postgres = Setup {
            arguments: POSTGRES_SETTINGS.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]).collect(),
            ..setup.clone()
        };
        let postgres = async { if needs_postgres { Postgres::start_with(&for_postgres).await.map(Some) } else { Ok(None) } };
        let mariadb =
            async { if placement.uses(StoreKind::Mariadb) { MariaDb::start_with(&setup).await.map(Some) } else { Ok(None) } };
        let mongodb =
            async { if placement.uses(StoreKind::Mongodb) { Mongo::start_with(&setup).await.map(Some) } else { Ok(None) } };
        let (postgres, mariadb, mongodb) = tokio::join!(Box::pin(postgres), Box::pin(mariadb), Box::pin(mongodb));
        let missing: Vec<String> = [postgres.as_ref().err(), mariadb.as_ref().err(), mongodb.as_ref().err()]
            .into_iter()
            .flatten()
            .map(|e| format!("  {e}"))
            .collect();
        match (postgres, mariadb, mongodb) {
            (Ok(postgres), Ok(mariadb), Ok(mongodb)) => Ok(Self { postgres, mariadb, mongodb }),
            _ => {
                let rest = "the placement embedded needs no server";
                Err(CommandError::Refused(format!(
                    "the servers of this placement cannot be started ({rest}):\n{}",
                    missing.join("\n")
                )))
            }
        }
    }
}

/// As much cache as the data of a scale takes, within bounds: about a GiB at scale 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped between two small positive numbers")]
fn cache_mib(scale: f64) -> u32 {
    (scale * 1024.0).clamp(CACHE_MIB.0, CACHE_MIB.1) as u32
}

fn told(error: SandboxError) -> CommandError {
    CommandError::Refused(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_grow_with_the_scale_within_bounds() {
        assert_eq!([0.001, 1.0, 3.0, 100.0].map(cache_mib), [256, 1024, 3072, 4096]);
    }
}
