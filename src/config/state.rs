//! `.state` in the catalog directory: what the program itself must remember, and its spill files.
//!
//! It lives in this room because it is the other half of the catalog directory and follows the same rules of place and mode;
//! what the files hold belongs to the rooms that write them.
//!
//! **Invariants:** one process at a time (an exclusive lock that the kernel drops with the process); a file is either its
//! old or its new version, never a part; the directory is 0700 and files are 0600; spill files of an earlier process are
//! gone before a new one starts. Reading and writing wait for the disk: call them from a blocking task.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Diagnose, sqlstate};

/// The version of the envelope around every file's content. Content has versions of its own if it needs them.
const FORMAT: u32 = 1;
/// The file that is locked while a process uses the directory.
const LOCK: &str = "lock";
/// How long it is waited for one that is held.
const HELD: Duration = Duration::from_secs(1);

/// What can go wrong with the state directory.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process serves the same catalog directory.
    #[error("{} is in use by another tributary process", directory.display())]
    InUse {
        /// The state directory.
        directory: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `write`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        #[source]
        reason: io::Error,
    },
    /// A file was written by a later version of the program.
    #[error("{} has format {found}, and this version of tributary reads format {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format it says it has.
        found: u32,
    },
    /// A file does not hold what was written.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        reason: String,
    },
}

impl Diagnose for StateError {
    fn sqlstate(&self) -> &str {
        match self {
            Self::InUse { .. } => sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::Io { .. } | Self::Format { .. } | Self::Damaged { .. } => sqlstate::SYSTEM_ERROR,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Io { reason, .. } => Some(format!("The reason is: {reason}.")),
            Self::InUse { .. } | Self::Format { .. } | Self::Damaged { .. } => None,
        }
    }
}

/// The state directory, held for this process alone.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
    /// The lock lives as long as the open file.
    _lock: File,
}

#[derive(Serialize)]
struct Written<'a, T> {
    format: u32,
    content: &'a T,
}

#[derive(Deserialize)]
struct Envelope {
    format: u32,
    content: serde_json::Value,
}

impl State {
    /// Takes `<catalog>/.state` for this process, makes it where it does not exist, and removes stale spill files.
    ///
    /// # Errors
    /// [`StateError::InUse`] when another process holds it, or what the operating system answered.
    pub fn open(catalog: &Path) -> Result<Self, StateError> {
        let directory = catalog.join(".state");
        private_directory(&directory)?;
        let lock = lock(&directory)?;
        let state = Self { directory, _lock: lock };
        let spill = state.spill_directory();
        match fs::remove_dir_all(&spill) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("clear", &spill)(error)),
            _ => private_directory(&spill)?,
        }
        Ok(state)
    }

    /// The state directory, which nobody else uses as long as this lives.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where queries spill. Empty after [`State::open`].
    pub fn spill_directory(&self) -> PathBuf {
        self.directory.join("spill")
    }

    /// Reads what [`State::write`] wrote under `name`; `None` when nothing was.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or is of a later version.
    pub fn read<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, StateError> {
        read(self.path(name))
    }

    /// What the process that holds the state of `catalog` now wrote under `name`; `None` when no process holds it, or it
    /// cannot be known.
    pub fn of_holder<T: DeserializeOwned>(catalog: &Path, name: &'static str) -> Option<T> {
        let directory = catalog.join(".state");
        let lock = File::open(directory.join(LOCK)).ok()?;
        let is_held = matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock));
        if is_held { read(file_of(&directory, name)).ok().flatten() } else { None }
    }

    /// What is kept of `catalog` under `name`, whether a process holds it or not; `None` when nothing is.
    ///
    /// # Errors
    /// As [`State::read`].
    pub fn of<T: DeserializeOwned>(catalog: &Path, name: &'static str) -> Result<Option<T>, StateError> {
        read(file_of(&catalog.join(".state"), name))
    }

    /// What was last written under `name` in the state of `catalog`, whether a process holds it or not; `None` when nothing was, or it
    /// cannot be read.
    pub fn peek<T: DeserializeOwned>(catalog: &Path, name: &'static str) -> Option<T> {
        read(file_of(&catalog.join(".state"), name)).ok().flatten()
    }

    /// Replaces what is kept under `name`. It is on disk when this returns.
    ///
    /// # Errors
    /// What the operating system answered; the old content is then still there.
    pub fn write<T: Serialize>(&self, name: &'static str, content: &T) -> Result<(), StateError> {
        let path = self.path(name);
        let text = serde_json::to_vec(&Written { format: FORMAT, content })
            .map_err(|error| StateError::Damaged { path: path.clone(), reason: error.to_string() })?;
        self.replace(&path, &text).map_err(failed("write", &path))
    }

    /// The new content is complete on disk before it gets the name, and the name is on disk before this returns.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file =
            tempfile::Builder::new().prefix(".new-").permissions(Permissions::from_mode(0o600)).tempfile_in(&self.directory)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|failure| failure.error)?;
        File::open(&self.directory)?.sync_all()
    }

    /// What to say when the content under `name` is not what its owner wrote.
    pub fn damaged(&self, name: &'static str, reason: String) -> StateError {
        StateError::Damaged { path: self.path(name), reason }
    }

    fn path(&self, name: &'static str) -> PathBuf {
        file_of(&self.directory, name)
    }
}

fn file_of(directory: &Path, name: &'static str) -> PathBuf {
    directory.join(format!("{name}.json"))
}

fn read<T: DeserializeOwned>(path: PathBuf) -> Result<Option<T>, StateError> {
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", &path)(error)),
    };
    let damaged = |error: serde_json::Error| StateError::Damaged { path: path.clone(), reason: error.to_string() };
    let envelope: Envelope = serde_json::from_str(&text).map_err(damaged)?;
    if envelope.format != FORMAT {
        return Err(StateError::Format { path, found: envelope.format });
    }
    serde_json::from_value(envelope.content).map(Some).map_err(damaged)
}

fn private_directory(path: &Path) -> Result<(), StateError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("create", path)(error)),
        _ => {}
    }
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed("restrict", path))
}

fn lock(directory: &Path) -> Result<File, StateError> {
    let path = directory.join(LOCK);
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed("open", &path))?;
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // Who has just ended may have begun a program a moment before, which has the lock until it runs.
            Err(TryLockError::WouldBlock) if since.elapsed() < HELD => std::thread::sleep(HELD / 20),
            Err(TryLockError::WouldBlock) => return Err(StateError::InUse { directory: directory.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
        }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |reason| StateError::Io { action, path, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_written_is_read_again_by_the_next_process() {
        let catalog = tempfile::tempdir().unwrap();
        let state = State::open(catalog.path()).unwrap();
        assert_eq!(state.read::<Vec<u32>>("oids").unwrap(), None);
        state.write("oids", &vec![1, 2]).unwrap();
        state.write("oids", &vec![3]).unwrap();
        fs::write(state.spill_directory().join("left"), "x").unwrap();
        assert_eq!(mode(&catalog.path().join(".state")), 0o700);
        assert_eq!(mode(&catalog.path().join(".state/oids.json")), 0o600);
        assert_eq!(mode(&catalog.path().join(".state/lock")), 0o600);
        drop(state);
        let state = State::open(catalog.path()).unwrap();
        assert_eq!(state.read::<Vec<u32>>("oids").unwrap(), Some(vec![3]));
        assert_eq!(fs::read_dir(state.spill_directory()).unwrap().count(), 0);
        let names: Vec<_> = fs::read_dir(catalog.path().join(".state")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
    }

    #[test]
    fn a_second_process_is_refused_and_loose_modes_are_tightened() {
        let catalog = tempfile::tempdir().unwrap();
        fs::create_dir(catalog.path().join(".state")).unwrap();
        fs::set_permissions(catalog.path().join(".state"), Permissions::from_mode(0o755)).unwrap();
        let first = State::open(catalog.path()).unwrap();
        assert_eq!(mode(&catalog.path().join(".state")), 0o700);
        let second = State::open(catalog.path()).unwrap_err();
        assert!(matches!(second, StateError::InUse { .. }), "{second}");
        assert!(second.to_string().ends_with(".state is in use by another tributary process"));
        drop(first);
        assert!(State::open(catalog.path()).is_ok());
    }

    #[test]
    fn only_what_a_running_process_wrote_is_told_to_others() {
        let catalog = tempfile::tempdir().unwrap();
        let told = || State::of_holder::<Vec<u32>>(catalog.path(), "listening");
        assert_eq!(told(), None);
        let state = State::open(catalog.path()).unwrap();
        assert_eq!(told(), None);
        state.write("listening", &vec![7]).unwrap();
        assert_eq!(told(), Some(vec![7]));
        drop(state);
        assert_eq!(told(), None);
        assert!(State::open(catalog.path()).is_ok(), "asking leaves no lock");
    }

    #[test]
    fn damage_and_later_formats_are_told_apart() {
        let catalog = tempfile::tempdir().unwrap();
        let state = State::open(catalog.path()).unwrap();
        let file = catalog.path().join(".state/oids.json");
        fs::write(&file, "{\"format\":1,\"content\":").unwrap();
        assert!(matches!(state.read::<u32>("oids"), Err(StateError::Damaged { .. })));
        fs::write(&file, "{\"format\":1,\"content\":\"x\"}").unwrap();
        assert!(matches!(state.read::<u32>("oids"), Err(StateError::Damaged { .. })));
        fs::write(&file, "{\"format\":2,\"content\":1}").unwrap();
        assert!(matches!(state.read::<u32>("oids"), Err(StateError::Format { found: 2, .. })));
    }
}
