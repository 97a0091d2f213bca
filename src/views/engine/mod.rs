//! What keeps the result of a query up to date with the changes of its inputs, at the cost of what has changed.
//!
//! ```text
//! optimised plan ── compile ──> Program (a tree of nodes; expressions are the engine's own)     or Kind::Whole, and why
//! Program + state ──> Machine: changes of inputs ── node ──> rows with weights (zset) ──> rows that left and came
//!                                  ├─ join: rows of both sides by their keys
//!                                  └─ group: totals of groups (total)
//! ```
//!
//! **Invariants:** after each step the rows that came less those that left are what the query gives over the inputs as they are then, with
//! the types, values and errors of the engine's own operators; what cannot be proven to be so is [`Kind::Whole`]. A step costs what has
//! changed, and what of the rest meets it, but for logarithms. A machine whose step failed gives no further ones. Deliberately absent: where
//! changes come from, when a step is taken, and who reads the result.

mod compile;
mod expression;
mod group;
mod join;
mod node;
#[cfg(test)]
mod tests;
mod total;
mod zset;

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::error::{Diagnose, Diagnosis, sqlstate};
use crate::federation::error::diagnose;
use crate::stores::StoreName;
use crate::stores::schema::TableId;
pub(super) use compile::column_of;
use compile::{Compiler, Slot, props_of};
use group::Groups;
use join::{Limit, Sides};
use node::{Node, State};
use total::Call;
use zset::{Delta, consolidated, loose, repeated};
pub(super) use zset::{batch_of, is_told_apart};

/// Which base table an input is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputId {
    /// The store that has it.
    pub store: StoreName,
    /// Its name there.
    pub table: TableId,
}

/// An input of a program. A table that a query reads several times is one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The table.
    pub id: InputId,
    /// The columns that are needed, as ordinals of the table's columns, in the order in which changes have them.
    pub columns: Vec<usize>,
}

/// How the result of a query is kept up to date.
#[derive(Debug)]
pub enum Kind {
    /// By the changes of its inputs.
    Incremental(Program),
    /// By running the query again.
    Whole {
        /// Why, as a clause.
        reason: String,
    },
}

/// What keeps the result of a query up to date with the changes of its inputs. Immutable.
#[derive(Debug)]
pub struct Program {
    root: Box<Node>,
    inputs: Vec<Input>,
    schema: SchemaRef,
    key: Option<Vec<usize>>,
    slots: Vec<Slot>,
}

impl Program {
    /// The tables whose changes it takes.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The schema of the rows that it gives, any column of which may be NULL.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Columns of the result in which no two of its rows agree, by construction; NULL may stand in them, and is one value there. `None` where
    /// there are none, or none is known.
    pub fn key(&self) -> Option<Vec<usize>> {
        self.key.clone()
    }
}

/// How the result of a query can be kept up to date.
///
/// `plan` is the analysed and optimised plan, `state` that of its statement: expressions read their settings from it, and so give later what
/// they would have given then. No time may be known to `state`, or `now()` is a constant in the plan already. `input_of` tells which base
/// table a scan reads; `None` where it is none.
pub fn program(plan: &LogicalPlan, state: &SessionState, input_of: &dyn Fn(&TableScan) -> Option<InputId>) -> Kind {
    let mut compiler = Compiler::new(state, input_of);
    match compiler.root(plan) {
        Ok(built) => Kind::Incremental(Program {
            root: Box::new(built.node),
            inputs: compiler.inputs,
            schema: loose(plan.schema().fields()),
            key: built.key,
            slots: compiler.slots,
        }),
        Err(reason) => Kind::Whole { reason },
    }
}

/// Whether a call of an aggregate over rows of a schema is known to give the same for the same rows, in whichever order they come.
pub(super) fn is_exact(call: &Expr, schema: &DFSchema, state: &SessionState) -> bool {
    Call::new(call, schema, &props_of(state)).is_ok()
}

/// Rows of an input that left and came.
#[derive(Debug, Clone, Default)]
pub struct InputChange {
    /// Which of [`Program::inputs`].
    pub input: usize,
    /// Rows that left, with the input's columns.
    pub removed: Vec<RecordBatch>,
    /// Rows that came, with the input's columns.
    pub added: Vec<RecordBatch>,
}

/// Rows of the result that left and came. No row is in both.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Rows that left.
    pub removed: Vec<RecordBatch>,
    /// Rows that came.
    pub added: Vec<RecordBatch>,
}

impl Change {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }

    /// What rows come to, of which some are in several batches, or came and left.
    fn of(deltas: Vec<Delta>) -> Result<Self, ArrowError> {
        let mut change = Self::default();
        for delta in consolidated(deltas)? {
            change.removed.extend(repeated(&delta, -1)?);
            change.added.extend(repeated(&delta, 1)?);
        }
        Ok(change)
    }

    /// The change from some rows to others.
    ///
    /// # Errors
    /// Rows of different columns, and a type by whose bytes rows cannot be told apart.
    pub fn between(before: Vec<RecordBatch>, after: Vec<RecordBatch>) -> Result<Self, Broken> {
        let weighed = |batches: Vec<RecordBatch>, weight: i64| {
            batches.into_iter().map(move |batch| Delta { weights: vec![weight; batch.num_rows()], batch })
        };
        let deltas = weighed(before, -1).chain(weighed(after, 1)).filter(|delta| !delta.weights.is_empty()).collect();
        Ok(Self::of(deltas)?)
    }
}

/// A result cannot be kept up to date any more: an expression failed, as the query itself would now, or changes do not follow from what was
/// before. It is made anew from its inputs, where that succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{diagnosis}")]
pub struct Broken {
    /// What the query would say.
    pub diagnosis: Diagnosis,
}

impl Broken {
    /// That something is not as it must be.
    pub(super) fn lost(message: &str) -> Self {
        Self { diagnosis: Diagnosis::new(sqlstate::INTERNAL_ERROR, message) }
    }
}

impl Diagnose for Broken {
    fn sqlstate(&self) -> &str {
        self.diagnosis.sqlstate()
    }

    fn detail(&self) -> Option<String> {
        self.diagnosis.detail()
    }

    fn hint(&self) -> Option<String> {
        self.diagnosis.hint()
    }
}

impl From<DataFusionError> for Broken {
    fn from(error: DataFusionError) -> Self {
        Self { diagnosis: diagnose(&error) }
    }
}

impl From<ArrowError> for Broken {
    fn from(error: ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

/// A program with what it keeps of its inputs.
pub struct Machine {
    program: Arc<Program>,
    states: Vec<State>,
    /// Why there are no further steps.
    broken: Option<Broken>,
}

impl fmt::Debug for Machine {
    // Without values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("inputs", &self.program.inputs).field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl Machine {
    /// A machine whose inputs are empty, before its first step.
    pub fn new(program: Arc<Program>) -> Self {
        let state = |slot: &Slot| match slot {
            Slot::Once => State::Once(false),
            Slot::Join => State::Join(Sides::default()),
            Slot::Group => State::Group(Groups::default()),
        };
        let states = program.slots.iter().map(state).collect();
        Self { program, states, broken: None }
    }

    /// Bounds what each join may give in a step, in bytes, and lets steps end when this is cancelled.
    pub fn limit(&mut self, most: usize, cancel: &CancellationToken) {
        for state in &mut self.states {
            if let State::Join(sides) = state {
                sides.limit = Limit::new(most, cancel.clone());
            }
        }
    }

    /// What it keeps up to date.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// The tables whose changes it takes.
    pub fn inputs(&self) -> &[Input] {
        self.program.inputs()
    }

    /// Columns of the result in which no two of its rows agree: see [`Program::key`].
    pub fn key(&self) -> Option<Vec<usize>> {
        self.program.key()
    }

    /// Takes changes of inputs, all of one moment, and gives those of the result.
    ///
    /// The first step takes all rows of all inputs as rows that came, and is taken also when there are none: an aggregation without groups has
    /// a row even then. All in one step, since what the query gives over a part of the rows may fail where it does not over all.
    ///
    /// # Errors
    /// What an expression failed with, as the query would; rows that left and were not there. The machine is of no further use then.
    pub fn step(&mut self, changes: &[InputChange]) -> Result<Change, Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let program = Arc::clone(&self.program);
        let stepped = program.root.run(&mut self.states, changes).and_then(|deltas| Ok(Change::of(deltas)?));
        if let Err(broken) = &stepped {
            self.broken = Some(broken.clone());
            // Whoever keeps it to tell of the error need not keep the rows.
            self.states.clear();
        }
        stepped
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.states.iter().map(State::bytes).sum::<usize>()
    }
}
