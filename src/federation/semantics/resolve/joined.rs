//! `string_agg(DISTINCT …)`: dropping repetitions sorts, by the order asked for and then by the arguments.
//!
//! The engine's own takes constants for delimiters only, and gives the values as they come.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{AggregateUDF, Expr};

use crate::error::Diagnosis;

use super::super::aggregates::{Collected, Order, OrderedAggregate};
use super::{Resolver, Scope};

/// PostgreSQL's `ERRCODE_INVALID_COLUMN_REFERENCE`.
const INVALID_COLUMN_REFERENCE: &str = "42P10";

impl Resolver<'_> {
    pub(super) fn distinct_texts(&self, mut call: AggregateFunction, scope: &Scope<'_>) -> Result<Expr> {
        let arguments = std::mem::take(&mut call.params.args);
        let mut keys: Vec<(usize, Order)> = Vec::with_capacity(arguments.len());
        for sort in std::mem::take(&mut call.params.order_by) {
            let same = |argument: &Expr| *argument == sort.expr && !matches!(argument, Expr::Literal(..));
            let Some(place) = arguments.iter().position(same) else {
                let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
                return Err(Diagnosis::new(INVALID_COLUMN_REFERENCE, message).into());
            };
            if keys.iter().all(|(known, _)| *known != place) {
                keys.push((place, Order { descending: !sort.asc, nulls_first: sort.nulls_first }));
            }
        }
        for place in 0..arguments.len() {
            if keys.iter().all(|(known, _)| *known != place) {
                keys.push((place, Order { descending: false, nulls_first: false }));
            }
        }
        let decided = self.decide_aggregate(&call.func, arguments, true, scope)?;
        call.func = decided.function;
        call.params.args = decided.arguments;
        call.params.filter = match call.params.filter {
            Some(filter) => Some(Box::new(self.boolean(*filter, "FILTER", scope)?)),
            None => None,
        };
        let plain = Expr::AggregateFunction(call.clone());
        let returns = (scope.type_of(&plain)?, scope.carrier_of(&plain)?);
        let ordered: Vec<Expr> = keys.iter().filter_map(|(place, _)| call.params.args.get(*place).cloned()).collect();
        let order = keys.into_iter().map(|(_, order)| order).collect();
        call.params.args.extend(ordered);
        call.params.distinct = false;
        call.func = Arc::new(AggregateUDF::new_from_impl(OrderedAggregate::new(Collected::Text, order, true, returns)));
        Ok(Expr::AggregateFunction(call))
    }
}
