//! Statements that change rows: names and plans, up to the edits that the owner of the table is sent.
//!
//! ```text
//! parsed statement → target (which table) → a query over the same names, planned as any other → PlannedWrite
//!     → bind: one edit that the store runs whole (whole), the rows of VALUES (values), or a query whose rows become edits (rows)
//!     → edits (assign: every value in the type of its column) → the rows that come back → returning
//! a view of rows of one table → through (the same statement on the table)
//! COPY … FROM → copy (which columns are filled) → Loading: raw rows → values → the rows that its condition keeps → edits
//! ```
//!
//! **Invariants:** no edit is made of the engine's own statements for changing rows, and none of a list of filters: an edit without a
//! condition comes only of a statement without one; a column that a statement leaves out is absent in its edits, never NULL; a value
//! that reaches a store has been assigned to the type of its column. Deliberately absent: running edits, and ending what they
//! belong to (that is `write`).

mod assign;
mod assignment;
mod beside;
mod conflict;
mod copy;
mod defaults;
mod delete;
mod distinct;
mod given;
mod insert;
mod judged;
mod keyed;
mod merge;
mod overriding;
mod part;
mod returning;
mod rows;
mod scope;
mod seen;
mod target;
#[cfg(test)]
mod tests;
mod through;
mod update;
mod upsert;
mod values;
mod whole;

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{Delete, Insert, Merge, SelectItem, Statement, Update, With};

use super::branches::Branches;
use super::engine::Engine;
use super::output::OutputColumn;
use super::plan::{Setting, session_values};
use super::updatable::{self, Chain};
use crate::catalog::Relation;
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;
use crate::stores::edit::Edit;
use crate::task::OwnedTask;
use assign::Binding;
use returning::{Around, Returning};
use rows::Common;
use scope::Scope;
use seen::Change;
use through::Through;

pub use beside::Beside;
pub use copy::{Filled, Loading, Piece, PlannedCopy, plan_copy_aside};
pub use rows::Rows;
pub use target::{Target, target};
pub use upsert::Race;

/// What changes rows.
#[derive(Debug, Clone)]
pub enum Dml {
    /// `INSERT`
    Insert(Box<Insert>),
    /// `UPDATE`
    Update(Box<Update>),
    /// `DELETE`
    Delete(Box<Delete>),
    /// `MERGE`
    Merge(Box<Merge>),
}

/// A statement that changes rows.
#[derive(Debug, Clone)]
pub struct Write {
    /// `WITH` before it.
    pub with: Option<With>,
    /// What it does.
    pub dml: Dml,
}

impl Write {
    /// The write that a statement is.
    ///
    /// # Errors
    /// The statement, when it is none.
    pub fn of(statement: Statement, with: Option<With>) -> Result<Self, Box<Statement>> {
        let dml = match statement {
            Statement::Insert(insert) => Dml::Insert(Box::new(insert)),
            Statement::Update(update) => Dml::Update(Box::new(update)),
            Statement::Delete(delete) => Dml::Delete(Box::new(delete)),
            Statement::Merge(merge) => Dml::Merge(Box::new(merge)),
            other => return Err(Box::new(other)),
        };
        Ok(Self { with, dml })
    }

    /// The word it begins with.
    pub fn verb(&self) -> &'static str {
        match self.dml {
            Dml::Insert(_) => "INSERT",
            Dml::Update(_) => "UPDATE",
            Dml::Delete(_) => "DELETE",
            Dml::Merge(_) => "MERGE",
        }
    }
}

/// A planned write, not yet bound to parameters.
#[derive(Debug, Clone)]
pub struct PlannedWrite {
    /// What it changes.
    pub target: Target,
    /// Types of `$1`, `$2`, ….
    pub parameters: Vec<PgType>,
    /// The columns of `RETURNING`.
    pub columns: Option<Vec<OutputColumn>>,
    verb: &'static str,
    form: Arc<Form>,
    returning: Option<Arc<Returning>>,
    /// The views whose conditions are columns behind those that the client asked for.
    checks: Arc<[String]>,
}

/// What is planned of each kind.
#[derive(Debug)]
enum Form {
    Insert(insert::PlannedInsert),
    Update(update::PlannedUpdate),
    Delete(delete::PlannedDelete),
    Merge(merge::PlannedMerge),
}

impl Form {
    /// What it does to rows that are there before.
    fn change(&self) -> Change {
        match self {
            Self::Insert(insert) if !insert.updates() => Change::Added,
            Self::Insert(_) | Self::Update(_) | Self::Merge(_) => Change::Updated,
            Self::Delete(_) => Change::Deleted,
        }
    }
}

/// Plans a write, aside from the threads that serve connections. `given` are the client's parameter types; 0 or a missing entry asks for
/// inference. Only stored tables can be changed: whoever calls has asked [`target()`] what is named and refused the rest.
///
/// # Errors
/// As Postgres: 42601, 42701, 42703, 42804, 42P10, 428C9, …, and 0A000 for what is not supported.
pub async fn plan_aside(engine: &Engine, setting: &Setting, write: &Write, given: &[u32]) -> Result<PlannedWrite, Diagnosis> {
    let place = engine.planner().await;
    let (engine, setting, write, given) = (engine.clone(), setting.clone(), write.clone(), given.to_vec());
    let work = move || {
        let planned = plan(&engine, &setting, write, &given);
        drop(place);
        planned
    };
    let planned = OwnedTask::spawn_blocking(work).join().await;
    planned.unwrap_or_else(|| Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "planning ended without a result")))
}

/// What a bound write comes to.
#[derive(Debug)]
pub enum Work {
    /// No row is changed, and no store need be asked.
    Nothing,
    /// One edit, of no more rows than the store takes as one statement of its own.
    Edit(Box<Edit>),
    /// Edits whose rows are read or computed first.
    Rows(Rows),
}

impl PlannedWrite {
    /// The word the statement begins with.
    pub fn verb(&self) -> &'static str {
        self.verb
    }

    /// Whether what comes back must be looked at before the statement ends, though nobody may have asked for it.
    pub fn is_checked(&self) -> bool {
        !self.checks.is_empty()
    }

    /// Whether the rows of the target that the statement reads must not change before it has changed them: `branches` of
    /// [`PlannedWrite::bind`] must then be [`Branches::locking`] it.
    pub fn locks(&self) -> bool {
        match self.form.as_ref() {
            Form::Insert(insert) => insert.computed().is_some(),
            Form::Update(_) | Form::Delete(_) | Form::Merge(_) => true,
        }
    }
}

/// What planning each kind gives.
struct Shaped<F> {
    target: Target,
    form: F,
    around: Around,
    returning: Option<Vec<SelectItem>>,
}

impl<F> Shaped<F> {
    fn formed(self, form: impl FnOnce(F) -> Form) -> Shaped<Form> {
        let Self { target, form: inner, around, returning } = self;
        Shaped { target, form: form(inner), around, returning }
    }
}

fn plan(engine: &Engine, setting: &Setting, write: Write, given: &[u32]) -> Result<PlannedWrite, Diagnosis> {
    let verb = write.verb();
    let relation = target(&write, &setting.snapshot, &setting.path)?;
    // ONLY before a view leaves out nothing: its query says which rows there are.
    target::check_only(&write, &relation, &setting.snapshot)?;
    let chain = below(engine, setting, verb, &relation)?;
    let (write, relation, checks, returns) = match &chain {
        None => (write, relation, Vec::new(), true),
        Some(chain) => {
            let Through { write, checks, returns } = through::through(write, &relation, chain)?;
            (write, Arc::clone(&chain.base), checks, returns)
        }
    };
    let mut scope = Scope::new(engine, setting, given);
    let Write { with, dml } = write;
    let shaped = match dml {
        Dml::Insert(insert) => insert::plan(&mut scope, relation, with, *insert)?.formed(Form::Insert),
        Dml::Update(update) => update::plan(&mut scope, relation, with, *update)?.formed(Form::Update),
        Dml::Delete(delete) => delete::plan(&mut scope, relation, with, *delete)?.formed(Form::Delete),
        Dml::Merge(merge) => merge::plan(&mut scope, relation, with, *merge)?.formed(Form::Merge),
    };
    let Shaped { target, form, around, returning } = shaped;
    let (returning, columns) = match returning {
        None => (None, None),
        Some(items) => {
            let (returning, columns) = returning::plan(&mut scope, (&target, form.change()), around, items)?;
            (Some(Arc::new(returning)), Some(columns))
        }
    };
    let parameters = scope.parameters.into_types();
    let columns = columns.filter(|_| returns).map(|mut columns: Vec<OutputColumn>| {
        columns.truncate(columns.len().saturating_sub(checks.len()));
        columns
    });
    Ok(PlannedWrite { target, parameters, columns, verb, form: Arc::new(form), returning, checks: checks.into() })
}

/// The view that a statement names, down to its table; `None` of anything else, and of statements that write through no view.
///
/// # Errors
/// 55000 for a view that rows are not written through.
pub fn below(engine: &Engine, setting: &Setting, verb: &str, relation: &Arc<Relation>) -> Result<Option<Chain>, Diagnosis> {
    if !["INSERT", "UPDATE", "DELETE"].contains(&verb) {
        return Ok(None);
    }
    updatable::chain(verb, relation, &setting.snapshot, &|name| engine.is_aggregate(name))
}

impl PlannedWrite {
    /// What the statement comes to for the values of one execution. No branch is opened.
    ///
    /// # Errors
    /// As Postgres for values that columns do not take, and 0A000 with the reason for what the owner does not do.
    pub async fn bind(
        &self,
        engine: &Engine,
        setting: &Setting,
        values: &[ScalarValue],
        branches: &Arc<Branches>,
    ) -> Result<Work, Diagnosis> {
        branches.read_stores_only();
        let store = &self.target.store;
        let Some(connector) = setting.snapshot.connectors.get(store) else {
            let message = format!("store \"{store}\" is no longer configured");
            return Err(Diagnosis::new(sqlstate::UNDEFINED_OBJECT, message));
        };
        let common = Common {
            target: self.target.clone(),
            verb: self.verb,
            connector: Arc::clone(connector),
            returning: self.returning.as_ref().map(|returning| returning.needed.clone()).unwrap_or_default(),
            session: session_values(setting),
            values: values.to_vec(),
            parameters: self.parameters.clone(),
        };
        let binding = Binding::new(engine, setting, branches, common);
        match self.form.as_ref() {
            Form::Insert(insert) => Box::pin(insert.bind(&binding)).await,
            Form::Update(update) => Box::pin(update.bind(&binding)).await,
            Form::Delete(delete) => Box::pin(delete.bind(&binding)).await,
            Form::Merge(merge) => Box::pin(merge.bind(&binding)).await,
        }
    }

    /// The rows of `RETURNING` for what the owner gave back, in the same order; `beside` is what [`Rows::kept`] told of their edits.
    /// Subqueries in it read through `branches`.
    ///
    /// # Errors
    /// As for a query; an internal error for a statement that returns nothing.
    pub async fn returning(
        &self,
        engine: &Engine,
        setting: &Setting,
        values: &[ScalarValue],
        returned: Vec<RecordBatch>,
        (branches, beside): (&Branches, Option<Beside>),
    ) -> Result<SendableRecordBatchStream, Diagnosis> {
        let Some(returning) = &self.returning else {
            return Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "the statement returns nothing"));
        };
        let planned = returning.over(&self.target, &returned, beside.as_ref())?;
        let rows = Box::pin(returning::rows(engine, setting, &planned, values, branches)).await?;
        Ok(if self.is_checked() { through::checked(rows, Arc::clone(&self.checks)) } else { rows })
    }
}
