//! Scalar expressions of a fragment, with PostgreSQL's meaning and types.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::predicate::Comparison;
use super::super::value::Value;
use super::relation::Relation;
use crate::pgtype::PgType;

/// An expression and its type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expression {
    /// The Postgres type of the value.
    pub pg_type: PgType,
    /// What computes it.
    pub node: Node,
}

/// What an expression computes. Operands have the types that PostgreSQL would compare or compute in: every conversion is a
/// [`Node::Cast`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Node {
    /// A column of the input, by ordinal.
    Column(usize),
    /// A constant; `None` is NULL.
    Literal(Option<Value>),
    /// All hold.
    And(Vec<Expression>),
    /// One holds.
    Or(Vec<Expression>),
    /// The opposite; NULL of NULL.
    Not(Box<Expression>),
    /// A comparison; NULL when a side is.
    Compare {
        /// The operator.
        op: Comparison,
        /// The left side.
        left: Box<Expression>,
        /// The right side.
        right: Box<Expression>,
    },
    /// `IS DISTINCT FROM`, or with `negated` `IS NOT DISTINCT FROM`.
    Distinct {
        /// The left side.
        left: Box<Expression>,
        /// The right side.
        right: Box<Expression>,
        /// `IS NOT DISTINCT FROM`
        negated: bool,
    },
    /// `IS NULL`, or with `negated` `IS NOT NULL`.
    IsNull {
        /// The operand.
        operand: Box<Expression>,
        /// `IS NOT NULL`
        negated: bool,
    },
    /// `IS TRUE`, `IS FALSE`, or `IS UNKNOWN` for `None`.
    IsTruth {
        /// The boolean operand.
        operand: Box<Expression>,
        /// What it is tested for.
        truth: Option<bool>,
        /// `IS NOT …`
        negated: bool,
    },
    /// Membership in a list that is not empty.
    In {
        /// The left side.
        subject: Box<Expression>,
        /// The items.
        list: Vec<Expression>,
        /// `NOT IN`
        negated: bool,
    },
    /// `LIKE` with backslash as its escape character.
    Like {
        /// The text.
        subject: Box<Expression>,
        /// The pattern.
        pattern: Box<Expression>,
        /// `NOT LIKE`
        negated: bool,
        /// `ILIKE`
        case_insensitive: bool,
    },
    /// `CASE WHEN condition THEN value … ELSE otherwise END`; later branches are not computed for rows that an earlier one took.
    Case {
        /// Conditions and values, in order.
        branches: Vec<(Expression, Expression)>,
        /// The value of other rows; NULL without one.
        otherwise: Option<Box<Expression>>,
    },
    /// A field of a document: `(column).name`.
    Field {
        /// The document: a column, or a field of one.
        operand: Box<Expression>,
        /// The field's name.
        name: String,
    },
    /// A conversion to the expression's own type, as `CAST` does it.
    Cast(Box<Expression>),
    /// A function of the list.
    Call {
        /// Which.
        function: Function,
        /// Its arguments.
        arguments: Vec<Expression>,
    },
    /// The only value of a relation with one column; NULL without a row, 21000 with more than one. It sees no outer column.
    Subquery(Box<Relation>),
}

/// Functions and operators that a fragment may hold: the allow-list of everything that can reach a store. All are immutable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Function {
    /// `a + b` over numbers.
    Add,
    /// `a - b` over numbers.
    Subtract,
    /// `a * b` over numbers.
    Multiply,
    /// `a / b` over numbers; integers are cut towards zero.
    Divide,
    /// `a % b`, with the sign of `a`.
    Modulo,
    /// `-a`
    Negate,
    /// `abs(a)`
    Absolute,
    /// `round(a)` or `round(a, digits)`: halves of `numeric` go away from zero, those of floats to even.
    Round,
    /// `trunc(a)` or `trunc(a, digits)`
    Truncate,
    /// `ceil(a)`
    Ceiling,
    /// `floor(a)`
    Floor,
    /// `sign(a)`
    Sign,
    /// `sqrt(a)`
    SquareRoot,
    /// `power(a, b)`
    Power,
    /// `a || b` over texts.
    Concat,
    /// `upper(a)`
    Upper,
    /// `lower(a)`
    Lower,
    /// `length(a)` in characters.
    Length,
    /// `octet_length(a)`
    OctetLength,
    /// `substr(a, from [, count])`
    Substring,
    /// `left(a, count)`
    Left,
    /// `right(a, count)`
    Right,
    /// `btrim(a [, characters])`
    Trim,
    /// `ltrim(a [, characters])`
    TrimStart,
    /// `rtrim(a [, characters])`
    TrimEnd,
    /// `replace(a, from, to)`
    Replace,
    /// `strpos(a, part)`
    Position,
    /// `starts_with(a, prefix)`
    StartsWith,
    /// `reverse(a)`
    Reverse,
    /// `lpad(a, length [, fill])`
    PadStart,
    /// `rpad(a, length [, fill])`
    PadEnd,
    /// `coalesce(a, …)`: later arguments are not computed for rows where an earlier one has a value.
    Coalesce,
    /// `nullif(a, b)`
    NullIf,
    /// `greatest(a, …)`: NULLs are left out.
    Greatest,
    /// `least(a, …)`: NULLs are left out.
    Least,
    /// `extract(field from a)`, which is `numeric`.
    Extract(DateField),
    /// `date_part(field, a)`, which is `double precision`.
    DatePart(DateField),
    /// `date_trunc(field, a)`
    DateTrunc(DateField),
}

/// A part of a date or timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DateField {
    /// The year.
    Year,
    /// The quarter, 1 to 4.
    Quarter,
    /// The month, 1 to 12.
    Month,
    /// The ISO week.
    Week,
    /// The day of the month.
    Day,
    /// Sunday is 0.
    DayOfWeek,
    /// Monday is 1, Sunday 7.
    IsoDayOfWeek,
    /// 1 to 366.
    DayOfYear,
    /// The hour.
    Hour,
    /// The minute.
    Minute,
    /// The second with its fraction.
    Second,
    /// Seconds since 1970-01-01 00:00 with their fraction.
    Epoch,
}

impl DateField {
    /// PostgreSQL's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Quarter => "quarter",
            Self::Month => "month",
            Self::Week => "week",
            Self::Day => "day",
            Self::DayOfWeek => "dow",
            Self::IsoDayOfWeek => "isodow",
            Self::DayOfYear => "doy",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
            Self::Epoch => "epoch",
        }
    }

    /// The field of PostgreSQL's word, in any case.
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [
            Self::Year,
            Self::Quarter,
            Self::Month,
            Self::Week,
            Self::Day,
            Self::DayOfWeek,
            Self::IsoDayOfWeek,
            Self::DayOfYear,
            Self::Hour,
            Self::Minute,
            Self::Second,
            Self::Epoch,
        ];
        all.into_iter().find(|field| field.word().eq_ignore_ascii_case(word))
    }
}

impl Function {
    /// PostgreSQL's name or operator.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract | Self::Negate => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Concat => "||",
            Self::Absolute => "abs",
            Self::Round => "round",
            Self::Truncate => "trunc",
            Self::Ceiling => "ceil",
            Self::Floor => "floor",
            Self::Sign => "sign",
            Self::SquareRoot => "sqrt",
            Self::Power => "power",
            Self::Upper => "upper",
            Self::Lower => "lower",
            Self::Length => "length",
            Self::OctetLength => "octet_length",
            Self::Substring => "substr",
            Self::Left => "left",
            Self::Right => "right",
            Self::Trim => "btrim",
            Self::TrimStart => "ltrim",
            Self::TrimEnd => "rtrim",
            Self::Replace => "replace",
            Self::Position => "strpos",
            Self::StartsWith => "starts_with",
            Self::Reverse => "reverse",
            Self::PadStart => "lpad",
            Self::PadEnd => "rpad",
            Self::Coalesce => "coalesce",
            Self::NullIf => "nullif",
            Self::Greatest => "greatest",
            Self::Least => "least",
            Self::Extract(_) => "extract",
            Self::DatePart(_) => "date_part",
            Self::DateTrunc(_) => "date_trunc",
        }
    }

    /// Whether it is written between its two operands.
    pub fn is_operator(self) -> bool {
        matches!(self, Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Modulo | Self::Concat)
    }

    /// The part of a moment that it asks for.
    pub fn field(self) -> Option<DateField> {
        match self {
            Self::Extract(field) | Self::DatePart(field) | Self::DateTrunc(field) => Some(field),
            _ => None,
        }
    }
}

impl Expression {
    /// An expression of a type.
    pub fn new(pg_type: PgType, node: Node) -> Self {
        Self { pg_type, node }
    }

    /// A column of the input.
    pub fn column(ordinal: usize, pg_type: PgType) -> Self {
        Self::new(pg_type, Node::Column(ordinal))
    }

    /// A condition.
    pub fn condition(node: Node) -> Self {
        Self::new(PgType::BOOL, node)
    }
}

/// The expression as `EXPLAIN` names it in a refusal: columns by their ordinals, constants by their types only.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Column(ordinal) => write!(f, "#{ordinal}"),
            Node::Literal(None) => f.write_str("NULL"),
            Node::Literal(Some(_)) => write!(f, "<{}>", self.pg_type),
            Node::And(parts) => write_joined(f, parts, " AND "),
            Node::Or(parts) => write_joined(f, parts, " OR "),
            Node::Not(operand) => write!(f, "NOT {operand}"),
            Node::Compare { op, left, right } => write!(f, "({left} {} {right})", op.sql()),
            Node::Distinct { left, right, negated } => {
                write!(f, "({left} IS {}DISTINCT FROM {right})", if *negated { "NOT " } else { "" })
            }
            Node::IsNull { operand, negated } => write!(f, "{operand} IS {}NULL", if *negated { "NOT " } else { "" }),
            Node::IsTruth { operand, truth, negated } => {
                let word = truth.map_or("UNKNOWN", |truth| if truth { "TRUE" } else { "FALSE" });
                write!(f, "{operand} IS {}{word}", if *negated { "NOT " } else { "" })
            }
            Node::In { subject, list, negated } => {
                write!(f, "{subject} {}IN ({} items)", if *negated { "NOT " } else { "" }, list.len())
            }
            Node::Like { subject, pattern, negated, case_insensitive } => {
                let word = if *case_insensitive { "ILIKE" } else { "LIKE" };
                write!(f, "({subject} {}{word} {pattern})", if *negated { "NOT " } else { "" })
            }
            Node::Case { branches, .. } => write!(f, "CASE of {} branches", branches.len()),
            Node::Field { operand, name } => write!(f, "({operand}).{name}"),
            Node::Cast(operand) => write!(f, "{operand}::{}", self.pg_type),
            Node::Call { function, arguments } => write_call(f, *function, arguments),
            Node::Subquery(_) => f.write_str("(subquery)"),
        }
    }
}

fn write_joined(f: &mut fmt::Formatter<'_>, parts: &[Expression], word: &str) -> fmt::Result {
    f.write_str("(")?;
    for (place, part) in parts.iter().enumerate() {
        f.write_str(if place == 0 { "" } else { word })?;
        write!(f, "{part}")?;
    }
    f.write_str(")")
}

fn write_call(f: &mut fmt::Formatter<'_>, function: Function, arguments: &[Expression]) -> fmt::Result {
    if let ([left, right], true) = (arguments, function.is_operator()) {
        return write!(f, "({left} {} {right})", function.name());
    }
    f.write_str(function.name())?;
    f.write_str("(")?;
    if let Some(field) = function.field() {
        f.write_str(field.word())?;
        f.write_str(" of ")?;
    }
    for (place, argument) in arguments.iter().enumerate() {
        f.write_str(if place == 0 { "" } else { ", " })?;
        write!(f, "{argument}")?;
    }
    f.write_str(")")
}
