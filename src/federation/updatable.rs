//! Views through which rows are written: those that are some columns and rows of one table, or of another such view.
//!
//! What makes one is PostgreSQL's rule for automatically updatable views, less conditions and outputs with subqueries. Of views on views
//! one chain is made: the columns and conditions of the outermost in terms of the table.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, GroupByExpr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, TableFactor, Visit,
    VisitMut, Visitor, VisitorMut,
};

use super::ast::allowed::holds_query;
use super::ast::is_set_function;
use super::ast::name::fold;
use super::ast::row_name::is_row;
use super::plan::parse_query;
use super::views::path_of;
use crate::catalog::kept::CheckOption;
use crate::catalog::{QualifiedName, Relation, RelationBody, Snapshot};
use crate::error::{Diagnosis, sqlstate};

/// Most views that stand on one another, as in plans.
const DEPTH_MAX: usize = 32;

const NO_COLUMNS: &str = "Views that have no updatable columns are not automatically updatable.";

/// What makes one value of many rows.
pub type IsAggregate<'a> = &'a dyn Fn(&str) -> bool;

/// A column of a view.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// What it is of the table.
    pub of: Of,
}

/// What a column of a view is.
#[derive(Debug, Clone)]
pub enum Of {
    /// A column of the table.
    Column(String),
    /// Computed of its columns, which stand in it by their names alone.
    Computed(Box<Expr>),
}

/// A view down to its table.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The table, or what else ends the chain.
    pub base: Arc<Relation>,
    /// The columns of the view.
    pub columns: Vec<Output>,
    /// The conditions of all views.
    pub conditions: Vec<Expr>,
    /// Conditions that new rows must satisfy, each with its view.
    pub checks: Vec<(String, Expr)>,
    /// Whose the views are.
    pub owners: Vec<String>,
}

/// One view.
struct Layer {
    base: Arc<Relation>,
    columns: Vec<Output>,
    condition: Option<Expr>,
    check: CheckOption,
}

/// The relations that a statement writes to through what it names: the chain of a view, or `None` of anything else.
///
/// # Errors
/// 55000 for a view that is not one of some rows of one table, in PostgreSQL's words.
pub fn chain(
    verb: &str,
    relation: &Arc<Relation>,
    snapshot: &Snapshot,
    is_aggregate: IsAggregate<'_>,
) -> Result<Option<Chain>, Diagnosis> {
    if !is_plain(relation) {
        return Ok(None);
    }
    let mut chain =
        Chain { base: Arc::clone(relation), columns: Vec::new(), conditions: Vec::new(), checks: Vec::new(), owners: Vec::new() };
    let mut cascades = false;
    for depth in 0..=DEPTH_MAX {
        let view = Arc::clone(&chain.base);
        let Some(kept) = view.body.kept().filter(|_| is_plain(&view)) else { break };
        chain.owners.push(kept.owner.clone());
        let layer = layer(&view, snapshot, is_aggregate).map_err(|detail| refused(verb, &view, &detail))?;
        if depth == DEPTH_MAX {
            return Err(refused(verb, relation, "Too many views stand on one another."));
        }
        cascades = chain.descend(layer, (&view, cascades));
    }
    let is_written = chain.columns.iter().any(|column| matches!(column.of, Of::Column(_)));
    if !is_written && verb != "DELETE" {
        return Err(refused(verb, relation, NO_COLUMNS));
    }
    Ok(Some(chain))
}

/// Whether a relation is a view of a client through which rows may be written. Those of a materialized one are its own, and nobody's to write.
fn is_plain(relation: &Relation) -> bool {
    relation.body.kept().is_some() && relation.body.materialized().is_none()
}

/// Whether rows can be written through a view with this query, for a check option.
///
/// # Errors
/// 0A000
pub fn check_option(view: &Relation, snapshot: &Snapshot, is_aggregate: IsAggregate<'_>) -> Result<(), Diagnosis> {
    let has_columns = |layer: Layer| {
        let is_written = layer.columns.iter().any(|column| matches!(column.of, Of::Column(_)));
        if is_written { Ok(()) } else { Err(NO_COLUMNS.to_owned()) }
    };
    layer(view, snapshot, is_aggregate).and_then(has_columns).map_err(|detail| {
        let message = "WITH CHECK OPTION is supported only on automatically updatable views";
        Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_hint(detail)
    })
}

fn refused(verb: &str, view: &Relation, detail: &str) -> Diagnosis {
    let (done, doing, event) = match verb {
        "INSERT" => ("insert into", "inserting into", "INSERT"),
        "UPDATE" => ("update", "updating", "UPDATE"),
        _ => ("delete from", "deleting from", "DELETE"),
    };
    let message = format!("cannot {done} view \"{}\"", view.name);
    let hint = format!("Write to the tables that the view reads: there are no triggers or rules for {doing} a view ({event}).");
    Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message).with_detail(detail).with_hint(hint)
}

impl Chain {
    /// Puts what a view is made of in its place. Gives whether the conditions below must be checked too.
    fn descend(&mut self, layer: Layer, (view, cascades): (&Relation, bool)) -> bool {
        let Layer { base, columns, condition, check } = layer;
        let of = |name: &str| columns.iter().find(|column| column.name == name).map(|column| column.of.clone());
        if self.owners.len() == 1 {
            self.columns = columns.clone();
        } else {
            for column in &mut self.columns {
                column.of = match &column.of {
                    Of::Column(name) => of(name).unwrap_or_else(|| column.of.clone()),
                    Of::Computed(expr) => Of::Computed(Box::new(replaced(expr.as_ref().clone(), &of))),
                };
            }
            for known in self.conditions.iter_mut().chain(self.checks.iter_mut().map(|(_, condition)| condition)) {
                *known = replaced(known.clone(), &of);
            }
        }
        let checked = cascades || check != CheckOption::None;
        if let Some(condition) = condition {
            if checked {
                self.checks.push((view.name.clone(), condition.clone()));
            }
            self.conditions.push(condition);
        }
        self.base = base;
        cascades || check == CheckOption::Cascaded
    }
}

/// An expression with what its names stand for.
pub fn replaced(mut expr: Expr, of: &dyn Fn(&str) -> Option<Of>) -> Expr {
    struct Names<'o>(&'o dyn Fn(&str) -> Option<Of>);
    impl VisitorMut for Names<'_> {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            let Expr::Identifier(name) = expr else { return ControlFlow::Continue(()) };
            match (self.0)(&fold(name)) {
                Some(Of::Column(column)) => *expr = Expr::Identifier(Ident::with_quote('"', column)),
                Some(Of::Computed(inner)) => *expr = Expr::Nested(inner),
                None => {}
            }
            ControlFlow::Continue(())
        }
    }
    let _: ControlFlow<()> = VisitMut::visit(&mut expr, &mut Names(of));
    expr
}

/// One view by its query, or why nothing is written through it.
fn layer(view: &Relation, snapshot: &Snapshot, is_aggregate: IsAggregate<'_>) -> Result<Layer, String> {
    let not_single = || "Views that do not select from a single table or view are not automatically updatable.".to_owned();
    let kept = view.body.kept().ok_or_else(not_single)?;
    let query = parse_query(&kept.sql).map_err(|error| error.message)?;
    let select = plain(&query, is_aggregate).map_err(str::to_owned)?;
    let [from] = select.from.as_slice() else { return Err(not_single()) };
    let TableFactor::Table { name, alias, args: None, sample: None, with_ordinality: false, .. } = &from.relation else {
        return Err(not_single());
    };
    if !from.joins.is_empty() || alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
        return Err(not_single());
    }
    let base = snapshot.resolve(&qualified(name), path_of(view)).map_err(|error| error.message)?;
    let called = alias.as_ref().map_or_else(|| base.name.clone(), |alias| fold(&alias.name));
    let columns = columns_of(&base);
    let inner = Inner { called: &called, columns: &columns };
    let mut outputs: Vec<Of> = Vec::with_capacity(kept.columns.len());
    let others = select.projection.len().saturating_sub(1);
    for item in &select.projection {
        match item {
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                // The columns that the table had when the view was made stand where the star does.
                let end = kept.columns.len().checked_sub(others - outputs.len().min(others)).unwrap_or(kept.columns.len());
                let names = kept.columns.get(outputs.len()..end).unwrap_or_default();
                outputs.extend(names.iter().map(|column| Of::Column(column.inner.clone())));
            }
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => outputs.push(inner.output(expr)?),
            SelectItem::ExprWithAliases { .. } => return Err(not_single()),
        }
    }
    if outputs.len() != kept.columns.len() {
        return Err("Views that name all columns of their table beside others are not updatable here.".to_owned());
    }
    let named = kept.columns.iter().zip(outputs).map(|(column, of)| Output { name: column.name.clone(), of });
    let condition = select.selection.clone().map(|condition| inner.alone(condition)).transpose()?;
    Ok(Layer { columns: named.collect(), condition, check: kept.check, base })
}

/// The names of the columns of a table or view.
fn columns_of(relation: &Relation) -> Vec<String> {
    match &relation.body {
        RelationBody::Stored { table, .. } => table.columns.iter().map(|column| column.name().to_owned()).collect(),
        RelationBody::View { kept: Some(kept), .. } => kept.columns.iter().map(|column| column.name.clone()).collect(),
        RelationBody::View { columns, kept: None, .. } => columns.iter().map(|(name, _)| name.clone()).collect(),
        RelationBody::Rows(_) => Vec::new(),
    }
}

/// What the query of a view sees.
struct Inner<'i> {
    /// What it calls its table.
    called: &'i str,
    columns: &'i [String],
}

impl Inner<'_> {
    fn output(&self, expr: &Expr) -> Result<Of, String> {
        let expr = self.alone(expr.clone())?;
        Ok(match &expr {
            Expr::Identifier(name) if self.columns.contains(&fold(name)) => Of::Column(fold(name)),
            _ => Of::Computed(Box::new(expr)),
        })
    }

    /// Whether an expression is the whole row of the table.
    fn is_row(&self, expr: &Expr) -> bool {
        let is_column = matches!(expr, Expr::Identifier(_)) && self.columns.iter().any(|column| column == self.called);
        !is_column && is_row(expr, self.called)
    }

    /// The expression with columns by their names alone.
    fn alone(&self, mut expr: Expr) -> Result<Expr, String> {
        struct Bare<'b>(&'b Inner<'b>);
        impl VisitorMut for Bare<'_> {
            type Break = ();

            fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
                // Its table has another name in the statement.
                if self.0.is_row(expr) {
                    return ControlFlow::Break(());
                }
                let Expr::CompoundIdentifier(parts) = expr else { return ControlFlow::Continue(()) };
                let Some((name, before)) = parts.split_last() else { return ControlFlow::Break(()) };
                // Anything else is a part of a column.
                if before.last().map(fold).as_deref() != Some(self.0.called) || before.len() > 2 {
                    return ControlFlow::Break(());
                }
                *expr = Expr::Identifier(name.clone());
                ControlFlow::Continue(())
            }
        }
        if holds_query(&expr) {
            return Err("Views with subqueries are not updatable here.".to_owned());
        }
        match VisitMut::visit(&mut expr, &mut Bare(self)) {
            ControlFlow::Continue(()) => Ok(expr),
            ControlFlow::Break(()) => Err("Views with parts of columns, or whole rows, are not updatable here.".to_owned()),
        }
    }
}

/// The only SELECT of a query that changes nothing about which rows there are but by a condition.
fn plain<'q>(query: &'q Query, is_aggregate: IsAggregate<'_>) -> Result<&'q Select, &'static str> {
    let select = match query.body.as_ref() {
        SetExpr::Select(select) => select.as_ref(),
        SetExpr::SetOperation { .. } => {
            return Err("Views containing UNION, INTERSECT, or EXCEPT are not automatically updatable.");
        }
        _ => return Err("Views that do not select from a single table or view are not automatically updatable."),
    };
    let groups = match &select.group_by {
        GroupByExpr::Expressions(keys, modifiers) => !(keys.is_empty() && modifiers.is_empty()),
        GroupByExpr::All(_) => true,
    };
    let call = |kind: Call| select.projection.iter().any(|item| calls(item, kind, is_aggregate));
    let rules = [
        (select.distinct.is_some(), "Views containing DISTINCT are not automatically updatable."),
        (groups, "Views containing GROUP BY are not automatically updatable."),
        (select.having.is_some(), "Views containing HAVING are not automatically updatable."),
        (query.with.is_some(), "Views containing WITH are not automatically updatable."),
        (
            query.limit_clause.is_some() || query.fetch.is_some(),
            "Views containing LIMIT or OFFSET are not automatically updatable.",
        ),
        (call(Call::Aggregate), "Views that return aggregate functions are not automatically updatable."),
        (call(Call::Window), "Views that return window functions are not automatically updatable."),
        (call(Call::Set), "Views that return set-returning functions are not automatically updatable."),
    ];
    match rules.iter().find(|(is_there, _)| *is_there) {
        Some((_, rule)) => Err(*rule),
        None => Ok(select),
    }
}

/// What a function makes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Aggregate,
    Window,
    Set,
}

fn calls(item: &impl Visit, kind: Call, is_aggregate: IsAggregate<'_>) -> bool {
    struct Calls<'a>(Call, IsAggregate<'a>);
    impl Calls<'_> {
        fn is_one(&self, function: &Function) -> bool {
            let name = function.name.0.last().and_then(ObjectNamePart::as_ident).map(fold).unwrap_or_default();
            match self.0 {
                Call::Window => function.over.is_some(),
                Call::Aggregate => function.over.is_none() && (self.1)(&name),
                Call::Set => is_set_function(&name),
            }
        }
    }
    impl Visitor for Calls<'_> {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(function) if self.is_one(function) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    item.visit(&mut Calls(kind, is_aggregate)).is_break()
}

fn qualified(name: &ObjectName) -> QualifiedName {
    let mut parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(fold).collect();
    let relation = parts.pop().unwrap_or_default();
    QualifiedName { schema: parts.pop(), database: parts.pop(), relation }
}

/// A view that is not in the catalog yet, for [`check_option`].
pub fn unmade(kept: Arc<crate::catalog::kept::KeptView>) -> Relation {
    let (schema, name) = (kept.schema.clone(), kept.name.clone());
    let body = RelationBody::View { sql: kept.sql.clone(), columns: Vec::new(), kept: Some(kept) };
    Relation { oid: 0, schema, name, body }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::catalog::Schema;
    use crate::catalog::kept::{KeptColumn, KeptView};
    use crate::catalog::object::Objects;
    use crate::pgtype::PgType;

    /// Views of clients over one of the catalog directory with the columns `a` and `b`, which stands for a table.
    fn snapshot(views: &[(&str, &str, &[&str], CheckOption)]) -> Snapshot {
        let columns = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), PgType::INT4)).collect();
        let relation = |oid, name: &str, body| {
            let relation = Relation { oid, schema: "public".to_owned(), name: name.to_owned(), body };
            (name.to_owned(), Arc::new(relation))
        };
        let base = RelationBody::View { sql: "SELECT 1 AS a, 2 AS b".to_owned(), columns: columns(&["a", "b"]), kept: None };
        let mut relations: BTreeMap<String, Arc<Relation>> = BTreeMap::from([relation(1, "t", base)]);
        for (oid, (name, sql, names, check)) in (2..).zip(views) {
            let kept = KeptView {
                materialized: None,
                schema: "public".to_owned(),
                name: (*name).to_owned(),
                sql: (*sql).to_owned(),
                columns: names
                    .iter()
                    .map(|name| match name.split_once('>') {
                        Some((inner, name)) => KeptColumn { inner: inner.to_owned(), name: name.to_owned() },
                        None => KeptColumn { inner: (*name).to_owned(), name: (*name).to_owned() },
                    })
                    .collect(),
                owner: format!("owner of {name}"),
                check: *check,
            };
            let names: Vec<&str> = names.iter().map(|name| name.split_once('>').map_or(*name, |(_, name)| name)).collect();
            let body = RelationBody::View { sql: (*sql).to_owned(), columns: columns(&names), kept: Some(Arc::new(kept)) };
            relations.extend([relation(oid, name, body)]);
        }
        let public =
            Schema { name: "public".to_owned(), oid: 2200, store: None, namespace: String::new(), relations, unavailable: None };
        Snapshot {
            version: 1,
            database: "tributary".to_owned(),
            schemas: BTreeMap::from([("public".to_owned(), public)]),
            objects: Objects::default(),
            connectors: Arc::default(),
            reach: Arc::default(),
            retired: CancellationToken::new(),
        }
    }

    fn find(snapshot: &Snapshot, name: &str) -> Arc<Relation> {
        Arc::clone(&snapshot.schemas["public"].relations[name])
    }

    fn is_aggregate(name: &str) -> bool {
        name == "sum"
    }

    #[test]
    fn a_chain_speaks_of_the_table() {
        let snapshot = snapshot(&[
            (
                "inner",
                "SELECT b, a AS x, a + 1 AS more FROM public.t AS q WHERE q.a > 0",
                &["b", "a>x", "more"],
                CheckOption::Local,
            ),
            ("outer", "SELECT * FROM public.inner WHERE x < 9 AND more <> 3", &["b>c", "x", "more"], CheckOption::Cascaded),
        ]);
        let chain = chain("UPDATE", &find(&snapshot, "outer"), &snapshot, &is_aggregate).unwrap().unwrap();
        assert_eq!(chain.base.name, "t");
        let columns: Vec<String> = chain
            .columns
            .iter()
            .map(|column| match &column.of {
                Of::Column(name) => format!("{}={name}", column.name),
                Of::Computed(expr) => format!("{}={expr}", column.name),
            })
            .collect();
        assert_eq!(columns, ["c=b", "x=a", "more=a + 1"]);
        let conditions: Vec<String> = chain.conditions.iter().map(ToString::to_string).collect();
        assert_eq!(conditions, ["\"a\" < 9 AND (a + 1) <> 3", "a > 0"]);
        let checks: Vec<&str> = chain.checks.iter().map(|(view, _)| view.as_str()).collect();
        assert_eq!(checks, ["outer", "inner"]);
        assert_eq!(chain.owners, ["owner of outer", "owner of inner"]);
    }

    #[test]
    fn other_views_are_refused_in_the_words_of_postgres() {
        let rows = [
            ("SELECT DISTINCT a FROM public.t", "Views containing DISTINCT"),
            ("SELECT a FROM public.t GROUP BY a", "Views containing GROUP BY"),
            ("SELECT a FROM public.t UNION SELECT b FROM public.t", "Views containing UNION"),
            ("WITH q AS (SELECT 1) SELECT a FROM public.t", "Views containing WITH"),
            ("SELECT a FROM public.t LIMIT 1", "Views containing LIMIT"),
            ("SELECT sum(a) AS a FROM public.t", "Views that return aggregate"),
            ("SELECT sum(a) OVER () AS a FROM public.t", "Views that return window"),
            ("SELECT t.a FROM public.t, public.t AS u", "Views that do not select from a single"),
            ("VALUES (1)", "Views that do not select from a single"),
            ("SELECT a + 1 AS a FROM public.t", "Views that have no updatable columns"),
            ("SELECT a FROM public.t WHERE row_to_json(t) IS NOT NULL", "Views with parts of columns, or whole rows,"),
            ("SELECT a FROM public.t AS q WHERE to_json(q.*) IS NOT NULL", "Views with parts of columns, or whole rows,"),
        ];
        for (sql, expected) in rows {
            let snapshot = snapshot(&[("v", sql, &["a"], CheckOption::None)]);
            let error = chain("INSERT", &find(&snapshot, "v"), &snapshot, &is_aggregate).unwrap_err();
            assert_eq!(error.sqlstate, "55000", "{sql}");
            assert_eq!(error.message, "cannot insert into view \"v\"");
            assert!(error.detail.as_deref().is_some_and(|detail| detail.starts_with(expected)), "{sql}: {error:?}");
        }
        let snapshot = snapshot(&[]);
        assert!(chain("INSERT", &find(&snapshot, "t"), &snapshot, &is_aggregate).unwrap().is_none());
    }
}
