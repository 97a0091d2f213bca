//! Numbers of feeds, of the log and of who follows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::hub::Hub;
use super::log::now_ms;
use super::status::{Shown, ShownTable, State, TableState};
use super::supervise::Following;
use crate::stores::StoreName;
use crate::telemetry::Family;
use crate::telemetry::metrics::{Count, Presence, Present};

/// Of so many tables each is told; of more than that, how many of each store stand so.
const TABLES_MAX: usize = 2_000;

/// What those who follow count.
#[derive(Debug, Default)]
pub struct Tally {
    listening: Presence,
    subscribed: Presence,
    notifications: Count,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    start_overs: BTreeMap<&'static str, u64>,
    waiting: BTreeMap<StoreName, u64>,
}

impl Tally {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        // What a panic left behind are whole numbers.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more of "listen" or "subscribe", until what is given back is dropped. `None`: there are as many of the latter as there may be.
    pub(super) fn enter(&self, kind: &'static str, subscriptions_max: usize) -> Option<Present> {
        if kind == "listen" {
            return Some(self.listening.enter());
        }
        let present = self.subscribed.enter();
        (self.subscribed.get() <= u64::try_from(subscriptions_max).unwrap_or(u64::MAX)).then_some(present)
    }

    /// Somebody of this kind was told to start over.
    pub fn started_over(&self, kind: &'static str) {
        *self.shared().start_overs.entry(kind).or_default() += 1;
    }

    /// So many notifications were given to clients.
    pub fn notified(&self, count: u64) {
        self.notifications.add(count);
    }

    /// So many events of a store wait for being handed over.
    pub fn waits(&self, store: &StoreName, events: u64) {
        self.shared().waiting.insert(store.clone(), events);
    }

    /// How many of them; `None` where nobody hands over events of the store.
    pub(super) fn waiting(&self, store: &StoreName) -> Option<u64> {
        self.shared().waiting.get(store).copied()
    }
}

pub(super) fn families(followings: &[Arc<Following>], shown: &[Shown], tally: &Tally) -> Vec<Family> {
    let mut all = of_feeds(shown);
    all.extend(of_numbers(followings));
    all.extend(of_logs(followings));
    all.extend(of_tally(tally));
    all
}

fn of_feeds(shown: &[Shown]) -> Vec<Family> {
    let states = shown.iter().flat_map(|feed| {
        State::ALL.map(|state| ([feed.store.to_string(), state.word().to_owned()], u64::from(state == feed.state)))
    });
    let by_store = |number: fn(&Shown) -> Option<u64>| {
        shown.iter().filter_map(move |feed| Some((feed.store.to_string(), number(feed)?))).collect::<Vec<_>>()
    };
    let lag = |feed: &Shown| feed.lag.map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX));
    vec![
        Family::gauge("tributary_feed_state", "1 for the state in which the feed of a store is.")
            .by_both(["store", "state"], states),
        tables(shown),
        Family::gauge("tributary_feed_lag_milliseconds", "How far a feed is behind its store.").by("store", by_store(lag)),
        Family::gauge("tributary_feed_lag_bytes", "The same in bytes of the store's log.")
            .by("store", by_store(|feed| feed.lag_bytes)),
        Family::gauge("tributary_feed_retained_bytes", "What a store keeps of its log for a feed.")
            .by("store", by_store(|feed| feed.retained_bytes)),
        Family::gauge("tributary_feed_retained_max_bytes", "The most that a store may keep for a feed (changes.max_retained).")
            .by("store", by_store(|feed| feed.retained_max_bytes)),
        Family::gauge("tributary_feed_window_seconds", "How long until a store drops history that a feed needs.")
            .by("store", by_store(|feed| feed.window.map(|window| window.as_secs()))),
    ]
}

/// The states of tables, one by one or, where there are very many, as sums.
fn tables(shown: &[Shown]) -> Family {
    let count: usize = shown.iter().map(|feed| feed.tables.len()).sum();
    let mut samples: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    for (feed, table) in shown.iter().flat_map(|feed| feed.tables.iter().map(move |table| (feed, table))) {
        let name = if count > TABLES_MAX { String::new() } else { named(table) };
        for state in TableState::ALL {
            let labels = vec![feed.store.to_string(), name.clone(), state.word().to_owned()];
            *samples.entry(labels).or_default() += u64::from(state == table.state);
        }
    }
    Family::gauge("tributary_feed_table_state", "1 for the state in which a table is; of very many tables, how many are.")
        .by_all(vec!["store", "table", "state"], samples)
}

fn named(table: &ShownTable) -> String {
    match &table.label {
        Some((schema, name)) => format!("{schema}.{name}"),
        None => format!("{}.{}", table.table.namespace, table.table.name),
    }
}

fn of_numbers(followings: &[Arc<Following>]) -> Vec<Family> {
    let all: Vec<_> = followings.iter().map(|following| (following.store.to_string(), following.status.numbers())).collect();
    let events = all
        .iter()
        .flat_map(|(store, numbers)| numbers.events.iter().map(move |(op, count)| ([store.clone(), (*op).to_owned()], *count)));
    let transactions = all.iter().map(|(store, numbers)| (store.clone(), numbers.transactions));
    let bytes = all.iter().map(|(store, numbers)| (store.clone(), numbers.bytes));
    let losses = all.iter().map(|(store, numbers)| (store.clone(), numbers.losses));
    let reconnects = all.iter().map(|(store, numbers)| (store.clone(), numbers.reconnects));
    vec![
        Family::counter("tributary_feed_events_total", "Changed rows that feeds have given.").by_both(["store", "op"], events),
        Family::counter("tributary_feed_transactions_total", "Transactions that feeds have given.").by("store", transactions),
        Family::counter("tributary_feed_bytes_total", "Bytes of the values in changed rows that feeds have given.")
            .by("store", bytes),
        Family::counter("tributary_feed_losses_total", "How often history of a store was missing.").by("store", losses),
        Family::counter("tributary_feed_reconnects_total", "How often a feed was begun again.").by("store", reconnects),
    ]
}

fn of_logs(followings: &[Arc<Following>]) -> Vec<Family> {
    let hubs = || followings.iter().filter_map(|following| Some((following.store.to_string(), following.hub.get()?)));
    let queues = followings.iter().filter_map(|following| Some((following.store.to_string(), following.queue()?)));
    let logs = hubs().map(|(store, hub)| (store, hub.log().bytes()));
    let rings = hubs().map(|(store, hub)| (store, hub.ring_bytes()));
    let unsynced = hubs().map(|(store, hub)| (store, sync_lag_ms(hub)));
    let waiting = queues.map(|(store, queue)| (store, u64::try_from(queue.bytes()).unwrap_or(u64::MAX)));
    vec![
        Family::gauge("tributary_changes_log_bytes", "How large the log of changes of a store is.").by("store", logs),
        Family::gauge("tributary_changes_ring_bytes", "What of it is in memory, with the notifications that may be made of it.")
            .by("store", rings),
        Family::gauge("tributary_changes_queue_bytes", "What waits for being written, or for being on disk.").by("store", waiting),
        Family::gauge("tributary_changes_sync_lag_milliseconds", "For how long something has not been on disk.")
            .by("store", unsynced),
    ]
}

/// For how many milliseconds something in the log of a store has not been on disk.
pub(super) fn sync_lag_ms(hub: &Hub) -> u64 {
    let since = hub.log().progress().borrow().unsynced_ms;
    since.map_or(0, |since| now_ms().saturating_sub(since))
}

fn of_tally(tally: &Tally) -> Vec<Family> {
    let shared = tally.shared();
    let present = [("listen", &tally.listening), ("subscribe", &tally.subscribed)];
    let present = present.map(|(kind, presence)| (kind.to_owned(), presence.get()));
    let start_overs = shared.start_overs.iter().map(|(kind, count)| ((*kind).to_owned(), *count));
    let waiting = shared.waiting.iter().map(|(store, count)| (store.to_string(), *count));
    vec![
        Family::gauge("tributary_subscriptions", "Sessions that listen to changes, and subscriptions.").by("kind", present),
        Family::counter("tributary_start_overs_total", "How often somebody was told to start over.").by("kind", start_overs),
        Family::counter("tributary_notifications_total", "Notifications that were given to clients.").is(tally.notifications.get()),
        Family::gauge("tributary_outbox_waiting", "Events that wait for being handed over.").by("store", waiting),
    ]
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::changes::fakes::{group_of, id_of};
    use crate::changes::status::Told;
    use crate::telemetry::metrics::text;

    fn told(following: &Arc<Following>, tally: &Tally) -> String {
        let shown = [Shown { retained_max_bytes: Some(1 << 24), ..following.status.shown(None) }];
        text(&families(&[Arc::clone(following)], &shown, tally))
    }

    #[test]
    fn numbers_of_a_feed_are_told() {
        let store = StoreName::new("shop");
        let (following, tally) = (Following::new(&store), Tally::default());
        following.status.set(State::Streaming, None, None);
        following.status.set_tables(BTreeMap::from([(id_of("orders"), Told::streaming())]));
        let group = group_of(&store, &[(3, &[("a", 1), ("b", 2)])]);
        following.status.count_rows(&group);
        let bytes = group.rows[0].value_bytes();
        assert!((30..200).contains(&bytes), "{bytes}");
        let bytes = format!("tributary_feed_bytes_total{{store=\"shop\"}} {bytes}");
        following.status.count_loss();
        let text = told(&following, &tally);
        for line in [
            "tributary_feed_state{store=\"shop\",state=\"streaming\"} 1",
            "tributary_feed_state{store=\"shop\",state=\"lost\"} 0",
            "tributary_feed_table_state{store=\"shop\",table=\"public.orders\",state=\"streaming\"} 1",
            "tributary_feed_table_state{store=\"shop\",table=\"public.orders\",state=\"store-only\"} 0",
            "tributary_feed_events_total{store=\"shop\",op=\"insert\"} 1",
            "tributary_feed_losses_total{store=\"shop\"} 1",
            bytes.as_str(),
            "tributary_feed_retained_max_bytes{store=\"shop\"} 16777216",
            "tributary_subscriptions{kind=\"listen\"} 0",
            "tributary_notifications_total 0",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn very_many_tables_are_summed() {
        let table = |number: usize| ShownTable {
            table: id_of(&format!("t{number}")),
            label: None,
            state: TableState::Streaming,
            reason: None,
            mend: None,
            events: 0,
            since: Utc::now(),
        };
        let following = Following::new(&StoreName::new("shop"));
        let mut shown = following.status.shown(None);
        shown.tables = (0..=TABLES_MAX).map(table).collect();
        let text = text(&[tables(&[shown])]);
        assert!(text.contains("{store=\"shop\",table=\"\",state=\"streaming\"} 2001"), "{text}");
        assert_eq!(text.lines().count(), 5);
    }

    #[test]
    fn subscriptions_have_an_end_and_listeners_have_not() {
        let tally = Tally::default();
        let first = tally.enter("subscribe", 1);
        assert!(first.is_some() && tally.enter("subscribe", 1).is_none());
        drop(first);
        assert!(tally.enter("subscribe", 1).is_some());
        let listeners: Vec<_> = (0..3).map(|_| tally.enter("listen", 1)).collect();
        assert!(listeners.iter().all(Option::is_some));
        tally.started_over("listen");
        tally.notified(3);
        tally.waits(&StoreName::new("shop"), 7);
        let text = text(&of_tally(&tally));
        assert!(text.contains("tributary_subscriptions{kind=\"listen\"} 3\n"), "{text}");
        assert!(text.contains("tributary_start_overs_total{kind=\"listen\"} 1\n"), "{text}");
        assert!(text.contains("tributary_outbox_waiting{store=\"shop\"} 7\n") && text.contains("notifications_total 3"), "{text}");
    }
}
