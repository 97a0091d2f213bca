//! How large values can be: digits of numbers, lengths of texts. The server cuts decimals and sort keys that are too long.

use super::super::super::fragment::{Aggregate, AggregateCall, Expression, Function, Node, Relation, Tables, WindowFunction};
use super::super::super::relational::embedded;
use super::super::super::value::Value;
use super::super::types;
use super::kind::Kind;
use crate::pgtype::PgType;

/// The digits that a sum of up to 2⁶⁴ numbers can add.
const SUM_DIGITS: u16 = 20;

/// How large a value can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// Always NULL.
    Nothing,
    /// So many digits before and exactly so many after the point.
    Digits {
        /// Before the point, at most.
        whole: u16,
        /// After the point, always.
        scale: u16,
    },
    /// At most so many characters, or bytes.
    Length(u64),
    /// Not known.
    Unknown,
}

impl Size {
    fn whole(digits: u16) -> Self {
        Self::Digits { whole: digits, scale: 0 }
    }

    /// A value that is one or the other.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, known) | (known, Self::Nothing) => known,
            (Self::Length(one), Self::Length(other)) => Self::Length(one.max(other)),
            (Self::Digits { whole, scale }, Self::Digits { whole: other, scale: same }) if scale == same => {
                Self::Digits { whole: whole.max(other), scale }
            }
            _ => Self::Unknown,
        }
    }

    /// What a type alone tells.
    fn of_type(pg_type: PgType) -> Self {
        match (pg_type.oid, pg_type.numeric_shape()) {
            (21, _) => Self::whole(5),
            (23, _) => Self::whole(10),
            (20, _) => Self::whole(19),
            (1700, Some((precision, scale))) => match u16::try_from(scale) {
                Ok(scale) if scale <= precision => Self::Digits { whole: precision - scale, scale },
                _ => Self::Unknown,
            },
            (1043, _) => u64::try_from(pg_type.typmod - 4).map_or(Self::Unknown, Self::Length),
            _ => Self::Unknown,
        }
    }

    fn of_literal(value: &Value, pg_type: PgType) -> Self {
        match value {
            Value::Int(number) => Self::whole(digits(&number.unsigned_abs().to_string())),
            Value::Decimal { unscaled, scale } => {
                let (scale, all) = (u16::from(*scale), digits(&unscaled.unsigned_abs().to_string()));
                Self::Digits { whole: all.saturating_sub(scale), scale }
            }
            Value::Numeric(text) => {
                let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
                let is_number = whole.strip_prefix('-').unwrap_or(whole).bytes().all(|byte| byte.is_ascii_digit());
                if is_number { Self::Digits { whole: digits(whole), scale: digits(fraction) } } else { Self::Unknown }
            }
            Value::Text(text) => Self::Length(text.chars().count() as u64),
            Value::Bytes(bytes) => Self::Length(bytes.len() as u64),
            _ => Self::of_type(pg_type),
        }
    }
}

fn digits(text: &str) -> u16 {
    u16::try_from(text.len()).unwrap_or(u16::MAX)
}

/// The sizes of the columns that `relation` makes.
pub(super) fn sizes(relation: &Relation, tables: &Tables) -> Vec<Size> {
    match relation {
        Relation::Table(scan) => {
            let table = tables.get(&scan.table);
            let column = |ordinal: &usize| table.and_then(|table| table.columns.get(*ordinal));
            scan.columns
                .iter()
                .map(|ordinal| {
                    column(ordinal).map_or(Size::Unknown, |column| match types::length(&column.native_type) {
                        Some(length) if embedded::source(&column.field).is_none() => Size::Length(length),
                        _ => Size::of_type(column.pg_type()),
                    })
                })
                .collect()
        }
        Relation::Values { types, rows } => {
            let value = |row: &Vec<Option<Value>>, place: usize, pg_type| match row.get(place) {
                Some(Some(value)) => Size::of_literal(value, pg_type),
                _ => Size::Nothing,
            };
            let column = |(place, pg_type): (usize, &PgType)| {
                rows.iter().map(|row| value(row, place, *pg_type)).fold(Size::Nothing, Size::or)
            };
            types.iter().enumerate().map(column).collect()
        }
        Relation::Filter { input, .. }
        | Relation::Distinct { input }
        | Relation::Sort { input, .. }
        | Relation::Limit { input, .. } => sizes(input, tables),
        Relation::Project { input, expressions } => {
            let inputs = sizes(input, tables);
            expressions.iter().map(|expression| size(expression, &inputs, tables)).collect()
        }
        Relation::Join { .. } => relation.inputs().into_iter().flat_map(|input| sizes(input, tables)).collect(),
        Relation::Aggregate { input, groups, calls } => {
            let inputs = sizes(input, tables);
            let groups = groups.iter().map(|group| size(group, &inputs, tables));
            groups.chain(calls.iter().map(|call| of_call(call, &inputs, tables))).collect()
        }
        Relation::Union { inputs } => {
            let mut inputs = inputs.iter().map(|input| sizes(input, tables));
            let first = inputs.next().unwrap_or_default();
            inputs.fold(first, |known, next| known.into_iter().zip(next).map(|(one, other)| one.or(other)).collect())
        }
        Relation::Window { input, calls } => {
            let mut known = sizes(input, tables);
            let computed: Vec<Size> = calls
                .iter()
                .map(|call| {
                    let argument = call.arguments.first().map(|argument| size(argument, &known, tables));
                    match call.function {
                        WindowFunction::Aggregate(aggregate) => aggregated(aggregate, argument, call.pg_type),
                        _ => argument.unwrap_or(Size::whole(19)),
                    }
                })
                .collect();
            known.extend(computed);
            known
        }
    }
}

fn of_call(call: &AggregateCall, inputs: &[Size], tables: &Tables) -> Size {
    aggregated(call.aggregate, call.argument.as_ref().map(|argument| size(argument, inputs, tables)), call.pg_type)
}

fn aggregated(aggregate: Aggregate, argument: Option<Size>, pg_type: PgType) -> Size {
    match (aggregate, argument) {
        (Aggregate::CountRows | Aggregate::Count, _) => Size::whole(19),
        (Aggregate::Sum, _) if Kind::of(pg_type) == Kind::Whole => Size::of_type(pg_type),
        (Aggregate::Sum, Some(Size::Digits { whole, scale })) => Size::Digits { whole: whole.saturating_add(SUM_DIGITS), scale },
        (Aggregate::Minimum | Aggregate::Maximum, Some(size)) => size,
        _ => Size::Unknown,
    }
}

/// How large the value of an expression over columns of these sizes can be.
pub(super) fn size(expression: &Expression, inputs: &[Size], tables: &Tables) -> Size {
    let of = |operand: &Expression| size(operand, inputs, tables);
    match &expression.node {
        Node::Column(ordinal) => inputs.get(*ordinal).copied().unwrap_or(Size::Unknown),
        Node::Literal(None) => Size::Nothing,
        Node::Literal(Some(value)) => Size::of_literal(value, expression.pg_type),
        Node::Cast(operand) => match (Size::of_type(expression.pg_type), of(operand)) {
            (Size::Length(limit), Size::Length(length)) => Size::Length(limit.min(length)),
            (Size::Unknown, Size::Digits { .. }) if Kind::of(expression.pg_type) == Kind::Text => Size::Length(20),
            (Size::Unknown, known) => known,
            (known, _) => known,
        },
        Node::Case { branches, otherwise } => {
            let values = branches.iter().map(|(_, value)| value).chain(otherwise.as_deref());
            values.map(of).fold(Size::Nothing, Size::or)
        }
        Node::Call { function, arguments } if Kind::of(expression.pg_type) != Kind::Whole => {
            called(*function, arguments, &arguments.iter().map(of).collect::<Vec<_>>())
        }
        Node::Subquery(relation) => sizes(relation, tables).first().copied().unwrap_or(Size::Unknown),
        _ => Size::of_type(expression.pg_type),
    }
}

fn called(function: Function, arguments: &[Expression], sizes: &[Size]) -> Size {
    let count = |place: usize| arguments.get(place).and_then(whole_literal).and_then(|count| u64::try_from(count).ok());
    match (function, sizes) {
        (
            Function::Add | Function::Subtract,
            [Size::Digits { whole, scale }, Size::Digits { whole: other, scale: other_scale }],
        ) => Size::Digits { whole: whole.max(other).saturating_add(1), scale: *scale.max(other_scale) },
        (Function::Multiply, [Size::Digits { whole, scale }, Size::Digits { whole: other, scale: other_scale }]) => {
            Size::Digits { whole: whole.saturating_add(*other), scale: scale.saturating_add(*other_scale) }
        }
        (Function::Negate | Function::Absolute, [size]) => *size,
        (Function::Sign, _) => Size::whole(1),
        (Function::Ceiling | Function::Floor, [Size::Digits { whole, .. }]) => Size::whole(whole.saturating_add(1)),
        (Function::Round | Function::Truncate, [Size::Digits { whole, .. }, ..]) => {
            let scale = if arguments.len() == 1 { Some(0) } else { count(1).and_then(|scale| u16::try_from(scale).ok()) };
            scale.map_or(Size::Unknown, |scale| Size::Digits { whole: whole.saturating_add(1), scale })
        }
        (Function::Extract(_), _) => Size::whole(4),
        (Function::Coalesce | Function::Greatest | Function::Least, sizes) => sizes.iter().copied().fold(Size::Nothing, Size::or),
        (Function::NullIf | Function::Trim | Function::TrimStart | Function::TrimEnd | Function::Reverse, [size, ..]) => *size,
        (Function::Upper | Function::Lower, [size]) => *size,
        (Function::Concat, [Size::Length(one), Size::Length(other)]) => Size::Length(one.saturating_add(*other)),
        (Function::Left | Function::Right, [size, ..]) => shorter(*size, count(1)),
        (Function::Substring, [size, ..]) => shorter(*size, count(2)),
        _ => Size::Unknown,
    }
}

fn shorter(size: Size, count: Option<u64>) -> Size {
    match (size, count) {
        (Size::Length(length), Some(count)) => Size::Length(length.min(count)),
        (_, Some(count)) => Size::Length(count),
        (size, None) => size,
    }
}

/// A constant whole number.
pub(super) fn whole_literal(expression: &Expression) -> Option<i64> {
    match &expression.node {
        Node::Literal(Some(Value::Int(number))) => Some(*number),
        _ => None,
    }
}
