//! Numbers for whoever watches the server: what a room counts with, and the text in which they are told (Prometheus text
//! exposition format 0.0.4). What is counted, and under which name, is the business of the room that owns the count.
//!
//! **Invariants:** labels are names of stores and views or words of a fixed list, so that the text has a bound; no statement, value or
//! secret is in it.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// What it is now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many of something there are at the moment.
#[derive(Debug, Default, Clone)]
pub struct Presence(Arc<AtomicU64>);

/// Counts as one for as long as it lives.
#[derive(Debug)]
pub struct Present(Arc<AtomicU64>);

impl Presence {
    /// One more, until what is given back is dropped.
    pub fn enter(&self) -> Present {
        self.0.fetch_add(1, Ordering::Relaxed);
        Present(Arc::clone(&self.0))
    }

    /// How many there are now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All numbers of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    labels: Vec<&'static str>,
    /// The values of the labels, and the number.
    samples: Vec<(Vec<String>, u64)>,
}

impl Family {
    /// Numbers that only grow; `name` ends with `_total`, `help` is one line.
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: "counter", help, labels: Vec::new(), samples: Vec::new() }
    }

    /// Numbers that rise and fall.
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: "gauge", help, labels: Vec::new(), samples: Vec::new() }
    }

    /// The one number of a name without a label.
    #[must_use]
    pub fn is(mut self, value: u64) -> Self {
        self.samples.push((Vec::new(), value));
        self
    }

    /// A number for each value of a label.
    #[must_use]
    pub fn by(mut self, label: &'static str, samples: impl IntoIterator<Item = (String, u64)>) -> Self {
        self.labels = vec![label];
        self.samples.extend(samples.into_iter().map(|(value, number)| (vec![value], number)));
        self
    }

    /// A number for each pair of values of two labels.
    #[must_use]
    pub fn by_both(self, labels: [&'static str; 2], samples: impl IntoIterator<Item = ([String; 2], u64)>) -> Self {
        self.by_all(labels.to_vec(), samples.into_iter().map(|(values, number)| (values.to_vec(), number)))
    }

    /// A number for each list of values of these labels.
    #[must_use]
    pub fn by_all(mut self, labels: Vec<&'static str>, samples: impl IntoIterator<Item = (Vec<String>, u64)>) -> Self {
        self.labels = labels;
        self.samples.extend(samples);
        self
    }

    /// The name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The labels that each of its numbers has.
    pub fn labels(&self) -> &[&'static str] {
        &self.labels
    }
}

/// The families as text, in order; those without a number are left out.
pub fn text(families: &[Family]) -> String {
    let mut text = String::new();
    for Family { name, kind, help, labels, samples } in families.iter().filter(|family| !family.samples.is_empty()) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (values, number) in samples {
            let each: Vec<String> =
                labels.iter().zip(values).map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
            let _ = match each.is_empty() {
                true => writeln!(text, "{name} {number}"),
                false => writeln!(text, "{name}{{{}}} {number}", each.join(",")),
            };
        }
    }
    text
}

/// A label's value between its quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_with_their_kind_and_escaped_labels() {
        let (count, presence) = (Count::default(), Presence::default());
        count.add(2);
        count.add(3);
        let (first, second) = (presence.enter(), presence.enter());
        drop(first);
        let stores = [("shop".to_owned(), 1), ("a\"b\\c\nd".to_owned(), 2)];
        let families = [
            Family::counter("x_rows_total", "Rows.").is(count.get()),
            Family::gauge("x_open", "Open.").is(presence.get()),
            Family::counter("x_none_total", "None.").by("store", Vec::new()),
            Family::counter("x_scans_total", "Scans.").by("store", stores),
            Family::counter("x_ends_total", "Ends.").by_both(["how", "why"], [(["a".to_owned(), "b\"".to_owned()], 3)]),
            Family::gauge("x_state", "State.").by_all(vec!["a", "b", "c"], [(["1", "2", "3"].map(str::to_owned).to_vec(), 1)]),
        ];
        let expected = "# HELP x_rows_total Rows.\n# TYPE x_rows_total counter\nx_rows_total 5\n\
                        # HELP x_open Open.\n# TYPE x_open gauge\nx_open 1\n\
                        # HELP x_scans_total Scans.\n# TYPE x_scans_total counter\n\
                        x_scans_total{store=\"shop\"} 1\nx_scans_total{store=\"a\\\"b\\\\c\\nd\"} 2\n\
                        # HELP x_ends_total Ends.\n# TYPE x_ends_total counter\nx_ends_total{how=\"a\",why=\"b\\\"\"} 3\n\
                        # HELP x_state State.\n# TYPE x_state gauge\nx_state{a=\"1\",b=\"2\",c=\"3\"} 1\n";
        assert_eq!(text(&families), expected);
        drop(second);
        assert_eq!(presence.get(), 0);
    }
}
