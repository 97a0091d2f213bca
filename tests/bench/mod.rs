//! `tributary bench` as its users start it, at a scale so small that only its answers matter.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the command to its end.
fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tributary")).arg("bench").args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// How Tributary stood with each query.
fn standings(report: &Value) -> Vec<(String, String)> {
    let standing = |result: &Value| {
        let own = &result["contenders"][0];
        assert_eq!(own["contender"], "tributary");
        (result["query"].as_str().unwrap().to_owned(), own["state"].as_str().unwrap().to_owned())
    };
    report["queries"].as_array().unwrap().iter().map(standing).collect()
}

/// Every element is closed, in order, and none is left open.
fn assert_well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    for part in svg.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap();
        assert!(!text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").replace("&quot;", "").contains('&'), "{text}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split(' ').next().unwrap()),
        }
    }
    assert!(open.is_empty() && svg.starts_with("<svg "), "{open:?}");
}

#[test]
fn all_queries_are_right_where_there_is_nothing_but_sqlite() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out.json");
    let output = bench(&["--scale", "0.01", "--repeat", "0", "--out", out.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    let report = json(&out);
    let standings = standings(&report);
    assert_eq!(standings.len(), 32);
    assert!(standings.iter().all(|(_, standing)| standing == "right"), "{standings:?}");
    // An empty answer is right for the wrong reasons too easily.
    let with_rows = report["queries"].as_array().unwrap().iter().filter(|result| result["rows"].as_u64() > Some(0));
    assert!(with_rows.count() >= 26, "{}", said(&output));
    assert!(said(&output).contains("32 of 32 answers are right"));
}

#[test]
fn postgres_and_mariadb_hold_a_placement_and_all_is_written_down() {
    let place = tempfile::tempdir().unwrap();
    let (out, chart) = (place.path().join("out.json"), place.path().join("chart.svg"));
    let files = ["--out", out.to_str().unwrap(), "--chart", chart.to_str().unwrap()];
    let choice = ["--scale", "0.01", "--placement", "split", "--queries", "tpch,f1", "--repeat", "1", "--against", "postgres"];
    let output = bench(&[&choice[..], &files[..]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let report = json(&out);
    assert_eq!(standings(&report).iter().filter(|(_, standing)| standing == "right").count(), 23);
    let point = report["queries"].as_array().unwrap().iter().find(|result| result["query"] == "f1").unwrap();
    let contenders = point["contenders"].as_array().unwrap();
    assert_eq!(contenders.len(), 2);
    for contender in contenders {
        assert!(
            contender["median_ms"].as_f64().unwrap() > 0.0 && contender["runs_ms"].as_array().unwrap().len() == 1,
            "{contender}"
        );
    }
    let stores: Vec<&str> = point["stores"].as_array().unwrap().iter().map(|store| store["store"].as_str().unwrap()).collect();
    assert_eq!(stores, ["dimensions", "facts"]);
    for store in point["stores"].as_array().unwrap() {
        assert!(store["bytes"].as_u64() > Some(0) && store["round_trips"].as_u64() > Some(0), "{store}");
    }
    assert!(point["peak_rss_mib"].as_f64().unwrap() > 1.0);
    assert_eq!(report["summary"]["beside"][0]["peer"], "postgres");
    let svg = fs::read_to_string(chart).unwrap();
    assert_well_formed(&svg);
    assert!(svg.contains(">tributary<") && svg.contains(">postgres<") && svg.contains(">q22<"));
}

#[test]
fn nested_documents_in_mongodb_and_postgres_are_right() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out.json");
    let queries = "q1,q3,q4,q6,f1,f11,f12";
    let choice = ["--scale", "0.01", "--placement", "documents", "--queries", queries, "--repeat", "0"];
    let output = bench(&[&choice[..], &["--out", out.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(standings(&json(&out)).len(), 7);
}

#[test]
fn a_wrong_answer_makes_the_run_fail_and_names_the_query() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("lossy.toml");
    let tables = "\"lineitem\", \"orders\", \"part\", \"partsupp\", \"customer\", \"nation\", \"region\", \"supplier\"";
    let text = format!(
        "title = \"a view that loses rows\"\n[stores.everything]\nkind = \"sqlite\"\ntables = [{tables}]\n\
         [views]\nlineitem = \"SELECT * FROM everything.lineitem WHERE l_linenumber > 1\"\n"
    );
    fs::write(&path, text).unwrap();
    let output = bench(&["--scale", "0.01", "--repeat", "0", "--queries", "q1,q13", "--placement", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let told = said(&output);
    assert!(told.contains("q1 tributary: WRONG: ") && told.contains("1 gave WRONG answers: q1"), "{told}");
    assert!(told.contains("1 of 2 answers are right"), "{told}");
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let rows: [(&[&str], i32, &str); 8] = [
        (&["--scale", "0.001"], 2, "--scale must be from"),
        (&["--queries", "q99"], 2, "there is no query q99"),
        (&["--queries", "f11"], 2, "can run in the placement embedded"),
        (&["--placement", "nowhere"], 2, "there is no placement nowhere"),
        (&["--timeout", "soon"], 2, "not a duration"),
        (&["--timeout", "60"], 2, "a duration needs a unit"),
        (&["--latency", "10"], 2, "a duration needs a unit"),
        (&["--against", "oracle"], 2, "oracle"),
    ];
    for (arguments, code, words) in rows {
        let output = bench(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(said(&output).contains(words), "{arguments:?}: {}", said(&output));
    }
}
