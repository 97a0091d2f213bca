//! `CALL tributary.resolve(name, word)`: somebody decides over what is in doubt and waits for nobody else.

use super::call;
use crate::catalog::Commits;
use crate::error::{Diagnosis, sqlstate};
use crate::session::Session;
use crate::session::commits::Commitment;
use crate::stores::StoreName;
use crate::stores::commit::{BranchId, Gid, LogId};
use crate::telemetry::audit::Event;
use crate::write::recover::LIVING;
use crate::write::resolve::by_hand;

const PROCEDURE: &str = "tributary.resolve";

/// Ends branches, or goes on with a saga that waits for help. It is no part of the session's transaction.
pub(super) async fn run(session: &mut Session, arguments: &[String]) -> Result<(), Diagnosis> {
    let [name, word] = arguments else {
        let message = "tributary.resolve takes two arguments, a name and one of commit, rollback, retry, forget";
        return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, message));
    };
    let (commitment, snapshot) = (session.shared.commitment.clone(), session.shared.catalog.snapshot());
    let Commitment { coordinator, audit, .. } = &commitment;
    // In the words of SQL and in those of logs.
    let word = if word == "rollback" { "abort" } else { word.as_str() };
    let checked = check(session, coordinator.shown(), name);
    let resolved = match checked {
        Ok(()) => by_hand(coordinator, &snapshot.connectors, name, word).await,
        Err(refused) => Err(refused),
    };
    let event = Event::new("resolve").by(&session.role).process(session.process_id);
    let event = event.with("name", name.as_str()).with("word", word);
    match &resolved {
        Ok(stores) => {
            stores.iter().for_each(|store| session.past.by_itself(store, None));
            let stores: Vec<&str> = stores.iter().map(StoreName::as_str).collect();
            audit.tell(event.with("stores", stores.join(", ")).done()).await;
        }
        // Nobody has been asked for anything.
        Err(error) if error.sqlstate == sqlstate::INVALID_PARAMETER_VALUE => {}
        Err(error) => audit.tell(event.failed(&error.sqlstate)).await,
    }
    resolved.map(drop)
}

/// Who asks, and for what. Who was refused is told of too.
fn check(session: &Session, shown: &Commits, name: &str) -> Result<(), Diagnosis> {
    call::check_writes(session, PROCEDURE)?;
    call::check_superuser(session, PROCEDURE)?;
    check_living(shown, name)
}

/// Whose decision a name waits for.
fn log_of(name: &str) -> Option<LogId> {
    Gid::parse(name).map(|gid| gid.log).or_else(|| BranchId::parse(name).map(|branch| branch.log))
}

/// Refuses what another instance is going to decide, which runs.
fn check_living(shown: &Commits, name: &str) -> Result<(), Diagnosis> {
    let Some(log) = log_of(name) else { return Ok(()) };
    let lives = shown
        .in_doubt()
        .iter()
        .any(|doubt| doubt.reason.as_deref() == Some(LIVING) && BranchId::parse(&doubt.branch).is_some_and(|id| id.log == log));
    if !lives {
        return Ok(());
    }
    Err(Diagnosis::new(sqlstate::OBJECT_IN_USE, format!("\"{name}\" is of a log that is in use"))
        .with_detail(format!("It is not ended by hand: {LIVING}.")))
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::catalog::commits::{Doubt, Waits};

    #[test]
    fn what_a_living_instance_decides_is_left_to_it() {
        let gid = |log| Gid { log: LogId(log), number: 7 };
        let store = StoreName::new("shop");
        let doubt = |log: u64, reason: &str| Doubt {
            gid: None,
            branch: gid(log).of_store(&store).to_string(),
            store: store.clone(),
            log: LogId(log).to_string(),
            is_ours: false,
            waits: Waits::ForLog,
            role: None,
            prepared: None,
            seen: Utc::now(),
            reason: Some(reason.to_owned()),
        };
        let shown = Commits::default();
        shown.found(vec![doubt(1, LIVING), doubt(2, "its log is gone")]);
        let code = |name: &str| check_living(&shown, name).err().map(|error| error.sqlstate);
        assert_eq!(code(&gid(1).to_string()).as_deref(), Some("55006"));
        assert_eq!(code(&gid(1).of_store(&StoreName::new("other")).to_string()).as_deref(), Some("55006"));
        assert_eq!(code(&gid(2).to_string()), None);
        assert_eq!(code("nothing"), None);
    }
}
