//! PostgreSQL's regular expressions over the engine of the crates `regex` and `regex-automata`.
//!
//! ```text
//! parse, bracket   a pattern as PostgreSQL reads it → a tree (node)
//! judge            whether the engine's matches of a tree are PostgreSQL's
//! here             matching, with the longest or shortest end where the engine would take another
//! ```
//!
//! **Invariant:** a place or a group is never told that PostgreSQL would not tell; where that is not sure, it is refused.

mod bracket;
mod judge;
mod node;
mod parse;

use std::cell::{OnceCell, RefCell};
use std::ops::Range;

use regex_automata::nfa::thompson::pikevm::{Cache, PikeVM};
use regex_automata::nfa::thompson::{Compiler, Config, WhichCaptures};
use regex_automata::{Anchored, Input, MatchKind, meta};
use regex_syntax::hir::{Hir, Look};

use crate::error::{Diagnosis, sqlstate};

use node::Node;
use parse::{Options, unsupported};

/// The most that a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 10 << 20;
/// The same, times the groups of a pattern.
const GROUPS_BYTES_MAX: usize = 64 << 20;

/// A compiled pattern. Where matches end and how they are divided is judged when it is asked for: whether there is one needs neither.
pub(super) struct Pattern {
    engine: meta::Regex,
    node: Node,
    groups: u32,
    steps: judge::Steps,
    ends: OnceCell<Ends>,
    division: OnceCell<Division>,
}

/// Where a match ends that starts first.
enum Ends {
    /// Where the engine says.
    Alike,
    /// At the last place, or else at the first.
    Searched { all: PikeVM, cache: Box<RefCell<Cache>>, longest: bool },
}

/// What the groups of a match are.
enum Division {
    /// What the engine says of the same match.
    Alike,
    /// What this says of the text of the match alone.
    Alone(meta::Regex),
    /// Not known to be PostgreSQL's.
    Unknown,
}

impl Pattern {
    /// Compiles a pattern under PostgreSQL's flags; `g` is the caller's.
    ///
    /// # Errors
    /// 2201B for an invalid pattern, 22023 for an unknown flag, 0A000 for what is not supported.
    pub(super) fn new(pattern: &str, flags: &str) -> Result<Self, Diagnosis> {
        let mut options = Options::default();
        if let Some(other) = flags.chars().find(|flag| *flag != 'g' && !options.take(*flag)) {
            let message = format!("invalid regular expression option: \"{other}\"");
            return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
        let (node, groups) = parse::parse(pattern, options)?;
        let engine = compiled(&node.hir(), groups)?;
        let steps = judge::Steps::default();
        Ok(Self { engine, node, groups, steps, ends: OnceCell::new(), division: OnceCell::new() })
    }

    fn ends(&self) -> Result<&Ends, Diagnosis> {
        if let Some(known) = self.ends.get() {
            return Ok(known);
        }
        let ends = if judge::is_ordered(&self.node, &self.steps) { Ends::Alike } else { searched(&self.node)? };
        Ok(self.ends.get_or_init(|| ends))
    }

    fn division(&self) -> Result<&Division, Diagnosis> {
        if let Some(known) = self.division.get() {
            return Ok(known);
        }
        let is_ordered = matches!(self.ends()?, Ends::Alike);
        let division = match () {
            () if !judge::is_divided_alike(&self.node, &self.steps) => Division::Unknown,
            () if is_ordered => Division::Alike,
            () => alone(&self.node, self.groups)?.map_or(Division::Alike, Division::Alone),
        };
        Ok(self.division.get_or_init(|| division))
    }

    /// How many groups the pattern captures.
    pub(super) fn groups(&self) -> u32 {
        self.groups
    }

    /// Whether the text has a match.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.engine.is_match(text)
    }

    /// The match that starts first at or after a place.
    ///
    /// # Errors
    /// 0A000 where its end cannot be searched.
    pub(super) fn find(&self, text: &str, from: usize) -> Result<Option<Range<usize>>, Diagnosis> {
        Ok(self.found(self.ends()?, text, from))
    }

    fn found(&self, ends: &Ends, text: &str, from: usize) -> Option<Range<usize>> {
        let found = self.engine.find(Input::new(text).range(from..))?.range();
        let Ends::Searched { all, cache, longest } = ends else { return Some(found) };
        let input = Input::new(text).range(found.start..).anchored(Anchored::Yes).earliest(!*longest);
        let end = all.find(&mut cache.borrow_mut(), input).map_or(found.end, |other| other.end());
        Some(found.start..end)
    }

    /// The same with its groups; without groups in the pattern the whole match is the only one.
    ///
    /// # Errors
    /// 0A000 where PostgreSQL might divide the match otherwise.
    pub(super) fn captures(&self, text: &str, from: usize) -> Result<Option<Captured>, Diagnosis> {
        let Some(whole) = self.find(text, from)? else { return Ok(None) };
        if self.groups == 0 {
            return Ok(Some(Captured { groups: vec![Some(whole.clone())], whole }));
        }
        let (engine, input, offset) = match self.division()? {
            Division::Alike => (&self.engine, Input::new(text).range(whole.start..).anchored(Anchored::Yes), 0),
            Division::Alone(engine) => (engine, Input::new(text.get(whole.clone()).unwrap_or_default()), whole.start),
            Division::Unknown => return Err(ambiguous()),
        };
        let mut captures = engine.create_captures();
        engine.search_captures(&input, &mut captures);
        let place = |index: usize| captures.get_group(index).map(|span| span.start + offset..span.end + offset);
        if place(0).as_ref() != Some(&whole) {
            return Err(ambiguous());
        }
        let groups = (1..=usize::try_from(self.groups).unwrap_or(0)).map(place).collect();
        Ok(Some(Captured { groups, whole }))
    }

    /// All matches, as functions with the flag `g` find them: an empty one may follow the match before it.
    ///
    /// # Errors
    /// 0A000 where their ends cannot be searched.
    pub(super) fn find_all<'t>(&'t self, text: &'t str) -> Result<impl Iterator<Item = Range<usize>> + 't, Diagnosis> {
        let ends = self.ends()?;
        let mut from = Some(0);
        Ok(std::iter::from_fn(move || {
            let found = self.found(ends, text, from?)?;
            from = next_start(text, &found);
            Some(found)
        }))
    }
}

/// A match and its groups.
pub(super) struct Captured {
    pub(super) whole: Range<usize>,
    pub(super) groups: Vec<Option<Range<usize>>>,
}

/// Where the search goes on after a match; `None` after the end of the text.
pub(super) fn next_start(text: &str, found: &Range<usize>) -> Option<usize> {
    if !found.is_empty() {
        return Some(found.end);
    }
    text.get(found.end..)?.chars().next().map(|letter| found.end + letter.len_utf8())
}

fn ambiguous() -> Diagnosis {
    let message = "groups of a regular expression that can divide a match in several ways are not supported yet";
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
}

/// The engine keeps the places of all groups for every state, so that many groups leave room for few states.
fn compiled(hir: &Hir, groups: u32) -> Result<meta::Regex, Diagnosis> {
    let share = GROUPS_BYTES_MAX / usize::try_from(groups).unwrap_or(usize::MAX).saturating_add(1);
    meta::Regex::builder()
        .configure(meta::Regex::config().nfa_size_limit(Some(PATTERN_BYTES_MAX.min(share))))
        .build_from_hir(hir)
        .map_err(|_cause: meta::BuildError| unsupported("so much"))
}

fn searched(node: &Node) -> Result<Ends, Diagnosis> {
    let nfa = Compiler::new()
        .configure(Config::new().which_captures(WhichCaptures::Implicit).nfa_size_limit(Some(PATTERN_BYTES_MAX)))
        .build_from_hir(&node.hir())
        .map_err(|_cause| unsupported("so much"))?;
    let all = PikeVM::builder()
        .configure(PikeVM::config().match_kind(MatchKind::All))
        .build_from_nfa(nfa)
        .map_err(|_cause| unsupported("so much"))?;
    let cache = Box::new(RefCell::new(all.create_cache()));
    Ok(Ends::Searched { all, cache, longest: judge::prefers_long(node) != Some(false) })
}

/// The pattern for the text of a match alone. Places at its ends are as they were found; `None` where there are others, which
/// would look at what is around it.
fn alone(node: &Node, groups: u32) -> Result<Option<meta::Regex>, Diagnosis> {
    let mut parts: &[Node] = match node {
        Node::Concat(parts) => parts,
        other => std::slice::from_ref(other),
    };
    while let [Node::Look(_), rest @ ..] | [rest @ .., Node::Look(_)] = parts {
        parts = rest;
    }
    let inner = Node::Concat(parts.to_vec());
    if inner.any(&|node| matches!(node, Node::Look(_))) {
        return Ok(None);
    }
    compiled(&Hir::concat(vec![Hir::look(Look::Start), inner.hir(), Hir::look(Look::End)]), groups).map(Some)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn groups(pattern: &str, text: &str) -> String {
        match Pattern::new(pattern, "").and_then(|pattern| pattern.captures(text, 0)) {
            Ok(None) => "none".to_owned(),
            Ok(Some(found)) => {
                let part = |place: Option<Range<usize>>| place.map_or("NULL", |place| &text[place]);
                found.groups.into_iter().map(part).collect::<Vec<_>>().join(",")
            }
            Err(error) => error.sqlstate,
        }
    }

    #[test]
    fn matches_are_the_longest_of_those_that_start_first() {
        let rows = [
            ("R|Rhi", "Rhine", "Rhi"),
            ("a|ab|abc", "xabcd", "abc"),
            ("(?:a?)(?:ab)?", "ab", "ab"),
            ("a*?", "aaa", ""),
            ("<.*?>", "<a><b>", "<a>"),
            ("<.*>", "<a><b>", "<a><b>"),
            ("(?:a|ab)x*?", "abxx", "abxx"),
            ("x??(?:a|ab)", "ab", "a"),
            ("first.second", "first\nsecond", "first\nsecond"),
            ("[^a]", "\n", "\n"),
            ("(?n)a.b", "a\nb", "none"),
            ("\\mab\\M", "cab ab", "ab"),
            ("\\Aab\\Z", "ab", "ab"),
            ("\\yb", "ab b", "b"),
            ("***=a.b", "axb a.b", "a.b"),
            ("(?i)k", "\u{212a}K", "K"),
            ("(?x) a b # c", "ab", "ab"),
            ("[]a-]+", "b]-a", "]-a"),
            ("[[:alpha:]]+", "1é2", "é"),
            ("{", "a{", "{"),
            ("\\x41", "A", "A"),
        ];
        for (pattern, text, expected) in rows {
            assert_eq!(groups(pattern, text), expected, "{pattern}");
        }
    }

    #[test]
    fn groups_are_told_where_they_are_sure() {
        let rows = [
            ("(o+)(b)", "foobar", "oo,b"),
            ("(\\d{4})(\\d{2})(\\d{2})", "20240229", "2024,02,29"),
            ("^(.*)@(.*)$", "a@b@c", "a@b,c"),
            ("(.*)/(.*)", "a/b/c", "a/b,c"),
            ("^(\\w+)\\s+(\\w+)", "one two", "one,two"),
            ("<(.*?)>", "<a><b>", "a"),
            ("^(.*?)-(.*)$", "a-b-c", "a,b-c"),
            ("(.*?)(\\d+)(.*)", "abc01234xyz", "abc,0,"),
            ("(https?)://([^/]+)(/.*)?", "http://a.b", "http,a.b,NULL"),
            ("(^|,)(\\w+)", "a,b", ",a"),
            ("(a|b)c", "xbc", "b"),
            ("(ab)+", "ababx", "ab"),
            ("(a|ab)(c|bcd)(d*)", "abcd", "ab,c,d"),
            ("(GET|POST|PUT|DELETE) (\\S+)", "PUT /x", "PUT,/x"),
            ("(Mr|Mrs|Ms)\\.? (\\w+)", "Mrs Smith", "Mrs,Smith"),
            ("(|a)(ab|b)", "ab", "a,b"),
            ("(a|ab?)(c|bcd)(d*)", "abcd", "0A000"),
            ("(a|ab)+", "abab", "0A000"),
            ("((a)|b)*", "ab", "0A000"),
            ("(a*)*", "b", "0A000"),
        ];
        for (pattern, text, expected) in rows {
            assert_eq!(groups(pattern, text), expected, "{pattern}");
        }
    }

    #[test]
    fn mistakes_are_told_from_what_is_not_supported() {
        for pattern in
            ["(", ")", "*", "a**", "[z-a]", "[a", "a{2,1}", "a{256}", "a{1", "\\", "\\q", "[[:x:]]", "(?<a)", "\\1", "(?=a", "^*"]
        {
            assert_eq!(groups(pattern, "a"), "2201B", "{pattern}");
        }
        for pattern in ["(ab)\\1", "f(?=o)", "foo(?!bar)", "(?<=a)b", "(?e)a", "[[.hyphen.]]"] {
            assert_eq!(groups(pattern, "a"), "0A000", "{pattern}");
        }
    }

    #[test]
    fn empty_matches_may_follow_a_match() {
        let pattern = Pattern::new("a*", "g").unwrap();
        let found: Vec<_> = pattern.find_all("baaac").unwrap().collect();
        assert_eq!(found, [0..0, 1..4, 4..4, 5..5]);
    }

    #[test]
    fn whether_there_is_a_match_is_told_unjudged() {
        for (pattern, text) in [("a|ab|abc", "xab"), ("((a)|b)*", "b"), ("(a*)*", "")] {
            let pattern = Pattern::new(pattern, "").unwrap();
            assert!(pattern.is_match(text));
            assert!(pattern.ends.get().is_none() && pattern.division.get().is_none());
        }
    }

    #[test]
    fn short_patterns_take_no_long_time_and_no_large_memory() {
        let started = Instant::now();
        let counted = format!("{}{}", "(".repeat(6), "){255}".repeat(6));
        let rows = [counted, "(a?)".repeat(4_000), "(a)".repeat(5_400), "\\w".repeat(8_000), format!("[{}]", "\\w".repeat(8_000))];
        for pattern in &rows {
            match Pattern::new(pattern, "").and_then(|pattern| pattern.find("aaa", 0)) {
                Ok(found) => assert!(found.is_some(), "{pattern:.40}"),
                Err(error) => assert_eq!(error.sqlstate, "0A000", "{pattern:.40}"),
            }
        }
        let ranges = "[!-\u{10ffff}]".repeat(800);
        assert_eq!(Pattern::new(&ranges, "i").err().map(|error| error.sqlstate), Some("0A000".to_owned()));
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }

    #[test]
    fn ranges_of_sets_are_counted_while_they_are_read() {
        for (pattern, expected) in [
            ("\\d".repeat(8), None),
            ("\\w".repeat(8_000), Some("0A000")),
            (format!("[{}]", "\\w".repeat(8_000)), Some("0A000")),
            (format!("[{}]", "[:alpha:]".repeat(1_800)), Some("0A000")),
        ] {
            let found = parse::parse(&pattern, Options::default()).err().map(|error| error.sqlstate);
            assert_eq!(found.as_deref(), expected, "{pattern:.20}");
        }
    }
}
