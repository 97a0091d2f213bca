//! Rows of copies that lookups by key find, and that go out from where they lie: message by message the answers must be those of the
//! planner's way over the same copy. That they are found so is tried beside `Lookup::point`.

use super::client::{Client, bind, describe, execute, query, sync};
use super::relay_postgres::{FORMATS, client, prepare, shown, told};
use crate::cache::copies::{FROM_COPY, copied, reader, served, until_cached};
use crate::changes::room::{self, LOG, Room};
use crate::support::proxy::{self, Place};

/// Columns of which a copy has a carrier of its own, with NULL in each.
const TABLE: &str = r#"CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s');
CREATE TABLE kept (id int PRIMARY KEY, t text, p numeric(10, 2), w numeric, j json, jb jsonb, m mood, list int[], words text[], u uuid,
    z timestamptz, moment timestamp, born date, clock time, wait interval, ok boolean, d double precision, f real, s smallint, b bigint,
    y bytea, c char(4), v varchar(9));
INSERT INTO kept VALUES
    (1, 'text', 12.5, 123.4500, '{"b" : 1, "a": [ ]}', '{"b" : 1, "a": [ ]}', 'it''s', '{1,NULL}', '{a,"b c",NULL}',
     '00112233-4455-6677-8899-aabbccddeeff', '2024-02-29 12:34:56.789+02', '2024-02-29 12:34:56.789', '2024-02-29', '01:02:03', '1 day',
     true, 0.1, 0.5, 7, 70, '\x00ff', 'ab', 'words'),
    (2, '', -99999999.99, 'NaN', '[]', 'null', 'sad', '{}', '{}', '00000000-0000-0000-0000-000000000000', 'infinity', '-infinity',
     '4713-01-01 BC', '24:00:00', '-1 mon', false, '-Infinity', 'NaN', -32768, -9223372036854775808, '', '', ''),
    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (4, repeat('žluť', 50000), 0, 'Infinity', ('"' || repeat('x', 70000) || '"')::json, '0', 'ok', '{1,2,3,4}', '{NULL}',
     'ffffffff-ffff-ffff-ffff-ffffffffffff', '-infinity', 'infinity', 'infinity', '00:00', '0', true, '1e300', '-0', 32767,
     9223372036854775807, decode(repeat('00ff', 100000), 'hex'), 'ž', 'ž');
CREATE TABLE pair (a text, b bigint, note text, PRIMARY KEY (a, b));
INSERT INTO pair VALUES ('x', 1, 'one'), ('x', 2, NULL);
CREATE TABLE named (u uuid PRIMARY KEY, n int);
INSERT INTO named VALUES ('00112233-4455-6677-8899-aabbccddeeff', 1);
CREATE TABLE timed (z timestamptz PRIMARY KEY, n int);
INSERT INTO timed VALUES ('2024-02-29 12:34:56.789+02', 1), ('infinity', 2)"#;

const TABLES: [&str; 4] = ["kept", "pair", "named", "timed"];
const COLUMNS: [&str; 23] = [
    "id", "t", "p", "w", "j", "jb", "m", "list", "words", "u", "z", "moment", "born", "clock", "wait", "ok", "d", "f", "s", "b",
    "y", "c", "v",
];

/// A store whose tables are cached, and its database.
async fn stage() -> (Room, String) {
    let place = Place::new();
    place.configure("auth.trust = true");
    let server = room::postgres().await;
    let database = proxy::fresh(server, TABLE).await;
    let tables = TABLES.map(|table| format!("\"{table}\"")).join(", ");
    place.postgres("pg", server, &database, &format!("{LOG}changes.cached = [{tables}]\n"));
    let room = Room::open(place).await;
    until_cached(room.session(), "pg", &TABLES).await;
    (room, database)
}

/// One that reads copies as they are, by the short way and the others, or by the planner's alone.
async fn clients(room: &Room) -> [Client; 2] {
    let mut both =
        [client(room.server(), "SET tributary.fast_path = on").await, client(room.server(), "SET tributary.fast_path = off").await];
    for client in &mut both {
        assert_eq!(client.script(&query("SET tributary.consistency = 'eventual'")).await, "C SET\nZ I");
    }
    both
}

/// Compares what both are told of a statement that both have prepared, and tells how many rows there were.
async fn compare([fast, slow]: &mut [Client; 2], name: &str, values: &[Option<&[u8]>], formats: &[i16], bounds: &[i32]) -> usize {
    let (found, wanted) = (told(fast, name, values, formats, bounds).await, told(slow, name, values, formats, bounds).await);
    assert_eq!(shown(&found), shown(&wanted), "{name} {formats:?} {bounds:?}");
    assert!(found == wanted, "{name} {formats:?} {bounds:?} differ in their bytes");
    found.iter().filter(|answer| answer.kind == 'D').count()
}

/// The same of all columns of a few rows, each by itself and together, forwards and backwards.
async fn compare_columns(both: &mut [Client; 2], round: &str) -> usize {
    let mut backwards = COLUMNS;
    backwards.reverse();
    let mixed: Vec<i16> = (0..COLUMNS.len()).map(|place| i16::from(place % 2 == 0)).collect();
    let single = COLUMNS.iter().map(|column| (*column).to_owned());
    let mut rows = 0;
    for (place, columns) in single.chain([COLUMNS.join(", "), backwards.join(", "), "z, id, m".to_owned()]).enumerate() {
        let (name, sql) = (format!("{round}{place}"), format!("SELECT {columns} FROM pg.kept WHERE id = $1"));
        for client in &mut *both {
            prepare(client, &name, &sql).await;
        }
        let formats: [&[i16]; 4] = [FORMATS[0], FORMATS[1], FORMATS[2], &mixed[..columns.split(", ").count()]];
        for formats in formats {
            for id in ["1", "2", "3", "4", "5", "6"] {
                rows += compare(both, &name, &[Some(id.as_bytes())], formats, &[0]).await;
            }
        }
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_copies_by_their_keys_are_those_of_the_planner() {
    let (room, database) = stage().await;
    let mut both = clients(&room).await;
    let before = served(room.session(), ("pg", "kept")).await;
    let rows = compare_columns(&mut both, "first").await;
    assert!(rows > 300, "only {rows} rows were compared");
    let read = served(room.session(), ("pg", "kept")).await - before;
    assert!(read >= 2 * u64::try_from(rows).unwrap(), "{read} reads of the copy gave {rows} rows to each");
    // Rows that came with changes, one that went, and one in the place of another.
    let mut native = proxy::direct(room::postgres().await, &database).await;
    let change = "UPDATE kept SET t = 'other', m = 'sad', list = '{9}', w = 1.10 WHERE id = 1; DELETE FROM kept WHERE id = 2;
        UPDATE kept SET id = 5 WHERE id = 4; INSERT INTO kept (id, j) VALUES (2, '{}'); DELETE FROM kept WHERE id = 2";
    sqlx::raw_sql(change).execute(&mut native).await.unwrap();
    let seeing = reader(room.server().addresses()[0], &FROM_COPY).await;
    assert_eq!(copied(&seeing, ("pg", "kept"), "SELECT id FROM pg.kept ORDER BY id").await, ["1", "3", "5"]);
    let rows = compare_columns(&mut both, "second").await;
    assert!(rows > 250, "only {rows} rows were compared behind the change");
}

#[tokio::test(flavor = "multi_thread")]
async fn portals_and_blocks_over_rows_of_copies_are_as_ever() {
    let (room, _database) = stage().await;
    let mut both = clients(&room).await;
    let uuid = "00112233-4455-6677-8899-AABBCCDDEEFF";
    let statements = [
        ("one", "SELECT t, id FROM pg.kept WHERE id = $1", vec!["1"]),
        ("none", "SELECT t, id FROM pg.kept WHERE id = $1", vec!["6"]),
        ("wide", "SELECT id FROM pg.kept WHERE id = $1", vec!["2147483648"]),
        ("named", "SELECT id AS key, m AS \"Mood\" FROM pg.kept AS k WHERE k.id = $1", vec!["2"]),
        ("pair", "SELECT b, note, a FROM pg.pair WHERE a = $1 AND b = $2", vec!["x", "2"]),
        ("turned", "SELECT note FROM pg.pair WHERE b = $2 AND a = $1 LIMIT 1", vec!["x", "1"]),
        ("half", "SELECT note FROM pg.pair WHERE a = $1", vec!["x"]),
        ("twice", "SELECT id FROM pg.kept WHERE id = $1 AND id = $2", vec!["1", "2"]),
        ("more", "SELECT id FROM pg.kept WHERE id = $1 AND t = $2", vec!["1", "text"]),
        ("uuid", "SELECT n, u FROM pg.named WHERE u = $1", vec![uuid]),
        ("time", "SELECT n, z FROM pg.timed WHERE z = $1", vec!["2024-02-29 10:34:56.789+00"]),
        ("end", "SELECT z FROM pg.timed WHERE z = $1", vec!["infinity"]),
    ];
    for (name, sql, values) in &statements {
        for client in &mut both {
            prepare(client, name, sql).await;
        }
        let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_bytes())).collect();
        let null: Vec<Option<&[u8]>> = vec![None; values.len()];
        for formats in FORMATS {
            // Bounds of `Execute`, also of one that comes after the end.
            for bounds in [&[0][..], &[1], &[0, 0], &[1, 0], &[0, 1], &[5, 5], &[-1]] {
                compare(&mut both, name, &values, formats, bounds).await;
            }
            compare(&mut both, name, &null, formats, &[0]).await;
            for block in ["BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN; SELECT nonsense"] {
                for client in &mut both {
                    for text in block.split("; ") {
                        client.send(&query(text)).await;
                        client.until_ready().await;
                    }
                }
                compare(&mut both, name, &values, formats, &[0]).await;
                for client in &mut both {
                    assert_eq!(client.script(&query("ROLLBACK")).await, "C ROLLBACK\nZ I");
                }
            }
        }
        // Two portals of a series, of which the named one is executed again behind the other.
        let script = [
            bind("p", name, &values, &[]),
            bind("", name, &values, &[1]),
            execute("p", 0),
            execute("", 0),
            execute("p", 0),
            describe(b'P', "p"),
            sync(),
        ]
        .concat();
        let [fast, slow] = &mut both;
        assert_eq!(fast.script(&script).await, slow.script(&script).await, "{sql}");
    }
}
