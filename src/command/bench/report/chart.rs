//! The chart of a run as SVG: a row for each query, a bar for each contender, times on a logarithmic axis.

use std::fmt::Write as _;

use super::super::measure::{Measured, Standing};
use super::Report;
use super::tables::milliseconds;

const WIDTH: f64 = 960.0;
/// Where bars begin and end.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 850.0;
const TOP: f64 = 96.0;
const BAR: f64 = 11.0;
/// The size of the title's letters, and how many of them fit.
const TITLE_SIZE: f64 = 16.0;
const TITLE_LETTERS: f64 = 100.0;
/// How many queries TPC-H has.
const TPCH_QUERIES: usize = 22;
/// Of more queries than this the title tells the number alone.
const NAMED_MAX: usize = 4;
const GAP: f64 = 9.0;
/// Colours that are told apart on white and dark ground, also without red and green.
const COLOURS: [&str; 4] = ["#0b7285", "#e8890c", "#868e96", "#5f3dc4"];

/// Draws it.
pub(super) fn draw(report: &Report) -> String {
    let names: Vec<&str> = report
        .queries
        .first()
        .map(|result| result.contenders.iter().map(|one| one.contender.as_str()).collect())
        .unwrap_or_default();
    let group = as_number(names.len()) * BAR + GAP;
    let height = TOP + group * as_number(report.queries.len()) + 40.0;
    let axis = Axis::of(report);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"#343a40\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    head(&mut svg, report, &names);
    axis.draw(&mut svg, TOP - 6.0, height - 34.0);
    for (place, result) in report.queries.iter().enumerate() {
        let top = TOP + group * as_number(place);
        let middle = top + as_number(names.len()) * BAR / 2.0 + 4.0;
        push(
            &mut svg,
            format_args!("<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>\n", LEFT - 8.0, escaped(result.query)),
        );
        for (turn, measured) in result.contenders.iter().enumerate() {
            bar(&mut svg, &axis, measured, colour(turn), top + as_number(turn) * BAR);
        }
    }
    push(
        &mut svg,
        format_args!("<text x=\"{LEFT}\" y=\"{}\" fill=\"#868e96\">{}</text>\n</svg>\n", height - 10.0, escaped(&report.command)),
    );
    svg
}

fn head(svg: &mut String, report: &Report, names: &[&str]) {
    let latency = if report.latency_ms > 0.0 { format!(", {} ms per round trip", report.latency_ms) } else { String::new() };
    let indexes = if report.indexes == "primary" { ", primary keys only" } else { "" };
    let (placement, about_it) = (&report.placement, &report.placement_title);
    let title = format!("{} at scale {}, {placement}: {about_it}{indexes}{latency}", ran(report), report.scale);
    // A long title is made to fit.
    let size = (TITLE_SIZE * TITLE_LETTERS / as_number(title.chars().count())).min(TITLE_SIZE);
    push(svg, format_args!("<text x=\"{LEFT}\" y=\"26\" font-size=\"{size:.1}\" font-weight=\"600\">{}</text>\n", escaped(&title)));
    let about = format!(
        "median of {} runs, whiskers from shortest to longest, {} processors, {}",
        report.repeat, report.processors, report.made
    );
    push(svg, format_args!("<text x=\"{LEFT}\" y=\"44\" fill=\"#868e96\">{}</text>\n", escaped(&about)));
    for (place, name) in names.iter().enumerate() {
        let x = LEFT + 110.0 * as_number(place);
        push(svg, format_args!("<rect x=\"{x}\" y=\"56\" width=\"10\" height=\"10\" fill=\"{}\"/>\n", colour(place)));
        push(svg, format_args!("<text x=\"{}\" y=\"65\">{}</text>\n", x + 15.0, escaped(name)));
    }
}

/// Which queries ran.
fn ran(report: &Report) -> String {
    let named =
        |start: char| -> Vec<&str> { report.queries.iter().map(|one| one.query).filter(|name| name.starts_with(start)).collect() };
    let (tpch, federated) = (named('q'), named('f'));
    let tpch = match tpch.len() {
        0 => None,
        TPCH_QUERIES => Some("TPC-H".to_owned()),
        few if few <= NAMED_MAX => Some(format!("TPC-H {}", tpch.join(", "))),
        many => Some(format!("{many} queries of TPC-H")),
    };
    let federated = match federated.len() {
        0 => None,
        few if few <= NAMED_MAX => Some(format!("federated {}", federated.join(", "))),
        many => Some(format!("{many} federated queries")),
    };
    let parts: Vec<String> = tpch.into_iter().chain(federated).collect();
    if parts.is_empty() { "No query".to_owned() } else { parts.join(" and ") }
}

fn bar(svg: &mut String, axis: &Axis, measured: &Measured, colour: &str, top: f64) {
    let Some(times) = measured.times.filter(|_| measured.standing.counts()) else {
        let word = if matches!(measured.standing, Standing::Wrong(_)) { "wrong" } else { "no answer" };
        push(svg, format_args!("<text x=\"{}\" y=\"{}\" font-size=\"9\" fill=\"#c92a2a\">{word}</text>\n", LEFT + 4.0, top + 9.0));
        return;
    };
    let end = axis.place(times.median_ms);
    let (width, height) = (end - LEFT, BAR - 2.0);
    push(svg, format_args!("<rect x=\"{LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{colour}\"/>\n"));
    let middle = top + height / 2.0;
    let (least, most) = (axis.place(times.least_ms), axis.place(times.most_ms));
    push(svg, format_args!("<path d=\"M{least:.1} {middle}H{most:.1}\" stroke=\"#343a40\" stroke-width=\"1\"/>\n"));
    let over = if measured.standing == Standing::TimedOut { "&gt; " } else { "" };
    let label = milliseconds(times.median_ms);
    push(svg, format_args!("<text x=\"{:.1}\" y=\"{}\" font-size=\"9\">{over}{label}</text>\n", most + 4.0, top + 8.0));
}

/// Powers of ten from the least to the most time.
struct Axis {
    first: i32,
    last: i32,
}

impl Axis {
    #[expect(clippy::cast_possible_truncation, reason = "a logarithm of times is a small number")]
    fn of(report: &Report) -> Self {
        let all = report.queries.iter().flat_map(|result| &result.contenders).filter_map(|measured| measured.times);
        let (mut least, mut most) = (f64::MAX, 0.0_f64);
        for times in all {
            (least, most) = (least.min(times.least_ms), most.max(times.most_ms));
        }
        if most <= 0.0 {
            return Self { first: 0, last: 3 };
        }
        let first = least.max(1e-3).log10().floor() as i32;
        Self { first, last: (most.log10().ceil() as i32).max(first + 1) }
    }

    fn place(&self, time_ms: f64) -> f64 {
        let share = (time_ms.max(1e-3).log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    fn draw(&self, svg: &mut String, top: f64, bottom: f64) {
        for power in self.first..=self.last {
            let time_ms = 10_f64.powi(power);
            let x = self.place(time_ms);
            push(svg, format_args!("<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"#dee2e6\" stroke-width=\"1\"/>\n"));
            let label = if time_ms < 1000.0 { format!("{time_ms} ms") } else { format!("{} s", time_ms / 1000.0) };
            push(
                svg,
                format_args!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#868e96\">{label}</text>\n", top - 4.0),
            );
        }
    }
}

fn colour(place: usize) -> &'static str {
    COLOURS.get(place).copied().unwrap_or("#adb5bd")
}

/// Writing to a text cannot fail.
fn push(svg: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = svg.write_fmt(text);
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[expect(clippy::cast_precision_loss, reason = "there are few queries and contenders")]
fn as_number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Summary;
    use super::super::summary::tests::{measured, result};
    use super::*;

    pub(in super::super) fn report(queries: Vec<super::super::super::measure::QueryResult>) -> Report {
        let summary = Summary::of(&queries);
        Report {
            command: "tributary bench --x \"<y>\"".to_owned(),
            made: "2026-01-02".to_owned(),
            version: "1",
            processors: 2,
            placement: "p".to_owned(),
            placement_title: "a & b".to_owned(),
            scale: 1.0,
            repeat: 3,
            limit_ms: 60_000,
            latency_ms: 10.0,
            indexes: "foreign".to_owned(),
            reference: "itself",
            queries,
            summary,
        }
    }

    #[test]
    fn bars_are_as_long_as_the_logarithm_of_their_times() {
        let right = || Standing::Right;
        let contenders =
            vec![measured("tributary", right(), &[10.0]), measured("peer", right(), &[100.0]), measured("x", right(), &[1000.0])];
        let svg = draw(&report(vec![result("q1", contenders)]));
        let width = |colour: &str| -> f64 {
            let is_bar = |line: &&str| line.starts_with("<rect") && line.contains(colour) && !line.contains("width=\"10\"");
            let bar = svg.lines().find(is_bar).unwrap();
            bar.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
        };
        let widths = [COLOURS[0], COLOURS[1], COLOURS[2]].map(width);
        assert_eq!(widths, [0.0, (RIGHT - LEFT) / 2.0, RIGHT - LEFT]);
        assert!(svg.contains("a &amp; b, 10 ms per round trip") && svg.contains("&quot;&lt;y&gt;&quot;") && !svg.contains("<y>"));
    }

    #[test]
    fn the_title_names_what_ran_and_where() {
        let names = ["q1", "q2", "q3", "q4", "q5", "f1", "f2", "f3", "f4", "f5"];
        let title = |chosen: &[&'static str], indexes: &str| {
            let queries =
                chosen.iter().copied().map(|name| result(name, vec![measured("tributary", Standing::Right, &[1.0])])).collect();
            let svg = draw(&Report { indexes: indexes.to_owned(), latency_ms: 0.0, ..report(queries) });
            svg.split_once("font-weight=\"600\">").unwrap().1.split_once('<').unwrap().0.to_owned()
        };
        assert_eq!(title(&["q1"; 22], "foreign"), "TPC-H at scale 1, p: a &amp; b");
        assert_eq!(title(&names[..1], "primary"), "TPC-H q1 at scale 1, p: a &amp; b, primary keys only");
        assert_eq!(title(&names[4..7], "foreign"), "TPC-H q5 and federated f1, f2 at scale 1, p: a &amp; b");
        assert_eq!(title(&names, "foreign"), "5 queries of TPC-H and 5 federated queries at scale 1, p: a &amp; b");
        assert_eq!(title(&names[5..], "foreign"), "5 federated queries at scale 1, p: a &amp; b");
    }

    #[test]
    fn what_has_no_time_says_so() {
        let contenders =
            vec![measured("tributary", Standing::Wrong("a".into()), &[1.0]), measured("p", Standing::Failed("b".into()), &[])];
        let svg = draw(&report(vec![result("q1", contenders)]));
        assert!(svg.contains(">wrong<") && svg.contains(">no answer<"));
        let late = draw(&report(vec![result("q1", vec![measured("tributary", Standing::TimedOut, &[60_000.0])])]));
        assert!(late.contains("&gt; 60.00 s"), "{late}");
        assert!(draw(&report(Vec::new())).ends_with("</svg>\n"));
    }
}
