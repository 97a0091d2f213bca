//! Whether a query may give other rows each time that it is run over the same tables: where a value depends on the order in which rows come,
//! which nothing holds.
//!
//! ```text
//! plan ── node by node: kept up to date by steps (engine)? ── then it is the same whenever it is computed
//!                       └─ else: calls of windows and aggregates, firsts of an order, equal values that look different
//! ```
//!
//! **Invariant:** what is not known to be the same is taken for what may differ. Deliberately absent: values that differ by themselves
//! (`random()`), of which no rows are kept up to date at all.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::{AggregateFunction, Sort, WindowFunction};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, TableScan, WindowFrameUnits, WindowFunctionDefinition};

use super::engine::{self, InputId, Kind, column_of, is_exact, is_told_apart};
use crate::pgtype::PgField;

/// Functions of windows that rows with equal keys give the same.
const OF_PEERS: [&str; 4] = ["rank", "dense_rank", "percent_rank", "cume_dist"];

/// Aggregates that take their rows in the order that they are told, and in no other one.
const IN_ORDER: [&str; 2] = ["array_agg", "string_agg"];

/// Whether two runs of an optimised plan may give different rows. `state` and `input_of` are those of [`engine::program`].
pub(super) fn is_of_order(plan: &LogicalPlan, state: &SessionState, input_of: &dyn Fn(&TableScan) -> Option<InputId>) -> bool {
    Search { state, input_of }.node(plan)
}

struct Search<'a> {
    state: &'a SessionState,
    input_of: &'a dyn Fn(&TableScan) -> Option<InputId>,
}

impl Search<'_> {
    fn node(&self, plan: &LogicalPlan) -> bool {
        if matches!(engine::program(plan, self.state, self.input_of), Kind::Incremental(_)) {
            return false;
        }
        !self.is_free(plan) || has_subqueries(plan) || plan.inputs().into_iter().any(|input| self.node(input))
    }

    /// Whether a node gives the same rows whatever the order of those below it.
    fn is_free(&self, plan: &LogicalPlan) -> bool {
        match plan {
            LogicalPlan::TableScan(scan) => scan.fetch.is_none(),
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::EmptyRelation(_) => true,
            LogicalPlan::Sort(sort) => sort.fetch.is_none() || self.is_told_by(&sort.input, exprs_of(&sort.expr)),
            LogicalPlan::Limit(limit) => self.has_own_order(&limit.input),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                (0..input.schema().fields().len()).all(|at| is_one_form(input.schema(), at))
            }
            LogicalPlan::Aggregate(aggregate) => {
                let (groups, over) = (&aggregate.group_expr, aggregate.input.schema());
                let is_call_free = |call: &Expr| {
                    is_exact(call, over, self.state)
                        || in_order(call)
                            .is_some_and(|order| self.is_told_by(&aggregate.input, groups.iter().chain(exprs_of(order))))
                };
                let has_sets = groups.iter().any(|group| matches!(group, Expr::GroupingSet(_)));
                !has_sets
                    && (0..groups.len()).all(|at| is_one_form(&aggregate.schema, at))
                    && aggregate.aggr_expr.iter().all(is_call_free)
            }
            LogicalPlan::Window(window) => window.window_expr.iter().all(|call| self.is_window_free(call, &window.input)),
            _ => false,
        }
    }

    fn is_window_free(&self, call: &Expr, input: &LogicalPlan) -> bool {
        let call = match call {
            Expr::Alias(alias) => return self.is_window_free(&alias.expr, input),
            Expr::WindowFunction(call) => call,
            _ => return false,
        };
        let params = &call.params;
        let is_told = || self.is_told_by(input, params.partition_by.iter().chain(exprs_of(&params.order_by)));
        match &call.fun {
            WindowFunctionDefinition::WindowUDF(function) => OF_PEERS.contains(&function.name()) || is_told(),
            WindowFunctionDefinition::AggregateUDF(_) => {
                let frame = &params.window_frame;
                let has_all = frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded();
                // Other frames have rows with equal keys together, or none of them.
                let is_frame_free = frame.units != WindowFrameUnits::Rows || has_all || is_told();
                is_frame_free && aggregate_of(call).is_some_and(|call| is_exact(&call, input.schema(), self.state))
            }
        }
    }

    /// Whether no two rows have the same in these expressions, as far as they are columns.
    fn is_told_by<'e>(&self, input: &LogicalPlan, exprs: impl Iterator<Item = &'e Expr>) -> bool {
        let columns: Vec<usize> = exprs.filter_map(|expr| column_of(expr, input.schema())).collect();
        let mut below = input;
        // A window adds columns behind those of its rows.
        while let LogicalPlan::Window(window) = below {
            below = window.input.as_ref();
        }
        let Kind::Incremental(program) = engine::program(below, self.state, self.input_of) else { return false };
        program.key().is_some_and(|key| key.iter().all(|column| columns.contains(column)))
    }

    /// Whether rows stand in an order that has no two alike.
    fn has_own_order(&self, input: &LogicalPlan) -> bool {
        match input {
            LogicalPlan::Sort(sort) => self.is_told_by(&sort.input, exprs_of(&sort.expr)),
            LogicalPlan::Projection(projection) => self.has_own_order(&projection.input),
            LogicalPlan::SubqueryAlias(alias) => self.has_own_order(&alias.input),
            _ => false,
        }
    }
}

fn exprs_of(order: &[Sort]) -> impl Iterator<Item = &Expr> {
    order.iter().map(|key| &key.expr)
}

/// The order in which a call takes its rows, where it is one that takes them so.
fn in_order(call: &Expr) -> Option<&[Sort]> {
    match call {
        Expr::Alias(alias) => in_order(&alias.expr),
        Expr::AggregateFunction(call) if IN_ORDER.contains(&call.func.name()) && !call.params.distinct => {
            Some(call.params.order_by.as_slice())
        }
        _ => None,
    }
}

/// A call over a window, as one over a group.
fn aggregate_of(call: &WindowFunction) -> Option<Expr> {
    let WindowFunctionDefinition::AggregateUDF(function) = &call.fun else { return None };
    let params = call.params.clone();
    let (function, nulls) = (Arc::clone(function), params.null_treatment);
    let call = AggregateFunction::new_udf(function, params.args, params.distinct, params.filter, Vec::new(), nulls);
    Some(Expr::AggregateFunction(call))
}

/// Whether equal values of a column look the same.
fn is_one_form(schema: &DFSchema, column: usize) -> bool {
    schema.fields().get(column).is_some_and(|field| {
        let is_opaque = field.pg_type().is_opaque();
        is_told_apart(field.data_type()) && !is_opaque
    })
}

fn has_subqueries(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_subqueries(|_subquery| {
        found = true;
        Ok(TreeNodeRecursion::Stop)
    });
    found || walked.is_err()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::catalog::SchemaProvider;
    use datafusion::common::{Constraint, Constraints};
    use datafusion::datasource::MemTable;
    use datafusion::execution::session_state::SessionStateBuilder;

    use super::*;
    use crate::pgtype::PgType;
    use crate::stores::StoreName;
    use crate::stores::schema::TableId;

    fn input_of(scan: &TableScan) -> Option<InputId> {
        let table = TableId { namespace: "public".to_owned(), name: scan.table_name.table().to_owned() };
        Some(InputId { store: StoreName::new("s"), table })
    }

    /// Over a table whose key is `id`.
    async fn found(sql: &str) -> bool {
        let state = SessionStateBuilder::new().with_default_features().build();
        let fields = vec![
            Field::new("id", DataType::Int64, false),
            Field::new("g", DataType::Utf8, true),
            Field::new("n", DataType::Int64, true),
            Field::new("f", DataType::Float64, true),
            Field::new("padded", DataType::Utf8, true).with_pg_type(PgType::BPCHAR),
        ];
        let table = MemTable::try_new(Arc::new(Schema::new(fields)), vec![Vec::new()]).unwrap();
        let table = table.with_constraints(Constraints::new_unverified(vec![Constraint::PrimaryKey(vec![0])]));
        let schema: Arc<dyn SchemaProvider> = state.schema_for_ref("any").unwrap();
        schema.register_table("a".to_owned(), Arc::new(table)).unwrap();
        let plan = state.create_logical_plan(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        is_of_order(&state.optimize(&plan).unwrap(), &state, &input_of)
    }

    #[tokio::test]
    async fn values_that_depend_on_the_order_of_rows_are_noticed() {
        let queries = [
            "SELECT g, sum(f) AS s FROM a GROUP BY g",
            "SELECT g, avg(f) AS s FROM a GROUP BY g",
            "SELECT g, stddev(n) AS s FROM a GROUP BY g",
            "SELECT g, string_agg(g, ',') AS s FROM a GROUP BY g",
            "SELECT g, string_agg(g, ',' ORDER BY n) AS s FROM a GROUP BY g",
            "SELECT g, array_agg(n) AS s FROM a GROUP BY g",
            "SELECT g, first_value(n) AS s FROM a GROUP BY g",
            "SELECT padded, sum(f) AS s FROM a GROUP BY padded",
            "SELECT DISTINCT f FROM a",
            "SELECT id, row_number() OVER (PARTITION BY g ORDER BY n) AS r FROM a",
            "SELECT id, lag(n) OVER (ORDER BY n) AS r FROM a",
            "SELECT id, first_value(id) OVER (PARTITION BY g ORDER BY n) AS r FROM a",
            "SELECT id, sum(n) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS r FROM a",
            "SELECT id, sum(f) OVER (PARTITION BY g) AS r FROM a",
            "SELECT id, n FROM a ORDER BY n LIMIT 2",
            "SELECT id, n FROM a LIMIT 2",
            // Below something that is the same whatever comes.
            "SELECT g, count(*) AS c, rank() OVER (ORDER BY g) AS r FROM (SELECT g, lag(n) OVER (ORDER BY n) AS p FROM a) x \
             WHERE p > 1 GROUP BY g",
        ];
        for sql in queries {
            assert!(found(sql).await, "{sql}");
        }
    }

    #[tokio::test]
    async fn values_that_every_order_gives_are_not() {
        let queries = [
            "SELECT g, sum(n) AS s FROM a GROUP BY g",
            "SELECT id, rank() OVER (PARTITION BY g ORDER BY n) AS r, dense_rank() OVER (ORDER BY n) AS d FROM a",
            "SELECT id, row_number() OVER (PARTITION BY g ORDER BY n, id) AS r FROM a",
            "SELECT id, lag(n) OVER (ORDER BY id) AS r FROM a",
            "SELECT id, row_number() OVER (PARTITION BY id) AS r FROM a",
            "SELECT id, sum(n) OVER (PARTITION BY g) AS s, max(n) OVER (ORDER BY n) AS m FROM a",
            "SELECT id, sum(n) OVER (ORDER BY n, id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS r FROM a",
            "SELECT g, string_agg(g, ',' ORDER BY n, id) AS s FROM a GROUP BY g",
            "SELECT id, n FROM a ORDER BY n, id LIMIT 2",
        ];
        for sql in queries {
            assert!(!found(sql).await, "{sql}");
        }
    }
}
