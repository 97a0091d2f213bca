//! Definitions inside the transaction of a branch, and what its file holds from there.
//!
//! SQLite keeps its tables in one of its own, so that a savepoint and the end of the transaction are those of definitions too. A file that
//! takes part in the transaction of another one is not defined in: what refers to tables there goes by other names.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::super::super::define::Define;
use super::super::super::document::Learning;
use super::super::super::error::StoreError;
use super::super::super::fragment::Refusal;
use super::super::super::relational::documents::TableOptions;
use super::super::super::schema::StoreSchema;
use super::super::define::{define_all, released, statements};
use super::super::scan::Database;
use super::super::schema;
use super::super::write::failure::told;
use super::worker::{Current, Running, Watched, Worker, watch};
use super::{Branch, Command, Mode};
use crate::error::sqlstate;

/// Statements of a definition, all of which are done or none.
pub(super) struct Defining {
    texts: Vec<String>,
    /// The table whose triggers of ours have to go first.
    released: Option<String>,
    stop: CancellationToken,
    pub(super) done: oneshot::Sender<Result<(), StoreError>>,
}

/// A look at all tables.
pub(super) struct Describing {
    options: TableOptions,
    learning: Learning,
    done: oneshot::Sender<Result<StoreSchema, StoreError>>,
}

impl Branch {
    /// Defines something in the transaction.
    ///
    /// # Errors
    /// What SQLite says.
    pub(super) async fn define_inside(&self, asked: &Define, stop: &CancellationToken) -> Result<(), StoreError> {
        self.allow()?;
        self.check_leads()?;
        let store = self.pool.store().as_str();
        let refused = |refusal: Refusal| StoreError::remote(store, sqlstate::FEATURE_NOT_SUPPORTED, refusal.to_string());
        let texts = statements(asked).map_err(refused)?;
        self.written.store(true, Ordering::Release);
        let (done, answer) = oneshot::channel();
        let defining = Defining { texts, released: released(asked), stop: stop.clone(), done };
        self.send(Command::Define(Box::new(defining))).await?;
        answer.await.unwrap_or_else(|_gone| Err(self.unanswered(false)))
    }

    /// What the file holds for the transaction.
    ///
    /// # Errors
    /// What SQLite says.
    pub(in super::super) async fn discover(&self, options: &TableOptions, learning: Learning) -> Result<StoreSchema, StoreError> {
        self.check_leads()?;
        let (done, answer) = oneshot::channel();
        self.send(Command::Describe(Box::new(Describing { options: options.clone(), learning, done }))).await?;
        answer.await.unwrap_or_else(|_gone| Err(self.unanswered(false)))
    }

    fn check_leads(&self) -> Result<(), StoreError> {
        let store = self.pool.store().as_str();
        let refused = |message: &str| Err(StoreError::remote(store, sqlstate::FEATURE_NOT_SUPPORTED, message.to_owned()));
        match (&self.naming, self.mode) {
            (Some(_), _) => refused("tables of a file that takes part in the transaction of another file are not defined"),
            (None, Mode::Once) => refused("nothing is defined beside an edit that commits by itself"),
            (None, Mode::Read | Mode::ReadThenWrite | Mode::Write) => Ok(()),
        }
    }
}

impl Worker {
    /// Runs a definition so that all of it stays or nothing.
    pub(super) fn define(
        &mut self,
        database: &Database<'_>,
        current: &Current,
        running: &mut HashMap<u64, Running<'_>>,
        asked: &Defining,
    ) -> Result<(), StoreError> {
        self.check(database)?;
        let pool = Arc::clone(&self.pool);
        let failed = |failure| told(&pool, None, failure);
        // A table that a statement is open on is not changed.
        let result = self.gather(running).and_then(|()| {
            if asked.stop.is_cancelled() {
                return Err(StoreError::Cancelled);
            }
            database.run("SAVEPOINT edit").map_err(failed)?;
            watch(current, Watched::Edit(asked.stop.clone(), Arc::clone(&pool)));
            let defined = define_all(database, &asked.texts, asked.released.as_deref());
            watch(current, Watched::Nothing);
            defined.map_err(failed).map_err(|error| self.why(error, &pool))?;
            database.run("RELEASE edit").map_err(failed)
        });
        if result.is_err() {
            self.failed = true;
            // Nothing to undo when SQLite has given up the transaction, or there is no savepoint yet.
            if !database.is_autocommit() && database.run("ROLLBACK TO edit").is_ok() {
                drop(database.run("RELEASE edit"));
            }
        }
        result
    }

    /// Looks at all tables.
    pub(super) fn describe(&self, database: &Database<'_>, asked: Describing) {
        let Describing { options, mut learning, done } = asked;
        let found = self.check(database).and_then(|()| {
            let found = schema::discover_inside(database, &options, &mut learning);
            found.map_err(|failure| self.pool.store_error(failure, None))
        });
        // A caller that no longer waits is no fault.
        drop(done.send(found));
    }
}
