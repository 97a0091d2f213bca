//! What the server remembers over a restart: document schemas and object ids.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tempfile::TempDir;
use tributary::catalog::RelationBody;
use tributary::config;
use tributary::config::state::StateError;
use tributary::server::{Server, ServerError};

/// A catalog directory with one SQLite store, `shop`, whose table `d` has a document in `doc`.
struct Place {
    directory: TempDir,
    writer: SqliteConnection,
}

impl Place {
    async fn new(sql: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::create_dir(path.join("stores")).unwrap();
        let settings = "listen = \"127.0.0.1:0\"\nhttp.listen = \"off\"\nauth.trust = true\n[roles.ada]\n";
        std::fs::write(path.join("tributary.toml"), settings).unwrap();
        std::fs::write(path.join("stores/shop.toml"), "kind = \"sqlite\"\npath = \"shop.db\"\n[tables.d]\ndocument = \"doc\"\n")
            .unwrap();
        let mut writer =
            SqliteConnectOptions::new().filename(path.join("shop.db")).create_if_missing(true).connect().await.unwrap();
        writer.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
        Self { directory, writer }
    }

    async fn run(&mut self, sql: &str) {
        self.writer.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(".state").join(name)
    }

    fn kept(&self, name: &str) -> serde_json::Value {
        let text = std::fs::read_to_string(self.file(name)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["content"].take()
    }

    fn keep(&self, name: &str, content: &serde_json::Value) {
        std::fs::write(self.file(name), serde_json::json!({"format": 1, "content": content}).to_string()).unwrap();
    }

    /// The version that is kept of the table's document schema.
    fn version(&self) -> u64 {
        self.kept("document_schemas.json")["shop"]["schemas"][0]["schema"]["version"].as_u64().unwrap()
    }
}

async fn start(directory: &Path) -> Result<Server, ServerError> {
    Server::start(config::load(directory).unwrap()).await
}

/// The columns of `shop.d` with their types, and its object id.
fn described(server: &Server) -> (Vec<String>, u32) {
    let snapshot = server.catalog().snapshot();
    let relation = &snapshot.schemas["shop"].relations["d"];
    let RelationBody::Stored { table, .. } = &relation.body else { panic!("not a stored table") };
    (table.columns.iter().map(|column| format!("{} {}", column.name(), column.pg_type())).collect(), relation.oid)
}

#[tokio::test]
async fn document_schemas_only_widen_over_restarts() {
    let mut place = Place::new("CREATE TABLE d (doc JSON); INSERT INTO d VALUES ('{\"n\": 1, \"once\": true}')").await;
    let path = place.directory.path().to_owned();
    let server = start(&path).await.unwrap();
    assert_eq!(described(&server).0, ["n bigint", "once boolean"]);
    server.stop().await;
    assert_eq!(place.version(), 1);

    place.run("DELETE FROM d; INSERT INTO d VALUES ('{\"n\": 2}')").await;
    let server = start(&path).await.unwrap();
    assert_eq!(described(&server).0, ["n bigint", "once boolean"]);
    // New connectors of the same process start from the same.
    place.run("INSERT INTO d VALUES ('{\"n\": 2.5}')").await;
    server.reload().await.unwrap();
    assert_eq!(described(&server).0, ["n double precision", "once boolean"]);
    server.stop().await;
    assert_eq!(place.version(), 2);

    place.run("DELETE FROM d; INSERT INTO d VALUES ('{\"n\": 3}')").await;
    let server = start(&path).await.unwrap();
    assert_eq!(described(&server).0, ["n double precision", "once boolean"]);
    server.stop().await;
    assert_eq!(place.version(), 2);

    place.run("DROP TABLE d").await;
    start(&path).await.unwrap().stop().await;
    assert_eq!(place.kept("document_schemas.json"), serde_json::json!({}));
}

#[tokio::test]
async fn a_refresh_is_written_while_the_server_runs() {
    let mut place = Place::new("CREATE TABLE d (doc JSON); INSERT INTO d VALUES ('{\"n\": 1}')").await;
    let path = place.directory.path().to_owned();
    let server = start(&path).await.unwrap();
    place.run("INSERT INTO d VALUES ('{\"n\": \"text\"}')").await;
    server.catalog().refresh(&tributary::stores::StoreName::new("shop")).await.unwrap();
    let written = async {
        while place.version() != 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), written).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn what_another_kind_of_store_has_learnt_is_not_taken_over() {
    let place = Place::new("CREATE TABLE d (doc JSON); INSERT INTO d VALUES ('{\"n\": 1, \"once\": true}')").await;
    let path = place.directory.path();
    start(path).await.unwrap().stop().await;
    let mut kept = place.kept("document_schemas.json");
    kept["shop"]["kind"] = "mongodb".into();
    kept["shop"]["schemas"] = "in another form".into();
    place.keep("document_schemas.json", &kept);
    let server = start(path).await.unwrap();
    assert_eq!(described(&server).0, ["n bigint", "once boolean"]);
    server.stop().await;
    assert_eq!(place.kept("document_schemas.json")["shop"]["kind"], "sqlite");
}

#[tokio::test]
async fn object_ids_stay_with_their_objects_and_go_with_their_store() {
    let mut place = Place::new("CREATE TABLE d (doc JSON); CREATE TABLE e (id INTEGER PRIMARY KEY)").await;
    let path = place.directory.path().to_owned();
    let server = start(&path).await.unwrap();
    let hashed = described(&server).1;
    server.stop().await;
    // As if the hash had met another object's when the table was first seen.
    let mut kept = place.kept("oids.json");
    assert_eq!(kept["shop"]["relation\0shop\0d"], hashed);
    kept["shop"]["relation\0shop\0d"] = 20_000.into();
    place.keep("oids.json", &kept);
    let server = start(&path).await.unwrap();
    assert_eq!(described(&server).1, 20_000);
    server.stop().await;
    // The table goes and comes back.
    place.run("DROP TABLE d").await;
    start(&path).await.unwrap().stop().await;
    place.run("CREATE TABLE d (doc JSON)").await;
    let server = start(&path).await.unwrap();
    assert_eq!(described(&server).1, 20_000);
    server.stop().await;
    std::fs::remove_file(path.join("stores/shop.toml")).unwrap();
    start(&path).await.unwrap().stop().await;
    assert!(place.kept("oids.json").get("shop").is_none());
}

#[tokio::test]
async fn damaged_state_is_told_with_its_file() {
    let place = Place::new("CREATE TABLE d (doc JSON); INSERT INTO d VALUES ('{\"n\": 1}')").await;
    let path = place.directory.path();
    start(path).await.unwrap().stop().await;
    let sound = place.kept("document_schemas.json");
    for name in ["document_schemas.json", "oids.json"] {
        let before = std::fs::read(place.file(name)).unwrap();
        std::fs::write(place.file(name), "{\"format\": 1, \"content\"").unwrap();
        let error = start(path).await.unwrap_err();
        assert!(matches!(error, ServerError::State(StateError::Damaged { .. })), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        std::fs::write(place.file(name), before).unwrap();
    }
    let mut wrong = sound.clone();
    wrong["shop"]["schemas"] = serde_json::json!([{"namespace": "main"}]);
    place.keep("document_schemas.json", &wrong);
    let error = start(path).await.unwrap_err().to_string();
    assert!(error.contains("document_schemas.json is damaged: store \"shop\": missing field"), "{error}");
    place.keep("document_schemas.json", &sound);
    start(path).await.unwrap().stop().await;
}
