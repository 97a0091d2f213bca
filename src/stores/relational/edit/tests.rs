//! Edits as SQL in the plainest phrasing.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};

use super::super::super::connector::{Scan, StoreName};
use super::super::super::edit::{
    Conflict, ConflictAction, ConflictTarget, Delete, DeleteRows, Edit, Insert, Proposed, Update, UpdateRows,
};
use super::super::super::fragment::{Expression, Function, Node, Relation, Tables};
use super::super::super::predicate::{ColumnRef, Comparison, Predicate};
use super::super::super::schema::{Collation, Column, ColumnStatistics, Generated, Table, TableId};
use super::super::super::value::Value;
use super::super::embedded::COLUMN_KEY;
use super::super::fragment::{Pen, Phrasing};
use super::super::predicate::{self, Spelling, Use};
use super::super::{Dialect, Sql, Unwritable};
use super::{conflict, delete, insert_head, is_plain, reads_assigned, update, writes_columns};
use crate::pgtype::PgType;

struct Plain;

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

    fn checks(&self, table: &TableId) -> bool {
        table.name == "checked"
    }

    fn write_check(&self, _table: &Table, alias: &str, sql: &mut Sql) -> Result<(), Unwritable> {
        sql.push("fits(");
        sql.push(alias);
        sql.push(")");
        Ok(())
    }
}

fn id(name: &str) -> TableId {
    TableId { namespace: "n".to_owned(), name: name.to_owned() }
}

fn table_of(name: &str, columns: &[&str]) -> Arc<Table> {
    let column = |name: &&str| Column {
        field: Field::new(*name, DataType::Int32, true),
        native_type: String::new(),
        default: None,
        generated: Generated::No,
        comment: None,
        collation: Collation::Bytes,
        statistics: ColumnStatistics::default(),
    };
    let columns: Vec<Column> = columns.iter().map(column).collect();
    Arc::new(Table::plain("n", name, columns))
}

fn store() -> StoreName {
    StoreName::new("s")
}

fn scan(name: &str, columns: &[usize], filter: Vec<Predicate>) -> Relation {
    Relation::Table(Scan { store: store(), table: id(name), columns: columns.to_vec(), filter, limit: None })
}

fn below(column: usize, bound: i64) -> Predicate {
    Predicate::Compare { column: ColumnRef::of(column), op: Comparison::Less, value: Value::Int(bound) }
}

fn column(ordinal: usize) -> Expression {
    Expression::column(ordinal, PgType::INT4)
}

fn constant(value: Value, pg_type: PgType) -> Expression {
    Expression::new(pg_type, Node::Literal(Some(value)))
}

fn add(left: Expression, right: i64) -> Expression {
    let arguments = vec![left, constant(Value::Int(right), PgType::INT4)];
    Expression::new(PgType::INT4, Node::Call { function: Function::Add, arguments })
}

fn is(left: Expression, right: Expression) -> Expression {
    Expression::condition(Node::Compare { op: Comparison::Equal, left: Box::new(left), right: Box::new(right) })
}

fn filter(input: Relation, condition: Expression) -> Relation {
    Relation::Filter { input: Box::new(input), condition }
}

fn project(input: Relation, expressions: Vec<Expression>) -> Relation {
    Relation::Project { input: Box::new(input), expressions }
}

fn updated(table: Arc<Table>, relation: Relation, set: &[usize]) -> Update {
    let tables = Tables::from([(table.id.clone(), table.clone())]);
    Update { store: store(), table, relation, tables, set: set.to_vec(), paths: Vec::new(), returning: Vec::new() }
}

fn deleted(table: Arc<Table>, relation: Relation) -> Delete {
    let tables = Tables::from([(table.id.clone(), table.clone())]);
    Delete { store: store(), table, relation, tables, returning: Vec::new() }
}

/// The table `a` with columns `x`, `y`, `z`.
fn a() -> Arc<Table> {
    table_of("a", &["x", "y", "z"])
}

fn texts(dialect: Dialect, write: impl FnOnce(&mut Sql) -> Result<(), Unwritable>) -> (String, Vec<Value>) {
    let mut sql = Sql::bound(dialect);
    write(&mut sql).unwrap();
    sql.into_parts()
}

#[test]
fn rows_are_reached_by_the_name_of_the_table() {
    // Condition and values over the columns that the scan gives, which are not in the order of the table.
    let rows = filter(scan("a", &[2, 0], vec![below(1, 5)]), is(column(0), constant(Value::Int(7), PgType::INT4)));
    let edit = updated(a(), project(rows.clone(), vec![add(column(1), 1), column(0)]), &[0, 1]);
    let forms = [
        (Dialect::Postgres, r#"UPDATE "n"."a" SET "x" = ("a"."x" + $1), "y" = "a"."z" WHERE "a"."y" < $2 AND ("a"."z" = $3)"#),
        (Dialect::MySql, "UPDATE `n`.`a` SET `x` = (`a`.`x` + ?), `y` = `a`.`z` WHERE `a`.`y` < ? AND (`a`.`z` = ?)"),
        (Dialect::Sqlite, r#"UPDATE "n"."a" SET "x" = ("a"."x" + ?1), "y" = "a"."z" WHERE "a"."y" < ?2 AND ("a"."z" = ?3)"#),
    ];
    for (dialect, expected) in forms {
        let (text, values) = texts(dialect, |sql| update(&edit, &Plain, sql));
        assert_eq!((text.as_str(), values), (expected, [1, 5, 7].map(Value::Int).to_vec()));
    }
    let gone = deleted(a(), project(rows, Vec::new()));
    let forms = [
        (Dialect::Postgres, r#"DELETE FROM "n"."a" WHERE "a"."y" < $1 AND ("a"."z" = $2)"#),
        (Dialect::MySql, "DELETE FROM `n`.`a` WHERE `a`.`y` < ? AND (`a`.`z` = ?)"),
        (Dialect::Sqlite, r#"DELETE FROM "n"."a" WHERE "a"."y" < ?1 AND ("a"."z" = ?2)"#),
    ];
    for (dialect, expected) in forms {
        let (text, values) = texts(dialect, |sql| delete(&gone, &Plain, sql));
        assert_eq!((text.as_str(), values), (expected, [5, 7].map(Value::Int).to_vec()));
    }
}

#[test]
fn no_condition_is_lost_and_none_is_made_up() {
    let never = Expression::condition(Node::Literal(Some(Value::Bool(false))));
    let condition = |relation| texts(Dialect::Sqlite, |sql| delete(&deleted(a(), relation), &Plain, sql)).0;
    assert_eq!(condition(scan("a", &[], vec![])), r#"DELETE FROM "n"."a""#);
    assert_eq!(condition(filter(scan("a", &[], vec![]), never)), r#"DELETE FROM "n"."a" WHERE ?1"#);
    let nothing = Expression::condition(Node::Or(Vec::new()));
    assert_eq!(condition(filter(scan("a", &[], vec![]), nothing)), r#"DELETE FROM "n"."a" WHERE ?1"#);
    let both = filter(filter(scan("a", &[0], vec![below(2, 1)]), is(column(0), column(0))), is(add(column(0), 1), column(0)));
    assert_eq!(condition(both), r#"DELETE FROM "n"."a" WHERE "a"."z" < ?1 AND ("a"."x" = "a"."x") AND (("a"."x" + ?2) = "a"."x")"#);
    let checked = table_of("checked", &["x"]);
    let (text, _) = texts(Dialect::Sqlite, |sql| delete(&deleted(checked, scan("checked", &[0], vec![])), &Plain, sql));
    assert_eq!(text, r#"DELETE FROM "n"."checked" WHERE fits("checked")"#);
}

#[test]
fn nothing_but_the_table_itself_is_plain() {
    let subquery = || Expression::new(PgType::INT4, Node::Subquery(Box::new(scan("a", &[0], vec![]))));
    let limited = Relation::Table(Scan { store: store(), table: id("a"), columns: vec![0], filter: Vec::new(), limit: Some(1) });
    let refused = [
        scan("b", &[0], vec![]),
        limited,
        filter(scan("a", &[0], vec![]), is(column(0), subquery())),
        project(scan("a", &[0], vec![]), vec![add(subquery(), 1)]),
        project(project(scan("a", &[0], vec![]), vec![column(0)]), vec![column(0)]),
        filter(project(scan("a", &[0], vec![]), vec![column(0)]), is(column(0), column(0))),
        Relation::Distinct { input: Box::new(scan("a", &[0], vec![])) },
        Relation::Union { inputs: vec![scan("a", &[0], vec![])] },
        Relation::Limit { input: Box::new(scan("a", &[0], vec![])), offset: 0, limit: Some(1) },
        Relation::Values { types: vec![PgType::INT4], rows: vec![vec![None]] },
    ];
    for relation in refused {
        assert!(!is_plain(&relation, &id("a")), "{relation:?}");
        let mut sql = Sql::bound(Dialect::Postgres);
        assert!(update(&updated(a(), relation.clone(), &[0]), &Plain, &mut sql).is_err(), "{relation:?}");
        assert!(delete(&deleted(a(), relation), &Plain, &mut sql).is_err());
        assert_eq!(sql.text(), "");
    }
    for relation in [scan("a", &[0], vec![]), filter(filter(scan("a", &[0], vec![]), is(column(0), column(0))), column(0))] {
        assert!(is_plain(&relation, &id("a")) && is_plain(&project(relation, vec![column(0)]), &id("a")));
    }
}

#[test]
fn values_and_columns_must_pair() {
    for set in [&[][..], &[0, 1], &[9]] {
        let edit = updated(a(), project(scan("a", &[0], vec![]), vec![column(0)]), set);
        assert!(update(&edit, &Plain, &mut Sql::bound(Dialect::Postgres)).is_err(), "{set:?}");
    }
}

#[test]
fn what_is_set_from_left_to_right_is_noticed() {
    let rows = || scan("a", &[1, 0], vec![]);
    let seven = || constant(Value::Int(7), PgType::INT4);
    let forms = [
        // x = y, y = x
        (project(rows(), vec![column(0), column(1)]), vec![0, 1], true),
        // x = x + 1, y = 7
        (project(rows(), vec![add(column(1), 1), seven()]), vec![0, 1], false),
        // y = 7, x = y + 1
        (project(rows(), vec![seven(), add(column(0), 1)]), vec![1, 0], true),
        // x = 7, z = y + 1
        (project(filter(rows(), is(column(0), column(1))), vec![seven(), add(column(0), 1)]), vec![0, 2], false),
        // x = y, y = x, by the columns of the rows
        (rows(), vec![0, 1], true),
        // x = y, z = x
        (filter(rows(), is(column(0), column(1))), vec![0, 2], true),
        // z = y, y = x
        (rows(), vec![2, 1], false),
    ];
    for (relation, set, expected) in forms {
        assert_eq!(reads_assigned(&updated(a(), relation.clone(), &set)), expected, "{relation:?} {set:?}");
    }
}

/// Names and values that would end their place if it were not guarded.
const HOSTILE: &[&str] =
    &["\\' or 1=1 -- ", "a''b", "\"; DROP TABLE x; --", "`; DROP TABLE x; -- ", "$1", "?", "a\nb", "name", "excluded"];

#[test]
fn hostile_values_are_never_part_of_the_text() {
    for dialect in [Dialect::Postgres, Dialect::MySql, Dialect::Sqlite] {
        for &hostile in HOSTILE {
            let text = || constant(Value::Text(hostile.to_owned()), PgType::TEXT);
            let named =
                Predicate::Compare { column: ColumnRef::of(1), op: Comparison::Equal, value: Value::Text(hostile.to_owned()) };
            let harmless = |word: &str| {
                let text = || constant(Value::Text(word.to_owned()), PgType::TEXT);
                let rows = filter(scan("a", &[0], vec![below(1, 1)]), is(column(0), text()));
                texts(dialect, |sql| update(&updated(a(), project(rows, vec![text()]), &[2]), &Plain, sql)).0
            };
            let rows = filter(scan("a", &[0], vec![named]), is(column(0), text()));
            let (written, values) = texts(dialect, |sql| update(&updated(a(), project(rows, vec![text()]), &[2]), &Plain, sql));
            assert_eq!(written, harmless("x").replace(" < ", " = "), "{hostile:?}");
            assert_eq!(values, vec![Value::Text(hostile.to_owned()); 3]);
        }
    }
}

#[test]
fn hostile_names_stay_names() {
    for dialect in [Dialect::Postgres, Dialect::MySql, Dialect::Sqlite] {
        for &hostile in HOSTILE {
            let table = table_of(hostile, &[hostile, "y"]);
            let quoted = dialect.quote(hostile);
            let whole = dialect.table(&table.id);
            let rows = filter(scan(hostile, &[0], vec![]), is(column(0), column(0)));
            let condition = format!("({quoted}.{quoted} = {quoted}.{quoted})");
            let edit = updated(table.clone(), project(rows.clone(), vec![column(0)]), &[0]);
            let (text, _) = texts(dialect, |sql| update(&edit, &Plain, sql));
            assert_eq!(text, format!("UPDATE {whole} SET {quoted} = {quoted}.{quoted} WHERE {condition}"));
            let (text, _) = texts(dialect, |sql| delete(&deleted(table.clone(), rows), &Plain, sql));
            assert_eq!(text, format!("DELETE FROM {whole} WHERE {condition}"));
            let (text, _) = texts(dialect, |sql| insert_head(&table, &[1, 0], sql));
            assert_eq!(text, format!("INSERT INTO {whole} ({}, {quoted})", dialect.quote("y")));
            let action = ConflictAction::Update(vec![(0, Proposed::Excluded(0))]);
            let met = Conflict { target: ConflictTarget::Columns(vec![0]), action };
            let (text, _) = texts(dialect, |sql| conflict(&met, &table, &|_, _, _| Ok(()), sql));
            assert_eq!(text, format!(" ON CONFLICT ({quoted}) DO UPDATE SET {quoted} = excluded.{quoted}"));
        }
    }
}

#[test]
fn inserts_name_their_columns_and_conflicts() {
    let (text, _) = texts(Dialect::Sqlite, |sql| insert_head(&a(), &[], sql));
    assert_eq!(text, r#"INSERT INTO "n"."a""#);
    assert!(insert_head(&a(), &[3], &mut Sql::bound(Dialect::Sqlite)).is_err());
    let spell = |ordinal: usize, value: Option<&Value>, sql: &mut Sql| {
        sql.push(if ordinal == 1 { "y:" } else { "?:" });
        match value {
            Some(value) => sql.push_value(value.clone()),
            None => {
                sql.push("NULL");
                Ok(())
            }
        }
    };
    let written = |target: ConflictTarget, action: ConflictAction| {
        let mut sql = Sql::bound(Dialect::Postgres);
        conflict(&Conflict { target, action }, &a(), &spell, &mut sql).map(|()| sql.into_parts())
    };
    let key = || ConflictTarget::Columns(vec![0, 2]);
    let set = ConflictAction::Update;
    assert_eq!(written(ConflictTarget::Any, ConflictAction::Nothing).unwrap().0, " ON CONFLICT DO NOTHING");
    assert_eq!(written(key(), ConflictAction::Nothing).unwrap().0, r#" ON CONFLICT ("x", "z") DO NOTHING"#);
    let values = vec![
        (0, Proposed::Excluded(2)),
        (1, Proposed::Constant(Some(Value::Text("a''b".to_owned())))),
        (1, Proposed::Constant(None)),
    ];
    let (text, values) = written(key(), set(values)).unwrap();
    assert_eq!(text, r#" ON CONFLICT ("x", "z") DO UPDATE SET "x" = excluded."z", "y" = y:$1, "y" = y:NULL"#);
    assert_eq!(values, [Value::Text("a''b".to_owned())]);
    let refused = [
        (ConflictTarget::Any, set(vec![(0, Proposed::Excluded(0))])),
        (ConflictTarget::Columns(Vec::new()), ConflictAction::Nothing),
        (key(), set(Vec::new())),
        (key(), set(vec![(3, Proposed::Excluded(0))])),
        (key(), set(vec![(0, Proposed::Excluded(3))])),
        (ConflictTarget::Columns(vec![3]), ConflictAction::Nothing),
    ];
    for (target, action) in refused {
        assert!(written(target.clone(), action.clone()).is_err(), "{target:?} {action:?}");
    }
}

#[test]
fn fields_of_documents_are_not_written() {
    let mut table = Table::clone(&a());
    let marked = Field::new("y", DataType::Utf8, true).with_metadata([(COLUMN_KEY.to_owned(), "doc".to_owned())].into());
    table.columns[1].field = marked;
    let table = Arc::new(table);
    let rows = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let insert = |columns: &[usize], conflict: Option<Conflict>| {
        let (columns, returning) = (columns.to_vec(), vec![1]);
        Edit::Insert(Insert {
            store: store(),
            table: table.clone(),
            columns,
            rows: rows.clone(),
            conflict,
            paths: Vec::new(),
            returning,
        })
    };
    let update_rows = |key: &[usize], set: &[usize]| {
        let (key, set) = (key.to_vec(), set.to_vec());
        Edit::UpdateRows(UpdateRows {
            store: store(),
            table: table.clone(),
            key,
            set,
            rows: rows.clone(),
            paths: Vec::new(),
            returning: vec![1],
        })
    };
    let delete_rows = |key: &[usize]| {
        let rows = rows.clone();
        Edit::DeleteRows(DeleteRows { store: store(), table: table.clone(), key: key.to_vec(), rows, returning: vec![1] })
    };
    let nothing = |key: usize| Conflict { target: ConflictTarget::Columns(vec![key]), action: ConflictAction::Nothing };
    let setting = |column: usize| Conflict {
        target: ConflictTarget::Columns(vec![0]),
        action: ConflictAction::Update(vec![(column, Proposed::Constant(None))]),
    };
    let relation = || project(scan("a", &[0], vec![]), vec![column(0)]);
    let forms = [
        (insert(&[0, 2], None), insert(&[0, 1], None)),
        (insert(&[0], Some(nothing(0))), insert(&[0], Some(nothing(1)))),
        (insert(&[0], Some(setting(2))), insert(&[0], Some(setting(1)))),
        (update_rows(&[0], &[2]), update_rows(&[1], &[2])),
        (update_rows(&[0], &[]), update_rows(&[0], &[1])),
        (delete_rows(&[0]), delete_rows(&[1])),
        (Edit::Update(updated(table.clone(), relation(), &[0])), Edit::Update(updated(table.clone(), relation(), &[1]))),
        (Edit::Delete(deleted(table.clone(), relation())), insert(&[3], None)),
    ];
    for (taken, refused) in forms {
        assert_eq!(writes_columns(&taken), Ok(()));
        assert!(writes_columns(&refused).is_err(), "{refused:?}");
    }
    assert_eq!(writes_columns(&insert(&[1], None)).unwrap_err().subject, "column \"y\"");
}
