//! The rules that reads of copies, views and results stand on. Tests leave one of them out at a time, and must notice.

/// A rule, which every build keeps but one for tests that was told to leave it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A copy that is read has everything that its session has written and seen.
    Session,
    /// For a strong read the store is asked where it is.
    Strong,
    /// What is older than a read allows is not given to it.
    Bounded,
    /// What a transaction did is published for all tables at once.
    Whole,
    /// A copy is at a position when everything up to there has been applied.
    Applied,
    /// A result is given only as long as nothing has happened to its tables.
    Unchanged,
    /// The rows of a view follow from what its read may see of the copies below it.
    Follows,
    /// What a store has told of is in what was read of it only where the state that was read has it: it may not have been shown yet.
    Contained,
}

impl Rule {
    const WORDS: [(Self, &'static str); 8] = [
        (Self::Session, "session"),
        (Self::Strong, "strong"),
        (Self::Bounded, "bounded"),
        (Self::Whole, "whole"),
        (Self::Applied, "applied"),
        (Self::Unchanged, "unchanged"),
        (Self::Follows, "follows"),
        (Self::Contained, "contained"),
    ];

    /// The rule of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(rule, _)| *rule)
    }

    /// Whether it is kept by somebody who may have been told to leave one out. Release builds keep all of them.
    pub fn is_kept(self, without: Option<Self>) -> bool {
        !cfg!(debug_assertions) || without != Some(self)
    }
}
