//! The growing columns of a document builder, one variant per document type.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, Float64Builder, Int64Builder, ListArray, NullBufferBuilder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::FieldRef;
use arrow::error::ArrowError;

use super::super::builders::Refill;
use super::build::Conversion;
use super::options::OnMismatch;
use super::structs::StructCells;
use super::types::DocumentType;
use super::value::{DocumentValue, Elements, Mismatch};
use super::{extended, scalar};
use crate::error::sqlstate;

/// What all columns of one builder share.
#[derive(Debug)]
pub(super) struct State {
    conversion: Conversion,
    /// About how many bytes the rows so far hold.
    pub(super) bytes: usize,
    /// Scratch space for texts of our own making.
    pub(super) text: String,
}

impl State {
    pub(super) fn new(conversion: Conversion) -> Self {
        Self { conversion, bytes: 0, text: String::new() }
    }
}

#[derive(Debug)]
pub(super) enum Cells {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder, u8),
    Numeric(StringBuilder),
    Date(TimestampMicrosecondBuilder),
    ObjectId(StringBuilder),
    Uuid(StringBuilder),
    Binary(BinaryBuilder),
    Text(StringBuilder),
    Extended(StringBuilder),
    List(ListCells),
    Struct(StructCells),
}

impl Cells {
    pub(super) fn new(kind: &DocumentType) -> Self {
        match kind {
            DocumentType::Bool => Self::Bool(BooleanBuilder::new()),
            DocumentType::Int => Self::Int(Int64Builder::new()),
            DocumentType::Double => Self::Double(Float64Builder::new()),
            DocumentType::Decimal { scale } => Self::Decimal(Decimal128Builder::new().with_data_type(kind.arrow_type()), *scale),
            DocumentType::Numeric => Self::Numeric(StringBuilder::new()),
            DocumentType::Date => Self::Date(TimestampMicrosecondBuilder::new().with_timezone(crate::pgtype::UTC)),
            DocumentType::ObjectId => Self::ObjectId(StringBuilder::new()),
            DocumentType::Uuid => Self::Uuid(StringBuilder::new()),
            DocumentType::Binary => Self::Binary(BinaryBuilder::new()),
            DocumentType::Null | DocumentType::Text => Self::Text(StringBuilder::new()),
            DocumentType::Mixed => Self::Extended(StringBuilder::new()),
            DocumentType::Struct(fields) if fields.is_empty() => Self::Extended(StringBuilder::new()),
            DocumentType::Struct(fields) => Self::Struct(StructCells::new(fields)),
            DocumentType::List(inner) => Self::List(ListCells {
                item: Arc::new(inner.field("item")),
                offsets: vec![0],
                valid: NullBufferBuilder::new(0),
                inner: Box::new(Self::new(inner)),
            }),
        }
    }

    pub(super) fn append_null(&mut self) {
        match self {
            Self::Bool(cells) => cells.append_null(),
            Self::Int(cells) => cells.append_null(),
            Self::Double(cells) => cells.append_null(),
            Self::Decimal(cells, _) => cells.append_null(),
            Self::Date(cells) => cells.append_null(),
            Self::Binary(cells) => cells.append_null(),
            Self::Numeric(cells) | Self::ObjectId(cells) | Self::Uuid(cells) | Self::Text(cells) | Self::Extended(cells) => {
                cells.append_null()
            }
            Self::List(cells) => cells.close(false),
            Self::Struct(cells) => cells.append_null(),
        }
    }

    /// Adds a value, or what the mismatch rule makes of it.
    pub(super) fn append(&mut self, value: &DocumentValue<'_>, state: &mut State) -> Result<(), Box<Mismatch>> {
        state.bytes += 8;
        if matches!(value, DocumentValue::Null) {
            self.append_null();
            return Ok(());
        }
        match (&mut *self, value) {
            (Self::List(cells), DocumentValue::List(elements)) => return cells.append(*elements, state),
            (Self::Struct(cells), DocumentValue::Document(fields)) => return cells.append(*fields, state),
            (Self::Extended(cells), value) => return append_extended(cells, value, state),
            _ => {}
        }
        if self.append_scalar(value, state) { Ok(()) } else { self.mismatch(value, state) }
    }

    /// Adds a scalar; false when the column cannot hold it.
    fn append_scalar(&mut self, value: &DocumentValue<'_>, state: &mut State) -> bool {
        let texts = state.conversion.texts;
        match self {
            Self::Bool(cells) => match value {
                DocumentValue::Bool(truth) => cells.append_value(*truth),
                _ => return false,
            },
            Self::Int(cells) => return scalar::as_int(value).map(|number| cells.append_value(number)).is_some(),
            Self::Double(cells) => return scalar::as_double(value, texts).map(|number| cells.append_value(number)).is_some(),
            Self::Decimal(cells, scale) => {
                let unscaled = scalar::as_decimal(value).and_then(|decimal| scalar::as_unscaled(decimal, *scale));
                return unscaled.map(|unscaled| cells.append_value(unscaled)).is_some();
            }
            Self::Date(cells) => return scalar::as_micros(value, texts).map(|micros| cells.append_value(micros)).is_some(),
            Self::Binary(cells) => match value {
                DocumentValue::Binary(bytes, _) => {
                    state.bytes += bytes.len();
                    cells.append_value(bytes);
                }
                DocumentValue::Uuid(bytes) => cells.append_value(bytes),
                _ => return false,
            },
            Self::Text(cells) => match value {
                // Postgres text cannot hold NUL; the client could not be given it.
                DocumentValue::Text(text) if !text.as_bytes().contains(&0) => {
                    state.bytes += text.len();
                    cells.append_value(text);
                }
                _ => return false,
            },
            Self::Numeric(_) | Self::ObjectId(_) | Self::Uuid(_) => return self.append_written(value, state),
            Self::Extended(_) | Self::List(_) | Self::Struct(_) => return false,
        }
        true
    }

    /// Scalars that travel as text of our own making.
    fn append_written(&mut self, value: &DocumentValue<'_>, state: &mut State) -> bool {
        state.text.clear();
        match (&mut *self, value) {
            (Self::Numeric(_), DocumentValue::Double(number)) => match () {
                () if number.is_nan() => state.text.push_str("NaN"),
                () if number.is_infinite() => state.text.push_str(if *number > 0.0 { "Infinity" } else { "-Infinity" }),
                // `{}` never uses an exponent. Numeric has no negative zero.
                () => state.text.push_str(&(number + 0.0).to_string()),
            },
            (Self::Numeric(_), value) => match scalar::as_decimal(value) {
                Some(decimal) => extended::write_decimal(decimal, &mut state.text),
                None => return false,
            },
            (Self::ObjectId(_), DocumentValue::ObjectId(bytes)) => extended::write_hex(bytes, &mut state.text),
            (Self::Uuid(_), value) => match scalar::as_uuid(value, state.conversion.texts) {
                Some(bytes) => scalar::write_uuid(&bytes, &mut state.text),
                None => return false,
            },
            _ => return false,
        }
        state.bytes += state.text.len();
        match self {
            Self::Numeric(cells) | Self::ObjectId(cells) | Self::Uuid(cells) => cells.append_value(&state.text),
            _ => return false,
        }
        true
    }

    #[cold]
    fn mismatch(&mut self, value: &DocumentValue<'_>, state: &mut State) -> Result<(), Box<Mismatch>> {
        match (state.conversion.on_mismatch, &mut *self) {
            (OnMismatch::Null, cells) => {
                cells.append_null();
                Ok(())
            }
            (OnMismatch::Text, Self::Text(cells) | Self::ObjectId(cells)) => append_extended(cells, value, state),
            (_, cells) => Err(Mismatch::new(
                sqlstate::INVALID_TEXT_REPRESENTATION,
                format!("is a value of type {} that does not fit {}", value.kind(), cells.describe()),
            )),
        }
    }

    fn describe(&self) -> &'static str {
        match self {
            Self::Bool(_) => "boolean",
            Self::Int(_) => "bigint",
            Self::Double(_) => "double precision",
            Self::Decimal(..) | Self::Numeric(_) => "numeric",
            Self::Date(_) => "timestamp with time zone",
            Self::ObjectId(_) => "objectId",
            Self::Uuid(_) => "uuid",
            Self::Binary(_) => "bytea",
            Self::Text(_) | Self::Extended(_) => "text",
            Self::List(_) => "an array",
            Self::Struct(_) => "a nested document",
        }
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Bool(cells) => cells.take(),
            Self::Int(cells) => cells.take(),
            Self::Double(cells) => cells.take(),
            Self::Decimal(cells, _) => cells.take(),
            Self::Date(cells) => cells.take(),
            Self::Binary(cells) => cells.take(),
            Self::Numeric(cells) | Self::ObjectId(cells) | Self::Uuid(cells) | Self::Text(cells) | Self::Extended(cells) => {
                cells.take()
            }
            Self::List(cells) => Arc::new(cells.finish()?),
            Self::Struct(cells) => Arc::new(cells.finish()?),
        })
    }
}

fn append_extended(cells: &mut StringBuilder, value: &DocumentValue<'_>, state: &mut State) -> Result<(), Box<Mismatch>> {
    state.text.clear();
    extended::write(value, &mut state.text)?;
    state.bytes += state.text.len();
    cells.append_value(&state.text);
    Ok(())
}

#[derive(Debug)]
pub(super) struct ListCells {
    item: FieldRef,
    offsets: Vec<i32>,
    valid: NullBufferBuilder,
    inner: Box<Cells>,
}

impl ListCells {
    fn append(&mut self, elements: &dyn Elements, state: &mut State) -> Result<(), Box<Mismatch>> {
        let mut count = 0_i32;
        elements.visit(&mut |element| {
            count = count.saturating_add(1);
            self.inner.append(&element, state)
        })?;
        let end = self.offsets.last().copied().unwrap_or(0).checked_add(count);
        let end = end.ok_or_else(|| Mismatch::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "has too many elements for one batch"))?;
        self.offsets.push(end);
        self.valid.append_non_null();
        Ok(())
    }

    /// Ends an entry without elements.
    fn close(&mut self, valid: bool) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        self.valid.append(valid);
    }

    fn finish(&mut self) -> Result<ListArray, ArrowError> {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let values = self.inner.finish()?;
        ListArray::try_new(self.item.clone(), OffsetBuffer::new(ScalarBuffer::from(offsets)), values, self.valid.finish())
    }
}
