//! What a machine does with transactions of XA, and with rows that it cannot tell.

use super::super::super::super::capture::{Ended, Step};
use super::super::super::super::change::Barrier;
use super::super::super::super::schema::TableId;
use super::super::bytes::Malformed;
use super::super::events::{Event, Xid, prepared};
use super::super::held::{Ends, Prepared};
use super::super::tracked::{Halt, Mapped};
use super::{Machine, Open, Role};

impl Machine {
    /// Rows come that are not read.
    pub(super) fn partial(&mut self) {
        let Some(open) = &mut self.open else { return };
        match &mut open.role {
            Role::Past { .. } => {}
            // Its tables are told when it is committed.
            Role::Prepare(prepared) => prepared.is_lost = true,
            Role::Commit { .. } => {
                let tables: Vec<TableId> = open.maps.values().filter_map(table_of).collect();
                for table in tables {
                    self.halt(&table, Halt::Missed, "the binlog holds parts of its rows, which are not read");
                }
            }
        }
    }

    /// Whether a statement that changes these tables without telling how is of a transaction that is only prepared as yet: they stand
    /// still once it is committed.
    pub(super) fn is_to_be_prepared(&mut self, tables: &[TableId]) -> bool {
        let Some(Open { role: Role::Prepare(prepared), .. }) = &mut self.open else { return false };
        prepared.is_lost = true;
        for table in tables {
            prepared.touch(table.clone());
        }
        true
    }

    /// Rows were taken back to a savepoint, beside those of an engine that takes nothing back.
    pub(super) fn undone_in_part(&mut self) {
        let Some(open) = &mut self.open else { return };
        if let Role::Prepare(prepared) = &mut open.role {
            prepared.is_lost = true;
            return;
        }
        let written = open.written.clone();
        for table in written {
            self.halt(&table, Halt::Missed, "rows were taken back to a savepoint, beside tables without transactions");
        }
    }

    /// The open group is prepared, or committed by being prepared.
    pub(super) fn prepare(&mut self, event: &Event) -> Result<(), Ended> {
        let (xid, is_committed) = prepared(&event.body).map_err(|malformed| self.broken(malformed))?;
        let Some(open) = &mut self.open else { return Err(self.broken(Malformed("a prepared transaction without a beginning"))) };
        let Role::Prepare(prepared) = &mut open.role else {
            return Err(self.broken(Malformed("a prepared transaction that did not begin as one")));
        };
        let prepared = std::mem::take(prepared);
        let gtid = open.head.gtid;
        if is_committed {
            let is_past = self.horizon.contains(&gtid);
            open.role = if is_past { Role::Past { is_standalone: false } } else { Role::Commit { is_standalone: false } };
            if !is_past {
                self.replay(prepared)?;
            }
            return self.end(event.seconds);
        }
        self.held.prepare(xid, gtid, self.read.last_of(&gtid), prepared);
        // What was told meanwhile is told with the next transaction.
        let doubts = std::mem::take(&mut open.doubts);
        let _id = self.abandon()?;
        self.moved(&gtid);
        if !doubts.is_empty() {
            self.close()?;
            self.steps.push_back(Step::Doubt(doubts));
        }
        Ok(())
    }

    /// One that was prepared is committed by the open group.
    pub(super) fn decide(&mut self, xid: &Xid) -> Result<(), Ended> {
        let is_past = self.is_past();
        match self.held.end(xid) {
            _ if is_past => Ok(()),
            Ends::Again => Ok(()),
            Ends::Unknown => {
                let reason = "a transaction was committed that had been prepared before the feed began".to_owned();
                self.tell(Barrier::Gap { reason });
                Ok(())
            }
            Ends::Known(prepared) => self.replay(prepared),
        }
    }

    /// Gives the rows of one that was prepared as those of the open group.
    fn replay(&mut self, prepared: Prepared) -> Result<(), Ended> {
        if prepared.is_lost {
            let written = self.tables.those(|table| prepared.has_more_tables || prepared.tables.contains(table));
            for table in written {
                self.halt(
                    &table,
                    Halt::Missed,
                    "a prepared transaction was committed whose rows were not kept: it was too large, or is not told by rows",
                );
            }
            return Ok(());
        }
        for event in prepared.events {
            match event.rows_kind() {
                Some(kind) => self.rows(kind, event)?,
                None => self.map(event)?,
            }
        }
        Ok(())
    }
}

/// The table of a description.
fn table_of(mapped: &Mapped) -> Option<TableId> {
    match mapped {
        Mapped::Other => None,
        Mapped::Fits(plan) => Some(plan.table.clone()),
        Mapped::Misfit(table, _) => Some(table.clone()),
    }
}
