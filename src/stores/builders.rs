//! Array builders between two batches. Arrow's own start again from nothing after each array and grow to its size by copying;
//! the batches of a scan are all about as large.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, BooleanBuilder, GenericByteBuilder, PrimitiveBuilder};
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
        let bytes = array.value_data().len();
        // A little more, because one byte too many would double the room and copy all of it.
        *self = Self::with_capacity(array.len(), bytes + bytes / 8);
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
}
