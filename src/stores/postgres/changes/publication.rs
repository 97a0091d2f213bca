//! The publication of a feed: the list of tables whose changes the server sends.
//!
//! **Invariants:** it has exactly the tables that are followed, each of which has a key that its changes are told by: a table without one
//! in a publication cannot be updated by anybody any more.

use std::collections::HashSet;

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::super::super::capture::Followed;
use super::super::super::error::StoreError;
use super::super::super::relational::Dialect;
use super::super::super::schema::TableId;
use super::super::branch::Inner;
use super::super::error;
use super::{ask, ask_each};
use crate::error::sqlstate;

/// How long a change of it may wait for whoever changes one of its tables. Nothing is read meanwhile.
const WAIT_MS: u32 = 1_000;
/// The same where one table is tried after the other.
const WAIT_EACH_MS: u32 = 200;
/// The first version whose publications can have partitioned tables.
pub(super) const OF_ROOTS: i32 = 130_000;

/// What there is of it: whether it is there, and its tables.
fn question(name: &str) -> String {
    format!(
        "SELECT pg_catalog.current_setting('server_version_num')::int4, \
         EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.pubname = '{name}'); \
         SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_publication p \
         JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid JOIN pg_catalog.pg_class c ON c.oid = r.prrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = '{name}'"
    )
}

/// What became of a publication.
#[derive(Debug, Default)]
pub(super) struct Brought {
    /// Whether it was not there.
    pub is_made: bool,
    /// Tables that it had not before.
    pub added: Vec<TableId>,
    /// Tables that it does not have, since somebody holds a lock on them.
    pub locked: Vec<TableId>,
}

/// Makes the publication, or brings it to these tables.
///
/// # Errors
/// What the server answered.
pub(super) async fn bring(inner: &Inner, name: &str, tables: &[Followed]) -> Result<Brought, StoreError> {
    let (mut lease, answers) = ask_each(inner, &question(name)).await?;
    let unreadable = |problem: sqlx::Error| error::running(&inner.name, &problem);
    let (version, is_there) = state(&answers).map_err(unreadable)?;
    let present = present(answers.get(1).map(Vec::as_slice).unwrap_or_default()).map_err(unreadable)?;
    let wanted: Vec<&TableId> = tables.iter().map(|followed| &followed.table.id).collect();
    let statements = if is_there { changes(name, &present, &wanted) } else { vec![creation(name, &wanted, version)] };
    let mut locked = Vec::new();
    if !statements.is_empty() {
        let changed = lease.query(&within(WAIT_MS, &statements.join("; "))).await;
        drop(lease);
        match changed {
            Err(error) if is_locked(&error) || is_denied(&error) => {
                let made = (!is_there).then(|| creation(name, &[], version));
                locked = Box::pin(bring_each(inner, name, made, (&present, &wanted))).await?;
            }
            changed => drop(changed?),
        }
    }
    let added = wanted.into_iter().filter(|id| !present.contains(*id) && !locked.contains(*id)).cloned().collect();
    Ok(Brought { is_made: !is_there, added, locked })
}

/// The same where a table is locked, or is in a schema that may not be used any more: the others do not wait for it. Gives those that could
/// not be added; one that cannot be taken out since it is locked is an error, since it might not be updated by anybody.
async fn bring_each(
    inner: &Inner,
    name: &str,
    made: Option<String>,
    (present, wanted): (&HashSet<TableId>, &[&TableId]),
) -> Result<Vec<TableId>, StoreError> {
    let kept: Vec<&TableId> = wanted.iter().copied().filter(|id| present.contains(*id)).collect();
    if let Some(creation) = made {
        ask(inner, &within(WAIT_MS, &creation)).await?;
    }
    Box::pin(take_out(inner, name, present, &kept)).await?;
    let mut locked = Vec::new();
    for id in wanted.iter().filter(|id| !present.contains(**id)) {
        for statement in changes(name, &HashSet::new(), &[*id]) {
            match ask(inner, &within(WAIT_EACH_MS, &statement)).await {
                Err(error) if is_locked(&error) => locked.push((*id).clone()),
                changed => drop(changed?),
            }
        }
    }
    Ok(locked)
}

/// Takes all tables out but these. One whose name may not be looked up any more goes with the list of those that stay; where none does, it
/// stays too, and what is sent of it is passed over.
async fn take_out(inner: &Inner, name: &str, present: &HashSet<TableId>, kept: &[&TableId]) -> Result<(), StoreError> {
    for statement in changes(name, present, kept) {
        match ask(inner, &within(WAIT_MS, &statement)).await {
            Err(error) if is_denied(&error) && kept.is_empty() => {
                tracing::debug!(store = %inner.name, %error, "a table stays in the publication");
            }
            Err(error) if is_denied(&error) => drop(ask(inner, &within(WAIT_MS, &setting(name, kept))).await?),
            changed => drop(changed?),
        }
    }
    Ok(())
}

/// Statements that wait so long for a lock, together or not at all.
pub(super) fn within(wait_ms: u32, statements: &str) -> String {
    format!("BEGIN; SET LOCAL lock_timeout = {wait_ms}; {statements}; COMMIT")
}

/// Whether somebody held a lock for too long.
pub(super) fn is_locked(error: &StoreError) -> bool {
    matches!(error, StoreError::Remote { sqlstate, .. } if sqlstate == sqlstate::LOCK_NOT_AVAILABLE)
}

/// Whether the role of the store lacks a right.
pub(super) fn is_denied(error: &StoreError) -> bool {
    matches!(error, StoreError::Remote { sqlstate, .. } if sqlstate == sqlstate::INSUFFICIENT_PRIVILEGE)
}

fn state(answers: &[Vec<PgRow>]) -> Result<(i32, bool), sqlx::Error> {
    let row = answers.first().and_then(|rows| rows.first()).ok_or(sqlx::Error::RowNotFound)?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

fn present(rows: &[PgRow]) -> Result<HashSet<TableId>, sqlx::Error> {
    rows.iter().map(|row| Ok(TableId { namespace: row.try_get(0)?, name: row.try_get(1)? })).collect()
}

fn creation(name: &str, wanted: &[&TableId], version: i32) -> String {
    let tables = if wanted.is_empty() { String::new() } else { format!(" FOR TABLE {}", list(wanted)) };
    let options = if version >= OF_ROOTS { " WITH (publish_via_partition_root = true)" } else { "" };
    format!("CREATE PUBLICATION {}{tables}{options}", Dialect::Postgres.quote(name))
}

/// One statement for those that come and one for those that go: a publication that already has what is asked for stays as it is, since
/// every change of it costs the server's decoder what it knows.
fn changes(name: &str, present: &HashSet<TableId>, wanted: &[&TableId]) -> Vec<String> {
    let added: Vec<&TableId> = wanted.iter().copied().filter(|id| !present.contains(*id)).collect();
    let mut removed: Vec<&TableId> = present.iter().filter(|id| !wanted.contains(id)).collect();
    removed.sort();
    let statement = |word: &str, tables: &[&TableId]| {
        (!tables.is_empty()).then(|| format!("ALTER PUBLICATION {} {word} TABLE {}", Dialect::Postgres.quote(name), list(tables)))
    };
    [statement("DROP", &removed), statement("ADD", &added)].into_iter().flatten().collect()
}

/// The statement that leaves these tables alone; those that it has stay as they are.
fn setting(name: &str, kept: &[&TableId]) -> String {
    format!("ALTER PUBLICATION {} SET TABLE {}", Dialect::Postgres.quote(name), list(kept))
}

fn list(tables: &[&TableId]) -> String {
    let names: Vec<String> = tables.iter().map(|id| Dialect::Postgres.table(id)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> TableId {
        TableId { namespace: "public".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn it_is_made_with_its_tables() {
        let (one, other) = (id("a"), id("b\"c"));
        let text = creation("tributary_x", &[&one, &other], 150_000);
        assert_eq!(
            text,
            "CREATE PUBLICATION \"tributary_x\" FOR TABLE \"public\".\"a\", \"public\".\"b\"\"c\" WITH (publish_via_partition_root = true)"
        );
        assert_eq!(creation("tributary_x", &[], 120_000), "CREATE PUBLICATION \"tributary_x\"");
    }

    #[test]
    fn it_is_changed_by_what_differs() {
        let (kept, gone, new) = (id("kept"), id("gone"), id("new"));
        let present = HashSet::from([kept.clone(), gone]);
        assert_eq!(
            changes("tributary_x", &present, &[&kept, &new]),
            [
                "ALTER PUBLICATION \"tributary_x\" DROP TABLE \"public\".\"gone\"",
                "ALTER PUBLICATION \"tributary_x\" ADD TABLE \"public\".\"new\""
            ]
        );
        assert!(changes("tributary_x", &HashSet::from([kept.clone()]), &[&kept]).is_empty());
        assert_eq!(setting("tributary_x", &[&kept]), "ALTER PUBLICATION \"tributary_x\" SET TABLE \"public\".\"kept\"");
    }
}
