//! What dynamic filters tell of a part's rows, as a condition inside the part: as far down as it may go, because not every
//! store moves a condition into what a join or an aggregate reads.

use super::super::estimate;
use super::super::node::Part;
use crate::federation::joins::keys;
use crate::pgtype::{PgField, PgType};
use crate::stores::connector::KEYS_EACH;
use crate::stores::fragment::{Expression, JoinKind, Node, shapes};
use crate::stores::predicate::{ColumnRef, Predicate};
use crate::stores::value::Value;
use crate::stores::{Connector, Fragment, Relation};

/// The most constants of a part with what filters add, where the store does not take more keys: SQLite takes 32,766 parameters in a
/// statement.
const CONSTANTS_MAX: usize = 30_000;
/// The most rows of values that are written out inside a part, as alternatives; of more, each column has a list.
const ROWS_MAX: usize = 100;

/// The part for only those rows for which the condition is true, as far as its store takes that. Columns of the condition are
/// those of the part, by place.
pub(super) fn narrowed(part: &Part, told: Predicate, connector: &dyn Connector) -> Fragment {
    let types: Vec<PgType> = part.sent.fields().iter().map(|field| field.pg_type()).collect();
    let conditions = match told {
        Predicate::And(conditions) => conditions,
        condition => vec![condition],
    };
    let mut root = part.fragment.root.clone();
    let accepts = |relation: &Relation| connector.accepts(relation, &part.tables).is_ok();
    let (mut left, mut constants_max) = (connector.capabilities().keys_max, CONSTANTS_MAX);
    let mut pending: Vec<Predicate> = conditions.into_iter().rev().collect();
    while let Some(condition) = pending.pop() {
        let keys = long_list(&condition, part).filter(|keys| *keys <= left).unwrap_or(0);
        let narrow = |root: &Relation, form: &Predicate, most: usize| {
            let fits = |relation: &Relation| estimate::size(relation).0 <= most;
            sunk(root.clone(), expression(form, &types)?, &accepts).filter(fits)
        };
        let narrowed = narrow(&root, &condition, constants_max + keys);
        let is_narrowed = narrowed.is_some();
        if let Some(narrowed) = narrowed {
            root = narrowed;
            left -= keys;
            constants_max += keys;
        }
        // Rows of values may lie above a join to whose sides the list of each column goes. A list that is too long for the statement is
        // as good as its ends.
        if !is_narrowed || matches!(condition, Predicate::Rows(_)) {
            pending.extend(keys::weaker(&condition));
        }
    }
    Fragment { store: part.fragment.store.clone(), root, by_own_collations: part.fragment.by_own_collations }
}

/// The keys of a list that is too long for every store, over a stored column of which it asks for few enough rows.
fn long_list(condition: &Predicate, part: &Part) -> Option<usize> {
    let Predicate::In { column, values, negated: false } = condition else { return None };
    if values.len() <= KEYS_EACH || !column.path.is_empty() {
        return None;
    }
    let origin = shapes(&part.fragment.root, &part.tables).into_iter().nth(column.column)?.origin?;
    let table = part.tables.get(&origin.table)?;
    keys::is_worthwhile(table, origin.column, values.len()).then_some(values.len())
}

/// A condition over the columns of a relation.
fn expression(predicate: &Predicate, types: &[PgType]) -> Option<Expression> {
    let parts = |parts: &[Predicate]| parts.iter().map(|part| expression(part, types)).collect::<Option<Vec<_>>>();
    Some(Expression::condition(match predicate {
        Predicate::Compare { column, op, value } => {
            let column = subject(column, types)?;
            let right = Box::new(constant(value, &column));
            Node::Compare { op: *op, left: Box::new(column), right }
        }
        Predicate::In { column, values, negated } => {
            let column = subject(column, types)?;
            let list = values.iter().map(|value| constant(value, &column)).collect();
            Node::In { subject: Box::new(column), list, negated: *negated }
        }
        Predicate::IsNull { column, negated } => Node::IsNull { operand: Box::new(subject(column, types)?), negated: *negated },
        Predicate::And(inner) => Node::And(parts(inner)?),
        Predicate::Or(inner) => Node::Or(parts(inner)?),
        Predicate::Rows(rows) if rows.rows.len() <= ROWS_MAX => return expression(&rows.alternatives(), types),
        Predicate::Rows(_) | Predicate::Like { .. } => return None,
    }))
}

fn subject(column: &ColumnRef, types: &[PgType]) -> Option<Expression> {
    let pg_type = types.get(column.column).filter(|_| column.path.is_empty())?;
    Some(Expression::column(column.column, *pg_type))
}

fn constant(value: &Value, column: &Expression) -> Expression {
    Expression::new(PgType::with_typmod(column.pg_type.oid, -1), Node::Literal(Some(value.clone())))
}

/// The relation for only those rows for which the condition is true. `None` when the store does not take it, or when the rows
/// are sorted: no order is promised above a filter.
fn sunk(relation: Relation, condition: Expression, accepts: &dyn Fn(&Relation) -> bool) -> Option<Relation> {
    let places = places(&condition);
    if places.is_empty() {
        return None;
    }
    Some(match relation {
        Relation::Filter { input, condition: own } => {
            Relation::Filter { input: Box::new(sunk(*input, condition, accepts)?), condition: own }
        }
        Relation::Distinct { input } => Relation::Distinct { input: Box::new(sunk(*input, condition, accepts)?) },
        Relation::Project { input, expressions } if is_passed_on(&places, &expressions) => {
            let condition = moved(condition, &expressions);
            Relation::Project { input: Box::new(sunk(*input, condition, accepts)?), expressions }
        }
        Relation::Project { input, .. } if is_sorted(&input) => return None,
        Relation::Aggregate { input, groups, calls } if is_passed_on(&places, &groups) => {
            let condition = moved(condition, &groups);
            Relation::Aggregate { input: Box::new(sunk(*input, condition, accepts)?), groups, calls }
        }
        Relation::Join { left, right, kind, condition: on } => {
            let boundary = estimate::width(&left);
            let of_left = places.iter().all(|place| *place < boundary);
            let of_right = places.iter().all(|place| *place >= boundary);
            match kind {
                JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti if of_left => {
                    Relation::Join { left: Box::new(sunk(*left, condition, accepts)?), right, kind, condition: on }
                }
                JoinKind::Inner | JoinKind::Right if of_right => {
                    let mut condition = condition;
                    condition.renumber(&|place| place - boundary);
                    Relation::Join { left, right: Box::new(sunk(*right, condition, accepts)?), kind, condition: on }
                }
                _ => above(Relation::Join { left, right, kind, condition: on }, condition, accepts)?,
            }
        }
        sorted if is_sorted(&sorted) => return None,
        other => above(other, condition, accepts)?,
    })
}

fn above(relation: Relation, condition: Expression, accepts: &dyn Fn(&Relation) -> bool) -> Option<Relation> {
    let filter = Relation::Filter { input: Box::new(relation), condition };
    accepts(&filter).then_some(filter)
}

/// The column of the input that an output is.
fn below(place: usize, outputs: &[Expression]) -> Option<usize> {
    match outputs.get(place).map(|output| &output.node) {
        Some(Node::Column(below)) => Some(*below),
        _ => None,
    }
}

/// Whether none of these outputs is computed.
fn is_passed_on(places: &[usize], outputs: &[Expression]) -> bool {
    places.iter().all(|place| below(*place, outputs).is_some())
}

/// The condition over the columns that these outputs are.
fn moved(mut condition: Expression, outputs: &[Expression]) -> Expression {
    condition.renumber(&|place| below(place, outputs).unwrap_or(place));
    condition
}

fn places(condition: &Expression) -> Vec<usize> {
    let mut found = Vec::new();
    condition.visit(&mut |inner| {
        if let Node::Column(place) = inner.node {
            found.push(place);
        }
    });
    found
}

fn is_sorted(relation: &Relation) -> bool {
    match relation {
        Relation::Sort { .. } => true,
        Relation::Project { input, .. } | Relation::Limit { input, .. } => is_sorted(input),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::fragment::{Aggregate, AggregateCall};
    use crate::stores::predicate::{Comparison, Rows};

    fn values(columns: usize) -> Relation {
        Relation::Values { types: vec![PgType::INT4; columns], rows: Vec::new() }
    }

    fn column(place: usize) -> Expression {
        Expression::column(place, PgType::INT4)
    }

    fn keys(place: usize) -> Expression {
        let list = Predicate::In { column: ColumnRef::of(place), values: vec![Value::Int(1), Value::Int(2)], negated: false };
        expression(&list, &[PgType::INT4; 4]).unwrap()
    }

    /// Where the filter went, as the names of the nodes from the root.
    fn check(relation: Relation, place: usize, expected: &[&str]) {
        let found = sunk(relation, keys(place), &|_| true).unwrap();
        let mut names = Vec::new();
        found.visit(&mut |relation| names.push(relation.name()));
        assert_eq!(names, expected);
    }

    #[test]
    fn conditions_go_down_to_what_has_the_column() {
        let join = |kind| Relation::Join { left: Box::new(values(2)), right: Box::new(values(2)), kind, condition: None };
        check(join(JoinKind::Inner), 1, &["join", "filter", "values", "values"]);
        check(join(JoinKind::Inner), 2, &["join", "values", "filter", "values"]);
        check(join(JoinKind::Left), 0, &["outer join", "filter", "values", "values"]);
        check(join(JoinKind::Left), 3, &["filter", "outer join", "values", "values"]);
        check(join(JoinKind::Anti), 1, &["anti join", "filter", "values", "values"]);
        check(join(JoinKind::Full), 1, &["filter", "outer join", "values", "values"]);
        let count =
            AggregateCall { aggregate: Aggregate::CountRows, argument: None, distinct: false, filter: None, pg_type: PgType::INT8 };
        let grouped = || Relation::Aggregate { input: Box::new(values(3)), groups: vec![column(2)], calls: vec![count.clone()] };
        check(grouped(), 0, &["aggregate", "filter", "values"]);
        check(grouped(), 1, &["filter", "aggregate", "values"]);
        let limit = Relation::Limit { input: Box::new(values(1)), offset: 0, limit: Some(3) };
        check(limit, 0, &["filter", "limit", "values"]);
    }

    #[test]
    fn rows_of_values_are_written_out_while_they_are_few() {
        let rows = |count: i64| {
            let rows = (0..count).map(|row| vec![Value::Int(row), Value::Int(-row)]).collect();
            expression(&Predicate::Rows(Rows { columns: vec![ColumnRef::of(0), ColumnRef::of(1)], rows }), &[PgType::INT4; 2])
        };
        let few = rows(2).unwrap();
        assert_eq!(few.to_string(), "(((#0 = <integer>) AND (#1 = <integer>)) OR ((#0 = <integer>) AND (#1 = <integer>)))");
        assert!(rows(100).is_some());
        assert_eq!(rows(101), None);
    }

    #[test]
    fn sorted_rows_and_refused_conditions_stay() {
        let sorted = Relation::Sort { input: Box::new(values(1)), keys: Vec::new(), offset: 0, limit: Some(3) };
        assert_eq!(sunk(sorted, keys(0), &|_| true), None);
        assert_eq!(sunk(values(1), keys(0), &|_| false), None);
        let moved = Relation::Project { input: Box::new(values(3)), expressions: vec![column(2)] };
        let Some(Relation::Project { input, .. }) = sunk(moved, keys(0), &|_| true) else { panic!() };
        let Relation::Filter { condition, .. } = *input else { panic!() };
        assert_eq!(condition.to_string(), "#2 IN (2 items)");
        let equal = Predicate::Compare { column: ColumnRef::of(9), op: Comparison::Equal, value: Value::Int(1) };
        assert_eq!(expression(&equal, &[PgType::INT4]), None);
    }
}
