//! The end of a session's transactions: what is asked of the coordinator, and what of its answer the session tells. Steps of sagas are
//! undone here too, by a session without a client.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;

use super::output::Execution;
use super::settings::{CROSS_STORE_COMMIT, LAST_COMMIT};
use super::transaction::Block;
use super::{Session, Shared, Start};
use crate::catalog::OwnTables;
use crate::error::{Diagnosis, sqlstate};
use crate::stores::StoreName;
use crate::stores::commit::{Gid, MarkId};
use crate::stores::lock::LockWaits;
use crate::telemetry::audit::{Audit, Event};
use crate::write::commit::{Committed, Guarantee, unknown_gid};
use crate::write::coordinator::{Asked, Coordinator, Several};
use crate::write::failpoint::Point;
use crate::write::inverse::ONE_ROW;
use crate::write::saga::Compensator;

/// What transactions of all sessions are committed with.
#[derive(Debug, Clone)]
pub struct Commitment {
    /// Who commits.
    pub coordinator: Arc<Coordinator>,
    /// Who is told of what was done.
    pub audit: Arc<Audit>,
    /// What each store keeps for transactions; swapped when the catalog directory is read again.
    pub own: Arc<ArcSwap<BTreeMap<StoreName, OwnTables>>>,
    /// How long a transaction that holds something in one store waits for locks of another, where its client does not say.
    pub lock_wait: Option<Duration>,
}

impl Commitment {
    /// One that commits single stores alone, tells nobody and keeps nothing.
    pub fn none() -> Self {
        let own = Arc::new(ArcSwap::from_pointee(BTreeMap::new()));
        Self { coordinator: Coordinator::without_log(), audit: Audit::off(), own, lock_wait: None }
    }
}

/// A statement that writes, of which the audit log is told when it has ended.
pub(super) struct Telling {
    audit: Arc<Audit>,
    event: Event,
}

impl Telling {
    /// Tells of it: its tag, or what it has failed with.
    pub(super) async fn end(self, ended: Result<String, &Diagnosis>) {
        let event = match ended {
            Ok(tag) => self.event.with("tag", tag).done(),
            Err(error) => self.event.failed(&error.sqlstate),
        };
        self.audit.tell(event).await;
    }
}

impl Session {
    /// What is done with stores that cannot be committed together.
    pub(super) fn several(&self) -> Several {
        if self.settings.show(CROSS_STORE_COMMIT) == Ok("saga") { Several::Saga } else { Several::Atomic }
    }

    /// How long is waited for locks.
    pub(super) fn lock_waits(&self) -> LockWaits {
        LockWaits { asked: self.settings.lock_timeout(), together: self.shared.commitment.lock_wait }
    }

    /// The block that is about to write or to lock rows, if there is one.
    pub(super) fn writing_block(&mut self) -> Option<&mut Block> {
        let (several, waits) = (self.several(), self.lock_waits());
        let block = self.block.as_mut()?;
        block.used = true;
        block.several = several;
        block.waits = waits;
        Some(block)
    }

    /// Ends a block and tells how: the session's, or that of one statement, which a store may have committed by itself.
    ///
    /// # Errors
    /// What keeps it from being committed; 08007 where nobody knows.
    pub(super) async fn end_block(
        &mut self,
        block: &Block,
        (keeps, by_itself): (bool, Option<&StoreName>),
    ) -> Result<(), Diagnosis> {
        let opened = block.opened();
        let settled = if keeps { block.keyed.settle(block.writers.as_ref()).await } else { Ok(None) };
        let (asked, coordinator) = (self.asked(block), Arc::clone(&self.shared.commitment.coordinator));
        let keeps_all = keeps && settled.is_ok();
        if keeps_all {
            self.doubt(block);
        }
        let ended = block.finish(keeps_all, &coordinator, asked).await;
        self.past.ended(&opened, keeps_all, &ended);
        if let Some(store) = by_itself {
            self.past.by_itself(store, None);
        }
        if keeps {
            self.publish(block).await;
        }
        // A write outside of a block is a transaction too.
        self.forget_key();
        let repeated = match settled {
            Ok(repeated) => repeated,
            Err(refused) => {
                self.note_commit(&Guarantee::Nothing.to_string());
                return Err(refused);
            }
        };
        let told = match (&ended, repeated, by_itself) {
            (Ok(_), Some(key), _) => format!("repeated: {key}"),
            (Ok(_), None, Some(store)) => Guarantee::OneStore(store.clone()).to_string(),
            (Ok(committed), None, None) => committed.guarantee.to_string(),
            (Err(error), ..) => failed(error),
        };
        self.note_commit(&told);
        self.tell_commit(&ended).await;
        let committed = ended?;
        self.notices.extend(warnings(&committed));
        Ok(())
    }

    /// The transaction that the key was for is over: it has ended, or its statement has failed before it began.
    pub(super) fn forget_key(&mut self) {
        if self.settings.forget_key() {
            self.facts = None;
        }
    }

    /// What a block asks of its commit.
    fn asked(&self, block: &Block) -> Asked {
        let several = if block.keyed.is_claimed() { Several::Atomic } else { self.several() };
        let (steps, stores) = match &block.writers {
            Some(writers) if several == Several::Saga => (block.undone.steps(writers), Arc::clone(writers.connectors())),
            Some(writers) => (Vec::new(), Arc::clone(writers.connectors())),
            None => (Vec::new(), Arc::default()),
        };
        Asked { role: self.role.clone(), several, steps, gid: block.gid, stores }
    }

    /// Takes note of what the latest commit has promised. No plan is made anew for it.
    pub(super) fn note_commit(&mut self, told: &str) {
        if self.settings.show(LAST_COMMIT) != Ok(told) {
            self.settings.note(LAST_COMMIT, told.to_owned());
            self.facts = None;
        }
    }

    /// Takes note of how a statement has failed that its store commits by itself: it may be committed all the same.
    pub(super) fn note_failed(&mut self, error: &Diagnosis) {
        self.note_commit(&failed(error));
    }

    /// Tells the audit log of a commit of several stores, where it is told of writes.
    async fn tell_commit(&mut self, ended: &Result<Committed, Diagnosis>) {
        let audit = &self.shared.commitment.audit;
        if !audit.tells_writes() {
            return;
        }
        let event = Event::new("commit").by(&self.role).process(self.process_id);
        let event = match ended {
            Ok(Committed { gid: Some(gid), guarantee, .. }) => {
                event.with("gid", gid.to_string()).with("guarantee", guarantee.to_string()).done()
            }
            // Its writes have been told of one by one.
            Ok(_) => return,
            Err(error) => match unknown_gid(error) {
                Some(gid) => event.with("gid", gid.to_string()).failed(&error.sqlstate),
                None => event.failed(&error.sqlstate),
            },
        };
        audit.tell(event).await;
    }

    /// Tells the audit log of a statement that has written, where it is told of writes.
    pub(super) async fn tell_write(
        &mut self,
        (verb, table): (&str, &str),
        (store, text): (&StoreName, &str),
        ended: Result<String, &Diagnosis>,
    ) {
        if let Some(telling) = self.telling((verb, table), (store, text)) {
            telling.end(ended).await;
        }
    }

    /// Tells the audit log of a statement that was not let write, where it is told of writes. What belongs to no store has none.
    pub(super) async fn tell_refused(
        &mut self,
        what: (&str, &str),
        (store, text): (Option<&StoreName>, &str),
        refused: &Diagnosis,
    ) {
        if let Some(telling) = self.telling_of(what, (store, text)) {
            telling.end(Err(refused)).await;
        }
    }

    /// What the audit log will be told of a statement that writes, where it is told of writes.
    pub(super) fn telling(&self, what: (&str, &str), (store, text): (&StoreName, &str)) -> Option<Telling> {
        self.telling_of(what, (Some(store), text))
    }

    fn telling_of(&self, (verb, table): (&str, &str), (store, text): (Option<&StoreName>, &str)) -> Option<Telling> {
        let audit = &self.shared.commitment.audit;
        if !audit.tells_writes() {
            return None;
        }
        let event = Event::new("write").by(&self.role).process(self.process_id).with("verb", verb).with("table", table);
        let event = match store {
            Some(store) => event.with("store", store.as_str()),
            None => event,
        };
        Some(Telling { audit: Arc::clone(audit), event: event.with("statement", audit.text(text)) })
    }

    /// Tells the audit log of a statement that defines something, whatever has become of it. `object` is its place: what it is about, as
    /// far as that is known, and the store that it is in.
    pub(super) async fn tell_definition(
        &mut self,
        (verb, text): (&str, &str),
        (object, store): (&str, Option<&StoreName>),
        failed: Option<&Diagnosis>,
    ) {
        let audit = &self.shared.commitment.audit;
        let event = Event::new("ddl").by(&self.role).process(self.process_id).with("verb", verb).with("object", object);
        let event = match store {
            Some(store) => event.with("store", store.as_str()),
            // A view that is kept here.
            None => event,
        };
        let event = event.with("statement", audit.text(text));
        let event = match failed {
            None => event.done(),
            Some(error) => event.failed(&error.sqlstate),
        };
        audit.tell(event).await;
    }

    /// Takes note of what a store was told to commit by itself.
    pub(super) fn note_alone(&mut self, store: &StoreName, ended: &Result<(), Diagnosis>) {
        let told = match ended {
            Ok(()) => Guarantee::OneStore(store.clone()).to_string(),
            Err(error) => failed(error),
        };
        self.note_commit(&told);
    }

    /// Runs statements in one transaction, with a mark in that store that they have run. Nothing is done where it is there already.
    async fn undo(&mut self, sql: &[String], store: &StoreName, mark: MarkId) -> Result<(), Diagnosis> {
        let points = self.shared.commitment.coordinator.points().clone();
        points.reached(Point::BeforeUndo).await;
        self.one("BEGIN").await?;
        if !self.mark(store, mark).await? {
            return self.one("ROLLBACK").await.map(drop);
        }
        points.reached(Point::UndoMarked).await;
        for text in sql {
            let tag = self.one(text).await?;
            if text.starts_with(ONE_ROW) && tag.rsplit(' ').next() != Some("1") {
                let message = "a row that is to be changed back has been changed by others";
                return Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
            }
        }
        points.reached(Point::BeforeUndoCommit).await;
        self.one("COMMIT").await?;
        points.reached(Point::AfterUndo).await;
        Ok(())
    }

    /// Writes a mark in the open block; false where it is there already.
    async fn mark(&mut self, store: &StoreName, mark: MarkId) -> Result<bool, Diagnosis> {
        let (shared, snapshot) = (Arc::clone(&self.shared), self.snapshot());
        let Some(block) = self.writing_block() else {
            return Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "a mark is written outside of a transaction"));
        };
        let (writers, _branches) = block.write_branches(store, &snapshot, &shared).await?;
        let branch = writers.open(store).await?;
        match branch.mark(mark).await.map_err(|error| Diagnosis::of(&error)) {
            Ok(()) => Ok(true),
            Err(error) if error.sqlstate == sqlstate::UNIQUE_VIOLATION => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Runs a text of one statement, and gives its tag. Rows that come back are left.
    async fn one(&mut self, text: &str) -> Result<String, Diagnosis> {
        self.begin();
        let mut tag = String::new();
        for statement in self.parse(text)? {
            if let Execution::Done(done) = Box::pin(self.run(&statement, true)).await? {
                tag = done;
            }
        }
        Ok(tag)
    }
}

/// What is told of stores that have not said that they have committed.
fn warnings(committed: &Committed) -> Vec<Diagnosis> {
    let told = |message: String| Diagnosis::new(sqlstate::WARNING, message);
    let late = committed.late.iter();
    let late = late.map(|store| told(format!("the transaction is committed; store \"{store}\" follows when it answers")));
    let missing = committed.missing.iter().map(|store| {
        let message = format!("the transaction is committed; store \"{store}\" does not have what it had promised to commit");
        told(message).with_detail("Somebody else has ended it there, or the store has lost it.")
    });
    late.chain(missing).collect()
}

/// What `tributary.last_commit` says of a transaction that was not seen to be committed.
fn failed(error: &Diagnosis) -> String {
    match (unknown_gid(error), not_undone(error)) {
        (Some(gid), _) => format!("unknown: {gid}"),
        (None, Some(gid)) => format!("saga, not undone: {gid}"),
        (None, None) if error.sqlstate == sqlstate::TRANSACTION_RESOLUTION_UNKNOWN => "unknown".to_owned(),
        (None, None) => Guarantee::Nothing.to_string(),
    }
}

/// The saga of which a step is left, as its hint names it.
fn not_undone(error: &Diagnosis) -> Option<Gid> {
    let (name, told) = error.hint.as_deref()?.strip_prefix("Its name is ")?.split_once(": ")?;
    Gid::parse(name).filter(|_| told.starts_with("tributary.in_doubt "))
}

/// Undoes steps of sagas by sessions without a client.
#[derive(Debug)]
pub struct Undoing(Weak<Shared>);

impl Undoing {
    /// With what all sessions share, which is not kept by it.
    pub fn of(shared: &Arc<Shared>) -> Arc<Self> {
        Arc::new(Self(Arc::downgrade(shared)))
    }
}

#[async_trait]
impl Compensator for Undoing {
    async fn run(&self, role: &str, sql: &[String], store: &StoreName, mark: MarkId) -> Result<(), Diagnosis> {
        let Some(shared) = self.0.upgrade() else {
            return Err(Diagnosis::new(sqlstate::ADMIN_SHUTDOWN, "the server is stopping"));
        };
        let database = shared.catalog.snapshot().database.clone();
        let settings = vec![("application_name".to_owned(), "tributary: undo".to_owned())];
        let start = Start { role: role.to_owned(), database, settings, process_id: 0 };
        let mut session = Session::open(&shared, start).await?;
        let undone = Box::pin(session.undo(sql, store, mark)).await;
        if undone.is_err() {
            // What is open is rolled back here and not when the session is dropped: it may be tried again at once.
            session.fail().await;
            session.one("ROLLBACK").await.ok();
        }
        undone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::commit::LogId;
    use crate::write::commit::unknown;

    #[test]
    fn a_store_that_has_lost_its_part_does_not_follow() {
        let store = |name: &str| vec![StoreName::new(name)];
        let committed = Committed { late: store("a"), missing: store("b"), ..Committed::of(Guarantee::Nothing, None, Vec::new()) };
        let told = warnings(&committed);
        let said: Vec<(&str, &str)> = told.iter().map(|told| (told.sqlstate.as_str(), told.message.as_str())).collect();
        let expected = [
            "the transaction is committed; store \"a\" follows when it answers",
            "the transaction is committed; store \"b\" does not have what it had promised to commit",
        ];
        assert_eq!(said, expected.map(|message| ("01000", message)));
        assert!(told[1].detail.as_deref().is_some_and(|detail| detail.contains("lost")));
    }

    #[test]
    fn what_is_not_known_is_told_by_its_name() {
        let gid = Gid { log: LogId(1), number: 2 };
        assert_eq!(failed(&unknown(gid)), format!("unknown: {gid}"));
        let alone = Diagnosis::new(sqlstate::TRANSACTION_RESOLUTION_UNKNOWN, "the outcome of the transaction is not known");
        assert_eq!(failed(&alone), "unknown");
        assert_eq!(failed(&Diagnosis::new(sqlstate::UNIQUE_VIOLATION, "twice")), "none");
        let hinted = |hint: String| failed(&Diagnosis::new(sqlstate::UNIQUE_VIOLATION, "twice").with_hint(hint));
        let left = format!("Its name is {gid}: tributary.in_doubt tells what is left.");
        assert_eq!(hinted(left), format!("saga, not undone: {gid}"));
        assert_eq!(hinted(format!("Its name is {gid}.")), "none");
        assert_eq!(hinted("Its name is x: tributary.in_doubt tells what is left.".to_owned()), "none");
    }
}
