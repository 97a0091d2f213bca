//! Streams, snapshots and transactions: what scans see, and what is left on the server when they end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use sqlx::{AssertSqlSafe, Row};
use tributary::error::Diagnose;
use tributary::sandbox::{MariaDb, Setup};
use tributary::stores::connector::{Branch, ScanLimits};
use tributary::stores::predicate::Comparison;
use tributary::stores::value::Value;
use tributary::stores::{Predicate, Purpose, Pushdown, Serial, StoreError, Table};

use crate::support::throwaway;

use super::{Room, all_columns, column, parse, read, read_all, scan_of, texts};

/// A view over so many rows that no test waits for all of them, with a mark that finds its query in the process list.
async fn endless(room: &mut Room) -> Arc<Table> {
    room.run("CREATE VIEW endless AS SELECT seq FROM seq_1_to_100000000000").await;
    room.table("endless").await
}

/// How many queries over `endless` of this room the server is running.
async fn running(room: &mut Room) -> i64 {
    let sql = format!(
        "SELECT count(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%`{}`.`endless`%' AND ID <> CONNECTION_ID()",
        room.database
    );
    sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut room.writer).await.unwrap().get(0)
}

/// Asks until nothing over `endless` runs any more; the asking itself is the wait.
async fn until_stopped(room: &mut Room) {
    let start = Instant::now();
    while running(room).await > 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "the query still runs");
    }
}

async fn ids(branch: &Arc<dyn Branch>, table: &Arc<Table>) -> Result<Vec<String>, StoreError> {
    let scan = scan_of(table, all_columns(table), vec![]);
    let stream = branch.scan(table, &scan, ScanLimits::default()).await?;
    let batches: Vec<RecordBatch> = stream.try_collect().await?;
    Ok(batches.iter().flat_map(|batch| texts(batch, 0)).collect())
}

#[tokio::test]
async fn a_dropped_stream_stops_its_query_and_the_store_goes_on() {
    let mut room = Room::new("pool.size = 1\npool.wait = \"20s\"").await;
    let table = endless(&mut room).await;
    for _ in 0..3 {
        let branch = room.store.open(Purpose::Statement { scans: 1 }).await.unwrap();
        let mut stream = branch.scan(&table, &scan_of(&table, vec![0], vec![]), ScanLimits::default()).await.unwrap();
        let first = stream.next().await.unwrap().unwrap();
        assert_eq!(texts(&first, 0)[..2], ["1", "2"]);
        assert_eq!(running(&mut room).await, 1);
        drop(stream);
        until_stopped(&mut room).await;
    }
    // The only slot of the pool is free again, and the next statement reads its own rows.
    room.run("CREATE TABLE small (id int primary key)").await;
    room.run("INSERT INTO small VALUES (7)").await;
    let small = room.table("small").await;
    assert_eq!(texts(&read_all(&room.store, &small).await.unwrap(), 0), ["7"]);
}

#[tokio::test]
async fn a_slow_reader_holds_the_server_back() {
    let mut room = Room::new("").await;
    let table = endless(&mut room).await;
    let branch = room.store.open(Purpose::Statement { scans: 1 }).await.unwrap();
    let limits = ScanLimits { batch_rows: 1000, batch_bytes: 4000 };
    let mut stream = branch.scan(&table, &scan_of(&table, vec![0], vec![]), limits).await.unwrap();
    let mut expected = 1_u64;
    for _ in 0..20 {
        let batch = stream.next().await.unwrap().unwrap();
        assert!(batch.num_rows() <= 500, "4000 bytes hold 500 numbers");
        assert_eq!(texts(&batch, 0)[0], expected.to_string());
        expected += batch.num_rows() as u64;
    }
    drop(stream);
    until_stopped(&mut room).await;
}

#[tokio::test]
async fn empty_tables_no_columns_limits_and_many_batches() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE empty (id int primary key, t text)").await;
    room.run("CREATE TABLE full_ (id int primary key, t varchar(20))").await;
    room.run("INSERT INTO full_ SELECT seq, concat('row ', seq) FROM seq_1_to_30000").await;
    let empty = room.table("empty").await;
    assert_eq!(read_all(&room.store, &empty).await.unwrap().num_rows(), 0);
    let full = room.table("full_").await;
    let batch = read_all(&room.store, &full).await.unwrap();
    assert_eq!(batch.num_rows(), 30_000);
    assert_eq!(texts(&batch, 1)[29_999], "row 30000");
    let none = scan_of(&full, vec![], vec![]);
    assert_eq!(read(&room.store, &full, &none).await.unwrap().num_rows(), 30_000);
    let mut limited = scan_of(&full, vec![1, 0, 1], vec![]);
    limited.limit = Some(3);
    let batch = read(&room.store, &full, &limited).await.unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (3, 3));
    assert_eq!(texts(&batch, 2)[0], "row 1");
    let estimate = full.row_estimate.unwrap();
    assert!((10_000..100_000).contains(&estimate), "{estimate}");
    let expected = format!("SELECT `t`, `id`, `t` FROM `{}`.`full_` LIMIT 3", room.database);
    assert_eq!(room.store.describe_scan(&full, &limited), expected);
}

#[tokio::test]
async fn odd_names_and_hostile_texts_stay_what_they_are() {
    let mut room = Room::new("").await;
    let odd = "a`b\"c'd \\ ü名; DROP TABLE `small";
    let quoted = odd.replace('`', "``");
    room.run(format!("CREATE TABLE `{quoted}` (`{quoted}` varchar(60) COLLATE utf8mb4_nopad_bin, `select` int)")).await;
    let hostile = ["\\' or 1=1 -- ", "a''b", "'; DROP TABLE x; --", "\\", "`", "?"];
    for (number, text) in hostile.iter().enumerate() {
        room.run(format!("INSERT INTO `{quoted}` VALUES ('{}', {number})", text.replace('\'', "''"))).await;
    }
    let table = room.table(odd).await;
    for (number, text) in hostile.iter().enumerate() {
        let predicate =
            Predicate::Compare { column: column(&table, odd), op: Comparison::Equal, value: Value::Text((*text).to_owned()) };
        let Pushdown::Exact(kept) = room.store.pushdown(&table, &predicate) else { panic!("{text} is exact") };
        let batch = read(&room.store, &table, &scan_of(&table, vec![0, 1], vec![kept])).await.unwrap();
        assert_eq!((texts(&batch, 0), texts(&batch, 1)), (vec![(*text).to_owned()], vec![number.to_string()]));
    }
}

#[tokio::test]
async fn scans_of_one_statement_see_one_state() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE a (id int primary key)").await;
    room.run("CREATE TABLE b (id int primary key)").await;
    room.run("INSERT INTO a VALUES (1)").await;
    room.run("INSERT INTO b VALUES (1)").await;
    let (a, b, endless) = (room.table("a").await, room.table("b").await, endless(&mut room).await);
    assert!(room.store.capabilities().statement_snapshot);
    let branch = room.store.open(Purpose::Statement { scans: 2 }).await.unwrap();
    assert_eq!(branch.shared_snapshot(), Ok(()));
    assert_eq!(ids(&branch, &a).await.unwrap(), ["1"]);
    room.run("INSERT INTO a VALUES (2)").await;
    room.run("INSERT INTO b VALUES (2)").await;
    assert_eq!(ids(&branch, &b).await.unwrap(), ["1"], "the second scan sees the state of the first");
    // A scan that ended has left its connection to the next one.
    assert_eq!(ids(&branch, &b).await.unwrap(), ["1"], "a scan that runs again sees it too");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = branch.scan(&endless, &scan_of(&endless, vec![0], vec![]), ScanLimits::default()).await.unwrap();
        stream.next().await.unwrap().unwrap();
        held.push(stream);
    }
    // One more beside those that were announced cannot get the old state any more, and must not get another one.
    assert_eq!(ids(&branch, &b).await.unwrap_err().sqlstate(), "40001");
    drop(held);
    let later = room.store.open(Purpose::Statement { scans: 2 }).await.unwrap();
    assert_eq!(ids(&later, &b).await.unwrap(), ["1", "2"]);
}

#[tokio::test]
async fn writers_that_keep_snapshots_apart_fail_no_statement() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE a (id int primary key auto_increment)").await;
    let a = room.table("a").await;
    let mut writer = super::connect(&room.server, &room.database).await;
    let writing = async {
        loop {
            sqlx::Executor::execute(&mut writer, "INSERT INTO a VALUES (DEFAULT)").await.unwrap();
        }
    };
    let reading = async {
        for _ in 0..30 {
            let branch = room.store.open(Purpose::Statement { scans: 4 }).await.unwrap();
            let shared = branch.shared_snapshot();
            let seen = [ids(&branch, &a).await.unwrap(), ids(&branch, &a).await.unwrap()];
            if shared.is_ok() {
                assert_eq!(seen[0].len(), seen[1].len());
            }
        }
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
}

/// The server tells a session's snapshot position from memory that all sessions share, so each answer may be another's. The
/// others here hold snapshots of the transaction's state and ask all the time: whoever believes an answer takes a newer state
/// for that one.
#[tokio::test]
async fn other_clients_that_ask_for_status_pass_no_state_off_as_another() {
    /// Within the server, so that nothing but the test's end holds it back.
    const ASKING: &str = "BEGIN NOT ATOMIC WHILE TRUE DO DO (SELECT count(*) FROM information_schema.SESSION_STATUS \
        WHERE VARIABLE_NAME LIKE 'binlog_snapshot_%'); END WHILE; END";
    let server = MariaDb::start_with(&throwaway()).await.unwrap();
    let mut writer = super::connect(&server, server.database()).await;
    let mut run = async |sql: &'static str| sqlx::Executor::execute(&mut writer, sql).await.unwrap();
    run("CREATE TABLE a (id int primary key)").await;
    run("CREATE VIEW endless AS SELECT seq FROM seq_1_to_100000000000").await;
    let store = super::connector(&server, server.database(), "pool.wait = \"1ms\"");
    let tables = store.discover().await.unwrap().tables;
    let table = |name: &str| Arc::clone(tables.iter().find(|table| table.id.name == name).unwrap());
    let (endless, a) = (table("endless"), table("a"));
    let branch = store.open(Purpose::Transaction { read_only: true, repeatable: true }).await.unwrap();
    let mut stream = branch.scan(&endless, &scan_of(&endless, vec![0], vec![]), ScanLimits::default()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut other = super::connect(&server, server.database()).await;
        sqlx::Executor::execute(&mut other, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await.unwrap();
        others.push(other);
    }
    run("INSERT INTO a VALUES (1)").await;
    let asking = futures::future::join_all(others.iter_mut().map(|other| sqlx::Executor::execute(other, ASKING)));
    // The transaction's connection is busy and the server has moved on, so each scan fails; one that does not sees the row.
    let reading = async {
        for attempt in 0..500 {
            let seen = ids(&branch, &a).await;
            assert_eq!(seen.map_err(|error| error.sqlstate().to_owned()), Err("40001".to_owned()), "attempt {attempt}");
        }
        let statement = store.open(Purpose::Statement { scans: 4 }).await.unwrap();
        assert_eq!(statement.shared_snapshot(), Ok(()), "without writers a state is still found");
    };
    tokio::select! {
        ended = asking => panic!("nobody asked any more: {ended:?}"),
        () = reading => {}
    }
}

#[tokio::test]
async fn a_transaction_outlives_scans_stopped_in_the_middle_of_a_packet() {
    let mut room = Room::new("pool.wait = \"120s\"\nconnect_timeout = \"60s\"").await;
    room.run("CREATE TABLE wide (id int primary key, t longtext)").await;
    for id in 0..6 {
        room.run(format!("INSERT INTO wide VALUES ({id}, repeat('x', 7000000))")).await;
    }
    room.run("CREATE TABLE small (id int primary key)").await;
    room.run("INSERT INTO small VALUES (7)").await;
    let (wide, small) = (room.table("wide").await, room.table("small").await);
    let branch = room.store.open(Purpose::Transaction { read_only: true, repeatable: true }).await.unwrap();
    let scan = scan_of(&wide, vec![0, 1], vec![]);
    for round in 0..20_u32 {
        let stream = branch.scan(&wide, &scan, ScanLimits { batch_rows: 8192, batch_bytes: 1 }).await.unwrap();
        // However far the server has come by now.
        for _ in 0..round * round {
            tokio::task::yield_now().await;
        }
        drop(stream);
        assert_eq!(ids(&branch, &small).await.unwrap(), ["7"], "round {round}");
    }
    branch.commit().await.unwrap();
}

#[tokio::test]
async fn a_snapshot_is_claimed_only_where_the_log_proves_it() {
    let filtered = Setup { arguments: vec!["--binlog-ignore-db=elsewhere".to_owned()], ..throwaway() };
    let server = MariaDb::start_with(&filtered).await.unwrap();
    let store = super::connector(&server, server.database(), "");
    let reason = store.open(Purpose::Statement { scans: 2 }).await.unwrap().shared_snapshot().unwrap_err();
    assert_eq!(reason, "the server's binary log leaves out some databases");

    let server = MariaDb::start_with(&throwaway()).await.unwrap();
    let mut writer = super::connect(&server, server.database()).await;
    let mut run = async |sql: &str| {
        sqlx::Executor::execute(&mut writer, AssertSqlSafe(sql.to_owned())).await.unwrap();
    };
    let store = super::connector(&server, server.database(), "");
    store.discover().await.unwrap();
    assert_eq!(store.open(Purpose::Statement { scans: 2 }).await.unwrap().shared_snapshot(), Ok(()));
    run("CREATE USER modest@'%' IDENTIFIED BY 'own'").await;
    let (host, port, database) = (server.host(), server.port(), server.database());
    run(&format!("GRANT SELECT ON `{database}`.* TO modest@'%'")).await;
    let file = format!("host = \"{host}\"\nport = {port}\nuser = \"modest\"\npassword = \"own\"\ndatabase = \"{database}\"");
    let modest = parse(&file).open(Purpose::Statement { scans: 2 }).await.unwrap();
    assert!(modest.shared_snapshot().unwrap_err().contains("BINLOG MONITOR"));
    run("CREATE TABLE old (id int primary key) ENGINE=MyISAM").await;
    store.discover().await.unwrap();
    let reason = store.open(Purpose::Statement { scans: 2 }).await.unwrap().shared_snapshot().unwrap_err();
    assert!(reason.contains("without transactions"), "{reason}");
}

#[tokio::test]
async fn connections_have_limits_of_our_own() {
    let mut room = Room::new("").await;
    let settings = ["net_write_timeout", "max_statement_time", "tx_isolation"];
    for name in settings {
        room.run(format!("CREATE FUNCTION f_{name}() RETURNS varchar(60) READS SQL DATA RETURN @@session.{name}")).await;
    }
    room.run("CREATE VIEW v AS SELECT f_net_write_timeout() AS a, f_max_statement_time() AS b, f_tx_isolation() AS c").await;
    let view = room.table("v").await;
    let batch = read_all(&room.store, &view).await.unwrap();
    let found: Vec<String> = (0..3).map(|column| texts(&batch, column).remove(0)).collect();
    assert_eq!(found, ["604800", "0", "REPEATABLE-READ"]);
}

#[tokio::test]
async fn more_scans_than_connections_say_that_they_share_nothing() {
    let mut room = Room::new("pool.size = 2").await;
    room.run("CREATE TABLE a (id int primary key)").await;
    let a = room.table("a").await;
    let branch = room.store.open(Purpose::Statement { scans: 3 }).await.unwrap();
    assert!(branch.shared_snapshot().is_err());
    for _ in 0..3 {
        assert!(ids(&branch, &a).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_full_pool_waits_and_then_says_so() {
    let mut room = Room::new("pool.size = 1\npool.wait = \"100ms\"").await;
    let table = endless(&mut room).await;
    let branch = room.store.open(Purpose::Statement { scans: 1 }).await.unwrap();
    let mut stream = branch.scan(&table, &scan_of(&table, vec![0], vec![]), ScanLimits::default()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let error = branch.scan(&table, &scan_of(&table, vec![0], vec![]), ScanLimits::default()).await.err().unwrap();
    assert!(matches!(error, StoreError::Deadline { limit_ms: 100, .. }), "{error}");
    drop(stream);
    until_stopped(&mut room).await;
}

#[tokio::test]
async fn a_repeatable_transaction_keeps_its_state_also_for_overlapping_scans() {
    let mut room = Room::alone("pool.wait = \"500ms\"").await;
    let table = endless(&mut room).await;
    room.run("CREATE TABLE a (id int primary key)").await;
    room.run("INSERT INTO a VALUES (1)").await;
    let a = room.table("a").await;
    let branch = room.store.open(Purpose::Transaction { read_only: true, repeatable: true }).await.unwrap();
    assert_eq!(branch.shared_snapshot(), Ok(()));
    let mut stream = branch.scan(&table, &scan_of(&table, vec![0], vec![]), ScanLimits::default()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    // The pinned connection is busy; nothing was written since, so another one can join its state.
    assert_eq!(ids(&branch, &a).await.unwrap(), ["1"]);
    room.run("INSERT INTO a VALUES (2)").await;
    assert_eq!(ids(&branch, &a).await.unwrap(), ["1"]);
    drop(stream);
    until_stopped(&mut room).await;
    for _ in 0..3 {
        assert_eq!(ids(&branch, &a).await.unwrap(), ["1"], "the transaction outlives its stopped query");
    }
    assert_eq!(branch.commit().await.unwrap(), None);
    assert!(matches!(ids(&branch, &a).await.unwrap_err(), StoreError::ConnectionLost { .. }));
    let next = room.store.open(Purpose::Serializable(Serial::Read)).await.unwrap();
    assert_eq!(ids(&next, &a).await.unwrap(), ["1", "2"]);
    next.rollback().await.unwrap();
}

#[tokio::test]
async fn a_busy_snapshot_that_cannot_be_joined_fails_and_does_not_hang() {
    let mut room = Room::new("pool.wait = \"200ms\"").await;
    let table = endless(&mut room).await;
    room.run("CREATE TABLE a (id int primary key)").await;
    let a = room.table("a").await;
    let branch = room.store.open(Purpose::Transaction { read_only: true, repeatable: true }).await.unwrap();
    let mut stream = branch.scan(&table, &scan_of(&table, vec![0], vec![]), ScanLimits::default()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    room.run("INSERT INTO a VALUES (1)").await;
    assert_eq!(ids(&branch, &a).await.unwrap_err().sqlstate(), "40001");
    branch.rollback().await.unwrap();
    until_stopped(&mut room).await;
    let rest: Result<Vec<RecordBatch>, StoreError> = stream.try_collect().await;
    assert!(matches!(rest.unwrap_err(), StoreError::Cancelled));
}

#[tokio::test]
async fn a_read_committed_transaction_sees_what_others_commit() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE a (id int primary key)").await;
    let a = room.table("a").await;
    let branch = room.store.open(Purpose::Transaction { read_only: false, repeatable: false }).await.unwrap();
    assert!(ids(&branch, &a).await.unwrap().is_empty());
    room.run("INSERT INTO a VALUES (1)").await;
    assert_eq!(ids(&branch, &a).await.unwrap(), ["1"]);
    assert!(branch.shared_snapshot().is_err());
    branch.rollback().await.unwrap();
}

#[tokio::test]
async fn connections_that_the_server_ended_are_replaced() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE a (id int primary key)").await;
    let a = room.table("a").await;
    // A user of its own tells this store's connections from those of other tests.
    let user = format!("u_{}", room.database);
    room.run(format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'own'")).await;
    room.run(format!("GRANT SELECT ON `{}`.* TO '{user}'@'%'", room.database)).await;
    let (host, port, database) = (room.server.host(), room.server.port(), &room.database);
    let file = format!("host = \"{host}\"\nport = {port}\nuser = \"{user}\"\npassword = \"own\"\ndatabase = \"{database}\"");
    let store = parse(&file);
    read_all(&store, &a).await.unwrap();
    room.run(format!("KILL USER '{user}'")).await;
    // A connection that rested only for a moment is not asked before it is used; the statement is sent once more.
    read_all(&store, &a).await.unwrap();
    let repeatable = Purpose::Transaction { read_only: true, repeatable: true };
    store.open(repeatable).await.unwrap().rollback().await.unwrap();
    room.run(format!("KILL USER '{user}'")).await;
    let branch = store.open(repeatable).await.unwrap();
    assert!(ids(&branch, &a).await.unwrap().is_empty());
    branch.rollback().await.unwrap();
    store.close().await;
    assert!(matches!(store.ping().await.unwrap_err(), StoreError::Unreachable { .. }));
    assert!(matches!(read_all(&store, &a).await.unwrap_err(), StoreError::Unreachable { .. }));
}

#[tokio::test]
async fn a_user_without_rights_is_told_so() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE a (id int primary key)").await;
    let a = room.table("a").await;
    let user = format!("n_{}", room.database);
    room.run(format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'own'")).await;
    let (host, port, database) = (room.server.host(), room.server.port(), &room.database);
    let file = format!("host = \"{host}\"\nport = {port}\nuser = \"{user}\"\npassword = \"own\"\ndatabase = \"{database}\"");
    let store = parse(&file);
    assert!(store.discover().await.unwrap().tables.is_empty());
    assert_eq!(read_all(&store, &a).await.unwrap_err().sqlstate(), "42501");
}
