//! Casts that alone tell two calls or two keys of GROUP BY apart, and those of columns that are grouped by, as calls.
//!
//! The planner leaves casts out of the names that it gives to what it computes: `SELECT min(x), min(x::text)` had two columns of one
//! name, which was an error, and `GROUP BY id::text` passed for a grouping by the key `id`, which all other columns of its table
//! were then grouped by with. Casts by functions have names of their own. Other statements stay as they are.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CharacterLength, DataType, ExactNumberInfo, Expr, Function, GroupByExpr, ObjectNamePart, OrderBy, Query, Select, SelectItem,
    SetExpr, TimezoneInfo, Value, Visit, VisitMut, Visitor, VisitorMut,
};

use super::dialect::call_with;
use super::name::fold;
use crate::federation::semantics::aggregates::is_known;

/// Spells casts in a query and in every query inside it where names need them.
pub(super) fn rewrite(query: &mut Query) {
    let _: ControlFlow<()> = VisitMut::visit(query, &mut Selects);
}

struct Selects;

impl VisitorMut for Selects {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        // ORDER BY may hold calls of its own.
        if let SetExpr::Select(select) = query.body.as_mut() {
            settle(select, query.order_by.as_mut());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        settle(select, None);
        ControlFlow::Continue(())
    }
}

fn settle(select: &mut Select, order: Option<&mut OrderBy>) {
    let mut pairs = Pairs::default();
    let _: ControlFlow<()> = Visit::visit(&select.projection, &mut pairs);
    let _: ControlFlow<()> = Visit::visit(&select.having, &mut pairs);
    let _: ControlFlow<()> = Visit::visit(&select.group_by, &mut pairs);
    if let Some(order) = order.as_deref() {
        let _: ControlFlow<()> = Visit::visit(order, &mut pairs);
    }
    if !pairs.holds_cast {
        return;
    }
    if let GroupByExpr::Expressions(keys, _) = &select.group_by {
        keys.iter().for_each(|key| pairs.key(meant(key, &select.projection)));
    }
    if !pairs.differ_by_cast {
        return;
    }
    let _: ControlFlow<()> = VisitMut::visit(&mut select.projection, &mut Calls);
    let _: ControlFlow<()> = VisitMut::visit(&mut select.having, &mut Calls);
    let _: ControlFlow<()> = VisitMut::visit(&mut select.group_by, &mut Calls);
    let _: ControlFlow<()> = VisitMut::visit(&mut select.distinct, &mut Calls);
    if let Some(order) = order {
        let _: ControlFlow<()> = VisitMut::visit(order, &mut Calls);
    }
}

/// What a key of GROUP BY stands for, where it is the number or the name of an output.
fn meant<'a>(key: &'a Expr, outputs: &'a [SelectItem]) -> &'a Expr {
    let output = match key {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => number.parse::<usize>().ok().and_then(|number| outputs.get(number.checked_sub(1)?)),
            _ => None,
        },
        Expr::Identifier(name) => {
            outputs.iter().find(|output| matches!(output, SelectItem::ExprWithAlias { alias, .. } if fold(alias) == fold(name)))
        }
        _ => None,
    };
    match output {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => expr,
        _ => key,
    }
}

/// What is computed beside the rows, by its text without casts.
#[derive(Default)]
struct Pairs {
    known: BTreeMap<String, String>,
    holds_cast: bool,
    differ_by_cast: bool,
}

impl Visitor for Pairs {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { .. } => self.holds_cast = true,
            Expr::Function(function) if is_computed_beside_rows(function) => self.add(expr),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Pairs {
    fn add(&mut self, expr: &Expr) {
        let text = plain(expr, false);
        match self.known.entry(plain(expr, true)) {
            Entry::Vacant(place) => {
                place.insert(text);
            }
            Entry::Occupied(known) => self.differ_by_cast |= *known.get() != text,
        }
    }

    /// A key of GROUP BY, or the keys of a set.
    fn key(&mut self, key: &Expr) {
        match key {
            Expr::GroupingSets(sets) | Expr::Rollup(sets) | Expr::Cube(sets) => sets.iter().flatten().for_each(|key| self.add(key)),
            key => {
                self.add(key);
                self.differ_by_cast |= is_cast_column(key);
            }
        }
    }
}

/// Whether a key is a column but for its casts.
fn is_cast_column(key: &Expr) -> bool {
    match key {
        Expr::Nested(inner) => is_cast_column(inner),
        Expr::Cast { expr: inner, .. } => names_a_column(inner),
        _ => false,
    }
}

fn names_a_column(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => names_a_column(inner),
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        _ => false,
    }
}

fn is_computed_beside_rows(function: &Function) -> bool {
    let name = || function.name.0.last().and_then(ObjectNamePart::as_ident).map(fold);
    function.over.is_some() || name().is_some_and(|name| is_known(&name))
}

/// The text of an expression whose columns have no relation.
fn plain(expr: &Expr, without_casts: bool) -> String {
    let mut expr = expr.clone();
    let _: ControlFlow<()> = VisitMut::visit(&mut expr, &mut Plain { without_casts });
    expr.to_string()
}

struct Plain {
    without_casts: bool,
}

impl VisitorMut for Plain {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let shorter = match expr {
            Expr::Cast { expr: inner, .. } if self.without_casts => take_out(inner),
            Expr::Nested(inner) => take_out(inner),
            Expr::CompoundIdentifier(parts) => match parts.pop() {
                Some(column) => Expr::Identifier(column),
                None => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        *expr = shorter;
        ControlFlow::Continue(())
    }
}

fn take_out(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(Value::Null))
}

struct Calls;

impl VisitorMut for Calls {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Cast { expr: inner, data_type, .. } = expr
            && !names_an_object(inner)
            && let Some((name, modifiers)) = type_of(data_type)
        {
            let modifiers = modifiers.into_iter().map(|number| Expr::value(Value::Number(number, false)));
            let arguments = std::iter::once(take_out(inner)).chain(modifiers).collect();
            *expr = call_with(&format!("pg_cast_{name}"), arguments);
        }
        ControlFlow::Continue(())
    }
}

/// Whether what is cast is a cast to a type that another pass knows, such as `regclass`.
fn names_an_object(inner: &Expr) -> bool {
    match inner {
        Expr::Nested(inner) => names_an_object(inner),
        Expr::Cast { data_type, .. } => type_of(data_type).is_none(),
        _ => false,
    }
}

/// The name of a plain type with its modifiers.
fn type_of(data_type: &DataType) -> Option<(&'static str, Vec<String>)> {
    let name = match data_type {
        DataType::SmallInt(None) | DataType::Int2(None) => "int2",
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => "int4",
        DataType::BigInt(None) | DataType::Int8(None) => "int8",
        DataType::Real | DataType::Float4 => "float4",
        DataType::DoublePrecision | DataType::Float8 => "float8",
        DataType::Boolean | DataType::Bool => "bool",
        DataType::Text => "text",
        DataType::Varchar(length) | DataType::CharacterVarying(length) => return with_length("varchar", *length),
        DataType::Char(length) | DataType::Character(length) => {
            let one = CharacterLength::IntegerLength { length: 1, unit: None };
            return with_length("bpchar", Some(length.unwrap_or(one)));
        }
        DataType::Bytea => "bytea",
        DataType::Date => "date",
        DataType::Time(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => "time",
        DataType::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => "timestamp",
        DataType::Timestamp(None, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => "timestamptz",
        DataType::Uuid => "uuid",
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => {
            let modifiers = match info {
                ExactNumberInfo::None => Vec::new(),
                ExactNumberInfo::Precision(precision) => vec![precision.to_string()],
                ExactNumberInfo::PrecisionAndScale(precision, scale) => vec![precision.to_string(), scale.to_string()],
            };
            return Some(("numeric", modifiers));
        }
        _ => return None,
    };
    Some((name, Vec::new()))
}

fn with_length(name: &'static str, length: Option<CharacterLength>) -> Option<(&'static str, Vec<String>)> {
    match length {
        None => Some((name, Vec::new())),
        Some(CharacterLength::IntegerLength { length, unit: None }) => Some((name, vec![length.to_string()])),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::super::postgres::Postgres;
    use super::*;

    fn check(sql: &str, expected: &str) {
        let mut query = *Parser::new(&Postgres).try_with_sql(sql).unwrap().parse_query().unwrap();
        rewrite(&mut query);
        assert_eq!(query.to_string(), expected);
    }

    #[test]
    fn calls_that_differ_by_a_cast_get_names_of_their_own() {
        check("SELECT min(x) AS a, min(x::text) AS b FROM t", "SELECT min(x) AS a, min(pg_cast_text(x)) AS b FROM t");
        check(
            "SELECT count(DISTINCT t.d) AS a, count(DISTINCT d::date) AS b FROM t",
            "SELECT count(DISTINCT t.d) AS a, count(DISTINCT pg_cast_date(d)) AS b FROM t",
        );
        check(
            "SELECT sum(x) OVER () AS a, sum(x::text::numeric(8,2)) OVER () AS b FROM t",
            "SELECT sum(x) OVER () AS a, sum(pg_cast_numeric(pg_cast_text(x), 8, 2)) OVER () AS b FROM t",
        );
        check(
            "SELECT y, max(x) AS a FROM t GROUP BY y ORDER BY max(x::text)",
            "SELECT y, max(x) AS a FROM t GROUP BY y ORDER BY max(pg_cast_text(x))",
        );
        check(
            "SELECT 1 AS a UNION ALL SELECT max(x) FROM t HAVING max(x::text) = '2'",
            "SELECT 1 AS a UNION ALL SELECT max(x) FROM t HAVING max(pg_cast_text(x)) = '2'",
        );
    }

    #[test]
    fn keys_that_differ_by_a_cast_get_names_of_their_own() {
        check(
            "SELECT d::date AS a, d::time AS b FROM t GROUP BY d::date, d::time",
            "SELECT pg_cast_date(d) AS a, pg_cast_time(d) AS b FROM t GROUP BY pg_cast_date(d), pg_cast_time(d)",
        );
        check(
            "SELECT d::date AS a, d::time FROM t GROUP BY a, 2",
            "SELECT pg_cast_date(d) AS a, pg_cast_time(d) FROM t GROUP BY a, 2",
        );
        check(
            "SELECT d::date AS a, count(*) AS n FROM t GROUP BY ROLLUP (d::date, t.d)",
            "SELECT pg_cast_date(d) AS a, count(*) AS n FROM t GROUP BY ROLLUP (pg_cast_date(d), t.d)",
        );
    }

    #[test]
    fn keys_that_are_columns_but_for_a_cast_get_names_of_their_own() {
        check("SELECT x::text AS a FROM t GROUP BY 1", "SELECT pg_cast_text(x) AS a FROM t GROUP BY 1");
        check(
            "SELECT count(*) FROM t GROUP BY (t.x)::char(2), y::varchar(3)",
            "SELECT count(*) FROM t GROUP BY pg_cast_bpchar((t.x), 2), pg_cast_varchar(y, 3)",
        );
    }

    #[test]
    fn other_casts_stay_as_they_are() {
        for sql in [
            "SELECT (x + 1)::TEXT AS a, sum(y::INT) AS b FROM t GROUP BY (x + 1)::TEXT",
            "SELECT sum(x) AS a, sum(y::INT) AS b FROM t",
            "SELECT sum(x) AS a, sum(t.x) AS b, y::INT AS c FROM t GROUP BY y",
        ] {
            check(sql, sql);
        }
    }
}
