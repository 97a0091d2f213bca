//! The running state of one group: exact numbers, floats, intervals; with or without duplicates. Extremes are in `extreme`,
//! frames that move in `moving` and `float`.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, IntervalMonthDayNano};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use super::super::datum::{Column, Datum, Writer};
use super::super::key::encode;
use super::super::numeric::Numeric;
use super::super::operators::divide_interval;
use super::super::typed::Typed;
use super::Kind;
use super::exact::ExactSum;
use super::float::FloatSum;

/// Sums of a group.
#[derive(Debug, Clone)]
enum State {
    /// Count, sum, sum of squares (kept only for deviations).
    Exact {
        count: i64,
        sum: Numeric,
        squares: Numeric,
    },
    Float(FloatSum),
    /// Count and parts of a sum of intervals.
    Interval {
        count: i64,
        months: i64,
        days: i64,
        nanoseconds: i128,
    },
}

/// See the module.
#[derive(Debug)]
pub(super) struct RowAccumulator {
    kind: Kind,
    reads: Typed,
    carrier: DataType,
    input: DataType,
    state: State,
    /// Keys and values seen, when duplicates are dropped.
    seen: Option<(HashSet<Vec<u8>>, Vec<ScalarValue>)>,
}

/// Types of the partial state that travels between phases.
pub(super) fn state_types(kind: Kind, reads: &Typed, input: &DataType, distinct: bool) -> Vec<DataType> {
    if distinct || matches!(kind, Kind::Distinct(_)) {
        return vec![DataType::List(Arc::new(Field::new("item", input.clone(), true)))];
    }
    match fresh(reads) {
        State::Exact { .. } => vec![DataType::Int64, DataType::Utf8, DataType::Utf8],
        State::Float(_) => vec![DataType::Float64, DataType::Float64, DataType::Float64],
        State::Interval { .. } => vec![DataType::Int64, DataType::Int64, DataType::Int64, DataType::Utf8],
    }
}

fn fresh(reads: &Typed) -> State {
    match reads.pg_type.oid {
        1186 => State::Interval { count: 0, months: 0, days: 0, nanoseconds: 0 },
        700 | 701 => State::Float(FloatSum::default()),
        _ => State::Exact { count: 0, sum: Numeric::from_parts(0, 0), squares: Numeric::from_parts(0, 0) },
    }
}

/// An error that cannot come: the engine hands a state to another function than made it.
pub(super) fn lost() -> DataFusionError {
    DataFusionError::Internal("a partial aggregate has another shape than its function".to_owned())
}

impl RowAccumulator {
    pub(super) fn new(kind: Kind, reads: Typed, carrier: DataType, input: DataType, distinct: bool) -> Self {
        let state = fresh(&reads);
        Self { kind, reads, carrier, input, state, seen: distinct.then(Default::default) }
    }

    fn add(&mut self, value: &Datum<'_>) -> Result<()> {
        let squares_wanted = self.kind.is_deviation();
        match &mut self.state {
            State::Exact { count, sum, squares } => {
                let value = value.as_numeric();
                *count += 1;
                *sum = sum.add(&value)?;
                if squares_wanted {
                    *squares = squares.add(&value.multiply(&value)?)?;
                }
            }
            State::Float(sum) => sum.add(self.kind, value.as_float())?,
            State::Interval { count, months, days, nanoseconds } => {
                let value = value.as_interval();
                *count += 1;
                *months += i64::from(value.months);
                *days += i64::from(value.days);
                *nanoseconds += i128::from(value.nanoseconds);
            }
        }
        Ok(())
    }

    fn add_all(&mut self, array: &ArrayRef) -> Result<()> {
        let reads = self.reads.clone();
        let is_plain = self.seen.is_none() && matches!(self.kind, Kind::Sum | Kind::Average);
        if let (State::Exact { count, sum, .. }, true) = (&mut self.state, is_plain) {
            let mut batch = ExactSum::default();
            batch.add_all(array, &reads)?;
            *sum = sum.add(&batch.total()?)?;
            *count += batch.count;
            return Ok(());
        }
        let column = Column::new(array, Some(&reads))?;
        for row in 0..array.len() {
            let value = column.get(row);
            if value.is_null() {
                continue;
            }
            if let Some((keys, values)) = &mut self.seen {
                let mut key = Vec::new();
                encode(&reads, &value, &mut key)?;
                if !keys.insert(key) {
                    continue;
                }
                values.push(ScalarValue::try_from_array(array, row)?);
            }
            self.add(&value)?;
        }
        Ok(())
    }

    fn result(&self) -> Result<Datum<'static>> {
        Ok(match &self.state {
            State::Exact { count: 0, .. } | State::Interval { count: 0, .. } => Datum::Null,
            State::Exact { count, sum, squares } => exact_result(self.kind, *count, sum, squares)?,
            State::Float(sum) => sum.result(self.kind).map_or(Datum::Null, Datum::Float),
            State::Interval { count, months, days, nanoseconds } => {
                let sum = interval_sum(*months, *days, *nanoseconds)?;
                if self.kind == Kind::Average { divide_interval(sum, *count as f64)? } else { Datum::Interval(sum) }
            }
        })
    }
}

/// A result from the count of values, their sum and, for deviations, the sum of their squares.
pub(super) fn exact_result(kind: Kind, count: i64, sum: &Numeric, squares: &Numeric) -> Result<Datum<'static>> {
    let rows = Numeric::from_parts(count, 0);
    let less_one = Numeric::from_parts(count - 1, 0);
    let divisor = match kind {
        Kind::Sum => return Ok(Datum::Numeric(sum.clone())),
        Kind::Average => return Ok(Datum::Numeric(sum.divide(&rows)?)),
        Kind::SampleDeviation | Kind::SampleVariance if count < 2 => return Ok(Datum::Null),
        Kind::SampleDeviation | Kind::SampleVariance => rows.multiply(&less_one)?,
        _ => rows.multiply(&rows)?,
    };
    let spread = rows.multiply(squares)?.subtract(&sum.multiply(sum)?)?;
    if spread.compare(&Numeric::from_parts(0, 0)) != std::cmp::Ordering::Greater {
        return Ok(Datum::Numeric(Numeric::from_parts(0, 0)));
    }
    let variance = spread.divide(&divisor)?;
    Ok(Datum::Numeric(match kind {
        Kind::SampleDeviation | Kind::PopulationDeviation => variance.square_root()?.round(variance.scale()),
        _ => variance,
    }))
}

fn interval_sum(months: i64, days: i64, nanoseconds: i128) -> Result<IntervalMonthDayNano> {
    let range = || crate::format::fault::datetime_range("interval", None);
    Ok(IntervalMonthDayNano::new(
        i32::try_from(months).ok().ok_or_else(range)?,
        i32::try_from(days).ok().ok_or_else(range)?,
        i64::try_from(nanoseconds).ok().ok_or_else(range)?,
    ))
}

impl Accumulator for RowAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match values.first() {
            Some(array) => self.add_all(array),
            None => Ok(()),
        }
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut writer = Writer::new(&self.carrier, 1)?;
        writer.push(self.result()?)?;
        ScalarValue::try_from_array(&writer.finish()?, 0)
    }

    fn size(&self) -> usize {
        let seen = self.seen.as_ref().map_or(0, |(keys, values)| keys.iter().map(Vec::len).sum::<usize>() + values.len() * 64);
        size_of_val(self) + seen
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        if let Some((_, values)) = &self.seen {
            return Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(values, &self.input))]);
        }
        let text = |value: &Numeric| ScalarValue::Utf8(Some(value.to_canonical()));
        Ok(match &self.state {
            State::Exact { count, sum, squares } => vec![ScalarValue::Int64(Some(*count)), text(sum), text(squares)],
            State::Float(sum) => sum.parts().map(|part| ScalarValue::Float64(Some(part))).to_vec(),
            State::Interval { count, months, days, nanoseconds } => {
                let mut parts = [count, months, days].map(|value| ScalarValue::Int64(Some(*value))).to_vec();
                parts.push(ScalarValue::Utf8(Some(nanoseconds.to_string())));
                parts
            }
        })
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let first = states.first().ok_or_else(lost)?;
        if self.seen.is_some() {
            for list in first.as_list::<i32>().iter().flatten() {
                self.add_all(&list)?;
            }
            return Ok(());
        }
        for row in 0..first.len() {
            self.merge_row(states, row)?;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(array) = values.first() else { return Ok(()) };
        let reads = self.reads.clone();
        let column = Column::new(array, Some(&reads))?;
        let State::Interval { count, months, days, nanoseconds } = &mut self.state else { return Err(lost()) };
        for row in 0..array.len() {
            let Datum::Interval(value) = column.get(row) else { continue };
            *count -= 1;
            *months -= i64::from(value.months);
            *days -= i64::from(value.days);
            *nanoseconds -= i128::from(value.nanoseconds);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        self.seen.is_none() && matches!(self.state, State::Interval { .. })
    }
}

impl RowAccumulator {
    fn merge_row(&mut self, states: &[ArrayRef], row: usize) -> Result<()> {
        let part = |index: usize| states.get(index).filter(|array| array.is_valid(row)).ok_or_else(lost);
        let int = |index: usize| Ok::<i64, DataFusionError>(part(index)?.as_primitive::<Int64Type>().value(row));
        let float = |index: usize| Ok::<f64, DataFusionError>(part(index)?.as_primitive::<Float64Type>().value(row));
        let number = |index: usize| Numeric::from_canonical(part(index)?.as_string::<i32>().value(row)).ok_or_else(lost);
        match &mut self.state {
            State::Exact { count, sum, squares } => {
                *count += int(0)?;
                *sum = sum.add(&number(1)?)?;
                *squares = squares.add(&number(2)?)?;
            }
            State::Float(sum) => sum.merge(self.kind, &FloatSum::from_parts([float(0)?, float(1)?, float(2)?]))?,
            State::Interval { count, months, days, nanoseconds } => {
                *count += int(0)?;
                *months += int(1)?;
                *days += int(2)?;
                *nanoseconds += part(3)?.as_string::<i32>().value(row).parse::<i128>().ok().ok_or_else(lost)?;
            }
        }
        Ok(())
    }
}
