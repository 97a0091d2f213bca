//! The thread of a feed: it alone touches the connection, and nobody waits for it but who reads the feed.
//!
//! ```text
//! look: has the file changed (stir)? → data_version moved? → read transaction: head, rows → Step     nothing: Idle now and then
//!       schema_version moved? → triggers made again under the lock of what writes → Doubt
//! wait: room for the step, a command, or the next look, which comes at once where somebody else held the file
//! trim: rows that are durable elsewhere are removed, some at a time
//! ```

mod trim;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::super::super::capture::{Ended, Follow, Followed, Step};
use super::super::super::change::{Group, Transaction};
use super::super::super::value::Value;
use super::super::lost;
use super::super::own::first;
use super::super::pool::{Identity, Pool};
use super::super::scan::Database;
use super::head::{Counter, Head, Trouble, follows, head, of_another, stranger};
use super::measure::{Stand, drawn};
use super::rows::{Form, Forms, Window, window};
use super::stir::Stir;
use super::triggers::{self, Asked, Installed, Misfits, install};
use super::{Cuts, Place, is_busy, patiently};

/// How long the lock of what writes is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How long nothing can be read because somebody else holds the file, before that is told.
const BUSY_PATIENCE: Duration = Duration::from_secs(30);
/// How long a look waits for a lock by itself, in ms: those who write hold it for less, and SQLite sleeps longer each time.
const LOOK_WAIT_MS: u32 = 5;
/// How long a feed sleeps behind a look at a file that somebody else held, before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Since when the file must have been held for the feed to look no more often than usual: who holds it so long is not about to be done.
const LOOK_EAGERLY: Duration = Duration::from_secs(1);
/// How often the file of the name is looked at, also one that seems to rest, and that nothing happened is told.
const BEAT: Duration = Duration::from_secs(1);
/// Looks without news between two steps that say so.
const BEATS: u32 = 10;
/// How long at most nothing is heard while there is nothing to look at: longer than the usual poll, which sleeps once between two looks.
const REST: Duration = Duration::from_millis(50);

/// What a feed asks of its thread.
#[derive(Debug)]
pub(super) enum Command {
    Reshape { tables: Vec<Followed>, done: oneshot::Sender<Result<(), Ended>> },
    Close { done: oneshot::Sender<()> },
}

/// How the thread and its feed reach one another.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) steps: mpsc::Sender<Result<Step, Ended>>,
    pub(super) inbox: mpsc::Receiver<Command>,
    /// The last row that is durable elsewhere.
    pub(super) told: Arc<AtomicI64>,
    /// The last row that was given.
    pub(super) applied: Arc<AtomicI64>,
    /// Where looks end.
    pub(super) cuts: Arc<Cuts>,
}

/// A transaction that is given in pieces.
#[derive(Debug, Clone, Copy)]
struct Open {
    end: i64,
    /// How many entries were given.
    given: u32,
}

pub(super) struct Worker {
    pool: Arc<Pool>,
    runtime: Handle,
    identity: Identity,
    object: String,
    most: i64,
    poll: Duration,
    tables: Vec<Followed>,
    way: Way,
    forms: Forms,
    uuid: Arc<str>,
    history: u64,
    /// The last row of the last whole transaction.
    base: i64,
    /// What was drawn for it.
    base_drawn: i64,
    /// The last row that was read.
    read: i64,
    /// What was drawn for it.
    read_drawn: i64,
    open: Option<Open>,
    /// Whether there are rows behind the end of the last look.
    has_more: bool,
    /// Up to which row is removed.
    handed: i64,
    trimmed: Instant,
    /// What `data_version` said at the last look; `None` asks for another one.
    seen: Option<i64>,
    schema: i64,
    /// Whether the schema has moved since.
    is_moved: bool,
    stir: Stir,
    beat: Instant,
    quiet: u32,
    /// Since when somebody else holds the file.
    held: Option<Instant>,
}

/// What a look found.
struct Look {
    window: Window,
    /// Up to where it was to go.
    end: i64,
    /// How many entries of the transaction were given before.
    first_of: u32,
    /// What was drawn for the last row of it.
    drawn: i64,
}

impl Worker {
    pub(super) fn new(pool: Arc<Pool>, identity: Identity, object: String, follow: &Follow, tables: &[Followed], way: Way) -> Self {
        let now = Instant::now();
        Self {
            pool,
            runtime: Handle::current(),
            identity,
            object,
            most: i64::try_from(follow.max_retained).unwrap_or(i64::MAX),
            poll: follow.poll,
            tables: tables.to_vec(),
            way,
            forms: Forms::default(),
            uuid: Arc::from(""),
            history: 0,
            base: 0,
            base_drawn: 0,
            read: 0,
            read_drawn: 0,
            open: None,
            has_more: false,
            handed: 0,
            trimmed: now,
            seen: None,
            schema: 0,
            is_moved: false,
            stir: Stir::default(),
            beat: now,
            quiet: BEATS,
            held: None,
        }
    }

    /// Serves the feed on its connection; `opened` is told of which history it is once everything of ours is there.
    pub(super) fn run(
        mut self,
        mut connection: SqliteConnection,
        from: Option<Stand>,
        opened: oneshot::Sender<Result<u64, Ended>>,
    ) {
        let runtime = self.runtime.clone();
        match runtime.block_on(connection.lock_handle()) {
            Ok(mut lock) => {
                let database = Database::new(&mut lock);
                match self.begin(&database, from) {
                    Ok(()) => {
                        if opened.send(Ok(self.history)).is_ok() {
                            self.serve(&database);
                        }
                    }
                    Err(trouble) => drop(opened.send(Err(self.ended(trouble)))),
                }
            }
            Err(_crashed) => drop(opened.send(Err(Ended::Again(lost(&self.pool))))),
        }
        // The file is let go of before anybody is told that the feed has ended.
        drop(runtime.block_on(connection.close()));
    }

    fn ended(&self, trouble: Trouble) -> Ended {
        match trouble {
            Trouble::Ended(ended) => ended,
            Trouble::Store(failure) if failure.code & 0xff == libsqlite3_sys::SQLITE_READONLY => Ended::Refused {
                reason: "the database file cannot be written to".to_owned(),
                mend: "Let the account of this process write to the file and its directory.".to_owned(),
            },
            Trouble::Store(failure) => Ended::Again(self.pool.store_error(failure, None)),
        }
    }

    /// Works under the lock of what writes, and keeps all of it or nothing.
    fn locked<T>(
        &mut self,
        database: &Database<'_>,
        work: impl FnOnce(&mut Self, &Database<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let deadline = Instant::now() + LOCK_PATIENCE;
        patiently(database, "BEGIN IMMEDIATE", deadline)?;
        let done = work(self, database).and_then(|done| {
            patiently(database, "COMMIT", deadline)?;
            Ok(done)
        });
        if done.is_err() && !database.is_autocommit() {
            database.run("ROLLBACK")?;
        }
        done
    }

    fn begin(&mut self, database: &Database<'_>, from: Option<Stand>) -> Result<(), Trouble> {
        self.locked(database, |worker, database| {
            let found = worker.found(database, from)?;
            let is_fresh = from.is_none();
            let (start, handed) = match from {
                Some(stand) => (stand.place.seq, found.handed),
                None => {
                    let last = worker.begin_anew(database)?;
                    (last, last)
                }
            };
            let values = [Value::Text(worker.object.clone()), Value::Int(worker.most)];
            first(database, "UPDATE main.tributary_feed SET overflowed = 0, most = ?2 WHERE id = ?1", &values)?;
            (worker.base, worker.read, worker.handed) = (start, start, handed);
            worker.read_drawn = worker.drawn(database, start)?;
            worker.base_drawn = worker.read_drawn;
            worker.install(database, is_fresh, Misfits::Wait)
        })?;
        self.way.applied.store(self.read, Ordering::Release);
        self.way.cuts.begin(Place { history: self.history, seq: self.read }, from.is_none());
        Ok(())
    }

    /// Forgets all that is kept, and gives the number behind which rows come. Nothing that was said of rows before is true of those, so
    /// that they are of another history.
    fn begin_anew(&mut self, database: &Database<'_>) -> Result<i64, Trouble> {
        let drawn: u128 = rand::random();
        let uuid = format!("{drawn:032x}");
        self.history = Place::history_of(&uuid).unwrap_or_default();
        self.uuid = Arc::from(uuid.as_str());
        database.run("DELETE FROM main.tributary_changes")?;
        // Where the numbers were reset, they are smaller from here than what was removed before.
        let last = triggers::last_seq(database)?;
        let values = [Value::Text(self.object.clone()), Value::Text(uuid), Value::Int(last)];
        let sql = "UPDATE main.tributary_feed SET uuid = ?2, handed = ?3, w = random(), kept = 0 WHERE id = ?1";
        first(database, sql, &values)?;
        Ok(last)
    }

    /// What was drawn for a row that was read.
    fn drawn(&self, database: &Database<'_>, seq: i64) -> Result<i64, Trouble> {
        let lost = || Trouble::Ended(Ended::Lost("a row of changes that was read is not there any more".to_owned()));
        drawn(database, &self.object, seq)?.ok_or_else(lost)
    }

    /// Makes sure that a row that was read is still the same: in a file that was brought back in an older state and written to since,
    /// it is another one.
    fn check_row(&self, database: &Database<'_>, seq: i64, known: i64) -> Result<(), Trouble> {
        if self.drawn(database, seq)? == known {
            return Ok(());
        }
        Err(Trouble::Ended(Ended::Lost("the file was brought back in an older state, and written to since".to_owned())))
    }

    /// What is there, once it is ours and goes on from where we were.
    fn found(&mut self, database: &Database<'_>, from: Option<Stand>) -> Result<Head, Trouble> {
        let lost = |reason: &str| Trouble::Ended(Ended::Lost(reason.to_owned()));
        let sql = "SELECT count(*) FROM main.sqlite_schema AS s WHERE s.type = 'table' \
                   AND s.name IN ('tributary_changes', 'tributary_feed')";
        if from.is_some() && triggers::number(database, sql)? != Some(2) {
            return Err(lost("the table of changes is not there any more"));
        }
        triggers::make_tables(database)?;
        if let Some(other) = stranger(database, &self.object)? {
            let (reason, mend) = of_another(&other);
            return Err(Trouble::Ended(Ended::Refused { reason, mend }));
        }
        let head = match (head(database, &self.object)?, from) {
            (Some(head), _) => head,
            (None, Some(_)) => return Err(lost("the table of changes belongs to nobody any more")),
            (None, None) => {
                let values = [Value::Text(self.object.clone()), Value::Text(format!("{:032x}", rand::random::<u128>()))];
                let sql = "INSERT INTO main.tributary_feed (id, uuid, handed, overflowed, most) VALUES (?1, ?2, 0, 0, 0)";
                first(database, sql, &values)?;
                head(database, &self.object)?.ok_or_else(|| lost("the table of changes belongs to nobody"))?
            }
        };
        let history = Place::history_of(&head.uuid).ok_or_else(|| lost("the table of changes has no name that can be read"))?;
        if let Some(Stand { place, drawn }) = from {
            if place.history != history {
                return Err(lost("the file is another one"));
            }
            follows(&head, place.seq)?;
            self.check_row(database, place.seq, drawn)?;
        }
        (self.history, self.uuid) = (history, Arc::from(head.uuid.as_str()));
        Ok(head)
    }

    /// Brings the triggers to the tables as they are known, and keeps in mind what their rows are.
    fn install(&mut self, database: &Database<'_>, is_fresh: bool, misfits: Misfits) -> Result<(), Trouble> {
        let asked = Asked { object: &self.object, tables: &self.tables, is_fresh, misfits };
        let Installed { numbers, misfits: unfit, version } = install(database, asked)?;
        let placed: BTreeMap<i64, usize> = numbers.into_iter().collect();
        let written = triggers::forms(database)?;
        self.forms.known.retain(|number, _| written.contains_key(number));
        for (number, form) in written {
            let by_name = || self.tables.iter().position(|followed| followed.table.id.name == form.kept.table);
            let followed = placed.get(&number).copied().or_else(by_name).and_then(|at| self.tables.get(at));
            if let (Some(followed), false) = (followed, self.forms.known.contains_key(&number)) {
                self.forms.known.insert(number, Form::new(followed, &form.kept.columns));
            }
            if let Some(until) = form.until {
                self.forms.stops.entry(number).or_insert_with(|| (until, "a value of it could not be read".to_owned()));
            }
        }
        (self.schema, self.seen) = (version, None);
        // It was discovered before it was changed, and will be again.
        self.is_moved = !unfit.is_empty() && misfits == Misfits::Wait;
        Ok(())
    }

    fn serve(&mut self, database: &Database<'_>) {
        let mut counter = Counter::new(database);
        self.stir = Stir::of(self.pool.file());
        if let Err(failure) = database.run(&format!("PRAGMA busy_timeout = {LOOK_WAIT_MS}")) {
            tracing::debug!(store = %self.pool.store(), code = failure.code, "looks at the file wait for locks as all else does");
        }
        loop {
            let step = self.look(database, &mut counter).map_err(|trouble| self.ended(trouble)).transpose();
            let is_over = matches!(step, Some(Err(_)));
            if !is_over {
                self.trim(database);
            }
            if !self.wait(database, step) || is_over {
                return;
            }
        }
    }

    /// Waits until the step is taken, or for the next look. False when the feed is over.
    fn wait(&mut self, database: &Database<'_>, step: Option<Result<Step, Ended>>) -> bool {
        enum Event {
            Command(Option<Command>),
            Given(bool),
            Over,
        }
        let Some(mut step) = step.map(Some) else { return self.rest(database) };
        let runtime = self.runtime.clone();
        loop {
            let Way { steps, inbox, .. } = &mut self.way;
            let closing = self.pool.closing();
            let event = runtime.block_on(async {
                // All are cancel-safe: a command is not taken, and no step given, unless the branch runs.
                tokio::select! {
                    command = inbox.recv() => Event::Command(command),
                    room = steps.reserve() => Event::Given(room.ok().zip(step.take()).map(|(room, step)| room.send(step)).is_some()),
                    () = closing.cancelled() => Event::Over,
                }
            });
            let goes_on = match event {
                Event::Given(is_given) => return is_given,
                Event::Over => false,
                Event::Command(command) => command.is_some_and(|command| self.obey(database, command)),
            };
            if !goes_on {
                return false;
            }
        }
    }

    /// Sleeps until the next look, without a timer of the runtime, which would wake two threads for each look at a file that rests.
    fn rest(&mut self, database: &Database<'_>) -> bool {
        let is_soon_free = self.held.is_some_and(|since| since.elapsed() < LOOK_EAGERLY);
        let until = Instant::now() + if is_soon_free { self.poll.min(LOOK_AGAIN) } else { self.poll };
        loop {
            let goes_on = match self.way.inbox.try_recv() {
                Ok(command) => self.obey(database, command),
                Err(error) => error == mpsc::error::TryRecvError::Empty,
            };
            if !goes_on || self.way.steps.is_closed() || self.pool.closing().is_cancelled() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(REST));
        }
    }

    /// Does what the feed asks for. False when that was to end.
    fn obey(&mut self, database: &Database<'_>, command: Command) -> bool {
        match command {
            Command::Reshape { tables, done } => {
                let _ = done.send(self.reshape(database, tables));
                true
            }
            Command::Close { done } => {
                self.trim_now(database);
                let _ = done.send(());
                false
            }
        }
    }

    fn reshape(&mut self, database: &Database<'_>, tables: Vec<Followed>) -> Result<(), Ended> {
        self.tables = tables;
        let done = self.locked(database, |worker, database| {
            // What was discovered may be older than what moved since; then it is discovered once more.
            let is_newer = triggers::version(database)? != worker.schema;
            worker.install(database, false, if is_newer { Misfits::Wait } else { Misfits::Stop })?;
            worker.is_moved |= is_newer;
            Ok(())
        });
        done.map_err(|trouble| self.ended(trouble))
    }

    /// Looks at the file; the next step, if there is one.
    fn look(&mut self, database: &Database<'_>, counter: &mut Counter<'_>) -> Result<Option<Step>, Trouble> {
        match self.look_once(database, counter) {
            // Somebody writes; the next look will see it.
            Err(Trouble::Store(failure)) if is_busy(&failure) => {
                self.seen = None;
                let since = *self.held.get_or_insert_with(Instant::now);
                if since.elapsed() < BUSY_PATIENCE { Ok(None) } else { Err(Trouble::Store(failure)) }
            }
            found => {
                self.held = None;
                found
            }
        }
    }

    fn look_once(&mut self, database: &Database<'_>, counter: &mut Counter<'_>) -> Result<Option<Step>, Trouble> {
        if self.is_moved && self.open.is_none() {
            self.locked(database, |worker, database| worker.install(database, false, Misfits::Wait))?;
            self.is_moved = false;
            return Ok(Some(Step::Doubt(self.tables.iter().map(|followed| followed.table.id.clone()).collect())));
        }
        let is_beat = self.beat.elapsed() >= BEAT;
        if is_beat {
            self.beat = Instant::now();
            self.quiet = self.quiet.saturating_add(1);
            self.check_file()?;
        }
        let is_stirred = self.stir.may_have_changed(Instant::now());
        // What that does not notice comes with the next beat: late, but never not at all. A look that failed has left nothing in `seen`.
        if !is_stirred && !is_beat && self.open.is_none() && !self.has_more && self.seen.is_some() {
            return Ok(None);
        }
        let version = counter.read()?;
        let is_same = self.open.is_none() && self.seen.is_some() && self.seen == version;
        if is_same && !is_beat {
            return Ok(None);
        }
        database.run("BEGIN")?;
        let read = self.read(database);
        let ended = database.run("ROLLBACK");
        let look = read?;
        ended?;
        self.keep_stops(database)?;
        self.seen = version.filter(|_| !self.has_more);
        if is_same && look.end == self.base && self.quiet < BEATS {
            return Ok(None);
        }
        Ok(self.step(look))
    }

    /// Whether the name still is that of the file.
    fn check_file(&self) -> Result<(), Trouble> {
        let identity = self.runtime.block_on(self.pool.identity()).map_err(|error| Trouble::Ended(Ended::Again(error)))?;
        if identity == self.identity {
            return Ok(());
        }
        Err(Trouble::Ended(Ended::Lost("the database file has been replaced by another one".to_owned())))
    }

    /// Reads what lies behind the last row that was read.
    fn read(&mut self, database: &Database<'_>) -> Result<Look, Trouble> {
        let lost = |reason: &str| Trouble::Ended(Ended::Lost(reason.to_owned()));
        let head = head(database, &self.object)?.ok_or_else(|| lost("the table of changes belongs to nobody any more"))?;
        if *head.uuid != *self.uuid {
            return Err(lost("the table of changes was made anew"));
        }
        follows(&head, self.read)?;
        self.check_row(database, self.read, self.read_drawn)?;
        self.is_moved |= triggers::version(database)? != self.schema;
        let (end, first_of) = match self.open {
            Some(open) => (open.end, open.given),
            None => (self.way.cuts.end(self.read, head.last), 0),
        };
        self.has_more = end < head.last;
        let window = window(database, &mut self.forms, self.read, end)?;
        let drawn = if window.upto > self.read { self.drawn(database, window.upto)? } else { self.read_drawn };
        Ok(Look { window, end, first_of, drawn })
    }

    /// Takes the triggers of tables that have just been stopped away, so that whoever follows them again begins anew.
    fn keep_stops(&mut self, database: &Database<'_>) -> Result<(), Trouble> {
        if self.forms.stops.is_empty() {
            return Ok(());
        }
        let written = triggers::forms(database)?;
        let is_new = |number: &i64| written.get(number).is_some_and(|form| form.until.is_none());
        let stops: Vec<(i64, i64)> =
            self.forms.stops.iter().filter(|(number, _)| is_new(number)).map(|(number, (seq, _))| (*number, *seq)).collect();
        if stops.is_empty() {
            return Ok(());
        }
        self.locked(database, |worker, database| {
            let is_known = triggers::version(database)? == worker.schema;
            for (number, seq) in stops {
                triggers::stop(database, &worker.object, number, seq)?;
            }
            if is_known {
                worker.schema = triggers::version(database)?;
            }
            Ok(())
        })
    }

    /// Moves on behind a window, and says what it was.
    fn step(&mut self, look: Look) -> Option<Step> {
        let Look { window: Window { rows, entries, upto, is_whole }, end, first_of, drawn } = look;
        let given = first_of.saturating_add(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        let is_nothing = entries.is_empty() && (first_of == 0 || !is_whole);
        (self.read, self.read_drawn) = (upto.max(self.read), drawn);
        self.open = (!is_whole).then_some(Open { end, given });
        if is_whole {
            (self.base, self.base_drawn) = (end, drawn);
            self.way.applied.store(end, Ordering::Release);
        }
        if is_nothing {
            return is_whole.then(|| self.idle());
        }
        self.quiet = 0;
        let position = Place { history: self.history, seq: end }.position(self.pool.store());
        let transaction = Transaction {
            id: end.to_string(),
            position,
            origin: None,
            committed_us: None,
            first: first_of,
            entries,
            ends: is_whole,
        };
        Some(Step::Group(Group {
            store: self.pool.store().clone(),
            identity: Arc::clone(&self.uuid),
            transactions: vec![transaction],
            rows,
            resume: self.stand().resume(),
            received_ms: now_ms(),
        }))
    }

    fn idle(&mut self) -> Step {
        self.quiet = 0;
        let stand = self.stand();
        Step::Idle { position: stand.place.position(self.pool.store()), resume: stand.resume() }
    }

    /// Behind the last whole transaction.
    fn stand(&self) -> Stand {
        Stand { place: Place { history: self.history, seq: self.base }, drawn: self.base_drawn }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
