//! Array builders between two batches. Arrow's own start again from nothing after each array and grow to its size by copying;
//! the batches of a scan are all about as large. [`TextsBuilder`] takes bytes that are only said to be text.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BinaryBuilder, BooleanBuilder, GenericByteArray, GenericByteBuilder,
    PrimitiveBuilder, StringArray,
};
use arrow::datatypes::ByteArrayType;

/// A builder that is used for one batch after the other.
pub(super) trait Refill {
    /// The array built so far. The builder is empty then, with room for another one of the size.
    fn take(&mut self) -> ArrayRef;
}

impl<T: ArrowPrimitiveType> Refill for PrimitiveBuilder<T> {
    fn take(&mut self) -> ArrayRef {
        let array = self.finish();
        *self = Self::with_capacity(array.len()).with_data_type(array.data_type().clone());
        Arc::new(array)
    }
}

impl<T: ByteArrayType> Refill for GenericByteBuilder<T> {
    fn take(&mut self) -> ArrayRef {
        let array = self.finish();
        *self = with_room_like(&array);
        Arc::new(array)
    }
}

impl Refill for BooleanBuilder {
    fn take(&mut self) -> ArrayRef {
        let array = self.finish();
        *self = Self::with_capacity(array.len());
        Arc::new(array)
    }
}

/// A column of text from bytes that a store calls text. Whether they are UTF-8 is found out once for a whole batch, end to end:
/// value by value the check costs several times as much, because most texts are short.
#[derive(Debug)]
pub(super) struct TextsBuilder(BinaryBuilder);

/// A value that is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotUtf8 {
    /// How many of its bytes are valid.
    pub(super) valid_up_to: usize,
}

impl TextsBuilder {
    /// With room for as many values, and as many bytes of all of them.
    pub(super) fn with_capacity(values: usize, bytes: usize) -> Self {
        Self(BinaryBuilder::with_capacity(values, bytes))
    }

    /// Adds a text, unchecked so far.
    #[inline]
    pub(super) fn append_value(&mut self, bytes: &[u8]) {
        self.0.append_value(bytes);
    }

    /// Adds a NULL.
    #[inline]
    pub(super) fn append_null(&mut self) {
        self.0.append_null();
    }

    /// The array built so far. The builder is empty then, with room for another one of the size.
    ///
    /// # Errors
    /// The first value that is not UTF-8; all of them are gone then.
    pub(super) fn take(&mut self) -> Result<StringArray, NotUtf8> {
        let array = self.0.finish();
        self.0 = with_room_like(&array);
        // Bytes that are UTF-8 as a whole, and no value of which starts or ends inside a character, are so one by one.
        StringArray::try_from_binary(array.clone()).map_err(|_without_the_value| first_not_utf8(&array))
    }
}

#[cold]
fn first_not_utf8(array: &BinaryArray) -> NotUtf8 {
    let first = array.iter().flatten().find_map(|bytes| std::str::from_utf8(bytes).err());
    NotUtf8 { valid_up_to: first.map_or(0, |error| error.valid_up_to()) }
}

fn with_room_like<T: ByteArrayType>(array: &GenericByteArray<T>) -> GenericByteBuilder<T> {
    let bytes = array.value_data().len();
    // A little more, because one byte too many would double the room and copy all of it.
    GenericByteBuilder::with_capacity(array.len(), bytes + bytes / 8)
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, StringBuilder, TimestampMicrosecondBuilder};
    use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};

    use super::*;

    #[test]
    fn a_builder_starts_again_with_its_type_and_room() {
        let mut moments = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        for round in 0..3 {
            moments.append_value(round);
            moments.append_null();
            let array = moments.take();
            assert_eq!(array.data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
            let array = array.as_primitive::<TimestampMicrosecondType>();
            assert_eq!((array.len(), array.value(0), array.is_null(1)), (2, round, true));
        }
        assert!(moments.capacity() >= 2);
        let mut texts = StringBuilder::new();
        for text in ["first", "second"] {
            texts.append_value(text);
            assert_eq!(texts.take().as_string::<i32>().iter().collect::<Vec<_>>(), [Some(text)]);
        }
        let mut truths = BooleanBuilder::new();
        for truth in [true, false] {
            truths.append_value(truth);
            assert_eq!(truths.take().as_boolean().iter().collect::<Vec<_>>(), [Some(truth)]);
        }
    }
    /// Texts of up to nine characters of one to four bytes; now and then NULL, cut off inside a character, or broken.
    fn made(seed: &mut u64) -> Option<Vec<u8>> {
        let mut next = |end: u64| {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*seed >> 33) % end
        };
        let characters = next(10);
        let mut bytes: Vec<u8> = Vec::new();
        for _ in 0..characters {
            let alphabet = ["a", "z", "\u{7f}", "é", "ß", "€", "語", "😀", "\0"];
            bytes.extend(alphabet[next(9) as usize].as_bytes());
        }
        match next(40) {
            0 => None,
            1 => {
                bytes.truncate(bytes.len().saturating_sub(1));
                Some(bytes)
            }
            2 => {
                bytes.insert(next(bytes.len() as u64 + 1) as usize, 0x80 + next(0x80) as u8);
                Some(bytes)
            }
            _ => Some(bytes),
        }
    }

    #[test]
    fn texts_are_checked_together_as_one_by_one() {
        let mut seed = 7;
        let mut refused = 0;
        let mut texts = TextsBuilder::with_capacity(0, 0);
        for round in 0..4_000 {
            let values: Vec<Option<Vec<u8>>> = (0..round % 17).map(|_| made(&mut seed)).collect();
            for value in &values {
                match value {
                    Some(bytes) => texts.append_value(bytes),
                    None => texts.append_null(),
                }
            }
            let one_by_one: Result<Vec<Option<&str>>, std::str::Utf8Error> =
                values.iter().map(|value| value.as_deref().map(std::str::from_utf8).transpose()).collect();
            let taken = texts.take();
            match one_by_one {
                Ok(expected) => assert_eq!(taken.unwrap().iter().collect::<Vec<_>>(), expected),
                Err(error) => {
                    refused += 1;
                    assert_eq!(taken.unwrap_err(), NotUtf8 { valid_up_to: error.valid_up_to() }, "{values:?}");
                }
            }
        }
        assert!((500..3_500).contains(&refused), "{refused} of 4000 were refused");
    }

    #[test]
    fn a_character_in_two_values_is_no_text() {
        let mut texts = TextsBuilder::with_capacity(2, 8);
        texts.append_value(b"ab\xc3");
        texts.append_value(b"\xa9");
        assert_eq!(texts.take(), Err(NotUtf8 { valid_up_to: 2 }));
        texts.append_value("é".as_bytes());
        assert_eq!(texts.take().map(|array| array.value(0).to_owned()), Ok("é".to_owned()));
    }
}
