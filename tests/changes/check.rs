//! What must hold of what a feed has told, given what was done in the store: no transaction lost, doubled or torn, each in its order,
//! and the same rows in the end.
//!
//! Every transaction adds one row to `moves`, whose key is its number and whose amount says how many other rows it touches, and writes
//! to `accounts` values that no other transaction writes and that grow with each write of a key.

use std::collections::{BTreeMap, BTreeSet};

use super::shaped::Seen;

/// The rows of `accounts`.
pub type Content = BTreeMap<i64, i64>;

/// What happens to one row of `accounts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Put { key: i64, value: i64 },
    Delete { key: i64 },
    Move { from: i64, to: i64, value: i64 },
}

impl Deed {
    /// Does it to the rows.
    pub fn apply(self, content: &mut Content) {
        match self {
            Self::Put { key, value } => {
                content.insert(key, value);
            }
            Self::Delete { key } => {
                content.remove(&key);
            }
            Self::Move { from, to, value } => {
                content.remove(&from);
                content.insert(to, value);
            }
        }
    }
}

/// How a transaction ended, as far as who made it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Kept,
    Undone,
    Unknown,
}

/// One transaction.
#[derive(Debug, Clone)]
pub struct Done {
    pub number: i64,
    /// Who made it: transactions of one of them come in their order.
    pub client: usize,
    pub deeds: Vec<Deed>,
    pub end: End,
}

/// What a feed has told of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Deed(Deed),
    /// A row of `moves`: the number of the transaction and how many deeds it has.
    Number(i64, usize),
    /// Something of the table that is altered meanwhile ([`super::shaped`]).
    Aside(Seen),
    /// Something that is no row.
    Other(String),
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// As clients see it: log, transaction, ordinal and check.
    pub position: String,
    pub what: What,
}

impl Told {
    /// The log and the transaction in it.
    fn transaction(&self) -> &str {
        self.position.get(..25).unwrap_or(&self.position)
    }

    fn ordinal(&self) -> Option<u32> {
        u32::from_str_radix(self.position.get(26..34)?, 16).ok()
    }
}

/// Everything that is wrong with what was told.
pub fn complaints(done: &[Done], told: &[Told], before: &Content, after: &Content) -> Vec<String> {
    let mut found = in_order(told);
    let groups: Vec<&[Told]> = told.chunk_by(|one, next| one.transaction() == next.transaction()).collect();
    for group in &groups {
        found.extend(holes(group));
    }
    let by_number: BTreeMap<i64, &Done> = done.iter().map(|done| (done.number, done)).collect();
    let mut seen: BTreeSet<i64> = BTreeSet::new();
    let mut last: BTreeMap<usize, i64> = BTreeMap::new();
    for group in &groups {
        for number in numbers(group) {
            let Some(done) = by_number.get(&number) else {
                found.push(format!("{number} was never begun"));
                continue;
            };
            if !seen.insert(number) {
                found.push(format!("{number} is told twice"));
            }
            if done.end == End::Undone {
                found.push(format!("{number} was undone and is told"));
            }
            if last.insert(done.client, number).is_some_and(|before| before > number) {
                found.push(format!("{number} of client {} is told behind a later one", done.client));
            }
        }
        found.extend(torn(group, &by_number));
    }
    let lost = done.iter().filter(|done| done.end == End::Kept && !seen.contains(&done.number));
    found.extend(lost.map(|done| format!("{} was kept and is not told: {:?}", done.number, done.deeds)));
    found.extend(backwards(told));
    let mut replayed = before.clone();
    told.iter().filter_map(deed).for_each(|deed| deed.apply(&mut replayed));
    if replayed != *after {
        found.push(format!("the rows are {after:?}, replayed they are {replayed:?}"));
    }
    found
}

fn deed(told: &Told) -> Option<Deed> {
    if let What::Deed(deed) = told.what { Some(deed) } else { None }
}

fn numbers(group: &[Told]) -> impl Iterator<Item = i64> {
    group.iter().filter_map(|told| if let What::Number(number, _) = told.what { Some(number) } else { None })
}

/// Positions grow, and nothing is missing or shaped anew.
fn in_order(told: &[Told]) -> Vec<String> {
    let pairs = told.windows(2).filter(|pair| pair[0].position >= pair[1].position);
    let mut found: Vec<String> = pairs.map(|pair| format!("{} comes before {}", pair[0].position, pair[1].position)).collect();
    found.extend(told.iter().filter_map(|told| match &told.what {
        What::Other(what) => Some(format!("{what} at {}", told.position)),
        _ => None,
    }));
    found
}

/// Entries of one transaction are numbered without a hole.
fn holes(group: &[Told]) -> Option<String> {
    let ordinals: Vec<Option<u32>> = group.iter().map(Told::ordinal).collect();
    let is_whole = ordinals.windows(2).all(|pair| pair[0].zip(pair[1]).is_some_and(|(one, next)| one + 1 == next));
    (!is_whole).then(|| format!("{} has the ordinals {ordinals:?}", group[0].position))
}

/// A group has all deeds of its transactions and no other. A store that tells several transactions together tells them whole.
fn torn(group: &[Told], done: &BTreeMap<i64, &Done>) -> Option<String> {
    let told: Vec<Deed> = group.iter().filter_map(deed).collect();
    let expected: Vec<Deed> = numbers(group).filter_map(|number| done.get(&number)).flat_map(|done| done.deeds.clone()).collect();
    let counted: usize = group.iter().map(|told| if let What::Number(_, count) = told.what { count } else { 0 }).sum();
    if told == expected && counted == told.len() {
        return None;
    }
    Some(format!("{} tells {told:?} where {expected:?} was done", group[0].position))
}

/// Values of a key only grow.
fn backwards(told: &[Told]) -> Vec<String> {
    let mut newest: Content = Content::new();
    let mut found = Vec::new();
    for (position, key, value) in told.iter().filter_map(|told| match told.what {
        What::Deed(Deed::Put { key, value } | Deed::Move { to: key, value, .. }) => Some((&told.position, key, value)),
        _ => None,
    }) {
        if newest.insert(key, value).is_some_and(|before| before >= value) {
            found.push(format!("the value {value} of {key} at {position} is older than one before it"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(transaction: u32, ordinal: u32, what: What) -> Told {
        Told { position: format!("00000001-{transaction:016x}-{ordinal:08x}-00000000"), what }
    }

    const FIRST: [Deed; 2] = [Deed::Put { key: 1, value: 11 }, Deed::Put { key: 2, value: 12 }];
    const SECOND: [Deed; 2] = [Deed::Put { key: 1, value: 21 }, Deed::Delete { key: 2 }];
    const THIRD: [Deed; 1] = [Deed::Move { from: 1, to: 3, value: 31 }];

    /// Three transactions that were kept, and one that was not.
    fn done() -> Vec<Done> {
        let one = |number, deeds: &[Deed], end| Done { number, client: 0, deeds: deeds.to_vec(), end };
        vec![
            one(1, &FIRST, End::Kept),
            one(2, &SECOND, End::Kept),
            one(3, &[Deed::Put { key: 7, value: 5 }], End::Undone),
            one(4, &THIRD, End::Kept),
        ]
    }

    fn events(transaction: u32, number: i64, deeds: &[Deed]) -> Vec<Told> {
        let first = told(transaction, 0, What::Number(number, deeds.len()));
        let rest = deeds.iter().zip(1..).map(|(deed, ordinal)| told(transaction, ordinal, What::Deed(*deed)));
        std::iter::once(first).chain(rest).collect()
    }

    fn good() -> Vec<Told> {
        [events(1, 1, &FIRST), events(2, 2, &SECOND), events(5, 4, &THIRD)].concat()
    }

    fn after() -> Content {
        Content::from([(3, 31)])
    }

    fn of(told: &[Told]) -> Vec<String> {
        complaints(&done(), told, &Content::new(), &after())
    }

    #[track_caller]
    fn assert_told(told: &[Told], expected: &str) {
        let found = of(told);
        assert!(found.iter().any(|complaint| complaint.contains(expected)), "{expected:?} is not among {found:?}");
    }

    #[test]
    fn a_good_history_has_no_complaint() {
        assert_eq!(of(&good()), Vec::<String>::new());
        // Two transactions that are told together are whole too.
        let mut together = events(1, 1, &FIRST);
        together.push(told(1, 3, What::Number(2, 2)));
        together.extend(SECOND.iter().zip(4..).map(|(deed, ordinal)| told(1, ordinal, What::Deed(*deed))));
        together.extend(events(2, 4, &THIRD));
        assert_eq!(of(&together), Vec::<String>::new());
    }

    #[test]
    fn an_unknown_end_may_be_either_and_is_whole() {
        let mut done = done();
        done[3].end = End::Unknown;
        let without = [events(1, 1, &FIRST), events(2, 2, &SECOND)].concat();
        assert_eq!(complaints(&done, &good(), &Content::new(), &after()), Vec::<String>::new());
        let rows = Content::from([(1, 21)]);
        assert_eq!(complaints(&done, &without, &Content::new(), &rows), Vec::<String>::new());
        let half = [without, vec![told(3, 0, What::Number(4, 1))]].concat();
        assert!(!complaints(&done, &half, &Content::new(), &rows).is_empty());
    }

    #[test]
    fn a_lost_transaction_is_noticed() {
        assert_told(&[events(1, 1, &FIRST), events(2, 4, &THIRD)].concat(), "2 was kept and is not told");
    }

    #[test]
    fn a_doubled_transaction_is_noticed() {
        assert_told(&[good(), events(6, 4, &THIRD)].concat(), "4 is told twice");
    }

    #[test]
    fn a_torn_transaction_is_noticed() {
        // Its end is missing, a row in its middle is, or it is told in two parts.
        let mut cut = good();
        cut.remove(2);
        assert_told(&cut, "where [Put { key: 1, value: 11 }, Put { key: 2, value: 12 }] was done");
        let mut holed = good();
        holed.remove(1);
        assert_told(&holed, "has the ordinals [Some(0), Some(2)]");
        let mut parted = good();
        parted[2] = told(2, 0, parted[2].what.clone());
        for (event, ordinal) in parted.iter_mut().skip(3).take(3).zip(1..) {
            *event = told(2, ordinal, event.what.clone());
        }
        assert_told(&parted, "tells [Put { key: 1, value: 11 }] where");
    }

    #[test]
    fn what_was_undone_or_never_done_is_noticed() {
        assert_told(&[good(), events(6, 3, &[Deed::Put { key: 7, value: 5 }])].concat(), "3 was undone and is told");
        assert_told(&[good(), events(6, 9, &[])].concat(), "9 was never begun");
    }

    #[test]
    fn another_order_is_noticed() {
        let swapped = [events(1, 2, &SECOND), events(2, 1, &FIRST), events(3, 4, &THIRD)].concat();
        assert_told(&swapped, "1 of client 0 is told behind a later one");
        assert_told(&swapped, "the value 11 of 1 at");
        let reversed: Vec<Told> = good().into_iter().rev().collect();
        assert_told(&reversed, " comes before ");
    }

    #[test]
    fn another_content_is_noticed() {
        let mut other = good();
        let last = other.len() - 1;
        other[last].what = What::Deed(Deed::Move { from: 1, to: 3, value: 32 });
        assert_told(&other, "the rows are {3: 31}, replayed they are {3: 32}");
    }

    #[test]
    fn a_gap_is_noticed() {
        assert_told(&[good(), vec![told(9, 0, What::Other("gap".to_owned()))]].concat(), "gap at 00000001-");
    }
}
