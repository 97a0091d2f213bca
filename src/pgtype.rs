//! Postgres types as clients see them, and the Arrow type that carries each one inside the engine.
//!
//! An Arrow type alone cannot tell `uuid` from `text` or `jsonb` from `json`, so the catalog marks columns with field
//! metadata ([`TYPE_KEY`]) and one pass over the analysed plan (`federation/types.rs`) derives the type of every output.
//!
//! **Invariant:** for each type, [`PgType::carrier`] holds every value the type can have, or the connector refuses the
//! value by name. A carrier that does not compare like its type is marked by [`PgType::is_opaque`].

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};

/// Field metadata: `oid:typmod` of the Postgres type.
pub const TYPE_KEY: &str = "pg.type";
/// Field metadata: the labels of an enum in order, as a JSON array of strings.
pub const ENUM_KEY: &str = "pg.enum";
/// The time zone written in the Arrow type of every `timestamptz`.
pub const UTC: &str = "UTC";
/// The carrier of `timestamp 'infinity'` and `date 'infinity'` is the largest value, of `-infinity` the smallest but one
/// for `date` as PostgreSQL itself does (`DATEVAL_NOEND` = i32::MAX, `DATEVAL_NOBEGIN` = i32::MIN; `DT_NOEND`, `DT_NOBEGIN`).
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;
/// See [`TIMESTAMP_INFINITY`].
pub const TIMESTAMP_NEGATIVE_INFINITY: i64 = i64::MIN;
/// See [`TIMESTAMP_INFINITY`].
pub const DATE_INFINITY: i32 = i32::MAX;
/// See [`TIMESTAMP_INFINITY`].
pub const DATE_NEGATIVE_INFINITY: i32 = i32::MIN;

/// A Postgres type with its modifier, as `RowDescription` and `pg_attribute` give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PgType {
    /// The type's object id in `pg_type`.
    pub oid: u32,
    /// `atttypmod`; -1 when the type has none.
    pub typmod: i32,
}

/// One row of the table of built-in types.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    /// `pg_type.oid`
    pub oid: u32,
    /// `pg_type.oid` of the array over this type.
    pub array_oid: u32,
    /// `pg_type.typname`
    pub name: &'static str,
    /// The name that `format_type` and error messages use.
    pub sql_name: &'static str,
    /// `pg_type.typlen`
    pub len: i16,
    /// `pg_type.typcategory`
    pub category: char,
}

const fn row(oid: u32, array_oid: u32, name: &'static str, sql_name: &'static str, len: i16, category: char) -> Builtin {
    Builtin { oid, array_oid, name, sql_name, len, category }
}

/// The scalar types Tributary knows (values of PostgreSQL's `pg_type.dat`).
pub const BUILTINS: &[Builtin] = &[
    row(16, 1000, "bool", "boolean", 1, 'B'),
    row(17, 1001, "bytea", "bytea", -1, 'U'),
    row(18, 1002, "char", "\"char\"", 1, 'Z'),
    row(19, 1003, "name", "name", 64, 'S'),
    row(20, 1016, "int8", "bigint", 8, 'N'),
    row(21, 1005, "int2", "smallint", 2, 'N'),
    row(22, 1006, "int2vector", "int2vector", -1, 'A'),
    row(23, 1007, "int4", "integer", 4, 'N'),
    row(24, 1008, "regproc", "regproc", 4, 'N'),
    row(25, 1009, "text", "text", -1, 'S'),
    row(26, 1028, "oid", "oid", 4, 'N'),
    row(28, 1011, "xid", "xid", 4, 'U'),
    row(30, 1013, "oidvector", "oidvector", -1, 'A'),
    row(114, 199, "json", "json", -1, 'U'),
    row(142, 143, "xml", "xml", -1, 'U'),
    row(600, 1017, "point", "point", 16, 'G'),
    row(601, 1018, "lseg", "lseg", 32, 'G'),
    row(602, 1019, "path", "path", -1, 'G'),
    row(603, 1020, "box", "box", 32, 'G'),
    row(604, 1027, "polygon", "polygon", -1, 'G'),
    row(628, 629, "line", "line", 24, 'G'),
    row(650, 651, "cidr", "cidr", -1, 'I'),
    row(700, 1021, "float4", "real", 4, 'N'),
    row(701, 1022, "float8", "double precision", 8, 'N'),
    row(705, 0, "unknown", "unknown", -2, 'X'),
    row(718, 719, "circle", "circle", 24, 'G'),
    row(774, 775, "macaddr8", "macaddr8", 8, 'U'),
    row(790, 791, "money", "money", 8, 'N'),
    row(829, 1040, "macaddr", "macaddr", 6, 'U'),
    row(869, 1041, "inet", "inet", -1, 'I'),
    row(1042, 1014, "bpchar", "character", -1, 'S'),
    row(1043, 1015, "varchar", "character varying", -1, 'S'),
    row(1082, 1182, "date", "date", 4, 'D'),
    row(1083, 1183, "time", "time without time zone", 8, 'D'),
    row(1114, 1115, "timestamp", "timestamp without time zone", 8, 'D'),
    row(1184, 1185, "timestamptz", "timestamp with time zone", 8, 'D'),
    row(1186, 1187, "interval", "interval", 16, 'T'),
    row(1266, 1270, "timetz", "time with time zone", 12, 'D'),
    row(1560, 1561, "bit", "bit", -1, 'V'),
    row(1562, 1563, "varbit", "bit varying", -1, 'V'),
    row(1700, 1231, "numeric", "numeric", -1, 'N'),
    row(2205, 2210, "regclass", "regclass", 4, 'N'),
    row(2206, 2211, "regtype", "regtype", 4, 'N'),
    row(2249, 2287, "record", "record", -1, 'P'),
    row(2278, 0, "void", "void", 4, 'P'),
    row(2950, 2951, "uuid", "uuid", 16, 'U'),
    row(3220, 3221, "pg_lsn", "pg_lsn", 8, 'U'),
    row(3614, 3643, "tsvector", "tsvector", -1, 'U'),
    row(3615, 3645, "tsquery", "tsquery", -1, 'U'),
    row(3802, 3807, "jsonb", "jsonb", -1, 'U'),
    row(3904, 3905, "int4range", "int4range", -1, 'R'),
    row(3906, 3907, "numrange", "numrange", -1, 'R'),
    row(3908, 3909, "tsrange", "tsrange", -1, 'R'),
    row(3910, 3911, "tstzrange", "tstzrange", -1, 'R'),
    row(3912, 3913, "daterange", "daterange", -1, 'R'),
    row(3926, 3927, "int8range", "int8range", -1, 'R'),
    row(4072, 4073, "jsonpath", "jsonpath", -1, 'U'),
    row(4089, 4090, "regnamespace", "regnamespace", 4, 'N'),
    row(4096, 4097, "regrole", "regrole", 4, 'N'),
];

/// Finds a scalar type by its oid.
pub fn builtin(oid: u32) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|row| row.oid == oid)
}

/// Finds a scalar type by `typname`.
pub fn builtin_by_name(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|row| row.name == name)
}

macro_rules! named_types {
    ($($(#[$doc:meta])* $name:ident = $oid:literal;)*) => {
        impl PgType { $($(#[$doc])* pub const $name: PgType = PgType { oid: $oid, typmod: -1 };)* }
    };
}

named_types! {
    /// `boolean`
    BOOL = 16;
    /// `bytea`
    BYTEA = 17;
    /// `"char"`
    CHAR = 18;
    /// `name`
    NAME = 19;
    /// `bigint`
    INT8 = 20;
    /// `smallint`
    INT2 = 21;
    /// `integer`
    INT4 = 23;
    /// `text`
    TEXT = 25;
    /// `oid`
    OID = 26;
    /// `json`
    JSON = 114;
    /// `real`
    FLOAT4 = 700;
    /// `double precision`
    FLOAT8 = 701;
    /// a literal or parameter whose type is not known yet
    UNKNOWN = 705;
    /// `cidr`
    CIDR = 650;
    /// `inet`
    INET = 869;
    /// `character(n)`, blank-padded
    BPCHAR = 1042;
    /// `character varying(n)`
    VARCHAR = 1043;
    /// `date`
    DATE = 1082;
    /// `time without time zone`
    TIME = 1083;
    /// `timestamp without time zone`
    TIMESTAMP = 1114;
    /// `timestamp with time zone`
    TIMESTAMPTZ = 1184;
    /// `interval`
    INTERVAL = 1186;
    /// `time with time zone`
    TIMETZ = 1266;
    /// `bit(n)`
    BIT = 1560;
    /// `bit varying(n)`
    VARBIT = 1562;
    /// `numeric`
    NUMERIC = 1700;
    /// `regclass`
    REGCLASS = 2205;
    /// `regtype`
    REGTYPE = 2206;
    /// a row value
    RECORD = 2249;
    /// no value
    VOID = 2278;
    /// `uuid`
    UUID = 2950;
    /// `jsonb`
    JSONB = 3802;
    /// `regnamespace`
    REGNAMESPACE = 4089;
}

/// The fields of a constrained `interval`, as bits of its modifier.
pub mod interval_field {
    /// `MONTH`
    pub const MONTH: u16 = 1 << 1;
    /// `YEAR`
    pub const YEAR: u16 = 1 << 2;
    /// `DAY`
    pub const DAY: u16 = 1 << 3;
    /// `HOUR`
    pub const HOUR: u16 = 1 << 10;
    /// `MINUTE`
    pub const MINUTE: u16 = 1 << 11;
    /// `SECOND`
    pub const SECOND: u16 = 1 << 12;
    /// No field is left out.
    pub const ALL: u16 = 0x7fff;
}

impl PgType {
    /// A type with a modifier.
    pub const fn with_typmod(oid: u32, typmod: i32) -> Self {
        Self { oid, typmod }
    }

    /// `numeric(precision, scale)`; the modifier packs both as `((precision << 16) | scale) + 4`.
    pub const fn numeric(precision: u16, scale: i16) -> Self {
        Self { oid: 1700, typmod: (((precision as i32) << 16) | ((scale as i32) & 0x7ff)) + 4 }
    }

    /// `interval` of some fields only, with at most `digits` digits of a second. `fields` is a mask of [`interval_field`];
    /// the modifier packs both as `INTERVAL_TYPMOD` does.
    pub const fn interval(fields: u16, digits: Option<u8>) -> Self {
        let digits = match digits {
            Some(digits) if digits < 6 => digits as i32,
            Some(_) => 6,
            None if fields == interval_field::ALL => return Self::INTERVAL,
            None => 0xffff,
        };
        Self { oid: 1186, typmod: ((fields as i32 & 0x7fff) << 16) | digits }
    }

    /// Fields and digits of a constrained `interval`.
    pub fn interval_shape(self) -> Option<(u16, Option<u8>)> {
        if self.oid != 1186 || self.typmod < 0 {
            return None;
        }
        let fields = u16::try_from((self.typmod >> 16) & 0x7fff).ok()?;
        Some((fields, u8::try_from(self.typmod & 0xffff).ok().filter(|digits| *digits <= 6)))
    }

    /// Precision and scale of a constrained `numeric`.
    pub fn numeric_shape(self) -> Option<(u16, i16)> {
        if self.oid != 1700 || self.typmod < 4 {
            return None;
        }
        let packed = self.typmod - 4;
        let scale = ((packed & 0x7ff) ^ 1024) - 1024;
        Some((u16::try_from((packed >> 16) & 0xffff).ok()?, i16::try_from(scale).ok()?))
    }

    /// The array type over this type, or `None` when Postgres has none.
    pub fn array(self) -> Option<Self> {
        let row = builtin(self.oid)?;
        (row.array_oid != 0).then_some(Self { oid: row.array_oid, typmod: self.typmod })
    }

    /// Whether it is one of the catalog's own array types, `int2vector` and `oidvector`: their text has blanks and no braces.
    pub fn is_vector(self) -> bool {
        matches!(self.oid, 22 | 30)
    }

    /// The element type when this is an array type.
    pub fn element(self) -> Option<Self> {
        match self.oid {
            22 => return Some(Self::INT2),
            30 => return Some(Self::OID),
            _ => {}
        }
        BUILTINS
            .iter()
            .find(|row| row.array_oid != 0 && row.array_oid == self.oid)
            .map(|row| Self { oid: row.oid, typmod: self.typmod })
    }

    /// `pg_type.typlen`; -1 for types of variable length.
    pub fn typlen(self) -> i16 {
        builtin(self.oid).map_or(-1, |row| row.len)
    }

    /// The Arrow type that carries values of this type.
    ///
    /// `numeric` without modifier, or wider than 76 digits, travels as canonical text; so do `uuid` (lower case, dashed),
    /// `json`, `jsonb`, `inet`, `bit` and every type without an Arrow equal. `oid` and the `reg…` types travel as `Int64`.
    pub fn carrier(self) -> DataType {
        if let Some(element) = self.element() {
            // The item carries no type of its own: the engine drops its metadata in scalars, and lists that differ in it are
            // different types to Arrow. The type of the elements follows from that of the array.
            return DataType::List(Arc::new(Field::new("item", element.carrier(), true)));
        }
        match self.oid {
            16 => DataType::Boolean,
            17 => DataType::Binary,
            20 | 24 | 26 | 2205 | 2206 | 4089 | 4096 => DataType::Int64,
            21 => DataType::Int16,
            23 => DataType::Int32,
            700 => DataType::Float32,
            701 => DataType::Float64,
            1082 => DataType::Date32,
            1083 => DataType::Time64(TimeUnit::Microsecond),
            1114 => DataType::Timestamp(TimeUnit::Microsecond, None),
            1184 => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            1186 => DataType::Interval(IntervalUnit::MonthDayNano),
            1700 => numeric_carrier(self.numeric_shape()),
            _ => DataType::Utf8,
        }
    }

    /// Whether the carrier compares, hashes or adds differently from the type itself, so that those operations need a
    /// typed function (issue "Foundation", Types). Display and `IS NULL` are always safe.
    pub fn is_opaque(self) -> bool {
        if let Some(element) = self.element() {
            return element.is_opaque();
        }
        match self.oid {
            1700 => self.carrier() == DataType::Utf8,
            16 | 17 | 18 | 19 | 20 | 21 | 23 | 24 | 25 | 26 | 700 | 701 | 705 | 1043 | 1082 | 1083 | 1114 | 1184 | 2205 | 2206
            | 2950 | 4089 | 4096 => false,
            _ => true,
        }
    }

    /// The type a bare Arrow value has for a client.
    pub fn from_arrow(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::BOOL,
            DataType::Int8 | DataType::UInt8 | DataType::Int16 => Self::INT2,
            DataType::UInt16 | DataType::Int32 => Self::INT4,
            DataType::UInt32 | DataType::Int64 => Self::INT8,
            DataType::UInt64 => Self::numeric(20, 0),
            DataType::Float16 | DataType::Float32 => Self::FLOAT4,
            DataType::Float64 => Self::FLOAT8,
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => {
                Self::numeric(u16::from(*p), i16::from(*s))
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => Self::BYTEA,
            DataType::Date32 | DataType::Date64 => Self::DATE,
            DataType::Time32(_) | DataType::Time64(_) => Self::TIME,
            DataType::Timestamp(_, None) => Self::TIMESTAMP,
            DataType::Timestamp(_, Some(_)) => Self::TIMESTAMPTZ,
            DataType::Interval(_) | DataType::Duration(_) => Self::INTERVAL,
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                item.pg_type().array().unwrap_or(Self::TEXT)
            }
            DataType::Dictionary(_, value) => Self::from_arrow(value),
            DataType::Struct(_) | DataType::Map(_, _) => Self::JSON,
            _ => Self::TEXT,
        }
    }

    /// `typname` of the type; arrays have a leading underscore.
    pub fn name(self) -> String {
        match (builtin(self.oid), self.element()) {
            (Some(row), _) => row.name.to_owned(),
            (None, Some(element)) => format!("_{}", element.name()),
            (None, None) => format!("type {}", self.oid),
        }
    }
}

fn numeric_carrier(shape: Option<(u16, i16)>) -> DataType {
    match shape {
        Some((precision, scale)) if scale >= 0 && scale as u16 <= precision => match (u8::try_from(precision), i8::try_from(scale))
        {
            (Ok(precision @ 1..=38), Ok(scale)) => DataType::Decimal128(precision, scale),
            (Ok(precision @ 39..=76), Ok(scale)) => DataType::Decimal256(precision, scale),
            _ => DataType::Utf8,
        },
        _ => DataType::Utf8,
    }
}

impl fmt::Display for PgType {
    /// The name `format_type` gives: `numeric(10,2)`, `character varying(20)`, `integer[]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(element) = self.element() {
            return write!(f, "{element}[]");
        }
        let Some(row) = builtin(self.oid) else { return write!(f, "type {}", self.oid) };
        match (self.oid, self.typmod) {
            (_, -1) => f.write_str(row.sql_name),
            (1700, _) => match self.numeric_shape() {
                Some((precision, scale)) => write!(f, "numeric({precision},{scale})"),
                None => f.write_str(row.sql_name),
            },
            (1042 | 1043, typmod) => write!(f, "{}({})", row.sql_name, typmod - 4),
            (1560 | 1562, typmod) => write!(f, "{}({typmod})", row.sql_name),
            (1083, typmod) => write!(f, "time({typmod}) without time zone"),
            (1114, typmod) => write!(f, "timestamp({typmod}) without time zone"),
            (1184, typmod) => write!(f, "timestamp({typmod}) with time zone"),
            (1266, typmod) => write!(f, "time({typmod}) with time zone"),
            (1186, _) => write_interval(self.interval_shape(), f),
            _ => f.write_str(row.sql_name),
        }
    }
}

fn write_interval(shape: Option<(u16, Option<u8>)>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use interval_field::{DAY, HOUR, MINUTE, MONTH, SECOND, YEAR};
    const NAMES: [(u16, &str); 6] =
        [(YEAR, "year"), (MONTH, "month"), (DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (SECOND, "second")];
    let (fields, digits) = shape.unwrap_or((interval_field::ALL, None));
    f.write_str("interval")?;
    if fields != interval_field::ALL {
        let mut named = NAMES.iter().filter(|(bit, _)| fields & bit != 0).map(|(_, name)| name);
        match (named.next(), named.next_back()) {
            (Some(first), Some(last)) => write!(f, " {first} to {last}")?,
            (Some(only), None) => write!(f, " {only}")?,
            _ => {}
        }
    }
    digits.map_or(Ok(()), |digits| write!(f, "({digits})"))
}

/// Reads and writes the Postgres type of an Arrow field.
pub trait PgField {
    /// The type the catalog marked the field with, else what its Arrow type means.
    fn pg_type(&self) -> PgType;
    /// The same field, marked.
    #[must_use]
    fn with_pg_type(self, pg_type: PgType) -> Self;
    /// The labels of an enum field, in order.
    fn enum_labels(&self) -> Option<Vec<String>>;
}

impl PgField for Field {
    fn pg_type(&self) -> PgType {
        self.metadata().get(TYPE_KEY).and_then(|mark| parse_mark(mark)).unwrap_or_else(|| PgType::from_arrow(self.data_type()))
    }

    fn with_pg_type(self, pg_type: PgType) -> Self {
        let mut metadata: HashMap<String, String> = self.metadata().clone();
        metadata.insert(TYPE_KEY.to_owned(), format!("{}:{}", pg_type.oid, pg_type.typmod));
        self.with_metadata(metadata)
    }

    fn enum_labels(&self) -> Option<Vec<String>> {
        serde_json::from_str(self.metadata().get(ENUM_KEY)?).ok()
    }
}

fn parse_mark(mark: &str) -> Option<PgType> {
    let (oid, typmod) = mark.split_once(':')?;
    Some(PgType { oid: oid.parse().ok()?, typmod: typmod.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_format_type() {
        let rows = [
            (PgType::numeric(10, 2), "numeric(10,2)"),
            (PgType::numeric(5, -2), "numeric(5,-2)"),
            (PgType::with_typmod(1043, 24), "character varying(20)"),
            (PgType::INT4.array().unwrap(), "integer[]"),
            (PgType::TIMESTAMPTZ, "timestamp with time zone"),
            (PgType::interval(interval_field::DAY, None), "interval day"),
            (PgType::interval(interval_field::ALL, Some(3)), "interval(3)"),
            (PgType::interval(interval_field::ALL, None), "interval"),
            (
                PgType::interval(
                    interval_field::DAY | interval_field::HOUR | interval_field::MINUTE | interval_field::SECOND,
                    Some(2),
                ),
                "interval day to second(2)",
            ),
        ];
        for (pg_type, expected) in rows {
            assert_eq!(pg_type.to_string(), expected);
        }
    }

    #[test]
    fn marks_survive_a_round_trip_and_oids_are_unique() {
        for row in BUILTINS {
            let pg_type = PgType::with_typmod(row.oid, 7);
            let field = Field::new("f", pg_type.carrier(), true).with_pg_type(pg_type);
            assert_eq!(field.pg_type(), pg_type);
            assert_eq!(
                BUILTINS.iter().filter(|other| other.oid == row.oid || other.array_oid == row.oid).count(),
                1,
                "{}",
                row.name
            );
        }
    }

    #[test]
    fn numeric_shapes_choose_their_carriers() {
        assert_eq!(PgType::numeric(38, 10).carrier(), DataType::Decimal128(38, 10));
        assert_eq!(PgType::numeric(76, 0).carrier(), DataType::Decimal256(76, 0));
        assert_eq!(PgType::NUMERIC.carrier(), DataType::Utf8);
        assert!(PgType::NUMERIC.is_opaque());
        assert_eq!(PgType::numeric(5, -2).carrier(), DataType::Utf8);
        assert_eq!(PgType::numeric(3, -2).numeric_shape(), Some((3, -2)));
    }
}
