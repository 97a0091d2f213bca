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
        let (mut columns, mut digest) = (<Columns>::default(), Digest::new(depth));
        let fields = doc! { "quantity": 1, "price": 1, "title": 1, "placed": 1, "score": 1, "paid": 1, "place": 1, "remark": 1 };
        let mut batches = must(self.collection.find(doc! {}).projection(fields).batch_size(BATCH).batch().await);
        while let Some(batch) = must(batches.try_next().await) {
            for document in must(batch.doc_slices()) {
                let document = must(must(document).as_document().ok_or("a batch holds something else than documents"));
                let row = must(Found::read(document).ok_or("a document has other types than expected"));
                must(row.keep(&mut columns).ok_or("a document has no key"));
                if columns.is_full() {
                    digest.take(&mut columns);
                }
            }
        }
        digest.take(&mut columns);
        digest
    }
}

/// The fields of one document. They come in any order, and what does not come is NULL.
#[derive(Debug, Default)]
struct Found<'a> {
    id: Option<i64>,
    quantity: Option<i64>,
    price: Option<i128>,
    title: Option<&'a str>,
    placed: Option<i64>,
    score: Option<f64>,
    paid: Option<bool>,
    place: Option<Option<i64>>,
    remark: Option<&'a str>,
}

impl<'a> Found<'a> {
    /// `None` for a value of another type than its column has, or beyond its range.
    #[inline]
    fn read(document: &'a RawDocument) -> Option<Self> {
        let mut found = Self::default();
        for element in document.iter_elements() {
            let element = element.ok()?;
            match (element.key().as_str(), element.value().ok()?) {
                ("_id", RawBsonRef::Int64(id)) => found.id = Some(id),
                ("_id", RawBsonRef::Int32(id)) => found.id = Some(id.into()),
                ("quantity", RawBsonRef::Int32(number)) => found.quantity = Some(number.into()),
                ("quantity", RawBsonRef::Int64(number)) => found.quantity = Some(number),
                ("price", RawBsonRef::Decimal128(number)) => found.price = Some(hundredths(number)?),
                ("title", RawBsonRef::String(text)) => found.title = Some(text),
                ("placed", RawBsonRef::DateTime(moment)) => found.placed = Some(moment.timestamp_millis().checked_mul(1_000)?),
                ("score", RawBsonRef::Double(number)) => found.score = Some(number),
                ("paid", RawBsonRef::Boolean(truth)) => found.paid = Some(truth),
                ("place", RawBsonRef::Document(place)) => found.place = Some(zip(place)?),
                ("remark", RawBsonRef::String(text)) => found.remark = Some(text),
                (_, RawBsonRef::Null) => {}
                _ => return None,
            }
        }
        Some(found)
    }

    /// A missing field is NULL; the batch refuses NULLs in the columns that have none on this bench.
    #[inline]
    fn keep(self, columns: &mut Columns) -> Option<()> {
        columns.ids.push(self.id?);
        columns.quantities.push_option(self.quantity);
        columns.prices.push(self.price);
        columns.titles.push(self.title);
        columns.placed.push_option(self.placed);
        columns.scores.push_option(self.score);
        columns.paid.push_option(self.paid);
        columns.zips.push_option(self.place.flatten());
        columns.remarks.push(self.remark);
        Some(())
    }
}

/// The only field that is read of the nested document; `Some(None)` when it has none.
fn zip(place: &RawDocument) -> Option<Option<i64>> {
    let mut zip = None;
    for element in place.iter_elements() {
        let element = element.ok()?;
        match (element.key().as_str(), element.value().ok()?) {
            ("zip", RawBsonRef::Int32(number)) => zip = Some(number.into()),
            ("zip", RawBsonRef::Int64(number)) => zip = Some(number),
            ("zip", RawBsonRef::Null) => {}
            _ => return None,
        }
    }
    Some(zip)
}

/// A decimal128 with two digits behind the point in hundredths: the coefficient below, the exponent above it.
#[inline]
fn hundredths(number: Decimal128) -> Option<i128> {
    let bits = u128::from_le_bytes(number.bytes());
    ((bits >> 113) & 0x3fff == 6_174).then_some(())?;
    let coefficient = i128::try_from(bits & ((1 << 113) - 1)).ok()?;
    Some(if bits >> 127 == 1 { -coefficient } else { coefficient })
}
