//! Where is the store now? Asked for reads that must not be older, one question at a time for all of them, and from time to time to know
//! how fresh an idle copy is.
//!
//! **Invariant:** whoever asks gets the answer to a question that was put after that.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Caches;
use super::store::StoreCopies;
use crate::changes::State;
use crate::stores::position::Position;
use crate::task::OwnedTask;
use crate::telemetry::log::Line;

/// A position that everything is at or before that was committed when it was asked for.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    /// When that was.
    pub(super) began: Instant,
    pub(super) position: Arc<Position>,
    /// Of which connector it is.
    pub(super) life: u64,
}

/// An answer, and up to which question it is one.
#[derive(Debug, Clone, Default)]
struct Answer {
    number: u64,
    probe: Option<Probe>,
}

/// Questions of one store, by their numbers.
#[derive(Debug)]
pub(super) struct Probes {
    asked: watch::Sender<u64>,
    answered: watch::Sender<Answer>,
}

impl Default for Probes {
    fn default() -> Self {
        Self { asked: watch::channel(0).0, answered: watch::channel(Answer::default()).0 }
    }
}

impl Probes {
    /// Asks the store. Those who ask while a question is under way share the next one. `None`: it has not answered. It may take as long
    /// as two questions; nothing is left of it when it is dropped.
    pub(super) async fn ask(&self) -> Option<Probe> {
        let mut number = 0;
        self.asked.send_modify(|asked| {
            *asked += 1;
            number = *asked;
        });
        let mut answered = self.answered.subscribe();
        let answer = answered.wait_for(|answer| answer.number >= number).await.ok()?;
        answer.probe.clone()
    }
}

/// Puts the questions, as long as somebody has any.
pub(super) async fn answer(caches: Arc<Caches>, copies: Arc<StoreCopies>, stop: CancellationToken) {
    let (mut asked, mut done) = (copies.probes.asked.subscribe(), 0);
    loop {
        let number = {
            let next = asked.wait_for(|asked| *asked > done);
            // Cancel-safe, both of them.
            tokio::select! {
                () = stop.cancelled() => return,
                next = next => match next {
                    Ok(number) => *number,
                    Err(_gone) => return,
                },
            }
        };
        // Whoever has one of these numbers has asked before this.
        let began = Instant::now();
        // Of a fault in it somebody else hears, and the next question is put all the same.
        let asking = OwnedTask::spawn(position(Arc::clone(&caches), Arc::clone(&copies)));
        let probe = tokio::select! {
            () = stop.cancelled() => return,
            found = asking.join() => found.flatten().map(|(position, life)| Probe { began, position, life }),
        };
        done = number;
        copies.probes.answered.send_replace(Answer { number, probe });
    }
}

async fn position(caches: Arc<Caches>, copies: Arc<StoreCopies>) -> Option<(Arc<Position>, u64)> {
    let (entry, life) = {
        let asked = copies.asked();
        let now = asked.borrow();
        (now.entry.clone()?, now.life)
    };
    let (store, follow) = (&copies.name, caches.feeds.follow(&copies.name)?);
    let asked = entry.connector.position(caches.feeds.instance(), &follow);
    match tokio::time::timeout(caches.pace.patience, asked).await {
        Ok(Ok(position)) => Some((Arc::new(position), life)),
        Ok(Err(error)) => {
            tracing::debug!(%store, error = %Line(&error.to_string()), "the store does not say where it is");
            None
        }
        Err(_late) => {
            tracing::debug!(%store, "the store does not say in time where it is");
            None
        }
    }
}

/// Looks from time to time how fresh the copies of a store are.
pub(super) async fn look(caches: Arc<Caches>, copies: Arc<StoreCopies>, stop: CancellationToken) {
    let mut asked = copies.asked();
    loop {
        asked.borrow_and_update();
        // Cancel-safe, all of them.
        tokio::select! {
            () = stop.cancelled() => return,
            () = look_once(&caches, &copies) => {}
        }
        let is_served = copies.set().is_some();
        let pause = if is_served { caches.settings.look } else { caches.settings.look.min(caches.pace.poll) };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = asked.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn look_once(caches: &Caches, copies: &StoreCopies) {
    // Readers of older states may have become too many since something changed.
    caches.relieve();
    let is_idle = copies.any_set().tables.is_empty() || caches.feeds.state(&copies.name) != State::Streaming;
    if is_idle {
        return;
    }
    // As long as two questions, and no longer, whatever becomes of who puts them.
    let Ok(Some(probe)) = tokio::time::timeout(2 * caches.pace.patience, copies.probes.ask()).await else { return };
    let Some(entry) = copies.entry().filter(|_| copies.is_of(probe.life)) else { return };
    let mut moved = copies.moved();
    let covered = async {
        loop {
            moved.borrow_and_update();
            if copies.refresh(entry.connector.as_ref(), probe.began, &probe.position) || moved.changed().await.is_err() {
                return;
            }
        }
    };
    // The store may never have it: the next look asks again.
    tokio::time::timeout(caches.pace.patience, covered).await.ok();
}
