//! Which edits are run: all that carry rows, and whole forms that name documents by `_id` or mean all of them.

use mongodb::bson::Bson;

use crate::error::sqlstate;
use crate::stores::cell::of_value;
use crate::stores::connector::Scan;
use crate::stores::document::DocumentType;
use crate::stores::document::schema::{DOCUMENT_COLUMN, type_of_field};
use crate::stores::edit::{Conflict, ConflictAction, ConflictTarget, Edit, Insert, Path, Proposed, Update, part, path_at};
use crate::stores::fragment::{Expression, Node, Refusal, Relation};
use crate::stores::predicate::{Comparison, Predicate};
use crate::stores::schema::{Table, TableKind};
use crate::stores::value::Value;

use super::super::pushdown::addressable;
use super::document::{Fault, bson};

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
            written(table, &update.set, &update.paths)
        }
        Edit::DeleteRows(delete) => by_id(table, &delete.key),
        Edit::Update(update) => {
            written(table, &update.set, &update.paths)?;
            constants(update)?;
            whole(table, &update.relation, &update.returning, replicated)
        }
        Edit::Delete(delete) => whole(table, &delete.relation, &delete.returning, replicated),
    }
}

fn by_id(table: &Table, key: &[usize]) -> Result<(), Refusal> {
    if key != [ID] {
        return Err(Refusal::new(&table.id.name, "its documents are named by _id"));
    }
    is_found(table, ID)
}

/// Whether a document that has been read is found again by the value of a column: the value as it is written equals every stored one that
/// is read as it. A number of any size may be a double, which no decimal equals, and bytes may be of another subtype.
fn is_found(table: &Table, ordinal: usize) -> Result<(), Refusal> {
    let Some(column) = table.columns.get(ordinal) else { return Err(Refusal::new("a column", "it is not known")) };
    match type_of_field(&column.field) {
        Some(
            DocumentType::Bool
            | DocumentType::Int
            | DocumentType::Double
            | DocumentType::Decimal { .. }
            | DocumentType::Date
            | DocumentType::ObjectId
            | DocumentType::Uuid
            | DocumentType::Text,
        ) => Ok(()),
        _ => Err(Refusal::new(column.name(), "documents are not found again by values of its type")),
    }
}

/// Whether the columns, of which `_id` is none, can be set.
fn written(table: &Table, set: &[usize], paths: &[Path]) -> Result<(), Refusal> {
    if set.contains(&ID) {
        return Err(Refusal::new("_id", "it never changes in MongoDB"));
    }
    are_writable(table, set, paths)
}

fn are_writable(table: &Table, ordinals: &[usize], paths: &[Path]) -> Result<(), Refusal> {
    ordinals.iter().enumerate().try_for_each(|(place, ordinal)| is_writable(table, *ordinal, path_at(paths, place)))
}

fn is_writable(table: &Table, ordinal: usize, path: &[String]) -> Result<(), Refusal> {
    let Some(column) = table.columns.get(ordinal) else { return Err(Refusal::new("a column", "it is not known")) };
    let found = part(table, ordinal, path).ok_or_else(|| Refusal::new(column.name(), "it has no such field"))?;
    for name in [column.name()].into_iter().chain(path.iter().map(String::as_str)) {
        addressable(name).map_err(|_rule| Refusal::new(found.name(), "a command cannot name it"))?;
    }
    // In an array a command would take it for the number of an element.
    if path.iter().any(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(Refusal::new(found.name(), "a command cannot tell its name from a number"));
    }
    match type_of_field(&found.field) {
        Some(_) if column.name() != DOCUMENT_COLUMN => Ok(()),
        _ => Err(Refusal::new(column.name(), "it is the document that the other columns are of")),
    }
}

fn accepts_insert(insert: &Insert) -> Result<(), Refusal> {
    let table = &insert.table;
    are_writable(table, &insert.columns, &insert.paths)?;
    let returns_document =
        insert.returning.iter().filter_map(|ordinal| table.columns.get(*ordinal)).any(|column| column.name() == DOCUMENT_COLUMN);
    if returns_document {
        return Err(Refusal::new(DOCUMENT_COLUMN, "a new document is not read again"));
    }
    let Some(Conflict { target, action }) = &insert.conflict else { return Ok(()) };
    let mut keys = table.primary_key.iter().chain(&table.unique_keys);
    match target {
        ConflictTarget::Columns(key) if !keys.any(|known| same(&known.columns, key)) => {
            return Err(Refusal::new("ON CONFLICT", "no unique index is over exactly these columns"));
        }
        ConflictTarget::Columns(key) => key.iter().try_for_each(|ordinal| is_found(table, *ordinal))?,
        ConflictTarget::Any => keys.flat_map(|key| &key.columns).try_for_each(|ordinal| is_found(table, *ordinal))?,
    }
    let ConflictAction::Update(set) = action else { return Ok(()) };
    let ConflictTarget::Columns(key) = target else {
        return Err(Refusal::new("ON CONFLICT", "it updates rows that no key tells"));
    };
    let ordinals: Vec<usize> = set.iter().map(|(column, _)| *column).collect();
    if ordinals.iter().any(|ordinal| key.contains(ordinal)) {
        return Err(Refusal::new("ON CONFLICT", "it sets the key by which rows meet"));
    }
    let kind = |ordinal: usize| table.columns.get(ordinal).and_then(|column| type_of_field(&column.field));
    for (ordinal, value) in set {
        // To PostgreSQL an ObjectId is a text, which here it would not become.
        if let Proposed::Excluded(from) = value
            && kind(*from) != kind(*ordinal)
        {
            return Err(Refusal::new("ON CONFLICT", "it sets a field to one of another BSON type"));
        }
    }
    written(table, &ordinals, &[])
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
    let constant = |(place, (expression, ordinal)): (usize, (&Expression, &usize))| {
        let column = part(&update.table, *ordinal, path_at(&update.paths, place))?;
        match &expression.node {
            // One of another scale would have to be rounded first.
            Node::Literal(value) if expression.pg_type == column.pg_type() => Some(value.clone()),
            _ => None,
        }
    };
    if expressions.len() != update.set.len() {
        return None;
    }
    expressions.iter().zip(&update.set).enumerate().map(constant).collect()
}

fn whole(table: &Table, relation: &Relation, returning: &[usize], replicated: bool) -> Result<(), Refusal> {
    if !replicated {
        return Err(Refusal::new(relation.name(), "a standalone server changes one document at a time"));
    }
    if !returning.is_empty() {
        return Err(Refusal::new("RETURNING", "documents are found before they are changed"));
    }
    match meant(relation) {
        Some(Meant::All) => Ok(()),
        Some(Meant::Keys(keys)) => {
            is_found(table, ID)?;
            let is_of_column = keys.iter().all(|key| key_bson(table, key).is_ok());
            if is_of_column { Ok(()) } else { Err(Refusal::new("_id", "it is compared with a value of another type")) }
        }
        None => Err(Refusal::new(relation.name(), "its documents are named by more than their _id")),
    }
}

/// A value of `_id` as documents have it; `None` when no document can have it.
///
/// # Errors
/// It is of another type than the column.
pub(super) fn key_bson(table: &Table, key: &Value) -> Result<Option<Bson>, Fault> {
    let Some(id) = table.columns.get(ID) else { return Ok(None) };
    let kind = type_of_field(&id.field).unwrap_or(DocumentType::Mixed);
    match bson(&of_value(key), id.pg_type(), &kind) {
        Err(fault) if fault.sqlstate == sqlstate::FEATURE_NOT_SUPPORTED => Err(fault),
        found => Ok(found.ok()),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::RecordBatch;
    use arrow::datatypes::Schema;

    use super::super::super::columns::{self, Description};
    use super::*;
    use crate::pgtype::PgType;
    use crate::stores::StoreName;
    use crate::stores::document::DocumentField;
    use crate::stores::edit::{Delete, DeleteRows};
    use crate::stores::fragment::Tables;
    use crate::stores::predicate::ColumnRef;
    use crate::stores::schema::TableId;

    fn store() -> StoreName {
        StoreName::new("crm")
    }

    /// A collection of `_id`, `label` and `price`.
    fn table(id: DocumentType) -> Arc<Table> {
        let named = |name: &str, kind| DocumentField { name: name.to_owned(), kind };
        let fields = [named("_id", id), named("label", DocumentType::Text), named("price", DocumentType::Decimal { scale: 2 })];
        let description = Description {
            id: TableId { namespace: "shop".to_owned(), name: "goods".to_owned() },
            kind: TableKind::Collection,
            collation: None,
            fields: &fields,
            include_document: false,
            indexes: &[],
            row_estimate: None,
            division: None,
            unique_id: true,
        };
        Arc::new(columns::table(&description).0)
    }

    fn over(table: &Table, keys: Option<Vec<Value>>) -> Relation {
        let one = keys.map(|values| Predicate::In { column: ColumnRef::of(ID), values, negated: false });
        let filter = one.into_iter().collect();
        Relation::Table(Scan { store: store(), table: table.id.clone(), columns: vec![ID], filter, limit: None })
    }

    fn delete(table: &Arc<Table>, keys: Option<Vec<Value>>) -> Edit {
        let (relation, tables, returning) = (over(table, keys), Tables::new(), Vec::new());
        Edit::Delete(Delete { store: store(), table: table.clone(), relation, tables, returning })
    }

    #[test]
    fn documents_are_changed_one_by_one_where_their_keys_find_them_again() {
        let found = [
            (DocumentType::Int, true),
            (DocumentType::Double, true),
            (DocumentType::Decimal { scale: 2 }, true),
            (DocumentType::Text, true),
            (DocumentType::ObjectId, true),
            (DocumentType::Uuid, true),
            (DocumentType::Date, true),
            (DocumentType::Bool, true),
            (DocumentType::Numeric, false),
            (DocumentType::Binary, false),
            (DocumentType::Mixed, false),
            (DocumentType::Struct(Vec::new()), false),
        ];
        for (kind, expected) in found {
            let table = table(kind.clone());
            let (rows, returning) = (RecordBatch::new_empty(Arc::new(Schema::empty())), Vec::new());
            let by_key = Edit::DeleteRows(DeleteRows { store: store(), table: table.clone(), key: vec![ID], rows, returning });
            assert_eq!(accepts(&by_key, true).is_ok(), expected, "{kind:?}");
            assert!(accepts(&delete(&table, None), true).is_ok(), "{kind:?}: all of them need no key");
            if !expected {
                assert!(accepts(&delete(&table, Some(vec![Value::Text("{}".to_owned())])), true).is_err(), "{kind:?}");
            }
        }
    }

    #[test]
    fn keys_of_another_type_are_refused_and_impossible_ones_are_those_of_none() {
        let text = || vec![Value::Text("x".to_owned())];
        assert!(accepts(&delete(&table(DocumentType::Int), Some(text())), true).is_err());
        assert!(accepts(&delete(&table(DocumentType::Int), Some(vec![Value::Int(1)])), true).is_ok());
        let ids = table(DocumentType::ObjectId);
        assert!(accepts(&delete(&ids, Some(text())), true).is_ok());
        assert_eq!(key_bson(&ids, &text()[0]), Ok(None));
    }

    #[test]
    fn constants_have_the_scale_of_their_column() {
        let table = table(DocumentType::Int);
        let price = 2;
        let update = |pg_type: PgType| {
            let literal = Expression::new(pg_type, Node::Literal(Some(Value::Decimal { unscaled: 1_555, scale: 3 })));
            let relation = Relation::Project { input: Box::new(over(&table, None)), expressions: vec![literal] };
            let (table, tables, returning) = (table.clone(), Tables::new(), Vec::new());
            Edit::Update(Update { store: store(), table, relation, tables, set: vec![price], paths: Vec::new(), returning })
        };
        assert!(accepts(&update(PgType::NUMERIC), true).is_err());
        assert!(accepts(&update(table.columns[price].pg_type()), true).is_ok());
    }

    #[test]
    fn excluded_values_keep_their_bson_type() {
        let table = table(DocumentType::ObjectId);
        let (label, rows) = (1, RecordBatch::new_empty(Arc::new(Schema::empty())));
        let insert = |from: usize| {
            let action = ConflictAction::Update(vec![(label, Proposed::Excluded(from))]);
            let conflict = Some(Conflict { target: ConflictTarget::Columns(vec![ID]), action });
            let (table, columns, rows, returning) = (table.clone(), vec![ID, label], rows.clone(), Vec::new());
            Edit::Insert(Insert { store: store(), table, columns, rows, conflict, paths: Vec::new(), returning })
        };
        assert!(accepts(&insert(label), true).is_ok());
        assert!(accepts(&insert(ID), true).is_err());
    }
}
