//! Conditions of a lookup: a column against values that are known, or come with each execution.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::scalar::ScalarValue;

use crate::pgtype::{PgField, PgType};
use crate::stores::predicate::{ColumnRef, Comparison, Predicate};
use crate::stores::schema::Column;
use crate::stores::value::Value;

/// Types whose comparison is that of their carrier, so that a value of the same family needs no conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Bool,
    /// With the bounds of the column's type.
    Integer(i64, i64),
    Text,
    Uuid,
    Date,
    Timestamp,
    TimestampTz,
}

impl Family {
    /// The family of a column that conditions may be about.
    pub(super) fn of(column: &Column) -> Option<Self> {
        let field = &column.field;
        if field.enum_labels().is_some() {
            return None;
        }
        Some(match (field.pg_type().oid, field.data_type()) {
            (16, DataType::Boolean) => Self::Bool,
            (21, DataType::Int16) => Self::Integer(i16::MIN.into(), i16::MAX.into()),
            (23, DataType::Int32) => Self::Integer(i32::MIN.into(), i32::MAX.into()),
            (20, DataType::Int64) => Self::Integer(i64::MIN, i64::MAX),
            (25 | 1043, DataType::Utf8) => Self::Text,
            (2950, DataType::Utf8) => Self::Uuid,
            (1082, DataType::Date32) => Self::Date,
            (1114, DataType::Timestamp(TimeUnit::Microsecond, None)) => Self::Timestamp,
            (1184, DataType::Timestamp(TimeUnit::Microsecond, Some(_))) => Self::TimestampTz,
            _ => return None,
        })
    }

    /// Whether values of the type can be compared with such a column without changing their meaning.
    pub(super) fn takes(self, pg_type: PgType) -> bool {
        match self {
            Self::Bool => pg_type.oid == 16,
            Self::Integer(..) => matches!(pg_type.oid, 20 | 21 | 23),
            Self::Text => matches!(pg_type.oid, 25 | 1043),
            Self::Uuid => pg_type.oid == 2950,
            Self::Date => pg_type.oid == 1082,
            Self::Timestamp => pg_type.oid == 1114,
            Self::TimestampTz => pg_type.oid == 1184,
        }
    }

    /// The value of a parameter; `None` for NULL and for what does not fit the column.
    fn value(self, scalar: &ScalarValue) -> Option<Value> {
        Some(match (self, scalar) {
            (Self::Bool, ScalarValue::Boolean(Some(truth))) => Value::Bool(*truth),
            (Self::Integer(low, high), scalar) => {
                let number = match scalar {
                    ScalarValue::Int16(Some(number)) => i64::from(*number),
                    ScalarValue::Int32(Some(number)) => i64::from(*number),
                    ScalarValue::Int64(Some(number)) => *number,
                    _ => return None,
                };
                (low..=high).contains(&number).then_some(Value::Int(number))?
            }
            (Self::Text | Self::Uuid, ScalarValue::Utf8(Some(text))) => Value::Text(text.clone()),
            (Self::Date, ScalarValue::Date32(Some(days))) => Value::Date(*days),
            (Self::Timestamp, ScalarValue::TimestampMicrosecond(Some(micros), None)) => Value::Timestamp(*micros),
            (Self::TimestampTz, ScalarValue::TimestampMicrosecond(Some(micros), Some(_))) => Value::TimestampTz(*micros),
            _ => return None,
        })
    }

    /// Any value of the family, to ask a store about.
    fn sample(self) -> Value {
        match self {
            Self::Bool => Value::Bool(true),
            Self::Integer(..) => Value::Int(1),
            Self::Text => Value::Text("a".to_owned()),
            Self::Uuid => Value::Text("00000000-0000-0000-0000-000000000000".to_owned()),
            Self::Date => Value::Date(0),
            Self::Timestamp => Value::Timestamp(0),
            Self::TimestampTz => Value::TimestampTz(0),
        }
    }
}

/// What a column is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// A value of the text.
    Known(Value),
    /// A parameter, from 0.
    Parameter(usize),
}

/// A conjunct of the WHERE clause.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    /// Ordinal of the column.
    pub(super) column: usize,
    /// What values of the column are.
    pub(super) family: Family,
    /// What is asked.
    pub(super) test: Test,
}

/// What is asked of a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    Compare(Comparison, Operand),
    In(Vec<Operand>),
    IsNull { negated: bool },
}

impl Condition {
    /// The predicate for these parameters.
    pub(super) fn bind(&self, values: &[ScalarValue]) -> Option<Predicate> {
        self.predicate(|operand| match operand {
            Operand::Known(value) => Some(value.clone()),
            Operand::Parameter(place) => self.family.value(values.get(*place)?),
        })
    }

    /// What the column is compared with for these parameters; `None` also for conditions that are no comparison with one value.
    pub(super) fn value(&self, values: &[ScalarValue]) -> Option<Value> {
        match &self.test {
            Test::Compare(_, Operand::Known(value)) => Some(value.clone()),
            Test::Compare(_, Operand::Parameter(place)) => self.family.value(values.get(*place)?),
            Test::In(_) | Test::IsNull { .. } => None,
        }
    }

    /// The predicate for some parameters, to ask a store about.
    pub(super) fn sample(&self) -> Predicate {
        let sample = self.predicate(|operand| match operand {
            Operand::Known(value) => Some(value.clone()),
            Operand::Parameter(_) => Some(self.family.sample()),
        });
        sample.unwrap_or_else(|| Predicate::IsNull { column: ColumnRef::of(self.column), negated: false })
    }

    fn predicate(&self, mut value: impl FnMut(&Operand) -> Option<Value>) -> Option<Predicate> {
        let column = ColumnRef::of(self.column);
        Some(match &self.test {
            Test::Compare(op, operand) => Predicate::Compare { column, op: *op, value: value(operand)? },
            Test::In(operands) => {
                let values = operands.iter().map(value).collect::<Option<Vec<Value>>>()?;
                Predicate::In { column, values, negated: false }
            }
            Test::IsNull { negated } => Predicate::IsNull { column, negated: *negated },
        })
    }

    /// Whether it leaves at most a few rows of each value: an index may answer it.
    pub(super) fn is_selective(&self) -> bool {
        matches!(self.test, Test::Compare(Comparison::Equal, _) | Test::In(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_meaning_or_are_left_to_the_planner() {
        let int4 = Family::Integer(i32::MIN.into(), i32::MAX.into());
        let rows = [
            (int4, ScalarValue::Int32(Some(7)), Some(Value::Int(7))),
            (int4, ScalarValue::Int64(Some(-7)), Some(Value::Int(-7))),
            (int4, ScalarValue::Int64(Some(1 << 40)), None),
            (int4, ScalarValue::Int32(None), None),
            (int4, ScalarValue::Utf8(Some("7".to_owned())), None),
            (Family::Text, ScalarValue::Utf8(Some("a".to_owned())), Some(Value::Text("a".to_owned()))),
            (Family::Text, ScalarValue::Int32(Some(7)), None),
            (Family::Date, ScalarValue::Date32(Some(-1)), Some(Value::Date(-1))),
            (Family::Timestamp, ScalarValue::TimestampMicrosecond(Some(1), Some("UTC".into())), None),
            (Family::TimestampTz, ScalarValue::TimestampMicrosecond(Some(1), Some("UTC".into())), Some(Value::TimestampTz(1))),
        ];
        for (family, scalar, expected) in rows {
            assert_eq!(family.value(&scalar), expected, "{family:?} {scalar:?}");
        }
    }

    #[test]
    fn parameters_are_bound_where_they_stand() {
        let family = Family::Integer(i64::MIN, i64::MAX);
        let test = Test::In(vec![Operand::Parameter(1), Operand::Known(Value::Int(5)), Operand::Parameter(0)]);
        let condition = Condition { column: 3, family, test };
        let values = [ScalarValue::Int64(Some(1)), ScalarValue::Int64(Some(2))];
        let wanted = vec![Value::Int(2), Value::Int(5), Value::Int(1)];
        assert_eq!(condition.bind(&values), Some(Predicate::In { column: ColumnRef::of(3), values: wanted, negated: false }));
        assert_eq!(condition.value(&values), None);
        assert_eq!(condition.bind(&values[..1]), None);
        assert_eq!(condition.bind(&[ScalarValue::Int64(None), ScalarValue::Int64(Some(2))]), None);
    }
}
