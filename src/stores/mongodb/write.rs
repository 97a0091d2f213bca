//! Changes to collections.
//!
//! ```text
//! Edit ─ judge (accepted?) → commands of documents (values) ─ Link → the server, inside a transaction or alone → Edited
//!                                                           └ transaction: session, end, stop
//! ```
//!
//! Commands are our own and not the driver's: of several documents that one command changes, each says itself what becomes of it, and
//! nothing is sent twice by itself.
//!
//! **Invariants:** a command outside of a transaction changes one document, so that all of an edit is written or nothing; fields that
//! are not set keep their BSON types; a key names one document, because only collections in which `_id` is unique are written; texts
//! are compared by their bytes, whatever the collation of the collection.

mod alone;
mod document;
mod json;
mod judge;
pub(super) mod mark;
mod pieces;
mod rows;
pub(super) mod transaction;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use futures::TryStreamExt;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use tokio_util::sync::CancellationToken;

pub(super) use judge::accepts;

pub(super) use self::alone::command_alone;
use self::document::{Fault, bson};
use self::judge::{Meant, key_bson, meant, values};
use self::rows::{Rows, documents, new_rows, unfit};
use super::pool::Pool;
use super::scan::{self, Query, Watched};
use super::types::relaxed_json;
use crate::error::{Site, sqlstate};
use crate::stores::StoreError;
use crate::stores::cell::of_value;
use crate::stores::connector::{Scan, ScanLimits};
use crate::stores::document::schema::type_of_field;
use crate::stores::document::{DocumentType, OnMismatch};
use crate::stores::edit::{
    Conflict, ConflictAction, ConflictTarget, Delete, DeleteRows, Edit, Edited, Insert, Proposed, Update, UpdateRows, part, path_at,
};
use crate::stores::fragment::Relation;
use crate::stores::schema::{Column, Table, TableId};

/// The command as `EXPLAIN` shows it, with `?` for values.
pub(super) fn describe(edit: &Edit) -> String {
    let name = edit.table().id.name.as_str();
    let shown = match edit {
        Edit::Insert(Insert { conflict: None, .. }) => doc! { "insert": name, "documents": "?" },
        Edit::Insert(_) => {
            let upsert = by_bytes(doc! { "q": "?", "u": { "$setOnInsert": "?" }, "upsert": true });
            doc! { "update": name, "updates": [upsert] }
        }
        Edit::Update(_) => doc! { "update": name, "updates": [by_bytes(doc! { "q": "?", "u": { "$set": "?" }, "multi": true })] },
        Edit::UpdateRows(_) => doc! { "update": name, "updates": [by_bytes(doc! { "q": { "_id": "?" }, "u": { "$set": "?" } })] },
        Edit::Delete(_) => doc! { "delete": name, "deletes": [by_bytes(doc! { "q": "?", "limit": 0 })] },
        Edit::DeleteRows(_) => doc! { "delete": name, "deletes": [by_bytes(doc! { "q": { "_id": { "$in": "?" } }, "limit": 0 })] },
    };
    relaxed_json(&shown)
}

/// A statement that finds its documents by the bytes of their texts: a collection may have a collation of its own, to which `a` is `A`,
/// and which counts where a statement has none. An index in that collation does not serve it.
fn by_bytes(mut statement: Document) -> Document {
    statement.insert("collation", doc! { "locale": "simple" });
    statement
}

/// Whether the edit is one command that changes one document at most, and so needs no transaction.
pub(super) fn is_single(edit: &Edit) -> bool {
    let of_one_key = |relation: &Relation| matches!(meant(relation), Some(Meant::Keys(keys)) if keys.len() < 2);
    match edit {
        Edit::Insert(Insert { rows, conflict, .. }) => conflict.is_none() && rows.num_rows() == 1,
        Edit::UpdateRows(UpdateRows { rows, returning, .. }) | Edit::DeleteRows(DeleteRows { rows, returning, .. }) => {
            returning.is_empty() && rows.num_rows() == 1
        }
        Edit::Update(update) => of_one_key(&update.relation),
        Edit::Delete(delete) => of_one_key(&delete.relation),
    }
}

/// Runs an edit. What it leaves behind when it fails, is undone with the transaction.
pub(super) async fn run(link: &mut Link<'_>, edit: &Edit) -> Result<Edited, StoreError> {
    let edited = match edit {
        Edit::Insert(insert) if insert.conflict.is_some() => upsert(link, insert).await,
        Edit::Insert(insert) => insert_rows(link, insert).await,
        Edit::UpdateRows(update) => update_rows(link, update).await,
        Edit::DeleteRows(delete) => delete_rows(link, delete).await,
        Edit::Update(update) => update_whole(link, update).await,
        Edit::Delete(delete) => delete_whole(link, delete).await,
    };
    edited.map_err(|error| of_rule(error, &edit.table().id))
}

/// What a validator has refused, with its collection, which the server does not name.
fn of_rule(mut error: StoreError, table: &TableId) -> StoreError {
    if let StoreError::Remote { sqlstate: state, site, .. } = &mut error
        && site.is_none()
        && *state == sqlstate::CHECK_VIOLATION
    {
        let place = Site { schema: Some(table.namespace.clone()), table: Some(table.name.clone()), ..Site::default() };
        *site = Some(Box::new(place));
    }
    error
}

/// The way of commands to the server.
pub(super) struct Link<'l> {
    pub(super) pool: &'l Arc<Pool>,
    /// That of the transaction; without it each command commits by itself.
    pub(super) session: Option<&'l mut ClientSession>,
    pub(super) stop: &'l CancellationToken,
    /// How long a command that commits by itself may wait for transactions of others, in milliseconds; 0 is as long as for any.
    pub(super) lock_wait: u64,
}

impl Link<'_> {
    /// Sends a command that changes documents of the table.
    async fn command(&mut self, table: &Table, mut command: Document) -> Result<Document, StoreError> {
        let pool = self.pool;
        let database = pool.database(&table.id.namespace).await?;
        command.insert("maxTimeMS", i64::try_from(pool.query_timeout().as_millis()).unwrap_or(i64::MAX));
        if self.stop.is_cancelled() {
            return Err(StoreError::Cancelled);
        }
        let Some(session) = &mut self.session else {
            return command_alone(pool, &database, command, (self.stop, self.lock_wait)).await;
        };
        let id = session.id().clone();
        let session: &mut ClientSession = session;
        let work = pool.within("a write", async { database.run_command(command).session(session).await });
        let reply = transaction::stoppable(pool, &id, work, self.stop).await;
        if self.stop.is_cancelled() {
            // What the session did may have been ended behind the command, so that there is nothing left to be committed.
            return match reply {
                Ok(_) | Err(StoreError::Remote { .. }) => Err(StoreError::Cancelled),
                Err(error) => Err(error),
            };
        }
        let reply = reply?;
        pool.context.refused(&reply).map_or(Ok(reply), Err)
    }

    /// Sends the elements of the list of a command, in as many commands as their size asks for. Gives the answers, each with the place of
    /// its first element.
    async fn commands(
        &mut self,
        table: &Table,
        verb: &str,
        list: &str,
        elements: Vec<Document>,
    ) -> Result<Vec<(usize, Document)>, StoreError> {
        let (mut replies, mut place) = (Vec::new(), 0);
        for piece in pieces::cut(elements, pieces::BYTES_MAX) {
            let (first, count) = (place, piece.len());
            let mut command = doc! { verb: &table.id.name, "ordered": true };
            command.insert(list, piece);
            replies.push((first, self.command(table, command).await?));
            place += count;
        }
        Ok(replies)
    }

    /// Reads columns of documents in the transaction; values that do not fit are errors.
    async fn read(&mut self, table: &Arc<Table>, columns: &[usize], filter: Document) -> Result<RecordBatch, StoreError> {
        let pool = self.pool;
        let Some(session) = &mut self.session else { return Err(pool.context.malformed()) };
        let scan = Scan {
            store: crate::stores::StoreName::new(&pool.context.store),
            table: table.id.clone(),
            columns: columns.to_vec(),
            filter: Vec::new(),
            limit: None,
        };
        let query = Query::of(table, &scan, OnMismatch::Error).with_filter(filter);
        let collection = pool.database(&table.id.namespace).await?.collection(&table.id.name);
        let gathered = scan::gather(pool, &collection, query, ScanLimits::default(), &Watched::default(), session).await?;
        let stream = scan::stream_gathered(pool, gathered, table, &scan, ScanLimits::default(), OnMismatch::Error);
        let batches: Vec<RecordBatch> = stream.try_collect().await?;
        concat_batches(&table.project(columns), &batches).map_err(|_broken| pool.context.malformed())
    }

    /// The columns that an edit gives back, of the documents that the key's columns in `rows` name, in the order of `rows`.
    async fn read_back(
        &mut self,
        table: &Arc<Table>,
        key: &[usize],
        rows: &RecordBatch,
        returning: &[usize],
    ) -> Result<Option<RecordBatch>, StoreError> {
        if returning.is_empty() {
            return Ok(None);
        }
        let mut columns: Vec<usize> = key.to_vec();
        columns.extend(returning.iter().filter(|ordinal| !key.contains(ordinal)));
        columns.sort_unstable();
        columns.dedup();
        let pool = self.pool;
        let named = Rows::of(pool, table, key, rows)?;
        let mut alternatives = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            alternatives.push(named.filter(row)?);
        }
        let found = self.read(table, &columns, doc! { "$or": alternatives }).await?;
        let place = |ordinal: &usize| columns.binary_search(ordinal).unwrap_or(usize::MAX);
        let malformed = |_broken| pool.context.malformed();
        let keys = found.project(&key.iter().map(place).collect::<Vec<_>>()).map_err(malformed)?;
        let keys = Rows::of(pool, table, key, &keys)?;
        let mut places = HashMap::with_capacity(found.num_rows());
        for row in 0..found.num_rows() {
            places.insert(keys.text(row)?, u32::try_from(row).unwrap_or(u32::MAX));
        }
        let mut order: Vec<u32> = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            order.extend(places.get(&named.text(row)?));
        }
        let shown = found.project(&returning.iter().map(place).collect::<Vec<_>>()).map_err(malformed)?;
        take_record_batch(&shown, &UInt32Array::from(order)).map(Some).map_err(malformed)
    }
}

async fn insert_rows(link: &mut Link<'_>, insert: &Insert) -> Result<Edited, StoreError> {
    let (documents, made) = documents(link.pool, insert)?;
    let count = documents.len() as u64;
    let returned = new_rows(link.pool, insert, &documents, made.as_ref())?;
    link.commands(&insert.table, "insert", "documents", documents).await?;
    Ok(Edited { rows: count, returned })
}

/// Documents that meet none are inserted by the first command, which tells which these are; the others are updated by the second.
async fn upsert(link: &mut Link<'_>, insert: &Insert) -> Result<Edited, StoreError> {
    let (pool, table) = (link.pool, &insert.table);
    let Some(Conflict { target, action }) = &insert.conflict else { return insert_rows(link, insert).await };
    let (documents, made) = documents(pool, insert)?;
    let filters = meetings(pool, insert, target, &documents)?;
    if let (ConflictTarget::Columns(key), ConflictAction::Update(_)) = (target, action) {
        meets_once(pool, insert, key, &documents)?;
    }
    let statements: Vec<Document> = filters
        .iter()
        .zip(&documents)
        .map(|(filter, document)| by_bytes(doc! { "q": filter.clone(), "u": { "$setOnInsert": document.clone() }, "upsert": true }))
        .collect();
    let replies = link.commands(table, "update", "updates", statements).await?;
    let mut is_new = vec![false; documents.len()];
    for (first, reply) in &replies {
        for upserted in reply.get_array("upserted").into_iter().flatten() {
            let index = upserted.as_document().and_then(|entry| entry.get_i32("index").ok());
            let place = index.and_then(|index| usize::try_from(index).ok()).and_then(|index| is_new.get_mut(first + index));
            *place.ok_or_else(|| pool.context.malformed())? = true;
        }
    }
    let inserted = is_new.iter().filter(|is_new| **is_new).count() as u64;
    let ConflictAction::Update(set) = action else {
        let all = new_rows(pool, insert, &documents, made.as_ref())?;
        let kept = all.map(|all| filter_record_batch(&all, &is_new.into()).map_err(|_broken| pool.context.malformed()));
        return Ok(Edited { rows: inserted, returned: kept.transpose()? });
    };
    let mut updates = Vec::new();
    for ((filter, document), _) in filters.iter().zip(&documents).zip(&is_new).filter(|(_, is_new)| !**is_new) {
        let fields = proposed(pool, table, set, document)?;
        updates.push(by_bytes(doc! { "q": filter.clone(), "u": { "$set": fields } }));
    }
    link.commands(table, "update", "updates", updates).await?;
    let returned = match target {
        ConflictTarget::Columns(key) if !insert.returning.is_empty() => {
            let rows = key_rows(pool, insert, key, (&documents, made.as_ref()))?;
            link.read_back(table, key, &rows, &insert.returning).await?
        }
        _ => None,
    };
    Ok(Edited { rows: documents.len() as u64, returned })
}

/// For each new document those that it would meet.
fn meetings(pool: &Pool, insert: &Insert, target: &ConflictTarget, documents: &[Document]) -> Result<Vec<Document>, StoreError> {
    let table = &insert.table;
    let keys: Vec<&[usize]> = match target {
        ConflictTarget::Columns(key) => vec![key],
        ConflictTarget::Any => {
            let keys = table.primary_key.iter().chain(&table.unique_keys);
            keys.map(|key| key.columns.as_slice()).collect()
        }
    };
    let mut filters = Vec::with_capacity(documents.len());
    for document in documents {
        let mut alternatives = Vec::with_capacity(keys.len());
        for key in &keys {
            let mut filter = Document::new();
            for column in key.iter().filter_map(|ordinal| table.columns.get(*ordinal)) {
                match document.get(column.name()) {
                    // To MongoDB two of them are equal.
                    None | Some(Bson::Null) => {
                        let feature = "ON CONFLICT with NULL in a unique key";
                        return Err(StoreError::Unsupported { store: pool.context.store.clone(), feature });
                    }
                    Some(value) => filter.insert(column.name(), doc! { "$eq": value.clone() }),
                };
            }
            alternatives.push(filter);
        }
        filters.push(match alternatives.len() {
            1 => alternatives.remove(0),
            _ => doc! { "$or": alternatives },
        });
    }
    Ok(filters)
}

fn meets_once(pool: &Pool, insert: &Insert, key: &[usize], documents: &[Document]) -> Result<(), StoreError> {
    if !key.iter().all(|ordinal| insert.columns.contains(ordinal)) {
        // Keys that were made here are all different.
        return Ok(());
    }
    let batch = key_rows(pool, insert, key, (documents, None))?;
    let rows = Rows::of(pool, &insert.table, key, &batch)?;
    let mut seen = HashSet::with_capacity(batch.num_rows());
    for row in (0..batch.num_rows()).filter(|row| !rows.has_null(*row)) {
        if !seen.insert(rows.text(row)?) {
            let message = "ON CONFLICT DO UPDATE command cannot affect row a second time".to_owned();
            return Err(StoreError::remote(&pool.context.store, sqlstate::CARDINALITY_VIOLATION, message));
        }
    }
    Ok(())
}

/// The key's columns of the new rows.
fn key_rows(
    pool: &Pool,
    insert: &Insert,
    key: &[usize],
    (documents, made): (&[Document], Option<&Vec<String>>),
) -> Result<RecordBatch, StoreError> {
    let returning = key.to_vec();
    let batch = new_rows(pool, &Insert { returning, ..insert.clone() }, documents, made)?;
    batch.ok_or_else(|| pool.context.malformed())
}

fn proposed(pool: &Pool, table: &Table, set: &[(usize, Proposed)], document: &Document) -> Result<Document, StoreError> {
    let mut fields = Document::new();
    for (ordinal, value) in set {
        let Some(column) = table.columns.get(*ordinal) else { return Err(pool.context.malformed()) };
        let value = match value {
            // What is left out of the new row has no default.
            Proposed::Excluded(from) => {
                let from = table.columns.get(*from).map(Column::name).unwrap_or_default();
                document.get(from).cloned().unwrap_or(Bson::Null)
            }
            Proposed::Constant(None) => Bson::Null,
            Proposed::Constant(Some(value)) => constant(pool, table, column, value)?,
        };
        fields.insert(column.name(), value);
    }
    Ok(fields)
}

fn constant(pool: &Pool, table: &Table, column: &Column, value: &crate::stores::value::Value) -> Result<Bson, StoreError> {
    let kind = type_of_field(&column.field).unwrap_or(DocumentType::Mixed);
    bson(&of_value(value), column.pg_type(), &kind).map_err(|fault| unfit(pool, table, column, &fault))
}

async fn update_rows(link: &mut Link<'_>, update: &UpdateRows) -> Result<Edited, StoreError> {
    let (pool, table) = (link.pool, &update.table);
    let keys = Rows::of(pool, table, &update.key, &update.rows)?;
    let values: Vec<usize> = (update.key.len()..update.rows.num_columns()).collect();
    let values = update.rows.project(&values).map_err(|_broken| pool.context.malformed())?;
    let set = Rows::inside(pool, table, (&update.set, &update.paths), &values)?;
    let mut statements = Vec::with_capacity(update.rows.num_rows());
    for row in 0..update.rows.num_rows() {
        statements.push(by_bytes(doc! { "q": keys.filter(row)?, "u": { "$set": set.assignments(row)? } }));
    }
    let replies = link.commands(table, "update", "updates", statements).await?;
    let rows = counted(pool, table, &replies).await?;
    let returned = link.read_back(table, &update.key, &update.rows, &update.returning).await?;
    Ok(Edited { rows, returned })
}

async fn delete_rows(link: &mut Link<'_>, delete: &DeleteRows) -> Result<Edited, StoreError> {
    let (pool, table) = (link.pool, &delete.table);
    let returned = link.read_back(table, &delete.key, &delete.rows, &delete.returning).await?;
    let keys = Rows::of(pool, table, &delete.key, &delete.rows)?;
    let mut ids = Vec::with_capacity(delete.rows.num_rows());
    for row in 0..delete.rows.num_rows() {
        ids.extend(keys.document(row)?.remove("_id"));
    }
    // One document is deleted by a command that may need no transaction.
    let limit = i32::from(ids.len() == 1);
    let statement = by_bytes(doc! { "q": { "_id": { "$in": ids } }, "limit": limit });
    let replies = link.commands(table, "delete", "deletes", vec![statement]).await?;
    let rows = counted(pool, table, &replies).await?;
    Ok(Edited { rows, returned })
}

async fn update_whole(link: &mut Link<'_>, update: &Update) -> Result<Edited, StoreError> {
    let (pool, table) = (link.pool, &update.table);
    let unsupported = || StoreError::Unsupported { store: pool.context.store.clone(), feature: "this update" };
    let filter = meant(&update.relation).and_then(|meant| filter_of(table, &meant)).ok_or_else(unsupported)?;
    let mut fields = Document::new();
    for (place, value) in values(update).ok_or_else(unsupported)?.into_iter().enumerate() {
        let ordinal = update.set.get(place).copied().ok_or_else(unsupported)?;
        let column = part(table, ordinal, path_at(&update.paths, place)).ok_or_else(unsupported)?;
        let value = value.map_or(Ok(Bson::Null), |value| constant(pool, table, &column, &value))?;
        fields.insert(column.name(), value);
    }
    let statement = by_bytes(doc! { "q": filter, "u": { "$set": fields }, "multi": !is_single(&Edit::Update(update.clone())) });
    let replies = link.commands(table, "update", "updates", vec![statement]).await?;
    let rows = counted(pool, table, &replies).await?;
    Ok(Edited { rows, returned: None })
}

async fn delete_whole(link: &mut Link<'_>, delete: &Delete) -> Result<Edited, StoreError> {
    let (pool, table) = (link.pool, &delete.table);
    let unsupported = || StoreError::Unsupported { store: pool.context.store.clone(), feature: "this delete" };
    let filter = meant(&delete.relation).and_then(|meant| filter_of(table, &meant)).ok_or_else(unsupported)?;
    let limit = i32::from(is_single(&Edit::Delete(delete.clone())));
    let statement = by_bytes(doc! { "q": filter, "limit": limit });
    let replies = link.commands(table, "delete", "deletes", vec![statement]).await?;
    let rows = counted(pool, table, &replies).await?;
    Ok(Edited { rows, returned: None })
}

/// A value that no document can have as its key is passed over; `None` for one of another type.
fn filter_of(table: &Table, meant: &Meant) -> Option<Document> {
    let Meant::Keys(keys) = meant else { return Some(Document::new()) };
    let ids: Result<Vec<Option<Bson>>, Fault> = keys.iter().map(|key| key_bson(table, key)).collect();
    let ids: Vec<Bson> = ids.ok()?.into_iter().flatten().collect();
    Some(doc! { "_id": { "$in": ids } })
}

/// How many documents were meant, whether or not they changed. A collection that was dropped answers like one without such documents.
async fn counted(pool: &Pool, table: &Table, replies: &[(usize, Document)]) -> Result<u64, StoreError> {
    let rows = replies.iter().map(|(_, reply)| count(pool, reply)).sum::<Result<u64, StoreError>>()?;
    if rows == 0 {
        scan::still_there(pool, std::slice::from_ref(&table.id)).await?;
    }
    Ok(rows)
}

fn count(pool: &Pool, reply: &Document) -> Result<u64, StoreError> {
    let number = match reply.get("n") {
        Some(Bson::Int32(number)) => u64::try_from(*number).ok(),
        Some(Bson::Int64(number)) => u64::try_from(*number).ok(),
        _ => None,
    };
    number.ok_or_else(|| pool.context.malformed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Diagnose;

    #[test]
    fn what_a_validator_refuses_is_told_with_its_collection() {
        let table = TableId { namespace: "shop".to_owned(), name: "orders".to_owned() };
        let refused = |state| of_rule(StoreError::remote("s", state, "Document failed validation".to_owned()), &table).site();
        let site = refused(sqlstate::CHECK_VIOLATION).unwrap();
        assert_eq!((site.schema.as_deref(), site.table.as_deref()), (Some("shop"), Some("orders")));
        assert!(refused(sqlstate::SERIALIZATION_FAILURE).is_none());
    }
}
