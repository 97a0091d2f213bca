//! JSON columns that the store file declares as documents.

use sqlx::{Connection, Row};

use super::super::documents::{check_inserted, declared};
use super::{connector, file};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_rows_are_documents_of_their_fields() {
    let (directory, mut plain, _) = file("CREATE TABLE docs (id INTEGER PRIMARY KEY, doc JSON)").await;
    let connector = connector(&directory.path().join("shop.db"), &declared("error"));
    let schema = connector.discover().await.unwrap();
    let table = schema.tables.iter().find(|table| table.id.name == "docs").unwrap();
    check_inserted(&connector, table).await;
    let row = sqlx::query("SELECT doc FROM docs WHERE id = 1").fetch_one(&mut plain).await.unwrap();
    assert_eq!(row.get::<String, _>(0), r#"{"t":"a\"b","n":1.50,"i":9007199254740993,"s":{"t":"x"},"odd'key":"q"}"#);
    plain.close().await.unwrap();
}
