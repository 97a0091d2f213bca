//! Opening of change streams: where they begin, how they are read, and what errors of the server mean for a feed.
//!
//! A server goes on behind the token of an event only where the stream shows that event. What is followed may be something else by then,
//! so that a feed begins with a time, and leaves out what it has given of it.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use mongodb::bson::raw::RawDocumentBuf;
use mongodb::bson::{Document, Timestamp, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::ResumeToken;
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{ChangeStreamOptions, FullDocumentBeforeChangeType, FullDocumentType};

use super::super::pool::Pool;
use super::event::DEFINING;
use crate::stores::capture::Ended;
use crate::stores::schema::TableId;

/// Codes by which the server says that it does not have what comes next any more.
const HISTORY_LOST: [i32; 3] = [286, 280, 260];
/// The code of an event that is too large.
const TOO_LARGE: i32 = 10334;

pub(super) type Stream = ChangeStream<RawDocumentBuf>;

/// Where a stream begins.
#[derive(Debug, Clone)]
pub(super) enum Start {
    /// With what happens next.
    Now,
    /// Behind an event of the same stream, or a place between events.
    Behind(ResumeToken),
    /// With all that has this time.
    At(Timestamp),
}

/// How the stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// In batches as large as the server likes.
    Usual,
    /// Event by event, because one of them is too large.
    Single,
    /// One event without documents.
    Bare,
}

impl Pace {
    /// How what was too large is asked for next.
    pub(super) fn slower(self) -> Option<Self> {
        match self {
            Self::Usual => Some(Self::Single),
            Self::Single => Some(Self::Bare),
            Self::Bare => None,
        }
    }
}

/// Why there is no stream, or no more of it.
#[derive(Debug)]
pub(super) enum Failed {
    /// An event is too large to be sent like this.
    TooLarge,
    Ended(Ended),
}

/// What an error of the driver means for the feed.
pub(super) fn failed(pool: &Pool, error: &Error) -> Failed {
    let refused = |reason: &str, mend: &str| Ended::Refused { reason: reason.to_owned(), mend: mend.to_owned() };
    Failed::Ended(match code_of(error) {
        Some(TOO_LARGE) => return Failed::TooLarge,
        Some(code) if HISTORY_LOST.contains(&code) => Ended::Lost("the server does not have what comes next any more".to_owned()),
        Some(40573) => refused("change streams need a replica set", "Run the server as a replica set of one."),
        Some(13) => refused(
            "the account may not open change streams",
            "Grant it the role read on the databases of the store, or readAnyDatabase where there are several.",
        ),
        _ => Ended::Again(pool.context.translate(error)),
    })
}

/// Opens a stream of these collections.
pub(super) async fn open<'t>(
    pool: &Pool,
    tables: impl Iterator<Item = &'t TableId> + Clone,
    start: &Start,
    (pace, patience): (Pace, Duration),
) -> Result<Stream, Failed> {
    let (options, pipeline) = (options(start, pace, patience), pipeline(tables.clone(), pace == Pace::Bare));
    let databases: HashSet<&str> = tables.map(|table| table.namespace.as_str()).collect();
    let mut databases = databases.into_iter();
    let again = |error| Failed::Ended(Ended::Again(error));
    let opening = async {
        let client = pool.stream_client().await.map_err(again)?;
        match (databases.next(), databases.next()) {
            (Some(_), Some(_)) => client.watch().pipeline(pipeline).with_options(options).await,
            (only, _) => {
                let name = only.unwrap_or_else(|| pool.default_database());
                client.database(name).watch().pipeline(pipeline).with_options(options).await
            }
        }
        .map_err(|error| failed(pool, &error))
    };
    match tokio::time::timeout(pool.patience(), opening).await {
        Ok(opened) => opened.map(ChangeStream::with_type),
        Err(_) => Err(again(pool.context.deadline("a change stream"))),
    }
}

fn options(start: &Start, pace: Pace, patience: Duration) -> ChangeStreamOptions {
    let mut options = ChangeStreamOptions::default();
    options.max_await_time = Some(patience);
    options.show_expanded_events = Some(true);
    match start {
        Start::Now => {}
        Start::Behind(token) => options.start_after = Some(token.clone()),
        Start::At(time) => options.start_at_operation_time = Some(*time),
    }
    if pace != Pace::Bare {
        options.full_document = Some(FullDocumentType::WhenAvailable);
        options.full_document_before_change = Some(FullDocumentBeforeChangeType::WhenAvailable);
    }
    // 0: the answer to the opening has no events, which may be too large or far away; all others are as the server likes.
    options.batch_size = Some(u32::from(pace != Pace::Usual));
    options
}

/// The stages behind the stream: changes of some collections, and whatever may change what a collection is.
fn pipeline<'t>(tables: impl Iterator<Item = &'t TableId>, is_bare: bool) -> Vec<Document> {
    let mut databases: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for table in tables {
        databases.entry(&table.namespace).or_default().push(&table.name);
    }
    let mut wanted = vec![doc! { "operationType": { "$in": DEFINING.to_vec() } }];
    wanted.extend(databases.into_iter().map(|(database, mut names)| {
        names.sort_unstable();
        doc! { "ns.db": database, "ns.coll": { "$in": names } }
    }));
    let mut stages = vec![doc! { "$match": { "$or": wanted } }];
    if is_bare {
        let fields = ["_id", "operationType", "ns", "to", "documentKey", "clusterTime", "wallTime", "lsid", "txnNumber"];
        stages.push(doc! { "$project": fields.into_iter().map(|name| (name.to_owned(), 1.into())).collect::<Document>() });
    }
    stages
}

fn code_of(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(answer) => Some(answer.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(namespace: &str, name: &str) -> TableId {
        TableId { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn streams_are_of_what_is_followed() {
        let tables = [id("shop", "orders"), id("crm", "people"), id("shop", "lines")];
        let stages = pipeline(tables.iter(), false);
        let expected = doc! { "$match": { "$or": [
            { "operationType": { "$in": ["create", "drop", "rename", "dropDatabase", "modify", "invalidate"] } },
            { "ns.db": "crm", "ns.coll": { "$in": ["people"] } },
            { "ns.db": "shop", "ns.coll": { "$in": ["lines", "orders"] } },
        ] } };
        assert_eq!(stages, [expected]);
        let bare = pipeline([].into_iter(), true);
        let project = bare[1].get_document("$project").unwrap();
        assert!(project.contains_key("documentKey") && !project.contains_key("fullDocument"), "{project}");
    }

    #[test]
    fn the_answer_to_an_opening_has_events_only_where_they_are_asked_for_one_by_one() {
        let time = Timestamp { time: 7, increment: 1 };
        let (long, short) = (Duration::from_millis(100), Duration::from_millis(25));
        let usual = options(&Start::At(time), Pace::Usual, long);
        assert_eq!((usual.batch_size, usual.start_at_operation_time, usual.start_after), (Some(0), Some(time), None));
        assert!(usual.full_document.is_some());
        let bare = options(&Start::Now, Pace::Bare, short);
        assert_eq!((bare.batch_size, bare.start_at_operation_time), (Some(1), None));
        assert_eq!((usual.max_await_time, bare.max_await_time), (Some(long), Some(short)));
        assert!(bare.full_document.is_none() && bare.full_document_before_change.is_none());
        assert_eq!([Pace::Usual, Pace::Single, Pace::Bare].map(Pace::slower), [Some(Pace::Single), Some(Pace::Bare), None]);
    }
}
