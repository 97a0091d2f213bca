//! What happened to one table lately, and whether a result may be kept that was made of it.
//!
//! An event says only that a table has changed. A result is kept with the number of the events until then, and is good for as long as that
//! number stands. That alone would not do: a store may tell of a change before others see it, so that whoever asks behind the event still
//! gets the old rows, and no later event would say so. Hence what happened lately is remembered, and a result is kept only where all of it
//! is known to be in what was read.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Most transactions that are remembered of a table.
pub(super) const RECENT_MAX: usize = 1_024;
/// For how long they are.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Why a result is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unproven {
    /// What happened shortly before it was read is not known any more, or not yet.
    Unknown,
    /// Something has happened that is not known to be in it.
    Happened,
}

/// The events of a table: `T` names a transaction, and `None` something of which it is not known when it is seen.
#[derive(Debug)]
pub(super) struct Ring<T> {
    epoch: u64,
    recent: VecDeque<(Option<T>, Instant)>,
    /// Everything is in it that was received since then.
    complete: Instant,
}

impl<T> Ring<T> {
    /// Nothing has been received since then.
    pub(super) fn since(complete: Instant) -> Self {
        Self { epoch: 0, recent: VecDeque::new(), complete }
    }

    /// The number of the events until now.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Something has happened, which was received now.
    pub(super) fn push(&mut self, transaction: Option<T>, now: Instant) {
        self.epoch += 1;
        self.recent.push_back((transaction, now));
        while let Some((_, received)) = self.recent.front() {
            let (is_old, received) = (now.saturating_duration_since(*received) > REMEMBERED, *received);
            if !is_old && self.recent.len() <= RECENT_MAX {
                return;
            }
            self.recent.pop_front();
            // Another one may have been received in the same moment, and is in it.
            self.complete = self.complete.max(received + Duration::from_nanos(1));
        }
    }

    /// The number to keep a result under. `began`: when reading it began; `look_back`: so long before that something may have been
    /// received that is not in it; `contains` says whether a transaction is.
    ///
    /// # Errors
    /// It is not known to have everything that happened until now.
    pub(super) fn check(&self, began: Instant, look_back: Duration, contains: impl Fn(&T) -> bool) -> Result<u64, Unproven> {
        let from = began.checked_sub(look_back).ok_or(Unproven::Unknown)?;
        if self.complete > from {
            return Err(Unproven::Unknown);
        }
        let is_in_it = |transaction: &Option<T>| transaction.as_ref().is_some_and(&contains);
        let mut late = self.recent.iter().rev().take_while(|(_, received)| *received >= from);
        if late.all(|(transaction, _)| is_in_it(transaction)) { Ok(self.epoch) } else { Err(Unproven::Happened) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cache::Required;
    use crate::changes::fakes::{FakeStore, position_of};
    use crate::stores::Connector;
    use crate::stores::position::Coverage;

    /// Numbers that look random and are the same each time.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % sides
        }
    }

    /// A rule that a model leaves out.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Without {
        Nothing,
        /// What was told lately is in what was read.
        Contained,
        /// A session is given what has everything that it has written.
        Position,
        /// Where it is not known how a write has ended, the store is asked how far it is with every read.
        Fence,
    }

    /// What comes about in histories.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    struct Counts {
        /// Histories that end with a result that is stale for ever, and with one at all.
        stale: usize,
        kept: usize,
        /// Reads of a session that lack what it has written, and those that were given a result behind a write and behind a fence.
        lost: usize,
        own: usize,
        fenced: usize,
    }

    /// A store that tells of a transaction when it is in its log, and shows it at any time behind that; and a session that writes there.
    struct Model<'s> {
        store: &'s FakeStore,
        now: Instant,
        ring: Ring<u64>,
        /// Transactions until now; each writes its own number.
        committed: u64,
        told: u64,
        visible: BTreeSet<u64>,
        /// What reads that go on have seen, and when they began.
        reading: Vec<(Instant, BTreeSet<u64>)>,
        /// What is kept: what was seen, under which number.
        kept: Option<(BTreeSet<u64>, u64)>,
        without: Without,
        session: Session,
        counts: Counts,
    }

    /// Somebody who writes, and reads results.
    #[derive(Default)]
    struct Session {
        required: Required,
        /// What is being written: an answer comes when it is visible.
        writing: Option<u64>,
        /// What was written, with or without an answer.
        written: BTreeSet<u64>,
        is_fenced: bool,
    }

    const LOOK_BACK: Duration = Duration::from_secs(60);

    impl<'s> Model<'s> {
        fn new(store: &'s FakeStore, without: Without) -> Self {
            // So that nothing is before the beginning of the clock.
            let now = Instant::now() + LOOK_BACK * 10;
            Self {
                store,
                now,
                ring: Ring::since(now - LOOK_BACK * 2),
                committed: 0,
                told: 0,
                visible: BTreeSet::new(),
                reading: Vec::new(),
                kept: None,
                without,
                session: Session::default(),
                counts: Counts::default(),
            }
        }

        fn tell(&mut self) {
            if self.told < self.committed {
                self.told += 1;
                self.ring.push(Some(self.told), self.now);
            }
        }

        fn end(&mut self, place: usize) {
            let (began, seen) = self.reading.swap_remove(place);
            let is_asked = self.without != Without::Contained;
            let checked = self.ring.check(began, LOOK_BACK, |number| !is_asked || seen.contains(number));
            if let Ok(epoch) = checked {
                self.kept = Some((seen, epoch));
            }
        }

        /// The session writes, or hears how that has ended, or hears nothing any more.
        fn write(&mut self, dice: &mut Dice) {
            let (session, name) = (&mut self.session, self.store.name());
            let Some(number) = session.writing else {
                self.committed += 1;
                session.writing = Some(self.committed);
                return;
            };
            let is_lost = dice.roll(8) == 0;
            if is_lost {
                session.is_fenced = true;
                if self.without != Without::Fence {
                    session.required.fence(name);
                }
            } else if self.visible.contains(&number) {
                session.required.raise(name, position_of(name, number));
            } else {
                return;
            }
            session.writing = None;
            session.written.insert(number);
        }

        /// The session asks for the result.
        fn read(&mut self) {
            if self.session.writing.is_some() {
                return;
            }
            let (required, name) = (&self.session.required, self.store.name());
            if let Some(mark) = required.unsettled_at(name) {
                // Where the store is: behind everything that is in its log.
                required.settle(self.store, mark, &position_of(name, self.committed));
            }
            let applied = position_of(name, self.told);
            let has_reached = self.without == Without::Position || required.coverage(self.store, &applied) == Coverage::Covered;
            let current = self.kept.as_ref().filter(|(_, epoch)| *epoch == self.ring.epoch());
            let Some((seen, _)) = current.filter(|_| has_reached) else { return };
            // What the store shows of what the session has written.
            let is_lost = self.session.written.intersection(&self.visible).any(|number| !seen.contains(number));
            self.counts.lost += usize::from(is_lost);
            self.counts.own += usize::from(!self.session.written.is_empty());
            self.counts.fenced += usize::from(self.session.is_fenced);
        }

        fn step(&mut self, dice: &mut Dice) {
            self.now += Duration::from_millis(dice.roll(5));
            match dice.roll(11) {
                0 => self.committed += 1,
                1 | 9 => self.tell(),
                2 => {
                    // Any of those that are committed, in any order.
                    let hidden: Vec<u64> = (1..=self.committed).filter(|number| !self.visible.contains(number)).collect();
                    if !hidden.is_empty() {
                        let place = usize::try_from(dice.roll(hidden.len() as u64)).unwrap();
                        self.visible.insert(hidden[place]);
                    }
                }
                3 if self.reading.len() < 3 => self.reading.push((self.now, self.visible.clone())),
                4 if !self.reading.is_empty() => {
                    let place = usize::try_from(dice.roll(self.reading.len() as u64)).unwrap();
                    self.end(place);
                }
                5 | 6 => self.write(dice),
                7 | 8 => self.read(),
                _ => {}
            }
        }

        /// Everything comes to its end; what is still served then is served for ever.
        fn serves_something_stale(mut self) -> bool {
            while self.told < self.committed {
                self.tell();
            }
            self.visible = (1..=self.committed).collect();
            while !self.reading.is_empty() {
                self.end(0);
            }
            let kept = self.kept.as_ref().filter(|(_, epoch)| *epoch == self.ring.epoch());
            kept.is_some_and(|(seen, _)| *seen != self.visible)
        }
    }

    /// What has come about in many histories.
    fn played(without: Without) -> Counts {
        let (store, mut all) = (FakeStore::new("shop"), Counts::default());
        for seed in 1..=4_000 {
            let (mut model, mut dice) = (Model::new(&store, without), Dice(seed * 0x9e37_79b9));
            for _ in 0..60 {
                model.step(&mut dice);
            }
            all.lost += model.counts.lost;
            all.own += model.counts.own;
            all.fenced += model.counts.fenced;
            all.kept += usize::from(model.kept.is_some());
            all.stale += usize::from(model.serves_something_stale());
        }
        all
    }

    #[test]
    fn nothing_stale_is_served_for_ever_and_no_write_is_missed_in_whatever_order_things_come() {
        let counts = played(Without::Nothing);
        assert_eq!((counts.stale, counts.lost), (0, 0), "{counts:?}");
        assert!(counts.kept > 500, "results are kept all the same: {counts:?}");
        assert!(counts.own > 100 && counts.fenced > 20, "and a session is given them: {counts:?}");
    }

    #[test]
    fn without_the_check_the_model_finds_what_is_stale_for_ever() {
        let counts = played(Without::Contained);
        assert!(counts.stale > 0 && counts.lost > 0, "a model that finds nothing proves nothing: {counts:?}");
    }

    #[test]
    fn without_positions_or_without_fences_the_model_finds_writes_that_a_session_misses() {
        for without in [Without::Position, Without::Fence] {
            let counts = played(without);
            assert_eq!(counts.stale, 0, "{without:?}: {counts:?}");
            assert!(counts.lost > 0, "{without:?} finds nothing and proves nothing: {counts:?}");
        }
    }

    #[test]
    fn what_was_forgotten_is_not_taken_for_nothing() {
        let begun = Instant::now() + LOOK_BACK * 10;
        let mut ring = Ring::since(begun - LOOK_BACK * 2);
        for number in 0..RECENT_MAX {
            ring.push(Some(number), begun);
        }
        assert_eq!(ring.check(begun, LOOK_BACK, |_| true), Ok(RECENT_MAX as u64));
        ring.push(Some(RECENT_MAX), begun);
        assert_eq!(ring.check(begun, LOOK_BACK, |_| true), Err(Unproven::Unknown));
        // Behind that it is known again what was received.
        let later = begun + LOOK_BACK + Duration::from_secs(1);
        assert_eq!(ring.check(later, LOOK_BACK, |_| false), Ok(RECENT_MAX as u64 + 1));
    }

    #[test]
    fn what_cannot_be_placed_is_in_no_result_that_was_read_shortly_behind_it() {
        let begun = Instant::now() + LOOK_BACK * 10;
        let mut ring: Ring<u64> = Ring::since(begun - LOOK_BACK * 2);
        ring.push(None, begun);
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(ring.check(after(1), LOOK_BACK, |_| true), Err(Unproven::Happened));
        assert_eq!(ring.check(after(61), LOOK_BACK, |_| true), Ok(1));
        // A ring that begins later knows nothing of before.
        let young: Ring<u64> = Ring::since(begun);
        assert_eq!(young.check(after(1), LOOK_BACK, |_| true), Err(Unproven::Unknown));
        assert_eq!(young.check(after(1), Duration::from_millis(250), |_| false), Ok(0));
    }
}
