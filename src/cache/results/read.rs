//! Whether a result that is kept is given to a read: nothing has happened to its tables, and it has what the read must see.

use std::sync::Arc;
use std::time::Instant;

use super::{Entry, Found, Key, Results, Standing};
use crate::cache::Rule;
use crate::cache::serve::{Consistency, Wants};
use crate::changes::State;
use crate::stores::Connector;
use crate::stores::position::{Coverage, Position};

impl Results {
    /// The rows that are kept under a key, where a read may be given them.
    pub async fn find(&self, key: &Key, wants: &Wants) -> Found {
        let Some(entry) = self.kept.get(key) else {
            self.tally.missed("absent");
            return Found::Nothing;
        };
        let limit = tokio::time::Instant::now() + self.settings.wait;
        let limit = wants.deadline.map_or(limit, |deadline| limit.min(deadline));
        match self.judge(&entry, wants, limit).await {
            Ok(()) => {
                self.tally.hits.add(1);
                Found::Rows(entry.rows.clone())
            }
            Err(lack) => {
                self.tally.missed(lack.word());
                if lack.is_of_entry() {
                    self.kept.invalidate(key);
                    return Found::Nothing;
                }
                Found::Unfit(lack.reason())
            }
        }
    }

    async fn judge(&self, entry: &Entry, wants: &Wants, limit: tokio::time::Instant) -> Result<(), Lack> {
        if wants.consistency == Consistency::Store {
            return Err(Lack::NotAsked);
        }
        if entry.until.is_some_and(|until| Instant::now() >= until) {
            return Err(Lack::Changed);
        }
        let mut connectors = Vec::with_capacity(entry.stores.len());
        for standing in &entry.stores {
            let connector = standing.connector.upgrade().ok_or(Lack::Changed)?;
            self.check(standing, &connector)?;
            Reach { results: self, standing, connector: &connector, wants, limit }.judge().await?;
            connectors.push(connector);
        }
        // What was looked at first may have changed while others were waited for.
        for (standing, connector) in entry.stores.iter().zip(&connectors) {
            self.check(standing, connector)?;
        }
        for (standing, connector) in entry.stores.iter().zip(&connectors) {
            // A copy that is read behind this must not be older; also where this read has asked for no more than some state: the result
            // may be ahead of all copies.
            wants.session.raise_by(connector.as_ref(), standing.bound.clone());
        }
        Ok(())
    }

    /// Whether nothing is known to have happened since.
    fn check(&self, standing: &Standing, connector: &Arc<dyn Connector>) -> Result<(), Lack> {
        let is_current = standing.track.is_current(&standing.mark) || !Rule::Unchanged.is_kept(self.settings.without);
        if !is_current || !self.feeds.runs_over(connector.name(), connector) {
            return Err(Lack::Changed);
        }
        let is_streaming = self.feeds.state(connector.name()) == State::Streaming;
        if is_streaming { Ok(()) } else { Err(Lack::NotStreaming) }
    }
}

/// Why a result is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    NotAsked,
    Changed,
    NotStreaming,
    Behind,
    OtherHistory,
    TooOld,
    NoPosition,
}

impl Lack {
    /// Whether the result is good for nobody any more.
    fn is_of_entry(self) -> bool {
        self == Self::Changed
    }

    fn word(self) -> &'static str {
        match self {
            Self::NotAsked => "store",
            Self::Changed => "changed",
            Self::NotStreaming => "not-streaming",
            Self::Behind => "behind",
            Self::OtherHistory => "other-history",
            Self::TooOld => "too-old",
            Self::NoPosition => "no-position",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::NotAsked => "tributary.consistency is store",
            Self::Changed => "a table has changed that it was made of",
            Self::NotStreaming => "a feed of its tables is not streaming",
            Self::Behind => "not everything has been told yet that the read must see",
            Self::OtherHistory => "it is of another history than what the session has seen",
            Self::TooOld => "it may be older than tributary.max_staleness allows",
            Self::NoPosition => "a store has not said in time where it is",
        }
    }
}

/// Whether what was seen of a store has reached what a read must see.
struct Reach<'a> {
    results: &'a Results,
    standing: &'a Standing,
    connector: &'a Arc<dyn Connector>,
    wants: &'a Wants,
    limit: tokio::time::Instant,
}

impl Reach<'_> {
    async fn judge(&self) -> Result<(), Lack> {
        let Self { standing, connector, wants, .. } = self;
        let (track, store) = (&standing.track, connector.name());
        let is_bound = wants.consistency != Consistency::Eventual;
        let mark = if is_bound { wants.session.unsettled_at(store) } else { None };
        let mut probe = None;
        if wants.consistency == Consistency::Strong || mark.is_some() {
            let (began, position) = self.ask().await?;
            if let Some(mark) = mark {
                wants.session.settle(connector.as_ref(), mark, &position);
            }
            probe = Some((began, position));
        }
        let mut moved = track.moved();
        loop {
            moved.borrow_and_update();
            let lack = match self.reached(is_bound, probe.as_ref()) {
                Ok(()) => match wants.max_staleness.filter(|most| track.age().is_none_or(|age| age > *most)) {
                    None => return Ok(()),
                    Some(_) if tokio::time::Instant::now() >= self.limit => return Err(Lack::TooOld),
                    Some(_) => {
                        probe = Some(self.ask().await?);
                        continue;
                    }
                },
                Err(lack) => lack,
            };
            self.results.check(standing, connector)?;
            // Cancel-safe, both of them.
            tokio::select! {
                changed = moved.changed() => changed.map_err(|_gone| lack)?,
                () = tokio::time::sleep_until(self.limit) => return Err(lack),
            }
        }
    }

    fn reached(&self, is_bound: bool, probe: Option<&(Instant, Position)>) -> Result<(), Lack> {
        if !is_bound && probe.is_none() {
            return Ok(());
        }
        let applied = self.standing.track.applied().ok_or(Lack::Behind)?;
        let connector = self.connector.as_ref();
        let of = |coverage| match coverage {
            Coverage::Covered => Ok(()),
            Coverage::Behind => Err(Lack::Behind),
            Coverage::Incomparable => Err(Lack::OtherHistory),
        };
        if is_bound {
            of(self.wants.session.coverage(connector, &applied))?;
        }
        if let Some((began, position)) = probe {
            of(connector.covers(&applied, position))?;
            self.standing.track.refresh(*began);
        }
        Ok(())
    }

    /// Asks the store where it is.
    async fn ask(&self) -> Result<(Instant, Position), Lack> {
        let feeds = &self.results.feeds;
        let follow = feeds.follow(self.connector.name()).ok_or(Lack::NotStreaming)?;
        let began = Instant::now();
        let asked = self.connector.position(feeds.instance(), &follow);
        match tokio::time::timeout_at(self.limit, asked).await {
            Ok(Ok(position)) => Ok((began, position)),
            Ok(Err(_)) | Err(_) => Err(Lack::NoPosition),
        }
    }
}
