//! Conditions of a fragment in the form of `find`, which uses indexes: what keeps at least the rows that the condition keeps,
//! and those that it would fail on, but for rows that a lookup by a key does not meet (`pushdown`).

use mongodb::bson::{Document, doc};

use super::super::pushdown::{Mismatch, translate};
use crate::stores::connector::Scan;
use crate::stores::fragment::{Expression, Node};
use crate::stores::predicate::{ColumnRef, Comparison, Predicate};
use crate::stores::schema::Table;
use crate::stores::value::Value;

/// A filter document of those conjuncts that have one.
pub(super) fn superset(condition: &Expression, scan: &Scan, table: &Table, mismatch: Mismatch) -> Option<Document> {
    let conjuncts = match &condition.node {
        Node::And(parts) => parts.as_slice(),
        _ => std::slice::from_ref(condition),
    };
    let mut filters: Vec<Document> = conjuncts
        .iter()
        .filter_map(|part| predicate(part, scan))
        .filter_map(|predicate| translate(table, mismatch, &predicate).ok())
        .map(|filter| filter.document)
        .collect();
    match filters.len() {
        0 => None,
        1 => filters.pop(),
        _ => Some(doc! { "$and": filters }),
    }
}

fn predicate(expression: &Expression, scan: &Scan) -> Option<Predicate> {
    let each = |parts: &[Expression]| parts.iter().map(|part| predicate(part, scan)).collect::<Option<Vec<_>>>();
    Some(match &expression.node {
        Node::And(parts) => Predicate::And(each(parts)?),
        Node::Or(parts) => Predicate::Or(each(parts)?),
        Node::Compare { op, left, right } => match (literal(left), literal(right)) {
            (None, Some(value)) => Predicate::Compare { column: column(left, scan)?, op: *op, value },
            (Some(value), None) => Predicate::Compare { column: column(right, scan)?, op: flip(*op), value },
            _ => return None,
        },
        Node::In { subject, list, negated } => {
            let values = list.iter().map(literal).collect::<Option<Vec<_>>>()?;
            Predicate::In { column: column(subject, scan)?, values, negated: *negated }
        }
        Node::IsNull { operand, negated } => Predicate::IsNull { column: column(operand, scan)?, negated: *negated },
        Node::Like { subject, pattern, negated, case_insensitive } => {
            let Value::Text(pattern) = literal(pattern)? else { return None };
            let column = column(subject, scan)?;
            Predicate::Like { column, pattern, negated: *negated, case_insensitive: *case_insensitive }
        }
        _ => return None,
    })
}

fn literal(expression: &Expression) -> Option<Value> {
    match &expression.node {
        Node::Literal(value) => value.clone(),
        _ => None,
    }
}

fn column(expression: &Expression, scan: &Scan) -> Option<ColumnRef> {
    match &expression.node {
        Node::Column(ordinal) => scan.columns.get(*ordinal).copied().map(ColumnRef::of),
        Node::Field { operand, name } => {
            let mut reference = column(operand, scan)?;
            reference.path.push(name.clone());
            Some(reference)
        }
        _ => None,
    }
}

fn flip(op: Comparison) -> Comparison {
    match op {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same @ (Comparison::Equal | Comparison::NotEqual) => same,
    }
}
