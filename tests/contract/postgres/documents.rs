//! JSON columns that the store file declares as documents.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use tokio_util::sync::CancellationToken;
use tributary::error::Diagnose;
use tributary::pgtype::PgType;
use tributary::stores::edit::{self, Edit, UpdateRows};
use tributary::stores::predicate::{ColumnRef, Comparison};
use tributary::stores::value::Value;
use tributary::stores::{Connector, Predicate, Purpose, Pushdown, StoreName, Table};

use super::super::documents::{self, Texts, check_errors, check_inserted, check_pushed, read, show};
use super::Fixture;

/// The table `docs` with one row per document.
async fn filled(native_type: &str, on_mismatch: &str, documents: &[Option<String>]) -> Fixture {
    let mut fixture = Fixture::on(crate::support::postgres().await, &documents::declared(on_mismatch)).await;
    fixture.run(&format!("CREATE TABLE docs (id bigint PRIMARY KEY, doc {native_type})")).await;
    for (number, document) in (0_i64..).zip(documents) {
        let insert = sqlx::query("INSERT INTO docs SELECT $1, $2::text::json");
        let insert = if native_type == "jsonb" { sqlx::query("INSERT INTO docs SELECT $1, $2::text::jsonb") } else { insert };
        insert
            .bind(number)
            .bind(document)
            .execute(&mut fixture.plain)
            .await
            .unwrap_or_else(|error| panic!("{document:?}: {error}"));
    }
    fixture
}

#[tokio::test]
async fn pushed_conditions_on_fields_answer_as_the_engine_would() {
    for (native_type, texts) in [("jsonb", Texts::Plain), ("json", Texts::Any)] {
        let fitting = documents::documents(1, 150, false, texts);
        let straying = documents::documents(2, 200, true, texts);
        for (seed, on_mismatch, documents) in [(1, "null", &straying), (2, "error", &fitting), (3, "text", &fitting)] {
            let fixture = filled(native_type, on_mismatch, documents).await;
            check_pushed(&fixture.connector, &fixture.table("docs").await, seed).await;
        }
        let fixture = filled(native_type, "error", &straying).await;
        check_errors(&fixture.connector, &fixture.table("docs").await, 4).await;
    }
}

#[tokio::test]
async fn new_rows_are_documents_of_their_fields() {
    for native_type in ["jsonb", "json"] {
        let mut fixture = filled(native_type, "error", &[]).await;
        check_inserted(&fixture.connector, &fixture.table("docs").await).await;
        let stored = fixture.ask("SELECT doc::jsonb::text FROM docs WHERE id = 1").await.unwrap();
        let expected = r#"{"i": 9007199254740993, "n": 1.50, "s": {"t": "x"}, "t": "a\"b", "odd'key": "q"}"#;
        assert_eq!(stored, expected, "in {native_type}");
    }
}

/// New values of fields of the documents with these keys.
fn set_fields(table: &Arc<Table>, fields: &[&str], keys: &[i64], values: Vec<ArrayRef>) -> Edit {
    let ordinal = |name: &str| table.columns.iter().position(|column| column.name() == name).unwrap();
    let set: Vec<usize> = fields.iter().map(|name| ordinal(name)).collect();
    let keys: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
    let columns =
        std::iter::once(&ordinal("id")).chain(&set).map(|ordinal| edit::field(&table.columns[*ordinal])).collect::<Vec<_>>();
    let arrays = std::iter::once(keys).chain(values).collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(columns)), arrays).unwrap();
    let (store, table, key) = (StoreName::new("crm"), table.clone(), vec![ordinal("id")]);
    Edit::UpdateRows(UpdateRows { store, table, key, paths: Vec::new(), returning: set[..1].to_vec(), set, rows })
}

#[tokio::test]
async fn a_field_of_jsonb_is_set_beside_others_that_stay_as_they_were() {
    let first = r#"{"i": 1, "n": 1.500, "other": [1.0, {"x": null}], "t": "a"}"#;
    let documents = [Some(first.to_owned()), None, Some("[1]".to_owned())];
    let mut fixture = filled("jsonb", "null", &documents).await;
    let table = fixture.table("docs").await;
    let texts = |values: &[Option<&str>]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let ints = |values: &[Option<i64>]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
    let once = async |edit: Edit| {
        assert_eq!(fixture.connector.accepts_edit(&edit), Ok(()));
        let branch = fixture.connector.open(Purpose::Once).await.unwrap();
        branch.edit(&edit, &CancellationToken::new()).await
    };
    let both = set_fields(&table, &["t", "i"], &[0, 1], vec![texts(&[Some("it's"), None]), ints(&[Some(7), Some(8)])]);
    let edited = once(both).await.unwrap();
    assert_eq!((edited.rows, show(&edited.returned.unwrap())), (2, vec![vec!["it's".to_owned()], vec!["~".to_owned()]]));
    let nested = set_fields(&table, &["s"], &[1], vec![texts(&[Some("{\"a\": 5}")])]);
    assert_eq!(once(nested).await.unwrap().rows, 1);
    let unfit = set_fields(&table, &["s"], &[1], vec![texts(&[Some("{\"a\": \"x\"}")])]);
    assert_eq!(once(unfit).await.unwrap_err().sqlstate(), "22P02");
    let no_document = set_fields(&table, &["t"], &[2], vec![texts(&[Some("x")])]);
    assert_eq!(once(no_document).await.unwrap_err().sqlstate(), "22P02");
    let stored = fixture.ask("SELECT string_agg(coalesce(doc::text, '~'), ' ' ORDER BY id) FROM docs").await.unwrap();
    let expected = r#"{"i": 7, "n": 1.500, "t": "it's", "other": [1.0, {"x": null}]} {"i": 8, "s": {"a": 5}, "t": null} [1]"#;
    assert_eq!(stored, expected);
    let text = filled("json", "error", &[]).await;
    let table = text.table("docs").await;
    assert!(text.connector.accepts_edit(&set_fields(&table, &["i"], &[0], vec![ints(&[Some(1)])])).is_err());
}

#[tokio::test]
async fn fields_become_typed_columns() {
    let options = "[tables.reviews]\ndocument = \"doc\"\ninclude_document = true\n[tables.\"other.notes\"]\ndocument = \"body\"\n\
                   [tables.gone]\ndocument = \"doc\"\n[tables.plain]\ndocument = \"words\"\n[tables.keyed]\ndocument = \"doc\"";
    let mut fixture = Fixture::on(crate::support::postgres().await, options).await;
    fixture
        .run(
            r#"CREATE TABLE reviews (id int PRIMARY KEY, doc jsonb NOT NULL, "at" date);
             INSERT INTO reviews VALUES
               (1, '{"id": "r1", "rating": 5, "author": {"name": "Ada", "age": 36}, "tags": ["a", "b"]}', '2024-01-02'),
               (2, '{"id": "r2", "rating": 3, "author": {"name": "Bob''s"}, "score": 0.5}', NULL), (3, '{"rating": 4}', NULL);
             CREATE SCHEMA other; CREATE DOMAIN other.payload AS json;
             CREATE TABLE other.notes (body other.payload); INSERT INTO other.notes VALUES ('{"n": 1, "n": 2.5}'), (NULL);
             CREATE TABLE plain (words text); CREATE TABLE keyed (doc jsonb PRIMARY KEY)"#,
        )
        .await;
    let schema = fixture.connector.discover().await.unwrap();
    let unmet: Vec<String> = schema.unmet.iter().map(ToString::to_string).collect();
    let expected = [
        "tables.keyed.document: \"doc\" is part of a key or index and stays one column",
        "tables.plain.document: \"words\" is not of type json or jsonb",
        "tables.gone: names nothing that the store has",
    ];
    assert_eq!(unmet, expected);
    let table = fixture.table("reviews").await;
    let names: Vec<&str> = table.columns.iter().map(|column| column.name()).collect();
    assert_eq!(names[..2], ["id", "at"]);
    let ordinal = |name: &str| names.iter().position(|found| *found == name).unwrap();
    let columns: Vec<usize> = ["_doc", "doc_id", "at", "rating", "author", "tags", "score"].map(ordinal).to_vec();
    assert_eq!(table.columns[ordinal("rating")].pg_type(), PgType::INT8);
    assert_eq!(table.columns[ordinal("tags")].pg_type(), PgType::TEXT.array().unwrap());
    let rows = show(&read(&fixture.connector, &table, columns, vec![]).await.unwrap());
    // `jsonb` orders fields by their length.
    assert_eq!(rows[0][1..], ["r1", "2024-01-02", "5", "{age: 36, name: Ada}", "[a, b]", "~"]);
    assert_eq!(rows[1][1..], ["r2", "~", "3", "{age: , name: Bob's}", "~", "0.5"].map(|text| text.replace("age: ,", "age: ~,")));
    assert_eq!(rows[2], ["{\"rating\":4}", "~", "~", "4", "~", "~", "~"]);
    let other = schema.tables.iter().find(|table| table.id.namespace == "other").unwrap();
    let rows = show(&read(&fixture.connector, other, vec![0], vec![]).await.unwrap());
    assert_eq!((rows.len(), rows[0][0].as_str(), rows[1][0].as_str()), (2, "2.5", "~"));
}

#[tokio::test]
async fn a_changed_json_column_is_noticed() {
    let mut fixture = Fixture::on(crate::support::postgres().await, &documents::declared("error")).await;
    fixture.run("CREATE TABLE docs (id int PRIMARY KEY, doc jsonb); INSERT INTO docs VALUES (1, '{\"i\": 1}')").await;
    let table = fixture.table("docs").await;
    fixture.run("ALTER TABLE docs ALTER doc TYPE json").await;
    let error = fixture.read(&table, vec![]).await.unwrap_err();
    assert!(matches!(error, tributary::stores::StoreError::SchemaChanged { .. }), "{error:?}");
    let table = fixture.table("docs").await;
    let column = table.columns.iter().position(|column| column.name() == "i").unwrap();
    assert_eq!(show(&read(&fixture.connector, &table, vec![column], vec![]).await.unwrap()), [["1"]]);
}

#[tokio::test]
async fn misfits_name_their_field_and_samples_only_widen() {
    let mut fixture = Fixture::on(crate::support::postgres().await, "[tables.d]\ndocument = \"doc\"").await;
    fixture.run("CREATE TABLE d (doc json); INSERT INTO d VALUES ('{\"n\": 1, \"once\": true}')").await;
    let table = fixture.table("d").await;
    let below = Predicate::Compare { column: ColumnRef::of(0), op: Comparison::Less, value: Value::Int(5) };
    let Pushdown::Superset(_) = fixture.connector.pushdown(&table, &below) else { panic!("refused") };
    let scan = super::scan_of(&table, vec![below]);
    let shown = fixture.connector.describe_scan(&table, &scan);
    assert!(shown.contains("json_typeof(\"doc\" -> 'n'::pg_catalog.text) = 'number'"), "{shown}");
    fixture.run("DELETE FROM d; INSERT INTO d VALUES ('{\"n\": \"x\"}')").await;
    let error = fixture.read(&table, vec![]).await.unwrap_err();
    assert_eq!(error.sqlstate(), "22P02");
    assert!(error.to_string().contains("crm.d.doc.n is a value of type text"), "{error}");
    let learned = fixture.connector.learned().unwrap();
    let wider = fixture.table("d").await;
    assert_eq!(wider.columns.iter().map(|column| column.name()).collect::<Vec<_>>(), ["n", "once"]);
    assert_eq!(wider.columns[0].pg_type(), PgType::TEXT);
    // Another process that remembers the first discovery comes to the same.
    let other: &dyn Connector = fixture.connector.as_ref();
    let version = |learned: &serde_json::Value| learned[0]["schema"]["version"].as_u64().unwrap();
    assert_eq!((version(&learned), version(&other.learned().unwrap())), (1, 2));
}
