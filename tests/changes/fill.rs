//! Tables that are read while others write to them: what SUBSCRIBE … WITH SNAPSHOT gives, rows first and then changes, must come to the
//! content of the table. That a reader which takes every change for one of its snapshot would be found out is tried in the contract suite.

use std::time::Duration;

use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use tokio_util::sync::CancellationToken;
use tributary::task::OwnedTask;

use super::check::{Content, Deed};
use super::follow::{Live, until_streaming};
use super::native::Native;
use super::room::{self, LOG, OUTBOX, Room};
use crate::commit::stage::mongodb_client;
use crate::differential::random::Random;
use crate::support;
use crate::support::proxy::{self, OWNER, Place, Session};

/// How often a snapshot is taken.
const TIMES: i64 = 4;
/// Keys, of which each of two writers has every other one.
const KEYS: i64 = 40;
const WRITERS: i64 = 2;
/// How long they write beside a snapshot, and behind it.
const WHILE: Duration = Duration::from_millis(150);
const TABLE: &str = "CREATE TABLE accounts (_id bigint NOT NULL PRIMARY KEY, balance bigint NOT NULL)";

/// Transactions until it is told to stop, of which some are undone. Gives the connection and the rows of its own keys back.
async fn write(mut native: Native, stop: CancellationToken, (writer, mut rows): (i64, Content)) -> Content {
    let mut random = Random::new(u64::try_from(writer).unwrap());
    let mut balance = 0;
    while !stop.is_cancelled() {
        native.begin().await;
        let mut after = rows.clone();
        for _ in 0..=random.below(3) {
            balance += 1;
            let key = i64::try_from(random.below(usize::try_from(KEYS / WRITERS).unwrap())).unwrap() * WRITERS + writer + 1;
            let is_deleted = after.contains_key(&key) && random.chance(30);
            let deed = if is_deleted { Deed::Delete { key } } else { Deed::Put { key, value: balance } };
            native.deed(deed, &after).await;
            deed.apply(&mut after);
        }
        let is_kept = random.chance(80);
        native.end(is_kept).await;
        if is_kept {
            rows = after;
        }
    }
    rows
}

/// Takes rows, then changes, until the row with the key `mark` comes. `behind` is done once the snapshot is there.
async fn replay(session: &Session, store: &str, behind: impl AsyncFnOnce(), mark: i64) -> Content {
    let mut live = Live::start(session, &format!("SUBSCRIBE TO {store}.accounts WITH SNAPSHOT")).await;
    let mut rows = Content::new();
    let mut behind = Some(behind);
    loop {
        let row = live.next().await.unwrap();
        let fields: Vec<&str> = row.split('|').collect();
        let (key, value) = (fields[4].parse::<i64>(), fields[5].parse::<i64>());
        match (fields[0], key, value) {
            ("snapshot_end", ..) => behind.take().expect("the snapshot has ended twice")().await,
            ("snapshot", Ok(key), Ok(value)) => {
                assert!(behind.is_some(), "a row of the snapshot behind its end");
                assert_eq!(rows.insert(key, value), None, "{key} is twice in the snapshot");
            }
            (_, Ok(key), _) if key == mark => return rows,
            ("delete", Ok(key), _) => Deed::Delete { key }.apply(&mut rows),
            (_, Ok(key), Ok(value)) => Deed::Put { key, value }.apply(&mut rows),
            _ => panic!("{row} is of no kind"),
        }
    }
}

/// Takes snapshots while two write; each time what was written up to a mark counts.
async fn race(room: &Room, store: &str, connect: impl AsyncFn() -> Native) {
    let address = room.server().addresses()[0];
    let mut marker = connect().await;
    let mut written = vec![Content::new(); usize::try_from(WRITERS).unwrap()];
    for time in 1..=TIMES {
        let stop = CancellationToken::new();
        let mut tasks = Vec::new();
        for (writer, rows) in (0..).zip(written.drain(..)) {
            tasks.push(OwnedTask::spawn(write(connect().await, stop.clone(), (writer, rows))));
        }
        tokio::time::sleep(WHILE).await;
        let session = proxy::open(&proxy::login(address, OWNER)).await.unwrap();
        let mark = KEYS + time;
        let behind = async || {
            tokio::time::sleep(WHILE).await;
            stop.cancel();
            for task in tasks {
                written.push(task.join().await.expect("a writer has failed"));
            }
            marker.begin().await;
            marker.deed(Deed::Put { key: mark, value: 0 }, &Content::new()).await;
            marker.end(true).await;
        };
        let mut told = replay(&session, store, behind, mark).await;
        told.retain(|key, _| *key <= KEYS);
        let expected: Content = written.iter().flatten().map(|(key, value)| (*key, *value)).collect();
        assert_eq!(told, expected, "the snapshot number {time} of {store}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_and_changes_of_postgres_come_to_its_rows() {
    let (server, place) = (room::postgres().await, Place::new());
    let database = proxy::fresh(server, TABLE).await;
    place.postgres("pg", server, &database, LOG);
    let room = Room::open(place).await;
    until_streaming(room.session(), "pg", &["accounts"]).await;
    Box::pin(race(&room, "pg", async || Native::Postgres(proxy::direct(server, &database).await))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_and_changes_of_mariadb_come_to_its_rows() {
    let (server, place) = (room::mariadb().await, Place::new());
    let database = server.fresh_database().await.unwrap();
    let connect = async || {
        let options = server.mysql_options().database(&database);
        let mut native = Native::MariaDb(MySqlConnection::connect_with(&options).await.unwrap());
        native.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await;
        native
    };
    connect().await.run(TABLE).await;
    place.mariadb("maria", server, &database, LOG);
    let room = Room::open(place).await;
    until_streaming(room.session(), "maria", &["accounts"]).await;
    Box::pin(race(&room, "maria", connect)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_and_changes_of_mongodb_come_to_its_documents() {
    let columns = "sample = 0\n[collections.accounts.columns]\n_id = \"bigint\"\nbalance = \"bigint\"\n";
    let (room, database) = room::of_mongodb(&[("accounts", Vec::new())], &format!("{LOG}{columns}")).await;
    let connect = async || {
        let client = mongodb_client(support::mongodb().await).await;
        Native::MongoDb { database: client.database(database.name()), client, open: None }
    };
    Box::pin(race(&room, "mongo", connect)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_and_changes_of_a_file_come_to_its_rows() {
    let (room, _native) = room::of_sqlite(TABLE, OUTBOX, &["accounts"]).await;
    Box::pin(race(&room, "file", async || room::in_file(&room.place).await)).await;
}
