//! The disk under the log of changes is full while PostgreSQL goes on: the feed tells what it can, says what it waits for, and when there
//! is room again nothing is lost, whether the server lived through it or not.
//!
//! The next files of the log are links to `/dev/full`, on which every write fails as on a full disk. A file is begun when the one before
//! is full.

use std::path::PathBuf;

use super::follow::{barriers, told, until_feed, until_streaming, until_told};
use super::native::Native;
use super::room::{self, LOG, Room};
use crate::support::proxy::{self, Place};

const ORDERS: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, v text)";
/// The least that a log may have; a quarter of it is in one file.
const SMALL: &str = "changes.log_size = \"32MiB\"";
/// How large a row is, and how many of them are more than a file has room for.
const ROW: usize = 800 << 10;
const ROWS: i64 = 13;
/// More transactions than the log has.
const NUMBERS: u64 = 500;
const SHOWN: &str = "op, key->>'id', length(new->>'v'), position";

/// The disk under the log of a store.
struct Disk(PathBuf);

impl Disk {
    fn of(room: &Room) -> Self {
        Self(room.place.path().join(".state/changes/pg"))
    }

    /// The next file, whatever its first transaction is.
    fn next_files(&self) -> impl Iterator<Item = PathBuf> {
        (1..=NUMBERS).map(|first| self.0.join(format!("{first:016x}.new")))
    }

    /// No file can be begun any more.
    fn fill(&self) {
        for path in self.next_files() {
            std::os::unix::fs::symlink("/dev/full", path).unwrap();
        }
    }

    /// There is room again.
    fn free(&self) {
        for path in self.next_files() {
            // A file that was begun meanwhile is none of them any more.
            std::fs::remove_file(path).ok();
        }
    }
}

/// Writes some rows, each in a transaction of its own.
async fn write(native: &mut Native, ids: std::ops::RangeInclusive<i64>) {
    for id in ids {
        native.run(&format!("INSERT INTO orders VALUES ({id}, repeat('x', {ROW}))")).await;
    }
}

/// All of these rows are told once, in their order, and nothing else is.
async fn assert_told(room: &Room, last: i64) -> Vec<String> {
    let rows = until_told(room.session(), ("pg", SHOWN), usize::try_from(last).unwrap()).await;
    let without: Vec<&str> = rows.iter().map(|row| row.rsplit_once('|').unwrap().0).collect();
    let expected: Vec<String> = (1..=last).map(|id| format!("insert|{id}|{ROW}")).collect();
    assert_eq!(without, expected);
    assert_eq!(barriers(room.session(), "pg").await, Vec::<String>::new());
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_log_of_postgres_and_loses_nothing() {
    let server = room::own_postgres(&[]).await;
    let place = Place::new();
    place.configure(SMALL);
    let database = proxy::fresh(&server, ORDERS).await;
    place.postgres("pg", &server, &database, LOG);
    let mut room = Room::open(place).await;
    until_streaming(room.session(), "pg", &["orders"]).await;
    let mut native = Native::Postgres(proxy::direct(&server, &database).await);
    let disk = Disk::of(&room);
    let mut listener = room.listener(&["pg.orders"]).await;
    disk.fill();
    write(&mut native, 1..=ROWS).await;
    // Whoever listens is told all the same: what is not on disk waits in memory.
    for (note, id) in listener.next_of(usize::try_from(ROWS).unwrap()).await.iter().zip(1..) {
        assert_eq!(note.member("key"), format!("{{\"id\":{id}}}"));
    }
    let reason = until_feed(room.session(), "pg", "", "waiting").await;
    assert!(reason.starts_with("log: ") && reason.contains("No space left"), "{reason}");
    disk.free();
    until_streaming(room.session(), "pg", &["orders"]).await;
    let rows = assert_told(&room, ROWS).await;
    // They are on disk, under the places that they had.
    drop(listener);
    room.stop().await;
    room.start().await;
    until_streaming(room.session(), "pg", &["orders"]).await;
    assert_eq!(told(room.session(), "pg", SHOWN).await, rows);
    // The server ends while its disk is full, and there is room before the next start.
    disk.fill();
    write(&mut native, ROWS + 1..=2 * ROWS).await;
    until_feed(room.session(), "pg", "", "waiting").await;
    room.stop().await;
    disk.free();
    room.start().await;
    until_streaming(room.session(), "pg", &["orders"]).await;
    let all = assert_told(&room, 2 * ROWS).await;
    assert_eq!(all[..rows.len()], rows);
}
