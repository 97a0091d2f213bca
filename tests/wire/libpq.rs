//! Programs built on libpq: psql and pgbench as the oracle for logins, scripts and pipelines.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use tokio::process::Command;

use super::server::{self, DATABASE, PASSWORD, Server, USER, settings, trusting, with_tls};

/// Runs a client program against the server; a missing one fails the test with the way to get it.
async fn run(program: &str, server: &Server, connection: &str, arguments: &[&str]) -> Output {
    let address = format!(
        "host=localhost hostaddr={} port={} user={USER} dbname={DATABASE} connect_timeout=10 {connection}",
        server.address.ip(),
        server.address.port()
    );
    let mut command = Command::new(program);
    command.args(arguments).arg(address).env("PGPASSWORD", PASSWORD).env("LC_ALL", "C").env_remove("PGOPTIONS").kill_on_drop(true);
    let running = command.output();
    let finished = tokio::time::timeout(Duration::from_secs(60), running).await.unwrap_or_else(|_| panic!("{program} hangs"));
    finished.unwrap_or_else(|error| panic!("{program}: {error}; install the Debian package postgresql-client or postgresql"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn psql_logs_in_over_verified_tls_with_channel_binding() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, _) = with_tls(directory.path(), true);
    let server = server::start(settings).await;
    let root = Path::new(directory.path()).join("server.crt");
    let connection = format!("sslmode=verify-full channel_binding=require sslrootcert={}", root.display());
    let script = ["-X", "-At", "-c", "SELECT 1; SELECT 2", "-c", "BEGIN", "-c", "SELECT 'é' AS x", "-c", "COMMIT"];
    let output = run("psql", &server, &connection, &script).await;
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("1\n2\nBEGIN\né\nCOMMIT\n".to_owned(), String::new()));
    let refused = run("psql", &server, "sslmode=disable", &["-X", "-c", "SELECT 1"]).await;
    assert!(text(&refused.stderr).contains("this server takes connections over TLS only"), "{}", text(&refused.stderr));
}

#[tokio::test]
async fn psql_shows_errors_with_their_place_and_goes_on() {
    let server = server::start(settings()).await;
    let script = ["-X", "-At", "-v", "VERBOSITY=verbose", "-c", "SELEC 1", "-c", "SELECT 7"];
    let output = run("psql", &server, "sslmode=prefer gssencmode=prefer", &script).await;
    let said = text(&output.stderr);
    assert!(said.starts_with("ERROR:  42601: "), "{said}");
    assert!(said.contains("LINE 1: SELEC 1\n        ^"), "{said}");
    assert_eq!(text(&output.stdout), "7\n");
}

#[tokio::test]
async fn psql_reads_a_large_result() {
    let server = server::start(settings()).await;
    let sum = "SELECT count(*), sum(generate_series) FROM generate_series(1, 250000)";
    let output = run("psql", &server, "", &["-X", "-At", "-c", sum]).await;
    assert_eq!(text(&output.stdout), "250000|31250125000\n", "{}", text(&output.stderr));
    let rows = run("psql", &server, "", &["-X", "-At", "-c", "SELECT generate_series FROM generate_series(1, 250000)"]).await;
    let lines = text(&rows.stdout);
    assert_eq!((lines.lines().count(), lines.lines().last()), (250_000, Some("250000")));
}

#[tokio::test]
async fn pgbench_runs_all_three_protocols_and_pipelines() {
    let server = server::start(trusting()).await;
    let directory = tempfile::tempdir().unwrap();
    let single = directory.path().join("single.sql");
    std::fs::write(&single, "\\set x random(1, 1000)\nSELECT :x::int4 + 1;\n").unwrap();
    let pipeline = directory.path().join("pipeline.sql");
    std::fs::write(&pipeline, "\\startpipeline\nSELECT 1;\nSELECT 2;\nSELECT 3;\n\\endpipeline\n").unwrap();
    let (single, pipeline) = (single.to_str().unwrap(), pipeline.to_str().unwrap());
    for (mode, script) in
        [("simple", single), ("extended", single), ("prepared", single), ("extended", pipeline), ("prepared", pipeline)]
    {
        let arguments = ["-n", "-M", mode, "-f", script, "-c", "4", "-t", "25"];
        let output = run("pgbench", &server, "", &arguments).await;
        let said = text(&output.stdout);
        assert!(output.status.success(), "{mode} {script}: {}", text(&output.stderr));
        assert!(said.contains("number of transactions actually processed: 100/100"), "{mode} {script}: {said}");
    }
}
