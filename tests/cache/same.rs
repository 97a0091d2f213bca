//! The statements of `differential` where every table has a copy: the same answers as those of one PostgreSQL.

use super::copies::{reader, shown};
use crate::commit::eventually;
use crate::differential;
use crate::differential::stage::Stage;

/// One of so many statements of that test is run here, and so many of its typed generator.
const EVERY: usize = 8;
const RANDOM: usize = 50;
/// Tables that have copies, at least; a key that has no order of bytes and the like may keep some from it.
const CACHED: usize = 15;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_over_copies_of_postgres_mariadb_sqlite_and_mongodb_equal_those_of_one_postgres() {
    let stage = Box::pin(Stage::cached()).await;
    let session = reader(stage.address(), &[]).await;
    let mut cached = Vec::new();
    for (schema, name) in Stage::tables() {
        let table = (schema.as_str(), name.as_str());
        let settled =
            async || shown(&session, table).await.filter(|shown| ["cached", "store-only"].contains(&shown.state.as_str()));
        let shown = eventually(&format!("a copy of {table:?}"), settled).await;
        if shown.state == "cached" {
            cached.push((schema, name));
        } else {
            eprintln!("{table:?} has no copy: {}", shown.reason);
        }
    }
    assert!(cached.len() >= CACHED, "only {cached:?} are cached");
    let (statements, wrong) = Box::pin(differential::slice(&stage, EVERY, RANDOM)).await;
    let mut served = 0;
    for (schema, name) in &cached {
        let shown = shown(&session, (schema, name)).await.unwrap();
        assert!(shown.state == "cached", "{schema}.{name} is {shown:?}");
        served += shown.served;
    }
    eprintln!("{statements} statements read copies {served} times");
    stage.clear().await;
    assert_eq!(wrong, 0, "statements did not come out as without copies");
    assert!(served >= u64::try_from(statements).unwrap(), "{statements} statements read copies {served} times only");
}
