//! Text under `collation = "native"`: whose rules an operation follows, the store's or those of bytes.
//!
//! The reference is one PostgreSQL with two copies of each table: `bytes`, whose texts compare as under `C`, and `own`, whose texts have
//! an ICU collation that equals and orders the values of the table as the store's collation does. What the store is asked for must be the
//! answer of one of the two, and what is asked with pushdown held back that of `bytes`. A cell says which; where both copies
//! answer the same there is nothing to tell apart. Besides, every statement is asked of a table `plain` over whose values all collations agree:
//! there all four answers are one.

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tributary::server::Server;

use super::page::Table;
use super::{Cell, Proof, Stays, explained, judged};
use crate::differential::ask::{Answer, Asked};
use crate::differential::compare;
use crate::support::{
    self,
    proxy::{self, OWNER, Place},
};

const SESSION: &str = "SET TimeZone = 'UTC'; SET extra_float_digits = 1";

/// A store, its column `w`, and how one PostgreSQL compares the same values.
struct Ground {
    shown: &'static str,
    schema: &'static str,
    table: &'static str,
    /// The collation of the column in the copy `own`.
    reference: &'static str,
    /// Rows besides [`WORDS`].
    more: &'static str,
}

/// A table of PostgreSQL for each of its two kinds of collation.
const GROUNDS: [Ground; 4] = [
    Ground {
        shown: "PostgreSQL (equal without case)",
        schema: "native_postgres",
        table: "word",
        reference: "(provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        more: "",
    },
    Ground {
        shown: "PostgreSQL (ordered by a language)",
        schema: "native_postgres",
        table: "tongue",
        reference: "(provider = icu, locale = 'en')",
        more: ", (10, 'äbc', 'x', 'x')",
    },
    Ground {
        shown: "MariaDB (`utf8mb4_general_ci`)",
        schema: "native_mariadb",
        table: "word",
        // Accents, case and blanks are what the higher levels of the algorithm tell apart.
        reference: "(provider = icu, locale = 'und-u-ka-shifted-ks-level1', deterministic = false)",
        more: ", (10, 'äbc', 'x', 'x'), (11, 'abc ', 'ABC', 'abc')",
    },
    Ground {
        shown: "SQLite (`NOCASE`)",
        schema: "native_sqlite",
        table: "word",
        reference: "(provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        more: "",
    },
];

/// The number of a row, a text, another of the same collation, and one of another collation.
const WORDS: &str = "(1, 'abc', 'ABC', 'abc'), (2, 'ABC', 'b', 'ABC'), (3, 'Abd', 'abd', 'x'), (4, 'b', 'B', 'B'), (5, NULL, 'b', 'b'), \
                     (6, 'B', NULL, 'b'), (7, 'zoe', 'zoe', 'ZOE'), (8, 'Zoe', 'abc', NULL), (9, 'aab', 'AAB', 'aab')";

/// Letters of one case, in an order that no rule disputes.
const PLAIN: &str = "(1, 'abc', 'abc', 'abc'), (2, 'abd', 'b', 'x'), (3, 'abd', 'abd', 'abd'), (4, 'b', 'c', 'c'), (5, NULL, 'b', 'b'), \
                     (6, 'c', NULL, 'c'), (7, 'zoe', 'zoe', 'zoe'), (8, 'zoe', 'abc', NULL)";

/// A store beside them, so that the engine has a part in the statement.
const PICK: &str = "CREATE TABLE pick (word TEXT); INSERT INTO pick VALUES ('abc'), ('B'), ('none'); \
                    CREATE TABLE plain_pick (word TEXT); INSERT INTO plain_pick VALUES ('abc'), ('b'), ('none');";

/// A row of the table: `{t}` is the table, `{o}` the table of the other store.
struct Operation {
    name: &'static str,
    sql: &'static str,
    /// The wording for the copy `own`, where PostgreSQL has another for it.
    own: Option<&'static str>,
    stays: Stays,
}

const fn row(name: &'static str, sql: &'static str, stays: Stays) -> Operation {
    Operation { name, sql, own: None, stays }
}

const fn worded(name: &'static str, sql: &'static str, own: &'static str, stays: Stays) -> Operation {
    Operation { name, sql, own: Some(own), stays }
}

const CONDITIONS: &[Operation] = &[
    row("=", "SELECT id FROM {t} WHERE w = 'abc'", Stays::Filter),
    row("<>", "SELECT id FROM {t} WHERE w <> 'abc'", Stays::Filter),
    row("<", "SELECT id FROM {t} WHERE w < 'B'", Stays::Filter),
    row(">=", "SELECT id FROM {t} WHERE w >= 'abd'", Stays::Filter),
    row("BETWEEN", "SELECT id FROM {t} WHERE w BETWEEN 'ABC' AND 'b'", Stays::Filter),
    row("IN", "SELECT id FROM {t} WHERE w IN ('ABC', 'b', 'x')", Stays::Filter),
    row("NOT IN", "SELECT id FROM {t} WHERE w NOT IN ('ABC', 'B', 'x')", Stays::Filter),
    row("NOT IN, of five", "SELECT id FROM {t} WHERE w NOT IN ('ABC', 'B', 'x', 'y', 'z')", Stays::Filter),
    row("IN, of rows", "SELECT id FROM {t} WHERE (w, id) IN (('ABC', 1), ('abc', 4), ('abd', 3))", Stays::Filter),
    row("IS DISTINCT FROM", "SELECT id FROM {t} WHERE w IS DISTINCT FROM 'abc'", Stays::Filter),
    // PostgreSQL takes no LIKE under a collation that is not deterministic.
    worded("LIKE", "SELECT id FROM {t} WHERE w LIKE 'a%'", "SELECT id FROM {t} WHERE left(w, 1) = 'a'", Stays::Filter),
    worded("ILIKE", "SELECT id FROM {t} WHERE w ILIKE 'AB%'", "SELECT id FROM {t} WHERE left(w, 2) = 'ab'", Stays::Filter),
    row("lower(…) =", "SELECT id FROM {t} WHERE lower(w) = 'ABC'", Stays::Filter),
    row("|| … =", "SELECT id FROM {t} WHERE w || 'x' = 'abcx'", Stays::Filter),
    row("CASE … WHEN", "SELECT id FROM {t} WHERE CASE w WHEN 'abc' THEN 1 ELSE 0 END = 1", Stays::Filter),
    row("GREATEST", "SELECT id FROM {t} WHERE GREATEST(w, 'B') = 'B'", Stays::Filter),
    row("a column of the same collation", "SELECT id FROM {t} WHERE w = o", Stays::Filter),
    row("a column of another collation", "SELECT id FROM {t} WHERE w = v", Stays::Filter),
    row("=, beside another store", "SELECT a.id FROM {t} a, {o} p WHERE a.w = 'abc' AND p.word = 'none'", Stays::Filter),
    row("<, beside another store", "SELECT a.id FROM {t} a, {o} p WHERE a.w < 'B' AND p.word = 'none'", Stays::Filter),
];

const WHOLE: &[Operation] = &[
    row("GROUP BY", "SELECT count(*) AS n, min(id) AS a FROM {t} GROUP BY w", Stays::Aggregate),
    row("HAVING", "SELECT count(*) AS n, max(id) AS a FROM {t} GROUP BY w HAVING count(*) > 1", Stays::Aggregate),
    row("DISTINCT", "SELECT count(*) AS n FROM (SELECT DISTINCT w FROM {t}) d", Stays::Aggregate),
    row("count(DISTINCT)", "SELECT count(DISTINCT w) AS n FROM {t}", Stays::Aggregate),
    row("min", "SELECT min(w) AS a FROM {t} WHERE id IN (1, 6)", Stays::Aggregate),
    row("max", "SELECT max(w) AS a FROM {t} WHERE id IN (1, 6)", Stays::Aggregate),
    row("ORDER BY", "SELECT id, w FROM {t} ORDER BY w, id", Stays::Sort),
    row("ORDER BY … LIMIT", "SELECT id FROM {t} ORDER BY w DESC NULLS LAST, id LIMIT 5", Stays::Sort),
    row("PARTITION BY", "SELECT id, count(*) OVER (PARTITION BY w) AS n FROM {t}", Stays::Window),
    row("rank", "SELECT id, rank() OVER (ORDER BY w) AS n FROM {t}", Stays::Window),
    row("JOIN", "SELECT a.id, b.id AS o FROM {t} a JOIN {t} b ON a.w = b.w", Stays::Join),
    row("LEFT JOIN", "SELECT a.id, b.id AS o FROM {t} a LEFT JOIN {t} b ON a.w = b.o", Stays::Join),
    row("EXISTS", "SELECT a.id FROM {t} a WHERE EXISTS (SELECT FROM {t} b WHERE b.w = a.w AND b.id < a.id)", Stays::Join),
    row("NOT EXISTS", "SELECT a.id FROM {t} a WHERE NOT EXISTS (SELECT FROM {t} b WHERE b.w = a.w AND b.id < a.id)", Stays::Join),
    row("IN", "SELECT id FROM {t} WHERE w IN (SELECT b.w FROM {t} b WHERE b.id = 1)", Stays::Join),
    row("scalar subquery", "SELECT a.id, (SELECT count(*) FROM {t} b WHERE b.w = a.w) AS n FROM {t} a", Stays::Join),
    row(
        "UNION",
        "SELECT count(*) AS n FROM (SELECT w FROM {t} WHERE id < 4 UNION SELECT w FROM {t} WHERE id > 1) u",
        Stays::Aggregate,
    ),
    row("GROUP BY lower(…)", "SELECT count(*) AS n, min(id) AS a FROM {t} GROUP BY lower(w)", Stays::Aggregate),
];

const APART: &[Operation] = &[
    row("JOIN", "SELECT a.id, p.word FROM {o} p JOIN {t} a ON a.w = p.word", Stays::Join),
    row("LEFT JOIN", "SELECT a.id, p.word FROM {t} a LEFT JOIN {o} p ON a.w = p.word", Stays::Join),
    row("EXISTS", "SELECT a.id FROM {t} a WHERE EXISTS (SELECT FROM {o} p WHERE p.word = a.w)", Stays::Join),
    row("IN", "SELECT a.id FROM {t} a WHERE a.w IN (SELECT p.word FROM {o} p)", Stays::Join),
    row("DISTINCT", "SELECT count(*) AS n FROM (SELECT DISTINCT w FROM {t}) d, {o}", Stays::Aggregate),
    row("GROUP BY", "SELECT count(*) AS n, min(a.id) AS m FROM {t} a, {o} p GROUP BY a.w", Stays::Aggregate),
    row("ORDER BY", "SELECT a.id, a.w FROM {t} a, {o} p WHERE p.word = 'none' ORDER BY a.w, a.id", Stays::Sort),
    row("min", "SELECT min(a.w) AS m FROM {t} a, {o} p WHERE a.id IN (1, 6)", Stays::Aggregate),
    row("UNION", "SELECT count(*) AS n FROM (SELECT w FROM {t} UNION SELECT word FROM {o}) u", Stays::Aggregate),
    row("scalar subquery", "SELECT a.id, (SELECT count(*) FROM {o} p WHERE p.word >= a.w) AS n FROM {t} a", Stays::Join),
];

const SECTIONS: [(&str, &[Operation]); 3] = [
    ("Text under the `native` policy: conditions", CONDITIONS),
    ("Text under the `native` policy: statements that one store runs", WHOLE),
    ("Text under the `native` policy: statements over two stores", APART),
];

const ABOUT: &str = "**by its collation** the answer is that of the store's own rules, and EXPLAIN says so · **by bytes** it is that under `C`, as under
`faithful`; what did it stands behind the word · without either word both are the same. The reference is one PostgreSQL with each table twice: under `C`, and
under an ICU collation that agrees with the store's over these values. MongoDB has no such policy: a collation there counts for a whole
command.";

/// Asks every cell. Gives the tables, and what differs.
pub async fn proved() -> (Vec<Table>, Vec<String>) {
    let place = Place::new();
    let config = Box::pin(reference()).await;
    Box::pin(stores(&place)).await;
    let server = place.serve().await;
    let proofs = GROUNDS.iter().map(|ground| prove_all(Sides::of(&server, &config), ground));
    let mut proofs: Vec<_> = futures::future::join_all(proofs).await.into_iter().map(Vec::into_iter).collect();
    server.stop().await;
    let (mut tables, mut wrong) = (Vec::new(), Vec::new());
    for (title, operations) in SECTIONS {
        let mut rows = Vec::new();
        for operation in operations {
            let found = proofs.iter_mut().map(|proofs| proofs.next().unwrap());
            let cells = found.map(|proof| {
                proof.unwrap_or_else(|difference| {
                    wrong.push(difference);
                    Cell::Absent
                })
            });
            rows.push((vec![operation.name], cells.collect()));
        }
        let stores = GROUNDS.iter().map(|ground| ground.shown).collect();
        tables.push(Table { title, about: ABOUT, heads: vec!["Operation"], stores, rows });
    }
    (tables, wrong)
}

/// The cells of one store, in the order of the sections.
async fn prove_all(mut sides: Sides, ground: &Ground) -> Vec<Proof> {
    let mut proofs = Vec::new();
    for operation in SECTIONS.iter().flat_map(|(_, operations)| operations.iter()) {
        let proof = prove(&mut sides, operation, ground).await;
        proofs.push(proof.map_err(|difference| format!("{}: {}\n    {difference}", ground.shown, operation.sql)));
    }
    proofs
}

/// Who is asked.
struct Sides {
    ours: Asked,
    held: Asked,
    copy: Asked,
}

impl Sides {
    fn of(server: &Server, copy: &tokio_postgres::Config) -> Self {
        let login = proxy::login(server.addresses()[0], OWNER);
        Self {
            ours: Asked::new(login.clone(), format!("{SESSION}; SET tributary.pushdown = full")),
            held: Asked::new(login, format!("{SESSION}; SET tributary.pushdown = none")),
            copy: Asked::new(copy.clone(), SESSION),
        }
    }

    /// The answers over a table: as it is, with pushdown held back, of the copy by bytes and of the copy under the store's rules.
    async fn answers(&mut self, operation: &Operation, ground: &Ground, table: &str) -> Result<[Answer; 4], String> {
        let (is_plain, copied) = (table != ground.table, format!("{}_{}_{table}", ground.schema, ground.table));
        let said = |sql: &str, schema: &str, table: &str, other: &str| {
            if is_plain {
                said(&in_small_letters(sql), &format!("{schema}.{table}"), &format!("{other}.plain_pick"))
            } else {
                said(sql, &format!("{schema}.{table}"), &format!("{other}.pick"))
            }
        };
        let ours = said(operation.sql, ground.schema, table, "other");
        let by_bytes = said(operation.sql, "bytes", &copied, "bytes");
        let by_own = said(operation.own.unwrap_or(operation.sql), "own", &copied, "bytes");
        let answers = [
            self.ours.simple(&ours).await,
            self.held.simple(&ours).await,
            self.copy.simple(&by_bytes).await,
            self.copy.simple(&by_own).await,
        ];
        let failed = answers.iter().find(|answer| matches!(answer, Answer::Error { .. })).map(|answer| answer.to_string());
        match failed {
            Some(failed) => Err(failed),
            None => Ok(answers),
        }
    }
}

fn said(sql: &str, table: &str, other: &str) -> String {
    sql.replace("{t}", table).replace("{o}", other)
}

/// A statement whose texts have no capital letters.
fn in_small_letters(sql: &str) -> String {
    let parts = sql.split('\'').enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { part.to_lowercase() } else { part.to_owned() }).collect::<Vec<_>>().join("'")
}

async fn prove(sides: &mut Sides, operation: &Operation, ground: &Ground) -> Proof {
    let ordered = compare::is_ordered(operation.sql);
    let differs = |one: &Answer, other: &Answer| compare::difference(one, other, ordered);
    // Of the plain rows there is a table for each of the two tables of PostgreSQL.
    let plain = format!("plain_{}", ground.table);
    let [found, held, by_bytes, by_own] = sides.answers(operation, ground, &plain).await?;
    for (what, answer) in [("pushed", &found), ("not pushed", &held), ("under the other collation", &by_own)] {
        if let Some(difference) = differs(answer, &by_bytes) {
            return Err(format!("over plain values, {what}: {difference}"));
        }
    }
    let [found, held, by_bytes, by_own] = sides.answers(operation, ground, ground.table).await?;
    if let Some(difference) = differs(&held, &by_bytes) {
        return Err(format!("not pushed: {difference}"));
    }
    let sql = said(operation.sql, &format!("{}.{}", ground.schema, ground.table), "other.pick");
    let plan = explained(&mut sides.ours, &sql).await?;
    let cell = match judged(&plan, operation.stays) {
        Cell::Local(reason) if reason.is_empty() && operation.sql.contains("{o}") => {
            Cell::Local("Statement (it reads two stores)".to_owned())
        }
        other => other,
    };
    let follows = [&by_own, &by_bytes].map(|reference| differs(&found, reference).is_none());
    match follows {
        [true, true] => Ok(cell),
        [true, false] if !plan.iter().any(|line| line.contains("own collation")) => {
            Err(format!("EXPLAIN does not say that the store's collation counts:\n{}", plan.join("\n")))
        }
        [true, false] => Ok(cell.with("by its collation")),
        [false, true] => Ok(cell.with("by bytes")),
        [false, false] => Err(format!("neither by bytes nor by the store's collation: {:?}", differs(&found, &by_bytes))),
    }
}

/// The database with both copies of each table.
async fn reference() -> tokio_postgres::Config {
    let server = support::postgres().await;
    let database = format!("copy_{}", server.fresh_database().await.unwrap());
    let mut first = proxy::direct(server, server.database()).await;
    let create = format!("CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'");
    first.execute(AssertSqlSafe(create)).await.unwrap();
    let mut sql = format!(
        "CREATE SCHEMA bytes; CREATE SCHEMA own; {}",
        PICK.replace("TABLE ", "TABLE bytes.").replace("INTO ", "INTO bytes.")
    );
    for ground in &GROUNDS {
        let own = format!("own.{}_{}", ground.schema, ground.table);
        sql += &format!("CREATE COLLATION {own} {};", ground.reference);
        for (table, rows) in tables(ground) {
            for (schema, collated) in [("bytes", String::new()), ("own", format!("COLLATE {own}"))] {
                let name = format!("{schema}.{}_{}_{table}", ground.schema, ground.table);
                sql += &format!("CREATE TABLE {name} (id bigint, w text {collated}, o text {collated}, v text);");
                sql += &format!("INSERT INTO {name} VALUES {rows};");
            }
        }
    }
    proxy::direct(server, &database).await.execute(AssertSqlSafe(sql)).await.unwrap();
    let mut config = tokio_postgres::Config::new();
    config.host(server.host()).port(server.port()).user(server.user()).password(server.password()).dbname(&database);
    config
}

/// The tables of a ground: that of the values on which collations disagree, and that of those on which they agree.
fn tables(ground: &Ground) -> [(String, String); 2] {
    [(ground.table.to_owned(), format!("{WORDS}{}", ground.more)), (format!("plain_{}", ground.table), PLAIN.to_owned())]
}

/// The statements that make the tables of a ground; `types` are those of the columns behind the number of the row.
fn made(ground: &Ground, types: [&str; 3], ending: &str) -> Vec<String> {
    let [w, o, v] = types;
    let made = tables(ground).map(|(table, rows)| {
        let create = format!("CREATE TABLE {table} (id bigint PRIMARY KEY, w {w}, o {o}, v {v}){ending}");
        [create, format!("INSERT INTO {table} VALUES {rows}")]
    });
    made.into_iter().flatten().collect()
}

async fn stores(place: &Place) {
    let [caseless, language, general, nocase] = &GROUNDS;
    place.sqlite("other", PICK).await;
    let server = support::postgres().await;
    let mut sql = vec!["CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)".to_owned()];
    sql.extend(made(caseless, ["text COLLATE caseless", "text COLLATE caseless", "text COLLATE \"en-x-icu\""], ""));
    sql.extend(made(language, ["text COLLATE \"en-x-icu\"", "text COLLATE \"en-x-icu\"", "text COLLATE caseless"], ""));
    sql.push("ANALYZE".to_owned());
    let database = proxy::fresh(server, &sql.join("; ")).await;
    place.postgres(caseless.schema, server, &database, "collation = \"native\"\n");
    let [own, other] = ["general", "unicode"].map(|name| format!("varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_{name}_ci"));
    let server = support::mariadb().await;
    let database = server.fresh_database().await.unwrap();
    let login = MySqlConnectOptions::new().host(server.host()).port(server.port()).database(&database);
    let mut owner = MySqlConnection::connect_with(&login.username(server.user()).password(server.password())).await.unwrap();
    for statement in made(general, [&own, &own, &other], "") {
        owner.execute(AssertSqlSafe(statement)).await.unwrap();
    }
    place.mariadb(general.schema, server, &database, "collation = \"native\"\n");
    let statements = made(nocase, ["TEXT COLLATE NOCASE", "TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM"], " STRICT");
    // A number that is the key of rows has this name and no other.
    let statements: Vec<String> = statements.iter().map(|statement| statement.replace("id bigint", "id INTEGER")).collect();
    place.sqlite(nocase.schema, &statements.join("; ")).await;
    let file = format!("kind = \"sqlite\"\npath = \"{}.db\"\ncollation = \"native\"\n", nocase.schema);
    place.write(&format!("stores/{}.toml", nocase.schema), &file);
}

#[test]
fn only_texts_lose_their_capital_letters() {
    assert_eq!(in_small_letters("SELECT Id FROM t WHERE w IN ('ABC', 'b')"), "SELECT Id FROM t WHERE w IN ('abc', 'b')");
}
