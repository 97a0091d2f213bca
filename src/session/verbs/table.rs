//! `CREATE`, `ALTER` and `DROP` of the tables and indexes of a store: the store does it by itself, and the catalog is read anew at once.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{AlterTable, CreateIndex, CreateTable, ObjectName, visit_relations};

use super::define::{check_role, not_in_block, place_of, qualified};
use super::materialized;
use super::view::{drop_with, views_below};
use crate::catalog::{Relation, RelationBody};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::define::{self, Place, Planned};
use crate::federation::plan::Setting;
use crate::session::Session;
use crate::session::output::Guard;
use crate::session::statement::Kind;
use crate::session::statement::define::{Definition, Dropped, Dropping};
use crate::stores::define::{Define, What};
use crate::stores::schema::TableId;
use crate::stores::{Connector, StoreName};
use crate::write::access;

/// Runs one.
pub(super) async fn run(session: &mut Session, definition: &Definition) -> Result<(), Diagnosis> {
    let setting = session.setting();
    match definition {
        Definition::CreateTable(asked) => create(session, &setting, asked).await,
        Definition::AlterTable(asked) => alter(session, &setting, asked).await,
        Definition::CreateIndex(asked) => index(session, &setting, asked).await,
        Definition::Drop(asked) if asked.kind == Dropped::Index => drop_indexes(session, &setting, asked).await,
        Definition::Drop(asked) => drop_tables(session, &setting, asked).await,
        Definition::CreateView(_)
        | Definition::Refresh(_)
        | Definition::SetCached(_)
        | Definition::CreateCache(_)
        | Definition::DropCache(_) => Err(super::internal("what is kept here was sent to a store")),
    }
}

async fn create(session: &mut Session, setting: &Setting, asked: &CreateTable) -> Result<(), Diagnosis> {
    let (schema, name) = place_of(setting, &asked.name)?;
    check_role(session, &schema)?;
    let found = setting.snapshot.schemas.get(&schema).and_then(|found| found.relations.get(&name));
    if found.is_some() {
        let message = format!("relation \"{name}\" already exists");
        if asked.if_not_exists {
            session.warn("00000", &format!("{message}, skipping"));
            return Ok(());
        }
        return Err(Diagnosis::new(sqlstate::DUPLICATE_TABLE, message));
    }
    let place = owner(setting, schema, name)?;
    connector(setting, &place.store)?;
    let engine = session.shared.engine.clone();
    let planned = session.guard.clone().run(define::create_table(&engine, setting, asked, &place)).await??;
    let wanted = planned.wanted.clone();
    carry_out(session, setting, planned).await?;
    let snapshot = session.snapshot();
    let made = snapshot.schemas.get(&place.schema).and_then(|schema| schema.relations.get(&place.name));
    let Some(RelationBody::Stored { table, .. }) = made.map(|relation| &relation.body) else { return Ok(()) };
    for (name, pg_type) in wanted {
        let has = table.columns.iter().find(|column| column.name() == name).map(|column| column.pg_type());
        if let Some(has) = has.filter(|has| *has != pg_type) {
            session.warn("00000", &format!("column \"{name}\" of store \"{}\" is {has}, not {pg_type}", place.store));
        }
    }
    Ok(())
}

/// The store and the namespace behind a schema.
fn owner(setting: &Setting, schema: String, name: String) -> Result<Place, Diagnosis> {
    let found = setting.snapshot.schemas.get(&schema);
    if let Some(reason) = found.and_then(|found| found.unavailable.clone()) {
        return Err(reason);
    }
    match found.and_then(|found| Some((found.store.clone()?, found.namespace.clone()))) {
        Some((store, namespace)) => Ok(Place { store, namespace, schema, name }),
        None => {
            let message = format!("schema \"{schema}\" has no tables, because it belongs to no store");
            Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_hint("Name the schema of a store before the table."))
        }
    }
}

/// The connector of a store that takes writes.
fn connector<'s>(setting: &'s Setting, store: &StoreName) -> Result<&'s Arc<dyn Connector>, Diagnosis> {
    match setting.snapshot.connectors.get(store) {
        Some(connector) => access::check_store(connector.as_ref()).map(|()| connector),
        None => Err(Diagnosis::new(sqlstate::UNDEFINED_OBJECT, format!("store \"{store}\" is no longer configured"))),
    }
}

/// Tells the store, and has the catalog read it anew.
async fn carry_out(session: &mut Session, setting: &Setting, planned: Planned) -> Result<(), Diagnosis> {
    if let Some(define) = &planned.define {
        define.what.names().into_iter().try_for_each(access::check_name)?;
    }
    for notice in &planned.notices {
        session.warn("00000", notice);
    }
    let Some(define) = &planned.define else { return Ok(()) };
    let (guard, store) = (session.guard.clone(), &define.store);
    let connector = Arc::clone(accepting(setting, define)?);
    if session.block.is_some() {
        if !connector.defines_in_transactions() {
            return Err(not_in_block(define.what.verb(), &format!("Store \"{store}\" commits it by itself.")));
        }
        check_unused(session, setting, define)?;
        return Box::pin(session.define_in_block(setting, define)).await;
    }
    let touched = define.touched();
    session.doubt_tables(store, &touched);
    let outcome = send(&guard, connector.as_ref(), define).await;
    session.doubt_tables(store, &touched);
    session.note_alone(store, &outcome);
    session.past.by_itself(store, outcome.as_ref().err());
    // Also after a failure: some stores undo nothing of what they did before it, and the outcome of a lost statement is not known.
    session.read_anew(store).await;
    outcome
}

/// No table is changed that a cursor of the session is open on. It may be read over a connection of its own, which the change would wait for.
fn check_unused(session: &Session, setting: &Setting, define: &Define) -> Result<(), Diagnosis> {
    let changed: Vec<&TableId> = match &define.what {
        What::AlterTable { table, .. } => vec![&table.id],
        What::DropTables { tables, .. } => tables.iter().collect(),
        What::DropIndex { table, .. } => vec![table],
        What::CreateIndex(index) => vec![&index.table.id],
        What::CreateTable(_) => return Ok(()),
    };
    let is_changed = |relation: &Relation| match &relation.body {
        RelationBody::Stored { store, table } => *store == define.store && changed.contains(&&table.id),
        // Whatever it reads.
        RelationBody::View { .. } => true,
        RelationBody::Rows(_) => false,
    };
    let mut look = |name: &ObjectName| {
        let found = qualified(name).and_then(|name| setting.snapshot.resolve(&name, &setting.path));
        if found.is_ok_and(|relation| is_changed(&relation)) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut queries = session.names.reading().filter_map(|statement| match &statement.parsed.as_ref()?.kind {
        Kind::Query(query) => Some(query),
        _ => None,
    });
    if queries.any(|query| visit_relations(&**query, &mut look).is_break()) {
        let name = changed.first().map_or("", |table| table.name.as_str());
        let message =
            format!("cannot {} \"{name}\" because it is being used by active queries in this session", define.what.verb());
        return Err(Diagnosis::new(sqlstate::OBJECT_IN_USE, message));
    }
    Ok(())
}

/// The connector of a store that does what it would be told. Nothing is sent.
fn accepting<'s>(setting: &'s Setting, define: &Define) -> Result<&'s Arc<dyn Connector>, Diagnosis> {
    let store = &define.store;
    let connector = connector(setting, store)?;
    match connector.accepts_define(define) {
        Ok(_statements) => Ok(connector),
        Err(refusal) => {
            let message = format!("this {} is not supported by store \"{store}\"", define.what.verb());
            Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_detail(format!("{refusal}.")))
        }
    }
}

async fn send(guard: &Guard, connector: &dyn Connector, define: &Define) -> Result<(), Diagnosis> {
    let stop = guard.stop();
    let sending = async { connector.define(define, &stop).await.map_err(|error| Diagnosis::of(&error)) };
    guard.wait_for(&stop, sending).await
}

/// What a statement names, if it is there.
pub(super) fn named(
    session: &mut Session,
    setting: &Setting,
    (name, if_exists, what): (&ObjectName, bool, &str),
) -> Result<Option<Arc<Relation>>, Diagnosis> {
    let name = qualified(name)?;
    // Also of those that are not among the names of clients.
    access::check_name(&name.relation)?;
    match setting.snapshot.resolve(&name, &setting.path) {
        Ok(relation) => {
            check_role(session, &relation.schema)?;
            Ok(Some(relation))
        }
        Err(error) if error.sqlstate != sqlstate::UNDEFINED_TABLE => Err(error),
        Err(_) if if_exists => {
            session.warn("00000", &format!("{what} \"{}\" does not exist, skipping", name.relation));
            Ok(None)
        }
        Err(error) => Err(Diagnosis { message: format!("{what} \"{name}\" does not exist"), ..error }),
    }
}

async fn alter(session: &mut Session, setting: &Setting, asked: &AlterTable) -> Result<(), Diagnosis> {
    let Some(relation) = named(session, setting, (&asked.name, asked.if_exists, "relation"))? else { return Ok(()) };
    let RelationBody::Stored { store, .. } = &relation.body else {
        let message = format!("\"{}\" is not a table", relation.name);
        return Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, message));
    };
    connector(setting, store)?;
    let place = owner(setting, relation.schema.clone(), relation.name.clone())?;
    let engine = session.shared.engine.clone();
    let planning = define::alter_table(&engine, setting, asked, (&relation, &place));
    let planned = session.guard.clone().run(planning).await??;
    carry_out(session, setting, planned).await
}

async fn index(session: &mut Session, setting: &Setting, asked: &CreateIndex) -> Result<(), Diagnosis> {
    let Some(relation) = named(session, setting, (&asked.table_name, false, "relation"))? else { return Ok(()) };
    if relation.body.materialized().is_some() {
        return Box::pin(materialized::create_index(session, setting, asked, &relation)).await;
    }
    let planned = define::create_index(setting, asked, &relation)?;
    carry_out(session, setting, planned).await
}

async fn drop_indexes(session: &mut Session, setting: &Setting, asked: &Dropping) -> Result<(), Diagnosis> {
    let mut planned = Planned::default();
    if materialized::are_indexes(setting, &asked.names)? {
        return Box::pin(materialized::drop_indexes(session, setting, asked)).await;
    }
    for name in &asked.names {
        let name = qualified(name)?;
        match define::drop_indexes(setting, &name, asked.cascades)? {
            Some(define) => {
                check_role(session, name.schema.as_deref().unwrap_or(define.store.as_str()))?;
                if planned.define.replace(define).is_some() {
                    let message = "several indexes cannot be dropped by one statement";
                    return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
                }
            }
            None if asked.if_exists => planned.notices.push(format!("index \"{}\" does not exist, skipping", name.relation)),
            None => {
                let message = format!("index \"{}\" does not exist", name.relation);
                return Err(Diagnosis::new(sqlstate::UNDEFINED_OBJECT, message));
            }
        }
    }
    carry_out(session, setting, planned).await
}

async fn drop_tables(session: &mut Session, setting: &Setting, asked: &Dropping) -> Result<(), Diagnosis> {
    let mut relations: Vec<Arc<Relation>> = Vec::new();
    for name in &asked.names {
        let Some(relation) = named(session, setting, (name, asked.if_exists, "table"))? else { continue };
        if !relations.iter().any(|known| known.oid == relation.oid) {
            relations.push(relation);
        }
    }
    let owner = relations.iter().find_map(|relation| match &relation.body {
        RelationBody::Stored { store, .. } => setting.snapshot.connectors.get(store),
        RelationBody::View { .. } | RelationBody::Rows(_) => None,
    });
    // PostgreSQL itself knows what else depends on its tables.
    let minds_others = owner.is_some_and(|connector| connector.kind() == "postgres");
    let planned = define::drop_tables(setting, &relations, (asked.cascades, minds_others))?;
    if let Some(define) = &planned.define {
        accepting(setting, define)?;
    }
    let gone = views_below(session, setting, (&relations, asked.cascades))?;
    if session.block.is_some() && !gone.is_empty() {
        let detail = "The views that would go with it are kept by the server, which would not make them again after ROLLBACK.";
        return Err(not_in_block("DROP TABLE ... CASCADE", detail).with_hint("Drop the views before."));
    }
    carry_out(session, setting, planned).await?;
    let catalog = Arc::clone(&session.shared.catalog);
    drop_with(&catalog, &gone).await
}
