//! How fragments are spelled for MySQL and MariaDB.
//!
//! A text is written as `(CONVERT(x USING utf8mb4) COLLATE …_bin)`, whatever its character set; a day as an expression that is
//! NULL, or fails, for one that no calendar has. Such expressions use no index, so conditions on rows have the bare form beside
//! them, which keeps at least the same rows.

use super::super::super::collation;
use super::super::super::fragment::{Aggregate, AggregateCall, DateField, Expression, Function, Node, Shape, SortKey};
use super::super::super::predicate::{Comparison, Predicate};
use super::super::super::relational::fragment::{Like, Pen, Phrasing};
use super::super::super::relational::{Sql, Unwritable, like, predicate};
use super::super::super::schema::{Collation, Table};
use super::super::super::value::Value;
use super::super::options::ZeroDate;
use super::super::pushdown::{self, Spelled};
use super::super::types;
use super::Setting;
use super::kind::{Kind, is_label, is_year, stored};
use super::size::whole_literal;
use crate::pgtype::PgType;

/// Lists that are longer are not written twice.
const REPEATED_LIST_MAX: usize = 200;

/// The words of one server.
pub(super) struct Words {
    /// What decides about them.
    pub(super) setting: Setting,
    /// [`Fragment::by_own_collations`](super::super::super::Fragment).
    pub(super) by_own_collations: bool,
}

type Written = Result<(), Unwritable>;

impl Words {
    /// The expression in the form in which it is compared, grouped and ordered.
    fn value(&self, expression: &Expression, pen: &mut Pen<'_>) -> Written {
        if matches!(expression.node, Node::Literal(_)) {
            return pen.expression(expression);
        }
        let shape = pen.shape(expression);
        match Kind::of(shape.pg_type) {
            Kind::Text => self.text(expression, &shape, pen),
            Kind::Truth => wrapped("(", expression, " <> 0)", pen),
            Kind::Day | Kind::Moment | Kind::MomentTz => self.day(expression, pen),
            Kind::Real => wrapped("(", expression, " + 0e0)", pen),
            Kind::Whole if is_year(&shape, pen.tables()) => wrapped("(", expression, " + 0)", pen),
            _ => pen.expression(expression),
        }
    }

    /// The expression in the form in which its values are ordered, or made one.
    fn key(&self, expression: &Expression, pen: &mut Pen<'_>) -> Written {
        if self.rules_key(&pen.shape(expression)) { pen.expression(expression) } else { self.value(expression, pen) }
    }

    /// Whether the column's own collation counts for values that are ordered, or made one.
    fn rules_key(&self, shape: &Shape) -> bool {
        self.by_own_collations && collation::own(shape).is_some()
    }

    /// Whether it counts for a comparison. What the column's character set cannot hold is compared by bytes, without an error.
    fn rules(&self, left: &Expression, right: &Expression, pen: &Pen<'_>) -> bool {
        let shapes = [pen.shape(left), pen.shape(right)];
        collation::rules(self.by_own_collations, [left, right], [&shapes[0], &shapes[1]])
            && can_hold(&shapes[0], right, pen)
            && can_hold(&shapes[1], left, pen)
    }

    /// Whether it counts for a value among constants.
    fn rules_list(subject: &Expression, list: &[Expression], pen: &Pen<'_>) -> bool {
        let shape = pen.shape(subject);
        collation::rules_list(&shape, list) && list.iter().all(|item| can_hold(&shape, item, pen))
    }

    fn text(&self, expression: &Expression, shape: &Shape, pen: &mut Pen<'_>) -> Written {
        if is_by_bytes(shape, pen) {
            return pen.expression(expression);
        }
        pen.push("(CONVERT(");
        pen.expression(expression)?;
        pen.push(" USING utf8mb4) COLLATE ");
        pen.push(self.setting.flavour.bytes());
        pen.push(")");
        Ok(())
    }

    /// NULL, or error 1690 over `exp`, for a day that no calendar has. Adding nothing to such a day gives NULL on the server.
    fn day(&self, expression: &Expression, pen: &mut Pen<'_>) -> Written {
        let (unit, cast) = match Kind::of(expression.pg_type) {
            Kind::Day => ("DAY", "DATE"),
            _ => ("SECOND", "DATETIME(6)"),
        };
        pen.push(if self.setting.zero_date == ZeroDate::Null { "(" } else { "COALESCE(" });
        pen.expression(expression)?;
        pen.push(" + INTERVAL 0 ");
        pen.push(unit);
        if self.setting.zero_date == ZeroDate::Error {
            pen.push(", CAST(EXP(710 + DAY(");
            pen.expression(expression)?;
            pen.push(")) AS ");
            pen.push(cast);
            pen.push(")");
        }
        pen.push(")");
        Ok(())
    }

    /// A whole number that is not unsigned: differences of unsigned ones fail below zero.
    fn signed(&self, expression: &Expression, pen: &mut Pen<'_>) -> Written {
        let is_signed = match &expression.node {
            Node::Literal(_) => true,
            Node::Call { function, .. } => matches!(
                function,
                Function::Add
                    | Function::Subtract
                    | Function::Multiply
                    | Function::Divide
                    | Function::Modulo
                    | Function::Negate
                    | Function::Length
                    | Function::OctetLength
                    | Function::Position
            ),
            _ => stored(&pen.shape(expression), pen.tables())
                .and_then(|column| types::integer_range(&column.native_type))
                .is_some_and(|range| *range.start() < 0),
        };
        if is_signed { pen.expression(expression) } else { wrapped("CAST(", expression, " AS SIGNED)", pen) }
    }

    /// A number that is computed with as a decimal, which an unsigned `bigint` is not.
    fn decimal(&self, expression: &Expression, pen: &mut Pen<'_>) -> Written {
        let is_decimal = match &expression.node {
            Node::Literal(_) | Node::Cast(_) => true,
            Node::Call { function, .. } => matches!(function, Function::Add | Function::Subtract | Function::Multiply),
            _ => stored(&pen.shape(expression), pen.tables()).is_some_and(|column| column.native_type.starts_with("decimal")),
        };
        if is_decimal { pen.expression(expression) } else { wrapped("(", expression, " + CAST(0 AS DECIMAL(1,0)))", pen) }
    }

    fn operand(&self, expression: &Expression, pen: &mut Pen<'_>) -> Written {
        match Kind::of(expression.pg_type) {
            Kind::Whole => self.signed(expression, pen),
            Kind::Decimal => self.decimal(expression, pen),
            _ => self.value(expression, pen),
        }
    }

    fn arithmetic(&self, word: &str, left: &Expression, right: &Expression, of: PgType, pen: &mut Pen<'_>) -> Written {
        checked(of, pen, |pen| {
            pen.push("(");
            self.operand(left, pen)?;
            pen.push(word);
            self.operand(right, pen)?;
            pen.push(")");
            Ok(())
        })
    }

    /// `name(values, …)`
    fn over_values(&self, name: &str, arguments: &[Expression], pen: &mut Pen<'_>) -> Written {
        pen.push(name);
        pen.push("(");
        for (place, argument) in arguments.iter().enumerate() {
            pen.push(if place == 0 { "" } else { ", " });
            self.value(argument, pen)?;
        }
        pen.push(")");
        Ok(())
    }

    /// `name(text, numbers …)`: constants that are ours to write.
    fn over_counts(&self, name: &str, text: &Expression, counts: &[i64], pen: &mut Pen<'_>) -> Written {
        pen.push(name);
        pen.push("(");
        self.value(text, pen)?;
        for count in counts {
            pen.push(", ");
            pen.push(itoa::Buffer::new().format(*count));
        }
        pen.push(")");
        Ok(())
    }

    fn part(&self, field: DateField, moment: &Expression, as_float: bool, pen: &mut Pen<'_>) -> Written {
        let (before, after) = match field {
            DateField::Year => ("YEAR(", ")"),
            DateField::Quarter => ("QUARTER(", ")"),
            DateField::Month => ("MONTH(", ")"),
            DateField::Week => ("WEEK(", ", 3)"),
            DateField::Day => ("DAY(", ")"),
            DateField::DayOfWeek => ("(DAYOFWEEK(", ") - 1)"),
            DateField::IsoDayOfWeek => ("(WEEKDAY(", ") + 1)"),
            DateField::DayOfYear => ("DAYOFYEAR(", ")"),
            DateField::Hour => ("HOUR(", ")"),
            DateField::Minute => ("MINUTE(", ")"),
            DateField::Second | DateField::Epoch => return Err(Unwritable("is a part of a moment with a fraction")),
        };
        pen.push(if as_float { "(" } else { "" });
        pen.push(before);
        self.value(moment, pen)?;
        pen.push(after);
        pen.push(if as_float { " + 0e0)" } else { "" });
        Ok(())
    }

    fn function(&self, function: Function, arguments: &[Expression], pen: &mut Pen<'_>) -> Written {
        let counts: Vec<i64> = arguments.iter().skip(1).filter_map(whole_literal).collect();
        match (function, arguments) {
            (Function::Sign, [number]) => self.over_values("SIGN", std::slice::from_ref(number), pen),
            (Function::Round, [number, ..]) => self.over_counts("ROUND", number, &counts, pen),
            (Function::Truncate, [number, _]) => self.over_counts("TRUNCATE", number, &counts, pen),
            (Function::Truncate, [number]) => self.over_counts("TRUNCATE", number, &[0], pen),
            (Function::Ceiling, [_]) => self.over_values("CEILING", arguments, pen),
            (Function::Floor, [_]) => self.over_values("FLOOR", arguments, pen),
            (Function::Concat, _) => self.over_values("CONCAT", arguments, pen),
            (Function::Upper, _) => self.over_values("UPPER", arguments, pen),
            (Function::Lower, _) => self.over_values("LOWER", arguments, pen),
            (Function::Length, _) => self.over_values("CHAR_LENGTH", arguments, pen),
            (Function::OctetLength, _) => self.over_values("LENGTH", arguments, pen),
            (Function::Substring, [text, ..]) => self.substring(text, &counts, pen),
            (Function::Left, [text, _]) => self.over_counts("LEFT", text, &counts, pen),
            (Function::Right, [text, _]) => self.over_counts("RIGHT", text, &counts, pen),
            (Function::Trim, [_]) => self.over_values("TRIM", arguments, pen),
            (Function::TrimStart, [_]) => self.over_values("LTRIM", arguments, pen),
            (Function::TrimEnd, [_]) => self.over_values("RTRIM", arguments, pen),
            (Function::Reverse, [_]) => self.over_values("REVERSE", arguments, pen),
            (Function::Position, [text, part]) => self.over_values("LOCATE", &[part.clone(), text.clone()], pen),
            (Function::StartsWith, [text, prefix]) => self.starts_with(text, prefix, pen),
            (Function::Coalesce, _) => self.over_values("COALESCE", arguments, pen),
            (Function::NullIf, [_, _]) => self.over_values("NULLIF", arguments, pen),
            (Function::Greatest, _) => self.over_values("GREATEST", arguments, pen),
            (Function::Least, _) => self.over_values("LEAST", arguments, pen),
            (Function::Extract(field), [moment]) => self.part(field, moment, false, pen),
            (Function::DatePart(field), [moment]) => self.part(field, moment, true, pen),
            _ => Err(Unwritable("belongs to a function that the store does not compute")),
        }
    }

    /// PostgreSQL counts from places before the first character too.
    fn substring(&self, text: &Expression, counts: &[i64], pen: &mut Pen<'_>) -> Written {
        let (from, count) = (counts.first().copied().unwrap_or(1), counts.get(1).copied());
        let start = from.max(1);
        match count {
            None => self.over_counts("SUBSTRING", text, &[start], pen),
            Some(count) => {
                let end = from.saturating_add(count);
                self.over_counts("SUBSTRING", text, &[start, end.saturating_sub(start).max(0)], pen)
            }
        }
    }

    fn starts_with(&self, text: &Expression, prefix: &Expression, pen: &mut Pen<'_>) -> Written {
        pen.push("(LEFT(");
        self.value(text, pen)?;
        pen.push(", CHAR_LENGTH(");
        self.value(prefix, pen)?;
        pen.push(")) = ");
        self.value(prefix, pen)?;
        pen.push(")");
        Ok(())
    }

    /// Writes `(bare AND exact)` for a condition whose exact form uses no index, and says so.
    fn with_bare(&self, condition: &Expression, pen: &mut Pen<'_>) -> Result<bool, Unwritable> {
        match &condition.node {
            Node::Compare { op, left, right } if self.has_bare(*op, left, right, pen) => {
                pen.push("(");
                pen.between(left, op.sql(), right)?;
            }
            Node::In { subject, list, negated: false }
                if list.len() <= REPEATED_LIST_MAX
                    && list.iter().all(|item| self.has_bare(Comparison::Equal, subject, item, pen)) =>
            {
                pen.push("((");
                pen.expression(subject)?;
                pen.push(" IN (");
                pen.list(list)?;
                pen.push("))");
            }
            _ => return Ok(false),
        }
        pen.push(" AND ");
        pen.expression(condition)?;
        pen.push(")");
        Ok(true)
    }

    /// Whether the bare comparison keeps all rows of the exact one, and may use an index.
    fn has_bare(&self, op: Comparison, left: &Expression, right: &Expression, pen: &Pen<'_>) -> bool {
        if self.rules(left, right, pen) {
            return false;
        }
        let shapes = [pen.shape(left), pen.shape(right)];
        let columns = shapes.each_ref().map(|shape| stored(shape, pen.tables()));
        match (Kind::of(left.pg_type), columns, [&left.node, &right.node]) {
            (Kind::Text, [Some(column), _], [_, Node::Literal(Some(Value::Text(text)))])
            | (Kind::Text, [_, Some(column)], [Node::Literal(Some(Value::Text(text))), _]) => {
                op == Comparison::Equal && pushdown::can_hold(column, text)
            }
            (Kind::Text, [Some(column), Some(other)], _) => {
                let labels = shapes.iter().any(|shape| is_label(shape, pen.tables()));
                op == Comparison::Equal && !labels && column.collation == other.collation
            }
            (kind, [Some(_), Some(_)], _) if kind.is_date() => true,
            (kind, [Some(_), None], [_, Node::Literal(Some(_))]) if kind.is_date() => true,
            (kind, [None, Some(_)], [Node::Literal(Some(_)), _]) if kind.is_date() => true,
            _ => false,
        }
    }
}

/// Whether the character set of the column behind a value surely has every character of a constant.
fn can_hold(shape: &Shape, constant: &Expression, pen: &Pen<'_>) -> bool {
    match (&constant.node, stored(shape, pen.tables())) {
        (Node::Literal(Some(Value::Text(text))), Some(column)) => pushdown::can_hold(column, text),
        _ => true,
    }
}

/// Whether a text is compared by bytes as it is stored.
fn is_by_bytes(shape: &Shape, pen: &Pen<'_>) -> bool {
    stored(shape, pen.tables()).is_some_and(|column| column.collation == Collation::Bytes && !is_label(shape, pen.tables()))
}

fn wrapped(before: &str, expression: &Expression, after: &str, pen: &mut Pen<'_>) -> Written {
    pen.push(before);
    pen.expression(expression)?;
    pen.push(after);
    Ok(())
}

/// A whole number that fails outside of its type, as `bigint` arithmetic does: added to and taken from a number that leaves as
/// much room as the type has.
fn checked(of: PgType, pen: &mut Pen<'_>, write: impl FnOnce(&mut Pen<'_>) -> Written) -> Written {
    let room = match of.oid {
        21 => i64::MAX - i64::from(i16::MAX),
        23 => i64::MAX - i64::from(i32::MAX),
        _ => return write(pen),
    };
    pen.push("(");
    write(pen)?;
    pen.push(&format!(" + {room} - {room} - {room} + {room})"));
    Ok(())
}

impl Phrasing for Words {
    fn write_condition(&self, table: &Table, alias: &str, condition: &Predicate, sql: &mut Sql) -> Written {
        predicate::write(condition, &Spelled { table, alias: Some(alias) }, sql)
    }

    fn write_literal(&self, value: Option<&Value>, pg_type: PgType, sql: &mut Sql) -> Written {
        let Some(value) = value else {
            sql.push(match Kind::of(pg_type) {
                Kind::Truth | Kind::Whole => "CAST(NULL AS SIGNED)",
                Kind::Decimal => "CAST(NULL AS DECIMAL(1,0))",
                Kind::Real | Kind::Double => "(NULL + 0e0)",
                Kind::Bytes => "CAST(NULL AS BINARY)",
                Kind::Day => "CAST(NULL AS DATE)",
                Kind::Moment | Kind::MomentTz => "CAST(NULL AS DATETIME(6))",
                Kind::Text | Kind::Uuid | Kind::Other => "CAST(NULL AS CHAR)",
            });
            return Ok(());
        };
        match value {
            Value::Bool(truth) => {
                sql.push(if *truth { "TRUE" } else { "FALSE" });
                Ok(())
            }
            Value::Int(_) if Kind::of(pg_type) == Kind::Decimal => pushdown::write_decimal(value, sql),
            Value::Decimal { .. } | Value::Numeric(_) => pushdown::write_decimal(value, sql),
            value => pushdown::write_value(value, sql),
        }
    }

    fn write_cast(&self, operand: &Expression, to: PgType, pen: &mut Pen<'_>) -> Written {
        if matches!(operand.node, Node::Literal(None)) {
            return self.write_literal(None, to, pen.sql());
        }
        match (Kind::of(operand.pg_type), Kind::of(to)) {
            (Kind::Whole, Kind::Whole) if rank(to) >= rank(operand.pg_type) => pen.expression(operand),
            (Kind::Whole, Kind::Whole) => checked(to, pen, |pen| self.signed(operand, pen)),
            (Kind::Whole, Kind::Truth) | (Kind::Truth, Kind::Whole) => wrapped("(", operand, " <> 0)", pen),
            (Kind::Whole | Kind::Real, Kind::Double) => wrapped("(", operand, " + 0e0)", pen),
            (Kind::Whole, Kind::Text) => wrapped("CAST((", operand, " + 0) AS CHAR)", pen),
            (Kind::Text, Kind::Text) => match (to.oid, u32::try_from(to.typmod - 4)) {
                (1043, Ok(length)) if operand.pg_type != to => self.over_counts("LEFT", operand, &[length.into()], pen),
                _ => pen.expression(operand),
            },
            (Kind::Whole | Kind::Decimal, Kind::Decimal) => {
                let shape = match (to.numeric_shape(), Kind::of(operand.pg_type)) {
                    (Some((precision, scale)), _) => format!(" AS DECIMAL({precision},{scale}))"),
                    (None, Kind::Whole) => " AS DECIMAL(20,0))".to_owned(),
                    (None, _) => return self.decimal(operand, pen),
                };
                wrapped("CAST(", operand, &shape, pen)
            }
            (Kind::Decimal, Kind::Whole) => checked(to, pen, |pen| wrapped("CAST(", operand, " AS SIGNED)", pen)),
            (Kind::Day, Kind::Moment) => {
                pen.push("CAST(");
                self.value(operand, pen)?;
                pen.push(" AS DATETIME(6))");
                Ok(())
            }
            (Kind::Moment, Kind::Day) => {
                pen.push("CAST(");
                self.value(operand, pen)?;
                pen.push(" AS DATE)");
                Ok(())
            }
            _ => pen.expression(operand),
        }
    }

    fn write_call(&self, function: Function, arguments: &[Expression], of: PgType, pen: &mut Pen<'_>) -> Written {
        match (function, arguments) {
            (Function::Add, [left, right]) => self.arithmetic(" + ", left, right, of, pen),
            (Function::Subtract, [left, right]) => self.arithmetic(" - ", left, right, of, pen),
            (Function::Multiply, [left, right]) => self.arithmetic(" * ", left, right, of, pen),
            (Function::Divide, [left, right]) => self.arithmetic(" DIV ", left, right, of, pen),
            (Function::Modulo, [left, right]) => self.arithmetic(" % ", left, right, of, pen),
            (Function::Negate, [operand]) => checked(of, pen, |pen| {
                pen.push("(- ");
                self.operand(operand, pen)?;
                pen.push(")");
                Ok(())
            }),
            (Function::Absolute, [operand]) => checked(of, pen, |pen| {
                pen.push("ABS(");
                self.operand(operand, pen)?;
                pen.push(")");
                Ok(())
            }),
            _ => self.function(function, arguments, pen),
        }
    }

    fn write_filter(&self, condition: &Expression, pen: &mut Pen<'_>) -> Written {
        if self.with_bare(condition, pen)? { Ok(()) } else { pen.expression(condition) }
    }

    fn write_compare(&self, op: Comparison, left: &Expression, right: &Expression, pen: &mut Pen<'_>) -> Written {
        if self.rules(left, right, pen) {
            return pen.between(left, op.sql(), right);
        }
        pen.push("(");
        self.value(left, pen)?;
        pen.push(" ");
        pen.push(op.sql());
        pen.push(" ");
        self.value(right, pen)?;
        pen.push(")");
        Ok(())
    }

    fn write_distinct(&self, left: &Expression, right: &Expression, negated: bool, pen: &mut Pen<'_>) -> Written {
        pen.push(if negated { "(" } else { "(NOT (" });
        if self.rules(left, right, pen) {
            pen.between(left, "<=>", right)?;
        } else {
            self.value(left, pen)?;
            pen.push(" <=> ");
            self.value(right, pen)?;
        }
        pen.push(if negated { ")" } else { "))" });
        Ok(())
    }

    fn write_is_null(&self, operand: &Expression, negated: bool, pen: &mut Pen<'_>) -> Written {
        pen.push("(");
        if Kind::of(operand.pg_type).is_date() {
            self.value(operand, pen)?
        } else {
            pen.expression(operand)?
        }
        pen.push(if negated { " IS NOT NULL)" } else { " IS NULL)" });
        Ok(())
    }

    fn write_in(&self, subject: &Expression, list: &[Expression], negated: bool, pen: &mut Pen<'_>) -> Written {
        pen.push("(");
        if Self::rules_list(subject, list, pen) {
            pen.expression(subject)?;
        } else {
            self.value(subject, pen)?;
        }
        self.over_values(if negated { " NOT IN " } else { " IN " }, list, pen)?;
        pen.push(")");
        Ok(())
    }

    fn write_like(&self, like: &Like<'_>, pen: &mut Pen<'_>) -> Written {
        let Node::Literal(Some(Value::Text(pattern))) = &like.pattern.node else {
            return Err(Unwritable("is no constant pattern"));
        };
        let pattern = like::with_escape(pattern, '!').ok_or(Unwritable("ends with the escape character"))?;
        pen.push("(");
        if Self::rules_list(like.subject, std::slice::from_ref(like.pattern), pen) {
            pen.expression(like.subject)?;
        } else {
            self.value(like.subject, pen)?;
        }
        pen.push(if like.negated { " NOT LIKE " } else { " LIKE " });
        pen.sql().push_value(Value::Text(pattern))?;
        pen.push(" ESCAPE '!')");
        Ok(())
    }

    fn write_key(&self, key: &Expression, pen: &mut Pen<'_>) -> Written {
        self.key(key, pen)
    }

    /// HAVING reads columns that groups are made by, and looks in vain for those within expressions.
    fn having_reads(&self, key: &Expression, pen: &Pen<'_>) -> bool {
        let shape = pen.shape(key);
        match Kind::of(shape.pg_type) {
            Kind::Text => is_by_bytes(&shape, pen) || self.rules_key(&shape),
            Kind::Truth | Kind::Day | Kind::Moment | Kind::MomentTz | Kind::Real => false,
            Kind::Whole => !is_year(&shape, pen.tables()),
            _ => true,
        }
    }

    fn write_ordered(&self, expression: &Expression, pen: &mut Pen<'_>) -> Written {
        self.key(expression, pen)
    }

    fn write_sort_key(&self, key: &SortKey, pen: &mut Pen<'_>) -> Written {
        let nulls_by_default = key.nulls_first != key.descending;
        let expression = &key.expression;
        let may_vanish = Kind::of(expression.pg_type).is_date() && self.setting.zero_date == ZeroDate::Null;
        if !nulls_by_default && (pen.shape(expression).nullable || may_vanish) {
            self.write_is_null(expression, false, pen)?;
            pen.push(if key.nulls_first { " DESC, " } else { ", " });
        }
        self.key(expression, pen)?;
        pen.push(if key.descending { " DESC" } else { "" });
        Ok(())
    }

    fn write_aggregated(&self, aggregate: Aggregate, argument: &Expression, pen: &mut Pen<'_>) -> Written {
        if aggregate == Aggregate::Sum { self.operand(argument, pen) } else { self.key(argument, pen) }
    }

    fn write_aggregate(&self, call: &AggregateCall, pen: &mut Pen<'_>) -> Written {
        let (before, after) = match call.aggregate {
            Aggregate::CountRows | Aggregate::Count => ("COUNT(", ")"),
            Aggregate::Sum => ("SUM(", ")"),
            Aggregate::Minimum => ("MIN(", ")"),
            Aggregate::Maximum => ("MAX(", ")"),
            Aggregate::BoolAnd => ("(MIN(", ") <> 0)"),
            Aggregate::BoolOr => ("(MAX(", ") <> 0)"),
            Aggregate::Average => return Err(Unwritable("belongs to avg, which the store rounds in another way")),
        };
        pen.push(before);
        pen.push(if call.distinct { "DISTINCT " } else { "" });
        if let Some(condition) = &call.filter {
            pen.push("CASE WHEN ");
            pen.expression(condition)?;
            pen.push(" THEN ");
        }
        match &call.argument {
            None => pen.push(if call.filter.is_some() { "1" } else { "*" }),
            Some(argument) => self.write_aggregated(call.aggregate, argument, pen)?,
        }
        pen.push(if call.filter.is_some() { " END" } else { "" });
        pen.push(after);
        Ok(())
    }

    fn no_columns(&self) -> &'static str {
        " 1 AS c0"
    }
}

/// Wider integers rank higher.
fn rank(pg_type: PgType) -> u8 {
    match pg_type.oid {
        21 => 0,
        23 => 1,
        _ => 2,
    }
}
