//! A subquery for all values of its domain at once: every node is made to keep the rows of one value apart from those of
//! others, so that each node gives for a value what it would give for that value alone.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, NullEquality};
use datafusion::error::Result;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{Case, WindowFunction};
use datafusion::logical_expr::utils::{conjunction, grouping_set_to_exprlist, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, FetchType, Filter, Join, JoinConstraint, JoinType, Limit, LogicalPlan, Projection,
    SkipType, Sort, SortExpr, SubqueryAlias, Union, Values, Window, WindowFrame, lit,
};
use datafusion::scalar::ScalarValue;

use super::super::resolve::without_repetitions;
use super::super::sets::{Empty, ProjectSet};
use super::domain::{Domain, Source, same};
use super::{Rewriter, has_subquery, lost, named, only, renamed, unsupported};
use crate::federation::ast::HIDDEN;

/// A plan with the columns that it had, and keys beside them.
#[derive(Debug)]
pub(super) struct Keyed {
    pub(super) plan: LogicalPlan,
    /// The keys, in the domain's order.
    pub(super) keys: Vec<Column>,
}

impl Keyed {
    fn key_exprs(&self) -> impl Iterator<Item = Expr> + '_ {
        self.keys.iter().cloned().map(Expr::Column)
    }

    /// The same keys under the qualifier that a node gave them.
    fn found_in(plan: LogicalPlan, names: &[String]) -> Result<Self> {
        let find = |name: &String| {
            let mut columns = plan.schema().columns().into_iter();
            columns.find(|column| column.name == *name).ok_or_else(|| lost("a key"))
        };
        let keys = names.iter().map(find).collect::<Result<_>>()?;
        Ok(Self { plan, keys })
    }
}

impl Rewriter {
    pub(super) fn push(&mut self, plan: &LogicalPlan, domain: &Domain) -> Result<Keyed> {
        if !domain.is_read_in(plan)? {
            return self.beside(plan, domain);
        }
        match plan {
            LogicalPlan::Filter(filter) => self.push_filter(filter, domain),
            LogicalPlan::Projection(node) => {
                let input = self.push(&node.input, domain)?;
                project(&node.expr, &node.schema, input, domain)
            }
            LogicalPlan::Sort(node) => {
                let Keyed { plan, keys } = self.push(&node.input, domain)?;
                let expr = sort_keys(&node.expr, domain, &keys)?;
                Ok(Keyed { plan: LogicalPlan::Sort(Sort { expr, input: Arc::new(plan), fetch: node.fetch }), keys })
            }
            LogicalPlan::SubqueryAlias(node) => {
                let input = self.push(&node.input, domain)?;
                let alias = SubqueryAlias::try_new(Arc::new(input.plan), node.alias.clone())?;
                Keyed::found_in(LogicalPlan::SubqueryAlias(alias), &domain.names)
            }
            LogicalPlan::Aggregate(node) => self.push_aggregate(node, domain),
            LogicalPlan::Limit(node) => self.push_limit(node, domain),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let wanted = Arc::clone(input.schema());
                let Keyed { plan, keys } = self.push(input, domain)?;
                let plan = exact(plan, &wanted, &keys)?;
                Ok(Keyed { plan: LogicalPlan::Distinct(Distinct::All(Arc::new(plan))), keys })
            }
            LogicalPlan::Distinct(Distinct::On(node)) => self.push_distinct_on(node, domain),
            LogicalPlan::Window(node) => self.push_window(node, domain),
            LogicalPlan::Union(node) => self.push_union(node, domain),
            LogicalPlan::Values(node) => self.push_values(node, domain),
            LogicalPlan::Join(node) => self.push_join(node, domain),
            LogicalPlan::Extension(_) => match ProjectSet::of(plan) {
                Some(set) => {
                    let Keyed { plan, keys } = self.push(set.input(), domain)?;
                    let calls = inward(set.calls(), domain, &keys)?;
                    let set = set.over(Arc::new(plan), calls, Empty::Dropped)?;
                    Ok(Keyed { plan: set.into_plan(), keys })
                }
                None => Err(unsupported("an outer reference in this part of a correlated subquery")),
            },
            LogicalPlan::RecursiveQuery(_) => Err(unsupported("an outer reference in WITH RECURSIVE")),
            _ => Err(unsupported("an outer reference in this part of a correlated subquery")),
        }
    }

    /// What reads nothing of the domain is the same for every value of it.
    fn beside(&mut self, plan: &LogicalPlan, domain: &Domain) -> Result<Keyed> {
        let values = self.values_of(domain)?;
        if matches!(plan, LogicalPlan::EmptyRelation(empty) if empty.produce_one_row && plan.schema().fields().is_empty()) {
            return Ok(values);
        }
        let plan = join(values.plan, plan.clone(), Vec::new(), JoinType::Inner)?;
        Ok(Keyed { plan, keys: values.keys })
    }

    /// The rows of the domain under a name of their own.
    fn values_of(&mut self, domain: &Domain) -> Result<Keyed> {
        let Source::Rows(rows) = &domain.source else { return Err(lost("a domain")) };
        let alias = format!("outer{HIDDEN}{}", self.number());
        Keyed::found_in(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(rows.clone()), alias)?), &domain.names)
    }

    fn push_filter(&mut self, filter: &Filter, domain: &Domain) -> Result<Keyed> {
        let Source::Equalities(own) = &domain.source else {
            let Keyed { plan, keys } = self.push(&filter.input, domain)?;
            let predicate = domain.inward(filter.predicate.clone(), &keys)?;
            return Ok(Keyed { plan: LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?), keys });
        };
        if domain.is_read_in(&filter.input)? {
            let Keyed { plan, keys } = self.push(&filter.input, domain)?;
            return Ok(Keyed { plan: LogicalPlan::Filter(Filter::try_new(filter.predicate.clone(), Arc::new(plan))?), keys });
        }
        let mut rest = Vec::new();
        for condition in split_conjunction_owned(filter.predicate.clone()) {
            if !domain.is_read_by(&condition)? {
                rest.push(condition);
            }
        }
        let mut plan = filter.input.as_ref().clone();
        if let Some(condition) = conjunction(rest) {
            plan = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plan))?);
        }
        let mut exprs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        exprs.extend(own.iter().zip(&domain.names).map(|(expr, name)| expr.clone().alias(name)));
        let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?);
        Keyed::found_in(plan, &domain.names)
    }

    fn push_aggregate(&mut self, node: &Aggregate, domain: &Domain) -> Result<Keyed> {
        if node.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            return Err(unsupported("GROUPING SETS in a correlated subquery"));
        }
        let input = self.push(&node.input, domain)?;
        let mut groups: Vec<Expr> = input.key_exprs().collect();
        let own: Vec<Expr> = grouping_set_to_exprlist(&node.group_expr)?.into_iter().cloned().collect();
        for group in inward(&own, domain, &input.keys)? {
            // A key once more would have no column of its own.
            groups.push(if groups.contains(&group) { group.alias(format!("again{HIDDEN}{}", groups.len())) } else { group });
        }
        let calls = inward(&node.aggr_expr, domain, &input.keys)?;
        let first = input.keys.len();
        let aggregate = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input.plan), groups, calls)?);
        let keyed = Keyed { plan: renamed(aggregate, &node.schema, first, &input.keys)?, keys: input.keys };
        if node.group_expr.is_empty() { self.with_empty_groups(node, keyed, domain) } else { Ok(keyed) }
    }

    /// An aggregate without GROUP BY gives a row for no rows too.
    fn with_empty_groups(&mut self, node: &Aggregate, found: Keyed, domain: &Domain) -> Result<Keyed> {
        let values = self.values_of(domain)?;
        let alias = format!("found{HIDDEN}{}", self.number());
        let right = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(found.plan), alias.clone())?);
        let right = Keyed::found_in(right, &domain.names)?;
        let pairs = same(values.key_exprs().zip(right.key_exprs()).collect(), values.plan.schema())?;
        let mut exprs = Vec::new();
        for ((qualifier, field), call) in node.schema.iter().zip(&node.aggr_expr) {
            let column = Expr::Column(Column::new(Some(alias.clone()), field.name()));
            let value = match default_of(call, field.data_type())? {
                Some(default) => {
                    let found = column.clone().is_not_null();
                    Expr::Case(Case::new(None, vec![(Box::new(found), Box::new(column))], Some(Box::new(lit(default)))))
                }
                None => column,
            };
            exprs.push(named(value, qualifier, field.name()));
        }
        exprs.extend(values.key_exprs());
        let joined = join(values.plan, right.plan, pairs, JoinType::Left)?;
        Ok(Keyed { plan: LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(joined))?), keys: values.keys })
    }

    /// LIMIT counts the rows of each value by themselves.
    fn push_limit(&mut self, limit: &Limit, domain: &Domain) -> Result<Keyed> {
        let (order, above, input) = ordered(&limit.input);
        if order.is_empty() && has_order_below(input) {
            return Err(unsupported("LIMIT in a correlated subquery over rows that were ordered further in"));
        }
        let Keyed { plan, keys } = self.push(input, domain)?;
        let mut number = WindowFunction::new(row_number_udwf(), Vec::new());
        number.params.partition_by = keys.iter().cloned().map(Expr::Column).collect();
        number.params.order_by = sort_keys(order, domain, &keys)?;
        number.params.window_frame = WindowFrame::new((!number.params.order_by.is_empty()).then_some(false));
        let wanted = Arc::clone(plan.schema());
        let window = LogicalPlan::Window(Window::try_new(vec![number.into()], Arc::new(plan))?);
        let place = window.schema().columns().pop().ok_or_else(|| lost("a row number"))?;
        let plan = match between(limit, &Expr::Column(place))? {
            Some(condition) => LogicalPlan::Filter(Filter::try_new(condition, Arc::new(window))?),
            None => window,
        };
        let keyed = Keyed { plan: only(plan, &wanted)?, keys };
        match above {
            Some(node) => project(&node.expr, &node.schema, keyed, domain),
            None => Ok(keyed),
        }
    }

    fn push_distinct_on(&mut self, node: &DistinctOn, domain: &Domain) -> Result<Keyed> {
        let input = self.push(&node.input, domain)?;
        let mut on: Vec<Expr> = input.key_exprs().collect();
        for expr in inward(&node.on_expr, domain, &input.keys)? {
            if !on.contains(&expr) {
                on.push(expr);
            }
        }
        let mut sort: Vec<SortExpr> = input.key_exprs().map(|key| key.sort(true, false)).collect();
        let own = sort_keys(node.sort_expr.as_deref().unwrap_or_default(), domain, &input.keys)?;
        // Without an order of its own any row of the group will do.
        let sort = (!own.is_empty()).then(|| {
            sort.extend(own);
            without_repetitions(sort)
        });
        let mut select: Vec<Expr> = inward(&node.select_expr, domain, &input.keys)?;
        for (expr, (qualifier, field)) in select.iter_mut().zip(node.schema.iter()) {
            *expr = named(std::mem::replace(expr, lit(ScalarValue::Null)), qualifier, field.name());
        }
        select.extend(input.key_exprs());
        let plan = DistinctOn::try_new(on, select, sort, Arc::new(input.plan))?;
        Keyed::found_in(LogicalPlan::Distinct(Distinct::On(plan)), &domain.names)
    }

    fn push_window(&mut self, node: &Window, domain: &Domain) -> Result<Keyed> {
        let before = node.input.schema().fields().len();
        let Keyed { plan, keys } = self.push(&node.input, domain)?;
        let mut calls = inward(&node.window_expr, domain, &keys)?;
        for call in &mut calls {
            let mut inner = &mut *call;
            while let Expr::Alias(alias) = inner {
                inner = alias.expr.as_mut();
            }
            let Expr::WindowFunction(function) = inner else { return Err(lost("a window function")) };
            function.params.partition_by.extend(keys.iter().cloned().map(Expr::Column));
        }
        let inputs = plan.schema().fields().len();
        let window = LogicalPlan::Window(Window::try_new(calls, Arc::new(plan))?);
        Ok(Keyed { plan: window_outputs(window, &node.schema, (before, inputs), &keys)?, keys })
    }

    fn push_union(&mut self, node: &Union, domain: &Domain) -> Result<Keyed> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            let Keyed { plan, keys } = self.push(input, domain)?;
            let mut exprs: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
            exprs.extend(keys.into_iter().zip(&domain.names).map(|(key, name)| Expr::Column(key).alias(name)));
            inputs.push(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?)));
        }
        let union = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);
        let keys: Vec<Column> = union.schema().columns().split_off(node.schema.fields().len());
        Ok(Keyed { plan: renamed(union, &node.schema, 0, &keys)?, keys })
    }

    /// Each row is a projection of the domain.
    fn push_values(&mut self, node: &Values, domain: &Domain) -> Result<Keyed> {
        let mut inputs = Vec::with_capacity(node.values.len());
        for row in &node.values {
            let values = self.values_of(domain)?;
            let mut exprs = Vec::with_capacity(row.len() + values.keys.len());
            for (expr, (_, field)) in row.iter().zip(node.schema.iter()) {
                exprs.push(domain.inward(expr.clone(), &values.keys)?.alias(field.name()));
            }
            exprs.extend(values.key_exprs().zip(&domain.names).map(|(key, name)| key.alias(name)));
            inputs.push(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(values.plan))?)));
        }
        let plan = match inputs.as_slice() {
            [single] => single.as_ref().clone(),
            _ => LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?),
        };
        let keys: Vec<Column> = plan.schema().columns().split_off(node.schema.fields().len());
        Ok(Keyed { plan: renamed(plan, &node.schema, 0, &keys)?, keys })
    }

    fn push_join(&mut self, node: &Join, domain: &Domain) -> Result<Keyed> {
        let (left_reads, right_reads) = (domain.is_read_in(&node.left)?, domain.is_read_in(&node.right)?);
        let mut condition_reads = false;
        for expr in node.on.iter().flat_map(|(left, right)| [left, right]).chain(&node.filter) {
            condition_reads |= domain.is_read_by(expr)?;
        }
        let keeps_left = matches!(node.join_type, JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark);
        if !keeps_left && node.join_type != JoinType::Inner {
            return Err(unsupported("an outer reference below a RIGHT or FULL JOIN"));
        }
        let is_inner = node.join_type == JoinType::Inner;
        let (left, right) = if right_reads && !left_reads && is_inner {
            (None, Some(self.push(&node.right, domain)?))
        } else if !right_reads && (is_inner || !condition_reads) {
            (Some(self.push(&node.left, domain)?), None)
        } else {
            (Some(self.push(&node.left, domain)?), Some(self.push(&node.right, domain)?))
        };
        let mut pairs = node.on.clone();
        if let (Some(left), Some(right)) = (&left, &right) {
            pairs.extend(same(left.key_exprs().zip(right.key_exprs()).collect(), left.plan.schema())?);
        }
        let keys = left.as_ref().or(right.as_ref()).map(|keyed| keyed.keys.clone()).unwrap_or_default();
        let plan_of = |keyed: Option<Keyed>, plain: &LogicalPlan| Arc::new(keyed.map_or_else(|| plain.clone(), |keyed| keyed.plan));
        let mut join = node.clone();
        join.left = plan_of(left, &node.left);
        join.right = plan_of(right, &node.right);
        join.on = Vec::with_capacity(pairs.len());
        for (own, other) in pairs {
            join.on.push((domain.inward(own, &keys)?, domain.inward(other, &keys)?));
        }
        join.filter = node.filter.clone().map(|filter| domain.inward(filter, &keys)).transpose()?;
        let joined = LogicalPlan::Join(join).recompute_schema()?;
        Ok(Keyed { plan: exact(joined, &node.schema, &keys)?, keys })
    }
}

/// A join on equal values.
pub(super) fn join(left: LogicalPlan, right: LogicalPlan, on: Vec<(Expr, Expr)>, join_type: JoinType) -> Result<LogicalPlan> {
    let (left, right) = (Arc::new(left), Arc::new(right));
    let nulls = NullEquality::NullEqualsNothing;
    Ok(LogicalPlan::Join(Join::try_new(left, right, on, None, join_type, JoinConstraint::On, nulls, false)?))
}

/// The outputs of a window node under the names of `wanted`: `before` columns of its input, of which there are `inputs` now,
/// then the calls.
pub(super) fn window_outputs(
    window: LogicalPlan,
    wanted: &DFSchema,
    (before, inputs): (usize, usize),
    keys: &[Column],
) -> Result<LogicalPlan> {
    let columns = window.schema().columns();
    let mut exprs: Vec<Expr> = wanted.columns().into_iter().take(before).map(Expr::Column).collect();
    for ((qualifier, field), column) in wanted.iter().skip(before).zip(columns.into_iter().skip(inputs)) {
        exprs.push(named(Expr::Column(column), qualifier, field.name()));
    }
    exprs.extend(keys.iter().cloned().map(Expr::Column));
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(window))?))
}

/// Exactly the columns of `wanted` and the keys.
fn exact(plan: LogicalPlan, wanted: &DFSchema, keys: &[Column]) -> Result<LogicalPlan> {
    if plan.schema().fields().len() == wanted.fields().len() + keys.len() {
        return Ok(plan);
    }
    let exprs = wanted.columns().iter().chain(keys).cloned().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}

fn project(exprs: &[Expr], schema: &DFSchema, input: Keyed, domain: &Domain) -> Result<Keyed> {
    let mut outputs = Vec::with_capacity(exprs.len() + input.keys.len());
    for (expr, (qualifier, field)) in inward(exprs, domain, &input.keys)?.into_iter().zip(schema.iter()) {
        outputs.push(named(expr, qualifier, field.name()));
    }
    outputs.extend(input.key_exprs());
    Ok(Keyed { plan: LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(input.plan))?), keys: input.keys })
}

fn inward(exprs: &[Expr], domain: &Domain, keys: &[Column]) -> Result<Vec<Expr>> {
    exprs.iter().cloned().map(|expr| domain.inward(expr, keys)).collect()
}

fn sort_keys(exprs: &[SortExpr], domain: &Domain, keys: &[Column]) -> Result<Vec<SortExpr>> {
    exprs.iter().cloned().map(|sort| Ok(SortExpr { expr: domain.inward(sort.expr, keys)?, ..sort })).collect()
}

/// The order of the rows that LIMIT counts, what is computed of them afterwards, and the rows.
fn ordered(input: &LogicalPlan) -> (&[SortExpr], Option<&Projection>, &LogicalPlan) {
    match input {
        LogicalPlan::Sort(sort) => (&sort.expr, None, &sort.input),
        LogicalPlan::Projection(projection) => match projection.input.as_ref() {
            LogicalPlan::Sort(sort) if !projection.expr.iter().any(has_subquery) => (&sort.expr, Some(projection), &sort.input),
            _ => (&[], None, input),
        },
        _ => (&[], None, input),
    }
}

/// Whether rows come in an order that a row number without an order of its own would lose: of a sort or of the parts of a list.
fn has_order_below(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) | LogicalPlan::Union(_) => true,
        LogicalPlan::Projection(node) => has_order_below(&node.input),
        LogicalPlan::SubqueryAlias(node) => has_order_below(&node.input),
        LogicalPlan::Filter(node) => has_order_below(&node.input),
        LogicalPlan::Limit(node) => has_order_below(&node.input),
        _ => false,
    }
}

/// The condition on a row's number, from 1.
fn between(limit: &Limit, number: &Expr) -> Result<Option<Expr>> {
    let count = |rows: usize| Expr::Literal(ScalarValue::UInt64(Some(rows as u64)), None);
    let as_count = |expr: &Expr| Expr::Cast(datafusion::logical_expr::Cast::new(Box::new(expr.clone()), DataType::UInt64));
    let skip = match limit.get_skip_type()? {
        SkipType::Literal(0) => None,
        SkipType::Literal(rows) => Some(count(rows)),
        SkipType::UnsupportedExpr => limit.skip.as_deref().map(as_count),
    };
    let fetch = match limit.get_fetch_type()? {
        FetchType::Literal(None) => None,
        FetchType::Literal(Some(rows)) => Some(count(rows)),
        FetchType::UnsupportedExpr => limit.fetch.as_deref().map(as_count),
    };
    let last = fetch.map(|fetch| match &skip {
        Some(skip) => fetch + skip.clone(),
        None => fetch,
    });
    let conditions = [skip.map(|skip| number.clone().gt(skip)), last.map(|last| number.clone().lt_eq(last))];
    Ok(conjunction(conditions.into_iter().flatten()))
}

/// What an aggregate gives for no rows, unless that is NULL.
fn default_of(call: &Expr, data_type: &DataType) -> Result<Option<ScalarValue>> {
    let mut inner = call;
    while let Expr::Alias(alias) = inner {
        inner = &alias.expr;
    }
    match inner {
        Expr::AggregateFunction(call) => Ok(Some(call.func.default_value(data_type)?).filter(|value| !value.is_null())),
        _ => Err(unsupported("this aggregate in a correlated subquery")),
    }
}
