//! JSON columns that the store file declares as documents: sampled by discovery, and put in the table as their fields.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Row;

use super::super::document::Learning;
use super::super::document::json_text::Repeated;
use super::super::error::StoreError;
use super::super::relational::Dialect;
use super::super::relational::documents::{
    Declared, Findings, Sampler, TableOptions, declared_of, place, refusal, replace, tell_missing,
};
use super::super::schema::{Column, StoreSchema, Table};
use super::pool::Pool;
use super::types;
use crate::pgtype::PgType;

/// Longest time in the server for one sample; a view may compute anything.
const SAMPLE_TIME: Duration = Duration::from_secs(10);

/// PostgreSQL's JSON operators find the last of several fields with one name, which `jsonb` alone keeps.
pub(super) const REPEATED: Repeated = Repeated::Last;

/// Expands every declared document of `schema`, by what is known of it already where there is nothing to sample with.
///
/// # Errors
/// The store cannot be reached; what it answers about one table is a refusal.
pub(super) async fn expand(
    schema: &mut StoreSchema,
    control: Option<&Pool>,
    options: &TableOptions,
    learning: &mut Learning,
) -> Result<(), StoreError> {
    let namespace = schema.default_namespace.clone();
    let mut found = Vec::new();
    for table in &mut schema.tables {
        let Some(declared) = declared_of(options, &namespace, &table.id) else { continue };
        found.push(expand_one(Arc::make_mut(table), declared, control, learning).await?);
    }
    found.into_iter().for_each(|findings| findings.add_to(schema));
    tell_missing(options, schema);
    Ok(())
}

async fn expand_one(
    table: &mut Table,
    declared: Declared<'_>,
    control: Option<&Pool>,
    learning: &mut Learning,
) -> Result<Findings, StoreError> {
    let place = match place(table, declared) {
        Ok(place) => place,
        Err(unmet) => return Ok(unmet),
    };
    let Some(from) = table.columns.get(place).cloned() else { return Ok(Findings::default()) };
    if ![PgType::JSON, PgType::JSONB].contains(&from.pg_type()) {
        return Ok(declared.unmet("is not of type json or jsonb"));
    }
    let (sampler, problem) = match sample(table, declared.column, declared.options.sample, control).await {
        Ok(sampler) => (sampler, None),
        Err(StoreError::Remote { message, .. }) => (Sampler::new(REPEATED), Some(format!("cannot be sampled: {message}"))),
        Err(other) => return Err(other),
    };
    let mut found = replace(table, place, sampler, declared, learning);
    found.refused.extend(problem.map(|reason| refusal(&table.id, Some(declared.column), "document", &reason)));
    mark(table, &from);
    Ok(found)
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
async fn sample(table: &Table, column: &str, size: usize, control: Option<&Pool>) -> Result<Sampler, StoreError> {
    let mut sampler = Sampler::new(REPEATED);
    let Some(control) = control.filter(|_| size > 0) else { return Ok(sampler) };
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
