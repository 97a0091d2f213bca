//! Long insertions in a transaction, which are sent by COPY where that does what INSERT does.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::Schema;
use tokio_util::sync::CancellationToken;
use tributary::error::Diagnose;
use tributary::stores::connector::StoreName;
use tributary::stores::edit::{Insert, field};
use tributary::stores::{Branch, Edit, StoreError, Table};

use super::Fixture;
use super::writes::{WRITE, run, until};

/// How the session that writes has sent its last statement.
pub(super) const SENT: &str = "SELECT coalesce(string_agg(split_part(query, ' ', 1), ' '), '') FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name = 'tributary' AND state LIKE 'idle in transaction%'";
/// How many sessions wait for this one.
const WAITING: &str = "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))";
/// How many sessions are in a transaction.
const OPEN: &str = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tributary' \
     AND (state LIKE 'idle in%' OR state = 'active')";
const NUMBERS: &str = "SELECT count(*) || ' ' || coalesce(min(id), 0) || ' ' || coalesce(max(id), 0) FROM t";

/// A table of numbers and names.
async fn stage() -> (Fixture, Arc<Table>) {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TABLE t (id int PRIMARY KEY, name varchar(9) CHECK (name <> 'bad'), n int DEFAULT 7)").await;
    let table = fixture.table("t").await;
    (fixture, table)
}

/// New rows of `id` and `name`.
fn named(table: &Arc<Table>, ids: std::ops::Range<i32>, name: impl Fn(i32) -> Option<String>) -> Edit {
    let fields: Vec<_> = table.columns.iter().take(2).map(field).collect();
    let names: StringArray = ids.clone().map(name).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from_iter_values(ids)), Arc::new(names)];
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let (store, table) = (StoreName::new("crm"), Arc::clone(table));
    Edit::Insert(Insert { store, table, columns: vec![0, 1], paths: Vec::new(), rows, conflict: None, returning: Vec::new() })
}

fn plain(table: &Arc<Table>, ids: std::ops::Range<i32>) -> Edit {
    named(table, ids, |id| (id % 3 > 0).then(|| format!("n{}", id % 1_000)))
}

/// Runs an edit that must succeed.
async fn put(branch: &Arc<dyn Branch>, edit: &Edit) {
    let rows = u64::try_from(edit.rows().unwrap().num_rows()).unwrap();
    assert_eq!(run(branch, edit).await.unwrap().rows, rows);
}

fn row_of(error: &StoreError) -> Option<u64> {
    error.site().and_then(|site| site.row)
}

#[tokio::test]
async fn the_second_long_edit_is_a_copy_and_short_ones_are_not() {
    let (mut fixture, table) = stage().await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    put(&branch, &plain(&table, 0..500)).await;
    assert_eq!(fixture.ask(SENT).await.as_deref(), Some("INSERT"));
    for start in [1_000, 2_000, 3_000] {
        put(&branch, &plain(&table, start..start + 1_000)).await;
        assert_eq!(fixture.ask(SENT).await.as_deref(), Some("COPY"));
    }
    put(&branch, &plain(&table, 500..510)).await;
    assert_eq!(fixture.ask(SENT).await.as_deref(), Some("INSERT"));
    assert!(branch.has_written());
    branch.commit().await.unwrap();
    assert_eq!(fixture.ask(NUMBERS).await.as_deref(), Some("3510 0 3999"));
    let wrong = "SELECT count(*)::text FROM t WHERE n <> 7 OR name IS DISTINCT FROM CASE WHEN id % 3 > 0 THEN 'n' || id % 1000 END";
    assert_eq!(fixture.ask(wrong).await.as_deref(), Some("0"));
    // More bytes than are sent at a time, and texts that the format must not take for its own marks.
    let hostile = "\\.\n\t\\N\r'x";
    let branch = fixture.connector.open(WRITE).await.unwrap();
    put(&branch, &plain(&table, 5_000..5_001)).await;
    put(&branch, &named(&table, 10_000..30_000, |_| Some(hostile.to_owned()))).await;
    branch.commit().await.unwrap();
    let same = "SELECT count(*)::text FROM t WHERE name = E'\\\\.\\n\\t\\\\N\\r''x'";
    assert_eq!(fixture.ask(same).await.as_deref(), Some("20000"));
}

#[tokio::test]
async fn a_refused_row_is_named_and_a_savepoint_leads_back() {
    let (mut fixture, table) = stage().await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    put(&branch, &plain(&table, 0..1)).await;
    branch.savepoint(1).await.unwrap();
    let twice = named(&table, -250..50, |_| None);
    let checked = named(&table, 100..900, |id| (id == 777).then(|| "bad".to_owned()));
    let long = named(&table, 100..900, |id| (id == 101).then(|| "0123456789".to_owned()));
    for (edit, sqlstate, constraint, row) in
        [(twice, "23505", Some("t_pkey"), 250), (checked, "23514", Some("t_name_check"), 677), (long, "22001", None, 1)]
    {
        // A way back gives locks back: the first edit after it is a statement again.
        put(&branch, &plain(&table, 50..51)).await;
        let error = run(&branch, &edit).await.unwrap_err();
        assert_eq!((error.sqlstate(), error.constraint().as_deref()), (sqlstate, constraint), "{error:?}");
        assert_eq!(row_of(&error), Some(row), "{error:?}");
        assert_eq!(run(&branch, &plain(&table, 60..61)).await.unwrap_err().sqlstate(), "25P02");
        branch.roll_back_to(1).await.unwrap();
        put(&branch, &plain(&table, 2_000..2_300)).await;
        assert_eq!(fixture.ask(SENT).await.as_deref(), Some("INSERT"));
        branch.roll_back_to(1).await.unwrap();
    }
    put(&branch, &plain(&table, 50..51)).await;
    put(&branch, &plain(&table, 100..300)).await;
    branch.commit().await.unwrap();
    assert_eq!(fixture.ask(NUMBERS).await.as_deref(), Some("202 0 299"));
    // Without a savepoint nothing is left.
    let branch = fixture.connector.open(WRITE).await.unwrap();
    put(&branch, &plain(&table, 400..401)).await;
    put(&branch, &plain(&table, 500..700)).await;
    assert_eq!(row_of(&run(&branch, &plain(&table, 699..900)).await.unwrap_err()), Some(0));
    assert_eq!(branch.commit().await.unwrap_err().sqlstate(), "25P02");
    branch.rollback().await.unwrap();
    assert_eq!(fixture.ask(NUMBERS).await.as_deref(), Some("202 0 299"));
    assert_eq!(fixture.ask(OPEN).await.as_deref(), Some("0"));
}

#[tokio::test]
async fn a_value_that_cannot_be_written_ends_the_copy_and_not_the_connection() {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TABLE t (id int PRIMARY KEY, p point)").await;
    let table = fixture.table("t").await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    put(&branch, &named(&table, 0..1, |_| Some("(1,2)".to_owned()))).await;
    branch.savepoint(1).await.unwrap();
    // In the text format this is found when many rows have been sent already.
    let late = named(&table, 1..30_000, |id| (id == 29_000).then(|| "(1,2)\0".to_owned()));
    put(&branch, &named(&table, -1..0, |_| None)).await;
    assert_eq!(run(&branch, &late).await.unwrap_err().sqlstate(), "22023");
    branch.roll_back_to(1).await.unwrap();
    put(&branch, &named(&table, 1..2, |_| None)).await;
    put(&branch, &named(&table, 2..400, |_| Some("(3,4)".to_owned()))).await;
    assert_eq!(fixture.ask(SENT).await.as_deref(), Some("COPY"));
    branch.commit().await.unwrap();
    assert_eq!(fixture.ask(NUMBERS).await.as_deref(), Some("400 0 399"));
}

#[tokio::test]
async fn a_copy_that_is_told_to_stop_leaves_its_connection_right() {
    let (mut fixture, table) = stage().await;
    let (branch, stop) = (fixture.connector.open(WRITE).await.unwrap(), CancellationToken::new());
    branch.savepoint(1).await.unwrap();
    put(&branch, &plain(&table, 0..1)).await;
    // The key of a row in the middle is somebody else's, who has not said yet whether it stays.
    fixture.run("BEGIN; INSERT INTO t VALUES (150)").await;
    let edit = plain(&table, 100..20_000);
    let (outcome, ()) = tokio::join!(branch.edit(&edit, &stop), async {
        until(&mut fixture, WAITING, "1").await;
        stop.cancel();
    });
    assert!(matches!(outcome, Err(StoreError::Cancelled)), "{outcome:?}");
    branch.roll_back_to(1).await.unwrap();
    put(&branch, &plain(&table, 1..2)).await;
    put(&branch, &plain(&table, 200..400)).await;
    branch.commit().await.unwrap();
    fixture.run("ROLLBACK").await;
    assert_eq!(fixture.ask(NUMBERS).await.as_deref(), Some("201 1 399"));
}

#[tokio::test]
async fn a_copy_that_nobody_waits_for_takes_its_connection_along() {
    let (mut fixture, table) = stage().await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    branch.savepoint(1).await.unwrap();
    put(&branch, &plain(&table, 0..1)).await;
    fixture.run("BEGIN; INSERT INTO t VALUES (150)").await;
    let edit = plain(&table, 100..20_000);
    tokio::select! {
        outcome = run(&branch, &edit) => panic!("{outcome:?}"),
        () = until(&mut fixture, WAITING, "1") => {}
    }
    assert_eq!(run(&branch, &plain(&table, 1..2)).await.unwrap_err().sqlstate(), "25P02");
    assert_eq!(branch.commit().await.unwrap_err().sqlstate(), "25P02");
    assert!(matches!(branch.roll_back_to(1).await, Err(StoreError::ConnectionLost { .. })));
    assert!(branch.rollback().await.is_err());
    drop(branch);
    fixture.run("COMMIT").await;
    until(&mut fixture, OPEN, "0").await;
    assert_eq!(fixture.ask(NUMBERS).await.as_deref(), Some("1 150 150"));
    // Whoever comes next finds a connection that says what it is asked.
    for id in 0..20 {
        let branch = fixture.connector.open(WRITE).await.unwrap();
        put(&branch, &plain(&table, id..id + 1)).await;
        branch.commit().await.unwrap();
    }
    assert_eq!(fixture.ask(NUMBERS).await.as_deref(), Some("21 0 150"));
}

#[tokio::test]
async fn a_lost_server_process_is_a_lost_connection() {
    let (mut fixture, table) = stage().await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    put(&branch, &plain(&table, 0..1)).await;
    put(&branch, &plain(&table, 1..100)).await;
    assert_eq!(fixture.ask(super::writes::END_WRITERS).await.as_deref(), Some("1"));
    until(&mut fixture, super::writes::END_WRITERS, "0").await;
    let error = run(&branch, &plain(&table, 100..9_000)).await.unwrap_err();
    assert!(matches!(error, StoreError::ConnectionLost { .. }), "{error:?}");
    assert!(branch.rollback().await.is_err());
    assert_eq!(fixture.ask(NUMBERS).await.as_deref(), Some("0 0 0"));
}

/// What COPY does not fill, passes over or refuses.
#[tokio::test]
async fn insert_stays_where_copy_does_something_else() {
    let cases = [
        ("CREATE VIEW v AS SELECT id, name FROM t", "v", "INSERT"),
        ("CREATE TABLE u (id int, name text); CREATE RULE r AS ON INSERT TO u DO ALSO NOTIFY x", "u", "INSERT"),
        ("CREATE TABLE s (id int, name text); ALTER TABLE s ENABLE ROW LEVEL SECURITY", "s", "INSERT"),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TABLE w (id int, name text); CREATE TRIGGER f BEFORE INSERT ON w FOR EACH ROW EXECUTE FUNCTION f()",
            "w",
            "INSERT",
        ),
        ("CREATE TABLE a (id int GENERATED ALWAYS AS IDENTITY, name text)", "a", "INSERT"),
        (
            "CREATE TABLE p (id int, name text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (-1) TO (9);
             CREATE TABLE p2 PARTITION OF p DEFAULT",
            "p",
            "COPY",
        ),
    ];
    let (mut fixture, _) = stage().await;
    for (made, name, expected) in cases {
        fixture.run(made).await;
        let table = fixture.table(name).await;
        let branch = fixture.connector.open(WRITE).await.unwrap();
        put(&branch, &plain(&table, 0..300)).await;
        put(&branch, &plain(&table, 300..5_000)).await;
        assert_eq!(fixture.ask(SENT).await.as_deref(), Some(expected), "{name}");
        branch.commit().await.unwrap();
        assert_eq!(fixture.ask(&format!("SELECT count(*)::text FROM {name} WHERE id < 5000")).await.as_deref(), Some("5000"));
    }
}

#[tokio::test]
async fn a_table_that_has_changed_is_not_given_bytes_of_other_types() {
    let (mut fixture, table) = stage().await;
    // As it was discovered it had an integer there.
    fixture.run("ALTER TABLE t ALTER id TYPE real").await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    put(&branch, &plain(&table, 0..300)).await;
    put(&branch, &plain(&table, 300..900)).await;
    assert_eq!(fixture.ask(SENT).await.as_deref(), Some("INSERT"));
    branch.commit().await.unwrap();
    assert_eq!(fixture.ask(NUMBERS).await.as_deref(), Some("900 0 899"));
    // Nobody changes it between the edits of a transaction.
    let table = fixture.table("t").await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    let fields: Vec<_> = table.columns.iter().skip(2).map(field).collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(Int32Array::from(vec![1; 200]))]).unwrap();
    let (store, columns) = (StoreName::new("crm"), vec![2]);
    fixture.run("ALTER TABLE t DROP CONSTRAINT t_pkey, ALTER id DROP NOT NULL").await;
    let edit = Edit::Insert(Insert {
        store,
        table: table.clone(),
        columns,
        paths: Vec::new(),
        rows,
        conflict: None,
        returning: Vec::new(),
    });
    put(&branch, &edit).await;
    fixture.run("SET lock_timeout = '50ms'").await;
    let blocked = sqlx::query("ALTER TABLE t ALTER n TYPE real").execute(&mut fixture.plain).await.unwrap_err();
    assert_eq!(blocked.as_database_error().and_then(|said| said.code()).as_deref(), Some("55P03"));
    put(&branch, &edit).await;
    assert_eq!(fixture.ask(SENT).await.as_deref(), Some("COPY"));
    branch.commit().await.unwrap();
    assert_eq!(fixture.ask("SELECT count(*)::text FROM t WHERE n = 1").await.as_deref(), Some("400"));
}

/// Rows of a table that were read are written back by COPY, and are what they were.
async fn round_trip(fixture: &mut Fixture, name: &str, format: &str) {
    let table = fixture.table(name).await;
    let before = fixture.ask(&format!("SELECT string_agg(x::text, E'\\n' ORDER BY x::text) FROM {name} x")).await;
    let batches = fixture.read(&table, Vec::new()).await.unwrap();
    let read = concat_batches(&batches[0].schema(), &batches).unwrap();
    let schema = Arc::new(Schema::new(table.columns.iter().map(field).collect::<Vec<_>>()));
    let rows = RecordBatch::try_new(schema, read.columns().to_vec()).unwrap();
    fixture.run(&format!("DELETE FROM {name}")).await;
    let columns: Vec<usize> = (0..table.columns.len()).collect();
    let edit = |rows: RecordBatch| {
        let (store, table, columns) = (StoreName::new("crm"), Arc::clone(&table), columns.clone());
        Edit::Insert(Insert { store, table, columns, paths: Vec::new(), rows, conflict: None, returning: Vec::new() })
    };
    let branch = fixture.connector.open(WRITE).await.unwrap();
    put(&branch, &edit(rows.slice(0, 1))).await;
    put(&branch, &edit(rows.slice(1, rows.num_rows() - 1))).await;
    let sent = SENT.replace("split_part(query, ' ', 1)", "query");
    let sent = fixture.ask(&sent).await.unwrap();
    assert!(sent.starts_with("COPY ") && sent.ends_with(format), "{sent}");
    branch.commit().await.unwrap();
    let after = fixture.ask(&format!("SELECT string_agg(x::text, E'\\n' ORDER BY x::text) FROM {name} x")).await;
    assert_eq!(after, before);
}

/// Types that are sent in their own form, each with a value.
const BINARY: &[(&str, &str)] = &[
    ("bool", "true"),
    ("smallint", "-32768"),
    ("int", "-2147483648"),
    ("bigint", "9223372036854775807"),
    ("oid", "4294967295"),
    ("regclass", "'pg_catalog.pg_class'"),
    ("real", "'-Infinity'"),
    ("float8", "'NaN'"),
    ("float8", "'5e-324'"),
    ("text", "E'it''s\\t\\\\N\\n'"),
    ("varchar(5)", "'ab  '"),
    ("char(4)", "'a'"),
    ("mood", "'it''s'"),
    ("short", "'abc'"),
    ("json", "'{\"a\": [1,  2]}'"),
    ("jsonb", "'{\"a\": [1,  2]}'"),
    ("bytea", "'\\x00ff5c'"),
    ("date", "'0044-03-15 BC'"),
    ("date", "'infinity'"),
    ("time", "'24:00'"),
    ("time(2)", "'12:34:56.78'"),
    ("timestamp", "'0044-03-15 12:00:00 BC'"),
    ("timestamp", "'-infinity'"),
    ("timestamptz", "'2020-02-29 12:34:56.000001+05'"),
    ("timestamptz(0)", "'infinity'"),
    ("interval", "'1 mon -2 days 03:04:05.000006'"),
    ("interval hour to minute", "'-3 days 04:05'"),
    ("numeric(12, 3)", "-123456789.125"),
    ("numeric(38, 10)", "-9999999999999999999999999999.0123456789"),
    ("numeric", "'NaN'"),
    ("numeric", "-1234567890123456789012345678901234567890.000000000012345678901234567890"),
    ("numeric", "'Infinity'"),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"),
];

/// Types that are sent as texts.
const TEXT: &[(&str, &str)] = &[
    ("point", "'(1,2)'"),
    ("\"char\"", "'a'"),
    ("name", "'pg_class'"),
    ("xid", "'7'"),
    ("text[]", "'{\"a,b\",NULL,\"\",\"\\\\\"}'"),
    ("int[]", "'{1,NULL,-3}'"),
    ("mood[]", "'{sad,NULL}'"),
    ("pair", "'(1,\"a,b\")'"),
    ("timetz", "'12:00:00.5-07:30'"),
    ("bit(3)", "'101'"),
    ("varbit", "'0'"),
    ("inet", "'10.0.0.1/8'"),
    ("cidr", "'10.0.0.0/8'"),
    ("macaddr", "'08:00:2b:01:02:03'"),
    ("pg_lsn", "'16/B374D848'"),
    ("money", "'-1234.5'"),
    ("int4range", "'[1,5)'"),
    ("tstzrange", "'[2020-01-01,2020-01-02)'"),
    ("tsvector", "'a:1 b:2'"),
    ("jsonpath", "'$.\"a\"'"),
    ("numeric(60, 5)", "-1234567890123456789012345678901234567890.12345"),
];

#[tokio::test]
async fn values_of_every_type_come_back_in_both_formats() {
    let mut fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TYPE mood AS ENUM ('sad', 'it''s'); CREATE TYPE pair AS (x int, y text); CREATE DOMAIN short AS varchar(3);
             CREATE DOMAIN small AS int CHECK (VALUE > 0)",
        )
        .await;
    let all: Vec<(&str, &str)> = BINARY.iter().chain(TEXT).copied().collect();
    for (name, columns, format) in [("b", BINARY, "(FORMAT binary)"), ("x", all.as_slice(), "FROM STDIN")] {
        let (mut made, mut values) = (format!("CREATE TABLE {name} (id small"), String::new());
        for (place, (of_type, value)) in columns.iter().enumerate() {
            write!(made, ", c{place} {of_type}").unwrap();
            write!(values, ", CASE WHEN i % 3 > 0 THEN CAST({value} AS {of_type}) END").unwrap();
        }
        fixture.run(&format!("{made})")).await;
        fixture.run(&format!("INSERT INTO {name} SELECT i{values} FROM generate_series(1, 300) i")).await;
        round_trip(&mut fixture, name, format).await;
    }
}
