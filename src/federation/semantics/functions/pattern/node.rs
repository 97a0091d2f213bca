//! The tree of a regular expression, and the same for the engine.

use regex_syntax::hir::{Capture, Class, ClassUnicode, Hir, Look, Repetition};

/// A part of a regular expression.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// One character of a set.
    Letter(ClassUnicode),
    /// A place, without characters.
    Look(Look),
    /// What is captured.
    Group(u32, Box<Node>),
    /// One after the other; none is the empty text.
    Concat(Vec<Node>),
    /// Two or more branches.
    Alternation(Vec<Node>),
    /// A quantifier.
    Repeat {
        body: Box<Node>,
        min: u32,
        max: Option<u32>,
        /// Whether more is preferred to less; `None` for `{m}`, which leaves that to its operand.
        longest: Option<bool>,
    },
}

impl Node {
    /// The engine's form.
    pub(super) fn hir(&self) -> Hir {
        match self {
            Self::Letter(set) => Hir::class(Class::Unicode(set.clone())),
            Self::Look(look) => Hir::look(*look),
            Self::Group(index, inner) => Hir::capture(Capture { index: *index, name: None, sub: Box::new(inner.hir()) }),
            Self::Concat(parts) => Hir::concat(parts.iter().map(Self::hir).collect()),
            Self::Alternation(branches) => Hir::alternation(branches.iter().map(Self::hir).collect()),
            Self::Repeat { body, min, max, longest } => {
                Hir::repetition(Repetition { min: *min, max: *max, greedy: *longest != Some(false), sub: Box::new(body.hir()) })
            }
        }
    }

    /// The fewest characters of a match, and the most.
    pub(super) fn width(&self) -> (u64, Option<u64>) {
        match self {
            Self::Letter(_) => (1, Some(1)),
            Self::Look(_) => (0, Some(0)),
            Self::Group(_, inner) => inner.width(),
            Self::Concat(parts) => parts.iter().map(Self::width).fold((0, Some(0)), |(min, max), (low, high)| {
                (min.saturating_add(low), max.zip(high).map(|(max, high)| max.saturating_add(high)))
            }),
            Self::Alternation(branches) => branches
                .iter()
                .map(Self::width)
                .reduce(|(min, max), (low, high)| (min.min(low), max.zip(high).map(|(max, high)| max.max(high))))
                .unwrap_or((0, Some(0))),
            Self::Repeat { body, min, max, .. } => {
                let (low, high) = body.width();
                let most = match (max, high) {
                    (_, Some(0)) | (Some(0), _) => Some(0),
                    (Some(max), Some(high)) => Some(high.saturating_mul(u64::from(*max))),
                    _ => None,
                };
                (low.saturating_mul(u64::from(*min)), most)
            }
        }
    }

    /// Whether all matches have one length.
    pub(super) fn is_fixed(&self) -> bool {
        let (min, max) = self.width();
        max == Some(min)
    }

    /// Whether the empty text may match.
    pub(super) fn is_nullable(&self) -> bool {
        self.width().0 == 0
    }

    /// Whether nothing in it is told of a match but its length, which is always one.
    pub(super) fn is_plain(&self) -> bool {
        self.is_fixed() && !self.has_groups()
    }

    /// What stands directly inside.
    pub(super) fn children(&self) -> &[Self] {
        match self {
            Self::Letter(_) | Self::Look(_) => &[],
            Self::Group(_, inner) | Self::Repeat { body: inner, .. } => std::slice::from_ref(inner.as_ref()),
            Self::Concat(parts) | Self::Alternation(parts) => parts,
        }
    }

    /// Whether this or something inside is as the test says.
    pub(super) fn any(&self, test: &dyn Fn(&Self) -> bool) -> bool {
        test(self) || self.children().iter().any(|child| child.any(test))
    }

    /// Whether anything is captured.
    pub(super) fn has_groups(&self) -> bool {
        self.any(&|node| matches!(node, Self::Group(..)))
    }
}
