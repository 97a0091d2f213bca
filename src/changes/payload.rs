//! A change as a line of JSON for clients that listen.
//!
//! ```text
//! {"op":"update","table":"shop.orders","position":"…","transaction":"…","at":"2026-11-22T14:30:26.000001Z",
//!  "key":{"id":7},"old_key":{"id":6},"row":{"id":7,"note":"x"},"unknown":["body"]}
//! ```
//!
//! Booleans, integers, finite floats, digits of `numeric` and JSON stand as they are, everything else as its text. What does not fit
//! into a notification is left out, the row first. The payloads of the rows of a group are made once, for all who listen.
//! Documents, which are no single cells, are written in [`document`].

mod document;

use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use chrono::{DateTime, SecondsFormat};

use super::channel::{Channel, alias};
use super::hub::Piece;
use super::text::Place;
use crate::format::json;
use crate::pgtype::{PgField, PgType};
use crate::stores::cell::{self, Cells};
use crate::stores::change::{Barrier, Entry, Group, Operation, Rows, Transaction};

/// Most bytes of a payload: PostgreSQL's own bound is 8,000.
pub const BYTES_MAX: usize = 7_900;

impl Piece {
    /// The transaction, or the piece of it.
    pub fn transaction(&self) -> Option<&Transaction> {
        self.group.transactions.get(self.transaction)
    }

    /// The place of one of its entries, counted from 0 in this piece.
    pub fn place(&self, entry: usize) -> Option<Place> {
        let transaction = self.transaction()?;
        Some(place(self.generation, self.seq, transaction, entry))
    }
}

fn place(generation: u32, seq: u64, transaction: &Transaction, entry: usize) -> Place {
    let ordinal = transaction.first.saturating_add(u32::try_from(entry).unwrap_or(u32::MAX));
    Place { generation, seq, ordinal, check: Place::check(&transaction.position) }
}

/// What clients that listen to a table are told of one of a piece's entries, counted from 0 in it; `label` is the table's schema and
/// name in SQL. `None`: there is no such entry.
pub fn of_entry(piece: &Piece, entry: usize, label: (&str, &str)) -> Option<String> {
    let transaction = piece.transaction()?;
    match transaction.entries.get(entry)? {
        Entry::Row { rows, row } => {
            let rows = usize::try_from(*rows).ok()?;
            let made = of_rows(piece, rows, label)?;
            made.get(usize::try_from(*row).ok()?).cloned()
        }
        Entry::Barrier(Barrier::Truncated { .. }) => {
            let head = Head { label, place: piece.place(entry)?, transaction };
            let mut out = Vec::new();
            head.write("truncate", &mut out);
            out.push(b'}');
            Some(text(out))
        }
        Entry::Barrier(Barrier::Reshaped { reason, .. } | Barrier::Stopped { reason, .. } | Barrier::Gap { reason }) => {
            Some(reset(reason))
        }
    }
}

/// What clients that listen are told when what they know does not follow any more.
pub fn reset(reason: &str) -> String {
    let mut out = br#"{"op":"reset","reason":"#.to_vec();
    write_text(reason, &mut out);
    if out.len() >= BYTES_MAX {
        return r#"{"op":"reset","reason":null}"#.to_owned();
    }
    out.push(b'}');
    text(out)
}

/// The payloads of all rows of one table in a group, by row.
fn of_rows(piece: &Piece, number: usize, label: (&str, &str)) -> Option<Arc<[String]>> {
    let rows = piece.group.rows.get(number)?;
    Some(Arc::clone(rows.payloads.get_or_init(|| made(&piece.group, piece, number, label).into())))
}

fn made(group: &Group, piece: &Piece, number: usize, label: (&str, &str)) -> Vec<String> {
    let Some(rows) = group.rows.get(number) else { return Vec::new() };
    let mut payloads = vec![String::new(); rows.operations.len()];
    for (at, transaction) in group.transactions.iter().enumerate() {
        let distance = |from: usize, to: usize| u64::try_from(from.saturating_sub(to)).unwrap_or(0);
        let seq = (piece.seq + distance(at, piece.transaction)).saturating_sub(distance(piece.transaction, at));
        for (entry, row) in transaction.entries.iter().enumerate() {
            let Entry::Row { rows: of, row } = row else { continue };
            let row = usize::try_from(*row).ok().filter(|_| usize::try_from(*of) == Ok(number));
            if let Some(payload) = row.and_then(|row| payloads.get_mut(row)) {
                let head = Head { label, place: place(piece.generation, seq, transaction, entry), transaction };
                *payload = of_row(rows, row.unwrap_or_default(), &head);
            }
        }
    }
    payloads
}

/// What every payload says.
struct Head<'a> {
    label: (&'a str, &'a str),
    place: Place,
    transaction: &'a Transaction,
}

impl Head<'_> {
    /// Without the brace at the end.
    fn write(&self, op: &str, out: &mut Vec<u8>) {
        let (schema, name) = self.label;
        let table = Channel::Table { schema: schema.to_owned(), name: name.to_owned() }.to_string();
        // Some stores have names without an end.
        let table = if table.len() > BYTES_MAX / 16 { alias(&table) } else { table.as_str().into() };
        // Writing to a Vec cannot fail.
        let _ = write!(out, r#"{{"op":"{op}","table":"#);
        write_text(&table, out);
        let _ = write!(out, r#","position":"{}","transaction":"#, self.place);
        write_text(&self.transaction.id, out);
        out.extend_from_slice(br#","at":"#);
        match self.transaction.committed_us.and_then(DateTime::from_timestamp_micros) {
            Some(at) => _ = write!(out, "\"{}\"", at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => out.extend_from_slice(b"null"),
        }
    }
}

fn of_row(rows: &Rows, row: usize, head: &Head<'_>) -> String {
    let operation = rows.operations.get(row).copied().unwrap_or(Operation::Upsert);
    let mut out = Vec::new();
    head.write(operation.word(), &mut out);
    let start = out.len();
    let has_row = operation != Operation::Delete;
    write_key(rows, row, &mut out);
    if has_row {
        out.extend_from_slice(br#","row":"#);
        let unknown = write_object(rows, Side::New, row, 0..rows.shape.schema.fields().len(), &mut out);
        if !unknown.is_empty() {
            let _ = write!(out, r#","unknown":{}"#, serde_json::Value::from(unknown));
        }
    }
    if has_row && out.len() >= BYTES_MAX {
        out.truncate(start);
        write_key(rows, row, &mut out);
        out.extend_from_slice(br#","cut":true"#);
    }
    if out.len() >= BYTES_MAX {
        out.truncate(start);
        out.extend_from_slice(br#","key":null,"cut":true"#);
    }
    out.push(b'}');
    text(out)
}

/// The key, and the one before where it has changed.
fn write_key(rows: &Rows, row: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","key":"#);
    let key = rows.shape.key.iter().copied();
    match rows.key(row) {
        Some((is_old, row)) => _ = write_object(rows, if is_old { Side::Old } else { Side::New }, row, key.clone(), out),
        None => out.extend_from_slice(b"null"),
    }
    if rows.moves(row) {
        out.extend_from_slice(br#","old_key":"#);
        write_object(rows, Side::Old, row, key, out);
    }
}

/// Which of a change's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one before.
    Old,
    /// The one after.
    New,
}

/// Some columns of a row as a JSON object, by their ordinals, and the names of those among them that are unknown, which are not in it.
pub fn object(rows: &Rows, side: Side, row: usize, columns: impl Iterator<Item = usize>) -> (String, Vec<String>) {
    let mut out = Vec::new();
    let unknown = write_object(rows, side, row, columns, &mut out);
    (text(out), unknown)
}

fn write_object(rows: &Rows, side: Side, row: usize, columns: impl Iterator<Item = usize>, out: &mut Vec<u8>) -> Vec<String> {
    let (batch, known) = match side {
        Side::Old => (rows.old.as_ref(), &rows.old_known),
        Side::New => (Some(&rows.new), &rows.new_known),
    };
    let mut unknown = Vec::new();
    out.push(b'{');
    let mut is_first = true;
    for column in columns {
        let Some(field) = rows.shape.schema.fields().get(column) else { continue };
        let start = out.len();
        if !is_first {
            out.push(b',');
        }
        write_text(field.name(), out);
        out.push(b':');
        let is_written = known.has(column, row) && batch.is_some_and(|batch| write_cell(batch, column, row, field.pg_type(), out));
        if is_written {
            is_first = false;
        } else {
            out.truncate(start);
            unknown.push(field.name().clone());
        }
    }
    out.push(b'}');
    unknown
}

/// Writes one value. `false`: it has no text, and nothing of use was written.
fn write_cell(batch: &RecordBatch, column: usize, row: usize, pg_type: PgType, out: &mut Vec<u8>) -> bool {
    let Some(array) = batch.columns().get(column) else { return false };
    if document::is_nested(array.data_type(), pg_type) {
        return document::write(array.as_ref(), pg_type, row, out);
    }
    Cells::of(array.as_ref(), pg_type).is_some_and(|cells| write_value(&cells.get(row), pg_type, out))
}

fn is_json(pg_type: PgType) -> bool {
    [PgType::JSON, PgType::JSONB].iter().any(|json| json.oid == pg_type.oid)
}

/// Writes one value as JSON. `false`: it has no text, and nothing of use was written.
fn write_value(value: &cell::Cell<'_>, pg_type: PgType, out: &mut Vec<u8>) -> bool {
    match value {
        cell::Cell::Null => out.extend_from_slice(b"null"),
        cell::Cell::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        cell::Cell::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
        cell::Cell::Text(content) if is_json(pg_type) && json::check(content).is_ok() => out.extend_from_slice(content.as_bytes()),
        cell::Cell::Text(content) if pg_type.oid == PgType::NUMERIC.oid && is_number(content) => {
            out.extend_from_slice(content.as_bytes());
        }
        // Also with a NUL byte in it, which PostgreSQL's text cannot have.
        cell::Cell::Text(content) => write_text(content, out),
        cell::Cell::Float4(_) | cell::Cell::Float8(_) | cell::Cell::Decimal { .. } => {
            let mut written = String::new();
            if cell::write_text(value, pg_type, &mut written).is_err() {
                return false;
            }
            if is_number(&written) { out.extend_from_slice(written.as_bytes()) } else { write_text(&written, out) }
        }
        cell::Cell::Bytes(_)
        | cell::Cell::Date(_)
        | cell::Cell::Time(_)
        | cell::Cell::Timestamp(_)
        | cell::Cell::TimestampTz(_)
        | cell::Cell::Interval { .. }
        | cell::Cell::List(_) => {
            let mut written = String::new();
            if cell::write_text(value, pg_type, &mut written).is_err() {
                return false;
            }
            write_text(&written, out);
        }
    }
    true
}

/// Whether a text is a number of JSON.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.starts_with(|first: char| first.is_ascii_digit()) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Writes a string of JSON.
fn write_text(text: &str, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn text(out: Vec<u8>) -> String {
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, StringArray, StructArray};
    use arrow::datatypes::{Field, Fields, Schema};
    use datafusion::scalar::ScalarValue;

    use super::*;
    use crate::changes::fakes::{group_of, id_of};
    use crate::format::{DisplaySettings, scalar};
    use crate::stores::StoreName;
    use crate::stores::change::builder::{Cell, RowsBuilder};
    use crate::stores::change::{Resume, Shape};
    use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated, Table};

    fn piece(group: Group) -> Piece {
        Piece { group: Arc::new(group), transaction: 0, seq: 5, generation: 1 }
    }

    fn parsed(text: Option<String>) -> serde_json::Value {
        serde_json::from_str(&text.unwrap()).unwrap()
    }

    fn shape(columns: &[(&str, PgType)]) -> Arc<Shape> {
        let column = |(name, pg_type): &(&str, PgType)| Column {
            field: Field::new(*name, pg_type.carrier(), true).with_pg_type(*pg_type),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        };
        let table = Table::plain("public", "t", columns.iter().map(column).collect());
        Shape::of(&table, vec![0], vec![true; columns.len()])
    }

    fn group(builder: &mut RowsBuilder) -> Group {
        let store = StoreName::new("shop");
        let mut group = group_of(&store, &[(9, &[])]);
        let count = u32::try_from(builder.len()).unwrap();
        group.rows = vec![builder.finish().unwrap()];
        group.transactions[0].entries = (0..count).map(|row| Entry::Row { rows: 0, row }).collect();
        group.resume = Resume(vec![1]);
        group
    }

    #[test]
    fn payloads_say_what_happened_where() {
        let mut piece = piece(group_of(&StoreName::new("shop"), &[(3, &[("a", 1)]), (4, &[("b", 3), ("c", 4)])]));
        piece.transaction = 1;
        let told = parsed(of_entry(&piece, 1, ("shop", "orders")));
        assert_eq!(told["op"], "update");
        assert_eq!(told["table"], "shop.orders");
        assert_eq!(told["position"], piece.place(1).unwrap().to_string());
        assert_eq!(told["transaction"], "t4");
        assert_eq!(told["at"], "1970-01-01T00:00:04Z");
        assert_eq!(told["key"], serde_json::json!({"name": "c"}));
        assert_eq!(told["row"], serde_json::json!({"name": "c", "total": 4}));
        assert!(told.get("old_key").is_none() && told.get("unknown").is_none() && told.get("cut").is_none());
        assert_eq!(parsed(of_entry(&piece, 0, ("shop", "orders")))["op"], "insert");
        assert!(of_entry(&piece, 2, ("shop", "orders")).is_none());
        // Those of the transaction before it are of its own number.
        piece.transaction = 0;
        piece.seq = 4;
        let before = parsed(of_entry(&piece, 0, ("shop", "orders")));
        assert_eq!(before["transaction"], "t3");
        assert_eq!(before["position"], piece.place(0).unwrap().to_string());
    }

    #[test]
    fn keys_that_change_and_cells_that_are_unknown_are_told() {
        let mut builder = RowsBuilder::new(&shape(&[("id", PgType::INT4), ("note", PgType::TEXT)]));
        let moved = &mut [Cell::Text("7"), Cell::Unknown].into_iter();
        builder.push(Operation::Update, moved, Some(&mut [Cell::Text("6")].into_iter())).unwrap();
        let gone = &mut [Cell::Text("8"), Cell::Null].into_iter();
        builder.push(Operation::Delete, &mut std::iter::empty(), Some(gone)).unwrap();
        let piece = piece(group(&mut builder));
        let told = parsed(of_entry(&piece, 0, ("s", "t")));
        assert_eq!((&told["key"], &told["old_key"]), (&serde_json::json!({"id": 7}), &serde_json::json!({"id": 6})));
        assert_eq!((&told["row"], &told["unknown"]), (&serde_json::json!({"id": 7}), &serde_json::json!(["note"])));
        let told = parsed(of_entry(&piece, 1, ("s", "t")));
        assert_eq!(told["op"], "delete");
        assert_eq!(told["key"], serde_json::json!({"id": 8}));
        assert!(told.get("row").is_none() && told.get("unknown").is_none());
    }

    #[test]
    fn documents_are_told_and_not_unknown() {
        let of_document = |zips: Vec<Option<&str>>, nulls: Vec<bool>| -> ArrayRef {
            let fields = Fields::from(vec![Field::new("zip", PgType::TEXT.carrier(), true)]);
            Arc::new(StructArray::new(fields, vec![Arc::new(StringArray::from(zips))], Some(nulls.into())))
        };
        let documents = of_document(vec![Some("55"), None], vec![true, false]);
        let mut shape = shape(&[("id", PgType::INT4), ("addr", PgType::JSON)]);
        let address = Field::new("addr", documents.data_type().clone(), true).with_pg_type(PgType::JSON);
        let fields = vec![shape.schema.field(0).clone(), address];
        Arc::get_mut(&mut shape).unwrap().schema = Arc::new(Schema::new(fields));
        let mut builder = RowsBuilder::new(&shape);
        for row in 0..2 {
            let value = ScalarValue::try_from_array(&documents, row).unwrap();
            let value = if value.is_null() { Cell::Null } else { Cell::Value(value) };
            let id = (row + 110).to_string();
            let mut new = [Cell::Text(&id), value].into_iter();
            builder.push(Operation::Update, &mut new, Some(&mut [Cell::Text(&id), Cell::Null].into_iter())).unwrap();
        }
        let piece = piece(group(&mut builder));
        let told = parsed(of_entry(&piece, 0, ("s", "t")));
        assert_eq!(told["row"], serde_json::json!({"id": 110, "addr": {"zip": "55"}}));
        assert!(told.get("unknown").is_none());
        let told = parsed(of_entry(&piece, 1, ("s", "t")));
        assert_eq!((&told["row"], told.get("unknown")), (&serde_json::json!({"id": 111, "addr": null}), None));
        let old = object(&piece.group.rows[0], Side::Old, 0, 0..2);
        assert_eq!(old, (r#"{"id":110,"addr":null}"#.to_owned(), Vec::new()));
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut builder = RowsBuilder::new(&shape(&[("id", PgType::TEXT), ("note", PgType::TEXT)]));
        let (short, long) = ("k".repeat(7_000), "n".repeat(8_000));
        for (key, note) in [("a", long.as_str()), (short.as_str(), "x"), (long.as_str(), "x")] {
            builder.push(Operation::Insert, &mut [Cell::Text(key), Cell::Text(note)].into_iter(), None).unwrap();
        }
        let piece = piece(group(&mut builder));
        let texts: Vec<String> = (0..3).map(|entry| of_entry(&piece, entry, ("s", "t")).unwrap()).collect();
        assert!(texts.iter().all(|text| text.len() <= BYTES_MAX));
        let told: Vec<serde_json::Value> = texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        assert_eq!(told[0]["key"], serde_json::json!({"id": "a"}));
        assert_eq!(told[1]["key"], serde_json::json!({"id": short}));
        assert_eq!(told[2]["key"], serde_json::Value::Null);
        assert!(told.iter().all(|told| told["cut"] == true && told.get("row").is_none()));
    }

    #[test]
    fn barriers_are_told() {
        let mut group = group_of(&StoreName::new("shop"), &[(3, &[])]);
        let (table, reason) = (id_of("orders"), "it has \"other\" columns".to_owned());
        let barriers = [Barrier::Truncated { table: table.clone() }, Barrier::Reshaped { table, reason: reason.clone() }];
        group.transactions[0].entries = barriers.into_iter().map(Entry::Barrier).collect();
        let piece = piece(group);
        let told = parsed(of_entry(&piece, 0, ("shop", "orders")));
        assert_eq!(told["op"], "truncate");
        assert_eq!(told["table"], "shop.orders");
        assert_eq!(told["transaction"], "t3");
        let told = parsed(of_entry(&piece, 1, ("shop", "orders")));
        assert_eq!(told, serde_json::json!({"op": "reset", "reason": reason}));
        assert!(reset(&"x".repeat(9_000)).len() < 100);
    }

    #[test]
    fn values_are_json_where_json_has_them() {
        let rows = [
            (PgType::BOOL, "t", "true"),
            (PgType::INT8, "-9223372036854775808", "-9223372036854775808"),
            (PgType::FLOAT8, "0.1", "0.1"),
            (PgType::FLOAT8, "1e+300", "1e+300"),
            (PgType::FLOAT4, "NaN", "\"NaN\""),
            (PgType::FLOAT8, "-Infinity", "\"-Infinity\""),
            (PgType::NUMERIC, "12.50", "12.50"),
            (PgType::NUMERIC, "NaN", "\"NaN\""),
            (PgType::numeric(5, 2), "-1.5", "-1.50"),
            (PgType::JSONB, "{\"a\": [1, null]}", "{\"a\": [1, null]}"),
            (PgType::TEXT, "a\"b\nc", "\"a\\\"b\\nc\""),
            (PgType::BYTEA, "\\x00ff", "\"\\\\x00ff\""),
            (PgType::DATE, "2020-02-29", "\"2020-02-29\""),
            (PgType::TIMESTAMPTZ, "2020-02-29 12:00:00+00", "\"2020-02-29 12:00:00+00\""),
            (PgType::INT4.array().unwrap(), "{1,NULL}", "\"{1,NULL}\""),
        ];
        for (pg_type, text, expected) in rows {
            let value = scalar::read(pg_type, text, &DisplaySettings::default()).unwrap().to_array().unwrap();
            let mut out = Vec::new();
            assert!(write_value(&Cells::of(value.as_ref(), pg_type).unwrap().get(0), pg_type, &mut out), "{text}");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        let nul = ScalarValue::Utf8(Some("a\0b".to_owned())).to_array().unwrap();
        let mut out = Vec::new();
        assert!(write_value(&Cells::of(nul.as_ref(), PgType::TEXT).unwrap().get(0), PgType::TEXT, &mut out));
        assert_eq!(out, b"\"a\\u0000b\"");
        // A text in a column of JSON that is none, as some stores have it.
        let broken = ScalarValue::Utf8(Some("{x".to_owned())).to_array().unwrap();
        let mut out = Vec::new();
        assert!(write_value(&Cells::of(broken.as_ref(), PgType::JSON).unwrap().get(0), PgType::JSON, &mut out));
        assert_eq!(out, b"\"{x\"");
        assert_eq!(["007", "1", "-0", "1.5e-3", "1.", "+1", "1 x"].map(is_number), [false, true, true, true, false, false, false]);
    }

    #[test]
    fn objects_leave_out_what_is_unknown() {
        let group = group_of(&StoreName::new("shop"), &[(3, &[("a", 2)])]);
        let rows = &group.rows[0];
        assert_eq!(object(rows, Side::New, 0, 0..2), (r#"{"name":"a","total":2}"#.to_owned(), Vec::new()));
        assert_eq!(object(rows, Side::Old, 0, 0..2), (r#"{"name":"a"}"#.to_owned(), vec!["total".to_owned()]));
        assert_eq!(object(rows, Side::Old, 0, [1].into_iter()).0, "{}");
    }
}
