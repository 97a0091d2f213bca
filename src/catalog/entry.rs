//! What the catalog directory brings into the catalog: configured stores and views.

use std::sync::Arc;
use std::time::Duration;

use super::name::Naming;
use crate::stores::capture::{Follow, TablePattern};
use crate::stores::{Connector, StoreError, StoreSchema};

/// Tables of ours that a store's file asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnTables {
    /// How long keys of transactions that may be sent twice are kept there; `None` where there are none.
    pub keys: Option<Duration>,
    /// Whether events of applications are written there.
    pub outbox: bool,
}

/// One configured store with its place in the catalog.
#[derive(Debug, Clone)]
pub struct StoreEntry {
    /// The store's connector.
    pub connector: Arc<dyn Connector>,
    /// How its namespaces are named.
    pub naming: Naming,
    /// The longest that its discovery may take.
    pub discovery_timeout: Duration,
    /// The tables of ours in it.
    pub own: OwnTables,
    /// Which of its changes are followed; `None` where its file asks for no feed.
    pub follow: Option<Follow>,
    /// The tables of which it asks for a copy in memory.
    pub cached: Vec<TablePattern>,
}

impl StoreEntry {
    /// Discovers the store. Connectors have deadlines of their own for every request; the entry's ends a discovery of very many
    /// requests, and one that hangs all the same.
    ///
    /// # Errors
    /// As [`Connector::discover`], or [`StoreError::Deadline`].
    pub async fn discover(&self) -> Result<StoreSchema, StoreError> {
        let found = tokio::time::timeout(self.discovery_timeout, self.connector.discover()).await;
        found.unwrap_or_else(|_elapsed| {
            Err(StoreError::Deadline {
                store: self.connector.name().to_string(),
                limit_ms: u64::try_from(self.discovery_timeout.as_millis()).unwrap_or(u64::MAX),
                waiting_for: "the description of its tables",
            })
        })
    }
}

/// One view of the catalog directory: `views/<name>.sql`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewSource {
    /// The view's name in `public`.
    pub name: String,
    /// Its query.
    pub sql: String,
}

impl ViewSource {
    /// The line and column of a character of the query, all counted from 1.
    pub fn line_and_column(&self, position: usize) -> (usize, usize) {
        let before = self.sql.chars().take(position.saturating_sub(1));
        before.fold((1, 1), |(line, column), character| if character == '\n' { (line + 1, 1) } else { (line, column + 1) })
    }
}
