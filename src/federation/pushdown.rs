//! From engine expressions to row conditions that a store may evaluate. Pure.
//!
//! Only shapes whose meaning is the same in a [`Predicate`] are translated: a column (or a field below one) compared with a
//! literal of the column's own carrier. Everything else gives `None` and stays with the engine, including anything with an
//! outer reference or a subquery (`federation.md` §1.2).

use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::expr::{InList, Like, ScalarFunction};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;

use super::semantics::floats;
use crate::pgtype::{PgField, PgType, TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY};
use crate::stores::connector::KEYS_EACH;
use crate::stores::predicate::{ColumnRef, Comparison, Predicate, Rows};
use crate::stores::value::Value;

/// The longest `IN` list that is sent to a store.
pub const IN_LIST_MAX: usize = 20_000;
/// The most parts of one `AND` or `OR`, and the most conditions of one scan.
const PARTS_MAX: usize = 400;
/// The most rows of a list of rows, which is a chain of as many `OR` here: no statement has more of them (`ast/length`).
const ROWS_MAX: usize = 2_000;
/// How deep `AND` and `OR` may be nested in each other.
const DEPTH_MAX: usize = 16;
/// The most values of one scan: SQLite takes 32,766 parameters in a statement, MySQL 65,535, and a field of a document costs
/// one more for its path.
const VALUES_MAX: usize = 30_000;
/// The longest chain of operators of one scan; SQLite refuses expressions deeper than 1000.
const HEIGHT_MAX: usize = 800;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// What the filters of one scan may cost in the statement that carries them.
#[derive(Debug)]
pub struct Budget {
    values: usize,
    conditions: usize,
    height: usize,
}

impl Budget {
    /// Of all filters that a scan sends.
    pub fn of_scan() -> Self {
        Self { values: VALUES_MAX, conditions: PARTS_MAX, height: HEIGHT_MAX }
    }

    /// Of all filters that a scan sends and the keys of its joins, when the store takes so many of them in one statement.
    pub fn with_keys(keys_max: usize) -> Self {
        let Self { values, conditions, height } = Self::of_scan();
        // As many as there are in every statement fit anyway.
        Self { values: values + keys_max.saturating_sub(KEYS_EACH), conditions, height }
    }

    /// Of the filters that are accepted at one time. The optimiser may ask twice for one scan, and does not say what it asked
    /// before, so that each time half may be accepted.
    pub fn of_answer() -> Self {
        let Self { values, conditions, height } = Self::of_scan();
        Self { values: values / 2, conditions: conditions / 2, height: height / 2 }
    }

    /// Takes a predicate's cost off the budget; false, and nothing is taken, when it is more than what is left.
    pub fn take(&mut self, predicate: &Predicate) -> bool {
        let (values, height) = cost(predicate);
        // Conditions stand side by side, each on top of the ones before.
        let fits = values <= self.values && self.conditions > 0 && height < self.height;
        if fits {
            self.values -= values;
            self.conditions -= 1;
            self.height -= 1;
        }
        fits
    }
}

/// How many parameters a predicate needs, and how high its operators are stacked.
fn cost(predicate: &Predicate) -> (usize, usize) {
    match predicate {
        Predicate::Compare { .. } | Predicate::IsNull { .. } | Predicate::Like { .. } => (2, 1),
        Predicate::In { values, .. } => (values.len() + 1, 1),
        Predicate::Rows(rows) => (rows.values() + rows.columns.len(), 2),
        Predicate::And(parts) | Predicate::Or(parts) => parts
            .iter()
            .map(cost)
            .fold((0, parts.len()), |(values, height), part| (values + part.0, height.max(parts.len() + part.1))),
    }
}

/// Translates one conjunct over the columns of `schema`, the table's own schema.
pub fn to_predicate(expr: &Expr, schema: &Schema) -> Option<Predicate> {
    translate(expr, schema, 0)
}

fn translate(expr: &Expr, schema: &Schema, depth: usize) -> Option<Predicate> {
    match expr {
        Expr::BinaryExpr(binary) => from_binary(expr, binary, schema, depth),
        Expr::IsNull(inner) => Some(Predicate::IsNull { column: column(inner, schema)?.0, negated: false }),
        Expr::IsNotNull(inner) => Some(Predicate::IsNull { column: column(inner, schema)?.0, negated: true }),
        Expr::InList(list) => from_in_list(list, schema),
        Expr::Between(between) => from_between(between, schema),
        Expr::Like(like) => from_like(like, schema),
        Expr::Not(inner) => from_not(inner, schema),
        Expr::Column(_) => truth(expr, schema, true),
        _ => None,
    }
}

fn from_binary(expr: &Expr, binary: &BinaryExpr, schema: &Schema, depth: usize) -> Option<Predicate> {
    match binary.op {
        Operator::And | Operator::Or => {
            let is_and = binary.op == Operator::And;
            let parts = flatten(expr, binary.op, if is_and { PARTS_MAX } else { ROWS_MAX }).filter(|_| depth < DEPTH_MAX)?;
            let parts = parts.into_iter().map(|part| translate(part, schema, depth + 1)).collect::<Option<Vec<_>>>()?;
            if is_and {
                return Some(Predicate::And(parts));
            }
            // So many rows a store takes wherever it takes alternatives. More it may refuse, and alternatives of so many are refused.
            let most = if parts.len() > PARTS_MAX { ROWS_MAX } else { PARTS_MAX };
            match Rows::of_alternatives(&parts, most) {
                Some(rows) => Some(Predicate::Rows(rows)),
                None => (parts.len() <= PARTS_MAX).then_some(Predicate::Or(parts)),
            }
        }
        op => {
            let op = comparison(op)?;
            match (literal(&binary.left), literal(&binary.right)) {
                (None, Some(value)) => compare(&binary.left, op, value, schema),
                (Some(value), None) => compare(&binary.right, flip(op), value, schema),
                _ => None,
            }
        }
    }
}

/// The parts of a chain of one operator, in order; `None` for too many. A chain is as deep as it is long, so it is not walked
/// by recursion.
fn flatten(expr: &Expr, op: Operator, most: usize) -> Option<Vec<&Expr>> {
    let (mut parts, mut pending) = (Vec::new(), vec![expr]);
    while let Some(next) = pending.pop() {
        match next {
            Expr::BinaryExpr(binary) if binary.op == op => pending.extend([binary.right.as_ref(), binary.left.as_ref()]),
            part => parts.push(part),
        }
        if parts.len() + pending.len() > 2 * most {
            return None;
        }
    }
    (parts.len() <= most).then_some(parts)
}

fn compare(side: &Expr, op: Comparison, literal: &ScalarValue, schema: &Schema) -> Option<Predicate> {
    if let Some(predicate) = compare_day(side, op, literal, schema) {
        return Some(predicate);
    }
    let (column, data_type) = column(side, schema)?;
    Some(Predicate::Compare { column, op, value: value(literal, &data_type)? })
}

/// A date compared with a moment without a zone, as a comparison of dates: `day < '2024-02-01 00:00'` is `day < '2024-02-01'`,
/// `day < '2024-02-01 09:00'` is `day <= '2024-02-01'`. PostgreSQL compares the two types without converting the date
/// (`date_cmp_timestamp`), so a date beyond the range of moments is no error.
fn compare_day(side: &Expr, op: Comparison, literal: &ScalarValue, schema: &Schema) -> Option<Predicate> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = side else { return None };
    let ("pg_convert", [day], ScalarValue::TimestampMicrosecond(Some(micros), None)) = (func.name(), args.as_slice(), literal)
    else {
        return None;
    };
    let (column, DataType::Date32) = column(day, schema)? else { return None };
    if matches!(*micros, TIMESTAMP_INFINITY | TIMESTAMP_NEGATIVE_INFINITY) {
        return None;
    }
    let days = i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok()?;
    let op = match (op, micros.rem_euclid(MICROS_PER_DAY) == 0) {
        (op, true) => op,
        (Comparison::Less | Comparison::LessOrEqual, false) => Comparison::LessOrEqual,
        (Comparison::Greater | Comparison::GreaterOrEqual, false) => Comparison::Greater,
        (Comparison::Equal | Comparison::NotEqual, false) => return None,
    };
    Some(Predicate::Compare { column, op, value: Value::Date(days) })
}

fn from_in_list(list: &InList, schema: &Schema) -> Option<Predicate> {
    let (column, data_type) = column(&list.expr, schema)?;
    if list.list.is_empty() || list.list.len() > IN_LIST_MAX {
        return None;
    }
    let values: Option<Vec<Value>> = list.list.iter().map(|item| value(literal(item)?, &data_type)).collect();
    Some(Predicate::In { column, values: values?, negated: list.negated })
}

fn from_between(between: &Between, schema: &Schema) -> Option<Predicate> {
    let (low, high) = (literal(&between.low)?, literal(&between.high)?);
    let parts = if between.negated {
        vec![compare(&between.expr, Comparison::Less, low, schema)?, compare(&between.expr, Comparison::Greater, high, schema)?]
    } else {
        vec![
            compare(&between.expr, Comparison::GreaterOrEqual, low, schema)?,
            compare(&between.expr, Comparison::LessOrEqual, high, schema)?,
        ]
    };
    Some(if between.negated { Predicate::Or(parts) } else { Predicate::And(parts) })
}

fn from_like(like: &Like, schema: &Schema) -> Option<Predicate> {
    let (column, data_type) = column(&like.expr, schema)?;
    if !matches!(data_type, DataType::Utf8) || !matches!(like.escape_char, None | Some('\\')) {
        return None;
    }
    let Value::Text(pattern) = value(literal(&like.pattern)?, &data_type)? else { return None };
    Some(Predicate::Like { column, pattern, negated: like.negated, case_insensitive: like.case_insensitive })
}

fn from_not(inner: &Expr, schema: &Schema) -> Option<Predicate> {
    match inner {
        Expr::Column(_) => truth(inner, schema, false),
        _ => None,
    }
}

/// A boolean column standing for itself.
fn truth(expr: &Expr, schema: &Schema, wanted: bool) -> Option<Predicate> {
    let (column, data_type) = column(expr, schema)?;
    (data_type == DataType::Boolean).then_some(Predicate::Compare { column, op: Comparison::Equal, value: Value::Bool(wanted) })
}

/// A column, or a chain of struct fields below one, with its Arrow type.
fn column(expr: &Expr, schema: &Schema) -> Option<(ColumnRef, DataType)> {
    match expr {
        Expr::Column(column) => {
            let (ordinal, field) = schema.column_with_name(&column.name)?;
            Some((ColumnRef::of(ordinal), field.data_type().clone()))
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "get_field" => {
            let (first, fields) = args.split_first()?;
            let (mut found, mut data_type) = column(first, schema)?;
            for field in fields {
                let Some(ScalarValue::Utf8(Some(name))) = literal(field) else { return None };
                let DataType::Struct(children) = &data_type else { return None };
                let child = children.iter().find(|child| child.name() == name)?;
                found.path.push(name.clone());
                data_type = child.data_type().clone();
            }
            Some((found, data_type))
        }
        // The same text under another name: only `character(n)` would lose its blanks.
        Expr::Cast(cast) if cast.field.pg_type() == PgType::TEXT && *cast.field.data_type() == DataType::Utf8 => {
            let (found, data_type) = column(&cast.expr, schema)?;
            let oid = schema.field(found.column).pg_type().oid;
            let text = found.path.is_empty() && (oid == PgType::TEXT.oid || oid == PgType::VARCHAR.oid);
            (text && data_type == DataType::Utf8).then_some((found, data_type))
        }
        // What a condition over a float's key means is what PostgreSQL means by it over the float.
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == floats::NAME => column(args.first()?, schema),
        Expr::Alias(alias) => column(&alias.expr, schema),
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        Expr::Alias(alias) => literal(&alias.expr),
        _ => None,
    }
}

pub(super) fn comparison(op: Operator) -> Option<Comparison> {
    Some(match op {
        Operator::Eq => Comparison::Equal,
        Operator::NotEq => Comparison::NotEqual,
        Operator::Lt => Comparison::Less,
        Operator::LtEq => Comparison::LessOrEqual,
        Operator::Gt => Comparison::Greater,
        Operator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

pub(super) fn flip(op: Comparison) -> Comparison {
    match op {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        Comparison::Equal => Comparison::Equal,
        Comparison::NotEqual => Comparison::NotEqual,
    }
}

/// A literal as a store-neutral value; only when its type is the column's own, so that no conversion can change it.
pub(super) fn value(literal: &ScalarValue, column: &DataType) -> Option<Value> {
    if literal.data_type() != *column {
        return None;
    }
    Some(match literal {
        ScalarValue::Boolean(Some(truth)) => Value::Bool(*truth),
        ScalarValue::Int16(Some(number)) => Value::Int(i64::from(*number)),
        ScalarValue::Int32(Some(number)) => Value::Int(i64::from(*number)),
        ScalarValue::Int64(Some(number)) => Value::Int(*number),
        ScalarValue::Float32(Some(number)) => Value::Float(f64::from(*number)),
        ScalarValue::Float64(Some(number)) => Value::Float(*number),
        ScalarValue::Decimal128(Some(unscaled), _, scale) => {
            Value::Decimal { unscaled: *unscaled, scale: u8::try_from(*scale).ok()? }
        }
        ScalarValue::Utf8(Some(text)) => Value::Text(text.clone()),
        ScalarValue::Binary(Some(bytes)) => Value::Bytes(bytes.clone()),
        ScalarValue::Date32(Some(days)) => Value::Date(*days),
        ScalarValue::Time64Microsecond(Some(micros)) => Value::Time(*micros),
        ScalarValue::TimestampMicrosecond(Some(micros), None) => Value::Timestamp(*micros),
        ScalarValue::TimestampMicrosecond(Some(micros), Some(_)) => Value::TimestampTz(*micros),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;
    use datafusion::common::exec_err;
    use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
    use datafusion::prelude::{col, lit};

    use super::*;

    fn schema() -> Schema {
        let address = DataType::Struct(vec![Arc::new(Field::new("city", DataType::Utf8, true))].into());
        Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("open", DataType::Boolean, true),
            Field::new("address", address, true),
            Field::new("ratio", DataType::Float64, true),
            Field::new("day", DataType::Date32, true),
            Field::new("label", DataType::Utf8, true).with_pg_type(PgType::VARCHAR),
            Field::new("code", DataType::Utf8, true).with_pg_type(PgType::BPCHAR),
        ])
    }

    fn check(expr: &Expr, expected: Option<Predicate>) {
        assert_eq!(to_predicate(expr, &schema()), expected, "{expr}");
    }

    fn compare(column: usize, op: Comparison, value: Value) -> Predicate {
        Predicate::Compare { column: ColumnRef::of(column), op, value }
    }

    #[test]
    fn comparisons_with_literals_of_the_same_type_are_translated() {
        check(&col("id").gt(lit(5_i64)), Some(compare(0, Comparison::Greater, Value::Int(5))));
        check(&lit(5_i64).gt(col("id")), Some(compare(0, Comparison::Less, Value::Int(5))));
        check(&col("id").gt(lit(5_i32)), None);
        check(&col("id").eq(col("id")), None);
        check(&col("open"), Some(compare(2, Comparison::Equal, Value::Bool(true))));
        check(&Expr::Not(Box::new(col("open"))), Some(compare(2, Comparison::Equal, Value::Bool(false))));
        check(&Expr::Not(Box::new(col("id").gt(lit(5_i64)))), None);
        check(&(col("id") + lit(1_i64)).gt(lit(5_i64)), None);
    }

    #[test]
    fn conditions_over_the_key_of_a_float_are_conditions_over_the_float() {
        let key = || floats::call(col("ratio"), &crate::pgtype::PgType::FLOAT8.into(), DataType::Float64);
        check(&key().gt(lit(0.5_f64)), Some(compare(4, Comparison::Greater, Value::Float(0.5))));
        check(&lit(0.0_f64).eq(key()), Some(compare(4, Comparison::Equal, Value::Float(0.0))));
        check(&key().gt(lit(5_i64)), None);
        check(&key().is_null(), Some(Predicate::IsNull { column: ColumnRef::of(4), negated: false }));
    }

    #[test]
    fn days_compare_with_moments_as_days() {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        let convert = |column: &str| {
            let moment = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
            let body = Arc::new(|_: &[ColumnarValue]| exec_err!("never called"));
            create_udf("pg_convert", vec![DataType::Date32], moment, Volatility::Immutable, body).call(vec![col(column)])
        };
        let moment = |micros| Expr::Literal(ScalarValue::TimestampMicrosecond(Some(micros), None), None);
        let noon = MICROS_PER_DAY / 2;
        let rows = [
            (Less, 3 * MICROS_PER_DAY, Some((Less, 3))),
            (Less, 3 * MICROS_PER_DAY + noon, Some((LessOrEqual, 3))),
            (LessOrEqual, 3 * MICROS_PER_DAY + 1, Some((LessOrEqual, 3))),
            (Greater, 3 * MICROS_PER_DAY, Some((Greater, 3))),
            (GreaterOrEqual, 3 * MICROS_PER_DAY, Some((GreaterOrEqual, 3))),
            (GreaterOrEqual, 3 * MICROS_PER_DAY + noon, Some((Greater, 3))),
            (Less, -noon, Some((LessOrEqual, -1))),
            (Equal, -2 * MICROS_PER_DAY, Some((Equal, -2))),
            (Equal, noon, None),
            (NotEqual, noon, None),
            (Less, TIMESTAMP_INFINITY, None),
        ];
        for (op, micros, expected) in rows {
            let engine = match op {
                Equal => Operator::Eq,
                NotEqual => Operator::NotEq,
                Less => Operator::Lt,
                LessOrEqual => Operator::LtEq,
                Greater => Operator::Gt,
                GreaterOrEqual => Operator::GtEq,
            };
            let condition = datafusion::logical_expr::binary_expr(convert("day"), engine, moment(micros));
            check(&condition, expected.map(|(op, days)| compare(5, op, Value::Date(days))));
        }
        check(&convert("id").lt(moment(0)), None);
    }

    #[test]
    fn a_text_is_itself_under_the_name_of_text() {
        let text = |name: &str| datafusion::logical_expr::cast(col(name), DataType::Utf8);
        let like = |column| Predicate::Like {
            column: ColumnRef::of(column),
            pattern: "a%".to_owned(),
            negated: false,
            case_insensitive: false,
        };
        check(&text("label").like(lit("a%")), Some(like(6)));
        check(&text("name").like(lit("a%")), Some(like(1)));
        check(&text("code").like(lit("a%")), None);
    }

    #[test]
    fn chains_are_flat_and_have_an_end() {
        let part = |number: i64| col("id").eq(lit(number));
        let chain = |length: i64| (1..length).map(part).fold(part(0), Expr::or);
        let Some(Predicate::Or(parts)) = to_predicate(&chain(300), &schema()) else { panic!() };
        assert_eq!((parts.len(), &parts[299]), (300, &compare(0, Comparison::Equal, Value::Int(299))));
        check(&chain(401), None);
        check(&chain(5_000), None);
        let nested =
            (0..40).fold(part(0), |inner, number| if number % 2 == 0 { inner.and(part(number)) } else { inner.or(part(number)) });
        check(&nested, None);
    }

    #[test]
    fn alternatives_of_rows_are_a_list() {
        let row = |id: i64, name: &str| col("id").eq(lit(id)).and(col("name").eq(lit(name)));
        let rows = |count: i64| (1..count).map(|id| row(id, "a")).fold(row(0, "a"), Expr::or);
        let columns = vec![ColumnRef::of(0), ColumnRef::of(1)];
        let expected = |count: i64| {
            let rows = (0..count).map(|id| vec![Value::Int(id), Value::Text("a".to_owned())]).collect();
            Predicate::Rows(Rows { columns: columns.clone(), rows })
        };
        check(&rows(2), Some(expected(2)));
        check(&rows(1_500), Some(expected(1_500)));
        check(&rows(2_001), None);
        let shared = |id: i64| col("id").eq(lit(id)).and(col("name").in_list(vec![lit("a"), lit("b")], false));
        let pair = |id: i64, name: &str| vec![Value::Int(id), Value::Text(name.to_owned())];
        let pairs = vec![pair(1, "a"), pair(1, "b"), pair(2, "c")];
        check(&shared(1).or(row(2, "c")), Some(Predicate::Rows(Rows { columns: columns.clone(), rows: pairs })));
        let many = (1..300).map(shared).fold(shared(0), Expr::or);
        assert!(matches!(to_predicate(&many, &schema()), Some(Predicate::Or(parts)) if parts.len() == 300));
        let Some(Predicate::Or(parts)) = to_predicate(&row(1, "a").or(col("id").eq(lit(2_i64))), &schema()) else { panic!() };
        assert_eq!(parts.len(), 2);
        let mut budget = Budget::of_answer();
        assert!(budget.take(&expected(1_500)) && budget.take(&expected(5_900)) && !budget.take(&expected(200)));
    }

    #[test]
    fn a_scan_has_a_budget() {
        let list = |length| {
            let values = vec![Value::Int(1); length];
            Predicate::In { column: ColumnRef::of(0), values, negated: false }
        };
        let mut budget = Budget::of_answer();
        let taken = [9_000, 9_000, 5_000, 1_000].map(|length| budget.take(&list(length)));
        assert_eq!(taken, [true, false, true, false]);
        let mut budget = Budget::of_scan();
        let taken = (0..500).filter(|_| budget.take(&compare(0, Comparison::Equal, Value::Int(1)))).count();
        assert_eq!(taken, PARTS_MAX);
        let high = (0..3).fold(compare(0, Comparison::Equal, Value::Int(1)), |inner, _| {
            let mut parts = vec![compare(0, Comparison::Equal, Value::Int(1)); 300];
            parts.push(inner);
            Predicate::Or(parts)
        });
        assert!(!Budget::of_scan().take(&high));
    }

    #[test]
    fn nested_fields_lists_and_patterns_are_translated() {
        let city = datafusion::functions::core::expr_fn::get_field(col("address"), "city");
        let path = ColumnRef { column: 3, path: vec!["city".to_owned()] };
        check(&city.is_null(), Some(Predicate::IsNull { column: path, negated: false }));
        let list = vec![lit("a"), lit("b")];
        let values = vec![Value::Text("a".to_owned()), Value::Text("b".to_owned())];
        check(&col("name").in_list(list, true), Some(Predicate::In { column: ColumnRef::of(1), values, negated: true }));
        check(&col("name").in_list(vec![lit("a"), lit(ScalarValue::Utf8(None))], false), None);
        let like = Predicate::Like { column: ColumnRef::of(1), pattern: "a%".to_owned(), negated: false, case_insensitive: false };
        check(&col("name").like(lit("a%")), Some(like));
    }
}
