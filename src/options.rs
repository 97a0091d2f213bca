//! Options as data: every configuration key is one [`OptionSpec`], read by one reader that reports all problems at once.
//!
//! `config/` reads `tributary.toml` with it, each connector reads its own store file with it, and a test compares the same
//! specs with `catalog/reference.toml`. Environment and secret files are looked up through [`Secrets`], which only `config/`
//! implements for real.
//!
//! **Invariant:** a value that fails is reported with its path, the value (unless the option is secret) and the rule it
//! breaks; reading goes on, so one run reports everything.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use crate::spelling::nearest;

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// Any text.
    Text,
    /// Text that is never shown; `${ENV}` and `{ file = "…" }` are resolved.
    Secret,
    /// `true` or `false`.
    Bool,
    /// A whole number within the bounds, both included.
    Integer(i64, i64),
    /// A duration such as `500ms`, `30s`, `5m`, `1h`.
    Duration,
    /// A size such as `64KiB`, `10MiB`, `2GiB`, or bytes.
    Size,
    /// One of the given words.
    Choice(&'static [&'static str]),
    /// A path, relative to the catalog directory.
    Path,
    /// An array of texts.
    Texts,
    /// A table that the owner of the option reads itself.
    Table,
}

/// One configuration key.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// The key inside its table; dots reach into sub-tables (`pool.size`).
    pub key: &'static str,
    /// What the value must look like.
    pub form: Form,
    /// The default as it would be written in the file; `None` when the key is required, `Some("")` when it may be absent.
    pub default: Option<&'static str>,
    /// One sentence for the reference.
    pub meaning: &'static str,
}

/// Something wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `stores.crm.pool.size`.
    pub path: String,
    /// The value found, already redacted; empty when the key is missing.
    pub value: String,
    /// The rule that it breaks.
    pub rule: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_empty() {
            write!(f, "{}: {}", self.path, self.rule)
        } else {
            write!(f, "{}: {} {}", self.path, self.value, self.rule)
        }
    }
}

/// Stands for the value of a secret.
const HIDDEN: &str = "(hidden)";

/// A text that never reaches a log, an error or `Debug`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Looks up what a secret or a `${NAME}` refers to.
pub trait Secrets: Sync {
    /// The environment variable's value.
    fn variable(&self, name: &str) -> Option<String>;
    /// The file's content without its last line end; the error is the reason it cannot be read.
    fn file(&self, path: &str) -> Result<String, String>;
    /// A path of a configuration file made absolute.
    fn resolve(&self, path: &str) -> PathBuf;
}

/// Reads one table of options and gathers what is wrong with it.
pub struct Reader<'a> {
    path: String,
    table: &'a toml::Table,
    specs: &'static [OptionSpec],
    secrets: &'a dyn Secrets,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// A reader over `table`, whose keys are reported below `path`. Unknown keys are problems from the start.
    pub fn new(path: &str, table: &'a toml::Table, specs: &'static [OptionSpec], secrets: &'a dyn Secrets) -> Self {
        let mut reader = Self { path: path.to_owned(), table, specs, secrets, problems: Vec::new() };
        reader.reject_unknown("", table);
        reader
    }

    fn reject_unknown(&mut self, prefix: &str, table: &toml::Table) {
        for (key, value) in table {
            let full = format!("{prefix}{key}");
            if self.specs.iter().any(|spec| spec.key == full) {
                continue;
            }
            let inner = format!("{full}.");
            match value {
                Value::Table(below) if self.specs.iter().any(|spec| spec.key.starts_with(&inner)) => {
                    self.reject_unknown(&inner, below)
                }
                _ => self.problem(&full, "", unknown_key(&full, self.specs)),
            }
        }
    }

    /// Adds a problem found by the caller, for rules that span several keys. A value that came from the environment is told
    /// as it is written: what a variable holds may be a secret that is in the wrong place.
    pub fn problem(&mut self, key: &str, value: &str, rule: String) {
        let path = if key.is_empty() { self.path.clone() } else { format!("{}.{key}", self.path) };
        let written = self.find(key).and_then(Value::as_str).filter(|text| !value.is_empty() && text.contains("${"));
        let value = written.filter(|_| value != HIDDEN).map_or_else(|| value.to_owned(), |text| format!("\"{text}\""));
        self.problems.push(Problem { path, value, rule });
    }

    /// How many problems there are so far, for rules that apply only to a value that was read.
    pub fn problem_count(&self) -> usize {
        self.problems.len()
    }

    /// What was wrong; reading is over.
    pub fn finish(self) -> Vec<Problem> {
        self.problems
    }

    /// Whether the file itself sets the key.
    pub fn is_set(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    fn find(&self, key: &str) -> Option<&'a Value> {
        let mut parts = key.split('.');
        let mut value = self.table.get(parts.next()?)?;
        for part in parts {
            value = value.as_table()?.get(part)?;
        }
        Some(value)
    }

    fn spec(&self, key: &str) -> Option<&'static OptionSpec> {
        self.specs.iter().find(|spec| spec.key == key)
    }

    /// The value as text after `${NAME}` expansion, or the default; `None` when absent or wrong.
    fn raw(&mut self, key: &str) -> Option<String> {
        let form = self.spec(key).map_or(Form::Text, |spec| spec.form);
        let secret = form == Form::Secret;
        match self.find(key) {
            Some(Value::String(text)) => self.expand(key, text),
            Some(Value::Integer(number)) => Some(number.to_string()),
            Some(Value::Boolean(truth)) => Some(truth.to_string()),
            Some(Value::Table(table)) if secret => self.secret_file(key, table),
            Some(other) => {
                let shown = if secret { HIDDEN.to_owned() } else { other.to_string() };
                self.problem(key, &shown, format!("is not {}", describe(form)));
                None
            }
            None => match self.spec(key).and_then(|spec| spec.default) {
                Some("") => None,
                Some(default) => Some(default.to_owned()),
                None => {
                    self.problem(key, "", "is required".to_owned());
                    None
                }
            },
        }
    }

    fn expand(&mut self, key: &str, text: &str) -> Option<String> {
        let before = self.problems.len();
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (plain, after) = rest.split_at(start);
            result.push_str(plain);
            let Some(end) = after.find('}') else {
                self.problem(key, "", "has a \"${\" without its \"}\"".to_owned());
                return None;
            };
            let name = after.get(2..end).unwrap_or_default();
            match self.secrets.variable(name) {
                Some(value) => result.push_str(&value),
                None => self.problem(key, "", format!("names the environment variable {name}, which is not set")),
            }
            rest = after.get(end + 1..).unwrap_or_default();
        }
        result.push_str(rest);
        (self.problems.len() == before).then_some(result)
    }

    fn secret_file(&mut self, key: &str, table: &toml::Table) -> Option<String> {
        let Some(Value::String(path)) = table.get("file").filter(|_| table.len() == 1) else {
            self.problem(key, "", "is not text, \"${NAME}\" or { file = \"…\" }".to_owned());
            return None;
        };
        match self.secrets.file(path) {
            Ok(content) => Some(content),
            Err(reason) => {
                self.problem(key, path, format!("cannot be read: {reason}"));
                None
            }
        }
    }

    /// A text; empty when absent or wrong.
    pub fn text(&mut self, key: &str) -> String {
        self.optional_text(key).unwrap_or_default()
    }

    /// A text that may be absent.
    pub fn optional_text(&mut self, key: &str) -> Option<String> {
        let text = self.raw(key)?;
        if let Some(Form::Choice(words)) = self.spec(key).map(|spec| spec.form)
            && !words.contains(&text.as_str())
        {
            self.problem(key, &format!("\"{text}\""), not_one_of(&text, words));
            return None;
        }
        Some(text)
    }

    /// A secret that may be absent.
    pub fn secret(&mut self, key: &str) -> Option<Secret> {
        self.raw(key).map(Secret)
    }

    /// A path made absolute against the catalog directory.
    pub fn path(&mut self, key: &str) -> Option<PathBuf> {
        let text = self.raw(key)?;
        Some(self.secrets.resolve(&text))
    }

    /// A truth value; false when wrong.
    pub fn bool(&mut self, key: &str) -> bool {
        match self.raw(key).as_deref() {
            Some("true") => true,
            Some("false") | None => false,
            Some(other) => {
                let shown = format!("\"{other}\"");
                self.problem(key, &shown, "is not true or false".to_owned());
                false
            }
        }
    }

    /// A whole number within the option's bounds; the lower bound when wrong.
    pub fn integer(&mut self, key: &str) -> i64 {
        let (low, high) = match self.spec(key).map(|spec| spec.form) {
            Some(Form::Integer(low, high)) => (low, high),
            _ => (i64::MIN, i64::MAX),
        };
        let Some(text) = self.raw(key) else { return low };
        match text.parse::<i64>() {
            Ok(number) if (low..=high).contains(&number) => number,
            _ => {
                self.problem(key, &text, format!("is not in {low}..={high}"));
                low
            }
        }
    }

    /// [`Reader::integer`] for counts; zero when it does not fit.
    pub fn count(&mut self, key: &str) -> usize {
        usize::try_from(self.integer(key)).unwrap_or(0)
    }

    /// A duration; zero when wrong.
    pub fn duration(&mut self, key: &str) -> Duration {
        let Some(text) = self.raw(key) else { return Duration::ZERO };
        parse_duration(&text).unwrap_or_else(|| {
            self.problem(key, &format!("\"{text}\""), "is not a duration such as 500ms, 30s, 5m or 1h".to_owned());
            Duration::ZERO
        })
    }

    /// A size in bytes; zero when wrong.
    pub fn size(&mut self, key: &str) -> u64 {
        let Some(text) = self.raw(key) else { return 0 };
        parse_size(&text).unwrap_or_else(|| {
            self.problem(key, &format!("\"{text}\""), "is not a size such as 64KiB, 10MiB or 2GiB".to_owned());
            0
        })
    }

    /// An array of texts; empty when absent or wrong.
    pub fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let texts =
            value.as_array().map(|items| items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect::<Vec<_>>());
        match (texts, value.as_array()) {
            (Some(texts), Some(items)) if texts.len() == items.len() => texts,
            _ => {
                self.problem(key, &value.to_string(), "is not an array of texts".to_owned());
                Vec::new()
            }
        }
    }

    /// A table that the caller reads itself.
    pub fn table(&mut self, key: &str) -> Option<&'a toml::Table> {
        let value = self.find(key)?;
        if value.as_table().is_none() {
            self.problem(key, &value.to_string(), "is not a table".to_owned());
        }
        value.as_table()
    }
}

/// The rule that a word breaks which is none of `words`, with the word that was probably meant.
pub fn not_one_of(word: &str, words: &[&str]) -> String {
    let near = nearest(&word.to_lowercase(), words.iter().copied()).map(|near| format!("; perhaps \"{near}\"")).unwrap_or_default();
    format!("is not one of {}{near}", words.join(", "))
}

/// The same for a key: near are other keys, and the tables that hold some.
fn unknown_key(key: &str, specs: &[OptionSpec]) -> String {
    let tables = specs.iter().flat_map(|spec| spec.key.match_indices('.').filter_map(|(end, _)| spec.key.get(..end)));
    let near = nearest(&key.to_lowercase(), specs.iter().map(|spec| spec.key).chain(tables));
    near.map_or_else(|| "is not a known key".to_owned(), |near| format!("is not a known key; perhaps {near}"))
}

fn describe(form: Form) -> &'static str {
    match form {
        Form::Text | Form::Choice(_) => "a text",
        Form::Secret => "text, \"${NAME}\" or { file = \"…\" }",
        Form::Bool => "true or false",
        Form::Integer(..) => "a whole number",
        Form::Duration => "a duration such as 500ms, 30s, 5m or 1h",
        Form::Size => "a size such as 64KiB, 10MiB or 2GiB",
        Form::Path => "a path",
        Form::Texts => "an array of texts",
        Form::Table => "a table",
    }
}

/// Parses `500ms`, `30s`, `5m`, `1h`; a bare number is milliseconds, as PostgreSQL reads `statement_timeout`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let millis = match unit {
        "" | "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "m" | "min" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        "d" => number.checked_mul(86_400_000)?,
        _ => return None,
    };
    Some(Duration::from_millis(millis))
}

/// Parses `64KiB`, `10MiB`, `2GiB`, `10MB` (also binary, as PostgreSQL reads memory units), or bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" | "kB" => 10,
        "MiB" | "MB" => 20,
        "GiB" | "GB" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Secrets for Fixed {
        fn variable(&self, name: &str) -> Option<String> {
            (name == "PASSWORD").then(|| "hunter2".to_owned())
        }

        fn file(&self, path: &str) -> Result<String, String> {
            if path == "there" { Ok("from file".to_owned()) } else { Err("no such file".to_owned()) }
        }

        fn resolve(&self, path: &str) -> PathBuf {
            PathBuf::from("/catalog").join(path)
        }
    }

    const SPECS: &[OptionSpec] = &[
        OptionSpec { key: "host", form: Form::Text, default: None, meaning: "" },
        OptionSpec { key: "password", form: Form::Secret, default: Some(""), meaning: "" },
        OptionSpec { key: "pool.size", form: Form::Integer(1, 1000), default: Some("8"), meaning: "" },
        OptionSpec { key: "pool.wait", form: Form::Duration, default: Some("5s"), meaning: "" },
        OptionSpec { key: "mode", form: Form::Choice(&["null", "error"]), default: Some("error"), meaning: "" },
    ];

    #[test]
    fn every_problem_is_reported_in_one_go() {
        let table: toml::Table =
            toml::from_str("mode = \"x\"\nsurprise = 1\npassword = \"${NOPE}\"\n[pool]\nsize = 0\nodd = 1").unwrap();
        let mut reader = Reader::new("stores.crm", &table, SPECS, &Fixed);
        reader.text("host");
        reader.secret("password");
        reader.integer("pool.size");
        reader.optional_text("mode");
        let mut said: Vec<String> = reader.finish().iter().map(ToString::to_string).collect();
        said.sort();
        assert_eq!(
            said,
            [
                "stores.crm.host: is required",
                "stores.crm.mode: \"x\" is not one of null, error",
                "stores.crm.password: names the environment variable NOPE, which is not set",
                "stores.crm.pool.odd: is not a known key",
                "stores.crm.pool.size: 0 is not in 1..=1000",
                "stores.crm.surprise: is not a known key",
            ]
        );
    }

    #[test]
    fn what_was_probably_meant_is_told() {
        let table: toml::Table = toml::from_str(
            "host = \"h\"\nHost = 1\npasword = \"x\"\nmode = \"nul\"\n[pol]\nsize = 1\n[pool]\nsiez = 1\nweather = 1",
        )
        .unwrap();
        let mut reader = Reader::new("s", &table, SPECS, &Fixed);
        reader.optional_text("mode");
        let mut said: Vec<String> = reader.finish().iter().map(ToString::to_string).collect();
        said.sort();
        assert_eq!(
            said,
            [
                "s.Host: is not a known key; perhaps host",
                "s.mode: \"nul\" is not one of null, error; perhaps \"null\"",
                "s.pasword: is not a known key; perhaps password",
                "s.pol: is not a known key; perhaps pool",
                "s.pool.siez: is not a known key; perhaps pool.size",
                "s.pool.weather: is not a known key",
            ]
        );
    }

    #[test]
    fn every_variable_that_is_not_set_is_told() {
        let table: toml::Table = toml::from_str("host = \"${A}-${PASSWORD}-${B}\"").unwrap();
        let mut reader = Reader::new("s", &table, SPECS, &Fixed);
        assert_eq!(reader.optional_text("host"), None);
        let said: Vec<String> = reader.finish().iter().map(ToString::to_string).collect();
        let told = |name: &str| format!("s.host: names the environment variable {name}, which is not set");
        assert_eq!(said, [told("A"), told("B")]);
    }

    #[test]
    fn what_a_variable_holds_is_not_told() {
        let table: toml::Table =
            toml::from_str("mode = \"${PASSWORD}\"\n[pool]\nsize = \"${PASSWORD}\"\nwait = \"${PASSWORD}s\"").unwrap();
        let mut reader = Reader::new("s", &table, SPECS, &Fixed);
        reader.optional_text("mode");
        reader.integer("pool.size");
        reader.duration("pool.wait");
        let said: Vec<String> = reader.finish().iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said.iter().all(|line| line.contains("\"${PASSWORD}") && !line.contains("hunter2")), "{said:?}");
    }

    #[test]
    fn secrets_come_from_environment_and_file_and_stay_hidden() {
        let table: toml::Table = toml::from_str("host = \"h\"\npassword = \"x${PASSWORD}y\"").unwrap();
        let secret = Reader::new("s", &table, SPECS, &Fixed).secret("password").unwrap();
        assert_eq!(secret.expose(), "xhunter2y");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        let table: toml::Table = toml::from_str("password = { file = \"there\" }").unwrap();
        assert_eq!(Reader::new("s", &table, SPECS, &Fixed).secret("password").unwrap().expose(), "from file");
    }

    #[test]
    fn durations_and_sizes() {
        let rows = [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("7", Some(7)),
            ("x", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_duration(text), expected.map(Duration::from_millis), "{text}");
        }
        assert_eq!(parse_size("10MiB"), Some(10 << 20));
        assert_eq!(parse_size("10 furlongs"), None);
    }
}
