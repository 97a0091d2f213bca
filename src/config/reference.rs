//! The test that `catalog/reference.toml` says exactly what the option tables say.

use std::fmt::Write as _;

use super::settings::{OPTIONS, ROLE_OPTIONS};
use super::store::SHARED_OPTIONS;
use crate::options::{Form, OptionSpec};
use crate::stores::KINDS;

const INTRODUCTION: &str = "\
# Every key of a catalog directory, with its default.
#
#   tributary.toml        the server itself
#   stores/<name>.toml    one store each; the file's name is the store's name and its SQL schema
#   views/<name>.sql      one view each, in the schema public
#   .state/               what the program keeps for itself
#
# A key that is commented out has no default. Any text may hold ${NAME}, which is replaced by that environment variable;
# a secret may also be { file = \"path\" }. Paths are relative to the catalog directory.
";

fn section(text: &mut String, title: &str, header: Option<&str>, options: &[OptionSpec]) {
    let _ = write!(text, "\n# ---- {title}\n");
    if let Some(header) = header {
        let _ = write!(text, "\n[{header}]\n");
    }
    for option in options {
        let _ = write!(text, "\n# {}\n# {}\n{}\n", option.meaning, form(option), line(option));
    }
}

fn form(option: &OptionSpec) -> String {
    let form = match option.form {
        Form::Text => "A text.".to_owned(),
        Form::Secret => "A secret: text, \"${NAME}\" or { file = \"path\" }.".to_owned(),
        Form::Bool => "true or false.".to_owned(),
        Form::Integer(low, i64::MAX) => format!("A whole number from {low}."),
        Form::Integer(low, high) => format!("A whole number from {low} to {high}."),
        Form::Duration => "A duration such as 500ms, 30s, 5m or 1h.".to_owned(),
        Form::Size => "A size such as 64KiB, 10MiB or 2GiB.".to_owned(),
        Form::Choice(words) => format!("One of {}.", words.join(", ")),
        Form::Path => "A path.".to_owned(),
        Form::Texts => "An array of texts.".to_owned(),
        Form::Table => "A table.".to_owned(),
    };
    if option.default.is_none() { format!("{form} Required.") } else { form }
}

fn line(option: &OptionSpec) -> String {
    let key = option.key;
    match (option.default, option.form) {
        (Some(""), Form::Table) => format!("# [{key}]"),
        (None | Some(""), _) => format!("# {key} ="),
        (Some(default), Form::Bool | Form::Integer(..)) => format!("{key} = {default}"),
        (Some(default), Form::Texts | Form::Table) => format!("{key} = {default}"),
        (Some(default), _) => format!("{key} = {}", toml::Value::String(default.to_owned())),
    }
}

fn expected() -> String {
    let mut text = INTRODUCTION.to_owned();
    section(&mut text, "tributary.toml", None, OPTIONS);
    section(&mut text, "tributary.toml: one such table for each role", Some("roles.name"), ROLE_OPTIONS);
    section(&mut text, "stores/<name>.toml: keys of every kind, at the top of the file", Some("store"), SHARED_OPTIONS);
    for kind in KINDS {
        let words = kind.words();
        let word = words.first().copied().unwrap_or_default();
        let title = format!("stores/<name>.toml: kind = \"{}\", at the top of the file", words.join("\" or \""));
        section(&mut text, &title, Some(word), kind.options());
    }
    text
}

#[test]
fn the_reference_equals_the_option_tables() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/catalog/reference.toml");
    let found = std::fs::read_to_string(path).unwrap_or_default();
    let expected = expected();
    assert!(
        expected == found,
        "catalog/reference.toml differs from the option tables; it should be what is between the marks:\n>>>>\n{expected}<<<<"
    );
}

#[test]
fn the_reference_is_toml() {
    let parsed: toml::Table = expected().parse().unwrap();
    assert_eq!(parsed.get("listen").and_then(toml::Value::as_str), Some("127.0.0.1:5455"));
}

#[test]
fn every_option_has_a_meaning_and_a_default_of_its_form() {
    let own = [OPTIONS, ROLE_OPTIONS, SHARED_OPTIONS];
    for option in own.into_iter().chain(KINDS.iter().map(|kind| kind.options())).flatten() {
        assert!(option.meaning.ends_with('.'), "{}: the meaning is not a sentence", option.key);
        let Some(default) = option.default.filter(|default| !default.is_empty()) else { continue };
        let fits = match option.form {
            Form::Bool => default == "true" || default == "false",
            Form::Integer(low, high) => default.parse().is_ok_and(|number: i64| (low..=high).contains(&number)),
            Form::Duration => crate::options::parse_duration(default).is_some(),
            Form::Size => crate::options::parse_size(default).is_some(),
            Form::Choice(words) => words.contains(&default),
            Form::Text | Form::Secret | Form::Path | Form::Texts | Form::Table => true,
        };
        assert!(fits, "{}: the default {default} is not of its form", option.key);
    }
}
