//! Primary keys, indexes, foreign keys, checks and row estimates.

use std::collections::BTreeSet;

use super::super::super::relational::{Dialect, checks as written};
use super::super::super::schema::{Action, Check, Column, ForeignKey, Key, TableId, TableKind};
use super::super::super::value::Value;
use super::super::scan::{Database, Failure};
use super::super::types;
use super::{Found, NAMESPACE, Relation, rows, texts};
use crate::pgtype::PgType;

/// Ordinals of the primary key's columns, in key order.
pub(super) fn primary_key(columns: &[Found]) -> Vec<usize> {
    let mut key: Vec<(i64, usize)> =
        columns.iter().enumerate().filter(|(_, column)| column.key_place > 0).map(|(at, column)| (column.key_place, at)).collect();
    key.sort_unstable();
    key.into_iter().map(|(_, ordinal)| ordinal).collect()
}

/// SQLite names neither primary nor foreign keys; they get the names that Postgres would give.
pub(super) fn named_key(table: &str, suffix: &str, columns: Vec<usize>) -> Key {
    Key { name: format!("{table}_{suffix}"), columns, proven: false }
}

/// The primary key. It is proven over integers that nothing else can stand for: other keys may hold NULLs, and cells of
/// different kinds or spellings that are read as one value.
pub(super) fn primary(table: &str, ordinals: Vec<usize>, columns: &[Column]) -> Key {
    let is_proven =
        |column: &Column| column.pg_type() == PgType::INT8 && !column.field.is_nullable() && types::is_proven(&column.field);
    let proven = ordinals.iter().all(|ordinal| columns.get(*ordinal).is_some_and(is_proven));
    Key { proven, ..named_key(table, "pkey", ordinals) }
}

/// Indexes over plain columns.
#[derive(Default)]
pub(super) struct Indexes {
    /// Unique ones, without the primary key's own.
    pub(super) unique: Vec<Key>,
    /// The others.
    pub(super) plain: Vec<Key>,
}

/// Reads the indexes of a table. Partial indexes and indexes over expressions say nothing about plain columns.
pub(super) fn indexes(database: &Database<'_>, table: &str, columns: &[Column]) -> Result<Indexes, Failure> {
    let sql = "SELECT name, \"unique\", origin FROM pragma_index_list(?1, 'main') WHERE partial = 0 ORDER BY name";
    let found = rows(database, sql, &[Value::Text(table.to_owned())], |row| {
        Ok((row.text(0)?.unwrap_or_default(), row.int(1)? == Some(1), row.text(2)?.unwrap_or_default()))
    })?;
    let mut indexes = Indexes::default();
    for (name, unique, origin) in found.into_iter().filter(|(_, _, origin)| origin != "pk") {
        let sql = "SELECT name FROM pragma_index_xinfo(?1, 'main') WHERE key = 1 ORDER BY seqno";
        let names = texts(database, sql, &[Value::Text(name.clone())])?;
        let ordinals = names.iter().map(|name| ordinal(columns, name.as_deref()?)).collect::<Option<Vec<usize>>>();
        let Some(ordinals) = ordinals else { continue };
        // SQLite's own names of constraint indexes are of no use to anybody.
        let name = if origin == "u" { format!("{table}_{}_key", joined(columns, &ordinals)) } else { name };
        let key = Key { name, columns: ordinals, proven: false };
        if unique { indexes.unique.push(key) } else { indexes.plain.push(key) }
    }
    Ok(indexes)
}

fn joined(columns: &[Column], ordinals: &[usize]) -> String {
    let names: Vec<&str> = ordinals.iter().filter_map(|ordinal| columns.get(*ordinal)).map(Column::name).collect();
    names.join("_")
}

/// SQLite compares names without regard to the case of ASCII letters.
fn ordinal(columns: &[Column], name: &str) -> Option<usize> {
    columns.iter().position(|column| column.name().eq_ignore_ascii_case(name))
}

/// Reads the foreign keys of a table.
pub(super) fn foreign_keys(database: &Database<'_>, table: &str, columns: &[Column]) -> Result<Vec<ForeignKey>, Failure> {
    let sql = "SELECT id, \"table\", \"from\", \"to\", on_update, on_delete \
               FROM pragma_foreign_key_list(?1, 'main') ORDER BY id, seq";
    let parts = rows(database, sql, &[Value::Text(table.to_owned())], |row| {
        let id = row.int(0)?.unwrap_or(0);
        let (references, from, to) = (row.text(1)?.unwrap_or_default(), row.text(2)?.unwrap_or_default(), row.text(3)?);
        let mut action = |place| row.text(place).map(|words| Action::of_words(&words.unwrap_or_default()));
        Ok((id, references, from, to, [action(4)?, action(5)?]))
    })?;
    let mut keys: Vec<(i64, ForeignKey)> = Vec::new();
    for (id, references, from, to, [on_update, on_delete]) in parts {
        let Some(from) = ordinal(columns, &from) else { continue };
        if keys.last().is_none_or(|(last, _)| *last != id) {
            let references = TableId { namespace: NAMESPACE.to_owned(), name: references };
            let (columns, referenced_columns) = (Vec::new(), Vec::new());
            let key = ForeignKey { name: String::new(), columns, references, referenced_columns, on_update, on_delete };
            keys.push((id, key));
        }
        if let Some((_, key)) = keys.last_mut() {
            key.columns.push(from);
            key.referenced_columns.extend(to);
        }
    }
    for (_, key) in &mut keys {
        key.name = format!("{table}_{}_fkey", joined(columns, &key.columns));
        // Without column names the key refers to the other table's primary key.
        if key.referenced_columns.is_empty() {
            let sql = "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE pk > 0 ORDER BY pk";
            let names = texts(database, sql, &[Value::Text(key.references.name.clone())])?;
            key.referenced_columns = names.into_iter().flatten().collect();
        }
    }
    Ok(keys.into_iter().map(|(_, key)| key).filter(|key| key.columns.len() == key.referenced_columns.len()).collect())
}

/// Reads the CHECK constraints of a table, which SQLite keeps only in the statement that made it. Those without a name get one
/// as Postgres would give it.
pub(super) fn checks(database: &Database<'_>, relation: &Relation, columns: &[Column]) -> Result<Vec<Check>, Failure> {
    if relation.kind != TableKind::Table || relation.foreign {
        return Ok(Vec::new());
    }
    let sql = "SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name = ?1";
    let statement = texts(database, sql, &[Value::Text(relation.name.clone())])?.into_iter().flatten().next();
    let found = written::in_create_table(&statement.unwrap_or_default());
    let mut taken: BTreeSet<String> = found.iter().filter_map(|check| check.name.clone()).collect();
    let named = found.into_iter().map(|check| {
        let mentioned = written::columns_in(&check.expression, columns);
        // One that stands at a column which is not shown is about that column.
        let about = match (&*mentioned, check.column) {
            ([_], _) => Some(joined(columns, &mentioned)),
            ([], column) => column,
            _ => None,
        };
        let name = check.name.unwrap_or_else(|| free_name(&relation.name, about.as_deref(), &mut taken));
        Check { name, columns: mentioned, expression: check.expression }
    });
    Ok(named.collect())
}

/// The name that Postgres would give a condition: with that of its column, where it is about one alone, and a number where it is taken.
fn free_name(table: &str, column: Option<&str>, taken: &mut BTreeSet<String>) -> String {
    let base = column.map_or_else(|| format!("{table}_check"), |column| format!("{table}_{column}_check"));
    let (mut name, mut number) = (base.clone(), 0_usize);
    while !taken.insert(name.clone()) {
        number += 1;
        name = format!("{base}{number}");
    }
    name
}

/// The number of rows by `ANALYZE`, or by the highest rowid, which is cheap to find and seldom far off.
pub(super) fn row_estimate(
    database: &Database<'_>,
    relation: &Relation,
    columns: &[Column],
    has_statistics: bool,
) -> Result<Option<u64>, Failure> {
    if relation.kind != TableKind::Table || relation.foreign {
        return Ok(None);
    }
    if has_statistics {
        // The first number of a line is the table's row count.
        let sql = "SELECT stat FROM main.sqlite_stat1 WHERE tbl = ?1 AND stat IS NOT NULL";
        let lines = texts(database, sql, &[Value::Text(relation.name.clone())])?;
        let counts = lines.iter().flatten().filter_map(|line| line.split(' ').next()?.parse::<u64>().ok());
        if let Some(most) = counts.max() {
            return Ok(Some(most));
        }
    }
    // A column may hide the rowid behind its own name.
    let free = ["rowid", "_rowid_", "oid"].into_iter().find(|name| ordinal(columns, name).is_none());
    let Some(rowid) = free.filter(|_| !relation.clustered) else { return Ok(None) };
    let table = Dialect::Sqlite.quote(&relation.name);
    let highest = rows(database, &format!("SELECT max(t.{rowid}) FROM main.{table} AS t"), &[], |row| row.int(0))?;
    Ok(Some(highest.into_iter().flatten().next().and_then(|highest| u64::try_from(highest).ok()).unwrap_or(0)))
}
