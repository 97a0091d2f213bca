//! The group that is given next: whole transactions with the rows that their entries name.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::super::capture::Ended;
use super::super::super::change::{Entry, GROUP_BYTES_MAX, GROUP_ROWS_MAX, Group, Resume, Transaction};
use super::super::super::connector::StoreName;
use super::super::super::error::StoreError;
use super::super::super::position::Position;
use super::super::super::schema::TableId;
use super::events::Change;
use super::position::{Gtid, Gtids, position};
use super::rows::{Batch, Images, Layout, Plan};

/// What a feed is about.
#[derive(Debug, Clone)]
pub(super) struct About {
    /// The store.
    pub(super) store: StoreName,
    /// The server.
    pub(super) identity: Arc<str>,
    /// The history that it is in.
    pub(super) history: u64,
}

/// What is known of a transaction besides what it did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// Its id.
    pub(super) gtid: Gtid,
    /// The server that wrote it first.
    pub(super) server: u32,
    /// When it was committed, in seconds.
    pub(super) seconds: u32,
    /// The same in microseconds, where it is told.
    pub(super) committed_us: Option<i64>,
    /// How many of its entries were given in earlier pieces.
    pub(super) given: u32,
}

/// The group under construction.
pub(super) struct Outgoing {
    about: About,
    transactions: Vec<Transaction>,
    batches: Vec<Batch>,
    /// The batch of each table that takes rows.
    by_table: HashMap<TableId, usize>,
    rows: usize,
    bytes: usize,
}

impl Outgoing {
    /// Empty.
    pub(super) fn new(about: About) -> Self {
        Self { about, transactions: Vec::new(), batches: Vec::new(), by_table: HashMap::new(), rows: 0, bytes: 0 }
    }

    /// What the feed is about.
    pub(super) fn about(&self) -> &About {
        &self.about
    }

    /// Whether it should be given, also in the middle of a transaction.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= GROUP_ROWS_MAX || self.bytes >= GROUP_BYTES_MAX
    }

    /// Adds a row, of so many bytes in the log.
    ///
    /// # Errors
    /// A value of it cannot be given, as a clause.
    pub(super) fn row(
        &mut self,
        (plan, layout): (&Plan, &Arc<Layout>),
        change: Change,
        images: &Images<'_>,
        bytes: usize,
    ) -> Result<Entry, String> {
        let known = self.by_table.get(&plan.table).copied();
        let fits = |place: &usize| self.batches.get(*place).is_some_and(|batch| Arc::ptr_eq(batch.layout(), layout));
        let place = match known.filter(fits) {
            Some(place) => place,
            None => {
                self.batches.push(Batch::new(layout).ok_or("has a column without a reader")?);
                let place = self.batches.len() - 1;
                self.by_table.insert(plan.table.clone(), place);
                place
            }
        };
        let batch = self.batches.get_mut(place).ok_or("has no place for its rows")?;
        let pushed = batch.push(plan, change, images);
        if pushed.is_err() {
            // It takes no more rows.
            self.by_table.remove(&plan.table);
        }
        let row = pushed?;
        self.rows += 1;
        self.bytes += bytes;
        let rows = u32::try_from(place).map_err(|_too_many| "has too many forms at once")?;
        Ok(Entry::Row { rows, row })
    }

    /// Adds a transaction, or a piece of one, whose end is at a place.
    pub(super) fn give(&mut self, head: &Head, entries: Vec<Entry>, place: &Gtids, ends: bool) {
        let committed_us = head.committed_us.unwrap_or_else(|| i64::from(head.seconds) * 1_000_000);
        self.transactions.push(Transaction {
            id: head.gtid.to_string(),
            position: self.position(place),
            origin: Some(head.server.to_string()),
            committed_us: Some(committed_us),
            first: head.given,
            entries,
            ends,
        });
    }

    /// A place as others keep it.
    pub(super) fn position(&self, place: &Gtids) -> Position {
        position(&self.about.store, self.about.history, place)
    }

    /// Whether there is nothing to give.
    pub(super) fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// The group, from behind which `resume` goes on; an empty one is left.
    ///
    /// # Errors
    /// Rows do not fit together.
    pub(super) fn take(&mut self, resume: Resume) -> Result<Group, Ended> {
        let done = std::mem::replace(self, Self::new(self.about.clone()));
        let rows = done.batches.into_iter().map(Batch::finish).collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(|diagnosis| {
            Ended::Again(StoreError::remote(done.about.store.as_str(), &diagnosis.sqlstate, diagnosis.message.clone()))
        })?;
        Ok(Group {
            store: done.about.store,
            identity: done.about.identity,
            transactions: done.transactions,
            rows,
            resume,
            received_ms: now_ms(),
        })
    }

    /// Drops rows that no transaction names.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.about.clone());
    }
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
