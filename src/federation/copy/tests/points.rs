//! Lookups by key that the copy answers from where the row lies, without a stream, those that it leaves to others, and the keys themselves.

use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::keys;
use super::*;
use crate::cache::{CacheEntry, CacheSettings, Caches, Consistency, OnStale, Required, Wants};
use crate::changes::fakes::{Did, FakeStore, Steps, follow_all, id_of, mixed_of, position_of, quick_feeds, resume_of, table_of};
use crate::changes::{FeedEntry, Feeds, State};
use crate::federation::fast::Point;
use crate::stores::capture::Step;
use crate::task::OwnedTask;

const PATIENCE: Duration = Duration::from_secs(20);

/// A copy of `t(name text, total bigint)`, whose key is its name, with the rows `a` and `b`.
struct Kept {
    store: Arc<FakeStore>,
    steps: Steps,
    caches: Arc<Caches>,
    room: Room,
    _tasks: [OwnedTask<()>; 2],
    _refreshed: mpsc::Receiver<StoreName>,
    _directory: TempDir,
}

impl Kept {
    async fn new() -> Self {
        let (store, directory) = (FakeStore::new("shop"), tempfile::tempdir().unwrap());
        let (steps, feeds) = (store.feed(), quick_feeds(directory.path()));
        store.ends_at(Some(0));
        store.fills_of(&id_of("t"), &[("a", 1), ("b", 2)], 0);
        let connector: Arc<dyn Connector> = Arc::<FakeStore>::clone(&store);
        let tables = vec![table_of("t")];
        let entry = FeedEntry {
            connector: Arc::clone(&connector),
            follow: Some(follow_all()),
            outbox: false,
            labels: Arc::new(|_table| None),
        };
        let (refresh, refreshed) = mpsc::channel(8);
        let following = OwnedTask::spawn(feeds.run(vec![entry], refresh, CancellationToken::new()));
        feeds.described(store.name(), &tables);
        let (look, audit) = (Duration::from_secs(3600), Duration::ZERO);
        let caches = Caches::new(Arc::clone(&feeds), CacheSettings { look, audit, ..CacheSettings::default() });
        let caching = OwnedTask::spawn(caches.run(CancellationToken::new()));
        let room = Room::over(Table::clone(&table_of("t")), On::Store);
        let tasks = [following, caching];
        let kept = Self { store, steps, caches, room, _tasks: tasks, _refreshed: refreshed, _directory: directory };
        kept.idle(&feeds).await;
        kept.caches.replace(vec![CacheEntry { connector, tables, kept_back: Vec::new(), labels: Arc::new(|_table| None) }]);
        kept.until(|| kept.caches.offered(kept.store.name(), &id_of("t"))).await;
        kept
    }

    /// The feed streams, and has come to where the store is.
    async fn idle(&self, feeds: &Arc<Feeds>) {
        self.until(|| feeds.state(self.store.name()) == State::Streaming).await;
        let step = Step::Idle { position: position_of(self.store.name(), 0), resume: resume_of(0) };
        self.steps.send(Ok(step)).await.unwrap();
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        let waiting = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_elapsed| panic!("{:?}", self.caches.shown()));
    }

    fn point(&self, sql: &str, values: &[ScalarValue], wants: &Wants) -> Option<Point> {
        let setting = &self.room.setting;
        let lookup = Lookup::resolve(&parse_query(sql).unwrap(), &setting.snapshot, &setting.path, &[]).expect(sql);
        Arc::new(lookup).point(&self.caches, wants, values)
    }

    /// The row that is found, `None` where there is none; `Err` where the copy leaves that to others.
    fn found(&self, sql: &str, values: &[ScalarValue], wants: &Wants) -> std::result::Result<Option<String>, ()> {
        let point = self.point(sql, values, wants).ok_or(())?;
        let Some((columns, place)) = point.row() else { return Ok(None) };
        let cells: Vec<String> = columns.map(|column| ScalarValue::try_from_array(column, place).unwrap().to_string()).collect();
        assert_eq!(cells.len(), point.columns().len(), "{sql}");
        Ok(Some(cells.join("|")))
    }

    fn served(&self) -> u64 {
        self.caches.shown().iter().map(|shown| shown.served).sum()
    }
}

fn wants(consistency: Consistency) -> Wants {
    let session: Arc<Required> = Arc::default();
    Wants { consistency, max_staleness: None, on_stale: OnStale::Store, deadline: None, session, shows_as_server: true }
}

fn text(value: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(value.to_owned()))
}

#[tokio::test]
async fn a_row_is_found_by_its_key_and_nothing_else_is_answered() {
    let kept = Kept::new().await;
    let asks = wants(Consistency::Session);
    let by_name = "SELECT total, name FROM shop.t WHERE name = $1";
    let answered = [
        (by_name, "a", Some("1|a")),
        (by_name, "b", Some("2|b")),
        (by_name, "c", None),
        ("SELECT total FROM shop.t WHERE $1 = name", "b", Some("2")),
        ("SELECT name FROM shop.t WHERE (name = $1) LIMIT 1", "a", Some("a")),
        ("SELECT * FROM shop.t AS x WHERE x.name = $1", "a", Some("a|1")),
    ];
    for (count, (sql, value, expected)) in (1..).zip(answered) {
        assert_eq!(kept.found(sql, &[text(value)], &asks), Ok(expected.map(str::to_owned)), "{sql} {value}");
        assert_eq!(kept.served(), count, "{sql} {value}");
    }
    assert_eq!(kept.found("SELECT total FROM shop.t WHERE name = 'b'", &[], &asks), Ok(Some("2".to_owned())));
    let served = kept.served();
    for (sql, values) in [
        // NULL, which equals nothing, is the planner's.
        (by_name, vec![ScalarValue::Utf8(None)]),
        (by_name, Vec::new()),
        // More conditions than the key has, or others.
        ("SELECT total FROM shop.t WHERE name = $1 AND total = 1", vec![text("a")]),
        ("SELECT total FROM shop.t WHERE name = $1 AND name = $2", vec![text("a"), text("b")]),
        ("SELECT total FROM shop.t WHERE name = $1 AND total IS NOT NULL", vec![text("a")]),
        ("SELECT total FROM shop.t WHERE name IN ($1, $2)", vec![text("a"), text("b")]),
        ("SELECT total FROM shop.t WHERE name >= $1 LIMIT 1", vec![text("a")]),
        ("SELECT name FROM shop.t WHERE total = 1", Vec::new()),
        ("SELECT name FROM shop.t LIMIT 1", Vec::new()),
    ] {
        assert_eq!(kept.found(sql, &values, &asks), Err(()), "{sql} {values:?}");
    }
    assert_eq!(kept.found(by_name, &[text("a")], &wants(Consistency::Store)), Err(()));
    assert_eq!(kept.found(by_name, &[text("a")], &wants(Consistency::Strong)), Err(()));
    assert_eq!(kept.served(), served, "what was not answered has counted");
}

#[tokio::test]
async fn a_row_that_was_found_stays_and_a_session_is_shown_what_it_has_written() {
    let kept = Kept::new().await;
    let (sql, asks) = ("SELECT total FROM shop.t WHERE name = $1", wants(Consistency::Session));
    let before = kept.point(sql, &[text("a")], &asks).unwrap();
    asks.session.raise(kept.store.name(), position_of(kept.store.name(), 1));
    assert_eq!(kept.found(sql, &[text("a")], &asks), Err(()), "the copy has not got it yet");
    assert_eq!(kept.found(sql, &[text("a")], &wants(Consistency::Eventual)), Ok(Some("1".to_owned())));
    let group = mixed_of(kept.store.name(), &[(1, vec![("t", Did::Put("a", 7)), ("t", Did::Gone("b"))])]);
    kept.steps.send(Ok(Step::Group(group))).await.unwrap();
    kept.until(|| kept.found(sql, &[text("a")], &asks).is_ok()).await;
    assert_eq!(kept.found(sql, &[text("a")], &asks), Ok(Some("7".to_owned())));
    assert_eq!(kept.found(sql, &[text("b")], &asks), Ok(None));
    let (mut columns, place) = before.row().unwrap();
    assert_eq!(ScalarValue::try_from_array(columns.next().unwrap(), place).unwrap(), ScalarValue::Int64(Some(1)));
}

#[test]
fn one_key_is_of_the_columns_of_the_key_or_there_is_none() {
    let table = Arc::new(table());
    let one = |table: &Table, key: &[usize], said: &[(usize, Value)]| {
        keys::one(table, key, |ordinal| said.iter().find(|(column, _)| *column == ordinal).map(|(_, value)| value))
    };
    let said = [(0, Value::Int(7)), (1, Value::Text("n7".to_owned())), (2, Value::Int(3))];
    let types = |key: &[usize]| {
        let found = one(&table, key, &said)?;
        assert!(found.iter().all(|array| array.len() == 1));
        Some(found.iter().map(|array| array.data_type().clone()).collect::<Vec<DataType>>())
    };
    assert_eq!(types(&[0]), Some(vec![DataType::Int32]));
    assert_eq!(types(&[2, 1, 0]), Some(vec![DataType::Int16, DataType::Utf8, DataType::Int32]));
    // Of one column nothing is said, and one is not there.
    assert_eq!((types(&[0, 3]), types(&[0, 9])), (None, None));
    // What the column cannot hold, and what is of another type.
    assert!(one(&table, &[0], &[(0, Value::Int(1 << 40))]).is_none());
    assert!(one(&table, &[0], &[(0, Value::Text("7".to_owned()))]).is_none());
    let version = version(&table);
    for (id, name) in [(7, Some("n7")), (500, Some("n500")), (501, None)] {
        let number = version.number_of(&one(&table, &[0], &[(0, Value::Int(id))]).unwrap()).unwrap();
        let found = number.map(|number| {
            let (columns, place) = version.at(number).unwrap();
            ScalarValue::try_from_array(&columns[1], place).unwrap().to_string()
        });
        assert_eq!(found.as_deref(), name, "{id}");
    }
    let of = |pg_type: PgType, value: Value| {
        let mut other = Table::clone(&table);
        other.columns[0].field = Field::new("id", pg_type.carrier(), false).with_pg_type(pg_type);
        one(&other, &[0], &[(0, value)]).map(|found| found[0].data_type().clone())
    };
    let uuid = || Value::Text("a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0".to_owned());
    for (pg_type, value) in [
        (PgType::INT8, Value::Int(1 << 40)),
        (PgType::DATE, Value::Date(-1)),
        (PgType::TIMESTAMP, Value::Timestamp(-1)),
        (PgType::TIMESTAMPTZ, Value::TimestampTz(i64::MAX)),
        (PgType::UUID, uuid()),
    ] {
        assert_eq!(of(pg_type, value), Some(pg_type.carrier()), "{pg_type}");
    }
    // Where equal values have other bytes, and where a moment is of another kind.
    for (pg_type, value) in [
        (PgType::with_typmod(1042, 8), uuid()),
        (PgType::numeric(10, 2), Value::Int(1)),
        (PgType::FLOAT8, Value::Int(0)),
        (PgType::TIMESTAMP, Value::TimestampTz(0)),
        (PgType::TIMESTAMPTZ, Value::Timestamp(0)),
    ] {
        assert_eq!(of(pg_type, value), None, "{pg_type}");
    }
}
