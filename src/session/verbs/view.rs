//! `CREATE [MATERIALIZED] VIEW` and `DROP [MATERIALIZED] VIEW`: views over any stores, which the server keeps.

use std::sync::Arc;

use super::define::{check_role, owns, place_of, qualified};
use super::{internal, materialized};
use crate::catalog::kept::{CheckOption, KeptView, Materialization, ViewChange};
use crate::catalog::{Catalog, Relation, RelationBody};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::plan::Setting;
use crate::federation::updatable;
use crate::federation::views::{self, Described};
use crate::session::Session;
use crate::session::statement::define::{Dropped, Dropping};
use crate::session::statement::fold;
use crate::session::statement::view::Viewing;
use crate::stores::schema::TableKind;
use crate::task::OwnedTask;

/// `CREATE [OR REPLACE] VIEW`, `CREATE MATERIALIZED VIEW [IF NOT EXISTS]`
pub(super) async fn create(session: &mut Session, text: &str, asked: &Viewing) -> Result<(), Diagnosis> {
    let (guard, setting) = (session.guard.clone(), session.setting());
    place_of(&setting, &asked.name).and_then(|(schema, _)| check_role(session, &schema))?;
    let (body, before) = asked.body(text);
    let names: Vec<String> = asked.columns.iter().map(fold).collect();
    let engine = session.shared.engine.clone();
    let described = guard.run(views::describe_aside(&engine, &setting, &body, &names)).await?;
    let described = described.map_err(|error| {
        let position = error.position.map(|position| position + before);
        error.with_position(position)
    })?;
    // Others may have changed what there is while the query was planned; now nobody does.
    let catalog = Arc::clone(&session.shared.catalog);
    let turn = guard.run(catalog.views_turn()).await?;
    let setting = session.setting();
    let (schema, name) = place_of(&setting, &asked.name)?;
    check_role(session, &schema)?;
    let found = setting.snapshot.schemas.get(&schema).and_then(|found| found.relations.get(&name));
    let owner = match found {
        Some(found) if asked.replaces => check_replaced(session, found, &described)?,
        Some(_) if asked.materialized.is_some_and(|asked| asked.if_not_exists) => {
            session.warn("00000", &format!("relation \"{name}\" already exists, skipping"));
            return Ok(());
        }
        Some(_) => return Err(Diagnosis::new(sqlstate::DUPLICATE_TABLE, format!("relation \"{name}\" already exists"))),
        None => session.role.clone(),
    };
    let Described { sql, columns, .. } = described;
    let materialized = asked.materialized.map(|asked| Materialization { with_data: asked.with_data, indexes: Vec::new() });
    let (is_filled, place) = (asked.materialized.is_some_and(|asked| asked.with_data), (schema.clone(), name.clone()));
    let view = KeptView { schema, name, sql, columns, owner, check: asked.check, materialized };
    if asked.check != CheckOption::None {
        let unmade = updatable::unmade(Arc::new(view.clone()));
        updatable::check_option(&unmade, &setting.snapshot, &|name| engine.is_aggregate(name))?;
    }
    change(Arc::clone(&catalog), ViewChange::Put { view, replaces: asked.replaces }).await?;
    drop(turn);
    if is_filled { materialized::fill_new(session, place).await } else { Ok(()) }
}

/// Whether a view may take the place of this relation; its owner stays.
fn check_replaced(session: &Session, found: &Relation, new: &Described) -> Result<String, Diagnosis> {
    let (name, refused) = (&found.name, |message: String| Err(Diagnosis::new(sqlstate::INVALID_TABLE_DEFINITION, message)));
    let kept = match &found.body {
        RelationBody::View { kept: Some(kept), .. } if kept.materialized.is_none() => kept,
        RelationBody::View { kept: Some(_), .. } => {
            return Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a view")));
        }
        RelationBody::View { kept: None, .. } => {
            return Err(Diagnosis::new(sqlstate::DUPLICATE_TABLE, format!("relation \"{name}\" already exists"))
                .with_detail("It is a view of the catalog directory, whose file alone changes it."));
        }
        RelationBody::Stored { .. } | RelationBody::Rows(_) => {
            return Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a view")));
        }
    };
    if !owns(session, &kept.owner) {
        return Err(not_owner("view", name));
    }
    if new.columns.len() < kept.columns.len() {
        return refused("cannot drop columns from view".to_owned());
    }
    let RelationBody::View { columns: types, .. } = &found.body else { return Ok(kept.owner.clone()) };
    for (place, (old, now)) in kept.columns.iter().zip(&new.columns).enumerate() {
        let column = &old.name;
        if *column != now.name {
            return refused(format!("cannot change name of view column \"{column}\" to \"{}\"", now.name));
        }
        // Of a view that cannot be planned any more the types are not known.
        if let (Some((_, before)), Some(now)) = (types.get(place), new.outputs.get(place).map(|output| output.pg_type))
            && *before != now
        {
            return refused(format!("cannot change data type of view column \"{column}\" from {before} to {now}"));
        }
    }
    Ok(kept.owner.clone())
}

/// 42501
pub(super) fn not_owner(kind: &str, name: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("must be owner of {kind} {name}"))
}

/// Changes what is kept, aside from the threads that serve connections: the disk is waited for.
pub(super) async fn change(catalog: Arc<Catalog>, change: ViewChange) -> Result<(), Diagnosis> {
    let work = move || catalog.change_views(change);
    OwnedTask::spawn_blocking(work).join().await.unwrap_or_else(|| Err(internal("a change of views ended without a result")))
}

/// `DROP VIEW`, `DROP MATERIALIZED VIEW`
pub(super) async fn drop_views(session: &mut Session, dropping: &Dropping) -> Result<(), Diagnosis> {
    let (guard, catalog) = (session.guard.clone(), Arc::clone(&session.shared.catalog));
    let _turn = guard.run(catalog.views_turn()).await?;
    let setting = session.setting();
    let mut dropped: Vec<Arc<Relation>> = Vec::new();
    let kind = kind_of(dropping.kind == Dropped::MaterializedView);
    for name in &dropping.names {
        let name = qualified(name)?;
        match setting.snapshot.resolve(&name, &setting.path) {
            Ok(relation) => {
                check_dropped(session, &relation, dropping.kind == Dropped::MaterializedView)?;
                if !dropped.iter().any(|known| known.oid == relation.oid) {
                    dropped.push(relation);
                }
            }
            Err(error) if error.sqlstate != sqlstate::UNDEFINED_TABLE => return Err(error),
            Err(_) if dropping.if_exists => {
                session.warn("00000", &format!("{kind} \"{}\" does not exist, skipping", name.relation))
            }
            Err(_) => {
                let message = format!("{kind} \"{}\" does not exist", name.relation);
                return Err(Diagnosis::new(sqlstate::UNDEFINED_TABLE, message));
            }
        }
    }
    let more = views_below(session, &setting, (&dropped, dropping.cascades))?;
    let keys = dropped.iter().chain(&more).map(|view| (view.schema.clone(), view.name.clone()));
    let keys: Vec<(String, String)> = keys.collect();
    if keys.is_empty() { Ok(()) } else { change(Arc::clone(&catalog), ViewChange::Drop(keys)).await }
}

/// Drops the views that go with tables which are gone, but for those that others have dropped or replaced meanwhile.
pub(super) async fn drop_with(catalog: &Arc<Catalog>, gone: &[Arc<Relation>]) -> Result<(), Diagnosis> {
    if gone.is_empty() {
        return Ok(());
    }
    let _turn = catalog.views_turn().await;
    let snapshot = catalog.snapshot();
    let is_still_there = |view: &&Arc<Relation>| {
        let now = snapshot.schemas.get(&view.schema).and_then(|schema| schema.relations.get(&view.name));
        match (view.body.kept(), now.and_then(|now| now.body.kept())) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            _ => false,
        }
    };
    let keys = gone.iter().filter(is_still_there).map(|view| (view.schema.clone(), view.name.clone()));
    let keys: Vec<(String, String)> = keys.collect();
    if keys.is_empty() { Ok(()) } else { change(Arc::clone(catalog), ViewChange::Drop(keys)).await }
}

/// What a view is called in messages.
fn kind_of(is_materialized: bool) -> &'static str {
    if is_materialized { "materialized view" } else { "view" }
}

fn check_dropped(session: &Session, relation: &Relation, is_materialized: bool) -> Result<(), Diagnosis> {
    let (name, kind) = (&relation.name, kind_of(is_materialized));
    check_role(session, &relation.schema)?;
    match &relation.body {
        RelationBody::View { kept: Some(kept), .. } if kept.materialized.is_some() != is_materialized => {
            let other = kind_of(!is_materialized);
            let hint = format!("Use DROP {} to remove a {other}.", other.to_uppercase());
            Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a {kind}")).with_hint(hint))
        }
        RelationBody::View { kept: Some(kept), .. } if owns(session, &kept.owner) => Ok(()),
        RelationBody::View { kept: Some(_), .. } => Err(not_owner(kind, name)),
        RelationBody::View { kept: None, .. } if is_materialized => {
            Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a {kind}")))
        }
        RelationBody::View { kept: None, .. } => {
            let message = "DROP VIEW is not supported for views of the catalog directory";
            Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_hint(format!("Remove the file views/{name}.sql.")))
        }
        RelationBody::Stored { table, .. } if table.kind == TableKind::View && !is_materialized => {
            let message = "DROP VIEW is not supported for views of a store";
            Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message))
        }
        RelationBody::Stored { table, .. } if table.kind == TableKind::MaterializedView && is_materialized => {
            let message = "DROP MATERIALIZED VIEW is not supported for views of a store";
            Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message))
        }
        RelationBody::Stored { .. } | RelationBody::Rows(_) => {
            Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a {kind}"))
                .with_hint("Use DROP TABLE to remove a table."))
        }
    }
}

/// The views that stand on relations which are dropped, and go with them where the statement says so.
///
/// # Errors
/// 2BP01 where it does not, and for views of the catalog directory.
pub(super) fn views_below(
    session: &mut Session,
    setting: &Setting,
    (dropped, cascades): (&[Arc<Relation>], bool),
) -> Result<Vec<Arc<Relation>>, Diagnosis> {
    let gone = views::gone_with(&setting.snapshot, dropped)?;
    let Some(first) = dropped.first().filter(|_| !gone.is_empty()) else { return Ok(Vec::new()) };
    let refused = gone.iter().find(|(view, _)| !cascades || view.body.kept().is_none());
    if let Some((view, below)) = refused {
        let message = match dropped {
            [_] => format!("cannot drop {} because other objects depend on it", shown(first)),
            _ => "cannot drop desired object(s) because other objects depend on them".to_owned(),
        };
        let error = Diagnosis::new(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message).with_detail(format!(
            "{} depends on {}",
            shown(view),
            shown(below)
        ));
        return Err(if cascades {
            error.with_hint(format!("Remove the file views/{}.sql first.", view.name))
        } else {
            error.with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
        });
    }
    match gone.as_slice() {
        [(only, _)] => session.warn("00000", &format!("drop cascades to {}", shown(only))),
        several => session.warn("00000", &format!("drop cascades to {} other objects", several.len())),
    }
    Ok(gone.into_iter().map(|(view, _)| view).collect())
}

/// A relation as messages name it.
fn shown(relation: &Relation) -> String {
    let kind = match &relation.body {
        RelationBody::View { .. } if relation.body.materialized().is_some() => "materialized view",
        RelationBody::View { .. } => "view",
        RelationBody::Stored { table, .. } if table.kind == TableKind::View => "view",
        RelationBody::Stored { .. } | RelationBody::Rows(_) => "table",
    };
    match relation.schema.as_str() {
        "public" => format!("{kind} {}", relation.name),
        schema => format!("{kind} {schema}.{}", relation.name),
    }
}
