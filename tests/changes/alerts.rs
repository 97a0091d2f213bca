//! `docs/alerts.yml`: every number that a rule looks at is one that the server tells, with the labels that it has.

use std::collections::BTreeSet;
use std::path::Path;

use tributary::cache::Caches;
use tributary::changes::Feeds;
use tributary::views::Views;

/// The names of numbers in expressions of rules.
fn named(rules: &str) -> BTreeSet<String> {
    let lines = rules.lines().filter(|line| !line.trim_start().starts_with('#') && line.contains("expr:"));
    let words = lines.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    words.filter(|word| word.starts_with("tributary_")).map(str::to_owned).collect()
}

#[test]
fn names_are_found_in_expressions_alone() {
    let rules =
        "# expr: tributary_a\n- alert: tributary_b\n  expr: rate(tributary_c_total{store=\"x\"}[5m]) > 0 and tributary_d == 1\n";
    assert_eq!(named(rules).into_iter().collect::<Vec<_>>(), ["tributary_c_total", "tributary_d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_looks_at_numbers_that_are_there() {
    let rules = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/alerts.yml")).unwrap();
    let named = named(&rules);
    assert!(named.len() >= 7, "{named:?}");
    let families = Feeds::none().families().into_iter().chain(Caches::none().families()).chain(Views::none().families());
    let told: BTreeSet<String> = families.map(|family| family.name().to_owned()).collect();
    let unknown: Vec<&String> = named.difference(&told).collect();
    assert!(unknown.is_empty(), "nobody tells {unknown:?}");
    // Every rule says what it means and how bad it is.
    let alerts = rules.matches("- alert:").count();
    for key in ["expr:", "severity:", "summary:", "description:"] {
        assert_eq!(rules.matches(key).count(), alerts, "{key}");
    }
}
