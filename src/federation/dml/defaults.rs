//! The default of a column as a value, where its store's schema tells one: what `SET column = DEFAULT` stands for, and what a new row
//! has in a column that is left out.

use datafusion::sql::sqlparser::ast::{CastKind, DataType, Expr};
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
    let cell = match expr {
        Expr::Cast { kind: CastKind::DoubleColon, expr: literal, data_type, .. } if kind == "postgres" => {
            cast(&literal, &data_type, column)?
        }
        literal => Cell::of(&literal).ok().flatten()?,
    };
    let pg_type = PgType::with_typmod(column.pg_type().oid, -1);
    let cell = match cell {
        Cell::Default | Cell::Parameter(_) => return None,
        // Other stores read the text in the time zone of whoever inserts.
        Cell::Text(_) if pg_type == PgType::TIMESTAMPTZ && kind != "postgres" => return None,
        // Where truth is a number.
        Cell::Number(digits) if pg_type == PgType::BOOL => match digits.as_str() {
            "0" => Cell::Truth(false),
            "1" => Cell::Truth(true),
            _ => return None,
        },
        // Stores write and round numbers by rules of their own.
        Cell::Number(digits) if !is_kept(&digits, pg_type) => return None,
        cell => cell,
    };
    assign::check(column, &cell.own_type().into()).is_ok().then_some(cell)
}

/// The literal behind which PostgreSQL has written the type of the column: read as another type, or cut to a length, it may be another
/// value.
fn cast(literal: &Expr, data_type: &DataType, column: &Column) -> Option<Cell> {
    match Cell::of(literal).ok().flatten()? {
        Cell::Null => Some(Cell::Null),
        Cell::Text(text) => {
            let (read_as, own) = (data_type.to_string(), PgType::with_typmod(column.pg_type().oid, -1).to_string());
            let is_own = read_as.eq_ignore_ascii_case(&own) || (!read_as.contains('(') && read_as == column.native_type);
            is_own.then_some(Cell::Text(text))
        }
        Cell::Default | Cell::Number(_) | Cell::Truth(_) | Cell::Parameter(_) => None,
    }
}

/// Whether a number is the value of a column of a type as it is written.
fn is_kept(digits: &str, pg_type: PgType) -> bool {
    let is_whole = digits.trim_start_matches('-').bytes().all(|digit| digit.is_ascii_digit());
    match pg_type {
        PgType::INT2 | PgType::INT4 | PgType::INT8 => is_whole,
        PgType::NUMERIC | PgType::FLOAT4 | PgType::FLOAT8 => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType as ArrowType, Field};

    use super::*;
    use crate::pgtype::PgField;
    use crate::stores::schema::{Collation, ColumnStatistics};

    fn column(pg_type: PgType, default: Option<&str>, generated: Generated) -> Column {
        Column {
            field: Field::new("a", ArrowType::Utf8, true).with_pg_type(pg_type),
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
            ("postgres", PgType::NUMERIC, Some("(7.9)::integer"), None),
            ("postgres", PgType::NUMERIC, Some("'-1'::integer"), None),
            ("postgres", PgType::TEXT, Some("(1.50)::double precision"), None),
            ("postgres", PgType::TEXT, Some("'1'::integer"), None),
            ("postgres", PgType::NUMERIC, Some("'1.555'::numeric(3,2)"), None),
            ("postgres", PgType::NUMERIC, Some("'1.555'::numeric"), text("1.555")),
            ("postgres", PgType::FLOAT8, Some("'-1.5'::double precision"), text("-1.5")),
            ("postgres", PgType::with_typmod(1043, 7), Some("'a'::character varying"), text("a")),
            ("postgres", PgType::with_typmod(1043, 7), Some("'abcdef'::character varying(3)"), None),
            (
                "postgres",
                PgType::TIMESTAMPTZ,
                Some("'2024-01-01 00:00:00+00'::timestamp with time zone"),
                text("2024-01-01 00:00:00+00"),
            ),
            (
                "postgres",
                PgType::TIMESTAMP,
                Some("'2024-01-01 00:00:00'::timestamp without time zone"),
                text("2024-01-01 00:00:00"),
            ),
            ("mysql", PgType::TIMESTAMPTZ, Some("'2024-01-01 00:00:00'"), None),
            ("sqlite", PgType::TIMESTAMPTZ, Some("'2024-01-01 00:00:00+00'"), None),
            ("mysql", PgType::TIMESTAMP, Some("'2024-01-01 00:00:00'"), text("2024-01-01 00:00:00")),
            ("sqlite", PgType::TEXT, Some("1.50"), None),
            ("sqlite", PgType::NUMERIC, Some("1.50"), number("1.50")),
            ("sqlite", PgType::INT8, Some("1.5"), None),
            ("sqlite", PgType::INT8, Some("-15"), number("-15")),
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
        let mood = Column { native_type: "mood".to_owned(), ..column(PgType::TEXT, Some("'sad'::mood"), Generated::No) };
        assert_eq!(constant("postgres", &mood), text("sad"));
    }
}
