//! What is in the state directory of what discovery has learnt and of the numbers of objects, and who writes it down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::catalog::oid::Oids;
use crate::catalog::{Catalog, StoreEntry};
use crate::config::{State, StateError};
use crate::error::Diagnose as _;
use crate::task::OwnedTask;

/// The name of the file with the document schemas.
const DOCUMENT_SCHEMAS: &str = "document_schemas";
/// The name of the file with the object ids.
const OIDS: &str = "oids";

/// What one store's discovery has learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Learned {
    /// The store's kind; another kind under the same name has learnt nothing yet.
    kind: String,
    /// In the connector's own form.
    schemas: serde_json::Value,
}

/// What is in the state directory, as it was last read or written.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) state: State,
    kept: Mutex<(BTreeMap<String, Learned>, Oids)>,
}

impl Memory {
    pub(super) fn open(state: State) -> Result<Self, StateError> {
        let kept = (state.read(DOCUMENT_SCHEMAS)?.unwrap_or_default(), state.read(OIDS)?.unwrap_or_default());
        Ok(Self { state, kept: Mutex::new(kept) })
    }

    pub(super) fn oids(&self) -> Oids {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Gives new connectors what the ones before them have learnt.
    pub(super) fn recall(&self, stores: Vec<StoreEntry>) -> Result<Vec<StoreEntry>, StateError> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for store in &stores {
            let connector = &store.connector;
            let Some(learned) = kept.0.get(connector.name().as_str()).filter(|kept| kept.kind == connector.kind()) else {
                continue;
            };
            let told = |reason: String| self.state.damaged(DOCUMENT_SCHEMAS, format!("store \"{}\": {reason}", connector.name()));
            connector.recall(&learned.schemas).map_err(told)?;
        }
        drop(kept);
        Ok(stores)
    }

    /// Writes what has changed. Waits for the disk.
    pub(super) fn keep(&self, catalog: &Catalog) -> Result<(), StateError> {
        let oids = catalog.oids();
        let snapshot = catalog.snapshot();
        let learned = snapshot.connectors.iter().filter_map(|(name, connector)| {
            let schemas = connector.learned()?;
            Some((name.to_string(), Learned { kind: connector.kind().to_owned(), schemas }))
        });
        let learned: BTreeMap<String, Learned> = learned.collect();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0 != learned {
            self.state.write(DOCUMENT_SCHEMAS, &learned)?;
            kept.0 = learned;
        }
        if kept.1 != oids {
            self.state.write(OIDS, &oids)?;
            kept.1 = oids;
        }
        Ok(())
    }
}

/// Writes what has changed on a thread that may wait for the disk. A failure is told and tried again with the next change.
pub(super) async fn keep(memory: &Arc<Memory>, catalog: &Arc<Catalog>) {
    let (memory, catalog) = (Arc::clone(memory), Arc::clone(catalog));
    if let Some(Err(error)) = OwnedTask::spawn_blocking(move || memory.keep(&catalog)).join().await {
        tracing::warn!(error = %error, detail = error.detail(), "what was learnt cannot be kept");
    }
}

pub(super) async fn keep_learned(memory: Arc<Memory>, catalog: Arc<Catalog>, stop: CancellationToken) {
    let mut versions = catalog.versions();
    loop {
        // Cancel-safe: a version that is not seen here is seen the next time.
        tokio::select! {
            () = stop.cancelled() => return,
            changed = versions.changed() => if changed.is_err() { return },
        }
        keep(&memory, &catalog).await;
    }
}
