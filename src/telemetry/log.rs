//! The process's log: one line an event on standard error, as text or JSON.
//!
//! Libraries are heard from `warn` upwards only, and those that put statements into their events are not heard at all:
//! their lines would hold values of users. Our own code logs names of stores, tables and columns, never values.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

/// Event targets of libraries that hold statements or plans. `sqlx::query` warns of slow statements with their text.
const SILENT_TARGETS: &[&str] = &["sqlx::query", "datafusion", "datafusion_optimizer", "datafusion_physical_plan", "sqlparser"];

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
        LogFormat::Text => Box::new(Registry::default().with(lines.with_filter(filter(log)))),
        LogFormat::Json => Box::new(Registry::default().with(lines.json().flatten_event(true).with_filter(filter(log)))),
    }
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
    fn the_level_bounds_libraries_too() {
        let events = || {
            tracing::warn!(target: "hyper", "library");
            tracing::error!(target: "tributary::server", "ours");
        };
        assert_eq!(logged(Level::ERROR, LogFormat::Text, events).len(), 1);
    }
}
