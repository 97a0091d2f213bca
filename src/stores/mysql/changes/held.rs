//! Transactions of XA that are prepared and not decided: their rows are in the log already, and nobody may see them before they are
//! committed.
//!
//! What is kept is the events, not the rows: a store may prepare many and drop them. They are bounded; of one beyond the bound only the
//! tables are known, and these stand still once it is committed. A place to go on from stands in front of all that are open, so that they are
//! read again after a restart.

use std::collections::{HashMap, VecDeque};

use super::super::super::schema::TableId;
use super::events::{Event, Xid};
use super::position::{Gtid, Last};

/// The most bytes of events that are kept.
const BYTES_MAX: usize = 64 << 20;
/// The most transactions whose events are kept.
const OPEN_MAX: usize = 1_000;
/// The most tables that are known of one whose events are not kept; of more, all tables count as touched.
const TABLES_MAX: usize = 64;
/// The most transactions that are known to have ended.
const ENDED_MAX: usize = 512;

/// What is known of a transaction that is being prepared.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// Descriptions of tables and rows, in order.
    pub(super) events: Vec<Event>,
    /// The tables that it writes.
    pub(super) tables: Vec<TableId>,
    /// Whether it writes more than those.
    pub(super) has_more_tables: bool,
    /// Whether there was no room for its events.
    pub(super) is_lost: bool,
    bytes: usize,
}

impl Prepared {
    /// Keeps an event, if there is room for it.
    pub(super) fn keep(&mut self, event: Event, held: &Held) {
        self.bytes += event.body.len();
        self.is_lost |= self.bytes + held.bytes > BYTES_MAX || held.open.len() >= OPEN_MAX;
        if self.is_lost {
            self.events = Vec::new();
        } else {
            self.events.push(event);
        }
    }

    /// Takes note of a table that it writes.
    pub(super) fn touch(&mut self, table: TableId) {
        if self.tables.contains(&table) {
            return;
        }
        if self.tables.len() < TABLES_MAX {
            self.tables.push(table);
        } else {
            self.has_more_tables = true;
        }
    }
}

/// An open transaction.
#[derive(Debug)]
struct Open {
    gtid: Gtid,
    /// What stood in front of it in its domain.
    before: Option<Last>,
    prepared: Prepared,
}

/// How a transaction of XA was known that ends.
#[derive(Debug)]
pub(super) enum Ends {
    /// With these events.
    Known(Prepared),
    /// It has ended before: servers write the end again that was found after a crash.
    Again,
    /// It was prepared before the feed began.
    Unknown,
}

/// All that are open, and some that were.
#[derive(Debug, Default)]
pub(super) struct Held {
    open: HashMap<Xid, Open>,
    bytes: usize,
    ended: VecDeque<u64>,
}

impl Held {
    /// Nothing open, after a restart.
    pub(super) fn new(ended: Vec<u64>) -> Self {
        Self { open: HashMap::new(), bytes: 0, ended: ended.into() }
    }

    /// Takes one that is prepared. The same one again, when it is read again, changes nothing.
    pub(super) fn prepare(&mut self, xid: Xid, gtid: Gtid, before: Option<Last>, prepared: Prepared) {
        // A name may be used again.
        self.ended.retain(|hash| *hash != xid.hash());
        let bytes: usize = prepared.events.iter().map(|event| event.body.len()).sum();
        self.bytes += bytes;
        let open = Open { gtid, before, prepared: Prepared { bytes, ..prepared } };
        if let Some(earlier) = self.open.insert(xid, open) {
            self.bytes -= earlier.prepared.bytes.min(self.bytes);
        }
    }

    /// Takes one out that is decided.
    pub(super) fn end(&mut self, xid: &Xid) -> Ends {
        let hash = xid.hash();
        let was_known = self.ended.contains(&hash);
        if !was_known {
            self.ended.push_back(hash);
            if self.ended.len() > ENDED_MAX {
                self.ended.pop_front();
            }
        }
        match self.open.remove(xid) {
            Some(open) => {
                self.bytes -= open.prepared.bytes.min(self.bytes);
                Ends::Known(open.prepared)
            }
            None if was_known => Ends::Again,
            None => Ends::Unknown,
        }
    }

    /// Those that are open, with what stood in front of each.
    pub(super) fn open(&self) -> impl Iterator<Item = (&Gtid, Option<Last>)> {
        self.open.values().map(|open| (&open.gtid, open.before))
    }

    /// Hashes of those that have ended lately.
    pub(super) fn ended(&self) -> Vec<u64> {
        self.ended.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::samples::event;
    use super::*;

    fn xid(number: u32) -> Xid {
        Xid { format: 1, global: number.to_le_bytes().to_vec(), branch: Vec::new() }
    }

    fn gtid(seq: u64) -> Gtid {
        Gtid::Maria { domain: 0, last: Last { server: 1, seq } }
    }

    fn prepared(held: &Held, bytes: usize) -> Prepared {
        let mut prepared = Prepared::default();
        prepared.keep(event(23, vec![0; bytes]), held);
        prepared
    }

    #[test]
    fn each_ends_once() {
        let mut held = Held::new(vec![xid(9).hash()]);
        let before = Some(Last { server: 1, seq: 4 });
        let first = prepared(&held, 10);
        held.prepare(xid(1), gtid(5), before, first);
        assert_eq!(held.open().collect::<Vec<_>>(), [(&gtid(5), before)]);
        assert!(matches!(held.end(&xid(1)), Ends::Known(prepared) if prepared.events.len() == 1 && !prepared.is_lost));
        assert!(matches!(held.end(&xid(1)), Ends::Again) && matches!(held.end(&xid(9)), Ends::Again));
        assert!(matches!(held.end(&xid(2)), Ends::Unknown) && matches!(held.end(&xid(2)), Ends::Again));
        // Its name is used again.
        let again = prepared(&held, 1);
        held.prepare(xid(1), gtid(8), before, again);
        assert!(matches!(held.end(&xid(1)), Ends::Known(_)) && held.bytes == 0 && held.open().count() == 0);
        for number in 10..2_000 {
            let _unknown = held.end(&xid(number));
        }
        assert_eq!(held.ended().len(), ENDED_MAX);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut held = Held::default();
        let large = prepared(&held, BYTES_MAX - 10);
        held.prepare(xid(1), gtid(1), None, large);
        let mut beyond = prepared(&held, 5);
        assert_eq!((beyond.events.len(), beyond.is_lost), (1, false));
        beyond.keep(event(23, vec![0; 6]), &held);
        assert!(beyond.events.is_empty() && beyond.is_lost);
        beyond.keep(event(23, vec![0; 1]), &held);
        assert!(beyond.events.is_empty(), "what came before is missing");
        let table = |number: usize| TableId { namespace: "d".to_owned(), name: number.to_string() };
        let mut named = Prepared::default();
        (0..TABLES_MAX).chain(0..TABLES_MAX).for_each(|number| named.touch(table(number)));
        assert!(named.tables.len() == TABLES_MAX && !named.has_more_tables);
        named.touch(table(TABLES_MAX));
        assert!(named.has_more_tables);
    }
}
