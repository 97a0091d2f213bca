//! Finds the servers' programs.

use std::path::{Path, PathBuf};

use super::SandboxError;
use crate::config::environment;

/// A program a private server needs, and how to get it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) install: &'static str,
}

pub(super) const INITDB: Program = Program { name: "initdb", install: POSTGRES_INSTALL };
pub(super) const POSTGRES: Program = Program { name: "postgres", install: POSTGRES_INSTALL };
pub(super) const MARIADB_INSTALL: Program = Program { name: "mariadb-install-db", install: MARIADB_INSTALL_HINT };
pub(super) const MARIADBD: Program = Program { name: "mariadbd", install: MARIADB_INSTALL_HINT };
pub(super) const NATS: Program =
    Program { name: "nats-server", install: "install the Debian package nats-server, or run tests/run" };
pub(super) const MONGOD: Program = Program {
    name: "mongod",
    install: "name it in TRIBUTARY_MONGOD, put it in PATH, or run tests/run, which puts one into the cache directory",
};

const POSTGRES_INSTALL: &str = "install the Debian package postgresql-15, or run tests/run";
const MARIADB_INSTALL_HINT: &str = "install the Debian package mariadb-server, or run tests/run";

/// Directories outside the usual `PATH` of an unprivileged user that hold server programs.
const SERVER_DIRECTORIES: &[&str] = &["/usr/sbin", "/usr/local/sbin", "/usr/local/pgsql/bin"];

impl Program {
    /// The program's path.
    pub(super) fn find(self) -> Result<PathBuf, SandboxError> {
        self.candidates()
            .into_iter()
            .find(|path| is_program(path))
            .ok_or(SandboxError::Missing { program: self.name, install: self.install })
    }

    fn candidates(self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        if self.name == MONGOD.name {
            found.extend(environment::variable("TRIBUTARY_MONGOD").map(PathBuf::from));
        }
        if self.name == POSTGRES.name || self.name == INITDB.name {
            // Both must come from one installation, so the newest Debian directory goes before PATH.
            found.extend(debian_postgres().into_iter().map(|directory| directory.join(self.name)));
        }
        found.extend(environment::program_directories().into_iter().map(|directory| directory.join(self.name)));
        found.extend(SERVER_DIRECTORIES.iter().map(|directory| Path::new(directory).join(self.name)));
        found.extend(environment::cache_directory().map(|directory| directory.join(self.name)));
        found
    }
}

/// `/usr/lib/postgresql/<major>/bin`, newest first.
fn debian_postgres() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/usr/lib/postgresql") else { return Vec::new() };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version.0));
    versions.into_iter().map(|(_, path)| path).collect()
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
