//! Which events of one store a session is told of, and in which words.

use std::collections::BTreeMap;

use super::topics;
use crate::changes::{Piece, payload};
use crate::stores::change::{Barrier, Entry};
use crate::stores::schema::TableId;

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Who tells it; 0 for a store.
    pub process_id: i32,
    /// Where.
    pub channel: String,
    /// What.
    pub payload: String,
}

/// Which events are told of where.
#[derive(Debug, Default)]
pub(super) struct Ears {
    pub(super) tables: BTreeMap<TableId, Vec<Ear>>,
    /// The channels of topics, each with the last transaction that it is not told of.
    pub(super) topics: BTreeMap<String, u64>,
    /// Where topics come from.
    pub(super) outbox: Option<TableId>,
}

/// The channel of a table.
#[derive(Debug)]
pub(super) struct Ear {
    pub(super) channel: String,
    /// The table's schema and name in SQL.
    pub(super) label: (String, String),
    /// The last transaction that it is not told of.
    pub(super) since: u64,
}

/// Notifications of one write.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) list: Vec<Notification>,
    bytes: usize,
    most: usize,
}

impl Told {
    /// None yet, of about so many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { list: Vec::new(), bytes: 0, most }
    }

    /// How many bytes there is room for.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.bytes)
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.most
    }

    pub(super) fn add(&mut self, notification: Notification) {
        self.bytes += notification.channel.len() + notification.payload.len();
        self.list.push(notification);
    }
}

/// What a store tells.
pub(super) fn fed(channel: &str, payload: String) -> Notification {
    Notification { process_id: 0, channel: channel.to_owned(), payload }
}

impl Ears {
    pub(super) fn channels(&self) -> impl Iterator<Item = &str> {
        self.tables.values().flatten().map(|ear| ear.channel.as_str()).chain(self.topics.keys().map(String::as_str))
    }

    pub(super) fn are_none(&self) -> bool {
        self.tables.is_empty() && self.topics.is_empty()
    }

    pub(super) fn remove(&mut self, channel: &str) {
        self.topics.remove(channel);
        self.tables.retain(|_, ears| {
            ears.retain(|ear| ear.channel != channel);
            !ears.is_empty()
        });
    }

    fn are_for_table(&self, table: &TableId) -> bool {
        self.tables.contains_key(table) || (!self.topics.is_empty() && self.outbox.as_ref() == Some(table))
    }

    /// Whether something of a piece is told of.
    pub(super) fn are_for(&self, piece: &Piece) -> bool {
        let Some(transaction) = piece.transaction() else { return false };
        let heard: Vec<bool> = piece.group.rows.iter().map(|rows| self.are_for_table(&rows.shape.id)).collect();
        transaction.entries.iter().any(|entry| match entry {
            Entry::Row { rows, .. } => usize::try_from(*rows).ok().and_then(|rows| heard.get(rows)).copied().unwrap_or(false),
            Entry::Barrier(barrier) => barrier.table().is_none_or(|table| self.are_for_table(table)),
        })
    }

    /// Tells of the entries of a piece; the next one, when there was no room for all.
    pub(super) fn tell(&self, piece: &Piece, from: usize, told: &mut Told) -> Option<usize> {
        for (entry, what) in piece.transaction()?.entries.iter().enumerate().skip(from) {
            if told.is_full() {
                return Some(entry);
            }
            match what {
                Entry::Row { rows, row } => self.tell_row(piece, (entry, *rows, *row), told),
                Entry::Barrier(barrier) => self.tell_barrier(piece, (entry, barrier), told),
            }
        }
        None
    }

    fn tell_row(&self, piece: &Piece, (entry, rows, row): (usize, u32, u32), told: &mut Told) {
        let (Ok(number), Ok(row)) = (usize::try_from(rows), usize::try_from(row)) else { return };
        let Some(rows) = piece.group.rows.get(number).filter(|rows| !rows.is_own_removal(row)) else { return };
        self.tell_table(piece, (entry, &rows.shape.id), told);
        if !self.topics.is_empty()
            && self.outbox.as_ref() == Some(&rows.shape.id)
            && let Some(place) = piece.place(entry)
            && let Some(event) = topics::event(rows, row, &place.to_string())
            && self.topics.get(&event.channel).is_some_and(|since| piece.seq > *since)
        {
            told.add(fed(&event.channel, event.payload));
        }
    }

    fn tell_table(&self, piece: &Piece, (entry, table): (usize, &TableId), told: &mut Told) {
        for ear in self.tables.get(table).into_iter().flatten().filter(|ear| piece.seq > ear.since) {
            if let Some(payload) = payload::of_entry(piece, entry, (&ear.label.0, &ear.label.1)) {
                told.add(fed(&ear.channel, payload));
            }
        }
    }

    fn tell_barrier(&self, piece: &Piece, (entry, barrier): (usize, &Barrier), told: &mut Told) {
        let reason = match barrier {
            Barrier::Truncated { table } => return self.tell_table(piece, (entry, table), told),
            Barrier::Reshaped { reason, .. } | Barrier::Stopped { reason, .. } | Barrier::Gap { reason } => reason,
        };
        let reset = payload::reset(reason);
        let is_meant = |table: &TableId| barrier.table().is_none_or(|named| named == table);
        let ears = self.tables.iter().filter(|(table, _)| is_meant(table)).flat_map(|(_, ears)| ears);
        let tables = ears.filter(|ear| piece.seq > ear.since).map(|ear| ear.channel.as_str());
        let has_topics = self.outbox.as_ref().is_some_and(is_meant);
        let topics = self.topics.iter().filter(|(_, since)| has_topics && piece.seq > **since).map(|(channel, _)| channel.as_str());
        for channel in tables.chain(topics) {
            told.add(fed(channel, reset.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::changes::fakes::{group_of, id_of};
    use crate::stores::StoreName;

    fn ears() -> Ears {
        let ear =
            |channel: &str, since| Ear { channel: channel.to_owned(), label: ("shop".to_owned(), "orders".to_owned()), since };
        let tables = [(id_of("orders"), vec![ear("shop.orders", 4), ear("shop.late", 5)])];
        Ears { tables: tables.into_iter().collect(), ..Ears::default() }
    }

    fn piece(entries: Option<Vec<Barrier>>) -> Piece {
        let mut group = group_of(&StoreName::new("shop"), &[(9, &[("a", 1), ("b", 2), ("c", 3)])]);
        if let Some(barriers) = entries {
            group.transactions[0].entries = barriers.into_iter().map(Entry::Barrier).collect();
        }
        Piece { group: Arc::new(group), transaction: 0, seq: 5, generation: 1 }
    }

    fn told(ears: &Ears, piece: &Piece, from: usize, most: usize) -> (Vec<(String, String)>, Option<usize>) {
        let mut told = Told::new(most);
        let next = ears.tell(piece, from, &mut told);
        let op = |payload: &str| serde_json::from_str::<serde_json::Value>(payload).unwrap()["op"].as_str().unwrap().to_owned();
        (told.list.iter().map(|one| (one.channel.clone(), op(&one.payload))).collect(), next)
    }

    fn expected(rows: &[(&str, &str)]) -> Vec<(String, String)> {
        rows.iter().map(|(channel, op)| ((*channel).to_owned(), (*op).to_owned())).collect()
    }

    #[test]
    fn channels_are_told_of_what_comes_behind_their_listen() {
        let (ears, piece) = (ears(), piece(None));
        assert!(ears.are_for(&piece));
        let all = expected(&[("shop.orders", "insert"), ("shop.orders", "update"), ("shop.orders", "insert")]);
        assert_eq!(told(&ears, &piece, 0, usize::MAX), (all.clone(), None));
        // Without room for more it is gone on with where it stopped.
        assert_eq!(told(&ears, &piece, 0, 1), (all[..1].to_vec(), Some(1)));
        assert_eq!(told(&ears, &piece, 1, usize::MAX), (all[1..].to_vec(), None));
        let deaf = Ears { tables: BTreeMap::from([(id_of("notes"), Vec::new())]), ..Ears::default() };
        assert!(!deaf.are_for(&piece) && told(&deaf, &piece, 0, usize::MAX).0.is_empty());
    }

    #[test]
    fn barriers_are_told_to_those_whom_they_concern() {
        let reason = || "x".to_owned();
        let barriers = vec![
            Barrier::Truncated { table: id_of("orders") },
            Barrier::Reshaped { table: id_of("notes"), reason: reason() },
            Barrier::Stopped { table: id_of("orders"), reason: reason() },
            Barrier::Gap { reason: reason() },
        ];
        let (ears, piece) = (ears(), piece(Some(barriers)));
        assert!(ears.are_for(&piece));
        let all = expected(&[("shop.orders", "truncate"), ("shop.orders", "reset"), ("shop.orders", "reset")]);
        assert_eq!(told(&ears, &piece, 0, usize::MAX), (all, None));
        let topics = Ears {
            topics: BTreeMap::from([("topic:a".to_owned(), 4)]),
            outbox: Some(id_of("tributary_outbox")),
            ..Ears::default()
        };
        assert_eq!(told(&topics, &piece, 0, usize::MAX).0, expected(&[("topic:a", "reset")]));
    }

    #[test]
    fn a_channel_that_is_left_is_told_nothing() {
        let mut ears = ears();
        ears.remove("shop.orders");
        assert_eq!(ears.channels().collect::<Vec<_>>(), ["shop.late"]);
        assert!(!ears.are_none());
        ears.remove("shop.late");
        assert!(ears.are_none() && !ears.are_for(&piece(None)));
    }
}
