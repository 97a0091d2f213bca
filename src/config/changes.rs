//! Keys about changes: which of a store's are followed, and how much of all of them is kept.

use std::time::Duration;

use super::settings::{positive_duration, size_within};
use crate::options::{Form, OptionSpec, Reader};
use crate::stores::capture::{Follow, How, TablePattern};

/// How much of what changes is kept, for each store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeLog {
    /// Whether the log is synced and survives a restart.
    pub is_durable: bool,
    /// Most bytes of the log on disk.
    pub log_bytes: u64,
    /// How long it is kept.
    pub log_age: Duration,
    /// Most bytes in memory.
    pub memory_bytes: u64,
    /// Most bytes of one transaction.
    pub transaction_bytes: u64,
    /// Most subscriptions of all sessions.
    pub subscriptions: usize,
}

pub(super) const LOG: OptionSpec = OptionSpec {
    key: "changes.log",
    form: Form::Choice(&["durable", "volatile"]),
    default: Some("durable"),
    meaning: "Whether the log of changes in .state is synced and survives a restart, which those who resume and events of tributary.emit need, or is emptied at each start.",
};
pub(super) const LOG_SIZE: OptionSpec = OptionSpec {
    key: "changes.log_size",
    form: Form::Size,
    default: Some("1GiB"),
    meaning: "Most bytes of that log for each store; the oldest changes go first.",
};
pub(super) const LOG_AGE: OptionSpec =
    OptionSpec { key: "changes.log_age", form: Form::Duration, default: Some("7d"), meaning: "How long changes are kept in it." };
pub(super) const MEMORY: OptionSpec = OptionSpec {
    key: "changes.memory",
    form: Form::Size,
    default: Some("32MiB"),
    meaning: "Most bytes of the newest changes of each store that are held in memory, from 1MiB to 4GiB.",
};
pub(super) const TRANSACTION: OptionSpec = OptionSpec {
    key: "changes.max_transaction",
    form: Form::Size,
    default: Some("1GiB"),
    meaning: "Most bytes of one transaction; the tables of one that is larger are not followed any further.",
};
pub(super) const SUBSCRIPTIONS: OptionSpec = OptionSpec {
    key: "limits.subscriptions",
    form: Form::Integer(1, 100_000),
    default: Some("100"),
    meaning: "Most SUBSCRIBE statements at a time; further ones are refused with 53300.",
};

/// Reads the keys of `tributary.toml`.
pub(super) fn log(reader: &mut Reader<'_>) -> ChangeLog {
    ChangeLog {
        is_durable: reader.text(LOG.key) == "durable",
        log_bytes: size_within(reader, LOG_SIZE.key, LOG_BYTES_MIN, u64::MAX),
        log_age: positive_duration(reader, LOG_AGE.key),
        memory_bytes: size_within(reader, MEMORY.key, 1 << 20, 4 << 30),
        transaction_bytes: size_within(reader, TRANSACTION.key, 1 << 20, u64::MAX),
        subscriptions: reader.count(SUBSCRIPTIONS.key),
    }
}

/// Two files of the log.
const LOG_BYTES_MIN: u64 = 32 << 20;

impl ChangeLog {
    /// The keys whose values in `next` differ.
    pub(super) fn differing(&self, next: &Self) -> impl Iterator<Item = &'static str> {
        let keys = [
            (LOG.key, self.is_durable != next.is_durable),
            (LOG_SIZE.key, self.log_bytes != next.log_bytes),
            (LOG_AGE.key, self.log_age != next.log_age),
            (MEMORY.key, self.memory_bytes != next.memory_bytes),
            (TRANSACTION.key, self.transaction_bytes != next.transaction_bytes),
            (SUBSCRIPTIONS.key, self.subscriptions != next.subscriptions),
        ];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key))
    }
}

pub(super) const MODE: OptionSpec = OptionSpec {
    key: "changes.mode",
    form: Form::Choice(&[OFF, "log", "outbox"]),
    default: Some(OFF),
    meaning: "How changes of the store are followed: by its own log (postgres, mysql, mongodb), or by triggers of ours that fill a table of ours (sqlite, postgres). What that leaves in the store is removed by `tributary uninstall`.",
};
pub(super) const TABLES: OptionSpec = OptionSpec {
    key: "changes.tables",
    form: Form::Texts,
    default: Some("[\"*\"]"),
    meaning: "The tables that are followed, by the store's own names, with or without namespace and dot before them; * at the end stands for anything.",
};
pub(super) const EXCEPT: OptionSpec =
    OptionSpec { key: "changes.except", form: Form::Texts, default: Some(""), meaning: "Those among them that are not." };
pub(super) const CACHED: OptionSpec = OptionSpec {
    key: "changes.cached",
    form: Form::Texts,
    default: Some(""),
    meaning: "The followed tables of which a copy is kept in memory, which is read in place of the store where it is fresh enough; named as in changes.tables. ALTER TABLE ... SET (tributary.cached = ...) says otherwise of single tables.",
};
pub(super) const MAX_RETAINED: OptionSpec = OptionSpec {
    key: "changes.max_retained",
    form: Form::Size,
    default: Some("1GiB"),
    meaning: "Most bytes that the store may keep for us, from 16MiB to 1024GiB. Past it what makes the store keep them is dropped, and the feed begins again behind a gap.",
};
pub(super) const POLL: OptionSpec = OptionSpec {
    key: "changes.poll",
    form: Form::Duration,
    default: Some(""),
    meaning: "How often the table that triggers fill is looked at, from 5ms to 60s; 25ms on sqlite and 50ms on postgres when absent.",
};
pub(super) const PUBLICATION: OptionSpec = OptionSpec {
    key: "changes.publication",
    form: Form::Text,
    default: Some(""),
    meaning: "A publication that the owner of the tables has made, on postgres with mode log; one is made, which needs ownership, when absent.",
};
pub(super) const SERVER_ID: OptionSpec = OptionSpec {
    key: "changes.server_id",
    form: Form::Integer(1, 4_294_967_295),
    default: Some(""),
    meaning: "The number by which the server knows us among its replicas, on mysql; one that no other replica has is made up when absent.",
};

/// The mode in which nothing is followed.
const OFF: &str = "off";
const RETAINED_BYTES: (u64, u64) = (16 << 20, 1 << 40);
const POLL_BOUNDS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(60));

/// Reads the keys of a store file. `kind` is the preferred word of its kind, where that is known.
pub(super) fn follow(reader: &mut Reader<'_>, kind: Option<&str>) -> Option<Follow> {
    let mode = reader.text(MODE.key);
    let how = match mode.as_str() {
        "log" => Some(How::Log),
        "outbox" => Some(How::Outbox),
        _ => None,
    };
    // A mode that is none was told already.
    if mode == OFF && reader.is_set(CACHED.key) {
        reader.problem(CACHED.key, "", "needs changes.mode, because a copy follows the changes of its store".to_owned());
    }
    let has_tables = reader.is_set(TABLES.key);
    let only = patterns(reader, TABLES.key);
    let only = if has_tables { only } else { TablePattern::parse("*").into_iter().collect() };
    let except = patterns(reader, EXCEPT.key);
    let max_retained = size_within(reader, MAX_RETAINED.key, RETAINED_BYTES.0, RETAINED_BYTES.1);
    let poll = poll(reader, kind);
    let publication = reader.optional_text(PUBLICATION.key);
    let server_id = reader.is_set(SERVER_ID.key).then(|| reader.integer(SERVER_ID.key)).and_then(|id| u32::try_from(id).ok());
    if let Some(kind) = kind {
        check_mode(reader, kind, how);
        check_keys(reader, kind, how);
    }
    Some(Follow { how: how?, only, except, max_retained, poll, publication, server_id })
}

/// The tables of a store file that are to be cached.
pub(super) fn cached(reader: &mut Reader<'_>) -> Vec<TablePattern> {
    patterns(reader, CACHED.key)
}

fn patterns(reader: &mut Reader<'_>, key: &str) -> Vec<TablePattern> {
    let mut found = Vec::new();
    for text in reader.texts(key) {
        match TablePattern::parse(&text) {
            Some(pattern) => found.push(pattern),
            None => {
                let rule = "is not the name of a table, which may end with * and has no other".to_owned();
                reader.problem(key, &format!("\"{text}\""), rule);
            }
        }
    }
    found
}

fn poll(reader: &mut Reader<'_>, kind: Option<&str>) -> Duration {
    if !reader.is_set(POLL.key) {
        return Duration::from_millis(if kind == Some("postgres") { 50 } else { 25 });
    }
    let problems_before = reader.problem_count();
    let poll = reader.duration(POLL.key);
    if !(POLL_BOUNDS.0..=POLL_BOUNDS.1).contains(&poll) && reader.problem_count() == problems_before {
        reader.problem(POLL.key, &format!("{}ms", poll.as_millis()), "is not in 5ms..=60s".to_owned());
    }
    poll
}

/// Which kinds have a log that can be read, and which have triggers that we make.
fn check_mode(reader: &mut Reader<'_>, kind: &str, how: Option<How>) {
    let rule = match how {
        Some(How::Log) if kind == "sqlite" => {
            "is not for a store of the kind sqlite, which has no log that others read: use outbox"
        }
        Some(How::Outbox) if !matches!(kind, "sqlite" | "postgres") => {
            "is for stores of the kinds sqlite and postgres only: use log"
        }
        _ => return,
    };
    let word = if how == Some(How::Log) { "\"log\"" } else { "\"outbox\"" };
    reader.problem(MODE.key, word, rule.to_owned());
}

/// Keys that another kind or mode has.
fn check_keys(reader: &mut Reader<'_>, kind: &str, how: Option<How>) {
    let is_log = how != Some(How::Outbox);
    let rules = [
        (PUBLICATION.key, kind == "postgres" && is_log, "is for stores of the kind postgres with changes.mode = \"log\""),
        (SERVER_ID.key, kind == "mysql", "is for stores of the kind mysql"),
        (POLL.key, matches!(kind, "sqlite" | "postgres") && how != Some(How::Log), "is for changes.mode = \"outbox\""),
    ];
    for (key, fits, rule) in rules {
        if !fits && reader.is_set(key) {
            reader.problem(key, "", rule.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::CatalogSecrets;

    const STORE: &[OptionSpec] = &[MODE, TABLES, EXCEPT, CACHED, MAX_RETAINED, POLL, PUBLICATION, SERVER_ID];
    const SERVER: &[OptionSpec] = &[LOG, LOG_SIZE, LOG_AGE, MEMORY, TRANSACTION, SUBSCRIPTIONS];

    fn read_store(kind: &str, text: &str) -> (Option<Follow>, Vec<String>) {
        let table = toml::from_str(text).unwrap();
        let secrets = CatalogSecrets::new(std::path::Path::new("/nowhere"));
        let mut reader = Reader::new("s", &table, STORE, &secrets);
        let follow = follow(&mut reader, Some(kind));
        (follow, reader.finish().iter().map(ToString::to_string).collect())
    }

    fn read_server(text: &str) -> (ChangeLog, Vec<String>) {
        let table = toml::from_str(text).unwrap();
        let secrets = CatalogSecrets::new(std::path::Path::new("/nowhere"));
        let mut reader = Reader::new("t", &table, SERVER, &secrets);
        let read = log(&mut reader);
        (read, reader.finish().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_is_followed_unless_the_file_says_so() {
        assert_eq!(read_store("postgres", ""), (None, Vec::new()));
        assert_eq!(read_store("mongodb", "changes.tables = [\"a\"]"), (None, Vec::new()));
        let (follow, problems) = read_store("postgres", "changes.mode = \"log\"");
        let follow = follow.unwrap();
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!((follow.how, follow.only.len(), follow.except.len(), follow.max_retained), (How::Log, 1, 0, 1 << 30));
        assert_eq!((follow.publication, follow.server_id), (None, None));
        let text =
            "[changes]\nmode = \"outbox\"\ntables = [\"a\", \"b*\"]\nexcept = [\"b.c\"]\npoll = \"5ms\"\nmax_retained = \"16MiB\"";
        let (follow, problems) = read_store("sqlite", text);
        let follow = follow.unwrap();
        assert_eq!((problems, follow.how, follow.poll), (Vec::new(), How::Outbox, Duration::from_millis(5)));
        assert_eq!((follow.only.len(), follow.except.len(), follow.max_retained), (2, 1, 16 << 20));
        let (follow, _) = read_store("mysql", "changes.mode = \"log\"\nchanges.server_id = 4294967295");
        assert_eq!(follow.unwrap().server_id, Some(u32::MAX));
    }

    #[test]
    fn outboxes_are_looked_at_as_often_as_their_kind_needs() {
        let of_kind = |kind: &str| read_store(kind, "changes.mode = \"outbox\"").0.unwrap().poll.as_millis();
        assert_eq!((of_kind("sqlite"), of_kind("postgres")), (25, 50));
    }

    #[test]
    fn what_does_not_fit_the_kind_is_told() {
        let log = "is not for a store of the kind sqlite, which has no log that others read: use outbox";
        let rows = [
            ("sqlite", "changes.mode = \"log\"", vec![format!("s.changes.mode: \"log\" {log}")]),
            (
                "mysql",
                "changes.mode = \"outbox\"",
                vec!["s.changes.mode: \"outbox\" is for stores of the kinds sqlite and postgres only: use log".to_owned()],
            ),
            (
                "sqlite",
                "changes.mode = \"outbox\"\nchanges.publication = \"p\"\nchanges.server_id = 7",
                vec![
                    "s.changes.publication: is for stores of the kind postgres with changes.mode = \"log\"".to_owned(),
                    "s.changes.server_id: is for stores of the kind mysql".to_owned(),
                ],
            ),
            (
                "postgres",
                "changes.mode = \"log\"\nchanges.poll = \"20ms\"",
                vec!["s.changes.poll: is for changes.mode = \"outbox\"".to_owned()],
            ),
            (
                "sqlite",
                "changes.mode = \"outbox\"\nchanges.poll = \"1ms\"\nchanges.max_retained = \"1MiB\"\nchanges.tables = [\"a*b\"]",
                vec![
                    "s.changes.tables: \"a*b\" is not the name of a table, which may end with * and has no other".to_owned(),
                    "s.changes.max_retained: 1048576 is not in 16777216..=1099511627776 bytes".to_owned(),
                    "s.changes.poll: 1ms is not in 5ms..=60s".to_owned(),
                ],
            ),
            ("mysql", "changes.mode = \"on\"", vec!["s.changes.mode: \"on\" is not one of off, log, outbox".to_owned()]),
            ("mysql", "changes.mood = \"off\"", vec!["s.changes.mood: is not a known key; perhaps changes.mode".to_owned()]),
        ];
        for (kind, text, expected) in rows {
            assert_eq!(read_store(kind, text).1, expected, "{kind} {text}");
        }
    }

    fn read_cached(text: &str) -> (Vec<String>, Vec<String>) {
        let table = toml::from_str(text).unwrap();
        let secrets = CatalogSecrets::new(std::path::Path::new("/nowhere"));
        let mut reader = Reader::new("s", &table, STORE, &secrets);
        let _ = follow(&mut reader, Some("postgres"));
        let cached = cached(&mut reader).iter().map(ToString::to_string).collect();
        (cached, reader.finish().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn tables_are_cached_that_are_named_and_followed() {
        let none = Vec::<String>::new;
        assert_eq!(read_cached("changes.mode = \"log\""), (none(), none()));
        let text = "[changes]\nmode = \"log\"\ncached = [\"orders\", \"public.*\"]";
        assert_eq!(read_cached(text), (vec!["orders".to_owned(), "public.*".to_owned()], none()));
        let needs = "s.changes.cached: needs changes.mode, because a copy follows the changes of its store";
        assert_eq!(read_cached("changes.cached = [\"orders\"]").1, [needs]);
        assert_eq!(read_cached("changes.mode = \"off\"\nchanges.cached = []").1, [needs]);
        let rule = "s.changes.cached: \"a*b\" is not the name of a table, which may end with * and has no other";
        assert_eq!(read_cached("changes.mode = \"log\"\nchanges.cached = [\"a*b\"]").1, [rule]);
        // One mistake is told once.
        assert_eq!(read_cached("changes.mode = \"on\"\nchanges.cached = [\"orders\"]").1.len(), 1);
    }

    #[test]
    fn the_log_has_bounds() {
        let (defaults, problems) = read_server("");
        let expected = ChangeLog {
            is_durable: true,
            log_bytes: 1 << 30,
            log_age: Duration::from_secs(7 * 24 * 3600),
            memory_bytes: 32 << 20,
            transaction_bytes: 1 << 30,
            subscriptions: 100,
        };
        assert_eq!((&defaults, problems), (&expected, Vec::new()));
        let (other, problems) = read_server("changes.log = \"volatile\"\nchanges.memory = \"1MiB\"\nlimits.subscriptions = 1");
        assert_eq!(problems, Vec::<String>::new());
        let differing: Vec<&str> = defaults.differing(&other).collect();
        assert_eq!(differing, ["changes.log", "changes.memory", "limits.subscriptions"]);
        let text = "changes.log_size = \"1MiB\"\nchanges.log_age = \"0s\"\nchanges.memory = \"5GiB\"\nchanges.max_transaction = 1";
        let (_, problems) = read_server(text);
        assert_eq!(
            problems,
            [
                "t.changes.log_size: 1048576 is less than 33554432 bytes",
                "t.changes.log_age: 0 is not longer than nothing",
                "t.changes.memory: 5368709120 is not in 1048576..=4294967296 bytes",
                "t.changes.max_transaction: 1 is less than 1048576 bytes",
            ]
        );
    }
}
