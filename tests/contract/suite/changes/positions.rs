//! How far a store says that everything is: no position of a feed covers it before all of that was given, and every feed comes to it, also
//! when nobody writes any more.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;
use tributary::stores::capture::{Feed, InstanceId, Step};
use tributary::stores::position::{Coverage, Position};
use tributary::stores::{Connector, Purpose, StoreName, WriteIsolation};

use super::super::world::{Deed, World};
use super::super::writes::{Target, run};
use super::{PATIENCE, Stage, told};

/// Keys of those that write while somebody asks.
const FIRST: i64 = 201;
const LAST: i64 = 240;

pub async fn check(world: &dyn World) {
    // A server may be that of other tests, and its objects are named after who follows.
    let stage = Stage::make(world, "positions", InstanceId(rand::random())).await;
    let mut reader = Reader::start(&stage).await;
    at_rest(&stage, &mut reader).await;
    what_others_write(&stage, &mut reader).await;
    what_is_undone(&stage, &mut reader).await;
    through_the_connector(&stage, &mut reader).await;
    Box::pin(while_others_write(&stage, &mut reader)).await;
    what_is_no_position(&stage).await;
    reader.feed.close().await;
    stage.capture.remove(stage.who, false).await.unwrap();
    stage.connector.close().await;
}

/// A feed, transaction by transaction.
struct Reader {
    connector: Arc<dyn Connector>,
    table: String,
    feed: Box<dyn Feed>,
    /// What has come and was not looked at: keys, and where it is.
    ready: VecDeque<(Vec<i64>, Position)>,
    /// Keys of rows that were given.
    keys: Vec<i64>,
    /// Behind the last whole transaction.
    applied: Option<Position>,
}

impl Reader {
    async fn start(stage: &Stage<'_>) -> Self {
        let (connector, table) = (Arc::clone(&stage.connector), stage.table.clone());
        let feed = stage.start(None).await;
        Self { connector, table, feed, ready: VecDeque::new(), keys: Vec::new(), applied: None }
    }

    /// Reads on until everything up to a position was given, and no further.
    async fn reach(&mut self, wanted: &Position) {
        while !self.covers(wanted) {
            while self.ready.is_empty() {
                let step = tokio::time::timeout(PATIENCE, self.feed.next()).await;
                let step = step.unwrap_or_else(|_elapsed| panic!("{:?} does not come to {wanted:?}", self.applied));
                self.take(step.unwrap_or_else(|ended| panic!("{ended:?}")));
            }
            let Some((keys, position)) = self.ready.pop_front() else { continue };
            self.keys.extend(keys);
            self.applied = Some(position);
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Idle { position, .. } => self.ready.push_back((Vec::new(), position)),
            Step::Doubt(_) => {}
            Step::Group(group) => {
                for transaction in &group.transactions {
                    assert!(transaction.ends, "so few rows are one piece");
                    let events = told(transaction, &group.rows, &self.table).events;
                    let keys: Vec<i64> = events.iter().filter_map(|event| event.key.as_deref()?.parse::<i64>().ok()).collect();
                    self.ready.push_back((keys, transaction.position.clone()));
                }
            }
        }
    }

    fn covers(&self, wanted: &Position) -> bool {
        let Some(applied) = &self.applied else { return false };
        let coverage = self.connector.covers(applied, wanted);
        assert_ne!(coverage, Coverage::Incomparable, "{applied:?} {wanted:?}");
        coverage == Coverage::Covered
    }

    /// It has not come to a position that counts what was written since.
    fn assert_behind(&self, wanted: &Position) {
        let applied = self.applied.as_ref().unwrap();
        assert_eq!(self.connector.covers(applied, wanted), Coverage::Behind, "{applied:?} {wanted:?}");
    }
}

impl Stage<'_> {
    async fn position(&self) -> Position {
        let follow = self.world.follow();
        let asked = self.connector.position(self.who, &follow);
        let position = tokio::time::timeout(PATIENCE, asked).await.expect("nobody answers").unwrap();
        assert_eq!(position.store, *self.connector.name());
        position
    }
}

/// Whoever waits for an idle store need not wait for somebody to write.
async fn at_rest(stage: &Stage<'_>, reader: &mut Reader) {
    for _ in 0..3 {
        let wanted = stage.position().await;
        reader.reach(&wanted).await;
        assert_eq!(stage.connector.covers(&wanted, &wanted), Coverage::Covered);
    }
    assert!(reader.keys.is_empty(), "{:?}", reader.keys);
}

/// Single rows, and several together, by a connection of their own.
async fn what_others_write(stage: &Stage<'_>, reader: &mut Reader) {
    let mut before: Option<Position> = None;
    for key in (101..=120_i64).step_by(2) {
        let deeds = [Deed::Insert(key, 1), Deed::Insert(key + 1, 2), Deed::Update(key, 3)];
        let some = if key % 4 == 1 { &deeds[..1] } else { &deeds[..] };
        stage.world.deeds(&stage.table, some, true).await;
        let wanted = stage.position().await;
        reader.assert_behind(&wanted);
        if let Some(before) = before.replace(wanted.clone()) {
            assert_eq!(stage.connector.covers(&wanted, &before), Coverage::Covered);
            assert_eq!(stage.connector.covers(&before, &wanted), Coverage::Behind);
        }
        reader.reach(&wanted).await;
        assert!(reader.keys.contains(&key), "{key} was committed before {wanted:?}, and {:?} were given", reader.keys);
    }
}

/// Of what is undone nothing comes, and nobody waits for it.
async fn what_is_undone(stage: &Stage<'_>, reader: &mut Reader) {
    stage.world.deeds(&stage.table, &[Deed::Insert(150, 1), Deed::Insert(151, 2)], false).await;
    reader.reach(&stage.position().await).await;
    assert!(!reader.keys.contains(&150), "{:?}", reader.keys);
}

/// The connector's own writes, in a transaction and alone. What a commit gives back is such a position too, where it gives one.
async fn through_the_connector(stage: &Stage<'_>, reader: &mut Reader) {
    let target = Target::of(Arc::clone(&stage.connector), stage.world, &stage.table).await;
    for (key, purpose) in [(160, Purpose::Write(WriteIsolation::ReadCommitted)), (161, Purpose::Once)] {
        let branch = stage.connector.open(purpose).await.unwrap();
        run(&*branch, &target.insert(&[key], None, Vec::new())).await.unwrap();
        let told = branch.commit().await.unwrap();
        let asked = stage.position().await;
        for wanted in told.iter().chain([&asked]) {
            reader.reach(wanted).await;
            assert!(reader.keys.contains(&key), "{key} was committed before {wanted:?}, and {:?} were given", reader.keys);
        }
    }
}

/// Whoever asks while others write gets all that these were told to be committed, and whatever comes besides.
async fn while_others_write(stage: &Stage<'_>, reader: &mut Reader) {
    let (committed, seen) = watch::channel(0);
    let writing = async {
        for key in FIRST..=LAST {
            stage.world.deeds(&stage.table, &[Deed::Insert(key, key)], true).await;
            committed.send_replace(key);
        }
    };
    let asking = async {
        let mut asked: Vec<(i64, Position)> = Vec::new();
        while asked.last().is_none_or(|(key, _)| *key < LAST) {
            let key = *seen.borrow();
            let position = stage.position().await;
            asked.push((key, position));
        }
        asked
    };
    let ((), asked) = tokio::join!(writing, asking);
    for (upto, wanted) in &asked {
        reader.reach(wanted).await;
        let missing: Vec<i64> = (FIRST..=*upto).filter(|key| !reader.keys.contains(key)).collect();
        assert!(missing.is_empty(), "{missing:?} were committed before {wanted:?}");
    }
}

async fn what_is_no_position(stage: &Stage<'_>) {
    let position = stage.position().await;
    let of = |store: &str, token: &[u8]| Position { store: StoreName::new(store), token: token.to_vec() };
    let name = stage.connector.name().as_str();
    for other in [of(name, b"no position"), of(name, &[0xff, 0xfe, 0xff]), of("another", &position.token)] {
        assert_eq!(stage.connector.covers(&position, &other), Coverage::Incomparable, "{other:?}");
        assert_eq!(stage.connector.covers(&other, &position), Coverage::Incomparable, "{other:?}");
    }
}
