//! Positions in a deployment's history: cluster times, totally ordered within one replica set.
//!
//! The token is the BSON timestamp as eight bytes, seconds before the counter within the second, most significant first.
//! Change feeds will add the resume token; nothing reads changes yet.

use crate::stores::position::{Coverage, Position};

/// Whether `applied` has reached `wanted` ([`crate::stores::Connector::covers`]).
pub(super) fn covers(applied: &Position, wanted: &Position) -> Coverage {
    let moment = |position: &Position| <[u8; 8]>::try_from(position.token.as_slice()).ok();
    match (moment(applied), moment(wanted)) {
        _ if applied.store != wanted.store => Coverage::Incomparable,
        (Some(applied), Some(wanted)) if applied >= wanted => Coverage::Covered,
        (Some(_), Some(_)) => Coverage::Behind,
        _ => Coverage::Incomparable,
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::Timestamp;

    use super::*;
    use crate::stores::StoreName;

    /// The position of everything up to an operation time.
    fn position(store: &StoreName, time: Timestamp) -> Position {
        let mut token = time.time.to_be_bytes().to_vec();
        token.extend(time.increment.to_be_bytes());
        Position { store: store.clone(), token }
    }

    #[test]
    fn positions_follow_cluster_time() {
        let store = StoreName::new("crm");
        let at = |time, increment| position(&store, Timestamp { time, increment });
        let broken = Position { store: store.clone(), token: vec![1] };
        let other = position(&StoreName::new("other"), Timestamp { time: 9, increment: 9 });
        let rows = [
            (at(5, 1), at(5, 1), Coverage::Covered),
            (at(5, 2), at(5, 1), Coverage::Covered),
            (at(5, 1), at(5, 2), Coverage::Behind),
            (at(256, 0), at(255, 9), Coverage::Covered),
            (at(5, 1), broken, Coverage::Incomparable),
            (other, at(5, 1), Coverage::Incomparable),
        ];
        for (applied, wanted, expected) in rows {
            assert_eq!(covers(&applied, &wanted), expected, "{applied:?} {wanted:?}");
        }
    }
}
