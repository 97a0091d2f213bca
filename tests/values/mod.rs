//! Value formats against PostgreSQL itself: the same text goes to the server and to our readers, and what comes out of
//! both, as text and as binary, must be the same bytes; what the server refuses, we refuse with its code and words.

mod generate;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use bytes::BytesMut;
use datafusion::scalar::ScalarValue;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Client, NoTls};
use tributary::format::decode::parameter;
use tributary::format::{ByteaOutput, DateOrder, DateStyle, DisplaySettings, Format, IntervalStyle, TimeZone, zone};
use tributary::pgtype::PgType;
use tributary::session::output::OutputColumn;
use tributary::wire::encode::RowEncoder;

use crate::support;

/// The bytes of a value as the server sent them.
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

async fn connect() -> Client {
    let endpoint = support::postgres().await;
    let mut config = tokio_postgres::Config::new();
    config.host(&endpoint.host).port(endpoint.port).user(&endpoint.user).password(endpoint.password.expose());
    config.dbname(&endpoint.database);
    let (client, connection) = config.connect(NoTls).await.unwrap();
    drive(connection);
    client
}

/// Polls the connection for as long as the test lives.
#[expect(clippy::disallowed_methods, reason = "a test's client connection has no session to belong to")]
fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static) {
    tokio::spawn(async move {
        let _ended = connection.await;
    });
}

/// Our text and binary forms of each scalar.
fn encode(values: &[ScalarValue], pg_type: PgType, format: Format, display: &DisplaySettings) -> Vec<Option<Vec<u8>>> {
    let array = ScalarValue::iter_to_array(values.iter().cloned()).unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("v", array.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(schema.clone(), vec![array]).unwrap();
    let column = OutputColumn { name: "v".to_owned(), pg_type, table_oid: 0, column_number: 0 };
    let mut out = BytesMut::new();
    RowEncoder::new(&[column], &schema, &[format], display).unwrap().encode(&batch, &mut out).unwrap();
    let mut rest = out.as_ref();
    let mut fields = Vec::new();
    while let [b'D', tail @ ..] = rest {
        let length = usize::try_from(i32::from_be_bytes(tail[..4].try_into().unwrap())).unwrap();
        let size = i32::from_be_bytes(tail[6..10].try_into().unwrap());
        fields.push((size >= 0).then(|| tail[10..length].to_vec()));
        rest = &tail[length..];
    }
    fields
}

/// Sends all `inputs` to the server and through our readers and writers, and compares.
async fn compare(client: &Client, sql_type: &str, pg_type: PgType, display: &DisplaySettings, inputs: &[String]) {
    let query =
        format!("SELECT concat(v::{sql_type}), v::{sql_type} FROM unnest($1::text[]) WITH ORDINALITY AS u(v, n) ORDER BY n");
    let rows = client.query(&query, &[&inputs]).await.unwrap_or_else(|error| panic!("{sql_type}: {error:?}"));
    let read = |text: &String| {
        parameter(pg_type, Format::Text, Some(text.as_bytes()), display)
            .unwrap_or_else(|error| panic!("{sql_type} {text}: {error}"))
    };
    let values: Vec<ScalarValue> = inputs.iter().map(read).collect();
    let texts = encode(&values, pg_type, Format::Text, display);
    let binaries = encode(&values, pg_type, Format::Binary, display);
    assert_eq!(rows.len(), inputs.len());
    for ((row, input), (value, (text, binary))) in rows.iter().zip(inputs).zip(values.iter().zip(texts.iter().zip(&binaries))) {
        let expected_text: String = row.get(0);
        let expected_binary: Raw = row.get(1);
        let text = String::from_utf8(text.clone().unwrap()).unwrap();
        assert_eq!(text, expected_text, "{sql_type} from {input:?} under {display:?}");
        assert_eq!(binary.as_ref(), Some(&expected_binary.0), "{sql_type} from {input:?} in binary");
        let back = parameter(pg_type, Format::Binary, Some(&expected_binary.0), display).unwrap();
        assert_eq!(encode(&[back], pg_type, Format::Binary, display)[0], *binary, "{sql_type} {input:?} read from binary");
        // Other styles than ISO drop what an abbreviation cannot say, and some cannot be read under their own order of day
        // and month, by the server either; so only ISO text must read back as the same value.
        if display.date_style == DateStyle::Iso {
            let again = parameter(pg_type, Format::Text, Some(text.as_bytes()), display).unwrap();
            assert_eq!(again, *value, "{sql_type} {text:?} read back");
        }
    }
}

fn type_of(oid: u32) -> PgType {
    PgType::with_typmod(oid, -1)
}

#[tokio::test]
async fn every_scalar_type_matches_postgres() {
    let client = connect().await;
    client.batch_execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'").await.unwrap();
    let mut random = generate::Random::new(20_260_101);
    let display = DisplaySettings::default();
    for (sql_type, pg_type, make) in generate::TYPES {
        let inputs: Vec<String> = (0..2_000).map(|_| make(&mut random)).collect();
        compare(&client, sql_type, *pg_type, &display, &inputs).await;
    }
}

#[tokio::test]
async fn arrays_match_postgres() {
    let client = connect().await;
    client.batch_execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'").await.unwrap();
    let mut random = generate::Random::new(7);
    for (sql_type, pg_type, make) in generate::TYPES {
        let Some(array_type) = pg_type.array() else { continue };
        let inputs: Vec<String> = (0..200).map(|_| generate::array(&mut random, *make)).collect();
        compare(&client, &format!("{sql_type}[]"), array_type, &DisplaySettings::default(), &inputs).await;
    }
}

#[tokio::test]
async fn display_settings_match_postgres() {
    let client = connect().await;
    let mut random = generate::Random::new(99);
    let zones = ["UTC", "America/New_York", "Asia/Kolkata", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"];
    let styles =
        [(DateStyle::Iso, "ISO"), (DateStyle::Sql, "SQL"), (DateStyle::Postgres, "Postgres"), (DateStyle::German, "German")];
    let orders = [(DateOrder::Mdy, "MDY"), (DateOrder::Dmy, "DMY"), (DateOrder::Ymd, "YMD")];
    for (place, zone_name) in zones.into_iter().enumerate() {
        for (date_style, style_name) in styles {
            let (date_order, order_name) = orders[(place + style_name.len()) % 3];
            let settings = format!("SET TimeZone = '{zone_name}'; SET DateStyle = '{style_name}, {order_name}'");
            client.batch_execute(&settings).await.unwrap();
            let time_zone = zone::named(zone_name).unwrap();
            let display = DisplaySettings { time_zone, date_style, date_order, ..DisplaySettings::default() };
            for (sql_type, oid) in [("date", 1082), ("timestamp", 1114), ("timestamptz", 1184)] {
                let inputs: Vec<String> = (0..300).map(|_| generate::local_timestamp(&mut random)).collect();
                compare(&client, sql_type, type_of(oid), &display, &inputs).await;
            }
        }
    }
}

#[tokio::test]
async fn intervals_floats_and_bytes_match_under_every_style() {
    let client = connect().await;
    let mut random = generate::Random::new(5);
    for (interval_style, name) in [
        (IntervalStyle::Postgres, "postgres"),
        (IntervalStyle::PostgresVerbose, "postgres_verbose"),
        (IntervalStyle::SqlStandard, "sql_standard"),
        (IntervalStyle::Iso8601, "iso_8601"),
    ] {
        client.batch_execute(&format!("SET IntervalStyle = '{name}'")).await.unwrap();
        let display = DisplaySettings { interval_style, ..DisplaySettings::default() };
        let inputs: Vec<String> = (0..2_000).map(|_| generate::interval(&mut random)).collect();
        compare(&client, "interval", PgType::INTERVAL, &display, &inputs).await;
    }
    client.batch_execute("SET bytea_output = 'escape'").await.unwrap();
    let display = DisplaySettings { bytea_output: ByteaOutput::Escape, ..DisplaySettings::default() };
    let inputs: Vec<String> = (0..500).map(|_| generate::bytea(&mut random)).collect();
    compare(&client, "bytea", PgType::BYTEA, &display, &inputs).await;
    for digits in [-15i8, -3, 0, 3] {
        client.batch_execute(&format!("SET extra_float_digits = {digits}")).await.unwrap();
        let texts: Vec<String> = (0..2_000).map(|_| generate::float8(&mut random)).collect();
        let query = "SELECT concat(v::float8) FROM unnest($1::text[]) WITH ORDINALITY AS u(v, n) ORDER BY n";
        let rows = client.query(query, &[&texts]).await.unwrap();
        for (row, text) in rows.iter().zip(&texts) {
            let mut out = Vec::new();
            tributary::format::float::write_f64(text.parse().unwrap(), digits, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), row.get::<_, String>(0), "{text} with {digits}");
        }
    }
}

#[tokio::test]
async fn refusals_match_postgres() {
    let client = connect().await;
    client.batch_execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'").await.unwrap();
    let mut differences = Vec::new();
    for (sql_type, oid, inputs) in generate::CURIOUS {
        for input in *inputs {
            let theirs = client.query_one(&format!("SELECT concat($1::text::{sql_type})"), &[input]).await;
            let ours = parameter(type_of(*oid), Format::Text, Some(input.as_bytes()), &DisplaySettings::default());
            let theirs = match &theirs {
                Ok(row) => row.get::<_, String>(0),
                Err(error) => {
                    let error = error.as_db_error().unwrap();
                    format!("{} {}", error.code().code(), error.message())
                }
            };
            let ours = match ours {
                Ok(value) => {
                    let field = encode(&[value], type_of(*oid), Format::Text, &DisplaySettings::default()).remove(0);
                    String::from_utf8(field.unwrap()).unwrap()
                }
                Err(error) => format!("{} {}", error.sqlstate, error.message),
            };
            if ours != theirs {
                differences.push(format!("{sql_type} {input:?}\n  theirs {theirs}\n  ours   {ours}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn fixed_zones_are_shown_as_offsets() {
    let display = DisplaySettings { time_zone: TimeZone::Fixed(-8 * 3600), ..DisplaySettings::default() };
    let value = parameter(PgType::TIMESTAMPTZ, Format::Text, Some(b"2024-01-01 00:00"), &display).unwrap();
    assert_eq!(encode(&[value], PgType::TIMESTAMPTZ, Format::Text, &display)[0].as_deref(), Some(&b"2024-01-01 00:00:00-08"[..]));
}
