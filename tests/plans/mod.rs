//! Plans of representative statements over the demo's stores, as EXPLAIN shows them. A changed plan is a changed snapshot in
//! `snapshots/`, to be read as a difference: `INSTA_UPDATE=always cargo test --test main plans` writes it. [`bench`] has the plans of
//! the queries that `tributary bench` bundles.
//!
//! The engine has two partitions here whatever the machine has, and the demo's rows and estimates are always the same.

mod bench;
mod scale_one;

use std::sync::Arc;

use tributary::catalog::Snapshot;
use tributary::federation::branches::{BranchKind, Branches};
use tributary::federation::engine::{Engine, Limits};
use tributary::federation::explain;
use tributary::federation::plan::{self, Setting};
use tributary::session::statement::{Kind, parse};

use crate::answers::Demo;

const STATEMENTS: [(&str, &str); 13] = [
    ("projection_and_filter", "SELECT name, length_km FROM hydro.rivers WHERE source_country = 'Switzerland' AND length_km > 300"),
    ("filter_checked_again", "SELECT name FROM hydro.rivers WHERE upper(name) LIKE 'R%' AND id < 10"),
    ("limit", "SELECT day, flow_m3s FROM archive.readings WHERE station_id = 7 LIMIT 5"),
    ("sorted_limit", "SELECT day, flow_m3s FROM archive.readings WHERE station_id = 7 ORDER BY flow_m3s DESC NULLS LAST LIMIT 5"),
    (
        "join_of_two_stores",
        "SELECT p.name, v.visited, s.name FROM crew.people p JOIN crew.visits v ON v.person_id = p.id \
         JOIN hydro.stations s ON s.id = v.station_id WHERE s.regime = 'snow' AND v.cost > 1000",
    ),
    (
        "aggregate_over_a_join",
        "SELECT r.name, count(*), avg(a.flow_m3s) FROM hydro.rivers r JOIN hydro.stations s ON s.river_id = r.id \
         JOIN archive.readings a ON a.station_id = s.id WHERE a.day >= DATE '2024-01-01' GROUP BY r.name",
    ),
    (
        "outer_join",
        "SELECT s.name, f.at FROM hydro.stations s LEFT JOIN field.reports f ON f.station = s.id AND (f.weather).air_c < -3 \
         WHERE s.built < DATE '1850-01-01'",
    ),
    (
        "semi_join",
        "SELECT name FROM crew.people p WHERE EXISTS (SELECT FROM crew.visits v WHERE v.person_id = p.id AND v.cost > 2000)",
    ),
    ("view", "SELECT g.river, count(*) FROM low_water l JOIN gauges g ON g.id = l.station_id GROUP BY g.river"),
    (
        "documents",
        "SELECT animal, count(*) FROM (SELECT unnest(species) AS animal FROM field.reports WHERE weather->>'sky' = 'snow') t GROUP BY animal",
    ),
    (
        "part_with_groups",
        "SELECT r.name, count(*), avg(s.mean_m3s) FROM hydro.rivers r JOIN hydro.stations s ON s.river_id = r.id \
         WHERE s.mean_m3s > 10 GROUP BY r.name HAVING count(*) > 1 ORDER BY count(*) DESC, r.name LIMIT 5",
    ),
    (
        "part_with_what_stays",
        "SELECT s.regime, count(*), string_agg(s.name, ',' ORDER BY s.name) FROM hydro.stations s \
         JOIN hydro.rivers r ON r.id = s.river_id WHERE upper(r.name) LIKE 'R%' GROUP BY s.regime",
    ),
    (
        "part_below_a_join",
        "SELECT p.name, t.n FROM crew.people p JOIN (SELECT v.person_id, count(*) AS n FROM crew.visits v \
         JOIN crew.people q ON q.id = v.person_id GROUP BY v.person_id) t ON t.person_id = p.id JOIN hydro.stations s ON s.id = p.id",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn representative_statements_keep_their_plans() {
    let demo = Demo::serve().await;
    let engine = engine();
    let snapshot = demo.server.catalog().snapshot();
    for (name, sql) in STATEMENTS {
        let lines = explained(&engine, &snapshot, sql).await;
        insta::assert_snapshot!(name, format!("{sql}\n\n{}", lines.join("\n")));
    }
    demo.server.stop().await;
}

fn engine() -> Engine {
    Engine::new(&Limits { partitions: 2, ..Limits::default() }).unwrap()
}

/// What `EXPLAIN` says of a query.
async fn explained(engine: &Engine, snapshot: &Arc<Snapshot>, sql: &str) -> Vec<String> {
    let setting = Setting::of_server(Arc::clone(snapshot));
    let Some(Kind::Query(query)) = parse(sql).unwrap().into_iter().next().map(|parsed| parsed.kind) else { panic!("{sql}") };
    let planned = plan::plan_aside(engine, &setting, *query, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let branches = Arc::new(Branches::new(snapshot, BranchKind::Statement, None));
    let bound =
        plan::bind_aside(engine, &setting, &planned, &[], &branches).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    explain::lines(&bound, &branches, false).await.unwrap()
}
