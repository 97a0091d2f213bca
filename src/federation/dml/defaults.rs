//! The default of a column as a value, where its store's schema tells one: what `SET column = DEFAULT` stands for, and what a new row
//! has in a column that is left out.

use datafusion::sql::sqlparser::ast::{CastKind, Expr};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::super::ast::postgres::Postgres;
use super::assign;
use super::scope::{Cell, Scope};
use super::target::Target;
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;
use crate::stores::schema::{Column, Generated};

/// What `DEFAULT` stands for where rows that exist are changed.
///
/// # Errors
/// 0A000 where only the store knows.
pub(super) fn of(scope: &Scope<'_>, target: &Target, ordinal: usize) -> Result<Cell, Diagnosis> {
    let column = target.at(ordinal)?;
    let connector = scope.setting.snapshot.connectors.get(&target.store);
    connector.and_then(|connector| constant(connector.kind(), column)).ok_or_else(|| {
        let message = format!("column \"{}\" cannot be set to DEFAULT", column.name());
        Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
            .with_detail("Its default is no constant that the schema of its store tells.")
            .with_hint("Set it to a value.")
    })
}

/// The default of a column of a store of some kind; `None` where only the store knows its value.
pub(super) fn constant(kind: &str, column: &Column) -> Option<Cell> {
    if column.generated != Generated::No {
        return None;
    }
    let Some(text) = &column.default else { return Some(Cell::Null) };
    // Other stores read a backslash in a literal as the begin of another character.
    if kind != "postgres" && text.contains('\\') {
        return None;
    }
    let mut parser = Parser::new(&Postgres).try_with_sql(text).ok()?;
    let expr = parser.parse_expr().ok().filter(|_| parser.peek_token().token == Token::EOF)?;
    let literal = match expr {
        // PostgreSQL writes the type of the column behind a literal.
        Expr::Cast { kind: CastKind::DoubleColon, expr: literal, .. } if kind == "postgres" => *literal,
        expr => expr,
    };
    let cell = match Cell::of(&literal).ok().flatten()? {
        Cell::Default | Cell::Parameter(_) => return None,
        // Where truth is a number.
        Cell::Number(digits) if column.pg_type() == PgType::BOOL => match digits.as_str() {
            "0" => Cell::Truth(false),
            "1" => Cell::Truth(true),
            _ => return None,
        },
        cell => cell,
    };
    assign::check(column, &cell.own_type().into()).is_ok().then_some(cell)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::pgtype::PgField;
    use crate::stores::schema::{Collation, ColumnStatistics};

    fn column(pg_type: PgType, default: Option<&str>, generated: Generated) -> Column {
        Column {
            field: Field::new("a", DataType::Utf8, true).with_pg_type(pg_type),
            native_type: String::new(),
            default: default.map(str::to_owned),
            generated,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        }
    }

    #[test]
    fn constants_are_told_from_what_the_store_computes() {
        let text = |text: &str| Some(Cell::Text(text.to_owned()));
        let number = |digits: &str| Some(Cell::Number(digits.to_owned()));
        let rows = [
            ("postgres", PgType::TEXT, Some("'none'::text"), text("none")),
            ("postgres", PgType::INT4, Some("'-1'::integer"), text("-1")),
            ("postgres", PgType::INT4, Some("1"), number("1")),
            ("postgres", PgType::TEXT, Some("NULL::character varying"), Some(Cell::Null)),
            ("postgres", PgType::TEXT, Some("('now'::text)::date"), None),
            ("postgres", PgType::INT8, Some("nextval('s'::regclass)"), None),
            ("postgres", PgType::TIMESTAMP, Some("CURRENT_TIMESTAMP"), None),
            ("sqlite", PgType::TEXT, Some("'it''s'"), text("it's")),
            ("sqlite", PgType::BOOL, Some("1"), Some(Cell::Truth(true))),
            ("sqlite", PgType::TEXT, Some("\"none\""), None),
            ("mysql", PgType::TEXT, Some("'a\\n'"), None),
            ("mysql", PgType::TIMESTAMP, Some("current_timestamp()"), None),
            ("mongodb", PgType::TEXT, None, Some(Cell::Null)),
        ];
        for (kind, pg_type, default, expected) in rows {
            assert_eq!(constant(kind, &column(pg_type, default, Generated::No)), expected, "{kind} {default:?}");
        }
        assert_eq!(constant("postgres", &column(PgType::INT4, None, Generated::ByDefault)), None);
    }
}
