//! Sums, averages and deviations of floats: one value after the other, in the order of the rows, as PostgreSQL adds them.
//! A frame that moves is added up anew for every row, because taking a float away again does not undo adding it.
//!
//! Averages and deviations keep the state of `float8_accum`: the sums by Youngs and Cramer.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float32Builder, Float64Builder};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::scalar::ScalarValue;

use crate::error::{Diagnosis, sqlstate};

use super::Kind;
use super::accumulate::lost;

/// Count, sum, and (but for sums) the sum of squared differences.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct FloatSum {
    count: f64,
    sum: f64,
    squares: f64,
}

fn overflow() -> Diagnosis {
    Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow")
}

/// The sum of two floats; infinite only when one of them is.
fn plus(left: f64, right: f64, kind: Kind) -> Result<f64, Diagnosis> {
    let sum = if kind == Kind::SumReal { f64::from(left as f32 + right as f32) } else { left + right };
    if sum.is_infinite() && !left.is_infinite() && !right.is_infinite() { Err(overflow()) } else { Ok(sum) }
}

impl FloatSum {
    /// The parts of a partial state.
    pub(super) fn from_parts([count, sum, squares]: [f64; 3]) -> Self {
        Self { count, sum, squares }
    }

    /// What [`Self::from_parts`] takes.
    pub(super) fn parts(&self) -> [f64; 3] {
        [self.count, self.sum, self.squares]
    }

    /// Adds one value.
    ///
    /// # Errors
    /// 22003 when finite values leave the range of the type.
    pub(super) fn add(&mut self, kind: Kind, value: f64) -> Result<(), Diagnosis> {
        let before = *self;
        self.count += 1.0;
        if matches!(kind, Kind::Sum | Kind::SumReal) {
            // The first value is taken as it is: 0 and -0 are 0.
            self.sum = if before.count > 0.0 { plus(before.sum, value, kind)? } else { value };
            return Ok(());
        }
        self.sum += value;
        if before.count == 0.0 {
            if !value.is_finite() {
                self.squares = f64::NAN;
            }
            return Ok(());
        }
        let difference = value * self.count - self.sum;
        self.squares += difference * difference / (self.count * before.count);
        if self.sum.is_infinite() || self.squares.is_infinite() {
            if !before.sum.is_infinite() && !value.is_infinite() {
                return Err(overflow());
            }
            self.squares = f64::NAN;
        }
        Ok(())
    }

    /// Adds the values of another sum, which came later (`float8_combine`).
    ///
    /// # Errors
    /// 22003 when finite values leave the range of the type.
    pub(super) fn merge(&mut self, kind: Kind, other: &Self) -> Result<(), Diagnosis> {
        if other.count == 0.0 {
            return Ok(());
        }
        if self.count == 0.0 {
            *self = *other;
            return Ok(());
        }
        let sum = plus(self.sum, other.sum, kind)?;
        let total = self.count + other.count;
        if !matches!(kind, Kind::Sum | Kind::SumReal) {
            let difference = self.sum / self.count - other.sum / other.count;
            let squares = self.squares + other.squares + self.count * other.count * difference * difference / total;
            if squares.is_infinite() && !self.squares.is_infinite() && !other.squares.is_infinite() {
                return Err(overflow());
            }
            self.squares = squares;
        }
        (self.count, self.sum) = (total, sum);
        Ok(())
    }

    /// The result; `None` where too few values were added.
    pub(super) fn result(&self, kind: Kind) -> Option<f64> {
        let least = if matches!(kind, Kind::SampleDeviation | Kind::SampleVariance) { 2.0 } else { 1.0 };
        if self.count < least {
            return None;
        }
        Some(match kind {
            Kind::Sum | Kind::SumReal => self.sum,
            Kind::Average => self.sum / self.count,
            Kind::SampleDeviation => (self.squares / (self.count - 1.0)).sqrt(),
            Kind::SampleVariance => self.squares / (self.count - 1.0),
            Kind::PopulationDeviation => (self.squares / self.count).sqrt(),
            _ => self.squares / self.count,
        })
    }
}

/// Hands every value that is not NULL to `use_value`, with its row.
pub(super) fn each(array: &ArrayRef, mut use_value: impl FnMut(usize, f64) -> Result<()>) -> Result<()> {
    let value: &dyn Fn(usize) -> f64 = match array.data_type() {
        DataType::Float64 => &|row| array.as_primitive::<Float64Type>().value(row),
        DataType::Float32 => &|row| f64::from(array.as_primitive::<Float32Type>().value(row)),
        _ => return Err(lost()),
    };
    for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
        use_value(row, value(row))?;
    }
    Ok(())
}

/// The values of a frame that moves forward, which are added up when its result is asked for.
#[derive(Debug)]
pub(super) struct MovingFloats {
    kind: Kind,
    carrier: DataType,
    frame: VecDeque<f64>,
}

impl MovingFloats {
    pub(super) fn new(kind: Kind, carrier: DataType) -> Self {
        Self { kind, carrier, frame: VecDeque::new() }
    }
}

impl Accumulator for MovingFloats {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(values.first().ok_or_else(lost)?, |_, value| {
            self.frame.push_back(value);
            Ok(())
        })
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let array = values.first().ok_or_else(lost)?;
        let leaving = array.len() - array.null_count();
        self.frame.drain(..leaving.min(self.frame.len()));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut sum = FloatSum::default();
        for value in &self.frame {
            sum.add(self.kind, *value)?;
        }
        let result = sum.result(self.kind);
        Ok(match self.carrier {
            DataType::Float32 => ScalarValue::Float32(result.map(|value| value as f32)),
            _ => ScalarValue::Float64(result),
        })
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.frame.capacity() * size_of::<f64>()
    }

    /// A frame is never computed in parts.
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Err(lost())
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        Err(lost())
    }
}

/// The sums of many groups at once.
#[derive(Debug)]
pub(super) struct GroupedFloats {
    kind: Kind,
    carrier: DataType,
    sums: Vec<FloatSum>,
}

impl GroupedFloats {
    pub(super) fn new(kind: Kind, carrier: DataType) -> Self {
        Self { kind, carrier, sums: Vec::new() }
    }
}

fn partial(sums: &[FloatSum]) -> Vec<ArrayRef> {
    let mut parts = [(); 3].map(|()| Float64Builder::with_capacity(sums.len()));
    for sum in sums {
        for (builder, part) in parts.iter_mut().zip(sum.parts()) {
            builder.append_value(part);
        }
    }
    parts.into_iter().map(|mut builder| Arc::new(builder.finish()) as ArrayRef).collect()
}

impl GroupsAccumulator for GroupedFloats {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.sums.resize(total, FloatSum::default());
        each(values.first().ok_or_else(lost)?, |row, value| {
            if filter.is_some_and(|filter| !filter.is_valid(row) || !filter.value(row)) {
                return Ok(());
            }
            let sum = groups.get(row).and_then(|group| self.sums.get_mut(*group)).ok_or_else(lost)?;
            Ok(sum.add(self.kind, value)?)
        })
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = emit_to.take_needed(&mut self.sums);
        let results = sums.iter().map(|sum| sum.result(self.kind));
        Ok(match self.carrier {
            DataType::Float32 => {
                let mut builder = Float32Builder::with_capacity(sums.len());
                builder.extend(results.map(|value| value.map(|value| value as f32)));
                Arc::new(builder.finish())
            }
            _ => {
                let mut builder = Float64Builder::with_capacity(sums.len());
                builder.extend(results);
                Arc::new(builder.finish())
            }
        })
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(partial(&emit_to.take_needed(&mut self.sums)))
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.sums.resize(total, FloatSum::default());
        let [counts, sums, squares] = states else { return Err(lost()) };
        let parts = [counts, sums, squares].map(|part| part.as_primitive::<Float64Type>());
        for (row, group) in groups.iter().enumerate() {
            let other = FloatSum::from_parts(parts.map(|part| part.value(row)));
            self.sums.get_mut(*group).ok_or_else(lost)?.merge(self.kind, &other)?;
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |array| array.len());
        let mut single = Self::new(self.kind, self.carrier.clone());
        single.update_batch(values, &(0..rows).collect::<Vec<_>>(), filter, rows)?;
        single.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sums.capacity() * size_of::<FloatSum>()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;

    use super::*;

    fn column(values: &[Option<f64>]) -> ArrayRef {
        Arc::new(Float64Array::from(values.to_vec()))
    }

    fn check(kind: Kind, values: &[f64], expected: Result<Option<f64>, &str>) {
        let mut sum = FloatSum::default();
        let added = values.iter().try_for_each(|value| sum.add(kind, *value));
        let found = added.map(|()| sum.result(kind).map(f64::to_bits)).map_err(|error| error.message);
        assert_eq!(found, expected.map(|value| value.map(f64::to_bits)).map_err(str::to_owned), "{kind:?} {values:?}");
    }

    #[test]
    fn sums_overflow_only_when_no_value_is_infinite() {
        check(Kind::Sum, &[], Ok(None));
        check(Kind::Sum, &[-0.0], Ok(Some(-0.0)));
        check(Kind::Sum, &[0.1, 0.2, 0.3], Ok(Some(0.1 + 0.2 + 0.3)));
        check(Kind::Sum, &[1e308, 1e308], Err("value out of range: overflow"));
        check(Kind::Sum, &[1e308, f64::INFINITY], Ok(Some(f64::INFINITY)));
        check(Kind::SumReal, &[3e38, 3e38], Err("value out of range: overflow"));
        check(Kind::Average, &[1.0, 2.0], Ok(Some(1.5)));
        // The squares leave the range before the sum does.
        check(Kind::Average, &[1e200, -1e200], Err("value out of range: overflow"));
        check(Kind::Average, &[1.0, f64::INFINITY, 2.0], Ok(Some(f64::INFINITY)));
        check(Kind::SampleVariance, &[1.0], Ok(None));
        check(Kind::SampleVariance, &[1.0, 2.0, 3.0, 4.0], Ok(Some(5.0 / 3.0)));
        check(Kind::PopulationDeviation, &[2.0, 4.0], Ok(Some(1.0)));
    }

    #[test]
    fn groups_add_up_across_partial_states() {
        let rows = column(&[Some(1.0), None, Some(2.0), Some(4.0), None]);
        let mut first = GroupedFloats::new(Kind::Average, DataType::Float64);
        first.update_batch(&[Arc::clone(&rows)], &[0, 0, 0, 1, 2], None, 3).unwrap();
        let states = first.state(EmitTo::All).unwrap();
        let mut last = GroupedFloats::new(Kind::Average, DataType::Float64);
        last.merge_batch(&states, &[0, 1, 2], 3).unwrap();
        let filter = BooleanArray::from(vec![Some(true), Some(true), Some(false), Some(true), None]);
        let states = last.convert_to_state(&[rows], Some(&filter)).unwrap();
        last.merge_batch(&states, &[0, 0, 0, 0, 2], 3).unwrap();
        let found = last.evaluate(EmitTo::All).unwrap();
        let found: Vec<Option<f64>> = found.as_primitive::<Float64Type>().iter().collect();
        assert_eq!(found, [Some(2.0), Some(4.0), None]);
    }

    #[test]
    fn a_value_that_left_the_frame_leaves_no_trace() {
        let values = [Some(1.0), Some(1e300), None, Some(0.5), Some(f64::NAN), Some(0.25), Some(2.0)];
        let mut frame = MovingFloats::new(Kind::Sum, DataType::Float64);
        let mut found = Vec::new();
        for (place, value) in values.iter().enumerate() {
            frame.update_batch(&[column(&[*value])]).unwrap();
            if place >= 2 {
                frame.retract_batch(&[column(&[values[place - 2]])]).unwrap();
            }
            found.push(frame.evaluate().unwrap().to_string());
        }
        assert_eq!(found, ["1", &format!("{}", 1e300), &format!("{}", 1e300), "0.5", "NaN", "NaN", "2.25"]);
    }
}
