//! The tables that are followed, and how each stands: whether its rows are given, and what the last description of it in the log said.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::super::capture::Followed;
use super::super::super::schema::TableId;
use super::super::types::Policy;
use super::charsets::Charsets;
use super::columns::TableMap;
use super::position::Stopped;
use super::rows::{Layout, Plan};

/// The most descriptions of tables that are kept in mind.
const MAPS_MAX: usize = 1_000;

/// Why the rows of a table are not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halt {
    /// The log describes it otherwise than it was discovered; until the two agree again.
    Misfit,
    /// Something of its rows was not told; until it was looked at again.
    Missed,
    /// A value of it cannot be given; until it is another table.
    Value,
}

/// One table.
#[derive(Debug)]
struct Tracked {
    layout: Arc<Layout>,
    halt: Option<Halt>,
    /// Whether it was told that nothing of what was known follows, and no row since.
    is_fresh: bool,
}

/// What a description of a table in the log means.
#[derive(Debug, Clone)]
pub(super) enum Mapped {
    /// The table is not followed.
    Other,
    /// Its rows are read so.
    Fits(Arc<Plan>),
    /// It is another one than was discovered, for this reason.
    Misfit(TableId, Arc<str>),
}

/// All that are followed.
#[derive(Debug)]
pub(super) struct Tables {
    tables: BTreeMap<TableId, Tracked>,
    policy: Policy,
    charsets: Charsets,
    is_mariadb: bool,
    /// By number in the log, with the bytes that it is of.
    maps: HashMap<u64, (Vec<u8>, Mapped)>,
}

impl Tables {
    /// None yet.
    pub(super) fn new(policy: Policy, charsets: Charsets, is_mariadb: bool) -> Self {
        Self { tables: BTreeMap::new(), policy, charsets, is_mariadb, maps: HashMap::new() }
    }

    /// Takes the tables as they are now, and gives those of which nothing follows that was known.
    pub(super) fn replace(&mut self, followed: &[Followed]) -> Vec<TableId> {
        let mut reshaped = Vec::new();
        let mut tables = BTreeMap::new();
        for each in followed {
            let id = each.table.id.clone();
            // A table without a layout is not among those that a survey has let through.
            let Ok(layout) = Layout::of(each, self.policy) else { continue };
            let tracked = match self.tables.remove(&id) {
                Some(mut known) => {
                    let is_other = known.layout.shape.digest != layout.shape.digest;
                    let goes_on = known.halt == Some(Halt::Missed) || (is_other && known.halt.is_some());
                    if goes_on || (is_other && !known.is_fresh && known.halt.is_none()) {
                        (known.halt, known.is_fresh) = (None, true);
                        reshaped.push(id.clone());
                    }
                    known.layout = Arc::new(layout);
                    known
                }
                None => Tracked { layout: Arc::new(layout), halt: None, is_fresh: true },
            };
            tables.insert(id, tracked);
        }
        self.tables = tables;
        self.maps.clear();
        reshaped
    }

    /// Those among the followed ones that stood still when a feed ended: they begin again, as others.
    pub(super) fn revived(&self, stopped: &Stopped) -> Vec<TableId> {
        match stopped {
            Stopped::Some(stopped) => stopped.iter().filter(|table| self.tables.contains_key(table)).cloned().collect(),
            Stopped::All => self.tables.keys().cloned().collect(),
        }
    }

    /// Those that stand still.
    pub(super) fn halted(&self) -> Vec<TableId> {
        self.tables.iter().filter(|(_, tracked)| tracked.halt.is_some()).map(|(table, _)| table.clone()).collect()
    }

    /// The same, as it is kept.
    pub(super) fn stopped(&self) -> Stopped {
        Stopped::Some(self.halted())
    }

    /// Reads a description of a table. One that has not the form of one makes a table that is followed stand still.
    pub(super) fn map(&mut self, number: u64, body: &[u8]) -> Mapped {
        if let Some((known, mapped)) = self.maps.get(&number)
            && known == body
        {
            return mapped.clone();
        }
        let mapped = self.read(body);
        if self.maps.len() >= MAPS_MAX {
            self.maps.clear();
        }
        self.maps.insert(number, (body.to_vec(), mapped.clone()));
        mapped
    }

    fn read(&self, body: &[u8]) -> Mapped {
        let Ok(named) = TableMap::named(body) else { return Mapped::Other };
        let id = TableId { namespace: named.namespace.to_owned(), name: named.name.to_owned() };
        let Some(tracked) = self.tables.get(&id) else { return Mapped::Other };
        let plan = TableMap::read(body, self.is_mariadb)
            .map_err(|malformed| format!("the binlog describes it in a way that is not read: {}", malformed.0))
            .and_then(|map| tracked.layout.plan(&map, &self.charsets));
        match plan {
            Ok(plan) => Mapped::Fits(Arc::new(plan)),
            Err(reason) => Mapped::Misfit(id, reason.into()),
        }
    }

    /// Whether a table is followed and its rows are given; with what they are read.
    pub(super) fn given(&self, table: &TableId) -> Option<&Arc<Layout>> {
        self.tables.get(table).filter(|tracked| tracked.halt.is_none()).map(|tracked| &tracked.layout)
    }

    /// Takes note of a row that was given.
    pub(super) fn row_given(&mut self, table: &TableId) {
        if let Some(tracked) = self.tables.get_mut(table) {
            tracked.is_fresh = false;
        }
    }

    /// Whether a table has begun to stand still by this.
    pub(super) fn halt(&mut self, table: &TableId, halt: Halt) -> bool {
        let Some(tracked) = self.tables.get_mut(table) else { return false };
        match tracked.halt {
            None => {
                tracked.halt = Some(halt);
                true
            }
            Some(known) => {
                // What was missed is not mended by a description that fits.
                if known == Halt::Misfit && halt == Halt::Missed {
                    tracked.halt = Some(halt);
                }
                false
            }
        }
    }

    /// Whether a table goes on that the log had described otherwise.
    pub(super) fn fits_again(&mut self, table: &TableId) -> bool {
        match self.tables.get_mut(table) {
            Some(tracked) if tracked.halt == Some(Halt::Misfit) => {
                (tracked.halt, tracked.is_fresh) = (None, true);
                true
            }
            _ => false,
        }
    }

    /// Takes note of a statement that changes a table: the log may describe it from here on as it was discovered.
    pub(super) fn reconsider(&mut self, table: &TableId) {
        if let Some(tracked) = self.tables.get_mut(table).filter(|tracked| tracked.halt == Some(Halt::Misfit)) {
            tracked.halt = None;
        }
    }

    /// Whether it has to be told that nothing of what was known of a table follows.
    pub(super) fn refresh(&mut self, table: &TableId) -> bool {
        match self.tables.get_mut(table) {
            Some(tracked) if tracked.halt.is_none() => {
                tracked.is_fresh = true;
                true
            }
            _ => false,
        }
    }

    /// Those of which something is so.
    pub(super) fn those(&self, is_meant: impl Fn(&TableId) -> bool) -> Vec<TableId> {
        self.tables.keys().filter(|table| is_meant(table)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::samples::{POLICY, followed};
    use super::*;

    fn id() -> TableId {
        TableId { namespace: "d".to_owned(), name: "t".to_owned() }
    }

    fn tables() -> Tables {
        let mut tables = Tables::new(POLICY, Charsets::samples(), true);
        assert!(tables.replace(&[followed("d", "t", &[("id", "int(11)")])]).is_empty());
        tables.row_given(&id());
        tables
    }

    #[test]
    fn another_shape_is_told_once() {
        let mut tables = tables();
        let wider = [followed("d", "t", &[("id", "int(11)"), ("b", "int(11)")])];
        assert!(tables.refresh(&id()), "a statement has changed it");
        assert!(tables.replace(&wider).is_empty(), "it was told, and no row came since");
        tables.row_given(&id());
        assert!(tables.replace(&wider).is_empty(), "nothing has changed");
        assert_eq!(tables.replace(&[followed("d", "t", &[("id", "bigint(20)")])]), [id()]);
        assert!(tables.replace(&[]).is_empty() && tables.given(&id()).is_none());
    }

    #[test]
    fn what_stands_still_goes_on_when_its_reason_has_gone() {
        let same = || [followed("d", "t", &[("id", "int(11)")])];
        let mut misfit = tables();
        assert!(misfit.halt(&id(), Halt::Misfit) && !misfit.halt(&id(), Halt::Misfit) && misfit.given(&id()).is_none());
        assert!(misfit.replace(&same()).is_empty() && misfit.given(&id()).is_none(), "the log describes it otherwise still");
        assert_eq!(misfit.halted(), [id()]);
        let mut changed = tables();
        assert!(changed.halt(&id(), Halt::Misfit));
        changed.reconsider(&id());
        assert!(changed.given(&id()).is_some() && changed.halt(&id(), Halt::Misfit), "it may be another one, and is told anew");
        assert_eq!(changed.replace(&[followed("d", "t", &[("id", "bigint(20)")])]), [id()]);
        assert!(misfit.fits_again(&id()) && !misfit.fits_again(&id()) && misfit.given(&id()).is_some());
        let mut missed = tables();
        assert!(missed.halt(&id(), Halt::Misfit) && !missed.halt(&id(), Halt::Missed));
        assert!(!missed.fits_again(&id()) && missed.stopped() == Stopped::Some(vec![id()]));
        assert_eq!(missed.replace(&same()), [id()]);
        let mut value = tables();
        assert!(value.halt(&id(), Halt::Value) && value.replace(&same()).is_empty() && value.given(&id()).is_none());
        assert_eq!(value.replace(&[followed("d", "t", &[("id", "bigint(20)")])]), [id()]);
        assert_eq!(value.revived(&Stopped::All), [id()]);
        assert!(!value.halt(&TableId { namespace: "d".to_owned(), name: "other".to_owned() }, Halt::Value));
    }
}
