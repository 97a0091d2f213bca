//! Entries of the log as rows of `tributary.changes`.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Builder, ListBuilder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::SchemaRef;
use datafusion::scalar::ScalarValue;

use super::Wanted;
use super::names::{Label, Names};
use crate::changes::payload::{Side, object};
use crate::changes::{Cursor, Hub, Piece, StartOver};
use crate::error::{Diagnosis, sqlstate};
use crate::format::{DisplaySettings, scalar};
use crate::pgtype::{PgType, UTC};
use crate::stores::StoreName;
use crate::stores::change::{Barrier, Entry, Operation, Rows, Transaction};

/// Rows after which a batch is full; a transaction is not divided for it.
const ROWS_AT_ONCE: usize = 1_024;
/// Entries that are looked at for one batch.
const ENTRIES_AT_ONCE: usize = 65_536;
/// How often it is begun again where the beginning of the log is given up before anything of it was read.
const BEGINNINGS: usize = 16;
/// What is said of a row whose values cannot all be shown.
const NOT_JSON: &str = "a value holds what jsonb cannot";

/// Reads one store's part.
pub(super) struct Reader {
    schema: SchemaRef,
    cursor: Result<Cursor, StartOver>,
    /// Where it begins again, and how often yet; of what was asked for from a place on, nowhere.
    beginning: Option<(Arc<Hub>, usize)>,
    /// The last transaction that is read.
    last: u64,
    store: StoreName,
    names: Arc<Names>,
    wanted: Wanted,
}

impl Reader {
    /// One that reads from a cursor up to a transaction.
    pub(super) fn new(
        schema: SchemaRef,
        (cursor, last): (Result<Cursor, StartOver>, u64),
        store: StoreName,
        (names, wanted): (Arc<Names>, Wanted),
    ) -> Self {
        Self { schema, cursor, beginning: None, last, store, names, wanted }
    }

    /// The same, of whatever is retained: it begins again where that is less by then. Not where a place was asked for.
    pub(super) fn retrying(self, hub: &Arc<Hub>) -> Self {
        Self { beginning: Some((Arc::clone(hub), BEGINNINGS)), ..self }
    }

    /// Begins again, unless something was read.
    fn begin_again(&mut self) -> bool {
        let Some((hub, left)) = self.beginning.as_mut().filter(|(_, left)| *left > 0) else { return false };
        *left -= 1;
        self.cursor = Ok(hub.at_start());
        true
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// 55000 when what is to be read is not retained any more.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>, Diagnosis> {
        let (mut columns, mut looked) = (Columns::new(), 0);
        while columns.rows < ROWS_AT_ONCE && looked < ENTRIES_AT_ONCE {
            let cursor = self.cursor.as_mut().map_err(|told| Diagnosis::of(&*told))?;
            let next = cursor.next_until(self.last).await;
            let piece = match next {
                Ok(Some(piece)) => piece,
                Ok(None) => return if columns.rows == 0 { Ok(None) } else { columns.finish(&self.schema).map(Some) },
                Err(_) if self.begin_again() => continue,
                Err(told) => return Err(Diagnosis::of(&told)),
            };
            self.beginning = None;
            looked += 1 + piece.transaction().map_or(0, |transaction| transaction.entries.len());
            self.add(&piece, &mut columns)?;
        }
        columns.finish(&self.schema).map(Some)
    }

    fn add(&self, piece: &Piece, columns: &mut Columns) -> Result<(), Diagnosis> {
        let Some(transaction) = piece.transaction() else { return Ok(()) };
        for (at, entry) in transaction.entries.iter().enumerate() {
            let Some(place) = piece.place(at) else { continue };
            let Some((label, what)) = self.seen(piece, entry) else { continue };
            columns.store.append_value(self.store.as_str());
            columns.position.append_value(place.to_string());
            columns.ordinal.append_value(i64::from(place.ordinal));
            columns.add_transaction(transaction, piece.group.received_ms);
            columns.table_schema.append_option(label.as_ref().map(|label| label.0.as_str()));
            columns.table_name.append_option(label.as_ref().map(|label| label.1.as_str()));
            match what {
                What::Row(rows, row) => columns.add_row(rows, row)?,
                What::Barrier(op, reason) => columns.add_barrier(op, reason),
            }
            columns.rows += 1;
        }
        Ok(())
    }

    /// What an entry says, when the role may see it and conditions may want it.
    fn seen<'a>(&'a self, piece: &'a Piece, entry: &'a Entry) -> Option<(Option<Cow<'a, Label>>, What<'a>)> {
        let is_wanted = |label: &Cow<'_, Label>| self.wanted.takes(Some(label));
        match entry {
            Entry::Row { rows, row } => {
                let (rows, row) = (piece.group.rows.get(usize::try_from(*rows).ok()?)?, usize::try_from(*row).ok()?);
                let label = self.names.of_row(&rows.shape.id).filter(is_wanted).filter(|_| !rows.is_own_removal(row))?;
                Some((Some(label), What::Row(rows, row)))
            }
            Entry::Barrier(barrier) => {
                let what = match barrier {
                    Barrier::Truncated { .. } => What::Barrier("truncate", None),
                    Barrier::Reshaped { reason, .. } => What::Barrier("reshaped", Some(reason)),
                    Barrier::Stopped { reason, .. } => What::Barrier("stopped", Some(reason)),
                    Barrier::Gap { reason } => What::Barrier("gap", Some(reason)),
                };
                match barrier.table() {
                    Some(table) => Some((Some(self.names.of_barrier(table).filter(is_wanted)?), what)),
                    None => self.wanted.takes(None).then_some((None, what)),
                }
            }
        }
    }
}

/// What an entry says of its table.
enum What<'a> {
    Row(&'a Rows, usize),
    Barrier(&'static str, Option<&'a str>),
}

/// The columns, in their order.
struct Columns {
    rows: usize,
    store: StringBuilder,
    position: StringBuilder,
    ordinal: Int64Builder,
    transaction: StringBuilder,
    committed: TimestampMicrosecondBuilder,
    received: TimestampMicrosecondBuilder,
    table_schema: StringBuilder,
    table_name: StringBuilder,
    op: StringBuilder,
    key: StringBuilder,
    old: StringBuilder,
    new: StringBuilder,
    unknown: ListBuilder<StringBuilder>,
    reason: StringBuilder,
}

impl Columns {
    fn new() -> Self {
        let moment = || TimestampMicrosecondBuilder::new().with_timezone(UTC);
        Self {
            rows: 0,
            store: StringBuilder::new(),
            position: StringBuilder::new(),
            ordinal: Int64Builder::new(),
            transaction: StringBuilder::new(),
            committed: moment(),
            received: moment(),
            table_schema: StringBuilder::new(),
            table_name: StringBuilder::new(),
            op: StringBuilder::new(),
            key: StringBuilder::new(),
            old: StringBuilder::new(),
            new: StringBuilder::new(),
            unknown: ListBuilder::new(StringBuilder::new()),
            reason: StringBuilder::new(),
        }
    }

    fn add_transaction(&mut self, transaction: &Transaction, received_ms: u64) {
        self.transaction.append_value(&transaction.id);
        self.committed.append_option(transaction.committed_us);
        self.received.append_option(i64::try_from(received_ms).ok().and_then(|millis| millis.checked_mul(1_000)));
    }

    fn add_row(&mut self, rows: &Rows, row: usize) -> Result<(), Diagnosis> {
        let operation = rows.operations.get(row).copied().unwrap_or(Operation::Upsert);
        let count = rows.shape.schema.fields().len();
        let key = rows.key(row).map(|(is_old, row)| {
            let side = if is_old { Side::Old } else { Side::New };
            object(rows, side, row, rows.shape.key.iter().copied()).0
        });
        let has_old = rows.old.is_some() && (0..count).any(|column| rows.old_known.has(column, row));
        let old = has_old.then(|| object(rows, Side::Old, row, 0..count).0);
        let new = (operation != Operation::Delete).then(|| object(rows, Side::New, row, 0..count));
        let (new, unknown) = new.map_or((None, Vec::new()), |(new, unknown)| (Some(new), unknown));
        let values = [key, old, new].map(|text| text.map(|text| jsonb(&text)));
        let is_whole = values.iter().flatten().all(Option::is_some);
        let [key, old, new] = values.map(Option::flatten);
        self.op.append_value(operation.word());
        self.key.append_option(key);
        self.old.append_option(old);
        self.new.append_option(new);
        self.unknown.append_option((!unknown.is_empty()).then_some(unknown.into_iter().map(Some)));
        self.reason.append_option((!is_whole).then_some(NOT_JSON));
        Ok(())
    }

    fn add_barrier(&mut self, op: &str, reason: Option<&str>) {
        self.op.append_value(op);
        self.key.append_null();
        self.old.append_null();
        self.new.append_null();
        self.unknown.append_null();
        self.reason.append_option(reason);
    }

    fn finish(mut self, schema: &SchemaRef) -> Result<RecordBatch, Diagnosis> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.store.finish()),
            Arc::new(self.position.finish()),
            Arc::new(self.ordinal.finish()),
            Arc::new(self.transaction.finish()),
            Arc::new(self.committed.finish()),
            Arc::new(self.received.finish()),
            Arc::new(self.table_schema.finish()),
            Arc::new(self.table_name.finish()),
            Arc::new(self.op.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.old.finish()),
            Arc::new(self.new.finish()),
            Arc::new(self.unknown.finish()),
            Arc::new(self.reason.finish()),
        ];
        RecordBatch::try_new(Arc::clone(schema), columns)
            .map_err(|error| Diagnosis::new(sqlstate::INTERNAL_ERROR, format!("rows of the log: {error}")))
    }
}

/// A text of JSON in the form of `jsonb`; `None` when it has none (a NUL in a text).
fn jsonb(text: &str) -> Option<String> {
    match scalar::read(PgType::JSONB, text, &DisplaySettings::default()) {
        Ok(ScalarValue::Utf8(text)) => text,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::super::names::samples;
    use super::*;
    use crate::catalog::system::feeds::CHANGES;
    use crate::catalog::system::table::schema_of;
    use crate::changes::fakes::{group_of, id_of};
    use crate::stores::change::Group;

    fn reader(shown: &[&str], wanted: Wanted) -> Reader {
        reader_of(samples::names(&shown.iter().map(|table| (id_of(table), *table)).collect::<Vec<_>>(), &[], false), wanted)
    }

    fn reader_of(names: Names, wanted: Wanted) -> Reader {
        let cursor = Err(StartOver { reason: "it is not asked".to_owned() });
        Reader::new(schema_of(CHANGES), (cursor, 0), StoreName::new("shop"), (Arc::new(names), wanted))
    }

    fn rows(reader: &Reader, group: Group) -> RecordBatch {
        let piece = Piece { group: Arc::new(group), transaction: 0, seq: 5, generation: 1 };
        let mut columns = Columns::new();
        reader.add(&piece, &mut columns).unwrap();
        columns.finish(&reader.schema).unwrap()
    }

    fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
        batch.column_by_name(column).unwrap().as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    fn group() -> Group {
        group_of(&StoreName::new("shop"), &[(9, &[("a", 1), ("b", 2)])])
    }

    #[test]
    fn changed_rows_are_rows() {
        let batch = rows(&reader(&["orders"], Wanted::default()), group());
        assert_eq!(texts(&batch, "op"), some(&["insert", "update"]));
        assert_eq!(texts(&batch, "table_name"), some(&["orders", "orders"]));
        assert_eq!(texts(&batch, "transaction"), some(&["t9", "t9"]));
        assert_eq!(texts(&batch, "key"), some(&["{\"name\": \"a\"}", "{\"name\": \"b\"}"]));
        assert_eq!(texts(&batch, "new"), some(&["{\"name\": \"a\", \"total\": 1}", "{\"name\": \"b\", \"total\": 2}"]));
        assert_eq!(texts(&batch, "old"), [None, Some("{\"name\": \"b\"}".to_owned())]);
        assert_eq!(batch.column_by_name("unknown").unwrap().null_count(), 2);
        let positions = texts(&batch, "position");
        assert!(positions[0] < positions[1] && positions[0].as_deref().unwrap().starts_with("00000001-0000000000000005-00000000-"));
    }

    #[test]
    fn tables_that_are_not_shown_or_not_wanted_are_left_out() {
        assert_eq!(rows(&reader(&["notes"], Wanted::default()), group()).num_rows(), 0);
        let wanted = Wanted { name: Some("notes".to_owned()), ..Wanted::default() };
        assert_eq!(rows(&reader(&["orders"], wanted), group()).num_rows(), 0);
    }

    #[test]
    fn barriers_are_rows_with_a_reason() {
        let mut group = group();
        let reason = || "x".to_owned();
        let barriers = [
            Barrier::Truncated { table: id_of("orders") },
            Barrier::Stopped { table: id_of("tributary_outbox"), reason: reason() },
            Barrier::Reshaped { table: id_of("orders"), reason: reason() },
            Barrier::Gap { reason: reason() },
        ];
        group.transactions[0].entries = barriers.into_iter().map(Entry::Barrier).collect();
        let batch = rows(&reader(&["orders"], Wanted::default()), group);
        assert_eq!(texts(&batch, "op"), some(&["truncate", "reshaped", "gap"]));
        assert_eq!(texts(&batch, "reason"), [None, Some(reason()), Some(reason())]);
        assert_eq!(texts(&batch, "table_name").last(), Some(&None));
    }

    #[test]
    fn tables_that_are_gone_are_told_of_to_whoever_may_see_it() {
        let stopped = || Barrier::Stopped { table: id_of("orders"), reason: "it was dropped".to_owned() };
        let namespace = id_of("orders").namespace;
        let check = |sees_all: bool, wanted: Wanted, expected: &[&str]| {
            let mut group = group();
            group.transactions[0].entries.push(Entry::Barrier(stopped()));
            let batch = rows(&reader_of(samples::names(&[], &[(namespace.as_str(), "goods")], sees_all), wanted), group);
            assert_eq!(texts(&batch, "op"), some(expected), "{sees_all}");
            assert_eq!(texts(&batch, "table_schema"), some(&vec!["goods"; expected.len()]));
            assert_eq!(texts(&batch, "table_name"), some(&vec!["orders"; expected.len()]));
        };
        check(true, Wanted::default(), &["insert", "update", "stopped"]);
        check(false, Wanted::default(), &["stopped"]);
        let of = |schema: &str| Wanted { schema: Some(schema.to_owned()), ..Wanted::default() };
        check(true, of("goods"), &["insert", "update", "stopped"]);
        check(true, of("shop"), &[]);
    }

    #[test]
    fn what_jsonb_cannot_hold_is_said_so() {
        assert_eq!(jsonb("{\"b\":1,\"a\":[1.50]}").as_deref(), Some("{\"a\": [1.50], \"b\": 1}"));
        assert_eq!(jsonb("{\"a\":\"\\u0000\"}"), None);
    }

    #[tokio::test]
    async fn a_place_that_is_not_retained_is_an_error() {
        let told = reader(&[], Wanted::default()).next().await.unwrap_err();
        assert_eq!((told.sqlstate.as_str(), told.detail.as_deref()), ("55000", Some("It is not asked.")));
    }
}
