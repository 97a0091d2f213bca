//! A run of the typed generator: statements asked of Tributary and of the copy, and what differs, made as small as it gets.
//!
//! Each statement is asked of Tributary as it is, and once more with pushdown held back where the server has that setting:
//! three answers must be one. What runs out of time or memory beside others is asked once more alone.

use std::fmt::Write as _;

use super::WORKERS;
use super::ask::{Answer, Asked};
use super::choices::{Choices, simpler};
use super::estimate;
use super::stage::Stage;
use super::typed::{self, Statement};

/// Most statements that are tried to make one smaller.
const TRIES_MAX: usize = 250;

/// The setting that holds pushdown back, and to what.
const PUSHDOWN: (&str, &str) = ("tributary.pushdown", "none");

/// What became of the statements of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub statements: usize,
    pub same: usize,
    /// Of those, the ones that failed on both sides.
    pub failed: usize,
    /// One side failed where the other did not meet the value (`typed`, "Errors").
    pub tolerated: usize,
    /// Refused with 0A000.
    pub refused: usize,
    /// Too slow for the copy to be compared with.
    pub slow: usize,
    pub different: usize,
    /// The numbers of those that a busy machine may have ended: they are asked again when nothing else runs.
    pub crowded: Vec<usize>,
    /// What to say about the last ones.
    pub told: Vec<String>,
}

enum Verdict {
    Same {
        failed: bool,
    },
    Tolerated,
    Refused(String),
    Slow,
    /// We ran out of time or of the memory that all statements share, while others ran beside this one.
    Crowded,
    Different(String),
}

/// Who is asked.
struct Sides {
    ours: Asked,
    held: Option<Asked>,
    copy: Asked,
}

/// Asks `count` statements, from `first` on, of a seed.
pub async fn run(stage: &Stage, seed: u64, first: usize, count: usize) -> Tally {
    let workers = (0..WORKERS).map(|worker| work(stage, seed, (first + worker..first + count).step_by(WORKERS), true));
    let mut all = Tally::default();
    for tally in futures::future::join_all(workers).await {
        all.add(tally);
    }
    let crowded = std::mem::take(&mut all.crowded);
    if !crowded.is_empty() {
        eprintln!("\nasked again alone: {crowded:?}");
        all.statements -= crowded.len();
        all.add(work(stage, seed, crowded.into_iter(), false).await);
    }
    all
}

/// Asks the statements of these numbers one after the other. `beside`: others run at the same time.
async fn work(stage: &Stage, seed: u64, numbers: impl Iterator<Item = usize>, beside: bool) -> Tally {
    let mut sides = Sides::of(stage).await;
    let mut tally = Tally::default();
    for number in numbers {
        let own = seed.wrapping_mul(1_000_003).wrapping_add(u64::try_from(number).unwrap());
        let (statement, choices) = typed::statement(Choices::new(own));
        tally.statements += 1;
        match sides.judge(&statement).await {
            Verdict::Same { failed } => {
                tally.same += 1;
                tally.failed += usize::from(failed);
            }
            Verdict::Tolerated => tally.tolerated += 1,
            Verdict::Slow => tally.slow += 1,
            Verdict::Crowded if beside => tally.crowded.push(number),
            Verdict::Crowded => {
                tally.different += 1;
                tally.tell(format!("#{number} ran out of time or memory, also alone:\n  {}", statement.sql));
            }
            Verdict::Refused(message) => {
                tally.refused += 1;
                tally.tell(format!("#{number} refused: {message}\n  {}", statement.sql));
            }
            Verdict::Different(difference) => {
                tally.different += 1;
                let told = sides.smallest(choices.tape(), &statement, difference).await;
                tally.tell(format!("#{number} different{told}"));
            }
        }
    }
    tally
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.statements += other.statements;
        self.same += other.same;
        self.failed += other.failed;
        self.tolerated += other.tolerated;
        self.refused += other.refused;
        self.slow += other.slow;
        self.different += other.different;
        self.crowded.extend(other.crowded);
        self.told.extend(other.told);
    }

    fn tell(&mut self, text: String) {
        eprintln!("\n{text}");
        self.told.push(text);
    }
}

impl Sides {
    async fn of(stage: &Stage) -> Self {
        let mut ours = stage.ours_with("SET statement_timeout = '15s'");
        let (name, value) = PUSHDOWN;
        let held = ours.setting(name).await.map(|_| stage.ours_with(&format!("SET {name} = {value}")));
        Self { ours, held, copy: stage.copy_with("SET statement_timeout = '5s'") }
    }

    async fn judge(&mut self, statement: &Statement) -> Verdict {
        let (zone, sql) = (statement.zone, statement.sql.as_str());
        let held = async {
            match &mut self.held {
                Some(held) => Some(held.extended_in(zone, sql).await),
                None => None,
            }
        };
        let (ours, held, copy) = tokio::join!(self.ours.extended_in(zone, sql), held, self.copy.extended_in(zone, sql));
        let verdict = verdict(statement, &ours, &copy);
        match held.map(|held| self::verdict(statement, &held, &copy)) {
            Some(Verdict::Different(told)) if !matches!(verdict, Verdict::Different(_)) => {
                Verdict::Different(format!("without pushdown: {told}"))
            }
            Some(Verdict::Crowded) if !matches!(verdict, Verdict::Different(_)) => Verdict::Crowded,
            _ => verdict,
        }
    }

    /// The simplest statement that still differs in the same manner, and how.
    async fn smallest(&mut self, tape: &[usize], statement: &Statement, difference: String) -> String {
        // What takes too long takes so again and again.
        if ["none", "08006"].iter().any(|state| difference.contains(&format!("{state} instead of"))) {
            return format!(" ({}):\n  {}\n    {difference}", statement.zone, statement.sql);
        }
        let (mut tape, mut best, mut difference) = (tape.to_vec(), statement.sql.clone(), difference);
        let mut zone = statement.zone;
        let mut tries = 0;
        'again: while tries < TRIES_MAX {
            for simple in simpler(&tape) {
                let (candidate, choices) = typed::statement(Choices::again(&simple));
                if candidate.sql.len() >= best.len() && (candidate.sql == best || candidate.sql.len() > best.len()) {
                    continue;
                }
                tries += 1;
                if let Verdict::Different(told) = self.judge(&candidate).await
                    && told.split_once(':').map(|told| told.0) == difference.split_once(':').map(|told| told.0)
                {
                    (tape, best, difference, zone) = (choices.tape().to_vec(), candidate.sql, told, candidate.zone);
                    continue 'again;
                }
                if tries >= TRIES_MAX {
                    break 'again;
                }
            }
            break;
        }
        let mut told = format!(" ({zone}):\n  {best}\n    {difference}");
        if best != statement.sql {
            write!(told, "\n  from\n  {}", statement.sql).unwrap();
        }
        told
    }
}

fn verdict(statement: &Statement, ours: &Answer, copy: &Answer) -> Verdict {
    let state = |answer: &Answer| match answer {
        Answer::Error { state, .. } => Some(state.clone()),
        Answer::Rows { .. } => None,
    };
    let of_values = |state: &str| state.starts_with("22");
    match (state(ours), state(copy)) {
        (_, Some(copy)) if copy == "57014" => Verdict::Slow,
        (Some(ours), Some(copy)) if ours == copy => Verdict::Same { failed: true },
        (Some(a), Some(b)) if of_values(&a) && of_values(&b) && statement.hazards > 1 => Verdict::Tolerated,
        (Some(a), None) if a == "0A000" => Verdict::Refused(told(ours)),
        // `none`: there was no answer in time. One that never comes does not come to who asks alone either.
        (Some(a), None) if ["57014", "53200", "none"].contains(&a.as_str()) => Verdict::Crowded,
        (Some(one), None) | (None, Some(one)) if of_values(&one) && statement.may_fail => Verdict::Tolerated,
        (a, b) => match estimate::difference(ours, copy, statement.ordered, &statement.columns) {
            None => Verdict::Same { failed: false },
            Some(difference) => {
                let kind = |state: &Option<String>| state.clone().unwrap_or_else(|| "rows".to_owned());
                Verdict::Different(format!("{} instead of {}: {difference}", kind(&a), kind(&b)))
            }
        },
    }
}

fn told(answer: &Answer) -> String {
    match answer {
        Answer::Error { message, .. } => message.clone(),
        Answer::Rows { .. } => String::new(),
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { statements, same, failed, tolerated, refused, slow, different, .. } = self;
        write!(
            f,
            "{statements} random statements: {same} same ({failed} of them errors), {tolerated} tolerated, {refused} refused, \
             {slow} too slow for PostgreSQL, {different} different"
        )
    }
}
