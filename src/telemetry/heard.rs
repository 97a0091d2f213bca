//! What is logged, for tests that ask whether an operator is told.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Level, Metadata, Subscriber};

/// The lines that a thread has logged: their levels, and what is in them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<(Level, String)>>>);

impl Heard {
    /// Hears what this thread logs, until the guard is dropped.
    pub(crate) fn here() -> (Self, DefaultGuard) {
        // With one subscriber only, whether a place is worth hearing is decided for good by the thread that comes there first, which may be
        // that of a test that hears nothing (`Rebuilder::JustOne` of tracing-core).
        static OTHER: OnceLock<Dispatch> = OnceLock::new();
        OTHER.get_or_init(|| Dispatch::new(NoSubscriber::default()));
        let heard = Self::default();
        let guard = tracing::subscriber::set_default(heard.clone());
        (heard, guard)
    }

    /// The lines of a level.
    pub(crate) fn of(&self, level: Level) -> Vec<String> {
        self.lines().iter().filter(|(of, _)| *of == level).map(|(_, line)| line.clone()).collect()
    }

    fn lines(&self) -> MutexGuard<'_, Vec<(Level, String)>> {
        // What a panic left behind are whole lines.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tributary")
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.lines().push((*event.metadata().level(), fields.0));
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// The fields of a line, one behind the other.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // A text takes everything.
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}
