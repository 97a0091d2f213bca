//! What a store is told to define: tables, indexes, and how they change. Everything in it is a name of the store, a type of
//! PostgreSQL or one of the few forms of expressions that mean the same everywhere; no text of a client is in it.

use std::sync::Arc;

use super::connector::StoreName;
use super::schema::{Action, Table, TableId, TableKind};
use crate::pgtype::PgType;

/// One statement that defines something in a store.
#[derive(Debug, Clone)]
pub struct Define {
    /// The store.
    pub store: StoreName,
    /// What it does.
    pub what: What,
}

impl Define {
    /// The tables that are others behind it than before, though they may look alike: those that it makes, changes, renames or drops.
    pub fn touched(&self) -> Vec<TableId> {
        match &self.what {
            What::CreateTable(table) => vec![table.id.clone()],
            What::AlterTable { table, steps, .. } => {
                let renamed = steps.iter().filter_map(|step| match step {
                    Step::Rename(name) => Some(TableId { namespace: table.id.namespace.clone(), name: name.clone() }),
                    _ => None,
                });
                renamed.chain([table.id.clone()]).collect()
            }
            What::DropTables { tables, .. } => tables.clone(),
            What::CreateIndex(_) | What::DropIndex { .. } => Vec::new(),
        }
    }

    /// The table that it is about, as far as there is one; errors name it.
    pub fn subject(&self) -> Arc<Table> {
        let id = match &self.what {
            What::AlterTable { table, .. } => return Arc::clone(table),
            What::CreateIndex(index) => return Arc::clone(&index.table),
            What::CreateTable(table) => table.id.clone(),
            What::DropIndex { table, .. } => table.clone(),
            What::DropTables { tables, .. } => match tables.first() {
                Some(table) => table.clone(),
                None => TableId { namespace: String::new(), name: String::new() },
            },
        };
        Arc::new(Table {
            id,
            kind: TableKind::Table,
            columns: Vec::new(),
            primary_key: None,
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: None,
            division: None,
            schema: Table::arrow_schema(&[]),
        })
    }
}

/// What a statement defines.
#[derive(Debug, Clone)]
pub enum What {
    /// `CREATE TABLE`
    CreateTable(NewTable),
    /// `ALTER TABLE`: all of its steps or none.
    AlterTable {
        /// The table as it is.
        table: Arc<Table>,
        /// Whether tables that inherit from it are left alone.
        only: bool,
        /// In their order.
        steps: Vec<Step>,
    },
    /// `DROP TABLE`
    DropTables {
        /// The tables, those that refer to others before these.
        tables: Vec<TableId>,
        /// Whether what depends on them goes too.
        cascades: bool,
    },
    /// `CREATE INDEX`
    CreateIndex(NewIndex),
    /// `DROP INDEX`
    DropIndex {
        /// The table that it is of.
        table: TableId,
        /// The store's own name of it.
        name: String,
        /// Whether what depends on it goes too.
        cascades: bool,
    },
}

impl What {
    /// The words it begins with in PostgreSQL.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::CreateTable(_) => "CREATE TABLE",
            Self::AlterTable { .. } => "ALTER TABLE",
            Self::DropTables { .. } => "DROP TABLE",
            Self::CreateIndex(_) => "CREATE INDEX",
            Self::DropIndex { .. } => "DROP INDEX",
        }
    }
}

impl What {
    /// The names of tables, indexes and constraints that it makes, changes, drops or refers to.
    pub fn names(&self) -> Vec<&str> {
        let (first, mut names) = match self {
            Self::CreateTable(table) => (&table.id.name, table.constraints.iter().flat_map(NewConstraint::names).collect()),
            Self::AlterTable { table, steps, .. } => (&table.id.name, steps.iter().flat_map(Step::names).collect()),
            Self::DropTables { tables, .. } => return tables.iter().map(|table| table.name.as_str()).collect(),
            Self::CreateIndex(index) => (&index.table.id.name, vec![index.name.as_str()]),
            Self::DropIndex { table, name, .. } => (&table.name, vec![name.as_str()]),
        };
        names.push(first);
        names
    }
}

/// A new table.
#[derive(Debug, Clone)]
pub struct NewTable {
    /// Its name.
    pub id: TableId,
    /// Its columns, of which there is one at least.
    pub columns: Vec<NewColumn>,
    /// What it demands of rows.
    pub constraints: Vec<NewConstraint>,
}

impl NewTable {
    /// The columns of its primary key.
    pub fn primary_key(&self) -> Option<&[String]> {
        self.constraints.iter().find_map(|constraint| match &constraint.rule {
            Rule::PrimaryKey(columns) => Some(columns.as_slice()),
            _ => None,
        })
    }

    /// Whether a column is part of a key.
    pub fn is_key(&self, column: &str) -> bool {
        self.constraints.iter().any(|constraint| match &constraint.rule {
            Rule::PrimaryKey(columns) | Rule::Unique(columns) => columns.iter().any(|name| name == column),
            Rule::Foreign(key) => key.columns.iter().any(|name| name == column),
            Rule::Check(_) => false,
        })
    }
}

/// A new column.
#[derive(Debug, Clone)]
pub struct NewColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub pg_type: PgType,
    /// `NOT NULL`
    pub is_required: bool,
    /// Its default.
    pub default: Option<Initial>,
    /// Whether the store numbers it.
    pub identity: Option<Identity>,
}

/// What a column gets when a row says nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Initial {
    /// A value of the column's type, as PostgreSQL writes it.
    Value(String),
    /// `CURRENT_TIMESTAMP`
    Now,
    /// `CURRENT_DATE`
    Today,
    /// `gen_random_uuid()`
    Uuid,
}

/// Who numbers rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// `GENERATED ALWAYS AS IDENTITY`
    Always,
    /// `GENERATED BY DEFAULT AS IDENTITY`
    ByDefault,
    /// `serial`
    Serial,
}

/// A rule for rows.
#[derive(Debug, Clone)]
pub struct NewConstraint {
    /// Its name; the store gives one where there is none.
    pub name: Option<String>,
    /// It.
    pub rule: Rule,
}

impl NewConstraint {
    /// Its name, which an index may get, and that of the table that it refers to.
    fn names(&self) -> Vec<&str> {
        let referenced = match &self.rule {
            Rule::Foreign(reference) => Some(reference.table.name.as_str()),
            Rule::PrimaryKey(_) | Rule::Unique(_) | Rule::Check(_) => None,
        };
        self.name.as_deref().into_iter().chain(referenced).collect()
    }
}

/// What a constraint demands.
#[derive(Debug, Clone)]
pub enum Rule {
    /// `PRIMARY KEY`
    PrimaryKey(Vec<String>),
    /// `UNIQUE`
    Unique(Vec<String>),
    /// `CHECK`
    Check(Condition),
    /// `FOREIGN KEY … REFERENCES`
    Foreign(Reference),
}

/// What columns refer to.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The columns.
    pub columns: Vec<String>,
    /// The table.
    pub table: TableId,
    /// Its columns.
    pub referenced: Vec<String>,
    /// What happens when they change.
    pub on_update: Action,
    /// What happens when their row goes.
    pub on_delete: Action,
}

/// A condition on one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// A column, with its type.
    Column(String, PgType),
    /// `NULL`
    Null,
    /// `TRUE`, `FALSE`
    Truth(bool),
    /// A number, as it is written.
    Number(String),
    /// A text.
    Text(String),
    /// `NOT`
    Not(Box<Condition>),
    /// An operator of PostgreSQL between two: `=`, `<>`, `<`, `<=`, `>`, `>=`, `+`, `-`, `*`, `AND`, `OR`.
    Between(Box<Condition>, &'static str, Box<Condition>),
    /// `IS NULL`, or `IS NOT NULL`
    IsNull(Box<Condition>, bool),
    /// `IN`, or `NOT IN`
    In(Box<Condition>, Vec<Condition>, bool),
    /// `length(…)`
    Length(Box<Condition>),
}

impl Condition {
    /// Looks at it and all that it is made of.
    pub fn visit(&self, look: &mut impl FnMut(&Self)) {
        look(self);
        match self {
            Self::Column(..) | Self::Null | Self::Truth(_) | Self::Number(_) | Self::Text(_) => {}
            Self::Not(inner) | Self::IsNull(inner, _) | Self::Length(inner) => inner.visit(look),
            Self::Between(left, _, right) => {
                left.visit(look);
                right.visit(look);
            }
            Self::In(inner, list, _) => {
                inner.visit(look);
                list.iter().for_each(|item| item.visit(look));
            }
        }
    }
}

/// A new index.
#[derive(Debug, Clone)]
pub struct NewIndex {
    /// Its name.
    pub name: String,
    /// The table.
    pub table: Arc<Table>,
    /// Its columns, and whether each is in descending order.
    pub columns: Vec<(String, bool)>,
    /// `UNIQUE`
    pub is_unique: bool,
}

/// A step of `ALTER TABLE`.
#[derive(Debug, Clone)]
pub enum Step {
    /// `ADD COLUMN`
    AddColumn(NewColumn),
    /// `DROP COLUMN`
    DropColumn {
        /// The column.
        name: String,
        /// Whether what depends on it goes too.
        cascades: bool,
    },
    /// `RENAME COLUMN`
    RenameColumn {
        /// The column.
        name: String,
        /// Its new name.
        to: String,
    },
    /// `RENAME TO`
    Rename(String),
    /// `ALTER COLUMN … TYPE`
    SetType {
        /// The column.
        name: String,
        /// Its new type.
        pg_type: PgType,
    },
    /// `ALTER COLUMN … SET DEFAULT`, or `DROP DEFAULT`
    SetDefault {
        /// The column.
        name: String,
        /// Its type.
        pg_type: PgType,
        /// Its new default.
        default: Option<Initial>,
    },
    /// `ALTER COLUMN … SET NOT NULL`, or `DROP NOT NULL`
    SetRequired {
        /// The column.
        name: String,
        /// Whether it is from now on.
        is_required: bool,
    },
    /// `ADD CONSTRAINT`
    AddConstraint(NewConstraint),
    /// `DROP CONSTRAINT`
    DropConstraint {
        /// Its name.
        name: String,
        /// What it is.
        kind: ConstraintKind,
        /// Whether what depends on it goes too.
        cascades: bool,
    },
}

impl Step {
    /// The names of tables and constraints that it makes or refers to.
    fn names(&self) -> Vec<&str> {
        match self {
            Self::Rename(to) => vec![to.as_str()],
            Self::AddConstraint(constraint) => constraint.names(),
            Self::AddColumn(_)
            | Self::DropColumn { .. }
            | Self::RenameColumn { .. }
            | Self::SetType { .. }
            | Self::SetDefault { .. }
            | Self::SetRequired { .. }
            | Self::DropConstraint { .. } => Vec::new(),
        }
    }
}

/// What a constraint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstraintKind {
    /// `PRIMARY KEY`
    Primary,
    /// `UNIQUE`
    Unique,
    /// `CHECK`
    Check,
    /// `FOREIGN KEY`
    Foreign,
}
