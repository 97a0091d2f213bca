//! Statements that write to one table, made by a seed over the columns that every store has; none of them may be refused.

use super::super::random::Random;
use super::script::Topic;

/// Rows that are left after this many statements are too few to be worth changing, so that new ones come.
const REFILL: usize = 8;

const NUMBERS: [&str; 8] = ["0", "1", "3", "-7", "5", "12", "100", "2147483647"];
const TEXTS: [&str; 8] = ["'Ada'", "'ada'", "'ada '", "''", "'Zoë'", "'it''s'", "'日本'", "NULL"];
const RETURNED: [&str; 3] = ["_id, name, ok, price, qty, ratio", "_id, upper(name) AS name", "price + 1 AS more, ok, ratio"];

/// A topic of so many statements.
pub fn topic(count: usize, seed: u64) -> Topic {
    let mut random = Random::new(seed);
    let mut lines = String::new();
    for number in 1..=count {
        let line = if number.is_multiple_of(REFILL) { refill(&mut random) } else { statement(&mut random) };
        lines.push_str(&line);
        lines.push('\n');
    }
    Topic::parse("generated", &lines)
}

fn refill(random: &mut Random) -> String {
    let shift = random.below(30);
    format!(
        "INSERT INTO target.things (_id, name, price, qty, ratio) SELECT _id + {shift}, name, price, qty, ratio FROM other.sources \
         ON CONFLICT (_id) DO NOTHING"
    )
}

/// One statement that writes to `things`.
pub fn statement(random: &mut Random) -> String {
    let returning = if random.chance(30) { format!(" RETURNING {}", random.pick(&RETURNED)) } else { String::new() };
    match random.below(10) {
        0..=4 => {
            let mut columns = vec!["name", "ok", "price", "qty", "ratio"];
            let mut set = Vec::new();
            for _ in 0..=random.below(3) {
                let column = columns.remove(random.below(columns.len()));
                set.push(format!("{column} = {}", value(random, column)));
            }
            format!("UPDATE target.things SET {} WHERE {}{returning}", set.join(", "), condition(random, 2))
        }
        5 | 6 => format!("DELETE FROM target.things WHERE {} AND {}{returning}", condition(random, 1), condition(random, 1)),
        7 => format!("INSERT INTO target.things (_id, name, qty) {}{}{returning}", rows(random), conflict(random)),
        _ => {
            let (shift, kept) = (random.below(40), condition_of_source(random));
            format!(
                "INSERT INTO target.things (_id, name, price, ok) SELECT s._id + {shift}, s.name, s.price, s.qty > 5 FROM \
                 other.sources s WHERE {kept}{}{returning}",
                conflict(random)
            )
        }
    }
}

fn rows(random: &mut Random) -> String {
    let count = 1 + random.below(3);
    let first = random.below(40);
    let row =
        |random: &mut Random, place: usize| format!("({}, {}, {})", first + place * 3, random.pick(&TEXTS), random.pick(&NUMBERS));
    let rows: Vec<String> = (0..count).map(|place| row(random, place)).collect();
    format!("VALUES {}", rows.join(", "))
}

fn conflict(random: &mut Random) -> &'static str {
    match random.below(4) {
        0 => " ON CONFLICT DO NOTHING",
        1 => " ON CONFLICT (_id) DO NOTHING",
        2 => " ON CONFLICT (_id) DO UPDATE SET name = excluded.name, ok = NULL",
        _ => "",
    }
}

fn value(random: &mut Random, column: &str) -> String {
    let choices: &[&str] = match column {
        "name" => &["upper(name)", "name || 'x'", "'Ada'", "NULL", "left(name, 2)", "(SELECT min(name) FROM other.sources)"],
        "ok" => &["NOT ok", "qty > 2", "true", "NULL", "name IS NULL", "ok AND price > 1"],
        "price" => &["round(price * 1.1, 2)", "price + 0.25", "NULL", "0", "coalesce(price, 1.50)", "qty"],
        "qty" => &["qty + 1", "qty * 2", "-qty", "coalesce(qty, 0)", "NULL", "7", "length(name)", "qty / 2", "_id"],
        _ => &["ratio / 2", "ratio + 0.25", "NULL", "qty", "1.5", "abs(ratio)"],
    };
    (*random.pick(choices)).to_owned()
}

fn condition(random: &mut Random, depth: usize) -> String {
    if depth > 0 && random.chance(40) {
        let (left, right) = (condition(random, depth - 1), condition(random, depth - 1));
        return match random.below(3) {
            0 => format!("({left} AND {right})"),
            1 => format!("({left} OR {right})"),
            _ => format!("NOT ({left})"),
        };
    }
    let number = *random.pick(&NUMBERS);
    match random.below(12) {
        0 => format!("qty > {number}"),
        1 => format!("name = {}", random.pick(&TEXTS)),
        2 => format!("name IN ({}, {})", random.pick(&TEXTS), random.pick(&TEXTS)),
        3 => "qty IS NULL".to_owned(),
        4 => "price BETWEEN 0 AND 20".to_owned(),
        5 => format!("_id IN (SELECT item FROM other.sources WHERE qty > {number})"),
        6 => format!("EXISTS (SELECT 1 FROM other.sources s WHERE s.item = things._id AND s.qty <> {number})"),
        7 => "NOT ok".to_owned(),
        8 => "_id % 3 = 1".to_owned(),
        9 => "false".to_owned(),
        10 => format!("ratio < 1 OR qty = {number}"),
        _ => format!("qty NOT IN (SELECT qty FROM other.sources WHERE qty < {number})"),
    }
}

fn condition_of_source(random: &mut Random) -> &'static str {
    const CONDITIONS: [&str; 5] = [
        "true",
        "s.qty > 5",
        "s.name <> ''",
        "NOT EXISTS (SELECT 1 FROM target.things t WHERE t._id = s.item)",
        "s.item IN (SELECT _id FROM target.things WHERE ok)",
    ];
    random.pick::<&str>(&CONDITIONS)
}

#[test]
fn a_seed_makes_the_same_statements_of_every_kind() {
    let lines = |seed| topic(200, seed).steps.into_iter().map(|step| step.line).collect::<Vec<_>>();
    assert_eq!(lines(1), lines(1));
    assert_ne!(lines(1), lines(2));
    for word in ["UPDATE", "DELETE", "INSERT", "RETURNING", "ON CONFLICT (_id) DO UPDATE", "EXISTS", "NOT IN"] {
        assert!(lines(1).iter().any(|line| line.contains(word)), "{word}");
    }
}
