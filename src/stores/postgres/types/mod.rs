//! The type table of PostgreSQL stores: for each native type how it is selected, what carries it, and how its binary form
//! becomes Arrow values. The forms are those of the types' `…send` functions (PostgreSQL source, `src/backend/utils/adt`).
//!
//! ```text
//! discovery: NativeType → map → Field (carrier, Postgres type, form)
//! scan:      Field → select (SQL expression) and decoder (chosen once per column) → values → Arrow array
//! relay:     Field and the client's format → way (chosen once per column) → values as the client gets them
//! ```
//!
//! **Invariants:** a decoder takes any bytes and never panics; a value that its carrier cannot hold is refused by name, never
//! rounded, cut or replaced. Types without a row in [`ROWS`] travel in their text form, which is exact by definition.

mod decoder;
mod list;
mod network;
mod numeric;
mod scalar;
mod text;
mod wire;

use arrow::datatypes::{DataType, Field};

pub(super) use decoder::{Broken, Decoder};
pub(super) use wire::Way;

use crate::pgtype::{ENUM_KEY, PgField, PgType, builtin};

/// Field metadata of this connector: how the column is selected, one of [`Form`]'s words. Absent means binary.
const FORM_KEY: &str = "postgres.form";

/// Field metadata of this connector: present where the server must not compare text for us.
const COMPARISON_KEY: &str = "postgres.comparison";

/// Marks a text column of a database whose encoding is not UTF-8: the server compares by other bytes than the engine, and a
/// literal may have no equal in that encoding.
pub(super) fn without_text_comparison(mut field: Field) -> Field {
    if field.data_type() == &DataType::Utf8 {
        let mut metadata = field.metadata().clone();
        metadata.insert(COMPARISON_KEY.to_owned(), "none".to_owned());
        field.set_metadata(metadata);
    }
    field
}

/// Whether the server may compare text of this column for us.
pub(super) fn compares_text(field: &Field) -> bool {
    !field.metadata().contains_key(COMPARISON_KEY)
}

/// Field metadata of this connector: present on fields of documents in a `jsonb` column.
const JSONB_KEY: &str = "postgres.jsonb";

/// A field of a document, marked with what the JSON column is that it comes from.
pub(super) fn document_field(field: Field, from: &Field) -> Field {
    let mut metadata = field.metadata().clone();
    if !compares_text(from) {
        metadata.insert(COMPARISON_KEY.to_owned(), "none".to_owned());
    }
    if from.pg_type() == PgType::JSONB {
        metadata.insert(JSONB_KEY.to_owned(), "yes".to_owned());
    }
    field.with_metadata(metadata)
}

/// Whether the field comes from a `jsonb` column.
pub(super) fn is_jsonb(field: &Field) -> bool {
    field.metadata().contains_key(JSONB_KEY)
}

/// The JSON text in a binary `json` or, after its version byte, `jsonb`.
///
/// # Errors
/// Another version of the binary form.
pub(super) fn json_text(bytes: &[u8], is_jsonb: bool) -> Result<&[u8], Broken> {
    match bytes {
        [1, text @ ..] if is_jsonb => Ok(text),
        _ if is_jsonb => Err(Broken::malformed()),
        text => Ok(text),
    }
}

/// How a column is written in the select list of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is, in the type's binary form.
    Binary,
    /// `column::text`.
    Text,
    /// `column::text[]`: an array whose elements travel as text.
    TextArray,
}

impl Form {
    fn word(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Text => "text",
            Self::TextArray => "text[]",
        }
    }

    /// The form a discovered column is selected in.
    pub(super) fn of(field: &Field) -> Self {
        match field.metadata().get(FORM_KEY).map(String::as_str) {
            Some("text") => Self::Text,
            Some("text[]") => Self::TextArray,
            _ => Self::Binary,
        }
    }

    /// The cast that follows the column's name in the select list.
    pub(super) fn cast(self) -> &'static str {
        match self {
            Self::Binary => "",
            Self::Text => "::pg_catalog.text",
            Self::TextArray => "::pg_catalog.text[]",
        }
    }
}

/// A column's type as `pg_type` describes it, domains already followed down to their base type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NativeType {
    /// `pg_type.oid`
    pub oid: u32,
    /// `atttypmod`, or the domain's `typtypmod`.
    pub typmod: i32,
    /// `pg_type.typtype`: `b`ase, `c`omposite, `e`num, `r`ange, `m`ultirange, `p`seudo.
    pub kind: char,
    /// The element type of a true array.
    pub element: Option<Box<NativeType>>,
    /// The labels of an enum in their order.
    pub labels: Vec<String>,
}

/// The Arrow field of a column of a native type.
///
/// # Errors
/// The reason, as a clause, why the type has no values that could be read.
pub(super) fn map(name: &str, native: &NativeType, nullable: bool) -> Result<Field, &'static str> {
    if native.kind == 'p' {
        return Err("is a pseudo-type, which has no values");
    }
    let (pg_type, form, labels) = match &native.element {
        Some(element) => map_array(element),
        None => {
            let (pg_type, form) = map_scalar(native);
            (pg_type, form, &native.labels)
        }
    };
    let mut field = Field::new(name, pg_type.carrier(), nullable).with_pg_type(pg_type);
    let mut metadata = field.metadata().clone();
    if form != Form::Binary {
        metadata.insert(FORM_KEY.to_owned(), form.word().to_owned());
    }
    if !labels.is_empty() {
        let labels = serde_json::Value::from(labels.clone());
        metadata.insert(ENUM_KEY.to_owned(), labels.to_string());
    }
    field.set_metadata(metadata);
    Ok(field)
}

/// Enums are offered as `text` with their labels beside: their binary form is the label, but their order is not the
/// carrier's, so only equality may be pushed or trusted.
fn map_scalar(native: &NativeType) -> (PgType, Form) {
    if native.kind == 'e' {
        return (PgType::TEXT, Form::Binary);
    }
    if builtin(native.oid).is_none() {
        return (PgType::TEXT, Form::Text);
    }
    let form = if row(native.oid).is_some() { Form::Binary } else { Form::Text };
    (PgType { oid: native.oid, typmod: native.typmod }, form)
}

fn map_array(element: &NativeType) -> (PgType, Form, &Vec<String>) {
    let (element_type, element_form) = map_scalar(element);
    let form = if element_form == Form::Binary { Form::Binary } else { Form::TextArray };
    let array = element_type.array().or_else(|| PgType::TEXT.array()).unwrap_or(PgType::TEXT);
    (array, form, &element.labels)
}

/// The decoder of a discovered column, with room for `rows` values.
pub(super) fn decoder(field: &Field, rows: usize) -> Box<dyn Decoder> {
    let form = Form::of(field);
    match field.data_type() {
        DataType::List(item) => {
            let element_type = field.pg_type().element().unwrap_or(PgType::TEXT);
            let element = if form == Form::TextArray { text::plain(rows) } else { scalar_decoder(element_type, rows) };
            Box::new(list::List::new(item.clone(), element, rows))
        }
        _ if form == Form::Text => text::plain(rows),
        // A computed number is carried as the plan says, which is narrower than its type.
        carrier if field.pg_type().oid == PgType::NUMERIC.oid => numeric::carried(carrier, rows),
        _ => scalar_decoder(field.pg_type(), rows),
    }
}

fn scalar_decoder(pg_type: PgType, rows: usize) -> Box<dyn Decoder> {
    match row(pg_type.oid) {
        Some(row) => (row.make)(pg_type, rows),
        None => text::plain(rows),
    }
}

/// One native type that is read in its binary form.
struct Row {
    oid: u32,
    make: fn(PgType, usize) -> Box<dyn Decoder>,
}

/// The names of the types that are read in their binary form; all others travel as text.
pub(super) fn names() -> Vec<&'static str> {
    ROWS.iter().filter_map(|row| builtin(row.oid)).map(|known| known.sql_name).collect()
}

fn row(oid: u32) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.oid == oid)
}

const ROWS: &[Row] = &[
    Row { oid: 16, make: scalar::bool },
    Row { oid: 17, make: scalar::bytea },
    Row { oid: 18, make: text::single_char },
    Row { oid: 19, make: text::text },
    Row { oid: 20, make: scalar::int8 },
    Row { oid: 21, make: scalar::int2 },
    Row { oid: 23, make: scalar::int4 },
    Row { oid: 24, make: scalar::oid },
    Row { oid: 25, make: text::text },
    Row { oid: 26, make: scalar::oid },
    Row { oid: 28, make: text::xid },
    Row { oid: 114, make: text::text },
    Row { oid: 650, make: network::cidr },
    Row { oid: 700, make: scalar::float4 },
    Row { oid: 701, make: scalar::float8 },
    Row { oid: 774, make: network::macaddr },
    Row { oid: 829, make: network::macaddr },
    Row { oid: 869, make: network::inet },
    Row { oid: 1042, make: text::text },
    Row { oid: 1043, make: text::text },
    Row { oid: 1082, make: scalar::date },
    Row { oid: 1083, make: scalar::time },
    Row { oid: 1114, make: scalar::timestamp },
    Row { oid: 1184, make: scalar::timestamp },
    Row { oid: 1186, make: scalar::interval },
    Row { oid: 1266, make: text::timetz },
    Row { oid: 1560, make: text::bits },
    Row { oid: 1562, make: text::bits },
    Row { oid: 1700, make: numeric::numeric },
    Row { oid: 2205, make: scalar::oid },
    Row { oid: 2206, make: scalar::oid },
    Row { oid: 2950, make: text::uuid },
    Row { oid: 3220, make: text::lsn },
    Row { oid: 3802, make: text::jsonb },
    Row { oid: 4089, make: scalar::oid },
    Row { oid: 4096, make: scalar::oid },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn native(oid: u32, kind: char) -> NativeType {
        NativeType { oid, typmod: -1, kind, element: None, labels: Vec::new() }
    }

    #[test]
    fn every_row_makes_an_array_of_its_carrier() {
        for row in ROWS {
            let field = map("c", &native(row.oid, 'b'), true).unwrap();
            let mut decoder = decoder(&field, 4);
            decoder.null();
            let array = decoder.finish().unwrap();
            assert_eq!(array.data_type(), field.data_type(), "type {}", row.oid);
            assert_eq!((array.len(), array.null_count()), (1, 1), "type {}", row.oid);
            let list = NativeType { element: Some(Box::new(native(row.oid, 'b'))), ..native(1, 'b') };
            let field = map("c", &list, true).unwrap();
            let array = super::decoder(&field, 4).finish().unwrap();
            assert_eq!(array.data_type(), field.data_type(), "array of type {}", row.oid);
        }
    }

    #[test]
    fn no_row_accepts_garbage_by_panicking() {
        for row in ROWS {
            let field = map("c", &native(row.oid, 'b'), true).unwrap();
            let list = NativeType { element: Some(Box::new(native(row.oid, 'b'))), ..native(1, 'b') };
            let list = map("c", &list, true).unwrap();
            for len in 0..40 {
                for fill in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                    let bytes = vec![fill; len];
                    let _ = decoder(&field, 1).value(&bytes);
                    let _ = decoder(&list, 1).value(&bytes);
                }
            }
        }
    }

    #[test]
    fn types_are_mapped_by_kind() {
        let labels = vec!["sad".to_owned(), "it's".to_owned()];
        let mood = NativeType { labels: labels.clone(), ..native(90_000, 'e') };
        let field = map("c", &mood, false).unwrap();
        assert_eq!((field.pg_type(), Form::of(&field), field.enum_labels()), (PgType::TEXT, Form::Binary, Some(labels.clone())));
        let moods = NativeType { element: Some(Box::new(mood)), ..native(90_001, 'b') };
        let field = map("c", &moods, true).unwrap();
        assert_eq!((field.pg_type().oid, Form::of(&field), field.enum_labels()), (1009, Form::Binary, Some(labels)));
        let rows = [
            (native(790, 'b'), 790, Form::Text),
            (native(600, 'b'), 600, Form::Text),
            (native(3904, 'r'), 3904, Form::Text),
            (native(90_002, 'c'), 25, Form::Text),
            (NativeType { element: Some(Box::new(native(790, 'b'))), ..native(791, 'b') }, 791, Form::TextArray),
            (NativeType { element: Some(Box::new(native(90_002, 'c'))), ..native(90_003, 'b') }, 1009, Form::TextArray),
        ];
        for (native, oid, form) in rows {
            let field = map("c", &native, true).unwrap();
            assert_eq!((field.pg_type().oid, Form::of(&field)), (oid, form), "{native:?}");
        }
        assert!(map("c", &native(2277, 'p'), true).is_err());
    }
}
