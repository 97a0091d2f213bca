//! Views over several stores, which the server keeps.

use crate::support::proxy::{self, GUEST, OWNER, Place, Session};

const SHOP: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, client INTEGER, total INTEGER);
    INSERT INTO orders VALUES (1, 1, 10), (2, 2, 20), (3, 1, 30);";
const CREW: &str = "CREATE TABLE clients (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO clients VALUES (1, 'ann'), (2, 'bob');";
const SPENT: &str =
    "CREATE VIEW spent AS SELECT c.name, sum(o.total) AS total FROM shop.orders o JOIN crew.clients c ON c.id = o.client
    GROUP BY c.name -- all of it";

async fn place() -> Place {
    let place = Place::new();
    place.sqlite("shop", SHOP).await;
    place.sqlite("crew", CREW).await;
    place.write("views/filed.sql", "SELECT id FROM shop.orders");
    place
}

async fn codes(session: &Session, rows: &[(&str, &str)]) {
    for (sql, expected) in rows {
        assert_eq!(session.failure(sql).await.code, *expected, "{sql}");
    }
}

#[tokio::test]
async fn a_view_is_seen_at_once_and_outlives_the_server() {
    let place = place().await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let other = proxy::connect(&server, GUEST).await;
    session.answer(SPENT).await;
    assert_eq!(other.answer("SELECT * FROM spent ORDER BY name").await, "ann|40\nbob|20");
    assert_eq!(other.answer("SELECT viewowner FROM pg_views WHERE viewname = 'spent'").await, OWNER);
    assert_eq!(
        other.answer("SELECT column_name FROM information_schema.columns WHERE table_name = 'spent' ORDER BY 1").await,
        "name\ntotal"
    );
    let text = other.answer("SELECT pg_get_viewdef('spent'::regclass)").await;
    assert!(text.starts_with("SELECT c.name") && text.ends_with("-- all of it"), "{text}");
    session.answer("SET search_path = shop").await;
    session.answer("CREATE VIEW public.big (number) AS SELECT id FROM orders WHERE total > 10").await;
    session.answer("CREATE OR REPLACE VIEW public.big (number, sum) AS SELECT id, total FROM orders WHERE total > 15").await;
    drop((session, other));
    server.stop().await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT * FROM spent ORDER BY name").await, "ann|40\nbob|20");
    assert_eq!(session.answer("SELECT number, sum FROM big ORDER BY number").await, "2|20\n3|30");
    session.answer("DROP VIEW spent, big").await;
    codes(&session, &[("SELECT * FROM spent", "42P01"), ("DROP VIEW big", "42P01")]).await;
    session.answer("DROP VIEW IF EXISTS big").await;
}

#[tokio::test]
async fn names_that_are_taken_and_views_that_cannot_be_are_refused() {
    let place = place().await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer(SPENT).await;
    codes(
        &session,
        &[
            ("CREATE VIEW spent AS SELECT 1 AS a", "42P07"),
            ("CREATE VIEW filed AS SELECT 1 AS a", "42P07"),
            ("CREATE OR REPLACE VIEW filed AS SELECT 1 AS a", "42P07"),
            ("CREATE VIEW shop.orders AS SELECT 1 AS a", "42P07"),
            ("CREATE OR REPLACE VIEW shop.orders AS SELECT 1 AS a", "42809"),
            ("CREATE VIEW pg_catalog.v AS SELECT 1 AS a", "42501"),
            ("CREATE VIEW nowhere.v AS SELECT 1 AS a", "3F000"),
            ("CREATE VIEW v AS SELECT * FROM nothing", "42P01"),
            ("CREATE VIEW v AS SELECT nothing FROM shop.orders", "42703"),
            ("CREATE VIEW v AS SELECT $1::int AS a", "42P02"),
            ("CREATE VIEW v AS SELECT 1 AS a, 2 AS a", "42701"),
            ("CREATE VIEW v (a, b) AS SELECT 1", "42601"),
            ("CREATE VIEW v (a, a) AS SELECT 1, 2", "42701"),
            ("CREATE OR REPLACE VIEW spent AS SELECT 'x' AS name", "42P16"),
            ("CREATE OR REPLACE VIEW spent AS SELECT 'x' AS other, 1 AS total", "42P16"),
            ("CREATE OR REPLACE VIEW spent AS SELECT 1 AS name, 1 AS total", "42P16"),
            ("CREATE OR REPLACE VIEW spent AS SELECT name, total FROM spent", "42P17"),
            ("DROP VIEW filed", "0A000"),
            ("DROP VIEW shop.orders", "42809"),
            ("DROP VIEW nothing", "42P01"),
        ],
    )
    .await;
    let failure = session.failure("CREATE VIEW v AS SELECT nothing FROM shop.orders").await;
    assert_eq!(failure.message, "column \"nothing\" does not exist");
    assert_eq!(session.answer("SELECT * FROM spent ORDER BY name").await, "ann|40\nbob|20");
    session.answer("BEGIN").await;
    assert_eq!(session.rows("CREATE VIEW v AS SELECT 1 AS a").await.unwrap_err().code, "25001");
    session.answer("ROLLBACK; SET default_transaction_read_only = on").await;
    codes(&session, &[("CREATE VIEW v AS SELECT 1 AS a", "25006"), ("DROP VIEW spent", "25006")]).await;
}

#[tokio::test]
async fn views_on_views_go_together_or_not_at_all() {
    let place = place().await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer(SPENT).await;
    session.answer("CREATE VIEW rich AS SELECT name FROM spent WHERE total > 30").await;
    session.answer("CREATE VIEW richest AS WITH spent AS (SELECT * FROM rich) SELECT * FROM spent").await;
    let failure = session.failure("DROP VIEW spent").await;
    assert_eq!(
        (failure.code.as_str(), failure.message.as_str()),
        ("2BP01", "cannot drop view spent because other objects depend on it")
    );
    assert_eq!(session.answer("SELECT * FROM richest").await, "ann");
    // What USING and a star come to of views does not hang on what is made after them.
    session.answer("CREATE VIEW owed AS SELECT client, max(total) AS most FROM shop.orders GROUP BY client").await;
    session.answer("CREATE VIEW both_of (client, name, most) AS SELECT * FROM (SELECT id AS client, name FROM crew.clients) AS c JOIN owed USING (client)").await;
    session.answer("CREATE VIEW later AS SELECT * FROM both_of NATURAL JOIN owed").await;
    session.answer("CREATE VIEW latest AS SELECT 1 AS a").await;
    assert_eq!(session.answer("SELECT client, name, most FROM later ORDER BY client").await, "1|ann|30\n2|bob|20");
    assert_eq!(
        session.answer("SELECT count(*) FROM information_schema.columns WHERE table_name IN ('both_of', 'later')").await,
        "6"
    );
    session.answer("DROP VIEW spent CASCADE").await;
    codes(&session, &[("SELECT * FROM rich", "42P01"), ("SELECT * FROM richest", "42P01")]).await;
}

#[tokio::test]
async fn a_view_keeps_its_columns_and_tells_what_it_misses() {
    let place = place().await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("CREATE VIEW clients AS SELECT * FROM crew.clients").await;
    let file = place.path().join("crew.db");
    proxy::sqlite(&file, "ALTER TABLE clients ADD COLUMN age INTEGER").await;
    session.answer("CALL tributary.refresh('crew')").await;
    assert_eq!(session.answer("SELECT * FROM clients ORDER BY id").await, "1|ann\n2|bob");
    proxy::sqlite(&file, "ALTER TABLE clients RENAME COLUMN name TO called").await;
    session.answer("CALL tributary.refresh('crew')").await;
    let failure = session.failure("SELECT * FROM clients").await;
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("42703", "view \"public.clients\" cannot be planned"));
    proxy::sqlite(&file, "DROP TABLE clients").await;
    session.answer("CALL tributary.refresh('crew')").await;
    codes(&session, &[("SELECT * FROM clients", "42P01"), ("CREATE VIEW v AS SELECT * FROM clients", "42P01")]).await;
    // It is still there, and works again when what it reads is back.
    proxy::sqlite(&file, "CREATE TABLE clients (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO clients VALUES (7, 'eve')").await;
    session.answer("CALL tributary.refresh('crew')").await;
    assert_eq!(session.answer("SELECT * FROM clients").await, "7|eve");
}

#[tokio::test]
async fn only_its_owner_changes_a_view() {
    let place = place().await;
    let server = place.serve().await;
    let owner = proxy::connect(&server, GUEST).await;
    owner.answer("CREATE VIEW mine AS SELECT id FROM shop.orders").await;
    place.add_role("third");
    server.reload().await.unwrap();
    let other = proxy::open(&proxy::login(server.addresses()[0], "third")).await.unwrap();
    codes(&other, &[("DROP VIEW mine", "42501"), ("CREATE OR REPLACE VIEW mine AS SELECT id FROM crew.clients", "42501")]).await;
    assert_eq!(other.answer("SELECT count(*) FROM mine").await, "3");
    let root = proxy::connect(&server, OWNER).await;
    root.answer("DROP VIEW mine").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_make_views_at_the_same_time() {
    let place = place().await;
    let server = place.serve().await;
    let makers = (0..6).map(|number| {
        let server = &server;
        async move {
            let session = proxy::connect(server, OWNER).await;
            session.answer(&format!("CREATE VIEW own_{number} AS SELECT id FROM shop.orders")).await;
            session.rows("CREATE VIEW wanted AS SELECT id FROM crew.clients").await.map_err(|failure| failure.code)
        }
    });
    let ends = futures::future::join_all(makers).await;
    let (made, refused): (Vec<_>, Vec<_>) = ends.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    assert!(refused.iter().all(|end| end.as_ref().is_err_and(|code| code == "42P07")), "{refused:?}");
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT count(*) FROM pg_views WHERE viewname LIKE 'own\\_%'").await, "6");
}

#[tokio::test]
async fn rows_are_written_through_views_of_one_table() {
    let place = place().await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session
        .answer("CREATE VIEW dear (number, sum) AS SELECT id, total FROM shop.orders AS o WHERE o.total >= 20 WITH CHECK OPTION")
        .await;
    session.answer("INSERT INTO dear VALUES (4, 40)").await;
    assert_eq!(session.answer("INSERT INTO dear (number, sum) VALUES (5, 50) RETURNING *").await, "5|50");
    assert_eq!(session.answer("UPDATE dear SET sum = sum + 1 WHERE number = 4 RETURNING number, sum + 1 AS more").await, "4|42");
    // The first order is no row of the view.
    session.answer("UPDATE dear AS d SET sum = 99 WHERE d.number = 1").await;
    session.answer("INSERT INTO dear OVERRIDING SYSTEM VALUE VALUES (6, 60)").await;
    session.answer("INSERT INTO dear (sum, number) OVERRIDING SYSTEM VALUE VALUES (70, 7)").await;
    session.answer("UPDATE ONLY dear SET sum = 1 + sum WHERE number = 6").await;
    assert_eq!(session.answer("DELETE FROM ONLY dear WHERE number = 6 RETURNING sum").await, "61");
    session.answer("DELETE FROM dear WHERE number IN (1, 5, 7)").await;
    assert_eq!(session.answer("SELECT id, total FROM shop.orders ORDER BY id").await, "1|10\n2|20\n3|30\n4|41");
    codes(
        &session,
        &[
            ("INSERT INTO dear VALUES (6, 10)", "44000"),
            ("INSERT INTO dear (number) VALUES (6)", "44000"),
            ("UPDATE dear SET sum = 5 WHERE number = 4", "44000"),
            ("UPDATE dear SET client = 1", "42703"),
            ("UPDATE dear SET sum = 30 WHERE client = 1", "42703"),
            ("DELETE FROM dear WHERE total = 41", "42703"),
            ("INSERT INTO dear VALUES (4, 40) ON CONFLICT DO NOTHING", "0A000"),
            ("INSERT INTO dear VALUES (7, 70, 7)", "42601"),
        ],
    )
    .await;
    assert_eq!(session.failure("INSERT INTO dear VALUES (6, 10)").await.message, "new row violates check option for view \"dear\"");
    assert_eq!(session.answer("SELECT id, total FROM shop.orders ORDER BY id").await, "1|10\n2|20\n3|30\n4|41");
    session.answer("BEGIN; INSERT INTO dear VALUES (8, 80); SAVEPOINT s").await;
    assert_eq!(session.rows("INSERT INTO dear VALUES (9, 9)").await.unwrap_err().code, "44000");
    session.answer("ROLLBACK TO s").await;
    session.answer("COMMIT").await;
    assert_eq!(session.answer("SELECT number FROM dear ORDER BY 1").await, "2\n3\n4\n8");
}

#[tokio::test]
async fn statements_on_a_view_see_no_more_of_a_row_than_the_view_has() {
    let place = place().await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("CREATE VIEW bare AS SELECT id, total AS sum FROM shop.orders").await;
    codes(
        &session,
        &[
            ("UPDATE bare SET sum = 1 WHERE id = 1 RETURNING row_to_json(bare)", "0A000"),
            ("UPDATE bare SET sum = 1 WHERE id = 1 RETURNING to_json(bare.*)", "0A000"),
            ("UPDATE bare AS b SET sum = 1 WHERE id = 1 RETURNING id, json_build_array(b)", "0A000"),
            ("UPDATE bare SET sum = 1 WHERE id = 1 RETURNING (SELECT row_to_json(bare))", "0A000"),
            ("UPDATE bare SET sum = 1 WHERE id = 1 RETURNING (SELECT to_json(s) FROM (SELECT bare.*) AS s)", "0A000"),
            ("INSERT INTO bare VALUES (9, 9) RETURNING row_to_json(bare)", "0A000"),
            ("DELETE FROM bare WHERE row_to_json(bare)::text LIKE '%client%'", "0A000"),
        ],
    )
    .await;
    assert_eq!(session.answer("UPDATE bare SET sum = 11 WHERE id = 1 RETURNING bare.*").await, "1|11");
    assert_eq!(session.answer("DELETE FROM bare WHERE id IN (SELECT bare.id FROM bare WHERE id = 2) RETURNING *").await, "2|20");
    assert_eq!(session.answer("SELECT id, client, total FROM shop.orders ORDER BY id").await, "1|1|11\n3|1|30");
    // The table is called otherwise there than in the statement.
    session.answer("CREATE VIEW totals AS SELECT id FROM shop.orders AS o WHERE row_to_json(o)::text LIKE '%total%'").await;
    codes(&session, &[("DELETE FROM totals", "55000")]).await;
}

#[tokio::test]
async fn views_of_more_than_one_table_are_not_written() {
    let place = place().await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer(SPENT).await;
    session.answer("CREATE VIEW twice AS SELECT id, total * 2 AS twofold FROM shop.orders").await;
    session.answer("CREATE VIEW low AS SELECT * FROM twice WHERE twofold < 50 WITH LOCAL CHECK OPTION").await;
    codes(
        &session,
        &[
            ("INSERT INTO spent VALUES ('x', 1)", "55000"),
            ("UPDATE spent SET name = 'x'", "55000"),
            ("DELETE FROM spent", "55000"),
            ("UPDATE twice SET twofold = 1", "0A000"),
            ("INSERT INTO twice VALUES (1, 2)", "0A000"),
            ("MERGE INTO low USING shop.orders AS o ON low.id = o.id WHEN MATCHED THEN DELETE", "0A000"),
            ("CREATE VIEW v AS SELECT name FROM spent GROUP BY name WITH CHECK OPTION", "0A000"),
            ("CREATE VIEW v AS SELECT id + 1 AS more FROM shop.orders WITH CHECK OPTION", "0A000"),
        ],
    )
    .await;
    let failure = session.failure("DELETE FROM spent").await;
    assert_eq!(failure.message, "cannot delete from view \"spent\"");
    session.answer("DELETE FROM low WHERE twofold = 40").await;
    session.answer("DELETE FROM low WHERE twofold = 60").await;
    assert_eq!(session.answer("SELECT id FROM shop.orders ORDER BY id").await, "1\n3");
}
