//! `INSERT`: the rows of VALUES, of a query, or one of defaults.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Insert, ObjectName, OnInsert, Query, Select, SelectItem, SetExpr, Values, With,
};

use super::super::plan::Planned;
use super::super::scan::count_scans;
use super::super::semantics::typed::Typed;
use super::assign::{self, Binding};
use super::conflict::{self, PlannedConflict};
use super::overriding::Overriding;
use super::returning::Around;
use super::rows::{Input, Maker, RowForm, Rows, work};
use super::scope::{Cell, Scope, look_at, not_in_grammar, numbers, types_of, with_both};
use super::target::Target;
use super::upsert::PlannedUpsert;
use super::values::{self, PlannedValues, without_columns};
use super::{Shaped, Work};
use crate::catalog::Relation;
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;
use crate::stores::edit::Conflict;

/// A planned insert.
#[derive(Debug)]
pub(super) struct PlannedInsert {
    source: Source,
    conflict: Option<PlannedConflict>,
}

/// Where the rows come from.
#[derive(Debug)]
enum Source {
    /// `DEFAULT VALUES`
    Defaults,
    Values(Arc<PlannedValues>),
    Query(Box<PlannedRows>),
}

/// The rows of a query.
#[derive(Debug)]
struct PlannedRows {
    planned: Planned,
    /// The columns that get values, with the places and types of the outputs that these are.
    stored: Vec<(usize, usize, Typed)>,
}

/// The parts of a statement that PostgreSQL's grammar has.
struct Parts {
    alias: Option<Ident>,
    columns: Vec<ObjectName>,
    source: Option<Box<Query>>,
    on: Option<OnInsert>,
    returning: Option<Vec<SelectItem>>,
}

/// Refuses what only other systems have.
fn parts(insert: Insert) -> Result<Parts, Diagnosis> {
    let Insert {
        insert_token: _,
        // They are comments to PostgreSQL.
        optimizer_hints: _,
        or,
        ignore,
        into,
        table: _,
        table_alias,
        columns,
        overwrite,
        source,
        assignments,
        partitioned,
        after_columns,
        has_table_keyword,
        on,
        returning,
        output,
        replace_into,
        priority,
        insert_alias,
        settings,
        format_clause,
        multi_table_insert_type,
        multi_table_into_clauses,
        multi_table_when_clauses,
        multi_table_else_clause,
    } = insert;
    let has_many_tables = multi_table_insert_type.is_some()
        || !multi_table_into_clauses.is_empty()
        || !multi_table_when_clauses.is_empty()
        || multi_table_else_clause.is_some();
    let foreign = [
        (or.is_some(), "OR"),
        (ignore, "IGNORE"),
        (overwrite, "OVERWRITE"),
        (replace_into, "REPLACE"),
        (priority.is_some(), "INTO"),
        (has_many_tables, "ALL"),
        (has_table_keyword, "TABLE"),
        (!into, "INSERT"),
        (!assignments.is_empty(), "SET"),
        (partitioned.is_some(), "PARTITION"),
        (!after_columns.is_empty(), "("),
        (output.is_some(), "OUTPUT"),
        (insert_alias.is_some(), "AS"),
        (settings.is_some(), "SETTINGS"),
        (format_clause.is_some(), "FORMAT"),
    ];
    if let Some((_, word)) = foreign.iter().find(|(is_there, _)| *is_there) {
        return Err(not_in_grammar(word));
    }
    let alias = match table_alias {
        Some(alias) if !alias.explicit => return Err(not_in_grammar(&alias.alias.value)),
        alias => alias.map(|alias| alias.alias),
    };
    Ok(Parts { alias, columns, source, on, returning })
}

/// Plans an insert.
///
/// # Errors
/// As [`super::plan_aside`].
pub(super) fn plan(
    scope: &mut Scope<'_>,
    relation: Arc<Relation>,
    with: Option<With>,
    insert: Insert,
) -> Result<Shaped<PlannedInsert>, Diagnosis> {
    let Parts { alias, mut columns, source, on, returning } = parts(insert)?;
    let mut target = Target::of(&scope.setting.snapshot, relation, alias.as_ref())?;
    let overriding = Overriding::take(&mut columns);
    target.is_overridden = overriding.is_some_and(|overriding| overriding.overrides(scope, &target));
    let listed = listed(&mut target, &columns)?;
    let around = Around { with: with.clone(), alias, others: Vec::new() };
    let source = match source {
        None => {
            look_at(scope, with)?;
            Source::Defaults
        }
        Some(query) => match plain_values(*query)? {
            Ok((inner, values)) => {
                let mut rows = rows_of(values)?;
                let width = rows.first().map_or(0, Vec::len);
                let columns = taken(&target, listed, width)?;
                if let Some(overriding) = overriding {
                    overriding.clear(scope, &target, (columns.as_slice(), rows.as_mut_slice()))?;
                }
                Source::Values(Arc::new(values::plan(scope, &target, with_both(with, inner), (columns, rows))?))
            }
            Err(mut query) => {
                query.with = with_both(with, query.with.take());
                Source::Query(Box::new(rows(scope, &target, (listed, overriding), *query)?))
            }
        },
    };
    let alias = around.alias.as_ref();
    let conflict = on.map(|on| conflict::plan(scope, &mut target, (alias, on))).transpose()?;
    let form = PlannedInsert { source, conflict };
    Ok(Shaped { target, form, around, returning })
}

/// The ordinals of a written list of columns; `None` without one.
pub(super) fn listed(target: &mut Target, columns: &[ObjectName]) -> Result<Option<Vec<usize>>, Diagnosis> {
    if columns.is_empty() {
        return Ok(None);
    }
    let mut found: Vec<usize> = Vec::with_capacity(columns.len());
    for name in columns {
        found.push(target.place(name)?);
    }
    match target.repeated(&found)? {
        None => Ok(Some(found)),
        Some(twice) => Err(Diagnosis::new(sqlstate::DUPLICATE_COLUMN, format!("column \"{twice}\" specified more than once"))),
    }
}

/// The columns that get the values of rows so wide: those listed, or the first ones of the table.
pub(super) fn taken(target: &Target, listed: Option<Vec<usize>>, width: usize) -> Result<Vec<usize>, Diagnosis> {
    let is_listed = listed.is_some();
    let mut columns = listed.unwrap_or_else(|| (0..target.table.columns.len()).collect());
    if width > columns.len() {
        return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "INSERT has more expressions than target columns"));
    }
    if is_listed && width < columns.len() {
        return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "INSERT has more target columns than expressions"));
    }
    columns.truncate(width);
    Ok(columns)
}

/// A query as the VALUES that it is, with its WITH queries, or as itself.
type ValuesOrQuery = Result<(Option<With>, Values), Box<Query>>;

/// The VALUES that a query is and nothing else; their cells have the types of columns.
fn plain_values(query: Query) -> Result<ValuesOrQuery, Diagnosis> {
    let is_plain = query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty()
        && query.for_clause.is_none()
        && query.settings.is_none()
        && query.format_clause.is_none()
        && query.pipe_operators.is_empty();
    if !(is_plain && matches!(query.body.as_ref(), SetExpr::Values(_))) {
        return Ok(Err(Box::new(query)));
    }
    let Query { with, body, .. } = query;
    match *body {
        SetExpr::Values(values) => Ok(Ok((with, values))),
        _ => Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "VALUES were read as a query")),
    }
}

/// The cells of VALUES.
pub(super) fn rows_of(values: Values) -> Result<Vec<Vec<Expr>>, Diagnosis> {
    let Values { explicit_row, value_keyword, rows } = values;
    if explicit_row {
        return Err(not_in_grammar("ROW"));
    }
    if value_keyword {
        return Err(not_in_grammar("VALUE"));
    }
    let rows: Vec<Vec<Expr>> = rows.into_iter().map(|row| row.content).collect();
    let width = rows.first().map_or(0, Vec::len);
    if rows.iter().any(|row| row.len() != width) {
        return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "VALUES lists must all be the same length"));
    }
    if width == 0 {
        return Err(not_in_grammar(")"));
    }
    Ok(rows)
}

/// Plans a query whose rows are inserted.
fn rows(
    scope: &mut Scope<'_>,
    target: &Target,
    (listed, overriding): (Option<Vec<usize>>, Option<Overriding>),
    query: Query,
) -> Result<PlannedRows, Diagnosis> {
    let bare = Bare::of(&query);
    // A parameter that stands alone as an output and nowhere else has the type of its column.
    let counts = numbers(&query);
    for (place, number) in bare.parameters() {
        let ordinal = listed.as_ref().map_or(Some(place), |listed| listed.get(place).copied());
        let column = ordinal.and_then(|ordinal| target.at(ordinal).ok());
        if let Some(column) = column.filter(|_| counts.get(&number) == Some(&1)) {
            scope.parameters.settle(number, column.pg_type());
        }
    }
    let planned = scope.plan(query)?;
    let mut types = types_of(&planned);
    let columns = taken(target, listed, types.len())?;
    for place in bare.literals(types.len()) {
        if let Some(typed) = types.get_mut(place) {
            *typed = PgType::UNKNOWN.into();
        }
    }
    let mut stored = Vec::with_capacity(columns.len());
    for (place, (ordinal, from)) in columns.into_iter().zip(&types).enumerate() {
        let column = target.at(ordinal)?;
        assign::check(column, from)?;
        if let Some(overriding) = overriding
            && overriding.leaves_out(scope, target, column)?
        {
            continue;
        }
        target.check_given(column)?;
        stored.push((ordinal, place, from.clone()));
    }
    Ok(PlannedRows { planned, stored })
}

/// The outputs of a query that are cells, which have no type before the columns give them one.
struct Bare {
    cells: Vec<Option<Cell>>,
    /// Places of outputs that stand for any number of columns.
    stars: Option<(usize, usize)>,
}

impl Bare {
    /// Only the outputs of one SELECT are looked at: of several, and of those that are compared, the types are made equal before.
    fn of(query: &Query) -> Self {
        let select: Option<&Select> = match query.body.as_ref() {
            SetExpr::Select(select) if select.distinct.is_none() => Some(select),
            _ => None,
        };
        let mut found = Self { cells: Vec::new(), stars: None };
        for (place, item) in select.iter().flat_map(|select| select.projection.iter()).enumerate() {
            let cell = match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Cell::of(expr).ok().flatten(),
                _ => {
                    let first = found.stars.map_or(place, |(first, _)| first);
                    found.stars = Some((first, place));
                    None
                }
            };
            found.cells.push(cell);
        }
        found
    }

    /// The parameters before what may be any number of columns, with their places.
    fn parameters(&self) -> Vec<(usize, usize)> {
        let end = self.stars.map_or(self.cells.len(), |(first, _)| first);
        let numbered = |(place, cell): (usize, &Option<Cell>)| match cell {
            Some(Cell::Parameter(number)) => Some((place, *number)),
            _ => None,
        };
        self.cells.iter().take(end).enumerate().filter_map(numbered).collect()
    }

    /// The places of literals among so many outputs.
    fn literals(&self, outputs: usize) -> Vec<usize> {
        let place_of = |place: usize| match self.stars {
            Some((first, _)) if place < first => Some(place),
            Some((_, last)) if place > last => (outputs + place).checked_sub(self.cells.len()),
            Some(_) => None,
            None => Some(place),
        };
        let cells = self.cells.iter().enumerate().filter(|(_, cell)| matches!(cell, Some(Cell::Text(_) | Cell::Null)));
        cells.filter_map(|(place, _)| place_of(place)).collect()
    }
}

impl PlannedInsert {
    /// Whether rows that exist may get new values.
    pub(super) fn updates(&self) -> bool {
        self.conflict.as_ref().is_some_and(PlannedConflict::updates)
    }

    /// What is computed of rows that exist, if anything is: they are then read, and must not change meanwhile.
    pub(super) fn computed(&self) -> Option<&Arc<PlannedUpsert>> {
        self.conflict.as_ref().and_then(PlannedConflict::computed)
    }

    /// What the statement comes to for the values of one execution.
    ///
    /// # Errors
    /// As [`super::PlannedWrite::bind`].
    pub(super) async fn bind(&self, binding: &Binding<'_>) -> Result<Work, Diagnosis> {
        let conflict = match &self.conflict {
            Some(conflict) => conflict.bind(binding)?,
            None => None,
        };
        let work = self.proposed(binding, conflict).await?;
        match self.computed() {
            Some(computed) => computed.over(binding, work),
            None => Ok(work),
        }
    }

    /// The rows to be inserted.
    async fn proposed(&self, binding: &Binding<'_>, conflict: Option<Conflict>) -> Result<Work, Diagnosis> {
        let source = match &self.source {
            Source::Defaults => {
                let form = RowForm::Insert { columns: Vec::new(), conflict };
                let edit = form.edit(binding.common(), without_columns(1)?);
                return work(binding.common(), &[edit], binding.engine);
            }
            Source::Values(values) => return values.bind(binding, conflict).await,
            Source::Query(source) => source,
        };
        let ready = binding.query(&source.planned).await?;
        if ready.is_empty() {
            return Ok(Work::Nothing);
        }
        let gathers = count_scans(ready.physical()).contains_key(&binding.common().target.store);
        let inputs = source.stored.iter().map(|(_, place, from)| Input::Output(*place, from.clone())).collect();
        let columns = source.stored.iter().map(|(ordinal, _, _)| *ordinal).collect();
        let form = RowForm::Insert { columns, conflict };
        let maker = Maker::new(binding.common().clone(), form, inputs)?.minding_conflicts(binding.engine)?;
        Ok(Work::Rows(Rows::of_query(ready, maker, false, gathers)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn bare(sql: &str) -> Bare {
        Bare::of(&Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap())
    }

    #[test]
    fn literals_are_found_beside_what_is_any_number_of_columns() {
        let rows = [
            ("SELECT 'a', 1, NULL FROM t", 3, vec![0, 2]),
            ("SELECT 'a', t.*, b, 'c' FROM t", 7, vec![0, 6]),
            ("SELECT *, 'a', * FROM t", 9, vec![]),
            ("SELECT DISTINCT 'a' FROM t", 1, vec![]),
            ("SELECT 'a' UNION SELECT 'b'", 1, vec![]),
            ("SELECT ('a') AS x", 1, vec![0]),
        ];
        for (sql, outputs, expected) in rows {
            assert_eq!(bare(sql).literals(outputs), expected, "{sql}");
        }
        assert_eq!(bare("SELECT $2, a, $1, *, $3 FROM t").parameters(), [(0, 2), (2, 1)]);
    }

    #[test]
    fn what_other_systems_write_is_no_statement() {
        for sql in ["INSERT INTO t x VALUES (1)", "INSERT OR IGNORE INTO t VALUES (1)", "INSERT OVERWRITE t SELECT 1"] {
            let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap();
            let Ok(datafusion::sql::sqlparser::ast::Statement::Insert(insert)) = parser.parse_statement() else { continue };
            assert_eq!(parts(insert).err().map(|error| error.sqlstate).as_deref(), Some("42601"), "{sql}");
        }
        let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql("INSERT INTO t AS x (a) VALUES (1)").unwrap();
        let Ok(datafusion::sql::sqlparser::ast::Statement::Insert(insert)) = parser.parse_statement() else { panic!("no insert") };
        assert_eq!(parts(insert).unwrap().alias.unwrap().value, "x");
    }
}
