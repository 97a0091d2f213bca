//! Keys of ORDER BY that are written otherwise than what they mean: `LOWER(name)` is the output `lower(name)`, and the name in
//! `upper(name)` is the column's where an output has taken it.
//!
//! The passes behind compare what is written. So such a key gets the spelling of its output; where the output list cannot be moved
//! below the order (`set_order`), beside `*` and DISTINCT ON, the name gets that of the one relation which has it.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Distinct, Expr, Ident, ObjectName, ObjectNamePart, OrderBy, OrderByKind, Query, SelectItem, SetExpr, Value,
    VisitMut, VisitorMut,
};

use super::Known;
use super::dependent::{Side, sides, with_relation};
use super::name::fold;
use super::set_order::{is_plain, reads, taken};
use super::whole_row::Relations;
use crate::federation::semantics::type_of;

/// Settles the keys of one query, not those of the queries inside it.
pub(super) fn settle(query: &mut Query, relations: &Relations<'_>, known: &Known<'_>) {
    let Some(OrderBy { kind: OrderByKind::Expressions(keys), .. }) = &mut query.order_by else { return };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let select = select.as_mut();
    let taken = taken(&select.projection);
    let is_distinct = matches!(select.distinct, Some(Distinct::Distinct));
    let is_meant = |key: &Expr| reads(key, &taken) || is_distinct && !is_plain(key);
    if !keys.iter().any(|key| is_meant(&key.expr)) {
        return;
    }
    let sides = sides(&select.from, relations, known);
    // A name alone would mean an output of that name.
    let outputs = select.projection.iter().filter_map(shown).filter(|expr| !is_plain(expr));
    let outputs: Vec<(Expr, &Expr)> = outputs.map(|expr| (folded(expr, &sides), expr)).collect();
    for key in keys.iter_mut().filter(|key| is_meant(&key.expr)) {
        let meant = folded(&key.expr, &sides);
        if let Some((_, own)) = outputs.iter().find(|(known, _)| *known == meant) {
            key.expr = (*own).clone();
        }
    }
    let mut naming = Naming { taken: &taken, sides: &sides, place: Place::default() };
    let is_open = select.projection.iter().any(|item| shown(item).is_none());
    let distinct_on: &mut [Expr] = match &mut select.distinct {
        Some(Distinct::On(expressions)) => expressions.as_mut_slice(),
        _ if is_open => &mut [],
        _ => return,
    };
    for key in keys.iter_mut().map(|key| &mut key.expr).chain(distinct_on).filter(|key| !is_plain(key)) {
        let _: ControlFlow<()> = VisitMut::visit(key, &mut naming);
    }
}

/// What an item shows, unless it is a wildcard.
fn shown(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// What is around an expression in a key.
#[derive(Default)]
struct Place {
    /// How many subqueries are.
    queries: usize,
    /// How many field accesses are: their names are no columns.
    accesses: usize,
}

impl Place {
    /// Whether a name here is that of a column of the query itself.
    fn is_own(&self) -> bool {
        self.queries == 0 && self.accesses == 0
    }
}

struct Naming<'n> {
    taken: &'n BTreeSet<String>,
    sides: &'n [Side],
    place: Place,
}

impl VisitorMut for Naming<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.place.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.place.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.place.accesses += usize::from(matches!(expr, Expr::CompoundFieldAccess { .. }));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.place.accesses -= usize::from(matches!(expr, Expr::CompoundFieldAccess { .. }));
        let is_taken = matches!(&*expr, Expr::Identifier(name) if self.taken.contains(&fold(name)));
        if is_taken
            && self.place.is_own()
            && let Some(column) = with_relation(expr, self.sides)
        {
            *expr = column;
        }
        ControlFlow::Continue(())
    }
}

/// An expression without what may differ between two spellings of it: letter case, parentheses, relations before columns, names of
/// types and forms of casts.
pub(super) fn folded(expr: &Expr, sides: &[Side]) -> Expr {
    let mut own = expr.clone();
    let _: ControlFlow<()> = VisitMut::visit(&mut own, &mut Folding { sides, place: Place::default() });
    own
}

struct Folding<'s> {
    sides: &'s [Side],
    place: Place,
}

impl VisitorMut for Folding<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.place.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.place.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.place.accesses += usize::from(matches!(expr, Expr::CompoundFieldAccess { .. }));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.place.accesses -= usize::from(matches!(expr, Expr::CompoundFieldAccess { .. }));
        let is_name = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        if is_name
            && self.place.is_own()
            && let Some(column) = with_relation(expr, self.sides)
        {
            *expr = column;
        }
        match expr {
            Expr::Nested(inner) => {
                let inner = std::mem::replace(inner.as_mut(), Expr::value(Value::Null));
                *expr = inner;
            }
            Expr::Identifier(name) => fold_in_place(name),
            Expr::CompoundIdentifier(parts) => parts.iter_mut().for_each(fold_in_place),
            Expr::Function(function) => fold_name(&mut function.name),
            Expr::Cast { kind, data_type, .. } => {
                if matches!(kind, CastKind::Cast) {
                    *kind = CastKind::DoubleColon;
                }
                if let Ok(pg_type) = type_of(data_type) {
                    let name = Ident::new(format!("{} {}", pg_type.oid, pg_type.typmod));
                    *data_type = DataType::Custom(ObjectName(vec![ObjectNamePart::Identifier(name)]), Vec::new());
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn fold_in_place(name: &mut Ident) {
    *name = Ident::with_quote('"', fold(name));
}

/// The name of a function without the schema of the system's own.
fn fold_name(name: &mut ObjectName) {
    for part in &mut name.0 {
        if let ObjectNamePart::Identifier(part) = part {
            fold_in_place(part);
        }
    }
    let is_own = matches!(name.0.as_slice(), [ObjectNamePart::Identifier(schema), _] if schema.value == "pg_catalog");
    if is_own {
        name.0.remove(0);
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn check(sql: &str, expected: &str) {
        let columns_of = |name: &ObjectName| match name.to_string().as_str() {
            "s.t" | "t" => Some(vec!["x".to_owned(), "y".to_owned()]),
            "u" => Some(vec!["x".to_owned(), "z".to_owned()]),
            _ => None,
        };
        let known = Known { columns_of: &columns_of, key_of: &|_| None, is_aggregate: &|_| false };
        let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        let mut relations = Relations::new(&columns_of);
        relations.enter(&query);
        settle(&mut query, &relations, &known);
        assert_eq!(query.to_string(), expected, "{sql}");
    }

    #[test]
    fn keys_are_written_as_the_outputs_that_they_are() {
        for (key, output) in [
            ("LOWER(y)", "lower(y)"),
            ("pg_catalog.lower(y)", "lower(y)"),
            ("lower(T.Y)", "lower(y)"),
            ("(lower((y)))", "lower(t.y)"),
            ("CAST(y AS INTEGER)", "y::INT"),
            ("y::decimal(3,1)", "CAST(y AS NUMERIC(3,1))"),
            ("\"y\" || 'a'", "y || 'a'"),
        ] {
            let query = |key: &str| format!("SELECT DISTINCT {output} AS y FROM t ORDER BY {key}");
            check(&query(key), &query(output));
        }
        for sql in [
            "SELECT DISTINCT lower(y) AS y FROM t ORDER BY upper(y), y, 1",
            "SELECT DISTINCT y::INT AS y FROM t ORDER BY y::BIGINT",
            "SELECT DISTINCT lower(a.y) AS y FROM t AS a, t AS b ORDER BY lower(b.y)",
            "SELECT DISTINCT x || \"Y\" AS y FROM t ORDER BY x || y",
            "SELECT DISTINCT y AS z FROM t ORDER BY t.y",
            "SELECT lower(y) AS z FROM t ORDER BY LOWER(y)",
        ] {
            check(sql, sql);
        }
    }

    #[test]
    fn names_that_outputs_have_taken_are_written_with_their_relation() {
        for (sql, expected) in [
            ("SELECT *, -x AS x FROM t ORDER BY x + 1, x", "SELECT *, -x AS x FROM t ORDER BY t.\"x\" + 1, x"),
            ("SELECT *, -x FROM t ORDER BY -x", "SELECT *, -x FROM t ORDER BY -x"),
            (
                "SELECT DISTINCT ON (-y, x, z) -y AS y FROM s.t, u AS v ORDER BY -y, x, z",
                "SELECT DISTINCT ON (-s.t.\"y\", x, z) -y AS y FROM s.t, u AS v ORDER BY -s.t.\"y\", x, z",
            ),
            (
                "SELECT DISTINCT ON (i % 3) i % 3 AS i FROM generate_series(1, 9) AS g (i) ORDER BY i % 3",
                "SELECT DISTINCT ON (g.\"i\" % 3) i % 3 AS i FROM generate_series(1, 9) AS g (i) ORDER BY g.\"i\" % 3",
            ),
            (
                "SELECT v.*, -y AS z FROM t, u AS v ORDER BY z + x, (SELECT max(z) FROM t)",
                "SELECT v.*, -y AS z FROM t, u AS v ORDER BY v.\"z\" + x, (SELECT max(z) FROM t)",
            ),
        ] {
            check(sql, expected);
        }
        // Two relations have it, or one may.
        for sql in [
            "SELECT *, -y AS x FROM t, u ORDER BY x + 1",
            "SELECT *, -x AS x FROM other ORDER BY x + 1",
            "SELECT *, -y AS y FROM t, other ORDER BY y + 1",
            "SELECT -x AS x FROM t ORDER BY x + 1",
        ] {
            check(sql, sql);
        }
    }
}
