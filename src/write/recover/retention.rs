//! What becomes too old in tables of ours: keys of transactions that nobody will send again, and marks that nobody will ask for.
//!
//! Rows are read and named one by one, and deleted by their keys in small edits of their own, which wait for nobody for long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::Schema;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use super::{Connectors, Recovery};
use crate::catalog::OwnTables;
use crate::error::{Diagnosis, sqlstate};
use crate::stores::cell::{self, Cells};
use crate::stores::commit::{MarkId, OwnTable};
use crate::stores::connector::ScanLimits;
use crate::stores::edit::{self, DeleteRows, Edit};
use crate::stores::predicate::{ColumnRef, Comparison, Predicate, Pushdown};
use crate::stores::schema::Column;
use crate::stores::value::Value;
use crate::stores::{Connector, Purpose, Scan, StoreName, Table};
use crate::telemetry::log::Line;

/// Rows of one edit.
const ROWS: usize = 500;
/// Edits of one store in a row; the rest waits for the next time.
const EDITS_MAX: usize = 200;
/// How old a mark is when nobody asks for it any more.
const MARKS_AGE: Duration = Duration::from_secs(24 * 3600);

/// How often it is looked for what is too old.
pub const EVERY: Duration = Duration::from_secs(3600);

/// What stores keep for transactions, by store.
pub type Own = BTreeMap<StoreName, OwnTables>;

impl Recovery {
    /// Removes what is too old, until `stop`.
    pub async fn sweep(self: Arc<Self>, own: Arc<arc_swap::ArcSwap<Own>>, stop: CancellationToken) {
        let mut pause = Duration::from_secs(60);
        loop {
            // Cancel-safe: an edit that was sent commits by itself or does nothing.
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = EVERY;
            let (stores, own) = ((self.stores)(), own.load_full());
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.sweep_once(&stores, &own) => {}
            }
        }
    }

    /// Removes what is too old now.
    pub async fn sweep_once(&self, stores: &Connectors, own: &Own) {
        for (store, connector) in stores {
            let kept = own.get(store).and_then(|tables| tables.keys);
            if let Some(kept) = kept
                && let Err(told) = remove_keys(connector, kept).await
            {
                tracing::warn!(%store, error = %Line(&told.message), "idempotency keys that are too old were not removed");
            }
            if self.has_marks(store)
                && let Err(told) = self.remove_marks(connector).await
            {
                tracing::debug!(%store, error = %Line(&told.message), "marks that are too old were not removed");
            }
        }
    }

    /// Whether the store has had a mark since the start: a table that may not be there is not asked for.
    fn has_marks(&self, store: &StoreName) -> bool {
        self.marked().contains(store)
    }

    /// Removes marks that are too old, of transactions of ours that are not open.
    async fn remove_marks(&self, connector: &Arc<dyn Connector>) -> Result<(), Diagnosis> {
        let Some(table) = connector.own_table(OwnTable::Marks) else { return Ok(()) };
        let old = old_keys(connector, &table, MARKS_AGE, ROWS * EDITS_MAX).await?;
        let Some(old) = old else { return Ok(()) };
        let own = self.coordinator.journal().numbers().log();
        let is_ours = |mark: &MarkId| mark.gid.log == own || self.table.as_ref().is_some_and(|table| table.holds(mark.gid.log));
        let open: std::collections::BTreeSet<_> = self.coordinator.open().left().iter().map(|left| left.gid).collect();
        let is_over = |mark: &MarkId| !open.contains(&mark.gid) && !self.coordinator.open().is_under_way(mark.gid);
        let texts = old.as_string_opt::<i32>().into_iter().flatten().flatten();
        let marks: Vec<MarkId> = texts.filter_map(MarkId::parse).filter(|mark| is_ours(mark) && is_over(mark)).collect();
        for marks in marks.chunks(ROWS) {
            connector.forget(marks).await.map_err(|error| Diagnosis::of(&error))?;
        }
        Ok(())
    }
}

/// Removes keys that were written before the store's retention.
///
/// # Errors
/// What the store answered; what was removed before stays so.
async fn remove_keys(connector: &Arc<dyn Connector>, kept: Duration) -> Result<(), Diagnosis> {
    let Some(table) = connector.own_table(OwnTable::Keys) else { return Ok(()) };
    let most = ROWS.min(connector.rows_of_edit()).max(1);
    for _ in 0..EDITS_MAX {
        let Some(keys) = old_keys(connector, &table, kept, most).await? else { return Ok(()) };
        let (count, ordinal) = (keys.len(), key_of(&table));
        let column = column(&table, ordinal)?;
        let schema = Arc::new(Schema::new(vec![edit::field(column)]));
        let rows = RecordBatch::try_new(schema, vec![keys]).map_err(|_unlike| other_form(&table))?;
        let (store, table) = (connector.name().clone(), Arc::clone(&table));
        let edit = Edit::DeleteRows(DeleteRows { store, table, key: vec![ordinal], rows, returning: Vec::new() });
        let branch = connector.open(Purpose::Once).await.map_err(|error| Diagnosis::of(&error))?;
        branch.edit(&edit, &CancellationToken::new()).await.map_err(|error| Diagnosis::of(&error))?;
        if count < most {
            return Ok(());
        }
    }
    Ok(())
}

/// The first column of a table of ours, whatever the store calls it.
fn key_of(table: &Table) -> usize {
    table.primary_key.as_ref().and_then(|key| key.columns.first().copied()).unwrap_or(0)
}

fn column(table: &Table, ordinal: usize) -> Result<&Column, Diagnosis> {
    table.columns.get(ordinal).ok_or_else(|| other_form(table))
}

fn other_form(table: &Table) -> Diagnosis {
    let told = format!("table \"{}\" is not as it was made", table.id.name);
    Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, told)
}

/// Keys of rows that are older than `age`, at most so many; `None` when there is none.
async fn old_keys(
    connector: &Arc<dyn Connector>,
    table: &Arc<Table>,
    age: Duration,
    most: usize,
) -> Result<Option<ArrayRef>, Diagnosis> {
    let before = TimeDelta::from_std(age).ok().and_then(|age| Utc::now().checked_sub_signed(age));
    let Some(before) = before else { return Ok(None) };
    let key = key_of(table);
    let at = table.columns.iter().position(|column| column.name() == "at").ok_or_else(|| other_form(table))?;
    let pg_type = column(table, at)?.pg_type();
    let limit = Cutoff::of(before);
    // What the store keeps of rows that are not old is left out here.
    let filter = limit.values().into_iter().find_map(|value| {
        let asked = Predicate::Compare { column: ColumnRef::of(at), op: Comparison::LessOrEqual, value: value.clone() };
        match (pg_type.carrier() == carrier_of(&value)).then(|| connector.pushdown(table, &asked))? {
            Pushdown::Exact(filter) | Pushdown::Superset(filter) => Some(filter),
            Pushdown::Refused(_) => None,
        }
    });
    let (store, id) = (connector.name().clone(), table.id.clone());
    let scan = Scan { store, table: id, columns: vec![key, at], filter: filter.into_iter().collect(), limit: None };
    let limits = ScanLimits { batch_rows: ROWS, ..ScanLimits::default() };
    let branch = connector.open(Purpose::Statement { scans: 1 }).await.map_err(|error| Diagnosis::of(&error))?;
    let mut rows = branch.scan(table, &scan, limits).await.map_err(|error| Diagnosis::of(&error))?;
    let (mut found, mut count) = (Vec::new(), 0);
    while let Some(batch) = rows.try_next().await.map_err(|error| Diagnosis::of(&error))? {
        let [keys, moments] = batch.columns() else { return Err(other_form(table)) };
        let cells = Cells::of(moments.as_ref(), pg_type).ok_or_else(|| other_form(table))?;
        let is_old = |row: &u32| {
            let moment = usize::try_from(*row).ok().and_then(|row| cell::value(&cells.get(row), pg_type));
            moment.is_some_and(|moment| limit.is_before(&moment))
        };
        let old: Vec<u32> = (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).filter(is_old).take(most - count).collect();
        count += old.len();
        if !old.is_empty() {
            found.push(take(keys.as_ref(), &UInt32Array::from(old), None).map_err(|_unlike| other_form(table))?);
        }
        if count >= most {
            break;
        }
    }
    drop(rows);
    let found: Vec<&dyn Array> = found.iter().map(AsRef::as_ref).collect();
    if found.is_empty() { Ok(None) } else { concat(&found).map(Some).map_err(|_unlike| other_form(table)) }
}

/// The moment up to which rows are old, as columns keep moments.
struct Cutoff {
    micros: i64,
    text: String,
}

impl Cutoff {
    fn of(before: DateTime<Utc>) -> Self {
        Self { micros: before.timestamp_micros(), text: before.to_rfc3339_opts(SecondsFormat::Millis, true) }
    }

    fn values(&self) -> [Value; 3] {
        [Value::TimestampTz(self.micros), Value::Timestamp(self.micros), Value::Text(self.text.clone())]
    }

    /// Texts have several spellings of a moment, and all begin with its day: such a row is old on the day after.
    fn is_before(&self, moment: &Value) -> bool {
        match moment {
            Value::TimestampTz(micros) | Value::Timestamp(micros) => *micros <= self.micros,
            Value::Text(text) => match (text.get(..10), self.text.get(..10)) {
                (Some(day), Some(last)) => day < last,
                _ => false,
            },
            _ => false,
        }
    }
}

/// The carrier of the type that a value is compared with.
fn carrier_of(value: &Value) -> arrow::datatypes::DataType {
    use crate::pgtype::PgType;

    match value {
        Value::TimestampTz(_) => PgType::TIMESTAMPTZ.carrier(),
        Value::Timestamp(_) => PgType::TIMESTAMP.carrier(),
        _ => PgType::TEXT.carrier(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_old_when_its_moment_is_and_a_text_a_day_later() {
        let before = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let cutoff = Cutoff::of(before);
        assert_eq!(cutoff.text, "2023-11-14T22:13:20.123Z");
        let rows = [
            (Value::TimestampTz(1_700_000_000_123_456), true),
            (Value::Timestamp(1_700_000_000_123_457), false),
            (Value::Text("2023-11-13T23:59:59.999Z".to_owned()), true),
            (Value::Text("2023-11-13 23:59:59".to_owned()), true),
            (Value::Text("2023-11-14 00:00:00".to_owned()), false),
            (Value::Text("soon".to_owned()), false),
            (Value::Int(0), false),
        ];
        for (moment, expected) in rows {
            assert_eq!(cutoff.is_before(&moment), expected, "{moment:?}");
        }
        let carriers: Vec<_> = cutoff.values().iter().map(carrier_of).collect();
        assert!(carriers[0] != carriers[1] && carriers[1] != carriers[2], "{carriers:?}");
    }
}
