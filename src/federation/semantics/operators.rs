//! Arithmetic and other value operators: which type an operator gives for two operand types, and how it is computed.
//!
//! The SQL planner meets an operator before types are known, so [`DeferOperators`] turns each into a call that `resolve`
//! decides later. Comparisons stay the engine's own, over operands that `resolve` made comparable (`keys`).

mod arithmetic;
mod temporal;

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator as EngineOperator, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::functions::Named;
use super::overload::{category, is_string, numeric_rank};
use super::typed::{Kernel, Typed};

/// An operator that gives a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Concat,
    /// Anything the function tables hold under the operator's own name.
    Other(&'static str),
}

/// Registered name, SQL sign, meaning.
const OPERATORS: &[(&str, &str, Operator)] = &[
    ("operator +", "+", Operator::Add),
    ("operator -", "-", Operator::Subtract),
    ("operator *", "*", Operator::Multiply),
    ("operator /", "/", Operator::Divide),
    ("operator %", "%", Operator::Modulo),
    ("operator ^", "^", Operator::Power),
    ("operator ||", "||", Operator::Concat),
    ("operator ->", "->", Operator::Other("operator ->")),
    ("operator ->>", "->>", Operator::Other("operator ->>")),
    ("operator #>", "#>", Operator::Other("operator #>")),
    ("operator #>>", "#>>", Operator::Other("operator #>>")),
    ("operator #-", "#-", Operator::Other("operator #-")),
    ("operator @>", "@>", Operator::Other("operator @>")),
    ("operator <@", "<@", Operator::Other("operator <@")),
    ("operator &&", "&&", Operator::Other("operator &&")),
    ("operator ?", "?", Operator::Other("operator ?")),
    ("operator ?|", "?|", Operator::Other("operator ?|")),
    ("operator ?&", "?&", Operator::Other("operator ?&")),
    ("operator &", "&", Operator::Other("operator &")),
    ("operator |", "|", Operator::Other("operator |")),
    ("operator #", "#", Operator::Other("operator #")),
    ("operator <<", "<<", Operator::Other("operator <<")),
    ("operator >>", ">>", Operator::Other("operator >>")),
];

/// Comparisons the engine cannot plan by itself: registered name, SQL sign, the engine's operator.
const COMPARISONS: &[(&str, &str, EngineOperator)] = &[
    ("operator =", "=", EngineOperator::Eq),
    ("operator <>", "<>", EngineOperator::NotEq),
    ("operator <", "<", EngineOperator::Lt),
    ("operator <=", "<=", EngineOperator::LtEq),
    ("operator >", ">", EngineOperator::Gt),
    ("operator >=", ">=", EngineOperator::GtEq),
    ("operator distinct", "IS DISTINCT FROM", EngineOperator::IsDistinctFrom),
    ("operator not distinct", "IS NOT DISTINCT FROM", EngineOperator::IsNotDistinctFrom),
];

/// The comparison a registered function name stands for.
pub(super) fn comparison_of_name(name: &str) -> Option<EngineOperator> {
    COMPARISONS.iter().find(|(registered, _, _)| *registered == name).map(|(_, _, operator)| *operator)
}

impl Operator {
    /// The operator a registered function name stands for.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        OPERATORS.iter().find(|(registered, _, _)| *registered == name).map(|(_, _, operator)| *operator)
    }

    /// The operator's sign, for messages.
    pub(super) fn sign(self) -> &'static str {
        OPERATORS.iter().find(|(_, _, operator)| *operator == self).map_or("?", |(_, sign, _)| sign)
    }
}

/// The registered names of all operators: of comparisons those that are written as calls.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let distinct = COMPARISONS.iter().map(|(name, _, _)| *name).filter(|name| name.ends_with("distinct"));
    OPERATORS.iter().map(|(name, _, _)| *name).chain(distinct)
}

/// How a decided operator is computed.
pub(super) struct Decision {
    /// What each operand must be converted to first; `None` leaves it as it is.
    pub(super) operands: [Option<PgType>; 2],
    pub(super) returns: Typed,
    pub(super) how: How,
}

/// See [`Decision`].
pub(super) enum How {
    /// By a kernel under this name.
    Kernel(&'static str, Kernel),
    /// By decimal arithmetic chosen from the operands' carriers.
    Numeric(&'static str, Operator),
}

/// 42883 as PostgreSQL words it for operators.
pub(super) fn missing(sign: &str, left: &Typed, right: &Typed) -> Diagnosis {
    Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, format!("operator does not exist: {} {sign} {}", plain(left), plain(right)))
        .with_hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}

/// A type as error messages name it.
pub(super) fn plain(typed: &Typed) -> String {
    match typed.pg_type.oid {
        705 => "unknown".to_owned(),
        _ => typed.without_modifier().pg_type.to_string(),
    }
}

/// The result type as far as it is known at planning time.
pub(super) fn guess(operator: Operator, left: &Typed, right: &Typed) -> Typed {
    match operator {
        Operator::Other(name) => {
            let arguments = [left.clone(), right.clone()];
            let rows = super::functions::overloads(name);
            // What stands in WHERE must look like a condition, or its own error would never be told.
            let is_condition = || is_range(left) || is_range(right) || rows.iter().all(|row| row.returns.oid == PgType::BOOL.oid);
            let otherwise = || if is_condition() { PgType::BOOL } else { PgType::TEXT };
            super::overload::select(rows, &arguments).map_or_else(otherwise, |row| row.returns).into()
        }
        Operator::Concat if left.pg_type.element().is_some() => left.without_modifier(),
        Operator::Concat if right.pg_type.element().is_some() => right.without_modifier(),
        _ => decide(operator, left, right).map_or(PgType::TEXT.into(), |decision| decision.returns),
    }
}

/// Ranges have no operators here, and most that PostgreSQL has for them are conditions.
fn is_range(typed: &Typed) -> bool {
    matches!(typed.pg_type.oid, 3904 | 3906 | 3908 | 3910 | 3912 | 3926)
}

/// Decides a built-in operator over two operand types; `None` when PostgreSQL has no such operator.
pub(super) fn decide(operator: Operator, left: &Typed, right: &Typed) -> Option<Decision> {
    if operator == Operator::Concat {
        return concat(left, right);
    }
    let (left, right) = assume_unknown(operator, left, right);
    match (numeric_rank(left.pg_type), numeric_rank(right.pg_type)) {
        (Some(low), Some(high)) => arithmetic::decide(operator, (left.pg_type, low), (right.pg_type, high)),
        _ => temporal::decide(operator, left.pg_type, right.pg_type),
    }
}

/// An unknown operand has the other operand's type, except where only an interval makes sense.
fn assume_unknown(operator: Operator, left: &Typed, right: &Typed) -> (Typed, Typed) {
    let partner = |known: &Typed| -> Typed {
        match (known.pg_type.oid, operator) {
            (1082 | 1114 | 1184, Operator::Add) => PgType::INTERVAL.into(),
            (1186, Operator::Multiply | Operator::Divide) => PgType::FLOAT8.into(),
            _ => known.without_modifier(),
        }
    };
    match (left.is_unknown(), right.is_unknown()) {
        (true, true) => (left.clone(), right.clone()),
        (true, false) => (partner(right), right.clone()),
        (false, true) => (left.clone(), partner(left)),
        (false, false) => (left.clone(), right.clone()),
    }
}

fn concat(left: &Typed, right: &Typed) -> Option<Decision> {
    let arrays = (left.pg_type.element(), right.pg_type.element());
    if arrays.0.is_some() || arrays.1.is_some() {
        return None;
    }
    let returns = |pg_type: PgType| Typed::from(pg_type);
    let of = |operands, pg_type, kernel| {
        Some(Decision { operands, returns: returns(pg_type), how: How::Kernel("concat_operator", Kernel::Strict(kernel)) })
    };
    match (left.pg_type.oid, right.pg_type.oid) {
        (17, 17 | 705) | (705, 17) => of([Some(PgType::BYTEA); 2], PgType::BYTEA, super::functions::concat_bytes),
        (3802, 3802 | 705) | (705, 3802) => of([Some(PgType::JSONB); 2], PgType::JSONB, super::functions::concat_jsonb),
        (1560 | 1562, 1560 | 1562) => of([None, None], PgType::VARBIT, super::functions::concat_texts),
        _ if is_string(left.pg_type) || is_string(right.pg_type) || left.is_unknown() || right.is_unknown() => {
            of([Some(PgType::TEXT), Some(PgType::TEXT)], PgType::TEXT, super::functions::concat_texts)
        }
        _ => None,
    }
}

/// Turns value operators into calls that are decided when types are known.
#[derive(Debug)]
pub(super) struct DeferOperators;

impl ExprPlanner for DeferOperators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if let Some((name, _, op)) = COMPARISONS.iter().find(|(_, sign, _)| *sign == expr.op.to_string()) {
            // What the engine can compare stays its own; the rest waits for `resolve`, which converts or refuses it.
            let coerced = BinaryTypeCoercer::new(&expr.left.get_type(schema)?, op, &expr.right.get_type(schema)?).get_result_type();
            return Ok(match coerced {
                Ok(_) => PlannerResult::Original(expr),
                Err(_) => PlannerResult::Planned(deferred(name, vec![expr.left, expr.right])),
            });
        }
        let Some(sign) = sign_of(&expr.op) else { return Ok(PlannerResult::Original(expr)) };
        let Some((name, _, _)) = OPERATORS.iter().find(|(_, known, _)| *known == sign) else {
            return Ok(PlannerResult::Original(expr));
        };
        Ok(PlannerResult::Planned(deferred(name, vec![expr.left, expr.right])))
    }

    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(deferred("extract", args)))
    }

    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(deferred("substring", args)))
    }

    fn plan_overlay(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(deferred("overlay", args)))
    }

    fn plan_position(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(deferred("strpos", args)))
    }
}

/// A call of a name whose types are decided later.
pub(super) fn deferred(name: &'static str, arguments: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(Named::new(name))), arguments))
}

fn sign_of(operator: &BinaryOperator) -> Option<&'static str> {
    Some(match operator {
        BinaryOperator::Plus => "+",
        BinaryOperator::Minus => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::Divide => "/",
        BinaryOperator::Modulo => "%",
        BinaryOperator::PGExp => "^",
        BinaryOperator::StringConcat => "||",
        BinaryOperator::Arrow => "->",
        BinaryOperator::LongArrow => "->>",
        BinaryOperator::HashArrow => "#>",
        BinaryOperator::HashLongArrow => "#>>",
        BinaryOperator::HashMinus => "#-",
        BinaryOperator::AtArrow => "@>",
        BinaryOperator::ArrowAt => "<@",
        BinaryOperator::PGOverlap => "&&",
        BinaryOperator::Question => "?",
        BinaryOperator::QuestionPipe => "?|",
        BinaryOperator::QuestionAnd => "?&",
        BinaryOperator::BitwiseAnd => "&",
        BinaryOperator::BitwiseOr => "|",
        BinaryOperator::PGBitwiseXor => "#",
        BinaryOperator::PGBitwiseShiftLeft => "<<",
        BinaryOperator::PGBitwiseShiftRight => ">>",
        _ => return None,
    })
}

/// Whether two types have a comparison at all (`=` and the order), after unknown operands were decided.
pub(super) fn comparable(left: &Typed, right: &Typed) -> bool {
    let (low, high) = (left.pg_type, right.pg_type);
    low.oid == high.oid
        || (numeric_rank(low).is_some() && numeric_rank(high).is_some())
        || (is_string(low) && is_string(high))
        || (matches!(low.oid, 1082 | 1114 | 1184) && matches!(high.oid, 1082 | 1114 | 1184))
        || (category(low) == category(high) && matches!(category(low), 'I' | 'V'))
        || (matches!((low.oid, high.oid), (1083, 1266) | (1266, 1083) | (1083, 1186) | (1186, 1083)))
        || (is_oid_like(low) && is_oid_like(high))
        || match (low.element(), high.element()) {
            (Some(low), Some(high)) => comparable(&low.into(), &high.into()),
            _ => false,
        }
}

fn is_oid_like(pg_type: PgType) -> bool {
    matches!(pg_type.oid, 20 | 21 | 23 | 24 | 26 | 2205 | 2206 | 4089 | 4096)
}

/// The value operator an engine operator stands for, with its registered name.
pub(super) fn arithmetic_parts(operator: datafusion::logical_expr::Operator) -> Option<(&'static str, Operator)> {
    use datafusion::logical_expr::Operator as Engine;
    let sign = match operator {
        Engine::Plus => "+",
        Engine::Minus => "-",
        Engine::Multiply => "*",
        Engine::Divide => "/",
        Engine::Modulo => "%",
        Engine::StringConcat => "||",
        _ => return None,
    };
    OPERATORS.iter().find(|(_, known, _)| *known == sign).map(|(name, _, operator)| (*name, *operator))
}

pub(in super::super) use arithmetic::quotient;
pub(super) use arithmetic::{decimal_kernel, decimal_result, decimal_shape, negate_kernel, numeric_kernel};
pub(super) use temporal::divide_interval;
