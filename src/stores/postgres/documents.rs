//! JSON columns that the store file declares as documents: sampled by discovery, and put in the table as their fields.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Row;

use super::super::document::json_text::Repeated;
use super::super::document::{DocumentOptions, Learning};
use super::super::error::StoreError;
use super::super::relational::Dialect;
use super::super::relational::documents::{Sampler, TableOptions, options_of, place, refusal, refuse_missing, replace};
use super::super::schema::{Column, Refused, StoreSchema, Table, TableId};
use super::pool::Pool;
use super::types;
use crate::pgtype::PgType;

/// Longest time in the server for one sample; a view may compute anything.
const SAMPLE_TIME: Duration = Duration::from_secs(10);

/// PostgreSQL's JSON operators find the last of several fields with one name, which `jsonb` alone keeps.
pub(super) const REPEATED: Repeated = Repeated::Last;

/// Expands every declared document of `schema`.
///
/// # Errors
/// The store cannot be reached; what it answers about one table is a refusal.
pub(super) async fn expand(
    schema: &mut StoreSchema,
    control: &Pool,
    options: &TableOptions,
    learning: &mut Learning,
) -> Result<(), StoreError> {
    let namespace = schema.default_namespace.clone();
    for table in &mut schema.tables {
        let Some((column, options)) = options_of(options, &namespace, &table.id) else { continue };
        schema.refused.extend(expand_one(Arc::make_mut(table), column, options, control, learning).await?);
    }
    let found: Vec<TableId> = schema.tables.iter().map(|table| table.id.clone()).collect();
    refuse_missing(options, &namespace, &found, &mut schema.refused);
    Ok(())
}

async fn expand_one(
    table: &mut Table,
    column: &str,
    options: &DocumentOptions,
    control: &Pool,
    learning: &mut Learning,
) -> Result<Vec<Refused>, StoreError> {
    let refuse = |table: &Table, reason: &str| refusal(&table.id, Some(column), "document", reason);
    let place = match place(table, column) {
        Ok(place) => place,
        Err(reason) => return Ok(vec![refuse(table, reason)]),
    };
    let Some(from) = table.columns.get(place).cloned() else { return Ok(Vec::new()) };
    if ![PgType::JSON, PgType::JSONB].contains(&from.pg_type()) {
        return Ok(vec![refuse(table, "is not of type json or jsonb")]);
    }
    let (sampler, problem) = match sample(table, column, options.sample, control).await {
        Ok(sampler) => (sampler, None),
        Err(StoreError::Remote { message, .. }) => (Sampler::new(REPEATED), Some(format!("cannot be sampled: {message}"))),
        Err(other) => return Err(other),
    };
    let mut refused = replace(table, place, sampler, options, learning);
    refused.extend(problem.map(|reason| refuse(table, &reason)));
    mark(table, &from);
    Ok(refused)
}

/// Tells the new columns what the JSON column is.
fn mark(table: &mut Table, from: &Column) {
    for column in &mut table.columns {
        if super::super::relational::embedded::source(&column.field).is_some() {
            column.field = types::document_field(column.field.clone(), &from.field);
        }
    }
    table.schema = Table::arrow_schema(&table.columns);
}

/// Looks at rows of both ends where a primary key makes that cheap, because old and new documents differ more than neighbours.
async fn sample(table: &Table, column: &str, size: usize, control: &Pool) -> Result<Sampler, StoreError> {
    let mut sampler = Sampler::new(REPEATED);
    if size == 0 {
        return Ok(sampler);
    }
    let (name, column) = (Dialect::Postgres.table(&table.id), Dialect::Postgres.quote(column));
    let rows = format!("SELECT {column}::pg_catalog.text FROM {name} WHERE {column} IS NOT NULL");
    let statements = match newest_first(table) {
        Some(order) => {
            let half = size.div_ceil(2);
            format!("{rows} LIMIT {half}; {rows} ORDER BY {order} LIMIT {half}")
        }
        None => format!("{rows} LIMIT {size}"),
    };
    let limit = SAMPLE_TIME.as_millis();
    let sql = format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {limit}; {statements}; COMMIT");
    let (_lease, answers) = control.acquire_with(&sql).await?;
    for row in answers.iter().flatten() {
        let text = row.try_get::<&str, _>(0).ok();
        sampler.observe(text.map(str::as_bytes));
    }
    Ok(sampler)
}

fn newest_first(table: &Table) -> Option<String> {
    let key = table.primary_key.as_ref()?;
    let columns = key.columns.iter().map(|ordinal| table.columns.get(*ordinal));
    let parts: Option<Vec<String>> =
        columns.map(|column| Some(format!("{} DESC", Dialect::Postgres.quote(column?.name())))).collect();
    Some(parts?.join(", "))
}
