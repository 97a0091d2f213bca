//! A second way for statements of which a store may have too few digits.
//!
//! Decimals of some stores have a fixed number of digits. What such a store computes of them is exact or fails (22003), and which of
//! both is known from its rows alone. The rows of such a statement are held back, within bounds; where it fails before the first
//! of them is given, it runs again without parts in stores. The engine has all digits, and an error that is PostgreSQL's comes
//! again; so does that of a store whose transaction it has ended. What fails behind the bounds stays an error. A transaction that
//! writes is ended by such a failure in it: what is read there runs without parts at once.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::branches::Branches;
use super::engine::Engine;
use super::error::diagnose;
use super::generic::PlanMode;
use super::placement::Level;
use super::placement::exec::FragmentExec;
use super::plan::{self, Bound, Planned, Setting};
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;
use crate::stores::StoreName;
use crate::stores::fragment::{Aggregate, Function, Node, Relation, WindowFunction};

/// Most rows that are held back.
const HELD_ROWS_MAX: usize = 65_536;
/// Most bytes of them.
const HELD_BYTES_MAX: usize = 8 << 20;

/// A bound query that is run again where a store may lack digits for it.
#[derive(Debug)]
pub struct Ready {
    bound: Bound,
    again: Option<Box<Again>>,
}

/// What a statement is run again with.
#[derive(Debug)]
struct Again {
    engine: Engine,
    setting: Setting,
    planned: Planned,
    values: Vec<ScalarValue>,
    branches: Arc<Branches>,
}

/// [`plan::bind_aside`] for a query that a statement reads; `target` is the store that the statement is going to write to.
///
/// # Errors
/// As [`plan::bind`].
pub async fn bind(
    engine: &Engine,
    setting: &Setting,
    planned: &Planned,
    values: &[ScalarValue],
    (branches, target): (&Arc<Branches>, Option<&StoreName>),
) -> Result<Ready, Diagnosis> {
    let bound = plan::bind_aside(engine, setting, planned, values, branches).await?;
    let mut lacking = BTreeSet::new();
    find_lacking(&bound.physical, branches, &mut lacking);
    if lacking.is_empty() {
        return Ok(Ready { bound, again: None });
    }
    if lacking.iter().any(|store| target == Some(store) || branches.writes_to(store)) {
        let bound = plan::bind_aside(engine, &without_parts(setting), planned, values, branches).await?;
        return Ok(Ready { bound, again: None });
    }
    let (engine, setting, planned) = (engine.clone(), setting.clone(), planned.clone());
    let again = Again { engine, setting, planned, values: values.to_vec(), branches: Arc::new(branches.again()) };
    Ok(Ready { bound, again: Some(Box::new(again)) })
}

/// The setting under which stores run no parts.
fn without_parts(setting: &Setting) -> Setting {
    Setting { pushdown: Level::Scans, plan_mode: PlanMode::Custom, ..setting.clone() }
}

/// The stores that may lack digits for a part of the plan.
fn find_lacking(plan: &Arc<dyn ExecutionPlan>, branches: &Branches, found: &mut BTreeSet<StoreName>) {
    let node: &dyn Any = plan.as_ref();
    if let Some(fragment) = node.downcast_ref::<FragmentExec>().map(FragmentExec::fragment)
        && branches.connector(&fragment.store).is_some_and(|connector| connector.has_few_digits())
        && computes_decimals(&fragment.root)
    {
        found.insert(fragment.store.clone());
    }
    for child in plan.children() {
        find_lacking(child, branches, found);
    }
}

/// Whether something is added, subtracted or multiplied as `numeric`.
pub(super) fn computes_decimals(root: &Relation) -> bool {
    let is_numeric = |pg_type: PgType| pg_type.oid == PgType::NUMERIC.oid;
    let mut found = false;
    root.visit(&mut |relation| {
        found |= match relation {
            Relation::Aggregate { calls, .. } => {
                calls.iter().any(|call| call.aggregate == Aggregate::Sum && is_numeric(call.pg_type))
            }
            Relation::Window { calls, .. } => {
                let is_sum = |function: WindowFunction| matches!(function, WindowFunction::Aggregate(Aggregate::Sum));
                calls.iter().any(|call| is_sum(call.function) && is_numeric(call.pg_type))
            }
            _ => false,
        };
        for expression in relation.expressions() {
            expression.visit(&mut |inner| {
                let is_arithmetic =
                    matches!(inner.node, Node::Call { function: Function::Add | Function::Subtract | Function::Multiply, .. });
                found |= is_arithmetic && is_numeric(inner.pg_type);
            });
        }
    });
    found
}

impl Ready {
    /// What the engine will run first.
    pub fn physical(&self) -> &Arc<dyn ExecutionPlan> {
        &self.bound.physical
    }

    /// Whether it is known to give no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.bound.is_empty()
    }

    /// Starts the query. Dropping the stream stops it in the stores.
    ///
    /// # Errors
    /// What starting an operator failed with.
    pub fn run(self) -> Result<SendableRecordBatchStream, Diagnosis> {
        let first = self.bound.run()?;
        let Some(again) = self.again else { return Ok(first) };
        let rows = futures::stream::once(Box::pin(held_back(first, *again))).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.bound.physical.schema(), rows)))
    }
}

async fn held_back(mut first: SendableRecordBatchStream, again: Again) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let (mut held, mut rows, mut bytes) = (Vec::new(), 0, 0);
    while rows < HELD_ROWS_MAX && bytes < HELD_BYTES_MAX {
        match first.next().await {
            None => return Ok(futures::stream::iter(held.into_iter().map(Ok)).boxed()),
            Some(Ok(batch)) => {
                rows += batch.num_rows();
                bytes += batch.get_array_memory_size();
                held.push(batch);
            }
            Some(Err(error)) => {
                let told = diagnose(&error);
                if told.sqlstate != sqlstate::NUMERIC_VALUE_OUT_OF_RANGE {
                    return Err(error);
                }
                // What the stores still run for nobody ends before they are asked again.
                drop(first);
                return again
                    .rows()
                    .await
                    .map(|rows| or_first(rows, told.clone()))
                    .map_err(|error| first_cause(error.into(), &told));
            }
        }
    }
    Ok(futures::stream::iter(held.into_iter().map(Ok)).chain(first).boxed())
}

/// The rows of the second way, where they do not fail for the first one.
fn or_first(rows: SendableRecordBatchStream, first: Diagnosis) -> BoxStream<'static, Result<RecordBatch>> {
    rows.map_err(move |error| first_cause(error, &first)).boxed()
}

/// What a client is told where the second way failed: a store whose transaction the first error has ended can say no more than that.
fn first_cause(error: DataFusionError, first: &Diagnosis) -> DataFusionError {
    if diagnose(&error).sqlstate == sqlstate::IN_FAILED_SQL_TRANSACTION { first.clone().into() } else { error }
}

impl Again {
    /// The rows where stores run no parts.
    async fn rows(self) -> Result<SendableRecordBatchStream, Diagnosis> {
        let setting = without_parts(&self.setting);
        plan::bind_aside(&self.engine, &setting, &self.planned, &self.values, &self.branches).await?.run()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::fragment::{AggregateCall, Expression};

    fn column(pg_type: PgType) -> Expression {
        Expression::column(0, pg_type)
    }

    fn call(function: Function, pg_type: PgType) -> Expression {
        Expression::new(pg_type, Node::Call { function, arguments: vec![column(pg_type), column(pg_type)] })
    }

    fn rows() -> Box<Relation> {
        Box::new(Relation::Values { types: vec![PgType::NUMERIC], rows: Vec::new() })
    }

    #[tokio::test]
    async fn the_first_error_is_told_where_it_ended_a_transaction() {
        let first = Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range");
        for (second, expected) in [
            (sqlstate::IN_FAILED_SQL_TRANSACTION, sqlstate::NUMERIC_VALUE_OUT_OF_RANGE),
            (sqlstate::DIVISION_BY_ZERO, sqlstate::DIVISION_BY_ZERO),
        ] {
            let failed: Result<RecordBatch> = Err(Diagnosis::new(second, "current transaction is aborted").into());
            let schema = Arc::new(arrow::datatypes::Schema::empty());
            let rows = RecordBatchStreamAdapter::new(
                Arc::clone(&schema),
                futures::stream::iter([Ok(RecordBatch::new_empty(schema)), failed]),
            );
            let mut rows = or_first(Box::pin(rows), first.clone());
            assert!(rows.next().await.unwrap().is_ok());
            assert_eq!(diagnose(&rows.next().await.unwrap().unwrap_err()).sqlstate, expected);
        }
    }

    #[test]
    fn arithmetic_of_decimals_is_found() {
        let project = |expression| Relation::Project { input: rows(), expressions: vec![expression] };
        let subquery = |relation| project(Expression::new(PgType::NUMERIC, Node::Subquery(Box::new(relation))));
        let sum = |aggregate, pg_type| {
            let call = AggregateCall { aggregate, argument: Some(column(pg_type)), distinct: false, filter: None, pg_type };
            Relation::Aggregate { input: rows(), groups: Vec::new(), calls: vec![call] }
        };
        let within = Node::IsNull { operand: Box::new(call(Function::Add, PgType::NUMERIC)), negated: true };
        let cases = [
            (project(call(Function::Multiply, PgType::NUMERIC)), true),
            (Relation::Filter { input: rows(), condition: Expression::condition(within) }, true),
            (subquery(project(call(Function::Subtract, PgType::numeric(12, 2)))), true),
            (sum(Aggregate::Sum, PgType::NUMERIC), true),
            (Relation::Limit { input: Box::new(sum(Aggregate::Sum, PgType::NUMERIC)), offset: 0, limit: Some(1) }, true),
            (sum(Aggregate::Maximum, PgType::NUMERIC), false),
            (sum(Aggregate::Sum, PgType::INT8), false),
            (project(call(Function::Multiply, PgType::INT8)), false),
            (project(call(Function::Coalesce, PgType::NUMERIC)), false),
            (project(column(PgType::NUMERIC)), false),
        ];
        for (relation, expected) in cases {
            assert_eq!(computes_decimals(&relation), expected, "{relation:?}");
        }
    }
}
