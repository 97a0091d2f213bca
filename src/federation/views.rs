//! Views that clients make: the names in their queries, their columns, and which relations they read.
//!
//! A view means the relations that it named when it was made, whatever the search path of a session is later: its text is kept with the
//! schema before every name. Its columns are those that it had then: a column that a table gets later is none of a `SELECT *`.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::ptr;
use std::sync::Arc;

use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Query, Visit, Visitor};

use super::ast::locate::character_of;
use super::ast::name::fold;
use super::ast::visible;
use super::context::check_distinct;
use super::engine::Engine;
use super::error::diagnose;
use super::output::OutputColumn;
use super::plan::{self, Setting, parse_query};
use crate::catalog::kept::{KeptColumn, KeptView};
use crate::catalog::keyword::quote_identifier;
use crate::catalog::{QualifiedName, Relation, RelationBody, SearchPath, Snapshot};
use crate::error::{Diagnosis, sqlstate};
use crate::task::OwnedTask;

/// Most views that stand on one another, as in plans.
const VIEW_DEPTH_MAX: usize = 32;

/// A view of the catalog directory means the same to all sessions.
static OF_DIRECTORY: SearchPath = SearchPath::Default;
/// In the text of a view that a client has made every name has its schema.
static OF_CLIENTS: SearchPath = SearchPath::Named(Vec::new());

/// Where the names in the query of a view are looked up.
pub(super) fn path_of(view: &Relation) -> &'static SearchPath {
    if view.body.kept().is_some() { &OF_CLIENTS } else { &OF_DIRECTORY }
}

/// The planned query of a view with the columns that the view has.
///
/// # Errors
/// 42703 for a column that the query does not give any more.
pub(super) fn outputs(plan: LogicalPlan, kept: &KeptView) -> Result<LogicalPlan, Diagnosis> {
    let given: Vec<&str> = plan.schema().fields().iter().map(|field| visible(field.name())).collect();
    let is_same = given.len() == kept.columns.len() && given.iter().zip(&kept.columns).all(|(name, column)| *name == column.inner);
    if is_same && kept.columns.iter().all(|column| column.inner == column.name) {
        return named(plan);
    }
    let names = plan.schema().columns();
    let mut outputs = Vec::with_capacity(kept.columns.len());
    for (place, column) in kept.columns.iter().enumerate() {
        let found = if is_same { Some(place) } else { only(&given, &column.inner) };
        let Some(name) = found.and_then(|place| names.get(place)) else {
            let message = format!("column \"{}\" does not exist", column.inner);
            return Err(
                Diagnosis::new(sqlstate::UNDEFINED_COLUMN, message).with_detail("The view has it from the time when it was made.")
            );
        };
        outputs.push(Expr::Column(name.clone()).alias(&column.name));
    }
    let projection = Projection::try_new(outputs, Arc::new(plan)).map_err(|error| diagnose(&error))?;
    Ok(LogicalPlan::Projection(projection))
}

/// The planned query of a view whose columns have the names that they are shown with: a star over USING gives some of them others.
///
/// # Errors
/// What the engine says of the plan.
pub(super) fn named(plan: LogicalPlan) -> Result<LogicalPlan, Diagnosis> {
    if plan.schema().fields().iter().all(|field| visible(field.name()) == field.name()) {
        return Ok(plan);
    }
    let outputs = plan.schema().columns().into_iter().map(|column| {
        let name = visible(column.name()).to_owned();
        Expr::Column(column).alias(name)
    });
    let outputs = outputs.collect();
    let projection = Projection::try_new(outputs, Arc::new(plan)).map_err(|error| diagnose(&error))?;
    Ok(LogicalPlan::Projection(projection))
}

/// The place of a name that stands once.
fn only(names: &[&str], wanted: &str) -> Option<usize> {
    let mut places = names.iter().enumerate().filter(|(_, name)| **name == wanted).map(|(place, _)| place);
    places.next().filter(|_| places.next().is_none())
}

/// What a new view is.
#[derive(Debug, Clone)]
pub struct Described {
    /// Its query with the schema before every name.
    pub sql: String,
    /// Its columns.
    pub columns: Vec<KeptColumn>,
    /// The same as they are planned.
    pub outputs: Vec<OutputColumn>,
}

/// Plans the query of a new view, aside from the threads that serve connections. `names` are those that the statement gives its
/// columns; the others keep theirs.
///
/// # Errors
/// As for a query, with places in its text; 42701 for a name given twice, 42601 for more names than columns.
pub async fn describe_aside(engine: &Engine, setting: &Setting, sql: &str, names: &[String]) -> Result<Described, Diagnosis> {
    let place = engine.planner().await;
    let (engine, setting, sql, names) = (engine.clone(), setting.clone(), sql.to_owned(), names.to_vec());
    let work = move || {
        let described = describe(&engine, &setting, &sql, &names);
        drop(place);
        described
    };
    let described = OwnedTask::spawn_blocking(work).join().await;
    described.unwrap_or_else(|| Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "planning ended without a result")))
}

fn describe(engine: &Engine, setting: &Setting, sql: &str, names: &[String]) -> Result<Described, Diagnosis> {
    let outputs = plan::outputs(engine, setting, sql)?;
    if names.len() > outputs.len() {
        let message = "CREATE VIEW specifies more column names than columns";
        return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, message));
    }
    let named = |(place, output): (usize, &OutputColumn)| KeptColumn {
        inner: output.name.clone(),
        name: names.get(place).unwrap_or(&output.name).clone(),
    };
    let columns: Vec<KeptColumn> = outputs.iter().enumerate().map(named).collect();
    check_distinct(columns.iter().map(|column| column.name.as_str()))?;
    let sql = qualified(sql, &setting.snapshot, &setting.path)?;
    Ok(Described { sql, columns, outputs })
}

/// The text of a query with the schema before every name of a relation that has none.
fn qualified(sql: &str, snapshot: &Snapshot, path: &SearchPath) -> Result<String, Diagnosis> {
    let query = parse_query(sql)?;
    let mut insertions: Vec<(usize, String)> = Vec::new();
    for name in names_of(&query) {
        let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else { continue };
        // Functions are named like relations, and belong to no schema of ours.
        let Ok(relation) = snapshot.resolve(&qualified_name(&name), path) else { continue };
        let place = character_of(sql, ident.span.start.line, ident.span.start.column).ok_or_else(|| {
            let message = "a name in the query of the view has no place in its text";
            Diagnosis::new(sqlstate::INTERNAL_ERROR, message)
        })?;
        insertions.push((place, format!("{}.", quote_identifier(&relation.schema))));
    }
    insertions.sort();
    insertions.dedup();
    let mut insertions = insertions.into_iter().peekable();
    let mut written = String::with_capacity(sql.len());
    for (place, letter) in sql.chars().enumerate() {
        while let Some((_, schema)) = insertions.next_if(|(at, _)| *at == place + 1) {
            written.push_str(&schema);
        }
        written.push(letter);
    }
    Ok(written)
}

fn qualified_name(name: &ObjectName) -> QualifiedName {
    let mut parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(fold).collect();
    let relation = parts.pop().unwrap_or_default();
    QualifiedName { schema: parts.pop(), database: parts.pop(), relation }
}

/// The names of relations in a query that are not those of its WITH queries, in the order of the text or nearly so.
pub(super) fn names_of(query: &Query) -> Vec<ObjectName> {
    let mut names = Names::default();
    let _: ControlFlow<()> = query.visit(&mut names);
    names.found
}

/// Walks a query with the WITH queries that each of its parts sees.
#[derive(Default)]
struct Names {
    around: Vec<Frame>,
    found: Vec<ObjectName>,
}

/// A query that is being walked.
struct Frame {
    /// Its WITH queries: which they are, and their names.
    with: Vec<(*const Query, String)>,
    /// How many of them are seen where the walk is.
    seen: usize,
    is_recursive: bool,
}

impl Frame {
    fn place(&self, query: &Query) -> Option<usize> {
        self.with.iter().position(|(known, _)| ptr::eq(*known, query))
    }
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let Some(frame) = self.around.last_mut()
            && let Some(place) = frame.place(query)
        {
            frame.seen = if frame.is_recursive { frame.with.len() } else { place };
        }
        let named = |name: &Ident, query: &Query| (ptr::from_ref(query), fold(name));
        let with = query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| named(&cte.alias.name, &cte.query));
        let with: Vec<(*const Query, String)> = with.collect();
        let seen = with.len();
        self.around.push(Frame { with, seen, is_recursive: query.with.as_ref().is_some_and(|with| with.recursive) });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.around.pop();
        if let Some(frame) = self.around.last_mut()
            && let Some(place) = frame.place(query)
        {
            frame.seen = if frame.is_recursive || place + 1 == frame.with.len() { frame.with.len() } else { place + 1 };
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        let is_with = match name.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] => {
                let name = fold(ident);
                self.around.iter().any(|frame| frame.with.iter().take(frame.seen).any(|(_, known)| *known == name))
            }
            _ => false,
        };
        if !is_with {
            self.found.push(name.clone());
        }
        ControlFlow::Continue(())
    }
}

/// The relations that a view names, each once.
pub fn reads(snapshot: &Snapshot, view: &Relation) -> Vec<Arc<Relation>> {
    let RelationBody::View { sql, .. } = &view.body else { return Vec::new() };
    let Ok(query) = parse_query(sql) else { return Vec::new() };
    let mut found: Vec<Arc<Relation>> = Vec::new();
    for name in names_of(&query) {
        if let Ok(relation) = snapshot.resolve(&qualified_name(&name), path_of(view))
            && !found.iter().any(|known| known.oid == relation.oid)
        {
            found.push(relation);
        }
    }
    found
}

/// The views that read a relation themselves, in the order of their names.
pub fn readers_of(snapshot: &Snapshot, relation: &Relation) -> Vec<Arc<Relation>> {
    let relations = snapshot.schemas.values().flat_map(|schema| schema.relations.values());
    let views = relations.filter(|view| matches!(view.body, RelationBody::View { .. }));
    views.filter(|view| reads(snapshot, view).iter().any(|read| read.oid == relation.oid)).cloned().collect()
}

/// A view, and the relation that it reads.
pub type Reader = (Arc<Relation>, Arc<Relation>);

/// The views that would be gone with some relations, each after those that it stands on, with the relation that each reads.
///
/// # Errors
/// 54001 where they stand on one another too deep.
pub fn gone_with(snapshot: &Snapshot, relations: &[Arc<Relation>]) -> Result<Vec<Reader>, Diagnosis> {
    let mut seen: BTreeSet<u32> = relations.iter().map(|relation| relation.oid).collect();
    let (mut found, mut level) = (Vec::new(), relations.to_vec());
    for _ in 0..=VIEW_DEPTH_MAX {
        let mut next = Vec::new();
        for relation in &level {
            for view in readers_of(snapshot, relation) {
                if seen.insert(view.oid) {
                    next.push(Arc::clone(&view));
                    found.push((view, Arc::clone(relation)));
                }
            }
        }
        if next.is_empty() {
            return Ok(found);
        }
        level = next;
    }
    Err(Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, "views stand on one another too deep"))
}

/// Whether a view may name a column of a relation that it reads: it has the word, or asks for all columns.
pub fn may_name(view: &Relation, column: &str) -> bool {
    struct Words<'c>(&'c str);
    impl Visitor for Words<'_> {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &datafusion::sql::sqlparser::ast::Expr) -> ControlFlow<()> {
            use datafusion::sql::sqlparser::ast::Expr;
            let is_named = match expr {
                Expr::Identifier(ident) => fold(ident) == self.0,
                Expr::CompoundIdentifier(parts) => parts.iter().any(|part| fold(part) == self.0),
                Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => true,
                _ => false,
            };
            if is_named { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }

        fn pre_visit_select(&mut self, select: &datafusion::sql::sqlparser::ast::Select) -> ControlFlow<()> {
            use datafusion::sql::sqlparser::ast::SelectItem;
            let is_all = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
            if select.projection.iter().any(is_all) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    let RelationBody::View { sql, .. } = &view.body else { return false };
    let Ok(query) = parse_query(sql) else { return true };
    // What USING, NATURAL and TABLE name is in no expression.
    let text = sql.to_lowercase();
    let has_word = ["using", "natural", "table"].iter().any(|word| text.contains(word));
    has_word || query.visit(&mut Words(column)).is_break()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sql: &str) -> Vec<String> {
        names_of(&parse_query(sql).unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_of_with_queries_are_not_those_of_relations() {
        assert_eq!(names("SELECT * FROM a JOIN s.b ON true"), ["a", "s.b"]);
        assert_eq!(names("WITH a AS (SELECT * FROM a) SELECT * FROM a"), ["a"], "the inner one is a table");
        assert_eq!(names("WITH RECURSIVE a AS (SELECT 1 UNION SELECT 1 FROM a) SELECT * FROM a"), Vec::<String>::new());
        assert_eq!(names("WITH a AS (SELECT 1 FROM b), b AS (SELECT 1 FROM a) SELECT * FROM b, c"), ["b", "c"]);
        assert_eq!(
            names("SELECT 1 FROM x WHERE EXISTS (WITH y AS (SELECT 1 FROM z) SELECT 1 FROM y, x) AND 1 IN (SELECT 1 FROM y)"),
            ["x", "z", "x", "y"]
        );
        assert_eq!(names("WITH a AS (SELECT 1) SELECT * FROM s.a"), ["s.a"]);
    }

    #[test]
    fn a_name_is_found_where_it_stands_once() {
        assert_eq!(only(&["a", "b"], "b"), Some(1));
        assert_eq!(only(&["a", "a"], "a"), None);
        assert_eq!(only(&["a"], "c"), None);
    }
}
