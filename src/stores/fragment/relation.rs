//! Relations of a fragment: what each node of it makes of its inputs.

use serde::{Deserialize, Serialize};

use super::super::connector::Scan;
use super::super::value::Value;
use super::expression::Expression;
use crate::pgtype::PgType;

/// A node that makes rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Relation {
    /// A stored table: its chosen columns, under conditions that [`super::super::Connector::pushdown`] took as exact.
    Table(Scan),
    /// Constant rows.
    Values {
        /// The types of the columns.
        types: Vec<PgType>,
        /// The rows; `None` is NULL.
        rows: Vec<Vec<Option<Value>>>,
    },
    /// The rows for which the condition is true.
    Filter {
        /// The input.
        input: Box<Relation>,
        /// A boolean.
        condition: Expression,
    },
    /// One column per expression.
    Project {
        /// The input.
        input: Box<Relation>,
        /// The output columns.
        expressions: Vec<Expression>,
    },
    /// Columns of the left input, then those of the right one; only the left ones for [`JoinKind::Semi`] and [`JoinKind::Anti`].
    Join {
        /// The left input.
        left: Box<Relation>,
        /// The right input.
        right: Box<Relation>,
        /// Which rows are kept.
        kind: JoinKind,
        /// The condition over the columns of both; `None` is always true.
        condition: Option<Expression>,
    },
    /// The groups, then the calls. Without groups exactly one row. NULLs are one group.
    Aggregate {
        /// The input.
        input: Box<Relation>,
        /// What rows are grouped by.
        groups: Vec<Expression>,
        /// What is computed for each group.
        calls: Vec<AggregateCall>,
    },
    /// Rows without repetitions; NULLs are equal.
    Distinct {
        /// The input.
        input: Box<Relation>,
    },
    /// The rows in an order, and of them those after `offset`, at most `limit`. The order of a fragment's rows is promised only by
    /// this node, at its root or below a [`Relation::Limit`] or [`Relation::Project`] there.
    Sort {
        /// The input.
        input: Box<Relation>,
        /// The keys, the first one foremost.
        keys: Vec<SortKey>,
        /// Rows that are left out first.
        offset: u64,
        /// The most rows.
        limit: Option<u64>,
    },
    /// Some rows, in no order unless the input has one.
    Limit {
        /// The input.
        input: Box<Relation>,
        /// Rows that are left out first.
        offset: u64,
        /// The most rows.
        limit: Option<u64>,
    },
    /// All rows of all inputs, repetitions kept. The columns of the inputs have the same types.
    Union {
        /// At least one input.
        inputs: Vec<Relation>,
    },
    /// The columns of the input, then one per call.
    Window {
        /// The input.
        input: Box<Relation>,
        /// What is computed over other rows.
        calls: Vec<WindowCall>,
    },
}

/// Which rows a join keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JoinKind {
    /// Pairs for which the condition is true.
    Inner,
    /// The same, and left rows without a pair, with NULLs.
    Left,
    /// The same, and right rows without a pair.
    Right,
    /// The same, and rows of both sides without a pair.
    Full,
    /// Left rows that have a pair, once.
    Semi,
    /// Left rows that have none (`NOT EXISTS`: a NULL condition is no pair).
    Anti,
}

/// An aggregate of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregateCall {
    /// Which.
    pub aggregate: Aggregate,
    /// Its argument; none for [`Aggregate::CountRows`].
    pub argument: Option<Expression>,
    /// Whether equal values count once.
    pub distinct: bool,
    /// The rows that take part.
    pub filter: Option<Expression>,
    /// The type of the result.
    pub pg_type: PgType,
}

/// Aggregates that a fragment may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Aggregate {
    /// `count(*)`
    CountRows,
    /// `count(a)`
    Count,
    /// `sum(a)`: NULL without a value; `bigint` for smaller integers, `numeric` for `bigint`.
    Sum,
    /// `avg(a)`: `numeric` for integers, with PostgreSQL's scale of a quotient.
    Average,
    /// `min(a)`; text by bytes.
    Minimum,
    /// `max(a)`; text by bytes.
    Maximum,
    /// `bool_and(a)`
    BoolAnd,
    /// `bool_or(a)`
    BoolOr,
}

impl Aggregate {
    /// PostgreSQL's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::CountRows | Self::Count => "count",
            Self::Sum => "sum",
            Self::Average => "avg",
            Self::Minimum => "min",
            Self::Maximum => "max",
            Self::BoolAnd => "bool_and",
            Self::BoolOr => "bool_or",
        }
    }
}

/// A sort key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SortKey {
    /// What rows are ordered by; text by bytes, NaN above all other floats.
    pub expression: Expression,
    /// `DESC`
    pub descending: bool,
    /// `NULLS FIRST`
    pub nulls_first: bool,
}

/// A window function of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowCall {
    /// Which.
    pub function: WindowFunction,
    /// Its arguments.
    pub arguments: Vec<Expression>,
    /// Rows with equal values here see one another.
    pub partition_by: Vec<Expression>,
    /// The order inside a partition.
    pub order_by: Vec<SortKey>,
    /// Which rows around the current one take part; `None` for functions that have none.
    pub frame: Option<Frame>,
    /// The type of the result.
    pub pg_type: PgType,
}

/// Window functions that a fragment may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WindowFunction {
    /// An aggregate over the frame.
    Aggregate(Aggregate),
    /// `row_number()`
    RowNumber,
    /// `rank()`
    Rank,
    /// `dense_rank()`
    DenseRank,
    /// `lag(a [, offset [, default]])`
    Lag,
    /// `lead(a [, offset [, default]])`
    Lead,
    /// `first_value(a)`
    FirstValue,
    /// `last_value(a)`
    LastValue,
}

/// The frame of a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// What the bounds count.
    pub unit: FrameUnit,
    /// Where it starts.
    pub start: Bound,
    /// Where it ends.
    pub end: Bound,
}

/// What the bounds of a frame count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FrameUnit {
    /// Rows.
    Rows,
    /// Values of the only sort key; peers of the current row belong to it.
    Range,
    /// Groups of peers.
    Groups,
}

/// An end of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Bound {
    /// The partition's first row.
    UnboundedPreceding,
    /// So many before.
    Preceding(u64),
    /// The current row.
    CurrentRow,
    /// So many after.
    Following(u64),
    /// The partition's last row.
    UnboundedFollowing,
}

impl Relation {
    /// The operation as `EXPLAIN` names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Table(_) => "table",
            Self::Values { .. } => "values",
            Self::Filter { .. } => "filter",
            Self::Project { .. } => "projection",
            Self::Join { kind: JoinKind::Semi, .. } => "semi join",
            Self::Join { kind: JoinKind::Anti, .. } => "anti join",
            Self::Join { kind: JoinKind::Inner, .. } => "join",
            Self::Join { .. } => "outer join",
            Self::Aggregate { .. } => "aggregate",
            Self::Distinct { .. } => "distinct",
            Self::Sort { limit: Some(_), .. } => "top rows",
            Self::Sort { .. } => "sort",
            Self::Limit { .. } => "limit",
            Self::Union { .. } => "union",
            Self::Window { .. } => "window",
        }
    }

    /// The inputs, in order.
    pub fn inputs(&self) -> Vec<&Self> {
        match self {
            Self::Table(_) | Self::Values { .. } => Vec::new(),
            Self::Filter { input, .. }
            | Self::Project { input, .. }
            | Self::Aggregate { input, .. }
            | Self::Distinct { input }
            | Self::Sort { input, .. }
            | Self::Limit { input, .. }
            | Self::Window { input, .. } => vec![input],
            Self::Join { left, right, .. } => vec![left, right],
            Self::Union { inputs } => inputs.iter().collect(),
        }
    }
}
