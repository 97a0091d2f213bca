//! Discovery: tables, views, columns, keys and estimates of one database file, in one read transaction.
//!
//! Only the file's own tables (`main`) are offered; `sqlite_…` tables and the shadow tables of virtual tables are SQLite's
//! internals. Documents of JSON columns are sampled in [`sample`], keys and indexes are read in [`keys`].

mod keys;
mod sample;
mod statistics;

use super::super::document::Learning;
use super::super::relational::documents::{Declared, Findings, TableOptions, declared_of, place, refusal, replace, tell_missing};
use super::super::schema::{Collation, Column, ColumnStatistics, Generated, StoreSchema, Table, TableId, TableKind};
use super::super::value::Value;
use super::own;
use super::scan::{Database, Failure, Statement};
use super::types;
use super::types::read::Cell;

/// The only namespace of a database file.
pub(super) const NAMESPACE: &str = "main";
/// More tables than this are not discovered.
const TABLES_MAX: usize = 10_000;

/// Reads everything. What is sampled now is added to `learning`.
///
/// # Errors
/// What SQLite says.
pub(super) fn discover(database: &Database<'_>, options: &TableOptions, learning: &mut Learning) -> Result<StoreSchema, Failure> {
    database.run("BEGIN")?;
    let result = discover_inside(database, options, learning);
    database.run("ROLLBACK")?;
    result
}

/// The same inside of a transaction.
///
/// # Errors
/// What SQLite says.
pub(super) fn discover_inside(
    database: &Database<'_>,
    options: &TableOptions,
    learning: &mut Learning,
) -> Result<StoreSchema, Failure> {
    let version = texts(database, "SELECT sqlite_version()", &[])?.pop().flatten().unwrap_or_default();
    let encoding = texts(database, "PRAGMA main.encoding", &[])?.pop().flatten().unwrap_or_default();
    let has_statistics = !texts(database, "SELECT name FROM main.sqlite_schema WHERE name = 'sqlite_stat1'", &[])?.is_empty();
    let surroundings = Surroundings { utf16: encoding.starts_with("UTF-16"), has_statistics };
    let mut schema = StoreSchema {
        server_version: format!("SQLite {version}"),
        default_namespace: NAMESPACE.to_owned(),
        ..StoreSchema::default()
    };
    let mut found = relations(database)?;
    found.retain(|relation| !own::is_hidden(&relation.name));
    if let Some(first_left_out) = found.get(TABLES_MAX) {
        let reason = format!("and all tables after it in name order are left out: no more than {TABLES_MAX} are offered");
        let id = TableId { namespace: NAMESPACE.to_owned(), name: first_left_out.name.clone() };
        schema.refused.push(refusal(&id, None, "table", &reason));
    }
    found.truncate(TABLES_MAX);
    for relation in found {
        let mut table = read_table(database, &relation, surroundings)?;
        if let Some(declared) = declared_of(options, NAMESPACE, &table.id) {
            expand(database, &mut table, declared, learning)?.add_to(&mut schema);
        }
        schema.tables.push(table.into());
    }
    tell_missing(options, &mut schema);
    Ok(schema)
}

/// What is true of the whole file.
#[derive(Debug, Clone, Copy)]
struct Surroundings {
    utf16: bool,
    has_statistics: bool,
}

/// One line of `PRAGMA table_list`.
struct Relation {
    name: String,
    kind: TableKind,
    /// `WITHOUT ROWID`
    clustered: bool,
    strict: bool,
    /// Virtual tables keep their cells as their module pleases.
    foreign: bool,
}

fn relations(database: &Database<'_>) -> Result<Vec<Relation>, Failure> {
    let sql = "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main' AND type <> 'shadow' \
               AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name LIMIT ?1";
    let limit = [Value::Int(i64::try_from(TABLES_MAX + 1).unwrap_or(i64::MAX))];
    rows(database, sql, &limit, |row| {
        let name = row.text(0)?.unwrap_or_default();
        let kind = row.text(1)?.unwrap_or_default();
        Ok(Relation {
            name,
            kind: if kind == "view" { TableKind::View } else { TableKind::Table },
            clustered: row.int(2)? == Some(1),
            strict: row.int(3)? == Some(1),
            foreign: kind == "virtual",
        })
    })
}

fn read_table(database: &Database<'_>, relation: &Relation, surroundings: Surroundings) -> Result<Table, Failure> {
    let found = read_columns(database, relation)?;
    let primary: Vec<usize> = keys::primary_key(&found);
    let rowid = rowid_column(database, relation, &found, &primary)?;
    let mut columns: Vec<Column> = found
        .iter()
        .enumerate()
        .map(|(ordinal, column)| column_of(database, relation, column, rowid == Some(ordinal), surroundings))
        .collect();
    let indexes = keys::indexes(database, &relation.name, &columns)?;
    statistics::read(database, &relation.name, &mut columns, surroundings.has_statistics)?;
    if let Some(rowid) = rowid.and_then(|ordinal| columns.get_mut(ordinal)) {
        statistics::read_range(database, &relation.name, rowid)?;
    }
    let primary_key = (!primary.is_empty()).then(|| keys::primary(&relation.name, primary, &columns));
    Ok(Table {
        id: TableId { namespace: NAMESPACE.to_owned(), name: relation.name.clone() },
        kind: relation.kind,
        schema: Table::arrow_schema(&columns),
        primary_key,
        unique_keys: indexes.unique,
        foreign_keys: keys::foreign_keys(database, &relation.name, &columns)?,
        checks: keys::checks(database, relation, &columns)?,
        indexes: indexes.plain,
        comment: None,
        row_estimate: keys::row_estimate(database, relation, &columns, surroundings.has_statistics)?,
        // Two connections cannot be proved to see one state of the file.
        division: None,
        columns,
    })
}

/// The column that is another name of the rowid, which is always an integer and never NULL: declared exactly `INTEGER PRIMARY
/// KEY`. With `DESC` it looks the same but is an ordinary column with an index of its own, an old mistake that SQLite keeps.
fn rowid_column(
    database: &Database<'_>,
    relation: &Relation,
    found: &[Found],
    primary: &[usize],
) -> Result<Option<usize>, Failure> {
    let [only] = primary else { return Ok(None) };
    let integer = found.get(*only).is_some_and(|column| column.declared.eq_ignore_ascii_case("INTEGER"));
    if !integer || relation.clustered || relation.foreign || relation.kind != TableKind::Table {
        return Ok(None);
    }
    let sql = "SELECT name FROM pragma_index_list(?1, 'main') WHERE origin = 'pk'";
    let own_index = texts(database, sql, &[Value::Text(relation.name.clone())])?;
    Ok(own_index.is_empty().then_some(*only))
}

/// One line of `PRAGMA table_xinfo`.
struct Found {
    name: String,
    declared: String,
    not_null: bool,
    default: Option<String>,
    /// The place in the primary key, from 1; 0 when not part of it.
    key_place: i64,
    generated: bool,
}

fn read_columns(database: &Database<'_>, relation: &Relation) -> Result<Vec<Found>, Failure> {
    let sql = "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1, 'main') \
               WHERE hidden <> 1 ORDER BY cid";
    rows(database, sql, &[Value::Text(relation.name.clone())], |row| {
        let declared = row.text(1)?.unwrap_or_default();
        // SQLite keeps this option in the declared type of generated columns.
        let declared = declared.trim_end_matches("GENERATED ALWAYS").trim().to_owned();
        Ok(Found {
            name: row.text(0)?.unwrap_or_default(),
            declared,
            not_null: row.int(2)? == Some(1),
            default: row.text(3)?,
            key_place: row.int(4)?.unwrap_or(0),
            generated: matches!(row.int(5)?, Some(2 | 3)),
        })
    })
}

fn column_of(database: &Database<'_>, relation: &Relation, found: &Found, is_rowid: bool, surroundings: Surroundings) -> Column {
    let is_table = relation.kind == TableKind::Table && !relation.foreign;
    // A primary key of a table with rowids may hold NULLs unless it says otherwise, a mistake that SQLite keeps.
    let not_null = is_table && (found.not_null || is_rowid || relation.clustered && found.key_place > 0);
    // `ANY` is the one type of STRICT tables that takes every kind of cell.
    let strict = relation.strict && !found.declared.eq_ignore_ascii_case("ANY");
    let collation = if is_table { database.collation(&relation.name, &found.name) } else { None };
    Column {
        field: types::field(&found.name, &found.declared, !not_null, is_table && (is_rowid || strict)),
        native_type: found.declared.clone(),
        default: found.default.clone(),
        generated: match (found.generated, is_rowid) {
            (true, _) => Generated::Always,
            (false, true) => Generated::ByDefault,
            (false, false) => Generated::No,
        },
        comment: None,
        collation: match collation.as_deref() {
            Some("BINARY") if surroundings.utf16 => Collation::Linguistic("BINARY of UTF-16".to_owned()),
            Some("BINARY") => Collation::Bytes,
            Some(other) => Collation::Loose(other.to_owned()),
            None => Collation::Loose(types::OF_A_VIEW.to_owned()),
        },
        statistics: ColumnStatistics::default(),
    }
}

/// Puts the fields of a JSON column in the place of the column.
fn expand(
    database: &Database<'_>,
    table: &mut Table,
    declared: Declared<'_>,
    learning: &mut Learning,
) -> Result<Findings, Failure> {
    let place = match place(table, declared) {
        Ok(place) => place,
        Err(unmet) => return Ok(unmet),
    };
    let sampler = sample::sample(database, &table.id.name, declared.column, declared.options.sample)?;
    Ok(replace(table, place, sampler, declared, learning))
}

/// A row of a catalog query.
struct CatalogRow<'r, 's>(&'r mut Statement<'s>);

impl CatalogRow<'_, '_> {
    fn text(&mut self, column: usize) -> Result<Option<String>, Failure> {
        Ok(match self.0.cell(column)? {
            Cell::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Cell::Null | Cell::Int(_) | Cell::Real(_) | Cell::Blob(_) => None,
        })
    }

    fn int(&mut self, column: usize) -> Result<Option<i64>, Failure> {
        Ok(match self.0.cell(column)? {
            Cell::Int(number) => Some(number),
            Cell::Null | Cell::Real(_) | Cell::Text(_) | Cell::Blob(_) => None,
        })
    }
}

fn rows<T>(
    database: &Database<'_>,
    sql: &str,
    values: &[Value],
    mut read: impl FnMut(&mut CatalogRow<'_, '_>) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut statement = database.prepare(sql)?;
    statement.bind(values)?;
    let mut result = Vec::new();
    while statement.step()? {
        result.push(read(&mut CatalogRow(&mut statement))?);
    }
    Ok(result)
}

fn texts(database: &Database<'_>, sql: &str, values: &[Value]) -> Result<Vec<Option<String>>, Failure> {
    rows(database, sql, values, |row| row.text(0))
}
