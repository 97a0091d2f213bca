//! PostgreSQL's own words. Casts and functions are named with their schema, and text is compared by bytes wherever the collation of
//! what is compared could say otherwise.

use std::collections::BTreeSet;

use super::super::super::collation;
use super::super::super::fragment::{DateField, Expression, Function, Node, Shape};
use super::super::super::predicate::{ColumnRef, Comparison, Predicate, Rows};
use super::super::super::relational::fragment::{Like, Pen, Phrasing};
use super::super::super::relational::predicate::{self, Like as StoredLike, Members, Spelling, Use};
use super::super::super::relational::{Sql, Unwritable};
use super::super::super::schema::{Collation, Column, Table};
use super::super::super::value::Value;
use super::super::array::{self, Element};
use super::super::job::stored_column;
use super::super::pushdown::Names;
use super::super::types::Form;
use super::super::write::native;
use super::judge::is_string;
use crate::pgtype::{PgType, builtin};

/// How a fragment is spelled for PostgreSQL.
pub(in super::super) struct Postgres {
    /// [`Fragment::by_own_collations`](super::super::super::Fragment).
    pub(in super::super) by_own_collations: bool,
}

impl Postgres {
    /// Whether the server's own collation counts for a comparison.
    fn rules(&self, sides: [&Expression; 2], shapes: &[Shape; 2]) -> bool {
        collation::rules(self.by_own_collations, sides, [&shapes[0], &shapes[1]])
    }

    /// Whether it counts for values that are ordered, or made one.
    fn rules_key(&self, key: &Expression, pen: &Pen<'_>) -> bool {
        self.by_own_collations && collation::own(&pen.shape(key)).is_some()
    }
}

/// The columns of a table behind an alias.
struct Aliased<'a>(Names<'a>, &'a str);

/// Whatever the names of a table write begins with the column.
impl Spelling for Aliased<'_> {
    fn write_column(&self, column: &ColumnRef, purpose: Use, sql: &mut Sql) -> Result<(), Unwritable> {
        self.write_alias(sql);
        self.0.write_column(column, purpose, sql)
    }

    fn write_value(&self, column: &ColumnRef, value: &Value, sql: &mut Sql) -> Result<(), Unwritable> {
        self.0.write_value(column, value, sql)
    }

    fn write_members(&self, members: Members<'_>, sql: &mut Sql) -> Result<bool, Unwritable> {
        self.0.write_members(members, sql)
    }

    fn write_rows(&self, rows: &Rows, sql: &mut Sql) -> Result<bool, Unwritable> {
        self.0.write_rows(rows, sql)
    }

    fn write_like(&self, column: &ColumnRef, like: StoredLike<'_>, sql: &mut Sql) -> Result<(), Unwritable> {
        self.write_alias(sql);
        self.0.write_like(column, like, sql)
    }
}

impl Aliased<'_> {
    fn write_alias(&self, sql: &mut Sql) {
        sql.push(self.1);
        sql.push(".");
    }
}

impl Phrasing for Postgres {
    fn write_condition(&self, table: &Table, alias: &str, condition: &Predicate, sql: &mut Sql) -> Result<(), Unwritable> {
        predicate::write(condition, &Aliased(Names(table), alias), sql)
    }

    fn kept(&self) -> Option<&'static str> {
        Some(" AS MATERIALIZED ")
    }

    fn write_literal(&self, value: Option<&Value>, pg_type: PgType, sql: &mut Sql) -> Result<(), Unwritable> {
        match value {
            Some(value) => sql.push_value(value.clone())?,
            None => sql.push("NULL"),
        }
        sql.push("::");
        sql.push(&type_name(PgType::with_typmod(pg_type.oid, -1))?);
        Ok(())
    }

    /// What is offered as text and is none takes no text without a word.
    fn write_assigned(&self, column: &Column, value: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.expression(value)?;
        if let Some(native) = native(column) {
            pen.push("::");
            pen.push(native);
        }
        Ok(())
    }

    fn write_cast(&self, operand: &Expression, to: PgType, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.push("CAST(");
        pen.expression(operand)?;
        pen.push(" AS ");
        pen.push(&type_name(to)?);
        pen.push(")");
        Ok(())
    }

    fn write_call(&self, function: Function, arguments: &[Expression], _of: PgType, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        match (function, arguments) {
            (Function::Negate, [operand]) => {
                pen.push("(- ");
                pen.expression(operand)?;
                pen.push(")");
                Ok(())
            }
            (_, [left, right]) if function.is_operator() => pen.between(left, function.name(), right),
            (Function::Extract(field), [moment]) => write_extract(field, moment, pen),
            (Function::DatePart(field) | Function::DateTrunc(field), [moment]) => {
                pen.push("pg_catalog.");
                pen.push(function.name());
                pen.push("('");
                pen.push(field.word());
                pen.push("', ");
                pen.expression(moment)?;
                pen.push(")");
                Ok(())
            }
            (_, [first, rest @ ..]) => {
                let (name, compares) = called(function);
                pen.push(&name);
                let shapes: Vec<Shape> = arguments.iter().map(|argument| pen.shape(argument)).collect();
                let by_bytes = match compares {
                    Compares::Order => needs_order(arguments, &shapes),
                    Compares::Equality => needs_equality(arguments, &shapes),
                    Compares::Searches => shapes.iter().any(is_loose) || meet(arguments, pen),
                };
                pen.push("(");
                write_text(first, by_bytes, pen)?;
                for argument in rest {
                    pen.push(", ");
                    pen.expression(argument)?;
                }
                pen.push(")");
                Ok(())
            }
            (_, []) => Err(Unwritable("belongs to no argument")),
        }
    }

    fn write_compare(&self, op: Comparison, left: &Expression, right: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        let (both, shapes) = ([left.clone(), right.clone()], [pen.shape(left), pen.shape(right)]);
        let by_bytes = match op {
            _ if self.rules([left, right], &shapes) => false,
            Comparison::Equal | Comparison::NotEqual => needs_equality(&both, &shapes),
            Comparison::Less | Comparison::LessOrEqual | Comparison::Greater | Comparison::GreaterOrEqual => {
                needs_order(&both, &shapes)
            }
        };
        write_pair(left, op.sql(), right, by_bytes, pen)
    }

    fn write_distinct(&self, left: &Expression, right: &Expression, negated: bool, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        let shapes = [pen.shape(left), pen.shape(right)];
        let by_bytes = !self.rules([left, right], &shapes) && needs_equality(&[left.clone(), right.clone()], &shapes);
        write_pair(left, if negated { "IS NOT DISTINCT FROM" } else { "IS DISTINCT FROM" }, right, by_bytes, pen)
    }

    /// A composite value of NULLs `IS NULL`, but its text, which is what is sent, is not.
    fn write_is_null(&self, operand: &Expression, negated: bool, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.push("(");
        pen.expression(operand)?;
        let shape = pen.shape(operand);
        let form = stored_column(&shape, pen.tables()).map_or(Form::Binary, |column| Form::of(&column.field));
        pen.push(form.cast());
        pen.push(if negated { " IS NOT NULL)" } else { " IS NULL)" });
        Ok(())
    }

    fn write_in(&self, subject: &Expression, list: &[Expression], negated: bool, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        let constants = constants(subject.pg_type, list);
        let first = pen.shape(subject);
        let by_bytes = is_string(subject.pg_type) && !collation::rules_list(&first, list) && {
            let different = |item: &Expression| needs_equality(&[subject.clone(), item.clone()], &[first.clone(), pen.shape(item)]);
            // Of constants each is as good as the other.
            list.iter().take(if constants.is_some() { 1 } else { list.len() }).any(different)
        };
        pen.push("(");
        write_text(subject, by_bytes, pen)?;
        if let Some((element, values)) = constants
            && array::write(element, values.iter().copied(), negated, pen.sql())?
        {
            pen.push(")");
            return Ok(());
        }
        pen.push(if negated { " NOT IN (" } else { " IN (" });
        pen.list(list)?;
        pen.push("))");
        Ok(())
    }

    /// The backslash is the server's own default escape character, so the pattern may stay as it is and use an index.
    fn write_like(&self, like: &Like<'_>, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        let (both, shapes) = ([like.subject.clone(), like.pattern.clone()], [pen.shape(like.subject), pen.shape(like.pattern)]);
        write_pair(like.subject, if like.negated { "NOT LIKE" } else { "LIKE" }, like.pattern, needs_equality(&both, &shapes), pen)
    }

    fn write_key(&self, key: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        let by_bytes =
            !is_labels(key, pen) && !self.rules_key(key, pen) && needs_equality(std::slice::from_ref(key), &[pen.shape(key)]);
        if !by_bytes {
            return write_text(key, false, pen);
        }
        // The server puts casts of a collated expression, its own ones too, below its collation, where they would make another expression
        // than that of GROUP BY. Below COALESCE it puts none, and COALESCE of one value is gone from its plan.
        pen.push("COALESCE(");
        write_text(key, true, pen)?;
        pen.push(")");
        Ok(())
    }

    fn write_ordered(&self, expression: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        let is_free = is_labels(expression, pen) || self.rules_key(expression, pen);
        let by_bytes = !is_free && needs_order(std::slice::from_ref(expression), &[pen.shape(expression)]);
        write_text(expression, by_bytes, pen)
    }

    /// Stored columns are sent as a scan sends them; of everything else the type is said, because a binary COPY carries none.
    fn write_output(&self, column: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
        pen.expression(column)?;
        let shape = pen.shape(column);
        match stored_column(&shape, pen.tables()) {
            Some(stored) => pen.push(Form::of(&stored.field).cast()),
            None => {
                pen.push("::");
                pen.push(&type_name(PgType::with_typmod(shape.pg_type.oid, -1))?);
            }
        }
        Ok(())
    }

    fn no_columns(&self) -> &'static str {
        ""
    }

    fn write_values(&self, types: &[PgType], rows: &[Vec<Option<Value>>], alias: &str, sql: &mut Sql) -> Result<(), Unwritable> {
        let nothing = vec![None; types.len()];
        let given: Vec<&Vec<Option<Value>>> = if rows.is_empty() { vec![&nothing] } else { rows.iter().collect() };
        for (number, row) in given.into_iter().enumerate() {
            sql.push(if number == 0 { "(VALUES (" } else { "), (" });
            for (place, pg_type) in types.iter().enumerate() {
                sql.push(if place == 0 { "" } else { ", " });
                self.write_literal(row.get(place).and_then(Option::as_ref), *pg_type, sql)?;
            }
            sql.push(if types.is_empty() { "NULL" } else { "" });
        }
        sql.push(if rows.is_empty() { ") LIMIT 0) AS " } else { ")) AS " });
        sql.push(alias);
        let names: Vec<String> = (0..types.len().max(1)).map(|place| format!("c{place}")).collect();
        sql.push(&format!(" ({})", names.join(", ")));
        Ok(())
    }
}

/// The constants of a list that has nothing else, without NULLs, and what an array of them is made of. Integers are of the type that they are
/// compared with, whatever their own: that of everything else is the same, or has the same equality.
fn constants(subject: PgType, list: &[Expression]) -> Option<(Element, Vec<&Value>)> {
    let element = match subject.oid {
        25 | 1043 => Element::Text,
        1042 => Element::Blank,
        1082 => Element::Date,
        1083 => Element::Time,
        1114 => Element::Timestamp,
        1184 => Element::TimestampTz,
        1700 => Element::Numeric,
        2950 => Element::Uuid,
        oid => Element::integer(oid)?,
    };
    let is_alike = |item: PgType| match element {
        Element::Int2 | Element::Int4 | Element::Int8 => Element::integer(item.oid).is_some(),
        Element::Text => matches!(item.oid, 25 | 1043),
        _ => item.oid == subject.oid,
    };
    let mut values = Vec::with_capacity(list.len());
    for item in list {
        match &item.node {
            Node::Literal(Some(value)) if is_alike(item.pg_type) => values.push(value),
            _ => return None,
        }
    }
    Some((element, values))
}

/// How a function looks at texts.
enum Compares {
    /// It finds the smallest or largest.
    Order,
    /// It asks for equality.
    Equality,
    /// It looks for parts, which only a collation that is not deterministic forbids.
    Searches,
}

/// The name of a function that is called with arguments in parentheses.
fn called(function: Function) -> (String, Compares) {
    match function {
        Function::Coalesce => ("COALESCE".to_owned(), Compares::Searches),
        Function::NullIf => ("NULLIF".to_owned(), Compares::Equality),
        Function::Greatest => ("GREATEST".to_owned(), Compares::Order),
        Function::Least => ("LEAST".to_owned(), Compares::Order),
        // Words that the grammar gives another meaning stand in quotes.
        Function::Left | Function::Right => (format!("pg_catalog.\"{}\"", function.name()), Compares::Searches),
        _ => (format!("pg_catalog.{}", function.name()), Compares::Searches),
    }
}

/// `EXTRACT` is `double precision` before PostgreSQL 14.
fn write_extract(field: DateField, moment: &Expression, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
    pen.push("EXTRACT(");
    pen.push(field.word());
    pen.push(" FROM ");
    pen.expression(moment)?;
    pen.push(")::pg_catalog.numeric");
    Ok(())
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

/// An expression under the collation that compares bytes.
fn write_text(expression: &Expression, by_bytes: bool, pen: &mut Pen<'_>) -> Result<(), Unwritable> {
    if !by_bytes {
        return pen.expression(expression);
    }
    pen.push("(");
    pen.expression(expression)?;
    pen.push(" COLLATE pg_catalog.\"C\")");
    Ok(())
}

/// Whether the column holds labels of an enum, which have an order of their own and no collation.
fn is_labels(expression: &Expression, pen: &Pen<'_>) -> bool {
    use crate::pgtype::PgField;
    stored_column(&pen.shape(expression), pen.tables()).is_some_and(|column| column.field.enum_labels().is_some())
}

/// Under a collation that is not deterministic, different texts may be equal. That of `character(n)` is told as its type: it ignores
/// blanks, which the type itself does.
fn is_loose(shape: &Shape) -> bool {
    match &shape.collation {
        Collation::Loose(name) => shape.pg_type.oid != PgType::BPCHAR.oid || !(name == "bpchar" || name.starts_with("character(")),
        Collation::Native { is_loose, .. } => *is_loose,
        Collation::Bytes | Collation::Linguistic(_) => false,
    }
}

/// Whether equality needs the collation written out. Under a deterministic collation it is by bytes, and an index stays of use; but
/// only of stored columns is the collation known, and two of different collations cannot be compared without a word.
fn needs_equality(operands: &[Expression], shapes: &[Shape]) -> bool {
    if !operands.iter().any(|operand| is_string(operand.pg_type)) {
        return false;
    }
    let mut seen: Option<&str> = None;
    operands.iter().zip(shapes).any(|(operand, shape)| match (&operand.node, &shape.collation) {
        (Node::Literal(_), _) => false,
        _ if is_loose(shape) => true,
        _ if shape.origin.is_none() => true,
        (_, Collation::Linguistic(name) | Collation::Native { name, .. }) => *seen.get_or_insert(name) != name,
        _ => false,
    })
}

/// Whether columns of several collations are in what a function looks at: the server would choose none of them.
fn meet(arguments: &[Expression], pen: &Pen<'_>) -> bool {
    let mut names = BTreeSet::new();
    for argument in arguments {
        argument.visit(&mut |inner| {
            let is_column = matches!(inner.node, Node::Column(_)) && is_string(inner.pg_type);
            if let (true, Collation::Linguistic(name) | Collation::Native { name, .. }) = (is_column, pen.shape(inner).collation) {
                names.insert(name);
            }
        });
    }
    names.len() > 1
}

/// Whether order needs the collation written out: only stored columns are known to be ordered by bytes.
fn needs_order(operands: &[Expression], shapes: &[Shape]) -> bool {
    if !operands.iter().any(|operand| is_string(operand.pg_type)) {
        return false;
    }
    let mut bytes = false;
    for (operand, shape) in operands.iter().zip(shapes) {
        match &operand.node {
            Node::Literal(_) => {}
            _ if shape.origin.is_some() && shape.collation == Collation::Bytes => bytes = true,
            _ => return true,
        }
    }
    !bytes
}

/// The name of a type in the server's own schema, with its modifier.
///
/// # Errors
/// A type that is not built in.
fn type_name(pg_type: PgType) -> Result<String, Unwritable> {
    let known = builtin(pg_type.oid).ok_or(Unwritable("is of a type without a name"))?;
    let name = format!("pg_catalog.{}", known.name);
    Ok(match (pg_type.numeric_shape(), pg_type.oid, pg_type.typmod) {
        (Some((precision, scale)), _, _) => format!("{name}({precision},{scale})"),
        (None, 1042 | 1043, length @ 4..) => format!("{name}({})", length - 4),
        (None, 1083 | 1114 | 1184, digits @ 0..) => format!("{name}({digits})"),
        _ => name,
    })
}
