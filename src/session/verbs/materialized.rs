//! Materialized views once they are there: their first filling, `REFRESH MATERIALIZED VIEW`, and their indexes, which the server keeps.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{CreateIndex, ObjectName};

use super::define::{check_role, not_in_block, owns, qualified};
use super::view::{change, drop_with, not_owner};
use crate::catalog::kept::{KeptIndex, KeptView, Materialization, ViewChange};
use crate::catalog::object::Index;
use crate::catalog::{QualifiedName, Relation, RelationBody, Snapshot};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::define;
use crate::federation::plan::Setting;
use crate::federation::views;
use crate::session::Session;
use crate::session::statement::define::{Definition, Dropped, Dropping};
use crate::session::statement::view::Refreshing;
use crate::stores::schema::TableKind;
use crate::telemetry::log::Line;
use crate::views::Refreshed;

/// Most indexes of one view: all of them are kept for each change of it.
const INDEXES_MAX: usize = 32;

/// Schema and name.
type Place = (String, String);

/// Fills a view that was made just now. As in PostgreSQL, what cannot be filled is not there afterwards.
pub(super) async fn fill_new(session: &mut Session, place: Place) -> Result<(), Diagnosis> {
    let made = relation(&session.shared.catalog.snapshot(), &place);
    match fill(session, &place, false).await {
        Ok(filled) => {
            tell(session, &place.1, &filled);
            Ok(())
        }
        Err(error) => {
            // Why it is not filled says more than why it is still there.
            if let Err(left) = unmake(session, made).await {
                let (named, error) = (format!("{}.{}", place.0, place.1), left.to_string());
                tracing::warn!(view = %Line(&named), error = %Line(&error), "a view that was not filled is kept");
            }
            Err(error)
        }
    }
}

/// Drops a view that could not be filled, and no other one of its name. One on which others stand by now stays, and is not populated.
async fn unmake(session: &mut Session, made: Option<Arc<Relation>>) -> Result<(), Diagnosis> {
    let Some(made) = made else { return Ok(()) };
    let (catalog, made) = (Arc::clone(&session.shared.catalog), [made]);
    if views::gone_with(&catalog.snapshot(), &made)?.is_empty() {
        return drop_with(&catalog, &made).await;
    }
    let place = (made[0].schema.clone(), made[0].name.clone());
    let is_same = relation(&catalog.snapshot(), &place)
        .is_some_and(|now| now.body.kept().zip(made[0].body.kept()).is_some_and(|(now, made)| Arc::ptr_eq(now, made)));
    match made[0].body.kept().filter(|_| is_same) {
        Some(known) => alter(session, &place, known, |materialized| materialized.with_data = false).await,
        None => Ok(()),
    }
}

/// The relation at a place.
fn relation(snapshot: &Snapshot, (schema, name): &Place) -> Option<Arc<Relation>> {
    snapshot.schemas.get(schema)?.relations.get(name).cloned()
}

/// Fills a view anew; with `verify` what differs is put right.
async fn fill(session: &mut Session, place: &Place, verify: bool) -> Result<Refreshed, Diagnosis> {
    let (guard, views) = (session.guard.clone(), Arc::clone(&session.shared.views));
    guard.run(views.refresh((place.0.as_str(), place.1.as_str()), verify)).await?
}

/// Tells what a client may not expect.
fn tell(session: &mut Session, name: &str, refreshed: &Refreshed) {
    if let Some(waits) = &refreshed.waits {
        session.warn("00000", &format!("the query of materialized view \"{name}\" is run until its rows are there: {waits}"));
    }
    if let Some(differed) = refreshed.differed.filter(|differed| *differed > 0) {
        session.warn("01000", &format!("{differed} rows of materialized view \"{name}\" were not those of its query"));
    }
}

/// What is kept of a materialized view.
fn kept<'s>(snapshot: &'s Snapshot, (schema, name): &Place) -> Option<(&'s Arc<KeptView>, &'s Materialization)> {
    snapshot.schemas.get(schema)?.relations.get(name)?.body.materialized()
}

/// `REFRESH MATERIALIZED VIEW`
pub(super) async fn refresh(session: &mut Session, asked: &Refreshing) -> Result<(), Diagnosis> {
    let setting = session.setting();
    let relation = setting.snapshot.resolve(&qualified(&asked.name)?, &setting.path)?;
    let (known, materialized) = owned(session, &relation)?;
    let place = (relation.schema.clone(), relation.name.clone());
    if !asked.with_data {
        return alter(session, &place, known, |materialized| materialized.with_data = false).await;
    }
    if asked.concurrently && !materialized.with_data {
        let message = "CONCURRENTLY cannot be used when the materialized view is not populated";
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    let refreshed = fill(session, &place, asked.concurrently).await?;
    alter(session, &place, known, |materialized| materialized.with_data = true).await?;
    tell(session, &place.1, &refreshed);
    Ok(())
}

/// What is kept of a materialized view that the session may change.
fn owned<'r>(session: &Session, relation: &'r Relation) -> Result<(&'r KeptView, &'r Materialization), Diagnosis> {
    let name = &relation.name;
    check_role(session, &relation.schema)?;
    if let Some((kept, materialized)) = relation.body.materialized() {
        let is_own = owns(session, &kept.owner);
        return if is_own { Ok((kept, materialized)) } else { Err(not_owner("materialized view", name)) };
    }
    match &relation.body {
        RelationBody::Stored { table, .. } if table.kind == TableKind::MaterializedView => {
            let message = format!("materialized view \"{name}\" belongs to its store, which alone refreshes it");
            Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message))
        }
        _ => Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a materialized view"))),
    }
}

/// Keeps a view otherwise, as it is now, where it is the one that is known.
async fn alter(
    session: &mut Session,
    place: &Place,
    known: &KeptView,
    edit: impl FnOnce(&mut Materialization),
) -> Result<(), Diagnosis> {
    let (guard, catalog) = (session.guard.clone(), Arc::clone(&session.shared.catalog));
    let _turn = guard.run(catalog.views_turn()).await?;
    let snapshot = catalog.snapshot();
    let is_known = |now: &KeptView| (&now.sql, &now.columns, &now.owner) == (&known.sql, &known.columns, &known.owner);
    let Some((now, materialized)) = kept(&snapshot, place).filter(|(now, _)| is_known(now)) else {
        let message = format!("materialized view \"{}\" does not exist", place.1);
        return Err(Diagnosis::new(sqlstate::UNDEFINED_TABLE, message));
    };
    let mut edited = materialized.clone();
    edit(&mut edited);
    if edited == *materialized {
        return Ok(());
    }
    let view = KeptView { materialized: Some(edited), ..now.as_ref().clone() };
    change(Arc::clone(&catalog), ViewChange::Put { view, replaces: true }).await
}

/// `CREATE INDEX` on a materialized view.
pub(super) async fn create_index(
    session: &mut Session,
    setting: &Setting,
    asked: &CreateIndex,
    relation: &Relation,
) -> Result<(), Diagnosis> {
    check_alone(session, "CREATE INDEX")?;
    let (known, materialized) = owned(session, relation)?;
    let is_filled = materialized.with_data;
    let index = match define::view_index(setting, asked, relation)? {
        Ok(index) => index,
        Err(notice) => {
            session.warn("00000", &notice);
            return Ok(());
        }
    };
    let place = (relation.schema.clone(), relation.name.clone());
    let mut added = Ok(());
    // What the view has is known in its turn: somebody else may have been first.
    alter(session, &place, known, |materialized| added = add(materialized, &index)).await?;
    added?;
    if !(is_filled && index.unique) {
        return Ok(());
    }
    // Whether its rows are all different there is known once they are filled under it.
    let filled = fill(session, &place, false).await;
    if filled.is_err() {
        alter(session, &place, known, |materialized| materialized.indexes.retain(|other| *other != index)).await?;
    }
    filled.map(drop)
}

/// Adds an index to those that a view has, where it may have one more and none of that name.
fn add(materialized: &mut Materialization, index: &KeptIndex) -> Result<(), Diagnosis> {
    if materialized.indexes.iter().any(|other| other.name == index.name) {
        let message = format!("relation \"{}\" already exists", index.name);
        return Err(Diagnosis::new(sqlstate::DUPLICATE_TABLE, message));
    }
    if materialized.indexes.len() >= INDEXES_MAX {
        let message = format!("a materialized view cannot have more than {INDEXES_MAX} indexes");
        return Err(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
    }
    materialized.indexes.push(index.clone());
    Ok(())
}

fn check_alone(session: &Session, verb: &str) -> Result<(), Diagnosis> {
    if session.block.is_none() {
        return Ok(());
    }
    let detail = "The server keeps it: it is seen by all sessions at once, and would not be undone by ROLLBACK.";
    Err(not_in_block(verb, detail))
}

/// The index of a name with the view that it is on, where that is a materialized one.
fn index_of<'s>(setting: &'s Setting, name: &QualifiedName) -> Option<(&'s Index, &'s Arc<Relation>)> {
    let snapshot = &setting.snapshot;
    let schemas: Vec<&str> = match &name.schema {
        Some(schema) => vec![schema.as_str()],
        None => snapshot.effective_path(&setting.path).into_iter().map(|schema| schema.name.as_str()).collect(),
    };
    let in_schema = |schema: &&str| {
        let mut indexes = snapshot.objects.indexes.iter();
        indexes.find(|index| index.schema == **schema && index.name == name.relation)
    };
    let index = schemas.iter().find_map(in_schema)?;
    let relation = snapshot.relation_by_oid(index.table_oid)?;
    relation.body.materialized().is_some().then_some((index, relation))
}

/// Whether any of these names is that of an index on a materialized view.
pub(super) fn are_indexes(setting: &Setting, names: &[ObjectName]) -> Result<bool, Diagnosis> {
    for name in names {
        if index_of(setting, &qualified(name)?).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a statement is about an index on a materialized view, which no store knows of.
pub(super) fn is_about_one(setting: &Setting, definition: &Definition) -> bool {
    match definition {
        Definition::CreateIndex(asked) => {
            let found = qualified(&asked.table_name).and_then(|name| setting.snapshot.resolve(&name, &setting.path));
            found.is_ok_and(|relation| relation.body.materialized().is_some())
        }
        Definition::Drop(asked) if asked.kind == Dropped::Index => are_indexes(setting, &asked.names).unwrap_or(false),
        _ => false,
    }
}

/// `DROP INDEX`, of which one at least is on a materialized view.
pub(super) async fn drop_indexes(session: &mut Session, setting: &Setting, asked: &Dropping) -> Result<(), Diagnosis> {
    check_alone(session, "DROP INDEX")?;
    let mut dropped: Vec<(Place, &KeptView, String)> = Vec::with_capacity(asked.names.len());
    for name in &asked.names {
        let name = qualified(name)?;
        let Some((index, relation)) = index_of(setting, &name) else {
            let message = "indexes of materialized views and others cannot be dropped by one statement";
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        };
        let (known, _) = owned(session, relation)?;
        dropped.push(((relation.schema.clone(), relation.name.clone()), known, index.name.clone()));
    }
    for (place, known, name) in dropped {
        alter(session, &place, known, |materialized| materialized.indexes.retain(|other: &KeptIndex| other.name != name)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(name: &str) -> KeptIndex {
        KeptIndex { name: name.to_owned(), columns: vec!["region".to_owned()], unique: false }
    }

    #[test]
    fn who_comes_too_late_for_the_last_index_is_told_of_the_limit_and_not_of_a_name() {
        let mut view = Materialization::default();
        for number in 1..INDEXES_MAX {
            add(&mut view, &index(&format!("i{number}"))).unwrap();
        }
        // Two saw one place left.
        add(&mut view, &index("first")).unwrap();
        assert_eq!(add(&mut view, &index("second")).unwrap_err().sqlstate, sqlstate::PROGRAM_LIMIT_EXCEEDED);
        assert_eq!(view.indexes.len(), INDEXES_MAX);
    }

    #[test]
    fn an_index_of_a_name_that_is_taken_is_told_so_also_where_there_is_no_room() {
        let mut view = Materialization::default();
        add(&mut view, &index("one")).unwrap();
        assert_eq!(add(&mut view, &index("one")).unwrap_err().sqlstate, sqlstate::DUPLICATE_TABLE);
        view.indexes.extend((1..INDEXES_MAX).map(|number| index(&format!("i{number}"))));
        assert_eq!(add(&mut view, &index("one")).unwrap_err().sqlstate, sqlstate::DUPLICATE_TABLE);
        assert_eq!(view.indexes.len(), INDEXES_MAX);
    }
}
