//! What reads of views fail with that are given neither rows nor a query in their place.

use std::time::Duration;

use crate::error::{Diagnose, sentence, sqlstate};

/// A view was never filled, or was emptied. Diagnosis: 55000, as PostgreSQL says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("materialized view \"{name}\" has not been populated")]
pub struct NotPopulated {
    /// Its name without its schema.
    pub name: String,
}

impl Diagnose for NotPopulated {
    fn sqlstate(&self) -> &str {
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE
    }

    fn hint(&self) -> Option<String> {
        Some("Use the REFRESH MATERIALIZED VIEW command.".to_owned())
    }
}

/// The rows of a view are not fresh enough for a read that wants no other answer. Diagnosis: 55000, the reason as detail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("materialized view \"{name}\" is not fresh enough")]
pub struct StaleView {
    /// Its name without its schema.
    pub name: String,
    /// Why, as a clause.
    pub reason: &'static str,
    /// At most so old is what it shows, where that is known.
    pub age: Option<Duration>,
}

impl Diagnose for StaleView {
    fn sqlstate(&self) -> &str {
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE
    }

    fn detail(&self) -> Option<String> {
        let age = self.age.map(|age| format!(" What it shows is at most {} ms old.", age.as_millis()));
        Some(format!("{}{}", sentence(self.reason), age.unwrap_or_default()))
    }

    fn hint(&self) -> Option<String> {
        Some("SET tributary.on_stale = 'store' runs the view's query then; tributary.freshness shows how views stand.".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_was_never_filled_says_so_as_postgresql_does() {
        let error = NotPopulated { name: "sales".to_owned() };
        assert_eq!(error.to_string(), "materialized view \"sales\" has not been populated");
        assert_eq!((error.sqlstate(), error.hint().is_some()), ("55000", true));
    }

    #[test]
    fn a_read_that_fails_says_why() {
        let stale = StaleView { name: "sales".to_owned(), reason: "its rows are older", age: Some(Duration::from_millis(7)) };
        let detail = "Its rows are older. What it shows is at most 7 ms old.";
        assert_eq!((stale.sqlstate(), stale.detail().as_deref()), ("55000", Some(detail)));
    }
}
