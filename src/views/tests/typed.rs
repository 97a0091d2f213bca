//! A table with a column of each type whose values can be keys, and views that are computed by each of them.

use arrow::datatypes::Field;

use super::*;
use crate::pgtype::{PgField, PgType};
use crate::stores::change::builder::{Cell, RowsBuilder};
use crate::stores::change::{Entry, Group, Operation, Shape};
use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated};

/// Columns with two values of each.
const COLUMNS: [(&str, PgType, [&str; 2]); 10] = [
    ("of_bool", PgType::BOOL, ["t", "f"]),
    ("of_int2", PgType::INT2, ["1", "-2"]),
    ("of_int4", PgType::INT4, ["1", "-2"]),
    ("of_int8", PgType::INT8, ["1", "-2"]),
    ("of_text", PgType::TEXT, ["one", ""]),
    ("of_varchar", PgType::VARCHAR, ["one", "two "]),
    ("of_date", PgType::DATE, ["2024-02-29", "1969-12-31"]),
    ("of_timestamp", PgType::TIMESTAMP, ["2024-02-29 01:02:03.000004", "1969-12-31 23:59:59.999999"]),
    ("of_timestamptz", PgType::TIMESTAMPTZ, ["2024-02-29 01:02:03.000004+00", "1969-12-31 23:59:59.999999+00"]),
    ("of_uuid", PgType::UUID, ["00000000-0000-0000-0000-000000000001", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
];

/// A row by its name: all of its values are the first, the second, or NULL.
#[derive(Clone, Copy)]
enum Has {
    First,
    Second,
    Null,
    Gone,
}

/// `public.typed`: `name`, its key, and a column of each type.
pub(super) fn table() -> Arc<Table> {
    let column = |name: &str, pg_type: PgType| Column {
        field: Field::new(name, pg_type.carrier(), true).with_pg_type(pg_type),
        native_type: pg_type.to_string(),
        default: None,
        generated: Generated::No,
        comment: None,
        collation: Collation::Bytes,
        statistics: ColumnStatistics::default(),
    };
    let typed = COLUMNS.iter().map(|(name, pg_type, _)| column(name, *pg_type));
    let columns = std::iter::once(column("name", PgType::TEXT)).chain(typed).collect();
    Arc::new(Table::plain("public", "typed", columns))
}

fn cell(value: &'static str, other: &'static str, has: Has) -> Cell<'static> {
    match has {
        Has::First => Cell::Text(value),
        Has::Second => Cell::Text(other),
        Has::Null | Has::Gone => Cell::Null,
    }
}

/// One transaction.
fn group_of(store: &StoreName, position: u64, rows: &[(&str, Has)]) -> Group {
    let mut group = mixed_of(store, &[(position, Vec::new())]);
    let mut builder = RowsBuilder::new(&Shape::of(&table(), vec![0], vec![true; COLUMNS.len() + 1]));
    for (name, has) in rows {
        let row = if matches!(has, Has::Gone) {
            let old: &mut dyn Iterator<Item = Cell<'_>> = &mut [Cell::Text(name)].into_iter();
            builder.push(Operation::Delete, &mut std::iter::empty::<Cell<'_>>(), Some(old))
        } else {
            let values = COLUMNS.iter().map(|&(_, _, [value, other])| cell(value, other, *has));
            builder.push(Operation::Upsert, &mut std::iter::once(Cell::Text(name)).chain(values), None)
        };
        group.transactions[0].entries.push(Entry::Row { rows: 0, row: row.unwrap() });
    }
    group.rows = vec![builder.finish().unwrap()];
    group
}

async fn kept(views: &[(&str, &str)]) -> Stage {
    let stage = Stage::over(views, settings()).await;
    stage.cache(&ALL);
    stage.views.replace(views.iter().map(|(view, _)| entry(view, true)).collect());
    for (view, _) in views {
        stage.stands(view, ViewState::Kept).await;
        assert!(matches!(stage.views.upkeep(&name(view)), Some(Upkeep::Key { whole, .. }) if whole.is_empty()), "{view}");
    }
    stage
}

impl Stage {
    async fn types(&self, position: u64, rows: &[(&str, Has)]) {
        let group = group_of(self.shop.name(), position, rows);
        self.shop.steps.send(Ok(Step::Group(group))).await.unwrap();
    }

    fn was_kept_by_key(&self, view: &str) {
        let (keyed, steps) = (self.tally(view, |tally| tally.keyed.get()), self.tally(view, |tally| tally.steps.get()));
        assert!(keyed == steps && keyed > 0, "{view}: {keyed} of {steps} by key");
        assert_eq!(self.tally(view, metrics::Tally::keyed_failures), 0, "{view}");
    }
}

/// Waits until all views have these names with their places, each time computed by key. How keys are written is not what is asked here.
async fn are_placed(stage: &Stage, views: &[(&str, &str)], expected: &[&str]) {
    for (view, _) in views {
        let placed = || {
            let rows = stage.rows(view)?;
            let mut rows: Vec<String> = rows.iter().map(|row| row.split_once('|').unwrap().1.to_owned()).collect();
            rows.sort();
            Some(rows)
        };
        stage.holds(|| placed().is_some_and(|rows| rows == expected)).await;
        stage.was_kept_by_key(view);
    }
}

#[tokio::test]
async fn values_of_each_type_and_null_are_keys() {
    let of_column = |column: &str| {
        format!("SELECT {column} AS k, name, row_number() OVER (PARTITION BY {column} ORDER BY name) AS place FROM shop.typed")
    };
    let queries: Vec<(&str, String)> = COLUMNS.iter().map(|(column, _, _)| (*column, of_column(column))).collect();
    let views: Vec<(&str, &str)> = queries.iter().map(|(view, sql)| (*view, sql.as_str())).collect();
    let stage = kept(&views).await;
    stage.types(1, &[("a", Has::First), ("b", Has::First), ("c", Has::Null), ("d", Has::Second)]).await;
    are_placed(&stage, &views, &["a|1", "b|2", "c|1", "d|1"]).await;
    stage.types(2, &[("a", Has::Null), ("c", Has::Second), ("d", Has::First)]).await;
    are_placed(&stage, &views, &["a|1", "b|1", "c|1", "d|2"]).await;
    stage.types(3, &[("a", Has::Gone), ("b", Has::Null), ("d", Has::Second), ("e", Has::Null)]).await;
    are_placed(&stage, &views, &["b|1", "c|1", "d|2", "e|2"]).await;
}

#[tokio::test]
async fn rows_without_a_key_meet_none_of_a_left_join_and_are_placed_among_themselves() {
    const MET: &str = "SELECT t.of_int8 AS k, t.name, o.name AS other, row_number() OVER (PARTITION BY t.of_int8 ORDER BY t.name, o.name) \
                       AS place FROM shop.typed t LEFT JOIN shop.orders o ON o.total = t.of_int8";
    let stage = kept(&[("met", MET)]).await;
    stage.types(1, &[("a", Has::First), ("c", Has::Null)]).await;
    stage.has("met", &["1|a|NULL|1", "NULL|c|NULL|1"]).await;
    stage.shop.puts(2, "orders", "x", 1).await;
    stage.has("met", &["1|a|x|1", "NULL|c|NULL|1"]).await;
    stage.types(3, &[("a", Has::Null), ("d", Has::Second)]).await;
    stage.has("met", &["-2|d|NULL|1", "NULL|a|NULL|1", "NULL|c|NULL|2"]).await;
    stage.shop.puts(4, "orders", "x", -2).await;
    stage.has("met", &["-2|d|x|1", "NULL|a|NULL|1", "NULL|c|NULL|2"]).await;
    stage.was_kept_by_key("met");
}
