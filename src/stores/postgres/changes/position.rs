//! Positions of a PostgreSQL store, and what a feed needs to go on from one.
//!
//! A position is the cluster's system identifier, the timeline of its log, and a location in that log, or, of a feed by triggers, a row's
//! number in the table that they fill. Locations of two clusters, such as a server and a copy restored elsewhere, do not compare, nor do the
//! two kinds. A timeline that is left may have had more than what the next one goes on from, and counts on from a place that it had
//! reached: no position of a later one says that it has what an earlier one had, nor the other way round.

use super::super::super::capture::How;
use super::super::super::change::Resume;
use super::super::super::connector::StoreName;
use super::super::super::position::{Coverage, Position};
use super::known::Known;

/// The first byte of a [`Resume`] of each kind. A later form gets another one.
const OF_LOG: u8 = 1;
const OF_OUTBOX: u8 = 2;

/// A place in the history of a cluster: a location in its log on a timeline, or the number of a row.
pub(super) fn position(store: &StoreName, how: How, (cluster, timeline): (u64, u32), place: u64) -> Position {
    let mut token = [cluster.to_be_bytes(), place.to_be_bytes()].concat();
    token.extend(timeline.to_be_bytes());
    if how == How::Outbox {
        token.push(OF_OUTBOX);
    }
    Position { store: store.clone(), token }
}

/// Whether everything up to `wanted` is contained in `applied`.
pub(in super::super) fn covers(applied: &Position, wanted: &Position) -> Coverage {
    if applied.store != wanted.store {
        return Coverage::Incomparable;
    }
    let (Some(applied), Some(wanted)) = (Parsed::of(&applied.token), Parsed::of(&wanted.token)) else {
        return Coverage::Incomparable;
    };
    if applied.cluster != wanted.cluster || applied.how != wanted.how {
        return Coverage::Incomparable;
    }
    match (applied.timeline, wanted.timeline) {
        (Some(known), Some(asked)) if known == asked => {
            if applied.place >= wanted.place {
                Coverage::Covered
            } else {
                Coverage::Behind
            }
        }
        // What a later timeline has got is missing, whatever of the earlier one it went on from. One that was kept before timelines were
        // is of an earlier one.
        (known, Some(asked)) if known.is_none_or(|known| known < asked) => Coverage::Behind,
        _ => Coverage::Incomparable,
    }
}

/// The cluster of a position.
pub(super) fn cluster(position: &Position) -> Option<u64> {
    Parsed::of(&position.token).map(|parsed| parsed.cluster)
}

/// A position that was read.
struct Parsed {
    cluster: u64,
    /// `None` of one that was kept when positions had none.
    timeline: Option<u32>,
    place: u64,
    /// What the place is.
    how: How,
}

impl Parsed {
    /// System identifier and place, 8 bytes each, and 4 of the timeline, highest byte first; and what the place is.
    fn of(token: &[u8]) -> Option<Self> {
        let (cluster, rest) = token.split_first_chunk::<8>()?;
        let (place, rest) = rest.split_first_chunk::<8>()?;
        let (timeline, rest) = match rest.split_first_chunk::<4>() {
            Some((timeline, rest)) => (Some(u32::from_be_bytes(*timeline)), rest),
            None => (None, rest),
        };
        let how = match rest {
            [] => How::Log,
            [OF_OUTBOX] => How::Outbox,
            _ => return None,
        };
        Some(Self { cluster: u64::from_be_bytes(*cluster), timeline, place: u64::from_be_bytes(*place), how })
    }
}

/// From where a feed goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// By what.
    pub how: How,
    /// Of which cluster.
    pub cluster: u64,
    /// The timeline of its log.
    pub timeline: u32,
    /// Behind which location or row.
    pub place: u64,
    /// What the tables were like: where they are otherwise now, nothing says how they came to be so.
    pub tables: Known,
}

impl Checkpoint {
    /// As it is kept.
    pub(super) fn write(&self) -> Resume {
        let kind = if self.how == How::Log { OF_LOG } else { OF_OUTBOX };
        let mut bytes = vec![kind];
        bytes.extend(self.cluster.to_be_bytes());
        bytes.extend(self.timeline.to_be_bytes());
        bytes.extend(self.place.to_be_bytes());
        self.tables.write(&mut bytes);
        Resume(bytes)
    }

    /// What was kept; `None` of bytes that are something else.
    pub(super) fn read(resume: &Resume) -> Option<Self> {
        let (kind, rest) = resume.0.split_first()?;
        let how = match *kind {
            OF_LOG => How::Log,
            OF_OUTBOX => How::Outbox,
            _ => return None,
        };
        let (cluster, rest) = rest.split_first_chunk::<8>()?;
        let (timeline, rest) = rest.split_first_chunk::<4>()?;
        let (place, rest) = rest.split_first_chunk::<8>()?;
        Some(Self {
            how,
            cluster: u64::from_be_bytes(*cluster),
            timeline: u32::from_be_bytes(*timeline),
            place: u64::from_be_bytes(*place),
            tables: Known::read(rest)?,
        })
    }
}

/// A location as the server writes it: `16/B374D848`.
pub(super) fn location(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some(u64::from(u32::from_str_radix(high, 16).ok()?) << 32 | u64::from(u32::from_str_radix(low, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(store: &str, cluster: u64, location: u64) -> Position {
        super::position(&StoreName::new(store), How::Log, (cluster, 1), location)
    }

    #[test]
    fn what_another_timeline_had_is_never_taken_for_there() {
        for how in [How::Log, How::Outbox] {
            let at = |timeline, place| super::position(&StoreName::new("a"), how, (7, timeline), place);
            assert_eq!(covers(&at(2, 5), &at(2, 5)), Coverage::Covered);
            // Of one that was left, perhaps behind where the next one goes on from.
            assert_eq!(covers(&at(2, 9), &at(1, 5)), Coverage::Incomparable);
            // A server that was set back counts on from a place before.
            assert_eq!(covers(&at(1, 9), &at(2, 5)), Coverage::Behind);
            // What was kept when positions had no timelines.
            let mut old = at(2, 9);
            old.token.drain(16..20);
            assert_eq!((covers(&old, &at(2, 5)), covers(&at(2, 9), &old)), (Coverage::Behind, Coverage::Incomparable));
            assert_eq!((covers(&old, &old), cluster(&old)), (Coverage::Incomparable, Some(7)));
        }
    }

    #[test]
    fn rows_of_an_outbox_are_no_locations() {
        let row = |place: u64| super::position(&StoreName::new("a"), How::Outbox, (1, 1), place);
        assert_eq!(covers(&row(6), &row(5)), Coverage::Covered);
        assert_eq!(covers(&row(5), &row(6)), Coverage::Behind);
        assert_eq!(covers(&row(6), &position("a", 1, 5)), Coverage::Incomparable);
        assert_eq!(covers(&position("a", 1, 6), &row(5)), Coverage::Incomparable);
        assert_eq!((cluster(&row(1)), cluster(&position("a", 7, 1))), (Some(1), Some(7)));
    }

    #[test]
    fn what_is_kept_is_read_back() {
        for how in [How::Log, How::Outbox] {
            let from = Checkpoint { how, cluster: u64::MAX - 1, timeline: 3, place: 1 << 40, tables: Known::of(&[(7, 9)].into()) };
            let kept = from.write();
            assert_eq!(Checkpoint::read(&kept), Some(from));
            for length in 0..kept.0.len() {
                assert_eq!(Checkpoint::read(&Resume(kept.0[..length].to_vec())), None);
            }
        }
        assert_eq!(Checkpoint::read(&Resume(vec![9; 29])), None);
    }

    #[test]
    fn locations_are_read_as_the_server_writes_them() {
        assert_eq!(location("16/B374D848"), Some(0x16_b374_d848));
        assert_eq!(location("0/0"), Some(0));
        for text in ["", "1", "1/", "/1", "1/100000000", "x/1"] {
            assert_eq!(location(text), None, "{text}");
        }
    }

    #[test]
    fn locations_of_one_cluster_are_ordered() {
        let rows = [
            (position("a", 1, 5), position("a", 1, 5), Coverage::Covered),
            (position("a", 1, 6), position("a", 1, 5), Coverage::Covered),
            (position("a", 1, 5), position("a", 1, 6), Coverage::Behind),
            (position("a", 1, 6), position("a", 2, 5), Coverage::Incomparable),
            (position("a", 1, 6), position("b", 1, 5), Coverage::Incomparable),
            (position("a", 1, 6), Position { store: StoreName::new("a"), token: vec![1] }, Coverage::Incomparable),
        ];
        for (applied, wanted, expected) in rows {
            assert_eq!(covers(&applied, &wanted), expected, "{applied:?} {wanted:?}");
        }
    }
}
