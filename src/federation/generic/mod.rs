//! Generic plans: one optimised plan for all values of a statement's parameters, so that an execution of a prepared statement
//! is neither analysed nor optimised.
//!
//! ```text
//! plan before analysis ─ template (analysed and optimised once, with typed placeholders)
//!     → bind (values in, the nodes that got some simplified, conditions into scans) → joins::order, placement, physical plan
//! execution: which of the two plans runs, and whether one for all values is as good as one for these (shape)
//! ```
//!
//! **Invariants:** what depends on a value is decided after it is known: the order of joins, what a store is asked for and runs,
//! and with it everything that a connector judges by the value (its length, range, NUL, NaN). A template knows no time: `now()`
//! and its like are calls in it. Whatever fails on the generic way is planned for its values, so that errors come from one
//! place. What reads facts of a session has no template (`plans::is_shareable`).

mod bind;
mod execution;
mod shape;
mod template;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) use execution::Execution;
use shape::Shape;
use template::Template;

/// Executions that are planned for their values before one plan for all is tried, as in PostgreSQL.
const CUSTOM_EXECUTIONS: u32 = 5;

/// Executions in a row whose values a template may refuse, though a plan of their own takes them, before it is given up.
const REFUSALS_MAX: u32 = 3;

/// `plan_cache_mode`: which plan an execution gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PlanMode {
    /// One for its values at first, then one for all values if it asks the stores the same.
    #[default]
    Auto,
    /// Always one for its values.
    Custom,
    /// One for all values wherever there is one.
    Generic,
}

impl PlanMode {
    /// The words of the setting.
    pub const WORDS: &'static [&'static str] = &["auto", "force_generic_plan", "force_custom_plan"];

    /// The mode of a word; `Auto` for any other.
    pub fn of_word(word: &str) -> Self {
        match word {
            "force_generic_plan" => Self::Generic,
            "force_custom_plan" => Self::Custom,
            _ => Self::Auto,
        }
    }
}

/// What the executions of a planned statement have shown. Whoever shares the plan shares it.
#[derive(Debug, Default)]
pub(super) struct Reuse(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Executions that were planned for their values.
    executions: u32,
    /// How those plans looked.
    operators: Option<String>,
    /// How many tables they could read from copies.
    copies: usize,
    choice: Choice,
    made: Made,
    /// Executions in a row whose values the template did not take.
    refusals: u32,
}

/// What `auto` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Choice {
    /// Plans for the values, until enough of them are known.
    #[default]
    Open,
    Custom,
    Generic,
}

/// The template, once somebody has asked for it.
#[derive(Debug, Clone, Default)]
enum Made {
    #[default]
    Not,
    Impossible,
    Template(Arc<Template>),
}

impl Reuse {
    /// The template that an execution puts its values into; `None` when it is planned for them.
    fn template(&self, mode: PlanMode, make: impl FnOnce() -> Option<Template>) -> Option<Arc<Template>> {
        let is_generic = match mode {
            PlanMode::Custom => false,
            PlanMode::Auto => self.lock().choice == Choice::Generic,
            PlanMode::Generic => true,
        };
        if is_generic { self.made(make) } else { None }
    }

    /// The template. Of several that are made at a time the first is kept.
    fn made(&self, make: impl FnOnce() -> Option<Template>) -> Option<Arc<Template>> {
        let known = self.lock().made.clone();
        match known {
            Made::Template(template) => return Some(template),
            Made::Impossible => return None,
            Made::Not => {}
        }
        let made = make().map(Arc::new);
        let mut state = self.lock();
        if let Made::Template(first) = &state.made {
            return Some(Arc::clone(first));
        }
        state.made = made.clone().map_or(Made::Impossible, Made::Template);
        made
    }

    /// Whether nothing is decided yet.
    fn is_open(&self) -> bool {
        self.lock().choice == Choice::Open
    }

    /// Counts an execution that was planned for its values; true when a plan for all values is to be compared with that plan now.
    /// Where plans look different for different values none for all is as good.
    fn count(&self, shape: &Shape) -> bool {
        let mut state = self.lock();
        if state.choice != Choice::Open {
            return false;
        }
        if state.copies != shape.copies() {
            // Copies have come or gone since, which says nothing of values.
            (state.copies, state.executions, state.operators) = (shape.copies(), 0, None);
        }
        let is_alike = state.operators.get_or_insert_with(|| shape.operators().to_owned()).as_str() == shape.operators();
        if !is_alike {
            state.settle(Choice::Custom);
            return false;
        }
        state.executions += 1;
        state.executions >= CUSTOM_EXECUTIONS
    }

    /// What came of the comparison.
    fn decide(&self, is_as_good: bool) {
        self.lock().settle(if is_as_good { Choice::Generic } else { Choice::Custom });
    }

    /// The template has taken the values of an execution.
    fn took(&self) {
        self.lock().refusals = 0;
    }

    /// The template has not taken values that a plan of their own takes. One that never does costs an execution both plans.
    fn refused(&self) {
        let mut state = self.lock();
        state.refusals = state.refusals.saturating_add(1);
        if state.refusals >= REFUSALS_MAX {
            state.settle(Choice::Custom);
            state.made = Made::Impossible;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A choice for good; what only the other one needs is given up.
    fn settle(&mut self, choice: Choice) {
        self.choice = choice;
        self.operators = None;
        if choice == Choice::Custom {
            self.made = Made::Not;
        }
    }
}
