//! Clients that follow changes: streams of SUBSCRIBE, rows of `tributary.changes`, and when a feed is there.

use std::pin::Pin;
use std::time::Duration;

use futures::StreamExt;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryStream};

use super::{ask, eventually};
use crate::support::proxy::{Failure, PATIENCE, Session};

/// Waits until a store's feed streams, and these tables with it.
pub async fn until_streaming(session: &Session, store: &str, tables: &[&str]) {
    until_feed(session, store, "", "streaming").await;
    for table in tables {
        until_feed(session, store, table, "streaming").await;
    }
}

/// Waits until a feed, or a table of it, stands so; tells its reason.
///
/// Names are compared as text: beside a `name` a literal is one too, and is cut off at 63 bytes.
pub async fn until_feed(session: &Session, store: &str, table: &str, state: &str) -> String {
    let sql =
        format!("SELECT state, reason FROM tributary.feeds WHERE store = '{store}' AND coalesce(table_name::text, '') = '{table}'");
    let mut last = String::new();
    let asking = async {
        loop {
            last = ask(session, &sql).await.unwrap_or_default().join(" ");
            if let Some((_, reason)) = last.split_once('|').filter(|(now, _)| *now == state) {
                return reason.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reason = tokio::time::timeout(PATIENCE, asking).await;
    reason.unwrap_or_else(|_elapsed| panic!("{store} {table} is {last:?} and never {state}"))
}

/// Rows of `tributary.changes` of a store, fields joined by `|`.
pub async fn told(session: &Session, store: &str, columns: &str) -> Vec<String> {
    session.rows(&format!("SELECT {columns} FROM tributary.changes WHERE store = '{store}' ORDER BY position")).await.unwrap()
}

/// Waits until so many rows are told, and gives them.
pub async fn until_told(session: &Session, (store, columns): (&str, &str), count: usize) -> Vec<String> {
    eventually("what is told", async || Some(told(session, store, columns).await).filter(|rows| rows.len() >= count)).await
}

/// A statement that gives rows for as long as somebody reads them, by the simple protocol.
pub struct Live {
    rows: Pin<Box<SimpleQueryStream>>,
}

impl Live {
    /// Starts it.
    pub async fn start(session: &Session, sql: &str) -> Self {
        Self { rows: Box::pin(session.simple_query_raw(sql).await.unwrap()) }
    }

    /// The next row, fields joined by `|`, NULL as `~`; or how it ended.
    pub async fn next(&mut self) -> Result<String, Failure> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.rows.next()).await.expect("no row came");
            match next.expect("the statement has ended without an error") {
                Ok(SimpleQueryMessage::Row(row)) => {
                    return Ok((0..row.len()).map(|place| row.get(place).unwrap_or("~")).collect::<Vec<_>>().join("|"));
                }
                Ok(_) => {}
                Err(error) => return Err(Failure::of(error)),
            }
        }
    }

    /// So many rows.
    pub async fn next_of(&mut self, count: usize) -> Vec<String> {
        let mut rows = Vec::new();
        for _ in 0..count {
            rows.push(self.next().await.unwrap());
        }
        rows
    }

    /// How it ends, whatever comes before.
    pub async fn failure(&mut self) -> Failure {
        loop {
            if let Err(failure) = self.next().await {
                return failure;
            }
        }
    }
}

/// What is told of a store besides rows: what it is, of which table, and why.
pub async fn barriers(session: &Session, store: &str) -> Vec<String> {
    let rows = "'insert', 'update', 'delete', 'upsert', 'read'";
    let sql = format!(
        "SELECT op, table_name, reason FROM tributary.changes WHERE store = '{store}' AND op NOT IN ({rows}) ORDER BY position"
    );
    session.rows(&sql).await.unwrap()
}

/// Waits until something besides rows is told whose words hold all of these, and gives it.
pub async fn until_barrier(session: &Session, store: &str, words: &[&str]) -> String {
    let found = async || {
        let all = barriers(session, store).await;
        all.into_iter().find(|row| words.iter().all(|word| row.contains(word)))
    };
    eventually(&format!("something about {words:?}"), found).await
}
