//! What keys of ORDER BY and DISTINCT ON mean beside each other.
//!
//! PostgreSQL takes the keys of DISTINCT ON as a set that the order must begin with, in any order of its own; the planner compares them place
//! by place. A name that two different outputs have is ambiguous for PostgreSQL, where the planner takes the first; and the rows of a
//! UNION are ordered by its columns alone.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Ident, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, UnaryOperator, Visit, VisitMut,
    Visitor, VisitorMut,
};

use super::Known;
use super::alike::folded;
use super::dependent::{Side, sides};
use super::grouping::ordinal;
use super::name::{figure_name, fold};
use super::whole_row::Relations;
use crate::error::{Diagnosis, sqlstate};

/// Settles the keys of one query, not those of the queries inside it.
///
/// # Errors
/// 42702 for a name that different outputs have, 0A000 for expressions over the rows of set operations.
pub(super) fn settle(query: &mut Query, relations: &Relations<'_>, known: &Known<'_>) -> Result<(), Diagnosis> {
    let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = &mut query.order_by else { return Ok(()) };
    let select = match query.body.as_mut() {
        SetExpr::Select(select) => select,
        body => return if is_set_operation(body) { of_sets(order, body) } else { Ok(()) },
    };
    // What one relation alone shows needs no further look.
    let is_on = matches!(select.distinct, Some(Distinct::On(_)));
    let names = repeated_names(&select.projection);
    if !is_on && !order.iter().any(|key| bare_name(&key.expr).is_some_and(|name| names.contains(&name))) {
        return Ok(());
    }
    let sides = sides(&select.from, relations, known);
    for name in order.iter().filter_map(|key| bare_name(&key.expr)).filter(|name| names.contains(name)) {
        tell_apart(&name, &select.projection, &sides)?;
    }
    in_order(select, order, &sides);
    Ok(())
}

/// Puts the keys of DISTINCT ON in the order of those of ORDER BY. A key that is there twice says nothing more the second time.
fn in_order(select: &mut Select, order: &mut Vec<OrderByExpr>, sides: &[Side]) {
    let Some(Distinct::On(keys)) = &mut select.distinct else { return };
    let mut meanings = Meanings::of(&select.projection, sides);
    let mut seen = BTreeSet::new();
    let mut ordered = Vec::with_capacity(order.len());
    order.retain(|key| {
        let number = meanings.number(&key.expr, true);
        let is_new = seen.insert(number);
        if is_new {
            ordered.push(number);
        }
        is_new
    });
    let mut left: Vec<(usize, Expr)> = Vec::with_capacity(keys.len());
    for key in std::mem::take(keys) {
        // What a place stands for was written there before.
        let number = meanings.number(&key, false);
        if left.iter().all(|(known, _)| *known != number) {
            left.push((number, key));
        }
    }
    for number in ordered {
        let Some(place) = left.iter().position(|(own, _)| *own == number) else { break };
        keys.push(left.remove(place).1);
    }
    // The planner tells that the order does not begin with these.
    keys.extend(left.into_iter().map(|(_, key)| key));
}

/// Numbers of expressions: one for those that mean the same.
struct Meanings<'s> {
    sides: &'s [Side],
    known: Vec<Expr>,
    /// The names of outputs and their numbers; `None` for wildcards.
    items: Vec<Option<(String, usize)>>,
}

impl<'s> Meanings<'s> {
    fn of(items: &[SelectItem], sides: &'s [Side]) -> Self {
        let mut meanings = Self { sides, known: Vec::new(), items: Vec::with_capacity(items.len()) };
        for item in items {
            let known = output(item).map(|(expr, name)| (name, meanings.of_expression(expr)));
            meanings.items.push(known);
        }
        meanings
    }

    fn of_expression(&mut self, expr: &Expr) -> usize {
        let own = folded(expr, self.sides);
        self.known.iter().position(|known| *known == own).unwrap_or_else(|| {
            self.known.push(own);
            self.known.len() - 1
        })
    }

    /// The number of a key, which may be the name of an output or, if `may_be_place`, its place.
    fn number(&mut self, key: &Expr, may_be_place: bool) -> usize {
        let key = without_nesting(key);
        let item = if let Expr::Identifier(name) = key {
            let name = fold(name);
            self.items.iter().flatten().find(|(known, _)| *known == name)
        } else {
            let place = ordinal(key).filter(|_| may_be_place);
            place.and_then(|place| self.items.iter().map_while(Option::as_ref).nth(place))
        };
        match item {
            Some((_, number)) => *number,
            None => self.of_expression(key),
        }
    }
}

/// Names that several outputs have.
fn repeated_names(items: &[SelectItem]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    items.iter().filter_map(output).map(|(_, name)| name).filter(|name| !seen.insert(name.clone())).collect()
}

/// Refuses a name whose outputs are different. Where it is not known, the first one stays meant.
fn tell_apart(name: &str, items: &[SelectItem], sides: &[Side]) -> Result<(), Diagnosis> {
    let mut own = items.iter().filter_map(output).filter(|(_, known)| known == name).map(|(expr, _)| folded(expr, sides));
    let Some(first) = own.next() else { return Ok(()) };
    for other in own.filter(|other| *other != first) {
        let is_other_relation = is_of_other_relation(&first, &other);
        if !is_other_relation && bare(&first, false) == bare(&other, false) {
            continue;
        }
        // A cast to the type that is there already is none to PostgreSQL.
        if !is_other_relation && bare(&first, true) == bare(&other, true) {
            let message = format!("ORDER BY \"{name}\" is not supported where a cast alone tells its outputs apart");
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_hint("Give the outputs different names."));
        }
        return Err(ambiguous(name));
    }
    Ok(())
}

fn ambiguous(name: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::AMBIGUOUS_COLUMN, format!("ORDER BY \"{name}\" is ambiguous"))
}

/// Whether two columns are written with relations of different names.
fn is_of_other_relation(first: &Expr, other: &Expr) -> bool {
    match (first, other) {
        (Expr::CompoundIdentifier(first), Expr::CompoundIdentifier(other)) => {
            first.iter().rev().zip(other.iter().rev()).any(|(first, other)| first.value != other.value)
        }
        _ => false,
    }
}

/// A folded expression without the relations of its columns, which may not be known, and without casts if asked.
fn bare(expr: &Expr, without_casts: bool) -> Expr {
    struct Baring(bool);
    impl VisitorMut for Baring {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            match expr {
                Expr::CompoundIdentifier(names) => {
                    if let Some(last) = names.pop() {
                        *expr = Expr::Identifier(Ident::with_quote('"', last.value));
                    }
                }
                Expr::Cast { expr: inner, .. } if self.0 => {
                    let inner: Expr = (**inner).clone();
                    *expr = inner;
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut own = expr.clone();
    let _: ControlFlow<()> = VisitMut::visit(&mut own, &mut Baring(without_casts));
    own
}

fn is_set_operation(body: &SetExpr) -> bool {
    match body {
        SetExpr::SetOperation { .. } => true,
        SetExpr::Query(inner) => is_set_operation(&inner.body),
        _ => false,
    }
}

/// Checks the keys of a set operation, whose names are those of its first SELECT.
fn of_sets(order: &[OrderByExpr], body: &SetExpr) -> Result<(), Diagnosis> {
    let select = first_select(body);
    let items = select.map(|select| select.projection.as_slice()).unwrap_or_default();
    let is_open = select.is_none() || items.iter().any(|item| output(item).is_none());
    let names: BTreeSet<String> = items.iter().filter_map(output).map(|(_, name)| name).collect();
    let repeated = repeated_names(items);
    for key in order {
        match without_nesting(&key.expr) {
            Expr::Identifier(name) if repeated.contains(&fold(name)) => return Err(ambiguous(&fold(name))),
            Expr::Identifier(_) | Expr::Value(_) | Expr::CompoundIdentifier(_) => {}
            // `-1` is a place that does not exist.
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } if matches!(without_nesting(expr), Expr::Value(_)) => {}
            // What is no column of it is told as such.
            key if !is_open && reads_others(key, &names) => {}
            _ => {
                let message = "invalid UNION/INTERSECT/EXCEPT ORDER BY clause";
                return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
                    .with_detail("Only result column names can be used, not expressions or functions.")
                    .with_hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause."));
            }
        }
    }
    Ok(())
}

fn first_select(mut body: &SetExpr) -> Option<&Select> {
    loop {
        match body {
            SetExpr::Select(select) => return Some(select.as_ref()),
            SetExpr::SetOperation { left, .. } => body = left,
            SetExpr::Query(inner) => body = &inner.body,
            _ => return None,
        }
    }
}

/// Whether a key reads, outside of its subqueries, what is none of some names.
fn reads_others(key: &Expr, names: &BTreeSet<String>) -> bool {
    struct Others<'n>(&'n BTreeSet<String>, usize);
    impl Visitor for Others<'_> {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.1 += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.1 -= 1;
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let is_other = match expr {
                Expr::Identifier(name) => !self.0.contains(&fold(name)),
                Expr::CompoundIdentifier(_) => true,
                _ => false,
            };
            if is_other && self.1 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    Visit::visit(key, &mut Others(names, 0)).is_break()
}

/// An output and its name; `None` for a wildcard.
fn output(item: &SelectItem) -> Option<(&Expr, String)> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some((expr, figure_name(expr))),
        SelectItem::ExprWithAlias { expr, alias } => Some((expr, fold(alias))),
        _ => None,
    }
}

fn bare_name(key: &Expr) -> Option<String> {
    if let Expr::Identifier(name) = without_nesting(key) { Some(fold(name)) } else { None }
}

fn without_nesting(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::ObjectName;
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn settled(sql: &str) -> Result<String, String> {
        let columns_of = |name: &ObjectName| match name.to_string().as_str() {
            "t" => Some(vec!["a".to_owned(), "b".to_owned()]),
            "u" => Some(vec!["a".to_owned(), "c".to_owned()]),
            _ => None,
        };
        let known = Known { columns_of: &columns_of, key_of: &|_| None, is_aggregate: &|_| false };
        let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        let mut relations = Relations::new(&columns_of);
        relations.enter(&query);
        settle(&mut query, &relations, &known).map_err(|error| error.sqlstate)?;
        Ok(query.to_string())
    }

    #[test]
    fn distinct_on_stands_in_the_order_of_the_keys() {
        for (sql, expected) in [
            ("SELECT DISTINCT ON (a, b) a FROM t ORDER BY b, a, c", "SELECT DISTINCT ON (b, a) a FROM t ORDER BY b, a, c"),
            (
                "SELECT DISTINCT ON (b, a) a, b FROM t ORDER BY 1, 2 DESC",
                "SELECT DISTINCT ON (a, b) a, b FROM t ORDER BY 1, 2 DESC",
            ),
            (
                "SELECT DISTINCT ON (a, LOWER(t.b)) b AS x FROM t ORDER BY lower(b), lower(b) DESC, t.a, (a)",
                "SELECT DISTINCT ON (LOWER(t.b), a) b AS x FROM t ORDER BY lower(b), t.a",
            ),
            ("SELECT DISTINCT ON (a, x) -b AS x FROM t ORDER BY -b, a", "SELECT DISTINCT ON (x, a) -b AS x FROM t ORDER BY -b, a"),
            ("SELECT DISTINCT ON (a, t.a) b FROM t ORDER BY a, b", "SELECT DISTINCT ON (a) b FROM t ORDER BY a, b"),
        ] {
            assert_eq!(settled(sql).as_deref(), Ok(expected), "{sql}");
        }
        for sql in [
            "SELECT DISTINCT ON (a, b) a FROM t ORDER BY c, b, a",
            "SELECT DISTINCT ON (a, b) a FROM t ORDER BY a, c, b",
            "SELECT DISTINCT ON (2, b) 2 AS x, b FROM t ORDER BY 1, 2",
            "SELECT DISTINCT ON (a, b) a FROM t",
            "SELECT a FROM t ORDER BY a, a",
        ] {
            assert_eq!(settled(sql).as_deref(), Ok(sql));
        }
    }

    #[test]
    fn names_of_different_outputs_are_ambiguous() {
        for (sql, expected) in [
            ("SELECT a, b AS a FROM t ORDER BY a", Some("42702")),
            ("SELECT t.a, u.a FROM t, u ORDER BY (a)", Some("42702")),
            ("SELECT lower(a), lower(b) FROM t ORDER BY lower", Some("42702")),
            ("SELECT a, a::TEXT AS a FROM t ORDER BY a", Some("0A000")),
            ("SELECT a AS x, b AS x FROM t UNION SELECT 1, 2 ORDER BY x", Some("42702")),
            ("SELECT a, t.a FROM t ORDER BY a", None),
            ("SELECT a, other.a FROM other, t ORDER BY a", None),
            ("SELECT a, b AS a FROM t ORDER BY 1, t.a", None),
            ("SELECT a AS x, b AS x, a FROM t ORDER BY a", None),
        ] {
            assert_eq!(settled(sql).err().as_deref(), expected, "{sql}");
        }
    }

    #[test]
    fn set_operations_are_ordered_by_their_columns_alone() {
        for (sql, expected) in [
            ("SELECT a FROM t UNION SELECT c FROM u ORDER BY a + 1", Some("0A000")),
            ("(SELECT a FROM t UNION SELECT c FROM u) ORDER BY lower((a))", Some("0A000")),
            ("SELECT * FROM t EXCEPT SELECT * FROM u ORDER BY a + 1", Some("0A000")),
            ("SELECT a FROM t INTERSECT SELECT c FROM u ORDER BY a, 1, (a)", None),
            ("SELECT a FROM t UNION SELECT c FROM u ORDER BY c + 1", None),
            ("SELECT a FROM t UNION SELECT c FROM u ORDER BY -1", None),
            ("(SELECT a FROM t ORDER BY a + 1) UNION SELECT c FROM u", None),
            ("(SELECT a FROM t) ORDER BY b + 1", None),
        ] {
            assert_eq!(settled(sql).err().as_deref(), expected, "{sql}");
        }
    }
}
