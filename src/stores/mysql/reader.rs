//! Readers: the Arrow builder of one column with the function that reads its values. Which reader a type has is a row of
//! `types.rs`; how bytes become values is `decode.rs`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanBuilder, Decimal128Builder, Decimal256Builder, PrimitiveBuilder,
    StringBuilder,
};
use arrow::datatypes::DataType;

use super::decode::{self, Fault, Moment, NotADay};
use super::options::ZeroDate;
use crate::error::sqlstate;

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

struct Primitive<T: ArrowPrimitiveType> {
    builder: PrimitiveBuilder<T>,
    read: fn(&[u8]) -> Result<T::Native, Fault>,
}

impl<T: ArrowPrimitiveType> Reader for Primitive<T> {
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault> {
        match raw {
            Some(raw) => self.builder.append_value((self.read)(raw)?),
            None => self.builder.append_null(),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

/// Values that Arrow holds as they are.
pub(super) fn primitive<T: ArrowPrimitiveType>(read: fn(&[u8]) -> Result<T::Native, Fault>) -> Box<dyn Reader> {
    Box::new(Primitive::<T> { builder: PrimitiveBuilder::new(), read })
}

struct Temporal<T: ArrowPrimitiveType> {
    builder: PrimitiveBuilder<T>,
    read: fn(&[u8]) -> Moment<T::Native>,
    zero_date: ZeroDate,
}

impl<T: ArrowPrimitiveType> Reader for Temporal<T> {
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault> {
        match raw.map(self.read).transpose()? {
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
        Arc::new(self.builder.finish())
    }
}

/// Dates and moments, with the policy for days that do not exist.
pub(super) fn temporal<T: ArrowPrimitiveType>(
    builder: PrimitiveBuilder<T>,
    read: fn(&[u8]) -> Moment<T::Native>,
    zero_date: ZeroDate,
) -> Box<dyn Reader> {
    Box::new(Temporal::<T> { builder, read, zero_date })
}

struct Truths(BooleanBuilder);

/// Truth values.
pub(super) fn truths() -> Box<dyn Reader> {
    Box::new(Truths(BooleanBuilder::new()))
}

impl Reader for Truths {
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault> {
        self.0.append_option(raw.map(decode::truth).transpose()?);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

struct Decimals {
    builder: Decimal128Builder,
    shape: (u8, i8),
    read: fn(&[u8], usize) -> Result<i128, Fault>,
}

impl Reader for Decimals {
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault> {
        let scale = usize::from(self.shape.1.unsigned_abs());
        self.builder.append_option(raw.map(|raw| (self.read)(raw, scale)).transpose()?);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish().with_data_type(DataType::Decimal128(self.shape.0, self.shape.1)))
    }
}

/// Numbers of at most 38 digits.
pub(super) fn decimal_reader(precision: u8, scale: i8, read: fn(&[u8], usize) -> Result<i128, Fault>) -> Box<dyn Reader> {
    Box::new(Decimals { builder: Decimal128Builder::new(), shape: (precision, scale), read })
}

struct WideDecimals {
    builder: Decimal256Builder,
    shape: (u8, i8),
}

impl Reader for WideDecimals {
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault> {
        let scale = usize::from(self.shape.1.unsigned_abs());
        self.builder.append_option(raw.map(|raw| decode::wide_decimal(raw, scale)).transpose()?);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish().with_data_type(DataType::Decimal256(self.shape.0, self.shape.1)))
    }
}

/// Numbers of 39 to 76 digits.
pub(super) fn wide_decimal_reader(precision: u8, scale: i8) -> Box<dyn Reader> {
    Box::new(WideDecimals { builder: Decimal256Builder::new(), shape: (precision, scale) })
}

/// How the text of a column comes about.
enum TextRead {
    Plain,
    Bits(usize),
    Converted(fn(&[u8]) -> Result<String, Fault>),
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
        match self.read {
            TextRead::Plain => self.builder.append_value(decode::text(raw)?),
            TextRead::Bits(width) => self.builder.append_value(decode::bits(raw, width)?),
            TextRead::Converted(convert) => self.builder.append_value(convert(raw)?),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

/// Text as the server sends it.
pub(super) fn text_reader() -> Box<dyn Reader> {
    Box::new(Texts { builder: StringBuilder::new(), read: TextRead::Plain })
}

/// Text in another spelling than the server's.
pub(super) fn converted_text(convert: fn(&[u8]) -> Result<String, Fault>) -> Box<dyn Reader> {
    Box::new(Texts { builder: StringBuilder::new(), read: TextRead::Converted(convert) })
}

struct Blobs(BinaryBuilder);

impl Reader for Blobs {
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault> {
        self.0.append_option(raw);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
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
