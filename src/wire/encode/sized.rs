//! Writers of the commonest types that put length and value down in one step: a value of a known width is one copy of a few
//! bytes. Every other type's length is filled in after its value is written.

use arrow::array::{Array, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use bytes::{BufMut, BytesMut};

use super::{Cell, Target, digits, too_large};
use crate::error::Diagnosis;
use crate::format::timestamp;

/// The writer of length and value, for types that have one. The type in the array is one that [`super::cell`] has accepted
/// for the target.
pub(super) fn cell<'a>(array: &'a dyn Array, target: Target<'a>) -> Option<Cell<'a>> {
    let is_text = target.is_text();
    Some(match (array.data_type(), target.pg_type.oid) {
        (DataType::Utf8, _) if is_text => {
            let values = array.as_string::<i32>();
            text(move |row| values.value(row))
        }
        (DataType::Utf8View, _) if is_text => {
            let values = array.as_string_view();
            text(move |row| values.value(row))
        }
        // A number as `numeric` shows the scale of its type, and as a type of characters its digits.
        (DataType::Int16, 21) if is_text => whole::<Int16Type>(array),
        (DataType::Int32, 23) if is_text => whole::<Int32Type>(array),
        (DataType::Int64, 20) if is_text => whole::<Int64Type>(array),
        (DataType::Decimal128(_, scale), 1700) if is_text => {
            let (values, scale) = (array.as_primitive::<Decimal128Type>(), *scale);
            Box::new(move |row, out: &mut BytesMut| digits::put_decimal(values.value(row), scale, out))
        }
        _ if is_text => return None,
        (DataType::Int16, 21) => fixed::<Int16Type, 6>(array, |value| two(value.to_be_bytes())),
        (DataType::Int32, 23) => fixed::<Int32Type, 8>(array, |value| four(value.to_be_bytes())),
        (DataType::Int64, 20) => fixed::<Int64Type, 12>(array, |value| eight(value.to_be_bytes())),
        (DataType::Float32, 700) => fixed::<Float32Type, 8>(array, |value| four(value.to_be_bytes())),
        (DataType::Float64, 701) => fixed::<Float64Type, 12>(array, |value| eight(value.to_be_bytes())),
        (DataType::Decimal128(_, scale), 1700) => {
            let (values, scale) = (array.as_primitive::<Decimal128Type>(), *scale);
            Box::new(move |row, out: &mut BytesMut| digits::put_numeric(values.value(row), scale, out))
        }
        (DataType::Timestamp(TimeUnit::Microsecond, _), 1114 | 1184) => {
            let values = array.as_primitive::<TimestampMicrosecondType>();
            Box::new(move |row, out: &mut BytesMut| {
                out.put_slice(&eight(timestamp::to_wire(values.value(row))?.to_be_bytes()));
                Ok(())
            })
        }
        _ => return None,
    })
}

fn text<'a>(read: impl Fn(usize) -> &'a str + 'a) -> Cell<'a> {
    Box::new(move |row, out: &mut BytesMut| put_sized(read(row).as_bytes(), out))
}

fn whole<'a, T>(array: &'a dyn Array) -> Cell<'a>
where
    T: ArrowPrimitiveType,
    i64: From<T::Native>,
{
    let values: &PrimitiveArray<T> = array.as_primitive();
    Box::new(move |row, out: &mut BytesMut| {
        digits::put_integer(i64::from(values.value(row)), out);
        Ok(())
    })
}

fn fixed<'a, T: ArrowPrimitiveType, const N: usize>(array: &'a dyn Array, bytes: impl Fn(T::Native) -> [u8; N] + 'a) -> Cell<'a> {
    let values: &PrimitiveArray<T> = array.as_primitive();
    Box::new(move |row, out: &mut BytesMut| {
        out.put_slice(&bytes(values.value(row)));
        Ok(())
    })
}

fn put_sized(bytes: &[u8], out: &mut BytesMut) -> Result<(), Diagnosis> {
    let length = i32::try_from(bytes.len()).map_err(|_cause| too_large())?;
    out.reserve(4 + bytes.len());
    out.put_slice(&length.to_be_bytes());
    out.put_slice(bytes);
    Ok(())
}

fn two([a, b]: [u8; 2]) -> [u8; 6] {
    [0, 0, 0, 2, a, b]
}

fn four([a, b, c, d]: [u8; 4]) -> [u8; 8] {
    [0, 0, 0, 4, a, b, c, d]
}

fn eight([a, b, c, d, e, f, g, h]: [u8; 8]) -> [u8; 12] {
    [0, 0, 0, 8, a, b, c, d, e, f, g, h]
}
