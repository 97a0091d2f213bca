//! Logs of commits in a store, and who has them.

use std::sync::Arc;

use tributary::error::Diagnose;
use tributary::stores::StoreError;
use tributary::stores::commit::{Gid, Ledger, LogId, OwnTable};

use super::writes::until;
use super::{Fixture, connector};

/// A record as the log writes them: a kind, a length, the transaction, and something.
fn record(gid: Gid, more: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + more.len()).unwrap();
    let mut bytes = vec![2];
    bytes.extend(length.to_le_bytes());
    bytes.extend(gid.log.0.to_le_bytes());
    bytes.extend(gid.number.to_le_bytes());
    bytes.extend(more);
    bytes
}

/// An instance of its own: other connections to the same database.
async fn another(fixture: &mut Fixture) -> Arc<dyn Ledger> {
    let server = crate::support::postgres().await;
    let database = fixture.ask("SELECT current_database()::text").await.unwrap();
    connector(server, &database, server.password(), "").unwrap().ledger().unwrap()
}

#[tokio::test]
async fn a_log_is_one_instances_until_it_is_gone() {
    let mut fixture = Fixture::new().await;
    let [first, second] = [another(&mut fixture).await, another(&mut fixture).await];
    let (one, two) = tokio::join!(first.take(None), second.take(None));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.log, two.log);
    assert_eq!((one.epoch, one.start, one.records.len()), (1, 1, 0));
    for ledger in [&first, &second] {
        assert_eq!(ledger.take(Some(one.log)).await.unwrap_err().sqlstate(), "55006", "also for who has it already");
    }
    assert_eq!(first.take(Some(LogId(7))).await.unwrap_err().sqlstate(), "42704");
    assert!(first.holds(one.log, 1).await.unwrap());
    assert!(!first.holds(one.log, 2).await.unwrap(), "another epoch");
    assert!(first.holds(two.log, 1).await.is_err());
    assert!(second.left().await.unwrap().is_empty());
    // Records are kept in their order, with every byte.
    let gids = [1, 2, 3].map(|number| Gid { log: one.log, number });
    let records = [record(gids[0], &[0, 0xff, b'\'', b'\\']), record(gids[1], &[]), record(gids[0], &[1])];
    assert!(first.append(one.log, 1, &records[..2]).await.unwrap());
    assert!(first.append(one.log, 1, &records[2..]).await.unwrap());
    assert!(first.append(one.log, 1, &[]).await.unwrap());
    // Those of nobody's log, or of another one.
    assert!(first.append(one.log, 1, &[vec![2, 0]]).await.is_err());
    assert!(first.append(one.log, 1, &[record(Gid { log: two.log, number: 1 }, &[])]).await.is_err());
    assert!(second.append(one.log, 1, &records).await.is_err());
    assert!(!first.append(one.log, 2, &records).await.unwrap(), "another epoch");
    assert_eq!(second.left().await.unwrap(), [one.log], "whoever has it");
    drop(first);
    // Whoever wants any log gets what was left, and decides from then on.
    let third = another(&mut fixture).await;
    let advisory = "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until(&mut fixture, advisory, "1").await;
    let taken = third.take(None).await.unwrap();
    assert_eq!((taken.log, taken.epoch, taken.start), (one.log, 2, 2));
    assert_eq!(taken.records, records);
    assert!(third.remove(one.log, 2, &[gids[0], gids[2]]).await.unwrap());
    assert!(!third.remove(one.log, 1, &[gids[1]]).await.unwrap());
    drop(third);
    until(&mut fixture, advisory, "1").await;
    let fourth = another(&mut fixture).await;
    let taken = fourth.take(Some(one.log)).await.unwrap();
    assert_eq!((taken.epoch, taken.start, taken.records), (3, 3, vec![records[1].clone()]));
    // Who lets go of it has others take it at once, and no lock twice.
    fourth.release(one.log).await;
    fourth.release(one.log).await;
    assert!(fourth.holds(one.log, 3).await.is_err());
    assert_eq!(second.take(Some(one.log)).await.unwrap().epoch, 4);
    fourth.release(one.log).await;
    assert!(second.holds(one.log, 4).await.unwrap() && second.holds(two.log, 1).await.unwrap());
}

#[tokio::test]
async fn who_has_lost_the_lock_decides_nothing_more() {
    let mut fixture = Fixture::new().await;
    let [first, second] = [another(&mut fixture).await, another(&mut fixture).await];
    let held = first.take(None).await.unwrap();
    let gid = Gid { log: held.log, number: 1 };
    assert!(first.append(held.log, held.epoch, &[record(gid, &[])]).await.unwrap());
    let end = "SELECT count(pg_terminate_backend(pid))::text FROM pg_locks WHERE locktype = 'advisory' \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(fixture.ask(end).await.as_deref(), Some("1"));
    until(&mut fixture, end, "0").await;
    let taken = second.take(None).await.unwrap();
    assert_eq!((taken.log, taken.epoch, taken.records.len()), (held.log, held.epoch + 1, 1));
    let error = first.append(held.log, held.epoch, &[record(gid, &[1])]).await.unwrap_err();
    assert!(matches!(error, StoreError::ConnectionLost { .. } | StoreError::OutcomeUnknown { .. }), "{error:?}");
    assert!(first.holds(held.log, held.epoch).await.is_err());
    assert_eq!(first.take(Some(held.log)).await.unwrap_err().sqlstate(), "55006");
    // It takes another one, and goes on.
    let fresh = first.take(None).await.unwrap();
    assert_ne!(fresh.log, held.log);
    assert!(first.holds(fresh.log, fresh.epoch).await.unwrap());
    assert_eq!(fixture.ask("SELECT count(*)::text FROM tributary_decisions").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_log_is_nobodys_table_and_outlives_its_connector() {
    let mut fixture = Fixture::new().await;
    let store = fixture.connector.clone();
    let ledger = store.ledger().unwrap();
    let held = ledger.take(None).await.unwrap();
    store.install(OwnTable::Marks).await.unwrap();
    assert!(store.discover().await.unwrap().tables.is_empty());
    store.close().await;
    let gid = Gid { log: held.log, number: 1 };
    assert!(ledger.append(held.log, held.epoch, &[record(gid, &[7])]).await.unwrap());
    assert_eq!(fixture.ask("SELECT gid FROM tributary_decisions").await, Some(gid.to_string()));
}
