//! Names of channels, their aliases, and plain notifications between sessions of this process.
//!
//! A channel with one dot is a table, one that begins with `topic:` or `view:` is reserved, and every other is plain: what NOTIFY sends
//! there goes from session to session over the [`Board`], in one order for all of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::error::{Diagnosis, sqlstate};

/// The longest name of a channel that is not replaced by its alias.
pub const NAME_BYTES_MAX: usize = 63;
/// How much of a long name its alias keeps.
const STEM_BYTES: usize = 46;
/// What notifications may wait for one session.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// What a name says that it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// The changes of a table, by its SQL schema and name.
    Table {
        /// The schema.
        schema: String,
        /// The table.
        name: String,
    },
    /// Events of a topic from all outboxes: `topic:<topic>`.
    Topic(String),
    /// Reserved: `view:<name>`.
    View(String),
    /// Whatever sessions tell one another.
    Plain(String),
}

impl Channel {
    /// What the name of a channel means. A part that holds a dot or a quote is written in double quotes, with those in it doubled.
    pub fn of(name: &str) -> Self {
        if let Some(topic) = name.strip_prefix("topic:") {
            return Self::Topic(topic.to_owned());
        }
        if let Some(view) = name.strip_prefix("view:") {
            return Self::View(view.to_owned());
        }
        match parts(name).as_deref() {
            Some([schema, name]) => Self::Table { schema: schema.clone(), name: name.clone() },
            _ => Self::Plain(name.to_owned()),
        }
    }

    /// Whether NOTIFY may name it.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// The name that notifications carry: the whole one, or its alias.
    pub fn shown(&self) -> String {
        alias(&self.to_string()).into_owned()
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { schema, name } => write!(f, "{}.{}", part(schema), part(name)),
            Self::Topic(topic) => write!(f, "topic:{topic}"),
            Self::View(view) => write!(f, "view:{view}"),
            Self::Plain(name) => f.write_str(name),
        }
    }
}

/// A part of a name as it stands in the whole one.
fn part(name: &str) -> Cow<'_, str> {
    if name.is_empty() || name.contains(['.', '"']) {
        Cow::Owned(format!("\"{}\"", name.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(name)
    }
}

/// The parts of a name between the dots outside of quotes; `None` where quotes do not close or something stands beside them, or where
/// a part is empty.
fn parts(name: &str) -> Option<Vec<String>> {
    let (mut parts, mut rest) = (Vec::new(), name);
    loop {
        let (part, behind) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find(['.', '"']).unwrap_or(rest.len());
                let (part, behind) = rest.split_at_checked(end)?;
                (part.to_owned(), behind)
            }
        };
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        if behind.is_empty() {
            return Some(parts);
        }
        rest = behind.strip_prefix('.')?;
    }
}

/// What stands up to the closing quote, and what stands behind it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let (mut part, mut rest) = (String::new(), quoted);
    loop {
        let (before, behind) = rest.split_once('"')?;
        part.push_str(before);
        match behind.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return Some((part, behind)),
        }
    }
}

/// The name itself, or what stands for it where it is longer than names are.
pub fn alias(name: &str) -> Cow<'_, str> {
    if name.len() <= NAME_BYTES_MAX {
        return Cow::Borrowed(name);
    }
    let end = (0..=STEM_BYTES).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    Cow::Owned(format!("{}~{hash:016x}", name.get(..end).unwrap_or_default()))
}

/// A plain notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The channel.
    pub channel: String,
    /// What is told.
    pub payload: String,
    /// Who tells it.
    pub process_id: i32,
}

impl Note {
    fn bytes(&self) -> usize {
        self.channel.len() + self.payload.len() + size_of::<Self>()
    }
}

/// Where sessions of this process tell one another of plain notifications.
#[derive(Debug, Default)]
pub struct Board(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    next: u64,
    /// What waits for each session that has a seat.
    waiting: HashMap<u64, Waiting>,
    /// Who listens to what.
    listening: BTreeMap<String, BTreeSet<u64>>,
}

#[derive(Debug, Default)]
struct Waiting {
    notes: VecDeque<Arc<Note>>,
    bytes: usize,
    /// Whether some were left out, since nobody took what waited.
    has_missed: bool,
    bell: Arc<Notify>,
}

impl Shared {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        // What a panic left behind is still a list of whole notifications.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// A seat for a session, which listens to nothing yet.
    pub fn sit(&self) -> Seat {
        let mut seats = self.0.seats();
        let number = seats.next;
        seats.next += 1;
        let bell = Arc::new(Notify::new());
        seats.waiting.insert(number, Waiting { bell: Arc::clone(&bell), ..Waiting::default() });
        Seat { number, bell, shared: Arc::clone(&self.0) }
    }

    /// Whether every session that would be told has room for so much more. Asked before the commit behind which they are told.
    ///
    /// # Errors
    /// 54000, as PostgreSQL has it for a full queue.
    pub fn check_room(&self, notes: &[Note]) -> Result<(), Diagnosis> {
        let seats = self.0.seats();
        let mut more: HashMap<u64, usize> = HashMap::new();
        for note in notes {
            for seat in seats.listening.get(&note.channel).into_iter().flatten() {
                *more.entry(*seat).or_default() += note.bytes();
            }
        }
        let is_full = |(seat, more): (&u64, &usize)| {
            seats.waiting.get(seat).is_some_and(|waiting| waiting.bytes.saturating_add(*more) > WAITING_BYTES_MAX)
        };
        if more.iter().any(is_full) {
            return Err(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "too many notifications in the NOTIFY queue")
                .with_detail("A session that listens does not read what it is told."));
        }
        Ok(())
    }

    /// Tells all who listen, in this order and together: of two calls everybody sees the same one first.
    pub fn tell(&self, notes: Vec<Note>) {
        let mut seats = self.0.seats();
        let Seats { waiting, listening, .. } = &mut *seats;
        for note in notes {
            let Some(listeners) = listening.get(&note.channel) else { continue };
            let note = Arc::new(note);
            for seat in listeners {
                let Some(waiting) = waiting.get_mut(seat) else { continue };
                if waiting.bytes + note.bytes() > WAITING_BYTES_MAX {
                    waiting.has_missed = true;
                } else {
                    waiting.bytes += note.bytes();
                    waiting.notes.push_back(Arc::clone(&note));
                }
                waiting.bell.notify_one();
            }
        }
    }
}

/// What a session was told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// In order.
    pub notes: Vec<Arc<Note>>,
    /// Whether there was more than could wait, which nobody has any more.
    pub has_missed: bool,
}

/// A session at the [`Board`]. Given up when it is dropped.
#[derive(Debug)]
pub struct Seat {
    number: u64,
    bell: Arc<Notify>,
    shared: Arc<Shared>,
}

impl Seat {
    /// Listens to a channel from now on.
    pub fn listen(&self, channel: &str) {
        self.shared.seats().listening.entry(channel.to_owned()).or_default().insert(self.number);
    }

    /// Listens to a channel no more. What waits of it is still told.
    pub fn unlisten(&self, channel: &str) {
        let mut seats = self.shared.seats();
        if let Some(listeners) = seats.listening.get_mut(channel) {
            listeners.remove(&self.number);
            if listeners.is_empty() {
                seats.listening.remove(channel);
            }
        }
    }

    /// What waits, of at most so many bytes, or the first alone.
    pub fn take(&self, bytes_max: usize) -> Told {
        let mut seats = self.shared.seats();
        let Some(waiting) = seats.waiting.get_mut(&self.number) else { return Told::default() };
        let (mut notes, mut bytes) = (Vec::new(), 0);
        while let Some(note) = waiting.notes.pop_front() {
            if !notes.is_empty() && bytes + note.bytes() > bytes_max {
                waiting.notes.push_front(note);
                break;
            }
            bytes += note.bytes();
            notes.push(note);
        }
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        Told { notes, has_missed: std::mem::take(&mut waiting.has_missed) }
    }

    /// Returns when something waits. Cancel-safe.
    pub async fn notified(&self) {
        loop {
            let is_told = self.shared.seats().waiting.get(&self.number).is_some_and(|it| !it.notes.is_empty() || it.has_missed);
            if is_told {
                return;
            }
            // One permit is kept for who comes too late, so that nothing is missed in between.
            self.bell.notified().await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.shared.seats();
        seats.waiting.remove(&self.number);
        seats.listening.retain(|_, listeners| {
            listeners.remove(&self.number);
            !listeners.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(schema: &str, name: &str) -> Channel {
        Channel::Table { schema: schema.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_name_says_what_it_is() {
        let plain = |name: &str| Channel::Plain(name.to_owned());
        let rows = [
            ("shop.orders", table("shop", "orders")),
            ("Shop.Orders", table("Shop", "Orders")),
            ("\"my.shop\".orders", table("my.shop", "orders")),
            ("\"a\"\"b\".\"c\"", table("a\"b", "c")),
            ("orders", plain("orders")),
            ("a.b.c", plain("a.b.c")),
            (".a", plain(".a")),
            ("a.", plain("a.")),
            ("\"a.b\"", plain("\"a.b\"")),
            ("\"a.b", plain("\"a.b")),
            ("a\"b\".c", plain("a\"b\".c")),
            ("", plain("")),
            ("topic:shop.orders", Channel::Topic("shop.orders".to_owned())),
            ("view:a", Channel::View("a".to_owned())),
            ("Topic:a", plain("Topic:a")),
        ];
        for (name, expected) in rows {
            let channel = Channel::of(name);
            assert_eq!(channel, expected, "{name}");
            assert_eq!(Channel::of(&channel.to_string()), expected, "{name}");
        }
        assert_eq!(table("my.shop", "orders").to_string(), "\"my.shop\".orders");
        assert!(Channel::of("a").is_plain() && !Channel::of("a.b").is_plain() && !Channel::of("topic:a").is_plain());
    }

    #[test]
    fn long_names_have_an_alias_of_their_own() {
        let name = "a".repeat(63);
        assert_eq!(alias(&name), name);
        let (one, other) = ("é".repeat(40), format!("{}x", "é".repeat(40)));
        let (short, second) = (alias(&one), alias(&other));
        assert_eq!(short.len(), 63);
        assert!(short.starts_with(&"é".repeat(23)) && short.contains('~') && short != second);
        assert_eq!(alias(&short), short);
        // An odd place of the cut.
        assert_eq!(alias(&format!("a{one}")).split_once('~').unwrap().0.len(), 45);
        assert_eq!(table("s", &"t".repeat(70)).shown().len(), 63);
    }

    fn note(channel: &str, payload: &str) -> Note {
        Note { channel: channel.to_owned(), payload: payload.to_owned(), process_id: 7 }
    }

    #[tokio::test]
    async fn all_who_listen_are_told_in_one_order() {
        let board = Board::default();
        let (first, second) = (board.sit(), board.sit());
        first.listen("a");
        second.listen("a");
        second.listen("b");
        board.tell(vec![note("a", "1"), note("b", "2"), note("c", "3"), note("a", "4")]);
        let payloads = |told: Told| told.notes.iter().map(|note| note.payload.clone()).collect::<Vec<_>>();
        first.notified().await;
        assert_eq!(payloads(first.take(usize::MAX)), ["1", "4"]);
        assert_eq!(payloads(second.take(1)), ["1"]);
        second.notified().await;
        assert_eq!(payloads(second.take(usize::MAX)), ["2", "4"]);
        first.unlisten("a");
        drop(second);
        board.tell(vec![note("a", "5")]);
        assert_eq!(first.take(usize::MAX), Told::default());
        assert!(board.0.seats().listening.is_empty());
    }

    #[tokio::test]
    async fn who_does_not_read_is_told_that_something_is_missing() {
        let board = Board::default();
        let seat = board.sit();
        seat.listen("a");
        let large = note("a", &"x".repeat(1 << 20));
        assert!(board.check_room(&vec![large.clone(); 7]).is_ok());
        assert_eq!(board.check_room(&vec![large.clone(); 9]).unwrap_err().sqlstate, "54000");
        assert!(board.check_room(&[note("b", &"x".repeat(9 << 20))]).is_ok());
        board.tell(vec![large; 9]);
        seat.notified().await;
        let told = seat.take(usize::MAX);
        assert_eq!((told.notes.len(), told.has_missed), (7, true));
        assert!(board.check_room(&[note("a", "x")]).is_ok());
        assert!(!seat.take(usize::MAX).has_missed);
    }
}
