//! `RETURNING`: an ordinary query over the target, which at its time holds the rows that its owner gave back.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{Expr as PlannedExpr, LogicalPlan};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{Ident, SelectItem};
use futures::StreamExt;

use super::super::ast::allowed::{Sets, holds_query, refuse_calls};
use super::super::branches::Branches;
use super::super::engine::Engine;
use super::super::error::diagnose;
use super::super::generic::PlanMode;
use super::super::output::OutputColumn;
use super::super::placement::Level;
use super::super::plan::{Planned, Setting, bind_in_turn};
use super::scope::{Scope, select, whole_name};
use super::target::Target;
use crate::error::{Diagnosis, sqlstate};
use crate::stores::connector::ScanLimits;
use crate::stores::position::Position;
use crate::stores::schema::TableId;
use crate::stores::{BatchStream, Branch, Scan, StoreError, Table};

/// A planned list of what comes back.
#[derive(Debug)]
pub(super) struct Returning {
    planned: Planned,
    /// Ordinals of the columns that the owner must give back, of which there is at least one: their rows are counted.
    pub(super) needed: Vec<usize>,
}

/// Plans a list. `reads_others` tells whether the statement reads more than the target.
///
/// # Errors
/// As for a select list over the target, and 0A000 for subqueries and columns of other tables.
pub(super) fn plan(
    scope: &mut Scope<'_>,
    target: &Target,
    alias: Option<&Ident>,
    (items, reads_others): (Vec<SelectItem>, bool),
) -> Result<(Returning, Vec<OutputColumn>), Diagnosis> {
    for item in &items {
        check(scope, item, reads_others)?;
    }
    let query = select(None, items, vec![whole_name(target, alias)?], None)?;
    let planned = scope.plan_bare(query).map_err(|error| {
        let is_unknown = [sqlstate::UNDEFINED_COLUMN, sqlstate::UNDEFINED_TABLE].contains(&error.sqlstate.as_str());
        if reads_others && is_unknown { unsupported("columns of other tables").with_hint(error.message) } else { error }
    })?;
    let columns = planned.columns.clone();
    Ok((Returning::of(planned, target)?, columns))
}

fn check(scope: &Scope<'_>, item: &SelectItem, reads_others: bool) -> Result<(), Diagnosis> {
    if holds_query(item) {
        return Err(unsupported("a subquery"));
    }
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            refuse_calls(expr, "RETURNING", Sets::Refused, &|name| scope.is_aggregate(name))
        }
        // PostgreSQL gives the columns of all tables for it.
        SelectItem::Wildcard(_) if reads_others => Err(unsupported("columns of other tables")),
        _ => Ok(()),
    }
}

fn unsupported(what: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{what} in RETURNING is not supported"))
}

/// The columns of the target that a plan names.
fn needed(plan: &LogicalPlan, target: &Target) -> datafusion::error::Result<Vec<usize>> {
    let mut names = BTreeSet::new();
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let PlannedExpr::Column(column) = part {
                    names.insert(column.name.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let columns = target.table.columns.iter().enumerate();
    let mut found: Vec<usize> = columns.filter(|(_, column)| names.contains(column.name())).map(|(ordinal, _)| ordinal).collect();
    if found.is_empty() {
        let key = target.key().and_then(|key| key.columns.first().copied());
        found.push(key.unwrap_or_default());
    }
    Ok(found)
}

impl Returning {
    /// The outputs of a query over the target alone.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub(super) fn of(planned: Planned, target: &Target) -> Result<Self, Diagnosis> {
        let needed = needed(planned.logical(), target).map_err(|error| diagnose(&error))?;
        Ok(Self { planned, needed })
    }

    /// What is returned of some rows, in their order.
    ///
    /// # Errors
    /// As for a query.
    pub(super) async fn rows(
        &self,
        engine: &Engine,
        setting: &Setting,
        values: &[ScalarValue],
        (target, returned): (&Target, Vec<RecordBatch>),
    ) -> Result<SendableRecordBatchStream, Diagnosis> {
        let setting = Setting { pushdown: Level::None, plan_mode: PlanMode::Custom, ..setting.clone() };
        let (table, columns) = (target.table.id.clone(), self.needed.clone());
        let rows: Arc<dyn Branch> = Arc::new(Returned { table, columns, rows: returned });
        let branches = Arc::new(Branches::over(target.store.clone(), rows));
        bind_in_turn(engine, &setting, &self.planned, values, &branches).await?.run()
    }
}

/// The rows that came back, in the place of the table.
#[derive(Debug)]
struct Returned {
    table: TableId,
    /// The ordinals of their columns.
    columns: Vec<usize>,
    rows: Vec<RecordBatch>,
}

impl Returned {
    fn unsupported(scan: &Scan) -> StoreError {
        StoreError::Unsupported { store: scan.store.to_string(), feature: "what was not given back of changed rows" }
    }

    /// Some columns of a batch.
    fn project(&self, batch: &RecordBatch, table: &Table, scan: &Scan) -> Result<RecordBatch, StoreError> {
        let column = |ordinal: &usize| {
            let place = self.columns.iter().position(|column| column == ordinal);
            place.and_then(|place| batch.columns().get(place)).cloned().ok_or_else(|| Self::unsupported(scan))
        };
        let columns = scan.columns.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let made = RecordBatch::try_new_with_options(table.project(&scan.columns), columns, &options);
        made.map_err(|error| StoreError::remote(scan.store.as_str(), sqlstate::INTERNAL_ERROR, error.to_string()))
    }
}

#[async_trait]
impl Branch for Returned {
    async fn scan(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        if scan.table != self.table || !scan.filter.is_empty() || scan.limit.is_some() {
            return Err(Self::unsupported(scan));
        }
        let each = limits.batch_rows.max(1);
        let mut batches = Vec::with_capacity(self.rows.len());
        for batch in &self.rows {
            let whole = self.project(batch, table, scan)?;
            let count = whole.num_rows();
            batches.extend((0..count).step_by(each).map(|start| Ok(whole.slice(start, each.min(count - start)))));
        }
        Ok(futures::stream::iter(batches).boxed())
    }

    fn shared_snapshot(&self) -> Result<(), &'static str> {
        Ok(())
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        Ok(None)
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
