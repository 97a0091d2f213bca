//! `CREATE`, `ALTER` and `DROP` of tables, indexes and views, and `REFRESH` of materialized ones: who may, when, and who does it.

use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart};

use super::{cached, materialized, result_rules, table, view};
use crate::catalog::QualifiedName;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::plan::Setting;
use crate::session::Session;
use crate::session::output::Execution;
use crate::session::statement::define::{Definition, Dropped};
use crate::session::statement::{Kind, fold};
use crate::stores::StoreName;
use crate::write::access;

/// Runs one.
pub(super) async fn run(session: &mut Session, text: &str, definition: &Definition) -> Result<Execution, Diagnosis> {
    let verb = definition.verb();
    let (object, store) = object_of(&session.setting(), definition);
    let ended = Box::pin(carry_out(session, text, definition)).await;
    session.tell_definition((verb, text), (&object, store.as_ref()), ended.as_ref().err()).await;
    ended.map(|()| Execution::Done(verb.to_owned()))
}

async fn carry_out(session: &mut Session, text: &str, definition: &Definition) -> Result<(), Diagnosis> {
    let verb = definition.verb();
    check_transaction(session, definition)?;
    session.check_repeatable(verb)?;
    match definition {
        Definition::CreateView(asked) => Box::pin(view::create(session, text, asked)).await,
        Definition::Refresh(asked) => Box::pin(materialized::refresh(session, asked)).await,
        Definition::SetCached(asked) => Box::pin(cached::set(session, asked)).await,
        Definition::CreateCache(asked) => Box::pin(result_rules::create(session, text, asked)).await,
        Definition::DropCache(asked) => Box::pin(result_rules::drop_cache(session, asked)).await,
        Definition::Drop(dropping) if matches!(dropping.kind, Dropped::View | Dropped::MaterializedView) => {
            Box::pin(view::drop_views(session, dropping)).await
        }
        Definition::CreateTable(_) | Definition::AlterTable(_) | Definition::CreateIndex(_) | Definition::Drop(_) => {
            Box::pin(table::run(session, definition)).await
        }
    }
}

/// What a statement is about, with schemas where they are known, and the store that it is in. For an index it is the table that gets it.
fn object_of(setting: &Setting, definition: &Definition) -> (String, Option<StoreName>) {
    match definition {
        Definition::CreateCache(asked) => return (asked.name.clone().unwrap_or_else(|| "cache".to_owned()), None),
        Definition::DropCache(asked) => return (asked.name.clone(), None),
        _ => {}
    }
    let names: Vec<&ObjectName> = match definition {
        Definition::CreateView(asked) => vec![&asked.name],
        Definition::Refresh(asked) => vec![&asked.name],
        Definition::CreateTable(asked) => vec![&asked.name],
        Definition::AlterTable(asked) => vec![&asked.name],
        Definition::SetCached(asked) => vec![&asked.name],
        Definition::CreateIndex(asked) => vec![&asked.table_name],
        Definition::Drop(asked) => asked.names.iter().collect(),
        Definition::CreateCache(_) | Definition::DropCache(_) => Vec::new(),
    };
    let is_new = matches!(definition, Definition::CreateView(_) | Definition::CreateTable(_));
    let mut store = None;
    let mut objects = Vec::with_capacity(names.len());
    for written in names {
        let place = qualified(written).ok().and_then(|name| Some((schema_of(setting, &name, is_new)?, name.relation)));
        let Some((schema, relation)) = place else {
            objects.push(written.to_string());
            continue;
        };
        store = store.or_else(|| setting.snapshot.schemas.get(&schema)?.store.clone());
        objects.push(format!("{schema}.{relation}"));
    }
    (objects.join(", "), store)
}

/// The schema that a name is in, or would be.
fn schema_of(setting: &Setting, name: &QualifiedName, is_new: bool) -> Option<String> {
    let snapshot = &setting.snapshot;
    if name.schema.is_some() {
        return name.schema.clone();
    }
    if !is_new && let Ok(relation) = snapshot.resolve(name, &setting.path) {
        return Some(relation.schema.clone());
    }
    let path = snapshot.effective_path(&setting.path);
    let has_index = |schema: &str| {
        let mut indexes = snapshot.objects.indexes.iter();
        indexes.any(|index| index.schema == schema && index.name == name.relation)
    };
    let of_index = path.iter().find(|schema| !is_new && has_index(&schema.name));
    of_index.or_else(|| path.first()).map(|schema| schema.name.clone())
}

/// What is kept here is so for all sessions at once, and not undone by a ROLLBACK.
fn check_transaction(session: &Session, definition: &Definition) -> Result<(), Diagnosis> {
    let verb = definition.verb();
    let read_only = match &session.block {
        Some(block) => block.modes.read_only,
        None => session.settings.is_on("default_transaction_read_only"),
    };
    access::check_block(verb, read_only)?;
    if session.block.is_some() && definition.is_kept_here() {
        let detail = "The server keeps it: it is seen by all sessions at once, and would not be undone by ROLLBACK.";
        return Err(not_in_block(verb, detail));
    }
    Ok(())
}

/// 25001
pub(super) fn not_in_block(verb: &str, detail: &str) -> Diagnosis {
    let message = format!("{verb} cannot run inside a transaction block");
    Diagnosis::new(sqlstate::ACTIVE_SQL_TRANSACTION, message)
        .with_detail(detail)
        .with_hint("Run it by itself, outside of BEGIN and COMMIT and in a query of its own.")
}

/// Whether a statement defines something that its store undoes with its transaction, so that it belongs to that of the statements around it.
pub(in crate::session) fn joins_transactions(session: &mut Session, kind: &Kind) -> bool {
    let Kind::Define(definition) = kind else { return false };
    if definition.is_kept_here() {
        return false;
    }
    let setting = session.setting();
    if materialized::is_about_one(&setting, definition) {
        return false;
    }
    let (_, store) = object_of(&setting, definition);
    let connector = store.and_then(|store| setting.snapshot.connectors.get(&store));
    connector.is_some_and(|connector| connector.defines_in_transactions())
}

/// 42501 for a role that only reads.
pub(super) fn check_role(session: &Session, schema: &str) -> Result<(), Diagnosis> {
    // Asked of the roles as they are now: a reload may have changed them. A role that is gone makes nothing any more.
    let only_reads = session.shared.roles.load().get(&session.role).is_none_or(|role| role.read_only);
    access::check_role(&format!("schema {schema}"), only_reads)
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
    let of_store = snapshot.schemas.get(&schema).is_some_and(|found| found.store.is_some());
    if !of_store && schema != "public" {
        return Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("permission denied for schema {schema}")));
    }
    if of_store {
        access::check_name(&relation)?;
    }
    Ok((schema, relation))
}
