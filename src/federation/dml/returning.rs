//! `RETURNING`: an ordinary query over the target and the tables beside it, in whose place the rows stand that the owner gave back.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{Expr as PlannedExpr, LogicalPlan, LogicalPlanBuilder};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr, Ident, SelectItem, TableWithJoins, With};

use super::super::ast::allowed::{Sets, holds_query, refuse_calls};
use super::super::ast::volatile;
use super::super::branches::Branches;
use super::super::engine::Engine;
use super::super::error::diagnose;
use super::super::generic::PlanMode;
use super::super::output::OutputColumn;
use super::super::plan::{Planned, Setting, bind_in_turn};
use super::super::semantics::typed::Typed;
use super::beside::{Beside, Found};
use super::given::Given;
use super::keyed::Parts;
use super::scope::{Scope, always, column_named, select, whole_name};
use super::seen::{self, Change};
use super::target::Target;
use crate::error::{Diagnosis, sqlstate};

/// What a statement names besides its target.
#[derive(Debug, Clone, Default)]
pub(super) struct Around {
    pub(super) with: Option<With>,
    /// The name that it gives the target.
    pub(super) alias: Option<Ident>,
    /// What is read besides the target.
    pub(super) others: Vec<TableWithJoins>,
}

impl Around {
    /// The parts of the query that finds the rows.
    pub(super) fn parts(&self, outputs: Vec<Expr>, beside: Vec<Expr>, condition: Option<Expr>) -> Parts {
        let Self { with, alias, others } = self.clone();
        Parts { with, alias, outputs, beside, others, condition }
    }
}

/// A planned list of what comes back.
#[derive(Debug)]
pub(super) struct Returning {
    planned: Planned,
    given: Given,
    /// Ordinals of the columns that the owner must give back, of which there is at least one: their rows are counted.
    pub(super) needed: Vec<usize>,
    /// Columns of other tables, by their places among those of `given`.
    beside: Vec<usize>,
}

/// The columns of other tables that a list names, which the query that finds the rows has to give.
///
/// # Errors
/// As [`plan`].
pub(super) fn beside(
    scope: &Scope<'_>,
    target: &Target,
    around: &Around,
    items: Option<&[SelectItem]>,
) -> Result<Vec<Expr>, Diagnosis> {
    let Some(items) = items.filter(|_| !around.others.is_empty()) else { return Ok(Vec::new()) };
    let planned = scope.plan_ahead(query(scope, target, around.clone(), items.to_vec())?)?;
    let (given, _, used) = placed(&planned, target)?;
    let named = used.into_iter().filter(|place| *place >= target.table.columns.len()).map(|place| match given.name(place) {
        Some((Some(relation), name)) => Ok(column_named(relation, name)),
        _ => Err(unsupported("a column of no table")),
    });
    named.collect()
}

/// Plans a list.
///
/// # Errors
/// As for a select list over the target and the tables beside it, and 0A000 for subqueries that read what the statement changes.
pub(super) fn plan(
    scope: &mut Scope<'_>,
    (target, change): (&Target, Change),
    around: Around,
    items: Vec<SelectItem>,
) -> Result<(Returning, Vec<OutputColumn>), Diagnosis> {
    let query = query(scope, target, around, items)?;
    let planned = scope.plan(query)?;
    let (given, logical, used) = placed(&planned, target)?;
    if let Some(read) = seen::changed(&logical, (target, change), scope.setting).map_err(|error| diagnose(&error))? {
        let error = unsupported(&format!("a subquery that reads {read}"));
        return Err(error.with_detail("It would see the table as it was before the statement."));
    }
    let own = target.table.columns.len();
    let (mut needed, beside): (Vec<usize>, Vec<usize>) = used.into_iter().partition(|place| *place < own);
    let key = target.key().map(|key| key.columns.clone()).unwrap_or_default();
    if !beside.is_empty() {
        needed.extend(key);
        needed.sort_unstable();
        needed.dedup();
    } else if needed.is_empty() {
        needed.push(key.first().copied().unwrap_or_default());
    }
    let columns = planned.columns.clone();
    Ok((Returning { planned: planned.with_logical(logical), given, needed, beside }, columns))
}

/// `SELECT items FROM target, others WHERE TRUE`; the condition says where the rows stand.
fn query(
    scope: &Scope<'_>,
    target: &Target,
    around: Around,
    items: Vec<SelectItem>,
) -> Result<datafusion::sql::sqlparser::ast::Query, Diagnosis> {
    for item in &items {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            refuse_calls(expr, "RETURNING", Sets::Refused, &|name| scope.is_aggregate(name))?;
        }
    }
    let Around { with, alias, others } = around;
    if others.is_empty() && !items.iter().any(holds_query) {
        return select(None, items, vec![whole_name(target, alias.as_ref())?], Some(always()));
    }
    if with.as_ref().is_some_and(volatile::changes) {
        return Err(unsupported("a WITH query that calls a volatile function"));
    }
    let mut from = vec![whole_name(target, alias.as_ref())?];
    from.extend(others);
    select(with, items, from, Some(always()))
}

/// The plan with the place of the rows, and which of their columns it names.
fn placed(planned: &Planned, target: &Target) -> Result<(Given, LogicalPlan, Vec<usize>), Diagnosis> {
    let told = |error: DataFusionError| diagnose(&error);
    let is_place = |node: &LogicalPlan| match node {
        LogicalPlan::Filter(filter) => matches!(filter.predicate, PlannedExpr::Literal(ScalarValue::Boolean(Some(true)), _)),
        _ => false,
    };
    let found = Given::instead(planned.logical(), is_place).map_err(told)?;
    let (given, logical) = found.filter(|(given, _)| given.width() >= target.table.columns.len()).ok_or_else(|| {
        let message = "the rows of RETURNING have no place in their plan";
        Diagnosis::new(sqlstate::INTERNAL_ERROR, message)
    })?;
    let used = given.used(&logical).map_err(told)?;
    Ok((given, logical, used))
}

fn unsupported(what: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{what} in RETURNING is not supported"))
}

impl Returning {
    /// The query over the rows that came back.
    ///
    /// # Errors
    /// Rows that are not those that were asked for.
    pub(super) fn over(&self, target: &Target, returned: &[RecordBatch], beside: Option<&Beside>) -> Result<Planned, Diagnosis> {
        let key = target.key().filter(|_| !self.beside.is_empty()).map(|key| key.columns.as_slice()).unwrap_or_default();
        let types = key.iter().map(|ordinal| Ok(Typed::of_field(&target.at(*ordinal)?.field)));
        let types = types.collect::<Result<Vec<Typed>, Diagnosis>>()?;
        let found = match beside {
            Some(beside) => beside.found(&types)?,
            None => None,
        };
        let mut batches = Vec::with_capacity(returned.len());
        for rows in returned.iter().filter(|rows| rows.num_rows() > 0) {
            let columns = self.columns(rows, (key, found.as_ref()))?;
            batches.push(self.given.batch(&columns, rows.num_rows()).map_err(|error| diagnose(&error))?);
        }
        if batches.is_empty() {
            // Subqueries that no row asks for are not read.
            let none =
                LogicalPlanBuilder::from(self.planned.logical().clone()).limit(0, Some(0)).and_then(LogicalPlanBuilder::build);
            return Ok(self.planned.with_logical(none.map_err(|error| diagnose(&error))?));
        }
        self.given.over(&self.planned, batches).map_err(|error| diagnose(&error))
    }

    /// The columns of some rows by their places.
    fn columns(&self, rows: &RecordBatch, (key, found): (&[usize], Option<&Found>)) -> Result<Vec<Option<ArrayRef>>, Diagnosis> {
        let lost = || Diagnosis::new(sqlstate::INTERNAL_ERROR, "rows came back without what was asked for");
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.given.width()];
        for (place, column) in self.needed.iter().zip(rows.columns()) {
            *columns.get_mut(*place).ok_or_else(lost)? = Some(Arc::clone(column));
        }
        if self.beside.is_empty() {
            return Ok(columns);
        }
        let keys = key.iter().map(|ordinal| columns.get(*ordinal).cloned().flatten().ok_or_else(lost));
        let keys = keys.collect::<Result<Vec<ArrayRef>, Diagnosis>>()?;
        let values = found.ok_or_else(lost)?.of(&keys)?;
        for (place, column) in self.beside.iter().zip(values.columns()) {
            *columns.get_mut(*place).ok_or_else(lost)? = Some(Arc::clone(column));
        }
        Ok(columns)
    }
}

/// Runs the query, whose rows come in the order of those that came back.
///
/// # Errors
/// As for a query.
pub(super) async fn rows(
    engine: &Engine,
    setting: &Setting,
    planned: &Planned,
    values: &[ScalarValue],
    branches: &Branches,
) -> Result<SendableRecordBatchStream, Diagnosis> {
    let setting = Setting { plan_mode: PlanMode::Custom, ..setting.clone() };
    // The branches of the statement itself have been read through.
    let branches = Arc::new(branches.again());
    bind_in_turn(engine, &setting, planned, values, &branches).await?.run()
}
