//! Every change of every store, in order, once: what feeds give is kept in a log and handed to whoever follows.
//!
//! ```text
//! stores/<kind>/changes → supervise (one store's state) → hub (ring, cursors) ─┬─ session: LISTEN, SUBSCRIBE
//!                                                        → log (segments)      ├─ federation: tributary.changes
//!                                                                              └─ write: hand-over of outbox rows
//! checkpoint: a group is durable in the log → Feed::acknowledge
//! ```
//!
//! **Invariants:** whole source transactions, in commit order within a store, none twice in the log; a group is published before it is
//! synced, and acknowledged after it; nothing waits for a subscriber: whoever is too slow is told to start over. Deliberately absent:
//! an order among stores, and anything that knows SQL, sessions or a store's kind.

pub mod channel;
mod cut;
#[cfg(test)]
pub(crate) mod fakes;
pub mod feeds;
pub mod hub;
pub mod log;
pub mod metrics;
pub mod payload;
pub mod status;
mod supervise;
pub mod text;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

pub use channel::{Board, Channel};
pub use feeds::{FeedEntry, Feeds, NotFollowed};
pub use hub::{Applied, Cursor, Hub, Piece, StartOver};
pub use log::LogError;
pub use status::{Shown, ShownTable, State, TableState};
pub use text::Place;

/// Bounds of the log and of what is held in memory, for each store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeSettings {
    /// Whether the log is synced and survives a restart.
    pub is_durable: bool,
    /// Most bytes of the log.
    pub log_bytes: u64,
    /// How long it is kept.
    pub log_age: Duration,
    /// Most bytes of the ring.
    pub memory_bytes: u64,
    /// Most bytes of one transaction.
    pub transaction_bytes: u64,
    /// Most subscriptions of all sessions.
    pub subscriptions: usize,
}

impl Default for ChangeSettings {
    fn default() -> Self {
        Self {
            is_durable: false,
            log_bytes: 1 << 30,
            log_age: Duration::from_secs(7 * 24 * 3600),
            memory_bytes: 32 << 20,
            transaction_bytes: 1 << 30,
            subscriptions: 100,
        }
    }
}

/// Where a kill would hurt most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before a group is appended to the log.
    Append,
    /// Before a group is published.
    Publish,
    /// Before the log is synced.
    Sync,
    /// Before the store is told that a group is durable.
    Acknowledge,
}

/// What is done at such a moment: nothing but in tests.
pub type Hook = Arc<dyn Fn(Moment) -> BoxFuture<'static, ()> + Send + Sync>;
