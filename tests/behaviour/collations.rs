//! Whose rules compare text: one table as the store `plain`, under the usual policy, and as `own`, where its collations count.

use sqlx::Executor;

use super::endless;
use crate::support::{self, proxy};
use proxy::{OWNER, Place, Session};

/// Texts that are equal without case, in a column `w` that compares them so.
const WORDS: &str = "INSERT INTO word (id, w) VALUES (1, 'abc'), (2, 'ABC'), (3, 'Abd'), (4, 'b'), (5, NULL), (6, 'B')";

const OTHER: &str = "CREATE TABLE pick (word TEXT); INSERT INTO pick VALUES ('abc'), ('B'), ('none');";

/// A statement over `{}.word`, its answer by bytes, and the answer of the store itself.
const ANSWERS: [(&str, &str, &str); 12] = [
    ("SELECT id FROM {}.word WHERE w = 'abc' ORDER BY id", "1", "1\n2"),
    ("SELECT id FROM {}.word WHERE w < 'B' ORDER BY id", "2\n3", "1\n2\n3"),
    ("SELECT id FROM {}.word WHERE w <> 'abc' ORDER BY id", "2\n3\n4\n6", "3\n4\n6"),
    ("SELECT id FROM {}.word WHERE w IN ('ABC', 'x') ORDER BY id", "2", "1\n2"),
    ("SELECT id FROM {}.word WHERE w NOT IN ('ABC', 'B', 'x', 'y', 'z') ORDER BY id", "1\n3\n4", "3"),
    ("SELECT id FROM {}.word WHERE (w, id) IN (('ABC', 1), ('abc', 6)) ORDER BY id", "", "1"),
    ("SELECT count(*) FROM (SELECT DISTINCT w FROM {}.word) AS d", "6", "4"),
    ("SELECT count(*) FROM (SELECT w, count(*) FROM {}.word GROUP BY w) AS d", "6", "4"),
    ("SELECT w FROM {}.word WHERE w IS NOT NULL ORDER BY w, id", "ABC\nAbd\nB\nabc\nb", "abc\nABC\nAbd\nb\nB"),
    ("SELECT min(w) FROM {}.word WHERE id IN (1, 6)", "B", "abc"),
    ("SELECT count(*) FROM {}.word AS a JOIN {}.word AS b ON a.w = b.w", "5", "9"),
    // A condition over a constant is the store's also where the rest is done here.
    ("SELECT a.id FROM {}.word AS a, other.pick AS p WHERE a.w = 'abc' AND p.word = 'none' ORDER BY a.id", "1", "1\n2"),
];

/// Statements whose answers are by bytes whatever the policy, because the engine does a part of them.
const BY_BYTES: [(&str, &str); 4] = [
    ("SELECT count(*) FROM (SELECT DISTINCT w FROM {}.word) AS d, other.pick", "18"),
    ("SELECT a.id FROM other.pick AS p JOIN {}.word AS a ON a.w = p.word ORDER BY a.id", "1\n6"),
    ("SELECT a.id FROM {}.word AS a WHERE EXISTS (SELECT FROM other.pick AS p WHERE p.word = a.w) ORDER BY a.id", "1\n6"),
    // Computed once for each different text of the outer rows, and joined with them again: no row may lose its number.
    (
        "SELECT a.id, (SELECT count(*) FROM other.pick AS p WHERE p.word >= a.w) FROM {}.word AS a ORDER BY a.id",
        "1|2\n2|3\n3|3\n4|1\n5|0\n6|3",
    ),
];

/// A subquery that is joined with its outer rows again: all by bytes, or all by the store's rules.
const CORRELATED: &str = "SELECT a.id, (SELECT count(*) FROM {}.word AS b WHERE b.w = a.w) FROM {}.word AS a ORDER BY a.id";

async fn follows_the_policy(session: &Session, likes: [&str; 2]) {
    let ask = async |sql: &str, store: &str| session.answer(&sql.replace("{}", store)).await;
    for (sql, by_bytes, by_own) in ANSWERS {
        let plan = ask(&format!("EXPLAIN {sql}"), "own").await;
        assert_eq!([ask(sql, "plain").await, ask(sql, "own").await], [by_bytes, by_own], "{sql}\n{plan}");
    }
    for (sql, by_bytes) in BY_BYTES {
        assert_eq!([ask(sql, "plain").await, ask(sql, "own").await], [by_bytes, by_bytes], "{sql}");
    }
    let like = "SELECT id FROM {}.word WHERE w LIKE 'a%' ORDER BY id";
    assert_eq!([ask(like, "plain").await, ask(like, "own").await], likes);
    let counts = ["1|1\n2|1\n3|1\n4|1\n5|0\n6|1", "1|2\n2|2\n3|1\n4|2\n5|0\n6|2"];
    assert_eq!(ask(CORRELATED, "plain").await, counts[0]);
    let own = ask(CORRELATED, "own").await;
    assert!(counts.contains(&own.as_str()), "{own}");
}

/// What `EXPLAIN` says of the collations that count.
async fn is_explained(session: &Session) {
    let explain = async |store: &str, sql: &str| session.answer(&format!("EXPLAIN {}", sql.replace("{}", store))).await;
    let condition = "SELECT id FROM {}.word WHERE w = 'abc'";
    let sorted = "SELECT id FROM {}.word ORDER BY w, id";
    let mixed = "SELECT count(*) FROM (SELECT DISTINCT w FROM {}.word) AS d, other.pick";
    assert!(explain("own", condition).await.contains("(compares by the store's own collation: w)"));
    assert!(explain("own", sorted).await.contains("(compares the texts of the whole statement by the store's own collations)"));
    for (store, sql) in [("plain", condition), ("plain", sorted), ("plain", mixed), ("own", mixed)] {
        let plan = explain(store, sql).await;
        assert!(!plan.contains("own collation"), "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_compare_by_the_policy_of_their_store_in_sqlite() {
    let place = Place::new();
    place.sqlite("other", OTHER).await;
    let table = "CREATE TABLE word (id INTEGER PRIMARY KEY, w TEXT COLLATE NOCASE) STRICT; CREATE INDEX of_w ON word (w);
        CREATE TABLE unsure (id INTEGER PRIMARY KEY, w TEXT COLLATE NOCASE);";
    place.sqlite("plain", &format!("{table} {WORDS}; INSERT INTO unsure SELECT * FROM word;")).await;
    place.write("stores/own.toml", "kind = \"sqlite\"\npath = \"plain.db\"\ncollation = \"native\"\n");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    // The store's own LIKE looks at no collation.
    follows_the_policy(&session, ["1", "1"]).await;
    is_explained(&session).await;
    // A cell may be of another kind there, so that these are checked again, and by bytes.
    let checked = [("w > 'B'", "1\n4"), ("w <> 'abc'", "2\n3\n4\n6"), ("w NOT IN ('abc', 'b', 'x', 'y', 'z')", "2\n3\n6")];
    for (condition, expected) in checked {
        for store in ["plain", "own"] {
            let sql = format!(
                "SELECT u.id FROM {store}.unsure AS u, other.pick AS p WHERE p.word = 'none' AND u.{condition} ORDER BY u.id"
            );
            assert_eq!(session.answer(&sql).await, expected, "{sql}");
            // So they are in a part that SQLite runs whole.
            let alone = format!("SELECT id FROM {store}.unsure WHERE {condition} ORDER BY id");
            assert_eq!(session.answer(&alone).await, expected, "{alone}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_compare_by_the_policy_of_their_store_in_mariadb() {
    let place = Place::new();
    place.sqlite("other", OTHER).await;
    let mariadb = support::mariadb().await;
    let database = mariadb.fresh_database().await.unwrap();
    let mut owner = endless::direct(mariadb, &database).await;
    let table = "CREATE TABLE word (id int PRIMARY KEY, w varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, KEY (w),
        l varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci)";
    for sql in [table, WORDS, "UPDATE word SET l = w", "ANALYZE TABLE word"] {
        owner.execute(sql).await.unwrap();
    }
    place.mariadb("plain", mariadb, &database, "");
    place.mariadb("own", mariadb, &database, "collation = \"native\"\n");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    follows_the_policy(&session, ["1", "1\n2\n3"]).await;
    is_explained(&session).await;
    let asked = session.answer("EXPLAIN SELECT w, count(*) FROM own.word WHERE w >= 'a' GROUP BY w ORDER BY w").await;
    assert!(!asked.contains("CONVERT") && !asked.contains("BINARY"), "{asked}");
    // A character that the column cannot hold is equal to nothing, and no error.
    for store in ["plain", "own"] {
        assert_eq!(session.answer(&format!("SELECT count(*) FROM {store}.word WHERE l = '日'")).await, "0");
        assert_eq!(session.answer(&format!("SELECT id FROM {store}.word WHERE l = 'Abd'")).await, "3");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_compare_by_the_policy_of_their_store_in_postgres() {
    let place = Place::new();
    place.sqlite("other", OTHER).await;
    let postgres = support::postgres().await;
    let table = "CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE TABLE word (id int PRIMARY KEY, w text COLLATE caseless, v text COLLATE \"en-x-icu\")";
    let letters = "UPDATE word SET v = CASE id WHEN 1 THEN 'b' WHEN 2 THEN 'A' WHEN 3 THEN 'a' WHEN 4 THEN 'C' WHEN 6 THEN 'B' END";
    let database = proxy::fresh(postgres, &format!("{table}; {WORDS}; {letters}; ANALYZE word;")).await;
    place.postgres("plain", postgres, &database, "");
    place.postgres("own", postgres, &database, "collation = \"native\"\n");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    // Patterns look at no collation.
    follows_the_policy(&session, ["1", "1"]).await;
    is_explained(&session).await;
    // Equality of a deterministic collation is by bytes, its order is that of a language.
    let rows = [
        ("SELECT id FROM {}.word WHERE v = 'a'", "3", "3"),
        ("SELECT id FROM {}.word WHERE v < 'B' ORDER BY id", "2", "1\n2\n3"),
        ("SELECT v FROM {}.word WHERE v IS NOT NULL ORDER BY v", "A\nB\nC\na\nb", "a\nA\nb\nB\nC"),
        ("SELECT v FROM {}.word ORDER BY v DESC NULLS LAST LIMIT 2", "b\na", "C\nB"),
    ];
    for (sql, by_bytes, by_own) in rows {
        let answers = [session.answer(&sql.replace("{}", "plain")).await, session.answer(&sql.replace("{}", "own")).await];
        assert_eq!(answers, [by_bytes, by_own], "{sql}");
    }
    server.stop().await;
}

/// Collations of one name in two schemas, and two that compare bytes: the server compares columns of two of them only where the statement
/// says how.
const PAIRS: &str = "CREATE SCHEMA far; CREATE COLLATION same (provider = icu, locale = 'en'); CREATE COLLATION far.same (provider = icu, locale = 'sv');
    CREATE TABLE pair (id int PRIMARY KEY, a text COLLATE same, b text COLLATE far.same, c text COLLATE \"C\", d text COLLATE \"POSIX\", e text);
    INSERT INTO pair VALUES (1, 'x', 'x', 'x', 'x', 'x'), (2, 'a', 'B', 'a', 'B', 'a'), (3, 'B', 'a', 'B', 'a', 'B'); ANALYZE pair";

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_two_collations_compare_by_bytes_in_postgres() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, PAIRS).await;
    place.postgres("plain", postgres, &database, "");
    place.postgres("own", postgres, &database, "collation = \"native\"\n");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let conditions = [
        ("a = b", "1"),
        ("a < b", "3"),
        ("a = c", "1\n2\n3"),
        ("c = d", "1"),
        ("c < d", "3"),
        ("d >= c", "1\n3"),
        ("e = a AND e = b", "1"),
        ("a IS NOT DISTINCT FROM b", "1"),
        ("a IN (b, 'q')", "1"),
        ("a LIKE b", "1"),
        ("nullif(a, b) IS NULL", "1"),
        ("greatest(a, b) = 'a'", "2\n3"),
        ("strpos(a, b) > 0", "1"),
        ("replace(a, b, 'q') = 'q'", "1"),
        ("a || b = 'aB'", "2"),
    ];
    for (condition, expected) in conditions {
        for store in ["plain", "own"] {
            let sql = format!("SELECT id FROM {store}.pair WHERE {condition} ORDER BY id");
            assert_eq!(session.answer(&sql).await, expected, "{sql}");
        }
    }
    let statements = [
        ("SELECT p.id, q.id FROM {}.pair AS p JOIN {}.pair AS q ON p.a = q.b ORDER BY p.id", "1|1\n2|3\n3|2"),
        ("SELECT count(*) FROM (SELECT a FROM {}.pair UNION SELECT b FROM {}.pair) AS u", "3"),
        ("SELECT count(*) FROM {}.pair AS p WHERE EXISTS (SELECT FROM {}.pair AS q WHERE q.d = p.c)", "3"),
    ];
    for (sql, expected) in statements {
        for store in ["plain", "own"] {
            assert_eq!(session.answer(&sql.replace("{}", store)).await, expected, "{store}: {sql}");
        }
    }
    server.stop().await;
}
