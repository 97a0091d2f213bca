//! What is accepted, and how text is compared in it.

use std::sync::Arc;

use super::super::super::connector::{Scan, StoreName};
use super::super::super::fragment::{
    Aggregate, AggregateCall, DateField, Expression, Fragment, Function, JoinKind, Node, Relation, SortKey, Tables,
};
use super::super::super::predicate::{ColumnRef, Comparison, Predicate};
use super::super::super::relational::Sql;
use super::super::super::relational::fragment::write;
use super::super::super::schema::{Collation, Column, Generated, Table, TableId, TableKind};
use super::super::super::value::Value;
use super::super::types::{NativeType, map, without_text_comparison};
use super::{Postgres, accepts, describe};
use crate::pgtype::PgType;

const INT: usize = 0;
const TEXT: usize = 1;
const LOOSE: usize = 2;
const BYTES: usize = 3;
const BLANK: usize = 4;
const MOOD: usize = 5;
const POINT: usize = 6;
const LATIN: usize = 7;
const MOMENT: usize = 8;
const NUMBER: usize = 9;

fn id(name: &str) -> TableId {
    TableId { namespace: "public".to_owned(), name: name.to_owned() }
}

fn column(name: &str, oid: u32, kind: char, collation: Collation) -> Column {
    let labels = if kind == 'e' { vec!["sad".to_owned(), "ok".to_owned()] } else { Vec::new() };
    let native = NativeType { oid, typmod: -1, kind, element: None, labels };
    Column {
        field: map(name, &native, true).unwrap(),
        native_type: String::new(),
        default: None,
        generated: Generated::No,
        comment: None,
        collation,
        statistics: Default::default(),
    }
}

fn tables() -> Tables {
    let linguistic = || Collation::Linguistic("en".to_owned());
    let mut latin = column("latin", 25, 'b', linguistic());
    latin.field = without_text_comparison(latin.field);
    let columns = vec![
        column("int", 23, 'b', Collation::Bytes),
        column("text", 25, 'b', linguistic()),
        column("loose", 25, 'b', Collation::Loose("ci".to_owned())),
        column("bytes", 1043, 'b', Collation::Bytes),
        column("blank", 1042, 'b', Collation::Loose("character(3)".to_owned())),
        column("mood", 90_000, 'e', Collation::Bytes),
        column("point", 600, 'b', Collation::Bytes),
        latin,
        column("moment", 1184, 'b', Collation::Bytes),
        column("number", 1700, 'b', Collation::Bytes),
    ];
    let table = |name: &str| {
        let table = Table {
            id: id(name),
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
            columns: columns.clone(),
        };
        (id(name), Arc::new(table))
    };
    [table("t"), table("u")].into()
}

fn scan(name: &str, filter: Vec<Predicate>) -> Relation {
    Relation::Table(Scan { store: StoreName::new("s"), table: id(name), columns: (0..10).collect(), filter, limit: None })
}

fn at(ordinal: usize) -> Expression {
    Expression::column(ordinal, tables()[&id("t")].columns[ordinal % 10].pg_type())
}

fn literal(pg_type: PgType, value: Value) -> Expression {
    Expression::new(pg_type, Node::Literal(Some(value)))
}

fn text(content: &str) -> Expression {
    literal(PgType::TEXT, Value::Text(content.to_owned()))
}

fn compare(op: Comparison, left: Expression, right: Expression) -> Expression {
    Expression::condition(Node::Compare { op, left: Box::new(left), right: Box::new(right) })
}

fn call(function: Function, of: PgType, arguments: Vec<Expression>) -> Expression {
    Expression::new(of, Node::Call { function, arguments })
}

fn cast(to: PgType, operand: Expression) -> Expression {
    Expression::new(to, Node::Cast(Box::new(operand)))
}

fn project(expressions: Vec<Expression>) -> Relation {
    Relation::Project { input: Box::new(scan("t", vec![])), expressions }
}

fn filter(condition: Expression) -> Relation {
    Relation::Filter { input: Box::new(scan("t", vec![])), condition }
}

fn sort(expression: Expression) -> Relation {
    let keys = vec![SortKey { expression, descending: false, nulls_first: false }];
    Relation::Sort { input: Box::new(scan("t", vec![])), keys, offset: 0, limit: None }
}

fn minimum(argument: Expression, pg_type: PgType) -> Relation {
    let call = AggregateCall { aggregate: Aggregate::Minimum, argument: Some(argument), distinct: false, filter: None, pg_type };
    Relation::Aggregate { input: Box::new(scan("t", vec![])), groups: vec![], calls: vec![call] }
}

fn join(kind: JoinKind, condition: Expression) -> Relation {
    let (left, right) = (Box::new(scan("t", vec![])), Box::new(scan("u", vec![])));
    Relation::Join { left, right, kind, condition: Some(condition) }
}

fn is_accepted(relation: &Relation) -> bool {
    accepts(relation, &tables()).is_ok()
}

#[test]
fn nearly_all_is_accepted() {
    use Comparison::{Equal, Less};
    let five = || literal(PgType::INT4, Value::Int(5));
    let rows = [
        filter(compare(Less, at(INT), five())),
        filter(compare(Less, at(TEXT), at(BYTES))),
        filter(compare(Less, at(MOMENT), literal(PgType::TIMESTAMPTZ, Value::TimestampTz(0)))),
        filter(Expression::condition(Node::IsNull { operand: Box::new(at(POINT)), negated: false })),
        project(vec![call(Function::Divide, PgType::INT4, vec![at(INT), five()]), at(POINT), at(MOOD)]),
        project(vec![call(Function::Round, PgType::NUMERIC, vec![at(NUMBER), five()])]),
        project(vec![cast(PgType::numeric(10, 2), at(NUMBER)), cast(PgType::TEXT, at(BLANK))]),
        sort(at(MOOD)),
        minimum(at(BLANK), PgType::BPCHAR),
        join(JoinKind::Full, compare(Equal, at(INT), at(10 + INT))),
        join(JoinKind::Left, compare(Less, at(INT), at(10 + INT))),
        Relation::Union { inputs: vec![scan("t", vec![]), scan("t", vec![])] },
    ];
    for relation in rows {
        assert_eq!(accepts(&relation, &tables()), Ok(()), "{relation:?}");
    }
}

#[test]
fn settings_locales_and_other_forms_are_refused() {
    use Comparison::{Equal, Less};
    let rows = [
        // Case is folded by the locale.
        project(vec![call(Function::Upper, PgType::TEXT, vec![at(BYTES)])]),
        filter(Expression::condition(Node::Like {
            subject: Box::new(at(TEXT)),
            pattern: Box::new(text("A%")),
            negated: false,
            case_insensitive: true,
        })),
        // Time zone and date style.
        project(vec![cast(PgType::DATE, at(MOMENT))]),
        project(vec![cast(PgType::TEXT, at(MOMENT))]),
        project(vec![cast(PgType::DATE, at(TEXT))]),
        project(vec![call(Function::Extract(DateField::Year), PgType::NUMERIC, vec![at(MOMENT)])]),
        filter(compare(Less, at(MOMENT), literal(PgType::TIMESTAMP, Value::Timestamp(0)))),
        // Not what is computed with in the server.
        filter(compare(Equal, at(MOOD), text("ok"))),
        filter(compare(Equal, at(LATIN), text("x"))),
        filter(compare(Equal, at(POINT), at(POINT))),
        sort(at(POINT)),
        minimum(at(MOOD), PgType::TEXT),
        Relation::Distinct { input: Box::new(scan("t", vec![])) },
        Relation::Union { inputs: vec![scan("t", vec![]), scan("u", vec![])] },
        // Trailing blanks would count on one side only.
        filter(compare(Equal, at(BLANK), at(TEXT))),
        // No operator to hash or merge by.
        join(JoinKind::Full, compare(Less, at(INT), at(10 + INT))),
        filter(compare(Equal, at(TEXT), text("a\0b"))),
        filter(compare(Equal, at(INT), literal(PgType::INT4, Value::Int(1 << 40)))),
        filter(compare(Equal, at(INT), literal(PgType::INT4, Value::Text("5".to_owned())))),
        project(vec![call(Function::Negate, PgType::TEXT, vec![at(TEXT)])]),
        project(vec![at(10)]),
    ];
    for relation in rows {
        assert!(!is_accepted(&relation), "{relation:?}");
    }
    let superset = Predicate::Compare { column: ColumnRef::of(LOOSE), op: Equal, value: Value::Text("x".to_owned()) };
    assert!(!is_accepted(&scan("t", vec![superset])));
    assert!(!is_accepted(&scan("nowhere", vec![])));
}

fn check(relation: &Relation, expected: &str) {
    assert_eq!(accepts(relation, &tables()), Ok(()), "{relation:?}");
    let mut sql = Sql::literal();
    write(relation, &tables(), &Postgres { by_own_collations: false }, None, &mut sql).unwrap();
    let text = sql.text().replace('"', "").replace("pg_catalog.", "");
    let (_, after) = text.split_once("AS t0 ").unwrap();
    assert_eq!(after, expected);
}

#[test]
fn text_is_compared_by_bytes_and_indexes_stay_of_use() {
    use Comparison::{Equal, Less};
    let rows = [
        (compare(Equal, at(TEXT), text("\\' or 1=1 -- ")), "(t0.text =  E'\\\\'' or 1=1 -- '::text)"),
        (compare(Equal, at(LOOSE), text("a''b")), "((t0.loose COLLATE C) = 'a''''b'::text)"),
        (compare(Less, at(TEXT), text("b")), "((t0.text COLLATE C) < 'b'::text)"),
        (compare(Less, text("b"), at(TEXT)), "(('b'::text COLLATE C) < t0.text)"),
        (compare(Less, at(BYTES), text("b")), "(t0.bytes < 'b'::text)"),
        (compare(Equal, at(BLANK), literal(PgType::BPCHAR, Value::Text("b".to_owned()))), "(t0.blank = 'b'::bpchar)"),
        (compare(Less, at(BLANK), at(BLANK)), "((t0.blank COLLATE C) < t0.blank)"),
        // The text of a number has the collation of the database.
        (compare(Less, cast(PgType::TEXT, at(INT)), text("1")), "((CAST(t0.int AS text) COLLATE C) < '1'::text)"),
        (compare(Equal, at(INT), literal(PgType::INT4, Value::Int(-1))), "(t0.int = '-1'::int8::int4)"),
        (
            Expression::condition(Node::In { subject: Box::new(at(TEXT)), list: vec![text("a"), at(LOOSE)], negated: true }),
            "((t0.text COLLATE C) NOT IN ('a'::text, t0.loose))",
        ),
        (
            Expression::condition(Node::Like {
                subject: Box::new(at(TEXT)),
                pattern: Box::new(text("a\\_%")),
                negated: true,
                case_insensitive: false,
            }),
            "(t0.text NOT LIKE  E'a\\\\_%'::text)",
        ),
    ];
    for (condition, expected) in rows {
        check(&filter(condition), &format!("WHERE {expected}"));
    }
    check(&sort(at(TEXT)), "ORDER BY (t0.text COLLATE C) ASC NULLS LAST");
    check(&sort(at(BYTES)), "ORDER BY t0.bytes ASC NULLS LAST");
    check(&sort(at(MOOD)), "ORDER BY t0.mood ASC NULLS LAST");
    check(&sort(at(BLANK)), "ORDER BY (t0.blank COLLATE C) ASC NULLS LAST");
}

#[test]
fn long_lists_of_constants_are_arrays() {
    let among = |subject: Expression, list: Vec<Expression>, negated| {
        Expression::condition(Node::In { subject: Box::new(subject), list, negated })
    };
    let numbers = |pg_type: PgType, last: i64| -> Vec<Expression> {
        (1..=8).chain([last]).map(|number| literal(pg_type, Value::Int(number))).collect()
    };
    let letters = || -> Vec<Expression> { ["'", "\\"].into_iter().chain(["a"; 7]).map(text).collect() };
    let array = r#"( E'{','\\\\,a,a,a,a,a,a,a}'::text[]))"#.replace("','", "'',");
    let rows = [
        (among(at(INT), numbers(PgType::INT4, 9), false), "(t0.int = ANY ('{1,2,3,4,5,6,7,8,9}'::int4[]))".to_owned()),
        (among(at(INT), numbers(PgType::INT8, 1 << 40), true), "(t0.int <> ALL ('{1,2,3,4,5,6,7,8}'::int4[]))".to_owned()),
        (
            among(cast(PgType::INT8, at(INT)), numbers(PgType::INT8, 9), false),
            "(CAST(t0.int AS int8) = ANY ('{1,2,3,4,5,6,7,8,9}'::int8[]))".to_owned(),
        ),
        (among(at(TEXT), letters(), false), format!("(t0.text = ANY {array}")),
        (among(at(LOOSE), letters(), true), format!("((t0.loose COLLATE C) <> ALL {array}")),
    ];
    for (condition, expected) in rows {
        check(&filter(condition), &format!("WHERE {expected}"));
    }
    // What is no constant, or NULL.
    for other in [at(INT), Expression::new(PgType::INT4, Node::Literal(None))] {
        let mut list = numbers(PgType::INT4, 9);
        list.push(other);
        let mut sql = Sql::literal();
        write(&filter(among(at(INT), list, false)), &tables(), &Postgres { by_own_collations: false }, None, &mut sql).unwrap();
        assert!(sql.text().contains("\"int\" IN ('1'::int8::pg_catalog.int4, "), "{}", sql.text());
    }
}

#[test]
fn explain_cuts_long_lists() {
    let list = (0..1000).map(|number| literal(PgType::INT4, Value::Int(number))).collect();
    let root = filter(Expression::condition(Node::In { subject: Box::new(at(INT)), list, negated: false }));
    let shown = describe(&Fragment::new(StoreName::new("s"), root), &tables());
    assert!(shown.contains("= ANY ($1::pg_catalog.int4[])) -- '{0,1,2,") && shown.ends_with('…') && shown.len() < 1000, "{shown}");
}

#[test]
fn the_type_of_every_column_is_certain() {
    let shown = |relation: &Relation| {
        let mut sql = Sql::literal();
        write(relation, &tables(), &Postgres { by_own_collations: false }, None, &mut sql).unwrap();
        sql.text().replace('"', "").replace("pg_catalog.", "")
    };
    assert_eq!(
        shown(&project(vec![at(INT), at(POINT), at(MOOD), call(Function::Concat, PgType::TEXT, vec![at(TEXT), text("'")])])),
        "SELECT t0.int AS c0, t0.point::text AS c1, t0.mood AS c2, (t0.text || ''''::text)::text AS c3 FROM public.t AS t0"
    );
    assert_eq!(shown(&minimum(at(TEXT), PgType::TEXT)), "SELECT min((t0.text COLLATE C))::text AS c0 FROM public.t AS t0");
    // The key without a length is one expression with the column that is sent.
    let least = project(vec![call(Function::Least, PgType::VARCHAR, vec![at(BYTES), at(BYTES)])]);
    let grouped =
        Relation::Aggregate { input: Box::new(least), groups: vec![Expression::column(0, PgType::VARCHAR)], calls: Vec::new() };
    assert_eq!(
        shown(&grouped),
        "SELECT COALESCE((t1.c1 COLLATE C))::varchar AS c0 FROM (SELECT LEAST(t0.bytes, t0.bytes) AS c0, LEAST(t0.bytes, t0.bytes) AS c1 \
         FROM public.t AS t0) AS t1 GROUP BY COALESCE((t1.c1 COLLATE C))"
    );
    let rows = vec![vec![Some(Value::Float(f64::NAN)), None]];
    let values = Relation::Values { types: vec![PgType::FLOAT8, PgType::numeric(5, 2)], rows };
    assert_eq!(
        shown(&values),
        "SELECT t0.c0::float8 AS c0, t0.c1::numeric AS c1 FROM (VALUES ('NaN'::float8::float8, NULL::numeric)) AS t0 (c0, c1)"
    );
    let none = Relation::Values { types: vec![PgType::INT4], rows: vec![] };
    assert_eq!(shown(&none), "SELECT t0.c0::int4 AS c0 FROM (VALUES (NULL::int4) LIMIT 0) AS t0 (c0)");
}

#[test]
fn explain_shows_values_apart() {
    let condition = compare(Comparison::Equal, at(TEXT), text("it's"));
    let root = Relation::Project { input: Box::new(filter(condition)), expressions: vec![at(INT)] };
    let fragment = Fragment::new(StoreName::new("s"), root);
    assert_eq!(
        describe(&fragment, &tables()),
        "SELECT t0.\"int\" AS c0 FROM \"public\".\"t\" AS t0 WHERE (t0.\"text\" = $1::pg_catalog.text) -- 'it''s'"
    );
}

/// The tables of a store whose collations count.
fn native_tables() -> Tables {
    let native = |table: Arc<Table>| {
        let mut table = table.as_ref().clone();
        table.columns[TEXT].collation = Collation::Native { name: "en".to_owned(), is_loose: false };
        table.columns[LOOSE].collation = Collation::Native { name: "ci".to_owned(), is_loose: true };
        Arc::new(table)
    };
    tables().into_iter().map(|(id, table)| (id, native(table))).collect()
}

#[test]
fn collations_that_count_are_left_to_the_server() {
    use Comparison::{Equal, GreaterOrEqual};
    let shown = |relation: &Relation, by_own_collations| {
        assert_eq!(accepts(relation, &native_tables()), Ok(()), "{relation:?}");
        let mut sql = Sql::literal();
        write(relation, &native_tables(), &Postgres { by_own_collations }, None, &mut sql).unwrap();
        sql.text().replace('"', "").replace("pg_catalog.", "").split_once("AS t0 ").unwrap().1.to_owned()
    };
    let like = Node::Like { subject: Box::new(at(LOOSE)), pattern: Box::new(text("a%")), negated: false, case_insensitive: false };
    let among = |subject| Node::In { subject: Box::new(at(subject)), list: vec![text("a"), text("b")], negated: true };
    // A condition, and how it is written in a part and in a whole statement.
    let rows = [
        (compare(Equal, at(LOOSE), text("a")), "(t0.loose = 'a'::text)", "(t0.loose = 'a'::text)"),
        (compare(GreaterOrEqual, at(TEXT), text("a")), "(t0.text >= 'a'::text)", "(t0.text >= 'a'::text)"),
        (
            Expression::condition(among(LOOSE)),
            "(t0.loose NOT IN ('a'::text, 'b'::text))",
            "(t0.loose NOT IN ('a'::text, 'b'::text))",
        ),
        (compare(Equal, at(LOOSE), at(LOOSE)), "((t0.loose COLLATE C) = t0.loose)", "(t0.loose = t0.loose)"),
        (compare(Equal, at(LOOSE), at(TEXT)), "((t0.loose COLLATE C) = t0.text)", "((t0.loose COLLATE C) = t0.text)"),
        (compare(Equal, at(TEXT), at(BYTES)), "(t0.text = t0.bytes)", "(t0.text = t0.bytes)"),
        // A pattern under a collation that is not deterministic is an error before PostgreSQL 18.
        (Expression::condition(like), "((t0.loose COLLATE C) LIKE 'a%'::text)", "((t0.loose COLLATE C) LIKE 'a%'::text)"),
    ];
    for (condition, part, whole) in rows {
        assert_eq!(shown(&filter(condition.clone()), false), format!("WHERE {part}"));
        assert_eq!(shown(&filter(condition), true), format!("WHERE {whole}"));
    }
    assert_eq!(shown(&sort(at(TEXT)), false), "ORDER BY (t0.text COLLATE C) ASC NULLS LAST");
    assert_eq!(shown(&sort(at(TEXT)), true), "ORDER BY t0.text ASC NULLS LAST");
    let counted =
        AggregateCall { aggregate: Aggregate::CountRows, argument: None, distinct: false, filter: None, pg_type: PgType::INT8 };
    let grouped = Relation::Aggregate { input: Box::new(scan("t", vec![])), groups: vec![at(LOOSE)], calls: vec![counted] };
    assert_eq!(shown(&grouped, false), "GROUP BY COALESCE((t0.loose COLLATE C))");
    assert_eq!(shown(&grouped, true), "GROUP BY t0.loose");
    let fragment = Fragment { by_own_collations: true, ..Fragment::new(StoreName::new("s"), sort(at(TEXT))) };
    assert!(describe(&fragment, &native_tables()).ends_with("by the store's own collations)"));
    let fragment = Fragment::new(StoreName::new("s"), filter(compare(Equal, at(LOOSE), text("a"))));
    assert!(describe(&fragment, &native_tables()).ends_with("-- 'a' (compares by the store's own collation: loose)"));
}
