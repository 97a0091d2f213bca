//! What a statement is written with: its text so far, its aliases and its terms.

use std::sync::Arc;

use super::super::super::fragment::{Expression, Node, Relation, Shape, Tables};
use super::super::super::schema::Table;
use super::super::super::value::Value;
use super::super::sql::{Sql, Unwritable};
use super::block::Term;
use super::phrasing::{Like, Phrasing};
use crate::pgtype::PgType;

/// Writes the expressions of one statement. Columns in what a [`Phrasing`] is given are terms of the statement, which only the pen can
/// read; every expression that it writes stands for itself, in parentheses where others could reach into it.
pub struct Pen<'p> {
    pub(super) phrasing: &'p dyn Phrasing,
    pub(super) tables: &'p Tables,
    pub(super) sql: &'p mut Sql,
    terms: Vec<Arc<Term>>,
    /// What is known of each term.
    shapes: Vec<Shape>,
    /// How large each term is when it is written, in nodes.
    weights: Vec<usize>,
    aliases: usize,
    /// The name of the first table, in its quotes, where it has no alias because the statement changes it.
    target: Option<String>,
    /// What is written before the statement.
    shared: Vec<Relation>,
}

/// The first alias, which the table has that a statement changes.
pub(super) const TARGET: usize = 0;

/// A subquery is never repeated.
const SUBQUERY_WEIGHT: usize = 1_000;

impl<'p> Pen<'p> {
    /// A pen that writes to the end of `sql`.
    pub(super) fn new(phrasing: &'p dyn Phrasing, tables: &'p Tables, sql: &'p mut Sql) -> Self {
        Self {
            phrasing,
            tables,
            sql,
            terms: Vec::new(),
            shapes: Vec::new(),
            weights: Vec::new(),
            aliases: 0,
            target: None,
            shared: Vec::new(),
        }
    }

    /// The same pen for a statement that changes `table`, which is the first one that is read.
    pub(super) fn changing(mut self, table: &Table) -> Self {
        self.target = Some(self.sql.dialect().quote(&table.id.name));
        self
    }

    /// Appends text that is ours; never a value or a name.
    pub fn push(&mut self, ours: &str) {
        self.sql.push(ours);
    }

    /// The statement so far, to append values and names.
    pub fn sql(&mut self) -> &mut Sql {
        self.sql
    }

    /// What is known of the value of an expression.
    pub fn shape(&self, expression: &Expression) -> Shape {
        expression.shape(&self.shapes, self.tables)
    }

    /// The stored tables that the fragment reads.
    pub fn tables(&self) -> &Tables {
        self.tables
    }

    /// Appends an expression.
    ///
    /// # Errors
    /// A value or column that cannot be written.
    pub fn expression(&mut self, expression: &Expression) -> Result<(), Unwritable> {
        let phrasing = self.phrasing;
        match &expression.node {
            Node::Column(term) => self.column(*term),
            Node::Literal(value) => phrasing.write_literal(value.as_ref(), expression.pg_type, self.sql),
            Node::And(parts) => self.junction(parts, " AND ", true),
            Node::Or(parts) => self.junction(parts, " OR ", false),
            Node::Not(operand) => {
                self.push("(NOT ");
                self.expression(operand)?;
                self.push(")");
                Ok(())
            }
            Node::Compare { op, left, right } => phrasing.write_compare(*op, left, right, self),
            Node::Distinct { left, right, negated } => phrasing.write_distinct(left, right, *negated, self),
            Node::IsNull { operand, negated } => phrasing.write_is_null(operand, *negated, self),
            Node::IsTruth { operand, truth, negated } => phrasing.write_is_truth(operand, *truth, *negated, self),
            Node::In { subject, list, negated } => phrasing.write_in(subject, list, *negated, self),
            Node::Like { subject, pattern, negated, case_insensitive } => {
                let like = Like { subject, pattern, negated: *negated, case_insensitive: *case_insensitive };
                phrasing.write_like(&like, self)
            }
            Node::Case { branches, otherwise } => self.case(branches, otherwise.as_deref()),
            Node::Field { .. } => Err(Unwritable("is a field of a document")),
            Node::Cast(operand) => phrasing.write_cast(operand, expression.pg_type, self),
            Node::Call { function, arguments } => phrasing.write_call(*function, arguments, expression.pg_type, self),
            Node::Subquery(relation) => self.subquery(relation),
        }
    }

    /// Appends expressions with commas between them.
    ///
    /// # Errors
    /// As [`Pen::expression`].
    pub fn list<'e>(&mut self, expressions: impl IntoIterator<Item = &'e Expression>) -> Result<(), Unwritable> {
        for (place, expression) in expressions.into_iter().enumerate() {
            self.push(if place == 0 { "" } else { ", " });
            self.expression(expression)?;
        }
        Ok(())
    }

    /// Appends `name(arguments)`; the name is ours.
    ///
    /// # Errors
    /// As [`Pen::expression`].
    pub fn call(&mut self, name: &str, arguments: &[Expression]) -> Result<(), Unwritable> {
        self.push(name);
        self.push("(");
        self.list(arguments)?;
        self.push(")");
        Ok(())
    }

    /// Appends `(left word right)`; the word is ours.
    ///
    /// # Errors
    /// As [`Pen::expression`].
    pub fn between(&mut self, left: &Expression, word: &str, right: &Expression) -> Result<(), Unwritable> {
        self.push("(");
        self.expression(left)?;
        self.push(" ");
        self.push(word);
        self.push(" ");
        self.expression(right)?;
        self.push(")");
        Ok(())
    }

    fn junction(&mut self, parts: &[Expression], word: &str, when_empty: bool) -> Result<(), Unwritable> {
        if parts.is_empty() {
            return self.phrasing.write_literal(Some(&Value::Bool(when_empty)), PgType::BOOL, self.sql);
        }
        self.push("(");
        for (place, part) in parts.iter().enumerate() {
            self.push(if place == 0 { "" } else { word });
            self.expression(part)?;
        }
        self.push(")");
        Ok(())
    }

    fn case(&mut self, branches: &[(Expression, Expression)], otherwise: Option<&Expression>) -> Result<(), Unwritable> {
        self.push("CASE");
        for (condition, value) in branches {
            self.push(" WHEN ");
            self.expression(condition)?;
            self.push(" THEN ");
            self.expression(value)?;
        }
        if let Some(value) = otherwise {
            self.push(" ELSE ");
            self.expression(value)?;
        }
        self.push(" END");
        Ok(())
    }

    fn subquery(&mut self, relation: &Relation) -> Result<(), Unwritable> {
        let block = self.block(relation)?;
        self.push("(");
        self.select(&block)?;
        self.push(")");
        Ok(())
    }

    fn column(&mut self, term: usize) -> Result<(), Unwritable> {
        let phrasing = self.phrasing;
        let found = self.term(term).ok_or(Unwritable("belongs to no column of the relation"))?;
        match found.as_ref() {
            Term::Stored { alias, table, column } => {
                let tables = self.tables;
                let column = stored(tables, table)?.columns.get(*column).ok_or(Unwritable("belongs to no column of the table"))?;
                phrasing.write_stored(column, &self.alias_name(*alias), self.sql)
            }
            Term::Made { alias, place } => {
                let name = self.alias_name(*alias);
                self.sql.push(&name);
                self.sql.push(".c");
                self.sql.push(itoa::Buffer::new().format(*place));
                Ok(())
            }
            Term::Computed(expression) => self.expression(expression),
            Term::Group(key) => {
                let pg_type = self.shape_of(*key).pg_type;
                phrasing.write_key(&Expression::column(*key, pg_type), self)
            }
            Term::Aggregate(call) => phrasing.write_aggregate(call, self),
            Term::Window(call) => phrasing.write_window(call, self),
        }
    }

    /// The number under which a relation is written before the statement.
    pub(super) fn shared(&self, relation: &Relation) -> Option<usize> {
        self.shared.iter().position(|shared| shared == relation)
    }

    /// Notes that a relation has been written before the statement.
    pub(super) fn share(&mut self, relation: &Relation) {
        self.shared.push(relation.clone());
    }

    /// The number of the next alias.
    pub(super) fn alias(&mut self) -> usize {
        self.aliases += 1;
        self.aliases - 1
    }

    /// What an alias is called.
    pub(super) fn alias_name(&self, alias: usize) -> String {
        match &self.target {
            Some(name) if alias == TARGET => name.clone(),
            _ => format!("t{alias}"),
        }
    }

    /// Adds a term of a known shape.
    pub(super) fn add(&mut self, term: Term, shape: Shape) -> usize {
        let weight = match &term {
            Term::Stored { .. } | Term::Made { .. } | Term::Group(_) => 1,
            Term::Computed(expression) => self.weight(expression),
            Term::Aggregate(call) => 1 + call.argument.iter().chain(&call.filter).map(|inner| self.weight(inner)).sum::<usize>(),
            Term::Window(call) => {
                1 + call.arguments.iter().chain(&call.partition_by).map(|inner| self.weight(inner)).sum::<usize>()
            }
        };
        self.terms.push(Arc::new(term));
        self.shapes.push(shape);
        self.weights.push(weight);
        self.terms.len() - 1
    }

    /// The term of an expression over terms.
    pub(super) fn computed(&mut self, expression: Expression) -> usize {
        if let Node::Column(term) = expression.node {
            return term;
        }
        let shape = self.shape(&expression);
        self.add(Term::Computed(expression), shape)
    }

    pub(super) fn term(&self, term: usize) -> Option<Arc<Term>> {
        self.terms.get(term).cloned()
    }

    /// What is known of a term.
    pub(super) fn shape_of(&self, term: usize) -> Shape {
        self.shape(&Expression::column(term, PgType::UNKNOWN))
    }

    /// How large a term is.
    pub(super) fn weight_of(&self, term: usize) -> usize {
        self.weights.get(term).copied().unwrap_or(1)
    }

    /// Notes that a column may lack a row.
    pub(super) fn make_nullable(&mut self, term: usize) {
        if let Some(shape) = self.shapes.get_mut(term) {
            shape.nullable = true;
        }
    }

    fn weight(&self, expression: &Expression) -> usize {
        let mut weight = 0_usize;
        expression.visit(&mut |inner| {
            weight += match &inner.node {
                Node::Column(term) => self.weight_of(*term),
                Node::Subquery(_) => SUBQUERY_WEIGHT,
                _ => 1,
            };
        });
        weight
    }
}

/// The name of what is written before the statement. Stored tables are called with their namespaces.
pub(super) fn shared_name(number: usize) -> String {
    format!("w{number}")
}

/// A table of the fragment.
pub(super) fn stored<'t>(tables: &'t Tables, table: &super::super::super::schema::TableId) -> Result<&'t Table, Unwritable> {
    tables.get(table).map(AsRef::as_ref).ok_or(Unwritable("belongs to no table of the fragment"))
}
