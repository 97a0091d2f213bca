//! Keys of rows as bytes: two rows have one key if its columns are equal byte for byte, but for the floats, where both zeros are one
//! and all that is no number is one.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

use crate::stores::change::Shape;
use crate::stores::schema::Table;

/// Most bytes of a key that is kept in place: a uuid or a `bigint` with another, so that nodes of the index are copied without a
/// word to the allocator.
const IN_PLACE: usize = 22;

/// The bytes of one key.
#[derive(Clone)]
pub(super) enum Key {
    Short { len: u8, bytes: [u8; IN_PLACE] },
    Long(Arc<[u8]>),
}

impl Key {
    /// A key of these bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let Some(len) = u8::try_from(bytes.len()).ok().filter(|len| usize::from(*len) <= IN_PLACE) else {
            return Self::Long(bytes.into());
        };
        let mut places = [0; IN_PLACE];
        for (place, byte) in places.iter_mut().zip(bytes) {
            *place = *byte;
        }
        Self::Short { len, bytes: places }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        }
    }

    /// How many bytes it takes elsewhere, with the two counts before them.
    pub(super) fn elsewhere(&self) -> usize {
        match self {
            Self::Short { .. } => 0,
            Self::Long(bytes) => bytes.len() + 2 * size_of::<usize>(),
        }
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Key {}

impl Hash for Key {
    // As the bytes that it can be borrowed as.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

/// From the columns of a key to its bytes.
#[derive(Debug)]
pub(super) struct Keys {
    converter: RowConverter,
    /// Ordinals of the columns.
    pub(super) columns: Vec<usize>,
    /// Whether NULL is a value of a key, as any other is.
    takes_null: bool,
    /// Whether floats are told apart by their bits.
    is_exact: bool,
}

impl Keys {
    /// Of the key that the events of a table carry.
    ///
    /// # Errors
    /// A type that has no such bytes.
    pub(super) fn of(table: &Table, shape: &Shape) -> Result<Self, ArrowError> {
        let types = shape.key.iter().filter_map(|ordinal| table.columns.get(*ordinal)).map(|column| column.field.data_type());
        let converter = RowConverter::new(types.map(|data_type| SortField::new(data_type.clone())).collect())?;
        Ok(Self { converter, columns: shape.key.clone(), takes_null: false, is_exact: false })
    }

    /// Of the key of what a view gives, which may have NULL.
    ///
    /// # Errors
    /// A type that has no such bytes.
    pub(super) fn of_view(table: &Table, shape: &Shape, is_exact: bool) -> Result<Self, ArrowError> {
        Ok(Self { takes_null: true, is_exact, ..Self::of(table, shape)? })
    }

    /// Whether a row has no key, because NULL stands in it.
    pub(super) fn lacks_value(&self, columns: &[ArrayRef], row: usize) -> bool {
        !self.takes_null && lacks_value(columns, row)
    }

    /// The bytes of each row of these columns, which are those of the key in its order.
    ///
    /// # Errors
    /// Columns of other types.
    pub(super) fn bytes(&self, columns: &[ArrayRef]) -> Result<Rows, ArrowError> {
        if self.is_exact {
            return self.converter.convert_columns(columns);
        }
        let plain: Vec<ArrayRef> = columns.iter().map(one_zero).collect();
        self.converter.convert_columns(&plain)
    }

    /// The columns of the key among all those of the table.
    ///
    /// # Errors
    /// That there are fewer columns.
    pub(super) fn among(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>, ArrowError> {
        let found: Option<Vec<ArrayRef>> = self.columns.iter().map(|ordinal| columns.get(*ordinal).cloned()).collect();
        found.ok_or_else(|| ArrowError::InvalidArgumentError("rows lack columns of their key".to_owned()))
    }
}

/// Whether a type can be part of a key.
pub(super) fn is_fit(data_type: &DataType) -> bool {
    // Floats within lists would keep their two zeros.
    !(data_type.is_nested() && has_float(data_type)) && RowConverter::supports_fields(&[SortField::new(data_type.clone())])
}

fn has_float(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => has_float(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_float(field.data_type())),
        other => other.is_floating(),
    }
}

/// The same values, with one zero (the sum of both) and one value that is no number.
pub(super) fn one_zero(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            let plain = |value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 };
            Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(plain))
        }
        DataType::Float64 => {
            let plain = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
            Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(plain))
        }
        _ => Arc::clone(column),
    }
}

/// Whether a row has NULL in one of these columns, so that it has no key that tells it from others.
pub(super) fn lacks_value(columns: &[ArrayRef], row: usize) -> bool {
    columns.iter().any(|column| column.is_null(row))
}
