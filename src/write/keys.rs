//! Keys of transactions that may be sent twice: a row of a table of ours, written first of all in the transaction itself, that tells what
//! its statements were answered.
//!
//! ```text
//! first write with a key: find → known: the answers are repeated
//!                              → not known: claim (whoever has the same key waits here) → the writes → keep (what they were answered)
//! ```
//!
//! **Invariants:** the row is there if and only if the writes of its transaction are; it holds no text and no value of a statement, but
//! a hash of them.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::kept::KeptRows;
use super::outbox::{Given, key_place, other_form, place, row};
use crate::error::{Diagnosis, Limit, sqlstate};
use crate::stores::cell::{Cell, Cells};
use crate::stores::commit::OwnTable;
use crate::stores::connector::ScanLimits;
use crate::stores::edit::{Insert, UpdateRows};
use crate::stores::predicate::{ColumnRef, Comparison};
use crate::stores::value::Value;
use crate::stores::{Branch, Connector, Edit, Predicate, Pushdown, Scan, StoreError, StoreName, Table};

/// Most bytes of a key.
pub const KEY_BYTES_MAX: usize = 200;
/// Most bytes of what is kept of the answers of one transaction.
pub const OUTCOME_BYTES_MAX: usize = 64 << 10;

/// What a write was, and what it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Answered {
    /// The statement, by [`hash`].
    pub hash: String,
    /// Its command tag.
    pub tag: String,
    /// The rows that it gave back, where it gives any.
    pub rows: Option<KeptRows>,
}

impl Answered {
    /// That of a statement that gives no rows back.
    pub fn tag(hash: &str, tag: &str) -> Self {
        Self { hash: hash.to_owned(), tag: tag.to_owned(), rows: None }
    }
}

/// The same as a list, of two where there are no rows.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Plain(String, String),
    WithRows(String, String, KeptRows),
}

impl From<Stored> for Answered {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Plain(hash, tag) => Self { hash, tag, rows: None },
            Stored::WithRows(hash, tag, rows) => Self { hash, tag, rows: Some(rows) },
        }
    }
}

impl From<Answered> for Stored {
    fn from(answered: Answered) -> Self {
        match answered.rows {
            None => Self::Plain(answered.hash, answered.tag),
            Some(rows) => Self::WithRows(answered.hash, answered.tag, rows),
        }
    }
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The first statement, by [`hash`].
    pub hash: String,
    /// The writes of the transaction, in their order.
    pub answered: Vec<Answered>,
}

/// What tells a statement from others: its text, what else it depends on, the values of its parameters and who sends it.
pub fn hash(text: &str, values: &[Option<String>], role: &str) -> String {
    let mut hasher = Sha256::new();
    // Lengths keep the parts apart.
    let parts = [Some(role), Some(text)].into_iter().chain(values.iter().map(Option::as_deref));
    for part in parts {
        match part {
            Some(part) => {
                hasher.update((part.len() as u64 + 1).to_be_bytes());
                hasher.update(part.as_bytes());
            }
            None => hasher.update(0_u64.to_be_bytes()),
        }
    }
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        // Writing to a string does not fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

/// The answers as they are kept.
///
/// # Errors
/// 54000 for more than a row may hold.
pub fn outcome(answered: &[Answered]) -> Result<String, Diagnosis> {
    let text = serde_json::to_string(answered).map_err(|error| Diagnosis::new(sqlstate::INTERNAL_ERROR, error.to_string()))?;
    if text.len() > OUTCOME_BYTES_MAX {
        let message = "a transaction with an idempotency key has too many writes";
        return Err(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
            .with_detail(format!("What is kept of their answers has at most {OUTCOME_BYTES_MAX} bytes."))
            .at(Limit::Transaction));
    }
    Ok(text)
}

/// The table of keys of a store.
#[derive(Debug, Clone)]
pub struct Keys {
    store: StoreName,
    connector: Arc<dyn Connector>,
    table: Arc<Table>,
}

impl Keys {
    /// That of a store; `None` where it cannot have one.
    pub fn of(connector: &Arc<dyn Connector>) -> Option<Self> {
        let table = connector.own_table(OwnTable::Keys)?;
        Some(Self { store: connector.name().clone(), connector: Arc::clone(connector), table })
    }

    /// What is known of a key, in the transaction of a branch.
    ///
    /// # Errors
    /// What the store answered; 55000 for a table of another form.
    pub async fn find(&self, branch: &Arc<dyn Branch>, key: &str) -> Result<Option<Known>, Diagnosis> {
        let ordinal = key_place(&self.table);
        let columns = vec![ordinal, place(&self.table, "hash")?, place(&self.table, "outcome")?];
        let (column, value) = (ColumnRef::of(ordinal), Value::Text(key.to_owned()));
        let asked = Predicate::Compare { column, op: Comparison::Equal, value };
        let filter = match self.connector.pushdown(&self.table, &asked) {
            Pushdown::Exact(filter) | Pushdown::Superset(filter) => vec![filter],
            Pushdown::Refused(_) => return Err(other_form(&self.table)),
        };
        let scan = Scan { store: self.store.clone(), table: self.table.id.clone(), columns: columns.clone(), filter, limit: None };
        let rows = branch.scan(&self.table, &scan, ScanLimits::default()).await.map_err(told)?;
        let batches: Vec<RecordBatch> = rows.try_collect().await.map_err(told)?;
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let [found, hash, outcome] = [0, 1, 2].map(|at| self.text(batch, (at, columns.as_slice()), row));
                if found?.as_deref() == Some(key) {
                    let answered = outcome?.map(|text| serde_json::from_str(&text)).transpose();
                    let answered = answered.map_err(|_other| other_form(&self.table))?.unwrap_or_default();
                    return Ok(Some(Known { hash: hash?.unwrap_or_default(), answered }));
                }
            }
        }
        Ok(None)
    }

    /// A text of a row.
    fn text(&self, batch: &RecordBatch, (at, columns): (usize, &[usize]), row: usize) -> Result<Option<String>, Diagnosis> {
        let column = columns.get(at).and_then(|ordinal| self.table.columns.get(*ordinal));
        let cells = column.zip(batch.columns().get(at)).and_then(|(column, array)| Cells::of(array.as_ref(), column.pg_type()));
        match cells.map(|cells| cells.get(row)) {
            Some(Cell::Text(text)) => Ok(Some(text.to_owned())),
            Some(Cell::Null) => Ok(None),
            _ => Err(other_form(&self.table)),
        }
    }

    /// Takes a key for the transaction of a branch. Another one that has it is waited for.
    ///
    /// # Errors
    /// 23505 where the key has been taken; what the store answered. The transaction is over then.
    pub async fn claim(
        &self,
        branch: &Arc<dyn Branch>,
        (key, hash): (&str, &str),
        at: DateTime<Utc>,
        stop: &CancellationToken,
    ) -> Result<(), Diagnosis> {
        let moment = place(&self.table, "at")?;
        let values = [
            (key_place(&self.table), Given::Text(key)),
            (place(&self.table, "hash")?, Given::Text(hash)),
            (moment, Given::Moment(at)),
        ];
        let (columns, rows) = row(&self.table, &values)?;
        let (store, table) = (self.store.clone(), Arc::clone(&self.table));
        let insert = Insert { store, table, columns, rows, conflict: None, paths: Vec::new(), returning: Vec::new() };
        branch.edit(&Edit::Insert(insert), stop).await.map(|_edited| ()).map_err(told)
    }

    /// Writes what a transaction has answered, before it is committed.
    ///
    /// # Errors
    /// 54000 for too much; what the store answered.
    pub async fn keep(&self, branch: &Arc<dyn Branch>, key: &str, answered: &[Answered]) -> Result<(), Diagnosis> {
        let outcome = outcome(answered)?;
        let (key_at, set) = (key_place(&self.table), place(&self.table, "outcome")?);
        let (_, rows) = row(&self.table, &[(key_at, Given::Text(key)), (set, Given::Text(&outcome))])?;
        let (store, table) = (self.store.clone(), Arc::clone(&self.table));
        let update = UpdateRows { store, table, key: vec![key_at], set: vec![set], rows, paths: Vec::new(), returning: Vec::new() };
        let edited = branch.edit(&Edit::UpdateRows(update), &CancellationToken::new()).await.map_err(told)?;
        if edited.rows == 1 {
            return Ok(());
        }
        Err(Diagnosis::new(sqlstate::SERIALIZATION_FAILURE, "the row of the idempotency key is gone"))
    }
}

fn told(error: StoreError) -> Diagnosis {
    Diagnosis::of(&error)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use arrow::array::{ArrayRef, StringArray};
    use async_trait::async_trait;
    use futures::{StreamExt, stream};

    use super::super::outbox::tests::own;
    use super::*;
    use crate::pgtype::PgType;
    use crate::stores::connector::Capabilities;
    use crate::stores::position::{Coverage, Position};
    use crate::stores::{BatchStream, Edited, Purpose, StoreSchema};

    #[test]
    fn a_hash_tells_statements_values_and_roles_apart() {
        let some = |text: &str| Some(text.to_owned());
        let all = [
            hash("a", &[], "r"),
            hash("b", &[], "r"),
            hash("a", &[], "s"),
            hash("a", &[None], "r"),
            hash("a", &[some("")], "r"),
            hash("a", &[some("bc")], "r"),
            hash("a", &[some("b"), some("c")], "r"),
            hash("ra", &[], ""),
        ];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert_eq!((hash("a", &[None], "r"), all[0].len()), (all[3].clone(), 64));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let answered = |count: usize| vec![Answered::tag(&"0".repeat(64), "INSERT 0 1"); count];
        assert_eq!(outcome(&answered(1)).unwrap(), format!("[[\"{}\",\"INSERT 0 1\"]]", "0".repeat(64)));
        assert_eq!(outcome(&answered(1_000)).unwrap_err().sqlstate, "54000");
    }

    #[test]
    fn rows_are_kept_behind_the_tag() {
        let schema = Arc::new(arrow::datatypes::Schema::empty());
        let rows = KeptRows::of(vec![("id".to_owned(), 23, -1)], &schema, &[]).unwrap();
        let all = [Answered { rows: Some(rows), ..Answered::tag("h", "INSERT 0 1") }, Answered::tag("i", "UPDATE 2")];
        let text = outcome(&all).unwrap();
        assert!(
            text.starts_with("[[\"h\",\"INSERT 0 1\",{\"columns\":[[\"id\",23,-1]],") && text.ends_with(",[\"i\",\"UPDATE 2\"]]"),
            "{text}"
        );
        let read: Vec<Answered> = serde_json::from_str(&text).unwrap();
        assert_eq!(read, all);
    }

    /// A store with one table of keys, whose rows are texts.
    #[derive(Debug)]
    struct Store {
        name: StoreName,
        table: Arc<Table>,
    }

    #[async_trait]
    impl Connector for Store {
        fn name(&self) -> &StoreName {
            &self.name
        }

        fn kind(&self) -> &'static str {
            "store"
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities { statement_snapshot: true, prepare: false, like: true, documents: false, cancel: false, keys_max: 10_000 }
        }

        async fn discover(&self) -> Result<StoreSchema, StoreError> {
            Ok(StoreSchema::default())
        }

        async fn ping(&self) -> Result<(), StoreError> {
            Ok(())
        }

        fn pushdown(&self, _table: &Table, predicate: &Predicate) -> Pushdown {
            Pushdown::Superset(predicate.clone())
        }

        fn describe_scan(&self, _table: &Table, _scan: &Scan) -> String {
            String::new()
        }

        async fn open(&self, _purpose: Purpose) -> Result<Arc<dyn Branch>, StoreError> {
            Err(StoreError::Unsupported { store: self.name.to_string(), feature: "branches" })
        }

        fn covers(&self, _applied: &Position, _wanted: &Position) -> Coverage {
            Coverage::Incomparable
        }

        fn own_table(&self, which: OwnTable) -> Option<Arc<Table>> {
            (which == OwnTable::Keys).then(|| Arc::clone(&self.table))
        }

        async fn close(&self) {}
    }

    /// Gives rows, and remembers edits.
    #[derive(Debug, Default)]
    struct Rows {
        rows: Vec<[Option<&'static str>; 3]>,
        edits: Mutex<Vec<Edit>>,
        met: u64,
    }

    #[async_trait]
    impl Branch for Rows {
        async fn scan(&self, table: &Arc<Table>, scan: &Scan, _limits: ScanLimits) -> Result<BatchStream, StoreError> {
            let column = |at: usize| -> ArrayRef { Arc::new(StringArray::from_iter(self.rows.iter().map(|row| row[at]))) };
            let batch = RecordBatch::try_new(table.project(&scan.columns), (0..3).map(column).collect()).unwrap();
            Ok(stream::iter([Ok(batch)]).boxed())
        }

        async fn edit(&self, edit: &Edit, _stop: &CancellationToken) -> Result<Edited, StoreError> {
            self.edits.lock().unwrap().push(edit.clone());
            Ok(Edited { rows: self.met, returned: None })
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

    fn keys() -> Keys {
        let text = PgType::TEXT;
        let table = own("tributary_keys", &[("_id", text), ("hash", text), ("outcome", text), ("at", PgType::TIMESTAMPTZ)]);
        let connector: Arc<dyn Connector> = Arc::new(Store { name: StoreName::new("shop"), table });
        Keys::of(&connector).unwrap()
    }

    #[tokio::test]
    async fn a_key_is_found_with_its_answers_and_other_rows_are_passed_over() {
        let outcome = Some("[[\"h1\",\"INSERT 0 1\"],[\"h2\",\"UPDATE 0\"]]");
        let rows = vec![[Some("K"), Some("x"), None], [Some("k"), Some("h1"), outcome], [Some("n"), Some("h"), Some("?")]];
        let branch: Arc<dyn Branch> = Arc::new(Rows { rows, ..Rows::default() });
        let found = keys().find(&branch, "k").await.unwrap().unwrap();
        assert_eq!(found.answered, [Answered::tag("h1", "INSERT 0 1"), Answered::tag("h2", "UPDATE 0")]);
        assert_eq!(found.hash, "h1");
        assert!(keys().find(&branch, "K").await.unwrap().unwrap().answered.is_empty());
        assert_eq!(keys().find(&branch, "other").await.unwrap(), None);
        assert_eq!(keys().find(&branch, "n").await.unwrap_err().sqlstate, "55000");
    }

    #[tokio::test]
    async fn a_key_is_claimed_with_a_row_that_gets_its_answers_later() {
        let branch = Arc::new(Rows { met: 1, ..Rows::default() });
        let shared: Arc<dyn Branch> = Arc::<Rows>::clone(&branch);
        keys().claim(&shared, ("k", "h"), Utc::now(), &CancellationToken::new()).await.unwrap();
        keys().keep(&shared, "k", &[Answered::tag("h", "DELETE 3")]).await.unwrap();
        let gone: Arc<dyn Branch> = Arc::new(Rows::default());
        assert_eq!(keys().keep(&gone, "k", &[]).await.unwrap_err().sqlstate, "40001");
        let edits = branch.edits.lock().unwrap();
        let [Edit::Insert(insert), Edit::UpdateRows(update)] = edits.as_slice() else { panic!("{edits:?}") };
        assert_eq!((insert.columns.as_slice(), insert.rows.num_rows()), ([0, 1, 3].as_slice(), 1));
        assert_eq!((update.key.as_slice(), update.set.as_slice()), ([0].as_slice(), [2].as_slice()));
    }
}
