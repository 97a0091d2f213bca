//! JSON columns that the store file declares as documents.

use tributary::error::Diagnose;
use tributary::pgtype::PgType;

use super::super::documents::{self, Texts, check_errors, check_inserted, check_pushed, show};
use super::{Room, all_columns, read, read_all, scan_of};

/// The table `docs` with one row per document.
async fn filled(on_mismatch: &str, documents: &[Option<String>]) -> Room {
    let mut room = Room::new(&documents::declared(on_mismatch)).await;
    room.run("CREATE TABLE docs (id bigint PRIMARY KEY, doc json)").await;
    for (number, document) in (0_i64..).zip(documents) {
        let insert = sqlx::query("INSERT INTO docs VALUES (?, ?)").bind(number).bind(document);
        insert.execute(&mut room.writer).await.unwrap_or_else(|error| panic!("{document:?}: {error}"));
    }
    room
}

#[tokio::test]
async fn pushed_conditions_on_fields_answer_as_the_engine_would() {
    let fitting = documents::documents(3, 250, false, Texts::Any);
    let straying = documents::documents(4, 350, true, Texts::Any);
    for (seed, on_mismatch, documents) in [(5, "null", &straying), (6, "error", &fitting), (7, "text", &fitting)] {
        let room = filled(on_mismatch, documents).await;
        check_pushed(&room.store, &room.table("docs").await, seed).await;
    }
    let room = filled("error", &straying).await;
    check_errors(&room.store, &room.table("docs").await, 8).await;
}

#[tokio::test]
async fn new_rows_are_documents_of_their_fields() {
    let mut room = filled("error", &[]).await;
    check_inserted(&room.store, &room.table("docs").await).await;
    let stored: String = sqlx::query_scalar("SELECT doc FROM docs WHERE id = 1").fetch_one(&mut room.writer).await.unwrap();
    assert_eq!(stored, r#"{"t":"a\"b","n":1.50,"i":9007199254740993,"s":{"t":"x"},"odd'key":"q"}"#);
}

#[tokio::test]
async fn fields_become_typed_columns() {
    let options = "[tables.reviews]\ndocument = \"doc\"\ninclude_document = true\n[tables.gone]\ndocument = \"doc\"\n\
                   [tables.plain]\ndocument = \"words\"";
    let mut room = Room::new(options).await;
    room.run("CREATE TABLE reviews (id int PRIMARY KEY, doc json NOT NULL, at date)").await;
    room.run(
        "INSERT INTO reviews VALUES
           (1, '{\"id\": \"r1\", \"rating\": 5, \"author\": {\"name\": \"Ada\", \"age\": 36}, \"tags\": [\"a\", \"b\"]}', '2024-01-02'),
           (2, '{\"id\": \"r2\", \"rating\": 3, \"author\": {\"name\": \"Bob''s\"}, \"score\": 0.5}', NULL), (3, '{\"rating\": 4}', NULL)",
    )
    .await;
    room.run("CREATE TABLE plain (words longtext)").await;
    let schema = room.store.discover().await.unwrap();
    let unmet: Vec<String> = schema.unmet.iter().map(ToString::to_string).collect();
    let expected = ["tables.plain.document: \"words\" is not declared as JSON", "tables.gone: names nothing that the store has"];
    assert_eq!(unmet, expected);
    let table = room.table("reviews").await;
    let names: Vec<&str> = table.columns.iter().map(|column| column.name()).collect();
    assert_eq!(names, ["id", "at", "doc_id", "rating", "author", "tags", "score", "_doc"]);
    assert_eq!(table.columns[3].pg_type(), PgType::INT8);
    let rows = show(&read_all(&room.store, &table).await.unwrap());
    assert_eq!(rows[0][1..7], ["2024-01-02", "r1", "5", "{name: Ada, age: 36}", "[a, b]", "~"]);
    assert_eq!(rows[2][1..], ["~", "~", "4", "~", "~", "~", "{\"rating\":4}"]);
    let reordered = scan_of(&table, vec![7, 0, 6, 3], vec![]);
    let rows = show(&read(&room.store, &table, &reordered).await.unwrap());
    assert_eq!(rows[1][1..], ["2", "0.5", "3"]);
}

#[tokio::test]
async fn misfits_name_their_field_and_samples_only_widen() {
    let mut room = Room::new("[tables.d]\ndocument = \"doc\"").await;
    room.run("CREATE TABLE d (doc json)").await;
    room.run("INSERT INTO d VALUES ('{\"n\": 1, \"once\": true}')").await;
    let table = room.table("d").await;
    room.run("DELETE FROM d").await;
    room.run("INSERT INTO d VALUES ('{\"n\": \"x\"}')").await;
    let error = read_all(&room.store, &table).await.unwrap_err();
    assert_eq!(error.sqlstate(), "22P02");
    assert!(error.to_string().contains("shop.d.doc.n is a value of type text"), "{error}");
    let wider = room.table("d").await;
    assert_eq!(wider.columns.iter().map(|column| column.name()).collect::<Vec<_>>(), ["n", "once"]);
    assert_eq!(wider.columns[0].pg_type(), PgType::TEXT);
    assert_eq!(all_columns(&wider).len(), 2);
    assert_eq!(show(&read_all(&room.store, &wider).await.unwrap()), [["\"x\"", "~"]]);
}
