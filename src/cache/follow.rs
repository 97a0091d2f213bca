//! One task a store: it has tables loaded, does to all of them what the feed tells, and publishes them together.
//!
//! ```text
//! wanted → due → filling (a task aside) → loaded → joining (done to, not published) → published
//!            ↑ after a pause                └ the feed has passed everything that the fill has read
//!            └── left: reshaped, stopped, a gap, a change that does not fit, too large
//! ```
//!
//! **Invariants:** a position is claimed when everything up to it has been done to all tables: that of the last transaction that was
//! taken, or that of the feed while nothing is published behind what was taken; what is given up is gone from the next set; what one set
//! has, the next one has too, or nothing is shown in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::apply::{Leaving, Said, Tables};
use super::fill::{self, Filled, Filling, Gathered, Unfilled};
use super::memory::too_large;
use super::status::CopyState;
use super::store::{Asked, Published, Requests, Shelf, StoreCopies};
use super::{CacheEntry, Caches, Pace, Rule};
use crate::changes::{Applied, Cursor, Piece, Place, StartOver};
use crate::stores::Table;
use crate::stores::change::Shape;
use crate::stores::position::{Coverage, Position};
use crate::stores::schema::TableId;
use crate::task::{Backoff, OwnedTask};

/// A table that is wanted.
#[derive(Debug)]
struct Plan {
    table: Arc<Table>,
    backoff: Backoff,
    /// When it is to be loaded; `None`: it is, or is not to be.
    due: Option<Instant>,
    /// When it was published.
    joined: Option<Instant>,
}

impl Plan {
    fn new(table: Arc<Table>, pace: &Pace) -> Self {
        let backoff = Backoff::new(pace.backoff.0, pace.backoff.1);
        Self { table, backoff, due: Some(Instant::now()), joined: None }
    }

    /// It is to be loaded at once.
    fn begin(&mut self) {
        self.backoff.reset();
        (self.due, self.joined) = (Some(Instant::now()), None);
    }

    /// It is to be loaded after a while, each time a longer one.
    fn put_off(&mut self, pace: &Pace) {
        // One that was served for long has nothing to do with what went wrong before.
        if self.joined.take().is_some_and(|joined| joined.elapsed() > pace.backoff.1) {
            self.backoff.reset();
        }
        self.due = Some(Instant::now() + self.backoff.next_wait());
    }

    /// Whether a copy of the table as it was is one of the table as it is.
    fn fits(&self, table: &Table) -> bool {
        let digest = |table: &Table| Shape::of(table, Vec::new(), Vec::new()).digest;
        self.table.schema == table.schema && digest(&self.table) == digest(table)
    }
}

/// What happens next.
enum Event {
    Stop,
    Asked,
    Came(Result<Piece, StartOver>),
    Reached,
    Filled(Option<Box<Result<Filled, Unfilled>>>),
    Due,
}

/// How much too early a position is claimed where that rule is left out.
const EARLY: Duration = Duration::from_millis(50);

/// The task of one store.
pub(super) struct Follower {
    caches: Arc<Caches>,
    copies: Arc<StoreCopies>,
    asked: watch::Receiver<Asked>,
    entry: Option<Arc<CacheEntry>>,
    life: u64,
    /// Up to which doubt copies were given up.
    doubted: u64,
    /// Whether a transaction had begun and not ended when its memory was counted last.
    had_open: bool,
    plans: BTreeMap<TableId, Plan>,
    filling: Option<(TableId, OwnedTask<Result<Filled, Unfilled>>)>,
    /// What was loaded and waits for the end of a transaction in pieces.
    loaded: Option<(TableId, Filled)>,
    cursor: Option<Cursor>,
    applied: Option<watch::Receiver<Applied>>,
    tables: Tables,
    /// The last transaction of which all is done.
    seq: u64,
    position: Option<Arc<Position>>,
    place: Option<Place>,
    has_ended: bool,
}

impl Follower {
    pub(super) fn new(caches: Arc<Caches>, copies: Arc<StoreCopies>) -> Self {
        Self {
            asked: copies.asked(),
            caches,
            copies,
            entry: None,
            life: 0,
            doubted: 0,
            had_open: false,
            plans: BTreeMap::new(),
            filling: None,
            loaded: None,
            cursor: None,
            applied: None,
            tables: Tables::default(),
            seq: 0,
            position: None,
            place: None,
            has_ended: false,
        }
    }

    /// Follows the store until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        self.reconcile();
        loop {
            self.go_on().await;
            let event = self.event(&stop).await;
            match event {
                Event::Stop => break,
                Event::Asked => self.reconcile(),
                Event::Came(Ok(piece)) => {
                    self.come(piece).await;
                    // Reads of others have their turn in between.
                    tokio::task::yield_now().await;
                }
                Event::Came(Err(over)) => self.lose(&over.reason),
                Event::Filled(filled) => self.filled(filled.map(|filled| *filled)),
                Event::Reached | Event::Due => {}
            }
        }
        self.has_ended = true;
    }

    /// Cancel-safe, every part of it.
    async fn event(&mut self, stop: &CancellationToken) -> Event {
        let due = self.due().map(tokio::time::Instant::from_std);
        let Self { asked, cursor, applied, filling, .. } = self;
        let came = async {
            match cursor {
                Some(cursor) => cursor.next().await,
                None => std::future::pending().await,
            }
        };
        let reached = async {
            let is_told = match applied.as_mut() {
                Some(applied) => applied.changed().await.is_ok(),
                None => false,
            };
            if !is_told {
                std::future::pending::<()>().await;
            }
        };
        let filled = async {
            match filling {
                Some((_, filling)) => filling.joined().await,
                None => std::future::pending().await,
            }
        };
        let waited = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => Event::Stop,
            changed = asked.changed() => if changed.is_ok() { Event::Asked } else { Event::Stop },
            came = came => Event::Came(came),
            () = reached => Event::Reached,
            filled = filled => Event::Filled(filled.map(Box::new)),
            () = waited => Event::Due,
        }
    }

    /// Whether a table is on its way, so that the next one has to wait.
    fn is_busy(&self) -> bool {
        self.filling.is_some() || self.loaded.is_some() || self.tables.is_joining()
    }

    /// When something is to be done by itself.
    fn due(&self) -> Option<Instant> {
        if self.is_busy() {
            let joining = self.tables.standing.values().filter_map(|standing| standing.origin.as_ref());
            return joining.map(|origin| origin.read + self.caches.pace.join).min();
        }
        self.plans.values().filter_map(|plan| plan.due).min()
    }

    /// What follows from whatever has happened.
    async fn go_on(&mut self) {
        self.see_left();
        self.claim();
        // What is lost is gone before anything else is shown.
        self.publish();
        self.copies.are_gone(self.doubted);
        if self.tables.standing.is_empty() {
            (self.cursor, self.applied, self.position, self.place) = (None, None, None, None);
        }
        self.adopt().await;
        self.claim();
        self.join();
        self.publish();
        self.begin_fill();
    }

    /// Does what is there.
    async fn come(&mut self, first: Piece) {
        let (began, settings) = (Instant::now(), &self.caches.settings);
        let Some(cursor) = &mut self.cursor else { return };
        let mut gathered = Gathered::of(first);
        // What ends the cursor is told again with the next step.
        while gathered.rows < settings.group_rows
            && began.elapsed() < settings.group_time
            && let Ok(Some(piece)) = cursor.try_next()
        {
            gathered.add(piece);
        }
        let (seq, said) = (cursor.passed(), Said::by(&gathered.pieces));
        if let Some(early) = said.position.clone().filter(|_| !self.caches.keeps(Rule::Applied)) {
            self.raise(early);
            self.publish();
            tokio::time::sleep(EARLY).await;
        }
        let names: Vec<TableId> = self.tables.standing.keys().cloned().collect();
        match fill::take(std::mem::take(&mut self.tables), gathered).await {
            Some(tables) => self.tables = tables,
            None => {
                let fault = |table| (table, Leaving::Broken("its changes could not be applied".to_owned()));
                self.tables.left = names.into_iter().map(fault).collect();
            }
        }
        self.seq = seq;
        if said.has_gap {
            self.position = None;
        }
        if let Some(position) = said.position {
            self.raise(position);
        }
        self.place = said.place.or(self.place);
        self.weigh_open();
        self.copies.tally.transactions.add(said.ended);
    }

    /// A transaction that goes on takes memory before anybody sees it.
    fn weigh_open(&mut self) {
        for (table, bytes) in self.tables.open_sizes() {
            self.caches.weigh(&self.copies.name, table, bytes);
        }
        let had_open = std::mem::replace(&mut self.had_open, self.tables.is_open());
        if had_open && !self.had_open {
            // What it did may be in a table already, which is then no larger than it was.
            for (table, standing) in &self.tables.standing {
                self.caches.weigh(&self.copies.name, table, standing.version.bytes());
            }
        }
    }

    /// Everything up to a position is done.
    fn raise(&mut self, position: Position) {
        let Some(entry) = &self.entry else { return };
        // A feed that was begun again tells first of what it has told before.
        let is_known = |known: &Arc<Position>| entry.connector.covers(known, &position) == Coverage::Covered;
        if !self.position.as_ref().is_some_and(is_known) {
            self.position = Some(Arc::new(position));
        }
    }

    /// Takes over how far the store was read, where everything that is published until there is done. Both are told as one, so nothing
    /// can have been published in between.
    fn claim(&mut self) {
        let Some(applied) = &self.applied else { return };
        let applied = applied.borrow().clone();
        if applied.seq == self.seq
            && !self.tables.is_open()
            && let Some(position) = applied.position
        {
            self.raise(position);
        }
    }

    /// All copies are given up: it is not known how they go on.
    fn lose(&mut self, reason: &str) {
        self.tables.leave_all(reason);
        (self.cursor, self.applied, self.position, self.place) = (None, None, None, None);
    }

    /// Tables that do not go on are loaded again after a while, or once they have events again.
    fn see_left(&mut self) {
        for (table, leaving) in std::mem::take(&mut self.tables.left) {
            self.tables.remove(&table);
            self.caches.memory.remove(&self.copies.name, &table);
            self.copies.tally.left(leaving.word());
            let Some(plan) = self.plans.get_mut(&table) else { continue };
            plan.put_off(&self.caches.pace);
            let state = if matches!(leaving, Leaving::Stopped(_)) { CopyState::StoreOnly } else { CopyState::Waiting };
            self.copies.stands.set(&table, state, Some(leaving.reason()));
        }
    }

    /// Publishes all tables that are to be served, where something has changed.
    fn publish(&mut self) {
        let before = self.copies.any_set();
        let (mut tables, mut changed) = (BTreeMap::new(), Vec::new());
        for (table, standing) in self.tables.standing.iter().filter(|(_, standing)| standing.origin.is_none()) {
            let known = before.tables.get(table);
            let uses = known.map(|shelf| Arc::clone(&shelf.uses)).unwrap_or_else(|| self.copies.stands.uses(table));
            if known.is_none_or(|shelf| !Arc::ptr_eq(&shelf.version, &standing.version)) {
                changed.push((table.clone(), Arc::clone(&standing.version)));
            }
            // All tables but the first one some sets later than that.
            let is_late = !self.caches.keeps(Rule::Whole) && !tables.is_empty() && before.number / 8 % 2 == 1;
            let late = known.filter(|_| is_late);
            let version = Arc::clone(late.map_or(&standing.version, |shelf| &shelf.version));
            tables.insert(table.clone(), Shelf { version, uses });
        }
        if tables.is_empty() {
            self.copies.publish_nothing();
            return self.count_older(&before, &tables);
        }
        let has_other = !changed.is_empty() || tables.len() != before.tables.len();
        if !has_other && self.position == before.position && self.place == before.place {
            return;
        }
        let tables = if has_other { Arc::new(tables) } else { Arc::clone(&before.tables) };
        self.copies.publish(Arc::clone(&tables), self.position.clone(), self.place);
        self.count_older(&before, &tables);
        // Of who reads it still this is none.
        drop(before);
        for (table, version) in changed {
            self.copies.stands.measure(&table, &version);
            self.caches.weigh(&self.copies.name, &table, version.bytes());
        }
    }

    /// States that are not published any more count as long as somebody reads them.
    fn count_older(&self, before: &Published, now: &BTreeMap<TableId, Shelf>) {
        for (table, shelf) in before.tables.iter() {
            let newest = now.get(table).map(|shelf| &shelf.version);
            if newest.is_none_or(|newest| !Arc::ptr_eq(newest, &shelf.version)) {
                self.caches.memory.replaced((&self.copies.name, table), &shelf.version, newest);
            }
        }
    }

    /// A table that is loaded is followed from here on with the others.
    async fn adopt(&mut self) {
        if self.tables.is_open() {
            return;
        }
        let Some((table, mut filled)) = self.loaded.take() else { return };
        let (Some(plan), Some(hub)) = (self.plans.get(&table), self.caches.feeds.hub(&self.copies.name)) else {
            return self.not_filled(&table, Unfilled::NotYet("the feed of its store has not begun".to_owned()));
        };
        if self.cursor.is_some() && filled.standing.seq < self.seq {
            let (of, rows) = (Arc::clone(&plan.table), self.caches.settings.group_rows);
            match fill::catch_up(&of, filled, self.seq, rows).await {
                Ok(caught_up) => filled = caught_up,
                Err(unfilled) => return self.not_filled(&table, unfilled),
            }
        }
        let Filled { standing, cursor } = filled;
        if self.cursor.is_none() {
            // The first of them brings the place where all of them are followed.
            (self.seq, self.position, self.place) = (cursor.passed(), None, None);
            (self.cursor, self.applied) = (Some(cursor), Some(hub.positions()));
        }
        self.tables.standing.insert(table, standing);
    }

    /// Publishes a table once everything is done that the fill has read: then it is of the same moment as the others.
    fn join(&mut self) {
        let Some(entry) = self.entry.clone() else { return };
        let joining = self.tables.standing.iter().find(|(_, standing)| standing.origin.is_some());
        let found = joining.and_then(|(table, standing)| Some((table.clone(), standing.origin.clone()?, standing.seq)));
        let Some((table, origin, seq)) = found else { return };
        let position = self.position.as_deref().filter(|_| seq <= self.seq && !self.tables.is_open());
        // Places of another server say nothing of this one.
        let runs = origin.life == self.life && self.caches.feeds.runs_over(&self.copies.name, &entry.connector);
        let is_passed =
            runs && position.is_some_and(|position| entry.connector.covers(position, &origin.bound) == Coverage::Covered);
        if !is_passed {
            if origin.read.elapsed() >= self.caches.pace.join {
                self.tables.remove(&table);
                self.not_filled(&table, Unfilled::Again("the feed has not passed the state that was read".to_owned()));
            } else if let Some(standing) = self.tables.standing.get(&table) {
                // It may grow as those do that are published.
                self.caches.weigh(&self.copies.name, &table, standing.version.bytes());
            }
            return;
        }
        let digest = self.tables.standing.get(&table).map(|standing| standing.version.shape().digest);
        let told = self.caches.feeds.subscribed_from(&self.copies.name, &table).ok();
        if told.is_none_or(|shape| Some(shape.digest) != digest) {
            self.tables.remove(&table);
            return self.not_filled(&table, Unfilled::Again("its events ended or changed while it was loaded".to_owned()));
        }
        if let Some(standing) = self.tables.standing.get_mut(&table) {
            standing.origin = None;
        }
        if let Some(plan) = self.plans.get_mut(&table) {
            plan.joined = Some(Instant::now());
        }
        self.copies.trust(origin.life);
        self.copies.tally.loaded.add(1);
        self.copies.stands.set(&table, CopyState::Cached, None);
    }

    /// Begins to load the table that has waited longest, where none is on its way.
    fn begin_fill(&mut self) {
        let Some(entry) = self.entry.clone().filter(|_| !self.is_busy()) else { return };
        let now = Instant::now();
        let due = self.plans.iter().filter_map(|(table, plan)| Some((plan.due.filter(|due| *due <= now)?, table.clone())));
        let due: BTreeSet<(Instant, TableId)> = due.collect();
        for (_, table) in due {
            let Some(plan) = self.plans.get_mut(&table) else { continue };
            if let Err(unfilled) = fill::shape(&self.caches, &self.copies, &plan.table) {
                self.not_filled(&table, unfilled);
                continue;
            }
            plan.due = None;
            self.copies.stands.set(&table, CopyState::Loading, None);
            let number = self.caches.memory.begin(&self.copies.name, &table);
            let filling = Filling {
                caches: Arc::clone(&self.caches),
                copies: Arc::clone(&self.copies),
                entry,
                life: self.life,
                table: Arc::clone(&plan.table),
                number,
            };
            self.filling = Some((table, OwnedTask::spawn(filling.run())));
            return;
        }
    }

    fn filled(&mut self, filled: Option<Result<Filled, Unfilled>>) {
        let Some((table, _)) = self.filling.take() else { return };
        match filled {
            Some(Ok(filled)) => self.loaded = Some((table, filled)),
            Some(Err(unfilled)) => self.not_filled(&table, unfilled),
            None => self.not_filled(&table, Unfilled::Again("there was a fault while it was loaded".to_owned())),
        }
    }

    fn not_filled(&mut self, table: &TableId, unfilled: Unfilled) {
        self.caches.memory.remove(&self.copies.name, table);
        let Some(plan) = self.plans.get_mut(table) else { return };
        let soon = Some(Instant::now() + self.caches.pace.poll);
        let (state, reason) = match unfilled {
            Unfilled::TooLarge(reason) => {
                plan.due = None;
                self.copies.tally.left("too-large");
                (CopyState::StoreOnly, reason)
            }
            Unfilled::StoreOnly(reason) => {
                plan.due = soon;
                (CopyState::StoreOnly, reason)
            }
            Unfilled::NotYet(reason) => {
                plan.due = soon;
                (CopyState::Waiting, reason)
            }
            Unfilled::Again(reason) => {
                plan.put_off(&self.caches.pace);
                self.copies.tally.left("not-loaded");
                (CopyState::Waiting, reason)
            }
        };
        self.copies.stands.set(table, state, Some(&reason));
    }

    /// Does what is asked of the copies.
    fn reconcile(&mut self) {
        let asked = self.asked.borrow_and_update().clone();
        let is_other = asked.life != self.life;
        (self.entry, self.life) = (asked.entry, asked.life);
        let entry = self.entry.clone();
        let tables = entry.iter().flat_map(|entry| &entry.tables);
        let wanted: BTreeMap<TableId, Arc<Table>> = tables.map(|table| (table.id.clone(), Arc::clone(table))).collect();
        let gone: Vec<TableId> = self.plans.keys().filter(|table| !wanted.contains_key(table)).cloned().collect();
        for table in gone {
            self.give_up(&table);
            self.plans.remove(&table);
        }
        let kept_back: BTreeMap<&TableId, &str> =
            entry.iter().flat_map(|entry| &entry.kept_back).map(|(table, reason)| (table, reason.as_str())).collect();
        self.copies.stands.retain(|table| wanted.contains_key(table) || kept_back.contains_key(table));
        for (table, reason) in kept_back {
            self.copies.stands.set(table, CopyState::StoreOnly, Some(reason));
        }
        for (id, table) in wanted {
            let has_copy = self.has_copy(&id);
            match self.plans.get_mut(&id).filter(|plan| plan.fits(&table)) {
                Some(plan) => {
                    plan.table = table;
                    if is_other {
                        // Nothing is known of what is behind another connector.
                        plan.begin();
                        if has_copy {
                            self.give_up(&id);
                            self.copies.stands.set(&id, CopyState::Waiting, Some("its store was opened anew"));
                        }
                    }
                }
                None => {
                    self.give_up(&id);
                    self.copies.stands.set(&id, CopyState::Waiting, Some("it has not been loaded yet"));
                    self.plans.insert(id, Plan::new(table, &self.caches.pace));
                }
            }
        }
        let requests = self.copies.take_requests();
        self.requested(requests);
    }

    fn requested(&mut self, Requests { reload, demote, doubted }: Requests) {
        self.doubted = self.doubted.max(doubted);
        for table in demote {
            self.give_up(&table);
            let Some(plan) = self.plans.get_mut(&table) else { continue };
            plan.due = None;
            self.copies.tally.left("too-large");
            let reason = too_large(self.caches.memory.most());
            self.copies.stands.set(&table, CopyState::StoreOnly, Some(&reason));
        }
        for table in reload {
            self.give_up(&table);
            let Some(plan) = self.plans.get_mut(&table) else { continue };
            plan.begin();
            self.copies.stands.set(&table, CopyState::Waiting, Some("it is loaded again"));
        }
    }

    /// Whether there is a copy, or one is on its way.
    fn has_copy(&self, table: &TableId) -> bool {
        let is_filling = self.filling.as_ref().is_some_and(|(filling, _)| filling == table);
        let is_loaded = self.loaded.as_ref().is_some_and(|(loaded, _)| loaded == table);
        is_filling || is_loaded || self.tables.standing.contains_key(table)
    }

    /// There is no copy any more, and none is on its way.
    fn give_up(&mut self, table: &TableId) {
        self.tables.remove(table);
        self.filling.take_if(|(filling, _)| filling == table);
        self.loaded.take_if(|(loaded, _)| loaded == table);
        self.caches.memory.remove(&self.copies.name, table);
    }
}

impl Drop for Follower {
    /// Nothing follows the store any more, and what is not followed is not shown.
    fn drop(&mut self) {
        let before = self.copies.any_set();
        self.copies.publish_nothing();
        self.count_older(&before, &BTreeMap::new());
        for table in self.plans.keys() {
            self.caches.memory.remove(&self.copies.name, table);
            if !self.has_ended {
                let reason = "nothing follows its store any more; start the server again";
                self.copies.stands.set(table, CopyState::StoreOnly, Some(reason));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::fakes::{Did, FakeStore, group_of, id_of, mixed_of, pieces_of, position_of, shape_of, table_of};
    use crate::stores::change::{Barrier, Group};
    use crate::stores::{Connector, StoreName};

    fn piece(group: Group, seq: u64) -> Piece {
        Piece { group: Arc::new(group), transaction: 0, seq, generation: 1 }
    }

    fn follower(name: &StoreName) -> Follower {
        let connector: Arc<dyn Connector> = FakeStore::new(name.as_str());
        let copies = StoreCopies::new(name);
        let labels: crate::changes::feeds::Labels = Arc::new(|_table| None);
        copies.want(Some(CacheEntry { connector, tables: Vec::new(), kept_back: Vec::new(), labels }));
        let mut follower = Follower::new(Caches::none(), copies);
        follower.reconcile();
        follower
    }

    #[test]
    fn a_position_is_claimed_when_everything_up_to_it_is_done() {
        let name = StoreName::new("shop");
        let mut follower = follower(&name);
        let at = |seq, number| Applied { position: Some(position_of(&name, number)), seq, durable: 0 };
        let claimed = |number| Some(Arc::new(position_of(&name, number)));
        let (told, applied) = watch::channel(at(7, 9));
        (follower.applied, follower.seq) = (Some(applied), 6);
        follower.claim();
        assert_eq!(follower.position, None, "a transaction before it has not been done");
        follower.seq = 7;
        follower.claim();
        assert_eq!(follower.position, claimed(9));
        // A feed that was begun again tells of what it has told.
        told.send_replace(at(7, 3));
        follower.claim();
        assert_eq!(follower.position, claimed(9));
        // In the middle of a transaction nothing is known of its end.
        let pieces = pieces_of(&name, 12, &[("a", 1), ("b", 2)]);
        for (group, expected) in pieces.into_iter().zip([9, 12]) {
            told.send_replace(at(7, 12));
            follower.tables.take(&[piece(group, 8)]);
            follower.claim();
            assert_eq!(follower.position, claimed(expected));
        }
    }

    #[test]
    fn a_transaction_that_goes_on_is_counted_before_it_ends() {
        let name = StoreName::new("shop");
        let mut follower = follower(&name);
        let version = Arc::new(super::super::version::TableVersion::empty(&table_of("orders"), &shape_of("orders")).unwrap());
        let standing = super::super::apply::Standing { version, seq: 0, origin: None };
        follower.tables = Tables::of([(id_of("orders"), standing)].into());
        let first = pieces_of(&name, 12, &[("a", 1), ("b", 2)]).remove(0);
        follower.tables.take(&[piece(first, 1)]);
        assert_eq!(follower.caches.memory.total(), 0);
        follower.weigh_open();
        assert!(follower.caches.memory.total() > 0);
    }

    #[test]
    fn a_gap_ends_what_was_said_of_positions_and_pieces_say_nothing() {
        let name = StoreName::new("shop");
        let said = |groups: Vec<Group>| {
            let pieces: Vec<Piece> = groups.into_iter().map(|group| piece(group, 1)).collect();
            let said = Said::by(&pieces);
            (said.position.map(|position| position.token), said.has_gap, said.ended)
        };
        let at = |number| Some(position_of(&name, number).token);
        let gap = || mixed_of(&name, &[(4, vec![("orders", Did::Tell(Barrier::Gap { reason: "lost".to_owned() }))])]);
        let mut unknown = gap();
        unknown.transactions[0].position.token.clear();
        let before = || group_of(&name, &[(3, &[("a", 1)])]);
        assert_eq!(said(vec![before(), before()]), (at(3), false, 2));
        assert_eq!(said(vec![before(), unknown]), (None, true, 2));
        assert_eq!(said(vec![gap(), before()]), (at(3), true, 2));
        let piece = pieces_of(&name, 9, &[("a", 1), ("b", 1)]).remove(0);
        assert_eq!(said(vec![before(), piece]), (at(3), false, 1));
    }
}
