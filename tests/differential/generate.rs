//! Statements made by a fixed seed: random predicates, joins, groups, orders and set operations over the tables of the sets.
//!
//! Every statement has one right answer: limits come with a total order, and floats are summed only where sums are exact.

use super::random::Random;
use super::tables::{self, PLAIN, TABLES, Type};

/// The seed of the first statement; each statement has its own.
const SEED: u64 = 20_240_229;

/// A table as this generator reads it.
struct Source {
    name: &'static str,
    key: &'static str,
    columns: Vec<Column>,
}

/// A column with literals that meet its values.
struct Column {
    name: &'static str,
    kind: Kind,
    literals: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Whole numbers that may be keys of other tables.
    Key,
    Number,
    Float,
    Text,
    Bool,
    Date,
    Moment,
    Zoned,
}

/// The tables whose numbers are all written with one scale, without the columns of the typed generator alone.
fn sources() -> Vec<Source> {
    let column = |column: &tables::Column| Column { name: column.name, kind: kind(column), literals: column.literals };
    let columns = |table: &tables::Table| table.columns.iter().filter(|column| !column.typed).map(column).collect();
    TABLES[..PLAIN].iter().map(|table| Source { name: table.name, key: table.key, columns: columns(table) }).collect()
}

fn kind(column: &tables::Column) -> Kind {
    match column.ty {
        Type::Small | Type::Int | Type::Big if column.refers => Kind::Key,
        Type::Small | Type::Int | Type::Big | Type::Numeric => Kind::Number,
        Type::Float => Kind::Float,
        Type::Text => Kind::Text,
        Type::Bool => Kind::Bool,
        Type::Date => Kind::Date,
        Type::Moment => Kind::Moment,
        Type::Zoned => Kind::Zoned,
        Type::Interval | Type::Uuid | Type::Bytes => unreachable!("columns of these types are read by the typed generator alone"),
    }
}

const JOINS: &[&str] = &["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"];

/// As many statements as wanted, the same ones every time.
pub fn statements(count: usize) -> Vec<String> {
    let sources = sources();
    (0..count).map(|number| statement(&mut Random::new(SEED + u64::try_from(number).unwrap()), &sources)).collect()
}

fn statement(random: &mut Random, sources: &[Source]) -> String {
    let source = random.pick(sources);
    match random.below(7) {
        0 => format!("SELECT {} FROM {} t WHERE {}", listed(random, source), source.name, predicate(random, source, "t", 2)),
        1 => ordered(random, source),
        2 => grouped(random, source),
        3 | 4 => joined(random, source, sources),
        5 => contained(random, source, sources),
        _ => combined(random, source, sources),
    }
}

fn listed(random: &mut Random, source: &Source) -> String {
    let mut names = vec![source.key];
    names.extend(source.columns.iter().map(|column| column.name).filter(|name| *name != source.key && random.chance(50)));
    names.join(", ")
}

fn ordered(random: &mut Random, source: &Source) -> String {
    let by = random.pick(&source.columns).name;
    let direction = random.pick(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
    let (limit, offset) = (random.below(30), random.below(3) * 5);
    format!(
        "SELECT {key}, {by} AS b FROM {} t WHERE {} ORDER BY {by}{direction}, {key} LIMIT {limit} OFFSET {offset}",
        source.name,
        predicate(random, source, "t", 1),
        key = source.key
    )
}

fn grouped(random: &mut Random, source: &Source) -> String {
    let by = random.pick(&source.columns);
    let mut counted = vec!["count(*)".to_owned()];
    for column in &source.columns {
        counted.push(match column.kind {
            Kind::Number | Kind::Key if random.chance(50) => format!("sum({})", column.name),
            Kind::Number | Kind::Key if random.chance(50) => format!("avg({})", column.name),
            Kind::Bool => format!("bool_or({})", column.name),
            _ => format!("{}({})", random.pick(&["min", "max", "count"]), column.name),
        });
    }
    let having = if random.chance(30) { " HAVING count(*) > 2" } else { "" };
    format!(
        "SELECT {by}, {} FROM {} t WHERE {} GROUP BY {by}{having}",
        counted.join(", "),
        source.name,
        predicate(random, source, "t", 1),
        by = by.name
    )
}

fn joined(random: &mut Random, left: &Source, sources: &[Source]) -> String {
    let right = random.pick(sources);
    let kind = if random.chance(25) { Kind::Text } else { Kind::Key };
    let (Some(a), Some(b)) = (of_kind(random, left, kind), of_kind(random, right, kind)) else {
        return grouped(random, left);
    };
    // Text matches too often to be shown whole.
    let limit = if kind == Kind::Text { " AND a.{key} < 40 AND b.{other} < 40" } else { "" };
    let limit = limit.replace("{key}", left.key).replace("{other}", right.key);
    let condition = if random.chance(40) { format!(" AND {}", predicate(random, right, "b", 1)) } else { String::new() };
    let word = if random.chance(70) { "AND" } else { "OR" };
    let filter = format!("({} {word} {})", predicate(random, left, "a", 1), predicate(random, right, "b", 1));
    format!(
        "SELECT a.{}, b.{} AS other FROM {} a {} {} b ON a.{a} = b.{b}{condition} WHERE {filter}{limit}",
        left.key,
        right.key,
        left.name,
        random.pick(JOINS),
        right.name
    )
}

fn contained(random: &mut Random, outer: &Source, sources: &[Source]) -> String {
    let inner = random.pick(sources);
    let (Some(a), Some(b)) = (of_kind(random, outer, Kind::Key), of_kind(random, inner, Kind::Key)) else {
        return ordered(random, outer);
    };
    let filter = predicate(random, inner, "i", 1);
    let condition = match random.below(4) {
        0 => format!("o.{a} IN (SELECT i.{b} FROM {} i WHERE {filter})", inner.name),
        1 => format!("o.{a} NOT IN (SELECT i.{b} FROM {} i WHERE {filter})", inner.name),
        2 => format!("EXISTS (SELECT 1 FROM {} i WHERE i.{b} = o.{a} AND {filter})", inner.name),
        _ => format!("NOT EXISTS (SELECT 1 FROM {} i WHERE i.{b} = o.{a} AND {filter})", inner.name),
    };
    format!("SELECT o.{} FROM {} o WHERE {condition} AND {}", outer.key, outer.name, predicate(random, outer, "o", 1))
}

fn combined(random: &mut Random, left: &Source, sources: &[Source]) -> String {
    let right = random.pick(sources);
    let kind = *random.pick(&[Kind::Key, Kind::Number, Kind::Text]);
    let (Some(a), Some(b)) = (of_kind(random, left, kind), of_kind(random, right, kind)) else { return grouped(random, left) };
    let word = random.pick(&["UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"]);
    // Equal numbers of different scale are shown as either of them by anything that drops duplicates.
    let cast = if kind == Kind::Number { "::numeric(24,4)" } else { "" };
    format!(
        "SELECT t.{a}{cast} AS v FROM {} t WHERE {} {word} SELECT t.{b}{cast} FROM {} t WHERE {}",
        left.name,
        predicate(random, left, "t", 1),
        right.name,
        predicate(random, right, "t", 1)
    )
}

fn of_kind(random: &mut Random, source: &Source, kind: Kind) -> Option<&'static str> {
    let found: Vec<&'static str> = source.columns.iter().filter(|column| column.kind == kind).map(|column| column.name).collect();
    if found.is_empty() { None } else { Some(*random.pick(found.as_slice())) }
}

/// A condition on one table; `depth` bounds how far AND, OR and NOT nest.
fn predicate(random: &mut Random, source: &Source, alias: &str, depth: usize) -> String {
    if depth > 0 && random.chance(60) {
        let (left, right) = (predicate(random, source, alias, depth - 1), predicate(random, source, alias, depth - 1));
        return match random.below(4) {
            0 => format!("({left} OR {right})"),
            1 => format!("NOT ({left} AND {right})"),
            2 => format!("NOT ({left} OR {right})"),
            _ => format!("({left} AND {right})"),
        };
    }
    let column = random.pick(&source.columns);
    let name = format!("{alias}.{}", column.name);
    let literal = random.pick(column.literals);
    let other = random.pick(column.literals);
    if column.kind == Kind::Text && random.chance(25) {
        let pattern = random.pick(&["'a%'", "'%o%'", "'_d_'", "'A%'", "'%'", "'%''%'", "'z_e'"]);
        return format!("{name} {} {pattern}", random.pick(&["LIKE", "ILIKE", "NOT LIKE", "NOT ILIKE"]));
    }
    match random.below(9) {
        0 => format!("{name} IS NULL"),
        1 => format!("{name} IS NOT NULL"),
        2 => format!("{name} IN ({literal}, {other})"),
        3 => format!("{name} NOT IN ({literal}, {other})"),
        4 => format!("{name} BETWEEN {literal} AND {other}"),
        5 => format!("{name} IS DISTINCT FROM {literal}"),
        _ => format!("{name} {} {literal}", random.pick(&["=", "=", "<>", "<", "<=", ">", ">="])),
    }
}

#[test]
fn statements_are_the_same_every_time() {
    assert_eq!(statements(50), statements(50));
    let distinct: std::collections::BTreeSet<String> = statements(GENERATED_IN_TEST).into_iter().collect();
    assert!(distinct.len() > GENERATED_IN_TEST * 9 / 10);
}

#[cfg(test)]
const GENERATED_IN_TEST: usize = 200;
