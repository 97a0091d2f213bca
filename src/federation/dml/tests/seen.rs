//! What subqueries of RETURNING may read of the store that is written to.

use super::*;
use crate::stores::schema::{Action, ForeignKey, TableKind};

fn named(name: &str, keys: Vec<ForeignKey>) -> Table {
    let plain = table(true);
    Table { foreign_keys: keys, ..Table::plain("public", name, plain.columns) }
}

fn key(to: &str, on_update: Action, on_delete: Action) -> ForeignKey {
    let references = named(to, Vec::new()).id;
    let referenced_columns = vec!["id".to_owned()];
    ForeignKey { name: "k".to_owned(), columns: vec![0], references, referenced_columns, on_update, on_delete }
}

fn room(tables: Vec<Table>) -> Room {
    let mut room = Room::new(true, true);
    let snapshot = Arc::get_mut(&mut room.setting.snapshot).unwrap();
    let relations = &mut snapshot.schemas.get_mut("shop").unwrap().relations;
    for (table, oid) in tables.into_iter().zip(20_002..) {
        let name = table.id.name.clone();
        let body = RelationBody::Stored { store: StoreName::new("shop"), table: Arc::new(table) };
        let relation = Relation { oid, schema: "shop".to_owned(), name: name.clone(), body };
        relations.insert(name, Arc::new(relation));
    }
    room
}

#[tokio::test]
async fn subqueries_read_nothing_that_changes_with_the_target() {
    let (none, cascade, empty) = (Action::NoAction, Action::Cascade, Action::SetNull);
    let view = Table { kind: TableKind::View, ..named("u", Vec::new()) };
    let chained = || vec![named("v", vec![key("t", none, cascade)]), named("u", vec![key("v", none, cascade)])];
    let emptied = || vec![named("v", vec![key("t", none, empty)]), named("u", vec![key("v", cascade, none)])];
    let delete = "DELETE FROM t RETURNING (SELECT count(*) FROM u)";
    let update = "UPDATE t SET id = 1 RETURNING (SELECT count(*) FROM u)";
    let insert = "INSERT INTO t (id) VALUES (7) RETURNING (SELECT count(*) FROM u)";
    let kept = "INSERT INTO t (id) VALUES (7) ON CONFLICT DO NOTHING RETURNING (SELECT count(*) FROM u)";
    let upsert = "INSERT INTO t (id) VALUES (7) ON CONFLICT (id) DO UPDATE SET qty = 1 RETURNING (SELECT count(*) FROM u)";
    for (tables, sql, expected) in [
        (vec![named("u", Vec::new())], delete, None),
        (vec![named("u", vec![key("t", none, none)])], delete, None),
        (vec![named("u", vec![key("t", none, cascade)])], delete, Some("0A000")),
        (vec![named("u", vec![key("t", none, cascade)])], update, None),
        (vec![named("u", vec![key("t", empty, none)])], update, Some("0A000")),
        (vec![named("u", vec![key("t", cascade, none)])], delete, None),
        (chained(), delete, Some("0A000")),
        (chained(), update, None),
        (emptied(), delete, Some("0A000")),
        (vec![view.clone()], delete, Some("0A000")),
        (vec![view], insert, Some("0A000")),
        (vec![named("u", vec![key("t", cascade, cascade)])], insert, None),
        (vec![named("u", vec![key("t", cascade, cascade)])], kept, None),
        (vec![named("u", vec![key("t", cascade, none)])], upsert, Some("0A000")),
        (vec![named("u", vec![key("t", none, cascade)])], upsert, None),
    ] {
        let planned = room(tables.clone()).planned(sql).await.map(|_| ()).map_err(|error| error.sqlstate);
        assert_eq!(planned.err().as_deref(), expected, "{sql} beside {tables:?}");
    }
}
