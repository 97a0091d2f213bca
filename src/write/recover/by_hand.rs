//! `CALL tributary.resolve`: somebody decides what nobody here may.
//!
//! Names of another log wait for the instance that has it; when that will never come back, an operator who knows how it had decided
//! ends them. A saga that cannot be undone waits for somebody who mends it, and is then tried again or forgotten.

use super::Connectors;
use crate::catalog::commits::{Doubt, State};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::commit::{BranchId, Gid, Resolved, Verdict};
use crate::write::coordinator::Coordinator;
use crate::write::log::{Fate, JournalError, Left, Record};

/// Why a name of another log is not ended by hand.
pub const LIVING: &str = "the instance that holds the log in its name is running";

/// `object_in_use`
const IN_USE: &str = "55006";

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    End(Verdict),
    Retry,
    Forget,
}

/// Ends branches in doubt as `word` says: `commit` or `rollback` for a name of another log, `retry` or `forget` for a saga that waits for
/// help. `name` is that of a branch or of a whole transaction, as `tributary.in_doubt` shows them.
///
/// # Errors
/// 22023 for another word, 42704 for a name that is not in doubt, 55000 for one that is ended by itself, 55006 while somebody else may
/// still end it; what a store answered.
pub async fn resolve(coordinator: &Coordinator, stores: &Connectors, name: &str, word: &str) -> Result<(), Diagnosis> {
    let told = match parse(word)? {
        Word::End(verdict) => end(coordinator, stores, name, verdict).await,
        word => help(coordinator, name, word).await,
    };
    // What is shown follows.
    coordinator.wake();
    told
}

fn parse(word: &str) -> Result<Word, Diagnosis> {
    match word {
        "commit" => Ok(Word::End(Verdict::Commit)),
        "rollback" => Ok(Word::End(Verdict::Abort)),
        "retry" => Ok(Word::Retry),
        "forget" => Ok(Word::Forget),
        other => Err(Diagnosis::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("\"{other}\" is not one of commit, rollback, retry, forget"),
        )),
    }
}

fn not_in_doubt(name: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::UNDEFINED_OBJECT, format!("nothing that is called \"{name}\" is in doubt"))
        .with_hint("See tributary.in_doubt, which is renewed every minute and more often while something of our own is open.")
}

/// Whether the name means this branch: its own, or that of its transaction.
fn is_meant(name: &str, doubt: &Doubt) -> bool {
    let Some(branch) = BranchId::parse(&doubt.branch) else { return false };
    let whole = Gid { log: branch.log, number: branch.number };
    let meant = Gid::parse(name);
    doubt.branch == name || (meant.is_some() && (meant == doubt.gid || meant == Some(whole)))
}

async fn end(coordinator: &Coordinator, stores: &Connectors, name: &str, verdict: Verdict) -> Result<(), Diagnosis> {
    let doubts: Vec<Doubt> = coordinator.shown().in_doubt().into_iter().filter(|doubt| is_meant(name, doubt)).collect();
    if doubts.is_empty() {
        return Err(not_in_doubt(name));
    }
    // All are looked at before the first is ended.
    for doubt in &doubts {
        if doubt.is_ours {
            let told = format!("\"{}\" is ended by the log of this instance", doubt.branch);
            let detail = format!("It is {}.", doubt.waits.words());
            return Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, told).with_detail(detail));
        }
        if doubt.reason.as_deref() == Some(LIVING) {
            return Err(Diagnosis::new(IN_USE, format!("\"{}\" is of a log that is in use", doubt.branch))
                .with_detail(format!("It is not ended by hand: {LIVING}.")));
        }
    }
    for doubt in doubts {
        let Some(id) = BranchId::parse(&doubt.branch) else { continue };
        let Some(connector) = stores.get(&doubt.store) else {
            return Err(Diagnosis::new(sqlstate::UNDEFINED_OBJECT, format!("store \"{}\" does not exist", doubt.store)));
        };
        match connector.resolve(&id, verdict).await.map_err(|error| Diagnosis::of(&error))? {
            Resolved::Done | Resolved::Gone => {
                tracing::warn!(store = %doubt.store, branch = %id, commits = verdict == Verdict::Commit, "a branch was ended by hand");
            }
            Resolved::Busy => {
                let told = format!("\"{id}\" is still held by a connection of store \"{}\"", doubt.store);
                return Err(Diagnosis::new(IN_USE, told));
            }
        }
    }
    Ok(())
}

/// A saga that waits for help: it is tried again, or nothing more is done.
async fn help(coordinator: &Coordinator, name: &str, word: Word) -> Result<(), Diagnosis> {
    // A step is called after its saga, with its number behind it.
    let whole = name.split('/').next().unwrap_or(name);
    let gid = Gid::parse(whole).ok_or_else(|| not_in_doubt(name))?;
    let found = coordinator.open().left().into_iter().find(|left| left.gid == gid);
    let Some(Left { fate: Fate::Saga(mut saga), .. }) = found else { return Err(not_in_doubt(name)) };
    if saga.stuck.take().is_none() {
        let told = format!("\"{gid}\" does not wait for help");
        return Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, told));
    }
    if word == Word::Forget {
        let forgotten = coordinator.journal().append(Record::Done { gid }, true).await;
        forgotten.map_err(|(JournalError::Refused(told) | JournalError::Unknown(told))| told)?;
        coordinator.open().done(gid);
        coordinator.shown().change(gid, |shown| {
            shown.state = State::RolledBack;
            shown.error = Some("a step was not undone, and it was forgotten by hand".to_owned());
        });
        tracing::warn!(%gid, "a transaction that could not be undone was forgotten by hand");
        return Ok(());
    }
    coordinator.open().decided(gid, Fate::Saga(saga));
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::catalog::commits::Waits;
    use crate::stores::StoreName;
    use crate::stores::commit::LogId;

    fn doubt(branch: String, gid: Option<Gid>) -> Doubt {
        let (store, log) = (StoreName::new("shop"), "1".to_owned());
        let (prepared, seen, reason) = (None, Utc::now(), None);
        Doubt { gid, branch, store, log, is_ours: false, waits: Waits::ForLog, role: None, prepared, seen, reason }
    }

    #[test]
    fn a_branch_is_meant_by_its_name_or_that_of_its_transaction() {
        let gid = Gid { log: LogId(1), number: 7 };
        let branch = gid.of_store(&StoreName::new("shop"));
        let other = Gid { log: LogId(1), number: 8 };
        assert!(is_meant(&branch.to_string(), &doubt(branch.to_string(), None)));
        assert!(is_meant(&gid.to_string(), &doubt(branch.to_string(), None)));
        assert!(is_meant(&other.to_string(), &doubt(branch.to_string(), Some(other))));
        assert!(!is_meant(&other.to_string(), &doubt(branch.to_string(), None)));
        assert!(!is_meant("", &doubt(branch.to_string(), None)));
        assert!(!is_meant(&gid.to_string(), &doubt(format!("{gid}/1"), Some(gid))), "a step is no branch");
    }

    #[tokio::test]
    async fn what_is_not_in_doubt_or_not_for_hands_is_refused() {
        let coordinator = Coordinator::without_log();
        let stores = Connectors::new();
        let gid = Gid { log: LogId(1), number: 7 };
        let branch = gid.of_store(&StoreName::new("shop")).to_string();
        let asked = async |word: &str| resolve(&coordinator, &stores, &branch, word).await.map_err(|told| told.sqlstate);
        assert_eq!(asked("abort").await, Err("22023".to_owned()));
        assert_eq!(asked("commit").await, Err("42704".to_owned()));
        assert_eq!(asked("retry").await, Err("42704".to_owned()));
        coordinator.shown().found(vec![Doubt { is_ours: true, ..doubt(branch.clone(), None) }]);
        assert_eq!(asked("commit").await, Err("55000".to_owned()));
        coordinator.shown().found(vec![Doubt { reason: Some(LIVING.to_owned()), ..doubt(branch.clone(), None) }]);
        assert_eq!(asked("rollback").await, Err("55006".to_owned()));
        coordinator.shown().found(vec![doubt(branch.clone(), None)]);
        assert_eq!(asked("rollback").await, Err("42704".to_owned()), "its store is gone");
    }
}
