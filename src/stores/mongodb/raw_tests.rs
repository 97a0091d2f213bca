//! Tests of the BSON reader against the driver's own, over made-up documents whole and broken.

use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::compute::concat;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::raw::{RawArray, RawBsonRef, RawDocument, RawElement};
use mongodb::bson::spec::{BinarySubtype, ElementType};
use mongodb::bson::{Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp, doc};

use super::raw::{BsonFields, documents};
use crate::stores::document::build::Conversion;
use crate::stores::document::value::{Decimal, DocumentValue, Elements, Fields, Mismatch, VisitElement, VisitField};
use crate::stores::document::{DocumentBuilder, DocumentField, DocumentType, OnMismatch, extended};

/// What the driver's reader cannot answer for; no real mismatch has this state.
const UNKNOWN: &str = "unknown";

/// A fixed sequence of numbers (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn within(&mut self, range: Range<usize>) -> usize {
        range.start + self.below(range.end - range.start)
    }
}

const TEXTS: [&str; 6] = ["", "a", "née", "with \"quotes\"\n", "nul\0inside", "longer than any machine word, and then some more"];
const DECIMALS: [&str; 6] = ["0", "-1.10", "99999999999999999999", "1E+30", "NaN", "-Infinity"];

fn value(chance: &mut Chance, depth: usize) -> Bson {
    let text = |chance: &mut Chance| TEXTS[chance.below(TEXTS.len())].to_owned();
    let kinds = if depth < 3 { 22 } else { 19 };
    match chance.below(kinds) {
        0 => Bson::Int32(chance.next() as i32),
        1 => Bson::Int64(chance.next() as i64),
        2 => Bson::Double(f64::from_bits(chance.next())),
        3 => Bson::Double(-0.0),
        4 => Bson::String(text(chance)),
        5 => Bson::Symbol(text(chance)),
        6 => Bson::Boolean(chance.below(2) == 0),
        7 => Bson::Null,
        8 => Bson::Undefined,
        9 => Bson::ObjectId(ObjectId::from_bytes([chance.below(256) as u8; 12])),
        10 => Bson::DateTime(DateTime::from_millis(chance.next() as i64 >> chance.below(40))),
        11 => Bson::Decimal128(DECIMALS[chance.below(DECIMALS.len())].parse::<Decimal128>().unwrap()),
        12 => binary(BinarySubtype::Uuid, vec![7; [16, 5][chance.below(2)]]),
        13 => binary(
            [BinarySubtype::Generic, BinarySubtype::BinaryOld, BinarySubtype::UserDefined(200)][chance.below(3)],
            vec![1, 2, 3, 4, 5],
        ),
        14 => Bson::Timestamp(Timestamp { time: chance.next() as u32, increment: chance.next() as u32 }),
        15 => Bson::RegularExpression(Regex { pattern: "^a\"b".try_into().unwrap(), options: "im".try_into().unwrap() }),
        16 => Bson::JavaScriptCode(text(chance)),
        17 => Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: text(chance), scope: doc! { "x": 1, "y": ["z"] } }),
        18 => [Bson::MinKey, Bson::MaxKey][chance.below(2)].clone(),
        19 => Bson::Array((0..chance.below(4)).map(|_| value(chance, depth + 1)).collect()),
        _ => {
            Bson::Document((0..chance.below(4)).map(|_| (name(chance).to_owned(), value(chance, depth + 1))).collect::<Document>())
        }
    }
}

fn binary(subtype: BinarySubtype, bytes: Vec<u8>) -> Bson {
    Bson::Binary(Binary { subtype, bytes })
}

const NAMES: [&str; 12] = ["_id", "n", "d", "price", "t", "at", "place", "list", "mixed", "ü", "", "t2"];

fn name(chance: &mut Chance) -> &'static str {
    NAMES[chance.below(NAMES.len())]
}

/// A document of these fields, which may repeat a name as no `Document` can.
fn bytes_of(fields: &[(&str, Bson)]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for (name, value) in fields {
        let element = doc! { "v": value }.to_vec().unwrap();
        bytes.push(element[4]);
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(&element[6..element.len() - 1]);
    }
    bytes.push(0);
    framed(bytes)
}

/// The same bytes with their length in front and a zero at the end.
fn framed(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = i32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    *bytes.last_mut().unwrap() = 0;
    bytes
}

fn raw(bytes: &[u8]) -> &RawDocument {
    RawDocument::from_bytes(bytes).unwrap()
}

/// A document as the driver's reader sees it.
struct Driver<'a>(&'a RawDocument);

struct DriverList<'a>(&'a RawArray);

impl Fields for Driver<'_> {
    fn visit(&self, visit: &mut VisitField<'_>) -> Result<(), Box<Mismatch>> {
        for element in self.0.iter_elements() {
            let element = element.map_err(|error| Mismatch::new("malformed", error.to_string()))?;
            driven(&element, &mut |value| visit(element.key().as_str(), value))?;
        }
        Ok(())
    }
}

impl Elements for DriverList<'_> {
    fn visit(&self, visit: &mut VisitElement<'_>) -> Result<(), Box<Mismatch>> {
        for element in self.0.iter_elements() {
            driven(&element.map_err(|error| Mismatch::new("malformed", error.to_string()))?, visit)?;
        }
        Ok(())
    }
}

fn driven(element: &RawElement<'_>, take: &mut VisitElement<'_>) -> Result<(), Box<Mismatch>> {
    let lossy = match element.value() {
        Ok(value) => return driven_value(value, take),
        Err(_) if matches!(element.element_type(), ElementType::String | ElementType::Symbol | ElementType::JavaScriptCode) => {
            element.value_utf8_lossy().map_err(|error| Mismatch::new("malformed", error.to_string()))?
        }
        // The driver's lossy reader can step outside the bytes of a regular expression.
        Err(error) => return Err(Mismatch::new(UNKNOWN, error.to_string())),
    };
    let mut text = String::new();
    driven_value(lossy.as_raw_bson_ref(), &mut |value| extended::write(&value, &mut text))?;
    take(DocumentValue::Other("text that is not UTF-8", &text))
}

fn driven_value(value: RawBsonRef<'_>, take: &mut VisitElement<'_>) -> Result<(), Box<Mismatch>> {
    let quoted = |text: &str| {
        let mut quoted = String::new();
        extended::write_text(text, &mut quoted);
        quoted
    };
    take(match value {
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => DocumentValue::Text(text),
        RawBsonRef::Int32(number) => DocumentValue::Int(i64::from(number)),
        RawBsonRef::Int64(number) => DocumentValue::Int(number),
        RawBsonRef::Double(number) => DocumentValue::Double(number),
        RawBsonRef::Boolean(truth) => DocumentValue::Bool(truth),
        RawBsonRef::ObjectId(id) => DocumentValue::ObjectId(id.bytes()),
        RawBsonRef::DateTime(moment) => DocumentValue::Date(moment.timestamp_millis()),
        RawBsonRef::Decimal128(number) => DocumentValue::Decimal(spelled(&number.to_string())),
        RawBsonRef::Null | RawBsonRef::Undefined => DocumentValue::Null,
        RawBsonRef::Binary(binary) => match (binary.subtype, <[u8; 16]>::try_from(binary.bytes)) {
            (BinarySubtype::Uuid, Ok(bytes)) => DocumentValue::Uuid(bytes),
            (subtype, _) => DocumentValue::Binary(binary.bytes, u8::from(subtype)),
        },
        RawBsonRef::Document(document) => return take(DocumentValue::Document(&Driver(document))),
        RawBsonRef::Array(array) => return take(DocumentValue::List(&DriverList(array))),
        RawBsonRef::Timestamp(Timestamp { time, increment }) => {
            return take(DocumentValue::Other("timestamp", &format!("{{\"$timestamp\":{{\"t\":{time},\"i\":{increment}}}}}")));
        }
        RawBsonRef::RegularExpression(regex) => {
            let (pattern, options) = (quoted(regex.pattern.as_str()), quoted(regex.options.as_str()));
            let text = format!("{{\"$regularExpression\":{{\"pattern\":{pattern},\"options\":{options}}}}}");
            return take(DocumentValue::Other("regular expression", &text));
        }
        RawBsonRef::JavaScriptCode(code) => {
            return take(DocumentValue::Other("code", &format!("{{\"$code\":{}}}", quoted(code))));
        }
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            let mut scope = String::new();
            extended::write_document(&Driver(code.scope), &mut scope)?;
            let text = format!("{{\"$code\":{},\"$scope\":{scope}}}", quoted(code.code));
            return take(DocumentValue::Other("code with scope", &text));
        }
        RawBsonRef::MinKey => DocumentValue::Other("minKey", "{\"$minKey\":1}"),
        RawBsonRef::MaxKey => DocumentValue::Other("maxKey", "{\"$maxKey\":1}"),
        RawBsonRef::DbPointer(_) => return Err(Mismatch::new(UNKNOWN, "is a dbPointer, into which the driver gives no look")),
    })
}

/// A decimal from the driver's spelling of it.
fn spelled(text: &str) -> Decimal {
    match text {
        "NaN" | "-NaN" => return Decimal::NaN,
        "Infinity" => return Decimal::Infinity,
        "-Infinity" => return Decimal::NegativeInfinity,
        _ => {}
    }
    let (mantissa, exponent) = text.split_once('E').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.parse::<i32>().unwrap() - i32::try_from(fraction.len()).unwrap();
    Decimal::Finite { unscaled: format!("{whole}{fraction}").parse().unwrap(), exponent }
}

/// Every name, kind and value of a document as text.
fn shown(document: &dyn Fields) -> Result<String, Box<Mismatch>> {
    let mut text = String::new();
    document.visit(&mut |name, value| {
        text.push_str(&format!("{name:?} {} ", value.kind()));
        extended::write(&value, &mut text)?;
        text.push('\n');
        Ok(())
    })?;
    Ok(text)
}

#[test]
fn every_document_reads_as_with_the_driver() {
    let mut chance = Chance(1);
    for _ in 0..3_000 {
        let fields: Vec<_> = (0..chance.below(12)).map(|_| (name(&mut chance), value(&mut chance, 0))).collect();
        let bytes = bytes_of(&fields);
        assert_eq!(shown(&BsonFields(raw(&bytes))), shown(&Driver(raw(&bytes))), "{fields:?}");
    }
}

#[test]
fn broken_documents_end_in_errors_or_in_what_the_driver_reads() {
    let mut chance = Chance(2);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..300 {
        let fields: Vec<_> = (0..chance.within(1..7)).map(|_| (name(&mut chance), value(&mut chance, 1))).collect();
        let whole = bytes_of(&fields);
        let mut broken: Vec<Vec<u8>> = (5..whole.len()).map(|length| framed(whole[..length].to_vec())).collect();
        for _ in 0..100 {
            let mut bytes = whole.clone();
            for _ in 0..chance.within(1..4) {
                let place = chance.within(4..bytes.len());
                bytes[place] = [0, 1, 0x7f, 0x80, 0xff, chance.below(256) as u8][chance.below(6)];
            }
            broken.push(framed(bytes));
        }
        for bytes in broken {
            let ours = shown(&BsonFields(raw(&bytes)));
            match shown(&Driver(raw(&bytes))) {
                Ok(expected) => {
                    read += 1;
                    assert_eq!(ours.as_deref(), Ok(expected.as_str()), "{bytes:?}");
                }
                Err(mismatch) => refused += u32::from(mismatch.sqlstate != UNKNOWN && ours.is_err()),
            }
            // Whether it can be put into columns does not depend on which columns there are.
            let mut builder = builder(&[], OnMismatch::Null);
            let none = builder.append(&BsonFields(raw(&bytes)));
            let mut builder = self::builder(&columns(), OnMismatch::Null);
            let all = builder.append(&BsonFields(raw(&bytes)));
            assert!(all.is_ok() || ours.is_err(), "{bytes:?}");
            assert!(none.is_ok() || all.is_err(), "{bytes:?}");
        }
    }
    assert!(read > 5_000 && refused > 5_000, "{read} read, {refused} refused");
}

#[test]
fn bytes_that_are_no_bson_are_refused() {
    let element = |kind: u8, value: &[u8]| {
        let mut bytes = vec![0, 0, 0, 0, kind, b'v', 0];
        bytes.extend_from_slice(value);
        bytes.push(0);
        framed(bytes)
    };
    let rows: &[(u8, &[u8])] = &[
        // A length of nothing, one below zero, one too large, and a string without its zero.
        (0x02, &[0, 0, 0, 0]),
        (0x02, &[0xff, 0xff, 0xff, 0xff, 0]),
        (0x02, &[9, 0, 0, 0, b'a', 0]),
        (0x02, &[2, 0, 0, 0, b'a', b'b']),
        (0x01, &[0; 7]),
        (0x08, &[2]),
        (0x10, &[0; 3]),
        (0x13, &[0; 15]),
        (0x07, &[0; 11]),
        // Documents whose lengths are too small, too large, and past the end, and one without its zero.
        (0x03, &[4, 0, 0, 0]),
        (0x03, &[0xff, 0xff, 0xff, 0x7f, 0]),
        (0x04, &[0xff, 0xff, 0xff, 0xff, 0]),
        (0x03, &[5, 0, 0, 0, 1]),
        (0x05, &[0xff, 0xff, 0xff, 0xff, 0]),
        (0x05, &[5, 0, 0, 0, 2, 3, 0, 0, 0, 1]),
        (0x0b, b"pattern without options"),
        (0x0c, &[1, 0, 0, 0, 0, 1, 2, 3]),
        (0x0f, &[3, 0, 0, 0]),
        (0x0f, &[15, 0, 0, 0, 1, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0]),
        (0x00, &[]),
        (0x14, &[]),
        (0x80, &[]),
    ];
    for (kind, value) in rows {
        let bytes = element(*kind, value);
        let refusal = BsonFields(raw(&bytes)).visit(&mut |_, value| extended::write(&value, &mut String::new())).unwrap_err();
        assert_eq!((refusal.sqlstate, refusal.rule.as_str()), ("22000", "is malformed BSON"), "{kind} {value:?}");
    }
    // The zero that ends a document is not that of a name.
    let unending = framed(vec![0, 0, 0, 0, 0x0a, b'v', 0]);
    assert!(shown(&BsonFields(raw(&unending))).is_err());
}

#[test]
fn a_deprecated_pointer_shows_where_it_points() {
    let mut bytes = vec![0, 0, 0, 0, 0x0c, b'v', 0, 5, 0, 0, 0, b'd', b'b', b'.', b'c', 0];
    bytes.extend_from_slice(&[0xab; 12]);
    bytes.push(0);
    let text = shown(&BsonFields(raw(&framed(bytes)))).unwrap();
    assert_eq!(text, "\"v\" dbPointer {\"$dbPointer\":{\"$ref\":\"db.c\",\"$id\":{\"$oid\":\"abababababababababababab\"}}}\n");
}

#[test]
fn a_batch_is_its_documents_and_nothing_else() {
    let read = |array: Bson| {
        let bytes = doc! { "v": array }.to_vec().unwrap();
        let array = raw(&bytes).get_array("v").unwrap();
        documents(array).map(|document| document.map(|document| shown(&BsonFields(document)).unwrap())).collect::<Vec<_>>()
    };
    let many: Vec<Bson> = (0..120).map(|number| Bson::Document(doc! { "n": number })).collect();
    let expected: Vec<_> = (0..120).map(|number| Ok(format!("\"n\" integer {number}\n"))).collect();
    assert_eq!(read(Bson::Array(many)), expected);
    assert_eq!(read(Bson::Array(vec![])), []);
    let mixed = read(Bson::Array(vec![Bson::Document(doc! {}), Bson::Int32(5), Bson::Document(doc! {})]));
    assert_eq!(mixed.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
}

fn field(name: &str, kind: DocumentType) -> DocumentField {
    DocumentField { name: name.to_owned(), kind }
}

/// Columns of every type, some of which no document has.
fn columns() -> Vec<DocumentField> {
    let place = vec![field("t", DocumentType::Text), field("n", DocumentType::Int), field("place", DocumentType::Mixed)];
    vec![
        field("missing", DocumentType::Int),
        field("n", DocumentType::Int),
        field("_id", DocumentType::ObjectId),
        field("d", DocumentType::Double),
        field("price", DocumentType::Decimal { scale: 2 }),
        field("t", DocumentType::Text),
        field("at", DocumentType::Date),
        field("place", DocumentType::Struct(place.clone())),
        field("list", DocumentType::List(Box::new(DocumentType::Struct(place)))),
        field("mixed", DocumentType::Mixed),
        field("ü", DocumentType::Bool),
        field("", DocumentType::Binary),
        field("nul\0", DocumentType::Int),
    ]
}

fn builder(fields: &[DocumentField], on_mismatch: OnMismatch) -> DocumentBuilder {
    DocumentBuilder::new(fields, true, Conversion { on_mismatch, texts: false })
}

/// The columns of some documents, by the search for each name that the first document of a builder needs.
fn searched(documents: &[Vec<u8>]) -> Vec<ArrayRef> {
    let single = |bytes: &Vec<u8>| {
        let mut builder = builder(&columns(), OnMismatch::Null);
        builder.append(&Driver(raw(bytes))).unwrap();
        builder.finish().unwrap()
    };
    let rows: Vec<Vec<ArrayRef>> = documents.iter().map(single).collect();
    let column = |place: usize| {
        let parts: Vec<_> = rows.iter().map(|row| row[place].as_ref()).collect();
        concat(&parts).unwrap()
    };
    (0..=columns().len()).map(column).collect()
}

/// A document in which most fields fit and stand in a usual order, as in a real collection, and some are missing, repeated,
/// out of place or of another type.
fn usual(chance: &mut Chance) -> Vec<(&'static str, Bson)> {
    let nested = |chance: &mut Chance| doc! { "n": chance.next() as i32, "t": "x", "place": chance.below(3) as i32 };
    let mut fields: Vec<(&'static str, Bson)> = vec![
        ("_id", Bson::ObjectId(ObjectId::from_bytes([9; 12]))),
        ("n", Bson::Int64(chance.next() as i64)),
        ("price", Bson::Decimal128("12.5".parse().unwrap())),
        ("t", Bson::String(TEXTS[chance.below(4)].to_owned())),
        ("t2", Bson::String("not asked for".to_owned())),
        ("at", Bson::DateTime(DateTime::from_millis(chance.below(1 << 40) as i64))),
        ("place", Bson::Document(nested(chance))),
        ("list", Bson::Array(vec![Bson::Document(nested(chance)), Bson::Null, Bson::Document(nested(chance))])),
        ("d", Bson::Double(0.5)),
        ("", binary(BinarySubtype::Generic, vec![1, 2])),
    ];
    match chance.below(8) {
        0 => drop(fields.remove(chance.below(fields.len()))),
        1 => {
            let (from, to) = (chance.below(fields.len()), chance.below(fields.len()));
            fields.swap(from, to);
        }
        2 => {
            let (from, to) = (chance.below(fields.len()), chance.below(fields.len()));
            let again = (fields[from].0, value(chance, 1));
            fields.insert(to, again);
        }
        3 => {
            let place = chance.below(fields.len());
            fields[place].1 = value(chance, 1);
        }
        4 => fields = (0..chance.below(9)).map(|_| (name(chance), value(chance, 1))).collect(),
        5 => fields.reverse(),
        _ => {}
    }
    fields
}

#[test]
fn expected_names_lead_to_the_same_columns_as_a_search() {
    let mut chance = Chance(3);
    let documents: Vec<Vec<u8>> = (0..1_500).map(|_| bytes_of(&usual(&mut chance))).collect();
    let mut fast = builder(&columns(), OnMismatch::Null);
    for batch in documents.chunks(500) {
        batch.iter().for_each(|bytes| fast.append(&BsonFields(raw(bytes))).unwrap());
        for (number, (found, expected)) in fast.finish().unwrap().iter().zip(searched(batch)).enumerate() {
            assert_eq!(found, &expected, "column {number}");
        }
    }
}

#[test]
fn mismatches_are_the_same_with_and_without_expectations() {
    let mut chance = Chance(4);
    let fits = |bytes: &Vec<u8>| builder(&columns(), OnMismatch::Error).append(&Driver(raw(bytes))).is_ok();
    let first = (5..).map(|seed| bytes_of(&usual(&mut Chance(seed)))).find(fits).unwrap();
    let mut refused = 0;
    for _ in 0..1_000 {
        let bytes = bytes_of(&usual(&mut chance));
        // One document before it, so that something is expected.
        let mut expecting = builder(&columns(), OnMismatch::Error);
        expecting.append(&BsonFields(raw(&first))).unwrap();
        let mut searching = builder(&columns(), OnMismatch::Error);
        let found = expecting.append(&BsonFields(raw(&bytes)));
        assert_eq!(found, searching.append(&Driver(raw(&bytes))));
        refused += u32::from(found.is_err());
    }
    assert!((50..950).contains(&refused), "{refused} refused");
}

/// Bytes of a document in a document, and so on, around an empty one.
fn nest(depth: usize, kind: u8) -> Vec<u8> {
    (0..depth).fold(framed(vec![0; 5]), |inner, _| {
        let mut field = vec![0, 0, 0, 0, kind, b'a', 0];
        if kind == 0x0f {
            // A length that counts itself, the code, and the scope.
            let length = i32::try_from(4 + 5 + inner.len()).unwrap();
            field.extend(length.to_le_bytes());
            field.extend([1, 0, 0, 0, 0]);
        }
        field.extend(inner);
        field.push(0);
        framed(field)
    })
}

#[test]
fn nesting_has_an_end() {
    for kind in [0x03, 0x04, 0x0f] {
        let told = |depth| {
            let bytes = nest(depth, kind);
            BsonFields(raw(&bytes)).visit(&mut |_, value| extended::write(&value, &mut String::new()))
        };
        assert!(told(200).is_ok(), "{kind}");
        // Deep enough to overflow any stack, were it walked.
        for depth in [201, 5_000] {
            let refusal = told(depth).unwrap_err();
            assert_eq!((refusal.sqlstate, refusal.rule.as_str()), ("54001", "is nested more than 200 levels deep"), "{kind}");
        }
    }
}
