//! Which history of a server a position is of.
//!
//! A server whose log began anew (`RESET MASTER`, a lost end of it, another server in its place) counts through the same ids again, so that
//! ids alone would say of a copy of before that it has what was written since. So a position names its history by a number: one of the
//! server's name, which all who follow the server find alike, until it is seen to have less than it had. Then one is drawn.
//!
//! **Invariant:** what is compared with an answer was known before the question was put: answers may overtake one another. **Not
//! covered:** a server that has counted past what was known of it before anybody asks again; its feed finds that out ([`super::history`]).

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::super::position::Coverage;
use super::position::Gtids;

/// The history that a server is in, as far as it has answered.
#[derive(Debug, Default)]
pub(in super::super) struct Histories(Mutex<Option<Known>>);

/// What is known of a history.
#[derive(Debug, Clone)]
struct Known {
    /// The server.
    identity: String,
    number: u64,
    /// Whether the number was drawn.
    is_drawn: bool,
    /// Everything that the server was seen to have.
    logged: Gtids,
}

/// What was known when a question was put.
#[derive(Debug)]
pub(in super::super) struct Before(Option<Known>);

/// The number of the first history of a server that anybody knows: FNV-1a.
pub(super) fn first_of(identity: &str) -> u64 {
    identity.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Histories {
    fn lock(&self) -> MutexGuard<'_, Option<Known>> {
        // What a panic left behind is a whole value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called before the server is asked.
    pub(in super::super) fn before(&self) -> Before {
        Before(self.lock().clone())
    }

    /// The number of the history that a server is in which has answered so; `None`: another one was found since the question.
    pub(super) fn note(&self, Before(before): &Before, identity: &str, logged: &Gtids) -> Option<u64> {
        let mut known = self.lock();
        let begun = |number: u64, is_drawn: bool| Known { identity: identity.to_owned(), number, is_drawn, logged: logged.clone() };
        let Some(now) = known.as_mut() else {
            let first = begun(first_of(identity), false);
            return Some(known.insert(first).number);
        };
        let is_since = match before {
            Some(before) => before.number != now.number,
            // Of two first questions one was answered before.
            None => now.is_drawn || now.identity != identity,
        };
        if is_since {
            return None;
        }
        if now.identity != identity {
            *now = begun(first_of(identity), false);
        } else if before.as_ref().is_some_and(|before| logged.covers(&before.logged) != Coverage::Covered) {
            *now = begun(rand::random(), true);
        } else if logged.covers(&now.logged) == Coverage::Covered {
            now.logged = logged.clone();
        }
        Some(now.number)
    }

    /// Goes on with a history that was kept, of a server that has it. `false`: the server was seen to have left it.
    pub(super) fn goes_on(&self, identity: &str, number: u64, logged: &Gtids) -> bool {
        let mut known = self.lock();
        if let Some(now) = known.as_ref().filter(|now| now.identity == identity && now.is_drawn) {
            return now.number == number;
        }
        let is_drawn = number != first_of(identity);
        *known = Some(Known { identity: identity.to_owned(), number, is_drawn, logged: logged.clone() });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Gtids {
        Gtids::of_mariadb(text).unwrap()
    }

    #[test]
    fn a_server_that_has_less_than_it_had_is_in_another_history() {
        let (one, other) = (Histories::default(), Histories::default());
        let ask = |histories: &Histories, logged: &str| histories.note(&histories.before(), "mariadb-1", &of(logged)).unwrap();
        let first = ask(&one, "0-1-40");
        assert_eq!((ask(&one, "0-1-40"), ask(&one, "0-1-41,5-1-1")), (first, first));
        assert_eq!(ask(&other, "0-1-7"), first, "others find it alike");
        let second = ask(&one, "0-1-3");
        assert_ne!(second, first);
        assert_eq!(ask(&one, "0-1-90"), second, "it stays another one when it has counted further");
        // A domain that is gone is less too.
        assert_ne!(ask(&one, "5-1-1"), second);
        let of_other = one.note(&one.before(), "mariadb-2", &of("0-2-1")).unwrap();
        assert_eq!(of_other, first_of("mariadb-2"));
    }

    #[test]
    fn answers_that_overtake_one_another_are_of_one_history() {
        let histories = Histories::default();
        let note = |before: &Before, logged: &str| histories.note(before, "mariadb-1", &of(logged));
        let (early, late) = (histories.before(), histories.before());
        let first = note(&late, "0-1-41");
        assert_eq!(note(&early, "0-1-40"), first);
        let (early, late) = (histories.before(), histories.before());
        assert_eq!(note(&late, "0-1-43"), first);
        assert_eq!(note(&early, "0-1-42"), first, "it was asked before the other one was answered");
        // Whoever had asked before it was found knows nothing.
        let early = histories.before();
        let drawn = note(&histories.before(), "0-1-2");
        assert!(drawn.is_some() && drawn != first);
        assert_eq!(note(&early, "0-1-44"), None);
    }

    #[test]
    fn a_feed_goes_on_in_the_history_that_was_kept_unless_the_server_has_left_it() {
        let histories = Histories::default();
        let first = histories.note(&histories.before(), "mariadb-1", &of("0-1-40")).unwrap();
        assert!(histories.goes_on("mariadb-1", first, &of("0-1-40")));
        // One that was drawn before we were started.
        assert!(histories.goes_on("mariadb-1", 77, &of("0-1-40")));
        assert_eq!(histories.note(&histories.before(), "mariadb-1", &of("0-1-41")), Some(77));
        let drawn = histories.note(&histories.before(), "mariadb-1", &of("0-1-2")).unwrap();
        assert!(!histories.goes_on("mariadb-1", 77, &of("0-1-2")) && histories.goes_on("mariadb-1", drawn, &of("0-1-2")));
    }
}
