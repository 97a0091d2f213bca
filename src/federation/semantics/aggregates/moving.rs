//! Exact sums, averages and deviations over a frame that moves forward: what leaves is taken away again, and the result is
//! what a sum over the frame alone would be. NaN and the infinities are counted and never added, and so are the scales, of
//! which the largest in the frame is the result's (`do_numeric_discard` starts a frame anew where it loses it).

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use super::super::datum::{Column, Datum, Writer};
use super::super::numeric::Numeric;
use super::super::typed::Typed;
use super::Kind;
use super::accumulate::{exact_result, lost};

/// See the module.
#[derive(Debug)]
pub(super) struct MovingSum {
    kind: Kind,
    reads: Typed,
    carrier: DataType,
    finite: i64,
    nans: i64,
    infinities: i64,
    negative_infinities: i64,
    sum: Numeric,
    /// Of deviations only.
    squares: Numeric,
    /// How many finite values of the frame have a scale; at most one entry per scale that `numeric` allows.
    scales: BTreeMap<i64, i64>,
}

fn zero() -> Numeric {
    Numeric::from_parts(0, 0)
}

impl MovingSum {
    pub(super) fn new(kind: Kind, reads: Typed, carrier: DataType) -> Self {
        let (finite, nans, infinities, negative_infinities) = (0, 0, 0, 0);
        let scales = BTreeMap::new();
        Self { kind, reads, carrier, finite, nans, infinities, negative_infinities, sum: zero(), squares: zero(), scales }
    }

    /// Adds the values of an array, or with -1 takes them away.
    fn change(&mut self, values: &[ArrayRef], by: i64) -> Result<()> {
        let array = values.first().ok_or_else(lost)?;
        let reads = self.reads.clone();
        let column = Column::new(array, Some(&reads))?;
        for row in 0..array.len() {
            match column.get(row) {
                Datum::Null => {}
                value => self.change_one(&value.as_numeric(), by)?,
            }
        }
        Ok(())
    }

    fn change_one(&mut self, value: &Numeric, by: i64) -> Result<()> {
        match value {
            Numeric::NotANumber => self.nans += by,
            Numeric::Infinity => self.infinities += by,
            Numeric::NegativeInfinity => self.negative_infinities += by,
            Numeric::Finite(_) => {
                self.finite += by;
                let step = |sum: &Numeric, value: &Numeric| if by > 0 { sum.add(value) } else { sum.subtract(value) };
                self.sum = step(&self.sum, value)?;
                if self.kind.is_deviation() {
                    self.squares = step(&self.squares, &value.multiply(value)?)?;
                }
                let with_scale = self.scales.entry(value.scale()).or_default();
                *with_scale += by;
                if *with_scale == 0 {
                    self.scales.remove(&value.scale());
                }
                if self.finite == 0 {
                    (self.sum, self.squares) = (zero(), zero());
                }
            }
        }
        Ok(())
    }

    fn result(&self) -> Result<Datum<'static>> {
        let special = match (self.nans > 0, self.infinities > 0, self.negative_infinities > 0) {
            (false, false, false) => None,
            (false, true, false) => Some(Numeric::Infinity),
            (false, false, true) => Some(Numeric::NegativeInfinity),
            _ => Some(Numeric::NotANumber),
        };
        let count = self.finite + self.nans + self.infinities + self.negative_infinities;
        match special {
            _ if count == 0 => Ok(Datum::Null),
            Some(special) => exact_result(self.kind, count, &special, &special.multiply(&special)?),
            None => {
                // The digits beyond were those of values that left, so that nothing is rounded away.
                let scale = self.scales.last_key_value().map_or(0, |(scale, _)| *scale);
                exact_result(self.kind, count, &self.sum.round(scale), &self.squares.round(2 * scale))
            }
        }
    }
}

impl Accumulator for MovingSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.change(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.change(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut writer = Writer::new(&self.carrier, 1)?;
        writer.push(self.result()?)?;
        ScalarValue::try_from_array(&writer.finish()?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.scales.len() * size_of::<(i64, i64)>()
    }

    /// A frame is never computed in parts.
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Err(lost())
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        Err(lost())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;

    use super::*;
    use crate::pgtype::PgType;

    /// The results over frames of two rows.
    fn check(kind: Kind, values: &[Option<&str>], expected: &[&str]) {
        let column = |value: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
        let mut sum = MovingSum::new(kind, PgType::NUMERIC.into(), DataType::Utf8);
        let mut found = Vec::new();
        for (place, value) in values.iter().enumerate() {
            sum.update_batch(&[column(*value)]).unwrap();
            if place >= 2 {
                sum.retract_batch(&[column(values[place - 2])]).unwrap();
            }
            found.push(match sum.evaluate().unwrap() {
                ScalarValue::Utf8(Some(text)) => text,
                _ => "NULL".to_owned(),
            });
        }
        assert_eq!(found, expected, "{kind:?} {values:?}");
    }

    #[test]
    fn what_left_the_frame_leaves_no_trace() {
        let values =
            [Some("1.25"), Some("NaN"), Some("2"), Some("3"), None, None, Some("Infinity"), Some("-Infinity"), Some("4.0")];
        check(Kind::Sum, &values, &["1.25", "NaN", "NaN", "5", "3", "NULL", "Infinity", "NaN", "-Infinity"]);
        check(
            Kind::Sum,
            &[Some("0.001"), Some("1"), Some("2"), Some("-2.0"), Some("0.50")],
            &["0.001", "1.001", "3", "0.0", "-1.50"],
        );
        check(Kind::Average, &[Some("NaN"), Some("1.5"), Some("2")], &["NaN", "NaN", "1.7500000000000000"]);
        check(Kind::SampleVariance, &[Some("Infinity"), Some("1"), Some("3")], &["NULL", "NaN", "2.0000000000000000"]);
        check(Kind::PopulationVariance, &[Some("Infinity"), Some("1"), Some("1")], &["NaN", "NaN", "0"]);
    }
}
