//! A feed while it runs: what it gives is taken, what is durable is told to the store, and its tables are looked at from time to time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{Instant, MissedTickBehavior};

use super::take::Replay;
use super::{Course, Driver, Halt, end, error_text};
use crate::stores::StoreError;
use crate::stores::capture::{Ended, Feed, Step, Survey};
use crate::telemetry::log::Line;

/// A look at the tables of a store that is under way.
type Looking = BoxFuture<'static, Result<Survey, StoreError>>;

/// What happens next.
enum Event {
    Halted(Halt),
    Stepped(Result<Step, Ended>),
    Logged,
    Described,
    Surveyed(Result<Survey, StoreError>),
    Ticked,
}

/// How a feed goes.
struct Going {
    replay: Replay,
    looking: Option<Looking>,
    /// Tables were discovered since that began, or what it found could not be told yet.
    must_look: bool,
    /// When the tables were looked at.
    looked: Instant,
    /// Up to which doubt that was.
    doubted: u64,
    /// When it began.
    began: Instant,
    /// When the feed gave something.
    stepped: Instant,
    /// How far it was behind since then.
    lag_bytes: Option<u64>,
}

impl Driver {
    /// Takes what a feed gives until it ends or something else is to be done. The feed has been closed when this returns.
    pub(super) async fn stream(&mut self, course: &Course, mut feed: Box<dyn Feed>) -> Halt {
        let halt = self.go(course, feed.as_mut()).await;
        let (store, patience) = (self.following.store.clone(), self.with.pacing.patience);
        end(&store, patience, feed).await;
        halt
    }

    async fn go(&mut self, course: &Course, feed: &mut dyn Feed) -> Halt {
        let base = self.kept.as_ref().and_then(|kept| kept.known.position.clone());
        let now = Instant::now();
        let mut going = Going {
            replay: Replay::from(base),
            looking: None,
            must_look: false,
            looked: now,
            doubted: 0,
            began: now,
            stepped: now,
            lag_bytes: None,
        };
        // What is durable is told each feed anew, and nothing else: it goes on from what was published. One that began from now is not
        // told what was durable of the history that is lost.
        let durable = self.kept.as_ref().filter(|kept| kept.known.resume.is_none());
        self.acknowledged = durable.and_then(|kept| kept.progress.borrow().acknowledged.clone()).map(|(_, resume)| resume);
        self.acknowledge(feed).await;
        let mut ticks = tokio::time::interval(self.with.pacing.watch.min(Duration::from_secs(5)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if self.is_doubted() {
            self.look(course, &mut going);
        }
        loop {
            let event = self.event(feed, &mut going, &mut ticks).await;
            if let Err(halt) = self.handle(course, feed, &mut going, event).await {
                return halt;
            }
        }
    }

    /// Cancel-safe, every part of it.
    async fn event(&mut self, feed: &mut dyn Feed, going: &mut Going, ticks: &mut tokio::time::Interval) -> Event {
        let Some(kept) = &mut self.kept else { return Event::Halted(Halt::Log("it has ended".to_owned())) };
        let looking = async {
            match &mut going.looking {
                Some(looking) => looking.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            halt = self.signals.raised() => Event::Halted(halt),
            step = feed.next() => Event::Stepped(step),
            changed = kept.progress.changed() => match changed {
                Ok(()) => Event::Logged,
                Err(_ended) => Event::Halted(Halt::Log("it has ended".to_owned())),
            },
            changed = self.described.changed() => match changed {
                Ok(()) => Event::Described,
                Err(_gone) => Event::Halted(Halt::Stop),
            },
            survey = looking => Event::Surveyed(survey),
            _ = ticks.tick() => Event::Ticked,
        }
    }

    async fn handle(&mut self, course: &Course, feed: &mut dyn Feed, going: &mut Going, event: Event) -> Result<(), Halt> {
        match event {
            Event::Halted(halt) => Err(halt),
            Event::Stepped(step) => {
                self.step(course, going, step?).await?;
                if going.must_look && going.looking.is_none() && self.open.is_none() {
                    self.look(course, going);
                }
                Ok(())
            }
            Event::Logged => {
                self.check_pieces()?;
                self.look_at_log();
                self.acknowledge(feed).await;
                Ok(())
            }
            Event::Described => {
                self.stops.described();
                self.look(course, going);
                Ok(())
            }
            Event::Surveyed(survey) => {
                going.looking = None;
                self.looked(course, feed, going, survey).await?;
                if going.must_look && self.open.is_none() {
                    self.look(course, going);
                }
                Ok(())
            }
            Event::Ticked => self.tick(course, going),
        }
    }

    async fn step(&mut self, course: &Course, going: &mut Going, step: Step) -> Result<(), Halt> {
        (going.stepped, going.lag_bytes) = (Instant::now(), None);
        let before = self.known_seq();
        self.take_step(course, going, step).await?;
        // One that gives nothing new and breaks is not begun again as fast as that goes.
        if self.known_seq() != before || going.began.elapsed() >= self.with.pacing.backoff.1 {
            self.backoff.reset();
        }
        Ok(())
    }

    /// The last transaction that was handed to the log.
    pub(super) fn known_seq(&self) -> Option<u64> {
        self.kept.as_ref().map(|kept| kept.known.seq)
    }

    async fn take_step(&mut self, course: &Course, going: &mut Going, step: Step) -> Result<(), Halt> {
        match step {
            Step::Group(group) => self.take(course, &mut going.replay, group).await,
            Step::Idle { position, resume } => {
                self.status().reached_end();
                self.idle(position, resume).await
            }
            Step::Doubt(tables) => {
                self.doubt(tables);
                Ok(())
            }
        }
    }

    /// Whether somebody has said that tables are others, and it has not been looked since.
    fn is_doubted(&self) -> bool {
        self.following.looked.load(Ordering::Acquire) < self.following.doubted.load(Ordering::Acquire)
    }

    /// Has the store discovered again. Where too many are asked for, this one is asked for again later.
    pub(super) fn ask_for_discovery(&self) {
        self.with.refresh.try_send(self.following.store.clone()).ok();
    }

    /// Begins to look at the tables, unless that is under way.
    fn look(&mut self, course: &Course, going: &mut Going) {
        going.must_look = going.looking.is_some();
        let Some(tables) = self.wanted_tables(course).filter(|_| !going.must_look) else { return };
        let (capture, follow, who) = (std::sync::Arc::clone(&course.capture), course.follow.clone(), self.with.instance);
        let (patience, store) = (self.with.pacing.patience, self.following.store.to_string());
        (going.looked, going.doubted) = (Instant::now(), self.following.doubted.load(Ordering::Acquire));
        let look = async move {
            let survey = tokio::time::timeout(patience, capture.survey(who, &follow, &tables)).await;
            let limit_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
            survey.unwrap_or(Err(StoreError::Deadline { store, limit_ms, waiting_for: "a look at its tables" }))
        };
        going.looking = Some(look.boxed());
    }

    async fn looked(
        &mut self,
        course: &Course,
        feed: &mut dyn Feed,
        going: &mut Going,
        survey: Result<Survey, StoreError>,
    ) -> Result<(), Halt> {
        match survey {
            // Nothing may stand between the pieces of a transaction: it is looked again behind it.
            Ok(_) if self.open.is_some() => {
                going.must_look = true;
                Ok(())
            }
            Ok(survey) => self.resurvey(course, feed, survey, going.doubted).await,
            Err(error) => {
                let (store, error) = (&self.following.store, error_text(&error));
                tracing::debug!(%store, error = %Line(&error), "it is not known whether its tables are as they were");
                Ok(())
            }
        }
    }

    /// What was told by an earlier process and not written comes first, and is little: a feed that has given something and has run for a
    /// while has given it again. A store may fall silent in between, which says nothing.
    fn settle(&self, going: &Going) {
        let has_given = going.stepped > going.began || self.status().lag_bytes() == Some(0);
        if let Some(kept) = &self.kept
            && has_given
            && self.open.is_none()
            && going.began.elapsed() >= self.with.pacing.settle
        {
            kept.hub.settle();
        }
    }

    fn tick(&mut self, course: &Course, going: &mut Going) -> Result<(), Halt> {
        self.look_at_log();
        self.settle(going);
        if self.stops.has_doubts() {
            self.ask_for_discovery();
        }
        if going.looked.elapsed() >= self.with.pacing.survey && self.open.is_none() {
            self.look(course, going);
        }
        if going.stepped.elapsed() < self.with.pacing.stuck {
            return Ok(());
        }
        match (going.lag_bytes, self.status().lag_bytes()) {
            (Some(then), Some(now)) if now > then => {
                let (store, limit_ms) = (self.following.store.to_string(), self.with.pacing.stuck.as_millis());
                let limit_ms = u64::try_from(limit_ms).unwrap_or(u64::MAX);
                Err(Ended::Again(StoreError::Deadline { store, limit_ms, waiting_for: "changes that there are" }).into())
            }
            (None, now) => {
                going.lag_bytes = now;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
