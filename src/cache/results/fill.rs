//! A query is run over states of its stores of which it is known what they have, and its result is kept where that is everything that
//! happened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;

use super::ring::Unproven;
use super::track::{Track, Version};
use super::{ENTRY_BYTES, Entry, Input, Key, Rejected, Results, Rows, Standing};
use crate::cache::Rule;
use crate::stores::position::Position;
use crate::stores::schema::{TableId, TableKind};
use crate::stores::{Branch, Connector, StoreName, Table};

/// States of stores that a query is run over, so that its result can be kept.
#[derive(Debug)]
pub struct Fill {
    began: Instant,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    track: Arc<Track>,
    connector: Arc<dyn Connector>,
    tables: Vec<TableId>,
    history: u64,
    version: Version,
    branch: Option<Arc<dyn Branch>>,
    /// When the store stops showing the state.
    ends: Option<Instant>,
}

impl Fill {
    /// Through what each store is to be read that shows a state of its own.
    pub fn branches(&self) -> BTreeMap<StoreName, Arc<dyn Branch>> {
        let shown = self.parts.iter().filter_map(|part| Some((part.connector.name().clone(), Arc::clone(part.branch.as_ref()?))));
        shown.collect()
    }
}

impl Results {
    /// Opens states of the stores to run a query over.
    ///
    /// # Errors
    /// A result of these tables cannot be kept now, or at all.
    pub async fn begin(&self, inputs: &[Input]) -> Result<Fill, Rejected> {
        if inputs.iter().all(|input| input.tables.is_empty()) {
            return Err(Rejected::new("no-tables", "it reads no table"));
        }
        let mut tracks = Vec::with_capacity(inputs.len());
        for input in inputs {
            let store = input.connector.name();
            input.tables.iter().try_for_each(|table| self.check_followed(store, table))?;
            let track = self.track(store);
            if !track.want(input.tables.iter().map(|table| &table.id)) {
                return Err(Rejected::new("too-many", format!("too many tables of store \"{store}\" are followed for results")));
            }
            tracks.push(track);
        }
        let mut parts = Vec::with_capacity(inputs.len());
        for (input, track) in inputs.iter().zip(tracks) {
            let tables: Vec<TableId> = input.tables.iter().map(|table| table.id.clone()).collect();
            let ready = tokio::time::timeout(self.settings.ready, ready(&track, &tables)).await;
            let not = |_late| Rejected::new("not-ready", format!("tables of store \"{}\" are not followed yet", track.store));
            parts.push((input, ready.map_err(not)?, tables, track));
        }
        // Behind the moment at which all of them are followed.
        let began = Instant::now();
        let mut opened = Vec::with_capacity(parts.len());
        for (input, history, tables, track) in parts {
            opened.push(self.open(input, history, tables, track).await?);
        }
        Ok(Fill { began, parts: opened })
    }

    fn check_followed(&self, store: &StoreName, table: &Table) -> Result<(), Rejected> {
        let rejected = |reason: String| Err(Rejected::new("not-followed", format!("table \"{}\" {reason}", table.id.name)));
        if !matches!(table.kind, TableKind::Table | TableKind::Collection) {
            return rejected("is a view, whose changes no store tells".to_owned());
        }
        match self.feeds.subscribed_from(store, &table.id) {
            Ok(shape) => match &shape.unseen {
                Some(unseen) => rejected(format!("may change without an event: {unseen}")),
                None => Ok(()),
            },
            Err(not) => rejected(format!("is not followed: {}", not.reason)),
        }
    }

    async fn open(&self, input: &Input, history: u64, tables: Vec<TableId>, track: Arc<Track>) -> Result<Part, Rejected> {
        let connector = Arc::clone(&input.connector);
        let store = connector.name().clone();
        if !self.feeds.runs_over(&store, &connector) {
            return Err(Rejected::new("not-ready", format!("the feed of store \"{store}\" has not begun")));
        }
        if !self.feeds.has_looked(&store) {
            return Err(Rejected::new("not-ready", format!("the feed of store \"{store}\" has not looked at its tables yet")));
        }
        let state = match connector.capture() {
            Some(capture) => match capture.state(&input.tables).await {
                Ok(state) => state.map(|state| (capture, state)),
                Err(error) => return Err(Rejected::new("no-state", error.to_string())),
            },
            None => None,
        };
        Ok(match state {
            Some((capture, state)) => {
                let version = match Rule::Contained.is_kept(self.settings.without) {
                    true => Version::Exact { capture, version: state.version, look_back: state.look_back },
                    // What was told before the query began counts as seen by it.
                    false => Version::Quiet(Duration::ZERO),
                };
                Part { track, connector, tables, history, version, branch: Some(state.branch), ends: Some(state.ends) }
            }
            None => {
                let version = Version::Quiet(self.settings.quiet);
                Part { track, connector, tables, history, version, branch: None, ends: None }
            }
        })
    }

    /// Keeps the rows of a query that has read nothing but a fill, whose branches nobody else holds any more.
    ///
    /// # Errors
    /// It is not proven that they have everything that happened, or they are too large.
    pub async fn keep(&self, key: &Key, fill: Fill, rows: Rows) -> Result<(), Rejected> {
        let bytes = rows.batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
        let bytes = bytes.saturating_add(key.0.bytes()).saturating_add(ENTRY_BYTES);
        if bytes > self.result_bytes_max() {
            return Err(too_large(self.result_bytes_max()));
        }
        let Fill { began, mut parts } = fill;
        if parts.is_empty() {
            return Err(Rejected::new("no-tables", "it reads no table"));
        }
        let is_quiet = parts.iter().any(|part| part.branch.is_none());
        let now = Instant::now();
        if parts.iter().any(|part| part.ends.is_some_and(|ends| now >= ends)) {
            return Err(Rejected::new("no-state", "its store did not show one state for as long as reading it took"));
        }
        // All of them, before any store is asked where it is: one may have to wait until its state is shown no more, to say so.
        parts.iter_mut().for_each(|part| part.branch = None);
        let mut stores = Vec::with_capacity(parts.len());
        for part in parts {
            let bound = self.bound(&part.connector).await?;
            stores.push((part, bound));
        }
        let mut standings = Vec::with_capacity(stores.len());
        for (part, bound) in stores {
            let Part { track, connector, tables, history, version, .. } = part;
            let mark = track.mark(&tables, (began, history), &version).map_err(|unproven| unproven_of(&track.store, unproven))?;
            // In this order: whoever is not followed any more was told of in an event before.
            for table in &tables {
                if let Err(not) = self.feeds.subscribed_from(&track.store, table) {
                    return Err(Rejected::new("not-followed", not.reason));
                }
            }
            standings.push(Standing { track, connector: Arc::downgrade(&connector), mark, bound });
        }
        let until = is_quiet.then(|| began + self.settings.quiet_age);
        self.kept.insert(key.clone(), Arc::new(Entry { rows, stores: standings, until, bytes }));
        self.tally.filled.add(1);
        Ok(())
    }

    /// A position that everything is at or before that was visible until now.
    async fn bound(&self, connector: &Arc<dyn Connector>) -> Result<Position, Rejected> {
        let store = connector.name();
        let silent = || Rejected::new("no-position", format!("store \"{store}\" has not said in time where it is"));
        let follow = self.feeds.follow(store).ok_or_else(silent)?;
        let asked = connector.position(self.feeds.instance(), &follow);
        match tokio::time::timeout(self.settings.patience, asked).await {
            Ok(Ok(position)) => Ok(position),
            Ok(Err(_)) | Err(_) => Err(silent()),
        }
    }
}

/// Waits until tables are followed; gives the history that they are followed in.
async fn ready(track: &Track, tables: &[TableId]) -> u64 {
    let mut moved = track.moved();
    loop {
        moved.borrow_and_update();
        if let Some(history) = track.history_of(tables) {
            return history;
        }
        if moved.changed().await.is_err() {
            // Who waits has a limit.
            std::future::pending::<()>().await;
        }
    }
}

/// A result takes more than it may.
pub fn too_large(most: usize) -> Rejected {
    Rejected::new("too-large", format!("it takes more than {} KiB, an eighth of cache.results", most >> 10))
}

fn unproven_of(store: &StoreName, unproven: Unproven) -> Rejected {
    match unproven {
        Unproven::Unknown => {
            Rejected::new("unknown", format!("it is not known what happened in store \"{store}\" just before it was read"))
        }
        Unproven::Happened => {
            Rejected::new("changed", format!("a table of store \"{store}\" has changed while it was read, or just before"))
        }
    }
}
