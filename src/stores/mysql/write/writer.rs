//! One statement of an edit, from its sending to its answer.

use std::pin::pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use sqlx::mysql::{MySql, MySqlArguments, MySqlConnection, MySqlRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Decode, Either, Executor, Row, SqlSafeStr};
use tokio_util::sync::CancellationToken;

use super::super::super::connector::GATHER_BYTES_MAX;
use super::super::super::edit::Edited;
use super::super::super::error::StoreError;
use super::super::Shared;
use super::super::gather::Gathering;
use super::super::pool::{CONDITIONS_MAX, Lease};
use super::super::scan::{Job, KILLS_MAX, kill};
use crate::error::sqlstate;

/// `ER_SP_STACK_TRACE`, "At line 1 in shop.before_insert".
const STACK_TRACE: i64 = 4094;

/// A connection that an edit runs on.
pub(super) struct Writer<'a> {
    shared: &'a Arc<Shared>,
    lease: Lease,
    stop: &'a CancellationToken,
    /// Whether the connection is of no more use.
    is_lost: bool,
    /// Whether a statement was sent that the server has not answered.
    is_unanswered: bool,
    /// How many bytes of rows may still be given back.
    room: usize,
}

/// What the server answered to a statement.
#[derive(Default)]
pub(super) struct Answer {
    /// The rows that it gave, all of which the edit names or makes.
    pub(super) rows: Vec<MySqlRow>,
    /// How many rows it added, found for a change, or removed.
    pub(super) changed: u64,
    /// Whether there was no room for a row, which is missing then.
    is_cut: bool,
}

impl<'a> Writer<'a> {
    /// A writer on this connection.
    pub(super) fn new(shared: &'a Arc<Shared>, lease: Lease, stop: &'a CancellationToken) -> Self {
        Self { shared, lease, stop, is_lost: false, is_unanswered: false, room: GATHER_BYTES_MAX }
    }

    /// A writer on a connection that has just answered, or is about to be the first to run the statement. One that died while it was
    /// idle is replaced once; nothing has been changed then.
    ///
    /// # Errors
    /// Why no connection could be had, or what the server says of the statement before it runs.
    pub(super) async fn reached(shared: &'a Arc<Shared>, job: &Job, stop: &'a CancellationToken) -> Result<Self, StoreError> {
        let mut lease = shared.leaders.lease().await?;
        match reach(shared, &mut lease, job).await {
            Err(StoreError::ConnectionLost { .. }) if lease.reused => {
                drop(lease);
                shared.leaders.forget_idle();
                lease = shared.leaders.lease().await?;
                reach(shared, &mut lease, job).await?;
            }
            outcome => outcome?,
        }
        Ok(Self::new(shared, lease, stop))
    }

    /// How long its statements wait for locks, as [`Lease::wait_for_locks`] has it.
    ///
    /// # Errors
    /// What the server answered; the connection is to be dropped then.
    pub(super) async fn wait_for_locks(&mut self, millis: u64) -> Result<(), StoreError> {
        self.lease.wait_for_locks(millis).await
    }

    /// The store.
    pub(super) fn shared(&self) -> &'a Arc<Shared> {
        self.shared
    }

    /// Whether a statement was sent whose outcome nobody told.
    pub(super) fn is_unanswered(&self) -> bool {
        self.is_unanswered
    }

    /// The connection, unless it is of no more use.
    pub(super) fn into_lease(self) -> Option<Lease> {
        (!self.is_lost).then_some(self.lease)
    }

    /// Runs a statement to its answer, which is the truth whatever was asked meanwhile: a statement that was to be stopped and
    /// could not be has succeeded.
    ///
    /// # Errors
    /// What the server answered, [`StoreError::Cancelled`] or [`StoreError::Deadline`] when it was stopped.
    pub(super) async fn ask(&mut self, job: &Job) -> Result<Answer, StoreError> {
        if self.is_lost {
            return Err(job.place().lost("the transaction has ended"));
        }
        if self.stop.is_cancelled() {
            return Err(StoreError::Cancelled);
        }
        self.check_length(job)?;
        let (shared, stop, id) = (self.shared, self.stop, self.lease.session.id);
        let limit = shared.settings.query_timeout;
        let mut is_late = false;
        let mut is_stopped = false;
        let answer = {
            let mut answer =
                pin!(collect(job.query().persistent(job.is_kept()), &mut self.lease.session.connection, &mut self.room));
            // Cancel-safe: what reads the answer outlives this.
            let early = tokio::select! {
                biased;
                answer = &mut answer => Some(answer),
                outcome = tokio::time::timeout(limit, stop.cancelled()) => {
                    is_late = outcome.is_err();
                    None
                }
            };
            match early {
                Some(answer) => Some(answer),
                None => {
                    is_stopped = true;
                    let mut last = None;
                    for _ in 0..KILLS_MAX {
                        kill(shared, id).await;
                        if let Ok(answer) = tokio::time::timeout(shared.settings.connect_timeout, &mut answer).await {
                            last = Some(answer);
                            break;
                        }
                    }
                    last
                }
            }
        };
        let Some(answer) = answer else {
            (self.is_lost, self.is_unanswered) = (true, true);
            return Err(job.place().lost("a statement could not be stopped"));
        };
        if is_stopped {
            // A kill that came too late for the statement may hit the next one: the first ping takes it.
            self.is_lost = self.lease.ping().await.is_err() && self.lease.ping().await.is_err();
        }
        let answer = answer.map_err(|error| {
            let translated = job.translated(&error);
            let is_gone = matches!(translated, StoreError::ConnectionLost { .. } | StoreError::Unreachable { .. });
            self.is_unanswered |= !matches!(error, sqlx::Error::Database(_));
            self.is_lost |= is_gone || self.is_unanswered;
            if is_late && matches!(translated, StoreError::Cancelled) {
                job.late(limit, "the answer to a statement")
            } else {
                translated
            }
        })?;
        if answer.is_cut { Err(self.too_much()) } else { Ok(answer) }
    }

    /// Whether the statement that has just failed did so inside of a trigger; `None` where the server does not tell.
    ///
    /// # Errors
    /// As [`Writer::ask`].
    pub(super) async fn failed_in_trigger(&mut self) -> Result<Option<bool>, StoreError> {
        if self.is_lost {
            return Err(self.shared.place().lost("the transaction has ended"));
        }
        if self.stop.is_cancelled() {
            return Err(StoreError::Cancelled);
        }
        if !self.lease.session.server.traces_errors() {
            return Ok(None);
        }
        // Until it is answered: half an answer may be left on the connection.
        self.is_lost = true;
        let rows = self.lease.rows("SHOW WARNINGS").await?;
        let codes: Result<Vec<i64>, sqlx::Error> = rows.iter().map(|row| row.try_get_unchecked(1)).collect();
        let codes = codes.map_err(|error| self.shared.place().translate(&error))?;
        self.is_lost = false;
        Ok(is_of_trigger(&codes))
    }

    /// The server would close the connection instead of an answer.
    fn check_length(&self, job: &Job) -> Result<(), StoreError> {
        let most = self.lease.session.message_max;
        if job.message_bytes() <= most {
            return Ok(());
        }
        let message =
            format!("an edit of store \"{}\" is longer than the {most} bytes of its max_allowed_packet", self.shared.name);
        Err(StoreError::remote(self.shared.name.as_str(), sqlstate::PROGRAM_LIMIT_EXCEEDED, message))
    }

    fn too_much(&self) -> StoreError {
        let message = format!("rows that store \"{}\" gives back of one edit hold too much", self.shared.name);
        StoreError::remote(self.shared.name.as_str(), sqlstate::OUT_OF_MEMORY, message)
    }

    /// The rows of an answer as a batch.
    ///
    /// # Errors
    /// A value that does not fit its column.
    pub(super) fn read(&self, job: &Job, answer: &Answer) -> Result<RecordBatch, StoreError> {
        let mut gathering = Gathering::new(job)?;
        for row in &answer.rows {
            gathering.push(row)?;
        }
        Ok(gathering.finish()?.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&job.schema))))
    }

    /// What an edit that is one statement has done.
    ///
    /// # Errors
    /// As [`Writer::read`].
    pub(super) fn edited(&self, job: &Job, answer: &Answer, returning: &[usize]) -> Result<Edited, StoreError> {
        if returning.is_empty() {
            return Ok(Edited { rows: answer.changed, returned: None });
        }
        // The server counts no rows that it gives back.
        Ok(Edited { rows: answer.rows.len() as u64, returned: Some(self.read(job, answer)?) })
    }
}

/// What the numbers of the conditions of a failed statement say. A trigger leaves a note behind each error that leaves it; where there
/// was no room for one, it may have been there.
fn is_of_trigger(codes: &[i64]) -> Option<bool> {
    match codes.len() {
        0 => None,
        count => Some(count >= CONDITIONS_MAX || codes.contains(&STACK_TRACE)),
    }
}

/// Makes sure that the connection answers before something is sent that must not be sent twice. A statement that has run on it lately
/// costs no round trip: then the answer to it is what tells.
async fn reach(shared: &Shared, lease: &mut Lease, job: &Job) -> Result<(), StoreError> {
    if !job.is_kept() {
        return if lease.reused { lease.ping().await } else { Ok(()) };
    }
    let limit = shared.settings.query_timeout;
    let text = AssertSqlSafe(job.text.clone()).into_sql_str();
    match tokio::time::timeout(limit, lease.session.connection.prepare(text)).await {
        Ok(prepared) => prepared.map(drop).map_err(|error| job.translated(&error)),
        Err(_elapsed) => Err(job.late(limit, "a statement to be prepared")),
    }
}

/// Reads an answer to its end. Rows for which there is no room are left out, and the answer says so.
async fn collect(
    query: Query<'static, MySql, MySqlArguments>,
    connection: &mut MySqlConnection,
    room: &mut usize,
) -> Result<Answer, sqlx::Error> {
    let mut answer = Answer::default();
    let mut steps = connection.fetch_many(query);
    while let Some(step) = steps.try_next().await? {
        match step {
            Either::Left(done) => answer.changed += done.rows_affected(),
            Either::Right(row) => match room.checked_sub(size(&row)) {
                Some(left) if !answer.is_cut => {
                    *room = left;
                    answer.rows.push(row);
                }
                _ => answer.is_cut = true,
            },
        }
    }
    Ok(answer)
}

/// The bytes of the values of a row.
fn size(row: &MySqlRow) -> usize {
    let bytes = |column: usize| {
        row.try_get_raw(column).ok().and_then(|value| <&[u8] as Decode<'_, MySql>>::decode(value).ok()).map_or(0, <[u8]>::len)
    };
    (0..row.len()).map(bytes).sum::<usize>() + size_of::<MySqlRow>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_tell_where_an_error_comes_from() {
        assert_eq!(is_of_trigger(&[]), None);
        assert_eq!(is_of_trigger(&[1062]), Some(false));
        assert_eq!(is_of_trigger(&[1062, STACK_TRACE]), Some(true));
        assert_eq!(is_of_trigger(&[1265, 1062, STACK_TRACE, STACK_TRACE]), Some(true));
        assert_eq!(is_of_trigger(&[1265; CONDITIONS_MAX - 1]), Some(false));
        assert_eq!(is_of_trigger(&[1265; CONDITIONS_MAX]), Some(true), "there was no room for the note");
    }
}
