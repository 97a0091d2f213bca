//! Aggregations whose group keys compare differently from their carriers: grouped by typed keys, shown by a group's first row.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Case, Cast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, AggregateUDF, Expr, GroupingSet, LogicalPlan, Projection};

use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::HIDDEN;

use super::super::aggregates::{Kind, TypedAggregate};
use super::super::dependencies::is_determined;
use super::super::floats;
use super::super::key;
use super::super::operators::plain;
use super::super::subqueries::refuse_aggregates_of_outer_queries;
use super::super::typed::Typed;
use super::{Resolver, Scope};

impl Resolver<'_> {
    /// Resolves an aggregation. A group key whose carrier has another equality is grouped by its typed key; the value shown
    /// is that of the group's first row.
    pub(super) fn aggregate_node(&self, aggregate: Aggregate, scope: &Scope<'_>) -> Result<LogicalPlan> {
        refuse_aggregates_of_outer_queries(&aggregate.aggr_expr, &scope.schema)?;
        let resolve = |expr: Expr| -> Result<Expr> {
            let names = NamePreserver::new_for_projection();
            let name = names.save(&expr);
            Ok(name.restore(self.expression(expr, scope)?))
        };
        let groups = aggregate.group_expr.into_iter().map(|group| members(group, resolve)).collect::<Result<Vec<_>>>()?;
        let calls = aggregate.aggr_expr.into_iter().map(resolve).collect::<Result<Vec<_>>>()?;
        let calls = self.beside_each_other(calls, scope)?;
        let shown: Vec<Expr> = grouping_set_to_exprlist(&groups)?.into_iter().cloned().collect();
        let is_set = matches!(groups.as_slice(), [Expr::GroupingSet(_)]);
        // The schema has a repeated expression once, and the optimiser finds expressions by their places in the schema.
        let groups = if is_set { groups } else { shown.clone() };
        let all: Vec<&Expr> = shown.iter().collect();
        let keys = shown
            .iter()
            .map(|group| {
                match self.is_without_key(group, scope)? && !is_set && is_determined(group, &all, aggregate.input.schema()) {
                    true => Ok(Key::Determined),
                    false => Ok(match self.group_key(group, scope)? {
                        Some(key) => Key::Typed(key),
                        // Members of sets are compared as they are written, and two may become one when they are simplified.
                        None if is_set && !matches!(group, Expr::Column(_)) => Key::Computed,
                        None => Key::Itself,
                    }),
                }
            })
            .collect::<Result<Vec<_>>>()?;
        if keys.iter().all(|key| matches!(key, Key::Itself)) {
            return Ok(LogicalPlan::Aggregate(Aggregate::try_new(aggregate.input, groups, calls)?));
        }
        let plain = Aggregate::try_new(Arc::clone(&aggregate.input), groups.clone(), calls.clone())?;
        let (mut calls, mut outputs) = (calls, Vec::with_capacity(plain.schema.fields().len()));
        for (index, (group, key)) in shown.iter().zip(&keys).enumerate() {
            let (qualifier, field) = plain.schema.qualified_field(index);
            if matches!(key, Key::Itself) {
                outputs.push(Expr::Column(Column::from((qualifier, field))));
                continue;
            }
            let (first, key_name) = (format!("first{HIDDEN}{index}"), key_name(index));
            if matches!(key, Key::Computed) {
                outputs.push(Expr::Column(Column::from_name(key_name)).alias_qualified(qualifier.cloned(), field.name()));
                continue;
            }
            let typed = scope.type_of(group)?;
            calls.push(first_value(group.clone().unalias(), &typed).alias(first.clone()));
            // The first value of a group is a plain column again, with the column's own modifier.
            let target = typed.field("", field.data_type().clone());
            let value = Expr::Cast(Cast::new_from_field(Box::new(Expr::Column(Column::from_name(first))), target));
            // Rows of a set that leaves the key out have NULL for it, as rows whose value is NULL.
            let value = if is_set { unless_null(Expr::Column(Column::from_name(key_name)), value) } else { value };
            outputs.push(value.alias_qualified(qualifier.cloned(), field.name()));
        }
        outputs.extend(plain.schema.iter().skip(shown.len()).map(|column| Expr::Column(Column::from(column))));
        let (input, groups) =
            if is_set { below(aggregate.input, groups, &shown, keys)? } else { (aggregate.input, keyed(&shown, keys)) };
        let keyed = LogicalPlan::Aggregate(Aggregate::try_new(input, groups, calls)?);
        Ok(LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(keyed))?))
    }

    /// Whether rows cannot be grouped by an expression, because its type has no equality.
    fn is_without_key(&self, group: &Expr, scope: &Scope<'_>) -> Result<bool> {
        let typed = scope.type_of(&group.clone().unalias())?;
        Ok(!typed.is_unknown() && !key::has_equality(typed.pg_type))
    }

    pub(super) fn group_key(&self, group: &Expr, scope: &Scope<'_>) -> Result<Option<Expr>> {
        let inner = group.clone().unalias();
        let typed = scope.type_of(&inner)?;
        if typed.is_unknown() || floats::is_key(&inner) {
            return Ok(None);
        }
        if !key::has_equality(typed.pg_type) {
            let message = format!("could not identify an equality operator for type {}", plain(&typed));
            return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, message).into());
        }
        let is_keyed = key::is_needed_to_tell_apart(&typed, &scope.carrier_of(&inner)?);
        if is_keyed { key::call(inner, &typed).map(Some) } else { Ok(None) }
    }
}

/// Applies a function to the expressions of a group, also to those inside grouping sets.
fn members(group: Expr, mut apply: impl FnMut(Expr) -> Result<Expr>) -> Result<Expr> {
    let sets = match group {
        Expr::GroupingSet(sets) => sets,
        other => return apply(other),
    };
    Ok(Expr::GroupingSet(match sets {
        GroupingSet::Rollup(exprs) => GroupingSet::Rollup(exprs.into_iter().map(apply).collect::<Result<_>>()?),
        GroupingSet::Cube(exprs) => GroupingSet::Cube(exprs.into_iter().map(apply).collect::<Result<_>>()?),
        GroupingSet::GroupingSets(sets) => {
            let sets = sets.into_iter().map(|set| set.into_iter().map(&mut apply).collect::<Result<Vec<_>>>());
            GroupingSet::GroupingSets(sets.collect::<Result<_>>()?)
        }
    }))
}

/// How rows are told apart by an expression of GROUP BY.
enum Key {
    /// By its carrier.
    Itself,
    /// By its typed key.
    Typed(Expr),
    /// By its carrier, as a column of its own.
    Computed,
    /// Not at all: the other expressions determine it.
    Determined,
}

/// The name of the key of an expression, which no column of a client has.
fn key_name(index: usize) -> String {
    format!("key{HIDDEN}{index}")
}

fn keyed(shown: &[Expr], keys: Vec<Key>) -> Vec<Expr> {
    let groups = shown.iter().zip(keys).enumerate();
    groups
        .filter_map(|(index, (group, key))| match key {
            Key::Itself | Key::Computed => Some(group.clone()),
            Key::Typed(key) => Some(key.alias(key_name(index))),
            Key::Determined => None,
        })
        .collect()
}

/// Keys as columns of a projection below, because a set names its expressions again and again.
fn below(input: Arc<LogicalPlan>, groups: Vec<Expr>, shown: &[Expr], keys: Vec<Key>) -> Result<(Arc<LogicalPlan>, Vec<Expr>)> {
    let mut columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let mut replaced: Vec<(&Expr, Expr)> = Vec::new();
    for (index, (group, key)) in shown.iter().zip(keys).enumerate() {
        let key = match key {
            Key::Typed(key) => key,
            Key::Computed => group.clone().unalias(),
            Key::Itself | Key::Determined => continue,
        };
        let name = key_name(index);
        columns.push(key.alias(name.clone()));
        replaced.push((group, Expr::Column(Column::from_name(name))));
    }
    let key_of = |expr: Expr| {
        let found = replaced.iter().find(|(group, _)| **group == expr).map(|(_, key)| key.clone());
        Ok(found.unwrap_or(expr))
    };
    let groups = groups.into_iter().map(|group| members(group, key_of)).collect::<Result<Vec<_>>>()?;
    Ok((Arc::new(LogicalPlan::Projection(Projection::try_new(columns, input)?)), groups))
}

/// `CASE WHEN key IS NOT NULL THEN value END`: without an ELSE, whose type the engine would decide again.
fn unless_null(key: Expr, value: Expr) -> Expr {
    Expr::Case(Case::new(None, vec![(Box::new(key.is_not_null()), Box::new(value))], None))
}

fn first_value(expr: Expr, typed: &Typed) -> Expr {
    let function = if floats::is_float(typed.pg_type) {
        // The engine's own keeps an accumulator for each group, which costs too much where all values differ.
        let typed = typed.without_modifier();
        Arc::new(AggregateUDF::new_from_impl(TypedAggregate::new(Kind::First, typed.clone(), typed, false)))
    } else {
        first_value_udaf()
    };
    Expr::AggregateFunction(AggregateFunction::new_udf(function, vec![expr], false, None, Vec::new(), None))
}
