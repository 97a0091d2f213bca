//! The auditor: it finds what is not the same, has it loaded again, and reports nothing that is only late.

use super::*;

/// With an auditor that looks all the time.
fn audited() -> CacheSettings {
    CacheSettings { audit: Duration::from_millis(1), audit_rows: 64, ..settings() }
}

impl Stage {
    fn audit(&self, table: &str) -> ShownAudit {
        self.caches.audits().into_iter().find(|audit| audit.table == id_of(table)).unwrap()
    }

    /// Waits until a table has been looked at so often again.
    async fn looked_at(&self, table: &str, more: u64) {
        let before = self.audit(table).checks;
        self.holds(|| self.audit(table).checks >= before + more).await;
    }

    /// The store has these rows at a position, and says so.
    fn store_has(&self, table: &str, rows: &[(&str, i64)], position: u64) {
        self.store.ends_at(Some(position));
        self.store.fills_of(&id_of(table), rows, position);
    }
}

/// A table whose copy has one row, and an auditor that has found nothing.
async fn one_row() -> Stage {
    let stage = Stage::cached(&["orders"], audited()).await;
    stage.does(3, vec![("orders", Did::Put("a", 3))]).await;
    stage.has("orders", &[("a", 3)]).await;
    stage.store_has("orders", &[("a", 3)], 3);
    stage.looked_at("orders", 2).await;
    let audit = stage.audit("orders");
    assert_eq!((audit.divergences, audit.diverged), (0, None), "{audit:?}");
    assert_eq!(audit.label, Some(("shop".to_owned(), "orders".to_owned())));
    stage
}

#[tokio::test]
async fn a_copy_that_is_not_the_same_is_found_and_loaded_again() {
    // A row with another value, one that the copy lacks, and one that only the copy has.
    let rows: [(&[(&str, i64)], &str); 3] = [
        (&[("a", 4)], "1 with other values in the copy, of 1 rows"),
        (&[("a", 3), ("b", 1)], "1 not in the copy, of 2 rows"),
        (&[], "1 in the copy only, of 1 rows"),
    ];
    for (in_store, found) in rows {
        let stage = one_row().await;
        stage.store_has("orders", in_store, 3);
        stage.has("orders", in_store).await;
        let audit = stage.audit("orders");
        assert_eq!((audit.divergences, audit.found.as_deref()), (1, Some(found)));
        assert!(audit.diverged.is_some() && audit.checked >= audit.diverged);
        let divergences = stage.caches.families().into_iter().find(|family| family.name() == "tributary_cache_divergences_total");
        let text = crate::telemetry::metrics::text(&[divergences.unwrap()]);
        assert!(text.contains("tributary_cache_divergences_total{store=\"shop\"} 1"), "{text}");
        // What was loaded again is the same.
        stage.looked_at("orders", 2).await;
        assert_eq!(stage.audit("orders").divergences, 1);
    }
}

#[tokio::test]
async fn a_store_is_asked_where_it_is_only_when_it_shows_no_state_to_the_auditor() {
    let stage = one_row().await;
    let (asked, filled) = (stage.store.asked(), stage.store.filled());
    stage.looked_at("orders", 3).await;
    assert!(stage.store.asked() > asked && stage.store.filled() > filled);
    assert_eq!(stage.store.asked_while_shown(), 0);
}

#[tokio::test]
async fn a_copy_that_is_late_is_waited_for() {
    let stage = one_row().await;
    let checks = stage.audit("orders").checks;
    // The store has had it for a while before its feed tells of it.
    stage.store_has("orders", &[("a", 5)], 5);
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(stage.audit("orders").checks <= checks + 1, "it was judged before the copy had got there");
    stage.does(5, vec![("orders", Did::Put("a", 5))]).await;
    stage.looked_at("orders", 2).await;
    assert_eq!((stage.audit("orders").divergences, stage.rows("orders")), (0, Some(pairs(&[("a", 5)]))));
}

#[tokio::test]
async fn of_what_the_store_does_not_show_yet_nothing_is_said() {
    let stage = one_row().await;
    stage.does(4, vec![("orders", Did::Put("a", 4)), ("orders", Did::Put("b", 4))]).await;
    stage.has("orders", &[("a", 4), ("b", 4)]).await;
    // In the log of the store and in the copy, and nobody sees it there.
    stage.holds(|| stage.audit("orders").open >= 4).await;
    assert_eq!(stage.audit("orders").divergences, 0);
    // Of the rows that it has not touched something can be said.
    stage.store_has("orders", &[("a", 3), ("c", 9)], 3);
    stage.holds(|| stage.audit("orders").divergences == 1).await;
    assert_eq!(stage.audit("orders").found.as_deref(), Some("1 not in the copy, of 3 rows"));
}

#[tokio::test]
async fn while_a_table_was_emptied_nothing_is_said_of_it() {
    let stage = one_row().await;
    let truncated = Did::Tell(Barrier::Truncated { table: id_of("orders") });
    stage.does(4, vec![("orders", truncated)]).await;
    stage.has("orders", &[]).await;
    let skipped = || stage.copies().audits.all_skipped().into_iter().any(|(reason, count)| reason == "changed" && count > 1);
    stage.holds(skipped).await;
    assert_eq!(stage.audit("orders").divergences, 0);
    stage.store_has("orders", &[], 4);
    stage.looked_at("orders", 2).await;
}

#[tokio::test]
async fn an_auditor_that_is_switched_off_reads_nothing() {
    let stage = Stage::cached(&["orders"], settings()).await;
    let filled = stage.store.filled();
    stage.store_has("orders", &[("a", 9)], 0);
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!((stage.store.filled(), stage.audit("orders").checks), (filled, 0));
}

/// Everything that a store, its feed and its copies can be to one another, many times over: nothing of it is a divergence, until there is
/// one.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn random_courses_of_changes_are_never_taken_for_divergences() {
    const COUNT: u64 = 800;
    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
    let stage = Stage::cached(&["orders"], CacheSettings { group_rows: 3, ..audited() }).await;
    // What the store has had at each position.
    let mut states: Vec<Rows> = vec![Rows::new()];
    let mut shown = 0;
    for position in 1..=COUNT {
        let mut rows = states.last().unwrap().clone();
        let mut dids = Vec::new();
        for _ in 0..=rand::random_range(0..2) {
            let name = NAMES[rand::random_range(0..NAMES.len())];
            let to = NAMES[rand::random_range(0..NAMES.len())];
            let did = match rand::random_range(0..4) {
                0 if rows.remove(name).is_some() => Did::Gone(name),
                1 if rows.contains_key(name) && !rows.contains_key(to) => {
                    let total = rows.remove(name).unwrap();
                    rows.insert(to.to_owned(), total);
                    dids.push(Did::Gone(name));
                    Did::Put(to, total)
                }
                _ => {
                    rows.insert(name.to_owned(), i64::try_from(position).unwrap());
                    Did::Put(name, i64::try_from(position).unwrap())
                }
            };
            dids.push(did);
        }
        states.push(rows);
        let dids: Vec<(&str, Did<'_>)> = dids.into_iter().map(|did| ("orders", did)).collect();
        // What it shows may be behind what its feed tells, or ahead of it.
        let is_ahead = rand::random::<bool>();
        if !is_ahead {
            stage.does(position, dids.clone()).await;
        }
        let behind = if is_ahead { 0 } else { rand::random_range(0..4_u64) };
        shown = shown.max(position.saturating_sub(behind));
        let rows = &states[usize::try_from(shown).unwrap()];
        let rows: Vec<(&str, i64)> = rows.iter().map(|(name, total)| (name.as_str(), *total)).collect();
        stage.store_has("orders", &rows, shown);
        if is_ahead {
            tokio::time::sleep(Duration::from_micros(u64::from(rand::random::<u8>()))).await;
            stage.does(position, dids).await;
        }
        if position % 100 == 0 {
            stage.caches.reload(stage.store.name(), &id_of("orders")).unwrap();
        }
        if position % 5 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(stage.audit("orders").divergences, 0, "at {position}: {:?}", stage.audit("orders"));
    }
    let last: Vec<(String, i64)> = states.pop().unwrap().into_iter().collect();
    let mut last: Vec<(&str, i64)> = last.iter().map(|(name, total)| (name.as_str(), *total)).collect();
    stage.store_has("orders", &last, COUNT);
    stage.has("orders", &last).await;
    stage.looked_at("orders", 3).await;
    let audit = stage.audit("orders");
    assert!(audit.divergences == 0 && audit.rows > 0, "{audit:?}");
    // And one that is one.
    last.push(("z", 1));
    stage.store_has("orders", &last, COUNT);
    stage.has("orders", &last).await;
    assert_eq!(stage.audit("orders").divergences, 1);
}
