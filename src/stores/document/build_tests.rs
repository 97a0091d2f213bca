//! Tests of the document builder.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use serde_json::{Value, json};

use super::build::{Conversion, DocumentBuilder};
use super::json::object;
use super::options::OnMismatch;
use super::types::{DocumentField, DocumentType};
use super::value::{DocumentValue, Elements, Fields, Mismatch, VisitElement, VisitField};

const STRICT: Conversion = Conversion { on_mismatch: OnMismatch::Error, texts: true };

fn field(name: &str, kind: DocumentType) -> DocumentField {
    DocumentField { name: name.to_owned(), kind }
}

fn append_all(builder: &mut DocumentBuilder, documents: &[Value]) {
    for document in documents {
        builder.append(object(document).unwrap()).unwrap();
    }
}

/// A document of values that JSON does not have.
struct Native(Vec<(&'static str, DocumentValue<'static>)>);

impl Fields for Native {
    fn visit(&self, visit: &mut VisitField<'_>) -> Result<(), Box<Mismatch>> {
        self.0.iter().try_for_each(|(name, value)| visit(name, *value))
    }
}

impl Elements for Native {
    fn visit(&self, visit: &mut VisitElement<'_>) -> Result<(), Box<Mismatch>> {
        self.0.iter().try_for_each(|(_, value)| visit(*value))
    }
}

#[test]
fn documents_become_columns_whatever_their_order() {
    let nested = DocumentType::Struct(vec![field("x", DocumentType::Int), field("y", DocumentType::Text)]);
    let fields = [
        field("n", DocumentType::Int),
        field("d", DocumentType::Double),
        field("list", DocumentType::List(Box::new(nested.clone()))),
        field("at", nested),
        field("mixed", DocumentType::Mixed),
    ];
    let mut builder = DocumentBuilder::new(&fields, true, STRICT);
    append_all(
        &mut builder,
        &[
            json!({"n": 1, "d": 2, "list": [{"x": 1}, null, {"y": "b", "x": 2}], "at": {"x": 7, "y": "q"}, "mixed": "s"}),
            json!({"other": 1, "at": null, "list": [], "d": 0.5, "mixed": {"deep": [1]}}),
            json!({"at": {}, "list": null, "n": 3.0}),
        ],
    );
    builder.append_null();
    assert_eq!(builder.rows(), 4);
    let arrays = builder.finish().unwrap();
    assert_eq!(arrays.len(), 6);
    let numbers = arrays[0].as_primitive::<Int64Type>();
    assert_eq!(numbers.iter().collect::<Vec<_>>(), [Some(1), None, Some(3), None]);
    assert_eq!(arrays[1].as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(2.0), Some(0.5), None, None]);
    let list = arrays[2].as_list::<i32>();
    assert_eq!(
        (0..4).map(|row| list.is_valid(row).then(|| list.value_length(row))).collect::<Vec<_>>(),
        [Some(3), Some(0), None, None]
    );
    let items = list.values().as_struct();
    assert_eq!(items.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(1), None, Some(2)]);
    assert!(items.is_null(1));
    let at = arrays[3].as_struct();
    assert_eq!((0..4).map(|row| at.is_valid(row)).collect::<Vec<_>>(), [true, false, true, false]);
    let mixed: Vec<_> = arrays[4].as_string::<i32>().iter().collect();
    assert_eq!(mixed, [Some("\"s\""), Some("{\"deep\":[1]}"), None, None]);
    assert_eq!(arrays[5].as_string::<i32>().value(2), "{\"at\":{},\"list\":null,\"n\":3.0}");
    for (array, field) in arrays.iter().zip(&fields) {
        assert_eq!(array.data_type(), &field.kind.arrow_type());
    }
    append_all(&mut builder, &[json!({"n": 9})]);
    assert_eq!(builder.finish().unwrap()[0].len(), 1);
}

#[test]
fn native_values_reach_their_columns() {
    let fields = [
        field("id", DocumentType::ObjectId),
        field("u", DocumentType::Uuid),
        field("at", DocumentType::Date),
        field("price", DocumentType::Decimal { scale: 2 }),
        field("wide", DocumentType::Numeric),
        field("raw", DocumentType::Binary),
    ];
    let decimal = |unscaled, exponent| DocumentValue::Decimal(super::value::Decimal::Finite { unscaled, exponent });
    let mut builder = DocumentBuilder::new(&fields, false, STRICT);
    let row = Native(vec![
        ("raw", DocumentValue::Binary(b"\x00\xff", 0)),
        ("id", DocumentValue::ObjectId([1; 12])),
        ("u", DocumentValue::Uuid([0x11; 16])),
        ("at", DocumentValue::Date(-1)),
        ("price", decimal(15, -1)),
        ("wide", DocumentValue::Double(0.1)),
        ("id", DocumentValue::Null),
    ]);
    builder.append(&row).unwrap();
    let arrays = builder.finish().unwrap();
    assert_eq!(arrays[0].as_string::<i32>().value(0), "010101010101010101010101");
    assert_eq!(arrays[1].as_string::<i32>().value(0), "11111111-1111-1111-1111-111111111111");
    assert_eq!(arrays[2].as_primitive::<TimestampMicrosecondType>().value(0), -1000);
    assert_eq!(arrays[3].as_primitive::<Decimal128Type>().value(0), 150);
    assert_eq!(arrays[4].as_string::<i32>().value(0), "0.1");
    assert_eq!(arrays[5].as_binary::<i32>().value(0), b"\x00\xff");
    for (array, field) in arrays.iter().zip(&fields) {
        assert_eq!(array.data_type(), &field.kind.arrow_type());
    }
}

#[test]
fn the_mismatch_rule_decides() {
    let inner = DocumentType::Struct(vec![field("n", DocumentType::Int)]);
    let fields = [field("a", inner), field("t", DocumentType::Text)];
    let wrong = json!({"a": {"n": "x"}, "t": 5});
    let mut strict = DocumentBuilder::new(&fields, false, STRICT);
    let mismatch = strict.append(object(&wrong).unwrap()).unwrap_err();
    assert_eq!((mismatch.path.as_str(), mismatch.sqlstate), ("a.n", "22P02"));

    let mut lenient = DocumentBuilder::new(&fields, false, Conversion { on_mismatch: OnMismatch::Null, texts: true });
    lenient.append(object(&wrong).unwrap()).unwrap();
    let arrays = lenient.finish().unwrap();
    assert!(arrays[0].as_struct().column(0).is_null(0));
    assert!(arrays[1].is_null(0));

    let texts = Conversion { on_mismatch: OnMismatch::Text, texts: true };
    let mut textual = DocumentBuilder::new(&fields, false, texts);
    textual.append(object(&json!({"t": {"k": 5}})).unwrap()).unwrap();
    assert_eq!(textual.finish().unwrap()[1].as_string::<i32>().value(0), "{\"k\":5}");
    assert!(textual.append(object(&wrong).unwrap()).is_err());
}

#[test]
fn texts_with_nul_and_numbers_that_lose_digits_are_mismatches() {
    let rows = [
        (DocumentType::Text, json!("a\u{0}b")),
        (DocumentType::Int, json!(1.5)),
        (DocumentType::Bool, json!(1)),
        (DocumentType::List(Box::new(DocumentType::Int)), json!(1)),
        (DocumentType::Date, json!("yesterday")),
        (DocumentType::Uuid, json!("no")),
    ];
    let long = json!({ "f": 9_007_199_254_740_993_i64 });
    let native = Conversion { texts: false, ..STRICT };
    let mut builder = DocumentBuilder::new(&[field("f", DocumentType::Double)], false, native);
    assert_eq!(builder.append(object(&long).unwrap()).unwrap_err().path, "f");
    for (kind, value) in rows {
        let mut builder = DocumentBuilder::new(&[field("f", kind)], false, STRICT);
        assert_eq!(builder.append(object(&json!({ "f": value })).unwrap()).unwrap_err().path, "f");
    }
}
