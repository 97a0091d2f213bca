//! The demo's own directory: who holds it, the password, the databases and the catalogs in it.
//!
//! ```text
//! demo.lock        held by the running demo; marks the directory as the demo's
//! password         of the role demo, 0600
//! databases/       the SQLite files and the version of their content; always complete
//! databases.new/   what a demo was building when it was stopped; removed at the next start
//! catalog/         written at each start; stores and views of your own in it are kept
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::command::{CommandError, password};
use crate::config::environment;
use crate::options::Secret;

const LOCK: &str = "demo.lock";

/// The directory, held by this process until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    directory: PathBuf,
    /// The kernel lets go of the lock with the file.
    _lock: File,
}

impl Place {
    /// Takes the wanted directory, or the user's own.
    ///
    /// # Errors
    /// It cannot be written, another demo holds it, or it holds something else.
    pub(super) fn take(wanted: Option<&Path>) -> Result<Self, CommandError> {
        let directory = match wanted {
            Some(directory) => directory.to_owned(),
            None => environment::data_directory().ok_or_else(no_home)?.join("demo"),
        };
        let unusable = |error: io::Error| {
            let place = directory.display();
            CommandError::Refused(format!("the demo cannot keep its data in {place} ({error}); --data-dir names another directory"))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(unusable)?;
        // Absolute, because the databases are named relative to the catalog and not to where the program was started.
        let directory = directory.canonicalize().map_err(unusable)?;
        let path = directory.join(LOCK);
        if !path.exists() && fs::read_dir(&directory).map_err(unusable)?.next().is_some() {
            let place = directory.display();
            return Err(CommandError::Refused(format!("{place} holds something else already; --data-dir names another directory")));
        }
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory, _lock: lock }),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
            Err(TryLockError::WouldBlock) => {
                let place = directory.display();
                let hint = "end it with Ctrl-C, or name another directory with --data-dir";
                Err(CommandError::Refused(format!("a demo is running already on {place}: {hint}")))
            }
        }
    }

    /// Where everything is.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The password of the role `demo`, made at the first start.
    ///
    /// # Errors
    /// It cannot be kept.
    pub(super) fn password(&self) -> Result<Secret, CommandError> {
        let path = self.directory.join("password");
        let kept = fs::read_to_string(&path).unwrap_or_default();
        // A text that is no password of ours was cut short or changed, and would not fit into the connection line.
        if kept.len() >= 16 && kept.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            return Ok(Secret::new(kept));
        }
        let made = password::make_password();
        write_private(&path, made.expose())?;
        Ok(made)
    }

    /// The databases of an earlier start, if they are of that version and all files are there.
    pub(super) fn databases(&self, version: &str, files: &[String]) -> Option<PathBuf> {
        let databases = self.directory.join("databases");
        let found = fs::read_to_string(databases.join("version")).ok()?;
        let is_complete = files.iter().all(|file| databases.join(file).is_file());
        (found == version && is_complete).then_some(databases)
    }

    /// An empty directory to build the databases in.
    ///
    /// # Errors
    /// What the operating system answered.
    pub(super) fn unfinished(&self) -> io::Result<PathBuf> {
        let unfinished = self.directory.join("databases.new");
        remove(&unfinished)?;
        DirBuilder::new().mode(0o700).create(&unfinished)?;
        Ok(unfinished)
    }

    /// Gives the built databases their name, in place of older ones: they are complete or not there at all.
    ///
    /// # Errors
    /// What the operating system answered.
    pub(super) fn finish(&self, unfinished: &Path, version: &str) -> io::Result<PathBuf> {
        let databases = self.directory.join("databases");
        write_private(&unfinished.join("version"), version)?;
        for entry in fs::read_dir(unfinished)? {
            File::open(entry?.path())?.sync_all()?;
        }
        remove(&databases)?;
        fs::rename(unfinished, &databases)?;
        File::open(&self.directory)?.sync_all()?;
        Ok(databases)
    }

    /// A catalog directory of that name.
    ///
    /// # Errors
    /// What the operating system answered.
    pub(super) fn catalog(&self, name: &str) -> io::Result<PathBuf> {
        let catalog = self.directory.join(name);
        for directory in [catalog.clone(), catalog.join("stores"), catalog.join("views")] {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        Ok(catalog)
    }
}

/// Removes a directory that may be absent.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a file that only its owner reads; it has its old or its new content, never a part.
pub(super) fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let builder = &mut tempfile::Builder::new();
    let mut file = builder.prefix(".new-").permissions(Permissions::from_mode(0o600)).tempfile_in(directory)?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|failure| failure.error)
}

fn no_home() -> CommandError {
    CommandError::Refused("neither HOME nor XDG_DATA_HOME is set; --data-dir names a directory for the demo's data".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(wanted: &Path) -> String {
        Place::take(Some(wanted)).unwrap_err().to_string()
    }

    #[test]
    fn a_directory_with_something_else_in_it_is_left_alone() {
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("databases")).unwrap();
        assert!(refused(outside.path()).contains("holds something else already"));
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        fs::write(outside.path().join("file"), "").unwrap();
        assert!(refused(&outside.path().join("file/demo")).contains("--data-dir"));
    }

    #[test]
    fn one_demo_at_a_time_holds_a_directory() {
        let outside = tempfile::tempdir().unwrap();
        let wanted = outside.path().join("new/demo");
        let place = Place::take(Some(&wanted)).unwrap();
        assert!(refused(&wanted).contains("a demo is running already"));
        drop(place);
        Place::take(Some(&wanted)).unwrap();
    }

    #[test]
    fn a_password_stays_until_it_is_damaged() {
        let outside = tempfile::tempdir().unwrap();
        let place = Place::take(Some(outside.path())).unwrap();
        let first = place.password().unwrap();
        let path = outside.path().join("password");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(place.password().unwrap().expose(), first.expose());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for damaged in ["", "abc", "0123456789abcdef@evil/"] {
            fs::write(&path, damaged).unwrap();
            let made = place.password().unwrap();
            assert!(made.expose() != damaged && made.expose() != first.expose() && made.expose().len() == 24);
        }
    }

    #[test]
    fn databases_count_only_when_they_are_complete_and_of_the_version() {
        let outside = tempfile::tempdir().unwrap();
        let place = Place::take(Some(outside.path())).unwrap();
        let files = ["hydro.db".to_owned()];
        assert_eq!(place.databases("1", &files), None);
        let unfinished = place.unfinished().unwrap();
        fs::write(unfinished.join("hydro.db"), "half").unwrap();
        assert_eq!(place.databases("1", &files), None);
        let unfinished = place.unfinished().unwrap();
        assert_eq!(fs::read_dir(&unfinished).unwrap().count(), 0);
        fs::write(unfinished.join("hydro.db"), "whole").unwrap();
        let databases = place.finish(&unfinished, "1").unwrap();
        assert_eq!(place.databases("1", &files), Some(databases.clone()));
        assert_eq!(place.databases("2", &files), None);
        let unfinished = place.unfinished().unwrap();
        place.finish(&unfinished, "2").unwrap();
        assert_eq!(place.databases("2", &files), None);
        fs::write(databases.join("hydro.db"), "whole").unwrap();
        assert_eq!(place.databases("2", &files), Some(databases));
    }
}
