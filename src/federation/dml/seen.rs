//! What a subquery of RETURNING must not read, as it reads after the change: PostgreSQL shows it everything as it was before.
//!
//! The store changes more than the target where foreign keys follow it, and a view, a partition or a table that inherits shows rows of
//! the target under another name.

use std::any::Any;
use std::collections::BTreeSet;

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;

use super::super::materialized::MaterializedTable;
use super::super::plan::Setting;
use super::super::provider::StoredTable;
use super::target::Target;
use crate::catalog::RelationBody;
use crate::stores::Table;
use crate::stores::schema::{Action, Division, ForeignKey, TableId, TableKind};

/// What a statement does to rows that others may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// They stay as they are.
    Added,
    Updated,
    Deleted,
}

/// What a plan reads that a statement may change; `None` where it reads nothing of the kind.
///
/// # Errors
/// None that a caller can cause.
pub(super) fn changed(plan: &LogicalPlan, (target, change): (&Target, Change), setting: &Setting) -> Result<Option<&'static str>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            // A statement that writes runs its query.
            if let Some(view) = MaterializedTable::of(scan) {
                found = found.or(changed(view.query(), (target, change), setting)?);
            }
            let provider = source_as_provider(&scan.source)?;
            let provider: &dyn Any = provider.as_ref();
            if let Some(stored) = provider.downcast_ref::<StoredTable>()
                && *stored.store() == target.store
            {
                found = found.or(shown(stored.table(), (target, change), setting));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// Why the rows of a table of the same store may be among those that change.
fn shown(table: &Table, (target, change): (&Target, Change), setting: &Setting) -> Option<&'static str> {
    if table.id == target.table.id {
        return Some("the changed table");
    }
    if table.kind == TableKind::View {
        return Some("a view of the store that is written to");
    }
    if target.table.kind == TableKind::View {
        return Some("a table that the changed view may stand for");
    }
    let connector = setting.snapshot.connectors.get(&target.store);
    // Told of tables from which none inherits and that have no partitions.
    let stands_alone = |table: &Table| matches!(table.division, Some(Division::Pages(_)));
    if connector.is_some_and(|connector| connector.kind() == "postgres") && !(stands_alone(table) && stands_alone(&target.table)) {
        return Some("a table that may hold rows of the changed one");
    }
    follows(&table.id, (target, change), setting).then_some("a table whose rows follow the changed ones")
}

/// Whether the rows of a table follow those of the target, also by way of others. Nothing follows a row that nobody had.
fn follows(table: &TableId, (target, change): (&Target, Change), setting: &Setting) -> bool {
    if change == Change::Added {
        return false;
    }
    let relations = setting.snapshot.schemas.values().flat_map(|schema| schema.relations.values());
    let tables: Vec<&Table> = relations
        .filter_map(|relation| match &relation.body {
            RelationBody::Stored { store, table } if *store == target.store => Some(table.as_ref()),
            _ => None,
        })
        .collect();
    let mut changed = BTreeSet::from([target.table.id.clone()]);
    loop {
        let is_next = |key: &ForeignKey| {
            // What follows a row that goes may be emptied, which is a change that others follow.
            let is_deleted = change == Change::Deleted;
            let is_followed = follow(key.on_update) && (!is_deleted || key.references != target.table.id);
            changed.contains(&key.references) && (is_followed || (is_deleted && follow(key.on_delete)))
        };
        let next = tables.iter().find(|table| !changed.contains(&table.id) && table.foreign_keys.iter().any(is_next));
        let Some(next) = next.map(|table| table.id.clone()) else { return changed.contains(table) };
        changed.insert(next);
    }
}

/// Whether an action changes the rows that refer.
fn follow(action: Action) -> bool {
    match action {
        Action::Cascade | Action::SetNull | Action::SetDefault => true,
        Action::NoAction | Action::Restrict => false,
    }
}
