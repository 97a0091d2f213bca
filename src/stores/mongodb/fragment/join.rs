//! Joins as `$lookup`, where the server finds the other side's documents by an index.
//!
//! The index finds what the server takes for equal, whatever its type and also inside arrays; the whole condition is then
//! evaluated over the values, so that only pairs for which it is true remain. A document is asked for by the same key that its
//! index holds: ObjectIds by themselves, not by their text. NULL is asked for as the greatest key, which no document has.

use std::collections::BTreeMap;

use mongodb::bson::{Bson, Document, doc};

use super::super::columns::ID;
use super::super::pushdown::begins_index;
use super::super::types::Shape;
use super::cell::{Cell, Kind, Raw, Value};
use super::convert;
use super::relation::{Rows, Writer};
use super::truth::holds;
use crate::stores::connector::Scan;
use crate::stores::fragment::{Expression, JoinKind, Node, Refusal, Relation};
use crate::stores::predicate::Comparison;
use crate::stores::schema::Table;

/// Above this estimate of the left side's rows, asking for each of them costs more than reading both sides.
const ASKED_MAX: u64 = 50_000;

impl Writer<'_> {
    /// The pairs of two relations.
    pub(super) fn join(
        &self,
        (left, right): (&Relation, &Relation),
        kind: JoinKind,
        condition: Option<&Expression>,
    ) -> Result<Rows, Refusal> {
        let refused = |rule: &'static str| Refusal::new("join", rule);
        if matches!(kind, JoinKind::Right | JoinKind::Full) {
            return Err(refused("MongoDB keeps the rows of the first side only"));
        }
        let condition = condition.ok_or_else(|| refused("MongoDB joins by an equality"))?;
        let scan = stored(right).ok_or_else(|| refused("MongoDB looks up stored documents only"))?;
        let table = self.tables.get(&scan.table).ok_or_else(|| refused("the collection is not known"))?;
        let mut rows = self.rows(left)?;
        let mut other = self.rows(right)?;
        self.same_place(&rows, &other).map_err(refused)?;
        if !other.stored {
            return Err(refused("MongoDB looks up stored documents only"));
        }
        if self.tables.get(&rows.table).is_some_and(|table| table.row_estimate.is_some_and(|rows| rows > ASKED_MAX)) {
            return Err(refused("one look-up for each of so many rows costs more than reading both sides"));
        }
        let width = rows.cells.len();
        let compared = compared(condition, &rows.cells)?;
        let (asked, by) = key(condition, (width, &compared), &other.cells, table).ok_or_else(|| {
            refused("no equality of a column that is the first of an index, whose values are those of the other side")
        })?;
        // What is compared of the left columns is seen from inside the look-up by these names.
        let (mut seen, mut more) = (Document::new(), vec![("k".to_owned(), asked)]);
        let mut both = rows.cells.clone();
        for (place, value) in compared {
            seen.insert(format!("l{place}"), format!("$v{place}"));
            more.push((format!("v{place}"), value.bson.clone()));
            if let Some(cell) = both.get_mut(place) {
                *cell = Cell::Value(Value { bson: Bson::String(format!("$$l{place}")), ..value });
            }
        }
        both.extend(other.cells.iter().cloned());
        let condition = holds(condition, true, &both)?;
        let mut pipeline = std::mem::take(&mut other.stages);
        pipeline.push(doc! { "$match": { "$expr": condition } });
        let cells = std::mem::take(&mut rows.cells);
        rows.project(cells, more);
        rows.tables.append(&mut other.tables);
        look_up(&mut rows, other, kind, (by, seen, pipeline));
        Ok(rows)
    }
}

/// The stages of a look-up and what follows it.
fn look_up(rows: &mut Rows, mut other: Rows, kind: JoinKind, (by, seen, mut pipeline): (String, Document, Vec<Document>)) {
    let pairs = matches!(kind, JoinKind::Inner | JoinKind::Left);
    if pairs {
        let cells = std::mem::take(&mut other.cells);
        other.project(cells, Vec::new());
        pipeline.append(&mut other.stages);
    } else {
        pipeline.push(doc! { "$limit": 1_i64 });
        pipeline.push(doc! { "$project": { ID: 1_i32 } });
    }
    rows.stages.push(doc! { "$lookup": {
        "from": &other.table.name,
        "localField": "k",
        "foreignField": by,
        "let": seen,
        "pipeline": pipeline,
        "as": "r",
    } });
    match kind {
        JoinKind::Semi => rows.stages.push(doc! { "$match": { "r": { "$ne": [] } } }),
        JoinKind::Anti => rows.stages.push(doc! { "$match": { "r": [] } }),
        _ => rows.stages.push(doc! { "$unwind": { "path": "$r", "preserveNullAndEmptyArrays": kind == JoinKind::Left } }),
    }
    let mut cells = std::mem::take(&mut rows.cells);
    if pairs {
        for (place, cell) in other.cells.iter().enumerate() {
            let mut cell = moved(cell, &format!("$r.c{place}"));
            if kind == JoinKind::Left {
                missing(&mut cell);
            }
            cells.push(cell);
        }
    }
    rows.project(cells, Vec::new());
}

/// A column of a document that may not be there: its field is missing then.
fn missing(cell: &mut Cell) {
    match cell {
        Cell::Raw(raw) => raw.field.set_nullable(true),
        Cell::Value(value) => {
            value.nullable = true;
            value.bson = Bson::Document(doc! { "$ifNull": [value.bson.clone(), Bson::Null] });
        }
    }
}

/// A materialised column at another place.
fn moved(cell: &Cell, path: &str) -> Cell {
    match cell {
        Cell::Raw(raw) => Cell::Raw(Box::new(raw.at(path.to_owned()))),
        Cell::Value(value) => Cell::Value(Value { bson: Bson::String(path.to_owned()), ..value.clone() }),
    }
}

/// The table that a relation reads without changing its documents.
fn stored(relation: &Relation) -> Option<&Scan> {
    match relation {
        Relation::Table(scan) if scan.limit.is_none() => Some(scan),
        Relation::Filter { input, .. } => stored(input),
        Relation::Project { input, expressions }
            if expressions.iter().all(|expression| matches!(expression.node, Node::Column(_))) =>
        {
            stored(input)
        }
        _ => None,
    }
}

/// The left columns of a condition as values. They are constants inside of the look-up, and the server computes what it can of
/// constants before it has seen a document, also in branches that no document takes: nothing that may fail is computed of them
/// there.
fn compared(condition: &Expression, cells: &[Cell]) -> Result<BTreeMap<usize, Value>, Refusal> {
    let of_left = |expression: &Expression| {
        let mut found = Vec::new();
        expression.visit(&mut |inner| match inner.node {
            Node::Column(ordinal) if ordinal < cells.len() => found.push(ordinal),
            _ => {}
        });
        found
    };
    let mut computes = false;
    condition.visit(&mut |inner| {
        let is_computed = matches!(inner.node, Node::Call { .. } | Node::Cast(_) | Node::Case { .. } | Node::Field { .. });
        computes |= is_computed && !of_left(inner).is_empty();
    });
    if computes {
        return Err(Refusal::new(condition, "MongoDB would compute of the first side before it looks for a pair"));
    }
    let mut values = BTreeMap::new();
    for place in of_left(condition) {
        let value = match cells.get(place) {
            Some(Cell::Raw(raw)) => convert::read(raw).map_err(|rule| Refusal::new(condition, rule))?,
            Some(Cell::Value(value)) => value.clone(),
            None => continue,
        };
        values.insert(place, value);
    }
    Ok(values)
}

/// What is asked for, and the indexed field that holds it.
fn key(
    condition: &Expression,
    (width, compared): (usize, &BTreeMap<usize, Value>),
    right: &[Cell],
    table: &Table,
) -> Option<(Bson, String)> {
    let conjuncts = match &condition.node {
        Node::And(parts) => parts.as_slice(),
        _ => std::slice::from_ref(condition),
    };
    conjuncts.iter().find_map(|part| {
        let Node::Compare { op: Comparison::Equal, left: one, right: two } = &part.node else { return None };
        let (Node::Column(one), Node::Column(two)) = (&one.node, &two.node) else { return None };
        let (asking, asked) = if one < two { (*one, *two) } else { (*two, *one) };
        let Cell::Raw(asked) = right.get(asked.checked_sub(width)?)? else { return None };
        let by = asked.path.strip_prefix('$').filter(|_| asked.ancestors.is_empty())?;
        let asking = compared.get(&asking)?;
        is_indexed(table, by).then(|| Some((as_stored(asking, asked)?, by.to_owned())))?
    })
}

/// Whether a field is the first of an index of all documents.
fn is_indexed(table: &Table, name: &str) -> bool {
    let place = table.columns.iter().position(|column| column.name() == name);
    place.is_some_and(|place| begins_index(table, place))
}

/// The value that documents with an equal value hold.
fn as_stored(value: &Value, asked: &Raw) -> Option<Bson> {
    let kind = convert::read(asked).ok()?.kind;
    let alike = value.kind == kind || matches!((value.kind, kind), (Kind::Decimal { .. }, Kind::Decimal { .. }));
    let stored = match asked.shape() {
        // A text that is no ObjectId is nobody's.
        Shape::ObjectId => Bson::Document(
            doc! { "$convert": { "input": &value.bson, "to": "objectId", "onError": Bson::Null, "onNull": Bson::Null } },
        ),
        _ => value.bson.clone(),
    };
    alike.then(|| Bson::Document(doc! { "$ifNull": [stored, Bson::MaxKey] }))
}
