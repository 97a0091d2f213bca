//! One SELECT of a statement under construction, and the terms that its expressions are over.

use super::super::super::fragment::{AggregateCall, Expression, SortKey, WindowCall};
use super::super::super::predicate::Predicate;
use super::super::super::schema::TableId;
use super::super::super::value::Value;
use crate::pgtype::PgType;

/// What a column ordinal of an expression stands for once the expression belongs to a block: terms are numbered through the whole
/// statement.
#[derive(Debug)]
pub(super) enum Term {
    /// A column of a stored table.
    Stored { alias: usize, table: TableId, column: usize },
    /// A column of a derived table.
    Made { alias: usize, place: usize },
    /// An expression over terms.
    Computed(Expression),
    /// The key of a group, which is a term.
    Group(usize),
    /// An aggregate over terms.
    Aggregate(AggregateCall),
    /// A window function over terms.
    Window(WindowCall),
}

/// One SELECT. Its parts are evaluated in this order, so that a node of the relation can join the block of its input as long as
/// nothing behind its own part is taken.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Inner joins of all of these; nothing for one row without columns.
    pub from: Vec<Source>,
    pub conditions: Vec<Condition>,
    /// `Some` and empty for an aggregate without groups.
    pub groups: Option<Vec<usize>>,
    pub having: Vec<Expression>,
    pub has_windows: bool,
    pub distinct: bool,
    pub order: Vec<SortKey>,
    pub offset: u64,
    pub limit: Option<u64>,
    /// The terms that it gives, in order.
    pub output: Vec<usize>,
}

/// What rows come from.
#[derive(Debug)]
pub(super) enum Source {
    Table {
        table: TableId,
        alias: usize,
    },
    Values {
        types: Vec<PgType>,
        rows: Vec<Vec<Option<Value>>>,
        alias: usize,
    },
    Derived {
        block: Box<Block>,
        alias: usize,
    },
    Union {
        blocks: Vec<Block>,
        alias: usize,
    },
    /// What is written before the statement, by its number there.
    Shared {
        number: usize,
        alias: usize,
    },
    /// An outer join: FULL, or else LEFT.
    Outer {
        left: Vec<Source>,
        right: Vec<Source>,
        full: bool,
        condition: Vec<Condition>,
    },
}

/// A condition of WHERE or ON.
#[derive(Debug)]
pub(super) enum Condition {
    /// An expression over terms.
    Term(Expression),
    /// A condition of a scan.
    Stored { table: TableId, alias: usize, predicate: Predicate },
    /// The cells that the fragment computes with are of the kinds that it takes them for, or else the statement fails.
    Checked { table: TableId, alias: usize },
    /// A row of the block exists; its conditions hold that of the join.
    Exists { block: Box<Block>, negated: bool },
    /// The left sides are, or are not, among the rows of the block.
    Among { subjects: Vec<Expression>, block: Box<Block>, negated: bool },
}

impl Block {
    /// Whether rows are only joined and filtered, so that conditions, groups and joins can be added.
    pub(super) fn is_plain(&self) -> bool {
        self.groups.is_none() && !self.has_windows && !self.distinct && !self.is_limited()
    }

    /// Drops an order that nobody sees. One that decides which rows are left out stays.
    pub(super) fn forget_order(&mut self) {
        if !self.is_limited() {
            self.order.clear();
        }
    }

    /// Whether rows are left out by their number.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some() || self.offset > 0
    }
}
