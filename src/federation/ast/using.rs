//! `JOIN … USING (id)` and NATURAL JOIN become joins with a condition, and the one column `id` that they show is written out.
//!
//! The planner keeps both columns, calls a plain `id` ambiguous in WHERE, and shows either side's in `*`, which is wrong for
//! outer joins. PostgreSQL shows the columns of the last USING first, then those of the joins below it, in the common type of both
//! sides: the column that keeps its rows, `COALESCE(left, right)` in a full join, and in an inner one the first column that has the
//! type and its modifier already, or the left one (`buildMergedJoinVar` in its parse analysis; manual, "Joined Tables"). Joins whose
//! columns cannot be placed without knowing more of the tables are refused where the planner would show other values or another order,
//! and left to it elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExceptSelectItem, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, OrderByKind,
    Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
    WildcardAdditionalOptions,
};

use super::dialect::call_with;
use super::name::figure_name;
use super::whole_row::Relations;
use crate::error::{Diagnosis, sqlstate};

/// The functions that resolution takes for the column of an inner join, which is one of two in their common type, and for that of a
/// left or right join, which is always the first; no client can call them.
pub(super) const MERGED: &str = "pg_merged";
pub(super) const MERGED_FIRST: &str = "pg_merged_first";

/// Rewrites the joins of one query, not those of the queries inside it.
///
/// # Errors
/// 0A000 for joins whose columns cannot be placed.
pub(super) fn rewrite(query: &mut Query, relations: &Relations<'_>) -> Result<(), Diagnosis> {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return in_sides(&mut query.body, relations);
    };
    let Some(merged) = in_select(select, relations)? else { return Ok(()) };
    let shown: Vec<Ident> = select.projection.iter().filter_map(alias).cloned().collect();
    if let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|order| &mut order.kind) {
        // A name of ORDER BY is an output column if there is one, and a column inside an expression.
        let is_output = |key: &Expr| match without_nesting(key) {
            Expr::Identifier(name) => shown.iter().any(|ident| fold(ident) == fold(name)),
            _ => false,
        };
        for key in keys.iter_mut().filter(|key| !is_output(&key.expr)) {
            replace(&mut key.expr, &merged);
        }
    }
    Ok(())
}

fn in_sides(body: &mut SetExpr, relations: &Relations<'_>) -> Result<(), Diagnosis> {
    match body {
        SetExpr::Select(select) => in_select(select, relations).map(drop),
        SetExpr::SetOperation { left, right, .. } => {
            in_sides(left, relations)?;
            in_sides(right, relations)
        }
        _ => Ok(()),
    }
}

fn without_nesting(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// A column of USING.
#[derive(Clone)]
struct Merged {
    name: Ident,
    /// What it is, in the common type of the columns that it is made of.
    shown: Expr,
    /// A column with the same values, for the conditions of joins, of which there may be many.
    key: Expr,
    /// Places of the relations that have it.
    sides: BTreeSet<usize>,
}

/// A relation of a FROM item.
struct Side {
    name: Vec<Ident>,
    columns: Option<Vec<String>>,
}

impl Side {
    /// Whether it is known to have a column.
    fn has(&self, name: &str) -> bool {
        self.columns.iter().flatten().any(|known| known == name)
    }
}

/// The joins of a FROM item, with their columns in place.
#[derive(Default)]
struct Placed {
    sides: Vec<Side>,
    merged: BTreeMap<String, Merged>,
    /// The merged columns as `*` shows them.
    order: Vec<String>,
    /// The conditions of the joins; `None` for one that stays as it is.
    conditions: Vec<Option<Expr>>,
}

fn in_select(select: &mut Select, relations: &Relations<'_>) -> Result<Option<BTreeMap<String, Merged>>, Diagnosis> {
    if joins_by_name(&select.from).is_empty() {
        return Ok(None);
    }
    select.from.iter_mut().for_each(without_parentheses);
    let Some(parts) = select.from.iter().map(|from| placed(from, relations)).collect::<Option<Vec<_>>>() else {
        if shows_all(select) || joins_by_name(&select.from).into_iter().any(is_outer) {
            let message = "JOIN with USING or NATURAL is not supported here: the columns of its relations are not known";
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
                .with_hint("Name the relations with AS, or write the join with ON."));
        }
        return Ok(None);
    };
    for (from, part) in select.from.iter_mut().zip(&parts) {
        for (join, condition) in from.joins.iter_mut().zip(&part.conditions) {
            if let (Some(condition), Some(constraint)) = (condition, constraint_mut(&mut join.join_operator)) {
                *constraint = JoinConstraint::On(condition.clone());
            }
        }
    }
    let mut merged: BTreeMap<String, Merged> = BTreeMap::new();
    let mut ambiguous = BTreeSet::new();
    for (place, part) in parts.iter().enumerate() {
        let others = || parts.iter().enumerate().filter(move |(other, _)| *other != place).flat_map(|(_, other)| &other.sides);
        for (name, column) in &part.merged {
            let is_elsewhere = part.has_beside(name, column) || others().any(|side| side.has(name));
            if merged.insert(name.clone(), column.clone()).is_some() || is_elsewhere {
                ambiguous.insert(name.clone());
            }
        }
    }
    merged.retain(|name, _| !ambiguous.contains(name));
    write_out(select, &parts, &merged);
    Ok(Some(merged))
}

fn placed(from: &TableWithJoins, relations: &Relations<'_>) -> Option<Placed> {
    let side = |factor: &TableFactor| Some(Side { name: name_of(factor)?, columns: relations.columns(factor) });
    let mut placed = Placed { sides: vec![side(&from.relation)?], ..Placed::default() };
    for join in &from.joins {
        let right = side(&join.relation)?;
        let condition = match constraint(&join.join_operator) {
            Some(JoinConstraint::Using(columns)) => {
                let names = columns.iter().map(|column| column.0.last()?.as_ident().cloned());
                Some(placed.merge(join, &names.collect::<Option<Vec<_>>>()?, &right)?)
            }
            Some(JoinConstraint::Natural) => {
                let names = placed.common(&right)?;
                Some(placed.merge(join, &names, &right)?)
            }
            Some(JoinConstraint::On(condition)) => {
                let mut condition = condition.clone();
                let is_plain = |name: &str, column: &Merged| !right.has(name) && !placed.has_beside(name, column);
                let merged = placed.merged.iter().filter(|(name, column)| is_plain(name, column));
                let merged = merged.map(|(name, column)| (name.clone(), column.clone())).collect();
                replace(&mut condition, &merged);
                Some(condition)
            }
            _ => None,
        };
        placed.conditions.push(condition);
        placed.sides.push(right);
    }
    Some(placed)
}

impl Placed {
    /// Whether a relation other than those of a merged column has its name too, which then says neither.
    fn has_beside(&self, name: &str, column: &Merged) -> bool {
        self.sides.iter().enumerate().any(|(place, side)| !column.sides.contains(&place) && side.has(name))
    }

    /// The names that the joined relations so far and another one have, in the order of the former; `None` when one has a name twice.
    fn common(&self, right: &Side) -> Option<Vec<Ident>> {
        let mut left = self.order.clone();
        for (place, side) in self.sides.iter().enumerate() {
            let is_merged = |name: &String| self.merged.get(name).is_some_and(|column| column.sides.contains(&place));
            left.extend(side.columns.as_ref()?.iter().filter(|name| !is_merged(name)).cloned());
        }
        let right = right.columns.as_ref()?;
        let count = |names: &[String], name: &String| names.iter().filter(|known| *known == name).count();
        let common: Vec<&String> = left.iter().filter(|name| right.contains(name)).collect();
        let is_plain = common.iter().all(|name| count(&left, name) == 1 && count(right, name) == 1);
        is_plain.then(|| common.into_iter().map(|name| Ident::with_quote('"', name)).collect())
    }

    /// The condition of a join by names, whose columns become merged ones; `None` when one cannot be placed.
    fn merge(&mut self, join: &Join, names: &[Ident], right: &Side) -> Option<Expr> {
        let mut condition = None;
        for name in names {
            let ours = column_of(&right.name, name);
            let theirs = self.left(name)?;
            let equal = combined(theirs.key.clone(), BinaryOperator::Eq, ours.clone());
            condition = Some(match condition {
                Some(before) => combined(before, BinaryOperator::And, equal),
                None => equal,
            });
            // Equal values may be of several types, and be written differently, as 1 and 1.0.
            let pair = |function: &str, first: &Expr, second: &Expr| call_with(function, vec![first.clone(), second.clone()]);
            let (shown, key) = match &join.join_operator {
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (pair(MERGED_FIRST, &ours, &theirs.shown), ours),
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (pair(MERGED_FIRST, &theirs.shown, &ours), theirs.key),
                JoinOperator::FullOuter(_) => {
                    let either = pair("coalesce", &theirs.shown, &ours);
                    (either.clone(), either)
                }
                _ => (pair(MERGED, &theirs.shown, &ours), theirs.key),
            };
            let sides = theirs.sides.into_iter().chain([self.sides.len()]).collect();
            self.merged.insert(fold(name), Merged { name: name.clone(), shown, key, sides });
        }
        let names: Vec<String> = names.iter().map(fold).collect();
        let before = std::mem::take(&mut self.order).into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>();
        self.order = names.iter().cloned().chain(before).collect();
        Some(condition.unwrap_or_else(|| Expr::value(Value::Boolean(true))))
    }

    /// The column of the joined relations so far that has a name.
    fn left(&self, name: &Ident) -> Option<Merged> {
        let folded = fold(name);
        if let Some(known) = self.merged.get(&folded) {
            return Some(known.clone());
        }
        let having: Vec<usize> = match self.sides.as_slice() {
            [_] => vec![0],
            sides => {
                let has = |side: &Side| Some(side.columns.as_ref()?.contains(&folded));
                let has = sides.iter().map(has).collect::<Option<Vec<_>>>()?;
                has.into_iter().enumerate().filter(|(_, has)| *has).map(|(place, _)| place).collect()
            }
        };
        let place = match having.as_slice() {
            // It is missing from any of them.
            [] => 0,
            [place] => *place,
            _ => return None,
        };
        let column = column_of(&self.sides.get(place)?.name, name);
        Some(Merged { name: name.clone(), shown: column.clone(), key: column, sides: BTreeSet::from([place]) })
    }
}

/// The joins by name of FROM items, also those in parentheses.
pub(super) fn joins_by_name(from: &[TableWithJoins]) -> Vec<&Join> {
    let (mut found, mut pending) = (Vec::new(), from.iter().collect::<Vec<_>>());
    while let Some(item) = pending.pop() {
        found.extend(item.joins.iter().filter(|join| is_by_name(join)));
        let relations = std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation));
        pending.extend(relations.filter_map(|relation| match relation {
            TableFactor::NestedJoin { table_with_joins, .. } => Some(table_with_joins.as_ref()),
            _ => None,
        }));
    }
    found
}

/// `(a JOIN b) JOIN c` as `a JOIN b JOIN c`, which means the same.
fn without_parentheses(from: &mut TableWithJoins) {
    while matches!(from.relation, TableFactor::NestedJoin { alias: None, .. }) {
        let nothing = TableFactor::TableFunction { expr: Expr::value(Value::Null), alias: None };
        if let TableFactor::NestedJoin { table_with_joins, .. } = std::mem::replace(&mut from.relation, nothing) {
            let TableWithJoins { relation, joins } = *table_with_joins;
            from.relation = relation;
            from.joins = joins.into_iter().chain(std::mem::take(&mut from.joins)).collect();
        }
    }
}

/// Whether the SELECT list shows all columns, of everything or of joins in parentheses that have a name.
fn shows_all(select: &Select) -> bool {
    let names = |factor: &TableFactor| matches!(factor, TableFactor::NestedJoin { alias: Some(_), .. });
    let has_named = select.from.iter().any(|from| names(&from.relation) || from.joins.iter().any(|join| names(&join.relation)));
    select.projection.iter().any(|item| match item {
        SelectItem::Wildcard(_) => true,
        SelectItem::QualifiedWildcard(..) => has_named,
        _ => false,
    })
}

fn is_by_name(join: &Join) -> bool {
    matches!(constraint(&join.join_operator), Some(JoinConstraint::Using(_) | JoinConstraint::Natural))
}

fn is_outer(join: &Join) -> bool {
    !matches!(join.join_operator, JoinOperator::Join(_) | JoinOperator::Inner(_))
}

fn write_out(select: &mut Select, parts: &[Placed], merged: &BTreeMap<String, Merged>) {
    let mut projection = Vec::with_capacity(select.projection.len());
    for mut item in std::mem::take(&mut select.projection) {
        match &mut item {
            SelectItem::Wildcard(_) => {
                parts.iter().for_each(|part| projection.extend(part.all()));
                continue;
            }
            SelectItem::UnnamedExpr(Expr::Identifier(name)) if merged.contains_key(&fold(name)) => {
                let name = name.clone();
                if let Some(column) = merged.get(&fold(&name)) {
                    item = SelectItem::ExprWithAlias { expr: column.shown.clone(), alias: name };
                }
            }
            SelectItem::UnnamedExpr(expr) => {
                let name = figure_name(expr);
                replace(expr, merged);
                // As `x::text` is called.
                if figure_name(expr) != name {
                    let expr = std::mem::replace(expr, Expr::value(Value::Null));
                    item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
                }
            }
            SelectItem::ExprWithAlias { expr, .. } => replace(expr, merged),
            _ => {}
        }
        projection.push(item);
    }
    select.projection = projection;
    if let Some(selection) = &mut select.selection {
        replace(selection, merged);
    }
    if let Some(having) = &mut select.having {
        replace(having, merged);
    }
    replace(&mut select.group_by, merged);
    replace(&mut select.distinct, merged);
    replace(&mut select.named_window, merged);
}

impl Placed {
    /// What `*` shows.
    fn all(&self) -> Vec<SelectItem> {
        let columns = self.order.iter().filter_map(|name| self.merged.get(name));
        let merged = columns.map(|column| SelectItem::ExprWithAlias { expr: column.shown.clone(), alias: column.name.clone() });
        merged.chain(self.sides.iter().enumerate().filter_map(|(place, side)| self.rest(place, side))).collect()
    }

    /// `side.* EXCEPT (id)`; nothing where that is all that it has.
    fn rest(&self, place: usize, side: &Side) -> Option<SelectItem> {
        let own: Vec<&Merged> = self.merged.values().filter(|column| column.sides.contains(&place)).collect();
        if side.columns.as_ref().is_some_and(|columns| columns.len() == own.len()) {
            return None;
        }
        let name = ObjectName(side.name.iter().cloned().map(ObjectNamePart::Identifier).collect());
        let mut left_out = own.into_iter().map(|column| column.name.clone());
        let opt_except =
            left_out.next().map(|first_element| ExceptSelectItem { first_element, additional_elements: left_out.collect() });
        let options = WildcardAdditionalOptions { opt_except, ..WildcardAdditionalOptions::default() };
        Some(SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options))
    }
}

/// Replaces plain names of merged columns, but not inside subqueries, where they may be other columns.
fn replace<T: VisitMut>(part: &mut T, merged: &BTreeMap<String, Merged>) {
    let _: ControlFlow<()> = part.visit(&mut Replace { merged, depth: 0 });
}

struct Replace<'m> {
    merged: &'m BTreeMap<String, Merged>,
    depth: usize,
}

impl VisitorMut for Replace<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let (0, Expr::Identifier(name)) = (self.depth, &*expr)
            && let Some(column) = self.merged.get(&fold(name))
        {
            *expr = column.shown.clone();
        }
        ControlFlow::Continue(())
    }
}

/// The ON, USING or NATURAL of a join that can have one.
pub(super) fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

pub(super) fn constraint_mut(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

/// The name by which columns of a relation are qualified.
pub(super) fn name_of(factor: &TableFactor) -> Option<Vec<Ident>> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. } => Some(vec![alias.name.clone()]),
        TableFactor::Table { name, args: None, .. } => name.0.iter().map(|part| part.as_ident().cloned()).collect(),
        _ => None,
    }
}

fn alias(item: &SelectItem) -> Option<&Ident> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias),
        _ => None,
    }
}

fn column_of(side: &[Ident], name: &Ident) -> Expr {
    Expr::CompoundIdentifier(side.iter().chain([name]).cloned().collect())
}

fn combined(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn written(sql: &str) -> Result<String, String> {
        let columns_of = |name: &ObjectName| match name.to_string().as_str() {
            "t" => Some(vec!["id".to_owned(), "x".to_owned()]),
            "u" => Some(vec!["y".to_owned(), "id".to_owned()]),
            "w" => Some(vec!["x".to_owned(), "id".to_owned(), "z".to_owned()]),
            _ => None,
        };
        let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        rewrite(&mut query, &Relations::new(&columns_of)).map_err(|error| error.sqlstate)?;
        Ok(query.to_string())
    }

    #[test]
    fn columns_of_using_are_written_out() {
        for (sql, expected) in [
            (
                "SELECT * FROM a JOIN s.b USING (id) WHERE id < 4 ORDER BY id",
                "SELECT pg_merged(a.id, s.b.id) AS id, a.* EXCEPT (id), s.b.* EXCEPT (id) FROM a JOIN s.b ON a.id = s.b.id WHERE pg_merged(a.id, s.b.id) < 4 ORDER BY id",
            ),
            (
                "SELECT x, ID FROM a RIGHT JOIN b c USING (id) WHERE id IN (SELECT id FROM d)",
                "SELECT x, pg_merged_first(c.id, a.id) AS ID FROM a RIGHT JOIN b c ON a.id = c.id WHERE pg_merged_first(c.id, a.id) IN (SELECT id FROM d)",
            ),
            (
                "SELECT count(*) FROM a FULL JOIN b USING (id) GROUP BY id ORDER BY id",
                "SELECT count(*) FROM a FULL JOIN b ON a.id = b.id GROUP BY coalesce(a.id, b.id) ORDER BY coalesce(a.id, b.id)",
            ),
            (
                "SELECT id FROM a RIGHT JOIN b USING (id) JOIN c ON c.x = id",
                "SELECT pg_merged_first(b.id, a.id) AS id FROM a RIGHT JOIN b ON a.id = b.id JOIN c ON c.x = pg_merged_first(b.id, a.id)",
            ),
            (
                "SELECT id FROM a JOIN b USING (id) ORDER BY (id), id + 0",
                "SELECT pg_merged(a.id, b.id) AS id FROM a JOIN b ON a.id = b.id ORDER BY (id), pg_merged(a.id, b.id) + 0",
            ),
            (
                "SELECT id::text, id + 1 FROM a LEFT JOIN b USING (id) JOIN c USING (id)",
                "SELECT pg_merged(pg_merged_first(a.id, b.id), c.id)::TEXT AS \"id\", pg_merged(pg_merged_first(a.id, b.id), c.id) + 1 FROM a LEFT JOIN b ON a.id = b.id JOIN c ON a.id = c.id",
            ),
            ("SELECT count(*) FROM a NATURAL JOIN b", "SELECT count(*) FROM a NATURAL JOIN b"),
        ] {
            assert_eq!(written(sql).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn natural_joins_and_chains_of_using_are_placed_by_the_columns_of_their_relations() {
        for (sql, expected) in [
            (
                "SELECT * FROM t NATURAL FULL JOIN u",
                "SELECT coalesce(t.\"id\", u.\"id\") AS \"id\", t.* EXCEPT (\"id\"), u.* EXCEPT (\"id\") FROM t NATURAL FULL JOIN u",
            ),
            (
                "SELECT * FROM t JOIN u USING (id) JOIN w USING (x)",
                "SELECT pg_merged(t.x, w.x) AS x, pg_merged(t.id, u.id) AS id, u.* EXCEPT (id), w.* EXCEPT (x) FROM t JOIN u ON t.id = u.id JOIN w ON t.x = w.x",
            ),
            ("SELECT u.y FROM u NATURAL JOIN (SELECT 1 AS q) AS s", "SELECT u.y FROM u JOIN (SELECT 1 AS q) AS s ON true"),
            (
                "SELECT * FROM t, u JOIN w USING (id)",
                "SELECT t.*, pg_merged(u.id, w.id) AS id, u.* EXCEPT (id), w.* EXCEPT (id) FROM t, u JOIN w ON u.id = w.id",
            ),
        ] {
            let expected = expected.replace("NATURAL FULL JOIN u", "FULL JOIN u ON t.\"id\" = u.\"id\"");
            assert_eq!(written(sql), Ok(expected));
        }
        for sql in [
            "SELECT * FROM a NATURAL JOIN b",
            "SELECT count(*) FROM a NATURAL LEFT JOIN b",
            "SELECT * FROM t JOIN u USING (id) JOIN b USING (x) JOIN t AS s USING (y)",
            "SELECT * FROM t JOIN (u JOIN w ON true) USING (z)",
            "SELECT * FROM t JOIN (u JOIN w USING (id)) ON true",
            "SELECT s.* FROM (u JOIN w USING (id)) AS s",
            "SELECT count(*) FROM t JOIN (u FULL JOIN w USING (id)) ON true",
        ] {
            assert_eq!(written(sql), Err("0A000".to_owned()), "{sql}");
        }
    }

    #[test]
    fn joins_in_parentheses_that_come_first_are_placed_as_those_without() {
        for (sql, expected) in [
            (
                "SELECT * FROM (t FULL JOIN u USING (id))",
                "SELECT coalesce(t.id, u.id) AS id, t.* EXCEPT (id), u.* EXCEPT (id) FROM t FULL JOIN u ON t.id = u.id",
            ),
            (
                "SELECT * FROM ((t JOIN u ON true) JOIN w USING (z))",
                "SELECT pg_merged(t.z, w.z) AS z, t.* EXCEPT (z), u.*, w.* EXCEPT (z) FROM t JOIN u ON true JOIN w ON t.z = w.z",
            ),
            ("SELECT count(*) FROM (t JOIN u ON true)", "SELECT count(*) FROM (t JOIN u ON true)"),
        ] {
            assert_eq!(written(sql).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn functions_are_relations_with_the_columns_of_their_aliases() {
        assert_eq!(
            written("SELECT * FROM unnest(array[1]) AS a (x) JOIN unnest(array[2]) WITH ORDINALITY AS b (x, n) USING (x)").unwrap(),
            "SELECT pg_merged(a.x, b.x) AS x, b.* EXCEPT (x) FROM UNNEST(ARRAY[1]) AS a (x) JOIN UNNEST(ARRAY[2]) WITH ORDINALITY AS b (x, n) ON a.x = b.x",
        );
    }

    #[test]
    fn a_merged_name_that_another_relation_has_is_left_as_it_is() {
        for (sql, expected) in [
            ("SELECT id FROM t JOIN u USING (id), w", "SELECT id FROM t JOIN u ON t.id = u.id, w"),
            ("SELECT y FROM t JOIN u USING (id) JOIN w ON id = 1", "SELECT y FROM t JOIN u ON t.id = u.id JOIN w ON id = 1"),
        ] {
            assert_eq!(written(sql).as_deref(), Ok(expected));
        }
    }
}
