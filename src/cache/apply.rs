//! What transactions do to copies: pure, so that every order of things can be tried without a store.
//!
//! **Invariants:** a transaction is in all tables or in none when it has been taken; one that comes in pieces is done to states aside until
//! its last piece; what a fill has already is not done again, and what is only said of tables is judged by when the fill was asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::version::TableVersion;
use crate::changes::{Piece, Place};
use crate::stores::capture::Capture;
use crate::stores::change::{Barrier, Entry, Group, OWN_ID, Rows, Transaction};
use crate::stores::position::Position;
use crate::stores::schema::TableId;

/// What a table was loaded from, as long as it is not published.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) capture: Arc<dyn Capture>,
    /// The state that was read.
    pub(super) version: Vec<u8>,
    /// Its rows.
    pub(super) state: Arc<TableVersion>,
    /// The last transaction that was published when it was asked for.
    pub(super) published: u64,
    /// Everything that is in the state is at or before this.
    pub(super) bound: Position,
    /// Of which connector it is.
    pub(super) life: u64,
    /// When the rows had been read.
    pub(super) read: Instant,
    /// Whether the capture is asked what is in the state. A test leaves that rule out.
    pub(super) is_asked: bool,
}

impl Origin {
    fn has(&self, transaction: &Transaction) -> bool {
        !self.is_asked || self.capture.contains(&self.version, transaction)
    }
}

/// A table of which there is a copy.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) version: Arc<TableVersion>,
    /// The last transaction that has been done to it.
    pub(super) seq: u64,
    /// What it was loaded from; `None` when it is published.
    pub(super) origin: Option<Arc<Origin>>,
}

/// Why a copy does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leaving {
    /// The table is another one now, or history is missing: it can be loaded again.
    Reshaped(String),
    /// It has no events any more.
    Stopped(String),
    /// A change could not be done to it.
    Broken(String),
}

impl Leaving {
    /// A word of a fixed list, for metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Reshaped(_) => "reshaped",
            Self::Stopped(_) => "stopped",
            Self::Broken(_) => "broken",
        }
    }

    /// The reason, as a clause.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Reshaped(reason) | Self::Stopped(reason) | Self::Broken(reason) => reason,
        }
    }
}

/// What transactions say of the store's history.
pub(super) struct Said {
    /// The last position, and whether history is missing before it.
    pub(super) position: Option<Position>,
    pub(super) has_gap: bool,
    pub(super) place: Option<Place>,
    pub(super) ended: u64,
}

impl Said {
    pub(super) fn by(pieces: &[Piece]) -> Self {
        let mut said = Self { position: None, has_gap: false, place: None, ended: 0 };
        for piece in pieces {
            let Some(transaction) = piece.transaction() else { continue };
            let is_gap = |entry: &Entry| matches!(entry, Entry::Barrier(Barrier::Gap { .. }));
            if transaction.entries.iter().any(is_gap) {
                (said.position, said.has_gap) = (None, true);
            }
            if !transaction.ends {
                // Where it ends is known with its last piece.
                continue;
            }
            said.ended += 1;
            said.place = piece.place(transaction.entries.len().saturating_sub(1));
            if !transaction.position.token.is_empty() {
                said.position = Some(transaction.position.clone());
            }
        }
        said
    }
}

/// Tables by their names.
pub(super) type Standings = BTreeMap<TableId, Standing>;

/// All tables of one store of which there are copies.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) standing: Standings,
    /// A transaction of which the last piece has not come.
    open: Option<Open>,
    /// Those that do not go on, until somebody has looked.
    pub(super) left: Vec<(TableId, Leaving)>,
}

/// A transaction in pieces, and what it has done so far.
#[derive(Debug)]
struct Open {
    seq: u64,
    /// How many of its entries came.
    entries: u32,
    standing: Standings,
    left: Vec<(TableId, Leaving)>,
}

impl Tables {
    /// These, with no transaction open.
    pub(super) fn of(standing: Standings) -> Self {
        Self { standing, ..Self::default() }
    }

    /// Whether a transaction has begun and not ended.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// What tables would take behind a transaction that has begun and not ended, as far as it has come; those that it has changed.
    pub(super) fn open_sizes(&self) -> impl Iterator<Item = (&TableId, usize)> {
        let all = self.open.iter().flat_map(|open| &open.standing);
        let has_changed = move |(table, standing): &(&TableId, &Standing)| {
            self.standing.get(*table).is_some_and(|before| !Arc::ptr_eq(&before.version, &standing.version))
        };
        all.filter(has_changed).map(|(table, standing)| (table, standing.version.bytes()))
    }

    /// Whether a table is loaded and not published.
    pub(super) fn is_joining(&self) -> bool {
        self.standing.values().any(|standing| standing.origin.is_some())
    }

    /// There is no copy of a table any more.
    pub(super) fn remove(&mut self, table: &TableId) {
        if let Some(open) = &mut self.open {
            open.standing.remove(table);
            open.left.retain(|(left, _)| left != table);
        }
        self.standing.remove(table);
        if self.standing.is_empty() {
            // Nobody takes the rest of it.
            self.open = None;
        }
    }

    /// Does what transactions did, in their order.
    pub(super) fn take(&mut self, pieces: &[Piece]) {
        let is_whole = |piece: &Piece| piece.transaction().is_some_and(|transaction| transaction.first == 0 && transaction.ends);
        for run in pieces.chunk_by(|one, next| is_whole(one) && is_whole(next)) {
            match run.first() {
                Some(first) if is_whole(first) => {
                    // One in front of it was taken back.
                    self.open = None;
                    let (standing, left) = done(std::mem::take(&mut self.standing), run, Contained::Asked);
                    self.standing = standing;
                    self.left.extend(left);
                }
                Some(piece) => self.take_part(piece),
                None => {}
            }
        }
    }

    fn take_part(&mut self, piece: &Piece) {
        let Some(transaction) = piece.transaction() else { return };
        if transaction.first == 0 {
            let standing = self.standing.clone();
            self.open = Some(Open { seq: piece.seq, entries: 0, standing, left: Vec::new() });
        }
        let is_next = |open: &Open| open.seq == piece.seq && open.entries == transaction.first;
        let Some(mut open) = self.open.take().filter(is_next) else {
            return self.leave_all("the beginning of a transaction is missing");
        };
        // Whether the fill has it is known with the last piece.
        let (standing, left) = done(open.standing, std::slice::from_ref(piece), Contained::No);
        open.standing = standing;
        open.left.extend(left);
        open.entries = transaction.first.saturating_add(u32::try_from(transaction.entries.len()).unwrap_or(u32::MAX));
        if transaction.ends {
            self.end(open, transaction);
        } else {
            self.open = Some(open);
        }
    }

    /// All of a transaction has come: what it did is done.
    fn end(&mut self, mut open: Open, transaction: &Transaction) {
        let is_kept = |standing: &Standing| {
            open.seq <= standing.seq || standing.origin.as_ref().is_some_and(|origin| origin.has(transaction))
        };
        let mut standing = Standings::new();
        for (table, mut before) in std::mem::take(&mut self.standing) {
            if is_kept(&before) {
                before.seq = before.seq.max(open.seq);
                // What could not be done is done already. What is said of the table counts.
                open.left.retain(|(left, leaving)| *left != table || !matches!(leaving, Leaving::Broken(_)));
                if !open.left.iter().any(|(left, _)| *left == table) {
                    standing.insert(table, before);
                }
            } else if let Some(mut after) = open.standing.remove(&table) {
                after.seq = after.seq.max(open.seq);
                standing.insert(table, after);
            }
        }
        self.standing = standing;
        self.left.append(&mut open.left);
    }

    /// Of none of them it is known how it goes on.
    pub(super) fn leave_all(&mut self, reason: &str) {
        self.open = None;
        let tables = std::mem::take(&mut self.standing).into_keys();
        self.left.extend(tables.map(|table| (table, Leaving::Reshaped(reason.to_owned()))));
    }
}

/// Whether a fill is asked which transactions it has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contained {
    Asked,
    No,
}

/// A table while transactions are done to it.
struct Lane<'a> {
    table: TableId,
    standing: Standing,
    /// Changes that have not been done, in order.
    pending: Vec<(&'a Rows, u32)>,
    left: Option<Leaving>,
}

impl<'a> Lane<'a> {
    /// Whether something that a transaction did to rows is to be done.
    fn takes(&self, piece: &Piece, transaction: &Transaction, contained: Contained) -> bool {
        if self.left.is_some() || piece.seq <= self.standing.seq {
            return false;
        }
        match &self.standing.origin {
            Some(origin) if contained == Contained::Asked => !origin.has(transaction),
            _ => true,
        }
    }

    fn change(&mut self, rows: &'a Rows, row: u32) {
        if rows.shape.digest == self.standing.version.shape().digest {
            self.pending.push((rows, row));
        } else {
            self.leave(Leaving::Reshaped("its events have other columns".to_owned()));
        }
    }

    fn leave(&mut self, leaving: Leaving) {
        self.pending.clear();
        self.left.get_or_insert(leaving);
    }

    fn empty(&mut self) {
        self.pending.clear();
        match TableVersion::empty(self.standing.version.table(), self.standing.version.shape()) {
            Ok(version) => self.standing.version = Arc::new(version),
            Err(error) => self.leave(Leaving::Broken(error.to_string())),
        }
    }

    /// What is said of the table, and not done to its rows. What feeds have said before the fill was asked for is known to it; what a
    /// transaction of the store says is known where its rows are.
    fn told(&mut self, of: (&Piece, &Transaction), leaving: Leaving) {
        if of.0.seq > self.standing.seq && !self.knows(of) {
            self.leave(leaving);
        }
    }

    fn knows(&self, (piece, transaction): (&Piece, &Transaction)) -> bool {
        let is_known =
            |origin: &Arc<Origin>| piece.seq <= origin.published && (transaction.id.starts_with(OWN_ID) || origin.has(transaction));
        self.standing.origin.as_ref().is_some_and(is_known)
    }

    /// Something of the history is missing here. What came before it may be of one that the store has left; what is of this one is in the
    /// state, where that was read behind it.
    fn gap(&mut self, of: (&Piece, &Transaction), reason: &str) {
        match &self.standing.origin {
            Some(origin) if of.0.seq > self.standing.seq && self.knows(of) => {
                self.standing.version = Arc::clone(&origin.state);
                self.pending.clear();
                self.left = None;
            }
            _ => self.told(of, Leaving::Reshaped(reason.to_owned())),
        }
    }

    fn barrier(&mut self, of: (&Piece, &Transaction), barrier: &Barrier) {
        match barrier {
            Barrier::Truncated { .. } => {}
            Barrier::Gap { reason } => self.gap(of, reason),
            Barrier::Reshaped { reason, .. } => self.told(of, Leaving::Reshaped(reason.clone())),
            Barrier::Stopped { reason, .. } => self.told(of, Leaving::Stopped(reason.clone())),
        }
    }

    /// Does what is pending; all up to a transaction is in it then.
    fn finish(mut self, seq: u64) -> Result<(TableId, Standing), (TableId, Leaving)> {
        if self.left.is_none() && !self.pending.is_empty() {
            match self.standing.version.applied(&self.pending) {
                Ok(version) => self.standing.version = Arc::new(version),
                Err(broken) => self.left = Some(Leaving::Broken(broken.reason)),
            }
        }
        self.standing.seq = self.standing.seq.max(seq);
        match self.left {
            None => Ok((self.table, self.standing)),
            Some(leaving) => Err((self.table, leaving)),
        }
    }
}

/// The tables of the rows of a group.
fn routes(group: &Group, lanes: &[Lane<'_>]) -> Vec<Option<usize>> {
    let place = |rows: &Rows| lanes.binary_search_by(|lane| lane.table.cmp(&rows.shape.id)).ok();
    group.rows.iter().map(place).collect()
}

/// The tables behind what pieces of transactions did, and those that do not go on.
fn done(standing: Standings, pieces: &[Piece], contained: Contained) -> (Standings, Vec<(TableId, Leaving)>) {
    let lane = |(table, standing)| Lane { table, standing, pending: Vec::new(), left: None };
    let mut lanes: Vec<Lane<'_>> = standing.into_iter().map(lane).collect();
    let mut routed: Option<(&Arc<Group>, Vec<Option<usize>>)> = None;
    for piece in pieces {
        let Some(transaction) = piece.transaction() else { continue };
        if routed.as_ref().is_none_or(|(group, _)| !Arc::ptr_eq(group, &piece.group)) {
            routed = Some((&piece.group, routes(&piece.group, &lanes)));
        }
        let Some((_, places)) = &routed else { continue };
        let takes: Vec<bool> = lanes.iter().map(|lane| lane.takes(piece, transaction, contained)).collect();
        let takes = |at: usize| takes.get(at).copied().unwrap_or(false);
        for entry in &transaction.entries {
            match entry {
                Entry::Row { rows: number, row } => {
                    let number = usize::try_from(*number).unwrap_or(usize::MAX);
                    let Some(at) = places.get(number).copied().flatten().filter(|at| takes(*at)) else { continue };
                    let (Some(lane), Some(rows)) = (lanes.get_mut(at), piece.group.rows.get(number)) else { continue };
                    if lane.left.is_none() {
                        lane.change(rows, *row);
                    }
                }
                Entry::Barrier(barrier) => {
                    for (at, lane) in lanes.iter_mut().enumerate() {
                        if barrier.table().is_some_and(|table| *table != lane.table) {
                            continue;
                        }
                        match barrier {
                            Barrier::Truncated { .. } if takes(at) && lane.left.is_none() => lane.empty(),
                            barrier => lane.barrier((piece, transaction), barrier),
                        }
                    }
                }
            }
        }
    }
    let last = pieces.last().map_or(0, |piece| piece.seq);
    // Of one that goes on, its last piece says that it is done.
    let last = if contained == Contained::No { 0 } else { last };
    let (mut standing, mut left) = (Standings::new(), Vec::new());
    for lane in lanes {
        match lane.finish(last) {
            Ok((table, lane)) => drop(standing.insert(table, lane)),
            Err(leaving) => left.push(leaving),
        }
    }
    (standing, left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::fakes::{Did, FakeStore, batch_of, group_of, id_of, mixed_of, pieces_of, position_of, shape_of, table_of};
    use crate::stores::{Connector, StoreName};

    fn store() -> StoreName {
        StoreName::new("shop")
    }

    /// A table that is published, or one that was loaded from the state at a position.
    fn tables(loaded_at: Option<u64>) -> Tables {
        let empty = TableVersion::empty(&table_of("orders"), &shape_of("orders")).unwrap();
        let version = Arc::new(empty.filled(&batch_of(&[("z", 1)])).unwrap());
        let origin = loaded_at.map(|position| {
            Arc::new(Origin {
                capture: FakeStore::new("shop").capture().unwrap(),
                version: position.to_be_bytes().to_vec(),
                state: Arc::clone(&version),
                published: 3,
                bound: position_of(&store(), position),
                life: 1,
                read: Instant::now(),
                is_asked: true,
            })
        });
        let standing = Standings::from([(id_of("orders"), Standing { version, seq: 0, origin })]);
        Tables { standing, ..Tables::default() }
    }

    fn piece(group: Group, seq: u64) -> Piece {
        Piece { group: Arc::new(group), transaction: 0, seq, generation: 1 }
    }

    fn rows(tables: &Tables) -> usize {
        tables.standing[&id_of("orders")].version.rows()
    }

    #[test]
    fn pieces_are_done_with_the_last_of_them_and_those_that_were_taken_back_are_not() {
        let pieces = || pieces_of(&store(), 3, &[("a", 1), ("b", 1), ("c", 1)]);
        let mut all = tables(None);
        let (mut last, published) = (0, all.standing[&id_of("orders")].version.bytes());
        for (group, expected) in pieces().into_iter().zip([1, 1, 4]) {
            all.take(&[piece(group, 3)]);
            assert_eq!((rows(&all), all.is_open()), (expected, expected == 1));
            let sizes: Vec<usize> = all.open_sizes().map(|(_, bytes)| bytes).collect();
            assert_eq!(sizes.len(), usize::from(all.is_open()), "what is done aside takes memory too");
            assert!(sizes.iter().all(|bytes| *bytes > published.max(last)), "{sizes:?}");
            last = sizes.first().copied().unwrap_or_default();
        }
        assert_eq!(all.standing[&id_of("orders")].seq, 3);
        let mut back = tables(None);
        let taken_back: Vec<Piece> = pieces().into_iter().take(2).map(|group| piece(group, 3)).collect();
        back.take(&taken_back);
        back.take(&[piece(group_of(&store(), &[(4, &[("d", 1)])]), 3)]);
        assert_eq!((rows(&back), back.is_open()), (2, false));
        let mut without = tables(None);
        without.take(&[piece(pieces().remove(1), 3)]);
        assert!(without.standing.is_empty() && matches!(without.left.as_slice(), [(_, Leaving::Reshaped(_))]));
    }

    #[test]
    fn what_a_fill_has_is_told_by_the_last_piece() {
        for (loaded_at, expected) in [(2, 3), (3, 1)] {
            let mut groups = pieces_of(&store(), 3, &[("a", 1), ("b", 1)]);
            groups[0].transactions[0].position = position_of(&store(), 90);
            let mut all = tables(Some(loaded_at));
            let pieces: Vec<Piece> = groups.into_iter().map(|group| piece(group, 9)).collect();
            all.take(&pieces);
            assert_eq!((rows(&all), all.left.len()), (expected, 0), "loaded at {loaded_at}");
            assert_eq!(all.standing[&id_of("orders")].seq, 9);
        }
    }

    #[test]
    fn a_transaction_is_done_once() {
        let change = || piece(mixed_of(&store(), &[(5, vec![("orders", Did::Part("gone"))])]), 4);
        // The fill has it, and has not the row.
        let mut all = tables(Some(5));
        all.take(&[change()]);
        assert_eq!((all.left.len(), all.standing[&id_of("orders")].seq), (0, 4));
        let mut all = tables(Some(4));
        all.take(&[change()]);
        assert!(matches!(all.left.as_slice(), [(_, Leaving::Broken(_))]));
        // It is behind it.
        let mut all = tables(None);
        all.standing.get_mut(&id_of("orders")).unwrap().seq = 4;
        all.take(&[change()]);
        assert!(all.left.is_empty());
    }

    #[test]
    fn what_was_said_before_a_fill_is_known_to_it() {
        let reshaped = |id: &str, seq| {
            let barrier = Barrier::Reshaped { table: id_of("orders"), reason: "x".to_owned() };
            let mut group = mixed_of(&store(), &[(9, vec![("orders", Did::Tell(barrier))])]);
            id.clone_into(&mut group.transactions[0].id);
            piece(group, seq)
        };
        // By the feed: before the fill was asked for, and behind that.
        for (seq, stays) in [(3, true), (4, false)] {
            let mut all = tables(Some(5));
            all.take(&[reshaped(&format!("{OWN_ID}3"), seq)]);
            assert_eq!(all.left.is_empty(), stays, "{seq}");
        }
        // By a transaction of the store which the fill has not.
        let mut all = tables(Some(5));
        all.take(&[reshaped("77", 3)]);
        assert_eq!(all.left.len(), 1);
        let mut all = tables(Some(9));
        all.take(&[reshaped("77", 3)]);
        assert!(all.left.is_empty());
    }

    #[test]
    fn rows_with_other_columns_are_not_done() {
        let mut group = group_of(&store(), &[(5, &[("a", 1)])]);
        let other = crate::stores::change::Shape::of(&table_of("orders"), vec![0, 1], vec![true, true]);
        group.rows[0].shape = other;
        let mut all = tables(None);
        all.take(&[piece(group, 4)]);
        assert!(matches!(all.left.as_slice(), [(_, Leaving::Reshaped(_))]) && all.standing.is_empty());
    }
}
