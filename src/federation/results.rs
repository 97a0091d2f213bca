//! What the result of a query depends on: the tables that it is made of, and everything else, which is its key.
//!
//! ```text
//! Planned → reads (tables by store, or why its result is not kept) → cache/results: begin
//! statement, types, path, settings, role, catalog + values → key → cache/results: find, keep
//! ```
//!
//! **Invariants:** two queries with one key give the same rows of the same tables; what may give other rows of the same tables has no reads.

use std::any::Any;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF, Volatility};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;

use super::engine::Engine;
use super::error::diagnose;
use super::plan::{Planned, Setting, analyze, timeless_state};
use super::plans;
use super::provider::StoredTable;
use super::semantics;
use crate::cache::results::{Key, Keyed, Rejected};
use crate::catalog::RelationBody;
use crate::stores::{StoreName, Table};
use crate::task::OwnedTask;

/// The tables that a query reads, by their stores, each once.
pub type Reads = BTreeMap<StoreName, Vec<Arc<Table>>>;

/// What the rows of a query depend on besides its tables.
#[derive(Debug)]
struct Question {
    planned_with: plans::Key,
    values: Vec<ScalarValue>,
    bytes: usize,
}

impl Keyed for Question {
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.planned_with.digest(), &self.values).hash(&mut hasher);
        hasher.finish()
    }

    fn is(&self, other: &dyn Keyed) -> bool {
        let other: &dyn Any = other;
        let is_same = |other: &Self| self.planned_with == other.planned_with && self.values == other.values;
        other.downcast_ref::<Self>().is_some_and(is_same)
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What a tree takes for each byte of its text, roughly.
const BYTES_PER_LETTER: usize = 64;

/// The key of a query with these types and values of its parameters.
pub fn key(query: &Query, (given, values): (&[u32], &[ScalarValue]), setting: &Setting) -> Key {
    let letters = query.to_string().len().saturating_mul(BYTES_PER_LETTER);
    let bytes = values.iter().map(ScalarValue::size).fold(letters, usize::saturating_add);
    Key::of(Question { planned_with: plans::Key::new(query, given, setting), values: values.to_vec(), bytes })
}

/// The tables that a planned query reads; found once for all that share the plan.
///
/// # Errors
/// Its result is not kept, for this reason.
pub async fn reads(engine: &Engine, setting: &Setting, planned: &Planned) -> Result<Arc<Reads>, Rejected> {
    let known = planned.reads();
    if let Some(found) = known.get() {
        return found.clone();
    }
    let place = engine.planner().await;
    let (engine, setting, planned) = (engine.clone(), setting.clone(), planned.clone());
    let work = move || {
        let found = find(&engine, &setting, &planned).map(Arc::new);
        drop(place);
        found
    };
    let found = OwnedTask::spawn_blocking(work).join().await;
    let found = found.unwrap_or_else(|| Err(Rejected::new("fault", "what it reads could not be found")));
    known.get_or_init(|| found).clone()
}

fn find(engine: &Engine, setting: &Setting, planned: &Planned) -> Result<Reads, Rejected> {
    let state = timeless_state(engine, setting);
    let analyzed = analyze(&state, planned.logical()).map_err(|error| Rejected::new("not-analysed", error.message))?;
    let mut found = Found::default();
    found.walk(&analyzed).map_err(|error| Rejected::new("not-analysed", diagnose(&error).message))?;
    // Also what analysis has left out.
    for relation in planned.relations.values() {
        match &relation.body {
            RelationBody::Stored { store, table } => found.add(store, table),
            RelationBody::View { .. } => {}
            RelationBody::Rows(_) => {
                return Err(Rejected::new(
                    "system",
                    format!("it reads {}.{}, which the server makes", relation.schema, relation.name),
                ));
            }
        }
    }
    if let Some(rejected) = found.rejected {
        return Err(rejected);
    }
    if found.reads.is_empty() { Err(Rejected::new("no-tables", "it reads no table")) } else { Ok(found.reads) }
}

#[derive(Debug, Default)]
struct Found {
    reads: Reads,
    rejected: Option<Rejected>,
}

impl Found {
    fn add(&mut self, store: &StoreName, table: &Arc<Table>) {
        let tables = self.reads.entry(store.clone()).or_default();
        if !tables.iter().any(|known| known.id == table.id) {
            tables.push(Arc::clone(table));
        }
    }

    fn reject(&mut self, word: &'static str, reason: String) {
        self.rejected.get_or_insert_with(|| Rejected::new(word, reason));
    }

    /// Also what stands in expressions.
    fn walk(&mut self, plan: &LogicalPlan) -> EngineResult<()> {
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                match scan.source.get_logical_plan() {
                    Some(inner) => self.walk(&inner)?,
                    None => {
                        let provider = source_as_provider(&scan.source)?;
                        let provider: &dyn Any = provider.as_ref();
                        if let Some(stored) = provider.downcast_ref::<StoredTable>() {
                            self.add(stored.store(), stored.table());
                        } else if !provider.is::<CteWorkTable>() {
                            self.reject("system", format!("it reads {}, which the server makes", scan.table_name));
                        }
                    }
                }
            }
            node.apply_expressions(|expr| {
                expr.apply(|part| {
                    match part {
                        Expr::ScalarFunction(call) if varies(&call.func) => {
                            self.reject(
                                "volatile",
                                format!("it calls {}, which gives another value another time", call.func.name()),
                            );
                        }
                        Expr::ScalarVariable(..) => self.reject("volatile", "it reads a variable".to_owned()),
                        _ => {}
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(())
    }
}

/// Whether a function may give another value for the same arguments and settings.
fn varies(function: &ScalarUDF) -> bool {
    match function.signature().volatility {
        Volatility::Immutable => false,
        Volatility::Stable => true,
        Volatility::Volatile => !semantics::only_stays(function.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::engine::Limits;
    use super::super::plan::{parse_query, plan};
    use super::*;
    use crate::catalog::Snapshot;
    use crate::catalog::object::Objects;

    fn setting(role: &str) -> Setting {
        let snapshot = Snapshot {
            version: 1,
            database: "tributary".to_owned(),
            schemas: BTreeMap::new(),
            objects: Objects::default(),
            connectors: Arc::default(),
            reach: Arc::default(),
            retired: tokio_util::sync::CancellationToken::new(),
        };
        let facts = crate::catalog::snapshot::SessionFacts { role: role.to_owned(), ..Default::default() };
        Setting { facts: Arc::new(facts), ..Setting::of_server(Arc::new(snapshot)) }
    }

    fn rejected(sql: &str) -> &'static str {
        let (engine, setting) = (Engine::new(&Limits::default()).unwrap(), setting("ada"));
        let planned = plan(&engine, &setting, parse_query(sql).unwrap(), &[]).unwrap();
        find(&engine, &setting, &planned).unwrap_err().word
    }

    #[test]
    fn what_gives_other_rows_another_time_is_not_kept_also_in_subqueries() {
        for sql in ["SELECT now()", "SELECT random()", "SELECT 1 WHERE EXISTS (SELECT 1 WHERE current_date > '2000-01-01')"] {
            assert_eq!(rejected(sql), "volatile", "{sql}");
        }
        // Whatever has no table is not kept either.
        for sql in ["SELECT 1", "VALUES (1), (2)", "SELECT upper('a')"] {
            assert_eq!(rejected(sql), "no-tables", "{sql}");
        }
    }

    #[test]
    fn keys_differ_by_statement_values_types_and_role() {
        let query = |sql: &str| parse_query(sql).unwrap();
        let of = |sql: &str, given: &[u32], value: i64, role: &str| {
            key(&query(sql), (given, &[ScalarValue::Int64(Some(value))]), &setting(role))
        };
        let one = of("SELECT $1", &[20], 1, "ada");
        assert_eq!(one, of("select  $1", &[20], 1, "ada"));
        let others = [
            of("SELECT $1 + 1", &[20], 1, "ada"),
            of("SELECT $1", &[23], 1, "ada"),
            of("SELECT $1", &[20], 2, "ada"),
            of("SELECT $1", &[20], 1, "bob"),
        ];
        for other in others {
            assert_ne!(one, other);
        }
    }
}
