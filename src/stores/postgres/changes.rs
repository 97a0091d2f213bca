//! Positions of a PostgreSQL store, and later its change feed.
//!
//! A position is the cluster's system identifier and a write-ahead log location. Locations of two clusters, such as a server
//! and a copy restored elsewhere, do not compare. Deliberately absent until feeds exist: logical decoding, and with it anything
//! that makes a position.

use super::super::position::{Coverage, Position};

/// Whether everything up to `wanted` is contained in `applied`.
pub(super) fn covers(applied: &Position, wanted: &Position) -> Coverage {
    if applied.store != wanted.store {
        return Coverage::Incomparable;
    }
    match (parse(&applied.token), parse(&wanted.token)) {
        (Some((cluster, applied)), Some((other, wanted))) if cluster == other => {
            if applied >= wanted {
                Coverage::Covered
            } else {
                Coverage::Behind
            }
        }
        _ => Coverage::Incomparable,
    }
}

/// System identifier and location, 8 bytes each, highest byte first.
fn parse(token: &[u8]) -> Option<(u64, u64)> {
    let (cluster, location) = token.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*cluster), u64::from_be_bytes(location.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::connector::StoreName;

    fn position(store: &str, cluster: u64, location: u64) -> Position {
        let token = [cluster.to_be_bytes(), location.to_be_bytes()].concat();
        Position { store: StoreName::new(store), token }
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
