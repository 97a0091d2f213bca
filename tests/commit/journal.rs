//! The log of decisions as a file: what a start makes of one that ends early, and of one that is damaged.

use std::fs;
use std::path::{Path, PathBuf};

use super::bank::settled;
use super::stage::Shared;
use crate::support::proxy::{self, OWNER};

/// Bytes of the header, which are written once.
const HEADER: usize = 64;

/// A directory whose log has decided some commits of PostgreSQL and a file, and is held by nobody.
async fn decided() -> Shared {
    let mut shared = Shared::of_files().await;
    let session = shared.session().await;
    for number in 1..=20 {
        session
            .answer(&format!("BEGIN; INSERT INTO pg.moves VALUES ({number}, 1, 0); INSERT INTO east.moves VALUES ({number}, 1, 0)"))
            .await;
        session.answer("COMMIT").await;
    }
    settled(&session).await;
    drop(session);
    shared.stop().await;
    shared
}

fn log(directory: &Path) -> PathBuf {
    let entries = fs::read_dir(directory.join(".state")).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "log")).collect();
    logs.sort();
    logs.pop().expect("a log of commits")
}

/// What a commit of both stores says, and how many rows there are then.
async fn goes_on(shared: &Shared) -> String {
    let server = Box::pin(shared.place.serve()).await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("BEGIN; INSERT INTO pg.moves VALUES (100, 1, 0); INSERT INTO east.moves VALUES (100, 1, 0)").await;
    session.answer("COMMIT").await;
    let said = session.answer("SHOW tributary.last_commit; SELECT count(*) FROM pg.moves").await;
    session.answer("BEGIN; DELETE FROM pg.moves WHERE _id = 100; DELETE FROM east.moves WHERE _id = 100").await;
    session.answer("COMMIT").await;
    settled(&session).await;
    server.stop().await;
    said
}

/// The bytes of the log, and where the last of its records ends: what follows is empty.
fn read(path: &Path) -> (Vec<u8>, usize) {
    let bytes = fs::read(path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(end > HEADER + 20 * 16, "{end} bytes of a log of 20 decisions");
    (bytes, end)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_in_the_middle_of_a_record_of_postgres_is_cut_there() {
    // The last of the records went to the disk in part, or as something else, or not at all.
    let damages: [fn(&mut Vec<u8>, usize); 3] =
        [|bytes, end| bytes[end - 3..].fill(0), |bytes, end| bytes[end - 1] ^= 0x40, |bytes, end| bytes.truncate(end - 1)];
    for damage in damages {
        let shared = decided().await;
        let path = log(shared.place.path());
        let (mut bytes, end) = read(&path);
        damage(&mut bytes, end);
        fs::write(&path, bytes).unwrap();
        assert_eq!(goes_on(&shared).await, "last resource: pg; last: east\n21");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_postgres_that_is_damaged_in_the_middle_is_refused_by_its_name() {
    let shared = decided().await;
    let path = log(shared.place.path());
    let (whole, end) = read(&path);
    // The header, the first record, and one in the middle.
    for place in [0, HEADER + 1, HEADER + (end - HEADER) / 2] {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x01;
        fs::write(&path, &damaged).unwrap();
        let error = Box::pin(shared.place.try_serve()).await.unwrap_err();
        let told = format!("{error}: {error:?}");
        assert!(told.contains(path.file_name().unwrap().to_str().unwrap()), "byte {place}: {told}");
        assert_eq!(fs::read(&path).unwrap(), damaged, "a log that is refused is left as it is");
    }
    fs::write(&path, whole).unwrap();
    assert_eq!(goes_on(&shared).await, "last resource: pg; last: east\n21");
}
