//! The stage: all sets in their stores and as copies in one database, Tributary over the stores.
//!
//! The copies are made from the set files alone, never through Tributary.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use mongodb::bson::{Bson, DateTime, Document, oid::ObjectId};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tempfile::TempDir;
use tributary::sandbox::{MariaDb, Postgres};
use tributary::server::Server;

use super::ask::Asked;
use super::set::{Column, Set, Value, bytes, unescaped};
use crate::changes::room;
use crate::support;

/// What both sides are told on every connection.
const SESSION: &str =
    "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1";

/// As Tributary looks for unqualified names.
const COPY_SESSION: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; \
                            SET extra_float_digits = 1; SET search_path = public, archive, crm, field, shop";

const LEVEL: &str = "AS ENUM ('bronze', 'silver', 'gold')";

/// Both servers, ready to be asked.
pub struct Stage {
    /// Address of Tributary.
    ours: tokio_postgres::Config,
    /// The one database with all copies.
    copy: tokio_postgres::Config,
    server: Server,
    /// What Tributary asks its stores for (`tributary.pushdown`).
    pushdown: String,
    /// How it plans (`plan_cache_mode`).
    plans: String,
    _directory: TempDir,
}

/// Where the tables of stores are, and what their files say of changes.
#[derive(Clone, Copy)]
struct Stores {
    postgres: &'static Postgres,
    mariadb: &'static MariaDb,
    /// Whether all tables are followed and cached.
    are_cached: bool,
}

impl Stores {
    /// Lines of the file of a store.
    fn lines(self, sets: &[Set], schema: &str) -> String {
        if !self.are_cached {
            return String::new();
        }
        let mode = if schema == "archive" { "outbox" } else { "log" };
        let names: Vec<String> = of(sets, schema).map(|set| format!("\"{}\"", set.name)).collect();
        format!("changes.mode = \"{mode}\"\nchanges.cached = [{}]\n", names.join(", "))
    }
}

impl Stage {
    /// Starts what is not running yet and fills it.
    pub async fn set(pushdown: String) -> Self {
        let stores = Stores { postgres: support::postgres().await, mariadb: support::mariadb().await, are_cached: false };
        Box::pin(Self::over(stores, pushdown)).await
    }

    /// The same where every table is to be cached.
    pub async fn cached() -> Self {
        let stores = Stores { postgres: room::postgres().await, mariadb: room::mariadb().await, are_cached: true };
        Box::pin(Self::over(stores, "full".to_owned())).await
    }

    async fn over(stores: Stores, pushdown: String) -> Self {
        let sets = sets();
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("stores")).unwrap();
        let write = |name: &str, content: String| std::fs::write(directory.path().join(name), content).unwrap();
        write("tributary.toml", "listen = \"127.0.0.1:0\"\nhttp.listen = \"off\"\nauth.trust = true\n[roles.ada]\n".to_owned());
        let (shop, crm, archive, field, copy) = tokio::join!(
            fill_postgres(&sets, stores),
            fill_mariadb(&sets, stores),
            fill_sqlite(&sets, stores, directory.path()),
            fill_mongodb(&sets, stores),
            fill_copy(&sets)
        );
        for (name, content) in [("shop", shop), ("crm", crm), ("archive", archive), ("field", field)] {
            write(&format!("stores/{name}.toml"), content);
        }
        let config = tributary::config::load(directory.path()).unwrap_or_else(|problems| panic!("{problems:?}"));
        let server = Server::start(config).await.unwrap();
        assert!(server.catalog().unavailable().is_empty(), "{:?}", server.catalog().unavailable());
        let mut ours = tokio_postgres::Config::new();
        ours.host("127.0.0.1").port(server.addresses()[0].port()).user("ada").dbname("tributary");
        Self { ours, copy, server, pushdown, plans: "auto".to_owned(), _directory: directory }
    }

    /// Where Tributary listens.
    pub fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    /// The tables of all stores, by their schemas and names.
    pub fn tables() -> Vec<(String, String)> {
        sets().into_iter().map(|set| (set.schema, set.name)).collect()
    }

    /// The same, where Tributary plans in another mode.
    pub fn planning(self, plans: String) -> Self {
        Self { plans, ..self }
    }

    /// Settings of Tributary under a mode of planning.
    fn session(&self, plans: &str) -> String {
        format!("{SESSION}; SET tributary.pushdown = '{}'; SET plan_cache_mode = '{plans}'", self.pushdown)
    }

    /// A connection to Tributary that runs one plan for all values of parameters.
    pub fn generic(&self) -> Asked {
        Asked::new(self.ours.clone(), self.session("force_generic_plan"))
    }

    /// Connections to Tributary and to the copy.
    pub fn pair(&self) -> (Asked, Asked) {
        (Asked::new(self.ours.clone(), self.session(&self.plans)), Asked::new(self.copy.clone(), COPY_SESSION.to_owned()))
    }

    /// A connection to Tributary that runs `setup` as well.
    pub fn ours_with(&self, setup: &str) -> Asked {
        Asked::new(self.ours.clone(), format!("{SESSION}; SET plan_cache_mode = '{}'; {setup}", self.plans))
    }

    /// A connection to the copy that runs `setup` as well.
    pub fn copy_with(&self, setup: &str) -> Asked {
        Asked::new(self.copy.clone(), format!("{COPY_SESSION}; {setup}"))
    }

    /// Ends Tributary.
    pub async fn clear(self) {
        self.server.stop().await;
    }
}

/// Every set file, by name.
fn sets() -> Vec<Set> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/sets");
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        files.insert(path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap());
    }
    files.iter().map(|(title, text)| Set::parse(title, text)).collect()
}

fn of<'a>(sets: &'a [Set], schema: &str) -> impl Iterator<Item = &'a Set> {
    sets.iter().filter(move |set| set.schema == schema)
}

/// `name type, …` in the store or in the copy.
fn definitions<'a>(columns: impl Iterator<Item = &'a Column>, of: fn(&Column) -> &str) -> String {
    columns.map(|column| format!("{} {}", column.name, of(column))).collect::<Vec<_>>().join(", ")
}

fn stored(column: &Column) -> &str {
    &column.stored
}

async fn postgres_login(server: &Postgres, database: &str) -> PgConnection {
    let login = PgConnectOptions::new_without_pgpass().host(server.host()).port(server.port()).database(database);
    PgConnection::connect_with(&login.username(server.user()).password(server.password())).await.unwrap()
}

async fn copy_in(connection: &mut PgConnection, table: &str, set: &Set, of: fn(&Value) -> &str) {
    let mut text = String::new();
    for row in &set.rows {
        text.push_str(&row.iter().map(of).collect::<Vec<_>>().join("|"));
        text.push('\n');
    }
    let statement = format!("COPY {table} FROM STDIN WITH (DELIMITER '|')");
    let mut copy = connection.copy_in_raw(&statement).await.unwrap();
    copy.send(text.into_bytes()).await.unwrap();
    copy.finish().await.unwrap_or_else(|error| panic!("{table}: {error}"));
}

async fn run(connection: &mut PgConnection, statement: String) {
    connection.execute(AssertSqlSafe(statement.clone())).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

async fn fill_postgres(sets: &[Set], stores: Stores) -> String {
    let server = stores.postgres;
    let database = server.fresh_database().await.unwrap();
    let mut connection = postgres_login(server, &database).await;
    run(&mut connection, format!("CREATE TYPE level {LEVEL}")).await;
    for set in of(sets, "shop") {
        run(&mut connection, format!("CREATE TABLE {} ({})", set.name, definitions(set.columns.iter(), stored))).await;
        copy_in(&mut connection, &set.name, set, |value| &value.stored).await;
    }
    run(&mut connection, "ANALYZE".to_owned()).await;
    let lines = stores.lines(sets, "shop");
    format!(
        "kind = \"postgres\"\nhost = \"{}\"\nport = {}\nuser = \"{}\"\npassword = \"{}\"\ndatabase = \"{database}\"\n{lines}",
        server.host(),
        server.port(),
        server.user(),
        server.password()
    )
}

/// The database with a schema for each store: bytes decide the order of text, and UTF-8 what is a letter.
async fn fill_copy(sets: &[Set]) -> tokio_postgres::Config {
    let server = support::postgres().await;
    let database = format!("copy_{}", server.fresh_database().await.unwrap());
    let mut first = postgres_login(server, server.database()).await;
    let create = format!("CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'");
    run(&mut first, create).await;
    let mut connection = postgres_login(server, &database).await;
    for schema in ["shop", "crm", "archive", "field"] {
        run(&mut connection, format!("CREATE SCHEMA {schema}")).await;
    }
    run(&mut connection, format!("CREATE TYPE shop.level {LEVEL}")).await;
    for set in sets {
        let table = format!("{}.{}", set.schema, set.name);
        let columns = definitions(set.columns.iter(), |column| &column.copied);
        run(&mut connection, format!("CREATE TABLE {table} ({columns})")).await;
        copy_in(&mut connection, &table, set, |value| &value.copied).await;
    }
    run(&mut connection, "ANALYZE".to_owned()).await;
    let mut config = tokio_postgres::Config::new();
    config.host(server.host()).port(server.port()).user(server.user()).password(server.password()).dbname(&database);
    config
}

async fn fill_mariadb(sets: &[Set], stores: Stores) -> String {
    let server = stores.mariadb;
    let database = server.fresh_database().await.unwrap();
    let login = MySqlConnectOptions::new().host(server.host()).port(server.port()).database(&database);
    let mut connection = MySqlConnection::connect_with(&login.username(server.user()).password(server.password())).await.unwrap();
    for set in of(sets, "crm") {
        let create = format!("CREATE TABLE {} ({})", set.name, definitions(set.columns.iter(), stored));
        connection.execute(AssertSqlSafe(create.clone())).await.unwrap_or_else(|error| panic!("{create}: {error}"));
        let mut all = connection.begin().await.unwrap();
        let insert = format!("INSERT INTO {} VALUES ({})", set.name, vec!["?"; set.columns.len()].join(", "));
        for row in &set.rows {
            let mut statement = sqlx::query(AssertSqlSafe(insert.clone()));
            for (value, column) in row.iter().zip(&set.columns) {
                let text = unescaped(&value.stored);
                statement = match column.copied.as_str() {
                    "bytea" => statement.bind(text.map(|text| bytes(&text))),
                    _ => statement.bind(text),
                };
            }
            statement.execute(&mut *all).await.unwrap_or_else(|error| panic!("{}: {error}", set.name));
        }
        all.commit().await.unwrap();
    }
    let own = if stores.are_cached { format!("changes.tables = [\"{database}.*\"]\n") } else { String::new() };
    let lines = stores.lines(sets, "crm");
    format!(
        "kind = \"mariadb\"\nhost = \"{}\"\nport = {}\nuser = \"{}\"\npassword = \"{}\"\ndatabase = \"{database}\"\n{own}{lines}",
        server.host(),
        server.port(),
        server.user(),
        server.password()
    )
}

/// Columns of type `doc` lie in one JSON column of that name.
async fn fill_sqlite(sets: &[Set], stores: Stores, directory: &Path) -> String {
    let file = SqliteConnectOptions::new().filename(directory.join("archive.db")).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&file).await.unwrap();
    let mut options = format!("kind = \"sqlite\"\npath = \"archive.db\"\n{}", stores.lines(sets, "archive"));
    for set in of(sets, "archive") {
        let plain = |column: &&Column| column.stored != "doc";
        let mut columns = definitions(set.columns.iter().filter(plain), stored);
        let mut places = set.columns.iter().filter(plain).count();
        let has_document = places < set.columns.len();
        if has_document {
            columns.push_str(", doc JSON");
            places += 1;
            options.push_str(&format!("[tables.{}]\ndocument = \"doc\"\n", set.name));
        }
        connection.execute(AssertSqlSafe(format!("CREATE TABLE {} ({columns})", set.name))).await.unwrap();
        let mut all = connection.begin().await.unwrap();
        let insert = format!("INSERT INTO {} VALUES ({})", set.name, vec!["?"; places].join(", "));
        for row in &set.rows {
            let mut statement = sqlx::query(AssertSqlSafe(insert.clone()));
            for (value, _) in row.iter().zip(&set.columns).filter(|(_, column)| plain(column)) {
                statement = match unescaped(&value.stored) {
                    Some(text) if text.starts_with("\\x") => statement.bind(Some(bytes(&text))),
                    text => statement.bind(text),
                };
            }
            if has_document {
                statement = statement.bind(serde_json::to_string(&json(set, row, "doc")).unwrap());
            }
            statement.execute(&mut *all).await.unwrap();
        }
        all.commit().await.unwrap();
    }
    options
}

/// The fields of one document; a value of nothing is a missing field.
fn json(set: &Set, row: &[Value], stored: &str) -> serde_json::Map<String, serde_json::Value> {
    let fields = set.columns.iter().zip(row).filter(|(column, value)| column.stored == stored && !value.stored.is_empty());
    fields
        .map(|(column, value)| {
            let text = unescaped(&value.stored).unwrap();
            let parsed =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}.{}: {text}: {error}", set.name, column.name));
            (column.name.clone(), parsed)
        })
        .collect()
}

async fn fill_mongodb(sets: &[Set], stores: Stores) -> String {
    let server = support::mongodb().await;
    let database = server.fresh_database().await.unwrap();
    let url = format!(
        "mongodb://{}:{}@{}:{}/?authSource=admin&directConnection=true",
        server.user(),
        server.password(),
        server.host(),
        server.port()
    );
    let client = mongodb::Client::with_uri_str(url).await.unwrap();
    for set in of(sets, "field") {
        let mut documents = Vec::new();
        for row in &set.rows {
            let mut document = Document::new();
            for (column, value) in set.columns.iter().zip(row) {
                match column.stored.as_str() {
                    "objectid" => drop(document.insert("_id", ObjectId::parse_str(&value.stored).unwrap())),
                    "int64" => drop(document.insert(&column.name, value.stored.parse::<i64>().unwrap())),
                    _ => {}
                }
            }
            document.extend(json(set, row, "document").into_iter().map(|(name, value)| (name, bson(value))));
            documents.push(document);
        }
        let collections = client.database(&database);
        match documents.is_empty() {
            true => collections.create_collection(&set.name).await.unwrap(),
            false => drop(collections.collection::<Document>(&set.name).insert_many(documents).await.unwrap()),
        }
    }
    let lines = stores.lines(sets, "field");
    format!(
        "kind = \"mongodb\"\nhosts = [\"{}:{}\"]\nuser = \"{}\"\npassword = \"{}\"\nauth_source = \"admin\"\nreplica_set = \"{}\"\n\
         database = \"{database}\"\ndatabases = []\n{lines}[collections.empty.columns]\nno = \"bigint\"\nlabel = \"text\"\n",
        server.host(),
        server.port(),
        server.user(),
        server.password(),
        server.replica_set()
    )
}

/// Extended JSON as far as the sets use it. Whole numbers become the smallest type that holds them, as shells write them.
fn bson(value: serde_json::Value) -> Bson {
    match value {
        serde_json::Value::Null => Bson::Null,
        serde_json::Value::Bool(truth) => Bson::Boolean(truth),
        serde_json::Value::String(text) => Bson::String(text),
        serde_json::Value::Array(elements) => Bson::Array(elements.into_iter().map(bson).collect()),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => i32::try_from(whole).map_or(Bson::Int64(whole), Bson::Int32),
            None => Bson::Double(number.as_f64().unwrap()),
        },
        serde_json::Value::Object(fields) => match fields.iter().next() {
            Some((name, inner)) if name == "$oid" => Bson::ObjectId(ObjectId::parse_str(inner.as_str().unwrap()).unwrap()),
            Some((name, inner)) if name == "$date" => Bson::DateTime(DateTime::from_millis(inner.as_i64().unwrap())),
            Some((name, inner)) if name == "$numberDouble" => Bson::Double(inner.as_str().unwrap().parse().unwrap()),
            Some((name, inner)) if name == "$numberDecimal" => Bson::Decimal128(inner.as_str().unwrap().parse().unwrap()),
            _ => Bson::Document(fields.into_iter().map(|(name, value)| (name, bson(value))).collect()),
        },
    }
}
