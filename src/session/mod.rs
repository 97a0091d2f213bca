//! One client's conversation: its settings, transaction state, prepared statements and portals.
//!
//! ```text
//! wire/connection → parse → run (simple)            → Execution
//!                 → prepare → bind → execute portal → Execution
//! ```
//!
//! **Invariants:** the session never touches a socket; a statement keeps the catalog snapshot it started with; after an
//! error in a block every statement but its end is refused with 25P02.

pub mod output;
pub mod role;

use std::sync::Arc;

use datafusion::scalar::ScalarValue;
use tokio_util::sync::CancellationToken;

use crate::error::{Diagnosis, sqlstate};
use crate::format::Format;
use crate::pgtype::PgType;
use output::{Execution, OutputColumn, Rows};

/// What all sessions share.
#[derive(Debug)]
pub struct Shared {}

/// Who connects, and with which settings.
#[derive(Debug, Clone)]
pub struct Start {
    /// The authenticated role.
    pub role: String,
    /// The requested database; must be the catalog's.
    pub database: String,
    /// Other startup parameters, and `-c name=value` pairs from `options`, in order.
    pub settings: Vec<(String, String)>,
    /// The process id told in `BackendKeyData`.
    pub process_id: i32,
    /// The peer's address, for `pg_stat_activity`.
    pub peer: String,
}

/// The status byte of `ReadyForQuery`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`
    Idle,
    /// `T`
    InBlock,
    /// `E`
    Failed,
}

/// One parsed statement of a simple query.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The statement's own text.
    pub text: String,
}

/// What `Describe` tells of a prepared statement.
#[derive(Debug, Clone)]
pub struct Description {
    /// Types of `$1`, `$2`, … after inference.
    pub parameters: Vec<PgType>,
    /// Result columns; `None` when the statement returns no rows.
    pub columns: Option<Vec<OutputColumn>>,
}

/// Columns of a portal and the format of each.
pub type PortalColumns = (Vec<OutputColumn>, Vec<Format>);

/// One client's conversation.
#[derive(Debug)]
pub struct Session {}

impl Session {
    /// Opens a session for an authenticated role.
    ///
    /// # Errors
    /// 3D000 for an unknown database, 22023 and kin for settings that do not apply.
    pub async fn open(_shared: &Arc<Shared>, _start: Start) -> Result<Self, Diagnosis> {
        std::future::ready(Err(unbuilt())).await
    }

    /// All reportable settings with their values, for the `ParameterStatus` messages after authentication.
    pub fn reported(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Reportable settings that changed since the last call.
    pub fn take_changed(&mut self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Notices (warnings) raised since the last call; `sqlstate` 00000 is a NOTICE, 01xxx and 25001/25P01 a WARNING.
    pub fn take_notices(&mut self) -> Vec<Diagnosis> {
        Vec::new()
    }

    /// The status for `ReadyForQuery`.
    pub fn status(&self) -> TransactionStatus {
        TransactionStatus::Idle
    }

    /// Starts a new statement: returns the token that a cancel request triggers, and starts `statement_timeout`.
    /// Called once per simple `Query` message or extended `Execute`/`Parse`/`Bind`.
    pub fn begin(&mut self) -> CancellationToken {
        CancellationToken::new()
    }

    /// Splits and parses the text of a simple `Query`. An empty text gives no statements.
    ///
    /// # Errors
    /// 42601 with position, 54001 when nested too deep.
    pub fn parse(&self, _text: &str) -> Result<Vec<Parsed>, Diagnosis> {
        Err(unbuilt())
    }

    /// Runs one statement of a simple query. `alone` is false inside a multi-statement text, which is one implicit
    /// transaction.
    ///
    /// # Errors
    /// What the statement failed with. The caller then calls [`Session::fail`].
    pub async fn run(&mut self, _statement: &Parsed, _alone: bool) -> Result<Execution, Diagnosis> {
        std::future::ready(Err(unbuilt())).await
    }

    /// Extended protocol `Parse`. An empty name replaces the unnamed statement; a zero oid asks for inference.
    ///
    /// # Errors
    /// 42P05 when the name exists, else as [`Session::parse`] and planning.
    pub async fn prepare(&mut self, _name: &str, _text: &str, _parameter_types: &[u32]) -> Result<(), Diagnosis> {
        std::future::ready(Err(unbuilt())).await
    }

    /// What a prepared statement needs and returns.
    ///
    /// # Errors
    /// 26000
    pub fn describe_statement(&self, _name: &str) -> Result<&Description, Diagnosis> {
        Err(unbuilt())
    }

    /// Extended protocol `Bind`, with parameters already decoded by their described types. `formats` follows the
    /// protocol: none, one for all, or one per column.
    ///
    /// # Errors
    /// 26000, 42P03 when the portal exists, 08P01 when counts do not agree.
    pub async fn bind(
        &mut self,
        _portal: &str,
        _statement: &str,
        _parameters: Vec<ScalarValue>,
        _formats: &[Format],
    ) -> Result<(), Diagnosis> {
        std::future::ready(Err(unbuilt())).await
    }

    /// Columns and formats of a portal; `None` when it returns no rows.
    ///
    /// # Errors
    /// 34000
    pub fn describe_portal(&self, _name: &str) -> Result<Option<PortalColumns>, Diagnosis> {
        Err(unbuilt())
    }

    /// Starts a portal, or gives its suspended rows back. The caller reads rows and returns unfinished ones with
    /// [`Session::suspend`].
    ///
    /// # Errors
    /// 34000, or what the statement failed with.
    pub async fn execute(&mut self, _portal: &str) -> Result<(Execution, Vec<Format>), Diagnosis> {
        std::future::ready(Err(unbuilt())).await
    }

    /// Keeps the rest of a portal's rows for the next `Execute`.
    pub fn suspend(&mut self, _portal: &str, _rows: Rows) {}

    /// Closes a prepared statement; unknown names are fine.
    pub fn close_statement(&mut self, _name: &str) {}

    /// Closes a portal; unknown names are fine.
    pub fn close_portal(&mut self, _name: &str) {}

    /// Tells that a statement succeeded and its rows were all sent or discarded.
    pub fn succeed(&mut self) {}

    /// Tells that a statement failed: a block turns failed, an implicit transaction is rolled back.
    pub async fn fail(&mut self) {
        std::future::ready(()).await;
    }

    /// `Sync`, or the end of a simple query: ends an implicit transaction and drops its portals.
    ///
    /// # Errors
    /// What the commit failed with.
    pub async fn sync(&mut self) -> Result<(), Diagnosis> {
        std::future::ready(Ok(())).await
    }
}

fn unbuilt() -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "not built yet")
}
