//! Keys about copies of tables in memory: how much they may take, how long reads wait for one, and how often it is looked how old they are
//! and whether they are right.

use std::time::Duration;

use super::settings::size_within;
use crate::options::{Form, OptionSpec, Reader};

/// Bounds of all copies together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyBounds {
    /// Most bytes of memory.
    pub memory_bytes: u64,
    /// How long a read waits for a copy before it goes to the store.
    pub wait: Duration,
    /// How often it is looked how old a copy is of which nothing changes.
    pub look: Duration,
    /// How often the auditor looks at a table of each store; zero: never.
    pub audit: Duration,
    /// About how many rows it looks at.
    pub audit_rows: usize,
    /// Most bytes of results of queries.
    pub results_bytes: u64,
}

pub(super) const MEMORY: OptionSpec = OptionSpec {
    key: "cache.memory",
    form: Form::Size,
    default: Some("256MiB"),
    meaning: "Most bytes of memory that copies of tables may take together. A table whose copy would not fit is read in its store.",
};
pub(super) const WAIT: OptionSpec = OptionSpec {
    key: "cache.wait",
    form: Form::Duration,
    default: Some("30ms"),
    meaning: "How long a read waits for a copy that is not fresh enough for it before it goes to the store, at most 10s; 0s goes there at once.",
};
pub(super) const LOOK: OptionSpec = OptionSpec {
    key: "cache.look",
    form: Form::Duration,
    default: Some("1s"),
    meaning: "How often stores with copies are asked how far they are, from 10ms to 60s: no older than that is a copy taken to be while nothing changes.",
};
pub(super) const AUDIT: OptionSpec = OptionSpec {
    key: "cache.audit",
    form: Form::Duration,
    default: Some("10s"),
    meaning: "How often rows of a copied table of each store, one table after the other, are compared with those of the store, at most 24h; 0s is never. A copy that is not the same is loaded again, and tributary.divergence tells of it.",
};
pub(super) const AUDIT_ROWS: OptionSpec = OptionSpec {
    key: "cache.audit_rows",
    form: Form::Integer(1, 10_000),
    default: Some("256"),
    meaning: "About how many rows are looked up by their keys each time; as many others are read from one of these keys on.",
};

pub(super) const RESULTS: OptionSpec = OptionSpec {
    key: "cache.results",
    form: Form::Size,
    default: Some("64MiB"),
    meaning: "Most bytes of memory that results of queries may take together. What is used least goes first.",
};

const MEMORY_BYTES_MIN: u64 = 1 << 20;
const WAIT_MAX: Duration = Duration::from_secs(10);
const LOOK_BOUNDS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));
const AUDIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Reads the keys of `tributary.toml`.
pub(super) fn bounds(reader: &mut Reader<'_>) -> CopyBounds {
    CopyBounds {
        memory_bytes: size_within(reader, MEMORY.key, MEMORY_BYTES_MIN, u64::MAX),
        wait: within(reader, WAIT.key, (Duration::ZERO, WAIT_MAX)),
        look: within(reader, LOOK.key, LOOK_BOUNDS),
        audit: within(reader, AUDIT.key, (Duration::ZERO, AUDIT_MAX)),
        audit_rows: reader.count(AUDIT_ROWS.key),
        results_bytes: size_within(reader, RESULTS.key, MEMORY_BYTES_MIN, u64::MAX),
    }
}

fn within(reader: &mut Reader<'_>, key: &str, (low, high): (Duration, Duration)) -> Duration {
    let problems_before = reader.problem_count();
    let duration = reader.duration(key);
    if !(low..=high).contains(&duration) && reader.problem_count() == problems_before {
        let rule = format!("is not in {}ms..={}s", low.as_millis(), high.as_secs());
        reader.problem(key, &format!("{}ms", duration.as_millis()), rule);
    }
    duration
}

impl CopyBounds {
    /// The keys whose values in `next` differ.
    pub(super) fn differing(&self, next: &Self) -> impl Iterator<Item = &'static str> {
        let keys = [
            (MEMORY.key, self.memory_bytes != next.memory_bytes),
            (WAIT.key, self.wait != next.wait),
            (LOOK.key, self.look != next.look),
            (AUDIT.key, self.audit != next.audit),
            (AUDIT_ROWS.key, self.audit_rows != next.audit_rows),
            (RESULTS.key, self.results_bytes != next.results_bytes),
        ];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::CatalogSecrets;

    const KEYS: &[OptionSpec] = &[MEMORY, WAIT, LOOK, AUDIT, AUDIT_ROWS, RESULTS];

    fn read(text: &str) -> (CopyBounds, Vec<String>) {
        let table = toml::from_str(text).unwrap();
        let secrets = CatalogSecrets::new(std::path::Path::new("/nowhere"));
        let mut reader = Reader::new("t", &table, KEYS, &secrets);
        let read = bounds(&mut reader);
        (read, reader.finish().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn copies_are_bounded_whatever_the_file_says() {
        let (defaults, problems) = read("");
        let (wait, look, audit) = (Duration::from_millis(30), Duration::from_secs(1), Duration::from_secs(10));
        let expected = CopyBounds { memory_bytes: 256 << 20, wait, look, audit, audit_rows: 256, results_bytes: 64 << 20 };
        assert_eq!((&defaults, problems), (&expected, Vec::new()));
        let text = "[cache]\nmemory = \"1MiB\"\nwait = \"0s\"\nlook = \"10ms\"\naudit = \"0s\"\naudit_rows = 9\nresults = \"1MiB\"";
        let (other, problems) = read(text);
        assert_eq!(problems, Vec::<String>::new());
        let keys = ["cache.memory", "cache.wait", "cache.look", "cache.audit", "cache.audit_rows", "cache.results"];
        assert_eq!(defaults.differing(&other).collect::<Vec<_>>(), keys);
        assert_eq!(defaults.differing(&defaults.clone()).count(), 0);
    }

    #[test]
    fn what_is_out_of_bounds_is_told_once() {
        let (_, problems) = read("cache.memory = \"1KiB\"\ncache.wait = \"11s\"\ncache.look = \"0s\"\ncache.audit = \"25h\"");
        assert_eq!(
            problems,
            [
                "t.cache.memory: 1024 is less than 1048576 bytes",
                "t.cache.wait: 11000ms is not in 0ms..=10s",
                "t.cache.look: 0ms is not in 10ms..=60s",
                "t.cache.audit: 90000000ms is not in 0ms..=86400s",
            ]
        );
        let (_, problems) = read("cache.look = \"soon\"");
        assert_eq!(problems, ["t.cache.look: \"soon\" is not a duration such as 500ms, 30s, 5m or 1h"]);
    }
}
