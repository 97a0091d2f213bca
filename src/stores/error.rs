//! What can go wrong with a store. Messages name the store; they never carry connection text or secrets.

use crate::error::{Diagnose, Diagnosis, Retry, sqlstate};

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
}

impl StoreError {
    /// What a [`StoreError::Deadline`] waited for when all connections of ours were busy.
    pub const FREE_CONNECTION: &'static str = "a free connection";
    /// What a [`StoreError::Deadline`] waited for when somebody else held a lock.
    pub const FREE_LOCK: &'static str = "a lock on the database file";

    /// Whether it was busyness that a deadline ended, which says nothing about whether the store answers.
    pub fn is_crowded(&self) -> bool {
        matches!(self, Self::Deadline { waiting_for, .. } if [Self::FREE_CONNECTION, Self::FREE_LOCK].contains(waiting_for))
    }
}

impl Diagnose for StoreError {
    fn sqlstate(&self) -> &str {
        match self {
            Self::Unreachable { .. } => sqlstate::UNABLE_TO_CONNECT,
            Self::ConnectionLost { .. } | Self::Deadline { .. } => sqlstate::CONNECTION_FAILURE,
            Self::Remote { sqlstate, .. } => sqlstate,
            Self::Value { sqlstate, .. } => sqlstate,
            Self::SchemaChanged { .. } => sqlstate::FDW_ERROR,
            Self::Cancelled => sqlstate::QUERY_CANCELED,
            Self::Unsupported { .. } => sqlstate::FEATURE_NOT_SUPPORTED,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Unreachable { reason, .. } | Self::ConnectionLost { reason, .. } => Some(reason.clone()),
            Self::Deadline { waiting_for, .. } => Some(format!("Waiting for {waiting_for}.")),
            Self::Remote { store, detail, .. } => Some(
                detail
                    .as_ref()
                    .map_or_else(|| format!("Store \"{store}\" said so."), |detail| format!("{detail} (store \"{store}\")")),
            ),
            Self::SchemaChanged { difference, .. } => Some(difference.clone()),
            Self::Value { .. } | Self::Cancelled | Self::Unsupported { .. } => None,
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
            _ => None,
        }
    }

    fn constraint(&self) -> Option<String> {
        match self {
            Self::Remote { constraint, .. } => constraint.clone(),
            _ => None,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } | Self::ConnectionLost { .. } | Self::Deadline { .. } | Self::SchemaChanged { .. } => {
                Retry::Later
            }
            _ => Retry::Never,
        }
    }
}

impl From<StoreError> for datafusion::error::DataFusionError {
    fn from(error: StoreError) -> Self {
        Diagnosis::of(&error).into()
    }
}
