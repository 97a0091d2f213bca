//! The changes of a PostgreSQL store: by logical replication, or by triggers and a table of ours where that is not to be had.
//!
//! ```text
//! survey (settings, facts of tables) → what can be followed, and what keeps the rest from it
//! stream  session (tunnel) → decode, tuples → groups ← relations ← facts; publication, slot
//!         poison: messages that cannot be read
//! outbox  objects (triggers, tables) → poll → record → rows
//! fill    one snapshot and which transactions it has
//! bound   how far everything is that is committed now
//! ```
//!
//! **Invariants:** rows are read by the names of their columns and only while these are as they were discovered; what is not sent is
//! unknown and never NULL; nothing of ours is left in the server but under names that say whose it is.

mod bound;
mod decode;
mod facts;
mod fill;
mod groups;
mod judge;
mod known;
mod objects;
mod outbox;
mod poison;
mod position;
mod publication;
mod record;
mod relations;
mod session;
mod slot;
mod stream;
mod survey;
mod triggers;
mod tunnel;
mod tuples;
mod watch;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::super::capture::{Capture, Ended, Feed, Fill, Follow, Followed, How, InstanceId, OwnObject, Survey, Watch};
use super::super::change::{Resume, Transaction};
use super::super::error::StoreError;
use super::super::schema::Table;
use super::branch::Inner;
use super::error;
use super::pool::Lease;
use objects::Which;

pub(super) use bound::{Pushes, upper_bound};
pub(super) use poison::Strikes;
pub(super) use position::covers;

/// How the changes of a store are followed.
pub(super) fn capture(connector: &super::Connector) -> Option<Arc<dyn Capture>> {
    Some(Arc::new(Changes(connector.inner.clone())))
}

/// The changes of one store.
struct Changes(Arc<Inner>);

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Changes").field(&self.0.name).finish()
    }
}

#[async_trait]
impl Capture for Changes {
    async fn survey(&self, who: InstanceId, follow: &Follow, tables: &[Arc<Table>]) -> Result<Survey, StoreError> {
        self.0.pools.start();
        Box::pin(survey::run(&self.0, who, follow, tables)).await
    }

    async fn start(
        &self,
        who: InstanceId,
        follow: &Follow,
        tables: &[Followed],
        from: Option<&Resume>,
    ) -> Result<Box<dyn Feed>, Ended> {
        self.0.pools.start();
        Box::pin(objects::leave(&self.0, who, follow.how)).await;
        match follow.how {
            How::Log => Ok(Box::new(Box::pin(stream::start(&self.0, who, follow, tables, from)).await?)),
            How::Outbox => Ok(Box::new(Box::pin(outbox::start(&self.0, who, follow, tables, from)).await?)),
        }
    }

    async fn fill(&self, table: &Arc<Table>) -> Result<Fill, StoreError> {
        self.0.pools.start();
        Box::pin(fill::open(&self.0, std::slice::from_ref(table))).await
    }

    async fn state(&self, tables: &[Arc<Table>]) -> Result<Option<Fill>, StoreError> {
        if tables.is_empty() {
            return Ok(None);
        }
        self.0.pools.start();
        // One snapshot has all tables.
        Box::pin(fill::open(&self.0, tables)).await.map(Some)
    }

    fn contains(&self, version: &[u8], transaction: &Transaction) -> bool {
        fill::contains(version, transaction)
    }

    async fn watch(&self, who: InstanceId, follow: &Follow) -> Result<Watch, StoreError> {
        self.0.pools.start();
        Box::pin(watch::look(&self.0, who, follow)).await
    }

    async fn objects(&self, who: InstanceId) -> Result<Vec<OwnObject>, StoreError> {
        self.0.pools.start();
        Box::pin(objects::list(&self.0, who)).await
    }

    async fn remove(&self, who: InstanceId, slot_only: bool) -> Result<Vec<OwnObject>, StoreError> {
        self.0.pools.start();
        let which = if slot_only { Which::Keeping } else { Which::All };
        Box::pin(objects::remove(&self.0, who, which)).await
    }
}

/// Asks on a connection of those that never wait behind scans, in one statement that is harmless to repeat.
async fn ask(inner: &Inner, sql: &str) -> Result<(Lease, Vec<PgRow>), StoreError> {
    let (lease, answers) = Box::pin(inner.pools.control.acquire_with(sql)).await?;
    Ok((lease, answers.into_iter().flatten().collect()))
}

/// The same with several statements, whose rows come apart.
async fn ask_each(inner: &Inner, sql: &str) -> Result<(Lease, Vec<Vec<PgRow>>), StoreError> {
    Box::pin(inner.pools.control.acquire_with(sql)).await
}

/// The columns of a row, which are all texts.
fn texts(inner: &Inner, row: &PgRow) -> Result<Vec<Option<String>>, StoreError> {
    let all = (0..row.len()).map(|place| row.try_get(place)).collect::<Result<_, _>>();
    all.map_err(|problem| error::running(&inner.name, &problem))
}
