//! `TRUNCATE`: by the store's own statement where it belongs to the transaction, by one that commits by itself outside of blocks, or by
//! a DELETE of all rows.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart};
use futures::StreamExt;
use futures::stream;

use super::rights;
use super::transaction::own_block;
use crate::catalog::{QualifiedName, Relation, RelationBody};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::branches::Branches;
use crate::federation::plan::Setting;
use crate::federation::writers::Writers;
use crate::session::output::{Execution, Guard};
use crate::session::replay::Attempt;
use crate::session::statement::fold;
use crate::session::statement::truncate::Truncating;
use crate::session::transaction::Block;
use crate::session::{Session, Shared};
use crate::stores::edit::Delete;
use crate::stores::schema::{TableId, TableKind};
use crate::stores::truncate::{Emptied, Truncate, Truncation};
use crate::stores::{Edit, Edited, Relation as Rows, Scan, StoreError, StoreName, Table, Tables};
use crate::write::commit::Guarantee;
use crate::write::run::{self, Observer};

const VERB: &str = "TRUNCATE TABLE";

/// Runs one.
pub(super) async fn run(session: &mut Session, text: &str, asked: &Truncating) -> Result<Execution, Diagnosis> {
    let (guard, setting) = (session.guard.clone(), session.setting());
    let truncate = resolve(session, &setting, text, asked).await?;
    let (edits, way) = way_of(&setting, &truncate)?;
    let shared = Arc::clone(&session.shared);
    let work = Work { truncate: &truncate, edits, way, guard: &guard };
    let is_by_itself = way == Truncation::ByItself;
    if is_by_itself {
        session.check_repeatable("this TRUNCATE")?;
    }
    let attempt = session.attempt(text, None, setting.now)?;
    let ended = match session.writing_block() {
        Some(_) if matches!(way, Truncation::ByItself | Truncation::AsDelete { in_blocks: false }) => {
            let message = "TRUNCATE TABLE cannot run inside a transaction block";
            return Err(Diagnosis::new(sqlstate::ACTIVE_SQL_TRANSACTION, message)
                .with_detail(format!("Store \"{}\" commits it by itself.", truncate.store))
                .with_hint("Use DELETE FROM."));
        }
        Some(block) => Box::pin(work.run_in(block, &setting, (&shared, &attempt))).await,
        None if is_by_itself => {
            let writers = Writers::once(&setting.snapshot);
            writers.wait_for_locks(session.lock_waits());
            let branches = Branches::none();
            let ended = Box::pin(work.run(&writers, &branches)).await;
            session.past.by_itself(&truncate.store, ended.as_ref().err());
            match &ended {
                Ok(()) => session.note_commit(&Guarantee::OneStore(truncate.store.clone()).to_string()),
                Err(error) => session.note_failed(error),
            }
            ended
        }
        None => {
            let mut own = own_block(session, setting.now)?;
            let ended = Box::pin(work.run_in(&mut own, &setting, (&shared, &attempt))).await;
            let finished = Box::pin(session.end_block(&own, (ended.is_ok(), None))).await;
            ended.and(finished)
        }
    };
    let table = truncate.tables.first().map_or("", |emptied| emptied.table.id.name.as_str());
    session.tell_write((VERB, table), (&truncate.store, text), ended.as_ref().map(|_done| VERB.to_owned())).await;
    ended.map(|()| Execution::Done(VERB.to_owned()))
}

/// The tables, once each, of a store that the session may write to.
async fn resolve(session: &mut Session, setting: &Setting, text: &str, asked: &Truncating) -> Result<Truncate, Diagnosis> {
    let mut tables: Vec<Emptied> = Vec::new();
    let mut owner: Option<StoreName> = None;
    for (name, only) in &asked.tables {
        let relation = setting.snapshot.resolve(&qualified(name)?, &setting.path)?;
        if let Err(refused) = check_access(session, setting, &relation) {
            session.tell_refused((VERB, relation.name.as_str()), (rights::store_of(&relation), text), &refused).await;
            return Err(refused);
        }
        let RelationBody::Stored { store, table } = &relation.body else { return Err(no_table(&relation)) };
        let first = owner.get_or_insert_with(|| store.clone());
        if first != store {
            let message = format!("a statement cannot empty tables of several stores (\"{first}\", \"{store}\")");
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
        match tables.iter_mut().find(|known| known.table.id == table.id) {
            Some(known) => known.only &= only,
            None => tables.push(Emptied { table: Arc::clone(table), only: *only }),
        }
    }
    let store = owner.ok_or_else(|| super::internal("TRUNCATE names no table"))?;
    Ok(Truncate { store, tables, restarts: asked.restarts, cascades: asked.cascades })
}

fn no_table(relation: &Relation) -> Diagnosis {
    Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", relation.name))
}

fn check_access(session: &Session, setting: &Setting, relation: &Relation) -> Result<(), Diagnosis> {
    match &relation.body {
        RelationBody::View { .. } => Err(no_table(relation)),
        RelationBody::Stored { table, .. } if matches!(table.kind, TableKind::View | TableKind::MaterializedView) => {
            Err(no_table(relation))
        }
        RelationBody::Stored { .. } | RelationBody::Rows(_) => rights::check(session, setting, VERB, relation),
    }
}

fn qualified(name: &ObjectName) -> Result<QualifiedName, Diagnosis> {
    let parts: Option<Vec<String>> = name.0.iter().map(|part| ObjectNamePart::as_ident(part).map(fold)).collect();
    let Some(mut parts) = parts.filter(|parts| (1..=3).contains(&parts.len())) else {
        let message = format!("improper qualified name (too many dotted names): {name}");
        return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, message));
    };
    let relation = parts.pop().unwrap_or_default();
    Ok(QualifiedName { schema: parts.pop(), database: parts.pop(), relation })
}

/// How the store does it, with the edits that stand for it where there are some.
fn way_of(setting: &Setting, truncate: &Truncate) -> Result<(Vec<Edit>, Truncation), Diagnosis> {
    let store = &truncate.store;
    let Some(connector) = setting.snapshot.connectors.get(store) else {
        let message = format!("store \"{store}\" is no longer configured");
        return Err(Diagnosis::new(sqlstate::UNDEFINED_OBJECT, message));
    };
    let refused = |refusal: &dyn std::fmt::Display| {
        let message = format!("this TRUNCATE is not supported by store \"{store}\"");
        Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_detail(format!("{refusal}."))
    };
    let way = connector.accepts_truncate(truncate).map_err(|refusal| refused(&refusal))?;
    if way == Truncation::InTransaction {
        return Ok((Vec::new(), way));
    }
    check_references(setting, truncate)?;
    if way == Truncation::ByItself {
        return Ok((Vec::new(), way));
    }
    let edits: Vec<Edit> = in_order(truncate).into_iter().map(|table| deletion(store, table)).collect();
    for edit in &edits {
        connector.accepts_edit(edit).map_err(|refusal| refused(&refusal))?;
    }
    Ok((edits, way))
}

/// PostgreSQL refuses to empty a table that another one refers to, whether it has rows or not.
fn check_references(setting: &Setting, truncate: &Truncate) -> Result<(), Diagnosis> {
    let emptied: Vec<&TableId> = truncate.tables.iter().map(|emptied| &emptied.table.id).collect();
    let relations = setting.snapshot.schemas.values().flat_map(|schema| schema.relations.values());
    for relation in relations {
        let RelationBody::Stored { store, table } = &relation.body else { continue };
        if *store != truncate.store || emptied.contains(&&table.id) {
            continue;
        }
        if let Some(key) = table.foreign_keys.iter().find(|key| emptied.contains(&&key.references)) {
            let (name, referenced) = (&relation.name, &key.references.name);
            let message = "cannot truncate a table referenced in a foreign key constraint";
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
                .with_detail(format!("Table \"{name}\" references \"{referenced}\"."))
                .with_hint(format!("Truncate table \"{name}\" at the same time.")));
        }
    }
    Ok(())
}

/// The tables, those that refer to others before these; where they refer to one another, as they were named.
fn in_order(truncate: &Truncate) -> Vec<Arc<Table>> {
    let mut left: Vec<Arc<Table>> = truncate.tables.iter().map(|emptied| Arc::clone(&emptied.table)).collect();
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let refers = |other: &Arc<Table>, table: &Arc<Table>| {
            other.id != table.id && other.foreign_keys.iter().any(|key| key.references == table.id)
        };
        let free = left.iter().position(|table| !left.iter().any(|other| refers(other, table)));
        ordered.push(left.remove(free.unwrap_or(0)));
    }
    ordered
}

/// All rows of a table.
fn deletion(store: &StoreName, table: Arc<Table>) -> Edit {
    let scan = Scan { store: store.clone(), table: table.id.clone(), columns: vec![0], filter: Vec::new(), limit: None };
    let tables: Tables = [(table.id.clone(), Arc::clone(&table))].into_iter().collect();
    Edit::Delete(Delete { store: store.clone(), table, relation: Rows::Table(scan), tables, returning: Vec::new() })
}

/// What is done in a transaction.
struct Work<'a> {
    truncate: &'a Truncate,
    edits: Vec<Edit>,
    way: Truncation,
    guard: &'a Guard,
}

impl Work<'_> {
    /// Does it in a block, unless it has been done before.
    async fn run_in(self, block: &mut Block, setting: &Setting, (shared, attempt): (&Shared, &Attempt)) -> Result<(), Diagnosis> {
        let store = self.truncate.store.clone();
        let (writers, branches) = block.write_branches(&store, &setting.snapshot, shared).await?;
        let since = block.savepoints_asked();
        if block.admit(attempt, &store, &writers, shared).await?.is_some() {
            block.undone.repeated(&store, since);
            return Ok(());
        }
        let ran = self.run(&writers, &branches).await;
        ran.inspect_err(|error| block.keyed.failed(attempt.hash(), error))?;
        block.undone.wrote(&store, since, None)?;
        block.keyed.answered(attempt.hash(), VERB, None)
    }

    async fn run(self, writers: &Arc<Writers>, branches: &Branches) -> Result<(), Diagnosis> {
        let branch = self.guard.run(writers.open(&self.truncate.store)).await??;
        let stop = self.guard.stop();
        let heard = Heard { branches, store: &self.truncate.store };
        match self.way {
            Truncation::InTransaction | Truncation::ByItself => {
                let sending = async {
                    let answer = branch.truncate(self.truncate, &stop).await;
                    branches.heard(&self.truncate.store, &answer);
                    answer.map_err(|error| Diagnosis::of(&error))
                };
                self.guard.wait_for(&stop, sending).await
            }
            Truncation::AsDelete { .. } => {
                let edits = stream::iter(self.edits.into_iter().map(Ok)).boxed();
                self.guard.wait_for(&stop, run::run(&branch, edits, &stop, &heard)).await.map(|_outcome| ())
            }
        }
    }
}

/// Hears what the store answers; nothing comes back.
struct Heard<'a> {
    branches: &'a Branches,
    store: &'a StoreName,
}

impl Observer for Heard<'_> {
    fn heard(&self, answer: &Result<Edited, StoreError>) {
        self.branches.heard(self.store, answer);
    }

    fn keep(&self, _rows: &arrow::array::RecordBatch) -> Result<(), Diagnosis> {
        Ok(())
    }
}
