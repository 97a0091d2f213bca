//! What of ours is in the server, by the names that it bears, and its removal.
//!
//! Slots are the cluster's, so those of other databases are among them.

use std::time::Duration;

use tokio::time::timeout;

use super::super::super::capture::{How, InstanceId, OwnObject};
use super::super::super::commit::{CHANGES, Caution, FEED};
use super::super::super::error::StoreError;
use super::super::super::relational::Dialect;
use super::super::super::schema::TableId;
use super::super::branch::Inner;
use super::super::own;
use super::publication::within;
use super::triggers::{self, FUNCTION, OVERFLOW};
use super::{ask, slot, texts};
use crate::telemetry::log::Line;

/// How long the removal of one may wait for whoever uses it, and others for it.
const WAIT_MS: u32 = 5_000;
/// The same where nobody waits for the removal: it is tried again.
const WAIT_SHORT_MS: u32 = 500;
/// Most time for the removal of what a feed by other means has left.
const LEAVE: Duration = Duration::from_secs(30);

/// Which of ours are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// All of it.
    All,
    /// What makes the server keep its log, or rows of what happens. A publication alone keeps nothing.
    Keeping,
    /// What feeds by these means alone need.
    Of(How),
}

impl Which {
    fn has(self, what: &str) -> bool {
        let is_of_log = ["replication slot", "publication"].contains(&what);
        match self {
            Self::All => true,
            Self::Keeping => what != "publication",
            Self::Of(How::Log) => is_of_log,
            Self::Of(How::Outbox) => !is_of_log,
        }
    }

    fn wait_ms(self) -> u32 {
        if self == Self::All { WAIT_MS } else { WAIT_SHORT_MS }
    }
}

/// What feeds by these means do not need.
fn of_others(how: How) -> Which {
    Which::Of(if how == How::Log { How::Outbox } else { How::Log })
}

/// Slots, publications, and what a feed by triggers shares among its tables: what it is, its name, and the bytes that it holds.
fn question() -> String {
    let there = |what: &str, name: &str, kind: &str| {
        format!(
            " UNION ALL SELECT '{what}', c.relname::text, {kind} FROM pg_catalog.pg_class c \
             WHERE c.oid = pg_catalog.to_regclass('{}')",
            own::quoted(name)
        )
    };
    let size = "pg_catalog.pg_total_relation_size(c.oid)::text";
    let (changes, feed) = (there("table", CHANGES, size), there("table", FEED, "NULL"));
    let overflow = there("sequence", OVERFLOW, "NULL");
    format!(
        "SELECT 'replication slot', s.slot_name::text, CASE WHEN NOT pg_catalog.pg_is_in_recovery() \
         THEN pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn) END::int8::text \
         FROM pg_catalog.pg_replication_slots s WHERE pg_catalog.starts_with(s.slot_name::text, 'tributary_') \
         UNION ALL SELECT 'publication', p.pubname::text, NULL FROM pg_catalog.pg_publication p \
         WHERE pg_catalog.starts_with(p.pubname::text, 'tributary_') \
         UNION ALL SELECT 'function', p.proname::text, NULL FROM pg_catalog.pg_proc p \
         WHERE p.oid = pg_catalog.to_regprocedure('{}()'){changes}{feed}{overflow}",
        own::quoted(FUNCTION)
    )
}

/// An object with where it is, which only triggers need.
struct Found {
    object: OwnObject,
    table: Option<TableId>,
}

/// What there is, of any instance, in the order in which it can be removed.
///
/// # Errors
/// What the server answered.
pub(super) async fn list(inner: &Inner, who: InstanceId) -> Result<Vec<OwnObject>, StoreError> {
    Ok(Box::pin(found(inner, who)).await?.into_iter().map(|found| found.object).collect())
}

async fn found(inner: &Inner, who: InstanceId) -> Result<Vec<Found>, StoreError> {
    let (lease, rows) = ask(inner, &question()).await?;
    drop(lease);
    let owner = Box::pin(triggers::owner(inner)).await?;
    let placed = Box::pin(triggers::placed(inner)).await?;
    // What has no instance in its name belongs to the one that is told in its table, and without one to whoever asks.
    let owns_shared = owner.is_none_or(|owner| who.owns(&inner.name, &owner));
    let mut all = Vec::with_capacity(rows.len() + placed.len());
    for row in &rows {
        let columns = texts(inner, row)?;
        let [Some(what), Some(name), held] = columns.as_slice() else { continue };
        let Some(what) = word(what) else { continue };
        let is_named = ["replication slot", "publication"].contains(&what);
        // Others may have names that begin alike.
        if is_named && InstanceId::parse_object(name).is_none() {
            continue;
        }
        let ours = if is_named { who.owns(&inner.name, name) } else { owns_shared };
        let holds_bytes = held.as_ref().and_then(|text| text.parse().ok());
        all.push(Found {
            object: OwnObject { what, name: name.clone(), remove: removal(what, name), ours, holds_bytes },
            table: None,
        });
    }
    let named = placed.into_iter().filter(|placed| InstanceId::parse_object(&placed.trigger).is_some());
    all.extend(named.map(|placed| {
        let (ours, remove) = (who.owns(&inner.name, &placed.trigger), triggers::removal(&placed.trigger, &placed.table));
        let name = format!("{} on {}.{}", placed.trigger, placed.table.namespace, placed.table.name);
        Found { object: OwnObject { what: "trigger", name, remove, ours, holds_bytes: None }, table: Some(placed.table) }
    }));
    all.sort_by(|a, b| (rank(a.object.what), &a.object.name).cmp(&(rank(b.object.what), &b.object.name)));
    Ok(all)
}

fn word(what: &str) -> Option<&'static str> {
    ORDER.into_iter().find(|known| *known == what)
}

/// What makes the server keep its log goes first, and what others stand on goes last.
const ORDER: [&str; 6] = ["replication slot", "publication", "trigger", "function", "table", "sequence"];

fn rank(what: &str) -> usize {
    ORDER.iter().position(|known| *known == what).unwrap_or(ORDER.len())
}

fn removal(what: &str, name: &str) -> String {
    match what {
        "replication slot" => slot::removal(name),
        "publication" => format!("DROP PUBLICATION IF EXISTS {}", Dialect::Postgres.quote(name)),
        "function" => format!("DROP FUNCTION IF EXISTS {}()", own::quoted(name)),
        "sequence" => format!("DROP SEQUENCE IF EXISTS {}", own::quoted(name)),
        _ => format!("DROP TABLE IF EXISTS {}", own::quoted(name)),
    }
}

/// Removes ours and gives what it removed.
///
/// # Errors
/// What the server answered; those before it are removed.
pub(super) async fn remove(inner: &Inner, who: InstanceId, which: Which) -> Result<Vec<OwnObject>, StoreError> {
    let mut removed = Vec::new();
    let found = Box::pin(found(inner, who)).await?;
    let ours: Vec<Found> = found.into_iter().filter(|found| found.object.ours && which.has(found.object.what)).collect();
    let has = |what: &str| ours.iter().any(|found| found.object.what == what);
    if has("trigger") && has("sequence") {
        // Whoever finds some of the triggers there must know that the others were not.
        drop(ask(inner, &triggers::mark_removal()).await?);
    }
    for Found { object, table } in ours {
        if object.what == "replication slot" {
            // Whoever reads from it is ended: it is dropped because nobody does, or because nobody may.
            drop(Box::pin(slot::remove(inner, &object.name, true)).await?);
        } else {
            let outcome = ask(inner, &within(which.wait_ms(), &object.remove)).await.map(drop);
            match outcome {
                // The table went with its trigger.
                Err(StoreError::Remote { sqlstate, .. })
                    if table.is_some() && sqlstate == crate::error::sqlstate::UNDEFINED_TABLE => {}
                other => other?,
            }
        }
        removed.push(object);
    }
    Ok(removed)
}

/// Removes what a feed by other means has left, before one by these begins, which it does in any case: what could not be removed is told
/// here and by every survey.
pub(super) async fn leave(inner: &Inner, who: InstanceId, how: How) {
    let store = &inner.name;
    match timeout(LEAVE, Box::pin(remove(inner, who, of_others(how)))).await {
        Ok(Ok(removed)) => {
            for OwnObject { what, name, .. } in &removed {
                tracing::info!(%store, what, name = %Line(name), "removed: the store is followed by other means now");
            }
        }
        Ok(Err(error)) => {
            let error = error.to_string();
            tracing::warn!(%store, error = %Line(&error), "what a feed by other means has left in the store was not removed");
        }
        Err(_late) => tracing::warn!(%store, "what a feed by other means has left in the store was not removed in time"),
    }
}

/// What a feed by other means has left, as far as there is something.
pub(super) fn left(objects: &[OwnObject], how: How) -> Vec<Caution> {
    let left = objects.iter().filter(|object| object.ours && of_others(how).has(object.what));
    let told = left.map(|OwnObject { what, name, remove, holds_bytes, .. }| {
        let keeps = holds_bytes.map(|bytes| format!(", for which the server keeps {bytes} bytes")).unwrap_or_default();
        let told = format!("left of a feed by other means: {what} {name}{keeps}; it is removed when this one begins");
        Caution { key: "changes.mode", told, mend: remove.clone() }
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_goes_first_and_tables_behind_what_stands_on_them() {
        let mut words = ["sequence", "table", "trigger", "replication slot", "function", "publication"];
        words.sort_by_key(|word| rank(word));
        assert_eq!(words, ORDER);
        assert_eq!(word("replication slot"), Some("replication slot"));
        assert_eq!(word("database"), None);
        let kept: Vec<&str> = ORDER.into_iter().filter(|what| !Which::Keeping.has(what)).collect();
        assert_eq!(kept, ["publication"]);
    }

    #[test]
    fn what_a_feed_by_other_means_has_left_is_told() {
        let object = |what, ours, holds_bytes| {
            let remove = removal(what, "tributary_x");
            OwnObject { what, name: "tributary_x".to_owned(), remove, ours, holds_bytes }
        };
        let all: Vec<OwnObject> = ORDER.into_iter().map(|what| object(what, true, Some(7))).collect();
        let told = |how| left(&all, how).iter().map(|caution| caution.told.clone()).collect::<Vec<_>>();
        let of_log = told(How::Outbox);
        assert_eq!(of_log.len(), 2);
        assert!(of_log[0].contains("replication slot tributary_x, for which the server keeps 7 bytes"), "{of_log:?}");
        assert_eq!(told(How::Log).len(), 4);
        assert!(left(&[object("replication slot", false, None)], How::Outbox).is_empty());
        assert_eq!(left(&all, How::Outbox)[0].mend, "SELECT pg_catalog.pg_drop_replication_slot('tributary_x')");
    }

    #[test]
    fn objects_are_removed_by_their_names() {
        let rows = [
            ("replication slot", "a", "SELECT pg_catalog.pg_drop_replication_slot('a')"),
            ("publication", "a", "DROP PUBLICATION IF EXISTS \"a\""),
            ("function", "a", "DROP FUNCTION IF EXISTS \"public\".\"a\"()"),
            ("table", "a", "DROP TABLE IF EXISTS \"public\".\"a\""),
        ];
        for (what, name, expected) in rows {
            assert_eq!(removal(what, name), expected);
        }
    }
}
