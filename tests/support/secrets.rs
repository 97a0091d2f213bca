//! Store files of tests hold what they need themselves.

use std::path::PathBuf;

use tributary::options::Secrets;

/// No variables and no files; paths as they are written.
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn file(&self, _path: &str) -> Result<String, String> {
        Err("there are no files".to_owned())
    }

    fn resolve(&self, path: &str) -> PathBuf {
        PathBuf::from(path)
    }
}
