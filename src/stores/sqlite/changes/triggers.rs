//! What of ours is in a file that is followed: a table of changes, a table that says who follows, and three triggers for each table.
//!
//! Cells are kept as they are, in columns without types, so that nothing a trigger does can make the writer's statement fail. A set of
//! triggers has a number, which its rows carry; what the places of such a row mean is written down beside it, so that rows outlive the
//! triggers. A trigger stops writing once so many bytes are kept, and says that it did.
//!
//! **Invariants:** everything here happens under the lock of what writes; whoever may have missed changes of a table finds a row that
//! says so among them, in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::super::super::capture::{Followed, InstanceId};
use super::super::super::relational::Dialect;
use super::super::super::relational::documents::{Selected, select};
use super::super::super::schema::{Table, TableId};
use super::super::super::value::Value;
use super::super::own::first;
use super::super::scan::{Database, Failure, Statement};
use super::super::types::read::Cell;
use super::measure::{CELLS_MAX, ROW_BYTES, WRITTEN, bytes, cell, complete};

/// The most columns of a table that is followed: SQLite stops at 2,000, and each is there twice.
pub(super) const WIDTH_MAX: usize = 900;

/// A row that says that what was known of a table does not follow.
pub(super) const RESHAPED: &str = "r";
/// A row that says that a table is not followed any more.
pub(super) const STOPPED: &str = "s";

/// What a trigger says that gives its rows what proves them and counts them; those of an older version do not.
const PROVEN: &str = "INSERT INTO tributary_changes (tbl, op, w, z";

/// What the triggers of a table keep of a row, by place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) table: String,
    /// Of the shape of its events.
    digest: String,
    pub(super) columns: Vec<String>,
}

impl Kept {
    pub(super) fn of(followed: &Followed) -> Self {
        let table = &followed.table;
        let columns = selected(table).iter().map(|item| own_name(item, table).to_owned()).collect();
        Self { table: table.id.name.clone(), digest: format!("{:016x}", followed.shape.digest), columns }
    }

    fn written(&self) -> String {
        serde_json::json!([self.table, self.digest, self.columns]).to_string()
    }

    fn read(text: &str) -> Option<Self> {
        let (table, digest, columns) = serde_json::from_str(text).ok()?;
        Some(Self { table, digest, columns })
    }
}

/// The columns of a table as the file has them; the fields of a document are one.
pub(super) fn selected(table: &Table) -> Vec<Selected> {
    let all: Vec<usize> = (0..table.columns.len()).collect();
    select(table, &all).unwrap_or_default()
}

/// The name of such a column.
pub(super) fn own_name<'t>(item: &'t Selected, table: &'t Table) -> &'t str {
    match item {
        Selected::Plain { ordinal, .. } => table.columns.get(*ordinal).map_or("", |column| column.name()),
        Selected::Document(part) => &part.column,
    }
}

/// What was written down of a set of triggers.
#[derive(Debug, Clone)]
pub(super) struct Form {
    pub(super) kept: Kept,
    /// Its rows from this one on are not given.
    pub(super) until: Option<i64>,
}

/// A trigger of ours.
#[derive(Debug, Clone)]
struct Trigger {
    name: String,
    number: i64,
    table: String,
    sql: String,
    /// Where it is among the others: the one that was made last runs first.
    place: i64,
}

/// What is to be installed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The name of what is ours ([`super::super::super::capture::InstanceId::object`]).
    pub(super) object: &'a str,
    pub(super) tables: &'a [Followed],
    /// Whether nothing has to be told, because everything begins anew.
    pub(super) is_fresh: bool,
    /// What becomes of a table that does not look as it was discovered.
    pub(super) misfits: Misfits,
}

/// What becomes of a table that does not look as it was discovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfits {
    /// Its triggers stay as they are: it will be discovered again.
    Wait,
    /// It is not followed any more.
    Stop,
}

/// What is there now.
#[derive(Debug, Default)]
pub(super) struct Installed {
    /// The number of each table by its place among those that were asked for.
    pub(super) numbers: Vec<(i64, usize)>,
    /// Tables that do not look as they were discovered.
    pub(super) misfits: Vec<TableId>,
    /// The version of the schema with all that.
    pub(super) version: i64,
}

/// Makes the tables of ours where they are not.
pub(super) fn make_tables(database: &Database<'_>) -> Result<(), Failure> {
    database.run(
        "CREATE TABLE IF NOT EXISTS main.tributary_changes \
         (seq INTEGER PRIMARY KEY AUTOINCREMENT, tbl INTEGER, op TEXT, w INTEGER, z INTEGER, o0, n0)",
    )?;
    database.run(
        "CREATE TABLE IF NOT EXISTS main.tributary_feed \
         (id TEXT PRIMARY KEY, uuid TEXT, handed INTEGER, overflowed INTEGER, most INTEGER, w INTEGER, kept INTEGER)",
    )?;
    complete(database)
}

/// Makes what is missing, and removes what is not asked for.
pub(super) fn install(database: &Database<'_>, asked: Asked<'_>) -> Result<Installed, Failure> {
    let mut fitting = Fitting {
        database,
        asked,
        left: existing(database, asked.object)?,
        forms: forms(database)?,
        next: 1,
        done: Installed::default(),
    };
    let used = fitting.left.iter().map(|trigger| trigger.number).chain(fitting.forms.keys().copied());
    fitting.next = used.max().unwrap_or(0) + 1;
    widen(database, asked.tables)?;
    for (at, followed) in asked.tables.iter().enumerate() {
        fitting.table(at, followed)?;
    }
    fitting.finish()
}

struct Fitting<'d, 'a> {
    database: &'d Database<'d>,
    asked: Asked<'a>,
    /// Triggers that nobody has asked for yet.
    left: Vec<Trigger>,
    forms: BTreeMap<i64, Form>,
    next: i64,
    done: Installed,
}

impl Fitting<'_, '_> {
    fn table(&mut self, at: usize, followed: &Followed) -> Result<(), Failure> {
        let kept = Kept::of(followed);
        let (own, left): (Vec<Trigger>, Vec<Trigger>) =
            std::mem::take(&mut self.left).into_iter().partition(|trigger| trigger.table.eq_ignore_ascii_case(&kept.table));
        self.left = left;
        if !fits(self.database, followed, &kept)? {
            return self.misfit(followed, &own);
        }
        let intact = self.intact(&kept, &own)?;
        let gone: Vec<Trigger> = own.iter().filter(|trigger| Some(trigger.number) != intact.ok()).cloned().collect();
        self.drop_all(&gone)?;
        let number = match intact {
            Ok(number) => number,
            Err(reason) => self.make(&kept, reason)?,
        };
        self.done.numbers.push((number, at));
        Ok(())
    }

    /// What becomes of a table that does not look as it was discovered, with triggers of ours.
    fn misfit(&mut self, followed: &Followed, own: &[Trigger]) -> Result<(), Failure> {
        let id = &followed.table.id;
        self.done.misfits.push(id.clone());
        if self.asked.misfits == Misfits::Stop {
            self.drop_all(own)?;
            return self.tell(STOPPED, &id.name, "its columns are not those that were discovered");
        }
        // Their rows could not be told from those of an older copy of the file, and would not be counted.
        let older: Vec<Trigger> = own.iter().filter(|trigger| !trigger.sql.contains(PROVEN)).cloned().collect();
        if older.is_empty() {
            return Ok(());
        }
        self.drop_all(&older)?;
        self.tell(RESHAPED, &id.name, "its triggers were those of an older version, so that changes of it may be missing")
    }

    /// The number under which everything is as it would be made now, or why nothing is.
    fn intact(&self, kept: &Kept, own: &[Trigger]) -> Result<Result<i64, &'static str>, Failure> {
        let numbers: BTreeSet<i64> = own.iter().map(|trigger| trigger.number).collect();
        if numbers.is_empty() {
            return Ok(Err("it is followed from here"));
        }
        let known = |number: &i64| self.forms.get(number).is_some_and(|form| form.kept == *kept && form.until.is_none());
        let Some(number) = numbers.into_iter().rfind(known) else { return Ok(Err("its columns are others now")) };
        let is_there = |operation: &Written| {
            let (name, sql) = trigger(self.asked.object, number, *operation, kept);
            own.iter().any(|trigger| trigger.name == name && trigger.sql == sql)
        };
        if !Written::ALL.iter().all(is_there) {
            return Ok(Err("its triggers were not there, so that changes of it may be missing"));
        }
        let places = own.iter().filter(|trigger| trigger.number == number).map(|trigger| trigger.place);
        let others = newest_of_others(self.database, self.asked.object, &kept.table)?;
        if others.zip(places.min()).is_some_and(|(other, own)| other > own) {
            // What it changes in the same row would be told before the change that it runs for.
            return Ok(Err("another trigger ran before ours"));
        }
        Ok(Ok(number))
    }

    fn make(&mut self, kept: &Kept, reason: &'static str) -> Result<i64, Failure> {
        let number = self.next;
        self.next += 1;
        for operation in Written::ALL {
            self.database.run(&trigger(self.asked.object, number, operation, kept).1)?;
        }
        let values = [Value::Text(form_id(number)), Value::Text(kept.written())];
        first(self.database, "INSERT INTO main.tributary_feed (id, uuid) VALUES (?1, ?2)", &values)?;
        self.tell(RESHAPED, &kept.table, reason)?;
        Ok(number)
    }

    /// Leaves a row among the changes.
    fn tell(&self, operation: &str, table: &str, reason: &str) -> Result<(), Failure> {
        if self.asked.is_fresh {
            return Ok(());
        }
        let values = [operation, reason, table, self.asked.object].map(|text| Value::Text(text.to_owned()));
        let sql = format!(
            "INSERT INTO main.tributary_changes (tbl, op, w, z, o0, n0) \
             SELECT 0, ?1, random(), {WRITTEN} + {ROW_BYTES}, ?2, ?3 FROM main.tributary_feed WHERE id = ?4"
        );
        first(self.database, &sql, &values).map(drop)
    }

    fn drop_all(&self, triggers: &[Trigger]) -> Result<(), Failure> {
        triggers.iter().try_for_each(|trigger| self.database.run(&drop_trigger(&trigger.name)))
    }

    fn finish(mut self) -> Result<Installed, Failure> {
        let left = std::mem::take(&mut self.left);
        self.drop_all(&left)?;
        let tables: BTreeSet<&str> = left.iter().map(|trigger| trigger.table.as_str()).collect();
        for table in tables {
            self.tell(STOPPED, table, "it is not followed any more")?;
        }
        // Of dropped tables no triggers are left, but what was written down of them.
        let known: BTreeSet<&str> = self.asked.tables.iter().map(|followed| followed.table.id.name.as_str()).collect();
        let told: BTreeSet<&str> = left.iter().map(|trigger| trigger.table.as_str()).collect();
        let open = self.forms.values().filter(|form| form.until.is_none()).map(|form| form.kept.table.as_str());
        let gone: BTreeSet<String> =
            open.filter(|table| !known.contains(table) && !told.contains(table)).map(str::to_owned).collect();
        for table in &gone {
            self.tell(STOPPED, table, "the table is not there any more")?;
        }
        self.forget()?;
        let version = version(self.database)?;
        Ok(Installed { version, ..self.done })
    }

    /// Ends what is not in use: rows of it that are left are still read.
    fn forget(&self) -> Result<(), Failure> {
        let in_use: BTreeSet<i64> = existing(self.database, self.asked.object)?.into_iter().map(|trigger| trigger.number).collect();
        let is_empty = first(self.database, "SELECT c.seq FROM main.tributary_changes AS c LIMIT 1", &[])?.is_none();
        let last = last_seq(self.database)?;
        // What will be discovered again is not forgotten before.
        let waits = |form: &Form| {
            self.asked.misfits == Misfits::Wait && self.done.misfits.iter().any(|table| table.name == form.kept.table)
        };
        let gone = forms(self.database)?.into_iter().filter(|(number, form)| !in_use.contains(number) && !waits(form));
        for (number, _) in gone {
            let id = Value::Text(form_id(number));
            if is_empty {
                first(self.database, "DELETE FROM main.tributary_feed WHERE id = ?1", &[id])?;
            } else {
                let sql = "UPDATE main.tributary_feed SET handed = coalesce(handed, ?2) WHERE id = ?1";
                first(self.database, sql, &[id, Value::Int(last.saturating_add(1))])?;
            }
        }
        Ok(())
    }
}

/// Stops a set of triggers, whose row `seq` and all after it are not given.
pub(super) fn stop(database: &Database<'_>, object: &str, number: i64, seq: i64) -> Result<(), Failure> {
    for trigger in existing(database, object)?.into_iter().filter(|trigger| trigger.number == number) {
        database.run(&drop_trigger(&trigger.name))?;
    }
    let values = [Value::Text(form_id(number)), Value::Int(seq)];
    first(database, "UPDATE main.tributary_feed SET handed = ?2 WHERE id = ?1", &values).map(drop)
}

/// Drops all triggers of ours, and gives their names.
pub(super) fn drop_ours(database: &Database<'_>, object: &str) -> Result<Vec<String>, Failure> {
    let found = existing(database, object)?;
    for trigger in &found {
        database.run(&drop_trigger(&trigger.name))?;
    }
    Ok(found.into_iter().map(|trigger| trigger.name).collect())
}

/// Drops the triggers of a table, of whatever instance: an instance that follows it makes its own again, and tells that changes may be
/// missing.
pub(super) fn release(database: &Database<'_>, table: &str) -> Result<(), Failure> {
    let sql = "SELECT s.name FROM main.sqlite_schema AS s WHERE s.type = 'trigger' AND s.tbl_name = ?1 COLLATE NOCASE";
    let names = rows(database, sql, &[Value::Text(table.to_owned())], |row| text(row, 0))?;
    let ours = names.into_iter().flatten().filter(|name| InstanceId::parse_object(name).is_some());
    ours.map(|name| drop_trigger(&name)).try_for_each(|sql| database.run(&sql))
}

/// The statement that drops a trigger.
pub(super) fn drop_trigger(name: &str) -> String {
    format!("DROP TRIGGER main.{}", Dialect::Sqlite.quote(name))
}

/// What is written down of sets of triggers.
pub(super) fn forms(database: &Database<'_>) -> Result<BTreeMap<i64, Form>, Failure> {
    let sql = "SELECT f.id, f.uuid, f.handed FROM main.tributary_feed AS f WHERE f.id LIKE 'form %'";
    let found = rows(database, sql, &[], |row| Ok((text(row, 0)?, text(row, 1)?, int(row, 2)?)))?;
    let read = |(id, written, until): (Option<String>, Option<String>, Option<i64>)| {
        let number = id?.strip_prefix("form ")?.parse().ok()?;
        Some((number, Form { kept: Kept::read(&written?)?, until }))
    };
    Ok(found.into_iter().filter_map(read).collect())
}

/// The version of the schema, which every definition moves.
pub(super) fn version(database: &Database<'_>) -> Result<i64, Failure> {
    number(database, "PRAGMA main.schema_version").map(Option::unwrap_or_default)
}

/// The last number that a row of changes was given, also where it is gone; 0 before the first.
pub(super) fn last_seq(database: &Database<'_>) -> Result<i64, Failure> {
    // SQLite counts on from the larger of both: whoever resets its own number does not reset those of the rows.
    let sql = "SELECT max(coalesce((SELECT max(c.seq) FROM main.tributary_changes AS c), 0), \
               coalesce((SELECT max(s.seq) FROM main.sqlite_sequence AS s WHERE s.name = 'tributary_changes'), 0))";
    number(database, sql).map(Option::unwrap_or_default)
}

/// The number in the first column of the first row.
pub(super) fn number(database: &Database<'_>, sql: &str) -> Result<Option<i64>, Failure> {
    Ok(first(database, sql, &[])?.and_then(|text| text.parse().ok()))
}

/// What a trigger is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Insert,
    Update,
    Delete,
}

impl Written {
    const ALL: [Self; 3] = [Self::Insert, Self::Update, Self::Delete];

    /// Its letter, what it runs after, and whether it keeps the row before and the one after.
    fn described(self) -> (&'static str, &'static str, bool, bool) {
        match self {
            Self::Insert => ("i", "INSERT", false, true),
            Self::Update => ("u", "UPDATE", true, true),
            Self::Delete => ("d", "DELETE", true, false),
        }
    }
}

/// The name of a trigger and the statement that makes it, as SQLite keeps it.
fn trigger(object: &str, number: i64, operation: Written, kept: &Kept) -> (String, String) {
    let (letter, after, has_old, has_new) = operation.described();
    let name = format!("{object}_{number}_{letter}");
    let (mut places, mut cells) = (String::new(), Vec::new());
    for (place, column) in kept.columns.iter().enumerate() {
        for (is_kept, side, row) in [(has_old, 'o', "OLD"), (has_new, 'n', "NEW")] {
            if is_kept {
                // Writing into a `String` cannot fail.
                let _ = write!(places, ", {side}{place}");
                cells.push(cell(row, column));
            }
        }
    }
    let (bytes, values) = (bytes(&cells), cells.join(", "));
    let (quoted, table) = (Dialect::Sqlite.quote(&name), Dialect::Sqlite.quote(&kept.table));
    // In a trigger `changes()` is of its own last statement: the flag is raised by a row that was not written, and by no other.
    let sql = format!(
        "CREATE TRIGGER {quoted} AFTER {after} ON {table} BEGIN \
         {PROVEN}{places}) SELECT {number}, '{letter}', random(), \
         {WRITTEN} + {ROW_BYTES} + s.b, {values} FROM tributary_feed, (SELECT {bytes} AS b) AS s \
         WHERE id = '{object}' AND s.b < {CELLS_MAX} AND {WRITTEN} - kept < most; \
         UPDATE tributary_feed SET overflowed = 1 WHERE id = '{object}' AND overflowed = 0 AND changes() = 0; END"
    );
    (name, sql)
}

fn form_id(number: i64) -> String {
    format!("form {number}")
}

fn existing(database: &Database<'_>, object: &str) -> Result<Vec<Trigger>, Failure> {
    let prefix = format!("{object}_");
    let sql = "SELECT s.name, s.tbl_name, s.sql, s.rowid FROM main.sqlite_schema AS s \
               WHERE s.type = 'trigger' AND substr(s.name, 1, length(?1)) = ?1 ORDER BY s.rowid";
    let found = rows(database, sql, &[Value::Text(prefix.clone())], |row| {
        Ok((text(row, 0)?.unwrap_or_default(), text(row, 1)?.unwrap_or_default(), text(row, 2)?.unwrap_or_default(), int(row, 3)?))
    })?;
    let read = |(name, table, sql, place): (String, String, String, Option<i64>)| {
        let number = name.strip_prefix(&prefix)?.split('_').next()?.parse().ok()?;
        Some(Trigger { number, table, sql, place: place.unwrap_or_default(), name })
    };
    Ok(found.into_iter().filter_map(read).collect())
}

fn newest_of_others(database: &Database<'_>, object: &str, table: &str) -> Result<Option<i64>, Failure> {
    let sql = "SELECT max(s.rowid) FROM main.sqlite_schema AS s WHERE s.type = 'trigger' \
               AND s.tbl_name = ?2 COLLATE NOCASE AND substr(s.name, 1, length(?1)) <> ?1";
    let values = [Value::Text(format!("{object}_")), Value::Text(table.to_owned())];
    Ok(first(database, sql, &values)?.and_then(|place| place.parse().ok()))
}

/// Whether the table looks as it was discovered: a trigger that names a column which is not there would fail whoever writes.
fn fits(database: &Database<'_>, followed: &Followed, kept: &Kept) -> Result<bool, Failure> {
    let name = [Value::Text(kept.table.clone())];
    let kind = first(database, "SELECT l.type FROM pragma_table_list AS l WHERE l.schema = 'main' AND l.name = ?1", &name)?;
    if kind.as_deref() != Some("table") {
        return Ok(false);
    }
    let sql = "SELECT x.name, x.type, x.pk FROM pragma_table_xinfo(?1, 'main') AS x WHERE x.hidden <> 1 ORDER BY x.cid";
    let found = rows(database, sql, &name, |row| {
        Ok((text(row, 0)?.unwrap_or_default(), text(row, 1)?.unwrap_or_default(), int(row, 2)?.unwrap_or_default()))
    })?;
    let table = &followed.table;
    let is_there = |item: &Selected| {
        let native = match item {
            Selected::Plain { ordinal, .. } => table.columns.get(*ordinal).map(|column| column.native_type.as_str()),
            Selected::Document(_) => None,
        };
        found.iter().any(|(name, declared, _)| {
            name == own_name(item, table) && native.is_none_or(|native| native == without_option(declared))
        })
    };
    let mut key: Vec<(i64, &str)> = found.iter().filter(|(_, _, pk)| *pk > 0).map(|(name, _, pk)| (*pk, name.as_str())).collect();
    key.sort_unstable();
    let wanted = table.primary_key.iter().flat_map(|key| &key.columns).filter_map(|ordinal| table.columns.get(*ordinal));
    let has_key = key.into_iter().map(|(_, name)| name).eq(wanted.map(|column| column.name()));
    Ok(has_key && found.len() == kept.columns.len() && selected(table).iter().all(is_there))
}

/// The declared type as discovery has it: of generated columns SQLite keeps the option there.
fn without_option(declared: &str) -> &str {
    declared.trim_end_matches("GENERATED ALWAYS").trim()
}

/// Gives the table of changes as many places as the widest table needs.
fn widen(database: &Database<'_>, tables: &[Followed]) -> Result<(), Failure> {
    let sql = "SELECT count(*) FROM pragma_table_xinfo('tributary_changes', 'main') AS x WHERE x.name GLOB 'n[0-9]*'";
    let there = usize::try_from(number(database, sql)?.unwrap_or_default()).unwrap_or_default();
    let wanted = tables.iter().map(|followed| selected(&followed.table).len()).max().unwrap_or_default();
    for place in there..wanted.min(WIDTH_MAX) {
        database.run(&format!("ALTER TABLE main.tributary_changes ADD COLUMN o{place}"))?;
        database.run(&format!("ALTER TABLE main.tributary_changes ADD COLUMN n{place}"))?;
    }
    Ok(())
}

/// All rows of a statement.
pub(super) fn rows<T>(
    database: &Database<'_>,
    sql: &str,
    values: &[Value],
    mut read: impl FnMut(&mut Statement<'_>) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut statement = database.prepare(sql)?;
    statement.bind(values)?;
    let mut found = Vec::new();
    while statement.step()? {
        found.push(read(&mut statement)?);
    }
    Ok(found)
}

/// A cell that holds text.
pub(super) fn text(row: &mut Statement<'_>, column: usize) -> Result<Option<String>, Failure> {
    Ok(match row.cell(column)? {
        Cell::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Cell::Null | Cell::Int(_) | Cell::Real(_) | Cell::Blob(_) => None,
    })
}

/// A cell that holds a whole number.
pub(super) fn int(row: &mut Statement<'_>, column: usize) -> Result<Option<i64>, Failure> {
    Ok(match row.cell(column)? {
        Cell::Int(number) => Some(number),
        Cell::Null | Cell::Real(_) | Cell::Text(_) | Cell::Blob(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_written_as_sqlite_keeps_them() {
        let columns = vec!["id".to_owned(), "a\"b".to_owned()];
        let kept = Kept { table: "t".to_owned(), digest: "0".to_owned(), columns };
        let (name, sql) = trigger("tributary_x", 3, Written::Update, &kept);
        assert_eq!(name, "tributary_x_3_u");
        let written = "coalesce((SELECT c.z FROM tributary_changes AS c ORDER BY c.seq DESC LIMIT 1), kept)";
        let size = |cell: &str| bytes(&[cell.to_owned()]);
        let old = format!("({} + {})", size("OLD.\"id\""), size("NEW.\"id\""));
        let new = format!("({} + {})", size("OLD.\"a\"\"b\""), size("NEW.\"a\"\"b\""));
        assert_eq!(
            sql,
            format!(
                "CREATE TRIGGER \"tributary_x_3_u\" AFTER UPDATE ON \"t\" BEGIN INSERT INTO tributary_changes \
                 (tbl, op, w, z, o0, n0, o1, n1) SELECT 3, 'u', random(), {written} + 32 + s.b, OLD.\"id\", NEW.\"id\", OLD.\"a\"\"b\", \
                 NEW.\"a\"\"b\" FROM tributary_feed, (SELECT ({old} + {new}) AS b) AS s \
                 WHERE id = 'tributary_x' AND s.b < 900000000 AND {written} - kept < most; \
                 UPDATE tributary_feed SET overflowed = 1 WHERE id = 'tributary_x' AND overflowed = 0 AND changes() = 0; END"
            )
        );
        let (_, sql) = trigger("tributary_x", 3, Written::Delete, &kept);
        assert!(
            sql.contains("(tbl, op, w, z, o0, o1) SELECT 3, 'd', random(), ") && sql.contains(", OLD.\"id\", OLD.\"a\"\"b\" FROM"),
            "{sql}"
        );
        let (_, sql) = trigger("tributary_x", 3, Written::Insert, &kept);
        assert!(
            sql.contains("(tbl, op, w, z, n0, n1) SELECT 3, 'i', random(), ") && sql.contains(", NEW.\"id\", NEW.\"a\"\"b\" FROM"),
            "{sql}"
        );
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let columns = vec!["id".to_owned(), "it's \"q\"".to_owned()];
        let kept = Kept { table: "a b".to_owned(), digest: "00ff".to_owned(), columns };
        assert_eq!(Kept::read(&kept.written()), Some(kept));
        assert_eq!(Kept::read("[]"), None);
    }
}
