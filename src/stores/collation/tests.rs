//! Which statements may follow the rules of their store.

use arrow::datatypes::{DataType, Field};

use super::super::connector::{Scan, StoreName};
use super::super::fragment::{Frame, JoinKind, SortKey};
use super::super::predicate::{Comparison, Rows};
use super::super::schema::{ColumnStatistics, Generated, TableId, TableKind};
use super::super::value::Value;
use super::*;

const ID: usize = 0;
const OWN: usize = 1;
const SAME: usize = 2;
const OTHER: usize = 3;
const PLAIN: usize = 4;
const WIDTH: usize = 5;

fn native(name: &str) -> Collation {
    Collation::Native { name: name.to_owned(), is_loose: true }
}

fn column(name: &str, data_type: DataType, collation: Collation) -> Column {
    Column {
        field: Field::new(name, data_type, true),
        native_type: String::new(),
        default: None,
        generated: Generated::No,
        comment: None,
        collation,
        statistics: ColumnStatistics::default(),
    }
}

fn table(columns: Vec<Column>) -> Table {
    Table {
        id: TableId { namespace: "m".to_owned(), name: "t".to_owned() },
        kind: TableKind::Table,
        primary_key: None,
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        comment: None,
        row_estimate: None,
        division: None,
        schema: Table::arrow_schema(&columns),
        columns,
    }
}

fn sample() -> Table {
    table(vec![
        column("id", DataType::Int64, Collation::Bytes),
        column("own", DataType::Utf8, native("ci")),
        column("same", DataType::Utf8, native("ci")),
        column("other", DataType::Utf8, native("ai")),
        column("plain", DataType::Utf8, Collation::Bytes),
    ])
}

fn tables() -> Tables {
    [(sample().id.clone(), Arc::new(sample()))].into()
}

fn scan() -> Relation {
    let (store, table) = (StoreName::new("s"), sample().id);
    Relation::Table(Scan { store, table, columns: (0..WIDTH).collect(), filter: Vec::new(), limit: None })
}

fn at(ordinal: usize) -> Expression {
    Expression::column(ordinal, if ordinal % WIDTH == ID { PgType::INT8 } else { PgType::TEXT })
}

fn text() -> Expression {
    Expression::new(PgType::TEXT, Node::Literal(Some(Value::Text("a".to_owned()))))
}

fn lower(argument: Expression) -> Expression {
    Expression::new(PgType::TEXT, Node::Call { function: Function::Lower, arguments: vec![argument] })
}

fn equal(left: Expression, right: Expression) -> Expression {
    Expression::condition(Node::Compare { op: Comparison::Equal, left: Box::new(left), right: Box::new(right) })
}

fn filter(condition: Expression) -> Relation {
    Relation::Filter { input: Box::new(scan()), condition }
}

fn join(condition: Expression) -> Relation {
    Relation::Join { left: Box::new(scan()), right: Box::new(scan()), kind: JoinKind::Inner, condition: Some(condition) }
}

fn grouped(input: Relation, groups: Vec<Expression>, aggregate: Aggregate, argument: Option<Expression>) -> Relation {
    let call = AggregateCall { aggregate, argument, distinct: false, filter: None, pg_type: PgType::TEXT };
    Relation::Aggregate { input: Box::new(input), groups, calls: vec![call] }
}

fn counted(input: Relation, groups: Vec<Expression>) -> Relation {
    grouped(input, groups, Aggregate::CountRows, None)
}

fn sorted(input: Relation, expression: Expression) -> Relation {
    let keys = vec![SortKey { expression, descending: false, nulls_first: false }];
    Relation::Sort { input: Box::new(input), keys, offset: 0, limit: None }
}

#[test]
fn a_statement_follows_its_store_when_all_of_it_can() {
    let projected = Relation::Project { input: Box::new(scan()), expressions: vec![at(PLAIN), at(OWN)] };
    let rows = [
        (counted(scan(), vec![at(OWN)]), true),
        (sorted(scan(), at(OWN)), true),
        (sorted(projected, at(1)), true),
        (grouped(scan(), vec![], Aggregate::Minimum, Some(at(OWN))), true),
        (Relation::Distinct { input: Box::new(scan()) }, true),
        (join(equal(at(OWN), at(WIDTH + SAME))), true),
        (sorted(counted(filter(equal(at(OWN), text())), vec![at(OWN)]), at(0)), true),
        // Nothing is ordered or made one by the store's rules.
        (scan(), false),
        (filter(equal(at(OWN), text())), false),
        (counted(scan(), vec![at(PLAIN)]), false),
        (join(equal(at(PLAIN), at(WIDTH + PLAIN))), false),
        (grouped(scan(), vec![], Aggregate::Count, Some(at(OWN))), false),
        // Something would still be compared by bytes.
        (counted(scan(), vec![at(OWN), lower(at(OWN))]), false),
        (join(equal(at(OWN), at(WIDTH + OTHER))), false),
        (join(equal(at(OWN), at(WIDTH + PLAIN))), false),
        (counted(filter(equal(at(OWN), at(OTHER))), vec![at(OWN)]), false),
        (counted(filter(equal(lower(at(OWN)), text())), vec![at(OWN)]), false),
        (sorted(grouped(scan(), vec![at(OWN)], Aggregate::Minimum, Some(at(SAME))), at(1)), false),
    ];
    for (relation, expected) in rows {
        assert_eq!(settles(&relation, &tables()), expected, "{relation:?}");
    }
}

#[test]
fn windows_and_subqueries_are_looked_into() {
    let window = |partition: usize, order: usize| {
        let call = WindowCall {
            function: WindowFunction::RowNumber,
            arguments: vec![],
            partition_by: vec![at(partition)],
            order_by: vec![SortKey { expression: at(order), descending: false, nulls_first: false }],
            frame: None::<Frame>,
            pg_type: PgType::INT8,
        };
        Relation::Window { input: Box::new(scan()), calls: vec![call] }
    };
    assert!(settles(&window(OWN, ID), &tables()));
    assert!(settles(&window(ID, OWN), &tables()));
    assert!(!settles(&window(ID, PLAIN), &tables()));
    let least = grouped(scan(), vec![], Aggregate::Minimum, Some(at(OWN)));
    let subquery = Expression::new(PgType::TEXT, Node::Subquery(Box::new(least)));
    // What a subquery gives is no column of the store's any more.
    assert!(!settles(&filter(equal(at(OWN), subquery.clone())), &tables()));
    assert!(settles(&Relation::Project { input: Box::new(scan()), expressions: vec![subquery] }, &tables()));
}

#[test]
fn a_comparison_follows_the_store_over_constants_and_in_whole_statements() {
    let shapes = shapes(&scan(), &tables());
    let rules = |whole, left: usize, right: usize| rules(whole, [&at(left), &at(right)], [&shapes[left], &shapes[right]]);
    assert!(rules(true, OWN, SAME) && !rules(false, OWN, SAME));
    assert!(!rules(true, OWN, OTHER) && !rules(true, OWN, PLAIN) && !rules(true, PLAIN, PLAIN));
    let constant = text().shape(&shapes, &tables());
    assert!(super::rules(false, [&at(OWN), &text()], [&shapes[OWN], &constant]));
    assert!(super::rules(false, [&text(), &at(OWN)], [&constant, &shapes[OWN]]));
    assert!(!super::rules(true, [&at(PLAIN), &text()], [&shapes[PLAIN], &constant]));
    let computed = lower(at(OWN)).shape(&shapes, &tables());
    assert!(!super::rules(true, [&lower(at(OWN)), &text()], [&computed, &constant]));
    assert!(rules_list(&shapes[OWN], &[text(), text()]) && !rules_list(&shapes[OWN], &[text(), at(SAME)]));
}

#[test]
fn the_policy_changes_texts_that_have_collations_of_their_own() {
    let mut label = column("label", DataType::Utf8, Collation::Loose("ci".to_owned()));
    let metadata = [(crate::pgtype::ENUM_KEY.to_owned(), "[\"a\"]".to_owned())];
    label.field = label.field.with_metadata(metadata.into());
    let columns = vec![
        column("n", DataType::Int64, Collation::Loose("ci".to_owned())),
        column("loose", DataType::Utf8, Collation::Loose("ci".to_owned())),
        column("strict", DataType::Utf8, Collation::Linguistic("en".to_owned())),
        column("bytes", DataType::Utf8, Collation::Bytes),
        label,
        column("left out", DataType::Utf8, Collation::Loose("ci".to_owned())),
    ];
    let mut schema = StoreSchema { tables: vec![Arc::new(table(columns.clone()))], ..StoreSchema::default() };
    Policy::of_word("faithful").apply(&mut schema, |_, _| true);
    assert_eq!(schema.tables[0].columns, columns);
    Policy::of_word("native").apply(&mut schema, |_, column| column.name() != "left out");
    let changed: Vec<&str> =
        schema.tables[0].columns.iter().zip(&columns).filter(|(now, then)| now != then).map(|(now, _)| now.name()).collect();
    assert_eq!(changed, ["loose", "strict"]);
    assert!(schema.tables[0].columns[1].collation.merges() && !schema.tables[0].columns[2].collation.merges());
}

#[test]
fn explain_names_the_columns_that_the_store_compares_by_itself() {
    let by_own = |_: &Column, purpose: Use| matches!(purpose, Use::Compare(_) | Use::Member);
    let compare = |column| Predicate::Compare { column: ColumnRef::of(column), op: Comparison::Less, value: Value::Int(1) };
    let rows = Rows { columns: vec![ColumnRef::of(PLAIN), ColumnRef::of(OTHER)], rows: vec![vec![Value::Int(1); 2]] };
    let like = Predicate::Like { column: ColumnRef::of(SAME), pattern: String::new(), negated: false, case_insensitive: false };
    let noted = |filter: &[Predicate]| noted_scan("SELECT".to_owned(), &sample(), filter, &by_own);
    let either = Predicate::Or(vec![compare(OWN), Predicate::Rows(rows)]);
    assert_eq!(noted(&[either, compare(PLAIN), like.clone()]), "SELECT (compares by the store's own collation: other, own)");
    assert_eq!(noted(&[compare(PLAIN), like]), "SELECT");
    let part = |relation: &Relation, whole| noted_part("SELECT".to_owned(), relation, &tables(), whole, &by_own);
    assert_eq!(part(&filter(equal(text(), at(OWN))), false), "SELECT (compares by the store's own collation: own)");
    for negated in [false, true] {
        for [left, right] in [[at(OWN), text()], [text(), at(OWN)]] {
            let distinct = Node::Distinct { left: Box::new(left), right: Box::new(right), negated };
            let asked = part(&filter(Expression::condition(distinct)), false);
            assert_eq!(asked, "SELECT (compares by the store's own collation: own)");
        }
    }
    assert_eq!(part(&filter(equal(at(SAME), at(OWN))), false), "SELECT");
    assert!(part(&scan(), true).contains("the whole statement"));
}
