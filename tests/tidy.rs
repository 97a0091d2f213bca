//! The rules of the code that no compiler holds: first lines, sizes, names, and which room may use which. Reads sources only.
//!
//! Each rule is a function from a source text to complaints, tried on bad samples first: a checker that cannot complain
//! checks nothing.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

/// Most lines of a file without its tests.
const LINES_MAX: usize = 600;

/// Modules that every room may use, and that use only one another.
const LEAVES: &[&str] = &["address", "error", "format", "options", "pgtype", "spelling", "task"];

/// Rooms, and the rooms that each may use besides the leaves. Who stands left uses right only.
const ROOMS: &[(&str, &[&str])] = &[
    (
        "command",
        &[
            "sandbox",
            "config",
            "server",
            "wire",
            "session",
            "views",
            "federation",
            "write",
            "catalog",
            "cache",
            "changes",
            "stores",
            "telemetry",
        ],
    ),
    (
        "server",
        &["config", "wire", "session", "views", "federation", "write", "catalog", "cache", "changes", "stores", "telemetry"],
    ),
    ("sandbox", &["config"]),
    ("config", &["session", "catalog", "stores", "telemetry"]),
    ("wire", &["session", "telemetry"]),
    ("session", &["views", "federation", "write", "catalog", "cache", "changes", "stores", "telemetry"]),
    ("views", &["federation", "catalog", "cache", "changes", "stores", "telemetry"]),
    ("federation", &["catalog", "cache", "changes", "stores", "telemetry"]),
    ("write", &["catalog", "cache", "changes", "stores", "telemetry"]),
    ("catalog", &["cache", "changes", "stores", "telemetry"]),
    ("cache", &["changes", "stores", "telemetry"]),
    ("changes", &["stores", "telemetry"]),
    ("stores", &["telemetry"]),
    ("telemetry", &[]),
];

/// Store kinds: folders of `stores/` that know nothing of one another.
const KINDS: &[&str] = &["postgres", "mysql", "sqlite", "mongodb"];

/// Things that one place alone may mention: the text, and where it may stand.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("pgwire::", &["src/wire/"]),
    ("pgwire_replication::", &["src/stores/postgres/", "tests/", "benches/"]),
    ("mysql_async::", &["src/stores/mysql/"]),
    // The demo and the bench fill databases as their owners would, and benches measure against the drivers; none of it is on a
    // query's way.
    ("sqlx::", &["src/stores/", "src/sandbox/", "src/command/demo/", "src/command/bench/", "tests/", "benches/"]),
    ("mongodb::", &["src/stores/", "src/sandbox/", "src/command/demo/", "src/command/bench/", "tests/", "benches/"]),
    ("hyper::", &["src/telemetry/"]),
    ("clap::", &["src/command/"]),
    ("env::var", &["src/config/environment.rs"]),
    ("#[ignore", &[]),
    ("#[allow", &[]),
    ("#![allow", &[]),
];

/// Dependencies that no source names; Cargo.toml has the reason.
const UNNAMED: &[&str] = &["futures-channel"];

/// Words that say nothing about what a module is for.
const EMPTY_WORDS: &[&str] = &["manager", "helper", "helpers", "util", "utils", "common", "service", "data", "info", "misc"];

#[derive(Debug)]
struct Source {
    /// Relative to the package, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The text without the test module at its end.
    fn program(&self) -> &str {
        let end = self.text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        &self.text[..end]
    }

    /// Lines of the program that are not comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.program().lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The room below `src/`, or `None` for the root files and for tests.
    fn room(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        let first = below.split('/').next()?;
        let room = first.strip_suffix(".rs").unwrap_or(first);
        (!["main", "lib"].contains(&room)).then_some(room)
    }
}

fn first_line(source: &Source) -> Vec<String> {
    let documented = source.text.lines().next().is_some_and(|line| line.starts_with("//! ") && line.len() > 8);
    if documented { Vec::new() } else { vec![format!("{}: does not open with a //! line that says what lives here", source.path)] }
}

fn size(source: &Source) -> Vec<String> {
    let lines = source.program().lines().count();
    let complaint = format!("{}: {lines} lines without tests, more than {LINES_MAX}", source.path);
    if lines > LINES_MAX { vec![complaint] } else { Vec::new() }
}

fn name(source: &Source) -> Vec<String> {
    let parts = source.path.trim_end_matches(".rs").split('/');
    let empty = parts.filter(|part| EMPTY_WORDS.contains(part));
    empty.map(|part| format!("{}: \"{part}\" says nothing about what lives there", source.path)).collect()
}

fn rooms(source: &Source) -> Vec<String> {
    let Some(room) = source.room() else { return Vec::new() };
    let allowed = ROOMS.iter().find(|(name, _)| *name == room).map(|(_, allowed)| *allowed);
    if allowed.is_none() && !LEAVES.contains(&room) {
        return vec![format!("{}: room \"{room}\" is not in the table of rooms", source.path)];
    }
    // A name that is no room is a macro or an item of the crate's root.
    let is_room = |used: &str| LEAVES.contains(&used) || ROOMS.iter().any(|(name, _)| *name == used);
    let may_use = |used: &str| {
        !is_room(used) || used == room || LEAVES.contains(&used) || allowed.is_some_and(|allowed| allowed.contains(&used))
    };
    used_rooms(source)
        .into_iter()
        .filter(|(_, used)| !may_use(used))
        .map(|(line, used)| format!("{}:{line}: room \"{room}\" may not use \"{used}\"", source.path))
        .collect()
}

/// Every `crate::<module>` and `crate::{<module>…, <module>…}` with its line. Items of the crate's root, which start with a
/// capital letter, are no rooms.
fn used_rooms(source: &Source) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for (index, line) in source.code() {
        let code = line.split("//").next().unwrap_or(line);
        for (start, found) in code.match_indices("crate::") {
            let rest = &code[start + found.len()..];
            let names: Vec<&str> = match rest.strip_prefix('{') {
                Some(list) => top_level_names(list),
                None => vec![rest],
            };
            let words = names.into_iter().map(leading_word).filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
            used.extend(words.map(|word| (index + 1, word.to_owned())));
        }
    }
    used
}

fn leading_word(text: &str) -> &str {
    let text = text.trim_start();
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// The parts of `a::{b, c}, d` between commas that are not inside braces.
fn top_level_names(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut names) = (0_i32, 0, Vec::new());
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(&list[start..at]);
                return names;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    names.push(&list[start..]);
    names
}

fn kinds(source: &Source) -> Vec<String> {
    let Some(below) = source.path.strip_prefix("src/stores/") else { return Vec::new() };
    let Some(own) = KINDS.iter().find(|kind| below.starts_with(&format!("{kind}/"))) else { return Vec::new() };
    let mut complaints = Vec::new();
    for (index, line) in source.code() {
        for other in KINDS.iter().filter(|kind| *kind != own) {
            if line.contains(&format!("stores::{other}::")) || line.contains(&format!("super::{other}::")) {
                complaints.push(format!("{}:{}: store kind \"{own}\" may not know \"{other}\"", source.path, index + 1));
            }
        }
    }
    complaints
}

fn only_in(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, line) in source.code() {
        for (text, places) in ONLY_IN {
            let allowed = places.iter().any(|place| source.path.starts_with(place));
            if !allowed && contains_word(line, text) {
                complaints.push(format!("{}:{}: {text} may not stand here", source.path, index + 1));
            }
        }
    }
    complaints
}

/// Whether `text` stands in `line` as a path or attribute of its own, not as the end of a longer name or inside quotes.
fn contains_word(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| {
        let path = line[..at].strip_suffix("std::").unwrap_or(&line[..at]);
        let before = path.chars().next_back();
        let quoted = line[..at].matches('"').count() % 2 == 1;
        !quoted && before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
    })
}

/// Servers that tests share, by the word that must be in the name of a test that starts one: `SKIP_STORES` leaves tests out by
/// their names.
const SHARED_SERVERS: &[&str] = &["postgres", "mariadb", "mongodb"];

fn named_servers(source: &Source) -> Vec<String> {
    if !source.path.starts_with("tests/") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    let mut test = None;
    for (index, line) in source.text.lines().enumerate() {
        if line.trim_start().starts_with("#[") && line.contains("test") {
            test = Some(source.path.clone());
        } else if let (Some(name), Some((_, function))) = (&mut test, line.split_once("fn ")) {
            if !line.starts_with(' ') {
                name.push_str(leading_word(function));
            }
        } else if line == "}" {
            test = None;
        }
        for server in SHARED_SERVERS.iter().filter(|server| line.contains(&format!("support::{server}()"))) {
            if let Some(name) = test.as_ref().filter(|name| !name.contains(*server)) {
                complaints.push(format!("{}:{}: the test {name} starts {server} and does not say so", source.path, index + 1));
            }
        }
    }
    complaints
}

/// From a source to complaints.
type Rule = fn(&Source) -> Vec<String>;

const RULES: &[(&str, Rule)] = &[
    ("first line", first_line),
    ("size", size),
    ("name", name),
    ("rooms", rooms),
    ("kinds", kinds),
    ("only in", only_in),
    ("named servers", named_servers),
];

fn sources() -> Vec<Source> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = ["src", "tests", "benches"].iter().map(|below| package.join(below)).collect();
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(package).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path, text });
            }
        }
    }
    found
}

#[test]
fn the_sources_keep_the_rules() {
    let sources: Vec<Source> = sources().into_iter().filter(|source| source.path != "tests/tidy.rs").collect();
    assert!(sources.len() > 30, "only {} sources were found", sources.len());
    let complaints: Vec<String> = RULES.iter().flat_map(|(_, rule)| sources.iter().flat_map(rule)).collect();
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// Complaints of one rule about one sample.
fn complaints(rule: &str, path: &str, text: &str) -> Vec<String> {
    let (_, rule) = RULES.iter().find(|(name, _)| *name == rule).unwrap();
    rule(&Source { path: path.to_owned(), text: text.to_owned() })
}

/// The names of the dependencies of a manifest.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_list = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_list = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|(name, _)| is_list && !name.starts_with(['#', ' '])) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Dependencies that nothing names as a path.
fn unused(dependencies: &[String], sources: &[Source]) -> Vec<String> {
    let is_named = |name: &&String| {
        let path = format!("{}::", name.replace('-', "_"));
        sources.iter().any(|source| source.text.lines().any(|line| contains_word(line, &path)))
    };
    dependencies.iter().filter(|name| !is_named(name)).cloned().collect()
}

#[test]
fn every_dependency_is_used() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let listed = dependencies(&manifest);
    assert!(listed.len() > 40, "{listed:?}");
    assert_eq!(unused(&listed, &sources()), UNNAMED);
}

#[test]
fn a_dependency_that_nothing_names_is_noticed() {
    let listed = dependencies(
        "[package]\nname = \"x\"\n[dependencies]\n# Why.\na-b = \"1\"\nc = { features = [\n    \"d\",\n] }\n[dev-dependencies]\ne = \"1\"\n",
    );
    assert_eq!(listed, ["a-b", "c", "e"]);
    let source = Source { path: "src/a.rs".to_owned(), text: "use a_b::X;\nlet c = \"e::y\";".to_owned() };
    assert_eq!(unused(&listed, &[source]), ["c", "e"]);
}

#[test]
fn a_file_without_its_first_line_is_noticed() {
    for text in ["", "use std::fs;\n", "//!\n", "//! x\n", "// What lives here.\n", "\n//! What lives here.\n"] {
        assert_eq!(complaints("first line", "src/a.rs", text).len(), 1, "{text:?}");
    }
    assert!(complaints("first line", "src/a.rs", "//! What lives here.\n").is_empty());
}

#[test]
fn a_long_file_is_noticed_and_tests_do_not_count() {
    let long = "//! Text.\n".repeat(LINES_MAX + 1);
    assert_eq!(complaints("size", "src/a.rs", &long).len(), 1);
    let with_tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", "//! Text.\n".repeat(LINES_MAX), "\n".repeat(900));
    assert!(complaints("size", "src/a.rs", &with_tests).is_empty());
}

#[test]
fn empty_names_are_noticed() {
    for path in ["src/util.rs", "src/wire/helpers/mod.rs", "src/session/data.rs", "tests/common/mod.rs"] {
        assert_eq!(complaints("name", path, "").len(), 1, "{path}");
    }
    for path in ["src/stores/mysql/types.rs", "src/catalog/database.rs"] {
        assert!(complaints("name", path, "").is_empty(), "{path}");
    }
}

#[test]
fn forbidden_uses_are_noticed() {
    let rows = [
        ("src/stores/value.rs", "use crate::session::Session;", 1),
        ("src/stores/value.rs", "use crate::{error::Diagnosis, catalog::{Snapshot, name}, pgtype};", 1),
        ("src/stores/value.rs", "    let x = crate::federation::plan();", 1),
        ("src/stores/value.rs", "use crate::error::Diagnosis;", 0),
        ("src/stores/value.rs", "use crate::{error::{Diagnosis, session}, pgtype};", 0),
        ("src/stores/value.rs", "//! See [`crate::config`].", 0),
        ("src/stores/value.rs", "use std::fs; // crate::config", 0),
        ("src/stores/value.rs", "#[cfg(test)]\nmod tests {\nuse crate::sandbox;\n}", 1),
        ("src/stores/value.rs", "\n#[cfg(test)]\nmod tests {\nuse crate::sandbox;\n}", 0),
        ("src/error.rs", "use crate::stores::StoreError;", 1),
        ("src/error.rs", "use crate::pgtype::PgType;", 0),
        ("src/server.rs", "use crate::sandbox::Postgres;", 1),
        ("src/session/mod.rs", "use crate::wire;", 1),
        ("src/session/mod.rs", "use crate::SERVER_VERSION;", 0),
        ("src/catalog/mod.rs", "use crate::cells;", 0),
        ("src/command/demo.rs", "use crate::sandbox::Postgres;", 0),
        ("src/surprise/mod.rs", "", 1),
        ("src/main.rs", "use tributary::command;", 0),
    ];
    for (path, text, expected) in rows {
        assert_eq!(complaints("rooms", path, text).len(), expected, "{path}: {text}");
    }
}

#[test]
fn a_store_that_knows_another_is_noticed() {
    for text in ["use crate::stores::mysql::types;", "use super::super::mysql::scan;"] {
        assert_eq!(complaints("kinds", "src/stores/postgres/scan.rs", text).len(), 1, "{text}");
    }
    assert!(complaints("kinds", "src/stores/mysql/scan.rs", "use crate::stores::mysql::types;").is_empty());
    assert!(complaints("kinds", "src/stores/mod.rs", "use crate::stores::mysql::KIND;").is_empty());
}

#[test]
fn a_test_that_hides_its_server_is_noticed() {
    let test = |name: &str, body: &str| format!("#[tokio::test]\nasync fn {name}() {{\n    {body}\n}}\n");
    let rows = [
        ("tests/a.rs", test("reads", "support::postgres().await;"), 1),
        ("tests/a.rs", test("reads_postgres", "support::postgres().await;"), 0),
        ("tests/a.rs", test("reads_postgres", "support::mariadb().await;"), 1),
        ("tests/contract/mariadb.rs", test("reads", "support::mariadb().await;"), 0),
        ("tests/a.rs", test("reads", "1;") + "async fn stage() {\n    support::postgres().await;\n}\n", 0),
    ];
    for (path, text, expected) in rows {
        assert_eq!(complaints("named servers", path, &text).len(), expected, "{path}: {text}");
    }
}

#[test]
fn libraries_outside_their_room_are_noticed() {
    let rows = [
        ("src/session/mod.rs", "use pgwire::messages;", 1),
        ("src/wire/mod.rs", "use pgwire::messages;", 0),
        ("src/catalog/mod.rs", "use sqlx::Row;", 1),
        ("src/catalog/mod.rs", "use crate::stores::mongodb::KIND;", 0),
        ("src/catalog/mod.rs", "let a = \"sqlx::query\";", 0),
        ("src/wire/mod.rs", "let a = std::env::var(\"X\");", 1),
        ("src/wire/mod.rs", "use std::env; let a = env::var(\"X\");", 1),
        ("src/config/environment.rs", "let a = env::var_os(name);", 0),
        ("tests/wire/mod.rs", "#[ignore = \"slow\"]", 1),
        ("src/wire/mod.rs", "    #[allow(dead_code)]", 1),
        ("src/wire/mod.rs", "// #[allow(dead_code)]", 0),
    ];
    for (path, text, expected) in rows {
        assert_eq!(complaints("only in", path, text).len(), expected, "{path}: {text}");
    }
}

#[test]
fn the_table_of_rooms_lets_no_two_rooms_use_each_other() {
    for (room, allowed) in ROOMS {
        for used in *allowed {
            let back = ROOMS.iter().find(|(name, _)| name == used).map(|(_, allowed)| *allowed);
            assert!(back.is_some_and(|back| !back.contains(room)), "{room} and {used}");
        }
    }
}
