//! What happens to the tables of one store that results are made of, followed by its feed.
//!
//! A table that nobody has asked for before is looked up in what was received lately, before anything is made of it: what happened to it just
//! before is known then. **Invariant:** where something may have been missed every result of before is of another history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ring::{Ring, Unproven};
use crate::changes::{Feeds, Hub, Piece, StartOver};
use crate::stores::StoreName;
use crate::stores::capture::Capture;
use crate::stores::change::{Barrier, Entry, Transaction};
use crate::stores::position::Position;
use crate::stores::schema::TableId;
use crate::task::OwnedTask;
use crate::telemetry::log::Line;

/// Most tables of a store that are followed here.
const TABLES_MAX: usize = 4_096;
/// How far back it is looked what has happened to a table that is asked for.
const LOOK_BACK: Duration = Duration::from_secs(60);
/// The pause before a feed is followed again, or is looked for.
const PAUSE: Duration = Duration::from_millis(100);

/// The tables of one store.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) store: StoreName,
    seen: Mutex<Seen>,
    /// The tables that are asked for.
    wanted: watch::Sender<BTreeSet<TableId>>,
    /// Raised with everything that was seen.
    moved: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Seen {
    rings: BTreeMap<TableId, Ring<Arc<Transaction>>>,
    /// Raised where something may have been missed.
    history: u64,
    /// Everything up to there was seen.
    applied: Option<Arc<Position>>,
    /// Everything that was committed until then was seen.
    fresh: Option<Instant>,
}

/// Under which numbers of the events of its tables a result is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    history: u64,
    epochs: Vec<(TableId, u64)>,
}

/// What was read of a store.
#[derive(Debug)]
pub(super) enum Version {
    /// One state of it.
    Exact {
        /// Who tells which transactions it has.
        capture: Arc<dyn Capture>,
        /// Which state.
        version: Vec<u8>,
        /// So long before something may have been received that it has not.
        look_back: Duration,
    },
    /// What was there while it was read. It is kept only where nothing has happened for so long before and meanwhile.
    Quiet(Duration),
}

impl Track {
    pub(super) fn new(store: &StoreName) -> Arc<Self> {
        Arc::new(Self::bare(store))
    }

    fn bare(store: &StoreName) -> Self {
        let (wanted, moved) = (watch::channel(BTreeSet::new()).0, watch::channel(0).0);
        Self { store: store.clone(), seen: Mutex::default(), wanted, moved }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // What a panic left behind may be a part of a transaction, of which the number was raised first.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.moved.send_modify(|count| *count += 1);
    }

    /// Follows these tables too. `false`: there would be too many.
    pub(super) fn want<'t>(&self, tables: impl IntoIterator<Item = &'t TableId>) -> bool {
        let mut has_room = true;
        self.wanted.send_if_modified(|wanted| {
            let before = wanted.len();
            for table in tables {
                if wanted.len() < TABLES_MAX {
                    wanted.insert(table.clone());
                } else {
                    has_room &= wanted.contains(table);
                }
            }
            wanted.len() > before
        });
        has_room
    }

    /// Raised with everything that was seen.
    pub(super) fn moved(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// Everything up to there was seen.
    pub(super) fn applied(&self) -> Option<Arc<Position>> {
        self.seen().applied.clone()
    }

    /// The history of now, where these tables are followed in it.
    pub(super) fn history_of(&self, tables: &[TableId]) -> Option<u64> {
        let seen = self.seen();
        tables.iter().all(|table| seen.rings.contains_key(table)).then_some(seen.history)
    }

    /// Whether a result that is kept under this mark has everything that was seen of its tables.
    pub(super) fn is_current(&self, mark: &Mark) -> bool {
        let seen = self.seen();
        let is_one = |(table, epoch): &(TableId, u64)| seen.rings.get(table).is_some_and(|ring| ring.epoch() == *epoch);
        seen.history == mark.history && mark.epochs.iter().all(is_one)
    }

    /// Everything that was committed until then was seen.
    pub(super) fn refresh(&self, moment: Instant) {
        let mut seen = self.seen();
        seen.fresh = seen.fresh.max(Some(moment));
    }

    /// At most so old is what was seen last; `None` where that is not known.
    pub(super) fn age(&self) -> Option<Duration> {
        self.seen().fresh.map(|fresh| fresh.elapsed())
    }

    /// The mark of what was read of these tables since `began`, in a history.
    ///
    /// # Errors
    /// It is not known to have everything that was seen until now.
    pub(super) fn mark(&self, tables: &[TableId], (began, history): (Instant, u64), version: &Version) -> Result<Mark, Unproven> {
        let seen = self.seen();
        if seen.history != history {
            return Err(Unproven::Unknown);
        }
        let check = |table: &TableId| -> Result<(TableId, u64), Unproven> {
            let ring = seen.rings.get(table).ok_or(Unproven::Unknown)?;
            let epoch = match version {
                Version::Exact { capture, version, look_back } => {
                    ring.check(began, *look_back, |transaction| capture.contains(version, transaction))
                }
                Version::Quiet(before) => ring.check(began, *before, |_transaction| false),
            };
            Ok((table.clone(), epoch?))
        };
        let epochs = tables.iter().map(check).collect::<Result<Vec<_>, Unproven>>()?;
        Ok(Mark { history, epochs })
    }

    /// Takes note of a transaction, or of a piece of one; only of what it did to some tables, where that is asked for.
    fn take(&self, piece: &Piece, only: Option<&BTreeSet<TableId>>) {
        let Some(transaction) = piece.transaction() else { return };
        let is_asked = |table: &TableId| only.is_none_or(|only| only.contains(table));
        let did = Did::of(piece, transaction);
        let (now, mut seen) = (Instant::now(), self.seen());
        let seen = &mut *seen;
        for (table, ring) in seen.rings.iter_mut().filter(|(table, _)| is_asked(table)) {
            if did.is_unknown || did.cut.contains(table) {
                ring.push(None, now);
            } else if did.changed.contains(table) {
                ring.push(Some(Arc::clone(&did.transaction)), now);
            }
        }
        if did.is_unknown {
            seen.fresh = None;
        }
    }

    /// Tables are others than they were, which no event may tell.
    pub(super) fn doubt<'t>(&self, tables: impl IntoIterator<Item = &'t TableId>) {
        let (now, mut seen) = (Instant::now(), self.seen());
        for table in tables {
            if let Some(ring) = seen.rings.get_mut(table) {
                ring.push(None, now);
            }
        }
    }

    /// Everything up to there was seen.
    fn reach(&self, position: Option<Position>) {
        self.seen().applied = position.map(Arc::new);
        self.tell();
    }

    /// Something may have been missed.
    fn break_off(&self) {
        let mut seen = self.seen();
        *seen = Seen { history: seen.history + 1, ..Seen::default() };
        drop(seen);
        self.tell();
    }

    /// Follows the store until `stop`.
    pub(super) async fn run(self: Arc<Self>, feeds: Arc<Feeds>, stop: CancellationToken) {
        let follow = move |track: Arc<Self>| {
            let feeds = Arc::clone(&feeds);
            async move { track.follow_on(&feeds).await }
        };
        self.run_by(follow, stop).await;
    }

    /// The same by whatever follows it, which is begun again behind a fault of its own.
    async fn run_by<F>(self: Arc<Self>, follow: impl Fn(Arc<Self>) -> F, stop: CancellationToken)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        loop {
            let following = OwnedTask::spawn(follow(Arc::clone(&self)));
            // Cancel-safe, both of them: what was followed is given up.
            let is_over = tokio::select! {
                () = stop.cancelled() => true,
                // There was a fault in it, of which somebody else hears.
                _fault = following.join() => false,
            };
            self.break_off();
            if is_over {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Follows it again and again.
    async fn follow_on(&self, feeds: &Feeds) {
        loop {
            let over = match feeds.hub(&self.store) {
                Some(hub) => self.follow(&hub).await.err(),
                None => None,
            };
            if let Some(StartOver { reason }) = over {
                tracing::info!(store = %self.store, reason = %Line(&reason), "results are not kept for a moment");
            }
            self.break_off();
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ends only where it cannot go on.
    async fn follow(&self, hub: &Arc<Hub>) -> Result<(), StartOver> {
        let (mut positions, mut wanted) = (hub.positions(), self.wanted.subscribe());
        let mut cursor = hub.at_end();
        loop {
            let tables = wanted.borrow_and_update().clone();
            self.look_back(hub, &tables, cursor.passed()).await?;
            // Read before what is there is taken: it is reached when all of that was.
            let applied = positions.borrow_and_update().clone();
            while let Some(piece) = cursor.next_until(applied.seq).await? {
                self.take(&piece, None);
            }
            if cursor.passed() == applied.seq {
                self.reach(applied.position);
            }
            // Cancel-safe, both of them.
            tokio::select! {
                changed = positions.changed() => if changed.is_err() { return Ok(()) },
                changed = wanted.changed() => if changed.is_err() { return Ok(()) },
            }
        }
    }

    /// Begins to follow tables that were not followed before, with what happened to them lately, up to a transaction.
    async fn look_back(&self, hub: &Arc<Hub>, wanted: &BTreeSet<TableId>, last: u64) -> Result<(), StartOver> {
        let is_new = |table: &&TableId| !self.seen().rings.contains_key(*table);
        let new: BTreeSet<TableId> = wanted.iter().filter(is_new).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        let complete = now.checked_sub(LOOK_BACK).unwrap_or(now);
        let mut cursor = hub.since(LOOK_BACK);
        // Nobody finds them before all of it was looked at: they are not there yet.
        let beside = Self::bare(&self.store);
        beside.seen().rings.extend(new.iter().map(|table| (table.clone(), Ring::since(complete))));
        while let Some(piece) = cursor.next_until(last).await? {
            beside.take(&piece, Some(&new));
        }
        let found = std::mem::take(&mut *beside.seen());
        self.seen().rings.extend(found.rings);
        self.tell();
        Ok(())
    }
}

/// What a transaction did.
struct Did<'p> {
    /// The transaction without its entries, which the tables that it changed share.
    transaction: Arc<Transaction>,
    changed: BTreeSet<&'p TableId>,
    /// Tables of which something is missing, or may be.
    cut: BTreeSet<&'p TableId>,
    /// The same of the whole store.
    is_unknown: bool,
}

impl<'p> Did<'p> {
    fn of(piece: &'p Piece, transaction: &'p Transaction) -> Self {
        let bare = Arc::new(Transaction {
            id: transaction.id.clone(),
            position: transaction.position.clone(),
            origin: None,
            committed_us: None,
            first: transaction.first,
            entries: Vec::new(),
            ends: transaction.ends,
        });
        let mut did = Self { transaction: bare, changed: BTreeSet::new(), cut: BTreeSet::new(), is_unknown: false };
        let mut known = None;
        for entry in &transaction.entries {
            match entry {
                Entry::Row { rows, .. } if known == Some(*rows) => {}
                Entry::Row { rows, .. } => {
                    known = Some(*rows);
                    let found = usize::try_from(*rows).ok().and_then(|rows| piece.group.rows.get(rows));
                    match found {
                        Some(rows) => {
                            did.changed.insert(&rows.shape.id);
                        }
                        None => did.is_unknown = true,
                    }
                }
                Entry::Barrier(Barrier::Truncated { table }) => {
                    did.changed.insert(table);
                }
                Entry::Barrier(barrier) => match barrier.table() {
                    Some(table) => {
                        did.cut.insert(table);
                    }
                    None => did.is_unknown = true,
                },
            }
        }
        did
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::changes::fakes::{id_of, position_of};

    /// Longer than anything here takes.
    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_fault_of_what_follows_ends_results_and_it_is_begun_again() {
        let (track, table) = (Track::new(&StoreName::new("shop")), id_of("orders"));
        let (begins, mut begun) = mpsc::channel(8);
        let (faulty, fails) = watch::channel(false);
        let follow = move |track: Arc<Track>| {
            let (begins, mut fails) = (begins.clone(), fails.clone());
            async move {
                track.seen().rings.insert(id_of("orders"), Ring::since(Instant::now()));
                track.reach(Some(position_of(&track.store, 1)));
                track.refresh(Instant::now());
                begins.send(()).await.unwrap();
                let goes_on = fails.wait_for(|fails| *fails).await.is_err();
                assert!(goes_on, "the test says so");
            }
        };
        let stop = CancellationToken::new();
        let running = OwnedTask::spawn(Arc::clone(&track).run_by(follow, stop.clone()));
        tokio::time::timeout(LONG, begun.recv()).await.unwrap().unwrap();
        let history = track.history_of(std::slice::from_ref(&table)).unwrap();
        let version = Version::Quiet(Duration::ZERO);
        let mark = track.mark(std::slice::from_ref(&table), (Instant::now(), history), &version).unwrap();
        let mut moved = track.moved();
        assert!(track.is_current(&mark) && track.applied().is_some() && track.age().is_some());
        faulty.send_replace(true);
        let gone = moved.wait_for(|_count| !track.is_current(&mark));
        tokio::time::timeout(LONG, gone).await.unwrap().unwrap();
        // What was made under it is not good any more, though the same is followed again and nothing has happened to it.
        faulty.send_replace(false);
        tokio::time::timeout(LONG, begun.recv()).await.unwrap().unwrap();
        assert!(!track.is_current(&mark));
        assert_ne!(track.history_of(&[table]), Some(history));
        stop.cancel();
        tokio::time::timeout(LONG, running.join()).await.unwrap().unwrap();
        assert_eq!((track.applied(), track.age()), (None, None));
    }
}
