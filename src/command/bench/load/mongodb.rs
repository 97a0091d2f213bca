//! MongoDB: batches of documents, whole numbers as 64-bit integers, amounts as decimals, days as moments at midnight UTC.

use mongodb::Client;
use mongodb::bson::{Bson, DateTime, Document};
use mongodb::options::{ClientOptions, Credential, IndexOptions, ServerAddress};
use mongodb::{IndexModel, bson};

use super::super::Indexes;
use super::super::made::Blocks;
use super::super::table::{Column, Kind, Table, table as table_named};
use super::{LoadError, Progress, Size};
use crate::sandbox::Endpoint;

/// The field in which an order holds its lines.
const LINES: &str = "lineitems";
const DAY_MS: i64 = 86_400_000;

/// Loads a table as a collection; with `nests`, orders hold their lines.
pub(super) async fn load(
    endpoint: &Endpoint,
    table: &'static Table,
    nests: bool,
    size: Size,
    progress: &mut Progress,
) -> Result<u64, LoadError> {
    let client = connect(endpoint)?;
    let collection = client.database(&endpoint.database).collection::<Document>(table.name);
    let mut blocks = if nests { Blocks::nested_orders(size.scale) } else { Blocks::of(table, size.scale) };
    let mut rows = 0;
    while let Some(block) = blocks.next().await {
        let documents = block.text.lines().map(|line| order(table, line)).collect::<Result<Vec<_>, _>>()?;
        collection.insert_many(documents).ordered(false).await?;
        rows += block.rows;
        progress.add(block.rows);
    }
    progress.say("keys");
    let unique = IndexOptions::builder().unique(true).build();
    collection.create_index(IndexModel::builder().keys(keys(table.primary_key)).options(unique).build()).await?;
    if size.indexes == Indexes::Foreign {
        for key in table.foreign_keys {
            collection.create_index(IndexModel::builder().keys(keys(key)).build()).await?;
        }
    }
    client.shutdown().await;
    Ok(rows)
}

fn connect(endpoint: &Endpoint) -> Result<Client, LoadError> {
    let credential = Credential::builder()
        .username(endpoint.user.clone())
        .password(endpoint.password.expose().to_owned())
        .source("admin".to_owned())
        .build();
    let address = ServerAddress::Tcp { host: endpoint.host.clone(), port: Some(endpoint.port) };
    let options = ClientOptions::builder().hosts(vec![address]).direct_connection(true).credential(credential).build();
    Ok(Client::with_options(options)?)
}

fn keys(columns: &[&str]) -> Document {
    columns.iter().map(|column| ((*column).to_owned(), Bson::Int32(1))).collect()
}

/// A line of the generator, with lines of the order behind tabs where it has some.
fn order(table: &Table, line: &str) -> Result<Document, LoadError> {
    let mut parts = line.split('\t');
    let mut made = document(table.columns, parts.next().unwrap_or_default())?;
    let Some(lineitem) = table_named("lineitem").filter(|_| line.contains('\t')) else { return Ok(made) };
    // The order's own key is not repeated in its lines.
    let columns = lineitem.columns.get(1..).unwrap_or_default();
    let lines = parts.map(|part| {
        let fields = part.split_once('|').map_or("", |(_key, fields)| fields);
        document(columns, fields).map(Bson::Document)
    });
    made.insert(LINES, lines.collect::<Result<Vec<_>, _>>()?);
    Ok(made)
}

fn document(columns: &'static [Column], line: &str) -> Result<Document, LoadError> {
    let fields = line.split('|').zip(columns).map(|(field, column)| {
        let wrong = || LoadError::Field { column: column.name, value: field.to_owned() };
        let value = value(column.kind, field).ok_or_else(wrong)?;
        Ok((column.name.to_owned(), value))
    });
    fields.collect()
}

fn value(kind: Kind, field: &str) -> Option<Bson> {
    match kind {
        Kind::Integer | Kind::Key => field.parse().ok().map(Bson::Int64),
        Kind::Decimal => {
            // Quantities come without the two digits that their column has.
            let digits = if field.contains('.') { field.to_owned() } else { format!("{field}.00") };
            digits.parse::<bson::Decimal128>().ok().map(Bson::Decimal128)
        }
        Kind::Text(_) => Some(Bson::String(field.to_owned())),
        Kind::Day => {
            let day = field.parse::<chrono::NaiveDate>().ok()?;
            let days = day.signed_duration_since(chrono::NaiveDate::default()).num_days();
            Some(Bson::DateTime(DateTime::from_millis(days * DAY_MS)))
        }
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn orders_hold_their_lines() {
        let table = table_named("orders").unwrap();
        let line =
            "7|3|O|12.50|1996-01-02|5-LOW|Clerk#1|0|a\t7|1|2|1|17|10.00|0.04|0.02|N|O|1996-03-13|1996-02-12|1970-01-02|X|Y|b";
        let made = order(table, line).unwrap();
        assert_eq!(made.get_i64("o_orderkey").unwrap(), 7);
        let inside = made.get_array(LINES).unwrap();
        let first = inside[0].as_document().unwrap();
        assert_eq!((inside.len(), first.get_i64("l_partkey").unwrap(), first.len()), (1, 1, 15));
        assert_eq!(first.get("l_quantity").unwrap().to_string(), "17.00");
        assert_eq!(first.get_datetime("l_receiptdate").unwrap().timestamp_millis(), DAY_MS);
        assert_eq!(
            order(table_named("region").unwrap(), "1|ASIA|x").unwrap(),
            doc! { "r_regionkey": 1_i64, "r_name": "ASIA", "r_comment": "x" }
        );
        assert!(order(table_named("region").unwrap(), "one|ASIA|x").is_err());
    }
}
