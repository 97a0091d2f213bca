//! `MERGE`: rows of a source beside those of the target that they match, each with the first action whose condition holds.
//!
//! The target is read and locked by the query that joins both; what is done with its rows are edits by key. Removals come first, then
//! new values, then new rows: PostgreSQL says nothing of their order.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::sql::sqlparser::ast::{
    AssignmentTarget, BinaryOperator, Expr, Ident, JoinConstraint, JoinOperator, Merge, MergeAction, MergeClause, MergeClauseKind,
    MergeInsertExpr, MergeInsertKind, MergeUpdateExpr, Query, SelectItem, SetExpr, TableFactor, TableWithJoins, Value, VisitMut,
    VisitorMut, With,
};

use super::super::ast::allowed::{Sets, refuse_calls};
use super::super::ast::merging::Mark;
use super::super::ast::name::fold;
use super::super::ast::volatile;
use super::super::ast::writing::Word;
use super::super::plan::{Planned, Setting, parse_query};
use super::super::semantics::typed::Typed;
use super::assign::{self, Binding, check_changed, check_given};
use super::assignment::single;
use super::defaults;
use super::distinct::{Distinct, Repeated};
use super::insert::{listed, rows_of, taken};
use super::returning::Around;
use super::rows::{Input, Maker, RowForm, Rows, told};
use super::scope::{Cell, Scope, always, column_of, not_in_grammar, quoted, select, types_of, when, whole_name};
use super::target::{Target, factor};
use super::{Shaped, Work};
use crate::catalog::Relation;
use crate::error::{Diagnosis, sqlstate};
use crate::stores::Edit;

const DUPLICATE_ALIAS: &str = "42712";

/// A planned merge: the query gives the target's key, which clause it is, and what is computed.
#[derive(Debug)]
pub(super) struct PlannedMerge {
    planned: Planned,
    types: Vec<Typed>,
    key: Vec<usize>,
    clauses: Vec<Action>,
}

/// What a clause does.
#[derive(Debug)]
enum Action {
    Nothing,
    Delete,
    Update(Vec<(usize, New)>),
    Insert(Vec<(usize, New)>),
}

/// A new value.
#[derive(Debug)]
enum New {
    Cell(Cell),
    /// By its place among the outputs.
    Computed(usize),
}

/// A clause as it is written.
struct Clause {
    is_matched: bool,
    condition: Option<Expr>,
    written: Written,
}

/// What it does, with expressions.
enum Written {
    Nothing,
    Delete,
    Update(Vec<(usize, Expr)>),
    Insert(Vec<(usize, Expr)>),
}

/// Plans a merge.
///
/// # Errors
/// As [`super::plan_aside`].
pub(super) fn plan(
    scope: &mut Scope<'_>,
    relation: Arc<Relation>,
    with: Option<With>,
    merge: Merge,
) -> Result<Shaped<PlannedMerge>, Diagnosis> {
    let Merge {
        merge_token: _,
        // They are comments to PostgreSQL.
        optimizer_hints: _,
        into,
        table,
        source,
        on,
        clauses,
        output,
    } = merge;
    if !into {
        return Err(not_in_grammar("MERGE"));
    }
    if output.is_some() {
        return Err(not_in_grammar("RETURNING"));
    }
    if clauses.is_empty() {
        return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "syntax error at end of input"));
    }
    let alias = factor(&table)?.1.cloned();
    let mut target = Target::of(&scope.setting.snapshot, relation, alias.as_ref())?;
    check_names(&target, &source)?;
    let Some(key) = target.whole_key().map(|key| key.columns.clone()) else {
        return Err(target.no_key(None));
    };
    let read = clauses.into_iter().map(|clause| written(scope.setting, (&mut target, with.as_ref()), clause));
    let mut written = read.collect::<Result<Vec<Clause>, Diagnosis>>()?;
    check_reachable(&written)?;
    check_calls(scope, &written)?;
    bind_to_source(scope, &source, (with.as_ref(), written.as_mut_slice()))?;
    let named = key.iter().map(|ordinal| Ok(column_of(&target, target.at(*ordinal)?.name())));
    let mut items = named.collect::<Result<Vec<SelectItem>, Diagnosis>>()?;
    let choice = choice(&target, &key, &written)?;
    items.push(SelectItem::UnnamedExpr(choice.clone()));
    let is_outer = written.iter().any(|clause| !clause.is_matched);
    let mut clauses = Vec::with_capacity(written.len());
    for (number, clause) in written.into_iter().enumerate() {
        clauses.push(action(scope, &target, (clause.written, &chosen(&choice, number)), &mut items)?);
    }
    let from = joined(source, whole_name(&target, alias.as_ref())?, *on, is_outer)?;
    let planned = scope.plan(select(with, items, vec![from], None)?)?;
    let types = types_of(&planned);
    let form = PlannedMerge { planned, types, key, clauses };
    form.check(scope, &target)?;
    Ok(Shaped { target, form, around: Around::default(), returning: None })
}

/// Refuses a source under the name of the target, as PostgreSQL does.
fn check_names(target: &Target, source: &TableFactor) -> Result<(), Diagnosis> {
    if name_of(source).is_none_or(|name| fold(&name) != target.alias) {
        return Ok(());
    }
    let message = format!("name \"{}\" specified more than once", target.alias);
    Err(Diagnosis::new(DUPLICATE_ALIAS, message).with_detail("The name is used both as MERGE target table and data source."))
}

/// A clause whose columns are known.
fn written(setting: &Setting, (target, with): (&mut Target, Option<&With>), clause: MergeClause) -> Result<Clause, Diagnosis> {
    let MergeClause { when_token: _, clause_kind, predicate: condition, action } = clause;
    let is_matched = match clause_kind {
        MergeClauseKind::Matched => true,
        MergeClauseKind::NotMatched => false,
        MergeClauseKind::NotMatchedByTarget | MergeClauseKind::NotMatchedBySource => return Err(not_in_grammar("BY")),
    };
    let written = match action {
        MergeAction::Delete { delete_token: _ } => Written::Delete,
        MergeAction::Update(MergeUpdateExpr { update_token: _, assignments, update_predicate, delete_predicate }) => {
            if update_predicate.is_some() || delete_predicate.is_some() {
                return Err(not_in_grammar("WHERE"));
            }
            let is_nothing = assignments.iter().any(|assignment| match &assignment.target {
                AssignmentTarget::ColumnName(name) => Mark::of(name).is_some(),
                AssignmentTarget::Tuple(_) => false,
            });
            if is_nothing { Written::Nothing } else { Written::Update(single(setting, (target, with), assignments)?) }
        }
        MergeAction::Insert(insert) => inserted(target, insert)?,
    };
    Ok(Clause { is_matched, condition, written })
}

fn inserted(target: &mut Target, insert: MergeInsertExpr) -> Result<Written, Diagnosis> {
    let MergeInsertExpr { insert_token: _, columns, kind_token: _, kind, insert_predicate } = insert;
    if insert_predicate.is_some() {
        return Err(not_in_grammar("WHERE"));
    }
    match columns.first().and_then(Mark::of) {
        Some(Mark::Nothing) => return Ok(Written::Nothing),
        Some(Mark::Defaults) => return Ok(Written::Insert(Vec::new())),
        None => {}
    }
    if columns.iter().any(|column| Word::first_of(column).is_some()) {
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "OVERRIDING in MERGE is not supported"));
    }
    let MergeInsertKind::Values(values) = kind else { return Err(not_in_grammar("ROW")) };
    let mut rows = rows_of(values)?;
    let (Some(row), true) = (rows.pop(), rows.is_empty()) else { return Err(not_in_grammar(",")) };
    let listed = listed(target, &columns)?;
    let columns = taken(target, listed, row.len())?;
    for (ordinal, value) in columns.iter().zip(&row) {
        target.check_part(*ordinal, value)?;
    }
    Ok(Written::Insert(columns.into_iter().zip(row).collect()))
}

/// As PostgreSQL: a clause behind one of its kind that has no condition is a mistake.
fn check_reachable(clauses: &[Clause]) -> Result<(), Diagnosis> {
    for is_matched in [true, false] {
        let mut of_kind = clauses.iter().filter(|clause| clause.is_matched == is_matched);
        if of_kind.any(|clause| clause.condition.is_none()) && of_kind.next().is_some() {
            let message = "unreachable WHEN clause specified after unconditional WHEN clause";
            return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, message));
        }
    }
    Ok(())
}

fn check_calls(scope: &Scope<'_>, clauses: &[Clause]) -> Result<(), Diagnosis> {
    let is_aggregate = |name: &str| scope.is_aggregate(name);
    for clause in clauses {
        if let Some(condition) = &clause.condition {
            refuse_calls(condition, "MERGE WHEN conditions", Sets::Refused, &is_aggregate)?;
            if volatile::changes(condition) {
                let message = "volatile functions in conditions of MERGE are not supported";
                return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
            }
        }
        let (Written::Update(values) | Written::Insert(values)) = &clause.written else { continue };
        let place = if clause.is_matched { "UPDATE" } else { "VALUES" };
        for (_, expr) in values {
            refuse_calls(expr, place, Sets::Refused, &is_aggregate)?;
        }
    }
    Ok(())
}

/// What is done with rows that match nothing sees the source alone: it is planned so, for its mistakes, and names its columns in full.
fn bind_to_source(
    scope: &Scope<'_>,
    source: &TableFactor,
    (with, clauses): (Option<&With>, &mut [Clause]),
) -> Result<(), Diagnosis> {
    let from = || vec![TableWithJoins { relation: source.clone(), joins: Vec::new() }];
    let mut parts: Vec<&mut Expr> = Vec::new();
    for clause in clauses.iter_mut().filter(|clause| !clause.is_matched) {
        parts.extend(clause.condition.as_mut());
        if let Written::Insert(values) = &mut clause.written {
            parts.extend(values.iter_mut().map(|(_, expr)| expr));
        }
    }
    let mut items = Vec::with_capacity(parts.len());
    for part in &parts {
        if Cell::of(part)?.is_none() {
            items.push(SelectItem::UnnamedExpr(Expr::clone(part)));
        }
    }
    if items.is_empty() {
        return Ok(());
    }
    scope.plan_ahead(select(with.cloned(), items, from(), None)?)?;
    let Some(name) = name_of(source) else { return Ok(()) };
    let mut all: Query = parse_query("SELECT * FROM a")?;
    all.with = with.cloned();
    if let SetExpr::Select(select) = all.body.as_mut() {
        select.from = from();
    }
    let planned = scope.plan_ahead(all)?;
    let columns = planned.columns.iter().map(|column| column.name.clone()).collect();
    let mut naming = Naming { relation: name, columns, depth: 0 };
    for part in parts {
        let _: ControlFlow<()> = part.visit(&mut naming);
    }
    Ok(())
}

/// The name of a relation that has one.
fn name_of(source: &TableFactor) -> Option<Ident> {
    match source {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, alias: None, .. } => name.0.last().and_then(|part| part.as_ident()).cloned(),
        _ => None,
    }
}

/// Writes the relation before the names of its columns.
struct Naming {
    relation: Ident,
    columns: Vec<String>,
    depth: usize,
}

impl VisitorMut for Naming {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(name) = expr
            && self.depth == 0
            && self.columns.contains(&fold(name))
        {
            *expr = Expr::CompoundIdentifier(vec![self.relation.clone(), name.clone()]);
        }
        ControlFlow::Continue(())
    }
}

/// The number of the clause that a row gets: the first one of its kind whose condition holds.
fn choice(target: &Target, key: &[usize], clauses: &[Clause]) -> Result<Expr, Diagnosis> {
    let first = key.first().map(|ordinal| target.at(*ordinal)).transpose()?.map(|column| column.name().to_owned());
    let column = Expr::CompoundIdentifier(vec![quoted(&target.alias), quoted(&first.unwrap_or_default())]);
    let of_kind = |is_matched: bool| {
        let own = clauses.iter().enumerate().filter(|(_, clause)| clause.is_matched == is_matched);
        let cases: Vec<(Expr, Expr)> =
            own.map(|(number, clause)| (clause.condition.clone().unwrap_or_else(always), numbered(number))).collect();
        if cases.is_empty() { None } else { Some(when(cases, Some(numbered(clauses.len())))) }
    };
    let none = || numbered(clauses.len());
    let matched = of_kind(true).unwrap_or_else(none);
    let others = of_kind(false).unwrap_or_else(none);
    Ok(when(vec![(Expr::IsNotNull(Box::new(column)), matched)], Some(others)))
}

fn numbered(number: usize) -> Expr {
    Expr::value(Value::Number(number.to_string(), false))
}

fn chosen(choice: &Expr, number: usize) -> Expr {
    let left = Box::new(Expr::Nested(Box::new(choice.clone())));
    Expr::BinaryOp { left, op: BinaryOperator::Eq, right: Box::new(numbered(number)) }
}

/// What a clause does, with its expressions among the outputs: they are computed of its own rows only.
fn action(
    scope: &Scope<'_>,
    target: &Target,
    (written, is_chosen): (Written, &Expr),
    items: &mut Vec<SelectItem>,
) -> Result<Action, Diagnosis> {
    let mut computed = |expr: Expr| {
        items.push(SelectItem::UnnamedExpr(when(vec![(is_chosen.clone(), expr)], None)));
        New::Computed(items.len() - 1)
    };
    let mut values = Vec::new();
    match written {
        Written::Nothing => Ok(Action::Nothing),
        Written::Delete => Ok(Action::Delete),
        Written::Update(assigned) => {
            for (ordinal, expr) in assigned {
                check_changed(target.at(ordinal)?)?;
                let new = match Cell::of(&expr)? {
                    Some(Cell::Default) => New::Cell(defaults::of(scope, target, ordinal)?),
                    Some(cell) => New::Cell(cell),
                    None => computed(expr),
                };
                values.push((ordinal, new));
            }
            Ok(Action::Update(values))
        }
        Written::Insert(given) => {
            for (ordinal, expr) in given {
                let new = match Cell::of(&expr)? {
                    // The store's own.
                    Some(Cell::Default) => continue,
                    Some(cell) => New::Cell(cell),
                    None => computed(expr),
                };
                check_given(target.at(ordinal)?)?;
                values.push((ordinal, new));
            }
            Ok(Action::Insert(values))
        }
    }
}

/// `source [LEFT] JOIN target ON condition`
fn joined(source: TableFactor, target: TableWithJoins, on: Expr, is_outer: bool) -> Result<TableWithJoins, Diagnosis> {
    let lost = || Diagnosis::new(sqlstate::INTERNAL_ERROR, "a query of the planner's own was not read as one");
    let mut query = parse_query("SELECT 1 FROM a JOIN b ON true")?;
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(lost()) };
    let mut from = select.from.pop().ok_or_else(lost)?;
    from.relation = source;
    let join = from.joins.first_mut().ok_or_else(lost)?;
    join.relation = target.relation;
    let condition = JoinConstraint::On(on);
    join.join_operator = if is_outer { JoinOperator::LeftOuter(condition) } else { JoinOperator::Inner(condition) };
    Ok(from)
}

fn lost() -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, "rows of a MERGE lack a column")
}

impl PlannedMerge {
    /// Looks at the types of new values, and settles those of parameters.
    fn check(&self, scope: &mut Scope<'_>, target: &Target) -> Result<(), Diagnosis> {
        for clause in &self.clauses {
            let (Action::Update(values) | Action::Insert(values)) = clause else { continue };
            for (ordinal, new) in values {
                let column = target.at(*ordinal)?;
                match new {
                    New::Cell(Cell::Parameter(number)) => {
                        let settled = scope.parameters.settle(*number, column.pg_type());
                        assign::check(column, &settled.into())?;
                    }
                    New::Cell(cell) => assign::check(column, &cell.own_type().into())?,
                    New::Computed(place) => assign::check(column, self.types.get(*place).ok_or_else(lost)?)?,
                }
            }
        }
        Ok(())
    }

    /// What the statement comes to for the values of one execution.
    ///
    /// # Errors
    /// As [`super::PlannedWrite::bind`].
    pub(super) async fn bind(&self, binding: &Binding<'_>) -> Result<Work, Diagnosis> {
        let ready = binding.query(&self.planned).await?;
        if ready.is_empty() {
            return Ok(Work::Nothing);
        }
        let mut makers = Vec::with_capacity(self.clauses.len());
        for clause in &self.clauses {
            makers.push(self.maker(binding, clause)?);
        }
        let reservation = binding.engine.reservation("keys to be written");
        let distinct = Distinct::new(binding.common(), &self.key, Repeated::Merged, reservation)?;
        let merging = Merging { choice: self.key.len(), distinct, makers };
        let made = move |rows: RecordBatch| merging.edits(&rows);
        Ok(Work::Rows(Rows::of_cells(ready, Box::new(made)).locking()))
    }

    /// Who makes the edits of a clause; `None` for one that does nothing.
    fn maker(&self, binding: &Binding<'_>, clause: &Action) -> Result<Option<(Turn, Maker)>, Diagnosis> {
        let (turn, form, values): (Turn, RowForm, &[(usize, New)]) = match clause {
            Action::Nothing => return Ok(None),
            Action::Delete => (Turn::Delete, RowForm::Delete { key: self.key.clone() }, [].as_slice()),
            Action::Update(values) => {
                let set = values.iter().map(|(ordinal, _)| *ordinal).collect();
                (Turn::Update, RowForm::Update { key: self.key.clone(), set }, values.as_slice())
            }
            Action::Insert(values) => {
                let columns = values.iter().map(|(ordinal, _)| *ordinal).collect();
                (Turn::Insert, RowForm::Insert { columns, conflict: None }, values.as_slice())
            }
        };
        let output = |place: usize| self.types.get(place).cloned().map(|from| Input::Output(place, from)).ok_or_else(lost);
        let mut inputs = Vec::with_capacity(self.key.len() + values.len());
        if turn != Turn::Insert {
            for place in 0..self.key.len() {
                inputs.push(output(place)?);
            }
        }
        for (ordinal, new) in values {
            inputs.push(match new {
                New::Cell(cell) => Input::Constant(binding.constant(cell, *ordinal)?),
                New::Computed(place) => output(*place)?,
            });
        }
        Ok(Some((turn, Maker::new(binding.common().clone(), form, inputs)?)))
    }
}

/// When edits are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Delete,
    Update,
    Insert,
}

/// Makes the edits of one execution.
struct Merging {
    /// The output that says which clause a row gets.
    choice: usize,
    distinct: Distinct,
    /// By clause.
    makers: Vec<Option<(Turn, Maker)>>,
}

impl Merging {
    fn edits(mut self, rows: &RecordBatch) -> Result<Vec<Edit>, Diagnosis> {
        let choice: &ArrayRef = rows.columns().get(self.choice).ok_or_else(lost)?;
        let choice = cast(choice, &DataType::Int64).map_err(told)?;
        let turns: Vec<Option<Turn>> = self.makers.iter().map(|maker| maker.as_ref().map(|(turn, _)| *turn)).collect();
        let changes = |number: usize| matches!(turns.get(number), Some(Some(Turn::Delete | Turn::Update)));
        let changed = self.rows_of(rows, choice.as_ref(), changes)?;
        self.distinct.kept(&changed)?;
        let mut made = Vec::new();
        let mut makers: Vec<(usize, Turn, Maker)> = Vec::new();
        for (number, maker) in std::mem::take(&mut self.makers).into_iter().enumerate() {
            makers.extend(maker.map(|(turn, maker)| (number, turn, maker)));
        }
        makers.sort_by_key(|(_, turn, _)| *turn);
        for (number, _, mut maker) in makers {
            let own = self.rows_of(rows, choice.as_ref(), |chosen| chosen == number)?;
            if own.num_rows() > 0 {
                made.extend(maker.make(&own)?);
            }
        }
        Ok(made)
    }

    /// The rows of some clauses.
    fn rows_of(&self, rows: &RecordBatch, choice: &dyn Array, is_meant: impl Fn(usize) -> bool) -> Result<RecordBatch, Diagnosis> {
        let numbers = choice.as_primitive_opt::<Int64Type>().ok_or_else(lost)?;
        let meant = |number: Option<i64>| number.and_then(|number| usize::try_from(number).ok()).is_some_and(&is_meant);
        let mask: BooleanArray = numbers.iter().map(|number| Some(meant(number))).collect();
        filter_record_batch(rows, &mask).map_err(told)
    }
}
