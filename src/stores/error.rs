//! What can go wrong with a store. Messages name the store; they never carry connection text or secrets.

use crate::error::{Diagnose, Diagnosis, Retry, Site, sqlstate};

/// An error from a connector.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, or refused our credentials. `reason` is our own words or the server's message.
    #[error("store \"{store}\" cannot be reached")]
    Unreachable {
        /// The store.
        store: String,
        /// Why, without secrets.
        reason: String,
    },
    /// The connection broke in the middle of an operation.
    #[error("the connection to store \"{store}\" was lost")]
    ConnectionLost {
        /// The store.
        store: String,
        /// Why, without secrets.
        reason: String,
    },
    /// The store took longer than a deadline.
    #[error("store \"{store}\" did not answer within {limit_ms} ms")]
    Deadline {
        /// The store.
        store: String,
        /// The deadline in milliseconds.
        limit_ms: u64,
        /// What was waited for.
        waiting_for: &'static str,
    },
    /// Every connection that transactions and writes have was busy for as long as one may be waited for.
    #[error("store \"{store}\" has no connection left for another transaction")]
    Crowded {
        /// The store.
        store: String,
        /// How long was waited, in milliseconds.
        limit_ms: u64,
    },
    /// The store answered with an error of its own.
    #[error("{message}")]
    Remote {
        /// The store.
        store: String,
        /// Its SQLSTATE, or the nearest one for stores without.
        sqlstate: String,
        /// Its message.
        message: String,
        /// Its detail or hint.
        detail: Option<String>,
        /// The constraint it named.
        constraint: Option<String>,
        /// The table and column that it named.
        site: Option<Box<Site>>,
    },
    /// A stored value cannot be given as the column's type.
    #[error("a value of {store}.{table}.{column} {rule}")]
    Value {
        /// The store.
        store: String,
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// SQLSTATE of the failure.
        sqlstate: &'static str,
        /// The broken rule as a clause: `is not a number`.
        rule: String,
    },
    /// The table no longer looks as it was discovered.
    #[error("table \"{table}\" of store \"{store}\" has changed")]
    SchemaChanged {
        /// The store.
        store: String,
        /// The table.
        table: String,
        /// What differs.
        difference: String,
    },
    /// The operation was stopped from outside.
    #[error("canceling statement due to user request")]
    Cancelled,
    /// The store has no such ability.
    #[error("store \"{store}\" does not support {feature}")]
    Unsupported {
        /// The store.
        store: String,
        /// The missing ability.
        feature: &'static str,
    },
    /// The connection broke after a commit was sent, or after a statement that commits by itself. It is never sent again.
    #[error("the outcome of the transaction in store \"{store}\" is not known")]
    OutcomeUnknown {
        /// The store.
        store: String,
        /// Why, without secrets.
        reason: String,
    },
    /// The file of the store says that nothing is written to it.
    #[error("store \"{store}\" is read-only")]
    ReadOnly {
        /// The store.
        store: String,
    },
}

impl StoreError {
    /// What a [`StoreError::Deadline`] waited for when all connections of ours were busy.
    pub const FREE_CONNECTION: &'static str = "a free connection";
    /// What a [`StoreError::Deadline`] waited for when somebody else held a lock.
    pub const FREE_LOCK: &'static str = "a lock on the database file";

    /// An answer of the store, or one in its place, that says nothing besides its message.
    pub fn remote(store: &str, sqlstate: &str, message: String) -> Self {
        let (store, sqlstate) = (store.to_owned(), sqlstate.to_owned());
        Self::Remote { store, sqlstate, message, detail: None, constraint: None, site: None }
    }

    /// Whether it was busyness that a deadline ended, which says nothing about whether the store answers.
    pub fn is_crowded(&self) -> bool {
        match self {
            Self::Crowded { .. } => true,
            Self::Deadline { waiting_for, .. } => [Self::FREE_CONNECTION, Self::FREE_LOCK].contains(waiting_for),
            _ => false,
        }
    }
}

impl Diagnose for StoreError {
    fn sqlstate(&self) -> &str {
        match self {
            Self::Unreachable { .. } => sqlstate::UNABLE_TO_CONNECT,
            Self::ConnectionLost { .. } | Self::Deadline { .. } => sqlstate::CONNECTION_FAILURE,
            Self::Crowded { .. } => sqlstate::TOO_MANY_CONNECTIONS,
            Self::Remote { sqlstate, .. } => sqlstate,
            Self::Value { sqlstate, .. } => sqlstate,
            Self::SchemaChanged { .. } => sqlstate::FDW_ERROR,
            Self::Cancelled => sqlstate::QUERY_CANCELED,
            Self::Unsupported { .. } => sqlstate::FEATURE_NOT_SUPPORTED,
            Self::OutcomeUnknown { .. } => sqlstate::TRANSACTION_RESOLUTION_UNKNOWN,
            Self::ReadOnly { .. } => sqlstate::READ_ONLY_SQL_TRANSACTION,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Unreachable { reason, .. } | Self::ConnectionLost { reason, .. } | Self::OutcomeUnknown { reason, .. } => {
                Some(reason.clone())
            }
            Self::Deadline { waiting_for, .. } => Some(format!("Waiting for {waiting_for}.")),
            Self::Crowded { limit_ms, .. } => Some(format!("None became free within {limit_ms} ms (pool.wait).")),
            Self::Remote { store, detail, .. } => Some(
                detail
                    .as_ref()
                    .map_or_else(|| format!("Store \"{store}\" said so."), |detail| format!("{detail} (store \"{store}\")")),
            ),
            Self::SchemaChanged { difference, .. } => Some(difference.clone()),
            Self::Value { .. } | Self::Cancelled | Self::Unsupported { .. } | Self::ReadOnly { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::SchemaChanged { store, .. } => {
                Some(format!("The catalog is being refreshed; or run CALL tributary.refresh('{store}')."))
            }
            Self::Unreachable { .. } | Self::ConnectionLost { .. } => Some(
                "Other stores are still served. This one is tried again by every statement, or every 1 to 30 seconds when it has \
                     been away since the server started."
                    .to_owned(),
            ),
            Self::Crowded { store, .. } => Some(format!(
                "End transactions that are idle, or raise pool.size in stores/{store}.toml: transactions and writes have as many \
                 connections of their own."
            )),
            Self::OutcomeUnknown { .. } => {
                Some("It may have been committed. Look into the store before the same is written again.".to_owned())
            }
            Self::ReadOnly { store } => Some(format!("The file of the store says so: read_only in stores/{store}.toml.")),
            _ => None,
        }
    }

    fn constraint(&self) -> Option<String> {
        match self {
            Self::Remote { constraint, .. } => constraint.clone(),
            _ => None,
        }
    }

    fn site(&self) -> Option<Site> {
        match self {
            Self::Remote { store, site, .. } => site.as_deref().map(|site| Site { store: Some(store.clone()), ..site.clone() }),
            _ => None,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. }
            | Self::ConnectionLost { .. }
            | Self::Deadline { .. }
            | Self::Crowded { .. }
            | Self::SchemaChanged { .. } => Retry::Later,
            _ => Retry::Never,
        }
    }
}

impl From<StoreError> for datafusion::error::DataFusionError {
    fn from(error: StoreError) -> Self {
        Diagnosis::of(&error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_says_of_a_refused_row_reaches_the_client() {
        let named = |name: &str| Some(name.to_owned());
        let site = Site { store: named("shop"), schema: named("public"), table: named("t"), column: named("a"), row: Some(2) };
        let mut error = StoreError::remote("shop", sqlstate::NOT_NULL_VIOLATION, "no".to_owned());
        assert_eq!(Diagnosis::of(&error).site, None);
        if let StoreError::Remote { constraint, site: place, .. } = &mut error {
            (*constraint, *place) = (Some("t_a".to_owned()), Some(Box::new(site.clone())));
        }
        let told = Diagnosis::of(&error);
        assert_eq!((told.sqlstate.as_str(), told.constraint.as_deref()), ("23502", Some("t_a")));
        assert_eq!(told.site.as_deref(), Some(&site));
        assert_eq!(Diagnosis::of(&told), told);
    }

    #[test]
    fn an_unknown_outcome_is_never_tried_again() {
        let unknown = StoreError::OutcomeUnknown { store: "shop".to_owned(), reason: "Reset.".to_owned() };
        assert_eq!((unknown.sqlstate(), unknown.retry(), unknown.detail().as_deref()), ("08007", Retry::Never, Some("Reset.")));
        let closed = StoreError::ReadOnly { store: "shop".to_owned() };
        assert_eq!((closed.sqlstate(), closed.to_string().as_str()), ("25006", "store \"shop\" is read-only"));
        assert!(closed.hint().unwrap().contains("read_only in stores/shop.toml"));
    }

    #[test]
    fn connections_that_are_all_in_use_say_nothing_of_the_store() {
        let crowded = StoreError::Crowded { store: "shop".to_owned(), limit_ms: 100 };
        assert_eq!((crowded.sqlstate(), crowded.retry(), crowded.is_crowded()), ("53300", Retry::Later, true));
        assert!(crowded.hint().unwrap().contains("pool.size in stores/shop.toml"));
        assert!(crowded.detail().unwrap().contains("100 ms"));
    }
}
