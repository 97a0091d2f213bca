//! What is committed, and what a commit has promised. One store is committed here; several are by `coordinator`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use futures::future::join_all;

use crate::error::{Diagnosis, sqlstate};
use crate::stores::commit::{Gid, Part};
use crate::stores::position::Position;
use crate::stores::{Branch, StoreName};
use crate::telemetry::log::Line;

/// Branches that have been opened for writes, by store, in the order in which they were first written to.
pub type Writers = Vec<(StoreName, Arc<dyn Branch>)>;

/// What a commit has promised. Displayed as `tributary.last_commit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guarantee {
    /// Nothing was written.
    Nothing,
    /// What was written to one store is there as a whole.
    OneStore(StoreName),
    /// All stores had promised to commit before the first did.
    TwoPhase(Vec<StoreName>),
    /// The same of all but those of one connection, whose commit was the decision.
    LastResource {
        /// Who had promised.
        prepared: Vec<StoreName>,
        /// Who decided.
        last: Vec<StoreName>,
    },
    /// One transaction of one connection has all of them.
    OneConnection(Vec<StoreName>),
    /// They were committed one after the other.
    Saga(Vec<StoreName>),
}

impl Guarantee {
    /// Its kind, as metrics name it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::OneStore(_) => "single store",
            Self::TwoPhase(_) => "two-phase",
            Self::LastResource { .. } => "last resource",
            Self::OneConnection(_) => "one transaction",
            Self::Saga(_) => "saga",
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("none"),
            Self::OneStore(store) => write!(f, "single store: {store}"),
            Self::TwoPhase(stores) => write!(f, "two-phase: {}", joined(stores)),
            Self::LastResource { prepared, last } => write!(f, "last resource: {}; last: {}", joined(prepared), joined(last)),
            Self::OneConnection(stores) => write!(f, "one transaction of attached files: {}", joined(stores)),
            Self::Saga(stores) => write!(f, "saga: {}", joined(stores)),
        }
    }
}

fn joined(stores: &[StoreName]) -> String {
    stores.iter().map(StoreName::as_str).collect::<Vec<_>>().join(", ")
}

/// A commit that has succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// What it has promised.
    pub guarantee: Guarantee,
    /// Its name, where several stores took part.
    pub gid: Option<Gid>,
    /// Stores that have promised to commit and have not answered when they were told to; they follow.
    pub late: Vec<StoreName>,
    /// Stores that have answered that they do not have what they had promised to commit: somebody else has ended it there, or it is lost.
    pub missing: Vec<StoreName>,
    /// Positions at or behind which it is, of those stores that have told theirs with their answer. Of several that share a connection only
    /// the store whose connection it is tells one.
    pub positions: Vec<Position>,
}

impl Committed {
    /// Of a commit that is known as a whole.
    pub fn of(guarantee: Guarantee, gid: Option<Gid>, positions: Vec<Position>) -> Self {
        Self { guarantee, gid, late: Vec::new(), missing: Vec::new(), positions }
    }
}

/// What a client is told when nobody here knows whether the decision was made.
pub fn unknown(gid: Gid) -> Diagnosis {
    let message = "it is not known whether the transaction has been committed in all of its stores or in none";
    let hint = format!("Its name is {gid}: tributary.transactions tells what becomes of it.");
    Diagnosis::new(sqlstate::TRANSACTION_RESOLUTION_UNKNOWN, message).with_hint(hint)
}

/// The transaction that [`unknown`] was told of.
pub fn unknown_gid(told: &Diagnosis) -> Option<Gid> {
    let hint = told.hint.as_deref().filter(|_| told.sqlstate == sqlstate::TRANSACTION_RESOLUTION_UNKNOWN)?;
    hint.split_whitespace().find_map(|word| Gid::parse(word.trim_end_matches(':')))
}

/// One transaction of one store, which several stores may share.
#[derive(Debug)]
pub(super) struct Participant {
    /// Whose connection it is.
    pub store: StoreName,
    /// The stores that were written to through it.
    pub names: Vec<StoreName>,
    /// What ends it.
    pub branch: Arc<dyn Branch>,
    /// Branches of other stores in it, which are kept until it ends.
    pub followers: Vec<Arc<dyn Branch>>,
}

impl Participant {
    /// Its store with how it takes part.
    pub fn part(&self) -> (&StoreName, Part) {
        (&self.store, self.branch.part())
    }

    /// All of its branches.
    pub fn into_writers(self) -> Writers {
        let store = self.store.clone();
        let followers = self.followers.into_iter().map(|branch| (store.clone(), branch));
        [(self.store, self.branch)].into_iter().chain(followers).collect()
    }

    /// What its commit alone promises.
    fn guarantee(self) -> Guarantee {
        let mut names = self.names.into_iter();
        match (names.next(), names.next()) {
            (Some(first), Some(second)) => Guarantee::OneConnection([first, second].into_iter().chain(names).collect()),
            (Some(only), None) => Guarantee::OneStore(only),
            (None, _) => Guarantee::OneStore(self.store),
        }
    }
}

/// What a transaction holds in the stores.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// Transactions that have something to keep, in the order in which they were first written to.
    pub participants: Vec<Participant>,
    /// Those that have not.
    pub rest: Writers,
}

impl Sorted {
    /// Puts branches to those whose transactions they are in.
    ///
    /// # Errors
    /// All branches, when one that has written is in the transaction of another that is not among them: nothing would commit it.
    pub fn of(writers: Writers) -> Result<Self, Writers> {
        let written: BTreeSet<StoreName> = writers
            .iter()
            .filter(|(_, branch)| branch.has_written())
            .map(|(store, branch)| branch.leader().unwrap_or(store).clone())
            .collect();
        if written.iter().any(|leader| !writers.iter().any(|(store, branch)| store == leader && branch.leader().is_none())) {
            return Err(writers);
        }
        let mut sorted = Self::default();
        let mut followers: Writers = Vec::new();
        for (store, branch) in writers {
            let leader = branch.leader().unwrap_or(&store).clone();
            if !written.contains(&leader) {
                sorted.rest.push((store, branch));
            } else if leader == store {
                let names = if branch.has_written() { vec![store.clone()] } else { Vec::new() };
                sorted.participants.push(Participant { store, names, branch, followers: Vec::new() });
            } else {
                followers.push((store, branch));
            }
        }
        for (store, branch) in followers {
            let leading = sorted.participants.iter_mut().find(|one| Some(&one.store) == branch.leader());
            if let Some(leading) = leading {
                if branch.has_written() {
                    leading.names.push(store);
                }
                leading.followers.push(branch);
            }
        }
        Ok(sorted)
    }

    /// Drops all of it.
    pub async fn roll_back(self) {
        let ends = self.participants.into_iter().flat_map(Participant::into_writers).chain(self.rest);
        roll_back(ends.collect()).await;
    }
}

/// What is told when nothing would commit a branch.
pub(super) fn leaderless() -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, "a branch was written to whose transaction is not there")
        .with_detail("Everything was rolled back.")
}

/// Commits what was written to one store at most, for who has no coordinator.
///
/// # Errors
/// 0A000 when several stores have been written to, all of which are then rolled back; what the store answered, among it 08007 when it
/// is not known whether it has committed: only its connector knows whether the commit was sent.
pub async fn commit(writers: Writers) -> Result<Guarantee, Diagnosis> {
    let sorted = match Sorted::of(writers) {
        Ok(sorted) => sorted,
        Err(writers) => {
            roll_back(writers).await;
            return Err(leaderless());
        }
    };
    if let [first, second, ..] = sorted.participants.as_slice() {
        let message = format!("a transaction cannot write to several stores here (\"{}\", \"{}\")", first.store, second.store);
        sorted.roll_back().await;
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_detail("Everything was rolled back."));
    }
    one(sorted).await.map(|(guarantee, _position)| guarantee)
}

/// Commits what has one participant at most, and gives the position that its store has told. Branches that have changed nothing are ended
/// beside it.
///
/// # Errors
/// What the store answered.
pub(super) async fn one(sorted: Sorted) -> Result<(Guarantee, Option<Position>), Diagnosis> {
    let Sorted { participants, rest } = sorted;
    let Some(only) = participants.into_iter().next() else {
        let ends = rest.iter().map(|(_, branch)| branch.commit());
        let failed = join_all(ends).await.into_iter().find_map(Result::err);
        return failed.map_or(Ok((Guarantee::Nothing, None)), |error| Err(Diagnosis::of(&error)));
    };
    let committed = only.branch.commit().await;
    // Nothing depends on how these end.
    roll_back(rest).await;
    match committed {
        Ok(position) => Ok((only.guarantee(), position)),
        Err(error) => Err(Diagnosis::of(&error)),
    }
}

/// Rolls back. A store that does not answer rolls back by itself: its connector closes the connection.
pub async fn roll_back(writers: Writers) {
    let ends = writers.iter().map(|(store, branch)| async move {
        if let Err(error) = branch.rollback().await {
            tracing::warn!(%store, error = %Line(&error.to_string()), "a rollback failed");
        }
    });
    join_all(ends).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::stores::connector::ScanLimits;
    use crate::stores::{BatchStream, Scan, StoreError, Table};

    /// Remembers how it was ended.
    #[derive(Debug, Default)]
    struct Ending {
        has_written: bool,
        leader: Option<StoreName>,
        fails: Option<StoreError>,
        position: Option<Position>,
        ended: Mutex<Vec<&'static str>>,
    }

    #[async_trait]
    impl Branch for Ending {
        async fn scan(&self, _table: &Arc<Table>, scan: &Scan, _limits: ScanLimits) -> Result<BatchStream, StoreError> {
            Err(StoreError::Unsupported { store: scan.store.to_string(), feature: "scans" })
        }

        fn has_written(&self) -> bool {
            self.has_written
        }

        fn leader(&self) -> Option<&StoreName> {
            self.leader.as_ref()
        }

        fn shared_snapshot(&self) -> Result<(), &'static str> {
            Ok(())
        }

        async fn commit(&self) -> Result<Option<Position>, StoreError> {
            self.ended.lock().unwrap().push("commit");
            self.fails.clone().map_or_else(|| Ok(self.position.clone()), Err)
        }

        async fn rollback(&self) -> Result<(), StoreError> {
            self.ended.lock().unwrap().push("rollback");
            Ok(())
        }
    }

    fn branch(has_written: bool, fails: Option<StoreError>) -> Arc<Ending> {
        Arc::new(Ending { has_written, fails, ..Ending::default() })
    }

    fn follower(has_written: bool, leader: &str) -> Arc<Ending> {
        Arc::new(Ending { has_written, leader: Some(StoreName::new(leader)), ..Ending::default() })
    }

    /// How a commit of some branches ends, and how each of them was.
    async fn check(branches: &[Arc<Ending>]) -> (Result<Guarantee, String>, Vec<Vec<&'static str>>) {
        let named = |(place, branch): (usize, &Arc<Ending>)| {
            let branch: Arc<dyn Branch> = Arc::<Ending>::clone(branch);
            (StoreName::new(&format!("s{place}")), branch)
        };
        let ended = commit(branches.iter().enumerate().map(named).collect()).await;
        let each = branches.iter().map(|branch| branch.ended.lock().unwrap().clone());
        (ended.map_err(|error| error.sqlstate), each.collect())
    }

    #[tokio::test]
    async fn one_store_is_committed_and_the_others_are_left() {
        let (ended, each) = check(&[branch(false, None), branch(true, None)]).await;
        assert_eq!(ended, Ok(Guarantee::OneStore(StoreName::new("s1"))));
        assert_eq!(each, [vec!["rollback"], vec!["commit"]]);
        let (ended, each) = check(&[branch(false, None)]).await;
        assert_eq!((ended, each), (Ok(Guarantee::Nothing), vec![vec!["commit"]]));
        assert_eq!(check(&[]).await, (Ok(Guarantee::Nothing), Vec::new()));
    }

    #[tokio::test]
    async fn the_position_is_that_of_the_store_that_was_committed() {
        let position = |token: u8| Some(Position { store: StoreName::new("shop"), token: vec![token] });
        let branch = |has_written, token| -> Arc<dyn Branch> {
            Arc::new(Ending { has_written, position: position(token), ..Ending::default() })
        };
        let writers = || vec![(StoreName::new("crew"), branch(false, 1)), (StoreName::new("shop"), branch(true, 2))];
        let (guarantee, told) = one(Sorted::of(writers()).unwrap()).await.unwrap();
        assert_eq!((guarantee, told), (Guarantee::OneStore(StoreName::new("shop")), position(2)));
        // What has changed nothing has no commit that a read would have to wait for.
        let (guarantee, told) = one(Sorted::of(writers()[..1].to_vec()).unwrap()).await.unwrap();
        assert_eq!((guarantee, told), (Guarantee::Nothing, None));
    }

    #[tokio::test]
    async fn stores_of_one_connection_are_committed_by_its_leader() {
        let both = Guarantee::OneConnection(vec![StoreName::new("s0"), StoreName::new("s1")]);
        let (ended, each) = check(&[branch(true, None), follower(true, "s0")]).await;
        assert_eq!((ended, each), (Ok(both), vec![vec!["commit"], vec![]]));
        // What the leader wrote may have been undone since.
        let (ended, each) = check(&[branch(false, None), follower(true, "s0"), follower(false, "s0")]).await;
        assert_eq!((ended, each), (Ok(Guarantee::OneStore(StoreName::new("s1"))), vec![vec!["commit"], vec![], vec![]]));
        let (ended, each) = check(&[branch(false, None), follower(true, "away")]).await;
        assert_eq!((ended, each), (Err("XX000".to_owned()), vec![vec!["rollback"], vec!["rollback"]]));
    }

    #[test]
    fn guarantees_say_what_was_promised() {
        let stores = || vec![StoreName::new("a"), StoreName::new("b")];
        let rows = [
            (Guarantee::Nothing, "none"),
            (Guarantee::OneStore(StoreName::new("a")), "single store: a"),
            (Guarantee::TwoPhase(stores()), "two-phase: a, b"),
            (Guarantee::LastResource { prepared: stores(), last: vec![StoreName::new("c")] }, "last resource: a, b; last: c"),
            (Guarantee::OneConnection(stores()), "one transaction of attached files: a, b"),
            (Guarantee::Saga(stores()), "saga: a, b"),
        ];
        for (guarantee, expected) in rows {
            assert_eq!(guarantee.to_string(), expected);
        }
        let gid = Gid { log: crate::stores::commit::LogId(1), number: 2 };
        assert_eq!(unknown_gid(&unknown(gid)), Some(gid));
        assert_eq!(unknown_gid(&Diagnosis::new("08006", "x").with_hint(gid.to_string())), None);
    }

    #[tokio::test]
    async fn two_stores_without_a_coordinator_are_rolled_back() {
        let (ended, each) = check(&[branch(true, None), branch(true, None), branch(false, None)]).await;
        assert_eq!(ended, Err("0A000".to_owned()));
        assert_eq!(each, [vec!["rollback"], vec!["rollback"], vec!["rollback"]]);
    }

    #[tokio::test]
    async fn what_is_not_known_is_said_and_nothing_else() {
        let store = || "s0".to_owned();
        let rows = [
            (StoreError::Deadline { store: store(), limit_ms: 7, waiting_for: "a scan of the transaction to end" }, "08006"),
            (StoreError::ConnectionLost { store: store(), reason: String::new() }, "08006"),
            (StoreError::OutcomeUnknown { store: store(), reason: String::new() }, "08007"),
            (StoreError::remote("s0", sqlstate::SERIALIZATION_FAILURE, String::new()), "40001"),
        ];
        for (error, code) in rows {
            assert_eq!(check(&[branch(true, Some(error))]).await.0, Err(code.to_owned()));
        }
        let failing = StoreError::remote("s0", sqlstate::SERIALIZATION_FAILURE, String::new());
        assert_eq!(check(&[branch(false, Some(failing))]).await.0, Err("40001".to_owned()));
    }
}
