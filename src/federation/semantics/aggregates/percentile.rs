//! `percentile_cont(fraction) WITHIN GROUP (ORDER BY value)` over `double precision` (manual, "Ordered-Set Aggregate Functions"). The
//! engine's own keeps the type of its argument and rounds the weight of the two values that it lies between.

use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::super::typed::Typed;
use super::accumulate::lost;
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

/// Its name in SQL.
pub(in super::super) const NAME: &str = "percentile_cont";

/// The aggregate, over a value and a fraction of `double precision` once resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct Percentile {
    signature: Signature,
    descending: bool,
}

impl Percentile {
    /// In the order of `WITHIN GROUP`.
    pub(in super::super) fn new(descending: bool) -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable), descending }
    }
}

impl AggregateUDFImpl for Percentile {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn return_field(&self, _arguments: &[FieldRef]) -> Result<FieldRef> {
        Ok(Typed::from(PgType::FLOAT8).field(NAME, DataType::Float64))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Values { descending: self.descending, fraction: None, values: Vec::new() }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let list = DataType::new_list(DataType::Float64, true);
        let field = |part: &str, data_type| Arc::new(Field::new(format_state_name(arguments.name, part), data_type, true));
        Ok(vec![field("fraction", DataType::Float64), field("values", list)])
    }
}

/// The values of one group.
#[derive(Debug)]
struct Values {
    descending: bool,
    fraction: Option<f64>,
    values: Vec<f64>,
}

impl Values {
    fn note_fraction(&mut self, fractions: &ArrayRef) {
        let fractions = fractions.as_primitive::<Float64Type>();
        self.fraction = self.fraction.or_else(|| fractions.iter().flatten().next());
    }
}

/// Where a fraction of sorted values lies.
fn percentile(values: &mut [f64], fraction: f64, descending: bool) -> Result<Option<f64>, Diagnosis> {
    if !(0.0..=1.0).contains(&fraction) {
        let message = format!("percentile value {fraction} is not between 0 and 1");
        return Err(Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message));
    }
    // NaN is above all numbers, whatever its sign.
    values.sort_unstable_by(|left, right| left.partial_cmp(right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan())));
    if descending {
        values.reverse();
    }
    let Some(last) = values.len().checked_sub(1) else { return Ok(None) };
    let place = fraction * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the number of values")]
    let at = |place: f64| values.get(place as usize).copied();
    let (below, above) = (at(place.floor()), at(place.ceil()));
    Ok(match (below, above) {
        (Some(below), Some(above)) if place.floor() < place.ceil() => Some(below + (place - place.floor()) * (above - below)),
        (below, _) => below,
    })
}

impl Accumulator for Values {
    fn update_batch(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        let [values, fractions] = arguments else { return Err(lost()) };
        self.note_fraction(fractions);
        self.values.extend(values.as_primitive::<Float64Type>().iter().flatten());
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [fractions, lists] = states else { return Err(lost()) };
        self.note_fraction(fractions);
        for list in lists.as_list::<i32>().iter().flatten() {
            self.values.extend(list.as_primitive::<Float64Type>().iter().flatten());
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let Some(fraction) = self.fraction else { return Ok(ScalarValue::Float64(None)) };
        Ok(ScalarValue::Float64(percentile(&mut self.values, fraction, self.descending)?))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self.values.iter().map(|value| ScalarValue::Float64(Some(*value))).collect();
        let list = ScalarValue::new_list_nullable(&values, &DataType::Float64);
        Ok(vec![ScalarValue::Float64(self.fraction), ScalarValue::List(list)])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_lies_between_two_values() {
        let nan = f64::NAN;
        let rows: [(&[f64], f64, bool, Option<f64>); 8] = [
            (&[], 0.5, false, None),
            (&[3.0], 0.9, false, Some(3.0)),
            (&[4.0, 1.0, 3.0, 2.0], 0.5, false, Some(2.5)),
            (&[4.0, 1.0, 3.0, 2.0], 0.1, false, Some(1.0 + 0.1 * 3.0)),
            (&[4.0, 1.0, 3.0, 2.0], 0.1, true, Some(4.0 - 0.1 * 3.0)),
            (&[1.0, 2.0, 3.0], 1.0, false, Some(3.0)),
            (&[nan, 1.0, -nan], 0.0, false, Some(1.0)),
            (&[1.0, f64::INFINITY], 0.5, false, Some(f64::INFINITY)),
        ];
        for (values, fraction, descending, expected) in rows {
            assert_eq!(percentile(&mut values.to_vec(), fraction, descending).unwrap(), expected, "{values:?} {fraction}");
        }
        for fraction in [-0.1, 1.1, nan] {
            assert_eq!(percentile(&mut [1.0], fraction, false).unwrap_err().sqlstate, "22003");
        }
    }
}
