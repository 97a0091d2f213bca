//! `ON CONFLICT`: the key that it names, and new values of rows that exist, as far as every store can give them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::Array;
use datafusion::sql::sqlparser::ast::{
    ConflictTarget as Named, DoUpdate, Expr, Ident, ObjectName, OnConflict, OnConflictAction, OnInsert,
};

use super::assign::{self, Binding, check_changed};
use super::assignment::single;
use super::defaults;
use super::scope::{Cell, Scope, not_in_grammar};
use super::target::Target;
use super::upsert::{self, PlannedUpsert};
use crate::catalog::Snapshot;
use crate::catalog::object::{Constraint, ConstraintKind};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::name::fold;
use crate::federation::ast::writing::Word;
use crate::federation::semantics::typed::Typed;
use crate::stores::cell::{Cells, value};
use crate::stores::edit::{Conflict, ConflictAction, ConflictTarget, Proposed};
use crate::stores::relational::embedded;

/// The relation of the rows that were to be inserted.
pub(super) const EXCLUDED: &str = "excluded";

/// A planned conflict clause.
#[derive(Debug)]
pub(super) struct PlannedConflict {
    target: ConflictTarget,
    update: Update,
}

/// What is done with the existing row.
#[derive(Debug)]
enum Update {
    Nothing,
    /// New values that every store can give.
    Plain(Vec<(usize, New)>),
    /// New values that are computed of the row that is there.
    Computed(Arc<PlannedUpsert>),
}

/// A new value.
#[derive(Debug)]
enum New {
    Excluded(usize),
    Cell(Cell),
}

/// Plans what follows `ON` in an INSERT.
///
/// # Errors
/// 42P10, 42704 and the like as PostgreSQL's, and 0A000 for values that must be computed.
pub(super) fn plan(
    scope: &mut Scope<'_>,
    target: &mut Target,
    (alias, on): (Option<&Ident>, OnInsert),
) -> Result<PlannedConflict, Diagnosis> {
    let OnInsert::OnConflict(OnConflict { conflict_target, action }) = on else { return Err(not_in_grammar("DUPLICATE")) };
    let known = match conflict_target {
        None => ConflictTarget::Any,
        Some(Named::Columns(columns)) => {
            if let Some(word) = columns.first().and_then(Word::of) {
                return Err(no_target(word));
            }
            let ordinals = columns.iter().map(|column| target.ordinal(&fold(column))).collect::<Result<Vec<_>, _>>()?;
            ConflictTarget::Columns(key_over(target, ordinals)?)
        }
        Some(Named::OnConstraint(name)) => ConflictTarget::Columns(constraint(&scope.setting.snapshot, target, &name)?),
    };
    let update = match (action, &known) {
        (OnConflictAction::DoNothing, _) => Update::Nothing,
        (OnConflictAction::DoUpdate(_), ConflictTarget::Any) => {
            let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, message).with_hint("For example, ON CONFLICT (column_name)."));
        }
        (OnConflictAction::DoUpdate(DoUpdate { assignments, selection }), ConflictTarget::Columns(key)) => {
            let assigned = single(scope.setting, (&mut *target, None), assignments)?;
            match new_values(scope, target, &assigned)?.filter(|_| selection.is_none()) {
                Some(values) => Update::Plain(values),
                None => Update::Computed(Arc::new(upsert::plan(scope, target, (alias, key.as_slice()), (assigned, selection))?)),
            }
        }
    };
    Ok(PlannedConflict { target: known, update })
}

/// 0A000 for a target that is more than columns.
fn no_target(word: Word) -> Diagnosis {
    let (what, unknown) = match word {
        Word::Condition => ("a condition", "Unique indexes over some of the rows are not known here."),
        _ => ("an expression, a collation or an operator class", "Unique indexes over more than plain columns are not known here."),
    };
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{what} in the target of ON CONFLICT is not supported"))
        .with_detail(unknown)
        .with_hint("Name the columns of a key; DO NOTHING needs no target.")
}

/// The key over exactly these columns, in any order.
fn key_over(target: &Target, ordinals: Vec<usize>) -> Result<Vec<usize>, Diagnosis> {
    let wanted: BTreeSet<usize> = ordinals.iter().copied().collect();
    let mut keys = target.table.primary_key.iter().chain(&target.table.unique_keys);
    if keys.any(|key| key.columns.iter().copied().collect::<BTreeSet<_>>() == wanted) {
        return Ok(ordinals);
    }
    let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
    Err(Diagnosis::new(sqlstate::INVALID_COLUMN_REFERENCE, message))
}

/// The columns of a key by the name that clients are shown, or else by the store's own: on MySQL every primary key is `PRIMARY`.
fn constraint(snapshot: &Snapshot, target: &Target, name: &ObjectName) -> Result<Vec<usize>, Diagnosis> {
    let asked = name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
    let is_key = |known: &Constraint| matches!(known.kind, ConstraintKind::Primary | ConstraintKind::Unique);
    let mut shown = snapshot.objects.constraints.iter().filter(|known| known.table_oid == target.relation.oid && is_key(known));
    if let Some(found) = shown.find(|known| known.name == asked) {
        return found.column_names.iter().map(|column| target.ordinal(column)).collect();
    }
    let mut keys = target.table.primary_key.iter().chain(&target.table.unique_keys);
    let found = keys.find(|key| key.name == asked).map(|key| key.columns.clone());
    found.ok_or_else(|| {
        let message = format!("constraint \"{asked}\" for table \"{}\" does not exist", target.relation.name);
        Diagnosis::new(sqlstate::UNDEFINED_OBJECT, message)
    })
}

/// New values as far as they need no computing; `None` where one does.
fn new_values(scope: &mut Scope<'_>, target: &Target, assigned: &[(usize, Expr)]) -> Result<Option<Vec<(usize, New)>>, Diagnosis> {
    let mut found = Vec::with_capacity(assigned.len());
    for (ordinal, expr) in assigned {
        let column = target.at(*ordinal)?;
        // Stores set whole columns of their own of what a new row meets.
        if target.part(*ordinal).is_some() || embedded::source(&column.field).is_some() {
            return Ok(None);
        }
        check_changed(column)?;
        let new = match Cell::of(expr)? {
            Some(Cell::Default) => New::Cell(defaults::of(scope, target, *ordinal)?),
            Some(Cell::Parameter(number)) => {
                let settled = scope.parameters.settle(number, column.pg_type());
                assign::check(column, &settled.into())?;
                New::Cell(Cell::Parameter(number))
            }
            Some(cell) => {
                assign::check(column, &cell.own_type().into())?;
                New::Cell(cell)
            }
            None => match excluded(target, expr, *ordinal)? {
                Some(source) => New::Excluded(source),
                None => return Ok(None),
            },
        };
        found.push((*ordinal, new));
    }
    Ok(Some(found))
}

fn unsupported(what: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{what} in ON CONFLICT DO UPDATE is not supported"))
        .with_hint("Insert and update by statements of their own.")
}

/// The column of `excluded` that an expression is, of the same type as the column that takes its value.
fn excluded(target: &Target, expr: &Expr, ordinal: usize) -> Result<Option<usize>, Diagnosis> {
    let named = match expr {
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [relation, name] if fold(relation) == EXCLUDED => Some(fold(name)),
            _ => None,
        },
        Expr::Nested(inner) => return excluded(target, inner, ordinal),
        _ => None,
    };
    let Some(name) = named else { return Ok(None) };
    let Ok(source) = target.ordinal(&name) else {
        let message = format!("column {EXCLUDED}.{name} does not exist");
        return Err(Diagnosis::new(sqlstate::UNDEFINED_COLUMN, message));
    };
    let (from, to) = (target.at(source)?, target.at(ordinal)?);
    assign::check(to, &Typed::of_field(&from.field))?;
    let (from, to) = (Typed::of_field(&from.field), Typed::of_field(&to.field));
    // What would have to be converted each store would convert by rules of its own.
    Ok((source == ordinal || from == to).then_some(source))
}

impl PlannedConflict {
    /// Whether rows that exist may get new values.
    pub(super) fn updates(&self) -> bool {
        !matches!(self.update, Update::Nothing)
    }

    /// What is computed of rows that exist, if anything is.
    pub(super) fn computed(&self) -> Option<&Arc<PlannedUpsert>> {
        match &self.update {
            Update::Computed(upsert) => Some(upsert),
            Update::Nothing | Update::Plain(_) => None,
        }
    }

    /// The clause for the values of one execution; `None` where stores are sent none, as new values are computed.
    ///
    /// # Errors
    /// What a constant fails with in the type of its column; 0A000 for types that have no constants in stores.
    pub(super) fn bind(&self, binding: &Binding<'_>) -> Result<Option<Conflict>, Diagnosis> {
        let action = match &self.update {
            Update::Nothing => ConflictAction::Nothing,
            Update::Plain(values) => {
                let bound = values.iter().map(|(ordinal, new)| {
                    Ok(match new {
                        New::Excluded(source) => (*ordinal, Proposed::Excluded(*source)),
                        New::Cell(cell) => (*ordinal, constant(binding, cell, *ordinal)?),
                    })
                });
                ConflictAction::Update(bound.collect::<Result<_, Diagnosis>>()?)
            }
            Update::Computed(_) => return Ok(None),
        };
        Ok(Some(Conflict { target: self.target.clone(), action }))
    }
}

fn constant(binding: &Binding<'_>, cell: &Cell, ordinal: usize) -> Result<Proposed, Diagnosis> {
    let array = binding.constant(cell, ordinal)?;
    if array.is_null(0) {
        return Ok(Proposed::Constant(None));
    }
    let pg_type = binding.common().target.at(ordinal)?.pg_type();
    let known = Cells::of(array.as_ref(), pg_type).and_then(|cells| value(&cells.get(0), pg_type));
    known.map(|value| Proposed::Constant(Some(value))).ok_or_else(|| unsupported(&format!("a constant of type {pg_type}")))
}
