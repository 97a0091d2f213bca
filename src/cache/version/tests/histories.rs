//! Random histories against a map.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{NULL, UNTOLD, batch, contents, empty, key_batch, push, texts};
use crate::cache::version::TableVersion;
use crate::stores::change::Operation::{self, Delete, Insert, Update};
use crate::stores::change::Rows;
use crate::stores::change::builder::RowsBuilder;

/// Rows by their keys, as texts.
type Model = BTreeMap<(i64, String), (String, String)>;

/// Random transactions over few keys.
struct Story {
    random: StdRng,
    model: Model,
    /// Of which rows each change is, and its number there.
    told: Vec<(usize, u32)>,
    builders: Vec<RowsBuilder>,
}

impl Story {
    fn below(&mut self, bound: usize) -> usize {
        self.random.random_range(0..bound)
    }

    fn any_key(&mut self) -> (i64, String) {
        let text = ["x", "y", "a text that is longer than what is kept in place"][self.below(3)];
        (self.random.random_range(0..40), text.to_owned())
    }

    fn a_key_that_is(&mut self, there: bool) -> Option<(i64, String)> {
        for _ in 0..20 {
            let key = self.any_key();
            if self.model.contains_key(&key) == there {
                return Some(key);
            }
        }
        None
    }

    fn value(&mut self) -> (String, String) {
        let note = if self.below(5) == 0 { NULL.to_owned() } else { format!("note {}", self.below(1_000)) };
        (note, self.below(1_000).to_string())
    }

    fn tell(&mut self, operation: Operation, new: Option<(&(i64, String), &str, &str)>, old: Option<&[&str]>) {
        let place = self.below(self.builders.len());
        let number = new.map(|((a, _), _, _)| a.to_string()).unwrap_or_default();
        let row: Vec<&str> = new.map(|((_, b), note, n)| vec![number.as_str(), b.as_str(), note, n]).unwrap_or_default();
        let row = push(&mut self.builders[place], operation, &row, old);
        self.told.push((place, row));
    }

    /// A row takes another key, or keeps it, and perhaps does not tell its note. The model is changed by the caller.
    fn change(&mut self, from: &(i64, String), to: &(i64, String), before: &(String, String)) -> (String, String) {
        let (mut note, n) = self.value();
        let is_untold = self.below(2) == 0;
        if is_untold {
            note.clone_from(&before.0);
        }
        let told = if is_untold { UNTOLD } else { note.as_str() };
        let a = from.0.to_string();
        let whole = [a.as_str(), from.1.as_str(), before.0.as_str(), before.1.as_str()];
        let old = match self.below(3) {
            0 if from == to => None,
            1 => Some(&whole[..]),
            _ => Some(&whole[..2]),
        };
        self.tell(Update, Some((to, told, n.as_str())), old);
        (note, n)
    }

    fn step(&mut self) {
        match self.below(8) {
            0 | 1 => {
                // Mostly new, sometimes there: a fill has seen it.
                let is_there = self.below(5) == 0;
                let Some(key) = self.a_key_that_is(is_there) else { return };
                let value = self.value();
                self.tell(Insert, Some((&key, value.0.as_str(), value.1.as_str())), None);
                self.model.insert(key, value);
            }
            2 | 3 => {
                let Some(key) = self.a_key_that_is(true) else { return };
                let before = self.model[&key].clone();
                let after = self.change(&key, &key, &before);
                self.model.insert(key, after);
            }
            4 => {
                let (Some(from), Some(to)) = (self.a_key_that_is(true), self.a_key_that_is(false)) else { return };
                let before = self.model.remove(&from).unwrap();
                let after = self.change(&from, &to, &before);
                self.model.insert(to, after);
            }
            5 => self.exchange(),
            _ => {
                let is_there = self.below(5) != 0;
                let Some(key) = self.a_key_that_is(is_there) else { return };
                let a = key.0.to_string();
                self.tell(Delete, None, Some(&[a.as_str(), key.1.as_str()]));
                self.model.remove(&key);
            }
        }
    }

    /// Some rows take the keys of one another, in a circle.
    fn exchange(&mut self) {
        let count = 2 + self.below(3);
        let keys: BTreeSet<(i64, String)> = (0..count).filter_map(|_| self.a_key_that_is(true)).collect();
        let keys: Vec<(i64, String)> = keys.into_iter().collect();
        if keys.len() < 2 {
            return;
        }
        let mut after = Vec::new();
        for (at, from) in keys.iter().enumerate() {
            let to = &keys[(at + 1) % keys.len()];
            let before = self.model[from].clone();
            after.push((to.clone(), self.change(from, to, &before)));
        }
        self.model.extend(after);
    }

    /// A transaction, or some.
    fn next(&mut self, version: &TableVersion) -> TableVersion {
        self.builders = (0..3).map(|_| RowsBuilder::new(version.shape())).collect();
        self.told.clear();
        for _ in 0..=self.below(40) {
            self.step();
        }
        let rows: Vec<Rows> = self.builders.iter_mut().map(|builder| builder.finish().unwrap()).collect();
        let changes: Vec<(&Rows, u32)> = self.told.iter().map(|(place, row)| (&rows[*place], *row)).collect();
        version.applied(&changes).unwrap()
    }

    /// Rows of a fill.
    fn fill(&mut self, version: &TableVersion) -> TableVersion {
        let rows: Vec<_> = (0..self.below(30)).map(|_| (self.any_key(), self.below(1_000))).collect();
        let batch = batch(&rows.iter().map(|((a, b), n)| (*a, b.as_str(), None, i64::try_from(*n).unwrap())).collect::<Vec<_>>());
        self.model.extend(rows.into_iter().map(|(key, n)| (key, (NULL.to_owned(), n.to_string()))));
        version.filled(&batch).unwrap()
    }
}

fn check(version: &TableVersion, model: &Model, batch_rows: usize) {
    let row = |((a, b), (note, n)): (&(i64, String), &(String, String))| vec![a.to_string(), b.clone(), note.clone(), n.clone()];
    let expected: BTreeSet<Vec<String>> = model.iter().map(row).collect();
    assert_eq!(contents(version, batch_rows), expected);
    assert_eq!(version.rows(), model.len());
    let keys: Vec<(i64, &str)> = model.keys().map(|(a, b)| (*a, b.as_str())).collect();
    let found = version.look_up(&key_batch(&keys), &[0, 1, 2, 3]).unwrap();
    assert_eq!(texts(&found), model.iter().map(row).collect::<Vec<_>>());
    assert!(version.chunks.held() <= 2 * version.rows());
}

#[test]
fn random_histories_end_as_a_map_does() {
    for seed in 0..24 {
        let random = StdRng::seed_from_u64(seed);
        let mut story = Story { random, model: Model::new(), told: Vec::new(), builders: Vec::new() };
        let (mut version, mut kept) = (empty(), Vec::new());
        for step in 0..40 {
            version = if story.below(8) == 0 { story.fill(&version) } else { story.next(&version) };
            let batch_rows = 1 + story.below(20);
            check(&version, &story.model, batch_rows);
            if step % 8 == 0 {
                kept.push((version.clone(), story.model.clone()));
            }
        }
        // What was published stays as it was.
        for (version, model) in kept {
            check(&version, &model, 16);
        }
    }
}
