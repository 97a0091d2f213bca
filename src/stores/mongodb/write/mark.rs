//! Marks of commits over several stores: documents that are there when what they mark has been committed.
//!
//! Whether a mark that is not there will ever be is asked by writing another one in its place, which says that it was aborted: one of
//! the two is refused. What is there counts once a majority has it; one that the primary alone has may go with it.

use mongodb::Database;
use mongodb::bson::{Bson, DateTime, Document, doc};

use super::super::pool::Pool;
use crate::error::{Diagnose, sqlstate};
use crate::stores::StoreError;
use crate::stores::commit::{Hint, MarkId, OwnTable, Verdict};

const COMMITTED: &str = "commit";
const ABORTED: &str = "abort";

/// Milliseconds of a day, after which no transaction is left that could still write a mark.
const DAY: i64 = 86_400_000;

/// Names of one command.
const NAMES_EACH: usize = 1_000;

/// How often a mark may be there and gone again, before one who asks for it has to ask later.
const TRIES: usize = 3;

/// The command that writes the mark of a commit, to be sent in its transaction.
pub(super) fn insertion(pool: &Pool, mark: MarkId) -> Document {
    inserting(pool, mark, COMMITTED)
}

fn inserting(pool: &Pool, mark: MarkId, state: &str) -> Document {
    let document = doc! { "_id": mark.to_string(), "state": state, "at": DateTime::now() };
    doc! { "insert": OwnTable::Marks.name(), "documents": [document], "ordered": true, "maxTimeMS": patience(pool) }
}

fn patience(pool: &Pool) -> i64 {
    i64::try_from(pool.query_timeout().as_millis()).unwrap_or(i64::MAX)
}

async fn database(pool: &Pool) -> Result<Database, StoreError> {
    pool.database(pool.default_database()).await
}

/// What became of the mark; one that is not there will never be. Where even the collection is not there nobody has ever marked anything,
/// or somebody has dropped it, which nothing here can tell apart.
///
/// # Errors
/// It is not decided yet, or nobody answered.
pub(in super::super) async fn decide(pool: &Pool, mark: MarkId, hint: &Hint) -> Result<Verdict, StoreError> {
    if pool.is_read_only() {
        return Err(StoreError::ReadOnly { store: pool.context.store.clone() });
    }
    // Its transaction may be open still, and would keep us waiting until it is too old.
    if let Ok(session) = Document::from_reader(hint.0.as_slice()) {
        pool.kill_session(&session).await;
    }
    for _ in 0..TRIES {
        if Box::pin(bury(pool, mark)).await? {
            return Ok(Verdict::Abort);
        }
        if let Some(verdict) = Box::pin(find(pool, mark)).await? {
            return Ok(verdict);
        }
    }
    Err(pool.context.deadline("a mark that comes and goes"))
}

/// Writes that it was aborted. False where something is there already, of which nobody knows whether it stays.
async fn bury(pool: &Pool, mark: MarkId) -> Result<bool, StoreError> {
    let mut command = inserting(pool, mark, ABORTED);
    command.insert("writeConcern", doc! { "w": "majority" });
    match send(pool, command).await {
        Ok(_written) => Ok(true),
        Err(error) if error.sqlstate() == sqlstate::UNIQUE_VIOLATION => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a majority has in the place of the mark, as of now.
async fn find(pool: &Pool, mark: MarkId) -> Result<Option<Verdict>, StoreError> {
    let command = doc! {
        "find": OwnTable::Marks.name(),
        "filter": { "_id": mark.to_string() },
        "limit": 1,
        "singleBatch": true,
        "maxTimeMS": patience(pool),
        "readConcern": { "level": "linearizable" },
    };
    let database = database(pool).await?;
    let reply = pool.within("a mark", async { database.run_command(command).await }).await?;
    let batch = reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    let found = batch.map_err(|_broken| pool.context.malformed())?;
    state_of(found.first()).ok_or_else(|| {
        let message = "a mark of a commit says neither that it was kept nor that it was not".to_owned();
        StoreError::remote(&pool.context.store, sqlstate::DATA_CORRUPTED, message)
    })
}

/// What a mark says, if there is one; `None` for one that says nothing.
fn state_of(mark: Option<&Bson>) -> Option<Option<Verdict>> {
    let Some(mark) = mark else { return Some(None) };
    match mark.as_document()?.get_str("state").ok()? {
        COMMITTED => Some(Some(Verdict::Commit)),
        ABORTED => Some(Some(Verdict::Abort)),
        _ => None,
    }
}

/// Removes marks of what has been committed everywhere, and those of what was aborted more than a day ago.
///
/// # Errors
/// What the server answered.
pub(in super::super) async fn forget(pool: &Pool, marks: &[MarkId]) -> Result<(), StoreError> {
    for some in marks.chunks(NAMES_EACH) {
        let yesterday = DateTime::from_millis(DateTime::now().timestamp_millis().saturating_sub(DAY));
        Box::pin(send(pool, removal(some, yesterday))).await?;
    }
    Ok(())
}

fn removal(marks: &[MarkId], yesterday: DateTime) -> Document {
    let names: Vec<String> = marks.iter().map(MarkId::to_string).collect();
    let committed = doc! { "q": { "_id": { "$in": names }, "state": COMMITTED }, "limit": 0 };
    let old = doc! { "q": { "state": ABORTED, "at": { "$lt": yesterday } }, "limit": 0 };
    doc! { "delete": OwnTable::Marks.name(), "deletes": [committed, old], "writeConcern": { "w": "majority" } }
}

/// Sends a command that commits by itself, and that may be sent again whatever became of it. What a majority does not have yet is no
/// answer.
async fn send(pool: &Pool, command: Document) -> Result<Document, StoreError> {
    let database = database(pool).await?;
    let reply = pool.within("a mark", async { database.run_command(command).await }).await?;
    if let Some(refused) = pool.context.refused(&reply) {
        return Err(refused);
    }
    if reply.contains_key("writeConcernError") {
        return Err(pool.context.deadline("a majority of the replica set"));
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::commit::{Gid, LogId, MarkOf};

    fn mark(number: u64, of: MarkOf) -> MarkId {
        MarkId { gid: Gid { log: LogId(7), number }, of }
    }

    #[test]
    fn a_mark_says_what_became_of_it() {
        let told = |document: Document| state_of(Some(&Bson::Document(document)));
        assert_eq!(state_of(None), Some(None));
        assert_eq!(told(doc! { "_id": "x", "state": "commit" }), Some(Some(Verdict::Commit)));
        assert_eq!(told(doc! { "_id": "x", "state": "abort" }), Some(Some(Verdict::Abort)));
        for broken in [doc! { "_id": "x" }, doc! { "state": 1 }, doc! { "state": "maybe" }] {
            assert_eq!(told(broken), None);
        }
        assert_eq!(state_of(Some(&Bson::Null)), None);
    }

    #[test]
    fn what_was_aborted_lately_is_not_removed() {
        let marks = [mark(1, MarkOf::All), mark(2, MarkOf::Undo(3))];
        let command = removal(&marks, DateTime::from_millis(5));
        let deletes: Vec<&Document> =
            command.get_array("deletes").unwrap().iter().map(|each| each.as_document().unwrap()).collect();
        let names = ["tributary:0000000000000007:0000000000000001", "tributary:0000000000000007:0000000000000002/3u"];
        assert_eq!(deletes[0].get_document("q").unwrap(), &doc! { "_id": { "$in": names.to_vec() }, "state": "commit" });
        assert_eq!(deletes[1].get_document("q").unwrap(), &doc! { "state": "abort", "at": { "$lt": DateTime::from_millis(5) } });
        assert_eq!(command.get_str("delete").unwrap(), "tributary_marks");
    }
}
