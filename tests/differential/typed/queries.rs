//! Whole queries: SELECT lists, groups, windows, set operations, and the orders that limits need.

use super::super::tables::Type;
use super::{Made, Maker, Place, Quality, RELATIONS_MAX, Scope, Value};

/// Types that set operations combine.
const COMBINED: &[Type] = &[Type::Big, Type::Text, Type::Int, Type::Numeric, Type::Date, Type::Bool, Type::Zoned, Type::Float];

impl Maker {
    /// A whole statement.
    pub fn outermost(&mut self) -> Made {
        let with = if self.choices.chance(12) { self.with() } else { String::new() };
        let made = self.shape(2, true);
        Made { sql: format!("{with}{}", made.sql), ..made }
    }

    /// A query within another, all of whose values are exact or loose.
    pub fn query(&mut self, depth: usize) -> Made {
        let names = self.name("c");
        let before = std::mem::replace(&mut self.prefix, names);
        let made = self.shape(depth, false);
        self.prefix = before;
        made
    }

    fn shape(&mut self, depth: usize, outer: bool) -> Made {
        match self.choices.weighted(&[34, 26, 8, 10, 11, 6, 5]) {
            0 => self.plain(depth, outer),
            1 => self.grouped(depth, outer),
            2 => self.totals(depth, outer),
            3 => self.windowed(depth, outer),
            4 => self.combination(depth, outer),
            5 => self.distinct(depth, outer),
            _ => self.distinct_on(depth, outer),
        }
    }

    fn filter(&mut self, scope: &Scope) -> String {
        if !self.choices.chance(75) {
            return String::new();
        }
        format!(" WHERE {}", self.within(Place::Inner, |maker| maker.condition(scope, 2)))
    }

    fn plain(&mut self, depth: usize, outer: bool) -> Made {
        let (from, scope) = self.from(depth);
        let filter = self.filter(&scope);
        let limited = scope.unique.is_some() && self.choices.chance(if outer { 20 } else { 8 });
        let place = if outer && !limited { Place::Output } else { Place::Inner };
        let keyed = scope.unique.as_ref().filter(|_| self.choices.chance(50)).cloned();
        let mut columns = self.keys(&scope, keyed.as_deref().unwrap_or_default());
        let unique = keyed.map(|keys| (0..keys.len()).collect());
        for _ in 0..=self.choices.below(3) {
            let column = self.within(place, |maker| maker.output(&scope));
            columns.push(column);
        }
        let mut sql = format!("SELECT {} FROM {from}{filter}", listed(&self.prefix, &columns));
        let total = limited || (outer && scope.unique.is_some() && self.choices.chance(25));
        if total {
            let mut order = self.order(&columns, 2);
            order.extend(scope.unique.clone().unwrap_or_default());
            sql.push_str(&format!(" ORDER BY {}", order.join(", ")));
        }
        if limited {
            sql.push_str(&self.limit());
        }
        Made { names: self.prefix.clone(), sql, columns, ordered: total, unique, rows: if limited { 20 } else { scope.rows } }
    }

    /// What a SELECT list shows.
    fn output(&mut self, scope: &Scope) -> Value {
        if self.choices.chance(10)
            && let Some(value) = self.scalar_subquery(scope)
        {
            return value;
        }
        self.any_value(scope, 2)
    }

    fn keys(&self, scope: &Scope, names: &[String]) -> Vec<Value> {
        let found = names.iter().filter_map(|name| scope.fields.iter().find(|field| field.sql == *name));
        found.map(|field| Value { sql: field.sql.clone(), ty: field.ty, quality: field.quality }).collect()
    }

    /// Up to `count` columns to sort by, by their names.
    fn order(&mut self, columns: &[Value], count: usize) -> Vec<String> {
        let chosen: Vec<usize> = (0..self.choices.below(count + 1)).map(|_| self.choices.below(columns.len())).collect();
        chosen.into_iter().map(|at| self.directed(format!("{}_{at}", self.prefix))).collect()
    }

    fn directed(&mut self, name: String) -> String {
        format!("{name}{}", self.choices.pick(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST", " ASC NULLS LAST"]))
    }

    /// All columns, in any direction.
    fn order_by_all(&mut self, columns: &[Value]) -> String {
        let order: Vec<String> = (0..columns.len()).map(|at| self.directed(format!("{}_{at}", self.prefix))).collect();
        format!(" ORDER BY {}", order.join(", "))
    }

    fn limit(&mut self) -> String {
        let offset = *self.choices.pick(&["", "", " OFFSET 3", " OFFSET 1000"]);
        format!(" LIMIT {}{offset}", self.choices.pick(&["5", "1", "20", "0", "100"]))
    }

    /// Something that stands for its equals: what two rows have in common.
    fn common(&mut self, scope: &Scope, outer: bool) -> Value {
        let fields: Vec<usize> = (0..scope.fields.len()).filter(|at| scope.fields[*at].ty.is_plain()).collect();
        if fields.is_empty() {
            return Value { sql: "true".to_owned(), ty: Type::Bool, quality: Quality::Exact };
        }
        let field = scope.fields[*self.choices.pick(&fields)].clone();
        let plain = Value { sql: field.sql, ty: field.ty, quality: field.quality };
        let mut value = plain.clone();
        if self.choices.chance(30) {
            let made = self.within(Place::Inner, |maker| maker.value(scope, field.ty, 1));
            // Constants in GROUP BY are positions or errors.
            if scope.fields.iter().any(|field| made.sql.contains(&field.sql)) && !made.sql.contains("SELECT") {
                value = made;
            }
        }
        chosen(value, outer)
    }

    fn grouped(&mut self, depth: usize, outer: bool) -> Made {
        let (from, scope) = self.from(depth);
        let filter = self.filter(&scope);
        let mut keys: Vec<Value> = (0..=self.choices.weighted(&[60, 30, 10])).map(|_| self.common(&scope, outer)).collect();
        let count = keys.len();
        let sets = count > 1 && self.choices.chance(10);
        for _ in 0..=self.choices.below(3) {
            let value = self.aggregate(&scope, outer);
            keys.push(value);
        }
        let columns = keys;
        let names: Vec<String> = match self.choices.chance(50) {
            true => columns[..count].iter().map(|key| key.sql.clone()).collect(),
            false => (1..=count).map(|at| at.to_string()).collect(),
        };
        let by = match (sets, self.choices.below(2)) {
            (false, _) => names.join(", "),
            (true, 0) => format!("ROLLUP ({})", names.join(", ")),
            (true, _) => format!("GROUPING SETS (({}), ({}), ())", names[0], names.join(", ")),
        };
        let mut sql = format!("SELECT {} FROM {from}{filter} GROUP BY {by}{}", listed(&self.prefix, &columns), self.having(&scope));
        let total = !sets && self.choices.chance(if outer { 30 } else { 8 });
        if total {
            sql.push_str(&self.order_by_all(&columns[..count]));
            if self.choices.chance(50) {
                sql.push_str(&self.limit());
            }
        }
        Made { names: self.prefix.clone(), sql, columns, ordered: total, unique: (!sets).then(|| (0..count).collect()), rows: 40 }
    }

    fn having(&mut self, scope: &Scope) -> String {
        if !self.choices.chance(25) {
            return String::new();
        }
        let value = self.aggregate(scope, false);
        let literal = match value.ty {
            Type::Big | Type::Numeric => (*self.choices.pick(&["1", "2", "5", "0"])).to_owned(),
            other => self.literal(other).sql,
        };
        match self.choices.below(3) {
            0 => format!(" HAVING count(*) > {}", self.choices.pick(&["1", "2", "10"])),
            1 => format!(" HAVING {} {} {literal}", value.sql, self.choices.pick(&["=", "<>", "<", ">"])),
            _ => format!(" HAVING {} IS NOT NULL", value.sql),
        }
    }

    /// One row of aggregates.
    fn totals(&mut self, depth: usize, outer: bool) -> Made {
        let (from, scope) = self.from(depth);
        let filter = self.filter(&scope);
        let columns: Vec<Value> = (0..=self.choices.below(4)).map(|_| self.aggregate(&scope, outer)).collect();
        let sql = format!("SELECT {} FROM {from}{filter}{}", listed(&self.prefix, &columns), self.having(&scope));
        Made { names: self.prefix.clone(), sql, columns, ordered: false, unique: Some(Vec::new()), rows: 1 }
    }

    /// An aggregate over rows of a scope. Where `outer` is false, its value is determined.
    pub fn aggregate(&mut self, scope: &Scope, outer: bool) -> Value {
        let value = self.within(Place::Inner, |maker| maker.bare_aggregate(scope, outer));
        if !self.choices.chance(20) {
            return value;
        }
        let condition = self.within(Place::Inner, |maker| maker.condition(scope, 0));
        Value { sql: format!("{} FILTER (WHERE {condition})", value.sql), ..value }
    }

    fn bare_aggregate(&mut self, scope: &Scope, outer: bool) -> Value {
        let of = |sql: String, ty: Type, quality: Quality| Value { sql, ty, quality };
        let distinct = if self.choices.chance(15) { "DISTINCT " } else { "" };
        match self.choices.below(9) {
            0 => of("count(*)".to_owned(), Type::Big, Quality::Exact),
            1 => of(format!("count({distinct}{})", self.common(scope, true).sql), Type::Big, Quality::Exact),
            2 => {
                let ty = *self.choices.pick(&[Type::Int, Type::Small, Type::Big]);
                let sum = if ty == Type::Big { Type::Numeric } else { Type::Big };
                of(format!("sum({distinct}{})", self.value(scope, ty, 1).sql), sum, Quality::Exact)
            }
            3 => {
                let value = self.value(scope, Type::Numeric, 1);
                let value = if distinct.is_empty() { value } else { chosen(value, outer) };
                of(format!("sum({distinct}{})", value.sql), Type::Numeric, value.quality.max(Quality::Loose))
            }
            4 => {
                let ty = *self.choices.pick(&[Type::Int, Type::Numeric, Type::Small, Type::Big]);
                let value = self.value(scope, ty, 1);
                let value = if distinct.is_empty() { value } else { chosen(value, outer) };
                of(format!("avg({distinct}{})", value.sql), Type::Numeric, value.quality.max(Quality::Loose))
            }
            5 => {
                let condition = self.condition(scope, 0);
                of(format!("{}({condition})", self.choices.pick(&["bool_and", "bool_or", "every"])), Type::Bool, Quality::Exact)
            }
            6 if outer => self.float_aggregate(scope),
            7 => {
                let text = self.value(scope, Type::Text, 1).sql;
                of(format!("string_agg({text}, ',' ORDER BY {text})"), Type::Text, Quality::Exact)
            }
            _ => self.best(scope, outer),
        }
    }

    fn best(&mut self, scope: &Scope, outer: bool) -> Value {
        let value = self.common(scope, outer);
        if matches!(value.ty, Type::Bool | Type::Uuid | Type::Bytes) {
            return Value { sql: format!("count({})", value.sql), ty: Type::Big, quality: Quality::Exact };
        }
        Value { sql: format!("{}({})", self.choices.pick(&["max", "min"]), value.sql), ..value }
    }

    fn float_aggregate(&mut self, scope: &Scope) -> Value {
        let tame: Vec<String> =
            scope.fields.iter().filter(|field| field.ty == Type::Float && field.tame).map(|field| field.sql.clone()).collect();
        let argument = match tame.is_empty() {
            true => format!("({} % 1000)::float8", self.field(scope, Type::Int).sql),
            false => self.choices.pick(&tame).clone(),
        };
        let name = self.choices.pick(&["sum", "avg"]);
        Value { sql: format!("{name}({argument})"), ty: Type::Float, quality: Quality::Approximate }
    }

    fn windowed(&mut self, depth: usize, outer: bool) -> Made {
        let (from, scope) = self.from(depth);
        let Some(unique) = scope.unique.clone() else { return self.distinct(depth, outer) };
        let filter = self.filter(&scope);
        let mut columns = self.keys(&scope, &unique);
        let positions = (columns.len() == unique.len() && !unique.is_empty()).then(|| (0..unique.len()).collect());
        for _ in 0..=self.choices.below(2) {
            let value = self.within(Place::Inner, |maker| maker.window(&scope, &unique));
            columns.push(value);
        }
        let sql = format!("SELECT {} FROM {from}{filter}", listed(&self.prefix, &columns));
        Made { names: self.prefix.clone(), sql, columns, ordered: false, unique: positions, rows: scope.rows }
    }

    fn window(&mut self, scope: &Scope, unique: &[String]) -> Value {
        let partition = match self.choices.chance(60) {
            true => format!("PARTITION BY {} ", self.common(scope, true).sql),
            false => String::new(),
        };
        let by = self.common(scope, true).sql;
        let by = self.directed(by);
        let total = [std::slice::from_ref(&by), unique].concat().join(", ");
        let of = |sql: String, ty: Type, quality: Quality| Value { sql, ty, quality };
        let frame = *self.choices.pick(&["", "", " ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING", " ROWS UNBOUNDED PRECEDING"]);
        match self.choices.below(9) {
            0 => of(format!("row_number() OVER ({partition}ORDER BY {total})"), Type::Big, Quality::Exact),
            1 => of(format!("rank() OVER ({partition}ORDER BY {by})"), Type::Big, Quality::Exact),
            2 => of(format!("dense_rank() OVER ({partition}ORDER BY {by})"), Type::Big, Quality::Exact),
            3 => {
                let value = self.value(scope, Type::Int, 1).sql;
                of(format!("sum({value}) OVER ({partition}ORDER BY {total}{frame})"), Type::Big, Quality::Exact)
            }
            4 => {
                let value = self.value(scope, Type::Numeric, 0);
                of(format!("sum({}) OVER ({partition}ORDER BY {by})", value.sql), Type::Numeric, Quality::Loose)
            }
            5 => of(format!("count(*) OVER ({partition})"), Type::Big, Quality::Exact),
            6 => {
                let (value, word) = (self.any_value(scope, 1), *self.choices.pick(&["lag", "lead"]));
                of(format!("{word}({}) OVER ({partition}ORDER BY {total})", value.sql), value.ty, value.quality)
            }
            7 => {
                let (value, word) = (self.any_value(scope, 1), *self.choices.pick(&["first_value", "last_value"]));
                of(format!("{word}({}) OVER ({partition}ORDER BY {total}{frame})", value.sql), value.ty, value.quality)
            }
            _ => of(format!("ntile(4) OVER ({partition}ORDER BY {total})"), Type::Int, Quality::Exact),
        }
    }

    fn combination(&mut self, depth: usize, outer: bool) -> Made {
        let types: Vec<Type> = (0..=self.choices.weighted(&[60, 40])).map(|_| *self.choices.pick(COMBINED)).collect();
        let (mut sql, first) = self.branch(depth, &types);
        let mut columns = first;
        let more = if self.relations < RELATIONS_MAX { 1 + usize::from(self.choices.chance(15)) } else { 1 };
        let mut all = true;
        for _ in 0..more {
            let word = *self.choices.pick(&["UNION ALL", "UNION", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL", "UNION"]);
            all &= word == "UNION ALL";
            let (next, values) = self.branch(depth, &types);
            sql = format!("{sql} {word} {next}");
            for (column, value) in columns.iter_mut().zip(values) {
                // Equal numbers of two branches may have different scales.
                let scales = if column.ty == Type::Numeric { Quality::Loose } else { Quality::Exact };
                column.quality = column.quality.max(value.quality).max(scales);
            }
        }
        // Which of several equal values stays is not known before it is known which of them are loose.
        let loose = columns.iter().any(|column| column.quality != Quality::Exact);
        let total = !loose && self.choices.chance(35);
        if total {
            sql.push_str(&self.order_by_all(&columns));
            if self.choices.chance(50) {
                sql.push_str(&self.limit());
            }
        }
        if !all && loose && !outer {
            return self.plain(0, false);
        }
        if !all {
            columns = columns.into_iter().map(|column| chosen(column, true)).collect();
        }
        Made { names: self.prefix.clone(), sql, columns, ordered: total, unique: None, rows: 200 }
    }

    fn branch(&mut self, depth: usize, types: &[Type]) -> (String, Vec<Value>) {
        let (from, scope) = if self.choices.chance(25) { self.from(depth.min(1)) } else { self.table() };
        let filter = self.filter(&scope);
        let columns: Vec<Value> = types.iter().map(|ty| self.within(Place::Inner, |maker| maker.value(&scope, *ty, 1))).collect();
        (format!("SELECT {} FROM {from}{filter}", listed(&self.prefix, &columns)), columns)
    }

    fn distinct(&mut self, depth: usize, outer: bool) -> Made {
        let (from, scope) = self.from(depth);
        let filter = self.filter(&scope);
        let columns: Vec<Value> = (0..=self.choices.below(3)).map(|_| self.common(&scope, outer)).collect();
        let mut sql = format!("SELECT DISTINCT {} FROM {from}{filter}", listed(&self.prefix, &columns));
        let total = self.choices.chance(40);
        if total {
            sql.push_str(&self.order_by_all(&columns));
            if self.choices.chance(50) {
                sql.push_str(&self.limit());
            }
        }
        let all = (0..columns.len()).collect();
        Made { names: self.prefix.clone(), sql, columns, ordered: total, unique: Some(all), rows: 60 }
    }

    fn distinct_on(&mut self, depth: usize, outer: bool) -> Made {
        let (from, scope) = self.from(depth);
        let Some(unique) = scope.unique.clone() else { return self.plain(depth, outer) };
        let filter = self.filter(&scope);
        // The first row of each group is known, and with it how its values look.
        let key = self.common(&scope, true);
        let mut columns = vec![Value { quality: key.quality.min(Quality::Loose), ..key.clone() }];
        for _ in 0..=self.choices.below(2) {
            let value = self.within(Place::Inner, |maker| maker.any_value(&scope, 1));
            columns.push(value);
        }
        let mut order = vec![self.directed(key.sql.clone())];
        if self.choices.chance(50) {
            let by = self.common(&scope, true).sql;
            order.push(self.directed(by));
        }
        let order = [order, unique].concat().join(", ");
        let sql =
            format!("SELECT DISTINCT ON ({}) {} FROM {from}{filter} ORDER BY {order}", key.sql, listed(&self.prefix, &columns));
        Made { names: self.prefix.clone(), sql, columns, ordered: true, unique: Some(vec![0]), rows: 60 }
    }
}

/// A value that stands for its equals. Where values must be determined, equal ones are made to look the same.
fn chosen(value: Value, outer: bool) -> Value {
    match (value.quality, outer, value.ty) {
        (Quality::Exact, _, _) => value,
        (_, true, _) => Value { quality: Quality::Chosen, ..value },
        (_, false, Type::Float) => Value { sql: format!("(floor({}) + 0)", value.sql), quality: Quality::Exact, ..value },
        (_, false, _) => Value { sql: format!("round({}, 3)", value.sql), quality: Quality::Exact, ..value },
    }
}

fn listed(names: &str, columns: &[Value]) -> String {
    columns.iter().enumerate().map(|(at, column)| format!("{} AS {names}_{at}", column.sql)).collect::<Vec<_>>().join(", ")
}
