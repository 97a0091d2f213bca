//! Which edits are run: all that carry rows, and whole forms that name documents by `_id` or mean all of them.

use crate::stores::connector::Scan;
use crate::stores::document::schema::{DOCUMENT_COLUMN, type_of_field};
use crate::stores::edit::{Conflict, ConflictAction, ConflictTarget, Edit, Insert, Update};
use crate::stores::fragment::{Expression, Node, Refusal, Relation};
use crate::stores::predicate::{Comparison, Predicate};
use crate::stores::schema::{Table, TableKind};
use crate::stores::value::Value;

use super::super::pushdown::addressable;
use super::document::is_written;

/// The place of `_id` among the columns of a collection.
pub(super) const ID: usize = 0;

/// Whether the edit is run as PostgreSQL would run it. `replicated` says that the deployment has transactions.
pub(in super::super) fn accepts(edit: &Edit, replicated: bool) -> Result<(), Refusal> {
    let table = edit.table();
    let has_key = table.primary_key.as_ref().is_some_and(|key| key.proven && key.columns == [ID]);
    if table.kind != TableKind::Collection || !has_key {
        return Err(Refusal::new(&table.id.name, "it is no collection in which _id is unique"));
    }
    match edit {
        Edit::Insert(insert) => accepts_insert(insert),
        Edit::UpdateRows(update) => {
            by_id(table, &update.key)?;
            written(table, &update.set)
        }
        Edit::DeleteRows(delete) => by_id(table, &delete.key),
        Edit::Update(update) => {
            written(table, &update.set)?;
            constants(update)?;
            whole(&update.relation, &update.returning, replicated)
        }
        Edit::Delete(delete) => whole(&delete.relation, &delete.returning, replicated),
    }
}

fn by_id(table: &Table, key: &[usize]) -> Result<(), Refusal> {
    if key == [ID] { Ok(()) } else { Err(Refusal::new(&table.id.name, "its documents are named by _id")) }
}

/// Whether the columns, of which `_id` is none, can be set.
fn written(table: &Table, set: &[usize]) -> Result<(), Refusal> {
    if set.contains(&ID) {
        return Err(Refusal::new("_id", "it never changes in MongoDB"));
    }
    set.iter().try_for_each(|ordinal| is_writable(table, *ordinal))
}

fn is_writable(table: &Table, ordinal: usize) -> Result<(), Refusal> {
    let Some(column) = table.columns.get(ordinal) else { return Err(Refusal::new("a column", "it is not known")) };
    addressable(column.name()).map_err(|_rule| Refusal::new(column.name(), "a command cannot name it"))?;
    match type_of_field(&column.field) {
        Some(kind) if column.name() != DOCUMENT_COLUMN && is_written(&kind) => Ok(()),
        _ => Err(Refusal::new(column.name(), "documents, and values of several types, are not written")),
    }
}

fn accepts_insert(insert: &Insert) -> Result<(), Refusal> {
    let table = &insert.table;
    insert.columns.iter().try_for_each(|ordinal| is_writable(table, *ordinal))?;
    let returns_document =
        insert.returning.iter().filter_map(|ordinal| table.columns.get(*ordinal)).any(|column| column.name() == DOCUMENT_COLUMN);
    if returns_document {
        return Err(Refusal::new(DOCUMENT_COLUMN, "a new document is not read again"));
    }
    let Some(Conflict { target, action }) = &insert.conflict else { return Ok(()) };
    if let ConflictTarget::Columns(key) = target {
        let keys = table.primary_key.iter().chain(&table.unique_keys);
        let is_key = keys.into_iter().any(|known| same(&known.columns, key));
        if !is_key {
            return Err(Refusal::new("ON CONFLICT", "no unique index is over exactly these columns"));
        }
    }
    let ConflictAction::Update(set) = action else { return Ok(()) };
    let ConflictTarget::Columns(key) = target else {
        return Err(Refusal::new("ON CONFLICT", "it updates rows that no key tells"));
    };
    let ordinals: Vec<usize> = set.iter().map(|(column, _)| *column).collect();
    if ordinals.iter().any(|ordinal| key.contains(ordinal)) {
        return Err(Refusal::new("ON CONFLICT", "it sets the key by which rows meet"));
    }
    written(table, &ordinals)
}

fn same(one: &[usize], other: &[usize]) -> bool {
    one.len() == other.len() && one.iter().all(|ordinal| other.contains(ordinal))
}

fn constants(update: &Update) -> Result<(), Refusal> {
    match values(update) {
        Some(_) => Ok(()),
        None => Err(Refusal::new("UPDATE", "its values are no constants of the types of their columns")),
    }
}

/// The new values, when all are constants.
pub(super) fn values(update: &Update) -> Option<Vec<Option<Value>>> {
    let Relation::Project { expressions, .. } = &update.relation else { return None };
    let constant = |(expression, ordinal): (&Expression, &usize)| {
        let column = update.table.columns.get(*ordinal)?;
        match &expression.node {
            Node::Literal(value) if expression.pg_type.oid == column.pg_type().oid => Some(value.clone()),
            _ => None,
        }
    };
    if expressions.len() != update.set.len() {
        return None;
    }
    expressions.iter().zip(&update.set).map(constant).collect()
}

fn whole(relation: &Relation, returning: &[usize], replicated: bool) -> Result<(), Refusal> {
    if !replicated {
        return Err(Refusal::new(relation.name(), "a standalone server changes one document at a time"));
    }
    if !returning.is_empty() {
        return Err(Refusal::new("RETURNING", "documents are found before they are changed"));
    }
    match meant(relation) {
        Some(_) => Ok(()),
        None => Err(Refusal::new(relation.name(), "its documents are named by more than their _id")),
    }
}

/// Which documents a whole form means.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meant {
    /// All of them.
    All,
    /// Those with one of these keys.
    Keys(Vec<Value>),
}

/// `None` where a condition is more than a list of keys: other conditions would not notice values that do not fit their column.
pub(super) fn meant(relation: &Relation) -> Option<Meant> {
    let mut below = match relation {
        Relation::Project { input, .. } => &**input,
        rows => rows,
    };
    let mut conditions = Vec::new();
    while let Relation::Filter { input, condition } = below {
        conditions.push(condition);
        below = &**input;
    }
    let Relation::Table(scan) = below else { return None };
    if scan.limit.is_some() {
        return None;
    }
    let mut found = Vec::new();
    for condition in conditions {
        found.push(keys_of_condition(condition, scan)?);
    }
    for predicate in &scan.filter {
        found.push(keys_of_predicate(predicate)?);
    }
    let mut found = found.into_iter();
    let Some(first) = found.next() else { return Some(Meant::All) };
    // The planner says one condition in both forms.
    found.all(|other| other == first).then_some(Meant::Keys(first))
}

fn keys_of_predicate(predicate: &Predicate) -> Option<Vec<Value>> {
    match predicate {
        Predicate::Compare { column, op: Comparison::Equal, value } if column.column == ID && column.path.is_empty() => {
            Some(vec![value.clone()])
        }
        Predicate::In { column, values, negated: false } if column.column == ID && column.path.is_empty() => Some(values.clone()),
        _ => None,
    }
}

fn keys_of_condition(condition: &Expression, scan: &Scan) -> Option<Vec<Value>> {
    let is_id = |expression: &Expression| matches!(expression.node, Node::Column(place) if scan.columns.get(place) == Some(&ID));
    let literal = |expression: &Expression| match &expression.node {
        Node::Literal(Some(value)) => Some(value.clone()),
        _ => None,
    };
    match &condition.node {
        Node::Compare { op: Comparison::Equal, left, right } if is_id(left) => Some(vec![literal(right)?]),
        Node::Compare { op: Comparison::Equal, left, right } if is_id(right) => Some(vec![literal(left)?]),
        Node::In { subject, list, negated: false } if is_id(subject) => list.iter().map(literal).collect(),
        _ => None,
    }
}
