//! Exact sums and averages: many rows in machine integers, and only what does not fit them in numbers of any width.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Builder, StringBuilder};
use arrow::datatypes::{DataType, Decimal128Type, Int16Type, Int32Type, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::super::datum::{Column, Datum, Writer};
use super::super::numeric::Numeric;
use super::super::typed::Typed;
use super::Kind;
use super::accumulate::lost;

/// Digits that an `i128` holds whatever they are.
const DIGITS_MAX: usize = 38;

/// A sum on its way: `small × 10^-scale + rest`, over `count` values.
#[derive(Debug, Clone, Default)]
pub(super) struct ExactSum {
    pub(super) count: i64,
    small: i128,
    scale: u32,
    /// What machine integers could not hold.
    rest: Option<Box<Numeric>>,
}

/// A value to add.
enum Addend {
    Small(i128, u32),
    Wide(Numeric),
}

impl ExactSum {
    /// The sum of all values.
    ///
    /// # Errors
    /// 22003 beyond the range of `numeric`.
    pub(super) fn total(&self) -> Result<Numeric> {
        let small = Numeric::from_parts(self.small, i64::from(self.scale));
        Ok(match &self.rest {
            Some(rest) => rest.add(&small)?,
            None => small,
        })
    }

    /// Adds all values of an array.
    ///
    /// # Errors
    /// 22003 beyond the range of `numeric`.
    pub(super) fn add_all(&mut self, array: &ArrayRef, reads: &Typed) -> Result<()> {
        each(array, reads, |_, value| self.add(value))
    }

    fn add(&mut self, value: Addend) -> Result<()> {
        self.count += 1;
        match value {
            Addend::Small(value, scale) => self.add_small(value, scale),
            Addend::Wide(value) => self.add_wide(&value),
        }
    }

    fn add_small(&mut self, value: i128, scale: u32) -> Result<()> {
        if let Some((sum, scale)) = aligned_sum((self.small, self.scale), (value, scale)) {
            (self.small, self.scale) = (sum, scale);
            return Ok(());
        }
        // The sum so far goes where any number fits, and the new value starts the next one.
        let full = std::mem::replace(&mut self.small, value);
        let full_scale = std::mem::replace(&mut self.scale, scale);
        self.add_wide(&Numeric::from_parts(full, i64::from(full_scale)))
    }

    fn add_wide(&mut self, value: &Numeric) -> Result<()> {
        let rest = match &self.rest {
            Some(rest) => rest.add(value)?,
            None => value.clone(),
        };
        self.rest = Some(Box::new(rest));
        Ok(())
    }
}

/// The sum of two scaled integers under the larger scale; `None` when it does not fit.
fn aligned_sum((left, left_scale): (i128, u32), (right, right_scale): (i128, u32)) -> Option<(i128, u32)> {
    let scale = left_scale.max(right_scale);
    let raise = |value: i128, by: u32| if by == 0 { Some(value) } else { value.checked_mul(10_i128.checked_pow(by)?) };
    let sum = raise(left, scale - left_scale)?.checked_add(raise(right, scale - right_scale)?)?;
    Some((sum, scale))
}

/// Reads canonical text of few digits as a scaled integer.
fn parse(text: &str) -> Option<(i128, u32)> {
    let (digits, negative) = match text.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    // The point may be one of the letters.
    if digits.is_empty() || digits.len() >= DIGITS_MAX {
        return None;
    }
    let (mut value, mut scale, mut is_fraction) = (0_i128, 0_u32, false);
    let mut low = 0_u64;
    let mut low_digits = 0_u32;
    for byte in digits.bytes() {
        match byte {
            b'0'..=b'9' => {
                low = low * 10 + u64::from(byte - b'0');
                low_digits += 1;
                scale += u32::from(is_fraction);
                if low_digits == 18 {
                    value = value * 10_i128.pow(low_digits) + i128::from(low);
                    (low, low_digits) = (0, 0);
                }
            }
            b'.' if !is_fraction => is_fraction = true,
            _ => return None,
        }
    }
    value = value * 10_i128.pow(low_digits) + i128::from(low);
    Some((if negative { -value } else { value }, scale))
}

/// Hands every value that is not NULL to `add`, with its row.
fn each(array: &ArrayRef, reads: &Typed, mut add: impl FnMut(usize, Addend) -> Result<()>) -> Result<()> {
    macro_rules! integers {
        ($kind:ty, $scale:expr) => {{
            let values = array.as_primitive::<$kind>();
            for (row, value) in values.values().iter().enumerate() {
                if values.is_valid(row) {
                    add(row, Addend::Small(i128::from(*value), $scale))?;
                }
            }
        }};
    }
    match array.data_type() {
        DataType::Int16 => integers!(Int16Type, 0),
        DataType::Int32 => integers!(Int32Type, 0),
        DataType::Int64 => integers!(Int64Type, 0),
        DataType::Decimal128(_, scale @ 0..) => integers!(Decimal128Type, u32::from(scale.unsigned_abs())),
        DataType::Utf8 => {
            for (row, text) in array.as_string::<i32>().iter().enumerate() {
                let Some(text) = text else { continue };
                add(
                    row,
                    match parse(text) {
                        Some((value, scale)) => Addend::Small(value, scale),
                        None => Addend::Wide(Numeric::from_canonical(text).ok_or_else(lost)?),
                    },
                )?;
            }
        }
        _ => {
            let column = Column::new(array, Some(reads))?;
            for row in 0..array.len() {
                match column.get(row) {
                    Datum::Null => {}
                    value => add(row, Addend::Wide(value.as_numeric()))?,
                }
            }
        }
    }
    Ok(())
}

/// Sums or averages of many groups.
#[derive(Debug)]
pub(super) struct GroupedSums {
    kind: Kind,
    reads: Typed,
    carrier: DataType,
    sums: Vec<ExactSum>,
    /// How many of the sums hold a number of any width.
    wide: usize,
}

/// About how many bytes such a number takes.
const WIDE_BYTES: usize = size_of::<Numeric>() + 48;

impl GroupedSums {
    pub(super) fn new(kind: Kind, reads: Typed, carrier: DataType) -> Self {
        Self { kind, reads, carrier, sums: Vec::new(), wide: 0 }
    }

    fn taken(&mut self, emit_to: EmitTo) -> Vec<ExactSum> {
        let taken = emit_to.take_needed(&mut self.sums);
        self.wide -= taken.iter().filter(|sum| sum.rest.is_some()).count().min(self.wide);
        taken
    }
}

/// Whether `change` makes the sum hold a number of any width.
fn widened(sum: &mut ExactSum, change: impl FnOnce(&mut ExactSum) -> Result<()>) -> Result<usize> {
    let was_wide = sum.rest.is_some();
    change(sum)?;
    Ok(usize::from(!was_wide && sum.rest.is_some()))
}

fn partial(sums: &[ExactSum]) -> Result<Vec<ArrayRef>> {
    let (mut counts, mut totals, mut squares) = (Int64Builder::new(), StringBuilder::new(), StringBuilder::new());
    for sum in sums {
        counts.append_value(sum.count);
        totals.append_value(sum.total()?.to_canonical());
        squares.append_value("0");
    }
    Ok(vec![Arc::new(counts.finish()), Arc::new(totals.finish()), Arc::new(squares.finish())])
}

fn is_wanted(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

impl GroupsAccumulator for GroupedSums {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.sums.resize(total, ExactSum::default());
        let array = values.first().ok_or_else(lost)?;
        let (sums, wide) = (&mut self.sums, &mut self.wide);
        each(array, &self.reads, |row, value| {
            if !is_wanted(filter, row) {
                return Ok(());
            }
            let sum = groups.get(row).and_then(|group| sums.get_mut(*group)).ok_or_else(lost)?;
            *wide += widened(sum, |sum| sum.add(value))?;
            Ok(())
        })
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = self.taken(emit_to);
        let mut writer = Writer::new(&self.carrier, sums.len())?;
        for sum in sums {
            writer.push(match (sum.count, self.kind) {
                (0, _) => Datum::Null,
                (count, Kind::Average) => Datum::Numeric(sum.total()?.divide(&Numeric::from_parts(count, 0))?),
                _ => Datum::Numeric(sum.total()?),
            })?;
        }
        writer.finish()
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        partial(&self.taken(emit_to))
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.sums.resize(total, ExactSum::default());
        let [counts, totals, ..] = states else { return Err(lost()) };
        let (counts, totals) = (counts.as_primitive::<Int64Type>(), totals.as_string::<i32>());
        for (row, group) in groups.iter().enumerate() {
            let sum = self.sums.get_mut(*group).ok_or_else(lost)?;
            self.wide += widened(sum, |sum| match parse(totals.value(row)) {
                Some((value, scale)) => sum.add_small(value, scale),
                None => sum.add_wide(&Numeric::from_canonical(totals.value(row)).ok_or_else(lost)?),
            })?;
            sum.count += counts.value(row);
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let array = values.first().ok_or_else(lost)?;
        let mut sums = vec![ExactSum::default(); array.len()];
        each(array, &self.reads, |row, value| match sums.get_mut(row).filter(|_| is_wanted(filter, row)) {
            Some(sum) => sum.add(value),
            None => Ok(()),
        })?;
        partial(&sums)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sums.capacity() * size_of::<ExactSum>() + self.wide * WIDE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;
    use crate::pgtype::PgType;

    fn check(values: &[Option<&str>], expected: &str) {
        let array: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
        let mut sum = ExactSum::default();
        sum.add_all(&array, &PgType::NUMERIC.into()).unwrap();
        assert_eq!(sum.total().unwrap().to_canonical(), expected, "{values:?}");
        assert_eq!(sum.count, i64::try_from(values.iter().flatten().count()).unwrap());
    }

    #[test]
    fn sums_are_exact_whatever_their_width() {
        check(&[], "0");
        check(&[Some("1.5"), None, Some("-0.25")], "1.25");
        check(&[Some("1"), Some("2.000")], "3.000");
        check(&[Some("123456789012345678901234567890"), Some("0.5")], "123456789012345678901234567890.5");
        check(
            &[Some("9999999999999999999999999999999999999"), Some("0.0000000000000000000000000000000000001"), Some("1")],
            "10000000000000000000000000000000000000.0000000000000000000000000000000000001",
        );
        check(&[Some("170141183460469231731687303715884105727"), Some("1"), Some("-1")], "170141183460469231731687303715884105727");
        check(&[Some("NaN"), Some("1")], "NaN");
        check(&[Some("Infinity"), Some("-5")], "Infinity");
        let half = "85070591730234615865843651857942052863";
        check(&[Some(half), Some(half), Some(half)], "255211775190703847597530955573826158589");
    }

    #[test]
    fn groups_add_up_across_partial_states() {
        let rows: ArrayRef = Arc::new(StringArray::from(vec![Some("1.10"), None, Some("2"), Some("NaN"), None]));
        let mut first = GroupedSums::new(Kind::Average, PgType::NUMERIC.into(), DataType::Utf8);
        first.update_batch(&[Arc::clone(&rows)], &[0, 0, 0, 1, 2], None, 3).unwrap();
        let states = first.state(EmitTo::All).unwrap();
        let mut last = GroupedSums::new(Kind::Average, PgType::NUMERIC.into(), DataType::Utf8);
        last.merge_batch(&states, &[0, 1, 2], 3).unwrap();
        let filter = BooleanArray::from(vec![Some(true), Some(true), Some(false), Some(true), None]);
        let states = last.convert_to_state(&[rows], Some(&filter)).unwrap();
        last.merge_batch(&states, &[0, 0, 0, 2, 2], 3).unwrap();
        let found = last.evaluate(EmitTo::All).unwrap();
        let found: Vec<Option<&str>> = found.as_string::<i32>().iter().collect();
        assert_eq!(found, [Some("1.4000000000000000"), Some("NaN"), Some("NaN")]);
    }
}
