//! Blocks that read a row from a copy and then change it: where the row has become another one in its store, they end with 40001.

use tokio_postgres::error::SqlState;

use super::copies::{FROM_COPY, FROM_STORE, copied, served};
use super::world::{self, World};
use crate::changes::check::Deed;
use crate::commit::{Said, ask};
use crate::support::proxy::{OWNER, PASSWORD, Session};
use crate::wire::client::{Client, bind, execute, message, parse, query, sync};

fn balance(store: &str, key: i64) -> String {
    format!("SELECT balance FROM {store}.accounts WHERE _id = {key}")
}

/// Begins a block that has read a row from the copy, which has this value.
async fn begun(session: &Session, store: &str, (key, value): (i64, i64)) {
    session.answer("BEGIN").await;
    assert_eq!(copied(session, (store, "accounts"), &balance(store, key)).await, [value.to_string()], "{store}");
}

async fn refused(session: &Session, sql: &str) {
    assert_eq!(ask(session, sql).await, Err(Said::Code("40001".to_owned())), "{sql}");
}

/// A row that others have changed since it was read is neither changed nor removed; the block is tried again with what is there.
async fn conflicts(world: &mut World) {
    let store = world.store;
    let session = world.reader(&FROM_COPY).await;
    let update = |key: i64, value: i64| format!("UPDATE {store}.accounts SET balance = {value} WHERE _id = {key}");
    for (turn, statement) in [
        update(1, 1),
        format!("UPDATE {store}.accounts SET balance = balance + 1 WHERE _id IN (1, 2)"),
        format!("UPDATE {store}.accounts SET balance = balance + 1"),
        format!("DELETE FROM {store}.accounts WHERE _id = 1"),
        format!(
            "UPDATE {store}.accounts SET balance = m.amount FROM {store}.moves m WHERE m._id = accounts._id AND accounts._id = 1"
        ),
        format!(
            "MERGE INTO {store}.accounts a USING (VALUES (1)) AS v (k) ON a._id = v.k WHEN MATCHED THEN UPDATE SET balance = 1"
        ),
        format!("MERGE INTO {store}.accounts a USING {store}.moves m ON a._id = m._id AND m._id = 1 WHEN MATCHED THEN DELETE"),
        format!(
            "INSERT INTO {store}.accounts AS a (_id, balance) VALUES (1, 5) \
             ON CONFLICT (_id) DO UPDATE SET balance = a.balance + excluded.balance"
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let value = 2_000 + i64::try_from(turn).unwrap();
        begun(&session, store, (1, world.rows[&1])).await;
        world.does(Deed::Put { key: 1, value }).await;
        refused(&session, &statement).await;
        // The block has failed with all that it has written.
        assert_eq!(ask(&session, &balance(store, 1)).await, Err(Said::Code("25P02".to_owned())), "{store}");
        session.answer("ROLLBACK").await;
        assert_eq!(world.reader(&FROM_STORE).await.answer(&balance(store, 1)).await, value.to_string(), "{store}");
    }
    // Prepared, which was planned before anything was read.
    let prepared = session.prepare(&format!("UPDATE {store}.accounts SET balance = $1 WHERE _id = $2")).await.unwrap();
    begun(&session, store, (1, world.rows[&1])).await;
    world.does(Deed::Put { key: 1, value: 2_500 }).await;
    let failed = session.execute(&prepared, &[&1_i64, &1_i64]).await.unwrap_err();
    assert_eq!(failed.code().map(SqlState::code), Some("40001"), "{store}");
    session.answer("ROLLBACK").await;
    let value = world.rows[&1];
    begun(&session, store, (1, value)).await;
    session.answer(&update(1, value + 1)).await;
    session.answer("COMMIT").await;
    world.rows.insert(1, value + 1);
    // What is told of it.
    begun(&session, store, (1, value + 1)).await;
    world.does(Deed::Put { key: 1, value: 3_000 }).await;
    let failure = session.rows(&update(1, 1)).await.unwrap_err();
    assert_eq!(failure.message, "could not serialize access due to concurrent update");
    assert!(failure.detail.contains("table \"accounts\"") && !failure.detail.contains("3000"), "{failure:?}");
    session.answer("ROLLBACK").await;
}

/// What others do to other rows, and what the block does itself, is no conflict; nor is anything without a copy.
async fn no_conflicts(world: &mut World) {
    let store = world.store;
    let session = world.reader(&FROM_COPY).await;
    let update = |key: i64, value: i64| format!("UPDATE {store}.accounts SET balance = {value} WHERE _id = {key}");
    begun(&session, store, (2, world.rows[&2])).await;
    world.does(Deed::Put { key: 3, value: 30 }).await;
    // A row that was in no copy that the block has read.
    world.does(Deed::Put { key: 900, value: 1 }).await;
    for (key, value) in [(2, 20), (2, 21), (900, 2), (900, 3), (2, 22)] {
        session.answer(&update(key, value)).await;
    }
    session.answer(&format!("DELETE FROM {store}.accounts WHERE _id = 900")).await;
    session.answer(&format!("INSERT INTO {store}.accounts (_id, balance) VALUES (900, 9)")).await;
    session.answer(&update(900, 10)).await;
    session.answer("COMMIT").await;
    world.rows.insert(2, 22);
    world.rows.insert(900, 10);
    // Another table than that which was read.
    begun(&session, store, (2, 22)).await;
    session.answer(&format!("UPDATE {store}.moves SET amount = 5 WHERE _id = 2")).await;
    session.answer("COMMIT").await;
    // As in the store itself, which lets READ COMMITTED write over what it has read.
    let in_store = world.reader(&FROM_STORE).await;
    in_store.answer("BEGIN").await;
    in_store.answer(&balance(store, 4)).await;
    world.does(Deed::Put { key: 4, value: 40 }).await;
    in_store.answer(&update(4, 41)).await;
    in_store.answer("COMMIT").await;
    world.rows.insert(4, 41);
    // And as without a block.
    assert_eq!(copied(&session, (store, "accounts"), &balance(store, 4)).await, ["41"]);
    world.does(Deed::Put { key: 4, value: 42 }).await;
    session.answer(&update(4, 43)).await;
    world.rows.insert(4, 43);
    let all = format!("SELECT _id, balance FROM {store}.accounts ORDER BY _id");
    assert_eq!(session.rows(&all).await.unwrap(), world.listed(), "{store}");
}

async fn both(mut world: World) {
    conflicts(&mut world).await;
    no_conflicts(&mut world).await;
    Box::pin(series(&mut world)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_postgres_that_was_read_from_a_copy_is_not_written_over() {
    let mut world = world::of_postgres().await;
    Box::pin(conflicts(&mut world)).await;
    Box::pin(no_conflicts(&mut world)).await;
    Box::pin(savepoints(&mut world)).await;
    Box::pin(series(&mut world)).await;
    Box::pin(triggers(&mut world)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_mariadb_that_was_read_from_a_copy_is_not_written_over() {
    let mut world = world::of_mariadb().await;
    Box::pin(conflicts(&mut world)).await;
    Box::pin(no_conflicts(&mut world)).await;
    Box::pin(savepoints(&mut world)).await;
    Box::pin(series(&mut world)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_mongodb_that_was_read_from_a_copy_is_not_written_over() {
    Box::pin(both(world::of_mongodb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_a_file_that_was_read_from_a_copy_is_not_written_over() {
    Box::pin(both(world::of_sqlite().await)).await;
}

/// A savepoint takes a conflict back, and not what was read: the row stays one that is not written over.
async fn savepoints(world: &mut World) {
    let store = world.store;
    let session = world.reader(&FROM_COPY).await;
    begun(&session, store, (5, world.rows[&5])).await;
    session.answer("SAVEPOINT a").await;
    world.does(Deed::Put { key: 5, value: 50 }).await;
    let update = |key: i64| format!("UPDATE {store}.accounts SET balance = 51 WHERE _id = {key}");
    refused(&session, &update(5)).await;
    session.answer("ROLLBACK TO a").await;
    session.answer(&update(6)).await;
    session.answer("SAVEPOINT b").await;
    // It has written since, so that it is looked at what others see.
    refused(&session, &update(5)).await;
    session.answer("ROLLBACK TO b").await;
    session.answer("COMMIT").await;
    world.rows.insert(6, 51);
    assert_eq!(world.reader(&FROM_STORE).await.answer(&balance(store, 6)).await, "51");
}

/// What a trigger makes of a row by what the block itself does elsewhere is nobody else's change.
async fn triggers(world: &mut World) {
    let store = world.store;
    let session = world.reader(&FROM_COPY).await;
    world
        .native
        .run(
            "CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN UPDATE public.accounts SET balance = balance + 100 WHERE _id = NEW._id; RETURN NEW; END $$; \
             CREATE TRIGGER follow AFTER UPDATE ON moves FOR EACH ROW EXECUTE FUNCTION follow()",
        )
        .await;
    let value = world.rows[&7];
    begun(&session, store, (7, value)).await;
    session.answer(&format!("UPDATE {store}.moves SET amount = 1 WHERE _id = 7")).await;
    session.answer(&format!("UPDATE {store}.accounts SET balance = balance + 1 WHERE _id = 7")).await;
    session.answer("COMMIT").await;
    world.rows.insert(7, value + 101);
    assert_eq!(world.reader(&FROM_STORE).await.answer(&balance(store, 7)).await, (value + 101).to_string());
}

/// A client that sends what it likes, whose reads have these levels of consistency.
async fn raw(world: &World, level: &str) -> Client {
    let mut client = Client::connect(world.address()).await;
    client.start(OWNER).await;
    client.scram(PASSWORD).await;
    client.until_ready().await;
    for setting in [format!("SET tributary.consistency = '{level}'"), "SET tributary.on_stale = 'wait'".to_owned()] {
        assert_eq!(client.script(&query(&setting)).await, "C SET\nZ I");
    }
    client
}

/// One statement, unnamed throughout, up to its `Execute`.
fn one(sql: &str) -> Vec<u8> {
    [parse("", sql, &[]), bind("", "", &[], &[]), execute("", 0)].concat()
}

/// Reads from the copy in a series that goes on: the answer comes with `Flush`.
async fn read_in_series(client: &mut Client, world: &World, read: &[u8]) {
    let (session, table) = (world.room.session(), (world.store, "accounts"));
    let before = served(session, table).await;
    client.send(&[read, message(b'H', b"").as_slice()].concat()).await;
    for kind in ['2', 'D', 'C'] {
        assert_eq!(client.answer().await.map(|answer| answer.kind), Some(kind), "{}", world.store);
    }
    assert!(served(session, table).await > before, "{}: it is not of the copy", world.store);
}

/// What a series of messages reads from a copy belongs to the transaction of the write behind it, up to `Sync`.
async fn series(world: &mut World) {
    let store = world.store;
    let update = one(&format!("UPDATE {store}.accounts SET balance = 1 WHERE _id = 8"));
    let reads = [
        // At once, from where the row lies.
        ("eventual", format!("SELECT balance FROM {store}.accounts WHERE _id = $1"), vec![Some(b"8".as_slice())]),
        // The same, of a copy that is asked whether it is fresh, and what is planned.
        ("strong", format!("SELECT balance FROM {store}.accounts WHERE _id = $1"), vec![Some(b"8".as_slice())]),
        ("strong", format!("SELECT sum(balance) FROM {store}.accounts"), Vec::new()),
    ];
    for (turn, (level, sql, values)) in reads.into_iter().enumerate() {
        let value = 8_000 + 10 * i64::try_from(turn).unwrap();
        let mut client = raw(world, level).await;
        let prepared = client.script(&[parse("s", &sql, &[]), sync()].concat()).await;
        assert_eq!(prepared, "1\nZ I", "{sql}");
        let read = [bind("", "s", &values, &[]), execute("", 0)].concat();
        read_in_series(&mut client, world, &read).await;
        world.does(Deed::Put { key: 8, value }).await;
        // The last of the series, and one that others follow.
        let told = client.script(&[update.clone(), sync()].concat()).await;
        assert_eq!(told, "1\n2\nE ERROR 40001\nZ I", "{store}, {level}: {sql}");
        read_in_series(&mut client, world, &read).await;
        world.does(Deed::Put { key: 8, value: value + 1 }).await;
        let told = client.script(&[update.clone(), update.clone(), sync()].concat()).await;
        assert_eq!(told, "1\n2\nE ERROR 40001\nZ I", "{store}, {level}: {sql}");
        // A block that begins in between takes it over.
        read_in_series(&mut client, world, &read).await;
        world.does(Deed::Put { key: 8, value: value + 2 }).await;
        let told = client.script(&[one("BEGIN"), update.clone(), sync()].concat()).await;
        assert_eq!(told, "1\n2\nC BEGIN\n1\n2\nE ERROR 40001\nZ E", "{store}, {level}: {sql}");
        assert_eq!(client.script(&query("ROLLBACK")).await, "C ROLLBACK\nZ I");
        // With `Sync` the transaction is over, and what was read in it.
        read_in_series(&mut client, world, &read).await;
        assert_eq!(client.script(&sync()).await, "Z I");
        world.does(Deed::Put { key: 8, value: value + 3 }).await;
        assert_eq!(client.script(&[update.clone(), sync()].concat()).await, "1\n2\nC UPDATE 1\nZ I", "{store}, {level}: {sql}");
        world.rows.insert(8, 1);
    }
    assert_eq!(world.reader(&FROM_STORE).await.answer(&balance(store, 8)).await, "1", "{store}");
}
