//! What a store keeps for a feed that there is not any more is given up: its log above all, which grows while nobody reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Driver, Following, Halt, With, error_text};
use crate::changes::feeds::FeedEntry;
use crate::changes::status::State;
use crate::stores::capture::{Capture, InstanceId, OwnObject};
use crate::stores::{Connector, StoreError};
use crate::telemetry::log::Line;

/// How often it is tried to remove what a store keeps that is not in the configuration any more: its connector is closed soon.
const TRIES_MAX: usize = 6;

/// Has a store let go of its log. Whether it has; `tells`: that it has not is told.
pub(in crate::changes) async fn let_go(following: &Following, with: &With, tells: bool) -> bool {
    let Some(capture) = following.entry().and_then(|entry| entry.connector.capture()) else { return true };
    let removed = tokio::time::timeout(with.pacing.patience, capture.remove(with.instance, true)).await;
    let store = &following.store;
    match removed {
        Ok(Ok(_)) => return true,
        Ok(Err(error)) if tells => {
            tracing::warn!(%store, error = %Line(&error_text(&error)), "what makes the store keep its log was not removed");
        }
        Err(_late) if tells => tracing::warn!(%store, "what makes the store keep its log was not removed in time"),
        Ok(Err(_)) | Err(_) => {}
    }
    false
}

impl Driver {
    /// Waits until something else is to be done. Until then nobody looks at what the store would keep, so that it is to let go of its log,
    /// tried again until it has.
    pub(super) async fn keep_nothing(&mut self) -> Halt {
        let (following, with) = (Arc::clone(&self.following), self.with.clone());
        let mut tells = true;
        loop {
            // Cancel-safe: what is not removed is removed by whoever comes next.
            tokio::select! {
                halt = self.signals.raised() => return halt,
                is_done = let_go(&following, &with, tells) => if is_done { break },
            }
            tells = false;
            if let Some(halt) = self.wait_a_while().await {
                return halt;
            }
        }
        self.signals.raised().await
    }

    /// There is no feed. What makes the store keep its log is removed, and what else is left of one is told. `leaving`: the store is not
    /// in the configuration any more, and this was its connector.
    pub(super) async fn rest(&mut self, entry: Option<&FeedEntry>, leaving: Option<Arc<dyn Connector>>) -> Halt {
        // Nothing comes of what was followed any more, which whoever still waits for it is told.
        if self.kept.as_ref().is_some_and(|kept| kept.known.has_begun)
            && let Err(halt) = self.set_followed(&[], true).await
        {
            return halt;
        }
        self.status().set(State::Off, None, None);
        self.following.shapes().clear();
        self.status().set_tables(BTreeMap::new());
        // Nobody may be able to ask any more.
        let known = if leaving.is_some() { self.status().objects() } else { Vec::new() };
        self.status().set_found(Vec::new(), known);
        let cleared = match (entry, leaving) {
            (Some(entry), _) => self.clear_up(&entry.connector, None).await.map(drop),
            (None, Some(connector)) => self.leave(connector).await,
            (None, None) => Ok(()),
        };
        match cleared {
            Ok(()) => self.signals.raised().await,
            Err(halt) => halt,
        }
    }

    /// Removes what makes a store keep its log, tried again until that is done, or `tries` times. Whether it is done.
    async fn clear_up(&mut self, connector: &Arc<dyn Connector>, tries: Option<usize>) -> Result<bool, Halt> {
        let Some(capture) = connector.capture() else { return Ok(true) };
        let (store, patience, who) = (self.following.store.clone(), self.with.pacing.patience, self.with.instance);
        let (mut tried, mut was_told) = (0, false);
        loop {
            match self.signals.within(patience, &store, clear(capture.as_ref(), who)).await {
                Ok(Ok(Cleared { left, failure: Some(failure), .. })) => {
                    if !was_told {
                        let error = error_text(&failure);
                        tracing::warn!(%store, error = %Line(&error), "what is left of a feed was not removed; it is tried again");
                    }
                    was_told = true;
                    self.status().set_found(Vec::new(), left);
                }
                Ok(Ok(Cleared { removed, left, failure: None })) => {
                    for object in &removed {
                        tracing::info!(%store, what = object.what, name = %Line(&object.name), "removed: the store is not followed any more");
                    }
                    for object in left.iter().filter(|object| object.ours) {
                        let (what, name, remove) = (object.what, Line(&object.name), Line(&object.remove));
                        tracing::warn!(%store, what, %name, %remove, "left of the feed that was");
                    }
                    self.status().set_found(Vec::new(), left);
                    return Ok(true);
                }
                Ok(Err(error)) => {
                    tracing::debug!(%store, error = %Line(&error_text(&error)), "it is not known what is left of a feed");
                }
                Err(Halt::Ended(_)) => tracing::debug!(%store, "it is not known in time what is left of a feed"),
                Err(halt) => return Err(halt),
            }
            tried += 1;
            if tries.is_some_and(|tries| tried >= tries) {
                return Ok(false);
            }
            if let Some(halt) = self.wait_a_while().await {
                return Err(halt);
            }
        }
    }

    /// The store is not in the configuration any more, so that nobody would look at what it keeps, nor remove it later.
    async fn leave(&mut self, connector: Arc<dyn Connector>) -> Result<(), Halt> {
        let cleared = self.clear_up(&connector, Some(TRIES_MAX)).await;
        if matches!(cleared, Ok(false) | Err(Halt::Stop)) {
            self.tell_left();
        }
        if cleared.is_ok() {
            self.following.has_left();
        }
        cleared.map(drop)
    }

    /// Tells what could not be removed from a store that is not in the configuration any more.
    fn tell_left(&self) {
        let (store, objects) = (&self.following.store, self.status().objects());
        let mut ours = objects.iter().filter(|object| object.ours).peekable();
        if ours.peek().is_none() {
            tracing::warn!(%store, "the store, which is not in the configuration any more, did not say what of ours is left in it");
        }
        for object in ours {
            let (what, name, remove) = (object.what, Line(&object.name), Line(&object.remove));
            tracing::warn!(%store, what, %name, %remove, "left in a store that is not in the configuration any more");
        }
    }
}

/// What became of what a feed had left.
struct Cleared {
    removed: Vec<OwnObject>,
    left: Vec<OwnObject>,
    /// Why that is more than it should be.
    failure: Option<StoreError>,
}

/// Removes what makes a store keep anything for us.
async fn clear(capture: &dyn Capture, who: InstanceId) -> Result<Cleared, StoreError> {
    let left = capture.objects(who).await?;
    if !left.iter().any(|object| object.ours) {
        return Ok(Cleared { removed: Vec::new(), left, failure: None });
    }
    let (removed, failure) = match capture.remove(who, true).await {
        Ok(removed) => (removed, None),
        Err(failure) => (Vec::new(), Some(failure)),
    };
    Ok(Cleared { removed, left: capture.objects(who).await?, failure })
}
