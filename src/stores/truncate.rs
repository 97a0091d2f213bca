//! All rows of tables go at once: `TRUNCATE`.

use std::sync::Arc;

use super::connector::StoreName;
use super::fragment::Refusal;
use super::schema::{Generated, Table};

/// Tables of one store that are emptied.
#[derive(Debug, Clone)]
pub struct Truncate {
    /// The store that owns them.
    pub store: StoreName,
    /// The tables, of which there is one at least, each once.
    pub tables: Vec<Emptied>,
    /// `RESTART IDENTITY`: numbers that the tables give begin anew.
    pub restarts: bool,
    /// `CASCADE`: tables that refer to them are emptied too.
    pub cascades: bool,
}

impl Truncate {
    /// The way of stores that delete rows one by one.
    ///
    /// # Errors
    /// What is more than that.
    pub(super) fn as_delete(&self) -> Result<Truncation, Refusal> {
        if self.cascades {
            return Err(Refusal::new("CASCADE", "the store empties no table for another one"));
        }
        let counts = |emptied: &Emptied| emptied.table.columns.iter().any(|column| column.generated == Generated::ByDefault);
        if self.restarts && self.tables.iter().any(counts) {
            return Err(Refusal::new("RESTART IDENTITY", "the store goes on with the keys that it makes"));
        }
        Ok(Truncation::AsDelete { in_blocks: true })
    }
}

/// A table that is emptied.
#[derive(Debug, Clone)]
pub struct Emptied {
    /// The table.
    pub table: Arc<Table>,
    /// `ONLY`: tables that inherit from it keep their rows.
    pub only: bool,
}

/// How a store empties tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    /// By a statement of its own, in the transaction ([`super::Branch::truncate`]).
    InTransaction,
    /// By a statement that commits by itself ([`super::Branch::truncate`] of [`super::Purpose::Once`]).
    ByItself,
    /// By an [`super::Edit::Delete`] of each table.
    AsDelete {
        /// Whether also in a transaction block.
        in_blocks: bool,
    },
}
