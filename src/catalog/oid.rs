//! Object ids for schemas, tables and views.
//!
//! An id is a hash of the object's names, so it is the same after a restart and on every instance that serves the same
//! names. Ids below 16384 belong to PostgreSQL's own objects.

use std::collections::BTreeSet;

/// The first id outside PostgreSQL's reserved range (`FirstNormalObjectId`).
const FIRST: u64 = 16_384;
/// Ids stay below 2^31, since some drivers read them as signed.
const SPAN: u64 = (1 << 31) - FIRST;

/// Hands out ids and resolves collisions by stepping on; the same names in the same order give the same ids.
#[derive(Debug, Default)]
pub struct Allocator {
    used: BTreeSet<u32>,
}

impl Allocator {
    /// The id of the object with these names (`["table", "shop", "orders"]`).
    pub fn allocate(&mut self, names: &[&str]) -> u32 {
        let mut place = hash(names) % SPAN;
        loop {
            let oid = u32::try_from(FIRST + place).unwrap_or(u32::MAX);
            if self.used.insert(oid) {
                return oid;
            }
            place = (place + 1) % SPAN;
        }
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

    #[test]
    fn ids_are_stable_distinct_and_outside_the_reserved_range() {
        let mut one = Allocator::default();
        let mut two = Allocator::default();
        let first = one.allocate(&["table", "shop", "orders"]);
        assert_eq!(first, two.allocate(&["table", "shop", "orders"]));
        assert!(first >= 16_384 && i32::try_from(first).is_ok());
        assert_ne!(first, one.allocate(&["table", "shop", "orders"]), "a collision steps on");
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
    }
}
