//! COPY to the client, and cursors: message scripts that are held against PostgreSQL first.

use super::client::{bind, describe, execute, parse, query, sync};
use super::protocol::{check, check_ours};

const VALUES: &str = "(VALUES (1, 'a', NULL), (2, 'x,\"y\"', E'\\t\\\\'), (3, '', 'ü')) AS t(n, a, b)";

fn copy(options: &str) -> Vec<u8> {
    query(&format!("COPY (SELECT * FROM {VALUES} ORDER BY n) TO STDOUT {options}"))
}

#[tokio::test]
async fn copy_writes_the_three_formats() {
    check(vec![
        ("text", copy(""), "H\nd 1\\ta\\t\\\\N\\n\nd 2\\tx,\\\"y\\\"\\t\\\\t\\\\\\\\\\n\nd 3\\t\\t\\xc3\\xbc\\n\nc\nC COPY 3\nZ I"),
        (
            "csv",
            copy("WITH (FORMAT csv, HEADER)"),
            "H\nd n,a,b\\n\nd 1,a,\\n\nd 2,\\\"x,\\\"\\\"y\\\"\\\"\\\",\\t\\\\\\n\nd 3,\\\"\\\",\\xc3\\xbc\\n\nc\nC COPY 3\nZ I",
        ),
        (
            "csv with everything",
            copy("WITH (FORMAT csv, DELIMITER ';', NULL 'nil', QUOTE '''', ESCAPE '\\', FORCE_QUOTE (a))"),
            "H\nd 1;\\'a\\';nil\\n\nd 2;\\'x,\\\"y\\\"\\';\\t\\\\\\n\nd 3;\\'\\';\\xc3\\xbc\\n\nc\nC COPY 3\nZ I",
        ),
        ("old spelling", copy("WITH CSV DELIMITER AS '|' NULL AS 'nil' FORCE QUOTE *"), {
            "H\nd \\\"1\\\"|\\\"a\\\"|nil\\n\nd \\\"2\\\"|\\\"x,\\\"\\\"y\\\"\\\"\\\"|\\\"\\t\\\\\\\"\\n\nd \\\"3\\\"|\\\"\\\"|\\\"\\xc3\\xbc\\\"\\n\nc\nC COPY 3\nZ I"
        }),
        ("nothing", query("COPY (SELECT 1 WHERE false) TO STDOUT"), "H\nc\nC COPY 0\nZ I"),
        ("two statements", query("COPY (SELECT 1) TO STDOUT; SELECT 2 AS n"), {
            "H\nd 1\\n\nc\nC COPY 1\nT n:23:0\nD 2\nC SELECT 1\nZ I"
        }),
        ("a bad option", query("COPY (SELECT 1) TO STDOUT (FORMAT xml)"), "E ERROR 22023\nZ I"),
        ("an unknown column", query("COPY (SELECT 1 AS a) TO STDOUT (FORMAT csv, FORCE_QUOTE (b))"), "E ERROR 42703\nZ I"),
        ("a bad query", query("COPY (SELECT nope) TO STDOUT"), "E ERROR 42703\nZ I"),
        ("extended", [parse("", "COPY (SELECT 7) TO STDOUT", &[]), bind("", "", &[], &[]), describe(b'P', ""), execute("", 0), sync()].concat(), {
            "1\n2\nn\nH\nd 7\\n\nc\nC COPY 1\nZ I"
        }),
    ])
    .await;
    let header = "PGCOPY\\n\\xff\\r\\n\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00";
    let row = "\\x00\\x02\\x00\\x00\\x00\\x04\\x00\\x00\\x00\\x07\\xff\\xff\\xff\\xff";
    let rows = format!("H\nd {header}{row}\nd {row}\nd \\xff\\xff\nc\nC COPY 2\nZ I");
    let none = format!("H\nd {header}\\xff\\xff\nc\nC COPY 0\nZ I");
    check(vec![
        ("binary", query("COPY (SELECT 7, NULL::text FROM generate_series(1, 2)) TO STDOUT (FORMAT binary)"), rows.as_str()),
        ("binary without rows", query("COPY (SELECT 7 WHERE false) TO STDOUT (FORMAT binary)"), none.as_str()),
    ])
    .await;
    check_ours(vec![
        ("from the client", query("COPY pg_catalog.pg_class FROM STDIN"), "E ERROR 42501\nZ I"),
        ("and with a semicolon", query("COPY pg_catalog.pg_class FROM STDIN WITH (FORMAT csv);"), "E ERROR 42501\nZ I"),
        ("and the session goes on", query("SELECT 1 AS n"), "T n:23:0\nD 1\nC SELECT 1\nZ I"),
    ])
    .await;
}

#[tokio::test]
async fn copy_data_that_nobody_asked_for_is_ignored() {
    check(vec![(
        "stray copy data is ignored",
        [vec![b'd', 0, 0, 0, 5, b'x'], vec![b'c', 0, 0, 0, 4], query("SELECT 1 AS n")].concat(),
        { "T n:23:0\nD 1\nC SELECT 1\nZ I" },
    )])
    .await;
}

const CURSOR: &str = "DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 5) AS t(n)";

#[tokio::test]
async fn cursors_are_read_forward_inside_their_block() {
    check(vec![
        ("outside a block", query(CURSOR), "E ERROR 25P01\nZ I"),
        ("begun", query("BEGIN"), "C BEGIN\nZ T"),
        ("declared", query(CURSOR), "C DECLARE CURSOR\nZ T"),
        ("one", query("FETCH c"), "T n:23:0\nD 1\nC FETCH 1\nZ T"),
        ("two", query("FETCH FORWARD 2 FROM c"), "T n:23:0\nD 2\nD 3\nC FETCH 2\nZ T"),
        ("moved", query("MOVE 1 IN c"), "C MOVE 1\nZ T"),
        ("the rest", query("FETCH ALL FROM c"), "T n:23:0\nD 5\nC FETCH 1\nZ T"),
        ("nothing left", query("FETCH 3 FROM c"), "T n:23:0\nC FETCH 0\nZ T"),
        ("closed", query("CLOSE c; FETCH c"), "C CLOSE CURSOR\nE ERROR 34000\nZ E"),
        ("ended", query("ROLLBACK"), "C ROLLBACK\nZ I"),
        ("committed", query(&format!("BEGIN; {CURSOR}; COMMIT")), "C BEGIN\nC DECLARE CURSOR\nC COMMIT\nZ I"),
        ("gone with its block", query("FETCH c"), "E ERROR 34000\nZ I"),
        (
            "in a text of several",
            query(&format!("{CURSOR}; FETCH 2 FROM c; CLOSE ALL")),
            "C DECLARE CURSOR\nT n:23:0\nD 1\nD 2\nC FETCH 2\nC CLOSE CURSOR ALL\nZ I",
        ),
        ("twice", query(&format!("BEGIN; {CURSOR}; {CURSOR}")), "C BEGIN\nC DECLARE CURSOR\nE ERROR 42P03\nZ E"),
        ("ended again", query("ROLLBACK"), "C ROLLBACK\nZ I"),
        ("for the extended protocol", query(&format!("BEGIN; {CURSOR}")), "C BEGIN\nC DECLARE CURSOR\nZ T"),
        (
            "extended",
            [parse("", "FETCH 2 FROM c", &[]), bind("", "", &[], &[]), describe(b'P', ""), execute("", 0), sync()].concat(),
            "1\n2\nT n:23:0\nD 1\nD 2\nC FETCH 2\nZ T",
        ),
        ("ended at last", query("ROLLBACK"), "C ROLLBACK\nZ I"),
    ])
    .await;
    check_ours(vec![
        ("begun", query("BEGIN"), "C BEGIN\nZ T"),
        (
            // PostgreSQL collects the rows of a FETCH before it describes them.
            "a failure inside",
            query("DECLARE d CURSOR FOR SELECT 1 / (n - 1) AS q FROM generate_series(1, 2) AS t(n); FETCH d"),
            "C DECLARE CURSOR\nT q:23:0\nE ERROR 22012\nZ E",
        ),
        ("ended", query("ROLLBACK"), "C ROLLBACK\nZ I"),
        (
            "no way back",
            query("BEGIN; DECLARE c CURSOR FOR SELECT 1; FETCH PRIOR FROM c"),
            "C BEGIN\nC DECLARE CURSOR\nE ERROR 55000\nZ E",
        ),
        ("ended", query("ROLLBACK"), "C ROLLBACK\nZ I"),
        ("not held", query("DECLARE c CURSOR WITH HOLD FOR SELECT 1"), "E ERROR 0A000\nZ I"),
    ])
    .await;
}
