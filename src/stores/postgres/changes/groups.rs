//! From messages to groups: a state machine without a connection, so that every order of messages can be tried.
//!
//! ```text
//! Begin → open transaction → rows into builders, entries in order → Commit → whole transaction ─┐
//!                                    └─ too much for one group: a piece ────────────────────────┴→ Group
//! ```
//!
//! **Invariants:** a group goes on behind its last whole transaction; a transaction without an entry leaves no trace but that it is
//! behind us; what is told of tables stands before the rows that it is about.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::super::capture::{Followed, How, Step};
use super::super::super::change::builder::{Cell, RowsBuilder};
use super::super::super::change::{
    Barrier, Entry, GROUP_BYTES_MAX, GROUP_ROWS_MAX, Group, ID_BYTES_MAX, OWN_ID, Operation, Resume, Rows, Transaction,
};
use super::super::super::connector::StoreName;
use super::super::super::position::Position;
use super::super::super::schema::TableId;
use super::decode::{Malformed, Message, Old};
use super::facts::{AllFacts, Prints};
use super::known::Known;
use super::poison::Place;
use super::position::{Checkpoint, position};
use super::relations::{Outcome, Relations, Way};
use super::tuples::{Datum, Tuple};
use crate::error::Diagnosis;

/// What a row takes besides its text, about.
const ROW_BYTES: usize = 64;

/// Which history it is that is read.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// The store.
    pub store: StoreName,
    /// By what its changes are read.
    pub how: How,
    /// The system identifier of its cluster.
    pub cluster: u64,
    /// The timeline of that one's log.
    pub timeline: u32,
}

impl Origin {
    /// A place in it.
    pub(super) fn position(&self, place: u64) -> Position {
        position(&self.store, self.how, (self.cluster, self.timeline), place)
    }

    /// From where it goes on behind a place, with the tables as they are.
    pub(super) fn resume(&self, place: u64, tables: &Known) -> Resume {
        Checkpoint { how: self.how, cluster: self.cluster, timeline: self.timeline, place, tables: tables.clone() }.write()
    }
}

/// The transactions and rows of one group on their way.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Those that end here, and a piece at the end.
    pub transactions: Vec<Transaction>,
    /// Their rows.
    pub builders: Vec<RowsBuilder>,
    /// How many there are.
    pub rows: usize,
    /// And about how large they are.
    pub bytes: usize,
}

impl Gathered {
    /// Whether no more should be added.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= GROUP_ROWS_MAX || self.bytes >= GROUP_BYTES_MAX
    }

    /// The group; nothing is left behind. `None`: there is no transaction in it.
    ///
    /// # Errors
    /// XX000 of a builder, which no store can bring about.
    pub(super) fn finish(&mut self, origin: &Origin, resume: Resume) -> Result<Option<Group>, Diagnosis> {
        if self.transactions.is_empty() {
            return Ok(None);
        }
        let done = std::mem::take(self);
        let rows = done.builders.into_iter().map(|mut builder| builder.finish()).collect::<Result<Vec<Rows>, _>>()?;
        let received_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Ok(Some(Group {
            store: origin.store.clone(),
            identity: Arc::from(origin.cluster.to_string()),
            transactions: done.transactions,
            rows,
            resume,
            received_ms: u64::try_from(received_ms).unwrap_or(u64::MAX),
        }))
    }
}

/// A transaction whose end has not come.
#[derive(Debug)]
struct Open {
    id: String,
    /// Where its commit is in the log: behind all that ends before it.
    commit: u64,
    origin: Option<String>,
    committed_us: Option<i64>,
    first: u32,
    entries: Vec<Entry>,
}

impl Open {
    fn into_transaction(self, position: Position, ends: bool) -> Transaction {
        Transaction {
            id: self.id,
            position,
            origin: self.origin,
            committed_us: self.committed_us,
            first: self.first,
            entries: self.entries,
            ends,
        }
    }
}

/// The state between messages.
#[derive(Debug)]
pub(super) struct Groups {
    origin: Origin,
    relations: Relations,
    gathered: Gathered,
    open: Option<Open>,
    /// Behind the last whole transaction, or as far as there is none.
    given: u64,
    /// The number of a transaction that is not far from those that come.
    near: u64,
    /// What is to be told before the next rows.
    pending: Vec<Barrier>,
    /// Tables whose rows may have begun in the middle of transactions that have not ended.
    unsettled: Vec<TableId>,
    /// The tables as whoever goes on behind the last whole transaction knows them.
    tables: Arc<Known>,
    /// The same behind the open one.
    noted: Arc<Known>,
    doubts: Vec<TableId>,
    /// Something of a table may have changed that its description does not show.
    is_described: bool,
}

impl Groups {
    /// Nothing gathered yet. `known`: the tables as whoever goes on from `from` knows them; of those that are others, that is told first.
    /// `near`: the number of a transaction, with all its bits, near to those that will come. `behind`: as in [`Groups::reshape`].
    /// `locked`: as in [`Groups::hold`].
    pub(super) fn new(
        origin: Origin,
        from: u64,
        known: Option<Known>,
        (near, behind): (u64, u64),
        (tables, locked): (&[Followed], &[TableId]),
        facts: &AllFacts,
    ) -> Self {
        let (mut relations, Outcome { barriers: mut pending, doubts, .. }) = Relations::new(tables, facts);
        pending.extend(locked.iter().filter_map(|table| relations.hold(table, LOCKED.to_owned())));
        let now = relations.fingerprints();
        let known = known.map(|known| known.renewed(&relations.older_fingerprints(), &now));
        if let Some(known) = &known {
            let (others, anew) = (known.others(&now), known.defined_anew(&now));
            for id in tables.iter().map(|followed| &followed.table.id) {
                match relations.number(id) {
                    Some(number) if anew.contains(&number) => relations.define_anew(id.clone(), behind),
                    Some(number) if others.contains(&number) => {
                        pending.push(reshaped(id, "it has changed while nobody followed it"));
                    }
                    _ => {}
                }
            }
        }
        let known = Arc::new(known.unwrap_or_else(|| Known::of(&now)));
        Self {
            origin,
            relations,
            gathered: Gathered::default(),
            open: None,
            given: from,
            near,
            pending,
            unsettled: Vec::new(),
            tables: Arc::clone(&known),
            noted: known,
            doubts,
            is_described: false,
        }
    }

    /// Tables that have to be discovered again.
    pub(super) fn take_doubts(&mut self) -> Vec<TableId> {
        let mut doubts = std::mem::take(&mut self.doubts);
        doubts.sort();
        doubts.dedup();
        doubts
    }

    /// Whether [`Groups::compare`] is due.
    pub(super) fn take_described(&mut self) -> bool {
        std::mem::take(&mut self.is_described)
    }

    /// Doubts the tables that are not any more what they were, though the stream has not said so.
    pub(super) fn compare(&mut self, prints: &Prints) {
        self.doubts.extend(self.relations.differing(prints));
    }

    /// The numbers of the tables that [`Groups::compare`] is about.
    pub(super) fn oids(&self) -> Vec<u32> {
        self.relations.oids()
    }

    /// The tables as they are now. `behind`: where the log ended after `facts` were read: what looks as before and was defined anew is
    /// told of there, since rows of before may come until then. `true`: rows of some may begin in the middle of transactions; as soon as
    /// all that have begun until now have ended, [`Groups::settle`] is due.
    pub(super) fn reshape(&mut self, tables: &[Followed], facts: &AllFacts, behind: u64) -> bool {
        let Outcome { barriers, doubts, added, .. } = self.relations.replace(tables, facts, behind);
        self.pending.extend(barriers);
        self.doubts.extend(doubts);
        self.unsettled.extend(added);
        !self.unsettled.is_empty()
    }

    /// Rows of these tables may begin in the middle of transactions, as [`Groups::reshape`] tells.
    pub(super) fn unsettle(&mut self, tables: Vec<TableId>) {
        self.unsettled.extend(tables);
    }

    /// Tables whose changes are not sent, since somebody holds a lock on them, until all are told again.
    pub(super) fn hold(&mut self, tables: &[TableId]) {
        let held = tables.iter().filter_map(|table| self.relations.hold(table, LOCKED.to_owned()));
        self.pending.extend(held);
    }

    /// Every transaction has ended that had begun when tables were added: from here all of their rows come.
    pub(super) fn settle(&mut self) {
        self.unsettled.sort();
        self.unsettled.dedup();
        for table in std::mem::take(&mut self.unsettled) {
            if self.relations.gives(&table) {
                self.reshape_once(&table, "it is followed from here");
            }
        }
    }

    /// Whether whole transactions wait, and nothing of another one.
    pub(super) fn can_close(&self) -> bool {
        !self.gathered.transactions.is_empty() && self.open.as_ref().is_none_or(|open| open.entries.is_empty())
    }

    /// Whether there is enough for a group, or too much for one.
    pub(super) fn must_close(&self) -> bool {
        let has_entries = self.open.as_ref().is_some_and(|open| !open.entries.is_empty());
        self.gathered.is_full() && (has_entries || !self.gathered.transactions.is_empty())
    }

    /// What has been gathered as a group; the transaction that is open, if it has entries, as a piece.
    ///
    /// # Errors
    /// As [`Gathered::finish`].
    pub(super) fn close(&mut self) -> Result<Option<Group>, Diagnosis> {
        if let Some(open) = self.open.as_mut().filter(|open| !open.entries.is_empty()) {
            let first = open.first.saturating_add(u32::try_from(open.entries.len()).unwrap_or(u32::MAX));
            let rest = Open { id: open.id.clone(), origin: open.origin.clone(), first, entries: Vec::new(), ..*open };
            let piece = std::mem::replace(open, rest);
            // Locations are multiples of eight: behind the end of whatever comes before, and before its own end.
            let position = self.origin.position(piece.commit.saturating_add(1));
            self.gathered.transactions.push(piece.into_transaction(position, false));
        }
        self.relations.forget_builders();
        self.gathered.finish(&self.origin, self.origin.resume(self.given, &self.tables))
    }

    /// The server has nothing of ours up to here. What is to be told of tables is told now.
    ///
    /// # Errors
    /// As [`Groups::close`].
    pub(super) fn idle(&mut self, location: u64) -> Result<Vec<Step>, Diagnosis> {
        if self.open.is_some() {
            return Ok(Vec::new());
        }
        let mut steps: Vec<Step> = self.close()?.map(Step::Group).into_iter().collect();
        if location <= self.given && !steps.is_empty() {
            return Ok(steps);
        }
        let is_ahead = location > self.given;
        self.given = self.given.max(location);
        if is_ahead {
            self.pass(location);
        }
        if is_ahead && !self.pending.is_empty() {
            let entries = self.take_pending();
            self.tables = Arc::clone(&self.noted);
            let id = format!("{OWN_ID}table-{location:x}");
            let open = Open { id, commit: location, origin: None, committed_us: None, first: 0, entries };
            self.gathered.transactions.push(open.into_transaction(self.origin.position(location), true));
            steps.extend(self.close()?.map(Step::Group));
            return Ok(steps);
        }
        let (position, resume) = (self.origin.position(self.given), self.origin.resume(self.given, &self.tables));
        steps.push(Step::Idle { position, resume });
        Ok(steps)
    }

    /// What has ended, and where that is. Nothing while a transaction is open.
    ///
    /// # Errors
    /// As [`Groups::close`].
    pub(super) fn ended(&mut self) -> Result<Vec<Step>, Diagnosis> {
        self.idle(self.given)
    }

    /// Where the next message stands.
    pub(super) fn place(&self) -> Place {
        self.open.as_ref().map_or(Place::Behind(self.given), |open| Place::Inside(open.commit))
    }

    /// Which table the open transaction means by a number, as in [`Relations::told_of`].
    pub(super) fn told_of(&self, number: u32, describes: bool) -> Option<(TableId, bool)> {
        self.open.as_ref().and_then(|_open| self.relations.told_of(number, describes))
    }

    /// A table gives no more rows.
    pub(super) fn stop(&mut self, table: &TableId, reason: String) {
        let stopped = self.relations.stop(table, reason);
        self.tell(stopped.into_iter().collect());
    }

    /// What the columns of a table are could not be read.
    pub(super) fn forget_columns(&mut self, number: u32) {
        self.relations.forget_columns(number);
    }

    /// Takes the next message, which has so many bytes.
    ///
    /// # Errors
    /// It cannot stand there.
    pub(super) fn take(&mut self, message: &Message<'_>, bytes: usize) -> Result<(), Malformed> {
        match message {
            Message::Begin { commit, committed_us, xid } => self.begin(*commit, *committed_us, *xid),
            Message::Commit { end } => self.commit(*end),
            Message::Origin(name) => {
                let open = self.open.as_mut().ok_or(OUTSIDE)?;
                open.origin = Some(cut(name));
                Ok(())
            }
            Message::Relation(relation) => {
                let Outcome { barriers, doubts, is_described, .. } = self.relations.describe(relation);
                self.doubts.extend(doubts);
                self.is_described |= is_described;
                self.tell(barriers);
                Ok(())
            }
            Message::Type | Message::Logical => Ok(()),
            Message::Insert { relation, new } => self.row(*relation, Operation::Insert, (None, Some(new)), bytes),
            Message::Update { relation, old, new } => self.row(*relation, Operation::Update, (*old, Some(new)), bytes),
            Message::Delete { relation, old } => self.row(*relation, Operation::Delete, (Some(*old), None), bytes),
            Message::Truncate(relations) => self.truncate(relations),
        }
    }

    fn begin(&mut self, commit: u64, committed_us: Option<i64>, xid: u32) -> Result<(), Malformed> {
        if self.open.is_some() {
            return Err(Malformed("begins a transaction inside of another one"));
        }
        let number = extend(xid, self.near);
        self.near = self.near.max(number);
        self.pass(commit);
        let entries = self.take_pending();
        self.open = Some(Open { id: number.to_string(), commit, origin: None, committed_us, first: 0, entries });
        Ok(())
    }

    fn commit(&mut self, end: u64) -> Result<(), Malformed> {
        let open = self.open.take().ok_or(OUTSIDE)?;
        self.given = self.given.max(end);
        self.tables = Arc::clone(&self.noted);
        if !open.entries.is_empty() || open.first > 0 {
            let position = self.origin.position(end);
            self.gathered.transactions.push(open.into_transaction(position, true));
        }
        Ok(())
    }

    /// Nothing that was committed before a location is still to come.
    fn pass(&mut self, location: u64) {
        for table in self.relations.pass(location) {
            self.reshape_once(&table, ANEW);
        }
    }

    /// Tells that a table is another one, unless that is told in the same place already.
    fn reshape_once(&mut self, table: &TableId, reason: &str) {
        let is_told = |barrier: &Barrier| matches!(barrier, Barrier::Reshaped { table: told, .. } if told == table);
        if !self.pending.iter().any(is_told) {
            self.pending.push(reshaped(table, reason));
        }
    }

    /// What is to be told, as entries.
    fn take_pending(&mut self) -> Vec<Entry> {
        if !self.pending.is_empty() {
            self.note_told();
        }
        std::mem::take(&mut self.pending).into_iter().map(Entry::Barrier).collect()
    }

    /// Whoever goes on behind what is told now knows the tables as they are, unless something of them is still to be told.
    fn note_told(&mut self) {
        if self.unsettled.is_empty() {
            self.noted = Arc::new(Known::of(&self.relations.fingerprints()));
        }
    }

    fn tell(&mut self, barriers: Vec<Barrier>) {
        if barriers.is_empty() {
            return;
        }
        if let Some(open) = &mut self.open {
            open.entries.extend(barriers.into_iter().map(Entry::Barrier));
            self.note_told();
        } else {
            self.pending.extend(barriers);
        }
    }

    fn truncate(&mut self, relations: &[u32]) -> Result<(), Malformed> {
        let open = self.open.as_mut().ok_or(OUTSIDE)?;
        for relation in relations {
            let seen = self.relations.way(*relation).ok_or(UNKNOWN)?;
            let barrier = seen.map(|(table, _)| Barrier::Truncated { table: table.clone() });
            open.entries.extend(barrier.map(Entry::Barrier));
        }
        Ok(())
    }

    fn row(
        &mut self,
        relation: u32,
        operation: Operation,
        (old, new): (Option<Old<'_>>, Option<&Tuple<'_>>),
        bytes: usize,
    ) -> Result<(), Malformed> {
        let open = self.open.as_mut().ok_or(OUTSIDE)?;
        let Some((table, way)) = self.relations.way(relation).ok_or(UNKNOWN)? else { return Ok(()) };
        match push(&mut self.gathered, way, operation, (old, new))? {
            Ok((rows, row)) => {
                open.entries.push(Entry::Row { rows, row });
                self.gathered.rows += 1;
                self.gathered.bytes += bytes + ROW_BYTES;
            }
            Err(reason) => {
                let table = table.clone();
                self.stop(&table, reason);
            }
        }
        Ok(())
    }
}

fn reshaped(table: &TableId, reason: &str) -> Barrier {
    Barrier::Reshaped { table: table.clone(), reason: reason.to_owned() }
}

/// Why a table is not followed that cannot be put among the others now.
pub(super) const LOCKED: &str = "somebody holds a lock on it; it is tried again";

/// What is told of a table that looks as before.
const ANEW: &str = "its columns or its place in the publication were defined anew, so that rows may be missing";

const OUTSIDE: Malformed = Malformed("stands outside of a transaction");
const UNKNOWN: Malformed = Malformed("is about a table that was not described");

/// Adds a row, and says where it is; or why the table gives no more rows.
fn push(
    gathered: &mut Gathered,
    way: &mut Way,
    operation: Operation,
    (old, new): (Option<Old<'_>>, Option<&Tuple<'_>>),
) -> Result<Result<(u32, u32), String>, Malformed> {
    let (old, is_key_only) = match old {
        Some(Old::Key(tuple)) => (Some(tuple), true),
        Some(Old::Row(tuple)) => (Some(tuple), false),
        None => (None, false),
    };
    let width = way.is_key.len();
    if [old.as_ref(), new].into_iter().flatten().any(|tuple| tuple.len() != width) {
        return Err(Malformed("has another number of columns than its table"));
    }
    let mut before = old.as_ref().map(datums).unwrap_or_default();
    if is_key_only {
        // What is not of the key is NULL there, whatever it was.
        before.iter_mut().zip(&way.is_key).filter(|(_, is_key)| !**is_key).for_each(|(datum, _)| *datum = None);
    }
    if is_key_only || way.is_divided {
        // No key is NULL. A partition tells of its old rows by its own identity, and they come as if they were by that of the whole.
        before.iter_mut().filter(|datum| **datum == Some(Datum::Null)).for_each(|datum| *datum = None);
    }
    let mut after = new.map(datums).unwrap_or_default();
    // What was left as it was is what it was before.
    for (datum, before) in after.iter_mut().zip(&before).filter(|(datum, _)| **datum == Some(Datum::Unchanged)) {
        *datum = *before;
    }
    let (before, after) = match (cells(way, &before), cells(way, &after)) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(reason), _) | (_, Err(reason)) => return Ok(Err(reason)),
    };
    let lacks_key = |cells: &[Cell<'_>]| way.shape.key.iter().any(|place| matches!(cells.get(*place), None | Some(Cell::Unknown)));
    if (new.is_some() && lacks_key(&after)) || (old.is_some() && lacks_key(&before)) {
        return Ok(Err("one of its events came without the key".to_owned()));
    }
    let place = *way.builder.get_or_insert_with(|| {
        gathered.builders.push(RowsBuilder::new(&way.shape));
        gathered.builders.len() - 1
    });
    let Some(builder) = gathered.builders.get_mut(place) else { return Err(UNKNOWN) };
    let (mut before, mut after) = (before.into_iter(), after.into_iter());
    let before: Option<&mut dyn Iterator<Item = Cell<'_>>> = if old.is_some() { Some(&mut before) } else { None };
    let pushed = builder.push(operation, &mut after, before);
    let rows = u32::try_from(place).unwrap_or(u32::MAX);
    // The message of such an error has the value in it.
    Ok(pushed.map(|row| (rows, row)).map_err(|broken| format!("a value of it cannot be read (SQLSTATE {})", broken.sqlstate)))
}

fn datums<'a>(tuple: &Tuple<'a>) -> Vec<Option<Datum<'a>>> {
    tuple.datums().map(Some).collect()
}

/// The cells of a row in the order of the table's columns.
fn cells<'a>(way: &Way, datums: &[Option<Datum<'a>>]) -> Result<Vec<Cell<'a>>, String> {
    let datum = |place: &Option<usize>| place.and_then(|place| datums.get(place).copied().flatten());
    way.columns
        .iter()
        .map(|place| match datum(place) {
            None | Some(Datum::Unchanged) => Ok(Cell::Unknown),
            Some(Datum::Null) => Ok(Cell::Null),
            Some(Datum::Text(bytes)) => {
                let text = std::str::from_utf8(bytes).map_err(|_cause| "a text of it is not valid UTF-8".to_owned())?;
                Ok(Cell::Text(text))
            }
        })
        .collect()
}

/// The number of a transaction with all its bits: the one of those that end alike that is next to another one's.
pub(super) fn extend(xid: u32, near: u64) -> u64 {
    let distance = xid.wrapping_sub(low(near));
    // Less than half around: it is behind, else before.
    if distance < 1 << 31 {
        near.saturating_add(u64::from(distance))
    } else {
        near.saturating_sub(u64::from(distance.wrapping_neg()))
    }
}

/// The half of a number that is sent.
fn low(number: u64) -> u32 {
    let [.., a, b, c, d] = number.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// As much of a text as is kept of it.
fn cut(text: &str) -> String {
    text.chars()
        .scan(0, |length, letter| {
            *length += letter.len_utf8();
            (*length <= ID_BYTES_MAX).then_some(letter)
        })
        .collect()
}

#[cfg(test)]
mod tests;
