//! `ALTER TABLE`: one statement with all steps where a store has that, else one for each.

use super::super::super::define::{ConstraintKind, NewColumn, Step};
use super::super::super::fragment::Refusal;
use super::super::super::schema::Table;
use super::super::dialect::Dialect;
use super::{Speech, behind, column_of, constraint_of};

/// The statements of all steps.
///
/// # Errors
/// What the store has not.
pub(super) fn statements((table, only): (&Table, bool), steps: &[Step], speech: &impl Speech) -> Result<Vec<String>, Refusal> {
    let dialect = speech.dialect();
    // Tables of other stores have no others that inherit from them.
    let only = if only && dialect == Dialect::Postgres { "ONLY " } else { "" };
    let head = format!("ALTER TABLE {only}{} ", dialect.table(&table.id));
    let written: Vec<String> = steps.iter().map(|step| write(table, step, speech)).collect::<Result<_, _>>()?;
    Ok(match dialect {
        Dialect::Postgres | Dialect::MySql => vec![format!("{head}{}", written.join(", "))],
        Dialect::Sqlite => written.into_iter().map(|step| format!("{head}{step}")).collect(),
    })
}

fn write(table: &Table, step: &Step, speech: &impl Speech) -> Result<String, Refusal> {
    let dialect = speech.dialect();
    let quote = |name: &str| dialect.quote(name);
    let cascade = |cascades: bool| if dialect == Dialect::Postgres { behind(cascades) } else { "" };
    Ok(match step {
        Step::AddColumn(column) => add_column(column, speech)?,
        Step::DropColumn { name, cascades } => format!("DROP COLUMN {}{}", quote(name), cascade(*cascades)),
        Step::RenameColumn { name, to } => format!("RENAME COLUMN {} TO {}", quote(name), quote(to)),
        Step::Rename(to) => {
            // MySQL takes a name without its database for one of the session's.
            let moved = super::super::super::schema::TableId { namespace: table.id.namespace.clone(), name: to.clone() };
            let name = if dialect == Dialect::MySql { dialect.table(&moved) } else { quote(to) };
            format!("RENAME TO {name}")
        }
        Step::SetType { name, pg_type } => match dialect {
            Dialect::Postgres => format!("ALTER COLUMN {} TYPE {}", quote(name), speech.type_of(*pg_type, false)?),
            Dialect::MySql | Dialect::Sqlite => {
                return Err(Refusal::new("ALTER COLUMN TYPE", "the store changes values on the way, or has no such statement"));
            }
        },
        Step::SetDefault { name, pg_type, default } => match (dialect, default) {
            (Dialect::Sqlite, _) => return Err(Refusal::new("ALTER COLUMN", "the store has no such statement")),
            (_, Some(default)) => format!("ALTER COLUMN {} SET DEFAULT {}", quote(name), speech.default(*pg_type, default)?),
            (_, None) => format!("ALTER COLUMN {} DROP DEFAULT", quote(name)),
        },
        Step::SetRequired { name, is_required } => match dialect {
            Dialect::Postgres => {
                format!("ALTER COLUMN {} {} NOT NULL", quote(name), if *is_required { "SET" } else { "DROP" })
            }
            Dialect::MySql | Dialect::Sqlite => {
                return Err(Refusal::new("NOT NULL", "the store changes it only together with all else of the column"));
            }
        },
        Step::AddConstraint(constraint) => match dialect {
            Dialect::Postgres | Dialect::MySql => format!("ADD {}", constraint_of(constraint, dialect)?),
            Dialect::Sqlite => return Err(Refusal::new("ADD CONSTRAINT", "the store has no such statement")),
        },
        Step::DropConstraint { name, kind, cascades } => match (dialect, kind) {
            (Dialect::Postgres, _) => format!("DROP CONSTRAINT {}{}", quote(name), cascade(*cascades)),
            (Dialect::MySql, ConstraintKind::Primary) => "DROP PRIMARY KEY".to_owned(),
            (Dialect::MySql, ConstraintKind::Unique) => format!("DROP INDEX {}", quote(name)),
            (Dialect::MySql, ConstraintKind::Foreign) => format!("DROP FOREIGN KEY {}", quote(name)),
            (Dialect::MySql, ConstraintKind::Check) => format!("DROP CONSTRAINT {}", quote(name)),
            (Dialect::Sqlite, _) => return Err(Refusal::new("DROP CONSTRAINT", "the store has no such statement")),
        },
    })
}

fn add_column(column: &NewColumn, speech: &impl Speech) -> Result<String, Refusal> {
    if column.identity.is_some() && speech.dialect() != Dialect::Postgres {
        return Err(Refusal::new(&column.name, "the store numbers rows of a key that the table is made with"));
    }
    if speech.dialect() == Dialect::Sqlite && column.is_required && column.default.is_none() {
        return Err(Refusal::new(&column.name, "a column that is NOT NULL needs a default"));
    }
    let written = column_of(column, (false, false), speech)?;
    let bound = match (speech.dialect(), speech.bound(column)) {
        // Where a rule stands beside its column it is the column's.
        (_, Some(bound)) => format!(" {bound}"),
        (_, None) => String::new(),
    };
    Ok(format!("ADD COLUMN {written}{bound}"))
}
