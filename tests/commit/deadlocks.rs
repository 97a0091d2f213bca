//! Locks that are waited for: as long as the client says, and no longer than the server says where a transaction holds something in
//! another store, so that deadlocks end that no store sees.

use std::time::{Duration, Instant};

use tributary::server::Server;

use super::stage::{Shared, fill_postgres, fill_sqlite};
use crate::support;
use crate::support::proxy::{self, OWNER, Place, Session};

/// Far longer than what is told to the stores, and shorter than what they wait by themselves.
const SOON: Duration = Duration::from_secs(20);

/// Two databases as stores of their own. Each session has a connection to each of them, so that the server sees no circle.
async fn two_databases(settings: &str) -> (Place, Server) {
    let place = Place::new();
    place.configure(&format!("auth.trust = true\nlimits.max_connections = 20\n{settings}"));
    let postgres = support::postgres().await;
    for name in ["north", "south"] {
        let database = postgres.fresh_database().await.unwrap();
        fill_postgres(postgres, &database).await;
        place.postgres(name, postgres, &database, "pool.size = 8\n");
    }
    let server = Box::pin(place.serve()).await;
    (place, server)
}

async fn session(server: &Server) -> Session {
    proxy::open(&proxy::login(server.addresses()[0], OWNER)).await.unwrap()
}

fn take(store: &str) -> String {
    format!("UPDATE {store}.accounts SET balance = balance + 1 WHERE _id = 1")
}

/// Lets two sessions wait for one another. Gives how the second statements were answered, an empty text for success.
async fn crossing(first: &Session, second: &Session) -> [String; 2] {
    for (session, store) in [(first, "north"), (second, "south")] {
        session.answer("BEGIN").await;
        session.answer(&take(store)).await;
    }
    let (south, north) = (take("south"), take("north"));
    let (one, other) = tokio::join!(first.rows(&south), second.rows(&north));
    let said = [one, other].map(|answered| answered.err().map(|failed| failed.code).unwrap_or_default());
    for session in [first, second] {
        session.answer("ROLLBACK").await;
    }
    said
}

async fn check(first: &Session, second: &Session) {
    let began = Instant::now();
    let said = crossing(first, second).await;
    assert!(began.elapsed() < SOON, "{said:?} after {:?}", began.elapsed());
    assert!(said.iter().any(|code| code == "55P03"), "{said:?}");
    assert!(said.iter().all(|code| ["55P03", ""].contains(&code.as_str())), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_transactions_over_two_postgres_that_wait_for_each_other_are_ended() {
    let (_place, server) = two_databases("commit.lock_wait = \"1s\"").await;
    let (first, second) = (session(&server).await, session(&server).await);
    check(&first, &second).await;
    // It holds for what waits in a second store; one store sees its deadlocks by itself, and is waited for.
    first.answer("BEGIN").await;
    first.answer(&take("north")).await;
    second.answer("BEGIN").await;
    let update = take("north");
    let (waited, ()) = tokio::join!(second.rows(&update), async {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        first.answer("COMMIT").await;
    });
    assert!(waited.is_ok(), "{waited:?}");
    second.answer("COMMIT").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_how_long_it_waits_ends_a_deadlock_over_two_postgres() {
    let (_place, server) = two_databases("commit.lock_wait = \"0s\"").await;
    let (first, second) = (session(&server).await, session(&server).await);
    for session in [&first, &second] {
        session.answer("SET lock_timeout = '1s'").await;
    }
    check(&first, &second).await;
    // Where a savepoint is come back to, the server has forgotten what it was told.
    second.answer("BEGIN").await;
    second.answer(&take("south")).await;
    first.answer("BEGIN").await;
    for _ in 0..2 {
        first.answer("SAVEPOINT s").await;
        let began = Instant::now();
        assert_eq!(first.rows(&take("south")).await.unwrap_err().code, "55P03");
        assert!(began.elapsed() < SOON);
        first.answer("ROLLBACK TO s").await;
    }
    first.answer("ROLLBACK").await;
    second.answer("ROLLBACK").await;
    server.stop().await;
}

/// What waits for a lock that another session holds is ended after the time that its client has set.
async fn gives_up(holder: &Session, waiter: &Session, (store, in_block): (&str, Option<&str>)) {
    holder.answer("BEGIN").await;
    holder.answer(&format!("UPDATE {store}.accounts SET balance = 7 WHERE _id = 2")).await;
    waiter.answer("SET lock_timeout = '300ms'").await;
    let began = Instant::now();
    let alone = waiter.rows(&format!("UPDATE {store}.accounts SET balance = 8 WHERE _id = 2")).await.unwrap_err();
    assert_eq!(alone.code, "55P03", "{store}: {alone:?}");
    if let Some(code) = in_block {
        waiter.answer("BEGIN").await;
        let failed = waiter.rows(&format!("UPDATE {store}.accounts SET balance = balance + 8 WHERE _id = 2")).await.unwrap_err();
        assert_eq!(failed.code, code, "{store}: {failed:?}");
        waiter.answer("ROLLBACK").await;
    }
    assert!(began.elapsed() < SOON, "{store} after {:?}", began.elapsed());
    holder.answer("ROLLBACK").await;
    // The connection that was told is used by others who were not.
    waiter.answer("RESET lock_timeout").await;
    assert_eq!(waiter.rows(&format!("UPDATE {store}.accounts SET balance = 1000 WHERE _id = 2")).await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_mariadb_and_mongodb_are_waited_for_as_long_as_the_client_says() {
    let mut shared = Shared::of_servers().await;
    let (holder, waiter) = (shared.session().await, shared.session().await);
    gives_up(&holder, &waiter, ("pg", Some("55P03"))).await;
    gives_up(&holder, &waiter, ("maria", Some("55P03"))).await;
    // Its transactions do not wait.
    gives_up(&holder, &waiter, ("mongo", Some("40001"))).await;
    shared.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_waited_for_as_long_as_the_client_says() {
    let place = Place::new();
    place.configure("auth.trust = true");
    fill_sqlite(&place, "east", "wal").await;
    let server = Box::pin(place.serve()).await;
    let (holder, waiter) = (session(&server).await, session(&server).await);
    let began = Instant::now();
    gives_up(&holder, &waiter, ("east", Some("55P03"))).await;
    // Without it each of them would have waited for as long as the store says.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    server.stop().await;
}
