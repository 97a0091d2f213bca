//! `UPDATE`: new values for rows of the target that a condition finds.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use datafusion::sql::sqlparser::ast::{Expr, Update, UpdateTableFromKind, With};

use super::super::ast::allowed::{Sets, refuse_calls};
use super::assign::{self, Binding, check_changed};
use super::assignment::single;
use super::defaults;
use super::keyed::{self, PlannedKeyed, offered};
use super::returning::{self, Around};
use super::rows::{Input, RowForm};
use super::scope::{Cell, Scope, not_in_grammar};
use super::target::{Target, changed_by_update, named};
use super::whole::{Found, Whole};
use super::{Shaped, Work};
use crate::catalog::Relation;
use crate::error::{Diagnosis, sqlstate};
use crate::stores::Refusal;
use crate::stores::Relation as Remote;
use crate::stores::cell::{Cells, value};
use crate::stores::edit::{self, Edit};
use crate::stores::fragment::{Expression, Node};

/// A planned update.
#[derive(Debug)]
pub(super) struct PlannedUpdate {
    keyed: PlannedKeyed,
    /// Ordinals of the columns that are set, with what they are set to.
    set: Vec<(usize, New)>,
}

/// A new value.
#[derive(Debug)]
enum New {
    Cell(Cell),
    /// By its place among what the query computes.
    Computed(usize),
}

/// Plans an update.
///
/// # Errors
/// As [`super::plan_aside`].
pub(super) fn plan(
    scope: &mut Scope<'_>,
    relation: Arc<Relation>,
    with: Option<With>,
    update: Update,
) -> Result<Shaped<PlannedUpdate>, Diagnosis> {
    let alias = named(changed_by_update(&update))?.1.cloned();
    let Update {
        update_token: _,
        // They are comments to PostgreSQL.
        optimizer_hints: _,
        table: _,
        assignments,
        from,
        selection,
        returning,
        output,
        or,
        order_by,
        limit,
    } = update;
    let others = match from {
        None => Vec::new(),
        Some(UpdateTableFromKind::AfterSet(others)) => others,
        Some(UpdateTableFromKind::BeforeSet(_)) => return Err(not_in_grammar("FROM")),
    };
    let foreign = [(output.is_some(), "OUTPUT"), (or.is_some(), "OR"), (!order_by.is_empty(), "ORDER"), (limit.is_some(), "LIMIT")];
    if let Some((_, word)) = foreign.iter().find(|(is_there, _)| *is_there) {
        return Err(not_in_grammar(word));
    }
    let mut target = Target::of(&scope.setting.snapshot, relation, alias.as_ref())?;
    let assigned = single(scope.setting, (&mut target, with.as_ref()), assignments)?;
    let (set, outputs) = new_values(scope, &target, assigned)?;
    let around = Around { with, alias, others };
    let beside = returning::beside(scope, &target, &around, returning.as_deref())?;
    let parts = around.parts(outputs, beside, selection);
    let keyed = keyed::plan(scope, &target, parts)?;
    let form = PlannedUpdate { keyed, set };
    form.check(scope, &target)?;
    Ok(Shaped { target, form, around, returning })
}

/// Columns by their ordinals, and what they are set to.
type NewValues = Vec<(usize, New)>;

/// What the columns are set to, and what of it the query has to compute.
fn new_values(scope: &Scope<'_>, target: &Target, assignments: Vec<(usize, Expr)>) -> Result<(NewValues, Vec<Expr>), Diagnosis> {
    let (mut set, mut outputs) = (Vec::with_capacity(assignments.len()), Vec::new());
    for (ordinal, expr) in assignments {
        let new = match Cell::of(&expr)? {
            Some(Cell::Default) => New::Cell(defaults::of(scope, target, ordinal)?),
            Some(cell) => New::Cell(cell),
            None => {
                refuse_calls(&expr, "UPDATE", Sets::Refused, &|name| scope.is_aggregate(name))?;
                outputs.push(expr);
                New::Computed(outputs.len() - 1)
            }
        };
        set.push((ordinal, new));
    }
    Ok((set, outputs))
}

impl PlannedUpdate {
    /// Looks at the type of every new value, and settles those of parameters.
    fn check(&self, scope: &mut Scope<'_>, target: &Target) -> Result<(), Diagnosis> {
        for (ordinal, new) in &self.set {
            let column = target.at(*ordinal)?;
            match new {
                New::Cell(Cell::Parameter(number)) => {
                    let settled = scope.parameters.settle(*number, column.pg_type());
                    assign::check(column, &settled.into())?;
                }
                New::Cell(cell) => assign::check(column, &cell.own_type().into())?,
                New::Computed(place) => {
                    if let Some(from) = self.keyed.computed(*place) {
                        assign::check(column, from)?;
                    }
                }
            }
            check_changed(column)?;
        }
        Ok(())
    }

    /// What the statement comes to for the values of one execution.
    ///
    /// # Errors
    /// As [`super::PlannedWrite::bind`].
    pub(super) async fn bind(&self, binding: &Binding<'_>) -> Result<Work, Diagnosis> {
        let mut constants = Vec::with_capacity(self.set.len());
        for (ordinal, new) in &self.set {
            constants.push(match new {
                New::Cell(cell) => Some(binding.constant(cell, *ordinal)?),
                New::Computed(_) => None,
            });
        }
        let refusal = match self.keyed.whole(binding).await? {
            Whole::Nothing => return Ok(Work::Nothing),
            Whole::No => None,
            Whole::Rows(found) => match self.evaluated(binding, *found, &constants)? {
                Ok(work) => return Ok(work),
                Err(refusal) => Some(refusal),
            },
        };
        let inputs = self.set.iter().zip(constants).map(|((_, new), constant)| match (new, constant) {
            (New::Computed(place), _) => self.keyed.input(*place),
            (New::Cell(_), Some(constant)) => Ok(Input::Constant(constant)),
            (New::Cell(_), None) => Err(lost()),
        });
        let inputs = inputs.collect::<Result<Vec<Input>, Diagnosis>>()?;
        let form = RowForm::Update { key: self.keyed.key.clone(), set: self.columns() };
        self.keyed.rows(binding, (form, inputs), refusal).await
    }

    /// The ordinals of the columns that are set.
    fn columns(&self) -> Vec<usize> {
        self.set.iter().map(|(ordinal, _)| *ordinal).collect()
    }

    /// The edit that the store evaluates by itself, if it does.
    fn evaluated(
        &self,
        binding: &Binding<'_>,
        found: Found,
        constants: &[Option<ArrayRef>],
    ) -> Result<Result<Work, Refusal>, Diagnosis> {
        let common = binding.common();
        let mut expressions = Vec::with_capacity(self.set.len());
        for ((ordinal, new), constant) in self.set.iter().zip(constants) {
            let pg_type = common.target.at(*ordinal)?.pg_type();
            let expression = match (new, constant) {
                (New::Computed(place), _) => found.outputs.get(self.keyed.key.len() + place).cloned(),
                (New::Cell(_), Some(array)) if array.is_null(0) => Some(Expression::new(pg_type, Node::Literal(None))),
                (New::Cell(_), Some(array)) => {
                    let known = Cells::of(array.as_ref(), pg_type).and_then(|cells| value(&cells.get(0), pg_type));
                    known.map(|value| Expression::new(pg_type, Node::Literal(Some(value))))
                }
                (New::Cell(_), None) => return Err(lost()),
            };
            match expression {
                Some(expression) => expressions.push(expression),
                None => return Ok(Err(Refusal::new(pg_type, "a value of the type is no constant of a part of a plan"))),
            }
        }
        let relation = Remote::Project { input: Box::new(found.relation), expressions };
        if let Err(refusal) = common.connector.accepts(&relation, &found.tables) {
            return Ok(Err(refusal));
        }
        let (store, table) = (common.target.store.clone(), Arc::clone(&common.target.table));
        let (tables, returning) = (found.tables, common.returning.clone());
        let (set, paths) = common.target.written(&self.columns());
        let update = edit::Update { store, table, relation, tables, set, paths, returning };
        Ok(offered(binding, Edit::Update(update)))
    }
}

fn lost() -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, "a new value was lost")
}
