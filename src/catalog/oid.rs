//! Object ids for schemas, tables, views, indexes and constraints.
//!
//! An id is a hash of the object's names, so it is mostly the same on every instance that serves the same names. Where two
//! objects would have the same id one of them steps on; [`Oids`], which the server keeps over a restart, remembers which, so
//! that an id stays with its object whatever comes and goes. Ids below 16384 belong to PostgreSQL's own objects.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The first id outside PostgreSQL's reserved range (`FirstNormalObjectId`).
const FIRST: u64 = 16_384;
/// Ids stay below 2^31, since some drivers read them as signed.
const SPAN: u64 = (1 << 31) - FIRST;
/// An owner's objects that are gone are remembered up to this many.
const GONE_MAX: usize = 10_000;

/// Ids in use and ids of objects that may come back: by owner (a store's name, or empty for views and the system), then by
/// the object's names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oids(BTreeMap<String, BTreeMap<String, u32>>);

/// Hands out ids for one snapshot.
#[derive(Debug, Default)]
pub struct Allocator {
    kept: Oids,
    /// Every id in `kept`, whether its object is there or gone.
    reserved: BTreeSet<u32>,
    /// The ids handed out.
    claimed: BTreeSet<u32>,
}

impl Allocator {
    /// Hands out the ids of earlier snapshots again.
    pub fn resume(kept: Oids) -> Self {
        let reserved = kept.0.values().flat_map(BTreeMap::values).copied().collect();
        Self { kept, reserved, claimed: BTreeSet::new() }
    }

    /// The id of the object with these names (`["table", "shop", "orders"]`) of `owner`.
    pub fn allocate(&mut self, owner: &str, names: &[&str]) -> u32 {
        // No store has names with a NUL.
        let key = names.join("\0");
        let known = self.kept.0.get(owner).and_then(|objects| objects.get(&key)).copied();
        if let Some(oid) = known.filter(|oid| (FIRST..FIRST + SPAN).contains(&u64::from(*oid)))
            && self.claimed.insert(oid)
        {
            return oid;
        }
        let mut place = hash(names) % SPAN;
        loop {
            let oid = u32::try_from(FIRST + place).unwrap_or(u32::MAX);
            if self.reserved.insert(oid) {
                self.claimed.insert(oid);
                if known.is_none() {
                    self.kept.0.entry(owner.to_owned()).or_default().insert(key, oid);
                }
                return oid;
            }
            place = (place + 1) % SPAN;
        }
    }

    /// What to resume from: the ids handed out, and those of gone objects as long as their owner is there and they are few.
    pub fn into_oids(self, is_owner: impl Fn(&str) -> bool) -> Oids {
        let Self { mut kept, claimed, .. } = self;
        kept.0.retain(|owner, _| owner.is_empty() || is_owner(owner));
        for objects in kept.0.values_mut() {
            if objects.values().filter(|oid| !claimed.contains(oid)).count() > GONE_MAX {
                objects.retain(|_, oid| claimed.contains(oid));
            }
        }
        kept
    }
}

/// FNV-1a over the names, each closed by a byte that UTF-8 never holds.
fn hash(names: &[&str]) -> u64 {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    for name in names {
        for byte in name.bytes().chain([0xff]) {
            state ^= u64::from(byte);
            state = state.wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: &[&str] = &["table", "shop", "orders"];

    #[test]
    fn ids_are_stable_distinct_and_outside_the_reserved_range() {
        let mut one = Allocator::default();
        let mut two = Allocator::default();
        let first = one.allocate("shop", ORDERS);
        assert_eq!(first, two.allocate("shop", ORDERS));
        assert!(first >= 16_384 && i32::try_from(first).is_ok());
        assert_ne!(first, one.allocate("shop", ORDERS), "a collision steps on");
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
    }

    /// Kept ids in which another object of `shop` already has the id that `ORDERS` hashes to.
    fn collided() -> (Oids, u32) {
        let hashed = Allocator::default().allocate("shop", ORDERS);
        let objects = BTreeMap::from([("table\0shop\0first".to_owned(), hashed)]);
        (Oids(BTreeMap::from([("shop".to_owned(), objects)])), hashed)
    }

    #[test]
    fn a_collision_stays_as_it_was_resolved_while_objects_come_and_go() {
        let (kept, hashed) = collided();
        let mut before = Allocator::resume(kept);
        assert_eq!(before.allocate("shop", &["table", "shop", "first"]), hashed);
        let stepped = before.allocate("shop", ORDERS);
        assert_eq!(stepped, hashed + 1);
        let kept = before.into_oids(|_| true);
        let text = serde_json::to_string(&kept).unwrap();
        // The first table is away in the next process, and back in the one after.
        let mut alone = Allocator::resume(serde_json::from_str(&text).unwrap());
        assert_eq!(alone.allocate("shop", ORDERS), stepped);
        let mut after = Allocator::resume(alone.into_oids(|_| true));
        assert_eq!(after.allocate("shop", ORDERS), stepped);
        assert_eq!(after.allocate("shop", &["table", "shop", "first"]), hashed);
    }

    #[test]
    fn owners_that_are_gone_and_too_many_gone_objects_are_forgotten() {
        let (kept, hashed) = collided();
        assert_eq!(Allocator::resume(kept.clone()).into_oids(|_| true), kept);
        let mut without = Allocator::resume(kept);
        let view = without.allocate("", &["relation", "public", "v"]);
        let left = without.into_oids(|owner| owner != "shop");
        assert_eq!(left.0.keys().collect::<Vec<_>>(), [""]);
        let mut after = Allocator::resume(left);
        assert_eq!(after.allocate("other", ORDERS), hashed);
        assert_eq!(after.allocate("", &["relation", "public", "v"]), view);
        let many = (0..=u32::try_from(GONE_MAX).unwrap()).map(|number| (format!("t{number}"), 20_000 + number));
        let mut full = Allocator::resume(Oids(BTreeMap::from([("shop".to_owned(), many.collect())])));
        full.allocate("shop", ORDERS);
        assert_eq!(full.into_oids(|_| true).0["shop"].len(), 1);
    }

    #[test]
    fn ids_that_cannot_be_ours_are_not_taken_over() {
        let objects =
            BTreeMap::from([("a".to_owned(), 11), ("b".to_owned(), u32::MAX), ("c".to_owned(), 20_000), ("d".to_owned(), 20_000)]);
        let mut allocator = Allocator::resume(Oids(BTreeMap::from([(String::new(), objects)])));
        let oids: Vec<u32> = ["a", "b", "c", "d"].iter().map(|name| allocator.allocate("", &[name])).collect();
        assert!(oids.iter().all(|oid| (16_384..1 << 31).contains(oid)));
        assert_eq!(oids.iter().collect::<BTreeSet<_>>().len(), 4);
        assert_eq!(oids[2], 20_000);
    }
}
