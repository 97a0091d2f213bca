//! `SELECT … FOR UPDATE` and its like: which tables a query locks the rows of, and which queries may not.
//!
//! The rows are locked by the scans of those tables. What a scan reads is at least what the query gives back of its table; where a
//! condition is evaluated here, or a join drops rows, it is more.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, JoinOperator, ObjectName, ObjectNamePart, Query, Select, SetExpr, TableAlias, TableFactor,
    TableWithJoins, Visit, Visitor,
};

use super::ast::is_set_function;
use super::ast::locate::character_of;
use super::ast::name::fold;
use super::plan::{Setting, parse_query};
use super::views;
use crate::catalog::{QualifiedName, Relation, RelationBody, SearchPath};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::lock::RowLock;
use crate::stores::schema::TableKind;
use crate::stores::{StoreName, Table};

/// Most views that stand on one another, as in plans.
const VIEW_DEPTH_MAX: usize = 32;

/// One `FOR …` behind a query.
#[derive(Debug, Clone)]
pub struct Clause {
    /// How rows are locked.
    pub lock: RowLock,
    /// `OF`: of which relations; all without it.
    pub of: Vec<Ident>,
}

/// A query that locks rows.
#[derive(Debug, Clone)]
pub struct Locking {
    /// The query without its clauses.
    pub query: Box<Query>,
    /// The clauses, of which there is one at least.
    pub clauses: Vec<Clause>,
}

impl Locking {
    /// What it is called.
    pub fn verb(&self) -> &'static str {
        self.clauses.first().map_or("SELECT", |clause| clause.lock.strength.verb())
    }
}

/// A table whose rows are locked.
#[derive(Debug, Clone)]
pub struct Locked {
    /// It among the names of the catalog.
    pub relation: Arc<Relation>,
    /// The store that owns it.
    pub store: StoreName,
    /// The table as discovered.
    pub table: Arc<Table>,
    /// How.
    pub lock: RowLock,
}

/// The tables that a query locks, each once. It has been planned, so that its names are found.
///
/// # Errors
/// As PostgreSQL: 0A000 for queries whose rows are not those of tables, 42P01 for a name behind OF that is none of the query's, 42809 for
/// a materialized view, 42501 for a relation of the system.
pub fn tables(
    locking: &Locking,
    setting: &Setting,
    text: &str,
    is_aggregate: &dyn Fn(&str) -> bool,
) -> Result<Vec<Locked>, Diagnosis> {
    let mut finding = Finding { setting, is_aggregate, found: Vec::new() };
    for clause in &locking.clauses {
        let query = Level { query: &locking.query, with: &BTreeSet::new(), path: &setting.path, depth: 0 };
        let (items, with) = finding.items(&query, clause.lock)?;
        let level = Level { with: &with, ..query };
        if clause.of.is_empty() {
            finding.all(&items, &level, clause.lock)?;
        }
        for name in &clause.of {
            let position = character_of(text, name.span.start.line, name.span.start.column);
            let placed = |error: Diagnosis| error.with_position(position);
            let wanted = fold(name);
            let Some(item) = items.iter().find(|item| item.name.as_ref() == Some(&wanted)) else {
                let message = format!("relation \"{wanted}\" in {} clause not found in FROM clause", clause.lock.strength.words());
                return Err(placed(Diagnosis::new(sqlstate::UNDEFINED_TABLE, message)));
            };
            if let Some(what) = unlockable(item, &level) {
                return Err(placed(refused(clause.lock, &format!("cannot be applied to {what}"))));
            }
            finding.one(item, &level, clause.lock)?;
        }
    }
    Ok(finding.found)
}

fn refused(lock: RowLock, rule: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{} {rule}", lock.strength.words()))
}

/// A query, and what is around it.
#[derive(Clone, Copy)]
struct Level<'q, 'w> {
    query: &'q Query,
    /// Names of WITH queries that it sees.
    with: &'w BTreeSet<String>,
    path: &'w SearchPath,
    /// How many views and subqueries are around it.
    depth: usize,
}

/// What stands in FROM.
struct Item<'q> {
    /// What OF may call it.
    name: Option<String>,
    what: What<'q>,
    /// Whether an outer join may give NULLs for it.
    is_nullable: bool,
}

enum What<'q> {
    Relation(&'q ObjectName),
    Query(&'q Query),
    /// Something without rows of its own, in PostgreSQL's words.
    Other(&'static str),
}

struct Finding<'f> {
    setting: &'f Setting,
    is_aggregate: &'f dyn Fn(&str) -> bool,
    found: Vec<Locked>,
}

impl Finding<'_> {
    /// What stands in FROM of a query that may lock, and the names of WITH queries inside of it.
    fn items<'q>(&self, level: &Level<'q, '_>, lock: RowLock) -> Result<(Vec<Item<'q>>, BTreeSet<String>), Diagnosis> {
        let mut with = level.with.clone();
        with.extend(level.query.with.iter().flat_map(|with| &with.cte_tables).map(|table| fold(&table.alias.name)));
        let select = match level.query.body.as_ref() {
            SetExpr::Select(select) => select,
            SetExpr::Query(inner) => {
                let (items, inner_with) = self.items(&Level { query: inner, with: &with, ..*level }, lock)?;
                return Ok((items, inner_with));
            }
            SetExpr::Values(_) => return Err(refused(lock, "cannot be applied to VALUES")),
            _ => return Err(refused(lock, "is not allowed with UNION/INTERSECT/EXCEPT")),
        };
        if let Some(rule) = self.forbidding(level.query, select) {
            return Err(refused(lock, &format!("is not allowed with {rule}")));
        }
        let mut items = Vec::new();
        for from in &select.from {
            gather(from, false, &mut items);
        }
        Ok((items, with))
    }

    /// What of a query keeps its rows from being those of its tables.
    fn forbidding(&self, query: &Query, select: &Select) -> Option<&'static str> {
        if matches!(select.distinct, Some(Distinct::Distinct | Distinct::On(_))) {
            return Some("DISTINCT clause");
        }
        if !matches!(&select.group_by, GroupByExpr::Expressions(keys, modifiers) if keys.is_empty() && modifiers.is_empty()) {
            return Some("GROUP BY clause");
        }
        if select.having.is_some() {
            return Some("HAVING clause");
        }
        let calls = |is_output: bool| Calls { is_aggregate: self.is_aggregate, queries: 0, found: None, is_output };
        let (mut output, mut order) = (calls(true), calls(false));
        let _: ControlFlow<()> = Visit::visit(&select.projection, &mut output);
        let _: ControlFlow<()> = Visit::visit(&query.order_by, &mut order);
        output.found.max(order.found).map(Call::words)
    }

    /// Locks all that can be locked.
    fn all(&mut self, items: &[Item<'_>], level: &Level<'_, '_>, lock: RowLock) -> Result<(), Diagnosis> {
        for item in items {
            if unlockable(item, level).is_none() {
                self.one(item, level, lock)?;
            }
        }
        Ok(())
    }

    fn one(&mut self, item: &Item<'_>, level: &Level<'_, '_>, lock: RowLock) -> Result<(), Diagnosis> {
        if item.is_nullable {
            return Err(refused(lock, "cannot be applied to the nullable side of an outer join"));
        }
        match item.what {
            What::Relation(name) => {
                let relation = self.setting.snapshot.resolve(&qualified(name), level.path)?;
                self.relation(relation, level, lock)
            }
            What::Query(query) => self.below(&Level { query, depth: level.depth + 1, ..*level }, lock),
            What::Other(_) => Ok(()),
        }
    }

    /// All tables of a query in FROM, or of a view.
    fn below(&mut self, level: &Level<'_, '_>, lock: RowLock) -> Result<(), Diagnosis> {
        let (items, with) = self.items(level, lock)?;
        self.all(&items, &Level { with: &with, ..*level }, lock)
    }

    fn relation(&mut self, relation: Arc<Relation>, level: &Level<'_, '_>, lock: RowLock) -> Result<(), Diagnosis> {
        let (store, table) = match &relation.body {
            RelationBody::Stored { store, table } => (store.clone(), Arc::clone(table)),
            RelationBody::View { .. } if relation.body.materialized().is_some() => return Err(unlocked(&relation.name)),
            RelationBody::View { sql, .. } => {
                if level.depth >= VIEW_DEPTH_MAX {
                    let message = format!("view \"{}.{}\" stands on too many views", relation.schema, relation.name);
                    return Err(Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, message));
                }
                let query = parse_query(sql)?;
                let path = views::path_of(&relation);
                let inner = Level { query: &query, with: &BTreeSet::new(), path, depth: level.depth + 1 };
                return self.below(&inner, lock);
            }
            RelationBody::Rows(_) => {
                let message = format!("permission denied for table {}", relation.name);
                return Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, message)
                    .with_detail("Rows of system relations cannot be locked."));
            }
        };
        if table.kind == TableKind::MaterializedView {
            return Err(unlocked(&relation.name));
        }
        match self.found.iter_mut().find(|known| known.relation.oid == relation.oid) {
            Some(known) => known.lock = known.lock.and(lock),
            None => self.found.push(Locked { relation, store, table, lock }),
        }
        Ok(())
    }
}

fn unlocked(view: &str) -> Diagnosis {
    let message = format!("cannot lock rows in materialized view \"{view}\"");
    Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, message)
}

/// Why a thing in FROM has no rows that could be locked.
fn unlockable(item: &Item<'_>, level: &Level<'_, '_>) -> Option<&'static str> {
    match item.what {
        What::Relation(name) => is_with(name, level.with).then_some("a WITH query"),
        What::Query(query) => matches!(query.body.as_ref(), SetExpr::Values(_)).then_some("VALUES"),
        What::Other(words) => Some(words),
    }
}

fn is_with(name: &ObjectName, with: &BTreeSet<String>) -> bool {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => with.contains(&fold(name)),
        _ => false,
    }
}

fn qualified(name: &ObjectName) -> QualifiedName {
    let mut parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(fold).collect();
    let relation = parts.pop().unwrap_or_default();
    QualifiedName { schema: parts.pop(), database: parts.pop(), relation }
}

/// What a part of FROM consists of, with what its joins make of it.
fn gather<'q>(from: &'q TableWithJoins, is_nullable: bool, items: &mut Vec<Item<'q>>) {
    let start = items.len();
    item(&from.relation, is_nullable, items);
    for join in &from.joins {
        use JoinOperator::{FullOuter, Left, LeftOuter, Right, RightOuter};
        let left = items.len();
        if matches!(join.join_operator, Right(_) | RightOuter(_) | FullOuter(_)) {
            items.iter_mut().take(left).skip(start).for_each(|item| item.is_nullable = true);
        }
        let is_right_nullable = matches!(join.join_operator, Left(_) | LeftOuter(_) | FullOuter(_));
        item(&join.relation, is_nullable || is_right_nullable, items);
    }
}

fn item<'q>(factor: &'q TableFactor, is_nullable: bool, items: &mut Vec<Item<'q>>) {
    let called = |alias: &Option<TableAlias>| alias.as_ref().map(|alias| fold(&alias.name));
    let (name, what) = match factor {
        TableFactor::Table { name, alias, args: None, .. } => {
            let own = name.0.last().and_then(ObjectNamePart::as_ident).map(fold);
            (called(alias).or(own), What::Relation(name))
        }
        TableFactor::Derived { subquery, alias, .. } => (called(alias), What::Query(subquery)),
        TableFactor::NestedJoin { table_with_joins, alias } => {
            gather(table_with_joins, is_nullable, items);
            (called(alias), What::Other("a join"))
        }
        TableFactor::Table { name, alias, args: Some(_), .. } | TableFactor::Function { name, alias, .. } => {
            let own = name.0.last().and_then(ObjectNamePart::as_ident).map(fold);
            (called(alias).or(own), What::Other("a function"))
        }
        TableFactor::TableFunction { alias, .. } | TableFactor::UNNEST { alias, .. } => (called(alias), What::Other("a function")),
        _ => (None, What::Other("a table function")),
    };
    items.push(Item { name, what, is_nullable });
}

/// What a call is that makes other rows than those of tables; of several PostgreSQL tells of the first one here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Set,
    Window,
    Aggregate,
}

impl Call {
    fn words(self) -> &'static str {
        match self {
            Self::Aggregate => "aggregate functions",
            Self::Window => "window functions",
            Self::Set => "set-returning functions in the target list",
        }
    }
}

/// Looks for calls outside of subqueries.
struct Calls<'c> {
    is_aggregate: &'c dyn Fn(&str) -> bool,
    /// How many queries are around the expression.
    queries: usize,
    found: Option<Call>,
    /// Whether it looks at the select list.
    is_output: bool,
}

impl Visitor for Calls<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && self.queries == 0
        {
            let name = function.name.0.last().and_then(ObjectNamePart::as_ident).map(fold).unwrap_or_default();
            let call = if function.over.is_some() {
                Some(Call::Window)
            } else if (self.is_aggregate)(&name) {
                Some(Call::Aggregate)
            } else {
                (self.is_output && is_set_function(&name)).then_some(Call::Set)
            };
            self.found = self.found.max(call);
        }
        ControlFlow::Continue(())
    }
}
