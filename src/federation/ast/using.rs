//! `JOIN … USING (id)` becomes a join with a condition, and the one column `id` that it shows is written out.
//!
//! The planner keeps both columns, calls a plain `id` ambiguous in WHERE, and shows either side's in `*`, which is wrong for
//! outer joins. PostgreSQL shows the columns of USING first, as `COALESCE(left, right)` (manual, "Joined Tables"). Joins whose
//! columns cannot be placed without knowing the tables, and NATURAL joins, are left to the planner.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExceptSelectItem, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    Join, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableFactor, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

/// Rewrites the joins of one query, not those of the queries inside it.
pub(super) fn rewrite(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return in_sides(&mut query.body);
    };
    let Some(merged) = in_select(select) else { return };
    let shown: Vec<Ident> = select.projection.iter().filter_map(alias).cloned().collect();
    if let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|order| &mut order.kind) {
        // A name of ORDER BY is an output column if there is one.
        let hidden: BTreeMap<String, Merged> =
            merged.into_iter().filter(|(name, _)| !shown.iter().any(|ident| fold(ident) == *name)).collect();
        keys.iter_mut().for_each(|key| replace(&mut key.expr, &hidden, |column| &column.shown));
    }
}

fn in_sides(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => drop(in_select(select)),
        SetExpr::SetOperation { left, right, .. } => {
            in_sides(left);
            in_sides(right);
        }
        _ => {}
    }
}

/// A column of USING.
#[derive(Clone)]
struct Merged {
    name: Ident,
    /// What it shows.
    shown: Expr,
    /// A column with the same values, for conditions; stores can take conditions on columns.
    tested: Expr,
}

fn in_select(select: &mut Select) -> Option<BTreeMap<String, Merged>> {
    let [from] = select.from.as_mut_slice() else { return None };
    if !from.joins.iter().any(|join| using(join).is_some()) {
        return None;
    }
    let mut sides = vec![name_of(&from.relation)?];
    let mut order: Vec<String> = Vec::new();
    let mut merged: BTreeMap<String, Merged> = BTreeMap::new();
    let mut conditions = Vec::new();
    for join in &from.joins {
        let right = name_of(&join.relation)?;
        conditions.push(match using(join) {
            Some(columns) => Some(merge(join, columns, &sides, &right, &mut merged, &mut order)?),
            None if matches!(constraint(&join.join_operator), Some(JoinConstraint::Natural)) => return None,
            None => None,
        });
        sides.push(right);
    }
    for (join, condition) in from.joins.iter_mut().zip(conditions) {
        if let (Some(condition), Some(constraint)) = (condition, constraint_mut(join)) {
            *constraint = JoinConstraint::On(condition);
        }
    }
    write_out(select, &sides, &merged, &order);
    Some(merged)
}

/// The condition of one join; its columns are added to `merged`.
fn merge(
    join: &Join,
    columns: &[ObjectName],
    sides: &[Vec<Ident>],
    right: &[Ident],
    merged: &mut BTreeMap<String, Merged>,
    order: &mut Vec<String>,
) -> Option<Expr> {
    let mut condition = None;
    for column in columns {
        let name = column.0.last()?.as_ident()?.clone();
        let ours = column_of(right, &name);
        let theirs = match (merged.get(&fold(&name)), sides) {
            (Some(known), _) => known.clone(),
            (None, [only]) => {
                let column = column_of(only, &name);
                Merged { name: name.clone(), shown: column.clone(), tested: column }
            }
            _ => return None,
        };
        let equal = combined(theirs.tested.clone(), BinaryOperator::Eq, ours.clone());
        condition = Some(match condition {
            Some(before) => combined(before, BinaryOperator::And, equal),
            None => equal,
        });
        let shown = coalesce(theirs.shown.clone(), ours.clone());
        let tested = match &join.join_operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => theirs.tested,
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => ours,
            _ => shown.clone(),
        };
        if !merged.contains_key(&fold(&name)) {
            order.push(fold(&name));
        }
        merged.insert(fold(&name), Merged { name, shown, tested });
    }
    condition
}

fn write_out(select: &mut Select, sides: &[Vec<Ident>], merged: &BTreeMap<String, Merged>, order: &[String]) {
    let mut projection = Vec::with_capacity(select.projection.len());
    for mut item in std::mem::take(&mut select.projection) {
        match &mut item {
            SelectItem::Wildcard(_) => {
                let columns = order.iter().filter_map(|name| merged.get(name));
                projection.extend(
                    columns.map(|column| SelectItem::ExprWithAlias { expr: column.shown.clone(), alias: column.name.clone() }),
                );
                projection.extend(sides.iter().map(|side| without(side, merged)));
                continue;
            }
            SelectItem::UnnamedExpr(Expr::Identifier(name)) if merged.contains_key(&fold(name)) => {
                let name = name.clone();
                if let Some(column) = merged.get(&fold(&name)) {
                    item = SelectItem::ExprWithAlias { expr: column.shown.clone(), alias: name };
                }
            }
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => replace(expr, merged, |column| &column.shown),
            _ => {}
        }
        projection.push(item);
    }
    select.projection = projection;
    if let Some(selection) = &mut select.selection {
        replace(selection, merged, |column| &column.tested);
    }
    if let Some(having) = &mut select.having {
        replace(having, merged, |column| &column.shown);
    }
    replace(&mut select.group_by, merged, |column| &column.shown);
    replace(&mut select.distinct, merged, |column| &column.shown);
}

/// `side.* EXCEPT (id)`
fn without(side: &[Ident], merged: &BTreeMap<String, Merged>) -> SelectItem {
    let name = ObjectName(side.iter().cloned().map(ObjectNamePart::Identifier).collect());
    let mut left_out = merged.values().map(|column| column.name.clone());
    let opt_except =
        left_out.next().map(|first_element| ExceptSelectItem { first_element, additional_elements: left_out.collect() });
    let options = WildcardAdditionalOptions { opt_except, ..WildcardAdditionalOptions::default() };
    SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
}

/// Replaces plain names of merged columns, but not inside subqueries, where they may be other columns.
fn replace<T: VisitMut>(part: &mut T, merged: &BTreeMap<String, Merged>, form: fn(&Merged) -> &Expr) {
    let _: ControlFlow<()> = part.visit(&mut Replace { merged, form, depth: 0 });
}

struct Replace<'m> {
    merged: &'m BTreeMap<String, Merged>,
    form: fn(&Merged) -> &Expr,
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
            *expr = (self.form)(column).clone();
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

fn constraint_mut(join: &mut Join) -> Option<&mut JoinConstraint> {
    match &mut join.join_operator {
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

fn using(join: &Join) -> Option<&[ObjectName]> {
    match constraint(&join.join_operator) {
        Some(JoinConstraint::Using(columns)) => Some(columns),
        _ => None,
    }
}

/// The name by which columns of a relation are qualified.
fn name_of(factor: &TableFactor) -> Option<Vec<Ident>> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(vec![alias.name.clone()])
        }
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

fn coalesce(left: Expr, right: Expr) -> Expr {
    let argument = |expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr));
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new("coalesce"))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![argument(left), argument(right)],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn columns_of_using_are_written_out() {
        for (sql, expected) in [
            (
                "SELECT * FROM a JOIN s.b USING (id) WHERE id < 4 ORDER BY id",
                "SELECT coalesce(a.id, s.b.id) AS id, a.* EXCEPT (id), s.b.* EXCEPT (id) FROM a JOIN s.b ON a.id = s.b.id WHERE a.id < 4 ORDER BY id",
            ),
            (
                "SELECT x, ID FROM a RIGHT JOIN b c USING (id) WHERE id IN (SELECT id FROM d)",
                "SELECT x, coalesce(a.id, c.id) AS ID FROM a RIGHT JOIN b c ON a.id = c.id WHERE c.id IN (SELECT id FROM d)",
            ),
            (
                "SELECT count(*) FROM a FULL JOIN b USING (id) GROUP BY id ORDER BY id",
                "SELECT count(*) FROM a FULL JOIN b ON a.id = b.id GROUP BY coalesce(a.id, b.id) ORDER BY coalesce(a.id, b.id)",
            ),
            ("SELECT * FROM a NATURAL JOIN b", "SELECT * FROM a NATURAL JOIN b"),
        ] {
            let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
            rewrite(&mut query);
            assert_eq!(query.to_string(), expected);
        }
    }
}
