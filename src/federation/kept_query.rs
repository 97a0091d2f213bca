//! The query of a materialized view as its rows are kept: planned for no session, and told which tables its rows come from.
//!
//! Nothing of it goes to a store but columns: its conditions stay in the plan, where whoever keeps its rows up to date finds them. The
//! materialized views that it reads are their queries here, so that all of it comes from one state of each store.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use chrono_tz::Tz;
use datafusion::common::DFSchema;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, TableScan, Volatility, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;

use super::branches::{BranchKind, Branches};
use super::digits;
use super::engine::Engine;
use super::error::diagnose;
use super::generic::PlanMode;
use super::output::OutputColumn;
use super::placement::Level;
use super::plan::{self, Planned, Setting, analyze, parse_query, timeless_state};
use super::provider::StoredTable;
use super::rechecks;
use super::semantics::functions::returns_set;
use super::semantics::typed::Typed;
use super::semantics::{self, constants, logic, sets};
use crate::cache::Reading;
use crate::catalog::snapshot::SessionFacts;
use crate::catalog::{RelationBody, Snapshot, system};
use crate::error::{Diagnosis, sqlstate};
use crate::format::{ByteaOutput, DateOrder, DateStyle, DisplaySettings, IntervalStyle, TimeZone};
use crate::pgtype::{PgField, PgType};
use crate::stores::schema::TableId;
use crate::stores::{StoreName, Table};
use crate::task::OwnedTask;

/// Tables by their stores.
pub type Tables = BTreeMap<StoreName, BTreeMap<TableId, Arc<Table>>>;

/// Functions that are not the same in every session, and are the same under the settings of the server itself.
const SETTLED: [&str; 2] = ["to_char", "to_timestamp"];

/// Functions that give one of their arguments as it is.
const TAKES: [&str; 4] = ["coalesce", "nullif", "greatest", "least"];

/// The query of a view, planned for no session.
#[derive(Debug, Clone)]
pub struct KeptQuery {
    query: Query,
    setting: Setting,
    planned: Planned,
    /// The same under settings that read and show times and numbers otherwise; `None` where it cannot be planned under them.
    elsewhere: Option<(Setting, Planned)>,
}

/// The same, ready for being kept up to date.
#[derive(Debug)]
pub struct Optimized {
    /// The plan whose leaves are scans of tables, with all conditions in it and computed in their order.
    pub plan: LogicalPlan,
    /// What its expressions are evaluated under.
    pub state: SessionState,
    /// What it reads.
    pub tables: Tables,
    /// The fields of its rows, by the names of the view, each of which may be NULL.
    pub schema: SchemaRef,
    /// Why its rows are not given by those of its tables alone, as a clause.
    pub unsettled: Option<&'static str>,
    /// Whether its rows are others where a session computes or shows times and numbers otherwise (`TimeZone`, `DateStyle`, …).
    pub shows: bool,
    /// The same text as long as the view means the same.
    pub signature: String,
}

/// The table that a scan reads, where it is one of a store.
pub fn table_of(scan: &TableScan) -> Option<(StoreName, Arc<Table>)> {
    let provider = source_as_provider(&scan.source).ok()?;
    let provider: &dyn Any = provider.as_ref();
    let stored = provider.downcast_ref::<StoredTable>()?;
    Some((stored.store().clone(), Arc::clone(stored.table())))
}

impl KeptQuery {
    /// Plans all of a view of a snapshot, aside from the threads that serve connections.
    ///
    /// # Errors
    /// Why the view cannot be planned.
    pub async fn plan(
        engine: &Engine,
        snapshot: &Arc<Snapshot>,
        (schema, name): (&str, &str),
        owner: &str,
    ) -> Result<Self, Diagnosis> {
        let facts = SessionFacts { role: owner.to_owned(), ..SessionFacts::default() };
        let setting = Setting {
            facts: Arc::new(facts),
            pushdown: Level::None,
            plan_mode: PlanMode::Custom,
            ..Setting::of_server(Arc::clone(snapshot))
        };
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let query = parse_query(&format!("SELECT * FROM {}.{}", quoted(schema), quoted(name)))?;
        let planned = plan::plan_aside(engine, &setting, query.clone(), &[]).await?;
        let other = elsewhere(&setting);
        let elsewhere = plan::plan_aside(engine, &other, query.clone(), &[]).await.ok().map(|planned| (other, planned));
        Ok(Self { query, setting, planned, elsewhere })
    }

    /// Its columns.
    pub fn columns(&self) -> &[OutputColumn] {
        &self.planned.columns
    }

    /// The plan that is kept up to date, made aside.
    ///
    /// # Errors
    /// As planning, and errors of constant expressions (22012, 22P02, …).
    pub async fn optimized(&self, engine: &Engine) -> Result<Optimized, Diagnosis> {
        let place = engine.planner().await;
        let (engine, query) = (engine.clone(), self.clone());
        let work = move || {
            let optimized = query.optimize(&engine);
            drop(place);
            optimized
        };
        let optimized = OwnedTask::spawn_blocking(work).join().await;
        optimized.unwrap_or_else(|| Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "planning ended without a result")))
    }

    fn optimize(&self, engine: &Engine) -> Result<Optimized, Diagnosis> {
        let state = timeless_state(engine, &self.setting);
        let analyzed = analyze(&state, self.planned.logical())?;
        constants::check(&analyzed, state.config_options()).map_err(|error| diagnose(&error))?;
        let unsettled = self.unsettled(&analyzed)?;
        let shows = shows(&analyzed)? || self.reads_otherwise(engine, &analyzed);
        let fields = analyzed.schema().fields().iter().zip(&self.planned.columns);
        let named = |(field, column): (&FieldRef, &OutputColumn)| {
            field.as_ref().clone().with_name(&column.name).with_nullable(true).with_pg_type(column.pg_type)
        };
        let fields: Vec<Field> = fields.map(named).collect();
        let text = analyzed.display_indent_schema().to_string();
        let optimized = state.optimizer().optimize(analyzed, &state, |_, _| {});
        let plan = optimized.and_then(rechecks::keep_conditions).and_then(sets::narrow).and_then(logic::in_order);
        let plan = plan.map_err(|error| diagnose(&error))?;
        let tables = tables_of(&plan)?;
        // The same names may be those of other tables.
        let ids = tables.iter().flat_map(|(store, tables)| tables.values().map(move |table| means(store, table)));
        let marks = fields.iter().map(|field| format!("{} {:?} {:?}", field.name(), field.data_type(), sorted(field.metadata())));
        let signature = ids.chain(marks).chain(self.views()).chain([text]).collect::<Vec<_>>().join("\n");
        Ok(Optimized { plan, state, tables, schema: Arc::new(Schema::new(fields)), unsettled, shows, signature })
    }

    /// The views that it reads, itself among them, each with all that it says: the text of a plan does not tell casts apart by their types.
    fn views(&self) -> impl Iterator<Item = String> {
        self.planned.relations.values().filter_map(|relation| match &relation.body {
            RelationBody::View { sql, columns, kept } => {
                let kept = kept.as_ref().map(|kept| &kept.columns);
                Some(format!("{}.{} {sql} {columns:?} {kept:?}", relation.schema, relation.name))
            }
            RelationBody::Stored { .. } | RelationBody::Rows(_) => None,
        })
    }

    /// Whether its constants are others for a session with other settings: a time without its zone is read under them.
    fn reads_otherwise(&self, engine: &Engine, analyzed: &LogicalPlan) -> bool {
        let Some((setting, planned)) = &self.elsewhere else { return true };
        analyze(&timeless_state(engine, setting), planned.logical()).map_or(true, |other| other != *analyzed)
    }

    /// Why its rows are not given by those of its tables alone.
    fn unsettled(&self, analyzed: &LogicalPlan) -> Result<Option<&'static str>, Diagnosis> {
        if self.planned.relations.values().any(|relation| matches!(relation.body, RelationBody::Rows(_))) {
            return Ok(Some("it reads a system relation"));
        }
        let mut found = None;
        let walked = analyzed.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                expr.apply(|part| {
                    found = found.or(passing(part));
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        });
        walked.map_err(|error| diagnose(&error))?;
        Ok(found)
    }

    /// Its rows as the stores have them now. Nothing else is told of when each store was read.
    ///
    /// # Errors
    /// As planning, and what starting an operator failed with.
    pub async fn rows_of_stores(&self, engine: &Engine) -> Result<SendableRecordBatchStream, Diagnosis> {
        let setting = Setting { pushdown: Level::default(), ..self.setting.clone() };
        let branches = Arc::new(Branches::new(&self.setting.snapshot, BranchKind::Statement, None));
        // Which conditions go to stores is settled with the names.
        let planned = plan::plan_aside(engine, &setting, self.query.clone(), &[]).await?;
        Box::pin(digits::bind(engine, &setting, &planned, &[], (&branches, None))).await?.run()
    }

    /// Its rows in these sets of copies, and what tells afterwards whether all of them came from there.
    ///
    /// # Errors
    /// As planning, and what starting an operator failed with.
    pub async fn rows_of_copies(
        &self,
        engine: &Engine,
        readings: BTreeMap<StoreName, Arc<Reading>>,
    ) -> Result<(SendableRecordBatchStream, Arc<Branches>), Diagnosis> {
        self.run_over(engine, &self.planned, readings).await
    }

    /// The same, of which only the rows are given that have one of some values in a column, by its place. NULL is a value as any other, and
    /// all of them are of the column's type. The condition stands above the query, so that nothing else of its rows is another.
    ///
    /// # Errors
    /// As [`KeptQuery::rows_of_copies`].
    pub async fn rows_of_keys(
        &self,
        engine: &Engine,
        readings: BTreeMap<StoreName, Arc<Reading>>,
        (column, values): (usize, Vec<ScalarValue>),
    ) -> Result<(SendableRecordBatchStream, Arc<Branches>), Diagnosis> {
        let limited = self.limited_to(column, values)?;
        self.run_over(engine, &limited, readings).await
    }

    /// The query under a condition on one of its columns.
    fn limited_to(&self, column: usize, values: Vec<ScalarValue>) -> Result<Planned, Diagnosis> {
        let logical = self.planned.logical();
        let known = logical.schema().columns().into_iter().nth(column).zip(self.planned.columns.get(column));
        let Some((name, output)) = known else {
            return Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "the query of a view has no such column"));
        };
        let condition = one_of(&Expr::Column(name), values, output.pg_type);
        let limited = LogicalPlanBuilder::from(logical.clone()).filter(condition).and_then(LogicalPlanBuilder::build);
        Ok(self.planned.with_logical(limited.map_err(|error| diagnose(&error))?))
    }

    async fn run_over(
        &self,
        engine: &Engine,
        planned: &Planned,
        readings: BTreeMap<StoreName, Arc<Reading>>,
    ) -> Result<(SendableRecordBatchStream, Arc<Branches>), Diagnosis> {
        let branches = Branches::new(&self.setting.snapshot, BranchKind::Statement, None).with_pinned(readings);
        let branches = Arc::new(branches);
        let bound = Box::pin(plan::bind_aside(engine, &self.setting, planned, &[], &branches)).await?;
        Ok((bound.run()?, branches))
    }
}

/// Whether an expression has one of some values, which are of its type; NULL is a value as any other.
pub fn one_of(expr: &Expr, values: Vec<ScalarValue>, pg_type: PgType) -> Expr {
    let (nulls, known): (Vec<ScalarValue>, Vec<ScalarValue>) = values.into_iter().partition(ScalarValue::is_null);
    let literal = |value: ScalarValue| {
        // Without its type a text would be one that has none yet.
        let field = Field::new("key", value.data_type(), true).with_pg_type(PgType::with_typmod(pg_type.oid, -1));
        Expr::Literal(value, Some(FieldMetadata::new_from_field(&field)))
    };
    let listed = (!known.is_empty()).then(|| expr.clone().in_list(known.into_iter().map(literal).collect(), false));
    let missing = (!nulls.is_empty()).then(|| expr.clone().is_null());
    listed.into_iter().chain(missing).reduce(Expr::or).unwrap_or_else(|| lit(false))
}

/// Whether computing an expression may fail for a row of a schema: unless that is known of it.
pub fn may_fail(expr: &Expr, schema: &DFSchema) -> bool {
    semantics::may_fail(expr, schema)
}

/// Settings under which nothing that depends on them is as under those of the server.
fn elsewhere(setting: &Setting) -> Setting {
    let display = DisplaySettings {
        time_zone: TimeZone::Named(Tz::Pacific__Kiritimati),
        date_style: DateStyle::Sql,
        date_order: DateOrder::Dmy,
        interval_style: IntervalStyle::SqlStandard,
        bytea_output: ByteaOutput::Escape,
        extra_float_digits: 0,
    };
    Setting { time_zone: Tz::Pacific__Kiritimati.name().to_owned(), display, ..setting.clone() }
}

/// Whether some value of a plan may depend on how its session reads and shows times and numbers: whatever is computed of a time with its
/// zone, put into text, or read from text as a time. What is only compared, or taken as it is, does not.
fn shows(analyzed: &LogicalPlan) -> Result<bool, Diagnosis> {
    let mut found = false;
    let walked = analyzed.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                let from: Vec<&Expr> = match part {
                    Expr::ScalarFunction(call) if TAKES.contains(&call.func.name()) => return Ok(TreeNodeRecursion::Continue),
                    Expr::ScalarFunction(call) => call.args.iter().collect(),
                    Expr::Cast(cast) => vec![cast.expr.as_ref()],
                    Expr::TryCast(cast) => vec![cast.expr.as_ref()],
                    _ => return Ok(TreeNodeRecursion::Continue),
                };
                let of = |expr: &Expr| expr.get_type(&schema).ok();
                let (types, to) = (from.into_iter().map(of).collect::<Option<Vec<_>>>(), of(part));
                found |= types.zip(to).is_none_or(|(types, to)| {
                    let is_zoned = |data_type: &DataType| matches!(data_type, DataType::Timestamp(_, Some(_)));
                    let is_text = matches!(to, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
                    let is_read = to.is_temporal() && !types.iter().all(DataType::is_temporal);
                    is_zoned(&to) || types.iter().any(is_zoned) || is_text && !types.iter().all(is_plain) || is_read
                });
                Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    });
    walked.map_err(|error| diagnose(&error))?;
    Ok(found)
}

/// The values of a column with one form for all that are equal to one another, where carriers of its type are not: numbers with another
/// number of digits, -0 and 0, the same time in other units. NULL stays NULL.
///
/// # Errors
/// A value that is none of its type.
pub fn in_one_form(array: &ArrayRef, field: &Field) -> Result<ArrayRef, Diagnosis> {
    let told = semantics::told_apart(array, &Typed::of_field(field)).map_err(|error| diagnose(&error))?;
    Ok(told.unwrap_or_else(|| Arc::clone(array)))
}

/// Whether values of a type are written in one way only.
fn is_plain(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Null | DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
        || data_type.is_integer()
        || matches!(
            data_type,
            DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..)
        )
}

/// What a plan may have concluded from of a table: its columns with their types and what is known of them, and its keys.
fn means(store: &StoreName, table: &Table) -> String {
    let columns = table.columns.iter().map(|column| {
        let field = &column.field;
        format!("{} {:?} {} {:?}", field.name(), field.data_type(), field.is_nullable(), sorted(field.metadata()))
    });
    let columns: Vec<String> = columns.collect();
    format!("{store} {:?} {columns:?} {:?} {:?} {:?}", table.id, table.primary_key, table.unique_keys, table.foreign_keys)
}

fn sorted(metadata: &HashMap<String, String>) -> BTreeMap<&String, &String> {
    metadata.iter().collect()
}

/// Why a value is another one at another moment or in another session.
fn passing(expr: &Expr) -> Option<&'static str> {
    let Expr::ScalarFunction(call) = expr else { return None };
    if system::is_of_session(&call.func) {
        return Some("it calls a function that answers for a session");
    }
    match call.func.signature().volatility {
        Volatility::Immutable => None,
        Volatility::Stable if SETTLED.contains(&call.func.name()) => None,
        Volatility::Stable => Some("it depends on the time"),
        Volatility::Volatile if returns_set(call.func.name()) => None,
        Volatility::Volatile => Some("it calls a function that gives another value each time"),
    }
}

fn tables_of(plan: &LogicalPlan) -> Result<Tables, Diagnosis> {
    let mut tables = Tables::new();
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some((store, table)) = table_of(scan)
        {
            tables.entry(store).or_default().insert(table.id.clone(), table);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(|error| diagnose(&error))?;
    Ok(tables)
}
