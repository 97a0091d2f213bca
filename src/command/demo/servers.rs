//! `demo --servers`: the same rows in a private PostgreSQL, MariaDB and MongoDB, which end with the program.

use std::io::Write;
use std::time::Instant;

use mongodb::Client;
use mongodb::bson::{Bson, DateTime, Document};
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use serde_json::Value;
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::databases::{self, Content, failed};
use super::rows;
use crate::command::CommandError;
use crate::sandbox::{Durability, Endpoint, MariaDb, Mongo, Postgres, SandboxError, Setup};

/// Documents of one insert.
const DOCUMENTS_MAX: usize = 500;

/// The running servers. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Servers {
    hydro: Postgres,
    crew: MariaDb,
    field: Mongo,
}

impl Servers {
    /// Starts and fills them.
    ///
    /// # Errors
    /// Every server that is missing with the way to install it, or what filling one failed with.
    pub(super) async fn start(output: &mut dyn Write) -> Result<Self, CommandError> {
        writeln!(output, "Starting PostgreSQL, MariaDB and MongoDB …")?;
        output.flush()?;
        let started = Instant::now();
        // What is lost in a crash of the machine is built anew at the next start.
        let setup = Setup { durability: Durability::Forgone, ..Setup::default() };
        let servers = tokio::join!(Postgres::start_with(&setup), MariaDb::start_with(&setup), Mongo::start_with(&setup));
        let servers = match servers {
            (Ok(hydro), Ok(crew), Ok(field)) => Self { hydro, crew, field },
            (hydro, crew, field) => return Err(missing([hydro.err(), crew.err(), field.err()])),
        };
        writeln!(output, "  all three answer ({} ms)", started.elapsed().as_millis())?;
        output.flush()?;
        servers.fill(output).await?;
        Ok(servers)
    }

    async fn fill(&self, output: &mut dyn Write) -> Result<(), CommandError> {
        let content = databases::hydro();
        fill_postgres(&self.hydro, &content).await.map_err(|error| failed(&content, &error))?;
        writeln!(output, "  {:8} {} in PostgreSQL", content.store, content.described)?;
        let content = databases::crew_for_mariadb();
        fill_mariadb(&self.crew, &content).await.map_err(|error| failed(&content, &error))?;
        writeln!(output, "  {:8} {} in MariaDB", content.store, content.described)?;
        let content = Content { store: "field", statements: Vec::new(), described: String::new() };
        let count = fill_mongodb(&self.field).await.map_err(|error| failed(&content, &error))?;
        writeln!(output, "  {:8} {count} reports in MongoDB", content.store)?;
        Ok(())
    }

    /// Where the server of each store is.
    pub(super) fn endpoints(&self) -> [(&'static str, &Endpoint); 3] {
        [("hydro", &*self.hydro), ("crew", &*self.crew), ("field", &*self.field)]
    }
}

fn missing(errors: [Option<SandboxError>; 3]) -> CommandError {
    let told: Vec<String> = errors.into_iter().flatten().map(|error| format!("  {error}")).collect();
    let rest = "without --servers the demo needs no server at all";
    CommandError::Refused(format!("the demo's servers cannot be started ({rest}):\n{}", told.join("\n")))
}

async fn fill_postgres(endpoint: &Endpoint, content: &Content) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(&endpoint.postgres_options()).await?;
    let mut transaction = connection.begin().await?;
    for statement in &content.statements {
        transaction.execute(AssertSqlSafe(statement.as_str())).await?;
    }
    transaction.commit().await?;
    connection.execute("ANALYZE").await?;
    connection.close().await
}

async fn fill_mariadb(endpoint: &Endpoint, content: &Content) -> Result<(), sqlx::Error> {
    let mut connection = MySqlConnection::connect_with(&endpoint.mysql_options()).await?;
    for statement in &content.statements {
        connection.execute(AssertSqlSafe(statement.as_str())).await?;
    }
    connection.close().await
}

async fn fill_mongodb(endpoint: &Endpoint) -> Result<usize, mongodb::error::Error> {
    let credential = Credential::builder()
        .username(endpoint.user.clone())
        .password(endpoint.password.expose().to_owned())
        .source("admin".to_owned())
        .build();
    let address = ServerAddress::Tcp { host: endpoint.host.clone(), port: Some(endpoint.port) };
    let options = ClientOptions::builder().hosts(vec![address]).direct_connection(true).credential(credential).build();
    let client = Client::with_options(options)?;
    let reports = client.database(&endpoint.database).collection::<Document>("reports");
    let documents: Vec<Document> = rows::reports().filter_map(document).collect();
    for some in documents.chunks(DOCUMENTS_MAX) {
        reports.insert_many(some).await?;
    }
    client.shutdown().await;
    Ok(documents.len())
}

/// A line of the reports as MongoDB would hold it: the moment as a date, not as a text.
fn document(line: &str) -> Option<Document> {
    let value: Value = serde_json::from_str(line).ok()?;
    let mut document: Document = value.as_object()?.iter().map(|(name, value)| (name.clone(), bson(value))).collect();
    let at = DateTime::parse_rfc3339_str(document.get_str("at").ok()?).ok()?;
    document.insert("at", at);
    Some(document)
}

fn bson(value: &Value) -> Bson {
    match value {
        Value::Null => Bson::Null,
        Value::Bool(flag) => Bson::Boolean(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Bson::Int64(whole),
            None => number.as_f64().map_or(Bson::Null, Bson::Double),
        },
        Value::String(text) => Bson::String(text.clone()),
        Value::Array(items) => Bson::Array(items.iter().map(bson).collect()),
        Value::Object(fields) => Bson::Document(fields.iter().map(|(name, value)| (name.clone(), bson(value))).collect()),
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn every_report_becomes_a_document_with_a_moment() {
        let made = document(r#"{"station": 3, "at": "2023-01-07T11:00:00Z", "weather": {"air_c": -2.0}, "species": ["otter"]}"#);
        let at = DateTime::from_millis(1_673_089_200_000);
        assert_eq!(made, Some(doc! { "station": 3_i64, "at": at, "weather": { "air_c": -2.0 }, "species": ["otter"] }));
        assert_eq!(rows::reports().filter_map(document).count(), rows::reports().count());
    }
}
