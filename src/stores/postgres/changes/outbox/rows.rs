//! From rows of the table of changes to groups: a state machine without a connection.
//!
//! Transactions come in the order of their last rows. That is an order in which they could have been committed one after the other:
//! where two have changed one row, the later has waited for the earlier to end, and has numbered its change after that.
//!
//! ```text
//! place of a transaction: four times the number of its last row; of a piece of it: one less; of a cut behind it: one more
//! ```

use std::borrow::Cow;
use std::collections::HashMap;

use super::super::super::super::capture::{Followed, Step};
use super::super::super::super::change::builder::{Cell, RowsBuilder};
use super::super::super::super::change::{Barrier, Entry, OWN_ID, Operation, Transaction};
use super::super::super::super::schema::TableId;
use super::super::facts::{AllFacts, Facts};
use super::super::groups::{Gathered, LOCKED, Origin};
use super::super::known::{Fingerprints, Known};
use super::super::record;
use crate::error::Diagnosis;

/// A row as the triggers have written it.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// Its transaction.
    pub transaction: i64,
    /// The number of that one's last row.
    pub last: u64,
    /// The number of the table.
    pub table: u32,
    /// `i`, `u`, `d` or `t`.
    pub operation: String,
    /// The row before.
    pub old: Option<String>,
    /// The row after.
    pub new: Option<String>,
}

impl Written {
    fn bytes(&self) -> usize {
        self.old.as_ref().map_or(0, String::len) + self.new.as_ref().map_or(0, String::len) + 64
    }
}

/// Why a table gives no rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Rows up to this one were written when the table was not as it is known now.
    Until(u64),
    /// It has changed since it was discovered.
    Shape,
    /// A row could not be read.
    Value,
}

#[derive(Debug)]
struct Table {
    followed: Followed,
    /// Where its columns are in the text of a row, and how many that has.
    places: Vec<Option<usize>>,
    width: usize,
    fingerprint: String,
    trouble: Option<Trouble>,
    builder: Option<usize>,
}

/// A transaction of which more may come.
#[derive(Debug)]
struct Open {
    transaction: i64,
    last: u64,
    first: u32,
    entries: Vec<Entry>,
}

/// The state between rows.
#[derive(Debug)]
pub(super) struct Collector {
    origin: Origin,
    tables: HashMap<u32, Table>,
    gathered: Gathered,
    open: Option<Open>,
    given: u64,
    pending: Vec<Barrier>,
    doubts: Vec<TableId>,
    /// The tables as whoever goes on from here knows them.
    known: Known,
}

impl Collector {
    /// Behind `given`, a place. `known`: the tables as whoever goes on from there knows them; of those that are others, rows up to number
    /// `floor` are not read. `locked`: as in [`Collector::hold`].
    pub(super) fn new(
        origin: Origin,
        given: u64,
        known: Option<Known>,
        floor: u64,
        (tables, locked): (&[Followed], &[TableId]),
        facts: &AllFacts,
    ) -> Self {
        let mut collector = Self {
            origin,
            tables: HashMap::new(),
            gathered: Gathered::default(),
            open: None,
            given,
            pending: Vec::new(),
            doubts: Vec::new(),
            known: Known::default(),
        };
        collector.reshape(tables, facts, 0);
        for table in collector.tables.values_mut() {
            table.trouble = table.trouble.filter(|trouble| *trouble != Trouble::Until(0));
        }
        collector.hold(locked);
        let now = collector.fingerprints();
        if let Some(known) = &known {
            // Tables in trouble are not among them.
            for number in known.others(&now) {
                if let Some(table) = collector.tables.get_mut(&number) {
                    table.trouble = Some(Trouble::Until(floor));
                }
            }
        }
        collector.known = known.unwrap_or_else(|| Known::of(&now));
        collector
    }

    /// The numbers of all tables that are followed.
    pub(super) fn oids(&self) -> Vec<u32> {
        self.tables.keys().copied().collect()
    }

    /// Behind which row it is.
    pub(super) fn behind(&self) -> u64 {
        self.given / 4
    }

    /// Tables that have to be discovered again.
    pub(super) fn take_doubts(&mut self) -> Vec<TableId> {
        let mut doubts = std::mem::take(&mut self.doubts);
        doubts.sort();
        doubts.dedup();
        doubts
    }

    /// Where it goes on, when nothing is gathered.
    pub(super) fn idle(&self) -> Step {
        Step::Idle { position: self.origin.position(self.given), resume: self.origin.resume(self.given, &self.known) }
    }

    /// The tables as they are now. Of those that are new or others, rows up to number `floor` are not read.
    pub(super) fn reshape(&mut self, tables: &[Followed], facts: &AllFacts, floor: u64) {
        let mut before = std::mem::take(&mut self.tables);
        for followed in tables {
            let id = &followed.table.id;
            let Some(facts) = facts.get(id).filter(|facts| facts.agree(&followed.table)) else {
                self.doubts.push(id.clone());
                // What was known of it is not true any more.
                let known = before.iter().find(|(_, table)| table.followed.table.id == *id).map(|(oid, _)| *oid);
                if let Some((oid, mut table)) = known.and_then(|oid| before.remove_entry(&oid)) {
                    self.pending.extend(stop(&mut table, Trouble::Shape, CHANGED));
                    self.tables.insert(oid, table);
                }
                continue;
            };
            let known = before.remove(&facts.oid);
            let is_same = known.as_ref().is_some_and(|known| {
                known.fingerprint == facts.fingerprint && known.followed.shape.digest == followed.shape.digest
            });
            let trouble = match known.and_then(|known| known.trouble) {
                trouble @ (None | Some(Trouble::Until(_) | Trouble::Value)) if is_same => trouble,
                _ => Some(Trouble::Until(floor)),
            };
            self.tables.insert(facts.oid, table(followed, facts, trouble));
        }
        for table in before.values_mut() {
            self.pending.extend(stop(table, Trouble::Shape, "it is not followed any more"));
        }
    }

    /// Tables without triggers, since somebody holds a lock on them, until all are told again.
    pub(super) fn hold(&mut self, tables: &[TableId]) {
        for table in self.tables.values_mut().filter(|table| tables.contains(&table.followed.table.id)) {
            // Also where it gave no rows yet: whoever waits for it is told why.
            table.trouble = None;
            self.pending.extend(stop(table, Trouble::Shape, LOCKED));
        }
    }

    /// All rows up to one are there, and tables are like this.
    pub(super) fn begin(&mut self, fingerprints: &HashMap<u32, String>) {
        for (oid, table) in &mut self.tables {
            let is_same = fingerprints.get(oid) == Some(&table.fingerprint);
            if is_same || matches!(table.trouble, Some(Trouble::Shape | Trouble::Value)) {
                continue;
            }
            self.doubts.push(table.followed.table.id.clone());
            self.pending.extend(stop(table, Trouble::Shape, CHANGED));
        }
    }

    /// The next row. Gives a group when there is enough for one.
    ///
    /// # Errors
    /// As [`Gathered::finish`].
    pub(super) fn push(&mut self, row: &Written) -> Result<Option<Step>, Diagnosis> {
        if self.open.as_ref().is_none_or(|open| open.last != row.last) {
            self.finish();
            let entries = self.take_pending();
            self.open = Some(Open { transaction: row.transaction, last: row.last, first: 0, entries });
        }
        let entry = self.entry(row);
        if let Some(open) = self.open.as_mut() {
            open.entries.extend(entry);
        }
        if self.gathered.is_full() { self.close() } else { Ok(None) }
    }

    fn entry(&mut self, row: &Written) -> Option<Entry> {
        let table = self.tables.get_mut(&row.table).filter(|table| table.trouble.is_none())?;
        if row.operation == "t" {
            return Some(Entry::Barrier(Barrier::Truncated { table: table.followed.table.id.clone() }));
        }
        match push(&mut self.gathered, table, row) {
            Ok((rows, place)) => {
                self.gathered.rows += 1;
                self.gathered.bytes += row.bytes();
                Some(Entry::Row { rows, row: place })
            }
            Err(reason) => {
                let stopped = stop(table, Trouble::Value, &reason);
                self.known = Known::of(&self.fingerprints());
                stopped.map(Entry::Barrier)
            }
        }
    }

    /// All rows up to number `last` have come.
    ///
    /// # Errors
    /// As [`Gathered::finish`].
    pub(super) fn end(&mut self, last: u64) -> Result<Step, Diagnosis> {
        self.finish();
        for table in self.tables.values_mut() {
            if matches!(table.trouble, Some(Trouble::Until(floor)) if floor <= last) {
                table.trouble = None;
                let reason = "it is followed as it is from here".to_owned();
                self.pending.push(Barrier::Reshaped { table: table.followed.table.id.clone(), reason });
            }
        }
        self.given = self.given.max(4 * last + 1);
        if !self.pending.is_empty() {
            let entries = self.take_pending();
            self.gathered.transactions.push(Transaction {
                id: format!("{OWN_ID}table-{last}"),
                position: self.origin.position(self.given),
                origin: None,
                committed_us: None,
                first: 0,
                entries,
                ends: true,
            });
        }
        Ok(self.close()?.unwrap_or_else(|| self.idle()))
    }

    /// The open transaction has ended.
    fn finish(&mut self) {
        let Some(open) = self.open.take() else { return };
        let place = 4 * open.last;
        self.given = self.given.max(place);
        if !open.entries.is_empty() || open.first > 0 {
            let transaction = self.transaction(open, place, true);
            self.gathered.transactions.push(transaction);
        }
    }

    fn transaction(&self, open: Open, place: u64, ends: bool) -> Transaction {
        Transaction {
            id: open.transaction.to_string(),
            position: self.origin.position(place),
            origin: None,
            committed_us: None,
            first: open.first,
            entries: open.entries,
            ends,
        }
    }

    fn close(&mut self) -> Result<Option<Step>, Diagnosis> {
        if let Some(open) = self.open.as_mut().filter(|open| !open.entries.is_empty()) {
            let first = open.first.saturating_add(u32::try_from(open.entries.len()).unwrap_or(u32::MAX));
            let piece = std::mem::replace(open, Open { first, entries: Vec::new(), ..*open });
            let place = (4 * piece.last).saturating_sub(1);
            let transaction = self.transaction(piece, place, false);
            self.gathered.transactions.push(transaction);
        }
        for table in self.tables.values_mut() {
            table.builder = None;
        }
        let resume = self.origin.resume(self.given, &self.known);
        Ok(self.gathered.finish(&self.origin, resume)?.map(Step::Group))
    }

    fn take_pending(&mut self) -> Vec<Entry> {
        if !self.pending.is_empty() {
            self.known = Known::of(&self.fingerprints());
        }
        std::mem::take(&mut self.pending).into_iter().map(Entry::Barrier).collect()
    }

    /// A number for each table as it stands. One that has been told to have stopped is as one that is not followed.
    fn fingerprints(&self) -> Fingerprints {
        let each = self.tables.iter().filter_map(|(oid, table)| {
            let trouble = match table.trouble {
                None => "",
                Some(Trouble::Until(_)) => "until",
                Some(Trouble::Shape | Trouble::Value) => return None,
            };
            let parts = [oid.to_string(), table.fingerprint.clone(), table.followed.shape.digest.to_string(), trouble.to_owned()];
            // FNV-1a: the same in every process.
            let bytes = parts.join(" ").into_bytes();
            let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            Some((*oid, bytes.iter().fold(0xcbf2_9ce4_8422_2325, hash)))
        });
        each.collect()
    }
}

const CHANGED: &str = "its columns are others than were discovered, or it has lost its triggers";

fn table(followed: &Followed, facts: &Facts, trouble: Option<Trouble>) -> Table {
    Table {
        places: facts.places(&followed.table),
        width: facts.attributes.len(),
        fingerprint: facts.fingerprint.clone(),
        followed: followed.clone(),
        trouble,
        builder: None,
    }
}

/// A table gives no more rows; tells it where it gave some.
fn stop(table: &mut Table, trouble: Trouble, reason: &str) -> Option<Barrier> {
    let gave = table.trouble.replace(trouble).is_none();
    gave.then(|| Barrier::Stopped { table: table.followed.table.id.clone(), reason: reason.to_owned() })
}

/// Adds a row, and says where it is; or why the table gives no more rows.
fn push(gathered: &mut Gathered, table: &mut Table, row: &Written) -> Result<(u32, u32), String> {
    let operation = match row.operation.as_str() {
        "i" => Operation::Insert,
        "u" => Operation::Update,
        "d" => Operation::Delete,
        _ => return Err(UNREADABLE.to_owned()),
    };
    let (old, new) = (columns(row.old.as_deref(), table.width)?, columns(row.new.as_deref(), table.width)?);
    let place = *table.builder.get_or_insert_with(|| {
        gathered.builders.push(RowsBuilder::new(&table.followed.shape));
        gathered.builders.len() - 1
    });
    let builder = gathered.builders.get_mut(place).ok_or(UNREADABLE)?;
    let mut new = cells(new.as_deref(), &table.places);
    let mut before = cells(old.as_deref(), &table.places);
    let before: Option<&mut dyn Iterator<Item = Cell<'_>>> = if old.is_some() { Some(&mut before) } else { None };
    let pushed = builder.push(operation, &mut new, before);
    let pushed = pushed.map_err(|broken| format!("a value of it cannot be read (SQLSTATE {})", broken.sqlstate))?;
    Ok((u32::try_from(place).unwrap_or(u32::MAX), pushed))
}

const UNREADABLE: &str = "a row of it cannot be read";

/// The columns of a row.
type Columns<'a> = Vec<Option<Cow<'a, str>>>;

fn columns(text: Option<&str>, width: usize) -> Result<Option<Columns<'_>>, String> {
    let read = |text| record::read(text).filter(|columns| columns.len() == width).ok_or_else(|| UNREADABLE.to_owned());
    text.map(read).transpose()
}

/// Its cells in the order of the table's columns; without a row nothing is known.
fn cells<'a>(columns: Option<&'a [Option<Cow<'a, str>>]>, places: &'a [Option<usize>]) -> impl Iterator<Item = Cell<'a>> + use<'a> {
    places.iter().map_while(move |place| {
        let columns = columns?;
        Some(match place.and_then(|at| columns.get(at)) {
            None => Cell::Unknown,
            Some(None) => Cell::Null,
            Some(Some(text)) => Cell::Text(text),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::AsArray;
    use arrow::datatypes::Int32Type;

    use super::super::super::facts::tests::{facts, table as discovered};
    use super::super::super::position::{Checkpoint, covers};
    use super::*;
    use crate::stores::capture::How;
    use crate::stores::change::{Group, Resume, Shape};
    use crate::stores::connector::StoreName;
    use crate::stores::position::{Coverage, Position};

    fn followed() -> Followed {
        let table = Arc::new(discovered());
        let shape = Shape::of(&table, vec![0], vec![true, true]);
        Followed { table, shape }
    }

    fn all(fingerprint: &str) -> AllFacts {
        AllFacts::from([(discovered().id, Facts { fingerprint: fingerprint.to_owned(), ..facts() })])
    }

    fn origin() -> Origin {
        Origin { store: StoreName::new("shop"), how: How::Outbox, cluster: 5, timeline: 0 }
    }

    fn collector(known: Option<Known>) -> Collector {
        Collector::new(origin(), 0, known, 10, (&[followed()], &[]), &all("1"))
    }

    fn written(transaction: i64, last: u64, operation: &str, old: &str, new: &str) -> Written {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Written { transaction, last, table: 7, operation: operation.to_owned(), old: text(old), new: text(new) }
    }

    fn as_known(fingerprint: &str) -> HashMap<u32, String> {
        HashMap::from([(7, fingerprint.to_owned())])
    }

    fn group(step: Step) -> Group {
        match step {
            Step::Group(group) => group,
            other => panic!("{other:?}"),
        }
    }

    fn checkpoint(resume: &Resume) -> Checkpoint {
        Checkpoint::read(resume).unwrap()
    }

    fn barriers(group: &Group) -> Vec<&Barrier> {
        let entries = group.transactions.iter().flat_map(|transaction| &transaction.entries);
        entries.filter_map(|entry| if let Entry::Barrier(barrier) = entry { Some(barrier) } else { None }).collect()
    }

    #[test]
    fn transactions_are_put_together_from_their_rows() {
        let mut collector = collector(None);
        collector.begin(&as_known("1"));
        for row in [
            written(9, 3, "i", "", "(1,\"a,b\")"),
            written(9, 3, "u", "(1,\"a,b\")", "(2,)"),
            written(8, 4, "d", "(2,)", ""),
            written(8, 4, "t", "", ""),
        ] {
            assert!(collector.push(&row).unwrap().is_none());
        }
        let group = group(collector.end(6).unwrap());
        let told: Vec<_> = group.transactions.iter().map(|each| (each.id.as_str(), each.entries.len(), each.ends)).collect();
        assert_eq!(told, [("9", 2, true), ("8", 2, true)]);
        assert_eq!((checkpoint(&group.resume).place, collector.behind()), (25, 6));
        let rows = &group.rows[0];
        assert_eq!(rows.new.column(0).as_primitive::<Int32Type>().value(1), 2);
        assert_eq!((rows.moves(1), rows.key(2), rows.new_known.has(1, 1)), (true, Some((true, 2)), true));
        assert!(matches!(barriers(&group)[..], [Barrier::Truncated { .. }]));
        assert!(matches!(collector.end(6).unwrap(), Step::Idle { position, .. } if position == origin().position(25)));
    }

    #[test]
    fn a_table_that_changes_is_read_again_behind_all_rows_of_the_old_kind() {
        let mut collector = collector(None);
        collector.begin(&as_known("2"));
        assert_eq!(collector.take_doubts(), [discovered().id]);
        assert!(collector.push(&written(9, 3, "i", "", "(1,a)")).unwrap().is_none());
        let told = group(collector.end(4).unwrap());
        assert!(matches!(barriers(&told)[..], [Barrier::Stopped { .. }]) && told.rows.is_empty());
        collector.reshape(&[followed()], &all("2"), 8);
        collector.begin(&as_known("2"));
        collector.push(&written(10, 7, "i", "", "(2,b)")).unwrap();
        assert!(matches!(collector.end(7).unwrap(), Step::Idle { .. }), "it may have been written before the change");
        collector.begin(&as_known("2"));
        let told = group(collector.end(8).unwrap());
        assert!(matches!(barriers(&told)[..], [Barrier::Reshaped { .. }]));
        collector.begin(&as_known("2"));
        collector.push(&written(11, 9, "i", "", "(3,c)")).unwrap();
        assert_eq!(group(collector.end(9).unwrap()).rows[0].operations, [Operation::Insert]);
    }

    #[test]
    fn what_changed_while_nobody_followed_is_told() {
        let known = collector(None).known;
        assert!(matches!(collector(Some(known.clone())).end(1).unwrap(), Step::Idle { .. }));
        let other = Known::of(&Fingerprints::from([(7, 1)]));
        let mut collector = collector(Some(other.clone()));
        collector.begin(&as_known("1"));
        collector.push(&written(9, 3, "i", "", "(1,a)")).unwrap();
        let Step::Idle { resume, .. } = collector.end(9).unwrap() else { panic!("rows up to 10 may be of another kind") };
        assert_eq!(checkpoint(&resume).tables, other, "a restart must tell it again");
        let told = group(collector.end(10).unwrap());
        assert!(matches!(barriers(&told)[..], [Barrier::Reshaped { .. }]));
        assert_eq!(checkpoint(&told.resume).tables, known);
    }

    #[test]
    fn a_table_that_changed_while_nobody_followed_holds_back_no_other() {
        let (one, mut other) = (followed(), followed());
        Arc::make_mut(&mut other.table).id.name = "u".to_owned();
        let facts = |fingerprint: &str| {
            let mut facts = all("1");
            let changed = Facts { oid: 8, fingerprint: fingerprint.to_owned(), ..facts[&discovered().id].clone() };
            facts.insert(other.table.id.clone(), changed);
            facts
        };
        let tables = [one, other.clone()];
        let known = Collector::new(origin(), 0, None, 10, (&tables, &[]), &facts("1")).known;
        let mut collector = Collector::new(origin(), 0, Some(known), 10, (&tables, &[]), &facts("2"));
        collector.begin(&HashMap::from([(7, "1".to_owned()), (8, "2".to_owned())]));
        collector.push(&written(9, 3, "i", "", "(1,a)")).unwrap();
        collector.push(&Written { table: 8, ..written(9, 3, "i", "", "(1,a)") }).unwrap();
        let told = group(collector.end(9).unwrap());
        assert_eq!((told.transactions[0].entries.len(), told.rows[0].operations.len()), (1, 1));
        let told = group(collector.end(10).unwrap());
        assert!(matches!(barriers(&told)[..], [Barrier::Reshaped { table, .. }] if *table == other.table.id), "{told:?}");
    }

    #[test]
    fn a_row_that_cannot_be_read_stops_its_table() {
        for text in ["(1)", "(x,a)", "1,a", "(1,a,b)"] {
            let mut collector = collector(None);
            collector.begin(&as_known("1"));
            collector.push(&written(9, 3, "i", "", text)).unwrap();
            collector.push(&written(9, 3, "i", "", "(2,b)")).unwrap();
            let told = group(collector.end(3).unwrap());
            assert!(matches!(barriers(&told)[..], [Barrier::Stopped { .. }]), "{text}");
            assert!(told.rows.iter().all(|rows| rows.operations.is_empty()), "{text}");
            // Whoever goes on without it has nothing to tell of the others.
            let without = Collector::new(origin(), 0, None, 10, (&[], &[]), &all("1"));
            assert_eq!(checkpoint(&told.resume).tables, without.known, "{text}");
        }
    }

    #[test]
    fn positions_grow_with_pieces_and_cuts() {
        let mut collector = collector(None);
        collector.begin(&as_known("1"));
        let before = match collector.end(4).unwrap() {
            Step::Idle { position, .. } => position,
            other => panic!("{other:?}"),
        };
        collector.begin(&as_known("1"));
        let mut positions: Vec<Position> = vec![before];
        for number in 0..=crate::stores::change::GROUP_ROWS_MAX {
            let step = collector.push(&written(9, 5, "i", "", &format!("({number},a)"))).unwrap();
            positions.extend(step.map(|step| {
                let group = group(step);
                assert_eq!((group.transactions[0].ends, checkpoint(&group.resume).place), (false, 17));
                group.transactions[0].position.clone()
            }));
        }
        let last = group(collector.end(5).unwrap());
        assert_eq!((last.transactions[0].first as usize, last.transactions[0].ends), (crate::stores::change::GROUP_ROWS_MAX, true));
        positions.push(last.transactions[0].position.clone());
        assert_eq!(positions.len(), 3);
        assert!(positions.windows(2).all(|pair| covers(&pair[0], &pair[1]) == Coverage::Behind), "{positions:?}");
    }
}
