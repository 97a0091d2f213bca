//! What a session listens to, and what it is told between two statements: changes of tables, events of topics, and what other sessions
//! notify of.
//!
//! ```text
//! LISTEN, UNLISTEN, NOTIFY → Pending (until the commit) → Listening, Board
//! wire: Session::notified → Session::take_notifications → NotificationResponse
//! ```
//!
//! **Invariants:** nothing is kept for a session but the place where it stands in the events of each store; a session is told of a table
//! from the commit of its LISTEN on, in the order of the store's commits; one that was too slow, and one for which something is missing,
//! is told so once for each channel.

mod ears;
mod pending;
mod topics;
mod views;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::future::select_all;

use super::rights::{Grounds, may_anything, may_follow, not_followed};
use super::role::Roles;
use super::{Session, Shared};
use crate::catalog::{QualifiedName, RelationBody, SearchPath, Snapshot};
use crate::changes::channel::{Channel, NAME_BYTES_MAX, Seat};
use crate::changes::{Cursor, Feeds, Hub, Piece, StartOver, payload};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::StoreName;
use crate::stores::commit::OwnTable;
use crate::stores::schema::TableId;
use crate::telemetry::metrics::Present;

pub use ears::Notification;
use ears::{Ear, Ears, Told, fed};
pub use pending::{Pending, Wish};
use views::ViewEar;

/// Most channels of a session.
pub const CHANNELS_MAX: usize = 1_000;
/// Entries that are looked at before other work has its turn.
const ENTRIES_AT_ONCE: usize = 65_536;
/// Transactions of no concern after which other work has its turn.
const PIECES_AT_ONCE: usize = 32;
/// What a client is told that may not listen to a channel any more.
const REVOKED: &str = r#"{"op":"revoked"}"#;

/// A channel with where its events come from.
#[derive(Debug, Clone)]
pub struct Heard {
    channel: Channel,
    /// The table that it is of, in the names of its store.
    table: Option<(StoreName, TableId)>,
    /// The materialized view that it is of, by its schema and name.
    view: Option<(String, String)>,
}

impl Heard {
    /// The name that notifications carry.
    pub fn shown(&self) -> String {
        self.channel.shown()
    }

    /// Whether stores and views tell of it, and not other sessions.
    pub fn is_fed(&self) -> bool {
        !self.channel.is_plain()
    }
}

/// What a session listens to.
#[derive(Debug, Default)]
pub struct Listening {
    /// By the names that notifications carry.
    channels: BTreeMap<String, Heard>,
    /// The same names in the order of their LISTEN, in which they are listed.
    order: Vec<String>,
    /// Among the sessions that notify one another, once it has listened to one of their channels.
    seat: Option<Seat>,
    stands: BTreeMap<StoreName, Stand>,
    /// The materialized views that it is told of, by the names of their channels.
    views: BTreeMap<String, ViewEar>,
    /// What is told before anything else.
    waiting: VecDeque<Notification>,
    /// What its rights stand on, while it listens to what stores tell.
    grounds: Option<Grounds>,
    /// Its place among those who follow feeds.
    present: Option<Present>,
}

/// Where a session stands in the events of one store.
#[derive(Debug)]
struct Stand {
    hub: Arc<Hub>,
    cursor: Cursor,
    /// What it has come to, and the next of its entries.
    at: Option<(Piece, usize)>,
    ears: Ears,
}

impl Session {
    /// Whether it is told of anything.
    pub fn listens(&self) -> bool {
        !self.listening.channels.is_empty() || !self.listening.waiting.is_empty()
    }

    /// Returns when there may be something to be told. Cancel-safe.
    pub async fn notified(&mut self) {
        self.listening.notified(&self.shared).await;
    }

    /// What there is to be told now, of about so many bytes.
    pub fn take_notifications(&mut self, bytes_max: usize) -> Vec<Notification> {
        self.review_channels();
        let stores: Vec<StoreName> = self.listening.stands.keys().cloned().collect();
        let told = self.listening.take(bytes_max, &self.shared.feeds);
        if !told.is_empty() {
            // A client that is told of a change and looks must find it.
            self.past.heard_of(&stores);
            self.shared.feeds.tally().notified(told.len() as u64);
        }
        told
    }

    /// The channel of a name.
    ///
    /// # Errors
    /// 42P01, 42809, 42501 and 55000 for a table whose changes are not told, and for what is no materialized view; 55000 for a topic where no
    /// store has an outbox that is followed.
    pub(super) fn channel(&self, name: &str) -> Result<Heard, Diagnosis> {
        let (snapshot, roles) = (self.shared.catalog.snapshot(), self.shared.roles.load_full());
        let channel = meant(name, &snapshot);
        let table = match &channel {
            Channel::Plain(_) => None,
            Channel::View(view) => {
                let view = views::meant(view, (&snapshot, &self.search_path()), (&roles, &self.role))?;
                return Ok(Heard { channel, table: None, view: Some(view) });
            }
            Channel::Topic(_) => {
                check_outboxes(&snapshot, &self.shared.feeds)?;
                None
            }
            Channel::Table { schema, name } => {
                let found = table_of((schema, name), &snapshot, (&roles, &self.role))?;
                let followed = self.shared.feeds.subscribed_from(&found.0, &found.1);
                followed.map_err(|why| not_followed((schema, name), &why))?;
                Some(found)
            }
        };
        Ok(Heard { channel, table, view: None })
    }

    /// How many channels it would listen to if it listened to those that it has asked for too.
    pub(super) fn channels_asked(&self) -> usize {
        self.listening.channels.len() + self.block.as_ref().map_or(0, |block| block.pending.listens())
    }

    /// Whether it listens to a channel, by the name that notifications carry.
    pub(super) fn hears_channel(&self, shown: &str) -> bool {
        self.listening.channels.contains_key(shown)
    }

    /// Takes the session's place among those who follow feeds.
    ///
    /// # Errors
    /// 53300 when there is none left.
    pub(super) fn take_place(&mut self) -> Result<(), Diagnosis> {
        if self.listening.present.is_none() {
            let place = self.shared.feeds.subscriptions("listen").ok_or_else(too_many)?;
            self.listening.present = Some(place);
        }
        Ok(())
    }

    /// Does what a transaction has asked for that is committed now.
    pub(super) fn settle_channels(&mut self, pending: Pending) {
        let (wishes, notes) = pending.into_parts();
        if !wishes.is_empty() {
            for wish in wishes {
                match wish {
                    Wish::Listen(heard) => self.listening.hear(heard, &self.shared),
                    Wish::Unlisten(channel) => self.listening.forget(&channel),
                    Wish::UnlistenAll => self.listening.forget_all(),
                }
            }
            self.show_channels();
        }
        if !notes.is_empty() {
            self.shared.feeds.board().tell(notes);
        }
        self.leave_place();
    }

    /// Listens to nothing any more.
    pub(super) fn unlisten_all(&mut self) {
        self.listening.forget_all();
        self.show_channels();
        self.leave_place();
    }

    /// Gives its place up where it follows no feed after all.
    pub(super) fn leave_place(&mut self) {
        let may_leave = self.block.is_none() && self.listening.present.is_some();
        if may_leave && !self.listening.channels.values().any(Heard::is_fed) {
            self.listening.present = None;
        }
    }

    fn show_channels(&self) {
        self.names.shown().channels().clone_from(&self.listening.order);
    }

    /// Asks again whether the session may listen to what it listens to, where that may be otherwise by now.
    fn review_channels(&mut self) {
        let moved = |grounds: &mut Grounds| grounds.have_moved(&self.shared);
        if !self.listening.grounds.as_mut().is_some_and(moved) {
            return;
        }
        let (snapshot, roles) = (self.shared.catalog.snapshot(), self.shared.roles.load_full());
        self.listening.review((&roles, &self.role), &snapshot, &self.shared);
        self.show_channels();
        self.leave_place();
    }
}

/// What is told when there are too many who follow.
pub(super) fn too_many() -> Diagnosis {
    Diagnosis::new(sqlstate::TOO_MANY_CONNECTIONS, "too many subscriptions")
        .with_hint("Their number is bounded by limits.subscriptions.")
}

/// The channel that a name means, which may be the alias of a long one.
fn meant(name: &str, snapshot: &Snapshot) -> Channel {
    let is_alias = name.len() <= NAME_BYTES_MAX
        && name.rsplit_once('~').is_some_and(|(_, hash)| hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let aliased = || {
        let of_store = snapshot.schemas.values().filter(|schema| schema.store.is_some());
        let mut all = of_store
            .flat_map(|schema| schema.relations.values())
            .map(|relation| Channel::Table { schema: relation.schema.clone(), name: relation.name.clone() });
        all.find(|channel| channel.to_string().len() > NAME_BYTES_MAX && channel.shown() == name)
    };
    is_alias.then(aliased).flatten().unwrap_or_else(|| Channel::of(name))
}

/// The table behind a name in SQL, when the role may be told of all of it.
fn table_of(
    (schema, name): (&str, &str),
    snapshot: &Snapshot,
    (roles, role): (&Roles, &str),
) -> Result<(StoreName, TableId), Diagnosis> {
    let name = QualifiedName { database: None, schema: Some(schema.to_owned()), relation: name.to_owned() };
    let relation = snapshot.resolve(&name, &SearchPath::Default)?;
    let columns: Vec<usize> = match &relation.body {
        RelationBody::Stored { table, .. } => (0..table.columns.len()).collect(),
        RelationBody::View { .. } | RelationBody::Rows(_) => Vec::new(),
    };
    may_follow(roles, role, &relation, &columns)?;
    match &relation.body {
        RelationBody::Stored { store, table } => Ok((store.clone(), table.id.clone())),
        RelationBody::View { .. } | RelationBody::Rows(_) => {
            Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", relation.name)))
        }
    }
}

/// The outbox of a store, as events name it.
fn outbox_of(snapshot: &Snapshot, store: &StoreName) -> Option<TableId> {
    Some(snapshot.connectors.get(store)?.own_table(OwnTable::Outbox)?.id.clone())
}

fn check_outboxes(snapshot: &Snapshot, feeds: &Feeds) -> Result<(), Diagnosis> {
    let is_followed =
        |store: &StoreName| outbox_of(snapshot, store).is_some_and(|outbox| feeds.subscribed_from(store, &outbox).is_ok());
    if snapshot.connectors.keys().any(is_followed) {
        return Ok(());
    }
    Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, "no store has an outbox that is followed")
        .with_hint("Set outbox = true and changes.mode in the file of a store."))
}

impl Listening {
    async fn notified(&mut self, shared: &Shared) {
        for number in 1_usize.. {
            if !self.waiting.is_empty() || self.stands.values().any(|stand| stand.at.is_some()) {
                return;
            }
            if number % PIECES_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
            let Self { seat, stands, grounds, views, .. } = self;
            let noted = async {
                match seat {
                    Some(seat) => seat.notified().await,
                    None => std::future::pending().await,
                }
            };
            let moved = async {
                match grounds {
                    Some(grounds) => grounds.moved(shared).await,
                    None => std::future::pending().await,
                }
            };
            // All are cancel-safe, and what came is kept before anything else is waited for.
            let (store, came) = tokio::select! {
                () = noted => return,
                () = moved => return,
                told = views::next_of(views) => {
                    self.waiting.push_back(told);
                    return;
                }
                came = next_of(stands) => came,
            };
            match came {
                Ok(piece) => {
                    if let Some(stand) = self.stands.get_mut(&store).filter(|stand| stand.ears.are_for(&piece)) {
                        stand.at = Some((piece, 0));
                    }
                }
                Err(start_over) => self.start_over(&store, &start_over.reason, &shared.feeds),
            }
        }
    }

    fn take(&mut self, bytes_max: usize, feeds: &Feeds) -> Vec<Notification> {
        let mut told = Told::new(bytes_max);
        while !told.is_full()
            && let Some(first) = self.waiting.pop_front()
        {
            told.add(first);
        }
        self.take_notes(&mut told);
        for (shown, ear) in &mut self.views {
            if !told.is_full() && ear.has_moved() {
                told.add(ear.told(shown));
            }
        }
        let mut broken = Vec::new();
        for (store, stand) in &mut self.stands {
            if let Err(start_over) = stand.tell(&mut told) {
                broken.push((store.clone(), start_over));
            }
        }
        for (store, start_over) in broken {
            self.start_over(&store, &start_over.reason, feeds);
        }
        told.list
    }

    /// What other sessions have notified of.
    fn take_notes(&mut self, told: &mut Told) {
        let Some(seat) = self.seat.as_ref().filter(|_| !told.is_full()) else { return };
        let taken = seat.take(told.room());
        // As PostgreSQL: what comes behind an UNLISTEN is not told, whenever it was notified of.
        for note in taken.notes.iter().filter(|note| self.channels.contains_key(&note.channel)) {
            let (channel, payload) = (note.channel.clone(), note.payload.clone());
            told.add(Notification { process_id: note.process_id, channel, payload });
        }
        if taken.has_missed {
            let reason = payload::reset("more was notified of than could wait");
            let plain = self.channels.iter().filter(|(_, heard)| !heard.is_fed());
            self.waiting.extend(plain.map(|(channel, _)| fed(channel, reason.clone())));
        }
    }

    /// Goes on at the end of what a store has told, and says that something is missing before that.
    fn start_over(&mut self, store: &StoreName, reason: &str, feeds: &Feeds) {
        let Some(stand) = self.stands.get_mut(store) else { return };
        feeds.tally().started_over("listen");
        let payload = payload::reset(reason);
        self.waiting.extend(stand.ears.channels().map(|channel| fed(channel, payload.clone())));
        (stand.cursor, stand.at) = (stand.hub.at_end(), None);
    }

    /// Listens to a channel from now on.
    fn hear(&mut self, heard: Heard, shared: &Shared) {
        let shown = heard.shown();
        if self.channels.contains_key(&shown) {
            return;
        }
        if heard.is_fed() {
            // The channel was looked up by LISTEN, and rights may be others at the commit.
            self.grounds = Some(Grounds::unasked(shared));
            self.attach(&shown, &heard, &shared.catalog.snapshot(), shared);
        } else {
            self.seat.get_or_insert_with(|| shared.feeds.board().sit()).listen(&shown);
        }
        self.order.push(shown.clone());
        self.channels.insert(shown, heard);
    }

    /// Stands where a channel's events come from, unless it stands there already.
    fn attach(&mut self, shown: &str, heard: &Heard, snapshot: &Snapshot, shared: &Shared) {
        if let Some(view) = &heard.view {
            let is_told = self.views.get(shown).is_some_and(|ear| ear.is_of(view) && !ear.is_over());
            if !is_told && let Some(ear) = ViewEar::of(view, shared) {
                let told = ear.told(shown);
                // What has the name of one that is gone has other rows.
                if self.views.insert(shown.to_owned(), ear).is_some() {
                    self.waiting.push_back(told);
                }
            }
            return;
        }
        let hubs = shared.feeds.hubs();
        let of_table = |store: &StoreName| heard.table.as_ref().is_none_or(|(own, _)| own == store);
        for (store, hub) in hubs.into_iter().filter(|(store, _)| of_table(store)) {
            let outbox = outbox_of(snapshot, &store);
            if heard.table.is_none() && outbox.is_none() {
                continue;
            }
            let new = || Stand { cursor: hub.at_end(), hub: Arc::clone(&hub), at: None, ears: Ears::default() };
            let stand = self.stands.entry(store).or_insert_with(new);
            let since = stand.hub.last();
            match (&heard.channel, &heard.table) {
                (Channel::Table { schema, name }, Some((_, table))) => {
                    let ears = stand.ears.tables.entry(table.clone()).or_default();
                    if ears.iter().all(|ear| ear.channel != shown) {
                        ears.push(Ear { channel: shown.to_owned(), label: (schema.clone(), name.clone()), since });
                    }
                }
                _ => {
                    stand.ears.outbox = outbox;
                    stand.ears.topics.entry(shown.to_owned()).or_insert(since);
                }
            }
        }
    }

    /// Listens to a channel no more.
    fn forget(&mut self, channel: &str) {
        if self.channels.remove(channel).is_none() {
            return;
        }
        if let Some(seat) = &self.seat {
            seat.unlisten(channel);
        }
        self.order.retain(|other| other != channel);
        self.waiting.retain(|waiting| waiting.channel != channel);
        self.detach(channel);
        if !self.channels.values().any(Heard::is_fed) {
            self.grounds = None;
        }
    }

    fn detach(&mut self, channel: &str) {
        self.views.remove(channel);
        self.stands.retain(|_, stand| {
            stand.ears.remove(channel);
            !stand.ears.are_none()
        });
    }

    fn forget_all(&mut self) {
        // What is taken by the session's transaction goes with it.
        let present = self.present.take();
        *self = Self { present, ..Self::default() };
    }

    /// Ends what the role may not listen to any more, and follows what has moved.
    fn review(&mut self, (roles, role): (&Roles, &str), snapshot: &Snapshot, shared: &Shared) {
        let feeds = &shared.feeds;
        for (store, hub) in feeds.hubs() {
            if let Some(stand) = self.stands.get_mut(&store).filter(|stand| !Arc::ptr_eq(&stand.hub, &hub)) {
                stand.hub = hub;
                self.start_over(&store, "the store is followed anew", feeds);
            }
        }
        let channels: Vec<(String, Heard)> = self.channels.iter().map(|(shown, heard)| (shown.clone(), heard.clone())).collect();
        for (shown, heard) in channels.into_iter().filter(|(_, heard)| heard.is_fed()) {
            let found = may_anything(roles, role, &shown).and_then(|()| match &heard.channel {
                Channel::View(_) => match &heard.view {
                    Some(view) => views::check(view, snapshot).map(|()| None),
                    None => Ok(None),
                },
                Channel::Table { schema, name } => table_of((schema, name), snapshot, (roles, role)).map(Some),
                _ => Ok(None),
            });
            match found {
                Ok(table) if table == heard.table => self.attach(&shown, &heard, snapshot, shared),
                Ok(table) => {
                    let heard = Heard { table, ..heard };
                    self.detach(&shown);
                    self.attach(&shown, &heard, snapshot, shared);
                    self.waiting.push_back(fed(&shown, payload::reset("it is another table now")));
                    self.channels.insert(shown, heard);
                }
                Err(error) if is_final(&error) => {
                    self.forget(&shown);
                    self.waiting.push_back(fed(&shown, REVOKED.to_owned()));
                }
                // A store that cannot be looked at now says nothing about rights on its tables.
                Err(_) => {}
            }
        }
    }
}

/// Whether an error says that there is no table, or no right to it.
fn is_final(error: &Diagnosis) -> bool {
    [sqlstate::UNDEFINED_TABLE, sqlstate::INSUFFICIENT_PRIVILEGE, sqlstate::WRONG_OBJECT_TYPE].contains(&error.sqlstate.as_str())
}

/// What comes first of the events of all stores.
async fn next_of(stands: &mut BTreeMap<StoreName, Stand>) -> (StoreName, Result<Piece, StartOver>) {
    if stands.is_empty() {
        return std::future::pending().await;
    }
    let waits = stands.iter_mut().map(|(store, stand)| Box::pin(async move { (store.clone(), stand.cursor.next().await) }));
    let (came, _, _) = select_all(waits).await;
    came
}

impl Stand {
    /// Tells of what has come, until there is no more or no more room.
    fn tell(&mut self, told: &mut Told) -> Result<(), StartOver> {
        let mut looked = 0;
        while !told.is_full() && looked < ENTRIES_AT_ONCE {
            let (piece, from) = match self.at.take() {
                Some(at) => at,
                None => match self.cursor.try_next()? {
                    Some(piece) => (piece, 0),
                    None => return Ok(()),
                },
            };
            looked += 1 + piece.transaction().map_or(0, |transaction| transaction.entries.len());
            self.at = self.ears.tell(&piece, from, told).map(|next| (piece, next));
        }
        Ok(())
    }
}
