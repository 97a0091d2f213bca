//! The few numbers that a run is quoted by.

use serde::Serialize;

use super::super::measure::{Measured, QueryResult, Standing};
use super::super::statistic::geometric_mean;

/// How Tributary stands beside one peer, over the queries that both have times for.
#[derive(Debug, Clone, Serialize)]
pub(in super::super) struct Beside {
    pub(in super::super) peer: String,
    pub(in super::super) queries: usize,
    /// Geometric mean of Tributary's median divided by the peer's.
    pub(in super::super) mean_ratio: Option<f64>,
    /// Sums of medians over these queries.
    pub(in super::super) tributary_total_ms: f64,
    pub(in super::super) peer_total_ms: f64,
    /// Queries that Tributary is slower at, with spreads that do not overlap.
    pub(in super::super) slower: Vec<&'static str>,
}

/// Numbers over all queries.
#[derive(Debug, Clone, Serialize)]
pub(in super::super) struct Summary {
    pub(in super::super) right: usize,
    pub(in super::super) unchecked: usize,
    pub(in super::super) timed_out: Vec<&'static str>,
    pub(in super::super) failed: Vec<&'static str>,
    pub(in super::super) wrong: Vec<&'static str>,
    pub(in super::super) total_ms: f64,
    pub(in super::super) geometric_mean_ms: Option<f64>,
    pub(in super::super) peak_rss_mib: Option<f64>,
    pub(in super::super) beside: Vec<Beside>,
    /// The query with the largest ratio to the best of the peers, where there is one.
    pub(in super::super) worst: Option<(&'static str, f64)>,
}

impl Summary {
    /// Of all results.
    pub(in super::super) fn of(results: &[QueryResult]) -> Self {
        let own: Vec<(&'static str, &Measured)> =
            results.iter().filter_map(|result| Some((result.query, result.contenders.first()?))).collect();
        let named = |is_so: fn(&Standing) -> bool| -> Vec<&'static str> {
            own.iter().filter(|(_, measured)| is_so(&measured.standing)).map(|(name, _)| *name).collect()
        };
        let medians: Vec<f64> = own.iter().filter_map(|(_, measured)| median(measured)).collect();
        let peers = results.first().map_or(0, |result| result.contenders.len());
        let peaks = results.iter().filter_map(|result| result.peak_rss_mib);
        Self {
            right: named(|standing| *standing == Standing::Right).len(),
            unchecked: named(|standing| matches!(standing, Standing::Unchecked(_))).len(),
            timed_out: named(|standing| *standing == Standing::TimedOut),
            failed: named(|standing| matches!(standing, Standing::Failed(_))),
            wrong: named(|standing| matches!(standing, Standing::Wrong(_))),
            total_ms: medians.iter().sum(),
            geometric_mean_ms: geometric_mean(&medians),
            peak_rss_mib: peaks.reduce(f64::max),
            beside: (1..peers).filter_map(|place| beside(results, place)).collect(),
            worst: results.iter().filter_map(worst).max_by(|a, b| a.1.total_cmp(&b.1)),
        }
    }

    /// Whether every answer of Tributary that came in time was compared and right.
    pub(in super::super) fn is_sound(&self) -> bool {
        self.failed.is_empty() && self.wrong.is_empty() && self.unchecked == 0
    }
}

/// The median where it can be compared.
pub(super) fn median(measured: &Measured) -> Option<f64> {
    measured.times.filter(|_| measured.standing.counts()).map(|times| times.median_ms)
}

fn beside(results: &[QueryResult], place: usize) -> Option<Beside> {
    let peer = results.first()?.contenders.get(place)?.contender.clone();
    let mut found = Beside { peer, queries: 0, mean_ratio: None, tributary_total_ms: 0.0, peer_total_ms: 0.0, slower: Vec::new() };
    let mut ratios = Vec::new();
    for result in results {
        let (Some(own), Some(other)) = (result.contenders.first(), result.contenders.get(place)) else { continue };
        let (Some(mine), Some(theirs)) = (median(own), median(other)) else { continue };
        ratios.push(mine / theirs);
        found.queries += 1;
        found.tributary_total_ms += mine;
        found.peer_total_ms += theirs;
        if own.times.zip(other.times).is_some_and(|(own, other)| own.is_slower_than(&other, 1.0)) {
            found.slower.push(result.query);
        }
    }
    found.mean_ratio = geometric_mean(&ratios);
    Some(found)
}

fn worst(result: &QueryResult) -> Option<(&'static str, f64)> {
    let (own, peers) = result.contenders.split_first()?;
    let best = peers.iter().filter_map(median).reduce(f64::min)?;
    Some((result.query, median(own)? / best))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::statistic::Times;
    use super::*;

    pub(in super::super) fn measured(contender: &str, standing: Standing, runs_ms: &[f64]) -> Measured {
        Measured { contender: contender.to_owned(), standing, times: Times::of(runs_ms), runs_ms: runs_ms.to_vec() }
    }

    pub(in super::super) fn result(query: &'static str, contenders: Vec<Measured>) -> QueryResult {
        let title = format!("a & b <{query}>");
        QueryResult { query, title, rows: Some(1), contenders, stores: Vec::new(), peak_rss_mib: Some(10.0), explain: None }
    }

    #[test]
    fn only_queries_that_both_have_times_for_are_compared() {
        let right = || Standing::Right;
        let results = [
            result("q1", vec![measured("tributary", right(), &[10.0]), measured("p", right(), &[20.0])]),
            result("q2", vec![measured("tributary", right(), &[40.0]), measured("p", right(), &[20.0])]),
            result("q3", vec![measured("tributary", Standing::Failed("no".into()), &[]), measured("p", right(), &[1.0])]),
            result("q4", vec![measured("tributary", right(), &[30.0]), measured("p", Standing::Wrong("x".into()), &[9.0])]),
        ];
        let summary = Summary::of(&results);
        let beside = &summary.beside[0];
        assert_eq!((beside.queries, beside.tributary_total_ms, beside.peer_total_ms), (2, 50.0, 40.0));
        assert!(beside.mean_ratio.is_some_and(|mean| (mean - 1.0).abs() < 1e-9));
        assert_eq!((beside.slower.as_slice(), summary.worst), (["q2"].as_slice(), Some(("q2", 2.0))));
        assert_eq!((summary.right, summary.failed.as_slice(), summary.is_sound()), (3, ["q3"].as_slice(), false));
        let unchecked = result("q1", vec![measured("tributary", Standing::Unchecked("late".into()), &[1.0])]);
        assert!(!Summary::of(&[unchecked]).is_sound());
        let late = result("q1", vec![measured("tributary", Standing::TimedOut, &[1.0])]);
        assert!(Summary::of(&[late]).is_sound());
        assert_eq!((summary.total_ms, summary.peak_rss_mib), (80.0, Some(10.0)));
    }
}
