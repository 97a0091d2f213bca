//! Definitions inside of a transaction: they are seen in it at once, and end with it.
//!
//! The server changes no table that a cursor is open on, so those that nobody reads are closed before. What a connection keeps prepared is
//! of the tables as they were: it is dropped when something is defined or undone, and the connection is nobody's after the transaction.

use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;

use super::super::super::define::Define;
use super::super::super::error::StoreError;
use super::super::pool::{Lease, State};
use super::run;
use super::statement::Statement;
use super::transaction::{Line, Transaction};

impl Transaction {
    /// Runs one statement of a definition.
    ///
    /// # Errors
    /// What the server answered.
    pub(in super::super) async fn define(&self, asked: &Define, text: &str, stop: &CancellationToken) -> Result<(), StoreError> {
        let mut line = self.ready().await?;
        self.close_left(&mut line).await?;
        self.has_defined.store(true, Ordering::Release);
        line.lease.iter_mut().for_each(Lease::retire);
        self.send(&mut line, &Statement::defining(asked, text), stop).await?;
        // Its tables may be others now.
        line.inserted.forget();
        self.forget_statements(&mut line).await
    }

    /// Drops what the connection keeps prepared, where something has been defined.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) async fn forget_statements(&self, line: &mut Line) -> Result<(), StoreError> {
        if !self.has_defined.load(Ordering::Acquire) {
            return Ok(());
        }
        let lease = line.lease.as_mut().ok_or_else(|| self.ended())?;
        run::forget_statements(&self.inner, lease, State::Transaction).await;
        Ok(())
    }
}
