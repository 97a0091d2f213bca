//! Which reads are served from copies: what a statement asks for, and one decision for a store and statement.
//!
//! **Invariants:** a copy is given only where it is known to have what is asked for; positions that cannot be compared are not covered; a
//! read waits no longer than it may, and then goes where it was told to. Where there is no copy the store is read, whatever the read was
//! told: the store has everything that any of them asks for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::probe::Probe;
use super::required::Required;
use super::store::{Published, Reading, Shelf, StoreCopies};
use super::version::TableVersion;
use super::{CacheEntry, Caches, Rule};
use crate::changes::State;
use crate::error::{Diagnose, sentence, sqlstate};
use crate::stores::StoreName;
use crate::stores::position::{Coverage, Position};
use crate::stores::schema::TableId;

/// How long a read waits for a copy that it was told to wait for, where its statement has no limit.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The pause before a store that has not answered is asked again by who waits.
const PAUSE: Duration = Duration::from_millis(50);

/// How a read and a copy must stand to one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// No copy is read.
    Store,
    /// A copy has everything that was committed when the read began.
    Strong,
    /// A copy has everything that the session has written and seen.
    Session,
    /// The same, and it is not older than asked for.
    Bounded,
    /// A copy is read as it is.
    Eventual,
}

impl Consistency {
    /// The words of the setting, in the order in which they are told.
    pub const WORDS: [&'static str; 5] = ["store", "strong", "session", "bounded", "eventual"];

    /// What a word of the setting says.
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Store, Self::Strong, Self::Session, Self::Bounded, Self::Eventual];
        all.into_iter().find(|one| one.word() == word)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Strong => "strong",
            Self::Session => "session",
            Self::Bounded => "bounded",
            Self::Eventual => "eventual",
        }
    }
}

/// What becomes of a read for which its copy is not fresh enough. One without a copy reads the store, which is the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStale {
    /// It goes to the store.
    Store,
    /// It waits, until its statement may take no longer, and fails then.
    Wait,
    /// It fails.
    Error,
}

impl OnStale {
    /// The words of the setting, in the order in which they are told.
    pub const WORDS: [&'static str; 3] = ["store", "wait", "error"];

    /// What a word of the setting says.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Store, Self::Wait, Self::Error].into_iter().find(|one| one.word() == word)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Wait => "wait",
            Self::Error => "error",
        }
    }
}

/// What a statement asks of copies.
#[derive(Debug, Clone)]
pub struct Wants {
    /// What a copy must have.
    pub consistency: Consistency,
    /// At most so old may be what it shows.
    pub max_staleness: Option<Duration>,
    /// What becomes of the statement where no copy is fresh enough.
    pub on_stale: OnStale,
    /// When the statement must have ended.
    pub deadline: Option<Instant>,
    /// What its session has written and seen.
    pub session: Arc<Required>,
    /// Whether its session computes and shows times and numbers as the server does by itself.
    pub shows_as_server: bool,
}

/// Where a statement reads the tables of a store.
#[derive(Debug)]
pub enum Decision {
    /// In its copies.
    Copy(Arc<Reading>),
    /// In the store.
    Store {
        /// Why, as a clause.
        reason: &'static str,
    },
    /// Nowhere.
    Stale(Stale),
}

/// The rows of a table in its copy, for a read that asks and waits for nothing. Dropped, it has been no read.
#[derive(Debug)]
pub struct AtOnce {
    copies: Arc<StoreCopies>,
    shelf: Shelf,
}

impl AtOnce {
    /// The rows.
    pub fn version(&self) -> &TableVersion {
        &self.shelf.version
    }

    /// Takes note that they answer a statement, and gives them.
    pub fn served(self) -> Arc<TableVersion> {
        self.copies.tally.served.add(1);
        self.shelf.uses.served.add(1);
        self.shelf.version
    }
}

/// No copy is fresh enough for a read that wants no other answer. Diagnosis: 55000, the reason as detail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no copy of store \"{store}\" is fresh enough")]
pub struct Stale {
    /// The store.
    pub store: StoreName,
    /// Why, as a clause.
    pub reason: &'static str,
    /// At most so old is what its copies show, where that is known.
    pub age: Option<Duration>,
}

impl Diagnose for Stale {
    fn sqlstate(&self) -> &str {
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE
    }

    fn detail(&self) -> Option<String> {
        let age = self.age.map(|age| format!(" What they show is at most {} ms old.", age.as_millis()));
        Some(format!("{}{}", sentence(self.reason), age.unwrap_or_default()))
    }

    fn hint(&self) -> Option<String> {
        Some("SET tributary.on_stale = 'store' reads the store then; tributary.freshness shows how copies stand.".to_owned())
    }
}

/// Why a copy is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    NotAsked,
    NoCopy,
    Behind,
    OtherHistory,
    TooOld,
    NotStreaming,
    NoPosition,
}

impl Lack {
    /// A word of a fixed list, for metrics.
    fn word(self) -> &'static str {
        match self {
            Self::NotAsked => "store",
            Self::NoCopy => "no-copy",
            Self::Behind => "behind",
            Self::OtherHistory => "other-history",
            Self::TooOld => "too-old",
            Self::NotStreaming => "not-streaming",
            Self::NoPosition => "no-position",
        }
    }

    /// The reason, as a clause.
    fn reason(self) -> &'static str {
        match self {
            Self::NotAsked => "tributary.consistency is store",
            Self::NoCopy => "no table of it is loaded",
            Self::Behind => "its copies have not got everything yet that the read must see",
            Self::OtherHistory => "its copies are of another history than what the session has seen",
            Self::TooOld => "its copies are older than tributary.max_staleness allows",
            Self::NotStreaming => "its feed is not streaming",
            Self::NoPosition => "the store has not said in time where it is",
        }
    }
}

impl Caches {
    /// Decides for one store and statement.
    pub async fn decide(&self, store: &StoreName, wants: &Wants) -> Decision {
        if wants.consistency == Consistency::Store {
            return Decision::Store { reason: Lack::NotAsked.reason() };
        }
        let found = self.copies(store).and_then(|copies| Some((copies.entry()?, copies)));
        let Some((entry, copies)) = found.filter(|(_, copies)| copies.is_wanted()) else {
            return Decision::Store { reason: Lack::NoCopy.reason() };
        };
        let limit = match wants.on_stale {
            OnStale::Wait => wants.deadline.unwrap_or_else(|| Instant::now() + WAIT_MAX),
            OnStale::Store | OnStale::Error => {
                let limit = Instant::now() + self.settings.wait;
                wants.deadline.map_or(limit, |deadline| limit.min(deadline))
            }
        };
        let mut deciding = Deciding { caches: self, copies: &copies, entry: &entry, wants, limit, probe: None, has_waited: false };
        let decided = deciding.decide().await;
        let has_waited = deciding.has_waited;
        copies.tally.waited.add(u64::from(has_waited));
        match decided {
            Ok(set) => {
                copies.tally.served.add(1);
                if wants.consistency != Consistency::Eventual {
                    wants.session.see(store, set.position.as_ref());
                }
                Decision::Copy(Arc::new(Reading { store: store.clone(), set, has_waited }))
            }
            Err(lack) => {
                // It may have gone while it was waited for.
                let lack = if copies.set().is_some() { lack } else { Lack::NoCopy };
                // The store is never stale: without a copy there is nothing to wait for, and nothing to refuse.
                if wants.on_stale == OnStale::Store || lack == Lack::NoCopy {
                    copies.tally.fell_through(lack.word());
                    return Decision::Store { reason: lack.reason() };
                }
                copies.tally.rejected.add(1);
                let age = copies.set().and_then(|set| set.known_age());
                Decision::Stale(Stale { store: store.clone(), reason: lack.reason(), age })
            }
        }
    }

    /// The rows of a table in its copy, where these serve a read of this table alone without anything being asked or waited for, and `is_fit` says
    /// that the read can do with them. `None` leaves it to [`Caches::decide`]; nothing counts before [`AtOnce::served`].
    pub fn at_once(
        &self,
        store: &StoreName,
        table: &TableId,
        wants: &Wants,
        is_fit: impl FnOnce(&TableVersion) -> bool,
    ) -> Option<AtOnce> {
        if matches!(wants.consistency, Consistency::Store | Consistency::Strong) {
            return None;
        }
        let stores = self.stores.load();
        let copies = stores.get(store).filter(|copies| copies.is_wanted())?;
        let set = copies.set()?;
        let shelf = set.tables.get(table).filter(|shelf| is_fit(&shelf.version))?;
        if wants.max_staleness.is_some_and(|most| is_too_old(&set, most)) && self.keeps(Rule::Bounded) {
            return None;
        }
        if wants.consistency != Consistency::Eventual {
            let entry = copies.entry()?;
            let covers = |position: &Position, wanted: &Position| entry.connector.covers(position, wanted);
            if !wants.session.admits(store, set.position.as_ref(), covers) && self.keeps(Rule::Session) {
                return None;
            }
        }
        Some(AtOnce { copies: Arc::clone(copies), shelf: shelf.clone() })
    }

    /// Asks a store for a position behind everything that a session has done there at positions that are not known, so that
    /// [`Required::positions`] tells of it. `false`: the store has not answered in time, or has no copies.
    pub async fn settle(&self, store: &StoreName, session: &Required) -> bool {
        let Some(mark) = session.unsettled_at(store) else { return true };
        let found = self.copies(store).and_then(|copies| Some((copies.entry()?, copies)));
        let Some((entry, copies)) = found else { return false };
        match tokio::time::timeout(self.pace.patience, copies.probes.ask()).await {
            Ok(Some(probe)) => {
                session.settle(entry.connector.as_ref(), mark, &probe.position);
                true
            }
            _ => false,
        }
    }
}

fn is_too_old(set: &Published, most: Duration) -> bool {
    set.known_age().is_none_or(|age| age > most)
}

/// One decision on its way.
struct Deciding<'a> {
    caches: &'a Caches,
    copies: &'a StoreCopies,
    entry: &'a CacheEntry,
    wants: &'a Wants,
    limit: Instant,
    /// The store was asked since the read began.
    probe: Option<Probe>,
    has_waited: bool,
}

impl Deciding<'_> {
    async fn decide(&mut self) -> Result<Arc<Published>, Lack> {
        let (wants, name) = (self.wants, &self.copies.name);
        let is_bound = wants.consistency != Consistency::Eventual && self.caches.keeps(Rule::Session);
        let mark = if is_bound { wants.session.unsettled_at(name) } else { None };
        let mut moved = self.copies.moved();
        if wants.consistency == Consistency::Strong && self.caches.keeps(Rule::Strong) || mark.is_some() {
            // Without a copy nothing is asked for.
            self.copies.set().ok_or(Lack::NoCopy)?;
            let probe = self.ask().await?;
            if let Some(mark) = mark {
                wants.session.settle(self.entry.connector.as_ref(), mark, &probe.position);
            }
            self.probe = Some(probe);
        }
        loop {
            moved.borrow_and_update();
            let lack = match self.judge(is_bound) {
                Ok(set) => match wants.max_staleness.filter(|most| self.is_too_old(&set, *most)) {
                    None => return Ok(set),
                    Some(_) if Instant::now() >= self.limit => return Err(Lack::TooOld),
                    Some(_) => {
                        self.probe = Some(self.ask().await?);
                        continue;
                    }
                },
                Err(Lack::OtherHistory) if self.probe.is_none() => {
                    // Of a history that the store has left nothing comes, wherever it is read: what the store has counts.
                    let probe = self.ask().await?;
                    wants.session.settle(self.entry.connector.as_ref(), 0, &probe.position);
                    self.probe = Some(probe);
                    continue;
                }
                Err(lack) => lack,
            };
            self.wait(&mut moved, lack).await?;
        }
    }

    fn is_too_old(&self, set: &Published, most: Duration) -> bool {
        is_too_old(set, most) && self.caches.keeps(Rule::Bounded)
    }

    /// The set of now, where it has what the read must see.
    fn judge(&self, is_bound: bool) -> Result<Arc<Published>, Lack> {
        let connector = self.entry.connector.as_ref();
        let set = self.copies.set().ok_or(Lack::NoCopy)?;
        let of = |coverage| match coverage {
            Coverage::Covered => Ok(()),
            Coverage::Behind => Err(Lack::Behind),
            Coverage::Incomparable => Err(Lack::OtherHistory),
        };
        if is_bound {
            of(self.wants.session.judge(connector, set.position.as_ref()))?;
        }
        if let Some(probe) = &self.probe {
            of(set.covers(connector, &probe.position))?;
            set.raise(probe.began);
        }
        Ok(set)
    }

    /// Waits for the next set.
    async fn wait(&mut self, moved: &mut tokio::sync::watch::Receiver<u64>, lack: Lack) -> Result<(), Lack> {
        if lack == Lack::NoCopy {
            return Err(lack);
        }
        // Nothing comes of a feed that has stopped.
        if self.wants.on_stale != OnStale::Wait {
            self.check_stream()?;
        }
        self.has_waited = true;
        // Cancel-safe, both of them.
        tokio::select! {
            changed = moved.changed() => changed.map_err(|_gone| lack),
            () = tokio::time::sleep_until(self.limit) => Err(lack),
        }
    }

    fn check_stream(&self) -> Result<(), Lack> {
        let is_streaming = self.caches.feeds.state(&self.copies.name) == State::Streaming;
        if is_streaming { Ok(()) } else { Err(Lack::NotStreaming) }
    }

    /// Asks the store where it is.
    async fn ask(&mut self) -> Result<Probe, Lack> {
        loop {
            if self.wants.on_stale != OnStale::Wait {
                self.check_stream()?;
            }
            let asked = tokio::time::timeout_at(self.limit, self.copies.probes.ask()).await;
            let is_again = self.wants.on_stale == OnStale::Wait && Instant::now() + PAUSE < self.limit;
            match asked {
                // What another connector has said is of another store, perhaps.
                Ok(Some(probe)) if self.copies.is_of(probe.life) => return Ok(probe),
                Ok(_) if is_again => tokio::time::sleep(PAUSE).await,
                Ok(_) | Err(_) => return Err(Lack::NoPosition),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_they_name() {
        for word in Consistency::WORDS {
            assert_eq!(Consistency::of_word(word).unwrap().word(), word);
        }
        for word in OnStale::WORDS {
            assert_eq!(OnStale::of_word(word).unwrap().word(), word);
        }
        assert_eq!((Consistency::of_word("Strong"), OnStale::of_word("")), (None, None));
    }

    #[test]
    fn a_read_that_fails_says_why() {
        let stale = Stale { store: StoreName::new("shop"), reason: Lack::TooOld.reason(), age: Some(Duration::from_millis(12)) };
        assert_eq!((stale.to_string(), stale.sqlstate()), ("no copy of store \"shop\" is fresh enough".to_owned(), "55000"));
        let detail = "Its copies are older than tributary.max_staleness allows. What they show is at most 12 ms old.";
        assert_eq!(stale.detail().as_deref(), Some(detail));
    }
}
