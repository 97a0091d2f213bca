//! `CREATE CACHE`, `DROP CACHE`, `SHOW CACHES`, and `ALTER TABLE … SET (tributary.cached_results = …)`: which queries have their results
//! kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::define::{check_role, owns};
use super::internal;
use super::select;
use super::text_column;
use crate::catalog::results::{KeptQuery, RuleChange};
use crate::catalog::{Catalog, Relation, RelationBody};
use crate::error::{Diagnosis, sentence, sqlstate};
use crate::federation::results;
use crate::session::Session;
use crate::session::output::OutputColumn;
use crate::session::statement::results::{CreateCache, DropCache};
use crate::stores::{StoreName, Table};
use crate::task::OwnedTask;

/// Most bytes of a name, as of any other.
const NAME_BYTES_MAX: usize = 63;

/// `CREATE CACHE`
pub(super) async fn create(session: &mut Session, text: &str, asked: &CreateCache) -> Result<(), Diagnosis> {
    let (guard, setting) = (session.guard.clone(), session.setting());
    check_role(session, "public")?;
    let (query, text): (_, Arc<str>) = (asked.query.as_ref(), text.into());
    let planned = guard.run(select::plan(session, &setting, &text, query, &[])).await??;
    let reads = guard.run(results::reads(&session.shared.engine, &setting, &planned)).await?;
    let reads = reads.map_err(|why| refused().with_detail(sentence(&why.reason)))?;
    for (store, table) in reads.iter().flat_map(|(store, tables)| tables.iter().map(move |table| (store, table))) {
        check_followed(session, store, table)?;
    }
    let relations: BTreeSet<(String, String)> =
        planned.relations.values().map(|relation| (relation.schema.clone(), relation.name.clone())).collect();
    let rules = session.shared.catalog.result_rules();
    let taken: BTreeSet<&str> = rules.queries().map(|query| query.name.as_str()).collect();
    let name =
        asked.name.clone().or_else(|| (1..).map(|number| format!("cache_{number}")).find(|name| !taken.contains(name.as_str())));
    let name = name.unwrap_or_default();
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let message = format!("the name of a cache has from 1 to {NAME_BYTES_MAX} bytes");
        return Err(Diagnosis::new(sqlstate::INVALID_NAME, message));
    }
    let query = KeptQuery { name: name.clone(), sql: query.to_string(), relations, owner: session.role.clone() };
    let is_new =
        change(Arc::clone(&session.shared.catalog), RuleChange::Create { query, if_not_exists: asked.if_not_exists }).await?;
    if is_new {
        // So that what happens from now on is known when it is asked for the first time.
        session.shared.caches.results().follow(&reads);
    } else {
        session.warn("00000", &format!("cache \"{name}\" already exists, skipping"));
    }
    Ok(())
}

/// `DROP CACHE`
pub(super) async fn drop_cache(session: &mut Session, asked: &DropCache) -> Result<(), Diagnosis> {
    check_role(session, "public")?;
    let rules = session.shared.catalog.result_rules();
    let found = rules.queries().find(|query| query.name == asked.name);
    match found {
        Some(query) if !owns(session, &query.owner) => {
            Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("must be owner of cache {}", asked.name)))
        }
        None if asked.if_exists => {
            session.warn("00000", &format!("cache \"{}\" does not exist, skipping", asked.name));
            Ok(())
        }
        _ => change(Arc::clone(&session.shared.catalog), RuleChange::Drop(asked.name.clone())).await.map(drop),
    }
}

/// `ALTER TABLE … SET (tributary.cached_results = …)`; what is reset is off.
pub(super) async fn set_table(
    session: &mut Session,
    (store, table): (&StoreName, &Table),
    wanted: Option<bool>,
) -> Result<(), Diagnosis> {
    let wanted = wanted == Some(true);
    if wanted {
        check_followed(session, store, table)?;
    }
    let asked = RuleChange::Table { store: store.clone(), table: table.id.clone(), wanted };
    change(Arc::clone(&session.shared.catalog), asked).await.map(drop)
}

/// The columns of `SHOW CACHES`.
pub(super) fn columns() -> Vec<OutputColumn> {
    ["name", "owner", "relations", "query"].into_iter().map(text_column).collect()
}

/// Its rows: the queries, and the tables, which have no name.
pub(super) fn shown(session: &Session) -> Vec<Vec<String>> {
    let rules = session.shared.catalog.result_rules();
    let row = |query: &Arc<KeptQuery>| {
        let relations: Vec<String> = query.relations.iter().map(|(schema, name)| format!("{schema}.{name}")).collect();
        vec![query.name.clone(), query.owner.clone(), relations.join(", "), query.sql.clone()]
    };
    let mut rows: Vec<Vec<String>> = rules.queries().map(row).collect();
    if rules.has_tables() {
        let snapshot = session.shared.catalog.snapshot();
        let all = snapshot.schemas.values().flat_map(|schema| schema.relations.values());
        let kept = all.filter(|relation| match &relation.body {
            RelationBody::Stored { store, table } => rules.has_table(store, &table.id),
            RelationBody::View { .. } | RelationBody::Rows(_) => false,
        });
        let row = |relation: &Arc<Relation>| {
            vec![String::new(), String::new(), format!("{}.{}", relation.schema, relation.name), "every query of it".to_owned()]
        };
        rows.extend(kept.map(row));
    }
    rows
}

fn refused() -> Diagnosis {
    Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, "results of the query cannot be kept")
}

/// Whether a table has events, or is going to have some. What only passes is no reason to refuse it.
fn check_followed(session: &Session, store: &StoreName, table: &Table) -> Result<(), Diagnosis> {
    match session.shared.feeds.subscribed_from(store, &table.id) {
        Ok(shape) => match &shape.unseen {
            Some(unseen) => {
                Err(refused().with_detail(sentence(&format!("table \"{}\" may change without an event: {unseen}", table.id.name))))
            }
            None => Ok(()),
        },
        Err(why) if why.is_passing => Ok(()),
        Err(why) => {
            let told = refused().with_detail(sentence(&format!("table \"{}\" is not followed: {}", table.id.name, why.reason)));
            Err(match why.mend {
                Some(mend) => told.with_hint(mend),
                None => told,
            })
        }
    }
}

/// Aside from the threads that serve connections: the disk is waited for.
async fn change(catalog: Arc<Catalog>, change: RuleChange) -> Result<bool, Diagnosis> {
    let changed = OwnedTask::spawn_blocking(move || catalog.change_results(change)).join().await;
    changed.unwrap_or_else(|| Err(internal("a change of kept results ended without a result")))
}
