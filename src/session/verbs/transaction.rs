//! `BEGIN`, `COMMIT`, `ROLLBACK` and savepoints.

use chrono::Utc;
use datafusion::sql::sqlparser::ast::{TransactionAccessMode, TransactionIsolationLevel, TransactionMode};

use crate::error::{Diagnosis, sqlstate};
use crate::session::Session;
use crate::session::output::Execution;
use crate::session::transaction::{Block, Modes};

fn done(tag: &str) -> Result<Execution, Diagnosis> {
    Ok(Execution::Done(tag.to_owned()))
}

/// `BEGIN`
pub(super) fn begin(session: &mut Session, modes: &[TransactionMode]) -> Result<Execution, Diagnosis> {
    if session.block.is_some() {
        session.warn(sqlstate::ACTIVE_SQL_TRANSACTION, "there is already a transaction in progress");
        return done("BEGIN");
    }
    let defaults = Modes {
        read_only: session.settings.is_on("default_transaction_read_only"),
        repeatable: is_repeatable(session.settings.show("default_transaction_isolation")?),
    };
    if modes.iter().any(|mode| matches!(mode, TransactionMode::IsolationLevel(TransactionIsolationLevel::Serializable))) {
        return Err(no_serializable());
    }
    session.block = Some(Block::new(defaults, Utc::now()));
    session.settings.begin();
    session.facts = None;
    apply_modes(session, modes)?;
    done("BEGIN")
}

/// Snapshots of several stores are not one serial order.
pub(super) fn no_serializable() -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "isolation level serializable is not supported")
        .with_hint("repeatable read keeps one state per store for the whole transaction.")
}

fn is_repeatable(isolation: &str) -> bool {
    isolation == "repeatable read"
}

/// Sets the modes of the current block: `BEGIN …`, `SET TRANSACTION …`.
pub(super) fn apply_modes(session: &mut Session, modes: &[TransactionMode]) -> Result<(), Diagnosis> {
    let Some(block) = &mut session.block else { return Ok(()) };
    for mode in modes {
        match mode {
            TransactionMode::AccessMode(TransactionAccessMode::ReadOnly) => block.modes.read_only = true,
            TransactionMode::AccessMode(TransactionAccessMode::ReadWrite) => {
                if block.modes.read_only && block.used {
                    let message = "transaction read-write mode must be set before any query";
                    return Err(Diagnosis::new(sqlstate::ACTIVE_SQL_TRANSACTION, message));
                }
                block.modes.read_only = false;
            }
            TransactionMode::IsolationLevel(level) => {
                if block.used {
                    let message = "SET TRANSACTION ISOLATION LEVEL must be called before any query";
                    return Err(Diagnosis::new(sqlstate::ACTIVE_SQL_TRANSACTION, message));
                }
                block.modes.repeatable = match level {
                    TransactionIsolationLevel::ReadUncommitted | TransactionIsolationLevel::ReadCommitted => false,
                    TransactionIsolationLevel::RepeatableRead | TransactionIsolationLevel::Snapshot => true,
                    TransactionIsolationLevel::Serializable => {
                        return Err(Diagnosis::new(
                            sqlstate::FEATURE_NOT_SUPPORTED,
                            "isolation level serializable is not supported",
                        )
                        .with_hint("repeatable read keeps one state per store for the whole transaction."));
                    }
                };
            }
        }
    }
    let (read_only, repeatable) = (block.modes.read_only, block.modes.repeatable);
    session.facts = None;
    session.settings.set("transaction_read_only", Some(if read_only { "on" } else { "off" }), true)?;
    session.settings.set("transaction_isolation", Some(if repeatable { "repeatable read" } else { "read committed" }), true)
}

async fn end(session: &mut Session, commit: bool, chain: bool) -> Result<(), Diagnosis> {
    let Some(block) = session.block.take() else { return Ok(()) };
    session.names.clear_portals();
    session.facts = None;
    let commit = commit && !block.failed;
    // Settled before the await: whatever becomes of this call, the session is out of its block.
    session.settings.end(commit);
    let finished = match &block.branches {
        Some(branches) => branches.finish(commit).await,
        None => Ok(()),
    };
    if chain {
        session.block = Some(Block::new(block.modes, Utc::now()));
        session.settings.begin();
    }
    finished
}

/// `COMMIT`; a failed block is rolled back and says so by its tag.
pub(super) async fn commit(session: &mut Session, chain: bool) -> Result<Execution, Diagnosis> {
    let Some(block) = &session.block else {
        session.warn(sqlstate::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress");
        return done("COMMIT");
    };
    let failed = block.failed;
    end(session, true, chain).await?;
    done(if failed { "ROLLBACK" } else { "COMMIT" })
}

/// `ROLLBACK`
pub(super) async fn rollback(session: &mut Session, chain: bool) -> Result<Execution, Diagnosis> {
    if session.block.is_none() {
        session.warn(sqlstate::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress");
        return done("ROLLBACK");
    }
    end(session, false, chain).await?;
    done("ROLLBACK")
}

fn outside(verb: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::NO_ACTIVE_SQL_TRANSACTION, format!("{verb} can only be used in transaction blocks"))
}

/// Most savepoints of a transaction.
const SAVEPOINTS_MAX: usize = 10_000;

/// `SAVEPOINT`
pub(super) fn savepoint(session: &mut Session, name: &str) -> Result<Execution, Diagnosis> {
    let mark = session.settings.savepoint();
    let block = session.block.as_mut().ok_or_else(|| outside("SAVEPOINT"))?;
    if block.savepoints.len() >= SAVEPOINTS_MAX {
        let message = format!("a transaction may keep at most {SAVEPOINTS_MAX} savepoints");
        return Err(Diagnosis::new(sqlstate::CONFIGURATION_LIMIT_EXCEEDED, message));
    }
    block.savepoints.push((name.to_owned(), mark));
    done("SAVEPOINT")
}

fn find(block: &Block, name: &str) -> Result<usize, Diagnosis> {
    let missing = || Diagnosis::new("3B001", format!("savepoint \"{name}\" does not exist"));
    block.savepoints.iter().rposition(|(known, _)| known == name).ok_or_else(missing)
}

/// `RELEASE SAVEPOINT`
pub(super) fn release(session: &mut Session, name: &str) -> Result<Execution, Diagnosis> {
    let block = session.block.as_mut().ok_or_else(|| outside("RELEASE SAVEPOINT"))?;
    let place = find(block, name)?;
    block.savepoints.truncate(place);
    done("RELEASE")
}

/// `ROLLBACK TO SAVEPOINT`: reads have nothing to undo in the stores, so the block is usable again with its settings as
/// they were.
pub(super) fn rollback_to(session: &mut Session, name: &str) -> Result<Execution, Diagnosis> {
    let block = session.block.as_mut().ok_or_else(|| outside("ROLLBACK TO SAVEPOINT"))?;
    let place = find(block, name)?;
    let mark = block.savepoints.get(place).map_or(0, |(_, mark)| *mark);
    block.savepoints.truncate(place + 1);
    block.failed = false;
    session.settings.rollback_to(mark);
    session.facts = None;
    done("ROLLBACK")
}
