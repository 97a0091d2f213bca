//! Looks up `${NAME}` in the environment and `{ file = "…" }` beside the catalog.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::environment;
use crate::options::Secrets;

/// Largest secret file; a password is shorter, and a wrong path must not fill memory.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Secrets of one catalog directory. Remembers the files it opened, so that `check --security` can look at their modes.
#[derive(Debug)]
pub(super) struct CatalogSecrets {
    directory: PathBuf,
    opened: Mutex<Vec<PathBuf>>,
}

impl CatalogSecrets {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), opened: Mutex::new(Vec::new()) }
    }

    /// The files that were read.
    pub(super) fn opened(&self) -> Vec<PathBuf> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Secrets for CatalogSecrets {
    fn variable(&self, name: &str) -> Option<String> {
        environment::text(name)
    }

    fn file(&self, path: &str) -> Result<String, String> {
        let path = self.resolve(path);
        let content = read_text(&path, SECRET_BYTES_MAX).map_err(|error| error.to_string())?;
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(path);
        let line = content.strip_suffix('\n').unwrap_or(&content);
        Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
    }

    fn resolve(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }
}

/// Reads a text file of at most `bytes_max` bytes.
pub(super) fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if read as u64 > bytes_max {
        return Err(io::Error::other(format!("it is larger than {bytes_max} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_beside_the_catalog_without_their_last_line_end() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("password"), "one\ntwo\r\n").unwrap();
        std::fs::write(directory.path().join("large"), vec![b'x'; (64 << 10) + 1]).unwrap();
        let secrets = CatalogSecrets::new(directory.path());
        assert_eq!(secrets.file("password"), Ok("one\ntwo".to_owned()));
        assert!(secrets.file("large").unwrap_err().contains("larger than"));
        assert!(secrets.file("absent").is_err());
        assert_eq!(secrets.opened(), [directory.path().join("password")]);
        assert_eq!(secrets.resolve("/etc/x"), PathBuf::from("/etc/x"));
    }
}
