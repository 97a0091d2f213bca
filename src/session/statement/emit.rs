//! `SELECT tributary.emit(…)`: a query that is a write. It stands alone, because a query may call a function any number of times.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, Query, SelectItem, SetExpr, Statement, visit_expressions,
};

use super::setting_name;
use crate::error::{Diagnosis, sqlstate};

/// The procedure, which is also a function.
pub const EMIT: &str = "tributary.emit";

/// Whether a function is the procedure.
pub fn is_it(function: &Function) -> bool {
    setting_name(&function.name) == EMIT
}

/// The call that a query is and nothing else.
pub fn of_query(query: &Query) -> Option<Function> {
    call_of(query, is_it)
}

/// The call of such a function that a query is and nothing else.
pub(super) fn call_of(query: &Query, is_it: fn(&Function) -> bool) -> Option<Function> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [SelectItem::UnnamedExpr(Expr::Function(function))] = select.projection.as_slice() else { return None };
    if !is_it(function) {
        return None;
    }
    let is_plain = match &function.args {
        FunctionArguments::List(list) => list.duplicate_treatment.is_none() && list.clauses.is_empty(),
        FunctionArguments::None | FunctionArguments::Subquery(_) => false,
    };
    let is_plain = is_plain && function.over.is_none() && function.filter.is_none() && function.within_group.is_empty();
    // Whatever else a query may have is in its text.
    (is_plain && query.to_string() == format!("SELECT {function}")).then(|| function.clone())
}

/// Whether a text may name the function. The statements of most texts need not be looked into.
pub fn is_named(text: &str) -> bool {
    text.as_bytes().windows(4).any(|letters| letters.eq_ignore_ascii_case(b"emit"))
}

/// Refuses the function anywhere else, in a statement of a text that may name it.
///
/// # Errors
/// 0A000
pub fn check(statement: &Statement) -> Result<(), Diagnosis> {
    if matches!(statement, Statement::Call(_)) || !is_inside(statement, is_it) {
        return Ok(());
    }
    Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "tributary.emit is not supported inside of a statement")
        .with_hint("Send SELECT tributary.emit(topic, key, payload) by itself, or CALL it."))
}

/// Whether a statement calls such a function and is not that call alone.
pub(super) fn is_inside(statement: &Statement, is_it: fn(&Function) -> bool) -> bool {
    if let Statement::Query(query) = statement
        && call_of(query, is_it).is_some()
    {
        return false;
    }
    let calls = visit_expressions(statement, |expr| match expr {
        Expr::Function(function) if is_it(function) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    calls.is_break()
}

#[cfg(test)]
mod tests {
    use super::is_named;
    use crate::session::statement::{Kind, parse};

    #[test]
    fn a_text_is_asked_once_whether_it_may_name_the_function() {
        for (text, expected) in [("", false), ("EMI T", false), ("SELECT 1; select x.EmIt", true), ("emit", true)] {
            assert_eq!(is_named(text), expected, "{text}");
        }
        // Behind others too.
        assert_eq!(parse("SELECT 1; SELECT 2; SELECT upper(tributary.emit('a', 'b', '{}'))").unwrap_err().sqlstate, "0A000");
    }

    #[test]
    fn an_event_is_told_by_a_query_of_nothing_else() {
        for text in ["SELECT tributary.emit('a', 'b', '{}')", "select Tributary.Emit($1, NULL, $2, 'shop');"] {
            let kind = parse(text).unwrap().remove(0).kind;
            assert!(matches!(kind, Kind::Emit(_)), "{text}: {kind:?}");
        }
        for text in [
            "SELECT tributary.emit('a', 'b', '{}') FROM t",
            "SELECT tributary.emit('a', 'b', '{}') AS x",
            "SELECT tributary.emit('a', 'b', '{}'), 1",
            "SELECT DISTINCT tributary.emit('a', 'b', '{}')",
            "SELECT tributary.emit('a', 'b', '{}') WHERE true",
            "SELECT tributary.emit('a', 'b', '{}') LIMIT 1",
            "SELECT upper(tributary.emit('a', 'b', '{}'))",
            "SELECT * FROM t WHERE a = tributary.emit('a', 'b', '{}')",
            "INSERT INTO t SELECT tributary.emit('a', 'b', '{}')",
            "UPDATE t SET a = tributary.emit('a', 'b', '{}')",
            "EXPLAIN SELECT tributary.emit('a', 'b', '{}')",
            "WITH x AS (SELECT 1) SELECT tributary.emit('a', 'b', '{}')",
        ] {
            assert_eq!(parse(text).unwrap_err().sqlstate, "0A000", "{text}");
        }
        for text in ["SELECT emit('a')", "SELECT 'tributary.emit'", "SELECT emit FROM t", "CALL tributary.emit('a', 'b', '{}')"] {
            assert!(!matches!(parse(text).unwrap().remove(0).kind, Kind::Emit(_)), "{text}");
        }
    }
}
