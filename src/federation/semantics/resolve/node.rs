//! One plan node over resolved inputs: conditions, sort and group keys, join keys, set operations.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, Filter, Join, LogicalPlan, Projection, Sort, SortExpr, Union, Values,
};

use super::super::typed::Typed;
use super::super::types::schema_after;
use super::aggregate::without_repetitions;
use super::convert::{Asked, Operand};
use super::{Resolver, Scope};

impl Resolver<'_> {
    pub(super) fn node(&self, plan: LogicalPlan, inputs: Vec<DFSchema>, outer: &[DFSchema]) -> Result<LogicalPlan> {
        let scope = self.scope(&inputs, outer)?;
        match plan {
            LogicalPlan::Filter(filter) => self.filter(filter, &scope),
            LogicalPlan::Sort(sort) => self.sort(sort, &scope),
            LogicalPlan::Aggregate(aggregate) => self.aggregate_node(aggregate, &scope),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input, &scope),
            LogicalPlan::Distinct(Distinct::On(on)) => self.distinct_on(on, &scope),
            LogicalPlan::Join(join) => self.join(join, &scope),
            LogicalPlan::Union(union) => self.union(union, &inputs, outer),
            LogicalPlan::Window(window) => match self.plain_node(LogicalPlan::Window(window), &scope)? {
                LogicalPlan::Window(window) => self.window_outputs(window),
                other => Ok(other),
            },
            LogicalPlan::Values(values) => self.values(values, outer),
            // The calls of a set node have names beside them, so they need no aliases to keep theirs.
            LogicalPlan::Extension(node) => {
                let calls = |expr| Ok(Transformed::yes(self.expression(expr, &scope)?));
                Ok(LogicalPlan::Extension(node).map_expressions(calls)?.data)
            }
            other => self.plain_node(other, &scope),
        }
    }

    fn plain_node(&self, plan: LogicalPlan, scope: &Scope<'_>) -> Result<LogicalPlan> {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(Transformed::yes(name.restore(self.expression(expr, scope)?)))
        })?
        .data
        .recompute_schema()
    }

    fn filter(&self, filter: Filter, scope: &Scope<'_>) -> Result<LogicalPlan> {
        let predicate = self.expression(filter.predicate, scope)?;
        let predicate = self.boolean(predicate, "WHERE", scope)?;
        Ok(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?))
    }

    fn sort(&self, sort: Sort, scope: &Scope<'_>) -> Result<LogicalPlan> {
        let expr = self.sort_keys(sort.expr, scope)?;
        Ok(LogicalPlan::Sort(Sort { expr, ..sort }))
    }

    /// Resolves sort expressions and orders each by its typed key.
    pub(super) fn sort_keys(&self, keys: Vec<SortExpr>, scope: &Scope<'_>) -> Result<Vec<SortExpr>> {
        keys.into_iter()
            .map(|sort| {
                let expr = self.keyed(self.expression(sort.expr, scope)?, scope)?;
                Ok(SortExpr { expr, ..sort })
            })
            .collect()
    }

    fn distinct(&self, input: Arc<LogicalPlan>, scope: &Scope<'_>) -> Result<LogicalPlan> {
        let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        let keyed = columns.iter().map(|column| self.group_key(column, scope)).collect::<Result<Vec<_>>>()?;
        if keyed.iter().all(Option::is_none) {
            return Ok(LogicalPlan::Distinct(Distinct::All(input)));
        }
        self.aggregate_node(Aggregate::try_new(input, columns, Vec::new())?, scope)
    }

    fn distinct_on(&self, on: DistinctOn, scope: &Scope<'_>) -> Result<LogicalPlan> {
        let names = NamePreserver::new_for_projection();
        let mut on_expr: Vec<Expr> = Vec::with_capacity(on.on_expr.len());
        for expr in on.on_expr {
            let key = self.keyed(self.expression(expr, scope)?, scope)?;
            if !on_expr.contains(&key) {
                on_expr.push(key);
            }
        }
        let select_expr = on
            .select_expr
            .into_iter()
            .map(|expr| {
                let name = names.save(&expr);
                Ok(name.restore(self.expression(expr, scope)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let sort_expr = on.sort_expr.map(|keys| self.sort_keys(keys, scope)).transpose()?.map(without_repetitions);
        Ok(LogicalPlan::Distinct(Distinct::On(DistinctOn::try_new(on_expr, select_expr, sort_expr, on.input)?)))
    }

    fn join(&self, mut join: Join, scope: &Scope<'_>) -> Result<LogicalPlan> {
        let on = std::mem::take(&mut join.on);
        for (left, right) in on {
            let left = self.operand(self.expression(left, scope)?, scope)?;
            let right = self.operand(self.expression(right, scope)?, scope)?;
            join.on.push(self.comparison("=", left, right, scope)?);
        }
        join.filter = match join.filter.take() {
            Some(filter) => {
                let filter = self.expression(filter, scope)?;
                Some(self.boolean(filter, "JOIN/ON", scope)?)
            }
            None => None,
        };
        LogicalPlan::Join(join).recompute_schema()
    }

    fn union(&self, union: Union, inputs: &[DFSchema], outer: &[DFSchema]) -> Result<LogicalPlan> {
        let width = inputs.iter().map(|input| input.fields().len()).min().unwrap_or(0);
        if inputs.iter().any(|input| input.fields().len() != width) {
            return LogicalPlan::Union(union).recompute_schema();
        }
        // A literal that stands alone in a branch is still untyped and takes the type of the other branches.
        let columns: Vec<Vec<Operand>> = union.inputs.iter().zip(inputs).map(|(plan, schema)| branch(plan, schema)).collect();
        let mut outputs: Vec<Vec<Expr>> = vec![Vec::with_capacity(width); inputs.len()];
        for index in 0..width {
            let operands = columns.iter().filter_map(|column| column.get(index).cloned()).collect();
            let converted = self.unify_branches(operands, "UNION", inputs, outer)?;
            for (output, expr) in outputs.iter_mut().zip(one_carrier(converted, inputs, outer)?) {
                output.push(expr);
            }
        }
        let plans = union
            .inputs
            .into_iter()
            .zip(outputs)
            .map(|(plan, exprs)| project(plan, exprs).map(Arc::new))
            .collect::<Result<Vec<_>>>()?;
        Ok(LogicalPlan::Union(Union::try_new_with_loose_types(plans)?))
    }

    /// One output column of every branch, each over its own branch's columns, and their type.
    pub(super) fn unify_branches(
        &self,
        operands: Vec<Operand>,
        what: &str,
        inputs: &[DFSchema],
        outer: &[DFSchema],
    ) -> Result<(Vec<Expr>, Typed)> {
        let types: Vec<Typed> = operands.iter().map(|operand| operand.typed.clone()).collect();
        let common = super::super::overload::common_type(&types).map_err(|mismatch| mismatch.told(what))?;
        let converted = operands.into_iter().zip(inputs).map(|(operand, input)| {
            let scope = Scope { schema: input.clone(), outer };
            self.convert(operand, &common, Asked::Implicitly, &scope)
        });
        Ok((converted.collect::<Result<_>>()?, common))
    }

    fn values(&self, values: Values, outer: &[DFSchema]) -> Result<LogicalPlan> {
        let scope = Scope { schema: DFSchema::empty(), outer };
        let width = values.schema.fields().len();
        let rows = values
            .values
            .into_iter()
            .map(|row| row.into_iter().map(|expr| self.expression(uncast(expr), &scope)).collect::<Result<Vec<_>>>())
            .collect::<Result<Vec<_>>>()?;
        let mut converted: Vec<Vec<Expr>> = vec![Vec::with_capacity(width); rows.len()];
        for index in 0..width {
            let operands = rows
                .iter()
                .filter_map(|row| row.get(index).cloned())
                .map(|expr| self.operand(expr, &scope))
                .collect::<Result<Vec<_>>>()?;
            let (exprs, _) = self.unify(operands, "VALUES", &scope)?;
            for (row, expr) in converted.iter_mut().zip(exprs) {
                row.push(expr);
            }
        }
        let mut fields = Vec::with_capacity(width);
        for (index, (qualifier, field)) in values.schema.iter().enumerate() {
            let carrier = match converted.first().and_then(|row| row.get(index)) {
                Some(expr) => scope.carrier_of(expr)?,
                None => field.data_type().clone(),
            };
            fields.push((qualifier.cloned(), Arc::new(field.as_ref().clone().with_data_type(carrier).with_nullable(true))));
        }
        let schema = DFSchema::new_with_metadata(fields, values.schema.metadata().clone())?;
        let plan = LogicalPlan::Values(Values { schema: Arc::new(schema), values: converted });
        // The types of the rows are marked on the node itself, because nothing above a leaf would.
        let marked = schema_after(&plan, &[])?;
        Ok(match plan {
            LogicalPlan::Values(values) => LogicalPlan::Values(Values { schema: Arc::new(marked), ..values }),
            other => other,
        })
    }
}

/// The values of one type in one carrier.
fn one_carrier((exprs, common): (Vec<Expr>, Typed), inputs: &[DFSchema], outer: &[DFSchema]) -> Result<Vec<Expr>> {
    let scopes: Vec<Scope<'_>> = inputs.iter().map(|input| Scope { schema: input.clone(), outer }).collect();
    let carriers = exprs.iter().zip(&scopes).map(|(expr, scope)| scope.carrier_of(expr)).collect::<Result<Vec<_>>>()?;
    let equalise = match common.pg_type.oid {
        _ if carriers.windows(2).all(|pair| pair[0] == pair[1]) => return Ok(exprs),
        1700 => super::convert::widen,
        114 => super::convert::as_json_text,
        _ => return Ok(exprs),
    };
    exprs.into_iter().zip(&scopes).map(|(expr, scope)| equalise(expr, scope)).collect()
}

/// The columns of a branch; a projected bare literal stays an untyped literal.
pub(super) fn branch(plan: &LogicalPlan, schema: &DFSchema) -> Vec<Operand> {
    // The planner gives sides whose columns are called alike names of their own.
    let mut plan = plan;
    loop {
        plan = match plan {
            LogicalPlan::SubqueryAlias(node) => &node.input,
            LogicalPlan::Limit(node) => &node.input,
            _ => break,
        };
    }
    let literal = |index: usize| match plan {
        LogicalPlan::Projection(projection) => match projection.expr.get(index).map(|expr| expr.clone().unalias()) {
            Some(expr @ (Expr::Literal(_, None) | Expr::Placeholder(_))) => Some(expr),
            _ => None,
        },
        _ => None,
    };
    schema
        .iter()
        .enumerate()
        .map(|(index, (qualifier, field))| {
            let column = Expr::Column(Column::from((qualifier, field)));
            match literal(index) {
                Some(expr) => {
                    let typed = super::super::types::expr_type(&expr, schema).unwrap_or_else(|_| Typed::of_field(field));
                    if typed.is_unknown() {
                        Operand { expr, typed }
                    } else {
                        Operand { expr: column, typed: Typed::of_field(field) }
                    }
                }
                None => Operand { expr: column, typed: Typed::of_field(field) },
            }
        })
        .collect()
}

/// A projection that keeps the names of the plan's columns; none when every expression is the column itself.
pub(super) fn project(plan: Arc<LogicalPlan>, exprs: Vec<Expr>) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let unchanged =
        exprs.iter().zip(schema.iter()).all(|(expr, column)| matches!(expr, Expr::Column(found) if *found == Column::from(column)));
    if unchanged {
        return Ok(Arc::unwrap_or_clone(plan));
    }
    let named = exprs
        .into_iter()
        .zip(schema.iter())
        .map(|(expr, (qualifier, field))| match expr {
            Expr::Column(_) => expr,
            other => other.alias_qualified(qualifier.cloned(), field.name()),
        })
        .collect();
    Ok(LogicalPlan::Projection(Projection::try_new(named, plan)?))
}

/// The planner casts the rows of VALUES to a type of its own choice; the literal itself is what the user wrote.
pub(super) fn uncast(expr: Expr) -> Expr {
    match expr {
        Expr::Cast(cast) if cast.field.metadata().is_empty() && cast.field.name() != super::super::sql_types::WRITTEN => *cast.expr,
        other => other,
    }
}
