//! Which table a statement changes, and its columns by name.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Delete, FromTable, Ident, ObjectName, TableFactor, TableObject, TableWithJoins, Update};

use super::part::Part;
use super::scope::not_in_grammar;
use super::{Dml, Write, assign};
use crate::catalog::{QualifiedName, Relation, RelationBody, SearchPath, Snapshot};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::name::fold;
use crate::federation::ast::writing::Word;
use crate::stores::schema::{Column, Key};
use crate::stores::{StoreName, Table};

/// The table that a statement changes.
#[derive(Debug, Clone)]
pub struct Target {
    /// It among the names of the catalog.
    pub relation: Arc<Relation>,
    /// The store that owns it.
    pub store: StoreName,
    /// The table as discovered.
    pub table: Arc<Table>,
    /// What its columns may be qualified with.
    pub alias: String,
    /// Whether columns take values that their store makes always, if it lets them be overridden.
    pub(super) is_overridden: bool,
    /// See [`Target::key`].
    pub(super) key: Option<Key>,
    /// Fields inside of columns that the statement gives values by themselves.
    pub(super) parts: Vec<Part>,
}

/// The relation that a write names, whatever it is.
///
/// # Errors
/// 42601 for a target in a form that PostgreSQL does not have, 42P01 and the like for a name that is not found.
pub fn target(write: &Write, snapshot: &Snapshot, path: &SearchPath) -> Result<Arc<Relation>, Diagnosis> {
    snapshot.resolve(&qualified(name_in(write)?)?, path)
}

/// The name of the target as it is written.
fn name_in(write: &Write) -> Result<&ObjectName, Diagnosis> {
    Ok(match &write.dml {
        Dml::Insert(insert) => match &insert.table {
            TableObject::TableName(name) => name,
            TableObject::TableFunction(_) => return Err(not_in_grammar("FUNCTION")),
            TableObject::TableQuery(_) => return Err(not_in_grammar("(")),
        },
        Dml::Update(update) => named(changed_by_update(update))?.0,
        Dml::Delete(delete) => named(changed_by_delete(delete)?)?.0,
        Dml::Merge(merge) => factor(&merge.table)?.0,
    })
}

/// Whether `ONLY`, where it stands before the target, leaves out no rows: stores are asked for the rows of a table with those of the
/// tables that inherit from it, which only PostgreSQL has. That none did at the last discovery says nothing of now.
///
/// # Errors
/// 0A000 for a table that may have such tables.
pub(super) fn check_only(write: &Write, relation: &Relation, snapshot: &Snapshot) -> Result<(), Diagnosis> {
    if Word::first_of(name_in(write)?) != Some(Word::Only) {
        return Ok(());
    }
    let RelationBody::Stored { store, .. } = &relation.body else { return Ok(()) };
    if snapshot.connectors.get(store).is_none_or(|connector| connector.kind() != "postgres") {
        return Ok(());
    }
    let message = format!("{} ONLY of table \"{}\" is not supported", write.verb(), relation.name);
    Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
        .with_detail("Other tables may inherit from it, or hold its partitions, and their rows would change too."))
}

/// The target of an UPDATE.
pub(super) fn changed_by_update(update: &Update) -> &TableWithJoins {
    &update.table
}

/// The target of a DELETE.
pub(super) fn changed_by_delete(delete: &Delete) -> Result<&TableWithJoins, Diagnosis> {
    match &delete.from {
        FromTable::WithFromKeyword(from) => match from.as_slice() {
            [table] => Ok(table),
            _ => Err(not_in_grammar(",")),
        },
        FromTable::WithoutKeyword(_) => Err(not_in_grammar("DELETE")),
    }
}

/// The name and alias of a table that stands alone.
pub(super) fn named(item: &TableWithJoins) -> Result<(&ObjectName, Option<&Ident>), Diagnosis> {
    if !item.joins.is_empty() {
        return Err(not_in_grammar("JOIN"));
    }
    factor(&item.relation)
}

/// The same of a table that nothing can be joined with.
pub(super) fn factor(item: &TableFactor) -> Result<(&ObjectName, Option<&Ident>), Diagnosis> {
    let TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints,
        version: None,
        with_ordinality: false,
        partitions,
        json_path: None,
        sample: None,
        index_hints,
    } = item
    else {
        return Err(not_in_grammar("("));
    };
    if !(with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty()) {
        return Err(not_in_grammar("("));
    }
    match alias {
        Some(alias) if !alias.columns.is_empty() || alias.at.is_some() => Err(not_in_grammar("(")),
        Some(alias) => Ok((name, Some(&alias.name))),
        None => Ok((name, None)),
    }
}

/// A written name, folded.
pub(super) fn qualified(name: &ObjectName) -> Result<QualifiedName, Diagnosis> {
    let written = name.0.iter().skip(usize::from(Word::first_of(name).is_some()));
    let parts: Option<Vec<String>> = written.map(|part| part.as_ident().map(fold)).collect();
    let Some(mut parts) = parts.filter(|parts| (1..=3).contains(&parts.len())) else {
        let message = format!("improper qualified name (too many dotted names): {name}");
        return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, message));
    };
    let relation = parts.pop().unwrap_or_default();
    Ok(QualifiedName { schema: parts.pop(), database: parts.pop(), relation })
}

impl Target {
    /// The target that a relation is, under the name that the statement gives it.
    pub(super) fn of(snapshot: &Snapshot, relation: Arc<Relation>, alias: Option<&Ident>) -> Result<Self, Diagnosis> {
        let RelationBody::Stored { store, table } = &relation.body else {
            let message = format!("\"{}\" is not a table", relation.name);
            return Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, message));
        };
        let (store, table) = (store.clone(), Arc::clone(table));
        let alias = alias.map_or_else(|| relation.name.clone(), fold);
        let proven = table.primary_key.iter().chain(&table.unique_keys).find(|key| key.proven && !key.columns.is_empty());
        let connector = snapshot.connectors.get(&store);
        let key = proven.or_else(|| connector.and_then(|connector| connector.row_key(&table))).cloned();
        Ok(Self { relation, store, table, alias, is_overridden: false, key, parts: Vec::new() })
    }

    /// Whether a column of new rows takes a value that a statement gives it.
    ///
    /// # Errors
    /// 428C9 when the store makes its values always.
    pub(super) fn check_given(&self, column: &Column) -> Result<(), Diagnosis> {
        if self.is_overridden { Ok(()) } else { assign::check_given(column) }
    }

    /// The ordinal of a column by its folded name.
    pub(super) fn ordinal(&self, name: &str) -> Result<usize, Diagnosis> {
        let found = self.table.columns.iter().position(|column| column.name() == name);
        found.ok_or_else(|| {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", self.relation.name);
            Diagnosis::new(sqlstate::UNDEFINED_COLUMN, message)
        })
    }

    /// A column by its ordinal, or a field inside of one.
    pub(super) fn at(&self, ordinal: usize) -> Result<&Column, Diagnosis> {
        let internal = || Diagnosis::new(sqlstate::INTERNAL_ERROR, "a statement changes a column that its table does not have");
        self.table.columns.get(ordinal).or_else(|| self.part(ordinal)).ok_or_else(internal)
    }

    /// The key by which single rows can be named; `None` when there is none to rely on. One that is not proven may hold NULLs; its store
    /// then changes no row that has one in it.
    pub(super) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// The same, where it holds no NULL.
    pub(super) fn whole_key(&self) -> Option<&Key> {
        let has_values = |ordinal: &usize| self.table.columns.get(*ordinal).is_some_and(|column| !column.field.is_nullable());
        self.key().filter(|key| key.proven || key.columns.iter().all(has_values))
    }

    /// 0A000 for a statement that has to name rows one by one where no key does. `because` is why the store does not find them by itself.
    pub(super) fn no_key(&self, because: Option<&str>) -> Diagnosis {
        let message = format!("table \"{}\" has no key by which rows could be changed one by one", self.relation.name);
        let error = Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message);
        let mut keys = self.table.primary_key.iter().chain(&self.table.unique_keys);
        let weak = keys.find(|key| !key.columns.is_empty()).map(|key| {
            let columns = key.columns.iter().filter_map(|ordinal| self.table.columns.get(*ordinal));
            let columns: Vec<String> = columns.map(|column| format!("{} {}", column.name(), column.pg_type())).collect();
            format!("Its key ({}) does not do: the store may hold one value in several forms, or none.", columns.join(", "))
        });
        match [weak.as_deref(), because].into_iter().flatten().collect::<Vec<_>>().join(" ") {
            detail if detail.is_empty() => error,
            detail => error.with_detail(detail),
        }
    }
}
