//! Looks at a history of transactions that append to lists and read them for what cannot have happened at their isolation level.
//!
//! Each value is appended once, so that a list that was read tells in which order its writers came: what is known of all lists gives the
//! edges between transactions (Adya, "Weak Consistency", 1999; Kingsbury and Alvaro, "Elle", 2020). `ww`: the one appended right
//! behind the other. `wr`: the one read what the other appended last. `rw`: the one read a list without what the other appended next.
//!
//! Snapshots forbid every cycle in which no two `rw` follow one another (Fekete et al., "Making snapshot isolation serializable", 2005):
//! those that are left when each `rw` is taken together with what comes before it (Cerone and Gotsman, "Analysing snapshot isolation",
//! 2018). A cycle with one `rw`, such as a lost update or a read of two states, is among them.

use std::collections::{BTreeMap, BTreeSet};

/// A list: its store and its number.
pub type Key = (usize, i64);

/// What a transaction did, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Append(Key, i64),
    Read(Key, Vec<i64>),
}

/// What its client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    RolledBack,
    Unknown,
}

/// One of a history; transactions are known by their places in it.
#[derive(Debug, Clone)]
pub struct Transaction {
    pub ops: Vec<Op>,
    pub outcome: Outcome,
}

/// Which cycles are forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Those of `ww` and `wr`: G0 and G1c.
    ReadCommitted,
    /// Those and all others in which no `rw` follows another: G-single among them.
    Snapshot,
    /// All.
    Serializable,
}

/// What cannot have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anomaly {
    /// A value that nobody appended.
    Garbage(Key, i64),
    /// A value that is in a list twice.
    Twice(Key, i64),
    /// A value of a transaction that was rolled back (G1a).
    Aborted(Key, i64),
    /// A list that ends in the middle of what one transaction appended (G1b).
    Intermediate(Key, i64),
    /// Two lists of one key of which neither begins the other.
    Order(Key, Vec<i64>, Vec<i64>),
    /// A value that was committed and is in no list at the end.
    Lost(Key, i64),
    /// A transaction that does not see its own appends, by its place.
    Internal(Key, usize),
    /// Transactions of which each comes before the next, by their places.
    Cycle(Vec<usize>),
}

/// Everything that is wrong with a history. `last` are the lists at its end, when nothing is under way.
pub fn anomalies(history: &[Transaction], last: &BTreeMap<Key, Vec<i64>>, level: Level) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let writers = writers(history);
    for (key, list) in reads(history).map(|(_, key, list)| (key, list)).chain(last.iter().map(|(key, list)| (*key, list))) {
        found.extend(of_list(history, &writers, key, list));
        let longest = last.get(&key).map_or(&[][..], Vec::as_slice);
        if !longest.starts_with(list) {
            found.push(Anomaly::Order(key, list.clone(), longest.to_vec()));
        }
    }
    for (place, transaction) in history.iter().enumerate() {
        if let Some(key) = not_its_own(transaction) {
            found.push(Anomaly::Internal(key, place));
        }
    }
    for ((key, value), writer) in &writers {
        let is_there = last.get(key).is_some_and(|list| list.contains(value));
        if history[*writer].outcome == Outcome::Committed && !is_there {
            found.push(Anomaly::Lost(*key, *value));
        }
    }
    // Edges mean something only where every list is sound.
    if found.is_empty() {
        found.extend(cycle(&edges(history, &writers, last, level)).map(Anomaly::Cycle));
    }
    found
}

/// Who appended each value.
fn writers(history: &[Transaction]) -> BTreeMap<(Key, i64), usize> {
    let ops = history.iter().enumerate().flat_map(|(place, transaction)| transaction.ops.iter().map(move |op| (place, op)));
    ops.filter_map(|(place, op)| match op {
        Op::Append(key, value) => Some(((*key, *value), place)),
        Op::Read(..) => None,
    })
    .collect()
}

/// Lists that were read by transactions which were not rolled back, without what these appended themselves. What one read that was rolled
/// back was no less committed; it is looked at too.
fn reads(history: &[Transaction]) -> impl Iterator<Item = (usize, Key, &Vec<i64>)> {
    history.iter().enumerate().flat_map(|(place, transaction)| {
        let mut written: BTreeSet<Key> = BTreeSet::new();
        transaction.ops.iter().filter_map(move |op| match op {
            Op::Append(key, _) => {
                written.insert(*key);
                None
            }
            Op::Read(key, list) => (!written.contains(key)).then_some((place, *key, list)),
        })
    })
}

/// What is wrong with a list by itself.
fn of_list(history: &[Transaction], writers: &BTreeMap<(Key, i64), usize>, key: Key, list: &[i64]) -> Vec<Anomaly> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for value in list {
        if !seen.insert(*value) {
            found.push(Anomaly::Twice(key, *value));
        }
        match writers.get(&(key, *value)).map(|writer| &history[*writer]) {
            None => found.push(Anomaly::Garbage(key, *value)),
            Some(writer) if writer.outcome == Outcome::RolledBack => found.push(Anomaly::Aborted(key, *value)),
            Some(writer) => {
                let of_writer: Vec<i64> = appended(writer, key);
                let is_last = list.last() == Some(value);
                if is_last && of_writer.last() != Some(value) {
                    found.push(Anomaly::Intermediate(key, *value));
                }
            }
        }
    }
    found
}

/// What a transaction appended to a list.
fn appended(transaction: &Transaction, wanted: Key) -> Vec<i64> {
    let values = transaction.ops.iter().filter_map(|op| match op {
        Op::Append(key, value) if *key == wanted => Some(*value),
        _ => None,
    });
    values.collect()
}

/// The first list that a transaction has read without all that it had appended to it, at its end.
fn not_its_own(transaction: &Transaction) -> Option<Key> {
    let mut own: BTreeMap<Key, Vec<i64>> = BTreeMap::new();
    for op in &transaction.ops {
        match op {
            Op::Append(key, value) => own.entry(*key).or_default().push(*value),
            Op::Read(key, list) => {
                if own.get(key).is_some_and(|own| !list.ends_with(own)) {
                    return Some(*key);
                }
            }
        }
    }
    None
}

/// Transactions with those that come after them.
type Edges = BTreeMap<usize, BTreeSet<usize>>;

/// Who comes before whom, as far as the level asks. Transactions of an unknown end count as committed where something of them is there.
fn edges(history: &[Transaction], writers: &BTreeMap<(Key, i64), usize>, last: &BTreeMap<Key, Vec<i64>>, level: Level) -> Edges {
    let (mut seen, mut unseen) = (Edges::new(), Edges::new());
    let add = |edges: &mut Edges, from: usize, to: usize| {
        if from != to {
            edges.entry(from).or_default().insert(to);
        }
    };
    let writer = |key: Key, value: i64| writers[&(key, value)];
    for (key, list) in last {
        for pair in list.windows(2) {
            add(&mut seen, writer(*key, pair[0]), writer(*key, pair[1]));
        }
    }
    for (place, key, list) in reads(history).filter(|(place, ..)| history[*place].outcome == Outcome::Committed) {
        if let Some(value) = list.last() {
            add(&mut seen, writer(key, *value), place);
        }
        let next = last.get(&key).and_then(|longest| longest.get(list.len()));
        if let Some(value) = next {
            add(&mut unseen, place, writer(key, *value));
        }
    }
    match level {
        Level::ReadCommitted => seen,
        Level::Snapshot => with_one_unseen(seen, &unseen),
        Level::Serializable => {
            for (from, to) in unseen {
                seen.entry(from).or_default().extend(to);
            }
            seen
        }
    }
}

/// Edges of `ww` and `wr`, and those with one `rw` behind them as one edge, which may lead back to where it began.
fn with_one_unseen(mut seen: Edges, unseen: &Edges) -> Edges {
    for to in seen.values_mut() {
        let behind: Vec<usize> = to.iter().filter_map(|middle| unseen.get(middle)).flatten().copied().collect();
        to.extend(behind);
    }
    seen
}

/// A cycle, if there is one: what is left when all who have nobody before them are taken away, over and over, has one.
fn cycle(edges: &Edges) -> Option<Vec<usize>> {
    let mut before: BTreeMap<usize, usize> = BTreeMap::new();
    for (from, to) in edges {
        before.entry(*from).or_default();
        to.iter().for_each(|to| *before.entry(*to).or_default() += 1);
    }
    let mut free: Vec<usize> = before.iter().filter(|(_, count)| **count == 0).map(|(place, _)| *place).collect();
    while let Some(place) = free.pop() {
        before.remove(&place);
        for to in edges.get(&place).into_iter().flatten() {
            if let Some(count) = before.get_mut(to) {
                *count -= 1;
                if *count == 0 {
                    free.push(*to);
                }
            }
        }
    }
    // Each that is left has one before it that is left, so walking back meets itself.
    let mut walked = vec![*before.keys().next()?];
    loop {
        let here = *walked.last()?;
        let earlier = *before.keys().find(|from| edges.get(*from).is_some_and(|to| to.contains(&here)))?;
        if let Some(start) = walked.iter().position(|place| *place == earlier) {
            let mut cycle = walked.split_off(start);
            cycle.reverse();
            return Some(cycle);
        }
        walked.push(earlier);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: Key = (0, 1);
    const Y: Key = (1, 1);

    fn done(ops: &[Op]) -> Transaction {
        Transaction { ops: ops.to_vec(), outcome: Outcome::Committed }
    }

    fn check(history: &[Transaction], last: &[(Key, &[i64])], level: Level) -> Vec<Anomaly> {
        let last = last.iter().map(|(key, list)| (*key, list.to_vec())).collect();
        anomalies(history, &last, level)
    }

    fn read(key: Key, list: &[i64]) -> Op {
        Op::Read(key, list.to_vec())
    }

    #[test]
    fn a_sound_history_has_nothing_wrong() {
        let history = [
            done(&[Op::Append(X, 1), read(X, &[1]), Op::Append(X, 2)]),
            done(&[read(X, &[1, 2]), Op::Append(Y, 3)]),
            Transaction { ops: vec![Op::Append(X, 4)], outcome: Outcome::RolledBack },
            Transaction { ops: vec![Op::Append(X, 5), Op::Append(Y, 6)], outcome: Outcome::Unknown },
            Transaction { ops: vec![Op::Append(X, 7)], outcome: Outcome::Unknown },
        ];
        assert_eq!(check(&history, &[(X, &[1, 2, 5]), (Y, &[3, 6])], Level::Serializable), Vec::new());
    }

    #[test]
    fn lists_that_cannot_be_are_found() {
        let own = done(&[Op::Append(X, 1)]);
        let two = done(&[Op::Append(X, 1), Op::Append(X, 2)]);
        let back = Transaction { ops: vec![Op::Append(X, 9)], outcome: Outcome::RolledBack };
        let level = Level::ReadCommitted;
        assert_eq!(check(std::slice::from_ref(&own), &[(X, &[1, 1])], level), [Anomaly::Twice(X, 1)]);
        assert_eq!(check(std::slice::from_ref(&own), &[(X, &[1, 3])], level), [Anomaly::Garbage(X, 3)]);
        assert_eq!(check(std::slice::from_ref(&own), &[(X, &[])], level), [Anomaly::Lost(X, 1)]);
        assert_eq!(check(&[own.clone(), back], &[(X, &[9, 1])], level), [Anomaly::Aborted(X, 9)]);
        let early = done(&[read(X, &[1])]);
        assert_eq!(check(&[two, early], &[(X, &[1, 2])], level), [Anomaly::Intermediate(X, 1)]);
        let other = done(&[Op::Append(X, 2), read(X, &[1])]);
        assert_eq!(check(&[own.clone(), other], &[(X, &[1, 2])], level), [Anomaly::Internal(X, 1)]);
        let other = done(&[Op::Append(X, 2)]);
        let reader = done(&[read(X, &[2])]);
        let found = check(&[own, other, reader], &[(X, &[1, 2])], level);
        assert_eq!(found, [Anomaly::Order(X, vec![2], vec![1, 2])]);
    }

    #[test]
    fn cycles_are_found_at_the_levels_that_forbid_them() {
        // G0: each comes before the other in one list.
        let history = [done(&[Op::Append(X, 1), Op::Append(Y, 2)]), done(&[Op::Append(X, 3), Op::Append(Y, 4)])];
        let found = check(&history, &[(X, &[1, 3]), (Y, &[4, 2])], Level::ReadCommitted);
        assert!(matches!(found.as_slice(), [Anomaly::Cycle(cycle)] if cycle.len() == 2), "{found:?}");
        // G1c: each has read the other.
        let history = [done(&[Op::Append(X, 1), read(Y, &[2])]), done(&[Op::Append(Y, 2), read(X, &[1])])];
        let found = check(&history, &[(X, &[1]), (Y, &[2])], Level::ReadCommitted);
        assert!(matches!(found.as_slice(), [Anomaly::Cycle(cycle)] if cycle.len() == 2), "{found:?}");
        // Write skew: neither has read the other.
        let history = [done(&[read(X, &[]), Op::Append(Y, 2)]), done(&[read(Y, &[]), Op::Append(X, 1)])];
        let last: [(Key, &[i64]); 2] = [(X, &[1]), (Y, &[2])];
        assert_eq!(check(&history, &last, Level::ReadCommitted), Vec::new());
        let found = check(&history, &last, Level::Serializable);
        assert!(matches!(found.as_slice(), [Anomaly::Cycle(cycle)] if cycle.len() == 2), "{found:?}");
        // A longer one, with one beside it that is in none.
        let history = [
            done(&[Op::Append(X, 1)]),
            done(&[read(X, &[1]), Op::Append((2, 1), 5), Op::Append(Y, 2)]),
            done(&[read(Y, &[2]), Op::Append((3, 1), 6)]),
            done(&[read((3, 1), &[6]), Op::Append((2, 1), 7), Op::Append(X, 3)]),
            done(&[read(X, &[1, 3])]),
        ];
        let last: [(Key, &[i64]); 4] = [(X, &[1, 3]), (Y, &[2]), ((2, 1), &[7, 5]), ((3, 1), &[6])];
        let found = check(&history, &last, Level::ReadCommitted);
        assert!(matches!(found.as_slice(), [Anomaly::Cycle(cycle)] if cycle.len() == 3), "{found:?}");
    }
    #[test]
    fn cycles_that_snapshots_forbid_are_found() {
        // Write skew is what they allow.
        let history = [done(&[read(X, &[]), Op::Append(Y, 2)]), done(&[read(Y, &[]), Op::Append(X, 1)])];
        let last: [(Key, &[i64]); 2] = [(X, &[1]), (Y, &[2])];
        assert_eq!(check(&history, &last, Level::Snapshot), Vec::new());
        // Nothing is wrong where one has read the other.
        let history = [done(&[read(X, &[]), Op::Append(Y, 2)]), done(&[read(Y, &[2]), Op::Append(X, 1)])];
        assert_eq!(check(&history, &last, Level::Serializable), Vec::new());
        // A lost update: both have read the same state, and both have changed it.
        let history = [done(&[read(X, &[]), Op::Append(X, 1)]), done(&[read(X, &[]), Op::Append(X, 3)])];
        let last: [(Key, &[i64]); 1] = [(X, &[1, 3])];
        assert_eq!(check(&history, &last, Level::ReadCommitted), Vec::new());
        let found = check(&history, &last, Level::Snapshot);
        assert!(matches!(found.as_slice(), [Anomaly::Cycle(cycle)] if !cycle.is_empty()), "{found:?}");
        // Two states in one transaction: what it has read of the second list comes after what it has not read of the first one.
        let history = [done(&[Op::Append(X, 1), Op::Append(Y, 2)]), done(&[read(X, &[]), read(Y, &[2])])];
        let last: [(Key, &[i64]); 2] = [(X, &[1]), (Y, &[2])];
        assert_eq!(check(&history, &last, Level::ReadCommitted), Vec::new());
        let found = check(&history, &last, Level::Snapshot);
        assert!(matches!(found.as_slice(), [Anomaly::Cycle(cycle)] if !cycle.is_empty()), "{found:?}");
        // Two readers that see two appends in another order each: one rw is not next to the other.
        let history = [
            done(&[Op::Append(X, 1)]),
            done(&[Op::Append(Y, 2)]),
            done(&[read(X, &[1]), read(Y, &[])]),
            done(&[read(X, &[]), read(Y, &[2])]),
        ];
        assert_eq!(check(&history, &last, Level::ReadCommitted), Vec::new());
        let found = check(&history, &last, Level::Snapshot);
        assert!(matches!(found.as_slice(), [Anomaly::Cycle(cycle)] if !cycle.is_empty()), "{found:?}");
    }
}
