//! How copies stand, as views and metrics tell it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::version::TableVersion;
use crate::stores::StoreName;
use crate::stores::schema::TableId;
use crate::telemetry::log::Line;
use crate::telemetry::metrics::Count;

/// How the copy of a table stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CopyState {
    /// Its rows are being read, or its feed has to pass what was read.
    Loading,
    /// It is served.
    Cached,
    /// The table is read in its store only, until somebody does something.
    StoreOnly,
    /// It is loaded by itself as soon as that is possible.
    Waiting,
}

impl CopyState {
    /// All of them, for metrics.
    pub const ALL: [Self; 4] = [Self::Loading, Self::Cached, Self::StoreOnly, Self::Waiting];

    /// The word that operators see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Cached => "cached",
            Self::StoreOnly => "store-only",
            Self::Waiting => "waiting",
        }
    }
}

/// A copy as it stands now.
#[derive(Debug, Clone)]
pub struct ShownCopy {
    /// The store.
    pub store: StoreName,
    /// The table in the store's own names.
    pub table: TableId,
    /// In SQL: schema and name, where it is shown.
    pub label: Option<(String, String)>,
    /// How it stands.
    pub state: CopyState,
    /// Why, as a clause.
    pub reason: Option<String>,
    /// How many rows it has.
    pub rows: u64,
    /// How many bytes of memory it takes, about.
    pub bytes: u64,
    /// The place of the last entry among the events of its store that is in it, where one came since it was loaded.
    pub position: Option<String>,
    /// At most so old is what it shows; `None` where that is not known.
    pub staleness: Option<Duration>,
    /// How often it was read.
    pub served: u64,
    /// How often the store was read though there is a copy.
    pub fell_through: u64,
    /// How often a read has waited for it.
    pub waited: u64,
    /// Since when it stands so.
    pub since: DateTime<Utc>,
}

/// How a copy was used.
#[derive(Debug, Default)]
pub(super) struct Uses {
    pub(super) served: Count,
    pub(super) fell_through: Count,
    pub(super) waited: Count,
}

/// How the copy of one table stands.
#[derive(Debug, Clone)]
pub(super) struct Stand {
    pub(super) state: CopyState,
    pub(super) reason: Option<String>,
    pub(super) since: DateTime<Utc>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) uses: Arc<Uses>,
}

/// How the copies of one store stand.
#[derive(Debug)]
pub(super) struct Stands {
    store: StoreName,
    tables: Mutex<BTreeMap<TableId, Stand>>,
}

impl Stands {
    pub(super) fn new(store: &StoreName) -> Self {
        Self { store: store.clone(), tables: Mutex::new(BTreeMap::new()) }
    }

    fn tables(&self) -> MutexGuard<'_, BTreeMap<TableId, Stand>> {
        // What a panic left behind are whole values.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, in name order.
    pub(super) fn all(&self) -> BTreeMap<TableId, Stand> {
        self.tables().clone()
    }

    /// Whether a table is wanted.
    pub(super) fn is_known(&self, table: &TableId) -> bool {
        self.tables().contains_key(table)
    }

    /// Sets how a table stands. One log line for each change of the state.
    pub(super) fn set(&self, table: &TableId, state: CopyState, reason: Option<&str>) {
        let mut tables = self.tables();
        let new = || Stand { state, reason: None, since: Utc::now(), rows: 0, bytes: 0, uses: Arc::default() };
        let is_new = !tables.contains_key(table);
        let stand = tables.entry(table.clone()).or_insert_with(new);
        stand.reason = reason.map(str::to_owned);
        let has_changed = is_new || stand.state != state;
        if has_changed {
            (stand.state, stand.since) = (state, Utc::now());
        }
        if state != CopyState::Cached {
            (stand.rows, stand.bytes) = (0, 0);
        }
        drop(tables);
        if has_changed {
            self.tell(table, state, reason.unwrap_or_default());
        }
    }

    fn tell(&self, table: &TableId, state: CopyState, reason: &str) {
        let (store, name) = (&self.store, format!("{}.{}", table.namespace, table.name));
        let (table, reason) = (Line(&name), Line(reason));
        match state {
            CopyState::Loading => tracing::debug!(%store, %table, "the copy of the table is being loaded"),
            CopyState::Cached => tracing::info!(%store, %table, "the table is served from its copy"),
            CopyState::StoreOnly => tracing::warn!(%store, %table, %reason, "the table has no copy"),
            CopyState::Waiting => tracing::info!(%store, %table, %reason, "the copy of the table waits for being loaded"),
        }
    }

    /// How large a copy is that is served.
    pub(super) fn measure(&self, table: &TableId, version: &TableVersion) {
        if let Some(stand) = self.tables().get_mut(table) {
            stand.rows = u64::try_from(version.rows()).unwrap_or(u64::MAX);
            stand.bytes = u64::try_from(version.bytes()).unwrap_or(u64::MAX);
        }
    }

    /// How a table is used.
    pub(super) fn uses(&self, table: &TableId) -> Arc<Uses> {
        self.tables().get(table).map(|stand| Arc::clone(&stand.uses)).unwrap_or_default()
    }

    /// A read of the table went to the store.
    pub(super) fn fell_through(&self, table: &TableId) {
        if let Some(stand) = self.tables().get(table) {
            stand.uses.fell_through.add(1);
        }
    }

    /// None but these is wanted any more.
    pub(super) fn retain(&self, is_wanted: impl Fn(&TableId) -> bool) {
        self.tables().retain(|table, _| is_wanted(table));
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;
    use crate::telemetry::heard::Heard;

    #[test]
    fn a_table_that_has_no_copy_any_more_is_a_warning_once_and_one_that_is_loaded_again_is_none() {
        let stands = Stands::new(&StoreName::new("shop"));
        let table = TableId { namespace: "public".to_owned(), name: "orders".to_owned() };
        let (heard, _hearing) = Heard::here();
        stands.set(&table, CopyState::Loading, None);
        stands.set(&table, CopyState::Cached, None);
        stands.set(&table, CopyState::Waiting, Some("a gap"));
        stands.set(&table, CopyState::Cached, None);
        assert_eq!(heard.of(Level::WARN), Vec::<String>::new());
        assert_eq!(heard.of(Level::INFO).len(), 3);
        let reason = super::super::memory::too_large(7);
        stands.set(&table, CopyState::StoreOnly, Some(&reason));
        stands.set(&table, CopyState::StoreOnly, Some(&reason));
        let told = heard.of(Level::WARN);
        assert_eq!(told.len(), 1, "{told:?}");
        for part in ["store=shop", "table=public.orders", "cache.memory (7 bytes"] {
            assert!(told[0].contains(part), "{part} is not in {told:?}");
        }
    }
}
