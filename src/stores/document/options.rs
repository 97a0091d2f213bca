//! The options of `[tables.<name>]` in a store file that say how documents become columns.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::declared::{from_columns, from_json_schema};
use super::schema::{Unseen, overlay};
use super::types::DocumentField;
use crate::options::{Form, OptionSpec, Problem, Reader, Secrets};
use crate::spelling::nearest;

/// The keys of `[tables.<name>]`.
pub const TABLE_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "document",
        form: Form::Text,
        default: Some(""),
        meaning: "The JSON column of a relational table whose fields become columns; not used by document stores.",
    },
    OptionSpec {
        key: "on_mismatch",
        form: Form::Choice(&["error", "null", "text"]),
        default: Some("error"),
        meaning: "What becomes of a value that does not fit its column: an error, NULL, or its extended JSON where the column is text (an error elsewhere).",
    },
    OptionSpec {
        key: "sample",
        form: Form::Integer(0, 100_000),
        default: Some("1000"),
        meaning: "How many documents discovery looks at; 0 offers declared fields only.",
    },
    OptionSpec {
        key: "include_document",
        form: Form::Bool,
        default: Some("false"),
        meaning: "Whether the whole document is offered as the json column _doc.",
    },
    OptionSpec {
        key: "columns",
        form: Form::Table,
        default: Some(""),
        meaning: "Declared fields and their types, nested tables for nested documents; declarations win over samples.",
    },
    OptionSpec {
        key: "schema",
        form: Form::Table,
        default: Some(""),
        meaning: "A JSON Schema of the documents, written as a table; columns wins over it.",
    },
];

/// What becomes of a value that does not fit its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnMismatch {
    /// The statement fails and names table, column and field.
    #[default]
    Error,
    /// The value is read as NULL.
    Null,
    /// In a text column the value is read as its extended JSON; elsewhere as [`OnMismatch::Error`].
    Text,
}

/// How the documents of one table become columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentOptions {
    /// The JSON column of a relational table.
    pub column: Option<String>,
    /// What becomes of values that do not fit.
    pub on_mismatch: OnMismatch,
    /// How many documents to sample.
    pub sample: usize,
    /// Whether to offer `_doc`.
    pub include_document: bool,
    /// Declared fields.
    pub declared: Vec<DocumentField>,
}

impl Default for DocumentOptions {
    /// The defaults of [`TABLE_OPTIONS`].
    fn default() -> Self {
        Self { column: None, on_mismatch: OnMismatch::Error, sample: 1000, include_document: false, declared: Vec::new() }
    }
}

/// Reads every `[tables.<name>]` below `path` (`stores.crm.tables`); what is wrong is added to `problems`.
pub fn read_tables(
    path: &str,
    tables: &toml::Table,
    secrets: &dyn Secrets,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, DocumentOptions> {
    let mut options = BTreeMap::new();
    for (name, value) in tables {
        let path = format!("{path}.{name}");
        match value.as_table() {
            Some(table) => {
                let mut reader = Reader::new(&path, table, TABLE_OPTIONS, secrets);
                options.insert(name.clone(), read_table(&mut reader));
                problems.extend(reader.finish());
            }
            None => problems.push(Problem { path, value: value.to_string(), rule: "is not a table".to_owned() }),
        }
    }
    options
}

/// Keys below `part` of a store file (`tables`) that name none of the `existing` tables.
pub fn missing<'n>(part: &str, names: impl Iterator<Item = &'n String>, existing: &BTreeSet<String>) -> Vec<Problem> {
    let problem = |name: &String| {
        let near =
            nearest(name, existing.iter().map(String::as_str)).map(|near| format!("; perhaps \"{near}\"")).unwrap_or_default();
        Problem { path: format!("{part}.{name}"), value: String::new(), rule: format!("names nothing that the store has{near}") }
    };
    names.filter(|name| !existing.contains(*name)).map(problem).collect()
}

/// Declared fields of the table `name` below `part` that no document of the sample has: first those that are probably misspelt,
/// then those that may be rare.
pub fn unseen(part: &str, name: &str, fields: Vec<Unseen>) -> (Vec<Problem>, Vec<Problem>) {
    let path = format!("{part}.{name}");
    let rule = "is declared, and no document that was looked at has it";
    let (misspelt, rare): (Vec<Unseen>, Vec<Unseen>) = fields.into_iter().partition(|field| field.near.is_some());
    let told = |field: Unseen| {
        let near = field.near.map(|near| format!("; perhaps \"{near}\"")).unwrap_or_default();
        Problem { path: path.clone(), value: format!("\"{}\"", field.name), rule: format!("{rule}{near}") }
    };
    (misspelt.into_iter().map(told).collect(), rare.into_iter().map(told).collect())
}

fn read_table(reader: &mut Reader<'_>) -> DocumentOptions {
    let on_mismatch = match reader.text("on_mismatch").as_str() {
        "null" => OnMismatch::Null,
        "text" => OnMismatch::Text,
        _ => OnMismatch::Error,
    };
    DocumentOptions {
        column: reader.optional_text("document"),
        on_mismatch,
        sample: reader.count("sample"),
        include_document: reader.bool("include_document"),
        declared: read_declared(reader),
    }
}

fn read_declared(reader: &mut Reader<'_>) -> Vec<DocumentField> {
    let columns = match reader.table("columns").map(from_columns) {
        Some(Ok(fields)) => fields,
        Some(Err((key, rule))) => {
            reader.problem(&format!("columns.{key}"), "", rule);
            Vec::new()
        }
        None => Vec::new(),
    };
    let schema = match reader.table("schema").map(serde_json::to_value) {
        Some(Ok(schema)) => from_json_schema(&schema),
        Some(Err(_)) => Err("holds a value that JSON cannot".to_owned()),
        None => Ok(Vec::new()),
    };
    match schema {
        Ok(schema) => overlay(&columns, &schema),
        Err(rule) => {
            reader.problem("schema", "", rule);
            columns
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::stores::document::DocumentType;

    struct NoSecrets;

    impl Secrets for NoSecrets {
        fn variable(&self, _name: &str) -> Option<String> {
            None
        }

        fn file(&self, _path: &str) -> Result<String, String> {
            Err("no files here".to_owned())
        }

        fn resolve(&self, path: &str) -> PathBuf {
            PathBuf::from(path)
        }
    }

    fn read(text: &str) -> (BTreeMap<String, DocumentOptions>, Vec<String>) {
        let tables: toml::Table = toml::from_str(text).unwrap();
        let mut problems = Vec::new();
        let options = read_tables("stores.s.tables", &tables, &NoSecrets, &mut problems);
        (options, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn tables_are_read_with_their_declarations() {
        let (options, problems) = read(
            "[reviews]\ndocument = \"doc\"\non_mismatch = \"null\"\nsample = 5\n[reviews.columns]\nrating = \"bigint\"\n\
             [reviews.schema.properties]\nrating = { type = \"string\" }\ntitle = { type = \"string\" }\n[plain]",
        );
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(options["plain"], DocumentOptions::default());
        let reviews = &options["reviews"];
        assert_eq!((reviews.column.as_deref(), reviews.on_mismatch, reviews.sample), (Some("doc"), OnMismatch::Null, 5));
        let shown: Vec<_> = reviews.declared.iter().map(|field| (field.name.as_str(), &field.kind)).collect();
        assert_eq!(shown, [("rating", &DocumentType::Int), ("title", &DocumentType::Text)]);
    }

    #[test]
    fn every_problem_is_named() {
        let (_, problems) = read("a = 1\n[b]\nsample = -1\nodd = 1\ncolumns = { x = \"nope\" }\nschema = { type = \"string\" }");
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert!(problems.iter().any(|problem| problem.starts_with("stores.s.tables.b.columns.x: ")));
    }
}
