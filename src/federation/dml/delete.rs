//! `DELETE`: the rows of the target that a condition finds.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Delete, With};

use super::assign::Binding;
use super::keyed::{self, PlannedKeyed, offered};
use super::returning::{self, Around};
use super::rows::RowForm;
use super::scope::{Scope, not_in_grammar};
use super::target::{Target, changed_by_delete, named};
use super::whole::{Found, Whole};
use super::{Shaped, Work};
use crate::catalog::Relation;
use crate::error::Diagnosis;
use crate::stores::edit::{self, Edit};

/// A planned delete.
#[derive(Debug)]
pub(super) struct PlannedDelete {
    keyed: PlannedKeyed,
}

/// Plans a delete.
///
/// # Errors
/// As [`super::plan_aside`].
pub(super) fn plan(
    scope: &mut Scope<'_>,
    relation: Arc<Relation>,
    with: Option<With>,
    delete: Delete,
) -> Result<Shaped<PlannedDelete>, Diagnosis> {
    let alias = named(changed_by_delete(&delete)?)?.1.cloned();
    let Delete {
        delete_token: _,
        // They are comments to PostgreSQL.
        optimizer_hints: _,
        tables,
        from: _,
        using,
        selection,
        returning,
        output,
        order_by,
        limit,
    } = delete;
    let foreign =
        [(!tables.is_empty(), "DELETE"), (output.is_some(), "OUTPUT"), (!order_by.is_empty(), "ORDER"), (limit.is_some(), "LIMIT")];
    if let Some((_, word)) = foreign.iter().find(|(is_there, _)| *is_there) {
        return Err(not_in_grammar(word));
    }
    let target = Target::of(&scope.setting.snapshot, relation, alias.as_ref())?;
    let others = using.unwrap_or_default();
    let around = Around { with, alias, others };
    let beside = returning::beside(scope, &target, &around, returning.as_deref())?;
    let parts = around.parts(Vec::new(), beside, selection);
    let form = PlannedDelete { keyed: keyed::plan(scope, &target, parts)? };
    Ok(Shaped { target, form, around, returning })
}

impl PlannedDelete {
    /// What the statement comes to for the values of one execution.
    ///
    /// # Errors
    /// As [`super::PlannedWrite::bind`].
    pub(super) async fn bind(&self, binding: &Binding<'_>) -> Result<Work, Diagnosis> {
        let refusal = match self.keyed.whole(binding).await? {
            Whole::Nothing => return Ok(Work::Nothing),
            Whole::No => None,
            Whole::Rows(found) => {
                let common = binding.common();
                let (store, table) = (common.target.store.clone(), Arc::clone(&common.target.table));
                let Found { relation, tables, .. } = *found;
                let delete = edit::Delete { store, table, relation, tables, returning: common.returning.clone() };
                match offered(binding, Edit::Delete(delete)) {
                    Ok(work) => return Ok(work),
                    Err(refusal) => Some(refusal),
                }
            }
        };
        let form = RowForm::Delete { key: self.keyed.key.clone() };
        self.keyed.rows(binding, (form, Vec::new()), refusal).await
    }
}
