//! `EXPLAIN` with its options, as PostgreSQL reads them.

use datafusion::sql::sqlparser::ast::{Expr, Statement, UtilityOption, Value, ValueWithSpan};

use super::{Kind, fold, last_part, refuse};
use crate::error::{Diagnosis, sqlstate};

/// What the options of a statement ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Options {
    analyze: bool,
    json: bool,
}

/// The kind of an `EXPLAIN` of `statement`; `analyze` and `has_format` tell of words without parentheses.
pub(super) fn classify(statement: Statement, analyze: bool, has_format: bool, options: &[UtilityOption]) -> Kind {
    if has_format {
        return Kind::Refused(unsupported("FORMAT"));
    }
    let asked = match read(options) {
        Ok(asked) => asked,
        Err(error) => return Kind::Refused(error),
    };
    let (analyze, json) = (analyze || asked.analyze, asked.json);
    match statement {
        Statement::Query(query) => Kind::Explain { query, analyze, json },
        Statement::Execute { name: Some(name), parameters, .. } => {
            Kind::ExplainExecute { name: last_part(&name), arguments: parameters, analyze, json }
        }
        _ => refuse(sqlstate::FEATURE_NOT_SUPPORTED, "EXPLAIN is supported for queries only"),
    }
}

/// Reads the options in their order: of one that is given twice the last counts.
fn read(options: &[UtilityOption]) -> Result<Options, Diagnosis> {
    let mut asked = Options::default();
    let (mut wal, mut timing) = (false, false);
    for option in options {
        let name = fold(&option.name);
        match name.as_str() {
            "analyze" | "analyse" => asked.analyze = truth("analyze", option.arg.as_ref())?,
            "wal" => wal = truth(&name, option.arg.as_ref())?,
            "timing" => timing = truth(&name, option.arg.as_ref())?,
            "verbose" | "costs" | "settings" | "buffers" | "summary" => {
                truth(&name, option.arg.as_ref())?;
            }
            "format" => asked.json = is_json(option.arg.as_ref())?,
            other => return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, format!("unrecognized EXPLAIN option \"{other}\""))),
        }
    }
    for (is_on, name) in [(wal, "WAL"), (timing, "TIMING")] {
        if is_on && !asked.analyze {
            let message = format!("EXPLAIN option {name} requires ANALYZE");
            return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
    }
    Ok(asked)
}

fn unsupported(what: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("EXPLAIN option {what} is not supported"))
}

/// `true`, `false`, `on`, `off`, 1 or 0; an option without a value is on.
fn truth(name: &str, value: Option<&Expr>) -> Result<bool, Diagnosis> {
    let Some(value) = value else { return Ok(true) };
    let known = match value {
        Expr::Value(ValueWithSpan { value: Value::Boolean(truth), .. }) => Some(*truth),
        Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) => match number.parse::<i32>() {
            Ok(0) => Some(false),
            Ok(1) => Some(true),
            _ => None,
        },
        other => match word(other).to_lowercase().as_str() {
            "true" | "on" => Some(true),
            "false" | "off" => Some(false),
            _ => None,
        },
    };
    known.ok_or_else(|| Diagnosis::new(sqlstate::SYNTAX_ERROR, format!("{name} requires a Boolean value")))
}

/// Whether the format is `json`, and not `text`.
fn is_json(value: Option<&Expr>) -> Result<bool, Diagnosis> {
    let Some(value) = value else { return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "format requires a parameter")) };
    match word(value).as_str() {
        "json" => Ok(true),
        "text" => Ok(false),
        other @ ("xml" | "yaml") => {
            let message = format!("EXPLAIN FORMAT {other} is not supported; take text or json");
            Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message))
        }
        other => {
            let message = format!("unrecognized value for EXPLAIN option \"format\": \"{other}\"");
            Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message))
        }
    }
}

/// The value of an option as a word: a name is folded, a literal is as it was written.
fn word(value: &Expr) -> String {
    match value {
        Expr::Identifier(name) => fold(name),
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => text.clone(),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn kind(options: &str, statement: &str) -> Kind {
        parse(&format!("EXPLAIN {options} {statement}")).unwrap().remove(0).kind
    }

    #[test]
    fn options_are_read_as_by_postgres() {
        let rows: &[(&str, (bool, bool))] = &[
            ("", (false, false)),
            ("ANALYZE", (true, false)),
            ("ANALYZE VERBOSE", (true, false)),
            ("(ANALYZE)", (true, false)),
            ("(ANALYZE on, timing off)", (true, false)),
            ("(analyze 'ON', TIMING, wal TRUE)", (true, false)),
            ("(analyze 1, analyze 0)", (false, false)),
            ("(ANALYZE False, timing 0, wal off)", (false, false)),
            ("(format JSON, format text, FORMAT json)", (false, true)),
            ("(costs off, verbose, buffers 1, settings off, summary)", (false, false)),
        ];
        for (options, expected) in rows {
            match kind(options, "SELECT 1") {
                Kind::Explain { analyze, json, .. } => assert_eq!((analyze, json), *expected, "{options}"),
                other => panic!("{options}: {other:?}"),
            }
        }
    }

    #[test]
    fn options_that_mean_nothing_are_refused() {
        let rows = [
            ("(ANALYZE maybe)", "42601", "analyze requires a Boolean value"),
            ("(ANALYZE 2)", "42601", "analyze requires a Boolean value"),
            ("(wal 1.0)", "42601", "wal requires a Boolean value"),
            ("(Verbose yes)", "42601", "verbose requires a Boolean value"),
            ("(timing)", "22023", "EXPLAIN option TIMING requires ANALYZE"),
            ("(ANALYZE, ANALYZE false, timing)", "22023", "EXPLAIN option TIMING requires ANALYZE"),
            ("(timing, wal)", "22023", "EXPLAIN option WAL requires ANALYZE"),
            ("(format)", "42601", "format requires a parameter"),
            ("(format text, format bar)", "22023", "unrecognized value for EXPLAIN option \"format\": \"bar\""),
            ("(format yaml)", "0A000", "EXPLAIN FORMAT yaml is not supported; take text or json"),
            ("(FORMAT 'xml')", "0A000", "EXPLAIN FORMAT xml is not supported; take text or json"),
            ("(\"Analyze\")", "42601", "unrecognized EXPLAIN option \"Analyze\""),
        ];
        for (options, code, message) in rows {
            match kind(options, "SELECT 1") {
                Kind::Refused(error) => assert_eq!((error.sqlstate.as_str(), error.message.as_str()), (code, message), "{options}"),
                other => panic!("{options}: {other:?}"),
            }
        }
    }

    #[test]
    fn executions_are_explained() {
        match kind("(ANALYZE, FORMAT json)", "EXECUTE p(1, 'x')") {
            Kind::ExplainExecute { name, arguments, analyze: true, json: true } => {
                assert_eq!((name.as_str(), arguments.len()), ("p", 2));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(kind("", "COMMIT"), Kind::Refused(error) if error.sqlstate == "0A000"));
    }
}
