//! What of a file can be followed, and what of ours is in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::super::capture::{Follow, Followed, How, InstanceId, Judged, OwnObject, Survey};
use super::super::super::change::Shape;
use super::super::super::commit::{CHANGES, Caution, FEED, is_own_name};
use super::super::super::connector::StoreName;
use super::super::super::error::StoreError;
use super::super::super::schema::{Column, Table, TableKind};
use super::super::super::value::Value;
use super::super::own::{first, reading};
use super::super::pool::Pool;
use super::super::scan::{Database, Failure};
use super::super::types::is_any;
use super::super::write::is_stored;
use super::head::{of_another, stranger};
use super::measure::{WRITTEN, hand_over_all, is_complete};
use super::triggers::{WIDTH_MAX, drop_ours, drop_trigger, int, rows, selected, text};
use crate::pgtype::PgType;

/// How much the table of changes keeps.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Retained {
    /// In bytes.
    pub(super) kept: u64,
    /// What of it was written behind the row that was asked about.
    pub(super) behind: u64,
    /// How much it may.
    pub(super) most: u64,
    /// Whether a change was left out.
    pub(super) is_overflowed: bool,
}

impl Retained {
    /// What is told of it. The row that passes the bound is kept, and whoever is told of the bound takes it that something was lost: it is
    /// told once a change was left out.
    pub(super) fn told(&self) -> u64 {
        if self.is_overflowed { self.kept } else { self.kept.min(self.most.saturating_sub(1)) }
    }
}

/// Why nothing is followed, and what mends it, as far as the settings say.
pub(super) fn closed(pool: &Pool, follow: &Follow) -> Option<(String, String)> {
    let store = pool.store();
    if follow.how == How::Log {
        let mend = format!("Set changes.mode = \"outbox\" in stores/{store}.toml.");
        return Some(("SQLite has no log that could be followed".to_owned(), mend));
    }
    pool.is_read_only().then(|| {
        let reason = "the store is read-only, and triggers of ours would have to be written to its file";
        (reason.to_owned(), format!("Remove read_only from stores/{store}.toml."))
    })
}

/// Looks at the file and its tables.
///
/// # Errors
/// What SQLite says.
pub(super) async fn survey(
    pool: &Arc<Pool>,
    who: InstanceId,
    follow: &Follow,
    tables: &[Arc<Table>],
) -> Result<Survey, StoreError> {
    let store = pool.store().clone();
    let (objects, other, replaced) = reading(pool, move |database| {
        let other = if is_there(database, FEED)? { stranger(database, &who.object(&store))? } else { None };
        Ok((objects(database, who, &store)?, other, replaced(database)?))
    })
    .await?;
    let wanted = || tables.iter().filter(|table| follow.wants(&table.id) || is_own_name(&table.id.name));
    let judged: Vec<Judged> = wanted().map(|table| judge(table, &replaced)).collect();
    let followed: BTreeSet<_> = judged.iter().filter(|each| matches!(each, Judged::Followed(_))).map(Judged::table).collect();
    let cautions = wanted().filter(|table| followed.contains(&table.id)).filter_map(|table| caution(table, &replaced)).collect();
    let refused = closed(pool, follow).or_else(|| other.as_deref().map(of_another));
    Ok(Survey { tables: judged, cautions, refused, objects })
}

/// Whether the changes of a table can be followed. Events name rows by what is read of their key, so that no two rows may have one.
fn judge(table: &Arc<Table>, replaced: &BTreeSet<String>) -> Judged {
    let store_only = |reason: &str, mend: Option<&str>| Judged::StoreOnly {
        table: table.id.clone(),
        reason: reason.to_owned(),
        mend: mend.map(str::to_owned),
    };
    if table.kind != TableKind::Table {
        return store_only("it is a view", None);
    }
    if !is_stored(table) {
        return store_only("it is a virtual table, which runs no triggers", None);
    }
    let Some(key) = table.primary_key.as_ref().filter(|key| !key.columns.is_empty()) else {
        return store_only("it has no primary key", Some("Make the table again with a primary key."));
    };
    let is_certain =
        |column: &Column| matches!(column.pg_type(), PgType::INT8 | PgType::TEXT | PgType::BYTEA) && !is_any(&column.field);
    if !key.columns.iter().all(|ordinal| table.columns.get(*ordinal).is_some_and(is_certain)) {
        let mend = "Declare the columns of its primary key as INTEGER, TEXT or BLOB.";
        return store_only("several cells may stand for one value of its primary key", Some(mend));
    }
    if selected(table).len() > WIDTH_MAX {
        return store_only(&format!("it has more than {WIDTH_MAX} columns"), None);
    }
    let unseen = may_be_replaced(table, replaced).then_some("INSERT OR REPLACE may remove a row of it that no trigger is told of");
    let shape = Shape::of_unseen(table, key.columns.clone(), vec![true; table.columns.len()], unseen);
    Judged::Followed(Followed { table: Arc::clone(table), shape })
}

/// Tables of which REPLACE may remove rows with another key than that of the row it writes: by another unique index, also of expressions
/// or of a part of the rows, or because SQLite takes several texts of the key for one.
fn replaced(database: &Database<'_>) -> Result<BTreeSet<String>, Failure> {
    let sql = "SELECT DISTINCT s.name FROM main.sqlite_schema AS s, pragma_index_list(s.name, 'main') AS l \
               WHERE s.type = 'table' AND l.\"unique\" = 1 AND (l.origin <> 'pk' OR EXISTS \
               (SELECT 1 FROM pragma_index_xinfo(l.name, 'main') AS x WHERE x.key = 1 AND x.coll <> 'BINARY'))";
    Ok(rows(database, sql, &[], |row| text(row, 0))?.into_iter().flatten().collect())
}

/// Whether REPLACE may remove rows of a table that have another key.
fn may_be_replaced(table: &Table, replaced: &BTreeSet<String>) -> bool {
    !table.unique_keys.is_empty() || replaced.contains(&table.id.name)
}

/// What triggers do not see.
fn caution(table: &Table, replaced: &BTreeSet<String>) -> Option<Caution> {
    if !may_be_replaced(table, replaced) {
        return None;
    }
    Some(Caution {
        key: "changes.tables",
        told: format!(
            "INSERT OR REPLACE into \"{}\" may remove a row with another key, which stands in its way, and SQLite tells no trigger of \
             it",
            table.id.name
        ),
        mend: "Write with ON CONFLICT DO UPDATE, or with PRAGMA recursive_triggers = ON.".to_owned(),
    })
}

fn is_there(database: &Database<'_>, table: &str) -> Result<bool, Failure> {
    let sql = "SELECT 1 FROM main.sqlite_schema AS s WHERE s.type = 'table' AND s.name = ?1";
    Ok(first(database, sql, &[Value::Text(table.to_owned())])?.is_some())
}

/// What the table of changes keeps, and what of it is behind the row `applied`; `None` where it is not there or was made without sizes.
pub(super) fn retained(database: &Database<'_>, object: &str, applied: Option<i64>) -> Result<Option<Retained>, Failure> {
    if !is_there(database, FEED)? || !is_there(database, CHANGES)? || !is_complete(database)? {
        return Ok(None);
    }
    let sql = format!(
        "SELECT kept, {WRITTEN}, (SELECT c.z FROM main.tributary_changes AS c WHERE c.seq = ?2), most, overflowed \
         FROM main.tributary_feed WHERE id = ?1"
    );
    // Rows are numbered from one: nothing was applied means no row.
    let values = [Value::Text(object.to_owned()), Value::Int(applied.unwrap_or(0))];
    let found = rows(database, &sql, &values, |row| {
        let kept = int(row, 0)?.unwrap_or_default();
        let written = int(row, 1)?.unwrap_or_default();
        // A row that is not there any more is the last that was removed, or one before it.
        let applied = int(row, 2)?.unwrap_or(kept);
        Ok(Retained {
            kept: between(kept, written),
            behind: between(applied, written),
            most: between(0, int(row, 3)?.unwrap_or_default()),
            is_overflowed: int(row, 4)? != Some(0),
        })
    })?;
    Ok(found.into_iter().next())
}

fn between(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}

/// What of a feed is in the file, of whatever instance.
pub(super) fn objects(database: &Database<'_>, who: InstanceId, store: &StoreName) -> Result<Vec<OwnObject>, Failure> {
    let sql = "SELECT s.name FROM main.sqlite_schema AS s WHERE s.type = 'trigger' AND s.name LIKE 'tributary!_%' ESCAPE '!' \
               ORDER BY s.name";
    let names = rows(database, sql, &[], |row| text(row, 0))?;
    let ours = names.into_iter().flatten().filter(|name| InstanceId::parse_object(name).is_some());
    let mut found: Vec<OwnObject> = ours
        .map(|name| OwnObject {
            what: "trigger",
            remove: drop_trigger(&name),
            ours: who.owns(store, &name),
            name,
            holds_bytes: None,
        })
        .collect();
    let object = who.object(store);
    let kept = retained(database, &object, None)?;
    let is_ours = is_there(database, FEED)? && stranger(database, &object)?.is_none();
    for (name, holds_bytes) in [(CHANGES, kept.map(|kept| kept.kept)), (FEED, None)] {
        if is_there(database, name)? {
            let (name, remove) = (name.to_owned(), format!("DROP TABLE main.{name}"));
            found.push(OwnObject { what: "table", name, remove, ours: is_ours, holds_bytes });
        }
    }
    Ok(found)
}

/// Removes what is of this store. `slot_only`: what keeps changes, so that nothing more is kept.
pub(super) fn remove(
    database: &Database<'_>,
    who: InstanceId,
    store: &StoreName,
    slot_only: bool,
) -> Result<Vec<OwnObject>, Failure> {
    database.run("BEGIN IMMEDIATE")?;
    let removed = removed(database, who, store, slot_only).and_then(|removed| database.run("COMMIT").map(|()| removed));
    if removed.is_err() && !database.is_autocommit() {
        database.run("ROLLBACK")?;
    }
    removed
}

fn removed(database: &Database<'_>, who: InstanceId, store: &StoreName, slot_only: bool) -> Result<Vec<OwnObject>, Failure> {
    let object = who.object(store);
    let found = objects(database, who, store)?;
    drop_ours(database, &object)?;
    let has_tables = found.iter().any(|object| object.what == "table" && object.ours);
    let has_both = is_there(database, CHANGES)? && is_there(database, FEED)?;
    if has_tables && slot_only && has_both {
        hand_over_all(database, &object)?;
    } else if has_tables && !slot_only {
        for table in [CHANGES, FEED] {
            database.run(&format!("DROP TABLE IF EXISTS main.{table}"))?;
        }
    }
    Ok(found.into_iter().filter(|object| object.ours && (object.what == "trigger" || !slot_only)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::super::super::schema::{Collation, ColumnStatistics, Generated, Key};
    use super::super::super::types::field;
    use super::*;

    fn table(declared: &[&str], key: &[usize]) -> Arc<Table> {
        let column = |(place, declared): (usize, &&str)| Column {
            field: field(&format!("c{place}"), declared, true, false),
            native_type: (*declared).to_owned(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        };
        let mut table = Table::plain("main", "t", declared.iter().enumerate().map(column).collect());
        let key = Key { name: "t_pkey".to_owned(), columns: key.to_vec(), proven: false };
        table.primary_key = (!key.columns.is_empty()).then_some(key);
        Arc::new(table)
    }

    fn reason(table: &Arc<Table>) -> Option<String> {
        match judge(table, &BTreeSet::new()) {
            Judged::Followed(_) => None,
            Judged::StoreOnly { reason, .. } => Some(reason),
        }
    }

    #[test]
    fn a_table_is_followed_by_a_key_that_names_one_row() {
        let rows: [(&[&str], &[usize], bool); 6] = [
            (&["INTEGER", "REAL"], &[0], true),
            (&["TEXT", "BLOB"], &[0, 1], true),
            (&["INTEGER"], &[], false),
            (&["DATE"], &[0], false),
            (&["INTEGER", "UUID"], &[0, 1], false),
            // Cells of any kind, as text.
            (&[""], &[0], false),
        ];
        for (declared, key, is_followed) in rows {
            assert_eq!(reason(&table(declared, key)).is_none(), is_followed, "{declared:?} {key:?}");
        }
        let Judged::Followed(followed) = judge(&table(&["INTEGER", "REAL"], &[0]), &BTreeSet::new()) else {
            panic!("it is not followed")
        };
        assert_eq!((&followed.shape.key[..], &followed.shape.always_known[..]), (&[0][..], &[true, true][..]));
    }

    #[test]
    fn views_and_wide_tables_are_not_followed() {
        let mut view = Table::clone(&table(&["INTEGER"], &[0]));
        view.kind = TableKind::View;
        assert!(reason(&Arc::new(view)).unwrap().contains("view"));
        let wide = vec!["INTEGER"; WIDTH_MAX + 1];
        assert!(reason(&table(&wide, &[0])).unwrap().contains("900"));
        assert!(reason(&table(&wide[1..], &[0])).is_none());
    }

    #[test]
    fn the_bound_is_told_once_a_change_was_left_out() {
        let told = |kept, is_overflowed| Retained { kept, behind: 0, most: 100, is_overflowed }.told();
        assert_eq!([told(99, false), told(100, false), told(120, false)], [99, 99, 99]);
        assert_eq!([told(50, true), told(120, true)], [50, 120]);
        assert_eq!(Retained::default().told(), 0);
    }

    #[test]
    fn rows_that_are_replaced_by_another_key_are_cautioned_about() {
        let mut table = Table::clone(&table(&["INTEGER", "TEXT"], &[0]));
        let none = BTreeSet::new();
        assert_eq!(caution(&table, &none), None);
        assert!(caution(&table, &BTreeSet::from(["t".to_owned()])).is_some());
        table.unique_keys.push(Key { name: "u".to_owned(), columns: vec![1], proven: false });
        assert!(caution(&table, &none).unwrap().told.contains("\"t\""));
    }
}
