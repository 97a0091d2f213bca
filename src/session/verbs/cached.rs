//! `ALTER TABLE … SET (tributary.cached = …)` and `RESET`, which the server keeps, and `CALL tributary.reload_cache('schema.table')`.

use std::sync::Arc;

use super::call::check_superuser;
use super::internal;
use super::result_rules;
use super::table::named;
use crate::cache::version;
use crate::catalog::cached::CachedChange;
use crate::catalog::{QualifiedName, Relation, RelationBody};
use crate::error::{Diagnose as _, Diagnosis, sentence, sqlstate};
use crate::federation::copy;
use crate::session::statement::cached::Caching;
use crate::session::{Session, Shared};
use crate::stores::schema::TableKind;
use crate::stores::{StoreName, Table};
use crate::task::OwnedTask;

/// `ALTER TABLE … SET (tributary.cached = …)`, `ALTER TABLE … RESET (tributary.cached)`
pub(super) async fn set(session: &mut Session, asked: &Caching) -> Result<(), Diagnosis> {
    let setting = session.setting();
    let Some(relation) = named(session, &setting, (&asked.name, asked.if_exists, "relation"))? else { return Ok(()) };
    let (store, table) = stored(&relation)?;
    if asked.of_results {
        return result_rules::set_table(session, (store, table), asked.wanted).await;
    }
    if asked.wanted == Some(true) {
        check_cacheable(&session.shared, &relation, (store, table))?;
    }
    let change = CachedChange { store: store.clone(), table: table.id.clone(), wanted: asked.wanted };
    let catalog = Arc::clone(&session.shared.catalog);
    // Aside from the threads that serve connections: the disk is waited for.
    let changed = OwnedTask::spawn_blocking(move || catalog.change_cached(change)).join().await;
    changed.unwrap_or_else(|| Err(internal("a change of what is cached ended without a result")))
}

/// `CALL tributary.reload_cache('schema.table')`: the copy of a table is loaded anew.
pub(super) fn reload(session: &mut Session, arguments: &[String]) -> Result<(), Diagnosis> {
    check_superuser(session, "tributary.reload_cache")?;
    let [text] = arguments else {
        let message = "tributary.reload_cache takes one argument, the name of a table";
        return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, message));
    };
    let name = QualifiedName::of_text(text)
        .ok_or_else(|| Diagnosis::new(sqlstate::INVALID_NAME, format!("\"{text}\" is not the name of a table")))?;
    let setting = session.setting();
    let relation = setting.snapshot.resolve(&name, &setting.path)?;
    let (store, table) = stored(&relation)?;
    session.shared.caches.reload(store, &table.id).map_err(|error| Diagnosis::of(&error))
}

/// The table that a relation is in its store.
fn stored(relation: &Relation) -> Result<(&StoreName, &Table), Diagnosis> {
    match &relation.body {
        RelationBody::Stored { store, table } if matches!(table.kind, TableKind::Table | TableKind::Collection) => {
            Ok((store, table.as_ref()))
        }
        RelationBody::Stored { .. } | RelationBody::View { .. } | RelationBody::Rows(_) => {
            let message = format!("\"{}\" is not a table", relation.name);
            Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, message))
        }
    }
}

/// Whether a copy of a table can be kept, as far as it is known now. What only passes is no reason to refuse it.
fn check_cacheable(shared: &Shared, relation: &Relation, (store, table): (&StoreName, &Table)) -> Result<(), Diagnosis> {
    let refused = || {
        let message = format!("table \"{}.{}\" cannot be cached", relation.schema, relation.name);
        Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
    };
    match shared.feeds.subscribed_from(store, &table.id) {
        Ok(shape) => match copy::refusal(table).or_else(|| version::refusal(table, &shape)) {
            Some(reason) => Err(refused().with_detail(sentence(&reason))),
            None => Ok(()),
        },
        Err(why) if why.is_passing => Ok(()),
        Err(why) => {
            let told = refused().with_detail(sentence(&why.reason));
            Err(match why.hint() {
                Some(mend) => told.with_hint(mend),
                None => told,
            })
        }
    }
}
