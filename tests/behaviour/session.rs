//! What a session keeps: settings, prepared statements, and views that it reads.

use crate::support::proxy::{self, GUEST, OWNER, Place};

#[tokio::test]
async fn settings_are_set_local_reset_and_discarded() {
    let place = Place::new();
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let shown = async |name: &str| session.answer(&format!("SHOW {name}")).await;
    assert_eq!((shown("TimeZone").await, shown("search_path").await), ("UTC".to_owned(), "public, \"$stores\"".to_owned()));
    session.answer("SET TimeZone = 'Europe/Berlin'").await;
    assert_eq!(session.answer("SELECT '2024-07-01 12:00+00'::timestamptz").await, "2024-07-01 14:00:00+02");
    assert_eq!(session.answer("SELECT current_setting('timezone')").await, "Europe/Berlin");
    session.answer("BEGIN; SET LOCAL TimeZone = 'Asia/Tokyo'").await;
    assert_eq!(session.answer("SELECT '2024-07-01 12:00+00'::timestamptz").await, "2024-07-01 21:00:00+09");
    session.answer("COMMIT").await;
    assert_eq!(shown("timezone").await, "Europe/Berlin");
    session.answer("BEGIN; SET TimeZone = 'Asia/Tokyo'; ROLLBACK").await;
    // Hours are counted to the east, and zones as POSIX writes them to the west.
    for (zone, shown) in
        [("5.5", "05:30:00+05:30"), ("<+05:30>-05:30", "05:30:00+05:30"), ("+05:30", "18:30:00-05:30"), ("EST5", "19:00:00-05")]
    {
        session.answer(&format!("BEGIN; SET LOCAL TimeZone = '{zone}'")).await;
        let told = session.answer("SELECT timestamptz '2024-01-01 00:00+00'").await;
        assert!(told.ends_with(shown), "{zone}: {told}");
        session.answer("ROLLBACK").await;
    }
    assert_eq!(shown("timezone").await, "Europe/Berlin");
    assert_eq!(session.answer("SELECT current_setting('TimeZone')").await, "Europe/Berlin");
    session.answer("RESET timezone").await;
    assert_eq!(shown("TimeZone").await, "UTC");
    session.answer("SET DateStyle = 'German'; SET IntervalStyle = iso_8601; SET application_name TO 'test'").await;
    assert_eq!(session.answer("SELECT '2024-02-29'::date, '1 day 02:00'::interval").await, "29.02.2024|P1DT2H");
    session.answer("DISCARD ALL").await;
    assert_eq!(session.answer("SELECT '2024-02-29'::date, '1 day 02:00'::interval").await, "2024-02-29|1 day 02:00:00");
    assert_eq!(shown("application_name").await, "");
    session.answer("SET statement_timeout = '5s'; RESET ALL").await;
    assert_eq!(shown("statement_timeout").await, "0");
    for (sql, code) in [
        ("SET TimeZone = 'Nowhere/Land'", "22023"),
        ("SET statement_timeout = 'soon'", "22023"),
        ("SET client_encoding = 'LATIN1'", "0A000"),
        ("SET server_version = '9'", "55P02"),
        ("SET nothing.such = 1", "42704"),
        ("SET standard_conforming_strings = off", "22023"),
    ] {
        assert_eq!(session.failure(sql).await.code, code, "{sql}");
    }
    assert!(session.rows("SHOW ALL").await.unwrap().len() > 20);
    let started = proxy::open(proxy::login(server.addresses()[0], OWNER).options("-c TimeZone=Asia/Tokyo")).await.unwrap();
    assert_eq!(started.answer("SHOW TimeZone; RESET TimeZone; SHOW TimeZone").await, "Asia/Tokyo\nAsia/Tokyo");
}

#[tokio::test]
async fn a_session_says_how_fresh_its_reads_must_be() {
    let place = Place::new();
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let shown = "SHOW tributary.consistency; SHOW tributary.max_staleness; SHOW tributary.on_stale";
    assert_eq!(session.answer(shown).await, "session\n0\nstore");
    session.answer("SET tributary.consistency = bounded").await;
    // Of each statement, until there is a measure.
    let refused = session.rows("SELECT 1").await.unwrap_err();
    assert_eq!(
        (refused.code.as_str(), refused.message.as_str()),
        ("22023", "tributary.consistency = bounded needs tributary.max_staleness")
    );
    session.answer("BEGIN; SET LOCAL tributary.max_staleness = '2s'").await;
    let listed = "SELECT setting FROM pg_settings WHERE name = 'tributary.max_staleness'";
    assert_eq!(session.answer(listed).await, "2s");
    session.answer("COMMIT").await;
    assert_eq!(session.rows("SELECT 1").await.unwrap_err().code, "22023", "the bound was that of the transaction");
    session.answer("DISCARD ALL").await;
    assert_eq!(session.answer(shown).await, "session\n0\nstore");
    assert_eq!(session.answer("SELECT count(*) FROM tributary.freshness").await, "0", "nothing is cached");
}

#[tokio::test]
async fn a_token_goes_from_one_session_to_another() {
    let place = Place::new();
    let server = place.serve().await;
    let (session, other) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, OWNER).await);
    let token = session.answer("SHOW tributary.token").await;
    assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{token}");
    other.answer(&format!("SET tributary.token = '{token}'; SET tributary.token = ''; RESET tributary.token")).await;
    let options = format!("-c tributary.token={token}");
    let started = proxy::open(proxy::login(server.addresses()[0], OWNER).options(&options)).await.unwrap();
    assert_eq!(started.answer("SHOW tributary.token").await, token);
    // What is listed is no token: it would be one of the past.
    let listed = other.answer("SELECT setting FROM pg_settings WHERE name = 'tributary.token'").await;
    let long = "A".repeat(70_000);
    for (value, code) in [(listed.as_str(), "22023"), ("nonsense", "22023"), (long.as_str(), "54000")] {
        assert_eq!(other.failure(&format!("SET tributary.token = '{value}'")).await.code, code);
    }
}

#[tokio::test]
async fn a_session_has_the_role_that_it_came_with() {
    let place = Place::new();
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SHOW role; RESET ROLE; SET ROLE NONE; SHOW role").await, "none\nnone");
    session.answer(&format!("SET ROLE {OWNER}")).await;
    assert_eq!(session.answer("RESET ALL; SHOW role").await, OWNER);
    session.answer("DISCARD ALL").await;
    session.answer(&format!("BEGIN; SET LOCAL ROLE {OWNER}; COMMIT; SET SESSION AUTHORIZATION {OWNER}")).await;
    session.answer("SET SESSION AUTHORIZATION DEFAULT; RESET SESSION AUTHORIZATION; RESET TIME ZONE").await;
    assert_eq!(session.answer("SHOW role; SHOW session_authorization").await, format!("none\n{OWNER}"));
    for sql in ["SET ROLE another", "SET LOCAL ROLE another", "SET SESSION AUTHORIZATION another"] {
        assert_eq!(session.failure(sql).await.code, "42501", "{sql}");
    }
    let other = proxy::open(proxy::login(server.addresses()[0], OWNER).options("-c role=another")).await;
    let code = other.err().and_then(|error| error.code().map(|code| code.code().to_owned()));
    assert_eq!(code.as_deref(), Some("42501"));
    let columns = session.prepare("SELECT current_schema, current_role, current_schema() AS x").await.unwrap();
    let names: Vec<&str> = columns.columns().iter().map(tokio_postgres::Column::name).collect();
    assert_eq!(names, ["current_schema", "current_role", "x"]);
    assert_eq!(session.answer("SELECT current_role = current_user, current_schema").await, "t|public");
}

#[tokio::test]
async fn a_role_sees_its_own_sessions_statements_and_cursors() {
    let place = Place::new();
    let server = place.serve().await;
    let (owner, guest) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, GUEST).await);
    let other = proxy::connect(&server, GUEST).await;
    other.answer("SET application_name = 'second'; SELECT 7").await;
    let counts = "SELECT count(*), count(*) FILTER (WHERE usename = current_user) FROM pg_stat_activity";
    assert_eq!(guest.answer(counts).await, "2|2");
    assert_eq!(owner.answer("SELECT count(*) FROM pg_stat_activity WHERE usename = current_user").await, "1");
    let beside = "SELECT state, application_name, query, xact_start IS NULL FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
    assert_eq!(guest.answer(beside).await, "idle|second|SET application_name = 'second'; SELECT 7|t");
    other.answer("BEGIN").await;
    assert_eq!(guest.answer(beside).await, "idle in transaction|second|BEGIN|f");
    let own = "SELECT state, now() >= xact_start, query_start >= backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    assert_eq!(guest.answer(own).await, "active|t|t");
    drop(other);

    // What a prepared statement reads of the moment is of each execution.
    let listed = guest.prepare("SELECT count(*) FROM pg_prepared_statements").await.unwrap();
    let count = async || guest.query_one(&listed, &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(count().await, 1);
    guest.answer("PREPARE p (int) AS SELECT $1 + 1").await;
    assert_eq!(count().await, 2);
    let shown =
        "SELECT name, statement, parameter_types, from_sql, prepare_time <= now() FROM pg_prepared_statements WHERE from_sql";
    assert_eq!(guest.answer(shown).await, "p|PREPARE p (int) AS SELECT $1 + 1|{integer}|t|t");
    assert_eq!(owner.answer(shown).await, "");
    guest.answer("DEALLOCATE p").await;
    assert_eq!(count().await, 1);

    let cursors = "SELECT name, is_binary, is_holdable, statement FROM pg_cursors";
    guest.answer("BEGIN").await;
    guest.answer("DECLARE c CURSOR FOR SELECT 1").await;
    assert_eq!(guest.answer(cursors).await, "c|f|f|DECLARE c CURSOR FOR SELECT 1");
    guest.answer("CLOSE c").await;
    assert_eq!(guest.answer(cursors).await, "");
    guest.answer("DECLARE c BINARY CURSOR FOR SELECT 1").await;
    assert_eq!(guest.answer(cursors).await, "c|t|f|DECLARE c BINARY CURSOR FOR SELECT 1");
    guest.answer("ROLLBACK").await;
    assert_eq!(guest.answer(cursors).await, "");
}

#[tokio::test]
async fn relations_and_schemas_are_shown_by_the_names_that_the_path_gives_them() {
    let place = Place::new();
    place.sqlite("shop", "CREATE TABLE items (id INTEGER PRIMARY KEY); CREATE TABLE \"Odd one\" (id INTEGER PRIMARY KEY);").await;
    place.sqlite("attic", "CREATE TABLE items (id INTEGER PRIMARY KEY);").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    for (sql, expected) in [
        ("SELECT 'attic.items'::regclass", "items"),
        ("SELECT 'shop.items'::regclass, regclass 'shop.items'", "shop.items|shop.items"),
        ("SELECT 'shop.items'::regclass::text || '!'", "shop.items!"),
        ("SELECT 'shop.\"Odd one\"'::regclass", "\"Odd one\""),
        ("SELECT to_regclass('shop.items'), to_regclass('nothing.such') IS NULL", "shop.items|t"),
        ("SELECT 'shop'::regnamespace, to_regnamespace('shop')::text, to_regnamespace('no') IS NULL", "shop|shop|t"),
        ("SELECT r FROM (SELECT 'shop.items'::regclass AS r) AS t ORDER BY r LIMIT 1", "shop.items"),
        ("SELECT attname FROM pg_attribute WHERE attrelid = 'shop.items'::regclass AND attnum > 0", "id"),
        ("SELECT relname FROM pg_class WHERE oid = to_regclass('shop.items')", "items"),
        ("SELECT count(*) FROM pg_class WHERE relnamespace = 'shop'::regnamespace AND relkind = 'r'", "2"),
        ("SELECT 'shop.items'::regclass::oid = 'shop.items'::regclass", "t"),
        ("SELECT c.tableoid = 1259, c.tableoid FROM pg_class c WHERE oid = 'shop.items'::regclass", "t|1259"),
        ("SET search_path = shop; SELECT 'shop.items'::regclass, 'attic.items'::regclass", "items|attic.items"),
        ("SET search_path = ''; SELECT 'shop.items'::regclass, 'pg_class'::regclass", "shop.items|pg_class"),
    ] {
        assert_eq!(session.answer(sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn the_search_path_is_what_was_set_also_when_that_is_nothing() {
    let place = Place::new();
    place.sqlite("shop", "CREATE TABLE items (id INTEGER PRIMARY KEY); INSERT INTO items VALUES (1);").await;
    place.sqlite("attic", "CREATE TABLE items (id INTEGER PRIMARY KEY); INSERT INTO items VALUES (2);").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    // What is set, what SHOW says, the schemas of the path, and the table that `items` then means.
    let rows = [
        ("search_path TO DEFAULT", "public, \"$stores\"", "{public,attic,shop}", "2"),
        ("search_path = ''", "\"\"", "{}", "42P01"),
        ("search_path TO \"shop\", attic", "shop, attic", "{shop,attic}", "1"),
        ("search_path TO Shop", "shop", "{shop}", "1"),
        ("search_path TO \"Shop\", nowhere", "\"Shop\", nowhere", "{}", "42P01"),
        ("search_path = 'shop, attic'", "\"shop, attic\"", "{}", "42P01"),
        ("search_path = 'nowhere', 'attic'", "nowhere, attic", "{attic}", "2"),
        ("search_path = \"$user\", 'a\"b', \"$stores\", shop", "\"$user\", \"a\"\"b\", \"$stores\", shop", "{attic,shop}", "2"),
        ("search_path = shop, pg_catalog", "shop, pg_catalog", "{shop,pg_catalog}", "1"),
    ];
    for (set, shown, schemas, found) in rows {
        session.answer(&format!("SET {set}")).await;
        assert_eq!(session.answer("SHOW search_path").await, shown, "{set}");
        assert_eq!(session.answer("SELECT current_setting('search_path')").await, shown, "{set}");
        assert_eq!(session.answer("SELECT current_schemas(false)").await, schemas, "{set}");
        let first = schemas.trim_matches(['{', '}']).split(',').next().filter(|name| !name.is_empty()).unwrap_or("~");
        assert_eq!(session.answer("SELECT current_schema()").await, first, "{set}");
        let answer = session.rows("SELECT id FROM items").await.map(|rows| rows.join(",")).unwrap_or_else(|failure| failure.code);
        assert_eq!(answer, found, "{set}");
    }
    assert_eq!(session.answer("SET search_path = ''; SELECT current_schemas(true)").await, "{pg_catalog}");
    assert_eq!(session.answer("SELECT id FROM shop.items").await, "1");
    session.answer("RESET search_path").await;
    let mut login = proxy::login(server.addresses()[0], OWNER);
    for (option, shown) in [("-c search_path=", ""), ("-c search_path=shop,\\ attic", "shop, attic")] {
        let started = proxy::open(login.options(option)).await.unwrap();
        assert_eq!(started.answer("SHOW search_path").await, shown, "{option}");
    }
    let refused = proxy::open(login.options("-c search_path=shop,")).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.code().map(|code| code.code()), Some("22023"));
}

#[tokio::test]
async fn statements_are_prepared_in_sql() {
    let place = Place::new();
    place
        .sqlite("shop", "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO items VALUES (1, 'a'), (2, 'b');")
        .await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("PREPARE one (bigint) AS SELECT name FROM shop.items WHERE id = $1").await;
    assert_eq!(session.answer("EXECUTE one(1); EXECUTE one(1 + 1)").await, "a\nb");
    session.answer("PREPARE two AS SELECT count(*) FROM shop.items WHERE id > $1 AND name <> $2").await;
    assert_eq!(session.answer("EXECUTE two(0, 'b')").await, "1");
    // The type of a parameter has no length, though these names mean one character and one bit where they stand in a query.
    session.answer("PREPARE kept (char, bit, char[], bit[]) AS SELECT $1, $2, $3, $4").await;
    assert_eq!(session.answer("EXECUTE kept('c1', '101', '{c1,c}', '{101,1}')").await, "c1|101|{c1,c}|{101,1}");
    session.answer("PREPARE named (bpchar, character(1), bit(1)) AS SELECT $1, $2 = 'c1', $3 = B'101'").await;
    assert_eq!(session.answer("EXECUTE named('c1', 'c1', '101')").await, "c1|t|t");
    for (sql, code) in [
        ("PREPARE one AS SELECT 1", "42P05"),
        ("EXECUTE one", "42601"),
        ("EXECUTE one('x')", "22P02"),
        ("EXECUTE three(1)", "26000"),
        ("DEALLOCATE three", "26000"),
    ] {
        assert_eq!(session.failure(sql).await.code, code, "{sql}");
    }
    session.answer("DEALLOCATE one").await;
    assert_eq!(session.failure("EXECUTE one(1)").await.code, "26000");
    session.answer("DEALLOCATE ALL").await;
    assert_eq!(session.failure("EXECUTE two(1, '')").await.code, "26000");
}

#[tokio::test]
async fn views_that_cannot_be_are_told_apart() {
    let place = Place::new();
    place.write("views/round.sql", "SELECT * FROM turns");
    place.write("views/turns.sql", "SELECT * FROM (SELECT * FROM round) AS again");
    place.write("views/twice.sql", "SELECT 1 AS a, 2 AS b, 3 AS a");
    place.write("views/several.sql", "SELECT 1; SELECT 2");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    for (view, code, words) in [
        ("round", "42P17", "stands on itself"),
        ("turns", "42P17", "stands on itself"),
        ("twice", "42701", "column \"a\" specified more than once"),
        ("several", "42601", "syntax error at or near \"SELECT\""),
    ] {
        let failure = session.failure(&format!("SELECT * FROM {view}")).await;
        assert_eq!(failure.code, code, "{failure:?}");
        assert!(failure.message.starts_with("view \"public."), "{failure:?}");
        assert!(failure.detail.contains(words), "{failure:?}");
    }
}

#[tokio::test]
async fn views_answer_and_say_what_they_miss() {
    let place = Place::new();
    let file =
        place.sqlite("shop", "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO items VALUES (1, 'a');").await;
    place.write("views/named.sql", "SELECT id, upper(name) AS name FROM shop.items -- a comment\n");
    place.write("views/nested.sql", "SELECT name || '!' AS loud FROM named WHERE id > 0;");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT * FROM named").await, "1|A");
    assert_eq!(session.answer("SELECT loud FROM public.nested AS n JOIN shop.items AS i ON true").await, "A!");
    assert_eq!(session.failure("SELECT nme FROM named").await.code, "42703");
    proxy::sqlite(&file, "DROP TABLE items;").await;
    let missing = session.failure("SELECT * FROM named").await;
    assert!(missing.code == "42P01" || missing.code.starts_with("08") || missing.code.starts_with("HV"), "{missing:?}");
    session.answer("CALL tributary.refresh('shop')").await;
    let missing = session.failure("SELECT * FROM nested").await;
    assert_eq!(missing.code, "42P01", "{missing:?}");
    assert!(format!("{missing:?}").contains("items"), "{missing:?}");
    proxy::sqlite(&file, "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO items VALUES (7, 'z');").await;
    session.answer("CALL tributary.refresh('shop')").await;
    assert_eq!(session.answer("SELECT loud FROM nested").await, "Z!");
}

#[tokio::test]
async fn explain_gives_the_plan_as_a_tree() {
    let place = Place::new();
    place.sqlite("notes", "CREATE TABLE notes (n INTEGER PRIMARY KEY); INSERT INTO notes VALUES (1), (2);").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let told = session.answer("EXPLAIN (ANALYZE, FORMAT json) SELECT n FROM notes.notes WHERE n > 1 ORDER BY n").await;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let plan = told.pointer("/0/Plan").unwrap();
    assert_eq!(plan.get("Actual Rows").and_then(serde_json::Value::as_u64), Some(1), "{plan}");
    assert!(plan.get("Node Type").is_some_and(serde_json::Value::is_string));
    let asked = told.pointer("/0/Stores/0").and_then(serde_json::Value::as_str).unwrap();
    assert!(asked.starts_with("Asked of notes: "), "{asked}");
}

#[tokio::test]
async fn a_condition_that_a_store_evaluates_about_is_said_to_be_checked_again() {
    let place = Place::new();
    place
        .sqlite("notes", "CREATE TABLE notes (n INTEGER PRIMARY KEY, worth DECIMAL(5, 1)); INSERT INTO notes VALUES (1, 6.5);")
        .await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let asked = session.answer("EXPLAIN SELECT n FROM notes.notes WHERE worth < 7").await;
    assert!(asked.contains("WHERE t.\"worth\" <= ?1 -- "), "{asked}");
    let checked: Vec<&str> = asked.lines().filter(|line| line.starts_with("Re-checked here: ")).collect();
    assert!(
        matches!(checked.as_slice(), [line] if line.contains("worth < 7") && line.ends_with("stores the type in several forms)")),
        "{asked}"
    );
    assert!(!asked.contains("Not asked of"), "{asked}");
    let told = session.answer("EXPLAIN (FORMAT json) SELECT n FROM notes.notes WHERE worth < 7").await;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let condition = told.pointer("/0/Checked Again/0/Condition").and_then(serde_json::Value::as_str).unwrap();
    assert!(condition.contains("worth < 7") && told.pointer("/0/Not Asked").is_none(), "{told}");
    // A part is asked for what is evaluated exactly.
    let part = session.answer("EXPLAIN SELECT n FROM notes.notes WHERE worth < 7 AND n < 5").await;
    let is_asked = part.contains("\"worth\" <= ?");
    assert_eq!(part.contains("Re-checked here: "), is_asked, "{part}");
    assert_eq!(part.contains("Not asked of notes: Filter ("), !is_asked, "{part}");
}

#[tokio::test]
async fn executions_of_prepared_statements_are_explained() {
    let place = Place::new();
    place.sqlite("notes", "CREATE TABLE notes (n INTEGER PRIMARY KEY); INSERT INTO notes VALUES (1), (2), (3);").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("PREPARE above AS SELECT count(*) FROM notes.notes WHERE n > $1").await;
    let scan = session.answer("EXPLAIN SELECT n FROM notes.notes WHERE n > 1").await;
    assert_eq!(
        scan.lines().filter(|line| line.ends_with(" > ?1 -- '1'::int8") || line.ends_with(" > ?1) -- '1'::int8")).count(),
        2,
        "{scan}"
    );
    session.answer("SET tributary.pushdown = scans").await;
    let scan = session.answer("EXPLAIN SELECT n FROM notes.notes WHERE n > 1").await;
    assert!(scan.contains("ScanExec: ") && scan.contains(" > ?1 -- '1'::int8"), "{scan}");
    // Nothing is left over here, and something there.
    assert!(!scan.contains("Not asked of"), "{scan}");
    let counted = session.answer("EXPLAIN SELECT count(*) FROM notes.notes").await;
    let reason =
        "Not asked of notes: Anything but filters and limits of single tables (tributary.pushdown = scans: the session is set so)";
    assert!(counted.lines().any(|line| line == reason), "{counted}");
    session.answer("SET tributary.pushdown = none").await;
    let filtered = session.answer("EXPLAIN SELECT n FROM notes.notes WHERE n > 1").await;
    assert!(filtered.contains("(tributary.pushdown = none: the session is set so)"), "{filtered}");
    session.answer("SET tributary.pushdown = full").await;
    let analyzed = session.answer("EXPLAIN ANALYZE SELECT n FROM notes.notes").await;
    let scan = analyzed.lines().find(|line| line.contains("ScanExec: ")).unwrap();
    assert!(scan.contains("output_rows=3") && !scan.contains("elapsed_compute"), "{analyzed}");
    let plan = session.answer("EXPLAIN EXECUTE above(1)").await;
    assert!(plan.contains("Asked of notes: ") && !plan.contains("metrics="), "{plan}");
    let told = session.answer("EXPLAIN (ANALYZE, FORMAT json) EXECUTE above(1)").await;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told.pointer("/0/Plan/Actual Rows").and_then(serde_json::Value::as_u64), Some(1), "{told}");
    assert_eq!(session.answer("EXECUTE above(1)").await, "2");
}
