//! How what a join knows travels to the leaves of its other side: the engine's rule, told which column is meant.
//!
//! The engine finds the column of a filter in the node below by its name, of which a join of two tables with an `id` has two, and
//! takes the first; it looks for a key of a semi join by that name on the other side too, where another column may have it. Here
//! columns are followed by their place: always through joins and aggregates, elsewhere where a name occurs twice. Where the place
//! is not known, the filter goes no further.
//! The engine's other rule, which moves the conditions of a plan in the same manner before it is cut into partitions, is left out:
//! conditions stand where they belong already.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::filter_pushdown::{
    ChildFilterPushdownResult, ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;
type Filter = Arc<dyn PhysicalExpr>;

/// The engine's rules for physical plans, with ours in the place of the one that hands filters down.
pub fn rules() -> Vec<Rule> {
    let mut rules = PhysicalOptimizer::new().rules;
    rules.retain(|rule| rule.name() != "FilterPushdown");
    let ours: Rule = Arc::new(HandDown);
    rules.into_iter().map(|rule| if rule.name() == ours.name() { Arc::clone(&ours) } else { rule }).collect()
}

#[derive(Debug)]
struct HandDown;

impl PhysicalOptimizerRule for HandDown {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(hand_down(&plan, Vec::new(), config)?.updated_node.unwrap_or(plan))
    }

    fn name(&self) -> &str {
        "FilterPushdown(Post)"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Offers filters to a node and what it offers itself to the nodes below, and asks what became of them.
fn hand_down(
    node: &Arc<dyn ExecutionPlan>,
    filters: Vec<Filter>,
    config: &ConfigOptions,
) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
    let phase = FilterPushdownPhase::Post;
    let description = node.gather_filters_for_pushdown(phase, filters.clone(), config)?;
    let (from_above, own) = (description.parent_filters(), description.self_filters());
    let mut results: Vec<ChildFilterPushdownResult> =
        filters.iter().map(|filter| ChildFilterPushdownResult { filter: Arc::clone(filter), child_results: Vec::new() }).collect();
    let (mut children, mut own_results) = (Vec::new(), Vec::new());
    for (((place, child), from_above), own) in node.children().into_iter().enumerate().zip(from_above).zip(own) {
        let mut offered = own.clone();
        let mut origins = Vec::new();
        for (origin, (filter, made)) in filters.iter().zip(from_above).enumerate() {
            let passes = matches!(made.discriminant, PushedDown::Yes);
            if let Some(filter) = below(node, (place, child), filter, made.predicate).filter(|_| passes) {
                origins.push(origin);
                offered.push(filter);
            }
        }
        let mut answer = hand_down(child, offered, config)?;
        let of_above = answer.filters.split_off(own.len());
        for result in &mut results {
            result.child_results.push(PushedDown::No);
        }
        for (origin, taken) in origins.into_iter().zip(of_above) {
            results[origin].child_results[place] = taken;
        }
        own_results.push(answer.filters.into_iter().zip(own).map(|(taken, filter)| taken.wrap_expression(filter)).collect());
        children.push(answer.updated_node.unwrap_or_else(|| Arc::clone(child)));
    }
    let updated = replace_children_if_necessary(Arc::clone(node), children)?;
    let told = ChildPushdownResult { parent_filters: results, self_filters: own_results };
    let mut answer = updated.handle_child_pushdown_result(phase, told, config)?;
    if answer.updated_node.is_none() && !Arc::ptr_eq(&updated, node) {
        answer.updated_node = Some(updated);
    }
    Ok(answer)
}

/// A filter over a node's output as one over an input. `made` is what the engine found by names, which is right where the node
/// neither joins nor groups and no name occurs twice.
fn below(
    node: &Arc<dyn ExecutionPlan>,
    (place, child): (usize, &Arc<dyn ExecutionPlan>),
    filter: &Filter,
    made: Filter,
) -> Option<Filter> {
    let occurs_twice = |plan: &Arc<dyn ExecutionPlan>, name: &str| {
        plan.schema().fields().iter().filter(|field| field.name() == name).nth(1).is_some()
    };
    let by_place = node.downcast_ref::<HashJoinExec>().is_some() || node.downcast_ref::<AggregateExec>().is_some();
    let columns = collect_columns(filter);
    if !by_place && !columns.iter().any(|column| occurs_twice(node, column.name()) || occurs_twice(child, column.name())) {
        return Some(made);
    }
    let origins = origins(node.as_ref(), place)?;
    let schema = child.schema();
    let column = |index: usize| {
        let origin = *origins.get(index)?.as_ref()?;
        Some(Column::new(schema.fields().get(origin)?.name(), origin))
    };
    if !columns.iter().all(|found| column(found.index()).is_some()) {
        return None;
    }
    let moved = Arc::clone(filter).transform_down(|part| {
        Ok(match part.downcast_ref::<Column>().and_then(|found| column(found.index())) {
            Some(column) => Transformed::yes(Arc::new(column) as Filter),
            None => Transformed::no(part),
        })
    });
    moved.ok().map(|moved| moved.data)
}

/// Which column of an input each output column of a node is; `None` for nodes whose columns are not followed.
fn origins(node: &dyn ExecutionPlan, place: usize) -> Option<Vec<Option<usize>>> {
    if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        let origin = |expr: &Filter| expr.downcast_ref::<Column>().map(Column::index);
        return Some(projection.expr().iter().map(|projected| origin(&projected.expr)).collect());
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        return of_join(join, place);
    }
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        // The groups come first, in the order of GROUP BY, whatever the order of the input is.
        let groups = aggregate.group_expr().expr().iter().map(|(key, _name)| key.downcast_ref::<Column>().map(Column::index));
        return Some(groups.collect());
    }
    if let Some(projection) = node.downcast_ref::<FilterExec>().and_then(|filter| filter.projection().as_ref()) {
        return Some(projection.iter().map(|index| Some(*index)).collect());
    }
    match node.children().as_slice() {
        [child] if child.schema().fields() == node.schema().fields() => {
            Some((0..child.schema().fields().len()).map(Some).collect())
        }
        _ => None,
    }
}

fn of_join(join: &HashJoinExec, place: usize) -> Option<Vec<Option<usize>>> {
    let (left, right) = (join.left().schema().fields().len(), join.right().schema().fields().len());
    let (left, right, marks) = match join.join_type() {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => (left, right, 0),
        JoinType::LeftSemi | JoinType::LeftAnti => (left, 0, 0),
        JoinType::RightSemi | JoinType::RightAnti => (0, right, 0),
        JoinType::LeftMark => (left, 0, 1),
        JoinType::RightMark => (0, right, 1),
    };
    let side = |side: usize, count: usize| (0..count).map(move |index| (side == place).then_some(index));
    let mark = std::iter::repeat_n(None, marks);
    let all: Vec<Option<usize>> = side(0, left).chain(side(1, right)).chain(mark).collect();
    match &join.projection {
        Some(projection) => projection.iter().map(|index| all.get(*index).copied()).collect(),
        None => Some(all),
    }
}
