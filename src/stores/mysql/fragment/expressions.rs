//! Which expressions the server computes: a table of types and functions.

use super::super::super::fragment::{DateField, Expression, Function, Node, Refusal, Shape, Tables};
use super::super::super::predicate::Comparison;
use super::super::super::relational::like;
use super::super::super::schema::Collation;
use super::super::super::value::Value;
use super::super::{decode, pushdown};
use super::kind::{Kind, is_label, stored};
use super::relations::{self, DIGITS_MAX, SCALE_MAX, range_holds};
use super::size::{Size, size, whole_literal};

/// More list elements than this are not sent.
const LIST_MAX: usize = 10_000;
/// The longest text that functions make; longer than a packet it would be NULL.
const TEXT_MAX: u64 = 1 << 20;
/// The digits that surely fit a `bigint`.
const BIGINT_DIGITS: u16 = 18;

/// What expressions are over.
pub(super) struct Scope<'a> {
    /// What is known of the columns.
    pub(super) shapes: &'a [Shape],
    /// How large their values can be.
    pub(super) sizes: &'a [Size],
    /// The tables of the fragment.
    pub(super) tables: &'a Tables,
}

/// What is said of an expression: nothing, or the rule that refuses it.
type Verdict = Result<(), &'static str>;

/// Whether the server has the value.
pub(super) fn is_storable(value: &Value) -> bool {
    match value {
        Value::Bool(_) | Value::Int(_) | Value::Text(_) | Value::Bytes(_) => true,
        Value::Float(number) => number.is_finite(),
        Value::Decimal { scale, .. } => u16::from(*scale) <= SCALE_MAX,
        Value::Numeric(digits) => pushdown::fits_decimal(digits),
        Value::Date(days) => pushdown::is_storable_day(*days),
        Value::Timestamp(micros) | Value::TimestampTz(micros) => pushdown::is_storable(*micros),
        Value::Time(_) => false,
    }
}

impl Scope<'_> {
    /// How large a value can be.
    pub(super) fn size(&self, expression: &Expression) -> Size {
        size(expression, self.sizes, self.tables)
    }

    fn shape(&self, expression: &Expression) -> Shape {
        expression.shape(self.shapes, self.tables)
    }

    /// A boolean that decides about rows.
    ///
    /// # Errors
    /// What the server does not compute.
    pub(super) fn condition(&self, expression: &Expression) -> Result<(), Refusal> {
        if Kind::of(expression.pg_type) != Kind::Truth {
            return Err(Refusal::new(expression, "it is no truth value"));
        }
        self.value(expression)
    }

    /// Whether the server orders the values as PostgreSQL does.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn in_order(&self, expression: &Expression) -> Result<(), Refusal> {
        let rule = match Kind::of(expression.pg_type) {
            Kind::Text if is_label(&self.shape(expression), self.tables) => "labels of enums are ordered by themselves",
            Kind::Uuid => "the store orders uuid by its parts",
            Kind::Other => "the store orders the type by its own rules",
            Kind::Truth
            | Kind::Whole
            | Kind::Decimal
            | Kind::Real
            | Kind::Double
            | Kind::Text
            | Kind::Bytes
            | Kind::Day
            | Kind::Moment
            | Kind::MomentTz => return Ok(()),
        };
        Err(Refusal::new(expression, rule))
    }

    /// Whether the server computes the expression and everything below it.
    ///
    /// # Errors
    /// The innermost expression that it does not compute, and why.
    pub(super) fn value(&self, expression: &Expression) -> Result<(), Refusal> {
        expression.operands().into_iter().try_for_each(|operand| self.value(operand))?;
        if let Node::Subquery(relation) = &expression.node {
            let mut verdict = Ok(());
            relation.visit(&mut |node| {
                if verdict.is_ok() {
                    verdict = relations::accepts(node, self.tables);
                }
            });
            return verdict;
        }
        self.node(expression).map_err(|rule| Refusal::new(expression, rule))
    }

    fn node(&self, expression: &Expression) -> Verdict {
        match &expression.node {
            Node::Column(_)
            | Node::Literal(None)
            | Node::And(_)
            | Node::Or(_)
            | Node::Not(_)
            | Node::IsNull { .. }
            | Node::IsTruth { .. }
            | Node::Subquery(_) => Ok(()),
            Node::Literal(Some(value)) if Kind::of(expression.pg_type) == Kind::Other || !is_storable(value) => {
                Err("the store has no such value")
            }
            Node::Literal(Some(_)) => Ok(()),
            Node::Compare { op, left, right } => self.compared(*op, left, right),
            Node::Distinct { left, right, .. } => self.compared(Comparison::NotEqual, left, right),
            Node::In { list, .. } if list.len() > LIST_MAX => Err("the list is too long"),
            Node::In { subject, list, .. } => list.iter().try_for_each(|item| self.compared(Comparison::Equal, subject, item)),
            Node::Like { subject, pattern, case_insensitive, .. } => self.like(subject, pattern, *case_insensitive),
            Node::Case { branches, otherwise } => {
                let values: Vec<&Expression> = branches.iter().map(|(_, value)| value).chain(otherwise.as_deref()).collect();
                self.alike(&values, self.size(expression))
            }
            Node::Field { .. } => Err("documents are read by the engine"),
            Node::Cast(operand) => self.cast(operand, expression),
            Node::Call { function, arguments } => self.call(*function, arguments, expression),
        }
    }

    fn compared(&self, op: Comparison, left: &Expression, right: &Expression) -> Verdict {
        let kind = Kind::of(left.pg_type);
        if kind != Kind::of(right.pg_type) {
            return Err("the types differ");
        }
        let is_equality = matches!(op, Comparison::Equal | Comparison::NotEqual);
        let shapes = [self.shape(left), self.shape(right)];
        match kind {
            Kind::Other => return Err("the store compares the type by its own rules"),
            Kind::Uuid if !is_equality => return Err("the store orders uuid by its parts"),
            Kind::Uuid if ![left, right].into_iter().all(is_uuid) => return Err("the store reads other texts as uuid too"),
            Kind::Text if !is_equality && shapes.iter().any(|shape| is_label(shape, self.tables)) => {
                return Err("labels of enums are ordered by themselves");
            }
            Kind::Real | Kind::Double if is_equality && !is_literal(left) && !is_literal(right) => {
                return Err("the store may tell -0 from 0");
            }
            _ => {}
        }
        // The server bends constants to the type of a column that cannot hold them.
        let holds = |at: usize, constant: &Expression| match (&constant.node, shapes.get(at)) {
            (Node::Literal(Some(value)), Some(shape)) => range_holds(shape, self.tables, value),
            _ => true,
        };
        let held = holds(0, right) && holds(1, left) && self.cast_holds(left, right) && self.cast_holds(right, left);
        if held { Ok(()) } else { Err("the column's type cannot hold the number") }
    }

    /// The same through a widening of integers, which is not written.
    fn cast_holds(&self, side: &Expression, constant: &Expression) -> bool {
        match (&side.node, &constant.node) {
            (Node::Cast(operand), Node::Literal(Some(value))) if Kind::of(side.pg_type) == Kind::Whole => {
                range_holds(&self.shape(operand), self.tables, value)
            }
            _ => true,
        }
    }

    fn like(&self, subject: &Expression, pattern: &Expression, case_insensitive: bool) -> Verdict {
        let Node::Literal(Some(Value::Text(pattern))) = &pattern.node else { return Err("the pattern is not a constant") };
        match (case_insensitive, Kind::of(subject.pg_type)) {
            (true, _) => Err("the store folds case by its own rules"),
            (false, Kind::Text) if like::parts(pattern).is_some() => Ok(()),
            (false, Kind::Text) => Err("the pattern ends with its escape"),
            (false, _) => Err("the subject is no text"),
        }
    }

    /// Values of which one is taken: one kind, and numbers of one scale, because the server gives all the largest one.
    fn alike(&self, values: &[&Expression], size: Size) -> Verdict {
        let mut kinds = values.iter().map(|value| Kind::of(value.pg_type));
        let Some(kind) = kinds.next() else { return Err("it has no values") };
        if kinds.any(|other| other != kind) {
            return Err("the types differ");
        }
        match kind {
            Kind::Decimal if size == Size::Unknown => Err("the numbers may have different scales"),
            Kind::Text if values.iter().any(|value| is_label(&self.shape(value), self.tables)) => {
                Err("labels of enums are ordered by themselves")
            }
            Kind::Other | Kind::Real | Kind::Uuid => Err("the store has rules of its own for the type"),
            _ => Ok(()),
        }
    }

    fn cast(&self, operand: &Expression, to: &Expression) -> Verdict {
        let (from, target) = (operand.pg_type, to.pg_type);
        let is_null = matches!(operand.node, Node::Literal(None));
        match (Kind::of(from), Kind::of(target)) {
            (_, kind) if is_null && kind != Kind::Other => Ok(()),
            (Kind::Whole, Kind::Whole | Kind::Truth) | (Kind::Truth, Kind::Whole) => Ok(()),
            (Kind::Whole, Kind::Double) | (Kind::Real, Kind::Double) => Ok(()),
            (Kind::Whole, Kind::Text) => Ok(()),
            (Kind::Text, Kind::Text) if is_label(&self.shape(operand), self.tables) => {
                Err("labels of enums are ordered by themselves")
            }
            (Kind::Text, Kind::Text) => Ok(()),
            (Kind::Whole | Kind::Decimal, Kind::Decimal) => self.fits_decimal(operand, target.numeric_shape()),
            (Kind::Decimal, Kind::Whole) => match self.size(operand) {
                Size::Digits { whole, .. } if whole < BIGINT_DIGITS => Ok(()),
                _ => Err("the store cuts numbers that are too large"),
            },
            (Kind::Day, Kind::Moment) if target.typmod == -1 => Ok(()),
            (Kind::Moment, Kind::Day) => Ok(()),
            (Kind::Moment, Kind::Moment) | (Kind::MomentTz, Kind::MomentTz) if keeps_fraction(from.typmod, target.typmod) => Ok(()),
            (one, other) if one == other && from == target => Ok(()),
            _ => Err("the store converts the types in another way"),
        }
    }

    fn fits_decimal(&self, operand: &Expression, shape: Option<(u16, i16)>) -> Verdict {
        let Size::Digits { whole, scale } = self.size(operand) else { return Err("the number of digits is not known") };
        let Some((precision, to)) = shape else {
            return if whole + scale <= DIGITS_MAX { Ok(()) } else { Err("the store has no number of this size") };
        };
        let Ok(to) = u16::try_from(to) else { return Err("the store has no negative scales") };
        // Rounding may add a digit.
        let needed = whole + u16::from(to < scale);
        if precision > DIGITS_MAX || to > SCALE_MAX || precision < to || needed > precision - to {
            return Err("the store cuts numbers that are too large");
        }
        Ok(())
    }

    fn call(&self, function: Function, arguments: &[Expression], call: &Expression) -> Verdict {
        let kinds: Vec<Kind> = arguments.iter().map(|argument| Kind::of(argument.pg_type)).collect();
        let count = |place: usize| arguments.get(place).and_then(whole_literal);
        let is_text = kinds.first() == Some(&Kind::Text);
        match function {
            Function::Add
            | Function::Subtract
            | Function::Multiply
            | Function::Divide
            | Function::Modulo
            | Function::Negate
            | Function::Absolute
            | Function::Sign => self.arithmetic(function, arguments, &kinds, call),
            Function::Round | Function::Truncate | Function::Ceiling | Function::Floor => self.rounded(arguments, &kinds, call),
            Function::Coalesce => self.alike(&arguments.iter().collect::<Vec<_>>(), self.size(call)),
            Function::NullIf => {
                self.alike(&arguments.iter().collect::<Vec<_>>(), Size::Nothing)?;
                match arguments {
                    [left, right] => self.compared(Comparison::Equal, left, right),
                    _ => Err("it takes two arguments"),
                }
            }
            Function::Greatest | Function::Least => {
                self.alike(&arguments.iter().collect::<Vec<_>>(), self.size(call))?;
                let nullable = arguments.iter().any(|argument| self.shape(argument).nullable);
                if nullable || kinds.iter().any(|kind| kind.is_float()) {
                    Err("the store gives NULL for a NULL argument")
                } else {
                    Ok(())
                }
            }
            Function::Extract(field) | Function::DatePart(field) => part(field, &kinds),
            Function::DateTrunc(_) | Function::SquareRoot | Function::Power => Err("the store computes it in another way"),
            Function::Length | Function::OctetLength if is_text => Ok(()),
            Function::OctetLength if kinds == [Kind::Bytes] => Ok(()),
            _ if !is_text => Err("the argument is no text"),
            Function::Upper | Function::Lower => self.letters(arguments),
            Function::Concat if kinds == [Kind::Text, Kind::Text] => self.bounded(call),
            Function::Substring if count(1).is_some() => match (kinds.len(), count(2)) {
                (2, _) => Ok(()),
                (3, Some(0..)) => Ok(()),
                _ => Err("the count is not a constant"),
            },
            Function::Left | Function::Right if count(1).is_some_and(|count| count >= 0) => Ok(()),
            Function::Trim | Function::TrimStart | Function::TrimEnd if kinds.len() == 1 => Ok(()),
            Function::Reverse => Ok(()),
            Function::Position | Function::StartsWith if kinds == [Kind::Text, Kind::Text] => Ok(()),
            _ => Err("the store computes it in another way"),
        }
    }

    fn arithmetic(&self, function: Function, arguments: &[Expression], kinds: &[Kind], call: &Expression) -> Verdict {
        let divisor = arguments.get(1).and_then(whole_literal);
        match (function, kinds) {
            (Function::Divide | Function::Modulo, [Kind::Whole, Kind::Whole]) => {
                if divisor.is_some_and(|divisor| divisor != 0) {
                    Ok(())
                } else {
                    Err("the store divides by zero without an error")
                }
            }
            (Function::Divide | Function::Modulo, _) => Err("the store rounds quotients to other digits"),
            (Function::Sign, [Kind::Decimal]) => Ok(()),
            (Function::Sign, _) => Err("the store gives another type"),
            (_, [Kind::Whole] | [Kind::Whole, Kind::Whole]) => Ok(()),
            (_, [Kind::Decimal] | [Kind::Decimal, Kind::Decimal]) => match self.size(call) {
                Size::Digits { whole, scale } if whole + scale <= DIGITS_MAX && scale <= SCALE_MAX => Ok(()),
                _ => Err("the number may have more digits than the store keeps"),
            },
            (Function::Multiply, [Kind::Double, Kind::Double]) => Err("the store does not tell underflow"),
            (_, [Kind::Double] | [Kind::Double, Kind::Double]) => Ok(()),
            _ => Err("the store computes with other types"),
        }
    }

    fn rounded(&self, arguments: &[Expression], kinds: &[Kind], call: &Expression) -> Verdict {
        let digits = arguments.get(1).map(|digits| whole_literal(digits).is_some_and(|digits| (0..=30).contains(&digits)));
        if kinds.first() != Some(&Kind::Decimal) || digits == Some(false) {
            return Err("the store rounds the type in another way");
        }
        // A whole number, such as an unsigned `bigint`, stays one on the server.
        let asked = arguments.get(1).and_then(whole_literal).unwrap_or(0);
        if arguments
            .first()
            .is_none_or(|number| !matches!(self.size(number), Size::Digits { scale, .. } if i64::from(scale) >= asked))
        {
            return Err("the store adds no digits to the number");
        }
        match self.size(call) {
            Size::Digits { whole, scale } if whole + scale <= DIGITS_MAX => Ok(()),
            _ => Err("the number may have more digits than the store keeps"),
        }
    }

    /// Cases of letters follow the collation, which agrees on ASCII.
    fn letters(&self, arguments: &[Expression]) -> Verdict {
        let is_ascii = |argument: &Expression| {
            let column = stored(&self.shape(argument), self.tables);
            column.is_some_and(|column| match &column.collation {
                Collation::Bytes => false,
                Collation::Linguistic(name) | Collation::Loose(name) | Collation::Native { name, .. } => name.starts_with("ascii_"),
            })
        };
        if arguments.iter().all(is_ascii) { Ok(()) } else { Err("the store maps letters by its collation") }
    }

    fn bounded(&self, call: &Expression) -> Verdict {
        match self.size(call) {
            Size::Length(length) if length <= TEXT_MAX => Ok(()),
            _ => Err("the store gives NULL for a text that is too long"),
        }
    }
}

fn is_literal(expression: &Expression) -> bool {
    matches!(expression.node, Node::Literal(_))
}

/// A column, or a constant in the form that only one text has.
fn is_uuid(expression: &Expression) -> bool {
    match &expression.node {
        Node::Literal(Some(Value::Text(text))) => decode::uuid(text.as_bytes()).as_ref() == Ok(text),
        Node::Literal(Some(_)) => false,
        _ => true,
    }
}

fn keeps_fraction(from: i32, to: i32) -> bool {
    to == -1 || to >= 6 || from >= 0 && to >= from
}

fn part(field: DateField, kinds: &[Kind]) -> Verdict {
    match (field, kinds) {
        (_, [Kind::MomentTz]) => Err("the part depends on the time zone"),
        (DateField::Second | DateField::Epoch, _) => Err("the store gives other digits"),
        (DateField::Hour | DateField::Minute, [Kind::Moment]) => Ok(()),
        (DateField::Hour | DateField::Minute, _) => Err("a date has no time of day"),
        (_, [Kind::Day | Kind::Moment]) => Ok(()),
        _ => Err("the argument is no date"),
    }
}
