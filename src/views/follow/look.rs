//! How a view can be kept now: as its plan says, or by REFRESH alone, where a table of it is read in its store only.
//!
//! **Invariant:** rows that follow from copies are withdrawn before readers are told that the view is kept by REFRESH.

use std::time::Instant;

use super::super::serve::{How, Inputs};
use super::super::status::Upkeep;
use super::way::Way;
use super::{Keeper, Keeping, Plan};
use crate::stores::StoreName;
use crate::stores::schema::TableId;

impl Keeper {
    /// How the view can be kept now, which readers are told.
    pub(super) fn look(&mut self, plan: &Plan) -> Keeping {
        let inputs: Inputs = plan.tables.iter().map(|(store, tables)| (store.clone(), tables.keys().cloned().collect())).collect();
        if let Some(sets) = &mut self.sets {
            // From now on it is told of what is asked for, also where nothing is read of it.
            sets.readings();
        }
        self.looks = None;
        let (mut keeping, mut refused) = (Keeping::Copies, None);
        for (store, tables) in &plan.tables {
            for table in tables.keys() {
                let asked = self.ground.caches.asked_for(store, table);
                if !matches!(asked, Some(Ok(()))) {
                    self.refused.remove(&(store.clone(), table.clone()));
                }
                match asked {
                    Some(Ok(())) if matches!(plan.way, Way::Refresh(_)) => {}
                    Some(Ok(())) => refused = self.refused_by_feed(store, table).or(refused),
                    Some(Err(reason)) => refused = Some(lacking(store, table, &reason)),
                    None => keeping = Keeping::Unknown,
                }
            }
        }
        if matches!(keeping, Keeping::Unknown) && self.settles.is_none() {
            refused.get_or_insert_with(|| "not all of its tables are asked to be cached".to_owned());
        }
        let upkeep = match refused {
            Some(reason) if !matches!(plan.way, Way::Refresh(_)) => Upkeep::Refresh { reason },
            _ => plan.way.upkeep(&plan.schema),
        };
        let wanted = if matches!(plan.way, Way::Refresh(_)) { Inputs::new() } else { inputs.clone() };
        if matches!(upkeep, Upkeep::Refresh { .. }) {
            keeping = Keeping::Refresh;
            if self.kept.state().is_some_and(|state| !state.readings.is_empty()) {
                self.forget();
                self.kept.withdraw();
            }
        }
        if self.kept.tell(How { upkeep, inputs, wanted, shows: plan.shows }) {
            self.views.tell_wanted();
        }
        keeping
    }

    /// Why a table that is to be cached is read in its store only, as a clause. Once that was found it counts until the table is known to be
    /// one that can be followed: a feed that waits says nothing of it.
    fn refused_by_feed(&mut self, store: &StoreName, table: &TableId) -> Option<String> {
        let key = (store.clone(), table.clone());
        match self.ground.caches.can_follow(store, table) {
            Some(Ok(())) => {
                if self.refused.remove(&key).is_some() {
                    // It is another try.
                    (self.due, self.is_given_up) = (None, false);
                }
                return None;
            }
            Some(Err(reason)) => drop(self.refused.insert(key.clone(), lacking(store, table, &reason))),
            None => {}
        }
        // Nobody tells when it is otherwise.
        self.look_again();
        self.refused.get(&key).cloned()
    }

    /// Looks again soon, whatever happens.
    pub(super) fn look_again(&mut self) {
        self.looks = Some(Instant::now() + self.views.pace.poll);
    }

    /// Why rows that have followed their tables are not there, and are not filled but by a REFRESH: whoever has read them counts on more
    /// than on those of some moment.
    pub(super) fn left_by_feed(&self) -> Option<String> {
        let reason = self.refused.values().next().filter(|_| self.has_followed)?;
        Some(format!("{reason}; REFRESH fills it until that is otherwise"))
    }
}

fn lacking(store: &StoreName, table: &TableId, reason: &str) -> String {
    format!("table \"{}\" of store \"{store}\" has no copy: {reason}", table.name)
}
