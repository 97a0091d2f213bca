//! Rows of every family in both formats, against bytes written by hand.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array, DictionaryArray, DurationMillisecondArray,
    FixedSizeBinaryArray, Float64Array, Int8Array, Int32Array, Int32Builder, Int64Array, IntervalMonthDayNanoArray, ListArray,
    ListBuilder, MapBuilder, NullArray, StringArray, StringBuilder, StructArray, Time32SecondArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::{Field, Int8Type, Int32Type, IntervalMonthDayNano};

use super::*;
use crate::pgtype::PgField;

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

/// Appends one row of a batch by itself.
fn one(batch: &RecordBatch, place: usize, columns: &[(PgType, Format)], out: &mut BytesMut) -> Result<(), Diagnosis> {
    let targets = columns.iter().copied().zip(batch.columns());
    encode_one(targets, (place, columns.len()), &DisplaySettings::default(), out)
}

#[test]
fn one_row_by_itself_is_the_row_among_others() {
    let decimals = Decimal128Array::from(vec![Some(-5), None, Some(1234)]).with_precision_and_scale(10, 2).unwrap();
    let words: DictionaryArray<Int8Type> = vec![Some("sad"), None, Some("ok")].into_iter().collect();
    let moments = TimestampMicrosecondArray::from(vec![Some(0), None, Some(i64::MAX)]).with_timezone("UTC");
    let uuids = ["00112233-4455-6677-8899-aabbccddeeff", "a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0"];
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let json = StringArray::from(vec![Some("{\"a\": [1]}"), None, Some("null")]);
    let columns: Vec<(PgType, ArrayRef)> = vec![
        (PgType::INT4, Arc::new(Int32Array::from(vec![Some(7), None, Some(-7)]))),
        (PgType::INT8, Arc::new(Int64Array::from(vec![Some(1 << 40), None, Some(0)]))),
        (PgType::TEXT, Arc::new(StringArray::from(vec![Some("žluť"), None, Some("")]))),
        (PgType::BOOL, Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        (PgType::FLOAT8, Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(f64::NAN)]))),
        (PgType::numeric(10, 2), Arc::new(decimals)),
        (PgType::NUMERIC, Arc::new(StringArray::from(vec![Some("1.20"), None, Some("NaN")]))),
        (PgType::TEXT, Arc::new(words)),
        (PgType::TIMESTAMPTZ, Arc::new(moments)),
        (PgType::DATE, Arc::new(Date32Array::from(vec![Some(0), None, Some(-1)]))),
        (PgType::UUID, Arc::new(StringArray::from(vec![Some(uuids[0]), None, Some(uuids[1])]))),
        (PgType::JSON, Arc::new(json.clone())),
        (PgType::JSONB, Arc::new(json)),
        (PgType::INT4.array().unwrap(), Arc::new(lists)),
        (PgType::BYTEA, Arc::new(BinaryArray::from(vec![Some(&b"\x01\xff"[..]), None, Some(&b""[..])]))),
    ];
    let field =
        |(place, (_, array)): (usize, &(PgType, ArrayRef))| Field::new(format!("c{place}"), array.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().enumerate().map(field).collect::<Vec<Field>>()));
    let batch = RecordBatch::try_new(schema.clone(), columns.iter().map(|(_, array)| Arc::clone(array)).collect()).unwrap();
    let outputs: Vec<OutputColumn> = columns.iter().map(|(pg_type, _)| column("c", *pg_type)).collect();
    let (text, binary) = (Format::Text, Format::Binary);
    // All in one format, and every other one in the other.
    for formats in [[text, text], [binary, binary], [text, binary], [binary, text]] {
        let formats: Vec<Format> = formats.into_iter().cycle().take(columns.len()).collect();
        let mut encoder = RowEncoder::new(&outputs, &schema, &formats, &DisplaySettings::default()).unwrap();
        let targets: Vec<(PgType, Format)> = columns.iter().map(|(pg_type, _)| *pg_type).zip(formats.iter().copied()).collect();
        for row in 0..batch.num_rows() {
            let (mut expected, mut found) = (BytesMut::from("before"), BytesMut::from("before"));
            encoder.encode(&batch.slice(row, 1), &mut expected).unwrap();
            one(&batch, row, &targets, &mut found).unwrap();
            assert_eq!(found, expected, "row {row}, {formats:?}");
        }
    }
}

#[test]
fn one_row_that_cannot_be_sent_leaves_nothing() {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Int64, true)]));
    let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec!["x", "y"])), Arc::new(Int64Array::from(vec![1, 1 << 40]))];
    let batch = RecordBatch::try_new(schema, columns).unwrap();
    let binary = |pg_type: PgType| (pg_type, Format::Binary);
    let rows: [(&[(PgType, Format)], &str); 3] = [
        (&[binary(PgType::TEXT), binary(PgType::INT4)], "22003"),
        (&[binary(PgType::TEXT), binary(PgType::UUID)], "0A000"),
        // More than there are.
        (&[binary(PgType::TEXT), binary(PgType::INT8), binary(PgType::TEXT)], "XX000"),
    ];
    for (columns, code) in rows {
        let mut out = BytesMut::from("before");
        assert_eq!(one(&batch, 1, columns, &mut out).unwrap_err().sqlstate, code, "{columns:?}");
        assert_eq!(out.as_ref(), b"before", "{columns:?}");
    }
    let mut out = BytesMut::from("before");
    one(&batch, 0, &[binary(PgType::TEXT), binary(PgType::INT4)], &mut out).unwrap();
    assert_eq!(out.as_ref(), b"beforeD\0\0\0\x13\0\x02\0\0\0\x01x\0\0\0\x04\0\0\0\x01");
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

#[test]
fn temporal_columns_of_every_unit() {
    let seconds = TimestampSecondArray::from(vec![0]);
    let nanos = TimestampNanosecondArray::from(vec![-1]).with_timezone("Europe/Berlin");
    let specials = TimestampMicrosecondArray::from(vec![i64::MAX, i64::MIN, 1_704_164_645_600_000]);
    assert_eq!(texts(Arc::new(seconds), PgType::TIMESTAMP), [some("1970-01-01 00:00:00")]);
    assert_eq!(texts(Arc::new(nanos), PgType::TIMESTAMPTZ), [some("1969-12-31 23:59:59.999999+00")]);
    assert_eq!(
        texts(Arc::new(specials.clone()), PgType::TIMESTAMP),
        [some("infinity"), some("-infinity"), some("2024-01-02 03:04:05.6")]
    );
    let wire: Vec<Option<Vec<u8>>> =
        [i64::MAX, i64::MIN, 757_479_845_600_000].map(|micros: i64| Some(micros.to_be_bytes().to_vec())).to_vec();
    assert_eq!(binaries(Arc::new(specials), PgType::TIMESTAMP), wire);
    assert_eq!(texts(Arc::new(Date64Array::from(vec![86_400_000])), PgType::DATE), [some("1970-01-02")]);
    assert_eq!(texts(Arc::new(Time32SecondArray::from(vec![3_661])), PgType::TIME), [some("01:01:01")]);
    assert_eq!(texts(Arc::new(DurationMillisecondArray::from(vec![-1_500])), PgType::INTERVAL), [some("-00:00:01.5")]);
    let span = IntervalMonthDayNano::new(14, -3, 1_000_000_000);
    let spans = IntervalMonthDayNanoArray::from(vec![Some(span), None]);
    assert_eq!(texts(Arc::new(spans), PgType::INTERVAL), [some("1 year 2 mons -3 days +00:00:01"), None]);
}

#[test]
fn carriers_beyond_the_range_of_postgres_are_errors() {
    for (array, pg_type) in [
        (Arc::new(Date32Array::from(vec![i32::MIN + 1])) as ArrayRef, PgType::DATE),
        (Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN + 1])), PgType::TIMESTAMP),
        (Arc::new(TimestampSecondArray::from(vec![i64::MAX])), PgType::TIMESTAMP),
        (Arc::new(Time64MicrosecondArray::from(vec![86_400_000_001])), PgType::TIME),
    ] {
        for format in [Format::Text, Format::Binary] {
            let schema = Arc::new(Schema::new(vec![Field::new("c", array.data_type().clone(), true)]));
            let batch = RecordBatch::try_new(schema.clone(), vec![array.clone()]).unwrap();
            let mut encoder = RowEncoder::new(&[column("c", pg_type)], &schema, &[format], &DisplaySettings::default()).unwrap();
            let mut out = BytesMut::new();
            assert_eq!(encoder.encode(&batch, &mut out).unwrap_err().sqlstate, "22008", "{pg_type}");
            assert!(out.is_empty());
        }
    }
}

#[test]
fn lists_are_arrays() {
    let numbers = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let int4s = PgType::INT4.array().unwrap();
    assert_eq!(texts(Arc::new(numbers.clone()), int4s), [some("{1,NULL}"), None, some("{}")]);
    let words = |all: &[i32]| Some(all.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>());
    assert_eq!(binaries(Arc::new(numbers), int4s), [words(&[1, 1, 23, 2, 1, 4, 1, -1]), None, words(&[0, 0, 23])]);
    let mut builder = ListBuilder::new(StringBuilder::new());
    builder.append_value([Some("a b"), Some("NULL"), None, Some("")]);
    assert_eq!(texts(Arc::new(builder.finish()), PgType::TEXT.array().unwrap()), [some(r#"{"a b","NULL",NULL,""}"#)]);
}

fn nested(rows: &[&[&[i32]]]) -> ArrayRef {
    let mut builder = ListBuilder::new(ListBuilder::new(Int32Builder::new()));
    for row in rows {
        for inner in *row {
            builder.values().append_value(inner.iter().copied().map(Some));
        }
        builder.append(true);
    }
    Arc::new(builder.finish())
}

#[test]
fn nested_lists_are_dimensions() {
    let int4s = PgType::INT4.array().unwrap();
    let rows = nested(&[&[&[1, 2], &[3, 4]], &[], &[&[], &[]], &[&[5]]]);
    assert_eq!(texts(rows.clone(), int4s), [some("{{1,2},{3,4}}"), some("{}"), some("{}"), some("{{5}}")]);
    let words: Vec<u8> = [2, 0, 23, 2, 1, 2, 1, 4, 1, 4, 2, 4, 3, 4, 4].iter().flat_map(|word: &i32| word.to_be_bytes()).collect();
    assert_eq!(binaries(rows, int4s)[0], Some(words));
    let ragged = nested(&[&[&[1, 2], &[3]]]);
    let schema = Arc::new(Schema::new(vec![Field::new("c", ragged.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(schema.clone(), vec![ragged]).unwrap();
    let mut encoder = RowEncoder::new(&[column("c", int4s)], &schema, &[], &DisplaySettings::default()).unwrap();
    // In text a ragged list is refused too: PostgreSQL could not read it back.
    assert_eq!(encoder.encode(&batch, &mut BytesMut::new()).unwrap_err().sqlstate, "2202E");
}

#[test]
fn structs_are_json() {
    let fields: Vec<(Arc<Field>, ArrayRef)> = vec![
        (Arc::new(Field::new("name", DataType::Utf8, true)), Arc::new(StringArray::from(vec![Some("a\"b"), None]))),
        (Arc::new(Field::new("n", DataType::Float64, true)), Arc::new(Float64Array::from(vec![1.5, f64::NAN]))),
        (
            Arc::new(Field::new("at", DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())), true)),
            Arc::new(TimestampMicrosecondArray::from(vec![0, 1_500_000]).with_timezone("UTC")),
        ),
        (Arc::new(Field::new("raw", DataType::Binary, true)), Arc::new(BinaryArray::from(vec![Some(&b"\x01\xff"[..]), None]))),
        (
            Arc::new(Field::new("doc", DataType::Utf8, true).with_pg_type(PgType::JSONB)),
            Arc::new(StringArray::from(vec![Some("{\"x\": 1}"), None])),
        ),
        (
            Arc::new(Field::new("wide", DataType::Utf8, true).with_pg_type(PgType::NUMERIC)),
            Arc::new(StringArray::from(vec!["1.20", "NaN"])),
        ),
        (
            Arc::new(Field::new_list("tags", Field::new_list_field(DataType::Int32, true), true)),
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None])),
        ),
    ];
    let rows: ArrayRef = Arc::new(StructArray::from(fields));
    let first = concat!(
        r#"{"name":"a\"b","n":1.5,"at":"1970-01-01T00:00:00+00:00","raw":"\\x01ff","doc":{"x": 1},"#,
        r#""wide":1.20,"tags":[1,null]}"#
    );
    let second = concat!(
        r#"{"name":null,"n":"NaN","at":"1970-01-01T00:00:01.5+00:00","raw":null,"doc":null,"#,
        r#""wide":"NaN","tags":null}"#
    );
    assert_eq!(texts(rows.clone(), PgType::JSON), [some(first), some(second)]);
    assert_eq!(binaries(rows.clone(), PgType::JSON)[0].as_deref(), Some(first.as_bytes()));
    let canonical = texts(rows.clone(), PgType::JSONB)[0].clone().unwrap();
    assert_eq!(
        canonical,
        r#"{"n": 1.5, "at": "1970-01-01T00:00:00+00:00", "doc": {"x": 1}, "raw": "\\x01ff", "name": "a\"b", "tags": [1, null], "wide": 1.20}"#
    );
    let binary = binaries(rows.clone(), PgType::JSONB)[0].clone().unwrap();
    assert_eq!((binary[0], &binary[1..]), (1, canonical.as_bytes()));
    let list = ListArray::new(
        Arc::new(Field::new_list_field(rows.data_type().clone(), true)),
        arrow::buffer::OffsetBuffer::from_lengths([2]),
        rows,
        None,
    );
    assert_eq!(texts(Arc::new(list.clone()), PgType::JSON), [Some(format!("[{first},{second}]"))]);
    let quoted = |json: &str| format!("\"{}\"", json.replace('\\', "\\\\").replace('"', "\\\""));
    assert_eq!(texts(Arc::new(list), PgType::JSON.array().unwrap()), [Some(format!("{{{},{}}}", quoted(first), quoted(second)))]);
}

#[test]
fn maps_are_json_objects() {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    builder.keys().append_value("k");
    builder.values().append_value(1);
    builder.keys().append_value("\"");
    builder.values().append_null();
    builder.append(true).unwrap();
    assert_eq!(texts(Arc::new(builder.finish()), PgType::JSON), [some(r#"{"k":1,"\"":null}"#)]);
}

#[test]
fn text_carriers_have_their_own_binary_form() {
    let text = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    for (value, oid, expected) in [
        ("12345.67", 1700, &[0, 3, 0, 1, 0, 0, 0, 2, 0, 1, 9, 41, 26, 44][..]),
        ("10.0.0.1/8", 869, &[2, 8, 0, 4, 10, 0, 0, 1]),
        ("101", 1562, &[0, 0, 0, 3, 0xa0]),
        ("00:00:01+01", 1266, &[0, 0, 0, 0, 0, 15, 0x42, 0x40, 0xff, 0xff, 0xf1, 0xf0]),
        ("$1.00", 790, &[0, 0, 0, 0, 0, 0, 0, 100]),
        ("{\"a\": 1}", 3802, b"\x01{\"a\": 1}"),
        ("sad", 25, b"sad"),
    ] {
        assert_eq!(binaries(text(value), PgType::with_typmod(oid, -1)), [Some(expected.to_vec())], "{value}");
    }
    let schema = Schema::new(vec![Field::new("c", DataType::Utf8, true)]);
    let polygon = [column("c", PgType::with_typmod(604, -1))];
    let refused = RowEncoder::new(&polygon, &schema, &[Format::Binary], &DisplaySettings::default());
    assert_eq!(refused.unwrap_err().sqlstate, "0A000");
}

#[test]
fn sliced_batches_keep_their_rows() {
    let words: DictionaryArray<Int8Type> = vec![Some("a"), None, Some("b")].into_iter().collect();
    assert_eq!(texts(Arc::new(words.slice(1, 2)), PgType::TEXT), [None, some("b")]);
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None, Some(vec![Some(2), Some(3)])]);
    assert_eq!(texts(Arc::new(lists.slice(1, 2)), PgType::INT4.array().unwrap()), [None, some("{2,3}")]);
    let numbers = Int32Array::from(vec![Some(1), None, Some(3)]);
    assert_eq!(texts(Arc::new(numbers.slice(1, 2)), PgType::INT4), [None, some("3")]);
}
