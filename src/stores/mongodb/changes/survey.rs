//! What of a deployment can be followed, and what it says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mongodb::bson::{Document, Timestamp, doc};

use super::super::own::{answer, number};
use super::super::pool::{Deployment, Pool};
use super::super::schema::documents;
use super::open::{Failed, Pace, Start, open};
use super::stream::WIRE_MIN;
use crate::stores::StoreError;
use crate::stores::capture::{Ended, Follow, Followed, How, Judged, Survey};
use crate::stores::change::Shape;
use crate::stores::commit::{Caution, is_own_name};
use crate::stores::schema::{Table, TableId, TableKind};

/// How many seconds the server keeps snapshots unless it is told otherwise.
const SNAPSHOTS_KEPT: u64 = 300;
/// A history shorter than this may not outlast a night.
const HISTORY_MIN: Duration = Duration::from_secs(24 * 3_600);
/// How long a stream may take to be opened that is only tried.
const TRY: Duration = Duration::from_secs(5);
/// How long the server would wait for something to happen in it, which it is not asked for.
const AWAIT: Duration = Duration::from_millis(100);
/// How many collections a caution names.
const NAMED_MAX: usize = 3;

/// Which deployment it is, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// By its id, or by its name where the id is not told.
    pub(super) identity: String,
    /// The time of the last write, where the server tells.
    pub(super) written: Option<Timestamp>,
    /// The time of the last write that a majority has, which stays whatever becomes of the server; where it tells.
    pub(super) kept: Option<Timestamp>,
}

impl Place {
    /// Whether an identity may be of this deployment: an id says nothing about a name.
    pub(super) fn may_be(&self, identity: &str) -> bool {
        let kind = |text: &str| text.split_once(':').map(|(kind, _)| kind.to_owned());
        kind(&self.identity) != kind(identity) || self.identity == identity
    }
}

/// Asks which deployment it is.
///
/// # Errors
/// That the server cannot be reached.
pub(super) async fn place(pool: &Pool) -> Result<Place, StoreError> {
    let admin = pool.database("admin").await?;
    let hello = pool.within("hello", async { admin.run_command(doc! { "hello": 1 }).await }).await?;
    let configuration = answer(pool, doc! { "replSetGetConfig": 1 }).await?;
    Ok(read_place(&hello, configuration.as_ref()))
}

fn read_place(hello: &Document, configuration: Option<&Document>) -> Place {
    let settings = configuration.and_then(|found| found.get_document("config").ok()?.get_document("settings").ok());
    let id = settings.and_then(|settings| settings.get_object_id("replicaSetId").ok()).map(|id| format!("id:{}", id.to_hex()));
    // A router has neither.
    let identity = id.unwrap_or_else(|| format!("name:{}", hello.get_str("setName").unwrap_or("sharded")));
    let last = |key: &str| hello.get_document("lastWrite").ok()?.get_document(key).ok()?.get_timestamp("ts").ok();
    Place { identity, written: last("opTime"), kept: last("majorityOpTime") }
}

/// The time of the oldest write that the server still knows of, where we may ask and it has dropped older ones: how far a history reaches
/// back of which nothing was dropped says nothing about when something will be.
///
/// # Errors
/// That the server cannot be reached.
pub(super) async fn oldest(pool: &Pool) -> Result<Option<Timestamp>, StoreError> {
    let oplog = pool.database("local").await?.collection::<Document>("oplog.rs");
    let find = async { oplog.find_one(doc! {}).sort(doc! { "$natural": 1 }).projection(doc! { "ts": 1, "o.msg": 1 }).await };
    match pool.within("the oplog", find).await {
        Ok(found) => Ok(found.as_ref().and_then(dropped_until)),
        Err(StoreError::Remote { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// The time of an oldest entry in front of which others were dropped. The very first one says that the set begins.
fn dropped_until(entry: &Document) -> Option<Timestamp> {
    let message = entry.get_document("o").ok().and_then(|what| what.get_str("msg").ok());
    if message == Some("initiating set") { None } else { entry.get_timestamp("ts").ok() }
}

/// How many seconds a snapshot is kept.
///
/// # Errors
/// That the server cannot be reached.
pub(super) async fn snapshots_kept(pool: &Pool) -> Result<u64, StoreError> {
    let key = "minSnapshotHistoryWindowInSeconds";
    let mut question = doc! { "getParameter": 1 };
    question.insert(key, 1);
    let found = answer(pool, question).await?;
    let seconds = found.and_then(|found| number(found.get(key))).and_then(|seconds| u64::try_from(seconds).ok());
    Ok(seconds.unwrap_or(SNAPSHOTS_KEPT))
}

/// Why nothing is followed, and what mends it.
pub(super) fn closed(deployment: Deployment, follow: &Follow, store: &str) -> Option<(String, String)> {
    let told = |reason: &str, mend: String| Some((reason.to_owned(), mend));
    if follow.how == How::Outbox {
        return told("MongoDB has no triggers", format!("Set changes.mode = \"log\" in stores/{store}.toml."));
    }
    if !deployment.replicated {
        let mend = "Run it as a replica set of one: set replSetName and call rs.initiate().".to_owned();
        return told("a standalone server has no change streams", mend);
    }
    if deployment.wire_version < WIRE_MIN {
        let mend = "Upgrade the server to 6.0 or newer.".to_owned();
        return told("change streams before MongoDB 6.0 do not say which fields changed where names hold dots", mend);
    }
    None
}

/// Looks at the deployment and its collections.
///
/// # Errors
/// What the server answered.
pub(super) async fn survey(pool: &Pool, follow: &Follow, tables: &[Arc<Table>]) -> Result<Survey, StoreError> {
    let deployment = pool.deployment().await?;
    let mut refused = closed(deployment, follow, &pool.context.store);
    let wanted: Vec<&Arc<Table>> = tables.iter().filter(|table| follow.wants(&table.id) || is_own_name(&table.id.name)).collect();
    let databases: BTreeSet<&str> = wanted.iter().map(|table| table.id.namespace.as_str()).collect();
    let mut listed = BTreeMap::new();
    for database in databases {
        list(pool, database, &mut listed).await?;
    }
    let judged: Vec<Judged> = wanted.into_iter().map(|table| judge(table, listed.get(&table.id))).collect();
    let oldest = if deployment.replicated { oldest(pool).await? } else { None };
    let cautions = oldest.and_then(|oldest| short(oldest, now_s())).into_iter().chain(in_parts(&judged)).collect();
    if refused.is_none() {
        refused = denied(pool, &judged).await;
    }
    Ok(Survey { tables: judged, cautions, refused, objects: Vec::new() })
}

/// Why the account may have no stream of these collections, and what mends it: only the answer to a try tells. Whatever else keeps one
/// from being opened is told when a feed begins.
async fn denied(pool: &Pool, judged: &[Judged]) -> Option<(String, String)> {
    let mut followed = Vec::new();
    for each in judged {
        if let Judged::Followed(each) = each {
            followed.push(&each.table.id);
        }
    }
    let opening = Box::pin(open(pool, followed.iter().copied(), &Start::Now, (Pace::Usual, AWAIT)));
    match tokio::time::timeout(TRY, opening).await {
        Ok(Err(Failed::Ended(Ended::Refused { reason, mend }))) => Some((reason, mend)),
        // The driver has the server let go of it.
        Ok(_) | Err(_) => None,
    }
}

/// The kinds and options of the collections of a database.
async fn list(pool: &Pool, database: &str, listed: &mut BTreeMap<TableId, Document>) -> Result<(), StoreError> {
    let handle = pool.database(database).await?;
    let command = doc! { "listCollections": 1, "authorizedCollections": true, "nameOnly": false };
    for entry in documents(pool, &handle, command).await? {
        if let Ok(name) = entry.get_str("name") {
            let id = TableId { namespace: database.to_owned(), name: name.to_owned() };
            listed.insert(id, entry);
        }
    }
    Ok(())
}

/// Whether the changes of a collection can be followed; `listed` is its entry in the list of collections.
fn judge(table: &Arc<Table>, listed: Option<&Document>) -> Judged {
    let store_only = |reason: &str| Judged::StoreOnly { table: table.id.clone(), reason: reason.to_owned(), mend: None };
    let options = listed.and_then(|listed| listed.get_document("options").ok());
    let is_on = |key: &str| options.is_some_and(|options| options.get_bool(key).unwrap_or(false));
    let kind = listed.and_then(|listed| listed.get_str("type").ok());
    if table.kind != TableKind::Collection || kind == Some("view") {
        return store_only("it is a view");
    }
    if kind == Some("timeseries") {
        return store_only("it is a time series, of which the server tells no changes");
    }
    if is_on("capped") {
        return store_only("it is capped, and what falls out of it is not told");
    }
    let Some(key) = table.primary_key.as_ref().filter(|key| key.proven) else {
        return store_only("its _id is not unique in the whole deployment");
    };
    let images = options.and_then(|options| options.get_document("changeStreamPreAndPostImages").ok());
    let has_images = images.is_some_and(|images| images.get_bool("enabled").unwrap_or(false));
    let always_known = (0..table.columns.len()).map(|column| has_images || key.columns.contains(&column)).collect();
    Judged::Followed(Followed { table: Arc::clone(table), shape: Shape::of(table, key.columns.clone(), always_known) })
}

/// That of some collections parts of documents are told, and what that costs. Events that are ours come as whole documents.
fn in_parts(judged: &[Judged]) -> Option<Caution> {
    let lacking = judged.iter().filter_map(|judged| match judged {
        Judged::Followed(followed) if !followed.shape.always_known.iter().all(|is_known| *is_known) => Some(&followed.table.id),
        Judged::Followed(_) | Judged::StoreOnly { .. } => None,
    });
    let lacking: Vec<&TableId> = lacking.filter(|table| !is_own_name(&table.name)).collect();
    let first = lacking.first()?;
    let named = lacking.iter().take(NAMED_MAX).map(|table| format!("{}.{}", table.namespace, table.name));
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match lacking.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(Caution {
        key: "changeStreamPreAndPostImages",
        told: format!(
            "without images an update tells the fields that it sets and a delete its key alone, and no copy can be kept: {named}{more}"
        ),
        mend: format!("db.runCommand({{ collMod: {:?}, changeStreamPreAndPostImages: {{ enabled: true }} }})", first.name),
    })
}

/// That the server keeps too little of its history.
fn short(oldest: Timestamp, now_s: u64) -> Option<Caution> {
    let kept = Duration::from_secs(now_s.saturating_sub(u64::from(oldest.time)));
    (kept < HISTORY_MIN).then(|| Caution {
        key: "oplogMinRetentionHours",
        told: format!("the server has the changes of {} hours; whoever is away for longer begins anew", kept.as_secs() / 3_600),
        mend: "Set storage.oplogMinRetentionHours to 24 or more, or give the oplog more room.".to_owned(),
    })
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;

    use super::*;
    use crate::pgtype::{PgField, PgType};
    use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated, Key};

    fn table(proven: bool) -> Arc<Table> {
        let column = |name: &str| Column {
            field: arrow::datatypes::Field::new(name, PgType::INT8.carrier(), true).with_pg_type(PgType::INT8),
            native_type: "long".to_owned(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        };
        let mut table = Table::plain("shop", "orders", vec![column("_id"), column("a")]);
        table.kind = TableKind::Collection;
        table.primary_key = Some(Key { name: "_id_".to_owned(), columns: vec![0], proven });
        Arc::new(table)
    }

    #[test]
    fn collections_are_judged_by_what_the_server_tells_of_them() {
        let known = |listed: Option<&Document>| match judge(&table(true), listed) {
            Judged::Followed(followed) => Some(followed.shape.always_known.clone()),
            Judged::StoreOnly { .. } => None,
        };
        assert_eq!(known(None), Some(vec![true, false]));
        assert_eq!(known(Some(&doc! { "type": "collection", "options": {} })), Some(vec![true, false]));
        let images = doc! { "options": { "changeStreamPreAndPostImages": { "enabled": true } } };
        assert_eq!(known(Some(&images)), Some(vec![true, true]));
        for listed in [doc! { "type": "timeseries" }, doc! { "type": "view" }, doc! { "options": { "capped": true } }] {
            assert_eq!(known(Some(&listed)), None, "{listed}");
        }
        assert!(matches!(judge(&table(false), None), Judged::StoreOnly { .. }));
    }

    #[test]
    fn collections_of_which_parts_are_told_are_cautioned_about_together() {
        let images = doc! { "options": { "changeStreamPreAndPostImages": { "enabled": true } } };
        let of = |name: &str, listed: Option<&Document>| {
            let mut table = Table::clone(&table(true));
            table.id.name = name.to_owned();
            judge(&Arc::new(table), listed)
        };
        assert_eq!(in_parts(&[of("orders", Some(&images)), of("tributary_outbox", None), judge(&table(false), None)]), None);
        let some = in_parts(&[of("a", Some(&images)), of("b", None), of("c", None)]).unwrap();
        assert!(some.told.ends_with("kept: shop.b, shop.c") && some.mend.contains("collMod: \"b\""), "{some:?}");
        let many: Vec<Judged> = ["a", "b", "c", "d"].into_iter().map(|name| of(name, None)).collect();
        assert!(in_parts(&many).unwrap().told.ends_with("kept: shop.a, shop.b, shop.c and 1 more"));
    }

    #[test]
    fn deployments_are_told_apart_by_their_ids() {
        let (id, other) = (ObjectId::from_bytes([1; 12]), ObjectId::from_bytes([2; 12]));
        let op_time = |time| doc! { "ts": Timestamp { time, increment: 1 } };
        let hello = doc! { "setName": "rs", "lastWrite": { "opTime": op_time(5), "majorityOpTime": op_time(4) } };
        let of = |id: ObjectId| read_place(&hello, Some(&doc! { "config": { "settings": { "replicaSetId": id } } }));
        assert_eq!((of(id).written, read_place(&doc! {}, None).written), (Some(Timestamp { time: 5, increment: 1 }), None));
        assert_eq!((of(id).kept, read_place(&doc! {}, None).kept), (Some(Timestamp { time: 4, increment: 1 }), None));
        assert!(of(id).may_be(&of(id).identity) && !of(id).may_be(&of(other).identity));
        // Where the id is not told by an account and then is.
        assert_eq!(read_place(&hello, None).identity, "name:rs");
        assert!(of(id).may_be("name:rs") && !read_place(&hello, None).may_be("name:other"));
    }

    #[test]
    fn a_history_that_is_whole_reaches_back_no_particular_time() {
        let ts = Timestamp { time: 1_000, increment: 1 };
        assert_eq!(dropped_until(&doc! { "ts": ts, "o": { "msg": "initiating set" } }), None);
        for o in [doc! {}, doc! { "msg": "periodic noop" }, doc! { "msg": { "msg": "initiating set" } }] {
            assert_eq!(dropped_until(&doc! { "ts": ts, "o": o }), Some(ts));
        }
        assert_eq!((dropped_until(&doc! { "ts": ts }), dropped_until(&doc! {})), (Some(ts), None));
    }

    #[test]
    fn a_short_history_is_cautioned_about() {
        let day = 24 * 3_600;
        let oldest = Timestamp { time: 1_000, increment: 0 };
        assert!(short(oldest, 1_000 + day).is_none());
        assert!(short(oldest, 1_000 + day / 2).unwrap().told.contains("12 hours"));
    }

    #[test]
    fn what_has_no_change_streams_is_refused() {
        let follow = |how| Follow {
            how,
            only: Vec::new(),
            except: Vec::new(),
            max_retained: 1,
            poll: Duration::from_secs(1),
            publication: None,
            server_id: None,
        };
        let able = Deployment { replicated: true, sharded: false, wire_version: WIRE_MIN };
        let reason = |deployment, how| closed(deployment, &follow(how), "docs").map(|(reason, _)| reason);
        assert_eq!(reason(able, How::Log), None);
        assert!(reason(able, How::Outbox).unwrap().contains("triggers"));
        assert!(reason(Deployment { replicated: false, ..able }, How::Log).unwrap().contains("standalone"));
        assert!(reason(Deployment { wire_version: 13, ..able }, How::Log).unwrap().contains("6.0"));
    }
}
