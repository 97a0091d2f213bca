//! A cluster: inner joins that stand directly on one another, taken apart into relations and conditions.
//!
//! Everything else is a relation as a whole: outer, semi and anti joins, aggregates, sets, and joins whose conditions could fail or
//! change from one evaluation to the next. Such conditions are evaluated where they were written, on no other rows.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::{Column, DFSchema, NullEquality};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, Join, JoinType, LogicalPlan, Operator, Projection};

use crate::federation::semantics::always_fits;

/// A larger cluster keeps its order: finding one takes time that grows with the cube of the relations.
const RELATIONS_MAX: usize = 64;

/// Relations with the conditions between them.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    /// The relations, in the order of the query.
    pub(super) relations: Vec<Arc<LogicalPlan>>,
    /// Expressions that must be equal, as the joins paired them.
    pub(super) pairs: Vec<(Expr, Expr)>,
    /// Further conditions.
    pub(super) conditions: Vec<Expr>,
}

impl Cluster {
    /// The cluster that `plan` is the top of; `None` when there are less than three relations, or when it cannot be taken apart.
    pub(super) fn of(plan: &LogicalPlan) -> Option<Self> {
        let mut cluster = Self::default();
        cluster.gather(&below(plan)?, 0);
        let names: usize = cluster.relations.iter().map(|relation| relation.schema().fields().len()).sum();
        let distinct: HashSet<Column> = cluster.relations.iter().flat_map(|relation| relation.schema().columns()).collect();
        // Columns are told apart by their names, and columns with and without a qualifier could be taken for each other.
        let bare: HashSet<&str> =
            distinct.iter().filter(|column| column.relation.is_none()).map(|column| column.name.as_str()).collect();
        let clashes = distinct.iter().any(|column| column.relation.is_some() && bare.contains(column.name.as_str()));
        let size = cluster.relations.len();
        ((3..=RELATIONS_MAX).contains(&size) && distinct.len() == names && !clashes).then_some(cluster)
    }

    fn gather(&mut self, part: &Part<'_>, depth: usize) {
        let join = match part {
            Part::Projection(inner) => return self.gather(inner, depth),
            Part::Filter(filter, inner) => {
                self.conditions.extend(split_conjunction_owned(filter.predicate.clone()));
                return self.gather(inner, depth);
            }
            Part::Join(join) => join,
        };
        for side in [&join.left, &join.right] {
            match below(side).filter(|_| depth <= RELATIONS_MAX) {
                Some(inner) => self.gather(&inner, depth + 1),
                None => self.relations.push(Arc::clone(side)),
            }
        }
        self.pairs.extend(join.on.iter().cloned());
        self.conditions.extend(join.filter.clone().map(split_conjunction_owned).unwrap_or_default());
    }
}

/// A node that belongs to a cluster.
enum Part<'a> {
    /// Columns as they are: some are left out.
    Projection(Box<Part<'a>>),
    Filter(&'a Filter, Box<Part<'a>>),
    Join(&'a Join),
}

/// The part of a cluster that `plan` is; `None` for a relation.
fn below(plan: &LogicalPlan) -> Option<Part<'_>> {
    match plan {
        LogicalPlan::Join(join) => is_free(join).then_some(Part::Join(join)),
        LogicalPlan::Projection(projection) => {
            let inner = below(&projection.input).filter(|_| is_plain_projection(projection))?;
            Some(Part::Projection(Box::new(inner)))
        }
        LogicalPlan::Filter(filter) => {
            let inner = below(&filter.input).filter(|_| is_safe(&filter.predicate, filter.input.schema()))?;
            Some(Part::Filter(filter, Box::new(inner)))
        }
        _ => None,
    }
}

/// Whether a projection only leaves out columns, or changes their order.
pub(super) fn is_plain_projection(projection: &Projection) -> bool {
    let plain = projection.expr.iter().all(|expr| matches!(expr, Expr::Column(_)));
    let distinct: HashSet<&Expr> = projection.expr.iter().collect();
    plain && distinct.len() == projection.expr.len()
}

/// Whether a join may be evaluated anywhere among its neighbours.
pub(super) fn is_free(join: &Join) -> bool {
    let plain = join.join_type == JoinType::Inner && join.null_equality == NullEquality::NullEqualsNothing && !join.null_aware;
    let (left, right) = (join.left.schema(), join.right.schema());
    plain
        && join.on.iter().all(|(one, other)| is_safe(one, left) && is_safe(other, right))
        && join.filter.as_ref().is_none_or(|filter| is_safe(filter, &join.schema))
}

/// Whether evaluating an expression on other rows than the query asked for goes unseen: it can neither fail nor change, and reads
/// nothing but its row.
pub(super) fn is_safe(expr: &Expr, schema: &DFSchema) -> bool {
    let every = |parts: &[&Expr]| parts.iter().all(|part| is_safe(part, schema));
    match expr {
        Expr::Column(_) | Expr::Literal(..) => true,
        Expr::Alias(alias) => is_safe(&alias.expr, schema),
        Expr::Not(inner)
        | Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::IsUnknown(inner)
        | Expr::IsNotTrue(inner)
        | Expr::IsNotFalse(inner)
        | Expr::IsNotUnknown(inner) => is_safe(inner, schema),
        Expr::BinaryExpr(binary) => is_comparison(binary.op) && every(&[&binary.left, &binary.right]),
        Expr::Between(between) => every(&[&between.expr, &between.low, &between.high]),
        Expr::InList(list) => is_safe(&list.expr, schema) && list.list.iter().all(|item| matches!(item, Expr::Literal(..))),
        Expr::Like(like) => matches!(like.pattern.as_ref(), Expr::Literal(..)) && is_safe(&like.expr, schema),
        Expr::ScalarFunction(call) if matches!(call.func.name(), "float_key" | "typed_key" | "get_field") => {
            call.args.iter().all(|argument| is_safe(argument, schema))
        }
        Expr::Cast(cast) => {
            let widens = cast.expr.get_type(schema).is_ok_and(|from| always_fits(&from, cast.field.data_type()));
            widens && is_safe(&cast.expr, schema)
        }
        _ => false,
    }
}

fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
            | Operator::And
            | Operator::Or
    )
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::prelude::{cast, col, lit, random};

    use super::*;

    #[test]
    fn only_what_cannot_fail_is_moved() {
        let fields = vec![
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::Int64, true),
            Field::new("t", DataType::Utf8, true),
        ];
        let schema = DFSchema::try_from(Schema::new(fields)).unwrap();
        let rows = [
            (col("a").eq(lit(1)), true),
            (cast(col("a"), DataType::Int64).eq(col("b")), true),
            (cast(col("b"), DataType::Int32).eq(col("a")), false),
            (cast(col("t"), DataType::Int32).eq(col("a")), false),
            ((lit(10) / col("a")).gt(lit(1)), false),
            ((col("b") + lit(1_i64)).gt(lit(1_i64)), false),
            (random().gt(lit(0.5)), false),
            (col("t").like(lit("a%")).or(col("t").is_null()), true),
            (col("t").like(col("t")), false),
            (cast(col("a"), DataType::Decimal128(10, 0)).gt(lit(1)), true),
            (cast(col("a"), DataType::Decimal128(10, 2)).gt(lit(1)), false),
        ];
        for (expr, expected) in rows {
            assert_eq!(is_safe(&expr, &schema), expected, "{expr}");
        }
    }
}
