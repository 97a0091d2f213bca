//! Faults of MongoDB's feed, and what is told of each.

use mongodb::Database;
use mongodb::bson::{Document, doc};

use super::eventually;
use super::follow::{barriers, told, until_barrier, until_feed, until_streaming, until_told};
use super::room::{self, LOG, Room};
use crate::commit::stage::mongodb_client;
use crate::support;
use crate::support::gate::Gate;
use crate::support::proxy::Place;

const SHOWN: &str = "op, table_name, key->>'_id', new->>'n', coalesce(unknown::text, '{}')";
const COLUMNS: &str = "sample = 0\n[collections.orders.columns]\n_id = \"bigint\"\nn = \"bigint\"\nnote = \"text\"\n\
    [collections.notes.columns]\n_id = \"bigint\"\nn = \"bigint\"\n";

fn lines(more: &str) -> String {
    format!("{LOG}{more}{COLUMNS}")
}

fn both() -> [(&'static str, Vec<Document>); 2] {
    [("orders", Vec::new()), ("notes", Vec::new())]
}

async fn insert(database: &Database, collection: &str, document: Document) {
    database.collection::<Document>(collection).insert_one(document).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_tell_what_they_set_and_no_more() {
    let (room, database) = room::of_mongodb(&both(), &lines("")).await;
    let orders = database.collection::<Document>("orders");
    insert(&database, "orders", doc! { "_id": 1_i64, "n": 5_i64, "note": "a" }).await;
    orders.update_one(doc! { "_id": 1_i64 }, doc! { "$set": { "n": 6_i64 } }).await.unwrap();
    orders.update_one(doc! { "_id": 1_i64 }, doc! { "$unset": { "n": 1 } }).await.unwrap();
    orders.replace_one(doc! { "_id": 1_i64 }, doc! { "n": 7_i64 }).await.unwrap();
    orders.delete_one(doc! { "_id": 1_i64 }).await.unwrap();
    let rows = until_told(room.session(), ("mongo", SHOWN), 5).await;
    let expected = ["insert|orders|1|5|{}", "update|orders|1|6|{note}", "update|orders|1|~|{note}", "update|orders|1|7|{}"];
    assert_eq!(rows[..4], expected.map(str::to_owned));
    assert!(rows[4].starts_with("delete|orders|1|~|"), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_images_updates_tell_everything() {
    let server = support::mongodb().await;
    let (mut room, database) = room::of_mongodb(&both(), &lines("")).await;
    let images = doc! { "collMod": "orders", "changeStreamPreAndPostImages": { "enabled": true } };
    mongodb_client(server).await.database(database.name()).run_command(images).await.unwrap();
    room.stop().await;
    room.start().await;
    until_streaming(room.session(), "mongo", &["orders"]).await;
    insert(&database, "orders", doc! { "_id": 1_i64, "n": 5_i64, "note": "a" }).await;
    let orders = database.collection::<Document>("orders");
    orders.update_one(doc! { "_id": 1_i64 }, doc! { "$set": { "n": 6_i64 } }).await.unwrap();
    orders.delete_one(doc! { "_id": 1_i64 }).await.unwrap();
    let shown = "op, new->>'n', new->>'note', old->>'n'";
    let rows = until_told(room.session(), ("mongo", shown), 3).await;
    assert_eq!(rows, ["insert|5|a|~", "update|6|a|5", "delete|~|~|6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_one_and_is_not_held_until_somebody_else_writes() {
    let server = support::mongodb().await;
    let (room, database) = room::of_mongodb(&both(), &lines("")).await;
    let client = mongodb_client(server).await;
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let place = client.database(database.name());
    let rows: Vec<Document> = (1..=50_i64).map(|id| doc! { "_id": id, "n": id }).collect();
    place.collection::<Document>("orders").insert_many(&rows).session(&mut session).await.unwrap();
    place.collection::<Document>("notes").insert_one(doc! { "_id": 1_i64, "n": 0_i64 }).session(&mut session).await.unwrap();
    session.commit_transaction().await.unwrap();
    let counted = "SELECT count(*), count(DISTINCT substr(position, 1, 25)), count(DISTINCT transaction) FROM tributary.changes";
    eventually("the transaction", async || (room.session().answer(counted).await == "51|1|1").then_some(())).await;
    // One that is undone is nobody's.
    session.start_transaction().await.unwrap();
    place.collection::<Document>("notes").insert_one(doc! { "_id": 2_i64, "n": 0_i64 }).session(&mut session).await.unwrap();
    session.abort_transaction().await.unwrap();
    insert(&database, "notes", doc! { "_id": 3_i64, "n": 0_i64 }).await;
    let rows = until_told(room.session(), ("mongo", SHOWN), 52).await;
    assert_eq!(rows[51], "insert|notes|3|0|{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_is_dropped_goes_alone() {
    let (room, database) = room::of_mongodb(&both(), &lines("")).await;
    insert(&database, "orders", doc! { "_id": 1_i64, "n": 1_i64 }).await;
    database.collection::<Document>("orders").drop().await.unwrap();
    insert(&database, "notes", doc! { "_id": 1_i64, "n": 2_i64 }).await;
    until_barrier(room.session(), "mongo", &["orders"]).await;
    let last = async || told(room.session(), "mongo", SHOWN).await.pop().filter(|row| row == "insert|notes|1|2|{}");
    eventually("the other collection's change", last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_does_not_fit_stops_its_collection_alone() {
    let (room, database) = room::of_mongodb(&both(), &lines("on_mismatch = \"error\"\n")).await;
    insert(&database, "orders", doc! { "_id": 1_i64, "n": 1_i64 }).await;
    insert(&database, "orders", doc! { "_id": 2_i64, "n": "no number" }).await;
    insert(&database, "notes", doc! { "_id": 1_i64, "n": 2_i64 }).await;
    let reason = until_feed(room.session(), "mongo", "orders", "store-only").await;
    assert!(!reason.contains("no number"), "a value is told: {reason}");
    let last = async || told(room.session(), "mongo", SHOWN).await.pop().filter(|row| row == "insert|notes|1|2|{}");
    eventually("the other collection's change", last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_is_too_large_for_an_event_is_told_by_its_key() {
    let (room, database) = room::of_mongodb(&both(), &lines("")).await;
    let client = mongodb_client(support::mongodb().await).await;
    let images = doc! { "collMod": "orders", "changeStreamPreAndPostImages": { "enabled": true } };
    client.database(database.name()).run_command(images).await.unwrap();
    room.session().answer("CALL tributary.refresh('mongo')").await;
    let big = "x".repeat(9 << 20);
    insert(&database, "orders", doc! { "_id": 1_i64, "n": 1_i64, "note": &big }).await;
    let orders = database.collection::<Document>("orders");
    // The document before, the document after and what was set are more than an event may have.
    orders.update_one(doc! { "_id": 1_i64 }, doc! { "$set": { "n": 2_i64, "note": format!("{big}y") } }).await.unwrap();
    insert(&database, "notes", doc! { "_id": 1_i64, "n": 2_i64 }).await;
    let shown = "op, table_name, key->>'_id'";
    let rows = async || {
        let rows = told(room.session(), "mongo", shown).await;
        rows.iter().any(|row| row == "insert|notes|1").then_some(rows)
    };
    let rows = eventually("the change behind it", rows).await;
    assert!(rows.contains(&"update|orders|1".to_owned()), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_nobody_is_there_is_told_later_once() {
    let (mut room, database) = room::of_mongodb(&both(), &lines("")).await;
    insert(&database, "orders", doc! { "_id": 1_i64, "n": 1_i64 }).await;
    until_told(room.session(), ("mongo", SHOWN), 1).await;
    room.stop().await;
    insert(&database, "orders", doc! { "_id": 2_i64, "n": 2_i64 }).await;
    room.start().await;
    insert(&database, "orders", doc! { "_id": 3_i64, "n": 3_i64 }).await;
    let rows = until_told(room.session(), ("mongo", "op, key->>'_id'"), 3).await;
    assert_eq!(rows, ["insert|1", "insert|2", "insert|3"]);
    assert_eq!(barriers(room.session(), "mongo").await, Vec::<String>::new());
}

/// The last thing that is told is this row.
async fn until_last(room: &Room, expected: &str) {
    let last = async || told(room.session(), "mongo", SHOWN).await.pop().filter(|row| row == expected);
    eventually("the last row", last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oplog_that_was_written_over_leaves_a_gap_and_the_feed_goes_on() {
    // What is old is dropped behind a checkpoint.
    let server = room::own_mongodb(&["--syncdelay=1"]).await;
    let (mut room, database) = room::on_mongodb(&server, &both(), &lines("")).await;
    insert(&database, "orders", doc! { "_id": 1_i64, "n": 1_i64 }).await;
    until_last(&room, "insert|orders|1|1|{}").await;
    room.stop().await;
    insert(&database, "orders", doc! { "_id": 2_i64, "n": 2_i64 }).await;
    let client = mongodb_client(&server).await;
    let ballast = client.database("ballast").collection::<Document>("ballast");
    let pieces = vec![doc! { "v": "x".repeat(1 << 20) }; 12];
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let entry = doc! { "op": "i", "ns": format!("{}.orders", database.name()), "o._id": 2_i64 };
    let is_gone = async || {
        ballast.insert_many(&pieces).await.unwrap();
        // A reader from whom something is taken away is told so.
        matches!(oplog.find_one(entry.clone()).await, Ok(None)).then_some(())
    };
    eventually("the end of the oplog", is_gone).await;
    room.start().await;
    until_streaming(room.session(), "mongo", &["orders", "notes"]).await;
    until_barrier(room.session(), "mongo", &["gap"]).await;
    insert(&database, "orders", doc! { "_id": 3_i64, "n": 3_i64 }).await;
    until_last(&room, "insert|orders|3|3|{}").await;
    let rows = told(room.session(), "mongo", SHOWN).await;
    assert!(!rows.iter().any(|row| row.starts_with("insert|orders|2|")), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_deployment_under_the_same_name_is_a_gap() {
    let (mut room, database) = room::of_mongodb(&both(), &lines("")).await;
    insert(&database, "orders", doc! { "_id": 1_i64, "n": 1_i64 }).await;
    until_last(&room, "insert|orders|1|1|{}").await;
    room.stop().await;
    let second = room::own_mongodb(&[]).await;
    let other = mongodb_client(&second).await.database(database.name());
    insert(&other, "orders", doc! { "_id": 2_i64, "n": 2_i64 }).await;
    insert(&other, "notes", doc! { "_id": 2_i64, "n": 2_i64 }).await;
    room.place.mongodb("mongo", &second, database.name(), &lines(""));
    room.start().await;
    until_streaming(room.session(), "mongo", &["orders", "notes"]).await;
    until_barrier(room.session(), "mongo", &["gap", "another one"]).await;
    insert(&other, "orders", doc! { "_id": 3_i64, "n": 3_i64 }).await;
    until_last(&room, "insert|orders|3|3|{}").await;
    let rows = told(room.session(), "mongo", SHOWN).await;
    assert!(!rows.iter().any(|row| row.contains("|2|2|")), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_any_more_is_left_and_found_again() {
    let server = support::mongodb().await;
    let name = server.fresh_database().await.unwrap();
    let database = mongodb_client(server).await.database(&name);
    for (collection, _) in both() {
        database.create_collection(collection).await.unwrap();
    }
    let gate = Gate::to(server.host(), server.port()).await;
    let open = gate.open().await;
    let place = Place::new();
    let login = format!("user = \"{}\"\npassword = \"{}\"\n", server.user(), server.password());
    let patience = "query_timeout = \"3s\"\nserver_selection_timeout = \"3s\"\n";
    place.write(
        "stores/mongo.toml",
        &format!(
            "kind = \"mongodb\"\nhosts = [\"127.0.0.1:{}\"]\ndirect = true\n{login}database = \"{name}\"\n\
             databases = [\"{name}\"]\n{patience}{}",
            gate.port(),
            lines("")
        ),
    );
    let room = Room::open(place).await;
    until_streaming(room.session(), "mongo", &["orders", "notes"]).await;
    open.freeze();
    until_feed(room.session(), "mongo", "", "waiting").await;
    insert(&database, "orders", doc! { "_id": 1_i64, "n": 1_i64 }).await;
    open.shut().await;
    let _open = gate.open().await;
    until_last(&room, "insert|orders|1|1|{}").await;
    assert_eq!(barriers(room.session(), "mongo").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_is_renamed_and_a_database_that_is_dropped_are_told() {
    let (room, database) = room::of_mongodb(&both(), &lines("")).await;
    // What the log has of a table is not shown any more once there is no such table: those who listen are told.
    let mut listener = room.listener(&["mongo.orders", "mongo.notes"]).await;
    let rename = doc! { "renameCollection": format!("{}.orders", database.name()), "to": format!("{}.others", database.name()) };
    mongodb_client(support::mongodb().await).await.database("admin").run_command(rename).await.unwrap();
    let note = listener.next().await;
    assert_eq!((note.channel.as_str(), note.member("op").as_str()), ("mongo.orders", "reset"), "{note:?}");
    assert!(note.member("reason").contains("renamed"), "{note:?}");
    insert(&database, "notes", doc! { "_id": 1_i64, "n": 1_i64 }).await;
    let is_told = async || {
        let rows = told(room.session(), "mongo", SHOWN).await;
        rows.contains(&"insert|notes|1|1|{}".to_owned()).then_some(())
    };
    eventually("the document of the other collection", is_told).await;
    database.drop().await.unwrap();
    let is_of_notes = async || {
        let note = listener.next().await;
        (note.channel == "mongo.notes" && note.member("op") == "reset").then_some(())
    };
    eventually("the end of the database", is_of_notes).await;
    // One that is made again under its name is followed again.
    let mut id = 1_i64;
    let again = async || {
        id += 1;
        insert(&database, "notes", doc! { "_id": id, "n": 5_i64 }).await;
        room.session().answer("CALL tributary.refresh('mongo')").await;
        told(room.session(), "mongo", SHOWN).await.pop().filter(|row| row.starts_with("insert|notes|") && row.contains("|5|"))
    };
    eventually("a document of the new collection", again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_documents_are_told_as_they_are_selected() {
    let first = doc! { "_id": 1_i64, "addr": { "zip": "55", "n": 1_i64 }, "lines": [{ "x": "a" }] };
    let (room, database) = room::of_mongodb(&[("nest", vec![first])], LOG).await;
    let mut listener = room.listener(&["mongo.nest"]).await;
    insert(&database, "nest", doc! { "_id": 2_i64, "addr": { "zip": "x", "n": 5_i64 }, "lines": [{ "x": "b" }] }).await;
    insert(&database, "nest", doc! { "_id": 3_i64 }).await;
    let notes = listener.next_of(2).await;
    let rows: Vec<String> = notes.iter().map(|note| note.member("row")).collect();
    let selected = room.session().answer("SELECT addr, lines FROM mongo.nest WHERE _id = 2").await;
    assert_eq!(selected, r#"{"zip":"x","n":5}|{"{\"x\":\"b\"}"}"#);
    assert!(rows[0].contains(r#""addr":{"zip":"x","n":5}"#) && rows[0].contains(r#""lines":"{\"{"#), "{rows:?}");
    assert!(rows[1].contains(r#""addr":null"#) && rows[1].contains(r#""lines":null"#), "{rows:?}");
    let shown = "new->'addr', new->>'lines', coalesce(unknown::text, '{}')";
    let rows = until_told(room.session(), ("mongo", shown), 2).await;
    assert_eq!(rows, [r#"{"n": 5, "zip": "x"}|{"{\"x\":\"b\"}"}|{}"#, "null|~|{}"]);
}
