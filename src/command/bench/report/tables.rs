//! The tables of a run on standard output.

use std::io::{self, Write};

use super::super::measure::{Measured, QueryResult, Standing, by_store};
use super::Report;
use super::summary::median;
use crate::command::print::{Align, table};

/// Writes times, traffic and the summary.
pub(super) fn print(report: &Report, output: &mut dyn Write) -> io::Result<()> {
    writeln!(output)?;
    times(report, output)?;
    writeln!(output)?;
    traffic(&report.queries, output)?;
    writeln!(output)?;
    summary(report, output)
}

fn times(report: &Report, output: &mut dyn Write) -> io::Result<()> {
    let Some(first) = report.queries.first() else { return Ok(()) };
    let mut head = vec![("query".to_owned(), Align::Left)];
    for (place, measured) in first.contenders.iter().enumerate() {
        head.push((measured.contender.clone(), Align::Right));
        head.push((if place == 0 { "spread".to_owned() } else { "ratio".to_owned() }, Align::Right));
    }
    head.extend([("rows".to_owned(), Align::Right), ("peak MiB".to_owned(), Align::Right), ("".to_owned(), Align::Left)]);
    let rows: Vec<Vec<String>> = report.queries.iter().map(row).collect();
    let head: Vec<(&str, Align)> = head.iter().map(|(title, align)| (title.as_str(), *align)).collect();
    table(output, &head, &rows)
}

fn row(result: &QueryResult) -> Vec<String> {
    let mut cells = vec![result.query.to_owned()];
    let own = result.contenders.first();
    for (place, measured) in result.contenders.iter().enumerate() {
        cells.push(time(measured));
        cells.push(if place == 0 { spread(measured) } else { ratio(own, measured) });
    }
    cells.push(result.rows.map(|rows| rows.to_string()).unwrap_or_default());
    cells.push(result.peak_rss_mib.map(|mib| format!("{mib:.0}")).unwrap_or_default());
    cells.push(result.title.clone());
    cells
}

fn time(measured: &Measured) -> String {
    match &measured.standing {
        Standing::Failed(_) => "failed".to_owned(),
        Standing::Wrong(_) => "WRONG".to_owned(),
        Standing::TimedOut => measured.times.map(|times| format!("> {}", milliseconds(times.median_ms))).unwrap_or_default(),
        Standing::Right => measured.times.map_or_else(|| "right".to_owned(), |times| milliseconds(times.median_ms)),
        Standing::Unchecked(_) => {
            measured.times.map_or_else(|| "?".to_owned(), |times| format!("{} ?", milliseconds(times.median_ms)))
        }
    }
}

fn spread(measured: &Measured) -> String {
    let times = measured.times.filter(|_| measured.runs_ms.len() > 1);
    times.map(|times| format!("{} – {}", milliseconds(times.least_ms), milliseconds(times.most_ms))).unwrap_or_default()
}

/// How Tributary's time stands to the peer's; `!` marks one that is longer beyond chance.
fn ratio(own: Option<&Measured>, peer: &Measured) -> String {
    let Some((mine, theirs)) = own.and_then(median).zip(median(peer)) else { return String::new() };
    let is_slower = own.and_then(|own| own.times).zip(peer.times).is_some_and(|(own, peer)| own.is_slower_than(&peer, 1.0));
    format!("{:.2}×{}", mine / theirs, if is_slower { " !" } else { "  " })
}

/// A time with three digits or so.
pub(super) fn milliseconds(time_ms: f64) -> String {
    match time_ms {
        _ if time_ms < 10.0 => format!("{time_ms:.2} ms"),
        _ if time_ms < 1000.0 => format!("{time_ms:.0} ms"),
        _ => format!("{:.2} s", time_ms / 1000.0),
    }
}

fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let size = count as f64;
    match size {
        _ if size < 1024.0 => format!("{count} B"),
        _ if size < 1_048_576.0 => format!("{:.1} KiB", size / 1024.0),
        _ => format!("{:.1} MiB", size / 1_048_576.0),
    }
}

fn traffic(results: &[QueryResult], output: &mut dyn Write) -> io::Result<()> {
    let head = [
        ("query", Align::Left),
        ("store", Align::Left),
        ("kind", Align::Left),
        ("rows", Align::Right),
        ("bytes", Align::Right),
        ("round trips", Align::Right),
    ];
    let shown = |count: Option<u64>| count.map_or_else(|| "–".to_owned(), |count| count.to_string());
    let mut rows = Vec::new();
    for result in results {
        for store in &result.stores {
            let size = store.bytes.map_or_else(|| "–".to_owned(), bytes);
            let (rows_pulled, trips) = (shown(store.rows), shown(store.round_trips));
            rows.push(vec![result.query.to_owned(), store.store.clone(), store.kind.to_owned(), rows_pulled, size, trips]);
        }
    }
    for ((store, kind), (pulled, size, trips)) in by_store(results) {
        rows.push(vec!["all".to_owned(), store.to_owned(), kind.to_owned(), pulled.to_string(), bytes(size), trips.to_string()]);
    }
    table(output, &head, &rows)
}

fn summary(report: &Report, output: &mut dyn Write) -> io::Result<()> {
    let found = &report.summary;
    let all = report.queries.len();
    writeln!(output, "{} of {all} answers are right (by {}).", found.right, report.reference)?;
    for (words, names) in [("took too long", &found.timed_out), ("failed", &found.failed), ("gave WRONG answers", &found.wrong)] {
        if !names.is_empty() {
            writeln!(output, "{} {words}: {}", names.len(), names.join(", "))?;
        }
    }
    if found.unchecked > 0 {
        writeln!(output, "{} could not be checked.", found.unchecked)?;
    }
    if let Some(mean_ms) = found.geometric_mean_ms {
        writeln!(output, "Total {}, geometric mean {}.", milliseconds(found.total_ms), milliseconds(mean_ms))?;
    }
    for beside in &found.beside {
        let Some(mean) = beside.mean_ratio else { continue };
        let (own, theirs) = (milliseconds(beside.tributary_total_ms), milliseconds(beside.peer_total_ms));
        let slower =
            if beside.slower.is_empty() { "none slower".to_owned() } else { format!("slower at {}", beside.slower.join(", ")) };
        writeln!(
            output,
            "Beside {}: geometric mean {mean:.2}×, total {own} to {theirs}, {} queries, {slower}.",
            beside.peer, beside.queries
        )?;
    }
    if found.beside.iter().any(|beside| beside.mean_ratio.is_some()) {
        writeln!(output, "Slower counts queries whose spreads do not overlap; the table marks them with \"!\".")?;
    }
    if let Some((query, ratio)) = found.worst {
        writeln!(output, "Largest ratio to the best peer: {query} with {ratio:.2}×.")?;
    }
    if let Some(peak_mib) = found.peak_rss_mib {
        writeln!(output, "Tributary's process took at most {peak_mib:.0} MiB.")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::chart::tests::report;
    use super::super::summary::tests::{measured, result};
    use super::*;

    #[test]
    fn what_slower_counts_is_told_once_where_there_are_peers() {
        let printed = |peers: &[&str]| {
            let own = std::iter::once(&"tributary").chain(peers);
            let contenders = own.map(|name| measured(name, Standing::Right, &[10.0, 11.0])).collect();
            let mut output = Vec::new();
            print(&report(vec![result("q1", contenders)]), &mut output).unwrap();
            String::from_utf8(output).unwrap()
        };
        for (peers, expected) in [(&[][..], 0), (&["a"][..], 1), (&["a", "b"][..], 1)] {
            let text = printed(peers);
            assert_eq!(text.matches("Slower counts queries whose spreads do not overlap").count(), expected, "{text}");
        }
    }

    #[test]
    fn times_and_sizes_are_short() {
        assert_eq!([0.123, 12.34, 999.4, 1234.0].map(milliseconds), ["0.12 ms", "12 ms", "999 ms", "1.23 s"]);
        assert_eq!([12, 2048, 3 << 20].map(bytes), ["12 B", "2.0 KiB", "3.0 MiB"]);
    }
}
