//! The Postgres type of every expression and output column of a resolved plan: one pass, leaves from field metadata.
//!
//! Field metadata alone lies, because a type-only cast keeps it and `CASE` drops it, so each node's types are computed from
//! its expressions over the types of its inputs.
//!
//! **Invariant:** [`schema_after`] is the only place that says what a plan node does to types; `resolve` uses it too.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ExprSchema, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Placeholder, WindowFunctionDefinition};
use datafusion::logical_expr::{Aggregate, Distinct, Expr, ExprSchemable, JoinType, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;

use crate::pgtype::{PgType, TYPE_KEY};

use super::functions::Named;
use super::resolve::lazy;
use super::sets::{ProjectSet, is_set_call};
use super::typed::{Typed, TypedFunction};

/// The Postgres type of each output column of a resolved plan, in order. Literals that stayed untyped are `text`.
///
/// # Errors
/// An engine error when an expression does not fit its input, which analysis excludes.
pub fn output_types(plan: &LogicalPlan) -> Result<Vec<PgType>> {
    let schema = plan_schema(plan)?;
    Ok(schema.fields().iter().map(|field| known(Typed::of_field(field)).pg_type).collect())
}

/// The types of `$1`, `$2`, … that resolution found, by number; parameters without any use that tells are `text`.
///
/// # Errors
/// An engine error when the plan cannot be walked.
pub fn parameter_types(plan: &LogicalPlan) -> Result<BTreeMap<usize, PgType>> {
    let mut found = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        for expr in node.expressions() {
            expr.apply(|part| {
                if let Expr::Placeholder(Placeholder { id, field }) = part
                    && let Some(number) = id.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok())
                {
                    let typed = field.as_ref().map(|field| Typed::of_field(field));
                    let entry = found.entry(number).or_insert(PgType::UNKNOWN);
                    if *entry == PgType::UNKNOWN {
                        *entry = typed.map_or(PgType::UNKNOWN, |typed| typed.pg_type);
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found.into_iter().map(|(number, pg_type)| (number, known(pg_type.into()).pg_type)).collect())
}

fn known(typed: Typed) -> Typed {
    if typed.is_unknown() { PgType::TEXT.into() } else { typed }
}

/// The plan's schema with every field marked with its right type.
pub(super) fn plan_schema(plan: &LogicalPlan) -> Result<DFSchema> {
    let inputs = plan.inputs().into_iter().map(plan_schema).collect::<Result<Vec<_>>>()?;
    schema_after(plan, &inputs)
}

/// What one node makes of its inputs' types.
pub(in super::super) fn schema_after(plan: &LogicalPlan, inputs: &[DFSchema]) -> Result<DFSchema> {
    let Some(types) = node_types(plan, inputs)? else { return Ok(plan.schema().as_ref().clone()) };
    let schema = plan.schema();
    if types.len() != schema.fields().len() {
        return Ok(schema.as_ref().clone());
    }
    let fields: Vec<(Option<TableReference>, FieldRef)> =
        schema.iter().zip(types).map(|((qualifier, field), typed)| (qualifier.cloned(), marked(field, &typed))).collect();
    DFSchema::new_with_metadata(fields, schema.as_arrow().metadata().clone())
}

fn marked(field: &Field, typed: &Typed) -> FieldRef {
    let typed = known(typed.clone());
    let mark = typed.field(field.name(), field.data_type().clone());
    Arc::new(mark.as_ref().clone().with_nullable(field.is_nullable()))
}

fn node_types(plan: &LogicalPlan, inputs: &[DFSchema]) -> Result<Option<Vec<Typed>>> {
    let first = inputs.first();
    Ok(match (plan, first) {
        (LogicalPlan::Projection(node), Some(input)) => Some(types_of(&node.expr, input)?),
        (LogicalPlan::Aggregate(node), Some(input)) => aggregate_types(node, input)?,
        (LogicalPlan::Window(node), Some(input)) => {
            let mut types = field_types(input);
            types.extend(types_of(&node.window_expr, input)?);
            Some(types)
        }
        (LogicalPlan::Distinct(Distinct::On(node)), Some(input)) => Some(types_of(&node.select_expr, input)?),
        (LogicalPlan::Join(node), Some(left)) => {
            let right = inputs.get(1).map(field_types).unwrap_or_default();
            Some(match node.join_type {
                JoinType::LeftSemi | JoinType::LeftAnti => field_types(left),
                JoinType::RightSemi | JoinType::RightAnti => right,
                JoinType::LeftMark => field_types(left).into_iter().chain([PgType::BOOL.into()]).collect(),
                JoinType::RightMark => right.into_iter().chain([PgType::BOOL.into()]).collect(),
                _ => field_types(left).into_iter().chain(right).collect(),
            })
        }
        (LogicalPlan::Union(_), Some(_)) => Some(union_types(inputs)),
        (LogicalPlan::Values(node), _) => node
            .values
            .iter()
            .map(|row| types_of(row, &DFSchema::empty()))
            .reduce(|left, right| {
                Ok(left?.into_iter().zip(right?).map(|(left, right)| if left.is_unknown() { right } else { left }).collect())
            })
            .transpose()?,
        (
            LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Distinct(Distinct::All(_))
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::RecursiveQuery(_),
            Some(input),
        ) => Some(field_types(input)),
        (LogicalPlan::Extension(_), Some(input)) => match ProjectSet::of(plan) {
            Some(set) => Some(field_types(input).into_iter().chain(set.output_types(input)?).collect()),
            None => None,
        },
        _ => None,
    })
}

fn aggregate_types(node: &Aggregate, input: &DFSchema) -> Result<Option<Vec<Typed>>> {
    // A key that stands there twice gives one column.
    let groups = datafusion::logical_expr::utils::grouping_set_to_exprlist(&node.group_expr)?;
    let mut types = groups.into_iter().map(|expr| expr_type(expr, input)).collect::<Result<Vec<_>>>()?;
    if node.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
        // The engine adds its own grouping id between keys and aggregates.
        types.push(PgType::INT4.into());
    }
    types.extend(types_of(&node.aggr_expr, input)?);
    Ok(Some(types))
}

fn union_types(inputs: &[DFSchema]) -> Vec<Typed> {
    let mut types = inputs.first().map(field_types).unwrap_or_default();
    for input in inputs.iter().skip(1) {
        for (typed, other) in types.iter_mut().zip(field_types(input)) {
            if typed.is_unknown() {
                *typed = other;
            } else if typed.pg_type.typmod != other.pg_type.typmod {
                *typed = typed.without_modifier();
            }
        }
    }
    types
}

fn field_types(schema: &DFSchema) -> Vec<Typed> {
    schema.fields().iter().map(|field| Typed::of_field(field)).collect()
}

fn types_of(exprs: &[Expr], schema: &DFSchema) -> Result<Vec<Typed>> {
    exprs.iter().map(|expr| expr_type(expr, schema)).collect()
}

/// The type of one expression over a schema whose fields are rightly marked. Undecided literals and parameters are
/// `unknown`.
///
/// # Errors
/// An engine error when the expression does not fit the schema.
pub fn expr_type(expr: &Expr, schema: &DFSchema) -> Result<Typed> {
    Ok(match expr {
        Expr::Alias(alias) => expr_type(&alias.expr, schema)?,
        Expr::Column(column) => Typed::of_field(schema.field_from_column(column)?),
        Expr::OuterReferenceColumn(field, _) | Expr::ScalarVariable(field, _) => Typed::of_field(field),
        Expr::Literal(value, metadata) => match metadata.as_ref().filter(|metadata| metadata.inner().contains_key(TYPE_KEY)) {
            Some(metadata) => Typed::of_field(&metadata.add_to_field(Field::new("", value.data_type(), true))),
            None => literal_type(value),
        },
        Expr::Placeholder(placeholder) => match &placeholder.field {
            Some(field) => Typed::of_field(field),
            None => PgType::UNKNOWN.into(),
        },
        Expr::Cast(cast) => cast_type(&cast.field),
        Expr::TryCast(cast) => cast_type(&cast.field),
        Expr::Negative(inner) => expr_type(inner, schema)?.without_modifier(),
        Expr::BinaryExpr(binary) if is_arithmetic(binary.op) => engine_type(&expr.get_type(schema)?),
        Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => PgType::TEXT.into(),
        Expr::BinaryExpr(binary) if !is_condition(binary.op) => engine_type(&expr.get_type(schema)?),
        Expr::BinaryExpr(_) => PgType::BOOL.into(),
        Expr::Case(case) => {
            let branches = case.when_then_expr.iter().map(|(_, then)| then).chain(case.else_expr.iter());
            let common = first_known(branches.map(|branch| expr_type(branch, schema)))?;
            // A missing ELSE is a NULL without modifier.
            if case.else_expr.is_none() { common.without_modifier() } else { common }
        }
        Expr::ScalarFunction(call) => scalar_type(expr, &call.args, schema)?,
        Expr::AggregateFunction(call) => aggregate_type(expr, call.func.name(), &call.params.args, schema)?,
        Expr::WindowFunction(call) => {
            let name = match &call.fun {
                WindowFunctionDefinition::AggregateUDF(function) => function.name(),
                WindowFunctionDefinition::WindowUDF(function) => function.name(),
            };
            aggregate_type(expr, name, &call.params.args, schema)?
        }
        Expr::ScalarSubquery(subquery) => {
            let schema = plan_schema(&subquery.subquery)?;
            schema.fields().first().map_or(PgType::UNKNOWN.into(), |field| Typed::of_field(field))
        }
        Expr::Unnest(unnest) => {
            let list = expr_type(&unnest.expr, schema)?;
            match list.pg_type.element() {
                Some(element) if !is_set_call(&unnest.expr) => Typed { pg_type: element, labels: list.labels },
                _ => list,
            }
        }
        other => match lazy::known(other) {
            Some((typed, _)) => typed.clone(),
            None => Typed::of_field(other.to_field(schema)?.1.as_ref()),
        },
    })
}

fn is_arithmetic(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo)
}

fn is_condition(op: Operator) -> bool {
    !matches!(
        op,
        Operator::BitwiseAnd
            | Operator::BitwiseOr
            | Operator::BitwiseXor
            | Operator::BitwiseShiftLeft
            | Operator::BitwiseShiftRight
    )
}

/// The type of a literal that nothing marked.
fn literal_type(value: &ScalarValue) -> Typed {
    match value {
        ScalarValue::Null | ScalarValue::Utf8(_) | ScalarValue::Utf8View(_) | ScalarValue::LargeUtf8(_) => PgType::UNKNOWN.into(),
        other => engine_type(&other.data_type()),
    }
}

/// The type of a value the engine made by itself: never with a modifier.
fn engine_type(data_type: &DataType) -> Typed {
    Typed::from(PgType::from_arrow(data_type)).without_modifier()
}

fn cast_type(field: &Field) -> Typed {
    if field.metadata().contains_key(TYPE_KEY) { Typed::of_field(field) } else { engine_type(field.data_type()) }
}

fn first_known(types: impl Iterator<Item = Result<Typed>>) -> Result<Typed> {
    let mut found: Option<Typed> = None;
    for typed in types {
        let typed = typed?;
        match &mut found {
            Some(known) if !known.is_unknown() => {
                if !typed.is_unknown() && known.pg_type.typmod != typed.pg_type.typmod {
                    *known = known.without_modifier();
                }
            }
            _ => found = Some(typed),
        }
    }
    Ok(found.unwrap_or_else(|| PgType::UNKNOWN.into()))
}

fn scalar_type(expr: &Expr, arguments: &[Expr], schema: &DFSchema) -> Result<Typed> {
    let Expr::ScalarFunction(call) = expr else { return Ok(PgType::UNKNOWN.into()) };
    let function = call.func.inner();
    if let Some(typed) = function.downcast_ref::<TypedFunction>() {
        return Ok(typed.returns().clone());
    }
    let types = || arguments.iter().map(|argument| expr_type(argument, schema));
    if let Some(named) = function.downcast_ref::<Named>() {
        let types = types().collect::<Result<Vec<_>>>()?;
        return Ok(named.guess(&types));
    }
    match call.func.name() {
        "coalesce" | "greatest" | "least" | "nvl" => first_known(types()),
        "nullif" => Ok(match arguments.first() {
            Some(first) => expr_type(first, schema)?.without_modifier(),
            None => PgType::UNKNOWN.into(),
        }),
        "array_element" => Ok(match arguments.first() {
            Some(list) => element_of(&expr_type(list, schema)?),
            None => PgType::UNKNOWN.into(),
        }),
        "array_slice" | "array_append" | "array_concat" | "array_remove" | "array_sort" | "array_distinct" | "array_reverse" => {
            first_known(types())
        }
        "array_prepend" => Ok(match arguments.get(1) {
            Some(list) => expr_type(list, schema)?,
            None => PgType::UNKNOWN.into(),
        }),
        "make_array" => Ok(array_of(&first_known(types())?, &expr.get_type(schema)?)),
        _ => declared_type(expr, schema),
    }
}

/// The type a function's return field declares; a bare carrier has no modifier.
fn declared_type(expr: &Expr, schema: &DFSchema) -> Result<Typed> {
    let field = expr.to_field(schema)?.1;
    Ok(if field.metadata().contains_key(TYPE_KEY) { Typed::of_field(&field) } else { engine_type(field.data_type()) })
}

fn element_of(list: &Typed) -> Typed {
    match list.pg_type.element() {
        Some(element) => Typed { pg_type: element, labels: list.labels.clone() },
        None => PgType::TEXT.into(),
    }
}

fn array_of(element: &Typed, carrier: &DataType) -> Typed {
    let element = known(element.clone());
    match element.pg_type.array() {
        Some(pg_type) => Typed { pg_type, labels: element.labels },
        // An array of arrays has the type of its innermost elements' array.
        None if element.pg_type.element().is_some() => element,
        None => engine_type(carrier),
    }
}

fn aggregate_type(expr: &Expr, name: &str, arguments: &[Expr], schema: &DFSchema) -> Result<Typed> {
    let first = || match arguments.first() {
        Some(first) => expr_type(first, schema),
        None => Ok(PgType::UNKNOWN.into()),
    };
    match name {
        "first_value" | "last_value" | "nth_value" | "lag" | "lead" | "any_value" | "mode" | "min" | "max" => {
            Ok(first()?.without_modifier())
        }
        "array_agg" => Ok(array_of(&first()?, &expr.get_type(schema)?)),
        _ => declared_type(expr, schema),
    }
}
