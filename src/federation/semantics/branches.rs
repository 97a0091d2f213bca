//! Branches of unions under the names of the union.
//!
//! The engine finds the columns of a union by name where it leaves branches out that give no rows, where it puts the branches of a
//! union inside another into that one, and where it drops columns that nothing reads. It looks for these names in whatever branch it
//! has then: `SELECT 1 AS a, 2 AS b WHERE false UNION ALL SELECT DISTINCT b, a FROM t` gave the columns of `t` the other way round.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Union};
use datafusion::optimizer::AnalyzerRule;

/// The rule of the analysis; must come after all that makes unions.
#[derive(Debug)]
pub(super) struct NamedBranches;

impl AnalyzerRule for NamedBranches {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(named)?.data)
    }

    fn name(&self) -> &str {
        "named_branches"
    }
}

fn named(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Union(Union { inputs, schema }) = node else { return Ok(Transformed::no(node)) };
    if inputs.iter().all(|input| has_names(input.schema(), &schema)) {
        return Ok(Transformed::no(LogicalPlan::Union(Union { inputs, schema })));
    }
    let inputs = inputs.into_iter().map(|input| under_names(input, &schema)).collect::<Result<Vec<_>>>()?;
    Ok(Transformed::yes(LogicalPlan::Union(Union { inputs, schema })))
}

/// Whether the columns of a branch are called like those of the union. Names of a union are unique, so relations need not be.
fn has_names(branch: &DFSchema, union: &DFSchema) -> bool {
    branch.fields().iter().zip(union.fields()).all(|(own, wanted)| own.name() == wanted.name())
}

fn under_names(branch: Arc<LogicalPlan>, union: &DFSchema) -> Result<Arc<LogicalPlan>> {
    if has_names(branch.schema(), union) {
        return Ok(branch);
    }
    let columns = branch.schema().columns().into_iter().zip(union.fields());
    let outputs: Vec<Expr> = columns
        .map(|(column, wanted)| match column.name() == wanted.name() {
            true => Expr::Column(column),
            false => Expr::Column(column).alias(wanted.name()),
        })
        .collect();
    Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(outputs, branch)?)))
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{LogicalPlanBuilder, lit};

    use super::*;

    fn row(names: [&str; 2], values: [i32; 2]) -> LogicalPlan {
        let outputs = names.into_iter().zip(values).map(|(name, value)| lit(value).alias(name));
        LogicalPlanBuilder::empty(true).project(outputs).unwrap().build().unwrap()
    }

    fn distinct(plan: LogicalPlan) -> LogicalPlan {
        LogicalPlanBuilder::from(plan).distinct().unwrap().build().unwrap()
    }

    fn analyzed(first: LogicalPlan, second: LogicalPlan) -> LogicalPlan {
        let union = LogicalPlanBuilder::from(first).union(second).unwrap().build().unwrap();
        NamedBranches.analyze(union, &ConfigOptions::default()).unwrap()
    }

    fn names(plan: &LogicalPlan) -> Vec<String> {
        plan.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    #[test]
    fn branches_get_the_names_of_the_union_by_place() {
        let plan = analyzed(row(["a", "b"], [1, 2]), distinct(row(["b", "a"], [3, 4])));
        assert_eq!(names(&plan), ["a", "b"]);
        for input in plan.inputs() {
            assert_eq!(names(input), ["a", "b"]);
        }
        let LogicalPlan::Projection(second) = plan.inputs()[1] else { panic!("{plan:?}") };
        assert_eq!(second.expr.iter().map(ToString::to_string).collect::<Vec<_>>(), ["b AS a", "a AS b"]);
        assert!(!named(plan).unwrap().transformed);
    }

    #[test]
    fn unions_inside_unions_get_names_too() {
        let inner = analyzed(row(["b", "a"], [3, 4]), distinct(row(["a", "b"], [5, 6])));
        let plan = analyzed(row(["a", "b"], [1, 2]), inner);
        let LogicalPlan::Projection(second) = plan.inputs()[1] else { panic!("{plan:?}") };
        assert_eq!(names(&second.input), ["b", "a"]);
        for input in second.input.inputs() {
            assert_eq!(names(input), ["b", "a"]);
        }
    }

    #[test]
    fn branches_with_the_same_names_stay_as_they_are() {
        let union = LogicalPlanBuilder::from(row(["a", "b"], [1, 2])).union(row(["a", "b"], [3, 4])).unwrap().build().unwrap();
        assert!(!named(union).unwrap().transformed);
    }
}
