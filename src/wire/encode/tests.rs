//! Rows of every family in both formats, against bytes written by hand.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, FixedSizeBinaryArray, Float64Array, Int8Array, Int32Array,
    Int64Array, NullArray, StringArray, UInt64Array,
};
use arrow::datatypes::{Field, Int8Type};

use super::*;

pub(super) fn column(name: &str, pg_type: PgType) -> OutputColumn {
    OutputColumn { name: name.to_owned(), pg_type, table_oid: 0, column_number: 0 }
}

/// The fields of every row of one column, NULL as `None`.
pub(super) fn fields_of(array: ArrayRef, pg_type: PgType, format: Format, display: &DisplaySettings) -> Vec<Option<Vec<u8>>> {
    let schema = Arc::new(Schema::new(vec![Field::new("c", array.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(schema.clone(), vec![array]).unwrap();
    let mut out = BytesMut::new();
    RowEncoder::new(&[column("c", pg_type)], &schema, &[format], display).unwrap().encode(&batch, &mut out).unwrap();
    let mut rest = out.as_ref();
    let mut fields = Vec::new();
    while let [b'D', tail @ ..] = rest {
        let length = usize::try_from(i32::from_be_bytes(tail[..4].try_into().unwrap())).unwrap();
        let message = &tail[..length];
        assert_eq!(&message[4..6], &[0, 1]);
        let size = i32::from_be_bytes(message[6..10].try_into().unwrap());
        fields.push(usize::try_from(size).ok().map(|size| {
            assert_eq!(message.len(), 10 + size);
            message[10..].to_vec()
        }));
        rest = &tail[length..];
    }
    assert!(rest.is_empty());
    fields
}

pub(super) fn texts(array: ArrayRef, pg_type: PgType) -> Vec<Option<String>> {
    fields_of(array, pg_type, Format::Text, &DisplaySettings::default())
        .into_iter()
        .map(|field| field.map(|bytes| String::from_utf8(bytes).unwrap()))
        .collect()
}

pub(super) fn binaries(array: ArrayRef, pg_type: PgType) -> Vec<Option<Vec<u8>>> {
    fields_of(array, pg_type, Format::Binary, &DisplaySettings::default())
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn a_row_is_one_whole_message() {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)]));
    let batch = RecordBatch::try_new(
        schema.clone(),
        vec![Arc::new(Int32Array::from(vec![Some(7), None])), Arc::new(StringArray::from(vec!["x", "yz"]))],
    )
    .unwrap();
    let columns = [column("a", PgType::INT4), column("b", PgType::TEXT)];
    let mut out = BytesMut::new();
    let formats = [Format::Binary, Format::Text];
    RowEncoder::new(&columns, &schema, &formats, &DisplaySettings::default()).unwrap().encode(&batch, &mut out).unwrap();
    let first = b"D\0\0\0\x13\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x01x";
    let second = b"D\0\0\0\x10\0\x02\xff\xff\xff\xff\0\0\0\x02yz";
    assert_eq!(out.as_ref(), [first.as_slice(), second.as_slice()].concat());
}

#[test]
fn wrong_format_counts_are_a_protocol_violation() {
    let schema = Schema::new(vec![Field::new("a", DataType::Int32, true)]);
    let columns = [column("a", PgType::INT4)];
    let error = RowEncoder::new(&columns, &schema, &[Format::Text; 2], &DisplaySettings::default()).unwrap_err();
    assert_eq!(error.sqlstate, "08P01");
    assert_eq!(error.message, "bind message has 2 result formats but query has 1 columns");
}

#[test]
fn a_value_that_does_not_fit_leaves_no_partial_row() {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Int64, true)]));
    let batch = RecordBatch::try_new(
        schema.clone(),
        vec![Arc::new(StringArray::from(vec!["x", "y"])), Arc::new(Int64Array::from(vec![1, 1 << 40]))],
    )
    .unwrap();
    let columns = [column("a", PgType::TEXT), column("b", PgType::INT4)];
    let mut out = BytesMut::new();
    let mut encoder = RowEncoder::new(&columns, &schema, &[Format::Binary], &DisplaySettings::default()).unwrap();
    let error = encoder.encode(&batch, &mut out).unwrap_err();
    assert_eq!((error.sqlstate.as_str(), error.message.as_str()), ("22003", "integer out of range"));
    assert_eq!(out.as_ref(), b"D\0\0\0\x13\0\x02\0\0\0\x01x\0\0\0\x04\0\0\0\x01");
}

#[test]
fn integers_take_the_width_of_their_announced_type() {
    assert_eq!(binaries(Arc::new(Int8Array::from(vec![Some(-7), None])), PgType::INT2), [Some(vec![0xff, 0xf9]), None]);
    assert_eq!(binaries(Arc::new(Int64Array::from(vec![5])), PgType::OID), [Some(vec![0, 0, 0, 5])]);
    assert_eq!(texts(Arc::new(UInt64Array::from(vec![u64::MAX])), PgType::numeric(20, 0)), [some("18446744073709551615")]);
    assert_eq!(
        binaries(Arc::new(UInt64Array::from(vec![u64::MAX])), PgType::numeric(20, 0)),
        [Some([5u16, 4, 0, 0, 1844, 6744, 737, 955, 1615].iter().flat_map(|word| word.to_be_bytes()).collect())]
    );
    assert_eq!(texts(Arc::new(Int64Array::from(vec![-3])), PgType::numeric(10, 2)), [some("-3.00")]);
}

#[test]
fn scalars_in_text() {
    assert_eq!(texts(Arc::new(BooleanArray::from(vec![true, false])), PgType::BOOL), [some("t"), some("f")]);
    assert_eq!(texts(Arc::new(Float64Array::from(vec![1e20, -0.0])), PgType::FLOAT8), [some("1e+20"), some("-0")]);
    let decimals = Decimal128Array::from(vec![-5, 1234]).with_precision_and_scale(10, 2).unwrap();
    assert_eq!(texts(Arc::new(decimals), PgType::numeric(10, 2)), [some("-0.05"), some("12.34")]);
    let uuid = FixedSizeBinaryArray::try_from_iter([[0xa0u8; 16]].into_iter()).unwrap();
    assert_eq!(texts(Arc::new(uuid.clone()), PgType::UUID), [some("a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0")]);
    assert_eq!(binaries(Arc::new(uuid), PgType::UUID), [Some(vec![0xa0; 16])]);
    let words: DictionaryArray<Int8Type> = vec![Some("a"), None, Some("b"), Some("a")].into_iter().collect();
    assert_eq!(texts(Arc::new(words), PgType::TEXT), [some("a"), None, some("b"), some("a")]);
    assert_eq!(texts(Arc::new(NullArray::new(2)), PgType::TEXT), [None, None]);
}
