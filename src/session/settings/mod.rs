//! One registry of settings: type, default, whether clients are told of changes, whether results depend on them; with
//! `SET LOCAL`, `RESET` and rollback.
//!
//! | File | Holds |
//! |---|---|
//! | `registry` | every setting with what is known of it |
//! | `value` | what values mean, and how they are stored and shown |

mod registry;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;

use crate::cache::{Consistency, OnStale};
use crate::error::{Diagnosis, Limit, sqlstate};
use crate::format::{ByteaOutput, DateOrder, DateStyle, DisplaySettings, IntervalStyle, TimeZone};
use crate::options::parse_duration;

pub use registry::{CONSISTENCY, CROSS_STORE_COMMIT, IDEMPOTENCY_KEY, LAST_COMMIT, MAX_STALENESS, ON_STALE, TOKEN, find};
use registry::{Form, SPECS, Spec};
use value::{canonical, date_style, split_identifiers, time_zone};

/// Most changes of settings that a transaction may have to undo.
const UNDO_MAX: usize = 10_000;

/// What `RESET ALL` leaves alone: the role, and settings of the current transaction, which end with it.
const LEFT_ALONE: &[&str] = &["role", "transaction_deferrable", "transaction_isolation", "transaction_read_only"];

/// The settings of one session.
#[derive(Debug, Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, String>,
    /// Values at the start of the session, which `RESET` returns to.
    starts: BTreeMap<&'static str, String>,
    /// What a rollback restores, and what `SET LOCAL` restores at commit, oldest first.
    undo: Vec<Undo>,
    in_block: bool,
    /// Counts changes, so that whoever depends on any setting can tell that one has changed.
    generation: u64,
    changed: Vec<&'static str>,
    /// What [`Settings::display`] answers, for every value on the wire asks for it.
    display: DisplaySettings,
    /// What [`Settings::affecting`] answers, for every statement asks for it.
    affecting: Arc<[String]>,
    /// What [`Settings::statement_timeout`] answers, for every message that may run something asks for it.
    statement_timeout: Option<Duration>,
    /// What [`Settings::freshness`] answers, for every statement that reads asks for it.
    freshness: Freshness,
}

/// How fresh reads are asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// `tributary.consistency`
    pub consistency: Consistency,
    /// `tributary.max_staleness`; `None` when it is 0.
    pub max_staleness: Option<Duration>,
    /// `tributary.on_stale`
    pub on_stale: OnStale,
}

#[derive(Debug, Clone)]
struct Undo {
    name: &'static str,
    before: String,
    local: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let values: BTreeMap<&'static str, String> = SPECS.iter().map(|spec| (spec.name, spec.default.to_owned())).collect();
        let (display, affecting, starts) = (display_of(&values), affecting_of(&values), values.clone());
        let (undo, changed, statement_timeout) = (Vec::new(), Vec::new(), duration_of(&values, "statement_timeout"));
        let freshness = freshness_of(&values);
        Self { starts, values, undo, in_block: false, generation: 0, changed, display, affecting, statement_timeout, freshness }
    }
}

fn unknown(name: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

impl Settings {
    /// The value as `SHOW` prints it.
    ///
    /// # Errors
    /// 42704
    pub fn show(&self, name: &str) -> Result<&str, Diagnosis> {
        let spec = find(name).ok_or_else(|| unknown(name))?;
        Ok(self.get(spec.name))
    }

    fn get(&self, name: &str) -> &str {
        // Outside a block these tell what the next transaction will have.
        let name = match name {
            "transaction_deferrable" if !self.in_block => "default_transaction_deferrable",
            "transaction_isolation" if !self.in_block => "default_transaction_isolation",
            "transaction_read_only" if !self.in_block => "default_transaction_read_only",
            other => other,
        };
        self.values.get(name).map_or("", String::as_str)
    }

    /// Sets a value that the server knows itself (role, version), and makes it the start value.
    pub fn fix(&mut self, name: &str, value: &str) {
        if let Some(spec) = find(name) {
            self.values.insert(spec.name, value.to_owned());
            self.starts.insert(spec.name, value.to_owned());
            self.derive_anew();
        }
    }

    /// Makes the present values those that `RESET` returns to, after the startup message was read.
    pub fn settle(&mut self) {
        self.starts = self.values.clone();
        self.changed.clear();
    }

    /// `SET [LOCAL] name = value`; `None` is `DEFAULT`.
    ///
    /// # Errors
    /// 42704, 42501 for the engine's own options, 55P02, 22023.
    pub fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<(), Diagnosis> {
        if name.to_lowercase().starts_with("datafusion.") {
            return Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("permission denied to set parameter \"{name}\"")));
        }
        let spec = find(name).ok_or_else(|| unknown(name))?;
        let value = match value {
            // A DateStyle names one part or both; the part that it does not name stays.
            Some(text) if matches!(spec.form, Form::DateStyle) => canonical(spec, &format!("{}, {text}", self.get(spec.name)))?,
            Some(text) => canonical(spec, text)?,
            None => self.starts.get(spec.name).cloned().unwrap_or_default(),
        };
        let before = self.get(spec.name).to_owned();
        if self.in_block {
            self.may_undo(1)?;
            self.undo.push(Undo { name: spec.name, before: before.clone(), local });
        } else if local {
            return Ok(());
        }
        self.store(spec.name, value, &before);
        Ok(())
    }

    fn store(&mut self, name: &'static str, value: String, before: &str) {
        let differs = value != before && !find(name).is_some_and(|spec| spec.quiet);
        if differs {
            self.generation += 1;
            if !self.changed.contains(&name) {
                self.changed.push(name);
            }
        }
        self.values.insert(name, value);
        if differs {
            self.derive_anew();
        }
        if [CONSISTENCY, MAX_STALENESS, ON_STALE].contains(&name) {
            self.freshness = freshness_of(&self.values);
        }
    }

    /// Takes note of what the server tells of the session by one of its quiet settings.
    pub fn note(&mut self, name: &'static str, value: String) {
        self.values.insert(name, value);
    }

    /// A transaction ends, whose name was not meant for another one. Whether it had one.
    pub fn forget_key(&mut self) -> bool {
        let key = self.values.get_mut(IDEMPOTENCY_KEY).filter(|key| !key.is_empty());
        key.map(String::clear).is_some()
    }

    /// Makes anew what is kept of the values.
    fn derive_anew(&mut self) {
        self.display = display_of(&self.values);
        self.affecting = affecting_of(&self.values);
        self.statement_timeout = duration_of(&self.values, "statement_timeout");
    }

    /// Whether a transaction has room to undo so many further changes.
    fn may_undo(&self, further: usize) -> Result<(), Diagnosis> {
        if self.undo.len() + further > UNDO_MAX {
            let message = format!("a transaction may change settings at most {UNDO_MAX} times");
            return Err(Diagnosis::new(sqlstate::CONFIGURATION_LIMIT_EXCEEDED, message).at(Limit::Transaction));
        }
        Ok(())
    }

    /// `RESET ALL`. The role and what belongs to the current transaction stay, as in PostgreSQL (`GUC_NO_RESET_ALL`), and what has its start
    /// value already counts as no change.
    ///
    /// # Errors
    /// 53400 when the transaction could not undo it; nothing has changed then.
    pub fn reset_all(&mut self) -> Result<(), Diagnosis> {
        let is_reset = |spec: &&Spec| !matches!(spec.form, Form::ReadOnly) && !LEFT_ALONE.contains(&spec.name);
        // A local value that equals the start value covers another one.
        let is_local = |spec: &Spec| self.undo.iter().rfind(|undo| undo.name == spec.name).is_some_and(|undo| undo.local);
        let differs = |spec: &&Spec| self.starts.get(spec.name).map(String::as_str) != Some(self.get(spec.name)) || is_local(spec);
        let specs: Vec<&Spec> = SPECS.iter().filter(is_reset).filter(differs).collect();
        if self.in_block {
            self.may_undo(specs.len())?;
        }
        for spec in specs {
            let before = self.get(spec.name).to_owned();
            if self.in_block {
                self.undo.push(Undo { name: spec.name, before: before.clone(), local: false });
            }
            let start = self.starts.get(spec.name).cloned().unwrap_or_default();
            self.store(spec.name, start, &before);
        }
        Ok(())
    }

    /// A transaction begins: from now on changes can be undone.
    pub fn begin(&mut self) {
        self.in_block = true;
        self.undo.clear();
    }

    /// A transaction ends: `SET LOCAL` is undone, and everything is when it rolls back.
    pub fn end(&mut self, committed: bool) {
        self.in_block = false;
        // A local value covers what was set before it in the same transaction, so its undo is the value underneath; one
        // that a later plain SET replaced is gone already.
        let mut replaced = Vec::new();
        while let Some(undo) = self.undo.pop() {
            if committed && !undo.local {
                replaced.push(undo.name);
            } else if !committed || !replaced.contains(&undo.name) {
                let before = self.get(undo.name).to_owned();
                self.store(undo.name, undo.before, &before);
            }
        }
        self.forget_key();
    }

    /// A mark for [`Settings::rollback_to`].
    pub fn savepoint(&self) -> usize {
        self.undo.len()
    }

    /// Undoes what was set since the mark.
    pub fn rollback_to(&mut self, mark: usize) {
        while self.undo.len() > mark {
            if let Some(undo) = self.undo.pop() {
                let before = self.get(undo.name).to_owned();
                self.store(undo.name, undo.before, &before);
            }
        }
    }

    /// Statements by which another session gets the settings that results depend on, for as long as a transaction lasts, and those that
    /// give it back its own.
    pub fn as_statements(&self) -> (Vec<String>, Vec<String>) {
        let differing = SPECS.iter().filter(|spec| spec.affects_results && self.get(spec.name) != spec.default);
        let statements = differing.map(|spec| {
            let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
            let value = match spec.form {
                // A list is written without quotes around it.
                Form::Identifiers if !self.get(spec.name).trim().is_empty() => self.get(spec.name).to_owned(),
                _ => quoted(self.get(spec.name)),
            };
            (format!("SET LOCAL {} = {value}", spec.name), format!("SET LOCAL {} TO DEFAULT", spec.name))
        });
        statements.unzip()
    }

    /// Reportable settings with their values.
    pub fn reported(&self) -> Vec<(String, String)> {
        SPECS.iter().filter(|spec| spec.reported).map(|spec| (spec.name.to_owned(), self.get(spec.name).to_owned())).collect()
    }

    /// Reportable settings changed since the last call.
    pub fn take_changed(&mut self) -> Vec<(String, String)> {
        let names = std::mem::take(&mut self.changed);
        let told = names.into_iter().filter(|name| find(name).is_some_and(|spec| spec.reported));
        told.map(|name| (name.to_owned(), self.get(name).to_owned())).collect()
    }

    /// All settings: name, value, meaning.
    pub fn all(&self) -> Vec<(String, String, String)> {
        SPECS.iter().map(|spec| (spec.name.to_owned(), self.get(spec.name).to_owned(), spec.meaning.to_owned())).collect()
    }

    /// A number that differs whenever any setting has changed.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// `statement_timeout`; `None` when it is 0.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.statement_timeout
    }

    /// How fresh reads are asked to be.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// `lock_timeout`; `None` when it is 0.
    pub fn lock_timeout(&self) -> Option<Duration> {
        parse_duration(self.get("lock_timeout")).filter(|timeout| !timeout.is_zero())
    }

    /// A truth setting.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == "on"
    }

    /// The schemas of `search_path`, as written.
    pub fn search_path(&self) -> Vec<String> {
        split_identifiers(self.get("search_path")).unwrap_or_default()
    }

    /// The settings that shape values on the wire.
    pub fn display(&self) -> DisplaySettings {
        self.display.clone()
    }

    /// The same, to look at.
    pub fn shown_as(&self) -> &DisplaySettings {
        &self.display
    }

    /// The values of all settings that results depend on, in the order of [`SPECS`].
    pub fn affecting(&self) -> Arc<[String]> {
        Arc::clone(&self.affecting)
    }

    /// `TimeZone` as the engine spells it: an IANA name or `+hh:mm`.
    pub fn engine_time_zone(&self) -> String {
        match self.display.time_zone {
            TimeZone::Fixed(seconds) => {
                let sign = if seconds < 0 { '-' } else { '+' };
                format!("{sign}{:02}:{:02}", seconds.abs() / 3600, seconds.abs() / 60 % 60)
            }
            TimeZone::Named(zone) => zone.name().to_owned(),
        }
    }
}

fn duration_of(values: &BTreeMap<&'static str, String>, name: &str) -> Option<Duration> {
    let text = values.get(name)?;
    parse_duration(text).filter(|duration| !duration.is_zero())
}

fn freshness_of(values: &BTreeMap<&'static str, String>) -> Freshness {
    let word = |name: &str| values.get(name).map_or("", String::as_str);
    Freshness {
        consistency: Consistency::of_word(word(CONSISTENCY)).unwrap_or(Consistency::Session),
        max_staleness: duration_of(values, MAX_STALENESS),
        on_stale: OnStale::of_word(word(ON_STALE)).unwrap_or(OnStale::Store),
    }
}

fn affecting_of(values: &BTreeMap<&'static str, String>) -> Arc<[String]> {
    let affecting = SPECS.iter().filter(|spec| spec.affects_results);
    affecting.map(|spec| values.get(spec.name).cloned().unwrap_or_default()).collect()
}

fn display_of(values: &BTreeMap<&'static str, String>) -> DisplaySettings {
    let get = |name: &str| values.get(name).map_or("", String::as_str);
    let (date_style, date_order) = date_style(get("DateStyle")).unwrap_or((DateStyle::Iso, DateOrder::Mdy));
    DisplaySettings {
        time_zone: time_zone(get("TimeZone")).unwrap_or(TimeZone::Named(Tz::UTC)),
        date_style,
        date_order,
        interval_style: match get("IntervalStyle") {
            "postgres_verbose" => IntervalStyle::PostgresVerbose,
            "sql_standard" => IntervalStyle::SqlStandard,
            "iso_8601" => IntervalStyle::Iso8601,
            _ => IntervalStyle::Postgres,
        },
        bytea_output: if get("bytea_output") == "escape" { ByteaOutput::Escape } else { ByteaOutput::Hex },
        extra_float_digits: get("extra_float_digits").parse().unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str, expected: Result<&str, &str>) {
        let mut settings = Settings::default();
        let result = settings.set(name, Some(value), false).map(|()| settings.show(name).unwrap().to_owned());
        assert_eq!(result.as_deref().map_err(|error| error.sqlstate.as_str()), expected, "{name} = {value}");
    }

    #[test]
    fn values_are_checked_and_shown_as_postgres_shows_them() {
        check("datestyle", "german", Ok("German, DMY"));
        check("datestyle", "iso, dmy", Ok("ISO, DMY"));
        check("datestyle", "ymd", Ok("ISO, YMD"));
        check("timezone", "europe/berlin", Ok("Europe/Berlin"));
        check("timezone", "Mars/Olympus", Err("22023"));
        check("timezone", "-3", Ok("<-03>+03"));
        check("timezone", "5.5", Ok("<+05:30>-05:30"));
        // As POSIX has it, west of UTC.
        check("timezone", "+05:30", Ok("+05:30"));
        check("timezone", "<+05:30>-05:30", Ok("<+05:30>-05:30"));
        check("timezone", "EST5", Ok("EST5"));
        check("timezone", "E5", Err("22023"));
        check("timezone", "<EST", Err("22023"));
        check("timezone", "+-999999999:00", Err("22023"));
        check("timezone", "+1:-30", Err("22023"));
        check("statement_timeout", "90000", Ok("90s"));
        check("statement_timeout", "soon", Err("22023"));
        check("extra_float_digits", "4", Err("22023"));
        check("client_encoding", "utf-8", Ok("UTF8"));
        check("client_encoding", "'utf-8'", Ok("UTF8"));
        check("client_encoding", "latin1", Err("0A000"));
        check("server_version", "9", Err("55P02"));
        check("standard_conforming_strings", "off", Err("22023"));
        check("application_name", "a\nb\u{7f}ü", Ok("a?b???"));
        check("application_name", &"x".repeat(64), Ok("x".repeat(63).as_str()));
        check("nonsense", "1", Err("42704"));
        check("datafusion.execution.batch_size", "1", Err("42501"));
    }

    #[test]
    fn a_time_that_cannot_be_read_is_told_with_the_units_that_can() {
        for value in ["1.5s", "500us", "5sec", "-1"] {
            for name in [MAX_STALENESS, "statement_timeout"] {
                let refused = Settings::default().set(name, Some(value), false).unwrap_err();
                assert_eq!(refused.sqlstate, sqlstate::INVALID_PARAMETER_VALUE, "{name} = {value}");
                let hint = refused.hint.unwrap_or_default();
                assert!(hint.starts_with("Valid units for this parameter are \"ms\","), "{name} = {value}: {hint}");
            }
        }
        for unit in ["ms", "s", "min", "h", "d"] {
            let value = format!("7{unit}");
            check(MAX_STALENESS, &value, Ok(value.as_str()));
        }
    }

    #[test]
    fn local_values_end_with_the_transaction_and_rollback_undoes_all() {
        let mut settings = Settings::default();
        settings.begin();
        settings.set("timezone", Some("Europe/Paris"), false).unwrap();
        settings.set("timezone", Some("Asia/Tokyo"), true).unwrap();
        settings.set("application_name", Some("x"), false).unwrap();
        assert_eq!(settings.show("TimeZone").unwrap(), "Asia/Tokyo");
        settings.end(true);
        assert_eq!(settings.show("TimeZone").unwrap(), "Europe/Paris");
        settings.begin();
        settings.set("timezone", Some("Asia/Tokyo"), true).unwrap();
        settings.set("timezone", Some("Asia/Seoul"), false).unwrap();
        settings.end(true);
        assert_eq!(settings.show("TimeZone").unwrap(), "Asia/Seoul");
        settings.begin();
        settings.set("application_name", Some("y"), false).unwrap();
        settings.end(false);
        assert_eq!(settings.show("application_name").unwrap(), "x");
    }

    #[test]
    fn quiet_settings_change_and_nothing_is_made_anew() {
        let mut settings = Settings::default();
        let generation = settings.generation();
        settings.set(IDEMPOTENCY_KEY, Some("a"), false).unwrap();
        settings.begin();
        settings.set(CROSS_STORE_COMMIT, Some("SAGA"), false).unwrap();
        settings.set(IDEMPOTENCY_KEY, Some("b"), true).unwrap();
        settings.note(LAST_COMMIT, "two-phase: a, b".to_owned());
        assert_eq!(settings.show(CROSS_STORE_COMMIT).unwrap(), "saga");
        assert_eq!(settings.show("tributary.Last_Commit").unwrap(), "two-phase: a, b");
        let mark = settings.savepoint();
        settings.set(IDEMPOTENCY_KEY, Some("c"), false).unwrap();
        settings.rollback_to(mark);
        assert_eq!(settings.show(IDEMPOTENCY_KEY).unwrap(), "b");
        settings.end(false);
        assert_eq!((settings.show(CROSS_STORE_COMMIT).unwrap(), settings.show(IDEMPOTENCY_KEY).unwrap()), ("atomic", ""));
        assert_eq!(settings.show(LAST_COMMIT).unwrap(), "two-phase: a, b", "it is no setting of the transaction");
        assert_eq!(settings.generation(), generation);
        assert!(settings.take_changed().is_empty());
        settings.set("jit", Some("on"), false).unwrap();
        assert_ne!(settings.generation(), generation);
        check(IDEMPOTENCY_KEY, &"x".repeat(201), Err("22023"));
        check(CROSS_STORE_COMMIT, "both", Err("22023"));
        check(LAST_COMMIT, "none", Err("55P02"));
    }

    #[test]
    fn settings_go_to_another_session_as_statements() {
        let mut settings = Settings::default();
        assert_eq!(settings.as_statements(), (Vec::new(), Vec::new()));
        settings.set("search_path", Some("shop, \"$user\""), false).unwrap();
        settings.set("timezone", Some("+05:30"), false).unwrap();
        settings.set("datestyle", Some("german"), false).unwrap();
        settings.set("application_name", Some("x"), false).unwrap();
        let (before, after) = settings.as_statements();
        let expected =
            ["SET LOCAL DateStyle = 'German, DMY'", "SET LOCAL search_path = shop, \"$user\"", "SET LOCAL TimeZone = '+05:30'"];
        assert_eq!(before, expected);
        assert_eq!(after.first().unwrap(), "SET LOCAL DateStyle TO DEFAULT");
        assert_eq!(after.len(), 3);
        check("timezone", "+05:30", Ok("+05:30"));
        settings.set("search_path", Some(""), false).unwrap();
        assert_eq!(settings.as_statements().0[1], "SET LOCAL search_path = ''");
    }

    #[test]
    fn the_timeout_of_statements_follows_its_setting() {
        let mut settings = Settings::default();
        assert_eq!((settings.statement_timeout(), settings.lock_timeout()), (None, None));
        settings.set("lock_timeout", Some("2s"), false).unwrap();
        assert_eq!(settings.lock_timeout(), Some(Duration::from_secs(2)));
        settings.set("statement_timeout", Some("1500"), false).unwrap();
        assert_eq!(settings.statement_timeout(), Some(Duration::from_millis(1500)));
        settings.begin();
        settings.set("statement_timeout", Some("2s"), true).unwrap();
        assert_eq!(settings.statement_timeout(), Some(Duration::from_secs(2)));
        settings.end(true);
        assert_eq!(settings.statement_timeout(), Some(Duration::from_millis(1500)));
        settings.set("statement_timeout", Some("0"), false).unwrap();
        assert_eq!(settings.statement_timeout(), None);
    }

    #[test]
    fn what_reads_ask_for_follows_its_settings() {
        let mut settings = Settings::default();
        let asked = |settings: &Settings| {
            let Freshness { consistency, max_staleness, on_stale } = settings.freshness();
            (consistency, max_staleness, on_stale)
        };
        assert_eq!(asked(&settings), (Consistency::Session, None, OnStale::Store));
        settings.set(CONSISTENCY, Some("bounded"), false).unwrap();
        settings.set(MAX_STALENESS, Some("1500"), false).unwrap();
        settings.set(ON_STALE, Some("Wait"), false).unwrap();
        let first = (Consistency::Bounded, Some(Duration::from_millis(1500)), OnStale::Wait);
        assert_eq!(asked(&settings), first);
        settings.begin();
        settings.set(MAX_STALENESS, Some("2s"), true).unwrap();
        settings.set(ON_STALE, Some("error"), false).unwrap();
        assert_eq!(asked(&settings), (Consistency::Bounded, Some(Duration::from_secs(2)), OnStale::Error));
        settings.end(false);
        assert_eq!(asked(&settings), first);
        settings.set(MAX_STALENESS, Some(""), false).unwrap();
        assert_eq!((asked(&settings).1, settings.show(MAX_STALENESS).unwrap()), (None, "0"));
        settings.reset_all().unwrap();
        assert_eq!(asked(&settings), (Consistency::Session, None, OnStale::Store));
        check(MAX_STALENESS, "90000", Ok("90s"));
        check(MAX_STALENESS, " ", Ok("0"));
        check(MAX_STALENESS, "soon", Err("22023"));
        check("statement_timeout", "", Err("22023"));
        check(CONSISTENCY, "linearizable", Err("22023"));
        check(ON_STALE, "panic", Err("22023"));
        for word in ["store", "strong", "session", "bounded", "eventual"] {
            check(CONSISTENCY, word, Ok(word));
            settings.set(CONSISTENCY, Some(word), false).unwrap();
            assert_eq!(settings.freshness().consistency.word(), word);
        }
    }

    #[test]
    fn plans_are_made_anew_for_the_consistency_and_nothing_else_of_it() {
        let mut settings = Settings::default();
        let generation = settings.generation();
        settings.set(MAX_STALENESS, Some("1s"), false).unwrap();
        settings.set(ON_STALE, Some("error"), false).unwrap();
        assert_eq!(settings.generation(), generation);
        settings.set(CONSISTENCY, Some("store"), false).unwrap();
        assert_ne!(settings.generation(), generation);
    }

    #[test]
    fn a_token_is_no_value_among_the_others() {
        // The session takes it before it comes here.
        check(TOKEN, "AXsicCI6e319", Err("55P02"));
        let mut settings = Settings::default();
        settings.reset_all().unwrap();
        assert_eq!(settings.show(TOKEN).unwrap(), registry::TOKEN_LISTED);
    }

    #[test]
    fn reset_all_also_resets_what_a_local_value_covers() {
        let mut settings = Settings::default();
        settings.set("timezone", Some("Asia/Tokyo"), false).unwrap();
        settings.begin();
        settings.set("timezone", Some("UTC"), true).unwrap();
        settings.reset_all().unwrap();
        settings.reset_all().unwrap();
        settings.end(true);
        assert_eq!(settings.show("TimeZone").unwrap(), "UTC");
    }

    #[test]
    fn reset_all_leaves_the_transaction_alone_and_is_undone_within_the_bound() {
        let mut settings = Settings::default();
        settings.set("timezone", Some("Asia/Tokyo"), false).unwrap();
        settings.begin();
        settings.set("transaction_isolation", Some("serializable"), false).unwrap();
        settings.set("transaction_read_only", Some("on"), false).unwrap();
        settings.set("application_name", Some("x"), false).unwrap();
        settings.reset_all().unwrap();
        let shown = |settings: &Settings, name: &str| settings.show(name).unwrap().to_owned();
        assert_eq!((shown(&settings, "timezone"), shown(&settings, "application_name")), ("UTC".to_owned(), String::new()));
        assert_eq!(shown(&settings, "transaction_isolation"), "serializable");
        assert_eq!(shown(&settings, "transaction_read_only"), "on");
        settings.end(false);
        assert_eq!(shown(&settings, "timezone"), "Asia/Tokyo");

        settings.begin();
        settings.set("application_name", Some("y"), false).unwrap();
        for _ in settings.undo.len()..UNDO_MAX {
            settings.set("jit", Some("on"), false).unwrap();
        }
        assert_eq!(settings.reset_all().unwrap_err().sqlstate, "53400");
        assert_eq!(shown(&settings, "application_name"), "y", "a refused reset changes nothing");
        settings.end(false);
        settings.begin();
        for _ in 0..3 * UNDO_MAX {
            settings.reset_all().unwrap();
        }
        assert!(settings.undo.len() <= SPECS.len(), "{} changes to undo", settings.undo.len());
    }

    #[test]
    fn every_setting_that_shapes_values_or_plans_affects_results() {
        // What a plan is made with (`Session::setting`), and a value that differs from the default.
        let rows = [
            ("bytea_output", "escape"),
            ("DateStyle", "German"),
            ("extra_float_digits", "0"),
            ("IntervalStyle", "iso_8601"),
            ("search_path", "shop"),
            ("TimeZone", "Asia/Tokyo"),
            ("tributary.pushdown", "none"),
        ];
        let marked: Vec<&str> = SPECS.iter().filter(|spec| spec.affects_results).map(|spec| spec.name).collect();
        assert_eq!(marked, rows.map(|(name, _)| name));
        for (name, value) in rows {
            let mut settings = Settings::default();
            settings.set(name, Some(value), false).unwrap();
            assert_ne!(settings.affecting(), Settings::default().affecting(), "{name}");
            settings.reset_all().unwrap();
            assert_eq!(settings.affecting(), Settings::default().affecting(), "{name}");
        }
        let mut settings = Settings::default();
        settings.set("application_name", Some("x"), false).unwrap();
        assert_eq!(settings.affecting(), Settings::default().affecting());
        // Whatever changes how values look is marked.
        for spec in SPECS.iter().filter(|spec| !spec.affects_results && !matches!(spec.form, Form::ReadOnly | Form::Utf8)) {
            let mut settings = Settings::default();
            for value in ["on", "off", "1", "0", "serializable", "x", "error", "document"] {
                if settings.set(spec.name, Some(value), false).is_ok() {
                    assert_eq!(settings.display(), Settings::default().display(), "{}", spec.name);
                }
            }
        }
    }

    #[test]
    fn paths_are_split_as_postgres_splits_them() {
        let rows: [(&str, Option<&[&str]>); 12] = [
            ("public, \"My Store\",Shop", Some(&["public", "My Store", "shop"])),
            ("", Some(&[])),
            ("  ", Some(&[])),
            ("\"\"", Some(&[""])),
            ("\"a\"\"b\" , \"c,d\"", Some(&["a\"b", "c,d"])),
            ("\"$user\", public", Some(&["$user", "public"])),
            ("a b", None),
            ("a,", None),
            (",a", None),
            ("a,,b", None),
            ("\"a", None),
            ("\"a\"b", None),
        ];
        for (text, expected) in rows {
            let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(split_identifiers(text), expected, "{text}");
        }
    }
}
