//! Texts that would break out of a badly written literal, sent as literals and as parameters through every store.

use mongodb::bson::doc;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::support::{self, proxy};
use proxy::{OWNER, Place};

const TEXTS: &[&str] = &[
    "\\' or 1=1 -- ",
    "a''b",
    "' OR '1'='1",
    "\\",
    "\\\\'",
    "'; DROP TABLE notes; --",
    "\"",
    "`",
    "$1",
    "$$",
    "%s ? :name",
    "%_",
    "/* */",
    "\u{a5}\u{2019}\u{ff07}",
    "line\nbreak\ttab",
    "{\"$gt\": \"\"}",
    "$where",
    "naïve 漢字 🦀",
    "",
];

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

async fn check(place: &Place) {
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT count(*) FROM store.notes").await, TEXTS.len().to_string());
    for (n, text) in TEXTS.iter().enumerate() {
        let expected = n.to_string();
        let quoted = literal(text);
        for condition in [
            format!("body = {quoted}"),
            format!("body IN ({quoted}, 'no such text')"),
            format!("body BETWEEN {quoted} AND {quoted}"),
            format!("body || 'x' = {quoted} || 'x'"),
            format!("{quoted} = body AND n >= 0"),
        ] {
            assert_eq!(session.answer(&format!("SELECT n FROM store.notes WHERE {condition}")).await, expected, "{condition}");
        }
        for condition in ["body = $1", "body IN ($1)", "$1 = body AND length(body) >= 0", "body = ANY (ARRAY[$1])"] {
            let sql = format!("SELECT n::int8, body FROM store.notes WHERE {condition}");
            let rows = session.query(&sql, &[text]).await.unwrap();
            let found: Vec<(i64, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            assert_eq!(found, [(i64::try_from(n).unwrap(), *text)], "{condition} {text:?}");
        }
        let pattern = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let like = format!("SELECT n FROM store.notes WHERE body LIKE {}", literal(&pattern));
        assert_eq!(session.answer(&like).await, expected, "{like}");
    }
    assert_eq!(session.answer("SELECT count(*) FROM store.notes").await, TEXTS.len().to_string());
}

fn rows(escape: fn(&str) -> String) -> String {
    let rows: Vec<String> = TEXTS.iter().enumerate().map(|(n, text)| format!("({n}, {})", escape(text))).collect();
    format!("CREATE TABLE notes (n integer PRIMARY KEY, body varchar(200) NOT NULL); INSERT INTO notes VALUES {}", rows.join(", "))
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_stay_texts_in_sqlite() {
    let place = Place::new();
    place.sqlite("store", &rows(literal)).await;
    check(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_stay_texts_in_postgres() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, &rows(literal)).await;
    place.postgres("store", postgres, &database, "");
    check(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_stay_texts_in_mariadb() {
    let place = Place::new();
    let mariadb = support::mariadb().await;
    let database = mariadb.fresh_database().await.unwrap();
    let login = MySqlConnectOptions::new().host(mariadb.host()).port(mariadb.port()).database(&database);
    let mut connection = MySqlConnection::connect_with(&login.username(mariadb.user()).password(mariadb.password())).await.unwrap();
    let statements = rows(|text| literal(&text.replace('\\', "\\\\"))).replace("NOT NULL)", "NOT NULL) COLLATE utf8mb4_bin");
    connection.execute(AssertSqlSafe(statements)).await.unwrap();
    place.mariadb("store", mariadb, &database, "");
    check(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_stay_texts_in_mongodb() {
    let place = Place::new();
    let mongodb = support::mongodb().await;
    let database = mongodb.fresh_database().await.unwrap();
    let url = format!("mongodb://{}:{}@{}:{}", mongodb.user(), mongodb.password(), mongodb.host(), mongodb.port());
    let client = mongodb::Client::with_uri_str(url).await.unwrap();
    let documents = TEXTS
        .iter()
        .enumerate()
        .map(|(n, text)| doc! { "_id": i64::try_from(n).unwrap(), "n": i64::try_from(n).unwrap(), "body": *text });
    client.database(&database).collection("notes").insert_many(documents).await.unwrap();
    place.mongodb("store", mongodb, &database, "");
    check(&place).await;
}
