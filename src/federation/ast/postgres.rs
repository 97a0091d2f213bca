//! The dialect that statements are read in: the parser's own for PostgreSQL, but that an argument of a function is read once.

use std::any::TypeId;

use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::{Keyword, RESERVED_FOR_COLUMN_ALIAS};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// PostgreSQL's dialect without arguments that are named by an expression (`json_object('a': 1)`, of PostgreSQL 16). Where the
/// parser allows these, it reads each argument as a name first and then again as what it is, so that its work doubles with each
/// call inside a call, and thirty of them never end (sqlparser 0.62, `parse_function_args`). A test compares the two dialects.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Postgres;

const ORIGIN: PostgreSqlDialect = PostgreSqlDialect {};

/// The questions that are answered as by the origin.
macro_rules! as_origin {
    ($($question:ident),+ $(,)?) => {
        $(fn $question(&self) -> bool {
            ORIGIN.$question()
        })+
    };
}

impl Dialect for Postgres {
    fn dialect(&self) -> TypeId {
        ORIGIN.dialect()
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        ORIGIN.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, letter: char) -> bool {
        ORIGIN.is_delimited_identifier_start(letter)
    }

    fn is_identifier_start(&self, letter: char) -> bool {
        ORIGIN.is_identifier_start(letter)
    }

    fn is_identifier_part(&self, letter: char) -> bool {
        ORIGIN.is_identifier_part(letter)
    }

    fn is_custom_operator_part(&self, letter: char) -> bool {
        // With these two it would take the begin of a comment for a part of an operator; no operator that is known has them.
        !matches!(letter, '*' | '/') && ORIGIN.is_custom_operator_part(letter)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        ORIGIN.is_reserved_for_identifier(keyword)
    }

    /// ON is reserved, and follows a query in `INSERT INTO t SELECT 1 ON CONFLICT …`.
    fn is_column_alias(&self, keyword: &Keyword, _parser: &mut Parser) -> bool {
        *keyword != Keyword::ON && !RESERVED_FOR_COLUMN_ALIAS.contains(keyword)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        ORIGIN.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        ORIGIN.prec_value(precedence)
    }

    as_origin!(
        supports_unicode_string_literal,
        supports_filter_during_aggregation,
        supports_group_by_expr,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_create_index_with_clause,
        supports_explain_with_utility_options,
        supports_listen_notify,
        supports_factorial_operator,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_named_fn_args_with_colon_operator,
        supports_empty_projections,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_numeric_literal_underscores,
        supports_array_typedef_with_brackets,
        supports_geometric_types,
        supports_set_names,
        supports_alter_column_type_using,
        supports_notnull_operator,
        supports_interval_options,
        supports_insert_table_alias,
        supports_create_table_like_parenthesized,
        supports_select_wildcard_with_alias,
        supports_comma_separated_trim,
        supports_xml_expressions,
        supports_comment_optimizer_hint,
    );
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::Statement;

    use super::super::DEPTH_MAX;
    use super::*;

    fn parse(dialect: &dyn Dialect, sql: &str) -> Result<Vec<Statement>, ParserError> {
        Parser::parse_sql(dialect, sql)
    }

    #[test]
    fn statements_are_read_as_by_the_origin() {
        let statements = [
            "select 'é' as é, u&'\\0041', e'a\\n', b'01', x'ff', $$a$$, 1_000, date '2024-01-01', interval '1' day",
            "select a -> 'b' ->> 'c' #> '{d}' @> '{}' ? 'e', a || b, 2 ^ 3 << 1 # 2, @ -5, |/ 4, a ~* 'x', a !~~ 'y' from t",
            "select count(*) filter (where a > 1), sum(a order by b), percentile_cont(0.5) within group (order by a)",
            "select extract(epoch from a), substring(a from 1 for 2), trim(both 'x' from a), overlay(a placing 'b' from 1), trim(a, b)",
            "select from t",
            "select t.* from t group by grouping sets ((a), ()) having true",
            "select a notnull, b isnull from t",
            "select array[1, 2][1], a[1:2], (b).c, cast(a as int[]), a::numeric(3, 1)[] from t /* a /* nested */ comment */",
            "explain (analyze, format json) select 1",
            "listen a",
            "notify a, 'b'",
            "comment on table a is 'b'",
            "load 'x'",
            "set names 'utf8'",
            "select interval '1' year to month, a at time zone 'UTC', a collate \"C\" from t",
            "insert into t as u values (1)",
            "select 5 !, a is distinct from b, a between symmetric 1 and 2, not a = b or c",
            "select * from t tablesample system (1)",
            "select \"a\"\"b\", a$1 from \"T\"",
            "select 'a' 'b'",
            "select `a`",
            "select ?",
            "create index on t (a) with (fillfactor = 70)",
            "create table a (like b)",
            "alter table a alter column b type int using c",
        ];
        for sql in statements {
            assert_eq!(parse(&Postgres, sql), parse(&ORIGIN, sql), "{sql}");
        }
        let named = "select f(1: 2)";
        assert!(parse(&Postgres, named).is_err() && parse(&ORIGIN, named).is_ok());
    }

    #[test]
    fn the_dialects_answer_alike_but_for_names_of_arguments() {
        macro_rules! alike {
            ($($question:ident),+ $(,)?) => {
                $(assert_eq!(Postgres.$question(), ORIGIN.$question(), stringify!($question));)+
            };
        }
        alike!(
            supports_in_empty_list,
            supports_window_clause_named_window_reference,
            supports_lambda_functions,
            supports_match_recognize,
            supports_group_by_with_modifier,
            supports_dictionary_syntax,
            support_map_literal_syntax,
            supports_struct_literal,
            supports_projection_trailing_commas,
            supports_trailing_commas,
            supports_limit_comma,
            supports_parenthesized_set_variables,
        );
        for letter in (0..0x250).filter_map(char::from_u32) {
            assert_eq!(Postgres.is_identifier_start(letter), ORIGIN.is_identifier_start(letter), "{letter:?}");
            assert_eq!(Postgres.is_identifier_part(letter), ORIGIN.is_identifier_part(letter), "{letter:?}");
            let is_part = ORIGIN.is_custom_operator_part(letter) && !matches!(letter, '*' | '/');
            assert_eq!(Postgres.is_custom_operator_part(letter), is_part, "{letter:?}");
        }
    }

    /// Read twice each, these calls would take longer than any test.
    #[test]
    fn calls_inside_calls_are_read_once() {
        let sql = format!("select {}1{}", "abs(".repeat(60), ")".repeat(60));
        let parsed = Parser::new(&Postgres).with_recursion_limit(DEPTH_MAX).try_with_sql(&sql).unwrap().parse_statement();
        assert!(parsed.is_ok(), "{parsed:?}");
    }
}
