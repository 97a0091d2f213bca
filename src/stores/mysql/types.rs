//! The type table: one row per native type with its Postgres type and its reader, chosen once per column.
//!
//! The readers themselves are in `reader.rs`, the functions over bytes in `decode.rs`. A type without a row, or whose row refuses
//! its declaration, is reported by discovery with its name.
//!
//! Decisions that lose nothing: `bigint unsigned` is `numeric(20,0)`; `char(n)` is `varchar(n)`, because the server strips
//! the blanks that Postgres' `char(n)` would show; `time` is `interval`, because it is a span of up to ±838:59:59 and not a
//! time of day; `year` is `integer`; `set` is `text`, as the server writes it; `enum` is `text` with its labels.

use std::ops::RangeInclusive;

use arrow::array::PrimitiveBuilder;
use arrow::datatypes::{
    DataType, Date32Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
    TimestampMicrosecondType,
};

use super::decode;
use super::options::{Settings, ZeroDate};
use super::reader::{
    Reader, bits, bytes_reader, converted_text, decimal_reader, primitive, temporal, text_reader, truths, wide_decimal_reader,
};
use crate::pgtype::{ENUM_KEY, PgField, PgType, UTC};

/// A column type as the server declares it (`COLUMN_TYPE`), taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared<'a> {
    word: &'a str,
    /// What stands between the first parentheses.
    arguments: &'a str,
    unsigned: bool,
}

impl<'a> Declared<'a> {
    /// Takes `decimal(10,2) unsigned zerofill` apart.
    pub(super) fn parse(text: &'a str) -> Self {
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        let inside = rest.strip_prefix('(').and_then(|rest| rest.rsplit_once(')'));
        let (arguments, attributes) = inside.unwrap_or(("", rest));
        Self { word, arguments, unsigned: attributes.split_whitespace().any(|attribute| attribute == "unsigned") }
    }

    fn number(&self, index: usize) -> Option<u32> {
        self.arguments.split(',').nth(index)?.trim().parse().ok()
    }

    /// The labels of an `enum`: quoted, with doubled quotes inside. The server escapes backslashes and line ends in this
    /// text even in a session with `NO_BACKSLASH_ESCAPES`.
    fn labels(&self) -> Option<Vec<String>> {
        let mut labels = Vec::new();
        let mut characters = self.arguments.chars().peekable();
        loop {
            if characters.next()? != '\'' {
                return None;
            }
            let mut label = String::new();
            loop {
                match characters.next()? {
                    '\'' if characters.peek() == Some(&'\'') => label.extend(characters.next()),
                    '\'' => break,
                    '\\' => label.push(match characters.next()? {
                        '0' => '\0',
                        'n' => '\n',
                        'r' => '\r',
                        other => other,
                    }),
                    other => label.push(other),
                }
            }
            labels.push(label);
            match characters.next() {
                None => return Some(labels),
                Some(',') => {}
                Some(_) => return None,
            }
        }
    }
}

/// What the store's options say about types.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// What a date that no calendar has becomes.
    pub(super) zero_date: ZeroDate,
    /// Whether `tinyint(1)` is a boolean.
    pub(super) tinyint1_is_bool: bool,
}

impl From<&Settings> for Policy {
    fn from(settings: &Settings) -> Self {
        Self { zero_date: settings.zero_date, tinyint1_is_bool: settings.tinyint1_is_bool }
    }
}

/// The form in which the server sends a column, told by the driver's name of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// One, two, four or eight bytes.
    Integer(u8),
    /// Four bytes.
    Float,
    /// Eight bytes.
    Double,
    /// Digits.
    Decimal,
    /// A date or a moment.
    Moment,
    /// A span.
    Span,
    /// Bits.
    Bits,
    /// Text or bytes.
    Bytes,
}

impl Wire {
    /// The form behind a driver's type name, and whether it is unsigned (`None` when the name does not tell).
    pub(super) fn of(name: &str) -> Option<(Self, Option<bool>)> {
        let (word, unsigned) = name.strip_suffix(" UNSIGNED").map_or((name, false), |word| (word, true));
        let form = match word {
            "BOOLEAN" => return Some((Self::Integer(1), None)),
            "TINYINT" => Self::Integer(1),
            "SMALLINT" => Self::Integer(2),
            "INT" | "MEDIUMINT" => Self::Integer(4),
            "BIGINT" => Self::Integer(8),
            "YEAR" => return Some((Self::Integer(2), None)),
            "FLOAT" => Self::Float,
            "DOUBLE" => Self::Double,
            "DECIMAL" => Self::Decimal,
            "DATE" | "DATETIME" | "TIMESTAMP" => Self::Moment,
            "TIME" => Self::Span,
            "BIT" => Self::Bits,
            "GEOMETRY" | "NULL" => return None,
            _ => Self::Bytes,
        };
        Some((form, Some(unsigned)))
    }
}

/// One row of the type table.
pub(super) struct NativeType {
    /// The type's word in `DATA_TYPE`.
    word: &'static str,
    /// The form in which the server sends it.
    wire: Wire,
    /// Its Postgres type; `None` refuses the declaration.
    pg_type: fn(&Declared<'_>, Policy) -> Option<PgType>,
    /// A reader for one column.
    reader: fn(&Declared<'_>, Policy) -> Option<Box<dyn Reader>>,
}

const fn row(
    word: &'static str,
    wire: Wire,
    pg_type: fn(&Declared<'_>, Policy) -> Option<PgType>,
    reader: fn(&Declared<'_>, Policy) -> Option<Box<dyn Reader>>,
) -> NativeType {
    NativeType { word, wire, pg_type, reader }
}

/// Every native type we offer. `geometry` and its kin, and MariaDB's `vector`, have no row on purpose: nothing we could
/// give for them would compare or compute as they do.
pub(super) const TYPES: &[NativeType] = &[
    row("tinyint", Wire::Integer(1), tinyint_type, tinyint_reader),
    row(
        "smallint",
        Wire::Integer(2),
        |d, _| Some(if d.unsigned { PgType::INT4 } else { PgType::INT2 }),
        |d, _| {
            Some(if d.unsigned { primitive::<Int32Type>(decode::small_unsigned) } else { primitive::<Int16Type>(decode::small) })
        },
    ),
    row("mediumint", Wire::Integer(4), |_, _| Some(PgType::INT4), |_, _| Some(primitive::<Int32Type>(decode::int))),
    row(
        "int",
        Wire::Integer(4),
        |d, _| Some(if d.unsigned { PgType::INT8 } else { PgType::INT4 }),
        |d, _| Some(if d.unsigned { primitive::<Int64Type>(decode::int_unsigned) } else { primitive::<Int32Type>(decode::int) }),
    ),
    row(
        "bigint",
        Wire::Integer(8),
        |d, _| Some(if d.unsigned { PgType::numeric(20, 0) } else { PgType::INT8 }),
        |d, _| {
            Some(if d.unsigned {
                decimal_reader(20, 0, |raw, _| decode::big_unsigned(raw))
            } else {
                primitive::<Int64Type>(decode::big)
            })
        },
    ),
    row("decimal", Wire::Decimal, decimal_type, |d, _| {
        let (precision, scale) = decimal_shape(d)?;
        Some(if precision <= 38 {
            decimal_reader(precision, scale, decode::decimal)
        } else {
            wide_decimal_reader(precision, scale)
        })
    }),
    row("float", Wire::Float, |_, _| Some(PgType::FLOAT4), |_, _| Some(primitive::<Float32Type>(decode::float))),
    row("double", Wire::Double, |_, _| Some(PgType::FLOAT8), |_, _| Some(primitive::<Float64Type>(decode::double))),
    row(
        "bit",
        Wire::Bits,
        |d, _| Some(PgType::with_typmod(PgType::BIT.oid, i32::try_from(d.number(0)?).ok()?)),
        |d, _| Some(bits(usize::try_from(d.number(0)?).ok()?)),
    ),
    row("char", Wire::Bytes, varchar_type, |_, _| Some(text_reader())),
    row("varchar", Wire::Bytes, varchar_type, |_, _| Some(text_reader())),
    row("tinytext", Wire::Bytes, text_type, |_, _| Some(text_reader())),
    row("text", Wire::Bytes, text_type, |_, _| Some(text_reader())),
    row("mediumtext", Wire::Bytes, text_type, |_, _| Some(text_reader())),
    row("longtext", Wire::Bytes, text_type, |_, _| Some(text_reader())),
    row("enum", Wire::Bytes, |d, _| d.labels().map(|_| PgType::TEXT), |_, _| Some(text_reader())),
    row("set", Wire::Bytes, text_type, |_, _| Some(text_reader())),
    row("json", Wire::Bytes, |_, _| Some(PgType::JSON), |_, _| Some(text_reader())),
    row("binary", Wire::Bytes, bytea_type, |_, _| Some(bytes_reader())),
    row("varbinary", Wire::Bytes, bytea_type, |_, _| Some(bytes_reader())),
    row("tinyblob", Wire::Bytes, bytea_type, |_, _| Some(bytes_reader())),
    row("blob", Wire::Bytes, bytea_type, |_, _| Some(bytes_reader())),
    row("mediumblob", Wire::Bytes, bytea_type, |_, _| Some(bytes_reader())),
    row("longblob", Wire::Bytes, bytea_type, |_, _| Some(bytes_reader())),
    row("uuid", Wire::Bytes, |_, _| Some(PgType::UUID), |_, _| Some(converted_text(decode::uuid))),
    row("inet4", Wire::Bytes, |_, _| Some(PgType::INET), |_, _| Some(converted_text(decode::inet))),
    row("inet6", Wire::Bytes, |_, _| Some(PgType::INET), |_, _| Some(converted_text(decode::inet))),
    row("year", Wire::Integer(2), |_, _| Some(PgType::INT4), |_, _| Some(primitive::<Int32Type>(decode::small_unsigned))),
    row(
        "date",
        Wire::Moment,
        |_, _| Some(PgType::DATE),
        |_, policy| Some(temporal::<Date32Type>(PrimitiveBuilder::new(), decode::date, policy.zero_date)),
    ),
    row(
        "datetime",
        Wire::Moment,
        |d, _| Some(moment_type(PgType::TIMESTAMP, d)),
        |_, policy| Some(temporal::<TimestampMicrosecondType>(PrimitiveBuilder::new(), decode::moment, policy.zero_date)),
    ),
    row(
        "timestamp",
        Wire::Moment,
        |d, _| Some(moment_type(PgType::TIMESTAMPTZ, d)),
        |_, policy| {
            Some(temporal::<TimestampMicrosecondType>(PrimitiveBuilder::new().with_timezone(UTC), decode::moment, policy.zero_date))
        },
    ),
    row("time", Wire::Span, |_, _| Some(PgType::INTERVAL), |_, _| Some(primitive::<IntervalMonthDayNanoType>(decode::span))),
];

/// The words of all rows.
pub(super) fn words() -> Vec<&'static str> {
    TYPES.iter().map(|row| row.word).collect()
}

fn find(declared: &Declared<'_>) -> Option<&'static NativeType> {
    TYPES.iter().find(|row| row.word == declared.word)
}

/// The Arrow field of a column, or `None` when its type is not offered. `nullable` is what the server declares; a column
/// whose dates may become NULL is nullable whatever the server says.
pub(super) fn field(name: &str, native_type: &str, nullable: bool, policy: Policy) -> Option<Field> {
    let declared = Declared::parse(native_type);
    let row = find(&declared)?;
    let pg_type = (row.pg_type)(&declared, policy)?;
    let nullable = nullable || (row.wire == Wire::Moment && policy.zero_date == ZeroDate::Null);
    let field = Field::new(name, pg_type.carrier(), nullable).with_pg_type(pg_type);
    if declared.word != "enum" {
        return Some(field);
    }
    let mut metadata = field.metadata().clone();
    metadata.insert(ENUM_KEY.to_owned(), serde_json::to_string(&declared.labels()?).ok()?);
    Some(field.with_metadata(metadata))
}

/// A reader for a column of this type.
pub(super) fn reader(native_type: &str, policy: Policy) -> Option<Box<dyn Reader>> {
    let declared = Declared::parse(native_type);
    (find(&declared)?.reader)(&declared, policy)
}

/// Whether values that the driver announces as `wire_name` have the form that the declared type is read by.
pub(super) fn agrees(native_type: &str, wire_name: &str) -> bool {
    let declared = Declared::parse(native_type);
    match (find(&declared), Wire::of(wire_name)) {
        (Some(row), Some((wire, unsigned))) => {
            let is_integer = matches!(wire, Wire::Integer(_));
            row.wire == wire && (!is_integer || unsigned.is_none_or(|unsigned| unsigned == declared.unsigned))
        }
        _ => false,
    }
}

/// Whether columns of the declared type are read into this Arrow type.
pub(super) fn carries(native_type: &str, policy: Policy, data_type: &DataType) -> bool {
    let declared = Declared::parse(native_type);
    let pg_type = find(&declared).and_then(|row| (row.pg_type)(&declared, policy));
    pg_type.is_some_and(|pg_type| pg_type.carrier() == *data_type)
}

/// Whether values of the type may be dates that no calendar has.
pub(super) fn may_be_zero_date(native_type: &str) -> bool {
    find(&Declared::parse(native_type)).is_some_and(|row| row.wire == Wire::Moment)
}

/// The numbers that an integer type can hold; `None` for other types.
pub(super) fn integer_range(native_type: &str) -> Option<RangeInclusive<i128>> {
    let declared = Declared::parse(native_type);
    let bits = match declared.word {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" => 32,
        "bigint" => 64,
        _ => return None,
    };
    let half = 1_i128 << (bits - 1);
    Some(if declared.unsigned { 0..=2 * half - 1 } else { -half..=half - 1 })
}

/// The most characters of a text, or bytes; `None` for other types and for those without a bound that could matter.
pub(super) fn length(native_type: &str) -> Option<u64> {
    let declared = Declared::parse(native_type);
    match declared.word {
        "char" | "varchar" | "binary" | "varbinary" => declared.number(0).map(u64::from),
        "tinytext" | "tinyblob" => Some(u64::from(u8::MAX)),
        "text" | "blob" => Some(u64::from(u16::MAX)),
        "enum" => declared.labels()?.iter().map(|label| label.chars().count() as u64).max(),
        _ => None,
    }
}

/// Whether the type is `year`, whose comparisons with small numbers the server bends to this century.
pub(super) fn is_year(native_type: &str) -> bool {
    Declared::parse(native_type).word == "year"
}

/// Whether the type is one of texts: labels are compared as such, and ordered by their numbers.
pub(super) fn is_plain_text(native_type: &str) -> bool {
    matches!(Declared::parse(native_type).word, "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext")
}

/// The labels of an `enum` or a `set`, in their order; `None` for other types.
pub(super) fn labels(native_type: &str) -> Option<Vec<String>> {
    let declared = Declared::parse(native_type);
    if matches!(declared.word, "enum" | "set") { declared.labels() } else { None }
}

/// Whether values of the type are several labels.
pub(super) fn is_set(native_type: &str) -> bool {
    Declared::parse(native_type).word == "set"
}

/// How many bytes every value of the type has; `None` where that differs.
pub(super) fn exact_bytes(native_type: &str) -> Option<usize> {
    let declared = Declared::parse(native_type);
    let length = if declared.word == "binary" { declared.number(0)? } else { return None };
    usize::try_from(length).ok()
}

/// How many digits of a second a `time` keeps.
pub(super) fn second_digits(native_type: &str) -> u32 {
    Declared::parse(native_type).number(0).unwrap_or(0)
}

/// Whether the type is the one that takes NULL for the moment of the change where it must not be NULL.
pub(super) fn is_timestamp(native_type: &str) -> bool {
    Declared::parse(native_type).word == "timestamp"
}

/// Whether the type holds text of any content, or bytes of any number, up to a length that the server checks.
pub(super) fn is_plain_string(native_type: &str) -> bool {
    is_plain_text(native_type)
        || matches!(Declared::parse(native_type).word, "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob")
}

/// Whether the server strips the blanks at the end of values.
pub(super) fn strips_blanks(native_type: &str) -> bool {
    Declared::parse(native_type).word == "char"
}

/// The digits behind the point to which the server rounds a float; `None` where it keeps it as it is.
pub(super) fn float_scale(native_type: &str) -> Option<u32> {
    let declared = Declared::parse(native_type);
    if matches!(declared.word, "float" | "double") { declared.number(1) } else { None }
}

/// The bytes of a text behind which the server cuts blanks although PostgreSQL would keep them; it cuts those of `varchar(n)`, too.
pub(super) fn cut_after(native_type: &str) -> Option<usize> {
    let declared = Declared::parse(native_type);
    match declared.word {
        "tinytext" => Some(usize::from(u8::MAX)),
        "text" => Some(usize::from(u16::MAX)),
        "mediumtext" => Some(16_777_215),
        "varchar" if declared.number(0) == Some(0) => Some(0),
        _ => None,
    }
}

fn is_truth(declared: &Declared<'_>, policy: Policy) -> bool {
    policy.tinyint1_is_bool && declared.arguments == "1" && !declared.unsigned
}

fn tinyint_type(declared: &Declared<'_>, policy: Policy) -> Option<PgType> {
    Some(if is_truth(declared, policy) { PgType::BOOL } else { PgType::INT2 })
}

fn tinyint_reader(declared: &Declared<'_>, policy: Policy) -> Option<Box<dyn Reader>> {
    if is_truth(declared, policy) {
        return Some(truths());
    }
    Some(primitive::<Int16Type>(if declared.unsigned { decode::tiny_unsigned } else { decode::tiny }))
}

fn decimal_shape(declared: &Declared<'_>) -> Option<(u8, i8)> {
    let precision = u8::try_from(declared.number(0)?).ok()?;
    let scale = i8::try_from(declared.number(1).unwrap_or(0)).ok()?;
    (1..=65).contains(&precision).then_some((precision, scale))
}

fn decimal_type(declared: &Declared<'_>, _policy: Policy) -> Option<PgType> {
    let (precision, scale) = decimal_shape(declared)?;
    Some(PgType::numeric(u16::from(precision), i16::from(scale)))
}

fn varchar_type(declared: &Declared<'_>, _policy: Policy) -> Option<PgType> {
    match declared.number(0)? {
        // Postgres has no varchar(0).
        0 => Some(PgType::TEXT),
        length => Some(PgType::with_typmod(PgType::VARCHAR.oid, i32::try_from(length).ok()? + 4)),
    }
}

fn text_type(_declared: &Declared<'_>, _policy: Policy) -> Option<PgType> {
    Some(PgType::TEXT)
}

fn bytea_type(_declared: &Declared<'_>, _policy: Policy) -> Option<PgType> {
    Some(PgType::BYTEA)
}

fn moment_type(plain: PgType, declared: &Declared<'_>) -> PgType {
    PgType::with_typmod(plain.oid, declared.number(0).and_then(|digits| i32::try_from(digits).ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { zero_date: ZeroDate::Error, tinyint1_is_bool: false };

    fn shown(native_type: &str, policy: Policy) -> Option<String> {
        field("c", native_type, false, policy).map(|field| field.pg_type().to_string())
    }

    #[test]
    fn every_row_gives_its_type_and_a_reader_of_its_carrier() {
        let rows = [
            ("tinyint(4)", "smallint"),
            ("tinyint(1)", "smallint"),
            ("tinyint(3) unsigned", "smallint"),
            ("smallint(6)", "smallint"),
            ("smallint unsigned", "integer"),
            ("mediumint(8) unsigned zerofill", "integer"),
            ("int", "integer"),
            ("int(10) unsigned", "bigint"),
            ("bigint(20)", "bigint"),
            ("bigint(20) unsigned", "numeric(20,0)"),
            ("decimal(10,2)", "numeric(10,2)"),
            ("decimal(65,30) unsigned", "numeric(65,30)"),
            ("decimal(38,0)", "numeric(38,0)"),
            ("float", "real"),
            ("float(7,3)", "real"),
            ("double unsigned", "double precision"),
            ("bit(10)", "bit(10)"),
            ("char(3)", "character varying(3)"),
            ("char(0)", "text"),
            ("varchar(65535)", "character varying(65535)"),
            ("tinytext", "text"),
            ("text", "text"),
            ("mediumtext", "text"),
            ("longtext", "text"),
            ("enum('a','it''s','q\"\\\\',')','')", "text"),
            ("set('x','y')", "text"),
            ("json", "json"),
            ("binary(16)", "bytea"),
            ("varbinary(5)", "bytea"),
            ("tinyblob", "bytea"),
            ("blob", "bytea"),
            ("mediumblob", "bytea"),
            ("longblob", "bytea"),
            ("uuid", "uuid"),
            ("inet4", "inet"),
            ("inet6", "inet"),
            ("year(4)", "integer"),
            ("date", "date"),
            ("datetime", "timestamp(0) without time zone"),
            ("datetime(6)", "timestamp(6) without time zone"),
            ("timestamp /* mariadb-5.3 */", "timestamp(0) with time zone"),
            ("timestamp(3)", "timestamp(3) with time zone"),
            ("time(6)", "interval"),
        ];
        for (native_type, expected) in rows {
            assert_eq!(shown(native_type, POLICY).as_deref(), Some(expected), "{native_type}");
            let field = field("c", native_type, false, POLICY).unwrap();
            let mut reader = reader(native_type, POLICY).unwrap();
            reader.push(None).unwrap();
            assert_eq!(reader.finish().data_type(), field.data_type(), "{native_type}");
            assert_eq!(reader.finish().len(), 0, "{native_type}");
        }
        for row in TYPES {
            assert!(
                rows.iter().any(|(native_type, _)| Declared::parse(native_type).word == row.word),
                "{} is not tested",
                row.word
            );
        }
    }

    #[test]
    fn what_has_no_row_is_refused() {
        for native_type in ["point", "geometry", "vector(3)", "geomcollection", ""] {
            assert_eq!(shown(native_type, POLICY), None);
            assert!(reader(native_type, POLICY).is_none());
        }
    }

    #[test]
    fn options_change_what_they_say() {
        let as_bool = Policy { tinyint1_is_bool: true, ..POLICY };
        assert_eq!(shown("tinyint(1)", as_bool).as_deref(), Some("boolean"));
        assert_eq!(shown("tinyint(4)", as_bool).as_deref(), Some("smallint"));
        assert_eq!(shown("tinyint(1) unsigned", as_bool).as_deref(), Some("smallint"));
        let as_null = Policy { zero_date: ZeroDate::Null, ..POLICY };
        assert!(field("c", "date", false, as_null).unwrap().is_nullable());
        assert!(!field("c", "date", false, POLICY).unwrap().is_nullable());
        assert!(!field("c", "time", false, as_null).unwrap().is_nullable());
        let mut lenient = reader("date", as_null).unwrap();
        lenient.push(Some(&[0])).unwrap();
        assert_eq!(lenient.finish().null_count(), 1);
        assert_eq!(reader("date", POLICY).unwrap().push(Some(&[0])).unwrap_err().sqlstate, "22008");
    }

    #[test]
    fn labels_survive_quotes_commas_and_backslashes() {
        let field = field("c", "enum('a','it''s','q\"\\\\','two\\nlines',')','')", true, POLICY).unwrap();
        assert_eq!(field.enum_labels().unwrap(), ["a", "it's", "q\"\\", "two\nlines", ")", ""]);
        assert_eq!(Declared::parse("enum('a' 'b')").labels(), None);
    }

    #[test]
    fn lengths() {
        let rows = [
            ("varchar(20)", Some(20)),
            ("char(0)", Some(0)),
            ("varbinary(7)", Some(7)),
            ("text", Some(65_535)),
            ("enum('a','äöü')", Some(3)),
            ("longtext", None),
            ("set('a','b')", None),
            ("int(11)", None),
        ];
        for (native_type, expected) in rows {
            assert_eq!(length(native_type), expected, "{native_type}");
        }
    }

    #[test]
    fn what_the_server_changes_without_a_word() {
        let rows = [
            ("char(3)", true, None, None),
            ("varchar(3)", false, None, None),
            ("varchar(0)", false, None, Some(0)),
            ("tinytext", false, None, Some(255)),
            ("longtext", false, None, None),
            ("double", false, None, None),
            ("double(5,2) unsigned", false, Some(2), None),
            ("float(7,0)", false, Some(0), None),
            ("decimal(5,2)", false, None, None),
        ];
        for (native_type, strips, scale, cut) in rows {
            let found = (strips_blanks(native_type), float_scale(native_type), cut_after(native_type));
            assert_eq!(found, (strips, scale, cut), "{native_type}");
        }
    }

    #[test]
    fn integer_ranges() {
        let rows = [
            ("tinyint(1)", Some(-128..=127)),
            ("mediumint unsigned", Some(0..=16_777_215)),
            ("bigint", Some(i128::from(i64::MIN)..=i128::from(i64::MAX))),
            ("bigint(20) unsigned", Some(0..=i128::from(u64::MAX))),
            ("year(4)", None),
            ("decimal(5,0)", None),
        ];
        for (native_type, expected) in rows {
            assert_eq!(integer_range(native_type), expected, "{native_type}");
        }
    }

    #[test]
    fn a_changed_column_is_noticed_by_its_form() {
        let rows = [
            ("int(11)", "INT", true),
            ("int(11)", "BIGINT", false),
            ("int(11)", "INT UNSIGNED", false),
            ("mediumint", "MEDIUMINT", true),
            ("tinyint(1)", "BOOLEAN", true),
            ("year(4)", "YEAR", true),
            ("varchar(5)", "ENUM", true),
            ("text", "DATE", false),
            ("date", "DATETIME", true),
            ("decimal(5,2) unsigned", "DECIMAL", true),
            ("json", "LONGTEXT", true),
        ];
        for (native_type, wire_name, expected) in rows {
            assert_eq!(agrees(native_type, wire_name), expected, "{native_type} {wire_name}");
        }
    }
}
