//! The end of what was written: at most one store is committed, and what is not known of it is said.

use std::sync::Arc;

use futures::future::join_all;

use crate::error::{Diagnosis, sqlstate};
use crate::stores::{Branch, StoreName};
use crate::telemetry::log::Line;

/// Branches that have been opened for writes, by store.
pub type Writers = Vec<(StoreName, Arc<dyn Branch>)>;

/// What a commit has promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guarantee {
    /// Nothing was written.
    Nothing,
    /// What was written to one store is there as a whole.
    OneStore(StoreName),
}

/// Commits. Branches that have changed nothing are ended beside the one that has.
///
/// # Errors
/// 0A000 when several stores have been written to, all of which are then rolled back; what the store answered, among it 08007 when it
/// is not known whether it has committed: only its connector knows whether the commit was sent.
pub async fn commit(writers: Writers) -> Result<Guarantee, Diagnosis> {
    let (changed, others): (Writers, Writers) = writers.into_iter().partition(|(_, branch)| branch.has_written());
    if let [(first, _), (second, _), ..] = changed.as_slice() {
        let message = format!("a transaction cannot write to several stores yet (\"{first}\", \"{second}\")");
        roll_back(changed.into_iter().chain(others).collect()).await;
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_detail("Everything was rolled back."));
    }
    let Some((store, branch)) = changed.into_iter().next() else {
        let ends = others.iter().map(|(_, branch)| branch.commit());
        let failed = join_all(ends).await.into_iter().find_map(Result::err);
        return failed.map_or(Ok(Guarantee::Nothing), |error| Err(Diagnosis::of(&error)));
    };
    let committed = branch.commit().await;
    // Nothing depends on how these end.
    roll_back(others).await;
    match committed {
        Ok(_position) => Ok(Guarantee::OneStore(store)),
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
    use crate::stores::position::Position;
    use crate::stores::{BatchStream, Scan, StoreError, Table};

    /// Remembers how it was ended.
    #[derive(Debug, Default)]
    struct Ending {
        has_written: bool,
        fails: Option<StoreError>,
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

        fn shared_snapshot(&self) -> Result<(), &'static str> {
            Ok(())
        }

        async fn commit(&self) -> Result<Option<Position>, StoreError> {
            self.ended.lock().unwrap().push("commit");
            self.fails.clone().map_or(Ok(None), Err)
        }

        async fn rollback(&self) -> Result<(), StoreError> {
            self.ended.lock().unwrap().push("rollback");
            Ok(())
        }
    }

    fn branch(has_written: bool, fails: Option<StoreError>) -> Arc<Ending> {
        Arc::new(Ending { has_written, fails, ended: Mutex::default() })
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
    async fn two_stores_that_were_written_to_are_rolled_back() {
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
