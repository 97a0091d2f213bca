//! `COPY … FROM`: the columns that are filled, values in the types of these, the rows that a condition keeps, and the edits of the rest.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::filter_record_batch;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, SelectItem, visit_expressions};
use futures::TryStreamExt;

use super::super::ast::allowed::{Sets, holds_query, refuse_calls};
use super::super::ast::name::fold;
use super::super::branches::Branches;
use super::super::engine::Engine;
use super::super::error::diagnose;
use super::super::plan::{Setting, session_values};
use super::super::semantics::typed::Typed;
use super::super::semantics::{Assigned, assign_array};
use super::returning::{self, Around, Returning};
use super::rows::{Common, Maker, RowForm, told};
use super::scope::{Scope, select, whole_name};
use super::seen::Change;
use super::target::{Target, qualified};
use crate::catalog::object::Objects;
use crate::catalog::{Relation, RelationBody, SearchPath, Snapshot};
use crate::error::{Diagnosis, sqlstate};
use crate::format::copy::{ROWS_MAX, ROWS_MOST, Raw, RawRows, in_column, in_line, in_lines};
use crate::format::fault::invalid_utf8;
use crate::format::{Format, decode};
use crate::pgtype::PgType;
use crate::stores::Table;
use crate::stores::edit::{self, Edit};
use crate::stores::schema::Generated;
use crate::task::OwnedTask;

/// What `COPY … FROM` names.
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    /// The table.
    pub table: ObjectName,
    /// Its columns; none means all.
    pub columns: Vec<Ident>,
    /// Which rows are kept.
    pub condition: Option<Box<Expr>>,
}

impl Filled {
    /// The relation that is named, whatever it is.
    ///
    /// # Errors
    /// 42P01 and the like.
    pub fn relation(&self, snapshot: &Snapshot, path: &SearchPath) -> Result<Arc<Relation>, Diagnosis> {
        snapshot.resolve(&qualified(&self.table)?, path)
    }
}

/// A planned `COPY … FROM`.
#[derive(Debug)]
pub struct PlannedCopy {
    /// What it fills.
    pub target: Target,
    columns: Vec<usize>,
    condition: Option<Condition>,
}

/// Plans a `COPY … FROM`, aside as [`super::plan_aside`] does. Only stored tables can be filled: whoever calls has refused the rest.
///
/// # Errors
/// As Postgres: 42701, 42703, 42P10, 42804, …, and 0A000 for conditions over values that the store makes.
pub async fn plan_copy_aside(engine: &Engine, setting: &Setting, filled: &Filled) -> Result<PlannedCopy, Diagnosis> {
    let place = engine.planner().await;
    let (engine, setting, filled) = (engine.clone(), setting.clone(), filled.clone());
    let work = move || {
        let planned = plan(&engine, &setting, &filled);
        drop(place);
        planned
    };
    let planned = OwnedTask::spawn_blocking(work).join().await;
    planned.unwrap_or_else(|| Err(internal("planning ended without a result")))
}

fn plan(engine: &Engine, setting: &Setting, filled: &Filled) -> Result<PlannedCopy, Diagnosis> {
    let target = Target::of(&setting.snapshot, filled.relation(&setting.snapshot, &setting.path)?, None)?;
    let columns = columns(&target, &filled.columns)?;
    let condition = filled.condition.as_deref().map(|condition| Condition::of((engine, setting), &target, &columns, condition));
    let condition = condition.transpose()?;
    Ok(PlannedCopy { target, columns, condition })
}

/// The ordinals of the columns that are filled: those listed, or all that the store does not make always.
fn columns(target: &Target, listed: &[Ident]) -> Result<Vec<usize>, Diagnosis> {
    if listed.is_empty() {
        let all = target.table.columns.iter().enumerate();
        return Ok(all.filter(|(_, column)| column.generated != Generated::Always).map(|(ordinal, _)| ordinal).collect());
    }
    let mut found: Vec<usize> = Vec::with_capacity(listed.len());
    for ident in listed {
        let name = fold(ident);
        let ordinal = target.ordinal(&name)?;
        if target.at(ordinal)?.generated == Generated::Always {
            let message = format!("column \"{name}\" is a generated column");
            return Err(Diagnosis::new(sqlstate::INVALID_COLUMN_REFERENCE, message)
                .with_detail("The store makes the values of the column always."));
        }
        if found.contains(&ordinal) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(Diagnosis::new(sqlstate::DUPLICATE_COLUMN, message));
        }
        found.push(ordinal);
    }
    Ok(found)
}

fn internal(message: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, message)
}

/// Which rows are kept.
#[derive(Debug)]
struct Condition {
    /// The condition of each row.
    outputs: Returning,
    /// The target, of which nothing is taken for granted: the rows have not met its constraints yet.
    target: Target,
    /// The catalog in which it is like that.
    snapshot: Arc<Snapshot>,
}

impl Condition {
    fn of((engine, setting): (&Engine, &Setting), target: &Target, columns: &[usize], condition: &Expr) -> Result<Self, Diagnosis> {
        refuse_calls(condition, "COPY FROM WHERE conditions", Sets::Refused, &|name| engine.is_aggregate(name))?;
        if holds_query(condition) {
            let message = "cannot use subquery in COPY FROM WHERE condition";
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
        let (snapshot, target) = without_constraints(&setting.snapshot, target);
        let setting = Setting { snapshot: Arc::clone(&snapshot), ..setting.clone() };
        let mut scope = Scope::new(engine, &setting, &[]);
        // Mistakes are told in the words for conditions; a value for each row is what is needed then.
        scope.plan(select(None, Vec::new(), vec![whole_name(&target, None)?], Some(condition.clone()))?)?;
        let kept = Expr::IsTrue(Box::new(Expr::Nested(Box::new(condition.clone()))));
        let kept = vec![SelectItem::UnnamedExpr(kept)];
        let (outputs, _) = returning::plan(&mut scope, (&target, Change::Added), Around::default(), kept)?;
        if !scope.parameters.into_types().is_empty() {
            return Err(Diagnosis::new(sqlstate::UNDEFINED_PARAMETER, "there is no parameter $1"));
        }
        let left_out = outputs.needed.iter().filter(|ordinal| !columns.contains(ordinal));
        for ordinal in left_out.filter(|_| names_columns(condition)) {
            let column = target.at(*ordinal)?;
            let has_default = column.default.as_deref().is_some_and(|default| !default.eq_ignore_ascii_case("null"));
            if has_default || column.generated != Generated::No {
                let message =
                    format!("a COPY FROM WHERE condition over the default of column \"{}\" is not supported", column.name());
                return Err(
                    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_detail("Its value is known to the store only.")
                );
            }
        }
        Ok(Self { outputs, target, snapshot })
    }

    /// Which rows of the needed columns are kept.
    async fn kept(&self, engine: &Engine, setting: &Setting, rows: RecordBatch) -> Result<BooleanArray, Diagnosis> {
        let setting = Setting { snapshot: Arc::clone(&self.snapshot), ..setting.clone() };
        let count = rows.num_rows();
        let planned = self.outputs.over(&self.target, &[rows], None)?;
        let stream = Box::pin(returning::rows(engine, &setting, &planned, &[], &Branches::none())).await?;
        let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(|error| diagnose(&error))?;
        let mut kept = Vec::with_capacity(count);
        for batch in &batches {
            let truths = batch.columns().first().and_then(|column| column.as_boolean_opt());
            let truths = truths.ok_or_else(|| internal("a condition gave no truth values"))?;
            kept.extend((0..truths.len()).map(|row| truths.is_valid(row) && truths.value(row)));
        }
        if kept.len() == count { Ok(BooleanArray::from(kept)) } else { Err(internal("a condition was not asked of all rows")) }
    }

    /// The first of some rows at which the condition fails, as it has failed for all of them together, and how.
    async fn first_failure(&self, engine: &Engine, setting: &Setting, rows: &RecordBatch, whole: Diagnosis) -> (usize, Diagnosis) {
        let (mut start, mut count) = (0, rows.num_rows());
        while count > 1 {
            let half = count / 2;
            if self.kept(engine, setting, rows.slice(start, half)).await.is_err() {
                count = half;
            } else {
                start += half;
                count -= half;
            }
        }
        let alone = self.kept(engine, setting, rows.slice(start, count)).await;
        (start, alone.err().unwrap_or(whole))
    }
}

/// Whether a condition names any column.
fn names_columns(condition: &Expr) -> bool {
    let looked = visit_expressions(condition, |part| match part {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    looked.is_break()
}

/// The catalog with a table whose columns may all be NULL and which has no keys: that is how rows are that nobody has checked.
fn without_constraints(snapshot: &Snapshot, target: &Target) -> (Arc<Snapshot>, Target) {
    let mut table: Table = (*target.table).clone();
    for column in &mut table.columns {
        column.field = column.field.clone().with_nullable(true);
    }
    table.schema = Table::arrow_schema(&table.columns);
    (table.primary_key, table.unique_keys, table.checks) = (None, Vec::new(), Vec::new());
    let table = Arc::new(table);
    let (store, known) = (target.store.clone(), &target.relation);
    let body = RelationBody::Stored { store, table: Arc::clone(&table) };
    let relation = Arc::new(Relation { oid: known.oid, schema: known.schema.clone(), name: known.name.clone(), body });
    let mut schemas = snapshot.schemas.clone();
    if let Some(schema) = schemas.get_mut(&relation.schema) {
        schema.relations.insert(relation.name.clone(), Arc::clone(&relation));
    }
    let snapshot = Snapshot {
        version: snapshot.version,
        database: snapshot.database.clone(),
        schemas,
        objects: Objects::default(),
        connectors: Arc::clone(&snapshot.connectors),
        reach: Arc::clone(&snapshot.reach),
        retired: snapshot.retired.clone(),
    };
    (Arc::new(snapshot), Target { relation, table, key: None, ..target.clone() })
}

impl PlannedCopy {
    /// The names of the columns that are filled, in their order.
    pub fn names(&self) -> Vec<String> {
        let named = self.columns.iter().filter_map(|ordinal| self.target.table.columns.get(*ordinal));
        named.map(|column| column.name().to_owned()).collect()
    }

    /// What makes edits of rows.
    ///
    /// # Errors
    /// 0A000 when the store does not take such rows.
    pub fn loading(self, engine: &Engine, setting: &Setting, is_binary: bool) -> Result<Loading, Diagnosis> {
        let Self { target, columns, condition } = self;
        let store = &target.store;
        let Some(connector) = setting.snapshot.connectors.get(store) else {
            let message = format!("store \"{store}\" is no longer configured");
            return Err(Diagnosis::new(sqlstate::UNDEFINED_OBJECT, message));
        };
        let relation: Arc<str> = target.relation.name.as_str().into();
        let common = Common {
            target,
            verb: "COPY",
            connector: Arc::clone(connector),
            returning: Vec::new(),
            session: session_values(setting),
            values: Vec::new(),
            parameters: Vec::new(),
        };
        let form = RowForm::Insert { columns: columns.clone(), conflict: None };
        Maker::new(common.clone(), form.clone(), Vec::new()).map(drop)?;
        let filled = columns.iter().map(|ordinal| {
            let column = common.target.at(*ordinal)?;
            let to = Typed::of_field(&column.field);
            let sent = PgType::with_typmod(to.pg_type.oid, -1);
            Ok(Column { name: column.name().to_owned(), to, sent })
        });
        let filled = filled.collect::<Result<Vec<_>, Diagnosis>>()?;
        let (engine, setting) = (engine.clone(), setting.clone());
        Ok(Loading { engine, setting, common, form, ordinals: columns, columns: filled, condition, relation, is_binary })
    }
}

/// A column that is filled.
#[derive(Debug)]
struct Column {
    name: String,
    to: Typed,
    /// The type of binary values: that of the column, of any length.
    sent: PgType,
}

/// Makes edits of rows.
#[derive(Debug)]
pub struct Loading {
    engine: Engine,
    setting: Setting,
    common: Common,
    form: RowForm,
    ordinals: Vec<usize>,
    columns: Vec<Column>,
    condition: Option<Condition>,
    relation: Arc<str>,
    is_binary: bool,
}

/// An edit, and where its rows come from.
#[derive(Debug)]
pub struct Piece {
    /// The edit.
    pub edit: Edit,
    lines: Vec<u64>,
    relation: Arc<str>,
}

impl Loading {
    /// How many rows should be read at a time: they are one edit of a store that takes many at once, and otherwise several that are whole.
    pub fn rows_at_a_time(&self) -> usize {
        at_a_time(self.common.connector.rows_of_edit())
    }

    /// The edits of rows that are whole.
    ///
    /// # Errors
    /// What a value or the condition fails with, at the first row of which that is so.
    pub async fn edits(&self, rows: &RawRows) -> Result<Vec<Piece>, Diagnosis> {
        let mut lines = rows.lines().to_vec();
        let mut batch = self.common.batch(&self.ordinals, self.values(rows)?, rows.len())?;
        if let Some(condition) = &self.condition {
            let kept = self.kept(condition, &batch, &lines).await?;
            lines = lines.into_iter().zip(kept.iter()).filter(|(_, kept)| *kept == Some(true)).map(|(line, _)| line).collect();
            batch = filter_record_batch(&batch, &kept).map_err(told)?;
        }
        let mut left = lines.as_slice();
        let pieces = self.common.pieces(&self.form.edit(&self.common, batch)).into_iter().map(|edit| {
            let count = edit.rows().map_or(0, RecordBatch::num_rows).min(left.len());
            let (own, rest) = left.split_at(count);
            left = rest;
            Piece { edit, lines: own.to_vec(), relation: Arc::clone(&self.relation) }
        });
        Ok(pieces.collect())
    }

    /// What comes first: the failure of a value, of which the last row may have some only, or an error behind them.
    pub fn first_of(&self, rows: &RawRows, error: Diagnosis) -> Diagnosis {
        self.values(rows).err().unwrap_or(error)
    }

    /// The values of all rows in the types of their columns.
    fn values(&self, rows: &RawRows) -> Result<Vec<ArrayRef>, Diagnosis> {
        let session = &self.common.session;
        let columns = self.columns.iter().map(|column| Assigned::new(column.to.clone(), rows.len(), session));
        let mut columns = columns.collect::<Result<Vec<_>, DataFusionError>>().map_err(|error| diagnose(&error))?;
        for (row, line) in rows.lines().iter().enumerate() {
            for (place, (column, assigned)) in self.columns.iter().zip(&mut columns).enumerate() {
                let raw = rows.value(row, place);
                self.assign(column, raw, assigned)
                    .map_err(|error| error.with_context(in_column((&*self.relation, *line), &column.name, raw, self.is_binary)))?;
            }
        }
        columns.into_iter().map(|column| column.finish().map_err(|error| diagnose(&error))).collect()
    }

    fn assign(&self, column: &Column, raw: Raw<'_>, assigned: &mut Assigned<'_>) -> Result<(), Diagnosis> {
        let told = |error: DataFusionError| diagnose(&error);
        match raw {
            Raw::Missing => Ok(()),
            Raw::Null => assigned.null().map_err(told),
            Raw::Value(bytes) if self.is_binary => {
                let value = decode::parameter(column.sent, Format::Binary, Some(bytes), &self.setting.display)?;
                let array = value.to_array_of_size(1).map_err(told)?;
                let array = assign_array(&array, &column.sent.into(), &column.to, &self.common.session).map_err(told)?;
                assigned.row(&array, 0).map_err(told)
            }
            Raw::Value(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(|error| {
                    Diagnosis::new(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, invalid_utf8(bytes, error.valid_up_to()))
                })?;
                assigned.text(text).map_err(told)
            }
        }
    }

    /// Which rows a condition keeps.
    async fn kept(&self, condition: &Condition, batch: &RecordBatch, lines: &[u64]) -> Result<BooleanArray, Diagnosis> {
        let needed = &condition.outputs.needed;
        let arrays = needed.iter().map(|ordinal| {
            let place = self.ordinals.iter().position(|filled| filled == ordinal);
            match place.and_then(|place| batch.columns().get(place)) {
                Some(array) => Ok(Arc::clone(array)),
                None => Ok(new_null_array(edit::field(self.common.target.at(*ordinal)?).data_type(), batch.num_rows())),
            }
        });
        let rows = self.common.batch(needed, arrays.collect::<Result<_, Diagnosis>>()?, batch.num_rows())?;
        match condition.kept(&self.engine, &self.setting, rows.clone()).await {
            Ok(kept) => Ok(kept),
            Err(error) => {
                let (row, error) = condition.first_failure(&self.engine, &self.setting, &rows, error).await;
                let line = lines.get(row).copied().unwrap_or_default();
                Err(error.with_context(in_line(&self.relation, line)))
            }
        }
    }
}

/// About [`ROWS_MAX`] rows, as a multiple of those of an edit, or those of one edit, up to [`ROWS_MOST`].
fn at_a_time(rows_of_edit: usize) -> usize {
    let each = rows_of_edit.max(1);
    if each >= ROWS_MAX { each.min(ROWS_MOST) } else { ROWS_MAX - ROWS_MAX % each }
}

impl Piece {
    /// What the store has failed with, and where in the data that is, as far as it is known.
    pub fn placed(&self, error: Diagnosis) -> Diagnosis {
        let (Some(first), Some(last)) = (self.lines.first(), self.lines.last()) else { return error };
        if error.sqlstate == sqlstate::QUERY_CANCELED {
            return error;
        }
        let context = match self.row_of(&error).or_else(|| self.null_of(&error)).and_then(|row| self.lines.get(row)) {
            Some(line) => in_line(&self.relation, *line),
            None => in_lines(&self.relation, *first, *last),
        };
        error.with_context(context)
    }

    /// The row that the store itself has named.
    fn row_of(&self, error: &Diagnosis) -> Option<usize> {
        let row = usize::try_from(error.site.as_ref()?.row?).ok()?;
        (row < self.lines.len()).then_some(row)
    }

    /// The row whose NULL a store has refused: the first one with a NULL in the column that it names.
    fn null_of(&self, error: &Diagnosis) -> Option<usize> {
        let named = error.site.as_ref()?.column.as_ref().filter(|_| error.sqlstate == sqlstate::NOT_NULL_VIOLATION)?;
        let Edit::Insert(insert) = &self.edit else { return None };
        let is_named = |ordinal: &usize| insert.table.columns.get(*ordinal).is_some_and(|column| column.name() == named);
        let place = insert.columns.iter().position(is_named)?;
        let values = insert.rows.columns().get(place)?;
        (0..values.len()).find(|row| values.is_null(*row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_by_whole_edits() {
        let rows = [(0, 2_048), (1, 2_048), (500, 2_000), (1_000, 2_000), (2_047, 2_047), (2_048, 2_048), (5_000, 5_000)];
        for (of_edit, expected) in rows {
            assert_eq!(at_a_time(of_edit), expected, "{of_edit}");
        }
        assert_eq!((at_a_time(20_000), at_a_time(usize::MAX)), (ROWS_MOST, ROWS_MOST));
    }
}
