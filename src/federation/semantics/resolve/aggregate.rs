//! Aggregate calls over resolved arguments: which implementation computes them, over which argument types. Window calls are in
//! `window`.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::functions_aggregate::bool_and_or::{bool_and_udaf, bool_or_udaf};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::string_agg::string_agg_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Cast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{AggregateUDF, Expr, SortExpr};

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::super::aggregates::{
    Collected, Kind, NamedAggregate, Order, OrderedAggregate, Percentile, Regression, Statistic, TypedAggregate,
};
use super::super::floats;
use super::super::functions::missing_function;
use super::super::key;
use super::super::operators::plain;
use super::super::overload::{is_string, numeric_rank};
use super::super::typed::Typed;
use super::convert::{Asked, Operand};
use super::{Resolver, Scope};

/// A decided aggregate.
pub(super) struct Decided {
    pub(super) function: Arc<AggregateUDF>,
    pub(super) arguments: Vec<Expr>,
    /// Whether the engine still has to drop duplicates.
    pub(super) distinct: bool,
}

impl Resolver<'_> {
    pub(super) fn aggregate(&self, mut call: AggregateFunction, scope: &Scope<'_>) -> Result<Expr> {
        if call.params.distinct && call.func.name() == "array_agg" {
            return self.distinct_values(call, scope);
        }
        if call.params.distinct && call.func.name() == "string_agg" {
            return self.distinct_texts(call, scope);
        }
        if call.func.inner().downcast_ref::<Percentile>().is_some() {
            return self.percentile(call, scope);
        }
        let arguments = std::mem::take(&mut call.params.args);
        let decided = self.decide_aggregate(&call.func, arguments, call.params.distinct, scope)?;
        call.params.order_by = self.order_keys(call.params.order_by, scope)?;
        call.params.filter = match call.params.filter {
            Some(filter) => Some(Box::new(self.boolean(*filter, "FILTER", scope)?)),
            None => None,
        };
        call.func = decided.function;
        call.params.args = decided.arguments;
        call.params.distinct = decided.distinct;
        Ok(Expr::AggregateFunction(call))
    }

    /// `array_agg(DISTINCT x ORDER BY x)`: dropping duplicates sorts, so the order asked for can only be one over the values.
    fn distinct_values(&self, mut call: AggregateFunction, scope: &Scope<'_>) -> Result<Expr> {
        let missing = |types: &[Typed]| missing_function("array_agg", types);
        let [argument]: [Expr; 1] = std::mem::take(&mut call.params.args).try_into().map_err(|_others: Vec<Expr>| missing(&[]))?;
        let mut order = Order { descending: false, nulls_first: false };
        for (place, sort) in std::mem::take(&mut call.params.order_by).into_iter().enumerate() {
            if sort.expr != argument {
                let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
                return Err(Diagnosis::new("42P10", message).into());
            }
            if place == 0 {
                order = Order { descending: !sort.asc, nulls_first: sort.nulls_first };
            }
        }
        let operand = self.operand(argument, scope)?;
        let typed: Typed = if operand.typed.is_unknown() { PgType::TEXT.into() } else { operand.typed.without_modifier() };
        if !key::has_equality(typed.pg_type) {
            let message = format!("could not identify an equality operator for type {}", plain(&typed));
            return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, message).into());
        }
        let argument =
            if operand.typed.is_unknown() { self.convert(operand, &typed, Asked::Implicitly, scope)? } else { operand.expr };
        let carrier = scope.carrier_of(&argument)?;
        if key::is_needed(&typed, &carrier) {
            key::function(&typed)?;
        }
        let pg_type = typed.pg_type.array().or(PgType::TEXT.array()).unwrap_or(PgType::TEXT);
        let pg_type = if typed.pg_type.element().is_some() { typed.pg_type } else { pg_type };
        let returns = Typed { pg_type, labels: typed.labels.clone() };
        let function = TypedAggregate::new(Kind::Distinct(order), typed, returns, false);
        let function = function.with_carrier(DataType::new_list(carrier, true));
        call.func = Arc::new(AggregateUDF::new_from_impl(function));
        call.params.args = vec![argument];
        call.params.distinct = false;
        call.params.filter = match call.params.filter {
            Some(filter) => Some(Box::new(self.boolean(*filter, "FILTER", scope)?)),
            None => None,
        };
        Ok(Expr::AggregateFunction(call))
    }

    /// The calls of one aggregation. Where they ask for different orders, each orders its values by itself.
    pub(super) fn beside_each_other(&self, calls: Vec<Expr>, scope: &Scope<'_>) -> Result<Vec<Expr>> {
        let mut orders: Vec<&[SortExpr]> = Vec::new();
        for call in &calls {
            call.apply(|part| {
                if let Expr::AggregateFunction(call) = part
                    && !call.params.order_by.is_empty()
                    && !orders.contains(&call.params.order_by.as_slice())
                {
                    orders.push(&call.params.order_by);
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        if orders.len() < 2 {
            return Ok(calls);
        }
        let names = NamePreserver::new_for_projection();
        let apart = |call: Expr| {
            let name = names.save(&call);
            Ok(name.restore(call.transform_up(|part| self.ordered_by_itself(part, scope))?.data))
        };
        calls.into_iter().map(apart).collect()
    }

    fn ordered_by_itself(&self, part: Expr, scope: &Scope<'_>) -> Result<Transformed<Expr>> {
        let Expr::AggregateFunction(call) = &part else { return Ok(Transformed::no(part)) };
        let collected = Collected::of_name(call.func.name()).filter(|_| !call.params.order_by.is_empty());
        let Some(collected) = collected else { return Ok(Transformed::no(part)) };
        let returns = (scope.type_of(&part)?, scope.carrier_of(&part)?);
        let mut call = call.clone();
        let mut order = Vec::with_capacity(call.params.order_by.len());
        for key in std::mem::take(&mut call.params.order_by) {
            order.push(Order { descending: !key.asc, nulls_first: key.nulls_first });
            call.params.args.push(key.expr);
        }
        let distinct = std::mem::take(&mut call.params.distinct);
        call.func = Arc::new(AggregateUDF::new_from_impl(OrderedAggregate::new(collected, order, distinct, returns)));
        Ok(Transformed::yes(Expr::AggregateFunction(call)))
    }

    /// `percentile_cont(fraction) WITHIN GROUP (ORDER BY value)`, which the planner gives as value and fraction.
    fn percentile(&self, mut call: AggregateFunction, scope: &Scope<'_>) -> Result<Expr> {
        let name = call.func.name().to_owned();
        let operands = std::mem::take(&mut call.params.args).into_iter().map(|argument| self.operand(argument, scope));
        let operands = operands.collect::<Result<Vec<_>>>()?;
        let order = std::mem::take(&mut call.params.order_by);
        let [order] = order.as_slice() else {
            let message = format!("WITHIN GROUP is required for ordered-set aggregate {name}");
            return Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, message).into());
        };
        let types: Vec<Typed> = operands.iter().rev().map(|operand| operand.typed.clone()).collect();
        let is_number = |typed: &Typed| typed.is_unknown() || numeric_rank(typed.pg_type).is_some();
        if call.params.distinct || operands.len() != 2 || !types.iter().all(is_number) {
            return Err(missing_function(&name, &types).into());
        }
        let double: Typed = PgType::FLOAT8.into();
        let arguments = operands.into_iter().map(|operand| self.convert(operand, &double, Asked::Implicitly, scope));
        call.params.args = arguments.collect::<Result<_>>()?;
        call.func = Arc::new(AggregateUDF::new_from_impl(Percentile::new(!order.asc)));
        call.params.filter = match call.params.filter {
            Some(filter) => Some(Box::new(self.boolean(*filter, "FILTER", scope)?)),
            None => None,
        };
        Ok(Expr::AggregateFunction(call))
    }

    fn order_keys(&self, keys: Vec<SortExpr>, scope: &Scope<'_>) -> Result<Vec<SortExpr>> {
        let keys = keys.into_iter().map(|sort| Ok(SortExpr { expr: self.keyed(sort.expr, scope)?, ..sort }));
        Ok(without_repetitions(keys.collect::<Result<_>>()?))
    }

    pub(super) fn decide_aggregate(
        &self,
        function: &Arc<AggregateUDF>,
        arguments: Vec<Expr>,
        distinct: bool,
        scope: &Scope<'_>,
    ) -> Result<Decided> {
        let name = function.name();
        let known = function.inner().downcast_ref::<NamedAggregate>().is_some();
        let operands = arguments.into_iter().map(|argument| self.operand(argument, scope)).collect::<Result<Vec<_>>>()?;
        if name == "count" && operands.len() != 1 {
            let types: Vec<Typed> = operands.into_iter().map(|operand| operand.typed).collect();
            return Err(missing_function(name, &types).into());
        }
        if known {
            return self.own_aggregate(name, operands, distinct, scope);
        }
        let text: Typed = PgType::TEXT.into();
        let mut converted = Vec::with_capacity(operands.len());
        for operand in operands {
            if operand.typed.is_unknown() && matches!(operand.expr, Expr::Literal(..) | Expr::Placeholder(_)) && name != "count" {
                converted.push(self.convert(operand, &text, Asked::Implicitly, scope)?);
                continue;
            }
            let opaque = distinct && key::is_needed_to_tell_apart(&operand.typed, &scope.carrier_of(&operand.expr)?);
            converted.push(match (opaque, name) {
                (true, "count") => self.keyed(operand.expr, scope)?,
                // Which of equal floats is kept is as good as any other.
                (true, _) if floats::is_float(operand.typed.pg_type) => self.keyed(operand.expr, scope)?,
                (true, _) => {
                    let message = format!("{name}(DISTINCT) over type {} is not supported", plain(&operand.typed));
                    return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).into());
                }
                _ => operand.expr,
            });
        }
        Ok(Decided { function: Arc::clone(function), arguments: converted, distinct })
    }

    fn own_aggregate(&self, name: &str, operands: Vec<Operand>, distinct: bool, scope: &Scope<'_>) -> Result<Decided> {
        let types: Vec<Typed> = operands.iter().map(|operand| operand.typed.clone()).collect();
        let missing = || missing_function(name, &types);
        if name == "string_agg" {
            return self.string_agg(operands, distinct, scope);
        }
        if let Some(statistic) = Statistic::of_name(name) {
            return self.regression(statistic, operands, distinct, scope);
        }
        let [operand]: [Operand; 1] = operands.try_into().map_err(|_others: Vec<Operand>| missing())?;
        let operand = if operand.typed.is_unknown() {
            let assumed: Typed = if matches!(name, "min" | "max") { PgType::TEXT.into() } else { PgType::FLOAT8.into() };
            Operand { expr: self.convert(operand, &assumed, Asked::Implicitly, scope)?, typed: assumed }
        } else {
            operand
        };
        match name {
            "sum" => self.sum(operand, distinct, scope),
            "avg" => self.average(operand, distinct),
            "min" | "max" => self.extreme(name, operand, scope),
            "bool_and" | "every" | "bool_or" => {
                if operand.typed.pg_type.oid != PgType::BOOL.oid {
                    return Err(missing().into());
                }
                let function = if name == "bool_or" { bool_or_udaf() } else { bool_and_udaf() };
                Ok(Decided { function, arguments: vec![operand.expr], distinct: false })
            }
            _ => {
                let Some(kind) = Kind::of_deviation(name) else { return Err(missing().into()) };
                match numeric_rank(operand.typed.pg_type) {
                    Some(0..=3) => self.typed(kind, operand.expr, PgType::NUMERIC, PgType::NUMERIC, distinct),
                    Some(_) => self.typed(kind, operand.expr, PgType::FLOAT8, PgType::FLOAT8, distinct),
                    None => Err(missing().into()),
                }
            }
        }
    }

    /// A statistic over pairs, whose parts are read as `double precision`.
    fn regression(&self, statistic: Statistic, operands: Vec<Operand>, distinct: bool, scope: &Scope<'_>) -> Result<Decided> {
        let types: Vec<Typed> = operands.iter().map(|operand| operand.typed.clone()).collect();
        let is_number = |typed: &Typed| typed.is_unknown() || numeric_rank(typed.pg_type).is_some();
        if operands.len() != 2 || !types.iter().all(is_number) {
            return Err(missing_function(statistic.name(), &types).into());
        }
        let double: Typed = PgType::FLOAT8.into();
        let arguments = operands.into_iter().map(|operand| self.convert(operand, &double, Asked::Implicitly, scope));
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        let function = Arc::new(AggregateUDF::new_from_impl(Regression::new(statistic, distinct)));
        Ok(Decided { function, arguments, distinct: false })
    }

    fn typed(&self, kind: Kind, argument: Expr, reads: PgType, returns: PgType, distinct: bool) -> Result<Decided> {
        let function = TypedAggregate::new(kind, reads.into(), returns.into(), distinct);
        // Duplicates are dropped by the function itself: the engine would compare carriers.
        Ok(Decided { function: Arc::new(AggregateUDF::new_from_impl(function)), arguments: vec![argument], distinct: false })
    }

    fn engine(&self, function: Arc<AggregateUDF>, argument: Expr, distinct: bool) -> Result<Decided> {
        Ok(Decided { function, arguments: vec![argument], distinct })
    }

    fn sum(&self, operand: Operand, distinct: bool, scope: &Scope<'_>) -> Result<Decided> {
        let carrier = scope.carrier_of(&operand.expr)?;
        match (operand.typed.pg_type.oid, &carrier) {
            (21 | 23, _) => {
                let wide = self.convert(operand, &PgType::INT8.into(), Asked::Implicitly, scope)?;
                self.engine(sum_udaf(), wide, distinct)
            }
            (20, _) => {
                let field = Typed::from(PgType::NUMERIC).field("", DataType::Decimal128(19, 0));
                self.engine(sum_udaf(), Expr::Cast(Cast::new_from_field(Box::new(operand.expr), field)), distinct)
            }
            // Ten more digits hold the sum of ten thousand million rows.
            (1700, DataType::Decimal128(precision, _)) if *precision <= 28 => self.engine(sum_udaf(), operand.expr, distinct),
            (1700, _) => self.typed(Kind::Sum, operand.expr, PgType::NUMERIC, PgType::NUMERIC, distinct),
            (700, _) => self.typed(Kind::SumReal, operand.expr, PgType::FLOAT4, PgType::FLOAT4, distinct),
            (701, _) => self.typed(Kind::Sum, operand.expr, PgType::FLOAT8, PgType::FLOAT8, distinct),
            (1186, _) => self.typed(Kind::Sum, operand.expr, PgType::INTERVAL, PgType::INTERVAL, distinct),
            _ => Err(missing_function("sum", &[operand.typed]).into()),
        }
    }

    fn average(&self, operand: Operand, distinct: bool) -> Result<Decided> {
        match operand.typed.pg_type.oid {
            20 | 21 | 23 | 1700 => self.typed(Kind::Average, operand.expr, PgType::NUMERIC, PgType::NUMERIC, distinct),
            700 | 701 => self.typed(Kind::Average, operand.expr, PgType::FLOAT8, PgType::FLOAT8, distinct),
            1186 => self.typed(Kind::Average, operand.expr, PgType::INTERVAL, PgType::INTERVAL, distinct),
            _ => Err(missing_function("avg", &[operand.typed]).into()),
        }
    }

    fn extreme(&self, name: &str, operand: Operand, scope: &Scope<'_>) -> Result<Decided> {
        let greatest = name == "max";
        let typed = operand.typed.clone();
        if !has_extremes(&typed) {
            return Err(missing_function(name, &[typed]).into());
        }
        let carrier = scope.carrier_of(&operand.expr)?;
        if key::is_needed(&typed, &carrier) {
            key::function(&typed)?;
            let kind = if greatest { Kind::Greatest } else { Kind::Least };
            let typed = typed.without_modifier();
            let function = TypedAggregate::new(kind, typed.clone(), typed, false).with_carrier(carrier);
            let function = Arc::new(AggregateUDF::new_from_impl(function));
            return Ok(Decided { function, arguments: vec![operand.expr], distinct: false });
        }
        // `character varying` has no extremes of its own: they are those of text.
        let argument = if is_string(typed.pg_type) && typed.pg_type.oid != PgType::TEXT.oid {
            self.convert(operand, &PgType::TEXT.into(), Asked::Implicitly, scope)?
        } else {
            operand.expr
        };
        self.engine(if greatest { max_udaf() } else { min_udaf() }, argument, false)
    }

    fn string_agg(&self, operands: Vec<Operand>, distinct: bool, scope: &Scope<'_>) -> Result<Decided> {
        let types: Vec<Typed> = operands.iter().map(|operand| operand.typed.clone()).collect();
        let textual = types.iter().all(|typed| typed.is_unknown() || is_string(typed.pg_type));
        if operands.len() != 2 || !textual {
            return Err(missing_function("string_agg", &types).into());
        }
        let text: Typed = PgType::TEXT.into();
        let arguments = operands
            .into_iter()
            .map(|operand| self.convert(operand, &text, Asked::Implicitly, scope))
            .collect::<Result<Vec<_>>>()?;
        Ok(Decided { function: string_agg_udaf(), arguments, distinct })
    }
}

/// Whether two keys of an order are one expression, whatever the optimiser calls it.
pub(in super::super::super) fn is_one(left: &SortExpr, right: &SortExpr) -> bool {
    left.expr.clone().unalias_nested().data == right.expr.clone().unalias_nested().data
}

/// An order without what it has already been ordered by: the engine's aggregates stop with a panic over such orders.
pub(in super::super::super) fn without_repetitions(keys: Vec<SortExpr>) -> Vec<SortExpr> {
    let mut kept: Vec<SortExpr> = Vec::with_capacity(keys.len());
    for key in keys {
        if !kept.iter().any(|known| is_one(known, &key)) {
            kept.push(key);
        }
    }
    kept
}

/// Whether PostgreSQL 15 has `min` and `max` of the type.
fn has_extremes(typed: &Typed) -> bool {
    if let Some(element) = typed.pg_type.element() {
        return key::has_equality(element);
    }
    typed.labels.is_some()
        || is_string(typed.pg_type) && typed.pg_type.oid != 18
        || numeric_rank(typed.pg_type).is_some()
        || matches!(typed.pg_type.oid, 26 | 650 | 790 | 869 | 1082 | 1083 | 1114 | 1184 | 1186 | 1266 | 3220)
}
