//! Conditions, with and without subqueries.

use super::super::tables::Type;
use super::{Field, Maker, Place, RELATIONS_MAX, Scope, Value};

const COMPARISONS: &[&str] = &["=", "=", "<>", "<", "<=", ">", ">="];
const PATTERNS: &[&str] = &["'a%'", "'%o%'", "'_d_'", "'A%'", "'%'", "'%''%'", "'z_e'", "'%é%'", "'% '", "''", "'a\\_b%'"];

/// Most pairs of rows that a correlated subquery may be asked for.
const PAIRS_MAX: usize = 200_000;

impl Maker {
    /// A condition; `depth` bounds how deep it is.
    pub fn condition(&mut self, scope: &Scope, depth: usize) -> String {
        if scope.fields.is_empty() {
            return "true".to_owned();
        }
        let (whole, query) = if depth > 0 { (30, 12) } else { (0, 0) };
        match self.choices.weighted(&[30, 6, 6, 6, 5, 5, 5, 6, 4, 3, whole, query]) {
            0 => self.compared(scope),
            1 => {
                let field = self.some_field(scope);
                format!("{} IS {}NULL", field.sql, self.choices.pick(&["", "NOT "]))
            }
            2 => self.listed(scope),
            3 => {
                let field = self.some_field(scope);
                let (low, high) = (self.literal_of(&field), self.literal_of(&field));
                let word = *self.choices.pick(&["BETWEEN", "BETWEEN", "NOT BETWEEN", "BETWEEN SYMMETRIC"]);
                format!("{} {word} {low} AND {high}", field.sql)
            }
            4 => {
                let text = self.value(scope, Type::Text, depth.min(1)).sql;
                let word = *self.choices.pick(&["LIKE", "ILIKE", "NOT LIKE", "NOT ILIKE"]);
                format!("{text} {word} {}", self.choices.pick(PATTERNS))
            }
            5 => {
                let field = self.some_field(scope);
                let value = self.value(scope, field.ty, depth.min(1)).sql;
                format!("{} IS {}DISTINCT FROM {value}", field.sql, self.choices.pick(&["", "NOT "]))
            }
            6 => self.computed(scope, depth.min(1)),
            7 => self.truth(scope, depth),
            8 => self.mixed(scope),
            9 => self.rows_compared(scope),
            10 => self.combined(scope, depth - 1),
            _ => self.queried(scope, depth - 1),
        }
    }

    fn some_field(&mut self, scope: &Scope) -> Field {
        scope.fields[self.choices.below(scope.fields.len())].clone()
    }

    /// A literal that may be among the values of a column.
    fn literal_of(&mut self, field: &Field) -> String {
        if field.literals.is_empty() { self.literal(field.ty).sql } else { (*self.choices.pick(field.literals)).to_owned() }
    }

    fn compared(&mut self, scope: &Scope) -> String {
        let field = self.some_field(scope);
        let literal = self.literal_of(&field);
        if field.ty == Type::Bool && self.choices.chance(50) {
            return field.sql;
        }
        format!("{} {} {literal}", field.sql, self.choices.pick(COMPARISONS))
    }

    fn listed(&mut self, scope: &Scope) -> String {
        let field = self.some_field(scope);
        let mut values: Vec<String> = (0..=self.choices.below(4)).map(|_| self.literal_of(&field)).collect();
        if self.choices.chance(10) {
            values.push("NULL".to_owned());
        }
        format!("{} {} ({})", field.sql, self.choices.pick(&["IN", "NOT IN"]), values.join(", "))
    }

    fn computed(&mut self, scope: &Scope, depth: usize) -> String {
        let field = self.some_field(scope);
        let (a, b) = (self.value(scope, field.ty, depth), self.value(scope, field.ty, depth));
        format!("{} {} {}", a.sql, self.choices.pick(COMPARISONS), b.sql)
    }

    fn truth(&mut self, scope: &Scope, depth: usize) -> String {
        let inner = match scope.of_type(Type::Bool).is_empty() {
            false => self.field(scope, Type::Bool).sql,
            true => self.condition(scope, depth.saturating_sub(1).min(1)),
        };
        let word = *self.choices.pick(&["IS TRUE", "IS NOT TRUE", "IS FALSE", "IS NOT FALSE", "IS UNKNOWN", "IS NOT UNKNOWN"]);
        format!("({inner}) {word}")
    }

    /// Numbers of different types, dates beside moments.
    fn mixed(&mut self, scope: &Scope) -> String {
        let sort: fn(Type) -> bool =
            if self.choices.chance(70) { Type::is_number } else { |ty| matches!(ty, Type::Date | Type::Moment | Type::Zoned) };
        let fields: Vec<Field> = scope.where_type(sort).into_iter().cloned().collect();
        if fields.is_empty() {
            return self.compared(scope);
        }
        let (a, b) = (self.choices.pick(&fields).sql.clone(), self.choices.pick(&fields).sql.clone());
        format!("{a} {} {b}", self.choices.pick(COMPARISONS))
    }

    fn rows_compared(&mut self, scope: &Scope) -> String {
        let (a, b) = (self.some_field(scope), self.some_field(scope));
        let (x, y) = (self.literal_of(&a), self.literal_of(&b));
        if self.choices.chance(50) {
            let (v, w) = (self.literal_of(&a), self.literal_of(&b));
            return format!("({}, {}) IN (({x}, {y}), ({v}, {w}))", a.sql, b.sql);
        }
        format!("({}, {}) {} ({x}, {y})", a.sql, b.sql, self.choices.pick(COMPARISONS))
    }

    fn combined(&mut self, scope: &Scope, depth: usize) -> String {
        let left = self.condition(scope, depth);
        match self.choices.below(4) {
            0 => format!("({left} AND {})", self.condition(scope, depth)),
            1 => format!("({left} OR {})", self.condition(scope, depth)),
            2 => format!("NOT ({left})"),
            _ => format!("NOT ({left} OR {})", self.condition(scope, depth)),
        }
    }

    /// A condition that asks another query.
    fn queried(&mut self, scope: &Scope, depth: usize) -> String {
        if self.relations >= RELATIONS_MAX {
            return self.compared(scope);
        }
        self.within(Place::Inner, |maker| {
            let (from, inner) = maker.table();
            let correlated = scope.rows * inner.rows <= PAIRS_MAX;
            let mut filter = maker.condition(&inner, depth.min(1));
            if correlated && maker.choices.chance(50) {
                filter = format!("{} AND {filter}", maker.tied(scope, &inner));
            }
            maker.asked(scope, &inner, &format!("FROM {from} WHERE {filter}"))
        })
    }

    /// A column of the inner query beside one of the outer one.
    fn tied(&mut self, scope: &Scope, inner: &Scope) -> String {
        let Some((outer, inner)) = self.matching(scope, inner) else { return "true".to_owned() };
        format!("{} {} {}", inner.sql, self.choices.pick(&["=", "=", "=", "=", "<", "<>"]), outer.sql)
    }

    fn asked(&mut self, scope: &Scope, inner: &Scope, rest: &str) -> String {
        let Some((outer, asked)) = self.matching(scope, inner) else { return format!("EXISTS (SELECT 1 {rest})") };
        let uuids = asked.ty == Type::Uuid;
        let (outer, asked) = (outer.sql, asked.sql);
        match self.choices.below(8) {
            0 => format!("EXISTS (SELECT 1 {rest})"),
            1 => format!("{outer} IN (SELECT {asked} {rest})"),
            2 => format!("NOT EXISTS (SELECT 1 {rest})"),
            3 => format!("{outer} NOT IN (SELECT {asked} {rest})"),
            4 => format!("{outer} {} ANY (SELECT {asked} {rest})", self.choices.pick(COMPARISONS)),
            5 => format!("{outer} {} ALL (SELECT {asked} {rest})", self.choices.pick(COMPARISONS)),
            6 if uuids => format!("{outer} NOT IN (SELECT {asked} {rest})"),
            6 => {
                let (word, best) = (self.choices.pick(COMPARISONS), self.choices.pick(&["max", "min", "max"]));
                format!("{outer} {word} (SELECT {best}({asked}) {rest})")
            }
            _ => format!("(SELECT count(*) {rest}) {} {}", self.choices.pick(COMPARISONS), self.choices.pick(&["0", "1", "3"])),
        }
    }

    /// Columns of two scopes that can be compared for equality; keys are preferred.
    pub fn matching(&mut self, left: &Scope, right: &Scope) -> Option<(Field, Field)> {
        let keys = |scope: &Scope| scope.fields.iter().filter(|field| field.refers).cloned().collect::<Vec<Field>>();
        let (left_keys, right_keys) = (keys(left), keys(right));
        if !left_keys.is_empty() && !right_keys.is_empty() && !self.choices.chance(25) {
            return Some((self.choices.pick(&left_keys).clone(), self.choices.pick(&right_keys).clone()));
        }
        let comparable = |field: &Field| !matches!(field.ty, Type::Bool | Type::Bytes | Type::Interval);
        let left: Vec<&Field> = left.fields.iter().filter(|field| comparable(field)).collect();
        if left.is_empty() {
            return None;
        }
        let first = (*self.choices.pick(&left)).clone();
        let same = |field: &&Field| field.ty == first.ty || (field.ty.is_number() && first.ty.is_number());
        let right: Vec<&Field> = right.fields.iter().filter(same).collect();
        if right.is_empty() {
            return None;
        }
        let second = (*self.choices.pick(&right)).clone();
        Some((first, second))
    }

    /// A subquery that gives one value.
    pub fn scalar_subquery(&mut self, scope: &Scope) -> Option<Value> {
        if self.relations >= RELATIONS_MAX {
            return None;
        }
        self.within(Place::Inner, |maker| {
            let (from, inner) = maker.table();
            let (outer, key) = maker.matching(scope, &inner)?;
            let correlated = scope.rows * inner.rows <= PAIRS_MAX;
            if correlated && inner.unique.as_deref() == Some(std::slice::from_ref(&key.sql)) && maker.choices.chance(40) {
                let value = maker.any_value(&inner, 1);
                let sql = format!("(SELECT {} FROM {from} WHERE {} = {})", value.sql, key.sql, outer.sql);
                return Some(Value { sql, ..value });
            }
            let value = maker.aggregate(&inner, false);
            let tie = if correlated { format!("{} = {}", key.sql, outer.sql) } else { "true".to_owned() };
            let filter = maker.condition(&inner, 1);
            Some(Value { sql: format!("(SELECT {} FROM {from} WHERE {tie} AND {filter})", value.sql), ..value })
        })
    }
}
