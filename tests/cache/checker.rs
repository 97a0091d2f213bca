//! What must hold of reads, given who wrote what and when: nothing that was never written, no transaction in part, one's own writes, no
//! way back, nothing older than the bound, and with `strong` nothing older than the beginning of the read.
//!
//! Every transaction has a number of its own, larger than all that were begun before it, and gives that number to some keys of a store, in two
//! tables each. A key has one writer at a time, so its numbers grow. Moments are microseconds of one clock.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::changes::check::End;
use crate::commit::stage::START;

/// The number of every key before anybody has written it.
pub const FIRST: i64 = START;

/// What a read was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Store,
    Strong,
    Session,
    /// With a bound in microseconds.
    Bounded(u64),
    Eventual,
}

/// A transaction in one store.
#[derive(Debug, Clone)]
pub struct Write {
    pub store: &'static str,
    pub number: i64,
    pub keys: Vec<i64>,
    pub begun: u64,
    pub ended: u64,
    pub end: End,
}

/// What one statement has read of one store.
#[derive(Debug, Clone)]
pub struct Read {
    pub store: &'static str,
    pub level: Level,
    pub begun: u64,
    pub ended: u64,
    /// The keys that were asked for.
    pub keys: Vec<i64>,
    /// Keys with their numbers in either table.
    pub rows: Vec<[i64; 3]>,
}

/// What a session did.
#[derive(Debug, Clone)]
pub enum Op {
    Write(Write),
    Read(Read),
}

/// Everything that was done.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// By writers past Tributary.
    pub behind: Vec<Write>,
    /// By each session, in its order, also over several connections where it has carried its token.
    pub sessions: Vec<Vec<Op>>,
}

/// How often each rule was held against something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checks {
    pub written: u64,
    pub whole: u64,
    pub own: u64,
    pub forward: u64,
    pub bounded: u64,
    pub strong: u64,
}

impl Checks {
    /// All together.
    pub fn total(&self) -> u64 {
        self.each().iter().sum()
    }

    /// One after the other.
    pub fn each(&self) -> [u64; 6] {
        [self.written, self.whole, self.own, self.forward, self.bounded, self.strong]
    }
}

impl fmt::Display for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [written, whole, own, forward, bounded, strong] = self.each();
        write!(
            f,
            "{} checks: {written} that it was written, {whole} of whole transactions, {own} of own writes, {forward} of no way back, \
             {bounded} of bounds, {strong} of strong reads",
            self.total()
        )
    }
}

/// Everything that is wrong, and how much was looked at.
pub fn verdict(history: &History) -> (Vec<String>, Checks) {
    let facts = Facts::of(history);
    let mut judge = Judge { facts: &facts, found: Vec::new(), checks: Checks::default() };
    for session in &history.sessions {
        let mut floors = Floors::new();
        for op in session {
            match op {
                Op::Write(write) => raise(&mut floors, write),
                Op::Read(read) => judge.read(read, &mut floors),
            }
        }
    }
    (judge.found, judge.checks)
}

/// A key of a store.
type Key = (&'static str, i64);

/// What was written.
struct Facts<'h> {
    by_number: HashMap<(&'static str, i64), &'h Write>,
    /// For each key, when which number was the newest that somebody had been told is kept.
    told: HashMap<Key, Vec<(u64, i64)>>,
}

impl<'h> Facts<'h> {
    fn of(history: &'h History) -> Self {
        let proxied = history.sessions.iter().flatten().filter_map(|op| if let Op::Write(write) = op { Some(write) } else { None });
        let all: Vec<&Write> = history.behind.iter().chain(proxied).collect();
        let mut told: HashMap<Key, Vec<(u64, i64)>> = HashMap::new();
        for write in all.iter().filter(|write| write.end == End::Kept) {
            for key in &write.keys {
                told.entry((write.store, *key)).or_default().push((write.ended, write.number));
            }
        }
        for times in told.values_mut() {
            times.sort_unstable();
            let mut newest = FIRST;
            for (_, number) in times {
                newest = newest.max(*number);
                *number = newest;
            }
        }
        Self { by_number: all.iter().map(|write| ((write.store, write.number), *write)).collect(), told }
    }

    /// The newest number of a key that somebody had been told is kept, at a moment.
    fn newest(&self, key: Key, moment: u64) -> i64 {
        let Some(times) = self.told.get(&key) else { return FIRST };
        let count = times.partition_point(|(ended, _)| *ended <= moment);
        if count == 0 { FIRST } else { times[count - 1].1 }
    }
}

/// What a session must not go below, and whether that is because it has written it.
type Floors = HashMap<Key, (i64, bool)>;

fn raise(floors: &mut Floors, write: &Write) {
    if write.end == End::Kept {
        for key in &write.keys {
            let floor = floors.entry((write.store, *key)).or_insert((FIRST, true));
            *floor = (*floor).max((write.number, true));
        }
    }
}

struct Judge<'f> {
    facts: &'f Facts<'f>,
    found: Vec<String>,
    checks: Checks,
}

impl Judge<'_> {
    fn read(&mut self, read: &Read, floors: &mut Floors) {
        let rows: BTreeMap<i64, [i64; 2]> = read.rows.iter().map(|[key, one, other]| (*key, [*one, *other])).collect();
        let mut asked = read.keys.clone();
        asked.sort_unstable();
        if rows.len() != read.rows.len() || !rows.keys().eq(asked.iter()) {
            self.found.push(format!("asked for {asked:?} it gives {:?}: {}", read.rows, shown(read)));
        }
        for (key, numbers) in &rows {
            self.written(read, (*key, *numbers));
            self.whole(read, (*key, *numbers), &rows);
            self.fresh(read, (*key, numbers[0].min(numbers[1])));
            if read.level != Level::Eventual {
                self.forward(read, (*key, numbers[0].min(numbers[1])), floors);
            }
        }
    }

    /// Each number was written to that key, by something that was not undone and had begun.
    fn written(&mut self, read: &Read, (key, numbers): (i64, [i64; 2])) {
        let distinct = if numbers[0] == numbers[1] { 1 } else { 2 };
        for number in numbers.into_iter().take(distinct) {
            self.checks.written += 1;
            let write = self.facts.by_number.get(&(read.store, number));
            let is_written =
                write.is_some_and(|write| write.keys.contains(&key) && write.end != End::Undone && write.begun <= read.ended);
            if number != FIRST && !is_written {
                self.found.push(format!("{number} of {key} was not written: {}, {write:?}", shown(read)));
            }
        }
    }

    /// Both tables have the number of one transaction, and so have its other keys, or that of a later one.
    fn whole(&mut self, read: &Read, (key, [one, other]): (i64, [i64; 2]), rows: &BTreeMap<i64, [i64; 2]>) {
        self.checks.whole += 1;
        if one != other {
            self.found.push(format!("{key} has {one} in one table and {other} in the other: {}", shown(read)));
        }
        let Some(write) = self.facts.by_number.get(&(read.store, one.max(other))) else { return };
        for beside in write.keys.iter().filter(|beside| **beside != key) {
            if let Some([one, other]) = rows.get(beside) {
                self.checks.whole += 1;
                if *one.min(other) < write.number {
                    let part = format!("{} is there at {key}, and {beside} has {one} and {other}", write.number);
                    self.found.push(format!("{part}: {}", shown(read)));
                }
            }
        }
    }

    /// What was promised about its age.
    fn fresh(&mut self, read: &Read, (key, number): (i64, i64)) {
        let moment = match read.level {
            Level::Strong | Level::Store => {
                self.checks.strong += 1;
                read.begun
            }
            Level::Bounded(bound) => {
                self.checks.bounded += 1;
                read.begun.saturating_sub(bound)
            }
            Level::Session | Level::Eventual => return,
        };
        let newest = self.facts.newest((read.store, key), moment);
        if number < newest {
            self.found.push(format!("{key} has {number}, and {newest} was kept at {moment}: {}", shown(read)));
        }
    }

    /// Nothing older than what its session has written and seen.
    fn forward(&mut self, read: &Read, (key, number): (i64, i64), floors: &mut Floors) {
        // Who asks for the store itself is told what that shows, which a copy may have shown before.
        let is_held = |is_own: bool| is_own || read.level != Level::Store;
        if let Some((floor, is_own)) = floors.get(&(read.store, key)).filter(|(_, is_own)| is_held(*is_own)) {
            let (count, how) = if *is_own { (&mut self.checks.own, "has written") } else { (&mut self.checks.forward, "has seen") };
            *count += 1;
            if number < *floor {
                self.found.push(format!("{key} has {number} where the session {how} {floor}: {}", shown(read)));
            }
        }
        let floor = floors.entry((read.store, key)).or_insert((FIRST, false));
        if number > floor.0 {
            *floor = (number, false);
        }
    }
}

fn shown(read: &Read) -> String {
    let Read { store, level, begun, ended, .. } = read;
    format!("a read of {store} by {level:?}, {begun} to {ended}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(number: i64, keys: &[i64], (begun, ended): (u64, u64)) -> Write {
        Write { store: "pg", number, keys: keys.to_vec(), begun, ended, end: End::Kept }
    }

    fn read(level: Level, (begun, ended): (u64, u64), rows: &[(i64, i64)]) -> Op {
        let keys = rows.iter().map(|(key, _)| *key).collect();
        let rows = rows.iter().map(|(key, number)| [*key, *number, *number]).collect();
        Op::Read(Read { store: "pg", level, begun, ended, keys, rows })
    }

    /// Keys 1 and 2 are written behind, at 100 and 200; key 3 by the session, at 300.
    fn history(ops: Vec<Op>) -> History {
        let behind = vec![write(2_000, &[1, 2], (90, 100)), write(2_001, &[1, 2], (190, 200))];
        let own = Op::Write(write(2_002, &[3], (290, 300)));
        History { behind, sessions: vec![std::iter::once(own).chain(ops).collect()] }
    }

    fn complaints(ops: Vec<Op>) -> Vec<String> {
        verdict(&history(ops)).0
    }

    #[track_caller]
    fn assert_told(ops: Vec<Op>, expected: &str) {
        let found = complaints(ops);
        assert!(found.len() == 1 && found[0].contains(expected), "{expected:?} is not {found:?}");
    }

    #[test]
    fn good_reads_have_no_complaint_and_are_counted() {
        let ops = vec![
            read(Level::Eventual, (310, 320), &[(1, FIRST), (2, FIRST), (3, FIRST)]),
            read(Level::Session, (310, 320), &[(1, FIRST), (2, FIRST), (3, 2_002)]),
            read(Level::Bounded(150), (310, 320), &[(1, 2_000), (2, 2_000)]),
            read(Level::Bounded(100), (310, 320), &[(1, 2_001), (2, 2_001)]),
            read(Level::Strong, (320, 330), &[(1, 2_001), (3, 2_002)]),
            read(Level::Store, (330, 340), &[(2, 2_001)]),
            read(Level::Eventual, (350, 360), &[(1, 2_000), (2, 2_000)]),
        ];
        let (found, checks) = verdict(&history(ops));
        assert_eq!(found, Vec::<String>::new());
        assert_eq!(checks.each(), [15, 21, 2, 5, 4, 3], "{checks}");
        assert_eq!(checks.total(), 50);
    }

    #[test]
    fn a_lost_own_write_is_noticed() {
        assert_told(vec![read(Level::Session, (310, 320), &[(3, FIRST)])], "the session has written 2002");
        // Nobody knows how one has ended that was never answered.
        let mut unknown = history(vec![read(Level::Session, (310, 320), &[(3, FIRST)])]);
        if let Op::Write(write) = &mut unknown.sessions[0][0] {
            write.end = End::Unknown;
        }
        assert_eq!(verdict(&unknown).0, Vec::<String>::new());
    }

    #[test]
    fn a_way_back_is_noticed() {
        let seen = read(Level::Session, (310, 320), &[(1, 2_001), (2, 2_001)]);
        assert_told(vec![seen, read(Level::Session, (330, 340), &[(1, 2_000)])], "the session has seen 2001");
        let seen = read(Level::Store, (310, 320), &[(1, 2_001)]);
        assert_told(vec![seen, read(Level::Bounded(1_000), (330, 340), &[(1, 2_000)])], "the session has seen 2001");
        let seen = read(Level::Session, (150, 160), &[(1, 2_000)]);
        assert_eq!(complaints(vec![seen, read(Level::Store, (50, 60), &[(1, FIRST)])]), Vec::<String>::new());
        // Another session is none of its business, and who takes anything takes that.
        let mut two = history(vec![read(Level::Session, (310, 320), &[(1, 2_001)])]);
        two.sessions.push(vec![read(Level::Session, (330, 340), &[(1, 2_000)]), read(Level::Eventual, (350, 360), &[(1, FIRST)])]);
        assert_eq!(verdict(&two).0, Vec::<String>::new());
    }

    #[test]
    fn what_is_older_than_its_bound_is_noticed() {
        assert_told(vec![read(Level::Bounded(100), (301, 310), &[(1, 2_000)])], "2001 was kept at 201");
        assert_told(vec![read(Level::Bounded(100), (300, 310), &[(1, FIRST)])], "2001 was kept at 200");
        assert_eq!(complaints(vec![read(Level::Bounded(101), (300, 310), &[(1, 2_000)])]), Vec::<String>::new());
    }

    #[test]
    fn a_strong_read_that_is_old_is_noticed() {
        for level in [Level::Strong, Level::Store] {
            assert_told(vec![read(level, (301, 310), &[(2, 2_000)])], "2001 was kept at 301");
            assert_eq!(complaints(vec![read(level, (199, 310), &[(2, 2_000)])]), Vec::<String>::new());
        }
    }

    #[test]
    fn a_torn_transaction_is_noticed() {
        assert_told(
            vec![read(Level::Eventual, (310, 320), &[(1, 2_001), (2, 2_000)])],
            "2001 is there at 1, and 2 has 2000 and 2000",
        );
        let Op::Read(mut half) = read(Level::Eventual, (310, 320), &[(1, 2_001)]) else { panic!("a read") };
        half.rows[0][2] = 2_000;
        assert_told(vec![Op::Read(half)], "1 has 2001 in one table and 2000 in the other");
    }

    #[test]
    fn what_was_never_written_or_undone_or_is_missing_is_noticed() {
        assert_told(vec![read(Level::Eventual, (310, 320), &[(1, 2_005)])], "2005 of 1 was not written");
        assert_told(vec![read(Level::Eventual, (310, 320), &[(3, 2_001)])], "2001 of 3 was not written");
        assert_told(vec![read(Level::Eventual, (10, 20), &[(1, 2_000)])], "2000 of 1 was not written");
        let mut undone = history(vec![read(Level::Eventual, (310, 320), &[(1, 2_001)])]);
        undone.behind[1].end = End::Undone;
        assert!(verdict(&undone).0.iter().any(|complaint| complaint.contains("2001 of 1 was not written")));
        let Op::Read(mut less) = read(Level::Eventual, (310, 320), &[(1, 2_001), (2, 2_001)]) else { panic!("a read") };
        less.rows.pop();
        assert_told(vec![Op::Read(less.clone())], "asked for [1, 2] it gives");
        less.rows.extend([[2, 2_001, 2_001], [2, 2_001, 2_001]]);
        assert_told(vec![Op::Read(less)], "asked for [1, 2] it gives");
    }
}
