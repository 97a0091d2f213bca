//! From a commit to the client that listens.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::postgres::PgListener;
use tributary::task::OwnedTask;

use super::measure::{Verdicts, knob, must, say};
use super::numbers::quantiles;
use super::results::Results;
use super::servers::NAMES;
use super::stores::Stores;
use super::writer::Writer;

/// Writes a second.
const RATE: u64 = 200;
/// Writes before anything counts.
const WARMING: u64 = 100;
/// Milliseconds in the middle, and for 99 of 100.
const BUDGET: (f64, f64) = (5.0, 50.0);
/// How long behind the last write the last notification may come before it is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// The poll of SQLite, and how much later the last of 100 may be told.
const POLL: f64 = 25.0;
const BEHIND_POLL: f64 = 5.0;

/// When each key was told.
pub(super) async fn hear(mut listener: PgListener, count: u64) -> HashMap<i64, Instant> {
    let mut heard = HashMap::new();
    while (heard.len() as u64) < count {
        let told = must(listener.recv().await);
        let now = Instant::now();
        let payload: Value = must(serde_json::from_str(told.payload()));
        if let Some(key) = payload["key"]["_id"].as_i64() {
            heard.insert(key, now);
        }
    }
    heard
}

/// Measures every store and judges it.
pub async fn judge(stores: &Stores, verdicts: &mut Verdicts, results: &mut Results) {
    let writes = knob("TRIBUTARY_BENCH_WRITES", 2_000).max(1);
    for store in NAMES {
        let listener = stores.listener(&format!("{store}.notes")).await;
        let hearing = OwnedTask::spawn(hear(listener, WARMING + writes));
        let mut writer = Writer::to(stores, store).await;
        let mut clock = tokio::time::interval(Duration::from_micros(1_000_000 / RATE));
        let mut sent = HashMap::new();
        for key in 0..WARMING + writes {
            clock.tick().await;
            let key = i64::try_from(key).unwrap_or_default();
            let began = Instant::now();
            writer.write(key).await;
            sent.insert(key, (began, Instant::now()));
        }
        let heard = tokio::time::timeout(PATIENCE, hearing.join()).await;
        let heard = must(heard.map_err(|_late| format!("{store}: not every write was heard of")));
        let heard = must(heard.ok_or("nobody listens any more"));
        let counted = |key: &i64| *key >= i64::try_from(WARMING).unwrap_or_default();
        let both: Vec<(Instant, Instant, Instant)> = sent
            .iter()
            .filter(|(key, _)| counted(key))
            .filter_map(|(key, (began, done))| Some((*began, *done, *heard.get(key)?)))
            .collect();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (p50, p99) =
            quantiles(&both.iter().map(|(_, done, heard)| ms(heard.saturating_duration_since(*done))).collect::<Vec<_>>());
        let whole =
            quantiles(&both.iter().map(|(began, _, heard)| ms(heard.saturating_duration_since(*began))).collect::<Vec<_>>());
        let own = quantiles(&both.iter().map(|(began, done, _)| ms(done.duration_since(*began))).collect::<Vec<_>>());
        let budget = if store == "sqlite" { (POLL + BEHIND_POLL, POLL + BEHIND_POLL) } else { BUDGET };
        verdicts.judge(
            p50 <= budget.0 && p99 <= budget.1,
            &format!(
                "{store}: a commit is heard of after {p50:.2} ms, 99 of 100 within {p99:.2} ms, at most {} and {} ms",
                budget.0, budget.1
            ),
        );
        say(format_args!(
            "      the write itself took {:.2} ms (99 of 100: {:.2}), from its start it was heard of after {:.2} ms ({:.2})",
            own.0, own.1, whole.0, whole.1
        ));
        let figures = json!({ "p50_ms": p50, "p99_ms": p99, "write_p50_ms": own.0, "write_p99_ms": own.1, "from_start_p50_ms": whole.0, "from_start_p99_ms": whole.1 });
        results.put(&format!("heard_{store}"), figures);
    }
}
