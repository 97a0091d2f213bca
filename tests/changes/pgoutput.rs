//! PostgreSQL's stream by another reader: the same bytes, which a second slot gives, read by `pg_walstream` and told by our feed.

use std::collections::BTreeMap;

use pg_walstream::{ColumnData, LogicalReplicationMessage, LogicalReplicationParser, TupleData};
use sqlx::AssertSqlSafe;

use super::follow::until_told;
use super::native::Native;
use super::room::{self, LOG};

const SCHEMA: &str = "CREATE SCHEMA other; CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE TABLE orders (id bigint PRIMARY KEY, v text, big text, mood mood);
    CREATE TABLE other.orders (a int, b text, v text, PRIMARY KEY (b, a));
    CREATE TABLE whole (id int PRIMARY KEY, v text, w int); ALTER TABLE whole REPLICA IDENTITY FULL";

/// Every kind of message that a server sends without being asked for more: several schemas, types, origins, keys of two columns, whole
/// old rows, values that are left out, truncations of several tables, transactions with undone parts, and messages of others.
const SCRIPT: &[&str] = &[
    "INSERT INTO orders VALUES (1, 'a', (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 2000) AS n), 'sad')",
    "UPDATE orders SET v = 'b'",
    "UPDATE orders SET id = 2, mood = NULL",
    "INSERT INTO other.orders VALUES (1, 'x', 'é'), (2, 'y', ''), (3, '|', NULL)",
    "UPDATE other.orders SET a = a + 10 WHERE b = 'x'",
    "DELETE FROM other.orders WHERE b = 'y'",
    "BEGIN; INSERT INTO whole VALUES (1, 'a', 1); SAVEPOINT s; INSERT INTO whole VALUES (2, 'b', 2); ROLLBACK TO s; \
     UPDATE whole SET w = 5; COMMIT",
    "UPDATE whole SET id = 7",
    "DELETE FROM whole",
    "SELECT pg_logical_emit_message(true, 'somebody', 'else')",
    "BEGIN; SELECT pg_replication_origin_session_setup('@ORIGIN@'); \
     SELECT pg_replication_origin_xact_setup('0/1', now()); INSERT INTO orders VALUES (9, 'from elsewhere', NULL, 'happy'); COMMIT",
    "SELECT pg_replication_origin_session_reset()",
    "BEGIN; INSERT INTO whole VALUES (3, 'c', 3); TRUNCATE orders, other.orders; INSERT INTO orders VALUES (3, 'behind', '', 'sad'); COMMIT",
];

/// What a message tells, as our feed would.
struct Reader {
    parser: LogicalReplicationParser,
    /// Schema, name, and for each column its name and whether it is of the key.
    tables: BTreeMap<u32, (String, Vec<(String, bool)>)>,
}

impl Reader {
    fn read(&mut self, message: &[u8]) -> Vec<String> {
        match self.parser.parse_wal_message(message).unwrap().message {
            LogicalReplicationMessage::Relation { relation_id, namespace, relation_name, columns, .. } => {
                let columns = columns.iter().map(|column| (column.name.to_string(), column.is_key())).collect();
                let schema = if &*namespace == "public" { "pg".to_owned() } else { format!("pg_{namespace}") };
                self.tables.insert(relation_id, (format!("{schema}.{relation_name}"), columns));
                Vec::new()
            }
            LogicalReplicationMessage::Insert { relation_id, tuple } => vec![self.row("insert", relation_id, &tuple)],
            LogicalReplicationMessage::Update { relation_id, old_tuple, new_tuple, .. } => {
                // Whole old rows fill in what the new one leaves out; none of them does here.
                assert!(old_tuple.is_none() || new_tuple.column_count() > 0);
                vec![self.row("update", relation_id, &new_tuple)]
            }
            LogicalReplicationMessage::Delete { relation_id, old_tuple, .. } => vec![self.row("delete", relation_id, &old_tuple)],
            LogicalReplicationMessage::Truncate { relation_ids, .. } => {
                relation_ids.iter().map(|id| format!("truncate {} {{}} {{}}", self.tables[id].0)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Operation, table, key, and the new row without what was left out of it.
    fn row(&self, operation: &str, relation: u32, tuple: &TupleData) -> String {
        let (table, columns) = &self.tables[&relation];
        let cells = |only_key: bool| -> BTreeMap<&str, Option<String>> {
            let cells =
                columns.iter().zip(&tuple.columns).filter(|((_, is_key), cell)| (*is_key || !only_key) && !cell.is_unchanged());
            cells.map(|((name, _), cell)| (name.as_str(), shown(cell))).collect()
        };
        let new = if operation == "delete" { BTreeMap::new() } else { cells(false) };
        // The identity of a table with whole old rows is every column; its key is what it is called by.
        let mut key = cells(true);
        if table == "pg.whole" {
            key.retain(|name, _| *name == "id");
        }
        format!("{operation} {table} {key:?} {new:?}")
    }
}

fn shown(cell: &ColumnData) -> Option<String> {
    cell.as_string()
}

/// A JSON object as the other reader's cells are shown.
fn cells(json: &str) -> String {
    let object: serde_json::Value = if json == "~" { serde_json::json!({}) } else { serde_json::from_str(json).unwrap() };
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let cells: BTreeMap<&str, Option<String>> =
        object.as_object().unwrap().iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    format!("{cells:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_reader_of_the_stream_of_postgres_reads_what_we_tell() {
    let (room, mut native) = room::of_postgres(SCHEMA, LOG, &["orders", "whole"]).await;
    let name = format!("second_{:016x}", rand::random::<u64>());
    native.run(&format!("CREATE PUBLICATION {name} FOR TABLE public.orders, other.orders, whole")).await;
    native.run(&format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")).await;
    native.run(&format!("SELECT pg_replication_origin_create('{name}')")).await;
    for statement in SCRIPT {
        native.run(&statement.replace("@ORIGIN@", &name)).await;
    }
    let Native::Postgres(connection) = &mut native else { panic!("this is no PostgreSQL") };
    let sql = format!(
        "SELECT data FROM pg_logical_slot_get_binary_changes('{name}', NULL, NULL, 'proto_version', '1', \
         'publication_names', '{name}', 'messages', 'true')"
    );
    let messages: Vec<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut *connection).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("SELECT pg_drop_replication_slot('{name}'); SELECT pg_replication_origin_drop('{name}')")))
        .execute(connection)
        .await
        .unwrap();
    let mut reader = Reader { parser: LogicalReplicationParser::with_protocol_version(1), tables: BTreeMap::new() };
    let expected: Vec<String> = messages.iter().flat_map(|message| reader.read(message)).collect();
    assert!(expected.len() == 17, "{expected:#?}");
    let shown = "op || ' ' || table_schema || '.' || table_name, key, new";
    let rows = until_told(room.session(), ("pg", shown), expected.len()).await;
    let told: Vec<String> = rows.iter().map(|row| described(row)).collect();
    assert_eq!(told, expected);
    // Where it was written first is told with the transaction, and changes nothing else.
    let origin = "SELECT count(*) FROM tributary.changes WHERE new->>'v' = 'from elsewhere'";
    assert_eq!(room.session().answer(origin).await, "1");
}

/// A row of three fields, of which the last two are JSON that may hold `|` in its texts.
fn described(row: &str) -> String {
    let (event, rest) = row.split_once('|').unwrap();
    let end =
        (0..rest.len()).filter(|at| rest.as_bytes()[*at] == b'|').find(|at| is_json(&rest[..*at]) && is_json(&rest[at + 1..]));
    let (key, new) = rest.split_at(end.unwrap());
    format!("{event} {} {}", cells(key), cells(&new[1..]))
}

fn is_json(text: &str) -> bool {
    text == "~" || serde_json::from_str::<serde_json::Value>(text).is_ok()
}
