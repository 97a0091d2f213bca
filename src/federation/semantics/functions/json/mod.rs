//! JSON functions and operators (manual, "JSON Functions and Operators").
//!
//! `json` keeps its text and `jsonb` its canonical text, so a part of either is a part of that text: `take` and `spread` hand
//! out parts as they are written. `change` and `contain` work on trees, `make` writes values of any type as JSON, `collect`
//! is what aggregates end with. Struct columns are `json`: they reach all of this as the text that clients see (`document`).
//!
//! Names that begin with `pg_json` stand for forms that `ast/json` rewrites.

mod change;
mod collect;
mod contain;
pub(in super::super) mod make;
mod spread;
pub(in super::super) mod take;

use crate::error::Diagnosis;
use crate::format::json;
use crate::pgtype::PgType;

use super::super::datum::Datum;
use super::super::overload::{ANY, ANYARRAY, Overload, row};

pub(in super::super) use change::concat as concat_jsonb;

const TEXT: PgType = PgType::TEXT;
const INT4: PgType = PgType::INT4;
const JSON: PgType = PgType::JSON;
const JSONB: PgType = PgType::JSONB;
const BOOL: PgType = PgType::BOOL;
const RECORD: PgType = PgType::RECORD;
const TEXTS: PgType = PgType { oid: 1009, typmod: -1 };
const JSONS: PgType = PgType { oid: 199, typmod: -1 };
const JSONBS: PgType = PgType { oid: 3807, typmod: -1 };

type Outcome<'a> = Result<Datum<'a>, Diagnosis>;

/// What takes values apart, tests and changes them.
pub(super) const ROWS: &[Overload] = &[
    row("operator ->", &[JSONB, TEXT], JSONB, |_, a| Ok(take::part(take::member(a)?))),
    row("operator ->", &[JSONB, INT4], JSONB, |_, a| Ok(take::part(take::item_b(a)?))),
    row("operator ->", &[JSON, TEXT], JSON, |_, a| Ok(take::part(take::member(a)?))),
    row("operator ->", &[JSON, INT4], JSON, |_, a| Ok(take::part(take::item(a)?))),
    row("operator ->>", &[JSONB, TEXT], TEXT, |_, a| take::text(take::member(a)?)),
    row("operator ->>", &[JSONB, INT4], TEXT, |_, a| take::text(take::item_b(a)?)),
    row("operator ->>", &[JSON, TEXT], TEXT, |_, a| take::text(take::member(a)?)),
    row("operator ->>", &[JSON, INT4], TEXT, |_, a| take::text(take::item(a)?)),
    row("operator #>", &[JSONB, TEXTS], JSONB, |_, a| Ok(take::part(take::at_path(a)?))),
    row("operator #>", &[JSON, TEXTS], JSON, |_, a| Ok(take::part(take::at_path(a)?))),
    row("operator #>>", &[JSONB, TEXTS], TEXT, |_, a| take::text(take::at_path(a)?)),
    row("operator #>>", &[JSON, TEXTS], TEXT, |_, a| take::text(take::at_path(a)?)),
    row("json_extract_path_text", &[JSON, TEXT], TEXT, |_, a| take::text(take::at_arguments(a)?)).variadic(),
    row("jsonb_extract_path_text", &[JSONB, TEXT], TEXT, |_, a| take::text(take::at_arguments(a)?)).variadic(),
    row("json_extract_path", &[JSON, TEXT], JSON, |_, a| Ok(take::part(take::at_arguments(a)?))).variadic(),
    row("jsonb_extract_path", &[JSONB, TEXT], JSONB, |_, a| Ok(take::part(take::at_arguments(a)?))).variadic(),
    row("json_array_length", &[JSON], INT4, |_, a| take::array_length(&a[0])),
    row("jsonb_array_length", &[JSONB], INT4, |_, a| take::array_length(&a[0])),
    row("json_typeof", &[JSON], TEXT, |_, a| take::kind(&a[0])),
    row("jsonb_typeof", &[JSONB], TEXT, |_, a| take::kind(&a[0])),
    row("operator @>", &[JSONB, JSONB], BOOL, |_, a| contain::contains(&a[0], &a[1])),
    row("operator <@", &[JSONB, JSONB], BOOL, |_, a| contain::contains(&a[1], &a[0])),
    row("operator ?", &[JSONB, TEXT], BOOL, |_, a| Ok(Datum::Bool(contain::has(&json::read(a[0].as_text())?, a[1].as_text())))),
    row("operator ?|", &[JSONB, TEXTS], BOOL, |_, a| {
        let value = json::read(a[0].as_text())?;
        Ok(Datum::Bool(take::texts(&a[1]).iter().flatten().any(|key| contain::has(&value, key))))
    }),
    row("operator ?&", &[JSONB, TEXTS], BOOL, |_, a| {
        let value = json::read(a[0].as_text())?;
        Ok(Datum::Bool(take::texts(&a[1]).iter().flatten().all(|key| contain::has(&value, key))))
    }),
    row("operator -", &[JSONB, TEXT], JSONB, |_, a| change::without_names(a, &[a[1].as_text()])),
    row("operator -", &[JSONB, TEXTS], JSONB, |_, a| {
        let names = take::texts(&a[1]);
        change::without_names(a, &names.iter().flatten().map(String::as_str).collect::<Vec<_>>())
    }),
    row("operator -", &[JSONB, INT4], JSONB, |_, a| change::without_item(a)),
    row("operator #-", &[JSONB, TEXTS], JSONB, |_, a| change::without_path(a)),
    row("jsonb_delete_path", &[JSONB, TEXTS], JSONB, |_, a| change::without_path(a)),
    row("jsonb_set", &[JSONB, TEXTS, JSONB], JSONB, |_, a| change::set(a, true)),
    row("jsonb_set", &[JSONB, TEXTS, JSONB, BOOL], JSONB, |_, a| change::set(a, matches!(a[3], Datum::Bool(true)))),
    row("jsonb_insert", &[JSONB, TEXTS, JSONB], JSONB, |_, a| change::insert(a, false)),
    row("jsonb_insert", &[JSONB, TEXTS, JSONB, BOOL], JSONB, |_, a| change::insert(a, matches!(a[3], Datum::Bool(true)))),
    row("jsonb_pretty", &[JSONB], TEXT, |_, a| Ok(Datum::text(change::pretty(&json::read(a[0].as_text())?, 0)))),
    row("jsonb_strip_nulls", &[JSONB], JSONB, |_, a| {
        Ok(Datum::text(json::write(&change::without_nulls(json::read(a[0].as_text())?))?))
    }),
    row("json_strip_nulls", &[JSON], JSON, |_, a| {
        Ok(Datum::text(json::write_compact(&change::without_nulls(json::read(a[0].as_text())?))))
    }),
];

/// What makes values, and what aggregates and set-returning functions are rewritten to.
pub(super) const MAKERS: &[Overload] = &[
    row("to_json", &[ANY], JSON, |call, a| make::json(call, 0, &a[0])),
    row("to_jsonb", &[ANY], JSONB, |call, a| make::canonical(make::json(call, 0, &a[0])?)),
    row("row_to_json", &[RECORD], JSON, |call, a| make::json(call, 0, &a[0])),
    row("array_to_json", &[ANYARRAY], JSON, |call, a| make::json(call, 0, &a[0])),
    row("pg_json_row", &[ANY], RECORD, make::record).lenient().variadic(),
    row("json_build_object", &[ANY], JSON, make::object).lenient().variadic(),
    row("jsonb_build_object", &[ANY], JSONB, |call, a| make::canonical(make::object_b(call, a)?)).lenient().variadic(),
    row("json_build_array", &[ANY], JSON, make::array).lenient().variadic(),
    row("jsonb_build_array", &[ANY], JSONB, |call, a| make::canonical(make::array(call, a)?)).lenient().variadic(),
    row("json_object", &[TEXTS], JSON, |_, a| make::object_of_list(&a[0])),
    row("json_object", &[TEXTS, TEXTS], JSON, |_, a| make::object_of_lists(&a[0], &a[1])),
    row("jsonb_object", &[TEXTS], JSONB, |_, a| make::canonical(make::object_of_list(&a[0])?)),
    row("jsonb_object", &[TEXTS, TEXTS], JSONB, |_, a| make::canonical(make::object_of_lists(&a[0], &a[1])?)),
    row("pg_json_item", &[ANY], TEXT, collect::item),
    row("pg_json_keyed_item", &[ANY], TEXT, collect::keyed_item),
    row("pg_json_pair", &[ANY, ANY], TEXT, collect::pair).lenient(),
    row("pg_json_agg", &[TEXTS], JSON, |_, a| collect::list(&a[0])),
    row("pg_jsonb_agg", &[TEXTS], JSONB, |_, a| make::canonical(collect::list(&a[0])?)),
    row("pg_json_agg_distinct", &[TEXTS, TEXT], JSON, collect::distinct),
    row("pg_jsonb_agg_distinct", &[TEXTS, TEXT], JSONB, |call, a| make::canonical(collect::distinct(call, a)?)),
    row("pg_json_object_agg", &[TEXTS], JSON, |_, a| collect::object(&a[0])),
    row("pg_jsonb_object_agg", &[TEXTS], JSONB, |_, a| make::canonical(collect::object(&a[0])?)),
    row("pg_json_array_elements", &[JSON], JSONS, |_, a| spread::elements(&a[0], "json_array_elements")),
    row("pg_jsonb_array_elements", &[JSONB], JSONBS, |_, a| spread::elements(&a[0], "")),
    row("pg_json_array_elements_text", &[JSON], TEXTS, |_, a| spread::element_texts(&a[0], "json_array_elements_text")),
    row("pg_jsonb_array_elements_text", &[JSONB], TEXTS, |_, a| spread::element_texts(&a[0], "")),
    row("pg_json_object_keys", &[JSON], TEXTS, |_, a| spread::keys(&a[0], spread::Caller::Keys("json_object_keys"))),
    row("pg_jsonb_object_keys", &[JSONB], TEXTS, |_, a| spread::keys(&a[0], spread::Caller::Keys("jsonb_object_keys"))),
    row("pg_json_each_keys", &[JSON], TEXTS, |_, a| spread::keys(&a[0], spread::Caller::Each)),
    row("pg_jsonb_each_keys", &[JSONB], TEXTS, |_, a| spread::keys(&a[0], spread::Caller::EachB("jsonb_each"))),
    row("pg_jsonb_each_text_keys", &[JSONB], TEXTS, |_, a| spread::keys(&a[0], spread::Caller::EachB("jsonb_each_text"))),
    row("pg_json_each_values", &[JSON], JSONS, |_, a| spread::values(&a[0])),
    row("pg_jsonb_each_values", &[JSONB], JSONBS, |_, a| spread::values(&a[0])),
    row("pg_json_each_texts", &[JSON], TEXTS, |_, a| spread::value_texts(&a[0])),
    row("pg_jsonb_each_texts", &[JSONB], TEXTS, |_, a| spread::value_texts(&a[0])),
    row("pg_ordinals", &[ANYARRAY], PgType { oid: 1016, typmod: -1 }, |_, a| Ok(spread::ordinals(&a[0]))),
];
