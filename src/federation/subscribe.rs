//! What a subscription to a query gives: how its rows follow from the changes of the one table, or materialized view, that it reads.
//!
//! ```text
//! query → plan → analysed → one filter and one list of outputs over the columns of the table → Delta (physical expressions)
//! Rows of events → Delta::changes: passes before? after? → insert, update, delete, upsert → batches
//! ```
//!
//! **Invariants:** a row's change follows from that row alone; what is told of a row stands on cells that the store has sent, and what
//! does not is listed as unknown. Deliberately absent: joins, groups, orders, and functions that give another value at another time.

mod delta;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::sql::sqlparser::ast::Query;

use super::engine::Engine;
use super::error::diagnose;
use super::items::plain_items;
use super::materialized::MaterializedTable;
use super::output::OutputColumn;
use super::plan::{self, Planned, Setting, analyze};
use super::semantics::logic;
use crate::catalog::{Relation, RelationBody};
use crate::error::{Diagnosis, Limit, sqlstate};
use crate::pgtype::{PgField, PgType};
use crate::stores::change::Shape;
use crate::stores::relational::Dialect;
use crate::stores::{StoreName, Table};
use crate::task::OwnedTask;

pub use delta::Change;

/// The columns before those of the query.
const HEAD: &[(&str, PgType)] = &[
    ("tributary_op", PgType::TEXT),
    ("tributary_position", PgType::TEXT),
    ("tributary_transaction", PgType::TEXT),
    ("tributary_unknown", PgType::with_typmod(1009, -1)),
];
/// Most parts of the expressions of a subscription. They are put into one another, so a short query may have many.
const PARTS_MAX: usize = 10_000;

/// What follows from the changes of a table.
#[derive(Debug)]
pub struct Delta {
    /// The table as it is called.
    pub relation: Arc<Relation>,
    /// The store that owns it; `None` of a materialized view.
    pub store: Option<StoreName>,
    /// The table, or what a materialized view is as one.
    pub table: Arc<Table>,
    /// The columns that are given.
    pub columns: Vec<OutputColumn>,
    /// Conditions, each of which is asked of the rows that the one before has left.
    filters: Vec<Part>,
    outputs: Vec<Output>,
    /// The columns of the table as expressions see them.
    input: SchemaRef,
    schema: SchemaRef,
}

/// An expression over the columns of the table.
#[derive(Debug)]
struct Part {
    expr: Arc<dyn PhysicalExpr>,
    /// The ordinals of the columns that it reads.
    needs: Vec<usize>,
}

#[derive(Debug)]
struct Output {
    name: String,
    data_type: DataType,
    part: Part,
}

/// Plans a subscription on a thread of its own, as [`plan::plan_aside`] does.
///
/// # Errors
/// As planning of the query, 42809 for what is no table, and 0A000 for what does not follow from the changes of one row.
pub async fn plan_aside(engine: &Engine, setting: &Setting, query: Query) -> Result<Delta, Diagnosis> {
    let place = engine.planner().await;
    let (engine, setting) = (engine.clone(), setting.clone());
    let work = move || {
        let planned = plan(&engine, &setting, query);
        drop(place);
        planned
    };
    let planned = OwnedTask::spawn_blocking(work).join().await;
    planned.unwrap_or_else(|| Err(internal("planning ended without a result")))
}

fn internal(message: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, message)
}

fn plan(engine: &Engine, setting: &Setting, query: Query) -> Result<Delta, Diagnosis> {
    let planned = plan::plan(engine, setting, query, &[])?;
    if !planned.parameters.is_empty() {
        return Err(refused("parameters in the query"));
    }
    check_functions(planned.logical()).map_err(|error| diagnose(&error))?;
    let state = plan::state(engine, setting);
    let analyzed = analyze(&state, planned.logical())?;
    let ordered = logic::in_order(analyzed).map_err(|error| diagnose(&error))?;
    let flat = flatten(&ordered)?;
    let (relation, store, table) = match only_view(&planned, planned.logical())? {
        Some((relation, table)) => (relation, None, table),
        None => only_table(&planned).map(|(relation, store, table)| (relation, Some(store), table))?,
    };
    let input = plain_items(&nullable(&table.schema));
    let physical = |expr: &Expr| part(&state, &flat.schema, expr).map_err(|error| diagnose(&error));
    let filters = flat.filters.iter().map(physical).collect::<Result<Vec<_>, _>>()?;
    let outputs = flat.outputs.iter().zip(&planned.columns).map(|(expr, column)| {
        let part = physical(expr)?;
        let data_type = part.expr.data_type(&input).map_err(|error| diagnose(&error))?;
        Ok(Output { name: column.name.clone(), data_type, part })
    });
    let outputs = outputs.collect::<Result<Vec<_>, Diagnosis>>()?;
    if flat.schema.fields().len() != input.fields().len() || outputs.len() != planned.columns.len() {
        return Err(internal("a subscription reads other columns than its table has"));
    }
    let head = HEAD.iter().map(|(name, pg_type)| Field::new(*name, pg_type.carrier(), true).with_pg_type(*pg_type));
    let own = outputs.iter().map(|output| Field::new(&output.name, output.data_type.clone(), true));
    let schema = Arc::new(Schema::new(head.chain(own).collect::<Vec<_>>()));
    let told = |(name, pg_type): &(&str, PgType)| OutputColumn {
        name: (*name).to_owned(),
        pg_type: *pg_type,
        table_oid: 0,
        column_number: 0,
    };
    let columns = HEAD.iter().map(told).chain(planned.columns).collect();
    Ok(Delta { relation, store, table, columns, filters, outputs, input, schema })
}

/// The schema of rows of which any cell may be missing.
fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn refused(what: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{what} cannot be subscribed to"))
        .with_hint("SUBSCRIBE takes columns and conditions over one table or materialized view.")
}

/// A materialized view, and itself as a table whose changes are told.
type ViewAsTable = (Arc<Relation>, Arc<Table>);

/// The materialized view that a query reads, where it reads one and nothing else, with its columns as those of a table.
fn only_view(planned: &Planned, plan: &LogicalPlan) -> Result<Option<ViewAsTable>, Diagnosis> {
    let (mut scans, mut found) = (0_usize, None);
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            scans += 1;
            found = MaterializedTable::of(scan);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(|error| diagnose(&error))?;
    let Some(view) = found.filter(|_| scans == 1) else { return Ok(None) };
    let Some(relation) = planned.relations.get(&view.oid()) else { return Ok(None) };
    Ok(Some((Arc::clone(relation), Arc::new(view.as_table(relation)))))
}

/// The one table that a query reads.
fn only_table(planned: &Planned) -> Result<(Arc<Relation>, StoreName, Arc<Table>), Diagnosis> {
    let mut all = planned.relations.values();
    let (Some(relation), None) = (all.next(), all.next()) else {
        return Err(refused("a query over views that are not materialized, or over more than one table"));
    };
    match &relation.body {
        RelationBody::Stored { store, table } => Ok((Arc::clone(relation), store.clone(), Arc::clone(table))),
        RelationBody::View { .. } | RelationBody::Rows(_) => {
            let message = format!("\"{}\" is not a table", relation.name);
            Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, message).with_detail("What changes are the tables of stores."))
        }
    }
}

/// Refuses functions that may give another value at another time, in the plan as it was written: the analysis makes calls of its own that
/// are only not to be moved.
fn check_functions(plan: &LogicalPlan) -> datafusion::error::Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| match part {
                Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                    let error = refused(&format!("the function {}", call.func.name()));
                    Err(DataFusionError::from(error.with_detail("It may give another value at another time.")))
                }
                _ => Ok(TreeNodeRecursion::Continue),
            })
        })
    })
    .map(drop)
}

/// A plan as one list of conditions and one of outputs over the columns of a scan.
struct Flat {
    schema: DFSchemaRef,
    filters: Vec<Expr>,
    outputs: Vec<Expr>,
    /// How many parts each output has.
    sizes: Vec<usize>,
    /// And all conditions.
    size: usize,
}

fn flatten(plan: &LogicalPlan) -> Result<Flat, Diagnosis> {
    match plan {
        LogicalPlan::TableScan(scan) if scan.projection.is_none() && scan.filters.is_empty() && scan.fetch.is_none() => {
            let schema = Arc::clone(&scan.projected_schema);
            let outputs: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
            let sizes = vec![1; outputs.len()];
            Ok(Flat { schema, filters: Vec::new(), outputs, sizes, size: 0 })
        }
        // Its columns are those of its input, in their order.
        LogicalPlan::SubqueryAlias(alias) => flatten(&alias.input),
        LogicalPlan::Filter(filter) => {
            let mut flat = flatten(&filter.input)?;
            let (condition, size) = inside(&filter.predicate, filter.input.schema(), &flat)?;
            flat.filters.push(condition);
            flat.size += size;
            Ok(flat)
        }
        LogicalPlan::Projection(projection) => {
            let mut flat = flatten(&projection.input)?;
            let (mut outputs, mut sizes, mut all) = (Vec::new(), Vec::new(), flat.size);
            for expr in &projection.expr {
                let (output, size) = inside(expr, projection.input.schema(), &flat)?;
                all += size;
                if all > PARTS_MAX {
                    return Err(too_complex());
                }
                outputs.push(output);
                sizes.push(size);
            }
            (flat.outputs, flat.sizes) = (outputs, sizes);
            Ok(flat)
        }
        other => Err(refused(words(other))),
    }
}

fn too_complex() -> Diagnosis {
    Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, "the expressions of a subscription are too complex").at(Limit::Complexity)
}

/// What a plan has that is more than columns and conditions.
fn words(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Aggregate(_) => "groups and aggregates",
        LogicalPlan::Window(_) => "window functions",
        LogicalPlan::Sort(_) => "a query with ORDER BY",
        LogicalPlan::Limit(_) => "a query with LIMIT",
        LogicalPlan::Distinct(_) => "a query with DISTINCT",
        LogicalPlan::Join(_) => "joins and subqueries",
        LogicalPlan::Union(_) => "a union",
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => "a query without a table",
        _ => "a query of this form",
    }
}

/// An expression with those of the input in the place of its columns, and how many parts it has then.
fn inside(expr: &Expr, input: &DFSchemaRef, flat: &Flat) -> Result<(Expr, usize), Diagnosis> {
    let mut size = 0_usize;
    let counted = expr.apply(|part| {
        size = size.saturating_add(match part {
            Expr::Column(column) => flat.sizes.get(input.index_of_column(column)?).copied().unwrap_or(1),
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => {
                return Err(refused("a query with subqueries").into());
            }
            Expr::AggregateFunction(_)
            | Expr::WindowFunction(_)
            | Expr::Unnest(_)
            | Expr::Placeholder(_)
            | Expr::OuterReferenceColumn(..)
            | Expr::ScalarVariable(..) => return Err(refused("a query of this form").into()),
            _ => 1,
        });
        Ok(TreeNodeRecursion::Continue)
    });
    counted.map_err(|error| diagnose(&error))?;
    // Asked before anything of the size is made.
    if size > PARTS_MAX {
        return Err(too_complex());
    }
    let replaced = expr.clone().transform_up(|part| match part {
        Expr::Column(column) => {
            let place = input.index_of_column(&column)?;
            let lost = || DataFusionError::Internal(format!("column {column} is not in its input"));
            flat.outputs.get(place).cloned().map(Transformed::yes).ok_or_else(lost)
        }
        other => Ok(Transformed::no(other)),
    });
    Ok((replaced.data().map_err(|error| diagnose(&error))?.unalias(), size))
}

fn part(state: &SessionState, schema: &DFSchemaRef, expr: &Expr) -> datafusion::error::Result<Part> {
    let needs = expr.column_refs().into_iter().map(|column| schema.index_of_column(column));
    let needs = needs.collect::<datafusion::error::Result<BTreeSet<usize>>>()?.into_iter().collect();
    let expr = in_other_words(state, schema, expr)?;
    let expr = create_physical_expr(&expr, schema, state.execution_props(), &PhysicalPlanningContext::default())?;
    Ok(Part { expr, needs })
}

/// Functions as what they stand for, where the engine computes them in no other way.
fn in_other_words(state: &SessionState, schema: &DFSchemaRef, expr: &Expr) -> datafusion::error::Result<Expr> {
    let context = SimplifyContext::builder()
        .with_config_options(Arc::clone(state.config_options()))
        .with_schema(Arc::clone(schema))
        .with_query_execution_start_time(state.execution_props().query_execution_start_time)
        .build();
    let replaced = expr.clone().transform_up(|part| match part {
        Expr::ScalarFunction(call) => {
            // An argument may stand in it several times.
            let mut size = 0_usize;
            for argument in &call.args {
                argument.apply(|_| {
                    size += 1;
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
            if size > PARTS_MAX {
                return Err(too_complex().into());
            }
            Ok(match call.func.simplify(call.args, &context)? {
                ExprSimplifyResult::Simplified(other) => Transformed::yes(other),
                ExprSimplifyResult::Original(args) => {
                    Transformed::no(Expr::ScalarFunction(ScalarFunction::new_udf(call.func, args)))
                }
            })
        }
        other => Ok(Transformed::no(other)),
    });
    replaced.data()
}

impl Delta {
    /// Whether it follows from events of this shape.
    ///
    /// # Errors
    /// 55000 when the table has other columns by now, 0A000 when its events do not have what conditions and keys stand on.
    pub fn check(&self, shape: &Shape) -> Result<(), Diagnosis> {
        let fields = shape.schema.fields();
        let is_alike = |(own, told): (&Arc<Field>, &Arc<Field>)| {
            own.name() == told.name() && own.data_type() == told.data_type() && own.pg_type() == told.pg_type()
        };
        let own = self.table.schema.fields();
        if own.len() != fields.len() || !own.iter().zip(fields).all(is_alike) {
            let message = format!("the columns of table \"{}\" are being looked at again", self.relation.name);
            return Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message).with_hint("Try again in a moment."));
        }
        let is_sent = |ordinal: &usize| shape.always_known.get(*ordinal).copied().unwrap_or(false);
        let mut wanted = self.filters.iter().flat_map(|filter| &filter.needs).chain(&shape.key);
        match wanted.find(|ordinal| !is_sent(ordinal)).and_then(|ordinal| fields.get(*ordinal)) {
            None => Ok(()),
            Some(field) => {
                let message = format!("a condition over column \"{}\" cannot be followed", field.name());
                Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
                    .with_detail("The store does not tell its value with every change.")
                    .with_hint(format!(
                        "PostgreSQL does behind ALTER TABLE {} REPLICA IDENTITY FULL, from the next row on or when the store is \
                         discovered again; MongoDB with images of documents.",
                        Dialect::Postgres.table(&shape.id)
                    )))
            }
        }
    }
}

#[cfg(test)]
mod tests;
