//! The straight ways of a portal, without a stream of batches: the row that a copy has at hand, and rows that go out as their store sends them.
//! Whether a portal may take one is decided where queries are run (`verbs/select`), and its rows are sent by `wire`.

use super::output::{Guard, Point, Relaying};
use super::prepared::Portal;
use super::{Session, verbs};
use crate::error::Diagnosis;
use crate::format::{DisplaySettings, Format};

impl Session {
    /// What the values of a portal go out as: a format for each column, and the settings that shape text.
    ///
    /// # Errors
    /// 34000
    pub fn shown_as(&self, portal: &str) -> Result<(&[Format], &DisplaySettings), Diagnosis> {
        Ok((self.names.portal(portal)?.formats.as_slice(), self.settings.shown_as()))
    }

    /// What may end the statement that runs now; sending the row of [`Session::point`] must heed it too.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The row of a portal that a copy has at hand, which completes it; `None` leaves the portal as it was, for [`Session::execute`].
    pub fn point(&mut self, portal: &str) -> Option<Point> {
        let point = verbs::point(self, portal)?;
        self.tell_portal(portal);
        Some(point)
    }

    /// Starts a portal whose rows go out as their store sends them; `None` leaves the portal as it was, for [`Session::execute`].
    pub fn relay(&mut self, portal: &str) -> Option<Relaying> {
        let relaying = verbs::relay(self, portal)?;
        self.tell_portal(portal);
        Some(relaying)
    }

    /// Shows that a portal is read from here on.
    fn tell_portal(&mut self, portal: &str) {
        self.names.read(Some(portal));
        if let Ok(Portal { statement, .. }) = self.names.portal(portal)
            && let Some(parsed) = &statement.parsed
        {
            self.tell_start(&parsed.text);
        }
    }
}
