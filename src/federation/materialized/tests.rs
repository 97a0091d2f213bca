//! Views whose rows are told apart from what their queries give.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;

use super::*;
use crate::cache::{Consistency, OnStale};
use crate::catalog::kept::{CheckOption, KeptColumn, KeptView, Materialization};
use crate::catalog::materialized::{MaterializedViews, Standing};
use crate::catalog::object::Objects;
use crate::catalog::snapshot::SessionFacts;
use crate::catalog::{Schema as Names, Snapshot};
use crate::federation::branches::BranchKind;
use crate::federation::engine::{Engine, Limits};
use crate::federation::explain;
use crate::federation::generic::PlanMode;
use crate::federation::plan::{self, Bound, Setting, parse_query};
use crate::pgtype::PgType;
use crate::stores::change::Shape;

/// `(id integer, name text)`, whose key is the id.
fn version(rows: &[(i32, &str)]) -> Arc<TableVersion> {
    let column = |name: &str, data_type: DataType, pg_type: PgType| Column {
        field: Field::new(name, data_type, name != "id").with_pg_type(pg_type),
        native_type: String::new(),
        default: None,
        generated: Generated::No,
        comment: None,
        collation: Collation::Bytes,
        statistics: ColumnStatistics::default(),
    };
    let columns = vec![column("id", DataType::Int32, PgType::INT4), column("name", DataType::Utf8, PgType::TEXT)];
    let table = Arc::new(Table::plain("public", "v", columns));
    let ids = Int32Array::from_iter_values(rows.iter().map(|row| row.0));
    let names = StringArray::from_iter_values(rows.iter().map(|row| row.1));
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(names)];
    let batch = RecordBatch::try_new(Arc::clone(&table.schema), columns).unwrap();
    let empty = TableVersion::empty(&table, &Shape::of(&table, vec![0], vec![true; 2])).unwrap();
    Arc::new(empty.filled(&batch).unwrap())
}

/// Who chooses what the test says; of any other view its query.
#[derive(Debug, Default)]
struct Said {
    chosen: BTreeMap<String, Chosen>,
    asked: AtomicUsize,
}

#[async_trait]
impl Materialized for Said {
    async fn decide(&self, (_schema, name): (&str, &str), _wants: &Wants) -> Chosen {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.chosen.get(name).cloned().unwrap_or(Chosen::Query("the test says so"))
    }

    fn maintained(&self, _view: (&str, &str)) -> Option<String> {
        Some("incrementally".to_owned())
    }
}

impl MaterializedViews for Said {
    fn states(&self) -> Vec<Standing> {
        Vec::new()
    }

    fn are_served(&self) -> bool {
        true
    }
}

fn rows_of_view(rows: &[(i32, &str)]) -> Chosen {
    Chosen::Rows(ViewRows {
        version: version(rows),
        columns: 2,
        age: Some(Duration::from_micros(6_001)),
        position: Some("shop: p".to_owned()),
    })
}

struct Room {
    engine: Engine,
    setting: Setting,
    said: Arc<Said>,
}

impl Room {
    /// With `v`, which has been filled or not, and whose query gives the row `7|query`, and `w` over it, whose ids are larger by ten.
    fn new(chosen: &[(&str, Chosen)], with_data: bool) -> Self {
        let view = |oid, name: &str, sql: &str, with_data| {
            let named = |column: &str| KeptColumn { inner: column.to_owned(), name: column.to_owned() };
            let kept = KeptView {
                schema: "public".to_owned(),
                name: name.to_owned(),
                sql: sql.to_owned(),
                columns: vec![named("id"), named("name")],
                owner: "ann".to_owned(),
                check: CheckOption::None,
                materialized: Some(Materialization { with_data, indexes: Vec::new() }),
            };
            let columns = vec![("id".to_owned(), PgType::INT4), ("name".to_owned(), PgType::TEXT)];
            let body = RelationBody::View { sql: sql.to_owned(), columns, kept: Some(Arc::new(kept)) };
            (name.to_owned(), Arc::new(Relation { oid, schema: "public".to_owned(), name: name.to_owned(), body }))
        };
        let relations = [
            view(20_001, "v", "SELECT CAST(7 AS integer) AS id, CAST('query' AS text) AS name", with_data),
            view(20_002, "w", "SELECT id + 10 AS id, name FROM public.v", true),
        ];
        let schema = Names {
            name: "public".to_owned(),
            oid: 2200,
            store: None,
            namespace: String::new(),
            relations: relations.into_iter().collect(),
            unavailable: None,
        };
        let snapshot = Snapshot {
            version: 1,
            database: "tributary".to_owned(),
            schemas: BTreeMap::from([("public".to_owned(), schema)]),
            objects: Objects::default(),
            connectors: Arc::default(),
            reach: Arc::default(),
            retired: tokio_util::sync::CancellationToken::new(),
        };
        let chosen = chosen.iter().map(|(name, chosen)| ((*name).to_owned(), chosen.clone())).collect();
        let said = Arc::new(Said { chosen, asked: AtomicUsize::new(0) });
        let served = Arc::clone(&said);
        let facts = SessionFacts { views: served, ..SessionFacts::default() };
        let setting = Setting { facts: Arc::new(facts), ..Setting::of_server(Arc::new(snapshot)) };
        Self { engine: Engine::new(&Limits::default()).unwrap(), setting, said }
    }

    fn branches(&self, kind: BranchKind) -> Arc<Branches> {
        let wants = Wants {
            consistency: Consistency::Session,
            max_staleness: None,
            on_stale: OnStale::Store,
            deadline: None,
            session: Arc::default(),
            shows_as_server: true,
        };
        let said = Arc::clone(&self.said);
        Arc::new(Branches::new(&self.setting.snapshot, kind, None).with_views(said, Arc::new(wants)))
    }

    async fn planned(&self, sql: &str, given: &[u32]) -> Planned {
        plan::plan_aside(&self.engine, &self.setting, parse_query(sql).unwrap(), given).await.unwrap()
    }

    async fn bound(&self, sql: &str, branches: &Arc<Branches>) -> std::result::Result<Bound, Diagnosis> {
        let planned = self.planned(sql, &[]).await;
        plan::bind_aside(&self.engine, &self.setting, &planned, &[], branches).await
    }

    /// The rows as texts, sorted.
    async fn answer(&self, sql: &str) -> Vec<String> {
        texts(self.bound(sql, &self.branches(BranchKind::Statement)).await.unwrap()).await
    }
}

async fn texts(bound: Bound) -> Vec<String> {
    let batches: Vec<RecordBatch> = bound.run().unwrap().try_collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| ScalarValue::try_from_array(column, row).unwrap().to_string());
            rows.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    rows.sort();
    rows
}

const ROWS: [(i32, &str); 4] = [(1, "one"), (2, "two"), (3, "three"), (4, "four")];

#[tokio::test]
async fn rows_are_read_by_key_or_all_and_conditions_are_met() {
    let room = Room::new(&[("v", rows_of_view(&ROWS))], true);
    let rows: [(&str, &[&str]); 9] = [
        ("SELECT id, name FROM v", &["1|one", "2|two", "3|three", "4|four"]),
        ("SELECT name FROM v WHERE id = 2", &["two"]),
        ("SELECT name FROM v WHERE id IN (3, 9, 3)", &["three"]),
        ("SELECT name FROM v WHERE id = 2 AND name = 'one'", &[]),
        ("SELECT id FROM v WHERE name = 'four'", &["4"]),
        ("SELECT count(*) FROM v", &["4"]),
        ("SELECT id FROM v ORDER BY id DESC LIMIT 1", &["4"]),
        ("SELECT a.name FROM v a JOIN v b ON a.id = b.id + 3", &["four"]),
        ("SELECT v.name FROM (VALUES (2), (9)) AS k(id) JOIN v ON v.id = k.id", &["two"]),
    ];
    for (sql, expected) in rows {
        assert_eq!(room.answer(sql).await, expected, "{sql}");
    }
    assert_eq!(room.answer("SELECT id FROM v WHERE id > 1 LIMIT 2").await.len(), 2);
}

#[tokio::test]
async fn a_statement_asks_once_for_each_view() {
    let room = Room::new(&[("v", rows_of_view(&ROWS))], true);
    room.answer("SELECT 1 FROM v a, v b WHERE a.id = (SELECT max(id) FROM v)").await;
    assert_eq!(room.said.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn where_rows_do_not_serve_the_query_is_run() {
    let room = Room::new(&[], true);
    assert_eq!(room.answer("SELECT id, name FROM v WHERE id = 7").await, ["7|query"]);
    assert_eq!(room.answer("SELECT id FROM v WHERE name <> 'query'").await, Vec::<String>::new());
    assert_eq!(room.answer("SELECT id FROM v WHERE id IN (SELECT id FROM v)").await, ["7"]);
    // Rows of other columns than the plan knows are none of the view's.
    let other = Chosen::Rows(ViewRows { version: version(&ROWS), columns: 1, age: None, position: None });
    assert_eq!(Room::new(&[("v", other)], true).answer("SELECT name FROM v").await, ["query"]);
}

#[tokio::test]
async fn a_block_that_keeps_one_state_and_a_plan_that_nobody_has_settled_run_the_query() {
    let room = Room::new(&[("v", rows_of_view(&ROWS))], true);
    let branches = room.branches(BranchKind::Transaction { read_only: true, repeatable: true });
    assert_eq!(texts(room.bound("SELECT name FROM v", &branches).await.unwrap()).await, ["query"]);
    let planned = room.planned("SELECT name FROM v", &[]).await;
    let branches = room.branches(BranchKind::Statement);
    let bound = plan::bind(&room.engine, &room.setting, &planned, &[], &branches).await.unwrap();
    assert_eq!(texts(bound).await, ["query"]);
}

#[tokio::test]
async fn a_view_over_a_view_may_read_its_rows() {
    let room = Room::new(&[("v", rows_of_view(&ROWS))], true);
    assert_eq!(room.answer("SELECT id, name FROM w WHERE id < 13").await, ["11|one", "12|two"]);
    let room = Room::new(&[("w", rows_of_view(&ROWS))], true);
    assert_eq!(room.answer("SELECT w.id, v.id FROM w, v WHERE w.id = 1").await, ["1|7"]);
    assert_eq!(Room::new(&[], true).answer("SELECT id, name FROM w").await, ["17|query"]);
}

#[tokio::test]
async fn a_plan_for_all_values_reads_rows_and_one_for_a_query_stands_alone() {
    for (chosen, id, expected) in [(Some(rows_of_view(&ROWS)), 2, vec!["two"]), (None, 7, vec!["query"]), (None, 2, vec![])] {
        let chosen: Vec<(&str, Chosen)> = chosen.into_iter().map(|chosen| ("v", chosen)).collect();
        let mut room = Room::new(&chosen, true);
        room.setting.plan_mode = PlanMode::Generic;
        let planned = room.planned("SELECT name FROM v WHERE id = $1", &[PgType::INT4.oid]).await;
        for _ in 0..3 {
            let (branches, values) = (room.branches(BranchKind::Statement), [ScalarValue::Int32(Some(id))]);
            let bound = plan::bind_aside(&room.engine, &room.setting, &planned, &values, &branches).await.unwrap();
            assert_eq!(texts(bound).await, expected, "{id}");
        }
    }
}

#[tokio::test]
async fn what_was_never_filled_and_what_is_too_old_is_an_error() {
    let room = Room::new(&[("v", rows_of_view(&ROWS))], false);
    let error = room.bound("SELECT 1 FROM v", &room.branches(BranchKind::Statement)).await.unwrap_err();
    assert_eq!((error.sqlstate.as_str(), error.message.as_str()), ("55000", "materialized view \"v\" has not been populated"));
    assert_eq!(room.said.asked.load(Ordering::Relaxed), 0);
    // What stands on it keeps rows of its own, or gives them by both queries.
    assert_eq!(Room::new(&[("w", rows_of_view(&ROWS))], false).answer("SELECT name FROM w WHERE id = 1").await, ["one"]);
    assert_eq!(Room::new(&[], false).answer("SELECT id FROM w").await, ["17"]);
    let stale = Chosen::Refused(Box::new(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, "not fresh enough")));
    let room = Room::new(&[("v", stale)], true);
    let error = room.bound("SELECT 1 FROM v", &room.branches(BranchKind::Statement)).await.unwrap_err();
    assert_eq!(error.message, "not fresh enough");
}

#[tokio::test]
async fn plans_say_what_a_view_is_read_from() {
    let room = Room::new(&[("v", rows_of_view(&ROWS))], true);
    let branches = room.branches(BranchKind::Statement);
    let bound = room.bound("SELECT v.id FROM v JOIN w ON w.id = v.id", &branches).await.unwrap();
    let lines = explain::lines(&bound, &branches, false).await.unwrap();
    let told = |line: &str| assert!(lines.iter().any(|shown| shown == line), "{line}: {lines:#?}");
    told("Maintained: incrementally (public.v)");
    told("Source: rows of the view, at most 7 ms old, position shop: p (public.v)");
    told("Source: query of the view, the test says so (public.w)");
    assert!(lines.iter().any(|line| line.contains("ViewExec: public.v")), "{lines:#?}");
    let json: serde_json::Value = serde_json::from_str(&explain::json(&bound, &branches, false).await.unwrap()).unwrap();
    assert_eq!(json[0]["Views"][0]["Source"], "rows");
    assert_eq!(json[0]["Views"][1]["Reason"], "the test says so");
}
