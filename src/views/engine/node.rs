//! The steps of a program as a tree, and what changes of the inputs become on their way up in it.
//!
//! **Invariant:** what a node hands up has no row that was neither in its result before the step nor is after it. An expression above
//! is never asked about a row that the query would not have met, and fails for none.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;

use super::expression::{Computed, filtered, values};
use super::group::{Group, Groups};
use super::join::{Join, Sides};
use super::zset::{Delta, batch_of, consolidated};
use super::{Broken, InputChange};

/// One step of a program.
#[derive(Debug)]
pub(super) enum Node {
    /// No row.
    Nothing,
    /// One row from nothing, all of whose columns are NULL.
    Once { slot: usize, schema: SchemaRef },
    /// Rows of an input.
    Scan(Scan),
    /// Rows that meet conditions.
    Filter { below: Box<Node>, conditions: Vec<Computed> },
    /// Other columns for each row.
    Project { below: Box<Node>, outputs: Vec<Computed>, schema: SchemaRef },
    /// Rows of several.
    Union { below: Vec<Node>, schema: SchemaRef },
    /// Rows that meet rows of another.
    Join(Box<Join>),
    /// One row for each group.
    Group(Box<Group>),
}

/// What a node keeps from step to step.
pub(super) enum State {
    /// Whether the row was given.
    Once(bool),
    /// The rows of both sides of a join.
    Join(Sides),
    /// The groups of an aggregation.
    Group(Groups),
}

impl State {
    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Once(_) => 0,
                Self::Join(sides) => sides.bytes(),
                Self::Group(groups) => groups.bytes(),
            }
    }
}

/// The read of some columns of an input.
#[derive(Debug)]
pub(super) struct Scan {
    /// Which input.
    pub(super) input: usize,
    /// Which of the columns that the input has here.
    pub(super) columns: Vec<usize>,
    /// Of these columns.
    pub(super) schema: SchemaRef,
    /// Over these columns.
    pub(super) conditions: Vec<Computed>,
    /// Of as many of them, the first ones, as go on above the conditions.
    pub(super) output: SchemaRef,
}

impl Node {
    /// What changes of the inputs make of this node's result.
    ///
    /// # Errors
    /// What computing an expression failed with, and changes that do not follow from what was before.
    pub(super) fn run(&self, states: &mut [State], changes: &[InputChange]) -> Result<Vec<Delta>, Broken> {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::Once { slot, schema } => match states.get_mut(*slot) {
                Some(State::Once(was_given)) if *was_given => Ok(Vec::new()),
                Some(State::Once(was_given)) => {
                    *was_given = true;
                    let columns = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
                    Ok(vec![Delta { batch: batch_of(schema, columns, 1)?, weights: vec![1] }])
                }
                _ => Err(no_state()),
            },
            Self::Scan(scan) => scan.run(changes),
            Self::Filter { below, conditions } => filtered(below.run(states, changes)?, conditions),
            Self::Project { below, outputs, schema } => {
                let deltas = below.run(states, changes)?;
                deltas.into_iter().map(|delta| projected(delta, outputs, schema)).collect()
            }
            Self::Union { below, schema } => {
                let mut all = Vec::new();
                for node in below {
                    for delta in node.run(states, changes)? {
                        let batch = batch_of(schema, delta.batch.columns().to_vec(), delta.weights.len())?;
                        all.push(Delta { batch, weights: delta.weights });
                    }
                }
                Ok(all)
            }
            Self::Join(join) => {
                let (own, other) = (join.own.run(states, changes)?, join.other.run(states, changes)?);
                match states.get_mut(join.slot) {
                    Some(State::Join(sides)) => join.step(sides, &own, &other),
                    _ => Err(no_state()),
                }
            }
            Self::Group(group) => {
                let deltas = group.below.run(states, changes)?;
                match states.get_mut(group.slot) {
                    Some(State::Group(groups)) => group.step(groups, &deltas),
                    _ => Err(no_state()),
                }
            }
        }
    }
}

fn no_state() -> Broken {
    Broken::lost("a step of a program has no state")
}

fn projected(delta: Delta, outputs: &[Computed], schema: &SchemaRef) -> Result<Delta, Broken> {
    let columns = outputs.iter().map(|output| values(output, &delta.batch)).collect::<Result<Vec<_>, _>>()?;
    Ok(Delta { batch: batch_of(schema, columns, delta.weights.len())?, weights: delta.weights })
}

impl Scan {
    fn run(&self, changes: &[InputChange]) -> Result<Vec<Delta>, Broken> {
        let mut deltas = Vec::new();
        for change in changes.iter().filter(|change| change.input == self.input) {
            for (batches, weight) in [(&change.removed, -1), (&change.added, 1)] {
                for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
                    deltas.push(Delta { batch: self.read(batch)?, weights: vec![weight; batch.num_rows()] });
                }
            }
        }
        // A row that changed in other columns has not changed here.
        let deltas = filtered(consolidated(deltas)?, &self.conditions)?;
        if self.output.fields().len() == self.schema.fields().len() {
            return Ok(deltas);
        }
        let narrow = |delta: Delta| -> Result<Delta, Broken> {
            let columns = delta.batch.columns().iter().take(self.output.fields().len()).map(Arc::clone).collect();
            Ok(Delta { batch: batch_of(&self.output, columns, delta.weights.len())?, weights: delta.weights })
        };
        deltas.into_iter().map(narrow).collect()
    }

    fn read(&self, batch: &RecordBatch) -> Result<RecordBatch, Broken> {
        let columns: Option<Vec<_>> = self.columns.iter().map(|place| batch.columns().get(*place).cloned()).collect();
        let columns = columns.ok_or_else(|| Broken::lost("changed rows lack a column"))?;
        Ok(batch_of(&self.schema, columns, batch.num_rows())?)
    }
}
