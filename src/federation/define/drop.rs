//! `DROP TABLE` and `DROP INDEX`

use std::sync::Arc;

use super::super::plan::Setting;
use super::{Planned, table_of};
use crate::catalog::object::Index;
use crate::catalog::{QualifiedName, Relation, RelationBody, Snapshot};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::define::{Define, What};
use crate::stores::schema::TableId;
use crate::stores::{StoreName, Table};

/// Plans the end of tables of one store. `minds_others` where the store itself keeps tables that others refer to.
///
/// # Errors
/// 42809, 0A000 for tables of several stores, 2BP01 for those that others refer to.
pub fn drop_tables(
    setting: &Setting,
    relations: &[Arc<Relation>],
    (cascades, minds_others): (bool, bool),
) -> Result<Planned, Diagnosis> {
    let mut owner: Option<&StoreName> = None;
    let mut tables: Vec<Arc<Table>> = Vec::with_capacity(relations.len());
    for relation in relations {
        let (store, table) = table_of(relation)?;
        if *owner.get_or_insert(store) != store {
            let message = "tables of several stores cannot be dropped by one statement";
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
        tables.push(Arc::clone(table));
    }
    let Some(store) = owner.cloned() else { return Ok(Planned::default()) };
    if !minds_others {
        check_references(&setting.snapshot, &store, (&tables, cascades))?;
    }
    let tables = in_order(tables).iter().map(|table| table.id.clone()).collect();
    let define = Define { store, what: What::DropTables { tables, cascades } };
    Ok(Planned { define: Some(define), ..Planned::default() })
}

/// PostgreSQL drops no table that another one refers to.
fn check_references(snapshot: &Snapshot, store: &StoreName, (dropped, cascades): (&[Arc<Table>], bool)) -> Result<(), Diagnosis> {
    let gone: Vec<&TableId> = dropped.iter().map(|table| &table.id).collect();
    for relation in snapshot.schemas.values().flat_map(|schema| schema.relations.values()) {
        let RelationBody::Stored { store: of, table } = &relation.body else { continue };
        if of != store || gone.contains(&&table.id) {
            continue;
        }
        let Some(key) = table.foreign_keys.iter().find(|key| gone.contains(&&key.references)) else { continue };
        let (name, referenced) = (&relation.name, &key.references.name);
        if cascades {
            let message = format!("CASCADE over the constraint of table \"{name}\" is not supported by store \"{store}\"");
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_hint("Drop the constraint before."));
        }
        let message = format!("cannot drop table {referenced} because other objects depend on it");
        return Err(Diagnosis::new(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message)
            .with_detail(format!("constraint {} on table {name} depends on table {referenced}", key.name))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    Ok(())
}

/// The tables, those that refer to others before these; where they refer to one another, as they were named.
pub fn in_order(mut left: Vec<Arc<Table>>) -> Vec<Arc<Table>> {
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let refers = |other: &Arc<Table>, table: &Arc<Table>| {
            other.id != table.id && other.foreign_keys.iter().any(|key| key.references == table.id)
        };
        let free = left.iter().position(|table| !left.iter().any(|other| refers(other, table)));
        ordered.push(left.remove(free.unwrap_or(0)));
    }
    ordered
}

/// Plans the end of an index; `None` when there is none of the name.
///
/// # Errors
/// 2BP01 for the index of a key.
pub fn drop_indexes(setting: &Setting, name: &QualifiedName, cascades: bool) -> Result<Option<Define>, Diagnosis> {
    let snapshot = &setting.snapshot;
    let schemas: Vec<&str> = match &name.schema {
        Some(schema) => vec![schema.as_str()],
        None => snapshot.effective_path(&setting.path).into_iter().map(|schema| schema.name.as_str()).collect(),
    };
    let found = schemas
        .iter()
        .find_map(|schema| snapshot.objects.indexes.iter().find(|index| index.schema == *schema && index.name == name.relation));
    let Some(index) = found else { return Ok(None) };
    let Some(relation) = snapshot.relation_by_oid(index.table_oid) else { return Ok(None) };
    let (store, table) = table_of(relation)?;
    let Some(native) = native_name(index, table, &snapshot.objects.indexes) else {
        let message = format!("cannot drop index {0} because constraint {0} on table {1} requires it", index.name, index.table);
        return Err(Diagnosis::new(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message)
            .with_hint(format!("You can drop constraint {} on table {} instead.", index.name, index.table)));
    };
    let what = What::DropIndex { table: table.id.clone(), name: native, cascades };
    Ok(Some(Define { store: store.clone(), what }))
}

/// The store's own name of an index; `None` of one that belongs to a primary key or has none. `indexes` are all that are shown of the
/// snapshot: where a name is taken in the schema, an index is shown by its own name with a number behind it.
pub(super) fn native_name(index: &Index, table: &Table, indexes: &[Index]) -> Option<String> {
    if index.primary {
        return None;
    }
    let is_shown_itself = |name: &str| indexes.iter().any(|known| known.table_oid == index.table_oid && known.name == name);
    let is_numbered = |name: &str| {
        let digits = index.name.strip_prefix(name);
        digits.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_digit())) && !is_shown_itself(name)
    };
    let is_same = |columns: &[usize]| {
        columns.len() == index.columns.len()
            && columns.iter().zip(&index.columns).all(|(ordinal, number)| i16::try_from(ordinal + 1) == Ok(*number))
    };
    let keys = if index.unique { &table.unique_keys } else { &table.indexes };
    let named = keys.iter().find(|key| key.name == index.name && is_same(&key.columns));
    let key = named.or_else(|| keys.iter().find(|key| is_same(&key.columns) && is_numbered(&key.name)))?;
    (!key.name.is_empty() && !key.name.starts_with("sqlite_autoindex")).then(|| key.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::schema::Key;

    #[test]
    fn an_index_that_is_shown_by_another_name_is_found_by_its_own() {
        let key = |name: &str| Key { name: name.to_owned(), columns: vec![0], proven: false };
        let shown = |name: &str| Index {
            oid: 1,
            name: name.to_owned(),
            schema_oid: 1,
            schema: "shop".to_owned(),
            table_oid: 7,
            table: "t".to_owned(),
            columns: vec![1],
            column_names: vec!["a".to_owned()],
            unique: false,
            primary: false,
        };
        let table = Table { indexes: vec![key("y"), key("x")], ..Table::plain("main", "t", Vec::new()) };
        // The name x is one of another table.
        let indexes = [shown("y"), shown("x1")];
        let native = |index: &Index| native_name(index, &table, &indexes);
        assert_eq!(native(&indexes[0]).as_deref(), Some("y"));
        assert_eq!(native(&indexes[1]).as_deref(), Some("x"));
        assert_eq!(native(&shown("z")), None);
        assert_eq!(native(&Index { primary: true, ..shown("y") }), None);
    }
}
