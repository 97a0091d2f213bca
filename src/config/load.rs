//! Reads a whole catalog directory and reports everything that is wrong with it in one go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use toml::de::DeTable;

use super::secret::{CatalogSecrets, read_text};
use super::settings::{self, Settings};
use super::store::{self, Outcome};
use super::target::Target;
use super::{Confidential, Config, StoreConfig, name};
use crate::catalog::discover::ViewSource;
use crate::options::Problem;
use crate::spelling::nearest;

/// Largest file of a catalog directory: a configuration or a view is text that people write.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most syntax errors that are told of one file: what follows the first few is mostly their echo.
const SYNTAX_ERRORS_MAX: usize = 5;

/// Reads the catalog directory.
///
/// # Errors
/// Every problem of every file.
pub fn load(directory: &Path) -> Result<Config, Vec<Problem>> {
    let Ok(directory) = directory.canonicalize() else {
        return Err(vec![problem("", &directory.display().to_string(), "is not a directory that can be read")]);
    };
    let mut loading =
        Loading { secrets: CatalogSecrets::new(&directory), directory, problems: Vec::new(), confidential: Vec::new() };
    let settings = loading.settings();
    let (stores, disabled) = loading.stores();
    let views = loading.views();
    let opened = loading.secrets.opened();
    loading.confidential.extend(opened.into_iter().map(|path| Confidential { path, content: "a secret" }));
    let Loading { directory, mut problems, mut confidential, .. } = loading;
    problems.extend(same_schemas(&stores));
    problems.extend(settings.as_ref().and_then(|settings| without_ledger(settings, &stores)));
    confidential.sort();
    confidential.dedup();
    match settings {
        Some(settings) if problems.is_empty() => Ok(Config { directory, settings, stores, disabled, views, confidential }),
        _ => Err(problems),
    }
}

/// Reads the file of one store, also of one that is switched off, and nothing else of the directory; and whether it is switched on.
///
/// # Errors
/// There is no such file, or every problem of it.
pub fn one_store(directory: &Path, name: &str) -> Result<(StoreConfig, bool), Vec<Problem>> {
    let Ok(directory) = directory.canonicalize() else {
        return Err(vec![problem("", &directory.display().to_string(), "is not a directory that can be read")]);
    };
    let secrets = CatalogSecrets::new(&directory);
    let mut loading = Loading { secrets, directory, problems: Vec::new(), confidential: Vec::new() };
    let files = loading.files("stores", "toml");
    let Some(path) = files.get(name) else {
        let near = nearest(name, files.keys().map(String::as_str)).map(|near| format!("; perhaps \"{near}\"")).unwrap_or_default();
        return Err(vec![problem("stores", &format!("\"{name}\""), &format!("is not the name of a file there{near}"))]);
    };
    let Some(mut table) = loading.toml(&format!("stores.{name}"), path) else { return Err(loading.problems) };
    let is_enabled = table.remove("enabled").is_none_or(|enabled| enabled.as_bool().unwrap_or(true));
    match store::read(name, &table, &loading.secrets)?.outcome {
        Outcome::Enabled(store) => Ok((*store, is_enabled)),
        Outcome::Disabled(name) => Err(vec![problem(&format!("stores.{name}"), "", "is switched off")]),
    }
}

/// The other files of the directory that are switched on and may be of the same store as the one with this name, by their names.
pub fn others_of(directory: &Path, name: &str) -> Vec<String> {
    let Ok(directory) = directory.canonicalize() else { return Vec::new() };
    let secrets = CatalogSecrets::new(&directory);
    let mut loading = Loading { secrets, directory, problems: Vec::new(), confidential: Vec::new() };
    let mut targets = BTreeMap::new();
    for (file, path) in loading.files("stores", "toml") {
        let Some(table) = loading.toml(&format!("stores.{file}"), &path) else { continue };
        let is_enabled = table.get("enabled").and_then(toml::Value::as_bool).unwrap_or(true);
        if let Some(target) = Target::of(&table, &loading.secrets).filter(|_| is_enabled || file == name) {
            targets.insert(file, target);
        }
    }
    let Some(own) = targets.remove(name) else { return Vec::new() };
    targets.into_iter().filter(|(_, target)| target.may_be(&own)).map(|(file, _)| file).collect()
}

struct Loading {
    directory: PathBuf,
    secrets: CatalogSecrets,
    problems: Vec<Problem>,
    confidential: Vec<Confidential>,
}

impl Loading {
    fn settings(&mut self) -> Option<Settings> {
        let path = self.directory.join("tributary.toml");
        if matches!(fs::metadata(&path), Err(error) if error.kind() == io::ErrorKind::NotFound) {
            let directory = self.directory.display().to_string();
            self.problems.push(problem("", &directory, "is not a catalog directory: it has no tributary.toml"));
            return None;
        }
        let table = self.toml("tributary", &path)?;
        let (settings, problems) = settings::read(&table, &self.secrets);
        let is_sound = problems.is_empty();
        self.problems.extend(problems);
        if let Some(tls) = &settings.tls {
            self.confidential.push(Confidential { path: tls.key.clone(), content: "a private key" });
        }
        if settings.roles.values().any(|role| role.verifier.is_some()) {
            self.confidential.push(Confidential { path, content: "password verifiers" });
        }
        is_sound.then_some(settings)
    }

    fn stores(&mut self) -> (Vec<super::StoreConfig>, Vec<crate::stores::StoreName>) {
        let (mut enabled, mut disabled) = (Vec::new(), Vec::new());
        for (name, path) in self.files("stores", "toml") {
            let Some(table) = self.toml(&format!("stores.{name}"), &path) else { continue };
            match store::read(&name, &table, &self.secrets) {
                Ok(file) => {
                    if file.has_literal_secret {
                        self.confidential.push(Confidential { path, content: "a password in plain text" });
                    }
                    match file.outcome {
                        Outcome::Enabled(store) => enabled.push(*store),
                        Outcome::Disabled(name) => disabled.push(name),
                    }
                }
                Err(problems) => self.problems.extend(problems),
            }
        }
        (enabled, disabled)
    }

    fn views(&mut self) -> Vec<ViewSource> {
        let mut views = Vec::new();
        for (name, path) in self.files("views", "sql") {
            let place = format!("views.{name}");
            if let Some(rule) = name::broken_rule(&name) {
                self.problems.push(problem(&place, &format!("\"{name}\""), &rule));
            }
            match read_text(&path, FILE_BYTES_MAX) {
                Ok(sql) if sql.trim().is_empty() => self.problems.push(problem(&place, "", "holds no query")),
                Ok(sql) => views.push(ViewSource { name, sql }),
                Err(error) => self.problems.push(problem(&place, "", &format!("cannot be read: {error}"))),
            }
        }
        views
    }

    /// Files of a sub-directory by name. Hidden files and editors' copies (`~`) are passed over; other endings are told,
    /// because `crm.tml` would otherwise be a store that silently does not exist.
    fn files(&mut self, below: &str, ending: &str) -> BTreeMap<String, PathBuf> {
        let mut found = BTreeMap::new();
        let directory = self.directory.join(below);
        if !directory.exists() {
            return found;
        }
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                self.problems.push(problem(below, "", &format!("cannot be read: {error}")));
                return found;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            let Some(file) = path.file_name().and_then(|file| file.to_str()).map(str::to_owned) else {
                self.problems.push(problem(below, &path.display().to_string(), "is not a name in UTF-8"));
                continue;
            };
            if file.starts_with('.') || file.ends_with('~') {
                continue;
            }
            match file.strip_suffix(&format!(".{ending}")) {
                Some(name) => drop(found.insert(name.to_owned(), path)),
                None => self.problems.push(problem(below, &format!("\"{file}\""), &format!("does not end in .{ending}"))),
            }
        }
        found
    }

    fn toml(&mut self, place: &str, path: &Path) -> Option<toml::Table> {
        let text = match read_text(path, FILE_BYTES_MAX) {
            Ok(text) => text,
            Err(error) => {
                self.problems.push(problem(place, &path.display().to_string(), &format!("cannot be read: {error}")));
                return None;
            }
        };
        let (_, errors) = DeTable::parse_recoverable(&text);
        // Only the parser's own words: its display form also shows the line, which may hold a password.
        let told = |error: &toml::de::Error| {
            let (line, column) = place_of(&text, error.span().map_or(0, |span| span.start));
            let rule = format!("is not TOML at line {line}, column {column}: {}", error.message());
            problem(place, &path.display().to_string(), &rule)
        };
        self.problems.extend(errors.iter().take(SYNTAX_ERRORS_MAX).map(told));
        match text.parse::<toml::Table>() {
            Ok(table) => Some(table),
            Err(error) => {
                if errors.is_empty() {
                    self.problems.push(told(&error));
                }
                None
            }
        }
    }
}

/// Two stores whose default namespaces would have one schema. What namespaces they have is known after discovery only
/// (`namespace::collisions`).
fn same_schemas(stores: &[super::StoreConfig]) -> Vec<Problem> {
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for store in stores {
        let naming = &store.entry.naming;
        let named = naming.namespaces.values().flatten().cloned();
        for schema in named.chain(naming.schema_of(&store.name, "", "")) {
            match taken.get(&schema) {
                Some(other) => {
                    let rule = format!("is already a schema of store \"{other}\"");
                    problems.push(problem(&format!("stores.{}.schema", store.name), &format!("\"{schema}\""), &rule));
                }
                None => drop(taken.insert(schema, store.name.as_str())),
            }
        }
    }
    problems
}

/// A store that is to keep the log of commits and cannot, or is not served.
fn without_ledger(settings: &Settings, stores: &[super::StoreConfig]) -> Option<Problem> {
    let name = settings.commit_log.as_ref()?;
    let rule = match stores.iter().find(|store| store.name == *name) {
        Some(store) if store.entry.connector.ledger().is_some() => return None,
        Some(store) => {
            format!("is a store of the kind {}, which keeps no log of commits: only postgres does", store.entry.connector.kind())
        }
        None => "is not \"file\" or the name of a store that is served".to_owned(),
    };
    Some(problem("tributary.commit.log", &format!("\"{name}\""), &rule))
}

fn place_of(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

fn problem(path: &str, value: &str, rule: &str) -> Problem {
    let path = if path.is_empty() { "catalog" } else { path };
    Problem { path: path.to_owned(), value: value.to_owned(), rule: rule.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(files: &[(&str, &str)]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let root = directory.path().canonicalize().unwrap();
        match load(directory.path()) {
            Ok(_) => Vec::new(),
            Err(problems) => {
                problems.iter().map(|problem| problem.to_string().replace(&format!("{}/", root.display()), "")).collect()
            }
        }
    }

    const GOOD: &str = "auth.trust = true\n[roles.ada]\n";

    #[test]
    fn problems_of_all_files_come_together() {
        let files = [
            ("tributary.toml", "listen = 1\nauth.trust = true\n[roles.ada]\n"),
            ("stores/crm.toml", "kind = \"none\""),
            ("stores/notes.txt", ""),
            ("stores/.hidden", ""),
            ("stores/crm.toml~", "["),
            ("stores/secret.toml", "kind = \"postgres\"\npassword = \"hunter2"),
            ("stores/torn.toml", "kind = postgres\nhost = \"h\"\nport 5432\n"),
            ("views/Big.sql", "SELECT 1"),
            ("views/empty.sql", " \n"),
        ];
        let mut said = told(&files);
        said.sort();
        assert_eq!(
            said,
            [
                "stores.crm.kind: \"none\" is not one of postgres, postgresql, mysql, mariadb, sqlite, mongodb, mongo",
                "stores.secret: stores/secret.toml is not TOML at line 2, column 20: invalid basic string, expected `\"`",
                "stores.torn: stores/torn.toml is not TOML at line 1, column 8: string values must be quoted, expected literal string",
                "stores.torn: stores/torn.toml is not TOML at line 3, column 6: key with no value, expected `=`",
                "stores: \"notes.txt\" does not end in .toml",
                "tributary.listen: \"1\" is not an address such as 127.0.0.1:5455 or [::1]:5455",
                "views.Big: \"Big\" is not a name of lowercase letters, digits and underscores that starts with a letter",
                "views.empty: holds no query",
            ]
        );
    }

    #[test]
    fn a_log_of_commits_needs_a_store_that_can_keep_it() {
        let main = "commit.log = \"books\"\nauth.trust = true\n[roles.ada]\n";
        let file = "kind = \"sqlite\"\npath = \"books.db\"";
        let rows = [
            (vec![("tributary.toml", main)], "is not \"file\" or the name of a store that is served"),
            (
                vec![("tributary.toml", main), ("stores/books.toml", file), ("books.db", "")],
                "is a store of the kind sqlite, which keeps no log of commits: only postgres does",
            ),
        ];
        for (files, rule) in rows {
            assert_eq!(told(&files), [format!("tributary.commit.log: \"books\" {rule}")]);
        }
        let store = "kind = \"postgres\"\nuser = \"u\"\ndatabase = \"d\"";
        assert_eq!(told(&[("tributary.toml", main), ("stores/books.toml", store)]), Vec::<String>::new());
    }

    #[test]
    fn a_missing_main_file_or_directory_is_told() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("x"), "").unwrap();
        let root = directory.path().canonicalize().unwrap();
        let bare: Vec<String> = load(directory.path()).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(bare, [format!("catalog: {} is not a catalog directory: it has no tributary.toml", root.display())]);
        let absent = load(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(absent[0].to_string(), "catalog: /nowhere/at/all is not a directory that can be read");
    }

    #[test]
    fn one_store_is_read_though_it_is_switched_off_and_others_are_broken() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("stores")).unwrap();
        let store = "kind = \"postgres\"\nuser = \"u\"\ndatabase = \"d\"\nenabled = false\nchanges.mode = \"log\"";
        fs::write(directory.path().join("stores/shop.toml"), store).unwrap();
        fs::write(directory.path().join("stores/crm.toml"), "=").unwrap();
        let (read, is_enabled) = one_store(directory.path(), "shop").unwrap();
        assert_eq!((read.name.as_str(), read.entry.follow.is_some(), is_enabled), ("shop", true, false));
        fs::write(directory.path().join("stores/shop.toml"), store.replace("enabled = false\n", "")).unwrap();
        assert!(one_store(directory.path(), "shop").unwrap().1);
        let told = |name: &str| one_store(directory.path(), name).unwrap_err()[0].to_string();
        assert_eq!(told("shpo"), "stores: \"shpo\" is not the name of a file there; perhaps \"shop\"");
        assert!(told("crm").contains("is not TOML"), "{}", told("crm"));
    }

    #[test]
    fn views_are_read_in_name_order() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("views")).unwrap();
        fs::write(directory.path().join("tributary.toml"), GOOD).unwrap();
        fs::write(directory.path().join("views/b.sql"), "SELECT 2").unwrap();
        fs::write(directory.path().join("views/a.sql"), "SELECT 1").unwrap();
        let config = load(directory.path()).unwrap();
        let names: Vec<&str> = config.views.iter().map(|view| view.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(config.stores.is_empty() && config.confidential.is_empty());
    }

    #[test]
    fn places_count_lines_and_characters_from_one() {
        for (offset, expected) in [(0, (1, 1)), (3, (2, 1)), (6, (2, 3)), (99, (2, 4))] {
            assert_eq!(place_of("ab\nöxy", offset), expected, "{offset}");
        }
    }
}
