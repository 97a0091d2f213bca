//! Tables of ours in a MySQL or MariaDB store: how they look, how they are made, and the marks in one of them.
//!
//! ```text
//! install   CREATE TABLE, unless it is there; and whether rows may be added
//! mark      INSERT … 'commit', in the transaction that it marks
//! decide    INSERT … 'abort', which waits for that transaction; where there is a mark already, what it says
//! ```
//!
//! **Invariant:** they are kept by InnoDB, and their keys compare by bytes, so that one mark is not taken for another.

use std::fmt::Write;
use std::sync::Arc;

use sqlx::Row;

use super::super::commit::{MarkId, OwnTable, Verdict};
use super::super::error::StoreError;
use super::super::relational::Dialect;
use super::super::schema::{Collation, Column, ColumnStatistics, Generated, Key, Table, TableId, TableKind};
use super::Shared;
use super::fragment::Flavour;
use super::pool::Refused;
use super::types::{self, Policy};
use crate::error::sqlstate;

/// Those that nobody but us reads or writes.
const HIDDEN: [OwnTable; 2] = [OwnTable::Marks, OwnTable::Keys];

/// `ER_NO_SUCH_TABLE`
const NO_SUCH_TABLE: u16 = 1146;
/// `ER_DUP_ENTRY`
const DUPLICATE: u16 = 1062;

/// How often a mark is looked at that goes away in between, because somebody has forgotten it.
const LOOKS: usize = 3;
/// Marks that are removed by one statement.
const FORGOTTEN_AT_ONCE: usize = 500;

/// How the text of a column is kept.
#[derive(Clone, Copy)]
enum Letters {
    /// Names of ours, which are ASCII.
    Ascii,
    /// Anything, compared by bytes.
    Any,
    /// Checked by the server.
    Json,
    /// It is no text.
    None,
}

/// A column: its name, its type, how its text is kept, and whether it may be NULL.
type Drawn = (&'static str, &'static str, Letters, bool);

const AT: Drawn = ("at", "datetime(6)", Letters::None, false);

fn columns(which: OwnTable) -> Vec<Drawn> {
    match which {
        OwnTable::Marks => vec![("id", "varchar(64)", Letters::Ascii, false), ("state", "varchar(8)", Letters::Ascii, false), AT],
        OwnTable::Keys => vec![
            ("key", "varchar(200)", Letters::Any, false),
            ("hash", "char(64)", Letters::Ascii, false),
            ("outcome", "mediumtext", Letters::Any, true),
            AT,
        ],
        OwnTable::Outbox => vec![
            ("id", "varchar(36)", Letters::Ascii, false),
            ("topic", "varchar(200)", Letters::Any, false),
            ("key", "longtext", Letters::Any, true),
            ("payload", "json", Letters::Json, true),
            AT,
            ("transaction", "varchar(64)", Letters::Ascii, true),
        ],
    }
}

fn id(database: &str, which: OwnTable) -> TableId {
    TableId { namespace: database.to_owned(), name: which.name().to_owned() }
}

fn quoted(database: &str, which: OwnTable) -> String {
    Dialect::MySql.table(&id(database, which))
}

/// Whether a table is ours alone, so that discovery leaves it out.
pub(super) fn is_hidden(database: &str, table: &TableId) -> bool {
    table.namespace == database && HIDDEN.iter().any(|which| which.name() == table.name)
}

/// The table as discovery would describe it.
pub(super) fn table(shared: &Shared, which: OwnTable) -> Option<Arc<Table>> {
    described(&shared.settings.database, which, (shared.policy(), shared.setting().flavour))
}

fn described(database: &str, which: OwnTable, (policy, flavour): (Policy, Flavour)) -> Option<Arc<Table>> {
    let columns: Option<Vec<Column>> = columns(which).iter().map(|drawn| column(drawn, policy, flavour)).collect();
    let columns = columns?;
    Some(Arc::new(Table {
        id: id(database, which),
        kind: TableKind::Table,
        primary_key: Some(Key { name: "PRIMARY".to_owned(), columns: vec![0], proven: true }),
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        comment: None,
        row_estimate: None,
        division: None,
        schema: Table::arrow_schema(&columns),
        columns,
    }))
}

fn column((name, native_type, letters, nullable): &Drawn, policy: Policy, flavour: Flavour) -> Option<Column> {
    let collation = match letters {
        Letters::Ascii => Collation::Loose("ascii_bin".to_owned()),
        // MariaDB keeps JSON as text.
        Letters::Json if flavour != Flavour::MySql => Collation::Loose("utf8mb4_bin".to_owned()),
        Letters::Any | Letters::Json | Letters::None => Collation::Bytes,
    };
    Some(Column {
        field: types::field(name, native_type, *nullable, policy)?,
        native_type: (*native_type).to_owned(),
        default: None,
        generated: Generated::No,
        comment: None,
        collation,
        statistics: ColumnStatistics { null_fraction: (!*nullable).then_some(0.0), ..ColumnStatistics::default() },
    })
}

/// `None` where the server has no collation that compares by bytes.
fn creation(database: &str, which: OwnTable, flavour: Flavour) -> Option<String> {
    let mut sql = format!("CREATE TABLE IF NOT EXISTS {} (", quoted(database, which));
    for (name, native_type, letters, nullable) in columns(which) {
        let kept = match letters {
            Letters::Ascii => " CHARACTER SET ascii COLLATE ascii_bin".to_owned(),
            Letters::Any if flavour == Flavour::Unknown => return None,
            Letters::Any => format!(" CHARACTER SET utf8mb4 COLLATE {}", flavour.bytes()),
            Letters::Json | Letters::None => String::new(),
        };
        let null = if nullable { "" } else { " NOT NULL" };
        // Writing into a text cannot fail.
        let _ = write!(sql, "{} {native_type}{kept}{null}, ", Dialect::MySql.quote(name));
    }
    let key = columns(which).first().map_or("", |(name, ..)| *name);
    let _ = write!(sql, "PRIMARY KEY ({})", Dialect::MySql.quote(key));
    // What finds the rows that are too old; nobody removes those of the outbox.
    if HIDDEN.contains(&which) {
        let _ = write!(sql, ", KEY {} ({})", Dialect::MySql.quote(&format!("{}_at", which.name())), Dialect::MySql.quote("at"));
    }
    sql.push_str(") ENGINE = InnoDB");
    Some(sql)
}

/// A statement that says whether rows may be added, and adds none.
fn trial(database: &str, which: OwnTable) -> String {
    let (mut names, mut values) = (String::new(), String::new());
    for (place, (name, native_type, _, _)) in columns(which).iter().filter(|(.., nullable)| !nullable).enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        let value = if native_type.starts_with("datetime") { "UTC_TIMESTAMP(6)" } else { "''" };
        let _ = write!(names, "{comma}{}", Dialect::MySql.quote(name));
        let _ = write!(values, "{comma}{value}");
    }
    format!("EXPLAIN INSERT INTO {} ({names}) VALUES ({values})", quoted(database, which))
}

/// Makes a table of ours where it is not there.
///
/// # Errors
/// What the server answered.
pub(super) async fn install(shared: &Shared, which: OwnTable) -> Result<(), StoreError> {
    if shared.settings.read_only {
        return Err(StoreError::ReadOnly { store: shared.name.to_string() });
    }
    let mut lease = shared.pool.lease().await?;
    match lease.asked(format!("SELECT 1 FROM {} LIMIT 0", quoted(&shared.settings.database, which))).await {
        Ok(_) => {}
        Err(refused) if refused.number == Some(NO_SUCH_TABLE) => {
            let flavour = Flavour::of(&lease.session.server);
            let Some(sql) = creation(&shared.settings.database, which, flavour) else {
                let feature = "tables of ours: it has no collation that compares text by bytes";
                return Err(StoreError::Unsupported { store: shared.name.to_string(), feature });
            };
            lease.rows_of(sql).await?;
        }
        Err(refused) => return Err(refused.error),
    }
    lease.rows_of(trial(&shared.settings.database, which)).await?;
    lease.release();
    Ok(())
}

/// The statement that marks the transaction that it is run in.
pub(super) fn mark(database: &str, mark: MarkId) -> String {
    insertion(database, mark, "commit")
}

/// A name of ours holds nothing that would have to be quoted.
fn insertion(database: &str, mark: MarkId, state: &str) -> String {
    format!("INSERT INTO {} (id, state, at) VALUES ('{mark}', '{state}', UTC_TIMESTAMP(6))", quoted(database, OwnTable::Marks))
}

/// What an error about the table of marks means: that it is not there is told as such.
pub(super) fn explained(shared: &Shared, refused: Refused) -> StoreError {
    if refused.number != Some(NO_SUCH_TABLE) {
        return refused.error;
    }
    let message = format!("relation \"{}\" does not exist", OwnTable::Marks.name());
    StoreError::remote(shared.name.as_str(), sqlstate::UNDEFINED_TABLE, message)
}

/// Whether a transaction with this mark is committed; if not, it never will be.
///
/// # Errors
/// What the server answered; 55P03 while the transaction is under way.
pub(super) async fn decide(shared: &Shared, mark: MarkId) -> Result<Verdict, StoreError> {
    let database = &shared.settings.database;
    // It is closed in the end, with its patience: whoever asks, asks again.
    let mut lease = shared.pool.lease().await?;
    let seconds = shared.settings.connect_timeout.as_secs().clamp(1, 60);
    lease.rows_of(format!("SET SESSION innodb_lock_wait_timeout = {seconds}")).await?;
    for _ in 0..LOOKS {
        match lease.asked(insertion(database, mark, "abort")).await {
            Ok(_) => return Ok(Verdict::Abort),
            Err(refused) if refused.number == Some(DUPLICATE) => {}
            Err(refused) => return Err(explained(shared, refused)),
        }
        let rows = lease.rows_of(format!("SELECT state FROM {} WHERE id = '{mark}'", quoted(database, OwnTable::Marks))).await?;
        let Some(row) = rows.first() else { continue };
        let state: String = row.try_get_unchecked(0).map_err(|problem| shared.place().translate(&problem))?;
        match state.as_str() {
            "commit" => return Ok(Verdict::Commit),
            "abort" => return Ok(Verdict::Abort),
            _ => {}
        }
    }
    let message = format!("the mark {mark} comes and goes");
    Err(StoreError::remote(shared.name.as_str(), sqlstate::LOCK_NOT_AVAILABLE, message))
}

/// Removes marks of transactions that have ended everywhere, and what stood against others for a day.
///
/// # Errors
/// What the server answered.
pub(super) async fn forget(shared: &Shared, marks: &[MarkId]) -> Result<(), StoreError> {
    let name = quoted(&shared.settings.database, OwnTable::Marks);
    let mut lease = shared.pool.lease().await?;
    for some in marks.chunks(FORGOTTEN_AT_ONCE) {
        let names: Vec<String> = some.iter().map(MarkId::to_string).collect();
        lease.rows_of(removal(&name, "commit", &names)).await?;
    }
    // Looked for before it is removed, so that nothing else is locked.
    let old =
        format!("SELECT id FROM {name} WHERE state = 'abort' AND at < UTC_TIMESTAMP(6) - INTERVAL 1 DAY LIMIT {FORGOTTEN_AT_ONCE}");
    let rows = lease.rows_of(old).await?;
    let names: Result<Vec<String>, sqlx::Error> = rows.iter().map(|row| row.try_get_unchecked(0)).collect();
    let names = names.map_err(|problem| shared.place().translate(&problem))?;
    // Somebody else may have put other names there.
    let names: Vec<String> = names.into_iter().filter(|name| MarkId::parse(name).is_some()).collect();
    if !names.is_empty() {
        lease.rows_of(removal(&name, "abort", &names)).await?;
    }
    lease.release();
    Ok(())
}

fn removal(table: &str, state: &str, names: &[String]) -> String {
    format!("DELETE FROM {table} WHERE id IN ('{}') AND state = '{state}'", names.join("', '"))
}

#[cfg(test)]
mod tests {
    use super::super::super::commit::{Gid, LogId, MarkOf};
    use super::super::options::ZeroDate;
    use super::*;
    use crate::pgtype::PgType;

    #[test]
    fn tables_are_made_as_they_are_described() {
        assert_eq!(
            creation("shop", OwnTable::Marks, Flavour::Unknown).unwrap(),
            "CREATE TABLE IF NOT EXISTS `shop`.`tributary_marks` (`id` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, \
             `state` varchar(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, `at` datetime(6) NOT NULL, PRIMARY KEY (`id`), \
             KEY `tributary_marks_at` (`at`)) ENGINE = InnoDB"
        );
        assert_eq!(creation("shop", OwnTable::Keys, Flavour::Unknown), None);
        assert!(creation("shop", OwnTable::Keys, Flavour::MySql).unwrap().contains("COLLATE utf8mb4_0900_bin NOT NULL"));
        let policy = Policy { zero_date: ZeroDate::Error, tinyint1_is_bool: false };
        for which in OwnTable::ALL {
            let table = described("shop", which, (policy, Flavour::MariaDb)).unwrap();
            assert_eq!((table.id.name.as_str(), table.columns.len()), (which.name(), columns(which).len()));
            // Only the outbox is offered to readers.
            assert_eq!(is_hidden("shop", &table.id), which != OwnTable::Outbox);
            assert!(!is_hidden("other", &table.id));
        }
        let outbox = described("shop", OwnTable::Outbox, (policy, Flavour::MariaDb)).unwrap();
        assert_eq!(outbox.columns[3].pg_type(), PgType::JSON);
    }

    #[test]
    fn statements_name_what_they_are_about() {
        let at = MarkId { gid: Gid { log: LogId(1), number: 2 }, of: MarkOf::Undo(3) };
        assert_eq!(
            mark("shop", at),
            "INSERT INTO `shop`.`tributary_marks` (id, state, at) \
             VALUES ('tributary:0000000000000001:0000000000000002/3u', 'commit', UTC_TIMESTAMP(6))"
        );
        assert_eq!(
            trial("shop", OwnTable::Keys),
            "EXPLAIN INSERT INTO `shop`.`tributary_keys` (`key`, `hash`, `at`) VALUES ('', '', UTC_TIMESTAMP(6))"
        );
        let names = ["a".to_owned(), "b".to_owned()];
        assert_eq!(removal("t", "abort", &names), "DELETE FROM t WHERE id IN ('a', 'b') AND state = 'abort'");
    }
}
