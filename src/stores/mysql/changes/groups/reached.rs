//! Where in the files of the server reading has come.

use super::super::events::{Event, kind, rotated};
use super::super::position::{Gtids, Mark};
use super::Machine;

/// Set on events that are in no file.
const ARTIFICIAL: u16 = 0x20;

impl Machine {
    /// Everything that was given, or is among what is given next.
    pub(in super::super) fn applied(&self) -> &Gtids {
        &self.applied
    }
}

/// The end of the last event.
#[derive(Debug, Default)]
pub(super) struct Reached {
    file: String,
    end: u64,
    is_sure: bool,
}

impl Reached {
    /// Takes note of an event.
    pub(super) fn look(&mut self, event: &Event) {
        if event.kind == kind::ROTATE {
            match rotated(&event.body) {
                Ok((file, end)) => *self = Self { file, end, is_sure: true },
                Err(_malformed) => self.is_sure = false,
            }
            return;
        }
        let is_made_up = event.flags & ARTIFICIAL != 0 || [kind::HEARTBEAT, kind::HEARTBEAT_LONG].contains(&event.kind);
        if event.end > 0 && !is_made_up {
            let end = u64::from(event.end);
            // Places are told in four bytes, and begin again in longer files.
            self.is_sure &= end > self.end;
            self.end = end;
        }
    }

    /// The place, where it is known.
    pub(super) fn mark(&self) -> Option<Mark> {
        (self.is_sure && !self.file.is_empty()).then(|| Mark { file: self.file.clone(), offset: self.end })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::events::samples::event;
    use super::*;

    fn at(kind: u8, end: u32, flags: u16) -> Event {
        Event { end, flags, ..event(kind, Vec::new()) }
    }

    #[test]
    fn places_are_known_as_long_as_they_rise() {
        let mut reached = Reached::default();
        reached.look(&at(kind::XID, 90, 0));
        assert_eq!(reached.mark(), None, "of no file");
        let rotate = || event(kind::ROTATE, [4_u64.to_le_bytes().as_slice(), b"binlog.000002".as_slice()].concat());
        reached.look(&rotate());
        let mark = |offset: u64| Some(Mark { file: "binlog.000002".to_owned(), offset });
        reached.look(&at(kind::XID, 90, 0));
        reached.look(&at(163, 9_000, ARTIFICIAL));
        reached.look(&at(kind::HEARTBEAT, 80, 0));
        assert_eq!(reached.mark(), mark(90));
        reached.look(&at(kind::XID, 20, 0));
        assert_eq!(reached.mark(), None, "the file is longer than its places tell");
        reached.look(&at(kind::XID, 200, 0));
        assert_eq!(reached.mark(), None);
        reached.look(&rotate());
        assert_eq!(reached.mark(), mark(4));
    }
}
