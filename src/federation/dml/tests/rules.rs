//! What the rules of a table make of statements: conditions of its rows, and columns that it counts up.

use super::*;
use crate::stores::schema::Check;

#[tokio::test]
async fn rows_that_meet_others_are_judged_first_where_their_table_has_rules() {
    let rule = Check { name: "t_qty".to_owned(), expression: "qty > 0".to_owned(), columns: vec![2] };
    let room = Room::over(true, Table { checks: vec![rule], ..table(true) });
    let sql =
        "INSERT INTO t (id, qty) VALUES (1, 5), (7, 8) ON CONFLICT (id) DO UPDATE SET qty = t.qty + excluded.qty WHERE t.qty > 10";
    check(&room, sql, &["INSERT id,qty: 1|5", "INSERT id,qty: 7|8"]).await;
    let sql = "INSERT INTO t (id, qty) VALUES (7, 8), (1, 5) ON CONFLICT (id) DO UPDATE SET qty = t.qty + excluded.qty";
    check(&room, sql, &["INSERT id,qty: 1|5", "UPDATE id,qty: 1|15", "INSERT id,qty: 7|8"]).await;
}

#[tokio::test]
async fn columns_that_are_counted_are_left_to_their_store() {
    let mut counted = table(true);
    counted.columns[0].generated = Generated::ByDefault;
    let room = Room::over(true, counted);
    let rows: &[(&str, &[&str])] = &[
        ("INSERT INTO t (id, name) OVERRIDING USER VALUE VALUES (1, 'a'), (NULL, 'b')", &["INSERT name: a; b"]),
        ("INSERT INTO t (name, id) OVERRIDING USER VALUE SELECT 'a', 7", &["INSERT name: a"]),
        ("INSERT INTO t (id, name) OVERRIDING SYSTEM VALUE VALUES (1, 'a')", &["INSERT id,name: 1|a"]),
    ];
    for (sql, expected) in rows {
        check(&room, sql, expected).await;
    }
    let sql = "INSERT INTO t (id, name) OVERRIDING USER VALUE VALUES (1 / 0, 'a')";
    assert_eq!(room.edits(sql, &[]).await, Err("0A000".to_owned()));
}
