//! `WITH RECURSIVE`: the non-recursive term decides the types of the columns, which the working table then has.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Alias, Cast};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection, RecursiveQuery};

use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::visible;
use crate::pgtype::PgType;

use super::super::overload::common_type;
use super::super::typed::Typed;
use super::super::types::plan_schema;
use super::super::{floats, key};
use super::convert::{Asked, Operand};
use super::node::{project, uncast};
use super::{Resolver, Scope};

impl Resolver<'_> {
    pub(super) fn recursive(&self, query: RecursiveQuery, outer: &[DFSchema]) -> Result<LogicalPlan> {
        let RecursiveQuery { name, static_term, recursive_term, is_distinct, schema } = query;
        let static_term = self.with_texts(self.plan(Arc::unwrap_or_clone(static_term), outer)?, outer)?;
        let types = plan_schema(&static_term)?;
        let mut fields = Vec::with_capacity(types.fields().len());
        for ((qualifier, planned), found) in schema.iter().zip(types.fields()) {
            let typed = Typed::of_field(found);
            let typed = if typed.is_unknown() { PgType::TEXT.into() } else { typed };
            // Each round may give values of another scale.
            let is_free = typed.pg_type.oid == PgType::NUMERIC.oid && typed.pg_type.typmod == -1;
            let carrier = if is_free { typed.pg_type.carrier() } else { found.data_type().clone() };
            if is_distinct && !floats::is_float(typed.pg_type) && key::is_needed_to_tell_apart(&typed, &carrier) {
                let message = format!("UNION of values of type {} in WITH RECURSIVE is not supported", typed.pg_type);
                return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
                    .with_hint("Cast the column to another type, or use UNION ALL.")
                    .into());
            }
            fields.push((qualifier.cloned(), typed.field(planned.name(), carrier)));
        }
        let columns: Vec<FieldRef> = fields.iter().map(|(_, field)| Arc::clone(field)).collect();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, schema.metadata().clone())?);
        let recursive_term = reading(Arc::unwrap_or_clone(recursive_term), &name, &Arc::new(Schema::new(columns)))?;
        let recursive_term = self.plan(without_casts(recursive_term)?, outer)?;
        for (place, (first, next)) in schema.fields().iter().zip(plan_schema(&recursive_term)?.fields()).enumerate() {
            overall(visible(&name), place + 1, &Typed::of_field(first), &Typed::of_field(next))?;
        }
        let static_term = self.aligned(Arc::new(static_term), &schema, outer)?;
        let recursive_term = self.aligned(Arc::new(recursive_term), &schema, outer)?;
        Ok(LogicalPlan::RecursiveQuery(RecursiveQuery { name, static_term, recursive_term, is_distinct, schema }))
    }

    /// A term whose untyped literals are text, also below projections that give them other names. A column of no type would be
    /// marked on one side of the optimizer's work and not on the other.
    fn with_texts(&self, term: LogicalPlan, outer: &[DFSchema]) -> Result<LogicalPlan> {
        let LogicalPlan::Projection(Projection { expr, input, .. }) = term else { return Ok(term) };
        let input = self.with_texts(Arc::unwrap_or_clone(input), outer)?;
        let scope = Scope { schema: plan_schema(&input)?, outer };
        let settled = expr.into_iter().map(|expr| {
            let name = expr.schema_name().to_string();
            match expr {
                Expr::Alias(alias) if matches!(*alias.expr, Expr::Literal(_, None)) => {
                    Ok(Expr::Alias(Alias { expr: Box::new(self.text(*alias.expr, &scope)?), ..alias }))
                }
                literal @ Expr::Literal(_, None) => Ok(self.text(literal, &scope)?.alias(name)),
                other => Ok(other),
            }
        });
        Ok(LogicalPlan::Projection(Projection::try_new(settled.collect::<Result<Vec<_>>>()?, Arc::new(input))?))
    }

    /// An untyped literal as text; others as they are.
    fn text(&self, literal: Expr, scope: &Scope<'_>) -> Result<Expr> {
        let operand = self.operand(literal, scope)?;
        if !operand.typed.is_unknown() {
            return Ok(operand.expr);
        }
        self.convert(operand, &PgType::TEXT.into(), Asked::Implicitly, scope)
    }

    fn aligned(&self, term: Arc<LogicalPlan>, wanted: &DFSchema, outer: &[DFSchema]) -> Result<Arc<LogicalPlan>> {
        let schema = plan_schema(&term)?;
        let scope = Scope { schema: schema.clone(), outer };
        let mut exprs = Vec::with_capacity(schema.fields().len());
        for ((place, (qualifier, field)), wanted) in schema.iter().enumerate().zip(wanted.fields()) {
            let column = Expr::Column(Column::from((qualifier, field)));
            let (from, to) = (Typed::of_field(field), Typed::of_field(wanted));
            let is_same = from.pg_type.oid == to.pg_type.oid || from.is_unknown();
            if field.data_type() == wanted.data_type() && is_same {
                // What a store says of its column is not true of the other term.
                let told = term.schema().fields().get(place);
                exprs.push(match told {
                    Some(told) if told.metadata() != wanted.metadata() => {
                        let target = wanted.as_ref().clone().with_nullable(told.is_nullable());
                        Expr::Cast(Cast::new_from_field(Box::new(column), Arc::new(target)))
                    }
                    _ => column,
                });
                continue;
            }
            let expr = if from.pg_type == to.pg_type && to.pg_type.oid == PgType::NUMERIC.oid {
                super::convert::widen(column, &scope)?
            } else {
                self.convert(Operand { expr: column, typed: from }, &to, Asked::Implicitly, &scope)?
            };
            let carrier = scope.carrier_of(&expr)?;
            exprs.push(if carrier == *wanted.data_type() {
                expr
            } else if to.pg_type.oid == PgType::NUMERIC.oid && to.pg_type.typmod == -1 {
                super::convert::widen(expr, &scope)?
            } else {
                Expr::Cast(Cast::new(Box::new(expr), wanted.data_type().clone()))
            });
        }
        Ok(Arc::new(project(term, exprs)?))
    }
}

/// The recursive term over a working table of those columns.
fn reading(term: LogicalPlan, name: &str, columns: &Arc<Schema>) -> Result<LogicalPlan> {
    let source = provider_as_source(Arc::new(CteWorkTable::new(name, Arc::clone(columns))));
    let replaced = term.transform_down_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
        let is_own = source_as_provider(&scan.source)
            .is_ok_and(|provider| provider.downcast_ref::<CteWorkTable>().is_some_and(|table| table.name() == name));
        if !is_own {
            return Ok(Transformed::no(node));
        }
        let scan = LogicalPlanBuilder::scan(scan.table_name.clone(), Arc::clone(&source), scan.projection.clone())?;
        Ok(Transformed::yes(scan.build()?))
    })?;
    Ok(replaced.data)
}

/// The planner casts the columns of the recursive term to types that it guessed.
fn without_casts(term: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Projection(Projection { expr, input, .. }) = term else { return Ok(term) };
    let bare = |expr| match expr {
        Expr::Alias(alias) => Expr::Alias(Alias { expr: Box::new(uncast(*alias.expr)), ..alias }),
        other => uncast(other),
    };
    Ok(LogicalPlan::Projection(Projection::try_new(expr.into_iter().map(bare).collect(), input)?))
}

/// What both terms together are must be what the first is.
fn overall(name: &str, place: usize, first: &Typed, next: &Typed) -> Result<(), Diagnosis> {
    let all = common_type(&[first.clone(), next.clone()]).map_err(|mismatch| mismatch.told("UNION"))?.pg_type;
    let low = first.pg_type;
    if all == low {
        return Ok(());
    }
    let message = format!("recursive query \"{name}\" column {place} has type {low} in non-recursive term but type {all} overall");
    Err(Diagnosis::new(sqlstate::DATATYPE_MISMATCH, message)
        .with_hint("Cast the output of the non-recursive term to the correct type."))
}
