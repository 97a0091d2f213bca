//! Places of a commit at which tests stop the process.

/// A place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// Before anything is asked of a store.
    BeforePrepare,
    /// The stores are being asked to prepare.
    WhilePreparing,
    /// The first has answered.
    AfterFirstPrepare,
    /// The record that names the store that decides is on disk.
    AfterBeginRecord,
    /// All have answered.
    AfterPrepare,
    /// Before the record of the decision.
    BeforeDecision,
    /// The record of the decision is on disk.
    AfterDecision,
    /// The mark is written.
    AfterMark,
    /// Before the store that decides is committed.
    BeforeLastCommit,
    /// It is committed.
    AfterLastCommit,
    /// The first prepared branch is committed.
    AfterFirstCommit,
    /// Before the record of the end.
    BeforeDone,
    /// That record is given to the log.
    AfterDone,
    /// A step of a saga is committed.
    SagaStep,
}

impl Point {
    /// All of them with their names.
    pub const ALL: [(Self, &str); 14] = [
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
        (Self::SagaStep, "saga_step"),
    ];
}

/// What happens at which place; nothing by default.
#[derive(Debug, Default)]
pub struct Points {}

impl Points {
    /// A commit has come to a place.
    pub async fn reached(&self, point: Point) {
        std::future::ready(point).await;
    }
}
