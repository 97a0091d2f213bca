//! Results of queries that are kept: given until a table changes, whoever changes it, and never older than a read asks for.

use tokio_util::sync::CancellationToken;
use tributary::task::OwnedTask;

use super::copies::{FROM_STORE, analyzed, reader};
use super::world::{self, World};
use crate::changes::check::Deed;
use crate::commit::eventually;
use crate::commit::stage::ACCOUNTS;
use crate::support::proxy::Session;

/// How often the table is changed.
const CHANGES: i64 = 12;
/// How often it is compared while others write.
const ROUNDS: i64 = 20;

fn query(store: &str) -> String {
    format!("SELECT count(*), sum(balance) FROM {store}.accounts")
}

/// What a plan says of results.
pub fn cache_line(plan: &str) -> Option<&str> {
    plan.lines().find(|line| line.contains("Cache: "))
}

/// Asks until the answer is a result that was kept.
pub async fn until_hit(session: &Session, sql: &str) {
    let is_hit = async || cache_line(&analyzed(session, sql).await).is_some_and(|line| line.contains("Cache: hit")).then_some(());
    eventually(sql, is_hit).await;
}

/// What the query answers over the rows that the table has.
fn expected(world: &World) -> String {
    format!("{}|{}", world.rows.len(), world.rows.values().sum::<i64>())
}

async fn follows(mut world: World) {
    let sql = query(world.store);
    world.room.session().answer(&format!("CREATE CACHE totals FOR {}", sql.to_lowercase())).await;
    let strong = reader(world.address(), &[("consistency", "strong")]).await;
    let of_store = reader(world.address(), &FROM_STORE).await;
    for number in 1..=CHANGES {
        until_hit(&strong, &sql).await;
        assert_eq!(strong.answer(&sql).await, expected(&world), "before change {number}");
        world.does(Deed::Put { key: number % ACCOUNTS + 1, value: number * 7 }).await;
        assert_eq!(strong.answer(&sql).await, expected(&world), "behind change {number}");
        world.undoes(Deed::Put { key: 1, value: 1_000_000 }).await;
    }
    // Through Tributary too, and what one has written oneself one sees at once.
    let own = reader(world.address(), &[]).await;
    until_hit(&own, &sql).await;
    own.answer(&format!("UPDATE {}.accounts SET balance = 5", world.store)).await;
    assert_eq!(own.answer(&sql).await, format!("{ACCOUNTS}|{}", ACCOUNTS * 5));
    assert_eq!(cache_line(&analyzed(&of_store, &sql).await), None, "store uses none");
    world.room.session().answer("DROP CACHE totals").await;
    assert_eq!(cache_line(&analyzed(&strong, &sql).await), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_over_postgres_is_given_until_its_table_changes() {
    follows(world::of_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_over_mariadb_is_given_until_its_table_changes() {
    follows(world::of_mariadb().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_over_mongodb_is_given_until_its_collection_changes() {
    follows(world::of_mongodb().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_over_a_file_is_given_until_its_table_changes() {
    follows(world::of_sqlite().await).await;
}

/// Where the file says how far it is, nothing may be read of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_read_through_one_connection_has_copies_and_results() {
    follows(world::of_narrow_sqlite().await).await;
}

/// Reads a kept query all the time while others write, and compares it with the store when they rest.
async fn races(world: World) {
    let (sql, store) = (query(world.store), world.store);
    world.room.session().answer(&format!("ALTER TABLE {store}.accounts SET (tributary.cached_results = true)")).await;
    let address = world.address();
    let strong = reader(address, &[("consistency", "strong")]).await;
    let of_store = reader(address, &FROM_STORE).await;
    until_hit(&strong, &sql).await;
    let (_room, mut behind) = world.into_writer();
    let stop = CancellationToken::new();
    let (stopped, text) = (stop.clone(), sql.clone());
    let eager = reader(address, &[("consistency", "eventual")]).await;
    let asking = OwnedTask::spawn(async move {
        let mut asked = 0_u64;
        while !stopped.is_cancelled() {
            eager.answer(&text).await;
            asked += 1;
        }
        asked
    });
    for round in 1..=ROUNDS {
        for step in 0..10 {
            let number = round * 100 + step;
            behind.write(number, &[number % ACCOUNTS + 1], true).await.unwrap();
        }
        // Nobody writes: what is given for ever is what the store has.
        let truth = of_store.answer(&sql).await;
        assert_eq!(strong.answer(&sql).await, truth, "round {round}");
        let eventual = async || (eventual_answer(address, &sql).await == truth).then_some(());
        eventually("the result of now", eventual).await;
    }
    stop.cancel();
    assert!(asking.join().await.unwrap() > 0);
    until_hit(&strong, &sql).await;
    assert_eq!(strong.answer(&sql).await, of_store.answer(&sql).await);
}

async fn eventual_answer(address: std::net::SocketAddr, sql: &str) -> String {
    reader(address, &[("consistency", "eventual")]).await.answer(sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn results_over_postgres_that_are_made_while_others_write_are_not_stale_for_ever() {
    races(world::of_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_over_mariadb_that_are_made_while_others_write_are_not_stale_for_ever() {
    races(world::of_synced_mariadb().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_shown_and_what_cannot_be_is_refused_over_a_file() {
    let world = world::of_sqlite().await;
    let session = world.room.session();
    session.answer("CREATE CACHE a FOR SELECT _id FROM file.accounts WHERE _id = $1").await;
    session.answer("CREATE CACHE FOR SELECT count(*) FROM file.moves").await;
    session.answer("ALTER TABLE file.lists SET (tributary.cached_results = true)").await;
    let shown = session.answer("SHOW CACHES").await;
    assert!(
        shown.contains("a|") && shown.contains("file.accounts") && shown.contains("cache_1|") && shown.contains("file.lists"),
        "{shown}"
    );
    for (sql, code) in [
        ("CREATE CACHE a FOR SELECT _id FROM file.accounts", "42710"),
        ("CREATE CACHE b FOR SELECT now(), _id FROM file.accounts", "55000"),
        ("CREATE CACHE b FOR SELECT random() FROM file.accounts", "55000"),
        ("CREATE CACHE b FOR SELECT state FROM tributary.freshness", "55000"),
        ("CREATE CACHE b FOR SELECT 1", "55000"),
        ("CREATE CACHE b FOR SELECT nothing FROM file.accounts", "42703"),
        ("DROP CACHE b", "42704"),
    ] {
        let failure = session.failure(sql).await;
        assert_eq!(failure.code, code, "{sql}: {failure:?}");
    }
    session.answer("DROP CACHE IF EXISTS b").await;
    // A volatile query over a table whose results are kept runs as ever, and says why.
    let plan = analyzed(session, "SELECT random(), _id FROM file.lists").await;
    assert!(cache_line(&plan).is_some_and(|line| line.contains("rejected: it calls random")), "{plan}");
    // In a block that may write, and in one that keeps one state, results are not used.
    until_hit(session, "SELECT _id FROM file.lists").await;
    session.answer("BEGIN READ ONLY").await;
    assert_eq!(cache_line(&analyzed(session, "SELECT _id FROM file.lists").await), Some("Cache: hit"));
    session.answer("ROLLBACK; BEGIN").await;
    assert_eq!(cache_line(&analyzed(session, "SELECT _id FROM file.lists").await), None);
    session.answer("ROLLBACK").await;
    session.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(cache_line(&analyzed(session, "SELECT _id FROM file.lists").await), None);
    session.answer("ROLLBACK").await;
    session.answer("BEGIN").await;
    session.answer("UPDATE file.lists SET v = 'x'").await;
    assert_eq!(cache_line(&analyzed(session, "SELECT _id FROM file.lists").await), None);
    session.answer("ROLLBACK").await;
    session.answer("ALTER TABLE file.lists RESET (tributary.cached_results)").await;
    assert_eq!(cache_line(&analyzed(session, "SELECT _id FROM file.lists").await), None);
}
