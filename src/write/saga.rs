//! Steps that are committed one after the other, and undone where a later one is refused.

use async_trait::async_trait;

use crate::error::Diagnosis;
use crate::stores::StoreName;
use crate::stores::commit::MarkId;

/// Who undoes steps: a session without a client. It is held by what it uses, and must not hold that in turn.
#[async_trait]
pub trait Compensator: Send + Sync {
    /// Runs the statements in one transaction as that role, with the mark in that store. Where the mark is there already, they have run
    /// before, and nothing is done.
    ///
    /// # Errors
    /// What a statement or the store failed with; nothing was kept, or nobody knows, and it is to be called again.
    async fn run(&self, role: &str, sql: &[String], store: &StoreName, mark: MarkId) -> Result<(), Diagnosis>;
}
