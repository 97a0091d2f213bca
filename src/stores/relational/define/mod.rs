//! Statements that define tables and indexes, in the words of each SQL dialect.
//!
//! ```text
//! Define ─ Speech (types, defaults and what there is) → texts of statements, in their order
//! ```
//!
//! **Invariants:** names are quoted; a text constant is a quoted literal without a NUL, and without a backslash where the store may read it
//! again in another mode; what a store has not is a [`Refusal`] before anything is sent.

mod alter;
mod condition;

use super::super::define::{
    Condition, Define, Identity, Initial, NewColumn, NewConstraint, NewIndex, NewTable, Reference, Rule, Step, What,
};
use super::super::fragment::Refusal;
use super::super::schema::Action;
use super::dialect::Dialect;
use super::embedded;
use crate::pgtype::PgType;

/// What a store has for what PostgreSQL has.
pub trait Speech {
    /// Its dialect.
    fn dialect(&self) -> Dialect;

    /// The words of a type that holds all values of `pg_type`; `is_key` where it is compared for keys, and not numbered.
    ///
    /// # Errors
    /// A type that the store has not.
    fn type_of(&self, pg_type: PgType, is_key: bool) -> Result<String, Refusal>;

    /// A default of a column of this type.
    ///
    /// # Errors
    /// What the store cannot give by itself.
    fn default(&self, pg_type: PgType, default: &Initial) -> Result<String, Refusal>;

    /// What stands behind the type of a column that the store numbers.
    ///
    /// # Errors
    /// A form of numbering that it has not.
    fn identity(&self, identity: Identity, is_only_key: bool) -> Result<&'static str, Refusal>;

    /// What stands behind the columns of a new table.
    fn ending(&self) -> &'static str {
        ""
    }

    /// A rule beside those of the statement, by which the column takes what its type in PostgreSQL takes and no more.
    fn bound(&self, column: &NewColumn) -> Option<String> {
        let _ = column;
        None
    }
}

/// The statements of a definition, in their order.
///
/// # Errors
/// What the store has not.
pub fn statements(define: &Define, speech: &impl Speech) -> Result<Vec<String>, Refusal> {
    let dialect = speech.dialect();
    check_columns(&define.what)?;
    Ok(match &define.what {
        What::CreateTable(table) => vec![create_table(table, speech)?],
        What::AlterTable { table, only, steps } => alter::statements((table, *only), steps, speech)?,
        What::DropTables { tables, cascades } => {
            let names: Vec<String> = tables.iter().map(|table| dialect.table(table)).collect();
            match dialect {
                Dialect::Postgres => vec![format!("DROP TABLE {}{}", names.join(", "), behind(*cascades))],
                Dialect::MySql => vec![format!("DROP TABLE {}", names.join(", "))],
                Dialect::Sqlite => names.into_iter().map(|name| format!("DROP TABLE {name}")).collect(),
            }
        }
        What::CreateIndex(index) => vec![create_index(index, dialect)?],
        What::DropIndex { table, name, cascades } => {
            let (name, namespace) = (dialect.quote(name), dialect.quote(&table.namespace));
            match dialect {
                Dialect::Postgres => vec![format!("DROP INDEX {namespace}.{name}{}", behind(*cascades))],
                Dialect::MySql => vec![format!("DROP INDEX {name} ON {}", dialect.table(table))],
                Dialect::Sqlite => vec![format!("DROP INDEX {namespace}.{name}")],
            }
        }
    })
}

/// A field of a document is no column of the store. SQLite would take the name of one for a text, and index that.
fn check_columns(what: &What) -> Result<(), Refusal> {
    let (table, named): (_, Vec<String>) = match what {
        What::CreateIndex(index) => (&index.table, index.columns.iter().map(|(name, _)| name.clone()).collect()),
        What::AlterTable { table, steps, .. } => (table, steps.iter().flat_map(columns_of).collect()),
        What::CreateTable(_) | What::DropTables { .. } | What::DropIndex { .. } => return Ok(()),
    };
    let mut columns = table.columns.iter().filter(|column| named.iter().any(|name| name == column.name()));
    match columns.find(|column| embedded::source(&column.field).is_some()) {
        Some(field) => Err(Refusal::new(field.name(), "it is a field of a document, and no column of the store")),
        None => Ok(()),
    }
}

/// The columns that a step needs.
fn columns_of(step: &Step) -> Vec<String> {
    match step {
        Step::DropColumn { name, .. }
        | Step::RenameColumn { name, .. }
        | Step::SetType { name, .. }
        | Step::SetDefault { name, .. }
        | Step::SetRequired { name, .. } => vec![name.clone()],
        Step::AddConstraint(constraint) => match &constraint.rule {
            Rule::PrimaryKey(columns) | Rule::Unique(columns) => columns.clone(),
            Rule::Foreign(reference) => reference.columns.clone(),
            Rule::Check(condition) => {
                let mut columns = Vec::new();
                condition.visit(&mut |part| {
                    if let Condition::Column(name, _) = part {
                        columns.push(name.clone());
                    }
                });
                columns
            }
        },
        Step::AddColumn(_) | Step::Rename(_) | Step::DropConstraint { .. } => Vec::new(),
    }
}

fn behind(cascades: bool) -> &'static str {
    if cascades { " CASCADE" } else { " RESTRICT" }
}

fn create_table(table: &NewTable, speech: &impl Speech) -> Result<String, Refusal> {
    let dialect = speech.dialect();
    let mut parts = Vec::with_capacity(table.columns.len() + table.constraints.len());
    // SQLite numbers a column only where its key stands beside it.
    let beside = match (dialect, table.primary_key()) {
        (Dialect::Sqlite, Some([only])) => {
            let numbered = table.columns.iter().find(|column| column.name == *only && column.identity.is_some());
            numbered.map(|column| column.name.clone())
        }
        _ => None,
    };
    for column in &table.columns {
        let is_only_key = table.primary_key().is_some_and(|key| key == [column.name.clone()]);
        parts.push(column_of(column, (table.is_key(&column.name), is_only_key), speech)?);
    }
    for column in &table.columns {
        parts.extend(speech.bound(column));
    }
    for constraint in &table.constraints {
        if beside.is_none() || !matches!(constraint.rule, Rule::PrimaryKey(_)) {
            parts.push(constraint_of(constraint, dialect)?);
        }
    }
    Ok(format!("CREATE TABLE {} ({}){}", dialect.table(&table.id), parts.join(", "), speech.ending()))
}

/// A column with its type, default and whether it takes NULL.
fn column_of(column: &NewColumn, (is_key, is_only_key): (bool, bool), speech: &impl Speech) -> Result<String, Refusal> {
    let NewColumn { name, pg_type, is_required, default, identity } = column;
    let mut text = speech.dialect().quote(name);
    text.push(' ');
    match identity {
        Some(Identity::Serial) if speech.dialect() == Dialect::Postgres => text.push_str(serial(*pg_type)?),
        Some(identity) => {
            let numbered = speech.identity(*identity, is_only_key)?;
            text.push_str(&speech.type_of(*pg_type, false)?);
            text.push_str(numbered);
        }
        None => text.push_str(&speech.type_of(*pg_type, is_key)?),
    }
    if *is_required {
        text.push_str(" NOT NULL");
    } else if speech.dialect() == Dialect::MySql {
        // Some of its types are NOT NULL where nothing is said.
        text.push_str(" NULL");
    }
    if let Some(default) = default {
        text.push_str(" DEFAULT ");
        text.push_str(&speech.default(*pg_type, default)?);
    }
    Ok(text)
}

fn serial(pg_type: PgType) -> Result<&'static str, Refusal> {
    match pg_type {
        PgType::INT2 => Ok("smallserial"),
        PgType::INT4 => Ok("serial"),
        PgType::INT8 => Ok("bigserial"),
        _ => Err(Refusal::new(pg_type, "is no type of numbers that are given in turn")),
    }
}

fn constraint_of(constraint: &NewConstraint, dialect: Dialect) -> Result<String, Refusal> {
    let list = |columns: &[String]| {
        let columns: Vec<String> = columns.iter().map(|column| dialect.quote(column)).collect();
        columns.join(", ")
    };
    let rule = match &constraint.rule {
        Rule::PrimaryKey(columns) => format!("PRIMARY KEY ({})", list(columns)),
        Rule::Unique(columns) => format!("UNIQUE ({})", list(columns)),
        Rule::Check(condition) => format!("CHECK ({})", condition::write(condition, dialect)?),
        Rule::Foreign(Reference { columns, table, referenced, on_update, on_delete }) => {
            if dialect == Dialect::MySql && [on_update, on_delete].contains(&&Action::SetDefault) {
                return Err(Refusal::new("SET DEFAULT", "the store's tables do not do so to rows that refer to others"));
            }
            // SQLite's tables refer to those of their own file, by their names alone.
            let name = if dialect == Dialect::Sqlite { dialect.quote(&table.name) } else { dialect.table(table) };
            format!(
                "FOREIGN KEY ({}) REFERENCES {name} ({}) ON UPDATE {} ON DELETE {}",
                list(columns),
                list(referenced),
                on_update.words(),
                on_delete.words()
            )
        }
    };
    Ok(match &constraint.name {
        Some(name) => format!("CONSTRAINT {} {rule}", dialect.quote(name)),
        None => rule,
    })
}

fn create_index(index: &NewIndex, dialect: Dialect) -> Result<String, Refusal> {
    let NewIndex { name, table, columns, is_unique } = index;
    let columns: Vec<String> = columns
        .iter()
        .map(|(column, is_descending)| format!("{}{}", dialect.quote(column), if *is_descending { " DESC" } else { "" }))
        .collect();
    let unique = if *is_unique { "UNIQUE " } else { "" };
    let (name, columns) = (dialect.quote(name), columns.join(", "));
    Ok(match dialect {
        Dialect::Postgres | Dialect::MySql => {
            format!("CREATE {unique}INDEX {name} ON {} ({columns})", dialect.table(&table.id))
        }
        Dialect::Sqlite => {
            let (namespace, table) = (dialect.quote(&table.id.namespace), dialect.quote(&table.id.name));
            format!("CREATE {unique}INDEX {namespace}.{name} ON {table} ({columns})")
        }
    })
}

/// A text as a quoted literal.
///
/// # Errors
/// A NUL, and a backslash where the store may read it again in another mode.
pub fn quoted_text(text: &str, dialect: Dialect) -> Result<String, Refusal> {
    if text.contains('\0') {
        return Err(Refusal::new("a text", "it holds a NUL"));
    }
    if dialect == Dialect::MySql && text.contains('\\') {
        return Err(Refusal::new("a text", "it holds a backslash, which the store reads in more than one way"));
    }
    Ok(format!("'{}'", text.replace('\'', "''")))
}
