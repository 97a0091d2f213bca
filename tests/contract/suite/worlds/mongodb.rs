//! MongoDB's world: a database of its own on the shared replica set.

use async_trait::async_trait;
use bigdecimal::BigDecimal;
use futures::TryStreamExt;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc};
use mongodb::options::{ClientOptions, Credential, IndexOptions, ServerAddress};
use mongodb::{Client, Database, IndexModel};
use tributary::sandbox::Mongo;
use tributary::stores::capture::{Follow, How};
use tributary::stores::value::Value;

use super::super::world::{At, BIG, Deed, Kind, Sample, Tells, Way, World};
use super::relational::follow;
use crate::support;

struct Place {
    server: &'static Mongo,
    client: Client,
    database: Database,
}

/// A database of its own on the shared replica set.
pub async fn start() -> Box<dyn World> {
    let server = support::mongodb().await;
    let credential = Credential::builder()
        .username(server.user().to_owned())
        .password(server.password().to_owned())
        .source("admin".to_owned())
        .build();
    let host = ServerAddress::Tcp { host: server.host().to_owned(), port: Some(server.port()) };
    let options = ClientOptions::builder().hosts(vec![host]).direct_connection(true).credential(credential).build();
    let client = Client::with_options(options).unwrap();
    let database = client.database(&server.fresh_database().await.unwrap());
    Box::new(Place { server, client, database })
}

fn bson(kind: Kind, value: &Value) -> Bson {
    match value {
        Value::Bool(truth) => (*truth).into(),
        Value::Int(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Decimal { unscaled, scale } => {
            let text = BigDecimal::new((*unscaled).into(), i64::from(*scale)).to_plain_string();
            Bson::Decimal128(text.parse().unwrap())
        }
        Value::Text(text) if kind == Kind::Uuid => {
            let bytes = u128::from_str_radix(&text.replace('-', ""), 16).unwrap().to_be_bytes().to_vec();
            Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes })
        }
        Value::Text(text) => text.clone().into(),
        Value::Bytes(bytes) => Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.clone() }),
        Value::TimestampTz(micros) => DateTime::from_millis(micros / 1_000).into(),
        other => panic!("{other:?} is of no kind that this world has"),
    }
}

impl Place {
    async fn fill(&self, table: &str, documents: Vec<Document>) {
        if documents.is_empty() {
            self.database.create_collection(table).await.unwrap();
        } else {
            self.database.collection::<Document>(table).insert_many(documents).await.unwrap();
        }
    }
}

#[async_trait]
impl World for Place {
    fn word(&self) -> &'static str {
        "mongodb"
    }

    fn file(&self, at: At<'_>) -> String {
        format!(
            "hosts = ['{}:{}']\nuser = '{}'\npassword = '{}'\nauth_source = 'admin'\ndirect = true\ndatabase = '{}'\n\
             databases = ['nothing_besides']",
            if at.port.is_some() { "127.0.0.1" } else { self.server.host() },
            at.port.unwrap_or_else(|| self.server.port()),
            self.server.user(),
            at.password.unwrap_or_else(|| self.server.password()),
            self.database.name()
        )
    }

    fn quick(&self) -> &'static str {
        "connect_timeout = '500ms'\nserver_selection_timeout = '500ms'"
    }

    async fn way(&self) -> Way {
        Way::to(self.server.host(), self.server.port()).await
    }

    fn namespace(&self) -> String {
        self.database.name().to_owned()
    }

    fn key(&self) -> &'static str {
        "_id"
    }

    fn kinds(&self) -> Vec<Kind> {
        vec![Kind::Bool, Kind::Int, Kind::Float, Kind::Decimal, Kind::Text, Kind::Bytes, Kind::TimestampTz, Kind::Uuid]
    }

    /// Moments have milliseconds.
    fn holds(&self, _kind: Kind, value: &Value) -> bool {
        !matches!(value, Value::TimestampTz(micros) if micros % 1_000 != 0)
    }

    fn tells(&self) -> Tells {
        Tells {
            not_null: false,
            defaults: false,
            comments: false,
            foreign_keys: false,
            columns: false,
            scans_hold_connections: false,
            ends_readers: false,
            serializable: false,
            savepoints: false,
        }
    }

    /// NULLs are fields that are not there.
    async fn make(&self, sample: &Sample) {
        let documents = sample.rows.iter().zip(1_i64..).map(|(row, key)| {
            let mut document = doc! { "_id": key };
            for (cell, (name, kind)) in row.iter().zip(&sample.columns) {
                if let Some(value) = cell {
                    document.insert(name, bson(*kind, value));
                }
            }
            document
        });
        self.fill(&sample.table, documents.collect()).await;
    }

    async fn make_big(&self) {
        let filler = "x".repeat(1_000);
        for start in (0..BIG).step_by(5_000) {
            let keys = start + 1..=start + 5_000;
            let documents = keys.map(|key| doc! { "_id": i64::try_from(key).unwrap(), "filler": &filler });
            self.fill("big", documents.collect()).await;
        }
    }

    async fn make_slow(&self) -> String {
        self.fill("sleeper", (0..3_000).map(|number| doc! { "_id": number }).collect()).await;
        let nap = doc! { "$function": { "body": "function() { sleep(50); return 1; }", "args": [], "lang": "js" } };
        let view = self.database.create_collection("slow").view_on("sleeper").pipeline(vec![doc! { "$set": { "x": nap } }]);
        view.await.unwrap();
        "[collections.slow]\nsample = 0\n[collections.slow.columns]\nx = 'bigint'".to_owned()
    }

    async fn make_library(&self) {
        let authors = [("Čapek", Bson::Null), ("Woolf", "x".into()), ("Borges", "y".into())];
        let authors = authors.into_iter().zip(1_i64..).map(|((name, note), key)| doc! { "_id": key, "name": name, "note": note });
        self.fill("author", authors.collect()).await;
        let books = [(1_i64, "R.U.R."), (2, "Orlando"), (3, "Ficciones")];
        let books = books.into_iter().map(|(key, title)| doc! { "_id": key, "author": key, "title": title });
        self.fill("book", books.chain([doc! { "_id": 4_i64, "author": Bson::Null, "title": Bson::Null }]).collect()).await;
        for (table, column, name, unique) in [("author", "name", "author_name", true), ("book", "title", "by_title", false)] {
            let options = IndexOptions::builder().unique(unique).name(name.to_owned()).build();
            let index = IndexModel::builder().keys(doc! { column: 1 }).options(options).build();
            self.database.collection::<Document>(table).create_index(index).await.unwrap();
        }
        let only_title = vec![doc! { "$project": { "_id": 0, "title": 1 } }];
        self.database.create_collection("titles").view_on("book").pipeline(only_title).await.unwrap();
    }

    async fn make_documents(&self) -> String {
        let nested = [doc! { "a": 5_i64 }, doc! { "a": 7_i64 }, doc! {}, doc! { "a": Bson::Null }];
        self.fill("docs", nested.into_iter().zip(1_i64..).map(|(o, key)| doc! { "_id": key, "o": o }).collect()).await;
        String::new()
    }

    async fn append(&self, table: &str, key: i64) {
        self.fill(table, vec![doc! { "_id": key }]).await;
    }

    async fn clear(&self, table: &str) {
        self.database.collection::<Document>(table).delete_many(doc! {}).await.unwrap();
    }

    async fn drop_column(&self, _table: &str, column: &str) {
        panic!("collections have no column {column} to drop");
    }

    async fn drop_table(&self, table: &str) {
        self.database.collection::<Document>(table).drop().await.unwrap();
    }

    async fn touch(&self, table: &str, column: &str, key: i64) -> bool {
        let update = doc! { "q": { "_id": key }, "u": { "$inc": { column: 100_i64 } } };
        let command = doc! { "update": table, "updates": [update], "maxTimeMS": 300 };
        match self.database.run_command(command).await {
            Ok(answer) => answer.get_i32("nModified").is_ok_and(|changed| changed == 1),
            Err(error) => {
                assert!(error.to_string().contains("MaxTimeMSExpired"), "{error}");
                false
            }
        }
    }

    async fn hold(&self, table: &str, column: &str, key: i64) -> Box<dyn Send> {
        let mut session = self.client.start_session().await.unwrap();
        session.start_transaction().await.unwrap();
        let held = self.database.collection::<Document>(table);
        held.update_one(doc! { "_id": key }, doc! { "$inc": { column: 1_i64 } }).session(&mut session).await.unwrap();
        Box::new(session)
    }

    /// What is computed of one collection's values, but for bytes, sums of floats and windows; look-ups by the key.
    fn runs(&self, plan: &str) -> Option<bool> {
        let whole = ["group", "distinct", "count", "count distinct", "union", "coalesce", "case"];
        let (name, kind) = plan.split_once(" of ").unwrap_or((plan, ""));
        if name.starts_with("upper") || name.starts_with("lower") || matches!(name, "ilike" | "window" | "scalar subquery") {
            return Some(false);
        }
        if kind == "Float" && matches!(name, "Sum" | "Average") || kind == "Bytes" && name != "count" {
            return Some(false);
        }
        let ordered = matches!(name, "sort" | "top sort") && !kind.starts_with("Bytes");
        let looked_up = ["filtered Inner", "filtered Left", "filtered Semi", "narrowed Anti", "missing rows again"];
        let known = ["having", "filtered aggregate", "top of union", "group of top", "constant of one row", "truth shown"];
        let of_numbers = matches!(kind, "Int" | "Decimal") && matches!(name, "Add" | "Multiply" | "Sum");
        let accepted = whole.contains(&name) || ordered || looked_up.contains(&plan) || known.contains(&plan) || of_numbers;
        accepted.then_some(true)
    }

    /// Operations and idle cursors on any collection of the database.
    fn follow(&self) -> Follow {
        follow(How::Log)
    }

    /// One that is alone and kept is no transaction.
    async fn deeds(&self, table: &str, deeds: &[Deed], is_kept: bool) {
        let mut session = self.client.start_session().await.unwrap();
        let is_transaction = !is_kept || deeds.len() > 1;
        if is_transaction {
            session.start_transaction().await.unwrap();
        }
        let collection = self.database.collection::<Document>(table);
        for deed in deeds {
            match *deed {
                Deed::Insert(key, n) => {
                    collection.insert_one(doc! { "_id": key, "n": n }).session(&mut session).await.unwrap();
                }
                Deed::Update(key, n) => {
                    let set = doc! { "$set": { "n": n } };
                    collection.update_one(doc! { "_id": key }, set).session(&mut session).await.unwrap();
                }
                Deed::Delete(key) => {
                    collection.delete_one(doc! { "_id": key }).session(&mut session).await.unwrap();
                }
                Deed::Move(..) => panic!("keys of documents stay as they are"),
            }
        }
        if is_transaction && is_kept {
            session.commit_transaction().await.unwrap();
        } else if is_transaction {
            session.abort_transaction().await.unwrap();
        }
    }

    fn moves_keys(&self) -> bool {
        false
    }

    async fn add_column(&self, _table: &str, _column: &str) -> bool {
        false
    }

    async fn truncate(&self, _table: &str) -> bool {
        false
    }

    fn leaves_objects(&self) -> bool {
        false
    }

    async fn busy(&self) -> usize {
        let stages = vec![
            doc! { "$currentOp": { "allUsers": true, "idleCursors": true } },
            doc! { "$match": {
                "ns": { "$regex": format!("^{}\\.", self.database.name()) },
                "type": { "$in": ["op", "idleCursor"] },
            } },
        ];
        let cursor = self.client.database("admin").aggregate(stages).await.unwrap();
        cursor.try_collect::<Vec<Document>>().await.unwrap().len()
    }
}
