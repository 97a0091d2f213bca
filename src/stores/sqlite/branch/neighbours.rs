//! What the thread of a branch knows of other files whose writes its commit keeps too.
//!
//! SQLite commits several files together by a journal that names their rollback journals: all of them are kept, or none, also through a
//! crash. A file in write-ahead mode has no such journal, and a commit with one would be two commits of which nobody hears. So the
//! modes are looked at before a file is attached, again under its first lock, from which on nobody else can change them, and a last
//! time before the commit.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt};

use super::super::super::error::StoreError;
use super::super::super::relational::Dialect;
use super::super::super::schema::TableId;
use super::super::super::value::Value;
use super::super::own;
use super::super::pool::{Identity, Pool};
use super::super::scan::{Database, Failure};
use super::super::schema::NAMESPACE;
use super::super::write::failure::told;
use super::worker::{Running, Worker};
use crate::error::sqlstate;

/// The journals that end together with those of other files.
const TOGETHER: [&str; 3] = ["delete", "truncate", "persist"];

/// A file that is to share the transaction.
pub(super) struct Joining {
    pub(super) pool: Arc<Pool>,
    pub(super) identity: Identity,
    pub(super) path: String,
    /// A table of the file by which it is locked.
    pub(super) table: String,
}

/// The files of a transaction.
pub(super) struct Group {
    /// That of the connection.
    own: Identity,
    neighbours: Vec<Neighbour>,
    /// How often one was attached: names are not given again.
    attached: u32,
    /// Whether the mark of a commit is written, so that the end comes as soon as others are ready, and is waited for.
    pub(super) sealed: bool,
}

struct Neighbour {
    identity: Identity,
    schema: String,
    pool: Arc<Pool>,
}

impl Group {
    pub(super) fn of(own: Identity) -> Self {
        Self { own, neighbours: Vec::new(), attached: 0, sealed: false }
    }

    /// Whether the connection is another one than when it was opened.
    pub(super) fn has_attached(&self) -> bool {
        self.attached > 0
    }
}

/// Waits until a store of the transaction is closed, and gives its error.
pub(super) async fn closed(pool: &Pool, group: &Group) -> StoreError {
    let own = async {
        pool.closing().cancelled().await;
        pool.closed()
    };
    if group.neighbours.is_empty() {
        return own.await;
    }
    let wait = |neighbour: &Neighbour| {
        let pool = Arc::clone(&neighbour.pool);
        async move {
            pool.closing().cancelled().await;
            pool.closed()
        }
    };
    let mut others: FuturesUnordered<_> = group.neighbours.iter().map(wait).collect();
    tokio::select! {
        error = own => error,
        Some(error) = others.next() => error,
    }
}

impl Worker {
    /// Takes another file into the transaction and locks it. Gives its name here.
    pub(super) fn attach(&mut self, database: &Database<'_>, file: &Joining) -> Result<String, StoreError> {
        self.check(database)?;
        if file.identity == self.group.own {
            return Ok(NAMESPACE.to_owned());
        }
        if let Some(known) = self.group.neighbours.iter().find(|known| known.identity == file.identity) {
            let schema = known.schema.clone();
            self.lock_beside(database, &schema, file)?;
            return Ok(schema);
        }
        self.group.attached += 1;
        let schema = format!("s{}", self.group.attached);
        let attached = own::first(database, &format!("ATTACH ?1 AS {schema}"), &[Value::Text(file.path.clone())]);
        attached.map_err(|failure| not_attached(&file.pool, failure))?;
        let (identity, pool) = (file.identity, Arc::clone(&file.pool));
        self.group.neighbours.push(Neighbour { identity, schema: schema.clone(), pool });
        let locked = self.lock_beside(database, &schema, file);
        // One that is locked already stays, and its journal is looked at again before the commit.
        if locked.is_err() && database.run(&format!("DETACH {schema}")).is_ok() {
            self.group.neighbours.retain(|known| known.schema != schema);
        }
        locked.map(|()| schema)
    }

    fn lock_beside(&self, database: &Database<'_>, schema: &str, file: &Joining) -> Result<(), StoreError> {
        self.fits_beside(database, (schema, &file.pool), sqlstate::FEATURE_NOT_SUPPORTED)?;
        let id = TableId { namespace: schema.to_owned(), name: file.table.clone() };
        let locked = database.run(&format!("DELETE FROM {} WHERE 0", Dialect::Sqlite.table(&id)));
        locked.map_err(|failure| {
            let is_gone = failure.message.starts_with("no such table");
            if is_gone { file.pool.store_error(failure, Some(&file.table)) } else { told(&file.pool, None, failure) }
        })?;
        self.fits_beside(database, (schema, &file.pool), sqlstate::SERIALIZATION_FAILURE)
    }

    /// Whether one commit would keep both files or none; otherwise an error with this SQLSTATE.
    fn fits_beside(&self, database: &Database<'_>, (schema, pool): (&str, &Pool), sqlstate: &str) -> Result<(), StoreError> {
        for (schema, owner) in [(NAMESPACE, self.pool.as_ref()), (schema, pool)] {
            let found = unfit(database, schema).map_err(|failure| owner.store_error(failure, None))?;
            let Some(trouble) = found else { continue };
            let (one, other, whose) = (self.pool.store(), pool.store(), owner.store());
            return Err(StoreError::Remote {
                store: whose.to_string(),
                sqlstate: sqlstate.to_owned(),
                message: format!(
                    "stores \"{one}\" and \"{other}\" cannot be committed together: the journal of \"{whose}\" {trouble}"
                ),
                detail: Some("Only files with a rollback journal are: PRAGMA journal_mode = delete on both.".to_owned()),
                constraint: None,
                site: None,
            });
        }
        Ok(())
    }

    /// Whether the journals are still such that a commit keeps all files or none.
    pub(super) fn fits_together(&self, database: &Database<'_>) -> Result<(), StoreError> {
        let mut neighbours = self.group.neighbours.iter();
        neighbours.try_for_each(|known| self.fits_beside(database, (&known.schema, &known.pool), sqlstate::SERIALIZATION_FAILURE))
    }

    /// Writes the mark of a commit, behind which nothing but the end comes.
    pub(super) fn seal(
        &mut self,
        database: &Database<'_>,
        running: &mut HashMap<u64, Running<'_>>,
        mark: &str,
    ) -> Result<(), StoreError> {
        self.check(database)?;
        let written = self.gather(running);
        let written = written.and_then(|()| own::mark(database, mark).map_err(|failure| told(&self.pool, None, failure)));
        match written {
            Ok(()) => self.group.sealed = true,
            Err(_) => self.failed = true,
        }
        written
    }

    /// The error of a store that is being closed, whether it is that of the connection or that of a neighbour.
    pub(super) fn closed(&self, pool: &Pool) -> Option<StoreError> {
        [self.pool.as_ref(), pool].into_iter().find(|pool| pool.closing().is_cancelled()).map(Pool::closed)
    }
}

/// Why no commit keeps this file together with another one.
fn unfit(database: &Database<'_>, schema: &str) -> Result<Option<String>, Failure> {
    let mode = own::first(database, &format!("PRAGMA {schema}.journal_mode"), &[])?.unwrap_or_default();
    if !TOGETHER.contains(&mode.as_str()) {
        return Ok(Some(format!("is in mode {mode}")));
    }
    let synchronous = own::first(database, &format!("PRAGMA {schema}.synchronous"), &[])?;
    Ok((synchronous.as_deref() == Some("0")).then(|| "is not waited for".to_owned()))
}

/// SQLite's own words hold the path of the file, which is no business of a client.
fn not_attached(pool: &Pool, failure: Failure) -> StoreError {
    let store = pool.store().as_str();
    if failure.message.starts_with("too many attached databases") {
        let message = "a transaction cannot write to so many database files".to_owned();
        return StoreError::remote(store, sqlstate::PROGRAM_LIMIT_EXCEEDED, message);
    }
    if failure.message.contains("must use the same text encoding") {
        let message = format!("store \"{store}\" cannot be committed together with one whose texts are encoded otherwise");
        return StoreError::remote(store, sqlstate::FEATURE_NOT_SUPPORTED, message);
    }
    pool.store_error(Failure { message: "The database file cannot be opened.".to_owned(), ..failure }, None)
}
