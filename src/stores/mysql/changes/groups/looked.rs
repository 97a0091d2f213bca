//! Tables that were looked at again by whoever the changes are given to.

use super::{Barrier, Followed, Machine};

impl Machine {
    /// Takes the tables as they are now for whoever tells by itself which of them are others, or go on that stood still (`Feed::reshape`).
    /// Told once more with the next row, it would break what has begun meanwhile.
    pub(in super::super) fn looked_at(&mut self, followed: Vec<Followed>) {
        // What waits here is given behind what is told there, and is of before.
        let has_given_all = self.open.is_none() && self.out.is_empty() && self.steps.is_empty() && self.pending.is_empty();
        self.reshape(followed);
        if has_given_all {
            self.pending.retain(|barrier| !matches!(barrier, Barrier::Reshaped { .. }));
        }
    }
}
