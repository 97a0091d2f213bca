//! Writes: how transactions begin and end, and edits as statements.
//!
//! ```text
//! Edit ─ accept: whether the server does what PostgreSQL would
//!      ├ one statement: rows (values by value.rs) or fragment::whole → Job ─┐
//!      └ several: conflict (ON CONFLICT by hand), rows (one by one)        ─┴ Writer → the answer, whatever stops it
//! Branch ─ Writing: XA transaction (xa), scans that take turns on its connection (turn), what is prepared (prepared)
//! ```
//!
//! **Invariants:** an edit is never left before the server has answered: who wants it to end early has it killed on the server. A
//! statement that may have been committed is never sent again, and nothing is told of one that the server has not kept. After a failure nothing runs in the transaction but its end or the
//! way back to a savepoint, because the server may have ended it, and every statement would then commit by itself.
//! `INSERT IGNORE`, `REPLACE` and `ON DUPLICATE KEY UPDATE` are absent on purpose: the first makes errors warnings, the others
//! meet rows by any key and count otherwise.

mod accept;
mod conflict;
mod marks;
mod prepared;
mod rows;
mod turn;
mod value;
mod writer;
mod xa;

use std::sync::Arc;

use sqlx::mysql::MySqlRow;
use tokio_util::sync::CancellationToken;

use super::super::connector::WriteIsolation;
use super::super::define::Define;
use super::super::edit::{Edit, Edited};
use super::super::error::StoreError;
use super::super::fragment::Refusal;
use super::super::relational::edit::gathered;
use super::super::relational::{Dialect, Sql};
use super::super::truncate::{Emptied, Truncate};
use super::Shared;
use super::changes::{self, Access, SnapshotPosition};
use super::documents::REPEATED;
use super::fragment::whole;
use super::pool::Lease;
use super::scan::{Job, refused};
use writer::Writer;

pub(super) use accept::{accepts_truncate, has_transactions};
pub(super) use marks::{Mark, Marks};
pub(super) use prepared::{in_doubt, prepare, recover, resolve, settle};
pub(super) use turn::{Flags, Turn, share};
pub(super) use xa::{Names, Xid};

const BEGIN_READING: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION READ ONLY";
const BEGIN_WRITING: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION READ WRITE";

/// Begins a transaction. `repeatable` takes its snapshot at once; otherwise each statement sees what is committed when it
/// starts, as in Postgres.
///
/// # Errors
/// What the server answered.
pub(super) async fn begin(lease: &mut Lease, access: Access, repeatable: bool) -> Result<Option<SnapshotPosition>, StoreError> {
    match (repeatable, access) {
        (true, access) => changes::begin_snapshot(lease, access).await,
        (false, Access::Read) => lease.run(BEGIN_READING).await.map(|()| None),
        (false, Access::Write) => lease.run(BEGIN_WRITING).await.map(|()| None),
    }
}

/// Keeps what the transaction wrote, and gives the connection back.
///
/// # Errors
/// What the server answered; the connection is closed then.
pub(super) async fn commit(mut lease: Lease) -> Result<(), StoreError> {
    lease.run("COMMIT").await?;
    lease.release();
    Ok(())
}

/// Drops what the transaction wrote, and gives the connection back.
///
/// # Errors
/// As [`commit`].
pub(super) async fn roll_back(mut lease: Lease) -> Result<(), StoreError> {
    lease.run("ROLLBACK").await?;
    lease.release();
    Ok(())
}

/// Begins a transaction that writes. A connection that died while it was idle is replaced once.
///
/// # Errors
/// As [`begin`].
pub(super) async fn begin_xa(shared: &Arc<Shared>, isolation: WriteIsolation) -> Result<(Lease, Xid), StoreError> {
    let mut xid = shared.names.next();
    let mut lease = shared.leaders.lease().await?;
    match xa::begin(&mut lease, isolation, &xid).await {
        Err(StoreError::ConnectionLost { .. }) if lease.reused => {
            drop(lease);
            shared.leaders.forget_idle();
            lease = shared.leaders.lease().await?;
            xid = shared.names.next();
            xa::begin(&mut lease, isolation, &xid).await?;
        }
        outcome => outcome?,
    }
    Ok((lease, xid))
}

/// Commits a transaction that may have written, and gives the answer to a question behind it, which may be empty, and none where it did not
/// come. One that has met or made no row has not changed anything.
///
/// # Errors
/// [`StoreError::OutcomeUnknown`] when the answer was lost, or told nothing, and there was something to commit; what the server
/// answered.
pub(super) async fn commit_written(
    lease: Lease,
    xid: Option<Xid>,
    (has_written, has_changed): (bool, bool),
    question: &str,
) -> Result<Vec<MySqlRow>, StoreError> {
    let outcome = match xid {
        Some(xid) => xa::commit(lease, &xid, has_changed, question).await,
        None => commit_plain(lease, question).await,
    };
    if has_written { outcome.map_err(unknown) } else { outcome }
}

async fn commit_plain(mut lease: Lease, question: &str) -> Result<Vec<MySqlRow>, StoreError> {
    let rows = lease.ended(followed_by("COMMIT".to_owned(), question), 1).await.map_err(|refused| refused.error)?;
    give_back(lease);
    Ok(rows)
}

/// Statements with a question behind them, if there is one.
fn followed_by(statements: String, question: &str) -> String {
    if question.is_empty() { statements } else { format!("{statements}; {question}") }
}

/// Gives a connection back whose transaction has ended, unless it may have more to say.
fn give_back(lease: Lease) {
    if !lease.is_doubtful {
        lease.release();
    }
}

/// Rolls a transaction back that may have written.
///
/// # Errors
/// What the server answered; the connection is closed then.
pub(super) async fn roll_back_written(lease: Lease, xid: Option<Xid>) -> Result<(), StoreError> {
    match xid {
        Some(xid) => xa::roll_back(lease, &xid).await,
        None => roll_back(lease).await,
    }
}

/// The error of a statement that commits, when no answer to it came.
fn unknown(error: StoreError) -> StoreError {
    match error {
        StoreError::ConnectionLost { store, reason } | StoreError::Unreachable { store, reason } => {
            StoreError::OutcomeUnknown { store, reason }
        }
        StoreError::Deadline { store, limit_ms, .. } => {
            StoreError::OutcomeUnknown { store, reason: format!("The server did not answer within {limit_ms} ms.") }
        }
        answered => answered,
    }
}

/// Whether the server does with `edit` what PostgreSQL would.
///
/// # Errors
/// What it does not do that way.
pub(super) fn accepts(shared: &Shared, edit: &Edit) -> Result<(), Refusal> {
    accept::accepts(shared, edit)
}

/// A whole form as `EXPLAIN` shows it; `None` for rows.
pub(super) fn describe(shared: &Shared, edit: &Edit) -> Option<String> {
    whole::describe(edit, shared.setting())
}

/// Runs an edit in the transaction that `lease` is in, and gives the connection back unless it is of no more use.
pub(super) async fn run(
    shared: &Arc<Shared>,
    lease: Lease,
    edit: &Edit,
    stop: &CancellationToken,
) -> (Result<Edited, StoreError>, Option<Lease>) {
    let mut writer = Writer::new(shared, lease, stop);
    let outcome = Box::pin(edited(&mut writer, edit)).await;
    match (outcome, writer.into_lease()) {
        // What it did is gone with its transaction.
        (Ok(_), None) => (Err(shared.place().lost("the connection was of no more use after a statement was to be stopped")), None),
        (outcome, lease) => (outcome, lease),
    }
}

/// Runs an edit that commits by itself, and waits for locks for so many milliseconds, or for 0 as the server's settings say.
///
/// # Errors
/// As [`super::super::connector::Branch::edit`].
pub(super) async fn once(
    shared: &Arc<Shared>,
    edit: &Edit,
    stop: &CancellationToken,
    lock_wait: u64,
) -> Result<Edited, StoreError> {
    let whole = gathered(edit, REPEATED)?;
    let edit = &*whole;
    // What is given back may be unreadable, and an edit that fails must not have been committed.
    let job = match single(shared, edit)? {
        Some(job) if edit.returning().is_empty() => job,
        _ => return Box::pin(once_in_transaction(shared, edit, stop, lock_wait)).await,
    };
    by_itself(shared, &job, stop, lock_wait).await
}

/// Empties a table, which commits by itself.
///
/// # Errors
/// As [`once`].
pub(super) async fn truncate(
    shared: &Arc<Shared>,
    truncate: &Truncate,
    stop: &CancellationToken,
    lock_wait: u64,
) -> Result<(), StoreError> {
    for Emptied { table, only: _ } in &truncate.tables {
        let mut sql = Sql::bound(Dialect::MySql);
        sql.push("TRUNCATE TABLE ");
        sql.push(&Dialect::MySql.table(&table.id));
        by_itself(shared, &rows::job(shared, table, &[], sql)?, stop, lock_wait).await?;
    }
    Ok(())
}

/// Runs a statement that defines something, which commits by itself.
///
/// # Errors
/// As [`once`].
pub(super) async fn define(shared: &Arc<Shared>, define: &Define, text: &str, stop: &CancellationToken) -> Result<(), StoreError> {
    let mut sql = Sql::bound(Dialect::MySql);
    sql.push(text);
    by_itself(shared, &rows::job(shared, &define.subject(), &[], sql)?, stop, 0).await.map(|_edited| ())
}

/// Sends a statement that commits by itself and gives no rows back.
async fn by_itself(shared: &Arc<Shared>, job: &Job, stop: &CancellationToken, lock_wait: u64) -> Result<Edited, StoreError> {
    let mut writer = Writer::reached(shared, job, stop).await?;
    writer.wait_for_locks(lock_wait).await?;
    let outcome = writer.ask(job).await.and_then(|answer| writer.edited(job, &answer, &[]));
    let is_unanswered = writer.is_unanswered();
    if let Some(lease) = writer.into_lease() {
        lease.release();
    }
    // The statement was sent, and its answer is all that was lost.
    if is_unanswered { outcome.map_err(unknown) } else { outcome }
}

/// What takes several statements is a transaction of its own.
async fn once_in_transaction(
    shared: &Arc<Shared>,
    edit: &Edit,
    stop: &CancellationToken,
    lock_wait: u64,
) -> Result<Edited, StoreError> {
    let (mut lease, xid) = begin_xa(shared, WriteIsolation::ReadCommitted).await?;
    lease.wait_for_locks(lock_wait).await?;
    let (outcome, lease) = run(shared, lease, edit, stop).await;
    let Some(lease) = lease else { return outcome };
    match outcome {
        Ok(edited) => commit_written(lease, Some(xid), (true, edited.rows != 0), "").await.map(|_none| edited),
        Err(error) => {
            if let Err(left) = roll_back_written(lease, Some(xid)).await {
                tracing::debug!(error = %left, "a transaction could not be rolled back; its connection is closed");
            }
            Err(error)
        }
    }
}

async fn edited(writer: &mut Writer<'_>, edit: &Edit) -> Result<Edited, StoreError> {
    let gathered = gathered(edit, REPEATED)?;
    let edit = &*gathered;
    if let Some(job) = single(writer.shared(), edit)? {
        let answer = writer.ask(&job).await?;
        return writer.edited(&job, &answer, edit.returning());
    }
    match edit {
        Edit::Insert(insert) if insert.conflict.is_some() => conflict::insert(writer, insert).await,
        Edit::Insert(insert) => rows::insert_in_parts(writer, insert).await,
        Edit::UpdateRows(update) => rows::update(writer, update).await,
        Edit::Update(_) | Edit::Delete(_) | Edit::DeleteRows(_) => {
            let returned = rows::together(writer.shared(), edit.table(), edit.returning(), &[])?;
            Ok(Edited { rows: 0, returned })
        }
    }
}

/// The only statement of an edit; `None` when it takes several.
fn single(shared: &Arc<Shared>, edit: &Edit) -> Result<Option<Job>, StoreError> {
    value::check_generated(shared, edit)?;
    value::check_omitted(shared, edit)?;
    let job = match edit {
        Edit::Insert(insert) if insert.conflict.is_none() && rows::is_one_statement(insert) => {
            rows::insert(shared, insert, 0..insert.rows.num_rows())?
        }
        Edit::Insert(_) => return Ok(None),
        Edit::UpdateRows(update) => return rows::update_at_once(shared, update),
        Edit::DeleteRows(delete) if delete.rows.num_rows() == 0 => return Ok(None),
        Edit::DeleteRows(delete) => rows::delete(shared, delete)?,
        Edit::Update(update) => {
            let sql = whole::update(update, shared.setting()).map_err(|error| refused(shared, error))?;
            rows::job(shared, &update.table, &[], sql)?
        }
        Edit::Delete(delete) => {
            let sql = whole::delete(delete, shared.setting()).map_err(|error| refused(shared, error))?;
            rows::job(shared, &delete.table, &[], sql)?
        }
    };
    Ok(Some(job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_answered_is_unknown() {
        let store = || "shop".to_owned();
        let lost = StoreError::ConnectionLost { store: store(), reason: "Reset.".to_owned() };
        assert!(matches!(unknown(lost), StoreError::OutcomeUnknown { reason, .. } if reason == "Reset."));
        let late = StoreError::Deadline { store: store(), limit_ms: 5, waiting_for: "the answer to a statement" };
        assert!(matches!(unknown(late), StoreError::OutcomeUnknown { reason, .. } if reason.contains("5 ms")));
        let answered = StoreError::remote("shop", "40001", "no".to_owned());
        assert!(matches!(unknown(answered), StoreError::Remote { .. }));
        assert!(matches!(unknown(StoreError::Cancelled), StoreError::Cancelled));
    }
}
