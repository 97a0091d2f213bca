//! Discovery: databases, collections and views, and the columns that validators, samples and declarations give them.
//!
//! A collection that cannot be read is refused by name; only a lost connection ends discovery.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use mongodb::bson::raw::RawDocumentBuf;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::{AggregateOptions, FindOptions};
use mongodb::raw_batch_cursor::RawBatchCursor;
use mongodb::{Collection, Database};

use super::pool::Pool;
use super::raw::{self, BsonFields};
use super::{columns, own};
use crate::options::Problem;
use crate::stores::StoreError;
use crate::stores::document::memory::{Known as Schemas, Place};
use crate::stores::document::options::{missing, unseen};
use crate::stores::document::{DocumentField, DocumentOptions, DocumentSchema, Sample};
use crate::stores::schema::{Division, Refused, StoreSchema, Table, TableId, TableKind, no_database};

/// Databases of the server itself.
const OWN_DATABASES: [&str; 3] = ["admin", "local", "config"];
/// Documents read from each end of a collection, by `_id`.
const ENDS: i64 = 100;
/// Collections looked at at the same time.
const CONCURRENT: usize = 4;
/// Longest time in the server for one sample; a view may compute anything.
const SAMPLE_TIME: Duration = Duration::from_secs(10);

/// What is known about each collection besides the server: options and earlier samples.
pub(super) struct Known<'a> {
    /// The options of each collection; the store's own where a collection has none.
    pub(super) options: &'a (dyn Fn(&TableId) -> DocumentOptions + Sync),
    /// What earlier discoveries found.
    pub(super) earlier: Schemas,
}

/// One entry of `listCollections`.
struct Listed {
    id: TableId,
    kind: ListedKind,
    options: Document,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ListedKind {
    Collection,
    View,
    TimeSeries,
}

/// Reads the whole deployment. Returns the schema and what to know at the next discovery.
pub(super) async fn discover(pool: &Pool, known: Known<'_>) -> Result<(StoreSchema, Schemas), StoreError> {
    let admin = pool.database("admin").await?;
    let build = pool.within("buildInfo", async { admin.run_command(doc! { "buildInfo": 1 }).await }).await?;
    let mut schema = StoreSchema {
        server_version: format!("MongoDB {}", build.get_str("version").unwrap_or("of unknown version")),
        default_namespace: pool.default_database().to_owned(),
        ..StoreSchema::default()
    };
    let mut listed = Vec::new();
    for database in databases(pool, &mut schema).await? {
        match collections(pool, &database).await {
            Ok(found) => listed.extend(found),
            Err(error) => refuse(&mut schema, TableId { namespace: database, name: String::new() }, own_fault(pool, error).await?),
        }
    }
    let sharded = pool.deployment().await?.sharded;
    let known = &known;
    let mut found = futures::stream::iter(listed)
        .map(|entry| async move {
            let outcome = read_collection(pool, known, &entry, sharded).await;
            (entry.id, outcome)
        })
        .buffered(CONCURRENT);
    let mut schemas = Schemas::new();
    while let Some((id, outcome)) = found.next().await {
        match outcome {
            Ok(read) => {
                schema.refused.extend(read.refused);
                schema.tables.push(read.table.into());
                schemas.insert(place(&id), read.schema);
            }
            Err(error) => {
                // A collection that could not be read this time is not forgotten.
                let earlier = known.earlier.get(&place(&id)).filter(|_| !matches!(error, StoreError::SchemaChanged { .. }));
                schemas.extend(earlier.map(|earlier| (place(&id), earlier.clone())));
                refuse(&mut schema, id, own_fault(pool, error).await?);
            }
        }
    }
    schema.tables.sort_by(|left, right| left.id.cmp(&right.id));
    Ok((schema, schemas))
}

/// A collection is a document as a whole.
fn place(id: &TableId) -> Place {
    (id.clone(), String::new())
}

/// An error that is about one collection: `Err` when it is about the whole store. The driver gives up on a connection for
/// answers that it does not understand, so that a store which still answers is not the one at fault.
async fn own_fault(pool: &Pool, error: StoreError) -> Result<StoreError, StoreError> {
    match &error {
        StoreError::ConnectionLost { .. } | StoreError::Unreachable { .. } if pool.deployment().await.is_err() => Err(error),
        _ => Ok(error),
    }
}

/// Turns an error about one collection into a refusal.
fn refuse(schema: &mut StoreSchema, table: TableId, error: StoreError) {
    let reason = match error {
        // It was dropped after it was listed.
        StoreError::SchemaChanged { .. } => return,
        StoreError::Remote { message, .. } => format!("cannot be read: {message}"),
        StoreError::Deadline { .. } => "cannot be sampled in time; declare its columns and set its sample to 0".to_owned(),
        StoreError::Value { rule, .. } => format!("cannot be read: a value {rule}"),
        other => format!("cannot be read: {other}"),
    };
    schema.refused.push(Refused { table, column: None, native_type: "collection".to_owned(), reason });
}

async fn databases(pool: &Pool, schema: &mut StoreSchema) -> Result<Vec<String>, StoreError> {
    let client = pool.client().await?;
    let default = pool.default_database().to_owned();
    let mut names = match pool.within("listDatabases", async { client.list_database_names().await }).await {
        Ok(names) => {
            // A database is there once it holds something, so that an empty one is served and only told by `check`.
            if !names.contains(&default) {
                schema.unmet.push(no_database(pool.database_key(), &default, &names));
            }
            let unknown = pool.chosen_databases().iter().filter(|name| **name != default && !names.contains(name));
            schema.unmet.extend(unknown.map(|name| no_database("databases", name, &names)));
            names
        }
        // Without the privilege to list databases the configured one is still served.
        Err(StoreError::Remote { .. }) => Vec::new(),
        Err(other) => return Err(other),
    };
    names.retain(|name| !OWN_DATABASES.contains(&name.as_str()) || *name == default);
    if !names.contains(&default) {
        names.push(default);
    }
    names.retain(|name| pool.serves(name));
    names.sort();
    Ok(names)
}

/// Tells collections that the store file names and no database has, and declared fields that no document has.
pub(super) fn judge_declared(declared: &BTreeMap<String, DocumentOptions>, schema: &mut StoreSchema, schemas: &Schemas) {
    // Of a database whose collections cannot be listed nothing is known.
    let unlisted = |name: &String| {
        let mut unlisted = schema.refused.iter().filter(|refused| refused.table.name.is_empty());
        unlisted.any(|refused| !name.contains('.') || name.starts_with(&format!("{}.", refused.table.namespace)))
    };
    let found = schema.tables.iter().map(|table| &table.id).chain(schema.refused.iter().map(|refused| &refused.table));
    let existing: BTreeSet<String> =
        found.flat_map(|id| [format!("{}.{}", id.namespace, id.name), id.name.clone()]).filter(|name| !name.is_empty()).collect();
    let unmet = missing("collections", declared.keys().filter(|name| !unlisted(name)), &existing);
    let named = |id: &TableId| {
        let whole = declared.get_key_value(&format!("{}.{}", id.namespace, id.name));
        whole.or_else(|| declared.get_key_value(&id.name))
    };
    let rare = schemas.iter().filter_map(|((id, _), schema)| {
        let (key, options) = named(id)?;
        Some(unseen("collections", key, schema.unseen(&options.declared)))
    });
    let (misspelt, rare): (Vec<Vec<Problem>>, Vec<Vec<Problem>>) = rare.unzip();
    schema.unmet.extend(unmet.into_iter().chain(misspelt.into_iter().flatten()));
    schema.unseen.extend(rare.into_iter().flatten());
}

async fn collections(pool: &Pool, database: &str) -> Result<Vec<Listed>, StoreError> {
    let handle = pool.database(database).await?;
    let entries = documents(pool, &handle, doc! { "listCollections": 1, "authorizedCollections": true, "nameOnly": false }).await?;
    let listed = entries.into_iter().filter_map(|entry| {
        let name = entry.get_str("name").ok()?.to_owned();
        let kind = match entry.get_str("type") {
            Ok("view") => ListedKind::View,
            Ok("timeseries") => ListedKind::TimeSeries,
            _ => ListedKind::Collection,
        };
        let options = entry.get_document("options").cloned().unwrap_or_default();
        let id = TableId { namespace: database.to_owned(), name };
        let is_listed = !id.name.starts_with("system.") && !own::is_hidden(pool, &id);
        is_listed.then_some(Listed { id, kind, options })
    });
    Ok(listed.collect())
}

/// All documents of a command that answers with a cursor.
pub(super) async fn documents(pool: &Pool, database: &Database, command: Document) -> Result<Vec<Document>, StoreError> {
    let mut cursor = pool.within("a listing", async { database.run_cursor_command(command).await }).await?;
    let mut found = Vec::new();
    while let Some(next) = pool.within("a listing", async { cursor.next().await.transpose() }).await? {
        found.push(next);
    }
    Ok(found)
}

struct Read {
    table: Table,
    schema: DocumentSchema,
    refused: Vec<Refused>,
}

async fn read_collection(pool: &Pool, known: &Known<'_>, entry: &Listed, sharded: bool) -> Result<Read, StoreError> {
    let database = pool.database(&entry.id.namespace).await?;
    let collection = database.collection::<RawDocumentBuf>(&entry.id.name);
    let options = (known.options)(&entry.id);
    let estimate = match entry.kind {
        ListedKind::Collection => Some(pool.within("a row estimate", async { collection.estimated_document_count().await }).await?),
        ListedKind::View | ListedKind::TimeSeries => None,
    };
    let sampled = if options.sample == 0 { Vec::new() } else { sample(pool, &collection, entry.kind, options.sample).await? };
    let declared = columns::with_validator(&options.declared, &entry.options, &sampled);
    let schema = match known.earlier.get(&place(&entry.id)) {
        Some(earlier) => earlier.succeed(&declared, sampled),
        None => DocumentSchema::new(&declared, sampled),
    };
    let indexes = match entry.kind {
        ListedKind::View => Vec::new(),
        ListedKind::Collection | ListedKind::TimeSeries => {
            documents(pool, &database, doc! { "listIndexes": &entry.id.name }).await?
        }
    };
    let description = columns::Description {
        id: entry.id.clone(),
        kind: if entry.kind == ListedKind::View { TableKind::View } else { TableKind::Collection },
        collation: entry.options.get_document("collation").ok().and_then(|collation| collation.get_str("locale").ok()),
        fields: &schema.fields,
        include_document: options.include_document,
        indexes: &indexes,
        row_estimate: estimate,
        division: division(entry, sharded),
        unique_id: entry.kind == ListedKind::Collection && !sharded,
    };
    let (table, refused) = columns::table(&description);
    Ok(Read { table, refused, schema })
}

/// By what a collection is divided: `_id`, in which it may itself be stored. Capped collections are not read at a snapshot, and of a
/// sharded one each range would ask all shards.
fn division(entry: &Listed, sharded: bool) -> Option<Division> {
    let is_capped = entry.options.get_bool("capped").unwrap_or(false);
    if entry.kind != ListedKind::Collection || sharded || is_capped {
        return None;
    }
    Some(if entry.options.contains_key("clusteredIndex") { Division::Clustered } else { Division::Indexed })
}

/// Looks at both ends, where the oldest and the newest shapes are, and at random documents. The oldest come first, because
/// the order in which fields are first seen is the order of the columns, and should not change with the draw.
async fn sample(
    pool: &Pool,
    collection: &Collection<RawDocumentBuf>,
    kind: ListedKind,
    size: usize,
) -> Result<Vec<DocumentField>, StoreError> {
    let mut sample = Sample::new();
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    let max_time = pool.query_timeout().min(SAMPLE_TIME);
    if kind == ListedKind::Collection {
        for direction in [1, -1] {
            let mut options = FindOptions::default();
            options.sort = Some(doc! { "_id": direction });
            options.limit = Some(ENDS.min(size));
            options.max_time = Some(max_time);
            let end = pool.within("a sample", async { collection.find(doc! {}).with_options(options).batch().await }).await?;
            observe(pool, end, &mut sample).await?;
        }
    }
    let mut options = AggregateOptions::default();
    options.max_time = Some(max_time);
    options.allow_disk_use = Some(true);
    // A random choice from a view would compute all of it.
    let stages = match kind {
        ListedKind::View => [doc! { "$limit": size }],
        ListedKind::Collection | ListedKind::TimeSeries => [doc! { "$sample": { "size": size } }],
    };
    let random = pool.within("a sample", async { collection.aggregate(stages).with_options(options).batch().await }).await?;
    observe(pool, random, &mut sample).await?;
    Ok(sample.into_fields())
}

async fn observe(pool: &Pool, mut cursor: RawBatchCursor, sample: &mut Sample) -> Result<(), StoreError> {
    while let Some(batch) = pool.within("a sample", async { cursor.next().await.transpose() }).await? {
        let documents = batch.doc_slices().map_err(|error| pool.context.translate(&error))?;
        for document in raw::documents(documents) {
            // A document that cannot be read tells nothing; a scan that meets it says so.
            if let Ok(document) = document
                && sample.observe(&BsonFields(document)).is_err()
            {
                tracing::debug!("a sampled document is malformed");
            }
        }
    }
    Ok(())
}

/// Whether the collection or view still exists; a find on a dropped one answers no rows and no error.
pub(super) async fn exists(pool: &Pool, id: &TableId) -> Result<bool, StoreError> {
    let database = pool.database(&id.namespace).await?;
    let filter = doc! { "name": Bson::String(id.name.clone()) };
    let command = doc! { "listCollections": 1, "nameOnly": true, "authorizedCollections": true, "filter": filter };
    Ok(!documents(pool, &database, command).await?.is_empty())
}
