//! `stores/<name>.toml`: the keys that all kinds share. Everything else goes to the kind's own parser.

use std::fmt;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::StoreConfig;
use super::changes;
use super::name;
use super::secret::CatalogSecrets;
use crate::catalog::discover::{OwnTables, StoreEntry};
use crate::catalog::name::Naming;
use crate::options::{Form, OptionSpec, Problem, Reader, not_one_of};
use crate::spelling::nearest;
use crate::stores::{self, Kind, StoreName};

/// Keys that every store file may have.
pub(super) const SHARED_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "kind",
        form: Form::Text,
        default: None,
        meaning: "What kind of store it is: the name of one of the tables below.",
    },
    OptionSpec {
        key: "enabled",
        form: Form::Bool,
        default: Some("true"),
        meaning: "Whether the store is served; false leaves the file unread otherwise, but for the question what of ours is left in the store, at start and by check.",
    },
    OptionSpec {
        key: "schema",
        form: Form::Text,
        default: Some(""),
        meaning: "SQL schema of the store's default namespace; the store's name when absent.",
    },
    OptionSpec {
        key: "namespaces",
        form: Form::Table,
        default: Some(""),
        meaning: "SQL schema of single namespaces, as namespace = \"schema\", or namespace = false to leave one out.",
    },
    OptionSpec {
        key: "discovery_timeout",
        form: Form::Duration,
        default: Some("2m"),
        meaning: "Longest time that reading the description of all its tables may take. Past it a start or a reload serves the store as unavailable, and a refresh fails and leaves it as it was.",
    },
    OptionSpec {
        key: "idempotency",
        form: Form::Bool,
        default: Some("false"),
        meaning: "Whether transactions that begin to write here may carry tributary.idempotency_key, so that one that is sent again is not applied again. Makes the table tributary_keys in the store.",
    },
    OptionSpec {
        key: "idempotency_retention",
        form: Form::Duration,
        default: Some("24h"),
        meaning: "How long keys of transactions are kept, at least.",
    },
    OptionSpec {
        key: "outbox",
        form: Form::Bool,
        default: Some("false"),
        meaning: "Whether tributary.emit writes events here, in the transactions of the rows that they tell of. Makes the table tributary_outbox in the store.",
    },
    changes::MODE,
    changes::TABLES,
    changes::EXCEPT,
    changes::CACHED,
    changes::MAX_RETAINED,
    changes::POLL,
    changes::PUBLICATION,
    changes::SERVER_ID,
];

/// What tells whether a store file says the same as before. It is kept in memory and shown nowhere, for the file may hold a secret; what
/// a variable or a file holds that it names does not count.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// That of a file.
    pub fn of(table: &toml::Table) -> Self {
        Self(Sha256::digest(format!("{table:?}")).into())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

/// What became of one store file.
#[derive(Debug)]
pub(super) enum Outcome {
    Enabled(Box<StoreConfig>),
    Disabled(StoreName),
}

/// A store file's outcome, and the keys that hold a secret in plain text.
#[derive(Debug)]
pub(super) struct StoreFile {
    pub(super) outcome: Outcome,
    pub(super) has_literal_secret: bool,
}

/// Reads one store file. `name` is the file's name without its ending.
pub(super) fn read(name: &str, table: &toml::Table, secrets: &CatalogSecrets) -> Result<StoreFile, Vec<Problem>> {
    let path = format!("stores.{name}");
    let store = StoreName::new(name);
    let (shared, own) = split(table);
    let mut reader = Reader::new(&path, &shared, SHARED_OPTIONS, secrets);
    if let Some(rule) = name::broken_schema_rule(name) {
        reader.problem("", &format!("\"{name}\""), rule);
    }
    let enabled = reader.bool("enabled");
    let kind = kind(&mut reader);
    let naming = naming(&mut reader);
    let discovery_timeout = reader.duration("discovery_timeout");
    if discovery_timeout.is_zero() && reader.is_set("discovery_timeout") {
        reader.problem("discovery_timeout", "0", "must be longer than zero, because every call has a deadline".to_owned());
    }
    let own_tables = own_tables(&mut reader);
    let word = kind.ok().and_then(|kind| kind.words().first().copied());
    let (follow, cached) = (changes::follow(&mut reader, word), changes::cached(&mut reader));
    let mut problems = reader.finish();
    let known = kind.ok();
    let has_literal_secret = known.is_some_and(|kind| has_literal_secret(&own, kind.options()));
    if !enabled {
        let disabled = StoreFile { outcome: Outcome::Disabled(store), has_literal_secret };
        return if problems.is_empty() { Ok(disabled) } else { Err(problems) };
    }
    let connector = match kind {
        Ok(kind) => kind.parse(&store, &path, &own, secrets),
        Err(meant) => Err(problems_without_kind(meant, (&store, &path), &own, secrets)),
    };
    match connector {
        Ok(connector) if problems.is_empty() => {
            let tls = known.and_then(|kind| transport(&own, kind.options()));
            let entry = StoreEntry { connector, naming, discovery_timeout, own: own_tables, follow, cached };
            let enabled = StoreConfig { name: store, entry, tls, fingerprint: Fingerprint::of(table) };
            Ok(StoreFile { outcome: Outcome::Enabled(Box::new(enabled)), has_literal_secret })
        }
        Err(more) => {
            problems.extend(more);
            Err(problems)
        }
        Ok(_) => Err(problems),
    }
}

/// What is wrong with the keys of a store whose kind is not known: by the kind that was probably meant, else those that no
/// kind has.
fn problems_without_kind(
    meant: Option<&'static dyn Kind>,
    (store, path): (&StoreName, &str),
    own: &toml::Table,
    secrets: &CatalogSecrets,
) -> Vec<Problem> {
    if let Some(kind) = meant {
        return kind.parse(store, path, own, secrets).err().unwrap_or_default();
    }
    let unknown = |kind: &&'static dyn Kind| Reader::new(path, own, kind.options(), secrets).finish();
    let mut of_kinds = stores::KINDS.iter().map(unknown);
    let mut everywhere = of_kinds.next().unwrap_or_default();
    for others in of_kinds {
        everywhere.retain(|problem| others.iter().any(|other| other.path == problem.path));
    }
    everywhere
}

fn split(table: &toml::Table) -> (toml::Table, toml::Table) {
    let is_shared = |key: &String| SHARED_OPTIONS.iter().any(|spec| spec.key.split('.').next() == Some(key.as_str()));
    table.clone().into_iter().partition(|(key, _)| is_shared(key))
}

/// The kind, or the one that was probably meant.
fn kind(reader: &mut Reader<'_>) -> Result<&'static dyn Kind, Option<&'static dyn Kind>> {
    let word = reader.optional_text("kind").ok_or(None)?;
    stores::kind(&word).ok_or_else(|| {
        let words: Vec<&str> = stores::KINDS.iter().flat_map(|kind| kind.words()).copied().collect();
        reader.problem("kind", &format!("\"{word}\""), not_one_of(&word, &words));
        nearest(&word.to_lowercase(), words.into_iter()).and_then(stores::kind)
    })
}

/// Tables of ours that the file asks for.
fn own_tables(reader: &mut Reader<'_>) -> OwnTables {
    let (has_keys, outbox) = (reader.bool("idempotency"), reader.bool("outbox"));
    let kept = reader.duration("idempotency_retention");
    if kept.is_zero() && reader.is_set("idempotency_retention") {
        reader.problem("idempotency_retention", "0", "must be longer than zero, or nothing would be kept".to_owned());
    }
    OwnTables { keys: has_keys.then_some(kept), outbox }
}

fn naming(reader: &mut Reader<'_>) -> Naming {
    let schema = reader.optional_text("schema");
    if let Some(rule) = schema.as_deref().and_then(name::broken_schema_rule) {
        reader.problem("schema", &format!("\"{}\"", schema.as_deref().unwrap_or_default()), rule);
    }
    let mut naming = Naming { schema, ..Naming::default() };
    for (namespace, value) in reader.table("namespaces").into_iter().flatten() {
        let key = format!("namespaces.{namespace}");
        match value {
            toml::Value::Boolean(false) => drop(naming.namespaces.insert(namespace.clone(), None)),
            toml::Value::String(schema) => {
                if let Some(rule) = name::broken_schema_rule(schema) {
                    reader.problem(&key, &format!("\"{schema}\""), rule);
                }
                naming.namespaces.insert(namespace.clone(), Some(schema.clone()));
            }
            other => reader.problem(&key, &other.to_string(), "is not the name of a schema, or false".to_owned()),
        }
    }
    naming
}

/// The word of the kind's option `tls` or `tls.mode`, as written or by default; `None` when there is no such option, the
/// store is on this machine, or a connection string decides.
fn transport(table: &toml::Table, options: &[OptionSpec]) -> Option<String> {
    let option = options.iter().find(|option| option.key == "tls" || option.key == "tls.mode")?;
    if is_local(table) || table.contains_key("uri") {
        return None;
    }
    match find(table, option.key) {
        Some(toml::Value::String(word)) => Some(word.clone()),
        Some(other) => Some(other.to_string()),
        None => option.default.map(str::to_owned),
    }
}

/// Whether every address that the file names is of this machine; all kinds connect to it when the file names none.
fn is_local(table: &toml::Table) -> bool {
    let single = table.get("host").and_then(toml::Value::as_str);
    let several = table.get("hosts").and_then(toml::Value::as_array).into_iter().flatten().filter_map(toml::Value::as_str);
    table.contains_key("socket") || single.into_iter().chain(several).all(is_local_address)
}

/// Whether `host`, `host:port`, `[v6]:port` or a socket's path is of this machine.
pub(super) fn is_local_address(address: &str) -> bool {
    let host = address.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let host = host
        .unwrap_or_else(|| if address.matches(':').count() == 1 { address.split(':').next().unwrap_or(address) } else { address });
    host.starts_with('/') || host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Whether a secret option is written out in the file, rather than named as `${NAME}` or `{ file = "…" }`.
fn has_literal_secret(table: &toml::Table, options: &[OptionSpec]) -> bool {
    let written = |spec: &OptionSpec| find(table, spec.key).and_then(toml::Value::as_str);
    let literal = |spec: &OptionSpec| written(spec).is_some_and(|text| !text.contains("${"));
    options.iter().filter(|spec| spec.form == Form::Secret).any(literal)
}

/// The value of a key whose dots reach into sub-tables.
fn find<'a>(table: &'a toml::Table, key: &str) -> Option<&'a toml::Value> {
    let mut parts = key.split('.');
    let first = parts.next().and_then(|part| table.get(part));
    parts.fold(first, |value, part| value.and_then(|value| value.get(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(name: &str, text: &str) -> Vec<String> {
        let secrets = CatalogSecrets::new(std::path::Path::new("/nowhere"));
        match read(name, &toml::from_str(text).unwrap(), &secrets) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn shared_keys_are_checked_together() {
        let text = "kind = \"oracle\"\nschema = \"public\"\nenabled = \"yes\"\n[namespaces]\na = true\nb = \"Bad\"\nc = false";
        let said = problems("order", text);
        assert_eq!(
            said,
            [
                "stores.order: \"order\" is a reserved key word of SQL",
                "stores.order.enabled: \"yes\" is not true or false",
                "stores.order.kind: \"oracle\" is not one of postgres, postgresql, mysql, mariadb, sqlite, mongodb, mongo",
                "stores.order.schema: \"public\" is the name of a schema that Tributary itself fills",
                "stores.order.namespaces.a: true is not the name of a schema, or false",
                "stores.order.namespaces.b: \"Bad\" is not a name of lowercase letters, digits and underscores that starts with a letter",
            ]
        );
        assert_eq!(problems("crm", ""), ["stores.crm.kind: is required"]);
    }

    #[test]
    fn keys_beside_a_wrong_kind_are_checked() {
        let text = "kind = \"sqlit\"\npaht = \"x.db\"\nbusy_timeout = \"soon\"";
        assert_eq!(
            problems("crm", text),
            [
                "stores.crm.kind: \"sqlit\" is not one of postgres, postgresql, mysql, mariadb, sqlite, mongodb, mongo; perhaps \"sqlite\"",
                "stores.crm.paht: is not a known key; perhaps path",
                "stores.crm.path: is required",
                "stores.crm.busy_timeout: \"soon\" is not a duration such as 500ms, 30s, 5m or 1h",
            ]
        );
        // Without a kind that was meant, only what no kind has is certainly wrong.
        for start in ["kind = \"oracle\"\n", ""] {
            let said = problems("crm", &format!("{start}host = \"h\"\npath = 1\nreplica_set = \"r\"\nsurprise = 1\npool.odd = 1"));
            assert_eq!(said.len(), 3, "{said:?}");
            assert_eq!(&said[1..], ["stores.crm.pool.odd: is not a known key", "stores.crm.surprise: is not a known key"]);
        }
    }

    #[test]
    fn only_relational_stores_have_a_policy_for_collations() {
        let mongodb = problems("docs", "kind = \"mongodb\"\ndatabase = \"d\"\ncollation = \"native\"");
        let rule = "is not a known key: a collation of MongoDB counts for a whole command, so texts are compared by bytes";
        assert_eq!(mongodb, [format!("stores.docs.collation: {rule}")]);
        for kind in ["kind = \"postgres\"", "kind = \"mysql\"", "kind = \"sqlite\""] {
            let said = problems("crm", &format!("{kind}\ncollation = \"Native\""));
            let rule = "stores.crm.collation: \"Native\" is not one of faithful, native; perhaps \"native\"";
            assert!(said.iter().any(|problem| problem == rule), "{said:?}");
            let said = problems("crm", &format!("{kind}\ncollation = \"native\""));
            assert!(!said.iter().any(|problem| problem.contains("collation")), "{said:?}");
        }
    }

    #[test]
    fn what_other_kinds_call_tables_are_collections_of_mongodb() {
        let columns = |part: &str| {
            let text = format!("kind = \"mongodb\"\ndatabase = \"d\"\n[{part}.reviews.columns]\nat = \"no type\"");
            problems("docs", &text)
        };
        assert_eq!(columns("tables"), ["stores.docs.tables: is not a known key; perhaps collections"]);
        let said = columns("collections");
        assert!(said.len() == 1 && said[0].starts_with("stores.docs.collections.reviews.columns.at: "), "{said:?}");
    }

    #[test]
    fn a_store_that_is_switched_off_is_not_parsed_further() {
        assert_eq!(problems("crm", "kind = \"postgres\"\nenabled = false\nhost = \"${NOT_SET_ANYWHERE}\""), Vec::<String>::new());
        assert_eq!(problems("crm", "enabled = false").len(), 1);
    }

    #[test]
    fn tables_of_ours_are_asked_for_one_by_one() {
        let read_own = |text: &str| {
            let directory = tempfile::tempdir().unwrap();
            let secrets = CatalogSecrets::new(directory.path());
            std::fs::write(directory.path().join("x.db"), "").unwrap();
            let table = toml::from_str(&format!("kind = \"sqlite\"\npath = \"x.db\"\n{text}")).unwrap();
            match read("crm", &table, &secrets).unwrap().outcome {
                Outcome::Enabled(store) => store.entry.own,
                Outcome::Disabled(_) => panic!("it is enabled"),
            }
        };
        assert_eq!(read_own(""), OwnTables::default());
        let day = std::time::Duration::from_secs(24 * 3600);
        assert_eq!(read_own("idempotency = true"), OwnTables { keys: Some(day), outbox: false });
        let text = "idempotency = true\nidempotency_retention = \"1h\"\noutbox = true";
        assert_eq!(read_own(text), OwnTables { keys: Some(day / 24), outbox: true });
        let zero = "kind = \"postgres\"\nuser = \"u\"\ndatabase = \"d\"\nidempotency_retention = \"0s\"";
        let rule = "stores.crm.idempotency_retention: 0 must be longer than zero, or nothing would be kept";
        assert_eq!(problems("crm", zero), [rule]);
    }

    #[test]
    fn keys_with_dots_are_shared_whether_they_are_written_as_a_table_or_not() {
        let store = "kind = \"postgres\"\nuser = \"u\"\ndatabase = \"d\"\n";
        for text in ["changes.mode = \"log\"\nchanges.tables = [\"a\"]", "[changes]\nmode = \"log\"\ntables = [\"a\"]"] {
            let table = toml::from_str(&format!("{store}{text}")).unwrap();
            let Outcome::Enabled(read) = read("crm", &table, &CatalogSecrets::new(std::path::Path::new("/"))).unwrap().outcome
            else {
                panic!("it is enabled")
            };
            assert_eq!(read.entry.follow.unwrap().only[0].to_string(), "a");
            assert!(read.entry.cached.is_empty());
        }
        let wrong = format!("{store}changes.mode = \"log\"\nchanges.poll = \"1s\"");
        assert_eq!(problems("crm", &wrong), ["stores.crm.changes.poll: is for changes.mode = \"outbox\""]);
        // Of a kind that is not known nothing is said of what fits it.
        assert_eq!(problems("crm", "kind = \"oracle\"\nchanges.mode = \"outbox\"\nchanges.server_id = 1").len(), 1);
        assert_eq!(problems("crm", "kind = \"postgres\"\nenabled = false\nchanges.mode = \"lag\"").len(), 1);
    }

    #[test]
    fn transport_matters_beyond_this_machine() {
        let options = &[OptionSpec { key: "tls", form: Form::Text, default: Some("prefer"), meaning: "" }];
        let rows = [
            ("", None),
            ("host = \"db.example\"", Some("prefer")),
            ("host = \"db.example\"\ntls = \"verify-full\"", Some("verify-full")),
            ("host = \"db.example\"\ntls = false", Some("false")),
            ("host = \"127.0.0.1\"\ntls = \"disable\"", None),
            ("host = \"::1\"", None),
            ("host = \"/run/postgresql\"", None),
            ("hosts = [\"localhost:27017\", \"[::1]:27018\"]", None),
            ("hosts = [\"localhost:27017\", \"10.0.0.1:27018\"]", Some("prefer")),
            ("uri = \"${MONGO}\"", None),
        ];
        for (text, expected) in rows {
            assert_eq!(transport(&toml::from_str(text).unwrap(), options).as_deref(), expected, "{text}");
        }
        assert_eq!(transport(&toml::from_str("host = \"db.example\"").unwrap(), &[]), None);
        let mode = &[OptionSpec { key: "tls.mode", form: Form::Text, default: Some("off"), meaning: "" }];
        let text = "hosts = [\"db.example\"]\n[tls]\nmode = \"on\"";
        assert_eq!(transport(&toml::from_str(text).unwrap(), mode).as_deref(), Some("on"));
    }

    #[test]
    fn secrets_written_out_are_noticed() {
        let options = &[OptionSpec { key: "login.password", form: Form::Secret, default: Some(""), meaning: "" }];
        let rows = [
            ("login.password = \"hunter2\"", true),
            ("login.password = \"${PASSWORD}\"", false),
            ("login.password = { file = \"x\" }", false),
            ("password = \"hunter2\"", false),
        ];
        for (text, expected) in rows {
            assert_eq!(has_literal_secret(&toml::from_str(text).unwrap(), options), expected, "{text}");
        }
    }
}
