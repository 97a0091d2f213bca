//! Columns of a new table, or one that a table gets, with the rules that stand beside them.

use arrow::array::ArrayRef;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    CheckConstraint, ColumnDef, ColumnOption, ConstraintCharacteristics, DataType, Expr, ForeignKeyConstraint, GeneratedAs, Ident,
    IndexColumn, NullsDistinctOption, PrimaryKeyConstraint, ReferentialAction, SequenceOptions, TableConstraint, UniqueConstraint,
    Value,
};

use super::super::ast::name::fold;
use super::super::engine::Engine;
use super::super::error::diagnose;
use super::super::plan::{self, Setting};
use super::super::semantics::{is_assignable, number_type};
use super::condition;
use super::{Place, qualified, table_of, type_of, unsupported};
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;
use crate::stores::Table;
use crate::stores::cell::{Cells, write_text};
use crate::stores::define::{Identity, Initial, NewColumn, NewConstraint, Reference, Rule};
use crate::stores::schema::{Action, Key, TableId};

/// Columns and rules while a statement is read.
pub(super) struct Gathering<'s> {
    engine: &'s Engine,
    setting: &'s Setting,
    place: &'s Place,
    /// The columns that the table has already.
    known: Vec<(String, PgType)>,
    /// Its keys.
    keys: Keys,
    columns: Vec<NewColumn>,
    /// Rules are read when all columns are known.
    later: Vec<Later>,
}

/// What a table has that others may refer to.
#[derive(Debug, Clone, Default)]
struct Keys {
    /// The columns of its primary key.
    primary: Option<Vec<String>>,
    /// The columns of each of its other keys.
    unique: Vec<Vec<String>>,
}

impl Keys {
    fn of(table: &Table) -> Self {
        let named = |key: &Key| -> Vec<String> {
            let columns = key.columns.iter().filter_map(|at| table.columns.get(*at));
            columns.map(|column| column.name().to_owned()).collect()
        };
        Self { primary: table.primary_key.as_ref().map(named), unique: table.unique_keys.iter().map(named).collect() }
    }

    /// Whether a key has these columns, in any order.
    fn have(&self, columns: &[String]) -> bool {
        let is_same = |key: &Vec<String>| key.len() == columns.len() && columns.iter().all(|column| key.contains(column));
        self.primary.iter().chain(&self.unique).any(is_same)
    }
}

/// A rule that is not read yet.
#[derive(Debug, Clone)]
enum Later {
    PrimaryKey(Option<String>, Vec<String>),
    Unique(Option<String>, Vec<String>),
    Check(Option<String>, Box<Expr>),
    Foreign(Box<ForeignKeyConstraint>, Option<String>, Vec<String>),
}

impl<'s> Gathering<'s> {
    pub(super) fn new(engine: &'s Engine, setting: &'s Setting, place: &'s Place) -> Self {
        let (known, keys) = (Vec::new(), Keys::default());
        Self { engine, setting, place, known, keys, columns: Vec::new(), later: Vec::new() }
    }

    /// The same for a table that is there.
    pub(super) fn of(engine: &'s Engine, setting: &'s Setting, (place, table): (&'s Place, &Table)) -> Self {
        let known = table.columns.iter().map(|column| (column.name().to_owned(), column.pg_type())).collect();
        Self { known, keys: Keys::of(table), ..Self::new(engine, setting, place) }
    }

    fn type_of(&self, name: &str) -> Option<PgType> {
        let new = self.columns.iter().map(|column| (column.name.as_str(), column.pg_type));
        let known = self.known.iter().map(|(name, pg_type)| (name.as_str(), *pg_type));
        new.chain(known).find(|(column, _)| *column == name).map(|(_, pg_type)| pg_type)
    }

    /// Reads a column.
    ///
    /// # Errors
    /// 42701, 42704, 42601, 22P02 and others for its default, 0A000.
    pub(super) async fn column(&mut self, column: &ColumnDef) -> Result<(), Diagnosis> {
        let name = fold(&column.name);
        if self.columns.iter().any(|known| known.name == name) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(Diagnosis::new(sqlstate::DUPLICATE_COLUMN, message));
        }
        let (pg_type, mut identity) = match serial(&column.data_type) {
            Some(pg_type) => (pg_type, Some(Identity::Serial)),
            None => (type_of(&column.data_type)?, None),
        };
        let (mut is_required, mut is_nullable, mut default) = (identity.is_some(), false, None);
        for option in &column.options {
            match &option.option {
                ColumnOption::Null => is_nullable = true,
                ColumnOption::NotNull => is_required = true,
                ColumnOption::Default(expr) => default = self.default(&name, pg_type, expr).await?,
                ColumnOption::Generated { generated_as, generation_expr: None, sequence_options, .. } => {
                    identity = Some(numbered(*generated_as, sequence_options.as_deref().unwrap_or_default())?);
                    is_required = true;
                }
                other => self.later.push(rule_beside(&name, option.name.as_ref().map(fold), other)?),
            }
        }
        if is_nullable && is_required {
            let message = format!("conflicting NULL/NOT NULL declarations for column \"{name}\" of table \"{}\"", self.place.name);
            return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, message));
        }
        if identity.is_some() && default.is_some() {
            let message = format!("both default and identity specified for column \"{name}\" of table \"{}\"", self.place.name);
            return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, message));
        }
        if identity.is_some() && ![PgType::INT2, PgType::INT4, PgType::INT8].contains(&pg_type) {
            let message = "identity column type must be smallint, integer, or bigint";
            return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
        self.columns.push(NewColumn { name, pg_type, is_required, default, identity });
        Ok(())
    }

    /// A default: a constant, computed as a value of the column's type, or one of a few functions. NULL is none.
    ///
    /// # Errors
    /// As for the constant; 0A000 for other expressions.
    pub(super) async fn default(&self, name: &str, pg_type: PgType, expr: &Expr) -> Result<Option<Initial>, Diagnosis> {
        if let Some(known) = function(expr) {
            return match known {
                Initial::Now if ![PgType::TIMESTAMPTZ.oid, PgType::TIMESTAMP.oid].contains(&pg_type.oid) => {
                    Err(unsupported(&format!("this default of column \"{name}\"")))
                }
                Initial::Today if pg_type != PgType::DATE => Err(unsupported(&format!("this default of column \"{name}\""))),
                Initial::Uuid if pg_type != PgType::UUID => Err(unsupported(&format!("this default of column \"{name}\""))),
                known => Ok(Some(known)),
            };
        }
        let Some(own) = constant_type(expr)? else {
            return Err(unsupported(&format!("a default of column \"{name}\" that is no constant")));
        };
        if !is_assignable(&own.into(), &pg_type.into()) {
            let shown = |pg_type: PgType| PgType::with_typmod(pg_type.oid, -1);
            let (wanted, found) = (shown(pg_type), shown(own));
            let message = format!("column \"{name}\" is of type {wanted} but default expression is of type {found}");
            return Err(
                Diagnosis::new(sqlstate::DATATYPE_MISMATCH, message).with_hint("You will need to rewrite or cast the expression.")
            );
        }
        let settled = settled(pg_type);
        let types = [settled];
        let values = Box::pin(plan::constants(self.engine, self.setting, std::slice::from_ref(expr), &types)).await?;
        let Some(value) = values.first().filter(|value| !value.is_null()) else { return Ok(None) };
        text_of(value, settled).map(|text| Some(Initial::Value(text)))
    }

    /// Reads a rule that stands beside the columns.
    ///
    /// # Errors
    /// 0A000
    pub(super) fn constraint(&mut self, constraint: &TableConstraint) -> Result<(), Diagnosis> {
        let label = |name: &Option<Ident>| name.as_ref().map(fold);
        self.later.push(match constraint {
            TableConstraint::PrimaryKey(key) => {
                let PrimaryKeyConstraint { name, columns, characteristics, .. } = key;
                check_characteristics(characteristics.as_ref())?;
                Later::PrimaryKey(label(name), plain_columns(columns)?)
            }
            TableConstraint::Unique(key) => {
                check_unique(key)?;
                Later::Unique(label(&key.name), plain_columns(&key.columns)?)
            }
            TableConstraint::Check(CheckConstraint { name, expr, enforced: None | Some(true) }) => {
                Later::Check(label(name), expr.clone())
            }
            TableConstraint::ForeignKey(key) => {
                let columns = key.columns.iter().map(fold).collect();
                Later::Foreign(Box::new(key.clone()), label(&key.name), columns)
            }
            other => return Err(unsupported(&format!("the constraint {other}"))),
        });
        Ok(())
    }

    /// The columns and the rules, all of whose names are found.
    ///
    /// # Errors
    /// 42703, 42701, 42P16, 42P01, 42830, 0A000.
    pub(super) fn finish(mut self) -> Result<(Vec<NewColumn>, Vec<NewConstraint>), Diagnosis> {
        // Kept while they are read: a table may refer to itself.
        let later = self.later.clone();
        let mut constraints = Vec::with_capacity(later.len());
        for rule in later {
            constraints.push(self.read(rule)?);
        }
        let keys: Vec<&Vec<String>> = constraints
            .iter()
            .filter_map(|constraint| match &constraint.rule {
                Rule::PrimaryKey(columns) => Some(columns),
                _ => None,
            })
            .collect();
        if keys.len() > 1 {
            let message = format!("multiple primary keys for table \"{}\" are not allowed", self.place.name);
            return Err(Diagnosis::new(sqlstate::INVALID_TABLE_DEFINITION, message));
        }
        for column in &mut self.columns {
            column.is_required |= keys.iter().any(|key| key.contains(&column.name));
        }
        Ok((self.columns, constraints))
    }

    fn read(&self, rule: Later) -> Result<NewConstraint, Diagnosis> {
        let (name, rule) = match rule {
            Later::PrimaryKey(name, columns) => (name, Rule::PrimaryKey(self.key(columns, "primary key")?)),
            Later::Unique(name, columns) => (name, Rule::Unique(self.key(columns, "unique constraint")?)),
            Later::Check(name, expr) => (name, Rule::Check(condition::read(&expr, &|name| self.type_of(name))?)),
            Later::Foreign(key, name, columns) => (name, Rule::Foreign(self.reference(&key, columns)?)),
        };
        Ok(NewConstraint { name, rule })
    }

    fn key(&self, columns: Vec<String>, what: &str) -> Result<Vec<String>, Diagnosis> {
        for (place, column) in columns.iter().enumerate() {
            if self.type_of(column).is_none() {
                let message = format!("column \"{column}\" named in key does not exist");
                return Err(Diagnosis::new(sqlstate::UNDEFINED_COLUMN, message));
            }
            if columns.iter().take(place).any(|before| before == column) {
                let message = format!("column \"{column}\" appears twice in {what}");
                return Err(Diagnosis::new(sqlstate::DUPLICATE_COLUMN, message));
            }
        }
        Ok(columns)
    }

    fn reference(&self, key: &ForeignKeyConstraint, columns: Vec<String>) -> Result<Reference, Diagnosis> {
        check_characteristics(key.characteristics.as_ref())?;
        if key.match_kind.is_some() {
            return Err(unsupported("MATCH in REFERENCES"));
        }
        for column in &columns {
            if self.type_of(column).is_none() {
                let message = format!("column \"{column}\" referenced in foreign key constraint does not exist");
                return Err(Diagnosis::new(sqlstate::UNDEFINED_COLUMN, message));
            }
        }
        let (table, keys, has) = self.referenced(key)?;
        let mut referenced: Vec<String> = key.referred_columns.iter().map(fold).collect();
        if referenced.is_empty() {
            referenced = keys.primary.clone().ok_or_else(|| {
                let message = format!("there is no primary key for referenced table \"{}\"", table.name);
                Diagnosis::new(sqlstate::UNDEFINED_OBJECT, message)
            })?;
        }
        if let Some(missing) = referenced.iter().find(|column| !has.contains(column)) {
            let message = format!("column \"{missing}\" referenced in foreign key constraint does not exist");
            return Err(Diagnosis::new(sqlstate::UNDEFINED_COLUMN, message));
        }
        if referenced.len() != columns.len() {
            let message = "number of referencing and referenced columns for foreign key disagree";
            return Err(Diagnosis::new(sqlstate::INVALID_FOREIGN_KEY, message));
        }
        if !keys.have(&referenced) {
            let message = format!("there is no unique constraint matching given keys for referenced table \"{}\"", table.name);
            return Err(Diagnosis::new(sqlstate::INVALID_FOREIGN_KEY, message));
        }
        let (on_update, on_delete) = (action(key.on_update.as_ref()), action(key.on_delete.as_ref()));
        Ok(Reference { columns, table, referenced, on_update, on_delete })
    }

    /// The table that a key refers to, its keys and all of its columns.
    fn referenced(&self, key: &ForeignKeyConstraint) -> Result<(TableId, Keys, Vec<String>), Diagnosis> {
        let name = qualified(&key.foreign_table)?;
        let is_own = name.relation == self.place.name && name.schema.as_ref().is_none_or(|schema| *schema == self.place.schema);
        if is_own {
            let id = TableId { namespace: self.place.namespace.clone(), name: self.place.name.clone() };
            let keys = self.own_keys();
            let all = self.columns.iter().map(|column| column.name.clone());
            let all = all.chain(self.known.iter().map(|(name, _)| name.clone())).collect();
            return Ok((id, keys, all));
        }
        // A name without a schema is one of the schema that the table is made in, before the path is asked.
        let beside = name.schema.is_none().then(|| self.setting.snapshot.schemas.get(&self.place.schema));
        let beside = beside.flatten().and_then(|schema| schema.relations.get(&name.relation)).cloned();
        let relation = match beside {
            Some(relation) => relation,
            None => self.setting.snapshot.resolve(&name, &self.setting.path)?,
        };
        let (store, table) = table_of(&relation).map_err(|_other| {
            let message = format!("referenced relation \"{}\" is not a table", relation.name);
            Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, message)
        })?;
        if *store != self.place.store {
            let message = format!("a table of store \"{}\" cannot refer to one of store \"{store}\"", self.place.store);
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
        let all = table.columns.iter().map(|column| column.name().to_owned()).collect();
        Ok((table.id.clone(), Keys::of(table), all))
    }

    /// The keys that the table has or gets.
    fn own_keys(&self) -> Keys {
        let mut keys = self.keys.clone();
        for rule in &self.later {
            match rule {
                Later::PrimaryKey(_, columns) => keys.primary = Some(columns.clone()),
                Later::Unique(_, columns) => keys.unique.push(columns.clone()),
                Later::Check(..) | Later::Foreign(..) => {}
            }
        }
        keys
    }
}

/// A rule that stands behind its column.
fn rule_beside(name: &str, label: Option<String>, option: &ColumnOption) -> Result<Later, Diagnosis> {
    let columns = vec![name.to_owned()];
    Ok(match option {
        ColumnOption::PrimaryKey(key) => {
            check_characteristics(key.characteristics.as_ref())?;
            Later::PrimaryKey(label, columns)
        }
        ColumnOption::Unique(key) => {
            check_unique(key)?;
            Later::Unique(label, columns)
        }
        ColumnOption::Check(check) => Later::Check(label.or_else(|| check.name.as_ref().map(fold)), check.expr.clone()),
        ColumnOption::ForeignKey(key) => Later::Foreign(Box::new(key.clone()), label, columns),
        ColumnOption::Generated { .. } => return Err(unsupported("a column that is computed of others")),
        ColumnOption::Collation(_) => return Err(unsupported("COLLATE of a column")),
        other => return Err(unsupported(&format!("{other} of a column"))),
    })
}

/// `GENERATED … AS IDENTITY`
fn numbered(generated_as: GeneratedAs, options: &[SequenceOptions]) -> Result<Identity, Diagnosis> {
    match generated_as {
        _ if !options.is_empty() => Err(unsupported("a sequence with options")),
        GeneratedAs::Always => Ok(Identity::Always),
        GeneratedAs::ByDefault => Ok(Identity::ByDefault),
        GeneratedAs::ExpStored => Err(unsupported("a column that is computed of others")),
    }
}

/// `serial` and its like.
fn serial(data_type: &DataType) -> Option<PgType> {
    let DataType::Custom(name, modifiers) = data_type else { return None };
    if !modifiers.is_empty() {
        return None;
    }
    match name.to_string().to_lowercase().as_str() {
        "smallserial" | "serial2" => Some(PgType::INT2),
        "serial" | "serial4" => Some(PgType::INT4),
        "bigserial" | "serial8" => Some(PgType::INT8),
        _ => None,
    }
}

/// The functions that a default may call.
fn function(expr: &Expr) -> Option<Initial> {
    match expr {
        Expr::Nested(inner) => function(inner),
        Expr::Function(_) | Expr::Identifier(_) => match expr.to_string().to_lowercase().as_str() {
            "now()" | "current_timestamp" | "pg_catalog.now()" | "transaction_timestamp()" => Some(Initial::Now),
            "current_date" => Some(Initial::Today),
            "gen_random_uuid()" | "pg_catalog.gen_random_uuid()" => Some(Initial::Uuid),
            _ => None,
        },
        _ => None,
    }
}

/// The type that a constant with casts and a sign has by itself; `None` of anything else.
fn constant_type(expr: &Expr) -> Result<Option<PgType>, Diagnosis> {
    Ok(match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => Some(number_type(digits)),
            Value::Boolean(_) => Some(PgType::BOOL),
            Value::Placeholder(_) => None,
            _ => Some(PgType::UNKNOWN),
        },
        Expr::TypedString(typed) => Some(type_of(&typed.data_type)?),
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } => constant_type(inner)?,
        Expr::Cast { expr: inner, data_type, .. } => match constant_type(inner)? {
            Some(_) => Some(type_of(data_type)?),
            None => None,
        },
        _ => None,
    })
}

/// The type that a default is computed in. Digits behind the point are rounded as they are when a row gets them; a text that is too long
/// is refused then, and not cut here.
fn settled(pg_type: PgType) -> PgType {
    let rounded = [PgType::NUMERIC, PgType::TIMESTAMP, PgType::TIMESTAMPTZ];
    if rounded.iter().any(|known| known.oid == pg_type.oid) { pg_type } else { PgType::with_typmod(pg_type.oid, -1) }
}

/// A value as PostgreSQL writes it.
fn text_of(value: &ScalarValue, pg_type: PgType) -> Result<String, Diagnosis> {
    let array: ArrayRef = value.to_array_of_size(1).map_err(|error| diagnose(&error))?;
    let mut text = String::new();
    let cells = Cells::of(array.as_ref(), pg_type).ok_or_else(|| unsupported(&format!("a default of type {pg_type}")))?;
    write_text(&cells.get(0), pg_type, &mut text).map_err(|error| {
        let message = format!("a default {}", error.0);
        Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message)
    })?;
    Ok(text)
}

/// The names of columns that stand alone.
pub(super) fn plain_columns(columns: &[IndexColumn]) -> Result<Vec<String>, Diagnosis> {
    let name = |column: &IndexColumn| match &column.column.expr {
        Expr::Identifier(name) if column.operator_class.is_none() && column.column.options.asc.is_none() => Ok(fold(name)),
        _ => Err(unsupported("anything but names of columns in a key")),
    };
    columns.iter().map(name).collect()
}

fn check_characteristics(characteristics: Option<&ConstraintCharacteristics>) -> Result<(), Diagnosis> {
    match characteristics {
        Some(ConstraintCharacteristics { deferrable: None | Some(false), initially: None, enforced: None | Some(true) }) | None => {
            Ok(())
        }
        Some(_) => Err(unsupported("a constraint that is deferrable or not enforced")),
    }
}

fn check_unique(key: &UniqueConstraint) -> Result<(), Diagnosis> {
    check_characteristics(key.characteristics.as_ref())?;
    match key.nulls_distinct {
        NullsDistinctOption::None | NullsDistinctOption::Distinct => Ok(()),
        NullsDistinctOption::NotDistinct => Err(unsupported("NULLS NOT DISTINCT")),
    }
}

fn action(action: Option<&ReferentialAction>) -> Action {
    match action {
        None | Some(ReferentialAction::NoAction) => Action::NoAction,
        Some(ReferentialAction::Restrict) => Action::Restrict,
        Some(ReferentialAction::Cascade) => Action::Cascade,
        Some(ReferentialAction::SetNull) => Action::SetNull,
        Some(ReferentialAction::SetDefault) => Action::SetDefault,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    #[test]
    fn constants_have_types_of_their_own() {
        let own = |sql: &str| {
            let expr = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap();
            constant_type(&expr).unwrap()
        };
        let rows = [
            ("'x'", Some(PgType::UNKNOWN)),
            ("NULL", Some(PgType::UNKNOWN)),
            ("-(1)", Some(PgType::INT4)),
            ("1.5", Some(PgType::NUMERIC)),
            ("true", Some(PgType::BOOL)),
            ("'1'::bigint", Some(PgType::INT8)),
            ("DATE '2024-01-01'", Some(PgType::DATE)),
            ("$1", None),
            ("1 + 1", None),
            ("lower('X')", None),
        ];
        for (sql, expected) in rows {
            assert_eq!(own(sql), expected, "{sql}");
        }
    }

    #[test]
    fn keys_are_found_in_any_order() {
        let columns = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let keys = Keys { primary: Some(columns(&["a", "b"])), unique: vec![columns(&["c"])] };
        assert!(keys.have(&columns(&["b", "a"])) && keys.have(&columns(&["c"])));
        assert!(!keys.have(&columns(&["a"])) && !keys.have(&columns(&["a", "c"])));
    }
}
