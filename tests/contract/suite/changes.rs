//! Changes of a store: what is judged to be followed gives events, what is not gives none; whole transactions once and in order, also
//! behind a resume; an exact place of every fill; and nothing is left when all is removed.

pub mod positions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use tributary::stores::capture::{Capture, Ended, Feed, Fill, Followed, InstanceId, Judged, Step};
use tributary::stores::change::{Barrier, Entry, Operation, Resume, Rows, Transaction};
use tributary::stores::position::{Coverage, Position};
use tributary::stores::value::Value;
use tributary::stores::{Connector, Table};

use super::reading;
use super::world::{Deed, Kind, Sample, World};

/// Whose objects these are.
const WHO: InstanceId = InstanceId(0x5017_e000_0000_00ab);
/// Longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a feed told of a row: what happened, the key and `n`, which may be unknown or NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    operation: Operation,
    key: Option<String>,
    old_key: Option<String>,
    n: Option<String>,
}

/// A transaction as it was told.
#[derive(Debug, Clone)]
struct Told {
    transaction: Transaction,
    events: Vec<Event>,
    barriers: Vec<Barrier>,
}

/// A table `changes` of a key, an integer `n` and a text, and everything that follows it.
struct Stage<'w> {
    world: &'w dyn World,
    connector: Arc<dyn Connector>,
    capture: Arc<dyn Capture>,
    who: InstanceId,
    table: String,
}

pub async fn check(world: &dyn World) {
    let stage = Stage::make(world, "changes", WHO).await;
    stage.nothing_is_changed_by_a_survey().await;
    let (feed, resume) = Box::pin(stage.events_and_their_transactions()).await;
    let resume = Box::pin(stage.resuming(feed, resume)).await;
    let resume = Box::pin(stage.fills(resume)).await;
    let resume = Box::pin(stage.race(resume)).await;
    Box::pin(stage.shapes(resume)).await;
    stage.removal().await;
    stage.connector.close().await;
}

impl<'w> Stage<'w> {
    async fn make(world: &'w dyn World, table: &str, who: InstanceId) -> Self {
        let columns = vec![("n".to_owned(), Kind::Int), ("label".to_owned(), Kind::Text)];
        let row = |key: i64| vec![Some(Value::Int(key * 10)), Some(Value::Text(format!("row {key}")))];
        world.make(&Sample { table: table.to_owned(), columns, rows: (1..=5).map(row).collect() }).await;
        let connector = world.open("");
        let capture = connector.capture().unwrap_or_else(|| panic!("{} has no way to be followed", world.word()));
        Self { world, connector, capture, who, table: table.to_owned() }
    }
}

impl Stage<'_> {
    async fn tables(&self) -> Vec<Arc<Table>> {
        self.connector.discover().await.unwrap().tables
    }

    async fn table(&self) -> Arc<Table> {
        reading::table(&self.connector, &self.world.namespace(), &self.table).await
    }

    async fn followed(&self) -> Vec<Followed> {
        let survey = self.capture.survey(self.who, &self.world.follow(), &self.tables().await).await.unwrap();
        assert!(survey.refused.is_none(), "{survey:?}");
        let followed = survey.tables.into_iter().filter_map(|judged| match judged {
            Judged::Followed(followed) => Some(followed),
            Judged::StoreOnly { .. } => None,
        });
        followed.collect()
    }

    async fn start(&self, from: Option<&Resume>) -> Box<dyn Feed> {
        let followed = self.followed().await;
        let follow = self.world.follow();
        let started = self.capture.start(self.who, &follow, &followed, from);
        let started = tokio::time::timeout(PATIENCE, started).await.expect("the feed does not start");
        started.unwrap_or_else(|ended| panic!("{ended:?}"))
    }

    async fn nothing_is_changed_by_a_survey(&self) {
        let followed = self.followed().await;
        assert!(followed.iter().any(|followed| followed.table.id.name == self.table), "{followed:?}");
        let objects = self.capture.objects(self.who).await.unwrap();
        assert!(!objects.iter().any(|object| object.ours), "{objects:?}");
    }

    /// Inserts, updates, deletes, moved keys, several rows together, and nothing of what is undone.
    async fn events_and_their_transactions(&self) -> (Box<dyn Feed>, Resume) {
        let mut feed = self.start(None).await;
        let kept: &[&[Deed]] = &[
            &[Deed::Insert(11, 1)],
            &[Deed::Update(11, 2)],
            &[Deed::Insert(12, 3), Deed::Insert(13, 4), Deed::Update(12, 5), Deed::Delete(13)],
            &[Deed::Delete(11)],
        ];
        for deeds in kept {
            self.world.deeds(&self.table, &[Deed::Insert(99, 0)], false).await;
            self.world.deeds(&self.table, deeds, true).await;
        }
        if self.world.moves_keys() {
            self.world.deeds(&self.table, &[Deed::Move(12, 14)], true).await;
        }
        // Known by its key, which nothing before it has.
        self.world.deeds(&self.table, &[Deed::Insert(15, 6)], true).await;
        let (told, resume) = self.until(&mut feed, "15").await;
        let events: Vec<Event> = told.iter().flat_map(|told| told.events.clone()).collect();
        assert!(!events.iter().any(|event| event.key.as_deref() == Some("99")), "what was undone is told: {events:?}");
        let ops: Vec<(Operation, &str)> =
            events.iter().map(|event| (plain(event.operation), event.key.as_deref().unwrap_or_default())).collect();
        let mut expected = vec![
            (Operation::Insert, "11"),
            (Operation::Update, "11"),
            (Operation::Insert, "12"),
            (Operation::Insert, "13"),
            (Operation::Update, "12"),
            (Operation::Delete, "13"),
            (Operation::Delete, "11"),
        ];
        if self.world.moves_keys() {
            expected.push((Operation::Update, "14"));
            let moved = events.iter().find(|event| event.key.as_deref() == Some("14")).unwrap();
            assert_eq!(moved.old_key.as_deref(), Some("12"), "{moved:?}");
        }
        expected.push((Operation::Insert, "15"));
        assert_eq!(ops, expected);
        let together = told.iter().find(|told| told.events.iter().any(|event| event.key.as_deref() == Some("13"))).unwrap();
        assert!(together.events.len() >= 4, "a transaction is torn: {together:?}");
        assert!(told.iter().all(|told| told.barriers.is_empty() && told.transaction.ends), "{told:?}");
        self.in_order(&told);
        (feed, resume)
    }

    /// What was acknowledged is not given again, what was not is, and then it goes on without a hole.
    async fn resuming(&self, mut feed: Box<dyn Feed>, first: Resume) -> Resume {
        self.world.deeds(&self.table, &[Deed::Insert(21, 1)], true).await;
        self.world.deeds(&self.table, &[Deed::Insert(22, 2), Deed::Insert(23, 3)], true).await;
        let (told, second) = self.until(&mut feed, "23").await;
        let ids: Vec<String> = told.iter().map(|told| told.transaction.id.clone()).collect();
        feed.close().await;
        self.world.deeds(&self.table, &[Deed::Insert(24, 4)], true).await;
        let mut feed = self.start(Some(&first)).await;
        let (again, _) = self.until(&mut feed, "24").await;
        let again: Vec<&Told> = again.iter().filter(|told| !told.events.is_empty()).collect();
        let keys: Vec<&str> = again.iter().flat_map(|told| &told.events).filter_map(|event| event.key.as_deref()).collect();
        assert_eq!(keys, ["21", "22", "23", "24"], "after {ids:?}");
        // They are the same transactions, by which whoever has them knows them.
        let positions = |told: &[&Told]| told.iter().map(|told| told.transaction.position.clone()).collect::<Vec<Position>>();
        let known: Vec<&Told> = told.iter().filter(|told| !told.events.is_empty()).collect();
        let (known, again) = (positions(&known), positions(&again));
        assert!(known.iter().all(|position| again.iter().any(|other| self.is_covered(other, position))), "{known:?} {again:?}");
        feed.close().await;
        let mut feed = self.start(Some(&second)).await;
        let (rest, third) = self.until(&mut feed, "24").await;
        let keys: Vec<String> = rest.iter().flat_map(|told| &told.events).filter_map(|event| event.key.clone()).collect();
        assert_eq!(keys, ["24"]);
        let last = rest.last().unwrap().transaction.position.clone();
        feed.acknowledge(&last, &third).await.unwrap();
        feed.close().await;
        third
    }

    /// A state of the table contains what was committed before it, and nothing of what came later.
    async fn fills(&self, from: Resume) -> Resume {
        let mut feed = self.start(Some(&from)).await;
        self.world.deeds(&self.table, &[Deed::Insert(31, 1)], true).await;
        let fill = self.fill().await;
        self.world.deeds(&self.table, &[Deed::Insert(32, 2)], true).await;
        let (told, resume) = self.until(&mut feed, "32").await;
        let of = |key: &str| {
            let has = |told: &&Told| told.events.iter().any(|event| event.key.as_deref() == Some(key));
            &told.iter().find(has).unwrap().transaction
        };
        assert!(self.capture.contains(&fill.version, of("31")), "a state without what was there");
        assert!(!self.capture.contains(&fill.version, of("32")), "a state with what came later");
        assert!(!self.capture.contains(b"no version", of("31")), "what is unknown is contained");
        let seen = self.rows_of(&fill).await;
        assert!(seen.contains_key("31") && !seen.contains_key("32"), "{seen:?}");
        drop(fill);
        feed.close().await;
        resume
    }

    /// Fills while somebody writes: what is contained is in the rows, what is not comes behind them, and together they are the table.
    /// Whoever took every change for contained would be wrong.
    async fn race(&self, from: Resume) -> Resume {
        let mut feed = self.start(Some(&from)).await;
        let mut fills = Vec::new();
        for round in 0..8_i64 {
            for key in 40..44_i64 {
                self.world
                    .deeds(&self.table, &[Deed::Insert(key * 100 + round, round), Deed::Update(1, key * 100 + round)], true)
                    .await;
                if key == 41 {
                    let fill = self.fill().await;
                    let rows = self.rows_of(&fill).await;
                    fills.push((fill.version.clone(), rows));
                }
            }
        }
        let (told, resume) = self.until(&mut feed, "4307").await;
        let (whole, _) = self.content().await;
        let mut is_wrong_without_the_rest = false;
        for (version, rows) in &fills {
            let replayed = |is_contained: &dyn Fn(&Transaction) -> bool| {
                let mut rows = rows.clone();
                for told in told.iter().filter(|told| !is_contained(&told.transaction)) {
                    told.events.iter().for_each(|event| apply(event, &mut rows));
                }
                rows
            };
            assert_eq!(replayed(&|transaction| self.capture.contains(version, transaction)), whole);
            is_wrong_without_the_rest |= replayed(&|_| true) != whole;
        }
        assert!(is_wrong_without_the_rest, "a reader that forgets every change would not be noticed");
        feed.close().await;
        resume
    }

    /// Truncation and another column, where the store has them.
    async fn shapes(&self, from: Resume) {
        let mut feed = self.start(Some(&from)).await;
        if self.world.add_column(&self.table, "later").await {
            self.world.deeds(&self.table, &[Deed::Insert(51, 1)], true).await;
            let mut before = Vec::new();
            let doubted = async {
                loop {
                    match feed.next().await.unwrap_or_else(|ended| panic!("{ended:?}")) {
                        Step::Doubt(tables) => return tables,
                        // A store may go on with the columns that it knew until it is told of the new ones, or tell at once that
                        // they are others.
                        Step::Group(group) => {
                            before.extend(group.transactions.iter().map(|transaction| told(transaction, &group.rows, &self.table)))
                        }
                        Step::Idle { .. } => {}
                    }
                }
            };
            let doubted = tokio::time::timeout(PATIENCE, doubted).await.expect("another column is not noticed");
            assert!(doubted.iter().any(|table| table.name == self.table), "{doubted:?}");
            feed.reshape(&self.followed().await).await.unwrap_or_else(|ended| panic!("{ended:?}"));
            self.world.deeds(&self.table, &[Deed::Insert(52, 2)], true).await;
            let (told, _) = self.until(&mut feed, "52").await;
            let barriers: Vec<&Barrier> = before.iter().chain(&told).flat_map(|told| &told.barriers).collect();
            assert!(barriers.iter().any(|barrier| matches!(barrier, Barrier::Reshaped { .. })), "{barriers:?}");
        }
        if self.world.truncate(&self.table).await {
            self.world.deeds(&self.table, &[Deed::Insert(61, 1)], true).await;
            let (told, _) = self.until(&mut feed, "61").await;
            let barriers: Vec<&Barrier> = told.iter().flat_map(|told| &told.barriers).collect();
            assert!(matches!(barriers.first(), Some(Barrier::Truncated { table }) if table.name == self.table), "{barriers:?}");
        }
        feed.close().await;
    }

    /// What is in the store is told, and gone when it is removed, also when that is done twice.
    async fn removal(&self) {
        let objects = self.capture.objects(self.who).await.unwrap();
        assert_eq!(objects.iter().any(|object| object.ours), self.world.leaves_objects(), "{objects:?}");
        assert!(objects.iter().filter(|object| object.ours).all(|object| !object.remove.is_empty()), "{objects:?}");
        let other = self.capture.objects(InstanceId(7)).await.unwrap();
        assert!(!other.iter().any(|object| object.ours), "{other:?}");
        self.capture.remove(self.who, true).await.unwrap();
        let removed = self.capture.remove(self.who, false).await.unwrap();
        assert!(removed.iter().all(|object| object.ours), "{removed:?}");
        assert!(!self.capture.objects(self.who).await.unwrap().iter().any(|object| object.ours));
        assert!(self.capture.remove(self.who, false).await.unwrap().is_empty());
        // The table can be written as before.
        self.world.deeds(&self.table, &[Deed::Insert(71, 1)], true).await;
    }

    async fn fill(&self) -> Fill {
        tokio::time::timeout(PATIENCE, self.capture.fill(&self.table().await)).await.expect("no fill").unwrap()
    }

    /// Keys and `n` of a fill's rows.
    async fn rows_of(&self, fill: &Fill) -> BTreeMap<String, String> {
        let table = self.table().await;
        let scan = reading::whole(&self.connector, &table, Vec::new());
        let batches = reading::collect(&*fill.branch, &table, &scan).await.unwrap();
        let n = table.columns.iter().position(|column| column.name() == "n").unwrap();
        let mut rows = BTreeMap::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                rows.insert(text(batch.column(0).as_ref(), row).unwrap(), text(batch.column(n).as_ref(), row).unwrap_or_default());
            }
        }
        rows
    }

    /// The table as it is now, by a fill when nobody writes.
    async fn content(&self) -> (BTreeMap<String, String>, Fill) {
        let fill = self.fill().await;
        (self.rows_of(&fill).await, fill)
    }

    /// Reads until a row with this key is told.
    async fn until(&self, feed: &mut Box<dyn Feed>, key: &str) -> (Vec<Told>, Resume) {
        let mut found = Vec::new();
        let reading = async {
            loop {
                match feed.next().await {
                    Ok(Step::Group(group)) => {
                        found.extend(group.transactions.iter().map(|transaction| told(transaction, &group.rows, &self.table)));
                        let has = |event: &Event| event.key.as_deref() == Some(key);
                        if found.last().is_some_and(|told: &Told| told.transaction.ends)
                            && found.iter().any(|told| told.events.iter().any(has))
                        {
                            return group.resume;
                        }
                    }
                    Ok(Step::Idle { .. } | Step::Doubt(_)) => {}
                    Err(Ended::Again(error)) => panic!("{error:?}"),
                    Err(ended) => panic!("{ended:?}"),
                }
            }
        };
        let resume = tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_elapsed| panic!("{key} is not told"));
        (found, resume)
    }

    fn is_covered(&self, applied: &Position, wanted: &Position) -> bool {
        self.connector.covers(applied, wanted) == Coverage::Covered
    }

    /// Positions grow: each covers all before it, and none behind it.
    fn in_order(&self, told: &[Told]) {
        for pair in told.windows(2) {
            let (one, next) = (&pair[0].transaction.position, &pair[1].transaction.position);
            assert!(self.is_covered(next, one) && !self.is_covered(one, next), "{one:?} {next:?}");
        }
    }
}

/// An insert that may have met a row is one.
fn plain(operation: Operation) -> Operation {
    if operation == Operation::Upsert { Operation::Insert } else { operation }
}

fn apply(event: &Event, rows: &mut BTreeMap<String, String>) {
    let Some(key) = &event.key else { return };
    match event.operation {
        Operation::Delete => drop(rows.remove(key)),
        _ => drop(rows.insert(key.clone(), event.n.clone().unwrap_or_default())),
    }
}

fn told(transaction: &Transaction, rows: &[Rows], table: &str) -> Told {
    let mut told = Told { transaction: transaction.clone(), events: Vec::new(), barriers: Vec::new() };
    for entry in &transaction.entries {
        match entry {
            Entry::Barrier(barrier) => told.barriers.push(barrier.clone()),
            Entry::Row { rows: number, row } => {
                let of = &rows[usize::try_from(*number).unwrap()];
                assert_eq!(of.shape.id.name, table);
                told.events.push(event(of, usize::try_from(*row).unwrap()));
            }
        }
    }
    told
}

fn event(rows: &Rows, row: usize) -> Event {
    let key = rows.shape.key[0];
    let n = rows.shape.schema.index_of("n").unwrap();
    let of_key = rows.key(row).map(|(is_old, row)| {
        let batch = if is_old { rows.old.as_ref().unwrap() } else { &rows.new };
        text(batch.column(key).as_ref(), row).unwrap()
    });
    let old_key = rows.moves(row).then(|| text(rows.old.as_ref().unwrap().column(key).as_ref(), row).unwrap());
    let n = rows.new_known.has(n, row).then(|| text(rows.new.column(n).as_ref(), row)).flatten();
    Event { operation: rows.operations[row], key: of_key, old_key, n }
}

/// A value as text; `None` for NULL.
fn text(array: &dyn arrow::array::Array, row: usize) -> Option<String> {
    let options = FormatOptions::default();
    array.is_valid(row).then(|| ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string())
}
