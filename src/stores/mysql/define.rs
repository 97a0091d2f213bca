//! What a MariaDB or MySQL store defines: tables of InnoDB, whose texts are compared by their bytes.
//!
//! Each statement commits by itself, so a definition is one statement.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::super::define::{Define, Identity, Initial, NewColumn, Step, What};
use super::super::error::StoreError;
use super::super::fragment::Refusal;
use super::super::relational::Dialect;
use super::super::relational::define::{self, Speech};
use super::super::schema::Table;
use super::fragment::Flavour;
use super::{Shared, write};
use crate::error::sqlstate;
use crate::pgtype::PgType;

/// Most characters of a `varchar` that a row has room for.
const CHARACTERS_MAX: i32 = 16_000;

/// Most digits of a decimal, and most of them behind the point, on all servers.
const DIGITS_MAX: (u16, i16) = (65, 30);

struct MySql {
    flavour: Flavour,
    tinyint1_is_bool: bool,
}

impl Speech for MySql {
    fn dialect(&self) -> Dialect {
        Dialect::MySql
    }

    fn type_of(&self, pg_type: PgType, is_key: bool) -> Result<String, Refusal> {
        let refused = |rule| Err(Refusal::new(pg_type, rule));
        let text = |word: &str| Ok(format!("{word} CHARACTER SET utf8mb4 COLLATE {}", self.flavour.bytes()));
        let digits = if pg_type.typmod < 0 { 6 } else { pg_type.typmod };
        match PgType::with_typmod(pg_type.oid, -1) {
            PgType::BOOL if self.tinyint1_is_bool => Ok("tinyint(1)".to_owned()),
            PgType::INT2 => Ok("smallint".to_owned()),
            PgType::INT4 => Ok("int".to_owned()),
            PgType::INT8 => Ok("bigint".to_owned()),
            PgType::FLOAT4 => Ok("float".to_owned()),
            PgType::FLOAT8 => Ok("double".to_owned()),
            PgType::NUMERIC => match pg_type.numeric_shape() {
                Some((precision, scale))
                    if precision <= DIGITS_MAX.0
                        && (0..=DIGITS_MAX.1).contains(&scale)
                        && i32::from(scale) <= i32::from(precision) =>
                {
                    Ok(format!("decimal({precision},{scale})"))
                }
                _ => refused("the store has decimals of up to 65 digits and a fixed scale: numeric(p,s)"),
            },
            PgType::TEXT | PgType::VARCHAR | PgType::BYTEA if is_key && pg_type.typmod < 0 => {
                refused("the store has no keys over texts of any length: varchar(n)")
            }
            PgType::VARCHAR if pg_type.typmod > 4 && pg_type.typmod - 4 <= CHARACTERS_MAX => {
                text(&format!("varchar({})", pg_type.typmod - 4))
            }
            PgType::VARCHAR if pg_type.typmod > 4 => refused("the store's rows have no room for so many characters: text"),
            PgType::TEXT | PgType::VARCHAR => text("longtext"),
            PgType::BYTEA => Ok("longblob".to_owned()),
            PgType::DATE => Ok("date".to_owned()),
            PgType::TIMESTAMP => Ok(format!("datetime({digits})")),
            PgType::TIMESTAMPTZ => Ok(format!("timestamp({digits})")),
            PgType::UUID if self.flavour == Flavour::MariaDb => Ok("uuid".to_owned()),
            PgType::JSON if self.flavour == Flavour::MySql => Ok("json".to_owned()),
            _ => refused("the store has no type that keeps its values as they are"),
        }
    }

    fn default(&self, pg_type: PgType, default: &Initial) -> Result<String, Refusal> {
        let refused = |rule| Err(Refusal::new("DEFAULT", rule));
        let digits = if pg_type.typmod < 0 { 6 } else { pg_type.typmod };
        let text = match default {
            Initial::Value(text) => text,
            Initial::Now => return Ok(format!("CURRENT_TIMESTAMP({digits})")),
            Initial::Today => return Ok("(CURRENT_DATE)".to_owned()),
            Initial::Uuid => return refused("the store makes no random identifiers of version 4"),
        };
        match PgType::with_typmod(pg_type.oid, -1) {
            PgType::INT2 | PgType::INT4 | PgType::INT8 => Ok(text.clone()),
            PgType::NUMERIC if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => Ok(text.clone()),
            PgType::BOOL => Ok(if text == "t" { "1" } else { "0" }.to_owned()),
            PgType::FLOAT4 | PgType::FLOAT8 if text.parse::<f64>().is_ok_and(f64::is_finite) => Ok(text.clone()),
            PgType::VARCHAR if pg_type.typmod > 4 => define::quoted_text(text, Dialect::MySql),
            PgType::TEXT | PgType::VARCHAR => Ok(format!("({})", define::quoted_text(text, Dialect::MySql)?)),
            PgType::UUID | PgType::DATE | PgType::TIMESTAMP if is_of_calendar(text) || pg_type == PgType::UUID => {
                define::quoted_text(text, Dialect::MySql)
            }
            // Constants are written in UTC, which is the zone of our sessions.
            PgType::TIMESTAMPTZ if is_of_calendar(text) && text.ends_with("+00") => {
                define::quoted_text(text.trim_end_matches("+00"), Dialect::MySql)
            }
            _ => refused("constants of its type are not written into the store's tables"),
        }
    }

    fn identity(&self, identity: Identity, is_only_key: bool) -> Result<&'static str, Refusal> {
        match identity {
            Identity::Always => Err(Refusal::new("GENERATED ALWAYS", "the store takes a number that is given")),
            Identity::ByDefault | Identity::Serial if is_only_key => Ok(" AUTO_INCREMENT"),
            Identity::ByDefault | Identity::Serial => {
                Err(Refusal::new("IDENTITY", "the store numbers the only column of a primary key"))
            }
        }
    }

    fn ending(&self) -> &'static str {
        " ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4"
    }
}

/// Whether a date or a moment is one of a year with four digits.
fn is_of_calendar(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.get(4) == Some(&b'-') && bytes.iter().take(4).all(u8::is_ascii_digit) && !text.ends_with("BC")
}

/// The statements of a definition.
///
/// # Errors
/// What the store has not.
pub(super) fn statements(shared: &Shared, asked: &Define) -> Result<Vec<String>, Refusal> {
    let flavour = shared.setting().flavour;
    if flavour == Flavour::Unknown {
        return Err(Refusal::new(asked.what.verb(), "the server is too old to compare text by bytes"));
    }
    let new: Vec<&NewColumn> = match &asked.what {
        What::CreateTable(table) => table.columns.iter().collect(),
        What::AlterTable { table, steps, .. } => {
            steps.iter().try_for_each(|step| check_step(table, step))?;
            steps.iter().filter_map(|step| if let Step::AddColumn(column) = step { Some(column) } else { None }).collect()
        }
        What::DropTables { .. } | What::CreateIndex(_) | What::DropIndex { .. } => Vec::new(),
    };
    new.into_iter().try_for_each(|column| check_moment(column, flavour))?;
    define::statements(asked, &MySql { flavour, tinyint1_is_bool: shared.settings.tinyint1_is_bool })
}

/// MariaDB gives some moments a default of its own, and changes them with their row, where nothing is said
/// (`explicit_defaults_for_timestamp`, which sessions of old servers cannot set).
fn check_moment(column: &NewColumn, flavour: Flavour) -> Result<(), Refusal> {
    let is_left_alone = column.pg_type.oid != PgType::TIMESTAMPTZ.oid || !column.is_required || column.default.is_some();
    if is_left_alone || flavour == Flavour::MySql {
        return Ok(());
    }
    Err(Refusal::new(&column.name, "the server would choose a default for a moment that is NOT NULL: give it one"))
}

/// The server would narrow keys of several columns, of which one goes.
fn check_step(table: &Table, step: &Step) -> Result<(), Refusal> {
    let Step::DropColumn { name, .. } = step else { return Ok(()) };
    let Some(place) = table.columns.iter().position(|column| column.name() == name) else { return Ok(()) };
    let keys = table.primary_key.iter().chain(&table.unique_keys).chain(&table.indexes);
    let is_wide = keys.into_iter().any(|key| key.columns.len() > 1 && key.columns.contains(&place));
    let is_checked = table.checks.iter().any(|check| check.columns.contains(&place));
    if is_wide || is_checked {
        return Err(Refusal::new(name, "a key of several columns or a condition names it, which the store would change or refuse"));
    }
    Ok(())
}

/// Runs a definition.
///
/// # Errors
/// As [`super::super::connector::Connector::define`].
pub(super) async fn run(shared: &Arc<Shared>, asked: &Define, stop: &CancellationToken) -> Result<(), StoreError> {
    let refused = |refusal: Refusal| StoreError::remote(shared.name.as_str(), sqlstate::FEATURE_NOT_SUPPORTED, refusal.to_string());
    for text in statements(shared, asked).map_err(refused)? {
        write::define(shared, asked, &text, stop).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEECH: MySql = MySql { flavour: Flavour::MariaDb, tinyint1_is_bool: true };

    #[test]
    fn types_keep_values_as_they_are_or_are_refused() {
        let rows = [
            (PgType::BOOL, false, Some("tinyint(1)")),
            (PgType::numeric(10, 2), false, Some("decimal(10,2)")),
            (PgType::NUMERIC, false, None),
            (PgType::TEXT, false, Some("longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin")),
            (PgType::TEXT, true, None),
            (PgType::with_typmod(1043, 24), true, Some("varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin")),
            (PgType::TIMESTAMP, false, Some("datetime(6)")),
            (PgType::with_typmod(1184, 0), false, Some("timestamp(0)")),
            (PgType::TIME, false, None),
            (PgType::BPCHAR, false, None),
            (PgType::JSONB, false, None),
        ];
        for (pg_type, is_key, expected) in rows {
            assert_eq!(SPEECH.type_of(pg_type, is_key).ok().as_deref(), expected, "{pg_type}");
        }
    }

    #[test]
    fn no_default_is_left_to_the_server() {
        let column = |is_required, default| {
            let (name, pg_type) = ("at".to_owned(), PgType::TIMESTAMPTZ);
            NewColumn { name, pg_type, is_required, default, identity: None }
        };
        assert!(check_moment(&column(true, None), Flavour::MariaDb).is_err());
        assert!(check_moment(&column(true, None), Flavour::MySql).is_ok());
        assert!(check_moment(&column(false, None), Flavour::MariaDb).is_ok());
        assert!(check_moment(&column(true, Some(Initial::Now)), Flavour::MariaDb).is_ok());
    }

    #[test]
    fn defaults_are_written_as_the_server_reads_them() {
        let value = |text: &str| Initial::Value(text.to_owned());
        let rows = [
            (PgType::TEXT, value("it's"), Some("('it''s')")),
            (PgType::with_typmod(1043, 24), value("a"), Some("'a'")),
            (PgType::TEXT, value("a\\b"), None),
            (PgType::BOOL, value("t"), Some("1")),
            (PgType::TIMESTAMPTZ, value("2024-01-02 03:04:05+00"), Some("'2024-01-02 03:04:05'")),
            (PgType::TIMESTAMPTZ, Initial::Now, Some("CURRENT_TIMESTAMP(6)")),
            (PgType::FLOAT8, value("NaN"), None),
            (PgType::NUMERIC, value("NaN"), None),
            (PgType::DATE, value("infinity"), None),
        ];
        for (pg_type, default, expected) in rows {
            assert_eq!(SPEECH.default(pg_type, &default).ok().as_deref(), expected, "{pg_type} {default:?}");
        }
    }
}
