//! What a machine does with a group that is taken back, or whose end never comes.

use super::super::super::super::capture::{Ended, Step};
use super::super::super::super::change::{Barrier, Entry};
use super::super::outgoing::Head;
use super::super::position::Gtid;
use super::super::tracked::Halt;
use super::Machine;

impl Machine {
    /// The open group ends and is dropped, and its id is given.
    ///
    /// # Errors
    /// As [`Machine::pause`].
    pub(super) fn abandon(&mut self) -> Result<Option<Gtid>, Ended> {
        let Some(open) = self.open.take() else { return Ok(None) };
        self.pending.extend(open.entries.into_iter().filter_map(|entry| match entry {
            Entry::Barrier(barrier) => Some(barrier),
            Entry::Row { .. } => None,
        }));
        let mut doubts = open.doubts;
        if open.head.given > 0 {
            for table in open.written {
                if self.tables.halt(&table, Halt::Missed) {
                    doubts.push(table);
                }
            }
            self.tell_halted();
            self.give_pending(&open.head)?;
        }
        if !doubts.is_empty() {
            self.steps.push_back(Step::Doubt(doubts));
        }
        self.renew();
        Ok(Some(open.head.gtid))
    }

    /// Pieces that have no end are dropped by whoever they were given to, and with them what they have told of tables that stand still.
    fn tell_halted(&mut self) {
        for table in self.tables.halted() {
            let is_told = |barrier: &Barrier| matches!(barrier, Barrier::Stopped { table: told, .. } if *told == table);
            if !self.pending.iter().any(is_told) {
                let reason = "a large transaction was taken back after parts of it had been given".to_owned();
                self.pending.push(Barrier::Stopped { table, reason });
            }
        }
    }

    /// Gives what has to be told by itself, in front of any doubt about it and where everything before the group ends: the id of the
    /// group may come again.
    fn give_pending(&mut self, head: &Head) -> Result<(), Ended> {
        if self.out.is_empty() {
            // Rows of the group.
            self.out.clear();
        }
        let entries: Vec<Entry> = self.pending.drain(..).map(Entry::Barrier).collect();
        if entries.is_empty() {
            return Ok(());
        }
        self.out.give(&Head { given: 0, ..*head }, entries, &self.applied, true);
        self.close()
    }
}
