//! `ALTER TABLE`

use datafusion::sql::sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, ColumnDef, DropBehavior, Ident, RenameTableNameKind, TableConstraint,
};

use super::super::ast::name::fold;
use super::super::engine::Engine;
use super::super::plan::Setting;
use super::super::views;
use super::columns::Gathering;
use super::drop::native_name;
use super::index::is_taken;
use super::{Place, Planned, qualified, table_of, type_of, unsupported};
use crate::catalog::Relation;
use crate::catalog::object::ConstraintKind as Known;
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;
use crate::stores::Table;
use crate::stores::define::{Condition, ConstraintKind, Define, NewConstraint, Rule, Step, What};
use crate::stores::schema::Collation;

/// Plans one on a table of a store.
///
/// # Errors
/// As PostgreSQL: 42701, 42703, 42704, 42P07, 2BP01, …; 0A000 for what is not supported.
pub async fn alter_table(
    engine: &Engine,
    setting: &Setting,
    alter: &AlterTable,
    (relation, place): (&Relation, &Place),
) -> Result<Planned, Diagnosis> {
    if alter.location.is_some() || alter.on_cluster.is_some() || alter.table_type.is_some() {
        return Err(unsupported("this form of ALTER TABLE"));
    }
    let (store, table) = table_of(relation)?;
    let mut altering = Altering { engine, setting, relation, table, place, steps: Vec::new(), notices: Vec::new() };
    for operation in &alter.operations {
        altering.operation(operation).await?;
    }
    let Altering { steps, notices, .. } = altering;
    let has_steps = !steps.is_empty();
    let what = What::AlterTable { table: table.clone(), only: alter.only, steps };
    let define = has_steps.then(|| Define { store: store.clone(), what });
    Ok(Planned { define, notices, ..Planned::default() })
}

struct Altering<'s> {
    engine: &'s Engine,
    setting: &'s Setting,
    relation: &'s Relation,
    table: &'s Table,
    place: &'s Place,
    steps: Vec<Step>,
    notices: Vec<String>,
}

impl Altering<'_> {
    async fn operation(&mut self, operation: &AlterTableOperation) -> Result<(), Diagnosis> {
        match operation {
            AlterTableOperation::AddColumn { if_not_exists, column_def, column_position: None, .. } => {
                Box::pin(self.add(column_def, *if_not_exists)).await
            }
            AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
                column_names.iter().try_for_each(|name| self.remove(name, *if_exists, drop_behavior.as_ref()))
            }
            AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                let name = self.column(old_column_name)?.0;
                let to = fold(new_column_name);
                self.check_free(&to)?;
                self.check_views(Some(&name), "rename a column")?;
                self.steps.push(Step::RenameColumn { name, to });
                Ok(())
            }
            AlterTableOperation::RenameTable { table_name: RenameTableNameKind::To(name) } => {
                let name = qualified(name)?;
                if name.schema.is_some() {
                    return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "a table is renamed in its schema"));
                }
                if is_taken(&self.setting.snapshot, &self.relation.schema, &name.relation) {
                    let message = format!("relation \"{}\" already exists", name.relation);
                    return Err(Diagnosis::new(sqlstate::DUPLICATE_TABLE, message));
                }
                self.check_views(None, "rename a table")?;
                self.steps.push(Step::Rename(name.relation));
                Ok(())
            }
            AlterTableOperation::AlterColumn { column_name, op } => Box::pin(self.alter(column_name, op)).await,
            AlterTableOperation::AddConstraint { constraint, not_valid: false } => self.constrain(constraint),
            AlterTableOperation::DropConstraint { if_exists, name, drop_behavior } => {
                self.unconstrain(name, *if_exists, drop_behavior.as_ref())
            }
            other => Err(unsupported(&format!("{other} in ALTER TABLE"))),
        }
    }

    /// A column that there is, with its type.
    fn column(&self, name: &Ident) -> Result<(String, PgType), Diagnosis> {
        let name = fold(name);
        match self.table.columns.iter().find(|column| column.name() == name) {
            Some(column) => Ok((name, column.pg_type())),
            None => Err(self.no_column(&name)),
        }
    }

    fn no_column(&self, name: &str) -> Diagnosis {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", self.relation.name);
        Diagnosis::new(sqlstate::UNDEFINED_COLUMN, message)
    }

    fn check_free(&self, name: &str) -> Result<(), Diagnosis> {
        if self.table.columns.iter().any(|column| column.name() == name) {
            let message = format!("column \"{name}\" of relation \"{}\" already exists", self.relation.name);
            return Err(Diagnosis::new(sqlstate::DUPLICATE_COLUMN, message));
        }
        Ok(())
    }

    /// Our views are texts, in which names stay as they were.
    fn check_views(&self, column: Option<&str>, what: &str) -> Result<(), Diagnosis> {
        let readers = views::readers_of(&self.setting.snapshot, self.relation);
        let reader = readers.into_iter().find(|view| column.is_none_or(|column| views::may_name(view, column)));
        match reader {
            None => Ok(()),
            Some(view) => {
                let message = format!("cannot {what} that a view reads");
                Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
                    .with_detail(format!("view {}.{} reads table {}", view.schema, view.name, self.relation.name))
                    .with_hint("Drop the view before, and make it again."))
            }
        }
    }

    async fn add(&mut self, column: &ColumnDef, if_not_exists: bool) -> Result<(), Diagnosis> {
        let name = fold(&column.name);
        if let Err(error) = self.check_free(&name) {
            if if_not_exists {
                self.notices.push(format!("{}, skipping", error.message));
                return Ok(());
            }
            return Err(error);
        }
        let mut gathering = Gathering::of(self.engine, self.setting, (self.place, self.table));
        gathering.column(column).await?;
        let (columns, constraints) = gathering.finish()?;
        self.steps.extend(columns.into_iter().map(Step::AddColumn));
        constraints.iter().try_for_each(|constraint| self.check_letters(constraint))?;
        self.steps.extend(constraints.into_iter().map(Step::AddConstraint));
        Ok(())
    }

    fn remove(&mut self, name: &Ident, if_exists: bool, behavior: Option<&DropBehavior>) -> Result<(), Diagnosis> {
        let cascades = matches!(behavior, Some(DropBehavior::Cascade));
        let name = match self.column(name) {
            Ok((name, _)) => name,
            Err(error) if if_exists => {
                self.notices.push(format!("{}, skipping", error.message));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let readers = views::readers_of(&self.setting.snapshot, self.relation);
        if let Some(view) = readers.iter().find(|view| views::may_name(view, &name)) {
            let table = &self.relation.name;
            let message = format!("cannot drop column {name} of table {table} because other objects depend on it");
            return Err(Diagnosis::new(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message)
                .with_detail(format!("view {}.{} depends on column {name} of table {table}", view.schema, view.name))
                .with_hint("Drop the view before."));
        }
        self.steps.push(Step::DropColumn { name, cascades });
        Ok(())
    }

    async fn alter(&mut self, name: &Ident, op: &AlterColumnOperation) -> Result<(), Diagnosis> {
        let (name, pg_type) = self.column(name)?;
        let step = match op {
            AlterColumnOperation::SetNotNull => Step::SetRequired { name, is_required: true },
            AlterColumnOperation::DropNotNull => Step::SetRequired { name, is_required: false },
            AlterColumnOperation::SetDefault { value } => {
                let gathering = Gathering::of(self.engine, self.setting, (self.place, self.table));
                let default = gathering.default(&name, pg_type, value).await?;
                Step::SetDefault { name, pg_type, default }
            }
            AlterColumnOperation::DropDefault => Step::SetDefault { name, pg_type, default: None },
            AlterColumnOperation::SetDataType { data_type, using: None, .. } => {
                self.check_views(Some(&name), "alter the type of a column")?;
                Step::SetType { name, pg_type: type_of(data_type)? }
            }
            AlterColumnOperation::SetDataType { .. } => return Err(unsupported("USING in ALTER COLUMN TYPE")),
            AlterColumnOperation::AddGenerated { .. } => return Err(unsupported("ADD GENERATED in ALTER COLUMN")),
        };
        self.steps.push(step);
        Ok(())
    }

    fn constrain(&mut self, constraint: &TableConstraint) -> Result<(), Diagnosis> {
        let mut gathering = Gathering::of(self.engine, self.setting, (self.place, self.table));
        gathering.constraint(constraint)?;
        let (_, constraints) = gathering.finish()?;
        for constraint in constraints {
            if matches!(constraint.rule, Rule::PrimaryKey(_)) && self.table.primary_key.is_some() {
                let message = format!("multiple primary keys for table \"{}\" are not allowed", self.relation.name);
                return Err(Diagnosis::new(sqlstate::INVALID_TABLE_DEFINITION, message));
            }
            self.check_letters(&constraint)?;
            self.steps.push(Step::AddConstraint(constraint));
        }
        Ok(())
    }

    /// Refuses conditions on texts that the store compares by other rules than PostgreSQL.
    fn check_letters(&self, constraint: &NewConstraint) -> Result<(), Diagnosis> {
        let Rule::Check(condition) = &constraint.rule else { return Ok(()) };
        let mut merging: Option<String> = None;
        condition.visit(&mut |part| {
            if let Condition::Column(name, _) = part {
                merging = merging.take().or_else(|| self.merging(name));
            }
        });
        match merging {
            None => Ok(()),
            Some(column) => Err(unsupported(&format!(
                "a condition on the text of column \"{column}\", which its store compares by other rules,"
            ))),
        }
    }

    /// The column, where texts of different bytes may be one in it.
    fn merging(&self, name: &str) -> Option<String> {
        let column = self.table.columns.iter().find(|column| column.name() == name)?;
        let is_loose = matches!(column.collation, Collation::Loose(_) | Collation::Native { .. });
        is_loose.then(|| name.to_owned())
    }

    fn unconstrain(&mut self, name: &Ident, if_exists: bool, behavior: Option<&DropBehavior>) -> Result<(), Diagnosis> {
        let shown = fold(name);
        let constraints = &self.setting.snapshot.objects.constraints;
        let found = constraints.iter().find(|known| known.table_oid == self.relation.oid && known.name == shown);
        let Some(found) = found else {
            let message = format!("constraint \"{shown}\" of relation \"{}\" does not exist", self.relation.name);
            if if_exists {
                self.notices.push(format!("{message}, skipping"));
                return Ok(());
            }
            return Err(Diagnosis::new(sqlstate::UNDEFINED_OBJECT, message));
        };
        let kind = match found.kind {
            Known::Primary => ConstraintKind::Primary,
            Known::Unique => ConstraintKind::Unique,
            Known::Foreign => ConstraintKind::Foreign,
            Known::Check => ConstraintKind::Check,
        };
        let cascades = matches!(behavior, Some(DropBehavior::Cascade));
        let name = self.native_name(&shown, (kind, found.index_oid));
        self.steps.push(Step::DropConstraint { name, kind, cascades });
        Ok(())
    }

    /// The store's own name: that of a key may be told otherwise where a name is taken.
    fn native_name(&self, shown: &str, (kind, index_oid): (ConstraintKind, u32)) -> String {
        let of_key = match kind {
            ConstraintKind::Primary => self.table.primary_key.as_ref().map(|key| key.name.clone()),
            ConstraintKind::Unique => {
                let indexes = &self.setting.snapshot.objects.indexes;
                let index = indexes.iter().find(|index| index.oid == index_oid);
                index.and_then(|index| native_name(index, self.table, indexes))
            }
            ConstraintKind::Check | ConstraintKind::Foreign => None,
        };
        of_key.filter(|name| !name.is_empty()).unwrap_or_else(|| shown.to_owned())
    }
}
