//! One statement asked of one server: extended protocol with binary results, and simple protocol with text.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, TryStreamExt};
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tributary::task::OwnedTask;

/// The longest wait for one answer.
const DEADLINE: Duration = Duration::from_secs(20);

/// OIDs from here on are given out by PostgreSQL to what users create ("System Catalog Initial Data", manual of version 15).
const FIRST_USER_OID: u32 = 16384;

/// What a server said.
#[derive(Clone, PartialEq)]
pub enum Answer {
    /// Names and types of the columns, and the rows. The simple protocol of the driver does not tell types: they are 0.
    Rows { columns: Vec<(String, u32)>, rows: Vec<Vec<Option<Vec<u8>>>> },
    /// SQLSTATE and message.
    Error { state: String, message: String },
}

/// A server and a connection to it, made anew when it breaks.
pub struct Asked {
    config: Config,
    setup: String,
    zone: &'static str,
    client: Option<Client>,
    connection: Option<OwnedTask<()>>,
}

impl Asked {
    /// `setup` runs on every new connection.
    pub fn new(config: Config, setup: impl Into<String>) -> Self {
        Self { config, setup: setup.into(), zone: "", client: None, connection: None }
    }

    /// The answer in binary.
    pub async fn extended(&mut self, sql: &str, parameters: &[Option<String>]) -> Answer {
        let client = self.client().await;
        let answer = tokio::time::timeout(DEADLINE, extended(client, sql, parameters, false)).await;
        self.kept(answer).0
    }

    /// The answer in binary to parameters that are sent in binary too, where their type has a simple form, and how many rows its tag
    /// counts.
    pub async fn counted(&mut self, sql: &str, parameters: &[Option<String>], binary: bool) -> (Answer, u64) {
        let client = self.client().await;
        let answer = tokio::time::timeout(DEADLINE, extended(client, sql, parameters, binary)).await;
        self.kept(answer)
    }

    /// The answer in text, and how many rows its tag counts.
    pub async fn counted_in_text(&mut self, sql: &str) -> (Answer, u64) {
        let client = self.client().await;
        let answer = tokio::time::timeout(DEADLINE, simple(client, sql)).await;
        self.kept(answer)
    }

    /// The answer to a COPY whose rows are sent in pieces of so many bytes, and how many rows its tag counts.
    pub async fn copied(&mut self, sql: &str, rows: &str, piece: usize) -> (Answer, u64) {
        let client = self.client().await;
        let answer = tokio::time::timeout(DEADLINE, copied(client, sql, rows.as_bytes(), piece)).await;
        let is_lost = matches!(answer, Ok(Err(Copying::NotBegun(_))));
        let answer = self.kept(answer.map(|answer| answer.map_err(Copying::into_error)));
        if is_lost {
            // The driver ends what never began, and is then an answer ahead of the server.
            self.client = None;
        }
        answer
    }

    /// The answer in binary of a session in a time zone.
    pub async fn extended_in(&mut self, zone: &'static str, sql: &str) -> Answer {
        let known = self.zone == zone;
        let client = self.client().await;
        if !known {
            client.batch_execute(&format!("SET TimeZone = '{zone}'")).await.unwrap();
        }
        self.zone = zone;
        self.extended(sql, &[]).await
    }

    /// What a setting is; `None` where it does not exist.
    pub async fn setting(&mut self, name: &str) -> Option<String> {
        let row = self.client().await.query_one(&format!("SHOW {name}"), &[]).await.ok()?;
        row.get(0)
    }

    /// The answer in text.
    pub async fn simple(&mut self, sql: &str) -> Answer {
        let client = self.client().await;
        let answer = tokio::time::timeout(DEADLINE, simple(client, sql)).await;
        self.kept(answer).0
    }

    async fn client(&mut self) -> &Client {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            let (client, connection) = self.config.connect(NoTls).await.unwrap();
            self.connection = Some(OwnedTask::spawn(async move { drop(connection.await) }));
            client.batch_execute(&self.setup).await.unwrap();
            self.client = Some(client);
            self.zone = "";
        }
        self.client.as_ref().unwrap()
    }

    fn kept(&mut self, answer: Result<Asking, tokio::time::error::Elapsed>) -> (Answer, u64) {
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => (failed(&error), 0),
            Err(_) => {
                self.client = None;
                (Answer::Error { state: "none".to_owned(), message: format!("no answer within {DEADLINE:?}") }, 0)
            }
        }
    }
}

/// What the driver gives: the answer, and how many rows its tag counts.
type Asking = Result<(Answer, u64), tokio_postgres::Error>;

async fn extended(client: &Client, sql: &str, parameters: &[Option<String>], binary: bool) -> Asking {
    let statement = client.prepare(sql).await?;
    let columns = statement.columns().iter().map(|column| (column.name().to_owned(), shown_type(column.type_()))).collect();
    let given: Vec<Written<'_>> = parameters.iter().map(|value| Written { text: value.as_deref(), binary }).collect();
    let mut stream = std::pin::pin!(client.query_raw(&statement, given).await?);
    let found: Vec<tokio_postgres::Row> = stream.as_mut().try_collect().await?;
    let count = stream.rows_affected().unwrap_or_default();
    let value = |row: &tokio_postgres::Row, index| row.get::<_, Option<Raw>>(index).map(|raw| raw.0);
    let rows = found.iter().map(|row| (0..row.len()).map(|index| value(row, index)).collect()).collect();
    Ok((Answer::Rows { columns, rows }, count))
}

/// When a COPY failed.
enum Copying {
    /// Before the server asked for rows.
    NotBegun(tokio_postgres::Error),
    /// Afterwards.
    Begun(tokio_postgres::Error),
}

impl Copying {
    fn into_error(self) -> tokio_postgres::Error {
        match self {
            Self::NotBegun(error) | Self::Begun(error) => error,
        }
    }
}

async fn copied(client: &Client, sql: &str, rows: &[u8], piece: usize) -> Result<(Answer, u64), Copying> {
    let mut sink = std::pin::pin!(client.copy_in::<str, Bytes>(sql).await.map_err(Copying::NotBegun)?);
    for part in rows.chunks(piece) {
        sink.send(Bytes::copy_from_slice(part)).await.map_err(Copying::Begun)?;
    }
    let count = sink.finish().await.map_err(Copying::Begun)?;
    Ok((Answer::Rows { columns: Vec::new(), rows: Vec::new() }, count))
}

/// Types that users create in PostgreSQL exist in Tributary as what their values are: enum types as text.
fn shown_type(found: &Type) -> u32 {
    if found.oid() >= FIRST_USER_OID { Type::TEXT.oid() } else { found.oid() }
}

async fn simple(client: &Client, sql: &str) -> Asking {
    let (mut columns, mut rows, mut count) = (Vec::new(), Vec::new(), 0);
    for message in client.simple_query(sql).await? {
        match message {
            SimpleQueryMessage::RowDescription(found) => columns = found.iter().map(|c| (c.name().to_owned(), 0)).collect(),
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|index| row.get(index).map(|text| text.as_bytes().to_vec())).collect());
            }
            SimpleQueryMessage::CommandComplete(found) => count = found,
            _ => {}
        }
    }
    Ok((Answer::Rows { columns, rows }, count))
}

fn failed(error: &tokio_postgres::Error) -> Answer {
    match error.as_db_error() {
        Some(told) => Answer::Error { state: told.code().code().to_owned(), message: told.message().to_owned() },
        None => Answer::Error { state: "none".to_owned(), message: format!("{error:?}") },
    }
}

/// A value as it came.
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A parameter sent as text whatever its type, or in binary.
#[derive(Debug)]
struct Written<'a> {
    text: Option<&'a str>,
    binary: bool,
}

impl Written<'_> {
    /// The value in binary; `None` where it goes as text.
    fn encoded(&self, known: &Type) -> Option<Vec<u8>> {
        let text = self.text.filter(|_| self.binary)?;
        Some(match *known {
            Type::INT2 => text.parse::<i16>().ok()?.to_be_bytes().to_vec(),
            Type::INT4 => text.parse::<i32>().ok()?.to_be_bytes().to_vec(),
            Type::INT8 => text.parse::<i64>().ok()?.to_be_bytes().to_vec(),
            Type::FLOAT8 => text.parse::<f64>().ok()?.to_be_bytes().to_vec(),
            Type::BOOL => vec![u8::from(text.parse::<bool>().ok()?)],
            Type::UUID => u128::from_str_radix(&text.replace('-', ""), 16).ok()?.to_be_bytes().to_vec(),
            Type::BYTEA => text.starts_with("\\x").then(|| super::set::bytes(text))?,
            Type::TEXT | Type::VARCHAR => text.as_bytes().to_vec(),
            _ => return None,
        })
    }
}

impl ToSql for Written<'_> {
    fn to_sql(&self, known: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = self.text else { return Ok(IsNull::Yes) };
        match self.encoded(known) {
            Some(bytes) => out.extend_from_slice(&bytes),
            None => out.extend_from_slice(text.as_bytes()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, known: &Type) -> Format {
        if self.encoded(known).is_some() { Format::Binary } else { Format::Text }
    }

    fn to_sql_checked(&self, known: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(known, out)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error { state, message } => write!(f, "error {state}: {message}"),
            Self::Rows { columns, rows } => {
                let names: Vec<String> = columns.iter().map(|(name, oid)| format!("{name}:{oid}")).collect();
                write!(f, "{} row(s) of [{}]", rows.len(), names.join(", "))
            }
        }
    }
}
