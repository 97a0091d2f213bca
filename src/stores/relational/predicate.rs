//! Turns accepted predicates into an SQL condition. What a store accepts is decided in its own `pushdown.rs`.

use super::super::predicate::{ColumnRef, Comparison, Predicate, Rows};
use super::super::value::Value;
use super::like;
use super::sql::{Sql, Unwritable};

/// What a column is written for, because stores need different spellings (a byte-order collation, a JSON operator).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// The left side of a comparison.
    Compare(Comparison),
    /// The left side of `IN`.
    Member,
    /// The operand of `IS NULL`.
    NullTest,
    /// The left side of `LIKE`.
    Pattern,
}

/// How a connector spells the columns and values of one table.
pub trait Spelling {
    /// Writes a condition on one column in a form of the store's own and says so; `false` leaves it to the form below.
    ///
    /// # Errors
    /// When a value cannot be written.
    fn write_own(&self, predicate: &Predicate, sql: &mut Sql) -> Result<bool, Unwritable> {
        let _ = (predicate, sql);
        Ok(false)
    }

    /// Writes the column: a quoted name, or an expression that reaches into a document.
    ///
    /// # Errors
    /// When a value inside the expression cannot be written.
    fn write_column(&self, column: &ColumnRef, purpose: Use, sql: &mut Sql) -> Result<(), Unwritable>;

    /// Writes a value that `column` is compared with.
    ///
    /// # Errors
    /// When the value cannot be written.
    fn write_value(&self, column: &ColumnRef, value: &Value, sql: &mut Sql) -> Result<(), Unwritable> {
        let _ = column;
        sql.push_value(value.clone())
    }

    /// Writes what follows the left side of `IN` in a form of the store's own and says so; `false` leaves it to a list in parentheses.
    ///
    /// # Errors
    /// When a value cannot be written.
    fn write_members(&self, members: Members<'_>, sql: &mut Sql) -> Result<bool, Unwritable> {
        let _ = (members, sql);
        Ok(false)
    }

    /// Writes what follows the left side of `(a, b) IN` in a form of the store's own and says so; `false` leaves it to rows in
    /// parentheses.
    ///
    /// # Errors
    /// When a value cannot be written.
    fn write_rows(&self, rows: &Rows, sql: &mut Sql) -> Result<bool, Unwritable> {
        let _ = (rows, sql);
        Ok(false)
    }

    /// Writes the whole `LIKE` condition. The default is right for stores whose `LIKE` has an `ESCAPE` clause and, on the
    /// column as [`Spelling::write_column`] writes it, the wanted case rule.
    ///
    /// # Errors
    /// When the pattern cannot be written.
    fn write_like(&self, column: &ColumnRef, like: Like<'_>, sql: &mut Sql) -> Result<(), Unwritable> {
        self.write_column(column, Use::Pattern, sql)?;
        sql.push(if like.negated { " NOT" } else { "" });
        sql.push(if like.case_insensitive { " ILIKE " } else { " LIKE " });
        sql.push_value(Value::Text(like::with_escape(like.pattern, '!').ok_or(Unwritable("ends with the escape character"))?))?;
        sql.push(" ESCAPE '!'");
        Ok(())
    }
}

/// The right side of an `IN`.
#[derive(Debug, Clone, Copy)]
pub struct Members<'a> {
    /// The left side.
    pub column: &'a ColumnRef,
    /// The list, not empty.
    pub values: &'a [Value],
    /// `NOT IN`.
    pub negated: bool,
}

/// The right side and the kind of a `LIKE`.
#[derive(Debug, Clone, Copy)]
pub struct Like<'a> {
    /// The pattern with backslash as its escape character.
    pub pattern: &'a str,
    /// `NOT LIKE`.
    pub negated: bool,
    /// `ILIKE`.
    pub case_insensitive: bool,
}

/// Writes ` WHERE a AND b …`, or nothing when there are no conditions.
///
/// # Errors
/// When a value cannot be written in the form `sql` needs.
pub fn write_all(filter: &[Predicate], spelling: &dyn Spelling, sql: &mut Sql) -> Result<(), Unwritable> {
    for (number, predicate) in filter.iter().enumerate() {
        sql.push(if number == 0 { " WHERE " } else { " AND " });
        write(predicate, spelling, sql)?;
    }
    Ok(())
}

/// Writes one condition, with parentheses where it joins others.
///
/// # Errors
/// As [`write_all`].
pub fn write(predicate: &Predicate, spelling: &dyn Spelling, sql: &mut Sql) -> Result<(), Unwritable> {
    if spelling.write_own(predicate, sql)? {
        return Ok(());
    }
    match predicate {
        Predicate::Compare { column, op, value } => {
            spelling.write_column(column, Use::Compare(*op), sql)?;
            sql.push(" ");
            sql.push(op.sql());
            sql.push(" ");
            spelling.write_value(column, value, sql)
        }
        Predicate::In { column, values, negated } => write_in(column, values, *negated, spelling, sql),
        Predicate::Rows(rows) => write_rows(rows, spelling, sql),
        Predicate::IsNull { column, negated } => {
            spelling.write_column(column, Use::NullTest, sql)?;
            sql.push(if *negated { " IS NOT NULL" } else { " IS NULL" });
            Ok(())
        }
        Predicate::Like { column, pattern, negated, case_insensitive } => {
            let like = Like { pattern, negated: *negated, case_insensitive: *case_insensitive };
            spelling.write_like(column, like, sql)
        }
        Predicate::And(parts) => write_joined(parts, " AND ", true, spelling, sql),
        Predicate::Or(parts) => write_joined(parts, " OR ", false, spelling, sql),
    }
}

fn write_in(column: &ColumnRef, values: &[Value], negated: bool, spelling: &dyn Spelling, sql: &mut Sql) -> Result<(), Unwritable> {
    // An empty list is not SQL; `x IN ()` keeps no row and `x NOT IN ()` keeps every row, NULL included.
    if values.is_empty() {
        let truth = sql.dialect().truth(negated);
        sql.push(truth);
        return Ok(());
    }
    spelling.write_column(column, Use::Member, sql)?;
    if spelling.write_members(Members { column, values, negated }, sql)? {
        return Ok(());
    }
    sql.push(if negated { " NOT IN (" } else { " IN (" });
    for (number, value) in values.iter().enumerate() {
        sql.push(if number == 0 { "" } else { ", " });
        spelling.write_value(column, value, sql)?;
    }
    sql.push(")");
    Ok(())
}

/// `(a, b) IN ((1, 2), (3, 4))`.
fn write_rows(rows: &Rows, spelling: &dyn Spelling, sql: &mut Sql) -> Result<(), Unwritable> {
    if rows.rows.is_empty() {
        let truth = sql.dialect().truth(false);
        sql.push(truth);
        return Ok(());
    }
    for (place, column) in rows.columns.iter().enumerate() {
        sql.push(if place == 0 { "(" } else { ", " });
        spelling.write_column(column, Use::Member, sql)?;
    }
    sql.push(")");
    if spelling.write_rows(rows, sql)? {
        return Ok(());
    }
    let before = sql.dialect().before_rows();
    sql.push(" IN (");
    sql.push(before);
    for (number, row) in rows.rows.iter().enumerate() {
        sql.push(if number == 0 { "" } else { ", " });
        for (place, (column, value)) in rows.columns.iter().zip(row).enumerate() {
            sql.push(if place == 0 { "(" } else { ", " });
            spelling.write_value(column, value, sql)?;
        }
        sql.push(")");
    }
    sql.push(")");
    Ok(())
}

fn write_joined(
    parts: &[Predicate],
    word: &str,
    when_empty: bool,
    spelling: &dyn Spelling,
    sql: &mut Sql,
) -> Result<(), Unwritable> {
    if parts.is_empty() {
        let truth = sql.dialect().truth(when_empty);
        sql.push(truth);
        return Ok(());
    }
    sql.push("(");
    for (number, part) in parts.iter().enumerate() {
        sql.push(if number == 0 { "" } else { word });
        write(part, spelling, sql)?;
    }
    sql.push(")");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::dialect::Dialect;
    use super::*;

    struct Named;

    impl Spelling for Named {
        fn write_column(&self, column: &ColumnRef, _purpose: Use, sql: &mut Sql) -> Result<(), Unwritable> {
            sql.push_name(&format!("c{}", column.column));
            for name in &column.path {
                sql.push(" ->> ");
                sql.push_value(Value::Text(name.clone()))?;
            }
            Ok(())
        }
    }

    fn compare(op: Comparison, value: Value) -> Predicate {
        Predicate::Compare { column: ColumnRef::of(0), op, value }
    }

    fn check(dialect: Dialect, predicate: &Predicate, expected: &str, values: &[Value]) {
        let mut sql = Sql::bound(dialect);
        write_all(std::slice::from_ref(predicate), &Named, &mut sql).unwrap();
        assert_eq!(sql.text(), expected);
        assert_eq!(sql.values(), values);
    }

    #[test]
    fn conditions_carry_their_values_beside_the_text() {
        let evil = Value::Text("\\' or 1=1 -- ".to_owned());
        check(Dialect::Sqlite, &compare(Comparison::Equal, evil.clone()), " WHERE \"c0\" = ?1", std::slice::from_ref(&evil));
        check(Dialect::MySql, &compare(Comparison::NotEqual, evil.clone()), " WHERE `c0` <> ?", std::slice::from_ref(&evil));
        let nested = Predicate::And(vec![
            compare(Comparison::Less, Value::Int(5)),
            Predicate::Or(vec![
                Predicate::IsNull { column: ColumnRef::of(1), negated: false },
                Predicate::In { column: ColumnRef::of(2), values: vec![Value::Int(1), Value::Int(2)], negated: true },
            ]),
        ]);
        check(
            Dialect::Postgres,
            &nested,
            " WHERE (\"c0\" < $1 AND (\"c1\" IS NULL OR \"c2\" NOT IN ($2, $3)))",
            &[Value::Int(5), Value::Int(1), Value::Int(2)],
        );
    }

    #[test]
    fn rows_stand_beside_their_columns() {
        let rows = |rows: &[[i64; 2]]| {
            let rows = rows.iter().map(|row| row.map(Value::Int).to_vec()).collect();
            Predicate::Rows(Rows { columns: vec![ColumnRef::of(0), ColumnRef::of(1)], rows })
        };
        let values = [1, 2, 3, 4].map(Value::Int);
        let given = rows(&[[1, 2], [3, 4]]);
        check(Dialect::Postgres, &given, " WHERE (\"c0\", \"c1\") IN (($1, $2), ($3, $4))", &values);
        check(Dialect::MySql, &given, " WHERE (`c0`, `c1`) IN ((?, ?), (?, ?))", &values);
        check(Dialect::Sqlite, &given, " WHERE (\"c0\", \"c1\") IN (VALUES (?1, ?2), (?3, ?4))", &values);
        check(Dialect::Postgres, &rows(&[]), " WHERE FALSE", &[]);
    }

    #[test]
    fn empty_lists_and_junctions_keep_their_meaning() {
        let column = ColumnRef::of(0);
        check(Dialect::Sqlite, &Predicate::In { column: column.clone(), values: vec![], negated: false }, " WHERE 0", &[]);
        check(Dialect::Postgres, &Predicate::In { column, values: vec![], negated: true }, " WHERE TRUE", &[]);
        check(Dialect::MySql, &Predicate::And(vec![]), " WHERE 1", &[]);
        check(Dialect::MySql, &Predicate::Or(vec![]), " WHERE 0", &[]);
    }

    #[test]
    fn like_gets_an_escape_that_every_dialect_reads_alike() {
        let like = Predicate::Like {
            column: ColumnRef { column: 1, path: vec!["a'b".to_owned()] },
            pattern: "50\\%!_".to_owned(),
            negated: true,
            case_insensitive: false,
        };
        let values = [Value::Text("a'b".to_owned()), Value::Text("50!%!!_".to_owned())];
        check(Dialect::Postgres, &like, " WHERE \"c1\" ->> $1 NOT LIKE $2 ESCAPE '!'", &values);
    }

    #[test]
    fn literal_mode_puts_proved_literals_into_the_text() {
        let mut sql = Sql::literal();
        write(&compare(Comparison::Equal, Value::Text("a''b".to_owned())), &Named, &mut sql).unwrap();
        assert_eq!(sql.text(), "\"c0\" = 'a''''b'");
        assert!(sql.values().is_empty());
    }
}
