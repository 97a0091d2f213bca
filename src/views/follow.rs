//! One task a view: it plans the view over each version of the catalog, and keeps its rows as that says.
//!
//! ```text
//! planned ── every table is asked to be cached ──> newest sets ── differences, or the query over them ──> published
//!        │                                            ↑ after a pause └ failed, too large: withdrawn, its query is run
//!        └── some are not ──> filled once, and by REFRESH ──> published
//! ```
//!
//! **Invariants:** what is published is of one set for each store; rows whose tables have left the sets are withdrawn; a view that means
//! something else is built anew before it is read again.

mod look;
mod query;
mod refresh;
mod way;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::engine::Program;
use super::maintain::{Maintained, Pinned};
use super::output::Output;
use super::recompute::Failed;
use super::serve::{Kept, State};
use super::status::ViewState;
use super::{Ground, Request, ViewEntry, ViewIndex, Views};
use crate::cache::{Reading, Sets, TableVersion};
use crate::error::Diagnosis;
use crate::federation::kept_query::{KeptQuery, Optimized, Tables};
use crate::stores::StoreName;
use crate::stores::schema::TableId;
use crate::task::{Backoff, OwnedTask};
use way::{Took, Way};

/// States of tables, by their names.
type Versions = BTreeMap<(StoreName, TableId), Arc<TableVersion>>;

/// Sets, by their stores.
type Readings = BTreeMap<StoreName, Arc<Reading>>;

/// What a view means.
#[derive(Clone)]
struct Plan {
    query: KeptQuery,
    way: Way,
    /// Whether its rows may be others each time that it is run over the same tables.
    is_of_order: bool,
    tables: Tables,
    schema: SchemaRef,
    shows: bool,
    signature: String,
}

/// The rows of a view that follows its tables.
enum Standing {
    Steps(Box<Maintained>),
    /// Also where the keys of what has changed serve.
    Whole {
        output: Output,
        seen: Versions,
    },
}

impl Standing {
    fn output(&self) -> &Output {
        match self {
            Self::Steps(maintained) => &maintained.output,
            Self::Whole { output, .. } => output,
        }
    }

    /// The states of its tables that are in the rows; none where those came from the stores.
    fn seen(&self) -> &Versions {
        match self {
            Self::Steps(maintained) => &maintained.seen,
            Self::Whole { seen, .. } => seen,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Steps(maintained) => maintained.bytes(),
            Self::Whole { output, .. } => u64::try_from(output.bytes()).unwrap_or(u64::MAX),
        }
    }
}

/// How the view is kept now.
enum Keeping {
    /// As the plan says, with copies.
    Copies,
    /// Its tables are going to be asked for, or are not.
    Unknown,
    /// By REFRESH.
    Refresh,
}

/// What happens next.
enum Event {
    Stop,
    Asked,
    Version,
    Requested(Request),
    Moved,
    Due,
}

/// The task of one view.
pub(super) struct Keeper {
    views: Arc<Views>,
    ground: Ground,
    kept: Arc<Kept>,
    asked: watch::Receiver<Arc<ViewEntry>>,
    versions: watch::Receiver<u64>,
    inbox: mpsc::Receiver<Request>,
    /// Of the catalog, as it was planned over last.
    version: u64,
    plan: Option<Arc<Plan>>,
    sets: Option<Sets>,
    standing: Option<Standing>,
    /// Whether its rows came from the stores since it was planned.
    is_filled: bool,
    /// When its tables should have been asked for; `None`: that has passed.
    settles: Option<Instant>,
    backoff: Backoff,
    /// Nothing is tried before this.
    due: Option<Instant>,
    /// When it is looked at again, since what it waits for may have come.
    looks: Option<Instant>,
    /// Tables that are read in their store only, with the reason as a clause.
    refused: BTreeMap<(StoreName, TableId), String>,
    /// Whether it has had rows that followed its tables.
    has_followed: bool,
    /// Since when a change waits for being computed.
    changed: Option<Instant>,
    /// How long that one waits for others at least.
    pause: Duration,
    /// How long the last computations took.
    took: Took,
    /// Whether the last try has failed, which is told until there are rows.
    has_failed: bool,
    /// It is not tried again before somebody has done something.
    is_given_up: bool,
    has_ended: bool,
}

impl Keeper {
    /// The task of a view; `None` where it has one, or where nothing is ever kept.
    pub(super) fn of(views: &Arc<Views>, kept: &Arc<Kept>) -> Option<Self> {
        let ground = views.ground.clone()?;
        let pace = views.pace;
        Some(Self {
            views: Arc::clone(views),
            asked: kept.asked(),
            versions: ground.catalog.versions(),
            inbox: kept.take_inbox()?,
            kept: Arc::clone(kept),
            ground,
            version: 0,
            plan: None,
            sets: None,
            standing: None,
            is_filled: false,
            settles: None,
            backoff: Backoff::new(pace.backoff.0, pace.backoff.1),
            due: None,
            looks: None,
            refused: BTreeMap::new(),
            has_followed: false,
            changed: None,
            pause: Duration::ZERO,
            took: Took::default(),
            has_failed: false,
            is_given_up: false,
            has_ended: false,
        })
    }

    /// Keeps the view until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        self.make_plan().await;
        loop {
            // What is under way is of no use to anybody when it stops.
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.go_on() => {}
            }
            match self.event(&stop).await {
                Event::Stop => break,
                Event::Asked => {
                    self.asked.borrow_and_update();
                    (self.due, self.is_given_up) = (None, false);
                    self.make_plan().await;
                }
                Event::Version => self.make_plan().await,
                Event::Requested(request) => {
                    let refreshed = tokio::select! {
                        () = stop.cancelled() => break,
                        refreshed = self.refresh(request.verify) => refreshed,
                    };
                    // Whoever has asked may have left.
                    request.answer.send(refreshed).ok();
                }
                Event::Moved | Event::Due => {}
            }
        }
        self.has_ended = true;
    }

    /// Cancel-safe, every part of it.
    async fn event(&mut self, stop: &CancellationToken) -> Event {
        let due = self.next_due().map(tokio::time::Instant::from_std);
        let Self { asked, versions, inbox, sets, .. } = self;
        let moved = async {
            match sets {
                Some(sets) => sets.changed().await,
                None => std::future::pending().await,
            }
        };
        let waited = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => Event::Stop,
            changed = asked.changed() => if changed.is_ok() { Event::Asked } else { Event::Stop },
            changed = versions.changed() => if changed.is_ok() { Event::Version } else { Event::Stop },
            request = inbox.recv() => request.map_or(Event::Stop, Event::Requested),
            () = moved => Event::Moved,
            () = waited => Event::Due,
        }
    }

    /// When something is to be done by itself.
    fn next_due(&self) -> Option<Instant> {
        let computed = self.changed.map(|changed| self.computed_at(changed));
        [self.due, computed, self.settles, self.looks].into_iter().flatten().min()
    }

    /// When the query is run for a change: others are gathered before that, and half of the time at least nothing is computed.
    fn computed_at(&self, changed: Instant) -> Instant {
        changed + self.views.settings.debounce.max(self.pause)
    }

    /// Plans the view over the catalog as it is now. Where it means the same as before nothing is built anew.
    async fn make_plan(&mut self) {
        let version = *self.versions.borrow_and_update();
        match self.planned().await {
            Ok(plan) => {
                let is_same = self.plan.as_ref().is_some_and(|known| known.signature == plan.signature);
                if !is_same {
                    self.forget();
                    // Its rows are of columns and tables that are not its own any more.
                    self.kept.withdraw();
                    (self.due, self.is_given_up) = (None, false);
                    self.refused.clear();
                    self.settles = Some(Instant::now() + self.views.pace.settle);
                    self.sets = Some(self.ground.caches.sets(plan.tables.keys()));
                    self.plan = Some(Arc::new(plan));
                } else if let Some(known) = &self.plan {
                    // What reads stores holds the connectors of now.
                    self.plan = Some(Arc::new(Plan { query: plan.query, ..known.as_ref().clone() }));
                }
            }
            Err(error) => {
                self.forget();
                (self.plan, self.sets, self.settles, self.due, self.looks) = (None, None, None, None, None);
                self.kept.withdraw();
                self.kept.stands(
                    ViewState::Waiting,
                    Some(&format!("it cannot be planned: {}", error.detail.as_deref().unwrap_or(&error.message))),
                );
                self.kept.tally.left("not-planned");
            }
        }
        self.version = version;
    }

    /// Nothing that was computed is gone on with.
    fn forget(&mut self) {
        (self.standing, self.changed, self.is_filled) = (None, None, false);
        self.views.memory.remove(&self.kept.name);
    }

    async fn planned(&self) -> Result<Plan, Diagnosis> {
        let (name, owner) = (&self.kept.name, self.asked.borrow().owner.clone());
        let (engine, snapshot) = (&self.ground.engine, self.ground.catalog.snapshot());
        let query = KeptQuery::plan(engine, &snapshot, (&name.schema, &name.name), &owner).await?;
        let Optimized { plan, state, tables, schema, unsettled, shows, signature } = query.optimized(engine).await?;
        let way = match unsettled {
            Some(reason) => Way::Refresh(reason.to_owned()),
            None if tables.is_empty() => Way::Refresh("it reads no table".to_owned()),
            None => Way::of(&plan, &schema, &state),
        };
        let is_of_order = way.is_of_order(&plan, &state);
        Ok(Plan { query, way, is_of_order, tables, schema, shows, signature })
    }

    /// What follows from whatever has happened.
    async fn go_on(&mut self) {
        // What has passed is acted on now, and wakes nobody again.
        self.due.take_if(|due| *due <= Instant::now());
        self.settles.take_if(|settles| *settles <= Instant::now());
        self.looks.take_if(|looks| *looks <= Instant::now());
        let Some(plan) = self.plan.clone() else {
            self.kept.planned.send_replace(self.version);
            return;
        };
        let keeping = self.look(&plan);
        // Who waits for the plan finds what is kept of the view by it.
        self.kept.planned.send_replace(self.version);
        if !matches!(keeping, Keeping::Copies) {
            self.changed = None;
        }
        if !self.kept.is_populated() {
            self.forget();
            self.kept.withdraw();
            return self.kept.stands(ViewState::Empty, None);
        }
        match keeping {
            Keeping::Copies => self.keep_up(&plan).await,
            Keeping::Unknown => self.kept.stands(ViewState::Waiting, Some("its tables are not asked to be cached yet")),
            Keeping::Refresh if self.is_filled => {}
            Keeping::Refresh => match self.left_by_feed() {
                Some(reason) => self.kept.stands(ViewState::Waiting, Some(&reason)),
                None if self.is_put_off() => {}
                None => match self.fill(&plan).await {
                    Ok(()) => {}
                    Err(failed) => self.failed(&failed),
                },
            },
        }
    }

    fn is_put_off(&self) -> bool {
        self.is_given_up || self.due.is_some()
    }

    /// Takes the newest sets into the rows.
    async fn keep_up(&mut self, plan: &Arc<Plan>) {
        let pinned = match self.pinned(plan) {
            Ok(pinned) => pinned,
            Err(reason) => {
                self.forget();
                self.kept.withdraw();
                self.look_again();
                return self.kept.stands(ViewState::Waiting, Some(&reason));
            }
        };
        if self.is_put_off() {
            return;
        }
        if let Some(standing) = &self.standing {
            if pinned.has_same(standing.seen()) {
                // Nothing of it has changed but how much is known of it.
                self.changed = None;
                return self.publish(plan, &pinned);
            }
            // Keys wait as well: those of many changes are asked for at once.
            if let Standing::Whole { seen, .. } = standing
                && matches!(plan.way, Way::Keys(..) | Way::Whole(_))
            {
                self.pause = self.took.of(plan.way.expects_keys(seen, &pinned));
                let changed = *self.changed.get_or_insert_with(Instant::now);
                if self.computed_at(changed) > Instant::now() {
                    return;
                }
            }
        }
        match self.compute(plan, &pinned).await {
            Ok(()) => {}
            // All of it is read again, at once.
            Err(Failed::Lost) => match self.compute(plan, &pinned).await {
                Ok(()) => {}
                Err(failed) => self.failed(&failed),
            },
            Err(failed) => self.failed(&failed),
        }
    }

    /// One set of each store, with all the tables in it; else what is missing, as a clause.
    fn pinned(&mut self, plan: &Plan) -> Result<Pinned, String> {
        let readings = self.sets.as_mut().map(Sets::readings).unwrap_or_default();
        let mut versions = Versions::new();
        for (store, tables) in &plan.tables {
            for (id, table) in tables {
                let lacks = || {
                    let reason = self.ground.caches.lack(store, id).map(|reason| format!(": {reason}")).unwrap_or_default();
                    format!("table \"{}\" of store \"{store}\" has no copy now{reason}", id.name)
                };
                let version = readings.get(store).and_then(|reading| reading.version(id)).ok_or_else(lacks)?;
                if version.table().schema.fields() != table.schema.fields() {
                    return Err(format!("the copy of table \"{}\" of store \"{store}\" has other columns", id.name));
                }
                versions.insert((store.clone(), id.clone()), Arc::clone(version));
            }
        }
        Ok(Pinned { readings, tables: versions })
    }

    /// The rows over these sets, from what there is; published.
    async fn compute(&mut self, plan: &Arc<Plan>, pinned: &Pinned) -> Result<(), Failed> {
        let began = Instant::now();
        let before = self.standing.take();
        let is_built = before.is_none();
        let expects_keys = before.as_ref().is_some_and(|before| plan.way.expects_keys(before.seen(), pinned));
        if is_built {
            self.stands_filling();
        }
        let (standing, is_keyed) = match &plan.way {
            Way::Steps(program) => (self.stepped((plan, program), pinned, before).await?, false),
            Way::Keys(..) | Way::Whole(_) => self.computed(plan, pinned, before).await?,
            Way::Refresh(_) => return Err(Failed::Lost),
        };
        let bytes = standing.bytes();
        let left = self.left();
        if bytes > left {
            return Err(Failed::TooLarge(left));
        }
        if self.has_own_index(plan) {
            self.check_unique(standing.output().version()).await?;
        }
        // What it means may be something else since this began, and nothing of before is shown.
        if self.is_outdated(plan).await {
            return Err(Failed::Lost);
        }
        self.views.memory.set(&self.kept.name, bytes);
        self.standing = Some(standing);
        (self.has_followed, self.is_filled) = (true, false);
        (self.changed, self.due) = (None, None);
        self.took.set((expects_keys, is_keyed), began.elapsed());
        self.has_failed = false;
        self.backoff.reset();
        let tally = &self.kept.tally;
        if is_built {
            tally.built.add(1)
        } else {
            tally.steps.add(1)
        }
        if is_keyed {
            tally.keyed.add(1);
        }
        self.publish(plan, pinned);
        self.kept.stands(ViewState::Kept, None);
        self.kept.measure(bytes);
        Ok(())
    }

    /// Whether the view means something else by now than when it was planned, which is about to be acted on.
    async fn is_outdated(&self, plan: &Plan) -> bool {
        let has_changed = self.versions.has_changed().unwrap_or(true);
        has_changed && self.planned().await.is_ok_and(|now| now.signature != plan.signature)
    }

    /// Whether some unique index says more than what the rows are told apart by anyway.
    fn has_own_index(&self, plan: &Plan) -> bool {
        let key = match &plan.way {
            Way::Steps(program) => program.key(),
            Way::Keys(..) | Way::Whole(_) | Way::Refresh(_) => None,
        };
        let tells_apart =
            |index: &ViewIndex| key.as_ref().is_some_and(|key| key.iter().all(|column| index.columns.contains(column)));
        let is_own = |index: &ViewIndex| index.is_unique && !tells_apart(index);
        self.asked.borrow().indexes.iter().any(is_own)
    }

    /// Rows are on their way where there are none.
    fn stands_filling(&self) {
        if self.kept.state().is_none() && !self.has_failed {
            self.kept.stands(ViewState::Filling, None);
        }
    }

    fn publish(&self, plan: &Plan, pinned: &Pinned) {
        let Some(standing) = &self.standing else { return };
        let rows = Arc::clone(standing.output().version());
        let readings = pinned.readings.clone();
        let (columns, began) = (plan.schema.fields().len(), tokio::time::Instant::now());
        self.kept.publish(State { rows, columns, readings, began });
    }

    async fn stepped(
        &self,
        (plan, program): (&Arc<Plan>, &Arc<Program>),
        pinned: &Pinned,
        before: Option<Standing>,
    ) -> Result<Standing, Failed> {
        let maintained = match before {
            Some(Standing::Steps(maintained)) => maintained,
            _ => {
                let output = self.output(plan, Some(program.as_ref()))?;
                Box::new(Maintained::new(program, output, Arc::clone(&plan.schema)))
            }
        };
        let (pinned, most) = (pinned.clone(), self.left());
        aside(move |cancel| maintained.step(&pinned, most, cancel).map(|maintained| Standing::Steps(Box::new(maintained)))).await
    }

    /// Nothing yet of the view's rows.
    fn output(&self, plan: &Plan, program: Option<&Program>) -> Result<Output, Failed> {
        let name = &self.kept.name;
        let id = TableId { namespace: name.schema.clone(), name: name.name.clone() };
        let key = program.and_then(Program::key);
        Output::new(id, &plan.schema, key.as_deref()).map_err(|error| Failed::Broken(error.to_string()))
    }

    /// How many bytes it may take.
    fn left(&self) -> u64 {
        self.views.memory.left(&self.kept.name, self.views.settings.memory_bytes)
    }

    /// There are no rows: its query is run instead, and they are made again after a while. Of a view that is too large they are not, but where
    /// only older rows have been in its way, which slow readers let go of.
    fn failed(&mut self, failed: &Failed) {
        let is_held_up = self.views.memory.is_held_up(&self.kept.name);
        self.forget();
        self.kept.withdraw();
        self.kept.tally.left(failed.word());
        (self.has_failed, self.is_given_up) = (true, matches!(failed, Failed::TooLarge(_)) && !is_held_up);
        self.due = (!self.is_given_up).then(|| Instant::now() + self.backoff.next_wait());
        self.kept.stands(ViewState::Waiting, Some(&failed.reason()));
    }
}

/// Does work without a pause where nobody waits for it. What is under way when this is dropped ends where it looks whether it is to.
async fn aside<T: Send + 'static>(
    work: impl FnOnce(&CancellationToken) -> Result<T, Failed> + Send + 'static,
) -> Result<T, Failed> {
    let cancel = CancellationToken::new();
    let _ended = cancel.clone().drop_guard();
    let done = OwnedTask::spawn_blocking(move || work(&cancel)).join().await;
    done.unwrap_or_else(|| Err(Failed::Broken("there was a fault while they were computed".to_owned())))
}

impl Drop for Keeper {
    /// Nothing keeps the view any more, and what is not kept is not shown.
    fn drop(&mut self) {
        self.kept.withdraw();
        self.views.memory.remove(&self.kept.name);
        let is_there = self.views.kept(&self.kept.name).is_some_and(|kept| Arc::ptr_eq(&kept, &self.kept));
        if is_there && !self.has_ended {
            self.kept.stands(ViewState::Waiting, Some("nothing keeps it any more; start the server again"));
        }
    }
}
