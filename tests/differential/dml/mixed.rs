//! Statements of every kind over several tables, made by a seed: single ones and blocks with savepoints, in topics of their own.
//!
//! What a statement does never depends on the order in which rows are met: at most one row of the other store goes with a row that
//! is changed, and keys that are set are new ones. What fails may fail in two ways at once, and a store may refuse what it lacks; the
//! run tells how much that was.

use std::fmt::Write as _;

use super::super::random::Random;
use super::generate;
use super::script::Topic;

/// Statements of a topic, which begins with the rows of its tables.
const STATEMENTS: usize = 40;

/// Where statements run that MongoDB has no table or no savepoint for.
const SQL_STORES: &str = "[shop, crm, archive] ";

/// A table, and what statements do to it. Its rows are called `t` in all of them, and those of the other store `s`; `#` stands for a number
/// that differs from statement to statement.
struct Shape {
    table: &'static str,
    is_in_mongodb: bool,
    /// What columns are set to, of the row's own values.
    own: &'static [&'static str],
    /// The same of a row of the other store besides.
    joined: &'static [&'static str],
    conditions: &'static [&'static str],
    /// What goes with at most one row of the other store.
    joins: &'static [&'static str],
    columns: &'static str,
    /// Rows of these columns, some of which are there already.
    rows: &'static [&'static str],
    /// The same as COPY sends them, with `,` between values.
    copied: &'static [&'static str],
    /// A row of these columns made of one of the other store.
    made: &'static str,
    /// Conflicts that are met, with what becomes of the row.
    conflicts: &'static [&'static str],
    returned: &'static [&'static str],
    /// Whole statements with parameters.
    prepared: &'static [&'static str],
}

const SHAPES: [Shape; 4] = [
    Shape {
        table: "things",
        is_in_mongodb: true,
        own: &[
            "name = upper(t.name)",
            "name = left(t.name, 3) || '#'",
            "name = NULL",
            "ok = NOT t.ok",
            "ok = t.qty > # OR t.name IS NULL",
            "price = t.price + 0.25",
            "price = round(coalesce(t.price, 1) * 1.1, 2)",
            "price = t.qty",
            "qty = coalesce(t.qty, 0) + 1",
            "qty = t.qty / 2",
            "qty = -t._id",
            "qty = (SELECT max(u.qty) FROM other.sources u WHERE u.item = t._id)",
            "ratio = t.ratio / 2",
            "ratio = abs(t.qty)",
            "(name, qty) = ('of #', t.qty)",
            "(ok, ratio) = ROW(t.ratio < 1, NULL)",
        ],
        joined: &[
            "name = s.name",
            "name = coalesce(s.name, t.name) || '+'",
            "ok = s.qty > t.qty",
            "price = s.price + coalesce(t.price, 0)",
            "qty = s.qty",
            "qty = coalesce(t.qty, 1) - s.qty",
            "ratio = s.ratio",
        ],
        conditions: &[
            "t.qty > #",
            "t.qty <= # AND t.ok",
            "t.name = 'ada'",
            "t.name IN ('Ada', 'ada ', 'Zoë')",
            "t.name IS NULL",
            "t.name LIKE 'a%'",
            "t.price BETWEEN 0 AND 20",
            "NOT t.ok",
            "t._id % 3 = 1",
            "t._id IN (#, 2, 5)",
            "t._id = #",
            "t.ratio < 1",
            "t.qty IS DISTINCT FROM 5",
            "t._id IN (SELECT u.item FROM other.sources u WHERE u.qty > 6)",
            "EXISTS (SELECT 1 FROM other.sources u WHERE u.item = t._id AND u.name <> t.name)",
            "t.qty > ALL (SELECT u.qty FROM other.sources u WHERE u.qty < #)",
            "t.qty >= (SELECT avg(u.qty) FROM target.things u)",
            "false",
        ],
        joins: &["s.item = t._id AND s._id <> 13", "s._id = t._id + 10", "s._id = t._id + 10 AND s.qty > t.qty"],
        columns: "_id, name, price, qty",
        rows: &[
            "#, 'new', 1.50, 5",
            "1, 'first', NULL, #",
            "4, NULL, 0, 0",
            "2#, upper('x'), 2, 1 + #",
            "#, DEFAULT, DEFAULT, DEFAULT",
        ],
        copied: &["#,copied,1.50,5", "1,first,\\N,#", "7#,\\N,0,0", "2#,日本,-2.25,1"],
        made: "s._id + #, s.name, s.price, s.qty",
        conflicts: &[
            "DO NOTHING",
            "(_id) DO NOTHING",
            "(_id) DO UPDATE SET name = excluded.name",
            "(_id) DO UPDATE SET qty = coalesce(t.qty, 0) + coalesce(excluded.qty, 1), name = left(t.name, 2) || excluded._id",
            "(_id) DO UPDATE SET price = excluded.price, ok = NOT t.ok WHERE t.price IS DISTINCT FROM excluded.price",
            "(_id) DO UPDATE SET qty = 1 WHERE excluded.qty > 3",
        ],
        returned: &["t._id, t.name, t.ok, t.price, t.qty, t.ratio", "t._id, upper(t.name) AS name", "t.price + 1 AS more, t.ok"],
        prepared: &[
            "UPDATE target.things AS t SET qty = $1, name = $2 WHERE t._id = $3 <- # <- o'clock <- 2",
            "UPDATE target.things AS t SET price = t.price + $1 WHERE t.name = $2 <- 0.75 <- ada",
            "DELETE FROM target.things AS t WHERE t._id = $1 OR t.qty = $2 <- # <- \\N",
            "INSERT INTO target.things (_id, name, ok, ratio) VALUES ($1, $2, $3, $4) <- 3# <- \\N <- true <- 0.25",
            "DELETE FROM target.things AS t USING other.sources AS s WHERE s.item = t._id AND s.qty > $1 RETURNING t._id <- #",
        ],
    },
    Shape {
        table: "people",
        is_in_mongodb: true,
        own: &[
            "note = upper(t.note)",
            "note = coalesce(t.note, 'no') || '!'",
            "note = NULL",
            "note = 'note #'",
            "visits = t.visits + #",
            "visits = t.visits * 2",
            "visits = t.visits - 1",
            "visits = 0",
            "email = 'e' || t._id || '.#@x'",
            "(note, visits) = (SELECT min(u.name), count(*) FROM other.sources u WHERE u.item = t._id)",
        ],
        joined: &[
            "note = s.name",
            "visits = coalesce(s.qty, 0)",
            "visits = t.visits + s._id",
            "email = 'f' || t._id || '.' || s._id",
        ],
        conditions: &[
            "t.visits > 2",
            "t.visits BETWEEN 0 AND #",
            "t.email = 'ada@x'",
            "t.email > 'b'",
            "t.note IS NULL",
            "t.note = 'none' OR t._id = #",
            "t._id < 3",
            "t._id IN (SELECT u.item FROM other.sources u)",
            "NOT EXISTS (SELECT 1 FROM target.things u WHERE u._id = t._id AND u.ok)",
        ],
        joins: &["s.item = t._id AND s._id <> 13", "s._id = t._id + 10"],
        columns: "_id, email, visits",
        rows: &["1#, 'p#@x', 1", "1, 'ada@x', 2", "2, 'q#@x', #", "#, 'bob@x', 0", "3#, 'r#@x', DEFAULT", "4#, 's#@x', -1"],
        copied: &["5#,c#@x,1", "1,ada@x,2", "6#,d#@x,0", "7#,e#@x,-1"],
        made: "s._id + #0, 'm' || (s._id + #0), coalesce(s._id, 1)",
        conflicts: &[
            "DO NOTHING",
            "(_id) DO NOTHING",
            "(email) DO NOTHING",
            "(_id) DO UPDATE SET visits = excluded.visits, note = 'met'",
            "(_id) DO UPDATE SET visits = t.visits + excluded.visits",
            "(_id) DO UPDATE SET note = t.email || '/' || excluded.email WHERE t.visits < 9",
            "(email) DO UPDATE SET visits = t.visits + 1, note = excluded.email",
        ],
        returned: &["t.*", "t._id, t.visits + 1 AS next", "t.email, t.note"],
        prepared: &[
            "UPDATE target.people AS t SET visits = t.visits + $1 WHERE t.email = $2 RETURNING t.visits <- # <- ada@x",
            "INSERT INTO target.people AS t (_id, email, visits) VALUES ($1, $2, $3) ON CONFLICT (_id) DO UPDATE SET visits = t.visits + $3 <- 1 <- z#@x <- 2",
            "DELETE FROM target.people AS t WHERE t.email LIKE $1 AND t.visits > $2 <- %x <- 5",
        ],
    },
    Shape {
        table: "pairs",
        is_in_mongodb: false,
        own: &["qty = t.qty + #", "qty = coalesce(t.qty, 0) * 2", "qty = NULL", "qty = length(t.b) + t.a", "(qty) = ROW(-t.qty)"],
        joined: &["qty = s.qty", "qty = coalesce(t.qty, 0) + s._id", "qty = length(s.name)"],
        conditions: &[
            "t.b = 'x'",
            "t.b IN ('X', 'y')",
            "t.a = 1 AND t.b >= 'x'",
            "(t.a, t.b) IN ((1, 'x'), (3, 'X'), (#, 'm'))",
            "t.qty > #",
            "t.qty IS NULL",
            "EXISTS (SELECT 1 FROM other.sources u WHERE u.item = t.a AND u.qty > 10)",
        ],
        joins: &["s._id = t.a + 10", "s._id = t.a + 10 AND t.b = 'x'"],
        columns: "a, b, qty",
        rows: &["#, 'n', 1", "1, 'x', #", "1, 'X', 2", "2, 'x', NULL", "#, 'o', 1 + #"],
        copied: &["#,c,1", "1,x,2", "#,d,\\N"],
        made: "s._id + #, 'm', s.qty",
        conflicts: &[
            "DO NOTHING",
            "(a, b) DO NOTHING",
            "(a, b) DO UPDATE SET qty = excluded.qty",
            "(b, a) DO UPDATE SET qty = coalesce(t.qty, 0) + coalesce(excluded.qty, 5)",
            "(a, b) DO UPDATE SET qty = t.qty + 1 WHERE t.qty > excluded.qty",
        ],
        returned: &["t.a, t.b, t.qty", "t.a + coalesce(t.qty, 0) AS sum"],
        prepared: &[
            "UPDATE target.pairs AS t SET qty = $1 WHERE t.a = $2 AND t.b = $3 <- # <- 1 <- x",
            "DELETE FROM target.pairs AS t WHERE (t.a, t.b) IN (($1, $2), ($3, 'y')) RETURNING t.a, t.b <- 2 <- x <- 1",
        ],
    },
    Shape {
        table: "heap",
        is_in_mongodb: false,
        own: &["n = t.n + #", "n = 2", "label = t.label || '.'", "label = NULL", "label = 'z'"],
        joined: &["n = s._id", "label = left(s.name, 5)"],
        conditions: &["t.n = 1", "t.n > #", "t.label = 'a'", "t.label IS NULL", "t.label IN ('b', 'z')", "t.n IS NOT NULL"],
        joins: &["s._id = t.n + 10"],
        columns: "label, n",
        rows: &["'h', #", "'a', 1", "NULL, NULL"],
        copied: &["c,#", "a,1", "\\N,\\N"],
        made: "left(s.name, 5), s._id - 10",
        conflicts: &["DO NOTHING"],
        returned: &["t.label, t.n"],
        prepared: &[
            "DELETE FROM target.heap AS t WHERE t.label = $1 <- b",
            "INSERT INTO target.heap (label, n) VALUES ($1, $2) <- p <- #",
        ],
    },
];

/// Topics of so many statements in all. Each is the same for its seed and its number, however many there are.
pub fn topics(count: usize, seed: u64) -> Vec<Topic> {
    (0..count.div_ceil(STATEMENTS)).map(|number| topic(count.min(STATEMENTS), seed, number)).collect()
}

fn topic(count: usize, seed: u64, number: usize) -> Topic {
    let own = seed.wrapping_mul(1_000_003).wrapping_add(u64::try_from(number).unwrap());
    let mut maker = Maker { random: Random::new(own), lines: String::new(), made: 0 };
    let first = maker.random.below(SHAPES.len());
    let shapes = [&SHAPES[first], &SHAPES[(first + 1 + maker.random.below(SHAPES.len() - 1)) % SHAPES.len()]];
    while maker.made < count {
        let shape = *maker.random.pick(&shapes);
        match maker.random.below(12) {
            0 | 1 => maker.block(shape),
            2 => maker.block_with_savepoints(shape),
            _ => maker.statement(shape, ""),
        }
    }
    Topic { made: true, ..Topic::parse(&format!("random-{seed}-{number}"), &maker.lines) }
}

struct Maker {
    random: Random,
    lines: String,
    made: usize,
}

impl Maker {
    fn line(&mut self, only: &str, sql: &str) {
        writeln!(self.lines, "{only}{sql}").unwrap();
        self.made += 1;
    }

    fn block(&mut self, shape: &Shape) {
        let only = if shape.is_in_mongodb { "" } else { SQL_STORES };
        let begin = *self.random.pick(&["BEGIN", "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ"]);
        self.line(only, begin);
        for _ in 0..=self.random.below(4) {
            self.statement(shape, only);
        }
        let end = *self.random.pick(&["COMMIT", "COMMIT", "ROLLBACK"]);
        self.line(only, end);
    }

    fn block_with_savepoints(&mut self, shape: &Shape) {
        self.line(SQL_STORES, "BEGIN");
        self.statement(shape, SQL_STORES);
        for name in ["one", "two"] {
            self.line(SQL_STORES, &format!("SAVEPOINT {name}"));
            for _ in 0..=self.random.below(2) {
                self.statement(shape, SQL_STORES);
            }
            let end = *self.random.pick(&["ROLLBACK TO", "ROLLBACK TO", "RELEASE", ""]);
            if !end.is_empty() {
                self.line(SQL_STORES, &format!("{end} {name}"));
            }
        }
        if self.random.chance(30) {
            self.line(SQL_STORES, "ROLLBACK TO one");
        }
        self.statement(shape, SQL_STORES);
        let end = *self.random.pick(&["COMMIT", "COMMIT", "ROLLBACK"]);
        self.line(SQL_STORES, end);
    }

    /// One statement over `only` these stores, or else over those that have the table.
    fn statement(&mut self, shape: &Shape, only: &str) {
        let only = if shape.is_in_mongodb { only } else { SQL_STORES };
        if shape.table == "things" && self.random.chance(20) {
            let sql = generate::statement(&mut self.random);
            return self.line(only, &sql);
        }
        let number = (1 + self.random.below(40)).to_string();
        let sql = match self.random.below(20) {
            0..=3 => self.update(shape),
            4 | 5 => self.update_from(shape),
            6 | 7 => self.delete(shape),
            8 => self.delete_using(shape),
            9..=11 => self.insert(shape),
            12 | 13 => self.insert_select(shape),
            14..=16 => self.merge(shape),
            17 => self.copy(shape),
            _ => (*self.random.pick(shape.prepared)).to_owned(),
        };
        self.line(only, &sql.replace('#', &number));
    }

    fn returning(&mut self, shape: &Shape) -> String {
        if self.random.chance(30) { format!(" RETURNING {}", self.random.pick(shape.returned)) } else { String::new() }
    }

    /// One condition, or two.
    fn condition(&mut self, shape: &Shape) -> String {
        let one = *self.random.pick(shape.conditions);
        let other = *self.random.pick(shape.conditions);
        match self.random.below(6) {
            0 => format!("{one} AND {other}"),
            1 => format!("({one} OR {other})"),
            2 => format!("NOT ({one})"),
            _ => one.to_owned(),
        }
    }

    /// Assignments to columns that differ.
    fn assignments(&mut self, choices: &[&'static str]) -> String {
        let columns = |assignment: &str| -> Vec<String> {
            let target = assignment.split(" = ").next().unwrap_or_default();
            target.trim_matches(['(', ')']).split(", ").map(str::to_owned).collect()
        };
        let mut chosen: Vec<&str> = Vec::new();
        for _ in 0..=self.random.below(3) {
            let next = *self.random.pick(choices);
            let set = columns(next);
            if chosen.iter().all(|known| columns(known).iter().all(|column| !set.contains(column))) {
                chosen.push(next);
            }
        }
        chosen.join(", ")
    }

    fn update(&mut self, shape: &Shape) -> String {
        let (set, kept) = (self.assignments(shape.own), self.condition(shape));
        format!("UPDATE target.{} AS t SET {set} WHERE {kept}{}", shape.table, self.returning(shape))
    }

    fn update_from(&mut self, shape: &Shape) -> String {
        let choices = if self.random.chance(70) { shape.joined } else { shape.own };
        let (set, join) = (self.assignments(choices), *self.random.pick(shape.joins));
        let kept = if self.random.chance(50) { format!(" AND {}", self.condition(shape)) } else { String::new() };
        format!("UPDATE target.{} AS t SET {set} FROM other.sources AS s WHERE {join}{kept}{}", shape.table, self.returning(shape))
    }

    fn delete(&mut self, shape: &Shape) -> String {
        let (one, other) = (self.condition(shape), self.condition(shape));
        format!("DELETE FROM target.{} AS t WHERE {one} AND {other}{}", shape.table, self.returning(shape))
    }

    fn delete_using(&mut self, shape: &Shape) -> String {
        let (join, kept) = (*self.random.pick(shape.joins), self.condition(shape));
        let rest = self.returning(shape);
        format!("DELETE FROM target.{} AS t USING other.sources AS s WHERE {join} AND {kept}{rest}", shape.table)
    }

    fn conflict(&mut self, shape: &Shape) -> String {
        if self.random.chance(70) { format!(" ON CONFLICT {}", self.random.pick(shape.conflicts)) } else { String::new() }
    }

    fn insert(&mut self, shape: &Shape) -> String {
        let rows: Vec<String> = (0..=self.random.below(3)).map(|_| format!("({})", self.random.pick(shape.rows))).collect();
        let (conflict, returning) = (self.conflict(shape), self.returning(shape));
        format!("INSERT INTO target.{} AS t ({}) VALUES {}{conflict}{returning}", shape.table, shape.columns, rows.join(", "))
    }

    fn insert_select(&mut self, shape: &Shape) -> String {
        let kept = *self.random.pick(&["true", "s.qty > 5", "s.item IS NOT NULL", "s.name LIKE 'B%' OR s.ratio < 1"]);
        let (conflict, returning) = (self.conflict(shape), self.returning(shape));
        let (table, columns, made) = (shape.table, shape.columns, shape.made);
        format!(
            "INSERT INTO target.{table} AS t ({columns}) SELECT {made} FROM other.sources AS s WHERE {kept}{conflict}{returning}"
        )
    }

    fn merge(&mut self, shape: &Shape) -> String {
        const SOURCES: [&str; 3] = [
            "other.sources",
            "(SELECT * FROM other.sources WHERE qty > 5 OR name IS NULL)",
            "(SELECT _id, item, name, price, qty, ratio FROM target.sources WHERE _id < 16)",
        ];
        let (source, join) = (*self.random.pick(&SOURCES), *self.random.pick(shape.joins));
        let mut sql = format!("MERGE INTO target.{} AS t USING {source} AS s ON {join}", shape.table);
        if self.random.chance(40) {
            let kept = self.condition(shape);
            write!(sql, " WHEN MATCHED AND {kept} THEN {}", *self.random.pick(&["DELETE", "DO NOTHING"])).unwrap();
        }
        if self.random.chance(80) {
            let choices = if self.random.chance(60) { shape.joined } else { shape.own };
            let set = self.assignments(choices);
            let kept = if self.random.chance(50) { format!(" AND {}", self.condition(shape)) } else { String::new() };
            write!(sql, " WHEN MATCHED{kept} THEN UPDATE SET {set}").unwrap();
        }
        let kept = *self.random.pick(&["", " AND s.qty > 6", " AND s.name IS NOT NULL"]);
        write!(sql, " WHEN NOT MATCHED{kept} THEN INSERT ({}) VALUES ({})", shape.columns, shape.made).unwrap();
        sql
    }

    fn copy(&mut self, shape: &Shape) -> String {
        let lines: Vec<String> = (0..=self.random.below(3)).map(|_| (*self.random.pick(shape.copied)).replace(',', "⇥")).collect();
        format!("COPY target.{} ({}) FROM STDIN <<< {}⏎", shape.table, shape.columns, lines.join("⏎"))
    }
}

#[test]
fn a_seed_makes_the_same_topics_of_every_kind() {
    let lines = |seed| -> Vec<String> {
        topics(800, seed).into_iter().flat_map(|topic| topic.steps.into_iter().map(|step| step.line)).collect()
    };
    assert_eq!(lines(1), lines(1));
    assert_ne!(lines(1), lines(2));
    assert!(lines(1).len() >= 800 && topics(100, 1).len() == 3);
    let words = [
        "MERGE INTO",
        "COPY",
        "USING other.sources",
        "SAVEPOINT",
        "ROLLBACK TO",
        "RELEASE",
        "$2",
        "DO UPDATE SET qty = coalesce",
        "excluded.",
        "WHEN MATCHED AND",
        "REPEATABLE READ",
        "target.heap",
        "target.pairs",
        "target.people",
        "RETURNING",
    ];
    for word in words {
        assert!(lines(1).iter().any(|line| line.contains(word)), "{word}");
    }
    assert!(lines(1).iter().all(|line| !line.contains('#')));
    // A topic does not depend on how many others there are.
    let first = |count| topics(count, 5).swap_remove(0).steps.into_iter().map(|step| step.line).collect::<Vec<_>>();
    assert_eq!(first(40), first(400));
}
