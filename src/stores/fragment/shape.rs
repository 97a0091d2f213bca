//! What is known of the columns that a relation makes: types, NULLs, collations, and where they come from.

use super::super::connector::Scan;
use super::super::schema::{Collation, TableId};
use super::Tables;
use super::expression::{Expression, Node};
use super::relation::{Aggregate, AggregateCall, JoinKind, Relation};
use crate::pgtype::PgType;

/// What is known of one column.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Its type.
    pub pg_type: PgType,
    /// Whether it can be NULL.
    pub nullable: bool,
    /// The collation under which the store would compare it if it were not told otherwise: the loosest of what it is made of.
    pub collation: Collation,
    /// The stored column whose values it has unchanged.
    pub origin: Option<Origin>,
}

/// A stored column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The table.
    pub table: TableId,
    /// The ordinal of the column in it.
    pub column: usize,
}

/// The columns that `relation` makes. Columns that cannot be found are of type `unknown`, which no store accepts.
pub fn shapes(relation: &Relation, tables: &Tables) -> Vec<Shape> {
    match relation {
        Relation::Table(scan) => of_table(scan, tables),
        Relation::Values { types, rows } => types
            .iter()
            .enumerate()
            .map(|(place, pg_type)| {
                let nullable = rows.iter().any(|row| row.get(place).is_none_or(Option::is_none));
                Shape { pg_type: *pg_type, nullable, collation: Collation::Bytes, origin: None }
            })
            .collect(),
        Relation::Filter { input, .. }
        | Relation::Distinct { input }
        | Relation::Sort { input, .. }
        | Relation::Limit { input, .. } => shapes(input, tables),
        Relation::Project { input, expressions } => {
            let inputs = shapes(input, tables);
            expressions.iter().map(|expression| expression.shape(&inputs, tables)).collect()
        }
        Relation::Join { left, right, kind, .. } => of_join(shapes(left, tables), shapes(right, tables), *kind),
        Relation::Aggregate { input, groups, calls } => {
            let inputs = shapes(input, tables);
            let groups = groups.iter().map(|group| group.shape(&inputs, tables));
            groups.chain(calls.iter().map(|call| of_call(call, &inputs, tables))).collect()
        }
        Relation::Union { inputs } => {
            let mut inputs = inputs.iter().map(|input| shapes(input, tables));
            let first = inputs.next().unwrap_or_default();
            inputs.fold(first, |known, next| known.into_iter().zip(next).map(|(one, other)| either(one, &other)).collect())
        }
        Relation::Window { input, calls } => {
            let mut known = shapes(input, tables);
            let computed: Vec<Shape> = calls
                .iter()
                .map(|call| {
                    let collation = loosest(call.arguments.iter().map(|argument| argument.shape(&known, tables).collation));
                    Shape { pg_type: call.pg_type, nullable: true, collation, origin: None }
                })
                .collect();
            known.extend(computed);
            known
        }
    }
}

fn of_table(scan: &Scan, tables: &Tables) -> Vec<Shape> {
    let table = tables.get(&scan.table);
    let shape = |ordinal: &usize| {
        let column = table.and_then(|table| table.columns.get(*ordinal));
        let origin = column.map(|_| Origin { table: scan.table.clone(), column: *ordinal });
        Shape {
            pg_type: column.map_or(PgType::UNKNOWN, |column| column.pg_type()),
            nullable: column.is_none_or(|column| column.field.is_nullable()),
            collation: column.map_or(Collation::Bytes, |column| column.collation.clone()),
            origin,
        }
    };
    scan.columns.iter().map(shape).collect()
}

fn of_join(left: Vec<Shape>, right: Vec<Shape>, kind: JoinKind) -> Vec<Shape> {
    let nullable = |shapes: Vec<Shape>, missing: bool| {
        shapes.into_iter().map(move |shape| Shape { nullable: shape.nullable || missing, ..shape })
    };
    match kind {
        JoinKind::Semi | JoinKind::Anti => left,
        JoinKind::Inner => left.into_iter().chain(right).collect(),
        JoinKind::Left => left.into_iter().chain(nullable(right, true)).collect(),
        JoinKind::Right => nullable(left, true).chain(right).collect(),
        JoinKind::Full => nullable(left, true).chain(nullable(right, true)).collect(),
    }
}

fn of_call(call: &AggregateCall, inputs: &[Shape], tables: &Tables) -> Shape {
    let counts = matches!(call.aggregate, Aggregate::CountRows | Aggregate::Count);
    let collation = call.argument.as_ref().map_or(Collation::Bytes, |argument| argument.shape(inputs, tables).collation);
    Shape { pg_type: call.pg_type, nullable: !counts, collation, origin: None }
}

fn either(one: Shape, other: &Shape) -> Shape {
    let origin = one.origin.filter(|origin| other.origin.as_ref() == Some(origin));
    Shape {
        pg_type: one.pg_type,
        nullable: one.nullable || other.nullable,
        collation: loosest([one.collation, other.collation.clone()]),
        origin,
    }
}

/// The one of the collations that is furthest from comparing by bytes.
fn loosest(collations: impl IntoIterator<Item = Collation>) -> Collation {
    let rank = |collation: &Collation| match collation {
        Collation::Bytes => 0,
        Collation::Linguistic(_) => 1,
        Collation::Loose(_) => 2,
        Collation::Native { .. } => 3,
    };
    collations.into_iter().max_by_key(rank).unwrap_or_default()
}

impl Expression {
    /// What is known of its value over input columns of these shapes.
    pub fn shape(&self, inputs: &[Shape], tables: &Tables) -> Shape {
        let missing = || Shape { pg_type: PgType::UNKNOWN, nullable: true, collation: Collation::Bytes, origin: None };
        match &self.node {
            Node::Column(ordinal) => inputs.get(*ordinal).cloned().unwrap_or_else(missing),
            Node::Literal(value) => {
                Shape { pg_type: self.pg_type, nullable: value.is_none(), collation: Collation::Bytes, origin: None }
            }
            Node::Subquery(relation) => {
                let inner = shapes(relation, tables).into_iter().next().unwrap_or_else(missing);
                Shape { nullable: true, origin: None, ..inner }
            }
            Node::IsNull { .. } | Node::IsTruth { .. } | Node::Distinct { .. } => {
                Shape { pg_type: self.pg_type, nullable: false, collation: Collation::Bytes, origin: None }
            }
            // min and max take `varchar` as text, with the same values: the store's own collation counts for these as well.
            Node::Cast(operand) if self.pg_type == PgType::TEXT => {
                let inner = operand.shape(inputs, tables);
                let is_own = inner.pg_type.oid == PgType::VARCHAR.oid && matches!(inner.collation, Collation::Native { .. });
                let origin = inner.origin.filter(|_| is_own);
                Shape { pg_type: self.pg_type, nullable: true, collation: inner.collation, origin }
            }
            _ => {
                let collation = loosest(self.operands().into_iter().map(|operand| operand.shape(inputs, tables).collation));
                Shape { pg_type: self.pg_type, nullable: true, collation, origin: None }
            }
        }
    }
}
