//! The process's log: one line an event on standard error, as text or JSON.
//!
//! Libraries are heard from `warn` upwards only, and those that put statements into their events are not heard at all:
//! their lines would hold values of users. Our own code logs names of stores, tables and columns, never values.
//!
//! An event is one line whatever is in it: peers choose some of the words (their user names, for one) before they have
//! logged in, and none of them may begin a line of its own, move a terminal's cursor, or fill the log.

use std::fmt::Write;
use std::io::{self, IsTerminal};

use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::Layer;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

/// Event targets of libraries that hold statements or plans. `sqlx::query` warns of slow statements with their text, and what
/// `pgwire_replication` says of the end of a stream is what it gives us, who log it once.
const SILENT_TARGETS: &[&str] =
    &["sqlx::query", "datafusion", "datafusion_optimizer", "datafusion_physical_plan", "sqlparser", "pgwire_replication"];

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is written.
    pub level: tracing::Level,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging for the whole process.
///
/// # Errors
/// Logging was started before.
pub fn start(log: Log) -> Result<(), SetGlobalDefaultError> {
    tracing::subscriber::set_global_default(subscriber(log, io::stderr, io::stderr().is_terminal()))
}

fn subscriber<W>(log: Log, writer: W, coloured: bool) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer).with_ansi(coloured);
    match log.format {
        LogFormat::Text => {
            let lines = lines.fmt_fields(debug_fn(write_field).delimited(" "));
            Box::new(Registry::default().with(lines.with_filter(filter(log))))
        }
        LogFormat::Json => Box::new(Registry::default().with(lines.json().flatten_event(true).with_filter(filter(log)))),
    }
}

/// Makes a panic a log line with its place and without its words, which may quote a value that somebody stored or sent.
pub fn hide_panic_messages() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "a thread panicked");
    }));
}

/// Most bytes of one value in a line of text; the longest of our own are the problems of a catalog directory.
const VALUE_BYTES_MAX: usize = 8 << 10;
/// Most bytes of a text that a stranger had a hand in.
const STRANGE_BYTES_MAX: usize = 256;

/// A text that a peer had a hand in, as a log line may show it: one line, without control characters, and not long.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a>(pub &'a str);

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(Escaping { inner: f, left: STRANGE_BYTES_MAX, cut: false }, "{}", self.0)
    }
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn std::fmt::Debug) -> std::fmt::Result {
    if field.name() != "message" {
        write!(writer, "{}=", field.name())?;
    }
    write!(Escaping { inner: writer, left: VALUE_BYTES_MAX, cut: false }, "{value:?}")
}

/// Hands on what fits, with every character that could end the line or steer a terminal as an escape.
struct Escaping<'a, W> {
    inner: &'a mut W,
    left: usize,
    cut: bool,
}

impl<W: Write> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for character in text.chars() {
            match self.left.checked_sub(character.len_utf8()) {
                Some(left) => self.left = left,
                None if self.cut => return Ok(()),
                None => {
                    (self.left, self.cut) = (0, true);
                    return self.inner.write_char('…');
                }
            }
            if steers(character) {
                write!(self.inner, "{}", character.escape_default())?;
            } else {
                self.inner.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Control characters, separators of lines, and what turns the direction of writing.
pub(super) fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn filter(log: Log) -> Targets {
    let others = LevelFilter::from_level(log.level).min(LevelFilter::WARN);
    let silent = SILENT_TARGETS.iter().map(|target| (*target, LevelFilter::OFF));
    Targets::new().with_default(others).with_target("tributary", log.level).with_targets(silent)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::Level;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: Level, format: LogFormat, events: impl FnOnce()) -> Vec<String> {
        let page = Page::default();
        let writer = page.clone();
        tracing::subscriber::with_default(subscriber(Log { level, format }, move || writer.clone(), false), events);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn libraries_that_log_statements_are_silent() {
        let events = || {
            tracing::warn!(target: "sqlx::query", "slow statement: SELECT 'hunter2'");
            tracing::debug!(target: "datafusion_optimizer::optimizer", "plan");
            tracing::info!(target: "hyper::proto", "chatter");
            tracing::error!(target: "pgwire_replication::client::tokio_client", "told twice");
            tracing::warn!(target: "sqlx::postgres::notice", "a notice");
            tracing::debug!(target: "tributary::server", store = "crm", "refreshed");
        };
        let lines = logged(Level::DEBUG, LogFormat::Text, events);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("WARN sqlx::postgres::notice: a notice"), "{lines:?}");
        assert!(lines[1].contains("DEBUG tributary::server: refreshed store=\"crm\""), "{lines:?}");
    }

    #[test]
    fn json_lines_hold_their_fields_at_the_top() {
        let lines = logged(Level::INFO, LogFormat::Json, || {
            tracing::info!(target: "tributary::server", store = "crm", "refreshed");
            tracing::debug!(target: "tributary::server", "not asked for");
        });
        assert_eq!(lines.len(), 1);
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["message"], "refreshed");
        assert_eq!(line["store"], "crm");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn a_line_shows_a_strangers_words_as_one_short_line() {
        let long = "ü".repeat(200);
        let cut = format!("{}…", "ü".repeat(STRANGE_BYTES_MAX / 2));
        let rows = [
            ("role \"ann\" does not exist", "role \"ann\" does not exist"),
            ("a\nb\r\0\x1b[2J\u{9b}", "a\\nb\\r\\u{0}\\u{1b}[2J\\u{9b}"),
            ("\u{202e}x\u{2028}", "\\u{202e}x\\u{2028}"),
            (&long, &cut),
            ("", ""),
        ];
        for (text, expected) in rows {
            assert_eq!(Line(text).to_string(), expected);
        }
    }

    #[test]
    fn no_value_begins_a_line_of_its_own() {
        let forged = "x\n2026-01-01T00:00:00Z  INFO tributary: all is well\x1b[31m";
        let events = || {
            tracing::info!(target: "tributary", error = %forged, user = forged, "refused: {forged}");
            tracing::info!(target: "tributary", error = %"y".repeat(1 << 20), "long");
        };
        for format in [LogFormat::Text, LogFormat::Json] {
            let lines = logged(Level::INFO, format, events);
            assert_eq!(lines.len(), 2, "{lines:?}");
            assert!(lines.iter().all(|line| !line.contains('\x1b')), "{lines:?}");
        }
        let lines = logged(Level::INFO, LogFormat::Text, events);
        assert!(lines[1].len() < VALUE_BYTES_MAX + 200 && lines[1].ends_with('…'), "{}", lines[1].len());
    }

    #[test]
    fn the_level_bounds_libraries_too() {
        let events = || {
            tracing::warn!(target: "hyper", "library");
            tracing::error!(target: "tributary::server", "ours");
        };
        assert_eq!(logged(Level::ERROR, LogFormat::Text, events).len(), 1);
    }
}
