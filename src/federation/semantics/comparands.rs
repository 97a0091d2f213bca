//! What values are compared with, so that the engine's simplifier concludes nothing wrong from it.
//!
//! It takes conditions on one column together by their spelling: of `id = 5 AND id = 5::int` it concludes that nothing can be both, as
//! the second constant says of itself that it is an `int`; likewise of `id = 5 AND 5 = id`. Of `a IN (1, 2) AND a NOT IN (2, b)` it
//! keeps `a IN (1)`, whatever `b` is, and of `a IN (b, 1) AND a IN (c, 2)` nothing at all.
//!
//! Here constants beside values that vary are computed, say what they are in one way, and stand on the right; of lists only
//! constants stay, and other elements are compared by themselves.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, InList, Like, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Filter, LogicalPlan, Operator, binary_expr};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyExpressions};
use datafusion::optimizer::{AnalyzerRule, OptimizerConfig, OptimizerRule};
use datafusion::scalar::ScalarValue;

use super::constants;
use super::functions::{LIKE, is_whole};
use super::typed::Typed;
use super::types::expr_type;
use crate::pgtype::PgType;

/// The rule of the analysis; must come after resolution and coercion.
#[derive(Debug)]
pub(super) struct PlainComparands;

impl AnalyzerRule for PlainComparands {
    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let config = Arc::new(config.clone());
        // What fails is found elsewhere, where it is known whether it would be computed at all.
        let fold = |expr: &Expr| constants::value(expr, &config).ok().flatten();
        Ok(plan.transform_up_with_subqueries(|node| with_plain_comparands(node, &fold))?.data)
    }

    fn name(&self) -> &str {
        "plain_comparands"
    }
}

/// The engine's simplifier, which gets constants that came into conditions since the analysis as they should be: of functions that are
/// computed once for a statement, and of columns that are constants further in.
#[derive(Debug, Default)]
pub(super) struct PlainSimplification {
    rule: SimplifyExpressions,
}

impl OptimizerRule for PlainSimplification {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let settled = with_plain_comparands(plan, &|expr| computed(expr, config))?;
        let is_changed = settled.transformed;
        let mut simplified = self.rule.rewrite(settled.data, config)?;
        simplified.transformed |= is_changed;
        Ok(simplified)
    }
}

/// A node as the optimiser's simplifier leaves it, for constants that came into it after the optimiser was done.
pub(in super::super) fn simplified(node: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
    PlainSimplification::default().rewrite(node, config)
}

/// A condition and those directly below it, which the engine takes together.
pub(super) fn settled_conditions(plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Filter(filter) = plan else { return Ok(Transformed::no(plan)) };
    let Filter { predicate, input, .. } = filter;
    let below = settled_conditions(Arc::unwrap_or_clone(input), config)?;
    let filter = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(below.data))?);
    let mut settled = with_plain_comparands(filter, &|expr| computed(expr, config))?;
    settled.transformed |= below.transformed;
    Ok(settled)
}

/// The value of an expression without columns that the engine's simplifier would compute.
fn computed(expr: &Expr, config: &dyn OptimizerConfig) -> Option<ScalarValue> {
    let context = SimplifyContext::builder()
        .with_config_options(config.options())
        .with_query_execution_start_time(config.query_execution_start_time())
        .build();
    match ExprSimplifier::new(context).simplify(expr.clone()) {
        Ok(Expr::Literal(value, _)) => Some(value),
        _ => None,
    }
}

/// Computes what no row has a part in.
type Fold<'f> = &'f dyn Fn(&Expr) -> Option<ScalarValue>;

fn with_plain_comparands(node: LogicalPlan, fold: Fold<'_>) -> Result<Transformed<LogicalPlan>> {
    if matches!(node, LogicalPlan::Extension(_)) || !compares(&node)? {
        return Ok(Transformed::no(node));
    }
    let names = NamePreserver::new(&node);
    let settling = Settling { schema: merge_schema(&node.inputs()), fold };
    node.map_expressions(|expr| {
        // Its members have names of their own, which outputs above refer to.
        if matches!(expr, Expr::GroupingSet(_)) {
            return Ok(Transformed::no(expr));
        }
        let name = names.save(&expr);
        let plain = expr.transform_up(|part| Ok(settling.settled(part)))?;
        Ok(plain.update_data(|expr| name.restore(expr)))
    })
}

/// Whether a node has anything to settle.
fn compares(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found |= expr.exists(|part| {
            Ok(match part {
                Expr::BinaryExpr(BinaryExpr { op, .. }) => is_comparison(*op),
                Expr::InList(_) | Expr::Between(_) | Expr::Like(_) => true,
                Expr::ScalarFunction(call) => call.func.name() == MEMBERSHIP || LIKE.contains(&call.func.name()),
                _ => false,
            })
        })?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// The engine's function for `x = ANY (array)`, which its simplifier makes a list of.
const MEMBERSHIP: &str = "array_has";

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// What a value is compared with: its type and its carrier.
type Beside = Option<(Typed, DataType)>;

/// The pass over the expressions of a node.
struct Settling<'f> {
    /// Of the node's inputs.
    schema: DFSchema,
    fold: Fold<'f>,
}

impl Settling<'_> {
    fn settled(&self, part: Expr) -> Transformed<Expr> {
        match part {
            Expr::BinaryExpr(comparison) if is_comparison(comparison.op) => self.compared(comparison),
            Expr::InList(list) => self.listed(list),
            Expr::Between(between) if !between.expr.is_volatile() && varies(&between.expr) => {
                Transformed::yes(self.bounded(between))
            }
            Expr::Like(like) => {
                let beside = self.beside(&like.expr);
                let Like { pattern, .. } = like;
                self.plain(*pattern, &beside).update_data(|pattern| Expr::Like(Like { pattern: Box::new(pattern), ..like }))
            }
            Expr::ScalarFunction(call) if call.func.name() == MEMBERSHIP => match self.elements(&call.args) {
                Some(list) => Transformed::yes(self.listed(list).data),
                None => Transformed::no(Expr::ScalarFunction(call)),
            },
            Expr::ScalarFunction(call) if LIKE.contains(&call.func.name()) => match self.whole(&call) {
                Some(like) => Transformed::yes(Expr::Like(like)),
                None => Transformed::no(Expr::ScalarFunction(call)),
            },
            other => Transformed::no(other),
        }
    }

    /// The engine's own LIKE with a computed pattern that is a constant, which stores can be asked for.
    fn whole(&self, call: &ScalarFunction) -> Option<Like> {
        let [text, pattern] = call.args.as_slice() else { return None };
        if !varies(text) || varies(pattern) || pattern.is_volatile() {
            return None;
        }
        let pattern = match pattern {
            Expr::Literal(value, _) => value.clone(),
            other => (self.fold)(other)?,
        };
        let pattern = Expr::Literal(pattern, None);
        let is_text = matches!(pattern, Expr::Literal(ScalarValue::Utf8(Some(_)), _)) && is_whole(&pattern);
        let negated = call.func.name() == LIKE[1];
        is_text.then(|| Like::new(negated, Box::new(text.clone()), Box::new(pattern), None, false))
    }

    fn beside(&self, expr: &Expr) -> Beside {
        Some((expr_type(expr, &self.schema).ok()?, expr.get_type(&self.schema).ok()?))
    }

    fn compared(&self, comparison: BinaryExpr) -> Transformed<Expr> {
        let BinaryExpr { left, op, right } = comparison;
        if !varies(&left) && !varies(&right) {
            return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }));
        }
        let (beside_left, beside_right) = (self.beside(&right), self.beside(&left));
        let (left, right) = (self.plain(*left, &beside_left), self.plain(*right, &beside_right));
        let is_changed = left.transformed || right.transformed;
        let (left, right) = (Box::new(left.data), Box::new(right.data));
        let is_null = |side: &Expr| matches!(side, Expr::Literal(value, _) if value.is_null());
        let is_distinction = matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom);
        if !is_distinction && (is_null(&left) || is_null(&right)) {
            return Transformed::yes(unknown());
        }
        match op.swap() {
            Some(swapped) if matches!(*left, Expr::Literal(..)) => {
                Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: right, op: swapped, right: left }))
            }
            _ => Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), is_changed),
        }
    }

    fn bounded(&self, between: Between) -> Expr {
        let Between { expr, negated, low, high } = between;
        let (above, below, both) =
            if negated { (Operator::Lt, Operator::Gt, Operator::Or) } else { (Operator::GtEq, Operator::LtEq, Operator::And) };
        let low = self.compared(BinaryExpr { left: expr.clone(), op: above, right: low }).data;
        let high = self.compared(BinaryExpr { left: expr, op: below, right: high }).data;
        binary_expr(low, both, high)
    }

    /// The list of the constants alone, joined with comparisons with the rest.
    fn listed(&self, list: InList) -> Transformed<Expr> {
        let InList { expr, list, negated } = list;
        let beside = self.beside(&expr);
        let mut is_changed = false;
        let mut settle = |element: Expr| {
            let plain = self.plain(element, &beside);
            is_changed |= plain.transformed;
            plain.data
        };
        let elements: Vec<Expr> = list.into_iter().map(&mut settle).collect();
        let is_constant = |element: &Expr| matches!(element, Expr::Literal(value, _) if !value.is_null());
        if elements.iter().all(is_constant) || expr.is_volatile() {
            return Transformed::new_transformed(Expr::InList(InList { expr, list: elements, negated }), is_changed);
        }
        let (constants, others): (Vec<Expr>, Vec<Expr>) = elements.into_iter().partition(is_constant);
        let mut parts = Vec::with_capacity(others.len() + 1);
        if !constants.is_empty() {
            parts.push(Expr::InList(InList { expr: expr.clone(), list: constants, negated }));
        }
        let op = if negated { Operator::NotEq } else { Operator::Eq };
        parts.extend(others.into_iter().map(|other| match other {
            Expr::Literal(value, _) if value.is_null() => unknown(),
            other => binary_expr((*expr).clone(), op, other),
        }));
        Transformed::yes(joined(parts, if negated { Operator::And } else { Operator::Or }))
    }

    /// The elements of a constant array that a value is looked for in.
    fn elements(&self, arguments: &[Expr]) -> Option<InList> {
        let [array, item] = arguments else { return None };
        if varies(array) || !varies(item) {
            return None;
        }
        let array = match array {
            Expr::Literal(value, _) => value.clone(),
            other => (self.fold)(other)?,
        };
        if array.is_null() || !matches!(array, ScalarValue::List(_)) {
            return None;
        }
        let elements = ScalarValue::convert_array_to_scalar_vec(&array.to_array().ok()?).ok()?;
        let list: Vec<Expr> = elements.into_iter().flatten().flatten().map(|value| Expr::Literal(value, None)).collect();
        (!list.is_empty()).then(|| InList { expr: Box::new(item.clone()), list, negated: false })
    }

    /// A constant as a literal that says of itself what stands beside it; anything else as it is.
    fn plain(&self, expr: Expr, beside: &Beside) -> Transformed<Expr> {
        if let Expr::Literal(value, metadata) = expr {
            let own = metadata.as_ref().map_or_else(|| carrier(&value), |metadata| metadata.add_to_field(carrier(&value)));
            let told = told(&value, &Typed::of_field(&own), beside);
            let is_changed = told != metadata;
            return Transformed::new_transformed(Expr::Literal(value, told), is_changed);
        }
        let is_folded = !varies(&expr) && !expr.is_volatile() && !matches!(expr, Expr::Placeholder(_));
        let rows = DFSchema::empty();
        let value = if is_folded { (self.fold)(&expr) } else { None };
        match (value, expr_type(&expr, &rows), expr.get_type(&rows)) {
            (Some(value), Ok(own), Ok(carrier)) if value.data_type() == carrier => {
                let told = told(&value, &own, beside);
                Transformed::yes(Expr::Literal(value, told))
            }
            _ => Transformed::no(expr),
        }
    }
}

fn varies(expr: &Expr) -> bool {
    expr.any_column_refs() || expr.contains_outer()
}

fn unknown() -> Expr {
    Expr::Literal(ScalarValue::Boolean(None), None)
}

/// Conditions joined by AND or OR, of which the one is true and the other false without any. In pairs, so that the expression is not as
/// deep as the conditions are many.
pub(super) fn joined(mut parts: Vec<Expr>, op: Operator) -> Expr {
    if parts.len() > 1 {
        let rest = parts.split_off(parts.len() / 2);
        return binary_expr(joined(parts, op), op, joined(rest, op));
    }
    parts.pop().unwrap_or(Expr::Literal(ScalarValue::Boolean(Some(op == Operator::And)), None))
}

/// The field of a value that says nothing of itself.
fn carrier(value: &ScalarValue) -> Field {
    Field::new("", value.data_type(), true)
}

/// What a constant says of itself: the type of what it is compared with where both have one carrier, else its own; `None` where the
/// carrier says it. A label is compared as the text that it is, if not by a key. Beside a text that is filled with blanks what was a
/// pattern is none: it keeps its own.
fn told(value: &ScalarValue, own: &Typed, beside: &Beside) -> Option<FieldMetadata> {
    let is_taken = |(typed, carrier): &&(Typed, DataType)| {
        let is_plain = typed.labels.is_none() && own.labels.is_none() && typed.pg_type.oid != PgType::BPCHAR.oid;
        is_plain && *carrier == value.data_type()
    };
    let typed = beside.as_ref().filter(is_taken).map_or(own, |(typed, _)| typed);
    let is_text = typed.pg_type.oid == PgType::VARCHAR.oid || typed.labels.is_some() && value.data_type() == DataType::Utf8;
    let typed = if is_text { PgType::TEXT.into() } else { typed.without_modifier() };
    if typed == Typed::of_field(&carrier(value)).without_modifier() {
        return None;
    }
    Some(FieldMetadata::from(typed.field("", value.data_type()).as_ref()))
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{cast, col, lit, placeholder};

    use super::*;

    fn schema() -> DFSchema {
        let uuid = Typed::from(PgType::UUID).field("u", DataType::Utf8);
        let fields = vec![
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::Int32, true),
            Field::new("s", DataType::Utf8, true),
            uuid.as_ref().clone(),
            label().field("e", DataType::Utf8).as_ref().clone(),
        ];
        DFSchema::from_unqualified_fields(fields.into(), std::collections::HashMap::new()).unwrap()
    }

    fn label() -> Typed {
        Typed { pg_type: PgType::TEXT, labels: Some(Arc::from("[\"sad\",\"happy\"]")) }
    }

    fn check(expr: Expr, expected: &Expr) {
        let config = Arc::new(ConfigOptions::default());
        let fold = |expr: &Expr| constants::value(expr, &config).ok().flatten();
        let settling = Settling { schema: schema(), fold: &fold };
        let settled = expr.transform_up(|part| Ok(settling.settled(part))).unwrap();
        assert_eq!(settled.data, *expected);
        let again = settled.data.transform_up(|part| Ok(settling.settled(part))).unwrap();
        assert!(!again.transformed, "{expected} changes again");
    }

    fn of_type(expr: Expr, pg_type: PgType) -> Expr {
        let Expr::Literal(value, _) = expr else { panic!("{expr}") };
        let field = Typed::from(pg_type).field("", value.data_type());
        Expr::Literal(value, Some(FieldMetadata::from(field.as_ref())))
    }

    #[test]
    fn constants_say_what_they_are_compared_with() {
        let expected = col("a").eq(lit(5));
        check(col("a").eq(of_type(lit(5), PgType::INT4)), &expected);
        check(of_type(lit(5), PgType::OID).eq(col("a")), &expected);
        check(col("a").eq(cast(lit(5_i64), DataType::Int32)), &expected);
        check(col("s").eq(of_type(lit("x"), PgType::with_typmod(PgType::VARCHAR.oid, 14))), &col("s").eq(lit("x")));
        let uuid = "00112233-4455-6677-8899-aabbccddeeff";
        let expected = col("u").eq(of_type(lit(uuid), PgType::UUID));
        check(col("u").eq(of_type(lit(uuid), PgType::UUID)), &expected);
        check(col("u").eq(lit(uuid)), &expected);
        check(col("s").like(of_type(lit("x"), PgType::VARCHAR)), &col("s").like(lit("x")));
    }

    #[test]
    fn labels_are_told_as_texts() {
        let of_label = |text: &str| {
            let value = ScalarValue::Utf8(Some(text.to_owned()));
            Expr::Literal(value, Some(FieldMetadata::from(label().field("", DataType::Utf8).as_ref())))
        };
        check(col("e").eq(of_label("happy")), &col("e").eq(lit("happy")));
        check(col("e").not_eq(of_type(lit("happy"), PgType::VARCHAR)), &col("e").not_eq(lit("happy")));
        check(col("e").in_list(vec![of_label("happy"), lit("x")], false), &col("e").in_list(vec![lit("happy"), lit("x")], false));
    }

    #[test]
    fn computed_patterns_that_are_constants_are_those_of_the_engine() {
        let matched = |pattern: Expr| super::super::functions::like(col("s"), pattern, false);
        check(matched(lit("a%")), &col("s").like(lit("a%")));
        check(super::super::functions::like(col("s"), lit("a%"), true), &col("s").not_like(lit("a%")));
        check(matched(lit("a\\")), &matched(lit("a\\")));
        check(matched(col("s")), &matched(col("s")));
    }

    #[test]
    fn comparisons_have_their_constant_on_the_right() {
        check(lit(5).lt(col("a")), &col("a").gt(lit(5)));
        check(col("a").eq(col("b")), &col("a").eq(col("b")));
        check(lit(5).lt(lit(6)), &lit(5).lt(lit(6)));
        check(col("a").gt(placeholder("$1")), &col("a").gt(placeholder("$1")));
        check(col("a").between(lit(1), col("b")), &col("a").gt_eq(lit(1)).and(col("a").lt_eq(col("b"))));
        check(col("a").not_between(lit(1), lit(2)), &col("a").lt(lit(1)).or(col("a").gt(lit(2))));
        check(col("a").gt(Expr::Literal(ScalarValue::Int32(None), None)), &unknown());
    }

    #[test]
    fn lists_keep_their_constants_only() {
        let null = Expr::Literal(ScalarValue::Int32(None), None);
        let known = col("a").in_list(vec![lit(1), lit(2)], false);
        check(col("a").in_list(vec![lit(1), of_type(lit(2), PgType::INT4)], false), &known);
        check(col("a").in_list(vec![lit(1), null.clone()], false), &col("a").in_list(vec![lit(1)], false).or(unknown()));
        check(col("a").in_list(vec![lit(1), null], true), &col("a").in_list(vec![lit(1)], true).and(unknown()));
        check(col("a").in_list(vec![col("b")], true), &col("a").not_eq(col("b")));
        check(col("a").in_list(vec![col("b"), lit(1)], false), &col("a").in_list(vec![lit(1)], false).or(col("a").eq(col("b"))));
        let array = ScalarValue::List(ScalarValue::new_list_nullable(
            &[ScalarValue::Int32(Some(1)), ScalarValue::Int32(None)],
            &DataType::Int32,
        ));
        let membership = datafusion::functions_nested::expr_fn::array_has(Expr::Literal(array, None), col("a"));
        check(membership, &col("a").in_list(vec![lit(1)], false).or(unknown()));
    }
}
