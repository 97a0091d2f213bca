//! Collections of ours, and what of a deployment weakens a promise.
//!
//! A transaction cannot write to a collection that was made after it began, but to one that it makes itself. So the collection of
//! marks is made with the first mark, unless nobody writes here when it is asked for.

use std::sync::Arc;

use mongodb::bson::{Bson, Document, doc};

use super::Shared;
use super::columns::{self, Description, ID};
use super::pool::Pool;
use crate::stores::StoreError;
use crate::stores::commit::{Caution, OwnTable};
use crate::stores::document::types::{DocumentField, DocumentType};
use crate::stores::schema::{StoreSchema, Table, TableId, TableKind};

/// `NamespaceExists`
const EXISTS: i32 = 48;

/// How long the server lets a transaction live unless it is told otherwise, in seconds.
const LIFETIME: i64 = 60;

/// The fields, of which the first is the key.
fn described(which: OwnTable) -> Vec<(&'static str, DocumentType)> {
    const TEXT: DocumentType = DocumentType::Text;
    match which {
        OwnTable::Marks => vec![(ID, TEXT), ("state", TEXT), ("at", DocumentType::Date)],
        OwnTable::Keys => vec![(ID, TEXT), ("hash", TEXT), ("outcome", TEXT), ("at", DocumentType::Date)],
        OwnTable::Outbox => vec![
            (ID, TEXT),
            ("topic", TEXT),
            ("key", TEXT),
            // As it was given: a document has no form for every number of JSON.
            ("payload", TEXT),
            ("at", DocumentType::Date),
            ("transaction", TEXT),
        ],
    }
}

fn id(database: &str, which: OwnTable) -> TableId {
    TableId { namespace: database.to_owned(), name: which.name().to_owned() }
}

/// The table as discovery describes it.
pub(super) fn table(database: &str, which: OwnTable) -> Table {
    let field = |(name, kind): (&str, DocumentType)| DocumentField { name: name.to_owned(), kind };
    let fields: Vec<DocumentField> = described(which).into_iter().map(field).collect();
    let description = Description {
        id: id(database, which),
        kind: TableKind::Collection,
        collation: None,
        fields: &fields,
        include_document: false,
        indexes: &[],
        row_estimate: None,
        division: None,
        // It is not divided among shards.
        unique_id: true,
    };
    columns::table(&description).0
}

/// Whether discovery leaves the collection out.
pub(super) fn is_hidden(pool: &Pool, table: &TableId) -> bool {
    table.namespace == pool.default_database() && [OwnTable::Marks, OwnTable::Keys].iter().any(|which| which.name() == table.name)
}

/// Describes the outbox by what is written there and not by what is found.
pub(super) fn settle(pool: &Pool, schema: &mut StoreSchema) {
    let own = table(pool.default_database(), OwnTable::Outbox);
    for found in schema.tables.iter_mut().filter(|found| found.id == own.id && found.kind == TableKind::Collection) {
        let (row_estimate, division) = (found.row_estimate, found.division);
        *found = Arc::new(Table { row_estimate, division, ..own.clone() });
    }
    schema.refused.retain(|refused| refused.table != own.id || refused.column.is_none());
}

/// Makes the collection where it is not there.
///
/// # Errors
/// What the server answered.
pub(super) async fn install(shared: &Shared, which: OwnTable) -> Result<(), StoreError> {
    let pool = &shared.pool;
    if which == OwnTable::Marks && shared.has_writers() {
        return Ok(());
    }
    if pool.is_read_only() {
        return Err(StoreError::ReadOnly { store: pool.context.store.clone() });
    }
    let database = pool.database(pool.default_database()).await?;
    let command = doc! { "create": which.name(), "writeConcern": { "w": "majority" } };
    let made = async {
        match database.run_command(command).await {
            Err(error) if code_of(&error) == Some(EXISTS) => Ok(()),
            other => other.map(drop),
        }
    };
    pool.within("a collection", made).await?;
    if which == OwnTable::Outbox {
        return Ok(());
    }
    // What finds the documents that are too old. It is there already where its name and its form are these.
    let index = doc! { "key": { "at": 1 }, "name": format!("{}_at", which.name()) };
    let command = doc! { "createIndexes": which.name(), "indexes": [index], "writeConcern": { "w": "majority" } };
    pool.within("an index", async { database.run_command(command).await.map(drop) }).await
}

fn code_of(error: &mongodb::error::Error) -> Option<i32> {
    match error.kind.as_ref() {
        mongodb::error::ErrorKind::Command(answer) => Some(answer.code),
        _ => None,
    }
}

/// What weakens the promises of commits in which the store takes part.
///
/// # Errors
/// What the server answered, but to questions that it may refuse.
pub(super) async fn preflight(pool: &Pool) -> Result<Vec<Caution>, StoreError> {
    if pool.is_read_only() {
        return Ok(Vec::new());
    }
    let deployment = pool.deployment().await?;
    if !deployment.replicated {
        return Ok(vec![standalone()]);
    }
    let question = doc! { "getParameter": 1, "transactionLifetimeLimitSeconds": 1 };
    let lifetime = Box::pin(answer(pool, question)).await?.and_then(|found| number(found.get("transactionLifetimeLimitSeconds")));
    let configuration = Box::pin(answer(pool, doc! { "replSetGetConfig": 1 })).await?;
    let is_volatile = configuration.is_some_and(|found| is_volatile(&found));
    Ok(lifetime.and_then(short).into_iter().chain(is_volatile.then(unjournaled)).collect())
}

/// The answer to a question about the deployment; `None` where the server does not say.
///
/// # Errors
/// That the server cannot be reached.
pub(super) async fn answer(pool: &Pool, question: Document) -> Result<Option<Document>, StoreError> {
    let admin = pool.database("admin").await?;
    match pool.within("a setting", async { admin.run_command(question).await }).await {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::Remote { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// A whole number of whatever width.
pub(super) fn number(value: Option<&Bson>) -> Option<i64> {
    match value {
        Some(Bson::Int32(number)) => Some(i64::from(*number)),
        Some(Bson::Int64(number)) => Some(*number),
        _ => None,
    }
}

/// Whether a majority may have what no member has on its disk.
fn is_volatile(configuration: &Document) -> bool {
    let settings = configuration.get_document("config").ok();
    settings.and_then(|config| config.get_bool("writeConcernMajorityJournalDefault").ok()) == Some(false)
}

fn standalone() -> Caution {
    Caution {
        key: "replSetName",
        told:
            "the server is no member of a replica set, so that it has no transactions and takes part in no commit of several stores"
                .to_owned(),
        mend: "Run it as a replica set of one.".to_owned(),
    }
}

fn short(seconds: i64) -> Option<Caution> {
    (seconds < LIFETIME).then(|| Caution {
        key: "transactionLifetimeLimitSeconds",
        told: format!("the server rolls back every transaction that is open for {seconds} s"),
        mend: format!("Set transactionLifetimeLimitSeconds to {LIFETIME} or more."),
    })
}

fn unjournaled() -> Caution {
    Caution {
        key: "writeConcernMajorityJournalDefault",
        told: "a commit is acknowledged before it is on disk, and can be lost when all members fail together".to_owned(),
        mend: "Set writeConcernMajorityJournalDefault to true in the configuration of the replica set.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgtype::PgType;

    #[test]
    fn tables_of_ours_are_named_by_their_keys() {
        for which in OwnTable::ALL {
            let table = table("shop", which);
            assert_eq!((table.id.namespace.as_str(), table.id.name.as_str()), ("shop", which.name()));
            assert_eq!(table.columns.len(), described(which).len());
            let key = table.columns.first().unwrap();
            assert_eq!((key.name(), key.pg_type(), key.field.is_nullable()), ("_id", PgType::TEXT, false));
            assert!(table.primary_key.unwrap().proven);
            let at = table.columns.iter().find(|column| column.name() == "at").unwrap();
            assert_eq!(at.pg_type(), PgType::TIMESTAMPTZ);
        }
    }

    #[test]
    fn what_weakens_a_promise_is_told() {
        assert!(short(60).is_none() && short(120).is_none());
        assert!(short(3).unwrap().told.ends_with("open for 3 s"));
        assert_eq!([number(Some(&Bson::Int32(3))), number(Some(&Bson::Int64(4))), number(None)], [Some(3), Some(4), None]);
        assert!(is_volatile(&doc! { "config": { "writeConcernMajorityJournalDefault": false } }));
        for journaled in [doc! { "config": { "writeConcernMajorityJournalDefault": true } }, doc! { "config": {} }, doc! {}] {
            assert!(!is_volatile(&journaled));
        }
    }
}
