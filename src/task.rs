//! Named, owned, cancellable background tasks, and back-off.
//!
//! Nothing else in the crate may call `tokio::spawn` (`.clippy.toml` bans it): a task belongs to a [`TaskSet`] and ends
//! with it, so dropping the owner stops the work.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// The span of the log lines of a task.
pub fn span(name: &'static str) -> tracing::Span {
    tracing::info_span!("task", name)
}

/// A set of tasks that end when the set is dropped.
#[derive(Debug, Default)]
pub struct TaskSet {
    tasks: JoinSet<()>,
    cancel: CancellationToken,
}

impl TaskSet {
    /// An empty set with its own cancellation token.
    pub fn new() -> Self {
        Self::default()
    }

    /// The token that [`TaskSet::stop`] cancels; tasks that must finish cleanly wait on it.
    pub fn token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Starts `work` under `name`, which appears as the span of its log lines. Finished tasks are reaped on the way.
    pub fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(work.instrument(span(name)));
    }

    /// Starts `work` without a span around it. A span is entered with every poll, which work that is polled for each message of a
    /// client would feel; it spans what is rare by itself.
    pub fn spawn_bare(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(work);
    }

    /// How many tasks have not ended.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether no task is left.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Asks every task to end, waits up to `grace`, then aborts the rest. Returns how many had to be aborted.
    pub async fn stop(&mut self, grace: Duration) -> usize {
        self.cancel.cancel();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, drained).await.is_ok() {
            return 0;
        }
        let left = self.tasks.len();
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        left
    }
}

/// A task of its own that is aborted when the handle is dropped.
#[derive(Debug)]
pub struct OwnedTask<T> {
    set: JoinSet<T>,
}

impl<T: Send + 'static> OwnedTask<T> {
    /// Starts `work`.
    pub fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        let mut set = JoinSet::new();
        set.spawn(work);
        Self { set }
    }

    /// Starts blocking `work` on the blocking pool. Dropping the handle does not interrupt it: the work must watch for
    /// a closed channel.
    pub fn spawn_blocking(work: impl FnOnce() -> T + Send + 'static) -> Self {
        let mut set = JoinSet::new();
        set.spawn_blocking(work);
        Self { set }
    }

    /// The result, or `None` when the task panicked or was aborted.
    pub async fn join(mut self) -> Option<T> {
        self.joined().await
    }

    /// The same, once. Cancel-safe: the work goes on, and its result is there the next time.
    pub async fn joined(&mut self) -> Option<T> {
        self.set.join_next().await.and_then(Result::ok)
    }
}

/// Exponential back-off with a ceiling.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    first: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// Starts at `first` and doubles up to `ceiling`.
    pub fn new(first: Duration, ceiling: Duration) -> Self {
        Self { next: first, first, ceiling }
    }

    /// The wait before the next try.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (self.next * 2).min(self.ceiling);
        wait
    }

    /// Starts again after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stop_aborts_what_does_not_listen() {
        let mut set = TaskSet::new();
        let token = set.token();
        set.spawn("listens", async move { token.cancelled().await });
        set.spawn("deaf", std::future::pending());
        assert_eq!(set.len(), 2);
        assert_eq!(set.stop(Duration::from_millis(20)).await, 1);
        assert!(set.is_empty());
    }

    #[test]
    fn backoff_doubles_to_its_ceiling() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(35));
        let waits: Vec<u128> = (0..4).map(|_| backoff.next_wait().as_millis()).collect();
        assert_eq!(waits, [10, 20, 35, 35]);
        backoff.reset();
        assert_eq!(backoff.next_wait().as_millis(), 10);
    }
}
