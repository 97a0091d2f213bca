//! Text columns: text itself, and every type that Tributary carries as its canonical text.

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use bytes::{BufMut, BytesMut};

use super::{Cell, Target, mismatch};
use crate::error::Diagnosis;
use crate::format::network::{Network, read_mac};
use crate::format::{DisplaySettings, bit, integer, lsn, money, numeric, time, uuid};

/// Writes the binary form of a value from its text.
type FromText = fn(&str, &mut BytesMut) -> Result<(), Diagnosis>;

/// The writer of a text column.
pub(super) fn cell<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    match array.data_type() {
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            choose(array, target, move |row| values.value(row))
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>();
            choose(array, target, move |row| values.value(row))
        }
        DataType::Utf8View => {
            let values = array.as_string_view();
            choose(array, target, move |row| values.value(row))
        }
        _ => Err(mismatch(array, target)),
    }
}

fn choose<'a>(array: &dyn Array, target: Target<'a>, read: impl Fn(usize) -> &'a str + 'a) -> Result<Cell<'a>, Diagnosis> {
    if target.is_text() {
        return Ok(Box::new(move |row, out| {
            out.put_slice(read(row).as_bytes());
            Ok(())
        }));
    }
    let write = binary_writer(target.pg_type.oid).ok_or_else(|| mismatch(array, target))?;
    Ok(Box::new(move |row, out| write(read(row), out)))
}

/// How a type that travels as text inside the engine is written in binary; `None` for types with no binary form here.
fn binary_writer(oid: u32) -> Option<FromText> {
    let writer: FromText = match oid {
        1700 => |text, out| numeric::write_binary(&numeric::read(text)?, out),
        2950 => |text, out| {
            out.put_slice(&uuid::read(text)?);
            Ok(())
        },
        3802 => |text, out| {
            // `jsonb` in binary is its text after a version number.
            out.put_u8(1);
            out.put_slice(text.as_bytes());
            Ok(())
        },
        650 => |text, out| {
            Network::read_cidr(text)?.write_binary(out);
            Ok(())
        },
        869 => |text, out| {
            Network::read_inet(text)?.write_binary(out);
            Ok(())
        },
        829 => |text, out| {
            out.put_slice(&read_mac::<6>("macaddr", text)?);
            Ok(())
        },
        774 => |text, out| {
            out.put_slice(&read_mac::<8>("macaddr8", text)?);
            Ok(())
        },
        // The form of `void` is empty.
        2278 => |_, _| Ok(()),
        790 => |text, out| {
            out.put_i64(money::read(text)?);
            Ok(())
        },
        // The zone of a canonical `timetz` is numeric, so the session's settings play no part.
        1266 => |text, out| time::write_zoned_binary(time::read_zoned(text, &DisplaySettings::default())?, out),
        1560 | 1562 => bit::write_binary,
        28 => |text, out| {
            out.put_u32(integer::read_oid(text)?);
            Ok(())
        },
        3220 => |text, out| {
            out.put_u64(lsn::read(text)?);
            Ok(())
        },
        4072 => |text, out| {
            out.put_u8(1);
            out.put_slice(text.as_bytes());
            Ok(())
        },
        _ => return None,
    };
    Some(writer)
}
