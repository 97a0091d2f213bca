//! What a MongoDB store defines: collections whose documents are held to their columns by a validator, and indexes.
//!
//! A collection has `_id` for its primary key whatever is said, so a table must have it too. Fields that a document has besides are let
//! in: others may write to the collection.

use mongodb::bson::{Document, doc};
use tokio_util::sync::CancellationToken;

use super::pool::Pool;
use super::write;
use crate::error::sqlstate;
use crate::pgtype::PgType;
use crate::stores::StoreError;
use crate::stores::define::{Define, NewColumn, NewIndex, NewTable, Rule, What};
use crate::stores::fragment::Refusal;
use crate::stores::schema::TableId;

/// The field that every document has.
const ID: &str = "_id";

/// The commands of a definition, in their order.
///
/// # Errors
/// What the store has not.
fn commands(define: &Define) -> Result<Vec<Document>, Refusal> {
    match &define.what {
        What::CreateTable(table) => create(table),
        What::DropTables { tables, .. } => Ok(tables.iter().map(|table| doc! { "drop": &table.name }).collect()),
        What::CreateIndex(index) => create_index(index).map(|command| vec![command]),
        What::DropIndex { table, name, .. } => Ok(vec![doc! { "dropIndexes": &table.name, "index": name }]),
        What::AlterTable { .. } => Err(Refusal::new("ALTER TABLE", "what the store knows of a collection does not change")),
    }
}

fn create(table: &NewTable) -> Result<Vec<Document>, Refusal> {
    let is_key = table.primary_key().is_some_and(|key| key == [ID.to_owned()]);
    if !is_key || table.columns.first().is_none_or(|column| column.name != ID) {
        return Err(Refusal::new("PRIMARY KEY", "a collection has it in _id: the first column must be _id, and the primary key"));
    }
    let (mut properties, mut required) = (Document::new(), Vec::new());
    for column in &table.columns {
        properties.insert(column.name.clone(), field(column)?);
        if column.is_required {
            required.push(column.name.clone());
        }
    }
    let schema = doc! { "bsonType": "object", "required": required, "properties": properties };
    let mut commands = vec![doc! { "create": &table.id.name, "validator": { "$jsonSchema": schema } }];
    for constraint in &table.constraints {
        match &constraint.rule {
            Rule::PrimaryKey(_) => {}
            Rule::Unique(columns) => {
                let is_required = |name: &String| table.columns.iter().any(|column| column.name == *name && column.is_required);
                let name = constraint.name.clone().unwrap_or_else(|| format!("{}_{}_key", table.id.name, columns.join("_")));
                let columns: Vec<(String, bool)> = columns.iter().map(|column| (column.clone(), false)).collect();
                let all_required = columns.iter().all(|(column, _)| is_required(column));
                commands.push(index_command(&table.id, &name, (&columns, true, all_required))?);
            }
            Rule::Check(_) => return Err(Refusal::new("CHECK", "the store judges conditions otherwise")),
            Rule::Foreign(_) => return Err(Refusal::new("REFERENCES", "documents do not refer to others")),
        }
    }
    Ok(commands)
}

/// What a validator says of a field.
fn field(column: &NewColumn) -> Result<Document, Refusal> {
    let NewColumn { name, pg_type, is_required, default, identity } = column;
    let refused = |rule| Err(Refusal::new(name, rule));
    if name.starts_with('$') || name.contains('.') || name.contains('\0') {
        return refused("is no name for a field");
    }
    if default.is_some() || identity.is_some() {
        return refused("the store gives fields no values");
    }
    let ranged = |least: i64, greatest: i64| (vec!["int", "long"], doc! { "minimum": least, "maximum": greatest });
    let (mut words, mut rule) = match (PgType::with_typmod(pg_type.oid, -1), pg_type.typmod) {
        (PgType::BOOL, _) => (vec!["bool"], Document::new()),
        (PgType::INT2, _) => ranged(i64::from(i16::MIN), i64::from(i16::MAX)),
        (PgType::INT4, _) => ranged(i64::from(i32::MIN), i64::from(i32::MAX)),
        (PgType::INT8, _) => (vec!["int", "long"], Document::new()),
        (PgType::FLOAT8, _) => (vec!["double"], Document::new()),
        (PgType::NUMERIC, -1) => (vec!["decimal"], Document::new()),
        (PgType::TEXT, _) | (PgType::VARCHAR, -1) => (vec!["string"], Document::new()),
        (PgType::VARCHAR, typmod) => (vec!["string"], doc! { "maxLength": i64::from(typmod - 4) }),
        (PgType::BYTEA, _) if name != ID => (vec!["binData"], Document::new()),
        (PgType::TIMESTAMPTZ, -1) => (vec!["date"], Document::new()),
        _ => return refused("the store has no type that keeps values of this one as they are"),
    };
    if !is_required {
        words.push("null");
    }
    rule.insert("bsonType", words);
    Ok(rule)
}

fn create_index(index: &NewIndex) -> Result<Document, Refusal> {
    let NewIndex { name, table, columns, is_unique } = index;
    let is_required = |name: &String| table.columns.iter().any(|column| column.name() == name && !column.field.is_nullable());
    let all_required = columns.iter().all(|(column, _)| is_required(column));
    index_command(&table.id, name, (columns, *is_unique, all_required))
}

fn index_command(
    table: &TableId,
    name: &str,
    (columns, is_unique, all_required): (&[(String, bool)], bool, bool),
) -> Result<Document, Refusal> {
    if is_unique && !all_required {
        return Err(Refusal::new("UNIQUE", "two documents without a value would count as the same to the store: NOT NULL"));
    }
    let mut key = Document::new();
    for (column, is_descending) in columns {
        key.insert(column.clone(), if *is_descending { -1 } else { 1 });
    }
    Ok(doc! { "createIndexes": &table.name, "indexes": [{ "key": key, "name": name, "unique": is_unique }] })
}

/// The commands as they are shown.
///
/// # Errors
/// What the store has not.
pub(super) fn statements(define: &Define) -> Result<Vec<String>, Refusal> {
    Ok(commands(define)?.iter().map(ToString::to_string).collect())
}

/// Runs a definition. A collection whose indexes cannot be made is dropped again.
///
/// # Errors
/// As [`crate::stores::connector::Connector::define`].
pub(super) async fn run(pool: &Pool, define: &Define, stop: &CancellationToken) -> Result<(), StoreError> {
    let store = define.store.as_str();
    let commands =
        commands(define).map_err(|refusal| StoreError::remote(store, sqlstate::FEATURE_NOT_SUPPORTED, refusal.to_string()))?;
    let table = define.subject();
    let database = pool.database(&table.id.namespace).await?;
    for (place, command) in commands.into_iter().enumerate() {
        let Err(error) = write::command_alone(pool, &database, command, (stop, 0)).await else { continue };
        if place > 0 && matches!(define.what, What::CreateTable(_)) {
            let end = CancellationToken::new();
            let dropped = write::command_alone(pool, &database, doc! { "drop": &table.id.name }, (&end, 0)).await;
            if let Err(left) = dropped {
                tracing::warn!(store, error = %left, "a collection without its indexes could not be dropped");
            }
        }
        return Err(error);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::StoreName;
    use crate::stores::define::NewConstraint;

    fn table(columns: Vec<NewColumn>, unique: &[&str]) -> Define {
        let rule = |rule| NewConstraint { name: None, rule };
        let mut constraints = vec![rule(Rule::PrimaryKey(vec![ID.to_owned()]))];
        constraints.extend(unique.iter().map(|name| rule(Rule::Unique(vec![(*name).to_owned()]))));
        let id = TableId { namespace: "shop".to_owned(), name: "orders".to_owned() };
        Define { store: StoreName::new("shop"), what: What::CreateTable(NewTable { id, columns, constraints }) }
    }

    fn column(name: &str, pg_type: PgType, is_required: bool) -> NewColumn {
        NewColumn { name: name.to_owned(), pg_type, is_required, default: None, identity: None }
    }

    #[test]
    fn a_validator_says_what_the_columns_say() {
        let columns = vec![column(ID, PgType::INT8, true), column("v", PgType::with_typmod(1043, 9), false)];
        let made = commands(&table(columns, &[])).unwrap();
        let schema = doc! {
            "bsonType": "object",
            "required": [ID],
            "properties": {
                ID: { "bsonType": ["int", "long"] },
                "v": { "maxLength": 5_i64, "bsonType": ["string", "null"] },
            },
        };
        assert_eq!(made, [doc! { "create": "orders", "validator": { "$jsonSchema": schema } }]);
    }

    #[test]
    fn what_documents_cannot_be_held_to_is_refused() {
        let id = || column(ID, PgType::TEXT, true);
        let nullable = table(vec![id(), column("u", PgType::TEXT, false)], &["u"]);
        assert!(commands(&nullable).is_err());
        assert_eq!(commands(&table(vec![id(), column("u", PgType::TEXT, true)], &["u"])).unwrap().len(), 2);
        assert!(commands(&table(vec![column("n", PgType::INT8, true), id()], &[])).is_err());
        for pg_type in [PgType::numeric(5, 2), PgType::TIMESTAMP, PgType::JSONB, PgType::INTERVAL] {
            assert!(commands(&table(vec![id(), column("a", pg_type, false)], &[])).is_err(), "{pg_type}");
        }
    }
}
