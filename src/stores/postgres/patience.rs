//! How long a scan waits for each next message, by one timer for all of them.
//!
//! A timer for each wait costs more than the message: it is entered among all others of the runtime, which may have to wake the
//! thread that sleeps until the first of them. Here the timer runs on while messages come, and is moved only when it goes off
//! before the wait that is under way has been long enough.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline for each of many waits.
pub(super) struct Patience {
    limit: Duration,
    /// When the wait under way began.
    since: Option<Instant>,
    /// Goes off no later than `limit` after any wait that began since it was set.
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    /// Of `limit` for each wait.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: None, timer: Box::pin(sleep_until(end_of(Instant::now(), limit))) }
    }

    /// What was waited for has come.
    #[inline]
    pub(super) fn renew(&mut self) {
        self.since = None;
    }

    /// Goes on waiting, or begins to; ready when the wait has lasted for the limit.
    pub(super) fn poll_exhausted(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let end = end_of(*self.since.get_or_insert_with(Instant::now), self.limit);
        while self.timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

/// A limit beyond what the clock can tell is a day.
fn end_of(since: Instant, limit: Duration) -> Instant {
    since.checked_add(limit).unwrap_or_else(|| since + Duration::from_secs(86_400))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn each_wait_has_the_whole_limit() {
        let limit = Duration::from_millis(20);
        let mut patience = Patience::new(limit);
        for _ in 0..5 {
            let begun = Instant::now();
            poll_fn(|context| patience.poll_exhausted(context)).await;
            // The timer was set before the wait began, so it goes off too early each time and must not count.
            assert!(begun.elapsed() >= limit);
            patience.renew();
        }
    }

    #[tokio::test]
    async fn a_wait_goes_on_however_often_it_is_looked_at() {
        let limit = Duration::from_millis(20);
        let mut patience = Patience::new(limit);
        let begun = Instant::now();
        // Each look is a poll of its own; none of them begins the wait anew.
        while !poll_fn(|context| Poll::Ready(patience.poll_exhausted(context).is_ready())).await {
            tokio::task::yield_now().await;
            assert!(begun.elapsed() < Duration::from_secs(60), "the wait never ended");
        }
        assert!(begun.elapsed() >= limit);
    }
}
