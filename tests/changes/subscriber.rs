//! A client of random histories that is told of changes for as long as they last, and what it must have been told.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio_postgres::SimpleQueryMessage;
use tributary::task::OwnedTask;

use super::check::{Told, What};
use crate::support::proxy::{self, Failure, OWNER, PATIENCE};

/// A client that follows `accounts` of a store, comes back whenever it loses its connection, and goes on at its own place.
pub struct Subscriber {
    /// The store.
    pub store: &'static str,
    positions: Arc<Mutex<Vec<String>>>,
    _task: OwnedTask<()>,
}

impl Subscriber {
    /// Begins behind a place.
    pub fn start(store: &'static str, address: SocketAddr, from: String) -> Self {
        let positions = Arc::new(Mutex::new(vec![from]));
        let task = OwnedTask::spawn(forever(store, address, Arc::clone(&positions)));
        Self { store, positions, _task: task }
    }

    /// It was told what the log holds, each once, from its first place on.
    pub async fn compare(&self, told: &[Told]) {
        let first = self.positions.lock().unwrap()[0].clone();
        let is_account = |told: &&Told| matches!(told.what, What::Deed(_)) && told.position > first;
        let expected: Vec<&String> = told.iter().filter(is_account).map(|told| &told.position).collect();
        let deadline = Instant::now() + PATIENCE;
        let got = loop {
            let got = self.positions.lock().unwrap().clone();
            // Of one that does not go on nothing more comes.
            if got.len() > expected.len() || ending(&got).is_some() || Instant::now() >= deadline {
                break got;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let store = self.store;
        let is_other = |place: &usize| expected.get(*place).copied() != got.get(place + 1);
        if let Some(place) = (0..expected.len().max(got.len() - 1)).find(is_other) {
            let (wanted, given) = (expected.get(place), got.get(place + 1));
            let counts = format!("{} of {}", got.len() - 1, expected.len());
            panic!(
                "the subscriber of {store} was told {counts} changes behind {first}; in place {place} {given:?} and not \
                 {wanted:?}: {}",
                listed(told)
            );
        }
        assert_eq!(got.iter().collect::<BTreeSet<_>>().len(), got.len(), "the subscriber of {store} was told some twice");
    }
}

/// What was told, one line each.
pub fn listed(told: &[Told]) -> String {
    told.iter().map(|told| format!("\n  {} {:?}", told.position, told.what)).collect()
}

/// Follows `accounts` of a store from the last of these places on and adds the places that it is told, over as many connections as it
/// takes. Where it is told that it cannot go on, it ends, and what it was told is added ([`ending`]).
async fn forever(store: &'static str, address: SocketAddr, positions: Arc<Mutex<Vec<String>>>) {
    loop {
        let from = positions.lock().unwrap().last().cloned().unwrap_or_default();
        if let Err(told) = once(store, address, &from, &positions).await {
            positions.lock().unwrap().push(format!("{ENDED}{told}"));
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What stands before the last text of a client that cannot go on.
const ENDED: &str = "ended: ";

/// Why a client does not go on, where it does not.
fn ending(positions: &[String]) -> Option<&str> {
    positions.last()?.strip_prefix(ENDED)
}

/// One connection of it. An error: another one would be told the same.
async fn once(store: &str, address: SocketAddr, from: &str, positions: &Mutex<Vec<String>>) -> Result<(), String> {
    let Ok(session) = proxy::open(&proxy::login(address, OWNER)).await else { return Ok(()) };
    let sql = format!("SUBSCRIBE TO {store}.accounts FROM '{from}'");
    let Ok(rows) = session.simple_query_raw(&sql).await else { return Ok(()) };
    let mut rows = Box::pin(rows);
    while let Some(message) = rows.next().await {
        match message {
            Ok(SimpleQueryMessage::Row(row)) => {
                // The row of a key that was changed goes without a place: that of the new one counts for both.
                if let Some(position) = row.get("tributary_position") {
                    positions.lock().unwrap().push(position.to_owned());
                }
            }
            Ok(_) => {}
            Err(error) => {
                let code = error.as_db_error().map(|told| told.code().code().to_owned()).unwrap_or_default();
                if !matches!(code.as_str(), "" | "57P01" | "57P03" | "08006") {
                    return Err(format!("{:?} behind {from}", Failure::of(error)));
                }
                return Ok(());
            }
        }
    }
    Ok(())
}
