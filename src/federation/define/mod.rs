//! Statements that define tables and indexes: from the client's tree to what a store is told, with all names looked up before.
//!
//! ```text
//! CREATE TABLE, ALTER TABLE, CREATE INDEX, DROP … → columns (types, defaults, rules) · condition (CHECK) → stores::define::Define
//! ```
//!
//! **Invariants:** nothing of the client's text goes on: a name is looked up or kept as a name, a type is one that is known here, a default
//! is a value that was computed here, and a condition is one of the few forms that every store reads alike. What else PostgreSQL's grammar
//! has is refused with 0A000. Deliberately absent: what each store has (that is its connector's), and running it.

mod alter;
mod columns;
mod condition;
mod drop;
mod index;

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;
use datafusion::sql::sqlparser::ast::{CreateTable, DataType, ObjectName, ObjectNamePart};

use super::ast::name::fold;
use super::engine::Engine;
use super::error::diagnose;
use super::plan::Setting;
use crate::catalog::{QualifiedName, Relation, RelationBody};
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::{PgField, PgType};
use crate::stores::define::{Define, NewTable, What};
use crate::stores::schema::TableId;
use crate::stores::{StoreName, Table};
use columns::Gathering;

pub use alter::alter_table;
pub use drop::{drop_indexes, drop_tables, in_order};
pub use index::{create_index, view_index};

/// Most characters that a type of texts may be told to hold (PostgreSQL's `MaxAttrSize`).
const LENGTH_MAX: i32 = 10_485_760;

/// Where something is defined.
#[derive(Debug, Clone)]
pub struct Place {
    /// The store.
    pub store: StoreName,
    /// The store's own name of the schema.
    pub namespace: String,
    /// The schema.
    pub schema: String,
    /// The name in it.
    pub name: String,
}

/// What a statement comes to.
#[derive(Debug, Default)]
pub struct Planned {
    /// What the store is told; nothing where all is so already.
    pub define: Option<Define>,
    /// What the client is told besides.
    pub notices: Vec<String>,
    /// The types that the columns of a new table should have, to tell which have others.
    pub wanted: Vec<(String, PgType)>,
}

/// Plans a `CREATE TABLE`.
///
/// # Errors
/// As PostgreSQL: 42701, 42703, 42704, 42P16, 42830, 22P02, …; 0A000 for what is not supported.
pub async fn create_table(engine: &Engine, setting: &Setting, create: &CreateTable, place: &Place) -> Result<Planned, Diagnosis> {
    check_form(create)?;
    let mut gathering = Gathering::new(engine, setting, place);
    for column in &create.columns {
        gathering.column(column).await?;
    }
    for constraint in &create.constraints {
        gathering.constraint(constraint)?;
    }
    let (columns, constraints) = gathering.finish()?;
    if columns.is_empty() {
        return Err(unsupported("a table without columns"));
    }
    let wanted = columns.iter().map(|column| (column.name.clone(), column.pg_type)).collect();
    let id = TableId { namespace: place.namespace.clone(), name: place.name.clone() };
    let what = What::CreateTable(NewTable { id, columns, constraints });
    Ok(Planned { define: Some(Define { store: place.store.clone(), what }), notices: Vec::new(), wanted })
}

/// Refuses what stands around columns and constraints.
fn check_form(create: &CreateTable) -> Result<(), Diagnosis> {
    let plain = CreateTableBuilder::new(create.name.clone())
        .columns(create.columns.clone())
        .constraints(create.constraints.clone())
        .if_not_exists(create.if_not_exists)
        .build();
    if plain == *create {
        return Ok(());
    }
    let forms = [
        (create.query.is_some(), "CREATE TABLE AS"),
        (create.temporary, "CREATE TEMPORARY TABLE"),
        (create.like.is_some(), "LIKE in CREATE TABLE"),
        (create.inherits.is_some(), "INHERITS"),
        (create.partition_of.is_some() || create.partition_by.is_some(), "partitioning in CREATE TABLE"),
    ];
    let named = forms.iter().find(|(is_there, _)| *is_there).map(|(_, name)| *name);
    Err(unsupported(named.unwrap_or("this form of CREATE TABLE")))
}

/// 0A000
fn unsupported(what: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{what} is not supported"))
}

/// The type that a name in SQL means.
fn type_of(data_type: &DataType) -> Result<PgType, Diagnosis> {
    let field = super::semantics::type_planner().plan_type_field(data_type).map_err(|error| diagnose(&error))?;
    let pg_type = field.map(|field| field.pg_type()).ok_or_else(|| unsupported(&format!("the type {data_type}")))?;
    check_length(pg_type.element().unwrap_or(pg_type)).map(|()| pg_type)
}

/// Texts are of one character at least.
///
/// # Errors
/// 22023
fn check_length(pg_type: PgType) -> Result<(), Diagnosis> {
    let word = match pg_type.oid {
        oid if oid == PgType::VARCHAR.oid => "varchar",
        oid if oid == PgType::BPCHAR.oid => "char",
        _ => return Ok(()),
    };
    let rule = match pg_type.typmod {
        typmod if typmod < 0 => return Ok(()),
        typmod if typmod <= 4 => "must be at least 1".to_owned(),
        typmod if typmod - 4 > LENGTH_MAX => format!("cannot exceed {LENGTH_MAX}"),
        _ => return Ok(()),
    };
    Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, format!("length for type {word} {rule}")))
}

/// A written name of a relation, folded.
fn qualified(name: &ObjectName) -> Result<QualifiedName, Diagnosis> {
    let parts: Option<Vec<String>> = name.0.iter().map(|part| ObjectNamePart::as_ident(part).map(fold)).collect();
    let Some(mut parts) = parts.filter(|parts| (1..=3).contains(&parts.len())) else {
        let message = format!("improper qualified name (too many dotted names): {name}");
        return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, message));
    };
    let relation = parts.pop().unwrap_or_default();
    Ok(QualifiedName { schema: parts.pop(), database: parts.pop(), relation })
}

/// The table of a store that a relation is.
///
/// # Errors
/// 42809 for anything else.
fn table_of(relation: &Relation) -> Result<(&StoreName, &Arc<Table>), Diagnosis> {
    use crate::stores::schema::TableKind;
    match &relation.body {
        RelationBody::Stored { store, table } if matches!(table.kind, TableKind::Table | TableKind::Collection) => {
            Ok((store, table))
        }
        body => {
            let error = Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", relation.name));
            if body.materialized().is_some() {
                return Err(error.with_hint("Use DROP MATERIALIZED VIEW to remove a materialized view."));
            }
            let is_view = match body {
                RelationBody::View { .. } => true,
                RelationBody::Stored { table, .. } => table.kind == TableKind::View,
                RelationBody::Rows(_) => false,
            };
            Err(if is_view { error.with_hint("Use DROP VIEW to remove a view.") } else { error })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_lengths_that_postgres_takes() {
        let code = |oid, typmod| check_length(PgType::with_typmod(oid, typmod)).err().map(|error| error.sqlstate);
        assert_eq!(code(1043, -1), None);
        assert_eq!(code(1043, 4).as_deref(), Some("22023"));
        assert_eq!(code(1042, 5), None);
        assert_eq!(code(1042, LENGTH_MAX + 5).as_deref(), Some("22023"));
        assert_eq!(code(1700, 4), None);
    }
}
