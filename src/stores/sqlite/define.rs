//! What a SQLite store defines. All statements of a definition are one transaction.
//!
//! SQLite keeps any value in any column, so a type that has bounds gets them as a rule of the table. A column that the store numbers is
//! SQLite's number of the row; other keys of whole numbers are not, because it would number these too where no value is given.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::super::define::{Define, Identity, Initial, NewColumn, Step, What};
use super::super::error::StoreError;
use super::super::fragment::Refusal;
use super::super::relational::Dialect;
use super::super::relational::define::{self, Speech};
use super::super::schema::Table;
use super::pool::Pool;
use super::scan::{Database, Failure};
use super::types::{Exact, exact};
use super::write::failure::told;
use super::{changes, lost};
use crate::error::sqlstate;
use crate::pgtype::PgType;
use crate::task::OwnedTask;

struct Sqlite;

impl Speech for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn type_of(&self, pg_type: PgType, is_key: bool) -> Result<String, Refusal> {
        let plain = PgType::with_typmod(pg_type.oid, -1);
        let word = match plain {
            // Only exactly INTEGER makes a primary key the number of the row.
            PgType::INT2 | PgType::INT4 | PgType::INT8 if is_key => "INT",
            PgType::INT2 | PgType::INT4 | PgType::INT8 => "INTEGER",
            PgType::FLOAT8 => "DOUBLE PRECISION",
            PgType::BOOL => "BOOLEAN",
            PgType::BYTEA => "BLOB",
            PgType::TEXT | PgType::VARCHAR => "TEXT",
            PgType::DATE if pg_type == plain => "DATE",
            PgType::TIME if pg_type == plain => "TIME",
            PgType::TIMESTAMP if pg_type == plain => "TIMESTAMP",
            PgType::TIMESTAMPTZ if pg_type == plain => "TIMESTAMPTZ",
            PgType::UUID => "UUID",
            PgType::JSON => "JSON",
            PgType::NUMERIC => {
                return Ok(match pg_type.numeric_shape() {
                    Some((precision, scale)) if scale >= 0 && i32::from(scale) <= i32::from(precision) => {
                        format!("NUMERIC({precision}, {scale})")
                    }
                    Some(_) => return Err(Refusal::new(pg_type, "the store has no such scale")),
                    None => "NUMERIC".to_owned(),
                });
            }
            _ => return Err(Refusal::new(pg_type, "the store has no type that keeps its values as they are")),
        };
        Ok(word.to_owned())
    }

    fn default(&self, pg_type: PgType, default: &Initial) -> Result<String, Refusal> {
        let refused = |rule| Err(Refusal::new("DEFAULT", rule));
        let text = match default {
            Initial::Value(text) => text,
            Initial::Now if pg_type.oid == PgType::TIMESTAMPTZ.oid => {
                return Ok("(strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00')".to_owned());
            }
            Initial::Now | Initial::Today | Initial::Uuid => return refused("the store has no such function"),
        };
        match PgType::with_typmod(pg_type.oid, -1) {
            PgType::INT2 | PgType::INT4 | PgType::INT8 => Ok(text.clone()),
            PgType::BOOL => Ok(if text == "t" { "1" } else { "0" }.to_owned()),
            PgType::NUMERIC => match exact(text) {
                Some(Exact::Int(_) | Exact::Real(_)) => Ok(text.clone()),
                None => refused("the store cannot keep the number exactly"),
            },
            PgType::FLOAT8 if text.parse::<f64>().is_ok_and(f64::is_finite) => Ok(text.clone()),
            PgType::TEXT | PgType::VARCHAR | PgType::UUID => define::quoted_text(text, Dialect::Sqlite),
            _ => refused("constants of its type are not written into the store's tables"),
        }
    }

    fn identity(&self, identity: Identity, is_only_key: bool) -> Result<&'static str, Refusal> {
        match identity {
            Identity::Always => Err(Refusal::new("GENERATED ALWAYS", "the store takes a number that is given")),
            Identity::ByDefault | Identity::Serial if is_only_key => Ok(" PRIMARY KEY AUTOINCREMENT"),
            Identity::ByDefault | Identity::Serial => {
                Err(Refusal::new("IDENTITY", "the store numbers the only column of a primary key"))
            }
        }
    }

    fn bound(&self, column: &NewColumn) -> Option<String> {
        let name = Dialect::Sqlite.quote(&column.name);
        match (column.pg_type, column.pg_type.typmod) {
            (PgType::INT2, _) => Some(format!("CHECK ({name} BETWEEN -32768 AND 32767)")),
            (PgType::INT4, _) => Some(format!("CHECK ({name} BETWEEN -2147483648 AND 2147483647)")),
            (PgType { oid: 1043, .. }, typmod) if typmod > 4 => Some(format!("CHECK (length({name}) <= {})", typmod - 4)),
            _ => None,
        }
    }
}

/// The statements of a definition.
///
/// # Errors
/// What the store has not.
pub(super) fn statements(asked: &Define) -> Result<Vec<String>, Refusal> {
    if let What::AlterTable { table, steps, .. } = &asked.what {
        steps.iter().try_for_each(|step| check_step(table, step))?;
    }
    define::statements(asked, &Sqlite)
}

fn check_step(table: &Table, step: &Step) -> Result<(), Refusal> {
    let Step::DropColumn { name, .. } = step else { return Ok(()) };
    let Some(place) = table.columns.iter().position(|column| column.name() == name) else { return Ok(()) };
    let keys = table.primary_key.iter().chain(&table.unique_keys).chain(&table.indexes);
    let is_used = keys.into_iter().any(|key| key.columns.contains(&place))
        || table.foreign_keys.iter().any(|key| key.columns.contains(&place))
        || table.checks.iter().any(|check| check.columns.contains(&place));
    if is_used { Err(Refusal::new(name, "the store drops no column of a key, an index or a condition")) } else { Ok(()) }
}

/// The table whose triggers of ours have to go first: SQLite drops no column that a trigger names, and ours name all of them. Whoever
/// follows the table makes them again.
pub(super) fn released(asked: &Define) -> Option<String> {
    match &asked.what {
        What::AlterTable { table, steps, .. } if steps.iter().any(|step| matches!(step, Step::DropColumn { .. })) => {
            Some(table.id.name.clone())
        }
        _ => None,
    }
}

/// Runs statements of a definition, once the triggers of ours are dropped that stand in their way.
pub(super) fn define_all(database: &Database<'_>, texts: &[String], released: Option<&str>) -> Result<(), Failure> {
    released.map_or(Ok(()), |table| changes::release(database, table))?;
    texts.iter().try_for_each(|text| database.run(text))
}

/// Runs a definition.
///
/// # Errors
/// As [`super::super::connector::Connector::define`].
pub(super) async fn run(pool: &Arc<Pool>, asked: &Define, stop: &CancellationToken) -> Result<(), StoreError> {
    let refused =
        |refusal: Refusal| StoreError::remote(pool.store().as_str(), sqlstate::FEATURE_NOT_SUPPORTED, refusal.to_string());
    let texts = statements(asked).map_err(refused)?;
    if stop.is_cancelled() {
        return Err(StoreError::Cancelled);
    }
    let released = released(asked);
    let mut connection = pool.acquire().await?;
    let (runtime, inner) = (Handle::current(), Arc::clone(pool));
    let work = move || {
        let done = match runtime.block_on(connection.lock_handle()) {
            Ok(mut lock) => {
                together(&Database::new(&mut lock), &texts, released.as_deref()).map_err(|failure| told(&inner, None, failure))
            }
            Err(_crashed) => Err(lost(&inner)),
        };
        // After a failure the transaction's state is not known.
        if done.is_err() {
            connection.close_on_drop();
        }
        done
    };
    OwnedTask::spawn_blocking(work).join().await.unwrap_or_else(|| Err(lost(pool)))
}

fn together(database: &Database<'_>, texts: &[String], released: Option<&str>) -> Result<(), Failure> {
    database.run("BEGIN IMMEDIATE")?;
    let done = define_all(database, texts, released).and_then(|()| database.run("COMMIT"));
    if done.is_err() && !database.is_autocommit() {
        database.run("ROLLBACK").ok();
    }
    done
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::super::super::connector::StoreName;
    use super::super::super::define::{NewConstraint, NewIndex, NewTable, Rule};
    use super::super::super::document::{DocumentField, DocumentOptions, DocumentType};
    use super::super::super::relational::embedded;
    use super::super::super::schema::{Collation, Column, ColumnStatistics, Generated, TableId};
    use super::*;
    use crate::pgtype::PgField;

    fn created(columns: Vec<NewColumn>, key: Option<&str>) -> Result<Vec<String>, Refusal> {
        let rule = |name: &str| NewConstraint { name: None, rule: Rule::PrimaryKey(vec![name.to_owned()]) };
        let id = TableId { namespace: "main".to_owned(), name: "t".to_owned() };
        let table = NewTable { id, columns, constraints: key.map(rule).into_iter().collect() };
        statements(&Define { store: StoreName::new("shop"), what: What::CreateTable(table) })
    }

    fn column(name: &str, pg_type: PgType, default: Option<Initial>, identity: Option<Identity>) -> NewColumn {
        NewColumn { name: name.to_owned(), pg_type, is_required: identity.is_some(), default, identity }
    }

    #[test]
    fn bounds_are_kept_as_rules() {
        let columns = vec![
            column("id", PgType::INT8, None, Some(Identity::ByDefault)),
            column("n", PgType::INT4, Some(Initial::Value("7".to_owned())), None),
            column("v", PgType::with_typmod(1043, 9), Some(Initial::Value("it's".to_owned())), None),
        ];
        assert_eq!(
            created(columns, Some("id")).unwrap(),
            ["CREATE TABLE \"main\".\"t\" (\"id\" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, \"n\" INTEGER DEFAULT 7, \
              \"v\" TEXT DEFAULT 'it''s', CHECK (\"n\" BETWEEN -2147483648 AND 2147483647), CHECK (length(\"v\") <= 5))"]
        );
    }

    #[test]
    fn a_key_that_is_not_numbered_is_no_number_of_the_row() {
        let columns = vec![column("id", PgType::INT8, None, None), column("n", PgType::INT8, None, None)];
        let expected = "CREATE TABLE \"main\".\"t\" (\"id\" INT, \"n\" INTEGER, PRIMARY KEY (\"id\"))";
        assert_eq!(created(columns, Some("id")).unwrap(), [expected]);
    }

    /// `t(zip)`, which is a field of `doc json`.
    fn table_of_documents() -> Arc<Table> {
        let document = Column {
            field: Field::new("doc", DataType::Utf8, true).with_pg_type(PgType::JSON),
            native_type: "JSON".to_owned(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        };
        let fields = [DocumentField { name: "zip".to_owned(), kind: DocumentType::Text }];
        let (columns, _) = embedded::expand(&document, &[], &fields, &DocumentOptions::default());
        Arc::new(Table::plain("main", "t", columns))
    }

    #[test]
    fn fields_of_documents_are_no_columns_of_an_index() {
        let index = |columns: &[&str]| {
            let columns = columns.iter().map(|name| ((*name).to_owned(), false)).collect();
            let index = NewIndex { name: "i".to_owned(), table: table_of_documents(), columns, is_unique: true };
            statements(&Define { store: StoreName::new("shop"), what: What::CreateIndex(index) })
        };
        assert_eq!(index(&["zip"]).unwrap_err().subject, "zip");
        assert!(index(&["id", "zip"]).is_err());
        assert_eq!(index(&["id"]).unwrap(), ["CREATE UNIQUE INDEX \"main\".\"i\" ON \"t\" (\"id\")"]);
        let steps = vec![Step::RenameColumn { name: "zip".to_owned(), to: "code".to_owned() }];
        let what = What::AlterTable { table: table_of_documents(), only: false, steps };
        assert!(statements(&Define { store: StoreName::new("shop"), what }).is_err());
    }

    #[test]
    fn what_cells_cannot_keep_is_refused() {
        for pg_type in [PgType::INTERVAL, PgType::JSONB, PgType::FLOAT4, PgType::with_typmod(1114, 3), PgType::numeric(2, 5)] {
            assert!(created(vec![column("a", pg_type, None, None)], None).is_err(), "{pg_type}");
        }
        let uuid = column("a", PgType::UUID, Some(Initial::Uuid), None);
        assert!(created(vec![uuid], None).is_err());
        let numbered = column("a", PgType::INT8, None, Some(Identity::ByDefault));
        assert!(created(vec![numbered], None).is_err());
    }
}
