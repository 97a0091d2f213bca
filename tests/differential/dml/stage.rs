//! The stage of the statements that write: the tables in four stores, their copies in one PostgreSQL, Tributary over the stores, and
//! a side for each store that is asked both and looks into both.

use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tributary::server::Server;

use super::super::ask::Asked;
use super::owner::{self, MARIADB_SESSION, Owner, POSTGRES_SESSION, Row};
use super::tables::{LEVEL, STORES, TABLES, Table};
use crate::support;
use crate::support::proxy::{self, OWNER, Place};

/// What both sides are told on every connection.
const SESSION: &str =
    "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1";

/// Tributary, and what it serves.
pub struct Stage {
    server: Server,
    _place: Place,
}

/// One store that is written to, and the schema of the copy that stands for it.
pub struct Side {
    /// Its place in [`STORES`].
    pub store: usize,
    /// Tributary.
    pub ours: Asked,
    /// The copy.
    pub theirs: Asked,
    owner: Owner,
    copy: PgConnection,
}

impl Stage {
    /// Starts what is not running yet, and gives a side for each store.
    pub async fn set() -> (Self, Vec<Side>) {
        let place = Place::new();
        let (shop, crm, archive, field, (copy, asked)) =
            tokio::join!(in_postgres(&place), in_mariadb(&place), in_sqlite(&place), in_mongodb(&place), the_copy());
        let mut owners = vec![shop, crm, archive, field];
        for (store, owner) in owners.iter_mut().enumerate() {
            for table in TABLES.iter().filter(|table| table.is_in(store)) {
                owner.create(table, store).await;
                owner.refill(table, store).await;
            }
        }
        let server = place.serve().await;
        assert!(server.catalog().unavailable().is_empty(), "{:?}", server.catalog().unavailable());
        let login = proxy::login(server.addresses()[0], OWNER);
        let mut sides = Vec::new();
        for (store, owner) in owners.into_iter().enumerate() {
            let mut direct = copy.connect().await.unwrap();
            direct.execute(POSTGRES_SESSION).await.unwrap();
            sides.push(Side {
                store,
                ours: Asked::new(login.clone(), SESSION),
                theirs: Asked::new(asked.clone(), SESSION),
                owner,
                copy: direct,
            });
        }
        (Self { server, _place: place }, sides)
    }

    /// Ends Tributary.
    pub async fn clear(self) {
        self.server.stop().await;
    }
}

impl Side {
    /// Puts both sides back to where every topic begins.
    pub async fn begin(&mut self) {
        self.end_blocks().await;
        for table in TABLES.iter().filter(|table| table.is_in(self.store) && table.is_written()) {
            self.owner.refill(table, self.store).await;
            let (name, rows) = (self.name(table), table.rows_of(self.store));
            owner::refill_postgres(&mut self.copy, &name, table, self.store, &rows).await.unwrap();
        }
    }

    /// Gives the copy the rows of the store, so that one difference is told once.
    pub async fn agree(&mut self, tables: &[&'static Table]) {
        self.end_blocks().await;
        for table in tables {
            let (name, rows) = (self.name(table), self.owner.content(table, self.store).await);
            if let Err(error) = owner::refill_postgres(&mut self.copy, &name, table, self.store, &rows).await {
                eprintln!("    the copy does not take the rows of {name}, so that more will differ: {error}");
            }
        }
    }

    async fn end_blocks(&mut self) {
        tokio::join!(self.ours.simple("ROLLBACK"), self.theirs.simple("ROLLBACK"));
    }

    /// The rows of a table as they lie in the store, and those in the copy; what is not committed is in neither.
    pub async fn contents(&mut self, table: &Table) -> (Vec<Row>, Vec<Row>) {
        let name = self.name(table);
        let theirs = owner::postgres_content(&mut self.copy, &name, table, self.store).await;
        (self.owner.content(table, self.store).await, theirs)
    }

    /// The name of a table in Tributary and in the copy.
    pub fn name(&self, table: &Table) -> String {
        format!("{}.{}", STORES[self.store], table.name)
    }
}

async fn in_postgres(place: &Place) -> Owner {
    let server = support::postgres().await;
    let database = server.fresh_database().await.unwrap();
    place.postgres("shop", server, &database, "");
    let mut connection = proxy::direct(server, &database).await;
    connection.execute(POSTGRES_SESSION).await.unwrap();
    Owner::Postgres(connection)
}

async fn in_mariadb(place: &Place) -> Owner {
    let server = support::mariadb().await;
    let database = server.fresh_database().await.unwrap();
    place.mariadb("crm", server, &database, "tinyint1 = \"bool\"");
    let options = server.mysql_options().database(&database).pipes_as_concat(false).no_engine_substitution(false);
    let mut connection = MySqlConnection::connect_with(&options).await.unwrap();
    connection.execute(MARIADB_SESSION).await.unwrap();
    Owner::MariaDb(connection)
}

async fn in_sqlite(place: &Place) -> Owner {
    place.write("stores/archive.toml", "kind = \"sqlite\"\npath = \"archive.db\"\n");
    let options = SqliteConnectOptions::new()
        .filename(place.path().join("archive.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let connection = SqliteConnection::connect_with(&options.busy_timeout(Duration::from_secs(20))).await.unwrap();
    Owner::Sqlite(connection)
}

/// Columns are declared, as documents do not have all of them.
async fn in_mongodb(place: &Place) -> Owner {
    let server = support::mongodb().await;
    let database = server.fresh_database().await.unwrap();
    let store = STORES.len() - 1;
    let mut lines = String::new();
    for table in TABLES.iter().filter(|table| table.is_in(store)) {
        lines.push_str(&format!("[collections.{}.columns]\n", table.name));
        let declared = table.columns_of(store).filter(|(_, column)| column.name != "_id");
        lines.extend(declared.map(|(_, column)| match column.stored[store] {
            document if document.starts_with('{') => format!("{} = {document}\n", column.name),
            word => format!("{} = \"{word}\"\n", column.name),
        }));
    }
    place.mongodb("field", server, &database, &lines);
    let url = format!(
        "mongodb://{}:{}@{}:{}/?authSource=admin&directConnection=true",
        server.user(),
        server.password(),
        server.host(),
        server.port()
    );
    Owner::MongoDb(mongodb::Client::with_uri_str(url).await.unwrap().database(&database))
}

/// The database with a schema for each store: bytes decide the order of text, and UTF-8 what is a letter.
async fn the_copy() -> (PgConnectOptions, tokio_postgres::Config) {
    let server = support::postgres().await;
    let database = format!("copy_{}", server.fresh_database().await.unwrap());
    let mut first = proxy::direct(server, server.database()).await;
    let create = format!("CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'");
    first.execute(AssertSqlSafe(create)).await.unwrap();
    let options = server.postgres_options().database(&database);
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    connection.execute(LEVEL).await.unwrap();
    for (store, schema) in STORES.iter().enumerate() {
        connection.execute(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).await.unwrap();
        let person = format!("CREATE TYPE {schema}.person AS (age bigint, name text)");
        connection.execute(AssertSqlSafe(person)).await.unwrap();
        for table in TABLES.iter().filter(|table| table.is_in(store)) {
            let sql = table.definition(&format!("{schema}.{}", table.name), store, true);
            connection.execute(AssertSqlSafe(sql.clone())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            let (name, rows) = (format!("{schema}.{}", table.name), table.rows_of(store));
            owner::refill_postgres(&mut connection, &name, table, store, &rows).await.unwrap();
        }
    }
    let mut config = tokio_postgres::Config::new();
    config.host(server.host()).port(server.port()).user(server.user()).password(server.password()).dbname(&database);
    (options, config)
}
