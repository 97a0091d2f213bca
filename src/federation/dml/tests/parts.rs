//! Fields inside of documents that get values by themselves.

use arrow::datatypes::Fields;

use super::*;

/// The usual table with `person {name text, age bigint, home {zip text}}` behind its columns.
fn room(finds: bool) -> Room {
    let named = |name: &str, data_type: DataType, pg_type: PgType| Field::new(name, data_type, true).with_pg_type(pg_type);
    let home = DataType::Struct(Fields::from(vec![named("zip", DataType::Utf8, PgType::TEXT)]));
    let person = DataType::Struct(Fields::from(vec![
        named("name", DataType::Utf8, PgType::TEXT),
        named("age", DataType::Int64, PgType::INT8),
        named("home", home, PgType::JSON),
    ]));
    let plain = table(true);
    let mut columns = plain.columns.clone();
    let id = columns[0].clone();
    columns.push(Column { field: named("person", person, PgType::JSON), ..id });
    let schema = Table::arrow_schema(&columns);
    Room::over(finds, Table { columns, schema, ..plain })
}

#[tokio::test]
async fn fields_get_values_by_themselves() {
    let rows: &[(&str, &[&str])] = &[
        ("UPDATE t SET person.name = 'x' WHERE id = 1", &["UPDATE id,person.name: 1|x"]),
        ("UPDATE t SET (person.home.zip, qty) = (7, 8) WHERE id = 2", &["UPDATE id,person.home.zip,qty: 2|7|8"]),
        ("UPDATE t SET person.age = qty + 1, person.name = name WHERE id = 1", &["UPDATE id,person.age,person.name: 1|11|a"]),
        ("INSERT INTO t (id, person.name, person.home.zip) VALUES (9, 'x', 7)", &["INSERT id,person.name,person.home.zip: 9|x|7"]),
        ("INSERT INTO t (id, person.age) SELECT 9, '5'", &["INSERT id,person.age: 9|5"]),
        (
            "INSERT INTO t (id, qty) VALUES (1, 5), (7, 8) ON CONFLICT (id) DO UPDATE SET person.name = t.name || '!'",
            &["UPDATE id,person.name: 1|a!", "INSERT id,qty: 7|8"],
        ),
        (
            "INSERT INTO t (id, person.age) VALUES (1, 5), (7, 8) ON CONFLICT (id) DO UPDATE SET person.age = 6",
            &["UPDATE id,person.age: 1|6", "INSERT id,person.age: 7|8"],
        ),
        (
            "MERGE INTO t USING (SELECT 1 AS i) AS s ON t.id = s.i WHEN MATCHED THEN UPDATE SET person.age = 5",
            &["UPDATE id,person.age: 1|5"],
        ),
    ];
    for (sql, expected) in rows {
        check(&room(false), sql, expected).await;
    }
}

#[tokio::test]
async fn edits_have_the_paths_of_fields_beside_their_columns() {
    let of = async |finds: bool, sql: &str| match room(finds).work(sql, &[]).await.unwrap() {
        Work::Edit(edit) => match *edit {
            Edit::Insert(insert) => (insert.columns, insert.paths),
            Edit::Update(update) => (update.set, update.paths),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let path = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let found = of(false, "INSERT INTO t (person.name, id, person.home.zip) VALUES ('x', 9, '7')").await;
    assert_eq!(found, (vec![4, 0, 4], vec![path(&["name"]), path(&[]), path(&["home", "zip"])]));
    let found = of(true, "UPDATE t SET qty = 1, person.age = 5 WHERE id = 1").await;
    assert_eq!(found, (vec![2, 4], vec![path(&[]), path(&["age"])]));
    assert_eq!(of(false, "INSERT INTO t (id, person) VALUES (1, '{}')").await, (vec![0, 4], Vec::new()));
}

#[tokio::test]
async fn fields_are_refused_as_postgres_refuses_them() {
    let room = room(false);
    let rows = [
        ("UPDATE t SET person.nowhere = 1", "42703"),
        ("UPDATE t SET person.home.nowhere = 1", "42703"),
        ("UPDATE t SET nowhere.name = 1", "42703"),
        ("UPDATE t SET qty.x = 1", "42804"),
        ("UPDATE t SET person.name.x = 1", "42804"),
        ("UPDATE t SET person.age = true", "42804"),
        ("UPDATE t SET person.age = 'x'", "22P02"),
        ("UPDATE t SET person.age = 1, person = NULL", "42601"),
        ("UPDATE t SET person = NULL, person.age = 1", "42601"),
        ("UPDATE t SET person.home = '{}', person.home.zip = '1'", "42601"),
        ("UPDATE t SET person.age = DEFAULT", "0A000"),
        ("INSERT INTO t (id, person.age) VALUES (1, DEFAULT)", "0A000"),
        ("INSERT INTO t (id, person.age, person) VALUES (1, 1, NULL)", "42701"),
        ("INSERT INTO t (id, person.nowhere) VALUES (1, 1)", "42703"),
    ];
    for (sql, code) in rows {
        assert_eq!(room.edits(sql, &[]).await, Err(code.to_owned()), "{sql}");
    }
}
