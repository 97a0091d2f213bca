//! Prepared statements over several stores: with a plan for all values of their parameters they answer what they answer with one for
//! each, are planned no more once that is known, and are planned anew when what they stand on has changed.

use std::net::SocketAddr;

use mongodb::bson::doc;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tributary::server::Server;

use super::eventually;
use super::watching::{number, observed};
use crate::support;
use crate::support::proxy::{self, Failure, OWNER, Place, Session};

const POSTGRES: &str = "CREATE TABLE customer (id int PRIMARY KEY, name text, tier int, since timestamptz, worth numeric(10, 2), marks int[]);
    INSERT INTO customer VALUES (1, 'Ada', 1, '2020-01-01 00:00+00', 10.50, '{1,2}'), (2, 'ada', 2, NULL, NULL, '{}'),
        (3, NULL, NULL, 'infinity', 0, NULL), (4, 'O''Brien', 1, '2024-02-29 12:00+00', -1, '{NULL}'), (5, '', 0, '1970-01-01 00:00+00', 99, '{5}');";

const MARIADB: &str =
    "CREATE TABLE purchase (id int PRIMARY KEY, customer int, pieces int, item varchar(20) COLLATE utf8mb4_nopad_bin);
    INSERT INTO purchase VALUES (1, 1, 3, 'lamp'), (2, 1, 1, 'pen'), (3, 2, 7, NULL), (4, 9, 2, 'pen'), (5, 4, NULL, 'lamp');";

const SQLITE: &str = "CREATE TABLE note (id INTEGER PRIMARY KEY, purchase INTEGER, word TEXT);
    INSERT INTO note VALUES (1, 1, 'good'), (2, 1, 'late'), (3, 3, NULL), (4, 5, 'good');";

async fn stage(place: &Place) -> (Server, String) {
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, POSTGRES).await;
    place.postgres("shop", postgres, &database, "");
    let mariadb = support::mariadb().await;
    let name = mariadb.fresh_database().await.unwrap();
    let options = MySqlConnectOptions::new().host(mariadb.host()).port(mariadb.port()).database(&name);
    let options = options.username(mariadb.user()).password(mariadb.password());
    let mut connection = MySqlConnection::connect_with(&options).await.unwrap();
    connection.execute(AssertSqlSafe(MARIADB.to_owned())).await.unwrap();
    place.mariadb("crew", mariadb, &name, "");
    place.sqlite("notes", SQLITE).await;
    let mongo = support::mongodb().await;
    let name = mongo.fresh_database().await.unwrap();
    let url = format!("mongodb://{}:{}@{}:{}", mongo.user(), mongo.password(), mongo.host(), mongo.port());
    let visits = mongodb::Client::with_uri_str(url).await.unwrap().database(&name).collection("visit");
    let documents = [
        doc! { "_id": 1, "customer": 1, "mood": "happy", "place": { "city": "Oslo" } },
        doc! { "_id": 2, "customer": 2, "mood": "sad" },
        doc! { "_id": 3, "customer": 1 },
    ];
    visits.insert_many(documents).await.unwrap();
    place.mongodb("docs", mongo, &name, "on_mismatch = \"null\"\n");
    (place.serve().await, database)
}

/// Statements, and arguments of their executions.
const STATEMENTS: &[(&str, &[&str])] = &[
    ("SELECT id, name FROM shop.customer WHERE tier = $1 OR name = $2", &["1, 'ada'", "NULL, 'ada'", "NULL, NULL", "7, ''"]),
    ("SELECT id FROM shop.customer WHERE worth > $1", &["0", "-1.005", "NULL", "'NaN'", "1e20"]),
    ("SELECT id FROM shop.customer WHERE since < $1", &["'2024-02-29 12:00:00.000001+00'", "'infinity'", "NULL"]),
    ("SELECT id FROM shop.customer WHERE id = ANY ($1)", &["'{1,3,NULL}'", "'{}'", "NULL"]),
    ("SELECT id FROM shop.customer WHERE marks @> $1", &["'{1}'", "'{}'", "NULL"]),
    ("SELECT id FROM shop.customer WHERE name LIKE $1", &["'A%'", "'%'", "''", "NULL", "'a\\'"]),
    ("SELECT id FROM shop.customer WHERE ($1::int IS NULL OR tier = $1)", &["1", "NULL"]),
    ("SELECT id FROM shop.customer WHERE $1::boolean", &["true", "false", "NULL"]),
    ("SELECT id FROM shop.customer ORDER BY id LIMIT $1", &["2", "0", "NULL", "-1"]),
    ("SELECT id FROM crew.purchase ORDER BY id LIMIT $1 OFFSET $2", &["2, 1", "NULL, 3", "2, -1"]),
    ("SELECT _id FROM docs.visit WHERE mood = $1", &["'happy'", "NULL", "''"]),
    ("SELECT _id, place->>$1 AS a FROM docs.visit", &["'city'", "'none'", "NULL"]),
    ("SELECT id FROM notes.note WHERE word = $1 OR purchase > $2", &["'good', 2", "NULL, NULL"]),
    ("SELECT id, 10 / $1 AS a FROM shop.customer WHERE id > $2", &["3, 2", "0, 2", "NULL, 4"]),
    ("SELECT tier + $1 AS k, count(*) AS n FROM shop.customer GROUP BY tier + $1", &["1", "NULL"]),
    ("SELECT DISTINCT tier * $1 AS k FROM shop.customer", &["0", "2"]),
    ("SELECT c.name, p.item FROM shop.customer c JOIN crew.purchase p ON p.customer = c.id WHERE c.id = $1", &["1", "NULL", "9"]),
    (
        "SELECT c.id, p.id AS p FROM shop.customer c LEFT JOIN crew.purchase p ON p.customer = c.id AND p.pieces > $1 WHERE c.tier < $2",
        &["1, 3", "NULL, 3", "1, NULL"],
    ),
    (
        "SELECT c.id, n.word, v.mood FROM shop.customer c JOIN crew.purchase p ON p.customer = c.id \
         JOIN notes.note n ON n.purchase = p.id LEFT JOIN docs.visit v ON v.customer = c.id AND v.mood <> $1 WHERE p.pieces >= $2",
        &["'sad', 0", "'happy', 3", "NULL, 3", "'sad', NULL"],
    ),
    (
        "SELECT c.name, sum(p.pieces + $1) AS s FROM shop.customer c JOIN crew.purchase p ON p.customer = c.id \
         GROUP BY c.name HAVING count(*) >= $2",
        &["1, 1", "0, 2", "NULL, 0"],
    ),
    ("SELECT id FROM shop.customer WHERE id IN (SELECT customer FROM crew.purchase WHERE pieces > $1)", &["1", "NULL"]),
    ("SELECT id FROM shop.customer WHERE since < now() - $1::interval", &["'1 day'", "NULL"]),
];

/// Statements in which analysis reads a number of rows: executed with the first values until `auto` has decided, and with others then.
const COUNTED: &[(&str, &str, &str, Result<&str, &str>)] = &[
    (
        "SELECT count(*) FROM shop.customer c WHERE EXISTS (SELECT 1 FROM crew.purchase p WHERE p.customer = c.id LIMIT $1)",
        "1",
        "NULL",
        Ok("3"),
    ),
    (
        "SELECT count(*) FROM shop.customer c CROSS JOIN LATERAL \
         (SELECT p.id FROM crew.purchase p WHERE p.customer = c.id ORDER BY p.id LIMIT $1 OFFSET $2) s",
        "1, 0",
        "NULL, NULL",
        Ok("4"),
    ),
    ("SELECT lag(id, $1) OVER (ORDER BY id) FROM shop.customer ORDER BY id", "1", "NULL", Ok("~\n~\n~\n~\n~")),
    ("SELECT ntile($1) OVER (ORDER BY id) FROM shop.customer ORDER BY id", "2", "NULL", Ok("~\n~\n~\n~\n~")),
    ("SELECT ntile($1) OVER (ORDER BY id) FROM shop.customer ORDER BY id", "2", "0", Err("22014")),
    ("SELECT nth_value(id, $1) OVER (ORDER BY id) FROM shop.customer ORDER BY id", "1", "0", Err("22016")),
];

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_rows_mean_the_same_after_many_executions_over_postgres_mariadb_sqlite_and_mongodb() {
    let place = Place::new();
    let (server, _) = stage(&place).await;
    let session = proxy::connect(&server, OWNER).await;
    for mode in ["auto", "force_generic_plan"] {
        session.answer(&format!("SET plan_cache_mode = {mode}")).await;
        for (sql, values, others, wanted) in COUNTED {
            session.answer(&format!("PREPARE p AS {sql}")).await;
            for _ in 0..8 {
                session.answer(&format!("EXECUTE p({values})")).await;
            }
            let found = session.rows(&format!("EXECUTE p({others})")).await;
            let found = found.map(|rows| rows.join("\n")).map_err(|failure| failure.code);
            assert_eq!(found, wanted.map(str::to_owned).map_err(str::to_owned), "{mode}: {sql} ({others})");
            session.answer("DEALLOCATE p").await;
        }
    }
    server.stop().await;
}

/// What an execution gives: rows in any order, or what it fails with.
async fn executed(session: &Session, values: &str) -> Result<Vec<String>, Failure> {
    let mut rows = session.rows(&format!("EXECUTE p({values})")).await?;
    rows.sort();
    Ok(rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_plan_for_all_values_answers_the_same_over_postgres_mariadb_sqlite_and_mongodb() {
    let place = Place::new();
    let (server, _) = stage(&place).await;
    let (custom, generic) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, OWNER).await);
    for (session, mode) in [(&custom, "force_custom_plan"), (&generic, "force_generic_plan")] {
        session.answer(&format!("SET plan_cache_mode = {mode}; SET tributary.fast_path = off")).await;
        assert_eq!(session.answer("SHOW plan_cache_mode").await, mode);
    }
    assert_eq!(custom.failure("SET plan_cache_mode = sometimes").await.code, "22023");
    let mut different = Vec::new();
    for (sql, rounds) in STATEMENTS {
        for session in [&custom, &generic] {
            session.answer(&format!("PREPARE p AS {sql}")).await;
        }
        for values in *rounds {
            let (wanted, found) = (executed(&custom, values).await, executed(&generic, values).await);
            if found != wanted {
                different.push(format!("{sql} ({values})\n  for all {found:?}\n  for one {wanted:?}"));
            }
            if values.contains("-1") && sql.contains("$1") && sql.contains("LIMIT") {
                let code = if sql.contains("OFFSET") { "2201X" } else { "2201W" };
                assert_eq!(found.map_err(|failure| failure.code), Err(code.to_owned()), "{sql} ({values})");
            }
        }
        for session in [&custom, &generic] {
            session.answer("DEALLOCATE p").await;
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    server.stop().await;
}

/// Analyses, optimisations, physical plans, bindings since the server started.
async fn steps(http: SocketAddr) -> [u64; 4] {
    let mut counted = [0; 4];
    for (place, step) in ["analysis", "optimisation", "physical", "bind"].into_iter().enumerate() {
        counted[place] = number(http, &format!("tributary_planning_steps_total{{step=\"{step}\"}}")).await;
    }
    counted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_over_postgres_mariadb_and_mongodb_is_planned_no_more_until_something_changes() {
    let place = observed();
    let (server, database) = stage(&place).await;
    let http = server.http_address().unwrap();
    let session = proxy::connect(&server, OWNER).await;
    let sql = "SELECT p.id, c.name FROM shop.customer c JOIN crew.purchase p ON p.customer = c.id \
               JOIN docs.visit v ON v.customer = c.id WHERE c.id = $1 AND p.pieces > $2";
    let prepared = session.prepare(sql).await.unwrap();
    let count =
        async |customer: Option<i32>, pieces: Option<i32>| session.query(&prepared, &[&customer, &pieces]).await.unwrap().len();
    // Two purchases with two visits each.
    for _ in 0..5 {
        let before = steps(http).await;
        assert_eq!(count(Some(1), Some(0)).await, 4);
        let now = steps(http).await;
        assert!(now[0] > before[0] && now[1] > before[1], "{before:?} {now:?}");
    }
    for (customer, pieces, rows) in [(1, 0, 4), (1, 1, 2), (1, 9, 0), (2, 0, 1), (9, 0, 0)] {
        let [analysis, optimisation, physical, bind] = steps(http).await;
        assert_eq!(count(Some(customer), Some(pieces)).await, rows);
        assert_eq!(steps(http).await, [analysis, optimisation, physical + 1, bind + 1], "{customer} {pieces}");
    }
    assert_eq!(count(None, Some(0)).await, 0);
    assert_eq!(count(Some(1), None).await, 0);

    // A session with the same role and settings shares it, another setting that no result depends on too.
    let other = proxy::connect(&server, OWNER).await;
    other.answer("SET statement_timeout = '1min'").await;
    let same = other.prepare(sql).await.unwrap();
    let [analysis, optimisation, physical, bind] = steps(http).await;
    assert_eq!(other.query(&same, &[&1_i32, &0_i32]).await.unwrap().len(), 4);
    assert_eq!(steps(http).await, [analysis, optimisation, physical + 1, bind + 1]);

    // A setting that results may depend on, a mode, and a table that has changed plan anew.
    session.answer("SET TimeZone = 'Asia/Tokyo'").await;
    let before = steps(http).await;
    assert_eq!(count(Some(1), Some(0)).await, 4);
    let now = steps(http).await;
    assert!(now[0] > before[0] && now[1] > before[1] && now[3] == before[3], "{before:?} {now:?}");
    session.answer("RESET TimeZone").await;
    session.answer("SET plan_cache_mode = force_custom_plan").await;
    let before = steps(http).await;
    assert_eq!(count(Some(1), Some(1)).await, 2);
    let now = steps(http).await;
    assert!(now[1] == before[1] + 1 && now[3] == before[3], "{before:?} {now:?}");
    session.answer("RESET plan_cache_mode").await;
    let mut writer = proxy::direct(support::postgres().await, &database).await;
    writer.execute("ALTER TABLE customer ADD COLUMN extra int; UPDATE customer SET id = 7 WHERE id = 2").await.unwrap();
    session.answer("CALL tributary.refresh('shop')").await;
    eventually("the refresh", async || {
        let known = "SELECT 1 FROM information_schema.columns WHERE table_schema = 'shop' AND column_name = 'extra'";
        (session.answer(known).await == "1").then_some(())
    })
    .await;
    let before = steps(http).await;
    assert_eq!(count(Some(2), Some(0)).await, 0);
    let now = steps(http).await;
    assert!(now[0] > before[0] && now[1] > before[1] && now[3] == before[3], "{before:?} {now:?}");
    assert_eq!(count(Some(1), Some(0)).await, 4);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_for_all_values_keeps_to_the_state_of_its_transaction_over_postgres_mariadb_and_mongodb() {
    let place = Place::new();
    let (server, database) = stage(&place).await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("SET plan_cache_mode = force_generic_plan").await;
    let sql = "SELECT c.name FROM shop.customer c JOIN crew.purchase p ON p.customer = c.id WHERE p.id = $1";
    let prepared = session.prepare(sql).await.unwrap();
    let name = async || session.query_one(&prepared, &[&1_i32]).await.unwrap().get::<_, String>(0);
    let mut writer = proxy::direct(support::postgres().await, &database).await;
    assert_eq!(name().await, "Ada");
    session.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(name().await, "Ada");
    writer.execute("UPDATE customer SET name = 'Lovelace' WHERE id = 1").await.unwrap();
    assert_eq!(name().await, "Ada");
    session.answer("COMMIT").await;
    assert_eq!(name().await, "Lovelace");
    session.answer("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").await;
    let refused = session.query(&prepared, &[&1_i32]).await.map_err(Failure::of);
    assert_eq!(refused.map(|rows| rows.len()).map_err(|failure| failure.code), Err("0A000".to_owned()));
    session.answer("ROLLBACK").await;
    server.stop().await;
}
