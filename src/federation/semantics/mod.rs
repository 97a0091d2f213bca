//! What expressions mean: values, types and errors as PostgreSQL 15 gives them, on top of the engine's own evaluation.
//!
//! ```text
//! SQL planner ── sql_types (types in casts) · operators (deferred operators) · functions (registered by name)
//!     → resolve (one bottom-up pass: types, implicit casts, overloads, typed keys)
//!     → the engine's own coercion (finds nothing left to do) → subqueries (as joins) → comparands (what constants say of themselves)
//!     → branches (of unions, under one set of names) → constants (fail now what would fail anyway)
//!     → optimiser (inferred: what it may not add) → placement → logic (errors kept away)
//! types: the Postgres type of every output column of the resolved plan
//! ```
//!
//! **Invariants:** after `resolve` every field of the plan's schema carries the right Postgres type; an operation on a type
//! whose carrier compares differently goes through a typed function or is refused, never through the carrier's order; an
//! error keeps its SQLSTATE through constant folding and execution.

pub mod aggregates;
pub mod constants;
pub mod floats;
pub mod functions;
pub mod logic;
pub mod resolve;
pub mod sets;
pub mod settings;
pub mod subqueries;
pub mod typed;
pub mod types;

mod branches;
mod cast;
mod clock;
mod comparands;
mod datum;
mod dependencies;
mod distinct_steps;
mod document;
mod equalities;
mod failing;
mod faults;
mod inferred;
mod key;
mod multiplicity;
mod numeric;
mod operators;
mod overload;
mod row_counts;
mod sql_types;
mod standing;
mod taken_names;
mod template;
#[cfg(test)]
mod tests;
mod totals;

/// Whether a function counts as one that gives another value each time only so that it is left where it stands.
pub(super) fn only_stays(name: &str) -> bool {
    functions::returns_set(name) || matches!(name, "or_null" | "only_row" | "failing_ntile" | "failing_nth_value")
}

pub(super) use cast::{Assigned, assign_array, is_assignable, number_type};
pub(super) use comparands::simplified;
pub(super) use faults::{always_fits, may_fail};
#[cfg(test)]
pub(super) use key::call as key_of;
pub(super) use key::decode as decode_key;
pub(super) use key::is_needed_to_tell_apart as needs_key;
pub(super) use key::told_apart;
pub(super) use operators::quotient;
pub(super) use overload::{is_string, numeric_rank};
pub(super) use sql_types::plan as type_of;

use std::sync::Arc;

use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::optimizer::{Analyzer, AnalyzerRule, OptimizerRule};

/// Registers types, functions, expression planners and analyzer rules, and sets the options that decide what SQL means.
///
/// Call it on a builder that already has the engine's default features, after any configuration of the caller's own.
#[must_use]
pub fn install(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    configure(&mut builder);
    let scalars = builder.scalar_functions().get_or_insert_default();
    // The engine's own series are lists under a name that PostgreSQL gives to types, or to a set.
    scalars.retain(|function| !matches!(function.name(), "range" | "generate_series"));
    scalars.extend(functions::scalars());
    builder.table_functions().take();
    builder.aggregate_functions().get_or_insert_default().extend(aggregates::aggregates());
    builder.expr_planners().get_or_insert_default().insert(0, Arc::new(operators::DeferOperators));
    builder.relation_planners().get_or_insert_default().insert(0, Arc::new(sets::SetRelations));
    let rules = builder.analyzer_rules().take().unwrap_or_else(|| Analyzer::new().rules);
    let optimizer = builder.optimizer().take().unwrap_or_default();
    let optimizations = builder.optimizer_rules().take().unwrap_or(optimizer.rules);
    builder
        .with_optimizer_rules(with_care(optimizations))
        .with_analyzer_rules(with_resolution(rules))
        .with_type_planner(Arc::new(sql_types::PostgresTypes))
        .with_query_planner(Arc::new(sets::SetPlanner))
}

/// Resolution comes before coercion, and after the rule that rewrites `grouping()`; subqueries become joins at the end.
fn with_resolution(mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>>) -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let place = rules.iter().position(|rule| rule.name() == "type_coercion").unwrap_or(rules.len());
    rules.insert(place, Arc::new(resolve::TypedOperations));
    rules.insert(place, Arc::new(dependencies::UnusedGroups));
    rules.push(Arc::new(subqueries::SubqueriesAsJoins));
    rules.push(Arc::new(comparands::PlainComparands));
    rules.push(Arc::new(branches::NamedBranches));
    rules
}

/// The engine's rules, with ours in the place of those that simplify and move conditions, make keys of them, conclude from keys, count
/// rows and group distinct values first.
fn with_care(rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut ours = dependencies::rules();
    ours.push(Arc::new(standing::StandingConditions::default()));
    ours.push(Arc::new(comparands::PlainSimplification::default()));
    ours.push(Arc::new(equalities::KeysOfOneKind::default()));
    ours.push(Arc::new(equalities::KeysThatMeet::default()));
    ours.push(Arc::new(multiplicity::CountedRows::default()));
    ours.push(Arc::new(inferred::CommonParts::default()));
    ours.push(Arc::new(row_counts::ReachableCounts::default()));
    ours.push(Arc::new(distinct_steps::DistinctInSteps::default()));
    let place =
        |rule: Arc<dyn OptimizerRule + Send + Sync>| ours.iter().find(|own| own.name() == rule.name()).map_or(rule, Arc::clone);
    let names: Arc<dyn OptimizerRule + Send + Sync> = Arc::new(taken_names::TakenNames);
    // What is a condition again when joins have met becomes a key at the end.
    let last: Arc<dyn OptimizerRule + Send + Sync> = Arc::new(equalities::KeysOfOneKind::default());
    std::iter::once(names).chain(rules.into_iter().map(place)).chain([last]).collect()
}

/// The planner of SQL type names, for contexts that do not go through a session state.
pub fn type_planner() -> Arc<dyn datafusion::logical_expr::planner::TypePlanner> {
    Arc::new(sql_types::PostgresTypes)
}

fn configure(builder: &mut SessionStateBuilder) {
    let options = builder.config().get_or_insert_with(Default::default).options_mut();
    options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.enable_ident_normalization = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    // NULL sorts above every value: last when ascending, first when descending.
    options.sql_parser.default_null_ordering = "nulls_max".to_owned();
    // The check compares field metadata too, which carries our types and which the engine drops in places.
    options.execution.skip_physical_aggregate_schema_check = true;
    options.optimizer.expand_views_at_output = true;
}
