//! What a store holds, as discovered: tables, columns, keys, estimates. Immutable once discovered.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::options::Problem;
use crate::pgtype::{PgField, PgType};
use crate::spelling::nearest;

/// A table's name inside its store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableId {
    /// The store's own schema or database; `main` on SQLite.
    pub namespace: String,
    /// The table, view or collection.
    pub name: String,
}

/// Everything discovered in a store at one moment.
#[derive(Debug, Clone, Default)]
pub struct StoreSchema {
    /// The server's own version text, for `check` and logs.
    pub server_version: String,
    /// The namespace that becomes the schema named after the store.
    pub default_namespace: String,
    /// Tables in name order.
    pub tables: Vec<Arc<Table>>,
    /// What could not be mapped, told by `check`.
    pub refused: Vec<Refused>,
    /// What the store file names and the store does not have, told by `check`. Paths are those inside the file
    /// (`tables.reviews.document`).
    pub unmet: Vec<Problem>,
    /// What the store file declares of documents and no document that was looked at has, nor a field of a name so near: a rare
    /// field.
    pub unseen: Vec<Problem>,
}

/// Something that exists in the store but is not offered, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The table it belongs to.
    pub table: TableId,
    /// The column; `None` when the whole table is refused.
    pub column: Option<String>,
    /// The native type; empty where a whole table is refused whatever it is.
    pub native_type: String,
    /// Why, as a clause: `has no mapping to a Postgres type`.
    pub reason: String,
}

/// What kind of relation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// A base table.
    Table,
    /// A view of the store.
    View,
    /// A materialized view of the store.
    MaterializedView,
    /// A collection of documents.
    Collection,
}

/// By what the rows of a table can be divided into ranges that are read side by side, as of the last discovery. The store decides again
/// when it is asked ([`super::Branch::scan_ranges`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Division {
    /// By the pages that hold them, of which there were about so many.
    Pages(u64),
    /// By a key in whose order they lie: a range costs what its rows cost.
    Clustered,
    /// By a key whose index tells where they lie: each row is looked up.
    Indexed,
}

/// One table with all that the catalog and the planner need.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name inside the store.
    pub id: TableId,
    /// What kind of relation it is.
    pub kind: TableKind,
    /// Columns in order.
    pub columns: Vec<Column>,
    /// Key columns (ordinals) of the primary key, with its name.
    pub primary_key: Option<Key>,
    /// Unique constraints and unique indexes over plain columns.
    pub unique_keys: Vec<Key>,
    /// Foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// CHECK constraints.
    pub checks: Vec<Check>,
    /// Other indexes over plain columns.
    pub indexes: Vec<Key>,
    /// The table's comment.
    pub comment: Option<String>,
    /// Estimated number of rows.
    pub row_estimate: Option<u64>,
    /// By what it can be read as ranges side by side; `None` where it is read as one stream.
    pub division: Option<Division>,
    /// The Arrow schema of `columns`; made by [`Table::arrow_schema`].
    pub schema: SchemaRef,
}

impl Table {
    /// The Arrow schema of `columns`, each field marked with its Postgres type.
    pub fn arrow_schema(columns: &[Column]) -> SchemaRef {
        Arc::new(Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>()))
    }

    /// The Arrow schema of some columns by ordinal; ordinals out of range are left out.
    pub fn project(&self, ordinals: &[usize]) -> SchemaRef {
        let fields: Vec<Field> =
            ordinals.iter().filter_map(|ordinal| self.columns.get(*ordinal)).map(|column| column.field.clone()).collect();
        Arc::new(Schema::new(fields))
    }
}

#[cfg(test)]
impl Table {
    /// A table of these columns and nothing else, for tests.
    pub(crate) fn plain(namespace: &str, name: &str, columns: Vec<Column>) -> Self {
        Self {
            id: TableId { namespace: namespace.to_owned(), name: name.to_owned() },
            kind: TableKind::Table,
            schema: Self::arrow_schema(&columns),
            columns,
            primary_key: None,
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: None,
            division: None,
        }
    }
}

/// One column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The Arrow field, named as in the store and marked with its Postgres type.
    pub field: Field,
    /// The type in the store's own words (`bigint unsigned`, `objectId`).
    pub native_type: String,
    /// The default in the store's own language.
    pub default: Option<String>,
    /// Whether the store makes the value (identity, auto-increment, generated).
    pub generated: Generated,
    /// The column's comment.
    pub comment: Option<String>,
    /// How the store compares text of this column.
    pub collation: Collation,
    /// What is known of its values, by estimate.
    pub statistics: ColumnStatistics,
}

/// What is known of the values of a column, by estimate and as of the last discovery. Plans are chosen by it, answers never.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ColumnStatistics {
    /// How many different values there are, besides NULL.
    pub distinct: Option<u64>,
    /// The part of the rows that are NULL, from 0 to 1.
    pub null_fraction: Option<f64>,
    /// The least and the greatest value as places on a line ([`super::value::Value::place`]).
    pub range: Option<(f64, f64)>,
    /// Bytes of an average value in the store.
    pub width: Option<u32>,
}

impl Column {
    /// The Postgres type of the column.
    pub fn pg_type(&self) -> PgType {
        self.field.pg_type()
    }

    /// The column's name.
    pub fn name(&self) -> &str {
        self.field.name()
    }
}

/// Who makes the value of a column when a row is inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Generated {
    /// The writer, or the default.
    #[default]
    No,
    /// The store, unless the writer gives one (`GENERATED BY DEFAULT`, auto-increment, serial).
    ByDefault,
    /// The store, always.
    Always,
}

/// How a store compares the text of a column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Collation {
    /// By bytes, as Postgres' `C`: equality and order agree with ours.
    #[default]
    Bytes,
    /// Deterministic: equality is by bytes, order need not be.
    Linguistic(String),
    /// Texts of different bytes may be equal (case-insensitive, padded).
    Loose(String),
    /// By rules of the store's own, which count by the policy of its file ([`super::collation`]).
    Native {
        /// Its name.
        name: String,
        /// Whether texts of different bytes may be equal.
        is_loose: bool,
    },
}

impl Collation {
    /// Whether texts of different bytes are one for `=`, because the rules of the store count. A key that no two rows share by bytes
    /// may then find more than one row.
    pub fn merges(&self) -> bool {
        matches!(self, Self::Native { is_loose: true, .. })
    }
}

/// A key or index over plain columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The constraint's or index's name.
    pub name: String,
    /// Ordinals of its columns, in key order.
    pub columns: Vec<usize>,
    /// Whether no two rows of a scan can agree in these columns, and none of them can be NULL, so that the planner may rely
    /// on it. Stores allow more under the name of a key than Postgres does.
    pub proven: bool,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// The constraint's name.
    pub name: String,
    /// Ordinals of the referencing columns.
    pub columns: Vec<usize>,
    /// The referenced table, in the same store.
    pub references: TableId,
    /// Names of the referenced columns.
    pub referenced_columns: Vec<String>,
    /// What happens here when the referenced columns change.
    pub on_update: Action,
    /// What happens here when the referenced row goes.
    pub on_delete: Action,
}

/// What a store does with rows that refer to one that changes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// Refuses, at the end of the statement or transaction.
    #[default]
    NoAction,
    /// Refuses at once.
    Restrict,
    /// Changes or deletes them too.
    Cascade,
    /// Empties the referring columns.
    SetNull,
    /// Gives the referring columns their defaults.
    SetDefault,
}

impl Action {
    /// Reads the words of SQL; what is unknown is `NO ACTION`, the default.
    pub fn of_words(words: &str) -> Self {
        let known = [Self::Restrict, Self::Cascade, Self::SetNull, Self::SetDefault];
        known.into_iter().find(|action| action.words().eq_ignore_ascii_case(words)).unwrap_or_default()
    }

    /// `SET NULL`
    pub fn words(self) -> &'static str {
        match self {
            Self::NoAction => "NO ACTION",
            Self::Restrict => "RESTRICT",
            Self::Cascade => "CASCADE",
            Self::SetNull => "SET NULL",
            Self::SetDefault => "SET DEFAULT",
        }
    }

    /// The letter that PostgreSQL keeps for it (`pg_constraint.confdeltype`).
    pub fn letter(self) -> &'static str {
        match self {
            Self::NoAction => "a",
            Self::Restrict => "r",
            Self::Cascade => "c",
            Self::SetNull => "n",
            Self::SetDefault => "d",
        }
    }

    /// The action behind PostgreSQL's letter.
    pub fn of_letter(letter: &str) -> Self {
        let known = [Self::Restrict, Self::Cascade, Self::SetNull, Self::SetDefault];
        known.into_iter().find(|action| action.letter() == letter).unwrap_or_default()
    }
}

/// A CHECK constraint, for clients to see; nothing here evaluates it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The constraint's name.
    pub name: String,
    /// The condition in the store's own language.
    pub expression: String,
    /// Ordinals of the columns that it mentions.
    pub columns: Vec<usize>,
}

/// A key of the store file that names a database which the server does not tell of, as `check` says it.
pub fn no_database(key: &str, name: &str, known: &[String]) -> Problem {
    let near = nearest(name, known.iter().map(String::as_str)).map(|near| format!("; perhaps \"{near}\"")).unwrap_or_default();
    let rule = format!("is no database that the server tells of{near}");
    Problem { path: key.to_owned(), value: format!("\"{name}\""), rule }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read_as_words_and_as_letters() {
        for action in [Action::NoAction, Action::Restrict, Action::Cascade, Action::SetNull, Action::SetDefault] {
            assert_eq!(Action::of_words(&action.words().to_lowercase()), action);
            assert_eq!(Action::of_letter(action.letter()), action);
        }
        assert_eq!(Action::of_words("NONE"), Action::NoAction);
    }
}
