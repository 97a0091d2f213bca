//! Followed tables and how rows of the stream become rows of theirs: by the names of columns, as long as both agree on what these are.
//!
//! ```text
//! discovery → Followed ─┐
//! catalogs → Facts ─────┼─ fit? → Way (column of the stream for each column of the table)
//! stream → Relation ────┘    no → trouble: no rows until they fit again
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use super::super::super::capture::Followed;
use super::super::super::change::{Barrier, Shape, can_be_told};
use super::super::super::schema::{Column, TableId};
use super::decode::{Relation, RelationColumn};
use super::facts::{AllFacts, Attribute, Facts, Prints};
use super::known::Fingerprints;

/// Of a table that gives rows with other columns.
const OTHERS: &str = "its columns are others from here";

/// Why a table that is followed gives no rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Trouble {
    /// The stream has other columns than the table.
    Shape,
    /// The stream has described the table as it was, and will say how it is before the next row of it as it is now.
    Outdated,
    /// A value could not be read. It may be there again, so the table stays as it is until it has another shape or the feed another
    /// start.
    Value,
}

/// A followed table.
#[derive(Debug)]
struct Entry {
    followed: Followed,
    /// Its number, and its columns, as the catalogs have them; `None` where they do not agree with what was discovered.
    expected: Option<(u32, Vec<Attribute>)>,
    /// Of what else the catalogs say of it ([`Facts::fingerprint`]).
    print: u64,
    /// Whether its rows lie in partitions.
    is_divided: bool,
    trouble: Option<Trouble>,
}

/// A table as the stream has described it.
#[derive(Debug)]
struct Seen {
    id: TableId,
    columns: Vec<SeenColumn>,
    way: Option<Way>,
}

#[derive(Debug)]
struct SeenColumn {
    name: String,
    type_oid: u32,
    typmod: i32,
    is_key: bool,
}

impl SeenColumn {
    fn of(column: &RelationColumn<'_>) -> Self {
        Self { name: column.name.to_owned(), type_oid: column.type_oid, typmod: column.typmod, is_key: column.is_key }
    }
}

/// How the rows of a table are read.
#[derive(Debug)]
pub(super) struct Way {
    /// Its columns in events.
    pub shape: Arc<Shape>,
    /// For each of them, which column of the stream it is.
    pub columns: Vec<Option<usize>>,
    /// For each column of the stream, whether it is of the key that old rows have.
    pub is_key: Vec<bool>,
    /// Whether its rows lie in partitions, whose old rows may have less than those of the whole would.
    pub is_divided: bool,
    /// Where its rows are gathered.
    pub builder: Option<usize>,
}

/// What a description or a new list of tables brings about.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What is told of tables.
    pub barriers: Vec<Barrier>,
    /// Tables that have to be discovered again.
    pub doubts: Vec<TableId>,
    /// Tables whose rows may have begun in the middle of transactions.
    pub added: Vec<TableId>,
    /// A table was described: what else is said of it may be otherwise since the catalogs were asked, as the server forgets that it has
    /// described a table when something of it changes.
    pub is_described: bool,
}

/// All tables of a feed.
#[derive(Debug, Default)]
pub(super) struct Relations {
    entries: HashMap<TableId, Entry>,
    /// Tables that were defined anew, and a location behind that: rows of before may still come up to there.
    anew: HashMap<TableId, u64>,
    seen: HashMap<u32, Seen>,
}

impl Relations {
    /// The tables at the start of a feed; their rows come whole.
    pub(super) fn new(tables: &[Followed], facts: &AllFacts) -> (Self, Outcome) {
        let mut relations = Self::default();
        let mut outcome = relations.replace(tables, facts, 0);
        outcome.added.clear();
        // What was not followed before cannot be told to have begun.
        outcome.barriers.retain(|each| matches!(each, Barrier::Stopped { .. }));
        (relations, outcome)
    }

    /// A number for each table as it stands. Two feeds with the same one have given the same rows of the same columns. A table that gives
    /// none has been told to have stopped, and is as one that is not followed.
    pub(super) fn fingerprints(&self) -> Fingerprints {
        let giving = self.entries.iter().filter(|(_, entry)| entry.trouble.is_none());
        let numbered = giving.filter_map(|(id, entry)| {
            let oid = entry.expected.as_ref()?.0;
            // What is still to be told of is known to nobody.
            let is_told = !self.anew.contains_key(id);
            let print = if is_told { (mix(entry.print, u64::from(oid)) & LOWER) | 1 } else { 0 };
            Some((oid, (mix(entry.followed.shape.digest, u64::from(oid)) & !LOWER) | print))
        });
        numbered.collect()
    }

    /// The same in the two kinds that older versions have kept: without what else the catalogs say, and with it, not in halves.
    pub(super) fn older_fingerprints(&self) -> [Fingerprints; 2] {
        let of = |digest: fn(&Entry) -> u64| -> Fingerprints {
            let giving = self.entries.values().filter(|entry| entry.trouble.is_none());
            let numbered = giving.filter_map(|entry| Some((entry.expected.as_ref()?.0, digest(entry))));
            numbered.map(|(oid, digest)| (oid, mix(digest, u64::from(oid)))).collect()
        };
        [of(|entry| entry.followed.shape.digest), of(|entry| mix(entry.followed.shape.digest, entry.print))]
    }

    /// The numbers of all tables whose definitions are watched.
    pub(super) fn oids(&self) -> Vec<u32> {
        self.entries.values().filter_map(|entry| entry.expected.as_ref()).map(|(oid, _)| *oid).collect()
    }

    /// A table was defined anew, somewhere before a location.
    pub(super) fn define_anew(&mut self, id: TableId, behind: u64) {
        self.anew.insert(id, behind);
    }

    /// The stream has come to a location: the tables that are told from there to have been defined anew.
    pub(super) fn pass(&mut self, location: u64) -> Vec<TableId> {
        if self.anew.is_empty() {
            return Vec::new();
        }
        let mut passed: Vec<TableId> =
            self.anew.iter().filter(|(_, behind)| **behind <= location).map(|(id, _)| id.clone()).collect();
        passed.sort();
        for id in &passed {
            self.anew.remove(id);
            self.forget_outdated(id);
        }
        // Whatever ends the trouble of one that is in some is told of it.
        passed.retain(|id| self.gives(id));
        passed
    }

    /// All rows of a table as it was have come: it gives its rows again, and the stream describes it before the first of them.
    fn forget_outdated(&mut self, id: &TableId) {
        let outdated = self.entries.get(id).filter(|entry| entry.trouble == Some(Trouble::Outdated));
        if let Some((number, _)) = outdated.and_then(|entry| entry.expected.as_ref()) {
            self.seen.remove(number);
            // That it is another one is told by who has passed this.
            self.settle(id, None);
        }
    }

    /// Whether the catalogs have a table otherwise than the stream has described it: they were read behind that.
    fn is_outdated(&self, id: &TableId) -> bool {
        let outdated = self.entries.get(id).and_then(|entry| {
            let (number, _) = entry.expected.as_ref()?;
            Some(fit(entry, *number, Some(self.seen.get(number)?)).is_none())
        });
        outdated.unwrap_or_default()
    }

    /// The number of a table that gives its rows.
    pub(super) fn number(&self, id: &TableId) -> Option<u32> {
        let entry = self.entries.get(id).filter(|entry| entry.trouble.is_none())?;
        entry.expected.as_ref().map(|(oid, _)| *oid)
    }

    /// The table whose rows have this number, and how they are read; the inner `None`: its rows are not given. `None`: the stream has
    /// not described it.
    pub(super) fn way(&mut self, oid: u32) -> Option<Option<(&TableId, &mut Way)>> {
        let seen = self.seen.get_mut(&oid)?;
        let id = &seen.id;
        Some(seen.way.as_mut().map(|way| (id, way)))
    }

    /// Which table a message about this number is about, its description or a row, and whether rows of it are given. `None`: nothing says
    /// which, or rows would be given again behind a description that is as this one should be.
    pub(super) fn told_of(&self, number: u32, describes: bool) -> Option<(TableId, bool)> {
        let seen = self.seen.get(&number);
        let is_meant = |entry: &&Entry| entry.expected.as_ref().is_some_and(|(oid, _)| *oid == number);
        let expected = || self.entries.values().find(is_meant).map(|entry| &entry.followed.table.id);
        let id = seen.map(|seen| &seen.id).or_else(expected)?;
        let gives = match self.entries.get(id).map(|entry| entry.trouble) {
            Some(Some(Trouble::Shape | Trouble::Outdated)) if describes => return None,
            // Rows of another table that had the name are not.
            Some(None) => describes || seen.is_none_or(|seen| seen.way.is_some()),
            _ => false,
        };
        Some((id.clone(), gives))
    }

    /// The columns that rows of this number have now are not known: none is read by those of before.
    pub(super) fn forget_columns(&mut self, number: u32) {
        if let Some(seen) = self.seen.get_mut(&number) {
            seen.columns.clear();
            seen.way = None;
        }
    }

    /// The places where rows are gathered are gone.
    pub(super) fn forget_builders(&mut self) {
        for way in self.seen.values_mut().filter_map(|seen| seen.way.as_mut()) {
            way.builder = None;
        }
    }

    /// The stream has described a table.
    pub(super) fn describe(&mut self, relation: &Relation<'_>) -> Outcome {
        let id = TableId { namespace: relation.namespace.to_owned(), name: relation.name.to_owned() };
        let columns = relation.columns.iter().map(SeenColumn::of).collect();
        self.seen.insert(relation.id, Seen { id: id.clone(), columns, way: None });
        let mut outcome = Outcome::default();
        let Some(entry) = self.entries.get(&id) else { return outcome };
        outcome.is_described = true;
        let seen = self.seen.get(&relation.id);
        let is_as_discovered =
            entry.expected.as_ref().zip(seen).is_some_and(|((_, attributes), seen)| is_told_as_discovered(attributes, seen));
        let is_doubtful = fit(entry, relation.id, seen).is_none() || !is_as_discovered;
        if is_doubtful && entry.trouble != Some(Trouble::Value) {
            outcome.doubts.push(id.clone());
        }
        outcome.barriers.extend(self.settle(&id, Some(relation.id)));
        outcome
    }

    /// A table gives no more rows.
    pub(super) fn stop(&mut self, id: &TableId, reason: String) -> Option<Barrier> {
        self.end(id, Trouble::Value, reason)
    }

    /// A table gives no rows until all tables are told again.
    pub(super) fn hold(&mut self, id: &TableId, reason: String) -> Option<Barrier> {
        self.end(id, Trouble::Shape, reason)
    }

    fn end(&mut self, id: &TableId, trouble: Trouble, reason: String) -> Option<Barrier> {
        let entry = self.entries.get_mut(id).filter(|entry| matches!(entry.trouble, None | Some(Trouble::Outdated)))?;
        entry.trouble = Some(trouble);
        for seen in self.seen.values_mut().filter(|seen| seen.id == *id) {
            seen.way = None;
        }
        Some(Barrier::Stopped { table: id.clone(), reason })
    }

    /// Whether the table gives its rows.
    pub(super) fn gives(&self, id: &TableId) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.trouble.is_none())
    }

    /// Tables that give their rows and are not any more what they were when they were told.
    pub(super) fn differing(&self, prints: &Prints) -> Vec<TableId> {
        let giving = self.entries.iter().filter(|(_, entry)| entry.trouble.is_none() && entry.expected.is_some());
        let differing = giving.filter(|(id, entry)| print(prints.get(*id).map(String::as_str)) != entry.print);
        differing.map(|(id, _)| id.clone()).collect()
    }

    /// The tables as they are now. `behind`: a location that was read after `facts`.
    pub(super) fn replace(&mut self, tables: &[Followed], facts: &AllFacts, behind: u64) -> Outcome {
        let mut outcome = Outcome::default();
        let mut before = std::mem::take(&mut self.entries);
        for followed in tables {
            let id = followed.table.id.clone();
            let expected = facts.get(&id).filter(|facts| facts.agree(&followed.table)).map(expected_of);
            let known = before.remove(&id);
            let is_added = is_another(known.as_ref(), expected.as_ref());
            let is_reshaped = known.as_ref().is_some_and(|known| known.followed.shape.digest != followed.shape.digest);
            let print = print(facts.get(&id).map(|facts| facts.fingerprint.as_str()));
            let is_defined_anew =
                expected.is_some() && known.as_ref().is_some_and(|known| known.expected.is_some() && known.print != print);
            let trouble = known.and_then(|known| known.trouble).filter(|trouble| *trouble != Trouble::Value || !is_reshaped);
            if expected.is_none() {
                outcome.doubts.push(id.clone());
            }
            let is_divided = facts.get(&id).is_some_and(|facts| facts.kind == "p");
            self.entries.insert(id.clone(), Entry { followed: followed.clone(), expected, print, is_divided, trouble });
            if trouble != Some(Trouble::Value) && self.is_outdated(&id) {
                outcome.barriers.extend(self.outdate(&id, behind));
            }
            let settled = self.settle(&id, None);
            if settled.is_none() && (is_reshaped || is_added) && self.gives(&id) {
                let reason = if is_added { "it is followed from here" } else { OTHERS };
                outcome.barriers.push(Barrier::Reshaped { table: id.clone(), reason: reason.to_owned() });
            } else if settled.is_none() && is_defined_anew {
                // Rows from before look as those from behind it.
                self.define_anew(id.clone(), behind);
            }
            outcome.barriers.extend(settled);
            if is_added {
                outcome.added.push(id);
            }
        }
        for (id, _) in before.into_iter().filter(|(_, entry)| entry.trouble.is_none()) {
            outcome.barriers.push(Barrier::Stopped { table: id, reason: "it is not followed any more".to_owned() });
        }
        let entries = &self.entries;
        self.anew.retain(|id, _| entries.contains_key(id));
        for seen in self.seen.values_mut().filter(|seen| !entries.contains_key(&seen.id)) {
            seen.way = None;
        }
        outcome
    }

    /// Rows that come before a location may be of a table as it was. They are not read, and what stood in them is in the store before
    /// anybody can be told of this: whoever defines a table anew waits for all who have written to it.
    fn outdate(&mut self, id: &TableId, behind: u64) -> Option<Barrier> {
        let entry = self.entries.get_mut(id)?;
        let has_given = entry.trouble.replace(Trouble::Outdated).is_none();
        self.define_anew(id.clone(), behind);
        has_given.then(|| Barrier::Reshaped { table: id.clone(), reason: OTHERS.to_owned() })
    }

    /// Looks whether a table and what the stream has said of it fit, and tells where that has changed. `told`: who has said it now.
    fn settle(&mut self, id: &TableId, told: Option<u32>) -> Option<Barrier> {
        let entry = self.entries.get_mut(id)?;
        let oid = entry.expected.as_ref().map(|(oid, _)| *oid);
        // Where nothing is expected nothing fits.
        let number = told.or(oid).unwrap_or_default();
        let places = fit(entry, number, self.seen.get(&number));
        let barrier = match (places.is_some(), entry.trouble) {
            (true, Some(Trouble::Shape | Trouble::Outdated)) => {
                entry.trouble = None;
                Some(Barrier::Reshaped { table: id.clone(), reason: OTHERS.to_owned() })
            }
            (false, None) => {
                let reason = misfit(entry, number, self.seen.get(&number)).to_owned();
                entry.trouble = Some(Trouble::Shape);
                Some(Barrier::Stopped { table: id.clone(), reason })
            }
            _ => None,
        };
        let gives = entry.trouble.is_none();
        for (oid, seen) in self.seen.iter_mut().filter(|(_, seen)| seen.id == *id) {
            let columns = places.clone().flatten().filter(|_| gives && *oid == number);
            let is_key = seen.columns.iter().map(|column| column.is_key).collect();
            let (shape, is_divided) = (entry.followed.shape.clone(), entry.is_divided);
            seen.way = columns.map(|columns| Way { shape, columns, is_key, is_divided, builder: None });
        }
        barrier
    }
}

/// Where the columns of a table are in the stream; the inner `None`: it has not said so yet. `None`: the two do not fit.
fn fit(entry: &Entry, oid: u32, seen: Option<&Seen>) -> Option<Option<Vec<Option<usize>>>> {
    let (expected_oid, attributes) = entry.expected.as_ref()?;
    if *expected_oid != oid {
        return None;
    }
    let Some(seen) = seen else { return Some(None) };
    if !has_columns(attributes, seen) || !has_key(entry, attributes, seen) {
        return None;
    }
    let table = &entry.followed.table;
    let places = table
        .columns
        .iter()
        .map(|column| can_be_told(column).then(|| seen.columns.iter().position(|sent| sent.name == column.name())).flatten());
    Some(Some(places.collect()))
}

/// The columns of a table that the server sends, each with how the stream has described it.
fn sent<'a>(attributes: &'a [Attribute], seen: &'a Seen) -> impl Iterator<Item = (&'a Attribute, Option<&'a SeenColumn>)> {
    let sent = attributes.iter().filter(|attribute| !attribute.is_generated);
    sent.map(move |attribute| (attribute, seen.columns.iter().find(|column| column.name == attribute.name)))
}

/// Whether the stream has the columns of the table, whatever key old rows have.
fn has_columns(attributes: &[Attribute], seen: &Seen) -> bool {
    let is_like = |(attribute, column): (&Attribute, Option<&SeenColumn>)| {
        column.is_some_and(|column| (column.type_oid, column.typmod) == (attribute.type_oid, attribute.typmod))
    };
    sent(attributes, seen).count() == seen.columns.len() && sent(attributes, seen).all(is_like)
}

/// Whether old rows have the key by which they were discovered to be told.
fn is_told_as_discovered(attributes: &[Attribute], seen: &Seen) -> bool {
    sent(attributes, seen).all(|(attribute, column)| column.is_some_and(|column| column.is_key == attribute.is_key))
}

/// Whether old rows have the key of events: also with another replica identity than was discovered, when they are whole or have that key
/// and nothing else.
fn has_key(entry: &Entry, attributes: &[Attribute], seen: &Seen) -> bool {
    let Followed { table, shape } = &entry.followed;
    let own: Vec<&str> = shape.key.iter().filter_map(|place| table.columns.get(*place)).map(Column::name).collect();
    let told: Vec<&str> = seen.columns.iter().filter(|column| column.is_key).map(|column| column.name.as_str()).collect();
    let is_whole = told.len() == seen.columns.len();
    let is_own = told.len() == own.len() && own.iter().all(|column| told.contains(column));
    is_whole || is_own || is_told_as_discovered(attributes, seen)
}

/// Why the rows of a table do not fit.
fn misfit(entry: &Entry, oid: u32, seen: Option<&Seen>) -> &'static str {
    let has_its_columns = entry
        .expected
        .as_ref()
        .zip(seen)
        .is_some_and(|((expected_oid, attributes), seen)| *expected_oid == oid && has_columns(attributes, seen));
    if has_its_columns {
        "its replica identity is another one than was discovered"
    } else {
        "its columns are others than were discovered"
    }
}

/// The lower half of a number.
const LOWER: u64 = 0xffff_ffff;

/// A fingerprint as a number (FNV-1a); 0 where there is none.
fn print(fingerprint: Option<&str>) -> u64 {
    let hash = |text: &str| {
        text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    fingerprint.map_or(0, hash)
}

fn expected_of(facts: &Facts) -> (u32, Vec<Attribute>) {
    (facts.oid, facts.attributes.clone())
}

/// Whether a table was not followed before, or is another one of the same name.
fn is_another(known: Option<&Entry>, expected: Option<&(u32, Vec<Attribute>)>) -> bool {
    let Some((oid, _)) = expected else { return false };
    // Of one that was in trouble the number may not be known.
    known.and_then(|known| known.expected.as_ref()).is_none_or(|(before, _)| before != oid)
}

/// Two numbers into one, so that sums of many differ when any of them does (the finalizer of SplitMix64).
fn mix(one: u64, other: u64) -> u64 {
    let mut mixed = one.rotate_left(32) ^ other.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::{facts, table};
    use super::*;

    fn followed() -> Followed {
        let table = Arc::new(table());
        let shape = Shape::of(&table, vec![0], vec![true, false]);
        Followed { table, shape }
    }

    fn all(facts: Facts) -> AllFacts {
        AllFacts::from([(table().id, facts)])
    }

    fn relation(id: u32, name: &'static str, second: RelationColumn<'static>) -> Relation<'static> {
        let first = RelationColumn { is_key: true, name: "id", type_oid: 23, typmod: -1 };
        Relation { id, namespace: "public", name, columns: vec![first, second] }
    }

    const NOTE: RelationColumn<'static> = RelationColumn { is_key: false, name: "note", type_oid: 25, typmod: -1 };
    const OTHER: RelationColumn<'static> = RelationColumn { is_key: false, name: "note", type_oid: 1043, typmod: 14 };

    fn is_read(relations: &mut Relations, oid: u32) -> bool {
        relations.way(oid).flatten().is_some()
    }

    #[test]
    fn rows_are_given_while_both_agree() {
        let (mut relations, outcome) = Relations::new(&[followed()], &all(facts()));
        assert!(outcome.barriers.is_empty() && outcome.doubts.is_empty());
        assert!(relations.way(7).is_none());
        let outcome = relations.describe(&relation(7, "t", NOTE));
        assert!(outcome.barriers.is_empty() && outcome.doubts.is_empty());
        let (_, way) = relations.way(7).flatten().unwrap();
        assert_eq!((way.columns.as_slice(), way.is_key.as_slice()), ([Some(0), Some(1)].as_slice(), [true, false].as_slice()));
        // A table that nobody asked for is described too.
        assert!(relations.describe(&relation(8, "u", NOTE)).barriers.is_empty());
        assert!(relations.way(8).unwrap().is_none());
    }

    #[test]
    fn columns_that_change_stop_the_table_until_it_is_discovered_again() {
        let (mut relations, _) = Relations::new(&[followed()], &all(facts()));
        relations.describe(&relation(7, "t", NOTE));
        let before = relations.fingerprints();
        let outcome = relations.describe(&relation(7, "t", OTHER));
        assert!(matches!(outcome.barriers.as_slice(), [Barrier::Stopped { .. }]), "{outcome:?}");
        assert_eq!(outcome.doubts, [table().id]);
        assert!(!is_read(&mut relations, 7) && relations.fingerprints() != before);
        // As long as the catalogs have not been looked at, nothing changes.
        let outcome = relations.replace(&[followed()], &all(facts()), 0);
        assert!(outcome.barriers.is_empty() && outcome.added.is_empty(), "{outcome:?}");
        let (mut changed, mut newer) = (facts(), followed());
        (changed.attributes[1].type_oid, changed.attributes[1].typmod) = (1043, 14);
        changed.attributes[1].words = "character varying(10)".to_owned();
        let outcome = relations.replace(&[newer.clone()], &all(changed.clone()), 0);
        assert_eq!(outcome.doubts, [table().id], "what was discovered is older than the catalogs");
        let table = Arc::make_mut(&mut newer.table);
        table.columns[1].native_type = "character varying(10)".to_owned();
        newer.shape = Shape::of(table, vec![0], vec![true, false]);
        let outcome = relations.replace(&[newer], &all(changed), 0);
        assert!(matches!(outcome.barriers.as_slice(), [Barrier::Reshaped { .. }]), "{outcome:?}");
        assert!(is_read(&mut relations, 7));
    }

    #[test]
    fn a_table_that_is_discovered_before_its_rows_tell_that_it_is_another_one_gives_rows_behind_those_of_before() {
        let narrow = |second: &str, number: u32, typmod: i32| {
            let (mut facts, mut followed) = (facts(), followed());
            (facts.attributes[1].type_oid, facts.attributes[1].typmod) = (number, typmod);
            facts.attributes[1].words = second.to_owned();
            let table = Arc::make_mut(&mut followed.table);
            table.columns[1].native_type = second.to_owned();
            followed.shape = Shape::of(table, vec![0], vec![true, false]);
            (followed, all(facts))
        };
        let (newer, changed) = narrow("character varying(10)", 1043, 14);
        let is_reshaped = |outcome: &Outcome| matches!(outcome.barriers.as_slice(), [Barrier::Reshaped { .. }]);
        let described = || {
            let (mut relations, _) = Relations::new(&[followed()], &all(facts()));
            relations.describe(&relation(7, "t", NOTE));
            let outcome = relations.replace(std::slice::from_ref(&newer), &changed, 300);
            assert!(is_reshaped(&outcome) && outcome.doubts.is_empty() && outcome.added.is_empty(), "{outcome:?}");
            assert!(!relations.gives(&table().id) && !is_read(&mut relations, 7), "rows of before have other columns");
            relations
        };
        // Nothing is written: it gives rows again where all that was written before has come.
        let mut quiet = described();
        assert!(quiet.pass(299).is_empty() && !quiet.gives(&table().id));
        assert_eq!(quiet.pass(300), [table().id]);
        assert!(quiet.gives(&table().id) && quiet.way(7).is_none(), "what described it as it was is forgotten");
        let outcome = quiet.describe(&relation(7, "t", OTHER));
        assert!(outcome.barriers.is_empty() && outcome.doubts.is_empty() && is_read(&mut quiet, 7), "{outcome:?}");
        // A row comes before that.
        let mut busy = described();
        let outcome = busy.describe(&relation(7, "t", OTHER));
        assert!(is_reshaped(&outcome) && outcome.doubts.is_empty() && is_read(&mut busy, 7), "{outcome:?}");
        assert_eq!(busy.pass(300), [table().id]);
        assert!(is_read(&mut busy, 7));
        // It is defined anew once more, and then locked.
        let mut again = described();
        let (newest, latest) = narrow("character varying(20)", 1043, 24);
        let outcome = again.replace(std::slice::from_ref(&newest), &latest, 500);
        assert!(outcome.barriers.is_empty() && again.pass(499).is_empty(), "{outcome:?}");
        assert!(matches!(again.hold(&table().id, "x".to_owned()), Some(Barrier::Stopped { .. })));
        assert!(again.pass(500).is_empty() && !again.gives(&table().id), "a lock outlasts that");
    }

    #[test]
    fn a_table_that_looks_as_before_and_was_defined_anew_is_told() {
        let (mut relations, _) = Relations::new(&[followed()], &all(facts()));
        assert!(relations.describe(&relation(7, "t", NOTE)).is_described);
        assert!(!relations.describe(&relation(8, "u", NOTE)).is_described, "nobody follows it");
        let before = relations.fingerprints();
        let outcome = relations.describe(&relation(7, "t", NOTE));
        assert!(outcome.is_described && outcome.barriers.is_empty() && outcome.doubts.is_empty(), "{outcome:?}");
        let anew = || all(Facts { fingerprint: "2".to_owned(), ..facts() });
        let prints = |print: &str| Prints::from([(table().id, print.to_owned())]);
        assert!(relations.differing(&prints(&facts().fingerprint)).is_empty());
        assert_eq!((relations.differing(&prints("2")), relations.differing(&Prints::new())), (vec![table().id], vec![table().id]));
        let outcome = relations.replace(&[followed()], &anew(), 300);
        assert!(outcome.barriers.is_empty() && outcome.added.is_empty(), "rows of before may still come: {outcome:?}");
        assert!(is_read(&mut relations, 7) && relations.differing(&prints("2")).is_empty());
        // Whoever goes on from there has not been told, and is told behind those rows as well.
        let between = relations.fingerprints();
        let known = super::super::known::Known::of(&between);
        assert!(relations.pass(299).is_empty());
        assert!(relations.replace(&[followed()], &anew(), 400).barriers.is_empty());
        assert_eq!(relations.pass(300), [table().id]);
        assert!(relations.pass(400).is_empty());
        assert_ne!(relations.fingerprints(), before);
        assert_ne!(relations.fingerprints(), between);
        assert_eq!(known.defined_anew(&relations.fingerprints()).len(), 1);
        assert!(relations.replace(&[followed()], &anew(), 500).barriers.is_empty() && relations.pass(500).is_empty());
    }

    #[test]
    fn another_replica_identity_is_doubted_and_rows_with_the_key_are_told() {
        let whole = RelationColumn { is_key: true, ..NOTE };
        let (mut relations, _) = Relations::new(&[followed()], &all(facts()));
        relations.describe(&relation(7, "t", NOTE));
        let outcome = relations.describe(&relation(7, "t", whole));
        assert!(outcome.barriers.is_empty() && is_read(&mut relations, 7), "{outcome:?}");
        assert_eq!(outcome.doubts, [table().id]);
        let (_, way) = relations.way(7).flatten().unwrap();
        assert_eq!(way.is_key, [true, true]);
        // Discovered to be whole, and told by its key again.
        let mut changed = facts();
        changed.attributes[1].is_key = true;
        assert!(relations.replace(&[followed()], &all(changed), 0).barriers.is_empty());
        assert!(relations.describe(&relation(7, "t", whole)).doubts.is_empty());
        let outcome = relations.describe(&relation(7, "t", NOTE));
        assert!(outcome.barriers.is_empty() && outcome.doubts.len() == 1 && is_read(&mut relations, 7), "{outcome:?}");
        // By another column alone the key is not known.
        let mut other = relation(7, "t", whole);
        other.columns[0].is_key = false;
        let outcome = relations.describe(&other);
        assert!(
            matches!(outcome.barriers.as_slice(), [Barrier::Stopped { reason, .. }] if reason.contains("replica identity")),
            "{outcome:?}"
        );
        assert!(!is_read(&mut relations, 7) && outcome.doubts.len() == 1);
    }

    #[test]
    fn rows_of_an_older_description_wait_for_the_newer_one() {
        // The feed is behind: the table has been changed, and discovered, since.
        let (mut relations, _) = Relations::new(&[followed()], &all(facts()));
        let outcome = relations.describe(&relation(7, "t", OTHER));
        assert!(matches!(outcome.barriers.as_slice(), [Barrier::Stopped { .. }]), "{outcome:?}");
        let outcome = relations.describe(&relation(7, "t", NOTE));
        assert!(matches!(outcome.barriers.as_slice(), [Barrier::Reshaped { .. }]) && outcome.doubts.is_empty(), "{outcome:?}");
        assert!(is_read(&mut relations, 7));
    }

    #[test]
    fn another_table_of_the_name_is_another_table() {
        let (mut relations, _) = Relations::new(&[followed()], &all(facts()));
        relations.describe(&relation(7, "t", NOTE));
        let outcome = relations.describe(&relation(9, "t", NOTE));
        assert!(matches!(outcome.barriers.as_slice(), [Barrier::Stopped { .. }]) && outcome.doubts.len() == 1, "{outcome:?}");
        assert!(!is_read(&mut relations, 7) && !is_read(&mut relations, 9));
        let outcome = relations.replace(&[followed()], &all(Facts { oid: 9, ..facts() }), 0);
        assert!(matches!(outcome.barriers.as_slice(), [Barrier::Reshaped { .. }]), "{outcome:?}");
        assert_eq!(outcome.added, [table().id]);
        assert!(!is_read(&mut relations, 7) && is_read(&mut relations, 9));
    }

    #[test]
    fn tables_come_and_go() {
        let (mut relations, _) = Relations::new(&[], &all(facts()));
        let outcome = relations.replace(&[followed()], &all(facts()), 0);
        assert!(matches!(outcome.barriers.as_slice(), [Barrier::Reshaped { .. }]) && outcome.added.len() == 1, "{outcome:?}");
        relations.describe(&relation(7, "t", NOTE));
        assert!(matches!(relations.stop(&table().id, "x".to_owned()), Some(Barrier::Stopped { .. })));
        assert!(relations.stop(&table().id, "x".to_owned()).is_none() && !is_read(&mut relations, 7));
        // Whoever goes on without it has nothing to tell of the others.
        let (without, _) = Relations::new(&[], &all(facts()));
        let (with, _) = Relations::new(&[followed()], &all(facts()));
        assert!(relations.fingerprints() == without.fingerprints() && without.fingerprints() != with.fingerprints());
        // What is held goes on when it is told again.
        let (mut held, _) = Relations::new(&[followed()], &all(facts()));
        assert!(matches!(held.hold(&table().id, "x".to_owned()), Some(Barrier::Stopped { .. })));
        held.describe(&relation(8, "u", NOTE));
        assert!(!held.gives(&table().id));
        assert!(matches!(held.replace(&[followed()], &all(facts()), 0).barriers.as_slice(), [Barrier::Reshaped { .. }]));
        // What could not be read may be there again.
        assert!(relations.replace(&[followed()], &all(facts()), 0).barriers.is_empty());
        assert!(!relations.gives(&table().id));
        assert!(relations.replace(&[], &all(facts()), 0).barriers.is_empty());
        let outcome = relations.replace(&[followed()], &all(facts()), 0);
        assert!(is_read(&mut relations, 7) && outcome.added.len() == 1);
        let outcome = relations.replace(&[], &all(facts()), 0);
        assert!(matches!(outcome.barriers.as_slice(), [Barrier::Stopped { .. }]), "{outcome:?}");
        assert!(!is_read(&mut relations, 7));
    }
}
