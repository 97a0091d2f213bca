//! Conditions: expressions that give true exactly when a boolean is the wanted one, so that NULL needs no third value.

use mongodb::bson::{Bson, doc};

use super::super::literal::escape_regex;
use super::cell::{Cell, Kind, Value, all_of, either, is_not_null, is_null, literal, one_of};
use super::convert;
use super::expression::{cell, value, with_values};
use crate::stores::fragment::{Expression, Node, Refusal};
use crate::stores::predicate::Comparison;
use crate::stores::value as plain;

/// Patterns with more wildcards than this may cost the server more than reading the texts.
const WILDCARDS_MAX: usize = 2;
/// The longest pattern, in bytes.
const PATTERN_MAX: usize = 1000;

/// An expression that is true when `expression` is `wanted`, and false when it is the opposite or NULL.
pub(super) fn holds(expression: &Expression, wanted: bool, cells: &[Cell]) -> Result<Bson, Refusal> {
    let each = |parts: &[Expression]| parts.iter().map(|part| holds(part, wanted, cells)).collect::<Result<Vec<_>, _>>();
    match &expression.node {
        Node::And(parts) => Ok(if wanted { all_of(each(parts)?) } else { one_of(each(parts)?) }),
        Node::Or(parts) => Ok(if wanted { one_of(each(parts)?) } else { all_of(each(parts)?) }),
        Node::Not(operand) => holds(operand, !wanted, cells),
        Node::Compare { op, left, right } => {
            let op = if wanted { *op } else { opposite(*op) };
            let sides = [value(left, cells)?, value(right, cells)?];
            compare(op, &sides).map_err(|rule| Refusal::new(expression, rule))
        }
        Node::Distinct { left, right, negated } => {
            let sides = [value(left, cells)?, value(right, cells)?];
            comparable(&sides).map_err(|rule| Refusal::new(expression, rule))?;
            let operator = if wanted == *negated { "$eq" } else { "$ne" };
            Ok(Bson::Document(doc! { operator: [&sides[0].bson, &sides[1].bson] }))
        }
        Node::IsNull { operand, negated } => {
            let present = is_present(operand, cells)?;
            Ok(if wanted == *negated { present } else { not(present) })
        }
        Node::IsTruth { operand, truth, negated } => {
            let found = match truth {
                Some(truth) => holds(operand, *truth, cells)?,
                None => not(one_of(vec![holds(operand, true, cells)?, holds(operand, false, cells)?])),
            };
            Ok(if wanted == *negated { not(found) } else { found })
        }
        Node::In { subject, list, negated } => is_in(expression, (subject, list), wanted != *negated, cells),
        Node::Like { subject, pattern, negated, case_insensitive } => {
            let found = like(subject, pattern, *case_insensitive, wanted != *negated, cells)?;
            found.map_err(|rule| Refusal::new(expression, rule))
        }
        _ => {
            let truth = value(expression, cells)?;
            if truth.kind != Kind::Bool {
                return Err(Refusal::new(expression, "the value is no boolean"));
            }
            Ok(Bson::Document(doc! { "$eq": [truth.bson, wanted] }))
        }
    }
}

/// Whether an expression has a value; true or false.
pub(super) fn is_present(operand: &Expression, cells: &[Cell]) -> Result<Bson, Refusal> {
    if matches!(operand.node, Node::Column(_) | Node::Field { .. })
        && let Cell::Raw(raw) = cell(operand, cells)?
    {
        return convert::is_present(&raw).map_err(|rule| Refusal::new(operand, rule));
    }
    Ok(is_not_null(&value(operand, cells)?.bson))
}

fn not(condition: Bson) -> Bson {
    Bson::Document(doc! { "$not": [condition] })
}

fn opposite(op: Comparison) -> Comparison {
    match op {
        Comparison::Equal => Comparison::NotEqual,
        Comparison::NotEqual => Comparison::Equal,
        Comparison::Less => Comparison::GreaterOrEqual,
        Comparison::LessOrEqual => Comparison::Greater,
        Comparison::Greater => Comparison::LessOrEqual,
        Comparison::GreaterOrEqual => Comparison::Less,
    }
}

/// Integers and decimals of any scale compare by what they are worth.
fn comparable(sides: &[Value; 2]) -> Result<(), &'static str> {
    let [left, right] = sides;
    let decimals = matches!((left.kind, right.kind), (Kind::Decimal { .. }, Kind::Decimal { .. }));
    if left.kind == right.kind || decimals || left.is_null() || right.is_null() {
        return Ok(());
    }
    Err("values of different types are compared")
}

/// The server takes null for the lowest value, so that only one side must be looked at where the other one could not be null
/// then.
fn compare(op: Comparison, sides: &[Value; 2]) -> Result<Bson, &'static str> {
    comparable(sides)?;
    if sides.iter().any(Value::is_null) {
        return Ok(Bson::Boolean(false));
    }
    let floats = sides[0].kind == Kind::Float;
    Ok(with_values(sides, |used| {
        let mut parts = Vec::with_capacity(3);
        let looked_at: &[usize] = match op {
            Comparison::Equal | Comparison::Less | Comparison::LessOrEqual => &[0],
            Comparison::Greater | Comparison::GreaterOrEqual => &[1],
            Comparison::NotEqual => &[0, 1],
        };
        // An equal value is no null when either side is none.
        let neither = op == Comparison::Equal && !sides[1].nullable;
        for place in looked_at {
            if sides[*place].nullable && !neither {
                parts.push(is_not_null(&used[*place]));
            }
        }
        let ordered = floats && !matches!(op, Comparison::Equal | Comparison::NotEqual);
        let keys: Vec<Bson> = used.iter().map(|used| if ordered { float_key(used) } else { used.clone() }).collect();
        parts.push(Bson::Document(doc! { operator(op): keys }));
        all_of(parts)
    }))
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

/// A value that the server orders as PostgreSQL orders floats: NaN, which is below all numbers there, becomes a text, and texts
/// are above all numbers.
pub(super) fn float_key(value: &Bson) -> Bson {
    either(Bson::Document(doc! { "$eq": [value, f64::NAN] }), Bson::from("NaN"), value.clone())
}

/// The float behind a [`float_key`].
pub(super) fn of_float_key(key: &Bson) -> Bson {
    either(Bson::Document(doc! { "$eq": [key, Bson::from("NaN")] }), Bson::Double(f64::NAN), key.clone())
}

fn is_in(
    expression: &Expression,
    (subject, list): (&Expression, &[Expression]),
    wanted: bool,
    cells: &[Cell],
) -> Result<Bson, Refusal> {
    let constants: Option<Vec<Option<&plain::Value>>> = list
        .iter()
        .map(|item| match &item.node {
            Node::Literal(value) => Some(value.as_ref()),
            _ => None,
        })
        .collect();
    let Some(constants) = constants else {
        let equal = |item: &Expression| {
            let (left, right) = (Box::new(subject.clone()), Box::new(item.clone()));
            Expression::condition(Node::Compare { op: Comparison::Equal, left, right })
        };
        return holds(&Expression::condition(Node::Or(list.iter().map(equal).collect())), wanted, cells);
    };
    let subject = value(subject, cells)?;
    // A list with NULL in it does not hold what it is not known to hold; but a value that is none of the type is one for no list.
    if !wanted && constants.iter().any(Option::is_none) {
        return Ok(never(&subject));
    }
    let mut items = Vec::with_capacity(list.len());
    for item in list.iter().filter(|item| !matches!(item.node, Node::Literal(None))) {
        let value = value(item, cells)?;
        comparable(&[subject.clone(), value.clone()]).map_err(|rule| Refusal::new(expression, rule))?;
        let Bson::Document(mut document) = value.bson else { return Err(Refusal::new(item, "the item is no constant")) };
        items.extend(document.remove("$literal"));
    }
    let nullable = subject.nullable;
    Ok(with_values(&[subject], |used| {
        let subject = used.first().cloned().unwrap_or(Bson::Null);
        let found = Bson::Document(doc! { "$in": [&subject, literal(items)] });
        let known = if nullable { vec![is_not_null(&subject)] } else { Vec::new() };
        all_of(known.into_iter().chain([if wanted { found } else { not(found) }]).collect())
    }))
}

/// False for every value, which is read nonetheless.
fn never(value: &Value) -> Bson {
    Bson::Document(doc! { "$lt": [&value.bson, Bson::MinKey] })
}

/// `LIKE` with a constant pattern of few wildcards.
fn like(
    subject: &Expression,
    pattern: &Expression,
    case_insensitive: bool,
    wanted: bool,
    cells: &[Cell],
) -> Result<Result<Bson, &'static str>, Refusal> {
    if case_insensitive {
        return Ok(Err("case folding differs"));
    }
    let Node::Literal(Some(plain::Value::Text(pattern))) = &pattern.node else { return Ok(Err("the pattern is no constant")) };
    let subject = value(subject, cells)?;
    if subject.kind != Kind::Text {
        return Ok(Err("the value is no text"));
    }
    let pattern = match regex(pattern) {
        Ok(pattern) => pattern,
        Err(rule) => return Ok(Err(rule)),
    };
    let nullable = subject.nullable;
    Ok(Ok(with_values(&[subject], |used| {
        let subject = used.first().cloned().unwrap_or(Bson::Null);
        let found = Bson::Document(doc! { "$regexMatch": { "input": &subject, "regex": literal(pattern), "options": "s" } });
        if wanted {
            // Of null the server says false.
            return found;
        }
        let unknown = if nullable { vec![not(is_null(&subject))] } else { Vec::new() };
        all_of(unknown.into_iter().chain([not(found)]).collect())
    })))
}

/// A pattern of `LIKE` as a regular expression over whole texts, line ends included.
fn regex(pattern: &str) -> Result<String, &'static str> {
    if pattern.len() > PATTERN_MAX || pattern.contains('\0') {
        return Err("the pattern is too long for MongoDB");
    }
    let mut regex = String::from("^");
    let mut wildcards = 0;
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '%' => {
                wildcards += 1;
                regex.push_str(".*");
            }
            '_' => regex.push('.'),
            '\\' => {
                let escaped = letters.next().ok_or("the pattern ends with its escape character")?;
                regex.push_str(&escape_regex(escaped.encode_utf8(&mut [0; 4])));
            }
            other => regex.push_str(&escape_regex(other.encode_utf8(&mut [0; 4]))),
        }
    }
    if wildcards > WILDCARDS_MAX {
        return Err("the pattern has many wildcards");
    }
    regex.push_str("\\z");
    Ok(regex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_regular_expressions_over_whole_texts() {
        let rows = [
            ("a%", Some("^a.*\\z")),
            ("_\\%", Some("^.\\%\\z")),
            ("$where(1)", Some("^\\$where\\(1\\)\\z")),
            ("ü\n", Some("^ü\\\n\\z")),
            ("%a%b%", None),
            ("a\\", None),
        ];
        for (pattern, expected) in rows {
            assert_eq!(regex(pattern).ok().as_deref(), expected, "{pattern}");
        }
    }
}
