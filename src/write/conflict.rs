//! Rows that a transaction has read from copies and changes now: where a row is another one in its store than it was in the copy, the
//! transaction stands on what is gone, and ends with 40001 in place of writing over it.
//!
//! ```text
//! an edit that names rows by keys → those rows, as the transaction sees them → the same as in every copy that it has read? → the edit
//!                                   └ others, and it has written before → as everybody else sees them → the same? → the edit
//! ```
//!
//! **Invariants:** rows are compared when nobody else can change them any more before the transaction ends; every state of a copy that was
//! read counts; what cannot be compared is not written.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use super::named::named;
use crate::cache::TableVersion;
use crate::error::sqlstate;
use crate::stores::connector::ScanLimits;
use crate::stores::edit::{DeleteRows, UpdateRows};
use crate::stores::position::Position;
use crate::stores::{BatchStream, Branch, Connector, Edit, Edited, Purpose, Scan, StoreError, Table};

/// The branch, through which rows are compared with `read` before they are changed: the states of copies of their table that its
/// transaction has read. The edits must name the rows by keys, and the rows must be held. The branch itself where none were read.
pub fn compared(branch: &Arc<dyn Branch>, connector: Option<&Arc<dyn Connector>>, read: &[Arc<TableVersion>]) -> Arc<dyn Branch> {
    match connector.filter(|_| !read.is_empty()) {
        Some(connector) => Arc::new(Compared { inner: Arc::clone(branch), connector: Arc::clone(connector), read: read.to_vec() }),
        None => Arc::clone(branch),
    }
}

/// A branch that changes no row that is another one than was read.
#[derive(Debug)]
struct Compared {
    inner: Arc<dyn Branch>,
    connector: Arc<dyn Connector>,
    read: Vec<Arc<TableVersion>>,
}

impl Compared {
    async fn check(&self, edit: &Edit) -> Result<(), StoreError> {
        let (key, rows) = match edit {
            Edit::UpdateRows(UpdateRows { key, rows, .. }) | Edit::DeleteRows(DeleteRows { key, rows, .. }) => (key, rows),
            // New rows are in no copy.
            Edit::Insert(_) => return Ok(()),
            Edit::Update(_) | Edit::Delete(_) => return Err(not_comparable(edit)),
        };
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let table = edit.table();
        let filter = named(self.connector.as_ref(), table, key, rows).ok_or_else(|| not_comparable(edit))?;
        let columns = (0..table.columns.len()).collect();
        let scan = Scan { store: edit.store().clone(), table: table.id.clone(), columns, filter: vec![filter], limit: None };
        let seen = rows_of(self.inner.as_ref(), table, &scan).await?;
        if !self.has_others(&seen) {
            return Ok(());
        }
        // What the transaction has done itself, with what triggers and foreign keys have made of it, nobody else sees.
        if self.inner.has_written() {
            let others = self.connector.open(Purpose::Statement { scans: 1 }).await?;
            let committed = rows_of(others.as_ref(), table, &scan).await?;
            if !self.has_others(&committed) {
                return Ok(());
            }
        }
        Err(changed(edit))
    }

    /// Whether one of these rows is another one than in a copy that was read. Rows of another shape are.
    fn has_others(&self, rows: &[RecordBatch]) -> bool {
        self.read.iter().any(|version| version.has_others(rows).unwrap_or(true))
    }
}

async fn rows_of(branch: &dyn Branch, table: &Arc<Table>, scan: &Scan) -> Result<Vec<RecordBatch>, StoreError> {
    branch.scan(table, scan, ScanLimits::default()).await?.try_collect().await
}

fn changed(edit: &Edit) -> StoreError {
    let name = &edit.table().id.name;
    StoreError::Remote {
        store: edit.store().to_string(),
        sqlstate: sqlstate::SERIALIZATION_FAILURE.to_owned(),
        message: "could not serialize access due to concurrent update".to_owned(),
        detail: Some(format!(
            "A row of table \"{name}\" is not what the transaction has read of it from a copy. The transaction may be tried again."
        )),
        constraint: None,
        site: None,
    }
}

fn not_comparable(edit: &Edit) -> StoreError {
    let name = &edit.table().id.name;
    StoreError::Remote {
        store: edit.store().to_string(),
        sqlstate: sqlstate::FEATURE_NOT_SUPPORTED.to_owned(),
        message: format!("rows of table \"{name}\" cannot be compared with those that were read from its copy"),
        detail: Some("SET LOCAL tributary.consistency = 'store' before they are read.".to_owned()),
        constraint: None,
        site: None,
    }
}

#[async_trait]
impl Branch for Compared {
    async fn scan(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        self.inner.scan(table, scan, limits).await
    }

    async fn edit(&self, edit: &Edit, stop: &CancellationToken) -> Result<Edited, StoreError> {
        self.check(edit).await?;
        self.inner.edit(edit, stop).await
    }

    fn has_written(&self) -> bool {
        self.inner.has_written()
    }

    fn shared_snapshot(&self) -> Result<(), &'static str> {
        self.inner.shared_snapshot()
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        self.inner.commit().await
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        self.inner.rollback().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::changes::fakes::{batch_of, shape_of, table_of};
    use crate::stores::connector::Capabilities;
    use crate::stores::edit::Delete;
    use crate::stores::position::Coverage;
    use crate::stores::{Predicate, Pushdown, Relation, StoreName, StoreSchema, Tables};

    type Pairs<'a> = &'a [(&'a str, i64)];

    /// A store whose rows are those that the test says; whatever is asked for, all of them.
    #[derive(Debug)]
    struct Shop {
        name: StoreName,
        committed: Vec<RecordBatch>,
        opened: AtomicUsize,
        takes_keys: bool,
    }

    impl Shop {
        fn new(committed: Pairs<'_>) -> Arc<Self> {
            let (name, committed) = (StoreName::new("shop"), vec![batch_of(committed)]);
            Arc::new(Self { name, committed, opened: AtomicUsize::new(0), takes_keys: true })
        }
    }

    #[async_trait]
    impl Connector for Shop {
        fn name(&self) -> &StoreName {
            &self.name
        }

        fn kind(&self) -> &'static str {
            "shop"
        }

        fn capabilities(&self) -> Capabilities {
            let (statement_snapshot, like, keys_max) = (true, true, 10_000);
            Capabilities { statement_snapshot, prepare: false, like, documents: false, cancel: false, keys_max }
        }

        async fn discover(&self) -> Result<StoreSchema, StoreError> {
            Ok(StoreSchema::default())
        }

        async fn ping(&self) -> Result<(), StoreError> {
            Ok(())
        }

        fn pushdown(&self, _table: &Table, predicate: &Predicate) -> Pushdown {
            if self.takes_keys { Pushdown::Superset(predicate.clone()) } else { Pushdown::Refused("the test says so") }
        }

        fn describe_scan(&self, _table: &Table, _scan: &Scan) -> String {
            String::new()
        }

        async fn open(&self, _purpose: Purpose) -> Result<Arc<dyn Branch>, StoreError> {
            self.opened.fetch_add(1, Ordering::Relaxed);
            Ok(Arc::new(Rows { rows: self.committed.clone(), edits: AtomicUsize::new(0), has_written: false }))
        }

        fn covers(&self, _applied: &Position, _wanted: &Position) -> Coverage {
            Coverage::Incomparable
        }

        async fn close(&self) {}
    }

    /// One view of it.
    #[derive(Debug)]
    struct Rows {
        rows: Vec<RecordBatch>,
        edits: AtomicUsize,
        has_written: bool,
    }

    #[async_trait]
    impl Branch for Rows {
        async fn scan(&self, _table: &Arc<Table>, scan: &Scan, _limits: ScanLimits) -> Result<BatchStream, StoreError> {
            let rows: Vec<_> = self.rows.iter().map(|batch| Ok(batch.project(&scan.columns).unwrap())).collect();
            Ok(Box::pin(futures::stream::iter(rows)))
        }

        async fn edit(&self, _edit: &Edit, _stop: &CancellationToken) -> Result<Edited, StoreError> {
            self.edits.fetch_add(1, Ordering::Relaxed);
            Ok(Edited { rows: 1, returned: None })
        }

        fn has_written(&self) -> bool {
            self.has_written
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

    fn version(rows: Pairs<'_>) -> Arc<TableVersion> {
        let empty = TableVersion::empty(&table_of("orders"), &shape_of("orders")).unwrap();
        Arc::new(empty.filled(&batch_of(rows)).unwrap())
    }

    /// Removes the row of this name.
    fn removal(name: &str) -> Edit {
        let (store, table) = (StoreName::new("shop"), table_of("orders"));
        let rows = batch_of(&[(name, 0)]).project(&[0]).unwrap();
        Edit::DeleteRows(DeleteRows { store, table, key: vec![0], rows, returning: Vec::new() })
    }

    /// What a transaction sees that has read some states, and what others see. The SQLSTATE of its edit, how many edits its store was
    /// sent, and how often others were asked.
    async fn ended(
        read: &[Pairs<'_>],
        seen: Pairs<'_>,
        (others, has_written): (Pairs<'_>, bool),
    ) -> (Option<String>, usize, usize) {
        let shop = Shop::new(others);
        let inner = Arc::new(Rows { rows: vec![batch_of(seen)], edits: AtomicUsize::new(0), has_written });
        let (branch, connector): (Arc<dyn Branch>, Arc<dyn Connector>) = (Arc::<Rows>::clone(&inner), Arc::<Shop>::clone(&shop));
        let read: Vec<Arc<TableVersion>> = read.iter().map(|rows| version(rows)).collect();
        let through = compared(&branch, Some(&connector), &read);
        let failed = through.edit(&removal("a"), &CancellationToken::new()).await.err();
        let code = failed.map(|error| crate::error::Diagnosis::of(&error).sqlstate);
        (code, inner.edits.load(Ordering::Relaxed), shop.opened.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_row_that_is_another_one_than_was_read_is_not_changed() {
        let refused = || Some(sqlstate::SERIALIZATION_FAILURE.to_owned());
        assert_eq!(ended(&[&[("a", 1)]], &[("a", 1)], (&[], false)).await, (None, 1, 0));
        assert_eq!(ended(&[&[("a", 1)]], &[("a", 2)], (&[], false)).await, (refused(), 0, 0));
        // Every state that was read counts, also one between two others.
        assert_eq!(ended(&[&[("a", 1)], &[("a", 2)]], &[("a", 2)], (&[], false)).await, (refused(), 0, 0));
        assert_eq!(ended(&[&[("a", 1)], &[("a", 2)], &[("a", 1)]], &[("a", 1)], (&[], false)).await, (refused(), 0, 0));
        // What was in no copy was not read there, and nothing is compared where none was read.
        assert_eq!(ended(&[&[("b", 1)]], &[("a", 2)], (&[], false)).await, (None, 1, 0));
        assert_eq!(ended(&[], &[("a", 2)], (&[], false)).await, (None, 1, 0));
        // It is gone: so it is for the edit.
        assert_eq!(ended(&[&[("a", 1)]], &[], (&[], false)).await, (None, 1, 0));
    }

    #[tokio::test]
    async fn what_the_transaction_has_done_itself_is_no_conflict() {
        let refused = || Some(sqlstate::SERIALIZATION_FAILURE.to_owned());
        assert_eq!(ended(&[&[("a", 1)]], &[("a", 5)], (&[("a", 1)], true)).await, (None, 1, 1));
        assert_eq!(ended(&[&[("a", 1)]], &[("a", 5)], (&[("a", 2)], true)).await, (refused(), 0, 1));
    }

    #[tokio::test]
    async fn what_cannot_be_compared_is_not_written() {
        let shop = Arc::new(Shop { takes_keys: false, ..Arc::into_inner(Shop::new(&[])).unwrap() });
        let inner = Arc::new(Rows { rows: Vec::new(), edits: AtomicUsize::new(0), has_written: false });
        let (branch, connector): (Arc<dyn Branch>, Arc<dyn Connector>) = (Arc::<Rows>::clone(&inner), shop);
        let through = compared(&branch, Some(&connector), &[version(&[("a", 1)])]);
        let (store, table) = (StoreName::new("shop"), table_of("orders"));
        let scan = Scan { store: store.clone(), table: table.id.clone(), columns: Vec::new(), filter: Vec::new(), limit: None };
        let (relation, tables) = (Relation::Table(scan), Tables::new());
        let whole = Edit::Delete(Delete { store, table, relation, tables, returning: Vec::new() });
        for edit in [whole, removal("a")] {
            let error = through.edit(&edit, &CancellationToken::new()).await.unwrap_err();
            assert_eq!(crate::error::Diagnosis::of(&error).sqlstate, sqlstate::FEATURE_NOT_SUPPORTED);
        }
        assert_eq!(inner.edits.load(Ordering::Relaxed), 0);
    }
}
