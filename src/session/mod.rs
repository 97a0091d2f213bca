//! One client's conversation: its settings, transaction state, prepared statements and portals.
//!
//! ```text
//! wire/connection → parse → run (simple)                    → Execution
//!                 → prepare → bind → execute portal         → Execution
//! a statement: statement (classify) → verbs/<kind> → federation/plan → Rows
//! ```
//!
//! **Invariants:** the session never touches a socket; a statement keeps the catalog snapshot it started with; after an
//! error in a block every statement but its end is refused with 25P02.

mod commits;
pub mod copy_in;
mod defined;
mod doubts;
mod facts;
mod follow;
mod listen;
pub mod output;
pub mod prepared;
mod reading;
mod replay;
mod rights;
pub mod role;
mod saga;
mod series;
pub mod settings;
mod site;
pub mod statement;
mod straight;
pub mod transaction;
mod verbs;
pub mod views;

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use datafusion::scalar::ScalarValue;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cache::Caches;
use crate::catalog::live::{Activity, Presence, Sessions};
use crate::catalog::snapshot::SessionFacts;
use crate::catalog::{Catalog, SearchPath, Snapshot};
use crate::changes::Feeds;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::branches::{BranchKind, Branches};
use crate::federation::counts::AllReads;
use crate::federation::engine::Engine;
use crate::federation::generic::PlanMode;
use crate::federation::placement::Level;
use crate::federation::plan::{Planned, Setting};
use crate::federation::ranges::Reading;
use crate::format::{DisplaySettings, Format};
use crate::stores::StoreName;
use crate::write::coordinator::Several;
pub use commits::{Commitment, Undoing};
use doubts::Doubts;
use listen::Listening;
pub use listen::Notification;
use output::{Execution, Guard, OutputColumn, Rows};
pub use prepared::Description;
use prepared::{Names, Portal};
use reading::Past;
use role::Roles;
use series::SeriesReads;
use settings::{Settings, TOKEN};
use statement::Kind;
pub use statement::Parsed;
use transaction::Block;
use views::ServedViews;

/// What all sessions share.
#[derive(Debug)]
pub struct Shared {
    /// What exists.
    pub catalog: Arc<Catalog>,
    /// What plans and runs.
    pub engine: Engine,
    /// Who may connect; swapped when the catalog directory is read again.
    pub roles: Arc<ArcSwap<Roles>>,
    /// Stores whose tables turned out to have changed. A full queue drops the report: a refresh is pending already.
    pub changed: mpsc::Sender<StoreName>,
    /// Which stores prepared statements have asked about.
    doubts: Doubts,
    /// What was read from each store.
    pub reads: Arc<AllReads>,
    /// The sessions that there are.
    sessions: Arc<Sessions>,
    /// What transactions are committed with.
    pub commitment: Commitment,
    /// What the stores tell of changes.
    pub feeds: Arc<Feeds>,
    /// Copies of tables.
    pub caches: Arc<Caches>,
    /// Materialized views.
    pub views: Arc<ServedViews>,
}

/// Most reports of changed stores that wait for their refresh.
const CHANGED_MAX: usize = 64;

impl Shared {
    /// What sessions share, and the receiver of reports about changed stores.
    pub fn new(
        catalog: Arc<Catalog>,
        engine: Engine,
        roles: Arc<ArcSwap<Roles>>,
        commitment: Commitment,
        feeds: Arc<Feeds>,
        (caches, views): (Arc<Caches>, Arc<ServedViews>),
    ) -> (Self, mpsc::Receiver<StoreName>) {
        let (changed, reports) = mpsc::channel(CHANGED_MAX);
        let (doubts, reads, sessions) = (Doubts::default(), Arc::default(), Arc::default());
        (Self { catalog, engine, roles, changed, doubts, reads, sessions, commitment, feeds, caches, views }, reports)
    }

    /// Has the stores behind a refused prepared statement looked at again, each once in a while.
    fn doubt(&self, planned: &Planned) {
        let stores: BTreeSet<&StoreName> = planned.relations.values().filter_map(|relation| doubts::store_of(relation)).collect();
        let now = Instant::now();
        for store in stores.into_iter().filter(|store| self.doubts.may_ask(store, now)) {
            // A full queue means that refreshes are pending already.
            let _ = self.changed.try_send(store.clone());
        }
    }

    /// Branches over the stores of a snapshot, which read no copies.
    fn branches(&self, snapshot: &Snapshot, kind: BranchKind) -> Branches {
        Branches::new(snapshot, kind, Some(self.changed.clone())).counting(Arc::clone(&self.reads))
    }
}

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

/// Columns of a portal and the format of each.
pub type PortalColumns<'a> = (&'a [OutputColumn], &'a [Format]);

/// One client's conversation.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    role: String,
    process_id: i32,
    settings: Settings,
    names: Names,
    block: Option<Block>,
    notices: Vec<Diagnosis>,
    guard: Guard,
    /// Among the sessions that are shown.
    presence: Presence,
    /// When the last message that may run something came: `statement_timestamp()`.
    statement_start: DateTime<Utc>,
    /// When the first of the messages came that share a transaction outside of any block, those up to `Sync`: `now()`.
    transaction_start: Option<DateTime<Utc>>,
    /// Told to system relations; made anew when a setting or the catalog has changed since (the key).
    facts: Option<((u64, u64), Arc<SessionFacts>)>,
    /// The channels that it listens to.
    listening: Listening,
    /// What it has written and seen, which later reads must contain.
    past: Past,
    /// What it has read from copies since the last `Sync`, outside of any block.
    series: SeriesReads,
}

impl Session {
    /// Opens a session for an authenticated role.
    ///
    /// # Errors
    /// 3D000 for an unknown database, 22023 and kin for settings that do not apply.
    #[expect(clippy::unused_async, reason = "later issues read per-role settings from the state directory here")]
    pub async fn open(shared: &Arc<Shared>, start: Start) -> Result<Self, Diagnosis> {
        let snapshot = shared.catalog.snapshot();
        if start.database != snapshot.database {
            let message = format!("database \"{}\" does not exist", start.database);
            let hint = format!("This server serves one database, \"{}\"; stores are schemas in it.", snapshot.database);
            return Err(Diagnosis::new(sqlstate::INVALID_CATALOG_NAME, message).with_hint(hint));
        }
        let mut settings = Settings::default();
        let past = Past::new(&shared.caches);
        let superuser = shared.roles.load().get(&start.role).is_some_and(|role| role.superuser);
        settings.fix("session_authorization", &start.role);
        settings.fix("is_superuser", if superuser { "on" } else { "off" });
        for (name, value) in &start.settings {
            // Protocol extensions and driver hints that PostgreSQL itself would not know are not settings.
            if name.starts_with("_pq_.") || name == "replication" {
                continue;
            }
            if name.eq_ignore_ascii_case("role") {
                verbs::check_role(&start.role, value)?;
            }
            if name.eq_ignore_ascii_case(TOKEN) {
                past.take_token(value)?;
                continue;
            }
            settings.set(name, Some(value), false)?;
        }
        settings.settle();
        let guard = Guard { cancel: CancellationToken::new(), deadline: None, timeout: None };
        let activity = Activity::new(start.process_id, &start.role, settings.show("application_name").unwrap_or_default());
        Ok(Self {
            shared: Arc::clone(shared),
            role: start.role,
            process_id: start.process_id,
            settings,
            names: Names::default(),
            block: None,
            notices: Vec::new(),
            guard,
            presence: shared.sessions.enter(activity),
            statement_start: Utc::now(),
            transaction_start: None,
            facts: None,
            listening: Listening::default(),
            past,
            series: SeriesReads::default(),
        })
    }

    /// All reportable settings with their values, for the `ParameterStatus` messages after authentication.
    pub fn reported(&self) -> Vec<(String, String)> {
        self.settings.reported()
    }

    /// Reportable settings that changed since the last call.
    pub fn take_changed(&mut self) -> Vec<(String, String)> {
        self.settings.take_changed()
    }

    /// Notices raised since the last call; SQLSTATE 00000 is a NOTICE, others are a WARNING.
    pub fn take_notices(&mut self) -> Vec<Diagnosis> {
        std::mem::take(&mut self.notices)
    }

    /// The settings that shape values on the wire, for decoding parameters.
    pub fn display(&self) -> DisplaySettings {
        self.settings.display()
    }

    /// The status for `ReadyForQuery`.
    pub fn status(&self) -> TransactionStatus {
        match &self.block {
            None => TransactionStatus::Idle,
            Some(block) if block.failed => TransactionStatus::Failed,
            Some(_) => TransactionStatus::InBlock,
        }
    }

    /// Starts a new statement: returns the token that a cancel request triggers, and starts `statement_timeout`.
    /// Called once per simple `Query` message or extended `Execute`/`Parse`/`Bind`.
    pub fn begin(&mut self) -> CancellationToken {
        self.names.read(None);
        self.statement_start = Utc::now();
        self.transaction_start.get_or_insert(self.statement_start);
        // A token that nobody has cancelled serves the next statement too: requests reach it only while one runs.
        if self.guard.cancel.is_cancelled() {
            self.guard.cancel = CancellationToken::new();
        }
        self.start_timeout();
        self.guard.cancel.clone()
    }

    /// Starts `statement_timeout` anew: each statement of a text has all of it, as it is set then.
    fn start_timeout(&mut self) {
        let timeout = self.settings.statement_timeout();
        self.guard.deadline = timeout.map(|timeout| Instant::now() + timeout);
        self.guard.timeout = timeout;
    }

    /// Splits and parses the text of a simple `Query`. An empty text gives no statements.
    ///
    /// # Errors
    /// 42601 with position, 54001 when nested too deep.
    pub fn parse(&self, text: &str) -> Result<Vec<Parsed>, Diagnosis> {
        statement::parse(text)
    }

    /// Runs one statement of a simple query. Inside a text of several (`alone` is false) they share an implicit transaction
    /// block, which [`Session::sync`] ends (PostgreSQL manual, "Multiple Statements in a Simple Query").
    ///
    /// # Errors
    /// What the statement failed with. The caller then calls [`Session::fail`].
    pub async fn run(&mut self, statement: &Parsed, alone: bool) -> Result<Execution, Diagnosis> {
        self.names.read(None);
        self.tell_start(&statement.text);
        self.check_block(&statement.kind)?;
        self.series.ends_here();
        if !alone {
            self.start_timeout();
            verbs::transaction::begin_implicit(self)?;
        }
        if verbs::is_waited_for(self, &statement.kind) {
            // A commit or a write is not stopped halfway: its outcome would be unknown.
            return verbs::run(self, statement, None, Reading::Whole).await;
        }
        let guard = self.guard.clone();
        Box::pin(guard.run(verbs::run(self, statement, None, Reading::Whole))).await?
    }

    /// Extended protocol `Parse`. An empty name replaces the unnamed statement; a zero oid asks for inference.
    ///
    /// # Errors
    /// 42P05 when the name exists, else as [`Session::parse`] and planning.
    pub async fn prepare(&mut self, name: &str, text: &str, parameter_types: &[u32]) -> Result<(), Diagnosis> {
        self.names.check_statement(name, text)?;
        // PostgreSQL drops the unnamed statement before it parses the next one, so a failure leaves none.
        if name.is_empty() {
            self.names.remove_statement(name);
        }
        let mut statements = statement::parse(text)?;
        if statements.len() > 1 {
            return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "cannot insert multiple commands into a prepared statement"));
        }
        let parsed = statements.pop();
        if let Some(parsed) = &parsed {
            self.check_block(&parsed.kind)?;
        }
        let guard = self.guard.clone();
        let prepared = guard.run(verbs::prepare(self, parsed, parameter_types)).await??;
        self.names.add_statement(name, prepared)
    }

    /// What a prepared statement needs and returns.
    ///
    /// # Errors
    /// 26000
    pub fn describe_statement(&self, name: &str) -> Result<&Description, Diagnosis> {
        Ok(&self.names.statement(name)?.description)
    }

    /// Extended protocol `Bind`, with parameters already decoded by their described types. `formats` follows the
    /// protocol: none, one for all, or one per column.
    ///
    /// # Errors
    /// 26000, 42P03 when the portal exists, 08P01 when counts do not agree.
    #[expect(clippy::unused_async, reason = "planning of custom plans moves here with the plan cache")]
    pub async fn bind(
        &mut self,
        portal: &str,
        statement: &str,
        parameters: Vec<ScalarValue>,
        formats: &[Format],
    ) -> Result<(), Diagnosis> {
        let prepared = Arc::clone(self.names.statement(statement)?);
        if let Some(parsed) = &prepared.parsed {
            self.check_block(&parsed.kind)?;
        }
        let wanted = prepared.description.parameters.len();
        if parameters.len() != wanted {
            let message = format!(
                "bind message supplies {} parameters, but prepared statement \"{statement}\" requires {wanted}",
                parameters.len()
            );
            return Err(Diagnosis::new(sqlstate::PROTOCOL_VIOLATION, message));
        }
        let columns = prepared.description.columns.as_ref().map_or(0, Vec::len);
        let formats = match formats {
            [] => vec![Format::Text; columns],
            [one] => vec![*one; columns],
            all if all.len() == columns => all.to_vec(),
            all => {
                let message = format!("bind message has {} result formats but query has {columns} columns", all.len());
                return Err(Diagnosis::new(sqlstate::PROTOCOL_VIOLATION, message));
            }
        };
        if portal.is_empty() {
            self.names.remove_portal(portal);
        }
        let since = self.savepoints_asked();
        self.names
            .add_portal(portal, Portal { statement: prepared, parameters, formats, rows: None, done: false, since, broken: false })
    }

    /// Columns and formats of a portal; `None` when it returns no rows.
    ///
    /// # Errors
    /// 34000
    pub fn describe_portal(&self, name: &str) -> Result<Option<PortalColumns<'_>>, Diagnosis> {
        let portal = self.names.portal(name)?;
        let columns = portal.statement.description.columns.as_deref();
        Ok(columns.map(|columns| (columns, portal.formats.as_slice())))
    }

    /// Starts a portal, or gives its suspended rows back. The caller reads at most `max` rows (0 means all) and returns unfinished ones
    /// with [`Session::suspend`]. A write, or a definition that its store can undo, in a series that goes on ([`Session::follow`]) begins the
    /// transaction that the series shares, which [`Session::sync`] ends.
    ///
    /// # Errors
    /// 34000, or what the statement failed with.
    pub async fn execute(&mut self, name: &str, max: usize) -> Result<(Execution, Vec<Format>), Diagnosis> {
        if let Some(parsed) = &self.names.portal(name)?.statement.parsed {
            self.check_block(&parsed.kind)?;
        }
        let portal = self.names.portal_mut(name)?;
        portal.check(name)?;
        let formats = portal.formats.clone();
        if let Some(mut rows) = portal.rows.take() {
            // Each Execute has its own timeout and its own cancel token.
            rows.resume_under(self.guard.clone());
            self.names.read(Some(name));
            return Ok((Execution::Rows(rows), formats));
        }
        let (statement, parameters) = (Arc::clone(&portal.statement), portal.parameters.clone());
        let Some(parsed) = &statement.parsed else { return Ok((Execution::Empty, formats)) };
        if portal.done {
            if statement.description.columns.is_none() {
                return Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("portal \"{name}\" cannot be run")));
            }
            return Ok((Execution::Rows(verbs::no_rows(self, &statement)), formats));
        }
        portal.done = true;
        self.names.read(Some(name));
        self.tell_start(&parsed.text);
        if self.series.goes_on() && (verbs::is_write(self, &parsed.kind) || verbs::joins_transactions(self, &parsed.kind)) {
            verbs::transaction::begin_implicit(self)?;
        }
        let guard = self.guard.clone();
        let bound = Some((statement.as_ref(), &parameters));
        let reading = if max == 0 { Reading::Whole } else { Reading::Piecemeal };
        let execution = if verbs::is_waited_for(self, &parsed.kind) {
            verbs::run(self, parsed, bound, reading).await?
        } else {
            Box::pin(guard.run(verbs::run(self, parsed, bound, reading))).await??
        };
        Ok((execution, formats))
    }

    /// Keeps the rest of a portal's rows for the next `Execute`.
    pub fn suspend(&mut self, portal: &str, rows: Rows) {
        if let Ok(portal) = self.names.portal_mut(portal) {
            portal.rows = Some(rows);
        }
    }

    /// Closes a prepared statement; unknown names are fine.
    pub fn close_statement(&mut self, name: &str) {
        self.names.remove_statement(name);
    }

    /// Closes a portal; unknown names are fine.
    pub fn close_portal(&mut self, name: &str) {
        self.names.remove_portal(name);
    }

    /// Tells that a statement failed: a block turns failed, and its portals are gone but for those of before its last savepoint.
    pub async fn fail(&mut self) {
        match self.block.as_ref().and_then(|block| block.savepoints.last()) {
            Some(savepoint) => self.names.fail_since(savepoint.id),
            None => self.names.clear_portals(),
        }
        if let Some(block) = &self.block {
            self.past.given_up(&block.opened());
        }
        match &mut self.block {
            Some(block) => block.give_up().await,
            None => self.forget_key(),
        }
    }

    /// How many savepoints the block has been asked for.
    fn savepoints_asked(&self) -> u32 {
        self.block.as_ref().map_or(0, Block::savepoints_asked)
    }

    /// [`Session::sync`] outside of any transaction block, where there is nothing that could fail; false inside of one, and nothing is
    /// done then.
    pub fn sync_idle(&mut self) -> bool {
        let is_idle = self.block.is_none();
        if is_idle {
            self.names.clear_portals();
            self.transaction_start = None;
            self.series.end();
            self.presence.activity().rest("idle", None);
        }
        is_idle
    }

    /// `Sync`, or the end of a simple query: ends an implicit transaction and drops its portals.
    ///
    /// # Errors
    /// What the commit failed with.
    pub async fn sync(&mut self) -> Result<(), Diagnosis> {
        let ended = verbs::transaction::end_implicit(self).await;
        self.transaction_start = None;
        if self.block.is_none() {
            self.names.clear_portals();
        }
        let state = match self.status() {
            TransactionStatus::Idle => "idle",
            TransactionStatus::InBlock => "idle in transaction",
            TransactionStatus::Failed => "idle in transaction (aborted)",
        };
        self.presence.activity().rest(state, self.block.as_ref().map(|block| block.started));
        ended
    }

    /// Shows what the session does from here on.
    fn tell_start(&self, text: &Arc<str>) {
        let transaction = self.block.as_ref().map_or(self.transaction_start(), |block| block.started);
        let application = self.settings.show("application_name").unwrap_or_default();
        self.presence.activity().start(text, (self.statement_start, transaction), application);
    }

    /// 25P02 in a failed block, unless the statement ends it.
    fn check_block(&self, kind: &Kind) -> Result<(), Diagnosis> {
        if self.status() == TransactionStatus::Failed && !kind.ends_block() {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Diagnosis::new(sqlstate::IN_FAILED_SQL_TRANSACTION, message));
        }
        Ok(())
    }

    /// What the next statement is planned with.
    fn setting(&mut self) -> Setting {
        let snapshot = self.snapshot();
        let path = self.search_path();
        let key = (snapshot.version, self.settings.generation());
        let facts = match &self.facts {
            Some((made_under, facts)) if *made_under == key => Arc::clone(facts),
            _ => {
                let made = Arc::new(self.make_facts(&snapshot, &path));
                self.facts = Some((key, Arc::clone(&made)));
                made
            }
        };
        let statement_start = self.statement_start;
        let now = self.block.as_ref().map_or(self.transaction_start(), |block| block.started);
        let (time_zone, display) = (self.settings.engine_time_zone(), self.settings.display());
        let pushdown = Level::of_word(self.settings.show("tributary.pushdown").unwrap_or_default());
        let shares_plans = self.settings.is_on("tributary.plan_cache") && !snapshot.is_provisional();
        let affecting = self.settings.affecting();
        let plan_mode = PlanMode::of_word(self.settings.show("plan_cache_mode").unwrap_or_default());
        Setting {
            snapshot,
            path,
            facts,
            now,
            statement_start,
            time_zone,
            display,
            pushdown,
            affecting,
            shares_plans,
            plan_mode,
            reading: Reading::default(),
            // What undoes the writes of a block is made of rows.
            rows_only: self.block.is_some() && self.several() == Several::Saga,
        }
    }

    /// When the transaction began that a statement outside of any block runs in, or that a block begun now takes over.
    fn transaction_start(&self) -> DateTime<Utc> {
        self.transaction_start.unwrap_or(self.statement_start)
    }

    /// `search_path`, with the session's role for `$user`.
    fn search_path(&self) -> SearchPath {
        let names = self.settings.search_path().into_iter();
        SearchPath::Named(names.map(|name| if name == "$user" { self.role.clone() } else { name }).collect())
    }

    /// Warns without failing.
    fn warn(&mut self, code: &str, message: &str) {
        self.notices.push(Diagnosis::new(code, message));
    }
}
