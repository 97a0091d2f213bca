//! What happens when a scan is dropped, the table changes, the server dies, or the login is wrong.

use futures::{StreamExt, TryStreamExt};
use tributary::error::Diagnose;
use tributary::sandbox::Postgres;
use tributary::stores::StoreError;
use tributary::stores::connector::{Purpose, ScanLimits, WriteIsolation};

use super::{Fixture, connector, row_count, scan_of};
use crate::support::secrets::NoSecrets;
use crate::support::throwaway;

/// Runs `query` again until it answers `expected`; a change that never comes fails the test by the deadline.
async fn until(fixture: &mut Fixture, query: &str, expected: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let answer = fixture.ask(query).await;
        if answer.as_deref() == Some(expected) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{query}: {answer:?}");
        tokio::task::yield_now().await;
    }
}

const RUNNING: &str = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() \
     AND application_name = 'tributary' AND state = 'active'";

#[tokio::test]
async fn a_scan_dropped_in_the_middle_leaves_the_pool_right() {
    let server = crate::support::postgres().await;
    let mut fixture = Fixture::on(server, "pool = { size = 2 }").await;
    fixture
        .run("CREATE TABLE big AS SELECT n, repeat('x', 200) AS filler FROM generate_series(1, 200000) n; CREATE TABLE small AS SELECT 42 AS answer")
        .await;
    let (big, small) = (fixture.table("big").await, fixture.table("small").await);
    for _ in 0..5 {
        let branch = fixture.connector.open(Purpose::Statement { scans: 1 }).await.unwrap();
        let mut stream = branch.scan(&big, &scan_of(&big, Vec::new()), ScanLimits::default()).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap().num_rows(), 8_192);
    }
    for _ in 0..20 {
        let batches = fixture.read(&small, Vec::new()).await.unwrap();
        assert_eq!((row_count(&batches), batches[0].num_columns()), (1, 1));
    }
    until(&mut fixture, RUNNING, "0").await;
    assert_eq!(row_count(&fixture.read(&big, Vec::new()).await.unwrap()), 200_000);
}

#[tokio::test]
async fn dropping_a_scan_stops_a_query_that_sends_nothing() {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TABLE t (id int); CREATE VIEW slow AS SELECT 1 AS one UNION ALL SELECT 2 FROM pg_sleep(600)").await;
    let slow = fixture.table("slow").await;
    let branch = fixture.connector.open(Purpose::Statement { scans: 1 }).await.unwrap();
    let scan = scan_of(&slow, Vec::new());
    // The server holds back even the start of its answer until it has rows to send.
    let mut opening = branch.scan(&slow, &scan, ScanLimits::default());
    tokio::select! {
        _ = &mut opening => panic!("the scan has begun to answer"),
        () = until(&mut fixture, RUNNING, "1") => {}
    }
    drop(opening);
    until(&mut fixture, RUNNING, "0").await;
    let idle = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%slow%' \
         AND application_name = 'tributary'";
    until(&mut fixture, idle, "0").await;
}

#[tokio::test]
async fn a_silent_store_meets_its_deadline() {
    let server = crate::support::postgres().await;
    let mut fixture = Fixture::on(server, "deadline = '200ms'").await;
    fixture.run("CREATE VIEW slow AS SELECT 1 AS one FROM pg_sleep(600)").await;
    let slow = fixture.table("slow").await;
    let error = fixture.read(&slow, Vec::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Deadline { limit_ms: 200, .. }), "{error:?}");
    until(&mut fixture, RUNNING, "0").await;
}

#[tokio::test]
async fn a_changed_table_says_so_and_never_gives_wrong_values() {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TABLE t (a int, b int); INSERT INTO t VALUES (1065353216, 2)").await;
    let table = fixture.table("t").await;
    let changes = ["ALTER TABLE t ALTER a TYPE real USING 1.0", "ALTER TABLE t DROP COLUMN a", "ALTER TABLE t RENAME TO u"];
    for change in changes {
        fixture.run(change).await;
        let error = fixture.read(&table, Vec::new()).await.unwrap_err();
        assert!(matches!(error, StoreError::SchemaChanged { .. }), "{change}: {error:?}");
    }
    let fresh = fixture.table("u").await;
    assert_eq!(row_count(&fixture.read(&fresh, Vec::new()).await.unwrap()), 1);
}

#[tokio::test]
async fn server_errors_pass_through_with_their_code() {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE VIEW broken AS SELECT 1 / (n - 5000) AS q FROM generate_series(1, 9000) n").await;
    let table = fixture.table("broken").await;
    let error = fixture.read(&table, Vec::new()).await.unwrap_err();
    assert_eq!((error.sqlstate(), error.to_string().as_str()), ("22012", "division by zero"));
    fixture.run("CREATE TABLE fine AS SELECT 1 AS one").await;
    let fine = fixture.table("fine").await;
    assert_eq!(row_count(&fixture.read(&fine, Vec::new()).await.unwrap()), 1);
}

#[tokio::test]
async fn a_function_that_misses_a_table_is_no_changed_table() {
    let mut fixture = Fixture::new().await;
    let body = "BEGIN RETURN (SELECT count(*) FROM inner_table); END";
    fixture.run(&format!("CREATE TABLE inner_table (id int); CREATE FUNCTION f() RETURNS int8 LANGUAGE plpgsql AS '{body}'")).await;
    fixture.run("CREATE VIEW v AS SELECT f() AS n").await;
    let view = fixture.table("v").await;
    let error = fixture.read(&view, Vec::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Remote { .. }), "{error:?}");
    assert_eq!(error.sqlstate(), "42P01");
    fixture.run("ALTER FUNCTION f() SET search_path = public").await;
    assert_eq!(row_count(&fixture.read(&view, Vec::new()).await.unwrap()), 1);
}

#[tokio::test]
async fn limits_of_the_role_do_not_end_a_paused_reader() {
    let mut fixture = Fixture::new().await;
    let database = fixture.ask("SELECT current_database()::text").await.unwrap();
    for limit in ["statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"] {
        fixture.run(&format!("ALTER DATABASE {database} SET {limit} = '5s'")).await;
    }
    let names = "'statement_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout'";
    fixture.run(&format!("CREATE VIEW v AS SELECT name::text, setting FROM pg_settings WHERE name IN ({names})")).await;
    let view = fixture.table("v").await;
    let batches = fixture.read(&view, Vec::new()).await.unwrap();
    let settings = batches[0].column(1).as_any().downcast_ref::<arrow::array::StringArray>().unwrap();
    assert_eq!(settings.iter().collect::<Vec<_>>(), [Some("0"); 3]);
}

#[tokio::test]
async fn many_statements_with_several_scans_do_not_wait_for_each_other() {
    let server = crate::support::postgres().await;
    let mut fixture = Fixture::on(server, "pool = { size = 3, wait = '20s' }").await;
    fixture.run("CREATE TABLE t AS SELECT n FROM generate_series(1, 50000) n").await;
    let table = fixture.table("t").await;
    let statement = async || {
        let branch = fixture.connector.open(Purpose::Statement { scans: 2 }).await?;
        // As a join does: the second side is opened while the first is held.
        let first = branch.scan(&table, &scan_of(&table, Vec::new()), ScanLimits::default()).await?;
        tokio::task::yield_now().await;
        let second = branch.scan(&table, &scan_of(&table, Vec::new()), ScanLimits::default()).await?;
        let (first, second) = (first.try_collect::<Vec<_>>().await?, second.try_collect::<Vec<_>>().await?);
        Ok::<_, StoreError>((row_count(&first), row_count(&second)))
    };
    let start = std::time::Instant::now();
    for outcome in futures::future::join_all((0..10).map(|_| statement())).await {
        assert_eq!(outcome.unwrap(), (50_000, 50_000));
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(15), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_server_killed_in_the_middle_fails_the_scan_and_comes_back() {
    let server = Postgres::start_with(&throwaway()).await.unwrap();
    let mut fixture = Fixture::on(&server, "").await;
    fixture
        .run("CREATE TABLE big AS SELECT n, repeat('x', 500) AS filler FROM generate_series(1, 200000) n; CREATE TABLE small AS SELECT 1 AS one")
        .await;
    let (big, small) = (fixture.table("big").await, fixture.table("small").await);
    let branch = fixture.connector.open(Purpose::Statement { scans: 1 }).await.unwrap();
    assert_eq!(row_count(&fixture.read(&small, Vec::new()).await.unwrap()), 1);
    let mut stream = branch.scan(&big, &scan_of(&big, Vec::new()), ScanLimits::default()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    // Ends every other session, as a crash recovery does, and the pooled ones with them.
    fixture.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tributary'").await;
    let error = stream.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(matches!(error, StoreError::ConnectionLost { .. }), "{error:?}");
    assert_eq!(row_count(&fixture.read(&small, Vec::new()).await.unwrap()), 1);
    fixture.connector.ping().await.unwrap();
    drop(server);
    let error = fixture.read(&small, Vec::new()).await.unwrap_err();
    assert_eq!(error.sqlstate().get(..2), Some("08"), "{error:?}");
}

#[tokio::test]
async fn a_wrong_login_is_told_without_secrets() {
    let server = crate::support::postgres().await;
    let rows = [
        (server.database(), "wrong-secret", "password authentication failed"),
        ("no_such_database", server.password(), "does not exist"),
    ];
    for (database, password, expected) in rows {
        let error = connector(server, database, password, "").unwrap().ping().await.unwrap_err();
        let StoreError::Unreachable { reason, .. } = &error else { panic!("{error:?}") };
        assert!(reason.contains(expected), "{reason}");
        assert!(!format!("{error:?}").contains(password), "{error:?}");
    }
}

#[tokio::test]
async fn a_closed_store_answers_at_once() {
    let fixture = Fixture::new().await;
    fixture.connector.ping().await.unwrap();
    fixture.connector.close().await;
    assert!(matches!(fixture.connector.ping().await, Err(StoreError::Unreachable { .. })));
}

#[tokio::test]
async fn a_full_pool_makes_wait_and_then_says_so() {
    let server = crate::support::postgres().await;
    let mut fixture = Fixture::on(server, "pool = { size = 1, wait = '100ms' }").await;
    fixture.run("CREATE TABLE t AS SELECT generate_series(1, 300000) AS n").await;
    let table = fixture.table("t").await;
    let branch = fixture.connector.open(Purpose::Statement { scans: 1 }).await.unwrap();
    let held = branch.scan(&table, &scan_of(&table, Vec::new()), ScanLimits::default()).await.unwrap();
    let error = fixture.read(&table, Vec::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Deadline { limit_ms: 100, .. }), "{error:?}");
    assert_eq!(row_count(&held.try_collect::<Vec<_>>().await.unwrap()), 300_000);
    assert_eq!(row_count(&fixture.read(&table, Vec::new()).await.unwrap()), 300_000);
}

#[tokio::test]
async fn writers_that_wait_in_vain_are_told_what_they_wait_for() {
    let fixture = Fixture::on(crate::support::postgres().await, "pool = { size = 1, wait = '100ms' }").await;
    let write = || fixture.connector.open(Purpose::Write(WriteIsolation::ReadCommitted));
    let held = write().await.unwrap();
    let error = write().await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Crowded { limit_ms: 100, .. }), "{error:?}");
    assert_eq!(error.sqlstate(), "53300");
    held.rollback().await.unwrap();
}

#[test]
fn a_store_file_is_checked_in_one_go() {
    let table: toml::Table = toml::from_str("port = 0\ntls = 'maybe'\ndeadline = '0s'\nodd = 1\ntls_ca = '/no/such/file'").unwrap();
    let name = tributary::stores::StoreName::new("crm");
    let kind = tributary::stores::kind("postgresql").unwrap();
    let problems = kind.parse(&name, "stores.crm", &table, &NoSecrets).err().unwrap();
    let mut paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    let expected = ["database", "deadline", "odd", "port", "tls", "tls_ca", "user"].map(|key| format!("stores.crm.{key}"));
    assert_eq!(paths, expected);
}
