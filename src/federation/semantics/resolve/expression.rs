//! One expression whose parts are resolved already: operators, comparisons, calls, casts, subqueries. What gives one of its
//! parts (CASE, COALESCE, NULLIF) is in `choice`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{
    Between, BinaryExpr, Cast, Exists, InList, InSubquery, Like, Placeholder, ScalarFunction, SetComparison, TryCast,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Operator as EngineOperator, Subquery, Volatility};

use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::HIDDEN;
use crate::pgtype::{PgType, TYPE_KEY};

use super::super::functions::{self, Named};
use super::super::key;
use super::super::operators::{self, How, Operator, arithmetic_parts, missing, plain};
use super::super::overload::{self, is_string};
use super::super::sql_types::WRITTEN;
use super::super::typed::{Kernel, Typed, TypedFunction};
use super::super::types::plan_schema;
use super::array::undetermined;
use super::convert::{Asked, Operand};
use super::{Resolver, Scope, outer_field};

impl Resolver<'_> {
    /// Resolves one expression over resolved parts.
    pub(super) fn one(&self, expr: Expr, scope: &Scope<'_>) -> Result<Expr> {
        Ok(match expr {
            Expr::OuterReferenceColumn(field, column) => {
                let field = outer_field(&column, scope).unwrap_or(field);
                Expr::OuterReferenceColumn(field, column)
            }
            Expr::Placeholder(Placeholder { id, field: Some(field) }) => {
                // A parameter compared with a column has the column's type, never its modifier.
                let typed = Typed::of_field(&field);
                let plain = typed.without_modifier();
                let field = if typed == plain { field } else { plain.field("", plain.pg_type.carrier()) };
                Expr::Placeholder(Placeholder { id, field: Some(field) })
            }
            Expr::BinaryExpr(binary) => self.binary(binary, scope)?,
            Expr::Negative(inner) => self.negative(*inner, scope)?,
            Expr::Not(inner) => Expr::Not(Box::new(self.boolean(*inner, "NOT", scope)?)),
            Expr::IsTrue(inner) => Expr::IsTrue(Box::new(self.boolean(*inner, "IS TRUE", scope)?)),
            Expr::IsFalse(inner) => Expr::IsFalse(Box::new(self.boolean(*inner, "IS FALSE", scope)?)),
            Expr::IsNotTrue(inner) => Expr::IsNotTrue(Box::new(self.boolean(*inner, "IS NOT TRUE", scope)?)),
            Expr::IsNotFalse(inner) => Expr::IsNotFalse(Box::new(self.boolean(*inner, "IS NOT FALSE", scope)?)),
            Expr::Between(between) => self.between(between, scope)?,
            Expr::InList(list) => self.in_list(list, scope)?,
            Expr::Like(like) => {
                let is_whole = functions::is_whole(&like.pattern);
                let like = self.like(like, scope)?;
                if is_whole { Expr::Like(like) } else { functions::like(*like.expr, *like.pattern, like.negated) }
            }
            Expr::SimilarTo(like) => Expr::SimilarTo(self.like(like, scope)?),
            Expr::Case(case) => self.case(case, scope)?,
            Expr::Cast(cast) => self.cast(cast, scope)?,
            Expr::TryCast(TryCast { expr, field }) => self.cast(Cast::new_from_field(expr, field), scope)?,
            Expr::ScalarFunction(call) => self.call(call, scope)?,
            Expr::AggregateFunction(call) => self.aggregate(call, scope)?,
            Expr::WindowFunction(call) => self.window(*call, scope)?,
            Expr::ScalarSubquery(subquery) => Expr::ScalarSubquery(self.subquery(subquery, scope)?),
            Expr::Exists(Exists { subquery, negated }) => {
                Expr::Exists(Exists { subquery: self.subquery(subquery, scope)?, negated })
            }
            Expr::InSubquery(membership) => self.in_subquery(membership, scope)?,
            Expr::SetComparison(comparison) => self.set_comparison(comparison, scope)?,
            other => other,
        })
    }

    /// A condition; an untyped literal is read as boolean.
    pub(super) fn boolean(&self, expr: Expr, what: &str, scope: &Scope<'_>) -> Result<Expr> {
        let operand = self.operand(expr, scope)?;
        let bool_type: Typed = PgType::BOOL.into();
        if operand.typed.is_unknown() || operand.typed.pg_type.oid == PgType::BOOL.oid {
            return self.convert(operand, &bool_type, Asked::Implicitly, scope);
        }
        Err(Diagnosis::new(
            sqlstate::DATATYPE_MISMATCH,
            format!("argument of {what} must be type boolean, not type {}", plain(&operand.typed)),
        )
        .into())
    }

    fn binary(&self, binary: BinaryExpr, scope: &Scope<'_>) -> Result<Expr> {
        let BinaryExpr { left, op, right } = binary;
        use EngineOperator as Op;
        match op {
            Op::And | Op::Or => {
                let what = if op == Op::And { "AND" } else { "OR" };
                let (left, right) = (self.boolean(*left, what, scope)?, self.boolean(*right, what, scope)?);
                Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
            }
            Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq | Op::IsDistinctFrom | Op::IsNotDistinctFrom => {
                let sign = match op {
                    Op::NotEq => "<>".to_owned(),
                    Op::IsDistinctFrom | Op::IsNotDistinctFrom => "=".to_owned(),
                    other => other.to_string(),
                };
                let (left, right) = (self.operand(*left, scope)?, self.operand(*right, scope)?);
                let (left, right) = self.comparison(&sign, left, right, scope)?;
                Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
            }
            Op::RegexMatch
            | Op::RegexIMatch
            | Op::RegexNotMatch
            | Op::RegexNotIMatch
            | Op::LikeMatch
            | Op::ILikeMatch
            | Op::NotLikeMatch
            | Op::NotILikeMatch => {
                let sign = op.to_string();
                let (left, right) = self.texts(*left, *right, &sign, scope)?;
                if let Op::RegexMatch | Op::RegexIMatch | Op::RegexNotMatch | Op::RegexNotIMatch = op {
                    let folds = matches!(op, Op::RegexIMatch | Op::RegexNotIMatch);
                    let negated = matches!(op, Op::RegexNotMatch | Op::RegexNotIMatch);
                    return Ok(functions::regexp_operator(left, right, folds, negated));
                }
                let is_whole = functions::is_whole(&right);
                let (left, op, right) = match op {
                    Op::ILikeMatch => (functions::in_lower_case(left), Op::LikeMatch, functions::in_lower_case(right)),
                    Op::NotILikeMatch => (functions::in_lower_case(left), Op::NotLikeMatch, functions::in_lower_case(right)),
                    op => (left, op, right),
                };
                if !is_whole {
                    return Ok(functions::like(left, right, op == Op::NotLikeMatch));
                }
                Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
            }
            _ => match arithmetic_parts(op) {
                Some((name, operator)) => self.operator(name, operator, vec![*left, *right], scope),
                None => Ok(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            },
        }
    }

    fn texts(&self, left: Expr, right: Expr, sign: &str, scope: &Scope<'_>) -> Result<(Expr, Expr)> {
        let (left, right) = (self.operand(left, scope)?, self.operand(right, scope)?);
        let textual = |typed: &Typed| typed.is_unknown() || is_string(typed.pg_type);
        if !textual(&left.typed) || !textual(&right.typed) {
            return Err(missing(sign, &left.typed, &right.typed).into());
        }
        let text: Typed = PgType::TEXT.into();
        // `character(n)` is matched with its blanks, as `bpchar ~~ text` does; a pattern is always `text`, which has none of them.
        let subject = match left.typed.pg_type.oid {
            1042 => left.expr,
            _ => self.convert(left, &text, Asked::Implicitly, scope)?,
        };
        Ok((subject, self.convert(right, &text, Asked::Implicitly, scope)?))
    }

    fn like(&self, like: Like, scope: &Scope<'_>) -> Result<Like> {
        let sign = match (like.negated, like.case_insensitive) {
            (false, false) => "~~",
            (true, false) => "!~~",
            (false, true) => "~~*",
            (true, true) => "!~~*",
        };
        let (expr, pattern) = self.texts(*like.expr, *like.pattern, sign, scope)?;
        if like.case_insensitive {
            // PostgreSQL compares both sides in lower case; the engine would fold more letters into one (`ſ` and `s`).
            let (expr, pattern) = (functions::in_lower_case(expr), functions::in_lower_case(pattern));
            return Ok(Like { expr: Box::new(expr), pattern: Box::new(pattern), case_insensitive: false, ..like });
        }
        Ok(Like { expr: Box::new(expr), pattern: Box::new(pattern), ..like })
    }

    fn negative(&self, inner: Expr, scope: &Scope<'_>) -> Result<Expr> {
        let operand = self.operand(inner, scope)?;
        let typed = if operand.typed.is_unknown() { PgType::FLOAT8.into() } else { operand.typed.without_modifier() };
        let Some(kernel) = operators::negate_kernel(typed.pg_type) else {
            let hint = "No operator matches the given name and argument type. You might need to add an explicit type cast.";
            let message = format!("operator does not exist: - {}", plain(&typed));
            return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, message).with_hint(hint).into());
        };
        let carrier = scope.carrier_of(&operand.expr)?;
        let expr = self.convert(operand, &typed, Asked::Implicitly, scope)?;
        let carrier = if matches!(carrier, DataType::Decimal128(..)) { carrier } else { typed.pg_type.carrier() };
        Ok(TypedFunction::new("pg_negate", vec![typed.clone()], typed, kernel).with_carrier(carrier).call(vec![expr]))
    }

    fn between(&self, between: Between, scope: &Scope<'_>) -> Result<Expr> {
        let Between { expr, negated, low, high } = between;
        let subject = self.operand(*expr, scope)?;
        let low = self.operand(*low, scope)?;
        let high = self.operand(*high, scope)?;
        let (low_sign, high_sign) = if negated { ("<", ">") } else { (">=", "<=") };
        let (from, low) = self.comparison(low_sign, subject.clone(), low, scope)?;
        let (to, high) = self.comparison(high_sign, subject, high, scope)?;
        if from == to {
            let [from, low, high] = self.together([from, low, high], scope)?;
            return Ok(Expr::Between(Between::new(Box::new(from), negated, Box::new(low), Box::new(high))));
        }
        // The bounds have different types, so each compares on its own.
        Ok(if negated { from.lt(low).or(to.gt(high)) } else { from.gt_eq(low).and(to.lt_eq(high)) })
    }

    /// Numbers that are compared with one another, by keys where no decimal type has room for all of them.
    fn together<const COUNT: usize>(&self, exprs: [Expr; COUNT], scope: &Scope<'_>) -> Result<[Expr; COUNT]> {
        if self.compare_together(exprs.iter(), scope)? {
            return Ok(exprs);
        }
        let mut keys = exprs;
        for expr in &mut keys {
            *expr = in_numeric_key(std::mem::take(expr))?;
        }
        Ok(keys)
    }

    fn in_list(&self, in_list: InList, scope: &Scope<'_>) -> Result<Expr> {
        let InList { expr, list, negated } = in_list;
        let subject = self.operand(*expr, scope)?;
        let items = list.into_iter().map(|item| self.operand(item, scope)).collect::<Result<Vec<_>>>()?;
        let items = self.listed(&subject, items, scope)?;
        self.one_of(&subject, items, negated, scope)
    }

    /// `subject IN (items…)`.
    pub(super) fn one_of(&self, subject: &Operand, list: Vec<Operand>, negated: bool, scope: &Scope<'_>) -> Result<Expr> {
        let mut pairs = self.compared(subject, &list, negated, scope)?;
        if subject.expr.is_volatile() && !has_one_subject(&pairs) {
            // It is computed once, so one subject for all needs one type for all.
            let operands = std::iter::once(subject.clone()).chain(list).collect();
            let (exprs, typed) = self.unify(operands, "IN", scope)?;
            let mut operands = exprs.into_iter().map(|expr| Operand { expr, typed: typed.clone() });
            if let Some(subject) = operands.next() {
                pairs = self.compared(&subject, &operands.collect::<Vec<_>>(), negated, scope)?;
            }
        }
        match pairs.first() {
            Some((left, _)) if has_one_subject(&pairs) => {
                let left = left.clone();
                let items: Vec<Expr> = pairs.into_iter().map(|(_, item)| item).collect();
                if self.compare_together(std::iter::once(&left).chain(&items), scope)? {
                    return Ok(Expr::InList(InList::new(Box::new(left), items, negated)));
                }
                let items = items.into_iter().map(in_numeric_key).collect::<Result<Vec<_>>>()?;
                Ok(Expr::InList(InList::new(Box::new(in_numeric_key(left)?), items, negated)))
            }
            _ => {
                let parts = pairs.into_iter().map(|(subject, item)| if negated { subject.not_eq(item) } else { subject.eq(item) });
                let joined = if negated { parts.reduce(Expr::and) } else { parts.reduce(Expr::or) };
                Ok(joined.unwrap_or_else(|| datafusion::logical_expr::lit(negated)))
            }
        }
    }

    /// What is compared for `subject IN (items…)`.
    fn compared(&self, subject: &Operand, list: &[Operand], negated: bool, scope: &Scope<'_>) -> Result<Vec<(Expr, Expr)>> {
        let sign = if negated { "<>" } else { "=" };
        list.iter().map(|item| self.comparison(sign, subject.clone(), item.clone(), scope)).collect()
    }

    fn cast(&self, cast: Cast, scope: &Scope<'_>) -> Result<Expr> {
        if !cast.field.metadata().contains_key(TYPE_KEY) && cast.field.name() != WRITTEN {
            // The engine's own cast, or one this pass made for a decimal carrier.
            return Ok(Expr::Cast(cast));
        }
        let to = Typed::of_field(&cast.field);
        let operand = self.operand(*cast.expr, scope)?;
        if operand.typed.pg_type == to.pg_type && scope.carrier_of(&operand.expr)? != *cast.field.data_type() {
            // A second run over a cast this pass made between carriers of one type.
            return Ok(Expr::Cast(Cast::new_from_field(Box::new(operand.expr), cast.field)));
        }
        if let Expr::Placeholder(Placeholder { field: None, .. }) = &operand.expr {
            return self.convert(operand, &to, Asked::Explicitly, scope);
        }
        self.convert(operand, &to, Asked::Explicitly, scope)
    }

    fn call(&self, call: ScalarFunction, scope: &Scope<'_>) -> Result<Expr> {
        if call.func.inner().downcast_ref::<Named>().is_some() {
            let name = call.func.name().to_owned();
            if let Some(target) = functions::cast_target(&name) {
                return self.cast_call(target, call.args, scope);
            }
            if let Some(op) = operators::comparison_of_name(&name) {
                let [left, right]: [Expr; 2] = match call.args.try_into() {
                    Ok(pair) => pair,
                    Err(arguments) => return Ok(Expr::ScalarFunction(ScalarFunction::new_udf(call.func, arguments))),
                };
                return self.binary(BinaryExpr::new(Box::new(left), op, Box::new(right)), scope);
            }
            if let Some(quantified) = functions::quantified(&name) {
                let [item, array]: [Expr; 2] = match call.args.try_into() {
                    Ok(pair) => pair,
                    Err(arguments) => return Ok(Expr::ScalarFunction(ScalarFunction::new_udf(call.func, arguments))),
                };
                return self.quantified(quantified, item, array, scope);
            }
            if let Some(function) = functions::array_function(&name) {
                return self.array_function(&name, function, call.args, scope);
            }
            if let Some(function) = functions::engine_choice(&name) {
                return self.choice(function, call.args, scope);
            }
            if name == "pg_typeof" {
                return self.type_of_call(call.args, scope);
            }
            if matches!(name.as_str(), "pg_merged" | "pg_merged_first" | "pg_evaluated") {
                return self.merged(&name, call.args, scope);
            }
            if matches!(name.as_str(), "pg_negate" | "pg_having") {
                let argument = call
                    .args
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| datafusion::logical_expr::lit(datafusion::scalar::ScalarValue::Null));
                return if name == "pg_negate" { self.negative(argument, scope) } else { self.boolean(argument, "HAVING", scope) };
            }
            return match Operator::of_name(&name) {
                Some(operator) => self.operator(&name, operator, call.args, scope),
                None => self.overload(&name, &name, call.args, scope),
            };
        }
        match call.func.name() {
            "coalesce" | "nvl" | "greatest" | "least" | "make_array" => self.choice(call.func, call.args, scope),
            "nullif" => self.null_if(call, scope),
            "array_element" => self.subscript(call, scope),
            _ => Ok(Expr::ScalarFunction(call)),
        }
    }

    /// `array[place]`; the vectors of the catalog count from 0.
    fn subscript(&self, call: ScalarFunction, scope: &Scope<'_>) -> Result<Expr> {
        let [array, place]: [Expr; 2] = match call.args.try_into() {
            Ok(pair) => pair,
            Err(arguments) => return Ok(Expr::ScalarFunction(ScalarFunction::new_udf(call.func, arguments))),
        };
        let typed = scope.type_of(&array)?;
        let Some(element) = typed.pg_type.element().filter(|_| typed.pg_type.is_vector()) else {
            return Ok(Expr::ScalarFunction(ScalarFunction::new_udf(call.func, vec![array, place])));
        };
        let place = self.convert(self.operand(place, scope)?, &PgType::INT8.into(), Asked::Implicitly, scope)?;
        let kernel = Kernel::Strict(functions::vector_element);
        Ok(TypedFunction::new("vector_element", vec![typed, PgType::INT8.into()], element.into(), kernel).call(vec![array, place]))
    }

    fn cast_call(&self, target: PgType, mut arguments: Vec<Expr>, scope: &Scope<'_>) -> Result<Expr> {
        let modifier = if arguments.len() > 1 { Some(arguments.split_off(1)) } else { None };
        let Some(value) = arguments.pop() else {
            return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, "a cast takes a value").into());
        };
        let to = match modifier {
            Some(parts) => functions::with_modifier(target, &parts),
            None => target,
        };
        let operand = self.operand(value, scope)?;
        self.convert(operand, &to.into(), Asked::Explicitly, scope)
    }

    fn operator(&self, name: &str, operator: Operator, arguments: Vec<Expr>, scope: &Scope<'_>) -> Result<Expr> {
        let [left, right]: [Expr; 2] = match arguments.try_into() {
            Ok(pair) => pair,
            Err(_arguments) => return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, "an operator takes two operands").into()),
        };
        let (left, right) = (self.operand(left, scope)?, self.operand(right, scope)?);
        if let Operator::Other(_) = operator {
            if let Some(field) = self.field_text(name, &left.expr, &right.expr, scope)? {
                return Ok(field);
            }
            if let Some(contains) = self.containment((name, operator.sign()), &left, &right, scope)? {
                return Ok(contains);
            }
            return self.overload(name, operator.sign(), vec![left.expr, right.expr], scope);
        }
        if operator == Operator::Concat && (left.typed.pg_type.element().is_some() || right.typed.pg_type.element().is_some()) {
            return self.concat_arrays(left, right, scope);
        }
        let Some(decision) = operators::decide(operator, &left.typed, &right.typed) else {
            if !functions::overloads(name).is_empty() {
                return self.overload(name, operator.sign(), vec![left.expr, right.expr], scope);
            }
            return Err(missing(operator.sign(), &left.typed, &right.typed).into());
        };
        match decision.how {
            How::Numeric(name, operator) => self.numeric_operator(name, operator, left, right, scope),
            How::Kernel(name, kernel) => {
                let [left_type, right_type] = decision.operands;
                let (left, left_type) = self.settle(left, left_type, scope)?;
                let (right, right_type) = self.settle(right, right_type, scope)?;
                Ok(TypedFunction::new(name, vec![left_type, right_type], decision.returns, kernel).call(vec![left, right]))
            }
        }
    }

    /// `pg_typeof(x)`: an untyped literal is `unknown` here, and nothing settles it.
    fn type_of_call(&self, arguments: Vec<Expr>, scope: &Scope<'_>) -> Result<Expr> {
        let operands = arguments.into_iter().map(|argument| self.operand(argument, scope)).collect::<Result<Vec<_>>>()?;
        let types: Vec<Typed> = operands.iter().map(|operand| operand.typed.clone()).collect();
        let Some(row) = overload::select(functions::overloads("pg_typeof"), &types) else {
            return Err(functions::missing_function("pg_typeof", &types).into());
        };
        let exprs = operands.into_iter().map(|operand| operand.expr).collect();
        Ok(TypedFunction::new(row.name, types, row.returns.into(), row.kernel).call(exprs))
    }

    fn settle(&self, operand: Operand, wanted: Option<PgType>, scope: &Scope<'_>) -> Result<(Expr, Typed)> {
        let to: Typed = match wanted {
            Some(pg_type) => pg_type.into(),
            None => operand.typed.clone(),
        };
        Ok((self.convert(operand, &to, Asked::Implicitly, scope)?, to))
    }

    /// Decimal arithmetic where the engine's result has PostgreSQL's scale and cannot overflow; else by value.
    fn numeric_operator(
        &self,
        name: &'static str,
        operator: Operator,
        left: Operand,
        right: Operand,
        scope: &Scope<'_>,
    ) -> Result<Expr> {
        let numeric: Typed = PgType::NUMERIC.into();
        let convert = |operand: Operand| self.convert(operand, &numeric, Asked::Implicitly, scope);
        let (left, right) = (convert(left)?, convert(right)?);
        let (left_carrier, right_carrier) = (scope.carrier_of(&left)?, scope.carrier_of(&right)?);
        let arguments = vec![numeric.clone(), numeric.clone()];
        if let (Some(carrier), Some(kernel)) = (
            operators::decimal_result(operator, tight(&left, &left_carrier), tight(&right, &right_carrier)),
            operators::decimal_kernel(operator),
        ) {
            let left = narrow(left, &left_carrier);
            let right = narrow(right, &right_carrier);
            let function = TypedFunction::new(name, arguments, numeric, Kernel::Batch(kernel)).with_carrier(carrier);
            return Ok(function.call(vec![left, right]));
        }
        let Some(kernel) = operators::numeric_kernel(operator) else {
            return Err(missing(operator.sign(), &numeric, &numeric).into());
        };
        Ok(TypedFunction::new(name, arguments, numeric, Kernel::Strict(kernel)).call(vec![left, right]))
    }

    /// Decides a call over the tables of functions. `shown` is how errors name it.
    fn overload(&self, name: &str, shown: &str, arguments: Vec<Expr>, scope: &Scope<'_>) -> Result<Expr> {
        let operands = arguments.into_iter().map(|argument| self.operand(argument, scope)).collect::<Result<Vec<_>>>()?;
        let types: Vec<Typed> = operands.iter().map(|operand| operand.typed.clone()).collect();
        let Some(row) = overload::select(functions::overloads(name), &types) else {
            return Err(match types.as_slice() {
                [left, right] if shown != name => missing(shown, left, right),
                _ => functions::missing_function(name, &types),
            }
            .into());
        };
        if row.name == functions::SERIES && functions::is_ambiguous(&types) {
            return Err(functions::ambiguous_function(name, &types).into());
        }
        let returns: Typed = row.returns.into();
        let mut declared = Vec::with_capacity(operands.len());
        let mut converted = Vec::with_capacity(operands.len());
        for (index, operand) in operands.into_iter().enumerate() {
            let (expr, typed) = self.argument(operand, row.declared(index), scope)?;
            converted.push(expr);
            declared.push(typed);
        }
        if functions::returns_set(row.name) {
            let carrier = functions::set_carrier(&returns);
            let function = TypedFunction::new(row.name, declared, returns, row.kernel).with_carrier(carrier);
            // A folded list would no longer tell that it stands for a set.
            return Ok(function.with_volatility(Volatility::Volatile).call(converted));
        }
        Ok(TypedFunction::new(row.name, declared, returns, row.kernel).with_volatility(row.volatility).call(converted))
    }

    fn argument(&self, operand: Operand, declared: PgType, scope: &Scope<'_>) -> Result<(Expr, Typed)> {
        let from = operand.typed.clone();
        let generic = matches!(declared.oid, 2276 | 2277 | 2283);
        if generic && declared.oid == overload::ANYARRAY.oid && from.is_unknown() {
            return Err(undetermined().into());
        }
        if generic {
            let typed = if from.is_unknown() { PgType::TEXT.into() } else { from };
            return Ok((self.convert(operand, &typed, Asked::Implicitly, scope)?, typed));
        }
        let typed: Typed = declared.into();
        // Reading a value as its declared type widens numbers and turns dates into timestamps by itself.
        let reads = match (from.pg_type.oid, declared.oid) {
            (1082, 1114) | (1083, 1186) => true,
            // Some numbers have no float; those of the engine's decimals all do.
            (1700, 700 | 701) => matches!(scope.carrier_of(&operand.expr)?, DataType::Decimal128(..)),
            _ => overload::numeric_rank(from.pg_type).is_some(),
        };
        if reads && !from.is_unknown() {
            return Ok((operand.expr, typed));
        }
        Ok((self.convert(operand, &typed, Asked::Implicitly, scope)?, typed))
    }

    fn subquery(&self, subquery: Subquery, scope: &Scope<'_>) -> Result<Subquery> {
        let mut outer: Vec<DFSchema> = vec![scope.schema.clone()];
        outer.extend(scope.outer.iter().cloned());
        let plan = self.plan(Arc::unwrap_or_clone(subquery.subquery), &outer)?;
        let inner = Scope { schema: DFSchema::empty(), outer: &outer };
        let outer_ref_columns =
            subquery.outer_ref_columns.into_iter().map(|column| self.expression(column, &inner)).collect::<Result<Vec<_>>>()?;
        Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: subquery.spans })
    }

    fn in_subquery(&self, membership: InSubquery, scope: &Scope<'_>) -> Result<Expr> {
        let InSubquery { expr, subquery, negated } = membership;
        let (expr, subquery) = self.compared_subquery("=", *expr, self.subquery(subquery, scope)?, scope)?;
        Ok(Expr::InSubquery(InSubquery::new(Box::new(expr), subquery, negated)))
    }

    fn set_comparison(&self, comparison: SetComparison, scope: &Scope<'_>) -> Result<Expr> {
        let SetComparison { expr, subquery, op, quantifier } = comparison;
        let (expr, subquery) = self.compared_subquery(&op.to_string(), *expr, self.subquery(subquery, scope)?, scope)?;
        Ok(Expr::SetComparison(SetComparison::new(Box::new(expr), subquery, op, quantifier)))
    }

    fn compared_subquery(&self, sign: &str, expr: Expr, subquery: Subquery, scope: &Scope<'_>) -> Result<(Expr, Subquery)> {
        let schema = plan_schema(&subquery.subquery)?;
        let Some((qualifier, field)) = schema.iter().next() else { return Ok((expr, subquery)) };
        let column = Expr::Column((qualifier, field).into());
        // An outer column may be called as that of the subquery, which has a name of its own while both are compared.
        let own = Column::new(Some(format!("subquery{HIDDEN}")), "value");
        let named = Arc::new(Field::clone(field).with_name(&own.name));
        let mut merged = scope.schema.clone();
        merged.merge(&DFSchema::new_with_metadata(vec![(own.relation.clone(), named)], HashMap::new())?);
        let both = Scope { schema: merged, outer: scope.outer };
        let left = self.operand(expr, scope)?;
        let right = Operand { expr: Expr::Column(own.clone()), typed: Typed::of_field(field) };
        let (left, right) = self.comparison(sign, left, right, &both)?;
        let is_own = |part: &Expr| part.try_as_col() == Some(&own);
        let right =
            right.transform_up(|part| Ok(if is_own(&part) { Transformed::yes(column.clone()) } else { Transformed::no(part) }))?;
        let right = right.data;
        if right == column {
            return Ok((left, subquery));
        }
        let name = field.name().clone();
        let plan: LogicalPlan =
            LogicalPlanBuilder::from(Arc::unwrap_or_clone(subquery.subquery)).project(vec![right.alias(name)])?.build()?;
        Ok((left, Subquery { subquery: Arc::new(plan), ..subquery }))
    }
}

/// A number as what all numbers are compared by.
fn in_numeric_key(expr: Expr) -> Result<Expr> {
    key::call(expr, &PgType::NUMERIC.into())
}

/// The tightest decimal shape of an operand: literals by their own digits.
fn tight(expr: &Expr, carrier: &DataType) -> Option<(u8, i8)> {
    let value = match expr {
        Expr::Literal(value, _) => Some(value),
        Expr::Cast(cast) => match cast.expr.as_ref() {
            Expr::Literal(value, _) => Some(value),
            _ => None,
        },
        _ => None,
    };
    operators::decimal_shape(carrier, value)
}

/// An operand as a decimal carrier.
fn narrow(expr: Expr, carrier: &DataType) -> Expr {
    match (tight(&expr, carrier), carrier) {
        (Some((precision, scale)), _) if *carrier != DataType::Decimal128(precision, scale) => {
            let field = Typed::from(PgType::NUMERIC).field("", DataType::Decimal128(precision, scale));
            Expr::Cast(Cast::new_from_field(Box::new(expr), field))
        }
        _ => expr,
    }
}

/// Whether one expression is compared with all items.
fn has_one_subject(pairs: &[(Expr, Expr)]) -> bool {
    pairs.windows(2).all(|pair| pair[0].0 == pair[1].0)
}
