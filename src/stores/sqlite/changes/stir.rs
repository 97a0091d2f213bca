//! Whether a file may have changed since it was looked at, without asking SQLite: by the lengths and times that the file system keeps of
//! it and of its write-ahead log.
//!
//! Who writes changes them before anybody sees what was written: a file without a write-ahead log is written before its lock is let go
//! of, and a write-ahead log before the index says that its rows count. Between the two there may be a sync, and times have a coarse
//! grain, so that looks go on for some time behind each change of them. What is still not noticed (a sync that takes longer, a file
//! system that keeps no times, a writer through a memory map) is found by the look of each beat, whatever is said here.
//!
//! **Invariants:** files are asked for by their paths. One that was opened and closed here would take the locks away that SQLite has of
//! it in this process (<https://www.sqlite.org/howtocorrupt.html>, 2.2).

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// For how long behind the last change that was noticed a file counts as changing: longer than the grain of most clocks of files, and than
/// most syncs.
const SETTLE: Duration = Duration::from_secs(1);

/// What is remembered of a file between two looks.
#[derive(Debug, Default)]
pub(super) struct Stir {
    /// The file itself and its write-ahead log; without them it counts as changing.
    paths: Option<(PathBuf, PathBuf)>,
    known: Option<State>,
    /// When they were noticed to be so.
    since: Option<Instant>,
    /// Whether somebody was sent to look once they had been so for long enough.
    is_settled: bool,
}

/// What the file system says of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    file: Trace,
    /// `None`: it is not there.
    log: Option<Trace>,
}

/// What writing changes of a file, and what tells it from another of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trace {
    identity: (u64, u64),
    length: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// The same of what the file system keeps of it, which nobody can set.
    changed: (i64, i64),
}

impl Stir {
    /// Of a file by its own path, where links have been followed: SQLite puts the write-ahead log beside that. `None` is one of which
    /// nothing is known.
    pub(super) fn of(file: Option<PathBuf>) -> Self {
        let paths = file.map(|file| {
            let mut log = OsString::from(&file);
            log.push("-wal");
            (file, PathBuf::from(log))
        });
        Self { paths, ..Self::default() }
    }

    /// Whether a look may find what the one before it has not. To be asked before each look, so that what is written while it is under way
    /// is seen by the next one.
    pub(super) fn may_have_changed(&mut self, now: Instant) -> bool {
        let state = self.state();
        if state.is_none() || state != self.known {
            (self.known, self.since, self.is_settled) = (state, Some(now), false);
            return true;
        }
        let is_young = self.since.is_none_or(|since| now.saturating_duration_since(since) < SETTLE);
        // One more look is made behind that time.
        is_young || !std::mem::replace(&mut self.is_settled, true)
    }

    /// `None` where that cannot be known.
    fn state(&self) -> Option<State> {
        let (file, log) = self.paths.as_ref()?;
        let file = Trace::of(&fs::metadata(file).ok()?);
        let log = match fs::metadata(log) {
            Ok(found) => Some(Trace::of(&found)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(_) => return None,
        };
        Some(State { file, log })
    }
}

impl Trace {
    fn of(found: &Metadata) -> Self {
        Self {
            identity: (found.dev(), found.ino()),
            length: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;
    use std::time::SystemTime;

    use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
    use sqlx::{AssertSqlSafe, Connection};

    use super::*;

    const MOMENT: Duration = Duration::from_millis(25);

    /// A file with its write-ahead log, of which nothing has changed for long enough.
    struct Resting {
        directory: tempfile::TempDir,
        stir: Stir,
        now: Instant,
    }

    impl Resting {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join("shop.db"), "page").unwrap();
            fs::write(directory.path().join("shop.db-wal"), "frame").unwrap();
            Self::over(directory)
        }

        fn over(directory: tempfile::TempDir) -> Self {
            let file = directory.path().join("shop.db");
            let mut resting = Self { directory, stir: Stir::of(Some(file)), now: Instant::now() };
            assert!(resting.is_looked_at(Duration::ZERO), "nothing is known of it");
            resting.settle();
            resting
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn is_looked_at(&mut self, later: Duration) -> bool {
            self.now += later;
            self.stir.may_have_changed(self.now)
        }

        /// Looks until the file rests, which takes as long as it should since the change was noticed just now.
        fn settle(&mut self) {
            let changed = self.now;
            while self.now + MOMENT < changed + SETTLE {
                assert!(self.is_looked_at(MOMENT), "it rests {:?} after it has changed", self.now - changed);
            }
            assert!(self.is_looked_at(MOMENT), "nobody has looked at what was written within the time");
            assert!(!self.is_looked_at(MOMENT), "it does not come to rest");
        }

        /// Whether a change is noticed at the next look, and looks go on for a while then.
        fn check(&mut self, change: impl FnOnce(&Self)) {
            assert!(!self.is_looked_at(MOMENT));
            change(self);
            assert!(self.is_looked_at(MOMENT));
            self.settle();
        }
    }

    /// Gives the file another time, with whatever grain times are kept.
    fn touch(path: &Path, seconds: u64) {
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn a_file_that_is_written_in_place_is_looked_at() {
        let mut resting = Resting::new();
        resting.check(|resting| touch(&resting.path("shop.db"), 1_000));
        // Also where its clock goes back.
        resting.check(|resting| touch(&resting.path("shop.db"), 500));
        resting.check(|resting| touch(&resting.path("shop.db-wal"), 1_000));
    }

    #[test]
    fn a_write_ahead_log_that_grows_goes_or_comes_back_is_looked_at() {
        let mut resting = Resting::new();
        resting.check(|resting| fs::write(resting.path("shop.db-wal"), "frame frame").unwrap());
        resting.check(|resting| fs::remove_file(resting.path("shop.db-wal")).unwrap());
        resting.check(|resting| fs::write(resting.path("shop.db-wal"), "frame").unwrap());
        // What lies beside it and is none of the two.
        assert!(!resting.is_looked_at(MOMENT));
        fs::write(resting.path("shop.db-shm"), "index").unwrap();
        assert!(!resting.is_looked_at(MOMENT));
    }

    #[test]
    fn another_file_under_the_name_is_looked_at() {
        let mut resting = Resting::new();
        resting.check(|resting| {
            fs::write(resting.path("new.db"), "page").unwrap();
            fs::rename(resting.path("new.db"), resting.path("shop.db")).unwrap();
        });
    }

    /// Runs statements, one after the other.
    async fn run(connection: &mut SqliteConnection, statements: &str) {
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(connection).await.unwrap();
    }

    /// Waits until what is written from now on has a later time than what these have, with whatever grain times are kept.
    fn pass_a_grain(resting: &Resting) {
        let written = |name: &str| fs::metadata(resting.path(name)).map_or((0, 0), |found| Trace::of(&found).changed);
        loop {
            fs::write(resting.path("now"), "now").unwrap();
            if written("now") > written("shop.db").max(written("shop.db-wal")) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[tokio::test]
    async fn a_commit_of_another_connection_is_noticed_at_the_next_look_whatever_the_journal() {
        for journal in ["delete", "truncate", "persist", "wal"] {
            let directory = tempfile::tempdir().unwrap();
            let options = SqliteConnectOptions::new().filename(directory.path().join("shop.db")).create_if_missing(true);
            let mut writer = SqliteConnection::connect_with(&options).await.unwrap();
            let made = "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 0)";
            run(&mut writer, &format!("PRAGMA journal_mode = {journal}; {made}")).await;
            // It is open all the time, as that of a feed is.
            let mut reader = SqliteConnection::connect_with(&options).await.unwrap();
            run(&mut reader, "SELECT n FROM t").await;
            let mut resting = Resting::over(directory);
            for n in 1..4 {
                pass_a_grain(&resting);
                assert!(!resting.is_looked_at(MOMENT), "{journal}: it does not rest before {n}");
                // As many pages as before.
                run(&mut writer, &format!("UPDATE t SET n = {n}")).await;
                assert!(resting.is_looked_at(MOMENT), "{journal}: commit {n} was not noticed");
                run(&mut reader, "SELECT n FROM t").await;
                resting.settle();
            }
            reader.close().await.unwrap();
            writer.close().await.unwrap();
        }
    }

    #[test]
    fn changes_within_the_time_begin_it_anew() {
        let mut resting = Resting::new();
        for seconds in 1..4 {
            touch(&resting.path("shop.db"), seconds);
            assert!(resting.is_looked_at(SETTLE - MOMENT));
        }
        resting.settle();
    }

    #[test]
    fn a_file_of_which_nothing_is_known_is_always_looked_at() {
        let mut resting = Resting::new();
        fs::remove_file(resting.path("shop.db")).unwrap();
        let mut pathless = Stir::of(None);
        for _ in 0..4 {
            assert!(resting.is_looked_at(SETTLE) && pathless.may_have_changed(resting.now));
        }
    }
}
