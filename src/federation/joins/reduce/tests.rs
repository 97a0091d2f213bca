//! Which aggregates are reduced, over three tables of a store and one of another.

use async_trait::async_trait;
use datafusion::arrow::datatypes::Field;
use datafusion::datasource::provider_as_source;
use datafusion::functions::math::random;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::{GroupingSet, LogicalPlanBuilder};
use datafusion::prelude::{col, lit};

use super::*;
use crate::federation::provider::StoredTable;
use crate::stores::connector::{Branch, Capabilities, Purpose};
use crate::stores::fragment::Refusal;
use crate::stores::position::{Coverage, Position};
use crate::stores::schema::{Collation, Column as StoredColumn, ColumnStatistics, Generated, Key, StoreSchema, TableId, TableKind};
use crate::stores::{Connector, Predicate, Pushdown, Scan, StoreError, StoreName, Table};

/// A store that is only planned for.
#[derive(Debug)]
struct Planned {
    name: StoreName,
    takes_joins: bool,
}

#[async_trait]
impl Connector for Planned {
    fn name(&self) -> &StoreName {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "planned"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { statement_snapshot: true, prepare: false, like: true, documents: false, cancel: false, keys_max: 0 }
    }

    async fn discover(&self) -> Result<StoreSchema, StoreError> {
        Err(StoreError::Unsupported { store: self.name.to_string(), feature: "discovery" })
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn pushdown(&self, _table: &Table, predicate: &Predicate) -> Pushdown {
        Pushdown::Exact(predicate.clone())
    }

    fn describe_scan(&self, _table: &Table, _scan: &Scan) -> String {
        String::new()
    }

    fn accepts(&self, relation: &Relation, _tables: &Tables) -> Result<(), Refusal> {
        if self.takes_joins { Ok(()) } else { Err(Refusal::new(relation.name(), "it is refused")) }
    }

    async fn open(&self, _purpose: Purpose) -> Result<Arc<dyn Branch>, StoreError> {
        Err(StoreError::Unsupported { store: self.name.to_string(), feature: "branches" })
    }

    fn covers(&self, _applied: &Position, _wanted: &Position) -> Coverage {
        Coverage::Incomparable
    }

    async fn close(&self) {}
}

struct Room {
    main: Arc<dyn Connector>,
    other: Arc<dyn Connector>,
    rows: Option<u64>,
}

impl Room {
    fn new() -> Self {
        Self::with(true, Some(6_000_000))
    }

    fn with(takes_joins: bool, rows: Option<u64>) -> Self {
        let store = |name: &str| Arc::new(Planned { name: StoreName::new(name), takes_joins });
        Self { main: store("main"), other: store("other"), rows }
    }

    fn scan(
        &self,
        store: &Arc<dyn Connector>,
        name: &str,
        rows: Option<u64>,
        key: bool,
        columns: Vec<(&str, DataType, u64)>,
    ) -> LogicalPlanBuilder {
        let columns: Vec<StoredColumn> = columns
            .into_iter()
            .map(|(name, data_type, distinct)| StoredColumn {
                field: Field::new(name, data_type, true),
                native_type: String::new(),
                default: None,
                generated: Generated::No,
                comment: None,
                collation: Collation::Bytes,
                statistics: ColumnStatistics { distinct: Some(distinct), ..ColumnStatistics::default() },
            })
            .collect();
        let table = Table {
            id: TableId { namespace: "m".to_owned(), name: name.to_owned() },
            kind: TableKind::Table,
            primary_key: key.then(|| Key { name: String::new(), columns: vec![0], proven: true }),
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: rows,
            division: None,
            schema: Table::arrow_schema(&columns),
            columns,
        };
        let source = provider_as_source(Arc::new(StoredTable::new(store, Arc::new(table))));
        LogicalPlanBuilder::scan(name, source, None).unwrap()
    }

    /// 200,000 parts of 25 brands.
    fn part(&self) -> LogicalPlanBuilder {
        let columns = vec![("partkey", DataType::Int32, 200_000), ("brand", DataType::Utf8, 25), ("size", DataType::Int32, 50)];
        self.scan(&self.main, "part", Some(200_000), true, columns)
    }

    /// The same in another store.
    fn far_part(&self) -> LogicalPlanBuilder {
        let columns = vec![("partkey", DataType::Int32, 200_000), ("brand", DataType::Utf8, 25)];
        self.scan(&self.other, "part", Some(200_000), true, columns)
    }

    fn wanted(&self) -> LogicalPlanBuilder {
        self.part().filter(col("part.brand").eq(lit("x"))).unwrap()
    }

    /// 6,000,000 lines of 200,000 parts; their keys are of a wider type.
    fn line(&self) -> LogicalPlanBuilder {
        let columns =
            vec![("part", DataType::Int64, 200_000), ("supplier", DataType::Int32, 10_000), ("quantity", DataType::Int64, 50)];
        self.scan(&self.main, "line", self.rows, false, columns)
    }

    fn sums(&self) -> LogicalPlanBuilder {
        sums(self.line())
    }
}

fn sum() -> Expr {
    sum_udaf().call(vec![col("line.quantity")])
}

fn sums(input: LogicalPlanBuilder) -> LogicalPlanBuilder {
    input.aggregate(vec![col("line.part"), col("line.supplier")], vec![sum()]).unwrap()
}

/// Joins by the parts' keys.
fn joined(left: LogicalPlanBuilder, right: LogicalPlanBuilder, kind: JoinType, keys: (&str, &str)) -> LogicalPlan {
    left.join(right.build().unwrap(), kind, (vec![keys.0], vec![keys.1]), None).unwrap().build().unwrap()
}

const KEYS: (&str, &str) = ("part.partkey", "line.part");

fn reduced(plan: LogicalPlan) -> Option<String> {
    let changed = reduce(plan.clone()).unwrap();
    assert_eq!(changed.schema().columns(), plan.schema().columns());
    // A second time nothing is left to do.
    assert_eq!(reduce(changed.clone()).unwrap(), changed);
    (changed != plan).then(|| changed.display_indent().to_string())
}

#[track_caller]
fn check(plan: LogicalPlan, expected: bool) {
    let shown = plan.display_indent().to_string();
    assert_eq!(reduced(plan).is_some(), expected, "{shown}");
}

#[test]
fn only_the_groups_that_are_wanted_are_made() {
    let room = Room::new();
    let lines = reduced(joined(room.wanted(), room.sums(), JoinType::Left, KEYS)).unwrap();
    let lines: Vec<&str> = lines.lines().map(str::trim_start).collect();
    let expected = [
        "Left Join: part.partkey = line.part",
        "Filter: part.brand = Utf8(\"x\")",
        "TableScan: part",
        "Aggregate: groupBy=[[line.part, line.supplier]], aggr=[[sum(line.quantity)]]",
        "LeftSemi Join: line.part = CAST(__reduced_0.partkey AS Int64)",
        "TableScan: line",
        "SubqueryAlias: __reduced_0",
        "Projection: part.partkey",
        "Filter: part.brand = Utf8(\"x\")",
        "TableScan: part projection=[partkey, brand]",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn joins_say_which_side_counts_only_by_its_partners() {
    use JoinType::{Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightSemi};
    let room = Room::new();
    let kinds = [
        (Inner, true, true),
        (Left, true, false),
        (Right, false, true),
        (Full, false, false),
        (LeftSemi, true, true),
        (RightSemi, true, true),
        (LeftAnti, true, false),
        (RightAnti, false, true),
        (LeftMark, false, false),
    ];
    for (kind, second, first) in kinds {
        check(joined(room.wanted(), room.sums(), kind, KEYS), second);
        check(joined(room.sums(), room.wanted(), kind, (KEYS.1, KEYS.0)), first);
    }
}

#[test]
fn keys_are_followed_through_what_keeps_groups_apart() {
    let room = Room::new();
    let renamed = || room.sums().project(vec![col("line.part").alias("p"), col("sum(line.quantity)").alias("s")]).unwrap();
    let filtered = renamed().filter(col("s").gt(lit(5_i64))).unwrap().sort(vec![col("s").sort(true, true)]).unwrap();
    let aliased = filtered.alias("t").unwrap().distinct().unwrap();
    check(joined(room.wanted(), aliased, JoinType::Inner, ("part.partkey", "t.p")), true);
    // The wanted keys of another join, through an equality.
    let lines = room.line().alias("l").unwrap();
    let both = joined(lines.clone(), room.wanted(), JoinType::LeftSemi, ("l.part", "part.partkey"));
    check(joined(LogicalPlanBuilder::from(both), room.sums(), JoinType::LeftSemi, ("l.part", "line.part")), true);
    let stacked = joined(lines, room.sums(), JoinType::Left, ("l.part", "line.part"));
    check(joined(LogicalPlanBuilder::from(stacked), room.wanted(), JoinType::Inner, ("l.part", "part.partkey")), true);
    // Groups of groups: once for each aggregate.
    let inner =
        sums(room.line()).aggregate(vec![col("line.part")], vec![sum_udaf().call(vec![col("sum(line.quantity)")])]).unwrap();
    let lines = reduced(joined(room.wanted(), inner, JoinType::Left, KEYS)).unwrap();
    assert_eq!(lines.matches("LeftSemi Join").count(), 1, "{lines}");
}

#[test]
fn groups_that_depend_on_one_another_stay() {
    let room = Room::new();
    let keys = KEYS;
    check(joined(room.wanted(), room.sums().limit(0, Some(5)).unwrap(), JoinType::Inner, keys), false);
    let top = room.sums().sort_with_limit(vec![col("line.part").sort(true, true)], Some(5)).unwrap();
    check(joined(room.wanted(), top, JoinType::Inner, keys), false);
    let random = random().call(Vec::new());
    check(joined(room.wanted(), room.sums().filter(random.clone().gt(lit(0.5))).unwrap(), JoinType::Inner, keys), false);
    let sets = vec![Expr::GroupingSet(GroupingSet::Rollup(vec![col("line.part"), col("line.supplier")]))];
    check(joined(room.wanted(), room.line().aggregate(sets, vec![sum()]).unwrap(), JoinType::Inner, keys), false);
    let ordered = vec![array_agg_udaf().call(vec![col("line.quantity")])];
    check(joined(room.wanted(), room.line().aggregate(vec![col("line.part")], ordered).unwrap(), JoinType::Inner, keys), false);
    let computed = room.line().aggregate(vec![(col("line.part") + lit(1_i64)).alias("p")], vec![sum()]).unwrap();
    check(joined(room.wanted(), computed, JoinType::Inner, ("part.partkey", "p")), false);
    // The value of an aggregate is no key, and another column has other values.
    check(joined(room.wanted(), room.sums(), JoinType::Inner, ("part.partkey", "sum(line.quantity)")), false);
    check(joined(room.wanted(), room.sums(), JoinType::Inner, ("part.size", "line.part")), true);
}

#[test]
fn only_few_rows_of_the_same_store_that_a_copy_would_find_again() {
    let room = Room::new();
    check(joined(room.part(), room.sums(), JoinType::Left, KEYS), false);
    let third = room.part().filter(col("part.size").gt(lit(40))).unwrap();
    check(joined(third, room.sums(), JoinType::Left, KEYS), false);
    let far = room.far_part().filter(col("part.brand").eq(lit("x"))).unwrap();
    check(joined(far, room.sums(), JoinType::Left, KEYS), false);
    let changing = room.wanted().filter(random().call(Vec::new()).gt(lit(0.5))).unwrap();
    let lines = reduced(joined(changing, room.sums(), JoinType::Left, KEYS)).unwrap();
    assert_eq!(lines.matches("random()").count(), 1, "{lines}");
    let limited = room.wanted().limit(0, Some(3)).unwrap();
    let lines = reduced(joined(limited, room.sums(), JoinType::Left, KEYS)).unwrap();
    assert_eq!(lines.matches("Limit:").count(), 1, "{lines}");
    // Lines that are few already need no more.
    let few = room.line().filter(col("line.supplier").eq(lit(1))).unwrap();
    check(joined(room.wanted(), sums(few), JoinType::Left, KEYS), false);
    check(joined(room.wanted(), Room::with(true, None).sums(), JoinType::Left, KEYS), false);
    let refusing = Room::with(false, Some(6_000_000));
    check(joined(refusing.wanted(), refusing.sums(), JoinType::Left, KEYS), false);
}

#[test]
fn joins_in_which_null_counts_stay() {
    let room = Room::new();
    let join = |nulls, aware, kind| {
        let (left, right) = (Arc::new(room.wanted().build().unwrap()), Arc::new(room.sums().build().unwrap()));
        let on = vec![(cast(col("part.partkey"), DataType::Int64), col("line.part"))];
        LogicalPlan::Join(Join::try_new(left, right, on, None, kind, JoinConstraint::On, nulls, aware).unwrap())
    };
    check(join(NullEquality::NullEqualsNothing, false, JoinType::LeftAnti), true);
    check(join(NullEquality::NullEqualsNothing, true, JoinType::LeftAnti), false);
    check(join(NullEquality::NullEqualsNull, false, JoinType::LeftSemi), false);
}
