//! One-dimensional arrays (`array_send`). What an Arrow list cannot tell is refused: more dimensions, other lower bounds.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::FieldRef;

use super::decoder::{Broken, Decoder};
use crate::error::sqlstate;

/// A column of arrays over elements of one type.
pub(super) struct List {
    item: FieldRef,
    element: Box<dyn Decoder>,
    lengths: Vec<usize>,
    present: Vec<bool>,
}

impl List {
    /// A decoder of arrays whose elements `element` decodes into fields like `item`.
    pub(super) fn new(item: FieldRef, element: Box<dyn Decoder>, rows: usize) -> Self {
        Self { item, element, lengths: Vec::with_capacity(rows), present: Vec::with_capacity(rows) }
    }

    fn elements(&mut self, mut rest: &[u8], count: usize) -> Result<(), Box<Broken>> {
        for _ in 0..count {
            let (len, after) = integer(rest)?;
            rest = after;
            if len == -1 {
                self.element.null();
                continue;
            }
            let len = usize::try_from(len).map_err(|_cause| Broken::malformed())?;
            let (value, after) = rest.split_at_checked(len).ok_or_else(Broken::malformed)?;
            self.element.value(value)?;
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { Err(Broken::malformed().into()) }
    }
}

fn integer(bytes: &[u8]) -> Result<(i32, &[u8]), Broken> {
    let (first, rest) = bytes.split_first_chunk::<4>().ok_or_else(Broken::malformed)?;
    Ok((i32::from_be_bytes(*first), rest))
}

impl Decoder for List {
    fn value(&mut self, bytes: &[u8]) -> Result<(), Box<Broken>> {
        let (dimensions, rest) = integer(bytes)?;
        let (_has_nulls, rest) = integer(rest)?;
        let (_element_oid, rest) = integer(rest)?;
        let count = match dimensions {
            0 if rest.is_empty() => 0,
            1 => {
                let (count, rest) = integer(rest)?;
                let (lower_bound, rest) = integer(rest)?;
                if lower_bound != 1 {
                    let rule = format!("is an array whose first subscript is {lower_bound} and not 1");
                    return Err(Broken::new(sqlstate::FEATURE_NOT_SUPPORTED, rule).into());
                }
                let count = usize::try_from(count).map_err(|_cause| Broken::malformed())?;
                // Each element takes at least its length word, so a count beyond that is not to be looped over.
                if count > rest.len() / 4 {
                    return Err(Broken::malformed().into());
                }
                self.elements(rest, count)?;
                count
            }
            2..=6 => {
                let rule = format!("is an array of {dimensions} dimensions; only one is supported");
                return Err(Broken::new(sqlstate::FEATURE_NOT_SUPPORTED, rule).into());
            }
            _ => return Err(Broken::malformed().into()),
        };
        self.lengths.push(count);
        self.present.push(true);
        Ok(())
    }

    fn null(&mut self) {
        self.lengths.push(0);
        self.present.push(false);
    }

    fn finish(&mut self) -> Result<ArrayRef, Box<Broken>> {
        let offsets = OffsetBuffer::from_lengths(std::mem::take(&mut self.lengths));
        let nulls = NullBuffer::from(std::mem::take(&mut self.present));
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        Ok(Arc::new(ListArray::new(self.item.clone(), offsets, self.element.finish()?, nulls)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{DataType, Field, Int32Type};

    use super::super::scalar;
    use super::*;
    use crate::pgtype::PgType;

    fn list() -> List {
        let item = Arc::new(Field::new("item", DataType::Int32, true));
        List::new(item, scalar::int4(PgType::INT4, 4), 4)
    }

    fn words(words: &[i32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn lists_hold_elements_and_nulls() {
        let mut list = list();
        list.value(&words(&[1, 1, 23, 3, 1, 4, 7, -1, 4, 9])).unwrap();
        list.null();
        list.value(&words(&[0, 0, 23])).unwrap();
        let array = list.finish().unwrap();
        let array = array.as_list::<i32>();
        assert_eq!((array.len(), array.null_count()), (3, 1));
        let first: Vec<Option<i32>> = array.value(0).as_primitive::<Int32Type>().iter().collect();
        assert_eq!(first, [Some(7), None, Some(9)]);
        assert!(array.is_null(1) && array.value(2).is_empty());
    }

    #[test]
    fn what_a_list_cannot_tell_is_refused() {
        let rows = [
            (words(&[2, 0, 23, 1, 1, 1, 1, 4, 7]), "0A000"),
            (words(&[1, 0, 23, 1, 0, 4, 7]), "0A000"),
            (words(&[1, 0, 23, i32::MAX, 1, 4, 7]), "HV000"),
            (words(&[1, 0, 23, -1, 1]), "HV000"),
            (words(&[1, 0, 23, 1, 1, 8, 7]), "HV000"),
            (words(&[1, 0, 23, 1, 1, 4, 7, 7]), "HV000"),
            (words(&[9, 0, 23]), "HV000"),
        ];
        for (bytes, sqlstate) in rows {
            assert_eq!(list().value(&bytes).unwrap_err().sqlstate, sqlstate, "{bytes:?}");
        }
    }
}
