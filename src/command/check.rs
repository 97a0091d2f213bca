//! `tributary check`: validates a catalog directory, tries the addresses, connects to each store, plans each view and prints
//! what it found.

mod cached;
mod changes;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::join_all;

use super::print::{Align, table};
use super::{CommandError, Outcome};
use crate::catalog::Known;
use crate::config::check::Grade;
use crate::config::{self, Config, StoreConfig};
use crate::error::Diagnose;
use crate::options::Problem;
use crate::server::{self, ServerError};
use crate::stores::commit::Caution;
use crate::stores::schema::{Refused, TableId};
use crate::stores::{StoreError, StoreSchema};

/// Arguments of `tributary check`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Arguments {
    /// The catalog directory.
    pub(super) directory: PathBuf,
    /// List weak settings too. Notes are for information; a weak setting counts as a problem.
    #[arg(long)]
    pub(super) security: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  everything is sound: files, addresses, stores, views, and with --security the settings
  1  there are problems, each printed with its place
  2  wrong arguments";

/// What one store answered.
type Found = Result<Arc<StoreSchema>, StoreError>;

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
    let obstacles = server::obstacles(&config);
    if !config.stores.is_empty() {
        writeln!(io::stderr(), "connecting to {} …", counted(config.stores.len(), "store", "stores"))?;
    }
    let found = join_all(config.stores.iter().map(discover)).await;
    let answers: Vec<(&StoreConfig, &Found)> = config.stores.iter().zip(&found).collect();
    tell_stores(output, &answers)?;
    tell_refused(output, &answers)?;
    tell_cautions(output, &answers).await?;
    let looked = changes::look_at_all(&answers, &config.directory).await;
    let unfollowed =
        changes::tell(output, &looked, &config.directory)? + cached::tell(output, &answers, &looked, &config.directory)?;
    changes::tell_switched_off(output, &config).await?;
    let failures = tell_failures(output, &obstacles, &answers)?;
    let collisions = collisions(&answers);
    let unmet = unmet(&answers);
    tell_problems(output, &[collisions.as_slice(), &unmet].concat())?;
    tell_unseen(output, &answers)?;
    // With two schemas of one name there is no catalog in which a view could be planned.
    let broken = if collisions.is_empty() { tell_views(output, &config, &answers)? } else { 0 };
    let weaknesses = if arguments.security { tell_weaknesses(output, &config)? } else { 0 };
    join_all(config.stores.iter().map(|store| store.entry.connector.close())).await;
    let is_sound = failures == 0 && unfollowed == 0 && collisions.is_empty() && unmet.is_empty() && broken == 0 && weaknesses == 0;
    Ok(if is_sound { Outcome::Success } else { Outcome::Problems })
}

async fn discover(store: &StoreConfig) -> Found {
    store.entry.discover().await.map(Arc::new)
}

fn collisions(answers: &[(&StoreConfig, &Found)]) -> Vec<Problem> {
    let discovered = answers.iter().filter_map(|(store, found)| Some((*store, found.as_ref().ok()?)));
    config::namespace::collisions(discovered.map(|(store, schema)| (&store.name, &store.entry.naming, schema.as_ref())))
}

/// What the store files name and the stores do not have.
fn unmet(answers: &[(&StoreConfig, &Found)]) -> Vec<Problem> {
    let of_store = |(store, found): &(&StoreConfig, &Found)| {
        let Ok(schema) = found else { return Vec::new() };
        let inside = schema.unmet.iter().map(|problem| placed(store, problem));
        config::namespace::unknown(&store.name, &store.entry.naming, schema).into_iter().chain(inside).collect()
    };
    answers.iter().flat_map(of_store).collect()
}

/// A problem inside a store's file with its whole path.
fn placed(store: &StoreConfig, problem: &Problem) -> Problem {
    Problem { path: format!("stores.{}.{}", store.name, problem.path), ..problem.clone() }
}

/// A declared field may be rare, so that it is a note and no problem that no document had it, nor one of a name so near.
fn tell_unseen(output: &mut dyn Write, answers: &[(&StoreConfig, &Found)]) -> io::Result<()> {
    let found = answers.iter().filter_map(|(store, found)| Some((*store, found.as_ref().ok()?)));
    let notes: Vec<Problem> = found.flat_map(|(store, schema)| schema.unseen.iter().map(|note| placed(store, note))).collect();
    if !notes.is_empty() {
        writeln!(output)?;
    }
    notes.iter().try_for_each(|note| writeln!(output, "note: {note}"))
}

fn tell_settings(output: &mut dyn Write, config: &Config) -> io::Result<()> {
    let settings = &config.settings;
    let listed = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    writeln!(output, "catalog    {}", config.directory.display())?;
    writeln!(output, "listen     {}", listed(settings.listen.iter().map(ToString::to_string).collect()))?;
    // The address speaks TLS alone where there is a certificate.
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let http = settings.http.map_or_else(|| "off".to_owned(), |address| format!("{scheme}://{address}"));
    writeln!(output, "http       {http}")?;
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
                let tables = schema.tables.iter().filter(|table| is_served(store, schema, &table.id));
                let (tables, columns) = tables.fold((0, 0), |(tables, columns), table| (tables + 1, columns + table.columns.len()));
                let counts = [tables, columns, refused(store, schema).count()];
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

/// Whether the table is in a namespace that the store file does not leave out.
fn is_served(store: &StoreConfig, schema: &StoreSchema, table: &TableId) -> bool {
    store.entry.naming.schema_of(&store.name, &schema.default_namespace, &table.namespace).is_some()
}

/// What is refused in the namespaces that are served.
fn refused<'a>(store: &'a StoreConfig, schema: &'a StoreSchema) -> impl Iterator<Item = &'a Refused> {
    schema.refused.iter().filter(move |refused| is_served(store, schema, &refused.table))
}

/// Refused columns, those of one native type and reason together; of whole tables there may be a reason only.
fn tell_refused(output: &mut dyn Write, answers: &[(&StoreConfig, &Found)]) -> io::Result<()> {
    for (store, schema) in answers.iter().filter_map(|(store, found)| Some((store, found.as_ref().ok()?))) {
        let mut reasons: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        for refused in refused(store, schema) {
            reasons.entry((&refused.native_type, &refused.reason)).or_default().push(place(refused));
        }
        for ((native_type, reason), places) in reasons {
            let subject = if native_type.is_empty() { String::new() } else { format!("type {native_type} ") };
            writeln!(output, "\nstore \"{}\" leaves out {}: {subject}{reason}", store.name, places.join(", "))?;
        }
    }
    Ok(())
}

/// What weakens promises about stores that answer. Nothing is refused because of it.
async fn tell_cautions(output: &mut dyn Write, answers: &[(&StoreConfig, &Found)]) -> io::Result<()> {
    let found = answers.iter().filter(|(_, found)| found.is_ok());
    let asked = found.map(|(store, _)| async move { (*store, store.entry.connector.preflight().await) });
    for (store, cautions) in join_all(asked).await {
        match cautions {
            Ok(cautions) => {
                for Caution { key, told, mend } in cautions {
                    writeln!(output, "\ncaution: store \"{}\", {key}: {told}\n         {mend}", store.name)?;
                }
            }
            Err(error) => writeln!(output, "\ncaution: store \"{}\": its settings cannot be looked at: {error}", store.name)?,
        }
    }
    Ok(())
}

fn place(refused: &Refused) -> String {
    let table = format!("{}.{}", refused.table.namespace, refused.table.name);
    refused.column.as_ref().map_or(table.clone(), |column| format!("{table}.{column}"))
}

/// What keeps the catalog from being served: addresses and certificates, then stores.
fn tell_failures(output: &mut dyn Write, obstacles: &[ServerError], answers: &[(&StoreConfig, &Found)]) -> io::Result<usize> {
    let stores = answers.iter().filter_map(|(_, found)| found.as_ref().err()).map(|error| error as &dyn Diagnose);
    let failures: Vec<&dyn Diagnose> = obstacles.iter().map(|error| error as &dyn Diagnose).chain(stores).collect();
    failures.iter().try_for_each(|error| writeln!(output, "\nproblem: {}", problem(*error)))?;
    Ok(failures.len())
}

/// `message: Detail. (SQLSTATE) Hint.`
fn problem(error: &dyn Diagnose) -> String {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    // What is said of a store that is away speaks of a running server.
    let hint = error.hint().filter(|_| !error.sqlstate().starts_with("08"));
    let hint = hint.map(|hint| format!("\n         {hint}")).unwrap_or_default();
    format!("{error}{detail} ({}){hint}", error.sqlstate())
}

/// Plans every view, also those that clients have made, and tells those that cannot be.
fn tell_views(output: &mut dyn Write, config: &Config, answers: &[(&StoreConfig, &Found)]) -> io::Result<usize> {
    let known: Known = answers.iter().map(|(store, found)| (store.name.clone(), (*found).clone())).collect();
    let broken = match server::broken_views(config, known) {
        Ok(broken) => broken,
        Err(error) => {
            writeln!(output, "\nproblem: {}", problem(&error))?;
            return Ok(1);
        }
    };
    for view in &config.views {
        let Some(error) = broken.filed.get(&view.name) else { continue };
        let place = error.position.map(|position| view.line_and_column(position));
        let place = place.map(|(line, column)| format!(", line {line}, column {column}")).unwrap_or_default();
        writeln!(output, "\nproblem: views/{}.sql{place}: {}", view.name, problem(error))?;
    }
    for (view, error) in &broken.of_clients {
        writeln!(output, "\nproblem: view {view}, which a client has made: {}", problem(error))?;
    }
    Ok(broken.filed.len() + broken.of_clients.len())
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
    found.iter().try_for_each(|weakness| writeln!(output, "{weakness}"))?;
    let weak = found.iter().filter(|weakness| weakness.grade == Grade::Weak).count();
    if weak == 0 {
        writeln!(output, "no weak settings")?;
    }
    Ok(weak)
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
    use sqlx::{Connection, Executor};

    use super::*;
    use crate::catalog::ViewSource;

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

    const TRUSTING: &str =
        "listen = \"127.0.0.1:0\"\nhttp.listen = \"off\"\nauth.trust = true\n[roles.ada]\n[roles.bob]\nsuperuser = true\n";

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
            "catalog    DIR\nlisten     127.0.0.1:0\nhttp       off\ndatabase   tributary\n\
             roles      ada, bob\nviews      top\ndisabled   old\n"
        );
        let (outcome, said) = checked(&files, true).await;
        assert_eq!(outcome, Outcome::Problems);
        assert!(
            said.ends_with(
                "\n\nnote: tributary.tls: Clients cannot use TLS, which matters once other machines can connect.\n\
             weak: tributary.auth.trust: Every program on this machine can log in without a password.\n"
            ),
            "{said}"
        );
    }

    #[tokio::test]
    async fn a_note_is_no_problem() {
        let verifier = crate::command::password::fresh_verifier(&crate::options::Secret::new("x"));
        let main = format!("listen = \"127.0.0.1:0\"\nhttp.listen = \"off\"\n[roles.ada]\npassword = \"{verifier}\"\n");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tributary.toml");
        std::fs::write(&file, main).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let mut output = Vec::new();
        let arguments = Arguments { directory: directory.path().to_owned(), security: true };
        let outcome = run(&arguments, &mut output).await.unwrap();
        let said = String::from_utf8(output).unwrap();
        assert_eq!(outcome, Outcome::Success, "{said}");
        assert!(said.contains("\nnote: tributary.tls: ") && said.ends_with("\nno weak settings\n"), "{said}");
    }

    #[tokio::test]
    async fn every_view_that_cannot_be_planned_is_told_with_file_place_and_code() {
        let files = [
            ("tributary.toml", TRUSTING),
            ("views/fine.sql", "SELECT 1 AS n;\n"),
            ("views/missing.sql", "SELECT *\n  FROM shop.orders"),
            ("views/stands_on_it.sql", "SELECT * FROM missing"),
            ("views/misspelt.sql", "SELECT m\nFROM fine"),
            ("views/torn.sql", "SELECT 1,"),
            ("views/two.sql", "SELECT 1; SELECT 2"),
            ("views/asks.sql", "SELECT $1::int"),
            ("views/writes.sql", "DELETE FROM fine"),
            ("views/turns.sql", "SELECT * FROM round"),
            ("views/round.sql", "SELECT * FROM turns"),
            ("views/twice.sql", "SELECT 1 AS a, 2 AS b, 3 AS a"),
        ];
        let (outcome, said) = checked(&files, false).await;
        assert_eq!(outcome, Outcome::Problems);
        let problems: Vec<&str> = said.lines().filter(|line| line.starts_with("problem: ")).collect();
        let starts = [
            ("problem: views/asks.sql: there is no parameter $1", "(42P02)"),
            ("problem: views/missing.sql, line 2, column 8: relation \"shop.orders\" does not exist", "(42P01)"),
            ("problem: views/misspelt.sql, line 1, column 8: column \"m\" does not exist", "(42703)"),
            ("problem: views/round.sql", "(42P17)"),
            ("problem: views/stands_on_it.sql, line 1, column 15: view \"public.missing\" cannot be planned: relation", "(42P01)"),
            ("problem: views/torn.sql, line 1, column 10: syntax error at end of input", "(42601)"),
            ("problem: views/turns.sql: view \"public.", "(42P17)"),
            ("problem: views/twice.sql: column \"a\" specified more than once (42701)", ")"),
            ("problem: views/two.sql, line 1, column 11: syntax error at or near \"SELECT\"", "(42601)"),
            ("problem: views/writes.sql", ")"),
        ];
        assert_eq!(problems.len(), starts.len(), "{said}");
        for (problem, (start, end)) in problems.iter().zip(starts) {
            assert!(problem.starts_with(start) && problem.ends_with(end), "{problem}\n{said}");
        }
    }

    #[tokio::test]
    async fn views_of_clients_are_known() {
        let kept = |name: &str, sql: &str| {
            format!(
                "{{\"schema\": \"public\", \"name\": \"{name}\", \"sql\": \"{sql}\", \"owner\": \"ada\", \
                 \"columns\": [{{\"inner\": \"a\", \"name\": \"a\"}}]}}"
            )
        };
        let (made, gone) = (kept("made", "SELECT 1 AS a"), kept("gone", "SELECT a FROM shop.orders"));
        let fine = format!("{{\"format\": 1, \"content\": [{made}]}}");
        let files = [("tributary.toml", TRUSTING), ("views/top.sql", "SELECT a FROM made"), (".state/views.json", fine.as_str())];
        let (outcome, said) = checked(&files, false).await;
        assert_eq!(outcome, Outcome::Success, "{said}");
        let broken = format!("{{\"format\": 1, \"content\": [{made}, {gone}]}}");
        let files = [("tributary.toml", TRUSTING), ("views/top.sql", "SELECT a FROM made"), (".state/views.json", broken.as_str())];
        let (outcome, said) = checked(&files, false).await;
        assert_eq!(outcome, Outcome::Problems);
        let problems: Vec<&str> = said.lines().filter(|line| line.starts_with("problem: ")).collect();
        let [problem] = problems.as_slice() else { panic!("{said}") };
        let start = "problem: view public.gone, which a client has made: ";
        assert!(problem.starts_with(start) && problem.ends_with("(42P01)"), "{said}");
    }

    #[tokio::test]
    async fn a_busy_address_is_told_with_the_key_that_changes_it() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = holder.local_addr().unwrap();
        let rows = [
            ("listen", format!("listen = \"{taken}\"\nhttp.listen = \"off\"\nauth.trust = true\n[roles.ada]\n")),
            ("http.listen", format!("listen = \"127.0.0.1:0\"\nhttp.listen = \"{taken}\"\nauth.trust = true\n[roles.ada]\n")),
        ];
        for (key, main) in rows {
            let (outcome, said) = checked(&[("tributary.toml", &main)], false).await;
            assert_eq!(outcome, Outcome::Problems);
            let told = format!("problem: cannot listen on {taken}, which is in use (58000)\n");
            assert!(said.contains(&told) && said.contains(&format!("with the key {key} in tributary.toml.")), "{said}");
        }
    }

    #[tokio::test]
    async fn a_certificate_that_cannot_be_used_is_told() {
        let main = format!("tls = {{ certificate = \"c.pem\", key = \"c.pem\" }}\n{TRUSTING}");
        let (outcome, said) = checked(&[("tributary.toml", &main), ("c.pem", "nothing")], false).await;
        assert_eq!(outcome, Outcome::Problems);
        assert!(said.contains("problem: TLS file \"DIR/c.pem\" cannot be used: it holds no certificate (22023)"), "{said}");
    }

    #[tokio::test]
    async fn names_in_store_files_that_their_stores_do_not_have_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("shop.db");
        let mut database =
            SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&file).create_if_missing(true)).await.unwrap();
        let script =
            "CREATE TABLE reviews (id INTEGER PRIMARY KEY, doc TEXT); CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT);
            INSERT INTO reviews VALUES (1, '{\"stars\": 5}'); INSERT INTO notes VALUES (1, '{\"at\": \"x\"}')";
        database.execute(script).await.unwrap();
        database.close().await.unwrap();
        let store = format!("kind = \"sqlite\"\npath = \"{}\"\n", file.display());
        let sound = "[tables.reviews]\ndocument = \"doc\"\n[namespaces]\nmain = \"front\"\n";
        let (outcome, said) =
            checked(&[("tributary.toml", TRUSTING), ("stores/shop.toml", &format!("{store}{sound}"))], false).await;
        assert_eq!(outcome, Outcome::Success, "{said}");
        let strays = "[tables.reveiws]\ndocument = \"doc\"\n[tables.notes]\ndocument = \"boby\"\n[tables.reviews]\ndocument = \"doc\"\n\
            [tables.reviews.columns]\nstrars = \"bigint\"\nweather = \"text\"\n[namespaces]\nmian = false\naudit = \"trail\"\n";
        let (outcome, said) =
            checked(&[("tributary.toml", TRUSTING), ("stores/shop.toml", &format!("{store}{strays}"))], false).await;
        assert_eq!(outcome, Outcome::Problems);
        let told = "\nproblem: stores.shop.namespaces.audit: \"trail\" is set for a namespace in which the store has no table\n\
            problem: stores.shop.namespaces.mian: false is set for a namespace in which the store has no table; perhaps \"main\"\n\
            problem: stores.shop.tables.notes.document: \"boby\" is no column of the table; perhaps \"body\"\n\
            problem: stores.shop.tables.reviews: \"strars\" is declared, and no document that was looked at has it; perhaps \"stars\"\n\
            problem: stores.shop.tables.reveiws: names nothing that the store has; perhaps \"reviews\"\n\n5 problems found\n\
            \nnote: stores.shop.tables.reviews: \"weather\" is declared, and no document that was looked at has it\n";
        assert!(said.ends_with(told), "{said}");
    }

    #[tokio::test]
    async fn the_http_address_is_told_with_the_scheme_that_it_speaks() {
        let main = "listen = \"127.0.0.1:0\"\nhttp.listen = \"127.0.0.1:0\"\nauth.trust = true\n[roles.ada]\n";
        let with_tls = format!("tls = {{ certificate = \"c.pem\", key = \"c.pem\" }}\n{main}");
        for (main, expected) in
            [(main, "\nhttp       http://127.0.0.1:0\n"), (with_tls.as_str(), "\nhttp       https://127.0.0.1:0\n")]
        {
            let (_, said) = checked(&[("tributary.toml", main), ("c.pem", "nothing")], false).await;
            assert!(said.contains(expected), "{said}");
        }
    }

    #[tokio::test]
    async fn tables_of_namespaces_that_are_left_out_are_not_counted() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("shop.db");
        let mut database =
            SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&file).create_if_missing(true)).await.unwrap();
        database.execute("CREATE TABLE a (id INTEGER PRIMARY KEY, x TEXT); CREATE TABLE b (id INTEGER PRIMARY KEY)").await.unwrap();
        database.close().await.unwrap();
        for (lines, expected) in [("", ["2", "3", "0"]), ("[namespaces]\nmain = false\n", ["0", "0", "0"])] {
            let store = format!("kind = \"sqlite\"\npath = \"{}\"\n{lines}", file.display());
            let (outcome, said) = checked(&[("tributary.toml", TRUSTING), ("stores/shop.toml", &store)], false).await;
            assert_eq!(outcome, Outcome::Success, "{said}");
            let row: Vec<&str> = said.lines().find(|line| line.starts_with("shop")).unwrap().split_whitespace().collect();
            assert_eq!(row[row.len() - 3..], expected, "{said}");
        }
    }

    #[test]
    fn places_are_counted_in_characters() {
        for (position, expected) in [(0, (1, 1)), (1, (1, 1)), (4, (2, 1)), (5, (2, 2)), (99, (2, 4))] {
            let view = ViewSource { name: "v".to_owned(), sql: "äb\ncdé".to_owned() };
            assert_eq!(view.line_and_column(position), expected, "{position}");
        }
    }
}
