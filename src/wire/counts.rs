//! What the room counts: sessions, statements by their outcome, what was sent, and refusals at bounds.

use std::sync::Arc;

use crate::error::{Diagnosis, Limit, sqlstate};
use crate::telemetry::Family;
use crate::telemetry::metrics::{Count, Presence};

/// The counts of one listener, from its start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Authenticated sessions.
    pub(super) sessions: Presence,
    /// Sessions that work on a message.
    pub(super) running: Presence,
    /// Statements that came to their end.
    pub(super) succeeded: Count,
    /// Statements that were ended: by a cancel request, by a timeout, or because nobody waits for them any more.
    pub(super) cancelled: Count,
    /// Rows of results.
    pub(super) rows: Count,
    /// Bytes to sessions, before TLS.
    pub(super) bytes: Arc<Count>,
    failed: Count,
    refused: [Count; Limit::ALL.len()],
}

impl Counts {
    /// A statement failed, or was never let in.
    pub(super) fn fail(&self, diagnosis: &Diagnosis) {
        if diagnosis.sqlstate == sqlstate::QUERY_CANCELED {
            self.cancelled.add(1);
        } else {
            self.failed.add(1);
        }
        if let Some(limit) = diagnosis.limit {
            self.refuse(limit);
        }
    }

    /// A bound refused something.
    pub(super) fn refuse(&self, limit: Limit) {
        let counted = self.refused.iter().zip(Limit::ALL).find(|(_, (known, _))| *known == limit);
        if let Some((count, _)) = counted {
            count.add(1);
        }
    }

    /// What they are now.
    pub fn families(&self) -> Vec<Family> {
        let outcomes = [("succeeded", &self.succeeded), ("failed", &self.failed), ("cancelled", &self.cancelled)];
        let outcomes = outcomes.into_iter().map(|(outcome, count)| (outcome.to_owned(), count.get()));
        let refused = Limit::ALL.iter().zip(&self.refused).map(|((_, limit), count)| ((*limit).to_owned(), count.get()));
        vec![
            Family::gauge("tributary_sessions_open", "Authenticated sessions.").is(self.sessions.get()),
            Family::gauge("tributary_statements_running", "Sessions that work on a message of their client.")
                .is(self.running.get()),
            Family::counter("tributary_statements_total", "Statements by their outcome.").by("outcome", outcomes),
            Family::counter("tributary_sent_rows_total", "Rows of results that were sent to sessions.").is(self.rows.get()),
            Family::counter("tributary_sent_bytes_total", "Bytes that were sent to sessions, before TLS.").is(self.bytes.get()),
            Family::counter("tributary_refusals_total", "What was refused at a limit.").by("limit", refused),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::text;

    #[test]
    fn failures_are_told_apart_and_limits_counted() {
        let counts = Counts::default();
        counts.fail(&Diagnosis::new("42P01", "no such table"));
        counts.fail(&Diagnosis::new("57014", "canceled"));
        counts.fail(&Diagnosis::new("53200", "out of memory").at(Limit::QueryMemory));
        counts.refuse(Limit::Sessions);
        let told = text(&counts.families());
        for line in [
            "tributary_statements_total{outcome=\"failed\"} 2",
            "tributary_statements_total{outcome=\"cancelled\"} 1",
            "tributary_refusals_total{limit=\"query_memory\"} 1",
            "tributary_refusals_total{limit=\"sessions\"} 1",
            "tributary_refusals_total{limit=\"spill\"} 0",
        ] {
            assert!(told.lines().any(|told| told == line), "{line} is not in\n{told}");
        }
    }
}
