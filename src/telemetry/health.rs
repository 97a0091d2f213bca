//! What health says: the server as a whole, and each store.

use serde_json::{Value, json};

/// The server's health at one moment. Holds names and states only: whoever asks has no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The server as a whole.
    pub overall: Overall,
    /// Each configured store, in name order.
    pub stores: Vec<StoreHealth>,
    /// Whether the log of commits over several stores can be written to.
    pub has_log: bool,
}

/// What the server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overall {
    /// Stores are being discovered; clients cannot connect yet.
    Starting,
    /// Clients are served.
    Serving,
    /// No new clients are taken; running statements come to their end.
    Draining,
}

/// One store as the catalog last saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    /// The store's name.
    pub name: String,
    /// Whether its tables are served.
    pub available: bool,
}

impl Health {
    /// Whether a load balancer should send clients here. A store that is away does not count: the others are served.
    pub fn takes_clients(&self) -> bool {
        self.overall == Overall::Serving
    }

    /// `{"status": "ok", "stores": {"crm": {"available": true}}}`; the status of a serving server whose stores are not all available, or
    /// whose log of commits is not, is `degraded`.
    pub fn to_json(&self) -> Value {
        let status = match self.overall {
            Overall::Starting => "starting",
            Overall::Draining => "draining",
            Overall::Serving if self.has_log && self.stores.iter().all(|store| store.available) => "ok",
            Overall::Serving => "degraded",
        };
        let stores: serde_json::Map<String, Value> = self.stores.iter().map(StoreHealth::to_json).collect();
        match self.has_log {
            true => json!({ "status": status, "stores": stores }),
            false => json!({ "status": status, "stores": stores, "commit_log": { "available": false } }),
        }
    }
}

impl StoreHealth {
    fn to_json(&self) -> (String, Value) {
        (self.name.clone(), json!({ "available": self.available }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_away_degrades_but_does_not_turn_clients_away() {
        let store = |name: &str, available| StoreHealth { name: name.to_owned(), available };
        let stores = vec![store("crm", true), store("shop", false)];
        let health = Health { overall: Overall::Serving, stores: stores.clone(), has_log: true };
        assert!(health.takes_clients());
        assert_eq!(
            health.to_json().to_string(),
            r#"{"status":"degraded","stores":{"crm":{"available":true},"shop":{"available":false}}}"#
        );
        let rows = [(Overall::Starting, "starting"), (Overall::Draining, "draining")];
        for (overall, expected) in rows {
            let health = Health { overall, stores: stores.clone(), has_log: true };
            assert!(!health.takes_clients());
            assert_eq!(health.to_json()["status"], expected);
        }
        let well = Health { overall: Overall::Serving, stores: stores[..1].to_vec(), has_log: true };
        assert_eq!(well.to_json()["status"], "ok");
        let without = Health { has_log: false, ..well };
        assert!(without.takes_clients());
        assert_eq!(
            without.to_json().to_string(),
            r#"{"status":"degraded","stores":{"crm":{"available":true}},"commit_log":{"available":false}}"#
        );
    }
}
