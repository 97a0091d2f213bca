//! Materialized views, put together: which there are, who keeps their rows, and which tables are to be cached for that.
//!
//! ```text
//! CREATE, DROP, REFRESH, CREATE INDEX → kept in .state ─┐
//! start, a discovery, a reload: snapshot ───────────────┴→ entries → Views → the tables that they read → cached tables
//! stop:  (sessions, commits) → views → (copies, feeds)
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::STOP_GRACE;
use crate::cache::Caches;
use crate::catalog::kept::KeptView;
use crate::catalog::{Catalog, Snapshot};
use crate::federation::engine::Engine;
use crate::task::TaskSet;
use crate::views::{ViewEntry, ViewIndex, ViewName, ViewSettings, Views};

/// What views need while the server runs.
#[derive(Debug)]
pub(super) struct Viewing {
    views: Arc<Views>,
    entries: Arc<Entries>,
    tasks: TaskSet,
}

impl Viewing {
    /// Over these copies, under their bounds. Nothing is filled.
    pub(super) fn open(catalog: &Arc<Catalog>, engine: &Engine, caches: &Arc<Caches>) -> Self {
        let views = Views::new(Arc::clone(caches), engine.clone(), Arc::clone(catalog), settings(caches));
        let entries = Arc::new(Entries { views: Arc::clone(&views), catalog: Arc::clone(catalog), turn: Mutex::new(()) });
        // The catalog is held by what it tells.
        let told = Arc::downgrade(&entries);
        catalog.tell_views(Arc::new(move || {
            if let Some(entries) = told.upgrade() {
                entries.renew();
            }
        }));
        entries.renew();
        Self { views, entries, tasks: TaskSet::new() }
    }

    /// What sessions read.
    pub(super) fn views(&self) -> &Arc<Views> {
        &self.views
    }

    /// Begins to fill and to follow.
    pub(super) fn run(&mut self) {
        // Before the first look at the catalog, so that no version is missed.
        let versions = self.entries.catalog.versions();
        self.entries.renew();
        let stop = self.tasks.token();
        self.tasks.spawn("views", self.views.run(stop.clone()));
        self.tasks.spawn("kept views", follow(Arc::clone(&self.entries), versions, stop));
    }

    /// Ends what fills and follows. Sessions and commits have ended.
    pub(super) async fn stop(&mut self) {
        let aborted = self.tasks.stop(STOP_GRACE).await;
        if aborted > 0 {
            tracing::warn!(aborted, "work on materialized views had to be aborted");
        }
    }
}

/// Views may take as much as copies, and are waited for as long.
fn settings(caches: &Caches) -> ViewSettings {
    let bounds = caches.settings();
    ViewSettings { memory_bytes: bounds.memory_bytes, wait: bounds.wait, ..ViewSettings::default() }
}

/// Looks at every new version of the catalog.
async fn follow(entries: Arc<Entries>, mut versions: watch::Receiver<u64>, stop: CancellationToken) {
    loop {
        // Cancel-safe: a version that is not seen here is seen the next time.
        tokio::select! {
            () = stop.cancelled() => return,
            changed = versions.changed() => if changed.is_err() { return },
        }
        entries.renew();
    }
}

/// What views are told of, and where it comes from.
#[derive(Debug)]
struct Entries {
    views: Arc<Views>,
    catalog: Arc<Catalog>,
    /// One at a time: whoever comes last tells what is so then.
    turn: Mutex<()>,
}

impl Entries {
    fn renew(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.views.replace(entries(&self.catalog.snapshot()));
    }
}

/// The materialized views of a snapshot.
fn entries(snapshot: &Snapshot) -> Vec<ViewEntry> {
    let relations = snapshot.schemas.values().flat_map(|schema| schema.relations.values());
    relations.filter_map(|relation| relation.body.kept().and_then(|kept| entry(kept))).collect()
}

/// What is kept of a view; `None` of one that is not materialized.
fn entry(kept: &KeptView) -> Option<ViewEntry> {
    let materialized = kept.materialized.as_ref()?;
    let place = |name: &String| kept.columns.iter().position(|column| column.name == *name);
    // An index over a column that the view has not any more is none.
    let indexes = materialized.indexes.iter().filter_map(|index| {
        let columns = index.columns.iter().map(place).collect::<Option<Vec<usize>>>()?;
        Some(ViewIndex { name: index.name.clone(), columns, is_unique: index.unique })
    });
    Some(ViewEntry {
        name: ViewName { schema: kept.schema.clone(), name: kept.name.clone() },
        owner: kept.owner.clone(),
        with_data: materialized.with_data,
        indexes: indexes.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::kept::{CheckOption, KeptColumn, KeptIndex, Materialization};

    fn view(materialized: Option<Materialization>) -> KeptView {
        let column = |name: &str| KeptColumn { inner: name.to_owned(), name: name.to_owned() };
        KeptView {
            schema: "public".to_owned(),
            name: "totals".to_owned(),
            sql: "SELECT 1 AS a, 2 AS b".to_owned(),
            columns: vec![column("a"), column("b")],
            owner: "ann".to_owned(),
            check: CheckOption::None,
            materialized,
        }
    }

    #[test]
    fn only_materialized_views_are_kept_up_to_date() {
        assert_eq!(entry(&view(None)), None);
        let index = |name: &str, columns: &[&str], unique| KeptIndex {
            name: name.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            unique,
        };
        let indexes = vec![index("i", &["b", "a"], true), index("j", &["gone"], false)];
        let entry = entry(&view(Some(Materialization { with_data: true, indexes }))).unwrap();
        assert_eq!((entry.name.to_string().as_str(), entry.owner.as_str(), entry.with_data), ("public.totals", "ann", true));
        assert_eq!(entry.indexes, [ViewIndex { name: "i".to_owned(), columns: vec![1, 0], is_unique: true }]);
    }
}
