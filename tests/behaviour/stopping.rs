//! Statements that are stopped: by a cancel request, a timeout, a client that goes away or a LIMIT. The store must stop too.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use sqlx::mysql::MySqlConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row};
use tributary::sandbox::Postgres;
use tributary::server::Server;

use super::endless::{self, begin, direct, end_of};
use super::eventually;
use crate::support::gate::{Gate, Open};
use crate::support::{self, proxy};
use proxy::{Failure, OWNER, Place, Session};

/// A scan that takes far longer than any test.
const ROWS: u32 = 400_000;

struct Scanned {
    _place: Place,
    server: Server,
    database: String,
}

async fn postgres_stage(postgres: &Postgres) -> Scanned {
    let place = Place::new();
    let table = format!("CREATE UNLOGGED TABLE stock AS SELECT n, repeat('x', 300) AS filler FROM generate_series(1, {ROWS}) AS n");
    let database = proxy::fresh(postgres, &table).await;
    place.postgres("shop", postgres, &database, "pool.size = 2\n");
    let server = place.serve().await;
    Scanned { _place: place, server, database }
}

/// How many statements of others run in the database now.
async fn running(postgres: &Postgres, database: &str) -> i64 {
    let mut observer = proxy::direct(postgres, "postgres").await;
    let row = sqlx::query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state = 'active' AND (query ILIKE '%stock%' OR query ILIKE '%deferrable%') AND pid <> pg_backend_pid()",
    )
    .bind(database)
    .fetch_one(&mut observer)
    .await
    .unwrap();
    observer.close().await.unwrap();
    row.get(0)
}

async fn idle(postgres: &Postgres, database: &str) {
    eventually("the end of the store's statement", async || (running(postgres, database).await == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_statements_stop_in_postgres() {
    let postgres = support::postgres().await;
    let stage = postgres_stage(postgres).await;
    let session = proxy::connect(&stage.server, OWNER).await;

    let rows = begin(&session).await;
    assert!(running(postgres, &stage.database).await > 0);
    session.cancel().await;
    assert_eq!(end_of(rows).await.code, "57014");
    idle(postgres, &stage.database).await;
    assert_eq!(session.answer("SELECT 1").await, "1");

    session.answer("SET statement_timeout = '300ms'").await;
    let slow = "SELECT count(*) FROM shop.stock AS a JOIN shop.stock AS b ON a.n + b.n < 0";
    assert_eq!(session.failure(slow).await.code, "57014");
    idle(postgres, &stage.database).await;
    session.answer("RESET statement_timeout").await;

    // More often than the pool is large: a LIMIT must leave connections that can be used again.
    for _ in 0..8 {
        assert_eq!(session.answer("SELECT count(*) FROM (SELECT n FROM shop.stock WHERE filler <> 'y' LIMIT 3) AS few").await, "3");
    }
    idle(postgres, &stage.database).await;

    let leaving = proxy::connect(&stage.server, OWNER).await;
    let rows = begin(&leaving).await;
    assert!(running(postgres, &stage.database).await > 0);
    drop(rows);
    drop(leaving);
    idle(postgres, &stage.database).await;
    assert_eq!(session.answer("SELECT n FROM shop.stock WHERE n = 5").await, "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_statements_stop_in_mariadb() {
    let mariadb = support::mariadb().await;
    let place = Place::new();
    let database = mariadb.fresh_database().await.unwrap();
    let mut observer = direct(mariadb, &database).await;
    let table = format!("CREATE TABLE stock AS SELECT seq AS n, repeat('x', 300) AS filler FROM seq_1_to_{ROWS}");
    sqlx::query(AssertSqlSafe(table)).execute(&mut observer).await.unwrap();
    place.mariadb("shop", mariadb, &database, "pool.size = 2\n");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;

    let rows = begin(&session).await;
    assert!(executing(&mut observer, &database).await > 0);
    session.cancel().await;
    assert_eq!(end_of(rows).await.code, "57014");
    eventually("the end in MariaDB", async || (executing(&mut observer, &database).await == 0).then_some(())).await;

    session.answer("SET statement_timeout = '300ms'").await;
    let slow = "SELECT count(*) FROM shop.stock AS a JOIN shop.stock AS b ON a.n + b.n < 0";
    assert_eq!(session.failure(slow).await.code, "57014");
    session.answer("RESET statement_timeout").await;
    eventually("the end in MariaDB", async || (executing(&mut observer, &database).await == 0).then_some(())).await;

    for _ in 0..8 {
        assert_eq!(session.answer("SELECT count(*) FROM (SELECT n FROM shop.stock WHERE filler <> 'y' LIMIT 3) AS few").await, "3");
    }
    let leaving = proxy::connect(&server, OWNER).await;
    let rows = begin(&leaving).await;
    drop(rows);
    drop(leaving);
    eventually("the end in MariaDB", async || (executing(&mut observer, &database).await == 0).then_some(())).await;
    assert_eq!(session.answer("SELECT n FROM shop.stock WHERE n = 5").await, "5");
}

async fn executing(observer: &mut MySqlConnection, database: &str) -> i64 {
    let row = sqlx::query(
        "SELECT count(*) FROM information_schema.processlist WHERE (db = ? OR info LIKE concat('%', ?, '%')) AND command <> 'Sleep' AND info LIKE '%stock%' AND id <> connection_id()",
    )
    .bind(database)
    .bind(database)
    .fetch_one(observer)
    .await
    .unwrap();
    row.get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_statements_stop_in_mongodb() {
    let mongodb = support::mongodb().await;
    let place = Place::new();
    let database = endless::in_mongodb(mongodb).await;
    let observer = endless::client(mongodb).await;
    place.mongodb("shop", mongodb, &database, "");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;

    let rows = begin(&session).await;
    eventually("a cursor in MongoDB", async || (open_on(&observer, &database).await > 0).then_some(())).await;
    session.cancel().await;
    assert_eq!(end_of(rows).await.code, "57014");
    eventually("the end in MongoDB", async || (open_on(&observer, &database).await == 0).then_some(())).await;

    let leaving = proxy::connect(&server, OWNER).await;
    let rows = begin(&leaving).await;
    eventually("a cursor in MongoDB", async || (open_on(&observer, &database).await > 0).then_some(())).await;
    drop(rows);
    drop(leaving);
    eventually("the end in MongoDB", async || (open_on(&observer, &database).await == 0).then_some(())).await;
    assert_eq!(session.answer("SELECT n FROM shop.few").await, "1");
}

/// Operations that run on a database's `stock` or on the collection that it is a view of, and cursors that wait to be read on.
async fn open_on(observer: &Client, database: &str) -> usize {
    let (view, base) = (format!("{database}.stock"), format!("{database}.base"));
    let stages = vec![
        doc! { "$currentOp": { "allUsers": true, "idleCursors": true } },
        doc! { "$match": { "ns": { "$in": [view, base] }, "type": { "$in": ["op", "idleCursor"] } } },
    ];
    let cursor = observer.database("admin").aggregate(stages).await.unwrap();
    cursor.try_collect::<Vec<Document>>().await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_statements_stop_in_sqlite() {
    let place = Place::new();
    let file = place.sqlite("shop", endless::SQLITE).await;
    let options = SqliteConnectOptions::new().filename(&file).busy_timeout(Duration::ZERO);
    let mut writer = SqliteConnection::connect_with(&options).await.unwrap();
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;

    let rows = begin(&session).await;
    assert!(!is_unread(&mut writer).await);
    session.cancel().await;
    assert_eq!(end_of(rows).await.code, "57014");
    eventually("the end in SQLite", async || is_unread(&mut writer).await.then_some(())).await;

    let leaving = proxy::connect(&server, OWNER).await;
    let rows = begin(&leaving).await;
    assert!(!is_unread(&mut writer).await);
    drop(rows);
    drop(leaving);
    eventually("the end in SQLite", async || is_unread(&mut writer).await.then_some(())).await;
    assert_eq!(session.answer("SELECT count(*) FROM shop.few").await, "1000");
}

/// Whether nobody reads the file: only then can another connection have it for itself.
async fn is_unread(writer: &mut SqliteConnection) -> bool {
    let alone = sqlx::query("BEGIN EXCLUSIVE").execute(&mut *writer).await.is_ok();
    if alone {
        sqlx::query("ROLLBACK").execute(writer).await.unwrap();
    }
    alone
}

#[tokio::test]
async fn an_idle_session_in_a_transaction_is_ended_when_asked() {
    let place = Place::new();
    place.configure("limits.idle_in_transaction_timeout = \"200ms\"\n");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT 1").await, "1");
    session.answer("BEGIN").await;
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        while !session.is_closed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    ended.await.expect("the session goes on");
}

/// Far more than a timeout of half a second takes to be heard on a busy machine, far less than any store's own deadline.
const PROMPT: Duration = Duration::from_secs(8);

async fn promptly(session: &Session, sql: &str) -> Result<Vec<String>, Failure> {
    let started = Instant::now();
    let outcome = session.rows(sql).await;
    assert!(started.elapsed() < PROMPT, "{sql} took {:?}", started.elapsed());
    outcome
}

/// The outcome of a statement that is cancelled: again until a request meets it, as one that comes too early does nothing.
async fn cancelled_while<T>(session: &Session, statement: impl Future<Output = T>) -> T {
    let mut statement = std::pin::pin!(statement);
    loop {
        match tokio::time::timeout(Duration::from_millis(50), &mut statement).await {
            Ok(outcome) => return outcome,
            Err(_elapsed) => session.cancel().await,
        }
    }
}

/// Timeouts and cancel requests while `shop` accepts connections and never answers. Its `stock` holds a row.
async fn never_answered(server: &Server, open: &Open) {
    let [block, single, cancelled] =
        [proxy::connect(server, OWNER).await, proxy::connect(server, OWNER).await, proxy::connect(server, OWNER).await];
    block.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(block.answer("SELECT count(*) FROM shop.stock").await, "1");
    open.freeze();
    for session in [&block, &single] {
        session.answer("SET statement_timeout = '500ms'").await;
    }
    // In a block the store's transaction is rolled back too, which is not answered either.
    assert_eq!(promptly(&block, "SELECT count(*) FROM shop.stock").await.unwrap_err().code, "57014");
    promptly(&block, "ROLLBACK").await.unwrap();
    for sql in ["SELECT count(*) FROM shop.stock", "EXPLAIN ANALYZE SELECT * FROM shop.stock", "CALL tributary.refresh('shop')"] {
        assert_eq!(promptly(&single, sql).await.unwrap_err().code, "57014", "{sql}");
    }
    let started = Instant::now();
    assert_eq!(cancelled_while(&cancelled, cancelled.rows("SELECT n FROM shop.stock")).await.unwrap_err().code, "57014");
    assert!(started.elapsed() < PROMPT, "{:?}", started.elapsed());
    for session in [&block, &single, &cancelled] {
        session.answer("RESET statement_timeout").await;
        assert_eq!(session.answer("SELECT 1").await, "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_never_answers_holds_up_no_timeout_and_no_cancel() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, "CREATE TABLE stock (n int PRIMARY KEY); INSERT INTO stock VALUES (1)").await;
    let gate = Gate::to(postgres.host(), postgres.port()).await;
    let open = gate.open().await;
    let (user, password, port) = (postgres.user(), postgres.password(), gate.port());
    let store =
        format!("kind = \"postgres\"\nport = {port}\nuser = \"{user}\"\npassword = \"{password}\"\ndatabase = \"{database}\"\n");
    place.write("stores/shop.toml", &store);
    let server = place.serve().await;
    never_answered(&server, &open).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_that_never_answers_holds_up_no_timeout_and_no_cancel() {
    let place = Place::new();
    let mariadb = support::mariadb().await;
    let database = mariadb.fresh_database().await.unwrap();
    let mut owner = direct(mariadb, &database).await;
    for sql in ["CREATE TABLE stock (n int PRIMARY KEY)", "INSERT INTO stock VALUES (1)"] {
        sqlx::query(sql).execute(&mut owner).await.unwrap();
    }
    let gate = Gate::to(mariadb.host(), mariadb.port()).await;
    let open = gate.open().await;
    let (user, password, port) = (mariadb.user(), mariadb.password(), gate.port());
    let store =
        format!("kind = \"mariadb\"\nport = {port}\nuser = \"{user}\"\npassword = \"{password}\"\ndatabase = \"{database}\"\n");
    place.write("stores/shop.toml", &store);
    let server = place.serve().await;
    never_answered(&server, &open).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongodb_that_never_answers_holds_up_no_timeout_and_no_cancel() {
    let place = Place::new();
    let mongodb = support::mongodb().await;
    let database = mongodb.fresh_database().await.unwrap();
    let (user, password) = (mongodb.user(), mongodb.password());
    let url = format!("mongodb://{user}:{password}@{}:{}", mongodb.host(), mongodb.port());
    let client = Client::with_uri_str(url).await.unwrap();
    client.database(&database).collection("stock").insert_one(doc! { "_id": 1, "n": 1 }).await.unwrap();
    let gate = Gate::to(mongodb.host(), mongodb.port()).await;
    let open = gate.open().await;
    let store = format!(
        "kind = \"mongodb\"\nhosts = [\"127.0.0.1:{}\"]\ndirect = true\nuser = \"{user}\"\npassword = \"{password}\"\n\
         database = \"{database}\"\ndatabases = [\"{database}\"]\n",
        gate.port()
    );
    place.write("stores/shop.toml", &store);
    let server = place.serve().await;
    never_answered(&server, &open).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_postgres_lets_us_wait_for_can_be_given_up() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, "CREATE TABLE stock (n int PRIMARY KEY); INSERT INTO stock VALUES (1)").await;
    place.postgres("shop", postgres, &database, "");
    let server = place.serve().await;
    // A serializable transaction that writes keeps the next deferrable one waiting until it has ended.
    let mut writer = proxy::direct(postgres, &database).await;
    for sql in ["BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT count(*) FROM stock", "INSERT INTO stock VALUES (2)"] {
        sqlx::query(sql).execute(&mut writer).await.unwrap();
    }
    let session = proxy::connect(&server, OWNER).await;
    session.answer("SET statement_timeout = '500ms'").await;
    session.answer("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE").await;
    assert_eq!(promptly(&session, "SELECT count(*) FROM shop.stock").await.unwrap_err().code, "57014");
    promptly(&session, "ROLLBACK").await.unwrap();
    session.answer("RESET statement_timeout").await;
    session.answer("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE").await;
    let waiting = promptly(&session, "SELECT count(*) FROM shop.stock");
    assert_eq!(cancelled_while(&session, waiting).await.unwrap_err().code, "57014");
    session.answer("ROLLBACK").await;
    idle(postgres, &database).await;
    // Nobody waits who has not asked for it.
    for modes in ["READ ONLY", "READ WRITE", "READ WRITE DEFERRABLE"] {
        session.answer(&format!("BEGIN ISOLATION LEVEL SERIALIZABLE {modes}")).await;
        assert_eq!(promptly(&session, "SELECT count(*) FROM shop.stock").await.unwrap(), ["1"], "{modes}");
        session.answer("ROLLBACK").await;
    }
    sqlx::query("COMMIT").execute(&mut writer).await.unwrap();
    session.answer("BEGIN ISOLATION LEVEL SERIALIZABLE").await;
    assert_eq!(session.answer("SELECT count(*) FROM shop.stock").await, "2");
    session.answer("COMMIT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_holds_for_later_statements_of_its_text() {
    let place = Place::new();
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let endless = "SELECT count(*) FROM generate_series(1, 2000000000)";
    let stopped = promptly(&session, &format!("SET statement_timeout = '300ms'; {endless}")).await.unwrap_err();
    assert_eq!(stopped.code, "57014");
    // The SET was rolled back with the rest of its text.
    assert_eq!(session.answer("SHOW statement_timeout").await, "0");
    let spent = "SELECT count(*) FROM generate_series(1, 300000)";
    assert_eq!(
        session.answer(&format!("SET statement_timeout = '1min'; {spent}; SET statement_timeout = 0; {spent}")).await,
        "300000\n300000"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_of_all_rows_with_all_are_given_up_in_time() {
    let place = Place::new();
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("SET statement_timeout = '300ms'").await;
    let sides = "generate_series(1, 100000) AS a, generate_series(1, 100000) AS b";
    for asked in ["count(*) FROM {sides} WHERE a + b < 0", "count(*) FROM {sides} WHERE a > b", "sum(a::numeric * b) FROM {sides}"]
    {
        let sql = format!("SELECT {}", asked.replace("{sides}", sides));
        assert_eq!(promptly(&session, &sql).await.unwrap_err().code, "57014", "{sql}");
    }
    session.answer("SET statement_timeout = 0").await;
    let small = "SELECT count(*), sum(a) FROM generate_series(1, 1000) AS a LEFT JOIN generate_series(1, 1000) AS b ON a > b + 990";
    assert_eq!(session.answer(small).await, "1036|536416");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_takes_long_is_given_up_in_time() {
    let place = Place::new();
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let items: Vec<String> = (0..40_000).map(|number| format!("abs({number}) AS c{number}")).collect();
    let heavy = format!("SELECT {}", items.join(", "));
    session.answer("SET statement_timeout = '300ms'").await;
    assert_eq!(promptly(&session, &heavy).await.unwrap_err().code, "57014");
    assert_eq!(promptly(&session, "SELECT 1").await.unwrap(), ["1"]);
}
