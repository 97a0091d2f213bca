//! What a feed by triggers leaves in a database: a table that they fill, who it is filled for, and two triggers on each followed table.
//!
//! ```text
//! INSERT, UPDATE, DELETE, TRUNCATE → tributary_capture() → a row of tributary_changes, in the transaction that it is about
//!                                          └ too many that nobody has taken → tributary_overflow, and no row
//! ```
//!
//! **Invariants:** a write of the application never fails, nor waits, because of us: rows are their own texts under settings of the
//! function's, and the mark that there were too many is a sequence, which no transaction locks. There is room for one instance.

use std::collections::HashSet;

use sqlx::Row;

use super::super::super::capture::{Ended, Followed};
use super::super::super::commit::{CHANGES, FEED};
use super::super::super::error::StoreError;
use super::super::super::relational::Dialect;
use super::super::super::schema::TableId;
use super::super::branch::Inner;
use super::super::{error, own};
use super::publication::{is_denied, is_locked, within};
use super::{ask, texts};

/// The function of the triggers.
pub(super) const FUNCTION: &str = "tributary_capture";
/// The sequence that tells that there were too many rows.
pub(super) const OVERFLOW: &str = "tributary_overflow";
/// The sequence that numbers the rows.
pub(super) const NUMBERS: &str = "tributary_changes_seq_seq";
/// Bytes of a row, about, by which the bound of the store file becomes one of rows.
const ROW_BYTES: u64 = 1_024;
/// The fewest rows that there is always room for.
const ROWS_MIN: u64 = 1_000;
/// What that sequence holds besides: there were too many, and triggers were removed.
const TOO_MANY: i64 = 2;
const REMOVED: i64 = 3;
/// How long a trigger may wait for the writers of its table, and they for it.
const WAIT_MS: u32 = 500;

/// How many rows may wait.
pub(super) fn room(max_retained: u64) -> u64 {
    (max_retained / ROW_BYTES).max(ROWS_MIN)
}

/// The statements that make what all tables share.
fn creations(name: &str, room: u64) -> Vec<String> {
    let (changes, feed) = (own::quoted(CHANGES), own::quoted(FEED));
    let (function, overflow, numbers) = (own::quoted(FUNCTION), own::quoted(OVERFLOW), own::quoted(NUMBERS));
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {changes} (seq bigserial PRIMARY KEY, xid bigint NOT NULL DEFAULT pg_catalog.txid_current(), \
             tbl oid NOT NULL, op text NOT NULL, old text, new text)"
        ),
        format!("CREATE INDEX IF NOT EXISTS tributary_changes_xid ON {changes} (xid, seq)"),
        format!("CREATE TABLE IF NOT EXISTS {feed} (id text PRIMARY KEY, handed bigint NOT NULL, room bigint NOT NULL)"),
        format!("CREATE SEQUENCE IF NOT EXISTS {overflow}"),
        format!("INSERT INTO {feed} (id, handed, room) VALUES ('{name}', 0, {room}) ON CONFLICT (id) DO UPDATE SET room = {room}"),
        format!(
            "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' \
             SET datestyle = 'ISO, MDY' SET timezone = 'UTC' SET intervalstyle = 'postgres' SET extra_float_digits = 1 \
             SET bytea_output = 'hex' SET lc_monetary = 'C' SET xmloption = 'content' AS $tributary$\n\
             DECLARE has_room boolean;\n\
             BEGIN\n\
             SELECT s.last_value < f.handed + f.room INTO has_room FROM {numbers} s, {feed} f;\n\
             IF has_room IS NOT TRUE THEN\n\
             PERFORM pg_catalog.setval('{overflow}', {TOO_MANY});\n\
             ELSIF TG_OP = 'TRUNCATE' THEN\n\
             INSERT INTO {changes} (tbl, op) VALUES (TG_RELID, 't');\n\
             ELSE\n\
             INSERT INTO {changes} (tbl, op, old, new) VALUES (TG_RELID, pg_catalog.lower(pg_catalog.left(TG_OP, 1)), \
             OLD::pg_catalog.text, NEW::pg_catalog.text);\n\
             END IF;\n\
             RETURN NULL;\n\
             END $tributary$"
        ),
    ]
}

/// The triggers of a feed on a table: by rows, and by TRUNCATE.
fn names(name: &str) -> [String; 2] {
    [format!("{name}_r"), format!("{name}_t")]
}

/// The statements that put those on a table that it has not. They fire for writes of replication too, which ordinary ones do not see.
fn placement(name: &str, table: &TableId, has: impl Fn(&str) -> bool) -> String {
    let (table, function) = (Dialect::Postgres.table(table), own::quoted(FUNCTION));
    let [rows, truncate] = names(name);
    let quote = |name: &str| Dialect::Postgres.quote(name);
    let mut sql = String::new();
    for (trigger, fires) in
        [(&rows, "AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW"), (&truncate, "AFTER TRUNCATE ON {} FOR EACH STATEMENT")]
    {
        if !has(trigger) {
            sql += &format!("CREATE TRIGGER {} {} EXECUTE FUNCTION {function}(); ", quote(trigger), fires.replace("{}", &table));
        }
    }
    format!("{sql}ALTER TABLE {table} ENABLE ALWAYS TRIGGER {}, ENABLE ALWAYS TRIGGER {}", quote(&rows), quote(&truncate))
}

/// The statement that takes a trigger away.
pub(super) fn removal(trigger: &str, table: &TableId) -> String {
    format!("DROP TRIGGER IF EXISTS {} ON {}", Dialect::Postgres.quote(trigger), Dialect::Postgres.table(table))
}

/// The statement behind which no feed goes on: what happens without triggers is in no table.
pub(super) fn mark_removal() -> String {
    format!("SELECT pg_catalog.setval('{}', {REMOVED})", own::quoted(OVERFLOW))
}

/// Why changes are missing, by what the sequence of the marks holds.
pub(super) fn loss(mark: i64) -> Option<&'static str> {
    match mark {
        ..TOO_MANY => None,
        TOO_MANY => Some("changes that nobody had taken were more than changes.max_retained allows"),
        _ => Some("its triggers were removed meanwhile"),
    }
}

/// The statements by which another instance takes the place of the one that is there.
pub(super) fn takeover() -> String {
    format!(
        "DROP FUNCTION {}() CASCADE; DROP TABLE {}, {}; DROP SEQUENCE {}",
        own::quoted(FUNCTION),
        own::quoted(CHANGES),
        own::quoted(FEED),
        own::quoted(OVERFLOW)
    )
}

/// Whose the table of changes is, when there is one.
///
/// # Errors
/// What the server answered.
pub(super) async fn owner(inner: &Inner) -> Result<Option<String>, StoreError> {
    let (mut lease, rows) = ask(inner, &format!("SELECT pg_catalog.to_regclass('{}')::text", own::quoted(FEED))).await?;
    let is_there: Option<String> = rows.first().and_then(|row| row.try_get(0).ok()).flatten();
    if is_there.is_none() {
        return Ok(None);
    }
    let rows = lease.query(&format!("SELECT id FROM {} ORDER BY id LIMIT 1", own::quoted(FEED))).await?;
    Ok(rows.first().map(|row| texts(inner, row)).transpose()?.and_then(|columns| columns.into_iter().next().flatten()))
}

/// A trigger of ours on a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Placed {
    /// Its name.
    pub trigger: String,
    /// Where it is.
    pub table: TableId,
    /// Whether it fires for whoever writes.
    pub is_always: bool,
}

/// Every trigger with our prefix.
///
/// # Errors
/// What the server answered.
pub(super) async fn placed(inner: &Inner) -> Result<HashSet<Placed>, StoreError> {
    const QUERY: &str = "SELECT t.tgname::text, n.nspname::text, c.relname::text, t.tgenabled::text FROM pg_catalog.pg_trigger t \
         JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE NOT t.tgisinternal AND pg_catalog.starts_with(t.tgname::text, 'tributary_')";
    let (_lease, rows) = ask(inner, QUERY).await?;
    let mut placed = HashSet::with_capacity(rows.len());
    for row in &rows {
        if let [Some(trigger), Some(namespace), Some(name), Some(enabled)] = texts(inner, row)?.as_slice() {
            let table = TableId { namespace: namespace.clone(), name: name.clone() };
            placed.insert(Placed { trigger: trigger.clone(), table, is_always: enabled == "A" });
        }
    }
    Ok(placed)
}

/// Makes what is missing, and takes our triggers from tables that are not followed any more. Gives the tables that have none, since
/// somebody holds a lock on them.
///
/// # Errors
/// Another instance is there; what the server answered.
pub(super) async fn install(inner: &Inner, name: &str, room: u64, tables: &[Followed]) -> Result<Vec<TableId>, Ended> {
    if let Some(other) = Box::pin(owner(inner)).await?.filter(|owner| owner != name) {
        let reason = format!("another instance follows this database by triggers ({other})");
        return Err(Ended::Refused { reason, mend: takeover() });
    }
    let (lease, _) = ask(inner, &own::made(&creations(name, room))).await?;
    drop(lease);
    Box::pin(place(inner, name, tables)).await.map_err(Ended::Again)
}

/// Puts the triggers on these tables and on no others. Gives those that are locked.
///
/// # Errors
/// As [`install`].
pub(super) async fn place(inner: &Inner, name: &str, tables: &[Followed]) -> Result<Vec<TableId>, StoreError> {
    let placed = Box::pin(placed(inner)).await?;
    let has = |trigger: &str, table: &TableId, is_always: bool| {
        placed.contains(&Placed { trigger: trigger.to_owned(), table: table.clone(), is_always })
    };
    let wanted: HashSet<&TableId> = tables.iter().map(|followed| &followed.table.id).collect();
    let missing = wanted.iter().filter(|table| !names(name).iter().all(|trigger| has(trigger, table, true)));
    let is_there = |trigger: &str, table: &TableId| has(trigger, table, true) || has(trigger, table, false);
    let placements = missing.map(|table| (placement(name, table, |trigger| is_there(trigger, table)), *table));
    let mut statements: Vec<(String, &TableId)> = placements.collect();
    let ours = placed.iter().filter(|each| names(name).contains(&each.trigger) && !wanted.contains(&each.table));
    statements.extend(ours.map(|each| (removal(&each.trigger, &each.table), &each.table)));
    let mut locked = Vec::new();
    // One table after the other: a lock on one is not held while another is waited for.
    for (statement, table) in statements {
        match ask(inner, &within(WAIT_MS, &statement)).await {
            // Rows of a table that is not followed are passed over, until its triggers can be taken away.
            Err(error) if is_locked(&error) => locked.extend(wanted.contains(table).then(|| table.clone())),
            // The same of one that the role may not alter any more.
            Err(error) if is_denied(&error) && !wanted.contains(table) => {}
            placed => drop(placed?),
        }
    }
    Ok(locked)
}

/// A number of the server's that is told as text.
///
/// # Errors
/// It is none.
pub(super) fn number(inner: &Inner, text: Option<&String>) -> Result<i64, StoreError> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| error::running(&inner.name, &sqlx::Error::RowNotFound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_counts_rows() {
        assert_eq!((room(1 << 30), room(0)), (1 << 20, 1_000));
        let all = creations("tributary_x", 77).join(";");
        assert!(all.contains("VALUES ('tributary_x', 0, 77) ON CONFLICT (id) DO UPDATE SET room = 77"), "{all}");
        assert!(all.contains("setval('\"public\".\"tributary_overflow\"', 2)"), "{all}");
        assert_eq!(mark_removal(), "SELECT pg_catalog.setval('\"public\".\"tributary_overflow\"', 3)");
        assert_eq!([1, 2, 3].map(|mark| loss(mark).is_some_and(|reason| reason.contains("removed"))), [false, false, true]);
        assert_eq!((loss(1), loss(2).is_some()), (None, true));
    }

    #[test]
    fn the_page_names_what_is_left_in_a_store() {
        let page = include_str!("../../../../docs/changes/postgres.md");
        for name in [CHANGES, FEED, FUNCTION, OVERFLOW] {
            assert!(page.contains(&format!("`{name}`")) && page.contains(&format!("public.{name}")), "{name}");
        }
    }

    #[test]
    fn triggers_fire_for_every_writer() {
        let table = TableId { namespace: "public".to_owned(), name: "t".to_owned() };
        let text = placement("tributary_x", &table, |_| false);
        assert!(
            text.contains("CREATE TRIGGER \"tributary_x_r\" AFTER INSERT OR UPDATE OR DELETE ON \"public\".\"t\" FOR EACH ROW"),
            "{text}"
        );
        assert!(text.ends_with("ENABLE ALWAYS TRIGGER \"tributary_x_r\", ENABLE ALWAYS TRIGGER \"tributary_x_t\""), "{text}");
        assert!(text.contains("CREATE TRIGGER \"tributary_x_t\" AFTER TRUNCATE ON"), "{text}");
        // One that somebody has switched off is switched on again.
        assert!(placement("tributary_x", &table, |_| true).starts_with("ALTER TABLE \"public\".\"t\" ENABLE ALWAYS"));
    }
}
