//! What SQLite computes exactly as PostgreSQL would.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::connector::Scan;
use super::super::super::document::types::NATIVE_KEY;
use super::super::super::fragment::{
    Aggregate, AggregateCall, Expression, Function, JoinKind, Node, Refusal, Relation, Shape, SortKey, Tables, WindowCall,
    WindowFunction, shapes,
};
use super::super::super::predicate::{Comparison, Pushdown};
use super::super::super::relational::fragment::{conjuncts, input_shapes, is_equality_of_sides, visit_expressions};
use super::super::super::relational::{embedded, like};
use super::super::super::schema::{Collation, Column, TableId, TableKind};
use super::super::super::value::Value;
use super::super::pushdown;
use super::super::types::{Affinity, OF_A_VIEW, affinity, is_any};
use super::stored_column;
use crate::pgtype::PgType;

type Answer = Result<(), Refusal>;

/// Most tables of one statement; SQLite joins 64.
const TABLES_MAX: usize = 60;
/// Most items of one IN list, as for scans.
const ITEMS_MAX: usize = 10_000;
/// Most parts of one AND or OR; SQLite refuses expressions deeper than 1000.
const PARTS_MAX: usize = 400;

const FORMS: &str = "SQLite stores the type in several forms";
const MIXED: &str = "the operands have different types";
const UNLISTED: &str = "SQLite is not known to compute it for these types";

/// Whether SQLite may run the topmost node.
pub(in super::super) fn accepts(relation: &Relation, tables: &Tables) -> Answer {
    let inputs = input_shapes(relation, tables);
    if inputs.iter().any(|shape| shape.pg_type == PgType::UNKNOWN) {
        return Err(Refusal::new(relation.name(), "a column is not known"));
    }
    let judge = Judge { tables, inputs: &inputs };
    visit_expressions(relation, &inputs, &|expression, _| judge.expression(expression))?;
    match relation {
        Relation::Table(scan) => of_table(scan, tables),
        Relation::Values { types, rows } => of_values(types, rows),
        Relation::Filter { condition, .. } => judge.condition(condition),
        Relation::Project { .. } | Relation::Limit { .. } => Ok(()),
        Relation::Join { left, kind, condition, .. } => {
            condition.as_ref().map_or(Ok(()), |condition| judge.condition(condition))?;
            of_join(relation, *kind, condition.as_ref(), shapes(left, tables).len())
        }
        Relation::Aggregate { groups, calls, .. } => {
            if groups.is_empty() && calls.is_empty() {
                return Err(Refusal::new("an aggregate", "it computes nothing"));
            }
            judge.values(groups)?;
            calls.iter().try_for_each(|call| judge.aggregate(call))
        }
        Relation::Distinct { .. } => (0..inputs.len()).try_for_each(|place| judge.value(&judge.column(place))),
        Relation::Sort { keys, .. } => judge.keys(keys),
        Relation::Union { inputs } => of_union(inputs, tables),
        Relation::Window { calls, .. } => calls.iter().try_for_each(|call| judge.window(call)),
    }
}

fn of_table(scan: &Scan, tables: &Tables) -> Answer {
    let Some(table) = tables.get(&scan.table) else { return Err(Refusal::new("a table", "it is not known")) };
    if table.kind != TableKind::Table {
        return Err(Refusal::new(&table.id.name, "cells of a view have neither affinity nor collation"));
    }
    for ordinal in &scan.columns {
        match table.columns.get(*ordinal) {
            Some(column) if embedded::source(&column.field).is_none() => {}
            Some(column) => return Err(Refusal::new(column.name(), "it is a field of a document, which is taken apart here")),
            None => return Err(Refusal::new("a column", "it is not known")),
        }
    }
    for predicate in &scan.filter {
        if !matches!(pushdown::pushdown(table, predicate), Pushdown::Exact(_)) {
            return Err(Refusal::new("a condition of the scan", "SQLite does not evaluate it exactly"));
        }
    }
    Ok(())
}

fn of_values(types: &[PgType], rows: &[Vec<Option<Value>>]) -> Answer {
    if rows.len() > PARTS_MAX {
        return Err(Refusal::new("constant rows", "there are too many for one statement"));
    }
    for row in rows {
        for (value, pg_type) in row.iter().zip(types) {
            of_literal(value.as_ref(), *pg_type)?;
        }
    }
    types.iter().try_for_each(|pg_type| if is_computed(*pg_type) { Ok(()) } else { Err(Refusal::new(pg_type, FORMS)) })
}

fn of_join(relation: &Relation, kind: JoinKind, condition: Option<&Expression>, left_columns: usize) -> Answer {
    let mut tables = 0;
    relation.visit(&mut |below| tables += usize::from(matches!(below, Relation::Table(_) | Relation::Values { .. })));
    if tables > TABLES_MAX {
        return Err(Refusal::new("a join", "there are too many tables for one statement"));
    }
    // Without an equality there is nothing that PostgreSQL could join by.
    let mut parts = condition.into_iter().flat_map(conjuncts);
    if kind == JoinKind::Full && !parts.any(|part| is_equality_of_sides(part, left_columns)) {
        return Err(Refusal::new("FULL JOIN", "it has no equality between both sides"));
    }
    Ok(())
}

/// Columns of a union are read as one stored column only where all are of that one.
fn of_union(inputs: &[Relation], tables: &Tables) -> Answer {
    let merged = shapes(&Relation::Union { inputs: inputs.to_vec() }, tables);
    if inputs.len() > PARTS_MAX {
        return Err(Refusal::new("UNION", "it has too many parts for one statement"));
    }
    for input in inputs {
        for (shape, merged) in shapes(input, tables).iter().zip(&merged) {
            if shape.pg_type.oid != merged.pg_type.oid {
                return Err(Refusal::new("UNION", MIXED));
            }
            if merged.origin.is_none() {
                of_value(shape, tables).map_err(|rule| Refusal::new("UNION", rule))?;
            }
        }
    }
    Ok(())
}

/// Whether SQLite computes with values of a column as the engine would, or the reason why not.
fn of_value(shape: &Shape, tables: &Tables) -> Result<(), &'static str> {
    if !is_computed(shape.pg_type) {
        return Err(FORMS);
    }
    match stored_column(shape, tables) {
        Some(column) if kinds(column).is_none() => Err("the column's declared type promises nothing"),
        _ => Ok(()),
    }
}

/// The kinds of cells, besides NULL, that the column's type has, as SQLite's `typeof` names them; `None` where cells of other kinds are read
/// as values of the type too.
pub(super) fn kinds(column: &Column) -> Option<&'static str> {
    let of_a_view = matches!(&column.collation, Collation::Loose(name) if name == OF_A_VIEW);
    let document = embedded::source(&column.field).is_some() || column.field.metadata().contains_key(NATIVE_KEY);
    if of_a_view || document || is_any(&column.field) {
        return None;
    }
    match (column.pg_type(), affinity(&column.native_type)) {
        (PgType::INT8, Affinity::Integer) => Some("integer"),
        (PgType::FLOAT8, Affinity::Real) => Some("real"),
        (PgType::TEXT, Affinity::Text) => Some("text"),
        (PgType::BYTEA, _) => Some("blob"),
        (PgType::BOOL, Affinity::Numeric) => Some("integer"),
        _ => None,
    }
}

/// The stored columns that a fragment computes with, and so must know the kinds of.
pub(super) fn computed_with(root: &Relation, tables: &Tables) -> BTreeMap<TableId, BTreeSet<usize>> {
    let mut used: BTreeMap<TableId, BTreeSet<usize>> = BTreeMap::new();
    let mut note = |shape: &Shape| {
        if let Some(origin) = &shape.origin {
            used.entry(origin.table.clone()).or_default().insert(origin.column);
        }
    };
    root.visit(&mut |relation| {
        let inputs = input_shapes(relation, tables);
        if matches!(relation, Relation::Distinct { .. } | Relation::Union { .. }) {
            inputs.iter().for_each(&mut note);
        }
        let shown = matches!(relation, Relation::Project { .. });
        for expression in relation.expressions() {
            // A column that is only handed on is looked at by whoever reads it.
            if shown && matches!(expression.node, Node::Column(_)) {
                continue;
            }
            expression.visit(&mut |inner| {
                if let Node::Column(ordinal) = inner.node
                    && let Some(shape) = inputs.get(ordinal)
                {
                    note(shape);
                }
            });
        }
    });
    used
}

fn is_computed(pg_type: PgType) -> bool {
    is_integer(pg_type) || matches!(pg_type.oid, 16 | 17 | 25 | 701)
}

pub(super) fn is_integer(pg_type: PgType) -> bool {
    matches!(pg_type.oid, 20 | 21 | 23)
}

pub(super) fn is_text(pg_type: PgType) -> bool {
    pg_type.oid == PgType::TEXT.oid
}

fn are_compared(left: PgType, right: PgType) -> bool {
    left.oid == right.oid || is_integer(left) && is_integer(right)
}

fn of_literal(value: Option<&Value>, pg_type: PgType) -> Answer {
    let fits = match value {
        None => true,
        Some(Value::Bool(_)) => pg_type.oid == 16,
        Some(Value::Int(number)) => match pg_type.oid {
            21 => i16::try_from(*number).is_ok(),
            23 => i32::try_from(*number).is_ok(),
            oid => oid == 20,
        },
        // SQLite has no NaN.
        Some(Value::Float(number)) => pg_type.oid == 701 && !number.is_nan(),
        Some(Value::Text(text)) => is_text(pg_type) && !text.contains('\0'),
        Some(Value::Bytes(_)) => pg_type.oid == 17,
        Some(_) => false,
    };
    if fits && is_computed(pg_type) { Ok(()) } else { Err(Refusal::new(format!("a constant of type {pg_type}"), FORMS)) }
}

struct Judge<'j> {
    tables: &'j Tables,
    /// The columns that the expressions of the node are over.
    inputs: &'j [Shape],
}

impl Judge<'_> {
    fn shape(&self, expression: &Expression) -> Shape {
        expression.shape(self.inputs, self.tables)
    }

    fn column(&self, place: usize) -> Expression {
        Expression::column(place, self.inputs.get(place).map_or(PgType::UNKNOWN, |shape| shape.pg_type))
    }

    /// Whether an operation may be done on the value.
    fn value(&self, expression: &Expression) -> Answer {
        of_value(&self.shape(expression), self.tables).map_err(|rule| Refusal::new(expression, rule))
    }

    fn values<'e>(&self, expressions: impl IntoIterator<Item = &'e Expression>) -> Answer {
        expressions.into_iter().try_for_each(|expression| self.value(expression))
    }

    /// Whether values may be put in order.
    fn ordered(&self, expression: &Expression) -> Answer {
        self.value(expression)?;
        match self.shape(expression).collation {
            Collation::Linguistic(_) if is_text(expression.pg_type) => {
                Err(Refusal::new(expression, "the database stores text in UTF-16, which sorts otherwise"))
            }
            _ => Ok(()),
        }
    }

    fn keys(&self, keys: &[SortKey]) -> Answer {
        keys.iter().try_for_each(|key| self.ordered(&key.expression))
    }

    fn condition(&self, expression: &Expression) -> Answer {
        if expression.pg_type.oid != PgType::BOOL.oid {
            return Err(Refusal::new(expression, "it is not a condition"));
        }
        self.value(expression)
    }

    /// An expression whose operands have been judged.
    fn expression(&self, expression: &Expression) -> Answer {
        let refuse = |rule| Err(Refusal::new(expression, rule));
        match &expression.node {
            Node::Column(ordinal) if *ordinal < self.inputs.len() => Ok(()),
            Node::Column(_) => refuse("the column is not known"),
            Node::Literal(value) => of_literal(value.as_ref(), expression.pg_type),
            Node::And(parts) | Node::Or(parts) if parts.len() > PARTS_MAX => refuse("it has too many parts for one statement"),
            Node::And(parts) | Node::Or(parts) => parts.iter().try_for_each(|part| self.condition(part)),
            Node::Not(operand) | Node::IsTruth { operand, .. } => self.condition(operand),
            Node::IsNull { operand, .. } => self.null_test(operand),
            Node::Compare { op, left, right } => {
                self.pair(expression, left, right)?;
                match op {
                    Comparison::Equal | Comparison::NotEqual => Ok(()),
                    Comparison::Less | Comparison::LessOrEqual | Comparison::Greater | Comparison::GreaterOrEqual => {
                        self.ordered(left)?;
                        self.ordered(right)
                    }
                }
            }
            Node::Distinct { left, right, .. } => self.pair(expression, left, right),
            Node::In { list, .. } if list.is_empty() || list.len() > ITEMS_MAX => refuse("the list has no size that SQLite takes"),
            Node::In { subject, list, .. } => list.iter().try_for_each(|item| self.pair(expression, subject, item)),
            Node::Like { subject, pattern, case_insensitive, .. } => self.like(expression, subject, pattern, *case_insensitive),
            Node::Case { branches, otherwise } => {
                branches.iter().try_for_each(|(condition, _)| self.condition(condition))?;
                let values: Vec<&Expression> = branches.iter().map(|(_, value)| value).chain(otherwise.as_deref()).collect();
                self.choice(expression, &values)
            }
            Node::Field { .. } => refuse("documents are taken apart here"),
            Node::Cast(operand) => {
                self.value(operand)?;
                let widened =
                    matches!((operand.pg_type.oid, expression.pg_type.oid), (21, 21 | 23 | 20) | (23, 23 | 20) | (20, 20));
                let shown = is_integer(operand.pg_type) && expression.pg_type == PgType::TEXT;
                if widened || shown { Ok(()) } else { refuse(UNLISTED) }
            }
            Node::Call { function, arguments } => self.call(expression, *function, arguments),
            Node::Subquery(relation) => self.subquery(expression, relation),
        }
    }

    /// Any cell is NULL or not, and those that cannot be read are no NULLs either; but a scan would refuse them.
    fn null_test(&self, operand: &Expression) -> Answer {
        match (&operand.node, stored_column(&self.shape(operand), self.tables)) {
            (Node::Column(_), Some(_)) => Ok(()),
            _ => self.value(operand),
        }
    }

    fn pair(&self, whole: &Expression, left: &Expression, right: &Expression) -> Answer {
        self.values([left, right])?;
        if are_compared(left.pg_type, right.pg_type) { Ok(()) } else { Err(Refusal::new(whole, MIXED)) }
    }

    fn like(&self, whole: &Expression, subject: &Expression, pattern: &Expression, folds: bool) -> Answer {
        self.value(subject)?;
        let refuse = |rule| Err(Refusal::new(whole, rule));
        if folds {
            return refuse("SQLite folds the case of ASCII letters only");
        }
        match &pattern.node {
            Node::Literal(Some(Value::Text(pattern))) if is_text(subject.pg_type) => match like::as_glob(pattern) {
                Some(glob) if glob.len() <= pushdown::PATTERN_MAX && !glob.contains('\0') => Ok(()),
                Some(_) => refuse("the pattern is too long for SQLite"),
                None => refuse("the pattern ends with the escape character"),
            },
            _ => refuse("the pattern is not a constant text"),
        }
    }

    /// One of several values, all of the type of the whole.
    fn choice(&self, whole: &Expression, values: &[&Expression]) -> Answer {
        self.values(values.iter().copied())?;
        let same = |value: &&Expression| value.pg_type.oid == whole.pg_type.oid;
        if values.iter().all(same) { Ok(()) } else { Err(Refusal::new(whole, MIXED)) }
    }

    /// SQLite takes the first of several rows without a word.
    fn subquery(&self, whole: &Expression, relation: &Relation) -> Answer {
        let known = shapes(relation, self.tables);
        let [shape] = known.as_slice() else { return Err(Refusal::new(whole, "it has not one column")) };
        of_value(shape, self.tables).map_err(|rule| Refusal::new(whole, rule))?;
        if !has_one_row(relation) {
            return Err(Refusal::new(whole, "it may have several rows, which SQLite does not refuse"));
        }
        let mut answer = Ok(());
        relation.visit(&mut |below| {
            if answer.is_ok() {
                answer = accepts(below, self.tables);
            }
        });
        answer
    }

    fn call(&self, whole: &Expression, function: Function, arguments: &[Expression]) -> Answer {
        self.values(arguments)?;
        if is_listed(function, arguments, whole.pg_type) { Ok(()) } else { Err(Refusal::new(whole, UNLISTED)) }
    }

    fn aggregate(&self, call: &AggregateCall) -> Answer {
        call.filter.as_ref().map_or(Ok(()), |condition| self.condition(condition))?;
        self.aggregated(call.aggregate, call.argument.as_ref(), call.pg_type)
    }

    fn aggregated(&self, aggregate: Aggregate, argument: Option<&Expression>, result: PgType) -> Answer {
        let refuse = |rule| Err(Refusal::new(aggregate.name(), rule));
        match (aggregate, argument) {
            (Aggregate::CountRows, None) => Ok(()),
            (Aggregate::Count, Some(argument)) => self.value(argument),
            (Aggregate::Minimum | Aggregate::Maximum, Some(argument)) => {
                self.ordered(argument)?;
                // PostgreSQL has neither for these.
                let lacks = matches!(argument.pg_type.oid, 16 | 17);
                if lacks || argument.pg_type.oid != result.oid { refuse(UNLISTED) } else { Ok(()) }
            }
            (Aggregate::BoolAnd | Aggregate::BoolOr, Some(argument)) if argument.pg_type.oid == 16 => self.value(argument),
            (Aggregate::Sum | Aggregate::Average, _) => refuse("SQLite leaves the integers where a sum overflows"),
            _ => refuse(UNLISTED),
        }
    }

    fn window(&self, call: &WindowCall) -> Answer {
        self.values(&call.partition_by)?;
        self.keys(&call.order_by)?;
        self.values(&call.arguments)?;
        let fits = match (call.function, call.arguments.as_slice()) {
            (WindowFunction::RowNumber | WindowFunction::Rank | WindowFunction::DenseRank, []) => call.pg_type.oid == 20,
            (WindowFunction::Aggregate(Aggregate::BoolAnd | Aggregate::BoolOr), _) => false,
            (WindowFunction::Aggregate(aggregate), arguments) => {
                self.aggregated(aggregate, arguments.first(), call.pg_type)?;
                arguments.len() < 2
            }
            (WindowFunction::FirstValue | WindowFunction::LastValue, [value]) => value.pg_type.oid == call.pg_type.oid,
            (WindowFunction::Lag | WindowFunction::Lead, [value, rest @ ..]) => {
                let offset = rest.first().is_none_or(|offset| literal_int(offset).is_some_and(|count| count >= 0));
                let other = rest.get(1).is_none_or(|other| other.pg_type.oid == value.pg_type.oid);
                offset && other && rest.len() < 3 && value.pg_type.oid == call.pg_type.oid
            }
            _ => false,
        };
        let far = call.frame.as_ref().is_some_and(|frame| !super::super::super::relational::fragment::is_counted(frame));
        if fits && !far { Ok(()) } else { Err(Refusal::new("a window function", UNLISTED)) }
    }
}

/// Whether a relation has at most one row whatever is stored.
fn has_one_row(relation: &Relation) -> bool {
    match relation {
        Relation::Aggregate { groups, .. } => groups.is_empty(),
        Relation::Limit { limit: Some(0 | 1), .. } | Relation::Sort { limit: Some(0 | 1), .. } => true,
        Relation::Values { rows, .. } => rows.len() < 2,
        Relation::Project { input, .. } | Relation::Filter { input, .. } | Relation::Limit { input, .. } => has_one_row(input),
        _ => false,
    }
}

fn literal_int(expression: &Expression) -> Option<i64> {
    match &expression.node {
        Node::Literal(Some(Value::Int(number))) => Some(*number),
        _ => None,
    }
}

/// Whether the function, on texts that hold no NUL, is that of PostgreSQL.
fn is_listed(function: Function, arguments: &[Expression], result: PgType) -> bool {
    let texts = arguments.iter().all(|argument| is_text(argument.pg_type));
    let at_least =
        |place: usize, least: i64| arguments.get(place).is_some_and(|found| literal_int(found).is_some_and(|n| n >= least));
    let subject = arguments.first().is_some_and(|first| is_text(first.pg_type));
    match (function, arguments.len()) {
        (Function::Concat, 2) | (Function::Trim | Function::TrimStart | Function::TrimEnd, 1 | 2) | (Function::Replace, 3) => {
            texts && is_text(result)
        }
        (Function::Length, 1) | (Function::Position, 2) => texts && result.oid == 23,
        // From the end, or from before the start, SQLite counts in another way.
        (Function::Substring, 2) => subject && at_least(1, 1) && is_text(result),
        (Function::Substring, 3) => subject && at_least(1, 1) && at_least(2, 0) && is_text(result),
        (Function::Left, 2) => subject && at_least(1, 0) && is_text(result),
        (Function::Coalesce, 1..) | (Function::NullIf, 2) => arguments.iter().all(|argument| argument.pg_type.oid == result.oid),
        // Its upper and lower case are those of ASCII; its greatest of several is NULL where one is.
        _ => false,
    }
}
