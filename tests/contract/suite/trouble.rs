//! What goes wrong outside: absent, silent and broken stores, wrong logins, changed tables. Each is an error that names the
//! store and its class and no secret, and the store is back when its cause is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use tributary::error::Diagnose;
use tributary::stores::connector::ScanLimits;
use tributary::stores::{Connector, Scan, StoreError};

use super::reading::{self, count, told, whole};
use super::sample;
use super::world::{At, BIG, Kind, Sample, World, until};

/// How soon an error must be there when connecting gives up after half a second.
const SOON: Duration = Duration::from_secs(20);

pub async fn check(world: &dyn World) {
    an_absent_store_is_named_and_comes_back(world).await;
    a_wrong_login_shows_no_secret(world).await;
    a_changed_table_says_so_and_heals(world).await;
    a_store_lost_in_the_middle_never_shortens_an_answer(world).await;
}

/// All ways to meet a store that is not there.
async fn is_unreachable(connector: &Arc<dyn Connector>) {
    let begun = Instant::now();
    for error in [
        connector.ping().await.unwrap_err(),
        connector.discover().await.unwrap_err(),
        connector.open(tributary::stores::Purpose::Statement { scans: 2 }).await.err().unwrap(),
    ] {
        assert_eq!(error.sqlstate().get(..2), Some("08"), "{error:?}");
        assert!(error.to_string().contains("\"suite\""), "{error}");
        assert!(error.detail().is_some_and(|detail| detail.ends_with('.') || detail.len() > 8), "{error:?}");
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

async fn an_absent_store_is_named_and_comes_back(world: &dyn World) {
    let way = world.way().await;
    let connector = world.open_at(way.at(), world.quick());
    way.cut().await;
    is_unreachable(&connector).await;
    if way.breaks() {
        way.silence().await;
        is_unreachable(&connector).await;
        way.cut().await;
    }
    way.mend().await;
    until("the store's return", async || connector.ping().await.is_ok()).await;
    connector.discover().await.unwrap();
    if way.breaks() {
        // A port on which nobody listens: its listener is gone, and its number is not given out again at once.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        is_unreachable(&world.open_at(At { port: Some(closed), password: None }, world.quick())).await;
    }
}

/// As PostgreSQL reports a foreign server's refusal, this is a failure to connect (08001), not one of the client's own login
/// (28P01), which would make drivers ask their user for another password.
async fn a_wrong_login_shows_no_secret(world: &dyn World) {
    let wrong = At { port: None, password: Some("hunter2") };
    if world.file(wrong) == world.file(At::default()) {
        return;
    }
    let connector = world.open_at(wrong, world.quick());
    assert!(!format!("{connector:?}").contains("hunter2"));
    for error in [connector.ping().await.unwrap_err(), connector.discover().await.unwrap_err()] {
        assert!(matches!(error, StoreError::Unreachable { .. }) && error.sqlstate() == "08001", "{error:?}");
        let shown = told(&error);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(["password", "denied"].iter().any(|word| shown.contains(word)), "{shown} does not say why");
    }
}

async fn a_changed_table_says_so_and_heals(world: &dyn World) {
    let columns = vec![("kept".to_owned(), Kind::Int), ("gone".to_owned(), Kind::Int)];
    world.make(&Sample { table: "changing".to_owned(), columns, rows: vec![vec![None, None]; 3] }).await;
    let connector = world.open("");
    let table = reading::table(&connector, &world.namespace(), "changing").await;
    if world.tells().columns {
        world.drop_column("changing", "gone").await;
        let error = reading::read_all(&connector, &table).await.unwrap_err();
        assert!(matches!(error, StoreError::SchemaChanged { .. }) && error.sqlstate() == "HV000", "{error:?}");
        assert!(told(&error).contains("refresh"), "{error:?}");
        let kept = Scan { columns: vec![0, 1], ..whole(&connector, &table, Vec::new()) };
        assert_eq!(count(&reading::read(&connector, &table, &kept).await.unwrap()), 3, "what did not change is still read");
        let again = reading::table(&connector, &world.namespace(), "changing").await;
        assert_eq!((again.columns.len(), count(&reading::read_all(&connector, &again).await.unwrap())), (2, 3));
    }
    world.drop_table("changing").await;
    for columns in [vec![0], Vec::new()] {
        let scan = Scan { columns, ..whole(&connector, &table, Vec::new()) };
        let error = reading::read(&connector, &table, &scan).await.unwrap_err();
        assert!(matches!(error, StoreError::SchemaChanged { .. }), "a dropped table is not an empty one: {error:?}");
    }
    world.make(&sample::of_keys("changing", 2)).await;
    let again = reading::table(&connector, &world.namespace(), "changing").await;
    assert_eq!(count(&reading::read_all(&connector, &again).await.unwrap()), 2);
}

async fn a_store_lost_in_the_middle_never_shortens_an_answer(world: &dyn World) {
    world.make_big().await;
    let way = world.way().await;
    let connector = world.open_at(way.at(), world.quick());
    let big = reading::table(&connector, &world.namespace(), "big").await;
    for scans in [1, 2] {
        let branch = connector.open(tributary::stores::Purpose::Statement { scans }).await.unwrap();
        let limits = ScanLimits { batch_rows: 100, ..ScanLimits::default() };
        let mut stream = branch.scan(&big, &whole(&connector, &big, Vec::new()), limits).await.unwrap();
        let first = stream.next().await.unwrap().unwrap().num_rows();
        way.cut().await;
        let rest = tokio::time::timeout(SOON, stream.try_collect::<Vec<_>>()).await.unwrap();
        match rest {
            Ok(rest) => assert!(!way.breaks() && first + count(&rest) == BIG, "{scans}: a broken way gave {}", count(&rest)),
            Err(error) => {
                assert!(way.breaks() && error.sqlstate().starts_with("08"), "{scans}: {error:?}");
                assert!(told(&error).contains("suite"), "{error:?}");
            }
        }
        drop(branch);
        way.mend().await;
        until("the store's return", async || connector.ping().await.is_ok()).await;
        assert_eq!(count(&reading::read_all(&connector, &big).await.unwrap()), BIG);
    }
}
