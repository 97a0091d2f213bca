//! From events to groups of whole transactions: where one begins and ends, which rows it has, and what else it means for tables.
//!
//! ```text
//! GTID → (TABLE_MAP, rows)* → XID | COMMIT | a statement that is alone        → a transaction
//! GTID → (TABLE_MAP, rows)* → XA END → XA_PREPARE → held.rs … GTID → XA COMMIT → a transaction
//! GTID → a statement → Truncated, Reshaped, or tables that stand still, and a doubt
//! ```
//!
//! Pure: bytes in, steps out. **Invariants:** a transaction is given once its end was read, but pieces of one that is too large: what
//! is in the log is committed; a place is added to what was given only behind its end; what does not make sense ends the feed, or
//! stops its table, and is never passed over.

use std::collections::{HashMap, VecDeque};

use super::super::super::capture::{Ended, Followed, Step};
use super::super::super::change::{Barrier, Entry, Resume};
use super::super::super::error::StoreError;
use super::super::super::schema::TableId;
use super::bytes::Malformed;
use super::columns::TableMap;
use super::events::{Begin, Change, Event, Query, RowsEvent, RowsKind, kind};
use super::held::{Held, Prepared};
use super::outgoing::{About, Head, Outgoing};
use super::position::{Checkpoint, Gtid, Gtids, Mark, Stopped};
use super::rows::{Image, Images, Plan};
use super::statements::{Meaning, Statement, may_be};
use super::tracked::{Halt, Mapped, Tables};

mod abandoned;
mod looked;
mod prepared;
mod reached;
#[cfg(test)]
mod tests;

use reached::Reached;

/// A group of events whose end was not read yet.
struct Open {
    head: Head,
    role: Role,
    /// Whether it began by a statement or by rows, so that it does not end with its first statement (MySQL).
    has_begun: bool,
    maps: HashMap<u64, Mapped>,
    entries: Vec<Entry>,
    doubts: Vec<TableId>,
    /// The tables of its rows.
    written: Vec<TableId>,
}

/// What a group is for.
#[derive(Debug)]
enum Role {
    /// What it holds is committed by its end.
    Commit {
        /// Whether its first statement is its end.
        is_standalone: bool,
    },
    /// It is prepared by its end.
    Prepare(Prepared),
    /// It was given before the feed was begun again; only what it says of prepared transactions counts.
    Past {
        /// Whether its first statement is its end.
        is_standalone: bool,
    },
}

/// Where a machine begins.
#[derive(Debug)]
pub(super) struct Begun {
    /// Everything up to here was given.
    pub(super) applied: Gtids,
    /// Reading begins here.
    pub(super) from: Gtids,
    /// Hashes of prepared transactions that have ended lately.
    pub(super) ended: Vec<u64>,
    /// Tables that stood still.
    pub(super) stopped: Stopped,
    /// Where `applied` ends in the files of the server, where that is known.
    pub(super) mark: Option<Mark>,
}

/// Makes steps of events.
pub(super) struct Machine {
    tables: Tables,
    /// Everything that was given, or is among what is given next.
    applied: Gtids,
    /// Everything that was read: less, while it is read again.
    read: Gtids,
    /// What was given before the feed was begun again.
    horizon: Gtids,
    held: Held,
    reached: Reached,
    /// Where `applied` ends in the files of the server.
    mark: Option<Mark>,
    open: Option<Open>,
    out: Outgoing,
    /// What has to be told with the next transaction.
    pending: Vec<Barrier>,
    /// The tables as they are from the end of the open group on.
    next_tables: Option<Vec<Followed>>,
    steps: VecDeque<Step>,
    /// Whether a place was reached that was not told.
    has_moved: bool,
    /// What has ended it by its form.
    malformed: Option<Malformed>,
}

fn refused(reason: &str, mend: &str) -> Ended {
    Ended::Refused { reason: reason.to_owned(), mend: mend.to_owned() }
}

impl Machine {
    /// Begins at a place, or goes on where a feed ended.
    pub(super) fn new(about: About, tables: Tables, begun: Begun) -> Self {
        let reason = "the feed was begun again";
        let revived = tables.revived(&begun.stopped).into_iter();
        Self {
            pending: revived.map(|table| Barrier::Reshaped { table, reason: reason.to_owned() }).collect(),
            tables,
            horizon: begun.applied.clone(),
            applied: begun.applied,
            read: begun.from,
            held: Held::new(begun.ended),
            reached: Reached::default(),
            mark: begun.mark,
            open: None,
            out: Outgoing::new(about),
            next_tables: None,
            steps: VecDeque::new(),
            has_moved: true,
            malformed: None,
        }
    }

    /// The next step that is ready.
    pub(super) fn ready(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Takes the tables as they are now, behind the open group.
    pub(super) fn reshape(&mut self, followed: Vec<Followed>) {
        if self.open.is_some() {
            self.next_tables = Some(followed);
            return;
        }
        for table in self.tables.replace(&followed) {
            let reason = "its columns or key were looked at again".to_owned();
            self.pending.push(Barrier::Reshaped { table, reason });
        }
        // Whoever asks for it anew takes it for one whose rows come.
        let reason = "it was looked at again, and is as it was when it stopped";
        let halted = self.tables.halted().into_iter();
        self.pending.extend(halted.map(|table| Barrier::Stopped { table, reason: reason.to_owned() }));
    }

    /// What there is to give when nothing more comes at the moment: whole transactions, or how far it was read.
    ///
    /// # Errors
    /// The rows do not fit together, or the place is too long to be kept.
    pub(super) fn pause(&mut self) -> Result<Option<Step>, Ended> {
        // The rows of an open one are among those of the whole ones; its end comes at once, or it is large.
        if self.open.as_ref().is_some_and(|open| !open.entries.is_empty()) {
            return Ok(None);
        }
        self.close()?;
        if let Some(step) = self.ready() {
            return Ok(Some(step));
        }
        if self.open.is_some() || !self.has_moved {
            return Ok(None);
        }
        let resume = self.checkpoint()?;
        self.has_moved = false;
        Ok(Some(Step::Idle { position: self.out.position(&self.applied), resume }))
    }

    /// Takes one event.
    ///
    /// # Errors
    /// Why the feed cannot go on.
    pub(super) fn event(&mut self, event: Event) -> Result<(), Ended> {
        self.reached.look(&event);
        match event.kind {
            kind::GTID | kind::MARIA_GTID => self.begin(&event),
            kind::QUERY | kind::QUERY_COMPRESSED | kind::LOAD_QUERY => self.query(&event),
            kind::TABLE_MAP => self.map(event),
            kind::XID => self.end(event.seconds),
            kind::XA_PREPARE => self.prepare(&event),
            kind::HEARTBEAT | kind::HEARTBEAT_LONG => {
                // Nothing new, which is news for whoever waits.
                self.has_moved = true;
                Ok(())
            }
            kind::ROTATE => Ok(()),
            kind::FORMAT => {
                // Another file. What has no end in its own was never committed, and its id is free again.
                let _id = self.abandon()?;
                Ok(())
            }
            kind::INCIDENT => Err(Ended::Lost("the server has lost a part of its binlog (an incident)".to_owned())),
            kind::ANONYMOUS => Err(Ended::Lost("the binlog has transactions without GTIDs (gtid_mode)".to_owned())),
            kind::TAGGED => Err(refused("its GTIDs have tags, which are not read", "SET SESSION gtid_next = 'AUTOMATIC'")),
            kind::PARTIAL_UPDATE | kind::PARTIAL_ROW => {
                self.partial();
                Ok(())
            }
            _ => match event.rows_kind() {
                Some(kind) => self.rows(kind, event),
                None if event.is_without_meaning() => Ok(()),
                None => Err(Ended::Lost(format!("the binlog holds an event of type {}, which is not known", event.kind))),
            },
        }
    }

    /// What an event had not the form of, when that is why the last one has ended the feed.
    pub(super) fn malformed(&self) -> Option<Malformed> {
        self.malformed
    }

    fn broken(&mut self, malformed: Malformed) -> Ended {
        self.malformed = Some(malformed);
        let reason = format!("The binlog holds something that cannot be read: {}.", malformed.0);
        Ended::Again(StoreError::ConnectionLost { store: self.out.about().store.to_string(), reason })
    }

    fn checkpoint(&self) -> Result<Resume, Ended> {
        let checkpoint = Checkpoint {
            identity: self.out.about().identity.to_string(),
            history: self.out.about().history,
            applied: self.applied.clone(),
            from: self.applied.without(self.held.open()),
            ended: self.held.ended(),
            stopped: self.tables.stopped(),
            mark: self.mark.clone(),
        };
        checkpoint
            .encode()
            .ok_or_else(|| refused("its place in the binlog is too long to be kept", "Take old GTIDs together on the server."))
    }

    fn begin(&mut self, event: &Event) -> Result<(), Ended> {
        if self.open.is_some() {
            return Err(self.broken(Malformed("a transaction without an end")));
        }
        let begin = Begin::read(event).map_err(|malformed| self.broken(malformed))?;
        let is_standalone = begin.is_standalone;
        let role = match (begin.is_prepared, self.horizon.contains(&begin.gtid)) {
            (true, _) => Role::Prepare(Prepared::default()),
            (false, true) => Role::Past { is_standalone },
            (false, false) => Role::Commit { is_standalone },
        };
        if self.applied.contains(&begin.gtid) && !self.horizon.contains(&begin.gtid) {
            // It stays in the log: whoever begins again in front of it, meets it again.
            let reason = format!("GTID {} comes behind one of its domain that is not less (gtid_strict_mode)", begin.gtid);
            return Err(Ended::Lost(reason));
        }
        let (server, seconds, committed_us) = (event.server, event.seconds, begin.committed_us);
        self.open = Some(Open {
            head: Head { gtid: begin.gtid, server, seconds, committed_us, given: 0 },
            role,
            has_begun: false,
            maps: HashMap::new(),
            entries: Vec::new(),
            doubts: Vec::new(),
            written: Vec::new(),
        });
        Ok(())
    }

    fn query(&mut self, event: &Event) -> Result<(), Ended> {
        let query = Query::read(event).map_err(|malformed| self.broken(malformed))?;
        let statement = Statement::read(&query.text);
        let Some(open) = &mut self.open else { return Err(self.broken(Malformed("a statement outside of a transaction"))) };
        let is_mysql = matches!(open.head.gtid, Gtid::MySql { .. });
        let is_alone = match &open.role {
            Role::Commit { is_standalone } | Role::Past { is_standalone } => *is_standalone || (is_mysql && !open.has_begun),
            Role::Prepare(_) => false,
        };
        match statement.meaning() {
            Meaning::Begin => {
                open.has_begun = true;
                return Ok(());
            }
            Meaning::XaStart => {
                open.has_begun = true;
                open.role = Role::Prepare(Prepared::default());
                return Ok(());
            }
            Meaning::Commit => return self.end(event.seconds),
            Meaning::Rollback => {
                if let Some(gtid) = self.abandon()? {
                    self.moved(&gtid);
                }
                return Ok(());
            }
            Meaning::XaCommit(xid) => self.decide(&xid)?,
            Meaning::XaRollback(xid) => {
                let _dropped = self.held.end(&xid);
            }
            Meaning::RollbackTo => self.undone_in_part(),
            other => self.changed(&other, &statement, &query.database),
        }
        if is_alone { self.end(event.seconds) } else { Ok(()) }
    }

    /// A statement that does not say where a transaction stands.
    fn changed(&mut self, meaning: &Meaning, statement: &Statement, database: &str) {
        if self.is_past() {
            return;
        }
        let is_in = |namespace: &str| may_be(database, namespace) || statement.names(namespace);
        match meaning {
            Meaning::Truncate(namespace, name) => {
                let namespace = namespace.as_deref().unwrap_or(database);
                let meant = self.tables.those(|table| table.namespace == namespace && table.name == *name);
                if meant.is_empty() {
                    // Whether it is another table by the case of its name alone is the server's to know.
                    let is_alike = |table: &TableId| may_be(namespace, &table.namespace) && may_be(name, &table.name);
                    self.redefined(self.tables.those(is_alike), "TRUNCATE TABLE");
                }
                for table in meant {
                    if self.tables.refresh(&table) {
                        self.tell(Barrier::Truncated { table });
                    }
                }
            }
            Meaning::Redefine(verb) => {
                let tables = self.tables.those(|table| is_in(&table.namespace) && statement.names(&table.name));
                self.redefined(tables, verb);
            }
            Meaning::DropDatabase(name) => {
                let tables = self.tables.those(|table| may_be(name, &table.namespace));
                self.redefined(tables, "DROP DATABASE");
            }
            Meaning::Write => {
                // Which rows it has changed is not told, nor by which views it went.
                let tables = self.tables.those(|table| is_in(&table.namespace) || statement.names(&table.name));
                if self.is_to_be_prepared(&tables) {
                    return;
                }
                for table in tables {
                    self.halt(&table, Halt::Missed, "a session has changed it in statement format (binlog_format)");
                }
            }
            _ => {}
        }
    }

    fn redefined(&mut self, tables: Vec<TableId>, verb: &str) {
        for table in tables {
            self.tables.reconsider(&table);
            if self.tables.refresh(&table) {
                self.tell(Barrier::Reshaped { table: table.clone(), reason: format!("{verb} was run") });
            }
            self.doubt(table);
        }
    }

    fn is_past(&self) -> bool {
        self.open.as_ref().is_some_and(|open| matches!(open.role, Role::Past { .. }))
    }

    fn tell(&mut self, barrier: Barrier) {
        match &mut self.open {
            Some(open) => open.entries.push(Entry::Barrier(barrier)),
            None => self.pending.push(barrier),
        }
    }

    fn doubt(&mut self, table: TableId) {
        if let Some(open) = &mut self.open
            && !open.doubts.contains(&table)
        {
            open.doubts.push(table);
        }
    }

    /// Makes a table stand still.
    fn halt(&mut self, table: &TableId, halt: Halt, reason: &str) {
        if !self.tables.halt(table, halt) {
            return;
        }
        self.tell(Barrier::Stopped { table: table.clone(), reason: reason.to_owned() });
        // Looking again helps where the table, or what we know of it, may be another one.
        if halt != Halt::Value {
            self.doubt(table.clone());
        }
    }

    fn map(&mut self, event: Event) -> Result<(), Ended> {
        let named = TableMap::named(&event.body).map_err(|malformed| self.broken(malformed))?;
        let (number, id) = (named.number, TableId { namespace: named.namespace.to_owned(), name: named.name.to_owned() });
        let Some(open) = &mut self.open else { return Err(self.broken(Malformed("rows outside of a transaction"))) };
        open.has_begun = true;
        match &mut open.role {
            Role::Past { .. } => {}
            Role::Prepare(prepared) => {
                prepared.touch(id);
                prepared.keep(event, &self.held);
            }
            Role::Commit { .. } => self.mapped(number, &event.body),
        }
        Ok(())
    }

    fn mapped(&mut self, number: u64, body: &[u8]) {
        let mapped = self.tables.map(number, body);
        match &mapped {
            Mapped::Other => {}
            Mapped::Fits(plan) => {
                if self.tables.fits_again(&plan.table) {
                    let (table, reason) = (plan.table.clone(), "the binlog describes it as it is again".to_owned());
                    self.tell(Barrier::Reshaped { table, reason });
                    self.doubt(plan.table.clone());
                }
            }
            Mapped::Misfit(table, reason) => self.halt(table, Halt::Misfit, reason),
        }
        if let Some(open) = &mut self.open {
            open.maps.insert(number, mapped);
        }
    }

    fn rows(&mut self, kind: RowsKind, event: Event) -> Result<(), Ended> {
        let number = RowsEvent::table(&event.body).map_err(|malformed| self.broken(malformed))?;
        let Some(open) = &mut self.open else { return Err(self.broken(Malformed("rows outside of a transaction"))) };
        match &mut open.role {
            Role::Past { .. } => return Ok(()),
            Role::Prepare(prepared) => {
                prepared.keep(event, &self.held);
                return Ok(());
            }
            Role::Commit { .. } => {}
        }
        match open.maps.get(&number).cloned() {
            Some(Mapped::Fits(plan)) => self.changes(kind, &plan, &event.body),
            Some(Mapped::Other | Mapped::Misfit(..)) => Ok(()),
            None => Err(self.broken(Malformed("rows of a table that is not described"))),
        }
    }

    /// The rows of an event.
    fn changes(&mut self, kind: RowsKind, plan: &Plan, body: &[u8]) -> Result<(), Ended> {
        if self.tables.given(&plan.table).is_none() {
            return Ok(());
        }
        let event = match RowsEvent::read(kind, body) {
            Ok(event) => event,
            Err(malformed) => {
                self.unread(plan, malformed);
                return Ok(());
            }
        };
        if !plan.is_whole(&event, kind.change) {
            self.halt(&plan.table, Halt::Missed, "a session has written rows without all their columns (binlog_row_image)");
            return Ok(());
        }
        let (mut at, mut first, mut second) = (0, Image::default(), Image::default());
        while at < event.images.len() {
            let start = at;
            let read = plan.image(&event.images, &mut at, event.first, &mut first);
            let read = match kind.change {
                Change::Update => read.and_then(|()| plan.image(&event.images, &mut at, event.second, &mut second)),
                Change::Insert | Change::Delete => read,
            };
            if let Err(malformed) = read {
                self.unread(plan, malformed);
                return Ok(());
            }
            let (old, new) = match kind.change {
                Change::Insert => (None, Some(&first)),
                Change::Update => (Some(&first), Some(&second)),
                Change::Delete => (Some(&first), None),
            };
            let Some(layout) = self.tables.given(&plan.table) else { return Ok(()) };
            let images = Images { bytes: &event.images, old, new };
            match self.out.row((plan, layout), kind.change, &images, at - start) {
                Ok(entry) => self.given(plan, entry)?,
                Err(reason) => self.halt(&plan.table, Halt::Value, &reason),
            }
        }
        Ok(())
    }

    /// Rows of one table cannot be read, which is no reason to stop the others.
    fn unread(&mut self, plan: &Plan, malformed: Malformed) {
        self.halt(&plan.table, Halt::Value, &format!("the binlog holds rows of it that cannot be read: {}", malformed.0));
    }

    /// Takes note of a row.
    fn given(&mut self, plan: &Plan, entry: Entry) -> Result<(), Ended> {
        self.tables.row_given(&plan.table);
        if let Some(open) = &mut self.open {
            open.entries.push(entry);
            if !open.written.contains(&plan.table) {
                open.written.push(plan.table.clone());
            }
        }
        if self.out.is_full() { self.piece() } else { Ok(()) }
    }

    /// The open group ends and is kept.
    fn end(&mut self, seconds: u32) -> Result<(), Ended> {
        let Some(open) = self.open.take() else {
            return Err(self.broken(Malformed("the end of a transaction without a beginning")));
        };
        if matches!(open.role, Role::Prepare(_)) {
            return Err(self.broken(Malformed("the end of a transaction that was only to be prepared")));
        }
        let mut head = open.head;
        head.seconds = seconds;
        self.moved(&head.gtid);
        if !matches!(open.role, Role::Past { .. }) {
            self.give(&head, open.entries, true);
        }
        if !open.doubts.is_empty() {
            self.close()?;
            self.steps.push_back(Step::Doubt(open.doubts));
        } else if self.out.is_full() {
            self.close()?;
        }
        self.renew();
        Ok(())
    }

    fn moved(&mut self, gtid: &Gtid) {
        self.read.add(gtid);
        // What is read again was given already, and more.
        if !self.horizon.contains(gtid) {
            self.applied.add(gtid);
            self.mark = self.reached.mark();
        }
        self.has_moved = true;
    }

    /// The tables change that were to change behind the open group.
    fn renew(&mut self) {
        if let Some(followed) = self.next_tables.take() {
            self.reshape(followed);
        }
    }

    /// Gives what there is of the open group, because it is large.
    fn piece(&mut self) -> Result<(), Ended> {
        if let Some(open) = &mut self.open {
            let (mut head, entries) = (open.head, std::mem::take(&mut open.entries));
            let count = self.give(&head, entries, false);
            head.given = head.given.saturating_add(count);
            if let Some(open) = &mut self.open {
                open.head = head;
            }
        }
        self.close()
    }

    /// Adds a transaction to the group that is given next, with what had to be told, and gives the number of its entries.
    fn give(&mut self, head: &Head, entries: Vec<Entry>, ends: bool) -> u32 {
        let mut all: Vec<Entry> = self.pending.drain(..).map(Entry::Barrier).collect();
        all.extend(entries);
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
        if count > 0 || head.given > 0 {
            let mut place = self.applied.clone();
            place.add(&head.gtid);
            self.out.give(head, all, &place, ends);
        }
        count
    }

    /// Closes the group that is given next.
    fn close(&mut self) -> Result<(), Ended> {
        if self.out.is_empty() {
            // Rows that were taken back again.
            self.out.clear();
            return Ok(());
        }
        let resume = self.checkpoint()?;
        let group = self.out.take(resume)?;
        self.has_moved = false;
        self.steps.push_back(Step::Group(group));
        Ok(())
    }
}
