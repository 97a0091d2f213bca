//! `docs/alerts.yml`: every number that a rule looks at is one that the server tells, with the labels that it has and the values that
//! these can have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tributary::cache::Caches;
use tributary::changes::Feeds;
use tributary::views::Views;

use super::follow::{until_feed, until_streaming};
use super::relation::metrics;
use super::room::{OUTBOX, Room};
use crate::support::proxy::Place;

/// Labels that Prometheus itself gives to whatever it asks.
const OF_PROMETHEUS: [&str; 2] = ["instance", "job"];

/// What is told: the labels of each number by its name, and which values a label of it has.
#[derive(Debug, Default)]
struct Told {
    labels: BTreeMap<String, BTreeSet<String>>,
    values: BTreeSet<(String, String, String)>,
}

/// A number in an expression, with the labels that are asked for and the values that each may have.
type Number = (String, Vec<(String, Vec<String>)>);

/// The numbers in an expression.
fn numbers(expression: &str) -> Vec<Number> {
    let (mut found, mut rest) = (Vec::new(), expression);
    while let Some(start) = rest.find("tributary_") {
        let text = &rest[start..];
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, behind) = text.split_at(end);
        let (asked, behind) = behind.strip_prefix('{').and_then(|inside| inside.split_once('}')).unwrap_or(("", behind));
        let asked = asked.split(',').filter(|text| !text.trim().is_empty()).map(asked_for).collect();
        found.push((name.to_owned(), asked));
        rest = behind;
    }
    found
}

/// `state=~"a|b"`: the label and its values.
fn asked_for(text: &str) -> (String, Vec<String>) {
    let (label, values) = text.split_at(text.find(['=', '!']).unwrap());
    let values = values.trim_start_matches(['=', '!', '~']).trim().trim_matches('"');
    (label.trim().to_owned(), values.split('|').map(str::to_owned).collect())
}

/// The labels that an expression sums by.
fn summed_by(expression: &str) -> Vec<String> {
    let lists = expression.split("by (").skip(1).map(|rest| rest.split(')').next().unwrap());
    lists.flat_map(|list| list.split(',')).map(|label| label.trim().to_owned()).collect()
}

/// The labels that texts for people name.
fn shown(rule: &str) -> Vec<String> {
    let name = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    rule.split("$labels.").skip(1).map(name).collect()
}

/// What of rules is about something that nobody tells.
fn complaints(rules: &str, told: &Told) -> Vec<String> {
    let mut complaints = Vec::new();
    for rule in rules.split("- alert:").skip(1) {
        let alert = rule.lines().next().unwrap().trim();
        let expression = rule.lines().find_map(|line| line.trim().strip_prefix("expr:")).unwrap_or_default();
        let numbers = numbers(expression);
        if numbers.is_empty() {
            complaints.push(format!("{alert} looks at nothing"));
        }
        let summed_by = summed_by(expression);
        for (name, asked) in &numbers {
            let Some(labels) = told.labels.get(name) else {
                complaints.push(format!("{alert}: nobody tells {name}"));
                continue;
            };
            let has = |label: &String| OF_PROMETHEUS.contains(&label.as_str()) || labels.contains(label);
            let named = asked.iter().map(|(label, _)| label).chain(&summed_by);
            let unknown = named.filter(|&label| !has(label)).map(|label| format!("{alert}: {name} has no label {label}"));
            complaints.extend(unknown);
            for (label, values) in asked {
                let is_told = |value: &&String| told.values.contains(&(name.clone(), label.clone(), (*value).clone()));
                let never = values.iter().filter(|value| !is_told(value));
                complaints.extend(never.map(|value| format!("{alert}: {label} of {name} is never {value}")));
            }
            let is_left = |label: &String| if summed_by.is_empty() { has(label) } else { summed_by.contains(label) };
            let gone = shown(rule).into_iter().filter(|label| !is_left(label));
            complaints.extend(gone.map(|label| format!("{alert} shows {label}, which is not left of {name}")));
        }
    }
    complaints
}

/// The values of labels in a text of `/metrics`.
fn values(text: &str) -> BTreeSet<(String, String, String)> {
    let mut values = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("tributary_")) {
        let Some((name, rest)) = line.split_once('{') else { continue };
        let (labels, _number) = rest.rsplit_once('}').unwrap();
        for pair in labels.split("\",") {
            let (label, value) = pair.split_once("=\"").unwrap();
            values.insert((name.to_owned(), label.to_owned(), value.trim_end_matches('"').to_owned()));
        }
    }
    values
}

#[test]
fn what_nobody_tells_is_noticed() {
    let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
    let told = Told {
        labels: BTreeMap::from([
            ("tributary_a".to_owned(), labels(&["store", "state"])),
            ("tributary_b_total".to_owned(), labels(&["store"])),
        ]),
        values: values(
            "# TYPE tributary_a gauge\ntributary_a{store=\"x\",state=\"on\"} 1\ntributary_a{store=\"x\",state=\"off\"} 0\n",
        ),
    };
    let told_of = |expression: &str, shown: &str| {
        complaints(&format!("  - alert: Rule\n    expr: {expression}\n    summary: \"{{{{ $labels.{shown} }}}}\"\n"), &told)
    };
    let fine = ["tributary_a{state=~\"on|off\"} == 1", "max by (instance, store) (tributary_a{state=\"on\"}) == 1"];
    for expression in fine {
        assert_eq!(told_of(expression, "store"), Vec::<String>::new(), "{expression}");
    }
    let rows = [
        ("tributary_c > 0 and tributary_a > 0", "store", "Rule: nobody tells tributary_c"),
        ("tributary_a{state=\"store-only\"} > 0", "store", "Rule: state of tributary_a is never store-only"),
        ("tributary_a{state=~\"on|lost\"} > 0", "store", "Rule: state of tributary_a is never lost"),
        ("tributary_a{state!~\"gone\"} > 0", "store", "Rule: state of tributary_a is never gone"),
        ("sum by (table) (rate(tributary_b_total[5m])) > 0", "table", "Rule: tributary_b_total has no label table"),
        ("max by (store) (tributary_a) > 0", "state", "Rule shows state, which is not left of tributary_a"),
        ("tributary_b_total > 0", "table", "Rule shows table, which is not left of tributary_b_total"),
        ("up == 0", "store", "Rule looks at nothing"),
    ];
    for (expression, shown, expected) in rows {
        assert_eq!(told_of(expression, shown), [expected], "{expression}");
    }
    let wrong = told_of("tributary_b_total{table=\"t\"} > 0", "store");
    assert_eq!(wrong.len(), 2, "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_looks_at_numbers_with_labels_and_values_that_are_there() {
    let place = Place::new();
    let tables = "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE keyless (v TEXT)";
    place.sqlite_with("file", tables, &format!("{OUTBOX}changes.cached = [\"orders\"]\n")).await;
    place.show_metrics();
    let room = Room::open(place).await;
    until_streaming(room.session(), "file", &["orders"]).await;
    until_feed(room.session(), "file", "keyless", "store-only").await;
    let text = metrics(&room.server().http_address().unwrap().to_string()).await;
    let families = Feeds::none().families().into_iter().chain(Caches::none().families()).chain(Views::none().families());
    let labels = families.map(|family| {
        let labels = family.labels().iter().map(|label| (*label).to_owned()).collect();
        (family.name().to_owned(), labels)
    });
    let told = Told { labels: labels.collect(), values: values(&text) };
    let rules = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/alerts.yml")).unwrap();
    assert_eq!(complaints(&rules, &told), Vec::<String>::new());
    // Every rule says what it means and how bad it is.
    let alerts = rules.matches("- alert:").count();
    assert!(alerts >= 20, "{alerts}");
    for key in ["expr:", "severity:", "summary:", "description:"] {
        assert_eq!(rules.matches(key).count(), alerts, "{key}");
    }
}
