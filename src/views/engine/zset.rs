//! Rows with weights: how often each came, or below zero, left. Rows as bytes, by which they are told apart and kept.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, make_array};
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

/// Rows that came or left, each with its weight.
#[derive(Debug, Clone)]
pub(super) struct Delta {
    pub(super) batch: RecordBatch,
    pub(super) weights: Vec<i64>,
}

impl Delta {
    /// The rows whose mask is set.
    pub(super) fn kept(&self, mask: &[bool]) -> Result<Self, ArrowError> {
        if mask.iter().all(|is_kept| *is_kept) {
            return Ok(self.clone());
        }
        let weights = self.weights.iter().zip(mask).filter(|(_, is_kept)| **is_kept).map(|(weight, _)| *weight).collect();
        Ok(Self { batch: filter_record_batch(&self.batch, &BooleanArray::from(mask.to_vec()))?, weights })
    }
}

/// Rows as bytes and back: two rows are one where all bits of their values are.
#[derive(Debug)]
pub(super) struct Codec {
    converter: RowConverter,
}

/// Rows as bytes.
pub(super) struct Encoded(Option<Rows>);

impl Encoded {
    /// The bytes of a row, which must be there.
    pub(super) fn row(&self, row: usize) -> &[u8] {
        self.0.as_ref().map_or(&[], |rows| rows.row(row).data())
    }
}

impl Codec {
    /// Of columns of these types.
    ///
    /// # Errors
    /// A type that has no such bytes.
    pub(super) fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self, ArrowError> {
        let fields: Vec<SortField> = types.into_iter().map(SortField::new).collect();
        Ok(Self { converter: RowConverter::new(fields)? })
    }

    /// Of the columns of a schema.
    ///
    /// # Errors
    /// A type that has no such bytes.
    pub(super) fn of(schema: &Schema) -> Result<Self, ArrowError> {
        Self::new(schema.fields().iter().map(|field| field.data_type().clone()))
    }

    /// The bytes of the rows of these columns.
    ///
    /// # Errors
    /// Columns of other types.
    pub(super) fn encode(&self, columns: &[ArrayRef]) -> Result<Encoded, ArrowError> {
        // Without columns the number of rows is not known, and all of them are one.
        if columns.is_empty() {
            return Ok(Encoded(None));
        }
        self.converter.convert_columns(columns).map(|rows| Encoded(Some(rows)))
    }

    /// The columns of rows that this codec has encoded.
    ///
    /// # Errors
    /// Bytes that are none of a row.
    pub(super) fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, ArrowError> {
        let parser = self.converter.parser();
        let rows: Vec<&[u8]> = rows.into_iter().collect();
        self.converter.convert_rows(rows.iter().map(|bytes| parser.parse(bytes)))
    }
}

/// Whether values of a type can be told apart by their bytes: not floats, of which two may be equal and differ.
pub(in crate::views) fn is_told_apart(data_type: &DataType) -> bool {
    !has_float(data_type) && has_bytes(data_type)
}

/// Whether a type has a form as bytes.
pub(super) fn has_bytes(data_type: &DataType) -> bool {
    RowConverter::supports_fields(&[SortField::new(data_type.clone())])
}

/// Whether a type is a float, or has some inside.
pub(super) fn has_float(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => has_float(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_float(field.data_type())),
        DataType::Dictionary(_, values) => has_float(values),
        other => other.is_floating(),
    }
}

/// A schema of these fields, any of which may be NULL: what the engine knows of NULL is a promise about results that nothing here needs.
pub(super) fn loose<'a>(fields: impl IntoIterator<Item = &'a Arc<Field>>) -> SchemaRef {
    let fields: Vec<Field> = fields.into_iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new(fields))
}

/// A batch of these columns, whose types may differ from those of the schema in what items of lists know of themselves.
///
/// # Errors
/// Columns of other types, and of another length.
pub(in crate::views) fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
    let fitted = columns.into_iter().zip(schema.fields()).map(|(array, field)| {
        let wanted = field.data_type();
        if array.data_type() == wanted || !array.data_type().equals_datatype(wanted) {
            return Ok(array);
        }
        Ok(make_array(array.to_data().into_builder().data_type(wanted.clone()).build()?))
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), fitted.collect::<Result<_, ArrowError>>()?, &options)
}

/// The same rows with each one once, under the sum of its weights, and without those that both came and left.
///
/// # Errors
/// A type that has no form as bytes.
pub(super) fn consolidated(deltas: Vec<Delta>) -> Result<Vec<Delta>, ArrowError> {
    let weights = || deltas.iter().flat_map(|delta| &delta.weights);
    let Some(first) = deltas.first() else { return Ok(deltas) };
    // Nothing is taken back.
    if weights().all(|weight| *weight > 0) || weights().all(|weight| *weight < 0) {
        return Ok(deltas);
    }
    let codec = Codec::of(&first.batch.schema())?;
    let encoded = deltas.iter().map(|delta| codec.encode(delta.batch.columns())).collect::<Result<Vec<_>, _>>()?;
    // The sum of the weights of a row, and where it stands first.
    let mut net: HashMap<&[u8], (i64, usize, usize)> = HashMap::new();
    for (at, (delta, encoded)) in deltas.iter().zip(&encoded).enumerate() {
        for (row, weight) in delta.weights.iter().enumerate() {
            net.entry(encoded.row(row)).or_insert((0, at, row)).0 += weight;
        }
    }
    let mut sums: Vec<Vec<i64>> = deltas.iter().map(|delta| vec![0; delta.weights.len()]).collect();
    for (weight, at, row) in net.into_values() {
        if let Some(sum) = sums.get_mut(at).and_then(|sums| sums.get_mut(row)) {
            *sum = weight;
        }
    }
    let mut kept = Vec::with_capacity(deltas.len());
    for (delta, weights) in deltas.into_iter().zip(sums) {
        let mask: Vec<bool> = weights.iter().map(|weight| *weight != 0).collect();
        let delta = Delta { batch: delta.batch, weights }.kept(&mask)?;
        if !delta.weights.is_empty() {
            kept.push(delta);
        }
    }
    Ok(kept)
}

/// The rows that came (with 1) or left (with -1), each as often as it did.
///
/// # Errors
/// More rows than a batch can have.
pub(super) fn repeated(delta: &Delta, sign: i64) -> Result<Option<RecordBatch>, ArrowError> {
    let rows = picked(&delta.weights, sign, |_| true)?;
    if rows.is_empty() {
        return Ok(None);
    }
    if rows.len() == delta.weights.len() && delta.weights.iter().all(|weight| *weight == sign) {
        return Ok(Some(delta.batch.clone()));
    }
    taken(&delta.batch, &rows).map(Some)
}

/// The numbers of the rows whose weights have a sign, each as often as its weight says.
///
/// # Errors
/// More rows than a batch can have.
pub(super) fn picked(weights: &[i64], sign: i64, is_wanted: impl Fn(usize) -> bool) -> Result<Vec<u32>, ArrowError> {
    let mut rows = Vec::new();
    for (row, weight) in weights.iter().enumerate() {
        let times = weight.saturating_mul(sign);
        if times <= 0 || !is_wanted(row) {
            continue;
        }
        let number = u32::try_from(row).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        let times = usize::try_from(times).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        rows.extend(std::iter::repeat_n(number, times));
    }
    Ok(rows)
}

/// Some rows of a batch, by their numbers.
///
/// # Errors
/// Numbers of rows that are not there.
pub(super) fn taken(batch: &RecordBatch, rows: &[u32]) -> Result<RecordBatch, ArrowError> {
    let numbers = UInt32Array::from(rows.to_vec());
    let columns = batch.columns().iter().map(|column| take(column.as_ref(), &numbers, None));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(batch.schema(), columns.collect::<Result<_, _>>()?, &options)
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::{Float64Type, Int64Type};

    use super::*;

    fn delta(rows: &[(Option<i64>, f64, i64)]) -> Delta {
        let fields = vec![Field::new("a", DataType::Int64, true), Field::new("f", DataType::Float64, true)];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Float64Array>()),
        ];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        Delta { batch, weights: rows.iter().map(|row| row.2).collect() }
    }

    fn rows(deltas: &[Delta]) -> Vec<(Option<i64>, u64, i64)> {
        let mut rows = Vec::new();
        for delta in deltas {
            let (a, f) = (delta.batch.column(0).as_primitive::<Int64Type>(), delta.batch.column(1));
            let f = f.as_primitive::<Float64Type>();
            for (row, weight) in delta.weights.iter().enumerate() {
                rows.push((a.is_valid(row).then(|| a.value(row)), f.value(row).to_bits(), *weight));
            }
        }
        rows.sort_unstable();
        rows
    }

    #[test]
    fn weights_of_equal_rows_add_up_and_nothing_is_left_of_those_that_cancel() {
        let found = consolidated(vec![
            delta(&[(Some(1), 0.5, 1), (None, 0.5, -1), (Some(2), 0.5, 2)]),
            delta(&[(Some(1), 0.5, -1), (None, 0.5, -1), (Some(2), -0.5, 1)]),
        ])
        .unwrap();
        let (half, minus) = (0.5_f64.to_bits(), (-0.5_f64).to_bits());
        assert_eq!(rows(&found), [(None, half, -2), (Some(2), half, 2), (Some(2), minus, 1)]);
        // Zeros of two signs are two rows: a client sees them.
        let found = consolidated(vec![delta(&[(Some(1), 0.0, 1), (Some(1), -0.0, -1)])]).unwrap();
        assert_eq!(found[0].weights.len(), 2);
        assert!(consolidated(vec![delta(&[(Some(1), 0.0, 1)]), delta(&[(Some(1), 0.0, -1)])]).unwrap().is_empty());
    }

    #[test]
    fn rows_come_as_often_as_their_weights_say() {
        let delta = delta(&[(Some(1), 1.0, 2), (Some(2), 1.0, -3), (Some(3), 1.0, 1)]);
        assert_eq!(repeated(&delta, 1).unwrap().unwrap().num_rows(), 3);
        assert_eq!(repeated(&delta, -1).unwrap().unwrap().num_rows(), 3);
        assert_eq!(repeated(&Delta { weights: vec![1, 1, 1], ..delta }, -1).unwrap(), None);
        let none = RecordBatch::try_new_with_options(
            Arc::new(Schema::empty()),
            Vec::new(),
            &RecordBatchOptions::new().with_row_count(Some(2)),
        )
        .unwrap();
        let counted = Delta { batch: none, weights: vec![3, -1] };
        assert_eq!(repeated(&counted, 1).unwrap().unwrap().num_rows(), 3);
        assert_eq!(consolidated(vec![counted]).unwrap()[0].weights, [2]);
    }

    #[test]
    fn rows_are_read_back_from_their_bytes() {
        let codec = Codec::new([DataType::Utf8, DataType::Float64]).unwrap();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![Some("a"), None, Some("")])),
            Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(1.0)])),
        ];
        let encoded = codec.encode(&columns).unwrap();
        let back = codec.decode([encoded.row(2), encoded.row(0), encoded.row(1)]).unwrap();
        assert_eq!(back[0].as_string::<i32>().iter().collect::<Vec<_>>(), [Some(""), Some("a"), None]);
        assert!(back[1].as_primitive::<Float64Type>().value(1).is_sign_negative());
        assert!(is_told_apart(&DataType::Utf8) && !is_told_apart(&DataType::new_list(DataType::Float32, true)));
    }
}
