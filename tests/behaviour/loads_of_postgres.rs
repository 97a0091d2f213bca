//! Many rows for a PostgreSQL store, as a client sends them: what is kept, and where errors lie.

use std::fmt::Write as _;

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError};
use tributary::server::Server;

use crate::support;
use crate::support::proxy::{self, DATABASE, OWNER, PASSWORD, Place, Session};

const TABLES: &str = "CREATE TABLE notes (n int PRIMARY KEY, t text CHECK (t <> 'bad'), d int DEFAULT 7);
    CREATE TABLE more (n int PRIMARY KEY REFERENCES notes, t text);";
/// More rows than the store gets at a time.
const MANY: u32 = 9_000;

async fn stage() -> (Place, Server, PgConnection, Session) {
    let database = proxy::fresh(support::postgres().await, TABLES).await;
    let place = Place::new();
    place.postgres("shop", support::postgres().await, &database, "");
    let server = place.serve().await;
    let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(server.addresses()[0].port());
    let client = PgConnection::connect_with(&options.username(OWNER).password(PASSWORD).database(DATABASE)).await.unwrap();
    let session = proxy::connect(&server, OWNER).await;
    (place, server, client, session)
}

/// Lines of numbers and texts, of which one is another.
fn lines(other: Option<(u32, &str)>) -> String {
    let mut text = String::new();
    for n in 1..=MANY {
        match other {
            Some((line, instead)) if line == n => writeln!(text, "{instead}").unwrap(),
            _ => writeln!(text, "{n}\tnote {n}").unwrap(),
        }
    }
    text
}

async fn copy(client: &mut PgConnection, table: &str, data: &str) -> Result<u64, sqlx::Error> {
    let mut copy = client.copy_in_raw(&format!("COPY {table} (n, t) FROM STDIN")).await?;
    for piece in data.as_bytes().chunks(10_000) {
        copy.send(piece).await?;
    }
    copy.finish().await
}

/// The code, the constraint and the place of an error.
fn told(error: &sqlx::Error) -> (String, Option<String>, Option<String>) {
    let said = error.as_database_error().unwrap().downcast_ref::<PgDatabaseError>();
    (said.code().to_owned(), said.constraint().map(str::to_owned), said.r#where().map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_postgres_are_kept_or_not_and_errors_say_their_line() {
    let (_place, server, mut client, session) = stage().await;
    let cases = [
        (8_765, "12\tagain", "23505", Some("notes_pkey"), "COPY notes, line 8765"),
        (7_001, "70001\tbad", "23514", Some("notes_t_check"), "COPY notes, line 7001"),
        (8_999, "\\N\tnothing", "23502", None, "COPY notes, line 8999"),
        (6_543, "x\tno number", "22P02", None, "COPY notes, line 6543, column n: \"x\""),
    ];
    let rows = "SELECT count(*), coalesce(sum(d), 0) FROM shop.notes";
    for (line, instead, code, constraint, place) in cases {
        let error = copy(&mut client, "shop.notes", &lines(Some((line, instead)))).await.unwrap_err();
        assert_eq!(told(&error), (code.to_owned(), constraint.map(str::to_owned), Some(place.to_owned())));
        assert_eq!(session.answer(rows).await, "0|0");
        // In a block it leads back to the savepoint, and what was before stays.
        for sql in ["BEGIN", "INSERT INTO shop.notes VALUES (100000, 'mine')", "SAVEPOINT s"] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut client).await.unwrap();
        }
        let error = copy(&mut client, "shop.notes", &lines(Some((line, instead)))).await.unwrap_err();
        assert_eq!(told(&error), (code.to_owned(), constraint.map(str::to_owned), Some(place.to_owned())));
        sqlx::raw_sql("ROLLBACK TO s").execute(&mut client).await.unwrap();
        assert_eq!(copy(&mut client, "shop.notes", &lines(None)).await.unwrap(), u64::from(MANY));
        sqlx::raw_sql("COMMIT").execute(&mut client).await.unwrap();
        assert_eq!(session.answer(rows).await, "9001|63007");
        session.answer("DELETE FROM shop.notes").await;
    }
    // Keys of other tables are looked at when an edit is over: the lines are those of the edit.
    assert_eq!(copy(&mut client, "shop.notes", "1\tone\n").await.unwrap(), 1);
    let error = copy(&mut client, "shop.more", &lines(None)).await.unwrap_err();
    let (code, constraint, place) = told(&error);
    assert_eq!((code.as_str(), constraint.as_deref()), ("23503", Some("more_n_fkey")));
    assert!(place.is_some_and(|place| place.starts_with("COPY more, lines 1 to ")));
    client.close().await.unwrap();
    server.stop().await;
}

/// Rows are read in larger parts once the first of them have gone.
#[tokio::test(flavor = "multi_thread")]
async fn lines_are_right_in_every_part_of_what_comes_to_postgres() {
    const ALL: u32 = 30_000;
    let (_place, server, mut client, session) = stage().await;
    let lines = |bad: u32| {
        let mut text = String::new();
        for n in 1..=ALL {
            writeln!(text, "{n}\t{}", if n == bad { "bad" } else { "good" }).unwrap();
        }
        text
    };
    for bad in [2_049, 2_050, 10_240, 10_241, 18_433, ALL] {
        let error = copy(&mut client, "shop.notes", &lines(bad)).await.unwrap_err();
        let expected = ("23514".to_owned(), Some("notes_t_check".to_owned()), Some(format!("COPY notes, line {bad}")));
        assert_eq!(told(&error), expected);
        assert_eq!(session.answer("SELECT count(*) FROM shop.notes").await, "0");
    }
    assert_eq!(copy(&mut client, "shop.notes", &lines(0)).await.unwrap(), u64::from(ALL));
    let rows = "SELECT count(*), min(n), max(n), count(DISTINCT n) FROM shop.notes WHERE t = 'good'";
    assert_eq!(session.answer(rows).await, "30000|1|30000|30000");
    client.close().await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_query_come_to_postgres_as_those_of_a_client_do() {
    let (_place, server, mut client, session) = stage().await;
    assert_eq!(copy(&mut client, "shop.notes", &lines(None)).await.unwrap(), u64::from(MANY));
    session.answer("INSERT INTO shop.more SELECT n, upper(t) FROM shop.notes").await;
    let same = "SELECT count(*), min(m.t), max(m.n) FROM shop.more m JOIN shop.notes o ON o.n = m.n AND m.t = upper(o.t)";
    assert_eq!(session.answer(same).await, "9000|NOTE 1|9000");
    let failed = session.failure("INSERT INTO shop.more SELECT n + 8000, t FROM shop.notes").await;
    assert_eq!(failed.code, "23505");
    assert_eq!(session.answer("SELECT count(*) FROM shop.more").await, "9000");
    client.close().await.unwrap();
    server.stop().await;
}
