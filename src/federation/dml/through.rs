//! Statements that write through a view, as statements on the table of the view.
//!
//! The table stands in the place of the view, under the view's name; the conditions of the view join that of the statement, and its columns
//! become the table's. What rows must satisfy afterwards comes back with RETURNING, and is looked at before the statement ends.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::sqlparser::ast::{
    AssignmentTarget, Delete, Expr, FromTable, Ident, Insert, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableAliasWithoutColumns, TableFactor, TableObject, TableWithJoins, Update, VisitMut,
    VisitorMut,
};
use futures::StreamExt;

use super::super::ast::name::fold;
use super::super::ast::row_name::{gives_row, is_row};
use super::super::ast::writing::Word;
use super::super::plan::parse_query;
use super::super::updatable::{Chain, Of, Output};
use super::scope::{all_of, quoted};
use super::target::{changed_by_delete, changed_by_update, named};
use super::{Dml, Write};
use crate::catalog::{Relation, RelationBody};
use crate::error::{Diagnosis, sqlstate};

/// What a statement on a view has become.
pub(super) struct Through {
    /// The statement on the table.
    pub(super) write: Write,
    /// The views whose conditions are the last columns that come back.
    pub(super) checks: Vec<String>,
    /// Whether the client asked for rows.
    pub(super) returns: bool,
}

/// Makes a statement on a view one on its table.
///
/// # Errors
/// 42703, 0A000 for columns that are computed and for names that could be meant otherwise.
pub(super) fn through(write: Write, view: &Relation, chain: &Chain) -> Result<Through, Diagnosis> {
    let Write { with, dml } = write;
    let rewriting = |alias: Option<&Ident>, has_others: bool| Rewriting {
        view,
        chain,
        called: alias.map_or_else(|| view.name.clone(), fold),
        has_others,
        hidden: hidden(chain),
    };
    let (dml, checks, returns) = match dml {
        Dml::Insert(mut insert) => {
            let alias = insert.table_alias.as_ref().map(|alias| alias.alias.clone());
            let names = rewriting(alias.as_ref(), false);
            names.insert(&mut insert)?;
            let (checks, returns) = names.back(&mut insert.returning, true)?;
            (Dml::Insert(insert), checks, returns)
        }
        Dml::Update(mut update) => {
            let alias = named(changed_by_update(&update))?.1.cloned();
            let names = rewriting(alias.as_ref(), update.from.is_some());
            names.update(&mut update)?;
            let (checks, returns) = names.back(&mut update.returning, true)?;
            (Dml::Update(update), checks, returns)
        }
        Dml::Delete(mut delete) => {
            let alias = named(changed_by_delete(&delete)?)?.1.cloned();
            let names = rewriting(alias.as_ref(), delete.using.is_some());
            names.delete(&mut delete)?;
            let (checks, returns) = names.back(&mut delete.returning, false)?;
            (Dml::Delete(delete), checks, returns)
        }
        Dml::Merge(_) => return Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "MERGE was let into a view")),
    };
    Ok(Through { write: Write { with, dml }, checks, returns })
}

/// Columns of the table that have no place in the view under their own names.
fn hidden(chain: &Chain) -> Vec<String> {
    let RelationBody::Stored { table, .. } = &chain.base.body else { return Vec::new() };
    let names = table.columns.iter().map(|column| column.name().to_owned());
    names.filter(|name| !chain.columns.iter().any(|column| column.name == *name)).collect()
}

/// One statement on its way.
struct Rewriting<'c> {
    view: &'c Relation,
    chain: &'c Chain,
    /// What the statement calls the view.
    called: String,
    /// Whether other tables stand beside the view.
    has_others: bool,
    hidden: Vec<String>,
}

/// What a name means.
enum Meaning {
    /// The same column of the table.
    Same,
    /// Another one, or something computed.
    Other(Of),
    /// Nothing: only the table has it.
    Nothing,
}

impl Rewriting<'_> {
    fn column(&self, name: &str) -> Option<&Output> {
        self.chain.columns.iter().find(|column| column.name == name)
    }

    fn meaning(&self, name: &str) -> Option<Meaning> {
        match self.column(name).map(|column| &column.of) {
            Some(Of::Column(base)) if base == name => Some(Meaning::Same),
            Some(of) => Some(Meaning::Other(of.clone())),
            None if self.hidden.iter().any(|hidden| hidden == name) => Some(Meaning::Nothing),
            None => None,
        }
    }

    /// `"called"."column"` for the columns of an expression over the table.
    fn qualified(&self, mut expr: Expr) -> Expr {
        struct Names<'n>(&'n str, &'n [String]);
        impl VisitorMut for Names<'_> {
            type Break = ();

            fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
                let Expr::Identifier(name) = expr else { return ControlFlow::Continue(()) };
                let name = fold(name);
                if self.1.contains(&name) {
                    *expr = Expr::CompoundIdentifier(vec![quoted(self.0), quoted(&name)]);
                }
                ControlFlow::Continue(())
            }
        }
        let columns: Vec<String> = match &self.chain.base.body {
            RelationBody::Stored { table, .. } => table.columns.iter().map(|column| column.name().to_owned()).collect(),
            RelationBody::View { .. } | RelationBody::Rows(_) => Vec::new(),
        };
        let _: ControlFlow<()> = VisitMut::visit(&mut expr, &mut Names(&self.called, &columns));
        expr
    }

    fn of(&self, of: &Of) -> Expr {
        match of {
            Of::Column(name) => Expr::CompoundIdentifier(vec![quoted(&self.called), quoted(name)]),
            Of::Computed(expr) => Expr::Nested(Box::new(self.qualified(expr.as_ref().clone()))),
        }
    }

    /// The name of a column that gets a value.
    fn assigned(&self, name: &ObjectName, verb: &str) -> Result<ObjectName, Diagnosis> {
        let mut parts = name.0.iter().map(|part| part.as_ident().map(fold));
        let first = parts.next().flatten().unwrap_or_default();
        let Some(column) = self.column(&first) else {
            let message = format!("column \"{first}\" of relation \"{}\" does not exist", self.view.name);
            return Err(Diagnosis::new(sqlstate::UNDEFINED_COLUMN, message));
        };
        let Of::Column(base) = &column.of else {
            let message = format!("cannot {verb} column \"{first}\" of view \"{}\"", self.view.name);
            let detail = "View columns that are not columns of their base relation are not updatable.";
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_detail(detail));
        };
        let mut parts = name.0.clone();
        if let Some(part) = parts.first_mut() {
            *part = ObjectNamePart::Identifier(quoted(base));
        }
        Ok(ObjectName(parts))
    }

    /// Rewrites the names in a part of the statement.
    fn names(&self, part: &mut impl VisitMut) -> Result<(), Diagnosis> {
        let mut visitor = Renaming { names: self, depth: 0 };
        match part.visit(&mut visitor) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(*error),
        }
    }

    fn table(&self) -> ObjectName {
        ObjectName::from(vec![quoted(&self.chain.base.schema), quoted(&self.chain.base.name)])
    }

    /// The table, under the name of the view.
    fn target(&self, item: &mut TableWithJoins) -> Result<(), Diagnosis> {
        let mut query = parse_query("SELECT 1 FROM a AS b")?;
        let SetExpr::Select(select) = query.body.as_mut() else { return Err(unparsed()) };
        let mut made = select.from.pop().ok_or_else(unparsed)?;
        let TableFactor::Table { name, alias: Some(alias), .. } = &mut made.relation else { return Err(unparsed()) };
        *name = self.table();
        alias.name = quoted(&self.called);
        *item = made;
        Ok(())
    }

    /// The condition of the statement with those of the views.
    fn condition(&self, own: Option<Expr>) -> Option<Expr> {
        let views = self.chain.conditions.iter().map(|condition| Expr::Nested(Box::new(self.qualified(condition.clone()))));
        all_of(views.chain(own.map(|own| Expr::Nested(Box::new(own)))))
    }

    fn insert(&self, insert: &mut Insert) -> Result<(), Diagnosis> {
        if insert.on.is_some() {
            return Err(unsupported("ON CONFLICT in an INSERT into a view"));
        }
        let is_word = |name: &ObjectName| Word::first_of(name).is_some();
        if insert.columns.iter().all(is_word) {
            let width = match &insert.source {
                None => 0,
                Some(query) => width(query).ok_or_else(|| unsupported("an INSERT into a view without the names of its columns"))?,
            };
            if width > self.chain.columns.len() {
                return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "INSERT has more expressions than target columns"));
            }
            let columns = self.chain.columns.iter().take(width).map(|column| ObjectName::from(vec![quoted(&column.name)]));
            drop(insert.columns.splice(0..0, columns));
        }
        // OVERRIDING … VALUE stands among them.
        for name in insert.columns.iter_mut().filter(|name| !is_word(name)) {
            *name = self.assigned(name, "insert into")?;
        }
        insert.table = TableObject::TableName(self.table());
        insert.table_alias = Some(TableAliasWithoutColumns { explicit: true, alias: quoted(&self.called) });
        Ok(())
    }

    fn update(&self, update: &mut Update) -> Result<(), Diagnosis> {
        for assignment in &mut update.assignments {
            match &mut assignment.target {
                AssignmentTarget::ColumnName(name) => *name = self.assigned(name, "update")?,
                AssignmentTarget::Tuple(names) => {
                    for name in names {
                        *name = self.assigned(name, "update")?;
                    }
                }
            }
            self.names(&mut assignment.value)?;
        }
        if let Some(from) = &mut update.from {
            self.names(from)?;
        }
        if let Some(condition) = &mut update.selection {
            self.names(condition)?;
        }
        update.selection = self.condition(update.selection.take());
        self.target(&mut update.table)
    }

    fn delete(&self, delete: &mut Delete) -> Result<(), Diagnosis> {
        for item in delete.using.iter_mut().flatten() {
            self.names(item)?;
        }
        if let Some(condition) = &mut delete.selection {
            self.names(condition)?;
        }
        delete.selection = self.condition(delete.selection.take());
        let FromTable::WithFromKeyword(from) = &mut delete.from else { return Err(unparsed()) };
        match from.as_mut_slice() {
            [item] => self.target(item),
            _ => Err(unparsed()),
        }
    }

    /// What comes back: what the client asked for, and behind it whether each condition is broken.
    fn back(&self, returning: &mut Option<Vec<SelectItem>>, adds_rows: bool) -> Result<(Vec<String>, bool), Diagnosis> {
        let returns = returning.is_some();
        let mut items = Vec::new();
        for item in returning.take().unwrap_or_default() {
            self.item(item, &mut items)?;
        }
        let mut checks = Vec::new();
        if adds_rows {
            for (place, (view, condition)) in self.chain.checks.iter().enumerate() {
                let condition = Expr::Nested(Box::new(self.qualified(condition.clone())));
                let expr = Expr::IsNotTrue(Box::new(condition));
                items.push(SelectItem::ExprWithAlias { expr, alias: quoted(&format!("condition {place} of the view")) });
                checks.push(view.clone());
            }
        }
        *returning = (returns || !checks.is_empty()).then_some(items);
        Ok((checks, returns))
    }

    /// An item of RETURNING, under the name that it has over the view.
    fn item(&self, item: SelectItem, items: &mut Vec<SelectItem>) -> Result<(), Diagnosis> {
        match item {
            SelectItem::Wildcard(_) if self.has_others => Err(unsupported("RETURNING * through a view beside other tables")),
            SelectItem::Wildcard(_) => {
                self.all(items);
                Ok(())
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) if self.is_called(&name) => {
                self.all(items);
                Ok(())
            }
            SelectItem::UnnamedExpr(mut expr) => {
                let name = name_of(&expr);
                self.names(&mut expr)?;
                items.push(match name {
                    Some(name) => SelectItem::ExprWithAlias { expr, alias: quoted(&name) },
                    None => SelectItem::UnnamedExpr(expr),
                });
                Ok(())
            }
            mut other => {
                self.names(&mut other)?;
                items.push(other);
                Ok(())
            }
        }
    }

    /// Whether a name before a star is that of the view.
    fn is_called(&self, name: &ObjectName) -> bool {
        matches!(name.0.as_slice(), [ObjectNamePart::Identifier(ident)] if fold(ident) == self.called)
    }

    /// Whether an expression is the whole row of the view, in whose place that of the table would come.
    fn is_row(&self, expr: &Expr) -> bool {
        let is_column = matches!(expr, Expr::Identifier(_)) && self.column(&self.called).is_some();
        !is_column && is_row(expr, &self.called)
    }

    /// Whether a name of the view or of its table is that of a document, whose parts are named behind it.
    fn is_document(&self, name: &str) -> bool {
        let RelationBody::Stored { table, .. } = &self.chain.base.body else { return false };
        let below = match self.column(name).map(|column| &column.of) {
            Some(Of::Column(base)) => base.as_str(),
            Some(Of::Computed(_)) | None => name,
        };
        let mut columns = table.columns.iter().filter(|column| [name, below].contains(&column.name()));
        columns.any(|column| matches!(column.field.data_type(), DataType::Struct(_)))
    }

    fn all(&self, items: &mut Vec<SelectItem>) {
        let columns = self.chain.columns.iter();
        items.extend(columns.map(|column| SelectItem::ExprWithAlias { expr: self.of(&column.of), alias: quoted(&column.name) }));
    }
}

fn unparsed() -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, "a statement on a view was not read as one")
}

fn unsupported(what: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{what} is not supported"))
}

/// How many columns the rows of an INSERT have, where that is plain to see.
fn width(query: &Query) -> Option<usize> {
    match query.body.as_ref() {
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        SetExpr::Select(select) => {
            let is_one = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
            select.projection.iter().all(is_one).then_some(select.projection.len())
        }
        _ => None,
    }
}

/// The column that gives an output its name.
fn name_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(fold(name)),
        Expr::CompoundIdentifier(parts) => parts.last().map(fold),
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => name_of(inner),
        _ => None,
    }
}

/// Names of columns of a view become those of its table.
struct Renaming<'r> {
    names: &'r Rewriting<'r>,
    /// How many queries are around.
    depth: usize,
}

impl Renaming<'_> {
    fn rename(&self, expr: &mut Expr) -> Result<(), Diagnosis> {
        if self.names.is_row(expr) {
            return Err(unsupported("the whole row of a view in a statement that writes through it"));
        }
        let (name, fields, is_qualified) = match expr {
            Expr::Identifier(name) => (fold(name), Vec::new(), false),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, name, fields @ ..] if fold(table) == self.names.called => (fold(name), fields.to_vec(), true),
                [name, fields @ ..] => (fold(name), fields.to_vec(), false),
                [] => return Ok(()),
            },
            _ => return Ok(()),
        };
        let is_alone = self.depth == 0 && !self.names.has_others;
        // Before a column of another table stands the name of that.
        if !fields.is_empty() && !is_qualified && !is_alone && !self.names.is_document(&name) {
            return Ok(());
        }
        let meaning = match self.names.meaning(&name) {
            None | Some(Meaning::Same) => return Ok(()),
            Some(meaning) => meaning,
        };
        // Inside of other queries, and beside other tables, a name may be theirs.
        if self.depth > 0 || (self.names.has_others && !is_qualified) {
            let message = format!("column \"{name}\" of view \"{}\" cannot be told from those around it", self.names.view.name);
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
                .with_detail("It has another name in the table of the view, or is no column of the view.")
                .with_hint("Qualify it, or write to the table."));
        }
        match meaning {
            Meaning::Other(Of::Column(base)) => {
                let parts = [quoted(&self.names.called), quoted(&base)].into_iter().chain(fields);
                *expr = Expr::CompoundIdentifier(parts.collect());
            }
            Meaning::Other(of) if fields.is_empty() => *expr = self.names.of(&of),
            Meaning::Other(_) => return Err(unsupported("a part of what a view computes")),
            Meaning::Nothing | Meaning::Same => {
                return Err(Diagnosis::new(sqlstate::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")));
            }
        }
        Ok(())
    }
}

impl VisitorMut for Renaming<'_> {
    type Break = Box<Diagnosis>;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        if gives_row(select, &self.names.called) {
            let error = unsupported("the whole row of a view in a statement that writes through it");
            return ControlFlow::Break(Box::new(error));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        self.rename(expr).map_or_else(|error| ControlFlow::Break(Box::new(error)), ControlFlow::Continue)
    }
}

/// The rows that the client asked for, after a look at what the conditions of the views say of each.
///
/// # Errors
/// 44000 for a row that breaks one.
pub(super) fn checked(stream: SendableRecordBatchStream, checks: Arc<[String]>) -> SendableRecordBatchStream {
    let fields = stream.schema().fields().clone();
    let shown: Vec<usize> = (0..fields.len().saturating_sub(checks.len())).collect();
    let schema = Arc::new(Schema::new(fields.iter().take(shown.len()).cloned().collect::<Vec<_>>()));
    let rows = stream.map(move |batch: Result<RecordBatch, DataFusionError>| -> Result<RecordBatch, DataFusionError> {
        let batch = batch?;
        if let Some(view) = first_broken(&batch, (shown.len(), checks.as_ref())) {
            let message = format!("new row violates check option for view \"{view}\"");
            return Err(Diagnosis::new(sqlstate::WITH_CHECK_OPTION_VIOLATION, message).into());
        }
        batch.project(&shown).map_err(DataFusionError::from)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// The view whose condition the first bad row breaks; of several the one that is nearest to the table, as PostgreSQL looks at them.
fn first_broken<'c>(batch: &RecordBatch, (start, checks): (usize, &'c [String])) -> Option<&'c String> {
    let broken = checks.iter().enumerate().rev().filter_map(|(place, view)| {
        let column = batch.columns().get(start + place).and_then(|column| column.as_boolean_opt());
        let is_broken = |row: &usize| column.is_none_or(|column| column.is_null(*row) || column.value(*row));
        (0..batch.num_rows()).find(is_broken).map(|row| (row, view))
    });
    // The first of equal ones is the nearest.
    broken.min_by_key(|(row, _)| *row).map(|(_, view)| view)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, BooleanArray};

    use super::*;

    #[test]
    fn the_first_bad_row_tells_the_view_that_is_nearest_to_the_table() {
        let column = |values: Vec<bool>| Arc::new(BooleanArray::from(values)) as ArrayRef;
        let told = |outer: Vec<bool>, inner: Vec<bool>| {
            let batch = RecordBatch::try_from_iter([("outer", column(outer)), ("inner", column(inner))]).unwrap();
            let checks = ["outer".to_owned(), "inner".to_owned()];
            first_broken(&batch, (0, checks.as_slice())).cloned()
        };
        assert_eq!(told(vec![false, false], vec![false, false]), None);
        assert_eq!(told(vec![false, true], vec![false, false]).as_deref(), Some("outer"));
        assert_eq!(told(vec![true, false], vec![true, false]).as_deref(), Some("inner"));
        assert_eq!(told(vec![true, false], vec![false, true]).as_deref(), Some("outer"));
    }
}
