//! Materialized views as statements make them, change them and drop them; who may, and what the catalog shows.

use super::views::{Market, TOTALS, standing, until_kept};
use crate::changes::room::{self, LOG, OUTBOX, Room};
use crate::commit::eventually;
use crate::support::proxy::{self, GUEST, OWNER, Place, Session};

const ORDERS: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT, n INTEGER); \
    INSERT INTO orders VALUES (1, 'a', 10), (2, 'b', 0), (3, 'a', 5)";

async fn code(session: &Session, sql: &str) -> String {
    session.failure(sql).await.code
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_made_with_or_without_rows_and_dropped() {
    let (room, _native) = Box::pin(room::of_sqlite(ORDERS, OUTBOX, &["orders"])).await;
    let session = room.session();
    session.answer("CREATE MATERIALIZED VIEW sums (letter, total) AS SELECT v, sum(n) FROM file.orders GROUP BY v WITH DATA").await;
    assert_eq!(session.answer("SELECT total FROM sums WHERE letter = 'a'").await, "15");
    session.answer("CREATE MATERIALIZED VIEW IF NOT EXISTS sums AS SELECT 1").await;
    for (sql, expected) in [
        ("CREATE MATERIALIZED VIEW sums AS SELECT 1", "42P07"),
        ("CREATE OR REPLACE VIEW sums AS SELECT 1", "42809"),
        ("CREATE MATERIALIZED VIEW bad AS SELECT nothing FROM file.orders", "42703"),
        ("CREATE MATERIALIZED VIEW bad AS SELECT 1 AS a, 2 AS a", "42701"),
        ("DROP VIEW sums", "42809"),
        ("DROP TABLE sums", "42809"),
        ("REFRESH MATERIALIZED VIEW file.orders", "42809"),
        ("REFRESH MATERIALIZED VIEW nothing", "42P01"),
        ("DROP MATERIALIZED VIEW nothing", "42P01"),
        ("UPDATE sums SET total = 1", "42809"),
        ("INSERT INTO sums VALUES ('x', 1)", "42809"),
        ("DELETE FROM sums", "42809"),
        ("TRUNCATE sums", "42809"),
        ("SELECT * FROM sums FOR UPDATE", "42809"),
        ("COPY sums FROM STDIN", "42809"),
    ] {
        assert_eq!(code(session, sql).await, expected, "{sql}");
    }
    for sql in ["REFRESH MATERIALIZED VIEW sums", "CREATE INDEX ON sums (letter)", "DROP MATERIALIZED VIEW sums"] {
        session.answer("BEGIN").await;
        assert_eq!(session.rows(sql).await.unwrap_err().code, "25001", "{sql}");
        session.answer("ROLLBACK").await;
    }
    session.answer("DROP MATERIALIZED VIEW IF EXISTS nothing").await;
    session.answer("CREATE MATERIALIZED VIEW empty AS SELECT id FROM file.orders WITH NO DATA").await;
    let failure = session.failure("SELECT * FROM empty").await;
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("55000", "materialized view \"empty\" has not been populated"));
    assert_eq!(code(session, "REFRESH MATERIALIZED VIEW CONCURRENTLY empty").await, "0A000");
    session.answer("REFRESH MATERIALIZED VIEW empty").await;
    assert_eq!(session.answer("SELECT count(*) FROM empty").await, "3");
    session.answer("REFRESH MATERIALIZED VIEW empty WITH NO DATA").await;
    assert_eq!(code(session, "SELECT * FROM empty").await, "55000");
    session.answer("DROP MATERIALIZED VIEW empty, sums").await;
    assert_eq!(session.answer("SELECT count(*) FROM pg_matviews").await, "0");
    assert_eq!(code(session, "SELECT * FROM sums").await, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_filled_is_not_made() {
    // Nothing follows the store, so that a view is filled while its statement runs.
    let place = Place::new();
    place.sqlite("file", ORDERS).await;
    let room = Box::pin(Room::open(place)).await;
    let session = room.session();
    assert_eq!(code(session, "CREATE MATERIALIZED VIEW parts AS SELECT id, 10 / n AS part FROM file.orders").await, "22012");
    assert_eq!(session.answer("SELECT count(*) FROM pg_class WHERE relname = 'parts'").await, "0");
    session.answer("CREATE MATERIALIZED VIEW letters AS SELECT v FROM file.orders").await;
    let failure = session.failure("CREATE UNIQUE INDEX letters_v ON letters (v)").await;
    assert_eq!(failure.code, "23505", "{failure:?}");
    assert_eq!(session.answer("SELECT count(*) FROM pg_indexes WHERE tablename = 'letters'").await, "0");
    assert_eq!(session.answer("SELECT count(*) FROM letters").await, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn views_stand_on_views_and_never_on_themselves() {
    let (room, mut native) = Box::pin(room::of_sqlite(ORDERS, OUTBOX, &["orders"])).await;
    let session = room.session();
    session.answer("CREATE VIEW plain AS SELECT id, v, n FROM file.orders").await;
    session.answer("CREATE MATERIALIZED VIEW lower AS SELECT v, sum(n) AS total FROM plain GROUP BY v").await;
    session.answer("CREATE MATERIALIZED VIEW upper AS SELECT count(*) AS letters FROM lower").await;
    let replaced = "CREATE OR REPLACE VIEW plain AS SELECT total::bigint AS id, v, total::bigint AS n FROM lower";
    assert_eq!(code(session, replaced).await, "42P17");
    native.run("INSERT INTO orders VALUES (4, 'c', 1)").await;
    session.answer("SET tributary.consistency = 'strong'; SET tributary.on_stale = 'wait'").await;
    assert_eq!(session.answer("SELECT letters FROM upper").await, "3");
    let failure = session.failure("DROP MATERIALIZED VIEW lower").await;
    assert_eq!(
        (failure.code.as_str(), failure.detail.as_str()),
        ("2BP01", "materialized view upper depends on materialized view lower")
    );
    session.answer("DROP MATERIALIZED VIEW lower CASCADE").await;
    assert_eq!(session.answer("SELECT count(*) FROM pg_matviews").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_shows_a_view_over_postgres_as_postgresql_does() {
    let market = Box::pin(Market::open()).await;
    let session = market.session();
    market.view("totals", TOTALS).await;
    session.answer("CREATE INDEX ON totals (region)").await;
    session.answer("CREATE UNIQUE INDEX totals_unique ON totals (region)").await;
    for (sql, expected) in [
        ("SELECT relkind, relhasindex FROM pg_class WHERE relname = 'totals'", "m|t"),
        ("SELECT matviewname, matviewowner, hasindexes, ispopulated FROM pg_matviews", "totals|ada|t|t"),
        ("SELECT count(*) FROM information_schema.tables WHERE table_name = 'totals'", "0"),
        ("SELECT count(*) FROM information_schema.views WHERE table_name = 'totals'", "0"),
        ("SELECT count(*) FROM pg_views WHERE viewname = 'totals'", "0"),
        ("SELECT indexname FROM pg_indexes WHERE tablename = 'totals' ORDER BY 1", "totals_region_idx\ntotals_unique"),
        ("SELECT attname FROM pg_attribute WHERE attrelid = 'totals'::regclass ORDER BY attnum", "region\norders\ntotal"),
    ] {
        assert_eq!(session.answer(sql).await, expected, "{sql}");
    }
    assert!(session.answer("SELECT pg_get_viewdef('totals'::regclass)").await.contains("JOIN file.customers c"));
    assert_eq!(code(session, "CREATE INDEX totals_unique ON totals (total)").await, "42P07");
    assert_eq!(code(session, "CREATE INDEX ON totals (nothing)").await, "42703");
    session.answer("DROP INDEX totals_region_idx").await;
    until_kept(session, "totals").await;
    assert_eq!(session.answer("SELECT total FROM totals WHERE region = 'south'").await, "5");
    assert_eq!(session.answer("SELECT indexname FROM pg_indexes WHERE tablename = 'totals'").await, "totals_unique");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_owner_changes_a_view_and_everybody_reads_it() {
    let (room, _native) = Box::pin(room::of_sqlite(ORDERS, OUTBOX, &["orders"])).await;
    room.session().answer("CREATE MATERIALIZED VIEW sums AS SELECT v, sum(n) AS total FROM file.orders GROUP BY v").await;
    let guest = proxy::open(&proxy::login(room.server().addresses()[0], GUEST)).await.unwrap();
    assert_eq!(guest.answer("SELECT total FROM sums WHERE v = 'a'").await, "15");
    for sql in ["REFRESH MATERIALIZED VIEW sums", "CREATE INDEX ON sums (v)", "DROP MATERIALIZED VIEW sums"] {
        assert_eq!(code(&guest, sql).await, "42501", "{sql}");
    }
    guest.answer("CREATE MATERIALIZED VIEW own AS SELECT v FROM sums").await;
    // Who owns everything may change it.
    room.session().answer("DROP MATERIALIZED VIEW own").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_alike_in_a_unique_index_are_not_kept_over_a_file() {
    let (room, mut native) = Box::pin(room::of_sqlite(ORDERS, OUTBOX, &["orders"])).await;
    let session = room.session();
    session.answer("CREATE MATERIALIZED VIEW numbers AS SELECT n, v FROM file.orders WHERE id > 0").await;
    session.answer("CREATE UNIQUE INDEX ON numbers (n)").await;
    until_kept(session, "numbers").await;
    native.run("INSERT INTO orders VALUES (4, 'd', 10)").await;
    let left = async || (standing(session, "numbers").await.0 == "waiting").then_some(());
    eventually("rows that are not kept", left).await;
    assert_eq!(session.answer("SELECT count(*) FROM numbers").await, "4", "its query is run");
    native.run("DELETE FROM orders WHERE id = 4").await;
    until_kept(session, "numbers").await;
    assert_eq!(session.answer("SELECT count(*) FROM numbers").await, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_depends_on_how_a_session_shows_dates_is_its_own_over_a_file() {
    let (room, _native) = Box::pin(room::of_sqlite(ORDERS, OUTBOX, &["orders"])).await;
    let session = room.session();
    session.answer("CREATE MATERIALIZED VIEW days AS SELECT id, (date '2024-03-01' + n::int)::text AS d FROM file.orders").await;
    session.answer("CREATE MATERIALIZED VIEW plain AS SELECT id, n FROM file.orders").await;
    until_kept(session, "days").await;
    until_kept(session, "plain").await;
    let own = proxy::open(proxy::login(room.server().addresses()[0], OWNER).options("-c DateStyle=SQL,DMY")).await.unwrap();
    let first = "SELECT d FROM days WHERE id = 2";
    assert_eq!((session.answer(first).await.as_str(), own.answer(first).await.as_str()), ("2024-03-01", "01/03/2024"));
    let source = async |session: &Session, sql: &str| session.answer(&format!("EXPLAIN ANALYZE {sql}")).await;
    assert!(source(session, first).await.contains("Source: rows of the view"));
    let told = source(&own, first).await;
    assert!(told.contains("its rows are others under the session's TimeZone, DateStyle or like settings"), "{told}");
    assert!(source(&own, "SELECT n FROM plain").await.contains("Source: rows of the view"));
}

/// Texts that are read as times depend on the session too, also where they are constants of the query.
#[tokio::test(flavor = "multi_thread")]
async fn what_depends_on_how_a_session_reads_times_is_its_own_over_postgres() {
    let tables = "CREATE TABLE placed (id integer PRIMARY KEY, at timestamptz NOT NULL, d text NOT NULL); \
        INSERT INTO placed VALUES (1, '2024-06-30 23:00+00', '01/02/2024'), (2, '2024-07-02 00:00+00', '03/04/2024')";
    let (room, _native) = Box::pin(room::of_postgres(tables, LOG, &["placed"])).await;
    let session = room.session();
    session.answer("CREATE MATERIALIZED VIEW july AS SELECT id FROM pg.placed WHERE at >= '2024-07-01'").await;
    session.answer("CREATE MATERIALIZED VIEW days AS SELECT id, d::date AS d FROM pg.placed").await;
    session.answer("CREATE MATERIALIZED VIEW fixed AS SELECT id FROM pg.placed WHERE at >= '2024-07-01 00:00+02'").await;
    for view in ["july", "days", "fixed"] {
        until_kept(session, view).await;
    }
    let options = "-c TimeZone=Europe/Berlin -c DateStyle=ISO,DMY";
    let own = proxy::open(proxy::login(room.server().addresses()[0], OWNER).options(options)).await.unwrap();
    for (sql, expected, of_own) in [
        ("SELECT id FROM july ORDER BY id", "2", "1\n2"),
        ("SELECT d FROM days WHERE id = 1", "2024-01-02", "2024-02-01"),
        ("SELECT id FROM fixed ORDER BY id", "1\n2", "1\n2"),
    ] {
        assert_eq!((session.answer(sql).await.as_str(), own.answer(sql).await.as_str()), (expected, of_own), "{sql}");
        let told = session.answer(&format!("EXPLAIN ANALYZE {sql}")).await;
        assert!(told.contains("Source: rows of the view"), "{told}");
    }
    // That one means the same under every setting, and its rows serve all.
    let told = own.answer("EXPLAIN ANALYZE SELECT id FROM fixed").await;
    assert!(told.contains("Source: rows of the view"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_an_enum_keep_their_order_in_a_view_over_postgres() {
    let tables = "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE TABLE people (id integer PRIMARY KEY, m mood NOT NULL); \
        INSERT INTO people VALUES (1, 'happy'), (2, 'ok'), (3, 'sad')";
    let (room, _native) = Box::pin(room::of_postgres(tables, LOG, &["people"])).await;
    let session = room.session();
    session.answer("CREATE MATERIALIZED VIEW moods AS SELECT id, m FROM pg.people").await;
    until_kept(session, "moods").await;
    let told = session.answer("EXPLAIN ANALYZE SELECT m FROM moods").await;
    assert!(told.contains("Source: rows of the view"), "{told}");
    for consistency in ["session", "store"] {
        session.answer(&format!("SET tributary.consistency = '{consistency}'")).await;
        assert_eq!(session.answer("SELECT m FROM moods ORDER BY m").await, "sad\nok\nhappy", "{consistency}");
        assert_eq!(session.answer("SELECT max(m), min(m) FROM moods").await, "happy|sad", "{consistency}");
        assert_eq!(session.answer("SELECT id FROM moods WHERE m < 'ok'").await, "3", "{consistency}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_below_that_is_replaced_changes_the_rows_over_a_file() {
    let (room, mut native) = Box::pin(room::of_sqlite(ORDERS, OUTBOX, &["orders"])).await;
    native.run("INSERT INTO orders VALUES (4, 'abcdef', 1)").await;
    let session = room.session();
    // Both have the same columns, and plans whose texts are alike.
    let cut = |letters: i32| format!("SELECT id, v::varchar({letters})::text AS v FROM file.orders");
    session.answer(&format!("CREATE VIEW cut AS {}", cut(3))).await;
    session.answer("CREATE MATERIALIZED VIEW groups AS SELECT v, count(*) AS n FROM cut GROUP BY v").await;
    until_kept(session, "groups").await;
    session.answer("SET tributary.consistency = 'strong'; SET tributary.on_stale = 'wait'").await;
    assert_eq!(session.answer("SELECT max(v) FROM groups WHERE v LIKE 'ab%'").await, "abc");
    session.answer(&format!("CREATE OR REPLACE VIEW cut AS {}", cut(5))).await;
    assert_eq!(session.answer("SELECT max(v) FROM groups WHERE v LIKE 'ab%'").await, "abcde");
    until_kept(session, "groups").await;
    assert_eq!(session.answer("SELECT max(v) FROM groups WHERE v LIKE 'ab%'").await, "abcde");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_are_equal_are_alike_in_a_unique_index_over_postgres() {
    let tables =
        "CREATE TABLE prices (id integer PRIMARY KEY, price numeric); INSERT INTO prices VALUES (1, 1.0), (2, 1.00), (3, NULL)";
    let (room, mut native) = Box::pin(room::of_postgres(tables, LOG, &["prices"])).await;
    let session = room.session();
    session.answer("CREATE MATERIALIZED VIEW listed AS SELECT id, price FROM pg.prices").await;
    until_kept(session, "listed").await;
    assert_eq!(code(session, "CREATE UNIQUE INDEX ON listed (price)").await, "23505");
    native.run("UPDATE prices SET price = 2.00 WHERE id = 2").await;
    until_kept(session, "listed").await;
    let made = async || {
        let made = session.rows("CREATE UNIQUE INDEX listed_price ON listed (price)").await;
        made.is_ok().then_some(())
    };
    eventually("an index over numbers that differ", made).await;
}

/// Another table of the store is cached already, so that nothing of the store itself is news.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_told_when_its_table_comes_to_be_cached_over_a_file() {
    let tables = format!("{ORDERS}; CREATE TABLE beside (id INTEGER PRIMARY KEY)");
    let lines = format!("{OUTBOX}changes.cached = [\"beside\"]\n");
    let (room, _native) = Box::pin(room::of_sqlite(&tables, &lines, &["orders", "beside"])).await;
    let session = room.session();
    session.answer("ALTER TABLE file.orders SET (tributary.cached = false)").await;
    session.answer("CREATE MATERIALIZED VIEW letters AS SELECT v, count(*) AS n FROM file.orders GROUP BY v").await;
    let of_refresh = async || {
        let told = session.answer("EXPLAIN SELECT * FROM letters").await;
        told.contains("Maintained: by REFRESH only").then_some(())
    };
    eventually("a view that is kept by REFRESH", of_refresh).await;
    session.answer("ALTER TABLE file.orders SET (tributary.cached = true)").await;
    let follows = async || {
        let told = session.answer("EXPLAIN SELECT * FROM letters").await;
        told.contains("Maintained: incrementally").then_some(())
    };
    eventually("a view that follows", follows).await;
}
