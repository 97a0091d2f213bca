//! Places in a commit over several stores where a test ends the process or lets it wait.
//!
//! Which of them do something is said once, at the start: `after_decision=kill@3, before_done=pause:200ms, after_mark=hold:/tmp/here`.
//! Without that a place costs one look at an empty list. A release build has the places and takes no word for them
//! (`server/commits.rs`).
//!
//! With `after_decision=ask:/directory` the place asks whoever runs the test, each time anew: see `ask` below.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::options::parse_duration;

/// How often it is looked whether who is held may go on.
const LOOK: Duration = Duration::from_millis(5);

/// A place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// Before the first store is asked to prepare.
    BeforePrepare,
    /// When the first store has been asked, and none has answered.
    WhilePreparing,
    /// When the first store has voted.
    AfterFirstPrepare,
    /// When it is on disk that a commit with a last store has begun.
    AfterBeginRecord,
    /// When all have voted.
    AfterPrepare,
    /// Before the decision is sent to the log.
    BeforeDecision,
    /// When the decision is on disk.
    AfterDecision,
    /// When the mark has been written, in a transaction that is not committed.
    AfterMark,
    /// Before the last store is asked to commit.
    BeforeLastCommit,
    /// When it has committed.
    AfterLastCommit,
    /// When the first of the prepared branches has been committed.
    AfterFirstCommit,
    /// When all have been, and the log does not know.
    BeforeDone,
    /// When the log has been told.
    AfterDone,
    /// When every store has the mark of its step of a saga, and no step is committed.
    SagaMarked,
    /// When a step of a saga has been committed.
    SagaStep,
    /// Before a step is undone.
    BeforeUndo,
    /// When the mark that a step is undone has been written, and nothing else, in a transaction that is not committed.
    UndoMarked,
    /// When the step has been undone in that transaction.
    BeforeUndoCommit,
    /// When that transaction is committed, and the log does not know.
    AfterUndo,
    /// Before changes are appended to their log.
    ChangesAppend,
    /// Before they are published.
    ChangesPublish,
    /// Before their log is synced.
    ChangesSync,
    /// Before their store is told that they are durable.
    ChangesAcknowledge,
}

impl Point {
    /// Every place in a commit with its name, in the order in which a commit meets them.
    pub const ALL: [(Self, &'static str); 19] = [
        (Self::BeforePrepare, "before_prepare"),
        (Self::WhilePreparing, "while_preparing"),
        (Self::AfterFirstPrepare, "after_first_prepare"),
        (Self::AfterBeginRecord, "after_begin_record"),
        (Self::AfterPrepare, "after_prepare"),
        (Self::BeforeDecision, "before_decision"),
        (Self::AfterDecision, "after_decision"),
        (Self::AfterMark, "after_mark"),
        (Self::BeforeLastCommit, "before_last_commit"),
        (Self::AfterLastCommit, "after_last_commit"),
        (Self::AfterFirstCommit, "after_first_commit"),
        (Self::BeforeDone, "before_done"),
        (Self::AfterDone, "after_done"),
        (Self::SagaMarked, "saga_marked"),
        (Self::SagaStep, "saga_step"),
        (Self::BeforeUndo, "before_undo"),
        (Self::UndoMarked, "undo_marked"),
        (Self::BeforeUndoCommit, "before_undo_commit"),
        (Self::AfterUndo, "after_undo"),
    ];

    /// Whether only commits in steps meet it.
    pub fn is_of_sagas(self) -> bool {
        (Self::SagaMarked..=Self::AfterUndo).contains(&self)
    }

    /// Every place on the way of a change to its log, in their order.
    pub const CHANGES: [(Self, &'static str); 4] = [
        (Self::ChangesAppend, "changes_append"),
        (Self::ChangesPublish, "changes_publish"),
        (Self::ChangesSync, "changes_sync"),
        (Self::ChangesAcknowledge, "changes_acknowledge"),
    ];

    fn named() -> impl Iterator<Item = (Self, &'static str)> {
        Self::ALL.into_iter().chain(Self::CHANGES)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::named().find(|(point, _)| point == self);
        f.write_str(named.map_or("", |(_, name)| name))
    }
}

/// What happens at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Act {
    /// The process ends as if somebody had killed it.
    Kill,
    /// Whoever comes by waits.
    Pause(Duration),
    /// Whoever comes by makes the file, and waits until somebody has removed it.
    Hold(PathBuf),
    /// What is said in this directory.
    Ask(PathBuf),
}

impl Act {
    async fn happen(&self, point: Point) {
        match self {
            Self::Kill => std::process::abort(),
            Self::Pause(wait) => tokio::time::sleep(*wait).await,
            Self::Ask(directory) => ask(directory, point).await,
            Self::Hold(file) => {
                if let Err(error) = std::fs::write(file, "") {
                    tracing::error!(%error, "nobody is held at a place of a test");
                }
                while file.exists() {
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }
}

/// What happens at one place, and when.
#[derive(Debug)]
struct Trap {
    point: Point,
    act: Act,
    /// The only time at which it happens, counted from 1; each time without it.
    only: Option<u64>,
    hits: AtomicU64,
}

/// The places that do something. Empty by default.
#[derive(Debug, Clone, Default)]
pub struct Points(Arc<[Trap]>);

impl Points {
    /// Reads `after_decision=kill@3, before_done=pause:200ms`: what happens, and behind `@` the only time at which it does. A text of
    /// nothing is no place.
    ///
    /// # Errors
    /// The part that is not such a word, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let traps: Vec<Trap> = parts.map(trap).collect::<Result<_, _>>()?;
        Ok(Self(traps.into()))
    }

    /// Whether nothing happens anywhere.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Does what is to be done at the place. It comes back at once where that is nothing.
    pub async fn reached(&self, point: Point) {
        for trap in self.0.iter().filter(|trap| trap.point == point) {
            let hit = trap.hits.fetch_add(1, Ordering::Relaxed) + 1;
            if trap.only.is_some_and(|only| only != hit) {
                continue;
            }
            trap.act.happen(point).await;
        }
    }
}

/// Does what a file with the name of the place says, if there is one: `kill`, or nothing. The first who comes by takes it by giving it the
/// ending `.held`, and with nothing in it waits until it is gone. So a test knows that somebody is at the place, and lets him go on when
/// it has done there what it wanted.
async fn ask(directory: &Path, point: Point) {
    let held = directory.join(format!("{point}.held"));
    // A test's directory is a moment's work, and nobody else has one.
    if std::fs::rename(directory.join(point.to_string()), &held).is_err() {
        return;
    }
    if std::fs::read_to_string(&held).is_ok_and(|word| word.trim() == "kill") {
        std::process::abort();
    }
    while held.exists() {
        tokio::time::sleep(LOOK).await;
    }
}

fn trap(part: &str) -> Result<Trap, String> {
    let wrong = || {
        let acts = "kill, pause:<duration>, hold:<file> or ask:<directory>";
        format!("\"{part}\" is not a place with {acts} behind it, such as after_decision=kill@3")
    };
    let (name, act) = part.split_once('=').ok_or_else(wrong)?;
    let (point, _) = Point::named().find(|(_, known)| *known == name.trim()).ok_or_else(wrong)?;
    let (act, only) = match act.trim().split_once('@') {
        Some((act, number)) => (act, Some(number.parse::<u64>().ok().filter(|number| *number > 0).ok_or_else(wrong)?)),
        None => (act.trim(), None),
    };
    let act = match act.split_once(':') {
        Some(("pause", wait)) => Act::Pause(parse_duration(wait).ok_or_else(wrong)?),
        Some(("hold", file)) if !file.is_empty() => Act::Hold(PathBuf::from(file)),
        Some(("ask", directory)) if !directory.is_empty() => Act::Ask(PathBuf::from(directory)),
        None if act == "kill" => Act::Kill,
        _ => return Err(wrong()),
    };
    Ok(Trap { point, act, only, hits: AtomicU64::new(0) })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn names_are_those_of_the_list_and_differ() {
        let names: std::collections::BTreeSet<String> = Point::named().map(|(point, _)| point.to_string()).collect();
        let count = Point::ALL.len() + Point::CHANGES.len();
        assert_eq!(names.len(), count);
        let all: Vec<String> = names.iter().map(|name| format!("{name}=kill")).collect();
        assert_eq!(Points::parse(&all.join(",")).unwrap().0.len(), count);
    }

    #[test]
    fn what_is_no_place_or_no_act_is_told() {
        assert!(Points::parse("").unwrap().is_empty());
        assert!(Points::parse(" , ").unwrap().is_empty());
        let wrong = ["x", "x=kill", "after_decision", "after_decision=", "after_decision=die", "after_decision=pause"];
        let more = ["after_decision=pause:x", "after_decision=kill@0", "after_decision=kill@x", "after_decision=hold:"];
        for text in wrong.into_iter().chain(more).chain(["after_decision=hold", "after_decision=kill:x", "after_mark=ask:"]) {
            assert!(Points::parse(text).is_err_and(|told| told.contains(text)), "{text}");
        }
        let points = Points::parse("after_decision=kill@3, before_done=pause:200ms").unwrap();
        let [first, second] = points.0.as_ref() else { panic!("{points:?}") };
        assert_eq!((first.point, &first.act, first.only), (Point::AfterDecision, &Act::Kill, Some(3)));
        assert_eq!((second.point, &second.act, second.only), (Point::BeforeDone, &Act::Pause(Duration::from_millis(200)), None));
    }

    #[tokio::test]
    async fn who_is_held_goes_on_when_the_file_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("held");
        let points = Points::parse(&format!("after_mark=hold:{}@1", file.display())).unwrap();
        let letting_go = async {
            while !file.exists() {
                tokio::time::sleep(LOOK).await;
            }
            std::fs::remove_file(&file).unwrap();
        };
        tokio::join!(points.reached(Point::AfterMark), letting_go);
        points.reached(Point::AfterMark).await;
        assert!(!file.exists(), "that was the only time");
    }

    #[test]
    fn places_of_sagas_stand_behind_the_others() {
        let of_sagas = Point::ALL.iter().filter(|(point, _)| point.is_of_sagas()).map(|(_, name)| *name);
        let expected = ["saga_marked", "saga_step", "before_undo", "undo_marked", "before_undo_commit", "after_undo"];
        assert_eq!(of_sagas.collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn who_comes_by_is_held_where_that_is_asked_for_and_as_long() {
        let directory = tempfile::tempdir().unwrap();
        let (wanted, held) = (directory.path().join("after_mark"), directory.path().join("after_mark.held"));
        let points = Points::parse(&format!("after_mark=ask:{}", directory.path().display())).unwrap();
        // Nobody has asked for anything.
        points.reached(Point::AfterMark).await;
        std::fs::write(&wanted, "").unwrap();
        let holding = async {
            points.reached(Point::AfterPrepare).await;
            assert!(wanted.exists());
            points.reached(Point::AfterMark).await;
        };
        let letting_go = async {
            while !held.exists() {
                tokio::time::sleep(LOOK).await;
            }
            // Only the first is held.
            points.reached(Point::AfterMark).await;
            assert!(!wanted.exists());
            std::fs::remove_file(&held).unwrap();
        };
        tokio::join!(holding, letting_go);
    }

    #[tokio::test]
    async fn a_pause_is_made_when_its_time_has_come_and_nowhere_else() {
        let points = Points::parse("after_mark=pause:50ms@2, saga_step=kill@9").unwrap();
        let began = Instant::now();
        points.reached(Point::AfterMark).await;
        points.reached(Point::AfterPrepare).await;
        points.reached(Point::SagaStep).await;
        assert!(began.elapsed() < Duration::from_millis(40), "{:?}", began.elapsed());
        points.clone().reached(Point::AfterMark).await;
        assert!(began.elapsed() >= Duration::from_millis(50), "{:?}", began.elapsed());
        points.reached(Point::AfterMark).await;
    }
}
