//! From a syntax tree to a lookup: the same names and types that the planner would find, for the few forms known here.
//!
//! Every part of the tree is looked at; whatever is not listed makes the whole statement one for the planner.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Ident, LimitClause, ObjectName, OrderBy, OrderByKind, Query, Select, SelectFlavor,
    SelectItem, SetExpr, TableFactor, UnaryOperator, Value as Literal, WildcardAdditionalOptions,
};

use super::condition::{Condition, Family, Operand, Test};
use super::{Lookup, point, schema_of};
use crate::catalog::keyword::is_reserved;
use crate::catalog::{QualifiedName, Relation, RelationBody, SearchPath, Snapshot};
use crate::federation::ast::name::fold;
use crate::federation::output::OutputColumn;
use crate::federation::pushdown::{IN_LIST_MAX, flip};
use crate::pgtype::{PgField, PgType};
use crate::stores::Table;
use crate::stores::predicate::Comparison;
use crate::stores::schema::{Column, Key};
use crate::stores::value::Value;

/// Most rows that a statement without a selective condition may ask for; larger scans may be worth splitting.
const LIMIT_MAX: u64 = 10_000;
/// Most conjuncts.
const CONDITIONS_MAX: usize = 32;

/// The lookup that `query` is, before its conditions are shown to the store.
pub(super) fn query(query: &Query, snapshot: &Snapshot, path: &SearchPath, given: &[u32]) -> Option<Lookup> {
    let (select, order_by, limit) = shape(query)?;
    let (relation, alias) = relation(select, snapshot, path)?;
    let RelationBody::Stored { store, table } = &relation.body else { return None };
    let mut scope = Scope { table, alias, given, parameters: BTreeMap::new() };
    let (ordinals, columns) = scope.outputs(&select.projection, &relation)?;
    let mut conditions = Vec::new();
    if let Some(selection) = &select.selection {
        scope.conjuncts(selection, &mut conditions)?;
    }
    let is_one_row = pinned(table, &conditions);
    if let Some(order_by) = order_by {
        scope.order_of_one_row(order_by).filter(|()| is_one_row)?;
    }
    let is_bounded = conditions.iter().any(Condition::is_selective) || limit.is_some_and(|limit| limit <= LIMIT_MAX);
    let parameters = scope.settled_parameters()?;
    let schema = schema_of(table, &ordinals);
    let is_point = point::is_point(table, &ordinals, &conditions);
    let (store, table) = (store.clone(), Arc::clone(table));
    let kept = OnceLock::new();
    is_bounded.then_some(Lookup { store, table, ordinals, schema, conditions, limit, is_point, kept, parameters, columns })
}

/// The SELECT of a query that has nothing else but ORDER BY and a plain LIMIT.
fn shape(query: &Query) -> Option<(&Select, Option<&OrderBy>, Option<u64>)> {
    let Query { with, body, order_by, limit_clause, fetch, locks, for_clause, settings, format_clause, pipe_operators } = query;
    let is_plain = with.is_none()
        && fetch.is_none()
        && locks.is_empty()
        && for_clause.is_none()
        && settings.is_none()
        && format_clause.is_none()
        && pipe_operators.is_empty();
    let limit = match limit_clause {
        None => None,
        Some(LimitClause::LimitOffset { limit: Some(Expr::Value(value)), offset: None, limit_by }) if limit_by.is_empty() => {
            let Literal::Number(digits, false) = &value.value else { return None };
            Some(digits.parse::<u64>().ok().filter(|limit| *limit > 0)?)
        }
        Some(_) => return None,
    };
    let SetExpr::Select(select) = body.as_ref() else { return None };
    (is_plain && is_plain_select(select)).then_some((select.as_ref(), order_by.as_ref(), limit))
}

fn is_plain_select(select: &Select) -> bool {
    let Select {
        select_token: _,
        optimizer_hints,
        distinct,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection: _,
        exclude,
        into,
        from,
        lateral_views,
        prewhere,
        selection: _,
        connect_by,
        group_by,
        cluster_by,
        distribute_by,
        sort_by,
        having,
        named_window,
        qualify,
        window_before_qualify: _,
        value_table_mode,
        flavor,
    } = select;
    optimizer_hints.is_empty()
        && distinct.is_none()
        && select_modifiers.is_none()
        && top.is_none()
        && exclude.is_none()
        && into.is_none()
        && from.len() == 1
        && lateral_views.is_empty()
        && prewhere.is_none()
        && connect_by.is_empty()
        && matches!(group_by, GroupByExpr::Expressions(keys, modifiers) if keys.is_empty() && modifiers.is_empty())
        && cluster_by.is_empty()
        && distribute_by.is_empty()
        && sort_by.is_empty()
        && having.is_none()
        && named_window.is_empty()
        && qualify.is_none()
        && value_table_mode.is_none()
        && *flavor == SelectFlavor::Standard
}

/// The one relation in FROM and the name that columns may be qualified with.
fn relation(select: &Select, snapshot: &Snapshot, path: &SearchPath) -> Option<(Arc<Relation>, String)> {
    let [from] = select.from.as_slice() else { return None };
    let TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints,
        version: None,
        with_ordinality: false,
        partitions,
        json_path: None,
        sample: None,
        index_hints,
    } = &from.relation
    else {
        return None;
    };
    if !(from.joins.is_empty() && with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty()) {
        return None;
    }
    let relation = snapshot.resolve(&qualified(name)?, path).ok()?;
    let alias = match alias {
        Some(alias) if alias.columns.is_empty() && alias.at.is_none() => fold(&alias.name),
        Some(_) => return None,
        None => relation.name.clone(),
    };
    Some((relation, alias))
}

fn qualified(name: &ObjectName) -> Option<QualifiedName> {
    let parts = name.0.iter().map(|part| part.as_ident().map(fold)).collect::<Option<Vec<String>>>()?;
    let mut parts = parts.into_iter().rev();
    let (relation, schema, database) = (parts.next()?, parts.next(), parts.next());
    parts.next().is_none().then_some(QualifiedName { database, schema, relation })
}

/// Whether a proven key is compared with one value in each of its columns.
fn pinned(table: &Table, conditions: &[Condition]) -> bool {
    let merges = |column: &usize| table.columns.get(*column).is_none_or(|found| found.collation.merges());
    let is_given = |column: &usize| {
        !merges(column)
            && conditions
                .iter()
                .any(|condition| condition.column == *column && matches!(condition.test, Test::Compare(Comparison::Equal, _)))
    };
    let is_pinned = |key: &Key| key.proven && !key.columns.is_empty() && key.columns.iter().all(is_given);
    table.primary_key.iter().chain(&table.unique_keys).any(is_pinned)
}

/// What names and parameters of one statement stand for.
struct Scope<'a> {
    table: &'a Table,
    alias: String,
    given: &'a [u32],
    /// Types by number, from 1.
    parameters: BTreeMap<usize, PgType>,
}

impl Scope<'_> {
    fn outputs(&self, projection: &[SelectItem], relation: &Relation) -> Option<(Vec<usize>, Vec<OutputColumn>)> {
        let mut named: Vec<(usize, String)> = Vec::with_capacity(projection.len());
        for item in projection {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let ordinal = self.column(expr)?;
                    named.push((ordinal, self.table.columns.get(ordinal)?.name().to_owned()));
                }
                SelectItem::ExprWithAlias { expr, alias } => named.push((self.column(expr)?, fold(alias))),
                SelectItem::Wildcard(options) if is_plain_wildcard(options) => {
                    let all = self.table.columns.iter().enumerate();
                    named.extend(all.map(|(ordinal, column)| (ordinal, column.name().to_owned())));
                }
                _ => return None,
            }
        }
        let ordinals: Vec<usize> = named.iter().map(|(ordinal, _)| *ordinal).collect();
        let mut seen = vec![false; self.table.columns.len()];
        // A scan reads a column once.
        let is_repeated = ordinals.iter().any(|ordinal| seen.get_mut(*ordinal).is_none_or(|seen| std::mem::replace(seen, true)));
        if ordinals.is_empty() || is_repeated {
            return None;
        }
        let columns = named.into_iter().map(|(ordinal, name)| {
            let pg_type = self.table.columns.get(ordinal)?.field.pg_type();
            Some(OutputColumn { name, pg_type, table_oid: relation.oid, column_number: i16::try_from(ordinal + 1).ok()? })
        });
        Some((ordinals, columns.collect::<Option<Vec<_>>>()?))
    }

    /// The column that an expression is.
    fn column(&self, expr: &Expr) -> Option<usize> {
        let name = match expr {
            Expr::Identifier(name) => name,
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [qualifier, name] if fold(qualifier) == self.alias => name,
                _ => return None,
            },
            Expr::Nested(inner) => return self.column(inner),
            _ => return None,
        };
        self.named(name)
    }

    fn named(&self, name: &Ident) -> Option<usize> {
        let folded = fold(name);
        // A key word without quotes may be a function, and the name of the relation its whole row.
        if folded == self.alias || name.quote_style.is_none() && is_reserved(&folded) {
            return None;
        }
        let mut found = self.table.columns.iter().enumerate().filter(|(_, column)| column.name() == folded);
        let (ordinal, _) = found.next()?;
        found.next().is_none().then_some(ordinal)
    }

    fn conjuncts(&mut self, expr: &Expr, conditions: &mut Vec<Condition>) -> Option<()> {
        if conditions.len() >= CONDITIONS_MAX {
            return None;
        }
        match expr {
            Expr::Nested(inner) => return self.conjuncts(inner, conditions),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.conjuncts(left, conditions)?;
                return self.conjuncts(right, conditions);
            }
            Expr::BinaryOp { left, op, right } => {
                let op = comparison(op)?;
                let (column, op, operand) = match self.column(left) {
                    Some(column) => (column, op, right),
                    None => (self.column(right)?, flip(op), left),
                };
                let (family, operand) = self.compared(column, operand)?;
                conditions.push(Condition { column, family, test: Test::Compare(op, operand) });
            }
            Expr::Between { expr, negated: false, low, high } => {
                let column = self.column(expr)?;
                for (op, bound) in [(Comparison::GreaterOrEqual, low), (Comparison::LessOrEqual, high)] {
                    let (family, operand) = self.compared(column, bound)?;
                    conditions.push(Condition { column, family, test: Test::Compare(op, operand) });
                }
            }
            Expr::InList { expr, list, negated: false } if !list.is_empty() && list.len() <= IN_LIST_MAX => {
                let column = self.column(expr)?;
                let family = self.family(column)?;
                let operands = list.iter().map(|item| self.compared(column, item).map(|(_, operand)| operand));
                let test = Test::In(operands.collect::<Option<Vec<Operand>>>()?);
                conditions.push(Condition { column, family, test });
            }
            Expr::IsNull(inner) | Expr::IsNotNull(inner) => {
                let column = self.column(inner)?;
                let test = Test::IsNull { negated: matches!(expr, Expr::IsNotNull(_)) };
                conditions.push(Condition { column, family: self.family(column)?, test });
            }
            _ => return None,
        }
        Some(())
    }

    fn family(&self, column: usize) -> Option<Family> {
        Family::of(self.table.columns.get(column)?)
    }

    /// What a column is compared with, if the comparison is that of the column's own type.
    fn compared(&mut self, column: usize, expr: &Expr) -> Option<(Family, Operand)> {
        let column = self.table.columns.get(column)?;
        let family = Family::of(column)?;
        Some((family, self.operand(column, family, expr)?))
    }

    fn operand(&mut self, column: &Column, family: Family, expr: &Expr) -> Option<Operand> {
        match (expr, family) {
            (Expr::Nested(inner), _) => self.operand(column, family, inner),
            (Expr::Value(value), _) => match (&value.value, family) {
                (Literal::Placeholder(id), _) => self.parameter(column, family, id),
                (Literal::Number(digits, false), Family::Integer(..)) => integer(digits, 1, family),
                (Literal::SingleQuotedString(text), Family::Text) => Some(Operand::Known(Value::Text(text.clone()))),
                (Literal::Boolean(truth), Family::Bool) => Some(Operand::Known(Value::Bool(*truth))),
                _ => None,
            },
            (Expr::UnaryOp { op: UnaryOperator::Minus, expr }, Family::Integer(..)) => match expr.as_ref() {
                Expr::Value(value) => match &value.value {
                    Literal::Number(digits, false) => integer(digits, -1, family),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    fn parameter(&mut self, column: &Column, family: Family, id: &str) -> Option<Operand> {
        let number = id.strip_prefix('$')?.parse::<usize>().ok().filter(|number| *number > 0)?;
        let given = self.given.get(number - 1).copied().filter(|oid| *oid != 0 && *oid != PgType::UNKNOWN.oid);
        let pg_type = match given {
            Some(oid) => PgType::with_typmod(oid, -1),
            // An unknown operand takes the other side's type, as the planner has it.
            None => PgType::with_typmod(column.pg_type().oid, -1),
        };
        if !family.takes(pg_type) {
            return None;
        }
        // Two uses that ask for different types are for the planner to settle.
        let known = *self.parameters.entry(number).or_insert(pg_type);
        (known == pg_type).then_some(Operand::Parameter(number - 1))
    }

    /// The types of `$1` to the last one, without a gap and without one that is given but not used.
    fn settled_parameters(&self) -> Option<Vec<PgType>> {
        let types: Vec<PgType> = (1..=self.parameters.len()).map_while(|number| self.parameters.get(&number).copied()).collect();
        (types.len() == self.parameters.len() && self.given.len() <= types.len()).then_some(types)
    }

    /// The order of one row is no order, but what stands in ORDER BY must have one.
    fn order_of_one_row(&self, order_by: &OrderBy) -> Option<()> {
        let (OrderByKind::Expressions(keys), None) = (&order_by.kind, &order_by.interpolate) else { return None };
        let is_plain = |expr: &Expr| self.column(expr).and_then(|column| self.family(column)).is_some();
        keys.iter().all(|key| key.with_fill.is_none() && is_plain(&key.expr)).then_some(())
    }
}

fn is_plain_wildcard(options: &WildcardAdditionalOptions) -> bool {
    *options == WildcardAdditionalOptions { wildcard_token: options.wildcard_token.clone(), ..Default::default() }
}

fn integer(digits: &str, sign: i64, family: Family) -> Option<Operand> {
    let Family::Integer(low, high) = family else { return None };
    let number = digits.parse::<i64>().ok()?.checked_mul(sign)?;
    (low..=high).contains(&number).then_some(Operand::Known(Value::Int(number)))
}

fn comparison(op: &BinaryOperator) -> Option<Comparison> {
    Some(match op {
        BinaryOperator::Eq => Comparison::Equal,
        BinaryOperator::NotEq => Comparison::NotEqual,
        BinaryOperator::Lt => Comparison::Less,
        BinaryOperator::LtEq => Comparison::LessOrEqual,
        BinaryOperator::Gt => Comparison::Greater,
        BinaryOperator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}
