//! Where the engine's matches are PostgreSQL's.
//!
//! PostgreSQL takes the longest of the matches that start first (the shortest where the first quantifier is non-greedy), and
//! divides it among the parts from the left, each as long as possible (manual, "Regular Expression Matching Rules"). The engine
//! takes the first that it comes to, trying branches and counts in their order of preference.

use std::cell::Cell;
use std::collections::BTreeSet;

use regex_syntax::hir::ClassUnicode;

use super::node::Node;

/// More letters than this in a pattern are not looked at.
const LETTERS_MAX: usize = 300;
/// Most visits of the parts of a pattern: a count visits its body anew for every round, and bodies stand inside each other.
const STEPS_MAX: usize = 10_000;
/// Most visits, and ranges of letters looked at, until a pattern is judged: each group is judged anew with all that is inside.
const JUDGED_MAX: usize = 4_000_000;

/// What may still be looked at to judge one pattern. When nothing is left, nothing more is held to be sure.
pub(super) struct Steps(Cell<usize>);

impl Default for Steps {
    fn default() -> Self {
        Self(Cell::new(JUDGED_MAX))
    }
}

impl Steps {
    fn take(&self, count: usize) -> Option<()> {
        let left = self.0.get().checked_sub(count);
        self.0.set(left.unwrap_or(0));
        left.map(|_| ())
    }
}

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
pub(super) fn is_ordered(node: &Node, steps: &Steps) -> bool {
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
    !node.any(&is_lazy) && !node.any(&hides) && is_unambiguous(node, steps)
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
        // They stand with the longest first.
        Node::Alternation(branches) if branches.iter().all(Node::is_plain) => Some(true),
        _ => None,
    }
}

/// Whether a match of known start and end is divided into groups as PostgreSQL divides it.
pub(super) fn is_divided_alike(node: &Node, steps: &Steps) -> bool {
    if !node.has_groups() || (is_unambiguous(node, steps) && !forgets(node, false)) {
        return true;
    }
    match node {
        Node::Letter(_) | Node::Look(_) => true,
        Node::Group(_, inner) => is_divided_alike(inner, steps),
        Node::Alternation(branches) => branches.iter().all(|branch| is_divided_alike(branch, steps)),
        Node::Repeat { body, max, .. } => max.is_some_and(|max| max <= 1) && !body.is_nullable() && is_divided_alike(body, steps),
        Node::Concat(parts) => {
            // What stands between groups is measured as one.
            let lumps: Vec<&[Node]> = parts.chunk_by(|one, next| !one.has_groups() && !next.has_groups()).collect();
            let measured = lumps.len().saturating_sub(1);
            lumps.iter().take(measured).all(|lump| is_lump_ordered(lump, steps))
                && parts.iter().all(|part| is_divided_alike(part, steps))
        }
    }
}

fn is_lump_ordered(lump: &[Node], steps: &Steps) -> bool {
    match lump {
        [only] => is_ordered(only, steps),
        several => is_ordered(&Node::Concat(several.to_vec()), steps),
    }
}

/// Whether it holds a repetition of groups that not every round has: PostgreSQL shows those of the last round, the engine those of
/// an earlier one too.
fn forgets(node: &Node, is_repeated: bool) -> bool {
    if is_repeated && matches!(node, Node::Alternation(_) | Node::Repeat { min: 0, .. }) {
        return node.has_groups();
    }
    let repeats = matches!(node, Node::Repeat { max, .. } if max.is_none_or(|max| max > 1));
    node.children().iter().any(|child| forgets(child, is_repeated || repeats))
}

/// Whether every text has at most one way to match, which is told at each letter by that letter alone.
fn is_unambiguous(node: &Node, steps: &Steps) -> bool {
    let mut letters = Letters { sets: Vec::new(), follow: Vec::new(), steps: 0, left: steps };
    let Some(part) = letters.add(node) else { return false };
    let mut lists = letters.follow.iter();
    letters.are_apart(&mut part.first.iter()) && lists.all(|places| letters.are_apart(&mut places.iter()))
}

/// The letters of a pattern, and which may come after which.
struct Letters<'n> {
    sets: Vec<&'n ClassUnicode>,
    follow: Vec<BTreeSet<usize>>,
    steps: usize,
    left: &'n Steps,
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
        self.left.take(1)?;
        if self.steps > STEPS_MAX {
            return None;
        }
        match node {
            Node::Letter(set) => {
                let place = self.sets.len();
                self.sets.push(set);
                self.follow.push(BTreeSet::new());
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
        self.left.take(next.len().saturating_add(1))?;
        let known = self.follow.get_mut(place)?;
        next.iter().all(|place| known.insert(*place)).then_some(())
    }

    /// Whether no character is in the sets of two of these; `false` where it is not looked at any more.
    fn are_apart(&self, places: &mut dyn ExactSizeIterator<Item = &usize>) -> bool {
        if places.len() < 2 {
            return true;
        }
        let sets: Vec<&ClassUnicode> = places.filter_map(|place| self.sets.get(*place).copied()).collect();
        let count = sets.iter().map(|set| set.ranges().len()).fold(0, usize::saturating_add);
        if self.left.take(count).is_none() {
            return false;
        }
        let mut ranges: Vec<(char, char)> =
            sets.iter().flat_map(|set| set.ranges()).map(|range| (range.start(), range.end())).collect();
        ranges.sort_unstable();
        // The ranges of one set do not touch each other, so the first that overlap are neighbours.
        ranges.windows(2).all(|pair| matches!(pair, [(_, end), (start, _)] if end < start))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::parse::{Options, parse};
    use super::*;

    /// `(?:[…]|[…]|…)*zz?z` with as many sets of letters that are in no other, and not beside each other.
    fn wide(sets: u32, groups: usize) -> Node {
        let letter = |place: u32| char::from_u32(0x4e00 + 2 * place).unwrap();
        let sets: Vec<String> =
            (0..sets).map(|set| format!("[{}]", (0..12).map(|place| letter(set * 12 + place)).collect::<String>())).collect();
        let pattern = format!("{}(?:{})*zz?z{}", "(".repeat(groups), sets.join("|"), ")".repeat(groups));
        parse(&pattern, Options::default()).unwrap().0
    }

    #[test]
    fn judging_ends_however_deep_the_groups_are() {
        let started = Instant::now();
        let (node, steps) = (wide(295, 95), Steps::default());
        assert!(!is_ordered(&node, &steps));
        // Each group is the whole match, which needs no judging.
        assert!(is_divided_alike(&node, &steps));
        assert_eq!(steps.0.get(), 0);
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    }

    #[test]
    fn what_is_looked_at_is_counted_over_all_groups() {
        let spent = |node: &Node| {
            let steps = Steps::default();
            is_divided_alike(node, &steps);
            JUDGED_MAX - steps.0.get()
        };
        let (one, two) = (spent(&wide(20, 1)), spent(&wide(20, 2)));
        assert!(one > 20 * 20 * 12 && two > one + 20 * 20 * 12, "{one} {two}");
    }

    #[test]
    fn sets_of_letters_are_apart_or_not() {
        let rows = [
            ("(?:a|b)*", true),
            ("(?:[a-f]|[g-m]|n)*", true),
            ("(?:[a-m]|[c-d]|n)*", false),
            ("(?:[ax]|[bx])*", false),
            ("(?:[acegi]|[bdfh])*", true),
            ("a*a", false),
            ("a*b", true),
            ("(?:[a-c]|c)", false),
        ];
        for (pattern, expected) in rows {
            let node = parse(pattern, Options::default()).unwrap().0;
            assert_eq!(is_unambiguous(&node, &Steps::default()), expected, "{pattern}");
        }
    }
}
