//! Answers as data: every `suites/*.slt` is sent through the wire to a server of the demo's catalog, and what comes back is
//! compared line by line. A suite is about one subject; its statements are short enough to be checked by reading.
//!
//! `TRIBUTARY_UPDATE_SUITES=1` writes what came back into the files instead, to be read as a difference.

use std::fmt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Normalizer, Runner};
use tokio_postgres::SimpleQueryMessage;
use tributary::command::demo::{self, Arguments};
use tributary::config::{self, environment};
use tributary::server::Server;

use crate::support::proxy::{self, Failure, Session};

/// The demo's catalog, served on a free port.
pub struct Demo {
    directory: tempfile::TempDir,
    /// What serves it.
    pub server: Server,
}

impl Demo {
    /// Builds the demo's databases and serves them without the demo itself.
    pub async fn serve() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments = Arguments { servers: false, data_dir: Some(directory.path().to_owned()), port: free, once: true };
        Box::pin(demo::run(&arguments, &mut Vec::new())).await.unwrap();
        let file = directory.path().join("catalog/tributary.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let (listening, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.contains("listen ="));
        assert_eq!(listening.len(), 2, "{text}");
        let main = format!("listen = \"127.0.0.1:0\"\nhttp.listen = \"off\"\n{}\n", rest.join("\n"));
        std::fs::write(&file, main).unwrap();
        // The suites share the rows, so nobody writes to them.
        for store in ["hydro", "crew"] {
            let file = directory.path().join(format!("catalog/stores/{store}.toml"));
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, format!("{text}read_only = true\n")).unwrap();
        }
        let server = Server::start(config::load(&directory.path().join("catalog")).unwrap()).await.unwrap();
        Self { directory, server }
    }

    async fn connect(&self) -> Client {
        let password = std::fs::read_to_string(self.directory.path().join("password")).unwrap();
        let mut login = proxy::login(self.server.addresses()[0], "demo");
        login.password(password);
        Client(proxy::open(&login).await.unwrap())
    }
}

/// One session, as a suite sees it.
struct Client(Session);

/// What a statement failed with, as a suite writes it: `42P01: relation "x" does not exist`, then hint and place between dashes.
#[derive(Debug)]
struct Told(Failure);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { code, message, hint, position, .. } = &self.0;
        write!(f, "{code}: {message}")?;
        if !hint.is_empty() {
            write!(f, " -- {hint}")?;
        }
        position.map_or(Ok(()), |position| write!(f, " -- at {position}"))
    }
}

impl std::error::Error for Told {}

#[async_trait]
impl AsyncDB for Client {
    type Error = Told;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Told> {
        let messages = self.0.simple_query(sql).await.map_err(|error| Told(Failure::of(error)))?;
        let mut output = DBOutput::StatementComplete(0);
        for message in messages {
            match (message, &mut output) {
                (SimpleQueryMessage::RowDescription(columns), _) => {
                    output = DBOutput::Rows { types: vec![DefaultColumnType::Text; columns.len()], rows: Vec::new() };
                }
                (SimpleQueryMessage::Row(row), DBOutput::Rows { rows, .. }) => {
                    let shown = |text: &str| if text.is_empty() { "(empty)".to_owned() } else { text.to_owned() };
                    rows.push((0..row.len()).map(|place| row.get(place).map_or_else(|| "NULL".to_owned(), shown)).collect());
                }
                _ => {}
            }
        }
        Ok(output)
    }

    async fn shutdown(&mut self) {}
}

/// Between the fields of a row; spaces are part of a field.
const SEPARATOR: &str = "|";

fn is_same(_normalizer: Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    let rows: Vec<String> = actual.iter().map(|row| row.join(SEPARATOR)).collect();
    rows == expected
}

fn suites() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/answers/suites");
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "slt"));
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_suite_gives_its_answers() {
    let demo = Demo::serve().await;
    let suites = suites();
    assert!(suites.len() >= 5, "{suites:?}");
    for suite in suites {
        // A session of its own: what one suite has set is not there for the next.
        let demo = &demo;
        let mut runner = Runner::new(|| async move { Ok::<_, Told>(demo.connect().await) });
        runner.with_validator(is_same);
        if environment::text("TRIBUTARY_UPDATE_SUITES").is_some() {
            let update = runner.update_test_file(
                &suite,
                SEPARATOR,
                is_same,
                sqllogictest::default_normalizer,
                sqllogictest::default_column_validator,
            );
            update.await.unwrap();
        } else {
            runner.run_file_async(&suite).await.unwrap_or_else(|error| panic!("{}: {error}", suite.display()));
        }
    }
    demo.server.stop().await;
}
