//! What `tributary check` tells of change feeds: whether each table that a store file asks for can be followed, what keeps it from
//! that and what mends it, and what of ours lies in the stores, also in those that are switched off, and serves no feed of theirs.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::{Found, is_served};
use crate::command::print::{Align, table};
use crate::config::{Config, StoreConfig};
use crate::server;
use crate::stores::capture::{Follow, InstanceId, Judged, OwnObject, Survey, TablePattern};
use crate::stores::commit::{Caution, OF_OURS, OwnTable, is_own_name};
use crate::stores::schema::TableId;
use crate::stores::{StoreName, StoreSchema, Table};

/// Why nobody uses what is ours in a store that is switched off.
const OFF: &str = "which no feed uses: the store is switched off";

/// How long a store may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was found of one store: its survey where its file asks for a feed, else what of ours lies there.
pub(super) enum Looked {
    Surveyed(Survey),
    Left(Vec<OwnObject>),
    Unknown(String),
}

/// Looks at every store that answers, for the instance whose directory it is.
pub(super) async fn look_at_all<'a>(answers: &[(&'a StoreConfig, &'a Found)], directory: &Path) -> Vec<(&'a StoreConfig, Looked)> {
    let who = server::known_instance(directory).unwrap_or(InstanceId(0));
    let discovered = answers.iter().filter_map(|(store, found)| Some((*store, found.as_ref().ok()?)));
    let asked = discovered.map(|(store, schema)| async move { (store, look(store, schema, who).await) });
    join_all(asked).await.into_iter().filter_map(|(store, looked)| Some((store, looked?))).collect()
}

/// Tells what was found. Gives how many feeds cannot be.
pub(super) fn tell(output: &mut dyn Write, looked: &[(&StoreConfig, Looked)], directory: &Path) -> io::Result<usize> {
    let who = server::known_instance(directory).unwrap_or(InstanceId(0));
    let rows: Vec<Vec<String>> = looked.iter().flat_map(|(store, looked)| rows(store, looked)).collect();
    if !rows.is_empty() {
        let head = [
            ("changes of", Align::Left),
            ("table", Align::Left),
            ("feed", Align::Left),
            ("reason", Align::Left),
            ("what to do", Align::Left),
        ];
        writeln!(output)?;
        table(output, &head, &rows)?;
    }
    for (store, looked) in looked {
        tell_left(output, store, looked, who)?;
    }
    Ok(looked.iter().filter(|(_, looked)| matches!(looked, Looked::Surveyed(survey) if survey.refused.is_some())).count())
}

/// `None` where nothing can be of ours.
async fn look(store: &StoreConfig, schema: &StoreSchema, who: InstanceId) -> Option<Looked> {
    let capture = store.entry.connector.capture()?;
    let looked = async {
        Ok(match &store.entry.follow {
            Some(follow) => {
                let tables = tables(store, schema);
                let mut survey = capture.survey(who, follow, &tables).await?;
                survey.cautions.extend(unmet(&store.name, follow, &tables));
                Looked::Surveyed(survey)
            }
            None => Looked::Left(capture.objects(who).await?),
        })
    };
    let looked: Result<Result<Looked, crate::stores::StoreError>, _> = tokio::time::timeout(PATIENCE, looked).await;
    Some(match looked {
        Ok(Ok(looked)) => looked,
        // A store without a feed owes no answer to what is asked only for it.
        Ok(Err(_)) | Err(_) if store.entry.follow.is_none() => return None,
        Ok(Err(error)) => Looked::Unknown(error.to_string()),
        Err(_elapsed) => Looked::Unknown(format!("no answer within {} s", PATIENCE.as_secs())),
    })
}

/// The tables that a feed would be asked about.
fn tables(store: &StoreConfig, schema: &StoreSchema) -> Vec<Arc<Table>> {
    let served = schema.tables.iter().filter(|table| is_served(store, schema, &table.id));
    let outbox = store.entry.own.outbox.then(|| store.entry.connector.own_table(OwnTable::Outbox)).flatten();
    let mut tables: Vec<Arc<Table>> = served.cloned().collect();
    tables.extend(outbox.filter(|outbox| !schema.tables.iter().any(|table| table.id == outbox.id)));
    tables
}

/// The names in a store file that no table has. One that comes later is followed then, so they are no problem.
fn unmet(store: &StoreName, follow: &Follow, tables: &[Arc<Table>]) -> Vec<Caution> {
    // An asterisk alone means whatever comes.
    let is_met = |pattern: &TablePattern| pattern.to_string() == "*" || tables.iter().any(|table| pattern.matches(&table.id));
    let mut cautions = Vec::new();
    for (key, patterns) in [("changes.tables", &follow.only), ("changes.except", &follow.except)] {
        for pattern in patterns {
            if !is_met(pattern) {
                let told = format!("no table that is served has the name \"{pattern}\"");
                cautions.push(Caution { key, told, mend: format!("Look at {key} in stores/{store}.toml.") });
            }
        }
    }
    cautions
}

fn rows(store: &StoreConfig, looked: &Looked) -> Vec<Vec<String>> {
    match looked {
        Looked::Unknown(reason) => vec![[store.name.as_str(), "", "unknown", reason.as_str(), ""].map(str::to_owned).to_vec()],
        Looked::Left(_) => Vec::new(),
        Looked::Surveyed(survey) => surveyed(store.name.as_str(), survey),
    }
}

fn surveyed(store: &str, survey: &Survey) -> Vec<Vec<String>> {
    let row = |table: &str, feed: &str, reason: &str, mend: &str| [store, table, feed, reason, mend].map(str::to_owned).to_vec();
    let refused = survey.refused.iter().map(|(reason, mend)| row("", "refused", reason, mend));
    let cautions = survey.cautions.iter().map(|caution| row(caution.key, "caution", &caution.told, &caution.mend));
    let tables = survey.tables.iter().map(|judged| match judged {
        Judged::Followed(followed) => {
            let table = &followed.table.id;
            row(&named(table), "ok", if is_own_name(&table.name) { OF_OURS } else { "" }, "")
        }
        Judged::StoreOnly { table, reason, mend } => row(&named(table), "store-only", reason, mend.as_deref().unwrap_or_default()),
    });
    refused.chain(cautions).chain(tables).collect()
}

pub(super) fn named(table: &TableId) -> String {
    format!("{}.{}", table.namespace, table.name)
}

/// What lies in a store and serves no feed of it. What is of another server may serve one of that.
fn tell_left(output: &mut dyn Write, store: &StoreConfig, looked: &Looked, who: InstanceId) -> io::Result<()> {
    let (objects, is_followed) = match looked {
        Looked::Surveyed(survey) => (survey.objects.as_slice(), true),
        Looked::Left(objects) => (objects.as_slice(), false),
        Looked::Unknown(_) => return Ok(()),
    };
    for object in objects {
        let Some(reason) = unused(object, is_followed, who) else { continue };
        tell_object(output, &store.name, object, reason)?;
    }
    Ok(())
}

fn tell_object(output: &mut dyn Write, store: &StoreName, object: &OwnObject, reason: &str) -> io::Result<()> {
    let OwnObject { what, name, remove, .. } = object;
    writeln!(output, "\nleft in store \"{store}\": {what} {name}, {reason}\n         {remove}")
}

/// Tells what of ours lies in stores that are switched off. Before the first start of a server there is nothing.
pub(super) async fn tell_switched_off(output: &mut dyn Write, config: &Config) -> io::Result<()> {
    let Some(who) = server::known_instance(&config.directory) else { return Ok(()) };
    let directory = config.directory.as_path();
    let asked = config.disabled.iter().map(|store| async move { (store, server::left_in(directory, store, who).await) });
    for (store, found) in join_all(asked).await {
        match found {
            Ok(objects) => {
                for object in &objects {
                    let reason = if object.ours { Some(OFF) } else { unused(object, false, who) };
                    if let Some(reason) = reason {
                        tell_object(output, store, object, reason)?;
                    }
                }
            }
            Err(reason) => {
                writeln!(
                    output,
                    "\nnote: store \"{store}\" is switched off, and it is not known what of ours is left there: {reason}"
                )?;
            }
        }
    }
    Ok(())
}

fn unused(object: &OwnObject, is_followed: bool, who: InstanceId) -> Option<&'static str> {
    match (object.ours, is_followed) {
        (true, true) => None,
        (true, false) => Some("which no feed uses: changes.mode is off"),
        (false, _) if InstanceId::parse_object(&object.name).is_some_and(|(instance, _)| instance == who) => {
            Some("made when the store had another name here")
        }
        (false, _) => Some("of another server, which may use it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::fakes::table_of;
    use crate::stores::capture::{Followed, How};
    use crate::stores::change::Shape;

    #[test]
    fn a_name_in_a_file_that_no_table_has_is_told_with_its_key() {
        let patterns =
            |texts: &[&str]| -> Vec<TablePattern> { texts.iter().filter_map(|text| TablePattern::parse(text)).collect() };
        let told = |only: &[&str], except: &[&str], tables: &[Arc<Table>]| {
            let follow = Follow {
                how: How::Log,
                only: patterns(only),
                except: patterns(except),
                max_retained: 1 << 30,
                poll: Duration::from_millis(50),
                publication: None,
                server_id: None,
            };
            let cautions = unmet(&StoreName::new("shop"), &follow, tables);
            cautions.into_iter().map(|Caution { key, told, mend }| format!("{key}: {told}: {mend}")).collect::<Vec<String>>()
        };
        let tables = [table_of("orders"), table_of("notes")];
        assert_eq!(told(&["orders", "public.n*"], &["public.notes"], &tables), Vec::<String>::new());
        let expected = [
            "changes.tables: no table that is served has the name \"notez\": Look at changes.tables in stores/shop.toml.",
            "changes.except: no table that is served has the name \"other.*\": Look at changes.except in stores/shop.toml.",
        ];
        assert_eq!(told(&["notez", "orders"], &["other.*"], &tables), expected);
        assert_eq!(told(&["*"], &[], &[]), Vec::<String>::new());
    }

    #[test]
    fn a_table_of_ours_is_not_told_as_one_of_the_user() {
        let survey = |name: &str| {
            let table = Arc::new(Table::plain("public", name, Vec::new()));
            let shape = Shape::of(&table, Vec::new(), Vec::new());
            Survey { tables: vec![Judged::Followed(Followed { table, shape })], ..Survey::default() }
        };
        let reason = |name: &str| surveyed("shop", &survey(name)).remove(0).remove(3);
        assert_eq!((reason("tributary_outbox").as_str(), reason("orders").as_str()), (OF_OURS, ""));
    }

    fn object(name: String, ours: bool) -> OwnObject {
        OwnObject { what: "replication slot", name, remove: "SELECT 1".to_owned(), ours, holds_bytes: None }
    }

    #[test]
    fn only_what_serves_no_feed_is_told() {
        let us = InstanceId(7);
        let of = |instance: InstanceId, store: &str| instance.object(&StoreName::new(store));
        assert_eq!(unused(&object(of(us, "shop"), true), true, us), None);
        assert!(unused(&object(of(us, "shop"), true), false, us).unwrap().contains("off"));
        assert!(unused(&object(of(us, "crm"), false), true, us).unwrap().contains("another name"));
        assert!(unused(&object(of(InstanceId(8), "shop"), false), true, us).unwrap().contains("another server"));
    }
}
