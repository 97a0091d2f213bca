//! Correlations, covariances and lines of regression over pairs of floats (manual, "Aggregate Functions for Statistics").
//!
//! The state is that of `float8_regr_accum`: the sums by Youngs and Cramer, one pair after the other in the order of the rows. Pairs of
//! which a part is NULL count for nothing. A frame that moves is added up anew for every row.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::super::floats;
use super::super::typed::Typed;
use super::accumulate::lost;
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

/// What is computed of the pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) enum Statistic {
    /// `corr`
    Correlation,
    /// `covar_pop`
    PopulationCovariance,
    /// `covar_samp`
    SampleCovariance,
    /// `regr_avgx`
    AverageX,
    /// `regr_avgy`
    AverageY,
    /// `regr_count`
    Count,
    /// `regr_intercept`
    Intercept,
    /// `regr_r2`
    Determination,
    /// `regr_slope`
    Slope,
    /// `regr_sxx`
    SquaresX,
    /// `regr_sxy`
    Products,
    /// `regr_syy`
    SquaresY,
}

/// The names in SQL.
pub(super) const NAMES: &[&str] = &[
    "corr",
    "covar_pop",
    "covar_samp",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
];

impl Statistic {
    /// The statistic of a name.
    pub(in super::super) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "corr" => Self::Correlation,
            "covar_pop" => Self::PopulationCovariance,
            "covar_samp" => Self::SampleCovariance,
            "regr_avgx" => Self::AverageX,
            "regr_avgy" => Self::AverageY,
            "regr_count" => Self::Count,
            "regr_intercept" => Self::Intercept,
            "regr_r2" => Self::Determination,
            "regr_slope" => Self::Slope,
            "regr_sxx" => Self::SquaresX,
            "regr_sxy" => Self::Products,
            "regr_syy" => Self::SquaresY,
            _ => return None,
        })
    }

    /// Its name in SQL.
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::Correlation => "corr",
            Self::PopulationCovariance => "covar_pop",
            Self::SampleCovariance => "covar_samp",
            Self::AverageX => "regr_avgx",
            Self::AverageY => "regr_avgy",
            Self::Count => "regr_count",
            Self::Intercept => "regr_intercept",
            Self::Determination => "regr_r2",
            Self::Slope => "regr_slope",
            Self::SquaresX => "regr_sxx",
            Self::Products => "regr_sxy",
            Self::SquaresY => "regr_syy",
        }
    }

    /// The type of its result.
    pub(super) fn returns(self) -> PgType {
        if self == Self::Count { PgType::INT8 } else { PgType::FLOAT8 }
    }
}

/// The aggregate over two values of `double precision`, the dependent one first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct Regression {
    statistic: Statistic,
    distinct: bool,
    signature: Signature,
}

impl Regression {
    pub(in super::super) fn new(statistic: Statistic, distinct: bool) -> Self {
        Self { statistic, distinct, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Regression {
    fn name(&self) -> &str {
        self.statistic.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.statistic.returns().carrier())
    }

    fn return_field(&self, _arguments: &[FieldRef]) -> Result<FieldRef> {
        let returns = self.statistic.returns();
        Ok(Typed::from(returns).field(self.statistic.name(), returns.carrier()))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        if self.statistic == Statistic::Count { Ok(ScalarValue::Int64(Some(0))) } else { ScalarValue::try_from(data_type) }
    }

    fn accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if self.distinct {
            return Ok(Box::new(DistinctPairs { statistic: self.statistic, pairs: BTreeMap::new() }));
        }
        Ok(Box::new(Pairs { statistic: self.statistic, sums: Sums::default() }))
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if self.distinct {
            return self.accumulator(arguments);
        }
        Ok(Box::new(MovingPairs { statistic: self.statistic, frame: VecDeque::new() }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let types =
            if self.distinct { vec![DataType::new_list(DataType::Float64, true); 2] } else { vec![DataType::Float64; PARTS] };
        let field = |(index, data_type): (usize, DataType)| {
            Arc::new(Field::new(format_state_name(arguments.name, &format!("part{index}")), data_type, true))
        };
        Ok(types.into_iter().enumerate().map(field).collect())
    }
}

/// Numbers of a partial state.
const PARTS: usize = 6;

/// Count, sums, and sums of squared differences and of their products.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sums {
    count: f64,
    x: f64,
    xx: f64,
    y: f64,
    yy: f64,
    xy: f64,
}

fn overflow() -> Diagnosis {
    Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow")
}

/// A sum of terms that may be infinite only when one of them is.
fn finite(sum: f64, terms: [f64; 2]) -> Result<f64, Diagnosis> {
    if sum.is_infinite() && !terms.iter().any(|term| term.is_infinite()) { Err(overflow()) } else { Ok(sum) }
}

impl Sums {
    fn from_parts([count, x, xx, y, yy, xy]: [f64; PARTS]) -> Self {
        Self { count, x, xx, y, yy, xy }
    }

    fn parts(&self) -> [f64; PARTS] {
        [self.count, self.x, self.xx, self.y, self.yy, self.xy]
    }

    /// Adds one pair.
    ///
    /// # Errors
    /// 22003 when finite values leave the range of the type, but for counts, which do not look at them.
    fn add(&mut self, statistic: Statistic, y: f64, x: f64) -> Result<(), Diagnosis> {
        let before = *self;
        self.count += 1.0;
        if statistic == Statistic::Count {
            return Ok(());
        }
        self.x += x;
        self.y += y;
        if before.count == 0.0 {
            // One pair has no spread, but one that is not finite has none that is a number.
            let spread = |is_number: bool| if is_number { 0.0 } else { f64::NAN };
            self.xx = spread(x.is_finite());
            self.yy = spread(y.is_finite());
            self.xy = spread(x.is_finite() && y.is_finite());
            return Ok(());
        }
        let (from_x, from_y) = (x * self.count - self.x, y * self.count - self.y);
        let scale = 1.0 / (self.count * before.count);
        self.xx += from_x * from_x * scale;
        self.yy += from_y * from_y * scale;
        self.xy += from_x * from_y * scale;
        let (finite_x, finite_y) = (!before.x.is_infinite() && !x.is_infinite(), !before.y.is_infinite() && !y.is_infinite());
        let overflows_x = finite_x && (self.x.is_infinite() || self.xx.is_infinite());
        let overflows_y = finite_y && (self.y.is_infinite() || self.yy.is_infinite());
        if overflows_x || overflows_y || self.xy.is_infinite() && finite_x && finite_y {
            return Err(overflow());
        }
        for spread in [&mut self.xx, &mut self.yy, &mut self.xy] {
            if spread.is_infinite() {
                *spread = f64::NAN;
            }
        }
        Ok(())
    }

    /// Adds the pairs of other sums, which came later (`float8_regr_combine`).
    ///
    /// # Errors
    /// 22003 when finite values leave the range of the type.
    fn merge(&mut self, other: &Self) -> Result<(), Diagnosis> {
        if other.count == 0.0 {
            return Ok(());
        }
        if self.count == 0.0 {
            *self = *other;
            return Ok(());
        }
        let count = self.count + other.count;
        let apart_x = self.x / self.count - other.x / other.count;
        let apart_y = self.y / self.count - other.y / other.count;
        let spread = |own: f64, others: f64, left: f64, right: f64| {
            finite(own + others + self.count * other.count * left * right / count, [own, others])
        };
        *self = Self {
            count,
            x: finite(self.x + other.x, [self.x, other.x])?,
            xx: spread(self.xx, other.xx, apart_x, apart_x)?,
            y: finite(self.y + other.y, [self.y, other.y])?,
            yy: spread(self.yy, other.yy, apart_y, apart_y)?,
            xy: spread(self.xy, other.xy, apart_x, apart_y)?,
        };
        Ok(())
    }

    /// The result; `None` where the pairs are too few, or lie on a line that has no slope or none but that.
    fn result(&self, statistic: Statistic) -> Option<f64> {
        let Self { count, x, xx, y, yy, xy } = *self;
        let least = if statistic == Statistic::SampleCovariance { 2.0 } else { 1.0 };
        if count < least {
            return None;
        }
        let is_vertical = xx == 0.0;
        Some(match statistic {
            Statistic::Count => count,
            Statistic::AverageX => x / count,
            Statistic::AverageY => y / count,
            Statistic::SquaresX => xx,
            Statistic::SquaresY => yy,
            Statistic::Products => xy,
            Statistic::PopulationCovariance => xy / count,
            Statistic::SampleCovariance => xy / (count - 1.0),
            Statistic::Correlation if is_vertical || yy == 0.0 => return None,
            Statistic::Correlation => xy / (xx * yy).sqrt(),
            Statistic::Determination | Statistic::Slope | Statistic::Intercept if is_vertical => return None,
            Statistic::Determination if yy == 0.0 => 1.0,
            Statistic::Determination => (xy * xy) / (xx * yy),
            Statistic::Slope => xy / xx,
            Statistic::Intercept => (y - x * xy / xx) / count,
        })
    }

    fn scalar(&self, statistic: Statistic) -> ScalarValue {
        match statistic {
            // Counts of pairs are far below where floats leave whole numbers out.
            Statistic::Count => ScalarValue::Int64(Some(self.count as i64)),
            _ => ScalarValue::Float64(self.result(statistic)),
        }
    }
}

/// Hands every pair without NULL to `use_pair`.
fn each(values: &[ArrayRef], mut use_pair: impl FnMut(f64, f64) -> Result<()>) -> Result<()> {
    let [y, x] = values else { return Err(lost()) };
    let (y, x) = (floats_of(y)?, floats_of(x)?);
    for pair in y.iter().zip(x.iter()) {
        if let (Some(y), Some(x)) = pair {
            use_pair(y, x)?;
        }
    }
    Ok(())
}

fn floats_of(array: &ArrayRef) -> Result<&Float64Array> {
    array.as_primitive_opt::<Float64Type>().ok_or_else(lost)
}

/// The pairs of one group.
#[derive(Debug)]
struct Pairs {
    statistic: Statistic,
    sums: Sums,
}

impl Accumulator for Pairs {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(values, |y, x| Ok(self.sums.add(self.statistic, y, x)?))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let parts = states.iter().map(floats_of).collect::<Result<Vec<_>>>()?;
        let parts: [&Float64Array; PARTS] = parts.try_into().map_err(|_others: Vec<&Float64Array>| lost())?;
        for row in 0..parts[0].len() {
            self.sums.merge(&Sums::from_parts(parts.map(|part| part.value(row))))?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.sums.scalar(self.statistic))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(self.sums.parts().map(|part| ScalarValue::Float64(Some(part))).to_vec())
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The pairs of a frame that moves forward, which are added up when its result is asked for.
#[derive(Debug)]
struct MovingPairs {
    statistic: Statistic,
    frame: VecDeque<(f64, f64)>,
}

impl Accumulator for MovingPairs {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(values, |y, x| {
            self.frame.push_back((y, x));
            Ok(())
        })
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(values, |_, _| {
            self.frame.pop_front();
            Ok(())
        })
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut sums = Sums::default();
        for (y, x) in &self.frame {
            sums.add(self.statistic, *y, *x)?;
        }
        Ok(sums.scalar(self.statistic))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.frame.capacity() * size_of::<(f64, f64)>()
    }

    /// A frame is never computed in parts.
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Err(lost())
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        Err(lost())
    }
}

/// A float in PostgreSQL's order, in which zeros are equal and NaN to itself.
#[derive(Debug, Clone, Copy)]
struct Ordered(f64);

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        floats::compare(self.0, other.0)
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered {}

/// Pairs without repetition, which are added up in their order, as PostgreSQL sorts them to find the repeated ones.
#[derive(Debug)]
struct DistinctPairs {
    statistic: Statistic,
    /// The first pair of equal ones.
    pairs: BTreeMap<(Ordered, Ordered), (f64, f64)>,
}

impl Accumulator for DistinctPairs {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(values, |y, x| {
            self.pairs.entry((Ordered(y), Ordered(x))).or_insert((y, x));
            Ok(())
        })
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [y, x] = states else { return Err(lost()) };
        for pair in y.as_list::<i32>().iter().zip(x.as_list::<i32>().iter()) {
            if let (Some(y), Some(x)) = pair {
                self.update_batch(&[y, x])?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut sums = Sums::default();
        for (y, x) in self.pairs.values() {
            sums.add(self.statistic, *y, *x)?;
        }
        Ok(sums.scalar(self.statistic))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |part: fn(&(f64, f64)) -> f64| {
            let values: Vec<ScalarValue> = self.pairs.values().map(|pair| ScalarValue::Float64(Some(part(pair)))).collect();
            ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Float64))
        };
        Ok(vec![list(|pair| pair.0), list(|pair| pair.1)])
    }

    fn size(&self) -> usize {
        // Keys and values, and the links of the tree.
        size_of_val(self) + self.pairs.len() * 6 * size_of::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(pairs: &[(f64, f64)]) -> Result<Sums, String> {
        let mut sums = Sums::default();
        let added = pairs.iter().try_for_each(|(y, x)| sums.add(Statistic::Slope, *y, *x));
        added.map(|()| sums).map_err(|error| error.message)
    }

    fn column(values: &[Option<f64>]) -> ArrayRef {
        Arc::new(Float64Array::from(values.to_vec()))
    }

    #[test]
    fn names_and_statistics_are_each_others() {
        for name in NAMES {
            assert_eq!(Statistic::of_name(name).map(Statistic::name), Some(*name));
        }
        assert_eq!(Statistic::of_name("regr"), None);
    }

    #[test]
    fn results_are_those_of_postgres() {
        use Statistic::{Correlation, Determination, Intercept, PopulationCovariance, Products, SampleCovariance, Slope, SquaresX};
        let line = sums(&[(2.0, 1.0), (3.0, 2.0), (7.0, 3.0)]).unwrap();
        let rows = [
            (Correlation, Some(0.944_911_182_523_068)),
            (Slope, Some(2.5)),
            (Intercept, Some(-1.0)),
            (SquaresX, Some(2.0)),
            (Products, Some(5.0)),
            (PopulationCovariance, Some(5.0 / 3.0)),
            (SampleCovariance, Some(2.5)),
        ];
        for (statistic, expected) in rows {
            assert_eq!(line.result(statistic), expected, "{statistic:?}");
        }
        let one = sums(&[(2.0, 1.0)]).unwrap();
        assert_eq!([Correlation, Slope, SampleCovariance].map(|statistic| one.result(statistic)), [None; 3]);
        let level = sums(&[(2.0, 1.0), (2.0, 3.0)]).unwrap();
        assert_eq!((level.result(Correlation), level.result(Determination)), (None, Some(1.0)));
        assert_eq!(Sums::default().scalar(Statistic::Count), ScalarValue::Int64(Some(0)));
        assert_eq!(Sums::default().result(SquaresX), None);
    }

    #[test]
    fn only_finite_pairs_overflow() {
        assert_eq!(sums(&[(1e200, 1.0), (-1e200, 3.0)]), Err("value out of range: overflow".to_owned()));
        let infinite = sums(&[(f64::INFINITY, 1.0), (2.0, 3.0)]).unwrap();
        assert!(infinite.yy.is_nan() && infinite.xy.is_nan());
        assert_eq!((infinite.xx, infinite.y), (2.0, f64::INFINITY));
    }

    #[test]
    fn parts_add_up_and_pairs_with_null_count_for_nothing() {
        let pairs = |statistic| Pairs { statistic, sums: Sums::default() };
        let (mut first, mut second, mut count) = (pairs(Statistic::Slope), pairs(Statistic::Slope), pairs(Statistic::Count));
        first.update_batch(&[column(&[Some(2.0), None, Some(3.0)]), column(&[Some(1.0), Some(5.0), Some(2.0)])]).unwrap();
        second.update_batch(&[column(&[Some(7.0), Some(1.0)]), column(&[Some(3.0), None])]).unwrap();
        count.update_batch(&[column(&[Some(1e300), None, Some(-1e300)]), column(&[Some(1.0), Some(5.0), Some(2.0)])]).unwrap();
        assert_eq!(count.evaluate().unwrap(), ScalarValue::Int64(Some(2)));
        let states: Vec<ArrayRef> = first.state().unwrap().iter().map(|part| part.to_array().unwrap()).collect();
        second.merge_batch(&states).unwrap();
        assert_eq!(second.evaluate().unwrap(), ScalarValue::Float64(Some(2.5)));
    }

    #[test]
    fn pairs_that_left_the_frame_leave_no_trace() {
        let (y, x) =
            ([Some(1e300), None, Some(2.0), Some(3.0), Some(7.0)], [Some(1.0), Some(4.0), Some(1.0), Some(2.0), Some(3.0)]);
        let mut frame = MovingPairs { statistic: Statistic::Slope, frame: VecDeque::new() };
        frame.update_batch(&[column(&y), column(&x)]).unwrap();
        frame.retract_batch(&[column(&y[..2]), column(&x[..2])]).unwrap();
        assert_eq!(frame.evaluate().unwrap(), ScalarValue::Float64(Some(2.5)));
    }

    #[test]
    fn repeated_pairs_count_once_across_parts() {
        let pairs = || DistinctPairs { statistic: Statistic::Count, pairs: BTreeMap::new() };
        let (mut first, mut second) = (pairs(), pairs());
        first.update_batch(&[column(&[Some(0.0), Some(-0.0), Some(1.0)]), column(&[Some(1.0); 3])]).unwrap();
        second.update_batch(&[column(&[Some(f64::NAN), Some(-f64::NAN), Some(1.0)]), column(&[Some(1.0); 3])]).unwrap();
        let states: Vec<ArrayRef> = first.state().unwrap().iter().map(|part| part.to_array().unwrap()).collect();
        second.merge_batch(&states).unwrap();
        assert_eq!(second.evaluate().unwrap(), ScalarValue::Int64(Some(3)));
    }
}
