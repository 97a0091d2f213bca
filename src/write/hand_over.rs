//! Hands events of the outbox over: what is durable in the log of changes is removed from its store.
//!
//! ```text
//! log of changes (a cursor for each store) → rows that appeared in the outbox → durable? → deleted by their ids → place kept
//! ```
//!
//! **Invariants:** an event is removed once it is in a log that survives, and never before; what was removed and not noted is looked for
//! again after a restart, and a row that is gone is passed over. In stores whose log does not survive nothing is removed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::Schema;
use tokio_util::sync::CancellationToken;

use super::outbox::{key_place, other_form};
use super::recover::Stores;
use super::recover::retention::Own;
use crate::changes::{Cursor, Feeds, Hub, Piece, Place};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::change::{Entry, Operation, Rows};
use crate::stores::commit::OwnTable;
use crate::stores::edit::{self, DeleteRows, Edit};
use crate::stores::{Connector, Purpose, StoreName, Table};
use crate::task::{Backoff, OwnedTask, TaskSet};
use crate::telemetry::log::Line;

/// Rows of one edit.
const ROWS: usize = 500;
/// Entries that are looked at before what was found among them is removed.
const ENTRIES_AT_ONCE: usize = 16_384;
/// How often it is looked for stores that have an outbox now, or have none any more.
const LOOK: Duration = Duration::from_secs(2);
/// How often a place is kept behind which nothing was removed.
const KEEP: Duration = Duration::from_secs(60);
/// How long the rounds of all stores are given to end.
const GRACE: Duration = Duration::from_secs(2);
/// How long it is until a store that did not take an edit is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Keeps all places, or tells in words why not. It waits for the disk.
pub type Keep = Arc<dyn Fn(&BTreeMap<StoreName, String>) -> Result<(), String> + Send + Sync>;

/// How far the events of each store were handed over: places as texts, as they were kept, and how they are kept (which waits for the
/// disk).
pub struct Handed {
    /// What was kept before.
    pub places: BTreeMap<StoreName, String>,
    /// Keeps all of them, or tells in words why not.
    pub keep: Keep,
}

/// What the rounds of all stores share.
struct Handing {
    feeds: Arc<Feeds>,
    stores: Stores,
    own: Arc<ArcSwap<Own>>,
    places: Mutex<BTreeMap<StoreName, String>>,
    keep: Keep,
}

/// Removes what was handed over, until `stop`.
pub async fn run(feeds: Arc<Feeds>, stores: Stores, own: Arc<ArcSwap<Own>>, handed: Handed, stop: CancellationToken) {
    if !feeds.settings().is_durable {
        tracing::debug!("events stay in their outboxes: the log of changes does not survive a restart");
        return;
    }
    let Handed { places, keep } = handed;
    let handing = Arc::new(Handing { feeds, stores, own, places: Mutex::new(places), keep });
    let mut tasks = TaskSet::new();
    let mut rounds: BTreeMap<StoreName, CancellationToken> = BTreeMap::new();
    loop {
        let wanted = handing.wanted();
        rounds.retain(|store, round| {
            let stays = wanted.contains_key(store) && !round.is_cancelled();
            if !stays {
                round.cancel();
            }
            stays
        });
        for (store, hub) in wanted {
            if rounds.contains_key(&store) {
                continue;
            }
            let round = tasks.token().child_token();
            rounds.insert(store.clone(), round.clone());
            tasks.spawn("hand-over of events", Arc::clone(&handing).follow(store, hub, round));
        }
        // Cancel-safe: nothing is lost.
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    // What was under way is looked for again by the next start.
    tasks.stop(GRACE).await;
}

/// Pieces that are handed over together.
struct Batch {
    pieces: Vec<Piece>,
    /// Behind its last entry, when it has one.
    place: Option<Place>,
    last: u64,
}

impl Handing {
    fn places(&self) -> MutexGuard<'_, BTreeMap<StoreName, String>> {
        // What a panic left behind are whole places.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stores whose outbox is followed.
    fn wanted(&self) -> BTreeMap<StoreName, Arc<Hub>> {
        let (own, stores) = (self.own.load(), (self.stores)());
        let with_outbox = own.iter().filter(|(_, tables)| tables.outbox).map(|(store, _)| store);
        let writable = with_outbox.filter(|store| stores.get(store).is_some_and(|connector| !connector.is_read_only()));
        writable.filter_map(|store| Some((store.clone(), self.feeds.hub(store)?))).collect()
    }

    /// Where the store's events were handed over up to; the beginning, where that is not to be had.
    fn start(&self, store: &StoreName, hub: &Arc<Hub>) -> Cursor {
        let kept = self.places().get(store).and_then(|place| place.parse::<Place>().ok());
        kept.and_then(|place| hub.at(&place).ok()).unwrap_or_else(|| hub.at_start())
    }

    /// Hands over what the store tells, until `stop`.
    async fn follow(self: Arc<Self>, store: StoreName, hub: Arc<Hub>, stop: CancellationToken) {
        // Cancel-safe: what was not noted is done again, and an edit that was sent commits by itself or does nothing.
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow_on(&store, &hub) => {}
        }
        hub.hold(None);
    }

    async fn follow_on(&self, store: &StoreName, hub: &Arc<Hub>) {
        let mut cursor = self.start(store, hub);
        let mut kept = Instant::now();
        let mut retry = Backoff::new(RETRY.0, RETRY.1);
        loop {
            let first = match cursor.next().await {
                Ok(first) => first,
                Err(told) => {
                    tracing::warn!(%store, reason = %Line(&told.reason), "events may stay in the outbox: their changes are not retained");
                    // What cannot be read may be behind very much that can, all of which is looked at again.
                    tokio::time::sleep(retry.next_wait()).await;
                    cursor = hub.at_start();
                    continue;
                }
            };
            hub.hold(Some(first.seq));
            let batch = gather(first, &mut cursor);
            let has_removed = self.hand_over(store, hub, &batch).await;
            if let Some(place) = batch.place.filter(|_| has_removed || kept.elapsed() >= KEEP) {
                self.note(store, place).await;
                kept = Instant::now();
            }
            hub.hold(Some(batch.last + 1));
            if batch.last >= hub.last() {
                retry.reset();
            }
        }
    }

    /// Removes the events of a batch once they are durable, however long that takes; false where there are none.
    async fn hand_over(&self, store: &StoreName, hub: &Arc<Hub>, batch: &Batch) -> bool {
        let mut retry = Backoff::new(RETRY.0, RETRY.1);
        let mut is_told = false;
        loop {
            let outbox = (self.stores)().get(store).and_then(|connector| Outbox::of(Arc::clone(connector)));
            // A reload may have taken the store away; its round ends then.
            if let Some(outbox) = outbox {
                match outbox.ids(&batch.pieces) {
                    Ok(None) => return false,
                    Ok(Some(ids)) => {
                        self.feeds.tally().waits(store, u64::try_from(ids.len()).unwrap_or(u64::MAX));
                        let durable = hub.positions().wait_for(|applied| applied.durable >= batch.last).await.is_ok();
                        let removed = if durable { outbox.remove(&ids).await } else { Err(ended()) };
                        match removed {
                            Ok(()) => {
                                self.feeds.tally().waits(store, 0);
                                return true;
                            }
                            Err(error) => tell(store, &error, &mut is_told),
                        }
                    }
                    Err(error) => {
                        // The table is another one: nothing of these can be removed.
                        tell(store, &error, &mut is_told);
                        return false;
                    }
                }
            }
            tokio::time::sleep(retry.next_wait()).await;
        }
    }

    /// Keeps how far the store has come.
    async fn note(&self, store: &StoreName, place: Place) {
        let places = {
            let mut places = self.places();
            places.insert(store.clone(), place.to_string());
            places.clone()
        };
        let keep = Arc::clone(&self.keep);
        let kept = OwnedTask::spawn_blocking(move || keep(&places)).join().await;
        if let Some(Err(reason)) = kept {
            tracing::warn!(%store, reason = %Line(&reason), "how far events were handed over was not kept: some are looked for again");
        }
    }
}

fn ended() -> Diagnosis {
    Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, "the log of changes has ended")
}

/// Says once for a batch what keeps its events in the store.
fn tell(store: &StoreName, error: &Diagnosis, is_told: &mut bool) {
    if *is_told {
        tracing::debug!(%store, sqlstate = error.sqlstate, error = %Line(&error.message), "events are still in the outbox");
    } else {
        tracing::warn!(%store, sqlstate = error.sqlstate, error = %Line(&error.message), "events that were handed over stay in the outbox");
    }
    *is_told = true;
}

/// A piece and those that are there behind it.
fn gather(first: Piece, cursor: &mut Cursor) -> Batch {
    let entries = |piece: &Piece| piece.transaction().map_or(0, |transaction| transaction.entries.len());
    let mut looked = entries(&first);
    let mut pieces = vec![first];
    while looked < ENTRIES_AT_ONCE
        && let Ok(Some(next)) = cursor.try_next()
    {
        looked += 1 + entries(&next);
        pieces.push(next);
    }
    let last = pieces.last().map_or(0, |piece| piece.seq);
    let place = pieces.iter().rev().find_map(|piece| piece.place(entries(piece).checked_sub(1)?));
    Batch { pieces, place, last }
}

/// The outbox of a store.
struct Outbox {
    connector: Arc<dyn Connector>,
    table: Arc<Table>,
    /// The column of its ids.
    id: usize,
}

impl Outbox {
    fn of(connector: Arc<dyn Connector>) -> Option<Self> {
        let table = connector.own_table(OwnTable::Outbox)?;
        let id = key_place(&table);
        Some(Self { connector, table, id })
    }

    /// The ids of events that appeared; `None` where there is none.
    fn ids(&self, pieces: &[Piece]) -> Result<Option<ArrayRef>, Diagnosis> {
        let mut found: Vec<ArrayRef> = Vec::new();
        for piece in pieces {
            let Some(transaction) = piece.transaction() else { continue };
            for (number, rows) in piece.group.rows.iter().enumerate().filter(|(_, rows)| rows.shape.id == self.table.id) {
                let appeared = transaction.entries.iter().filter_map(|entry| match entry {
                    Entry::Row { rows: of, row } if usize::try_from(*of) == Ok(number) => Some(*row),
                    Entry::Row { .. } | Entry::Barrier(_) => None,
                });
                let appeared: Vec<u32> = appeared.filter(|row| self.is_event(rows, *row)).collect();
                if appeared.is_empty() {
                    continue;
                }
                let ids = rows.new.columns().get(self.id).ok_or_else(|| other_form(&self.table))?;
                let taken = take(ids.as_ref(), &UInt32Array::from(appeared), None);
                found.push(taken.map_err(|_unlike| other_form(&self.table))?);
            }
        }
        let parts: Vec<&dyn Array> = found.iter().map(AsRef::as_ref).collect();
        if parts.is_empty() { Ok(None) } else { concat(&parts).map(Some).map_err(|_unlike| other_form(&self.table)) }
    }

    fn is_event(&self, rows: &Rows, row: u32) -> bool {
        let Ok(row) = usize::try_from(row) else { return false };
        let appeared = matches!(rows.operations.get(row), Some(Operation::Insert | Operation::Upsert | Operation::Read));
        appeared && rows.new_known.has(self.id, row)
    }

    /// Deletes the rows of these ids. Those that are gone are passed over.
    async fn remove(&self, ids: &ArrayRef) -> Result<(), Diagnosis> {
        let column = self.table.columns.get(self.id).ok_or_else(|| other_form(&self.table))?;
        let schema = Arc::new(Schema::new(vec![edit::field(column)]));
        let most = ROWS.min(self.connector.rows_of_edit()).max(1);
        let mut start = 0;
        while start < ids.len() {
            let some = ids.slice(start, most.min(ids.len() - start));
            start += some.len();
            let rows = RecordBatch::try_new(Arc::clone(&schema), vec![some]).map_err(|_unlike| other_form(&self.table))?;
            let (store, table) = (self.connector.name().clone(), Arc::clone(&self.table));
            let edit = Edit::DeleteRows(DeleteRows { store, table, key: vec![self.id], rows, returning: Vec::new() });
            let branch = self.connector.open(Purpose::Once).await.map_err(|error| Diagnosis::of(&error))?;
            branch.edit(&edit, &CancellationToken::new()).await.map_err(|error| Diagnosis::of(&error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Field;
    use async_trait::async_trait;

    use super::*;
    use crate::changes::fakes::{group_of, position_of};
    use crate::pgtype::{PgField, PgType};
    use crate::stores::change::builder::{Cell, RowsBuilder};
    use crate::stores::change::{Group, Shape, Transaction};
    use crate::stores::connector::{BatchStream, Capabilities, ScanLimits};
    use crate::stores::position::{Coverage, Position};
    use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated};
    use crate::stores::{Branch, Edited, Predicate, Pushdown, Scan, StoreError, StoreSchema};
    use crate::write::recover::Connectors;

    /// A store with an outbox, which notes what is removed from it.
    #[derive(Debug)]
    struct Shop {
        name: StoreName,
        removed: Arc<Mutex<Vec<Vec<String>>>>,
    }

    #[derive(Debug)]
    struct Once(Arc<Mutex<Vec<Vec<String>>>>);

    fn outbox() -> Arc<Table> {
        let column = |name: &str| Column {
            field: Field::new(name, PgType::TEXT.carrier(), false).with_pg_type(PgType::TEXT),
            native_type: "text".to_owned(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        };
        Arc::new(Table::plain("public", "tributary_outbox", vec![column("id"), column("topic")]))
    }

    #[async_trait]
    impl Connector for Shop {
        fn name(&self) -> &StoreName {
            &self.name
        }

        fn kind(&self) -> &'static str {
            "fake"
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities { statement_snapshot: true, prepare: false, like: true, documents: false, cancel: false, keys_max: 10 }
        }

        async fn discover(&self) -> Result<StoreSchema, StoreError> {
            Ok(StoreSchema::default())
        }

        async fn ping(&self) -> Result<(), StoreError> {
            Ok(())
        }

        fn pushdown(&self, _table: &Table, _predicate: &Predicate) -> Pushdown {
            Pushdown::Refused("no scan is asked for")
        }

        fn describe_scan(&self, _table: &Table, _scan: &Scan) -> String {
            String::new()
        }

        async fn open(&self, purpose: Purpose) -> Result<Arc<dyn Branch>, StoreError> {
            assert_eq!(purpose, Purpose::Once);
            Ok(Arc::new(Once(Arc::clone(&self.removed))))
        }

        fn covers(&self, _applied: &Position, _wanted: &Position) -> Coverage {
            Coverage::Incomparable
        }

        fn own_table(&self, which: OwnTable) -> Option<Arc<Table>> {
            (which == OwnTable::Outbox).then(outbox)
        }

        async fn close(&self) {}
    }

    #[async_trait]
    impl Branch for Once {
        async fn scan(&self, _table: &Arc<Table>, scan: &Scan, _limits: ScanLimits) -> Result<BatchStream, StoreError> {
            Err(StoreError::Unsupported { store: scan.store.to_string(), feature: "scans" })
        }

        async fn edit(&self, edit: &Edit, _stop: &CancellationToken) -> Result<Edited, StoreError> {
            let Edit::DeleteRows(delete) = edit else { panic!("{edit:?}") };
            let ids = delete.rows.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect();
            self.0.lock().unwrap().push(ids);
            Ok(Edited::default())
        }

        fn shared_snapshot(&self) -> Result<(), &'static str> {
            Ok(())
        }

        async fn commit(&self) -> Result<Option<Position>, StoreError> {
            Ok(None)
        }

        async fn rollback(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    /// A piece with rows of the outbox behind rows of another table.
    fn piece(events: &[(Operation, &str)]) -> Piece {
        let store = StoreName::new("shop");
        let mut group: Group = group_of(&store, &[(9, &[("a", 1)])]);
        let mut builder = RowsBuilder::new(&Shape::of(&outbox(), vec![0], vec![true; 2]));
        for (operation, id) in events {
            builder.push(*operation, &mut [Cell::Text(id), Cell::Text("t")].into_iter(), None).unwrap();
        }
        let count = u32::try_from(events.len()).unwrap();
        group.rows.push(builder.finish().unwrap());
        let transaction: &mut Transaction = &mut group.transactions[0];
        transaction.position = position_of(&store, 9);
        transaction.entries.extend((0..count).map(|row| Entry::Row { rows: 1, row }));
        Piece { group: Arc::new(group), transaction: 0, seq: 5, generation: 1 }
    }

    fn shop() -> (Outbox, Arc<Mutex<Vec<Vec<String>>>>) {
        let removed: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
        let shop = Shop { name: StoreName::new("shop"), removed: Arc::clone(&removed) };
        (Outbox::of(Arc::new(shop)).unwrap(), removed)
    }

    #[tokio::test]
    async fn events_that_appeared_are_removed_by_their_ids() {
        let (outbox, removed) = shop();
        let events = [
            (Operation::Insert, "1"),
            (Operation::Delete, "2"),
            (Operation::Upsert, "3"),
            (Operation::Update, "4"),
            (Operation::Read, "5"),
        ];
        let ids = outbox.ids(&[piece(&events), piece(&[(Operation::Insert, "6")])]).unwrap().unwrap();
        outbox.remove(&ids).await.unwrap();
        assert_eq!(*removed.lock().unwrap(), [["1", "3", "5", "6"].map(str::to_owned).to_vec()]);
        assert!(outbox.ids(&[piece(&[]), piece(&[(Operation::Delete, "1")])]).unwrap().is_none());
    }

    #[tokio::test]
    async fn many_events_are_several_edits() {
        let (outbox, removed) = shop();
        let names: Vec<String> = (0..ROWS + 1).map(|number| number.to_string()).collect();
        let events: Vec<(Operation, &str)> = names.iter().map(|name| (Operation::Insert, name.as_str())).collect();
        let ids = outbox.ids(&[piece(&events)]).unwrap().unwrap();
        outbox.remove(&ids).await.unwrap();
        let lengths: Vec<usize> = removed.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(lengths, [ROWS, 1]);
    }

    #[tokio::test]
    async fn nothing_is_removed_where_the_log_does_not_survive() {
        let stores: Stores = Arc::new(|| -> Arc<Connectors> { panic!("no store is asked") });
        let own = Arc::new(ArcSwap::from_pointee(Own::new()));
        let handed = Handed { places: BTreeMap::new(), keep: Arc::new(|_places| Err("nothing is kept".to_owned())) };
        assert!(!Feeds::none().settings().is_durable);
        run(Feeds::none(), stores, own, handed, CancellationToken::new()).await;
    }
}
