//! Whose rules compare text: the policy of a store file, `collation = "faithful"` or `"native"`.
//!
//! Under `faithful`, the default, text compares by bytes wherever a statement runs, as under PostgreSQL's `C`. Under `native` the
//! collations that the store gives its text columns count ([`Collation::Native`]):
//!
//! | What | Follows the store |
//! |---|---|
//! | a column compared with a constant (`=`, `<`, …, `IN`) | wherever the store evaluates it |
//! | `LIKE` with a constant | where the store's `LIKE` looks at collations: MySQL and MariaDB |
//! | columns of one collation compared with each other, joins by them, ORDER BY, GROUP BY, DISTINCT, PARTITION BY, `min`, `max` | when the store runs the whole statement |
//!
//! Everything else compares by bytes: what the engine does itself, what is computed of a column (`lower(a)`), columns of different
//! collations, functions, `ILIKE`, and conditions that the engine concludes from others.
//!
//! **Why the whole statement:** where texts are made one (`GROUP BY a` keeps `abc` for `ABC` too), whoever compares what is left with
//! other texts must do so by the same rules, or rows get lost: a correlated subquery is computed for the different values of the outer
//! rows, and joined with them again. Such steps are the planner's own and nobody can look out for them in a statement. So they all
//! happen by one rule, and by bytes unless no step of the statement is the engine's ([`settles`]). A condition over a constant makes
//! nothing equal that is looked at later.
//!
//! **Invariants:** keys of a join that the engine runs find at least what is equal by bytes, because they are asked for by the store's
//! equality, and are checked by bytes; no order that a store makes by its own rules is relied on.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fragment::{
    Aggregate, AggregateCall, Expression, Function, Node, Relation, Shape, Tables, WindowCall, WindowFunction, shapes,
};
use super::predicate::{ColumnRef, Comparison, Predicate};
use super::relational::Use;
use super::schema::{Collation, Column, StoreSchema, Table};
use crate::options::{Form, OptionSpec};
use crate::pgtype::{PgField, PgType};

/// The key of a store file.
pub const OPTION: OptionSpec = OptionSpec {
    key: "collation",
    form: Form::Choice(&["faithful", "native"]),
    default: Some("faithful"),
    meaning: "Whose rules compare text: by bytes everywhere, or the store's own where it evaluates a condition with a constant or runs a whole statement, which may use its indexes and may answer otherwise.",
};

/// Whose rules compare the text of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Bytes, as everywhere.
    #[default]
    Faithful,
    /// The store's own, where it compares.
    Native,
}

impl Policy {
    /// The policy of a word of [`OPTION`].
    pub fn of_word(word: &str) -> Self {
        if word == "native" { Self::Native } else { Self::Faithful }
    }

    /// Lets the collations of text columns count for which `has_own` holds. The labels of an enum are no texts to their store.
    pub fn apply(self, schema: &mut StoreSchema, has_own: impl Fn(&Table, &Column) -> bool) {
        if self == Self::Faithful {
            return;
        }
        for table in &mut schema.tables {
            let own: Vec<bool> = table.columns.iter().map(|column| is_text(column) && has_own(table, column)).collect();
            if own.contains(&true) {
                let columns = Arc::make_mut(table).columns.iter_mut();
                columns.zip(own).filter(|(_, own)| *own).for_each(|(column, _)| make_native(column));
            }
        }
    }
}

fn is_text(column: &Column) -> bool {
    is_text_type(column.pg_type()) && column.field.enum_labels().is_none()
}

fn is_text_type(pg_type: PgType) -> bool {
    pg_type.oid == PgType::TEXT.oid || pg_type.oid == PgType::VARCHAR.oid
}

fn make_native(column: &mut Column) {
    column.collation = match std::mem::take(&mut column.collation) {
        Collation::Linguistic(name) => Collation::Native { name, is_loose: false },
        Collation::Loose(name) => Collation::Native { name, is_loose: true },
        other @ (Collation::Bytes | Collation::Native { .. }) => other,
    };
}

/// The collation of the store that counts for a value: of a stored column, of which nothing has been computed.
pub fn own(shape: &Shape) -> Option<&str> {
    match &shape.collation {
        Collation::Native { name, .. } if shape.origin.is_some() && is_text_type(shape.pg_type) => Some(name),
        _ => None,
    }
}

/// Whether the store's rules count where two values are compared. `whole` says that the statement is the store's ([`settles`]).
pub fn rules(whole: bool, [left, right]: [&Expression; 2], [one, other]: [&Shape; 2]) -> bool {
    match (own(one), own(other)) {
        (Some(one), Some(other)) => whole && one == other,
        (Some(_), None) => is_constant(right),
        (None, Some(_)) => is_constant(left),
        (None, None) => false,
    }
}

/// Whether the store's rules count for a value among constants.
pub fn rules_list(subject: &Shape, list: &[Expression]) -> bool {
    own(subject).is_some() && list.iter().all(is_constant)
}

fn is_constant(expression: &Expression) -> bool {
    matches!(expression.node, Node::Literal(Some(_)))
}

/// Whether a statement that the store runs whole may follow its rules wherever texts are ordered or made one: every such place is
/// over columns whose collations count, and no comparison would still be by bytes. `false` where there is no such place.
pub fn settles(root: &Relation, tables: &Tables) -> bool {
    let mut found = Found::default();
    root.visit(&mut |relation| found.look_at(relation, tables));
    found.is_used && !found.is_mixed
}

#[derive(Default)]
struct Found {
    is_used: bool,
    is_mixed: bool,
}

impl Found {
    fn look_at(&mut self, relation: &Relation, tables: &Tables) {
        let inputs: Vec<Shape> = relation.inputs().into_iter().flat_map(|input| shapes(input, tables)).collect();
        if matches!(relation, Relation::Distinct { .. }) {
            inputs.iter().for_each(|shape| self.key(shape));
        }
        for key in keys(relation) {
            self.key(&key.shape(&inputs, tables));
        }
        for expression in relation.expressions() {
            expression.visit(&mut |inner| self.comparison(inner, &inputs, tables));
        }
    }

    /// A value that is ordered, or made one with others.
    fn key(&mut self, shape: &Shape) {
        if is_native(shape) {
            self.is_used = true;
            self.is_mixed |= own(shape).is_none();
        }
    }

    fn comparison(&mut self, expression: &Expression, inputs: &[Shape], tables: &Tables) {
        let shape = |expression: &Expression| expression.shape(inputs, tables);
        match &expression.node {
            Node::Compare { left, right, .. } | Node::Distinct { left, right, .. } => {
                self.pair([left.as_ref(), right.as_ref()], [&shape(left.as_ref()), &shape(right.as_ref())]);
            }
            Node::In { subject, list, .. } => {
                let first = shape(subject.as_ref());
                list.iter().for_each(|item| self.pair([subject.as_ref(), item], [&first, &shape(item)]));
            }
            Node::Call { function: Function::NullIf | Function::Greatest | Function::Least, arguments } => {
                self.is_mixed |= arguments.iter().any(|argument| is_native(&shape(argument)));
            }
            _ => {}
        }
    }

    fn pair(&mut self, sides: [&Expression; 2], shapes: [&Shape; 2]) {
        if !shapes.into_iter().any(is_native) {
            return;
        }
        self.is_used |= shapes.into_iter().all(is_native);
        self.is_mixed |= !rules(true, sides, shapes);
    }
}

fn is_native(shape: &Shape) -> bool {
    is_text_type(shape.pg_type) && matches!(shape.collation, Collation::Native { .. })
}

/// The expressions of a node whose values are ordered, or made one where they are equal.
fn keys(relation: &Relation) -> Vec<&Expression> {
    match relation {
        Relation::Aggregate { groups, calls, .. } => groups.iter().chain(calls.iter().filter_map(compared_argument)).collect(),
        Relation::Sort { keys, .. } => keys.iter().map(|key| &key.expression).collect(),
        Relation::Window { calls, .. } => calls.iter().flat_map(keys_of_window).collect(),
        _ => Vec::new(),
    }
}

/// The argument of an aggregate that compares its values.
fn compared_argument(call: &AggregateCall) -> Option<&Expression> {
    call.argument.as_ref().filter(|_| call.distinct || is_extreme(call.aggregate))
}

fn keys_of_window(call: &WindowCall) -> Vec<&Expression> {
    let compares = matches!(call.function, WindowFunction::Aggregate(aggregate) if is_extreme(aggregate));
    let ordered = call.order_by.iter().map(|key| &key.expression);
    call.partition_by.iter().chain(ordered).chain(call.arguments.iter().filter(|_| compares)).collect()
}

fn is_extreme(aggregate: Aggregate) -> bool {
    matches!(aggregate, Aggregate::Minimum | Aggregate::Maximum)
}

/// Whether a store compares a column by its own rules for a purpose. Asked of columns whose collations count.
pub type Rules<'r> = &'r dyn Fn(&Column, Use) -> bool;

/// What a store is asked by a scan, with the columns that it compares by its own rules, for `EXPLAIN`.
pub fn noted_scan(asked: String, table: &Table, filter: &[Predicate], rules: Rules<'_>) -> String {
    let mut columns = BTreeSet::new();
    filter.iter().for_each(|predicate| gather(predicate, table, rules, &mut columns));
    noted(asked, &columns)
}

/// The same of a part of a plan.
pub fn noted_part(asked: String, root: &Relation, tables: &Tables, whole: bool, rules: Rules<'_>) -> String {
    if whole {
        return format!("{asked} (compares the texts of the whole statement by the store's own collations)");
    }
    let mut columns = BTreeSet::new();
    root.visit(&mut |relation| {
        if let Relation::Table(scan) = relation
            && let Some(table) = tables.get(&scan.table)
        {
            scan.filter.iter().for_each(|predicate| gather(predicate, table, rules, &mut columns));
        }
        let inputs: Vec<Shape> = relation.inputs().into_iter().flat_map(|input| shapes(input, tables)).collect();
        for expression in relation.expressions() {
            expression.visit(&mut |inner| gather_expression(inner, &inputs, tables, rules, &mut columns));
        }
    });
    noted(asked, &columns)
}

fn noted(asked: String, columns: &BTreeSet<String>) -> String {
    if columns.is_empty() {
        return asked;
    }
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    format!("{asked} (compares by the store's own collation: {})", names.join(", "))
}

fn gather(predicate: &Predicate, table: &Table, rules: Rules<'_>, found: &mut BTreeSet<String>) {
    let mut note = |column: &ColumnRef, purpose| {
        let column = table.columns.get(column.column).filter(|_| column.path.is_empty());
        let ruled = column.filter(|column| matches!(column.collation, Collation::Native { .. }) && rules(column, purpose));
        found.extend(ruled.map(|column| column.name().to_owned()));
    };
    match predicate {
        Predicate::Compare { column, op, .. } => note(column, Use::Compare(*op)),
        Predicate::In { column, negated, .. } => note(column, membership(*negated)),
        Predicate::Rows(rows) => rows.columns.iter().for_each(|column| note(column, Use::Member)),
        Predicate::Like { column, .. } => note(column, Use::Pattern),
        Predicate::IsNull { .. } => {}
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().for_each(|part| gather(part, table, rules, found)),
    }
}

fn gather_expression(expression: &Expression, inputs: &[Shape], tables: &Tables, rules: Rules<'_>, found: &mut BTreeSet<String>) {
    let (subject, purpose) = match &expression.node {
        Node::Compare { op, left, right } if is_constant(right) => (left, Use::Compare(*op)),
        Node::Compare { op, left, right } if is_constant(left) => (right, Use::Compare(op.flipped())),
        Node::Distinct { left, right, .. } if is_constant(right) => (left, Use::Compare(Comparison::NotEqual)),
        Node::Distinct { left, right, .. } if is_constant(left) => (right, Use::Compare(Comparison::NotEqual)),
        Node::In { subject, list, negated } if list.iter().all(is_constant) => (subject, membership(*negated)),
        Node::Like { subject, .. } => (subject, Use::Pattern),
        _ => return,
    };
    let shape = subject.shape(inputs, tables);
    let column = stored(&shape, tables).filter(|column| own(&shape).is_some() && rules(column, purpose));
    found.extend(column.map(|column| column.name().to_owned()));
}

/// What a column stands before `IN` for. `NOT IN` is told from it as `<>` is from `=`.
fn membership(negated: bool) -> Use {
    if negated { Use::Compare(Comparison::NotEqual) } else { Use::Member }
}

/// The column whose values a shape has.
fn stored<'t>(shape: &Shape, tables: &'t Tables) -> Option<&'t Column> {
    let origin = shape.origin.as_ref()?;
    tables.get(&origin.table)?.columns.get(origin.column)
}

#[cfg(test)]
mod tests;
