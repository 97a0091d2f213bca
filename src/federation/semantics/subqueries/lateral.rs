//! LATERAL subqueries as joins on what they read of the rows beside them.

use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::error::Result;
use datafusion::logical_expr::{Join, JoinType, LogicalPlan, SubqueryAlias};

use super::domain::Domain;
use super::{Rewriter, Within, lost, only, shape, unsupported};

/// Whether the right side of a join may read the left side.
pub(super) fn is_lateral(join: &Join) -> bool {
    subquery_of(&join.right).is_some()
}

/// The subquery below any aliases, the outermost of which names its columns.
pub(super) fn subquery_of(plan: &LogicalPlan) -> Option<(&Arc<LogicalPlan>, Option<&TableReference>)> {
    match plan {
        LogicalPlan::Subquery(node) => Some((&node.subquery, None)),
        LogicalPlan::SubqueryAlias(node) => {
            let (plan, _) = subquery_of(&node.input)?;
            Some((plan, Some(&node.alias)))
        }
        _ => None,
    }
}

impl Rewriter {
    pub(super) fn lateral(&mut self, mut join: Join, within: Within) -> Result<LogicalPlan> {
        if within == Within::Statement && shape::is_lateral_of_engine(&join)? {
            return Ok(LogicalPlan::Join(join));
        }
        let wanted = Arc::clone(&join.schema);
        let (subquery, alias) = subquery_of(&join.right).ok_or_else(|| lost("a lateral subquery"))?;
        let (subquery, alias) = (Arc::clone(subquery), alias.cloned());
        let domain = Domain::of(&subquery, &join.left, self.number())?;
        let named = |plan: LogicalPlan| match &alias {
            Some(alias) => SubqueryAlias::try_new(Arc::new(plan), alias.clone()).map(LogicalPlan::SubqueryAlias),
            None => Ok(plan),
        };
        let Some(domain) = domain else {
            join.right = Arc::new(named(subquery.as_ref().clone())?);
            return LogicalPlan::Join(join).recompute_schema();
        };
        if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
            return Err(unsupported("a LATERAL subquery on the right side of a RIGHT or FULL JOIN"));
        }
        let keyed = self.push(&subquery, &domain)?;
        let right = named(keyed.plan)?;
        let columns = right.schema().columns();
        let keys = domain.names.iter().map(|name| columns.iter().find(|column| column.name == *name).cloned());
        let keys = keys.collect::<Option<Vec<_>>>().ok_or_else(|| lost("a key"))?;
        join.on.extend(domain.pairs(join.left.schema(), &keys)?);
        join.right = Arc::new(right);
        only(LogicalPlan::Join(join).recompute_schema()?, &wanted)
    }
}
