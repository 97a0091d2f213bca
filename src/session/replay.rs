//! Transactions that may be sent twice, by `tributary.idempotency_key`: the first write of a block asks the table of keys in the store
//! that it writes to. Where the key is known there, the block has been committed before: its writes are answered as they were, and change
//! nothing.
//!
//! **Invariants:** the key is claimed before anything else is written in the block, in the same transaction of the same store; a block
//! that repeats has the same writes as the first one, or fails.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use datafusion::scalar::ScalarValue;
use tokio::time::Instant;

use super::output::Guard;
use super::settings::IDEMPOTENCY_KEY;
use super::transaction::Block;
use super::verbs::Bound;
use super::{Session, Shared};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::writers::Writers;
use crate::pgtype::PgType;
use crate::stores::StoreName;
use crate::stores::cell::{Cells, write_text};
use crate::task::Backoff;
use crate::write::kept::KeptRows;
use crate::write::keys::{self, Answered, Keys, Known, OUTCOME_BYTES_MAX};

/// How long a key is waited for in a store that ends waits by failing, when the statement has no time limit.
const PATIENCE: Duration = Duration::from_secs(30);
/// The wait before such a store is asked again.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest one.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How often a key may vanish between two looks.
const LOOKS_MAX: usize = 10;

/// What stands before the SQLSTATE of a write that has failed; no command tag begins so.
const FAILED: &str = "!";

/// Whether a block has a name, and has been committed under it before.
#[derive(Debug, Default)]
pub(super) enum Keyed {
    /// It has written nothing.
    #[default]
    Untouched,
    /// It has written without one.
    Unkeyed,
    /// It has claimed its key, and what it answers is noted.
    Recording(Recorded),
    /// It has been committed before.
    Repeating(Repeated),
}

/// What a block answers.
#[derive(Debug)]
pub(super) struct Recorded {
    key: String,
    keys: Keys,
    /// Where the key is.
    store: StoreName,
    /// How many savepoints the block had been asked for.
    since: u32,
    answered: Vec<Answered>,
    bytes: usize,
}

/// What a block was answered before.
#[derive(Debug)]
pub(super) struct Repeated {
    key: String,
    since: u32,
    answered: Vec<Answered>,
    /// How many of them have been asked for again.
    next: usize,
}

impl Keyed {
    /// Whether its key was claimed. The key is in one store: it tells of the writes to others only if they are committed with it.
    pub(super) fn is_claimed(&self) -> bool {
        matches!(self, Self::Recording(_) | Self::Repeating(_))
    }

    /// What was claimed after a savepoint is undone.
    pub(super) fn roll_back_to(&mut self, savepoint: u32) {
        match self {
            Self::Recording(Recorded { since, .. }) | Self::Repeating(Repeated { since, .. }) if *since > savepoint => {
                *self = Self::Untouched;
            }
            _ => {}
        }
    }

    /// A write has been answered.
    ///
    /// # Errors
    /// 54000 for more than may be kept; the write fails.
    pub(super) fn answered(&mut self, hash: &str, tag: &str, rows: Option<KeptRows>) -> Result<(), Diagnosis> {
        let Self::Recording(recorded) = self else { return Ok(()) };
        recorded.push(Answered { rows, ..Answered::tag(hash, tag) });
        if recorded.bytes < OUTCOME_BYTES_MAX { Ok(()) } else { keys::outcome(&recorded.answered).map(drop) }
    }

    /// A write has failed, behind which the block may go on from a savepoint. One that was stopped has no answer to be given again.
    pub(super) fn failed(&mut self, hash: &str, error: &Diagnosis) {
        match self {
            // More than may be kept is refused when the block ends.
            Self::Recording(recorded) if error.sqlstate != sqlstate::QUERY_CANCELED && recorded.bytes < OUTCOME_BYTES_MAX => {
                recorded.push(Answered::tag(hash, &format!("{FAILED}{}", error.sqlstate)));
            }
            _ => {}
        }
    }

    /// Before the commit: what was answered is kept. The key, where the block has been committed before.
    ///
    /// # Errors
    /// 22023 for a block that had more writes before; what the store answered.
    pub(super) async fn settle(&self, writers: Option<&Arc<Writers>>) -> Result<Option<String>, Diagnosis> {
        match self {
            Self::Untouched | Self::Unkeyed => Ok(None),
            Self::Repeating(repeated) if repeated.next < repeated.answered.len() => Err(repeated.differs("had more writes")),
            Self::Repeating(repeated) => Ok(Some(repeated.key.clone())),
            Self::Recording(recorded) => {
                let branch = writers.and_then(|writers| writers.get(&recorded.store));
                let branch = branch.ok_or_else(|| {
                    let message = "the transaction of the idempotency key is gone";
                    Diagnosis::new(sqlstate::SERIALIZATION_FAILURE, message)
                })?;
                recorded.keys.keep(&branch, &recorded.key, &recorded.answered).await?;
                Ok(None)
            }
        }
    }
}

impl Recorded {
    fn push(&mut self, answered: Answered) {
        // Quotes, commas and brackets are six characters; those around rows are no more than thirty.
        let rows = answered.rows.as_ref().map_or(0, |rows| rows.bytes() + 30);
        self.bytes += answered.hash.len() + answered.tag.len() + 6 + rows;
        self.answered.push(answered);
    }
}

impl Repeated {
    fn differs(&self, how: &str) -> Diagnosis {
        let message = format!("the transaction of the idempotency key \"{}\" {how}", self.key);
        Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message).with_detail("It has been committed before, and is repeated now.")
    }

    /// The answer to the next write.
    fn answer(&mut self, hash: &str) -> Result<Answered, Diagnosis> {
        match self.answered.get(self.next) {
            Some(known) if known.hash == hash => {
                self.next += 1;
                match known.tag.strip_prefix(FAILED) {
                    Some(code) => Err(Diagnosis::new(code, "the statement failed so when the transaction was committed before")),
                    None => Ok(known.clone()),
                }
            }
            Some(_) => Err(self.differs("had another statement here")),
            None => Err(self.differs("had fewer writes")),
        }
    }
}

/// A write that may have been made before.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Empty without one.
    key: String,
    /// The statement, by [`keys::hash`]; empty without a key.
    hash: String,
    now: DateTime<Utc>,
    guard: Guard,
}

impl Session {
    /// The write that a statement is, with its parameters.
    pub(super) fn attempt(&self, text: &str, bound: Bound<'_>, now: DateTime<Utc>) -> Result<Attempt, Diagnosis> {
        let key = self.settings.show(IDEMPOTENCY_KEY)?.to_owned();
        let guard = self.guard.clone();
        if key.is_empty() {
            return Ok(Attempt { key, hash: String::new(), now, guard });
        }
        // What EXECUTE names may have been prepared anew meanwhile.
        let prepared = bound.and_then(|(prepared, _)| prepared.parsed.as_ref()).map(|parsed| parsed.text.to_string());
        let prepared = prepared.filter(|prepared| prepared.as_str() != text);
        // Names and values may mean something else under other settings.
        let (settings, _) = self.settings.as_statements();
        let mut values = vec![prepared, Some(settings.join("\n"))];
        if let Some((prepared, given)) = bound {
            values.extend(texts(given, &prepared.description.parameters)?);
        }
        Ok(Attempt { key, hash: keys::hash(text, &values, &self.role), now, guard })
    }

    /// Refuses what could not be answered again as it was.
    ///
    /// # Errors
    /// 0A000 where the transaction has a key.
    pub(super) fn check_repeatable(&self, what: &str) -> Result<(), Diagnosis> {
        if self.settings.show(IDEMPOTENCY_KEY)?.is_empty() {
            return Ok(());
        }
        let message = format!("{what} is not supported with an idempotency key");
        Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_detail("Sent again, it could not be answered as it was."))
    }
}

impl Attempt {
    /// Whether the transaction has a key.
    pub(super) fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    /// The statement, as it is known by.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }
}

/// The values of parameters as texts.
fn texts(values: &[ScalarValue], types: &[PgType]) -> Result<Vec<Option<String>>, Diagnosis> {
    let unwritable = || Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "a value of a parameter has no text to know it by");
    let text = |(value, pg_type): (&ScalarValue, &PgType)| -> Result<Option<String>, Diagnosis> {
        if value.is_null() {
            return Ok(None);
        }
        let array = value.to_array().map_err(|_error| unwritable())?;
        let cells = Cells::of(array.as_ref(), *pg_type).ok_or_else(unwritable)?;
        let mut text = String::new();
        write_text(&cells.get(0), *pg_type, &mut text).map_err(|_unwritable| unwritable())?;
        Ok(Some(text))
    };
    values.iter().zip(types).map(text).collect()
}

impl Block {
    /// Whether a write to `store` is made, or is answered as it was before.
    ///
    /// # Errors
    /// 22023 for another statement under a key that is known, 55000 for a key that the store keeps none of or that comes too late; what
    /// the store answered.
    pub(super) async fn admit(
        &mut self,
        attempt: &Attempt,
        store: &StoreName,
        writers: &Arc<Writers>,
        shared: &Shared,
    ) -> Result<Option<Answered>, Diagnosis> {
        let since = self.savepoints_asked();
        match &mut self.keyed {
            Keyed::Untouched | Keyed::Unkeyed if !attempt.has_key() => {
                self.keyed = Keyed::Unkeyed;
                return Ok(None);
            }
            Keyed::Unkeyed => return Err(too_late("before the first write of a transaction")),
            Keyed::Recording(Recorded { key, .. }) | Keyed::Repeating(Repeated { key, .. }) if *key != attempt.key => {
                return Err(too_late("for a whole transaction"));
            }
            Keyed::Recording(_) => return Ok(None),
            Keyed::Repeating(repeated) => return repeated.answer(&attempt.hash).map(Some),
            Keyed::Untouched => {}
        }
        let asking = Asking { attempt, store, writers, keys: keys_of(store, writers, shared)? };
        self.look_in(store)?;
        let known = Box::pin(asking.claim()).await?;
        let Some(known) = known else {
            let (key, answered) = (attempt.key.clone(), Vec::new());
            self.keyed = Keyed::Recording(Recorded { key, keys: asking.keys, store: store.clone(), since, answered, bytes: 2 });
            return Ok(None);
        };
        if known.hash != attempt.hash {
            let message = format!("the idempotency key \"{}\" was used for another statement", attempt.key);
            return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
        let mut repeated = Repeated { key: attempt.key.clone(), since, answered: known.answered, next: 0 };
        let answered = repeated.answer(&attempt.hash)?;
        self.keyed = Keyed::Repeating(repeated);
        Ok(Some(answered))
    }
}

impl Block {
    /// The key is looked for in that store.
    ///
    /// # Errors
    /// 55000 where it was looked for in another one before.
    fn look_in(&mut self, store: &StoreName) -> Result<(), Diagnosis> {
        let home = self.key_home.get_or_insert_with(|| store.clone());
        if home == store {
            return Ok(());
        }
        let message = format!("the idempotency key was looked for in store \"{home}\" before");
        let detail = "The key of a transaction is kept in the store that it writes to first, also where a savepoint undoes that.";
        Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message).with_detail(detail))
    }
}

fn too_late(when: &str) -> Diagnosis {
    let message = format!("tributary.idempotency_key must be set {when}");
    Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
}

/// The keys that a store keeps.
fn keys_of(store: &StoreName, writers: &Writers, shared: &Shared) -> Result<Keys, Diagnosis> {
    let keeps = shared.commitment.own.load().get(store).is_some_and(|own| own.keys.is_some());
    let keys = writers.connectors().get(store).filter(|_| keeps).and_then(Keys::of);
    keys.ok_or_else(|| {
        let message = format!("store \"{store}\" keeps no idempotency keys");
        Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .with_detail("The key of a transaction is kept in the store that it writes to first.")
            .with_hint(format!("Set idempotency = true in stores/{store}.toml."))
    })
}

/// The first write with a key.
struct Asking<'a> {
    attempt: &'a Attempt,
    store: &'a StoreName,
    writers: &'a Arc<Writers>,
    keys: Keys,
}

impl Asking<'_> {
    /// Claims the key; what is known of it, where another transaction has committed with it.
    async fn claim(&self) -> Result<Option<Known>, Diagnosis> {
        let Attempt { key, hash, now, guard } = self.attempt;
        let deadline = guard.deadline.unwrap_or_else(|| Instant::now() + PATIENCE);
        let mut pauses = Backoff::new(PAUSE, PAUSE_MAX);
        let mut branch = guard.run(self.writers.open(self.store)).await??;
        let mut looks = 0;
        loop {
            if let Some(known) = guard.run(self.keys.find(&branch, key)).await?? {
                return Ok(Some(known));
            }
            let stop = guard.stop();
            // Whoever has claimed the same key is waited for here.
            let claimed = guard.wait_for(&stop, self.keys.claim(&branch, (key.as_str(), hash.as_str()), *now, &stop)).await;
            let Err(error) = claimed else { return Ok(None) };
            match error.sqlstate.as_str() {
                sqlstate::UNIQUE_VIOLATION if looks < LOOKS_MAX => looks += 1,
                code if is_tried_again(code) && Instant::now() < deadline => {
                    guard.run(tokio::time::sleep(pauses.next_wait())).await?;
                }
                sqlstate::LOCK_NOT_AVAILABLE => {
                    let hint = "A transaction has not ended: one with the same key, or in SQLite any that writes to the file.";
                    return Err(error.with_hint(hint));
                }
                _ => return Err(error),
            }
            branch = guard.run(self.writers.reopen(self.store)).await??;
        }
    }
}

/// Whether a claim that failed so may succeed when the other one has ended. Stores that end waits by failing call them conflicts, or
/// deadlocks: several that wait for one key in MariaDB lock each other out.
fn is_tried_again(code: &str) -> bool {
    matches!(code, sqlstate::SERIALIZATION_FAILURE | sqlstate::DEADLOCK_DETECTED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::transaction::{Isolation, Modes};

    fn answered(all: &[(&str, &str)]) -> Vec<Answered> {
        all.iter().map(|(hash, tag)| Answered::tag(hash, tag)).collect()
    }

    fn repeating(since: u32) -> Keyed {
        let answered = answered(&[("h1", "INSERT 0 1"), ("h2", "UPDATE 3")]);
        Keyed::Repeating(Repeated { key: "k".to_owned(), since, answered, next: 0 })
    }

    #[tokio::test]
    async fn a_block_that_repeats_has_the_same_writes_or_fails() {
        let mut keyed = repeating(0);
        let Keyed::Repeating(repeated) = &mut keyed else { panic!("it repeats") };
        assert_eq!(repeated.answer("h2").unwrap_err().sqlstate, "22023");
        assert_eq!(repeated.answer("h1").unwrap().tag, "INSERT 0 1");
        assert!(repeating(0).is_claimed() && !Keyed::Unkeyed.is_claimed() && !Keyed::Untouched.is_claimed());
        let early = repeating(0).settle(None).await.unwrap_err();
        assert_eq!((early.sqlstate.as_str(), early.message.contains("had more writes")), ("22023", true));
        assert_eq!(repeated.answer("h2").unwrap().tag, "UPDATE 3");
        assert_eq!(repeated.answer("h2").unwrap_err().message, "the transaction of the idempotency key \"k\" had fewer writes");
        assert_eq!(keyed.settle(None).await.unwrap().as_deref(), Some("k"));
        assert_eq!(Keyed::Unkeyed.settle(None).await.unwrap(), None);
    }

    #[test]
    fn a_write_that_failed_fails_again_and_those_behind_it_are_answered() {
        let answered = answered(&[("h1", "INSERT 0 1"), ("h2", "!23505"), ("h3", "DELETE 1")]);
        let mut repeated = Repeated { key: "k".to_owned(), since: 0, answered, next: 0 };
        assert_eq!(repeated.answer("h1").unwrap().tag, "INSERT 0 1");
        assert_eq!(repeated.answer("h3").unwrap_err().sqlstate, "22023");
        assert_eq!(repeated.answer("h2").unwrap_err().sqlstate, "23505");
        assert_eq!(repeated.answer("h3").unwrap().tag, "DELETE 1");
    }

    #[test]
    fn a_savepoint_takes_back_a_key_that_was_claimed_after_it() {
        let mut keyed = repeating(1);
        keyed.roll_back_to(1);
        assert!(matches!(keyed, Keyed::Repeating(_)));
        keyed.roll_back_to(0);
        assert!(matches!(keyed, Keyed::Untouched));
        let mut unkeyed = Keyed::Unkeyed;
        unkeyed.roll_back_to(0);
        assert!(matches!(unkeyed, Keyed::Unkeyed));
    }

    #[test]
    fn a_key_is_looked_for_in_one_store_whatever_savepoints_take_back() {
        let modes = Modes { read_only: false, isolation: Isolation::ReadCommitted, is_deferrable: false };
        let mut block = Block::new(modes, Utc::now());
        let (shop, crew) = (StoreName::new("shop"), StoreName::new("crew"));
        assert!(block.look_in(&shop).is_ok());
        block.keyed = repeating(1);
        block.keyed.roll_back_to(0);
        assert!(block.look_in(&shop).is_ok());
        let refused = block.look_in(&crew).unwrap_err();
        assert_eq!(refused.sqlstate, "55000");
        assert_eq!(refused.message, "the idempotency key was looked for in store \"shop\" before");
    }

    #[test]
    fn conflicts_and_deadlocks_over_a_key_are_tried_again() {
        assert!(["40001", "40P01"].into_iter().all(is_tried_again));
        assert!(!["23505", "55P03", "57014", "08006"].into_iter().any(is_tried_again));
    }

    #[test]
    fn parameters_are_known_by_their_whole_values() {
        let bytes = ScalarValue::Binary(Some(vec![7; 100]));
        let all = [bytes, ScalarValue::Utf8(None), ScalarValue::Utf8(Some("NULL".to_owned()))];
        let texts = texts(&all, &[PgType::BYTEA, PgType::TEXT, PgType::TEXT]).unwrap();
        assert_eq!(texts, [Some(format!("\\x{}", "07".repeat(100))), None, Some("NULL".to_owned())]);
    }
}
