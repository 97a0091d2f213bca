//! Transactions that several stores commit: all of them or none, whoever is killed meanwhile.
//!
//! ```text
//! stage        the stores, filled alike, and Tributary before them: here, or as a process of its own that may be killed
//! bank         transfers between stores by many sessions; what must hold of them afterwards
//! kills        the same while the proxy, a server or a connection is killed at every step: `victims` has the table of who and when,
//!              `storm` does it, by way of the steps at which `holds` holds a commit
//! shared_log   two that share a log in a table, and are killed in turn
//! append       histories of lists that many sessions append to, in peace and in a storm; `checker` looks for what cannot have
//!              happened in any order
//! alone        what MariaDB alone has committed, of which no log of ours knows, when it is killed behind its answer
//! deadlocks    transactions that wait for one another in two stores, and locks that are waited for
//! steps        one commit that is held at a step, while something else happens
//! instances    a second Tributary over the same stores, which must not decide
//! journal      the log: damaged, cut off, from another start
//! idempotency  keys of writes that are sent again
//! outbox       events beside rows
//! saga         stores that cannot commit together, one after the other; `saga_kills` while somebody is killed
//! ```
//!
//! What one store answers is in `contract`, what a session is told in `behaviour/commits.rs`, every answer to every step of the
//! protocol beside the coordinator itself.

mod alone;
mod append;
mod append_kills;
mod bank;
mod checker;
mod deadlocks;
mod holds;
mod idempotency;
mod instances;
mod journal;
mod kills;
mod outbox;
mod saga;
mod saga_kills;
mod shared_log;
pub mod stage;
mod steps;
mod storm;
mod victims;

use std::time::Duration;

use tokio_postgres::SimpleQueryMessage;

use crate::support::proxy::{PATIENCE, Session};

/// How a statement failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// With this SQLSTATE.
    Code(String),
    /// With its connection.
    Lost,
}

/// Rows of a statement as text, fields joined by `|`, where the server may go away meanwhile.
pub async fn ask(session: &Session, sql: &str) -> Result<Vec<String>, Said> {
    let asked = tokio::time::timeout(PATIENCE, session.simple_query(sql)).await;
    match asked.unwrap_or_else(|_elapsed| panic!("no answer to {sql}")) {
        Ok(messages) => Ok(messages.iter().filter_map(row).collect()),
        Err(error) => Err(error.as_db_error().map_or(Said::Lost, |told| Said::Code(told.code().code().to_owned()))),
    }
}

fn row(message: &SimpleQueryMessage) -> Option<String> {
    let SimpleQueryMessage::Row(row) = message else { return None };
    Some((0..row.len()).map(|place| row.get(place).unwrap_or("~")).collect::<Vec<_>>().join("|"))
}

/// Asks again until there is an answer, which some background work brings about.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_elapsed| panic!("{what} did not come about"))
}
