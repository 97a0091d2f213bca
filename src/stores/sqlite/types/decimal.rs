//! `numeric` cells: integers, reals and texts as exact decimal digits.

use arrow::array::{ArrayRef, Decimal128Builder, Decimal256Builder, StringBuilder};
use arrow::datatypes::{DataType, i256};

use super::super::super::builders::Refill;
use super::read::{Appended, Cell, Fault, Read};
use crate::pgtype::PgType;

/// The reader of a `numeric` column with this carrier.
pub(super) fn reader(pg_type: PgType, carrier: &DataType) -> Option<Box<dyn Read>> {
    Some(match carrier {
        DataType::Decimal128(precision, scale) => {
            let builder = Decimal128Builder::new().with_data_type(carrier.clone());
            Box::new(Shaped::new(builder, usize::from(*precision), usize::try_from(*scale).ok()?))
        }
        DataType::Decimal256(precision, scale) => {
            let builder = Decimal256Builder::new().with_data_type(carrier.clone());
            Box::new(Shaped::new(builder, usize::from(*precision), usize::try_from(*scale).ok()?))
        }
        DataType::Utf8 => Box::new(Unshaped { builder: StringBuilder::new(), shape: pg_type.numeric_shape() }),
        _ => return None,
    })
}

/// A number as sign, digits without leading zeros, and how many of them lie behind the point.
#[derive(PartialEq, Eq)]
struct Digits {
    negative: bool,
    digits: String,
    scale: usize,
}

impl Digits {
    /// Reads a cell as a decimal number; reals by the shortest digits that read back as the same real.
    fn of(cell: Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Int(number) => Self::parse(itoa::Buffer::new().format(number)),
            Cell::Real(number) if number.is_finite() => Self::parse(&number.to_string()),
            Cell::Text(bytes) => Self::parse(std::str::from_utf8(bytes).ok()?),
            Cell::Null | Cell::Real(_) | Cell::Blob(_) => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|e| e.abs() <= 20_000)?),
            None => (text, 0),
        };
        let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        if whole.is_empty() && fraction.is_empty() || ![whole, fraction].iter().all(|p| p.bytes().all(|b| b.is_ascii_digit())) {
            return None;
        }
        let mut digits = format!("{whole}{fraction}");
        let mut scale = i64::try_from(fraction.len()).ok()? - i64::from(exponent);
        while scale < 0 {
            digits.push('0');
            scale += 1;
        }
        let significant = digits.trim_start_matches('0').to_owned();
        let negative = mantissa.starts_with('-') && !significant.is_empty();
        Some(Self { negative, digits: significant, scale: usize::try_from(scale).ok()? })
    }

    /// The digits at exactly `scale`, or `None` when digits other than zero would be lost.
    fn at_scale(mut self, scale: usize) -> Option<Self> {
        while self.scale > scale {
            if !self.digits.is_empty() && self.digits.pop() != Some('0') {
                return None;
            }
            self.scale -= 1;
        }
        let missing = scale - self.scale;
        if !self.digits.is_empty() {
            self.digits.extend(std::iter::repeat_n('0', missing));
        }
        self.scale = scale;
        Some(self)
    }

    /// The same number without zeros at the end of its fraction.
    fn shortest(mut self) -> Self {
        while self.scale > 0 && (self.digits.is_empty() || self.digits.ends_with('0')) {
            self.digits.pop();
            self.scale -= 1;
        }
        self
    }

    /// The digits as a whole number.
    fn unscaled(&self) -> String {
        let digits = if self.digits.is_empty() { "0" } else { &self.digits };
        format!("{}{digits}", if self.negative { "-" } else { "" })
    }

    /// Canonical text: `-0.05`.
    fn text(&self) -> String {
        let padding = (self.scale + 1).saturating_sub(self.digits.len());
        let padded = format!("{}{}", "0".repeat(padding), self.digits);
        let (whole, fraction) = padded.split_at(padded.len() - self.scale);
        let (sign, point) = (if self.negative { "-" } else { "" }, if self.scale > 0 { "." } else { "" });
        format!("{sign}{whole}{point}{fraction}")
    }
}

/// A number as a column of numeric affinity keeps it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Exact {
    /// INTEGER
    Int(i64),
    /// REAL
    Real(f64),
}

/// The cell that is read back as exactly this number; `None` when there is none, as for NaN and most numbers of more than 15 digits with
/// a fraction.
pub fn exact(text: &str) -> Option<Exact> {
    let wanted = Digits::parse(text)?.shortest();
    if wanted.scale == 0
        && let Ok(whole) = wanted.unscaled().parse()
    {
        return Some(Exact::Int(whole));
    }
    let real: f64 = text.parse().ok()?;
    let found = Digits::of(Cell::Real(real))?.shortest();
    (found == wanted).then_some(Exact::Real(real))
}

/// Powers of ten that fit 64 bits.
const POWERS: [i64; 19] = {
    let mut powers = [1; 19];
    let mut place = 1;
    while place < powers.len() {
        powers[place] = powers[place - 1] * 10;
        place += 1;
    }
    powers
};

/// Reals below this many digits have one decimal number of no more digits that reads back as they are.
const REAL_DIGITS_END: u64 = 1_000_000_000_000_000;

/// The short way from a cell to its decimal number: for integers and reals as they are stored in most columns.
#[derive(Debug, Clone, Copy)]
struct Short {
    /// 10^scale
    power: i64,
    /// The same, which is exact: at most 10^18, and a real holds every power of ten up to 10^22.
    real_power: f64,
    /// What unscaled numbers stay below to have no more digits than the precision says.
    end: u64,
}

impl Short {
    /// `None` where the scale alone fills 64 bits.
    fn new(precision: usize, scale: usize) -> Option<Self> {
        let power = *POWERS.get(scale)?;
        let end = POWERS.get(precision).map_or(u64::MAX, |end| end.unsigned_abs());
        Some(Self { power, real_power: power as f64, end })
    }

    /// The number that [`shaped`] gives, times 10^scale, without making digits of it. `None` says nothing of the cell but that
    /// [`shaped`] must look at it.
    #[inline]
    fn unscaled(self, cell: Cell<'_>) -> Option<i64> {
        let unscaled = match cell {
            Cell::Int(number) => number.checked_mul(self.power)?,
            Cell::Real(number) => {
                let scaled = number * self.real_power;
                // The nearest whole number, or nearly always so; of a real that is none it is zero or out of range.
                let whole = (scaled + 0.5_f64.copysign(scaled)) as i64;
                // Both sides of the division are exact, so its result is what the decimal number reads back as. That is the
                // real itself only for the decimal number that the shortest digits write, since no other has so few.
                if whole.unsigned_abs() >= REAL_DIGITS_END || whole as f64 / self.real_power != number {
                    return None;
                }
                whole
            }
            Cell::Null | Cell::Text(_) | Cell::Blob(_) => return None,
        };
        (unscaled.unsigned_abs() < self.end).then_some(unscaled)
    }
}

/// The digits of a cell at a column's scale.
#[cold]
fn shaped(cell: Cell<'_>, precision: usize, scale: usize) -> Result<Digits, Fault> {
    let wanted = format!("numeric({precision},{scale})");
    let digits = Digits::of(cell).ok_or_else(|| Fault::kind(cell, "a numeric"))?;
    let digits = digits.at_scale(scale).ok_or_else(|| Fault::range(&format!("{wanted} without rounding")))?;
    if digits.digits.len() > precision { Err(Fault::range(&wanted)) } else { Ok(digits) }
}

/// `numeric(p,s)` in a decimal carrier.
struct Shaped<B> {
    builder: B,
    precision: usize,
    scale: usize,
    short: Option<Short>,
}

impl<B> Shaped<B> {
    fn new(builder: B, precision: usize, scale: usize) -> Self {
        Self { builder, precision, scale, short: Short::new(precision, scale) }
    }

    /// The digits of a cell as a whole number, whatever the cell holds.
    #[cold]
    fn digits(&self, cell: Cell<'_>) -> Result<String, Box<Fault>> {
        Ok(shaped(cell, self.precision, self.scale)?.unscaled())
    }
}

impl Read for Shaped<Decimal128Builder> {
    #[inline(always)]
    fn append(&mut self, cell: Cell<'_>) -> Appended {
        if let Some(unscaled) = self.short.and_then(|short| short.unscaled(cell)) {
            self.builder.append_value(unscaled.into());
        } else if cell == Cell::Null {
            self.builder.append_null();
        } else {
            self.builder.append_value(self.digits(cell)?.parse().map_err(|_overflow| Fault::range("numeric"))?);
        }
        Ok(16)
    }

    fn finish(&mut self) -> Result<ArrayRef, Box<Fault>> {
        Ok(self.builder.take())
    }
}

impl Read for Shaped<Decimal256Builder> {
    fn append(&mut self, cell: Cell<'_>) -> Appended {
        if let Some(unscaled) = self.short.and_then(|short| short.unscaled(cell)) {
            self.builder.append_value(i256::from(unscaled));
        } else if cell == Cell::Null {
            self.builder.append_null();
        } else {
            let digits = self.digits(cell)?;
            self.builder.append_value(i256::from_string(&digits).ok_or_else(|| Fault::range("numeric"))?);
        }
        Ok(32)
    }

    fn finish(&mut self) -> Result<ArrayRef, Box<Fault>> {
        Ok(self.builder.take())
    }
}

/// `numeric` without a shape, or with one too wide for a decimal carrier, as canonical text.
struct Unshaped {
    builder: StringBuilder,
    shape: Option<(u16, i16)>,
}

impl Read for Unshaped {
    fn append(&mut self, cell: Cell<'_>) -> Appended {
        let text = match (cell, self.shape) {
            (Cell::Null, _) => {
                self.builder.append_null();
                return Ok(4);
            }
            (Cell::Real(number), None) if number.is_infinite() => {
                if number > 0.0 {
                    "Infinity".to_owned()
                } else {
                    "-Infinity".to_owned()
                }
            }
            (cell, Some((precision, scale))) => shaped(cell, usize::from(precision), usize::try_from(scale).unwrap_or(0))?.text(),
            (cell, None) => Digits::of(cell).ok_or_else(|| Fault::kind(cell, "a numeric"))?.text(),
        };
        self.builder.append_value(&text);
        Ok(text.len() + 4)
    }

    fn finish(&mut self) -> Result<ArrayRef, Box<Fault>> {
        Ok(self.builder.take())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    #[test]
    fn digits_are_exact_or_refused() {
        let rows: &[(Cell<'_>, usize, Option<&str>)] = &[
            (Cell::Real(19.99), 2, Some("19.99")),
            (Cell::Real(0.1), 2, Some("0.10")),
            (Cell::Real(0.1 + 0.2), 2, None),
            (Cell::Int(-5), 2, Some("-5.00")),
            (Cell::Real(-0.0), 2, Some("0.00")),
            (Cell::Real(1e20), 0, Some("100000000000000000000")),
            (Cell::Text(b"1.50e1"), 1, Some("15.0")),
            (Cell::Text(b"00012.3400"), 2, Some("12.34")),
            (Cell::Text(b".5"), 2, Some("0.50")),
            (Cell::Text(b"-0.05"), 2, Some("-0.05")),
            (Cell::Text(b"1.005"), 2, None),
            (Cell::Text(b"12a"), 2, None),
            (Cell::Text(b""), 2, None),
            (Cell::Text(b"."), 2, None),
            (Cell::Text(b"0x10"), 2, None),
            (Cell::Text(b"1e999999999"), 2, None),
            (Cell::Blob(b"1"), 2, None),
        ];
        for (cell, scale, expected) in rows {
            assert_eq!(shaped(*cell, 38, *scale).ok().map(|digits| digits.text()).as_deref(), *expected, "{cell:?}");
        }
        assert_eq!(shaped(Cell::Int(1000), 3, 0).err().map(|fault| fault.sqlstate), Some("22003"));
    }

    fn short(cell: Cell<'_>, precision: usize, scale: usize) -> Option<i64> {
        Short::new(precision, scale)?.unscaled(cell)
    }

    #[test]
    fn the_short_way_gives_the_same_digits() {
        let check = |cell: Cell<'_>, precision: usize, scale: usize| {
            let long = shaped(cell, precision, scale).ok().map(|digits| digits.unscaled());
            if let Some(short) = short(cell, precision, scale) {
                assert_eq!(Some(short.to_string()), long, "{cell:?} as numeric({precision},{scale})");
            }
            let scale_of_carrier = i8::try_from(scale).unwrap();
            let narrow = DataType::Decimal128(u8::try_from(precision).unwrap(), scale_of_carrier);
            for (carrier, precision) in [(narrow, precision), (DataType::Decimal256(60, scale_of_carrier), 60)] {
                let mut reader = reader(PgType::NUMERIC, &carrier).unwrap();
                let appended = reader.append(cell);
                let array = reader.finish().unwrap();
                let found = appended.ok().map(|_bytes| match array.as_primitive_opt::<arrow::datatypes::Decimal128Type>() {
                    Some(narrow) => narrow.value(0).to_string(),
                    None => array.as_primitive::<arrow::datatypes::Decimal256Type>().value(0).to_string(),
                });
                let expected = shaped(cell, precision, scale).ok().map(|digits| digits.unscaled());
                assert_eq!(found, expected, "{cell:?} in {carrier:?}");
            }
        };
        let mut seed = 1_u64;
        for _ in 0..2_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let whole = (seed >> 16) as i64 >> (seed % 48);
            for (scale, power) in POWERS.into_iter().enumerate().take(7) {
                let real = whole as f64 / power as f64;
                for real in [real, -real, f64::from_bits(real.to_bits() + 1), f64::from_bits(seed)] {
                    check(Cell::Real(real), 18, scale);
                    check(Cell::Real(real), 9, scale);
                }
                check(Cell::Int(whole), 18, scale);
                check(Cell::Int(-whole), 38, scale);
            }
        }
        for real in [0.1, 0.3, 19.99, 1e14 + 0.5, 999_999_999_999_999.0, 1e15, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY, f64::NAN]
        {
            check(Cell::Real(real), 18, 2);
            check(Cell::Real(-real), 17, 18);
        }
        assert_eq!(short(Cell::Real(-19.99), 10, 2), Some(-1_999));
        assert_eq!(short(Cell::Real(0.1 + 0.2), 10, 2), None);
        assert_eq!(short(Cell::Int(100), 4, 2), None);
    }

    #[test]
    fn numbers_are_stored_only_as_what_reads_back_as_them() {
        let rows = [
            ("0", Some(Exact::Int(0))),
            ("-0.00", Some(Exact::Int(0))),
            ("12.50", Some(Exact::Real(12.5))),
            ("12.00", Some(Exact::Int(12))),
            ("-19.99", Some(Exact::Real(-19.99))),
            ("9223372036854775807", Some(Exact::Int(i64::MAX))),
            // As a float it reads back as 9223372036854776000.
            ("9223372036854775808", None),
            ("9223372036854776000", Some(Exact::Real(9_223_372_036_854_776_000.0))),
            ("9223372036854775809", None),
            ("100000000000000000000", Some(Exact::Real(1e20))),
            ("0.1234567890123456789", None),
            ("123456789012345678.5", None),
            ("NaN", None),
            ("Infinity", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(exact(text), expected, "{text}");
        }
    }

    #[test]
    fn every_carrier_holds_its_digits() {
        let mut narrow = reader(PgType::numeric(10, 2), &PgType::numeric(10, 2).carrier()).unwrap();
        narrow.append(Cell::Real(-1.5)).unwrap();
        narrow.append(Cell::Null).unwrap();
        let array = narrow.finish().unwrap();
        assert_eq!(array.as_primitive::<arrow::datatypes::Decimal128Type>().value(0), -150);
        assert!(array.is_null(1));
        let wide = "9".repeat(60);
        let mut broad = reader(PgType::numeric(60, 0), &PgType::numeric(60, 0).carrier()).unwrap();
        broad.append(Cell::Text(wide.as_bytes())).unwrap();
        assert_eq!(broad.finish().unwrap().as_primitive::<arrow::datatypes::Decimal256Type>().value(0).to_string(), wide);
        let mut free = reader(PgType::NUMERIC, &DataType::Utf8).unwrap();
        free.append(Cell::Real(1e300)).unwrap();
        free.append(Cell::Real(f64::INFINITY)).unwrap();
        let array = free.finish().unwrap();
        assert_eq!(array.as_string::<i32>().value(0), format!("1{}", "0".repeat(300)));
        assert_eq!(array.as_string::<i32>().value(1), "Infinity");
    }
}
