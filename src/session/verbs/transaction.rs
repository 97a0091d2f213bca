//! `BEGIN`, `COMMIT`, `ROLLBACK` and savepoints.

use chrono::{DateTime, Utc};
use datafusion::sql::sqlparser::ast::{TransactionAccessMode, TransactionIsolationLevel, TransactionMode};

use super::set::characteristics;
use crate::error::{Diagnosis, Limit, sqlstate};
use crate::session::Session;
use crate::session::listen::Pending;
use crate::session::output::Execution;
use crate::session::statement::modes::Place;
use crate::session::transaction::{Block, Isolation, Modes};

fn done(tag: &str) -> Result<Execution, Diagnosis> {
    Ok(Execution::Done(tag.to_owned()))
}

/// `BEGIN`; inside a text of several statements it makes the block they share one that lasts.
pub(super) fn begin(session: &mut Session, modes: &[TransactionMode]) -> Result<Execution, Diagnosis> {
    match &mut session.block {
        Some(block) if !block.implicit => {
            session.warn(sqlstate::ACTIVE_SQL_TRANSACTION, "there is already a transaction in progress");
            return done("BEGIN");
        }
        Some(block) => block.implicit = false,
        None => open(session)?,
    }
    apply_modes(session, modes)?;
    done("BEGIN")
}

/// The block that the statements of one text share unless they make their own.
pub(in crate::session) fn begin_implicit(session: &mut Session) -> Result<(), Diagnosis> {
    if session.block.is_some() {
        return Ok(());
    }
    open(session)?;
    if let Some(block) = &mut session.block {
        block.implicit = true;
    }
    Ok(())
}

/// Ends the implicit block, if there is one.
pub(in crate::session) async fn end_implicit(session: &mut Session) -> Result<(), Diagnosis> {
    if is_explicit(session) { Ok(()) } else { end(session, true, false).await }
}

fn is_explicit(session: &Session) -> bool {
    session.block.as_ref().is_some_and(|block| !block.implicit)
}

/// The modes of a transaction that says nothing of its own.
fn default_modes(session: &Session) -> Result<Modes, Diagnosis> {
    let isolation = Isolation::of_words(session.settings.show("default_transaction_isolation")?);
    Ok(Modes {
        read_only: session.settings.is_on("default_transaction_read_only"),
        isolation: isolation.unwrap_or(Isolation::ReadCommitted),
        is_deferrable: session.settings.is_on("default_transaction_deferrable"),
    })
}

fn open(session: &mut Session) -> Result<(), Diagnosis> {
    let modes = default_modes(session)?;
    let mut block = begun(session, modes, session.transaction_start());
    // What was read before in the same series is a part of the transaction.
    block.copies = session.series.take();
    session.block = Some(block);
    session.settings.begin();
    session.facts = None;
    show_modes(session, modes)
}

/// A block of one statement outside of any.
///
/// # Errors
/// A setting that has no such value, which the settings do not take.
pub(super) fn own_block(session: &Session, started: DateTime<Utc>) -> Result<Block, Diagnosis> {
    let mut block = Block::new(default_modes(session)?, started);
    block.waits = session.lock_waits();
    Ok(block)
}

/// A block of the session's role.
fn begun(session: &Session, modes: Modes, started: DateTime<Utc>) -> Block {
    let mut block = Block::new(modes, started);
    block.only_reads = session.shared.roles.load().get(&session.role).is_none_or(|role| role.read_only);
    block.waits = session.lock_waits();
    block
}

fn level(asked: TransactionIsolationLevel) -> Isolation {
    match asked {
        TransactionIsolationLevel::ReadUncommitted => Isolation::ReadUncommitted,
        TransactionIsolationLevel::ReadCommitted => Isolation::ReadCommitted,
        TransactionIsolationLevel::RepeatableRead | TransactionIsolationLevel::Snapshot => Isolation::RepeatableRead,
        TransactionIsolationLevel::Serializable => Isolation::Serializable,
    }
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
            TransactionMode::IsolationLevel(asked) => {
                let asked = level(*asked);
                if block.used && asked != block.modes.isolation {
                    let message = "SET TRANSACTION ISOLATION LEVEL must be called before any query";
                    return Err(Diagnosis::new(sqlstate::ACTIVE_SQL_TRANSACTION, message));
                }
                block.modes.isolation = asked;
            }
        }
    }
    let modes = block.modes;
    session.facts = None;
    show_modes(session, modes)
}

/// `BEGIN … DEFERRABLE` and its like.
pub(super) fn with_deferrable(
    session: &mut Session,
    place: Place,
    modes: &[TransactionMode],
    is_deferrable: bool,
) -> Result<Execution, Diagnosis> {
    match place {
        Place::Begin if is_explicit(session) => begin(session, modes),
        Place::Begin => {
            let begun = begin(session, modes)?;
            set_deferrable(session, is_deferrable)?;
            Ok(begun)
        }
        Place::Transaction => {
            set_modes(session, modes)?;
            set_deferrable(session, is_deferrable)?;
            done("SET")
        }
        Place::Session => {
            characteristics(session, modes)?;
            session.settings.set("default_transaction_deferrable", Some(on_or_off(is_deferrable)), false)?;
            done("SET")
        }
    }
}

/// `SET TRANSACTION …`
pub(super) fn set_modes(session: &mut Session, modes: &[TransactionMode]) -> Result<(), Diagnosis> {
    if session.block.is_none() {
        session.warn(sqlstate::NO_ACTIVE_SQL_TRANSACTION, "SET TRANSACTION can only be used in transaction blocks");
    }
    apply_modes(session, modes)
}

/// Sets the mode of the current block that has no other effect than being shown.
pub(super) fn set_deferrable(session: &mut Session, is_deferrable: bool) -> Result<(), Diagnosis> {
    let Some(block) = &mut session.block else { return Ok(()) };
    if block.used {
        let message = "SET TRANSACTION [NOT] DEFERRABLE must be called before any query";
        return Err(Diagnosis::new(sqlstate::ACTIVE_SQL_TRANSACTION, message));
    }
    block.modes.is_deferrable = is_deferrable;
    let modes = block.modes;
    session.facts = None;
    show_modes(session, modes)
}

fn on_or_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

fn show_modes(session: &mut Session, modes: Modes) -> Result<(), Diagnosis> {
    session.settings.set("transaction_deferrable", Some(on_or_off(modes.is_deferrable)), true)?;
    session.settings.set("transaction_read_only", Some(on_or_off(modes.read_only)), true)?;
    session.settings.set("transaction_isolation", Some(modes.isolation.words()), true)
}

/// Ends whatever block there is.
async fn end(session: &mut Session, commit: bool, chain: bool) -> Result<(), Diagnosis> {
    session.series.end();
    let Some(mut block) = session.block.take() else { return Ok(()) };
    session.names.clear_portals();
    session.facts = None;
    session.transaction_start = None;
    let commit = commit && !block.failed;
    // As PostgreSQL: asked before anything is kept, since nothing may fail behind that.
    let pending = std::mem::take(&mut block.pending);
    let refused =
        if commit && !pending.is_empty() { session.shared.feeds.board().check_room(&pending.notes()).err() } else { None };
    let commit = commit && refused.is_none();
    let finished = Box::pin(session.end_block(&block, (commit, None))).await.and(refused.map_or(Ok(()), Err));
    // What was set in a transaction that a store did not commit is undone with it, and so is what it has asked for.
    session.settings.end(commit && finished.is_ok());
    session.settle_channels(if commit && finished.is_ok() { pending } else { Pending::default() });
    // What a store did not commit is not gone on with.
    if chain && finished.is_ok() {
        session.block = Some(begun(session, block.modes, session.statement_start));
        session.settings.begin();
        show_modes(session, block.modes)?;
    }
    finished
}

/// Outside a block that was asked for there is nothing to end but the implicit one, which PostgreSQL warns of.
fn check_explicit(session: &mut Session, verb: &str, chain: bool) -> Result<(), Diagnosis> {
    if is_explicit(session) {
        return Ok(());
    }
    if chain {
        return Err(outside(&format!("{verb} AND CHAIN")));
    }
    session.warn(sqlstate::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress");
    Ok(())
}

/// `COMMIT`; a failed block is rolled back and says so by its tag.
pub(super) async fn commit(session: &mut Session, chain: bool) -> Result<Execution, Diagnosis> {
    check_explicit(session, "COMMIT", chain)?;
    let failed = session.block.as_ref().is_some_and(|block| block.failed);
    end(session, true, chain).await?;
    done(if failed { "ROLLBACK" } else { "COMMIT" })
}

/// `ROLLBACK`
pub(super) async fn rollback(session: &mut Session, chain: bool) -> Result<Execution, Diagnosis> {
    check_explicit(session, "ROLLBACK", chain)?;
    end(session, false, chain).await?;
    done("ROLLBACK")
}

fn outside(verb: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::NO_ACTIVE_SQL_TRANSACTION, format!("{verb} can only be used in transaction blocks"))
}

fn explicit<'s>(session: &'s mut Session, verb: &str) -> Result<&'s mut Block, Diagnosis> {
    session.block.as_mut().filter(|block| !block.implicit).ok_or_else(|| outside(verb))
}

/// Most savepoints of a transaction.
const SAVEPOINTS_MAX: usize = 10_000;

/// `SAVEPOINT`
pub(super) async fn savepoint(session: &mut Session, name: &str) -> Result<Execution, Diagnosis> {
    let mark = session.settings.savepoint();
    let block = explicit(session, "SAVEPOINT")?;
    if block.savepoints.len() >= SAVEPOINTS_MAX {
        let message = format!("a transaction may keep at most {SAVEPOINTS_MAX} savepoints");
        return Err(Diagnosis::new(sqlstate::CONFIGURATION_LIMIT_EXCEEDED, message).at(Limit::Transaction));
    }
    block.set_savepoint(name, mark).await?;
    done("SAVEPOINT")
}

fn find(block: &Block, name: &str) -> Result<usize, Diagnosis> {
    let missing = || Diagnosis::new("3B001", format!("savepoint \"{name}\" does not exist"));
    block.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(missing)
}

/// `RELEASE SAVEPOINT`
pub(super) async fn release(session: &mut Session, name: &str) -> Result<Execution, Diagnosis> {
    let block = explicit(session, "RELEASE SAVEPOINT")?;
    let place = find(block, name)?;
    block.release(place).await?;
    done("RELEASE")
}

/// `ROLLBACK TO SAVEPOINT`: what was written since is undone in its store, portals made since are closed, and the block is usable again
/// with its settings as they were.
pub(super) async fn rollback_to(session: &mut Session, name: &str) -> Result<Execution, Diagnosis> {
    let block = explicit(session, "ROLLBACK TO SAVEPOINT")?;
    let place = find(block, name)?;
    let id = block.savepoints.get(place).map_or(0, |savepoint| savepoint.id);
    // First of all: a store that goes back would have to read on for them.
    session.names.close_portals_since(id);
    let mark = explicit(session, "ROLLBACK TO SAVEPOINT")?.roll_back_to(place).await?;
    session.settings.rollback_to(mark);
    session.facts = None;
    done("ROLLBACK")
}
