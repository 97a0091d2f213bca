//! The other side: DuckDB in a Python process of its own (`benches/peers/duckdb_scan.py`).

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tributary::sandbox::Endpoint;

use super::measure::must;

/// Longest time of a query that is no scan, in seconds.
const LIMIT_S: f64 = 600.0;

/// A running DuckDB; dropping it ends the process.
pub struct Duckdb {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// What it says of itself.
    pub version: String,
}

impl Duckdb {
    /// Starts the process and attaches the server as `shop`.
    pub fn start(python: &Path, server: &Endpoint) -> Self {
        let program: PathBuf = [env!("CARGO_MANIFEST_DIR"), "benches/peers/duckdb_scan.py"].iter().collect();
        // No compiled files beside the sources.
        let mut process = must(Command::new(python).arg("-B").arg(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn());
        let questions = must(process.stdin.take().ok_or("the process has no input"));
        let answers = BufReader::new(must(process.stdout.take().ok_or("the process has no output")));
        let mut duckdb = Self { process, questions, answers, version: String::new() };
        let address = format!(
            "host={} port={} user={} password={} dbname={}",
            server.host(),
            server.port(),
            server.user(),
            server.password(),
            server.database()
        );
        let store = json!({ "name": "shop", "kind": "postgres", "address": address, "schema": "public" });
        let hello = duckdb.exchange(&json!({ "stores": [store] }));
        hello.get("version").and_then(Value::as_str).unwrap_or("of unknown version").clone_into(&mut duckdb.version);
        duckdb
    }

    /// Reads the result of a query into Arrow batches: how many rows, and how many milliseconds as it measured them itself.
    pub fn scan(&mut self, sql: &str) -> (u64, f64) {
        let answer = self.exchange(&json!({ "scan": sql }));
        let rows = answer.get("rows").and_then(Value::as_u64);
        let elapsed_ms = answer.get("elapsed_ms").and_then(Value::as_f64);
        must(rows.zip(elapsed_ms).ok_or_else(|| format!("DuckDB answered {answer}")))
    }

    /// The one value of a query, as text.
    pub fn value(&mut self, sql: &str) -> String {
        let answer = self.exchange(&json!({ "sql": sql, "limit_s": LIMIT_S }));
        let value = answer.pointer("/rows/0/0").and_then(Value::as_str);
        must(value.ok_or_else(|| format!("DuckDB answered {answer}"))).to_owned()
    }

    fn exchange(&mut self, question: &Value) -> Value {
        must(writeln!(self.questions, "{question}").and_then(|()| self.questions.flush()));
        let mut line = String::new();
        must(self.answers.read_line(&mut line));
        let answer: Value = must(serde_json::from_str(&line));
        let error = answer.get("error").and_then(Value::as_str);
        must(error.map_or(Ok(()), |error| Err(format!("DuckDB: {error}"))));
        answer
    }
}

impl Drop for Duckdb {
    fn drop(&mut self) {
        // A process that has ended by itself needs no more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
