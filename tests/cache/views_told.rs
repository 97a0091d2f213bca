//! What clients are told of materialized views: LISTEN and SUBSCRIBE.

use super::views::{Market, TOTALS};
use crate::changes::follow::Live;
use crate::changes::room::{self, OUTBOX};

/// A row without its place and transaction.
fn short(row: &str) -> String {
    let fields: Vec<&str> = row.split('|').collect();
    format!("{}|{}", fields[0], fields[4..].join("|"))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_to_a_view_over_postgres_is_told_that_it_is_another_one_and_finds_it_so() {
    let mut market = Box::pin(Market::open()).await;
    market.view("totals", TOTALS).await;
    let mut listener = market.room.listener(&["view:public.totals"]).await;
    market.pg.run("INSERT INTO orders VALUES (40, 2, 95, NULL)").await;
    let told = listener.next().await;
    assert_eq!((told.channel.as_str(), told.process_id), ("view:public.totals", 0));
    assert_eq!(
        (told.member("op"), told.member("schema"), told.member("view")),
        ("changed".into(), "public".into(), "totals".into())
    );
    assert_eq!(listener.answer("SELECT total FROM totals WHERE region = 'south'").await, "100");
    listener.answer("UNLISTEN \"view:public.totals\"").await;
    listener.answer("LISTEN other").await;
    market.file.run("UPDATE customers SET region = 'east' WHERE id = 2").await;
    market.session().answer("NOTIFY other").await;
    assert_eq!(listener.next().await.channel, "other", "it does not listen any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_materialized_view_is_not_listened_to_as_one() {
    let (room, _native) = Box::pin(room::of_sqlite("CREATE TABLE orders (id INTEGER PRIMARY KEY)", OUTBOX, &["orders"])).await;
    let session = room.session();
    for (channel, code) in [("view:public.nothing", "42P01"), ("view:file.orders", "42809"), ("view:", "42602")] {
        assert_eq!(session.failure(&format!("LISTEN \"{channel}\"")).await.code, code, "{channel}");
    }
    session.answer("CREATE MATERIALIZED VIEW ids AS SELECT id FROM file.orders").await;
    let mut listener = room.listener(&["view:ids"]).await;
    session.answer("DROP MATERIALIZED VIEW ids").await;
    let told = listener.next().await;
    assert_eq!((told.channel.as_str(), told.member("op")), ("view:ids", "revoked".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_to_a_view_over_postgres_is_told_its_rows_and_how_they_change() {
    let mut market = Box::pin(Market::open()).await;
    market.view("totals", TOTALS).await;
    let client = market.reader(&[]).await;
    let mut live = Live::start(&client, "SUBSCRIBE TO totals WITH SNAPSHOT").await;
    let mut rows: Vec<String> = live.next_of(3).await.iter().map(|row| short(row)).collect();
    assert_eq!(rows.pop().as_deref(), Some("snapshot_end|~|~|~"));
    rows.sort();
    assert_eq!(rows, ["snapshot|north|2|30", "snapshot|south|1|5"]);
    // A group is the same row with other values.
    market.pg.run("UPDATE orders SET amount = 6 WHERE id = 3").await;
    assert_eq!(short(&live.next().await.unwrap()), "update|south|1|6");
    market.file.run("DELETE FROM customers WHERE id = 2").await;
    assert_eq!(short(&live.next().await.unwrap()), "delete|south|1|6");
    market.file.run("INSERT INTO customers VALUES (2, 'west', NULL)").await;
    assert_eq!(short(&live.next().await.unwrap()), "insert|west|1|6");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_of_a_subscriber_to_a_view_are_met_and_its_end_is_told() {
    let orders = "CREATE TABLE orders (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO orders VALUES (1, 1), (2, 20)";
    let (room, mut native) = Box::pin(room::of_sqlite(orders, OUTBOX, &["orders"])).await;
    let session = room.session();
    session.answer("CREATE MATERIALIZED VIEW doubled AS SELECT id, n * 2 AS twice FROM file.orders").await;
    super::views::until_kept(session, "doubled").await;
    let client = super::copies::reader(room.server().addresses()[0], &[]).await;
    let mut live = Live::start(&client, "SUBSCRIBE TO (SELECT id FROM doubled WHERE twice > 10) WITH SNAPSHOT").await;
    let rows = live.next_of(2).await;
    assert_eq!((short(&rows[0]).as_str(), short(&rows[1]).as_str()), ("snapshot|2", "snapshot_end|~"));
    native.run("UPDATE orders SET n = 6 WHERE id = 1").await;
    assert!(short(&live.next().await.unwrap()).ends_with("|1"));
    assert_eq!(session.failure("SUBSCRIBE TO doubled FROM 'x'").await.code, "22P02");
    session.answer("DROP MATERIALIZED VIEW doubled").await;
    let ended = live.failure().await;
    assert_eq!(ended.code, "55000", "{ended:?}");
}
