//! Assignment: which types a column takes without being asked (`pg_cast.castcontext` = `a` or `i`), and values on their way into one.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use datafusion::error::Result;

use super::super::datum::{Column, Datum, Writer};
use super::super::document;
use super::super::numeric::Numeric;
use super::super::overload::{is_implicit, is_string, numeric_rank};
use super::super::settings::SessionValues;
use super::super::typed::Typed;
use super::{is_object_id, one};
use crate::error::{Diagnosis, sqlstate};
use crate::format::{self, fault};
use crate::pgtype::PgType;

/// Whether a value of one type may be stored in a column of another: by an implicit cast, by one for assignment, or as its text.
pub(in crate::federation) fn is_assignable(from: &Typed, to: &Typed) -> bool {
    let (low, high) = (from.pg_type, to.pg_type);
    if from.is_unknown() {
        return true;
    }
    if low.oid == high.oid {
        return from.labels.is_none() || to.labels.is_none() || from.labels == to.labels;
    }
    if let (Some(low), Some(high)) = (low.element(), high.element()) {
        return is_assignable(&Typed { pg_type: low, labels: None }, &Typed { pg_type: high, labels: None });
    }
    if is_string(high) {
        // Everything has a text, but the one-byte `"char"` is no string to PostgreSQL's casts.
        return high.oid != PgType::CHAR.oid || is_string(low);
    }
    if numeric_rank(low).is_some() && numeric_rank(high).is_some() {
        return true;
    }
    is_implicit(low, high) || is_for_assignment(low, high)
}

/// The casts of `pg_cast` that only an assignment makes by itself, besides those between numbers and to text.
fn is_for_assignment(from: PgType, to: PgType) -> bool {
    let named = matches!(
        (from.oid, to.oid),
        (1114, 1082 | 1083)
            | (1184, 1082 | 1083 | 1114)
            | (1186, 1083)
            | (114, 3802)
            | (3802, 114)
            | (1562, 1560)
            | (20 | 23 | 1700, 790)
            | (790, 1700)
    );
    named || is_object_id(from) && matches!(to.oid, 20 | 23)
}

/// Converts a column to the type of the column that it is stored in. A literal without a type of its own is read as that type.
///
/// # Errors
/// What does not fit: 22001, 22003, 22P02, 22026, …
pub(in crate::federation) fn assign_array(array: &ArrayRef, from: &Typed, to: &Typed, session: &SessionValues) -> Result<ArrayRef> {
    if from.pg_type == to.pg_type && is_checked(from, to) && *array.data_type() == to.pg_type.carrier() {
        return Ok(Arc::clone(array));
    }
    let plain = document::plain(Arc::clone(array), Some(from), &session.display)?;
    let column = Column::new(&plain, Some(from))?;
    let mut assigned = Assigned::new(to.clone(), plain.len(), session)?;
    for row in 0..plain.len() {
        assigned.convert(from, &column.get(row))?;
    }
    assigned.finish()
}

/// Whether values of the first type are known to be among the labels of the second, where that has any.
fn is_checked(from: &Typed, to: &Typed) -> bool {
    to.labels.is_none() || from.labels == to.labels
}

/// Values of a column that is to be stored, one after the other.
pub(in crate::federation) struct Assigned<'s> {
    to: Typed,
    labels: Option<Vec<String>>,
    writer: Writer,
    session: &'s SessionValues,
}

impl<'s> Assigned<'s> {
    /// An empty column of a type, for `rows` values.
    pub(in crate::federation) fn new(to: Typed, rows: usize, session: &'s SessionValues) -> Result<Self> {
        let writer = Writer::new(&to.pg_type.carrier(), rows)?;
        let labels = to.labels.as_ref().filter(|_| to.pg_type.element().is_none());
        let labels = labels.map(|labels| serde_json::from_str(labels).unwrap_or_default());
        Ok(Self { to, labels, writer, session })
    }

    /// Adds a NULL.
    pub(in crate::federation) fn null(&mut self) -> Result<()> {
        self.writer.push(Datum::Null)
    }

    /// Adds what a quoted literal says, as the input function of the type reads it.
    pub(in crate::federation) fn text(&mut self, text: &str) -> Result<()> {
        let value = Datum::Text(Cow::Borrowed(text));
        if self.labels.is_none() && is_taken_whole(text, self.to.pg_type) {
            return self.writer.push(value);
        }
        if let Some(number) = plain_integer(text, self.to.pg_type) {
            return self.writer.push(Datum::Int(number));
        }
        self.convert(&PgType::UNKNOWN.into(), &value)
    }

    /// Adds a number as it is written, which has the smallest type that holds it ([`number_type`]).
    pub(in crate::federation) fn number(&mut self, text: &str) -> Result<()> {
        let pg_type = number_type(text);
        let value = match text.parse::<i64>() {
            Ok(number) if pg_type.oid != PgType::NUMERIC.oid => Datum::Int(number),
            _ => {
                let canonical = format::numeric::read(text)?.to_string();
                Datum::Numeric(Numeric::from_canonical(&canonical).ok_or_else(|| fault::invalid("numeric", text))?)
            }
        };
        self.convert(&pg_type.into(), &value)
    }

    /// Adds `true` or `false`.
    pub(in crate::federation) fn truth(&mut self, truth: bool) -> Result<()> {
        self.convert(&PgType::BOOL.into(), &Datum::Bool(truth))
    }

    /// Adds a row of an array that [`assign_array`] has made for this column.
    pub(in crate::federation) fn row(&mut self, array: &ArrayRef, row: usize) -> Result<()> {
        let value = Column::new(array, Some(&self.to))?.get(row);
        self.writer.push(value)
    }

    /// The collected column.
    pub(in crate::federation) fn finish(self) -> Result<ArrayRef> {
        self.writer.finish()
    }

    fn convert(&mut self, from: &Typed, value: &Datum<'_>) -> Result<()> {
        if value.is_null() {
            return self.writer.push(Datum::Null);
        }
        let literal: Typed = PgType::TEXT.into();
        let read = if from.is_unknown() { &literal } else { from };
        let converted = match self.to.pg_type.oid {
            1560 | 1562 => fitted_bits(read, &self.to, value, self.session)?,
            _ if is_kept(from.pg_type, self.to.pg_type) => value.clone(),
            _ => one(read, &self.to, value, false, self.session)?,
        };
        if let (Some(labels), Datum::Text(text)) = (&self.labels, &converted)
            && !labels.iter().any(|label| label == text)
        {
            let message = format!("invalid input value for enum: \"{text}\"");
            return Err(Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, message).into());
        }
        self.writer.push(converted)
    }
}

/// Whether a string type takes a text as it is, which its bytes may not show: a text of no more bytes has no more characters.
fn is_taken_whole(text: &str, to: PgType) -> bool {
    match (to.oid, usize::try_from(to.typmod - 4)) {
        (25, _) | (1043, Err(_)) => true,
        (1043, Ok(limit)) => text.len() <= limit,
        _ => false,
    }
}

/// A number in plain digits that its integer type holds. All else is for the type's own reader, which has the errors.
fn plain_integer(text: &str, to: PgType) -> Option<i64> {
    let limit = match to.oid {
        20 => i64::MAX,
        21 => i64::from(i16::MAX),
        23 => i64::from(i32::MAX),
        _ => return None,
    };
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // The lowest number of each type goes the long way.
    text.parse().ok().filter(|number: &i64| is_plain && (-limit..=limit).contains(number))
}

/// Whether values of the first type are values of the second as they are.
fn is_kept(from: PgType, to: PgType) -> bool {
    from == to || from.oid == to.oid && to.typmod == -1 && from.element().is_none()
}

/// The type of a number as it is written: `integer`, `bigint` or `numeric`.
pub(in crate::federation) fn number_type(text: &str) -> PgType {
    match text.parse::<i64>() {
        Ok(number) if i32::try_from(number).is_ok() => PgType::INT4,
        Ok(_) => PgType::INT8,
        Err(_) => PgType::NUMERIC,
    }
}

/// A bit string, which an assignment neither cuts nor fills up.
fn fitted_bits<'a>(from: &Typed, to: &Typed, value: &Datum<'a>, session: &SessionValues) -> Result<Datum<'a>> {
    let free: Typed = PgType::with_typmod(to.pg_type.oid, -1).into();
    let is_bits = matches!(from.pg_type.oid, 1560 | 1562);
    let bits = if is_bits { value.clone() } else { one(from, &free, value, false, session)? };
    let Ok(wanted @ 1..) = usize::try_from(to.pg_type.typmod) else { return Ok(bits) };
    let length = bits.as_text().len();
    let message = match to.pg_type.oid {
        1560 if length != wanted => format!("bit string length {length} does not match type bit({wanted})"),
        1562 if length > wanted => format!("bit string too long for type bit varying({wanted})"),
        _ => return Ok(bits),
    };
    let code = if to.pg_type.oid == PgType::BIT.oid { "22026" } else { sqlstate::STRING_DATA_RIGHT_TRUNCATION };
    Err(Diagnosis::new(code, message).into())
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};
    use arrow::datatypes::{Decimal128Type, Int16Type, Int32Type};

    use super::*;
    use crate::federation::error::diagnose;

    fn varchar(length: i32) -> PgType {
        PgType::with_typmod(PgType::VARCHAR.oid, length + 4)
    }

    #[test]
    fn plain_numbers_are_read_as_all_others_are() {
        let texts = [
            "0",
            "-0",
            "7",
            "-7",
            "007",
            "+7",
            " 7",
            "7 ",
            "",
            "-",
            "--7",
            "7_0",
            "0x10",
            "1e3",
            "32767",
            "32768",
            "-32768",
            "-32769",
            "2147483647",
            "2147483648",
            "-2147483648",
            "-2147483649",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775809",
            "١",
        ];
        let session = SessionValues::default();
        for to in [PgType::INT2, PgType::INT4, PgType::INT8] {
            for text in texts {
                let read = |whole: &dyn Fn(&mut Assigned<'_>) -> Result<()>| {
                    let mut assigned = Assigned::new(to.into(), 1, &session).unwrap();
                    whole(&mut assigned).and_then(|()| assigned.finish()).map_err(|error| diagnose(&error).message)
                };
                let long = read(&|assigned| assigned.convert(&PgType::UNKNOWN.into(), &Datum::Text(Cow::Borrowed(text))));
                assert_eq!(read(&|assigned| assigned.text(text)), long, "{to} {text:?}");
            }
        }
        assert_eq!(plain_integer("-32767", PgType::INT2), Some(-32_767));
        assert_eq!((plain_integer("32768", PgType::INT2), plain_integer("7", PgType::NUMERIC)), (None, None));
    }

    #[test]
    fn texts_come_whole_or_fitted() {
        let bounded = varchar(3);
        let padded = PgType::with_typmod(1042, 3 + 4);
        let rows: &[(PgType, &str, Result<&str, &str>)] = &[
            (PgType::TEXT, "äöü and more", Ok("äöü and more")),
            (PgType::TEXT, "", Ok("")),
            (PgType::VARCHAR, "long enough", Ok("long enough")),
            (bounded, "abc", Ok("abc")),
            (bounded, "äöü", Ok("äöü")),
            (bounded, "abc  ", Ok("abc")),
            (bounded, "ab  ", Ok("ab ")),
            (bounded, "abcd", Err("22001")),
            (bounded, "äöüß", Err("22001")),
            (padded, "a", Ok("a  ")),
            (padded, "abcd", Err("22001")),
        ];
        let session = SessionValues::default();
        for (to, text, expected) in rows {
            let mut assigned = Assigned::new((*to).into(), 1, &session).unwrap();
            let given = assigned.text(text).and_then(|()| assigned.finish());
            let given = given.map(|array| array.as_string::<i32>().value(0).to_owned());
            let given = given.map_err(|error| diagnose(&error).sqlstate);
            assert_eq!(given, expected.map(str::to_owned).map_err(str::to_owned), "{text:?} as {to}");
        }
    }

    #[test]
    fn columns_take_what_pg_cast_says() {
        let rows = [
            (PgType::INT8, PgType::INT2, true),
            (PgType::FLOAT8, PgType::numeric(10, 2), true),
            (PgType::NUMERIC, PgType::INT4, true),
            (PgType::INT4, PgType::TEXT, true),
            (PgType::BOOL, varchar(3), true),
            (PgType::JSONB, PgType::TEXT, true),
            (PgType::JSONB, PgType::JSON, true),
            (PgType::TIMESTAMPTZ, PgType::DATE, true),
            (PgType::DATE, PgType::TIMESTAMP, true),
            (PgType::INT4.array().unwrap(), PgType::INT8.array().unwrap(), true),
            (PgType::INT4.array().unwrap(), PgType::TEXT, true),
            (PgType::UNKNOWN, PgType::UUID, true),
            (PgType::TEXT, PgType::INT4, false),
            (PgType::TEXT, PgType::UUID, false),
            (PgType::TEXT, PgType::JSON, false),
            (PgType::BOOL, PgType::INT4, false),
            (PgType::INT4, PgType::BOOL, false),
            (PgType::INT4, PgType::DATE, false),
            (PgType::JSONB, PgType::INT4, false),
            (PgType::TEXT, PgType::INT4.array().unwrap(), false),
            (PgType::INT4, PgType::CHAR, false),
        ];
        for (from, to, expected) in rows {
            assert_eq!(is_assignable(&from.into(), &to.into()), expected, "{from} {to}");
        }
    }

    fn assign(array: ArrayRef, from: PgType, to: PgType) -> Result<ArrayRef> {
        assign_array(&array, &from.into(), &to.into(), &SessionValues::default())
    }

    fn refused(array: ArrayRef, from: PgType, to: PgType) -> String {
        diagnose(&assign(array, from, to).unwrap_err()).sqlstate
    }

    #[test]
    fn values_are_rounded_and_checked_and_not_cut() {
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![Some(2.5), None, Some(-0.005)]));
        let rounded = assign(Arc::clone(&numbers), PgType::FLOAT8, PgType::numeric(4, 2)).unwrap();
        assert_eq!(rounded.as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>(), [Some(250), None, Some(-1)]);
        let whole = assign(numbers, PgType::FLOAT8, PgType::INT4).unwrap();
        assert_eq!(whole.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(2), None, Some(0)]);
        let narrow = assign(Arc::new(Int32Array::from(vec![7])), PgType::INT4, PgType::INT2).unwrap();
        assert_eq!(narrow.as_primitive::<Int16Type>().value(0), 7);
        assert_eq!(refused(Arc::new(Int64Array::from(vec![40_000])), PgType::INT8, PgType::INT2), "22003");
        assert_eq!(refused(Arc::new(StringArray::from(vec!["abcd"])), PgType::TEXT, varchar(3)), "22001");
        let spaces = assign(Arc::new(StringArray::from(vec!["abc  "])), PgType::TEXT, varchar(3)).unwrap();
        assert_eq!(spaces.as_string::<i32>().value(0), "abc");
        let truth = assign(Arc::new(BooleanArray::from(vec![true])), PgType::BOOL, PgType::BOOL).unwrap();
        assert!(truth.as_boolean().value(0));
        let bits: ArrayRef = Arc::new(StringArray::from(vec!["101"]));
        assert_eq!(refused(bits, PgType::BIT, PgType::with_typmod(1560, 4)), "22026");
    }

    #[test]
    fn labels_of_an_enum_are_checked() {
        let to = Typed { pg_type: PgType::TEXT, labels: Some("[\"new\",\"paid\"]".into()) };
        let check = |text: &str, from: &Typed| {
            let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
            assign_array(&array, from, &to, &SessionValues::default()).map_err(|error| diagnose(&error).sqlstate)
        };
        assert!(check("paid", &PgType::UNKNOWN.into()).is_ok());
        assert!(check("anything", &to).is_ok(), "what comes of the same enum is one of its labels");
        assert_eq!(check("lost", &PgType::UNKNOWN.into()).unwrap_err(), "22P02");
        assert_eq!(check("lost", &PgType::TEXT.into()).unwrap_err(), "22P02");
    }

    #[test]
    fn cells_have_the_types_that_literals_have() {
        let session = SessionValues::default();
        let mut texts = Assigned::new(PgType::TEXT.into(), 4, &session).unwrap();
        for number in ["1.50", "-7", "99999999999999999999"] {
            texts.number(number).unwrap();
        }
        texts.truth(true).unwrap();
        let texts = texts.finish().unwrap();
        let texts: Vec<_> = texts.as_string::<i32>().iter().flatten().collect();
        assert_eq!(texts, ["1.50", "-7", "99999999999999999999", "true"]);
        let mut whole = Assigned::new(PgType::INT4.into(), 4, &session).unwrap();
        whole.number("2.5").unwrap();
        whole.text(" 8 ").unwrap();
        whole.null().unwrap();
        assert!(whole.text("2.5").is_err() && whole.number("2147483648").is_err());
        assert_eq!(
            [number_type("2147483647"), number_type("-2147483648"), number_type("2147483648")],
            [PgType::INT4, PgType::INT4, PgType::INT8]
        );
        assert_eq!([number_type("1e3"), number_type("9223372036854775808")], [PgType::NUMERIC, PgType::NUMERIC]);
    }
}
