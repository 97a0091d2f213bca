//! Messages that cannot be read. The connection may have spoilt one, so its place is tried again; what cannot be read each time is left out,
//! and that is told.
//!
//! ```text
//! cannot be read ─ a table that gives no rows ────→ left out
//!                ├ fewer than three times there ──→ Again
//!                ├ a table ───────────────────────→ it stops, the stream goes on
//!                └ nobody knows of what ──────────→ Lost: a gap
//! ```
//!
//! **Invariants:** how often it was tried outlives the feed, and not what comes behind the place; a place that was tried often enough is
//! passed as long as it is read again with others; the second try has given all that ended
//! before the place, so that a gap begins there; what follows a description that was left out is not read by an older one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::decode::{self, Malformed, Message};
use super::groups::Groups;

/// So often a place is tried.
const TRIES: u32 = 3;
/// So many places are kept, those that came last: what lies before one is given the second time, and not read again.
const PLACES_MAX: usize = 16;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the transaction whose commit is there.
    Inside(u64),
    /// In none, behind what has ended there.
    Behind(u64),
}

impl Place {
    /// How far we are behind what was given moves by itself while the next transaction stays where it is.
    fn is_as(self, other: Self) -> bool {
        self == other || matches!((self, other), (Self::Behind(_), Self::Behind(_)))
    }

    fn location(self) -> u64 {
        match self {
            Self::Inside(location) | Self::Behind(location) => location,
        }
    }
}

/// The last places with a message that could not be read, and how often that was so: one may be read again each time that another is
/// tried.
#[derive(Debug, Default)]
pub(in super::super) struct Strikes(Mutex<Vec<(Place, u32)>>);

impl Strikes {
    /// It was so again. Whether that is enough.
    fn add(&self, place: Place) -> bool {
        let mut places = self.lock();
        if let Some((before, count)) = places.iter_mut().find(|(before, _)| before.is_as(place)) {
            (*before, *count) = (place, count.saturating_add(1));
            return *count >= TRIES;
        }
        if places.len() >= PLACES_MAX {
            places.remove(0);
        }
        places.push((place, 1));
        false
    }

    /// A transaction has ended. What was enough stays so, should the place be read again.
    fn pass(&self, end: u64) {
        self.lock().retain(|(place, count)| *count >= TRIES || place.location() >= end);
    }

    /// Whether it was so in the transaction whose commit is there.
    pub(super) fn is_in(&self, commit: u64) -> bool {
        self.lock().iter().any(|(place, _)| *place == Place::Inside(commit))
    }

    fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Place, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a feed whose message cannot be read: what is wrong with that, as a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is tried again.
    Again(&'static str),
    /// It begins anew behind a gap.
    Lost(&'static str),
}

/// Takes the next message, or leaves it out.
///
/// # Errors
/// It cannot be read, and the feed ends.
pub(super) fn take(groups: &mut Groups, strikes: &Strikes, content: &[u8]) -> Result<(), Fate> {
    let taken = decode::read(content).and_then(|message| groups.take(&message, content.len()));
    let Err(Malformed(what)) = taken else { return Ok(()) };
    let about = subject(content).and_then(|(number, describes)| Some((number, describes, groups.told_of(number, describes)?)));
    let Some((number, describes, (table, gives))) = about else { return Err(unread(groups, strikes, what)) };
    if gives {
        if !strikes.add(groups.place()) {
            return Err(Fate::Again(what));
        }
        groups.stop(&table, format!("a message of the server about it {what}"));
    }
    if describes {
        groups.forget_columns(number);
    }
    Ok(())
}

/// Takes the beginning or the end of a transaction.
///
/// # Errors
/// It cannot stand there, and the feed ends.
pub(super) fn take_bound(groups: &mut Groups, strikes: &Strikes, message: &Message<'_>) -> Result<(), Fate> {
    groups.take(message, 0).map_err(|Malformed(what)| unread(groups, strikes, what))?;
    if let Message::Commit { end } = message {
        strikes.pass(*end);
    }
    Ok(())
}

/// A message that says of no table, or not of which, cannot be read.
pub(super) fn unread(groups: &Groups, strikes: &Strikes, what: &'static str) -> Fate {
    if !strikes.add(groups.place()) {
        return Fate::Again(what);
    }
    // Behind the gap is another place.
    strikes.clear();
    Fate::Lost(what)
}

/// The number of the table that a message is about as far as it can be read, and whether it describes that table.
fn subject(content: &[u8]) -> Option<(u32, bool)> {
    let (kind, rest) = content.split_first()?;
    let (number, _) = rest.split_first_chunk::<4>()?;
    let describes = match kind {
        b'R' => true,
        b'I' | b'U' | b'D' => false,
        _ => return None,
    };
    Some((u32::from_be_bytes(*number), describes))
}

#[cfg(test)]
mod tests;
