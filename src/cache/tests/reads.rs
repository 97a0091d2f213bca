//! What reads are given under each guarantee.

use super::*;
use crate::cache::store::Shelf;
use crate::changes::fakes::shape_of;
use crate::stores::position::Position;

fn wants(consistency: Consistency, on_stale: OnStale) -> Wants {
    Wants { consistency, max_staleness: None, on_stale, deadline: None, session: Arc::default(), shows_as_server: true }
}

impl Stage {
    async fn decide(&self, wants: &Wants) -> Decision {
        self.caches.decide(self.store.name(), wants).await
    }

    /// A decision on its way.
    fn deciding(&self, wants: &Wants) -> OwnedTask<Decision> {
        let (caches, store, wants) = (Arc::clone(&self.caches), self.store.name().clone(), wants.clone());
        OwnedTask::spawn(async move { caches.decide(&store, &wants).await })
    }

    /// Waits until it is known how fresh the copies are, and nobody looks any more.
    async fn looked(&self) {
        self.holds(|| self.copies().set().is_some_and(|set| set.known_age().is_some())).await;
    }
}

fn read(decision: Decision) -> Arc<Reading> {
    match decision {
        Decision::Copy(reading) => reading,
        other => panic!("{other:?}"),
    }
}

fn reason(decision: &Decision) -> &'static str {
    match decision {
        Decision::Copy(_) => "a copy",
        Decision::Store { reason } => reason,
        Decision::Stale(stale) => stale.reason,
    }
}

fn at(reading: &Reading) -> u64 {
    number(reading.position().unwrap())
}

#[tokio::test]
async fn a_session_reads_what_it_has_written_or_the_store() {
    let stage = Stage::cached(&["orders"], settings()).await;
    let asks = wants(Consistency::Session, OnStale::Store);
    assert_eq!(at(&read(stage.decide(&asks).await)), 0, "nothing is required");
    asks.session.raise(stage.store.name(), position_of(stage.store.name(), 5));
    stage.does(4, vec![("orders", Did::Put("a", 4))]).await;
    stage.has("orders", &[("a", 4)]).await;
    let decision = stage.decide(&asks).await;
    assert!(matches!(decision, Decision::Store { .. }) && reason(&decision).contains("not got everything"));
    let decision = stage.decide(&Wants { on_stale: OnStale::Error, ..asks.clone() }).await;
    let Decision::Stale(stale) = decision else { panic!("{decision:?}") };
    assert_eq!(stale.sqlstate(), "55000");
    let waiting = stage.deciding(&Wants { on_stale: OnStale::Wait, ..asks.clone() });
    stage.does(5, vec![("orders", Did::Put("a", 5))]).await;
    let reading = read(waiting.join().await.unwrap());
    assert_eq!((at(&reading), rows_of(&reading.table(&id_of("orders")).unwrap())), (5, pairs(&[("a", 5)])));
    assert_eq!(stage.shown("orders").served, 0, "nobody has said that it is read");
    reading.used(&id_of("orders"));
    assert!(reading.table(&id_of("items")).is_none() && reading.table_like(&table_of("orders")).is_some());
    let mut other = (*table_of("orders")).clone();
    other.columns.pop();
    other.schema = Table::arrow_schema(&other.columns);
    assert!(reading.table_like(&other).is_none(), "its ordinals are not those of the copy");
    assert_eq!(at(&read(stage.decide(&asks).await)), 5);
    // What it has seen is told to another session.
    let other = wants(Consistency::Session, OnStale::Store);
    for position in asks.session.positions().remove(stage.store.name()).unwrap() {
        assert_eq!(number(&position), 5);
        other.session.raise(stage.store.name(), position);
    }
    assert_eq!(at(&read(stage.decide(&other).await)), 5);
    let shown = stage.shown("orders");
    assert_eq!((shown.served, shown.waited), (1, 1));
}

#[tokio::test]
async fn what_was_done_at_an_unknown_position_is_asked_for_once() {
    let stage = Stage::cached(&["orders"], settings()).await;
    stage.looked().await;
    let asks = wants(Consistency::Session, OnStale::Wait);
    for _ in 0..2 {
        let (asked, next) = (stage.store.asked(), stage.position().unwrap() + 7);
        stage.store.ends_at(Some(next));
        asks.session.unknown(stage.store.name());
        let waiting = stage.deciding(&asks);
        stage.holds(|| stage.store.asked() > asked && asks.session.unsettled().is_empty()).await;
        stage.idle(next).await;
        assert_eq!(at(&read(waiting.join().await.unwrap())), next);
        read(stage.decide(&asks).await);
        assert_eq!(stage.store.asked(), asked + 1, "it was asked for more than once");
    }
    // A store that does not say where it is, is read.
    stage.store.ends_at(None);
    asks.session.unknown(stage.store.name());
    let decision = stage.decide(&Wants { on_stale: OnStale::Store, ..asks.clone() }).await;
    assert!(reason(&decision).contains("has not said"), "{decision:?}");
    assert!(!stage.caches.settle(stage.store.name(), &asks.session).await);
    stage.store.ends_at(Some(3));
    assert!(stage.caches.settle(stage.store.name(), &asks.session).await && asks.session.unsettled().is_empty());
}

#[tokio::test]
async fn positions_that_cannot_be_compared_are_not_covered_and_the_store_says_what_counts() {
    let stage = Stage::cached(&["orders"], settings()).await;
    let asks = wants(Consistency::Session, OnStale::Store);
    let another = Position { store: stage.store.name().clone(), token: b"another".to_vec() };
    asks.session.raise(stage.store.name(), another.clone());
    stage.store.ends_at(None);
    let decision = stage.decide(&asks).await;
    assert!(matches!(decision, Decision::Store { .. }), "{decision:?}");
    read(stage.decide(&Wants { consistency: Consistency::Eventual, ..asks.clone() }).await);
    let decision = stage.decide(&Wants { consistency: Consistency::Store, ..asks.clone() }).await;
    assert!(matches!(decision, Decision::Store { .. }));
    // The store goes on from elsewhere: what it has now is all that there is to see.
    stage.store.ends_at(Some(6));
    let waiting = stage.deciding(&Wants { on_stale: OnStale::Wait, ..asks.clone() });
    stage.holds(|| !asks.session.positions()[stage.store.name()].contains(&another)).await;
    stage.idle(6).await;
    assert_eq!(at(&read(waiting.join().await.unwrap())), 6);
}

#[tokio::test]
async fn a_strong_read_has_what_was_committed_when_it_began_though_others_have_asked_before() {
    let stage = Stage::cached(&["orders"], settings()).await;
    stage.does(3, vec![("orders", Did::Put("a", 3))]).await;
    stage.holds(|| stage.position() == Some(3)).await;
    stage.looked().await;
    stage.store.ends_at(Some(3));
    let (gate, asked) = (stage.store.hold_positions(), stage.store.asked());
    let asks = wants(Consistency::Strong, OnStale::Wait);
    let first = stage.deciding(&asks);
    stage.holds(|| stage.store.asked() == asked + 1).await;
    // The question of the first one is on its way when the second one begins, which has to see more.
    stage.store.ends_at(Some(5));
    let second = stage.deciding(&asks);
    let third = stage.deciding(&asks);
    for _ in 0..10 {
        // They have their turn, one after the other on this thread, and ask.
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    assert_eq!(at(&read(first.join().await.unwrap())), 3);
    stage.holds(|| stage.store.asked() == asked + 2).await;
    gate.add_permits(1);
    stage.does(5, vec![("orders", Did::Put("a", 5))]).await;
    for read_then in [second, third] {
        let reading = read(read_then.join().await.unwrap());
        assert_eq!(rows_of(&reading.table(&id_of("orders")).unwrap()), pairs(&[("a", 5)]));
        assert!(reading.age() < Duration::from_secs(20));
    }
    assert_eq!(stage.store.asked(), asked + 2, "those who asked together were not answered together");
}

#[tokio::test]
async fn a_bounded_read_asks_when_what_there_is_is_too_old() {
    let stage = Stage::cached(&["orders"], settings()).await;
    stage.looked().await;
    let asked = stage.store.asked();
    let asks = Wants { max_staleness: Some(Duration::from_secs(600)), ..wants(Consistency::Bounded, OnStale::Wait) };
    assert!(read(stage.decide(&asks).await).age() < Duration::from_secs(600));
    assert_eq!(stage.store.asked(), asked);
    let age = Duration::from_millis(300);
    tokio::time::sleep(age).await;
    let asks = Wants { max_staleness: Some(age), ..asks };
    let reading = read(stage.decide(&asks).await);
    assert!(stage.store.asked() > asked && reading.position().is_some());
    // The store is ahead of its feed, and does not answer to those who come later.
    tokio::time::sleep(age).await;
    stage.store.ends_at(Some(99));
    for consistency in [Consistency::Bounded, Consistency::Eventual, Consistency::Session] {
        let decision = stage.decide(&Wants { consistency, on_stale: OnStale::Error, ..asks.clone() }).await;
        assert!(matches!(decision, Decision::Stale(_)), "{consistency:?} {decision:?}");
    }
    let decision = stage.decide(&Wants { on_stale: OnStale::Store, ..asks.clone() }).await;
    assert!(matches!(decision, Decision::Store { .. }), "{decision:?}");
    let waiting =
        stage.deciding(&Wants { max_staleness: Some(Duration::from_secs(20)), ..wants(Consistency::Strong, OnStale::Wait) });
    stage.idle(99).await;
    assert_eq!(at(&read(waiting.join().await.unwrap())), 99);
}

#[tokio::test]
async fn without_its_feed_a_copy_serves_what_it_is_known_to_have() {
    let stage = Stage::cached(&["orders"], settings()).await;
    stage.store.fail(Ended::Refused { reason: "closed".to_owned(), mend: "wait".to_owned() });
    let Stage { steps, store, feeds, caches, _tasks, _refreshed, _directory } = stage;
    drop(steps);
    let steps = mpsc::channel(1).0;
    let stage = Stage { steps, store, feeds, caches, _tasks, _refreshed, _directory };
    stage.holds(|| stage.feeds.state(stage.store.name()) != State::Streaming).await;
    read(stage.decide(&wants(Consistency::Session, OnStale::Store)).await);
    read(stage.decide(&wants(Consistency::Eventual, OnStale::Error)).await);
    let decision = stage.decide(&wants(Consistency::Strong, OnStale::Store)).await;
    assert!(reason(&decision).contains("not streaming") && matches!(decision, Decision::Store { .. }), "{decision:?}");
    let decision = stage.decide(&wants(Consistency::Strong, OnStale::Error)).await;
    assert!(matches!(decision, Decision::Stale(_)), "{decision:?}");
    let soon = Some(tokio::time::Instant::now() + Duration::from_millis(30));
    stage.store.ends_at(Some(9));
    let decision = stage.decide(&Wants { deadline: soon, ..wants(Consistency::Strong, OnStale::Wait) }).await;
    assert!(matches!(decision, Decision::Stale(_)), "{decision:?}");
    let text = crate::telemetry::metrics::text(&stage.caches.families());
    for line in [
        "tributary_cache_fell_through_total{store=\"shop\",reason=\"not-streaming\"} 1",
        "tributary_cache_rejected_total{store=\"shop\"} 2",
        "tributary_cache_served_total{store=\"shop\"} 2",
        "tributary_cache_tables{store=\"shop\",state=\"cached\"} 1",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn without_a_copy_the_store_is_read_whatever_a_read_was_told() {
    let stage = Stage::streaming(&["orders"], settings()).await;
    let all = || {
        let levels = [Consistency::Strong, Consistency::Session, Consistency::Bounded, Consistency::Eventual];
        levels.into_iter().flat_map(|level| [OnStale::Error, OnStale::Wait].map(|on_stale| (level, on_stale)))
    };
    let decided = async |what: &str| {
        for (level, on_stale) in all() {
            let asks = Wants { max_staleness: Some(Duration::from_secs(60)), ..wants(level, on_stale) };
            asks.session.unknown(stage.store.name());
            // Nothing is waited for either: it would not come within this test.
            let decision = tokio::time::timeout(Duration::from_secs(10), stage.decide(&asks)).await.unwrap();
            assert!(matches!(decision, Decision::Store { .. }), "{what}, {level:?}, {on_stale:?}: {decision:?}");
        }
    };
    decided("no table is wanted").await;
    let gate = stage.store.hold_fills();
    stage.want(&["orders"]);
    stage.stands("orders", CopyState::Loading).await;
    decided("the copy is being loaded").await;
    gate.add_permits(1);
    stage.offered("orders").await;
    assert!(matches!(stage.decide(&wants(Consistency::Session, OnStale::Error)).await, Decision::Copy(_)));
    // A copy that is there and behind is another matter.
    stage.store.ends_at(Some(9));
    let decision = stage.decide(&wants(Consistency::Strong, OnStale::Error)).await;
    assert!(matches!(decision, Decision::Stale(_)), "{decision:?}");
}

#[tokio::test]
async fn a_read_that_waits_for_a_copy_goes_to_the_store_when_the_copy_has_gone() {
    let stage = Stage::cached(&["orders"], settings()).await;
    // Neither it nor the copy that would be loaded comes there.
    stage.store.ends_at(Some(9));
    let asked = stage.store.asked();
    let waiting = stage.deciding(&wants(Consistency::Strong, OnStale::Wait));
    stage.holds(|| stage.store.asked() > asked).await;
    stage.caches.reload(stage.store.name(), &id_of("orders")).unwrap();
    let decision = waiting.join().await.unwrap();
    assert!(matches!(decision, Decision::Store { .. }), "{decision:?}");
}

#[tokio::test]
async fn a_fault_while_a_store_is_asked_ends_one_question_and_not_all() {
    let stage = Stage::cached(&["orders"], settings()).await;
    stage.looked().await;
    stage.store.faults(true);
    let asks = wants(Consistency::Strong, OnStale::Store);
    let asked = stage.store.asked();
    assert!(matches!(stage.decide(&asks).await, Decision::Store { .. }));
    stage.holds(|| stage.store.asked() > asked).await;
    stage.store.faults(false);
    stage.store.ends_at(stage.position());
    read(stage.decide(&Wants { on_stale: OnStale::Wait, ..asks }).await);
}

/// Copies that nobody follows, and of whose store nobody can be asked: they stand as the test says.
struct Still {
    store: Arc<FakeStore>,
    caches: Arc<Caches>,
    copies: Arc<StoreCopies>,
}

impl Still {
    /// A table is wanted; nothing is published, and nothing is known of the store.
    fn new() -> Self {
        let store = FakeStore::new("shop");
        let caches = Caches::paced(Feeds::none(), settings(), PACE);
        let connector: Arc<dyn Connector> = Arc::<FakeStore>::clone(&store);
        let labels: Labels = Arc::new(|_table| None);
        caches.replace(vec![CacheEntry { connector, tables: vec![table_of("orders")], kept_back: Vec::new(), labels }]);
        let copies = caches.copies(store.name()).unwrap();
        Self { store, caches, copies }
    }

    /// The same with a set of this position that may be read.
    fn at(position: Option<u64>) -> Self {
        let still = Self::new();
        still.trust();
        still.publish(position);
        still
    }

    fn trust(&self) {
        let life = self.copies.asked().borrow().life;
        self.copies.trust(life);
    }

    fn publish(&self, position: Option<u64>) {
        let version = TableVersion::empty(&table_of("orders"), &shape_of("orders")).unwrap();
        let shelf = Shelf { version: Arc::new(version.filled(&batch_of(&[("a", 1)])).unwrap()), uses: Arc::default() };
        let position = position.map(|number| Arc::new(position_of(self.store.name(), number)));
        self.copies.publish(Arc::new(BTreeMap::from([(id_of("orders"), shelf)])), position, None);
    }

    /// How often the table was read.
    fn served(&self) -> u64 {
        self.copies.any_set().tables[&id_of("orders")].uses.served.get()
    }

    /// Whether the rows are given at once, which must be so where a decision gives them and nobody is asked.
    async fn gives(&self, consistency: Consistency, most: Option<Duration>, did: impl Fn(&Required)) -> bool {
        let asks = || {
            let asks = Wants { max_staleness: most, ..wants(consistency, OnStale::Store) };
            did(&asks.session);
            asks
        };
        let given = self.caches.at_once(self.store.name(), &id_of("orders"), &asks(), |_version| true).is_some();
        let decision = self.caches.decide(self.store.name(), &asks()).await;
        assert_eq!(given, matches!(decision, Decision::Copy(_)), "{consistency:?} {most:?} {decision:?}");
        given
    }

    /// The same of each guarantee that copies may keep.
    async fn gives_to(&self, most: Option<Duration>, did: impl Fn(&Required)) -> [bool; 3] {
        let mut given = [false; 3];
        let levels = [Consistency::Session, Consistency::Bounded, Consistency::Eventual];
        for (level, given) in levels.into_iter().zip(&mut given) {
            *given = self.gives(level, most, &did).await;
        }
        given
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_read_is_given_rows_at_once_only_where_a_decision_would_give_them() {
    let (all, none) = ([true; 3], [false; 3]);
    let still = Still::at(Some(5));
    assert_eq!(still.gives_to(None, |_| {}).await, all);
    assert!(!still.gives(Consistency::Store, None, |_| {}).await);
    assert!(!still.gives(Consistency::Strong, None, |_| {}).await);
    // How old it is, is not known, is known, and is too much.
    assert_eq!(still.gives_to(Some(HOUR), |_| {}).await, none);
    still.copies.set().unwrap().raise(Instant::now());
    assert_eq!(still.gives_to(Some(HOUR), |_| {}).await, all);
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(still.gives_to(Some(Duration::from_millis(1)), |_| {}).await, none);
}

#[tokio::test]
async fn rows_that_are_given_at_once_have_what_the_session_has_written_and_seen() {
    let name = StoreName::new("shop");
    let (all, eventual) = ([true; 3], [false, false, true]);
    let still = Still::at(Some(5));
    let raised = |number: u64| {
        move |required: &Required| required.raise(&StoreName::new("shop"), position_of(&StoreName::new("shop"), number))
    };
    assert_eq!(still.gives_to(None, raised(5)).await, all, "it has all");
    assert_eq!(still.gives_to(None, raised(6)).await, eventual, "it is behind");
    let another = Position { store: name.clone(), token: b"another".to_vec() };
    assert_eq!(still.gives_to(None, |required| required.raise(&name, another.clone())).await, eventual, "of another history");
    assert_eq!(still.gives_to(None, |required| required.unknown(&name)).await, eventual, "nobody has asked yet");
    assert_eq!(still.gives_to(None, |required| required.fence(&name)).await, eventual, "something may still be committed");
    // Of what others have done nothing is required.
    assert_eq!(still.gives_to(None, |required| required.unknown(&StoreName::new("crm"))).await, all);
    // A set of which no position is known has nothing for certain.
    let still = Still::at(None);
    assert_eq!(still.gives_to(None, raised(1)).await, eventual);
    assert_eq!(still.gives_to(None, |_| {}).await, all);
}

#[tokio::test]
async fn rows_of_a_doubtful_copy_are_not_given_at_once() {
    let none = [false; 3];
    let still = Still::new();
    assert_eq!(still.gives_to(None, |_| {}).await, none, "there are none");
    still.publish(Some(5));
    assert_eq!(still.gives_to(None, |_| {}).await, none, "the store may have another history");
    still.trust();
    assert_eq!(still.gives_to(None, |_| {}).await, [true; 3]);
    still.caches.doubt(still.store.name(), [&id_of("orders")]);
    assert_eq!(still.gives_to(None, |_| {}).await, none, "it may be another table");
    still.copies.are_gone(1);
    assert_eq!(still.gives_to(None, |_| {}).await, [true; 3]);
    // Another connector, and nothing that is wanted.
    let connector: Arc<dyn Connector> = FakeStore::new("shop");
    let entry = CacheEntry { connector, tables: vec![table_of("orders")], kept_back: Vec::new(), labels: Arc::new(|_table| None) };
    still.caches.replace(vec![entry]);
    assert_eq!(still.gives_to(None, |_| {}).await, none, "it may be another store");
    still.trust();
    assert_eq!(still.gives_to(None, |_| {}).await, [true; 3]);
    still.caches.replace(Vec::new());
    assert_eq!(still.gives_to(None, |_| {}).await, none, "nothing is wanted");
}

#[test]
fn rows_that_are_given_at_once_count_when_they_answer_and_not_before() {
    let still = Still::at(Some(5));
    let asks = wants(Consistency::Session, OnStale::Store);
    let (name, orders) = (still.store.name(), id_of("orders"));
    assert!(still.caches.at_once(name, &id_of("items"), &asks, |_version| true).is_none());
    assert!(still.caches.at_once(name, &orders, &asks, |_version| false).is_none());
    assert!(asks.session.positions().is_empty(), "nothing was seen");
    drop(still.caches.at_once(name, &orders, &asks, |_version| true).unwrap());
    assert_eq!((still.served(), still.copies.tally.served.get()), (0, 0));
    let at_once = still.caches.at_once(name, &orders, &asks, |version| version.rows() == 1).unwrap();
    assert_eq!(rows_of(&at_once.served()), pairs(&[("a", 1)]));
    assert_eq!((still.served(), still.copies.tally.served.get()), (1, 1));
    assert_eq!(asks.session.positions()[name], [position_of(name, 5)], "it was seen");
}
