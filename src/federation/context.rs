//! Names for the planner: relations come from the catalog snapshot, functions from the engine.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::catalog::view::ViewTable;
use datafusion::common::TableReference;
use datafusion::common::config::ConfigOptions;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart, Query, visit_relations};

use super::ast;
use super::changes;
use super::engine;
use super::materialized::MaterializedTable;
use super::placement::Level;
use super::plan::{parse_query, to_logical};
use super::provider::StoredTable;
use super::semantics::functions::Missing;
use super::views;
use crate::catalog::kept::KeptView;
use crate::catalog::snapshot::SessionFacts;
use crate::catalog::{QualifiedName, Relation, RelationBody, SearchPath, Snapshot};
use crate::error::{Diagnosis, Limit, sqlstate};

/// How deep views may stand on views.
const VIEW_DEPTH_MAX: usize = 32;

/// Where names are looked up while one statement is planned.
pub struct PlanContext<'a> {
    state: &'a SessionState,
    snapshot: &'a Arc<Snapshot>,
    path: &'a SearchPath,
    facts: &'a SessionFacts,
    /// The views that are being planned around this query, the outermost first.
    around: Vec<u32>,
    used: RefCell<BTreeMap<u32, Arc<Relation>>>,
    /// A function that does not exist, while the types that it is called with are asked for.
    missing: RefCell<Option<Arc<ScalarUDF>>>,
}

impl<'a> PlanContext<'a> {
    /// A context for a statement of a session.
    pub fn new(state: &'a SessionState, snapshot: &'a Arc<Snapshot>, path: &'a SearchPath, facts: &'a SessionFacts) -> Self {
        Self { state, snapshot, path, facts, around: Vec::new(), used: RefCell::default(), missing: RefCell::default() }
    }

    /// The relations that planning has resolved, by object id.
    pub fn used(&self) -> BTreeMap<u32, Arc<Relation>> {
        self.used.borrow().clone()
    }

    /// An error of planning; that of a call of no function with the types of the arguments, which planning once more may tell.
    pub fn with_arguments(&self, error: Diagnosis, plan: impl FnOnce() -> Result<LogicalPlan, Diagnosis>) -> Diagnosis {
        let Some(name) = missing_name(&error) else { return error };
        *self.missing.borrow_mut() = Some(Arc::new(ScalarUDF::new_from_impl(Missing::new(&name))));
        let again = plan();
        *self.missing.borrow_mut() = None;
        match again {
            Err(told) if told.message.starts_with(&format!("function {name}(")) => told,
            _ => error,
        }
    }

    /// Runs the passes of `ast` over a query; those for catalog queries only when every relation is the catalog's own.
    ///
    /// # Errors
    /// As [`ast::prepare`], and 0A000 for WITH queries that would be computed several times and differ.
    pub fn prepare(&self, query: &mut Query) -> Result<(), Diagnosis> {
        ast::reserved::refuse(query)?;
        let mut seen = BTreeSet::new();
        ast::volatile::refuse_copies(query, &mut |name| self.gives_others(name, (self.path, 0), &mut seen))?;
        if self.reads_only_catalog(query) {
            ast::catalog::rewrite(query);
        }
        let (columns_of, key_of) = (|name: &ObjectName| self.columns(name), |name: &ObjectName| self.declared_key(name));
        let is_aggregate = |name: &str| engine::is_aggregate(self.state, name);
        ast::prepare(query, &ast::Known { columns_of: &columns_of, key_of: &key_of, is_aggregate: &is_aggregate })
    }

    /// The columns of a table or view in their order; `None` when there is none of the name, or they are not known.
    fn columns(&self, name: &ObjectName) -> Option<Vec<String>> {
        let relation = self.snapshot.resolve(&qualified(name), self.path).ok()?;
        match &relation.body {
            RelationBody::Stored { table, .. } => Some(table.columns.iter().map(|column| column.name().to_owned()).collect()),
            // Also while the views that the next snapshot will have are planned.
            RelationBody::View { kept: Some(kept), .. } => Some(kept.columns.iter().map(|column| column.name.clone()).collect()),
            RelationBody::View { columns, .. } if !columns.is_empty() => {
                Some(columns.iter().map(|(name, _)| name.clone()).collect())
            }
            RelationBody::View { .. } | RelationBody::Rows(_) => None,
        }
    }

    /// The columns of a table's primary key, where the planner does not know of it.
    fn declared_key(&self, name: &ObjectName) -> Option<Vec<String>> {
        let relation = self.snapshot.resolve(&qualified(name), self.path).ok()?;
        let RelationBody::Stored { table, .. } = &relation.body else { return None };
        let key = table.primary_key.as_ref().filter(|key| !key.proven)?;
        key.columns.iter().map(|ordinal| Some(table.columns.get(*ordinal)?.name().to_owned())).collect()
    }

    /// Whether a name is that of a view that gives other rows each time; views that were seen before are not told again.
    fn gives_others(&self, name: &ObjectName, (path, depth): (&SearchPath, usize), seen: &mut BTreeSet<u32>) -> bool {
        let Ok(relation) = self.snapshot.resolve(&qualified(name), path) else { return false };
        let RelationBody::View { sql, .. } = &relation.body else { return false };
        if depth >= VIEW_DEPTH_MAX || !seen.insert(relation.oid) {
            return false;
        }
        let inner = (views::path_of(&relation), depth + 1);
        parse_query(sql).is_ok_and(|query| ast::volatile::gives_others(&query, &mut |name| self.gives_others(name, inner, seen)))
    }

    /// Whether every relation of the query, but its own WITH queries, is one of the system schemas'.
    fn reads_only_catalog(&self, query: &Query) -> bool {
        let own = ast::catalog::with_names(query);
        let mut found = 0_usize;
        let all = visit_relations(query, |name| {
            let name = qualified(name);
            if name.schema.is_none() && own.contains(&name.relation) {
                return ControlFlow::Continue(());
            }
            found += 1;
            match self.snapshot.resolve(&name, self.path) {
                Ok(relation) if matches!(relation.schema.as_str(), "pg_catalog" | "information_schema") => {
                    ControlFlow::Continue(())
                }
                // Functions in FROM are visited as relations too; they read no table.
                Err(_) if is_function(&name.relation) => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        });
        found > 0 && all.is_continue()
    }

    fn source(&self, relation: &Relation) -> Result<Arc<dyn TableSource>> {
        match &relation.body {
            RelationBody::Stored { store, table } => {
                let Some(connector) = self.snapshot.connectors.get(store) else {
                    return Err(
                        Diagnosis::new(sqlstate::UNDEFINED_OBJECT, format!("store \"{store}\" is no longer configured")).into()
                    );
                };
                let level = self.state.config().get_extension::<Level>().map_or_else(Level::default, |level| *level);
                Ok(provider_as_source(Arc::new(StoredTable::new(connector, Arc::clone(table)).under(level))))
            }
            RelationBody::View { sql, kept, .. } => self.view(relation, (sql.as_str(), kept.as_deref())),
            RelationBody::Rows(rows) if rows.is_log() => {
                Ok(provider_as_source(changes::table(self.snapshot, self.facts, rows.schema())))
            }
            RelationBody::Rows(rows) => {
                let batch = rows.rows(self.snapshot, self.facts)?;
                Ok(provider_as_source(Arc::new(MemTable::try_new(rows.schema(), vec![vec![batch]])?)))
            }
        }
    }

    fn view(&self, relation: &Relation, (sql, kept): (&str, Option<&KeptView>)) -> Result<Arc<dyn TableSource>> {
        let name = format!("{}.{}", relation.schema, relation.name);
        if self.around.contains(&relation.oid) {
            let message = format!("view \"{name}\" stands on itself");
            return Err(Diagnosis::new(sqlstate::INVALID_OBJECT_DEFINITION, message).into());
        }
        if self.around.len() >= VIEW_DEPTH_MAX {
            let message = format!("view \"{name}\" stands on too many views");
            return Err(Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, message).at(Limit::Complexity).into());
        }
        let inner = PlanContext {
            around: self.around.iter().copied().chain([relation.oid]).collect(),
            ..PlanContext::new(self.state, self.snapshot, views::path_of(relation), self.facts)
        };
        let broken = |error: Diagnosis| {
            // What a view inside this one is missing is the reason that helps.
            let detail = error.detail.clone().filter(|_| error.message.ends_with("cannot be planned"));
            let detail = detail.unwrap_or_else(|| error.message.clone());
            Diagnosis { message: format!("view \"{name}\" cannot be planned"), detail: Some(detail), position: None, ..error }
        };
        let mut query = parse_query(sql).map_err(broken)?;
        inner.prepare(&mut query).map_err(broken)?;
        let plan = to_logical(&inner, query, &[]).map_err(broken)?;
        let plan = match kept {
            Some(kept) => views::outputs(plan, kept).map_err(broken)?,
            None => {
                check_distinct(plan.schema().fields().iter().map(|field| ast::visible(field.name()))).map_err(broken)?;
                views::named(plan).map_err(broken)?
            }
        };
        self.used.borrow_mut().extend(inner.used());
        if kept.is_some_and(|kept| kept.materialized.is_some()) && self.facts.views.are_served() {
            let table = MaterializedTable::new(relation, plan, self.state).map_err(broken)?;
            return Ok(provider_as_source(Arc::new(table)));
        }
        Ok(provider_as_source(Arc::new(ViewTable::new(plan, Some(sql.to_owned())))))
    }
}

/// The function that an error says does not exist, when it does not tell its arguments.
fn missing_name(error: &Diagnosis) -> Option<String> {
    let name = error.message.strip_prefix("function ")?.strip_suffix(" does not exist")?;
    (error.sqlstate == sqlstate::UNDEFINED_FUNCTION && !name.contains('(')).then(|| name.to_owned())
}

/// The columns of a view have names of their own, as PostgreSQL's CREATE VIEW demands.
///
/// # Errors
/// 42701
pub(super) fn check_distinct<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Diagnosis> {
    let mut known = BTreeSet::new();
    match names.into_iter().find(|name| !known.insert(*name)) {
        Some(twice) => Err(Diagnosis::new(sqlstate::DUPLICATE_COLUMN, format!("column \"{twice}\" specified more than once"))
            .with_hint("Give each column of the view a name of its own with AS.")),
        None => Ok(()),
    }
}

/// A written name, folded.
fn qualified(name: &ObjectName) -> QualifiedName {
    let mut parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(ast::name::fold).collect();
    let relation = parts.pop().unwrap_or_default();
    QualifiedName { schema: parts.pop(), database: parts.pop(), relation }
}

/// Functions that client introspection calls in FROM.
fn is_function(name: &str) -> bool {
    matches!(name, "generate_series" | "unnest" | "pg_partition_ancestors" | "aclexplode" | "pg_get_keywords" | "_pg_expandarray")
}

impl ContextProvider for PlanContext<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let name = QualifiedName {
            database: name.catalog().map(str::to_owned),
            schema: name.schema().map(str::to_owned),
            relation: name.table().to_owned(),
        };
        let relation = self.snapshot.resolve(&name, self.path)?;
        let source = self.source(&relation)?;
        self.used.borrow_mut().insert(relation.oid, relation);
        Ok(source)
    }

    /// Functions in FROM are planned as sets (`semantics::sets`); what is left exists for no one.
    fn get_table_function_source(&self, name: &str, _args: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
        Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, format!("function {name} does not exist")).into())
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.state.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(super::semantics::type_planner())
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let known = self.state.scalar_functions().get(name).cloned();
        known.or_else(|| self.missing.borrow().as_ref().filter(|missing| missing.name() == name).cloned())
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
