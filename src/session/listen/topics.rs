//! Events of applications as clients that listen to their topics are told of them: rows that appear in an outbox.

use arrow::array::RecordBatch;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::changes::channel::Channel;
use crate::changes::payload::BYTES_MAX;
use crate::pgtype::{PgField, PgType};
use crate::stores::cell::{self, Cell, Cells};
use crate::stores::change::{Operation, Rows};

/// The columns of an outbox that are told of, behind the id, which is its key.
const TOPIC: &str = "topic";
const KEY: &str = "key";
const PAYLOAD: &str = "payload";

/// An event of an outbox.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// The channel of its topic, by the name that notifications carry.
    pub channel: String,
    /// What is told.
    pub payload: String,
}

/// The event that a changed row of an outbox is, at a position; `None` for what tells of none: rows that were removed, or changed by
/// hand.
pub fn event(rows: &Rows, row: usize, position: &str) -> Option<Event> {
    // A store that does not tell inserts from updates says "either" of both.
    let is_new = matches!(rows.operations.get(row)?, Operation::Insert | Operation::Upsert | Operation::Read);
    let id = rows.shape.key.first().copied().unwrap_or(0);
    let topic = column(rows, TOPIC).and_then(|column| text(rows, column, row)).filter(|_| is_new)?;
    let key = column(rows, KEY).and_then(|column| text(rows, column, row));
    let payload = column(rows, PAYLOAD).and_then(|column| text(rows, column, row));
    let channel = Channel::Topic(topic.clone()).shown();
    let told = Told { topic, key, id: text(rows, id, row), position };
    Some(Event { channel, payload: told.json(payload.as_deref()) })
}

fn column(rows: &Rows, name: &str) -> Option<usize> {
    rows.shape.schema.fields().iter().position(|field| field.name() == name)
}

/// The text of a value that the store sent; `None` for NULL too.
fn text(rows: &Rows, column: usize, row: usize) -> Option<String> {
    if !rows.new_known.has(column, row) {
        return None;
    }
    cell_text(&rows.new, column, row, rows.shape.schema.fields().get(column)?.pg_type())
}

fn cell_text(batch: &RecordBatch, column: usize, row: usize, pg_type: PgType) -> Option<String> {
    match Cells::of(batch.columns().get(column)?.as_ref(), pg_type)?.get(row) {
        // Also with a NUL byte in it, which JSON has a letter for.
        Cell::Text(content) => Some(content.to_owned()),
        other => {
            let mut out = String::new();
            cell::write_text(&other, pg_type, &mut out).ok().map(|()| out)
        }
    }
}

struct Told<'a> {
    topic: String,
    key: Option<String>,
    id: Option<String>,
    position: &'a str,
}

impl Told<'_> {
    /// With its payload where that fits, and at last without its key: both are in the outbox.
    fn json(&self, payload: Option<&str>) -> String {
        let whole = self.object(self.key.as_deref(), Some(payload));
        if whole.len() <= BYTES_MAX {
            return whole;
        }
        let without = self.object(self.key.as_deref(), None);
        if without.len() <= BYTES_MAX { without } else { self.object(None, None) }
    }

    /// `None` for the payload leaves it out.
    fn object(&self, key: Option<&str>, payload: Option<Option<&str>>) -> String {
        let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
        let mut head = Map::new();
        head.insert("op".to_owned(), Value::from("event"));
        head.insert("topic".to_owned(), Value::from(self.topic.as_str()));
        head.insert("key".to_owned(), text(key));
        head.insert("id".to_owned(), text(self.id.as_deref()));
        if payload.is_none() {
            head.insert("cut".to_owned(), Value::from(true));
        }
        head.insert("position".to_owned(), Value::from(self.position));
        let mut out = Value::Object(head).to_string();
        if let Some(payload) = payload {
            // As it is: digits and the order of its keys are the application's.
            let is_json = payload.is_some_and(|payload| serde_json::from_str::<IgnoredAny>(payload).is_ok());
            let written = if is_json { payload.unwrap_or_default().to_owned() } else { text(payload).to_string() };
            out.pop();
            out.push_str(",\"payload\":");
            out.push_str(&written);
            out.push('}');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;

    use super::*;
    use crate::stores::change::Shape;
    use crate::stores::change::builder::{Cell as Given, RowsBuilder};
    use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated, Table};

    fn shape() -> Arc<Shape> {
        let column = |name: &str, pg_type: PgType| Column {
            field: Field::new(name, pg_type.carrier(), true).with_pg_type(pg_type),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        };
        let columns = vec![
            column("id", PgType::UUID),
            column("topic", PgType::TEXT),
            column("key", PgType::TEXT),
            column("payload", PgType::JSON),
        ];
        Shape::of(&Table::plain("public", "tributary_outbox", columns), vec![0], vec![true; 4])
    }

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    fn rows(operation: Operation, topic: &str, key: Option<&str>, payload: &str) -> Rows {
        let mut builder = RowsBuilder::new(&shape());
        let key = key.map_or(Given::Null, Given::Text);
        let new = &mut [Given::Text(ID), Given::Text(topic), key, Given::Text(payload)].into_iter();
        builder.push(operation, new, None).unwrap();
        builder.finish().unwrap()
    }

    #[test]
    fn an_event_is_told_with_its_payload_as_it_is() {
        let told = event(&rows(Operation::Insert, "orders", Some("7"), "{\"b\": 1.50, \"a\": null}"), 0, "p").unwrap();
        assert_eq!(told.channel, "topic:orders");
        assert_eq!(
            told.payload,
            format!(
                "{{\"op\":\"event\",\"topic\":\"orders\",\"key\":\"7\",\"id\":\"{ID}\",\"position\":\"p\",\"payload\":{{\"b\": 1.50, \"a\": null}}}}"
            )
        );
        for operation in [Operation::Upsert, Operation::Read] {
            let told = event(&rows(operation, "a", None, "1"), 0, "p").unwrap();
            let told: Value = serde_json::from_str(&told.payload).unwrap();
            assert_eq!((&told["key"], &told["payload"]), (&Value::Null, &Value::from(1)));
        }
        for operation in [Operation::Update, Operation::Delete] {
            assert_eq!(event(&rows(operation, "a", None, "1"), 0, "p"), None);
        }
        assert_eq!(event(&rows(Operation::Insert, "a", None, "1"), 1, "p"), None);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let long = "x".repeat(8_000);
        let told = event(&rows(Operation::Insert, "a", Some("k"), &format!("\"{long}\"")), 0, "p").unwrap();
        let told: Value = serde_json::from_str(&told.payload).unwrap();
        assert_eq!((&told["cut"], &told["key"], told.get("payload")), (&Value::from(true), &Value::from("k"), None));
        let told = event(&rows(Operation::Insert, "a", Some(&long), "1"), 0, "p").unwrap();
        assert!(told.payload.len() <= BYTES_MAX);
        let told: Value = serde_json::from_str(&told.payload).unwrap();
        assert_eq!((&told["cut"], &told["key"], &told["id"]), (&Value::from(true), &Value::Null, &Value::from(ID)));
    }

    #[test]
    fn long_topics_have_the_alias_of_their_channel() {
        let topic = "t".repeat(100);
        let told = event(&rows(Operation::Insert, &topic, None, "1"), 0, "p").unwrap();
        assert_eq!(told.channel, Channel::of(&format!("topic:{topic}")).shown());
        assert_eq!(told.channel.len(), 63);
    }
}
