//! The clients people use, each connecting with SCRAM-SHA-256 over TLS to a server with a PostgreSQL and a SQLite store.
//!
//! A client's script is a file beside this one. It checks for itself, prints the name of each check that passed, and ends
//! with an error otherwise; the tests here compare the names, so that a script that stops early is noticed. `tests/run`
//! installs the clients; one that is missing fails its test with the way to install it.

mod batches;
mod listens;
mod psql;
mod rust_sqlx;
mod rust_sqlx_writes;
mod writes;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tokio::process::Command;
use tributary::config::environment;
use tributary::server::Server;

use crate::support::{self, proxy};
use proxy::{DATABASE, OWNER, PASSWORD, PATIENCE, Place};

/// A server with what the scripts expect.
struct Stage {
    place: Place,
    server: Server,
}

impl Stage {
    async fn set() -> Self {
        let place = Place::new();
        let postgres = support::postgres().await;
        let shop = proxy::fresh(postgres, include_str!("shop.sql")).await;
        place.postgres("shop", postgres, &shop, "");
        place.sqlite("notes", include_str!("notes.sql")).await;
        place.write("stores/notes.toml", "kind = \"sqlite\"\npath = \"notes.db\"\n[tables.reviews]\ndocument = \"doc\"\n");
        let spending = "SELECT c.name, o.total FROM shop.customers c JOIN shop.orders o ON o.customer_id = c.id";
        place.write("views/spending.sql", spending);
        let server = place.serve().await;
        Self { place, server }
    }

    /// The same with two stores that are written to. Every test has its own server, files and database, so that none sees another's rows.
    async fn for_writes() -> Self {
        let place = Place::new();
        let postgres = support::postgres().await;
        let shop = proxy::fresh(postgres, include_str!("shop_writes.sql")).await;
        place.postgres("shop", postgres, &shop, "");
        place.sqlite("notes", include_str!("notes_writes.sql")).await;
        let server = place.serve().await;
        Self { place, server }
    }

    fn port(&self) -> u16 {
        self.server.addresses()[0].port()
    }

    /// Runs a client program, told where the server is in the words of libpq and in our own.
    async fn run(&self, program: &str, arguments: &[&str], install: &str) -> Output {
        let (port, authority) = (self.port().to_string(), self.place.authority().display().to_string());
        let variables = [
            ("HOST", "HOST", "localhost"),
            ("PORT", "PORT", &port),
            ("USER", "USER", OWNER),
            ("PASSWORD", "PASSWORD", PASSWORD),
            ("DATABASE", "DATABASE", DATABASE),
            ("CA", "SSLROOTCERT", &authority),
        ];
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).env("LC_ALL", "C.UTF-8").env("PGSSLMODE", "verify-full");
        for (ours, libpq, value) in variables {
            command.env(format!("TRIBUTARY_{ours}"), value).env(format!("PG{libpq}"), value);
        }
        command.env("TRIBUTARY_NODE_MODULES", format!("{}/", cache().join("node/node_modules").display()));
        command.env_remove("PGOPTIONS").env("PYTHONIOENCODING", "utf-8");
        let finished = tokio::time::timeout(PATIENCE, command.output()).await.unwrap_or_else(|_| panic!("{program} hangs"));
        finished.unwrap_or_else(|error| panic!("{program}: {error}; {install}"))
    }

    /// Runs a script and compares the names of the checks that it passed.
    async fn check(&self, program: &str, script: &[&str], checks: &[&str]) {
        let output = self.run(program, script, "tests/run installs it").await;
        let said = text(&output.stderr);
        assert_eq!(text(&output.stdout).lines().collect::<Vec<_>>(), checks, "{said}");
        assert!(output.status.success(), "{said}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where `tests/run` puts clients.
fn cache() -> PathBuf {
    let root = environment::text("XDG_CACHE_HOME").map(PathBuf::from);
    let root = root.or_else(|| environment::text("HOME").map(|home| Path::new(&home).join(".cache")));
    root.expect("neither XDG_CACHE_HOME nor HOME is set").join("tributary")
}

fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name).display().to_string()
}

async fn python(name: &str, checks: &[&str]) {
    let stage = Stage::set().await;
    let program = cache().join("python/bin/python");
    stage.check(program.to_str().unwrap(), &[&script(name)], checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_psycopg() {
    let checks = [
        "parameters",
        "stored_values",
        "prepared",
        "pipeline",
        "streaming",
        "typed_errors",
        "transactions",
        "settings",
        "copy",
        "cancel",
        "wrong_password",
    ];
    python("psycopg_client.py", &checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_asyncpg() {
    let checks = [
        "parameters",
        "stored_values",
        "prepared",
        "streaming",
        "typed_errors",
        "transactions",
        "introspection",
        "copy",
        "cancel",
        "pool",
    ];
    python("asyncpg_client.py", &checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_sqlalchemy_inspects() {
    let checks = ["queries", "schemas", "tables", "columns", "keys", "foreign_keys", "indexes", "checks", "comments", "reflection"];
    python("sqlalchemy_client.py", &checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_pg() {
    let stage = Stage::set().await;
    let checks = [
        "parameters",
        "stored_values",
        "prepared",
        "streaming",
        "typed_errors",
        "transactions",
        "several_statements",
        "statement_timeout",
        "pool",
        "wrong_password",
    ];
    stage.check("node", &[&script("node_pg_client.mjs")], &checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_postgres_js() {
    let stage = Stage::set().await;
    let checks = ["parameters", "array_types", "prepared", "streaming", "typed_errors", "transactions", "wrong_password"];
    stage.check("node", &[&script("postgres_js_client.mjs")], &checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_pgjdbc() {
    let stage = Stage::set().await;
    let checks = [
        "parameters",
        "stored_values",
        "prepared",
        "streaming",
        "typed_errors",
        "transactions",
        "metadata",
        "metadata_of_keys_and_types",
        "cancel",
        "wrong_password",
    ];
    let jar = "/usr/share/java/postgresql.jar";
    assert!(Path::new(jar).exists(), "the JDBC driver is missing; tests/run installs libpostgresql-jdbc-java");
    stage.check("java", &["-cp", jar, &script("JdbcClient.java")], &checks).await;
}
