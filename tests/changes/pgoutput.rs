//! PostgreSQL's stream by another reader: the same bytes, which a second slot gives, read by `pg_walstream` and told by our feed, of statements
//! that were chosen and of such as a seed makes.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use pg_walstream::{ColumnData, LogicalReplicationMessage, LogicalReplicationParser, TupleData};
use sqlx::AssertSqlSafe;
use tokio_postgres::SimpleQueryMessage;
use tributary::config::environment;

use super::follow::until_told;
use super::native::Native;
use super::room::{self, LOG};
use crate::differential::random::Random;
use crate::support::proxy::Session;

const SCHEMA: &str = "CREATE SCHEMA other; CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE TABLE orders (id bigint PRIMARY KEY, v text, big text, mood mood);
    CREATE TABLE other.orders (a int, b text, v text, PRIMARY KEY (b, a));
    CREATE TABLE whole (id int PRIMARY KEY, v text, w int, big text); ALTER TABLE whole REPLICA IDENTITY FULL;
    CREATE TABLE named (id int, code text NOT NULL, v text); CREATE UNIQUE INDEX by_code ON named (code);
    ALTER TABLE named REPLICA IDENTITY USING INDEX by_code";
/// Transactions that a seed makes, and the seed, unless `TRIBUTARY_TEST_SEED` says another one.
const MADE: usize = 300;
const SEED: u64 = 20_261_123;
/// The most keys that are written at first; those that rows are moved to are above them.
const KEYS: usize = 12;

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

/// Cells by the names of their columns; one without a value is NULL.
type Cells<'a> = BTreeMap<&'a str, Option<String>>;

/// What a message tells, as our feed would.
struct Reader {
    parser: LogicalReplicationParser,
    /// Schema, name, and for each column its name and whether it is of the key that old rows have.
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
            LogicalReplicationMessage::Insert { relation_id, tuple } => vec![self.row("insert", relation_id, None, Some(&tuple))],
            LogicalReplicationMessage::Update { relation_id, old_tuple, new_tuple, key_type } => {
                let old = old_tuple.as_ref().map(|old| (old, key_type.unwrap()));
                vec![self.row("update", relation_id, old, Some(&new_tuple))]
            }
            LogicalReplicationMessage::Delete { relation_id, old_tuple, key_type } => {
                vec![self.row("delete", relation_id, Some((&old_tuple, key_type)), None)]
            }
            LogicalReplicationMessage::Truncate { relation_ids, .. } => {
                relation_ids.iter().map(|id| format!("truncate {} - - -", self.tables[id].0)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Operation, table, key, the old row with how much of it was sent, and the new one without what was left out of it.
    fn row(&self, operation: &str, relation: u32, old: Option<(&TupleData, char)>, new: Option<&TupleData>) -> String {
        let (table, columns) = &self.tables[&relation];
        let old = old.map(|(tuple, kind)| sent(columns, tuple, kind == 'K'));
        let mut new = new.map(|tuple| sent(columns, tuple, false));
        // What was left out since it has not changed is what it was before.
        if let (Some(old), Some(new)) = (&old, &mut new) {
            for (name, value) in old {
                new.entry(*name).or_insert_with(|| value.clone());
            }
        }
        let mut key: Cells<'_> = new.as_ref().or(old.as_ref()).cloned().unwrap_or_default();
        // The identity of a table with whole old rows is every column; its key is what it is called by.
        let is_whole = table == "pg.whole";
        key.retain(
            |name, _| if is_whole { *name == "id" } else { columns.iter().any(|(column, is_key)| *is_key && column == name) },
        );
        format!("{operation} {table} {} {} {}", described(Some(&key)), described(old.as_ref()), described(new.as_ref()))
    }
}

/// What of a row was sent.
fn sent<'a>(columns: &'a [(String, bool)], tuple: &TupleData, is_key_only: bool) -> Cells<'a> {
    assert_eq!(columns.len(), tuple.column_count());
    let cells = columns.iter().zip(&tuple.columns);
    let cells = cells.filter(|((_, is_key), cell)| (*is_key || !is_key_only) && !cell.is_unchanged());
    cells.map(|((name, _), cell)| (name.as_str(), shown(cell))).collect()
}

fn shown(cell: &ColumnData) -> Option<String> {
    cell.as_string().map(short)
}

/// A long text by its length and a number that is made of all of it.
fn short(text: String) -> String {
    if text.len() <= 100 {
        return text;
    }
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{} bytes, {:016x}", text.len(), hasher.finish())
}

fn described(cells: Option<&Cells<'_>>) -> String {
    cells.map_or_else(|| "-".to_owned(), |cells| format!("{cells:?}"))
}

/// A JSON object as the other reader's cells are shown.
fn cells(json: Option<&str>) -> String {
    let object: Option<serde_json::Value> = json.map(|json| serde_json::from_str(json).unwrap());
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(short(text.clone())),
        other => Some(other.to_string()),
    };
    let cells: Option<Cells<'_>> = object.as_ref().map(|object| {
        let object = object.as_object().unwrap();
        object.iter().map(|(name, value)| (name.as_str(), text(value))).collect()
    });
    described(cells.as_ref())
}

/// What our feed has told.
async fn told(session: &Session) -> Vec<String> {
    let sql =
        "SELECT op, table_schema || '.' || table_name, key, old, new FROM tributary.changes WHERE store = 'pg' ORDER BY position";
    let messages = session.simple_query(sql).await.unwrap();
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let field = |row: &tokio_postgres::SimpleQueryRow, place: usize| row.get(place).unwrap_or("-").to_owned();
    rows.map(|row| {
        let [key, old, new] = [2_usize, 3, 4].map(|place| cells(row.get(place)));
        format!("{} {} {key} {old} {new}", field(row, 0), field(row, 1))
    })
    .collect()
}

/// Runs statements and compares, one by one, what the two tell of them; gives what that is.
async fn compare(statements: &[String], what: &str) -> Vec<String> {
    let (room, mut native) = room::of_postgres(SCHEMA, LOG, &["orders", "whole", "named"]).await;
    let name = format!("second_{:016x}", rand::random::<u64>());
    native.run(&format!("CREATE PUBLICATION {name} FOR TABLE public.orders, other.orders, whole, named")).await;
    native.run(&format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")).await;
    native.run(&format!("SELECT pg_replication_origin_create('{name}')")).await;
    for statement in statements {
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
    until_told(room.session(), ("pg", "op"), expected.len()).await;
    let told = told(room.session()).await;
    for (place, (told, expected)) in told.iter().zip(&expected).enumerate() {
        assert_eq!(told, expected, "event {place} of {what}");
    }
    assert_eq!(told.len(), expected.len(), "{what}");
    // Where it was written first is told with the transaction, and changes nothing else.
    let origin = "SELECT count(*) FROM tributary.changes WHERE new->>'v' = 'from elsewhere'";
    let elsewhere = statements.iter().filter(|statement| statement.contains("'from elsewhere'")).count();
    assert_eq!(room.session().answer(origin).await, elsewhere.to_string());
    expected
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_reader_of_the_stream_of_postgres_reads_what_we_tell() {
    let statements: Vec<String> = SCRIPT.iter().map(|statement| (*statement).to_owned()).collect();
    let told = Box::pin(compare(&statements, "the script")).await;
    assert_eq!(told.len(), 17, "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_reader_of_the_stream_of_postgres_reads_what_we_tell_of_whatever_is_written() {
    let seed = environment::text("TRIBUTARY_TEST_SEED").map_or(SEED, |text| text.parse().unwrap());
    let mut maker = Maker { random: Random::new(seed), fresh: 1_000 };
    let statements: Vec<String> = (0..MADE).map(|_| maker.transaction()).collect();
    let told = Box::pin(compare(&statements, &format!("TRIBUTARY_TEST_SEED={seed}"))).await;
    // Of each form of an old row there are some: none, a key, and a whole row.
    let has = |table: &str, old: fn(&str) -> bool| {
        let of_table = told.iter().filter_map(|event| event.strip_prefix(table));
        of_table.filter(|rest| old(rest)).count()
    };
    let without = |rest: &str| rest.contains("} - {");
    let with = |rest: &str| rest.contains("} {");
    assert!(has("update pg.orders ", without) > 0 && has("update pg.orders ", with) > 0, "{seed}");
    assert!(has("update pg.named ", with) > 0 && has("update pg_other.orders ", with) > 0, "{seed}");
    assert!(has("update pg.whole ", with) > 0 && has("update pg.whole ", without) == 0, "{seed}");
    assert!(has("delete pg.whole ", with) > 0 && has("delete pg.orders ", with) > 0, "{seed}");
    // A large value that stays is not sent, unless the old row has it.
    let is_left = |rest: &str| rest.contains("{\"id\"") && !rest.contains("\"big\"");
    assert!(has("update pg.orders ", is_left) > 0 && has("update pg.whole ", is_left) == 0, "{seed}");
}

/// Statements that a seed makes. None of them fails.
struct Maker {
    random: Random,
    /// The last key that a row was moved to.
    fresh: usize,
}

impl Maker {
    /// Some statements, as one transaction or each by itself; some are undone.
    fn transaction(&mut self) -> String {
        let count = 1 + self.random.below(4);
        let statements: Vec<String> = (0..count).map(|_| self.statement()).collect();
        let statements = statements.join("; ");
        match self.random.below(8) {
            0 => format!("BEGIN; {statements}; ROLLBACK"),
            1 => {
                let (undone, last) = (self.statement(), self.statement());
                format!("BEGIN; {statements}; SAVEPOINT s; {undone}; ROLLBACK TO s; {last}; COMMIT")
            }
            2 => {
                let kept = self.statement();
                format!("BEGIN; SAVEPOINT s; {statements}; RELEASE s; {kept}; COMMIT")
            }
            _ => statements,
        }
    }

    fn statement(&mut self) -> String {
        let (key, fresh) = (self.random.below(KEYS), self.fresh + 1);
        self.fresh = fresh;
        let (text, big) = (self.text(), self.big(fresh));
        let mood = *self.random.pick(&["'sad'", "'happy'", "NULL"]);
        let word = *self.random.pick(&["'x'", "'y'", "'|'"]);
        match self.random.below(33) {
            0..4 => {
                format!("INSERT INTO orders VALUES ({key}, {text}, {big}, {mood}) ON CONFLICT (id) DO UPDATE SET v = excluded.v")
            }
            4..7 => format!("UPDATE orders SET v = {text}, mood = {mood} WHERE id < {key} OR id > 1000"),
            7 => format!("UPDATE orders SET big = {big} WHERE id = {key}"),
            8..10 => format!("UPDATE orders SET id = {fresh} WHERE id = {key}"),
            10 => format!("DELETE FROM orders WHERE id = {key}"),
            11..14 => {
                format!("INSERT INTO other.orders VALUES ({key}, {word}, {text}) ON CONFLICT (b, a) DO UPDATE SET v = excluded.v")
            }
            14..16 => format!("UPDATE other.orders SET a = {fresh} WHERE a = {key}"),
            16 => format!("UPDATE other.orders SET v = {text}"),
            17 => format!("DELETE FROM other.orders WHERE a = {key}"),
            18..21 => {
                format!(
                    "INSERT INTO whole VALUES ({key}, {text}, {fresh}, {big}) ON CONFLICT (id) DO UPDATE SET w = excluded.w, v = NULL"
                )
            }
            21..23 => format!("UPDATE whole SET w = w + 1, v = {text} WHERE id >= {key}"),
            23 => format!("UPDATE whole SET id = {fresh} WHERE id = {key}"),
            24 => format!("DELETE FROM whole WHERE id = {key}"),
            25..28 => {
                format!("INSERT INTO named VALUES ({fresh}, 'c{key}', {text}) ON CONFLICT (code) DO UPDATE SET id = excluded.id")
            }
            28 => format!("UPDATE named SET v = {text}, id = NULL WHERE id > {key}"),
            29..31 => format!("UPDATE named SET code = 'c{fresh}' WHERE code = 'c{key}'"),
            31 => format!("DELETE FROM named WHERE code = 'c{key}'"),
            _ => format!("TRUNCATE {}", self.random.pick(&["other.orders", "named", "other.orders, named"])),
        }
    }

    fn text(&mut self) -> &'static str {
        self.random.pick::<&str>(&["'a'", "''", "NULL", "'é | \"q\" \\ ~'", "'{\"a\": null}'", "'-'"])
    }

    /// A value that lies in its row, or one that does not.
    fn big(&mut self, number: usize) -> String {
        if self.random.chance(40) {
            format!("(SELECT string_agg(md5((n + {number})::text), '') FROM generate_series(1, 200) AS n)")
        } else {
            format!("'small {number}'")
        }
    }
}
