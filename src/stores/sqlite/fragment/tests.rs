//! What is accepted, and the checks of cells in what is sent.

use std::sync::Arc;

use super::super::super::collation::settles;
use super::super::super::connector::{Scan, StoreName};
use super::super::super::fragment::{
    Aggregate, AggregateCall, Expression, Fragment, Function, JoinKind, Node, Relation, SortKey, Tables,
};
use super::super::super::predicate::Comparison;
use super::super::super::relational::{Sql, Unwritable};
use super::super::super::schema::{Collation, Column, ColumnStatistics, Generated, Key, Table, TableId, TableKind};
use super::super::super::value::Value;
use super::super::types;
use super::accepts;
use crate::pgtype::PgType;

fn write(root: &Relation, tables: &Tables) -> Result<Sql, Unwritable> {
    super::write(&Fragment::new(StoreName::new("s"), root.clone()), tables)
}

const KEY: usize = 0;
const INT: usize = 1;
const TEXT: usize = 2;
const LOOSE: usize = 3;
const FLAG: usize = 4;
const DAY: usize = 5;
const PRICE: usize = 6;

fn id(name: &str) -> TableId {
    TableId { namespace: "main".to_owned(), name: name.to_owned() }
}

fn column(name: &str, declared: &str, proven: bool, collation: Collation) -> Column {
    Column {
        field: types::field(name, declared, true, proven),
        native_type: declared.to_owned(),
        default: None,
        generated: Generated::No,
        comment: None,
        collation,
        statistics: ColumnStatistics::default(),
    }
}

fn tables() -> Tables {
    let columns = vec![
        column("id", "INTEGER", true, Collation::Bytes),
        column("int", "INT", false, Collation::Bytes),
        column("text", "VARCHAR(9)", false, Collation::Bytes),
        column("loose", "TEXT", false, Collation::Loose("NOCASE".to_owned())),
        column("flag", "BOOLEAN", false, Collation::Bytes),
        column("day", "DATE", false, Collation::Bytes),
        column("price", "DECIMAL(10,2)", false, Collation::Bytes),
    ];
    let table = |name: &str, kind| {
        let table = Table {
            id: id(name),
            kind,
            primary_key: Some(Key { name: "pk".to_owned(), columns: vec![KEY], proven: true }),
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: None,
            division: None,
            schema: Table::arrow_schema(&columns),
            columns: columns.clone(),
        };
        (id(name), Arc::new(table))
    };
    [table("t", TableKind::Table), table("u", TableKind::Table), table("v", TableKind::View)].into()
}

fn scan(name: &str) -> Relation {
    let columns = (0..tables()[&id("t")].columns.len()).collect();
    Relation::Table(Scan { store: StoreName::new("s"), table: id(name), columns, filter: vec![], limit: None })
}

fn at(ordinal: usize) -> Expression {
    Expression::column(ordinal, tables()[&id("t")].columns[ordinal % 7].pg_type())
}

fn literal(pg_type: PgType, value: Value) -> Expression {
    Expression::new(pg_type, Node::Literal(Some(value)))
}

fn number(value: i64) -> Expression {
    literal(PgType::INT8, Value::Int(value))
}

fn compare(op: Comparison, left: Expression, right: Expression) -> Expression {
    Expression::condition(Node::Compare { op, left: Box::new(left), right: Box::new(right) })
}

fn filter(condition: Expression) -> Relation {
    Relation::Filter { input: Box::new(scan("t")), condition }
}

fn project(input: Relation, expressions: Vec<Expression>) -> Relation {
    Relation::Project { input: Box::new(input), expressions }
}

fn call(function: Function, of: PgType, arguments: Vec<Expression>) -> Expression {
    Expression::new(of, Node::Call { function, arguments })
}

fn join(kind: JoinKind, left: usize, right: usize) -> Relation {
    let condition = Some(compare(Comparison::Equal, at(left), at(right)));
    Relation::Join { left: Box::new(scan("t")), right: Box::new(scan("u")), kind, condition }
}

fn aggregate(aggregate: Aggregate, argument: Expression, pg_type: PgType) -> Relation {
    let call = AggregateCall { aggregate, argument: Some(argument), distinct: false, filter: None, pg_type };
    Relation::Aggregate { input: Box::new(scan("t")), groups: vec![], calls: vec![call] }
}

fn check(relation: &Relation, expected: &str) {
    assert_eq!(accepts(relation, &tables()), Ok(()), "{relation:?}");
    let sql = write(relation, &tables()).unwrap();
    assert_eq!(sql.text().replace('"', ""), expected);
}

#[test]
fn cells_are_checked_before_they_are_computed_with() {
    let texts = "CASE WHEN typeof(t0.text) IN ('text', 'null') THEN 1 ELSE json_extract('{}', typeof(t0.text) || ?1) END";
    check(
        &project(filter(compare(Comparison::Less, at(TEXT), literal(PgType::TEXT, Value::Text("x".to_owned())))), vec![at(DAY)]),
        &format!("SELECT t0.day AS c0 FROM main.t AS t0 WHERE {texts} AND (t0.text < ?2)"),
    );
    // The kind of a rowid is certain.
    check(
        &project(filter(compare(Comparison::Less, at(KEY), number(3))), vec![at(INT)]),
        "SELECT t0.int AS c0 FROM main.t AS t0 WHERE (t0.id < ?1)",
    );
    check(&project(scan("t"), vec![at(INT), at(PRICE)]), "SELECT t0.int AS c0, t0.price AS c1 FROM main.t AS t0");
    check(
        &project(filter(at(FLAG)), vec![at(KEY)]),
        "SELECT t0.id AS c0 FROM main.t AS t0 WHERE CASE WHEN typeof(t0.flag) IN ('integer', 'null') AND ifnull(t0.flag IN (0, 1), 1) \
         THEN 1 ELSE json_extract('{}', typeof(t0.flag) || ?1) END AND t0.flag",
    );
}

#[test]
fn texts_are_compared_by_bytes() {
    let keys = vec![SortKey { expression: at(LOOSE), descending: true, nulls_first: true }];
    let sort = Relation::Sort { input: Box::new(scan("t")), keys, offset: 2, limit: None };
    let sql = write(&project(sort, vec![at(KEY)]), &tables()).unwrap();
    assert!(sql.text().ends_with("ORDER BY (t0.\"loose\" COLLATE BINARY) DESC NULLS FIRST LIMIT -1 OFFSET 2"), "{}", sql.text());
    let minimum = write(&aggregate(Aggregate::Minimum, at(LOOSE), PgType::TEXT), &tables()).unwrap();
    assert!(minimum.text().starts_with("SELECT min((t0.\"loose\" COLLATE BINARY)) AS c0"), "{}", minimum.text());
}

#[test]
fn a_collation_that_counts_is_left_to_sqlite() {
    let native = |table: Arc<Table>| {
        let mut table = table.as_ref().clone();
        table.columns[LOOSE].collation = Collation::Native { name: "NOCASE".to_owned(), is_loose: true };
        Arc::new(table)
    };
    let known: Tables = tables().into_iter().map(|(id, table)| (id, native(table))).collect();
    let shown = |root: &Relation, by_own_collations| {
        assert_eq!(accepts(root, &known), Ok(()), "{root:?}");
        let fragment = Fragment { by_own_collations, ..Fragment::new(StoreName::new("s"), root.clone()) };
        super::write(&fragment, &known).unwrap().text().replace('"', "")
    };
    let is = |condition: Expression, part: &str, whole: &str| {
        let root = project(filter(condition), vec![at(KEY)]);
        let (by_bytes, by_own) = (shown(&root, false), shown(&root, true));
        assert!(by_bytes.ends_with(part) && by_own.ends_with(whole), "{by_bytes}\n{by_own}");
    };
    let text = || literal(PgType::TEXT, Value::Text("x".to_owned()));
    is(compare(Comparison::Less, at(LOOSE), text()), "AND (t0.loose < ?2)", "AND (t0.loose < ?2)");
    is(
        Expression::condition(Node::In { subject: Box::new(at(LOOSE)), list: vec![text(), text()], negated: true }),
        "AND ((t0.loose COLLATE BINARY) NOT IN (?2, ?3))",
        "AND ((t0.loose COLLATE BINARY) NOT IN (?2, ?3))",
    );
    // As a scan compares it, whose cells may be of other kinds.
    let greater = "AND ((t0.loose COLLATE BINARY) > ?2)";
    is(compare(Comparison::Greater, at(LOOSE), text()), greater, greater);
    is(compare(Comparison::Greater, text(), at(LOOSE)), "AND (?2 > t0.loose)", "AND (?2 > t0.loose)");
    is(compare(Comparison::Equal, at(LOOSE), at(LOOSE)), "((t0.loose COLLATE BINARY) = t0.loose)", "(t0.loose = t0.loose)");
    is(
        compare(Comparison::Equal, at(LOOSE), at(TEXT)),
        "((t0.loose COLLATE BINARY) = t0.text)",
        "((t0.loose COLLATE BINARY) = t0.text)",
    );
    let keys = vec![SortKey { expression: at(LOOSE), descending: false, nulls_first: false }];
    let sort = project(Relation::Sort { input: Box::new(scan("t")), keys, offset: 0, limit: Some(1) }, vec![at(KEY)]);
    assert!(settles(&sort, &known) && !settles(&sort, &tables()));
    assert!(shown(&sort, true).contains("ORDER BY t0.loose ASC NULLS LAST"));
    assert!(shown(&sort, false).contains("ORDER BY (t0.loose COLLATE BINARY) ASC NULLS LAST"));
    assert!(shown(&aggregate(Aggregate::Minimum, at(LOOSE), PgType::TEXT), true).starts_with("SELECT min(t0.loose) AS c0"));
}

#[test]
fn semi_joins_look_up_by_index_or_make_a_set() {
    check(
        &project(join(JoinKind::Semi, KEY, 7 + KEY), vec![at(KEY)]),
        "SELECT t0.id AS c0 FROM main.t AS t0 WHERE EXISTS (SELECT 1 FROM main.u AS t1 WHERE (t0.id = t1.id))",
    );
    let sql = write(&project(join(JoinKind::Anti, KEY, 7 + INT), vec![at(KEY)]), &tables()).unwrap();
    let text = sql.text().replace('"', "");
    assert!(text.starts_with("SELECT t0.id AS c0 FROM main.t AS t0 WHERE (t0.id IS NULL OR t0.id NOT IN (SELECT t1.int AS c0 FROM main.u AS t1 WHERE CASE"), "{text}");
}

/// `IN` would compare under the collation of its subject.
#[test]
fn semi_joins_compare_by_bytes() {
    for (left, right) in [(LOOSE, 7 + TEXT), (TEXT, 7 + LOOSE), (LOOSE, 7 + LOOSE)] {
        for (kind, word) in [(JoinKind::Semi, "EXISTS ("), (JoinKind::Anti, "NOT EXISTS (")] {
            let sql = write(&project(join(kind, left, right), vec![at(KEY)]), &tables()).unwrap();
            let text = sql.text().replace('"', "");
            let name = |place: usize| if place % 7 == LOOSE { "loose" } else { "text" };
            let pair = format!("((t0.{} COLLATE BINARY) = t1.{})", name(left), name(right));
            assert!(text.contains(word) && text.contains(&pair) && !text.contains(" IN (SELECT"), "{text}");
        }
    }
    let sql = write(&project(join(JoinKind::Semi, TEXT, 7 + TEXT), vec![at(KEY)]), &tables()).unwrap();
    assert!(sql.text().contains(" IN (SELECT"), "{}", sql.text());
}

#[test]
fn what_sqlite_computes_otherwise_is_refused() {
    let day = || literal(PgType::DATE, Value::Date(0));
    let text = |content: &str| literal(PgType::TEXT, Value::Text(content.to_owned()));
    let several = Expression::new(PgType::INT8, Node::Subquery(Box::new(project(scan("u"), vec![at(KEY)]))));
    let rows = [
        filter(compare(Comparison::Less, at(DAY), day())),
        filter(compare(Comparison::Equal, at(PRICE), at(PRICE))),
        filter(compare(Comparison::Equal, at(INT), at(TEXT))),
        filter(compare(Comparison::Equal, at(TEXT), text("a\0"))),
        filter(compare(Comparison::Equal, at(KEY), several)),
        project(scan("t"), vec![call(Function::Add, PgType::INT8, vec![at(INT), number(1)])]),
        project(scan("t"), vec![call(Function::Upper, PgType::TEXT, vec![at(TEXT)])]),
        project(scan("t"), vec![call(Function::Substring, PgType::TEXT, vec![at(TEXT), literal(PgType::INT4, Value::Int(0))])]),
        project(scan("t"), vec![Expression::new(PgType::INT8, Node::Cast(Box::new(at(TEXT))))]),
        aggregate(Aggregate::Sum, at(INT), PgType::NUMERIC),
        aggregate(Aggregate::Minimum, at(DAY), PgType::DATE),
        Relation::Distinct { input: Box::new(scan("t")) },
        scan("v"),
    ];
    for relation in rows {
        assert!(accepts(&relation, &tables()).is_err(), "{relation:?}");
    }
}
