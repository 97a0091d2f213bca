//! What relations look like as SQL, in the plainest phrasing.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use super::super::super::connector::{Scan, StoreName};
use super::super::super::fragment::{
    Aggregate, AggregateCall, Bound, Expression, Frame, FrameUnit, Function, JoinKind, Node, Relation, Shape, SortKey, Tables,
    WindowCall, WindowFunction,
};
use super::super::super::predicate::{ColumnRef, Comparison, Predicate};
use super::super::super::schema::{Collation, Column, Generated, Table, TableId, TableKind};
use super::super::super::value::Value;
use super::super::dialect::Dialect;
use super::super::predicate::{self, Spelling, Use};
use super::super::sql::{Sql, Unwritable};
use super::{Pen, Phrasing, write};
use crate::pgtype::PgType;

/// Standard SQL; with `true`, semi joins become `IN`.
struct Plain(bool);

struct Qualified<'a>(&'a Table, &'a str);

impl Spelling for Qualified<'_> {
    fn write_column(&self, column: &ColumnRef, _purpose: Use, sql: &mut Sql) -> Result<(), Unwritable> {
        sql.push(self.1);
        sql.push(".");
        sql.push_name(self.0.columns[column.column].name());
        Ok(())
    }
}

impl Phrasing for Plain {
    fn write_condition(&self, table: &Table, alias: &str, condition: &Predicate, sql: &mut Sql) -> Result<(), Unwritable> {
        predicate::write(condition, &Qualified(table, alias), sql)
    }

    fn write_cast(&self, operand: &Expression, to: PgType, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.push("CAST(");
        pen.expression(operand)?;
        pen.push(&format!(" AS {to})"));
        Ok(())
    }

    fn prefers_in(&self, _subjects: &[Shape], _keys: &[Shape]) -> bool {
        self.0
    }

    fn kept(&self) -> Option<&'static str> {
        Some(" AS MATERIALIZED ")
    }
}

fn id(name: &str) -> TableId {
    TableId { namespace: "m".to_owned(), name: name.to_owned() }
}

/// Tables `a` and `b` with columns `x`, `y`, `z`.
fn tables() -> Tables {
    let columns: Vec<Column> = ["x", "y", "z"]
        .map(|name| Column {
            field: Field::new(name, DataType::Int32, true),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: Default::default(),
        })
        .into();
    let table = |name: &str| {
        let table = Table {
            id: id(name),
            kind: TableKind::Table,
            columns: columns.clone(),
            primary_key: None,
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: None,
            division: None,
            schema: Arc::new(Schema::empty()),
        };
        (id(name), Arc::new(table))
    };
    [table("a"), table("b")].into()
}

fn scan(name: &str, columns: &[usize], filter: Vec<Predicate>) -> Relation {
    Relation::Table(Scan { store: StoreName::new("s"), table: id(name), columns: columns.to_vec(), filter, limit: None })
}

fn below(column: usize, bound: i64) -> Predicate {
    Predicate::Compare { column: ColumnRef::of(column), op: Comparison::Less, value: Value::Int(bound) }
}

fn column(ordinal: usize) -> Expression {
    Expression::column(ordinal, PgType::INT4)
}

fn number(value: i64) -> Expression {
    Expression::new(PgType::INT4, Node::Literal(Some(Value::Int(value))))
}

fn compare(op: Comparison, left: Expression, right: Expression) -> Expression {
    Expression::condition(Node::Compare { op, left: Box::new(left), right: Box::new(right) })
}

fn equal(left: usize, right: usize) -> Expression {
    compare(Comparison::Equal, column(left), column(right))
}

fn add(left: Expression, right: Expression) -> Expression {
    Expression::new(PgType::INT4, Node::Call { function: Function::Add, arguments: vec![left, right] })
}

fn filter(input: Relation, condition: Expression) -> Relation {
    Relation::Filter { input: Box::new(input), condition }
}

fn project(input: Relation, expressions: Vec<Expression>) -> Relation {
    Relation::Project { input: Box::new(input), expressions }
}

fn join(left: Relation, right: Relation, kind: JoinKind, condition: Expression) -> Relation {
    Relation::Join { left: Box::new(left), right: Box::new(right), kind, condition: Some(condition) }
}

fn count() -> AggregateCall {
    AggregateCall { aggregate: Aggregate::CountRows, argument: None, distinct: false, filter: None, pg_type: PgType::INT8 }
}

fn group(input: Relation, groups: Vec<Expression>, calls: Vec<AggregateCall>) -> Relation {
    Relation::Aggregate { input: Box::new(input), groups, calls }
}

fn sort(input: Relation, ordinal: usize, limit: Option<u64>) -> Relation {
    let keys = vec![SortKey { expression: column(ordinal), descending: true, nulls_first: false }];
    Relation::Sort { input: Box::new(input), keys, offset: 0, limit }
}

fn check_as(prefers_in: bool, relation: &Relation, expected: &str) {
    let mut sql = Sql::bound(Dialect::Postgres);
    write(relation, &tables(), &Plain(prefers_in), None, &mut sql).unwrap();
    assert_eq!(sql.text().replace('"', ""), expected);
}

fn check(relation: &Relation, expected: &str) {
    check_as(false, relation, expected);
}

#[test]
fn what_is_plainly_one_select_is_one() {
    let filtered = filter(scan("a", &[2, 0], vec![below(1, 5)]), compare(Comparison::Greater, column(0), number(7)));
    check(&filtered, "SELECT t0.z AS c0, t0.x AS c1 FROM m.a AS t0 WHERE t0.y < $1 AND (t0.z > $2)");
    let summed = project(filtered, vec![add(column(0), column(1)), column(1)]);
    check(
        &sort(summed.clone(), 0, Some(3)),
        "SELECT (t0.z + t0.x) AS c0, t0.x AS c1 FROM m.a AS t0 WHERE t0.y < $1 AND (t0.z > $2) ORDER BY (t0.z + t0.x) DESC NULLS LAST LIMIT 3",
    );
    let grouped = group(scan("a", &[0, 1], vec![]), vec![column(1)], vec![count()]);
    let having = filter(grouped, compare(Comparison::Greater, column(1), number(1)));
    check(
        &project(sort(having, 0, None), vec![column(1)]),
        "SELECT count(*) AS c0 FROM m.a AS t0 GROUP BY t0.y HAVING (count(*) > $1) ORDER BY t0.y DESC NULLS LAST",
    );
    check(&scan("a", &[], vec![]), "SELECT 1 AS c0 FROM m.a AS t0");
    // Constants order nothing.
    let constant = project(scan("a", &[0], vec![]), vec![number(5), column(0)]);
    check(&sort(constant.clone(), 0, Some(3)), "SELECT $1 AS c0, t0.x AS c1 FROM m.a AS t0 LIMIT 3");
    let keys = [number(7), column(0), column(1)].map(|expression| SortKey { expression, descending: false, nulls_first: false });
    check(
        &Relation::Sort { input: Box::new(constant), keys: keys.to_vec(), offset: 2, limit: Some(3) },
        "SELECT $1 AS c0, t0.x AS c1 FROM m.a AS t0 ORDER BY t0.x ASC NULLS LAST LIMIT 3 OFFSET 2",
    );
}

#[test]
fn what_is_behind_a_taken_part_becomes_a_derived_table() {
    let limited = sort(scan("a", &[0, 1], vec![]), 1, Some(2));
    check(
        &filter(limited.clone(), equal(0, 1)),
        "SELECT t1.c0 AS c0, t1.c1 AS c1 FROM (SELECT t0.x AS c0, t0.y AS c1 FROM m.a AS t0 ORDER BY t0.y DESC NULLS LAST LIMIT 2) AS t1 \
         WHERE (t1.c0 = t1.c1)",
    );
    // An expression after a limit sees the limited rows only, in their order.
    check(
        &project(limited, vec![add(column(0), number(1))]),
        "SELECT (t1.c0 + $1) AS c0 FROM (SELECT t0.x AS c0, t0.y AS c1, t0.y AS c2 FROM m.a AS t0 ORDER BY t0.y DESC NULLS LAST LIMIT 2) AS t1 \
         ORDER BY t1.c2 DESC NULLS LAST",
    );
    let distinct = Relation::Distinct { input: Box::new(scan("a", &[0], vec![])) };
    check(&distinct, "SELECT t1.c0 AS c0 FROM (SELECT DISTINCT t0.x AS c0 FROM m.a AS t0) AS t1");
    let key = group(scan("a", &[0], vec![]), vec![add(column(0), number(1))], vec![count()]);
    check(
        &key,
        "SELECT t1.c1 AS c0, count(*) AS c1 FROM (SELECT t0.x AS c0, (t0.x + $1) AS c1 FROM m.a AS t0) AS t1 GROUP BY t1.c1",
    );
    // Without a call there would be a row for each row.
    let constant = project(group(scan("a", &[0], vec![]), vec![], vec![count()]), vec![number(5)]);
    check(&constant, "SELECT $1 AS c0 FROM (SELECT count(*) AS c0 FROM m.a AS t0) AS t1");
    let global = filter(group(scan("a", &[0], vec![]), vec![], vec![count()]), compare(Comparison::Equal, column(0), number(0)));
    check(&global, "SELECT t1.c0 AS c0 FROM (SELECT count(*) AS c0 FROM m.a AS t0) AS t1 WHERE (t1.c0 = $1)");
}

#[test]
fn joins_keep_their_sides() {
    let left = || scan("a", &[0, 1], vec![below(2, 1)]);
    let right = || scan("b", &[0], vec![below(1, 2)]);
    check(
        &join(left(), right(), JoinKind::Inner, equal(0, 2)),
        "SELECT t0.x AS c0, t0.y AS c1, t1.x AS c2 FROM m.a AS t0 CROSS JOIN m.b AS t1 WHERE t0.z < $1 AND t1.y < $2 AND (t0.x = t1.x)",
    );
    // The condition of the side that may be missing belongs to the pair, that of the other one to the row.
    let outer = join(left(), right(), JoinKind::Left, equal(0, 2));
    check(
        &outer,
        "SELECT t0.x AS c0, t0.y AS c1, t1.x AS c2 FROM m.a AS t0 LEFT JOIN m.b AS t1 ON t1.y < $1 AND (t0.x = t1.x) WHERE t0.z < $2",
    );
    check(
        &join(left(), right(), JoinKind::Right, equal(0, 2)),
        "SELECT t0.x AS c0, t0.y AS c1, t1.x AS c2 FROM m.b AS t1 LEFT JOIN m.a AS t0 ON t0.z < $1 AND (t0.x = t1.x) WHERE t1.y < $2",
    );
    check(
        &join(left(), scan("b", &[0], vec![]), JoinKind::Full, equal(0, 2)),
        "SELECT t2.c0 AS c0, t2.c1 AS c1, t1.x AS c2 FROM (SELECT t0.x AS c0, t0.y AS c1 FROM m.a AS t0 WHERE t0.z < $1) AS t2 \
         FULL JOIN m.b AS t1 ON (t2.c0 = t1.x)",
    );
    // What is computed of a missing row is NULL, not the value of the expression.
    let computed = project(scan("b", &[0], vec![]), vec![number(1), column(0)]);
    check(
        &join(scan("a", &[0], vec![]), computed, JoinKind::Left, equal(0, 2)),
        "SELECT t0.x AS c0, t2.c0 AS c1, t2.c1 AS c2 FROM m.a AS t0 LEFT JOIN (SELECT $1 AS c0, t1.x AS c1 FROM m.b AS t1) AS t2 \
         ON (t0.x = t2.c1)",
    );
    // An outer join inside another join keeps its parentheses.
    check(
        &join(scan("b", &[2], vec![]), outer, JoinKind::Inner, equal(0, 1)),
        "SELECT t0.z AS c0, t1.x AS c1, t1.y AS c2, t2.x AS c3 FROM m.b AS t0 CROSS JOIN (m.a AS t1 LEFT JOIN m.b AS t2 \
         ON t2.y < $1 AND (t1.x = t2.x)) WHERE t1.z < $2 AND (t0.z = t1.x)",
    );
}

#[test]
fn semi_joins_are_conditions() {
    let semi = |kind| join(scan("a", &[0, 1], vec![]), scan("b", &[0, 1], vec![below(2, 9)]), kind, equal(0, 2));
    check(
        &semi(JoinKind::Semi),
        "SELECT t0.x AS c0, t0.y AS c1 FROM m.a AS t0 WHERE EXISTS (SELECT 1 FROM m.b AS t1 WHERE t1.z < $1 AND (t0.x = t1.x))",
    );
    check_as(
        true,
        &semi(JoinKind::Semi),
        "SELECT t0.x AS c0, t0.y AS c1 FROM m.a AS t0 WHERE t0.x IN (SELECT t1.x AS c0 FROM m.b AS t1 WHERE t1.z < $1)",
    );
    check_as(
        true,
        &semi(JoinKind::Anti),
        "SELECT t0.x AS c0, t0.y AS c1 FROM m.a AS t0 WHERE (t0.x IS NULL OR t0.x NOT IN (SELECT t1.x AS c0 FROM m.b AS t1 WHERE t1.z < $1 \
         AND (t1.x IS NOT NULL)))",
    );
    let correlated = compare(Comparison::Less, column(1), column(3));
    let both = Expression::condition(Node::And(vec![equal(0, 2), correlated]));
    let anti = join(scan("a", &[0, 1], vec![]), scan("b", &[0, 1], vec![]), JoinKind::Anti, both);
    check_as(
        true,
        &project(anti, vec![column(1)]),
        "SELECT t0.y AS c0 FROM m.a AS t0 WHERE NOT EXISTS (SELECT 1 FROM m.b AS t1 WHERE (t0.x = t1.x) AND (t0.y < t1.y))",
    );
}

#[test]
fn sets_windows_and_constants() {
    let union = Relation::Union { inputs: vec![scan("a", &[0], vec![]), sort(scan("b", &[1], vec![]), 0, Some(1))] };
    check(
        &group(union, vec![], vec![count()]),
        "SELECT count(*) AS c0 FROM (SELECT t0.x AS c0 FROM m.a AS t0 UNION ALL SELECT t2.c0 AS c0 FROM (SELECT t1.y AS c0 FROM m.b AS t1 \
         ORDER BY t1.y DESC NULLS LAST LIMIT 1) AS t2) AS t3",
    );
    let call = WindowCall {
        function: WindowFunction::Aggregate(Aggregate::Sum),
        arguments: vec![column(0)],
        partition_by: vec![column(1)],
        order_by: vec![SortKey { expression: column(0), descending: false, nulls_first: true }],
        frame: Some(Frame { unit: FrameUnit::Rows, start: Bound::Preceding(2), end: Bound::CurrentRow }),
        pg_type: PgType::INT8,
    };
    let window = Relation::Window { input: Box::new(scan("a", &[0, 1], vec![])), calls: vec![call] };
    check(
        &filter(window, compare(Comparison::Less, column(2), number(4))),
        "SELECT t1.c0 AS c0, t1.c1 AS c1, t1.c2 AS c2 FROM (SELECT t0.x AS c0, t0.y AS c1, sum(t0.x) OVER (PARTITION BY t0.y \
         ORDER BY t0.x ASC NULLS FIRST ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS c2 FROM m.a AS t0) AS t1 WHERE (t1.c2 < $1)",
    );
    let rows = vec![vec![Some(Value::Int(1))], vec![None]];
    let values = Relation::Values { types: vec![PgType::INT4], rows };
    check(
        &join(scan("a", &[0], vec![]), values, JoinKind::Inner, equal(0, 1)),
        "SELECT t0.x AS c0, t1.c0 AS c1 FROM m.a AS t0 CROSS JOIN (SELECT $1 AS c0 UNION ALL SELECT NULL AS c0) AS t1 WHERE (t0.x = t1.c0)",
    );
    let none = Relation::Values { types: vec![PgType::INT4], rows: vec![] };
    check(&none, "SELECT t0.c0 AS c0 FROM (SELECT NULL AS c0 LIMIT 0) AS t0");
}

#[test]
fn what_is_large_is_written_once() {
    let mut relation = scan("a", &[0], vec![]);
    for _ in 0..20 {
        relation = project(relation, vec![add(column(0), column(0))]);
    }
    let mut sql = Sql::bound(Dialect::Sqlite);
    write(&relation, &tables(), &Plain(false), None, &mut sql).unwrap();
    assert!(sql.text().len() < 20_000, "{} bytes", sql.text().len());
    let subquery = Expression::new(PgType::INT8, Node::Subquery(Box::new(group(scan("b", &[], vec![]), vec![], vec![count()]))));
    let twice = project(project(scan("a", &[0], vec![]), vec![subquery]), vec![column(0), column(0)]);
    check(
        &project(twice, vec![add(column(0), column(1))]),
        "SELECT (t1.c0 + t1.c0) AS c0 FROM (SELECT (SELECT count(*) AS c0 FROM m.b AS t2) AS c0 FROM m.a AS t0) AS t1",
    );
}

#[test]
fn what_is_costly_and_repeated_stands_before_the_statement() {
    let counts = |bound| group(scan("a", &[0], vec![below(1, bound)]), vec![column(0)], vec![count()]);
    let most = |counts| {
        let call = AggregateCall { aggregate: Aggregate::Maximum, argument: Some(column(1)), ..count() };
        Expression::new(PgType::INT8, Node::Subquery(Box::new(group(counts, vec![], vec![call]))))
    };
    // Values are bound in the order of the text: what stands before the statement comes first.
    let first = filter(scan("b", &[0], vec![below(2, 1)]), compare(Comparison::Less, column(0), number(2)));
    let top = filter(counts(5), compare(Comparison::Equal, column(1), most(counts(5))));
    let relation = join(first, top, JoinKind::Inner, equal(0, 1));
    let mut sql = Sql::bound(Dialect::Postgres);
    write(&relation, &tables(), &Plain(false), None, &mut sql).unwrap();
    let (text, values) = sql.into_parts();
    assert_eq!(
        text.replace('"', ""),
        "WITH w0 AS MATERIALIZED (SELECT t0.x AS c0, count(*) AS c1 FROM m.a AS t0 WHERE t0.y < $1 GROUP BY t0.x) \
         SELECT t1.x AS c0, t2.c0 AS c1, t2.c1 AS c2 FROM m.b AS t1 CROSS JOIN w0 AS t2 WHERE t1.z < $2 AND (t1.x < $3) \
         AND (t2.c1 = (SELECT max(t3.c1) AS c0 FROM w0 AS t3)) AND (t1.x = t2.c0)"
    );
    assert_eq!(values, [Value::Int(5), Value::Int(1), Value::Int(2)]);
    // Other constants are another relation, and so are joins and tables, which a store reads as it likes.
    let other = join(counts(5), counts(6), JoinKind::Left, equal(0, 2));
    let joined = || join(scan("a", &[0], vec![]), scan("b", &[0], vec![]), JoinKind::Inner, equal(0, 1));
    for relation in [other, join(joined(), joined(), JoinKind::Inner, equal(0, 2))] {
        let mut sql = Sql::bound(Dialect::Postgres);
        write(&relation, &tables(), &Plain(false), None, &mut sql).unwrap();
        assert!(sql.text().starts_with("SELECT "), "{}", sql.text());
    }
}

#[test]
fn what_is_repeated_reads_what_is_repeated_in_it() {
    let inner = || Relation::Distinct { input: Box::new(scan("a", &[0, 1], vec![])) };
    let outer = || group(inner(), vec![column(0)], vec![count()]);
    check(
        &join(inner(), join(outer(), outer(), JoinKind::Left, equal(0, 2)), JoinKind::Inner, equal(0, 2)),
        "WITH w0 AS MATERIALIZED (SELECT DISTINCT t0.x AS c0, t0.y AS c1 FROM m.a AS t0), \
         w1 AS MATERIALIZED (SELECT t1.c0 AS c0, count(*) AS c1 FROM w0 AS t1 GROUP BY t1.c0) \
         SELECT t2.c0 AS c0, t2.c1 AS c1, t3.c0 AS c2, t3.c1 AS c3, t4.c0 AS c4, t4.c1 AS c5 FROM w0 AS t2 \
         CROSS JOIN (w1 AS t3 LEFT JOIN w1 AS t4 ON (t3.c0 = t4.c0)) WHERE (t2.c0 = t3.c0)",
    );
    // Twice in what is itself repeated is once.
    check(
        &join(outer(), outer(), JoinKind::Inner, equal(0, 2)),
        "WITH w0 AS MATERIALIZED (SELECT t1.c0 AS c0, count(*) AS c1 FROM (SELECT DISTINCT t0.x AS c0, t0.y AS c1 FROM m.a AS t0) AS t1 \
         GROUP BY t1.c0) SELECT t2.c0 AS c0, t2.c1 AS c1, t3.c0 AS c2, t3.c1 AS c3 FROM w0 AS t2 CROSS JOIN w0 AS t3 WHERE (t2.c0 = t3.c0)",
    );
}

#[test]
fn columns_that_are_not_there_are_refused() {
    let mut sql = Sql::bound(Dialect::Postgres);
    assert!(write(&project(scan("a", &[0], vec![]), vec![column(3)]), &tables(), &Plain(false), None, &mut sql).is_err());
    assert!(write(&scan("nowhere", &[0], vec![]), &tables(), &Plain(false), None, &mut sql).is_err());
}

#[test]
fn guards_stand_in_the_outermost_select() {
    let mut sql = Sql::bound(Dialect::Postgres);
    let grouped = group(scan("a", &[0], vec![]), vec![column(0)], vec![]);
    write(&grouped, &tables(), &Plain(false), Some("TRUE"), &mut sql).unwrap();
    assert_eq!(sql.text().replace('"', ""), "SELECT t0.x AS c0 FROM m.a AS t0 WHERE TRUE GROUP BY t0.x");
}
