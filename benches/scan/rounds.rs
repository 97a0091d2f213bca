//! Both sides in turn, and what their times say.

use std::any::Any;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tributary::task::OwnedTask;

use super::columns::{Depth, Digest};
use super::cpu;
use super::measure::{median, must, say};
use super::ours::Ours;

/// A loop written for the one table and driver, on a connection of its own.
#[async_trait]
pub trait Bare: Send {
    /// Reads the table once.
    async fn read(&mut self, depth: Depth) -> Digest;
}

/// A filled table with both ways to read it.
pub struct Subject {
    pub name: &'static str,
    pub ours: Ours,
    pub bare: Box<dyn Bare>,
    /// The server or directory that holds the table.
    pub keeper: Box<dyn Any + Send>,
}

/// Time of one pass.
#[derive(Debug, Clone, Copy)]
struct Pass {
    cpu: Duration,
    wall: Duration,
}

impl Pass {
    /// CPU time of a row in nanoseconds.
    fn per_row(self, rows: usize) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / rows.max(1) as f64
    }
}

/// Compares both sides over every value once, then times them in turn. Gives the median of ours for each unit of the other.
pub async fn compare(subject: Subject, rounds: u64) -> f64 {
    let Subject { name, ours, mut bare, keeper } = subject;
    let (_, expected) = bare_pass(&mut bare, Depth::Everything).await;
    let (_, found) = our_pass(&ours, Depth::Everything).await;
    must(if expected == found { Ok(()) } else { Err(format!("{name}: the loop read {expected:?}, the scan {found:?}")) });
    let (_, key) = bare_pass(&mut bare, Depth::Key).await;
    let rows = key.rows;
    let mut measured = Vec::new();
    for round in 0..rounds.max(1) {
        // Who goes first changes, so that neither always finds what the other has left behind.
        let (bare_time, our_time) = if round % 2 == 0 {
            let bare_time = checked(bare_pass(&mut bare, Depth::Key).await, &key);
            (bare_time, checked(our_pass(&ours, Depth::Key).await, &key))
        } else {
            let our_time = checked(our_pass(&ours, Depth::Key).await, &key);
            (checked(bare_pass(&mut bare, Depth::Key).await, &key), our_time)
        };
        measured.push((our_time, bare_time));
    }
    ours.close().await;
    drop((bare, keeper));
    report(name, rows, &measured)
}

fn report(name: &str, rows: usize, measured: &[(Pass, Pass)]) -> f64 {
    let ours: Vec<f64> = measured.iter().map(|(ours, _)| ours.per_row(rows)).collect();
    let bare: Vec<f64> = measured.iter().map(|(_, bare)| bare.per_row(rows)).collect();
    let ratios: Vec<f64> = ours.iter().zip(&bare).map(|(ours, bare)| ours / bare.max(f64::MIN_POSITIVE)).collect();
    let shown = |figures: &[f64]| {
        let (least, most) =
            figures.iter().fold((f64::MAX, 0.0_f64), |(least, most), figure| (least.min(*figure), most.max(*figure)));
        format!("{:.1} ({least:.1} to {most:.1})", median(figures))
    };
    say(format_args!("{name}: {rows} rows, {} rounds; CPU ns per row, median (least to most)", measured.len()));
    say(format_args!("  scan into Arrow  {}", shown(&ours)));
    say(format_args!("  bare loop        {}", shown(&bare)));
    let (least, most) = ratios.iter().fold((f64::MAX, 0.0_f64), |(least, most), ratio| (least.min(*ratio), most.max(*ratio)));
    say(format_args!("  ratio            {:.3} ({least:.3} to {most:.3})", median(&ratios)));
    let wall =
        |pick: fn(&(Pass, Pass)) -> Pass| median(&measured.iter().map(|both| pick(both).wall.as_secs_f64()).collect::<Vec<_>>());
    say(format_args!("  time on the clock, median: scan {:.3} s, bare loop {:.3} s", wall(|both| both.0), wall(|both| both.1)));
    median(&ratios)
}

fn checked((pass, digest): (Pass, Digest), expected: &Digest) -> Pass {
    must(if digest == *expected { Ok(pass) } else { Err(format!("{digest:?} was read instead of {expected:?}")) })
}

async fn our_pass(ours: &Ours, depth: Depth) -> (Pass, Digest) {
    let ours = ours.clone();
    timed(async move { ours.read(depth).await }).await
}

async fn bare_pass(bare: &mut Box<dyn Bare>, depth: Depth) -> (Pass, Digest) {
    let mut taken: Box<dyn Bare> = std::mem::replace(bare, Box::new(Absent));
    let (pass, (digest, back)) = timed(async move {
        let digest = taken.read(depth).await;
        (digest, taken)
    })
    .await;
    *bare = back;
    (pass, digest)
}

/// Runs `work` as a task, as a connector's caller does; the time until it ends is all its own.
async fn timed<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> (Pass, T) {
    let (cpu, clock) = (cpu::used(), Instant::now());
    let result = must(OwnedTask::spawn(work).join().await.ok_or("a pass has failed"));
    (Pass { cpu: cpu::used().saturating_sub(cpu), wall: clock.elapsed() }, result)
}

/// Stands in for a loop that is on its way.
struct Absent;

#[async_trait]
impl Bare for Absent {
    async fn read(&mut self, depth: Depth) -> Digest {
        Digest::new(depth)
    }
}
