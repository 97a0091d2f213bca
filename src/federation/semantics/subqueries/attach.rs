//! A subquery in an expression becomes a column of a LEFT JOIN below the expression's node.
//!
//! Each gives one row at most for an outer row, so that no outer row is lost or doubled: EXISTS and IN join distinct keys, a
//! scalar subquery the first row for its keys, with the number of rows beside it.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ExprSchema, TableReference};
use datafusion::error::Result;
use datafusion::functions_aggregate::{bool_and_or::bool_or_udaf, count::count_udaf, first_last::first_value_udaf};
use datafusion::logical_expr::expr::{AggregateFunction, BinaryExpr, Case, Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Expr, Filter, JoinType, Limit, LogicalPlan, Operator, Projection, Subquery, SubqueryAlias, lit,
};
use datafusion::scalar::ScalarValue;

use super::super::typed::Typed;
use super::super::types::plan_schema;
use super::domain::Domain;
use super::push::{Keyed, join};
use super::single::is_single;
use super::{Rewriter, Within, calls, has_subquery, lost, references, unsupported};
use crate::federation::ast::HIDDEN;

/// A node's input with the joins that its subqueries have become.
pub(super) struct Attached {
    pub(super) plan: LogicalPlan,
    /// The input alone. The joins neither lose nor double its rows, so that the values that a further subquery is computed for
    /// are read from here; read from `plan`, the plan would grow threefold with each subquery.
    base: LogicalPlan,
    /// Subqueries that have a column already: GROUP BY and the select list may name the same.
    known: Vec<(Expr, Expr)>,
}

impl Attached {
    pub(super) fn over(plan: LogicalPlan) -> Self {
        Self { base: plan.clone(), plan, known: Vec::new() }
    }
}

/// Rows of a subquery, and how they are joined with outer rows.
struct Rows {
    keyed: Keyed,
    domain: Option<Domain>,
}

const VALUE: &str = "value";
const FOUND: &str = "found";
const COUNT: &str = "count";
const KNOWN: &str = "known";

/// The plan of a subquery expression.
pub(super) fn plan_of(expr: &Expr) -> Option<&LogicalPlan> {
    match expr {
        Expr::ScalarSubquery(subquery)
        | Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. }) => Some(&subquery.subquery),
        _ => None,
    }
}

/// A subquery expression with another plan; other expressions as they are.
pub(super) fn with_plan(
    mut expr: Expr,
    change: impl FnOnce(Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>>,
) -> Result<Transformed<Expr>> {
    match &mut expr {
        Expr::ScalarSubquery(subquery)
        | Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. }) => {
            subquery.subquery = change(Arc::clone(&subquery.subquery))?;
            Ok(Transformed::yes(expr))
        }
        _ => Ok(Transformed::no(expr)),
    }
}

/// A scalar subquery without outer references, with a column that may be NULL when the subquery may have no row.
pub(super) fn or_null(plan: LogicalPlan) -> Result<LogicalPlan> {
    let (qualifier, field) = plan.schema().qualified_field(0);
    if field.is_nullable() || has_one_row(&plan) {
        return Ok(plan);
    }
    let schema = plan_schema(&plan)?;
    let typed = schema.fields().first().map(|field| Typed::of_field(field)).ok_or_else(|| lost("a value"))?;
    let value = Expr::Column(Column::new(qualifier.cloned(), field.name()));
    let value = calls::or_null(value, typed, field.data_type().clone()).alias_qualified(qualifier.cloned(), field.name());
    Ok(LogicalPlan::Projection(Projection::try_new(vec![value], Arc::new(plan))?))
}

fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(node) => has_one_row(&node.input),
        LogicalPlan::SubqueryAlias(node) => has_one_row(&node.input),
        LogicalPlan::Aggregate(node) => node.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(node) => node.produce_one_row,
        _ => false,
    }
}

impl Rewriter {
    /// The expression over `attached`, which grows by a join for each subquery.
    pub(super) fn attach(&mut self, attached: &mut Attached, expr: Expr, within: Within) -> Result<Expr> {
        let rewritten = expr.transform_up(|part| {
            let Some(plan) = plan_of(&part) else { return Ok(Transformed::no(part)) };
            if matches!(&part, Expr::ScalarSubquery(_)) && references(plan)?.is_empty() {
                // Computed once, before the rest runs.
                return with_plan(part, |plan| {
                    self.plan(Arc::unwrap_or_clone(plan), Within::Statement).and_then(or_null).map(Arc::new)
                });
            }
            if let Some((_, column)) = attached.known.iter().find(|(known, _)| *known == part) {
                return Ok(Transformed::yes(column.clone()));
            }
            let made = self.attach_one(attached, part.clone(), within)?;
            attached.known.push((part, made.clone()));
            Ok(Transformed::yes(made))
        })?;
        Ok(rewritten.data)
    }

    fn attach_one(&mut self, attached: &mut Attached, expr: Expr, within: Within) -> Result<Expr> {
        match expr {
            Expr::ScalarSubquery(subquery) => self.scalar(attached, subquery, within),
            Expr::Exists(Exists { subquery, negated }) => {
                let found = self.exists(attached, subquery, within)?;
                Ok(if negated { found.is_null() } else { found.is_not_null() })
            }
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                let member = self.member(attached, *expr, subquery, within)?;
                Ok(if negated { Expr::Not(Box::new(member)) } else { member })
            }
            Expr::SetComparison(comparison) => {
                let SetComparison { expr, subquery, op, quantifier } = comparison;
                match (op, quantifier) {
                    (Operator::Eq, SetQuantifier::Any) => self.member(attached, *expr, subquery, within),
                    (Operator::NotEq, SetQuantifier::All) => {
                        Ok(Expr::Not(Box::new(self.member(attached, *expr, subquery, within)?)))
                    }
                    (op, quantifier) => self.compared(attached, (*expr, op, quantifier), subquery, within),
                }
            }
            other => Ok(other),
        }
    }

    /// The subquery for the outer rows of `attached`.
    fn rows(&mut self, attached: &Attached, subquery: Subquery, within: Within) -> Result<(Rows, Arc<LogicalPlan>)> {
        let within = if references(&subquery.subquery)?.is_empty() { within } else { Within::Subquery };
        let plan = Arc::new(self.plan(Arc::unwrap_or_clone(subquery.subquery), within)?);
        let is_known = |column: &Column| !attached.plan.schema().has_column(column) || attached.base.schema().has_column(column);
        let outer = if references(&plan)?.iter().all(is_known) { &attached.base } else { &attached.plan };
        let domain = Domain::of(&plan, outer, self.number())?;
        let keyed = match &domain {
            Some(domain) => self.push(&plan, domain)?,
            None => Keyed { plan: plan.as_ref().clone(), keys: Vec::new() },
        };
        Ok((Rows { keyed, domain }, plan))
    }

    /// Joins rows that are unique by their keys, under a name that is returned.
    fn join_rows(
        &mut self,
        attached: &mut Attached,
        plan: LogicalPlan,
        (domain, mut pairs): (Option<&Domain>, Vec<(Expr, Expr)>),
        name: &str,
    ) -> Result<()> {
        let right = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(plan), name)?);
        if let Some(domain) = domain {
            let keys: Vec<Column> = domain.names.iter().map(|key| column(name, key)).collect();
            pairs.extend(domain.pairs(attached.plan.schema(), &keys)?);
        }
        let left = std::mem::take(&mut attached.plan);
        attached.plan = join(left, right, pairs, JoinType::Left)?;
        Ok(())
    }

    fn alias(&mut self) -> String {
        format!("subquery{HIDDEN}{}", self.number())
    }

    fn scalar(&mut self, attached: &mut Attached, subquery: Subquery, within: Within) -> Result<Expr> {
        let (Rows { keyed, domain }, plan) = self.rows(attached, subquery, within)?;
        let schema = plan_schema(&plan)?;
        let typed = schema.fields().first().map(|field| Typed::of_field(field)).ok_or_else(|| lost("a value"))?;
        let value = head(&plan)?;
        let carrier = value_type(&plan)?;
        let name = self.alias();
        if is_single(&plan) {
            let rows = projected(keyed, vec![Expr::Column(value).alias(VALUE)])?;
            self.join_rows(attached, rows, (domain.as_ref(), Vec::new()), &name)?;
            return Ok(Expr::Column(column(&name, VALUE)));
        }
        let calls = vec![call(first_value_udaf(), Expr::Column(value)).alias(VALUE), call(count_udaf(), lit(1_i64)).alias(COUNT)];
        let rows = grouped(keyed, calls)?;
        self.join_rows(attached, rows, (domain.as_ref(), Vec::new()), &name)?;
        let (value, count) = (Expr::Column(column(&name, VALUE)), Expr::Column(column(&name, COUNT)));
        Ok(calls::only_row(value, count, typed, carrier))
    }

    /// A column that is not NULL where the subquery has a row.
    fn exists(&mut self, attached: &mut Attached, subquery: Subquery, within: Within) -> Result<Expr> {
        let (Rows { keyed, domain }, _) = self.rows(attached, subquery, within)?;
        let name = self.alias();
        // A column of a constant would do, if the engine did not take it for constant above the outer join too.
        let rows = if keyed.keys.is_empty() {
            let one = projected(keyed, vec![lit(true).alias(FOUND)])?;
            LogicalPlan::Limit(Limit { skip: None, fetch: Some(Box::new(lit(1_i64))), input: Arc::new(one) })
        } else {
            grouped(keyed, vec![call(count_udaf(), lit(1_i64)).alias(FOUND)])?
        };
        self.join_rows(attached, rows, (domain.as_ref(), Vec::new()), &name)?;
        Ok(Expr::Column(column(&name, FOUND)))
    }

    /// `expr IN (subquery)`: true for an equal value; else NULL when there is a row and `expr` or one of the values is NULL.
    fn member(&mut self, attached: &mut Attached, expr: Expr, subquery: Subquery, within: Within) -> Result<Expr> {
        let (Rows { keyed, domain }, plan) = self.rows(attached, subquery, within)?;
        // The engine looks for columns inside of what a join compares, and would take those of a subquery for columns of the join.
        let expr = if has_subquery(&expr) { self.as_column(attached, expr)? } else { expr };
        let value = Expr::Column(head(&plan)?);
        let (equal, counts) = (self.alias(), self.alias());
        let Keyed { plan: rows, keys } = keyed;
        let known = LogicalPlan::Filter(Filter::try_new(value.clone().is_not_null(), Arc::new(rows.clone()))?);
        let known = projected(Keyed { plan: known, keys: keys.clone() }, vec![value.clone().alias(VALUE)])?;
        let groups = known.schema().columns();
        let known = grouped(Keyed { plan: known, keys: groups }, vec![call(count_udaf(), lit(1_i64)).alias(FOUND)])?;
        let pair = vec![(expr.clone(), Expr::Column(column(&equal, VALUE)))];
        self.join_rows(attached, known, (domain.as_ref(), pair), &equal)?;
        let calls = vec![call(count_udaf(), lit(1_i64)).alias(COUNT), call(count_udaf(), value).alias(KNOWN)];
        let rows = grouped(Keyed { plan: rows, keys }, calls)?;
        self.join_rows(attached, rows, (domain.as_ref(), Vec::new()), &counts)?;
        let (count, known) = (Expr::Column(column(&counts, COUNT)), Expr::Column(column(&counts, KNOWN)));
        let is_null = expr.is_null().or(known.lt(count.clone()));
        Ok(decided([
            (Expr::Column(column(&equal, FOUND)).is_not_null(), Some(true)),
            (count.clone().is_null().or(count.eq(lit(0_i64))), Some(false)),
            (is_null, None),
        ]))
    }

    /// `expr < ANY (subquery)` and its like: the comparison is made for each pair of an outer row and a row of the subquery.
    fn compared(
        &mut self,
        attached: &mut Attached,
        (expr, op, quantifier): (Expr, Operator, SetQuantifier),
        subquery: Subquery,
        within: Within,
    ) -> Result<Expr> {
        if expr.is_volatile() {
            return Err(unsupported("a volatile operand of ANY or ALL (subquery) here"));
        }
        let value = Expr::Column(head(&subquery.subquery)?);
        let schema = Arc::clone(attached.plan.schema());
        let outward = expr.transform_up(|part| match part {
            Expr::Column(column) => {
                let field = Arc::clone(schema.field_from_column(&column)?);
                Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
            }
            other => Ok(Transformed::no(other)),
        });
        let operand = outward?.data;
        let is_all = matches!(quantifier, SetQuantifier::All);
        let holds = Expr::BinaryExpr(BinaryExpr::new(Box::new(operand), op, Box::new(value)));
        let decides = if is_all { Expr::Not(Box::new(holds)) } else { holds };
        let asked = Projection::try_new(vec![decides.alias(VALUE)], subquery.subquery)?;
        let subquery = Subquery {
            subquery: Arc::new(LogicalPlan::Projection(asked)),
            outer_ref_columns: subquery.outer_ref_columns,
            spans: subquery.spans,
        };
        let (Rows { keyed, domain }, plan) = self.rows(attached, subquery, within)?;
        let value = Expr::Column(head(&plan)?);
        let name = self.alias();
        let calls = vec![
            call(bool_or_udaf(), value.clone()).alias(FOUND),
            call(count_udaf(), lit(1_i64)).alias(COUNT),
            call(count_udaf(), value).alias(KNOWN),
        ];
        let rows = grouped(keyed, calls)?;
        self.join_rows(attached, rows, (domain.as_ref(), Vec::new()), &name)?;
        let part = |part: &str| Expr::Column(column(&name, part));
        let found = decided([
            (part(FOUND).is_true(), Some(true)),
            (part(COUNT).is_null(), Some(false)),
            (part(KNOWN).lt(part(COUNT)), None),
        ]);
        Ok(if is_all { Expr::Not(Box::new(found)) } else { found })
    }
}

/// The first condition that holds decides; false otherwise.
fn decided(conditions: [(Expr, Option<bool>); 3]) -> Expr {
    let branches = conditions
        .into_iter()
        .map(|(when, then)| (Box::new(when), Box::new(Expr::Literal(ScalarValue::Boolean(then), None))))
        .collect();
    Expr::Case(Case::new(None, branches, Some(Box::new(lit(false)))))
}

fn column(relation: &str, name: &str) -> Column {
    Column::new(Some(TableReference::bare(relation)), name)
}

fn head(plan: &LogicalPlan) -> Result<Column> {
    plan.schema().columns().into_iter().next().ok_or_else(|| lost("a value"))
}

fn value_type(plan: &LogicalPlan) -> Result<datafusion::arrow::datatypes::DataType> {
    plan.schema().fields().first().map(|field| field.data_type().clone()).ok_or_else(|| lost("a value"))
}

fn call(function: Arc<AggregateUDF>, argument: Expr) -> Expr {
    Expr::AggregateFunction(AggregateFunction::new_udf(function, vec![argument], false, None, Vec::new(), None))
}

/// The given columns, and the keys.
fn projected(keyed: Keyed, mut exprs: Vec<Expr>) -> Result<LogicalPlan> {
    exprs.extend(keyed.keys.into_iter().map(Expr::Column));
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(keyed.plan))?))
}

/// Aggregates for each key.
fn grouped(keyed: Keyed, calls: Vec<Expr>) -> Result<LogicalPlan> {
    let keys = keyed.keys.into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(keyed.plan), keys, calls)?))
}
