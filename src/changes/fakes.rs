//! A store whose changes are those that a test says, for tests of this room and of those that follow it.

mod mixed;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Field;
use async_trait::async_trait;
use datafusion::scalar::ScalarValue;
use futures::{FutureExt, StreamExt};
use tokio::sync::{Semaphore, mpsc};

use super::log::Pace;
use super::supervise::Pacing;
use super::{ChangeSettings, Feeds, Hook};
use crate::pgtype::{PgField, PgType};
use crate::stores::capture::{
    Capture, Ended, Feed, Fill, Follow, Followed, How, InstanceId, Judged, OwnObject, Step, Survey, Watch,
};
use crate::stores::change::builder::{Cell, RowsBuilder};
use crate::stores::change::{Entry, Group, Operation, Resume, Shape, Transaction};
use crate::stores::commit::OwnTable;
use crate::stores::connector::{Capabilities, ScanLimits};
use crate::stores::position::{Coverage, Position};
use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated, Table, TableId};
use crate::stores::{BatchStream, Branch, Connector, Predicate, Purpose, Pushdown, Scan, StoreError, StoreName, StoreSchema};

pub(crate) use mixed::{Did, mixed_of};

/// A table of the namespace `public` with columns `name text`, its key, and `total bigint`.
pub(crate) fn table_of(name: &str) -> Arc<Table> {
    let column = |name: &str, pg_type: PgType| Column {
        field: Field::new(name, pg_type.carrier(), true).with_pg_type(pg_type),
        native_type: pg_type.to_string(),
        default: None,
        generated: Generated::No,
        comment: None,
        collation: Collation::Bytes,
        statistics: ColumnStatistics::default(),
    };
    Arc::new(Table::plain("public", name, vec![column("name", PgType::TEXT), column("total", PgType::INT8)]))
}

/// Its columns in events.
pub(crate) fn shape_of(name: &str) -> Arc<Shape> {
    Shape::of(&table_of(name), vec![0], vec![true, true])
}

/// The name of such a table.
pub(crate) fn id_of(name: &str) -> TableId {
    TableId { namespace: "public".to_owned(), name: name.to_owned() }
}

/// A position, which is a number.
pub(crate) fn position_of(store: &StoreName, number: u64) -> Position {
    Position { store: store.clone(), token: number.to_be_bytes().to_vec() }
}

/// How to go on behind a position.
pub(crate) fn resume_of(number: u64) -> Resume {
    Resume(number.to_be_bytes().to_vec())
}

/// A group of whole transactions by their positions, with rows of the table `orders`: what has an odd total is inserted, the rest
/// updated, and of its old row only the key is known.
pub(crate) fn group_of(store: &StoreName, transactions: &[(u64, &[(&str, i64)])]) -> Group {
    let mut builder = RowsBuilder::new(&shape_of("orders"));
    let mut made = Vec::new();
    for (position, rows) in transactions {
        let mut entries = Vec::new();
        for (name, total) in *rows {
            let new = &mut [Cell::Text(name), Cell::Value(ScalarValue::Int64(Some(*total)))].into_iter();
            let row = if total % 2 == 0 {
                builder.push(Operation::Update, new, Some(&mut [Cell::Text(name)].into_iter()))
            } else {
                builder.push(Operation::Insert, new, None)
            };
            entries.push(Entry::Row { rows: 0, row: row.unwrap() });
        }
        made.push(Transaction {
            id: format!("t{position}"),
            position: position_of(store, *position),
            origin: None,
            committed_us: Some(i64::try_from(*position).unwrap() * 1_000_000),
            first: 0,
            entries,
            ends: true,
        });
    }
    let last = transactions.last().map_or(0, |(position, _)| *position);
    let rows = if builder.is_empty() { Vec::new() } else { vec![builder.finish().unwrap()] };
    let identity = Arc::from("one");
    Group { store: store.clone(), identity, transactions: made, rows, resume: resume_of(last), received_ms: 1_000 + last }
}

/// The pieces of one transaction, of one row each.
pub(crate) fn pieces_of(store: &StoreName, position: u64, rows: &[(&str, i64)]) -> Vec<Group> {
    let piece = |(place, row): (usize, &(&str, i64))| {
        let mut group = group_of(store, &[(position, &[*row])]);
        group.transactions[0].first = u32::try_from(place).unwrap();
        group.transactions[0].ends = place + 1 == rows.len();
        if place + 1 < rows.len() {
            group.resume = resume_of(position - 1);
        }
        group
    };
    rows.iter().enumerate().map(piece).collect()
}

/// Rows of such a table as a scan gives them.
pub(crate) fn batch_of(rows: &[(&str, i64)]) -> RecordBatch {
    let names: ArrayRef = Arc::new(rows.iter().map(|(name, _)| Some(*name)).collect::<StringArray>());
    let totals: ArrayRef = Arc::new(rows.iter().map(|(_, total)| Some(*total)).collect::<Int64Array>());
    RecordBatch::try_new(Arc::clone(&table_of("any").schema), vec![names, totals]).unwrap()
}

/// Feeds that try again at once.
pub(crate) fn quick_feeds(directory: &Path) -> Arc<Feeds> {
    let (soon, hour) = (Duration::from_millis(1), Duration::from_secs(3600));
    let hook: Hook = Arc::new(|_moment| async {}.boxed());
    let log = Pace { sync: soon, retry: soon, segment: 16 << 20, retain: hour };
    let patience = Duration::from_secs(5);
    let pacing = Pacing {
        log,
        backoff: (soon, Duration::from_millis(5)),
        watch: Duration::from_millis(5),
        survey: hour,
        mark: Duration::ZERO,
        refused: Duration::from_millis(10),
        settle: hour,
        stuck: hour,
        patience,
        beginning: patience,
    };
    Feeds::new(directory, ChangeSettings::default(), InstanceId(7), hook, pacing)
}

/// What of its changes is followed: all.
pub(crate) fn follow_all() -> Follow {
    let only = crate::stores::capture::TablePattern::parse("*").into_iter().collect();
    let poll = Duration::from_millis(20);
    Follow { how: How::Log, only, except: Vec::new(), max_retained: 1 << 30, poll, publication: None, server_id: None }
}

/// A way to give a feed its steps. It ends as if the connection broke when this is dropped.
pub(crate) type Steps = mpsc::Sender<Result<Step, Ended>>;

#[derive(Debug, Default)]
struct Script {
    calls: Vec<String>,
    /// How often its tables were looked at.
    surveys: usize,
    /// How often it was told that somebody has looked.
    looks: usize,
    /// What the next feeds are: their steps, or why they do not begin.
    feeds: VecDeque<Result<mpsc::Receiver<Result<Step, Ended>>, Ended>>,
    /// Tables that cannot be followed, with the reason.
    store_only: BTreeMap<TableId, String>,
    refused: Option<(String, String)>,
    watch: Watch,
    objects: Vec<OwnObject>,
    /// What a fill finds, and up to which position.
    filled: (Vec<RecordBatch>, u64),
    /// The same of single tables.
    filled_of: BTreeMap<TableId, (Vec<RecordBatch>, u64)>,
    /// How often a table was filled.
    fills: usize,
    /// How far back what a fill lacks may have been told; a minute else.
    look_back: Option<Duration>,
    /// What fills wait for.
    fill_gate: Option<Arc<Semaphore>>,
    /// Where the store says that it is.
    end: Option<u64>,
    /// How often it was asked for that.
    asked: usize,
    /// What the answer waits for.
    end_gate: Option<Arc<Semaphore>>,
    /// Held by each state that is shown.
    shown: Arc<()>,
    /// How often it was asked for where it is while it showed a state.
    asked_while_shown: usize,
    /// Whether there is a fault in who asks.
    is_faulty: bool,
    /// Whether what it gives again may be other transactions.
    is_unlike: bool,
    /// How often it does not remove what it is asked to.
    refusals: usize,
    /// Whether there is a fault in telling it that somebody has looked.
    is_fragile: bool,
}

/// A store of the test's own.
#[derive(Debug)]
pub(crate) struct FakeStore {
    name: StoreName,
    script: Arc<Mutex<Script>>,
}

impl FakeStore {
    /// A store that has done nothing yet.
    pub(crate) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: StoreName::new(name), script: Arc::default() })
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next feed gives what is sent.
    pub(crate) fn feed(&self) -> Steps {
        let (sender, steps) = mpsc::channel(1_000);
        self.script().feeds.push_back(Ok(steps));
        sender
    }

    /// The next feed does not begin.
    pub(crate) fn fail(&self, ended: Ended) {
        self.script().feeds.push_back(Err(ended));
    }

    /// What was asked, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.script().calls.clone()
    }

    /// How often its tables were looked at.
    pub(crate) fn surveys(&self) -> usize {
        self.script().surveys
    }

    /// How often it was told that somebody has looked.
    pub(crate) fn looks(&self) -> usize {
        self.script().looks
    }

    /// The next surveys find that a table cannot be followed, or again that it can.
    pub(crate) fn judge(&self, table: &TableId, reason: Option<&str>) {
        match reason {
            Some(reason) => self.script().store_only.insert(table.clone(), reason.to_owned()),
            None => self.script().store_only.remove(table),
        };
    }

    /// The next surveys refuse everything, or nothing.
    pub(crate) fn refuse(&self, refused: Option<(&str, &str)>) {
        self.script().refused = refused.map(|(reason, mend)| (reason.to_owned(), mend.to_owned()));
    }

    /// What it gives again may be other transactions.
    pub(crate) fn gives_unlike(&self) {
        self.script().is_unlike = true;
    }

    /// What the store keeps from now on.
    pub(crate) fn keeps(&self, watch: Watch) {
        self.script().watch = watch;
    }

    /// What of ours is in it.
    pub(crate) fn holds(&self, objects: Vec<OwnObject>) {
        self.script().objects = objects;
    }

    /// So often it does not remove what it is asked to.
    pub(crate) fn keeps_removing_nothing(&self, times: usize) {
        self.script().refusals = times;
    }

    /// There is a fault from now on in telling it that somebody has looked.
    pub(crate) fn breaks_when_looked_at(&self) {
        self.script().is_fragile = true;
    }

    /// What a fill finds, and up to which position.
    pub(crate) fn fills(&self, batches: Vec<RecordBatch>, position: u64) {
        self.script().filled = (batches, position);
    }

    /// What a fill of one table finds, and up to which position.
    pub(crate) fn fills_of(&self, table: &TableId, rows: &[(&str, i64)], position: u64) {
        self.script().filled_of.insert(table.clone(), (vec![batch_of(rows)], position));
    }

    /// So long before a fill something may have been told that is not in it.
    pub(crate) fn looks_back(&self, look_back: Duration) {
        self.script().look_back = Some(look_back);
    }

    /// How often a table was filled.
    pub(crate) fn filled(&self) -> usize {
        self.script().fills
    }

    /// The next fills wait for a permit each, after they have seen their state.
    pub(crate) fn hold_fills(&self) -> Arc<Semaphore> {
        Arc::clone(self.script().fill_gate.insert(Arc::new(Semaphore::new(0))))
    }

    /// Where the store says that it is from now on; `None`: it does not answer.
    pub(crate) fn ends_at(&self, position: Option<u64>) {
        self.script().end = position;
    }

    /// There is a fault from now on in asking where it is and what a fill has, or none any more.
    pub(crate) fn faults(&self, is_faulty: bool) {
        self.script().is_faulty = is_faulty;
    }

    /// How often it was asked where it is.
    pub(crate) fn asked(&self) -> usize {
        self.script().asked
    }

    /// How often it was asked where it is while it showed a state, for which a real one may have to wait until it shows none.
    pub(crate) fn asked_while_shown(&self) -> usize {
        self.script().asked_while_shown
    }

    /// The next answers wait for a permit each, after they were made.
    pub(crate) fn hold_positions(&self) -> Arc<Semaphore> {
        Arc::clone(self.script().end_gate.insert(Arc::new(Semaphore::new(0))))
    }
}

fn number(position: &Position) -> Option<u64> {
    position.token.as_slice().try_into().ok().map(u64::from_be_bytes)
}

#[async_trait]
impl Connector for FakeStore {
    fn name(&self) -> &StoreName {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "fake"
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

    /// Scans give all rows, whatever is asked for.
    fn pushdown(&self, _table: &Table, predicate: &Predicate) -> Pushdown {
        Pushdown::Superset(predicate.clone())
    }

    fn describe_scan(&self, _table: &Table, _scan: &Scan) -> String {
        String::new()
    }

    async fn open(&self, _purpose: Purpose) -> Result<Arc<dyn Branch>, StoreError> {
        Err(StoreError::Unsupported { store: self.name.to_string(), feature: "branches" })
    }

    fn covers(&self, applied: &Position, wanted: &Position) -> Coverage {
        match (number(applied), number(wanted)) {
            (Some(applied), Some(wanted)) if applied >= wanted => Coverage::Covered,
            (Some(_), Some(_)) => Coverage::Behind,
            _ => Coverage::Incomparable,
        }
    }

    fn own_table(&self, which: OwnTable) -> Option<Arc<Table>> {
        (which == OwnTable::Outbox).then(|| table_of(which.name()))
    }

    fn capture(&self) -> Option<Arc<dyn Capture>> {
        Some(Arc::new(FakeCapture { store: self.name.clone(), script: Arc::clone(&self.script) }))
    }

    async fn position(&self, _who: InstanceId, _follow: &Follow) -> Result<Position, StoreError> {
        let (end, gate, is_faulty) = {
            let mut script = self.script();
            script.asked += 1;
            script.asked_while_shown += usize::from(Arc::strong_count(&script.shown) > 1);
            (script.end, script.end_gate.clone(), script.is_faulty)
        };
        pass(gate).await;
        assert!(!is_faulty, "the test says so");
        let lost = || StoreError::ConnectionLost { store: self.name.to_string(), reason: "Reset.".to_owned() };
        end.map(|end| position_of(&self.name, end)).ok_or_else(lost)
    }

    async fn close(&self) {}
}

/// Waits for a permit of a gate, where there is one, and uses it up.
async fn pass(gate: Option<Arc<Semaphore>>) {
    if let Some(gate) = gate {
        gate.acquire().await.unwrap().forget();
    }
}

#[derive(Debug)]
struct FakeCapture {
    store: StoreName,
    script: Arc<Mutex<Script>>,
}

impl FakeCapture {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn names(tables: &[Followed]) -> String {
    tables.iter().map(|followed| followed.table.id.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn resumed(resume: Option<&Resume>) -> String {
    let number = resume.and_then(|resume| resume.0.as_slice().try_into().ok()).map(u64::from_be_bytes);
    number.map_or_else(|| "now".to_owned(), |number| number.to_string())
}

#[async_trait]
impl Capture for FakeCapture {
    async fn survey(&self, _who: InstanceId, _follow: &Follow, tables: &[Arc<Table>]) -> Result<Survey, StoreError> {
        let mut script = self.script();
        script.surveys += 1;
        let judged = |table: &Arc<Table>| match script.store_only.get(&table.id) {
            Some(reason) => Judged::StoreOnly { table: table.id.clone(), reason: reason.clone(), mend: None },
            None => {
                let shape = Shape::of(table, vec![0], vec![true; table.columns.len()]);
                Judged::Followed(Followed { table: Arc::clone(table), shape })
            }
        };
        let tables = tables.iter().map(judged).collect();
        Ok(Survey { tables, cautions: Vec::new(), refused: script.refused.clone(), objects: script.objects.clone() })
    }

    async fn start(
        &self,
        _who: InstanceId,
        _follow: &Follow,
        tables: &[Followed],
        from: Option<&Resume>,
    ) -> Result<Box<dyn Feed>, Ended> {
        let mut script = self.script();
        script.calls.push(format!("start {} from {}", names(tables), resumed(from)));
        let lost = || StoreError::ConnectionLost { store: self.store.to_string(), reason: "There is no feed.".to_owned() };
        let steps = script.feeds.pop_front().unwrap_or_else(|| Err(Ended::Again(lost())))?;
        Ok(Box::new(FakeFeed { store: self.store.clone(), script: Arc::clone(&self.script), steps }))
    }

    fn gives_alike(&self) -> bool {
        !self.script().is_unlike
    }

    fn look_again(&self) {
        let mut script = self.script();
        script.looks += 1;
        assert!(!script.is_fragile, "the test says so");
    }

    async fn fill(&self, table: &Arc<Table>) -> Result<Fill, StoreError> {
        let ((batches, position), look_back, gate, shown) = {
            let mut script = self.script();
            script.fills += 1;
            let filled = script.filled_of.get(&table.id).unwrap_or(&script.filled).clone();
            let look_back = script.look_back.unwrap_or(Duration::from_secs(60));
            (filled, look_back, script.fill_gate.clone(), Arc::clone(&script.shown))
        };
        pass(gate).await;
        let (branch, ends) = (Arc::new(FakeBranch { batches, _shown: shown }), Instant::now() + Duration::from_secs(60));
        Ok(Fill { branch, version: position.to_be_bytes().to_vec(), look_back, ends })
    }

    async fn state(&self, tables: &[Arc<Table>]) -> Result<Option<Fill>, StoreError> {
        match tables.first() {
            Some(table) => self.fill(table).await.map(Some),
            None => Ok(None),
        }
    }

    fn contains(&self, version: &[u8], transaction: &Transaction) -> bool {
        assert!(!self.script().is_faulty, "the test says so");
        let version = version.try_into().ok().map(u64::from_be_bytes);
        version.zip(number(&transaction.position)).is_some_and(|(version, position)| position <= version)
    }

    async fn watch(&self, _who: InstanceId, _follow: &Follow) -> Result<Watch, StoreError> {
        Ok(self.script().watch.clone())
    }

    async fn objects(&self, _who: InstanceId) -> Result<Vec<OwnObject>, StoreError> {
        Ok(self.script().objects.clone())
    }

    async fn remove(&self, _who: InstanceId, slot_only: bool) -> Result<Vec<OwnObject>, StoreError> {
        let mut script = self.script();
        script.calls.push(format!("remove{}", if slot_only { " slot" } else { "" }));
        if let Some(left) = script.refusals.checked_sub(1) {
            script.refusals = left;
            return Err(StoreError::ConnectionLost { store: self.store.to_string(), reason: "Reset.".to_owned() });
        }
        script.watch = Watch::default();
        let is_removed = |object: &OwnObject| object.ours && (!slot_only || object.what == "replication slot");
        let (removed, left) = std::mem::take(&mut script.objects).into_iter().partition(is_removed);
        script.objects = left;
        Ok(removed)
    }
}

struct FakeFeed {
    store: StoreName,
    script: Arc<Mutex<Script>>,
    steps: mpsc::Receiver<Result<Step, Ended>>,
}

impl FakeFeed {
    fn note(&self, call: String) {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).calls.push(call);
    }
}

#[async_trait]
impl Feed for FakeFeed {
    async fn next(&mut self) -> Result<Step, Ended> {
        let lost = || StoreError::ConnectionLost { store: self.store.to_string(), reason: "Reset.".to_owned() };
        self.steps.recv().await.unwrap_or_else(|| Err(Ended::Again(lost())))
    }

    async fn acknowledge(&mut self, position: &Position, resume: &Resume) -> Result<(), StoreError> {
        assert_eq!(position.token, resume.0, "one is of another place than the other");
        self.note(format!("acknowledge {}", resumed(Some(resume))));
        Ok(())
    }

    async fn reshape(&mut self, tables: &[Followed]) -> Result<(), Ended> {
        self.note(format!("reshape {}", names(tables)));
        Ok(())
    }

    async fn close(self: Box<Self>) {
        self.note("close".to_owned());
    }
}

/// One state of one table.
#[derive(Debug)]
struct FakeBranch {
    batches: Vec<RecordBatch>,
    _shown: Arc<()>,
}

#[async_trait]
impl Branch for FakeBranch {
    async fn scan(&self, _table: &Arc<Table>, scan: &Scan, _limits: ScanLimits) -> Result<BatchStream, StoreError> {
        let batches: Vec<_> = self.batches.iter().map(|batch| Ok(batch.project(&scan.columns).unwrap())).collect();
        Ok(futures::stream::iter(batches).boxed())
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
