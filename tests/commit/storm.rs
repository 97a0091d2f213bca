//! Stores and Tributary before them, of which somebody is killed at a step of a commit that is held there meanwhile.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::bank::settled;
use super::eventually;
use super::holds::Holds;
use super::stage::{Door, Lines, Stage, variables};
use super::victims::{Pair, Set, Victim};
use crate::differential::random::Random;
use crate::support::gate::{Gate, Open};
use crate::support::proxy::Session;

/// The longest that a server is away, in milliseconds.
const AWAY: usize = 300;
/// The longest that it says nothing, in milliseconds.
const SILENT: usize = 800;

/// The way of all clients to Tributary.
struct Clients {
    gate: Gate,
    open: Option<Open>,
}

impl Clients {
    async fn to(stage: &Stage) -> Self {
        let gate = Gate::to("127.0.0.1", stage.address().port()).await;
        let open = Some(gate.open().await);
        Self { gate, open }
    }

    /// Breaks all connections; afterwards there may be new ones.
    async fn cut(&mut self) {
        if let Some(open) = self.open.take() {
            open.shut().await;
        }
        self.open = Some(self.gate.open().await);
    }
}

/// A stage on which it is not safe to be.
pub struct Storm {
    pub stage: Stage,
    clients: Clients,
    holds: Holds,
    random: Random,
    /// How often each pair was met.
    pub met: BTreeMap<Pair, usize>,
}

impl Storm {
    /// Starts the stores of a set, fills them, and starts Tributary over them.
    pub async fn over(set: &Set, lines: Lines<'_>, random: Random) -> Self {
        let holds = Holds::new();
        let stage = Stage::start_with(set.started, lines, &holds.failpoints()).await;
        let clients = Clients::to(&stage).await;
        Self { stage, clients, holds, random, met: BTreeMap::new() }
    }

    /// Where clients connect that may be cut off.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.clients.gate.port()))
    }

    /// How many have been killed, cut off or silenced.
    pub fn kills(&self) -> usize {
        self.met.values().sum()
    }

    /// Waits until a commit is at the step, kills the victim while it is held there, and brings the victim back; Tributary itself is
    /// left dead. Whoever works goes on by himself: `committed` tells how often he has.
    pub async fn strike(&mut self, (victim, point): Pair, committed: &dyn Fn() -> usize) {
        if victim == Victim::Tributary {
            self.holds.kill(point);
            eventually(point, async || self.stage.proxy.has_ended().then_some(())).await;
        } else {
            self.holds.hold(point);
            eventually(point, async || self.holds.is_held(point).then_some(())).await;
            Box::pin(self.harm(victim, point)).await;
            let kept = committed();
            eventually("more commits", async || (committed() > kept).then_some(())).await;
        }
        *self.met.entry((victim, point)).or_default() += 1;
    }

    /// Does it while somebody waits at the step, and lets him go on.
    async fn harm(&mut self, victim: Victim, point: &str) {
        match victim {
            Victim::Tributary => {}
            Victim::Clients => {
                self.clients.cut().await;
                self.holds.release(point);
            }
            Victim::Server(server) => {
                kill(&mut self.stage, server).await;
                self.holds.release(point);
                self.pause(AWAY).await;
                revive(&mut self.stage, server).await;
            }
            Victim::Cut(server) => {
                door(&mut self.stage, server).cut().await;
                self.holds.release(point);
                self.pause(AWAY).await;
                door(&mut self.stage, server).mend().await;
            }
            Victim::Freeze(server) => {
                door(&mut self.stage, server).freeze();
                self.holds.release(point);
                self.pause(SILENT).await;
                door(&mut self.stage, server).mend().await;
            }
        }
    }

    /// As long as chance has it: nothing depends on it but what is met meanwhile.
    async fn pause(&mut self, most: usize) {
        let wait = u64::try_from(self.random.below(most)).unwrap();
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }

    /// Starts Tributary again, and waits until everything has ended that was begun.
    pub async fn again(&mut self, told: &str) -> Session {
        // Whatever is asked there is asked of nobody then.
        self.stage.proxy.kill().await.unwrap_or_else(|error| panic!("{told}: {error}"));
        self.holds.clear();
        let failpoints = self.holds.failpoints();
        self.stage.proxy.again(&variables(&failpoints)).await.unwrap_or_else(|error| panic!("{told}: {error}"));
        let stage = &self.stage;
        eventually("the end of what was prepared", async || stage.prepared().await.is_empty().then_some(())).await;
        let session = stage.session().await;
        settled(&session).await;
        session
    }

    /// The pairs of a table that were never met.
    pub fn missed(&self, set: &Set) -> Vec<Pair> {
        set.table().into_iter().filter(|pair| !self.met.contains_key(pair)).collect()
    }

    /// How often each victim was met at each step, a line for each.
    pub fn told(&self, set: &Set) -> String {
        let points = set.points();
        let line = |victim: Victim| {
            let counts =
                points.iter().map(|point| format!("{point} {}", self.met.get(&(victim, *point)).copied().unwrap_or_default()));
            format!("  {victim}: {}\n", counts.collect::<Vec<_>>().join(", "))
        };
        set.victims().into_iter().map(line).collect()
    }
}

/// The way to a server.
pub fn door<'s>(stage: &'s mut Stage, server: &str) -> &'s mut Door {
    match server {
        "pg" => stage.postgres.as_mut().map(|(_, door)| door).unwrap(),
        "maria" => stage.mariadb.as_mut().map(|(_, door)| door).unwrap(),
        _ => stage.mongodb.as_mut().map(|(_, door)| door).unwrap(),
    }
}

/// Kills a server.
pub async fn kill(stage: &mut Stage, server: &str) {
    match server {
        "pg" => stage.postgres.as_mut().unwrap().0.kill().await.unwrap(),
        "maria" => stage.mariadb.as_mut().unwrap().0.kill().await.unwrap(),
        _ => stage.mongodb.as_mut().unwrap().0.kill().await.unwrap(),
    }
}

/// Starts it again.
pub async fn revive(stage: &mut Stage, server: &str) {
    match server {
        "pg" => stage.postgres.as_mut().unwrap().0.again().await.unwrap(),
        "maria" => stage.mariadb.as_mut().unwrap().0.again().await.unwrap(),
        _ => stage.mongodb.as_mut().unwrap().0.again().await.unwrap(),
    }
}
