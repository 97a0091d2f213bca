//! What stands in the place of a branch whose store was closed under it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::stores::commit::{self, MarkId, Part, Vote};
use crate::stores::connector::ScanLimits;
use crate::stores::define::Define;
use crate::stores::position::Position;
use crate::stores::{BatchStream, Branch, Edit, Edited, Fragment, Scan, StoreError, StoreName, Table, Tables};

pub(super) fn replaced(store: &StoreName) -> StoreError {
    let reason = "It was replaced when the catalog directory was read again.".to_owned();
    StoreError::ConnectionLost { store: store.to_string(), reason }
}

/// A branch whose store was closed under it: nothing of it is kept, and whoever asks is told.
#[derive(Debug)]
pub(super) struct Lost {
    store: StoreName,
    has_written: bool,
    part: Part,
    leader: Option<StoreName>,
}

impl Lost {
    /// What stands in the place of a branch.
    pub(super) fn of(store: &StoreName, branch: &Arc<dyn Branch>) -> Self {
        let (has_written, part, leader) = (branch.has_written(), branch.part(), branch.leader().cloned());
        Self { store: store.clone(), has_written, part, leader }
    }
}

#[async_trait]
impl Branch for Lost {
    async fn scan(&self, _table: &Arc<Table>, _scan: &Scan, _limits: ScanLimits) -> Result<BatchStream, StoreError> {
        Err(replaced(&self.store))
    }

    async fn run(
        &self,
        _fragment: &Fragment,
        _tables: &Tables,
        _schema: &SchemaRef,
        _limits: ScanLimits,
    ) -> Result<BatchStream, StoreError> {
        Err(replaced(&self.store))
    }

    async fn edit(&self, _edit: &Edit, _stop: &CancellationToken) -> Result<Edited, StoreError> {
        Err(replaced(&self.store))
    }

    async fn define(&self, _define: &Define, _stop: &CancellationToken) -> Result<(), StoreError> {
        Err(replaced(&self.store))
    }

    async fn scan_for_update(&self, _table: &Arc<Table>, _scan: &Scan, _limits: ScanLimits) -> Result<BatchStream, StoreError> {
        Err(replaced(&self.store))
    }

    fn shared_snapshot(&self) -> Result<(), &'static str> {
        Err("the store was replaced")
    }

    async fn savepoint(&self, _id: u32) -> Result<(), StoreError> {
        Err(replaced(&self.store))
    }

    async fn roll_back_to(&self, _id: u32) -> Result<(), StoreError> {
        Err(replaced(&self.store))
    }

    async fn release(&self, _id: u32) -> Result<(), StoreError> {
        Err(replaced(&self.store))
    }

    fn has_written(&self) -> bool {
        self.has_written
    }

    fn part(&self) -> Part {
        self.part
    }

    fn leader(&self) -> Option<&StoreName> {
        self.leader.as_ref()
    }

    async fn prepare(&self, _id: &commit::BranchId) -> Result<Vote, StoreError> {
        Err(replaced(&self.store))
    }

    async fn mark(&self, _mark: MarkId) -> Result<(), StoreError> {
        Err(replaced(&self.store))
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        Err(replaced(&self.store))
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
