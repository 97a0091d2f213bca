//! `pg_catalog`, `information_schema` and `tributary`: the relations that describe everything else.
//!
//! ```text
//! relations() → Catalog::load → Snapshot; a query over one → RowFunction::rows(snapshot, session facts)
//! functions(snapshot, facts) → registered for each statement
//! ```
//!
//! **Invariants:** nothing here touches a store; object ids of PostgreSQL's own relations are PostgreSQL's; a relation that
//! is listed in [`always_empty`] has no rows under any snapshot, which lets catalog queries over it be folded away.

mod activity;
mod classes;
mod commits;
mod constraints;
mod divergence;
mod empties;
pub mod feeds;
mod freshness;
mod functions;
mod information;
mod server;
pub mod table;
mod text;
mod types;

use super::discover::SystemRelation;
pub use empties::always_empty;
pub use functions::{functions, is_of_session};

/// All system relations. Live ones (`pg_stat_activity`) are made of what the facts of a session lead to.
pub fn relations() -> Vec<SystemRelation> {
    let mut all = classes::relations();
    all.extend(constraints::relations());
    all.extend(types::relations());
    all.extend(server::relations());
    all.extend(activity::relations());
    all.extend(commits::relations());
    all.extend(feeds::relations());
    all.extend(freshness::relations());
    all.extend(divergence::relations());
    all.extend(empties::relations());
    all.extend(information::relations());
    all
}
