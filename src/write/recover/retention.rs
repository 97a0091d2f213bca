//! What becomes too old in tables of ours: keys of transactions that nobody will send again, and marks that nobody will ask for.
//!
//! Rows are read and named one by one, and deleted by their keys in small edits of their own, which wait for nobody for long. A round
//! does so much and no more; where something is left, the next one follows soon, so that no table grows because more is written than
//! is removed.

use std::collections::{BTreeMap, BTreeSet};
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
use crate::stores::commit::{MarkId, OwnTable, Part};
use crate::stores::connector::ScanLimits;
use crate::stores::edit::{self, DeleteRows, Edit};
use crate::stores::predicate::{ColumnRef, Comparison, Predicate, Pushdown};
use crate::stores::schema::Column;
use crate::stores::value::Value;
use crate::stores::{Connector, Purpose, Scan, StoreError, StoreName, Table};
use crate::telemetry::log::Line;

/// Rows that are read at a time, and the most of one edit.
const ROWS: usize = 500;
/// How often they are read in one store in a row; the rest waits for the next round.
const READS_MAX: usize = 200;
/// The pause in between, for those who write there.
const PAUSE: Duration = Duration::from_millis(10);
/// How old a mark is when nobody asks for it any more.
const MARKS_AGE: Duration = Duration::from_secs(24 * 3600);

/// How often it is looked for what is too old.
pub const EVERY: Duration = Duration::from_secs(3600);
/// The same while there is more of it than one round removes.
const SOON: Duration = Duration::from_secs(2);
/// The first time.
const FIRST: Duration = Duration::from_secs(60);

/// What stores keep for transactions, by store.
pub type Own = BTreeMap<StoreName, OwnTables>;

impl Recovery {
    /// Removes what is too old, until `stop`.
    pub async fn sweep(self: Arc<Self>, own: Arc<arc_swap::ArcSwap<Own>>, stop: CancellationToken) {
        let (mut pause, mut unmarked) = (FIRST, BTreeSet::new());
        loop {
            // Cancel-safe: an edit that was sent commits by itself or does nothing.
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let (stores, own) = ((self.stores)(), own.load_full());
            let is_left = tokio::select! {
                () = stop.cancelled() => return,
                is_left = self.sweep_once(&stores, &own, &mut unmarked) => is_left,
            };
            pause = if is_left { SOON } else { EVERY };
        }
    }

    /// Removes what is too old now, as much as one round does. Whether more of it may be left. `unmarked` has the stores that have no
    /// table of marks, which are not asked again until one has been made here.
    pub async fn sweep_once(&self, stores: &Connectors, own: &Own, unmarked: &mut BTreeSet<StoreName>) -> bool {
        let mut is_left = false;
        for (store, connector) in stores {
            if let Some(kept) = own.get(store).and_then(|tables| tables.keys) {
                match remove_keys(connector, kept).await {
                    Ok(more) => is_left |= more,
                    Err(told) => {
                        tracing::warn!(%store, error = %Line(&told.message), "idempotency keys that are too old were not removed");
                    }
                }
            }
            if !self.may_have_marks(connector, unmarked) {
                continue;
            }
            if let Err(told) = self.remove_marks(connector).await {
                tracing::debug!(%store, error = %Line(&told.message), "marks that are too old were not removed");
                if !is_passing(&told) {
                    unmarked.insert(store.clone());
                }
            }
        }
        is_left
    }

    /// Whether the store may have marks: of this process, or of earlier ones. A table that is not there is asked for once.
    fn may_have_marks(&self, connector: &Arc<dyn Connector>, unmarked: &mut BTreeSet<StoreName>) -> bool {
        let store = connector.name();
        if self.marked().contains(store) {
            unmarked.remove(store);
            return true;
        }
        !connector.is_read_only() && !matches!(connector.part(), Part::Alone(_)) && !unmarked.contains(store)
    }

    /// Removes marks that are too old, of transactions of ours that are not open.
    async fn remove_marks(&self, connector: &Arc<dyn Connector>) -> Result<(), Diagnosis> {
        let Some(table) = connector.own_table(OwnTable::Marks) else { return Ok(()) };
        let old = old_keys(connector, &table, MARKS_AGE, ROWS * READS_MAX).await?;
        let Some(old) = old else { return Ok(()) };
        let own = self.coordinator.journal().numbers().log();
        let is_ours = |mark: &MarkId| mark.gid.log == own || self.table.as_ref().is_some_and(|table| table.holds(mark.gid.log));
        let open: BTreeSet<_> = self.coordinator.open().left().iter().map(|left| left.gid).collect();
        let is_over = |mark: &MarkId| !open.contains(&mark.gid) && !self.coordinator.open().is_under_way(mark.gid);
        let texts = old.as_string_opt::<i32>().into_iter().flatten().flatten();
        let marks: Vec<MarkId> = texts.filter_map(MarkId::parse).filter(|mark| is_ours(mark) && is_over(mark)).collect();
        for marks in marks.chunks(ROWS) {
            connector.forget(marks).await.map_err(|error| Diagnosis::of(&error))?;
        }
        Ok(())
    }
}

/// Whether the store may answer otherwise the next time: it is away, busy or in conflict.
fn is_passing(told: &Diagnosis) -> bool {
    ["08", "40", "53", "57"].iter().any(|class| told.sqlstate.starts_with(class))
}

/// Removes keys that were written before the store's retention. Whether more of them may be left.
///
/// # Errors
/// What the store answered; what was removed before stays so.
async fn remove_keys(connector: &Arc<dyn Connector>, kept: Duration) -> Result<bool, Diagnosis> {
    let Some(table) = connector.own_table(OwnTable::Keys) else { return Ok(false) };
    let most = ROWS.min(connector.rows_of_edit()).max(1);
    for _ in 0..READS_MAX {
        let Some(keys) = old_keys(connector, &table, kept, ROWS).await? else { return Ok(false) };
        let count = keys.len();
        for start in (0..count).step_by(most) {
            remove(connector, &table, keys.slice(start, most.min(count - start))).await?;
        }
        if count < ROWS {
            return Ok(false);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(true)
}

/// Removes the rows with these keys, at most as many as one edit of the store takes.
async fn remove(connector: &Arc<dyn Connector>, table: &Arc<Table>, keys: ArrayRef) -> Result<(), Diagnosis> {
    let ordinal = key_of(table);
    let schema = Arc::new(Schema::new(vec![edit::field(column(table, ordinal)?)]));
    let rows = RecordBatch::try_new(schema, vec![keys]).map_err(|_unlike| other_form(table))?;
    let (store, table) = (connector.name().clone(), Arc::clone(table));
    let edit = Edit::DeleteRows(DeleteRows { store, table, key: vec![ordinal], rows, returning: Vec::new() });
    let branch = connector.open(Purpose::Once).await.map_err(|error| Diagnosis::of(&error))?;
    let removed = branch.edit(&edit, &CancellationToken::new()).await;
    removed.map(drop).map_err(|error| Diagnosis::of(&error))
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

/// Whether a row of a table of ours may be younger than `age`; one without a moment that can be read may be.
///
/// # Errors
/// What the store answered.
pub async fn has_young(connector: &Arc<dyn Connector>, table: &Arc<Table>, age: Duration) -> Result<bool, StoreError> {
    let before = TimeDelta::from_std(age).ok().and_then(|age| Utc::now().checked_sub_signed(age));
    let at = table.columns.iter().enumerate().find(|(_, column)| column.name() == "at");
    let (Some(before), Some((at, column))) = (before, at) else { return Ok(true) };
    let (limit, pg_type) = (Cutoff::of(before), column.pg_type());
    let scan =
        Scan { store: connector.name().clone(), table: table.id.clone(), columns: vec![at], filter: Vec::new(), limit: None };
    let branch = connector.open(Purpose::Statement { scans: 1 }).await?;
    let mut rows = branch.scan(table, &scan, ScanLimits::default()).await?;
    let mut is_young = false;
    while !is_young && let Some(batch) = rows.try_next().await? {
        let cells = batch.columns().first().and_then(|moments| Cells::of(moments.as_ref(), pg_type));
        let is_old = |cells: &Cells<'_>, row: usize| cell::value(&cells.get(row), pg_type).is_some_and(|at| limit.is_before(&at));
        is_young = cells.is_none_or(|cells| (0..batch.num_rows()).any(|row| !is_old(&cells, row)));
    }
    drop(rows);
    // Nothing of it may stand in the way of whoever goes on.
    branch.rollback().await?;
    Ok(is_young)
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
    fn a_store_that_is_away_is_asked_again_and_one_without_the_table_is_not() {
        for (code, expected) in
            [("08006", true), ("40001", true), ("53300", true), ("57014", true), ("42P01", false), ("55000", false)]
        {
            assert_eq!(is_passing(&Diagnosis::new(code, "no")), expected, "{code}");
        }
    }

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
