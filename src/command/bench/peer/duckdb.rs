//! DuckDB in a Python process of its own (`benches/peers/duckdb_peer.py`), in an environment that is made at the first use.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::super::answer::Answer;
use super::super::client::{Failure, Timed};
use super::super::load::Site;
use super::super::placement::{PlacedStore, StoreKind};
use super::Reached;
use crate::command::CommandError;
use crate::config::environment;
use crate::sandbox::Endpoint;

/// DuckDB and its scanners are of one version.
const VERSION: &str = "1.5.5";
const PACKAGES: [&str; 5] = [
    "duckdb",
    "duckdb-extensions",
    "duckdb-extension-postgres-scanner",
    "duckdb-extension-mysql-scanner",
    "duckdb-extension-sqlite-scanner",
];
const PROGRAM: &str = include_str!("../../../../benches/peers/duckdb_peer.py");
/// How much later than its own limit an answer is given up.
const GRACE: Duration = Duration::from_secs(30);

/// A running DuckDB.
#[derive(Debug)]
pub(in super::super) struct Duckdb {
    // Ends with the handle.
    _process: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    limit: Duration,
}

impl Duckdb {
    /// Makes the environment where it is missing, starts the process and attaches the stores.
    ///
    /// # Errors
    /// Python or a package is missing, or a store cannot be attached.
    pub(super) async fn start(directory: &Path, reached: &Reached<'_>) -> Result<Self, CommandError> {
        let python = python().await?;
        let program = directory.join("duckdb_peer.py");
        std::fs::write(&program, PROGRAM)?;
        let mut command = Command::new(python);
        command.arg(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn()?;
        let (Some(questions), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(CommandError::Refused("the Python process has no input or output".to_owned()));
        };
        let answers = BufReader::new(answers).lines();
        let mut duckdb = Self { _process: process, questions, answers, limit: reached.limit };
        let stores = reached.placement.stores.iter().zip(reached.sites).map(|(store, site)| attached(store, site));
        let hello = json!({ "stores": stores.collect::<Vec<_>>() });
        match duckdb.exchange(&hello).await {
            Ok(answer) if answer.get("version").is_some() => Ok(duckdb),
            Ok(answer) => Err(CommandError::Refused(format!("DuckDB cannot attach the stores: {}", word(&answer, "error")))),
            Err(failure) => Err(CommandError::Refused(format!("DuckDB does not answer: {failure:?}"))),
        }
    }

    /// Runs a query; the time is what DuckDB itself measured around the query and its rows.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Timed, Failure> {
        let question = json!({ "sql": sql, "limit_s": self.limit.as_secs_f64() });
        let answer = self.exchange(&question).await?;
        if answer.get("timed_out").is_some() {
            return Err(Failure::TimedOut);
        }
        let Some(elapsed_ms) = answer.get("elapsed_ms").and_then(Value::as_f64) else {
            return Err(Failure::Refused(word(&answer, "error")));
        };
        let elapsed = Duration::try_from_secs_f64(elapsed_ms / 1e3).unwrap_or_default();
        Ok(Timed { answer: Answer { rows: rows(&answer), floats: Vec::new() }, elapsed })
    }

    async fn exchange(&mut self, question: &Value) -> Result<Value, Failure> {
        let lost = |error: &dyn std::error::Error| Failure::Refused(format!("DuckDB's process is gone: {error}"));
        let line = format!("{question}\n");
        self.questions.write_all(line.as_bytes()).await.map_err(|error| lost(&error))?;
        let answer = tokio::time::timeout(self.limit + GRACE, self.answers.next_line()).await;
        let line = answer.map_err(|_elapsed| Failure::TimedOut)?.map_err(|error| lost(&error))?.unwrap_or_default();
        serde_json::from_str(&line).map_err(|error| lost(&error))
    }
}

fn rows(answer: &Value) -> Vec<Vec<Option<String>>> {
    let cell = |cell: &Value| cell.as_str().map(str::to_owned);
    let row = |row: &Value| row.as_array().map(|cells| cells.iter().map(cell).collect()).unwrap_or_default();
    answer.get("rows").and_then(Value::as_array).map(|rows| rows.iter().map(row).collect()).unwrap_or_default()
}

fn word(answer: &Value, key: &str) -> String {
    answer.get(key).and_then(Value::as_str).unwrap_or("it says nothing").to_owned()
}

fn attached(store: &PlacedStore, site: &Site) -> Value {
    let (address, schema) = match site {
        Site::File(path) => (path.display().to_string(), "main".to_owned()),
        Site::Server(endpoint) => {
            let Endpoint { host, port, user, password, database } = endpoint;
            let is_postgres = store.kind == StoreKind::Postgres;
            let (word, schema) = if is_postgres { ("dbname", "public") } else { ("database", database.as_str()) };
            let address = format!("host={host} port={port} user={user} password={} {word}={database}", password.expose());
            (address, schema.to_owned())
        }
    };
    json!({ "name": store.name, "kind": store.kind.word(), "address": address, "schema": schema })
}

/// The Python of an environment that holds DuckDB and its scanners, which the first call makes in the cache directory.
///
/// # Errors
/// Python or a package is missing, or the directory cannot be written.
pub async fn python() -> Result<PathBuf, CommandError> {
    let cache = environment::cache_directory()
        .ok_or_else(|| CommandError::Refused("neither HOME nor XDG_CACHE_HOME is set: no place for DuckDB".to_owned()))?;
    let directory = cache.join(format!("duckdb-{VERSION}"));
    let (python, done) = (directory.join("bin/python"), directory.join("installed"));
    if done.is_file() {
        return Ok(python);
    }
    // What an interrupted run left is no environment.
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    std::fs::create_dir_all(&cache)?;
    let text = |path: &Path| path.display().to_string();
    run("python3", &["-m".to_owned(), "venv".to_owned(), text(&directory)]).await?;
    let mut install: Vec<String> = ["-m", "pip", "install", "-q", "--disable-pip-version-check"].map(str::to_owned).into();
    install.extend(PACKAGES.map(|package| format!("{package}=={VERSION}")));
    run(&text(&python), &install).await?;
    std::fs::write(done, VERSION)?;
    Ok(python)
}

async fn run(program: &str, arguments: &[String]) -> Result<(), CommandError> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().last().unwrap_or_default().to_owned();
    Err(CommandError::Refused(format!("{program} {} failed: {last}", arguments.join(" "))))
}
