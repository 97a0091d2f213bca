//! Random choices that are written down, so that the statement they led to can be made again, and made smaller.
//!
//! A statement is a function of its choices. Whoever takes choices away or makes them smaller and asks for the statement
//! again gets another, simpler one: shrinking needs to know nothing about SQL. That holds because 0 is the simplest choice
//! everywhere, and because choices that are missing are 0.

use super::random::Random;

/// Where choices come from, and which there were.
pub struct Choices {
    random: Option<Random>,
    tape: Vec<usize>,
    at: usize,
}

impl Choices {
    /// New ones.
    pub fn new(seed: u64) -> Self {
        Self { random: Some(Random::new(seed)), tape: Vec::new(), at: 0 }
    }

    /// Those of a tape, and 0 after its end.
    pub fn again(tape: &[usize]) -> Self {
        Self { random: None, tape: tape.to_vec(), at: 0 }
    }

    /// A number from 0 to `end`, without `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let chosen = match &mut self.random {
            Some(random) => {
                let chosen = random.below(end);
                self.tape.push(chosen);
                chosen
            }
            None => self.tape.get(self.at).map_or(0, |chosen| chosen % end),
        };
        self.at += 1;
        chosen
    }

    /// One of several, the first of which is the simplest.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// True in `percent` of all cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent
    }

    /// A number as likely as its weight.
    pub fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut drawn = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if drawn < *weight {
                return index;
            }
            drawn -= weight;
        }
        unreachable!("below gives less than the sum")
    }

    /// What was chosen so far.
    pub fn tape(&self) -> &[usize] {
        &self.tape[..self.at.min(self.tape.len())]
    }
}

/// Simpler tapes, the boldest first: without a run of choices, with a run of zeros, with one smaller choice.
pub fn simpler(tape: &[usize]) -> Vec<Vec<usize>> {
    let mut tapes = Vec::new();
    let mut size = tape.len().max(1);
    loop {
        for start in (0..tape.len()).step_by(size) {
            let end = (start + size).min(tape.len());
            if size < tape.len() {
                tapes.push([&tape[..start], &tape[end..]].concat());
            }
            if tape[start..end].iter().any(|chosen| *chosen > 0) {
                tapes.push([&tape[..start], &vec![0; end - start], &tape[end..]].concat());
            }
        }
        if size == 1 {
            break;
        }
        size = size.div_ceil(2);
    }
    for (index, chosen) in tape.iter().enumerate().filter(|(_, chosen)| **chosen > 1) {
        let mut smaller = tape.to_vec();
        smaller[index] = chosen / 2;
        tapes.push(smaller);
    }
    tapes
}

#[test]
fn choices_can_be_had_again() {
    let mut first = Choices::new(7);
    let chosen: Vec<usize> = (1..20).map(|end| first.below(end)).collect();
    let mut again = Choices::again(first.tape());
    assert_eq!((1..20).map(|end| again.below(end)).collect::<Vec<_>>(), chosen);
    assert_eq!(again.below(9), 0);
    assert!(!again.chance(99));
    assert_eq!(Choices::again(&[5]).weighted(&[2, 3, 4]), 2);
    assert!(simpler(&[3, 0]).contains(&vec![0]) && simpler(&[3, 0]).contains(&vec![1, 0]));
    assert!(simpler(&[0]).is_empty());
}
