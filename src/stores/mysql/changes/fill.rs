//! One state of a table with its place in the binlog.
//!
//! ```text
//! a snapshot whose position is known by its bounds (snapshot.rs) → BINLOG_GTID_POS      MariaDB, any table, nobody waits
//! LOCK TABLES … READ → a snapshot → the last id → UNLOCK                                else: writers of the table wait a moment
//! ```
//!
//! Under the lock whoever has written the table has ended wholly: what he wrote is in the log and in the snapshot. So the place is exact
//! for this table, whatever others write meanwhile. **Not covered:** a prepared transaction that another connection than its own commits
//! in that very moment, which holds no lock of the table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Row;

use super::super::super::capture::Fill;
use super::super::super::error::StoreError;
use super::super::super::relational::Dialect;
use super::super::super::schema::{Table, TableId};
use super::super::Shared;
use super::super::branch::Branch;
use super::super::pool::Lease;
use super::position::Gtids;
use super::snapshot::{Known, begin_known_snapshot};
use crate::error::sqlstate;

/// How long before they are visible events may be read: while the server waits for its disk between the log and the commit.
const LOOK_BACK: Duration = Duration::from_secs(60);
/// How long a state is shown: the server keeps it as long as its connection lives, and old rows with it.
const SHOWN: Duration = Duration::from_secs(3_600);

/// How often the lock is asked for, and how long others are left alone in between.
const LOCKS_MAX: usize = 5;
const BETWEEN_LOCKS: Duration = Duration::from_secs(1);
/// `ER_LOCK_WAIT_TIMEOUT`
const LOCK_WAIT: u16 = 1205;

/// Opens a state.
///
/// # Errors
/// What the server answered, or 55P03 when writers leave no moment.
pub(super) async fn fill(shared: &Arc<Shared>, table: &Arc<Table>) -> Result<Fill, StoreError> {
    let (mut lease, known) = begun(shared).await?;
    let (position, gtids) = match placed(shared, known).await? {
        Some((position, gtids)) => (Some(position), gtids),
        None => (None, locked(shared, &mut lease, &table.id).await?),
    };
    Ok(shown(shared, lease, (position, &gtids)))
}

/// Opens a state of all tables for which no writer waits; `None` where the server tells the place of none.
///
/// # Errors
/// What the server answered, or 55P03 while something is in the log that is not to be seen yet: whoever reads then may read what was before
/// it, though it was told long ago.
pub(super) async fn state(shared: &Arc<Shared>) -> Result<Option<Fill>, StoreError> {
    let (lease, known) = begun(shared).await?;
    if matches!(known, Known::Late) {
        let message = format!("store \"{}\" does not show yet what is in its log", shared.name);
        return Err(StoreError::remote(shared.name.as_str(), sqlstate::LOCK_NOT_AVAILABLE, message));
    }
    let Some((position, gtids)) = placed(shared, known).await? else { return Ok(None) };
    Ok(Some(shown(shared, lease, (Some(position), &gtids))))
}

/// The place of a snapshot in the log, where that is to be had.
async fn placed(shared: &Arc<Shared>, known: Known) -> Result<Option<(super::SnapshotPosition, Gtids)>, StoreError> {
    let Known::At(position) = known else { return Ok(None) };
    let mut other = shared.pool.lease().await?;
    let gtids = position.gtids(&mut other).await?;
    other.release();
    Ok(gtids.map(|gtids| (position, gtids)))
}

fn shown(shared: &Arc<Shared>, lease: Lease, (position, gtids): (Option<super::SnapshotPosition>, &Gtids)) -> Fill {
    Fill {
        branch: Arc::new(Branch::standing(shared, lease, position)),
        version: gtids.encode(),
        look_back: LOOK_BACK,
        ends: Instant::now() + SHOWN,
    }
}

/// A connection, with a snapshot whose position is known if that is to be had. One that died while it was idle is replaced once.
async fn begun(shared: &Arc<Shared>) -> Result<(Lease, Known), StoreError> {
    let mut lease = shared.leaders.lease().await?;
    match begin_known_snapshot(&mut lease).await {
        Err(StoreError::ConnectionLost { .. }) if lease.reused => {
            drop(lease);
            shared.leaders.forget_idle();
            lease = shared.leaders.lease().await?;
            let known = begin_known_snapshot(&mut lease).await?;
            Ok((lease, known))
        }
        known => Ok((lease, known?)),
    }
}

/// Begins a snapshot while nobody writes the table, and gives its place.
async fn locked(shared: &Arc<Shared>, lease: &mut Lease, table: &TableId) -> Result<Gtids, StoreError> {
    let lock = format!("SET SESSION lock_wait_timeout = 1; LOCK TABLES {} READ", Dialect::MySql.table(table));
    for _ in 0..LOCKS_MAX {
        // Never given back: its settings are others, and whatever happens its end unlocks.
        let mut locker = shared.pool.lease().await?;
        match locker.asked(lock.clone()).await {
            Ok(_) => {
                let gtids = under_lock(shared, lease).await;
                locker.run("UNLOCK TABLES").await?;
                return gtids;
            }
            Err(refused) if refused.number == Some(LOCK_WAIT) => {}
            Err(refused) => return Err(refused.error),
        }
        drop(locker);
        tokio::time::sleep(BETWEEN_LOCKS).await;
    }
    let message =
        format!("writers of table \"{}\" in store \"{}\" leave no moment to read it from one place", table.name, shared.name);
    Err(StoreError::remote(shared.name.as_str(), sqlstate::LOCK_NOT_AVAILABLE, message))
}

async fn under_lock(shared: &Arc<Shared>, lease: &mut Lease) -> Result<Gtids, StoreError> {
    let is_mariadb = lease.session.server.is_mariadb;
    let last = if is_mariadb { "SELECT @@GLOBAL.gtid_binlog_pos" } else { "SELECT @@GLOBAL.gtid_executed" };
    let begin = "ROLLBACK; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
    let rows = lease.rows_of(format!("{begin}; {last}")).await?;
    let text = rows.last().and_then(|row| row.try_get_unchecked::<String, _>(0).ok());
    let gtids = text.as_deref().and_then(|text| if is_mariadb { Gtids::of_mariadb(text) } else { Gtids::of_mysql(text) });
    gtids.ok_or_else(|| shared.place().lost("the server does not tell its last GTID"))
}
