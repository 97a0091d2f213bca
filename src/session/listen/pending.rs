//! What LISTEN, UNLISTEN and NOTIFY have asked for in a transaction that has not ended: it happens when that is committed, and does not
//! when it is not.

use std::collections::BTreeSet;

use super::Heard;
use crate::changes::channel::Note;
use crate::error::{Diagnosis, sqlstate};

/// Most LISTEN and UNLISTEN of one transaction.
const WISHES_MAX: usize = 10_000;
/// Most bytes of what one transaction notifies of.
const NOTE_BYTES_MAX: usize = 8 << 20;

/// A change of what a session listens to.
#[derive(Debug)]
pub enum Wish {
    /// `LISTEN`
    Listen(Heard),
    /// `UNLISTEN`, by the name that notifications carry.
    Unlisten(String),
    /// `UNLISTEN *`
    UnlistenAll,
}

/// What is to happen at the commit, each with the number of savepoints that its block had been asked for before.
#[derive(Debug, Default)]
pub struct Pending {
    wishes: Vec<(u32, Wish)>,
    notes: Vec<(u32, Note)>,
    /// Channels and payloads of `notes`: one that is repeated is told once.
    told: BTreeSet<(String, String)>,
    note_bytes: usize,
}

impl Pending {
    /// Adds what a LISTEN or UNLISTEN asks for.
    ///
    /// # Errors
    /// 54000 at the bound.
    pub fn wish(&mut self, since: u32, wish: Wish) -> Result<(), Diagnosis> {
        if self.wishes.len() >= WISHES_MAX {
            let message = format!("a transaction may LISTEN and UNLISTEN at most {WISHES_MAX} times");
            return Err(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        self.wishes.push((since, wish));
        Ok(())
    }

    /// Adds a notification, unless the same one is there.
    ///
    /// # Errors
    /// 54000 at the bound.
    pub fn notify(&mut self, since: u32, note: Note) -> Result<(), Diagnosis> {
        let key = (note.channel.clone(), note.payload.clone());
        if self.told.contains(&key) {
            return Ok(());
        }
        let bytes = self.note_bytes + bytes_of(&note);
        if bytes > NOTE_BYTES_MAX {
            let message = format!("a transaction may notify of at most {NOTE_BYTES_MAX} bytes");
            return Err(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        self.note_bytes = bytes;
        self.told.insert(key);
        self.notes.push((since, note));
        Ok(())
    }

    /// Forgets what was asked for after a savepoint, as coming back to it does.
    pub fn roll_back_to(&mut self, savepoint: u32) {
        self.wishes.retain(|(since, _)| *since <= savepoint);
        let told = &mut self.told;
        let note_bytes = &mut self.note_bytes;
        self.notes.retain(|(since, note)| {
            let stays = *since <= savepoint;
            if !stays {
                told.remove(&(note.channel.clone(), note.payload.clone()));
                *note_bytes = note_bytes.saturating_sub(bytes_of(note));
            }
            stays
        });
    }

    /// The channels that would be added by what is asked for, an upper bound.
    pub fn listens(&self) -> usize {
        self.wishes.iter().filter(|(_, wish)| matches!(wish, Wish::Listen(_))).count()
    }

    /// The notifications, in order.
    pub fn notes(&self) -> Vec<Note> {
        self.notes.iter().map(|(_, note)| note.clone()).collect()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.wishes.is_empty() && self.notes.is_empty()
    }

    /// What is to be done, in order: changes first, so that who listens from this commit on is told of its notifications.
    pub fn into_parts(self) -> (Vec<Wish>, Vec<Note>) {
        let wishes = self.wishes.into_iter().map(|(_, wish)| wish).collect();
        (wishes, self.notes.into_iter().map(|(_, note)| note).collect())
    }
}

fn bytes_of(note: &Note) -> usize {
    note.channel.len() + note.payload.len() + size_of::<Note>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(channel: &str, payload: &str) -> Note {
        Note { channel: channel.to_owned(), payload: payload.to_owned(), process_id: 7 }
    }

    fn payloads(pending: &Pending) -> Vec<String> {
        pending.notes().into_iter().map(|note| note.payload).collect()
    }

    #[test]
    fn what_is_repeated_is_told_once_and_what_is_undone_never() {
        let mut pending = Pending::default();
        for (since, payload) in [(0, "1"), (0, "2"), (1, "1"), (1, "3"), (2, "4")] {
            pending.notify(since, note("a", payload)).unwrap();
        }
        pending.wish(0, Wish::UnlistenAll).unwrap();
        pending.wish(2, Wish::Unlisten("a".to_owned())).unwrap();
        assert_eq!(payloads(&pending), ["1", "2", "3", "4"]);
        pending.roll_back_to(1);
        assert_eq!(payloads(&pending), ["1", "2", "3"]);
        pending.roll_back_to(0);
        assert_eq!(payloads(&pending), ["1", "2"]);
        // What was undone may be told again.
        pending.notify(1, note("a", "3")).unwrap();
        pending.notify(1, note("b", "1")).unwrap();
        assert_eq!(payloads(&pending), ["1", "2", "3", "1"]);
        assert_eq!(pending.listens(), 0);
        assert!(!pending.is_empty());
        let (wishes, notes) = pending.into_parts();
        assert_eq!((wishes.len(), notes.len()), (1, 4));
    }

    #[test]
    fn notifications_of_a_transaction_are_bounded() {
        let mut pending = Pending::default();
        let large = "x".repeat(7_000);
        let refused = (0..10_000).find_map(|number| pending.notify(0, note("a", &format!("{number}{large}"))).err());
        assert_eq!(refused.unwrap().sqlstate, "54000");
        assert!(pending.note_bytes <= NOTE_BYTES_MAX);
        pending.roll_back_to(0);
        assert!(pending.note_bytes > 0, "nothing was asked for after the savepoint");
    }
}
