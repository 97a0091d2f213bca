//! The private servers themselves: set up as promised, gone when their holder is gone.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Row};
use tributary::config::environment;
use tributary::sandbox::{MariaDb, Mongo, Nats, Postgres};

use crate::support::{self, throwaway};

#[tokio::test]
async fn postgres_is_set_up_for_logical_replication_and_ends_when_dropped() {
    let server = Postgres::start_with(&throwaway()).await.unwrap();
    let database = server.fresh_database().await.unwrap();
    let options = PgConnectOptions::new_without_pgpass().host(server.host()).port(server.port()).username(server.user());
    let mut connection =
        PgConnection::connect_with(&options.clone().password(server.password()).database(&database)).await.unwrap();
    for (setting, expected) in
        [("wal_level", "logical"), ("max_prepared_transactions", "64"), ("fsync", "off"), ("ssl", "off"), ("lc_collate", "C")]
    {
        let found: String =
            sqlx::query_scalar("SELECT current_setting($1)").bind(setting).fetch_one(&mut connection).await.unwrap();
        assert_eq!(found, expected, "{setting}");
    }
    let wrong = PgConnection::connect_with(&options.password("wrong").database(&database)).await.unwrap_err();
    assert!(wrong.to_string().contains("password authentication failed"), "{wrong}");
    let process = server.process_id().unwrap();
    assert!(is_alive(process));
    drop(server);
    assert!(!is_alive(process));
}

#[tokio::test]
async fn mariadb_writes_full_row_images_and_ends_when_dropped() {
    let server = MariaDb::start_with(&throwaway()).await.unwrap();
    let database = server.fresh_database().await.unwrap();
    let options = MySqlConnectOptions::new().host(server.host()).port(server.port()).database(&database);
    let login = options.clone().username(server.user()).password(server.password());
    let mut connection = MySqlConnection::connect_with(&login).await.unwrap();
    let row = sqlx::query("SELECT @@log_bin, @@binlog_format, @@binlog_row_image, @@binlog_row_metadata")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let words = [row.get::<String, _>(1), row.get::<String, _>(2), row.get::<String, _>(3)];
    assert_eq!(row.get::<i64, _>(0), 1);
    assert_eq!(words, ["ROW", "FULL", "FULL"]);
    // In a shared directory, another server's start removes the temporary tables of this one.
    let tmpdir: String = sqlx::query_scalar("SELECT @@tmpdir").fetch_one(&mut connection).await.unwrap();
    assert!(tmpdir.contains("/tributary-mariadb-"), "{tmpdir}");
    assert!(MySqlConnection::connect_with(&options.username("root").password("")).await.is_err());
    let process = server.process_id().unwrap();
    drop(server);
    assert!(!is_alive(process));
}

#[tokio::test]
async fn mongodb_is_a_primary_with_passwords_and_ends_when_dropped() {
    let server = Mongo::start_with(&throwaway()).await.unwrap();
    let database = server.fresh_database().await.unwrap();
    let open = async |login: &str| {
        let url = format!("mongodb://{login}{}:{}/?serverSelectionTimeoutMS=5000", server.host(), server.port());
        mongodb::Client::with_uri_str(url).await.unwrap()
    };
    let client = open(&format!("{}:{}@", server.user(), server.password())).await;
    let hello = client.database("admin").run_command(doc! { "hello": 1 }).await.unwrap();
    assert_eq!(hello.get_str("setName").unwrap(), server.replica_set());
    assert!(hello.get_bool("isWritablePrimary").unwrap());
    let numbers = client.database(&database).collection("numbers");
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    numbers.insert_one(doc! { "n": 1 }).session(&mut session).await.unwrap();
    session.commit_transaction().await.unwrap();
    assert_eq!(numbers.count_documents(doc! {}).await.unwrap(), 1);
    let stranger = open("").await;
    assert!(stranger.database(&database).collection::<mongodb::bson::Document>("numbers").find_one(doc! {}).await.is_err());
    let process = server.process_id().unwrap();
    drop(server);
    assert!(!is_alive(process));
}

#[tokio::test]
async fn shared_postgres_gives_each_test_its_own_database() {
    let server = support::postgres().await;
    assert_ne!(server.fresh_database().await.unwrap(), server.fresh_database().await.unwrap());
}

#[tokio::test]
async fn shared_mariadb_gives_each_test_its_own_database() {
    let server = support::mariadb().await;
    assert_ne!(server.fresh_database().await.unwrap(), server.fresh_database().await.unwrap());
    #[cfg(feature = "test_mysql")]
    if let Some(server) = support::mysql() {
        assert_ne!(server.fresh_database().await.unwrap(), server.fresh_database().await.unwrap());
    }
}

#[tokio::test]
async fn shared_mongodb_gives_each_test_its_own_database() {
    let server = support::mongodb().await;
    assert_ne!(server.fresh_database().await.unwrap(), server.fresh_database().await.unwrap());
}

#[tokio::test]
async fn a_killed_postgres_has_what_it_committed_when_it_starts_again() {
    let mut server = Postgres::start().await.unwrap();
    let (port, first) = (server.port(), server.process_id().unwrap());
    let mut connection = PgConnection::connect_with(&server.postgres_options()).await.unwrap();
    for sql in ["CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)", "BEGIN", "INSERT INTO kept VALUES (8)"] {
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
    server.kill().await.unwrap();
    assert!(!is_alive(first));
    assert!(sqlx::query("SELECT 1").execute(&mut connection).await.is_err());
    server.kill().await.unwrap();
    server.again().await.unwrap();
    assert!(server.port() == port && server.process_id().unwrap() != first);
    let mut connection = PgConnection::connect_with(&server.postgres_options()).await.unwrap();
    let kept: Vec<i32> = sqlx::query_scalar("SELECT n FROM kept").fetch_all(&mut connection).await.unwrap();
    assert_eq!(kept, [7]);
    // One that runs is killed first.
    let second = server.process_id().unwrap();
    server.again().await.unwrap();
    assert!(!is_alive(second) && is_alive(server.process_id().unwrap()));
    let last = server.process_id().unwrap();
    drop(server);
    assert!(!is_alive(last));
}

#[tokio::test]
async fn a_killed_mariadb_has_what_it_committed_when_it_starts_again() {
    let mut server = MariaDb::start().await.unwrap();
    let mut connection = MySqlConnection::connect_with(&server.mysql_options()).await.unwrap();
    for sql in ["CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)", "BEGIN", "INSERT INTO kept VALUES (8)"] {
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }
    server.kill().await.unwrap();
    server.again().await.unwrap();
    let mut connection = MySqlConnection::connect_with(&server.mysql_options()).await.unwrap();
    let kept: Vec<i32> = sqlx::query_scalar("SELECT n FROM kept").fetch_all(&mut connection).await.unwrap();
    assert_eq!(kept, [7]);
}

#[tokio::test]
async fn a_killed_mongodb_has_what_it_committed_and_is_primary_when_it_starts_again() {
    let mut server = Mongo::start().await.unwrap();
    let url = format!("mongodb://{}:{}@{}:{}", server.user(), server.password(), server.host(), server.port());
    let client = mongodb::Client::with_uri_str(&url).await.unwrap();
    client.database("kept").collection("numbers").insert_one(doc! { "_id": 7 }).await.unwrap();
    server.kill().await.unwrap();
    server.again().await.unwrap();
    let client = mongodb::Client::with_uri_str(&url).await.unwrap();
    let numbers = client.database("kept").collection::<mongodb::bson::Document>("numbers");
    numbers.insert_one(doc! { "_id": 8 }).await.unwrap();
    assert_eq!(numbers.count_documents(doc! {}).await.unwrap(), 2);
}

/// Says to the second process of the next test that it is one.
const VICTIM: &str = "TRIBUTARY_TEST_VICTIM";

#[tokio::test]
async fn postgres_and_nats_answer_while_their_holder_lives() {
    let postgres = Postgres::start_with(&throwaway()).await.unwrap();
    let nats = Nats::start().await.unwrap();
    let processes = [postgres.process_id().unwrap(), nats.process_id().unwrap()];
    assert!(processes.into_iter().all(is_alive));
    if environment::variable(VICTIM).is_some() {
        eprintln!("holding {} {}", processes[0], processes[1]);
        // Ends with the pipe, so that a failed parent leaves nothing behind.
        std::io::stdin().lines().count();
    }
}

#[test]
fn postgres_and_nats_end_when_their_holder_is_killed() {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sandbox::postgres_and_nats_answer_while_their_holder_lives", "--nocapture"])
        .env(VICTIM, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(holder.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = said.into_iter().find(|line| line.contains("holding")).unwrap();
    let processes: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(processes.len(), 2, "{line}");
    assert!(processes.iter().copied().all(is_alive));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let started = Instant::now();
    while processes.iter().copied().any(is_alive) {
        assert!(started.elapsed() < Duration::from_secs(20), "servers {processes:?} outlived their holder");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_alive(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}
