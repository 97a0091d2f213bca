//! Edits of one statement, one after the other through one branch.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use crate::error::Diagnosis;
use crate::stores::{Branch, Edit, Edited, StoreError};

/// What all edits of a statement have done together.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many rows were added, changed or removed.
    pub rows: u64,
    /// What came back, in the order of the edits.
    pub returned: Vec<RecordBatch>,
}

/// Who hears what a store answers.
pub trait Observer: Send + Sync {
    /// An edit has been answered.
    fn heard(&self, answer: &Result<Edited, StoreError>);

    /// Rows that came back are going to be kept in memory.
    ///
    /// # Errors
    /// 53200 when there is no room for them; the statement fails.
    fn keep(&self, rows: &RecordBatch) -> Result<(), Diagnosis>;
}

/// Runs edits. The stream is dropped at the first error; an edit that was sent is waited for in any case. `stop` ends a statement that
/// has more to do; one whose last edit was written nevertheless has succeeded.
///
/// # Errors
/// What making the edits or the store failed with, and 57014 when it was stopped. What was written until then is not undone here.
pub async fn run(
    branch: &Arc<dyn Branch>,
    mut edits: BoxStream<'static, Result<Edit, Diagnosis>>,
    stop: &CancellationToken,
    observer: &dyn Observer,
) -> Result<Outcome, Diagnosis> {
    let mut outcome = Outcome::default();
    loop {
        // Cancel-safe: a statement that is stopped asks for no further edit.
        let next = tokio::select! {
            biased;
            next = edits.next() => next,
            () = stop.cancelled() => return Err(Diagnosis::of(&StoreError::Cancelled)),
        };
        let Some(edit) = next.transpose()? else { return Ok(outcome) };
        if stop.is_cancelled() {
            return Err(Diagnosis::of(&StoreError::Cancelled));
        }
        let answer = branch.edit(&edit, stop).await.and_then(|edited| one_each(&edit, edited));
        observer.heard(&answer);
        let edited = answer.map_err(|error| Diagnosis::of(&error))?;
        outcome.rows += edited.rows;
        if let Some(rows) = edited.returned {
            observer.keep(&rows)?;
            outcome.returned.push(rows);
        }
    }
}

/// The answer to an edit whose keys name one row each. A key that the store has given up since the catalog was read may name more, and
/// what was written to them must be undone.
fn one_each(edit: &Edit, edited: Edited) -> Result<Edited, StoreError> {
    let keys = match edit {
        Edit::UpdateRows(update) => update.rows.num_rows(),
        Edit::DeleteRows(delete) => delete.rows.num_rows(),
        Edit::Insert(_) | Edit::Update(_) | Edit::Delete(_) => return Ok(edited),
    };
    if u64::try_from(keys).is_ok_and(|keys| edited.rows <= keys) {
        return Ok(edited);
    }
    Err(StoreError::SchemaChanged {
        store: edit.store().to_string(),
        table: edit.table().id.name.clone(),
        difference: "Its key names more than one row.".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow::datatypes::Schema;
    use async_trait::async_trait;

    use super::*;
    use crate::error::sqlstate;
    use crate::stores::connector::ScanLimits;
    use crate::stores::edit::{DeleteRows, Insert};
    use crate::stores::position::Position;
    use crate::stores::{BatchStream, Scan, StoreName, Table};

    /// Answers each edit with one row, and fails or is stopped at one of them.
    #[derive(Debug, Default)]
    struct Counting {
        edits: AtomicUsize,
        fails_at: Option<usize>,
        stops_at: Option<usize>,
    }

    #[async_trait]
    impl Branch for Counting {
        async fn scan(&self, _table: &Arc<Table>, scan: &Scan, _limits: ScanLimits) -> Result<BatchStream, StoreError> {
            Err(StoreError::Unsupported { store: scan.store.to_string(), feature: "scans" })
        }

        async fn edit(&self, edit: &Edit, stop: &CancellationToken) -> Result<Edited, StoreError> {
            let number = self.edits.fetch_add(1, Ordering::Relaxed);
            if self.stops_at == Some(number) {
                stop.cancel();
            }
            if self.fails_at == Some(number) {
                return Err(StoreError::remote(edit.store().as_str(), sqlstate::UNIQUE_VIOLATION, "twice".to_owned()));
            }
            Ok(Edited { rows: 1, returned: Some(RecordBatch::new_empty(Arc::new(Schema::empty()))) })
        }

        fn shared_snapshot(&self) -> Result<(), &'static str> {
            Ok(())
        }

        async fn commit(&self) -> Result<Option<Position>, StoreError> {
            Ok(None)
        }

        async fn rollback(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    /// Has room for some batches.
    struct Room(AtomicUsize);

    impl Observer for Room {
        fn heard(&self, _answer: &Result<Edited, StoreError>) {}

        fn keep(&self, _rows: &RecordBatch) -> Result<(), Diagnosis> {
            let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            left.map(drop).map_err(|_full| Diagnosis::new(sqlstate::OUT_OF_MEMORY, "no room"))
        }
    }

    fn table() -> Arc<Table> {
        Arc::new(Table::plain("public", "t", Vec::new()))
    }

    fn edit() -> Edit {
        let rows = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let (store, conflict) = (StoreName::new("shop"), None);
        Edit::Insert(Insert {
            store,
            table: table(),
            columns: Vec::new(),
            rows,
            conflict,
            paths: Vec::new(),
            returning: Vec::new(),
        })
    }

    #[test]
    fn keys_that_name_more_rows_than_there_are_keys_are_no_keys() {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(2));
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).unwrap();
        let (store, returning) = (StoreName::new("shop"), Vec::new());
        let edit = Edit::DeleteRows(DeleteRows { store, table: table(), key: Vec::new(), rows, returning });
        let removed = |rows| one_each(&edit, Edited { rows, returned: None });
        assert!(removed(1).is_ok() && removed(2).is_ok());
        let error = removed(3).unwrap_err();
        assert!(matches!(&error, StoreError::SchemaChanged { table, .. } if table == "t"), "{error}");
    }

    /// The rows of three edits or the code of their error, and how many were sent.
    async fn three(branch: Counting, room: usize, stop: CancellationToken) -> (Result<u64, String>, usize) {
        let branch = Arc::new(branch);
        let edits = futures::stream::iter((0..3).map(|_| Ok(edit()))).boxed();
        let shared: Arc<dyn Branch> = Arc::<Counting>::clone(&branch);
        let ended = run(&shared, edits, &stop, &Room(AtomicUsize::new(room))).await;
        let ended = ended.map(|outcome| outcome.rows).map_err(|error| error.sqlstate);
        (ended, branch.edits.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn edits_run_in_order_until_one_fails() {
        let fresh = CancellationToken::new;
        assert_eq!(three(Counting::default(), 3, fresh()).await, (Ok(3), 3));
        let failing = Counting { fails_at: Some(1), ..Counting::default() };
        assert_eq!(three(failing, 3, fresh()).await, (Err("23505".to_owned()), 2));
        assert_eq!(three(Counting::default(), 1, fresh()).await, (Err("53200".to_owned()), 2));
    }

    #[tokio::test]
    async fn a_stop_ends_what_has_more_to_do_and_not_what_is_done() {
        let stopping = |number| Counting { stops_at: Some(number), ..Counting::default() };
        assert_eq!(three(stopping(1), 3, CancellationToken::new()).await, (Err("57014".to_owned()), 2));
        assert_eq!(three(stopping(2), 3, CancellationToken::new()).await, (Ok(3), 3));
        let stopped = CancellationToken::new();
        stopped.cancel();
        assert_eq!(three(Counting::default(), 3, stopped).await, (Err("57014".to_owned()), 0));
    }

    #[tokio::test]
    async fn a_source_that_waits_is_left_when_the_statement_is_stopped() {
        let branch: Arc<dyn Branch> = Arc::new(Counting::default());
        let stop = CancellationToken::new();
        stop.cancel();
        let ended = run(&branch, futures::stream::pending().boxed(), &stop, &Room(AtomicUsize::new(0))).await;
        assert_eq!(ended.unwrap_err().sqlstate, "57014");
    }
}
