//! A stored table as the engine sees it: which filters its store takes, and the scan node that reads it.

use std::fmt;
use std::sync::{Arc, Weak};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Constraint, Constraints};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::branches::Branches;
use super::copy::CopyExec;
use super::items::plain_items;
use super::placement::Level;
use super::pushdown::{Budget, to_predicate};
use super::scan::ScanExec;
use crate::stores::{Connector, Predicate, Pushdown, Scan, StoreError, StoreName, Table};

/// A table of a store.
///
/// It does not keep its connector: a prepared statement keeps its plan for as long as a session lives, and must not keep
/// the pools of a store that was replaced meanwhile. Who plans or binds holds the catalog snapshot, which does.
pub struct StoredTable {
    store: StoreName,
    connector: Weak<dyn Connector>,
    table: Arc<Table>,
    /// The table's schema as the engine sees it.
    schema: SchemaRef,
    constraints: Constraints,
    /// Whether the store is asked to filter and to stop.
    takes_filters: bool,
}

impl fmt::Debug for StoredTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredTable").field("store", &self.store).field("table", &self.table.id).finish_non_exhaustive()
    }
}

impl StoredTable {
    /// The provider of `table`, owned by `connector`'s store.
    pub fn new(connector: &Arc<dyn Connector>, table: Arc<Table>) -> Self {
        // The planner leaves out columns that a key determines, so a key that is only declared would give wrong rows.
        let proven = table.primary_key.iter().filter(|key| key.proven);
        let keys = proven.map(|key| Constraint::PrimaryKey(key.columns.clone()));
        let constraints = Constraints::new_unverified(keys.collect());
        let schema = plain_items(&table.schema);
        let (store, connector) = (connector.name().clone(), Arc::downgrade(connector));
        Self { store, connector, table, schema, constraints, takes_filters: true }
    }

    /// The same, asked for as much as a level of placement allows.
    #[must_use]
    pub fn under(self, level: Level) -> Self {
        Self { takes_filters: level != Level::None, ..self }
    }

    /// The store's connector, unless it was replaced.
    pub fn connector(&self) -> Option<Arc<dyn Connector>> {
        self.connector.upgrade()
    }

    /// The read of some columns under filters that [`TableProvider::supports_filters_pushdown`] took, and how many of them the
    /// store evaluates exactly: the first ones of the scan.
    pub fn scan_of(&self, projection: Option<&Vec<usize>>, filters: &[Expr]) -> (Scan, usize) {
        let mut filter: Vec<Predicate> = Vec::with_capacity(filters.len());
        let mut supersets = Vec::new();
        let mut budget = Budget::of_scan();
        for expr in filters {
            match self.judge(expr) {
                // Nobody checks it again, so it is sent whatever it costs; the answer above has kept the cost low.
                Pushdown::Exact(predicate) => {
                    budget.take(&predicate);
                    filter.push(predicate);
                }
                Pushdown::Superset(predicate) => supersets.push(predicate),
                Pushdown::Refused(_) => {}
            }
        }
        let exact = filter.len();
        filter.extend(supersets.into_iter().filter(|predicate| budget.take(predicate)));
        let columns = projection.cloned().unwrap_or_else(|| (0..self.table.columns.len()).collect());
        (Scan { store: self.store.clone(), table: self.table.id.clone(), columns, filter, limit: None }, exact)
    }

    /// The store that holds it.
    pub fn store(&self) -> &StoreName {
        &self.store
    }

    /// What discovery found of it.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Whether the store evaluates a condition exactly, so that nobody has to check it again.
    pub fn is_exact(&self, filter: &Expr) -> bool {
        matches!(self.judge(filter), Pushdown::Exact(_))
    }

    fn judge(&self, filter: &Expr) -> Pushdown {
        if !self.takes_filters {
            return Pushdown::Refused("the session sends no filters");
        }
        match to_predicate(filter, &self.table.schema) {
            Some(predicate) => match self.connector.upgrade() {
                Some(connector) => connector.pushdown(&self.table, &predicate),
                None => Pushdown::Refused("the store was replaced"),
            },
            None => Pushdown::Refused("the engine has no store-neutral form for it"),
        }
    }
}

#[async_trait]
impl TableProvider for StoredTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let mut budget = Budget::of_answer();
        let answers = filters.iter().map(|filter| match self.judge(filter) {
            Pushdown::Exact(predicate) if budget.take(&predicate) => TableProviderFilterPushDown::Exact,
            Pushdown::Superset(predicate) if budget.take(&predicate) => TableProviderFilterPushDown::Inexact,
            Pushdown::Exact(_) | Pushdown::Superset(_) | Pushdown::Refused(_) => TableProviderFilterPushDown::Unsupported,
        });
        Ok(answers.collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (scan, exact) = self.scan_of(projection, filters);
        let scan = Scan { limit: limit.filter(|_| exact == filters.len() && self.takes_filters).map(|limit| limit as u64), ..scan };
        let Some(connector) = self.connector.upgrade() else {
            let reason = "It was replaced while the statement was planned.".to_owned();
            return Err(StoreError::Unreachable { store: self.store.to_string(), reason }.into());
        };
        let described = connector.describe_with_values(&self.table, &scan);
        let node = ScanExec::new(Arc::clone(&self.table), scan, described).stopping(self.takes_filters);
        let branches = state.config().get_extension::<Branches>();
        if branches.is_none_or(|branches| !branches.is_copied(&self.store, &self.table)) {
            return Ok(Arc::new(node));
        }
        // What the store would have been relied on for is checked beside the copy; the rest stands above anyway.
        let exact: Vec<Expr> = filters.iter().filter(|filter| self.is_exact(filter)).cloned().collect();
        let said = exact.iter().filter_map(|filter| to_predicate(filter, &self.table.schema)).collect();
        Ok(Arc::new(CopyExec::new(node, &self.table, (exact, said), state.execution_props())?))
    }
}
