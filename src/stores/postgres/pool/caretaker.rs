//! The task that gets connections into a state in which others can have them, or ends their sessions.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::{Lease, Pool, RETURNS_MAX, State};

/// Takes connections back whose state has to be settled first, and closes idle ones.
pub(super) async fn care(mut returns: mpsc::Receiver<Lease>, pools: [Pool; 3]) {
    let [control, ..] = &pools;
    let idle_limit = control.0.settings.pool_idle.max(Duration::from_secs(1));
    let mut sweep = tokio::time::interval(idle_limit);
    // Side by side, so that one request that hangs does not keep the slots of all others.
    let mut settling = FuturesUnordered::new();
    loop {
        // All branches are cancel-safe: `recv` loses no message, `next` no future and `tick` no tick.
        tokio::select! {
            lease = returns.recv(), if settling.len() < RETURNS_MAX => match lease {
                // A server that hangs must not keep a slot for ever; a lease dropped at the limit is closed.
                Some(lease) => {
                    settling.push(tokio::time::timeout(control.0.settings.connect_timeout, Box::pin(settle(lease, control))));
                }
                None => return,
            },
            Some(_) = settling.next(), if !settling.is_empty() => {}
            _ = sweep.tick() => pools.iter().for_each(Pool::close_idle),
        }
    }
}

async fn settle(mut lease: Lease, control: &Pool) {
    let state = std::mem::replace(&mut lease.state, State::Broken);
    match state {
        State::Ready | State::Broken => {}
        State::Transaction => {
            if lease.query("ROLLBACK").await.is_ok() {
                lease.state = State::Ready;
            }
        }
        State::Running => {
            let end = format!("SELECT pg_catalog.pg_terminate_backend({})", lease.process_id());
            let outcome = match control.acquire().await {
                Ok(mut other) => other.query(&end).await.map(|_| ()),
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                tracing::debug!(store = %control.0.store, error = %error, "the session of a dropped scan could not be ended");
            }
        }
    }
}
