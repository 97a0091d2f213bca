//! What SQL dialects spell differently, with the form that most of them share.

use super::super::super::fragment::{
    Aggregate, AggregateCall, Bound, Expression, Frame, FrameUnit, Function, Node, Shape, SortKey, WindowCall, WindowFunction,
};
use super::super::super::predicate::{Comparison, Predicate};
use super::super::super::schema::{Column, Table, TableId};
use super::super::super::value::Value;
use super::super::dialect::Dialect;
use super::super::like;
use super::super::sql::{Sql, Unwritable};
use super::pen::Pen;
use crate::pgtype::PgType;

/// A `LIKE` over expressions.
#[derive(Debug, Clone, Copy)]
pub struct Like<'e> {
    /// The text.
    pub subject: &'e Expression,
    /// The pattern, with backslash as its escape character.
    pub pattern: &'e Expression,
    /// `NOT LIKE`
    pub negated: bool,
    /// `ILIKE`
    pub case_insensitive: bool,
}

/// How a store spells the parts of a fragment that it has accepted. What is not overridden is standard SQL. Everything that is written
/// must stand for itself: in parentheses, as a call, or as a single word.
///
/// All methods fail with [`Unwritable`] when a value or column cannot be written.
#[expect(clippy::missing_errors_doc, reason = "said once for all methods")]
pub trait Phrasing: Sync {
    /// A condition of a scan of `table`, whose columns are reached through `alias`.
    fn write_condition(&self, table: &Table, alias: &str, predicate: &Predicate, sql: &mut Sql) -> Result<(), Unwritable>;

    /// A condition of WHERE, ON or HAVING, of which it only matters whether it is true.
    fn write_filter(&self, condition: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.expression(condition)
    }

    /// Whether rows of a table are to be checked before anything is computed of them.
    fn checks(&self, table: &TableId) -> bool {
        let _ = table;
        false
    }

    /// The words between the name of a relation that is read more than once and its SELECT, where the store computes it once and keeps
    /// its rows. Without them it is written as often as it is read.
    fn kept(&self) -> Option<&'static str> {
        None
    }

    /// A condition that holds for every row or fails, for a table that [`Phrasing::checks`] wants checked.
    fn write_check(&self, table: &Table, alias: &str, sql: &mut Sql) -> Result<(), Unwritable> {
        let _ = (table, alias);
        let truth = sql.dialect().truth(true);
        sql.push(truth);
        Ok(())
    }

    /// A constant of a type; `None` is NULL.
    fn write_literal(&self, value: Option<&Value>, pg_type: PgType, sql: &mut Sql) -> Result<(), Unwritable> {
        let _ = pg_type;
        match value {
            Some(value) => sql.push_value(value.clone()),
            None => {
                sql.push("NULL");
                Ok(())
            }
        }
    }

    /// The new value of a column, to the right of `=` in `UPDATE`. Its type is that of the expression; the store converts it to that of
    /// the column.
    fn write_assigned(&self, column: &Column, value: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        let _ = column;
        pen.expression(value)
    }

    /// A column of a stored table, which is reached through `alias`.
    fn write_stored(&self, column: &Column, alias: &str, sql: &mut Sql) -> Result<(), Unwritable> {
        sql.push(alias);
        sql.push(".");
        sql.push_name(column.name());
        Ok(())
    }

    /// `CAST(operand AS to)`.
    fn write_cast(&self, operand: &Expression, to: PgType, pen: &mut Pen<'_>) -> Result<(), Unwritable>;

    /// A function or operator with a result of type `of`.
    fn write_call(&self, function: Function, arguments: &[Expression], of: PgType, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        let _ = of;
        match (function, arguments) {
            (Function::Negate, [operand]) => {
                pen.push("(- ");
                pen.expression(operand)?;
                pen.push(")");
                Ok(())
            }
            (_, [left, right]) if function.is_operator() => pen.between(left, function.name(), right),
            _ => pen.call(function.name(), arguments),
        }
    }

    /// `left op right`.
    fn write_compare(&self, op: Comparison, left: &Expression, right: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.between(left, op.sql(), right)
    }

    /// `left IS [NOT] DISTINCT FROM right`.
    fn write_distinct(&self, left: &Expression, right: &Expression, negated: bool, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.between(left, if negated { "IS NOT DISTINCT FROM" } else { "IS DISTINCT FROM" }, right)
    }

    /// `operand IS [NOT] NULL`.
    fn write_is_null(&self, operand: &Expression, negated: bool, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.push("(");
        pen.expression(operand)?;
        pen.push(if negated { " IS NOT NULL)" } else { " IS NULL)" });
        Ok(())
    }

    /// `operand IS [NOT] TRUE`, `FALSE`, or `UNKNOWN` for no truth, which is a NULL.
    fn write_is_truth(
        &self,
        operand: &Expression,
        truth: Option<bool>,
        negated: bool,
        pen: &mut Pen<'_>,
    ) -> Result<(), Unwritable> {
        let Some(truth) = truth else { return self.write_is_null(operand, negated, pen) };
        pen.push("(");
        pen.expression(operand)?;
        pen.push(if negated { " IS NOT " } else { " IS " });
        pen.push(if truth { "TRUE)" } else { "FALSE)" });
        Ok(())
    }

    /// `subject [NOT] IN (list)`.
    fn write_in(&self, subject: &Expression, list: &[Expression], negated: bool, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.push("(");
        pen.expression(subject)?;
        pen.push(if negated { " NOT IN (" } else { " IN (" });
        pen.list(list)?;
        pen.push("))");
        Ok(())
    }

    /// `subject [NOT] LIKE pattern` for a constant pattern.
    fn write_like(&self, like: &Like<'_>, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        let Node::Literal(Some(Value::Text(pattern))) = &like.pattern.node else {
            return Err(Unwritable("is no constant pattern"));
        };
        let pattern = like::with_escape(pattern, '!').ok_or(Unwritable("ends with the escape character"))?;
        pen.push("(");
        pen.expression(like.subject)?;
        pen.push(if like.negated { " NOT" } else { "" });
        pen.push(if like.case_insensitive { " ILIKE " } else { " LIKE " });
        pen.sql().push_value(Value::Text(pattern))?;
        pen.push(" ESCAPE '!')");
        Ok(())
    }

    /// An expression whose equal values are to be one, in GROUP BY, PARTITION BY, and `DISTINCT`. It is written in the same way where a group
    /// shows its key.
    fn write_key(&self, key: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.expression(key)
    }

    /// Whether HAVING can read a group by this key. Where it cannot, groups are filtered from outside.
    fn having_reads(&self, key: &Expression, pen: &Pen<'_>) -> bool {
        let _ = (key, pen);
        true
    }

    /// An expression whose values are put in order: a sort key, or the argument of `min` or `max`.
    fn write_ordered(&self, expression: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.expression(expression)
    }

    /// A key of ORDER BY with its direction and the place of NULLs.
    fn write_sort_key(&self, key: &SortKey, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        self.write_ordered(&key.expression, pen)?;
        pen.push(if key.descending { " DESC" } else { " ASC" });
        pen.push(if key.nulls_first { " NULLS FIRST" } else { " NULLS LAST" });
        Ok(())
    }

    /// The argument of an aggregate that counts or adds values, with or without a window.
    fn write_aggregated(&self, aggregate: Aggregate, argument: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        let _ = aggregate;
        pen.expression(argument)
    }

    /// An aggregate with `DISTINCT` and `FILTER`.
    fn write_aggregate(&self, call: &AggregateCall, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.push(call.aggregate.name());
        pen.push(if call.distinct { "(DISTINCT " } else { "(" });
        match (&call.argument, call.aggregate) {
            (None, _) => pen.push("*"),
            (Some(argument), Aggregate::Minimum | Aggregate::Maximum) => self.write_ordered(argument, pen)?,
            (Some(argument), _) if call.distinct => self.write_key(argument, pen)?,
            (Some(argument), aggregate) => self.write_aggregated(aggregate, argument, pen)?,
        }
        pen.push(")");
        if let Some(condition) = &call.filter {
            pen.push(" FILTER (WHERE ");
            pen.expression(condition)?;
            pen.push(")");
        }
        Ok(())
    }

    /// A window function with its window.
    fn write_window(&self, call: &WindowCall, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.push(window_name(call.function));
        pen.push("(");
        match (call.function, call.arguments.as_slice()) {
            (WindowFunction::Aggregate(Aggregate::CountRows), _) => pen.push("*"),
            (WindowFunction::Aggregate(Aggregate::Minimum | Aggregate::Maximum), [argument]) => {
                self.write_ordered(argument, pen)?
            }
            (WindowFunction::Aggregate(aggregate), [argument]) => self.write_aggregated(aggregate, argument, pen)?,
            (_, arguments) => pen.list(arguments)?,
        }
        pen.push(") OVER (");
        for (place, key) in call.partition_by.iter().enumerate() {
            pen.push(if place == 0 { "PARTITION BY " } else { ", " });
            self.write_key(key, pen)?;
        }
        for (place, key) in call.order_by.iter().enumerate() {
            pen.push(match (place, call.partition_by.is_empty()) {
                (0, true) => "ORDER BY ",
                (0, false) => " ORDER BY ",
                _ => ", ",
            });
            self.write_sort_key(key, pen)?;
        }
        if let Some(frame) = &call.frame {
            pen.push(if call.partition_by.is_empty() && call.order_by.is_empty() { "" } else { " " });
            write_frame(frame, pen);
        }
        pen.push(")");
        Ok(())
    }

    /// A column of the result, in the form that the reader of the fragment expects.
    fn write_output(&self, column: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.expression(column)
    }

    /// The select list of a result without columns, with a blank before it.
    fn no_columns(&self) -> &'static str {
        " 1 AS c0"
    }

    /// ` LIMIT limit OFFSET offset`, or nothing.
    fn write_limit(&self, offset: u64, limit: Option<u64>, sql: &mut Sql) {
        let numbers = match (limit, offset) {
            (None, 0) => return,
            (Some(limit), 0) => format!(" LIMIT {limit}"),
            (Some(limit), offset) => format!(" LIMIT {limit} OFFSET {offset}"),
            (None, offset) => match sql.dialect() {
                Dialect::Postgres => format!(" OFFSET {offset}"),
                Dialect::MySql => format!(" LIMIT {} OFFSET {offset}", u64::MAX),
                Dialect::Sqlite => format!(" LIMIT -1 OFFSET {offset}"),
            },
        };
        sql.push(&numbers);
    }

    /// Constant rows as an item of FROM, with its alias: `(SELECT … AS c0 UNION ALL SELECT …) AS alias`.
    fn write_values(&self, types: &[PgType], rows: &[Vec<Option<Value>>], alias: &str, sql: &mut Sql) -> Result<(), Unwritable> {
        let nothing = vec![None; types.len()];
        let given: Vec<&Vec<Option<Value>>> = if rows.is_empty() { vec![&nothing] } else { rows.iter().collect() };
        for (number, row) in given.into_iter().enumerate() {
            sql.push(if number == 0 { "(SELECT " } else { " UNION ALL SELECT " });
            for (place, pg_type) in types.iter().enumerate() {
                sql.push(if place == 0 { "" } else { ", " });
                self.write_literal(row.get(place).and_then(Option::as_ref), *pg_type, sql)?;
                sql.push(" AS c");
                sql.push(itoa::Buffer::new().format(place));
            }
            sql.push(if types.is_empty() { "1 AS c0" } else { "" });
        }
        sql.push(if rows.is_empty() { " LIMIT 0) AS " } else { ") AS " });
        sql.push(alias);
        Ok(())
    }

    /// What stands between items of FROM that are joined by the conditions of WHERE.
    fn cross_join(&self) -> &'static str {
        " CROSS JOIN "
    }

    /// Whether a semi join or anti join whose left side has these subjects, and the right side a key for each, is better written with
    /// `IN` than with `EXISTS`. `IN` compares what is written without [`Phrasing::write_compare`].
    fn prefers_in(&self, subjects: &[Shape], keys: &[Shape]) -> bool {
        let _ = (subjects, keys);
        false
    }
}

/// The name of a window function, which all dialects share.
fn window_name(function: WindowFunction) -> &'static str {
    match function {
        WindowFunction::Aggregate(aggregate) => aggregate.name(),
        WindowFunction::RowNumber => "row_number",
        WindowFunction::Rank => "rank",
        WindowFunction::DenseRank => "dense_rank",
        WindowFunction::Lag => "lag",
        WindowFunction::Lead => "lead",
        WindowFunction::FirstValue => "first_value",
        WindowFunction::LastValue => "last_value",
    }
}

fn write_frame(frame: &Frame, pen: &mut Pen<'_>) {
    pen.push(match frame.unit {
        FrameUnit::Rows => "ROWS",
        FrameUnit::Range => "RANGE",
        FrameUnit::Groups => "GROUPS",
    });
    pen.push(" BETWEEN ");
    write_bound(frame.start, pen);
    pen.push(" AND ");
    write_bound(frame.end, pen);
}

fn write_bound(bound: Bound, pen: &mut Pen<'_>) {
    match bound {
        Bound::UnboundedPreceding => pen.push("UNBOUNDED PRECEDING"),
        Bound::Preceding(count) => pen.push(&format!("{count} PRECEDING")),
        Bound::CurrentRow => pen.push("CURRENT ROW"),
        Bound::Following(count) => pen.push(&format!("{count} FOLLOWING")),
        Bound::UnboundedFollowing => pen.push("UNBOUNDED FOLLOWING"),
    }
}
