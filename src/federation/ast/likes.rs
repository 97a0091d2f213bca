//! LIKE, ILIKE and regular expressions with ANY and ALL: `x LIKE ANY (ARRAY['a%', 'b%'])` as `x LIKE 'a%' OR x LIKE 'b%'`.
//!
//! Only arrays that are written out are; over others the number of patterns is not known.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    ObjectNamePart, Value, ValueWithSpan, visit_expressions,
};

use super::size::{self, COPIED_MAX};
use super::volatile;

use crate::error::{Diagnosis, Limit, sqlstate};

/// Most patterns of a statement, each of which becomes a condition.
const PATTERNS_MAX: usize = 2_000;

/// What has been written out of a statement.
#[derive(Debug, Default)]
pub(super) struct Written {
    patterns: usize,
    bytes: usize,
}

impl Written {
    /// Whether anything was, so that the statement may be deeper than it was.
    pub(super) fn is_any(&self) -> bool {
        self.patterns > 0
    }

    fn add(&mut self, text: &Expr, patterns: usize) -> Result<(), Diagnosis> {
        self.patterns = self.patterns.saturating_add(patterns);
        self.bytes = self.bytes.saturating_add(size::of(text).saturating_mul(patterns));
        if self.patterns > PATTERNS_MAX || self.bytes > COPIED_MAX {
            let message = "too many patterns of LIKE, ILIKE and regular expressions in arrays";
            return Err(Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, message)
                .with_detail(format!("At most {PATTERNS_MAX} are allowed in a statement."))
                .at(Limit::Complexity));
        }
        Ok(())
    }
}

/// What a text is matched by.
enum Match<'e> {
    Like { negated: bool, escape: &'e Option<ValueWithSpan>, ignores_case: bool },
    Operator(&'e BinaryOperator),
}

/// The matches with each pattern; `None` for anything else.
///
/// # Errors
/// 0A000 for patterns that are not written out and for texts that must be computed once, 54001 beyond [`PATTERNS_MAX`] and
/// [`COPIED_MAX`].
pub(super) fn rewrite(expr: &Expr, written: &mut Written) -> Result<Option<Expr>, Diagnosis> {
    let (text, patterns, how, is_all) = match expr {
        Expr::Like { negated, any, expr, pattern, escape_char } => {
            let Some((patterns, is_all)) = quantified(*any, pattern) else { return Ok(None) };
            (expr, patterns, Match::Like { negated: *negated, escape: escape_char, ignores_case: false }, is_all)
        }
        Expr::ILike { negated, any, expr, pattern, escape_char } => {
            let Some((patterns, is_all)) = quantified(*any, pattern) else { return Ok(None) };
            (expr, patterns, Match::Like { negated: *negated, escape: escape_char, ignores_case: true }, is_all)
        }
        Expr::AnyOp { left, compare_op, right, .. } if is_match(compare_op) => {
            (left, right.as_ref(), Match::Operator(compare_op), false)
        }
        Expr::AllOp { left, compare_op, right } if is_match(compare_op) => {
            (left, right.as_ref(), Match::Operator(compare_op), true)
        }
        _ => return Ok(None),
    };
    let Some(patterns) = written_out(patterns) else {
        let message = "LIKE, ILIKE and regular expressions with ANY or ALL are supported over ARRAY[…] only";
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    };
    if !may_be_repeated(text) {
        let message =
            "subqueries and volatile functions before LIKE, ILIKE and regular expressions with ANY or ALL are not supported";
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    written.add(text, patterns.len())?;
    let matches = patterns.iter().map(|pattern| how.with(text, pattern)).collect();
    Ok(Some(Expr::Nested(Box::new(joined(matches, is_all)))))
}

impl Match<'_> {
    fn with(&self, text: &Expr, pattern: &Expr) -> Expr {
        let (text, mut pattern) = (Box::new(text.clone()), Box::new(pattern.clone()));
        match self {
            Self::Operator(op) => Expr::BinaryOp { left: text, op: (*op).clone(), right: pattern },
            Self::Like { negated, escape, ignores_case } => {
                let (negated, mut escape_char) = (*negated, (*escape).clone());
                super::dialect::own_escape(&mut pattern, &mut escape_char);
                if *ignores_case {
                    Expr::ILike { negated, any: false, expr: text, pattern, escape_char }
                } else {
                    Expr::Like { negated, any: false, expr: text, pattern, escape_char }
                }
            }
        }
    }
}

/// The patterns of ANY or ALL, and whether of ALL, which the parser takes for a function.
fn quantified(is_any: bool, pattern: &Expr) -> Option<(&Expr, bool)> {
    if is_any {
        return Some((pattern, false));
    }
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = pattern else { return None };
    let [ObjectNamePart::Identifier(word)] = name.0.as_slice() else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(patterns))] = list.args.as_slice() else { return None };
    (word.quote_style.is_none() && word.value.eq_ignore_ascii_case("all")).then_some((patterns, true))
}

fn is_match(op: &BinaryOperator) -> bool {
    use BinaryOperator::{
        PGILikeMatch, PGLikeMatch, PGNotILikeMatch, PGNotLikeMatch, PGRegexIMatch, PGRegexMatch, PGRegexNotIMatch, PGRegexNotMatch,
    };
    matches!(
        op,
        PGLikeMatch
            | PGILikeMatch
            | PGNotLikeMatch
            | PGNotILikeMatch
            | PGRegexMatch
            | PGRegexIMatch
            | PGRegexNotMatch
            | PGRegexNotIMatch
    )
}

/// The patterns; those of an array of literals also under a cast to texts of any length.
fn written_out(patterns: &Expr) -> Option<&[Expr]> {
    match patterns {
        Expr::Array(Array { elem, .. }) => Some(elem),
        Expr::Nested(inner) => written_out(inner),
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr: inner, data_type, .. } if is_texts(data_type) => {
            written_out(inner).filter(|patterns| patterns.iter().all(is_literal))
        }
        _ => None,
    }
}

fn is_texts(data_type: &DataType) -> bool {
    let DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) = data_type else { return false };
    matches!(element.as_ref(), DataType::Text | DataType::Varchar(None) | DataType::CharacterVarying(None))
}

fn is_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_) | Value::Null))
}

/// Whether a text has the same value wherever it is computed, and is worth computing more than once.
fn may_be_repeated(text: &Expr) -> bool {
    let found = visit_expressions(text, |part| {
        let is_once = match part {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => true,
            Expr::Function(function) => volatile::is_volatile(&function.name),
            _ => false,
        };
        if is_once { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found.is_continue()
}

/// In pairs, so that the expression is not as deep as the patterns are many.
fn joined(mut parts: Vec<Expr>, is_all: bool) -> Expr {
    if parts.len() > 1 {
        let rest = parts.split_off(parts.len() / 2);
        let op = if is_all { BinaryOperator::And } else { BinaryOperator::Or };
        return Expr::BinaryOp { left: Box::new(joined(parts, is_all)), op, right: Box::new(joined(rest, is_all)) };
    }
    parts.pop().unwrap_or_else(|| Expr::value(Value::Boolean(is_all)))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::super::postgres::Postgres;
    use super::*;

    fn check(text: &str, expected: Result<Option<&str>, &str>) {
        let parsed = Parser::new(&Postgres).try_with_sql(text).unwrap().parse_expr().unwrap();
        let found = rewrite(&parsed, &mut Written::default())
            .map(|found| found.map(|expr| expr.to_string()))
            .map_err(|error| error.sqlstate);
        assert_eq!(found.as_ref().map(Option::as_deref).map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn matches_with_written_arrays_are_written_out() {
        check("a LIKE ANY (ARRAY['x%', 'y%'])", Ok(Some("(a LIKE 'x%' OR a LIKE 'y%')")));
        check("a NOT LIKE ANY (ARRAY['x%', 'y%', b])", Ok(Some("(a NOT LIKE 'x%' OR a NOT LIKE 'y%' OR a NOT LIKE b)")));
        check("a ILIKE ALL (ARRAY['x%', 'y%'])", Ok(Some("(a ILIKE 'x%' AND a ILIKE 'y%')")));
        check("a ~ ANY (ARRAY['x', 'y'])", Ok(Some("(a ~ 'x' OR a ~ 'y')")));
        check("a !~~* ALL (ARRAY['x', 'y']::text[])", Ok(Some("(a !~~* 'x' AND a !~~* 'y')")));
        check("a LIKE ANY (ARRAY[]::text[])", Ok(Some("(false)")));
        check("a LIKE ALL (ARRAY[]::text[])", Ok(Some("(true)")));
        check("a LIKE ANY (b)", Err("0A000"));
        check("a ~ ALL ('{x}')", Err("0A000"));
        check("a LIKE 'x'", Ok(None));
        check("a LIKE \"all\"(b)", Ok(None));
        check("a = ANY (ARRAY['x'])", Ok(None));
        check("a LIKE ANY (ARRAY['x%']::varchar(2)[])", Err("0A000"));
        check("a LIKE ANY (ARRAY[1]::text[])", Err("0A000"));
        check("random()::text LIKE ALL (ARRAY['0%', '1%'])", Err("0A000"));
        check("(SELECT b FROM t) LIKE ANY (ARRAY['0%', '1%'])", Err("0A000"));
        check("a ~ ANY (SELECT b FROM t)", Err("0A000"));
        check(&format!("a LIKE ANY (ARRAY[{}])", vec!["'x'"; PATTERNS_MAX + 1].join(",")), Err("54001"));
        let long = format!("concat({}) LIKE ANY (ARRAY[{}])", vec!["a"; 2_000].join(","), vec!["'x'"; PATTERNS_MAX].join(","));
        check(&long, Err("54001"));
    }
}
