//! List columns as Postgres arrays: text literals and the binary form of `array_send`.
//!
//! Nested lists are the dimensions of one array, so they must be rectangular and no inner list may be NULL.

use std::ops::Range;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use bytes::{BufMut, BytesMut};

use super::{Cell, Column, Target, mismatch};
use crate::error::{Diagnosis, sqlstate};
use crate::format::{Format, array as literal};
use crate::pgtype::{PgField, PgType};

/// PostgreSQL's `MAXDIM`.
const DIMENSIONS_MAX: usize = 6;

/// The elements of a list row, as positions in the array of elements.
pub(super) type Spread<'a> = Box<dyn Fn(usize) -> Range<usize> + 'a>;

/// One dimension: where each of its lists lies, and which are NULL.
struct Level<'a> {
    spread: Spread<'a>,
    nulls: Option<arrow::buffer::NullBuffer>,
}

/// The dimensions and elements of a list column.
struct Layout<'a> {
    levels: Vec<Level<'a>>,
    elements: Column<'a>,
    element_type: PgType,
    is_vector: bool,
}

/// The writer of a list column.
pub(super) fn cell<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    let layout = Layout::new(array, target)?;
    if target.is_text() {
        return Ok(Box::new(move |row, out| layout.write_text(row, out)));
    }
    if target.pg_type.element().is_none() {
        return Err(mismatch(array, target));
    }
    Ok(Box::new(move |row, out| layout.write_binary(row, out)))
}

/// How a list array maps rows to elements, and its elements.
pub(super) fn spread(array: &dyn Array) -> Option<(Spread<'_>, &dyn Array)> {
    // Offsets of an Arrow list are never negative.
    let position = |offset: i64| usize::try_from(offset).unwrap_or(0);
    match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            let at = move |row: usize| offsets.get(row).map_or(0, |&offset| position(i64::from(offset)));
            Some((Box::new(move |row| at(row)..at(row + 1)), list.values().as_ref()))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let offsets = list.value_offsets();
            let at = move |row: usize| offsets.get(row).map_or(0, |&offset| position(offset));
            Some((Box::new(move |row| at(row)..at(row + 1)), list.values().as_ref()))
        }
        DataType::FixedSizeList(_, _) => {
            let list = array.as_fixed_size_list();
            let size = usize::try_from(list.value_length()).unwrap_or(0);
            Some((Box::new(move |row| row * size..(row + 1) * size), list.values().as_ref()))
        }
        _ => None,
    }
}

/// The Postgres type of a list's elements as its own field tells it.
fn element_of(data_type: &DataType) -> PgType {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => match item.data_type() {
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => element_of(item.data_type()),
            _ => item.pg_type(),
        },
        other => PgType::from_arrow(other),
    }
}

impl<'a> Layout<'a> {
    fn new(array: &'a dyn Array, target: Target<'a>) -> Result<Self, Diagnosis> {
        let element_type = target.pg_type.element().unwrap_or_else(|| element_of(array.data_type()));
        let mut levels = Vec::new();
        let mut inner = array;
        while let Some((spread, values)) = spread(inner) {
            levels.push(Level { spread, nulls: super::nulls_of(inner) });
            inner = values;
        }
        if levels.len() > DIMENSIONS_MAX {
            let message = format!("number of array dimensions ({}) exceeds the maximum allowed (6)", levels.len());
            return Err(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        // The elements of an array in text are text even where the array as a whole is announced as text.
        let format = if target.is_text() { Format::Text } else { target.format };
        let elements = Column::new(inner, Target { pg_type: element_type, format, ..target })?;
        Ok(Self { levels, elements, element_type, is_vector: target.pg_type.is_vector() })
    }

    /// The length of each dimension; none for an empty array.
    fn dimensions(&self, row: usize) -> Result<Vec<usize>, Diagnosis> {
        let mut lengths = Vec::with_capacity(self.levels.len());
        let mut lists = row..row + 1;
        for (depth, level) in self.levels.iter().enumerate() {
            let mut length = None;
            let mut inner: Option<Range<usize>> = None;
            for list in lists.clone() {
                if depth > 0 && level.nulls.as_ref().is_some_and(|nulls| nulls.is_null(list)) {
                    return Err(Diagnosis::new("22004", "null array element not allowed in this context"));
                }
                let range = (level.spread)(list);
                if length.replace(range.len()).is_some_and(|other| other != range.len()) {
                    return Err(Diagnosis::new(
                        "2202E",
                        "multidimensional arrays must have array expressions with matching dimensions",
                    ));
                }
                inner = Some(inner.map_or(range.clone(), |all| all.start..range.end));
            }
            match (length, inner) {
                (Some(length @ 1..), Some(range)) => {
                    lengths.push(length);
                    lists = range;
                }
                _ => return Ok(Vec::new()),
            }
        }
        Ok(lengths)
    }

    fn write_text(&self, row: usize, out: &mut BytesMut) -> Result<(), Diagnosis> {
        if self.is_vector {
            return self.write_vector(row, out);
        }
        // A flat list needs no look at its shape.
        if self.levels.len() > 1 && self.dimensions(row)?.is_empty() {
            out.put_slice(b"{}");
            return Ok(());
        }
        self.write_level(&self.levels, row, out)
    }

    /// `1 2 3`
    fn write_vector(&self, row: usize, out: &mut BytesMut) -> Result<(), Diagnosis> {
        let range = self.element_range(row);
        for position in range.clone() {
            if position > range.start {
                out.put_u8(b' ');
            }
            self.write_element(position, out)?;
        }
        Ok(())
    }

    fn write_level(&self, levels: &[Level<'a>], row: usize, out: &mut BytesMut) -> Result<(), Diagnosis> {
        let Some((level, inner)) = levels.split_first() else { return self.write_element(row, out) };
        out.put_u8(b'{');
        let range = (level.spread)(row);
        let first = range.start;
        for position in range {
            if position > first {
                out.put_u8(b',');
            }
            self.write_level(inner, position, out)?;
        }
        out.put_u8(b'}');
        Ok(())
    }

    fn write_element(&self, position: usize, out: &mut BytesMut) -> Result<(), Diagnosis> {
        if self.elements.is_null(position) {
            out.put_slice(b"NULL");
            return Ok(());
        }
        let start = out.len();
        (self.elements.cell)(position, out)?;
        let written = out.get(start..).unwrap_or_default();
        if literal::needs_quotes(written) {
            let plain = written.to_vec();
            out.truncate(start);
            literal::write_quoted(&plain, out);
        }
        Ok(())
    }

    fn write_binary(&self, row: usize, out: &mut BytesMut) -> Result<(), Diagnosis> {
        let dimensions = self.dimensions(row)?;
        let too_large = |_cause| Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "array size exceeds the maximum allowed");
        out.put_i32(i32::try_from(dimensions.len()).map_err(too_large)?);
        let elements = if dimensions.is_empty() { 0..0 } else { self.element_range(row) };
        out.put_i32(i32::from(elements.clone().any(|position| self.elements.is_null(position))));
        out.put_u32(self.element_type.oid);
        for length in dimensions {
            out.put_i32(i32::try_from(length).map_err(too_large)?);
            // Lower bound.
            out.put_i32(i32::from(!self.is_vector));
        }
        for position in elements {
            self.elements.write_sized(position, out)?;
        }
        Ok(())
    }

    /// The elements of a row through all dimensions: those of a rectangular array lie side by side.
    fn element_range(&self, row: usize) -> Range<usize> {
        self.levels.iter().fold(row..row + 1, |lists, level| {
            let first = (level.spread)(lists.start);
            let last = (level.spread)(lists.end - 1);
            first.start..last.end
        })
    }
}
