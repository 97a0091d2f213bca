//! Discovery: `information_schema` of every database we may see, as one [`StoreSchema`].
//!
//! Six statements, whatever the number of tables: tables, columns, indexes, foreign keys and their actions, and checks, which on
//! MariaDB also tell a `JSON` column from other `longtext`. Types are mapped in `types.rs`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use sqlx::mysql::MySqlRow;
use sqlx::{Decode, MySql, Row};

use super::super::document::Learning;
use super::super::error::StoreError;
use super::super::relational::checks::columns_in;
use super::super::schema::{
    Action, Check, Collation, Column, ColumnStatistics, ForeignKey, Generated, Key, Refused, StoreSchema, Table, TableId,
    TableKind, no_database,
};
use super::error::Place;
use super::options::Settings;
use super::own;
use super::pool::{Lease, Server};
use super::types::{self, Policy};
use crate::pgtype::PgType;

const DATABASES: &str = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA";

const TABLES: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, TABLE_ROWS, TABLE_COMMENT, ENGINE FROM information_schema.TABLES \
WHERE TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') \
AND TABLE_TYPE IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED')";

const COLUMNS: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLLATION_NAME, \
COLUMN_DEFAULT, EXTRA, COLUMN_COMMENT FROM information_schema.COLUMNS \
WHERE TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') \
ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION";

const INDEXES: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME, NON_UNIQUE, SUB_PART, INDEX_TYPE, CARDINALITY \
FROM information_schema.STATISTICS \
WHERE TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') \
ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX";

const FOREIGN_KEYS: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, \
REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE \
WHERE REFERENCED_TABLE_NAME IS NOT NULL \
AND TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') \
ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION";

/// Kept apart from the foreign keys: joins of these tables cost a look at every table for every row.
const ACTIONS: &str = "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, UPDATE_RULE, DELETE_RULE \
FROM information_schema.REFERENTIAL_CONSTRAINTS \
WHERE CONSTRAINT_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')";

const CHECKS: &str = "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, CHECK_CLAUSE \
FROM information_schema.CHECK_CONSTRAINTS \
WHERE CONSTRAINT_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') \
ORDER BY CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME";

/// MySQL names the table of a check only among all constraints. The names of its checks are unique in a database.
const MYSQL_CHECKS: &str = "SELECT t.TABLE_SCHEMA, t.TABLE_NAME, c.CONSTRAINT_NAME, c.CHECK_CLAUSE \
FROM information_schema.CHECK_CONSTRAINTS AS c JOIN information_schema.TABLE_CONSTRAINTS AS t \
ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME AND t.CONSTRAINT_TYPE = 'CHECK' \
ORDER BY t.TABLE_SCHEMA, t.TABLE_NAME, c.CONSTRAINT_NAME";

/// What a server can be asked about checks: MySQL has them since 8.0.16.
fn checks_query(server: &Server) -> Option<&'static str> {
    if server.is_mariadb {
        return Some(CHECKS);
    }
    (server.numbers() >= [8, 0, 16]).then_some(MYSQL_CHECKS)
}

/// What discovery found.
pub(super) struct Discovered {
    /// The tables.
    pub(super) schema: StoreSchema,
    /// The tables that are kept by another engine than InnoDB.
    pub(super) other_engines: HashSet<TableId>,
}

/// Reads everything with one connection. What is sampled of documents is added to `learning`.
///
/// # Errors
/// What the server answered.
pub(super) async fn discover(
    lease: &mut Lease,
    place: Place<'_>,
    settings: &Settings,
    learning: &mut Learning,
) -> Result<Discovered, StoreError> {
    let policy = Policy::from(settings);
    let server = Arc::clone(&lease.session.server);
    let databases = lease.rows(DATABASES).await?.iter().map(|row| get::<String>(row, 0)).collect::<Result<Vec<_>, _>>();
    let databases = databases.map_err(|error| place.translate(&error))?;
    let rows = Rows {
        tables: lease.rows(TABLES).await?,
        columns: lease.rows(COLUMNS).await?,
        indexes: lease.rows(INDEXES).await?,
        foreign_keys: lease.rows(FOREIGN_KEYS).await?,
        actions: lease.rows(ACTIONS).await?,
        checks: match checks_query(&server) {
            Some(query) => lease.rows(query).await?,
            None => Vec::new(),
        },
    };
    let other_engines = rows.other_engines().map_err(|error| place.translate(&error))?;
    let found = rows.read(server.is_mariadb).map_err(|error| place.translate(&error))?;
    let mut schema = StoreSchema {
        server_version: server.version.clone(),
        default_namespace: settings.database.clone(),
        tables: Vec::with_capacity(found.tables.len()),
        // Sessions select no database, so that nothing fails where the one of the store file is missing.
        unmet: match databases.contains(&settings.database) {
            true => Vec::new(),
            false => vec![no_database("database", &settings.database, &databases)],
        },
        ..StoreSchema::default()
    };
    for (id, described) in found.tables {
        if own::is_hidden(&settings.database, &id) {
            continue;
        }
        schema.tables.extend(described.into_table(id, policy, &mut schema.refused).map(Arc::new));
    }
    super::documents::expand(&mut schema, lease, &settings.documents, learning).await?;
    Ok(Discovered { schema, other_engines })
}

/// The answers, before they are sorted out.
struct Rows {
    tables: Vec<MySqlRow>,
    columns: Vec<MySqlRow>,
    indexes: Vec<MySqlRow>,
    foreign_keys: Vec<MySqlRow>,
    actions: Vec<MySqlRow>,
    checks: Vec<MySqlRow>,
}

fn get<'r, T: Decode<'r, MySql>>(row: &'r MySqlRow, index: usize) -> Result<T, sqlx::Error> {
    // Unchecked, because servers announce these columns as text or as bytes depending on their version.
    row.try_get_unchecked(index)
}

fn table_id(row: &MySqlRow) -> Result<TableId, sqlx::Error> {
    Ok(TableId { namespace: get(row, 0)?, name: get(row, 1)? })
}

impl Rows {
    /// Views and broken tables name no engine.
    fn other_engines(&self) -> Result<HashSet<TableId>, sqlx::Error> {
        let mut others = HashSet::new();
        for row in &self.tables {
            if get::<Option<String>>(row, 5)?.is_some_and(|engine| !engine.eq_ignore_ascii_case("InnoDB")) {
                others.insert(table_id(row)?);
            }
        }
        Ok(others)
    }

    fn read(self, is_mariadb: bool) -> Result<Found, sqlx::Error> {
        let checks: Vec<(TableId, DescribedCheck)> =
            self.checks.iter().map(|row| Ok((table_id(row)?, DescribedCheck::of(row)?))).collect::<Result<_, sqlx::Error>>()?;
        let all: HashSet<(&TableId, &str)> = checks.iter().map(|(id, check)| (id, check.clause.as_str())).collect();
        let mut found = Found { tables: BTreeMap::new() };
        for row in &self.tables {
            found.tables.insert(table_id(row)?, Described::of(row)?);
        }
        for row in &self.columns {
            if let Some((id, table)) = found.entry(row)? {
                let mut column = DescribedColumn::of(row, is_mariadb)?;
                let json = json_checks(&column.name).into_iter().find(|check| all.contains(&(&id, check.as_str())));
                if let Some(check) = json.filter(|_| column.word == "longtext") {
                    column.native_type = "json".to_owned();
                    table.json_checks.push(check);
                }
                table.columns.push(column);
            }
        }
        for row in &self.indexes {
            if let Some((_, table)) = found.entry(row)? {
                table.add_index_part(row)?;
            }
        }
        for row in &self.foreign_keys {
            if let Some((_, table)) = found.entry(row)? {
                table.add_foreign_key_part(row)?;
            }
        }
        for row in &self.actions {
            if let Some((_, table)) = found.entry(row)? {
                table.add_actions(row)?;
            }
        }
        for (id, check) in checks {
            if let Some(table) = found.tables.get_mut(&id) {
                table.checks.push(check);
            }
        }
        Ok(found)
    }
}

/// The check that MariaDB adds to a column declared as `JSON`, in the quotes of `ANSI_QUOTES`, which our sessions set, and in
/// the server's own.
fn json_checks(column: &str) -> [String; 2] {
    [format!("json_valid(\"{}\")", column.replace('"', "\"\"")), format!("json_valid(`{}`)", column.replace('`', "``"))]
}

struct Found {
    tables: BTreeMap<TableId, Described>,
}

impl Found {
    fn entry(&mut self, row: &MySqlRow) -> Result<Option<(TableId, &mut Described)>, sqlx::Error> {
        let id = table_id(row)?;
        Ok(self.tables.get_mut(&id).map(|table| (id, table)))
    }
}

/// One table as the server describes it.
#[derive(Debug)]
struct Described {
    kind: TableKind,
    comment: Option<String>,
    row_estimate: Option<u64>,
    columns: Vec<DescribedColumn>,
    indexes: Vec<DescribedIndex>,
    foreign_keys: Vec<DescribedForeignKey>,
    checks: Vec<DescribedCheck>,
    /// The checks that make `JSON` columns of text, which are part of their type.
    json_checks: Vec<String>,
}

#[derive(Debug)]
struct DescribedCheck {
    name: String,
    clause: String,
}

#[derive(Debug)]
struct DescribedColumn {
    name: String,
    word: String,
    native_type: String,
    nullable: bool,
    collation: Option<String>,
    default: Option<String>,
    generated: Generated,
    comment: Option<String>,
}

#[derive(Debug)]
struct DescribedIndex {
    name: String,
    unique: bool,
    /// Column names; `None` once a part is a prefix or an expression, which says nothing about whole values.
    columns: Option<Vec<String>>,
    /// How many different values its first column has, by estimate.
    distinct: Option<u64>,
}

#[derive(Debug)]
struct DescribedForeignKey {
    name: String,
    references: TableId,
    columns: Vec<String>,
    referenced_columns: Vec<String>,
    on_update: Action,
    on_delete: Action,
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl Described {
    fn of(row: &MySqlRow) -> Result<Self, sqlx::Error> {
        let is_view = get::<String>(row, 2)? == "VIEW";
        // The comment of a view is the word VIEW.
        let comment = get::<Option<String>>(row, 4)?.and_then(filled).filter(|_| !is_view);
        Ok(Self {
            kind: if is_view { TableKind::View } else { TableKind::Table },
            comment,
            row_estimate: get(row, 3)?,
            columns: Vec::new(),
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            json_checks: Vec::new(),
        })
    }

    fn add_index_part(&mut self, row: &MySqlRow) -> Result<(), sqlx::Error> {
        // Full-text, spatial and vector indexes find words and shapes, not values.
        if !matches!(get::<String>(row, 6)?.as_str(), "BTREE" | "HASH") {
            return Ok(());
        }
        let name: String = get(row, 2)?;
        let whole_column = match get::<Option<u64>>(row, 5)? {
            Some(_prefix_length) => None,
            None => get::<Option<String>>(row, 3)?,
        };
        if self.indexes.last().is_none_or(|last| last.name != name) {
            let (unique, distinct) = (get::<i64>(row, 4)? == 0, get::<Option<u64>>(row, 7)?);
            self.indexes.push(DescribedIndex { name, unique, columns: Some(Vec::new()), distinct });
        }
        if let Some(index) = self.indexes.last_mut() {
            match (&mut index.columns, whole_column) {
                (Some(columns), Some(column)) => columns.push(column),
                (columns, _) => *columns = None,
            }
        }
        Ok(())
    }

    fn add_foreign_key_part(&mut self, row: &MySqlRow) -> Result<(), sqlx::Error> {
        let name: String = get(row, 2)?;
        if self.foreign_keys.last().is_none_or(|last| last.name != name) {
            let references = TableId { namespace: get(row, 4)?, name: get(row, 5)? };
            self.foreign_keys.push(DescribedForeignKey {
                name,
                references,
                columns: Vec::new(),
                referenced_columns: Vec::new(),
                on_update: Action::NoAction,
                on_delete: Action::NoAction,
            });
        }
        if let Some(key) = self.foreign_keys.last_mut() {
            key.columns.push(get(row, 3)?);
            key.referenced_columns.push(get(row, 6)?);
        }
        Ok(())
    }

    fn add_actions(&mut self, row: &MySqlRow) -> Result<(), sqlx::Error> {
        let name: String = get(row, 2)?;
        if let Some(key) = self.foreign_keys.iter_mut().find(|key| key.name == name) {
            key.on_update = Action::of_words(&get::<String>(row, 3)?);
            key.on_delete = Action::of_words(&get::<String>(row, 4)?);
        }
        Ok(())
    }

    /// The table as we offer it; `None` when no column of it can be offered.
    fn into_table(self, id: TableId, policy: Policy, refused: &mut Vec<Refused>) -> Option<Table> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in self.columns {
            let native_type = column.native_type.clone();
            // A view's declared nullability is a guess of the server's, so it is not relied on.
            let nullable = column.nullable || self.kind == TableKind::View;
            let name = column.name.clone();
            match column.into_column(nullable, policy) {
                Some(column) => columns.push(column),
                None => refused.push(Refused {
                    table: id.clone(),
                    column: Some(name),
                    native_type,
                    reason: "has no mapping to a Postgres type".to_owned(),
                }),
            }
        }
        if columns.is_empty() {
            let reason = "has no column that can be offered".to_owned();
            refused.push(Refused { table: id, column: None, native_type: "table".to_owned(), reason });
            return None;
        }
        let ordinals: HashMap<&str, usize> = columns.iter().enumerate().map(|(ordinal, column)| (column.name(), ordinal)).collect();
        let distinct = first_columns(&self.indexes, &ordinals);
        let keys = Keys::of(self.indexes, &ordinals, &columns);
        let checks = self.checks.into_iter().filter(|check| !self.json_checks.contains(&check.clause));
        let checks = checks.map(|check| check.into_check(&id.name, &columns)).collect();
        let foreign_keys = self.foreign_keys.into_iter().filter_map(|key| key.into_foreign_key(&ordinals)).collect();
        for (ordinal, distinct) in distinct {
            if let Some(column) = columns.get_mut(ordinal) {
                column.statistics.distinct = column.statistics.distinct.max(Some(distinct));
            }
        }
        Some(Table {
            id,
            kind: self.kind,
            schema: Table::arrow_schema(&columns),
            primary_key: keys.primary,
            unique_keys: keys.unique,
            foreign_keys,
            checks,
            indexes: keys.other,
            comment: self.comment,
            row_estimate: self.row_estimate,
            // Few servers can prove that several connections see one state, and two ranges were no faster than one stream.
            division: None,
            columns,
        })
    }
}

/// What indexes tell of their first columns: ordinal and number of different values.
fn first_columns(indexes: &[DescribedIndex], ordinals: &HashMap<&str, usize>) -> Vec<(usize, u64)> {
    let known = indexes.iter().filter_map(|index| {
        let first = index.columns.as_ref()?.first()?;
        Some((*ordinals.get(first.as_str())?, index.distinct?))
    });
    known.collect()
}

fn resolve(names: &[String], ordinals: &HashMap<&str, usize>) -> Option<Vec<usize>> {
    names.iter().map(|name| ordinals.get(name.as_str()).copied()).collect()
}

#[derive(Debug, Default)]
struct Keys {
    primary: Option<Key>,
    unique: Vec<Key>,
    other: Vec<Key>,
}

impl Keys {
    fn of(indexes: Vec<DescribedIndex>, ordinals: &HashMap<&str, usize>, columns: &[Column]) -> Self {
        let mut keys = Self::default();
        for index in indexes {
            let Some(resolved) = index.columns.as_deref().and_then(|names| resolve(names, ordinals)) else { continue };
            // A key column whose zero dates are read as NULL can no longer be part of a primary key.
            let whole = resolved.iter().all(|ordinal| columns.get(*ordinal).is_some_and(|column| !column.field.is_nullable()));
            // Truth values of a tinyint that holds more than two numbers repeat.
            let distinct = resolved.iter().all(|at| columns.get(*at).is_some_and(|column| column.pg_type() != PgType::BOOL));
            let key = Key { name: index.name, columns: resolved, proven: index.unique && whole && distinct };
            match (index.unique, key.name == "PRIMARY" && whole) {
                (true, true) => keys.primary = Some(key),
                (true, false) => keys.unique.push(key),
                (false, _) => keys.other.push(key),
            }
        }
        keys
    }
}

impl DescribedForeignKey {
    fn into_foreign_key(self, ordinals: &HashMap<&str, usize>) -> Option<ForeignKey> {
        Some(ForeignKey {
            columns: resolve(&self.columns, ordinals)?,
            name: self.name,
            references: self.references,
            referenced_columns: self.referenced_columns,
            on_update: self.on_update,
            on_delete: self.on_delete,
        })
    }
}

impl DescribedCheck {
    fn of(row: &MySqlRow) -> Result<Self, sqlx::Error> {
        Ok(Self { name: get(row, 2)?, clause: get(row, 3)? })
    }

    /// MariaDB gives the check of a column the column's name, which several tables may share; Postgres would name it so.
    fn into_check(self, table: &str, columns: &[Column]) -> Check {
        let of_column = columns.iter().any(|column| column.name() == self.name);
        let name = if of_column { format!("{table}_{}_check", self.name) } else { self.name };
        Check { name, columns: columns_in(&self.clause, columns), expression: self.clause }
    }
}

impl DescribedColumn {
    fn of(row: &MySqlRow, is_mariadb: bool) -> Result<Self, sqlx::Error> {
        let extra = get::<Option<String>>(row, 8)?.unwrap_or_default().to_ascii_lowercase();
        Ok(Self {
            name: get(row, 2)?,
            word: get(row, 3)?,
            native_type: get(row, 4)?,
            nullable: get::<String>(row, 5)? == "YES",
            collation: get(row, 6)?,
            default: get::<Option<String>>(row, 7)?.and_then(|text| default_expression(text, &extra, is_mariadb)),
            generated: generated(&extra),
            comment: get::<Option<String>>(row, 9)?.and_then(filled),
        })
    }

    fn into_column(self, nullable: bool, policy: Policy) -> Option<Column> {
        Some(Column {
            field: types::field(&self.name, &self.native_type, nullable, policy)?,
            native_type: self.native_type,
            default: self.default,
            generated: self.generated,
            comment: self.comment,
            collation: self.collation.as_deref().map_or(Collation::Bytes, collation),
            statistics: ColumnStatistics { null_fraction: (!self.nullable).then_some(0.0), ..ColumnStatistics::default() },
        })
    }
}

/// MariaDB gives defaults as SQL; MySQL gives constants bare and marks expressions.
fn default_expression(text: String, extra: &str, is_mariadb: bool) -> Option<String> {
    match (is_mariadb, extra.contains("default_generated")) {
        (true, _) => (text != "NULL").then_some(text),
        (false, true) => Some(text),
        (false, false) => Some(format!("'{}'", text.replace('\'', "''"))),
    }
}

fn generated(extra: &str) -> Generated {
    let words: Vec<&str> = extra.split_whitespace().collect();
    if words.contains(&"auto_increment") {
        Generated::ByDefault
    } else if ["virtual", "stored", "persistent"].iter().any(|word| words.contains(word)) {
        Generated::Always
    } else {
        Generated::No
    }
}

/// How a collation compares. Only the binary collations of utf8mb4 that do not pad compare as bytes; the other binary ones
/// either pad (`'a' = 'a '`) or order by another encoding.
fn collation(name: &str) -> Collation {
    match name {
        "utf8mb4_nopad_bin" | "utf8mb4_0900_bin" | "binary" => Collation::Bytes,
        name if name.ends_with("_nopad_bin") => Collation::Linguistic(name.to_owned()),
        name => Collation::Loose(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collations_that_pad_or_fold_are_loose() {
        assert_eq!(collation("utf8mb4_nopad_bin"), Collation::Bytes);
        assert_eq!(collation("utf8mb4_0900_bin"), Collation::Bytes);
        assert_eq!(collation("utf8mb4_bin"), Collation::Loose("utf8mb4_bin".to_owned()));
        assert_eq!(collation("latin1_nopad_bin"), Collation::Linguistic("latin1_nopad_bin".to_owned()));
        assert_eq!(collation("utf8mb4_0900_as_cs"), Collation::Loose("utf8mb4_0900_as_cs".to_owned()));
    }

    #[test]
    fn extra_words_tell_who_makes_the_value() {
        let rows = [
            ("", Generated::No),
            ("auto_increment", Generated::ByDefault),
            ("virtual generated", Generated::Always),
            ("stored generated", Generated::Always),
            ("persistent", Generated::Always),
            ("default_generated", Generated::No),
            ("default_generated on update current_timestamp", Generated::No),
            ("on update current_timestamp()", Generated::No),
        ];
        for (extra, expected) in rows {
            assert_eq!(generated(extra), expected, "{extra}");
        }
    }

    #[test]
    fn checks_are_asked_for_where_there_are_some() {
        let rows = [
            ("10.11.6-MariaDB", true, Some(CHECKS)),
            ("8.0.16", false, Some(MYSQL_CHECKS)),
            ("8.4.0-commercial", false, Some(MYSQL_CHECKS)),
            ("8.0.15", false, None),
            ("5.7.44-log", false, None),
        ];
        for (version, is_mariadb, expected) in rows {
            let server = Server { version: version.to_owned(), is_mariadb, has_binary_log: false, logs_all: Ok(()) };
            assert_eq!(checks_query(&server), expected, "{version}");
        }
    }

    #[test]
    fn defaults_are_sql_in_both_flavours() {
        let rows = [
            ("NULL", "", true, None),
            ("'x'", "", true, Some("'x'")),
            ("it's", "", false, Some("'it''s'")),
            ("uuid()", "default_generated", false, Some("uuid()")),
        ];
        for (text, extra, is_mariadb, expected) in rows {
            assert_eq!(default_expression(text.to_owned(), extra, is_mariadb).as_deref(), expected);
        }
        assert_eq!(json_checks("a`b\""), ["json_valid(\"a`b\"\"\")", "json_valid(`a``b\"`)"]);
    }
}
