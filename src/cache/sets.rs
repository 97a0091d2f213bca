//! The newest sets of some stores, for whoever keeps something up to date with their copies.
//!
//! **Invariant:** a set that is published after one was taken is told of, and so is every change of what is wanted.

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, select_all};
use tokio::sync::watch;

use super::Caches;
use super::fill::{self, Unfilled};
use super::store::{Asked, Reading, StoreCopies};
use crate::stores::StoreName;
use crate::stores::schema::TableId;

/// The copies of one store, and what tells that they are others.
struct Watched {
    copies: Arc<StoreCopies>,
    moved: watch::Receiver<u64>,
    asked: watch::Receiver<Asked>,
}

/// The newest sets of some stores.
pub struct Sets {
    caches: Arc<Caches>,
    /// `None`: nothing was ever wanted of the store.
    stores: BTreeMap<StoreName, Option<Watched>>,
    grown: watch::Receiver<u64>,
}

impl fmt::Debug for Sets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sets").field("stores", &self.stores.keys()).finish_non_exhaustive()
    }
}

impl Caches {
    /// The newest sets of these stores, from now on.
    pub fn sets<'s>(self: &Arc<Self>, stores: impl IntoIterator<Item = &'s StoreName>) -> Sets {
        let grown = self.grown.subscribe();
        let stores = stores.into_iter().map(|store| (store.clone(), None)).collect();
        Sets { caches: Arc::clone(self), stores, grown }
    }

    /// Whether a table is to be cached; with the reason as a clause where somebody asks for that and it is kept back. `None`: nobody asks.
    pub fn asked_for(&self, store: &StoreName, table: &TableId) -> Option<Result<(), String>> {
        let entry = self.copies(store)?.entry()?;
        if let Some((_, reason)) = entry.kept_back.iter().find(|(kept_back, _)| kept_back == table) {
            return Some(Err(reason.clone()));
        }
        entry.tables.iter().any(|wanted| wanted.id == *table).then_some(Ok(()))
    }

    /// Whether a table that is to be cached can be: with the reason as a clause where it is read in its store only, until somebody does
    /// something. `None`: that is not known now.
    pub fn can_follow(&self, store: &StoreName, table: &TableId) -> Option<Result<(), String>> {
        if self.offered(store, table) {
            return Some(Ok(()));
        }
        let copies = self.copies(store)?;
        let entry = copies.entry()?;
        let wanted = entry.tables.iter().find(|wanted| wanted.id == *table)?;
        match fill::shape(self, &copies, wanted) {
            Ok(_shape) => Some(Ok(())),
            Err(Unfilled::StoreOnly(reason)) => Some(Err(reason)),
            Err(Unfilled::NotYet(_) | Unfilled::Again(_) | Unfilled::TooLarge(_)) => None,
        }
    }

    /// Why a table has no copy now, as a clause, where that is known.
    pub fn lack(&self, store: &StoreName, table: &TableId) -> Option<String> {
        self.copies(store)?.stands.all().remove(table)?.reason
    }
}

impl Sets {
    /// One set of each store, as it is now. Stores that have none which may be read are left out.
    pub fn readings(&mut self) -> BTreeMap<StoreName, Arc<Reading>> {
        self.grown.borrow_and_update();
        let mut readings = BTreeMap::new();
        for (name, watched) in &mut self.stores {
            if watched.is_none() {
                *watched = self.caches.copies(name).map(|copies| {
                    let (moved, asked) = (copies.moved(), copies.asked());
                    Watched { copies, moved, asked }
                });
            }
            let Some(watched) = watched else { continue };
            // Before the set is taken: what is published behind this is told.
            watched.moved.borrow_and_update();
            watched.asked.borrow_and_update();
            if let Some(set) = watched.copies.set() {
                readings.insert(name.clone(), Arc::new(Reading { store: name.clone(), set, has_waited: false }));
            }
        }
        readings
    }

    /// Waits until sets may be others than those that were taken last. Cancel-safe.
    pub async fn changed(&mut self) {
        let mut waits: Vec<BoxFuture<'_, ()>> = vec![told(&mut self.grown).boxed()];
        for watched in self.stores.values_mut().flatten() {
            waits.push(told(&mut watched.moved).boxed());
            waits.push(told(&mut watched.asked).boxed());
        }
        select_all(waits).await;
    }
}

async fn told<T: Send + Sync>(receiver: &mut watch::Receiver<T>) {
    // Whoever told of it is gone, and tells nothing any more.
    if receiver.changed().await.is_err() {
        pending::<()>().await;
    }
}
