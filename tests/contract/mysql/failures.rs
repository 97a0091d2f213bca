//! Servers that refuse, vanish, or change under us: each a clear error, and the store goes on afterwards.

use std::process::Command;
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use sqlx::Executor;
use tributary::error::Diagnose;
use tributary::sandbox::{MariaDb, Setup};
use tributary::stores::connector::ScanLimits;
use tributary::stores::{Purpose, StoreError};

use super::{Room, all_columns, connect, connector, parse, read_all, scan_of, texts};
use crate::support::authority::Authority;
use crate::support::secrets::NoSecrets;
use crate::support::throwaway;

#[tokio::test]
async fn a_server_killed_in_the_middle_of_a_scan_is_a_lost_connection() {
    let server = MariaDb::start_with(&throwaway()).await.unwrap();
    let database = server.fresh_database().await.unwrap();
    let mut writer = connect(&server, &database).await;
    writer.execute("CREATE VIEW endless AS SELECT seq FROM seq_1_to_100000000000").await.unwrap();
    let store = connector(&server, &database, "");
    let schema = store.discover().await.unwrap();
    let table = schema.tables.iter().find(|table| table.id.name == "endless").unwrap();
    let branch = store.open(Purpose::Statement { scans: 1 }).await.unwrap();
    let mut stream = branch.scan(table, &scan_of(table, vec![0], vec![]), ScanLimits::default()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let process = server.process_id().unwrap().to_string();
    assert!(Command::new("kill").args(["-9", &process]).status().unwrap().success());
    let rest: Result<Vec<RecordBatch>, StoreError> = stream.try_collect().await;
    let error = rest.unwrap_err();
    assert!(matches!(error, StoreError::ConnectionLost { .. }), "{error:?}");
    assert_eq!(error.sqlstate(), "08006");
    let error = read_all(&store, table).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn changed_tables_are_told_apart_from_wrong_ones() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE t (id int primary key, gone int, wider int, kept int)").await;
    room.run("INSERT INTO t VALUES (1, 2, 3, 4)").await;
    let table = room.table("t").await;
    let changed = |error: StoreError| match error {
        StoreError::SchemaChanged { table, difference, .. } => format!("{table}: {difference}"),
        other => panic!("{other:?}"),
    };
    room.run("ALTER TABLE t DROP COLUMN gone, MODIFY wider bigint, ADD extra int FIRST").await;
    let difference = changed(read_all(&room.store, &table).await.unwrap_err());
    assert!(difference.starts_with("t: Unknown column 'gone'"), "{difference}");
    let scan = scan_of(&table, vec![2], vec![]);
    assert_eq!(
        changed(super::read(&room.store, &table, &scan).await.unwrap_err()),
        "t: Column \"wider\" was int(11) and is now BIGINT."
    );
    // What did not change is still read, by name and not by place.
    let scan = scan_of(&table, vec![3], vec![]);
    assert_eq!(texts(&super::read(&room.store, &table, &scan).await.unwrap(), 0), ["4"]);
    let again = room.table("t").await;
    assert_eq!(again.columns.len(), 4);
    assert_eq!(texts(&read_all(&room.store, &again).await.unwrap(), 2), ["3"]);
    room.run("DROP TABLE t").await;
    let difference = changed(read_all(&room.store, &again).await.unwrap_err());
    assert!(difference.contains("doesn't exist"), "{difference}");
}

#[tokio::test]
async fn refusals_name_the_store_and_no_secret() {
    let room = Room::new("").await;
    let (host, port, user) = (room.server.host(), room.server.port(), room.server.user());
    let wrong = parse(&format!("host = \"{host}\"\nport = {port}\nuser = \"{user}\"\npassword = \"hunter2\"\ndatabase = \"x\""));
    let error = wrong.discover().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }));
    assert_eq!(error.sqlstate(), "08001");
    assert!(error.detail().unwrap().starts_with("Access denied for user"));
    assert!(!format!("{error:?} {error} {:?} {wrong:?}", error.detail()).contains("hunter2"));
    // A port on which nothing listens: the listener is dropped, and its number is not given out again at once.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = parse(&format!("host = \"127.0.0.1\"\nport = {closed}\nuser = \"u\"\ndatabase = \"x\""));
    let error = nobody.ping().await.unwrap_err();
    assert!(error.detail().unwrap().contains("refused"), "{:?}", error.detail());
    // A server that accepts and then says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mute = parse(&format!("host = \"127.0.0.1\"\nport = {port}\nuser = \"u\"\ndatabase = \"x\"\nconnect_timeout = \"200ms\""));
    let error = mute.ping().await.unwrap_err();
    assert_eq!(error.detail().unwrap(), "The server did not answer within 200 ms.");
}

#[tokio::test]
async fn a_query_that_gives_nothing_for_too_long_is_stopped() {
    let mut room = Room::new("query_timeout = \"300ms\"").await;
    room.run("CREATE VIEW asleep AS SELECT SLEEP(100) AS nap, seq FROM seq_1_to_10").await;
    let table = room.table("asleep").await;
    let error = read_all(&room.store, &table).await.unwrap_err();
    assert!(matches!(error, StoreError::Deadline { limit_ms: 300, waiting_for: "the next rows", .. }), "{error:?}");
    let start = std::time::Instant::now();
    loop {
        let sql = "SELECT count(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%asleep%' AND ID <> CONNECTION_ID()";
        let left: i64 = sqlx::query_scalar(sql).fetch_one(&mut room.writer).await.unwrap();
        if left == 0 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "the query still runs");
    }
    room.store.ping().await.unwrap();
}

#[tokio::test]
async fn a_broken_view_does_not_hide_the_others() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE base (id int primary key)").await;
    room.run("CREATE VIEW broken AS SELECT id FROM base").await;
    room.run("CREATE TABLE sound (id int primary key)").await;
    room.run("DROP TABLE base").await;
    let table = room.table("sound").await;
    assert_eq!(read_all(&room.store, &table).await.unwrap().num_rows(), 0);
}

#[tokio::test]
async fn tls_is_used_and_checked_as_configured() {
    let (authority, other) = (Authority::new(), Authority::new());
    let tls = Some(authority.certify(&["localhost"]));
    let server = MariaDb::start_with(&Setup { tls, ..throwaway() }).await.unwrap();
    let trusted = format!("tls_ca = \"{}\"", authority.file().display());
    let stranger = format!("tls_ca = \"{}\"", other.file().display());
    let rows = [
        ("localhost", "tls = \"require\"".to_owned(), true),
        ("localhost", "tls = \"disable\"".to_owned(), true),
        ("localhost", format!("tls = \"verify-ca\"\n{trusted}"), true),
        ("localhost", format!("tls = \"verify-identity\"\n{trusted}"), true),
        ("localhost", "tls = \"verify-ca\"".to_owned(), false),
        ("localhost", "tls = \"verify-identity\"".to_owned(), false),
        ("localhost", format!("tls = \"verify-ca\"\n{stranger}"), false),
        // The certificate has no such name.
        ("127.0.0.1", format!("tls = \"verify-ca\"\n{trusted}"), true),
        ("127.0.0.1", format!("tls = \"verify-identity\"\n{trusted}"), false),
    ];
    for (host, options, expected) in rows {
        let (port, user, password) = (server.port(), server.user(), server.password());
        let login = format!("host = \"{host}\"\nport = {port}\nuser = \"{user}\"\npassword = \"{password}\"\ndatabase = \"x\"");
        let answer = parse(&format!("{login}\n{options}")).ping().await;
        assert_eq!(answer.is_ok(), expected, "{host} {options}: {answer:?}");
        let refused = answer.err().is_none_or(|error| matches!(error, StoreError::Unreachable { .. }));
        assert!(refused, "{host} {options}");
    }
    let plain = MariaDb::start_with(&throwaway()).await.unwrap();
    let error = connector(&plain, plain.database(), "tls = \"require\"").ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
}

#[test]
fn store_files_report_every_problem() {
    let table: toml::Table = toml::from_str("port = 0\ntls = \"maybe\"\npool.size = 0\nsurprise = 1\nzero_date = \"x\"").unwrap();
    let kind = tributary::stores::kind("mysql").unwrap();
    let name = tributary::stores::StoreName::new("shop");
    let problems = kind.parse(&name, "stores.shop", &table, &NoSecrets).unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.trim_start_matches("stores.shop.")).collect();
    for key in ["port", "tls", "pool.size", "surprise", "zero_date", "user", "database"] {
        assert!(paths.contains(&key), "{key} is not in {paths:?}");
    }
}

#[tokio::test]
async fn values_that_do_not_fit_name_their_column_and_free_the_connection() {
    let mut room = Room::new("pool.size = 1").await;
    room.run("CREATE TABLE z (id int primary key, d date)").await;
    room.run("INSERT INTO z SELECT seq, '2024-01-01' FROM seq_1_to_20000").await;
    room.run("UPDATE z SET d = '0000-00-00' WHERE id = 100").await;
    let table = room.table("z").await;
    for _ in 0..3 {
        let error = read_all(&room.store, &table).await.unwrap_err();
        assert_eq!((error.sqlstate(), error.to_string().contains("shop.z.d")), ("22008", true));
    }
    let branch = room.store.open(Purpose::Transaction { read_only: true, repeatable: false }).await.unwrap();
    let scan = scan_of(&table, all_columns(&table), vec![]);
    let stream = branch.scan(&table, &scan, ScanLimits::default()).await.unwrap();
    let rest: Result<Vec<RecordBatch>, StoreError> = stream.try_collect().await;
    assert_eq!(rest.unwrap_err().sqlstate(), "22008");
    branch.rollback().await.unwrap();
}
