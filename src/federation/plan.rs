//! From a parsed query to a running one: names, types, optimiser, physical plan.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, FieldRef};
use chrono::{DateTime, Utc};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::{FunctionRegistry, SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::scalar::ScalarValue;
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser;
use datafusion::sql::sqlparser::ast::{Query, Statement, visit_expressions};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use futures::TryStreamExt;

use super::ast;
use super::ast::postgres::Postgres;
use super::branches::Branches;
use super::context::{PlanContext, check_distinct};
use super::correlated;
use super::engine::Engine;
use super::error::diagnose;
use super::generic::{Execution, Reuse};
use super::lateral;
use super::locking;
use super::materialized;
use super::output::{self, OutputColumn};
use super::parameters;
use super::placement::Residual;
use super::plans::Key;
use super::rechecks;
use super::results::Reads;
use super::scan::count_scans;
use super::semantics::resolve::TypedOperations;
use super::semantics::sets;
use super::semantics::settings::SessionValues;
use super::unread;
use crate::cache::results::Rejected;
use crate::catalog::{Relation, RelationBody, system};
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::{PgField, PgType};
use crate::task::OwnedTask;

pub use super::setting::Setting;

/// A planned query, not yet bound to parameters.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The logical plan, before analysis, with placeholders.
    logical: LogicalPlan,
    /// Types of `$1`, `$2`, ….
    pub parameters: Vec<PgType>,
    /// Result columns.
    pub columns: Vec<OutputColumn>,
    /// Relations the query reads, by object id.
    pub relations: BTreeMap<u32, Arc<Relation>>,
    /// What its executions have shown.
    reuse: Arc<Reuse>,
    /// The tables that it reads, once somebody has asked, or why its result is not kept.
    reads: Arc<OnceLock<Result<Arc<Reads>, Rejected>>>,
}

impl Planned {
    /// The plan, before analysis, with placeholders.
    pub(super) fn logical(&self) -> &LogicalPlan {
        &self.logical
    }

    /// The same query by another plan of the same outputs, of which nothing is known yet.
    pub(super) fn with_logical(&self, logical: LogicalPlan) -> Self {
        Self { logical, reuse: Arc::default(), reads: Arc::default(), ..self.clone() }
    }

    /// Whether it holds rows of the system that may be others by now.
    pub fn is_of_a_moment(&self) -> bool {
        self.relations.values().any(|relation| matches!(&relation.body, RelationBody::Rows(rows) if rows.is_live()))
    }

    /// The tables that it reads, for [`super::results`].
    pub(super) fn reads(&self) -> &OnceLock<Result<Arc<Reads>, Rejected>> {
        &self.reads
    }

    /// What its executions have shown, also those of other sessions.
    pub(super) fn reuse(&self) -> &Reuse {
        &self.reuse
    }
}

/// A bound query, ready to run.
#[derive(Debug)]
pub struct Bound {
    /// What the engine will run.
    pub physical: Arc<dyn ExecutionPlan>,
    /// What no store runs though its input is one's, and why.
    pub residuals: Vec<Residual>,
    /// Whether it has come past the planner.
    pub(super) is_fast: bool,
    state: SessionState,
}

/// Plans `query`. `given` are the client's parameter types; 0 or a missing entry asks for inference.
///
/// # Errors
/// As Postgres: 42P01, 42703, 42883, 42804, 42P18, 0A000, …
pub fn plan(engine: &Engine, setting: &Setting, query: Query, given: &[u32]) -> Result<Planned, Diagnosis> {
    plan_as(engine, setting, query, given, Objects::Named)
}

/// What a result shows for relations and schemas: the reader of a view may still compare their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Objects {
    Named,
    Ids,
}

fn plan_as(engine: &Engine, setting: &Setting, mut query: Query, given: &[u32], objects: Objects) -> Result<Planned, Diagnosis> {
    ast::depth::bound(&mut query)?;
    check_parameters(&query)?;
    engine.steps().analysis.add(1);
    let state = state(engine, setting);
    let context = PlanContext::new(&state, &setting.snapshot, &setting.path, &setting.facts);
    context.prepare(&mut query)?;
    let known: Vec<Option<PgType>> =
        given.iter().map(|oid| (*oid != 0 && *oid != PgType::UNKNOWN.oid).then_some(PgType::with_typmod(*oid, -1))).collect();
    let first = to_logical(&context, query.clone(), &known)
        .map_err(|error| context.with_arguments(error, || to_logical(&context, query.clone(), &known)))?;
    let mut found = parameters::uses(&resolve(&state, &first, &known)?)?;
    unread::tell(&context, &state, (&query, known.as_slice()), &mut found);
    let parameters = parameters::types(&found, &known);
    let settled: Vec<Option<PgType>> = parameters.iter().copied().map(Some).collect();
    unread::check(&context, &state, &query, &settled)?;
    let logical = if parameters.len() == known.len() && known.iter().all(Option::is_some) {
        first
    } else {
        to_logical(&context, query, &settled)?
    };
    let analyzed = analyze(&state, &logical)?;
    let columns = output::columns(&analyzed, &context.used())?;
    let named = match objects {
        Objects::Named => output::name_objects(&logical, &analyzed, &columns, &state)?,
        Objects::Ids => None,
    };
    let (logical, columns) = match named {
        Some(named) => {
            let columns = output::columns(&analyze(&state, &named)?, &context.used())?;
            (named, columns)
        }
        None => (logical, columns),
    };
    Ok(Planned { logical, parameters, columns, relations: context.used(), reuse: Arc::default(), reads: Arc::default() })
}

/// [`plan`] on a thread of its own, unless a plan that sessions share serves: planning is work without a pause, and the threads
/// that serve connections, cancel requests and timeouts must not wait for it.
///
/// # Errors
/// As [`plan`].
pub async fn plan_aside(engine: &Engine, setting: &Setting, query: Query, given: &[u32]) -> Result<Planned, Diagnosis> {
    let key = setting.shares_plans.then(|| Key::new(&query, given, setting));
    if let Some(planned) = key.as_ref().and_then(|key| engine.plans().find(key)) {
        return Ok(planned);
    }
    let place = engine.planner().await;
    let (engine, setting, given) = (engine.clone(), setting.clone(), given.to_vec());
    let work = move || {
        let planned = plan(&engine, &setting, query, &given);
        if let (Some(key), Ok(planned)) = (key, &planned) {
            engine.plans().keep(key, planned);
        }
        drop(place);
        planned
    };
    let planned = OwnedTask::spawn_blocking(work).join().await;
    planned.unwrap_or_else(|| Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "planning ended without a result")))
}

/// [`bind`] on a thread of its own, for the same reason.
///
/// # Errors
/// As [`bind`].
pub async fn bind_aside(
    engine: &Engine,
    setting: &Setting,
    planned: &Planned,
    values: &[ScalarValue],
    branches: &Arc<Branches>,
) -> Result<Bound, Diagnosis> {
    // May wait for a view or a copy, which nobody who plans must wait for.
    let read = materialized::settle(planned, branches).await?;
    branches.settle_copies(&read).await;
    let place = engine.planner().await;
    let (engine, setting, planned) = (engine.clone(), setting.clone(), planned.clone());
    let (values, branches) = (values.to_vec(), Arc::clone(branches));
    let runtime = tokio::runtime::Handle::current();
    let work = move || {
        let bound = runtime.block_on(bind(&engine, &setting, &planned, &values, &branches));
        drop(place);
        bound
    };
    let bound = OwnedTask::spawn_blocking(work).join().await;
    bound.unwrap_or_else(|| Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "planning ended without a result")))
}

/// The result columns of a query given as text, for views.
///
/// # Errors
/// 42601, and as [`plan`]; 42P02 for a parameter, 42701 for a column name given twice. What names a relation or column has its place in the text.
pub fn describe(engine: &Engine, setting: &Setting, sql: &str) -> Result<Vec<OutputColumn>, Diagnosis> {
    let columns = outputs(engine, setting, sql)?;
    check_distinct(columns.iter().map(|column| column.name.as_str()))?;
    Ok(columns)
}

/// The same of a query whose columns get names of their own elsewhere.
///
/// # Errors
/// As [`describe`], but for 42701.
pub(super) fn outputs(engine: &Engine, setting: &Setting, sql: &str) -> Result<Vec<OutputColumn>, Diagnosis> {
    let query = parse_query(sql)?;
    let planned = plan_as(engine, setting, query.clone(), &[], Objects::Ids).map_err(|error| {
        let position = error.position.or_else(|| ast::locate::position(&error, &query, sql));
        error.with_position(position)
    })?;
    if !planned.parameters.is_empty() {
        return Err(Diagnosis::new(sqlstate::UNDEFINED_PARAMETER, "there is no parameter $1"));
    }
    Ok(planned.columns)
}

/// Parses a query of the catalog directory, under the same limits as a client's.
pub(super) fn parse_query(sql: &str) -> Result<Query, Diagnosis> {
    let dialect = Postgres;
    let syntax = |error: ParserError| ast::syntax::from_parser(&error, sql);
    let mut tokens = Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(|error| syntax(error.into()))?;
    ast::tokens::settle(&mut tokens, sql)?;
    ast::length::bound(&tokens)?;
    let mut parser = Parser::new(&dialect).with_recursion_limit(ast::DEPTH_MAX).with_tokens_with_locations(tokens);
    let mut query = parser.parse_query().map_err(syntax)?;
    ast::depth::bound(query.as_mut())?;
    while parser.consume_token(&Token::SemiColon) {}
    // The parser stops where the query ends; what follows it would be ignored without a word.
    let next = parser.peek_token();
    if next.token == Token::EOF {
        return Ok(*query);
    }
    let position = ast::locate::character_of(sql, next.span.start.line, next.span.start.column);
    Err(ast::syntax::at_or_near(&next.token.to_string()).with_position(position))
}

/// Binds parameters and makes the physical plan. Scans find `branches` when they run.
///
/// # Errors
/// As planning, and errors of constant expressions (22012, 22P02, …).
pub async fn bind(
    engine: &Engine,
    setting: &Setting,
    planned: &Planned,
    values: &[ScalarValue],
    branches: &Arc<Branches>,
) -> Result<Bound, Diagnosis> {
    let mut state = state(engine, setting);
    state.config_mut().set_extension(Arc::clone(branches));
    bind_in(engine, setting, (planned, values), branches, state).await
}

async fn bind_in(
    engine: &Engine,
    setting: &Setting,
    (planned, values): (&Planned, &[ScalarValue]),
    branches: &Branches,
    state: SessionState,
) -> Result<Bound, Diagnosis> {
    let execution = Execution { engine, setting, planned, values, state: &state };
    let runnable = Box::pin(execution.runnable()).await?;
    let physical = locking::settle(runnable.physical, branches)?;
    branches.expect_scans(&count_scans(&physical))?;
    Ok(Bound { physical, residuals: runnable.residuals, is_fast: false, state })
}

/// [`bind`] for rows that come in the order in which they are read: nothing is computed side by side.
pub(super) async fn bind_in_turn(
    engine: &Engine,
    setting: &Setting,
    planned: &Planned,
    values: &[ScalarValue],
    branches: &Arc<Branches>,
) -> Result<Bound, Diagnosis> {
    let mut state = state(engine, setting);
    state.config_mut().options_mut().execution.target_partitions = 1;
    state.config_mut().set_extension(Arc::clone(branches));
    bind_in(engine, setting, (planned, values), branches, state).await
}

/// The optimised plan for some values, made aside as [`bind_aside`] does.
pub(super) async fn optimized_aside(
    engine: &Engine,
    setting: &Setting,
    planned: &Planned,
    values: &[ScalarValue],
) -> Result<LogicalPlan, Diagnosis> {
    let place = engine.planner().await;
    let (engine, setting, planned, values) = (engine.clone(), setting.clone(), planned.clone(), values.to_vec());
    let work = move || {
        let state = state(&engine, &setting);
        let execution = Execution { engine: &engine, setting: &setting, planned: &planned, values: &values, state: &state };
        let kept = |plan| rechecks::keep_conditions(plan).and_then(sets::narrow).map_err(|error| diagnose(&error));
        let optimized = execution.optimized().and_then(kept);
        drop(place);
        optimized
    };
    let optimized = OwnedTask::spawn_blocking(work).join().await;
    optimized.unwrap_or_else(|| Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "planning ended without a result")))
}

impl Bound {
    /// A plan that needed no planning.
    pub(super) fn of(engine: &Engine, setting: &Setting, branches: &Arc<Branches>, physical: Arc<dyn ExecutionPlan>) -> Self {
        let mut state = state(engine, setting);
        state.config_mut().set_extension(Arc::clone(branches));
        Self { physical, residuals: Vec::new(), is_fast: true, state }
    }

    /// Whether it is known to give no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.physical.name() == "EmptyExec"
    }

    /// Starts the query. Dropping the stream stops it in the stores.
    ///
    /// # Errors
    /// What starting an operator failed with.
    pub fn run(&self) -> Result<SendableRecordBatchStream, Diagnosis> {
        execute_stream(Arc::clone(&self.physical), self.state.task_ctx()).map_err(|error| diagnose(&error))
    }
}

pub(super) fn state(engine: &Engine, setting: &Setting) -> SessionState {
    state_of(engine, setting, Some(setting.now), session_values(setting))
}

/// What casts and functions of one statement read of the session.
pub(super) fn session_values(setting: &Setting) -> SessionValues {
    SessionValues {
        display: setting.display.clone(),
        transaction_start_us: Some(setting.now.timestamp_micros()),
        statement_start_us: Some(setting.statement_start.timestamp_micros()),
        is_timeless: false,
    }
}

/// A state for planning what later statements will use too: no time is known in it.
pub(super) fn timeless_state(engine: &Engine, setting: &Setting) -> SessionState {
    let values = SessionValues { display: setting.display.clone(), is_timeless: true, ..SessionValues::default() };
    state_of(engine, setting, None, values)
}

fn state_of(engine: &Engine, setting: &Setting, now: Option<DateTime<Utc>>, values: SessionValues) -> SessionState {
    let mut state = engine.state();
    state.execution_props_mut().query_execution_start_time = now;
    state.config_mut().set_extension(Arc::new(setting.pushdown));
    let options = state.config_mut().options_mut();
    options.execution.time_zone = Some(setting.time_zone.clone());
    options.extensions.insert(values);
    for function in system::functions(&setting.snapshot, &setting.facts) {
        // Registering replaces a function of the same name; it cannot fail for scalar functions.
        state.register_udf(function).ok();
    }
    state.execution_props_mut().config_options = Some(Arc::clone(state.config_options()));
    state
}

/// The logical plan of a prepared query.
pub(super) fn to_logical(context: &PlanContext<'_>, query: Query, parameters: &[Option<PgType>]) -> Result<LogicalPlan, Diagnosis> {
    let options = ParserOptions::from(&datafusion::logical_expr::planner::ContextProvider::options(context).sql_parser);
    let planner = SqlToRel::new_with_options(context, options);
    let fields: Vec<Option<FieldRef>> = parameters
        .iter()
        .enumerate()
        .map(|(index, known)| {
            known.map(|pg_type| Arc::new(Field::new(format!("${}", index + 1), pg_type.carrier(), true).with_pg_type(pg_type)))
        })
        .collect();
    let mut planner_context = PlannerContext::new().with_prepare_param_data_types(fields);
    planner
        .sql_statement_to_plan_with_context(Statement::Query(Box::new(query)), &mut planner_context)
        .and_then(sets::lift)
        .and_then(lateral::beside)
        .and_then(correlated::beside_rows)
        .map_err(|error| diagnose(&error))
}

/// The plan with its types resolved.
pub(super) fn analyze(state: &SessionState, plan: &LogicalPlan) -> Result<LogicalPlan, Diagnosis> {
    state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {}).map_err(|error| diagnose(&error))
}

/// The plan with Postgres' own types, which parameters take from their surroundings. What the SQL planner guessed for them
/// is taken away first: it knows carriers only.
pub(super) fn resolve(state: &SessionState, plan: &LogicalPlan, known: &[Option<PgType>]) -> Result<LogicalPlan, Diagnosis> {
    let is_given = |id: &str| placeholder_number(id).is_some_and(|number| known.get(number - 1).is_some_and(Option::is_some));
    let forget = |expr: Expr| match expr {
        Expr::Placeholder(placeholder) if placeholder.field.is_some() && !is_given(&placeholder.id) => {
            Ok(Transformed::yes(Expr::Placeholder(Placeholder { id: placeholder.id, field: None })))
        }
        other => Ok(Transformed::no(other)),
    };
    let bare = plan.clone().transform_up_with_subqueries(|node| node.map_expressions(|expr| expr.transform_up(forget)));
    let bare = bare.map_err(|error| diagnose(&error))?.data;
    TypedOperations.analyze(bare, state.config_options()).map_err(|error| diagnose(&error))
}

/// The number of `$3`, from 1.
pub(super) fn placeholder_number(id: &str) -> Option<usize> {
    id.strip_prefix('$').and_then(|digits| digits.parse().ok()).filter(|number| *number > 0)
}

/// The highest parameter number, as the protocol's 16-bit count allows (PostgreSQL's `MaxAllocSize` gives the same bound).
const PARAMETERS_MAX: usize = 65_535;

/// Refuses parameter numbers before anything is sized by them.
fn check_parameters(query: &Query) -> Result<(), Diagnosis> {
    let checked = visit_expressions(query, |expr| {
        let sqlparser::ast::Expr::Value(value) = expr else { return ControlFlow::Continue(()) };
        let sqlparser::ast::Value::Placeholder(id) = &value.value else { return ControlFlow::Continue(()) };
        let number = id.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        if number.is_some_and(|number| (1..=PARAMETERS_MAX).contains(&number)) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(Box::new(Diagnosis::new(sqlstate::UNDEFINED_PARAMETER, format!("there is no parameter {id}"))))
        }
    });
    match checked {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

/// Evaluates constant SQL expressions to values of the given types, for `EXECUTE`.
///
/// # Errors
/// As for a query of the same expressions.
pub async fn constants(
    engine: &Engine,
    setting: &Setting,
    expressions: &[datafusion::sql::sqlparser::ast::Expr],
    types: &[PgType],
) -> Result<Vec<ScalarValue>, Diagnosis> {
    if expressions.is_empty() {
        return Ok(Vec::new());
    }
    let planned = plan_aside(engine, setting, cast_query(expressions, types)?, &[]).await?;
    let branches = Arc::new(Branches::none());
    let bound = bind_aside(engine, setting, &planned, &[], &branches).await?;
    let batches: Vec<RecordBatch> = bound.run()?.try_collect().await.map_err(|error| diagnose(&error))?;
    let Some(row) = batches.iter().find(|batch| batch.num_rows() > 0) else {
        return Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "constants gave no row"));
    };
    row.columns().iter().map(|column| ScalarValue::try_from_array(column, 0).map_err(|error| diagnose(&error))).collect()
}

/// `SELECT CAST(expression AS type), …`, put together from parsed parts: printing an expression and parsing it again would
/// let a quote in a literal end the literal (`federation.md` §1.7).
fn cast_query(expressions: &[sqlparser::ast::Expr], types: &[PgType]) -> Result<Query, Diagnosis> {
    // An id would be shown by its object's name, which no parameter is.
    let is_id = |pg_type: &PgType| [PgType::REGCLASS.oid, PgType::REGNAMESPACE.oid].contains(&pg_type.oid);
    let cast = |pg_type: &PgType| match pg_type.oid {
        // The names that SQL has for these mean one character and one bit.
        1042 => "CAST(NULL AS bpchar)".to_owned(),
        1014 => "CAST(NULL AS _bpchar)".to_owned(),
        1560 => "CAST(NULL AS \"bit\")".to_owned(),
        1561 => "CAST(NULL AS _bit)".to_owned(),
        _ if is_id(pg_type) => format!("CAST(CAST(NULL AS {pg_type}) AS oid)"),
        _ => format!("CAST(NULL AS {pg_type})"),
    };
    let casts: Vec<String> = types.iter().map(cast).collect();
    let mut query = parse_query(&format!("SELECT {}", casts.join(", ")))?;
    if let sqlparser::ast::SetExpr::Select(select) = query.body.as_mut() {
        for (item, expression) in select.projection.iter_mut().zip(expressions) {
            if let sqlparser::ast::SelectItem::UnnamedExpr(sqlparser::ast::Expr::Cast { expr, .. }) = item {
                match expr.as_mut() {
                    sqlparser::ast::Expr::Cast { expr: inner, .. } => **inner = expression.clone(),
                    value => *value = expression.clone(),
                }
            }
        }
    }
    Ok(query)
}

/// The object id of a type name in SQL.
///
/// # Errors
/// 42704
pub fn type_oid(data_type: &datafusion::sql::sqlparser::ast::DataType) -> Result<u32, Diagnosis> {
    let field = super::semantics::type_planner().plan_type_field(data_type).map_err(|error| diagnose(&error))?;
    Ok(field.map_or(PgType::TEXT.oid, |field| field.pg_type().oid))
}
