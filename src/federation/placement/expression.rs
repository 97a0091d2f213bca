//! Expressions of the optimised plan in the intermediate form.
//!
//! What comes in is what resolution and the optimiser leave (`semantics::resolve`): own functions with decided types, typed keys
//! where values are compared, carriers of `numeric` changed here and there, conditions taken apart and put together. What goes
//! out means what PostgreSQL means by the SQL that the client wrote. A form whose meaning is not certain is refused; a refusal
//! names functions, operators and types, never constants: they may come from a view that the role cannot read.

mod call;

use std::collections::BTreeMap;

use datafusion::common::Column;
use datafusion::logical_expr::expr::{InList, Like};
use datafusion::logical_expr::{Between, BinaryExpr, Case, Cast, Expr, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;

use super::literal;
use super::scope::Scope;
use crate::federation::pushdown::IN_LIST_MAX;
use crate::federation::semantics::typed::TypedFunction;
use crate::federation::semantics::{decode_key, is_string, numeric_rank};
use crate::pgtype::{PgType, TYPE_KEY};
use crate::stores::fragment::{Expression, Function, Node, Refusal, Relation};
use crate::stores::predicate::Comparison;
use crate::stores::value::Value;

/// The most parts of one `AND` or `OR`.
const PARTS_MAX: usize = 2_000;

/// Subqueries that the same store can run, by the address of their plan.
pub(super) type Subqueries = BTreeMap<usize, (PgType, Relation)>;

/// The address under which a subquery is known.
pub(super) fn address(plan: &LogicalPlan) -> usize {
    std::ptr::from_ref(plan) as usize
}

type Answer = Result<Expression, Refusal>;

/// Translates the expressions of one node.
pub(super) struct Translator<'s> {
    /// The columns that they see.
    pub(super) scope: &'s Scope<'s>,
    /// What the subqueries in them are.
    pub(super) subqueries: &'s Subqueries,
}

impl Translator<'_> {
    /// An expression whose value is shown or computed with.
    pub(super) fn expression(&self, expr: &Expr) -> Answer {
        match expr {
            Expr::Alias(alias) => self.expression(&alias.expr),
            Expr::Column(column) => self.column(column, false),
            Expr::Literal(value, _) => self.literal(value, expr),
            Expr::BinaryExpr(binary) => self.binary(expr, binary),
            Expr::Not(inner) => Ok(Expression::condition(Node::Not(Box::new(self.expression(inner)?)))),
            Expr::IsNull(inner) => self.null_test(inner, false),
            Expr::IsNotNull(inner) => self.null_test(inner, true),
            Expr::IsTrue(inner) => self.truth_test(inner, Some(true), false),
            Expr::IsNotTrue(inner) => self.truth_test(inner, Some(true), true),
            Expr::IsFalse(inner) => self.truth_test(inner, Some(false), false),
            Expr::IsNotFalse(inner) => self.truth_test(inner, Some(false), true),
            Expr::IsUnknown(inner) => self.truth_test(inner, None, false),
            Expr::IsNotUnknown(inner) => self.truth_test(inner, None, true),
            Expr::Between(between) => self.between(between),
            Expr::InList(list) => self.in_list(list),
            Expr::Like(like) => self.like(like),
            Expr::Case(case) => self.case(expr, case),
            Expr::Cast(cast) => self.cast(cast),
            Expr::ScalarFunction(call) => self.call(expr, call),
            Expr::HigherOrderFunction(call) => self.lazy_coalesce(expr, call),
            Expr::ScalarSubquery(subquery) => match self.subqueries.get(&address(&subquery.subquery)) {
                Some((pg_type, relation)) => Ok(Expression::new(*pg_type, Node::Subquery(Box::new(relation.clone())))),
                None => Err(Refusal::new("a subquery", "it is not run by this store alone")),
            },
            other => Err(Refusal::new(other.variant_name(), "the engine has no store-neutral form for it")),
        }
    }

    /// An expression that is only compared, grouped, joined or sorted by: the typed keys that the engine needs for that are what
    /// the types themselves mean, and the carrier of a `numeric` does not matter.
    pub(super) fn operand(&self, expr: &Expr) -> Answer {
        match expr {
            Expr::Alias(alias) => self.operand(&alias.expr),
            Expr::Column(column) => self.column(column, true),
            Expr::ScalarFunction(call) if is_key(expr) => match call.args.as_slice() {
                [argument] => self.operand(argument),
                _ => Err(unknown(expr)),
            },
            Expr::Cast(cast) if self.changes_carrier_only(cast) => self.operand(&cast.expr),
            other => self.expression(other),
        }
    }

    /// A condition over all of the relation's columns.
    pub(super) fn condition(&self, expr: &Expr) -> Answer {
        let condition = self.expression(expr)?;
        match condition.pg_type.oid {
            16 => Ok(condition),
            _ => Err(Refusal::new(expr.variant_name(), "it is not a condition")),
        }
    }

    /// `left = right` as a join has it.
    pub(super) fn equality(&self, left: &Expr, right: &Expr) -> Answer {
        let (left, right) = self.pair(left, right)?;
        Ok(compare(Comparison::Equal, left, right))
    }

    fn column(&self, column: &Column, is_compared: bool) -> Answer {
        let Some(slot) = self.scope.slot(column) else {
            return Err(Refusal::new("a column", "it is not one of the store's"));
        };
        if slot.keyed && !is_compared {
            return Err(Refusal::new("a key of a value", "only the engine computes with it"));
        }
        let typed = self.scope.type_of(&Expr::Column(column.clone()));
        if !slot.keyed && typed.is_some_and(|typed| typed.labels.is_some()) {
            return Err(Refusal::new("a column of labels", "labels are compared as texts here, and ordered by their places"));
        }
        Ok(Expression::column(slot.place, slot.pg_type))
    }

    fn literal(&self, value: &ScalarValue, expr: &Expr) -> Answer {
        let pg_type = self.type_of(expr)?;
        match literal::value(value, pg_type) {
            // What nothing decided is text.
            Some(value) if pg_type.oid == PgType::UNKNOWN.oid => Ok(Expression::new(PgType::TEXT, Node::Literal(value))),
            Some(value) => Ok(Expression::new(PgType::with_typmod(pg_type.oid, -1), Node::Literal(value))),
            None => Err(Refusal::new(format!("a constant of type {pg_type}"), "it has no store-neutral form")),
        }
    }

    fn type_of(&self, expr: &Expr) -> Result<PgType, Refusal> {
        self.scope.type_of(expr).map(|typed| typed.pg_type).ok_or_else(|| unknown(expr))
    }

    fn binary(&self, expr: &Expr, binary: &BinaryExpr) -> Answer {
        let op = match binary.op {
            Operator::And | Operator::Or => return self.chain(expr, binary.op),
            Operator::IsDistinctFrom | Operator::IsNotDistinctFrom => {
                let (left, right) = self.pair(&binary.left, &binary.right)?;
                let negated = binary.op == Operator::IsNotDistinctFrom;
                return Ok(Expression::condition(Node::Distinct { left: Box::new(left), right: Box::new(right), negated }));
            }
            Operator::Eq => Comparison::Equal,
            Operator::NotEq => Comparison::NotEqual,
            Operator::Lt => Comparison::Less,
            Operator::LtEq => Comparison::LessOrEqual,
            Operator::Gt => Comparison::Greater,
            Operator::GtEq => Comparison::GreaterOrEqual,
            other => return Err(Refusal::new(format!("operator {other}"), "the engine has no store-neutral form for it")),
        };
        let (left, right) = self.pair(&binary.left, &binary.right)?;
        Ok(compare(op, left, right))
    }

    /// A chain of one operator, which is as deep as it is long and so is not walked by recursion.
    fn chain(&self, expr: &Expr, op: Operator) -> Answer {
        let (mut parts, mut pending) = (Vec::new(), vec![expr]);
        while let Some(next) = pending.pop() {
            match next {
                Expr::BinaryExpr(binary) if binary.op == op => pending.extend([binary.right.as_ref(), binary.left.as_ref()]),
                part => parts.push(self.condition(part)?),
            }
            if parts.len() > PARTS_MAX {
                return Err(Refusal::new(op, "it has too many parts"));
            }
        }
        Ok(Expression::condition(if op == Operator::And { Node::And(parts) } else { Node::Or(parts) }))
    }

    /// Both sides of a comparison, in the type in which PostgreSQL compares them.
    fn pair(&self, left: &Expr, right: &Expr) -> Result<(Expression, Expression), Refusal> {
        let left_side = self.side(left, right)?;
        let right_side = self.side(right, left)?;
        align(left_side, right_side)
    }

    /// One side of a comparison. The key of a constant was computed when the statement was planned: it is the constant again,
    /// of the type of the key it is compared with.
    fn side(&self, side: &Expr, other: &Expr) -> Answer {
        let Some(key) = constant_key(side) else { return self.operand(side) };
        let Some(pg_type) = self.key_type(other) else { return self.operand(side) };
        match decode_key(pg_type, key) {
            Some(text) if pg_type.oid == PgType::NUMERIC.oid => {
                Ok(Expression::new(PgType::NUMERIC, Node::Literal(Some(Value::Numeric(text)))))
            }
            Some(text) => Ok(Expression::new(PgType::with_typmod(pg_type.oid, -1), Node::Literal(Some(Value::Text(text))))),
            None => Err(Refusal::new(format!("a constant of type {pg_type}"), "it has no store-neutral form")),
        }
    }

    /// The type whose key an expression is.
    fn key_type(&self, expr: &Expr) -> Option<PgType> {
        match expr {
            Expr::Alias(alias) => self.key_type(&alias.expr),
            Expr::Column(column) => self.scope.slot(column).filter(|slot| slot.keyed).map(|slot| slot.pg_type),
            other => TypedFunction::called_by(other).filter(|_| is_key(other))?.arguments().first().map(|typed| typed.pg_type),
        }
    }

    fn null_test(&self, inner: &Expr, negated: bool) -> Answer {
        let operand = Box::new(self.operand(inner)?);
        Ok(Expression::condition(Node::IsNull { operand, negated }))
    }

    fn truth_test(&self, inner: &Expr, truth: Option<bool>, negated: bool) -> Answer {
        let operand = Box::new(self.condition(inner)?);
        Ok(Expression::condition(Node::IsTruth { operand, truth, negated }))
    }

    fn between(&self, between: &Between) -> Answer {
        let (subject, low) = self.pair(&between.expr, &between.low)?;
        let (again, high) = self.pair(&between.expr, &between.high)?;
        let ops = if between.negated {
            (Comparison::Less, Comparison::Greater)
        } else {
            (Comparison::GreaterOrEqual, Comparison::LessOrEqual)
        };
        let parts = vec![compare(ops.0, subject, low), compare(ops.1, again, high)];
        Ok(Expression::condition(if between.negated { Node::Or(parts) } else { Node::And(parts) }))
    }

    fn in_list(&self, list: &InList) -> Answer {
        if list.list.is_empty() || list.list.len() > IN_LIST_MAX {
            return Err(Refusal::new("IN", "the list is empty or too long"));
        }
        let mut subject: Option<Expression> = None;
        let mut items = Vec::with_capacity(list.list.len());
        for item in &list.list {
            let (left, right) = self.pair(&list.expr, item)?;
            if subject.as_ref().is_some_and(|known| known.pg_type.oid != left.pg_type.oid) {
                return Err(Refusal::new("IN", "its items are compared in several types"));
            }
            subject.get_or_insert(left);
            items.push(right);
        }
        let subject = subject.ok_or_else(|| Refusal::new("IN", "the list is empty"))?;
        Ok(Expression::condition(Node::In { subject: Box::new(subject), list: items, negated: list.negated }))
    }

    fn like(&self, like: &Like) -> Answer {
        if !matches!(like.escape_char, None | Some('\\')) {
            return Err(Refusal::new("LIKE", "its escape character is not the backslash"));
        }
        let (subject, pattern) = (self.expression(&like.expr)?, self.expression(&like.pattern)?);
        if !is_string(subject.pg_type) || !is_string(pattern.pg_type) {
            return Err(Refusal::new("LIKE", "an operand is not a text"));
        }
        Ok(Expression::condition(Node::Like {
            subject: Box::new(subject),
            pattern: Box::new(pattern),
            negated: like.negated,
            case_insensitive: like.case_insensitive,
        }))
    }

    fn case(&self, expr: &Expr, case: &Case) -> Answer {
        let pg_type = self.type_of(expr)?;
        // A CASE whose parts may fail is written with `true` as its subject (`semantics::resolve::guard`).
        let is_searched = matches!(case.expr.as_deref(), None | Some(Expr::Literal(ScalarValue::Boolean(Some(true)), _)));
        let mut branches = Vec::with_capacity(case.when_then_expr.len());
        for (when, then) in &case.when_then_expr {
            let condition = match &case.expr {
                Some(subject) if !is_searched => self.equality(subject, when)?,
                _ => self.condition(when)?,
            };
            branches.push((condition, given(self.expression(then)?, pg_type)?));
        }
        let otherwise = case.else_expr.as_ref().map(|otherwise| given(self.expression(otherwise)?, pg_type)).transpose()?;
        if let Some(arguments) = as_coalesce(&branches, otherwise.as_ref()) {
            return Ok(Expression::new(pg_type, Node::Call { function: Function::Coalesce, arguments }));
        }
        Ok(Expression::new(pg_type, Node::Case { branches, otherwise: otherwise.map(Box::new) }))
    }

    /// Whether a cast between carriers of `numeric` keeps every value, if not the digits it is shown with.
    fn changes_carrier_only(&self, cast: &Cast) -> bool {
        use arrow::datatypes::DataType::Decimal128;
        let from = self.scope.carrier_of(&cast.expr);
        let (Some(Decimal128(low, low_scale)), Decimal128(high, high_scale)) = (from, cast.field.data_type()) else { return false };
        let whole = |precision: u8, scale: i8| i16::from(precision) - i16::from(scale);
        *high_scale >= low_scale && whole(*high, *high_scale) >= whole(low, low_scale)
    }

    fn cast(&self, cast: &Cast) -> Answer {
        let inner = self.expression(&cast.expr)?;
        let from = inner.pg_type;
        if !cast.field.metadata().contains_key(TYPE_KEY) {
            return self.engine_cast(cast, inner);
        }
        let to = self.type_of(&Expr::Cast(cast.clone()))?;
        if from.oid == to.oid && (to.typmod == -1 || to.typmod == from.typmod) {
            if to.oid == PgType::NUMERIC.oid && !self.keeps_digits(cast) {
                return Err(Refusal::new("a change of digits", "only the engine's carriers know it"));
            }
            return Ok(inner);
        }
        call::settled(inner, to, true)
    }

    /// Whether a numeric is shown with the same digits in another carrier.
    fn keeps_digits(&self, cast: &Cast) -> bool {
        use arrow::datatypes::DataType::{Decimal128, Int16, Int32, Int64, Utf8};
        match (self.scope.carrier_of(&cast.expr), cast.field.data_type()) {
            (Some(Decimal128(_, low)), Decimal128(_, high)) => low == *high && self.changes_carrier_only(cast),
            (Some(Int16 | Int32 | Int64), Decimal128(_, 0)) => true,
            (Some(Utf8), Utf8) => true,
            _ => false,
        }
    }

    /// What the engine's own coercion adds: integers to wider ones and to decimals, in comparisons.
    fn engine_cast(&self, cast: &Cast, inner: Expression) -> Answer {
        let to = PgType::with_typmod(PgType::from_arrow(cast.field.data_type()).oid, -1);
        match (numeric_rank(inner.pg_type), numeric_rank(to)) {
            (Some(low @ 0..=2), Some(high @ 0..=3)) if low <= high => convert(inner, to),
            (Some(3), Some(3)) if self.keeps_digits(cast) => Ok(inner),
            _ if inner.pg_type.oid == to.oid && to.oid != PgType::NUMERIC.oid => Ok(inner),
            _ => Err(Refusal::new(format!("a cast from {} to {to}", inner.pg_type), "the engine adds it for its own carriers")),
        }
    }
}

/// Whether an expression is the key by which the engine compares its argument.
pub(super) fn is_key(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_key(&alias.expr),
        Expr::ScalarFunction(call) => {
            TypedFunction::called_by(expr).is_some() && matches!(call.func.name(), "float_key" | "typed_key")
        }
        _ => false,
    }
}

fn constant_key(expr: &Expr) -> Option<&[u8]> {
    match expr {
        Expr::Alias(alias) => constant_key(&alias.expr),
        Expr::Literal(ScalarValue::Binary(Some(key)), _) => Some(key),
        _ => None,
    }
}

fn unknown(expr: &Expr) -> Refusal {
    Refusal::new(expr.variant_name(), "its type is not known")
}

fn compare(op: Comparison, left: Expression, right: Expression) -> Expression {
    Expression::condition(Node::Compare { op, left: Box::new(left), right: Box::new(right) })
}

/// Brings both sides of a comparison to one type.
fn align(left: Expression, right: Expression) -> Result<(Expression, Expression), Refusal> {
    let (low, high) = (left.pg_type, right.pg_type);
    if low.oid == high.oid {
        return Ok((left, right));
    }
    if matches!(left.node, Node::Literal(None)) {
        return Ok((Expression::new(PgType::with_typmod(high.oid, -1), left.node), right));
    }
    if matches!(right.node, Node::Literal(None)) {
        return Ok((left, Expression::new(PgType::with_typmod(low.oid, -1), right.node)));
    }
    if is_string(low) && is_string(high) && low.oid != PgType::BPCHAR.oid && high.oid != PgType::BPCHAR.oid {
        return Ok((left, right));
    }
    match (numeric_rank(low), numeric_rank(high)) {
        (Some(4), Some(5)) => Ok((convert(left, PgType::FLOAT8)?, right)),
        (Some(5), Some(4)) => Ok((left, convert(right, PgType::FLOAT8)?)),
        (Some(one @ 0..=3), Some(other @ 0..=3)) if one < other => Ok((convert(left, PgType::with_typmod(high.oid, -1))?, right)),
        (Some(0..=3), Some(0..=3)) => Ok((left, convert(right, PgType::with_typmod(low.oid, -1))?)),
        _ => Err(Refusal::new(format!("a comparison of {low} with {high}"), "their common type is not certain")),
    }
}

/// The value of a branch, whose type is that of the whole.
fn given(value: Expression, pg_type: PgType) -> Answer {
    if value.pg_type.oid == pg_type.oid {
        return Ok(value);
    }
    match value.node {
        Node::Literal(None) => Ok(Expression::new(PgType::with_typmod(pg_type.oid, -1), Node::Literal(None))),
        _ if is_string(value.pg_type) && is_string(pg_type) && value.pg_type.oid != PgType::BPCHAR.oid => convert(value, pg_type),
        _ => Err(Refusal::new(format!("a branch of type {}", value.pg_type), "the whole is of another type")),
    }
}

/// A conversion that loses nothing; constants are of the wider type at once, so that a store's index may serve them.
fn convert(inner: Expression, to: PgType) -> Answer {
    let node = match (inner.node, to.oid) {
        (Node::Literal(None), _) => Node::Literal(None),
        (Node::Literal(Some(Value::Int(number))), 20 | 21 | 23) => Node::Literal(Some(Value::Int(number))),
        (Node::Literal(Some(Value::Int(number))), 1700) => {
            Node::Literal(Some(Value::Decimal { unscaled: i128::from(number), scale: 0 }))
        }
        (node, _) => Node::Cast(Box::new(Expression::new(inner.pg_type, node))),
    };
    Ok(Expression::new(to, node))
}

/// `CASE WHEN a IS NOT NULL THEN a … ELSE z END`, which the engine makes of COALESCE, as COALESCE.
fn as_coalesce(branches: &[(Expression, Expression)], otherwise: Option<&Expression>) -> Option<Vec<Expression>> {
    let part = |(condition, value): &(Expression, Expression)| match &condition.node {
        Node::IsNull { operand, negated: true } if operand.as_ref() == value => Some(value.clone()),
        _ => None,
    };
    let mut parts: Vec<Expression> = branches.iter().map(part).collect::<Option<_>>()?;
    parts.push(otherwise?.clone());
    Some(parts)
}

#[cfg(test)]
mod tests;
