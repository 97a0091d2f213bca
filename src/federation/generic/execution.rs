//! One execution of a planned statement: with which plan, and how it becomes a physical one.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::ParamValues;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;

use super::super::branches::Branches;
use super::super::engine::Engine;
use super::super::error::diagnose;
use super::super::joins;
use super::super::materialized;
use super::super::ordering;
use super::super::placement::{self, Copies, NoCopies, Residual};
use super::super::plan::{Planned, Setting, analyze};
use super::super::ranges;
use super::super::rechecks;
use super::super::semantics::constants;
use super::super::semantics::logic;
use super::super::semantics::sets;
use super::shape::Shape;
use super::template::Template;
use super::{PlanMode, Reuse};
use crate::error::Diagnosis;
use crate::pgtype::{PgField, PgType};

/// A planned statement with the values of its parameters.
pub(in super::super) struct Execution<'e> {
    pub(in super::super) engine: &'e Engine,
    pub(in super::super) setting: &'e Setting,
    pub(in super::super) planned: &'e Planned,
    pub(in super::super) values: &'e [ScalarValue],
    /// Of this statement, with its branches.
    pub(in super::super) state: &'e SessionState,
}

/// What an execution runs.
pub(in super::super) struct Runnable {
    pub(in super::super) physical: Arc<dyn ExecutionPlan>,
    /// What no store runs though its input is one's, and why.
    pub(in super::super) residuals: Vec<Residual>,
}

impl Execution<'_> {
    /// The physical plan.
    ///
    /// # Errors
    /// As planning, and errors of constant expressions (22012, 22P02, …).
    pub(in super::super) async fn runnable(&self) -> Result<Runnable, Diagnosis> {
        // A plan for all values stands on the rows of materialized views; with a query in the place of one, each execution has its own.
        let is_whole = materialized::are_all_rows(self.planned, self.branches().as_deref());
        let template = if is_whole { self.reuse().template(self.setting.plan_mode, || self.template()) } else { None };
        // What fails here is planned for its values, and told in the words of that.
        if let Some(template) = &template
            && let Ok(runnable) = self.generic(template).await
        {
            self.reuse().took();
            return Ok(runnable);
        }
        let runnable = self.placed(self.optimized()?).await?;
        if template.is_some() {
            // Values that fail in their own plan as well have not come here, and say nothing of the template.
            self.reuse().refused();
        } else if is_whole && self.setting.plan_mode == PlanMode::Auto && self.reuse().is_open() {
            self.learn(&runnable).await;
        }
        Ok(runnable)
    }

    /// Those of the statement, where it has some.
    fn branches(&self) -> Option<Arc<Branches>> {
        self.state.config().get_extension::<Branches>()
    }

    fn reuse(&self) -> &Reuse {
        self.planned.reuse()
    }

    fn template(&self) -> Option<Template> {
        Template::make(self.engine, self.setting, self.planned)
    }

    /// The plan for all values, with these ones in it.
    async fn generic(&self, template: &Template) -> Result<Runnable, Diagnosis> {
        self.engine.steps().bind.add(1);
        let values = marked(self.values, &self.planned.parameters);
        let bound = template.bind(&values, self.state).map_err(|error| diagnose(&error))?;
        self.placed(bound).await
    }

    /// The optimised plan for these values.
    ///
    /// # Errors
    /// As planning, and errors of constant expressions.
    pub(in super::super) fn optimized(&self) -> Result<LogicalPlan, Diagnosis> {
        let told = |error: DataFusionError| diagnose(&error);
        let logical = materialized::as_chosen(self.planned, self.branches().as_deref()).map_err(told)?;
        let logical = if self.values.is_empty() {
            logical
        } else {
            filled(logical, &marked(self.values, &self.planned.parameters)).map_err(told)?
        };
        self.engine.steps().analysis.add(1);
        let analyzed = analyze(self.state, &logical)?;
        constants::check(&analyzed, self.state.config_options()).map_err(told)?;
        self.engine.steps().optimisation.add(1);
        self.state.optimizer().optimize(analyzed, self.state, |_, _| {}).map_err(told)
    }

    /// What becomes of an optimised plan whose values are known.
    async fn placed(&self, optimized: LogicalPlan) -> Result<Runnable, Diagnosis> {
        let told = |error: DataFusionError| diagnose(&error);
        self.engine.steps().physical.add(1);
        let kept = rechecks::keep_conditions(optimized).map_err(told)?;
        let ordered = sets::narrow(kept).and_then(joins::order::order).map_err(told)?;
        let branches = self.branches();
        let copies: &dyn Copies = match &branches {
            Some(branches) => branches.as_ref(),
            None => &NoCopies,
        };
        let placed = placement::place(ordered, self.setting.pushdown, copies).map_err(told)?;
        let planner = Arc::clone(self.state.query_planner());
        let runnable = logic::in_order(placed.plan).and_then(ordering::keys_as_columns).map_err(told)?;
        let physical = match planner.create_physical_plan(&runnable, self.state).await {
            Err(error) if forgets_constants(&error) => {
                let mut state = self.state.clone();
                state.config_mut().options_mut().execution.target_partitions = 1;
                planner.create_physical_plan(&runnable, &state).await
            }
            made => made,
        };
        let physical = physical.map_err(told)?;
        let divided = ranges::divide(physical, self.engine.ranges(), self.setting.reading);
        let physical = divided.and_then(joins::dynamic::await_joins).and_then(joins::spill::bound).map_err(told)?;
        Ok(Runnable { physical, residuals: placed.residuals })
    }

    /// Counts a plan for these values; when enough are known, one for all is tried on these, so that the next execution
    /// finds it.
    async fn learn(&self, custom: &Runnable) {
        let shape = Shape::of(&custom.physical);
        // Values for which nothing is read say nothing of others.
        if !shape.asks_stores() && !self.planned.relations.is_empty() {
            return;
        }
        if !self.reuse().count(&shape) {
            return;
        }
        let is_as_good = match self.reuse().made(|| self.template()) {
            Some(template) => self.generic(&template).await.is_ok_and(|other| Shape::of(&other.physical) == shape),
            None => false,
        };
        self.reuse().decide(is_as_good);
    }
}

/// Values that say which type they have.
fn marked(values: &[ScalarValue], types: &[PgType]) -> ParamValues {
    let marked = values.iter().zip(types).map(|(value, pg_type)| {
        let field = Field::new("parameter", value.data_type(), true).with_pg_type(*pg_type);
        ScalarAndMetadata::new(value.clone(), Some(field.metadata().clone().into()))
    });
    ParamValues::List(marked.collect())
}

/// The plan with values in the place of its placeholders. Where the engine does this, it makes every VALUES list anew, and wants all values
/// of a column to tell of their type alike; analysis, which follows, has rules for those that do not.
fn filled(plan: LogicalPlan, values: &ParamValues) -> Result<LogicalPlan, DataFusionError> {
    let filled = plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            if !expr.exists(|part| Ok(matches!(part, Expr::Placeholder(_))))? {
                return Ok(Transformed::no(expr));
            }
            let name = names.save(&expr);
            let filled = expr.transform_up(|part| match part {
                Expr::Placeholder(Placeholder { id, .. }) => {
                    let (value, metadata) = values.get_placeholders_with_values(&id)?.into_inner();
                    Ok(Transformed::yes(Expr::Literal(value, metadata)))
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(filled.update_data(|expr| name.restore(expr)))
        })?;
        node.map_data(LogicalPlan::recompute_schema)
    });
    filled.map(|filled| filled.data)
}

/// Whether the engine finds an order missing in its own plan. It leaves a sort out where all keys are constants, and a rule after that
/// one loses the constants of a join's columns; what merges partitions then asks for an order that nobody makes. One partition
/// needs no merging.
fn forgets_constants(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::Plan(message) if message.contains("does not satisfy order requirements"))
}
