//! The only reader of the process environment. Everything else is handed what it needs.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The variable's value; `None` when it is unset or empty.
pub fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The variable's value as text; `None` when it is unset, empty or not UTF-8.
pub fn text(name: &str) -> Option<String> {
    variable(name).and_then(|value| value.into_string().ok())
}

/// Every directory of `PATH`, in order.
pub fn program_directories() -> Vec<PathBuf> {
    variable("PATH").map(|paths| env::split_paths(&paths).collect()).unwrap_or_default()
}

/// Where programs and packages fetched for tests are kept: `$XDG_CACHE_HOME/tributary` or `~/.cache/tributary`.
pub fn cache_directory() -> Option<PathBuf> {
    base_directory("XDG_CACHE_HOME", ".cache")
}

/// Where the demo keeps its data: `$XDG_DATA_HOME/tributary` or `~/.local/share/tributary`.
pub fn data_directory() -> Option<PathBuf> {
    base_directory("XDG_DATA_HOME", ".local/share")
}

/// XDG base directories (Base Directory Specification 0.8): a relative path in the variable is to be ignored.
fn base_directory(name: &str, below_home: &str) -> Option<PathBuf> {
    let named = variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = named.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(below_home)))?;
    Some(base.join("tributary"))
}
