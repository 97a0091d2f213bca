//! Rows of lookups that go from PostgreSQL to the client without being decoded: message by message the answers must be those of the
//! planner's way, which decodes every value and encodes it again.

use tributary::server::Server;

use super::client::{Answer, Client, bind, describe, execute, parse, query, sync};
use crate::support;
use crate::support::proxy::{self, OWNER, Place};

/// A column of every type that may pass as it is, and some that may not.
const TABLE: &str = r#"CREATE TABLE kept (id int PRIMARY KEY, s smallint, b bigint, f real, d double precision, t text, v varchar(9), n name,
    c char(4), y bytea, ok boolean, u uuid, born date, moment timestamp, z timestamptz, p numeric(10, 2), w numeric, wide numeric(50, 3),
    j json, jb jsonb, wait interval, list int[], clock time);
INSERT INTO kept VALUES
    (1, 7, 70, 0.5, 0.1, 'text', 'words', 'name', 'ab', '\x00ff', true, '00112233-4455-6677-8899-aabbccddeeff', '2024-02-29',
     '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789+02', 12.5, 123.4500, 1.001, '{"b" : 1, "a": [ ]}', '{"b" : 1, "a": [ ]}',
     '1 day', '{1,NULL}', '01:02:03'),
    (2, -32768, -9223372036854775808, 'NaN', '-Infinity', '', '', '', '', '', false, '00000000-0000-0000-0000-000000000000',
     '4713-01-01 BC', '-infinity', 'infinity', -99999999.99, 'NaN', -0.001, '[]', 'null', '-1 mon', '{}', '24:00:00'),
    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (4, 32767, 9223372036854775807, '-0', '1e300', repeat('žluť', 50000), 'žluť', 'ž', 'ž', decode(repeat('00ff', 100000), 'hex'), true,
     'ffffffff-ffff-ffff-ffff-ffffffffffff', 'infinity', 'infinity', '-infinity', 0, 'Infinity', 0,
     ('"' || repeat('x', 70000) || '"')::json, ('"' || repeat('x', 70000) || '"')::jsonb, '0', NULL, '00:00'),
    (5, 0, 0, 1e-45, 5e-324, 'it''s', 'a b', 'A', '    ', '\x5c', false, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '1970-01-01',
     '1970-01-01', '1999-12-31 23:59:59.999999+00', 0.01, 0.0000000000000000000000000001, 12345678901234567890123456789012345678901234567.891,
     '1', '1.50', '1 mon', '{7}', '12:00');
CREATE TABLE pair (a text, b bigint, note text, PRIMARY KEY (a, b));
INSERT INTO pair VALUES ('x', 1, 'one'), ('x', 2, NULL);"#;

/// Formats of the result: none, all text, all binary.
pub const FORMATS: [&[i16]; 3] = [&[], &[0], &[1]];

/// A client with a setting.
pub async fn client(server: &Server, setting: &str) -> Client {
    let mut client = Client::trusted(server.addresses()[0], OWNER).await;
    let told = client.script(&query(setting)).await;
    assert!(told.ends_with("Z I") && !told.contains("E ERROR"), "{told}");
    client
}

/// All that a client is told of a statement that is bound, described and executed.
pub async fn told(client: &mut Client, statement: &str, values: &[Option<&[u8]>], formats: &[i16], bounds: &[i32]) -> Vec<Answer> {
    let mut script = [bind("", statement, values, formats), describe(b'P', "")].concat();
    bounds.iter().for_each(|bound| script.extend(execute("", *bound)));
    script.extend(sync());
    client.send(&script).await;
    client.until_ready().await
}

/// Prepares a statement under a name.
pub async fn prepare(client: &mut Client, name: &str, sql: &str) {
    let told = client.script(&[parse(name, sql, &[]), sync()].concat()).await;
    assert_eq!(told, "1\nZ I", "{sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn passed_rows_are_those_that_are_decoded() {
    let place = Place::new();
    place.configure("auth.trust = true");
    let database = proxy::fresh(support::postgres().await, TABLE).await;
    place.postgres("shop", support::postgres().await, &database, "");
    let server = place.serve().await;
    let mut fast = client(&server, "SET tributary.fast_path = on").await;
    let mut slow = client(&server, "SET tributary.fast_path = off").await;
    let columns = [
        "id", "s", "b", "f", "d", "t", "v", "n", "c", "y", "ok", "u", "born", "moment", "z", "p", "w", "wide", "j", "jb", "wait",
        "list", "clock",
    ];
    let plain = "id, s, b, t, v, n, c, ok, u, j, jb";
    let selected = columns.iter().map(|column| (*column).to_owned()).chain([columns.join(", "), plain.to_owned()]);
    let statements = selected.map(|columns| format!("SELECT {columns} FROM shop.kept WHERE id = $1"));
    let mut compared = 0;
    for (place, sql) in statements.enumerate() {
        // One name for each format, because a statement keeps the way of the formats that it was first asked for.
        for (number, formats) in FORMATS.into_iter().enumerate() {
            let name = format!("s{place}_{number}");
            prepare(&mut fast, &name, &sql).await;
            prepare(&mut slow, &name, &sql).await;
            for id in ["1", "2", "3", "4", "5", "6"] {
                let values = [Some(id.as_bytes())];
                let found = told(&mut fast, &name, &values, formats, &[0]).await;
                let wanted = told(&mut slow, &name, &values, formats, &[0]).await;
                assert_eq!(shown(&found), shown(&wanted), "{sql} {id} {formats:?}");
                assert!(found == wanted, "{sql} {id} {formats:?} differ in their bytes");
                compared += found.iter().filter(|answer| answer.kind == 'D').count();
            }
        }
    }
    assert!(compared > 300, "only {compared} rows were compared");
    server.stop().await;
}

/// The beginning of each message: values may be long.
pub fn shown(answers: &[Answer]) -> Vec<String> {
    answers.iter().map(|answer| answer.shown().chars().take(300).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn portals_and_blocks_over_passed_rows_are_as_ever() {
    let place = Place::new();
    place.configure("auth.trust = true");
    let database = proxy::fresh(support::postgres().await, TABLE).await;
    place.postgres("shop", support::postgres().await, &database, "");
    let server = place.serve().await;
    let mut fast = client(&server, "SET tributary.fast_path = on").await;
    let mut slow = client(&server, "SET tributary.fast_path = off").await;
    let statements = [
        ("one", "SELECT t, id FROM shop.kept WHERE id = $1", vec!["1"]),
        ("pair", "SELECT b, note, a FROM shop.pair WHERE a = $1 AND b = $2", vec!["x", "2"]),
        ("limited", "SELECT note FROM shop.pair WHERE b = $2 AND a = $1 LIMIT 1", vec!["x", "1"]),
        ("several", "SELECT id FROM shop.kept WHERE id IN ($1, $2)", vec!["1", "2"]),
        ("beyond", "SELECT id FROM shop.kept WHERE id = $1", vec!["5"]),
    ];
    for (name, sql, values) in &statements {
        prepare(&mut fast, name, sql).await;
        prepare(&mut slow, name, sql).await;
        let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_bytes())).collect();
        for formats in [&[][..], &[1], &[0]] {
            // Bounds of `Execute`, also of one that comes after the end.
            for bounds in [&[0][..], &[1], &[0, 0], &[1, 0], &[5, 5], &[-1]] {
                let found = told(&mut fast, name, &values, formats, bounds).await;
                assert_eq!(found, told(&mut slow, name, &values, formats, bounds).await, "{sql} {formats:?} {bounds:?}");
            }
            for block in ["BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN; SELECT nonsense"] {
                for client in [&mut fast, &mut slow] {
                    for text in block.split("; ") {
                        client.send(&query(text)).await;
                        client.until_ready().await;
                    }
                }
                let found = told(&mut fast, name, &values, formats, &[0]).await;
                assert_eq!(found, told(&mut slow, name, &values, formats, &[0]).await, "{block}: {sql}");
                for client in [&mut fast, &mut slow] {
                    assert_eq!(client.script(&query("ROLLBACK")).await, "C ROLLBACK\nZ I");
                }
            }
        }
        let null: Vec<Option<&[u8]>> = vec![None; values.len()];
        assert_eq!(told(&mut fast, name, &null, &[], &[0]).await, told(&mut slow, name, &null, &[], &[0]).await, "{sql}");
    }
    server.stop().await;
}
