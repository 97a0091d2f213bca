//! Events of applications: rows of a table of ours in a store, written in the transaction of the rows that they tell of.
//!
//! **Invariants:** an event is there if and only if the writes of its transaction are; its payload is JSON before anything is sent.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Schema};
use chrono::{DateTime, SecondsFormat, Utc};
use datafusion::scalar::ScalarValue;

use crate::error::{Diagnosis, sqlstate};
use crate::format::{DisplaySettings, scalar};
use crate::pgtype::PgType;
use crate::stores::commit::Gid;
use crate::stores::edit::{self, Insert};
use crate::stores::schema::Column;
use crate::stores::{Edit, StoreName, Table};

/// Most characters of a topic.
const TOPIC_MAX: usize = 200;

/// What an application tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub topic: String,
    /// Events of one key are kept in order by whoever delivers them.
    pub key: Option<String>,
    /// JSON.
    pub payload: String,
}

impl Event {
    /// Whether it can be kept at all.
    ///
    /// # Errors
    /// 22P02 for a payload that is no JSON, 22023 and 22001 for the topic.
    pub fn check(&self) -> Result<(), Diagnosis> {
        if self.topic.is_empty() {
            return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, "the topic of an event is empty"));
        }
        if self.topic.chars().count() > TOPIC_MAX {
            let message = format!("the topic of an event has more than {TOPIC_MAX} characters");
            return Err(Diagnosis::new(sqlstate::STRING_DATA_RIGHT_TRUNCATION, message));
        }
        scalar::read(PgType::JSON, &self.payload, &DisplaySettings::default()).map(drop)
    }

    /// The edit that adds it to the outbox `table` of a store under an id, in the transaction of that name, which began at `at`.
    ///
    /// # Errors
    /// As [`Event::check`]; an internal error for a table of another form.
    pub fn edit(
        &self,
        (id, gid): (&str, Gid),
        store: &StoreName,
        table: &Arc<Table>,
        at: DateTime<Utc>,
    ) -> Result<Edit, Diagnosis> {
        self.check()?;
        let transaction = gid.to_string();
        let key = self.key.as_deref().map_or(Given::Null, Given::Text);
        let values = [
            (key_place(table), Given::Text(id)),
            (place(table, "topic")?, Given::Text(&self.topic)),
            (place(table, "key")?, key),
            (place(table, "payload")?, Given::Json(&self.payload)),
            (place(table, "at")?, Given::Moment(at)),
            (place(table, "transaction")?, Given::Text(&transaction)),
        ];
        let (columns, rows) = row(table, &values)?;
        let (store, table) = (store.clone(), Arc::clone(table));
        Ok(Edit::Insert(Insert { store, table, columns, rows, conflict: None, paths: Vec::new(), returning: Vec::new() }))
    }
}

/// A random id of an event (UUID, version 4).
pub fn new_id() -> String {
    let random: u128 = rand::random();
    let (version, variant): (u128, u128) = (0x4 << 76, 0x2 << 62);
    let id = (random & !(0xf << 76) & !(0x3 << 62)) | version | variant;
    let hex = format!("{id:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// A value of a row of ours.
#[derive(Debug, Clone, Copy)]
pub(super) enum Given<'v> {
    Null,
    Text(&'v str),
    Json(&'v str),
    Moment(DateTime<Utc>),
}

/// The first column of a table of ours, whatever the store calls it.
pub(super) fn key_place(table: &Table) -> usize {
    table.primary_key.as_ref().and_then(|key| key.columns.first().copied()).unwrap_or(0)
}

/// Another column of a table of ours.
pub(super) fn place(table: &Table, name: &str) -> Result<usize, Diagnosis> {
    table.columns.iter().position(|column| column.name() == name).ok_or_else(|| other_form(table))
}

/// One row of a table of ours: the ordinals of its columns, and their values as edits carry them.
pub(super) fn row(table: &Table, values: &[(usize, Given<'_>)]) -> Result<(Vec<usize>, RecordBatch), Diagnosis> {
    let (mut fields, mut arrays) = (Vec::with_capacity(values.len()), Vec::with_capacity(values.len()));
    for (ordinal, given) in values {
        let column = table.columns.get(*ordinal).ok_or_else(|| other_form(table))?;
        arrays.push(array(table, column, *given)?);
        fields.push(edit::field(column));
    }
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays);
    let ordinals = values.iter().map(|(ordinal, _)| *ordinal).collect();
    Ok((ordinals, rows.map_err(|_unlike| other_form(table))?))
}

fn array(table: &Table, column: &Column, given: Given<'_>) -> Result<ArrayRef, Diagnosis> {
    let pg_type = column.pg_type();
    match (given, pg_type.carrier()) {
        (Given::Null, _) => scalar::null(pg_type)?.to_array().map_err(|_none| other_form(table)),
        (Given::Text(text), DataType::Utf8) => Ok(Arc::new(StringArray::from(vec![text]))),
        (Given::Json(text), DataType::Utf8) => match scalar::read(pg_type, text, &DisplaySettings::default())? {
            ScalarValue::Utf8(text) => Ok(Arc::new(StringArray::from(vec![text]))),
            _ => Err(other_form(table)),
        },
        (Given::Moment(at), carrier) => moment(at, &carrier).ok_or_else(|| other_form(table)),
        (Given::Text(_) | Given::Json(_), _) => Err(other_form(table)),
    }
}

/// A moment as a column keeps it: in milliseconds, which all stores have. One that keeps texts gets it as sorts by time.
fn moment(at: DateTime<Utc>, carrier: &DataType) -> Option<ArrayRef> {
    let millis = at.timestamp_millis();
    match carrier {
        DataType::Timestamp(_, zone) => {
            let micros = TimestampMicrosecondArray::from(vec![millis.checked_mul(1_000)?]);
            Some(Arc::new(micros.with_timezone_opt(zone.clone())))
        }
        DataType::Utf8 => Some(Arc::new(StringArray::from(vec![moment_text(at)]))),
        _ => None,
    }
}

/// The text of a moment in a column of texts: `2026-01-31T12:00:00.000Z`.
pub fn moment_text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(super) fn other_form(table: &Table) -> Diagnosis {
    Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("table \"{}\" is not as it was made", table.id.name))
}

#[cfg(test)]
pub(super) mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Field, TimeUnit, TimestampMicrosecondType};

    use super::*;
    use crate::pgtype::PgField;
    use crate::stores::commit::LogId;
    use crate::stores::schema::{Collation, ColumnStatistics, Generated, Key, TableId, TableKind};

    /// A table of ours.
    pub(in crate::write) fn own(name: &str, columns: &[(&str, PgType)]) -> Arc<Table> {
        let column = |(name, pg_type): &(&str, PgType)| Column {
            field: Field::new(*name, pg_type.carrier(), true).with_pg_type(*pg_type),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        };
        let columns: Vec<Column> = columns.iter().map(column).collect();
        Arc::new(Table {
            id: TableId { namespace: "public".to_owned(), name: name.to_owned() },
            kind: TableKind::Table,
            schema: Table::arrow_schema(&columns),
            columns,
            primary_key: Some(Key { name: "primary".to_owned(), columns: vec![0], proven: true }),
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: None,
            division: None,
        })
    }

    fn outbox(id: &str, payload: PgType, at: PgType) -> Arc<Table> {
        let text = PgType::TEXT;
        let columns = [(id, text), ("topic", text), ("key", text), ("payload", payload), ("at", at), ("transaction", text)];
        own("tributary_outbox", &columns)
    }

    fn event(payload: &str) -> Event {
        Event { topic: "orders".to_owned(), key: None, payload: payload.to_owned() }
    }

    #[test]
    fn an_event_is_a_row_in_the_form_of_its_store() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let (zoned, gid) = (PgType::TIMESTAMPTZ.carrier(), Gid { log: LogId(0xa1), number: 7 });
        for (id, payload, kept, carrier) in [
            ("id", PgType::JSON, PgType::TIMESTAMPTZ, zoned),
            ("id", PgType::TEXT, PgType::TIMESTAMP, DataType::Timestamp(TimeUnit::Microsecond, None)),
            ("_id", PgType::TEXT, PgType::TEXT, DataType::Utf8),
        ] {
            let table = outbox(id, payload, kept);
            let edit = event("{\"a\": 1}").edit(("x", gid), &StoreName::new("shop"), &table, at).unwrap();
            let rows = edit.rows().unwrap();
            assert_eq!(rows.column(4).data_type(), &carrier);
            assert_eq!((rows.column(3).as_string::<i32>().value(0), rows.column(2).is_null(0)), ("{\"a\": 1}", true));
            assert_eq!(rows.column(5).as_string::<i32>().value(0), "tributary:00000000000000a1:0000000000000007");
            if carrier == DataType::Utf8 {
                assert_eq!(rows.column(4).as_string::<i32>().value(0), "2023-11-14T22:13:20.123Z");
            } else {
                assert_eq!(rows.column(4).as_primitive::<TimestampMicrosecondType>().value(0), 1_700_000_000_123_000);
            }
        }
        let other = own("other", &[("id", PgType::TEXT)]);
        assert!(event("{}").edit(("x", gid), &StoreName::new("shop"), &other, at).is_err());
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let code = |event: Event| event.check().err().map(|error| error.sqlstate);
        assert_eq!(code(event("{\"a\": [1, null]}")), None);
        assert_eq!(code(event("3")), None);
        for payload in ["", "{", "{a: 1}", "\"a"] {
            assert_eq!(code(event(payload)).as_deref(), Some("22P02"), "{payload}");
        }
        assert_eq!(code(Event { topic: String::new(), ..event("{}") }).as_deref(), Some("22023"));
        assert_eq!(code(Event { topic: "ü".repeat(TOPIC_MAX), ..event("{}") }), None);
        assert_eq!(code(Event { topic: "x".repeat(TOPIC_MAX + 1), ..event("{}") }).as_deref(), Some("22001"));
    }

    #[test]
    fn ids_are_random_uuids() {
        let (id, other) = (new_id(), new_id());
        assert_ne!(id, other);
        assert_eq!((id.len(), id.split('-').map(str::len).collect::<Vec<_>>()), (36, vec![8, 4, 4, 4, 12]));
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
        assert!(scalar::read(PgType::UUID, &id, &DisplaySettings::default()).is_ok());
    }
}
