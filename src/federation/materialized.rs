//! Reads of materialized views: their rows where these are what the statement may see, else their query as that of any view.
//!
//! ```text
//! names → MaterializedTable (a scan, which knows the view's query) ─ settle: asked once for a statement, before it is bound
//!     ├ rows  → scan stays → ViewExec (by key, or all) → the conditions above it, as ever
//!     └ query → as_chosen: the query takes the place of the scan, before analysis
//! ```
//!
//! **Invariants:** every read of a view in one statement gives the same one of the two, and the rows of one state; conditions are checked
//! above what is read; a statement that writes or locks, and a block that keeps one state of its stores, run the query, and so does one
//! that nobody has settled. A view that was never filled is read by nobody. What a view shows of a store may be another state of it than
//! what tables beside it show.

mod read;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, SubqueryAlias, TableProviderFilterPushDown, TableScan, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::join_all;

use super::branches::Branches;
use super::error::diagnose;
use super::items::plain_items;
use super::plan::{Planned, analyze};
use super::provider::StoredTable;
use super::pushdown::to_predicate;
use super::semantics::types::output_types;
use crate::cache::{Consistency, OnStale, TableVersion, Wants};
use crate::catalog::{Relation, RelationBody};
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgField;
use crate::stores::predicate::{Comparison, Predicate};
use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated, TableId, TableKind};
use crate::stores::{StoreName, Table};
pub use read::ViewExec;

/// Who keeps the rows of materialized views. A view is named by its schema and its own name.
#[async_trait]
pub trait Materialized: fmt::Debug + Send + Sync {
    /// From what a statement reads a view.
    async fn decide(&self, view: (&str, &str), wants: &Wants) -> Chosen;

    /// How its rows are kept up to date, in words; `None` while that is not known.
    fn maintained(&self, view: (&str, &str)) -> Option<String>;
}

/// The rows of a view in one state, which stays as it is.
#[derive(Debug, Clone)]
pub struct ViewRows {
    /// The rows.
    pub version: Arc<TableVersion>,
    /// How many of its columns are the view's: the first ones.
    pub columns: usize,
    /// How old what they show may be, at most, at the time of the decision; `None` where that is not known.
    pub age: Option<Duration>,
    /// The place in each store up to which changes are in them, where that is known.
    pub position: Option<String>,
}

/// From what a statement reads a view.
#[derive(Debug, Clone)]
pub enum Chosen {
    /// Its rows.
    Rows(ViewRows),
    /// Its query, for this reason, a clause.
    Query(&'static str),
    /// Nothing: the client wants no other rows than there are.
    Refused(Box<Diagnosis>),
}

/// What `EXPLAIN` tells of a view that a statement reads.
#[derive(Debug, Clone)]
pub struct Told {
    /// Schema and name.
    pub view: String,
    /// How its rows are kept up to date.
    pub maintained: Option<String>,
    /// What was chosen.
    pub chosen: Chosen,
}

/// What a statement reads its materialized views from.
#[derive(Debug, Default)]
pub(super) struct Choices {
    source: Option<(Arc<dyn Materialized>, Arc<Wants>)>,
    /// By the object id of the view, with its schema and name.
    chosen: Mutex<BTreeMap<u32, (Arc<Relation>, Chosen)>>,
}

impl Choices {
    /// Those of a statement that may read the rows of views, under what its session asks of them.
    pub(super) fn of(views: Arc<dyn Materialized>, wants: Arc<Wants>) -> Self {
        Self { source: Some((views, wants)), chosen: Mutex::default() }
    }

    /// The same for another statement or run, of which nothing is chosen.
    pub(super) fn anew(&self) -> Self {
        Self { source: self.source.clone(), chosen: Mutex::default() }
    }

    /// The same for a statement that is not run: rows as old as there are, for which no store is asked and nothing is waited for.
    pub(super) fn only_planned(&self) -> Self {
        let source = self.source.as_ref().map(|(views, wants)| {
            let consistency = match wants.consistency {
                Consistency::Store => Consistency::Store,
                _ => Consistency::Eventual,
            };
            let wants = Wants { consistency, max_staleness: None, on_stale: OnStale::Store, ..wants.as_ref().clone() };
            (Arc::clone(views), Arc::new(wants))
        });
        Self { source, chosen: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, (Arc<Relation>, Chosen)>> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Chooses for all these views at once; what was chosen before stays. `is_allowed` says whether rows may be read at all, `is_named` whether
    /// the statement names them, or only the query of one that it names does.
    pub(super) async fn choose(&self, views: &[&Arc<Relation>], (is_allowed, is_named): (bool, bool)) -> Result<(), Diagnosis> {
        let open: Vec<&Arc<Relation>> = {
            let chosen = self.lock();
            views.iter().filter(|view| !chosen.contains_key(&view.oid)).copied().collect()
        };
        let choices = join_all(open.into_iter().map(|view| async move { (view, self.choice(view, (is_allowed, is_named)).await) }));
        for (view, choice) in choices.await {
            if let Chosen::Refused(told) = &choice {
                return Err(told.as_ref().clone());
            }
            self.lock().entry(view.oid).or_insert_with(|| (Arc::clone(view), choice));
        }
        Ok(())
    }

    async fn choice(&self, view: &Relation, (is_allowed, is_named): (bool, bool)) -> Chosen {
        if view.body.materialized().is_some_and(|(_, materialized)| !materialized.with_data) {
            // What a view stands on gives its rows also where it keeps none of its own.
            let query = Chosen::Query("it has not been populated");
            return if is_named { Chosen::Refused(Box::new(not_populated(&view.name))) } else { query };
        }
        match &self.source {
            Some((views, wants)) if is_allowed => views.decide((view.schema.as_str(), view.name.as_str()), wants).await,
            _ => Chosen::Query("the statement reads its stores"),
        }
    }

    /// The rows that a view is read from; `None` where its query is run.
    pub(super) fn rows(&self, view: u32) -> Option<ViewRows> {
        match self.lock().get(&view) {
            Some((_, Chosen::Rows(rows))) => Some(rows.clone()),
            _ => None,
        }
    }

    /// Whether any view is read from its rows.
    fn have_rows(&self) -> bool {
        self.lock().values().any(|(_, chosen)| matches!(chosen, Chosen::Rows(_)))
    }

    /// What was chosen, in the order of the object ids.
    pub(super) fn told(&self) -> Vec<Told> {
        let chosen = self.lock();
        let told = chosen.values().map(|(view, chosen)| {
            let maintained =
                self.source.as_ref().and_then(|(views, _)| views.maintained((view.schema.as_str(), view.name.as_str())));
            Told { view: format!("{}.{}", view.schema, view.name), maintained, chosen: chosen.clone() }
        });
        told.collect()
    }
}

/// 55000, as PostgreSQL says it.
fn not_populated(name: &str) -> Diagnosis {
    let message = format!("materialized view \"{name}\" has not been populated");
    Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message).with_hint("Use the REFRESH MATERIALIZED VIEW command.")
}

/// A materialized view as the engine sees it.
#[derive(Clone)]
pub struct MaterializedTable {
    view: Arc<Kept>,
}

/// What all handles on one share.
struct Kept {
    oid: u32,
    named: String,
    /// Its query with the columns of the view, as it was written: neither analysed nor optimised.
    query: LogicalPlan,
    schema: SchemaRef,
}

impl fmt::Debug for MaterializedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaterializedTable").field("view", &self.view.named).finish_non_exhaustive()
    }
}

impl MaterializedTable {
    /// That of a relation with this query.
    ///
    /// # Errors
    /// What the types of its columns cannot be told for.
    pub(super) fn new(relation: &Relation, query: LogicalPlan, state: &SessionState) -> Result<Self, Diagnosis> {
        let analyzed = analyze(state, &query)?;
        let types = output_types(&analyzed).map_err(|error| diagnose(&error))?;
        let names = query.schema().fields().iter().map(|field| field.name());
        let fields = names.zip(analyzed.schema().fields()).zip(types).map(|((name, field), pg_type)| {
            // Labels of an enum stay with it. Any of them may be NULL: what the query proves of them is not kept with the rows.
            field.as_ref().clone().with_name(name).with_nullable(true).with_pg_type(pg_type)
        });
        let schema = plain_items(&Arc::new(Schema::new(fields.collect::<Vec<_>>())));
        let named = format!("{}.{}", relation.schema, relation.name);
        Ok(Self { view: Arc::new(Kept { oid: relation.oid, named, query, schema }) })
    }

    /// That of a scan, where it scans one.
    pub(super) fn of(scan: &TableScan) -> Option<Self> {
        let provider = source_as_provider(&scan.source).ok()?;
        let provider: &dyn Any = provider.as_ref();
        provider.downcast_ref::<Self>().cloned()
    }

    /// Its object id.
    pub fn oid(&self) -> u32 {
        self.view.oid
    }

    /// Its query, as it was written.
    pub(super) fn query(&self) -> &LogicalPlan {
        &self.view.query
    }

    /// The view as a table, whose changes are followed as those of one.
    pub(super) fn as_table(&self, relation: &Relation) -> Table {
        let column = |field: &Arc<Field>| Column {
            field: field.as_ref().clone(),
            native_type: field.pg_type().to_string(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        };
        let columns: Vec<Column> = self.view.schema.fields().iter().map(column).collect();
        Table {
            id: TableId { namespace: relation.schema.clone(), name: relation.name.clone() },
            kind: TableKind::MaterializedView,
            schema: Table::arrow_schema(&columns),
            columns,
            primary_key: None,
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: None,
            division: None,
        }
    }

    /// The rows that the statement reads it from, if it does, and they have its columns: the plan may be older, or younger.
    fn rows(&self, branches: &Branches) -> Option<ViewRows> {
        let rows = branches.view_rows(self.view.oid)?;
        let own = plain_items(&rows.version.table().schema);
        let fields = self.view.schema.fields();
        let is_alike =
            |(own, field): (&Arc<Field>, &Arc<Field>)| own.name() == field.name() && own.data_type() == field.data_type();
        let fits = rows.columns == fields.len() && own.fields().len() >= fields.len();
        (fits && own.fields().iter().zip(fields).all(is_alike)).then_some(rows)
    }
}

#[async_trait]
impl TableProvider for MaterializedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.view.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Conditions that may say which keys there can be are told to the scan, and checked above it all the same.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match to_predicate(filter, &self.view.schema) {
            Some(Predicate::Compare { op: Comparison::Equal, .. } | Predicate::In { negated: false, .. }) => {
                TableProviderFilterPushDown::Inexact
            }
            _ => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let branches = state.config().get_extension::<Branches>();
        let Some(rows) = branches.and_then(|branches| self.rows(&branches)) else {
            return Err(DataFusionError::Internal("a materialized view is scanned whose query was to be run".to_owned()));
        };
        let columns = projection.cloned().unwrap_or_else(|| (0..self.view.schema.fields().len()).collect());
        let said = filters.iter().filter_map(|filter| to_predicate(filter, &self.view.schema)).collect();
        let limit = limit.filter(|_| filters.is_empty()).map(|limit| limit as u64);
        let schema = Arc::new(self.view.schema.project(&columns)?);
        Ok(Arc::new(ViewExec::new((self.view.named.clone(), schema), rows, (columns, said), limit)))
    }
}

/// The materialized views among relations.
fn views(relations: &BTreeMap<u32, Arc<Relation>>) -> Vec<&Arc<Relation>> {
    relations.values().filter(|relation| relation.body.materialized().is_some()).collect()
}

/// Chooses what the materialized views of a planned statement are read from. Gives the relations that are read then: what is only below a
/// view whose rows are there is not.
///
/// # Errors
/// 55000 for a view that was never filled, and for rows that are not fresh enough for a client that wants no other answer.
pub(super) async fn settle<'p>(
    planned: &'p Planned,
    branches: &Branches,
) -> Result<Cow<'p, BTreeMap<u32, Arc<Relation>>>, Diagnosis> {
    let all = &planned.relations;
    if views(all).is_empty() {
        return Ok(Cow::Borrowed(all));
    }
    let stores = all.values().filter_map(|relation| match &relation.body {
        RelationBody::Stored { store, .. } => Some(store),
        RelationBody::View { .. } | RelationBody::Rows(_) => None,
    });
    let is_allowed = branches.may_read_views(stores);
    let (mut level, mut is_named) = (scanned(planned.logical())?, true);
    while !level.is_empty() {
        let relations: Vec<&Arc<Relation>> = level.keys().filter_map(|oid| all.get(oid)).collect();
        branches.views().choose(&relations, (is_allowed, is_named)).await?;
        // Of a view whose query is run the views are read that it names.
        let run = level.values().filter(|view| view.rows(branches).is_none());
        let below = run.map(|view| scanned(view.query())).collect::<Result<Vec<_>, Diagnosis>>()?;
        (level, is_named) = (below.into_iter().flatten().collect(), false);
    }
    if !branches.views().have_rows() {
        return Ok(Cow::Borrowed(all));
    }
    let mut read = BTreeSet::new();
    find_tables(planned.logical(), branches, &mut read).map_err(|error| diagnose(&error))?;
    let is_read = |relation: &Relation| match &relation.body {
        RelationBody::Stored { store, table } => read.contains(&(store.clone(), table.id.clone())),
        RelationBody::View { .. } | RelationBody::Rows(_) => true,
    };
    let left = all.iter().filter(|(_, relation)| is_read(relation)).map(|(oid, relation)| (*oid, Arc::clone(relation)));
    Ok(Cow::Owned(left.collect()))
}

/// The materialized views that a plan scans itself, by their object ids.
fn scanned(plan: &LogicalPlan) -> Result<BTreeMap<u32, MaterializedTable>, Diagnosis> {
    let mut found = BTreeMap::new();
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found.extend(MaterializedTable::of(scan).map(|view| (view.oid(), view)));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(|error| diagnose(&error))?;
    Ok(found)
}

/// The tables of stores that a plan reads where views are read from what was chosen.
fn find_tables(plan: &LogicalPlan, branches: &Branches, found: &mut BTreeSet<(StoreName, TableId)>) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(TreeNodeRecursion::Continue) };
        if let Some(view) = MaterializedTable::of(scan) {
            if view.rows(branches).is_none() {
                find_tables(view.query(), branches, found)?;
            }
            return Ok(TreeNodeRecursion::Continue);
        }
        if let Some((store, table)) = stored(scan) {
            found.insert((store, table.id.clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map(drop)
}

fn stored(scan: &TableScan) -> Option<(StoreName, Arc<Table>)> {
    let provider = source_as_provider(&scan.source).ok()?;
    let provider: &dyn Any = provider.as_ref();
    provider.downcast_ref::<StoredTable>().map(|stored| (stored.store().clone(), Arc::clone(stored.table())))
}

/// Whether all materialized views that a planned statement reads are read from their rows, or there are none.
pub(super) fn are_all_rows(planned: &Planned, branches: Option<&Branches>) -> bool {
    if views(&planned.relations).is_empty() {
        return true;
    }
    let mut all = true;
    let walked = planned.logical().apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(view) = MaterializedTable::of(scan)
        {
            all &= branches.is_some_and(|branches| view.rows(branches).is_some());
        }
        Ok(if all { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    all && walked.is_ok()
}

/// The plan of a statement, before analysis, with the query of each materialized view in its place that is not read from its rows.
///
/// # Errors
/// What building nodes anew fails with.
pub(super) fn as_chosen(planned: &Planned, branches: Option<&Branches>) -> Result<LogicalPlan, DataFusionError> {
    let plan = planned.logical().clone();
    if are_all_rows(planned, branches) { Ok(plan) } else { in_place(plan, branches) }
}

fn in_place(plan: LogicalPlan, branches: Option<&Branches>) -> Result<LogicalPlan> {
    let placed = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = &node else {
            // What stands above may see other types, which analysis is going to settle.
            return Ok(Transformed::yes(node.recompute_schema()?));
        };
        let Some(view) = MaterializedTable::of(scan) else { return Ok(Transformed::no(node)) };
        if branches.is_some_and(|branches| view.rows(branches).is_some()) {
            return Ok(Transformed::no(node));
        }
        if scan.projection.is_some() || !scan.filters.is_empty() || scan.fetch.is_some() {
            return Err(DataFusionError::Internal("a materialized view is optimised before it is known how it is read".to_owned()));
        }
        let query = in_place(view.query().clone(), branches)?;
        let named = SubqueryAlias::try_new(Arc::new(query), scan.table_name.clone())?;
        Ok(Transformed::yes(LogicalPlan::SubqueryAlias(named)))
    });
    placed.data()
}
