//! `tributary check`: validates a catalog directory, connects to each store and prints what it found.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;

use super::print::{Align, table};
use super::{CommandError, Outcome};
use crate::config::{self, Config, StoreConfig};
use crate::error::Diagnose;
use crate::options::Problem;
use crate::stores::schema::Refused;
use crate::stores::{StoreError, StoreSchema};

/// How long a store may take in all. Connectors have deadlines of their own for every request; this one ends a discovery
/// of very many requests.
const DISCOVERY_LIMIT: Duration = Duration::from_secs(120);

/// Arguments of `tributary check`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The catalog directory.
    pub(super) directory: PathBuf,
    /// List weak settings too; exit code 1 when there are any.
    #[arg(long)]
    pub(super) security: bool,
}

/// What one store answered.
type Found = Result<StoreSchema, StoreError>;

/// Checks a catalog directory.
///
/// # Errors
/// The output cannot be written.
pub async fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<Outcome, CommandError> {
    let config = match config::load(&arguments.directory) {
        Ok(config) => config,
        Err(problems) => {
            tell_problems(output, &problems)?;
            return Ok(Outcome::Problems);
        }
    };
    tell_settings(output, &config)?;
    if !config.stores.is_empty() {
        writeln!(io::stderr(), "connecting to {} …", counted(config.stores.len(), "store", "stores"))?;
    }
    let found = join_all(config.stores.iter().map(discover)).await;
    let answers: Vec<(&StoreConfig, &Found)> = config.stores.iter().zip(&found).collect();
    tell_stores(output, &answers)?;
    tell_refused(output, &answers)?;
    let failures = tell_failures(output, &answers)?;
    let collisions = collisions(&answers);
    tell_problems(output, &collisions)?;
    let weaknesses = if arguments.security { tell_weaknesses(output, &config)? } else { 0 };
    join_all(config.stores.iter().map(|store| store.entry.connector.close())).await;
    let is_sound = failures == 0 && collisions.is_empty() && weaknesses == 0;
    Ok(if is_sound { Outcome::Success } else { Outcome::Problems })
}

async fn discover(store: &StoreConfig) -> Found {
    match tokio::time::timeout(DISCOVERY_LIMIT, store.entry.connector.discover()).await {
        Ok(found) => found,
        Err(_elapsed) => Err(StoreError::Deadline {
            store: store.name.to_string(),
            limit_ms: u64::try_from(DISCOVERY_LIMIT.as_millis()).unwrap_or(u64::MAX),
            waiting_for: "the description of its tables",
        }),
    }
}

fn collisions(answers: &[(&StoreConfig, &Found)]) -> Vec<Problem> {
    let discovered = answers.iter().filter_map(|(store, found)| Some((*store, found.as_ref().ok()?)));
    config::namespace::collisions(discovered.map(|(store, schema)| (&store.name, &store.entry.naming, schema)))
}

fn tell_settings(output: &mut dyn Write, config: &Config) -> io::Result<()> {
    let settings = &config.settings;
    let listed = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    writeln!(output, "catalog    {}", config.directory.display())?;
    writeln!(output, "listen     {}", listed(settings.listen.iter().map(ToString::to_string).collect()))?;
    writeln!(output, "http       {}", settings.http.map_or_else(|| "off".to_owned(), |address| address.to_string()))?;
    writeln!(output, "database   {}", settings.database)?;
    writeln!(output, "roles      {}", listed(settings.roles.keys().cloned().collect()))?;
    writeln!(output, "views      {}", listed(config.views.iter().map(|view| view.name.clone()).collect()))?;
    if !config.disabled.is_empty() {
        writeln!(output, "disabled   {}", listed(config.disabled.iter().map(ToString::to_string).collect()))?;
    }
    Ok(())
}

fn tell_stores(output: &mut dyn Write, answers: &[(&StoreConfig, &Found)]) -> io::Result<()> {
    if answers.is_empty() {
        return Ok(());
    }
    let head = [
        ("store", Align::Left),
        ("kind", Align::Left),
        ("server", Align::Left),
        ("tables", Align::Right),
        ("columns", Align::Right),
        ("refused", Align::Right),
    ];
    let row = |(store, found): &(&StoreConfig, &Found)| {
        let mut cells = vec![store.name.to_string(), store.entry.connector.kind().to_owned()];
        match found {
            Ok(schema) => {
                let columns: usize = schema.tables.iter().map(|table| table.columns.len()).sum();
                let counts = [schema.tables.len(), columns, schema.refused.len()];
                cells.push(schema.server_version.clone());
                cells.extend(counts.iter().map(ToString::to_string));
            }
            Err(_) => cells.extend(["not served", "-", "-", "-"].map(str::to_owned)),
        }
        cells
    };
    writeln!(output)?;
    table(output, &head, &answers.iter().map(row).collect::<Vec<_>>())
}

/// Refused columns, those of one native type and reason together.
fn tell_refused(output: &mut dyn Write, answers: &[(&StoreConfig, &Found)]) -> io::Result<()> {
    for (store, schema) in answers.iter().filter_map(|(store, found)| Some((store, found.as_ref().ok()?))) {
        let mut reasons: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        for refused in &schema.refused {
            reasons.entry((&refused.native_type, &refused.reason)).or_default().push(place(refused));
        }
        for ((native_type, reason), places) in reasons {
            writeln!(output, "\nstore \"{}\" leaves out {}: type {native_type} {reason}", store.name, places.join(", "))?;
        }
    }
    Ok(())
}

fn place(refused: &Refused) -> String {
    let table = format!("{}.{}", refused.table.namespace, refused.table.name);
    refused.column.as_ref().map_or(table.clone(), |column| format!("{table}.{column}"))
}

fn tell_failures(output: &mut dyn Write, answers: &[(&StoreConfig, &Found)]) -> io::Result<usize> {
    let mut failures = 0;
    for error in answers.iter().filter_map(|(_, found)| found.as_ref().err()) {
        failures += 1;
        let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        writeln!(output, "\nproblem: {error}{detail} ({})", error.sqlstate())?;
    }
    Ok(failures)
}

fn tell_problems(output: &mut dyn Write, problems: &[Problem]) -> io::Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    writeln!(output)?;
    problems.iter().try_for_each(|problem| writeln!(output, "problem: {problem}"))?;
    writeln!(output, "\n{} found", counted(problems.len(), "problem", "problems"))
}

fn tell_weaknesses(output: &mut dyn Write, config: &Config) -> io::Result<usize> {
    let found = config::check::weaknesses(config);
    writeln!(output)?;
    found.iter().try_for_each(|weakness| writeln!(output, "weak: {weakness}"))?;
    if found.is_empty() {
        writeln!(output, "no weak settings")?;
    }
    Ok(found.len())
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn checked(files: &[(&str, &str)], security: bool) -> (Outcome, String) {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let mut output = Vec::new();
        let arguments = Arguments { directory: directory.path().to_owned(), security };
        let outcome = run(&arguments, &mut output).await.unwrap();
        let root = directory.path().canonicalize().unwrap();
        (outcome, String::from_utf8(output).unwrap().replace(&root.display().to_string(), "DIR"))
    }

    const TRUSTING: &str = "auth.trust = true\n[roles.ada]\n[roles.bob]\nsuperuser = true\n";

    #[tokio::test]
    async fn all_problems_of_the_files_are_printed() {
        let files = [("tributary.toml", "listen = \"x\""), ("stores/a.toml", "")];
        let (outcome, said) = checked(&files, false).await;
        assert_eq!(outcome, Outcome::Problems);
        assert_eq!(
            said,
            "\nproblem: tributary.listen: \"x\" is not an address such as 127.0.0.1:5455 or [::1]:5455\n\
             problem: tributary.roles: names no role, so nobody could connect\n\
             problem: stores.a.kind: is required\n\n3 problems found\n"
        );
    }

    #[tokio::test]
    async fn settings_are_printed_and_weak_ones_on_request() {
        let files = [
            ("tributary.toml", TRUSTING),
            ("views/top.sql", "SELECT 1"),
            ("stores/old.toml", "kind = \"sqlite\"\nenabled = false"),
        ];
        let (outcome, said) = checked(&files, false).await;
        assert_eq!(outcome, Outcome::Success);
        assert_eq!(
            said,
            "catalog    DIR\nlisten     127.0.0.1:5455\nhttp       127.0.0.1:8455\ndatabase   tributary\n\
             roles      ada, bob\nviews      top\ndisabled   old\n"
        );
        let (outcome, said) = checked(&files, true).await;
        assert_eq!(outcome, Outcome::Problems);
        assert!(
            said.ends_with(
                "\n\nweak: tributary.tls: Clients cannot use TLS.\n\
             weak: tributary.auth.trust: Every program on this machine can log in without a password.\n"
            ),
            "{said}"
        );
    }
}
