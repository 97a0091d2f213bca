//! Mistakes that can be seen without knowing any relation: aggregates and window functions where no rows are grouped yet, and
//! an order that DISTINCT has no value for. The planner would tell them in its own words, or not at all.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Delete, Distinct, Expr, FromTable, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, JoinConstraint,
    JoinOperator, ObjectNamePart, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, UnaryOperator,
    Update, UpdateTableFromKind, Value, Visit, Visitor,
};

use super::locate::character_of;
use super::name::{figure_name, fold};
use super::syntax::at_or_near;
use super::using::name_of;
use crate::error::{Diagnosis, sqlstate};

/// Functions that are nothing without OVER.
const WINDOW_ONLY: &[&str] = &[
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

/// PostgreSQL's `ERRCODE_DUPLICATE_ALIAS`.
const DUPLICATE_ALIAS: &str = "42712";
/// PostgreSQL's `ERRCODE_INVALID_COLUMN_REFERENCE`.
const INVALID_COLUMN_REFERENCE: &str = "42P10";

/// Looks for mistakes in a query, or another part of a statement, that is written in `text`. `is_aggregate` knows the names of aggregate
/// functions.
///
/// # Errors
/// 42803, 42P20, 42809, 42P10, 42601, 42712, each with its place.
pub fn check(part: &impl Visit, text: &str, is_aggregate: &dyn Fn(&str) -> bool) -> Result<(), Diagnosis> {
    told(part.visit(&mut Looking { text, is_aggregate, depth: 0 }))
}

/// The same for an UPDATE, which has relations and a condition as a query has them.
///
/// # Errors
/// As [`check`].
pub fn check_update(update: &Update, text: &str, is_aggregate: &dyn Fn(&str) -> bool) -> Result<(), Diagnosis> {
    let others = match &update.from {
        Some(UpdateTableFromKind::BeforeSet(others) | UpdateTableFromKind::AfterSet(others)) => others.as_slice(),
        None => &[],
    };
    let tables: Vec<&TableWithJoins> = std::iter::once(&update.table).chain(others).collect();
    told(Looking { text, is_aggregate, depth: 0 }.rows(&tables, update.selection.as_ref()))?;
    check(update, text, is_aggregate)
}

/// The same for a DELETE.
///
/// # Errors
/// As [`check`].
pub fn check_delete(delete: &Delete, text: &str, is_aggregate: &dyn Fn(&str) -> bool) -> Result<(), Diagnosis> {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let tables: Vec<&TableWithJoins> = from.iter().chain(delete.using.iter().flatten()).collect();
    told(Looking { text, is_aggregate, depth: 0 }.rows(&tables, delete.selection.as_ref()))?;
    check(delete, text, is_aggregate)
}

fn told(found: Found) -> Result<(), Diagnosis> {
    match found {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Looking<'t> {
    text: &'t str,
    is_aggregate: &'t dyn Fn(&str) -> bool,
    /// How many queries are around, with the one that is looked at.
    depth: usize,
}

/// What a call is to the rows around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Aggregate,
    Window,
}

type Found = ControlFlow<Box<Diagnosis>>;

impl Visitor for Looking<'_> {
    type Break = Box<Diagnosis>;

    fn pre_visit_query(&mut self, query: &Query) -> Found {
        self.depth += 1;
        let SetExpr::Select(select) = query.body.as_ref() else { return self.places(query, None) };
        self.clauses(select)?;
        self.places(query, Some(select.as_ref()))?;
        self.order(query, select)
    }

    fn post_visit_query(&mut self, _query: &Query) -> Found {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Found {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        self.spelling(function)?;
        match self.call(function) {
            None => self.without_over(function),
            Some(Call::Aggregate) => self.inside(function, |inner| match inner {
                Call::Aggregate => (sqlstate::GROUPING_ERROR, "aggregate function calls cannot be nested"),
                Call::Window => (sqlstate::GROUPING_ERROR, "aggregate function calls cannot contain window function calls"),
            }),
            Some(Call::Window) => self.inside(function, |inner| match inner {
                Call::Aggregate => ("", ""),
                Call::Window => (sqlstate::WINDOWING_ERROR, "window function calls cannot be nested"),
            }),
        }
    }
}

impl Looking<'_> {
    fn call(&self, function: &Function) -> Option<Call> {
        if function.over.is_some() {
            return Some(Call::Window);
        }
        let name = function.name.0.last().and_then(ObjectNamePart::as_ident).map(fold)?;
        (self.is_aggregate)(&name).then_some(Call::Aggregate)
    }

    fn at(&self, function: &Function) -> Option<usize> {
        let place = function.name.0.first().and_then(ObjectNamePart::as_ident)?.span.start;
        character_of(self.text, place.line, place.column)
    }

    /// Constants where a number is the place of an output and everything else an expression.
    fn places(&self, query: &Query, select: Option<&Select>) -> Found {
        if let Some(GroupByExpr::Expressions(groups, _)) = select.map(|select| &select.group_by) {
            for group in groups {
                match group {
                    Expr::GroupingSets(sets) | Expr::Rollup(sets) | Expr::Cube(sets) => {
                        sets.iter().flatten().try_for_each(|member| self.place(member, "GROUP BY"))?;
                    }
                    group => self.place(group, "GROUP BY")?,
                }
            }
        }
        if let Some(OrderByKind::Expressions(keys)) = query.order_by.as_ref().map(|order| &order.kind) {
            keys.iter().try_for_each(|key| self.place(&key.expr, "ORDER BY"))?;
        }
        if let Some(Some(Distinct::On(keys))) = select.map(|select| &select.distinct) {
            keys.iter().try_for_each(|key| self.place(key, "DISTINCT ON"))?;
        }
        ControlFlow::Continue(())
    }

    fn place(&self, expr: &Expr, clause: &str) -> Found {
        let value = match expr {
            Expr::Nested(inner) => return self.place(inner, clause),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => return self.negative_place(inner, clause),
            Expr::Value(value) => value,
            _ => return ControlFlow::Continue(()),
        };
        let is_right = match &value.value {
            Value::Number(digits, _) => digits.parse::<i32>().is_ok(),
            Value::Placeholder(_) => true,
            _ => false,
        };
        if is_right {
            return ControlFlow::Continue(());
        }
        let (start, message) = (value.span.start, format!("non-integer constant in {clause}"));
        let error = Diagnosis::new(sqlstate::SYNTAX_ERROR, message);
        ControlFlow::Break(Box::new(error.with_position(character_of(self.text, start.line, start.column))))
    }

    /// A number behind a minus, which is one number to PostgreSQL.
    fn negative_place(&self, number: &Expr, clause: &str) -> Found {
        let (digits, start) = match number {
            Expr::Nested(inner) => return self.negative_place(inner, clause),
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => (digits, value.span.start),
                _ => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        let error = match digits.parse::<i32>() {
            Ok(place) => {
                let message = format!("{clause} position {} is not in select list", -place);
                Diagnosis::new(INVALID_COLUMN_REFERENCE, message)
            }
            Err(_) => Diagnosis::new(sqlstate::SYNTAX_ERROR, format!("non-integer constant in {clause}")),
        };
        let before = character_of(self.text, start.line, start.column).map_or(0, |place| place.saturating_sub(1));
        let minus = self.text.chars().take(before).enumerate().filter(|(_, letter)| *letter == '-').last();
        ControlFlow::Break(Box::new(error.with_position(minus.map(|(place, _)| place + 1))))
    }

    /// Calls that the planner takes for others: `count()` for `count(*)`, and what no call of PostgreSQL has.
    fn spelling(&self, function: &Function) -> Found {
        let broken = |error: Diagnosis| ControlFlow::Break(Box::new(error));
        if function.null_treatment.is_some() {
            return broken(at_or_near("NULLS"));
        }
        let FunctionArguments::List(list) = &function.args else { return ControlFlow::Continue(()) };
        let is_star = matches!(
            list.args.as_slice(),
            [FunctionArg::Unnamed(FunctionArgExpr::Wildcard | FunctionArgExpr::WildcardWithOptions(_))]
        );
        if is_star && list.duplicate_treatment.is_some() {
            return broken(at_or_near("*"));
        }
        let name = function.name.0.last().and_then(ObjectNamePart::as_ident).map(fold);
        if list.args.is_empty() && name.as_deref() == Some("count") {
            let message = "count(*) must be used to call a parameterless aggregate function";
            return broken(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, message).with_position(self.at(function)));
        }
        ControlFlow::Continue(())
    }

    fn without_over(&self, function: &Function) -> Found {
        let Some(name) = function.name.0.last().and_then(ObjectNamePart::as_ident).map(fold) else {
            return ControlFlow::Continue(());
        };
        if !WINDOW_ONLY.contains(&name.as_str()) {
            return ControlFlow::Continue(());
        }
        let message = format!("window function {name} requires an OVER clause");
        ControlFlow::Break(Box::new(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, message).with_position(self.at(function))))
    }

    /// Calls in the arguments of a call.
    fn inside(&self, function: &Function, told: impl Fn(Call) -> (&'static str, &'static str)) -> Found {
        self.each(&function.args, |inner, call| {
            let (code, message) = told(inner);
            if code.is_empty() { None } else { Some(Diagnosis::new(code, message).with_position(self.at(call))) }
        })
    }

    /// Relations and the condition on their rows.
    fn rows(&self, tables: &[&TableWithJoins], condition: Option<&Expr>) -> Found {
        same_names(tables)?;
        if let Some(condition) = condition {
            self.forbidden(tables, condition, "WHERE")?;
        }
        for join in tables.iter().flat_map(|from| &from.joins) {
            if let Some(condition) = on_condition(&join.join_operator) {
                self.forbidden(tables, condition, "JOIN conditions")?;
            }
        }
        ControlFlow::Continue(())
    }

    fn clauses(&self, select: &Select) -> Found {
        let tables: Vec<&TableWithJoins> = select.from.iter().collect();
        self.rows(&tables, select.selection.as_ref())?;
        if let GroupByExpr::Expressions(keys, _) = &select.group_by {
            for key in keys {
                self.forbidden(&tables, key, "GROUP BY")?;
            }
        }
        match &select.having {
            Some(condition) => self.forbidden(&tables, condition, "HAVING"),
            None => ControlFlow::Continue(()),
        }
    }

    fn forbidden(&self, tables: &[&TableWithJoins], part: &Expr, clause: &str) -> Found {
        self.each(part, |call, function| match call {
            Call::Aggregate if clause == "HAVING" => None,
            Call::Aggregate if self.depth > 1 && is_of_outer_query(function, tables) => {
                let message = "an aggregate in a subquery over columns of an outer query alone is not supported";
                Some(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_position(self.at(function)))
            }
            Call::Aggregate => {
                let message = format!("aggregate functions are not allowed in {clause}");
                Some(Diagnosis::new(sqlstate::GROUPING_ERROR, message).with_position(self.at(function)))
            }
            Call::Window => {
                let message = format!("window functions are not allowed in {clause}");
                Some(Diagnosis::new(sqlstate::WINDOWING_ERROR, message).with_position(self.at(function)))
            }
        })
    }

    /// Visits the calls of a part of the statement, but for those in its subqueries.
    fn each(&self, part: &impl Visit, told: impl Fn(Call, &Function) -> Option<Diagnosis>) -> Found {
        struct Calls<'l, F> {
            looking: &'l Looking<'l>,
            told: F,
            depth: usize,
        }
        impl<F: Fn(Call, &Function) -> Option<Diagnosis>> Visitor for Calls<'_, F> {
            type Break = Box<Diagnosis>;

            fn pre_visit_query(&mut self, _query: &Query) -> Found {
                self.depth += 1;
                ControlFlow::Continue(())
            }

            fn post_visit_query(&mut self, _query: &Query) -> Found {
                self.depth -= 1;
                ControlFlow::Continue(())
            }

            fn pre_visit_expr(&mut self, expr: &Expr) -> Found {
                let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
                let found = self.looking.call(function).filter(|_| self.depth == 0);
                match found.and_then(|call| (self.told)(call, function)) {
                    Some(error) => ControlFlow::Break(Box::new(error)),
                    None => ControlFlow::Continue(()),
                }
            }
        }
        part.visit(&mut Calls { looking: self, told, depth: 0 })
    }

    /// `SELECT DISTINCT a … ORDER BY b`
    fn order(&self, query: &Query, select: &Select) -> Found {
        let (Some(Distinct::Distinct), Some(order)) = (&select.distinct, &query.order_by) else { return ControlFlow::Continue(()) };
        let OrderByKind::Expressions(keys) = &order.kind else { return ControlFlow::Continue(()) };
        let mut outputs = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) => outputs.push((figure_name(expr), column_name(expr))),
                SelectItem::ExprWithAlias { expr, alias } => outputs.push((fold(alias), column_name(expr))),
                _ => return ControlFlow::Continue(()),
            }
        }
        for key in keys {
            // Whether the columns are those of one relation, the planner decides.
            let is_known = match &key.expr {
                Expr::Value(value) => matches!(value.value, Value::Number(..)),
                Expr::Identifier(name) => {
                    let name = fold(name);
                    outputs.iter().any(|(output, column)| *output == name || column.as_ref() == Some(&name))
                }
                Expr::CompoundIdentifier(_) => outputs.iter().any(|(_, column)| *column == column_name(&key.expr)),
                // Parentheses and letter case may differ where the meaning does not: the planner decides.
                _ => true,
            };
            if !is_known {
                let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                let place = super::locate::start_of(&key.expr).and_then(|start| character_of(self.text, start.line, start.column));
                let error = Diagnosis::new(INVALID_COLUMN_REFERENCE, message).with_position(place);
                return ControlFlow::Break(Box::new(error));
            }
        }
        ControlFlow::Continue(())
    }
}

/// The name of a column that is written with or without its relation.
fn column_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) => column_name(inner),
        Expr::Identifier(name) => Some(fold(name)),
        Expr::CompoundIdentifier(parts) => parts.last().map(fold),
        _ => None,
    }
}

/// Two relations of one FROM may not have the same name, unless both have it of themselves and are different tables.
fn same_names(from: &[&TableWithJoins]) -> Found {
    let mut seen: Vec<(String, Option<String>)> = Vec::new();
    let tables = from.iter().flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    for table in tables {
        let (alias, written) = match table {
            TableFactor::Table { alias: None, name, args: None, .. } => {
                let Some(last) = name.0.last().and_then(ObjectNamePart::as_ident).map(fold) else { continue };
                (last, Some(name.to_string().to_lowercase()))
            }
            TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
                (fold(&alias.name), None)
            }
            _ => continue,
        };
        let clashes = |(name, table): &(String, Option<String>)| {
            *name == alias && (*table == written || table.is_none() || written.is_none())
        };
        if seen.iter().any(clashes) {
            let message = format!("table name \"{alias}\" specified more than once");
            return ControlFlow::Break(Box::new(Diagnosis::new(DUPLICATE_ALIAS, message)));
        }
        seen.push((alias, written));
    }
    ControlFlow::Continue(())
}

fn on_condition(operator: &JoinOperator) -> Option<&Expr> {
    match super::using::constraint(operator)? {
        JoinConstraint::On(condition) => Some(condition),
        _ => None,
    }
}

/// Whether all columns of an aggregate are written with the names of relations that its own query does not have.
fn is_of_outer_query(function: &Function, tables: &[&TableWithJoins]) -> bool {
    struct Columns<'o> {
        own: &'o [String],
        reads_outer: bool,
    }
    impl Visitor for Columns<'_> {
        type Break = ();

        fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let relation = match expr {
                Expr::Identifier(_) => return ControlFlow::Break(()),
                Expr::CompoundIdentifier(names) => names.iter().nth_back(1).map(fold),
                _ => return ControlFlow::Continue(()),
            };
            if relation.is_none_or(|name| self.own.contains(&name)) {
                return ControlFlow::Break(());
            }
            self.reads_outer = true;
            ControlFlow::Continue(())
        }
    }
    let factors =
        tables.iter().flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    // Without all names it is not known whose the columns are.
    let Some(own) = factors.map(|factor| name_of(factor)?.last().map(fold)).collect::<Option<Vec<String>>>() else { return false };
    let mut columns = Columns { own: &own, reads_outer: false };
    function.visit(&mut columns).is_continue() && columns.reads_outer
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{ast::Statement, dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn find(sql: &str) -> Result<(), (String, Option<usize>, String)> {
        let query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        let is_aggregate = |name: &str| matches!(name, "count" | "sum" | "max");
        check(&query, sql, &is_aggregate).map_err(|error| (error.sqlstate, error.position, error.message))
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let rows = [
            ("SELECT 1 FROM t WHERE count(*) > 1", "42803", 23, "aggregate functions are not allowed in WHERE"),
            ("SELECT 1 FROM t JOIN u ON sum(t.a) = 1", "42803", 27, "aggregate functions are not allowed in JOIN conditions"),
            (
                "SELECT (SELECT 1 FROM u WHERE u.a = max(t.a)) FROM t",
                "0A000",
                37,
                "an aggregate in a subquery over columns of an outer query alone is not supported",
            ),
            ("SELECT (SELECT 1 FROM u WHERE u.a = max(u.a)) FROM t", "42803", 37, "aggregate functions are not allowed in WHERE"),
            ("SELECT 1 FROM u WHERE u.a = max(t.a)", "42803", 29, "aggregate functions are not allowed in WHERE"),
            ("SELECT 1 FROM t GROUP BY max(a)", "42803", 26, "aggregate functions are not allowed in GROUP BY"),
            ("SELECT sum(max(a)) FROM t", "42803", 12, "aggregate function calls cannot be nested"),
            ("SELECT sum(rank() OVER ()) FROM t", "42803", 12, "aggregate function calls cannot contain window function calls"),
            ("SELECT 1 FROM t WHERE rank() OVER () = 1", "42P20", 23, "window functions are not allowed in WHERE"),
            ("SELECT 1 FROM t GROUP BY a HAVING rank() OVER () = 1", "42P20", 35, "window functions are not allowed in HAVING"),
            ("SELECT max(rank() OVER ()) OVER () FROM t", "42P20", 12, "window function calls cannot be nested"),
            ("SELECT rank() FROM t", "42809", 8, "window function rank requires an OVER clause"),
            ("SELECT count() FROM t", "42809", 8, "count(*) must be used to call a parameterless aggregate function"),
            (
                "SELECT DISTINCT a FROM t ORDER BY b",
                "42P10",
                35,
                "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
            ),
            (
                "SELECT DISTINCT b AS a FROM t ORDER BY t.a",
                "42P10",
                40,
                "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
            ),
        ];
        for (sql, code, place, message) in rows {
            assert_eq!(find(sql), Err((code.to_owned(), Some(place), message.to_owned())), "{sql}");
        }
    }

    #[test]
    fn statements_that_change_rows_have_the_mistakes_of_queries() {
        let rows = [
            ("UPDATE t SET a = 1 WHERE count(*) > 1", "42803", Some(26)),
            ("UPDATE t SET a = rank() WHERE b = 1", "42809", Some(18)),
            ("UPDATE t SET a = 1 FROM u AS t", "42712", None),
            ("UPDATE t SET a = 1 FROM u JOIN v ON sum(u.a) = 1", "42803", Some(37)),
            ("UPDATE t SET a = (SELECT 1 FROM u ORDER BY 'x')", "42601", Some(44)),
            ("DELETE FROM t WHERE rank() OVER () = 1", "42P20", Some(21)),
            ("DELETE FROM t USING u, u", "42712", None),
            ("DELETE FROM t WHERE a IN (SELECT max(b) FROM u WHERE sum(b) > 1)", "42803", Some(54)),
        ];
        for (sql, code, place) in rows {
            let is_aggregate = |name: &str| matches!(name, "count" | "sum" | "max");
            let found = match Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_statement().unwrap() {
                Statement::Update(update) => check_update(&update, sql, &is_aggregate),
                Statement::Delete(delete) => check_delete(&delete, sql, &is_aggregate),
                other => panic!("{other}"),
            };
            let error = found.unwrap_err();
            assert_eq!((error.sqlstate.as_str(), error.position), (code, place), "{sql}");
        }
    }

    #[test]
    fn constants_are_no_places() {
        let rows = [
            ("SELECT 1 FROM t GROUP BY true", Err((26, "GROUP BY"))),
            ("SELECT 1 FROM t GROUP BY a, ROLLUP ((b), ('x'))", Err((43, "GROUP BY"))),
            ("SELECT a FROM t ORDER BY NULL", Err((26, "ORDER BY"))),
            ("SELECT a FROM t UNION SELECT 1 ORDER BY 1.5", Err((41, "ORDER BY"))),
            ("SELECT DISTINCT ON (false) a FROM t", Err((21, "DISTINCT ON"))),
            ("SELECT a FROM t WHERE b IN (SELECT c FROM u ORDER BY 99999999999)", Err((54, "ORDER BY"))),
            ("SELECT a FROM t GROUP BY 1, (2), $1, true::boolean ORDER BY $2, 1, 'x'::text", Ok(())),
            ("SELECT rank() OVER (PARTITION BY true ORDER BY 'x') FROM t", Ok(())),
        ];
        for (sql, expected) in rows {
            let expected =
                expected.map_err(|(place, clause)| ("42601".to_owned(), Some(place), format!("non-integer constant in {clause}")));
            assert_eq!(find(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_minus_belongs_to_its_number() {
        let rows = [
            ("SELECT a FROM t ORDER BY a, -1", "42P10", 29, "ORDER BY position -1 is not in select list"),
            ("SELECT a FROM t GROUP BY - (2)", "42P10", 26, "GROUP BY position -2 is not in select list"),
            ("SELECT DISTINCT ON (-0) a FROM t", "42P10", 21, "DISTINCT ON position 0 is not in select list"),
            ("SELECT a FROM t ORDER BY (-1.5)", "42601", 27, "non-integer constant in ORDER BY"),
        ];
        for (sql, code, place, message) in rows {
            assert_eq!(find(sql), Err((code.to_owned(), Some(place), message.to_owned())), "{sql}");
        }
        for sql in ["SELECT a FROM t ORDER BY -a, +1, -1 + a, -$1", "SELECT rank() OVER (ORDER BY -1) FROM t"] {
            assert_eq!(find(sql), Ok(()), "{sql}");
        }
    }

    #[test]
    fn what_no_call_has_is_a_syntax_error() {
        for sql in ["SELECT count(DISTINCT *) FROM t", "SELECT lag(a) IGNORE NULLS OVER (ORDER BY a) FROM t"] {
            assert_eq!(find(sql).unwrap_err().0, "42601", "{sql}");
        }
    }

    #[test]
    fn names_in_from_differ() {
        for sql in ["SELECT 1 FROM t AS c, u AS c", "SELECT 1 FROM t, t", "SELECT 1 FROM t JOIN (SELECT 1) AS t ON true"] {
            assert_eq!(find(sql).unwrap_err().0, "42712", "{sql}");
        }
    }

    #[test]
    fn what_is_right_is_left_alone() {
        for sql in [
            "SELECT sum(a), max(sum(a)) OVER () FROM t GROUP BY b HAVING count(*) > 1 ORDER BY sum(c)",
            "SELECT a FROM t WHERE b = (SELECT max(b) FROM u)",
            "SELECT sum((SELECT max(x) FROM u)) FROM t",
            "SELECT DISTINCT a AS b, t.c FROM t ORDER BY b, 1, c, t.c, a",
            "SELECT DISTINCT t.a AS b, (d) AS e FROM t ORDER BY a, t.d, T.A",
            "SELECT DISTINCT * FROM t ORDER BY a",
            "SELECT 1 FROM a.t, b.t, u AS x, v AS y JOIN w ON true",
            "SELECT rank() OVER (ORDER BY a) FROM t ORDER BY rank() OVER (ORDER BY a)",
        ] {
            assert_eq!(find(sql), Ok(()), "{sql}");
        }
    }
}
