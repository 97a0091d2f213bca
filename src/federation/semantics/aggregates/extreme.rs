//! `min` and `max` by PostgreSQL's order of a type (and the first of floats): of a group, of a moving window frame, and of many groups of floats.
//!
//! Of equal values (1.0 and 1.00, 0 and -0) the last is the result, as `numeric_larger` and `float8larger` choose.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float32Builder, Float64Builder};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::scalar::ScalarValue;

use crate::pgtype::PgType;

use super::super::datum::{Column, Datum};
use super::super::floats;
use super::super::key::encode;
use super::super::typed::Typed;

/// Which end of the order is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Least,
    Greatest,
    /// Whatever came first, which stands for a group of equal floats.
    First,
}

impl End {
    /// Whether a value that compares to a newer one in this way stays the result.
    fn keeps(self, kept_to_new: Ordering) -> bool {
        match self {
            Self::Least => kept_to_new == Ordering::Less,
            Self::Greatest => kept_to_new == Ordering::Greater,
            Self::First => true,
        }
    }
}

/// A value that may become the result.
#[derive(Debug)]
struct Candidate {
    /// How many values came before it.
    number: u64,
    key: Vec<u8>,
    value: ScalarValue,
}

/// The extreme of one group, or of a frame that moves forward.
#[derive(Debug)]
pub(super) struct ExtremeAccumulator {
    end: End,
    reads: Typed,
    carrier: DataType,
    /// Whether values leave again: then every value is kept that may still become the extreme.
    moving: bool,
    added: u64,
    removed: u64,
    /// Best first; each is newer than the one before it and not better.
    candidates: VecDeque<Candidate>,
}

impl ExtremeAccumulator {
    pub(super) fn new(end: End, reads: Typed, carrier: DataType, moving: bool) -> Self {
        Self { end, reads, carrier, moving, added: 0, removed: 0, candidates: VecDeque::new() }
    }

    fn add(&mut self, array: &ArrayRef, row: usize, value: &Datum<'_>) -> Result<()> {
        let number = self.added;
        self.added += 1;
        let mut key = Vec::new();
        encode(&self.reads, value, &mut key)?;
        // Blank-padded text keeps the first of equals (`bpchar_larger`).
        let blank = self.reads.pg_type.oid == PgType::BPCHAR.oid;
        let stays = |kept: &Candidate| match kept.key.cmp(&key) {
            Ordering::Equal if blank => true,
            other => self.end.keeps(other),
        };
        while self.candidates.back().is_some_and(|kept| !stays(kept)) {
            self.candidates.pop_back();
        }
        if self.moving || self.candidates.is_empty() {
            self.candidates.push_back(Candidate { number, key, value: ScalarValue::try_from_array(array, row)? });
        }
        Ok(())
    }

    /// The only row of a batch of floats that can become the result.
    fn best_float(&self, array: &ArrayRef) -> Option<usize> {
        let value: &dyn Fn(usize) -> f64 = match array.data_type() {
            DataType::Float64 => &|row| array.as_primitive::<Float64Type>().value(row),
            _ => &|row| f64::from(array.as_primitive::<Float32Type>().value(row)),
        };
        let mut best: Option<(usize, f64)> = None;
        for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
            let new = value(row);
            if best.is_none_or(|(_, kept)| !self.end.keeps(floats::compare(kept, new))) {
                best = Some((row, new));
            }
        }
        best.map(|(row, _)| row)
    }
}

impl Accumulator for ExtremeAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(array) = values.first() else { return Ok(()) };
        let reads = self.reads.clone();
        let column = Column::new(array, Some(&reads))?;
        if !self.moving && floats::is_float(reads.pg_type) {
            return match self.best_float(array) {
                Some(row) => self.add(array, row, &column.get(row)),
                None => Ok(()),
            };
        }
        for row in 0..array.len() {
            match column.get(row) {
                Datum::Null => {}
                value => self.add(array, row, &value)?,
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.candidates.front() {
            Some(best) => Ok(best.value.clone()),
            None => ScalarValue::try_from(&self.carrier),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.candidates.iter().map(|kept| size_of_val(kept) + kept.key.len() + kept.value.size()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(array) = values.first() else { return Ok(()) };
        self.removed += u64::try_from(array.len() - array.null_count()).unwrap_or(u64::MAX);
        while self.candidates.front().is_some_and(|kept| kept.number < self.removed) {
            self.candidates.pop_front();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        self.moving
    }
}

/// The extremes of floats of many groups at once.
#[derive(Debug)]
pub(super) struct FloatExtremes {
    end: End,
    carrier: DataType,
    groups: Vec<Option<f64>>,
}

impl FloatExtremes {
    pub(super) fn new(end: End, carrier: DataType) -> Self {
        Self { end, carrier, groups: Vec::new() }
    }

    fn column(&self, groups: &[Option<f64>]) -> ArrayRef {
        match self.carrier {
            DataType::Float32 => {
                let mut builder = Float32Builder::with_capacity(groups.len());
                groups.iter().for_each(|value| builder.append_option(value.map(|value| value as f32)));
                Arc::new(builder.finish())
            }
            _ => {
                let mut builder = Float64Builder::with_capacity(groups.len());
                builder.extend(groups.iter().copied());
                Arc::new(builder.finish())
            }
        }
    }
}

impl GroupsAccumulator for FloatExtremes {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        let array = values.first().ok_or_else(|| DataFusionError::Internal("an extreme has one argument".to_owned()))?;
        self.groups.resize(total_groups, None);
        let value: &dyn Fn(usize) -> f64 = match array.data_type() {
            DataType::Float64 => &|row| array.as_primitive::<Float64Type>().value(row),
            _ => &|row| f64::from(array.as_primitive::<Float32Type>().value(row)),
        };
        for (row, group) in group_indices.iter().enumerate() {
            let counted = array.is_valid(row) && filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            let Some(kept) = self.groups.get_mut(*group).filter(|_| counted) else { continue };
            let new = value(row);
            if kept.is_none_or(|kept| !self.end.keeps(floats::compare(kept, new))) {
                *kept = Some(new);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emit_to.take_needed(&mut self.groups);
        Ok(self.column(&groups))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_groups: usize) -> Result<()> {
        self.update_batch(values, group_indices, None, total_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |array| array.len());
        let mut single = Self::new(self.end, self.carrier.clone());
        single.update_batch(values, &(0..rows).collect::<Vec<_>>(), filter, rows)?;
        single.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Option<f64>>()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;

    use super::*;

    type Batch = [Option<f64>];

    fn column(values: &Batch) -> ArrayRef {
        Arc::new(Float64Array::from(values.to_vec()))
    }

    fn shown(value: &ScalarValue) -> String {
        match value {
            ScalarValue::Float64(Some(value)) => value.to_string(),
            other => format!("{other:?}"),
        }
    }

    fn extreme(end: End, batches: &[&Batch]) -> String {
        let mut accumulator = ExtremeAccumulator::new(end, PgType::FLOAT8.into(), DataType::Float64, false);
        let mut groups = FloatExtremes::new(end, DataType::Float64);
        for batch in batches {
            accumulator.update_batch(&[column(batch)]).unwrap();
            groups.update_batch(&[column(batch)], &vec![1; batch.len()], None, 2).unwrap();
        }
        let together = ScalarValue::try_from_array(&groups.evaluate(EmitTo::All).unwrap(), 1).unwrap();
        let alone = accumulator.evaluate().unwrap();
        assert_eq!(shown(&alone), shown(&together));
        shown(&alone)
    }

    #[test]
    fn nan_is_the_greatest_and_the_last_of_equals_counts() {
        let rows: [(&[&Batch], &str, &str); 4] = [
            (&[&[Some(1.0), None, Some(f64::NAN)], &[Some(2.0)]], "1", "NaN"),
            (&[&[Some(f64::NAN)], &[Some(f64::INFINITY)]], "inf", "NaN"),
            (&[&[Some(0.0), Some(-0.0)]], "-0", "-0"),
            (&[&[Some(-0.0)], &[Some(0.0), None]], "0", "0"),
        ];
        for (batches, least, greatest) in rows {
            assert_eq!(extreme(End::Least, batches), least, "{batches:?}");
            assert_eq!(extreme(End::Greatest, batches), greatest, "{batches:?}");
        }
        assert_eq!(extreme(End::First, &[&[None, Some(-0.0)], &[Some(0.0), Some(-1.0)]]), "-0");
        assert_eq!(extreme(End::Least, &[&[None]]), shown(&ScalarValue::Float64(None)));
    }

    #[test]
    fn values_leave_a_moving_frame() {
        let values = [Some(3.0), Some(1.0), None, Some(2.0), Some(2.0), Some(f64::NAN), Some(0.0)];
        let mut accumulator = ExtremeAccumulator::new(End::Greatest, PgType::FLOAT8.into(), DataType::Float64, true);
        let mut found = Vec::new();
        for (place, value) in values.iter().enumerate() {
            accumulator.update_batch(&[column(&[*value])]).unwrap();
            if place >= 3 {
                accumulator.retract_batch(&[column(&[values[place - 3]])]).unwrap();
            }
            found.push(shown(&accumulator.evaluate().unwrap()));
        }
        assert_eq!(found, ["3", "3", "3", "2", "2", "NaN", "NaN"]);
    }
}
