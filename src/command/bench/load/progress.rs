//! A progress bar on standard error, where that is a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Pause between two drawings.
const PAUSE: Duration = Duration::from_millis(100);
/// Width of the bar in characters.
const WIDTH: usize = 28;

/// What is under way, and how far it is.
#[derive(Debug)]
pub(in super::super) struct Progress {
    is_shown: bool,
    label: String,
    expected: f64,
    done: u64,
    started: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    /// A bar that is shown only to people.
    pub(in super::super) fn new() -> Self {
        let is_shown = io::stderr().is_terminal();
        Self { is_shown, label: String::new(), expected: 0.0, done: 0, started: Instant::now(), drawn: None }
    }

    /// Begins something new that has about so many steps.
    pub(in super::super) fn begin(&mut self, label: &str, expected: f64) {
        (self.label, self.expected, self.done) = (label.to_owned(), expected, 0);
        (self.started, self.drawn) = (Instant::now(), None);
        self.draw();
    }

    /// So many more steps are done.
    pub(in super::super) fn add(&mut self, steps: u64) {
        self.done += steps;
        if self.drawn.is_none_or(|drawn| drawn.elapsed() > PAUSE) {
            self.draw();
        }
    }

    /// Says what happens after the last step, such as making indexes, or where there are no steps.
    pub(in super::super) fn say(&mut self, what: &str) {
        let label = if self.label.is_empty() { String::new() } else { format!("{}: ", self.label) };
        self.write(&format!("{label}{what}"));
    }

    /// Takes the bar off the terminal.
    pub(in super::super) fn clear(&mut self) {
        self.write("");
    }

    fn draw(&mut self) {
        self.drawn = Some(Instant::now());
        let line = line(&self.label, self.done, self.expected, self.started.elapsed());
        self.write(&line);
    }

    fn write(&mut self, line: &str) {
        if self.is_shown {
            // Nobody can be told that standard error is gone.
            let mut terminal = io::stderr().lock();
            let _ = write!(terminal, "\r\x1b[2K{line}");
            let _ = terminal.flush();
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a bar has few steps")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the share is between 0 and 1")]
fn line(label: &str, done: u64, expected: f64, elapsed: Duration) -> String {
    let share = if expected > 0.0 { (done as f64 / expected).clamp(0.0, 1.0) } else { 1.0 };
    let full = (share * WIDTH as f64).round() as usize;
    let bar = format!("{}{}", "█".repeat(full), "░".repeat(WIDTH.saturating_sub(full)));
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    format!("{label:32} {bar} {:3.0} %  {done} rows, {rate:.0}/s", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_with_what_is_done_and_not_beyond() {
        let at = |done| line("orders into facts", done, 100.0, Duration::from_secs(2));
        assert!(at(0).contains(&"░".repeat(WIDTH)) && at(0).contains("  0 %"));
        assert!(at(50).contains(" 50 %  50 rows, 25/s") && at(50).matches('█').count() == WIDTH / 2);
        assert!(at(120).contains(&"█".repeat(WIDTH)) && at(120).contains("100 %"));
    }
}
