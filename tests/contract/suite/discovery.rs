//! What discovery finds: relations, columns with their types, keys, and what the store's catalog tells besides.

use std::sync::Arc;

use tributary::stores::schema::{Key, StoreSchema, Table, TableKind};

use super::reading;
use super::sample;
use super::world::{Kind, Sample, World};

pub async fn check(world: &dyn World) {
    relations_are_found_with_what_the_store_tells(world).await;
    every_kind_of_column_has_its_type(world).await;
    odd_names_are_only_names(world).await;
    what_is_gone_is_no_longer_found(world).await;
}

fn named<'a>(schema: &'a StoreSchema, world: &dyn World, name: &str) -> &'a Arc<Table> {
    let found = schema.tables.iter().find(|table| table.id.namespace == world.namespace() && table.id.name == name);
    found.unwrap_or_else(|| panic!("{name} was not found; refused: {:?}", schema.refused))
}

fn has_key(keys: &[Key], columns: &[usize]) -> bool {
    keys.iter().any(|key| key.columns == columns && !key.name.is_empty())
}

async fn relations_are_found_with_what_the_store_tells(world: &dyn World) {
    world.make_library().await;
    let connector = world.open("");
    assert_eq!((connector.name().as_str(), connector.kind()), (super::world::STORE, world.word()));
    connector.ping().await.unwrap();
    let schema = connector.discover().await.unwrap();
    assert!(schema.server_version.contains(|letter: char| letter.is_ascii_digit()), "{}", schema.server_version);
    assert_eq!(schema.default_namespace, world.namespace());
    let told = world.tells();

    let author = named(&schema, world, "author");
    assert!(matches!(author.kind, TableKind::Table | TableKind::Collection));
    let names: Vec<&str> = author.columns.iter().map(|column| column.name()).collect();
    assert_eq!(names, [world.key(), "name", "note"]);
    let key = author.primary_key.as_ref().unwrap();
    assert_eq!((&key.columns[..], key.proven), (&[0][..], true), "an integer key holds no NULL and nothing twice");
    assert!(!author.columns[0].field.is_nullable());
    assert_eq!(!author.columns[1].field.is_nullable(), told.not_null);
    assert!(author.columns[2].field.is_nullable());
    assert!(has_key(&author.unique_keys, &[1]) && !has_key(&author.indexes, &[1]), "{:?}", author.unique_keys);
    assert!(author.unique_keys.iter().all(|key| told.not_null || !key.proven), "a key of NULLs is proven");
    // A default is shown in the store's own language, so its quotes differ.
    let default = author.columns[2].default.as_deref();
    assert_eq!((default.is_some_and(|text| text.contains("none")), default.is_some()), (told.defaults, told.defaults));
    assert_eq!((author.comment.as_deref() == Some("who writes"), author.comment.is_some()), (told.comments, told.comments));
    let remark = author.columns[2].comment.as_deref();
    assert_eq!((remark == Some("a remark"), remark.is_some()), (told.comments, told.comments));
    assert_eq!(author.row_estimate, Some(3));

    let book = named(&schema, world, "book");
    assert!(has_key(&book.indexes, &[2]) && book.unique_keys.is_empty(), "{:?}", book.indexes);
    let refers = book.foreign_keys.iter().find(|key| key.columns == [1]);
    assert_eq!(refers.is_some(), told.foreign_keys);
    if let Some(key) = refers {
        assert_eq!((key.references.name.as_str(), &key.referenced_columns[..]), ("author", &["id".to_owned()][..]));
    }

    let titles = named(&schema, world, "titles");
    assert_eq!((titles.kind, titles.columns.len(), titles.row_estimate), (TableKind::View, 1, None));
    assert!(titles.primary_key.is_none() && titles.unique_keys.is_empty() && titles.columns[0].field.is_nullable());
    let batches = reading::read_all(&connector, titles).await.unwrap();
    assert_eq!(reading::count(&batches), 4);
    is_consistent(&schema);
    is_stable(world, &schema, &connector.discover().await.unwrap());
}

/// What the catalog relies on without looking.
fn is_consistent(schema: &StoreSchema) {
    assert!(schema.tables.is_sorted_by(|left, right| left.id < right.id), "tables are not in the order of their names");
    for table in &schema.tables {
        assert_eq!(table.schema, Table::arrow_schema(&table.columns), "{:?}", table.id);
        let keys = table.primary_key.iter().chain(&table.unique_keys).chain(&table.indexes);
        let ordinals = keys.flat_map(|key| &key.columns).chain(table.foreign_keys.iter().flat_map(|key| &key.columns));
        let ordinals = ordinals.chain(table.checks.iter().flat_map(|check| &check.columns));
        assert!(ordinals.clone().all(|ordinal| *ordinal < table.columns.len()), "{:?}", table.id);
        for column in &table.columns {
            assert_eq!(*column.field.data_type(), carrier(column), "{:?}.{}", table.id, column.name());
        }
    }
}

/// The carrier of a column's type; nested documents have a shape of their own.
fn carrier(column: &tributary::stores::schema::Column) -> arrow::datatypes::DataType {
    let carrier = column.pg_type().carrier();
    let is_nested = column.field.data_type().is_nested();
    if is_nested { column.field.data_type().clone() } else { carrier }
}

/// Other namespaces are other tests' and may change.
fn is_stable(world: &dyn World, first: &StoreSchema, second: &StoreSchema) {
    let own = |schema: &StoreSchema| -> Vec<Arc<Table>> {
        schema.tables.iter().filter(|table| table.id.namespace == world.namespace()).cloned().collect()
    };
    let (first, second) = (own(first), own(second));
    assert_eq!(first.len(), second.len());
    for (first, second) in first.iter().zip(&second) {
        let named = |table: &Arc<Table>| (table.id.clone(), table.kind, table.comment.clone(), table.row_estimate);
        assert_eq!(named(first), named(second));
        assert_eq!(first.columns, second.columns, "{:?}", first.id);
        let keys = |table: &Arc<Table>| (table.primary_key.clone(), table.unique_keys.clone(), table.indexes.clone());
        assert_eq!(keys(first), keys(second), "{:?}", first.id);
        assert_eq!((&first.foreign_keys, &first.checks), (&second.foreign_keys, &second.checks), "{:?}", first.id);
    }
}

async fn every_kind_of_column_has_its_type(world: &dyn World) {
    let kinds = world.kinds();
    world.make(&sample::of_kinds(world, "kinds", &kinds)).await;
    let connector = world.open("");
    let table = reading::table(&connector, &world.namespace(), "kinds").await;
    for kind in kinds {
        let column = table.columns.iter().find(|column| column.name() == kind.column()).unwrap();
        assert!(kind.oids().contains(&column.pg_type().oid), "{kind:?} is {:?}", column.pg_type());
        assert!(column.field.is_nullable() && !column.native_type.is_empty(), "{kind:?}");
    }
}

async fn odd_names_are_only_names(world: &dyn World) {
    let odd = "it's \"odd\" `name`; DROP TABLE kinds -- ü";
    let columns = vec![("se\"lect 'x' `y`".to_owned(), Kind::Int), ("UPPER lower".to_owned(), Kind::Text)];
    let row = vec![Some(tributary::stores::value::Value::Int(7)), None];
    world.make(&Sample { table: odd.to_owned(), columns, rows: vec![row.clone(), row] }).await;
    let connector = world.open("");
    let table = reading::table(&connector, &world.namespace(), odd).await;
    assert_eq!(table.columns[1].name(), "se\"lect 'x' `y`");
    assert_eq!(reading::count(&reading::read_all(&connector, &table).await.unwrap()), 2);
    reading::table(&connector, &world.namespace(), "kinds").await;
}

async fn what_is_gone_is_no_longer_found(world: &dyn World) {
    let connector = world.open("");
    world.make(&sample::of_keys("brief", 1)).await;
    reading::table(&connector, &world.namespace(), "brief").await;
    world.drop_table("brief").await;
    let schema = connector.discover().await.unwrap();
    assert!(!schema.tables.iter().any(|table| table.id.namespace == world.namespace() && table.id.name == "brief"));
}
