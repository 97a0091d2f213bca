//! What can go wrong: unreachable, refused, killed, dropped, misfitting.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use tributary::error::Diagnose;
use tributary::sandbox::Mongo;
use tributary::stores::StoreError;
use tributary::stores::connector::{Purpose, ScanLimits};

use super::{World, collect, parse, scan, store_file};
use crate::support;

/// Everything that a client or a log could be shown of an error.
fn everything(error: &StoreError) -> String {
    format!("{error} {error:?} {:?} {:?}", error.detail(), error.hint())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_without_showing_it() {
    let server = support::mongodb().await;
    let connector = parse(&store_file(server, "x", "not-the-password")).unwrap();
    let error = connector.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    assert!(error.detail().unwrap().contains("refused the user name or password"), "{error:?}");
    assert!(!everything(&error).contains("not-the-password"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_server_is_unreachable_within_its_deadline() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let uri = format!("mongodb://someone:hunter2@127.0.0.1:{port}/x");
    let connector = parse(&format!("uri = \"{uri}\"\nserver_selection_timeout = \"300ms\"")).unwrap();
    assert!(!format!("{connector:?}").contains("hunter2"));
    let begun = Instant::now();
    let error = connector.open(Purpose::Statement { scans: 1 }).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(error.sqlstate(), "08001");
    assert!(error.detail().unwrap().contains("the connection was refused"), "{error:?}");
    assert!(!everything(&error).contains("hunter2") && !everything(&error).contains("someone"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_connector_says_so() {
    let world = World::new("").await;
    world.connector.ping().await.unwrap();
    world.connector.close().await;
    assert_eq!(world.connector.ping().await.unwrap_err().sqlstate(), "08001");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_collection_is_not_an_empty_one() {
    let world = World::new("").await;
    let collection = world.fill("gone", vec![doc! { "_id": 1 }]).await;
    let table = world.table("gone").await;
    collection.drop().await.unwrap();
    for columns in [&["_id"][..], &[]] {
        let error = world.read(&table, columns, Vec::new()).await.unwrap_err();
        assert!(matches!(error, StoreError::SchemaChanged { .. }), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_does_not_fit_is_an_error_null_or_text() {
    for (word, expected) in [("error", None), ("null", Some("NULL")), ("text", Some("{\"a\":1}"))] {
        let world = World::new(&format!("on_mismatch = \"{word}\"\n")).await;
        let collection = world.fill("c", vec![doc! { "_id": 1, "v": "x" }]).await;
        let table = world.table("c").await;
        collection.update_one(doc! {}, doc! { "$set": { "v": { "a": 1 } } }).await.unwrap();
        match (world.read(&table, &["v"], Vec::new()).await, expected) {
            (Ok(batches), Some(expected)) => assert_eq!(super::shown(&batches), [[expected]]),
            (Err(error), None) => {
                assert_eq!(error.sqlstate(), "22P02");
                assert!(error.to_string().contains("docs.c.v is a value of type document"), "{error}");
            }
            (found, expected) => panic!("{word}: {found:?} instead of {expected:?}"),
        }
    }
}

/// How many operations and idle cursors of the namespace the server has.
async fn busy(client: &Client, namespace: &str) -> usize {
    let stages = vec![
        doc! { "$currentOp": { "allUsers": true, "idleCursors": true } },
        doc! { "$match": { "ns": namespace, "type": { "$in": ["op", "idleCursor"] }, "command.pipeline.0.$currentOp": Bson::Null } },
    ];
    let cursor = client.database("admin").aggregate(stages).await.unwrap();
    cursor.try_collect::<Vec<Document>>().await.unwrap().len()
}

/// Waits until the server has reached a state, and fails when it does not.
async fn until(client: &Client, namespace: &str, wanted: impl Fn(usize) -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let now = busy(client, namespace).await;
        if wanted(now) {
            return;
        }
        assert!(Instant::now() < end, "{namespace} still has {now}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_stream_ends_its_cursor() {
    let world = World::new("").await;
    let documents = (0..20_000_i64).map(|number| doc! { "_id": number }).collect();
    world.fill("many", documents).await;
    let table = world.table("many").await;
    let namespace = format!("{}.many", world.database.name());
    for purpose in [Purpose::Statement { scans: 1 }, Purpose::Transaction { read_only: false, repeatable: false }] {
        let branch = world.connector.open(purpose).await.unwrap();
        let limits = ScanLimits { batch_rows: 100, batch_bytes: 1 << 20 };
        let mut stream = branch.scan(&table, &scan(&table, &["_id"], Vec::new()), limits).await.unwrap();
        assert!(stream.try_next().await.unwrap().is_some());
        until(&world.client, &namespace, |busy| busy > 0).await;
        drop(stream);
        until(&world.client, &namespace, |busy| busy == 0).await;
        branch.rollback().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_scan_stops_the_running_operation() {
    let world = World::new("sample = 0\n[collections.slow.columns]\nx = \"bigint\"\n").await;
    world.fill("fast", (0..2_000).map(|number| doc! { "_id": number }).collect()).await;
    let slow = doc! { "$function": { "body": "function() { sleep(50); return 1; }", "args": [], "lang": "js" } };
    world.database.create_collection("slow").view_on("fast").pipeline(vec![doc! { "$set": { "x": slow } }]).await.unwrap();
    let table = world.table("slow").await;
    let branch = world.branch(1).await;
    let namespace = format!("{}.slow", world.database.name());
    let scan = scan(&table, &["x"], Vec::new());
    {
        let opening = branch.scan(&table, &scan, ScanLimits::default());
        tokio::pin!(opening);
        let seen = async {
            let end = Instant::now() + Duration::from_secs(20);
            while busy_anywhere(&world).await == 0 {
                assert!(Instant::now() < end, "the operation never ran");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            _ = &mut opening => panic!("a hundred seconds of work were done at once"),
            () = seen => {}
        }
    }
    let end = Instant::now() + Duration::from_secs(20);
    while busy_anywhere(&world).await > 0 {
        assert!(Instant::now() < end, "{namespace} still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Operations on the view or the collection below it.
async fn busy_anywhere(world: &World) -> usize {
    let (view, base) = (format!("{}.slow", world.database.name()), format!("{}.fast", world.database.name()));
    busy(&world.client, &view).await + busy(&world.client, &base).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_the_middle_is_a_lost_connection() {
    let server = Mongo::start_with(&support::throwaway()).await.unwrap();
    let world = World::on(&server, "").await;
    let padding = "x".repeat(200);
    world.fill("many", (0..60_000_i64).map(|number| doc! { "_id": number, "p": &padding }).collect()).await;
    let table = world.table("many").await;
    let branch = world.branch(1).await;
    let limits = ScanLimits { batch_rows: 1_000, batch_bytes: 1 << 20 };
    let mut stream = branch.scan(&table, &scan(&table, &["p"], Vec::new()), limits).await.unwrap();
    assert!(stream.try_next().await.unwrap().is_some());
    let process = i32::try_from(server.process_id().unwrap()).unwrap();
    let killed = std::process::Command::new("kill").args(["-9", &process.to_string()]).status().unwrap();
    assert!(killed.success());
    let error = loop {
        match stream.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the scan ended as if all rows had come"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::ConnectionLost { .. } | StoreError::Unreachable { .. }), "{error:?}");
    assert!(!everything(&error).contains(server.password()));
    let again = world.connector.open(Purpose::Statement { scans: 1 }).await.unwrap_err();
    assert_eq!(&again.sqlstate()[..2], "08", "{again:?}");
    // What was opened before says so when it is read.
    let late = branch.scan(&table, &scan(&table, &["p"], Vec::new()), limits).await.err().unwrap();
    assert_eq!(&late.sqlstate()[..2], "08", "{late:?}");
    drop(branch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_beyond_its_time_is_stopped_by_the_server() {
    let world = World::new("sample = 0\nquery_timeout = \"300ms\"\n[collections.slow.columns]\nx = \"bigint\"\n").await;
    world.fill("fast", (0..1_000).map(|number| doc! { "_id": number }).collect()).await;
    let slow = doc! { "$function": { "body": "function() { sleep(20); return 1; }", "args": [], "lang": "js" } };
    world.database.create_collection("slow").view_on("fast").pipeline(vec![doc! { "$set": { "x": slow } }]).await.unwrap();
    let table = world.table("slow").await;
    let branch = world.branch(1).await;
    let error = collect(&*branch, &table, scan(&table, &["x"], Vec::new())).await.unwrap_err();
    assert!(matches!(error, StoreError::Deadline { limit_ms: 300, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_reached_through_tls_only_with_its_authority() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let chain_pem = made.cert.pem();
    let key_pem = tributary::options::Secret::new(made.signing_key.serialize_pem());
    let directory = tempfile::tempdir().unwrap();
    let authority = directory.path().join("ca.pem");
    std::fs::write(&authority, &chain_pem).unwrap();
    let setup =
        tributary::sandbox::Setup { tls: Some(tributary::sandbox::Certificate { chain_pem, key_pem }), ..support::throwaway() };
    let server = Mongo::start_with(&setup).await.unwrap();
    let plain = store_file(&server, "x", server.password());
    let trusted = format!("{plain}[tls]\nmode = \"on\"\nca_file = \"{}\"\n", authority.display());
    parse(&trusted).unwrap().ping().await.unwrap();
    let error = parse(&format!("{plain}[tls]\nmode = \"on\"\n")).unwrap().ping().await.unwrap_err();
    assert_eq!(error.sqlstate(), "08001");
    assert!(!everything(&error).contains(server.password()));
}
