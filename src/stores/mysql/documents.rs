//! JSON columns that the store file declares as documents: sampled by discovery, and put in the table as their fields.

use std::sync::Arc;

use sqlx::{Decode, MySql, Row};

use super::super::document::Learning;
use super::super::document::json_text::Repeated;
use super::super::error::StoreError;
use super::super::relational::Dialect;
use super::super::relational::documents::{
    Declared, Findings, Sampler, TableOptions, declared_of, place, refusal, replace, tell_missing,
};
use super::super::schema::{StoreSchema, Table};
use super::pool::Lease;

/// Longest time in the server for one sample, in seconds; a view may compute anything.
const SAMPLE_SECONDS: u32 = 10;

/// MariaDB's JSON functions find the first of several fields with one name; MySQL keeps only one.
pub(super) const REPEATED: Repeated = Repeated::First;

/// Expands every declared document of `schema`.
///
/// # Errors
/// The store cannot be reached; what it answers about one table is a refusal.
pub(super) async fn expand(
    schema: &mut StoreSchema,
    lease: &mut Lease,
    options: &TableOptions,
    learning: &mut Learning,
) -> Result<(), StoreError> {
    let namespace = schema.default_namespace.clone();
    let mut found = Vec::new();
    for table in &mut schema.tables {
        let Some(declared) = declared_of(options, &namespace, &table.id) else { continue };
        found.push(expand_one(Arc::make_mut(table), declared, lease, learning).await?);
    }
    found.into_iter().for_each(|findings| findings.add_to(schema));
    tell_missing(options, schema);
    Ok(())
}

async fn expand_one(
    table: &mut Table,
    declared: Declared<'_>,
    lease: &mut Lease,
    learning: &mut Learning,
) -> Result<Findings, StoreError> {
    let place = match place(table, declared) {
        Ok(place) => place,
        Err(unmet) => return Ok(unmet),
    };
    // Columns that the server does not check may hold text on which its JSON functions fail.
    if table.columns.get(place).is_none_or(|found| found.native_type != "json") {
        return Ok(declared.unmet("is not declared as JSON"));
    }
    let (sampler, problem) = match sample(table, declared.column, declared.options.sample, lease).await {
        Ok(sampler) => (sampler, None),
        Err(StoreError::Remote { message, .. }) => (Sampler::new(REPEATED), Some(format!("cannot be sampled: {message}"))),
        Err(other) => return Err(other),
    };
    let mut found = replace(table, place, sampler, declared, learning);
    found.refused.extend(problem.map(|reason| refusal(&table.id, Some(declared.column), "document", &reason)));
    Ok(found)
}

/// Looks at rows of both ends where a primary key makes that cheap, because old and new documents differ more than neighbours.
async fn sample(table: &Table, column: &str, size: usize, lease: &mut Lease) -> Result<Sampler, StoreError> {
    let mut sampler = Sampler::new(REPEATED);
    let (name, column) = (Dialect::MySql.table(&table.id), Dialect::MySql.quote(column));
    let limit = match lease.session.server.is_mariadb {
        true => (format!("SET STATEMENT max_statement_time = {SAMPLE_SECONDS} FOR "), String::new()),
        false => (String::new(), format!("/*+ MAX_EXECUTION_TIME({}) */ ", SAMPLE_SECONDS * 1000)),
    };
    let rows = format!("{}SELECT {}{column} FROM {name} WHERE {column} IS NOT NULL", limit.0, limit.1);
    let half = size.div_ceil(2);
    let statements = match newest_first(table) {
        _ if size == 0 => vec![],
        Some(order) => vec![format!("{rows} LIMIT {half}"), format!("{rows} ORDER BY {order} LIMIT {half}")],
        None => vec![format!("{rows} LIMIT {size}")],
    };
    for sql in statements {
        for row in lease.rows_of(sql).await? {
            let value = row.try_get_raw(0).ok();
            sampler.observe(value.and_then(|value| <&[u8] as Decode<'_, MySql>>::decode(value).ok()));
        }
    }
    Ok(sampler)
}

fn newest_first(table: &Table) -> Option<String> {
    let key = table.primary_key.as_ref()?;
    let columns = key.columns.iter().map(|ordinal| table.columns.get(*ordinal));
    let parts: Option<Vec<String>> = columns.map(|column| Some(format!("{} DESC", Dialect::MySql.quote(column?.name())))).collect();
    Some(parts?.join(", "))
}
