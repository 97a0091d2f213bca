//! Discovery: what the database holds, read from its catalogs in one round trip and one snapshot.
//!
//! Offered are tables, partitioned tables and their partitions, views, materialized views and foreign tables of all
//! namespaces but the system's, as far as the role may read them. Deliberately absent: temporary tables (they belong to
//! another session), sequences, system catalogs, and the tables of ours that nobody but us reads (`own.rs`).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::Field;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::super::connector::StoreName;
use super::super::document::Learning;
use super::super::error::StoreError;
use super::super::relational::documents::TableOptions;
use super::super::schema::{
    Action, Check, Collation, Column, ColumnStatistics, Division, ForeignKey, Generated, Key, Refused, StoreSchema, Table, TableId,
    TableKind,
};
use super::error;
use super::own;
use super::pool::Pool;
use super::queries::{self, Query};
use super::statistics::{self, RawStatistics};
use super::types::{self, Form, NativeType};
use super::write::Transaction;
use crate::pgtype::{PgField, PgType};

/// Domains over domains over arrays of domains …: deeper than this is taken as it is.
const TYPE_DEPTH_MAX: u8 = 32;
/// `pg_collation.oid` of `default`, which stands for the database's own.
const DEFAULT_COLLATION: i64 = 100;
/// Why a table or column is refused that the role has no right to.
const UNREADABLE: &str = "may not be read by the role of this store";

/// Reads the whole database. What is sampled of documents is added to `learning`.
///
/// # Errors
/// The store cannot be reached, or what it answered.
pub(super) async fn discover(
    store: &StoreName,
    control: &Pool,
    documents: &TableOptions,
    learning: &mut Learning,
) -> Result<StoreSchema, StoreError> {
    let (lease, answers) = control.acquire_with(&queries::discovery()).await?;
    let unreadable = |problem: sqlx::Error| error::running(store, &problem);
    let mut schema = assemble(&answers).map_err(unreadable)?;
    schema.server_version = lease.server_version();
    drop(lease);
    super::documents::expand(&mut schema, Some(control), documents, learning).await?;
    Ok(schema)
}

/// Reads the whole database as a transaction sees it. Nothing is sampled of documents: another connection may not see them, or wait for the
/// transaction.
///
/// # Errors
/// What the server answered, with which the transaction has failed.
pub(super) async fn discover_in(
    store: &StoreName,
    transaction: &Transaction,
    documents: &TableOptions,
    learning: &mut Learning,
) -> Result<StoreSchema, StoreError> {
    let (answers, version) = transaction.answers(&queries::discovery_inside()).await?;
    let mut schema = assemble(&answers).map_err(|problem| error::running(store, &problem))?;
    schema.server_version = version;
    super::documents::expand(&mut schema, None, documents, learning).await?;
    Ok(schema)
}

/// A column as the catalogs describe it.
struct RawColumn {
    number: i32,
    name: String,
    type_oid: u32,
    typmod: i32,
    not_null: bool,
    default: Option<String>,
    identity: String,
    generated: String,
    comment: Option<String>,
    native_type: String,
    collation: i64,
    readable: bool,
}

/// A row of `pg_type`.
struct RawType {
    kind: char,
    element: u32,
    base: u32,
    base_typmod: i32,
    labels: Vec<String>,
}

/// Everything read about tables, before they are put together.
struct Parts {
    types: HashMap<u32, RawType>,
    collations: HashMap<i64, Collation>,
    /// Whether the server holds text in an encoding whose bytes compare like UTF-8.
    comparable_text: bool,
    columns: HashMap<i64, Vec<RawColumn>>,
    keys: HashMap<i64, Vec<RawKey>>,
    foreign_keys: HashMap<i64, Vec<RawForeignKey>>,
    checks: HashMap<i64, Vec<RawCheck>>,
    statistics: HashMap<(i64, i32), RawStatistics>,
}

struct RawKey {
    name: String,
    primary: bool,
    unique: bool,
    numbers: Vec<i32>,
    /// Whether the index covers all rows that a scan of the table shows.
    covers_all: bool,
}

struct RawForeignKey {
    name: String,
    numbers: Vec<i32>,
    references: TableId,
    referenced_columns: Vec<String>,
    on_update: Action,
    on_delete: Action,
}

struct RawCheck {
    name: String,
    numbers: Vec<i32>,
    expression: String,
}

fn assemble(answers: &[Vec<PgRow>]) -> Result<StoreSchema, sqlx::Error> {
    let rows_of = |query: Query| answers.get(query.place()).map(Vec::as_slice).unwrap_or_default();
    let parts = Parts {
        types: read_types(rows_of(Query::Types))?,
        collations: read_collations(rows_of(Query::Database), rows_of(Query::Collations))?,
        comparable_text: rows_of(Query::Database).first().map_or(Ok(false), |row| row.try_get(2))?,
        columns: read_columns(rows_of(Query::Columns))?,
        keys: read_keys(rows_of(Query::Keys))?,
        foreign_keys: read_foreign_keys(rows_of(Query::ForeignKeys))?,
        checks: read_checks(rows_of(Query::Checks))?,
        statistics: statistics::read(rows_of(Query::Statistics))?,
    };
    let mut schema = StoreSchema { default_namespace: "public".to_owned(), ..StoreSchema::default() };
    for row in rows_of(Query::Relations) {
        add_table(&mut schema, row, &parts)?;
    }
    Ok(schema)
}

fn add_table(schema: &mut StoreSchema, row: &PgRow, parts: &Parts) -> Result<(), sqlx::Error> {
    let oid: i64 = row.try_get(0)?;
    let id = TableId { namespace: row.try_get(1)?, name: row.try_get(2)? };
    if own::is_hidden(&id) {
        return Ok(());
    }
    if let Some(reason) = unreadable(&id, row.try_get(6)?, row.try_get(7)?) {
        schema.refused.push(Refused { table: id, column: None, native_type: String::new(), reason });
        return Ok(());
    }
    let raw = parts.columns.get(&oid).map(Vec::as_slice).unwrap_or_default();
    let row_estimate = row.try_get::<Option<f64>, _>(4)?.and_then(row_estimate);
    let mut columns = Vec::with_capacity(raw.len());
    let mut ordinals = HashMap::new();
    for raw in raw {
        match make_column(raw, parts) {
            Ok(mut column) => {
                let known = parts.statistics.get(&(oid, raw.number));
                column.statistics = known.map(|known| known.of_rows(row_estimate)).unwrap_or_default();
                ordinals.insert(raw.number, columns.len());
                columns.push(column);
            }
            Err(reason) => schema.refused.push(Refused {
                table: id.clone(),
                column: Some(raw.name.clone()),
                native_type: raw.native_type.clone(),
                reason: reason.to_owned(),
            }),
        }
    }
    let mut table = Table {
        id,
        kind: relation_kind(&row.try_get::<String, _>(3)?),
        primary_key: None,
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        comment: row.try_get(5)?,
        row_estimate,
        division: row.try_get::<Option<i64>, _>(8)?.and_then(|pages| u64::try_from(pages).ok()).map(Division::Pages),
        schema: Table::arrow_schema(&columns),
        columns,
    };
    add_keys(&mut table, &ordinals, oid, parts);
    schema.tables.push(Arc::new(table));
    Ok(())
}

/// Why no column of a table may be read. Of what has just been dropped there are no rights.
fn unreadable(id: &TableId, may_select: Option<bool>, may_use_schema: Option<bool>) -> Option<String> {
    match (may_select, may_use_schema) {
        (Some(true), Some(true)) => None,
        (_, Some(false)) => Some(format!("schema \"{}\" may not be used by the role of this store", id.namespace)),
        _ => Some(UNREADABLE.to_owned()),
    }
}

fn relation_kind(word: &str) -> TableKind {
    match word {
        "v" => TableKind::View,
        "m" => TableKind::MaterializedView,
        _ => TableKind::Table,
    }
}

/// -1 stands for "never counted".
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate; the cast saturates")]
fn row_estimate(rows: f64) -> Option<u64> {
    (rows >= 0.0).then_some(rows as u64)
}

fn make_column(raw: &RawColumn, parts: &Parts) -> Result<Column, &'static str> {
    if !raw.readable {
        return Err(UNREADABLE);
    }
    let native = resolve(raw.type_oid, raw.typmod, &parts.types, TYPE_DEPTH_MAX);
    let mut field = types::map(&raw.name, &native, !raw.not_null)?;
    if !parts.comparable_text {
        field = types::without_text_comparison(field);
    }
    Ok(Column {
        collation: collation(raw, &field, parts),
        statistics: ColumnStatistics::default(),
        field,
        native_type: raw.native_type.clone(),
        // The expression of a generated column is not a default: a writer could not ask for it.
        default: raw.default.clone().filter(|_| raw.generated.is_empty()),
        generated: generated(raw),
        comment: raw.comment.clone(),
    })
}

fn generated(raw: &RawColumn) -> Generated {
    let serial = raw.default.as_deref().is_some_and(|default| default.starts_with("nextval("));
    match (raw.identity.as_str(), raw.generated.as_str()) {
        ("a", _) => Generated::Always,
        (_, generated) if !generated.is_empty() => Generated::Always,
        ("d", _) => Generated::ByDefault,
        _ if serial => Generated::ByDefault,
        _ => Generated::No,
    }
}

/// Types of extensions (`citext`) may compare their text by rules of their own; `character(n)` ignores trailing blanks, which is told by
/// the name of the type, unless its collation has rules of its own too.
fn collation(raw: &RawColumn, field: &Field, parts: &Parts) -> Collation {
    let pg_type = field.pg_type();
    let known = parts.collations.get(&raw.collation).cloned().unwrap_or_default();
    match known {
        Collation::Loose(_) => known,
        _ if pg_type.oid == PgType::BPCHAR.oid || (Form::of(field) == Form::Text && pg_type == PgType::TEXT) => {
            Collation::Loose(raw.native_type.clone())
        }
        _ => known,
    }
}

/// Follows domains to their base type and arrays to their element type.
fn resolve(oid: u32, typmod: i32, types: &HashMap<u32, RawType>, depth: u8) -> NativeType {
    // The row types of tables are left out of the query: what is not there is one of them.
    let Some(raw) = types.get(&oid) else {
        return NativeType { oid, typmod, kind: 'c', element: None, labels: Vec::new() };
    };
    if raw.kind == 'd' && depth > 0 {
        return resolve(raw.base, raw.base_typmod, types, depth - 1);
    }
    let element = (raw.element != 0 && depth > 0).then(|| Box::new(resolve(raw.element, typmod, types, depth - 1)));
    NativeType { oid, typmod, kind: raw.kind, element, labels: raw.labels.clone() }
}

fn add_keys(table: &mut Table, ordinals: &HashMap<i32, usize>, oid: i64, parts: &Parts) {
    let columns_of = |numbers: &[i32]| numbers.iter().map(|number| ordinals.get(number).copied()).collect::<Option<Vec<usize>>>();
    for raw in parts.keys.get(&oid).into_iter().flatten() {
        let Some(columns) = columns_of(&raw.numbers) else { continue };
        // Of a primary key no column is NULL; of another unique index some may be, and then rows may agree.
        let is_never_null = |ordinal: &usize| table.columns.get(*ordinal).is_some_and(|column| !column.field.is_nullable());
        let proven = raw.covers_all && (raw.primary || raw.unique && columns.iter().all(is_never_null));
        let key = Key { name: raw.name.clone(), columns, proven };
        match (raw.primary, raw.unique) {
            (true, _) => table.primary_key = Some(key),
            (false, true) => table.unique_keys.push(key),
            (false, false) => table.indexes.push(key),
        }
    }
    for raw in parts.foreign_keys.get(&oid).into_iter().flatten() {
        let Some(columns) = columns_of(&raw.numbers) else { continue };
        table.foreign_keys.push(ForeignKey {
            name: raw.name.clone(),
            columns,
            references: raw.references.clone(),
            referenced_columns: raw.referenced_columns.clone(),
            on_update: raw.on_update,
            on_delete: raw.on_delete,
        });
    }
    for raw in parts.checks.get(&oid).into_iter().flatten() {
        // A condition on a column that is not offered is not shown either.
        let Some(columns) = columns_of(&raw.numbers) else { continue };
        table.checks.push(Check { name: raw.name.clone(), expression: raw.expression.clone(), columns });
    }
}

fn read_columns(rows: &[PgRow]) -> Result<HashMap<i64, Vec<RawColumn>>, sqlx::Error> {
    let mut columns: HashMap<i64, Vec<RawColumn>> = HashMap::new();
    for row in rows {
        columns.entry(row.try_get(0)?).or_default().push(RawColumn {
            number: row.try_get(1)?,
            name: row.try_get(2)?,
            type_oid: oid(row, 3)?,
            typmod: row.try_get(4)?,
            not_null: row.try_get(5)?,
            default: row.try_get(6)?,
            identity: row.try_get(7)?,
            generated: row.try_get(8)?,
            comment: row.try_get(9)?,
            native_type: row.try_get(10)?,
            collation: row.try_get(11)?,
            readable: row.try_get::<Option<bool>, _>(12)?.unwrap_or(false),
        });
    }
    Ok(columns)
}

fn read_types(rows: &[PgRow]) -> Result<HashMap<u32, RawType>, sqlx::Error> {
    let mut types = HashMap::with_capacity(rows.len());
    for row in rows {
        let raw = RawType {
            kind: row.try_get::<String, _>(1)?.chars().next().unwrap_or('b'),
            element: oid(row, 2)?,
            base: oid(row, 3)?,
            base_typmod: row.try_get(4)?,
            labels: texts(row, 5)?,
        };
        types.insert(oid(row, 0)?, raw);
    }
    Ok(types)
}

fn read_collations(database: &[PgRow], rows: &[PgRow]) -> Result<HashMap<i64, Collation>, sqlx::Error> {
    let mut collations = HashMap::new();
    for row in database {
        let locale: String = row.try_get(0)?;
        collations.insert(DEFAULT_COLLATION, judge_collation(&locale, &row.try_get::<String, _>(1)?, &locale, true));
    }
    for row in rows {
        let name: String = row.try_get(1)?;
        let judged = judge_collation(&name, &row.try_get::<String, _>(2)?, &row.try_get::<String, _>(4)?, row.try_get(3)?);
        let oid: i64 = row.try_get(0)?;
        if oid != DEFAULT_COLLATION {
            collations.insert(oid, told_apart(judged, name));
        }
    }
    Ok(collations)
}

/// A collation that is not the database's own. Beside that one it counts, but between two others the server does not choose (42P22), also
/// where both compare bytes: so each keeps its name, by which it is seen that two meet.
fn told_apart(judged: Collation, name: String) -> Collation {
    match judged {
        Collation::Bytes => Collation::Linguistic(name),
        other @ (Collation::Linguistic(_) | Collation::Loose(_) | Collation::Native { .. }) => other,
    }
}

/// `C` and `POSIX` of libc compare bytes; all locales of the built-in provider (PostgreSQL 17) compare code points, which in
/// UTF-8 is the same.
fn judge_collation(name: &str, provider: &str, locale: &str, deterministic: bool) -> Collation {
    match (provider, locale) {
        _ if !deterministic => Collation::Loose(name.to_owned()),
        ("b", _) | ("c", "C" | "POSIX") => Collation::Bytes,
        _ => Collation::Linguistic(name.to_owned()),
    }
}

fn read_keys(rows: &[PgRow]) -> Result<HashMap<i64, Vec<RawKey>>, sqlx::Error> {
    let mut keys: HashMap<i64, Vec<RawKey>> = HashMap::new();
    for row in rows {
        keys.entry(row.try_get(0)?).or_default().push(RawKey {
            name: row.try_get(1)?,
            primary: row.try_get(2)?,
            unique: row.try_get(3)?,
            numbers: numbers(row, 4)?,
            covers_all: row.try_get(5)?,
        });
    }
    Ok(keys)
}

fn read_foreign_keys(rows: &[PgRow]) -> Result<HashMap<i64, Vec<RawForeignKey>>, sqlx::Error> {
    let mut keys: HashMap<i64, Vec<RawForeignKey>> = HashMap::new();
    for row in rows {
        keys.entry(row.try_get(0)?).or_default().push(RawForeignKey {
            name: row.try_get(1)?,
            numbers: numbers(row, 2)?,
            references: TableId { namespace: row.try_get(3)?, name: row.try_get(4)? },
            referenced_columns: texts(row, 5)?,
            on_update: Action::of_letter(row.try_get(6)?),
            on_delete: Action::of_letter(row.try_get(7)?),
        });
    }
    Ok(keys)
}

fn read_checks(rows: &[PgRow]) -> Result<HashMap<i64, Vec<RawCheck>>, sqlx::Error> {
    let mut checks: HashMap<i64, Vec<RawCheck>> = HashMap::new();
    for row in rows {
        checks.entry(row.try_get(0)?).or_default().push(RawCheck {
            name: row.try_get(1)?,
            numbers: numbers(row, 2)?,
            expression: row.try_get::<Option<String>, _>(3)?.unwrap_or_default(),
        });
    }
    Ok(checks)
}

fn oid(row: &PgRow, place: usize) -> Result<u32, sqlx::Error> {
    let oid: i64 = row.try_get(place)?;
    u32::try_from(oid).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// A JSON array of numbers; absent is empty.
fn numbers(row: &PgRow, place: usize) -> Result<Vec<i32>, sqlx::Error> {
    let text: Option<String> = row.try_get(place)?;
    serde_json::from_str(text.as_deref().unwrap_or("[]")).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// A JSON array of texts; absent is empty.
fn texts(row: &PgRow, place: usize) -> Result<Vec<String>, sqlx::Error> {
    let text: Option<String> = row.try_get(place)?;
    serde_json::from_str(text.as_deref().unwrap_or("[]")).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_byte_order_counts_as_byte_order() {
        let rows = [
            ("c", "C", true, Collation::Bytes),
            ("c", "POSIX", true, Collation::Bytes),
            ("b", "C.UTF-8", true, Collation::Bytes),
            ("c", "C.UTF-8", true, Collation::Linguistic("x".to_owned())),
            ("c", "en_US.UTF-8", true, Collation::Linguistic("x".to_owned())),
            ("i", "und", true, Collation::Linguistic("x".to_owned())),
            ("i", "und-u-ks-level2", false, Collation::Loose("x".to_owned())),
        ];
        for (provider, locale, deterministic, expected) in rows {
            assert_eq!(judge_collation("x", provider, locale, deterministic), expected, "{provider} {locale}");
        }
    }

    #[test]
    fn collations_that_compare_bytes_keep_their_names() {
        let named = |name: &str| Collation::Linguistic(name.to_owned());
        assert_eq!(told_apart(Collation::Bytes, "pg_catalog.\"C\"".to_owned()), named("pg_catalog.\"C\""));
        assert_eq!(told_apart(named("public.en"), "public.en".to_owned()), named("public.en"));
    }

    #[test]
    fn domains_are_followed_and_loops_end() {
        let raw = |kind, element, base, base_typmod| RawType { kind, element, base, base_typmod, labels: Vec::new() };
        let types = HashMap::from([
            (1, raw('d', 0, 2, -1)),
            (2, raw('d', 0, 1700, 655_366)),
            (3, raw('b', 1, 0, -1)),
            (4, raw('d', 0, 4, -1)),
            (1700, raw('b', 0, 0, -1)),
        ]);
        let numeric = NativeType { oid: 1700, typmod: 655_366, kind: 'b', element: None, labels: Vec::new() };
        assert_eq!(resolve(1, -1, &types, TYPE_DEPTH_MAX), numeric);
        let array = resolve(3, -1, &types, TYPE_DEPTH_MAX);
        assert_eq!(array.element.as_deref(), Some(&numeric));
        assert_eq!(resolve(4, -1, &types, TYPE_DEPTH_MAX).kind, 'd');
        assert_eq!(resolve(9, -1, &types, TYPE_DEPTH_MAX).kind, 'c');
    }

    #[test]
    fn estimates_below_zero_are_unknown() {
        assert_eq!([row_estimate(-1.0), row_estimate(0.0), row_estimate(12.7)], [None, Some(0), Some(12)]);
    }
}
