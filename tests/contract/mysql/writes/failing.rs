//! Edits that fail: what of them is kept, and what is said of it.

use sqlx::{Executor, Row};
use tokio_util::sync::CancellationToken;
use tributary::error::Diagnose;
use tributary::stores::edit::Edit;
use tributary::stores::{Purpose, StoreError};

use super::super::{Room, parse};
use super::{insert, ints, once, simple};
use crate::support::gate::Gate;

/// How many rows `t` has.
async fn count(room: &mut Room) -> i64 {
    room.writer.fetch_one("SELECT count(*) FROM t").await.unwrap().get(0)
}

#[tokio::test]
async fn a_row_that_cannot_be_given_back_is_not_kept() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    room.run("ALTER TABLE t MODIFY a bigint").await;
    let mut given = insert(&table, &[0, 1], vec![ints([7]), ints([70])]);
    given.returning = vec![1];
    let error = once(&room, Edit::Insert(given)).await.unwrap_err();
    assert!(matches!(error, StoreError::SchemaChanged { .. }), "{error:?}");
    assert_eq!(count(&mut room).await, 2);
}

#[tokio::test]
async fn the_outcome_of_what_was_never_sent_is_known() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    let gate = Gate::to(room.server.host(), room.server.port()).await;
    let open = gate.open().await;
    let file = format!(
        "host = \"127.0.0.1\"\nport = {}\nuser = \"{}\"\npassword = \"{}\"\ndatabase = \"{}\"\nquery_timeout = \"1s\"\nconnect_timeout = \"1s\"\n",
        gate.port(),
        room.server.user(),
        room.server.password(),
        room.database
    );
    let store = parse(&file);
    store.ping().await.unwrap();
    open.freeze();
    let branch = store.open(Purpose::Once).await.unwrap();
    let edit = Edit::Insert(insert(&table, &[0], vec![ints([7])]));
    let error = branch.edit(&edit, &CancellationToken::new()).await.unwrap_err();
    assert!(error.sqlstate().starts_with("08") && !matches!(error, StoreError::OutcomeUnknown { .. }), "{error:?}");
    open.shut().await;
    assert_eq!(count(&mut room).await, 2);
}
