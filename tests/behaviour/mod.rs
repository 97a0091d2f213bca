//! What goes wrong, and what must not be possible, seen through a real client: every line of bad input and closed doors, and
//! what a session may rely on. After each failure the session must be usable.
//!
//! Here are conversations with the whole server. What one connector promises is in `contract`, bytes of the protocol in
//! `wire`, what drivers see in `clients`.

mod audit;
mod collations;
mod commits;
mod constraints;
mod cursors_of_postgres;
mod ddl;
mod doors;
mod endless;
mod errors;
mod fast_path_postgres;
mod generic_plans;
mod injection;
mod loads_of_postgres;
mod locks;
mod lookups;
mod outages;
mod reload;
mod serializable;
mod session;
mod stopping;
mod stores;
mod transactions;
mod truncate;
mod unfit;
pub mod watching;
mod writes;

use std::time::Duration;

use crate::support::proxy::PATIENCE;

/// Asks again until the answer is the wanted one, which some background work brings about.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{what} did not come about"))
}
