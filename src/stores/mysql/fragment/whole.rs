//! Edits that the server evaluates itself: `UPDATE` and `DELETE` with a condition.
//!
//! What is assigned is refused wherever the server would store something else than PostgreSQL without an error: labels, years, moments
//! (cut, not rounded), floats with declared digits, bytes of a fixed length, blanks for which a text has no room. Such rows are changed one by one, with values that the engine has computed.

use super::super::super::edit::{Delete, Edit, Update};
use super::super::super::fragment::{Expression, Node, Refusal, Relation, Shape, shapes};
use super::super::super::relational::edit;
use super::super::super::relational::fragment::shown;
use super::super::super::relational::{Dialect, Sql, Unwritable};
use super::super::super::schema::{Column, Generated, Table};
use super::super::super::value::Value;
use super::super::options::ZeroDate;
use super::super::scan::bounded;
use super::super::types;
use super::kind::Kind;
use super::spelling::Words;
use super::{Flavour, Setting};

fn words(setting: Setting) -> Words {
    Words { setting, by_own_collations: false }
}

/// `UPDATE t SET … WHERE …`
///
/// # Errors
/// A value that cannot be sent.
pub(in super::super) fn update(update: &Update, setting: Setting) -> Result<Sql, Unwritable> {
    let mut sql = Sql::bound(Dialect::MySql);
    edit::update(update, &words(setting), &mut sql)?;
    bounded(sql)
}

/// `DELETE FROM t WHERE …`
///
/// # Errors
/// As [`update`].
pub(in super::super) fn delete(delete: &Delete, setting: Setting) -> Result<Sql, Unwritable> {
    let mut sql = Sql::bound(Dialect::MySql);
    edit::delete(delete, &words(setting), &mut sql)?;
    bounded(sql)
}

/// A whole form as `EXPLAIN` shows it; `None` for rows.
pub(in super::super) fn describe(edit: &Edit, setting: Setting) -> Option<String> {
    let sql = match edit {
        Edit::Update(edit) => update(edit, setting),
        Edit::Delete(edit) => delete(edit, setting),
        Edit::Insert(_) | Edit::UpdateRows(_) | Edit::DeleteRows(_) => return None,
    };
    Some(sql.map_or_else(|error| format!("not sent: {error}"), shown))
}

/// Whether the server deletes the same rows.
///
/// # Errors
/// What it would do otherwise.
pub(in super::super) fn accepts_delete(delete: &Delete, setting: Setting) -> Result<(), Refusal> {
    accepts_rows("DELETE", &delete.relation, &delete.table, &delete.returning, setting)
}

/// Whether the server changes the same rows to the same values.
///
/// # Errors
/// What it would do otherwise.
pub(in super::super) fn accepts_update(update: &Update, setting: Setting) -> Result<(), Refusal> {
    accepts_rows("UPDATE", &update.relation, &update.table, &update.returning, setting)?;
    if setting.flavour != Flavour::MariaDb && edit::reads_assigned(update) {
        return Err(Refusal::new("UPDATE", "the server sets columns from left to right, and one is read after it was set"));
    }
    let values = shapes(&update.relation, &update.tables);
    if values.len() != update.set.len() {
        return Err(Refusal::new("UPDATE", "it has not one value for each column"));
    }
    for (place, (ordinal, value)) in update.set.iter().zip(&values).enumerate() {
        let Some(column) = update.table.columns.get(*ordinal) else {
            return Err(Refusal::new("UPDATE", "it sets no column of the table"));
        };
        let constant = constant(&update.relation, place);
        let is_null = constant.is_some_and(Option::is_none);
        let assigned = assignable(column, value, is_null).and_then(|()| match may_be_cut(column, constant) {
            true => Err("the store may cut blanks at the end"),
            false => Ok(()),
        });
        if let Err(rule) = assigned {
            return Err(Refusal::new(format_args!("column \"{}\"", column.name()), rule));
        }
    }
    Ok(())
}

fn accepts_rows(
    verb: &'static str,
    relation: &Relation,
    table: &Table,
    returning: &[usize],
    setting: Setting,
) -> Result<(), Refusal> {
    let refuse = |rule| Err(Refusal::new(verb, rule));
    if setting.flavour == Flavour::Unknown {
        return refuse("the server is too old to compare text by bytes");
    }
    if !edit::is_plain(relation, &table.id) {
        return refuse("the server changes no table that the statement reads beside");
    }
    if !returning.is_empty() {
        return refuse("rows are given back by their keys");
    }
    let has_dates = || table.columns.iter().any(|column| types::may_be_zero_date(&column.native_type));
    if setting.zero_date == ZeroDate::Null && has_dates() {
        return refuse("dates that are read as NULL would count as such, and must not where rows change");
    }
    Ok(())
}

/// The constant that is assigned in this place.
fn constant(relation: &Relation, place: usize) -> Option<&Option<Value>> {
    let Relation::Project { expressions, .. } = relation else { return None };
    match expressions.get(place) {
        Some(Expression { node: Node::Literal(value), .. }) => Some(value),
        _ => None,
    }
}

/// Whether blanks may be lost on the way into the column for which it has no room.
fn may_be_cut(column: &Column, constant: Option<&Option<Value>>) -> bool {
    match constant {
        Some(None) => false,
        Some(Some(Value::Text(text))) if !text.ends_with(' ') => false,
        _ => types::cut_after(&column.native_type).is_some(),
    }
}

/// Whether the server stores the value that PostgreSQL would, or fails as it does.
fn assignable(column: &Column, value: &Shape, is_null: bool) -> Result<(), &'static str> {
    let native_type = column.native_type.as_str();
    if column.generated == Generated::Always {
        return Err("the store computes the column");
    }
    if types::is_timestamp(native_type) {
        return Err("the store may set another moment than is given");
    }
    if is_null {
        return if column.generated == Generated::No { Ok(()) } else { Err("the store may set a number for NULL") };
    }
    let is_integer = types::integer_range(native_type).is_some();
    let (to, from) = (Kind::of(column.pg_type()), Kind::of(value.pg_type));
    match (to, from) {
        (Kind::Whole, Kind::Whole) if is_integer => Ok(()),
        (Kind::Truth, Kind::Truth) => Ok(()),
        (Kind::Double, Kind::Double) if types::float_scale(native_type).is_none() => Ok(()),
        (Kind::Decimal, Kind::Decimal | Kind::Whole) if !is_integer => Ok(()),
        (Kind::Text, Kind::Text) | (Kind::Bytes, Kind::Bytes) if types::is_plain_string(native_type) => Ok(()),
        (Kind::Day, Kind::Day) if value.origin.is_none() => Ok(()),
        _ => Err("the store would convert the value by its own rules"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::schema::{Collation, ColumnStatistics};
    use super::super::super::types::Policy;
    use super::*;
    use crate::pgtype::PgType;

    #[test]
    fn what_the_store_would_convert_is_not_assigned_by_it() {
        let policy = Policy { zero_date: ZeroDate::Error, tinyint1_is_bool: true };
        let shape = |pg_type| Shape { pg_type, nullable: true, collation: Collation::Bytes, origin: None };
        let rows = [
            ("int(11)", Generated::No, PgType::INT8, false, true),
            ("bigint(20) unsigned", Generated::No, PgType::NUMERIC, false, false),
            ("year(4)", Generated::No, PgType::INT4, false, false),
            ("year(4)", Generated::No, PgType::INT4, true, true),
            ("int(11)", Generated::ByDefault, PgType::INT4, true, false),
            ("int(11)", Generated::Always, PgType::INT4, false, false),
            ("decimal(5,2)", Generated::No, PgType::NUMERIC, false, true),
            ("decimal(5,2)", Generated::No, PgType::FLOAT8, false, false),
            ("float", Generated::No, PgType::FLOAT4, false, false),
            ("double", Generated::No, PgType::FLOAT8, false, true),
            ("double(5,2)", Generated::No, PgType::FLOAT8, false, false),
            ("tinyint(1)", Generated::No, PgType::BOOL, false, true),
            ("varchar(9)", Generated::No, PgType::TEXT, false, true),
            ("tinytext", Generated::No, PgType::TEXT, false, true),
            ("enum('a')", Generated::No, PgType::TEXT, false, false),
            ("set('a')", Generated::No, PgType::TEXT, false, false),
            ("binary(4)", Generated::No, PgType::BYTEA, false, false),
            ("varbinary(4)", Generated::No, PgType::BYTEA, false, true),
            ("datetime(3)", Generated::No, PgType::TIMESTAMP, false, false),
            ("timestamp", Generated::No, PgType::TIMESTAMPTZ, true, false),
            ("date", Generated::No, PgType::DATE, false, true),
            ("time", Generated::No, PgType::INTERVAL, false, false),
            ("bit(3)", Generated::No, PgType::BIT, false, false),
        ];
        for (native_type, generated, from, is_null, expected) in rows {
            let column = Column {
                field: types::field("c", native_type, true, policy).unwrap(),
                native_type: native_type.to_owned(),
                default: None,
                generated,
                comment: None,
                collation: Collation::Bytes,
                statistics: ColumnStatistics::default(),
            };
            assert_eq!(assignable(&column, &shape(from), is_null).is_ok(), expected, "{native_type} {from}");
            let text = |text: &str| Some(Value::Text(text.to_owned()));
            let cut = native_type == "tinytext";
            for (constant, expected) in [(None, cut), (Some(text("a ")), cut), (Some(text("a")), false), (Some(None), false)] {
                assert_eq!(may_be_cut(&column, constant.as_ref()), expected, "{native_type} {constant:?}");
            }
        }
    }
}
