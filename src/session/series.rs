//! What a series of extended messages has read from copies outside of any block. Its statements are one transaction up to `Sync`, so that a
//! write behind them must not write over what they did not show, as in a block.
//!
//! **Invariants:** a statement notes what it reads where others of its transaction may follow, whichever way it is read; the block that one of
//! these begins takes it over; nothing of it outlives the transaction.

use std::sync::Arc;

use super::Session;
use super::transaction::Series;
use crate::cache::CopiesRead;
use crate::stores::StoreName;
use crate::stores::schema::TableId;

/// The states of copies that were read in a series, and whether it goes on.
#[derive(Debug, Default)]
pub(super) struct SeriesReads {
    /// Whether others may follow the statement that runs now, in the same transaction.
    goes_on: bool,
    copies: Option<Arc<CopiesRead>>,
}

impl SeriesReads {
    /// Whether statements may follow that belong to the same transaction, and may write.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// The statement that runs now is the last one of its transaction.
    pub(super) fn ends_here(&mut self) {
        self.goes_on = false;
    }

    /// Where the statement notes what it reads from copies; `None` where nothing follows it that could write.
    pub(super) fn noted(&mut self) -> Option<Arc<CopiesRead>> {
        self.goes_on.then(|| Arc::clone(self.copies.get_or_insert_with(Arc::default)))
    }

    /// Whether so much has been noted that the statement reads no copies.
    pub(super) fn is_full(&self) -> bool {
        self.goes_on && self.copies.as_ref().is_some_and(|copies| copies.is_full())
    }

    /// Whether a copy of a table has been read.
    pub(super) fn has_read(&self, store: &StoreName, table: &TableId) -> bool {
        self.copies.as_ref().is_some_and(|copies| !copies.of(store, table).is_empty())
    }

    /// All that was read, for the block that begins now: rows that are still being read are noted there too.
    pub(super) fn take(&mut self) -> Arc<CopiesRead> {
        self.copies.take().unwrap_or_default()
    }

    /// The transaction is over.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }
}

impl Session {
    /// Says whether the client has said already that the series ends with the statement that it executes now.
    pub fn follow(&mut self, series: Series) {
        self.series.goes_on = series == Series::GoesOn;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::TableVersion;
    use crate::changes::fakes::{id_of, shape_of, table_of};

    #[test]
    fn what_is_read_before_the_last_statement_is_kept_to_the_end_of_the_transaction() {
        let (mut series, shop) = (SeriesReads::default(), StoreName::new("shop"));
        let state = Arc::new(TableVersion::empty(&table_of("orders"), &shape_of("orders")).unwrap());
        assert!(series.noted().is_none() && !series.has_read(&shop, &id_of("orders")), "nothing follows a statement alone");
        series.goes_on = true;
        let open = series.noted().unwrap();
        assert!(!series.has_read(&shop, &id_of("orders")));
        open.note(&shop, &id_of("orders"), &state);
        assert!(series.has_read(&shop, &id_of("orders")) && !series.has_read(&shop, &id_of("items")));
        // The last one writes, and notes nothing.
        series.ends_here();
        assert!(series.noted().is_none() && series.has_read(&shop, &id_of("orders")));
        let taken = series.take();
        assert!(Arc::ptr_eq(&taken, &open) && !series.has_read(&shop, &id_of("orders")));
        // What it takes over of the next transaction is none of this one.
        series.goes_on = true;
        series.noted().unwrap().note(&shop, &id_of("orders"), &state);
        series.end();
        assert!(!series.goes_on() && series.take().of(&shop, &id_of("orders")).is_empty());
    }
}
