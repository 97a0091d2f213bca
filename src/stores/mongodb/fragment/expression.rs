//! Expressions of a fragment as aggregation expressions that give values.

use mongodb::bson::{Bson, Document, doc};

use super::cell::{Cell, Kind, Raw, Value, either};
use super::constant::constant;
use super::{call, cast, convert, truth};
use crate::stores::fragment::{Expression, Node, Refusal};
use arrow::datatypes::DataType;

/// The value of an expression over the columns `cells`.
pub(super) fn value(expression: &Expression, cells: &[Cell]) -> Result<Value, Refusal> {
    let refused = |rule: &'static str| Refusal::new(expression, rule);
    match &expression.node {
        Node::Column(_) | Node::Field { .. } => match cell(expression, cells)? {
            Cell::Raw(raw) => convert::read(&raw).map_err(refused),
            Cell::Value(value) => Ok(value),
        },
        Node::Literal(literal) => constant(expression.pg_type, literal.as_ref()).map_err(refused),
        Node::Case { branches, otherwise } => case(expression, branches, otherwise.as_deref(), cells),
        Node::Cast(operand) => cast::cast(expression, operand, cells),
        Node::Call { function, arguments } => call::call(expression, *function, arguments, cells),
        Node::Subquery(_) => Err(refused("MongoDB has no subqueries in expressions")),
        Node::IsNull { .. } | Node::IsTruth { .. } | Node::Distinct { .. } => {
            Ok(Value { bson: truth::holds(expression, true, cells)?, kind: Kind::Bool, nullable: false })
        }
        Node::And(_) | Node::Or(_) | Node::Not(_) | Node::Compare { .. } | Node::In { .. } | Node::Like { .. } => {
            let is_false = either(truth::holds(expression, false, cells)?, Bson::Boolean(false), Bson::Null);
            let bson = either(truth::holds(expression, true, cells)?, Bson::Boolean(true), is_false);
            Ok(Value { bson, kind: Kind::Bool, nullable: true })
        }
    }
}

/// A column, or a field inside of one.
pub(super) fn cell(expression: &Expression, cells: &[Cell]) -> Result<Cell, Refusal> {
    match &expression.node {
        Node::Column(ordinal) => cells.get(*ordinal).cloned().ok_or_else(|| Refusal::new(expression, "there is no such column")),
        Node::Field { operand, name } => match cell(operand, cells)? {
            Cell::Raw(document) => {
                field(&document, name).map(Box::new).map(Cell::Raw).map_err(|rule| Refusal::new(expression, rule))
            }
            Cell::Value(_) => Err(Refusal::new(expression, "the value is no document")),
        },
        _ => Err(Refusal::new(expression, "fields are read from columns only")),
    }
}

fn field(document: &Raw, name: &str) -> Result<Raw, &'static str> {
    let DataType::Struct(fields) = document.field.data_type() else { return Err("the column is no document of known fields") };
    let found = fields.iter().find(|field| field.name() == name).ok_or("the document has no such field")?;
    let name = super::super::pushdown::addressable(name)?;
    let mut ancestors = document.ancestors.clone();
    ancestors.push(Raw { ancestors: Vec::new(), ..document.clone() });
    Ok(Raw {
        path: format!("{}.{name}", document.path),
        ancestors,
        field: found.as_ref().clone(),
        table: document.table.clone(),
        column: format!("{}.{name}", document.column),
        on_mismatch: document.on_mismatch,
    })
}

fn case(
    expression: &Expression,
    branches: &[(Expression, Expression)],
    otherwise: Option<&Expression>,
    cells: &[Cell],
) -> Result<Value, Refusal> {
    let mut conditions = Vec::with_capacity(branches.len());
    let mut values = Vec::with_capacity(branches.len() + 1);
    for (condition, then) in branches {
        conditions.push(truth::holds(condition, true, cells)?);
        values.push(value(then, cells)?);
    }
    let default = match otherwise {
        Some(otherwise) => value(otherwise, cells)?,
        None => constant(expression.pg_type, None).map_err(|rule| Refusal::new(expression, rule))?,
    };
    values.push(default.clone());
    let kind = common_kind(&values).ok_or_else(|| Refusal::new(expression, DIGITS))?;
    let nullable = values.iter().any(|value| value.nullable);
    let taken: Vec<Document> =
        conditions.into_iter().zip(&values).map(|(case, then)| doc! { "case": case, "then": &then.bson }).collect();
    let bson = Bson::Document(doc! { "$switch": { "branches": taken, "default": default.bson } });
    Ok(Value { bson, kind, nullable })
}

/// Why values of different scales cannot stand in one column.
pub(super) const DIGITS: &str = "the values have different numbers of digits after the point";

/// The kind that all values but the constant NULL have; that of NULLs when there is nothing else.
pub(super) fn common_kind(values: &[Value]) -> Option<Kind> {
    let mut known = values.iter().filter(|value| !value.is_null()).map(|value| value.kind);
    let Some(first) = known.next() else { return values.first().map(|value| value.kind) };
    known.all(|kind| kind == first).then_some(first)
}

/// Binds the values to names, so that `body` can use each of them more than once; plain ones are used as they are.
pub(super) fn with_values(values: &[Value], body: impl FnOnce(&[Bson]) -> Bson) -> Bson {
    let mut names = Document::new();
    let uses: Vec<Bson> = values
        .iter()
        .zip(0_u32..)
        .map(|(value, place)| {
            if value.is_plain() {
                return value.bson.clone();
            }
            let name = format!("v{place}");
            let used = Bson::String(format!("$${name}"));
            names.insert(name, value.bson.clone());
            used
        })
        .collect();
    let body = body(&uses);
    if names.is_empty() { body } else { Bson::Document(doc! { "$let": { "vars": names, "in": body } }) }
}
