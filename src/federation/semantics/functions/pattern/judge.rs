//! Where the engine's matches are PostgreSQL's.
//!
//! PostgreSQL takes the longest of the matches that start first (the shortest where the first quantifier is non-greedy), and
//! divides it among the parts from the left, each as long as possible (manual, "Regular Expression Matching Rules"). The engine
//! takes the first that it comes to, trying branches and counts in their order of preference.

use regex_syntax::hir::ClassUnicode;

use super::node::Node;

/// More letters than this in a pattern are not looked at.
const LETTERS_MAX: usize = 300;
/// Most visits of the parts of a pattern: a count visits its body anew for every round, and bodies stand inside each other.
const STEPS_MAX: usize = 10_000;

/// Whether long matches are preferred to short ones; `None` where there is nothing to prefer.
pub(super) fn prefers_long(node: &Node) -> Option<bool> {
    match node {
        Node::Letter(_) | Node::Look(_) => None,
        Node::Group(_, inner) => prefers_long(inner),
        Node::Concat(parts) => parts.iter().find_map(prefers_long),
        Node::Alternation(_) => Some(true),
        Node::Repeat { body, longest, .. } => longest.or_else(|| prefers_long(body)),
    }
}

/// Whether the engine comes to the matches from one place in the order of their lengths, the preferred one first.
pub(super) fn is_ordered(node: &Node) -> bool {
    if node.is_fixed() {
        return true;
    }
    if let Some(longest) = only_count(node) {
        return prefers_long(node) == Some(longest);
    }
    let is_lazy = |node: &Node| matches!(node, Node::Repeat { longest: Some(false), .. });
    // A branch that may be empty would be tried before those behind it.
    let hides = |node: &Node| match node {
        Node::Alternation(branches) => branches.iter().rev().skip(1).any(Node::is_nullable),
        _ => false,
    };
    !node.any(&is_lazy) && !node.any(&hides) && is_unambiguous(node)
}

/// The preference of the only quantifier that makes a difference in length.
fn only_count(node: &Node) -> Option<bool> {
    match node {
        Node::Group(_, inner) => only_count(inner),
        Node::Concat(parts) => {
            let mut varying = parts.iter().filter(|part| !part.is_fixed());
            let only = varying.next()?;
            if varying.next().is_none() { only_count(only) } else { None }
        }
        Node::Repeat { body, longest, .. } if body.is_fixed() && !body.is_nullable() => *longest,
        _ => None,
    }
}

/// Whether a match of known start and end is divided into groups as PostgreSQL divides it.
pub(super) fn is_divided_alike(node: &Node) -> bool {
    if !node.has_groups() || (is_unambiguous(node) && !node.any(&forgets)) {
        return true;
    }
    match node {
        Node::Letter(_) | Node::Look(_) => true,
        Node::Group(_, inner) => is_divided_alike(inner),
        Node::Alternation(branches) => branches.iter().all(is_divided_alike),
        Node::Repeat { body, max, .. } => max.is_some_and(|max| max <= 1) && !body.is_nullable() && is_divided_alike(body),
        Node::Concat(parts) => {
            // What stands between groups is measured as one.
            let mut lumps: Vec<Node> = Vec::new();
            for part in parts {
                match lumps.last_mut() {
                    Some(Node::Concat(lump)) if !part.has_groups() && !lump.iter().any(Node::has_groups) => lump.push(part.clone()),
                    _ => lumps.push(Node::Concat(vec![part.clone()])),
                }
            }
            let last = lumps.pop();
            let alone = |lump: &Node| match lump {
                Node::Concat(parts) => parts.iter().all(is_divided_alike),
                other => is_divided_alike(other),
            };
            lumps.iter().all(|lump| is_ordered(lump) && alone(lump)) && last.is_none_or(|last| alone(&last))
        }
    }
}

/// A repetition of groups that not every round has: PostgreSQL shows those of the last round, the engine those of an earlier
/// one too.
fn forgets(node: &Node) -> bool {
    let Node::Repeat { body, max, .. } = node else { return false };
    let may_miss = |inner: &Node| match inner {
        Node::Alternation(_) | Node::Repeat { min: 0, .. } => inner.has_groups(),
        _ => false,
    };
    max.is_none_or(|max| max > 1) && body.any(&may_miss)
}

/// Whether every text has at most one way to match, which is told at each letter by that letter alone.
fn is_unambiguous(node: &Node) -> bool {
    let mut letters = Letters::default();
    let Some(part) = letters.add(node) else { return false };
    std::iter::once(&part.first).chain(&letters.follow).all(|places| letters.are_apart(places))
}

/// The letters of a pattern, and which may come after which.
#[derive(Default)]
struct Letters<'n> {
    sets: Vec<&'n ClassUnicode>,
    follow: Vec<Vec<usize>>,
    steps: usize,
}

/// The letters that a part may begin and end with.
#[derive(Default)]
struct Part {
    first: Vec<usize>,
    last: Vec<usize>,
    /// The ends of the round of a repetition that was added last.
    recent: Vec<usize>,
    is_nullable: bool,
}

impl<'n> Letters<'n> {
    /// Adds a part; `None` where there are two ways to the same letters.
    fn add(&mut self, node: &'n Node) -> Option<Part> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return None;
        }
        match node {
            Node::Letter(set) => {
                let place = self.sets.len();
                self.sets.push(set);
                self.follow.push(Vec::new());
                (place < LETTERS_MAX).then(|| Part { first: vec![place], last: vec![place], ..Part::default() })
            }
            Node::Look(_) => Some(Part { is_nullable: true, ..Part::default() }),
            Node::Group(_, inner) => self.add(inner),
            Node::Concat(parts) => {
                let mut all = Part { is_nullable: true, ..Part::default() };
                for part in parts {
                    let part = self.add(part)?;
                    all = self.join(all, part)?;
                }
                Some(all)
            }
            Node::Alternation(branches) => {
                let mut all = Part::default();
                for branch in branches {
                    let part = self.add(branch)?;
                    if part.is_nullable && all.is_nullable {
                        return None;
                    }
                    all.first.extend(part.first);
                    all.last.extend(part.last);
                    all.is_nullable |= part.is_nullable;
                }
                Some(all)
            }
            Node::Repeat { body, min, max, .. } => self.repeat(body, *min, *max),
        }
    }

    /// `xx…` as often as must be, and then `(x(x…)?)?` or, without a limit, a loop.
    fn repeat(&mut self, body: &'n Node, min: u32, max: Option<u32>) -> Option<Part> {
        let mut all = Part { is_nullable: true, ..Part::default() };
        let is_optional = max.is_none_or(|max| max > min);
        if is_optional && body.is_nullable() {
            return None;
        }
        let copies = max.unwrap_or(min.max(1));
        for round in 1..=copies {
            let part = self.add(body)?;
            if max.is_none() && round == copies {
                for place in &part.last {
                    self.follows(*place, &part.first)?;
                }
            }
            if round <= min {
                all = self.join(all, part)?;
                continue;
            }
            // A further round follows the one before it only, so that leaving out stays a single way.
            let (earlier, ends) = (all.last.clone(), all.is_nullable);
            let newest = if round == min + 1 { earlier } else { std::mem::take(&mut all.recent) };
            for place in &newest {
                self.follows(*place, &part.first)?;
            }
            if round == min + 1 && ends {
                all.first.extend(&part.first);
            }
            all.recent = part.last.clone();
            all.last.extend(part.last);
        }
        Some(all)
    }

    fn join(&mut self, before: Part, after: Part) -> Option<Part> {
        for place in &before.last {
            self.follows(*place, &after.first)?;
        }
        let mut joined = Part { is_nullable: before.is_nullable && after.is_nullable, ..Part::default() };
        joined.first = before.first;
        if before.is_nullable {
            joined.first.extend(after.first);
        }
        joined.last = after.last;
        if after.is_nullable {
            joined.last.extend(before.last);
        }
        Some(joined)
    }

    fn follows(&mut self, place: usize, next: &[usize]) -> Option<()> {
        let known = self.follow.get_mut(place)?;
        if next.iter().any(|place| known.contains(place)) {
            return None;
        }
        known.extend(next);
        Some(())
    }

    /// Whether no character is in the sets of two of these.
    fn are_apart(&self, places: &[usize]) -> bool {
        let mut seen = ClassUnicode::empty();
        places.iter().filter_map(|place| self.sets.get(*place)).all(|set| {
            let mut common = seen.clone();
            common.intersect(set);
            seen.union(set);
            common.ranges().is_empty()
        })
    }
}
