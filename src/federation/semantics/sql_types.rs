//! SQL type names of casts as Arrow fields marked with their Postgres type. Values are not converted here.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType as SqlType, ExactNumberInfo, IntervalFields, ObjectName, TimezoneInfo,
};

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::{PgField, PgType, builtin_by_name, interval_field};

/// Name of the field of a cast that stands in the statement's text.
pub(super) const WRITTEN: &str = "written";

/// Plans every type name PostgreSQL has; an unknown one is 42704.
#[derive(Debug)]
pub(super) struct PostgresTypes;

impl TypePlanner for PostgresTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let pg_type = plan(sql_type)?;
        let carrier = pg_type.carrier();
        // The engine refuses rows of VALUES whose metadata differ, so a type that its carrier tells by itself goes unmarked;
        // the field's name says that a user wrote the cast.
        let plain = pg_type.typmod == -1 && PgType::from_arrow(&carrier) == pg_type && pg_type.element().is_none();
        let field = Field::new(WRITTEN, carrier, true);
        Ok(Some(Arc::new(if plain { field } else { field.with_pg_type(pg_type) })))
    }
}

/// The Postgres type a SQL type name means.
pub(in super::super) fn plan(sql_type: &SqlType) -> Result<PgType> {
    let plain = match sql_type {
        SqlType::Boolean | SqlType::Bool => PgType::BOOL,
        SqlType::SmallInt(_) | SqlType::Int2(_) => PgType::INT2,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => PgType::INT4,
        SqlType::BigInt(_) | SqlType::Int8(_) => PgType::INT8,
        SqlType::Real | SqlType::Float4 => PgType::FLOAT4,
        SqlType::DoublePrecision | SqlType::Double(_) | SqlType::Float8 => PgType::FLOAT8,
        SqlType::Float(ExactNumberInfo::Precision(1..=24)) => PgType::FLOAT4,
        SqlType::Float(_) => PgType::FLOAT8,
        SqlType::Numeric(shape) | SqlType::Decimal(shape) | SqlType::Dec(shape) => numeric(shape)?,
        SqlType::Text => PgType::TEXT,
        SqlType::Varchar(length) | SqlType::CharacterVarying(length) | SqlType::CharVarying(length) => {
            sized(PgType::VARCHAR, length)
        }
        SqlType::Char(length) | SqlType::Character(length) => {
            sized(PgType::BPCHAR, &length.or(Some(CharacterLength::IntegerLength { length: 1, unit: None })))
        }
        SqlType::Bytea => PgType::BYTEA,
        SqlType::Date => PgType::DATE,
        SqlType::Time(digits, zone) => temporal(zone, *digits, PgType::TIME, PgType::TIMETZ),
        SqlType::Timestamp(digits, zone) => temporal(zone, *digits, PgType::TIMESTAMP, PgType::TIMESTAMPTZ),
        SqlType::Interval { fields, precision } => interval(fields.as_ref(), *precision),
        SqlType::Uuid => PgType::UUID,
        SqlType::JSON => PgType::JSON,
        SqlType::JSONB => PgType::JSONB,
        SqlType::Bit(length) => PgType::with_typmod(PgType::BIT.oid, modifier(length.or(Some(1)), 0)),
        SqlType::BitVarying(length) | SqlType::VarBit(length) => PgType::with_typmod(PgType::VARBIT.oid, modifier(*length, 0)),
        SqlType::Regclass => PgType::REGCLASS,
        SqlType::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) => {
            plan(element)?.array().ok_or_else(|| undefined(sql_type))?
        }
        SqlType::Custom(name, modifiers) => named(name, modifiers).ok_or_else(|| undefined(sql_type))?,
        _ => return Err(undefined(sql_type)),
    };
    Ok(plain)
}

fn undefined(sql_type: &SqlType) -> datafusion::error::DataFusionError {
    Diagnosis::new(sqlstate::UNDEFINED_OBJECT, format!("type \"{}\" does not exist", sql_type.to_string().to_lowercase())).into()
}

fn named(name: &ObjectName, modifiers: &[String]) -> Option<PgType> {
    let word = name.0.last()?.as_ident()?.value.to_lowercase();
    let plain = match word.as_str() {
        "decimal" => PgType::NUMERIC,
        "string" => PgType::TEXT,
        other => match builtin_by_name(other) {
            Some(row) => PgType::with_typmod(row.oid, -1),
            None => builtin_by_name(other.strip_prefix('_')?).and_then(|row| PgType::with_typmod(row.oid, -1).array())?,
        },
    };
    let length = modifiers.first().and_then(|text| text.parse::<u64>().ok());
    Some(match plain.oid {
        1042 | 1043 if length.is_some() => PgType::with_typmod(plain.oid, modifier(length, 4)),
        1560 | 1562 if length.is_some() => PgType::with_typmod(plain.oid, modifier(length, 0)),
        _ => plain,
    })
}

fn modifier(length: Option<u64>, added: i32) -> i32 {
    length.and_then(|length| i32::try_from(length).ok()).map_or(-1, |length| length.saturating_add(added))
}

fn sized(base: PgType, length: &Option<CharacterLength>) -> PgType {
    match length {
        Some(CharacterLength::IntegerLength { length, .. }) => PgType::with_typmod(base.oid, modifier(Some(*length), 4)),
        _ => base,
    }
}

fn temporal(zone: &TimezoneInfo, digits: Option<u64>, without: PgType, with: PgType) -> PgType {
    let base = match zone {
        TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => with,
        TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => without,
    };
    PgType::with_typmod(base.oid, modifier(digits.map(|digits| digits.min(6)), 0))
}

fn interval(fields: Option<&IntervalFields>, digits: Option<u64>) -> PgType {
    use interval_field::{ALL, DAY, HOUR, MINUTE, MONTH, SECOND, YEAR};
    let fields = match fields {
        None => ALL,
        Some(IntervalFields::Year) => YEAR,
        Some(IntervalFields::Month) => MONTH,
        Some(IntervalFields::Day) => DAY,
        Some(IntervalFields::Hour) => HOUR,
        Some(IntervalFields::Minute) => MINUTE,
        Some(IntervalFields::Second) => SECOND,
        Some(IntervalFields::YearToMonth) => YEAR | MONTH,
        Some(IntervalFields::DayToHour) => DAY | HOUR,
        Some(IntervalFields::DayToMinute) => DAY | HOUR | MINUTE,
        Some(IntervalFields::DayToSecond) => DAY | HOUR | MINUTE | SECOND,
        Some(IntervalFields::HourToMinute) => HOUR | MINUTE,
        Some(IntervalFields::HourToSecond) => HOUR | MINUTE | SECOND,
        Some(IntervalFields::MinuteToSecond) => MINUTE | SECOND,
    };
    PgType::interval(fields, digits.map(|digits| u8::try_from(digits).unwrap_or(6)))
}

fn numeric(shape: &ExactNumberInfo) -> Result<PgType> {
    let (precision, scale) = match shape {
        ExactNumberInfo::None => return Ok(PgType::NUMERIC),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    match (u16::try_from(precision), i16::try_from(scale)) {
        (Ok(precision @ 1..=1000), Ok(scale @ -1000..=1000)) => Ok(PgType::numeric(precision, scale)),
        (Ok(1..=1000), _) => {
            Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, format!("NUMERIC scale {scale} must be between -1000 and 1000"))
                .into())
        }
        _ => Err(Diagnosis::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("NUMERIC precision {precision} must be between 1 and 1000"),
        )
        .into()),
    }
}
