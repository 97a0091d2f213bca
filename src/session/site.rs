//! Where a store has refused a row, as the client of a session knows the place.

use super::Session;
use crate::error::Diagnosis;

impl Session {
    /// The error with the schema that its table has for clients, where a store has named its own.
    pub fn placed(&self, error: Diagnosis) -> Diagnosis {
        if error.site.is_none() {
            return error;
        }
        let own = self.block.as_ref().and_then(|block| block.defined.latest());
        own.unwrap_or_else(|| self.shared.catalog.snapshot()).placed(error)
    }
}
