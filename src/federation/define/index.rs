//! `CREATE INDEX`

use datafusion::sql::sqlparser::ast::{CreateIndex, Expr, IndexColumn, IndexType};

use super::super::ast::name::fold;
use super::super::plan::Setting;
use super::{Planned, qualified, table_of, unsupported};
use crate::catalog::kept::KeptIndex;
use crate::catalog::{Relation, Snapshot};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::define::{Define, NewIndex, What};

/// Plans one on a table of a store.
///
/// # Errors
/// As PostgreSQL: 42P01, 42703, 42P07, 42809; 0A000 for what is not supported.
pub fn create_index(setting: &Setting, create: &CreateIndex, relation: &Relation) -> Result<Planned, Diagnosis> {
    check_form(create)?;
    let (store, table) = table_of(relation)?;
    let mut columns = Vec::with_capacity(create.columns.len());
    for column in &create.columns {
        let (name, is_descending) = plain(column)?;
        if !table.columns.iter().any(|known| known.name() == name) {
            return Err(Diagnosis::new(sqlstate::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")));
        }
        columns.push((name, is_descending));
    }
    let name = name_of(setting, create, (relation, &columns))?;
    if is_taken(&setting.snapshot, &relation.schema, &name) {
        if create.if_not_exists {
            let notices = vec![format!("relation \"{name}\" already exists, skipping")];
            return Ok(Planned { notices, ..Planned::default() });
        }
        return Err(Diagnosis::new(sqlstate::DUPLICATE_TABLE, format!("relation \"{name}\" already exists")));
    }
    let index = NewIndex { name, table: table.clone(), columns, is_unique: create.unique };
    let define = Define { store: store.clone(), what: What::CreateIndex(index) };
    Ok(Planned { define: Some(define), ..Planned::default() })
}

/// The index that a materialized view gets; the notice instead of it where it has one of the name already.
///
/// # Errors
/// As [`create_index`].
pub fn view_index(
    setting: &Setting,
    create: &CreateIndex,
    relation: &Relation,
) -> Result<std::result::Result<KeptIndex, String>, Diagnosis> {
    check_form(create)?;
    let known = relation.body.kept().map(|kept| kept.columns.as_slice()).unwrap_or_default();
    let mut columns = Vec::with_capacity(create.columns.len());
    for column in &create.columns {
        let (name, is_descending) = plain(column)?;
        if !known.iter().any(|known| known.name == name) {
            return Err(Diagnosis::new(sqlstate::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")));
        }
        columns.push((name, is_descending));
    }
    let name = name_of(setting, create, (relation, &columns))?;
    if is_taken(&setting.snapshot, &relation.schema, &name) {
        let message = format!("relation \"{name}\" already exists");
        let notice = format!("{message}, skipping");
        return if create.if_not_exists { Ok(Err(notice)) } else { Err(Diagnosis::new(sqlstate::DUPLICATE_TABLE, message)) };
    }
    // An order is nothing that keys have.
    let columns = columns.into_iter().map(|(name, _)| name).collect();
    Ok(Ok(KeptIndex { name, columns, unique: create.unique }))
}

/// The name that the statement gives the index, or that it gets.
fn name_of(
    setting: &Setting,
    create: &CreateIndex,
    (relation, columns): (&Relation, &[(String, bool)]),
) -> Result<String, Diagnosis> {
    let Some(name) = &create.name else { return Ok(free_name(&setting.snapshot, relation, columns)) };
    let name = qualified(name)?;
    if name.schema.as_ref().is_some_and(|schema| *schema != relation.schema) {
        return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "an index is made in the schema of its table"));
    }
    Ok(name.relation)
}

fn check_form(create: &CreateIndex) -> Result<(), Diagnosis> {
    let forms = [
        (create.concurrently, "CREATE INDEX CONCURRENTLY"),
        (!matches!(create.using, None | Some(IndexType::BTree)), "an index of this kind"),
        (!create.include.is_empty(), "INCLUDE in CREATE INDEX"),
        (create.nulls_distinct == Some(false), "NULLS NOT DISTINCT"),
        (!create.with.is_empty() || !create.index_options.is_empty(), "an index with parameters"),
        (create.predicate.is_some(), "a partial index"),
        (!create.alter_options.is_empty(), "this form of CREATE INDEX"),
        (create.name.is_none() && create.if_not_exists, "IF NOT EXISTS without a name"),
    ];
    match forms.iter().find(|(is_there, _)| *is_there) {
        Some((_, what)) => Err(unsupported(what)),
        None => Ok(()),
    }
}

/// A column that stands alone, and whether it is in descending order.
fn plain(column: &IndexColumn) -> Result<(String, bool), Diagnosis> {
    let options = &column.column.options;
    match &column.column.expr {
        Expr::Identifier(name) if column.operator_class.is_none() && options.nulls_first.is_none() => {
            Ok((fold(name), options.asc == Some(false)))
        }
        _ => Err(unsupported("an index over anything but names of columns")),
    }
}

/// Whether a relation or an index has the name.
pub(super) fn is_taken(snapshot: &Snapshot, schema: &str, name: &str) -> bool {
    let is_relation = snapshot.schemas.get(schema).is_some_and(|found| found.relations.contains_key(name));
    is_relation || snapshot.objects.indexes.iter().any(|index| index.schema == schema && index.name == name)
}

/// `table_a_b_idx`, with a number where that is taken.
fn free_name(snapshot: &Snapshot, relation: &Relation, columns: &[(String, bool)]) -> String {
    let columns: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let base = format!("{}_{}_idx", relation.name, columns.join("_"));
    let mut name = base.clone();
    let mut number = 1_u32;
    while is_taken(snapshot, &relation.schema, &name) {
        name = format!("{base}{number}");
        number += 1;
    }
    name
}
