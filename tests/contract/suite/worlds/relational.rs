//! Statements that fill a SQL store, in the words of its dialect.

use std::time::Duration;

use bigdecimal::BigDecimal;
use tributary::format::{DisplaySettings, bytea, date, time, timestamp};
use tributary::stores::capture::{Follow, How, TablePattern};
use tributary::stores::value::Value;

use super::super::world::{BIG, Deed, Kind, Sample};

/// How one store spells things.
pub struct Dialect {
    /// The mark around names.
    pub quote: char,
    /// The key column's declaration.
    pub key: &'static str,
    /// The declared type of each kind.
    pub declared: fn(Kind) -> &'static str,
    /// How bytes are written, between these.
    pub bytes: (&'static str, &'static str),
    /// What follows a moment with a time zone, in UTC.
    pub utc: &'static str,
    /// A text of 1000 characters.
    pub filler: &'static str,
    /// What follows a table's columns.
    pub table_end: &'static str,
    /// What follows a commented table's columns, and a commented column.
    pub comments: (&'static str, &'static str),
}

/// Everything is followed, in this way.
pub fn follow(how: How) -> Follow {
    Follow {
        how,
        only: TablePattern::parse("*").into_iter().collect(),
        except: Vec::new(),
        max_retained: 1 << 30,
        poll: Duration::from_millis(5),
        publication: None,
        server_id: None,
    }
}

impl Dialect {
    /// The statements of a transaction over a table with an integer `n`.
    pub fn deeds(&self, table: &str, deeds: &[Deed], is_kept: bool) -> Vec<String> {
        let table = self.name(table);
        let statement = |deed: &Deed| match deed {
            Deed::Insert(key, n) => format!("INSERT INTO {table} (id, n) VALUES ({key}, {n})"),
            Deed::Update(key, n) => format!("UPDATE {table} SET n = {n} WHERE id = {key}"),
            Deed::Delete(key) => format!("DELETE FROM {table} WHERE id = {key}"),
            Deed::Move(from, to) => format!("UPDATE {table} SET id = {to} WHERE id = {from}"),
        };
        let end = if is_kept { "COMMIT" } else { "ROLLBACK" };
        ["BEGIN".to_owned()].into_iter().chain(deeds.iter().map(statement)).chain([end.to_owned()]).collect()
    }

    /// The statement that adds a column of integers.
    pub fn add_column(&self, table: &str, column: &str) -> String {
        format!("ALTER TABLE {} ADD COLUMN {} {}", self.name(table), self.name(column), (self.declared)(Kind::Int))
    }

    /// A quoted name.
    pub fn name(&self, name: &str) -> String {
        let quote = self.quote;
        format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))
    }

    /// The statements that make and fill a table. Floats become parameters `?` in their order where `floats` is given,
    /// because not every store reads the digits of a float exactly.
    pub fn make(&self, sample: &Sample, mut floats: Option<&mut Vec<f64>>) -> Vec<String> {
        let table = self.name(&sample.table);
        let columns: String =
            sample.columns.iter().map(|(name, kind)| format!(", {} {}", self.name(name), (self.declared)(*kind))).collect();
        let mut statements = vec![format!("CREATE TABLE {table} (id {}{columns}){}", self.key, self.table_end)];
        for (number, row) in sample.rows.iter().enumerate() {
            let cells: String = row
                .iter()
                .map(|cell| match (cell, floats.as_deref_mut()) {
                    (None, _) => ", NULL".to_owned(),
                    (Some(Value::Float(float)), Some(floats)) => {
                        floats.push(*float);
                        ", ?".to_owned()
                    }
                    (Some(value), _) => format!(", {}", self.literal(value)),
                })
                .collect();
            statements.push(format!("INSERT INTO {table} VALUES ({}{cells})", number + 1));
        }
        statements
    }

    fn literal(&self, value: &Value) -> String {
        let mut out = Vec::new();
        let display = DisplaySettings::default();
        match value {
            Value::Bool(truth) => return truth.to_string(),
            Value::Int(number) => return number.to_string(),
            Value::Float(number) if number.is_nan() => return "'NaN'".to_owned(),
            Value::Float(number) if number.is_infinite() => {
                return if *number > 0.0 { "'Infinity'" } else { "'-Infinity'" }.to_owned();
            }
            Value::Float(number) => return format!("{number:e}"),
            Value::Decimal { unscaled, scale } => return BigDecimal::new((*unscaled).into(), i64::from(*scale)).to_plain_string(),
            Value::Numeric(text) => return text.clone(),
            Value::Text(text) => return format!("'{}'", text.replace('\'', "''")),
            Value::Bytes(bytes) => {
                bytea::write_hex(bytes, &mut out);
                let hex = String::from_utf8(out).unwrap();
                return format!("{}{}{}", self.bytes.0, hex.trim_start_matches("\\x"), self.bytes.1);
            }
            Value::Date(days) => date::write(*days, &display, &mut out),
            Value::Time(micros) => time::write(*micros, &mut out),
            Value::Timestamp(micros) => timestamp::write(*micros, &display, &mut out),
            Value::TimestampTz(micros) => {
                timestamp::write(*micros, &display, &mut out);
                out.extend(self.utc.as_bytes());
            }
        }
        format!("'{}'", String::from_utf8(out).unwrap())
    }

    /// The statements that make the table `big`.
    pub fn make_big(&self) -> Vec<String> {
        let digits = "(SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 \
             UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
        let rows = format!(
            "SELECT 1 + a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n, {} FROM {digits} a CROSS JOIN {digits} b \
             CROSS JOIN {digits} c CROSS JOIN {digits} d CROSS JOIN {digits} e WHERE e.n < {}",
            self.filler,
            BIG / 10_000
        );
        let table = format!("CREATE TABLE big (id {}, filler {}){}", self.key, (self.declared)(Kind::Text), self.table_end);
        vec![table.replace("varchar(200)", "varchar(2000)"), format!("INSERT INTO big {rows}")]
    }

    /// The statements that make the library.
    pub fn make_library(&self) -> Vec<String> {
        let (of_table, of_column) = self.comments;
        let key = self.key;
        vec![
            format!(
                "CREATE TABLE author (id {key}, name varchar(50) NOT NULL, note varchar(50) DEFAULT 'none'{of_column}, \
                 CONSTRAINT author_name UNIQUE (name)){of_table}"
            ),
            format!(
                "CREATE TABLE book (id {key}, author bigint, title varchar(50), \
                 CONSTRAINT by_author FOREIGN KEY (author) REFERENCES author (id))"
            ),
            "CREATE INDEX by_title ON book (title)".to_owned(),
            "INSERT INTO author VALUES (1, 'Čapek', NULL), (2, 'Woolf', 'x'), (3, 'Borges', 'y')".to_owned(),
            "INSERT INTO book VALUES (1, 1, 'R.U.R.'), (2, 2, 'Orlando'), (3, 3, 'Ficciones'), (4, NULL, NULL)".to_owned(),
            "CREATE VIEW titles AS SELECT title FROM book".to_owned(),
        ]
    }

    /// The statements that make the documents.
    pub fn make_documents(&self, json: &str) -> Vec<String> {
        let rows = "(1, '{\"o\": {\"a\": 5}}'), (2, '{\"o\": {\"a\": 7}}'), (3, '{\"o\": {}}'), (4, '{\"o\": {\"a\": null}}')";
        vec![format!("CREATE TABLE docs (id {}, doc {json})", self.key), format!("INSERT INTO docs VALUES {rows}")]
    }
}

/// The lines of a store file that make the fields of `docs` columns.
pub const DOCUMENTS: &str = "[tables.docs]\ndocument = \"doc\"\nsample = 0\n[tables.docs.columns]\no = { a = \"bigint\" }\n";

/// Whether a row could be changed; every error but that somebody holds it is one of the test.
pub fn touched(done: Result<(), sqlx::Error>) -> bool {
    if let Err(error) = &done {
        assert!(error.to_string().to_lowercase().contains("lock"), "{error}");
    }
    done.is_ok()
}
