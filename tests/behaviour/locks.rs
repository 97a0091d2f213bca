//! `SELECT … FOR UPDATE` and its like, as sessions see them: what others wait for, when locks go, and which queries lock nothing.

use sqlx::Executor;
use tributary::server::Server;

use super::endless;
use crate::support::{self, proxy};
use proxy::{OWNER, Place, Session};

const NOTES: &str = "PRAGMA journal_mode = wal;
    CREATE TABLE notes (n INTEGER PRIMARY KEY, t TEXT);
    INSERT INTO notes VALUES (1, 'one'), (2, 'two');";

async fn code(session: &Session, sql: &str) -> String {
    match session.rows(sql).await {
        Ok(rows) => panic!("{sql} gave {rows:?}"),
        Err(failure) => failure.code,
    }
}

#[tokio::test]
async fn what_cannot_be_locked_is_told_as_in_postgresql_words() {
    let place = Place::new();
    place.sqlite("notes", NOTES).await;
    place.sqlite("shelf", "CREATE TABLE books (b INTEGER PRIMARY KEY); INSERT INTO books VALUES (1);").await;
    place.write("views/shown.sql", "SELECT n, t FROM notes.notes");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    for (sql, expected, message) in [
        ("SELECT DISTINCT t FROM notes.notes FOR UPDATE", "0A000", "FOR UPDATE is not allowed with DISTINCT clause"),
        ("SELECT t FROM notes.notes GROUP BY t FOR SHARE", "0A000", "FOR SHARE is not allowed with GROUP BY clause"),
        ("SELECT 1 FROM notes.notes HAVING true FOR UPDATE", "0A000", "FOR UPDATE is not allowed with HAVING clause"),
        ("SELECT count(*) FROM notes.notes FOR UPDATE", "0A000", "FOR UPDATE is not allowed with aggregate functions"),
        ("SELECT row_number() OVER () FROM notes.notes FOR UPDATE", "0A000", "FOR UPDATE is not allowed with window functions"),
        (
            "SELECT generate_series(1, 2) FROM notes.notes FOR KEY SHARE",
            "0A000",
            "FOR KEY SHARE is not allowed with set-returning functions in the target list",
        ),
        (
            "SELECT n FROM notes.notes UNION ALL SELECT 1 FOR UPDATE",
            "0A000",
            "FOR UPDATE is not allowed with UNION/INTERSECT/EXCEPT",
        ),
        ("VALUES (1) FOR UPDATE", "0A000", "FOR UPDATE cannot be applied to VALUES"),
        ("SELECT n FROM notes.notes FOR UPDATE OF m", "42P01", "relation \"m\" in FOR UPDATE clause not found in FROM clause"),
        (
            "SELECT n FROM notes.notes AS m FOR NO KEY UPDATE OF notes",
            "42P01",
            "relation \"notes\" in FOR NO KEY UPDATE clause not found in FROM clause",
        ),
        ("WITH w AS (SELECT 1 AS n) SELECT n FROM w FOR UPDATE OF w", "0A000", "FOR UPDATE cannot be applied to a WITH query"),
        ("SELECT s FROM generate_series(1, 2) AS s FOR UPDATE OF s", "0A000", "FOR UPDATE cannot be applied to a function"),
        (
            "SELECT 1 FROM notes.notes LEFT JOIN shelf.books ON b = n FOR UPDATE OF books",
            "0A000",
            "FOR UPDATE cannot be applied to the nullable side of an outer join",
        ),
        (
            "SELECT n FROM (SELECT n FROM notes.notes GROUP BY n) s FOR UPDATE",
            "0A000",
            "FOR UPDATE is not allowed with GROUP BY clause",
        ),
        (
            "SELECT 1 FROM notes.notes, shelf.books FOR UPDATE",
            "0A000",
            "a statement cannot lock rows of several stores (\"notes\", \"shelf\")",
        ),
        (
            "SELECT 1 FROM shown JOIN shelf.books ON b = n FOR UPDATE",
            "0A000",
            "a statement cannot lock rows of several stores (\"notes\", \"shelf\")",
        ),
        ("SELECT relname FROM pg_class FOR UPDATE", "42501", "permission denied for table pg_class"),
    ] {
        let failure = session.failure(sql).await;
        assert_eq!((failure.code.as_str(), failure.message.as_str()), (expected, message), "{sql}");
    }
    for sql in ["SELECT n FROM notes.notes FOR UPDATE NOWAIT", "SELECT n FROM notes.notes FOR SHARE SKIP LOCKED"] {
        assert_eq!(code(&session, sql).await, "0A000", "{sql}");
    }
    let failure = session.failure("SELECT n FROM notes.notes FOR UPDATE OF m").await;
    assert_eq!(failure.position, Some(41), "{failure:?}");
    session.answer("BEGIN READ ONLY").await;
    let failure = session.rows("SELECT n FROM notes.notes FOR SHARE").await.unwrap_err();
    assert_eq!(
        (failure.code.as_str(), failure.message.as_str()),
        ("25006", "cannot execute SELECT FOR SHARE in a read-only transaction")
    );
    session.answer("ROLLBACK").await;
}

#[tokio::test]
async fn rows_come_as_without_locks_and_the_store_counts_as_written() {
    let place = Place::new();
    place.sqlite("notes", NOTES).await;
    place.sqlite("shelf", "CREATE TABLE books (b INTEGER PRIMARY KEY); INSERT INTO books VALUES (1);").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT n, t FROM notes.notes ORDER BY n DESC LIMIT 1 FOR UPDATE").await, "2|two");
    let joined = "SELECT t FROM notes.notes JOIN shelf.books ON b = n FOR UPDATE OF notes";
    assert_eq!(session.answer(joined).await, "one");
    let locked = session.query("SELECT t FROM notes.notes WHERE n = $1 FOR NO KEY UPDATE", &[&2_i64]).await.unwrap();
    assert_eq!(locked.first().map(|row| row.get::<_, String>(0)).as_deref(), Some("two"));
    session.answer("PREPARE p AS SELECT t FROM notes.notes WHERE n = $1 FOR UPDATE").await;
    assert_eq!(session.answer("EXECUTE p (1)").await, "one");
    for begin in ["BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE"] {
        let other = proxy::connect(&server, OWNER).await;
        session.answer(begin).await;
        assert_eq!(session.answer("SELECT count(*) FROM notes.notes").await, "2");
        assert_eq!(session.answer("SELECT t FROM notes.notes WHERE n = 1 FOR UPDATE").await, "one");
        session.answer("UPDATE notes.notes SET t = t WHERE n = 1").await;
        assert_eq!(other.answer("SELECT count(*) FROM notes.notes").await, "2");
        session.answer("COMMIT").await;
    }
    session.answer("BEGIN; SAVEPOINT s").await;
    session.answer("SELECT t FROM notes.notes FOR SHARE").await;
    assert_eq!(session.answer("SELECT b FROM shelf.books").await, "1", "others may be read");
    assert_eq!(code(&session, "DELETE FROM shelf.books").await, "0A000");
    session.answer("ROLLBACK TO s").await;
    session.answer("DELETE FROM shelf.books; ROLLBACK").await;
    // The lock of a statement of its own goes with it.
    let other = proxy::connect(&server, OWNER).await;
    session.answer("SELECT t FROM notes.notes FOR UPDATE").await;
    other.answer("UPDATE notes.notes SET t = 'changed' WHERE n = 1").await;
    server.stop().await;
}

/// Two sessions over one store with rows 1 to 3, of which the first locks one.
async fn two_sessions(server: &Server, rows: &str) {
    let (session, other) = (proxy::connect(server, OWNER).await, proxy::connect(server, OWNER).await);
    session.answer(&format!("INSERT INTO {rows} (id, n) VALUES (1, 10), (2, 20), (3, 30)")).await;
    session.answer("BEGIN").await;
    assert_eq!(session.answer(&format!("SELECT n FROM {rows} WHERE id = 2 FOR UPDATE")).await, "20");
    other.answer("BEGIN").await;
    let free = format!("SELECT id FROM {rows} WHERE id IN (1, 2, 3) ORDER BY id FOR UPDATE SKIP LOCKED");
    assert_eq!(other.answer(&free).await, "1\n3");
    other.answer("COMMIT; BEGIN; SAVEPOINT s").await;
    assert_eq!(code(&other, &format!("SELECT n FROM {rows} WHERE id = 2 FOR SHARE NOWAIT")).await, "55P03");
    other.answer("ROLLBACK").await;
    // Who waits gets what was written meanwhile, if it still satisfies the condition.
    let select = format!("SELECT n FROM {rows} WHERE id = 2 FOR UPDATE");
    let update = format!("UPDATE {rows} SET n = 21 WHERE id = 2; COMMIT");
    let (waited, _) = tokio::join!(other.answer(&select), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        session.answer(&update).await
    });
    assert_eq!(waited, "21");
    // Two who share.
    for holder in [&session, &other] {
        holder.answer("BEGIN").await;
        assert_eq!(holder.answer(&format!("SELECT n FROM {rows} WHERE id = 3 FOR SHARE")).await, "30");
    }
    session.answer("COMMIT").await;
    other.answer("COMMIT").await;
    assert_eq!(
        session.answer(&format!("SELECT n FROM {rows} WHERE id = 3 FOR KEY SHARE OF {}", rows.rsplit('.').next().unwrap())).await,
        "30"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_postgres_are_locked_by_it() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let database =
        proxy::fresh(postgres, "CREATE TABLE stock (id int PRIMARY KEY, n int); CREATE VIEW few AS SELECT * FROM stock").await;
    place.postgres("shop", postgres, &database, "");
    place.write("views/seen.sql", "SELECT id, n FROM shop.stock WHERE n > 0");
    let server = place.serve().await;
    two_sessions(&server, "shop.stock").await;
    let (session, other) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, OWNER).await);
    for view in ["seen", "shop.few", "(SELECT * FROM shop.stock) s"] {
        session.answer("BEGIN").await;
        assert_eq!(session.answer(&format!("SELECT n FROM {view} WHERE id = 1 FOR UPDATE")).await, "10", "{view}");
        assert_eq!(code(&other, "SELECT n FROM shop.stock WHERE id = 1 FOR KEY SHARE NOWAIT").await, "55P03", "{view}");
        session.answer("ROLLBACK").await;
        assert_eq!(other.answer("SELECT n FROM shop.stock WHERE id = 1 FOR KEY SHARE NOWAIT").await, "10", "{view}");
    }
    // Who refers to a row does not mind that its other columns are about to change.
    session.answer("BEGIN").await;
    session.answer("SELECT n FROM shop.stock WHERE id = 1 FOR NO KEY UPDATE").await;
    assert_eq!(other.answer("SELECT n FROM shop.stock WHERE id = 1 FOR KEY SHARE NOWAIT").await, "10");
    assert_eq!(code(&other, "SELECT n FROM shop.stock WHERE id = 1 FOR SHARE NOWAIT").await, "55P03");
    // A savepoint lets go of what was locked behind it.
    session.answer("SAVEPOINT s").await;
    session.answer("SELECT n FROM shop.stock WHERE id = 2 FOR UPDATE").await;
    session.answer("ROLLBACK TO s").await;
    assert_eq!(other.answer("SELECT n FROM shop.stock WHERE id = 2 FOR UPDATE NOWAIT").await, "21");
    session.answer("COMMIT").await;
    // What somebody else has changed since is 40001 where one state is seen.
    session.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    session.answer("SELECT count(*) FROM shop.stock").await;
    other.answer("UPDATE shop.stock SET n = 11 WHERE id = 1").await;
    assert_eq!(code(&session, "SELECT n FROM shop.stock WHERE id = 1 FOR UPDATE").await, "40001");
    session.answer("ROLLBACK").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_mariadb_are_locked_by_it() {
    let place = Place::new();
    let mariadb = support::mariadb().await;
    let database = mariadb.fresh_database().await.unwrap();
    let mut owner = endless::direct(mariadb, &database).await;
    owner.execute("CREATE TABLE stock (id int PRIMARY KEY, n int)").await.unwrap();
    place.mariadb("crew", mariadb, &database, "");
    let server = place.serve().await;
    two_sessions(&server, "crew.stock").await;
}

/// Workers that take the next job each, over one store with an empty table of jobs.
async fn a_queue(server: &Server, jobs: &str) {
    let (session, other) = (proxy::connect(server, OWNER).await, proxy::connect(server, OWNER).await);
    session.answer(&format!("INSERT INTO {jobs} (id, n) VALUES (1, 10), (2, 10), (3, 10), (4, 20)")).await;
    let next = format!("SELECT id FROM {jobs} WHERE n = 10 ORDER BY id DESC LIMIT 1 FOR UPDATE SKIP LOCKED");
    session.answer("BEGIN").await;
    other.answer("BEGIN").await;
    assert_eq!(session.answer(&next).await, "3");
    assert_eq!(other.answer(&next).await, "2", "others find what is left");
    assert_eq!(session.answer(&next.replace("LIMIT 1", "LIMIT 1 OFFSET 1")).await, "1", "its own rows are not left out");
    session.answer("ROLLBACK").await;
    other.answer("ROLLBACK").await;
    // Only the row that is given back is locked.
    session.answer("BEGIN").await;
    session.answer(&format!("SELECT id FROM {jobs} ORDER BY n DESC, id LIMIT 1 FOR UPDATE")).await;
    let free = format!("SELECT id FROM {jobs} WHERE id IN (1, 2, 3, 4) ORDER BY id FOR UPDATE SKIP LOCKED");
    if jobs.starts_with("shop.") {
        assert_eq!(other.answer(&free).await, "1\n2\n3");
    }
    session.answer("ROLLBACK").await;
    for (sql, what) in [
        (format!("SELECT id FROM {jobs} ORDER BY id + n LIMIT 1 FOR UPDATE SKIP LOCKED"), "rows that the query does not give back"),
        (format!("SELECT id FROM {jobs} j WHERE id + n = 11 FOR UPDATE SKIP LOCKED"), "rows that the query does not give back"),
        (
            format!("SELECT id, (SELECT count(*) FROM {jobs}) FROM {jobs} WHERE id = 4 FOR UPDATE SKIP LOCKED"),
            "a table that the query reads more than once",
        ),
        (
            format!("SELECT a.id FROM {jobs} a JOIN {jobs} b ON b.n = a.n WHERE a.id = 1 FOR UPDATE OF a SKIP LOCKED"),
            "a table that the query reads more than once",
        ),
        (
            format!("SELECT id FROM {jobs} a WHERE NOT EXISTS (SELECT 1 FROM {jobs} b WHERE b.id < a.id) FOR UPDATE SKIP LOCKED"),
            "a table that the query reads more than once",
        ),
    ] {
        let failure = session.failure(&sql).await;
        let message = format!("FOR UPDATE SKIP LOCKED of {what} is not supported");
        assert_eq!((failure.code.as_str(), failure.message), ("0A000", message), "{sql}");
    }
    let twice = format!("SELECT id, (SELECT count(*) FROM {jobs}) FROM {jobs} WHERE id = 4 FOR SHARE NOWAIT");
    let failure = session.failure(&twice).await;
    assert_eq!(failure.message, "FOR SHARE NOWAIT of a table that the query reads more than once is not supported");
    assert_eq!(session.answer(&twice.replace(" NOWAIT", "")).await, "4|4", "who waits may read it twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_postgres_take_the_next_job_each() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let tables = "CREATE TABLE jobs (id int PRIMARY KEY, n int); CREATE TABLE notes (id int PRIMARY KEY, doc jsonb); \
                  INSERT INTO notes VALUES (1, '{\"n\": 2}'), (2, '{\"n\": 1}')";
    let database = proxy::fresh(postgres, tables).await;
    place.postgres("shop", postgres, &database, "[tables.notes]\ndocument = \"doc\"");
    let server = place.serve().await;
    a_queue(&server, "shop.jobs").await;
    // The store has no column for the field of a document.
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT id FROM shop.notes ORDER BY n LIMIT 1 FOR UPDATE").await, "2");
    assert_eq!(code(&session, "SELECT id FROM shop.notes ORDER BY n LIMIT 1 FOR UPDATE SKIP LOCKED").await, "0A000");
    // NULL has its place in the order of the store too.
    session.answer("INSERT INTO shop.jobs VALUES (9, NULL)").await;
    for (order, expected) in [("n, id", "1"), ("n DESC, id", "9"), ("n NULLS FIRST", "9"), ("n DESC NULLS LAST", "4")] {
        let sql = format!("SELECT id FROM shop.jobs ORDER BY {order} LIMIT 1 FOR UPDATE SKIP LOCKED");
        assert_eq!(session.answer(&sql).await, expected, "{order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_mariadb_take_the_next_job_each() {
    let place = Place::new();
    let mariadb = support::mariadb().await;
    let database = mariadb.fresh_database().await.unwrap();
    let mut owner = endless::direct(mariadb, &database).await;
    owner.execute("CREATE TABLE jobs (id int PRIMARY KEY, n int)").await.unwrap();
    place.mariadb("crew", mariadb, &database, "");
    let server = place.serve().await;
    a_queue(&server, "crew.jobs").await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("INSERT INTO crew.jobs VALUES (9, NULL)").await;
    for (order, expected) in [("n, id", "1"), ("n DESC, id", "9"), ("n NULLS FIRST", "9"), ("n DESC NULLS LAST", "4")] {
        let sql = format!("SELECT id FROM crew.jobs ORDER BY {order} LIMIT 1 FOR UPDATE SKIP LOCKED");
        assert_eq!(session.answer(&sql).await, expected, "{order}");
    }
}
