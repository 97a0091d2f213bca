//! What undoes the writes of a block that may end as a saga: statements that the session was given for it, or inverses of the edits, made
//! of the rows as they were before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use async_trait::async_trait;
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use crate::catalog::{QualifiedName, RelationBody, Snapshot};
use crate::error::{Diagnosis, Limit, sqlstate};
use crate::federation::writers::Writers;
use crate::stores::connector::ScanLimits;
use crate::stores::edit::{DeleteRows, Insert, UpdateRows};
use crate::stores::position::Position;
use crate::stores::schema::{ForeignKey, TableId};
use crate::stores::{BatchStream, Branch, Connector, Edit, Edited, Scan, StoreError, StoreName, Table};
use crate::write::coordinator::Step;
use crate::write::inverse::{self, Seen};
use crate::write::named::named;

/// Most bytes of statements that undo a transaction.
const BYTES_MAX: usize = 1 << 20;
/// Most statements that a session may give for it.
const TOLD_MAX: usize = 100;
/// A way back that changes nothing, because nothing was changed.
const NOTHING: &str = "SELECT 1";

/// What undoes the writes of a block.
#[derive(Debug, Default)]
pub(super) struct Undone {
    stores: BTreeMap<StoreName, Vec<Entry>>,
    bytes: usize,
    told: usize,
    /// The store that was written to last, and how many savepoints there had been.
    last: Option<(StoreName, u32)>,
    /// Stores whose writes were answered as they were before, in the order of the first ones.
    repeated: Vec<StoreName>,
}

#[derive(Debug)]
struct Entry {
    /// How many savepoints the block had been asked for.
    since: u32,
    undo: Undo,
}

#[derive(Debug)]
enum Undo {
    /// Inverses of the edits of a statement.
    Inverse(Vec<String>),
    /// Nobody knows.
    Unknown,
    /// What the session has said, for all that was written to the store since it said so before.
    Told(Vec<String>),
}

impl Undone {
    /// A statement has written to a store. `None`: nobody knows what undoes it.
    ///
    /// # Errors
    /// 54000 for more than may be kept; the statement fails.
    pub(super) fn wrote(&mut self, store: &StoreName, since: u32, inverse: Option<Vec<String>>) -> Result<(), Diagnosis> {
        self.last = Some((store.clone(), since));
        let entries = self.stores.entry(store.clone()).or_default();
        // Behind something that nobody can undo it makes no difference.
        if matches!(entries.last(), Some(Entry { undo: Undo::Unknown, .. })) {
            return Ok(());
        }
        let undo = match inverse {
            Some(texts) => {
                self.bytes += bytes_of(&texts);
                Undo::Inverse(texts)
            }
            None => Undo::Unknown,
        };
        entries.push(Entry { since, undo });
        self.check()
    }

    /// A statement was answered as it was before. Nothing is kept of it.
    pub(super) fn repeated(&mut self, store: &StoreName, since: u32) {
        self.last = Some((store.clone(), since));
        if !self.repeated.contains(store) {
            self.repeated.push(store.clone());
        }
    }

    /// The stores that would have been written to by now.
    pub(super) fn would_have_written(&self) -> &[StoreName] {
        &self.repeated
    }

    /// The store that was written to last.
    pub(super) fn last(&self) -> Option<&StoreName> {
        self.last.as_ref().map(|(store, _)| store)
    }

    /// The session has said what undoes what it has written to a store.
    ///
    /// # Errors
    /// 54000 for more than may be kept.
    pub(super) fn told(&mut self, store: &StoreName, since: u32, texts: Vec<String>) -> Result<(), Diagnosis> {
        if self.told >= TOLD_MAX {
            let message = format!("a transaction may have at most {TOLD_MAX} compensations");
            return Err(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message).at(Limit::Transaction));
        }
        self.told += 1;
        self.bytes += bytes_of(&texts);
        self.stores.entry(store.clone()).or_default().push(Entry { since, undo: Undo::Told(texts) });
        self.check()
    }

    fn check(&self) -> Result<(), Diagnosis> {
        if self.bytes <= BYTES_MAX { Ok(()) } else { Err(too_much()) }
    }

    /// What was written after a savepoint is undone already.
    pub(super) fn roll_back_to(&mut self, savepoint: u32) {
        for entries in self.stores.values_mut() {
            entries.retain(|entry| entry.since <= savepoint);
        }
        self.stores.retain(|_, entries| !entries.is_empty());
        let left = self.stores.values().flatten();
        self.bytes = left.clone().map(|entry| bytes_of(entry.texts())).sum();
        self.told = left.filter(|entry| matches!(entry.undo, Undo::Told(_))).count();
        self.last.take_if(|(_, since)| *since > savepoint);
    }

    /// What undoes the writes to each store. A store has no step where nobody knows, and neither have those that are written to inside
    /// the same transaction.
    pub(super) fn steps(&self, writers: &Writers) -> Vec<Step> {
        let leader = |store: &StoreName| {
            let branch = writers.get(store);
            branch.as_ref().and_then(|branch| branch.leader()).unwrap_or(store).clone()
        };
        let known: Vec<(&StoreName, Option<Vec<String>>)> =
            self.stores.iter().map(|(store, entries)| (store, undo_of(entries))).collect();
        let lost: Vec<StoreName> = known.iter().filter(|(_, undo)| undo.is_none()).map(|(store, _)| leader(store)).collect();
        let steps = known.into_iter().filter(|(store, _)| !lost.contains(&leader(store)));
        steps.filter_map(|(store, undo)| Some(Step { store: store.clone(), undo: undo? })).collect()
    }
}

impl Entry {
    fn texts(&self) -> &[String] {
        match &self.undo {
            Undo::Inverse(texts) | Undo::Told(texts) => texts,
            Undo::Unknown => &[],
        }
    }
}

fn bytes_of(texts: &[String]) -> usize {
    texts.iter().map(String::len).sum()
}

fn too_much() -> Diagnosis {
    let message = "what would undo the transaction is too much to be kept";
    Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
        .with_detail(format!("The statements may have {BYTES_MAX} bytes together."))
        .with_hint("Change fewer rows, or SET tributary.cross_store_commit = 'atomic'.")
        .at(Limit::Transaction)
}

/// The statements that undo the writes to one store, in the order in which they are to run; `None` when nobody knows.
fn undo_of(entries: &[Entry]) -> Option<Vec<String>> {
    let mut settled: Vec<&[String]> = Vec::new();
    let mut open = Some(Vec::new());
    for entry in entries {
        match &entry.undo {
            Undo::Inverse(texts) => open.iter_mut().for_each(|open| open.push(texts.as_slice())),
            Undo::Unknown => open = None,
            Undo::Told(texts) => {
                settled.push(texts);
                open = Some(Vec::new());
            }
        }
    }
    settled.extend(open?);
    let undo: Vec<String> = settled.into_iter().rev().flatten().cloned().collect();
    Some(if undo.is_empty() { vec![NOTHING.to_owned()] } else { undo })
}

/// A branch whose edits are noted with what undoes them.
#[derive(Debug)]
pub(super) struct Recording {
    inner: Arc<dyn Branch>,
    connector: Arc<dyn Connector>,
    name: QualifiedName,
    /// The foreign keys that refer to the table.
    referring: Vec<ForeignKey>,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    /// What undoes each edit.
    undo: Vec<Vec<String>>,
    bytes: usize,
    is_unknown: bool,
}

impl Recording {
    /// Edits of the table `name` through `inner`. `referring` are the foreign keys that refer to the table.
    pub(super) fn new(
        inner: Arc<dyn Branch>,
        connector: Arc<dyn Connector>,
        name: QualifiedName,
        referring: Vec<ForeignKey>,
    ) -> Self {
        Self { inner, connector, name, referring, noted: Mutex::default() }
    }

    /// Forgets what was noted: it has been undone.
    pub(super) fn forget(&self) {
        *self.noted() = Noted::default();
    }

    /// What undoes all edits, in the order in which it is to run; `None` when nobody knows.
    pub(super) fn take(&self) -> Option<Vec<String>> {
        let noted = std::mem::take(&mut *self.noted());
        (!noted.is_unknown).then(|| noted.undo.into_iter().rev().flatten().collect())
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows that an edit names, as they are before it. `None` where the store is not asked for them.
    async fn before(&self, edit: &Edit) -> Result<Option<RecordBatch>, StoreError> {
        match edit {
            Edit::UpdateRows(UpdateRows { key, rows, .. }) | Edit::DeleteRows(DeleteRows { key, rows, .. }) => {
                self.read(edit, key, rows).await
            }
            Edit::Insert(_) | Edit::Update(_) | Edit::Delete(_) => Ok(None),
        }
    }

    /// What the store tells of an edit that it has made, whose rows were so before. It is asked again: triggers may have had their say.
    async fn seen(&self, edit: &Edit, before: Option<RecordBatch>, returned: Option<&RecordBatch>) -> Result<Seen, StoreError> {
        // Behind something that nobody can undo it makes no difference.
        let is_unknown = self.noted().is_unknown;
        let row_key = self.connector.row_key(edit.table());
        let Some((key, keys)) = inverse::keys_after(edit, returned, row_key).filter(|_| !is_unknown) else {
            return Ok(Seen { before, ..Seen::default() });
        };
        let after = self.read(edit, &key, &keys).await?;
        Ok(Seen { before, keys: Some(keys), after, row_key: row_key.cloned() })
    }

    /// All columns of the rows of these keys. `None` where the store cannot be asked for them.
    async fn read(&self, edit: &Edit, key: &[usize], rows: &RecordBatch) -> Result<Option<RecordBatch>, StoreError> {
        let table = edit.table();
        let columns: Vec<usize> = (0..table.columns.len()).collect();
        let schema = table.project(&columns);
        if rows.num_rows() == 0 {
            return Ok(Some(RecordBatch::new_empty(schema)));
        }
        let Some(filter) = named(self.connector.as_ref(), table, key, rows) else { return Ok(None) };
        let scan = Scan { store: edit.store().clone(), table: table.id.clone(), columns, filter: vec![filter], limit: None };
        let read = async {
            let stream = self.inner.scan(table, &scan, ScanLimits::default()).await?;
            stream.try_collect::<Vec<RecordBatch>>().await
        };
        match read.await {
            Ok(batches) => Ok(concat_batches(&schema, &batches).ok()),
            // A value that does not fit its column is no obstacle to the edit.
            Err(StoreError::Value { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same edit, which also gives the key of new rows back where its store can.
    fn with_key(&self, edit: &Edit) -> Option<Edit> {
        let Edit::Insert(insert) = edit else { return None };
        let key = inverse::key_of(&insert.table, self.connector.row_key(&insert.table)).ok()?;
        let mut returning = insert.returning.clone();
        let missing: Vec<usize> = key.columns.iter().copied().filter(|ordinal| !returning.contains(ordinal)).collect();
        returning.extend(missing);
        let widened = Edit::Insert(Insert { returning, ..insert.clone() });
        self.connector.accepts_edit(&widened).is_ok().then_some(widened)
    }

    fn note(&self, edit: &Edit, seen: &Seen) -> Result<(), StoreError> {
        let mut noted = self.noted();
        if noted.is_unknown {
            return Ok(());
        }
        let undone = inverse::check_references(edit, &self.referring).and_then(|()| inverse::undo(edit, seen, &self.name));
        match undone {
            Ok(texts) => {
                noted.bytes += bytes_of(&texts);
                noted.undo.push(texts);
            }
            Err(refusal) => {
                tracing::debug!(%refusal, "an edit has no inverse");
                noted.is_unknown = true;
            }
        }
        if noted.bytes <= BYTES_MAX {
            return Ok(());
        }
        let told = too_much();
        Err(StoreError::remote(edit.store().as_str(), &told.sqlstate, told.message))
    }
}

#[async_trait]
impl Branch for Recording {
    async fn scan(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        self.inner.scan(table, scan, limits).await
    }

    async fn edit(&self, edit: &Edit, stop: &CancellationToken) -> Result<Edited, StoreError> {
        let before = self.before(edit).await?;
        let widened = self.with_key(edit);
        let sent = widened.as_ref().unwrap_or(edit);
        let mut edited = self.inner.edit(sent, stop).await?;
        let returned = edited.returned.as_ref().filter(|_| widened.is_some());
        let seen = self.seen(sent, before, returned).await?;
        self.note(sent, &seen)?;
        if widened.is_some() {
            edited.returned = narrowed(edited.returned, edit.returning().len());
        }
        Ok(edited)
    }

    fn has_written(&self) -> bool {
        self.inner.has_written()
    }

    fn shared_snapshot(&self) -> Result<(), &'static str> {
        self.inner.shared_snapshot()
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        self.inner.commit().await
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        self.inner.rollback().await
    }
}

/// The foreign keys of a store that refer to one of its tables.
pub(super) fn referring(snapshot: &Snapshot, store: &StoreName, table: &TableId) -> Vec<ForeignKey> {
    let relations = snapshot.schemas.values().flat_map(|schema| schema.relations.values());
    let tables = relations.filter_map(|relation| match &relation.body {
        RelationBody::Stored { store: owner, table } => (owner == store).then_some(table),
        RelationBody::View { .. } | RelationBody::Rows(_) => None,
    });
    tables.flat_map(|other| &other.foreign_keys).filter(|key| key.references == *table).cloned().collect()
}

/// The first columns of rows that came back; none when nobody asked for some.
fn narrowed(returned: Option<RecordBatch>, columns: usize) -> Option<RecordBatch> {
    if columns == 0 {
        return None;
    }
    let places: Vec<usize> = (0..columns).collect();
    returned.and_then(|rows| rows.project(&places).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn entry(undo: Undo) -> Entry {
        Entry { since: 0, undo }
    }

    #[test]
    fn what_was_written_last_is_undone_first_and_what_was_said_replaces_what_was_found() {
        let inverse = |all: &[&str]| entry(Undo::Inverse(texts(all)));
        let told = |all: &[&str]| entry(Undo::Told(texts(all)));
        let rows: [(Vec<Entry>, Option<&[&str]>); 7] = [
            (vec![inverse(&["a2", "a1"]), inverse(&["b"])], Some(&["b", "a2", "a1"])),
            (vec![inverse(&["a"]), told(&["x"]), inverse(&["b"])], Some(&["b", "x"])),
            (vec![entry(Undo::Unknown), told(&["x", "y"])], Some(&["x", "y"])),
            (vec![told(&["x"]), told(&["y"])], Some(&["y", "x"])),
            (vec![told(&["x"]), entry(Undo::Unknown)], None),
            (vec![entry(Undo::Unknown), inverse(&["a"])], None),
            (vec![inverse(&[])], Some(&[NOTHING])),
        ];
        for (entries, expected) in rows {
            assert_eq!(undo_of(&entries), expected.map(texts), "{entries:?}");
        }
    }

    #[test]
    fn a_savepoint_takes_back_what_would_be_undone_and_the_bounds_hold() {
        let (a, b) = (StoreName::new("a"), StoreName::new("b"));
        let mut undone = Undone::default();
        undone.wrote(&a, 0, Some(texts(&["a"]))).unwrap();
        undone.wrote(&b, 1, None).unwrap();
        undone.told(&b, 1, texts(&["b"])).unwrap();
        undone.wrote(&a, 2, Some(texts(&["later"]))).unwrap();
        assert_eq!((undone.last(), undone.bytes, undone.told), (Some(&a), 7, 1));
        undone.roll_back_to(1);
        assert_eq!((undone.last(), undone.bytes, undone.told), (None, 2, 1));
        undone.roll_back_to(0);
        assert_eq!((undone.bytes, undone.told, undone.stores.len()), (1, 0, 1));
        for _ in 0..TOLD_MAX {
            undone.told(&a, 0, texts(&["x"])).unwrap();
        }
        assert_eq!(undone.told(&a, 0, texts(&["x"])).unwrap_err().sqlstate, "54000");
        assert_eq!(undone.wrote(&b, 0, Some(vec!["x".repeat(BYTES_MAX)])).unwrap_err().sqlstate, "54000");
    }
}
