//! What an account has to be granted: with what the page of the store says its changes come, and with less that is said before a feed
//! begins.

use mongodb::bson::{Bson, Document, doc};
use tributary::stores::capture::Survey;

use super::super::{World, client, parse};
use super::{Stage, WHO, events, follow};
use crate::support;

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/changes/mongodb.md"));

/// A database with a collection, and a store of it, and of another one, by an account that has these roles.
struct Granted {
    stage: Stage,
    user: String,
    other: String,
}

impl Granted {
    async fn new(roles: impl Fn(&str) -> Bson, is_with_other: bool) -> Self {
        let server = support::mongodb().await;
        let name = server.fresh_database().await.unwrap();
        let (user, other) = (format!("reader_of_{name}"), format!("{name}_other"));
        let client = client(server);
        let create = doc! { "createUser": &user, "pwd": "secret", "roles": roles(&name) };
        client.database("admin").run_command(create).await.unwrap();
        client.database(&other).collection::<Document>("notes").insert_one(doc! { "_id": 0 }).await.unwrap();
        let databases = if is_with_other { format!("\"{name}\", \"{other}\"") } else { format!("\"{name}\"") };
        let file = format!(
            "hosts = [\"{}:{}\"]\nuser = \"{user}\"\npassword = \"secret\"\nauth_source = \"admin\"\nreplica_set = \"{}\"\n\
             database = \"{name}\"\ndatabases = [{databases}]\nserver_selection_timeout = \"30s\"\nconnect_timeout = \"30s\"\n",
            server.host(),
            server.port(),
            server.replica_set(),
        );
        let (database, connector) = (client.database(&name), parse(&file).unwrap());
        let stage = Stage::of(World { client, database, connector }, &[("items", doc! { "_id": 0, "a": 1 })]).await;
        Self { stage, user, other }
    }

    async fn survey(&self) -> Survey {
        let tables = self.stage.world.connector.discover().await.unwrap().tables;
        assert!(tables.iter().any(|table| table.id.name == "items"), "{tables:?}");
        self.stage.capture.survey(WHO, &follow(), &tables).await.unwrap()
    }

    async fn grant(&self, roles: Bson) {
        let grant = doc! { "grantRolesToUser": &self.user, "roles": roles };
        self.stage.world.client.database("admin").run_command(grant).await.unwrap();
    }
}

fn read(database: &str) -> Bson {
    Bson::Array(vec![Bson::Document(doc! { "role": "read", "db": database })])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_of_the_page_is_enough() {
    assert!(PAGE.contains("roles: [{ role: \"read\", db: \"shop\" }]"), "the page says otherwise");
    let granted = Granted::new(read, false).await;
    let stage = &granted.stage;
    let items = stage.world.database.collection::<Document>("items");
    let mut feed = stage.feed(None).await;
    items.insert_one(doc! { "_id": 1, "a": 2 }).await.unwrap();
    let (found, groups) = events(&mut feed, 1).await;
    assert_eq!(found, ["insert items 1,2"]);
    feed.close().await;
    items.delete_one(doc! { "_id": 0 }).await.unwrap();
    let mut feed = stage.feed(Some(&groups[0].resume)).await;
    assert_eq!(events(&mut feed, 1).await.0, ["delete items 0,?"]);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_may_only_find_is_refused_before_a_feed_begins() {
    let granted = Granted::new(|_| Bson::Array(Vec::new()), false).await;
    let (role, name) = (format!("finder_of_{}", granted.user), granted.stage.world.database.name().to_owned());
    let finds = doc! {
        "resource": { "db": &name, "collection": "" },
        "actions": ["find", "listCollections", "listIndexes", "collStats", "dbStats"],
    };
    let create = doc! { "createRole": &role, "privileges": [finds], "roles": [] };
    granted.stage.world.client.database("admin").run_command(create).await.unwrap();
    granted.grant(Bson::Array(vec![Bson::String(role)])).await;
    let (reason, mend) = granted.survey().await.refused.expect("it may not open streams");
    assert!(reason.contains("may not open change streams") && mend.contains("the role read"), "{reason} {mend}");
    granted.grant(read(&name)).await;
    assert_eq!(granted.survey().await.refused, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_databases_need_the_role_on_all_of_them() {
    assert!(PAGE.contains("`readAnyDatabase`"), "the page says otherwise");
    let granted = Granted::new(read, true).await;
    granted.grant(read(&granted.other)).await;
    let (reason, mend) = granted.survey().await.refused.expect("it may not open a stream of all databases");
    assert!(reason.contains("may not open change streams") && mend.contains("readAnyDatabase"), "{reason} {mend}");
    granted.grant(Bson::Array(vec![Bson::Document(doc! { "role": "readAnyDatabase", "db": "admin" })])).await;
    assert_eq!(granted.survey().await.refused, None);
    let mut feed = granted.stage.feed(None).await;
    let notes = granted.stage.world.client.database(&granted.other).collection::<Document>("notes");
    notes.insert_one(doc! { "_id": 1 }).await.unwrap();
    assert_eq!(events(&mut feed, 1).await.0, ["insert notes 1"]);
    feed.close().await;
}
