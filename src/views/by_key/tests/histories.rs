//! Random changes of two small tables, after each of which what is computed by key is what the whole query gives.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::physical_plan::collect;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::federation::kept_query::one_of;
use crate::views::output::Output;
use crate::views::recompute;

type Row = Vec<ScalarValue>;
type Versions = BTreeMap<TableKey, Arc<TableVersion>>;
/// Rows as texts, with how often each is there.
type Counted = BTreeMap<Vec<String>, i64>;

/// Queries whose rows are computed by key. Floats are halves, whose sums are the same in every order.
const QUERIES: &[&str] = &[
    // Windows, and what stands on them.
    "SELECT g, id, row_number() OVER (PARTITION BY g ORDER BY n, id) AS r FROM a",
    "SELECT n, g, sum(f) OVER (PARTITION BY g, n ORDER BY id) AS s, count(*) OVER (PARTITION BY n) AS c FROM a",
    "SELECT g, id FROM (SELECT g, id, row_number() OVER (PARTITION BY g ORDER BY n, id) AS r FROM a WHERE f > 0) x WHERE r <= 2",
    // Groups.
    "SELECT g, sum(f) AS s, count(*) AS c FROM a GROUP BY g",
    "SELECT g, string_agg(padded, ',' ORDER BY id) AS t FROM a GROUP BY g",
    "SELECT n, sum(f) AS s FROM a GROUP BY n HAVING count(*) > 1",
    "SELECT DISTINCT g, f FROM a",
    // Joins, of which some rows meet none, or NULL.
    "SELECT a.id, a.g, b.id AS other, row_number() OVER (PARTITION BY a.id ORDER BY b.v, b.id) AS r FROM a LEFT JOIN b ON a.id = b.a_id",
    "SELECT a.g, a.id, b.id AS other, count(*) OVER (PARTITION BY a.g) AS c FROM a LEFT JOIN b ON a.g = b.s AND b.v > a.n",
    "SELECT a.g, sum(a.f) AS s FROM a JOIN b ON a.g = b.s GROUP BY a.g",
    "SELECT b.s, sum(a.f) AS f FROM a RIGHT JOIN b ON a.g = b.s GROUP BY b.s",
    "SELECT x.id, sum(y.v / 2.0) AS s FROM b x LEFT JOIN b y ON x.id = y.a_id GROUP BY x.id",
    "SELECT g, id, row_number() OVER (PARTITION BY g ORDER BY id) AS r FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.s = a.g)",
    "SELECT g, id, row_number() OVER (PARTITION BY g ORDER BY id) AS r FROM a WHERE g IN (SELECT s FROM b WHERE v > 1)",
    "SELECT a.g, a.id, row_number() OVER (PARTITION BY a.g ORDER BY a.id) AS r FROM a WHERE g NOT IN (SELECT s FROM b WHERE v > 3)",
    // A table without a key, whose changes take the whole query.
    "SELECT a.g, b.v, row_number() OVER (PARTITION BY a.g ORDER BY a.id) AS r FROM a JOIN b ON b.id = a.n",
    // A column for each of two tables.
    "SELECT a.g, b.s, row_number() OVER (PARTITION BY a.g, b.s ORDER BY a.id, b.id) AS r FROM a JOIN b ON b.v = a.n",
    // Parts of several tables.
    "SELECT g, sum(f) AS s FROM (SELECT g, f FROM a UNION ALL SELECT s, v / 2.0 FROM b) x GROUP BY g",
];

/// A query with its rows.
struct View {
    sql: String,
    schema: SchemaRef,
    /// The tables that it reads.
    reads: BTreeSet<TableKey>,
    lineages: Lineages,
    output: Output,
    /// How often its rows were computed by key, and as a whole.
    ways: (usize, usize),
    /// The keys of the last step, as texts; `None` where it was computed as a whole.
    keys: Option<BTreeSet<String>>,
}

/// Tables with their rows by their ids.
struct Stage {
    state: SessionState,
    tables: Vec<(&'static str, SchemaRef, Output)>,
    rows: BTreeMap<(&'static str, i64), Row>,
    /// What the views have seen.
    seen: Versions,
    views: Vec<View>,
}

fn int(value: impl Into<Option<i64>>) -> ScalarValue {
    ScalarValue::Int64(value.into())
}

fn text<'a>(value: impl Into<Option<&'a str>>) -> ScalarValue {
    ScalarValue::Utf8(value.into().map(str::to_owned))
}

fn float(value: impl Into<Option<f64>>) -> ScalarValue {
    ScalarValue::Float64(value.into())
}

fn batch(schema: &SchemaRef, row: &[ScalarValue]) -> RecordBatch {
    let columns: Vec<ArrayRef> = row.iter().map(|value| value.to_array().unwrap()).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

fn counted(batches: &[RecordBatch]) -> Counted {
    let mut found = Counted::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let text = |column: &ArrayRef| format!("{:?}", ScalarValue::try_from_array(column, row).unwrap());
            *found.entry(batch.columns().iter().map(text).collect()).or_default() += 1;
        }
    }
    found
}

fn contents(output: &Output) -> Vec<RecordBatch> {
    let columns: Vec<usize> = (0..output.schema().fields().len()).collect();
    output.version().read(&columns, 5).map(Result::unwrap).collect()
}

impl Stage {
    async fn over(queries: &[&str]) -> Self {
        let table = |(name, schema): (&'static str, SchemaRef)| {
            let output = Output::new(key_of(name).1, &schema, Some(&[0])).unwrap();
            (name, Arc::clone(output.schema()), output)
        };
        let tables = tables().into_iter().map(table).collect();
        let mut stage = Self { state: plain(), tables, rows: BTreeMap::new(), seen: Versions::new(), views: Vec::new() };
        stage.register();
        for sql in queries {
            let optimized = optimized(&stage.state, sql).await;
            let lineages = traced(&stage.state, &optimized).unwrap_or_else(|why| panic!("{sql}: nothing is traced: {why}"));
            let fields = optimized.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
            let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            let output = Output::new(key_of("view").1, &schema, None).unwrap();
            let mut reads = BTreeSet::new();
            let walked = optimized.apply(|node| {
                if let LogicalPlan::TableScan(scan) = node {
                    reads.extend(table_of(scan));
                }
                Ok(TreeNodeRecursion::Continue)
            });
            walked.unwrap();
            stage.views.push(View { sql: (*sql).to_owned(), schema, reads, lineages, output, ways: (0, 0), keys: None });
        }
        stage
    }

    /// Makes the tables' rows of now those that queries read.
    fn register(&self) {
        for (name, schema, output) in &self.tables {
            let provider = MemTable::try_new(Arc::clone(schema), vec![contents(output)]).unwrap();
            put(&self.state, name, provider);
        }
    }

    /// Puts a row under its id, or takes the one there away.
    fn put(&mut self, name: &'static str, id: i64, row: Option<Row>) {
        let before = match &row {
            Some(row) => self.rows.insert((name, id), row.clone()),
            None => self.rows.remove(&(name, id)),
        };
        let (_, schema, output) = self.tables.iter_mut().find(|(known, _, _)| *known == name).unwrap();
        let side = |row: Option<Row>| row.iter().map(|row| batch(schema, row)).collect::<Vec<_>>();
        let change = Change { removed: side(before), added: side(row) };
        output.apply(&change).unwrap();
    }

    fn versions(&self) -> Versions {
        self.tables.iter().map(|(name, _, output)| (key_of(name), Arc::clone(output.version()))).collect()
    }

    async fn rows_of(&self, plan: &LogicalPlan, schema: &SchemaRef) -> Vec<RecordBatch> {
        let physical = self.state.create_physical_plan(plan).await.unwrap();
        let batches = collect(physical, self.state.task_ctx()).await.unwrap();
        batches.into_iter().map(|batch| named(batch, schema).unwrap()).collect()
    }

    /// What changes in the rows of a view by its keys; `None` where it takes the whole query.
    async fn by_key(&self, view: &View, now: &Versions) -> Option<(Change, BTreeSet<String>)> {
        let cancel = CancellationToken::new();
        let read = |(table, _): &(&TableKey, &Arc<TableVersion>)| view.reads.contains(*table);
        let now: Versions = now.iter().filter(read).map(|(table, version)| (table.clone(), Arc::clone(version))).collect();
        let keys = changed(&view.lineages, (&self.seen, &now), &cancel).unwrap()?;
        let field = view.schema.field(keys.column());
        let texts = keys.values().iter().map(ToString::to_string).collect();
        if keys.is_empty() {
            return Some((Change::default(), texts));
        }
        let plan = self.state.create_logical_plan(&view.sql).await.unwrap();
        let name = Expr::Column(plan.schema().columns()[keys.column()].clone());
        let condition = one_of(&name, keys.values().to_vec(), field.pg_type());
        let limited = LogicalPlanBuilder::from(plan).filter(condition).unwrap().build().unwrap();
        let wanted = self.rows_of(&limited, &view.schema).await;
        let change = difference((view.output.version(), &view.schema), &keys, wanted, &cancel).unwrap();
        Some((change.unwrap(), texts))
    }

    /// Takes one step with all that has changed, which must make every view what its query gives.
    async fn step(&mut self) {
        self.register();
        let now = self.versions();
        for at in 0..self.views.len() {
            let view = &self.views[at];
            let whole = self.state.create_logical_plan(&view.sql).await.unwrap();
            let answer = self.rows_of(&whole, &view.schema).await;
            let by_key = self.by_key(view, &now).await;
            let view = &mut self.views[at];
            let change = match by_key {
                Some((change, keys)) => {
                    (view.ways.0, view.keys) = (view.ways.0 + 1, Some(keys));
                    change
                }
                None => {
                    (view.ways.1, view.keys) = (view.ways.1 + 1, None);
                    recompute::difference(view.output.version(), &view.schema, answer.clone()).unwrap()
                }
            };
            view.output.apply(&change).unwrap_or_else(|broken| panic!("{}: {broken}", view.sql));
            assert_eq!(counted(&contents(&view.output)), counted(&answer), "{} by {:?}", view.sql, view.keys);
        }
        self.seen = now;
    }
}

fn maybe<T>(random: &mut StdRng, value: T) -> Option<T> {
    (random.random_range(0..5) > 0).then_some(value)
}

fn word(random: &mut StdRng) -> Option<&'static str> {
    let words = ["x", "y", "z", "", "a word that is longer than the others"];
    let word = words[random.random_range(0..words.len())];
    maybe(random, word)
}

fn number(random: &mut StdRng) -> Option<i64> {
    let number = random.random_range(0..6_i64);
    maybe(random, number)
}

fn row_of(table: &str, id: i64, random: &mut StdRng) -> Row {
    if table == "a" {
        let halves = f64::from(random.random_range(-6..12_i32)) / 2.0;
        let (g, n, f) = (word(random), number(random), maybe(random, halves));
        return vec![int(id), text(g), int(n), float(f), text(word(random))];
    }
    let of = random.random_range(0..12_i64);
    vec![int(id), int(maybe(random, of)), int(number(random)), text(word(random))]
}

#[tokio::test]
async fn rows_computed_by_key_are_those_of_the_whole_query_after_every_step() {
    for seed in 0..3 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut stage = Stage::over(QUERIES).await;
        for step in 0..16 {
            // All rows come at first, and go in between; in some steps one table alone changes, and in one none.
            let most = if step == 0 || step == 9 { 24 } else { 4 };
            for name in ["a", "b"] {
                if step == 8 {
                    let ids: Vec<i64> = stage.rows.keys().filter(|(known, _)| *known == name).map(|(_, id)| *id).collect();
                    ids.into_iter().for_each(|id| stage.put(name, id, None));
                } else if step != 12 && (step % 3 != 1 || name == "a") && (step % 3 != 2 || name == "b") {
                    for _ in 0..random.random_range(1..=most) {
                        let id = random.random_range(0..12);
                        let row = (random.random_range(0..3) > 0).then(|| row_of(name, id, &mut random));
                        if row.is_some() || stage.rows.contains_key(&(name, id)) {
                            stage.put(name, id, row);
                        }
                    }
                }
            }
            stage.step().await;
        }
        for view in &stage.views {
            // The first step has nothing to go on with; a table without a key has changed in some others.
            assert!(view.ways.1 >= 1 && view.ways.0 >= 4, "{}: {:?}", view.sql, view.ways);
            let reads: Vec<&TableKey> = view.reads.iter().collect();
            let has_all = view.lineages.of_all(&reads).is_some();
            assert!(!has_all || view.ways.1 == 1, "{}: {:?}", view.sql, view.ways);
        }
    }
}

fn of_a(id: i64, g: Option<&str>, n: i64) -> Option<Row> {
    Some(vec![int(id), text(g), int(n), float(0.5), text("t")])
}

#[tokio::test]
async fn a_row_that_moves_concerns_the_groups_that_it_has_left_and_come_to_and_no_others() {
    let mut stage = Stage::over(&[QUERIES[0], QUERIES[3]]).await;
    for (id, g) in [(1, Some("x")), (2, Some("x")), (3, Some("y")), (4, Some("z")), (5, None)] {
        stage.put("a", id, of_a(id, g, id));
    }
    stage.step().await;
    assert!(stage.views.iter().all(|view| view.keys.is_none()), "there was nothing to go on with");
    let concerns = |stage: &Stage, groups: &[&str]| {
        let groups: BTreeSet<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        assert!(stage.views.iter().all(|view| view.keys.as_ref() == Some(&groups)), "{:?}", stage.views[0].keys);
    };
    stage.put("a", 1, of_a(1, Some("y"), 1));
    stage.step().await;
    concerns(&stage, &["x", "y"]);
    stage.put("a", 5, of_a(5, Some("z"), 5));
    stage.step().await;
    concerns(&stage, &["NULL", "z"]);
    stage.put("a", 4, None);
    stage.put("a", 6, of_a(6, None, 6));
    stage.step().await;
    concerns(&stage, &["NULL", "z"]);
    // What is no table of theirs.
    stage.put("b", 1, Some(vec![int(1), int(1), int(1), text("x")]));
    stage.step().await;
    concerns(&stage, &[]);
}

#[tokio::test]
async fn more_keys_than_are_asked_for_at_once_take_the_whole_query() {
    let mut stage = Stage::over(&["SELECT n, sum(f) AS s FROM a GROUP BY n"]).await;
    stage.step().await;
    let most = i64::try_from(KEYS_MAX).unwrap();
    for id in 0..most {
        stage.put("a", id, of_a(id, None, id));
    }
    stage.step().await;
    assert_eq!(stage.views[0].keys.as_ref().map(BTreeSet::len), Some(KEYS_MAX));
    for id in 0..=most {
        stage.put("a", id, of_a(id, None, most + id));
    }
    stage.step().await;
    assert_eq!((stage.views[0].keys.as_ref(), stage.views[0].ways), (None, (1, 2)));
}

#[tokio::test]
async fn keys_that_take_too_much_take_the_whole_query() {
    let mut stage = Stage::over(&["SELECT g, sum(f) AS s FROM a GROUP BY g"]).await;
    stage.step().await;
    let (count, long) = (900, "x".repeat(KEYS_BYTES_MAX / 800));
    assert!(count < i64::try_from(KEYS_MAX).unwrap());
    for id in 0..count {
        stage.put("a", id, of_a(id, Some(&format!("{long}{id}")), id));
    }
    stage.step().await;
    assert_eq!((stage.views[0].keys.as_ref(), stage.views[0].ways), (None, (0, 2)));
}

#[tokio::test]
async fn a_change_in_columns_that_a_view_does_not_read_is_none_of_it() {
    let sql = "SELECT a.g, b.v, row_number() OVER (PARTITION BY a.g ORDER BY a.id) AS r FROM a JOIN b ON b.id = a.n";
    let mut stage = Stage::over(&[sql]).await;
    let of_b = |v: i64, s: &str| Some(vec![int(1), int(1), int(v), text(s)]);
    stage.put("a", 1, of_a(1, Some("x"), 1));
    stage.put("b", 1, of_b(1, "s"));
    stage.step().await;
    stage.put("b", 1, of_b(1, "t"));
    stage.step().await;
    assert_eq!((stage.views[0].keys.as_ref(), stage.views[0].ways), (Some(&BTreeSet::new()), (1, 1)));
    // Beside it a row with a key.
    stage.put("b", 1, of_b(1, "u"));
    stage.put("a", 1, of_a(1, Some("y"), 1));
    stage.step().await;
    assert_eq!((stage.views[0].keys.as_ref().map(BTreeSet::len), stage.views[0].ways), (Some(2), (2, 1)));
    stage.put("b", 1, of_b(2, "u"));
    stage.step().await;
    assert_eq!((stage.views[0].keys.as_ref(), stage.views[0].ways), (None, (2, 2)));
}

#[tokio::test]
async fn each_change_is_asked_for_by_the_column_that_its_table_has() {
    let sql = "SELECT a.g, b.s, row_number() OVER (PARTITION BY a.g, b.s ORDER BY a.id, b.id) AS r FROM a JOIN b ON b.v = a.n";
    let mut stage = Stage::over(&[sql]).await;
    let of_b = |v: i64, s: &str| Some(vec![int(1), int(1), int(v), text(s)]);
    stage.put("a", 1, of_a(1, Some("x"), 1));
    stage.put("b", 1, of_b(1, "s"));
    stage.step().await;
    let by = |stage: &Stage, keys: &[&str]| {
        let keys: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(stage.views[0].keys.as_ref(), Some(&keys));
    };
    stage.put("a", 1, of_a(1, Some("y"), 1));
    stage.step().await;
    by(&stage, &["x", "y"]);
    stage.put("b", 1, of_b(1, "t"));
    stage.step().await;
    by(&stage, &["s", "t"]);
    stage.put("a", 1, of_a(1, Some("z"), 1));
    stage.put("b", 1, of_b(1, "u"));
    stage.step().await;
    assert_eq!(stage.views[0].ways, (2, 2), "no column is known of both");
}

#[test]
fn rows_that_nobody_has_asked_for_are_noticed_and_what_is_cancelled_ends() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
    let mut output = Output::new(key_of("view").1, &schema, None).unwrap();
    let (mut keys, cancel) = (Keys::new(0, &DataType::Int64).unwrap(), CancellationToken::new());
    assert!(keys.take(&int(1).to_array().unwrap()).unwrap());
    let with = |value: i64| vec![batch(&schema, &[int(value)])];
    let asked = difference((output.version(), &schema), &keys, with(1), &cancel).unwrap();
    assert!(asked.is_some_and(|change| change.removed.is_empty() && !change.added.is_empty()));
    assert!(difference((output.version(), &schema), &keys, with(2), &cancel).unwrap().is_none());
    // What is cancelled ends at the next batch of rows.
    output.apply(&Change { removed: Vec::new(), added: with(1) }).unwrap();
    cancel.cancel();
    let ended = difference((output.version(), &schema), &keys, Vec::new(), &cancel);
    assert!(matches!(ended, Err(Failed::Ended)));
}
