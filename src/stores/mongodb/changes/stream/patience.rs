//! How long the server is to wait for something to happen before it says that nothing has, and what cuts that short.
//!
//! The time is fixed when a stream is opened, so that another one is opened where it is to be another. That drops the call that is under
//! way, together with its stream; what it would have given is read again from where the stream had come to.

use std::pin::Pin;
use std::time::Duration;

use super::super::open::Start;
use super::{SILENCE, Stop, Worker};
use crate::stores::capture::Ended;

/// How long the server waits for something to happen.
pub(super) const AWAIT: Duration = Duration::from_millis(100);
/// The same while somebody waits for positions, less than a read waits for a copy: each answer costs the server something.
const AWAIT_SHORT: Duration = Duration::from_millis(25);
/// The same where nothing has happened for some time.
const AWAIT_REST: Duration = Duration::from_millis(500);

/// For how long after somebody has asked for a position the server is asked often.
const AWAITED: Duration = Duration::from_secs(5);
/// For how long nothing must have happened before the server is asked seldom: opening another stream costs as much as many answers.
const QUIET: Duration = Duration::from_secs(5);

impl Worker {
    /// How long the server should wait now.
    pub(super) fn patience_now(&self) -> Duration {
        // A stream from now could not be read again from where it began.
        let quiet = if matches!(self.start, Start::Now) { Duration::ZERO } else { self.stirred.elapsed() };
        patience(self.shared.positions_asked.within(AWAITED), quiet)
    }

    /// Whether the server waits so long that nobody who asks for something, and no end of a transaction, should wait for that.
    pub(super) fn is_resting(&self) -> bool {
        self.patience > AWAIT
    }

    /// Waits for the server, and hears what is asked meanwhile. `None`: so much is asked that the stream is to be opened anew, and the
    /// call to be dropped with the one that there is.
    pub(super) async fn answer<T>(&mut self, mut next: Pin<&mut impl Future<Output = T>>) -> Result<Option<T>, Stop> {
        let is_resting = self.is_resting();
        let pool = &self.shared.pool;
        let limit = if self.has_answered { SILENCE } else { pool.patience().max(SILENCE) };
        let late = pool.context.deadline("a change stream");
        let silence = tokio::time::sleep(limit);
        tokio::pin!(silence);
        loop {
            // A command is not taken, and nobody who asks is missed, unless the branch runs; the call goes on where another branch ran.
            let command = tokio::select! {
                biased;
                next = next.as_mut() => return Ok(Some(next)),
                command = self.way.inbox.recv() => Some(command.ok_or(Stop::Over)),
                () = self.shared.positions_asked.came(), if is_resting => None,
                () = self.way.steps.closed() => return Err(Stop::Over),
                () = &mut silence => return Err(Stop::Ended(Ended::Again(late))),
            };
            if let Some(command) = command.transpose()? {
                self.note(command);
            }
            // It may be told now of somebody who asked long ago.
            if is_resting && (self.asked.is_some() || self.patience_now() != self.patience) {
                return Ok(None);
            }
        }
    }
}

/// Less where positions are waited for: that a transaction is over, or that what came last is in no table that is followed, is known only
/// when the server has waited for more. More where nothing has happened for so long.
fn patience(is_asked: bool, quiet: Duration) -> Duration {
    if is_asked {
        AWAIT_SHORT
    } else if quiet < QUIET {
        AWAIT
    } else {
        AWAIT_REST
    }
}

/// Whether an answer that nothing is there has taken as long as the server waits for something: not less, as of a stream that was just
/// opened, and not so much more that it may have been opened again in between.
pub(super) fn is_of_server(took: Duration, patience: Duration) -> bool {
    (patience / 2..patience * 10).contains(&took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_comes_too_soon_or_too_late_is_not_the_servers() {
        let took = |ms: u64| is_of_server(Duration::from_millis(ms), AWAIT);
        assert!(took(100) && took(130) && took(400));
        assert!(!took(0) && !took(20) && !took(5_000));
    }

    #[test]
    fn the_server_waits_long_only_where_nothing_happens_and_nobody_asks() {
        let moment = Duration::from_millis(1);
        let rows = [
            (false, Duration::ZERO, AWAIT),
            (false, QUIET.saturating_sub(moment), AWAIT),
            (false, QUIET, AWAIT_REST),
            (false, QUIET * 100, AWAIT_REST),
            (true, Duration::ZERO, AWAIT_SHORT),
            (true, QUIET * 100, AWAIT_SHORT),
        ];
        for (is_asked, quiet, expected) in rows {
            assert_eq!(patience(is_asked, quiet), expected, "{is_asked} {quiet:?}");
        }
        assert!(AWAIT_REST * 2 < SILENCE, "a server that rests would count as gone");
    }
}
