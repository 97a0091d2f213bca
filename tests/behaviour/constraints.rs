//! Constraints that a store says are violated: their names in the message and in the field of the error are those that the catalog shows.

use sqlx::Executor as _;

use super::endless;
use crate::support::{self, proxy};
use proxy::{OWNER, Place, Session};

const SHOWN: &str = "SELECT conname FROM pg_constraint AS c JOIN pg_class AS t ON t.oid = c.conrelid
    JOIN pg_namespace AS n ON n.oid = t.relnamespace
    WHERE n.nspname = 'crm' AND relname = 'users' AND contype IN ('p', 'u', 'f') ORDER BY contype, conname";

const TABLES: [&str; 3] = [
    "CREATE TABLE people (id INT PRIMARY KEY, email VARCHAR(20), UNIQUE KEY email (email))",
    "CREATE TABLE users (id INT PRIMARY KEY, email VARCHAR(20), boss INT, UNIQUE KEY email (email),
        CONSTRAINT has_boss FOREIGN KEY (boss) REFERENCES people (id))",
    "INSERT INTO people VALUES (1, 'PRIMARY')",
];

/// The code, the constraint, the schema and the table of what a statement fails with, and its message.
async fn told(session: &Session, sql: &str) -> ([Option<String>; 4], String) {
    let error = session.simple_query(sql).await.unwrap_err();
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
    let named = |name: Option<&str>| name.map(str::to_owned);
    let fields = [Some(error.code().code().to_owned()), named(error.constraint()), named(error.schema()), named(error.table())];
    (fields, error.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_mariadb_are_told_by_the_names_that_are_shown() {
    let place = Place::new();
    let mariadb = support::mariadb().await;
    let database = mariadb.fresh_database().await.unwrap();
    let mut owner = endless::direct(mariadb, &database).await;
    for sql in TABLES {
        owner.execute(sql).await.unwrap();
    }
    place.mariadb("crm", mariadb, &database, "");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer(SHOWN).await, "has_boss\nusers_pkey\nemail1");
    session.answer("INSERT INTO crm.users VALUES (1, 'PRIMARY', 1)").await;
    for (sql, code, name, table) in [
        ("INSERT INTO crm.people VALUES (1, 'x')", "23505", "people_pkey", "people"),
        ("INSERT INTO crm.people VALUES (2, 'PRIMARY')", "23505", "email", "people"),
        ("INSERT INTO crm.users VALUES (1, 'x', 1)", "23505", "users_pkey", "users"),
        ("INSERT INTO crm.users VALUES (2, 'PRIMARY', 1)", "23505", "email1", "users"),
        ("INSERT INTO crm.users VALUES (3, 'x', 7)", "23503", "has_boss", "users"),
    ] {
        let (fields, message) = told(&session, sql).await;
        assert_eq!(fields.each_ref().map(Option::as_deref), [Some(code), Some(name), Some("crm"), Some(table)], "{sql}");
        let quoted = ['\'', '"', '`'].map(|quote| format!("{quote}{name}{quote}"));
        assert!(quoted.iter().any(|name| message.contains(name)), "{sql}: {message}");
        let entry = message.contains("Duplicate entry 'PRIMARY'");
        assert_eq!(entry, sql.contains("'PRIMARY'"), "values stay as they are: {message}");
    }
    // What is told can be used.
    let again = "INSERT INTO crm.people VALUES (1, 'y') ON CONFLICT ON CONSTRAINT people_pkey DO NOTHING";
    session.answer(again).await;
    server.stop().await;
}

/// In the store the unnamed key, the condition of the column and the foreign key are all `email`.
const OF_ONE_NAME: [&str; 3] = [
    "CREATE TABLE people (id INT PRIMARY KEY, email VARCHAR(20), UNIQUE KEY email (email))",
    "CREATE TABLE users (id INT PRIMARY KEY, email VARCHAR(20) UNIQUE CHECK (email LIKE '%@%'), boss INT, KEY by_boss (boss),
        CONSTRAINT email FOREIGN KEY (boss) REFERENCES people (id))",
    "INSERT INTO people VALUES (1, 'a@b')",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_key_and_a_condition_of_one_name_of_mariadb_are_told_apart() {
    let place = Place::new();
    let mariadb = support::mariadb().await;
    let database = mariadb.fresh_database().await.unwrap();
    let mut owner = endless::direct(mariadb, &database).await;
    for sql in OF_ONE_NAME {
        owner.execute(sql).await.unwrap();
    }
    place.mariadb("crm", mariadb, &database, "");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("INSERT INTO crm.users VALUES (1, 'a@b', 1)").await;
    for (sql, code, name) in [
        ("INSERT INTO crm.users VALUES (2, 'a@b', 1)", "23505", "email1"),
        ("INSERT INTO crm.users VALUES (2, 'nothing', 1)", "23514", "users_email_check"),
        ("UPDATE crm.users SET email = 'nothing' WHERE id = 1", "23514", "users_email_check"),
        ("INSERT INTO crm.users VALUES (2, 'c@d', 7)", "23503", "email"),
    ] {
        let (fields, message) = told(&session, sql).await;
        assert_eq!(fields.each_ref().map(Option::as_deref), [Some(code), Some(name), Some("crm"), Some("users")], "{sql}");
        let quoted = ['\'', '"', '`'].map(|quote| format!("{quote}{name}{quote}"));
        assert!(quoted.iter().any(|name| message.contains(name)), "{sql}: {message}");
    }
    server.stop().await;
}
