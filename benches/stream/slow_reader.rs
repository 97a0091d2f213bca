//! What the server keeps while its client is slow, and what becomes of the query afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::client::{Client, Protocol};
use super::measure::{Verdicts, knob, must, say};
use super::proxy::{Proxy, resident_kib};
use super::stores::Stores;

/// Pause between two reads of the slow reader.
const PAUSE: Duration = Duration::from_millis(5);
/// Pause between two looks at the memory.
const LOOK: Duration = Duration::from_millis(5);
/// How long a cancelled query may still be seen in its store.
const GONE: Duration = Duration::from_secs(10);
/// Most growth of the resident set in MB.
const BUDGET_MB: f64 = 150.0;

/// Reads slowly, pauses, reads again, cancels.
pub fn measure(proxy: &Proxy, stores: &Stores, (store, protocol): (&str, Protocol), runtime: &Runtime, verdicts: &mut Verdicts) {
    let seconds = Duration::from_secs(knob("TRIBUTARY_BENCH_SECONDS", 5));
    let name = format!("{store}, {}", protocol.word());
    let mut client = proxy.connect();
    let before = proxy.resident_kib();
    let watch = Watch::start(proxy.process_id());
    client.ask(protocol, &format!("SELECT * FROM {store}.events"));
    let slow = read(&mut client, seconds);
    thread::sleep(seconds);
    let asked = runtime.block_on(stores.is_asked(store));
    let again = read(&mut client, seconds / 2);
    let most = watch.end();
    client.cancel();
    let cancelled = client.until_cancelled();
    let gone = gone(stores, store, runtime);
    let (before_mb, most_mb) = (before as f64 * 1024.0 / 1e6, most as f64 * 1024.0 / 1e6);
    say(format_args!(
        "{name}: {slow} rows in {} s, a pause of as long, {again} rows more; resident {before_mb:.1} MB before, {most_mb:.1} MB at most",
        seconds.as_secs()
    ));
    let growth = (most_mb - before_mb).max(0.0);
    verdicts.judge(growth < BUDGET_MB, &format!("{name}: grew by {growth:.1} MB with a slow reader, under {BUDGET_MB} MB"));
    // A query that was not there, or was over before its end, proves nothing by being gone.
    let claim = match gone {
        Some(after) => format!("{name}: the cancelled query left the store within {:.0} ms", after.as_secs_f64() * 1e3),
        None => format!("{name}: the cancelled query left the store within {} s", GONE.as_secs()),
    };
    verdicts.judge(asked && cancelled && gone.is_some(), &claim);
}

fn read(client: &mut Client, time: Duration) -> usize {
    let started = Instant::now();
    let mut rows = 0;
    while started.elapsed() < time {
        rows += client.read_rows();
        thread::sleep(PAUSE);
    }
    rows
}

fn gone(stores: &Stores, store: &str, runtime: &Runtime) -> Option<Duration> {
    let started = Instant::now();
    while started.elapsed() < GONE {
        if !runtime.block_on(stores.is_asked(store)) {
            return Some(started.elapsed());
        }
        thread::sleep(LOOK);
    }
    None
}

/// Looks at the memory of a process until it is told to stop.
struct Watch {
    stop: Arc<AtomicBool>,
    looking: JoinHandle<u64>,
}

impl Watch {
    fn start(process_id: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let looking = thread::spawn(move || {
            let mut most = 0;
            while !stopped.load(Ordering::Relaxed) {
                most = most.max(resident_kib(process_id));
                thread::sleep(LOOK);
            }
            most
        });
        Self { stop, looking }
    }

    /// The most that was seen, in KiB.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        must(self.looking.join().map_err(|_panic| "the memory could not be watched"))
    }
}
