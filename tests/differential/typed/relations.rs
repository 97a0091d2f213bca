//! What stands in FROM: tables, derived tables, common table expressions, and joins of them.

use super::super::tables::{Column, Nature, TABLES};
use super::{Field, Made, Maker, Place, Quality, RELATIONS_MAX, Scope};

/// Most rows that a join may be expected to have; both sides are cut to `FEW` where it would be more.
const ROWS_MAX: usize = 12_000;
/// Rows of a side that was cut.
const FEW: usize = 30;

/// A relation before it is joined.
struct Relation {
    /// With its alias.
    sql: String,
    /// The same with few rows, where that is possible.
    cut: Option<String>,
    scope: Scope,
}

impl Maker {
    /// A table, or a common table expression.
    pub fn table(&mut self) -> (String, Scope) {
        let relation = self.relation(0);
        (relation.sql, relation.scope)
    }

    /// Some relations joined; `depth` bounds how deep derived tables are nested.
    pub fn from(&mut self, depth: usize) -> (String, Scope) {
        let joins = self.choices.weighted(&[45, 40, 15]);
        let first = self.relation(depth);
        let (mut sql, mut scope, mut cut) = (first.sql, first.scope, first.cut);
        for _ in 0..joins {
            if self.relations >= RELATIONS_MAX {
                break;
            }
            let next = self.relation(depth);
            (sql, scope) = self.joined((sql, cut.take(), scope), next);
        }
        (sql, scope)
    }

    fn relation(&mut self, depth: usize) -> Relation {
        self.relations += 1;
        let kind = self.choices.weighted(&[70, 8, 22]);
        if kind == 1 && !self.withs.is_empty() {
            let at = self.choices.below(self.withs.len());
            let alias = self.name("w");
            let (name, scope) = &self.withs[at];
            return Relation { sql: format!("{name} AS {alias}"), cut: None, scope: renamed(scope, name, &alias) };
        }
        if kind == 2 && depth > 0 && self.relations < RELATIONS_MAX {
            return self.derived(depth - 1);
        }
        let table = self.choices.pick(TABLES);
        let alias = self.name("t");
        let scope = Scope {
            fields: table.columns.iter().map(|column| field(column, &alias)).collect(),
            unique: Some(vec![format!("{alias}.{}", table.key)]),
            rows: table.rows,
        };
        let cut = format!("(SELECT * FROM {} WHERE {} <= {FEW}) AS {alias}", table.name, table.key);
        Relation { sql: format!("{} AS {alias}", table.name), cut: Some(cut), scope }
    }

    fn derived(&mut self, depth: usize) -> Relation {
        let made = self.within(Place::Inner, |maker| maker.query(depth));
        let alias = self.name("d");
        let scope = scope_of(&made, &alias);
        Relation { sql: format!("({}) AS {alias}", made.sql), cut: None, scope }
    }

    /// `WITH` for the statement that follows.
    pub fn with(&mut self) -> String {
        let made = self.within(Place::Inner, |maker| maker.query(1));
        let name = self.name("with");
        let word = *self.choices.pick(&["", "", "NOT MATERIALIZED ", "MATERIALIZED "]);
        self.withs.push((name.clone(), scope_of(&made, &name)));
        format!("WITH {name} AS {word}({}) ", made.sql)
    }

    fn joined(&mut self, left: (String, Option<String>, Scope), right: Relation) -> (String, Scope) {
        let (mut left_sql, left_cut, left) = left;
        let (mut right_sql, right_cut, right) = (right.sql, right.cut, right.scope);
        let word = *self.choices.pick(&["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"]);
        let pair = if word == "CROSS JOIN" { None } else { self.matching(&left, &right) };
        let is_key = |scope: &Scope, field: &Field| scope.unique.as_deref() == Some(std::slice::from_ref(&field.sql));
        let mut rows = match &pair {
            Some((a, b)) if is_key(&left, a) || is_key(&right, b) => left.rows.max(right.rows),
            Some(_) => left.rows * right.rows / 6,
            None => left.rows * right.rows,
        };
        if rows > ROWS_MAX {
            left_sql = left_cut.unwrap_or(left_sql);
            right_sql = right_cut.unwrap_or(right_sql);
            rows = FEW * FEW;
        }
        let mut both = left.beside(right);
        both.rows = rows;
        let on = match &pair {
            None if word == "CROSS JOIN" => String::new(),
            None => format!(" ON {}", self.choices.pick(&["true", "false"])),
            Some((a, b)) => format!(" ON {} = {}{}", a.sql, b.sql, self.extra(word, &both)),
        };
        // A full join without any equality is beyond PostgreSQL.
        let word = if pair.is_none() && word == "FULL JOIN" { "LEFT JOIN" } else { word };
        (format!("{left_sql} {word} {right_sql}{on}"), both)
    }

    /// More conditions of a join.
    fn extra(&mut self, word: &str, both: &Scope) -> String {
        // PostgreSQL refuses full joins whose conditions are not all hashed or merged.
        let likely = if word == "FULL JOIN" { 0 } else { 30 };
        if self.choices.chance(likely) { format!(" AND {}", self.condition(both, 0)) } else { String::new() }
    }
}

fn field(column: &Column, alias: &str) -> Field {
    Field {
        sql: format!("{alias}.{}", column.name),
        ty: column.ty,
        quality: if column.nature == Nature::Plain { Quality::Exact } else { Quality::Loose },
        refers: column.refers,
        tame: column.nature != Nature::Wild,
        literals: column.literals,
    }
}

fn scope_of(made: &Made, alias: &str) -> Scope {
    let place = |index: usize| format!("{alias}.{}_{index}", made.names);
    let fields = made.columns.iter().enumerate().map(|(index, column)| Field {
        sql: place(index),
        ty: column.ty,
        quality: column.quality,
        refers: column.ty.is_whole(),
        tame: false,
        literals: &[],
    });
    Scope {
        fields: fields.collect(),
        unique: made.unique.as_ref().map(|at| at.iter().map(|at| place(*at)).collect()),
        rows: made.rows,
    }
}

/// The same columns under another alias.
fn renamed(scope: &Scope, name: &str, alias: &str) -> Scope {
    let again = |sql: &String| sql.replacen(&format!("{name}."), &format!("{alias}."), 1);
    let fields = scope.fields.iter().map(|field| Field { sql: again(&field.sql), ..field.clone() }).collect();
    Scope { fields, unique: scope.unique.as_ref().map(|unique| unique.iter().map(again).collect()), rows: scope.rows }
}
