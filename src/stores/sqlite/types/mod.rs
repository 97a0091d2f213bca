//! Declared SQLite types as Postgres types, and which reader takes a column's cells.
//!
//! SQLite stores any kind of value in any column; the declared type only suggests ("affinity",
//! <https://www.sqlite.org/datatype3.html>). The mapping therefore goes by declared name, then by affinity, and every cell is
//! checked when it is read ([`read`]). Conventions for moments, which SQLite stores as text or numbers, are in [`moment`].

mod decimal;
pub mod moment;
pub mod read;

pub use decimal::{Exact, exact};

use arrow::datatypes::Field;

use super::super::document::types::NATIVE_KEY;
use crate::pgtype::{PgField, PgType};

/// Field metadata: the store guarantees that every cell has the kind the type asks for (STRICT tables, rowids).
pub const PROVEN_KEY: &str = "sqlite.proven";
/// The value of [`NATIVE_KEY`] on columns whose declared type promises nothing.
pub const ANY: &str = "any";

/// Stands for the collation of a column that has neither collation nor affinity: of a view or a virtual table.
pub const OF_A_VIEW: &str = "of a view";

/// What SQLite does to values on their way into a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    /// Numbers in text become integers or reals; whole reals become integers.
    Integer,
    /// Numbers become text.
    Text,
    /// Nothing is changed.
    Blob,
    /// Numbers become reals.
    Real,
    /// As [`Affinity::Integer`].
    Numeric,
}

/// Words in a declared type that give it an affinity, in the order in which SQLite looks for them (datatype3.html, 3.1).
const WORDS: &[(&str, Affinity)] = &[
    ("INT", Affinity::Integer),
    ("CHAR", Affinity::Text),
    ("CLOB", Affinity::Text),
    ("TEXT", Affinity::Text),
    ("BLOB", Affinity::Blob),
    ("REAL", Affinity::Real),
    ("FLOA", Affinity::Real),
    ("DOUB", Affinity::Real),
];

/// The affinity of a declared type, by SQLite's own rule.
pub fn affinity(declared: &str) -> Affinity {
    if declared.is_empty() {
        return Affinity::Blob;
    }
    let upper = declared.to_ascii_uppercase();
    WORDS.iter().find(|(word, _)| upper.contains(word)).map_or(Affinity::Numeric, |(_, affinity)| *affinity)
}

/// Type names with a meaning of their own; others go by affinity.
const NAMES: &[(&[&str], PgType)] = &[
    (&["BOOLEAN", "BOOL"], PgType::BOOL),
    (&["NUMERIC", "DECIMAL", "DEC", "NUM", "NUMBER"], PgType::NUMERIC),
    (&["BYTEA", "BINARY", "VARBINARY"], PgType::BYTEA),
    (&["DATE"], PgType::DATE),
    (&["TIME", "TIME WITHOUT TIME ZONE"], PgType::TIME),
    (&["DATETIME", "TIMESTAMP", "TIMESTAMP WITHOUT TIME ZONE"], PgType::TIMESTAMP),
    (&["TIMESTAMPTZ", "DATETIMETZ", "TIMESTAMP WITH TIME ZONE"], PgType::TIMESTAMPTZ),
    (&["JSON", "JSONB"], PgType::JSON),
    (&["UUID", "GUID"], PgType::UUID),
];

/// The names, and the words that give other names their affinity.
pub fn words() -> Vec<&'static str> {
    NAMES.iter().flat_map(|(names, _)| *names).copied().chain(WORDS.iter().map(|(word, _)| *word)).collect()
}

/// The Postgres type of a declared type; `None` when it promises nothing (no type, or an unknown name), so that cells of any
/// kind are read as text.
pub fn pg_type(declared: &str) -> Option<PgType> {
    let upper = declared.to_ascii_uppercase();
    let (name, shape) = match upper.split_once('(') {
        Some((name, rest)) => (name, rest.split(')').next()),
        None => (upper.as_str(), None),
    };
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((_, named)) = NAMES.iter().find(|(names, _)| names.contains(&name.as_str())) {
        return Some(if *named == PgType::NUMERIC { numeric(shape) } else { *named });
    }
    match affinity(declared) {
        Affinity::Integer => Some(PgType::INT8),
        Affinity::Text => Some(PgType::TEXT),
        Affinity::Real => Some(PgType::FLOAT8),
        Affinity::Blob if !declared.is_empty() => Some(PgType::BYTEA),
        Affinity::Blob | Affinity::Numeric => None,
    }
}

/// `(10, 2)` and `(10)`; a shape that Postgres would refuse leaves the type unconstrained.
fn numeric(shape: Option<&str>) -> PgType {
    let Some(shape) = shape else { return PgType::NUMERIC };
    let (precision, scale) = shape.split_once(',').unwrap_or((shape, "0"));
    match (precision.trim().parse::<u16>(), scale.trim().parse::<i16>()) {
        (Ok(precision @ 1..=1000), Ok(scale)) if (0..=i16::try_from(precision).unwrap_or(0)).contains(&scale) => {
            PgType::numeric(precision, scale)
        }
        _ => PgType::NUMERIC,
    }
}

/// The Arrow field of a column.
pub fn field(name: &str, declared: &str, nullable: bool, proven: bool) -> Field {
    let known = pg_type(declared);
    let pg_type = known.unwrap_or(PgType::TEXT);
    let mut marks = Vec::new();
    if known.is_none() {
        marks.push((NATIVE_KEY.to_owned(), ANY.to_owned()));
    }
    if proven {
        marks.push((PROVEN_KEY.to_owned(), "yes".to_owned()));
    }
    Field::new(name, pg_type.carrier(), nullable).with_metadata(marks.into_iter().collect()).with_pg_type(pg_type)
}

/// Whether the column takes cells of any kind as text.
pub fn is_any(field: &Field) -> bool {
    field.metadata().get(NATIVE_KEY).is_some_and(|native| native == ANY)
}

/// Whether the store guarantees the kind of every cell.
pub fn is_proven(field: &Field) -> bool {
    field.metadata().contains_key(PROVEN_KEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_map_by_name_and_then_by_affinity() {
        let rows = [
            ("INTEGER", Some(PgType::INT8)),
            ("tinyint(1)", Some(PgType::INT8)),
            ("UNSIGNED BIG INT", Some(PgType::INT8)),
            ("boolean", Some(PgType::BOOL)),
            ("VARCHAR(20)", Some(PgType::TEXT)),
            ("native character(70)", Some(PgType::TEXT)),
            ("CLOB", Some(PgType::TEXT)),
            ("double  precision", Some(PgType::FLOAT8)),
            ("FLOAT", Some(PgType::FLOAT8)),
            ("BLOB", Some(PgType::BYTEA)),
            ("bytea", Some(PgType::BYTEA)),
            ("DECIMAL(10,2)", Some(PgType::numeric(10, 2))),
            ("decimal( 5 )", Some(PgType::numeric(5, 0))),
            ("NUMERIC(2,5)", Some(PgType::NUMERIC)),
            ("NUMERIC", Some(PgType::NUMERIC)),
            ("DATE", Some(PgType::DATE)),
            ("datetime", Some(PgType::TIMESTAMP)),
            ("timestamp with time zone", Some(PgType::TIMESTAMPTZ)),
            ("JSONB", Some(PgType::JSON)),
            ("uuid", Some(PgType::UUID)),
            ("STRING", None),
            ("", None),
            ("POINT", Some(PgType::INT8)),
        ];
        for (declared, expected) in rows {
            assert_eq!(pg_type(declared), expected, "{declared}");
        }
    }

    #[test]
    fn affinity_follows_the_order_of_the_manual() {
        let rows = [
            ("CHARINT", Affinity::Integer),
            ("FLOATING POINT", Affinity::Integer),
            ("DECIMAL(10,5)", Affinity::Numeric),
            ("UUID", Affinity::Numeric),
            ("", Affinity::Blob),
            ("longtext", Affinity::Text),
        ];
        for (declared, expected) in rows {
            assert_eq!(affinity(declared), expected, "{declared}");
        }
    }
}
