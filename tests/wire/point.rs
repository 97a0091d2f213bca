//! Clients that ask for row after row of a copy and read none: the server waits for them, whatever it is asked.

use super::client::{Client, bind, execute, query, sync};
use super::relay_postgres::prepare;
use crate::behaviour::watching::{number, observed};
use crate::cache::copies::until_cached;
use crate::changes::room::{OUTBOX, Room};
use crate::commit::eventually;
use crate::support::proxy::OWNER;

/// Many more bytes than sockets hold.
const ROWS: usize = 600;
const WIDTH: usize = 200_000;

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_copies_wait_for_a_client_that_does_not_read() {
    let place = observed();
    let half = WIDTH / 2;
    let statements =
        format!("CREATE TABLE wide (id INTEGER PRIMARY KEY, body TEXT); INSERT INTO wide VALUES (1, hex(zeroblob({half})))");
    place.sqlite_with("file", &statements, &format!("{OUTBOX}changes.cached = [\"wide\"]\n")).await;
    let room = Room::open(place).await;
    until_cached(room.session(), "file", &["wide"]).await;
    let http = room.server().http_address().unwrap();
    let mut client = Client::trusted(room.server().addresses()[0], OWNER).await;
    prepare(&mut client, "s", "SELECT body FROM file.wide WHERE id = $1").await;
    for setting in ["SET tributary.consistency = 'eventual'", "SET statement_timeout = '300ms'"] {
        assert_eq!(client.script(&query(setting)).await, "C SET\nZ I");
    }
    let one = [bind("", "s", &[Some(b"1")], &[]), execute("", 0)].concat();
    client.send(&[one.repeat(ROWS), sync()].concat()).await;
    // Nobody reads: it is the one whose row has to wait that takes too long.
    let ended = async || (number(http, "tributary_statements_total{outcome=\"cancelled\"}").await == 1).then_some(());
    eventually("a statement that ends because nobody reads", ended).await;
    let answers = client.until_ready().await;
    let rows = answers.iter().filter(|answer| answer.kind == 'D').inspect(|row| assert!(row.body.len() > WIDTH)).count();
    assert!((1..ROWS).contains(&rows), "{rows} rows");
    let errors: Vec<String> = answers.iter().filter(|answer| answer.kind == 'E').map(|answer| answer.error().1).collect();
    assert_eq!(errors, ["57014"]);
    // The connection goes on.
    assert_eq!(client.script(&query("SET statement_timeout = 0")).await, "C SET\nZ I");
    assert_eq!(client.script(&query("SELECT 1 AS n")).await, "T n:23:0\nD 1\nC SELECT 1\nZ I");
}
