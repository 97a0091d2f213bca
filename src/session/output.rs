//! What a statement gives back to its client: columns, rows in batches, a command tag.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::copy_in::Copying;
use super::reading::Seen;
use super::statement::copy::CopyFormat;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::branches::Branches;
use crate::federation::error::diagnose;
pub use crate::federation::fast::Point;
use crate::federation::fast::Relay;
pub use crate::federation::output::OutputColumn;
use crate::format::{DisplaySettings, Format};
use crate::stores::relay::Relayed;

/// What running a statement gives.
#[derive(Debug)]
pub enum Execution {
    /// Rows, then a command tag that may count them.
    Rows(Rows),
    /// Rows of a cursor. The reader gives unfinished ones back with `Session::suspend`.
    Fetch {
        /// The cursor's name.
        cursor: String,
        /// Its rows.
        rows: Rows,
        /// At most so many; 0 means all.
        max: usize,
        /// The format of all columns in the simple protocol.
        format: Format,
    },
    /// Rows that leave as copy data.
    Copy {
        /// The rows.
        rows: Rows,
        /// How they are written.
        format: CopyFormat,
    },
    /// Rows that the client is asked for.
    CopyIn(Box<Copying>),
    /// A command tag without rows.
    Done(String),
    /// The statement was empty.
    Empty,
}

/// Result rows on their way to a client. Holds the running query: dropping it stops the query in the stores.
pub struct Rows {
    columns: Vec<OutputColumn>,
    display: DisplaySettings,
    stream: SendableRecordBatchStream,
    leftover: Option<RecordBatch>,
    sent: u64,
    tag: Tag,
    guard: Guard,
    is_live: bool,
    /// Takes note of where they come from.
    seen: Option<Seen>,
}

/// The command tag of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// Words before the number of rows that were sent: `SELECT 42`, `INSERT 0 42`.
    Counted(&'static str),
    /// All of it.
    Whole(&'static str),
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("columns", &self.columns.len()).field("sent", &self.sent).finish_non_exhaustive()
    }
}

/// What may end a statement from outside.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Cancelled by a `CancelRequest`, by shutdown, or when the client is gone.
    pub cancel: CancellationToken,
    /// When `statement_timeout` strikes.
    pub deadline: Option<Instant>,
    /// The timeout itself, for the message.
    pub timeout: Option<Duration>,
}

impl Guard {
    /// Runs `work` until it ends, is cancelled or times out.
    ///
    /// # Errors
    /// 57014 with the reason.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, Diagnosis> {
        let deadline = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        // All three are cancel-safe: the first two hold no state, and `work` is dropped when one of them wins.
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Diagnosis::new(sqlstate::QUERY_CANCELED, "canceling statement due to user request")),
            () = deadline => Err(timed_out()),
            result = work => Ok(result),
        }
    }

    /// A token that asks a part of the statement to stop; see [`Guard::wait_for`].
    pub fn stop(&self) -> CancellationToken {
        self.cancel.child_token()
    }

    /// Waits for `work` in any case; when its time is over it is asked to end through `stop`, as it is by a cancel request.
    ///
    /// # Errors
    /// What the work failed with, 57014 in the words of what stopped it.
    pub async fn wait_for<T>(
        &self,
        stop: &CancellationToken,
        work: impl Future<Output = Result<T, Diagnosis>>,
    ) -> Result<T, Diagnosis> {
        let mut work = std::pin::pin!(work);
        let deadline = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        // Nothing is lost: the work goes on when the deadline wins.
        tokio::select! {
            biased;
            ended = &mut work => return ended,
            () = deadline => {}
        }
        stop.cancel();
        work.await.map_err(|error| {
            if error.sqlstate == sqlstate::QUERY_CANCELED && !self.cancel.is_cancelled() { timed_out() } else { error }
        })
    }
}

fn timed_out() -> Diagnosis {
    Diagnosis::new(sqlstate::QUERY_CANCELED, "canceling statement due to statement timeout")
}

/// Rows that go out as their store sends them. Nothing has been asked for yet.
#[derive(Debug)]
pub struct Relaying {
    relay: Relay,
    branches: Arc<Branches>,
    guard: Guard,
    seen: Seen,
}

impl Relaying {
    /// The rows of `relay` through the statement's own `branches`; `seen` takes note of where they come from.
    pub fn new(relay: Relay, branches: Arc<Branches>, guard: Guard, seen: Seen) -> Self {
        Self { relay, branches, guard, seen }
    }

    /// What may end the statement; sending its rows must heed it too.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The rows, all of them: a key leaves few.
    ///
    /// # Errors
    /// What the lookup failed with, or what ended the statement.
    pub async fn rows(&self) -> Result<Relayed, Diagnosis> {
        // What stops it tells nothing of what is there.
        let rows = self.guard.run(self.relay.run(&self.branches)).await?;
        self.seen.note_end(rows.as_ref().err());
        rows
    }
}

impl Rows {
    /// Rows of `stream` under `columns`.
    pub fn new(
        columns: Vec<OutputColumn>,
        display: DisplaySettings,
        stream: SendableRecordBatchStream,
        tag: Tag,
        guard: Guard,
    ) -> Self {
        Self { columns, display, stream, leftover: None, sent: 0, tag, guard, is_live: false, seen: None }
    }

    /// The same rows; `seen` takes note of where they come from while they are read.
    #[must_use]
    pub fn noted(self, seen: Seen) -> Self {
        Self { seen: Some(seen), ..self }
    }

    /// The same rows under another command tag.
    #[must_use]
    pub fn with_tag(self, tag: Tag) -> Self {
        Self { tag, ..self }
    }

    /// The same rows, which come as things happen: none of them waits for others.
    #[must_use]
    pub fn live(self) -> Self {
        Self { is_live: true, ..self }
    }

    /// Whether what was sent is to reach the client before more is waited for.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// The columns, in order.
    pub fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    /// The settings that shape text output, as they were when the statement began.
    pub fn display(&self) -> &DisplaySettings {
        &self.display
    }

    /// What may end the statement; sending its rows must heed it too.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Goes on under another guard: that of the `Execute` that resumes a suspended portal.
    pub fn resume_under(&mut self, guard: Guard) {
        self.guard = guard;
    }

    /// At most `max` further rows (0 means any number), or `None` at the end.
    ///
    /// # Errors
    /// What the query failed with, mapped to a diagnosis; the rows are over then.
    pub async fn next(&mut self, max: usize) -> Option<Result<RecordBatch, Diagnosis>> {
        let batch = match self.leftover.take() {
            Some(batch) => match self.guard.run(std::future::ready(batch)).await {
                Ok(batch) => batch,
                Err(stopped) => return Some(Err(stopped)),
            },
            None => loop {
                let next = self.guard.clone().run(self.stream.next()).await;
                let next = match next {
                    // It tells nothing of what is there.
                    Err(stopped) => return Some(Err(stopped)),
                    Ok(next) => next.transpose().map_err(|error| diagnose(&error)),
                };
                // Also when none are left, and mostly when it fails: both tell something of what is there.
                if let Some(seen) = &self.seen {
                    seen.note_end(next.as_ref().err());
                }
                match next {
                    Err(failed) => return Some(Err(failed)),
                    Ok(None) => return None,
                    Ok(Some(batch)) if batch.num_rows() == 0 => {}
                    Ok(Some(batch)) => break batch,
                }
            },
        };
        let batch = if max > 0 && batch.num_rows() > max {
            self.leftover = Some(batch.slice(max, batch.num_rows() - max));
            batch.slice(0, max)
        } else {
            batch
        };
        self.sent += batch.num_rows() as u64;
        Some(Ok(batch))
    }

    /// Counts from zero again: the tag of an `Execute` tells the rows of that `Execute`.
    pub fn restart_count(&mut self) {
        self.sent = 0;
    }

    /// Whether no row has been given yet.
    pub fn is_empty_so_far(&self) -> bool {
        self.sent == 0
    }

    /// The command tag for the rows sent so far: `SELECT 42`.
    pub fn tag(&self) -> String {
        match self.tag {
            Tag::Counted(words) => format!("{words} {}", self.sent),
            Tag::Whole(tag) => tag.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(timeout: Option<Duration>) -> Guard {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        Guard { cancel: CancellationToken::new(), deadline, timeout }
    }

    /// Ends when it is asked to: with success, or as stores do.
    async fn obedient(stop: &CancellationToken, succeeds: bool) -> Result<u8, Diagnosis> {
        stop.cancelled().await;
        if succeeds { Ok(7) } else { Err(Diagnosis::new(sqlstate::QUERY_CANCELED, "canceling statement due to user request")) }
    }

    #[tokio::test]
    async fn work_that_is_waited_for_is_told_to_stop_and_has_the_last_word() {
        let late = guard(Some(Duration::from_millis(1)));
        let stop = late.stop();
        let ended = late.wait_for(&stop, obedient(&stop, false)).await.unwrap_err();
        assert_eq!((ended.sqlstate.as_str(), ended.message.as_str()), ("57014", "canceling statement due to statement timeout"));
        let stop = late.stop();
        assert_eq!(late.wait_for(&stop, obedient(&stop, true)).await.unwrap(), 7);
        let cancelled = guard(None);
        cancelled.cancel.cancel();
        let stop = cancelled.stop();
        let ended = cancelled.wait_for(&stop, obedient(&stop, false)).await.unwrap_err();
        assert_eq!(ended.message, "canceling statement due to user request");
    }
}
