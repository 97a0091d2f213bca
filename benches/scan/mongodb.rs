//! MongoDB: raw batches, each document walked once in its own order.

use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use mongodb::bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf};
use mongodb::bson::{Bson, DateTime, Decimal128, Document, doc};
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use mongodb::{Client, Collection};
use tributary::sandbox::{Durability, Mongo, Setup};

use super::columns::{Columns, Depth, Digest};
use super::made::Row;
use super::measure::must;
use super::ours::Ours;
use super::rounds::{Bare, Subject};

/// Documents of one insert.
const INSERTED: u64 = 10_000;
/// Documents of one reply, the fastest size known for this driver.
const BATCH: u32 = 10_000;

/// A filled collection on a server of its own.
pub async fn subject(rows: u64) -> Subject {
    let setup = Setup { durability: Durability::Forgone, ..Setup::default() };
    let server = must(Mongo::start_with(&setup).await);
    let client = must(Client::with_options(options(&server)));
    let collection = client.database(server.database()).collection::<Document>("sales");
    for batch in 0..rows.div_ceil(INSERTED) {
        let numbers = batch * INSERTED + 1..=rows.min((batch + 1) * INSERTED);
        let documents: Vec<Document> =
            numbers.map(|number| document(&Row::new(i64::try_from(number).unwrap_or(i64::MAX)))).collect();
        must(collection.insert_many(documents).await);
    }
    let file = format!(
        "hosts = [\"{}:{}\"]\nuser = \"{}\"\npassword = \"{}\"\nauth_source = \"admin\"\nreplica_set = \"{}\"\ndatabase = \"{}\"\n",
        server.host(),
        server.port(),
        server.user(),
        server.password(),
        server.replica_set(),
        server.database()
    );
    let ours = Ours::new("mongodb", &file).await;
    let bare = Box::new(Batches { collection: collection.clone_with_type(), _client: client });
    Subject { name: "mongodb", ours, bare, keeper: Box::new(server) }
}

fn options(server: &Mongo) -> ClientOptions {
    let credential = Credential::builder()
        .username(server.user().to_owned())
        .password(server.password().to_owned())
        .source("admin".to_owned())
        .build();
    let address = ServerAddress::Tcp { host: server.host().to_owned(), port: Some(server.port()) };
    ClientOptions::builder()
        .hosts(vec![address])
        .repl_set_name(server.replica_set().to_owned())
        .credential(credential)
        .server_selection_timeout(Duration::from_secs(20))
        .build()
}

/// A remark that is NULL elsewhere is missing here.
fn document(row: &Row) -> Document {
    let price = row.price.map_or(Bson::Null, |cents| {
        let sign = if cents < 0 { "-" } else { "" };
        let text = format!("{sign}{}.{:02}", cents.unsigned_abs() / 100, cents.unsigned_abs() % 100);
        Bson::Decimal128(must(text.parse()))
    });
    let mut document = doc! {
        "_id": row.id, "quantity": row.quantity, "price": price, "title": &row.title,
        "placed": DateTime::from_millis(row.placed.div_euclid(1_000)), "score": row.score, "paid": row.paid,
        "place": { "zip": row.zip },
    };
    if let Some(remark) = &row.remark {
        document.insert("remark", remark);
    }
    document
}

struct Batches {
    collection: Collection<RawDocumentBuf>,
    /// Ends the driver's own tasks when it goes.
    _client: Client,
}

#[async_trait]
impl Bare for Batches {
    async fn read(&mut self, depth: Depth) -> Digest {
        let (mut columns, mut digest) = (Columns::default(), Digest::new(depth));
        let fields = doc! { "quantity": 1, "price": 1, "title": 1, "placed": 1, "score": 1, "paid": 1, "place": 1, "remark": 1 };
        let mut batches = must(self.collection.find(doc! {}).projection(fields).batch_size(BATCH).batch().await);
        while let Some(batch) = must(batches.try_next().await) {
            for document in must(batch.doc_slices()) {
                let document = must(must(document).as_document().ok_or("a batch holds something else than documents"));
                must(decode(document, &mut columns).ok_or("a document has other fields than expected"));
                if columns.is_full() {
                    digest.take(&mut columns);
                }
            }
        }
        digest.take(&mut columns);
        digest
    }
}

#[inline]
fn decode(document: &RawDocument, columns: &mut Columns) -> Option<()> {
    let mut remark = None;
    for element in document.iter_elements() {
        let element = element.ok()?;
        match (element.key().as_str(), element.value().ok()?) {
            ("_id", RawBsonRef::Int64(id)) => columns.ids.push(id),
            ("quantity", RawBsonRef::Int32(number)) => columns.quantities.push(number.into()),
            ("price", RawBsonRef::Decimal128(number)) => columns.prices.push(Some(hundredths(number)?)),
            ("price", RawBsonRef::Null) => columns.prices.push(None),
            ("title", RawBsonRef::String(text)) => columns.titles.push(Some(text)),
            ("placed", RawBsonRef::DateTime(moment)) => columns.placed.push(moment.timestamp_millis() * 1_000),
            ("score", RawBsonRef::Double(number)) => columns.scores.push(number),
            ("paid", RawBsonRef::Boolean(truth)) => columns.paid.push(truth),
            ("place", RawBsonRef::Document(place)) => columns.zips.push(zip(place)?),
            ("remark", RawBsonRef::String(text)) => remark = Some(text),
            _ => return None,
        }
    }
    columns.remarks.push(remark);
    Some(())
}

fn zip(place: &RawDocument) -> Option<i64> {
    let element = place.iter_elements().next()?.ok()?;
    match (element.key().as_str(), element.value().ok()?) {
        ("zip", RawBsonRef::Int32(number)) => Some(number.into()),
        _ => None,
    }
}

/// A decimal128 with two digits behind the point in hundredths: the coefficient below, the exponent above it.
#[inline]
fn hundredths(number: Decimal128) -> Option<i128> {
    let bits = u128::from_le_bytes(number.bytes());
    ((bits >> 113) & 0x3fff == 6_174).then_some(())?;
    let coefficient = i128::try_from(bits & ((1 << 113) - 1)).ok()?;
    Some(if bits >> 127 == 1 { -coefficient } else { coefficient })
}
