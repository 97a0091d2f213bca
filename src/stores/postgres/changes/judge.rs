//! Whether a table can be followed, and by which key: a pure function of what was discovered and what the catalogs say.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::super::capture::{Follow, Followed, How, Judged};
use super::super::super::change::{Shape, can_be_told};
use super::super::super::relational::Dialect;
use super::super::super::schema::{Table, TableId, TableKind};
use super::facts::Facts;
use super::publication::OF_ROOTS;

/// What a publication says of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Published {
    /// Whether it leaves rows or columns out.
    pub is_partial: bool,
}

/// What all tables have in common.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    /// What is asked for.
    pub follow: &'a Follow,
    /// The server's version as a number.
    pub version: i32,
    /// The role of the store.
    pub role: &'a str,
    /// The tables of the publication that the store file names.
    pub published: Option<HashMap<TableId, Published>>,
}

/// Why a table is not followed, as a clause, and what mends it.
struct Obstacle(String, Option<String>);

impl Obstacle {
    fn new(reason: &str) -> Self {
        Self(reason.to_owned(), None)
    }

    fn mended(reason: &str, mend: String) -> Self {
        Self(reason.to_owned(), Some(mend))
    }
}

/// How a table stands.
pub(super) fn judge(table: &Arc<Table>, facts: Option<&Facts>, ground: &Ground<'_>) -> Judged {
    match shape(table, facts, ground) {
        Ok(shape) => Judged::Followed(Followed { table: table.clone(), shape }),
        Err(Obstacle(reason, mend)) => Judged::StoreOnly { table: table.id.clone(), reason, mend },
    }
}

fn shape(table: &Arc<Table>, facts: Option<&Facts>, ground: &Ground<'_>) -> Result<Arc<Shape>, Obstacle> {
    if table.kind != TableKind::Table {
        return Err(Obstacle::new("is a view, and views have no changes of their own"));
    }
    let facts = facts.ok_or_else(|| {
        let mend = "Nothing, where that was meant: under another name it is another table, and followed as that.".to_owned();
        Obstacle::mended("was dropped or has another name now", mend)
    })?;
    if !facts.agree(table) {
        return Err(Obstacle::new("has changed since it was discovered"));
    }
    of_kind(table, facts, ground)?;
    if facts.has_row_security {
        let mend = format!("ALTER TABLE {} DISABLE ROW LEVEL SECURITY", name(table));
        return Err(Obstacle::mended(
            "has row security: who sees a row depends on the role, and events do not know for whom",
            mend,
        ));
    }
    match ground.follow.how {
        How::Log => of_log(table, facts, ground)?,
        How::Outbox => {}
    }
    if ground.published.is_none() && !facts.is_reachable {
        let quote = |name: &str| Dialect::Postgres.quote(name);
        let mend = format!("GRANT USAGE ON SCHEMA {} TO {}", quote(&table.id.namespace), quote(ground.role));
        return Err(Obstacle::mended("is in a schema that the role of this store may not use", mend));
    }
    if ground.published.is_none() && !facts.is_owned {
        let (owner, role) = (Dialect::Postgres.quote(&facts.owner), Dialect::Postgres.quote(ground.role));
        let mend = match ground.follow.how {
            How::Log => {
                format!("Its owner {owner} makes a publication with it, which the store file names as changes.publication.")
            }
            How::Outbox => format!("ALTER TABLE {} OWNER TO {role}; or GRANT {owner} TO {role}", name(table)),
        };
        return Err(Obstacle::mended("is not owned by the role of this store", mend));
    }
    let key = key(table, facts, ground.follow.how)?;
    let known = always_known(table, facts, &key, ground.follow.how);
    let unseen = (facts.kind == "p").then_some("a partition of it may come, go or be emptied, which is told nowhere");
    Ok(Shape::of_unseen(table, key, known, unseen))
}

/// Whether changes of such a table are told, and under its name.
fn of_kind(table: &Table, facts: &Facts, ground: &Ground<'_>) -> Result<(), Obstacle> {
    let is_root = facts.kind == "p";
    if facts.kind == "f" {
        return Err(Obstacle::new("is a foreign table, whose rows are kept outside of the server"));
    }
    if facts.is_unlogged && ground.follow.how == How::Log {
        let mend = format!("ALTER TABLE {} SET LOGGED", name(table));
        return Err(Obstacle::mended("is unlogged, so its changes are in no log", mend));
    }
    if let Some(part) = facts.silent_partition.as_ref().filter(|_| ground.follow.how == How::Log) {
        return Err(Obstacle::new(&format!("has the partition {part}, whose changes are in no log of this server")));
    }
    if facts.has_children {
        return Err(Obstacle::new("has tables that inherit from it, whose rows it shows and whose changes it does not have"));
    }
    if is_root && ground.follow.how == How::Outbox {
        return Err(Obstacle::new("is partitioned, and the triggers of an outbox tell of its partitions alone"));
    }
    if is_root && ground.version < OF_ROOTS {
        return Err(Obstacle::new("is partitioned, which the server publishes since version 13"));
    }
    // Changes of a partition are told as those of the uppermost table that is published.
    let told_as = facts.ancestors.iter().find(|id| match &ground.published {
        Some(published) => published.contains_key(*id),
        None => ground.follow.how == How::Log && ground.follow.wants(id),
    });
    match told_as {
        Some(root) => {
            Err(Obstacle::new(&format!("is a partition, and its changes are told as those of {}.{}", root.namespace, root.name)))
        }
        None => Ok(()),
    }
}

fn of_log(table: &Table, facts: &Facts, ground: &Ground<'_>) -> Result<(), Obstacle> {
    let place = ground.published.as_ref().map(|published| published.get(&table.id));
    if let Some(Some(Published { is_partial: true })) = place {
        return Err(Obstacle::new("is in the publication without some of its rows or columns"));
    }
    of_identity(table, facts)?;
    if let Some(None) = place {
        // Rows of a table without a key can neither be changed nor removed once it is in a publication: the key comes first.
        key(table, facts, How::Log)?;
        let publication = Dialect::Postgres.quote(ground.follow.publication.as_deref().unwrap_or_default());
        let mend = format!("ALTER PUBLICATION {publication} ADD TABLE {}", name(table));
        return Err(Obstacle::mended("is not in the publication that the store file names", mend));
    }
    Ok(())
}

/// Whether its old rows are told by a key, and by the same one in all parts.
fn of_identity(table: &Table, facts: &Facts) -> Result<(), Obstacle> {
    if facts.has_identity {
        let odd = |part: &String| {
            let identity = if facts.identity == "d" { "DEFAULT" } else { "FULL" };
            let reason = format!("has the partition {part}, which tells of its old rows by another key");
            Obstacle::mended(&reason, format!("ALTER TABLE {part} REPLICA IDENTITY {identity}"))
        };
        return facts.odd_partition.as_ref().map_or(Ok(()), |part| Err(odd(part)));
    }
    let unique = table.unique_keys.iter().find(|key| key.proven);
    let mend = match unique {
        Some(key) => format!("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}", name(table), Dialect::Postgres.quote(&key.name)),
        None if table.primary_key.is_some() => format!("ALTER TABLE {} REPLICA IDENTITY DEFAULT", name(table)),
        None => format!("ALTER TABLE {} ADD PRIMARY KEY (…)", name(table)),
    };
    Err(Obstacle::mended("has no key that its changes could be told by", mend))
}

/// The key that events carry. With `REPLICA IDENTITY FULL`, and from triggers, old rows are whole, so it is the table's own.
fn key(table: &Table, facts: &Facts, how: How) -> Result<Vec<usize>, Obstacle> {
    let places = facts.places(table);
    let key = if how == How::Outbox || facts.identity == "f" {
        let own = table.primary_key.iter().chain(&table.unique_keys).find(|key| key.proven).map(|key| key.columns.clone());
        own.ok_or_else(|| {
            let mend = format!("ALTER TABLE {} ADD PRIMARY KEY (…)", name(table));
            Obstacle::mended("has no key that tells its rows apart", mend)
        })?
    } else {
        let identity: Vec<usize> =
            facts.attributes.iter().enumerate().filter(|(_, attribute)| attribute.is_key).map(|(place, _)| place).collect();
        let mut key: Vec<usize> = Vec::with_capacity(identity.len());
        key.extend(identity.iter().filter_map(|wanted| places.iter().position(|place| *place == Some(*wanted))));
        if key.len() != identity.len() {
            return Err(Obstacle::new(UNTOLD_KEY));
        }
        // In its own order, where it is the primary key.
        let own = table.primary_key.as_ref().map(|own| own.columns.clone());
        own.filter(|own| own.len() == key.len() && own.iter().all(|column| key.contains(column))).unwrap_or(key)
    };
    let is_told = |column: &usize| table.columns.get(*column).is_some_and(can_be_told);
    if key.iter().all(is_told) { Ok(key) } else { Err(Obstacle::new(UNTOLD_KEY)) }
}

const UNTOLD_KEY: &str = "has a key with a column that is not offered";

/// Which columns the new row of every event has: a value that can lie outside of the row is not sent where it has not changed, and one
/// that is computed never. Whether old rows are whole is for each partition to say.
fn always_known(table: &Table, facts: &Facts, key: &[usize], how: How) -> Vec<bool> {
    let places = facts.places(table);
    let is_whole = facts.identity == "f" && facts.kind != "p";
    let is_known = |(column, place): (usize, &Option<usize>)| {
        let Some(attribute) = place.and_then(|place| facts.attributes.get(place)) else { return false };
        match how {
            How::Outbox => true,
            How::Log => !attribute.is_generated && (attribute.is_inline || is_whole || key.contains(&column)),
        }
    };
    places.iter().enumerate().map(is_known).collect()
}

fn name(table: &Table) -> String {
    Dialect::Postgres.table(&table.id)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::super::capture::TablePattern;
    use super::super::super::super::schema::Key;
    use super::super::facts::tests::{column, facts, table};
    use super::*;
    use crate::pgtype::PgType;

    fn follow(how: How) -> Follow {
        Follow {
            how,
            only: TablePattern::parse("*").into_iter().collect(),
            except: Vec::new(),
            max_retained: 1 << 30,
            poll: Duration::from_millis(50),
            publication: None,
            server_id: None,
        }
    }

    /// The columns of the key, and which are always known.
    type Known = (Vec<usize>, Vec<bool>);

    /// What is known of the table's rows, or the reason why it is not followed, and what mends that.
    fn judged(how: How, change: impl FnOnce(&mut Table, &mut Facts)) -> Result<Known, (String, Option<String>)> {
        let (mut table, mut facts) = (table(), facts());
        change(&mut table, &mut facts);
        let follow = follow(how);
        let ground = Ground { follow: &follow, version: 150_000, role: "app", published: None };
        match judge(&Arc::new(table), Some(&facts), &ground) {
            Judged::Followed(followed) => Ok((followed.shape.key.clone(), followed.shape.always_known.clone())),
            Judged::StoreOnly { reason, mend, .. } => Err((reason, mend)),
        }
    }

    fn check(how: How, expected: &str, change: impl FnOnce(&mut Table, &mut Facts)) {
        let (reason, mend) = judged(how, change).unwrap_err();
        let told = format!("{reason}; {}", mend.unwrap_or_default());
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn keys_and_columns_that_are_always_known() {
        let plain = |_: &mut Table, _: &mut Facts| {};
        assert_eq!(judged(How::Log, plain), Ok((vec![0], vec![true, false])));
        assert_eq!(judged(How::Outbox, plain), Ok((vec![0], vec![true, true])));
        assert_eq!(judged(How::Log, |_, facts| facts.identity = "f".to_owned()), Ok((vec![0], vec![true, true])));
        let divided = |_: &mut Table, facts: &mut Facts| (facts.identity, facts.kind) = ("f".to_owned(), "p".to_owned());
        assert_eq!(judged(How::Log, divided), Ok((vec![0], vec![true, false])));
        // An index of the owner's choice.
        let other = judged(How::Log, |_, facts| {
            facts.identity = "i".to_owned();
            (facts.attributes[0].is_key, facts.attributes[1].is_key) = (false, true);
        });
        assert_eq!(other, Ok((vec![1], vec![true, true])));
        let computed = judged(How::Log, |_, facts| {
            (facts.attributes[1].is_generated, facts.attributes[1].is_inline) = (true, true);
        });
        assert_eq!(computed, Ok((vec![0], vec![true, false])));
        let named = judged(How::Outbox, |table, facts| {
            table.columns[1] = column("note", PgType { oid: 2205, typmod: -1 }, "regclass");
            facts.attributes[1].words = "regclass".to_owned();
        });
        assert_eq!(named, Ok((vec![0], vec![true, false])));
    }

    #[test]
    fn what_cannot_be_followed_says_why_and_what_mends_it() {
        check(How::Log, "is a view", |table, _| table.kind = TableKind::View);
        check(How::Log, "outside of the server", |_, facts| facts.kind = "f".to_owned());
        check(How::Log, "has changed", |_, facts| facts.attributes[0].words = "text".to_owned());
        check(How::Log, "DISABLE ROW LEVEL SECURITY", |_, facts| facts.has_row_security = true);
        check(How::Outbox, "row security", |_, facts| facts.has_row_security = true);
        check(How::Log, "SET LOGGED", |_, facts| facts.is_unlogged = true);
        let part = || Some("public.part".to_owned());
        check(How::Log, "public.part, whose changes are in no log", |_, facts| facts.silent_partition = part());
        check(How::Log, "another key; ALTER TABLE public.part REPLICA IDENTITY DEFAULT", |_, facts| facts.odd_partition = part());
        check(How::Log, "ALTER TABLE public.part REPLICA IDENTITY FULL", |_, facts| {
            (facts.identity, facts.odd_partition) = ("i".to_owned(), part());
        });
        check(How::Log, "inherit", |_, facts| facts.has_children = true);
        check(How::Outbox, "partitioned", |_, facts| facts.kind = "p".to_owned());
        for how in [How::Log, How::Outbox] {
            check(how, "may not use; GRANT USAGE ON SCHEMA \"public\" TO \"app\"", |_, facts| facts.is_reachable = false);
        }
        check(How::Log, "changes.publication", |_, facts| facts.is_owned = false);
        check(How::Outbox, "ALTER TABLE \"public\".\"t\" OWNER TO \"app\"; or GRANT \"boss\" TO \"app\"", |_, facts| {
            facts.is_owned = false;
        });
        check(How::Log, "told as those of public.root", |_, facts| {
            facts.ancestors = vec![TableId { namespace: "public".to_owned(), name: "root".to_owned() }];
        });
        check(How::Log, "ADD PRIMARY KEY", |table, facts| {
            (table.primary_key, facts.has_identity) = (None, false);
        });
        check(How::Log, "REPLICA IDENTITY DEFAULT", |_, facts| facts.has_identity = false);
        check(How::Log, "REPLICA IDENTITY USING INDEX \"t_note\"", |table, facts| {
            table.unique_keys.push(Key { name: "t_note".to_owned(), columns: vec![1], proven: true });
            facts.has_identity = false;
        });
        // Whole old rows do not make a key.
        check(How::Log, "tells its rows apart", |table, facts| {
            (table.primary_key, facts.identity) = (None, "f".to_owned());
        });
        check(How::Outbox, "tells its rows apart", |table, _| table.primary_key = None);
        check(How::Log, "not offered", |table, _| {
            table.columns.remove(0);
        });
        assert!(judged(How::Outbox, |_, facts| facts.has_identity = false).is_ok());
    }

    #[test]
    fn a_table_that_is_gone_says_so() {
        let follow = follow(How::Log);
        let ground = Ground { follow: &follow, version: 150_000, role: "app", published: None };
        let judged = judge(&Arc::new(table()), None, &ground);
        assert!(
            matches!(&judged, Judged::StoreOnly { reason, mend: Some(mend), .. } if reason.contains("dropped") && mend.contains("name")),
            "{judged:?}"
        );
    }

    #[test]
    fn a_publication_that_is_given_is_the_limit() {
        let (table, facts) = (Arc::new(table()), Facts { is_owned: false, is_reachable: false, ..facts() });
        let follow = Follow { publication: Some("theirs".to_owned()), ..follow(How::Log) };
        let judged = |published: &[Published]| {
            let published = published.iter().map(|each| (table.id.clone(), *each)).collect();
            judge(&table, Some(&facts), &Ground { follow: &follow, version: 150_000, role: "app", published: Some(published) })
        };
        assert!(matches!(judged(&[Published { is_partial: false }]), Judged::Followed(_)));
        assert!(matches!(judged(&[Published { is_partial: true }]), Judged::StoreOnly { .. }));
        assert!(matches!(judged(&[]), Judged::StoreOnly { mend: Some(mend), .. }
            if mend == "ALTER PUBLICATION \"theirs\" ADD TABLE \"public\".\"t\""));
    }

    #[test]
    fn a_table_without_a_key_is_not_to_be_put_into_a_publication() {
        let follow = Follow { publication: Some("theirs".to_owned()), ..follow(How::Log) };
        let ground = Ground { follow: &follow, version: 150_000, role: "app", published: Some(HashMap::new()) };
        let mend_of = |change: fn(&mut Table, &mut Facts)| {
            let (mut table, mut facts) = (table(), facts());
            change(&mut table, &mut facts);
            match judge(&Arc::new(table), Some(&facts), &ground) {
                Judged::StoreOnly { mend, .. } => mend.unwrap_or_default(),
                Judged::Followed(_) => "none is needed".to_owned(),
            }
        };
        assert_eq!(mend_of(|_, _| {}), "ALTER PUBLICATION \"theirs\" ADD TABLE \"public\".\"t\"");
        let keyless = "ALTER TABLE \"public\".\"t\" ADD PRIMARY KEY (…)";
        assert_eq!(mend_of(|table, facts| (table.primary_key, facts.has_identity) = (None, false)), keyless);
        assert_eq!(mend_of(|table, facts| (table.primary_key, facts.identity) = (None, "f".to_owned())), keyless);
        let nothing = mend_of(|_, facts| facts.has_identity = false);
        assert_eq!(nothing, "ALTER TABLE \"public\".\"t\" REPLICA IDENTITY DEFAULT");
    }
}
