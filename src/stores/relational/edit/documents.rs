//! Tables with a JSON column whose fields are columns: the fields of a new row become one document, and those that are set become JSON by
//! themselves, which only `jsonb` of PostgreSQL takes without a change of what lies beside them.
//!
//! What cannot be read back is not written: every document is read as a scan would read it before it is sent.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use chrono::{DateTime, SecondsFormat};

use super::super::super::cell::{Cell, Cells, write_text};
use super::super::super::document::build::Conversion;
use super::super::super::document::json_text::{self, Json, Repeated};
use super::super::super::document::{DocumentBuilder, DocumentField, DocumentType, DocumentValue, OnMismatch, extended, scalar};
use super::super::super::edit::{self, Edit, Insert, UpdateRows, part, path_at};
use super::super::super::error::StoreError;
use super::super::super::fragment::Refusal;
use super::super::super::schema::{Collation, Column, ColumnStatistics, Generated, Table};
use super::super::embedded::{self, Source};
use crate::error::sqlstate;
use crate::pgtype::{PgField, PgType};

/// A value that JSON has no form for, or none that is read back as itself.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    column: String,
    sqlstate: &'static str,
    rule: String,
}

type Rule = (&'static str, &'static str);

const NO_FORM: Rule = (sqlstate::FEATURE_NOT_SUPPORTED, "is of a type that JSON has no form for");
const NO_NUMBER: Rule = (sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "is no number of JSON");
const NO_JSON: Rule = (sqlstate::INVALID_TEXT_REPRESENTATION, "is not JSON");
const NULL: Rule = (sqlstate::FEATURE_NOT_SUPPORTED, "is the null of JSON, which is read back as NULL");
const NO_TEXT: Rule = (sqlstate::CHARACTER_NOT_IN_REPERTOIRE, "holds a NUL byte, which text cannot");
const NO_MOMENT: Rule = (sqlstate::DATETIME_FIELD_OVERFLOW, "is no moment that is written in JSON");

/// Whether what a new row gives a value at a place is a column of the table, or lies in a document that is made of such values.
///
/// # Errors
/// What has no place in a document.
pub(super) fn is_insertable(insert: &Insert, place: usize) -> Result<(), Refusal> {
    let Some((ordinal, column)) = column_at(insert, place) else {
        return Err(Refusal::new("INSERT", "it names a column that the table does not have"));
    };
    let path = path_at(&insert.paths, place);
    let subject = || format!("column \"{}\"", column.name());
    let Some(source) = embedded::source(&column.field) else {
        return if path.is_empty() { Ok(()) } else { Err(Refusal::new(subject(), "it is no document of the store file")) };
    };
    let found =
        part(&insert.table, ordinal, path).and_then(|part| super::super::super::document::schema::type_of_field(&part.field));
    match (source.field, found) {
        (None, _) => Err(Refusal::new(subject(), "it is the document that other columns are fields of")),
        (Some(_), Some(kind)) if is_written(&kind) => Ok(()),
        (Some(_), _) => Err(Refusal::new(subject(), "JSON has no form for values of its type")),
    }
}

fn column_at(insert: &Insert, place: usize) -> Option<(usize, &Column)> {
    let ordinal = *insert.columns.get(place)?;
    Some((ordinal, insert.table.columns.get(ordinal)?))
}

/// Whether values of the type are read back from JSON. Those inside of documents are looked at when they are there.
fn is_written(kind: &DocumentType) -> bool {
    match kind {
        DocumentType::Null | DocumentType::ObjectId | DocumentType::Binary => false,
        DocumentType::List(inner) => is_written(inner),
        _ => true,
    }
}

/// The same edit as the columns that the table has in the store take it: fields of one document are one column, which stands behind the
/// others. Whoever runs an edit that [`super::writes_columns`] has passed asks for this first.
///
/// # Errors
/// A value that has no form in JSON, or none that its field reads.
pub fn gathered(edit: &Edit, repeated: Repeated) -> Result<Cow<'_, Edit>, StoreError> {
    let Edit::Insert(insert) = edit else { return Ok(Cow::Borrowed(edit)) };
    match inserted(insert, repeated) {
        Ok(None) => Ok(Cow::Borrowed(edit)),
        Ok(Some(insert)) => Ok(Cow::Owned(Edit::Insert(insert))),
        Err(Fault { column, sqlstate, rule }) => {
            let (store, table) = (insert.store.to_string(), insert.table.id.name.clone());
            Err(StoreError::Value { store, table, column, sqlstate, rule })
        }
    }
}

/// Whether an update sets fields of documents.
///
/// # Errors
/// A field that cannot be set by itself.
pub fn sets_fields(update: &UpdateRows) -> Result<bool, Refusal> {
    let mut sets = false;
    for (place, ordinal) in update.set.iter().enumerate() {
        let Some(column) = update.table.columns.get(*ordinal) else { continue };
        let Some(source) = embedded::source(&column.field) else { continue };
        let refuse = |rule| Err(Refusal::new(format_args!("column \"{}\"", column.name()), rule));
        let Some(field) = &source.field else { return refuse("it is the document that other columns are fields of") };
        if source.native_type != "jsonb" {
            return refuse("setting a field would write the other values of the document anew");
        }
        if !path_at(&update.paths, place).is_empty() {
            return refuse("fields of documents inside of others are not set one by one");
        }
        // In an array it would be taken for the number of an element.
        if field.name.bytes().all(|byte| byte.is_ascii_digit()) || !is_written(&field.kind) {
            return refuse("a statement cannot name it, or JSON has no form for values of its type");
        }
        sets = true;
    }
    Ok(sets)
}

/// The same edit with JSON texts for the fields that it sets ([`sets_fields`]), each in a column that stands behind the others and knows
/// where it comes from ([`embedded::source`]).
///
/// # Errors
/// As [`gathered`].
pub fn with_fields(edit: &Edit, repeated: Repeated) -> Result<Cow<'_, Edit>, StoreError> {
    let Edit::UpdateRows(update) = edit else { return Ok(Cow::Borrowed(edit)) };
    match fields_as_json(update, repeated) {
        Ok(None) => Ok(Cow::Borrowed(edit)),
        Ok(Some(update)) => Ok(Cow::Owned(Edit::UpdateRows(update))),
        Err(Fault { column, sqlstate, rule }) => {
            let (store, table) = (update.store.to_string(), update.table.id.name.clone());
            Err(StoreError::Value { store, table, column, sqlstate, rule })
        }
    }
}

fn fields_as_json(update: &UpdateRows, repeated: Repeated) -> Result<Option<UpdateRows>, Fault> {
    let mut table = Table::clone(&update.table);
    let (mut set, mut fields, mut arrays) = (Vec::with_capacity(update.set.len()), Vec::new(), Vec::new());
    let given = update.rows.schema_ref().fields().iter().zip(update.rows.columns());
    for (place, (field, array)) in given.enumerate() {
        let ordinal = place.checked_sub(update.key.len()).and_then(|place| update.set.get(place));
        let column = ordinal.and_then(|ordinal| update.table.columns.get(*ordinal));
        let (Some(ordinal), Some(column)) = (ordinal, column) else {
            fields.push(Field::clone(field));
            arrays.push(Arc::clone(array));
            continue;
        };
        let Some(source) = embedded::source(&column.field) else {
            set.push(*ordinal);
            fields.push(Field::clone(field));
            arrays.push(Arc::clone(array));
            continue;
        };
        let named = source.field.clone().ok_or_else(lost)?;
        let cells = Cells::of(array.as_ref(), column.pg_type()).ok_or_else(lost)?;
        let (name, kind) = (column.name().to_owned(), named.kind.clone());
        let member = Member { names: vec![named.name], column: name.clone(), kind, pg_type: column.pg_type(), cells };
        let texts = member.texts(array.len(), (&source, repeated))?;
        let mut metadata = column.field.metadata().clone();
        metadata.retain(|key, _| [embedded::COLUMN_KEY, embedded::FIELD_KEY, embedded::TYPE_KEY].contains(&key.as_str()));
        let marked = Field::new(&name, DataType::Utf8, true).with_metadata(metadata).with_pg_type(PgType::JSONB);
        let stored = Column { field: marked, native_type: "jsonb".to_owned(), ..column.clone() };
        set.push(table.columns.len());
        fields.push(edit::field(&stored));
        arrays.push(Arc::new(StringArray::from(texts)) as ArrayRef);
        table.columns.push(stored);
    }
    if table.columns.len() == update.table.columns.len() {
        return Ok(None);
    }
    table.schema = Table::arrow_schema(&table.columns);
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|_broken| lost())?;
    Ok(Some(UpdateRows { table: Arc::new(table), set, paths: Vec::new(), rows, ..update.clone() }))
}

fn lost() -> Fault {
    Fault { column: String::new(), sqlstate: sqlstate::INTERNAL_ERROR, rule: "is not a row of the columns of its edit".to_owned() }
}

fn inserted(insert: &Insert, repeated: Repeated) -> Result<Option<Insert>, Fault> {
    let mut documents: Vec<Gathering<'_>> = Vec::new();
    let (mut columns, mut fields, mut arrays) = (Vec::new(), Vec::new(), Vec::<ArrayRef>::new());
    for (place, array) in insert.rows.columns().iter().enumerate() {
        let (ordinal, column) = column_at(insert, place).ok_or_else(lost)?;
        match embedded::source(&column.field) {
            None => {
                columns.push(ordinal);
                fields.push(insert.rows.schema_ref().field(place).clone());
                arrays.push(Arc::clone(array));
            }
            Some(source) => {
                let member = Member::of(insert, (place, ordinal), &source, array)?;
                match documents.iter_mut().find(|known| known.column == source.column) {
                    Some(known) => known.add(member, source.field),
                    None => documents.push(Gathering::begun_by(member, source)),
                }
            }
        }
    }
    if documents.is_empty() {
        return Ok(None);
    }
    let mut table = Table::clone(&insert.table);
    let count = insert.rows.num_rows();
    for document in documents {
        let column = document.stored();
        columns.push(table.columns.len());
        fields.push(edit::field(&column));
        arrays.push(Arc::new(StringArray::from(document.texts(count, repeated)?)));
        table.columns.push(column);
    }
    table.schema = Table::arrow_schema(&table.columns);
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(|_broken| lost())?;
    Ok(Some(Insert { table: Arc::new(table), columns, paths: Vec::new(), rows, ..insert.clone() }))
}

/// A value that becomes a member of a document.
struct Member<'e> {
    /// The names that lead to it, from the document.
    names: Vec<String>,
    /// How messages name it.
    column: String,
    kind: DocumentType,
    pg_type: PgType,
    cells: Cells<'e>,
}

impl<'e> Member<'e> {
    fn of(insert: &Insert, (place, ordinal): (usize, usize), source: &Source<'_>, array: &'e ArrayRef) -> Result<Self, Fault> {
        let path = path_at(&insert.paths, place);
        let column = part(&insert.table, ordinal, path).ok_or_else(lost)?;
        let mut names = vec![source.field.as_ref().ok_or_else(lost)?.name.clone()];
        names.extend(path.iter().cloned());
        let kind = super::super::super::document::schema::type_of_field(&column.field).ok_or_else(lost)?;
        let pg_type = column.pg_type();
        let cells = Cells::of(array.as_ref(), pg_type).ok_or_else(lost)?;
        Ok(Self { names, column: column.name().to_owned(), kind, pg_type, cells })
    }

    /// The values as they are set: each is read again as the only field of a document.
    fn texts(&self, rows: usize, (source, repeated): (&Source<'_>, Repeated)) -> Result<Vec<String>, Fault> {
        let conversion = Conversion { on_mismatch: OnMismatch::Error, texts: true };
        let mut reader = DocumentBuilder::new(source.field.as_slice(), false, conversion);
        let mut texts = Vec::with_capacity(rows);
        for row in 0..rows {
            let text = self.text(row)?;
            let mut document = Node::Inner(Vec::new());
            document.put(&self.names, text.clone());
            document.check(&mut reader, source.column, repeated)?;
            texts.push(text);
        }
        Ok(texts)
    }

    fn text(&self, row: usize) -> Result<String, Fault> {
        let mut text = String::new();
        let written = write(&self.cells.get(row), self.pg_type, &self.kind, &mut text);
        written.map_err(|(sqlstate, rule)| Fault { column: self.column.clone(), sqlstate, rule: rule.to_owned() })?;
        Ok(text)
    }
}

/// One JSON column of the new rows.
struct Gathering<'e> {
    column: String,
    native_type: String,
    members: Vec<Member<'e>>,
    /// The fields that members lie in, for reading them again.
    fields: Vec<DocumentField>,
}

impl<'e> Gathering<'e> {
    fn begun_by(member: Member<'e>, source: Source<'_>) -> Self {
        let (column, native_type) = (source.column.to_owned(), source.native_type.to_owned());
        Self { column, native_type, members: vec![member], fields: source.field.into_iter().collect() }
    }

    fn add(&mut self, member: Member<'e>, field: Option<DocumentField>) {
        self.members.push(member);
        let new = field.filter(|field| self.fields.iter().all(|known| known.name != field.name));
        self.fields.extend(new);
    }

    /// The column as the store has it.
    fn stored(&self) -> Column {
        let pg_type = if self.native_type.eq_ignore_ascii_case("jsonb") { PgType::JSONB } else { PgType::JSON };
        Column {
            field: Field::new(&self.column, DataType::Utf8, true).with_pg_type(pg_type),
            native_type: self.native_type.clone(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        }
    }

    /// The documents.
    fn texts(&self, rows: usize, repeated: Repeated) -> Result<Vec<String>, Fault> {
        let conversion = Conversion { on_mismatch: OnMismatch::Error, texts: true };
        let mut reader = DocumentBuilder::new(&self.fields, false, conversion);
        let mut texts = Vec::with_capacity(rows);
        for row in 0..rows {
            let mut document = Node::Inner(Vec::new());
            for member in &self.members {
                document.put(&member.names, member.text(row)?);
            }
            texts.push(document.check(&mut reader, &self.column, repeated)?);
        }
        Ok(texts)
    }
}

/// A part of a document under construction.
enum Node {
    Value(String),
    Inner(Vec<(String, Node)>),
}

impl Node {
    fn put(&mut self, names: &[String], text: String) {
        let Self::Inner(members) = self else { return };
        match names {
            [] => {}
            [name] => members.push((name.clone(), Self::Value(text))),
            [name, rest @ ..] => {
                let place = members.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                    members.push((name.clone(), Self::Inner(Vec::new())));
                    members.len() - 1
                });
                if let Some((_, inner)) = members.get_mut(place) {
                    inner.put(rest, text);
                }
            }
        }
    }

    /// The text, which is read as a scan of the column would read it.
    fn check(&self, reader: &mut DocumentBuilder, column: &str, repeated: Repeated) -> Result<String, Fault> {
        let unfit = |(sqlstate, rule): Rule| Fault { column: column.to_owned(), sqlstate, rule: rule.to_owned() };
        let mut text = String::new();
        self.write(&mut text);
        let json = json_text::parse(text.as_bytes(), repeated).map_err(|_not_json| unfit(NO_JSON))?;
        let fields = json.as_fields().ok_or_else(|| unfit(NO_JSON))?;
        reader.append(fields).map_err(|misfit| Fault {
            column: format!("{column}.{}", misfit.path),
            sqlstate: misfit.sqlstate,
            rule: misfit.rule.clone(),
        })?;
        Ok(text)
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Value(value) => text.push_str(value),
            Self::Inner(members) => {
                text.push('{');
                for (place, (name, member)) in members.iter().enumerate() {
                    text.push_str(if place == 0 { "" } else { "," });
                    extended::write_text(name, text);
                    text.push(':');
                    member.write(text);
                }
                text.push('}');
            }
        }
    }
}

fn write(cell: &Cell<'_>, pg_type: PgType, kind: &DocumentType, out: &mut String) -> Result<(), Rule> {
    match (cell, kind) {
        (Cell::Null, _) => out.push_str("null"),
        (Cell::Bool(truth), DocumentType::Bool) => out.push_str(if *truth { "true" } else { "false" }),
        (Cell::Int(number), DocumentType::Int) => out.push_str(itoa::Buffer::new().format(*number)),
        (Cell::Float8(number), DocumentType::Double) if number.is_finite() => out.push_str(&format!("{number:?}")),
        (Cell::Float8(_), DocumentType::Double) => return Err(NO_NUMBER),
        (Cell::Decimal { .. } | Cell::Text(_), DocumentType::Decimal { .. } | DocumentType::Numeric) => {
            let start = out.len();
            write_text(cell, pg_type, out).map_err(|_unwritable| NO_FORM)?;
            if out.get(start..).is_none_or(|digits| digits.contains(|letter: char| letter.is_ascii_alphabetic())) {
                return Err(NO_NUMBER);
            }
        }
        (Cell::TimestampTz(micros), DocumentType::Date) => {
            let text = DateTime::from_timestamp_micros(*micros).ok_or(NO_MOMENT)?.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            if scalar::as_micros(&DocumentValue::Text(&text), true) != Some(*micros) {
                return Err(NO_MOMENT);
            }
            extended::write_text(&text, out);
        }
        (Cell::Text(text), DocumentType::Uuid | DocumentType::Text) if !text.contains('\0') => extended::write_text(text, out),
        (Cell::Text(_), DocumentType::Uuid | DocumentType::Text) => return Err(NO_TEXT),
        (Cell::Text(text), DocumentType::Struct(_) | DocumentType::Mixed) => write_json(text, out)?,
        (Cell::Text(text), DocumentType::List(_)) if pg_type == PgType::JSON => write_json(text, out)?,
        (Cell::List(elements), DocumentType::List(inner)) => {
            let of_element = pg_type.element().ok_or(NO_FORM)?;
            let cells = Cells::of(elements.as_ref(), of_element).ok_or(NO_FORM)?;
            out.push('[');
            for place in 0..elements.len() {
                out.push_str(if place == 0 { "" } else { "," });
                write(&cells.get(place), of_element, inner, out)?;
            }
            out.push(']');
        }
        _ => return Err(NO_FORM),
    }
    Ok(())
}

/// A JSON text with the digits of its numbers, and with the last of values of one name.
fn write_json(text: &str, out: &mut String) -> Result<(), Rule> {
    let json = json_text::parse_written(text.as_bytes(), Repeated::Last).map_err(|_not_json| NO_JSON)?;
    if json == Json::Null {
        return Err(NULL);
    }
    extended::write(&json.document_value(), out).map_err(|_unreadable| NO_JSON)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::array::{AsArray, Int64Array, TimestampMicrosecondArray};
    use arrow::datatypes::FieldRef;

    use super::super::super::super::connector::StoreName;
    use super::super::super::super::document::DocumentOptions;
    use super::super::writes_columns;
    use super::*;

    fn field(name: &str, kind: DocumentType) -> DocumentField {
        DocumentField { name: name.to_owned(), kind }
    }

    /// `t(id bigint, n, at, any, address {zip, tags}, by objectId)`: all but the first are fields of `doc jsonb`.
    fn table() -> Arc<Table> {
        let plain = |name: &str, pg_type: PgType, native: &str| Column {
            field: Field::new(name, pg_type.carrier(), true).with_pg_type(pg_type),
            native_type: native.to_owned(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        };
        let tags = DocumentType::List(Box::new(DocumentType::Text));
        let address = DocumentType::Struct(vec![field("zip", DocumentType::Text), field("tags", tags)]);
        let fields = [
            field("n", DocumentType::Int),
            field("at", DocumentType::Date),
            field("any", DocumentType::Mixed),
            field("address", address),
            field("by", DocumentType::ObjectId),
        ];
        let (made, refused) =
            embedded::expand(&plain("doc", PgType::JSONB, "jsonb"), &["id"], &fields, &DocumentOptions::default());
        assert!(refused.is_empty());
        let columns = std::iter::once(plain("id", PgType::INT8, "bigint")).chain(made).collect();
        Arc::new(Table::plain("public", "t", columns))
    }

    fn insert(given: &[(usize, &[&str], ArrayRef)]) -> Edit {
        let table = table();
        let paths: Vec<edit::Path> =
            given.iter().map(|(_, path, _)| path.iter().map(|name| (*name).to_owned()).collect()).collect();
        let columns: Vec<usize> = given.iter().map(|(ordinal, _, _)| *ordinal).collect();
        let of = |(ordinal, path): (&usize, &edit::Path)| edit::field(&part(&table, *ordinal, path).unwrap());
        let fields: Vec<FieldRef> = columns.iter().zip(&paths).map(|pair| Arc::new(of(pair))).collect();
        let arrays = given.iter().map(|(_, _, array)| Arc::clone(array)).collect();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        let (store, returning) = (StoreName::new("s"), vec![0]);
        Edit::Insert(Insert { store, table, columns, paths, rows, conflict: None, returning })
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn ints(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    /// The documents, or the SQLSTATE.
    fn documents(edit: &Edit) -> Result<Vec<String>, &'static str> {
        assert_eq!(writes_columns(edit), Ok(()));
        let found = gathered(edit, Repeated::Last).map_err(|error| match error {
            StoreError::Value { sqlstate, .. } => sqlstate,
            other => panic!("{other:?}"),
        })?;
        let Edit::Insert(insert) = &*found else { panic!("no insert") };
        let last = insert.rows.columns().last().unwrap();
        Ok((0..last.len()).map(|row| last.as_string::<i32>().value(row).to_owned()).collect())
    }

    #[test]
    fn fields_of_a_row_are_one_document() {
        let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone(crate::pgtype::UTC));
        let edit = insert(&[
            (1, &[], ints(&[Some(5), None])),
            (0, &[], ints(&[Some(1), Some(2)])),
            (2, &[], at),
            (4, &["zip"], texts(&[Some("a\"b"), None])),
            (3, &[], texts(&[Some("[1.50, {\"x\": null}]"), Some("\"t\"")])),
        ]);
        let expected = [
            r#"{"n":5,"at":"1970-01-01T00:00:01.500Z","address":{"zip":"a\"b"},"any":[1.50,{"x":null}]}"#,
            r#"{"n":null,"at":null,"address":{"zip":null},"any":"t"}"#,
        ];
        assert_eq!(documents(&edit).unwrap(), expected);
        let found = gathered(&edit, Repeated::Last).unwrap();
        let Edit::Insert(insert) = &*found else { panic!("no insert") };
        let names: Vec<&str> = insert.columns.iter().map(|ordinal| insert.table.columns[*ordinal].name()).collect();
        assert_eq!((names, insert.table.columns.len(), insert.paths.len()), (vec!["id", "doc"], 7, 0));
        assert_eq!(insert.table.columns[6].pg_type(), PgType::JSONB);
        let plain = insert_of_id();
        assert!(matches!(gathered(&plain, Repeated::Last), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn fields_that_are_set_are_json_by_themselves() {
        let table = table();
        let update = |set: usize, values: ArrayRef, paths: Vec<edit::Path>| {
            let fields = vec![edit::field(&table.columns[0]), edit::field(&table.columns[set])];
            let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![ints(&[Some(1), Some(2)]), values]).unwrap();
            let (store, table, returning) = (StoreName::new("s"), table.clone(), Vec::new());
            UpdateRows { store, table, key: vec![0], set: vec![set], paths, rows, returning }
        };
        let address = update(4, texts(&[Some("{\"zip\": \"1\"}"), None]), Vec::new());
        assert_eq!(sets_fields(&address), Ok(true));
        let edit = Edit::UpdateRows(address);
        let found = with_fields(&edit, Repeated::Last).unwrap();
        let Edit::UpdateRows(written) = &*found else { panic!("no update") };
        assert_eq!((written.set.as_slice(), written.table.columns.len()), ([6].as_slice(), 7));
        let values: Vec<_> = written.rows.column(1).as_string::<i32>().iter().flatten().collect();
        assert_eq!(values, [r#"{"zip":"1"}"#, "null"]);
        let source = embedded::source(&written.table.columns[6].field).unwrap();
        assert_eq!((source.column, source.field.unwrap().name.as_str()), ("doc", "address"));
        assert_eq!(written.table.columns[6].pg_type(), PgType::JSONB);
        let wrong = Edit::UpdateRows(update(4, texts(&[Some("{\"zip\": 1}"), None]), Vec::new()));
        assert!(matches!(with_fields(&wrong, Repeated::Last), Err(StoreError::Value { sqlstate: "22P02", .. })));
        let inner = update(4, texts(&[None, None]), vec![vec!["zip".to_owned()]]);
        assert!(sets_fields(&inner).is_err());
        assert!(sets_fields(&update(5, texts(&[None, None]), Vec::new())).is_err());
        assert_eq!(sets_fields(&update(0, ints(&[None, None]), Vec::new())), Ok(false));
    }

    fn insert_of_id() -> Edit {
        insert(&[(0, &[], ints(&[Some(1)]))])
    }

    #[test]
    fn what_is_not_read_back_is_not_written() {
        let address = |text: &str| documents(&insert(&[(4, &[], texts(&[Some(text)]))]));
        assert_eq!(address("{\"zip\": \"1\", \"tags\": [\"a\"]}"), Ok(vec![r#"{"address":{"zip":"1","tags":["a"]}}"#.to_owned()]));
        for (text, code) in [("{\"zip\": 1}", "22P02"), ("[]", "22P02"), ("null", "0A000"), ("{", "22P02")] {
            assert_eq!(address(text), Err(code), "{text}");
        }
        let infinite: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX]).with_timezone(crate::pgtype::UTC));
        assert_eq!(documents(&insert(&[(2, &[], infinite)])), Err("22008"));
        let by = insert(&[(5, &[], texts(&[Some("abababababababababababab")]))]);
        assert_eq!(writes_columns(&by).unwrap_err().subject, "column \"by\"");
        let mut marked = Table::clone(&table());
        let whole = HashMap::from([(embedded::COLUMN_KEY.to_owned(), "doc".to_owned())]);
        marked.columns[1].field = Field::new("_doc", DataType::Utf8, true).with_pg_type(PgType::JSON).with_metadata(whole);
        let Edit::Insert(found) = insert(&[(1, &[], ints(&[Some(1)]))]) else { panic!("no insert") };
        assert!(writes_columns(&Edit::Insert(Insert { table: Arc::new(marked), ..found })).is_err());
    }
}
