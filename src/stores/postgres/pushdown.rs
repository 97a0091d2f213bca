//! Which conditions the server may evaluate, and how columns and values are spelled in them.
//!
//! Exact is claimed only where PostgreSQL under the `C` collation *is* the semantics that a predicate has: numbers, truth
//! values, bytes, dates and times, `uuid`; text equality under deterministic collations; text order with `COLLATE "C"`
//! written out. Where the collations of the store count (`stores/collation`), comparisons are as the server makes them.
//! Deliberately absent: `ILIKE` (folds case by the server's locale), comparisons of types that travel as text,
//! `json` values.

use super::super::predicate::{ColumnRef, Comparison, Predicate, Pushdown, Rows};
use super::super::relational::predicate::{Like, Members};
use super::super::relational::{Spelling, Sql, Unwritable, Use, embedded, field as document_field, like, predicate, rows};
use super::super::schema::{Collation, Column, Table};
use super::super::value::Value;
use super::array::{self, Element};
use super::field;
use super::types::{self, Form};
use crate::pgtype::{DATE_INFINITY, DATE_NEGATIVE_INFINITY, PgField};

/// How a column takes part in comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Bool,
    Integer,
    Oid,
    Float,
    Numeric,
    Text,
    Blank,
    Enum,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
    Opaque,
}

fn family(column: &Column) -> Family {
    if Form::of(&column.field) != Form::Binary || !types::compares_text(&column.field) {
        return Family::Opaque;
    }
    let is_list = column.pg_type().element().is_some();
    match column.pg_type().oid {
        _ if is_list => Family::Opaque,
        25 if column.field.enum_labels().is_some() => Family::Enum,
        16 => Family::Bool,
        17 => Family::Bytes,
        19 | 25 | 1043 => Family::Text,
        20 | 21 | 23 => Family::Integer,
        26 => Family::Oid,
        700 | 701 => Family::Float,
        1042 => Family::Blank,
        1082 => Family::Date,
        1083 => Family::Time,
        1114 => Family::Timestamp,
        1184 => Family::TimestampTz,
        1700 => Family::Numeric,
        2950 => Family::Uuid,
        _ => Family::Opaque,
    }
}

/// How the server can evaluate `predicate` on `table`.
pub(super) fn judge(table: &Table, predicate: &Predicate) -> Pushdown {
    let judged = judge_shape(table, predicate);
    let (Pushdown::Exact(kept) | Pushdown::Superset(kept)) = &judged else { return judged };
    match predicate::write(kept, &Names(table), &mut Sql::literal()) {
        Ok(()) => judged,
        Err(Unwritable(_)) => Pushdown::Refused("a value cannot be written for the store"),
    }
}

fn judge_shape(table: &Table, predicate: &Predicate) -> Pushdown {
    if let Some(judged) = judge_field(table, predicate) {
        return judged;
    }
    match predicate {
        Predicate::And(parts) => judge_all(table, parts),
        Predicate::Or(parts) => judge_any(table, parts),
        Predicate::Rows(found) => rows::judge(table, found, array::KEYS_MAX, &|part| judge(table, part)),
        Predicate::IsNull { column, .. } => match plain(table, column) {
            Some(_) => Pushdown::Exact(predicate.clone()),
            None => Pushdown::Refused("fields inside documents are not evaluated by the store"),
        },
        Predicate::Compare { column, op, value } => {
            grade(table, column, std::slice::from_ref(value), Test::Compare(*op), predicate)
        }
        Predicate::In { column, values, negated } => {
            let op = if *negated { Comparison::NotEqual } else { Comparison::Equal };
            grade(table, column, values, Test::Compare(op), predicate)
        }
        Predicate::Like { case_insensitive: true, .. } => Pushdown::Refused("ILIKE folds case by the store's own locale"),
        Predicate::Like { column, .. } => grade(table, column, &[], Test::Like, predicate),
    }
}

/// A condition on a field of a document; `None` for other conditions.
fn judge_field(table: &Table, predicate: &Predicate) -> Option<Pushdown> {
    let at = field::subject(predicate)?;
    let column = table.columns.get(at.column)?;
    let source = embedded::source(&column.field)?;
    if !types::compares_text(&column.field) {
        return Some(Pushdown::Refused("the database holds text in an encoding that is not UTF-8"));
    }
    Some(match document_field::condition(&source, at, predicate) {
        Ok(_) => Pushdown::Superset(predicate.clone()),
        Err(reason) => Pushdown::Refused(reason),
    })
}

/// A conjunction is a superset of itself without the parts that cannot be pushed.
fn judge_all(table: &Table, parts: &[Predicate]) -> Pushdown {
    let mut kept = Vec::with_capacity(parts.len());
    let mut exact = true;
    for part in parts {
        match judge(table, part) {
            Pushdown::Exact(part) => kept.push(part),
            Pushdown::Superset(part) => {
                kept.push(part);
                exact = false;
            }
            Pushdown::Refused(_) => exact = false,
        }
    }
    match (exact, kept.is_empty()) {
        (true, _) => Pushdown::Exact(Predicate::And(kept)),
        (false, false) => Pushdown::Superset(Predicate::And(kept)),
        (false, true) => Pushdown::Refused("no part of the condition can be evaluated by the store"),
    }
}

fn judge_any(table: &Table, parts: &[Predicate]) -> Pushdown {
    let mut kept = Vec::with_capacity(parts.len());
    let mut exact = true;
    for part in parts {
        match judge(table, part) {
            Pushdown::Exact(part) => kept.push(part),
            Pushdown::Superset(part) => {
                kept.push(part);
                exact = false;
            }
            Pushdown::Refused(reason) => return Pushdown::Refused(reason),
        }
    }
    let kept = Predicate::Or(kept);
    if exact { Pushdown::Exact(kept) } else { Pushdown::Superset(kept) }
}

/// What is asked of a column, apart from `IS NULL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Compare(Comparison),
    Like,
}

fn grade(table: &Table, column: &ColumnRef, values: &[Value], test: Test, predicate: &Predicate) -> Pushdown {
    let Some(column) = plain(table, column) else {
        return Pushdown::Refused("fields inside documents are not evaluated by the store");
    };
    let family = family(column);
    if !values.iter().all(|value| fits(family, value)) {
        return Pushdown::Refused("the store compares this type differently");
    }
    let equality = matches!(test, Test::Compare(Comparison::Equal));
    let loose = matches!(column.collation, Collation::Loose(_));
    match (family, test) {
        (Family::Opaque, _) => Pushdown::Refused("the type has no comparison that the store could share"),
        // Under a loose collation the plain comparison may use the column's index and finds at least the equal texts.
        (Family::Text, Test::Compare(_)) if equality && loose => Pushdown::Superset(predicate.clone()),
        (Family::Text, _) => Pushdown::Exact(predicate.clone()),
        // character(n) ignores trailing blanks, so its equality finds at least the equal texts.
        (Family::Blank, _) if equality => Pushdown::Superset(predicate.clone()),
        (Family::Blank, _) => Pushdown::Refused("character(n) ignores trailing blanks"),
        (Family::Enum, Test::Compare(Comparison::Equal | Comparison::NotEqual)) => Pushdown::Exact(predicate.clone()),
        (Family::Enum, _) => Pushdown::Refused("an enum has an order of its own"),
        (_, Test::Like) => Pushdown::Refused("LIKE is for text"),
        (_, Test::Compare(_)) => Pushdown::Exact(predicate.clone()),
    }
}

fn plain<'a>(table: &'a Table, column: &ColumnRef) -> Option<&'a Column> {
    if column.path.is_empty() { table.columns.get(column.column) } else { None }
}

/// Whether the server can read the value as the column's type, so that the statement cannot fail because of it.
fn fits(family: Family, value: &Value) -> bool {
    match (family, value) {
        (Family::Bool, Value::Bool(_))
        | (Family::Integer, Value::Int(_))
        | (Family::Float, Value::Float(_))
        | (Family::Numeric, Value::Int(_) | Value::Decimal { .. } | Value::Numeric(_))
        | (Family::Text | Family::Blank | Family::Enum, Value::Text(_))
        | (Family::Bytes, Value::Bytes(_)) => true,
        (Family::Oid, Value::Int(oid)) => u32::try_from(*oid).is_ok(),
        (Family::Date, Value::Date(_))
        | (Family::Time, Value::Time(_))
        | (Family::Timestamp, Value::Timestamp(_))
        | (Family::TimestampTz, Value::TimestampTz(_)) => fits_moment(value),
        (Family::Uuid, Value::Text(text)) => is_uuid(text),
        _ => false,
    }
}

/// Whether the server has the moment.
pub(super) fn fits_moment(value: &Value) -> bool {
    match value {
        // 4714-11-24 BC to 5874897-12-31.
        Value::Date(days) => matches!(*days, DATE_INFINITY | DATE_NEGATIVE_INFINITY | -2_440_588..=2_145_042_905),
        Value::Time(micros) => (0..=86_400_000_000).contains(micros),
        Value::Timestamp(micros) | Value::TimestampTz(micros) => *micros == i64::MIN || *micros >= -210_866_803_200_000_000,
        _ => false,
    }
}

/// The canonical form: lower-case hexadecimal in groups of 8, 4, 4, 4 and 12.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

/// Spells the columns and values of one table.
pub(super) struct Names<'a>(pub &'a Table);

impl Spelling for Names<'_> {
    fn write_own(&self, predicate: &Predicate, sql: &mut Sql) -> Result<bool, Unwritable> {
        let column = field::subject(predicate).and_then(|at| self.0.columns.get(at.column));
        let Some((column, source)) = column.and_then(|column| Some((column, embedded::source(&column.field)?))) else {
            return Ok(false);
        };
        field::write(&source, types::is_jsonb(&column.field), predicate, sql).map(|()| true)
    }

    fn write_column(&self, column: &ColumnRef, purpose: Use, sql: &mut Sql) -> Result<(), Unwritable> {
        let Some(found) = plain(self.0, column) else { return Err(Unwritable("belongs to an unknown column")) };
        sql.push_name(found.name());
        match family(found) {
            Family::Enum if purpose != Use::NullTest => sql.push("::pg_catalog.text"),
            Family::Text if needs_bytes(&found.collation, purpose) => sql.push(" COLLATE pg_catalog.\"C\""),
            // A composite value of NULLs `IS NULL`, but its text, which is what the scan reads, is not.
            _ if purpose == Use::NullTest => sql.push(Form::of(&found.field).cast()),
            _ => {}
        }
        Ok(())
    }

    fn write_value(&self, column: &ColumnRef, value: &Value, sql: &mut Sql) -> Result<(), Unwritable> {
        sql.push_value(value.clone())?;
        // Without a cast the literal would take the column's type: `name` would cut it, `character(n)` pad it.
        sql.push(match plain(self.0, column).map(family) {
            Some(Family::Text | Family::Enum) => "::pg_catalog.text",
            Some(Family::Blank) => "::pg_catalog.bpchar",
            Some(Family::Uuid) => "::pg_catalog.uuid",
            Some(Family::Oid) => "::pg_catalog.oid",
            _ => "",
        });
        Ok(())
    }

    fn write_members(&self, members: Members<'_>, sql: &mut Sql) -> Result<bool, Unwritable> {
        let Some(element) = plain(self.0, members.column).and_then(element) else { return Ok(false) };
        array::write(element, members.values.iter(), members.negated, sql)
    }

    fn write_rows(&self, rows: &Rows, sql: &mut Sql) -> Result<bool, Unwritable> {
        let elements = rows.columns.iter().map(|column| plain(self.0, column).and_then(element)).collect::<Option<Vec<_>>>();
        elements.map_or(Ok(false), |elements| array::write_rows(&elements, &rows.rows, sql))
    }

    fn write_like(&self, column: &ColumnRef, like: Like<'_>, sql: &mut Sql) -> Result<(), Unwritable> {
        self.write_column(column, Use::Pattern, sql)?;
        sql.push(if like.negated { " NOT LIKE " } else { " LIKE " });
        // The backslash is the server's own default escape character, so the pattern may stay as it is and use an index.
        like::parts(like.pattern).ok_or(Unwritable("ends with the escape character"))?;
        sql.push_value(Value::Text(like.pattern.to_owned()))?;
        sql.push("::pg_catalog.text");
        Ok(())
    }
}

/// What a list of values of the column is an array of: the type that single values have in [`Spelling::write_value`], but the column's own
/// where they are integers.
fn element(column: &Column) -> Option<Element> {
    Some(match family(column) {
        Family::Integer => return Element::integer(column.pg_type().oid),
        Family::Oid => Element::Oid,
        Family::Float => Element::Float8,
        Family::Numeric => Element::Numeric,
        Family::Text | Family::Enum => Element::Text,
        Family::Blank => Element::Blank,
        Family::Bytes => Element::Bytes,
        Family::Date => Element::Date,
        Family::Time => Element::Time,
        Family::Timestamp => Element::Timestamp,
        Family::TimestampTz => Element::TimestampTz,
        Family::Uuid => Element::Uuid,
        Family::Bool | Family::Opaque => return None,
    })
}

/// Where the column's own collation would answer differently. Equality is by bytes under every deterministic collation, and
/// `LIKE` does not look at the collation unless it is not deterministic, when it is an error.
fn needs_bytes(collation: &Collation, purpose: Use) -> bool {
    match (collation, purpose) {
        (Collation::Bytes, _) | (_, Use::NullTest) => false,
        (_, Use::Compare(Comparison::Equal)) => false,
        (Collation::Native { .. }, Use::Compare(_) | Use::Member) => false,
        (Collation::Native { is_loose, .. }, Use::Pattern) => *is_loose,
        (Collation::Linguistic(_), Use::Compare(Comparison::NotEqual) | Use::Member | Use::Pattern) => false,
        (Collation::Linguistic(_), Use::Compare(_)) => true,
        (Collation::Loose(_), Use::Compare(_) | Use::Member | Use::Pattern) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::types::{NativeType, map};
    use super::*;
    use crate::stores::schema::{Generated, TableId, TableKind};

    fn column(name: &str, oid: u32, kind: char, collation: Collation) -> Column {
        let labels = if kind == 'e' { vec!["sad".to_owned(), "ok".to_owned()] } else { Vec::new() };
        let native = NativeType { oid, typmod: -1, kind, element: None, labels };
        Column {
            field: map(name, &native, true).unwrap(),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation,
            statistics: crate::stores::schema::ColumnStatistics::default(),
        }
    }

    fn table() -> Table {
        let loose = || Collation::Loose("ci".to_owned());
        let linguistic = || Collation::Linguistic("en".to_owned());
        let columns = vec![
            column("int", 23, 'b', Collation::Bytes),
            column("text", 25, 'b', linguistic()),
            column("ci", 25, 'b', loose()),
            column("c", 1043, 'b', Collation::Bytes),
            column("mood", 90_000, 'e', Collation::Bytes),
            column("uuid", 2950, 'b', Collation::Bytes),
            column("pad", 1042, 'b', loose()),
            column("inet", 869, 'b', Collation::Bytes),
            column("name", 19, 'b', Collation::Bytes),
            column("oid", 26, 'b', Collation::Bytes),
        ];
        Table {
            id: TableId { namespace: "public".to_owned(), name: "t".to_owned() },
            kind: TableKind::Table,
            primary_key: None,
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: None,
            division: None,
            schema: Arc::new(arrow::datatypes::Schema::empty()),
            columns,
        }
    }

    fn compare(column: usize, op: Comparison, value: Value) -> Predicate {
        Predicate::Compare { column: ColumnRef::of(column), op, value }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn shown(predicate: &Predicate) -> String {
        let table = table();
        let (word, kept) = match judge(&table, predicate) {
            Pushdown::Exact(kept) => ("exact", kept),
            Pushdown::Superset(kept) => ("superset", kept),
            Pushdown::Refused(_) => return "refused".to_owned(),
        };
        let mut sql = Sql::literal();
        predicate::write(&kept, &Names(&table), &mut sql).unwrap();
        format!("{word} {}", sql.text())
    }

    #[test]
    fn comparisons_are_exact_only_where_proved() {
        use Comparison::{Equal, Greater, Less, NotEqual};
        let rows = [
            (compare(0, Less, Value::Int(-5)), "exact \"int\" < '-5'::int8"),
            (compare(0, Equal, text("5")), "refused"),
            (compare(1, Equal, text("a''b")), "exact \"text\" = 'a''''b'::pg_catalog.text"),
            (compare(1, Greater, text("a")), "exact \"text\" COLLATE pg_catalog.\"C\" > 'a'::pg_catalog.text"),
            (compare(1, Equal, text("a\0b")), "refused"),
            (compare(2, Equal, text("a")), "superset \"ci\" = 'a'::pg_catalog.text"),
            (compare(2, NotEqual, text("a")), "exact \"ci\" COLLATE pg_catalog.\"C\" <> 'a'::pg_catalog.text"),
            (compare(3, Less, text("a")), "exact \"c\" < 'a'::pg_catalog.text"),
            (compare(4, Equal, text("none")), "exact \"mood\"::pg_catalog.text = 'none'::pg_catalog.text"),
            (compare(4, Less, text("ok")), "refused"),
            (
                compare(5, Less, text("00112233-4455-6677-8899-aabbccddeeff")),
                "exact \"uuid\" < '00112233-4455-6677-8899-aabbccddeeff'::pg_catalog.uuid",
            ),
            (compare(5, Equal, text("00112233445566778899aabbccddeeff")), "refused"),
            (compare(6, Equal, text("a")), "superset \"pad\" = 'a'::pg_catalog.bpchar"),
            (compare(6, NotEqual, text("a")), "refused"),
            (compare(7, Equal, text("10.0.0.1")), "refused"),
            (compare(8, Equal, text("n")), "exact \"name\" = 'n'::pg_catalog.text"),
            (compare(9, Equal, Value::Int(7)), "exact \"oid\" = '7'::int8::pg_catalog.oid"),
            (compare(9, Greater, Value::Int(-1)), "refused"),
        ];
        for (predicate, expected) in rows {
            assert_eq!(shown(&predicate), expected, "{predicate:?}");
        }
    }

    #[test]
    fn collations_that_count_are_left_to_the_server() {
        let mut table = table();
        table.columns[1].collation = Collation::Native { name: "en".to_owned(), is_loose: false };
        table.columns[2].collation = Collation::Native { name: "ci".to_owned(), is_loose: true };
        let like = |column| Predicate::Like {
            column: ColumnRef::of(column),
            pattern: "a%".to_owned(),
            negated: true,
            case_insensitive: false,
        };
        let list = Predicate::In { column: ColumnRef::of(2), values: vec![text("a"), text("b")], negated: true };
        let rows = [
            (compare(1, Comparison::Less, text("a")), "\"text\" < 'a'::pg_catalog.text"),
            (compare(2, Comparison::Equal, text("a")), "\"ci\" = 'a'::pg_catalog.text"),
            (compare(2, Comparison::NotEqual, text("a")), "\"ci\" <> 'a'::pg_catalog.text"),
            (list, "\"ci\" NOT IN ('a'::pg_catalog.text, 'b'::pg_catalog.text)"),
            (like(1), "\"text\" NOT LIKE 'a%'::pg_catalog.text"),
            (like(2), "\"ci\" COLLATE pg_catalog.\"C\" NOT LIKE 'a%'::pg_catalog.text"),
        ];
        for (predicate, expected) in rows {
            let Pushdown::Exact(kept) = judge(&table, &predicate) else { panic!("{predicate:?}") };
            let mut sql = Sql::literal();
            predicate::write(&kept, &Names(&table), &mut sql).unwrap();
            assert_eq!(sql.text(), expected);
        }
    }

    #[test]
    fn rows_are_as_exact_as_the_lists_of_their_columns() {
        let rows = |columns: [usize; 2], rows: Vec<[Value; 2]>| {
            let rows = rows.into_iter().map(|row| row.to_vec()).collect();
            shown(&Predicate::Rows(Rows { columns: columns.map(ColumnRef::of).to_vec(), rows }))
        };
        assert_eq!(
            rows([0, 1], vec![[Value::Int(1), text("a")], [Value::Int(2), text("b")]]),
            "exact (\"int\", \"text\") IN (('1'::int8, 'a'::pg_catalog.text), ('2'::int8, 'b'::pg_catalog.text))"
        );
        let many = |number: i64| [Value::Int(number), text("a")];
        let array = rows([0, 2], (1..=9).map(many).collect());
        let expected = "superset (\"int\", \"ci\" COLLATE pg_catalog.\"C\") IN (SELECT * FROM ROWS FROM (pg_catalog.unnest('{1,2,3";
        assert!(array.starts_with(expected), "{array}");
        // What the server does not compare is left to the engine.
        assert_eq!(rows([0, 7], vec![[Value::Int(1), text("10.0.0.1")]]), "superset ((\"int\" = '1'::int8))");
        assert_eq!(rows([0, 1], vec![[Value::Int(1), text("a\0b")]]), "superset ((\"int\" = '1'::int8))");
        assert_eq!(rows([4, 7], vec![[text("b"), text("10.0.0.1")]; 401]), "refused");
    }

    #[test]
    fn patterns_nulls_and_lists() {
        let like = |column, pattern: &str, negated, case_insensitive| Predicate::Like {
            column: ColumnRef::of(column),
            pattern: pattern.to_owned(),
            negated,
            case_insensitive,
        };
        let member = |column, values: &[&str], negated| Predicate::In {
            column: ColumnRef::of(column),
            values: values.iter().map(|value| text(value)).collect(),
            negated,
        };
        let rows = [
            (like(1, "a\\%%", false, false), "exact \"text\" LIKE  E'a\\\\%%'::pg_catalog.text"),
            (like(2, "a%", true, false), "exact \"ci\" COLLATE pg_catalog.\"C\" NOT LIKE 'a%'::pg_catalog.text"),
            (like(1, "a", false, true), "refused"),
            (like(1, "a\\", false, false), "refused"),
            (like(0, "1%", false, false), "refused"),
            (member(1, &["a", "b"], false), "exact \"text\" IN ('a'::pg_catalog.text, 'b'::pg_catalog.text)"),
            (member(6, &["a"], true), "refused"),
            (Predicate::IsNull { column: ColumnRef::of(7), negated: true }, "exact \"inet\" IS NOT NULL"),
            (Predicate::IsNull { column: ColumnRef { column: 7, path: vec!["a".to_owned()] }, negated: true }, "refused"),
        ];
        for (predicate, expected) in rows {
            assert_eq!(shown(&predicate), expected, "{predicate:?}");
        }
    }

    #[test]
    fn long_lists_are_arrays_in_the_columns_own_type() {
        let member = |column, value: fn(i64) -> Value, negated| Predicate::In {
            column: ColumnRef::of(column),
            values: (1..=9).map(value).collect(),
            negated,
        };
        let letter = |number: i64| text(&"'".repeat(usize::from(number == 9)));
        let empty = "\"\",".repeat(8);
        let rows = [
            (member(0, Value::Int, false), "exact \"int\" = ANY ('{1,2,3,4,5,6,7,8,9}'::pg_catalog.int4[])".to_owned()),
            (
                member(0, |number| Value::Int(number << 40), true),
                format!("exact \"int\" NOT IN ({})", {
                    let each: Vec<String> = (1..=9_i64).map(|number| format!("'{}'::int8", number << 40)).collect();
                    each.join(", ")
                }),
            ),
            (member(1, letter, true), format!("exact \"text\" <> ALL ('{{{empty}\"''\"}}'::pg_catalog.text[])")),
            (
                member(2, letter, true),
                format!("exact \"ci\" COLLATE pg_catalog.\"C\" <> ALL ('{{{empty}\"''\"}}'::pg_catalog.text[])"),
            ),
            (member(4, letter, false), format!("exact \"mood\"::pg_catalog.text = ANY ('{{{empty}\"''\"}}'::pg_catalog.text[])")),
            (member(6, letter, false), format!("superset \"pad\" = ANY ('{{{empty}\"''\"}}'::pg_catalog.bpchar[])")),
            (member(9, Value::Int, false), "exact \"oid\" = ANY ('{1,2,3,4,5,6,7,8,9}'::pg_catalog.oid[])".to_owned()),
            (member(1, |_| text("a\0b"), false), "refused".to_owned()),
        ];
        for (predicate, expected) in rows {
            assert_eq!(shown(&predicate), expected, "{predicate:?}");
        }
    }

    #[test]
    fn conjunctions_shrink_and_disjunctions_do_not() {
        let good = || compare(0, Comparison::Equal, Value::Int(1));
        let bad = || compare(7, Comparison::Equal, text("10.0.0.1"));
        let rows = [
            (Predicate::And(vec![good(), bad()]), "superset (\"int\" = '1'::int8)"),
            (Predicate::And(vec![bad()]), "refused"),
            (Predicate::Or(vec![good(), bad()]), "refused"),
            (Predicate::Or(vec![good(), good()]), "exact (\"int\" = '1'::int8 OR \"int\" = '1'::int8)"),
        ];
        for (predicate, expected) in rows {
            assert_eq!(shown(&predicate), expected, "{predicate:?}");
        }
    }
}
