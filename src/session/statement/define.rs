//! Statements that define tables, indexes and views, materialized ones among them: what is kept of each, and what only other systems write.

use datafusion::sql::sqlparser::ast::{AlterTable, CreateIndex, CreateTable, ObjectName, ObjectType, Query, Statement};

use super::cached::Caching;
use super::results::{CreateCache, DropCache};
use super::view::{Refreshing, Viewing};
use super::{Kind, refuse, refused};
use crate::error::sqlstate;

/// A statement that defines something.
#[derive(Debug, Clone)]
pub enum Definition {
    /// `CREATE VIEW`, `CREATE MATERIALIZED VIEW`
    CreateView(Viewing),
    /// `REFRESH MATERIALIZED VIEW`
    Refresh(Refreshing),
    /// `CREATE TABLE`
    CreateTable(Box<CreateTable>),
    /// `ALTER TABLE`
    AlterTable(Box<AlterTable>),
    /// `ALTER TABLE … SET (tributary.cached = …)`
    SetCached(Caching),
    /// `CREATE CACHE`
    CreateCache(CreateCache),
    /// `DROP CACHE`
    DropCache(DropCache),
    /// `CREATE INDEX`
    CreateIndex(Box<CreateIndex>),
    /// `DROP TABLE`, `DROP INDEX`, `DROP VIEW`, `DROP MATERIALIZED VIEW`
    Drop(Dropping),
}

impl Definition {
    /// Whether what it is about is kept here, and not in a store: views, and what is cached.
    pub fn is_kept_here(&self) -> bool {
        match self {
            Self::CreateView(_) | Self::Refresh(_) | Self::SetCached(_) | Self::CreateCache(_) | Self::DropCache(_) => true,
            Self::Drop(dropping) => matches!(dropping.kind, Dropped::View | Dropped::MaterializedView),
            Self::CreateTable(_) | Self::AlterTable(_) | Self::CreateIndex(_) => false,
        }
    }

    /// The query that it is about, where it holds one.
    pub fn query_mut(&mut self) -> Option<&mut Query> {
        match self {
            Self::CreateCache(create) => Some(create.query.as_mut()),
            _ => None,
        }
    }

    /// The words it begins with, which are its tag.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::CreateView(viewing) if viewing.materialized.is_some() => "CREATE MATERIALIZED VIEW",
            Self::CreateView(_) => "CREATE VIEW",
            Self::Refresh(_) => "REFRESH MATERIALIZED VIEW",
            Self::CreateTable(_) => "CREATE TABLE",
            Self::AlterTable(_) | Self::SetCached(_) => "ALTER TABLE",
            Self::CreateIndex(_) => "CREATE INDEX",
            Self::CreateCache(_) => "CREATE CACHE",
            Self::DropCache(_) => "DROP CACHE",
            Self::Drop(dropping) => match dropping.kind {
                Dropped::Table => "DROP TABLE",
                Dropped::Index => "DROP INDEX",
                Dropped::View => "DROP VIEW",
                Dropped::MaterializedView => "DROP MATERIALIZED VIEW",
            },
        }
    }
}

/// What is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// A table.
    Table,
    /// An index.
    Index,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
}

/// A parsed `DROP`.
#[derive(Debug, Clone)]
pub struct Dropping {
    /// What.
    pub kind: Dropped,
    /// The names, of which there is one at least.
    pub names: Vec<ObjectName>,
    /// `IF EXISTS`
    pub if_exists: bool,
    /// `CASCADE`
    pub cascades: bool,
}

/// The kind of a parsed statement that defines something; anything else is refused.
pub(super) fn classify(statement: Statement) -> Kind {
    let definition = match statement {
        Statement::CreateTable(create) => Definition::CreateTable(Box::new(create)),
        Statement::AlterTable(alter) => Definition::AlterTable(Box::new(alter)),
        Statement::CreateIndex(create) => Definition::CreateIndex(Box::new(create)),
        Statement::Drop { object_type, if_exists, names, cascade, restrict: _, purge, temporary, table } => {
            let kind = match object_type {
                ObjectType::Table => Dropped::Table,
                ObjectType::Index => Dropped::Index,
                ObjectType::View => Dropped::View,
                ObjectType::MaterializedView => Dropped::MaterializedView,
                other => return refuse(sqlstate::FEATURE_NOT_SUPPORTED, &format!("DROP {other} is not supported")),
            };
            let foreign = [(purge, "PURGE"), (temporary, "TEMPORARY"), (table.is_some(), "ON")];
            if let Some((_, word)) = foreign.iter().find(|(is_there, _)| *is_there) {
                return refuse(sqlstate::SYNTAX_ERROR, &format!("syntax error at or near \"{word}\""));
            }
            Definition::Drop(Dropping { kind, names, if_exists, cascades: cascade })
        }
        other => return refused(&other),
    };
    Kind::Define(Box::new(definition))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn verb(text: &str) -> String {
        match parse(text).unwrap().remove(0).kind {
            Kind::Define(definition) => definition.verb().to_owned(),
            Kind::Refused(error) => error.sqlstate,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn definitions_are_known() {
        let rows = [
            ("CREATE TABLE t (a int PRIMARY KEY, b text DEFAULT 'x' NOT NULL)", "CREATE TABLE"),
            ("ALTER TABLE t ADD COLUMN c date", "ALTER TABLE"),
            ("CREATE UNIQUE INDEX i ON t (a)", "CREATE INDEX"),
            ("DROP TABLE IF EXISTS a, b CASCADE", "DROP TABLE"),
            ("DROP INDEX i", "DROP INDEX"),
            ("DROP VIEW v RESTRICT", "DROP VIEW"),
            ("CREATE VIEW v AS SELECT 1", "CREATE VIEW"),
            ("CREATE MATERIALIZED VIEW v AS SELECT 1", "CREATE MATERIALIZED VIEW"),
            ("REFRESH MATERIALIZED VIEW v", "REFRESH MATERIALIZED VIEW"),
            ("DROP MATERIALIZED VIEW IF EXISTS v, w CASCADE", "DROP MATERIALIZED VIEW"),
            ("DROP SCHEMA s", "0A000"),
            ("CREATE SCHEMA s", "0A000"),
            ("CREATE SEQUENCE s", "0A000"),
        ];
        for (text, expected) in rows {
            assert_eq!(verb(text), expected, "{text}");
        }
    }
}
