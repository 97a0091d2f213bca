//! Comparisons of one column with literals, as tests on its values; where the column lies is `pushdown`'s part.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Binary, Bson, DateTime, Document, Uuid, doc};

use super::types::Shape;
use crate::pgtype::TIMESTAMP_INFINITY;
use crate::stores::predicate::Comparison;
use crate::stores::value::Value;

/// More numbers than this are not looked for by their ranges.
const NUMERIC_LIST_MAX: usize = 100;
/// Milliseconds of the first and last moment of `timestamptz`: 4713-01-01 BC, as in Postgres, and the last millisecond whose
/// microseconds fit 64 bits below `infinity`.
pub(super) const DATE_RANGE: (i64, i64) = (-210_866_803_200_000, (TIMESTAMP_INFINITY - 1) / 1000);

/// Tests on a value that is no array; it is kept when any of them holds.
#[derive(Debug, PartialEq)]
pub(super) struct Core {
    /// Operator documents; none when nothing can pass.
    pub(super) alternatives: Vec<Document>,
    /// Whether the value must also have one of the shape's types, because the operators hold for other types too.
    pub(super) typed: bool,
    /// Whether the tests hold exactly when the comparison is true of what the scan reads.
    pub(super) exact: bool,
}

impl Core {
    fn exact(test: Document) -> Self {
        Self { alternatives: vec![test], typed: false, exact: true }
    }

    fn superset(test: Document) -> Self {
        Self { alternatives: vec![test], typed: false, exact: false }
    }

    fn never() -> Self {
        Self { alternatives: Vec::new(), typed: false, exact: true }
    }

    /// The same tests on values of the column's types only.
    fn typed(mut self) -> Self {
        self.typed = true;
        self
    }

    fn inexact(mut self) -> Self {
        self.exact = false;
        self
    }
}

const OTHER_TYPE: &str = "a literal of another type";

/// The tests of `column op value`.
pub(super) fn compare(shape: Shape, op: Comparison, value: &Value) -> Result<Core, &'static str> {
    match (shape, value) {
        (Shape::Text, Value::Text(text)) => {
            let core = ordered(op, Bson::String(text.clone()));
            // A stored text with a zero byte has a place in the server's order but is no Postgres text.
            Ok(if op == Comparison::Equal { core } else { core.inexact() })
        }
        (Shape::Bool, Value::Bool(truth)) => Ok(ordered(op, Bson::Boolean(*truth))),
        (Shape::Int, Value::Int(number)) => Ok(integer(op, *number)),
        (Shape::Float, Value::Float(number)) => Ok(double(op, *number)),
        (Shape::Decimal | Shape::Numeric, value) => Ok(number(op, nearest_double(value)?)),
        (Shape::Date, Value::TimestampTz(micros)) => Ok(date(op, *micros)),
        (Shape::ObjectId, Value::Text(text)) => object_id(op, text),
        (Shape::Uuid, Value::Text(text)) => {
            let core = ordered(op, uuid(text)?);
            // Order comparisons also hold for binary values of other lengths and subtypes.
            Ok(if op == Comparison::Equal { core } else { core.inexact() })
        }
        (Shape::Bytes, _) => Err("binary values compare by length and subtype first"),
        (Shape::List | Shape::Struct, _) => Err("arrays and documents are compared here"),
        (Shape::Mixed | Shape::Document, _) => Err("the column holds values of several types as text"),
        _ => Err(OTHER_TYPE),
    }
}

/// The tests of `column [NOT] IN (values)`.
pub(super) fn is_in(shape: Shape, values: &[Value], negated: bool) -> Result<Core, &'static str> {
    match shape {
        Shape::Decimal | Shape::Numeric if negated => Ok(Core::superset(Document::new()).typed()),
        Shape::Decimal | Shape::Numeric if values.len() > NUMERIC_LIST_MAX => Err("a long list of inexact numbers"),
        Shape::Decimal | Shape::Numeric => {
            let mut alternatives = Vec::with_capacity(values.len());
            for value in values {
                alternatives.extend(number(Comparison::Equal, nearest_double(value)?).alternatives);
            }
            Ok(Core { alternatives, typed: false, exact: false })
        }
        _ => listed(shape, values, negated),
    }
}

fn listed(shape: Shape, values: &[Value], negated: bool) -> Result<Core, &'static str> {
    let mut items = Vec::with_capacity(values.len());
    for value in values {
        match (shape, value) {
            (Shape::Text, Value::Text(text)) => items.push(Bson::String(text.clone())),
            (Shape::Bool, Value::Bool(truth)) => items.push(Bson::Boolean(*truth)),
            (Shape::Int, Value::Int(number)) => items.push(Bson::Int64(*number)),
            (Shape::Float, Value::Float(number)) => items.push(Bson::Double(*number)),
            (Shape::Uuid, Value::Text(text)) => items.push(uuid(text)?),
            // Text that is no ObjectId equals none.
            (Shape::ObjectId, Value::Text(text)) => items.extend(parse_object_id(text).map(Bson::ObjectId)),
            (Shape::Date, Value::TimestampTz(micros)) => items.extend(whole_millis(*micros).map(Bson::DateTime)),
            _ => return Err(OTHER_TYPE),
        }
    }
    Ok(match (negated, items.is_empty()) {
        (false, true) => Core::never(),
        (false, false) => {
            let exact = matches!(shape, Shape::Text | Shape::Bool | Shape::ObjectId | Shape::Uuid | Shape::Date);
            Core { alternatives: vec![doc! { "$in": items }], typed: false, exact }
        }
        (true, _) => {
            let exact = matches!(shape, Shape::Bool | Shape::ObjectId);
            Core { alternatives: vec![doc! { "$nin": items }], typed: true, exact }
        }
    })
}

/// The tests of `column LIKE pattern`.
pub(super) fn like(shape: Shape, pattern: &str) -> Result<Core, &'static str> {
    if shape != Shape::Text {
        return Err("LIKE on something that is not stored as text");
    }
    let pattern = LikePattern::parse(pattern)?;
    if !pattern.wild {
        return Ok(Core::exact(doc! { "$eq": pattern.prefix }));
    }
    if !pattern.prefix.is_empty() {
        let mut test = doc! { "$gte": pattern.prefix.clone() };
        if let Some(end) = after_prefix(&pattern.prefix) {
            test.insert("$lt", end);
        }
        return Ok(Core::superset(test));
    }
    if pattern.longest.is_empty() || pattern.longest.contains('\0') {
        return Err("LIKE without any literal text");
    }
    Ok(Core::superset(doc! { "$regex": escape_regex(&pattern.longest) }))
}

fn operator(op: Comparison) -> &'static str {
    match op {
        Comparison::Equal => "$eq",
        Comparison::NotEqual => "$ne",
        Comparison::Less => "$lt",
        Comparison::LessOrEqual => "$lte",
        Comparison::Greater => "$gt",
        Comparison::GreaterOrEqual => "$gte",
    }
}

/// A comparison in which the server's order within the type is Postgres' order.
fn ordered(op: Comparison, value: Bson) -> Core {
    let core = Core::exact(doc! { operator(op): value });
    if op == Comparison::NotEqual { core.typed() } else { core }
}

/// Doubles and decimals with a fraction do not fit an integer column, but they pass the server's comparison.
fn integer(op: Comparison, value: i64) -> Core {
    ordered(op, Bson::Int64(value)).inexact()
}

/// Doubles, and the integers that doubles hold, are read as they are; other numbers pass the server's comparison too.
fn double(op: Comparison, value: f64) -> Core {
    if value.is_nan() {
        return number(op, value);
    }
    let mut core = ordered(op, Bson::Double(value)).inexact();
    if matches!(op, Comparison::Greater | Comparison::GreaterOrEqual) {
        core.alternatives.push(doc! { "$eq": f64::NAN });
    }
    core
}

/// A comparison of numbers of any type with the doubles next to the literal: the server compares without rounding, the
/// reader may have to round, and a decimal literal lies between two doubles.
fn number(op: Comparison, value: f64) -> Core {
    let (below, above) = (value.next_down(), value.next_up());
    if value.is_nan() {
        return match op {
            Comparison::Equal => Core::superset(doc! { "$eq": f64::NAN }),
            Comparison::Greater => Core::never(),
            _ => Core::superset(Document::new()).typed(),
        };
    }
    // NaN is above all other numbers for Postgres, and the server lets it pass no order comparison.
    let with_nan = |test| Core { alternatives: vec![test, doc! { "$eq": f64::NAN }], typed: false, exact: false };
    match op {
        Comparison::Equal => Core::superset(doc! { "$gte": below, "$lte": above }),
        Comparison::NotEqual => Core::superset(Document::new()).typed(),
        Comparison::Less | Comparison::LessOrEqual => Core::superset(doc! { "$lte": above }),
        Comparison::Greater | Comparison::GreaterOrEqual => with_nan(doc! { "$gte": below }),
    }
}

fn nearest_double(value: &Value) -> Result<f64, &'static str> {
    match value {
        Value::Float(number) => Ok(*number),
        Value::Int(number) => number.to_string().parse().ok().ok_or(OTHER_TYPE),
        Value::Decimal { unscaled, scale } => format!("{unscaled}e-{scale}").parse().ok().ok_or(OTHER_TYPE),
        Value::Numeric(text) => text.parse().ok().ok_or(OTHER_TYPE),
        _ => Err(OTHER_TYPE),
    }
}

/// A date is a whole number of milliseconds, so a literal between two of them equals none, and is above the lower one.
fn date(op: Comparison, micros: i64) -> Core {
    let (first, last) = DATE_RANGE;
    let moment = |millis| Bson::DateTime(DateTime::from_millis(millis));
    let floor = micros.div_euclid(1000);
    let ceiling = floor + i64::from(micros.rem_euclid(1000) != 0);
    if micros == TIMESTAMP_INFINITY || micros == i64::MIN {
        let above_all = micros == TIMESTAMP_INFINITY;
        let passes = match op {
            Comparison::Equal => false,
            Comparison::NotEqual => true,
            Comparison::Less | Comparison::LessOrEqual => above_all,
            Comparison::Greater | Comparison::GreaterOrEqual => !above_all,
        };
        return if passes { Core::exact(doc! { "$gte": moment(first), "$lte": moment(last) }) } else { Core::never() };
    }
    Core::exact(match op {
        Comparison::Equal if floor != ceiling || floor < first => return Core::never(),
        Comparison::Equal => doc! { "$eq": moment(floor) },
        Comparison::NotEqual if floor != ceiling => doc! { "$gte": moment(first), "$lte": moment(last) },
        Comparison::NotEqual => doc! { "$ne": moment(floor), "$gte": moment(first), "$lte": moment(last) },
        Comparison::Less => doc! { "$lt": moment(ceiling), "$gte": moment(first) },
        Comparison::LessOrEqual => doc! { "$lte": moment(floor), "$gte": moment(first) },
        Comparison::Greater => doc! { "$gt": moment(floor), "$lte": moment(last) },
        Comparison::GreaterOrEqual => doc! { "$gte": moment(ceiling), "$lte": moment(last) },
    })
}

/// Dates that no `timestamptz` can hold.
pub(super) fn dates_outside() -> [Document; 2] {
    let (first, last) = DATE_RANGE;
    [doc! { "$lt": DateTime::from_millis(first) }, doc! { "$gt": DateTime::from_millis(last) }]
}

fn whole_millis(micros: i64) -> Option<DateTime> {
    let finite = micros != TIMESTAMP_INFINITY && micros != i64::MIN;
    (finite && micros.rem_euclid(1000) == 0).then(|| DateTime::from_millis(micros.div_euclid(1000)))
}

/// Text that is no ObjectId, or is one in capital letters, equals none; its order among them is decided here.
fn object_id(op: Comparison, text: &str) -> Result<Core, &'static str> {
    match (parse_object_id(text), op) {
        (Some(id), _) => Ok(ordered(op, Bson::ObjectId(id))),
        (None, Comparison::Equal) => Ok(Core::never()),
        (None, Comparison::NotEqual) => Ok(Core::exact(Document::new()).typed()),
        (None, _) => Err("the literal is not an ObjectId of 24 lower-case digits"),
    }
}

fn parse_object_id(text: &str) -> Option<ObjectId> {
    let canonical = text.len() == 24 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    canonical.then(|| ObjectId::parse_str(text).ok()).flatten()
}

fn uuid(text: &str) -> Result<Bson, &'static str> {
    Uuid::parse_str(text).map(|uuid| Bson::Binary(Binary::from_uuid(uuid))).ok().ok_or("the literal is not a uuid")
}

/// A LIKE pattern taken apart.
struct LikePattern {
    /// The literal text before the first wildcard.
    prefix: String,
    /// Whether there is a wildcard at all.
    wild: bool,
    /// The longest run of literal text anywhere.
    longest: String,
}

impl LikePattern {
    fn parse(pattern: &str) -> Result<Self, &'static str> {
        let mut parsed = Self { prefix: String::new(), wild: false, longest: String::new() };
        let mut run = String::new();
        let mut letters = pattern.chars();
        while let Some(letter) = letters.next() {
            let literal = match letter {
                '%' | '_' => None,
                '\\' => Some(letters.next().ok_or("the pattern ends with its escape character")?),
                other => Some(other),
            };
            match literal {
                Some(literal) if parsed.wild => run.push(literal),
                Some(literal) => parsed.prefix.push(literal),
                None => {
                    parsed.wild = true;
                    parsed.end_run(&mut run);
                }
            }
        }
        parsed.end_run(&mut run);
        Ok(parsed)
    }

    fn end_run(&mut self, run: &mut String) {
        let ended = std::mem::take(run);
        if ended.len() > self.longest.len() {
            self.longest = ended;
        }
    }
}

/// The first text, by code points and hence by UTF-8 bytes, above all texts with this prefix; `None` when there is none.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut letters: Vec<char> = prefix.chars().collect();
    while let Some(last) = letters.pop() {
        let next = if last == '\u{D7FF}' { Some('\u{E000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            letters.push(next);
            return Some(letters.into_iter().collect());
        }
    }
    None
}

/// Text that a regular expression finds as it is.
pub(super) fn escape_regex(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() * 2);
    for letter in text.chars() {
        if letter.is_ascii() && !letter.is_ascii_alphanumeric() {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};

    fn date_of(millis: i64) -> Bson {
        Bson::DateTime(DateTime::from_millis(millis))
    }

    #[test]
    fn dates_compare_by_whole_milliseconds() {
        let (first, last) = (date_of(DATE_RANGE.0), date_of(DATE_RANGE.1));
        let rows = [
            (Equal, 1_000, Some(doc! { "$eq": date_of(1) })),
            (Equal, 1_001, None),
            (Less, 1_000, Some(doc! { "$lt": date_of(1), "$gte": &first })),
            (Less, 1_001, Some(doc! { "$lt": date_of(2), "$gte": &first })),
            (LessOrEqual, 1_999, Some(doc! { "$lte": date_of(1), "$gte": &first })),
            (Greater, 1_001, Some(doc! { "$gt": date_of(1), "$lte": &last })),
            (GreaterOrEqual, 1_001, Some(doc! { "$gte": date_of(2), "$lte": &last })),
            (GreaterOrEqual, -1, Some(doc! { "$gte": date_of(0), "$lte": &last })),
            (LessOrEqual, -1, Some(doc! { "$lte": date_of(-1), "$gte": &first })),
            (NotEqual, 1_001, Some(doc! { "$gte": &first, "$lte": &last })),
            (Less, i64::MAX, Some(doc! { "$gte": &first, "$lte": &last })),
            (GreaterOrEqual, i64::MAX, None),
            (Greater, i64::MIN, Some(doc! { "$gte": &first, "$lte": &last })),
        ];
        for (op, micros, expected) in rows {
            let core = compare(Shape::Date, op, &Value::TimestampTz(micros)).unwrap();
            assert!(core.exact);
            assert_eq!(core.alternatives, expected.into_iter().collect::<Vec<_>>(), "{op:?} {micros}");
        }
    }

    #[test]
    fn numbers_reach_one_double_further_and_include_nan() {
        let five = (5.0_f64.next_down(), 5.0_f64.next_up());
        for (shape, expected) in [(Shape::Float, doc! { "$gt": 5.0 }), (Shape::Numeric, doc! { "$gte": five.0 })] {
            let nan_kept = compare(shape, Greater, &Value::Float(5.0)).unwrap();
            assert_eq!(nan_kept.alternatives.len(), 2);
            assert_eq!(nan_kept.alternatives[0], expected);
        }
        let below = compare(Shape::Numeric, LessOrEqual, &Value::Decimal { unscaled: 50, scale: 1 }).unwrap();
        assert_eq!(below.alternatives, [doc! { "$lte": five.1 }]);
        let all = compare(Shape::Float, NotEqual, &Value::Float(f64::NAN)).unwrap();
        assert!(all.typed && !all.exact);
        assert!(compare(Shape::Float, Greater, &Value::Float(f64::NAN)).unwrap().alternatives.is_empty());
        let huge = compare(Shape::Numeric, Equal, &Value::Numeric(format!("1{}", "0".repeat(400)))).unwrap();
        assert_eq!(huge.alternatives, [doc! { "$gte": f64::MAX, "$lte": f64::INFINITY }]);
    }

    #[test]
    fn object_ids_are_found_by_their_canonical_text_only() {
        let text = "0123456789abcdef01234567";
        let id = Bson::ObjectId(ObjectId::parse_str(text).unwrap());
        let rows = [
            (Equal, text, Some(vec![doc! { "$eq": &id }])),
            (Less, text, Some(vec![doc! { "$lt": &id }])),
            (Equal, "0123456789ABCDEF01234567", Some(vec![])),
            (Equal, "x", Some(vec![])),
            (NotEqual, "x", Some(vec![doc! {}])),
            (Less, "x", None),
        ];
        for (op, text, expected) in rows {
            let found = compare(Shape::ObjectId, op, &Value::Text(text.to_owned()));
            assert_eq!(found.ok().map(|core| core.alternatives), expected, "{op:?} {text}");
        }
        let list = [Value::Text("x".to_owned()), Value::Text(text.to_owned())];
        assert_eq!(is_in(Shape::ObjectId, &list, false).unwrap().alternatives, [doc! { "$in": [&id] }]);
        assert!(is_in(Shape::ObjectId, &list[..1], false).unwrap().alternatives.is_empty());
    }

    #[test]
    fn like_patterns_become_ranges() {
        let rows = [
            ("abc", Some((doc! { "$eq": "abc" }, true))),
            ("abc%", Some((doc! { "$gte": "abc", "$lt": "abd" }, false))),
            ("a\\%%", Some((doc! { "$gte": "a%", "$lt": "a&" }, false))),
            ("ab_", Some((doc! { "$gte": "ab", "$lt": "ac" }, false))),
            ("a%z", Some((doc! { "$gte": "a", "$lt": "b" }, false))),
            ("\u{D7FF}%", Some((doc! { "$gte": "\u{D7FF}", "$lt": "\u{E000}" }, false))),
            ("a\u{10FFFF}%", Some((doc! { "$gte": "a\u{10FFFF}", "$lt": "b" }, false))),
            ("\u{10FFFF}%", Some((doc! { "$gte": "\u{10FFFF}" }, false))),
            ("%a.b%c%", Some((doc! { "$regex": "a\\.b" }, false))),
            ("%", None),
            ("_%", None),
            ("a\\", None),
        ];
        for (pattern, expected) in rows {
            let found = like(Shape::Text, pattern).ok().map(|mut core| (core.alternatives.remove(0), core.exact));
            assert_eq!(found, expected, "{pattern}");
        }
    }

    #[test]
    fn text_stays_a_value() {
        let hostile = "{\"$gt\": \"\"}";
        let core = compare(Shape::Text, Equal, &Value::Text(hostile.to_owned())).unwrap();
        assert_eq!(core.alternatives, [doc! { "$eq": hostile }]);
        assert_eq!(like(Shape::Text, "%$where(1)//%").unwrap().alternatives, [doc! { "$regex": "\\$where\\(1\\)\\/\\/" }]);
    }
}
