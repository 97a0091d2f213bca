//! From changed rows to what is told of them: asked of both sides of a change, and computed of the cells that were sent.

use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::array::{
    Array, ArrayRef, AsArray, ListBuilder, RecordBatch, RecordBatchOptions, StringArray, StringBuilder, UInt32Array,
};
use arrow::compute::{interleave, take_record_batch};
use arrow::error::ArrowError;

use super::super::error::diagnose;
use super::super::items::refit;
use super::{Delta, Output, Part, internal};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::change::{Known, Operation, Rows};

/// What a subscriber sees of a row that a snapshot found.
const SNAPSHOT: &str = "snapshot";

/// A changed row of a table.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// Which.
    pub row: usize,
    /// The place of its change.
    pub position: String,
    /// The transaction that it is of.
    pub transaction: &'a str,
}

/// Where the values of a row come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    New,
    Old,
}

/// A row that is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Given {
    op: &'static str,
    side: Side,
    /// Which of the changes.
    change: usize,
    /// Whether it tells the position: of two rows of one change the last one does, so that nobody goes on between them.
    is_placed: bool,
}

/// What stands before the outputs of a row.
struct Head<'a> {
    op: &'a str,
    position: Option<&'a str>,
    transaction: Option<&'a str>,
    unknown: Vec<&'a str>,
}

impl Delta {
    /// What is told of changed rows, in their order; `None` where none of them is told of.
    ///
    /// # Errors
    /// What an expression fails with (22012, …).
    pub fn changes(&self, rows: &Rows, changes: &[Change<'_>]) -> Result<Option<RecordBatch>, Diagnosis> {
        let sides = Sides::of(self, rows)?;
        let picked: Vec<usize> = changes.iter().map(|change| change.row).collect();
        let (after, before) = (sides.after(&picked)?, sides.before(&picked)?);
        let mut given = Vec::new();
        for (place, row) in picked.iter().enumerate() {
            let (after, before) = (after.get(place).copied().unwrap_or(false), before.get(place).copied().flatten());
            sides.told((place, *row), (before, after), &mut given);
        }
        if given.is_empty() {
            return Ok(None);
        }
        let mut heads: Vec<Head<'_>> = given.iter().filter_map(|row| head(*row, changes)).collect();
        let outputs = self.outputs.iter().map(|output| sides.output(output, &given, &picked, &mut heads));
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        self.assemble(&heads, outputs).map(Some)
    }

    /// What is told of rows that a snapshot has found, all columns of the table.
    ///
    /// # Errors
    /// As [`Delta::changes`].
    pub fn snapshot(&self, rows: RecordBatch) -> Result<RecordBatch, Diagnosis> {
        let rows = refit(rows, &self.input).map_err(|error| diagnose(&error))?;
        let all: Vec<usize> = (0..rows.num_rows()).collect();
        let kept: Vec<usize> = self.passing(&rows, all)?;
        let rows = pick(&rows, &kept)?;
        let outputs = self.outputs.iter().map(|output| values(&output.part, &rows)).collect::<Result<Vec<_>, _>>()?;
        let head = || Head { op: SNAPSHOT, position: None, transaction: None, unknown: Vec::new() };
        let heads: Vec<Head<'_>> = kept.iter().map(|_| head()).collect();
        self.assemble(&heads, outputs)
    }

    /// A row that says something and has no outputs.
    ///
    /// # Errors
    /// None but of our own.
    pub fn mark(&self, op: &str, position: Option<&str>, transaction: Option<&str>) -> Result<RecordBatch, Diagnosis> {
        let outputs = self.outputs.iter().map(|output| new_null_array(&output.data_type, 1)).collect();
        self.assemble(&[Head { op, position, transaction, unknown: Vec::new() }], outputs)
    }

    /// The columns of what it gives.
    pub fn schema(&self) -> &arrow::datatypes::SchemaRef {
        &self.schema
    }

    /// Those of some rows that all conditions leave.
    fn passing(&self, rows: &RecordBatch, mut left: Vec<usize>) -> Result<Vec<usize>, Diagnosis> {
        for filter in &self.filters {
            if left.is_empty() {
                break;
            }
            let truths = values(filter, &pick(rows, &left)?)?;
            let truths = truths.as_boolean_opt().ok_or_else(|| internal("a condition gave no truth values"))?;
            let passed = |(place, row): (usize, usize)| (truths.is_valid(place) && truths.value(place)).then_some(row);
            left = left.into_iter().enumerate().filter_map(passed).collect();
        }
        Ok(left)
    }

    fn assemble(&self, heads: &[Head<'_>], outputs: Vec<ArrayRef>) -> Result<RecordBatch, Diagnosis> {
        let ops: StringArray = heads.iter().map(|head| Some(head.op)).collect();
        let positions: StringArray = heads.iter().map(|head| head.position).collect();
        let transactions: StringArray = heads.iter().map(|head| head.transaction).collect();
        let mut unknown = ListBuilder::new(StringBuilder::new());
        for head in heads {
            for name in &head.unknown {
                unknown.values().append_value(name);
            }
            unknown.append(!head.unknown.is_empty());
        }
        let head: [ArrayRef; 4] = [Arc::new(ops), Arc::new(positions), Arc::new(transactions), Arc::new(unknown.finish())];
        let columns = head.into_iter().chain(outputs).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(heads.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(broken)
    }
}

fn broken(error: ArrowError) -> Diagnosis {
    diagnose(&error.into())
}

fn head<'a>(row: Given, changes: &'a [Change<'a>]) -> Option<Head<'a>> {
    let change = changes.get(row.change)?;
    let position = row.is_placed.then_some(change.position.as_str());
    Some(Head { op: row.op, position, transaction: Some(change.transaction), unknown: Vec::new() })
}

fn values(part: &Part, rows: &RecordBatch) -> Result<ArrayRef, Diagnosis> {
    let count = rows.num_rows();
    part.expr.evaluate(rows).and_then(|value| value.into_array(count)).map_err(|error| diagnose(&error))
}

fn pick(rows: &RecordBatch, places: &[usize]) -> Result<RecordBatch, Diagnosis> {
    if places.len() == rows.num_rows() && places.iter().enumerate().all(|(at, place)| at == *place) {
        return Ok(rows.clone());
    }
    let places = places.iter().map(|place| u32::try_from(*place)).collect::<Result<Vec<u32>, _>>();
    let places = places.map_err(|_many| internal("a group of changes has too many rows"))?;
    take_record_batch(rows, &UInt32Array::from(places)).map_err(broken)
}

/// Both sides of changed rows, as expressions see them.
struct Sides<'a> {
    delta: &'a Delta,
    rows: &'a Rows,
    new: RecordBatch,
    old: Option<RecordBatch>,
}

impl<'a> Sides<'a> {
    fn of(delta: &'a Delta, rows: &'a Rows) -> Result<Self, Diagnosis> {
        let refitted = |batch: &RecordBatch| refit(batch.clone(), &delta.input).map_err(|error| diagnose(&error));
        let old = rows.old.as_ref().map(refitted).transpose()?;
        Ok(Self { delta, rows, new: refitted(&rows.new)?, old })
    }

    /// Which of the rows are there after their change, and pass.
    fn after(&self, picked: &[usize]) -> Result<Vec<bool>, Diagnosis> {
        let is_there = |row: &usize| self.rows.operations.get(*row).is_some_and(|operation| *operation != Operation::Delete);
        let asked: Vec<usize> = picked.iter().copied().filter(is_there).collect();
        self.check_told(&asked)?;
        let passing = self.delta.passing(&self.new, asked)?;
        Ok(marked(picked, &passing))
    }

    /// Refuses conditions over cells of the new rows that were not sent. The shape says that they always are, and yet older events and
    /// sessions with settings of their own may lack them; NULL in their place would be a wrong answer.
    fn check_told(&self, asked: &[usize]) -> Result<(), Diagnosis> {
        let mut needs = self.delta.filters.iter().flat_map(|filter| &filter.needs);
        let is_missing = |need: &&usize| asked.iter().any(|row| !self.rows.new_known.has(**need, *row));
        let Some(field) = needs.find(is_missing).and_then(|need| self.rows.shape.schema.fields().get(*need)) else {
            return Ok(());
        };
        let message = format!("a condition over column \"{}\" cannot be followed", field.name());
        Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .with_detail("The store has not told its value with a change.")
            .with_hint("Subscribe again WITH SNAPSHOT, or without the condition."))
    }

    /// Which of the rows passed before their change; `None` where that is not known.
    fn before(&self, picked: &[usize]) -> Result<Vec<Option<bool>>, Diagnosis> {
        let is_known = |row: &usize| {
            let needs = self.delta.filters.iter().map(|filter| &filter.needs);
            let mut known = needs.map(|needs| self.rows.old_known.has_all(needs, *row));
            known.all(|is_known| is_known)
        };
        let asked: Vec<usize> = picked.iter().copied().filter(is_known).collect();
        let passing = match &self.old {
            Some(old) => self.delta.passing(old, asked)?,
            // What is known without an old row reads no column.
            None => self.delta.passing(&self.new, asked)?,
        };
        let passed = marked(picked, &passing);
        Ok(picked.iter().zip(passed).map(|(row, passed)| is_known(row).then_some(passed)).collect())
    }

    /// What is told of one change.
    fn told(&self, (change, row): (usize, usize), (before, after): (Option<bool>, bool), given: &mut Vec<Given>) {
        let mut give = |op, side, is_placed| given.push(Given { op, side, change, is_placed });
        match (self.rows.operations.get(row), after) {
            (Some(Operation::Insert), true) => give("insert", Side::New, true),
            (Some(Operation::Upsert | Operation::Read), true) => give("upsert", Side::New, true),
            // What it has replaced, if anything, may have passed.
            (Some(Operation::Upsert), false) => give("delete", Side::New, true),
            (Some(Operation::Delete), _) if before != Some(false) => give("delete", Side::Old, true),
            (Some(Operation::Update), _) if self.rows.moves(row) => {
                if before != Some(false) {
                    give("delete", Side::Old, !after);
                }
                if after {
                    give("insert", Side::New, true);
                }
            }
            (Some(Operation::Update), true) => match before {
                Some(true) => give("update", Side::New, true),
                Some(false) => give("insert", Side::New, true),
                None => give("upsert", Side::New, true),
            },
            (Some(Operation::Update), false) if before != Some(false) => give("delete", Side::Old, true),
            _ => {}
        }
    }

    /// The side on which an output of a row is known.
    fn source(&self, needs: &[usize], given: Given, row: usize) -> Option<Side> {
        let is_known = |known: &Known| known.has_all(needs, row);
        match given.side {
            Side::New => is_known(&self.rows.new_known).then_some(Side::New),
            Side::Old if self.old.is_some() && is_known(&self.rows.old_known) => Some(Side::Old),
            Side::Old => {
                // A key that is not told to be another is the same after the change.
                let is_same = self.rows.operations.get(row) == Some(&Operation::Update) && !self.rows.moves(row);
                let is_key = needs.iter().all(|need| self.rows.shape.key.contains(need));
                (is_same && is_key && is_known(&self.rows.new_known)).then_some(Side::New)
            }
        }
    }

    /// The values of an output, NULL where it is not known, which the heads tell.
    fn output<'h>(
        &self,
        output: &'h Output,
        given: &[Given],
        picked: &[usize],
        heads: &mut [Head<'h>],
    ) -> Result<ArrayRef, Diagnosis> {
        let (mut new, mut old) = (Vec::new(), Vec::new());
        let mut places = Vec::with_capacity(given.len());
        for (row, head) in given.iter().zip(heads) {
            let at = picked.get(row.change).copied().unwrap_or(0);
            // A row that is gone after an upsert that does not pass is known by its key alone.
            let is_key = output.part.needs.iter().all(|need| self.rows.shape.key.contains(need));
            let is_left_out = row.side == Side::New && row.op == "delete" && !is_key;
            match self.source(&output.part.needs, *row, at).filter(|_| !is_left_out) {
                Some(Side::New) => {
                    places.push((0, new.len()));
                    new.push(at);
                }
                Some(Side::Old) => {
                    places.push((1, old.len()));
                    old.push(at);
                }
                None => {
                    places.push((2, 0));
                    head.unknown.push(&output.name);
                }
            }
        }
        let nothing = new_null_array(&output.data_type, 1);
        let none = || Arc::clone(&nothing);
        let new = if new.is_empty() { none() } else { values(&output.part, &pick(&self.new, &new)?)? };
        let old = match &self.old {
            Some(rows) if !old.is_empty() => values(&output.part, &pick(rows, &old)?)?,
            _ => none(),
        };
        interleave(&[new.as_ref(), old.as_ref(), nothing.as_ref()], &places).map_err(broken)
    }
}

/// Which of some rows are among others, both in the same order.
fn marked(picked: &[usize], passing: &[usize]) -> Vec<bool> {
    let mut passing = passing.iter().peekable();
    picked.iter().map(|row| passing.next_if(|next| *next == row).is_some()).collect()
}
