//! `stores/<name>.toml`: the keys that all kinds share. Everything else goes to the kind's own parser.

use super::StoreConfig;
use super::name;
use super::secret::CatalogSecrets;
use crate::catalog::discover::StoreEntry;
use crate::catalog::name::Naming;
use crate::options::{Form, OptionSpec, Problem, Reader};
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
        meaning: "Whether the store is served; false leaves the file unread otherwise.",
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
];

/// What became of one store file.
#[derive(Debug)]
pub(super) enum Outcome {
    Enabled(StoreConfig),
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
    let mut problems = reader.finish();
    let has_literal_secret = kind.is_some_and(|kind| has_literal_secret(&own, kind.options()));
    if !enabled && problems.is_empty() {
        return Ok(StoreFile { outcome: Outcome::Disabled(store), has_literal_secret });
    }
    let connector = kind.map(|kind| kind.parse(&store, &path, &own, secrets));
    match connector {
        Some(Ok(connector)) if problems.is_empty() => {
            let tls = own.get("tls").and_then(|value| value.as_str()).map(str::to_owned);
            let enabled = StoreConfig { name: store, entry: StoreEntry { connector, naming }, tls };
            Ok(StoreFile { outcome: Outcome::Enabled(enabled), has_literal_secret })
        }
        Some(Err(more)) => {
            problems.extend(more);
            Err(problems)
        }
        Some(Ok(_)) | None => Err(problems),
    }
}

fn split(table: &toml::Table) -> (toml::Table, toml::Table) {
    let is_shared = |key: &String| SHARED_OPTIONS.iter().any(|spec| spec.key == key);
    table.clone().into_iter().partition(|(key, _)| is_shared(key))
}

fn kind(reader: &mut Reader<'_>) -> Option<&'static dyn Kind> {
    let word = reader.optional_text("kind")?;
    let found = stores::kind(&word);
    if found.is_none() {
        let words: Vec<&str> = stores::KINDS.iter().filter_map(|kind| kind.words().first().copied()).collect();
        reader.problem("kind", &format!("\"{word}\""), format!("is not one of {}", words.join(", ")));
    }
    found
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

/// Whether a secret option is written out in the file, rather than named as `${NAME}` or `{ file = "…" }`.
fn has_literal_secret(table: &toml::Table, options: &[OptionSpec]) -> bool {
    let literal = |spec: &OptionSpec| {
        let mut parts = spec.key.split('.');
        let first = parts.next().and_then(|part| table.get(part));
        let found = parts.fold(first, |value, part| value.and_then(|value| value.get(part)));
        found.and_then(|value| value.as_str()).is_some_and(|text| !text.contains("${"))
    };
    options.iter().filter(|spec| spec.form == Form::Secret).any(literal)
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
                "stores.order.kind: \"oracle\" is not one of postgres, mysql, sqlite, mongodb",
                "stores.order.schema: \"public\" is the name of a schema that Tributary itself fills",
                "stores.order.namespaces.a: true is not the name of a schema, or false",
                "stores.order.namespaces.b: \"Bad\" is not a name of lowercase letters, digits and underscores that starts with a letter",
            ]
        );
        assert_eq!(problems("crm", ""), ["stores.crm.kind: is required"]);
    }

    #[test]
    fn a_store_that_is_switched_off_is_not_parsed_further() {
        assert_eq!(problems("crm", "kind = \"postgres\"\nenabled = false\nhost = \"${NOT_SET_ANYWHERE}\""), Vec::<String>::new());
        assert_eq!(problems("crm", "enabled = false").len(), 1);
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
