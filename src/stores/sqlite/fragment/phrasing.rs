//! SQLite's own words, and the checks of cells.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::collation;
use super::super::super::fragment::{Aggregate, AggregateCall, Expression, Function, Node, Shape, Tables};
use super::super::super::predicate::{ColumnRef, Comparison, Predicate};
use super::super::super::relational::fragment::{Like, Pen, Phrasing};
use super::super::super::relational::predicate::{self, Like as StoredLike, Spelling, Use};
use super::super::super::relational::{Dialect, Sql, Unwritable, like};
use super::super::super::schema::{Collation, Table, TableId};
use super::super::super::value::Value;
use super::super::pushdown::{Columns, compares_by_own};
use super::super::types::is_proven;
use super::judge::{is_text, kinds};
use super::stored_column;
use crate::pgtype::PgType;

/// How one fragment is spelled for SQLite.
pub(super) struct Sqlite<'t> {
    pub tables: &'t Tables,
    /// The stored columns that it computes with.
    pub used: BTreeMap<TableId, BTreeSet<usize>>,
    /// Whether cells are checked, which they are in all that is sent.
    pub checks: bool,
    /// [`Fragment::by_own_collations`](super::super::super::Fragment).
    pub by_own_collations: bool,
}

impl Sqlite<'_> {
    /// Whether two values are to be compared by bytes in spite of their collations. With a constant a column is compared as a scan
    /// compares it.
    fn compares_pair_otherwise(&self, op: Comparison, [left, right]: [&Expression; 2], pen: &Pen<'_>) -> bool {
        let shapes = [pen.shape(left), pen.shape(right)];
        let by_own =
            |shape: &Shape, op| stored_column(shape, self.tables).is_some_and(|column| compares_by_own(column, Use::Compare(op)));
        let is_exact = match [&left.node, &right.node] {
            [_, Node::Literal(_)] => by_own(&shapes[0], op),
            [Node::Literal(_), _] => by_own(&shapes[1], op.flipped()),
            _ => true,
        };
        let is_ruled = is_exact && collation::rules(self.by_own_collations, [left, right], [&shapes[0], &shapes[1]]);
        !is_ruled && compares_otherwise(&[left, right], pen)
    }

    fn compares_list_otherwise(&self, subject: &Expression, list: &[Expression], negated: bool, pen: &Pen<'_>) -> bool {
        let (shape, purpose) = (pen.shape(subject), if negated { Use::Compare(Comparison::NotEqual) } else { Use::Member });
        let is_exact = stored_column(&shape, self.tables).is_some_and(|column| compares_by_own(column, purpose));
        !(is_exact && collation::rules_list(&shape, list)) && compares_otherwise(&[subject], pen)
    }

    /// The same of values that are ordered, or made one.
    fn compares_key_otherwise(&self, key: &Expression, pen: &Pen<'_>) -> bool {
        let is_ruled = self.by_own_collations && collation::own(&pen.shape(key)).is_some();
        !is_ruled && compares_otherwise(&[key], pen)
    }
}

/// The columns of a table behind an alias.
struct Aliased<'a>(&'a Table, &'a str);

impl Spelling for Aliased<'_> {
    fn write_column(&self, column: &ColumnRef, purpose: Use, sql: &mut Sql) -> Result<(), Unwritable> {
        let found = self.0.columns.get(column.column).ok_or(Unwritable("belongs to no column"))?;
        sql.push(self.1);
        sql.push(".");
        sql.push_name(found.name());
        if (Columns { table: self.0 }).compares_otherwise(found, purpose) {
            sql.push(" COLLATE BINARY");
        }
        Ok(())
    }

    fn write_like(&self, column: &ColumnRef, like: StoredLike<'_>, sql: &mut Sql) -> Result<(), Unwritable> {
        self.write_column(column, Use::Pattern, sql)?;
        sql.push(if like.negated { " NOT GLOB " } else { " GLOB " });
        sql.push_value(Value::Text(like::as_glob(like.pattern).ok_or(Unwritable("ends with the escape character"))?))
    }
}

impl Phrasing for Sqlite<'_> {
    fn write_condition(&self, table: &Table, alias: &str, condition: &Predicate, sql: &mut Sql) -> Result<(), Unwritable> {
        predicate::write(condition, &Aliased(table, alias), sql)
    }

    fn kept(&self) -> Option<&'static str> {
        Some(" AS MATERIALIZED ")
    }

    fn checks(&self, table: &TableId) -> bool {
        let uncertain =
            |table: &Table, ordinal: &usize| table.columns.get(*ordinal).is_some_and(|column| !is_proven(&column.field));
        let used = self.used.get(table).into_iter().flatten();
        self.checks && self.tables.get(table).is_some_and(|table| used.into_iter().any(|ordinal| uncertain(table, ordinal)))
    }

    /// A path that is none makes SQLite fail and say it. It depends on the row, so that it is not evaluated ahead of time.
    fn write_check(&self, table: &Table, alias: &str, sql: &mut Sql) -> Result<(), Unwritable> {
        let used = self.used.get(&table.id).into_iter().flatten().filter_map(|ordinal| table.columns.get(*ordinal));
        let mut written = 0;
        for column in used.filter(|column| !is_proven(&column.field)) {
            // Columns of other types are only asked whether they are NULL.
            let Some(kind) = kinds(column) else { continue };
            sql.push(if written == 0 { "" } else { " AND " });
            written += 1;
            let name = format!("{alias}.{}", Dialect::Sqlite.quote(column.name()));
            sql.push(&format!("CASE WHEN typeof({name}) IN ('{kind}', 'null')"));
            if column.pg_type() == PgType::BOOL {
                sql.push(&format!(" AND ifnull({name} IN (0, 1), 1)"));
            }
            sql.push(&format!(" THEN 1 ELSE json_extract('{{}}', typeof({name}) || "));
            sql.push_value(Value::Text(format!(" in {}.{}", table.id.name, column.name())))?;
            sql.push(") END");
        }
        sql.push(if written == 0 { "1" } else { "" });
        Ok(())
    }

    fn write_cast(&self, operand: &Expression, to: PgType, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        if !is_text(to) {
            return pen.expression(operand);
        }
        pen.push("CAST(");
        pen.expression(operand)?;
        pen.push(" AS TEXT)");
        Ok(())
    }

    fn write_call(&self, function: Function, arguments: &[Expression], _of: PgType, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        match (function, arguments) {
            (Function::Concat, [left, right]) => pen.between(left, "||", right),
            // SQLite's own takes two at least.
            (Function::Coalesce, [only]) => pen.expression(only),
            (Function::Coalesce, _) => pen.call("coalesce", arguments),
            (Function::NullIf, [left, right]) => {
                pen.push("nullif(");
                write_text(left, compares_otherwise(&[left, right], pen), pen)?;
                pen.push(", ");
                pen.expression(right)?;
                pen.push(")");
                Ok(())
            }
            (Function::Length, _) => pen.call("length", arguments),
            (Function::Substring, _) => pen.call("substr", arguments),
            (Function::Left, [text, count]) => {
                pen.push("substr(");
                pen.expression(text)?;
                pen.push(", 1, ");
                pen.expression(count)?;
                pen.push(")");
                Ok(())
            }
            (Function::Trim, _) => pen.call("trim", arguments),
            (Function::TrimStart, _) => pen.call("ltrim", arguments),
            (Function::TrimEnd, _) => pen.call("rtrim", arguments),
            (Function::Replace, _) => pen.call("replace", arguments),
            (Function::Position, _) => pen.call("instr", arguments),
            _ => Err(Unwritable("belongs to a function that SQLite lacks")),
        }
    }

    fn write_compare(&self, op: Comparison, left: &Expression, right: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        write_pair(left, op.sql(), right, self.compares_pair_otherwise(op, [left, right], pen), pen)
    }

    fn write_distinct(&self, left: &Expression, right: &Expression, negated: bool, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        let by_bytes = self.compares_pair_otherwise(Comparison::NotEqual, [left, right], pen);
        write_pair(left, if negated { "IS" } else { "IS NOT" }, right, by_bytes, pen)
    }

    fn write_in(&self, subject: &Expression, list: &[Expression], negated: bool, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.push("(");
        write_text(subject, self.compares_list_otherwise(subject, list, negated, pen), pen)?;
        pen.push(if negated { " NOT IN (" } else { " IN (" });
        pen.list(list)?;
        pen.push("))");
        Ok(())
    }

    /// `LIKE` of SQLite ignores the case of ASCII letters; `GLOB` does not.
    fn write_like(&self, like: &Like<'_>, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        let Node::Literal(Some(Value::Text(pattern))) = &like.pattern.node else {
            return Err(Unwritable("is no constant pattern"));
        };
        let glob = like::as_glob(pattern).ok_or(Unwritable("ends with the escape character"))?;
        pen.push("(");
        pen.expression(like.subject)?;
        pen.push(if like.negated { " NOT GLOB " } else { " GLOB " });
        pen.sql().push_value(Value::Text(glob))?;
        pen.push(")");
        Ok(())
    }

    fn write_key(&self, key: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        write_text(key, self.compares_key_otherwise(key, pen), pen)
    }

    fn write_ordered(&self, expression: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        write_text(expression, self.compares_key_otherwise(expression, pen), pen)
    }

    /// All hold when the least of the truth values does.
    fn write_aggregate(&self, call: &AggregateCall, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        let name = match call.aggregate {
            Aggregate::BoolAnd => "min",
            Aggregate::BoolOr => "max",
            other => other.name(),
        };
        pen.push(name);
        pen.push(if call.distinct { "(DISTINCT " } else { "(" });
        match &call.argument {
            Some(argument) => self.write_key(argument, pen)?,
            None => pen.push("*"),
        }
        pen.push(")");
        if let Some(condition) = &call.filter {
            pen.push(" FILTER (WHERE ");
            pen.expression(condition)?;
            pen.push(")");
        }
        Ok(())
    }

    /// JSON may be stored in SQLite's binary form, which is sent as text.
    fn write_output(&self, column: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        let json = stored_column(&pen.shape(column), pen.tables()).is_some_and(|stored| stored.pg_type() == PgType::JSON);
        if !json {
            return pen.expression(column);
        }
        for (before, after) in
            [("CASE WHEN typeof(", ""), (") = 'blob' AND json_valid(", ""), (", 8) THEN json(", ""), (") ELSE ", " END")]
        {
            pen.push(before);
            pen.expression(column)?;
            pen.push(after);
        }
        Ok(())
    }

    /// SQLite takes `CROSS JOIN` as an order in which to join.
    fn cross_join(&self) -> &'static str {
        " JOIN "
    }

    /// A set is made once, where rows that are looked for one by one would be read again and again without an index. `IN` compares under
    /// the collation of its subject.
    fn prefers_in(&self, subjects: &[Shape], keys: &[Shape]) -> bool {
        let indexed = |shape: &Shape| {
            let Some((origin, table)) = shape.origin.as_ref().and_then(|origin| Some((origin, self.tables.get(&origin.table)?)))
            else {
                return false;
            };
            let keys = table.primary_key.iter().chain(&table.unique_keys).chain(&table.indexes);
            keys.into_iter().any(|key| key.columns.first() == Some(&origin.column))
        };
        let by_bytes = subjects.iter().chain(keys).all(|shape| !is_text(shape.pg_type) || shape.collation == Collation::Bytes);
        by_bytes && !keys.iter().any(indexed)
    }
}

fn write_pair(left: &Expression, word: &str, right: &Expression, by_bytes: bool, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
    pen.push("(");
    write_text(left, by_bytes, pen)?;
    pen.push(" ");
    pen.push(word);
    pen.push(" ");
    pen.expression(right)?;
    pen.push(")");
    Ok(())
}

fn write_text(expression: &Expression, by_bytes: bool, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
    if !by_bytes {
        return pen.expression(expression);
    }
    pen.push("(");
    pen.expression(expression)?;
    pen.push(" COLLATE BINARY)");
    Ok(())
}

/// Whether a collation of the operands could compare texts in another way than by bytes.
fn compares_otherwise(operands: &[&Expression], pen: &Pen<'_>) -> bool {
    let is_other = |operand: &Expression| matches!(pen.shape(operand).collation, Collation::Loose(_) | Collation::Native { .. });
    operands.iter().any(|operand| is_text(operand.pg_type) && is_other(operand))
}
