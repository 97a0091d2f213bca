//! Servers shared by all tests of this process, started on first use.
//!
//! Each is a private server of `tributary::sandbox`, unless an environment variable names a running one:
//! `TRIBUTARY_TEST_POSTGRES_URL`, `TRIBUTARY_TEST_MARIADB_URL`, `TRIBUTARY_TEST_MYSQL_URL` and
//! `TRIBUTARY_TEST_MONGODB_URL`, as `scheme://user:password@host:port/database`. The user must be allowed to create
//! databases; tests leave theirs behind on servers named so.
//!
//! A test that changes or kills a server, or counts on its log to rest, starts its own with `tributary::sandbox`.

pub mod authority;
pub mod gate;
pub mod listener;
pub mod proxy;
pub mod secrets;

use std::ops::Deref;

use tokio::sync::OnceCell;
use tributary::config::environment;
use tributary::options::Secret;
use tributary::sandbox::{Durability, Endpoint, MariaDb, Mongo, Postgres, SandboxError, Setup};

/// The setup of servers whose data is worthless.
pub fn throwaway() -> Setup {
    Setup { durability: Durability::Forgone, ..Setup::default() }
}

/// The shared PostgreSQL.
pub async fn postgres() -> &'static Postgres {
    static SERVER: OnceCell<Postgres> = OnceCell::const_new();
    let start = async || match named("TRIBUTARY_TEST_POSTGRES_URL", 5432) {
        Some(endpoint) => Postgres::at(endpoint),
        None => loud(Postgres::start_with(&throwaway()).await),
    };
    SERVER.get_or_init(start).await
}

/// The shared MariaDB.
pub async fn mariadb() -> &'static MariaDb {
    static SERVER: OnceCell<MariaDb> = OnceCell::const_new();
    let start = async || match named("TRIBUTARY_TEST_MARIADB_URL", 3306) {
        Some(endpoint) => MariaDb::at(endpoint),
        None => loud(MariaDb::start_with(&throwaway()).await),
    };
    SERVER.get_or_init(start).await
}

/// A MariaDB that a test reads and writes: the one of all tests, or one where nobody else writes.
pub enum MariaDbOf {
    All(&'static MariaDb),
    One(MariaDb),
}

impl Deref for MariaDbOf {
    type Target = MariaDb;

    fn deref(&self) -> &MariaDb {
        match self {
            Self::All(server) => server,
            Self::One(server) => server,
        }
    }
}

/// MySQL itself, only where `TRIBUTARY_TEST_MYSQL_URL` names one: Debian does not package it.
#[cfg(feature = "test_mysql")]
pub fn mysql() -> Option<MariaDb> {
    named("TRIBUTARY_TEST_MYSQL_URL", 3306).map(MariaDb::at)
}

/// The shared MongoDB replica set.
pub async fn mongodb() -> &'static Mongo {
    static SERVER: OnceCell<Mongo> = OnceCell::const_new();
    let start = async || match named("TRIBUTARY_TEST_MONGODB_URL", 27017) {
        Some(endpoint) => Mongo::at(endpoint),
        None => loud(Mongo::start_with(&throwaway()).await),
    };
    SERVER.get_or_init(start).await
}

/// A server that does not start fails every test that needs it, with the way to install it.
fn loud<T>(started: Result<T, SandboxError>) -> T {
    started.unwrap_or_else(|error| panic!("{error}"))
}

fn named(variable: &str, default_port: u16) -> Option<Endpoint> {
    let url = environment::text(variable)?;
    // The address itself is not shown: it holds a password.
    Some(endpoint(&url, default_port).unwrap_or_else(|| panic!("{variable} is not scheme://user:password@host:port/database")))
}

/// Reads `scheme://user:password@host:port/database?ignored`; user and password may be percent-encoded.
fn endpoint(url: &str, default_port: u16) -> Option<Endpoint> {
    let (_scheme, rest) = url.split_once("://")?;
    let (login, place) = rest.rsplit_once('@')?;
    let (user, password) = login.split_once(':')?;
    let (address, database) = place.split_once('/').unwrap_or((place, ""));
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (address, default_port),
    };
    let database = database.split('?').next().unwrap_or_default();
    Some(Endpoint {
        host: host.to_owned(),
        port,
        user: percent_decoded(user)?,
        password: Secret::new(percent_decoded(password)?),
        database: database.to_owned(),
    })
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[test]
fn server_addresses_are_read() {
    let read =
        |url: &str| endpoint(url, 5432).map(|e| format!("{}|{}|{}|{}|{}", e.user, e.password.expose(), e.host, e.port, e.database));
    let rows = [
        ("postgres://u:p@h:1/d", Some("u|p|h|1|d")),
        ("postgres://u:p%40%2F@h/d?ssl=1", Some("u|p@/|h|5432|d")),
        ("mongodb://u:p@h:2", Some("u|p|h|2|")),
        ("postgres://u@h/d", None),
        ("postgres://u:p@h:x/d", None),
        ("postgres://u:%zz@h/d", None),
    ];
    for (url, expected) in rows {
        assert_eq!(read(url).as_deref(), expected, "{url}");
    }
}
