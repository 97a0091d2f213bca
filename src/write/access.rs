//! Who may change what: asked before anything is planned, so that a refusal reads no store.

use std::sync::Arc;

use crate::catalog::{Relation, RelationBody};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::commit::{OwnTable, is_own_name};
use crate::stores::schema::TableKind;
use crate::stores::{Connector, StoreError};

/// What is to be changed, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The word the statement begins with.
    pub verb: &'static str,
    /// What it names.
    pub relation: &'a Relation,
    /// The connector of the store that owns it.
    pub connector: Option<&'a Arc<dyn Connector>>,
    /// Whether the transaction is `READ ONLY`.
    pub read_only_block: bool,
    /// Whether the role only reads.
    pub role_read_only: bool,
}

/// Whether a write may go on.
///
/// # Errors
/// 25006 in a transaction that only reads and for a store that only reads, what [`check_kind`] says of the relation, and 42501 for a
/// role that only reads.
pub fn check(asked: &Asked<'_>) -> Result<(), Diagnosis> {
    let Asked { verb, relation, connector, read_only_block, role_read_only } = *asked;
    check_block(verb, read_only_block)?;
    check_kind(verb, relation)?;
    check_role(&format!("table {}", relation.name), role_read_only)?;
    connector.map_or(Ok(()), |connector| check_store(connector.as_ref()))
}

/// Whether something may be changed in a transaction.
///
/// # Errors
/// 25006 in one that only reads.
pub fn check_block(verb: &str, read_only: bool) -> Result<(), Diagnosis> {
    if read_only {
        let message = format!("cannot execute {verb} in a read-only transaction");
        return Err(Diagnosis::new(sqlstate::READ_ONLY_SQL_TRANSACTION, message));
    }
    Ok(())
}

/// Whether a role may change `what`, a table or a schema.
///
/// # Errors
/// 42501 for one that only reads.
pub fn check_role(what: &str, read_only: bool) -> Result<(), Diagnosis> {
    if read_only {
        return Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("permission denied for {what}"))
            .with_detail("The role only reads: read_only in tributary.toml."));
    }
    Ok(())
}

/// Whether a store may be changed.
///
/// # Errors
/// 25006 for one whose file says that nothing is written to it.
pub fn check_store(connector: &dyn Connector) -> Result<(), Diagnosis> {
    if connector.is_read_only() {
        return Err(Diagnosis::of(&StoreError::ReadOnly { store: connector.name().to_string() }));
    }
    Ok(())
}

/// Whether something of this name may be defined, changed or dropped in a store: what commits, keys and events promise stands on tables
/// of ours, which only we make.
///
/// # Errors
/// 42501 for the names of those, whether they are there or not.
pub fn check_name(name: &str) -> Result<(), Diagnosis> {
    if is_own_name(name) {
        return Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("permission denied for table {name}"))
            .with_detail("The name is that of a table that Tributary makes for itself in stores."));
    }
    Ok(())
}

/// The words that a COPY into a table begins with.
pub const COPY: &str = "COPY FROM";

/// [`check_kind`] for COPY, which PostgreSQL refuses in words of its own.
fn check_filled(relation: &Relation) -> Result<(), Diagnosis> {
    let name = &relation.name;
    let refused = |what: &str| Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, format!("cannot copy to {what} \"{name}\"")));
    match &relation.body {
        RelationBody::Stored { table, .. } if table.kind == TableKind::MaterializedView => refused("materialized view"),
        RelationBody::View { .. } if relation.body.materialized().is_some() => refused("materialized view"),
        RelationBody::View { .. } => refused("view"),
        RelationBody::Stored { table, .. } if table.kind == TableKind::View => refused("view"),
        RelationBody::Stored { .. } | RelationBody::Rows(_) => check_kind("INSERT", relation),
    }
}

/// Whether a relation is a table of ours that its store shows: the outbox.
fn is_own(relation: &Relation) -> bool {
    match &relation.body {
        RelationBody::Stored { table, .. } => OwnTable::ALL.iter().any(|own| own.name() == table.id.name),
        RelationBody::View { .. } | RelationBody::Rows(_) => false,
    }
}

/// Whether a relation is one whose rows can be changed at all.
///
/// # Errors
/// 55000 for a view of ours, 42809 for a materialized view, 42501 for a relation of the system and for the tables of ours in a store; 0A000
/// for MERGE into any view.
pub fn check_kind(verb: &str, relation: &Relation) -> Result<(), Diagnosis> {
    let name = &relation.name;
    if is_own(relation) {
        return Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("permission denied for table {name}"))
            .with_detail("It is written beside the rows of other tables only.")
            .with_hint("CALL tributary.emit(topic, key, payload) adds an event."));
    }
    if verb == COPY {
        return check_filled(relation);
    }
    if verb == "MERGE"
        && let Some(kind) = unmerged(&relation.body)
    {
        let message = format!("cannot execute MERGE on relation \"{name}\"");
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
            .with_detail(format!("This operation is not supported for {kind}.")));
    }
    match &relation.body {
        // A view of a store may be one that the store can write through; it decides.
        RelationBody::Stored { table, .. } => match table.kind {
            TableKind::Table | TableKind::View | TableKind::Collection => Ok(()),
            TableKind::MaterializedView => {
                Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, format!("cannot change materialized view \"{name}\"")))
            }
        },
        RelationBody::View { .. } if relation.body.materialized().is_some() => {
            Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, format!("cannot change materialized view \"{name}\"")))
        }
        RelationBody::View { .. } => {
            let done = match verb {
                "INSERT" => "insert into",
                "UPDATE" => "update",
                _ => "delete from",
            };
            Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("cannot {done} view \"{name}\""))
                .with_detail("Views of the catalog directory are not updatable.")
                .with_hint("Write to the tables that the view reads."))
        }
        RelationBody::Rows(_) => {
            Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("permission denied: \"{name}\" is a system relation")))
        }
    }
}

/// What MERGE does not write to, though other statements may.
fn unmerged(body: &RelationBody) -> Option<&'static str> {
    match body {
        RelationBody::Stored { table, .. } => match table.kind {
            TableKind::Table | TableKind::Collection => None,
            TableKind::View => Some("views"),
            TableKind::MaterializedView => Some("materialized views"),
        },
        RelationBody::View { .. } if body.materialized().is_some() => Some("materialized views"),
        RelationBody::View { .. } => Some("views"),
        RelationBody::Rows(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::{StoreName, Table};

    fn relation(body: RelationBody) -> Relation {
        Relation { oid: 1, schema: "shop".to_owned(), name: "t".to_owned(), body }
    }

    fn stored(kind: TableKind) -> Relation {
        let table = Table { kind, ..Table::plain("public", "t", Vec::new()) };
        relation(RelationBody::Stored { store: StoreName::new("shop"), table: Arc::new(table) })
    }

    fn code(relation: &Relation, read_only_block: bool, role_read_only: bool) -> Option<String> {
        let asked = Asked { verb: "UPDATE", relation, connector: None, read_only_block, role_read_only };
        check(&asked).err().map(|error| error.sqlstate)
    }

    #[test]
    fn only_tables_are_changed_and_only_by_who_may() {
        let view = relation(RelationBody::View { sql: "SELECT 1".to_owned(), columns: Vec::new(), kept: None });
        for (relation, expected) in [
            (stored(TableKind::Table), None),
            (stored(TableKind::View), None),
            (stored(TableKind::Collection), None),
            (stored(TableKind::MaterializedView), Some("42809")),
            (view, Some("55000")),
        ] {
            assert_eq!(code(&relation, false, false).as_deref(), expected, "{relation:?}");
            assert_eq!(code(&relation, true, false).as_deref(), Some("25006"), "{relation:?}");
            assert_eq!(code(&relation, false, true).as_deref(), expected.or(Some("42501")), "{relation:?}");
        }
    }

    #[test]
    fn the_tables_of_ours_are_not_written_to_by_statements() {
        for own in OwnTable::ALL {
            let RelationBody::Stored { store, table } = stored(TableKind::Table).body else { panic!("no table") };
            let mut table = Table::clone(&table);
            own.name().clone_into(&mut table.id.name);
            let own = relation(RelationBody::Stored { store, table: Arc::new(table) });
            for verb in ["INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE TABLE", COPY] {
                assert_eq!(check_kind(verb, &own).unwrap_err().sqlstate, "42501", "{verb}");
            }
        }
    }

    #[test]
    fn the_tables_of_ours_are_not_defined_by_statements() {
        for name in ["tributary_marks", "tributary_keys", "Tributary_Outbox", "tributary_\0logs", "tributary_decisions"] {
            assert_eq!(check_name(name).unwrap_err().sqlstate, "42501", "{name}");
        }
        assert!(check_name("tributary_orders").is_ok());
    }

    #[test]
    fn a_view_is_named_with_what_was_asked_of_it() {
        let view = relation(RelationBody::View { sql: "SELECT 1".to_owned(), columns: Vec::new(), kept: None });
        let copied = |relation: &Relation| check_kind(COPY, relation).map_err(|error| (error.sqlstate, error.message));
        let told_of = |message: &str| Err(("42809".to_owned(), message.to_owned()));
        assert_eq!(copied(&view), told_of("cannot copy to view \"t\""));
        assert_eq!(copied(&stored(TableKind::View)), told_of("cannot copy to view \"t\""));
        assert_eq!(copied(&stored(TableKind::MaterializedView)), told_of("cannot copy to materialized view \"t\""));
        assert_eq!(copied(&stored(TableKind::Collection)), Ok(()));
        let told = |verb| check_kind(verb, &view).unwrap_err().message;
        assert_eq!(told("INSERT"), "cannot insert into view \"t\"");
        assert_eq!(told("UPDATE"), "cannot update view \"t\"");
        assert_eq!(told("DELETE"), "cannot delete from view \"t\"");
        for relation in [&view, &stored(TableKind::View), &stored(TableKind::MaterializedView)] {
            let error = check_kind("MERGE", relation).unwrap_err();
            assert_eq!((error.sqlstate.as_str(), error.message.as_str()), ("0A000", "cannot execute MERGE on relation \"t\""));
        }
        assert!(check_kind("MERGE", &stored(TableKind::Collection)).is_ok());
    }
}
