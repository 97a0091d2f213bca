//! What can be followed and what keeps the rest from it: settings and rights of the server, then each table. Changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::super::capture::{Follow, How, InstanceId, Judged, Survey};
use super::super::super::commit::{Caution, is_own_name};
use super::super::super::error::StoreError;
use super::super::super::relational::{Dialect, literal};
use super::super::super::schema::{Table, TableId};
use super::super::branch::Inner;
use super::super::error;
use super::facts::Facts;
use super::judge::{Ground, Published, judge};
use super::{ask, facts, objects, texts, triggers};

/// What the server says of itself and of the role, as texts.
#[derive(Debug, Clone, Default)]
struct Server {
    version: i32,
    is_standby: bool,
    wal_level: String,
    may_replicate: bool,
    may_create_publication: bool,
    may_create_table: bool,
    slots: Room,
    senders: Room,
    keeps_log: String,
    commits: String,
    standbys: String,
    role: String,
    database: String,
}

/// How many there are besides ours, and how many there may be.
#[derive(Debug, Clone, Copy, Default)]
struct Room {
    used: u64,
    most: u64,
}

/// The columns of [`Server`] in their order; `{name}` stands for what is ours.
const SERVER: &str = "SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.pg_is_in_recovery()::text, \
     pg_catalog.current_setting('wal_level'), (r.rolreplication OR r.rolsuper)::text, \
     pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')::text, \
     (SELECT pg_catalog.has_schema_privilege(n.oid, 'CREATE') FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public')::text, \
     (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots s WHERE s.slot_name <> '{name}')::text, \
     pg_catalog.current_setting('max_replication_slots'), \
     (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication s WHERE coalesce(s.application_name, '') <> '{name}')::text, \
     pg_catalog.current_setting('max_wal_senders'), pg_catalog.current_setting('max_slot_wal_keep_size', true), \
     pg_catalog.current_setting('synchronous_commit'), pg_catalog.current_setting('synchronous_standby_names'), \
     r.rolname::text, pg_catalog.current_database()::text FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";

impl Server {
    fn read(columns: &[Option<String>]) -> Self {
        let text = |place: usize| columns.get(place).cloned().flatten().unwrap_or_default();
        let is_true = |place: usize| text(place) == "true";
        let number = |place: usize| text(place).parse().unwrap_or_default();
        Self {
            version: text(0).parse().unwrap_or_default(),
            is_standby: is_true(1),
            wal_level: text(2),
            may_replicate: is_true(3),
            may_create_publication: is_true(4),
            may_create_table: is_true(5),
            slots: Room { used: number(6), most: number(7) },
            senders: Room { used: number(8), most: number(9) },
            keeps_log: text(10),
            commits: text(11),
            standbys: text(12),
            role: text(13),
            database: text(14),
        }
    }
}

/// A publication of somebody else's.
#[derive(Debug, Clone, Default)]
struct Theirs {
    is_there: bool,
    /// Whether it tells of rows that appear, change and go, and of TRUNCATE.
    is_whole: bool,
    tables: HashMap<TableId, Published>,
}

/// Looks at everything.
///
/// # Errors
/// The store cannot be reached, or what it answered.
pub(super) async fn run(inner: &Inner, who: InstanceId, follow: &Follow, tables: &[Arc<Table>]) -> Result<Survey, StoreError> {
    let name = who.object(&inner.name);
    let (lease, rows) = ask(inner, &SERVER.replace("{name}", &name)).await?;
    drop(lease);
    let told = rows.first().map(|row| texts(inner, row)).transpose()?;
    let server = Server::read(&told.unwrap_or_default());
    let theirs = match follow.publication.as_deref().filter(|_| follow.how == How::Log) {
        Some(publication) => Some(Box::pin(published(inner, publication)).await?),
        None => None,
    };
    let owner = if follow.how == How::Outbox { Box::pin(triggers::owner(inner)).await? } else { None };
    let objects = Box::pin(objects::list(inner, who)).await?;
    let is_read_only = inner.settings.read_only;
    let refused = match follow.how {
        How::Log => refuse_log(&server, follow, theirs.as_ref(), is_read_only),
        How::Outbox => refuse_outbox(&server, owner.as_deref().filter(|owner| *owner != name), is_read_only),
    };
    let facts = Box::pin(facts::all(inner)).await?;
    let asked: Vec<&Arc<Table>> =
        tables.iter().filter(|table| follow.wants(&table.id) || super::super::own::is_ours(&table.id)).collect();
    let is_missing = theirs.as_ref().is_some_and(|theirs| !theirs.is_there);
    let published = theirs.map(|theirs| if is_missing { to_be_published(&asked, &facts) } else { theirs.tables });
    let ground = Ground { follow, version: server.version, role: &server.role, published };
    let judged: Vec<Judged> = asked.iter().map(|table| judge(table, facts.get(&table.id), &ground)).collect();
    let refused = refused.map(|(reason, mend)| (reason, if is_missing { with_tables(&mend, &judged) } else { mend }));
    let mut cautions = cautions(&server, follow.how);
    cautions.extend(objects::left(&objects, follow.how));
    cautions.extend(roots(&judged, &facts));
    cautions.extend(unreadable(follow, &server.role, &facts));
    Ok(Survey { tables: judged, cautions, refused, objects })
}

async fn published(inner: &Inner, publication: &str) -> Result<Theirs, StoreError> {
    let mut name = String::new();
    literal::write_text(publication, &mut name).map_err(|_cause| error::running(&inner.name, &sqlx::Error::RowNotFound))?;
    let sql = format!(
        "SELECT 'publication', (p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate)::text, NULL \
         FROM pg_catalog.pg_publication p WHERE p.pubname = {name} \
         UNION ALL SELECT t.schemaname::text, t.tablename::text, (pg_catalog.to_jsonb(t) ->> 'rowfilter' IS NOT NULL OR EXISTS \
         (SELECT FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid \
         JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE p.pubname = t.pubname AND n.nspname = t.schemaname AND c.relname = t.tablename \
         AND pg_catalog.to_jsonb(r) ->> 'prattrs' IS NOT NULL))::text \
         FROM pg_catalog.pg_publication_tables t WHERE t.pubname = {name}"
    );
    let (_lease, rows) = ask(inner, &sql).await?;
    let mut theirs = Theirs::default();
    for row in &rows {
        match texts(inner, row)?.as_slice() {
            [_, Some(is_whole), None] => (theirs.is_there, theirs.is_whole) = (true, is_whole == "true"),
            [Some(namespace), Some(name), Some(is_partial)] => {
                let id = TableId { namespace: namespace.clone(), name: name.clone() };
                theirs.tables.insert(id, Published { is_partial: is_partial == "true" });
            }
            _ => {}
        }
    }
    Ok(theirs)
}

/// What a publication should have that is not there yet: whatever is not a part of something else.
fn to_be_published(asked: &[&Arc<Table>], facts: &facts::AllFacts) -> HashMap<TableId, Published> {
    let is_whole = |table: &&&Arc<Table>| facts.get(&table.id).is_some_and(|facts| facts.ancestors.is_empty());
    asked.iter().filter(is_whole).map(|table| (table.id.clone(), Published { is_partial: false })).collect()
}

/// The statement that makes a publication, with the tables that can be followed in the place of the dots, unless they are too many.
fn with_tables(statement: &str, judged: &[Judged]) -> String {
    let followed = judged.iter().filter(|each| matches!(each, Judged::Followed(_)));
    let names: Vec<String> = followed.map(|each| Dialect::Postgres.table(each.table())).collect();
    let are_named = (1..=NAMED).contains(&names.len());
    if are_named { statement.replacen('…', &names.join(", "), 1) } else { statement.to_owned() }
}

type Refusal = Option<(String, String)>;

fn refused(reason: &str, mend: String) -> Refusal {
    Some((reason.to_owned(), mend))
}

/// Why nothing can be read from the log. What a restart mends comes first.
fn refuse_log(server: &Server, follow: &Follow, theirs: Option<&Theirs>, is_read_only: bool) -> Refusal {
    let quote = |name: &str| Dialect::Postgres.quote(name);
    let role = quote(&server.role);
    let publication = quote(follow.publication.as_deref().unwrap_or_default());
    let also = "or set changes.mode = \"outbox\" in the store file";
    let room = |room: Room, key: &str| {
        let (most, needed) = (room.most, room.most + 1);
        (room.used >= most).then(|| {
            let mend = format!("ALTER SYSTEM SET {key} = {needed}, and restart the server; or remove one that nobody needs");
            (format!("all {most} of {key} are in use"), mend)
        })
    };
    if server.is_standby {
        return refused("the server is a standby", "Name the primary server as host.".to_owned());
    }
    if server.wal_level != "logical" {
        let mend = format!("ALTER SYSTEM SET wal_level = logical, and restart the server; {also}");
        return refused("the server's log does not tell of rows (wal_level)", mend);
    }
    if !server.may_replicate {
        let mend = format!("ALTER ROLE {role} REPLICATION; {also}");
        return refused("the role of this store may not read the server's log", mend);
    }
    let full = room(server.slots, "max_replication_slots").or_else(|| room(server.senders, "max_wal_senders"));
    if full.is_some() {
        return full;
    }
    match theirs {
        Some(Theirs { is_there: false, .. }) => refused(
            "the publication that the store file names is not there",
            format!("CREATE PUBLICATION {publication} FOR TABLE … WITH (publish_via_partition_root = true)"),
        ),
        Some(Theirs { is_whole: false, .. }) => refused(
            "the publication that the store file names leaves out some changes",
            format!("ALTER PUBLICATION {publication} SET (publish = 'insert, update, delete, truncate')"),
        ),
        Some(_) => None,
        None if is_read_only => refused(
            "the store is read-only, and a publication would have to be made in it",
            "Make one, and name it in the store file as changes.publication.".to_owned(),
        ),
        None if !server.may_create_publication => refused(
            "the role of this store may not make a publication",
            format!(
                "GRANT CREATE ON DATABASE {} TO {role}; or name one in the store file as changes.publication",
                quote(&server.database)
            ),
        ),
        None => None,
    }
}

/// Why nothing can be followed by triggers.
fn refuse_outbox(server: &Server, other: Option<&str>, is_read_only: bool) -> Refusal {
    if server.is_standby {
        return refused("the server is a standby", "Name the primary server as host.".to_owned());
    }
    if is_read_only {
        return refused(
            "the store is read-only, and triggers would have to be made in it",
            "Set read_only = false, or changes.mode = \"log\" with a publication.".to_owned(),
        );
    }
    if let Some(other) = other {
        let reason = format!("another instance follows this database by triggers ({other})");
        return refused(&reason, triggers::takeover());
    }
    if !server.may_create_table {
        let mend = format!("GRANT CREATE ON SCHEMA public TO {}", Dialect::Postgres.quote(&server.role));
        return refused("the role of this store may make no tables in schema public", mend);
    }
    None
}

fn cautions(server: &Server, how: How) -> Vec<Caution> {
    let mut cautions = Vec::new();
    if how == How::Log && server.keeps_log == "-1" {
        cautions.push(Caution {
            key: "max_slot_wal_keep_size",
            told: "while the proxy does not run, the server keeps its log for it without a bound".to_owned(),
            mend: "Set max_slot_wal_keep_size to what its disk can spare, and reload the server's configuration.".to_owned(),
        });
    }
    if how == How::Log && server.commits == "off" {
        cautions.push(Caution {
            key: "synchronous_commit",
            told: "a change is told when the server's log is written, up to 0.6 s after its commit".to_owned(),
            mend: "Set synchronous_commit to local or more where changes must be told at once.".to_owned(),
        });
    }
    if !server.standbys.is_empty() {
        cautions.push(Caution {
            key: "synchronous_standby_names",
            told: "a change may be told while its commit still waits for a standby, before anybody else sees it".to_owned(),
            mend: String::new(),
        });
    }
    // Whoever reads the log counts, by the name that it gives itself.
    if how == How::Log && server.standbys.contains('*') {
        cautions.push(Caution {
            key: "synchronous_standby_names",
            told: "the server may take this feed for a standby and let commits wait until it has them on disk".to_owned(),
            mend: "Name the standbys in synchronous_standby_names instead of *.".to_owned(),
        });
    }
    cautions
}

/// What is not told of partitioned tables.
fn roots(judged: &[Judged], facts: &facts::AllFacts) -> Option<Caution> {
    let is_root = |id: &TableId| facts.get(id).is_some_and(|facts| facts.kind == "p");
    let mut followed = judged.iter().filter(|each| matches!(each, Judged::Followed(_))).map(Judged::table);
    let root = followed.find(|id| is_root(id))?;
    Some(Caution {
        key: "changes.tables",
        told: format!(
            "rows that come or go with a whole partition (ATTACH, DETACH, DROP or TRUNCATE of it) are not told, as of {}.{}",
            root.namespace, root.name
        ),
        mend: "Follow the partitions instead: name them in changes.tables, and the table in changes.except.".to_owned(),
    })
}

/// The most tables that are named together.
const NAMED: usize = 20;

/// What is wanted and left out by discovery, since the role of the store may not read it: for each schema what mends that.
fn unreadable(follow: &Follow, role: &str, facts: &facts::AllFacts) -> Vec<Caution> {
    let quote = |name: &str| Dialect::Postgres.quote(name);
    // Partitions are read through the whole, and foreign tables are not followed.
    let is_wanted = |facts: &Facts| facts.ancestors.is_empty() && facts.kind != "f";
    let is_left_out = |facts: &Facts| is_wanted(facts) && !(facts.is_reachable && facts.is_readable);
    let mut schemas: BTreeMap<&str, Vec<(&TableId, &Facts)>> = BTreeMap::new();
    for (id, facts) in facts.iter().filter(|(id, facts)| is_left_out(facts) && follow.wants(id) && !is_own_name(&id.name)) {
        schemas.entry(&id.namespace).or_default().push((id, facts));
    }
    let told = schemas.into_iter().map(|(schema, mut tables)| {
        tables.sort_by_key(|(id, _)| *id);
        let count = tables.len();
        let may_use = tables.iter().all(|(_, facts)| facts.is_reachable);
        let hidden = tables.iter().filter(|(_, facts)| !facts.is_readable).take(NAMED);
        let hidden: Vec<String> = hidden.map(|(id, _)| Dialect::Postgres.table(id)).collect();
        let usage = (!may_use).then(|| format!("GRANT USAGE ON SCHEMA {} TO {}", quote(schema), quote(role)));
        let select = (!hidden.is_empty()).then(|| format!("GRANT SELECT ON {} TO {}", hidden.join(", "), quote(role)));
        let mend: Vec<String> = usage.into_iter().chain(select).collect();
        let told =
            format!("not followed, since the role of this store may not read them: {count} of the tables in schema {schema}");
        Caution { key: "changes.tables", told, mend: mend.join("; ") }
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::super::capture::TablePattern;
    use super::*;

    fn server() -> Server {
        let columns = ["150004", "false", "logical", "true", "true", "true", "1", "10", "0", "10", "1GB", "on", "", "app", "shop"];
        Server::read(&columns.map(|text| Some(text.to_owned())))
    }

    fn follow(publication: Option<&str>) -> Follow {
        Follow {
            how: How::Log,
            only: Vec::new(),
            except: Vec::new(),
            max_retained: 1,
            poll: Duration::from_millis(50),
            publication: publication.map(str::to_owned),
            server_id: None,
        }
    }

    fn mend_of(change: impl FnOnce(&mut Server)) -> String {
        let mut server = server();
        change(&mut server);
        refuse_log(&server, &follow(None), None, false).map(|(_, mend)| mend).unwrap_or_default()
    }

    #[test]
    fn what_is_missing_is_named_with_the_statement_that_mends_it() {
        assert_eq!(mend_of(|_| {}), "");
        assert!(mend_of(|server| server.is_standby = true).contains("primary"));
        assert!(mend_of(|server| server.wal_level = "replica".to_owned()).starts_with("ALTER SYSTEM SET wal_level = logical"));
        assert!(mend_of(|server| server.may_replicate = false).starts_with("ALTER ROLE \"app\" REPLICATION"));
        assert!(mend_of(|server| server.slots.used = 10).contains("max_replication_slots = 11"));
        assert!(mend_of(|server| server.senders.used = 12).contains("max_wal_senders = 11"));
        assert!(
            mend_of(|server| server.may_create_publication = false).starts_with("GRANT CREATE ON DATABASE \"shop\" TO \"app\"")
        );
        assert!(refuse_log(&server(), &follow(None), None, true).is_some());
    }

    #[test]
    fn a_publication_that_is_given_must_be_there_and_whole() {
        let told = |is_there, is_whole| {
            let theirs = Theirs { is_there, is_whole, tables: HashMap::new() };
            // Neither a right to make one nor to write is needed then.
            let server = Server { may_create_publication: false, ..server() };
            refuse_log(&server, &follow(Some("theirs")), Some(&theirs), true).map(|(_, mend)| mend)
        };
        assert_eq!(told(true, true), None);
        assert!(told(false, false).unwrap().starts_with("CREATE PUBLICATION \"theirs\""));
        assert!(told(true, false).unwrap().starts_with("ALTER PUBLICATION \"theirs\" SET (publish"));
    }

    #[test]
    fn a_publication_that_is_to_be_made_is_told_with_its_tables() {
        let table = Arc::new(facts::tests::table());
        let all = facts::AllFacts::from([(table.id.clone(), facts::tests::facts())]);
        let published = to_be_published(&[&table], &all);
        assert_eq!(published.get(&table.id), Some(&Published { is_partial: false }));
        let part = Facts { ancestors: vec![table.id.clone()], ..facts::tests::facts() };
        assert!(to_be_published(&[&table], &facts::AllFacts::from([(table.id.clone(), part)])).is_empty());
        let follow = Follow { only: TablePattern::parse("*").into_iter().collect(), ..follow(Some("theirs")) };
        let ground = Ground { follow: &follow, version: 150_000, role: "app", published: Some(published) };
        let judged = [judge(&table, all.get(&table.id), &ground)];
        assert!(matches!(judged[0], Judged::Followed(_)), "{judged:?}");
        let told = with_tables("CREATE PUBLICATION p FOR TABLE … WITH (x)", &judged);
        assert_eq!(told, "CREATE PUBLICATION p FOR TABLE \"public\".\"t\" WITH (x)");
        assert_eq!(with_tables("FOR TABLE …", &[]), "FOR TABLE …");
    }

    #[test]
    fn triggers_need_a_writable_database_of_their_own() {
        assert!(refuse_outbox(&server(), None, false).is_none());
        assert!(refuse_outbox(&server(), None, true).is_some());
        assert!(refuse_outbox(&server(), Some("tributary_x"), false).unwrap().0.contains("tributary_x"));
        assert!(refuse_outbox(&Server { may_create_table: false, ..server() }, None, false).unwrap().1.starts_with("GRANT CREATE"));
        assert!(refuse_outbox(&Server { is_standby: true, ..server() }, None, false).is_some());
        // The log need not tell of rows.
        assert!(refuse_outbox(&Server { wal_level: "minimal".to_owned(), ..server() }, None, false).is_none());
    }

    #[test]
    fn what_may_not_be_read_is_told_with_what_mends_it() {
        let id = |namespace: &str, name: &str| TableId { namespace: namespace.to_owned(), name: name.to_owned() };
        let hidden = || Facts { is_readable: false, ..facts::tests::facts() };
        let all = facts::AllFacts::from([
            (id("public", "orders"), hidden()),
            (id("public", "notes"), hidden()),
            (id("public", "shown"), facts::tests::facts()),
            (id("aud", "trail"), Facts { is_reachable: false, ..hidden() }),
            (id("other", "unwanted"), hidden()),
        ]);
        let patterns = |text: &str| -> Vec<TablePattern> { TablePattern::parse(text).into_iter().collect() };
        let follow = Follow { only: patterns("*"), except: patterns("other.*"), ..follow(None) };
        let mends: Vec<String> = unreadable(&follow, "app", &all).into_iter().map(|caution| caution.mend).collect();
        assert_eq!(
            mends,
            [
                "GRANT USAGE ON SCHEMA \"aud\" TO \"app\"; GRANT SELECT ON \"aud\".\"trail\" TO \"app\"",
                "GRANT SELECT ON \"public\".\"notes\", \"public\".\"orders\" TO \"app\""
            ]
        );
    }

    #[test]
    fn settings_that_weaken_a_feed_are_told() {
        let keys = |how, change: fn(&mut Server)| {
            let mut server = server();
            change(&mut server);
            cautions(&server, how).iter().map(|caution| caution.key).collect::<Vec<_>>()
        };
        assert!(keys(How::Log, |_| {}).is_empty());
        assert_eq!(keys(How::Log, |server| server.keeps_log = "-1".to_owned()), ["max_slot_wal_keep_size"]);
        assert!(keys(How::Outbox, |server| server.keeps_log = "-1".to_owned()).is_empty());
        assert_eq!(keys(How::Log, |server| server.commits = "off".to_owned()), ["synchronous_commit"]);
        assert_eq!(keys(How::Outbox, |server| server.standbys = "*".to_owned()), ["synchronous_standby_names"]);
        assert_eq!(keys(How::Log, |server| server.standbys = "FIRST 1 (a)".to_owned()), ["synchronous_standby_names"]);
        assert_eq!(keys(How::Log, |server| server.standbys = "ANY 1 (*)".to_owned()), ["synchronous_standby_names"; 2]);
    }
}
