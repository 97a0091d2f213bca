//! What followed tables were like, as whoever goes on with a feed knows them: one that is another by now is told of, and the others are
//! not.

use std::collections::{BTreeMap, BTreeSet};

/// So many tables are kept each by itself. Of more, those whose numbers have the same remainder are kept, and told of, together: every
/// group of events carries this.
const SLOTS: u32 = 256;
/// Bytes of a slot and its sum.
const ENTRY: usize = 12;
/// The first byte: [`SHARED`] and this form. Of an older one, which is read and not made any more, it is the former alone.
const FORM: u8 = 4;
const SHARED: u8 = 1;

/// A fingerprint of each table by the table's number. Of feeds by the log, the upper half is of its columns as they are told, and the lower
/// one of what else the catalogs say.
pub(super) type Fingerprints = BTreeMap<u32, u64>;

/// The same, kept within bounds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Known {
    is_shared: bool,
    /// Whether an older version has written it, by fingerprints that are not in halves.
    is_older: bool,
    sums: BTreeMap<u32, u64>,
}

impl Known {
    /// Of tables as they are.
    pub(super) fn of(tables: &Fingerprints) -> Self {
        let fits = u32::try_from(tables.len()).is_ok_and(|count| count <= SLOTS);
        Self::kept(tables, !fits, false)
    }

    fn kept(tables: &Fingerprints, is_shared: bool, is_older: bool) -> Self {
        let mut sums = BTreeMap::new();
        for (number, fingerprint) in tables {
            let sum: &mut u64 = sums.entry(slot(*number, is_shared)).or_default();
            *sum = if is_older { sum.wrapping_add(*fingerprint) } else { add(*sum, *fingerprint) };
        }
        Self { is_shared, is_older, sums }
    }

    /// Those of the tables that are others than they were.
    pub(super) fn others(&self, tables: &Fingerprints) -> BTreeSet<u32> {
        let now = Self::kept(tables, self.is_shared, self.is_older);
        let is_other = |number: &u32| {
            let slot = slot(*number, self.is_shared);
            self.sums.get(&slot) != now.sums.get(&slot)
        };
        tables.keys().copied().filter(is_other).collect()
    }

    /// Those of the tables that are told as they were, and were defined anew all the same.
    pub(super) fn defined_anew(&self, tables: &Fingerprints) -> BTreeSet<u32> {
        let now = Self::kept(tables, self.is_shared, self.is_older);
        let is_anew = |number: &u32| {
            let slot = slot(*number, self.is_shared);
            let sums = self.sums.get(&slot).zip(now.sums.get(&slot));
            sums.is_some_and(|(before, now)| before != now && before >> 32 == now >> 32)
        };
        tables.keys().copied().filter(is_anew).collect()
    }

    /// The same in this form, with the fingerprints of now: of a table that is as it was by one of the older kinds of them, no more is known
    /// than that. The others are left out.
    pub(super) fn renewed(self, older: &[Fingerprints], now: &Fingerprints) -> Self {
        if !self.is_older {
            return self;
        }
        let others: Vec<BTreeSet<u32>> = older.iter().map(|kind| self.others(kind)).collect();
        let is_known = |number: u32| !others.iter().all(|others| others.contains(&number));
        let known: Fingerprints = now.iter().map(|(number, print)| (*number, *print)).filter(|each| is_known(each.0)).collect();
        Self::of(&known)
    }

    /// As bytes: the form and whether slots are shared, how many there are, and each with its sum, highest byte first.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let form = if self.is_older { 0 } else { FORM };
        out.push(form | u8::from(self.is_shared));
        out.extend(u32::try_from(self.sums.len()).unwrap_or(u32::MAX).to_be_bytes());
        for (slot, sum) in &self.sums {
            out.extend(slot.to_be_bytes());
            out.extend(sum.to_be_bytes());
        }
    }

    /// What was written; `None` of bytes that are something else.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let entries = rest.chunks_exact(ENTRY);
        let is_of_form = kind & !(FORM | SHARED) == 0;
        if !is_of_form || !entries.remainder().is_empty() || u32::try_from(entries.len()).ok()? != u32::from_be_bytes(*count) {
            return None;
        }
        let mut sums = BTreeMap::new();
        for entry in entries {
            let (slot, sum) = entry.split_first_chunk::<4>()?;
            sums.insert(u32::from_be_bytes(*slot), u64::from_be_bytes(sum.try_into().ok()?));
        }
        Some(Self { is_shared: kind & SHARED != 0, is_older: kind & FORM == 0, sums })
    }
}

/// Where a table is kept.
fn slot(number: u32, is_shared: bool) -> u32 {
    if is_shared { number % SLOTS } else { number }
}

/// Adds each half by itself.
fn add(sum: u64, fingerprint: u64) -> u64 {
    let upper = (sum >> 32).wrapping_add(fingerprint >> 32) << 32;
    upper | (sum.wrapping_add(fingerprint) & u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(numbers: std::ops::Range<u32>) -> Fingerprints {
        numbers.map(|number| (number, u64::from(number) * 31 + 1)).collect()
    }

    #[test]
    fn a_table_that_is_another_one_says_nothing_about_the_others() {
        let before = Known::of(&tables(1..5));
        assert!(before.others(&tables(1..5)).is_empty() && before.others(&tables(1..4)).is_empty());
        let mut now = tables(1..6);
        now.insert(2, 0);
        assert_eq!(before.others(&now), BTreeSet::from([2, 5]));
        assert_eq!(Known::default().others(&tables(1..3)), BTreeSet::from([1, 2]));
    }

    #[test]
    fn many_tables_share_what_is_kept() {
        let (few, many) = (Known::of(&tables(0..SLOTS)), Known::of(&tables(0..4 * SLOTS)));
        assert_eq!((few.is_shared, few.sums.len(), many.is_shared, many.sums.len()), (false, 256, true, 256));
        let mut now = tables(0..4 * SLOTS);
        assert!(many.others(&now).is_empty());
        now.insert(SLOTS + 1, 0);
        assert_eq!(many.others(&now), BTreeSet::from([0, 1, 2, 3].map(|turn| turn * SLOTS + 1)));
        // Also where there are fewer by now: of a slot that has lost some, the rest are others.
        assert_eq!(many.others(&tables(0..2)), BTreeSet::from([0, 1]));
    }

    #[test]
    fn what_was_defined_anew_is_told_from_what_has_other_columns() {
        let before = Known::of(&Fingerprints::from([(1, 7_u64 << 32 | 1), (2, 8_u64 << 32 | 1), (3, 9_u64 << 32 | 1)]));
        let now = Fingerprints::from([(1, 7_u64 << 32 | 2), (2, 9_u64 << 32 | 2), (3, 9_u64 << 32 | 1), (4, 1)]);
        assert_eq!(before.others(&now), BTreeSet::from([1, 2, 4]));
        assert_eq!(before.defined_anew(&now), BTreeSet::from([1]));
        // Sums of lower halves do not reach into the upper ones, which have no end either.
        let largest = u64::from(u32::MAX);
        assert_eq!(add(7_u64 << 32 | largest, 1_u64 << 32 | 1), 8_u64 << 32);
        assert_eq!(add(largest << 32 | 1, 1_u64 << 32 | 1), 2);
    }

    #[test]
    fn what_an_older_version_has_written_is_known_by_its_own_fingerprints() {
        let write = |known: &Known| {
            let mut bytes = Vec::new();
            known.write(&mut bytes);
            bytes
        };
        let (older, now) = (tables(1..5), Fingerprints::from([(1, 11), (2, 12), (3, 13), (4, 14)]));
        for is_shared in [false, true] {
            let bytes = write(&Known::kept(&older, is_shared, true));
            assert_eq!(bytes[0], u8::from(is_shared));
            let read = Known::read(&bytes).unwrap();
            assert_eq!(write(&read), bytes);
            // As it was by one kind, and by none.
            let mut another = older.clone();
            another.insert(2, 0);
            let none: Fingerprints = older.iter().map(|(number, print)| (*number, print + 1)).collect();
            let renewed = read.clone().renewed(&[none.clone(), older.clone()], &now);
            assert!(renewed.others(&now).is_empty() && renewed == Known::of(&now));
            let renewed = read.renewed(&[none, another], &now);
            assert_eq!(renewed.others(&now), BTreeSet::from([2]));
        }
        let known = Known::of(&now);
        assert_eq!((known.clone().renewed(&[], &Fingerprints::new()), write(&known)[0]), (known, FORM));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for known in [Known::default(), Known::of(&tables(3..9)), Known::of(&tables(0..2 * SLOTS))] {
            let mut bytes = Vec::new();
            known.write(&mut bytes);
            assert_eq!(Known::read(&bytes), Some(known));
            for length in 0..bytes.len() {
                assert_eq!(Known::read(&bytes[..length]), None);
            }
            bytes.push(0);
            assert_eq!(Known::read(&bytes), None);
        }
        assert_eq!(Known::read(&[2, 0, 0, 0, 0]), None);
    }
}
