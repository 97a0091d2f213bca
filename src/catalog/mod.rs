//! What exists and who owns it: the names that clients see, served from immutable snapshots.
//!
//! ```text
//! server → Catalog::load(stores, views) → discover every store → Snapshot (one atomic swap)
//! session → Catalog::snapshot → name resolution → a relation: stored table, view or system relation
//! statements that fail or succeed, pings → Reach (whether stores answer now) → tributary.stores, health
//! CREATE [MATERIALIZED] VIEW, DROP → kept (on disk first) → the next Snapshot
//! ALTER TABLE … SET (tributary.cached) → cached (on disk first) → who caches tables is told
//! CREATE CACHE, ALTER TABLE … SET (tributary.cached_results) → results (on disk first)
//! commits over several stores, and rounds after them → Commits → tributary.transactions, tributary.in_doubt
//! a transaction that has defined something → Catalog::provisional → a snapshot for its own statements
//! feeds of changes → Feeds → tributary.feeds, tributary.feed_objects
//! copies of tables → Caches → tributary.freshness, tributary.divergence; tributary.freshness ← MaterializedViews ← who keeps their rows
//! CALL tributary.refresh, a changed table, a store that came back → Catalog::refresh → the next Snapshot
//! ```
//!
//! **Invariants:** no query waits on discovery; a statement keeps the snapshot it started with; a store that cannot be
//! reached keeps its schema, whose relations answer with the reason. Deliberately absent: any connection pool (those are
//! the connectors'), and plans (those are `federation`'s).

mod builder;
pub mod cached;
pub mod commits;
pub mod discover;
mod entry;
pub mod kept;
pub mod keyword;
pub mod live;
pub mod materialized;
pub mod name;
pub mod object;
pub mod oid;
mod provisional;
pub mod reach;
pub mod results;
mod site;
pub mod snapshot;
pub mod system;

pub use commits::Commits;
pub use discover::{Catalog, Known, OwnTables, Replaced, StoreEntry, ViewSource};
pub use name::{Naming, QualifiedName, SearchPath};
pub use reach::Reach;
pub use snapshot::{Relation, RelationBody, Schema, Snapshot};
