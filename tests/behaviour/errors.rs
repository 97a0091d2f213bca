//! Errors of statements: code, words, place and hint; the session goes on after each.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tributary::server::Server;

use crate::support::proxy::{self, DATABASE, OWNER, PATIENCE, Place, login};

const SHOP: &str = "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER);
    INSERT INTO customers VALUES (1, 'Ada', 36), (2, 'Bob', 41);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, total NUMERIC);
    INSERT INTO orders VALUES (1, 1, 10), (2, 9223372036854775807, 20);";

async fn shop() -> (Place, Server) {
    let place = Place::new();
    place.sqlite("shop", SHOP).await;
    let server = place.serve().await;
    (place, server)
}

#[tokio::test]
async fn logins_that_do_not_fit_are_refused() {
    let (_place, server) = shop().await;
    let good = login(server.addresses()[0], OWNER);
    let code = async |login: &tokio_postgres::Config| {
        let Err(error) = proxy::open(login).await else { panic!("let in") };
        error.code().map(|code| code.code().to_owned()).unwrap_or_default()
    };
    assert_eq!(code(good.clone().password("wrong")).await, "28P01");
    assert_eq!(code(good.clone().user("nobody")).await, "28P01");
    assert_eq!(code(good.clone().dbname("elsewhere")).await, "3D000");
    assert_eq!(code(good.clone().options("-c nothing.such=1")).await, "42704");
    assert_eq!(proxy::open(&good).await.unwrap().answer("SELECT current_user").await, OWNER);
}

/// Statement, code, place of the error, and what hint or message must hold.
type Case = (&'static str, &'static str, Option<u32>, &'static str);

const CASES: &[Case] = &[
    ("SELECT * FROM shop.custmers", "42P01", Some(15), "Perhaps you meant shop.customers"),
    ("SELECT * FROM custmers", "42P01", Some(15), "customers"),
    ("SELECT * FROM nowhere.customers", "42P01", Some(15), "nowhere"),
    ("SELECT nam FROM shop.customers", "42703", Some(8), "name"),
    ("SELECT c.nam FROM shop.customers AS c", "42703", Some(8), "name"),
    ("SELECT x.name FROM shop.customers AS c", "42P01", Some(8), "x"),
    ("SELECT id FROM shop.customers c JOIN shop.orders o ON true", "42702", Some(8), "ambiguous"),
    ("SELECT * FROM shop.customers WHERE nme = 'Ada'", "42703", Some(36), "name"),
    ("SELECT * FRM shop.customers", "42601", Some(14), "shop"),
    ("SELECT (1", "42601", Some(10), "end of input"),
    ("SELECT 'open", "42601", Some(8), ""),
    ("SELEC 1", "42601", Some(1), "SELEC"),
    ("SELECT nope(1)", "42883", Some(8), "nope"),
    ("SELECT lenght(name, 'a') FROM shop.customers", "42883", Some(8), "function lenght(text, unknown) does not exist"),
    ("SELECT name + 1 FROM shop.customers", "42883", None, "text + integer"),
    ("SELECT sum(name) FROM shop.customers", "42883", None, "sum"),
    ("SELECT name, count(*) FROM shop.customers", "42803", None, "name"),
    ("SELECT 1/0", "22012", None, "division by zero"),
    ("SELECT id / (id - id) FROM shop.customers", "22012", None, "division by zero"),
    ("SELECT 1.5 % 0", "22012", None, "division by zero"),
    ("SELECT 2147483647 + 1", "22003", None, "integer out of range"),
    ("SELECT customer_id + 1 FROM shop.orders", "22003", None, "bigint out of range"),
    ("SELECT 300000::int2", "22003", None, "smallint out of range"),
    ("SELECT 'x'::int4", "22P02", Some(8), "invalid input syntax for type integer"),
    ("SELECT name::int4 FROM shop.customers", "22P02", None, "Ada"),
    ("SELECT '2024-02-30'::date", "22008", Some(8), "2024-02-30"),
    ("SELECT 'what'::bool", "22P02", Some(8), "boolean"),
    ("SELECT '{'::json", "22P02", Some(8), "json"),
    ("SELECT 'x'::uuid", "22P02", Some(8), "uuid"),
    ("SELECT 1 WHERE 1", "42804", Some(16), "must be type boolean, not type integer"),
    ("SELECT (SELECT id FROM shop.customers)", "21000", None, "more than one row"),
    ("SELECT $1", "42P02", None, "$1"),
    ("SELECT 1 UNION SELECT 'a'", "22P02", Some(23), "integer"),
    ("SELECT 1 UNION SELECT 1, 2", "42601", Some(23), "columns"),
    ("SELECT * FROM shop.customers ORDER BY 9", "42P10", Some(39), "9"),
    ("SELECT 1 LIMIT -1", "2201W", None, "LIMIT must not be negative"),
    ("SELECT 1 LIMIT 'a'", "22P02", None, "invalid input syntax for type bigint: \"a\""),
    ("SELECT id FROM shop.customers LIMIT age", "42P10", None, "argument of LIMIT must not contain variables"),
    ("SELECT * FROM shop.customers ORDER BY 0", "42P10", None, "ORDER BY position 0 is not in select list"),
    ("SELECT id FROM shop.customers GROUP BY 5", "42P10", Some(40), "GROUP BY position 5 is not in select list"),
    ("SELECT DISTINCT name FROM shop.customers ORDER BY age", "42P10", Some(51), "must appear in select list"),
    ("SELECT id FROM shop.customers WHERE count(*) > 1", "42803", Some(37), "aggregate functions are not allowed in WHERE"),
    ("SELECT sum(max(age)) FROM shop.customers", "42803", Some(12), "aggregate function calls cannot be nested"),
    ("SELECT id FROM shop.customers WHERE rank() OVER () = 1", "42P20", Some(37), "window functions are not allowed in WHERE"),
    ("SELECT lag(id) FROM shop.customers", "42809", Some(8), "requires an OVER clause"),
    ("SELECT c.name FROM shop.customers c GROUP BY age", "42803", Some(8), "column \"c.name\" must appear in the GROUP BY"),
    ("SELECT * FROM shop.customers c, shop.orders c", "42712", None, "table name \"c\" specified more than once"),
    ("SELECT * FROM shop.customers WHERE WHERE id = 1", "42601", Some(36), "at or near \"WHERE\""),
    ("SELECT name, FROM shop.customers", "42601", Some(14), "at or near \"FROM\""),
    ("SELECT id == 1 FROM shop.customers", "42883", Some(11), "operator does not exist: =="),
    ("SELECT NOT id FROM shop.customers", "42804", None, "argument of NOT must be type boolean, not type bigint"),
    ("SELECT id AND true FROM shop.customers", "42804", None, "argument of AND must be type boolean, not type bigint"),
    ("SELECT id[1] FROM shop.customers", "42804", None, "cannot subscript type bigint"),
    ("SELECT (name).x FROM shop.customers", "42809", None, "which is not a composite type"),
    ("SELECT x.* FROM shop.customers c", "42P01", None, "missing FROM-clause entry for table \"x\""),
    ("SELECT (SELECT id, name FROM shop.customers)", "42601", None, "subquery must return only one column"),
    ("WITH x AS (SELECT 1), x AS (SELECT 2) SELECT 1", "42712", None, "specified more than once"),
    ("SELECT *", "42601", None, "no tables specified"),
    ("VALUES (1, 2), (3)", "42601", None, "VALUES lists must all be the same length"),
    ("SELECT 'x'::nothing", "42704", None, "nothing"),
    ("SHOW nothing", "42704", None, "nothing"),
    ("SELECT sum(id) OVER w FROM shop.customers", "42704", Some(21), "window \"w\" does not exist"),
    ("SELECT 1 FROM shop.customers HAVING sum(age)", "42804", None, "argument of HAVING must be type boolean, not type"),
    ("SELECT id FROM shop.customers HAVING true", "42803", Some(8), "must appear in the GROUP BY clause"),
    ("SELECT U&'d!0061' UESCAPE '!'", "0A000", Some(19), "UESCAPE is not supported"),
    (
        "WITH x AS (DELETE FROM shop.customers RETURNING *) SELECT * FROM x",
        "0A000",
        None,
        "DELETE inside of another statement is not supported",
    ),
    ("DO $$ BEGIN NULL; END $$", "0A000", None, "DO is not supported"),
    ("REINDEX TABLE shop.customers", "0A000", None, "REINDEX is not supported"),
    ("REFRESH MATERIALIZED VIEW shop.customers", "42809", None, "\"customers\" is not a materialized view"),
    ("SET tributary.pushdown = 'half'", "22023", None, "Available values: full, scans, none."),
    ("SET tributary.plan_cache = 'perhaps'", "22023", None, "requires a Boolean value"),
];

#[tokio::test]
async fn statements_fail_with_code_place_and_hint_and_the_session_goes_on() {
    let (_place, server) = shop().await;
    let session = proxy::connect(&server, OWNER).await;
    let mut wrong = Vec::new();
    for (sql, code, position, words) in CASES {
        let failure = session.failure(sql).await;
        let told = format!("{} {} {}", failure.message, failure.detail, failure.hint);
        // A place is a gain where it is not demanded.
        if failure.code != *code || (position.is_some() && failure.position != *position) || !told.contains(words) {
            wrong.push(format!("{sql}\n    wanted {code} {position:?} {words}\n    got {failure:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn extended_statements_fail_the_same_way() {
    let (_place, server) = shop().await;
    let session = proxy::connect(&server, OWNER).await;
    for (sql, code) in [
        ("SELECT * FROM shop.custmers", "42P01"),
        ("SELECT nam FROM shop.customers", "42703"),
        ("SELEC 1", "42601"),
        ("SELECT 1/0", "22012"),
        ("SELECT name::int4 FROM shop.customers", "22P02"),
    ] {
        let failure = session.query(sql, &[]).await.unwrap_err();
        assert_eq!(failure.code().map(|code| code.code()), Some(code), "{sql}");
        assert_eq!(session.query_one("SELECT 7::int8", &[]).await.unwrap().get::<_, i64>(0), 7);
    }
    let wrong = session.query("SELECT $1::int4 / $2", &[&1_i32, &0_i32]).await.unwrap_err();
    assert_eq!(wrong.code().map(|code| code.code()), Some("22012"));
}

#[tokio::test]
async fn refused_rows_are_placed_as_clients_see_their_table() {
    let (_place, server) = shop().await;
    let session = proxy::connect(&server, OWNER).await;
    for (sql, code) in [
        ("INSERT INTO shop.customers (id, name) VALUES (3, NULL)", "23502"),
        ("INSERT INTO shop.customers (id, name) VALUES (1, 'Eve')", "23505"),
    ] {
        let failure = session.query(sql, &[]).await.unwrap_err();
        let told = failure.as_db_error().unwrap();
        assert_eq!((told.code().code(), told.schema(), told.table()), (code, Some("shop"), Some("customers")), "{sql}");
    }
}

#[tokio::test]
async fn a_gigabyte_announced_before_authentication_is_refused() {
    let (_place, server) = shop().await;
    let mut socket = TcpStream::connect(server.addresses()[0]).await.unwrap();
    socket.write_all(&[&0x4000_0000_u32.to_be_bytes()[..], &[0, 3, 0, 0], b"user\0ada\0"].concat()).await.unwrap();
    let mut answer = Vec::new();
    // The server ends the connection, so the answer has an end; a reset after the answer is as good.
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("the server waits for a gigabyte").ok();
    assert!(!answer.contains(&b'R'), "asked for a password: {answer:?}");
    assert_eq!(proxy::connect(&server, OWNER).await.answer("SELECT 1").await, "1");
}

#[tokio::test]
async fn nesting_and_length_end_in_an_error_or_an_answer() {
    let (_place, server) = shop().await;
    let session = proxy::connect(&server, OWNER).await;
    let deep = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(session.failure(&deep).await.code, "54001");
    let refused = session.query(&deep, &[]).await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code()), Some("54001"));
    for nested in [
        format!("SELECT {}1{}", "NOT (".repeat(50_000), ")".repeat(50_000)),
        format!("SELECT {}1{}", "abs(".repeat(50_000), ")".repeat(50_000)),
        format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(20_000), " END".repeat(20_000)),
    ] {
        assert_eq!(session.failure(&nested).await.code, "54001", "{}", &nested[..40]);
    }
    let either: Vec<String> = (0..20_000).map(|n| format!("id = {n}")).collect();
    for sql in [
        format!("SELECT count(*) FROM shop.customers WHERE {}", either.join(" OR ")),
        format!("SELECT count(*) FROM shop.customers WHERE NOT ({})", either.join(" AND ")),
        format!("SELECT 1{}", " + 1".repeat(20_000)),
        format!("SELECT 1{}", " = 1".repeat(400_000)),
        format!("SELECT 1{}", "::int".repeat(400_000)),
        format!("SELECT 1{}", " IS NULL".repeat(200_000)),
        format!("SELECT 1{}", " EXCEPT SELECT 1".repeat(100_000)),
        format!("SELECT 1 FROM shop.customers{}", ", shop.customers".repeat(20_000)),
    ] {
        assert_eq!(session.failure(&sql).await.code, "54001", "{}", &sql[..60]);
        assert_eq!(session.answer("SELECT 1").await, "1");
    }
    let short = either[..200].join(" OR ");
    assert_eq!(session.answer(&format!("SELECT count(*) FROM shop.customers WHERE {short}")).await, "2");
    let fewer = either[..1_500].join(" OR ");
    assert_eq!(session.answer(&format!("SELECT count(*) FROM shop.customers WHERE {fewer}")).await, "2");
    let list: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    assert_eq!(session.answer(&format!("SELECT count(*) FROM shop.customers WHERE id IN ({})", list.join(","))).await, "2");
    assert_eq!(session.answer(&format!("SELECT count(*) FROM shop.customers WHERE id NOT IN ({})", list.join(","))).await, "0");
    assert_eq!(session.answer("SELECT current_database()").await, DATABASE);
}
