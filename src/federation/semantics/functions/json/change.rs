//! `jsonb` with something added, replaced or taken away (`jsonfuncs.c`), and its indented text.

use crate::error::{Diagnosis, sqlstate};
use crate::format::json::{self, Node};

use super::super::super::datum::Datum;
use super::super::super::typed::Call;
use super::Outcome;
use super::take::{index, place, texts};

fn refuse(message: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn shown<'a>(value: &Node) -> Outcome<'a> {
    json::write(value).map(Datum::text)
}

fn is_scalar(value: &Node) -> bool {
    !matches!(value, Node::Array(_) | Node::Object(_))
}

/// `||`: two objects are merged, everything else is joined as arrays.
pub(in super::super::super) fn concat<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let items = |value: Node| match value {
        Node::Array(items) => items,
        other => vec![other],
    };
    let joined = match (json::read(a[0].as_text())?, json::read(a[1].as_text())?) {
        (Node::Object(mut left), Node::Object(right)) => {
            left.extend(right);
            Node::Object(left)
        }
        (left, right) => Node::Array(items(left).into_iter().chain(items(right)).collect()),
    };
    shown(&joined)
}

/// `- name` and `- names`
pub(super) fn without_names<'a>(a: &[Datum<'_>], names: &[&str]) -> Outcome<'a> {
    match json::read(a[0].as_text())? {
        Node::Object(members) => {
            shown(&Node::Object(members.into_iter().filter(|(name, _)| !names.contains(&name.as_str())).collect()))
        }
        Node::Array(items) => {
            let named = |item: &Node| matches!(item, Node::Text(text) if names.contains(&text.as_str()));
            shown(&Node::Array(items.into_iter().filter(|item| !named(item)).collect()))
        }
        _ => Err(refuse("cannot delete from scalar")),
    }
}

/// `- place`
pub(super) fn without_item<'a>(a: &[Datum<'_>]) -> Outcome<'a> {
    match json::read(a[0].as_text())? {
        Node::Array(mut items) => {
            if let Some(place) = place(a[1].as_int(), items.len()) {
                items.remove(place);
            }
            shown(&Node::Array(items))
        }
        Node::Object(_) => Err(refuse("cannot delete from object using integer index")),
        _ => Err(refuse("cannot delete from scalar")),
    }
}

/// What happens at the end of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Delete,
    /// Replaces what is there.
    Replace,
    /// Replaces, or adds what is not there.
    Create,
    InsertBefore,
    InsertAfter,
}

impl Act {
    /// Whether a value that is not there is added.
    fn adds(self) -> bool {
        matches!(self, Self::Create | Self::InsertBefore | Self::InsertAfter)
    }
}

/// `#-`
pub(super) fn without_path<'a>(a: &[Datum<'_>]) -> Outcome<'a> {
    let value = json::read(a[0].as_text())?;
    if is_scalar(&value) {
        return Err(refuse("cannot delete path in scalar"));
    }
    changed(value, &texts(&a[1]), &Node::Null, Act::Delete)
}

/// `jsonb_set`
pub(super) fn set<'a>(a: &[Datum<'_>], create: bool) -> Outcome<'a> {
    let value = json::read(a[0].as_text())?;
    if is_scalar(&value) {
        return Err(refuse("cannot set path in scalar"));
    }
    changed(value, &texts(&a[1]), &json::read(a[2].as_text())?, if create { Act::Create } else { Act::Replace })
}

/// `jsonb_insert`
pub(super) fn insert<'a>(a: &[Datum<'_>], after: bool) -> Outcome<'a> {
    let value = json::read(a[0].as_text())?;
    if is_scalar(&value) {
        return Err(refuse("cannot set path in scalar"));
    }
    changed(value, &texts(&a[1]), &json::read(a[2].as_text())?, if after { Act::InsertAfter } else { Act::InsertBefore })
}

fn changed<'a>(value: Node, path: &[Option<String>], new: &Node, act: Act) -> Outcome<'a> {
    let is_empty = match &value {
        Node::Array(items) => items.is_empty(),
        Node::Object(members) => members.is_empty(),
        _ => false,
    };
    if path.is_empty() || (is_empty && matches!(act, Act::Delete | Act::Replace)) {
        return shown(&value);
    }
    shown(&at(value, path, 0, (new, act))?)
}

/// The value with the change made below `level` steps of the path.
fn at(value: Node, path: &[Option<String>], level: usize, change: (&Node, Act)) -> Result<Node, Diagnosis> {
    let Some(step) = path.get(level) else { return Ok(value) };
    let Some(step) = step else {
        let message = format!("path element at position {} is null", level + 1);
        return Err(Diagnosis::new("22004", message));
    };
    match value {
        Node::Object(members) => in_object(members, step, path, level, change),
        Node::Array(items) => {
            let wanted = index(step).ok_or_else(|| {
                let message = format!("path element at position {} is not an integer: \"{step}\"", level + 1);
                Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, message)
            })?;
            in_array(items, wanted, path, level, change)
        }
        scalar => Ok(scalar),
    }
}

fn in_object(
    mut members: Vec<(String, Node)>,
    step: &str,
    path: &[Option<String>],
    level: usize,
    (new, act): (&Node, Act),
) -> Result<Node, Diagnosis> {
    let is_last = level + 1 == path.len();
    let found = members.iter().position(|(name, _)| name == step);
    match (found, is_last) {
        (Some(_), true) if matches!(act, Act::InsertBefore | Act::InsertAfter) => {
            return Err(refuse("cannot replace existing key").with_hint("Try using the function jsonb_set to replace key value."));
        }
        (Some(place), true) if act == Act::Delete => drop(members.remove(place)),
        (Some(place), true) => members[place].1 = new.clone(),
        (Some(place), false) => {
            let inner = std::mem::replace(&mut members[place].1, Node::Null);
            members[place].1 = at(inner, path, level + 1, (new, act))?;
        }
        (None, true) if act.adds() => members.push((step.to_owned(), new.clone())),
        (None, _) => {}
    }
    Ok(Node::Object(members))
}

fn in_array(
    mut items: Vec<Node>,
    wanted: i64,
    path: &[Option<String>],
    level: usize,
    (new, act): (&Node, Act),
) -> Result<Node, Diagnosis> {
    let is_last = level + 1 == path.len();
    match (place(wanted, items.len()), is_last) {
        (Some(place), false) => {
            let inner = std::mem::replace(&mut items[place], Node::Null);
            items[place] = at(inner, path, level + 1, (new, act))?;
        }
        (Some(place), true) => match act {
            Act::Delete => drop(items.remove(place)),
            Act::Replace | Act::Create => items[place] = new.clone(),
            Act::InsertBefore => items.insert(place, new.clone()),
            Act::InsertAfter => items.insert(place + 1, new.clone()),
        },
        // Before the first element what is added comes first, behind the last one it comes last.
        (None, true) if act.adds() && wanted < 0 => items.insert(0, new.clone()),
        (None, true) if act.adds() => items.push(new.clone()),
        (None, _) => {}
    }
    Ok(Node::Array(items))
}

/// Without the members whose value is null, at every level.
pub(super) fn without_nulls(value: Node) -> Node {
    match value {
        Node::Object(members) => {
            let kept = members.into_iter().filter(|(_, member)| *member != Node::Null);
            Node::Object(kept.map(|(name, member)| (name, without_nulls(member))).collect())
        }
        Node::Array(items) => Node::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// `jsonb_pretty` of canonical text.
pub(super) fn pretty(value: &Node, depth: usize) -> String {
    let (inner, outer) = ("    ".repeat(depth + 1), "    ".repeat(depth));
    let block = |open: char, parts: Vec<String>, close: char| match parts.as_slice() {
        [] => format!("{open}\n{outer}{close}"),
        parts => format!("{open}\n{}\n{outer}{close}", parts.join(",\n")),
    };
    match value {
        Node::Array(items) => block('[', items.iter().map(|item| format!("{inner}{}", pretty(item, depth + 1))).collect(), ']'),
        Node::Object(members) => {
            let line = |(name, member): &(String, Node)| {
                format!("{inner}{}: {}", json::write_compact(&Node::Text(name.clone())), pretty(member, depth + 1))
            };
            block('{', members.iter().map(line).collect(), '}')
        }
        scalar => json::write_compact(scalar),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(act: Act, value: &str, path: &[&str], expected: Result<&str, &str>) {
        let steps: Vec<Option<String>> = path.iter().map(|step| Some((*step).to_owned())).collect();
        let new = json::read("{\"n\": 1.50}").unwrap();
        let found = changed(json::read(value).unwrap(), &steps, &new, act);
        let found = found.map(|value| value.as_text().to_owned()).map_err(|error| error.sqlstate);
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{value} {path:?}");
    }

    #[test]
    fn paths_are_changed_as_postgres_changes_them() {
        check(Act::Create, "{\"a\": 1}", &["b"], Ok("{\"a\": 1, \"b\": {\"n\": 1.50}}"));
        check(Act::Replace, "{\"a\": 1}", &["b"], Ok("{\"a\": 1}"));
        check(Act::Replace, "{\"a\": [1, 2]}", &["a", "-1"], Ok("{\"a\": [1, {\"n\": 1.50}]}"));
        check(Act::Create, "[1, 2]", &["-5"], Ok("[{\"n\": 1.50}, 1, 2]"));
        check(Act::Create, "[1, 2]", &["9"], Ok("[1, 2, {\"n\": 1.50}]"));
        check(Act::Create, "[1]", &["x"], Err("22P02"));
        check(Act::Create, "{\"a\": 1}", &["a", "b"], Ok("{\"a\": 1}"));
        check(Act::Create, "{\"a\": 1}", &["x", "y"], Ok("{\"a\": 1}"));
        check(Act::Create, "{}", &[], Ok("{}"));
        check(Act::InsertBefore, "[1, 2]", &["0"], Ok("[{\"n\": 1.50}, 1, 2]"));
        check(Act::InsertAfter, "[1, 2]", &["-1"], Ok("[1, 2, {\"n\": 1.50}]"));
        check(Act::InsertBefore, "{\"a\": 1}", &["a"], Err("22023"));
        check(Act::Delete, "[1, [2, 3]]", &["1", "-1"], Ok("[1, [2]]"));
        check(Act::Delete, "{\"a\": {\"b\": 1}}", &["a", "b"], Ok("{\"a\": {}}"));
        check(Act::Delete, "[1]", &["7"], Ok("[1]"));
    }

    #[test]
    fn empty_containers_take_two_lines() {
        assert_eq!(pretty(&json::read("[]").unwrap(), 0), "[\n]");
        assert_eq!(
            pretty(&json::read("{\"a\": [], \"b\": [1, {\"x\": null}]}").unwrap(), 0),
            "{\n    \"a\": [\n    ],\n    \"b\": [\n        1,\n        {\n            \"x\": null\n        }\n    ]\n}"
        );
    }
}
