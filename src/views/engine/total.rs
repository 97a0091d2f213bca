//! Totals of groups: what an aggregate keeps of the rows of a group, so that rows can leave it again.
//!
//! Sums, averages and counts are the engine's own accumulators of moving window frames, from which rows leave: integers and decimals are
//! added exactly in any order. The least and the greatest value are found in all values of the group, kept in their order with how often
//! each is there; so are values that count once however often they are there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::min_max::{Max, Min};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Accumulator, Expr};
use datafusion::physical_expr::aggregate::{AggregateFunctionExpr, LoweredAggregateBuilder};
use datafusion::scalar::ScalarValue;

use super::Broken;
use super::expression::{Computed, check, met, unplanned, values};
use super::zset::{Codec, has_float, is_told_apart, picked};

/// What a value takes that is kept for a group, besides its bytes, about.
const VALUE_BYTES: usize = 48;

/// How an aggregate is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// By what the engine's accumulator keeps.
    Sum,
    /// The same, of values each of which counts once.
    SumOfDistinct,
    /// By all values, of which the first is the result.
    Least,
    /// By all values, of which the last is the result.
    Greatest,
}

/// A call of an aggregate function.
#[derive(Debug)]
pub(super) struct Call {
    keeps: Keeps,
    function: Arc<AggregateFunctionExpr>,
    argument: Computed,
    condition: Option<Computed>,
    /// Of the argument.
    codec: Codec,
    argument_type: DataType,
}

/// What a call makes of a batch.
pub(super) struct Arguments {
    values: ArrayRef,
    mask: Option<Vec<bool>>,
}

/// Rows of one group that came, or left.
pub(super) struct Run<'a> {
    pub(super) arguments: &'a Arguments,
    /// By their numbers in the batch, each with how often it came or left.
    pub(super) rows: &'a [(usize, i64)],
    /// 1 or -1.
    pub(super) sign: i64,
}

/// What is kept of a group for a call.
pub(super) enum Total {
    Sum(Box<dyn Accumulator>),
    SumOfDistinct { counts: HashMap<Box<[u8]>, i64>, sum: Box<dyn Accumulator>, bytes: usize },
    Values { counts: BTreeMap<Box<[u8]>, i64>, bytes: usize },
}

impl Call {
    /// A call over rows of a schema.
    ///
    /// # Errors
    /// Why its result cannot be kept up to date by the rows that change, as a clause.
    pub(super) fn new(expr: &Expr, schema: &DFSchema, props: &ExecutionProps) -> Result<Self, String> {
        let mut inner = expr;
        while let Expr::Alias(alias) = inner {
            inner = &alias.expr;
        }
        let Expr::AggregateFunction(call) = inner else { return Err("one of its aggregates is none of the engine's".to_owned()) };
        let name = call.func.name();
        if !call.params.order_by.is_empty() || call.params.null_treatment.is_some() {
            return Err(format!("{name}() takes its rows in an order"));
        }
        let [argument] = call.params.args.as_slice() else { return Err(format!("{name}() needs all rows")) };
        check(argument)?;
        call.params.filter.iter().try_for_each(|filter| check(filter))?;
        let mut plain = call.clone();
        plain.params.distinct = false;
        let plain = Expr::AggregateFunction(plain);
        let context = PhysicalPlanningContext::default();
        let lowered = LoweredAggregateBuilder::new(&plain, schema, schema.as_arrow(), props, &context).with_name(name).build();
        let lowered = lowered.map_err(|error| unplanned(&error))?;
        let mut arguments = lowered.aggregate.expressions();
        let argument = arguments.pop().ok_or_else(|| format!("{name}() needs all rows"))?;
        let argument_type = argument.data_type(schema.as_arrow()).map_err(|error| unplanned(&error))?;
        let keeps = keeps(call, &argument_type)?;
        if matches!(keeps, Keeps::Sum | Keeps::SumOfDistinct) && lowered.aggregate.create_sliding_accumulator().is_err() {
            return Err(format!("{name}() cannot take rows back"));
        }
        // Nothing but NULL and not NULL is asked of the values of a count.
        let codec = if keeps == Keeps::Sum { Codec::new([]) } else { Codec::new([argument_type.clone()]) };
        let codec = codec.map_err(|error| unplanned(&DataFusionError::from(error)))?;
        Ok(Self { keeps, function: lowered.aggregate, argument, condition: lowered.filter, codec, argument_type })
    }

    /// What its argument and its condition are for the rows of a batch.
    ///
    /// # Errors
    /// What computing them failed with.
    pub(super) fn arguments(&self, batch: &RecordBatch) -> Result<Arguments, Broken> {
        let mask = self.condition.as_ref().map(|condition| met(condition, batch)).transpose()?;
        Ok(Arguments { values: values(&self.argument, batch)?, mask })
    }

    /// Of no rows.
    ///
    /// # Errors
    /// What making an accumulator failed with.
    pub(super) fn total(&self) -> Result<Total, Broken> {
        Ok(match self.keeps {
            Keeps::Sum => Total::Sum(self.function.create_sliding_accumulator()?),
            Keeps::SumOfDistinct => {
                let sum = self.function.create_sliding_accumulator()?;
                Total::SumOfDistinct { counts: HashMap::new(), sum, bytes: 0 }
            }
            Keeps::Least | Keeps::Greatest => Total::Values { counts: BTreeMap::new(), bytes: 0 },
        })
    }

    /// Lets rows into a group, or out of it.
    ///
    /// # Errors
    /// What the accumulator failed with; a value that leaves and was not there.
    pub(super) fn change(&self, total: &mut Total, run: &Run<'_>) -> Result<(), Broken> {
        let mask = run.arguments.mask.as_deref();
        let is_wanted = |row: usize| mask.is_none_or(|mask| mask.get(row).copied().unwrap_or_default());
        let wanted: Vec<(usize, i64)> = run.rows.iter().copied().filter(|(row, _)| is_wanted(*row)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        match total {
            Total::Sum(sum) => {
                let weights: Vec<i64> = wanted.iter().map(|(_, times)| *times).collect();
                let rows: Vec<usize> = wanted.iter().map(|(row, _)| *row).collect();
                // The places of the rows, each as often as it came or left, and then their numbers.
                let places = picked(&weights, 1, |_| true)?;
                let numbers = places.iter().filter_map(|place| rows.get(*place as usize)).map(|row| u32::try_from(*row));
                let numbers = numbers.collect::<Result<Vec<_>, _>>().map_err(|error| Broken::lost(&error.to_string()))?;
                self.add(sum.as_mut(), &run.arguments.values, numbers, run.sign)
            }
            Total::SumOfDistinct { counts, sum, bytes } => {
                let values = &run.arguments.values;
                let encoded = self.codec.encode(std::slice::from_ref(values))?;
                for (row, times) in wanted.into_iter().filter(|(row, _)| values.is_valid(*row)) {
                    let value = encoded.row(row);
                    let (before, after) = recount(counts.get(value).copied(), times * run.sign)?;
                    if after == 0 {
                        counts.remove(value);
                    } else {
                        counts.insert(value.into(), after);
                    }
                    if (before == 0) != (after == 0) {
                        *bytes = resized(*bytes, value.len(), run.sign);
                        let number = u32::try_from(row).map_err(|error| Broken::lost(&error.to_string()))?;
                        self.add(sum.as_mut(), values, vec![number], run.sign)?;
                    }
                }
                Ok(())
            }
            Total::Values { counts, bytes } => {
                let values = &run.arguments.values;
                let encoded = self.codec.encode(std::slice::from_ref(values))?;
                for (row, times) in wanted.into_iter().filter(|(row, _)| values.is_valid(*row)) {
                    let value = encoded.row(row);
                    let (before, after) = recount(counts.get(value).copied(), times * run.sign)?;
                    if after == 0 {
                        counts.remove(value);
                    } else {
                        counts.insert(value.into(), after);
                    }
                    if (before == 0) != (after == 0) {
                        *bytes = resized(*bytes, value.len(), run.sign);
                    }
                }
                Ok(())
            }
        }
    }

    fn add(&self, sum: &mut dyn Accumulator, values: &ArrayRef, rows: Vec<u32>, sign: i64) -> Result<(), Broken> {
        let values = [take(values.as_ref(), &UInt32Array::from(rows), None)?];
        if sign > 0 {
            sum.update_batch(&values)?
        } else {
            sum.retract_batch(&values)?
        }
        Ok(())
    }

    /// The result for a group.
    ///
    /// # Errors
    /// What the accumulator failed with.
    pub(super) fn result(&self, total: &mut Total) -> Result<ScalarValue, Broken> {
        let counts = match total {
            Total::Sum(sum) | Total::SumOfDistinct { sum, .. } => return Ok(sum.evaluate()?),
            Total::Values { counts, .. } => counts,
        };
        let found = if self.keeps == Keeps::Least { counts.first_key_value() } else { counts.last_key_value() };
        let Some((value, _)) = found else { return Ok(ScalarValue::try_from(&self.argument_type)?) };
        let decoded = self.codec.decode([value.as_ref()])?;
        let value = decoded.first().ok_or_else(|| Broken::lost("a value of a group is lost"))?;
        Ok(ScalarValue::try_from_array(value, 0)?)
    }
}

/// How often a value was there, and is.
fn recount(before: Option<i64>, more: i64) -> Result<(i64, i64), Broken> {
    let before = before.unwrap_or_default();
    let after = before + more;
    if after < 0 {
        return Err(Broken::lost("a value left a group that was not there"));
    }
    Ok((before, after))
}

fn resized(bytes: usize, value: usize, sign: i64) -> usize {
    let change = value + VALUE_BYTES;
    if sign > 0 { bytes + change } else { bytes.saturating_sub(change) }
}

impl Total {
    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Sum(sum) => sum.size(),
                Self::SumOfDistinct { sum, bytes, .. } => sum.size() + bytes,
                Self::Values { bytes, .. } => *bytes,
            }
    }
}

/// How a call is kept.
///
/// # Errors
/// Why it cannot be, as a clause.
fn keeps(call: &AggregateFunction, argument: &DataType) -> Result<Keeps, String> {
    let (name, function) = (call.func.name(), call.func.inner());
    let distinct = call.params.distinct;
    if distinct && matches!(name, "count" | "sum" | "avg") && !is_told_apart(argument) {
        return Err(format!("{name}(DISTINCT) of floats tells equal ones apart"));
    }
    match name {
        "count" if distinct => Ok(Keeps::SumOfDistinct),
        "count" => Ok(Keeps::Sum),
        "sum" | "avg" if has_float(argument) => Err("sums of floats depend on their order".to_owned()),
        "sum" | "avg" if distinct => Ok(Keeps::SumOfDistinct),
        "sum" | "avg" => Ok(Keeps::Sum),
        // Of equal values that differ, as 1.0 and 1.00 do, the last one is the result: the engine's own know none.
        "min" if function.is::<Min>() && is_ordered(argument) => Ok(Keeps::Least),
        "max" if function.is::<Max>() && is_ordered(argument) => Ok(Keeps::Greatest),
        "min" | "max" => Err(format!("which of equal values {name}() gives depends on their order")),
        // False is less than true.
        "bool_and" if *argument == DataType::Boolean => Ok(Keeps::Least),
        "bool_or" if *argument == DataType::Boolean => Ok(Keeps::Greatest),
        _ => Err(format!("{name}() needs all rows of a group")),
    }
}

/// Whether the order of a type's values is that of their bytes, and equal values are one.
fn is_ordered(data_type: &DataType) -> bool {
    let is_text = matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is_binary = matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    let is_decimal = matches!(data_type, DataType::Decimal128(..) | DataType::Decimal256(..));
    let is_moment = matches!(
        data_type,
        DataType::Date32 | DataType::Date64 | DataType::Time32(_) | DataType::Time64(_) | DataType::Timestamp(..)
    );
    is_text || is_binary || is_decimal || is_moment || data_type.is_integer() || *data_type == DataType::Boolean
}
