//! Two instances of Tributary over the same stores, with their logs in a table of one of them: clients of both move money while the
//! instances, that store and its connections are killed in turn.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tributary::sandbox::Tributary;

use super::bank::{Bank, End};
use super::eventually;
use super::holds::Holds;
use super::instances::{TABLE, beside};
use super::kills::run;
use super::stage::{Lines, SERVERS, Stage, address, start, variables};
use super::storm::{door, kill, revive};
use super::victims::{OF_SERVERS, Victim};
use crate::differential::random::Random;
use crate::support::proxy::{self, OWNER, Place, Session};

/// The store with the logs.
const KEEPER: &str = "pg";
/// Kills of an ordinary run.
const KILLS: usize = EACH;
/// Kills until everything is looked at.
const EACH: usize = 6;
/// What the other instance commits while one is dead: more than it could if rows that the dead one has prepared stayed locked.
const WITHOUT: usize = 20;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hit {
    /// One of the instances; the other one goes on with what it has left.
    One(usize),
    /// Both.
    Both,
    /// The store with the logs, or its connections.
    Keeper(Victim),
}

const HITS: [Hit; EACH] = [
    Hit::One(0),
    Hit::Keeper(Victim::Server(KEEPER)),
    Hit::One(1),
    Hit::Keeper(Victim::Cut(KEEPER)),
    Hit::Both,
    Hit::Keeper(Victim::Freeze(KEEPER)),
];

struct Two {
    stage: Stage,
    second: Tributary,
    _place: Place,
    holds: [Holds; 2],
}

impl Two {
    async fn start() -> Self {
        let holds = [Holds::new(), Holds::new()];
        let lines = Lines { server: TABLE, ..Lines::default() };
        let stage = Stage::start_with(&SERVERS, lines, &holds[0].failpoints()).await;
        let place = beside(&stage);
        let second = start(&place, TABLE, &holds[1].failpoints()).await;
        Self { stage, second, _place: place, holds }
    }

    fn proxy(&self, which: usize) -> &Tributary {
        if which == 0 { &self.stage.proxy } else { &self.second }
    }

    fn address(&self, which: usize) -> SocketAddr {
        address(self.proxy(which))
    }

    async fn session(&self, which: usize) -> Session {
        proxy::open(&proxy::login(self.address(which), OWNER)).await.unwrap()
    }

    /// An instance ends at the step.
    async fn die(&self, which: usize, point: &str) {
        self.holds[which].kill(point);
        eventually(point, async || self.proxy(which).has_ended().then_some(())).await;
    }

    async fn again(&mut self, which: usize) {
        self.holds[which].clear();
        let failpoints = self.holds[which].failpoints();
        let proxy = if which == 0 { &mut self.stage.proxy } else { &mut self.second };
        proxy.again(&variables(&failpoints)).await.unwrap();
    }

    async fn strike(&mut self, hit: Hit, (point, other): (&str, &str), bank: &Bank) {
        match hit {
            Hit::One(which) => {
                self.die(which, point).await;
                more(bank, WITHOUT).await;
                self.again(which).await;
            }
            Hit::Both => {
                tokio::join!(self.die(0, point), self.die(1, other));
                self.again(0).await;
                self.again(1).await;
            }
            Hit::Keeper(victim) => self.harm(victim, point).await,
        }
        more(bank, 1).await;
    }

    /// Kills the keeper of the logs while a commit of one instance is held.
    async fn harm(&mut self, victim: Victim, point: &str) {
        self.holds[0].hold(point);
        eventually(point, async || self.holds[0].is_held(point).then_some(())).await;
        match victim {
            Victim::Cut(store) => door(&mut self.stage, store).cut().await,
            Victim::Freeze(store) => door(&mut self.stage, store).freeze(),
            _ => kill(&mut self.stage, KEEPER).await,
        }
        self.holds[0].release(point);
        match victim {
            Victim::Cut(store) | Victim::Freeze(store) => door(&mut self.stage, store).mend().await,
            _ => revive(&mut self.stage, KEEPER).await,
        }
    }

    /// Waits until both have ended whatever was begun, and neither knows of anything in doubt.
    async fn settled(&self) {
        eventually("the end of what was prepared", async || self.stage.prepared().await.is_empty().then_some(())).await;
        for which in [0, 1] {
            let session = self.session(which).await;
            let listed = "SELECT count(*) FROM tributary.in_doubt";
            eventually("an empty list of what is in doubt", async || (session.answer(listed).await == "0").then_some(())).await;
            // There may be connections that nobody has found broken yet.
            for store in SERVERS {
                let read = format!("SELECT count(*) FROM {store}.accounts");
                eventually(&read, async || session.rows(&read).await.ok()).await;
            }
        }
    }
}

/// Waits until so many more transfers are committed.
async fn more(bank: &Bank, count: usize) {
    let wanted = bank.count(End::Committed) + count;
    eventually("more commits", async || (bank.count(End::Committed) >= wanted).then_some(())).await;
}

async fn storm() {
    let (seed, kills) = run(KILLS);
    eprintln!("two instances: {kills} kills with TRIBUTARY_TEST_SEED={seed}");
    let (mut random, points) = (Random::new(seed), OF_SERVERS.points());
    let mut two = Two::start().await;
    let mut bank = Bank::over(&SERVERS);
    let mut met: BTreeMap<(Hit, &str), usize> = BTreeMap::new();
    let mut done = 0;
    while done < kills {
        for which in [0_usize, 1] {
            bank.work(two.address(which), seed.wrapping_add(2 * done as u64 + which as u64));
        }
        for _ in 0..EACH.min(kills - done) {
            let (hit, point, other) = (HITS[done % HITS.len()], *random.pick(&points), *random.pick(&points));
            Box::pin(two.strike(hit, (point, other), &bank)).await;
            *met.entry((hit, point)).or_default() += 1;
            done += 1;
        }
        bank.rest().await;
        two.settled().await;
        let told = format!("two instances, seed {seed}, after {done} kills");
        for which in [0, 1] {
            bank.check(&two.session(which).await, &told).await;
        }
    }
    assert!(bank.count(End::Committed) > kills);
    eprintln!(
        "two instances: seed {seed}, {kills} kills {met:?}; {} transfers: {} committed, {} unknown to their clients; conserved: {} of it; \
         in doubt: 0",
        bank.ended(),
        bank.count(End::Committed),
        bank.count(End::Unknown),
        bank.total(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_with_their_logs_in_postgres_lose_no_money_of_mariadb_and_mongodb_whoever_is_killed() {
    Box::pin(storm()).await;
}
