//! Events of change streams as the server sends them: what they are about, and where the documents in them are.

use mongodb::bson::raw::{RawDocument, RawDocumentBuf};
use mongodb::bson::{RawBsonRef, Timestamp};

use crate::stores::schema::TableId;

/// Kinds of events that change what a collection is.
pub(super) const DEFINING: [&str; 6] = ["create", "drop", "rename", "dropDatabase", "modify", "invalidate"];

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A document appeared.
    Insert,
    /// A document was replaced as a whole.
    Replace,
    /// Fields of a document changed.
    Update,
    /// A document went.
    Delete,
    /// The collection went.
    Drop,
    /// The collection has another name, in the place of what had it.
    Rename(TableId),
    /// All collections of the database went.
    DropDatabase,
    /// The stream ends here and goes on behind it.
    Invalidate,
    /// A collection may be another one.
    Defined,
    /// Nothing that anybody here follows.
    Other,
}

/// One event.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) kind: Kind,
    /// The collection; without a name where it is about a database.
    pub(super) table: TableId,
    pub(super) time: Timestamp,
    /// Session and number of the transaction that it is of.
    pub(super) transaction: Option<String>,
    /// When it was written by the server's clock.
    pub(super) committed_us: Option<i64>,
    /// Whether it was asked for without documents, because it is too large with them.
    pub(super) is_bare: bool,
    raw: RawDocumentBuf,
}

impl Event {
    /// `None`: it is no event that we know how to read.
    pub(super) fn read(raw: RawDocumentBuf, is_bare: bool) -> Option<Self> {
        let text = |document: &RawDocument, key: &str| get(document, key).and_then(RawBsonRef::as_str).map(str::to_owned);
        let place = |key: &str| {
            let document = get(&raw, key)?.as_document()?;
            Some(TableId { namespace: text(document, "db")?, name: text(document, "coll").unwrap_or_default() })
        };
        let table = place("ns").unwrap_or_else(|| TableId { namespace: String::new(), name: String::new() });
        let kind = match get(&raw, "operationType")?.as_str()? {
            "insert" => Kind::Insert,
            "replace" => Kind::Replace,
            "update" => Kind::Update,
            "delete" => Kind::Delete,
            "drop" => Kind::Drop,
            "rename" => Kind::Rename(place("to")?),
            "dropDatabase" => Kind::DropDatabase,
            "invalidate" => Kind::Invalidate,
            "create" | "modify" => Kind::Defined,
            _ => Kind::Other,
        };
        let session = get(&raw, "lsid").and_then(RawBsonRef::as_document).and_then(|lsid| get(lsid, "id"));
        let session = session.and_then(RawBsonRef::as_binary).map(|binary| hex(binary.bytes));
        let number = get(&raw, "txnNumber").and_then(RawBsonRef::as_i64);
        let committed = get(&raw, "wallTime").and_then(RawBsonRef::as_datetime).map(|time| time.timestamp_millis());
        Some(Self {
            kind,
            table,
            time: get(&raw, "clusterTime")?.as_timestamp()?,
            transaction: session.zip(number).map(|(session, number)| format!("{session}:{number}")),
            committed_us: committed.and_then(|ms| ms.checked_mul(1_000)),
            is_bare,
            raw,
        })
    }

    /// A document in it; `None` where there is none.
    pub(super) fn document(&self, key: &str) -> Option<&RawDocument> {
        get(&self.raw, key).and_then(RawBsonRef::as_document)
    }

    /// The event as it came.
    #[cfg(test)]
    pub(super) fn raw(&self) -> &RawDocument {
        &self.raw
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> usize {
        self.raw.as_bytes().len()
    }

    /// Whether a row of a collection changed.
    pub(super) fn is_of_row(&self) -> bool {
        matches!(self.kind, Kind::Insert | Kind::Replace | Kind::Update | Kind::Delete)
    }
}

/// A field of a document, unless that cannot be read so far.
pub(super) fn get<'d>(document: &'d RawDocument, key: &str) -> Option<RawBsonRef<'d>> {
    document.get(key).ok().flatten()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(32).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use mongodb::bson::spec::BinarySubtype;
    use mongodb::bson::{Binary, Bson, DateTime, Document, doc};

    use super::*;

    fn read(document: &Document) -> Option<Event> {
        Event::read(RawDocumentBuf::from_bytes(document.to_vec().unwrap()).unwrap(), false)
    }

    fn event(kind: &str) -> Document {
        let time = Timestamp { time: 7, increment: 2 };
        doc! { "_id": { "_data": "82" }, "operationType": kind, "clusterTime": time, "ns": { "db": "shop", "coll": "orders" } }
    }

    #[test]
    fn events_say_what_they_are_about() {
        let mut update = event("update");
        let session = Binary { subtype: BinarySubtype::Uuid, bytes: vec![0xab; 16] };
        update.insert("lsid", doc! { "id": session });
        update.insert("txnNumber", 5_i64);
        update.insert("wallTime", DateTime::from_millis(1_500));
        update.insert("documentKey", doc! { "_id": 1 });
        update.insert("fullDocument", Bson::Null);
        let update = read(&update).unwrap();
        assert_eq!((update.kind.clone(), update.table.name.as_str(), update.is_of_row()), (Kind::Update, "orders", true));
        assert_eq!((update.time.time, update.time.increment, update.committed_us), (7, 2, Some(1_500_000)));
        assert_eq!(update.transaction, Some(format!("{}:5", "ab".repeat(16))));
        assert!(update.document("documentKey").is_some() && update.document("fullDocument").is_none());
        let mut rename = event("rename");
        assert!(read(&rename).is_none());
        rename.insert("to", doc! { "db": "shop", "coll": "old" });
        let Kind::Rename(to) = read(&rename).unwrap().kind else { panic!("no rename") };
        assert_eq!(to.name, "old");
        assert_eq!(read(&event("createIndexes")).unwrap().kind, Kind::Other);
        assert_eq!(read(&event("insert")).unwrap().transaction, None);
    }

    #[test]
    fn what_is_no_event_is_none() {
        let mut without = event("insert");
        without.remove("clusterTime");
        for document in [doc! {}, doc! { "operationType": 7 }, without] {
            assert!(read(&document).is_none(), "{document}");
        }
    }
}
