//! **Question:** what does a join of one MariaDB row to its PostgreSQL rows and its MongoDB document cost, against asking each store
//! for its part directly, and how often does it wait for a store?
//!
//! **Data:** 100,000 customers in MariaDB (key, and an email that is unique), 1,000,000 orders in PostgreSQL with an index on the
//! customer, 300,000 documents in MongoDB, of which each customer has one under its own key. Everything fits the servers' memory.
//! `TRIBUTARY_BENCH_ROWS` changes the number of orders, and the others with it, `TRIBUTARY_BENCH_ROUNDS` the repetitions.
//!
//! **Baseline:** three lookups one after another by the stores' own drivers on warm connections: prepared statements in MariaDB and
//! PostgreSQL, a find in MongoDB. Their sum is what the join is compared with.
//!
//! **Measured:** the time until all values are read, of one prepared statement on one connection to the built program in a process
//! of its own; both sides in turn within each round, over the same customers, the medians of the rounds' medians. Once by the key that
//! all stores know, so that everything could be asked at once, and once by the email, where the other stores are asked for what is
//! in the first one's row. Then the same with 10 ms in each round trip to a store, for both sides; how many round trips of the join are
//! waited for one after another is its additional time, in units of what one round trip adds to the direct lookups.
//! Round trips are also counted in front of each store, for one execution at a time, and the median is taken, because heartbeats of
//! MongoDB's driver fall into some.
//!
//! **Budget:** at most twice the sum of the direct lookups. With the delay: at most one round trip to each store, and two that are
//! waited for one after another: the customer, then the orders and the profile together.

mod direct;
mod joined;
#[path = "../measure/mod.rs"]
mod measure;
mod stores;

use std::process::ExitCode;
use std::time::Duration;

use direct::{By, Direct};
use joined::Joined;
use measure::{Verdicts, is_wanted, knob, median, must, say, say_machine};
use stores::{Reached, Stores};
use tributary::sandbox::Wire;

/// Most time of the join for each unit of the lookups' sum.
const BUDGET: f64 = 2.0;
/// Delay of each round trip.
const ROUND_TRIP: Duration = Duration::from_millis(10);
/// Round trips that may be waited for one after another.
const LEVELS: f64 = 2.0;
/// What the measured number of them may be above that: less than another one.
const LEVELS_NOISE: f64 = 0.5;
/// Executions before anything is measured: statements are prepared then, connections open, and a plan serves all values.
const WARMING: u64 = 20;

fn main() -> ExitCode {
    if !is_wanted() {
        return ExitCode::SUCCESS;
    }
    say_machine("keyed");
    let runtime = must(tokio::runtime::Builder::new_multi_thread().enable_all().build());
    runtime.block_on(Box::pin(run())).end()
}

async fn run() -> Verdicts {
    let mut verdicts = Verdicts::default();
    let stores = Box::pin(Stores::fill(knob("TRIBUTARY_BENCH_ROWS", 1_000_000))).await;
    let rounds = knob("TRIBUTARY_BENCH_ROUNDS", 5).max(1);
    let mut near = Box::pin(Sides::start(&stores.reached(), stores.customers)).await;
    let mut times = Vec::new();
    for by in [By::Id, By::Email] {
        let time = Box::pin(near.compare(by, rounds, 400)).await;
        let ratio = time.joined / time.direct;
        time.say(by, "");
        verdicts
            .judge(ratio <= BUDGET, &format!("{}: {ratio:.3} times the sum of the direct lookups, at most {BUDGET}", by.word()));
        times.push((by, time));
    }
    near.close().await;
    let (reached, wires) = stores.reached().behind(ROUND_TRIP).await;
    let mut far = Box::pin(Sides::start(&reached, stores.customers)).await;
    for (by, near) in times {
        let time = Box::pin(far.compare(by, rounds, 20)).await;
        time.say(by, ", with the delay");
        judge_waits(by, &near, &time, &mut verdicts);
        let trips = Box::pin(far.trips(by, &wires)).await;
        let [customers, orders, profiles] = trips;
        verdicts.judge(
            trips.iter().all(|trips| *trips <= 1.0),
            &format!(
                "{}: {customers} round trips to MariaDB, {orders} to PostgreSQL, {profiles} to MongoDB, at most 1 each",
                by.word()
            ),
        );
    }
    far.close().await;
    verdicts
}

fn judge_waits(by: By, near: &Times, far: &Times, verdicts: &mut Verdicts) {
    // A delay is never exactly what was asked for; the direct lookups are three round trips whatever it is.
    let round_trip = (far.direct - near.direct) / 3.0;
    let waits = (far.joined - near.joined) / round_trip.max(f64::MIN_POSITIVE);
    let asked = ROUND_TRIP.as_secs_f64() * 1e3;
    say(format_args!(
        "{}: a round trip took {round_trip:.2} ms; the join {:.2} ms, which is {:.2} times {asked} ms",
        by.word(),
        far.joined,
        far.joined / asked
    ));
    verdicts.judge(
        waits <= LEVELS + LEVELS_NOISE,
        &format!("{}: {waits:.2} round trips waited for one after another, at most {LEVELS}", by.word()),
    );
}

/// Medians of both sides in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Times {
    joined: f64,
    direct: f64,
    /// Those of the three lookups apart.
    lookups: [f64; 3],
}

impl Times {
    fn say(&self, by: By, how: &str) {
        let [customer, orders, profile] = self.lookups;
        say(format_args!(
            "{}{how}: joined {:.3} ms; direct {:.3} ms (customer {customer:.3}, orders {orders:.3}, profile {profile:.3}); ratio {:.3}",
            by.word(),
            self.joined,
            self.direct,
            self.joined / self.direct
        ));
    }
}

/// Both sides on the same way to the same stores.
struct Sides {
    direct: Direct,
    joined: Joined,
    customers: u64,
    /// How many customers have been chosen.
    chosen: u64,
}

impl Sides {
    async fn start(stores: &Reached, customers: u64) -> Self {
        let direct = Direct::connect(stores).await;
        Self { direct, joined: Joined::start(stores).await, customers, chosen: 0 }
    }

    async fn close(self) {
        self.direct.close().await;
        self.joined.close().await;
    }

    /// The next customer, far from the one before.
    fn choose(&mut self) -> i64 {
        self.chosen += 1;
        let place = self.chosen.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        i64::try_from(place % self.customers).unwrap_or(0) + 1
    }

    /// Compares what both sides find, which also warms them, then measures them in turn: so many rounds of so many lookups.
    async fn compare(&mut self, by: By, rounds: u64, lookups: u64) -> Times {
        for _ in 0..WARMING {
            let customer = self.choose();
            let (expected, _) = self.direct.look_up(by, customer).await;
            let (found, _) = self.joined.look_up(by, customer).await;
            must(if found == expected { Ok(()) } else { Err(format!("customer {customer}: {found:?} instead of {expected:?}")) });
        }
        let (mut joined, mut direct, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            let customers: Vec<i64> = (0..lookups).map(|_| self.choose()).collect();
            // Who goes first changes, so that neither always finds what the other has left behind.
            if round % 2 == 0 {
                joined.push(self.join_all(by, &customers).await);
            }
            let (sum, each) = self.look_up_all(by, &customers).await;
            direct.push(sum);
            parts.push(each);
            if round % 2 == 1 {
                joined.push(self.join_all(by, &customers).await);
            }
        }
        Times { joined: median(&joined), direct: median(&direct), lookups: medians(&parts) }
    }

    async fn join_all(&mut self, by: By, customers: &[i64]) -> f64 {
        let mut times = Vec::with_capacity(customers.len());
        for customer in customers {
            times.push(self.joined.look_up(by, *customer).await.1);
        }
        median(&times)
    }

    /// The sum of the three lookups, and each of them.
    async fn look_up_all(&mut self, by: By, customers: &[i64]) -> (f64, [f64; 3]) {
        let mut parts = Vec::with_capacity(customers.len());
        for customer in customers {
            parts.push(self.direct.look_up(by, *customer).await.1);
        }
        let sums: Vec<f64> = parts.iter().map(|parts| parts.iter().sum()).collect();
        (median(&sums), medians(&parts))
    }

    /// Round trips of one execution to each store.
    async fn trips(&mut self, by: By, wires: &[Wire; 3]) -> [f64; 3] {
        let mut seen = Vec::new();
        for _ in 0..WARMING {
            let customer = self.choose();
            let before = wires.each_ref().map(Wire::total);
            self.joined.look_up(by, customer).await;
            let mut trips = [0.0; 3];
            for ((wire, before), trips) in wires.iter().zip(before).zip(&mut trips) {
                *trips = wire.total().since(before).round_trips as f64;
            }
            seen.push(trips);
        }
        medians(&seen)
    }
}

/// The median of each place.
fn medians(figures: &[[f64; 3]]) -> [f64; 3] {
    [0, 1, 2].map(|place| {
        let figures: Vec<f64> = figures.iter().filter_map(|figures| figures.get(place).copied()).collect();
        median(&figures)
    })
}
