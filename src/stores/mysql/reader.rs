//! Readers: the Arrow builder of one column with the function that reads its values. Which reader a type has is a row of
//! `types.rs`; how bytes become values is `decode.rs`.

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanBuilder, Decimal128Builder, Decimal256Builder, PrimitiveBuilder,
    StringBuilder,
};
use arrow::datatypes::{DataType, i256};

use super::decode::{self, Fault, Moment, NotADay};
use super::options::ZeroDate;
use crate::error::sqlstate;
use crate::stores::builders::Refill;

/// Gathers the values of one column.
pub(super) trait Reader: Send {
    /// Appends the bytes of one value; `None` is NULL.
    ///
    /// # Errors
    /// The value cannot be given as the column's type; the reader is of no more use then.
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault>;

    /// The array gathered so far; the reader starts again.
    fn finish(&mut self) -> ArrayRef;
}

/// The function that reads is part of the type, so that a value costs one indirect call and not two.
struct Primitive<T: ArrowPrimitiveType, F> {
    builder: PrimitiveBuilder<T>,
    read: F,
}

impl<T, F> Reader for Primitive<T, F>
where
    T: ArrowPrimitiveType,
    F: Fn(&[u8]) -> Result<T::Native, Fault> + Send,
{
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault> {
        match raw {
            Some(raw) => self.builder.append_value((self.read)(raw)?),
            None => self.builder.append_null(),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        self.builder.take()
    }
}

/// Values that Arrow holds as they are.
pub(super) fn primitive<T: ArrowPrimitiveType>(
    read: impl Fn(&[u8]) -> Result<T::Native, Fault> + Send + 'static,
) -> Box<dyn Reader> {
    Box::new(Primitive::<T, _> { builder: PrimitiveBuilder::new(), read })
}

struct Temporal<T: ArrowPrimitiveType, F> {
    builder: PrimitiveBuilder<T>,
    read: F,
    zero_date: ZeroDate,
}

impl<T, F> Reader for Temporal<T, F>
where
    T: ArrowPrimitiveType,
    F: Fn(&[u8]) -> Moment<T::Native> + Send,
{
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault> {
        match raw.map(&self.read).transpose()? {
            Some(Ok(value)) => self.builder.append_value(value),
            None => self.builder.append_null(),
            Some(Err(NotADay)) => match self.zero_date {
                ZeroDate::Null => self.builder.append_null(),
                ZeroDate::Error => {
                    let rule = "is a date that no calendar has, such as 0000-00-00; zero_date = \"null\" reads it as NULL";
                    return Err(Fault { sqlstate: sqlstate::DATETIME_FIELD_OVERFLOW, rule: rule.to_owned() });
                }
            },
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        self.builder.take()
    }
}

/// Dates and moments, with the policy for days that do not exist.
pub(super) fn temporal<T: ArrowPrimitiveType>(
    builder: PrimitiveBuilder<T>,
    read: impl Fn(&[u8]) -> Moment<T::Native> + Send + 'static,
    zero_date: ZeroDate,
) -> Box<dyn Reader> {
    Box::new(Temporal::<T, _> { builder, read, zero_date })
}

struct Truths<F> {
    builder: BooleanBuilder,
    read: F,
}

/// Truth values of `tinyint(1)`.
pub(super) fn truths() -> Box<dyn Reader> {
    truths_by(decode::truth)
}

/// Truth values of another form.
pub(super) fn truths_by(read: impl Fn(&[u8]) -> Result<bool, Fault> + Send + 'static) -> Box<dyn Reader> {
    Box::new(Truths { builder: BooleanBuilder::new(), read })
}

impl<F> Reader for Truths<F>
where
    F: Fn(&[u8]) -> Result<bool, Fault> + Send,
{
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault> {
        self.builder.append_option(raw.map(&self.read).transpose()?);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        self.builder.take()
    }
}

struct Decimals<F> {
    builder: Decimal128Builder,
    scale: usize,
    read: F,
}

impl<F> Reader for Decimals<F>
where
    F: Fn(&[u8], usize) -> Result<i128, Fault> + Send,
{
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault> {
        self.builder.append_option(raw.map(|raw| (self.read)(raw, self.scale)).transpose()?);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        self.builder.take()
    }
}

/// Numbers of at most 38 digits.
pub(super) fn decimal_reader(
    precision: u8,
    scale: i8,
    read: impl Fn(&[u8], usize) -> Result<i128, Fault> + Send + 'static,
) -> Box<dyn Reader> {
    let builder = Decimal128Builder::new().with_data_type(DataType::Decimal128(precision, scale));
    Box::new(Decimals { builder, scale: usize::from(scale.unsigned_abs()), read })
}

struct WideDecimals<F> {
    builder: Decimal256Builder,
    scale: usize,
    read: F,
}

impl<F> Reader for WideDecimals<F>
where
    F: Fn(&[u8], usize) -> Result<i256, Fault> + Send,
{
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault> {
        self.builder.append_option(raw.map(|raw| (self.read)(raw, self.scale)).transpose()?);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        self.builder.take()
    }
}

/// Numbers of 39 to 76 digits.
pub(super) fn wide_decimal_reader(precision: u8, scale: i8) -> Box<dyn Reader> {
    wide_decimal_reader_by(precision, scale, decode::wide_decimal)
}

/// The same in another form.
pub(super) fn wide_decimal_reader_by(
    precision: u8,
    scale: i8,
    read: impl Fn(&[u8], usize) -> Result<i256, Fault> + Send + 'static,
) -> Box<dyn Reader> {
    let builder = Decimal256Builder::new().with_data_type(DataType::Decimal256(precision, scale));
    Box::new(WideDecimals { builder, scale: usize::from(scale.unsigned_abs()), read })
}

/// Makes a text of a cell that is none.
type Convert = Box<dyn Fn(&[u8]) -> Result<String, Fault> + Send>;

/// How the text of a column comes about.
enum TextRead {
    Plain,
    Bits(usize),
    Converted(Convert),
}

struct Texts {
    builder: StringBuilder,
    read: TextRead,
}

impl Reader for Texts {
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault> {
        let Some(raw) = raw else {
            self.builder.append_null();
            return Ok(());
        };
        match &self.read {
            TextRead::Plain => self.builder.append_value(decode::text(raw)?),
            TextRead::Bits(width) => self.builder.append_value(decode::bits(raw, *width)?),
            TextRead::Converted(convert) => self.builder.append_value(convert(raw)?),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        self.builder.take()
    }
}

/// Text as the server sends it.
pub(super) fn text_reader() -> Box<dyn Reader> {
    Box::new(Texts { builder: StringBuilder::new(), read: TextRead::Plain })
}

/// Text in another spelling than the server's.
pub(super) fn converted_text(convert: fn(&[u8]) -> Result<String, Fault>) -> Box<dyn Reader> {
    converted_text_by(convert)
}

/// The text of values that come in another form.
pub(super) fn converted_text_by(convert: impl Fn(&[u8]) -> Result<String, Fault> + Send + 'static) -> Box<dyn Reader> {
    Box::new(Texts { builder: StringBuilder::new(), read: TextRead::Converted(Box::new(convert)) })
}

struct Blobs(BinaryBuilder);

impl Reader for Blobs {
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault> {
        self.0.append_option(raw);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        self.0.take()
    }
}

/// Bytes.
pub(super) fn bytes_reader() -> Box<dyn Reader> {
    Box::new(Blobs(BinaryBuilder::new()))
}

/// `bit(width)` as digits.
pub(super) fn bits(width: usize) -> Box<dyn Reader> {
    Box::new(Texts { builder: StringBuilder::new(), read: TextRead::Bits(width) })
}
