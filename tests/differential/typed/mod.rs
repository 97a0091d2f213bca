//! Statements made from random choices by rules that know the type of every expression, over all tables of the stage.
//!
//! ```text
//! values      expressions of a wanted type             conditions  what is true, false or neither; subqueries
//! relations   FROM: tables, joins, derived tables      queries     SELECT lists, groups, windows, set operations, orders
//! ```
//!
//! **One right answer.** LIMIT and OFFSET stand under a total order alone, and so do the frames of windows. Inside of a
//! statement every value is the same in every correct plan. Only the outermost SELECT list may give values that are
//! determined in part (`Quality`): which of several equal values stands for a group or is the least one (1.0 or 1.00, -0 or
//! 0) is decided by the order of rows, and so are the last digits of sums of floats, because addition of floats is not
//! associative. The former are compared as values, the latter with a tolerance (`compare`).
//!
//! **Errors.** Expressions that may fail for some rows (`hazard`) are made in two places. In the outermost SELECT list of a
//! statement without LIMIT and DISTINCT every row that passes WHERE is computed: both sides fail or neither. Everywhere else
//! (conditions, subqueries, below a LIMIT) PostgreSQL itself leaves open which rows meet an expression, so one side may fail
//! where the other answers. That is tolerated under these conditions only: the statement has such an expression
//! (`Statement::may_fail`), and the one error is of class 22. Where both fail, the SQLSTATEs must be equal; two different
//! ones of class 22 are tolerated if at least two expressions of the statement may fail.

mod conditions;
mod queries;
mod relations;
mod values;

use super::choices::Choices;
use super::tables::Type;

/// A statement that has one right answer.
pub struct Statement {
    pub sql: String,
    /// The time zone of the session.
    pub zone: &'static str,
    /// Whether the order of its rows is determined.
    pub ordered: bool,
    /// How its columns are compared.
    pub columns: Vec<Quality>,
    /// Whether an expression that may fail stands where plans may differ in the rows that meet it.
    pub may_fail: bool,
    /// How many expressions may fail.
    pub hazards: usize,
}

/// How much of a value is determined, from all of it down.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Quality {
    /// All of it, and equal values look the same.
    Exact,
    /// All of it, but equal values may look different.
    Loose,
    /// What it equals, not how it looks.
    Chosen,
    /// Nearly what it equals.
    Approximate,
}

/// Zones whose clocks change, are off by half an hour, or have nothing of this.
const ZONES: &[&str] = &["UTC", "America/New_York", "Asia/Kolkata", "Europe/Berlin"];

/// Most relations of a statement, those of its subqueries included.
const RELATIONS_MAX: usize = 6;

/// Makes the statement that follows from choices.
pub fn statement(choices: Choices) -> (Statement, Choices) {
    let mut maker = Maker {
        choices,
        names: 0,
        prefix: "r".to_owned(),
        relations: 0,
        withs: Vec::new(),
        place: Place::Inner,
        hazards: 0,
        may_fail: false,
    };
    let zone = *maker.choices.pick(ZONES);
    let made = maker.outermost();
    let statement = Statement {
        sql: made.sql,
        zone,
        ordered: made.ordered,
        columns: made.columns.iter().map(|column| column.quality).collect(),
        may_fail: maker.may_fail,
        hazards: maker.hazards,
    };
    (statement, maker.choices)
}

/// Where an expression stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where every row that passes WHERE meets it, and its value goes to the client.
    Output,
    /// Anywhere else.
    Inner,
}

/// What makes a statement.
struct Maker {
    choices: Choices,
    names: usize,
    /// What the names of the output columns of the query in the making begin with.
    prefix: String,
    relations: usize,
    /// Common table expressions by name.
    withs: Vec<(String, Scope)>,
    place: Place,
    hazards: usize,
    may_fail: bool,
}

/// An expression.
#[derive(Clone, Debug)]
struct Value {
    sql: String,
    ty: Type,
    quality: Quality,
}

/// A column that expressions may read.
#[derive(Clone, Debug)]
struct Field {
    sql: String,
    ty: Type,
    quality: Quality,
    /// Whether it may be the key of something.
    refers: bool,
    /// Whether floats in it can be added up.
    tame: bool,
    literals: &'static [&'static str],
}

/// What expressions may read.
#[derive(Clone, Debug, Default)]
struct Scope {
    fields: Vec<Field>,
    /// Columns that are together different in every row, if such are known.
    unique: Option<Vec<String>>,
    /// A guess.
    rows: usize,
}

/// A query.
struct Made {
    sql: String,
    /// What the names of its columns begin with; their places follow.
    names: String,
    columns: Vec<Value>,
    ordered: bool,
    /// Whether no two rows are equal in the output columns with these positions.
    unique: Option<Vec<usize>>,
    rows: usize,
}

impl Maker {
    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    /// Whether an expression that may fail is to be made here.
    fn hazard(&mut self) -> bool {
        let made = match self.place {
            Place::Output => self.choices.chance(30),
            Place::Inner => self.choices.chance(3),
        };
        if made {
            self.hazards += 1;
            self.may_fail |= self.place == Place::Inner;
        }
        made
    }

    /// Does something as if it stood elsewhere.
    fn within<T>(&mut self, place: Place, make: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.place, place);
        let made = make(self);
        self.place = before;
        made
    }
}

impl Scope {
    fn of_type(&self, ty: Type) -> Vec<&Field> {
        self.fields.iter().filter(|field| field.ty == ty).collect()
    }

    fn where_type(&self, wanted: impl Fn(Type) -> bool) -> Vec<&Field> {
        self.fields.iter().filter(|field| wanted(field.ty)).collect()
    }

    /// All fields of both; a row of both is known by both keys.
    fn beside(mut self, other: Self) -> Self {
        self.fields.extend(other.fields);
        self.unique = self.unique.zip(other.unique).map(|(left, right)| [left, right].concat());
        self
    }
}

impl Type {
    fn is_whole(self) -> bool {
        matches!(self, Self::Small | Self::Int | Self::Big)
    }

    fn is_number(self) -> bool {
        self.is_whole() || matches!(self, Self::Numeric | Self::Float)
    }

    /// Whether values can be ordered and grouped, and equal ones of a plain column look the same.
    fn is_plain(self) -> bool {
        self != Self::Interval
    }
}

#[test]
fn statements_are_the_same_every_time() {
    let made = |number| statement(Choices::new(number));
    let mut distinct = std::collections::BTreeSet::new();
    for number in 0..500 {
        let (first, choices) = made(number);
        assert_eq!(first.sql, made(number).0.sql);
        assert_eq!(first.sql, statement(Choices::again(choices.tape())).0.sql, "the tape says everything");
        distinct.insert(first.sql);
    }
    assert!(distinct.len() > 480, "{} of 500 are different", distinct.len());
}
