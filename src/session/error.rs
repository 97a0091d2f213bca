//! From the engine's errors to diagnoses with the SQLSTATE that Postgres would give.

use datafusion::error::DataFusionError;

use crate::error::{Diagnosis, find_diagnosis, sqlstate};

/// Maps any engine error to what the client is told.
pub fn diagnose(error: &DataFusionError) -> Diagnosis {
    if let Some(found) = find_diagnosis(error) {
        return found.clone();
    }
    Diagnosis::new(sqlstate::INTERNAL_ERROR, error.strip_backtrace())
}
