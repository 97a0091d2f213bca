//! Long lists of constants as one array in the type of what they are compared with: `= ANY ('{1,2}'::pg_catalog.int4[])`.
//!
//! PostgreSQL looks members up in a hash table only where both sides have one hash function, which is the case for one type and not for
//! `int4` and `int8`; else it compares a row with each member in turn. The array is also a single token, where a list in parentheses is a
//! syntax tree for each member. Short lists stay lists, which people read more easily in `EXPLAIN`.

use super::super::relational::{Sql, Unwritable, literal};
use super::super::value::Value;
use super::pushdown::{fits_moment, is_uuid};

/// The longest list that stays a list; PostgreSQL hashes from 9 members.
const SHORT_MAX: usize = 8;

/// The most keys of one statement: about 2 MB of text for numbers.
pub(super) const KEYS_MAX: usize = 250_000;

/// The type of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Int2,
    Int4,
    Int8,
    Oid,
    Float8,
    Numeric,
    Text,
    Blank,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
}

impl Element {
    /// The integer type with this OID.
    pub(super) fn integer(oid: u32) -> Option<Self> {
        Some(match oid {
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            _ => return None,
        })
    }

    /// The array's type.
    fn array(self) -> &'static str {
        match self {
            Self::Int2 => "pg_catalog.int2[]",
            Self::Int4 => "pg_catalog.int4[]",
            Self::Int8 => "pg_catalog.int8[]",
            Self::Oid => "pg_catalog.oid[]",
            Self::Float8 => "pg_catalog.float8[]",
            Self::Numeric => "pg_catalog.numeric[]",
            Self::Text => "pg_catalog.text[]",
            Self::Blank => "pg_catalog.bpchar[]",
            Self::Bytes => "pg_catalog.bytea[]",
            Self::Date => "pg_catalog.date[]",
            Self::Time => "pg_catalog.time[]",
            Self::Timestamp => "pg_catalog.timestamp[]",
            Self::TimestampTz => "pg_catalog.timestamptz[]",
            Self::Uuid => "pg_catalog.uuid[]",
        }
    }

    /// Whether the value is an element; `None` when it is of another type, so that nothing can be said of it here.
    fn holds(self, value: &Value) -> Option<bool> {
        Some(match (self, value) {
            (Self::Int2, Value::Int(number)) => i16::try_from(*number).is_ok(),
            (Self::Int4, Value::Int(number)) => i32::try_from(*number).is_ok(),
            (Self::Oid, Value::Int(number)) => u32::try_from(*number).is_ok(),
            (Self::Date, Value::Date(_))
            | (Self::Time, Value::Time(_))
            | (Self::Timestamp, Value::Timestamp(_))
            | (Self::TimestampTz, Value::TimestampTz(_)) => fits_moment(value),
            (Self::Uuid, Value::Text(text)) if is_uuid(text) => true,
            (Self::Int8, Value::Int(_))
            | (Self::Float8, Value::Float(_))
            | (Self::Numeric, Value::Int(_) | Value::Decimal { .. } | Value::Numeric(_))
            | (Self::Text | Self::Blank, Value::Text(_))
            | (Self::Bytes, Value::Bytes(_)) => true,
            _ => return None,
        })
    }
}

/// Writes ` = ANY (array)`, or negated ` <> ALL (array)`, after what is compared, and says so. `false`, and nothing is written, for short
/// lists, for values of other types, and where no value is left: the type cannot hold a member that is left out, so that none is equal to it,
/// but an array without members is not NULL for a NULL.
///
/// # Errors
/// A value that cannot be written.
pub(super) fn write<'v>(
    element: Element,
    values: impl ExactSizeIterator<Item = &'v Value>,
    negated: bool,
    sql: &mut Sql,
) -> Result<bool, Unwritable> {
    if values.len() <= SHORT_MAX {
        return Ok(false);
    }
    let mut array = String::with_capacity(8 * values.len());
    for value in values {
        match element.holds(value) {
            Some(true) => {
                array.push(if array.is_empty() { '{' } else { ',' });
                literal::write_element(value, &mut array)?;
            }
            Some(false) => {}
            None => return Ok(false),
        }
    }
    if array.is_empty() {
        return Ok(false);
    }
    array.push('}');
    sql.push(if negated { " <> ALL (" } else { " = ANY (" });
    sql.push_value(Value::Text(array))?;
    sql.push("::");
    sql.push(element.array());
    sql.push(")");
    Ok(true)
}

/// Writes ` IN (SELECT …)` over one array for each column, after the columns that are compared, and says so. `false`, and nothing is
/// written, where [`write`] says so of a list.
///
/// PostgreSQL joins with such rows, by an index over the columns or by their hash, where it would try alternatives one after the other.
/// It knows how long a constant array is, and so how many rows to expect.
///
/// # Errors
/// A value that cannot be written.
pub(super) fn write_rows(elements: &[Element], rows: &[Vec<Value>], sql: &mut Sql) -> Result<bool, Unwritable> {
    if rows.len() <= SHORT_MAX {
        return Ok(false);
    }
    let mut arrays: Vec<String> = elements.iter().map(|_| String::with_capacity(8 * rows.len())).collect();
    for row in rows {
        let held = elements.iter().zip(row).map(|(element, value)| element.holds(value)).collect::<Option<Vec<bool>>>();
        let Some(held) = held.filter(|held| held.len() == elements.len()) else { return Ok(false) };
        if held.contains(&false) {
            continue;
        }
        for (array, value) in arrays.iter_mut().zip(row) {
            array.push(if array.is_empty() { '{' } else { ',' });
            literal::write_element(value, array)?;
        }
    }
    if arrays.iter().any(String::is_empty) {
        return Ok(false);
    }
    sql.push(" IN (SELECT * FROM ROWS FROM (");
    for (place, (element, mut array)) in elements.iter().zip(arrays).enumerate() {
        array.push('}');
        sql.push(if place == 0 { "pg_catalog.unnest(" } else { ", pg_catalog.unnest(" });
        sql.push_value(Value::Text(array))?;
        sql.push("::");
        sql.push(element.array());
        sql.push(")");
    }
    sql.push(") AS k)");
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written of nine values or more, with the `E` and the backslashes of escape strings.
    fn check(element: Element, values: &[Value], negated: bool, expected: Option<&str>) {
        let mut sql = Sql::literal();
        let written = write(element, values.iter(), negated, &mut sql).unwrap();
        assert_eq!(written.then(|| sql.text().replace("pg_catalog.", "")).as_deref(), expected, "{element:?} {values:?}");
        assert!(written || sql.text().is_empty());
    }

    fn nine(last: Value) -> Vec<Value> {
        (1..=8).map(Value::Int).chain([last]).collect()
    }

    #[test]
    fn long_lists_are_arrays_of_the_type_that_is_compared() {
        check(Element::Int4, &nine(Value::Int(-9)), false, Some(" = ANY ('{1,2,3,4,5,6,7,8,-9}'::int4[])"));
        check(Element::Int8, &nine(Value::Int(1 << 40)), true, Some(" <> ALL ('{1,2,3,4,5,6,7,8,1099511627776}'::int8[])"));
        check(Element::Int4, &nine(Value::Int(9))[1..], false, None);
        let days = vec![Value::Date(0); 9];
        let expected = format!(" = ANY ('{{{}}}'::date[])", ["\"1970-01-01\""; 9].join(","));
        check(Element::Date, &days, false, Some(&expected));
        check(Element::Timestamp, &days, false, None);
        let texts: Vec<Value> =
            ["", "NULL", "a,b", "{}", "\"", "it's", "\\", " ", "ü"].map(|text| Value::Text(text.to_owned())).into();
        let expected = r#" = ANY ( E'{"","NULL","a,b","{}","\\"","it''s","\\\\"," ","ü"}'::text[])"#;
        check(Element::Text, &texts, false, Some(expected));
        check(Element::Uuid, &texts, false, None);
    }

    #[test]
    fn members_that_the_type_cannot_hold_are_left_out() {
        check(Element::Int4, &nine(Value::Int(1 << 40)), false, Some(" = ANY ('{1,2,3,4,5,6,7,8}'::int4[])"));
        check(Element::Int2, &nine(Value::Int(-40_000)), true, Some(" <> ALL ('{1,2,3,4,5,6,7,8}'::int2[])"));
        check(Element::Int4, &vec![Value::Int(1 << 40); 9], false, None);
        check(Element::Int4, &vec![Value::Int(1 << 40); 9], true, None);
        check(Element::Int4, &nine(Value::Text("9".to_owned())), false, None);
    }

    #[test]
    fn long_lists_of_rows_are_an_array_for_each_column() {
        let pair = |number: i64, text: &str| vec![Value::Int(number), Value::Text(text.to_owned())];
        let mut rows: Vec<Vec<Value>> = (1..=8).map(|number| pair(number, "a")).collect();
        let write = |elements: &[Element], rows: &[Vec<Value>]| {
            let mut sql = Sql::literal();
            let written = write_rows(elements, rows, &mut sql).unwrap();
            assert!(written || sql.text().is_empty());
            written.then(|| sql.text().replace("pg_catalog.", ""))
        };
        let elements = [Element::Int4, Element::Text];
        assert_eq!(write(&elements, &rows), None);
        // The type cannot hold the last one, which is then equal to nothing.
        rows.extend([pair(9, "b,c"), pair(1 << 40, "d")]);
        let expected = " IN (SELECT * FROM ROWS FROM (unnest('{1,2,3,4,5,6,7,8,9}'::int4[]), \
                        unnest('{\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"b,c\"}'::text[])) AS k)";
        assert_eq!(write(&elements, &rows).as_deref(), Some(expected));
        assert_eq!(write(&[Element::Text, Element::Text], &rows), None);
        assert_eq!(write(&[Element::Int4, Element::Text, Element::Text], &rows), None);
    }

    #[test]
    fn values_stay_one_parameter_where_they_are_bound() {
        let mut sql = Sql::bound(super::super::super::relational::Dialect::Postgres);
        assert!(write(Element::Int4, nine(Value::Int(9)).iter(), false, &mut sql).unwrap());
        assert_eq!(sql.text(), " = ANY ($1::pg_catalog.int4[])");
        assert_eq!(sql.values(), [Value::Text("{1,2,3,4,5,6,7,8,9}".to_owned())]);
        let mut hostile = vec![Value::Text(String::new()); 8];
        hostile.push(Value::Text("a\0b".to_owned()));
        assert!(write(Element::Text, hostile.iter(), false, &mut Sql::literal()).is_err());
    }
}
