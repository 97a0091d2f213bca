//! What gives one of its parts: CASE, COALESCE and its like, NULLIF.
//!
//! **Invariant:** a part that is large, or that gives another value each time, is never copied (`lazy::is_copied`): copies
//! would double with every level of nesting, and PostgreSQL computes such a part once.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::expr::{Case, ScalarFunction};
use datafusion::logical_expr::{Expr, ScalarUDF};
use datafusion::scalar::ScalarValue;

use crate::error::Diagnosis;
use crate::pgtype::PgType;

use super::super::datum::Datum;
use super::super::typed::{Call, Kernel, Typed, TypedFunction};
use super::super::{floats, functions, key, overload};
use super::convert::{Asked, Operand, read_beside};
use super::{Resolver, Scope, guard, lazy};

impl Resolver<'_> {
    pub(super) fn case(&self, case: Case, scope: &Scope<'_>) -> Result<Expr> {
        let Case { expr: subject, when_then_expr, else_expr } = case;
        let subject = subject.filter(|subject| !guard::is_searched(subject));
        let (mut conditions, mut results) = (Vec::new(), Vec::new());
        for (when, then) in when_then_expr {
            conditions.push(*when);
            results.push(self.operand(*then, scope)?);
        }
        let (subject, whens) = match subject {
            Some(subject) => self.simple_case(*subject, conditions, scope)?,
            None => {
                let whens = conditions.into_iter().map(|when| self.boolean(when, "CASE/WHEN", scope));
                (None, whens.collect::<Result<Vec<_>>>()?)
            }
        };
        // The default stands first when the common type is chosen.
        let has_else = else_expr.is_some();
        if let Some(otherwise) = else_expr {
            results.insert(0, self.operand(*otherwise, scope)?);
        }
        let (mut results, typed) = self.unify(results, "CASE", scope)?;
        let otherwise = has_else.then(|| Box::new(results.remove(0)));
        let branches = whens.into_iter().zip(results).map(|(when, then)| (Box::new(when), Box::new(then))).collect();
        Ok(match subject {
            Some(subject) => Expr::Case(Case::new(Some(Box::new(subject)), branches, otherwise)),
            None => guard::case(branches, otherwise, typed.pg_type.oid == PgType::BOOL.oid),
        })
    }

    /// `CASE subject WHEN …`: conditions over a subject that may be copied; else a subject that is computed once, and what
    /// the engine compares with it.
    fn simple_case(&self, subject: Expr, whens: Vec<Expr>, scope: &Scope<'_>) -> Result<(Option<Expr>, Vec<Expr>)> {
        let subject = self.operand(subject, scope)?;
        let whens = whens.into_iter().map(|when| self.operand(when, scope)).collect::<Result<Vec<_>>>()?;
        let compare = |subject: &Operand, whens: &[Operand]| {
            let pairs = whens.iter().map(|when| self.comparison("=", subject.clone(), when.clone(), scope));
            pairs.collect::<Result<Vec<_>>>()
        };
        let mut pairs = compare(&subject, &whens)?;
        if lazy::is_copied(&subject.expr) {
            return Ok((None, pairs.into_iter().map(|(left, right)| left.eq(right)).collect()));
        }
        if pairs.windows(2).any(|pair| pair[0].0 != pair[1].0) {
            // One subject for all needs one type for all.
            let mut operands = vec![subject];
            operands.extend(whens);
            let (exprs, typed) = self.unify(operands, "CASE", scope)?;
            let mut operands = exprs.into_iter().map(|expr| Operand { expr, typed: typed.clone() });
            let Some(subject) = operands.next() else { return Ok((None, Vec::new())) };
            pairs = compare(&subject, &operands.collect::<Vec<_>>())?;
        }
        let (mut subjects, whens): (Vec<Expr>, Vec<Expr>) = pairs.into_iter().unzip();
        Ok((subjects.pop(), whens))
    }

    /// A function that gives one of its arguments, or an array of them, in their common type.
    pub(super) fn choice(&self, function: Arc<ScalarUDF>, arguments: Vec<Expr>, scope: &Scope<'_>) -> Result<Expr> {
        let name = function.name().to_owned();
        let what = if name == "make_array" { "ARRAY".to_owned() } else { name.to_uppercase() };
        let operands = arguments.into_iter().map(|argument| self.operand(argument, scope)).collect::<Result<Vec<_>>>()?;
        let (arguments, typed) = self.unify(operands, &what, scope)?;
        if let (true, Some(first)) = (matches!(name.as_str(), "greatest" | "least"), arguments.first())
            && key::is_needed(&typed, &scope.carrier_of(first)?)
        {
            return functions::extreme(&name, arguments, &typed);
        }
        if let ("coalesce" | "nvl", Some((last, parts))) = (name.as_str(), arguments.split_last())
            && !parts.iter().all(lazy::is_copied)
        {
            let carrier = scope.carrier_of(last)?;
            return Ok(lazy::coalesce(arguments, &typed, carrier));
        }
        if matches!(name.as_str(), "coalesce" | "nvl")
            && typed.pg_type.oid == PgType::BOOL.oid
            && let Some(guarded) = guard::coalesce(arguments.clone())
        {
            return Ok(guarded);
        }
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, arguments)))
    }

    pub(super) fn null_if(&self, call: ScalarFunction, scope: &Scope<'_>) -> Result<Expr> {
        let [left, right]: [Expr; 2] = match call.args.try_into() {
            Ok(pair) => pair,
            Err(arguments) => return Ok(Expr::ScalarFunction(ScalarFunction::new_udf(call.func, arguments))),
        };
        let (left, right) = (self.operand(left, scope)?, self.operand(right, scope)?);
        if !lazy::is_copied(&left.expr) {
            return self.null_if_once(left, right, scope);
        }
        let typed = as_compared(&left.typed, &right.typed);
        let (low, high) = self.comparison("=", left.clone(), right, scope)?;
        let kept = self.kept(left, &typed, scope)?;
        // NULL stands first so that the result has the first argument's type in every carrier, and has a type itself: the engine's
        // own coercion would make it one of the carrier's.
        let carrier = scope.carrier_of(&kept)?;
        let null = ScalarValue::try_from(&carrier)?;
        let null = Expr::Literal(null, Some(typed.field("", carrier).metadata().clone().into()));
        Ok(Expr::Case(Case::new(
            None,
            vec![(Box::new(Expr::IsTrue(Box::new(low.eq(high)))), Box::new(null))],
            Some(Box::new(kept)),
        )))
    }

    /// NULLIF whose first argument is computed once: it is compared where it is given.
    fn null_if_once(&self, left: Operand, right: Operand, scope: &Scope<'_>) -> Result<Expr> {
        self.comparison("=", left.clone(), right.clone(), scope)?;
        let returns = as_compared(&left.typed, &right.typed);
        let beside = if left.typed.is_unknown() { returns.clone() } else { left.typed.without_modifier() };
        let is_as_it_was = left.typed.pg_type.oid == returns.pg_type.oid || is_read_as_text(&left.typed, &returns);
        let typed = if is_as_it_was { left.typed.clone() } else { returns.clone() };
        let left = Operand { expr: self.kept(left, &returns, scope)?, typed };
        let mut right = if right.typed.is_unknown() {
            Operand { expr: self.convert(right, &beside, Asked::Implicitly, scope)?, typed: beside }
        } else {
            right
        };
        let are_numbers = [&left, &right].iter().all(|operand| overload::numeric_rank(operand.typed.pg_type).is_some());
        if !are_numbers && left.typed.pg_type.oid != right.typed.pg_type.oid {
            let typed = left.typed.without_modifier();
            right = Operand { expr: self.convert(right, &typed, Asked::Implicitly, scope)?, typed };
        }
        let carrier = scope.carrier_of(&left.expr)?;
        let function = TypedFunction::new("null_if", vec![left.typed, right.typed], returns, Kernel::Lenient(null_if));
        Ok(function.with_carrier(carrier).call(vec![left.expr, right.expr]))
    }

    /// The first argument of NULLIF as what is given where it is not NULL.
    fn kept(&self, left: Operand, typed: &Typed, scope: &Scope<'_>) -> Result<Expr> {
        if is_read_as_text(&left.typed, typed) { Ok(left.expr) } else { self.convert(left, typed, Asked::Implicitly, scope) }
    }
}

/// NULLIF gives its first argument as `=` has compared it: `character varying` has no such operator of its own, and `character(n)`
/// none with `text`; of numbers, whole ones have one with each other, and `real` and `double precision`.
fn as_compared(left: &Typed, right: &Typed) -> Typed {
    let (low, high) = (left.pg_type.oid, right.pg_type.oid);
    if left.is_unknown() {
        return if right.is_unknown() || high == PgType::VARCHAR.oid { PgType::TEXT.into() } else { read_beside(right) };
    }
    match (low, high) {
        (20 | 21 | 23, 1700) => PgType::NUMERIC.into(),
        (20 | 21 | 23 | 1700, 700 | 701) => PgType::FLOAT8.into(),
        (1043, 1042) => PgType::BPCHAR.into(),
        (1043, _) | (1042, 18 | 19 | 25) | (18, 19 | 25 | 1042 | 1043) => PgType::TEXT.into(),
        _ => left.clone(),
    }
}

/// Whether a value of the one type is one of the other as it is.
fn is_read_as_text(from: &Typed, to: &Typed) -> bool {
    from.pg_type.oid == PgType::VARCHAR.oid && to.pg_type.oid == PgType::TEXT.oid
}

/// Numbers of every type compare with each other; other operands have one type.
fn null_if<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Result<Datum<'a>, Diagnosis> {
    let is_equal = match (&a[0], &a[1]) {
        (Datum::Null, _) | (_, Datum::Null) => false,
        (Datum::Float(left), right) => floats::compare(*left, right.as_float()).is_eq(),
        (left, Datum::Float(right)) => floats::compare(left.as_float(), *right).is_eq(),
        (left @ (Datum::Numeric(_) | Datum::Int(_)), right @ (Datum::Numeric(_) | Datum::Int(_))) => {
            left.as_numeric().compare(&right.as_numeric()).is_eq()
        }
        (left, right) => {
            let (mut low, mut high) = (Vec::new(), Vec::new());
            let typed = call.returns.without_modifier();
            key::encode(&typed, left, &mut low)?;
            key::encode(&typed, right, &mut high)?;
            low == high
        }
    };
    Ok(if is_equal { Datum::Null } else { a[0].clone() })
}
