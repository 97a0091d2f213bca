//! Looks at what a store keeps for a feed, also while the feed itself is interrupted: that is when it grows.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Following, Pacing, error_text};
use crate::stores::capture::{Capture, Follow, InstanceId, Watch};
use crate::telemetry::log::Line;

/// At this part of what may be kept, in percent, it is told.
const TELL_AT: u64 = 80;
/// Below this part it is told again when it is reached again.
const FORGET_AT: u64 = 70;

pub(super) struct Watcher {
    pub(super) following: Arc<Following>,
    pub(super) capture: Arc<dyn Capture>,
    pub(super) who: InstanceId,
    pub(super) follow: Follow,
    pub(super) pacing: Pacing,
    /// When it looks first.
    pub(super) first: Instant,
    pub(super) alarm: Arc<watch::Sender<Option<String>>>,
}

impl Watcher {
    pub(super) async fn run(self) {
        let mut was_told = false;
        tokio::time::sleep_until(self.first).await;
        loop {
            let asked = tokio::time::timeout(self.pacing.patience, self.capture.watch(self.who, &self.follow)).await;
            match asked {
                Ok(Ok(found)) => {
                    was_told = self.look(&found, was_told);
                    self.following.status.set_watch(found);
                }
                Ok(Err(error)) => {
                    let (store, error) = (&self.following.store, error_text(&error));
                    tracing::debug!(%store, error = %Line(&error), "it is not known what the store keeps");
                }
                Err(_late) => tracing::debug!(store = %self.following.store, "it is not known in time what the store keeps"),
            }
            tokio::time::sleep(self.pacing.watch).await;
        }
    }

    /// Whether it has been told that much is kept.
    fn look(&self, found: &Watch, was_told: bool) -> bool {
        let (Some(kept), most) = (found.retained_bytes, self.follow.max_retained.max(1)) else { return was_told };
        let share = u128::from(kept) * 100 / u128::from(most);
        if share >= 100 {
            let reason = format!("the store kept {kept} bytes of its log for us, more than changes.max_retained allows ({most})");
            self.alarm.send_replace(Some(reason));
            return true;
        }
        let (store, is_much) = (&self.following.store, share >= u128::from(TELL_AT));
        if is_much && !was_told {
            tracing::warn!(%store, kept, most, "the store keeps much of its log for us; at changes.max_retained that is given up");
        }
        is_much || (was_told && share >= u128::from(FORGET_AT))
    }
}
