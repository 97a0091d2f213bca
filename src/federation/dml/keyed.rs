//! What UPDATE and DELETE have in common: a query over the target whose rows say, by a key, which rows are meant.

use datafusion::sql::sqlparser::ast::{Expr, Ident, SelectItem, TableWithJoins, With};

use super::super::placement::Level;
use super::super::plan::Planned;
use super::super::semantics::typed::Typed;
use super::Work;
use super::assign::Binding;
use super::beside::Beside;
use super::rows::{Input, Maker, RowForm, Rows};
use super::scope::{Scope, column_of, select, types_of, whole_name};
use super::target::Target;
use super::whole::{Whole, look};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::{Edit, Refusal};

/// The parts of the query.
pub(super) struct Parts {
    pub(super) with: Option<With>,
    pub(super) alias: Option<Ident>,
    /// What is computed for each row.
    pub(super) outputs: Vec<Expr>,
    /// What RETURNING names of other tables.
    pub(super) beside: Vec<Expr>,
    /// What is read besides the target.
    pub(super) others: Vec<TableWithJoins>,
    pub(super) condition: Option<Expr>,
}

/// A planned query over the target: first the columns of its key, then what is computed.
#[derive(Debug)]
pub(super) struct PlannedKeyed {
    planned: Planned,
    /// Ordinals of the key's columns; none where there is no key.
    pub(super) key: Vec<usize>,
    types: Vec<Typed>,
    /// Places of outputs that are kept beside the rows.
    beside: Vec<usize>,
    has_condition: bool,
    reads_others: bool,
}

/// Plans the query.
///
/// # Errors
/// As for any query.
pub(super) fn plan(scope: &mut Scope<'_>, target: &Target, parts: Parts) -> Result<PlannedKeyed, Diagnosis> {
    let Parts { with, alias, outputs, beside, others, condition } = parts;
    let key = target.key().map(|key| key.columns.clone()).unwrap_or_default();
    let mut items = Vec::with_capacity(key.len() + outputs.len());
    for ordinal in &key {
        items.push(column_of(target, target.at(*ordinal)?.name()));
    }
    items.extend(outputs.into_iter().map(SelectItem::UnnamedExpr));
    let beside_from = items.len();
    items.extend(beside.into_iter().map(SelectItem::UnnamedExpr));
    let beside = (beside_from..items.len()).collect();
    let (has_condition, reads_others) = (condition.is_some(), !others.is_empty());
    let mut from = vec![whole_name(target, alias.as_ref())?];
    from.extend(others);
    let planned = scope.plan(select(with, items, from, condition)?)?;
    let types = types_of(&planned);
    Ok(PlannedKeyed { planned, key, types, beside, has_condition, reads_others })
}

impl PlannedKeyed {
    /// The type of what is computed at a place.
    pub(super) fn computed(&self, place: usize) -> Option<&Typed> {
        self.types.get(self.key.len() + place)
    }

    /// What the query is to the store of the target.
    ///
    /// # Errors
    /// As planning.
    pub(super) async fn whole(&self, binding: &Binding<'_>) -> Result<Whole, Diagnosis> {
        // Without a key there is no other way.
        let only_rows = binding.setting.rows_only && !self.key.is_empty();
        if self.reads_others || only_rows || binding.setting.pushdown != Level::Full {
            return Ok(Whole::No);
        }
        look(binding, &self.planned, self.has_condition).await
    }

    /// The input of what is computed at a place.
    pub(super) fn input(&self, place: usize) -> Result<Input, Diagnosis> {
        let lost = || Diagnosis::new(sqlstate::INTERNAL_ERROR, "a new value was not planned");
        let from = self.computed(place).cloned().ok_or_else(lost)?;
        Ok(Input::Output(self.key.len() + place, from))
    }

    /// The edits by key: the rows of the target are read and locked, and `inputs` are their new values. `refusal` is why the store does
    /// not find the rows by itself.
    ///
    /// # Errors
    /// 0A000 where the table has no key, and as planning.
    pub(super) async fn rows(
        &self,
        binding: &Binding<'_>,
        (form, inputs): (RowForm, Vec<Input>),
        refusal: Option<Refusal>,
    ) -> Result<Work, Diagnosis> {
        let target = &binding.common().target;
        if self.key.is_empty() {
            let because = refusal.map(|refusal| format!("Its store does not find them by itself: {refusal}."));
            let error = target.no_key(because.as_deref());
            return Err(match because {
                Some(_) => error,
                None => {
                    error.with_hint("EXPLAIN of a query with the same conditions tells which of them its store does not evaluate.")
                }
            });
        }
        if !binding.branches.locks_table(&target.store, &target.table.id) {
            return Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "rows are to be changed that nobody locks"));
        }
        let ready = binding.query(&self.planned).await?;
        if ready.is_empty() {
            return Ok(Work::Nothing);
        }
        let keys = self.types.iter().take(self.key.len()).cloned().enumerate();
        let all = keys.map(|(place, from)| Input::Output(place, from)).chain(inputs).collect();
        let mut maker = Maker::new(binding.common().clone(), form, all)?;
        if self.reads_others {
            maker = maker.once_each(binding.engine)?;
        }
        if self.beside.is_empty() {
            return Ok(Work::Rows(Rows::of_query(ready, maker, true, true)));
        }
        let beside = Beside::new(binding.engine.reservation("rows beside those that change"));
        let maker = maker.keeping(self.beside.clone(), beside.clone());
        Ok(Work::Rows(Rows::of_query(ready, maker, true, true).beside(beside)))
    }
}

/// An edit that the store evaluates by itself, if it does.
pub(super) fn offered(binding: &Binding<'_>, edit: Edit) -> Result<Work, Refusal> {
    binding.common().connector.accepts_edit(&edit)?;
    Ok(Work::Edit(Box::new(edit)))
}
