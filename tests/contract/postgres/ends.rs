//! The end of a COPY over every way to a server: nothing is lost where data are cut, and nobody waits for an acknowledgement.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use sqlx::{AssertSqlSafe, Executor};
use tributary::sandbox::{Postgres, Setup};
use tributary::stores::edit::{Insert, field};
use tributary::stores::{Branch, Connector, Edit, StoreName, Table};

use super::loads::SENT;
use super::reaching::store;
use super::writes::{WRITE, run};
use crate::support::authority::Authority;
use crate::support::{proxy, throwaway};

/// Rows of one edit.
const ROWS: usize = 100;
/// Bytes of the data beside the texts: the header, and for each row the number of its columns, two lengths and a number.
const FRAME: usize = 19 + ROWS * (2 + 4 + 4 + 4);
/// Sizes of data, but for the two bytes that end them: around records of TLS, and around what is sent at a time.
const SIZES: &[usize] =
    &[5_000, 16_378, 16_379, 16_384, 16_385, 65_529, 65_533, 65_534, 65_535, 65_536, 65_537, 131_070, 131_072, 131_073, 1_000_000];

async fn table(connector: &Arc<dyn Connector>) -> Arc<Table> {
    let schema = connector.discover().await.unwrap();
    Arc::clone(schema.tables.iter().find(|table| table.id.name == "t").unwrap())
}

/// New rows of letters. The last of them is as long as `size` asks for.
fn letters(table: &Arc<Table>, first: i32, rows: usize, size: usize) -> Edit {
    let ids: Vec<i32> = (first..).take(rows).collect();
    let last = size.saturating_sub(FRAME + (ROWS - 1) * 10).max(1);
    let texts = ids.iter().enumerate().map(|(place, id)| {
        let letter = char::from(b'a' + u8::try_from(id % 26).unwrap());
        letter.to_string().repeat(if place + 1 == rows { last } else { 10 })
    });
    let texts: StringArray = texts.map(Some).collect();
    let schema = Arc::new(Schema::new(table.columns.iter().map(field).collect::<Vec<_>>()));
    let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(ids)), Arc::new(texts)];
    let rows = RecordBatch::try_new(schema, columns).unwrap();
    let (store, table) = (StoreName::new("crm"), Arc::clone(table));
    Edit::Insert(Insert { store, table, columns: vec![0, 1], paths: Vec::new(), rows, conflict: None, returning: Vec::new() })
}

async fn put(branch: &Arc<dyn Branch>, edit: &Edit) {
    let rows = u64::try_from(edit.rows().unwrap().num_rows()).unwrap();
    assert_eq!(run(branch, edit).await.unwrap().rows, rows);
}

async fn ask(server: &Postgres, sql: &str) -> String {
    let mut plain = proxy::direct(server, server.database()).await;
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut plain).await.unwrap()
}

#[tokio::test]
async fn data_of_any_size_are_whole_over_every_way_to_postgres() {
    let authority = Authority::new();
    let sockets = tempfile::tempdir().unwrap();
    // The server has an account of its own, which makes the socket there.
    std::fs::set_permissions(sockets.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let arguments = vec!["-c".to_owned(), format!("unix_socket_directories={}", sockets.path().display())];
    let setup = Setup { tls: Some(authority.certify(&["localhost"])), arguments, ..throwaway() };
    let server = Postgres::start_with(&setup).await.unwrap();
    let mut plain = proxy::direct(&server, server.database()).await;
    plain.execute("CREATE TABLE t (id int PRIMARY KEY, letters text NOT NULL)").await.unwrap();
    let directory = sockets.path().to_str().unwrap();
    for (host, options) in [("127.0.0.1", "tls = 'disable'"), ("localhost", "tls = 'require'"), (directory, "")] {
        let connector = store(&server, host, server.password(), options);
        let table = table(&connector).await;
        let branch = connector.open(WRITE).await.unwrap();
        put(&branch, &letters(&table, 0, 1, 0)).await;
        let (mut next, mut given) = (1, 1);
        for size in SIZES {
            put(&branch, &letters(&table, next, ROWS, *size)).await;
            next += i32::try_from(ROWS).unwrap();
            given += size - FRAME;
        }
        assert_eq!(ask(&server, SENT).await, "COPY", "{host}");
        branch.commit().await.unwrap();
        let found = "SELECT count(*) || ' ' || sum(length(letters)) || ' ' || bool_and(letters = repeat(chr(97 + id % 26), length(letters))) FROM t";
        assert_eq!(ask(&server, found).await, format!("{next} {given} true"), "{host}");
        plain.execute("TRUNCATE t").await.unwrap();
    }
}
