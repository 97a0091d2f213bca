//! Scans: filters, limits, snapshots, early ends, errors, and bounded memory.

use super::*;
use crate::error::Diagnose;
use crate::stores::predicate::Rows;

/// `rows` numbers from 1.
fn numbers(rows: u32) -> String {
    format!(
        "CREATE TABLE n (id INTEGER PRIMARY KEY, label TEXT);
         WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {rows})
         INSERT INTO n SELECT x, 'row ' || x FROM c;"
    )
}

async fn count(branch: &dyn Branch, table: &Arc<Table>) -> usize {
    let scan = Scan { columns: vec![], ..all_of(table) };
    collect(branch, table, &scan).await.unwrap().iter().map(RecordBatch::num_rows).sum()
}

#[tokio::test]
async fn odd_names_and_dangerous_values_are_only_names_and_values() {
    let dangerous = ["\\' or 1=1 -- ", "a''b", "\"; DROP TABLE t; --", "?1", "ünï 名", "%_*?[x]"];
    let mut fixture =
        Fixture::new("CREATE TABLE \"it's \"\"odd\"\"\" (\"se lect\" TEXT, \"or\"\"der\" INT); CREATE TABLE e (a INT)", "").await;
    for (number, value) in (0_i64..).zip(dangerous) {
        sqlx::query("INSERT INTO \"it's \"\"odd\"\"\" VALUES (?, ?)")
            .bind(value)
            .bind(number)
            .execute(&mut fixture.writer)
            .await
            .unwrap();
    }
    let table = fixture.table("it's \"odd\"").await;
    for (number, value) in dangerous.iter().enumerate() {
        let exact = equal(0, Value::Text((*value).to_owned()));
        let pattern = value.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let like = Predicate::Like { column: ColumnRef::of(0), pattern, negated: false, case_insensitive: false };
        for predicate in [exact, like] {
            let kept = fixture.read(&table, vec![pushed(fixture.store.as_ref(), &table, &predicate)]).await.unwrap();
            assert_eq!(kept, [[(*value).to_owned(), number.to_string()]], "{predicate:?}");
        }
    }
    let empty = fixture.table("e").await;
    assert!(fixture.read(&empty, vec![]).await.unwrap().is_empty());
    let branch = fixture.store.open(STATEMENT).await.unwrap();
    assert_eq!(count(branch.as_ref(), &empty).await, 0);
    assert_eq!(count(branch.as_ref(), &table).await, dangerous.len());
}

#[tokio::test]
async fn filters_keep_what_postgres_would_keep() {
    let fixture = Fixture::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT, ci TEXT COLLATE NOCASE, p DECIMAL(10,2), u UUID);
         INSERT INTO t VALUES (1, 'a', 'A', 0.1, '00112233-4455-6677-8899-aabbccddeeff'),
                              (2, 'B', 'a', 19.99, x'00112233445566778899aabbccddeeff'),
                              (3, NULL, NULL, NULL, NULL), (4, 'ab', 'b', 20, '00112233-4455-6677-8899-AABBCCDDEEFF');",
        "",
    )
    .await;
    let table = fixture.table("t").await;
    let text = |value: &str| Value::Text(value.to_owned());
    let compare = |column, op, value| Predicate::Compare { column: ColumnRef::of(column), op, value };
    let like = |pattern: &str, negated| Predicate::Like {
        column: ColumnRef::of(1),
        pattern: pattern.to_owned(),
        negated,
        case_insensitive: false,
    };
    let decimal = |unscaled| Value::Decimal { unscaled, scale: 2 };
    let rows: Vec<(Predicate, &[&str])> = vec![
        (compare(1, Comparison::Less, text("a")), &["2"]),
        (compare(1, Comparison::NotEqual, text("a")), &["2", "4"]),
        (Predicate::In { column: ColumnRef::of(1), values: vec![text("a"), text("B")], negated: true }, &["4"]),
        (Predicate::In { column: ColumnRef::of(2), values: vec![text("a"), text("B")], negated: true }, &["1", "4"]),
        (
            Predicate::Rows(Rows {
                columns: [0, 1].map(ColumnRef::of).to_vec(),
                rows: vec![vec![Value::Int(1), text("a")], vec![Value::Int(2), text("a")], vec![Value::Int(3), text("a")]],
            }),
            &["1"],
        ),
        (Predicate::IsNull { column: ColumnRef::of(1), negated: false }, &["3"]),
        (like("a%", false), &["1", "4"]),
        (like("A%", false), &[]),
        (like("_", true), &["4"]),
        // A superset: the engine drops 'A' again.
        (compare(2, Comparison::Equal, text("a")), &["1", "2"]),
        (compare(2, Comparison::GreaterOrEqual, text("a")), &["2", "4"]),
        (compare(3, Comparison::Equal, decimal(1999)), &["2"]),
        (compare(3, Comparison::Equal, decimal(2000)), &["4"]),
        (compare(3, Comparison::Less, decimal(1999)), &["1", "2"]),
        (compare(4, Comparison::Equal, text("00112233-4455-6677-8899-aabbccddeeff")), &["1", "2", "4"]),
        (Predicate::Or(vec![equal(0, Value::Int(1)), equal(1, text("B"))]), &["1", "2"]),
    ];
    for (predicate, expected) in rows {
        let kept = fixture.read(&table, vec![pushed(fixture.store.as_ref(), &table, &predicate)]).await.unwrap();
        assert_eq!(kept.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), expected, "{predicate:?}");
    }
}

#[tokio::test]
async fn all_scans_of_a_branch_see_one_state() {
    let mut fixture = Fixture::new(&numbers(1000), "").await;
    let table = fixture.table("n").await;
    let branch = fixture.store.open(Purpose::Statement { scans: 2 }).await.unwrap();
    assert_eq!(branch.shared_snapshot(), Ok(()));
    let limits = ScanLimits { batch_rows: 10, ..ScanLimits::default() };
    let mut first = branch.scan(&table, &all_of(&table), limits).await.unwrap();
    let mut second = branch.scan(&table, &all_of(&table), limits).await.unwrap();
    let (mut seen_first, mut seen_second) = (0, 0);
    for _ in 0..100 {
        // Another connection writes while both scans are under way.
        run(&mut fixture.writer, "DELETE FROM n WHERE id = (SELECT max(id) FROM n); INSERT INTO n VALUES (NULL, 'new');").await;
        seen_first += first.next().await.unwrap().unwrap().num_rows();
        seen_second += second.next().await.unwrap().unwrap().num_rows();
    }
    assert!(first.next().await.is_none());
    assert_eq!((seen_first, seen_second), (1000, 1000));
    run(&mut fixture.writer, "DELETE FROM n").await;
    assert_eq!(count(branch.as_ref(), &table).await, 1000);
    branch.commit().await.unwrap();
    let later = fixture.store.open(Purpose::Transaction { read_only: true, repeatable: true }).await.unwrap();
    assert_eq!(count(later.as_ref(), &table).await, 0);
    later.rollback().await.unwrap();
    assert!(later.rollback().await.is_err(), "a branch ends once");
}

#[tokio::test]
async fn an_abandoned_scan_leaves_no_lock_and_no_connection() {
    let mut fixture = Fixture::new(&numbers(50_000), "[pool]\nsize = 1\nwait = \"20s\"").await;
    // Without a write-ahead log a reader's lock keeps every writer out.
    run(&mut fixture.writer, "PRAGMA journal_mode = DELETE; PRAGMA busy_timeout = 20000;").await;
    let table = fixture.table("n").await;
    for _ in 0..3 {
        let branch = fixture.store.open(STATEMENT).await.unwrap();
        let mut stream = branch.scan(&table, &all_of(&table), ScanLimits::default()).await.unwrap();
        drop(branch);
        assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
        drop(stream);
        run(&mut fixture.writer, "UPDATE n SET label = 'changed' WHERE id = 1").await;
    }
    // The only connection comes back each time, so this does not wait for the pool's deadline.
    fixture.store.ping().await.unwrap();
}

#[tokio::test]
async fn a_scan_that_finds_nothing_stops_when_its_reader_goes() {
    let fixture = Fixture::new(
        // Never ends, and never gives a row.
        "CREATE VIEW endless AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT (x + 1) % 1000 FROM c) \
         SELECT CAST(x AS TEXT) AS x FROM c WHERE x < 0;",
        "[pool]\nsize = 1\nwait = \"20s\"",
    )
    .await;
    let table = fixture.table("endless").await;
    let branch = fixture.store.open(STATEMENT).await.unwrap();
    let mut stream = branch.scan(&table, &all_of(&table), ScanLimits::default()).await.unwrap();
    assert!(futures::poll!(stream.next()).is_pending());
    drop((stream, branch));
    // Only an interrupted statement gives the one connection back.
    fixture.store.ping().await.unwrap();
}

/// Whether the write-ahead log can be taken over whole, which it cannot while somebody reads an older state.
async fn is_log_free(writer: &mut SqliteConnection) -> bool {
    run(writer, "PRAGMA busy_timeout = 0; INSERT INTO n VALUES (NULL, 'newer');").await;
    let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(writer).await.unwrap();
    sqlx::Row::get::<i64, _>(&row, 0) == 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_reader_does_not_hold_the_log_for_ever() {
    let mut fixture = Fixture::new(&numbers(50_000), "snapshot_idle = \"300ms\"\n[pool]\nsize = 2\nwait = \"20s\"").await;
    let table = fixture.table("n").await;
    let reading = fixture.store.open(STATEMENT).await.unwrap();
    let limits = ScanLimits { batch_rows: 10, ..ScanLimits::default() };
    let mut stream = reading.scan(&table, &all_of(&table), limits).await.unwrap();
    let idle = fixture.store.open(Purpose::Transaction { read_only: true, repeatable: true }).await.unwrap();
    assert!(!is_log_free(&mut fixture.writer).await);
    // As long as it is read from, the state stays, however long that takes altogether.
    let begun = std::time::Instant::now();
    let mut seen = 0;
    while begun.elapsed() < std::time::Duration::from_millis(900) {
        seen += stream.next().await.unwrap().unwrap().num_rows();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(seen > 0 && !is_log_free(&mut fixture.writer).await);
    let deadline = begun + std::time::Duration::from_secs(20);
    while !is_log_free(&mut fixture.writer).await {
        assert!(std::time::Instant::now() < deadline, "an idle reader still holds the log");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let error = loop {
        match stream.next().await {
            Some(Ok(batch)) => seen += batch.num_rows(),
            Some(Err(error)) => break error,
            None => panic!("{seen} rows and then the end, as if there were no more"),
        }
    };
    assert_eq!((error.sqlstate(), error.to_string().as_str()), ("72000", "snapshot too old"));
    let error = idle.scan(&table, &all_of(&table), limits).await.err().unwrap();
    assert_eq!(error.sqlstate(), "72000");
    assert_eq!(idle.commit().await.unwrap_err().sqlstate(), "72000");
    // Both connections are free again.
    let (left, right) = tokio::join!(fixture.store.open(STATEMENT), fixture.store.open(STATEMENT));
    assert_eq!(count(left.unwrap().as_ref(), &table).await, count(right.unwrap().as_ref(), &table).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_readers_and_does_not_wait_for_them() {
    let endless = "CREATE VIEW endless AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT (x + 1) % 1000 FROM c) \
        SELECT CAST(x AS TEXT) AS x FROM c WHERE x < 0;";
    let fixture = Fixture::new(&format!("{}{endless}", numbers(50_000)), "").await;
    let (table, endless) = (fixture.table("n").await, fixture.table("endless").await);
    let idle = fixture.store.open(Purpose::Transaction { read_only: true, repeatable: true }).await.unwrap();
    let stepping = fixture.store.open(STATEMENT).await.unwrap();
    let mut never = stepping.scan(&endless, &all_of(&endless), ScanLimits::default()).await.unwrap();
    assert!(futures::poll!(never.next()).is_pending());
    let begun = std::time::Instant::now();
    fixture.store.close().await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    for error in [
        never.next().await.unwrap().unwrap_err(),
        idle.scan(&table, &all_of(&table), ScanLimits::default()).await.err().unwrap(),
        fixture.store.ping().await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn limits_ordinals_and_batch_sizes_are_kept() {
    let fixture = Fixture::new(&numbers(1000), "").await;
    let table = fixture.table("n").await;
    let branch = fixture.store.open(STATEMENT).await.unwrap();
    let scan = Scan { columns: vec![1, 0, 1], limit: Some(300), ..all_of(&table) };
    let batches = collect(branch.as_ref(), &table, &scan).await.unwrap();
    let rows = show(&batches);
    assert_eq!((rows.len(), rows[299].clone()), (300, ["row 300", "300", "row 300"].map(str::to_owned).to_vec()));
    let small = ScanLimits { batch_rows: 8192, batch_bytes: 100 };
    let batches: Vec<_> = branch.scan(&table, &all_of(&table), small).await.unwrap().collect().await;
    assert!(batches.len() > 100 && batches.iter().all(|batch| batch.as_ref().unwrap().num_rows() < 10));
}

/// A row of made-up values as SQL and as it is shown; every column but the key is NULL now and then.
fn made(id: u64) -> (String, Vec<String>) {
    let mut seed = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = |end: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % end
    };
    let cents = (next(1 << 31) as i64 - (1 << 30)) >> next(30);
    let price = format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100);
    let title: String = (0..next(12)).map(|_| ["a", " ", "é", "€", "語", "😀"][next(6) as usize]).collect();
    let moment = chrono::DateTime::from_timestamp_micros(next(1 << 31) as i64 * 1_999_999 - 900_000_000_000_000).unwrap();
    let fraction = if next(3) == 0 { "" } else { "%.6f" };
    let placed = moment.naive_utc().format(&format!("%Y-%m-%d %H:%M:%S{fraction}")).to_string();
    let placed_shown = chrono::NaiveDateTime::parse_from_str(&placed, "%Y-%m-%d %H:%M:%S%.f").unwrap();
    let score = (next(1 << 20) as f64 - 500_000.0) / 8.0;
    let paid = next(2) == 1;
    let raw: String = (0..next(5)).map(|_| format!("{:02x}", next(256))).collect();
    let cells = [
        (price.clone(), price),
        (format!("'{title}'"), title),
        (format!("'{placed}'"), format!("{placed_shown:?}")),
        (format!("{score:?}"), format!("{score:?}")),
        (u8::from(paid).to_string(), paid.to_string()),
        (format!("x'{raw}'"), raw),
    ];
    let (mut sql, mut shown) = (format!("({id}"), vec![id.to_string()]);
    for (written, read) in cells {
        let (written, read) = if next(9) == 0 { ("NULL".to_owned(), "~".to_owned()) } else { (written, read) };
        sql.push_str(", ");
        sql.push_str(&written);
        shown.push(read);
    }
    (sql + ")", shown)
}

#[tokio::test]
async fn made_up_values_come_back_as_they_were_written() {
    let (written, expected): (Vec<String>, Vec<Vec<String>>) = (1..=5_000).map(made).unzip();
    let fixture = Fixture::new(
        &format!(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, price DECIMAL(12,2), title TEXT, placed TIMESTAMP, score DOUBLE PRECISION, \
             paid BOOLEAN, raw BLOB); INSERT INTO t VALUES {};",
            written.join(", ")
        ),
        "",
    )
    .await;
    let table = fixture.table("t").await;
    let found = fixture.read(&table, vec![]).await.unwrap();
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

#[tokio::test]
async fn a_large_scan_holds_one_batch_ahead_of_its_reader() {
    let fixture = Fixture::new(&numbers(1_000_000), "").await;
    let table = fixture.table("n").await;
    assert_eq!(table.row_estimate, Some(1_000_000));
    let branch = fixture.store.open(Purpose::Statement { scans: 2 }).await.unwrap();
    let limits = ScanLimits { batch_rows: 1000, ..ScanLimits::default() };
    let mut slow = branch.scan(&table, &all_of(&table), limits).await.unwrap();
    let mut seen = slow.next().await.unwrap().unwrap().num_rows();
    // The thread is free for this whole scan, so it does not go on with the slow one beyond the batch that has room.
    assert_eq!(count(branch.as_ref(), &table).await, 1_000_000);
    let mut batches = 1;
    while let Some(batch) = slow.next().await {
        let batch = batch.unwrap();
        assert!(batch.num_rows() <= 1000);
        seen += batch.num_rows();
        batches += 1;
    }
    assert_eq!(seen, 1_000_000);
    assert!(batches >= 1000);
}

#[tokio::test]
async fn a_failing_step_is_an_error_and_not_an_end() {
    let mut fixture = Fixture::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INT);
         WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000) INSERT INTO t SELECT x, x FROM c;
         CREATE VIEW bad AS SELECT id, CASE WHEN id = 1500 THEN json_extract('nope', '$') ELSE n END AS n FROM t;",
        "",
    )
    .await;
    let table = fixture.table("bad").await;
    let branch = fixture.store.open(STATEMENT).await.unwrap();
    let error = collect(branch.as_ref(), &table, &all_of(&table)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Remote { message, .. } if message.contains("malformed JSON")), "{error:?}");
    // The branch is still good for other scans.
    let good = fixture.table("t").await;
    assert_eq!(count(branch.as_ref(), &good).await, 2000);
    drop(branch);

    run(&mut fixture.writer, "ALTER TABLE t RENAME COLUMN n TO m").await;
    let error = fixture.read(&good, vec![]).await.unwrap_err();
    assert!(matches!(error, StoreError::SchemaChanged { .. }), "{error:?}");
    assert_eq!(error.sqlstate(), "HV000");
    fixture.store.close().await;
    let error = fixture.store.ping().await.unwrap_err();
    assert_eq!(error.sqlstate(), "08001");
}

#[tokio::test]
async fn explain_shows_the_statement_without_its_values() {
    let fixture = Fixture::new("CREATE TABLE t (a INT, b JSON)", "").await;
    let table = fixture.table("t").await;
    let scan = Scan { filter: vec![equal(0, Value::Int(42))], limit: Some(7), ..all_of(&table) };
    let expected = "SELECT t.\"a\", CASE WHEN typeof(t.\"b\") = 'blob' AND json_valid(t.\"b\", 8) THEN json(t.\"b\") ELSE t.\"b\" END \
                    FROM \"main\".\"t\" AS t WHERE t.\"a\" = ?1 LIMIT 7";
    assert_eq!(fixture.store.describe_scan(&table, &scan), expected);
    assert_eq!(fixture.store.describe_with_values(&table, &scan), (expected.to_owned(), " -- '42'::int8".to_owned()));
    let counting = Scan { columns: vec![], ..all_of(&table) };
    assert_eq!(fixture.store.describe_scan(&table, &counting), "SELECT 1 FROM \"main\".\"t\" AS t");
    assert!(fixture.path.exists());
}
