//! Windows of the WINDOW clause (manual, "WINDOW Clause"), copied to where OVER or a later window names them.
//!
//! The planner knows `OVER w` alone, in the select list; of `OVER (w ORDER BY x)` it would drop what `w` says. After this pass no
//! window has a name.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, Ident, NamedWindowDefinition, NamedWindowExpr, Query, Select, SetExpr, VisitMut, VisitorMut, WindowSpec,
    WindowType, visit_expressions,
};

use super::name::fold;
use super::sets::holds_call;
use super::size::{self, COPIED_MAX};
use crate::error::{Diagnosis, Limit, sqlstate};

/// How many copies a statement may make: a window may hold subqueries that name windows in turn, and so double with every level.
const COPIES_MAX: usize = 2_000;

/// How many expressions all copies together may have.
const PARTS_MAX: usize = 100_000;

/// Rewrites the windows of a query and of every query inside it.
///
/// # Errors
/// 42704 for a window that does not exist, 42P20 for one that is defined twice or copied as it cannot be, 54001 for too many.
pub(super) fn rewrite(query: &mut Query) -> Result<(), Diagnosis> {
    let mut pass = Windows { scopes: Vec::new(), copied: Copied::default() };
    match VisitMut::visit(query, &mut pass) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

type Flow = ControlFlow<Box<Diagnosis>>;

struct Named {
    name: String,
    window: WindowSpec,
    /// How many expressions it has.
    weight: usize,
    /// How many bytes a copy takes.
    size: usize,
}

/// What was copied so far.
#[derive(Default)]
struct Copied {
    times: usize,
    parts: usize,
    size: usize,
}

impl Copied {
    fn add(&mut self, window: &Named) {
        self.times = self.times.saturating_add(1);
        self.parts = self.parts.saturating_add(window.weight);
        self.size = self.size.saturating_add(window.size);
    }

    fn is_too_much(&self) -> bool {
        self.times > COPIES_MAX || self.parts > PARTS_MAX || self.size > COPIED_MAX
    }
}

struct Windows {
    /// The windows of the queries around, innermost last. No query sees those of another.
    scopes: Vec<Vec<Named>>,
    copied: Copied,
}

impl VisitorMut for Windows {
    type Break = Box<Diagnosis>;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        // ORDER BY stands beside the SELECT and sees its windows.
        match query.body.as_ref() {
            SetExpr::Select(select) => self.enter(select),
            _ => {
                self.scopes.push(Vec::new());
                ControlFlow::Continue(())
            }
        }
    }

    fn post_visit_query(&mut self, _: &mut Query) -> Flow {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> Flow {
        self.enter(select)?;
        // They are in the scope; what names them gets copies.
        select.named_window.clear();
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> Flow {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    // Before what is inside is visited: a copy may hold subqueries with windows of their own.
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        let Expr::Function(Function { over: Some(over), .. }) = expr else { return ControlFlow::Continue(()) };
        if matches!(&*over, WindowType::WindowSpec(WindowSpec { window_name: None, .. })) {
            return ControlFlow::Continue(());
        }
        self.copy(over).map_or_else(broken, ControlFlow::Continue)
    }
}

impl Windows {
    fn enter(&mut self, select: &Select) -> Flow {
        match defined(&select.named_window, &mut self.copied) {
            Ok(windows) => {
                self.scopes.push(windows);
                ControlFlow::Continue(())
            }
            Err(error) => broken(error),
        }
    }

    fn copy(&mut self, over: &mut WindowType) -> Result<(), Diagnosis> {
        let copied = &mut self.copied;
        let windows = self.scopes.last().map(Vec::as_slice).unwrap_or_default();
        match over {
            WindowType::NamedWindow(name) => {
                *over = WindowType::WindowSpec(find(windows, name, copied)?.clone());
                Ok(())
            }
            WindowType::WindowSpec(window) => {
                let is_name_alone = window.partition_by.is_empty() && window.order_by.is_empty() && window.window_frame.is_none();
                complete(window, windows, copied).map_err(|error| {
                    if is_name_alone && error.sqlstate == sqlstate::WINDOWING_ERROR {
                        error.with_hint("Omit the parentheses in this OVER clause.")
                    } else {
                        error
                    }
                })
            }
        }
    }
}

fn broken(error: Diagnosis) -> Flow {
    ControlFlow::Break(Box::new(error))
}

/// The windows of a WINDOW clause; each may be a copy of one before it.
fn defined(definitions: &[NamedWindowDefinition], copied: &mut Copied) -> Result<Vec<Named>, Diagnosis> {
    // Each is looked for among those before it.
    if definitions.len() > COPIES_MAX {
        return Err(too_many());
    }
    let mut windows: Vec<Named> = Vec::with_capacity(definitions.len());
    for NamedWindowDefinition(ident, definition) in definitions {
        let name = fold(ident);
        if windows.iter().any(|window| window.name == name) {
            return Err(wrong(format!("window \"{name}\" is already defined")));
        }
        let window = match definition {
            NamedWindowExpr::NamedWindow(other) => find(&windows, other, copied)?.clone(),
            NamedWindowExpr::WindowSpec(window) => {
                let mut window = window.clone();
                complete(&mut window, &windows, copied)?;
                window
            }
        };
        // A window that named itself inside would be copied for ever.
        if holds_call(&window, &|function| function.over.is_some()) {
            return Err(wrong("window functions are not allowed in window definitions".to_owned()));
        }
        let (weight, size) = (weight(&window), size::of(&window));
        windows.push(Named { name, window, weight, size });
    }
    Ok(windows)
}

/// Adds what the window says that this one begins with.
fn complete(window: &mut WindowSpec, windows: &[Named], copied: &mut Copied) -> Result<(), Diagnosis> {
    let Some(ident) = window.window_name.take() else { return Ok(()) };
    let named = find(windows, &ident, copied)?;
    let name = fold(&ident);
    if !window.partition_by.is_empty() {
        return Err(wrong(format!("cannot override PARTITION BY clause of window \"{name}\"")));
    }
    if !window.order_by.is_empty() && !named.order_by.is_empty() {
        return Err(wrong(format!("cannot override ORDER BY clause of window \"{name}\"")));
    }
    if named.window_frame.is_some() {
        return Err(wrong(format!("cannot copy window \"{name}\" because it has a frame clause")));
    }
    window.partition_by.clone_from(&named.partition_by);
    if window.order_by.is_empty() {
        window.order_by.clone_from(&named.order_by);
    }
    Ok(())
}

fn weight(window: &WindowSpec) -> usize {
    let mut count = 1;
    let _: ControlFlow<()> = visit_expressions(window, |_| {
        count += 1;
        ControlFlow::Continue(())
    });
    count
}

/// The window of a name, which is about to be copied.
fn find<'w>(windows: &'w [Named], ident: &Ident, copied: &mut Copied) -> Result<&'w WindowSpec, Diagnosis> {
    let name = fold(ident);
    match windows.iter().find(|window| window.name == name) {
        Some(found) => {
            copied.add(found);
            if copied.is_too_much() { Err(too_many()) } else { Ok(&found.window) }
        }
        None => Err(Diagnosis::new(sqlstate::UNDEFINED_OBJECT, format!("window \"{name}\" does not exist"))),
    }
}

fn wrong(message: String) -> Diagnosis {
    Diagnosis::new(sqlstate::WINDOWING_ERROR, message)
}

fn too_many() -> Diagnosis {
    Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, "statement names windows too often")
        .with_detail(format!(
            "Windows of the WINDOW clause may be named at most {COPIES_MAX} times, and at most {PARTS_MAX} expressions and {} MB be copied.",
            COPIED_MAX >> 20
        ))
        .at(Limit::Complexity)
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::super::postgres::Postgres;
    use super::*;

    fn parsed(sql: &str) -> Query {
        *Parser::new(&Postgres).try_with_sql(sql).unwrap().parse_query().unwrap()
    }

    fn check(sql: &str, expected: &str) {
        let mut query = parsed(sql);
        rewrite(&mut query).unwrap();
        assert_eq!(query.to_string(), parsed(expected).to_string(), "{sql}");
    }

    fn check_error(sql: &str, expected: (&str, &str)) {
        let error = rewrite(&mut parsed(sql)).unwrap_err();
        assert_eq!((error.sqlstate.as_str(), error.message.as_str()), expected, "{sql}");
    }

    #[test]
    fn windows_take_what_the_named_one_says() {
        check(
            "SELECT f(a) OVER w FROM t WINDOW w AS (PARTITION BY b ORDER BY c)",
            "SELECT f(a) OVER (PARTITION BY b ORDER BY c) FROM t",
        );
        check("SELECT f(a) OVER (W) FROM t WINDOW w AS (PARTITION BY b)", "SELECT f(a) OVER (PARTITION BY b) FROM t");
        check(
            "SELECT f(a) OVER (w ORDER BY c ROWS 1 PRECEDING) FROM t WINDOW w AS (PARTITION BY b)",
            "SELECT f(a) OVER (PARTITION BY b ORDER BY c ROWS 1 PRECEDING) FROM t",
        );
        check(
            "SELECT 1 + f(a) OVER (v) FROM t WINDOW w AS (PARTITION BY b), v AS (w ORDER BY c)",
            "SELECT 1 + f(a) OVER (PARTITION BY b ORDER BY c) FROM t",
        );
        check(
            "SELECT f(a) OVER w FROM t WINDOW w AS (ORDER BY c ROWS 1 PRECEDING)",
            "SELECT f(a) OVER (ORDER BY c ROWS 1 PRECEDING) FROM t",
        );
        check("SELECT a FROM t WINDOW w AS (ORDER BY c) ORDER BY f() OVER w", "SELECT a FROM t ORDER BY f() OVER (ORDER BY c)");
        check(
            "SELECT f() OVER w FROM (SELECT f() OVER w FROM t WINDOW w AS (ORDER BY a)) x WINDOW w AS (ORDER BY b)",
            "SELECT f() OVER (ORDER BY b) FROM (SELECT f() OVER (ORDER BY a) FROM t) x",
        );
        check(
            "SELECT f() OVER w FROM t WINDOW w AS (ORDER BY (SELECT g() OVER v FROM u WINDOW v AS (ORDER BY a)))",
            "SELECT f() OVER (ORDER BY (SELECT g() OVER (ORDER BY a) FROM u)) FROM t",
        );
    }

    #[test]
    fn windows_that_cannot_be_copied_are_errors() {
        let wrong = |message: &'static str| ("42P20", message);
        check_error(
            "SELECT f() OVER (w PARTITION BY a) FROM t WINDOW w AS (ORDER BY b)",
            wrong("cannot override PARTITION BY clause of window \"w\""),
        );
        check_error(
            "SELECT f() OVER (w ORDER BY a) FROM t WINDOW w AS (ORDER BY b)",
            wrong("cannot override ORDER BY clause of window \"w\""),
        );
        check_error(
            "SELECT f() OVER (w) FROM t WINDOW w AS (ORDER BY b ROWS 1 PRECEDING)",
            wrong("cannot copy window \"w\" because it has a frame clause"),
        );
        check_error("SELECT 1 FROM t WINDOW w AS (ORDER BY a), w AS ()", wrong("window \"w\" is already defined"));
        check_error(
            "SELECT f() OVER w FROM t WINDOW w AS (ORDER BY f() OVER w)",
            wrong("window functions are not allowed in window definitions"),
        );
        let unknown = ("42704", "window \"v\" does not exist");
        check_error("SELECT f() OVER v FROM t", unknown);
        check_error("SELECT f() OVER (v ORDER BY a) FROM t WINDOW w AS (ORDER BY b)", unknown);
        check_error("SELECT 1 FROM t WINDOW w AS (v), v AS (ORDER BY b)", unknown);
        check_error("SELECT (SELECT f() OVER v FROM u) FROM t WINDOW v AS (ORDER BY b)", unknown);
    }

    #[test]
    fn copies_have_a_bound() {
        let calls = |count: usize| format!("SELECT 0{} FROM t WINDOW w AS (ORDER BY a)", ", f() OVER w".repeat(count));
        assert!(rewrite(&mut parsed(&calls(COPIES_MAX))).is_ok());
        assert_eq!(rewrite(&mut parsed(&calls(COPIES_MAX + 1))).unwrap_err().sqlstate, "54001");
    }

    #[test]
    fn copies_are_measured_before_they_are_made() {
        let keys = vec!["a"; 2_000].join(", ");
        let calls = vec!["count(*) OVER w"; 100].join(", ");
        let copies: Vec<String> = (0..100).map(|place| format!("w{place} AS (w)")).collect();
        for sql in [
            format!("SELECT {calls} FROM t WINDOW w AS (PARTITION BY {keys})"),
            format!("SELECT 1 FROM t WINDOW w AS (PARTITION BY {keys}), {}", copies.join(", ")),
        ] {
            let mut query = parsed(&sql);
            assert_eq!(rewrite(&mut query).map_err(|error| error.sqlstate), Err("54001".to_owned()), "{sql:.60}");
        }
    }

    #[test]
    fn copies_are_measured_in_bytes_too() {
        let long = "x".repeat(100_000);
        let calls = |count: usize| vec!["count(*) OVER w"; count].join(", ");
        let copies: Vec<String> = (0..900).map(|place| format!("w{place} AS (w)")).collect();
        let tables = vec!["t"; 900].join(", ");
        let stars = vec!["*"; 10_000].join(", ");
        let rows = [
            (format!("SELECT {} FROM t WINDOW w AS (ORDER BY a = '{long}')", calls(100)), true),
            (format!("SELECT {} FROM t WINDOW w AS (ORDER BY a = '{long}')", calls(2_000)), false),
            (format!("SELECT {} FROM t WINDOW w AS (ORDER BY \"{long}\")", calls(2_000)), false),
            (format!("SELECT 1 FROM t WINDOW w AS (ORDER BY a = '{long}'), {}", copies.join(", ")), false),
            (format!("SELECT 1 FROM t WINDOW w AS (ORDER BY a), {}", copies.join(", ")), true),
            (format!("SELECT {} FROM t WINDOW w AS (ORDER BY (SELECT 1 FROM {tables}))", calls(2_000)), false),
            (format!("SELECT {} FROM t WINDOW w AS (ORDER BY (SELECT {stars} FROM t))", calls(2_000)), false),
        ];
        for (sql, expected) in rows {
            let found = rewrite(&mut parsed(&sql)).map_err(|error| error.sqlstate);
            assert_eq!(found, if expected { Ok(()) } else { Err("54001".to_owned()) }, "{sql:.60}");
        }
    }
}
