//! `ON CONFLICT DO UPDATE` whose new values are computed of the row that is there: the rows to be inserted are joined with those that
//! they meet, which are locked; what meets one is judged as a new row (`judged`) and updates it, and the rest is inserted.
//!
//! Between the look and the insert another transaction may add a row. The insert then fails, and the statement looks once more:
//! [`Race`] tells such a failure from others.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, not, take};
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Ident, SelectItem, Value};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::super::ast::allowed::{Sets, refuse_calls};
use super::super::ast::volatile;
use super::super::branches::Branches;
use super::super::digits;
use super::super::engine::Engine;
use super::super::error::diagnose;
use super::super::generic::PlanMode;
use super::super::plan::{Planned, Setting};
use super::super::semantics::typed::Typed;
use super::Work;
use super::assign::{self, Binding, check_changed};
use super::conflict::EXCLUDED;
use super::defaults;
use super::distinct::{Distinct, Members, Repeated, twice};
use super::given::Given;
use super::judged;
use super::rows::{Common, Gathered, Input, Maker, RowForm, Rows, check_given, places_of, told};
use super::scope::{Cell, Scope, all_of, always, column_of, quoted, select, types_of, when, whole_name};
use super::target::Target;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::name::fold;
use crate::stores::Table;
use crate::stores::edit::{self, Edit, Insert};
use crate::stores::schema::Key;

/// A planned update of rows that are met.
#[derive(Debug)]
pub(super) struct PlannedUpsert {
    planned: Planned,
    given: Given,
    types: Vec<Typed>,
    /// Columns of `excluded` that are named, with their defaults where those are constants.
    used: Vec<(usize, Option<Cell>)>,
    /// The key whose rows are met.
    key: Vec<usize>,
    race: Race,
    /// Whether rows are changed and added one after the other: new values may meet those of other rows.
    in_turn: bool,
    /// The key by which a row is updated.
    row: Vec<usize>,
    /// What becomes of rows that meet one row, or one another.
    repeated: Repeated,
    set: Vec<(usize, New)>,
}

/// A new value.
#[derive(Debug)]
enum New {
    Cell(Cell),
    /// By its place among the outputs.
    Computed(usize),
}

/// Plans the update of rows that are met by `key`.
///
/// # Errors
/// As for any query; 0A000 for keys by which no rows are found here, or changed.
pub(super) fn plan(
    scope: &mut Scope<'_>,
    target: &Target,
    (alias, key): (Option<&Ident>, &[usize]),
    (assigned, condition): (Vec<(usize, Expr)>, Option<Expr>),
) -> Result<PlannedUpsert, Diagnosis> {
    let moved = moved_by(target, key, &assigned)?;
    let race = Race::of(&target.table, (key, moved.as_slice()));
    let mut keys = target.table.primary_key.iter().chain(&target.table.unique_keys);
    let in_turn = keys.any(|key| key.columns.iter().any(|ordinal| moved.contains(ordinal)));
    let row = target.key().map(|key| key.columns.clone()).ok_or_else(|| unsupported("a table without a key to rely on"))?;
    let mut items = Vec::new();
    for ordinal in row.iter().chain(key) {
        items.push(column_of(target, target.at(*ordinal)?.name()));
    }
    if condition.as_ref().is_some_and(volatile::changes) {
        return Err(unsupported("a condition that calls a volatile function"));
    }
    let is_wanted = condition.clone().unwrap_or_else(always);
    refuse_calls(&is_wanted, "WHERE", Sets::Refused, &|name| scope.is_aggregate(name))?;
    let truth = |truth: bool| Expr::value(Value::Boolean(truth));
    items.push(SelectItem::UnnamedExpr(when(vec![(is_wanted, truth(true))], Some(truth(false)))));
    let mut set = Vec::with_capacity(assigned.len());
    for (ordinal, expr) in assigned {
        check_changed(target.at(ordinal)?)?;
        let new = match Cell::of(&expr)? {
            Some(Cell::Default) => New::Cell(defaults::of(scope, target, ordinal)?),
            Some(cell) => New::Cell(cell),
            None => {
                refuse_calls(&expr, "UPDATE", Sets::Refused, &|name| scope.is_aggregate(name))?;
                // Of a row that stays as it is nothing is computed.
                items.push(SelectItem::UnnamedExpr(match &condition {
                    Some(condition) => when(vec![(condition.clone(), expr)], None),
                    None => expr,
                }));
                New::Computed(items.len() - 1)
            }
        };
        set.push((ordinal, new));
    }
    let excluded = Ident::new(EXCLUDED);
    let from = vec![whole_name(target, Some(&excluded))?, whole_name(target, alias)?];
    let mut meets = Vec::with_capacity(key.len());
    for ordinal in key {
        let name = target.at(*ordinal)?.name();
        let of = |relation: &str| Box::new(Expr::CompoundIdentifier(vec![quoted(relation), quoted(name)]));
        meets.push(Expr::BinaryOp { left: of(EXCLUDED), op: BinaryOperator::Eq, right: of(&target.alias) });
    }
    let planned = scope.plan(select(None, items, from, all_of(meets))?)?;
    let types = types_of(&planned);
    check(scope, target, (set.as_slice(), types.as_slice()))?;
    let is_place = |node: &LogicalPlan| matches!(node, LogicalPlan::SubqueryAlias(named) if named.alias.table() == EXCLUDED);
    let placed = Given::instead(planned.logical(), is_place).map_err(|error| diagnose(&error))?;
    let (given, logical) = placed.ok_or_else(lost)?;
    let used = used(scope, target, given.used(&logical).map_err(|error| diagnose(&error))?)?;
    let planned = planned.with_logical(logical);
    let repeated = if condition.is_some() { Repeated::Noted } else { Repeated::Refused };
    Ok(PlannedUpsert { planned, given, types, used, key: key.to_vec(), race, in_turn, row, repeated, set })
}

/// The columns that get other values than they have, as far as that can be seen.
fn moved_by(target: &Target, key: &[usize], assigned: &[(usize, Expr)]) -> Result<Vec<usize>, Diagnosis> {
    let mut moved = Vec::with_capacity(assigned.len());
    for (ordinal, expr) in assigned {
        let stays = match expr {
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [relation, name] if fold(name) == target.at(*ordinal)?.name() => {
                    let relation = fold(relation);
                    relation == target.alias || (relation == EXCLUDED && key.contains(ordinal))
                }
                _ => false,
            },
            _ => false,
        };
        if !stays {
            moved.push(*ordinal);
        }
    }
    Ok(moved)
}

/// Looks at the types of new values, and settles those of parameters.
fn check(scope: &mut Scope<'_>, target: &Target, (set, types): (&[(usize, New)], &[Typed])) -> Result<(), Diagnosis> {
    for (ordinal, new) in set {
        let column = target.at(*ordinal)?;
        match new {
            New::Cell(Cell::Parameter(number)) => {
                let settled = scope.parameters.settle(*number, column.pg_type());
                assign::check(column, &settled.into())?;
            }
            New::Cell(cell) => assign::check(column, &cell.own_type().into())?,
            New::Computed(place) => assign::check(column, types.get(*place).ok_or_else(lost)?)?,
        }
    }
    Ok(())
}

/// The columns of `excluded` that are named, with what they are where a row leaves them out.
fn used(scope: &Scope<'_>, target: &Target, ordinals: Vec<usize>) -> Result<Vec<(usize, Option<Cell>)>, Diagnosis> {
    let kind = scope.setting.snapshot.connectors.get(&target.store).map(|connector| connector.kind()).unwrap_or_default();
    let mut found = Vec::with_capacity(ordinals.len());
    for ordinal in ordinals {
        let column = target.at(ordinal)?;
        if edit::field(column).data_type() != column.field.data_type() {
            return Err(unsupported("a column that holds documents"));
        }
        found.push((ordinal, defaults::constant(kind, column)));
    }
    Ok(found)
}

fn unsupported(what: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{what} in ON CONFLICT DO UPDATE is not supported"))
        .with_detail("New values are computed of the rows that are there.")
}

fn lost() -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, "the rows of ON CONFLICT have no place in their plan")
}

impl PlannedUpsert {
    /// What the rows to be inserted come to.
    ///
    /// # Errors
    /// 0A000 for a key that only its store compares, and what constants fail with.
    pub(super) fn over(self: &Arc<Self>, binding: &Binding<'_>, proposed: Work) -> Result<Work, Diagnosis> {
        let common = binding.common();
        let distinct = Distinct::new(common, &self.key, self.repeated, binding.engine.reservation("keys to be written"))?;
        if distinct.is_loose {
            return Err(unsupported("a key that compares by rules of its store"));
        }
        let mut inputs = Vec::with_capacity(self.row.len() + self.set.len());
        let output = |place: usize| self.types.get(place).cloned().map(|from| Input::Output(place, from)).ok_or_else(lost);
        for place in 0..self.row.len() {
            inputs.push(output(place)?);
        }
        for (ordinal, new) in &self.set {
            inputs.push(match new {
                New::Cell(cell) => Input::Constant(binding.constant(cell, *ordinal)?),
                New::Computed(place) => output(*place)?,
            });
        }
        let mut left_out = Vec::with_capacity(self.used.len());
        for (ordinal, known) in &self.used {
            let value = known.as_ref().map(|cell| binding.constant(cell, *ordinal)).transpose()?;
            left_out.push((*ordinal, value));
        }
        let form = RowForm::Update { key: self.row.clone(), set: self.set.iter().map(|(ordinal, _)| *ordinal).collect() };
        let updates = Maker::new(common.clone(), form, inputs)?;
        let (planned, common) = (Arc::clone(self), common.clone());
        let (engine, setting) = (binding.engine.clone(), Setting { plan_mode: PlanMode::Custom, ..binding.setting.clone() });
        let branches = Arc::clone(binding.branches);
        let upsert = Upsert { planned, common, engine, setting, branches, distinct, left_out, updates };
        Ok(Rows::of_upsert(proposed, upsert).map_or(Work::Nothing, Work::Rows))
    }
}

/// One execution.
pub(super) struct Upsert {
    planned: Arc<PlannedUpsert>,
    common: Common,
    engine: Engine,
    setting: Setting,
    branches: Arc<Branches>,
    distinct: Distinct,
    /// What columns of `excluded` are where a row leaves them out; `None` where only the store knows.
    left_out: Vec<(usize, Option<ArrayRef>)>,
    updates: Maker,
}

impl Upsert {
    pub(super) fn race(&self) -> Race {
        self.planned.race.clone()
    }

    /// The edits of rows that were to be inserted: what judges those that meet others, updates of these, then what is left.
    ///
    /// # Errors
    /// 21000 for rows that meet in one, 53200 for more rows than may be kept, and what reading fails with.
    pub(super) async fn edits(
        mut self,
        mut proposed: BoxStream<'static, Result<Edit, Diagnosis>>,
        reservation: MemoryReservation,
    ) -> Result<Vec<Edit>, Diagnosis> {
        let mut inserts = Vec::new();
        while let Some(edit) = proposed.next().await {
            let Edit::Insert(insert) = edit? else { continue };
            // Kept twice: as it is written, and as it is compared.
            let bytes = insert.rows.get_array_memory_size().saturating_mul(2);
            reservation.try_grow(bytes).map_err(|error| diagnose(&error).with_hint("Insert fewer rows at a time."))?;
            inserts.push(insert);
        }
        let (given, again) = self.given(&inserts)?;
        let told_of = |error: DataFusionError| diagnose(&error);
        let planned = self.planned.given.over(&self.planned.planned, given).map_err(told_of)?;
        let target = (&self.branches, Some(&self.common.target.store));
        let ready = digits::bind(&self.engine, &self.setting, &planned, &self.common.values, target).await?;
        let met = Gathered::of(ready.run()?, self.engine.reservation("rows that are met")).await?.whole()?;
        let key = met.columns().iter().skip(self.planned.row.len()).take(self.planned.key.len()).cloned();
        let (key, types) = (key.collect::<Vec<ArrayRef>>(), self.key_types()?);
        let members = Members::of(types, &key)?;
        let wanted = met.columns().get(self.planned.row.len() + self.planned.key.len()).ok_or_else(lost)?;
        let wanted: &BooleanArray = wanted.as_boolean_opt().ok_or_else(lost)?;
        let wanted: BooleanArray = wanted.iter().map(|wanted| Some(wanted == Some(true))).collect();
        check_again(&members, (key.as_slice(), &wanted), &again)?;
        // The rows are judged before an update gives what they meet another key.
        let (mut edits, mut updates, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
        let mut order = Vec::with_capacity(met.num_rows());
        for insert in inserts {
            let places = places_of(&self.planned.key, &insert.columns).ok_or_else(lost)?;
            let keys = insert.rows.project(&places).map_err(told)?;
            let places = members.places(keys.columns())?;
            let is_fresh: BooleanArray = places.iter().map(|place| Some(place.is_none())).collect();
            let meeting = filter_record_batch(&insert.rows, &not(&is_fresh).map_err(told)?).map_err(told)?;
            edits.extend(judged::edit(&self.common, &insert, &self.planned.key, meeting)?);
            order.extend(places.iter().flatten().copied());
            if self.planned.in_turn {
                updates.extend(self.in_turn(&insert, &places, (&met, &wanted))?);
                continue;
            }
            let rows = filter_record_batch(&insert.rows, &is_fresh).map_err(told)?;
            if rows.num_rows() > 0 {
                fresh.push(Edit::Insert(Insert { rows, ..insert }));
            }
        }
        if order.len() != met.num_rows() {
            return Err(lost());
        }
        if !self.planned.in_turn {
            updates = self.updates.make(&filter_record_batch(&met, &wanted).map_err(told)?)?;
        }
        edits.extend(updates);
        edits.extend(fresh);
        Ok(edits)
    }

    /// Rows to be inserted one after the other, each of which updates the row at its place among those that are met, or is new.
    fn in_turn(
        &mut self,
        insert: &Insert,
        places: &[Option<usize>],
        (met, wanted): (&RecordBatch, &BooleanArray),
    ) -> Result<Vec<Edit>, Diagnosis> {
        let mut edits = Vec::with_capacity(places.len());
        for (row, place) in places.iter().enumerate() {
            match place {
                None => edits.push(Edit::Insert(Insert { rows: insert.rows.slice(row, 1), ..insert.clone() })),
                Some(place) if wanted.value(*place) => edits.extend(self.updates.make(&met.slice(*place, 1))?),
                Some(_) => {}
            }
        }
        Ok(edits)
    }

    fn key_types(&self) -> Result<Vec<Typed>, Diagnosis> {
        let columns = self.planned.key.iter().map(|ordinal| self.common.target.at(*ordinal));
        columns.map(|column| Ok(Typed::of_field(&column?.field))).collect()
    }

    /// The rows as those of `excluded`, and the keys of those whose key was there before.
    fn given(&mut self, inserts: &[Insert]) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), Diagnosis> {
        let (mut batches, mut again) = (Vec::with_capacity(inserts.len()), Vec::new());
        for insert in inserts {
            let places = places_of(&self.planned.key, &insert.columns);
            check_given(places.is_some())?;
            self.distinct.places = places.unwrap_or_default();
            if let Some(kept) = self.distinct.kept(&insert.rows)? {
                let keys = insert.rows.project(&self.distinct.places).map_err(told)?;
                again.push(filter_record_batch(&keys, &not(&kept).map_err(told)?).map_err(told)?);
            }
            let count = insert.rows.num_rows();
            let mut columns: Vec<Option<ArrayRef>> = vec![None; self.planned.given.width()];
            for (ordinal, known) in &self.left_out {
                let column = match insert.columns.iter().position(|column| column == ordinal) {
                    Some(place) => Arc::clone(insert.rows.columns().get(place).ok_or_else(lost)?),
                    None => {
                        let known = known.as_ref().ok_or_else(|| unsupported("a column of excluded that its store makes"))?;
                        take(known, &UInt32Array::from(vec![0; count]), None).map_err(told)?
                    }
                };
                *columns.get_mut(*ordinal).ok_or_else(lost)? = Some(column);
            }
            let batch = self.planned.given.batch(&columns, count).map_err(|error| diagnose(&error))?;
            batches.push(batch);
        }
        Ok((batches, again))
    }
}

/// Looks at rows whose key other rows of the statement have too: a row that is only looked at may be met any number of times, one that
/// is added or changed is not met again.
///
/// # Errors
/// 21000 where a row is met again; 0A000 where it depends on the order of the rows whether one is.
fn check_again(members: &Members, (key, wanted): (&[ArrayRef], &BooleanArray), again: &[RecordBatch]) -> Result<(), Diagnosis> {
    if again.is_empty() {
        return Ok(());
    }
    let mut changes: HashMap<usize, usize> = HashMap::new();
    for (place, wanted) in members.places(key)?.into_iter().zip(wanted) {
        *changes.entry(place.ok_or_else(lost)?).or_default() += usize::from(wanted == Some(true));
    }
    for keys in again {
        for place in members.places(keys.columns())? {
            match place.and_then(|place| changes.get(&place)) {
                Some(0) => {}
                Some(1) => return Err(unsupported("rows that meet one row several times and change it once")),
                _ => return Err(twice(Repeated::Noted)),
            }
        }
    }
    Ok(())
}

/// That rows which nobody had may be somebody's when they are inserted.
#[derive(Debug, Clone)]
pub struct Race {
    constraint: String,
    /// The names of the table's other keys.
    others: Vec<String>,
    /// Whether the statement itself may have given a row the key of another one.
    changes_key: bool,
}

impl Race {
    fn of(table: &Table, (key, moved): (&[usize], &[usize])) -> Self {
        let is_met = |known: &Key| known.columns.len() == key.len() && known.columns.iter().all(|ordinal| key.contains(ordinal));
        let keys = || table.primary_key.iter().chain(&table.unique_keys);
        let constraint = keys().find(|known| is_met(known)).map(|known| known.name.clone()).unwrap_or_default();
        let others = keys().map(|known| known.name.clone()).filter(|name| *name != constraint).collect();
        Self { constraint, others, changes_key: key.iter().any(|ordinal| moved.contains(ordinal)) }
    }

    /// Whether an edit of the statement adds a row that nobody had.
    pub fn adds(edit: &Edit) -> bool {
        matches!(edit, Edit::Insert(Insert { conflict: None, .. }))
    }

    /// Whether such an edit may have failed because another transaction has added a row that it would have met. A partition has names of
    /// its own for the keys of its table.
    pub fn is_lost(&self, error: &Diagnosis) -> bool {
        let is_met = |name: &String| *name == self.constraint || !self.others.contains(name);
        error.sqlstate == sqlstate::UNIQUE_VIOLATION && error.constraint.as_ref().is_some_and(is_met)
    }

    /// Whether that is the only reason that there is.
    pub fn is_surely_lost(&self, error: &Diagnosis) -> bool {
        self.is_lost(error) && !self.changes_key && error.constraint.as_ref() == Some(&self.constraint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_race_is_lost_by_the_key_that_was_looked_at() {
        let key = |name: &str, columns: &[usize]| Key { name: name.to_owned(), columns: columns.to_vec(), proven: true };
        let plain = Table::plain("public", "t", Vec::new());
        let table = Table { primary_key: Some(key("t_pkey", &[0])), unique_keys: vec![key("t_other", &[1])], ..plain };
        let race = Race::of(&table, (&[0], &[2]));
        let failed = |race: &Race, code: &str, constraint: Option<&str>| {
            let mut error = Diagnosis::new(code, "no");
            error.constraint = constraint.map(str::to_owned);
            (race.is_lost(&error), race.is_surely_lost(&error))
        };
        assert_eq!(failed(&race, "23505", Some("t_pkey")), (true, true));
        assert_eq!(failed(&race, "23505", Some("t_1_pkey")), (true, false));
        assert_eq!(failed(&race, "23505", Some("t_other")), (false, false));
        assert_eq!(failed(&race, "23505", None), (false, false));
        assert_eq!(failed(&race, "23514", Some("t_pkey")), (false, false));
        let moving = Race::of(&table, (&[0], &[0]));
        assert_eq!(failed(&moving, "23505", Some("t_pkey")), (true, false));
    }
}
