//! `CREATE`, `ALTER` and `DROP` of tables, indexes and views: who may, when, and who does it.

use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart};

use super::{table, view};
use crate::catalog::QualifiedName;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::plan::Setting;
use crate::session::Session;
use crate::session::output::Execution;
use crate::session::statement::define::{Definition, Dropped};
use crate::session::statement::fold;

/// Runs one.
pub(super) async fn run(session: &mut Session, text: &str, definition: &Definition) -> Result<Execution, Diagnosis> {
    let verb = definition.verb();
    check_transaction(session, verb)?;
    match definition {
        Definition::CreateView(asked) => Box::pin(view::create(session, text, asked)).await?,
        Definition::Drop(dropping) if dropping.kind == Dropped::View => Box::pin(view::drop_views(session, dropping)).await?,
        Definition::CreateTable(_) | Definition::AlterTable(_) | Definition::CreateIndex(_) | Definition::Drop(_) => {
            Box::pin(table::run(session, definition)).await?;
        }
    }
    Ok(Execution::Done(verb.to_owned()))
}

/// What is defined is so for all sessions at once, and not undone by a ROLLBACK.
fn check_transaction(session: &Session, verb: &str) -> Result<(), Diagnosis> {
    let read_only = match &session.block {
        Some(block) => block.modes.read_only,
        None => session.settings.is_on("default_transaction_read_only"),
    };
    if read_only {
        let message = format!("cannot execute {verb} in a read-only transaction");
        return Err(Diagnosis::new(sqlstate::READ_ONLY_SQL_TRANSACTION, message));
    }
    if session.block.is_some() {
        let message = format!("{verb} cannot run inside a transaction block");
        return Err(Diagnosis::new(sqlstate::ACTIVE_SQL_TRANSACTION, message)
            .with_detail("What it defines is seen by all sessions at once, and would not be undone by ROLLBACK.")
            .with_hint("Run it by itself, outside of BEGIN and COMMIT and in a query of its own."));
    }
    Ok(())
}

/// 42501 for a role that only reads.
pub(super) fn check_role(session: &Session, schema: &str) -> Result<(), Diagnosis> {
    // Asked of the roles as they are now: a reload may have changed them. A role that is gone makes nothing any more.
    let only_reads = session.shared.roles.load().get(&session.role).is_none_or(|role| role.read_only);
    if !only_reads {
        return Ok(());
    }
    let message = format!("permission denied for schema {schema}");
    Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, message).with_detail("The role only reads: read_only in tributary.toml."))
}

/// Whether the session's role may change what belongs to `owner`.
pub(super) fn owns(session: &Session, owner: &str) -> bool {
    session.role == owner || session.shared.roles.load().get(&session.role).is_some_and(|role| role.superuser)
}

/// A written name, folded.
pub(super) fn qualified(name: &ObjectName) -> Result<QualifiedName, Diagnosis> {
    let parts: Option<Vec<String>> = name.0.iter().map(|part| ObjectNamePart::as_ident(part).map(fold)).collect();
    let Some(mut parts) = parts.filter(|parts| (1..=3).contains(&parts.len())) else {
        let message = format!("improper qualified name (too many dotted names): {name}");
        return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, message));
    };
    let relation = parts.pop().unwrap_or_default();
    Ok(QualifiedName { schema: parts.pop(), database: parts.pop(), relation })
}

/// The schema in which a new relation is made, and its name.
pub(super) fn place_of(setting: &Setting, name: &ObjectName) -> Result<(String, String), Diagnosis> {
    let QualifiedName { database, schema, relation } = qualified(name)?;
    let snapshot = &setting.snapshot;
    if let Some(database) = database.filter(|database| *database != snapshot.database) {
        let message = format!("cross-database references are not implemented: \"{database}.{relation}\"");
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    let schema = match schema {
        Some(schema) if snapshot.schemas.contains_key(&schema) => schema,
        Some(schema) => {
            let message = format!("schema \"{schema}\" does not exist");
            return Err(Diagnosis::new(sqlstate::INVALID_SCHEMA_NAME, message));
        }
        None => {
            let first = snapshot.effective_path(&setting.path).first().map(|schema| schema.name.clone());
            first.ok_or_else(|| Diagnosis::new(sqlstate::INVALID_SCHEMA_NAME, "no schema has been selected to create in"))?
        }
    };
    let is_system = snapshot.schemas.get(&schema).is_some_and(|found| found.store.is_none() && found.name != "public");
    if is_system {
        return Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("permission denied for schema {schema}")));
    }
    Ok((schema, relation))
}
