//! The fast path: what it answers must be what the planner answers, to the letter, and it must end where the planner would.
//!
//! Every statement runs twice, with `tributary.fast_path` on and off, in the extended protocol with inferred parameter types
//! and binary results; what clients are told of parameters and columns is compared too.

use std::error::Error;

use bytes::BytesMut;
use futures::TryStreamExt;
use mongodb::bson::doc;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio_postgres::Statement;
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type};
use tributary::server::Server;

use super::eventually;
use crate::support::{self, proxy};
use proxy::{Failure, OWNER, Place, Session};

/// A parameter in text form, of whatever type the server asks for.
#[derive(Debug)]
struct Text<'a>(Option<&'a str>);

impl ToSql for Text<'_> {
    fn to_sql(&self, _ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_ty: &Type) -> bool {
        true
    }

    fn encode_format(&self, _ty: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

/// The bytes of a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Raw(Option<Vec<u8>>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Some(raw.to_vec())))
    }

    fn from_sql_null(_ty: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_ty: &Type) -> bool {
        true
    }
}

/// A column as a client sees it: name, type, relation and its column, modifier.
type Described = (String, Type, Option<u32>, Option<i16>, i32);

/// All that a client learns of one statement.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    parameters: Vec<Type>,
    columns: Vec<Described>,
    rows: Vec<Vec<Raw>>,
}

async fn rows(session: &Session, statement: &Statement, values: &[Option<&str>]) -> Result<Vec<Vec<Raw>>, Failure> {
    let values: Vec<Text<'_>> = values.iter().copied().map(Text).collect();
    let found = session.query_raw(statement, values.iter().map(|value| value as &dyn ToSql)).await.map_err(Failure::of)?;
    let found: Vec<tokio_postgres::Row> = found.try_collect().await.map_err(Failure::of)?;
    let mut rows: Vec<Vec<Raw>> = found.iter().map(|row| (0..row.len()).map(|place| row.get(place)).collect()).collect();
    rows.sort();
    Ok(rows)
}

async fn ask(session: &Session, sql: &str, values: &[Option<&str>]) -> Result<Outcome, Failure> {
    let statement = session.prepare(sql).await.map_err(Failure::of)?;
    let columns = statement.columns().iter().map(|column| {
        (column.name().to_owned(), column.type_().clone(), column.table_oid(), column.column_id(), column.type_modifier())
    });
    let columns = columns.collect();
    // Twice: the second time nothing is prepared anywhere.
    if statement.params().len() != values.len() {
        return Ok(Outcome { parameters: statement.params().to_vec(), columns, rows: Vec::new() });
    }
    let first = rows(session, &statement, values).await?;
    assert_eq!(rows(session, &statement, values).await.as_ref(), Ok(&first), "{sql}");
    Ok(Outcome { parameters: statement.params().to_vec(), columns, rows: first })
}

const POSTGRES: &str = r#"CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN amount AS numeric(12, 3);
CREATE TABLE item (id int PRIMARY KEY, code varchar(20) NOT NULL UNIQUE, name text, big bigint, small smallint, done boolean,
    day date, at timestamptz, noted timestamp, tag uuid UNIQUE, price numeric(10, 2), worth amount, ratio double precision,
    mood mood, pad char(5), note jsonb, marks int[], wait interval, "Mixed" int, "user" text);
INSERT INTO item VALUES
    (1, 'a1', 'x', 10, 1, true, '2024-02-29', '2024-02-29 12:00:00.123456+02', '2024-02-29 12:00', '00000000-0000-0000-0000-000000000001',
     1.50, 2.125, 0.5, 'ok', 'ab', '{"a": 1}', '{1,2}', '1 day', 1, 'u'),
    (2, 'A1', 'it''s \ "q"', 9223372036854775807, -1, false, '0044-03-15 BC', 'infinity', '-infinity', '00000000-0000-0000-0000-000000000002',
     -0.01, NULL, 'NaN', 'sad', 'ab  c', '[]', '{}', '-1 mon', 2, NULL),
    (3, 'a1 ', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (4, '', '', 0, 0, false, '1970-01-01', '1970-01-01 00:00+00', '1970-01-01', NULL, 0, 0, '-0', NULL, '', 'null', NULL, '0', 4, '');
CREATE TABLE visit (item int, at date, PRIMARY KEY (item, at), who text);
INSERT INTO visit VALUES (1, '2024-01-01', 'a'), (1, '2024-01-02', 'b'), (2, '2024-01-01', 'c');"#;

const MARIADB: &str = r"CREATE TABLE item (id int PRIMARY KEY, code varchar(20) COLLATE utf8mb4_nopad_bin NOT NULL UNIQUE, name text, big bigint, small smallint,
    done tinyint(1), day date, at timestamp(6) NULL, noted datetime(6), tag binary(16), price decimal(10, 2), ratio double, Mixed int, `user` text);
INSERT INTO item VALUES
    (1, 'a1', 'x', 10, 1, 1, '2024-02-29', '2024-02-29 12:00:00.123456', '2024-02-29 12:00', NULL, 1.50, 0.5, 1, 'u'),
    (2, 'A1', 'X', 9223372036854775807, -1, 0, '1000-01-01', NULL, NULL, NULL, -0.01, 1e300, 2, NULL),
    (3, 'a1 ', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (4, '', '', 0, 0, 0, '1970-01-01', '1970-01-02 00:00:00', '1970-01-01', NULL, 0, -0.0, 4, '');";

const SQLITE: &str = "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, name TEXT, big BIGINT, small SMALLINT, done BOOLEAN, day DATE,
    at TIMESTAMP, price DECIMAL(10, 2), ratio REAL, Mixed INTEGER, user TEXT);
INSERT INTO item VALUES (1, 'a1', 'x', 10, 1, 1, '2024-02-29', '2024-02-29 12:00:00', 1.5, 0.5, 1, 'u'),
    (2, 'A1', 'X', 9223372036854775807, -1, 0, '1000-01-01', NULL, -0.01, 1e300, 2, NULL),
    (3, 'a1 ', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (4, '', '', 0, 0, 0, '1970-01-01', '1970-01-02 00:00:00', 0, -0.0, 4, '');";

type Asked = (&'static str, &'static [Option<&'static str>]);

/// Statements over a table `{t}` with the key `{id}`.
const STATEMENTS: &[Asked] = &[
    ("SELECT * FROM {t} WHERE {id} = $1", &[Some("1")]),
    ("SELECT * FROM {t} WHERE {id} = $1", &[Some("99")]),
    ("SELECT * FROM {t} WHERE {id} = $1", &[None]),
    ("SELECT * FROM {t} WHERE {id} = $1", &[Some("x")]),
    ("SELECT * FROM {t} WHERE {id} = $1", &[Some("99999999999999999999")]),
    ("SELECT name, {id} FROM {t} WHERE {id} = $1", &[Some("2")]),
    ("SELECT name AS n, {id} AS \"N\" FROM {t} AS x WHERE x.{id} = $1", &[Some("2")]),
    ("SELECT x.* FROM {t} AS x WHERE x.{id} = $1", &[Some("2")]),
    ("SELECT item.name FROM {t} WHERE item.{id} = $1", &[Some("2")]),
    ("SELECT y.name FROM {t} AS x WHERE x.{id} = $1", &[Some("2")]),
    ("SELECT item.name FROM {t} AS x WHERE {id} = 1", &[]),
    ("SELECT {id} FROM {t} WHERE code = $1", &[Some("a1")]),
    ("SELECT {id} FROM {t} WHERE code = $1", &[Some("a1 ")]),
    ("SELECT {id} FROM {t} WHERE code = $1", &[Some("")]),
    ("SELECT {id} FROM {t} WHERE code = $1", &[Some("' OR 1=1 -- ")]),
    ("SELECT {id} FROM {t} WHERE code = 'a1'", &[]),
    ("SELECT {id} FROM {t} WHERE code > $1 AND code <= $2 AND {id} IN (1, 2, 3, 4)", &[Some("A1"), Some("a1")]),
    ("SELECT {id} FROM {t} WHERE name = $1", &[Some("x")]),
    ("SELECT {id} FROM {t} WHERE name = 'it''s \\ \"q\"'", &[]),
    ("SELECT {id}, name FROM {t} WHERE name <> $1 LIMIT 9", &[Some("x")]),
    ("SELECT {id} FROM {t} WHERE name IS NULL LIMIT 3", &[]),
    ("SELECT {id} FROM {t} WHERE name IS NOT NULL LIMIT 30", &[]),
    ("SELECT {id} FROM {t} WHERE big = $1", &[Some("9223372036854775807")]),
    ("SELECT {id} FROM {t} WHERE big = $1", &[Some("9223372036854775808")]),
    ("SELECT {id} FROM {t} WHERE small = $1", &[Some("70000")]),
    ("SELECT {id} FROM {t} WHERE small = 70000", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = 3000000000", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = $1::bigint", &[Some("3000000000")]),
    ("SELECT {id} FROM {t} WHERE {id} = '2'", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = 'two'", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = 2.0", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = -2", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = 1 / 0", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = 1 / $1", &[Some("0")]),
    ("SELECT {id} FROM {t} WHERE {id} = $1 AND {id} / $2 = 1", &[Some("2"), Some("0")]),
    ("SELECT {id} FROM {t} WHERE 2 = {id}", &[]),
    ("SELECT {id} FROM {t} WHERE 2 < {id} LIMIT 10", &[]),
    ("SELECT {id} FROM {t} WHERE $1 >= {id} LIMIT 10", &[Some("2")]),
    ("SELECT {id} FROM {t} WHERE {id} IN ($1, 2, $2)", &[Some("1"), Some("1")]),
    ("SELECT {id} FROM {t} WHERE {id} IN ($1, NULL)", &[Some("1")]),
    ("SELECT {id} FROM {t} WHERE {id} NOT IN ($1, 2) LIMIT 9", &[Some("1")]),
    ("SELECT {id} FROM {t} WHERE {id} BETWEEN $1 AND $2 AND code = 'a1'", &[Some("0"), Some("3")]),
    ("SELECT {id} FROM {t} WHERE {id} BETWEEN $1 AND $2 LIMIT 5", &[Some("3"), Some("0")]),
    ("SELECT {id} FROM {t} WHERE day = $1", &[Some("2024-02-29")]),
    ("SELECT {id} FROM {t} WHERE day = $1", &[Some("2024-02-30")]),
    ("SELECT {id} FROM {t} WHERE day = '2024-02-29'", &[]),
    ("SELECT {id} FROM {t} WHERE at = $1", &[Some("2024-02-29 12:00:00.123456+02")]),
    ("SELECT {id} FROM {t} WHERE at > $1 LIMIT 4", &[Some("now")]),
    ("SELECT {id} FROM {t} WHERE at > now() LIMIT 4", &[]),
    ("SELECT {id}, done FROM {t} WHERE done = $1", &[Some("t")]),
    ("SELECT {id}, done FROM {t} WHERE done = true", &[]),
    ("SELECT {id}, done FROM {t} WHERE done LIMIT 9", &[]),
    ("SELECT {id} FROM {t} WHERE ({id} = 1 AND (name = 'x'))", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = 1 OR {id} = 2", &[]),
    ("SELECT {id} FROM {t} WHERE NOT {id} = 1", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = 1 AND true", &[]),
    ("SELECT {id}, name FROM {t} WHERE {id} = 1 ORDER BY name", &[]),
    ("SELECT {id}, name FROM {t} WHERE {id} = 1 ORDER BY nothere", &[]),
    ("SELECT {id}, name FROM {t} WHERE {id} = 1 ORDER BY 3", &[]),
    ("SELECT {id}, name FROM {t} WHERE code = 'a1' ORDER BY name DESC LIMIT 1", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = 1 LIMIT 0", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = 1 LIMIT -1", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = 1 LIMIT $1", &[Some("1")]),
    ("SELECT {id} FROM {t} WHERE {id} = 1 LIMIT 1 OFFSET 1", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = 1 FETCH FIRST ROW ONLY", &[]),
    ("SELECT {id} FROM {t} LIMIT 100", &[]),
    ("SELECT {id} FROM {t}", &[]),
    ("SELECT * FROM {t} LIMIT 50", &[]),
    ("SELECT nothere FROM {t} WHERE {id} = 1", &[]),
    ("SELECT {id} FROM {t} WHERE nothere = 1", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = $1 AND nothere = $2", &[Some("1"), Some("1")]),
    ("SELECT {id} FROM {t}_missing WHERE {id} = 1", &[]),
    ("SELECT {id}, {id} FROM {t} WHERE {id} = 1", &[]),
    ("SELECT {id}, * FROM {t} WHERE {id} = 1", &[]),
    ("SELECT {id} + 1 FROM {t} WHERE {id} = 1", &[]),
    ("SELECT item FROM {t} WHERE {id} = 1", &[]),
    ("SELECT \"user\" FROM {t} WHERE {id} = 1", &[]),
    ("SELECT user FROM {t} WHERE {id} = 1", &[]),
    ("SELECT current_user FROM {t} WHERE {id} = 1", &[]),
    ("SELECT \"Mixed\" FROM {t} WHERE \"Mixed\" = $1", &[Some("1")]),
    ("SELECT mixed FROM {t} WHERE mixed = $1", &[Some("1")]),
    ("SELECT NAME FROM {t} WHERE CODE = $1", &[Some("a1")]),
    ("SELECT {id} FROM {t} WHERE {id} = $2", &[None, Some("1")]),
    ("SELECT {id} FROM {t} WHERE {id} = $1 AND big = $1", &[Some("1")]),
    ("SELECT {id} FROM {t} WHERE {id} = $1 AND code = $1", &[Some("1")]),
    ("SELECT {id} FROM {t} WHERE {id} = $1 AND {id} = $1", &[Some("1")]),
    ("SELECT {id} FROM {t} WHERE {id} = $0", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = 1 FOR UPDATE", &[]),
    ("SELECT DISTINCT {id} FROM {t} WHERE {id} = 1", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = 1 GROUP BY {id}", &[]),
    ("SELECT count(*) FROM {t} WHERE {id} = 1", &[]),
    ("SELECT {id} FROM {t} WHERE {id} = 1 HAVING true", &[]),
    ("SELECT {id} FROM {t}, {t} AS b WHERE {id} = 1", &[]),
    ("SELECT x.c FROM {t} AS x (c) WHERE x.c = 1", &[]),
    ("WITH w AS (SELECT 1) SELECT {id} FROM {t} WHERE {id} = 1", &[]),
    ("SELECT price, ratio FROM {t} WHERE price = $1 LIMIT 3", &[Some("1.5")]),
    ("SELECT price, ratio FROM {t} WHERE ratio = $1 LIMIT 3", &[Some("0.5")]),
    ("SELECT {id} FROM {t} WHERE {id} IS NULL LIMIT 2", &[]),
    ("SELECT {id} FROM {t} WHERE code LIKE $1 LIMIT 9", &[Some("a%")]),
    ("SELECT {id} FROM {t} WHERE code = $1 COLLATE \"C\"", &[Some("a1")]),
];

/// What only one store has.
const OWN: &[Asked] = &[
    ("SELECT id, mood, pad, note, marks, wait, worth FROM shop.item WHERE id = $1", &[Some("1")]),
    ("SELECT id, mood, pad, note, marks, wait, worth FROM shop.item WHERE id = $1", &[Some("2")]),
    ("SELECT id FROM shop.item WHERE mood = $1", &[Some("ok")]),
    ("SELECT id FROM shop.item WHERE mood = $1", &[Some("glad")]),
    ("SELECT id FROM shop.item WHERE pad = $1", &[Some("ab")]),
    ("SELECT id FROM shop.item WHERE tag = $1", &[Some("00000000-0000-0000-0000-000000000002")]),
    ("SELECT id FROM shop.item WHERE tag = $1", &[Some("{00000000000000000000000000000002}")]),
    ("SELECT id FROM shop.item WHERE tag = $1", &[Some("none")]),
    ("SELECT id FROM shop.item WHERE tag = '00000000-0000-0000-0000-000000000002'", &[]),
    (
        "SELECT id, tag FROM shop.item WHERE tag IN ($1, $2)",
        &[Some("00000000-0000-0000-0000-000000000002"), Some("00000000-0000-0000-0000-000000000001")],
    ),
    ("SELECT id FROM shop.item WHERE noted = $1", &[Some("-infinity")]),
    ("SELECT id FROM shop.item WHERE note = $1", &[Some("[]")]),
    ("SELECT who FROM shop.visit WHERE item = $1 AND at = $2", &[Some("1"), Some("2024-01-02")]),
    ("SELECT who, at FROM shop.visit WHERE item = $1", &[Some("1")]),
    ("SELECT who, at FROM shop.visit WHERE item = $1 ORDER BY at", &[Some("1")]),
    ("SELECT name FROM item WHERE id = $1", &[Some("1")]),
    ("SELECT name FROM tributary.shop.item WHERE id = $1", &[Some("1")]),
    ("SELECT name FROM elsewhere.shop.item WHERE id = $1", &[Some("1")]),
    ("SELECT relname FROM pg_class WHERE relname = $1", &[Some("item")]),
    ("SELECT nested FROM docs.item WHERE _id = $1", &[Some("1")]),
    ("SELECT nested->>'a' FROM docs.item WHERE _id = $1", &[Some("1")]),
    ("SELECT (nested).a FROM docs.item WHERE _id = $1", &[Some("1")]),
    ("SELECT tags FROM docs.item WHERE _id = $1", &[Some("1")]),
];

async fn stage(place: &Place) -> (Server, String) {
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, POSTGRES).await;
    place.postgres("shop", postgres, &database, "");
    let mariadb = support::mariadb().await;
    let name = mariadb.fresh_database().await.unwrap();
    let options = MySqlConnectOptions::new().host(mariadb.host()).port(mariadb.port()).database(&name);
    let mut connection =
        MySqlConnection::connect_with(&options.username(mariadb.user()).password(mariadb.password())).await.unwrap();
    connection.execute(AssertSqlSafe(MARIADB.to_owned())).await.unwrap();
    place.mariadb("crew", mariadb, &name, "");
    place.sqlite("notes", SQLITE).await;
    let mongo = support::mongodb().await;
    let name = mongo.fresh_database().await.unwrap();
    let url = format!("mongodb://{}:{}@{}:{}", mongo.user(), mongo.password(), mongo.host(), mongo.port());
    let items = mongodb::Client::with_uri_str(url).await.unwrap().database(&name).collection("item");
    let documents = [
        doc! { "_id": 1, "code": "a1", "name": "x", "big": 10_i64, "small": 1, "done": true, "ratio": 0.5, "nested": { "a": 1 }, "tags": ["p"] },
        doc! { "_id": 2, "code": "A1", "name": "X", "big": i64::MAX, "small": -1, "done": false, "ratio": 1e300, "nested": { "a": 2 } },
        doc! { "_id": 3, "code": "a1 " },
        doc! { "_id": 4, "code": "", "name": "", "big": 0_i64, "small": 0, "done": false, "ratio": -0.0, "tags": [] },
    ];
    items.insert_many(documents).await.unwrap();
    // Otherwise a condition also keeps the documents whose value has another type, to fail by them: that is no exact answer.
    place.mongodb("docs", mongo, &name, "on_mismatch = \"null\"\n");
    (place.serve().await, database)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_the_planner() {
    let place = Place::new();
    let (server, _) = stage(&place).await;
    let (fast, planned) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, OWNER).await);
    planned.answer("SET tributary.fast_path = off").await;
    let mut different = Vec::new();
    let tables = [("shop.item", "id"), ("crew.item", "id"), ("notes.item", "id"), ("docs.item", "_id")];
    let filled = tables.iter().flat_map(|(table, id)| {
        STATEMENTS.iter().map(move |(sql, values)| (sql.replace("{t}", table).replace("{id}", id), *values))
    });
    for (sql, values) in filled.chain(OWN.iter().map(|(sql, values)| ((*sql).to_owned(), *values))) {
        let (found, wanted) = (ask(&fast, &sql, values).await, ask(&planned, &sql, values).await);
        if found != wanted {
            different.push(format!("{sql} {values:?}\n  fast    {found:?}\n  planned {wanted:?}"));
        }
        if values.is_empty() {
            let (found, wanted) = (fast.rows(&sql).await, planned.rows(&sql).await);
            if found.clone().map(sorted) != wanted.clone().map(sorted) {
                different.push(format!("{sql} as text\n  fast    {found:?}\n  planned {wanted:?}"));
            }
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    server.stop().await;
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_which_way_a_statement_takes() {
    let place = Place::new();
    let (server, _) = stage(&place).await;
    let session = proxy::connect(&server, OWNER).await;
    let rows = [
        ("SELECT name FROM shop.item WHERE id = 1", true),
        ("SELECT * FROM crew.item WHERE id = 1", true),
        ("SELECT * FROM notes.item WHERE id IN (1, 2)", true),
        ("SELECT name FROM docs.item WHERE code = 'a1' LIMIT 1", true),
        ("SELECT name FROM shop.item WHERE code = 'a1' ORDER BY id", true),
        ("SELECT name FROM shop.item WHERE id = 1 ORDER BY note", false),
        ("SELECT name FROM shop.item WHERE id > 1", false),
        ("SELECT name FROM shop.item WHERE id > 1 LIMIT 5", true),
        ("SELECT upper(name) FROM shop.item WHERE id = 1", false),
        ("SELECT id FROM crew.item WHERE name = 'x'", false),
        ("SELECT a.id FROM shop.item a JOIN shop.visit v ON v.item = a.id WHERE a.id = 1", false),
    ];
    let is_fast = async |sql: &str| session.answer(&format!("EXPLAIN {sql}")).await.contains("Fast path");
    for (sql, expected) in rows {
        assert_eq!(is_fast(sql).await, expected, "{sql}");
    }
    let json = session.answer("EXPLAIN (FORMAT json) SELECT name FROM shop.item WHERE id = 1").await;
    assert!(json.contains("Fast path") && json.contains("$1"), "{json}");
    let prepared = session.prepare("EXPLAIN SELECT name FROM shop.item WHERE id = $1").await.unwrap();
    let lines = session.query(&prepared, &[&1_i32]).await.unwrap();
    assert!(lines.iter().any(|line| line.get::<_, &str>(0).contains("Fast path")), "{lines:?}");
    let analyzed = session.answer("EXPLAIN ANALYZE SELECT name FROM shop.item WHERE id IN (1, 2)").await;
    assert!(analyzed.contains("Fast path") && analyzed.contains("output_rows=2"), "{analyzed}");
    session.answer("SET tributary.pushdown = none").await;
    assert!(!is_fast("SELECT name FROM shop.item WHERE id = 1").await);
    session.answer("RESET tributary.pushdown").await;
    session.answer("SET tributary.fast_path = off").await;
    assert!(!is_fast("SELECT name FROM shop.item WHERE id = 1").await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_keep_their_state_and_portals_their_rows() {
    let place = Place::new();
    let (server, database) = stage(&place).await;
    let postgres = support::postgres().await;
    let mut writer = proxy::direct(postgres, &database).await;
    let mut session = proxy::connect(&server, OWNER).await;
    let lookup = session.prepare("SELECT name FROM shop.item WHERE id = $1").await.unwrap();
    for (begin, inside) in [
        ("BEGIN ISOLATION LEVEL REPEATABLE READ", "x"),
        ("BEGIN", "changed"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY", "x"),
    ] {
        writer.execute("UPDATE item SET name = 'x' WHERE id = 1").await.unwrap();
        session.answer(begin).await;
        assert_eq!(session.query_one(&lookup, &[&1_i32]).await.unwrap().get::<_, &str>(0), "x");
        writer.execute("UPDATE item SET name = 'changed' WHERE id = 1").await.unwrap();
        assert_eq!(session.query_one(&lookup, &[&1_i32]).await.unwrap().get::<_, &str>(0), inside, "{begin}");
        assert_eq!(session.answer("SELECT name FROM shop.item WHERE id = 1").await, inside, "{begin}");
        session.answer("COMMIT").await;
        assert_eq!(session.query_one(&lookup, &[&1_i32]).await.unwrap().get::<_, &str>(0), "changed");
    }
    session.answer("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").await;
    session.query_one(&lookup, &[&1_i32]).await.unwrap();
    assert_eq!(session.rows("SELECT name FROM crew.item WHERE id = 1").await.unwrap_err().code, "0A000");
    assert_eq!(session.rows("SELECT name FROM shop.item WHERE id = 1").await.unwrap_err().code, "25P02");
    session.answer("ROLLBACK").await;
    let block = session.transaction().await.unwrap();
    let statement = block.prepare("SELECT id FROM shop.item WHERE id IN ($1, $2, $3)").await.unwrap();
    let portal = block.bind(&statement, &[&1_i32, &2_i32, &4_i32]).await.unwrap();
    let mut seen = Vec::new();
    for expected in [2, 1, 0] {
        let rows = block.query_portal(&portal, 2).await.unwrap();
        assert_eq!(rows.len(), expected);
        seen.extend(rows.iter().map(|row| row.get::<_, i32>(0)));
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 4]);
    block.commit().await.unwrap();
    assert_eq!(session.answer("BEGIN; DECLARE c CURSOR FOR SELECT id FROM shop.item WHERE id = 2; FETCH ALL c; COMMIT").await, "2");
    session.answer("PREPARE p (int) AS SELECT name FROM shop.item WHERE id = $1").await;
    assert_eq!(session.answer("EXECUTE p(1)").await, "changed");
    assert_eq!(session.answer("EXECUTE p(NULL)").await, "");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_table_setting_or_path_is_noticed() {
    let place = Place::new();
    let (server, database) = stage(&place).await;
    let postgres = support::postgres().await;
    let mut writer = proxy::direct(postgres, &database).await;
    let session = proxy::connect(&server, OWNER).await;
    let sql = "SELECT name FROM item WHERE id = $1";
    let lookup = session.prepare(sql).await.unwrap();
    let name = async |lookup: &Statement| {
        session.query_one(lookup, &[&1_i32]).await.map(|row| row.get::<_, String>(0)).map_err(Failure::of)
    };
    // `crew` comes before `shop` on the default path.
    writer.execute("UPDATE item SET name = 'of shop' WHERE id = 1").await.unwrap();
    assert_eq!(name(&lookup).await.as_deref(), Ok("x"));
    session.answer("SET search_path = shop").await;
    assert_eq!(name(&lookup).await.as_deref(), Ok("of shop"));
    session.answer("SET search_path = docs").await;
    assert_eq!(name(&lookup).await.unwrap_err().code, "42703", "documents have no id");
    session.answer("SET search_path = shop").await;
    for setting in ["off", "on"] {
        session.answer(&format!("SET tributary.fast_path = {setting}")).await;
        assert_eq!(name(&lookup).await.as_deref(), Ok("of shop"));
    }

    // A further column changes nothing; another type is noticed by the server itself, then by discovery.
    writer.execute("ALTER TABLE item ADD COLUMN later int").await.unwrap();
    assert_eq!(name(&lookup).await.as_deref(), Ok("of shop"));
    writer.execute("ALTER TABLE item ALTER COLUMN name TYPE varchar(50)").await.unwrap();
    let failure = name(&lookup).await.unwrap_err();
    assert_eq!(failure.code, "HV000", "{failure:?}");
    eventually("the refresh", async || {
        let known = session.rows("SELECT atttypid::int FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid WHERE attname = 'name' AND relname = 'item' AND relnamespace = 'shop'::regnamespace").await;
        (known.ok()?.first()? == "1043").then_some(())
    })
    .await;
    writer.execute("ALTER TABLE item ADD COLUMN seen int").await.unwrap();
    let failure = name(&lookup).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("0A000", "cached plan must not change result type"));
    // The refusal has the store looked at again, which must be over before the next change.
    eventually("the refresh after the refusal", async || {
        let known = session.rows("SELECT 1 FROM pg_attribute WHERE attname = 'seen'").await;
        (!known.ok()?.is_empty()).then_some(())
    })
    .await;
    let lookup = session.prepare(sql).await.unwrap();
    assert_eq!(name(&lookup).await.as_deref(), Ok("of shop"));
    writer.execute("ALTER TABLE item ALTER COLUMN name TYPE int USING 7").await.unwrap();
    assert_eq!(name(&lookup).await.unwrap_err().code, "HV000");
    session.answer("CALL tributary.refresh('shop')").await;
    let lookup = session.prepare(sql).await.unwrap();
    assert_eq!(session.query_one(&lookup, &[&1_i32]).await.unwrap().get::<_, i32>(0), 7);
    writer.execute("DROP TABLE item").await.unwrap();
    assert_eq!(Failure::of(session.query_one(&lookup, &[&1_i32]).await.unwrap_err()).code, "HV000");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_serves_again_when_its_column_is_as_it_was() {
    let place = Place::new();
    let (server, database) = stage(&place).await;
    let mut writer = proxy::direct(support::postgres().await, &database).await;
    let session = proxy::connect(&server, OWNER).await;
    let lookup = session.prepare("SELECT name FROM shop.item WHERE id = $1").await.unwrap();
    let planned = session.prepare("SELECT name FROM shop.item WHERE id + 0 = $1").await.unwrap();
    let name = async |statement: &Statement| {
        session.query_one(statement, &[&1_i32]).await.map(|row| row.get::<_, String>(0)).map_err(Failure::of)
    };
    assert_eq!(name(&lookup).await.as_deref(), Ok("x"));
    writer.execute("ALTER TABLE item ALTER COLUMN name TYPE varchar(50)").await.unwrap();
    session.answer("CALL tributary.refresh('shop')").await;
    for statement in [&lookup, &planned] {
        assert_eq!(name(statement).await.unwrap_err().code, "0A000");
    }
    // Nothing reads the table any more and nobody asks for a refresh: being refused does.
    writer.execute("ALTER TABLE item ALTER COLUMN name TYPE text").await.unwrap();
    for statement in [&lookup, &planned] {
        eventually("the return of the statement", async || match name(statement).await {
            Ok(name) => {
                assert_eq!(name, "x");
                Some(())
            }
            Err(failure) => {
                assert_eq!(failure.code, "0A000", "{failure:?}");
                None
            }
        })
        .await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_that_waits_can_be_stopped() {
    let place = Place::new();
    let (server, database) = stage(&place).await;
    let postgres = support::postgres().await;
    let mut locker = proxy::direct(postgres, &database).await;
    let session = proxy::connect(&server, OWNER).await;
    let lookup = session.prepare("SELECT name FROM shop.item WHERE id = $1").await.unwrap();
    session.query_one(&lookup, &[&1_i32]).await.unwrap();
    locker.execute("BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut observer = proxy::direct(postgres, "postgres").await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'";
    let mut count = async || sqlx::query_scalar::<_, i64>(waiting).bind(&database).fetch_one(&mut observer).await.unwrap();
    let cancel = async {
        eventually("the wait", async || (count().await == 1).then_some(())).await;
        session.cancel().await;
    };
    let (stopped, ()) = tokio::join!(session.query_one(&lookup, &[&1_i32]), cancel);
    assert_eq!(Failure::of(stopped.unwrap_err()).code, "57014");
    eventually("the end of the wait", async || (count().await == 0).then_some(())).await;
    session.answer("SET statement_timeout = '200ms'").await;
    assert_eq!(Failure::of(session.query_one(&lookup, &[&1_i32]).await.unwrap_err()).code, "57014");
    eventually("the end of the wait", async || (count().await == 0).then_some(())).await;
    locker.execute("COMMIT").await.unwrap();
    session.answer("RESET statement_timeout").await;
    for id in [1_i32, 2, 4] {
        assert!(session.query_opt(&lookup, &[&id]).await.unwrap().is_some());
    }
    server.stop().await;
}
