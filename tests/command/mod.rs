//! The command line as its users run it: the program itself, on real directories and servers.

mod copies;
mod feeds;
mod secrets;
mod serving;
mod surveys;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::support;

fn tributary(arguments: &[&str], input: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    program.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    program.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn write(directory: &Path, name: &str, content: &str) {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

#[tokio::test]
async fn postgres_accepts_a_verifier_of_the_password_command() {
    let server = support::postgres().await;
    let login = PgConnectOptions::new_without_pgpass().host(server.host()).port(server.port()).database("postgres");
    let mut owner = PgConnection::connect_with(&login.clone().username(server.user()).password(server.password())).await.unwrap();
    // SASLprep makes one password of the two forms of "ü" (RFC 4013), and maps the wide space to a plain one.
    for (role, typed, sent) in
        [("verifier_plain", "correct horse", "correct horse"), ("verifier_prepared", "u\u{308}\u{3000}x", "ü x")]
    {
        let made = tributary(&["password", "--iterations", "5000"], &format!("{typed}\n"));
        assert!(made.status.success(), "{}", text(&made.stderr));
        let verifier = text(&made.stdout);
        assert!(verifier.starts_with("SCRAM-SHA-256$5000:"), "{verifier}");
        owner.execute(AssertSqlSafe(format!("DROP ROLE IF EXISTS {role}"))).await.unwrap();
        owner.execute(AssertSqlSafe(format!("CREATE ROLE {role} LOGIN PASSWORD '{}'", verifier.trim()))).await.unwrap();
        let role = login.clone().username(role);
        PgConnection::connect_with(&role.clone().password(sent)).await.unwrap();
        assert!(PgConnection::connect_with(&role.password("wrong")).await.is_err());
    }
}

#[test]
fn passwords_that_cannot_be_used_are_refused() {
    for (arguments, input, expected) in [
        (&["password"][..], "\n", "tributary: the password is empty; --generate makes one\n"),
        (&["password"][..], &"x".repeat(1025), "tributary: the password is longer than 1024 bytes\n"),
    ] {
        let refused = tributary(arguments, input);
        assert_eq!((refused.status.code(), text(&refused.stderr).as_str()), (Some(1), expected));
        assert!(refused.stdout.is_empty());
    }
    assert_eq!(tributary(&["password", "--iterations", "1"], "x\n").status.code(), Some(2));
    let made = tributary(&["password", "--generate"], "");
    assert!(text(&made.stderr).starts_with("Password (shown only now): "), "{}", text(&made.stderr));
    assert!(text(&made.stdout).starts_with("SCRAM-SHA-256$4096:"));
}

#[test]
fn every_subcommand_tells_its_options_and_its_exit_codes() {
    let help = text(&tributary(&["help"], "").stdout);
    for name in ["serve", "check", "demo", "password", "uninstall"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(name)), "{help}");
        let own = tributary(&["help", name], "");
        assert!(own.status.success() && text(&own.stdout).starts_with(char::is_uppercase), "{}", text(&own.stdout));
    }
    assert!(help.contains("Exit codes:"), "{help}");
    for (name, words) in [
        ("serve", "SIGHUP"),
        ("serve", "Exit codes:"),
        ("check", "Exit codes:"),
        ("check", "--security"),
        ("uninstall", "Exit codes:"),
        ("uninstall", "--dry-run"),
    ] {
        assert!(text(&tributary(&["help", name], "").stdout).contains(words), "{name}: {words}");
    }
    assert_eq!(tributary(&["check"], "").status.code(), Some(2));
    assert_eq!(tributary(&["uninstall", "."], "").status.code(), Some(2));
}

#[test]
fn check_security_ends_with_1_for_a_weak_setting_and_with_0_for_a_note() {
    let catalog = tempfile::tempdir().unwrap();
    let directory = catalog.path().to_str().unwrap();
    let verifier = text(&tributary(&["password"], "correct horse\n").stdout);
    let file = catalog.path().join("tributary.toml");
    let main = |lines: &str| {
        format!("listen = \"127.0.0.1:0\"\nhttp.listen = \"off\"\n{lines}[roles.ada]\npassword = \"{}\"\n", verifier.trim())
    };
    let rows = [("", 0o600, 0), ("auth.trust = true\n", 0o600, 1), ("", 0o644, 1)];
    for (lines, mode, expected) in rows {
        write(catalog.path(), "tributary.toml", &main(lines));
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let checked = tributary(&["check", directory], "");
        assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stdout));
        let checked = tributary(&["check", "--security", directory], "");
        let said = text(&checked.stdout);
        assert_eq!(checked.status.code(), Some(expected), "{said}");
        assert_eq!(said.contains("\nweak: "), expected == 1, "{said}");
        assert!(said.contains("\nnote: tributary.tls: "), "{said}");
    }
}

#[tokio::test]
async fn check_tells_what_it_found_in_postgres_and_what_it_could_not_reach() {
    let server = support::postgres().await;
    let database = server.fresh_database().await.unwrap();
    let login = PgConnectOptions::new_without_pgpass().host(server.host()).port(server.port()).database(&database);
    let mut owner = PgConnection::connect_with(&login.username(server.user()).password(server.password())).await.unwrap();
    owner.execute("CREATE TABLE orders (id int PRIMARY KEY, note text)").await.unwrap();
    let catalog = tempfile::tempdir().unwrap();
    write(catalog.path(), "tributary.toml", "listen = \"127.0.0.1:0\"\nhttp.listen = \"off\"\nauth.trust = true\n[roles.ada]\n");
    write(catalog.path(), "password", server.password());
    let store = format!(
        "kind = \"postgres\"\nport = {}\nuser = \"{}\"\ndatabase = \"{database}\"\npassword = {{ file = \"password\" }}\n",
        server.port(),
        server.user()
    );
    write(catalog.path(), "stores/shop.toml", &store);
    let directory = catalog.path().to_str().unwrap();
    let sound = tributary(&["check", directory], "");
    let said = text(&sound.stdout);
    assert_eq!(sound.status.code(), Some(0), "{said}{}", text(&sound.stderr));
    let row: Vec<&str> = said.lines().find(|line| line.starts_with("shop")).unwrap().split_whitespace().collect();
    assert_eq!((row[1], &row[row.len() - 3..]), ("postgres", &["1", "2", "0"][..]), "{said}");

    write(catalog.path(), "stores/crm.toml", &store.replace(&database, "no_such_database"));
    let broken = tributary(&["check", directory], "");
    let said = text(&broken.stdout);
    assert_eq!(broken.status.code(), Some(1), "{said}");
    assert!(said.contains("\nproblem: store \"crm\" cannot be reached"), "{said}");
    assert!(said.contains("no_such_database"), "{said}");
    assert!(!said.contains(server.password()));
    assert!(said.lines().any(|line| line.starts_with("shop")), "{said}");
}

#[tokio::test]
async fn check_tells_what_the_role_may_not_read_in_postgres_and_passes_over_what_is_left_out() {
    let server = support::postgres().await;
    let database = server.fresh_database().await.unwrap();
    let login = PgConnectOptions::new_without_pgpass().host(server.host()).port(server.port()).database(&database);
    let mut owner = PgConnection::connect_with(&login.username(server.user()).password(server.password())).await.unwrap();
    let reader = format!("reader_of_{database}");
    let statements = [
        format!("CREATE ROLE {reader} LOGIN PASSWORD 'check'"),
        "CREATE TABLE orders (id int PRIMARY KEY, note text)".to_owned(),
        "CREATE TABLE wages (id int PRIMARY KEY)".to_owned(),
        "CREATE SCHEMA vault".to_owned(),
        "CREATE TABLE vault.gold (id int PRIMARY KEY)".to_owned(),
        "CREATE TABLE vault.silver (id int PRIMARY KEY)".to_owned(),
        "CREATE SCHEMA audit".to_owned(),
        "CREATE TABLE audit.entries (id int PRIMARY KEY, at timestamp, note text)".to_owned(),
        format!("GRANT USAGE ON SCHEMA audit TO {reader}"),
        format!("GRANT SELECT ON orders, vault.gold, audit.entries TO {reader}"),
    ];
    for statement in statements {
        owner.execute(AssertSqlSafe(statement)).await.unwrap();
    }
    let catalog = tempfile::tempdir().unwrap();
    write(catalog.path(), "tributary.toml", "listen = \"127.0.0.1:0\"\nhttp.listen = \"off\"\nauth.trust = true\n[roles.ada]\n");
    let store = format!(
        "kind = \"postgres\"\nport = {}\nuser = \"{reader}\"\ndatabase = \"{database}\"\npassword = \"check\"\n",
        server.port()
    );
    let told = "store \"shop\" leaves out public.wages: may not be read by the role of this store\n";
    let vault = "store \"shop\" leaves out vault.gold, vault.silver: schema \"vault\" may not be used by the role of this store\n";
    let rows = [
        ("", ["2", "5", "3"], true),
        ("[namespaces]\naudit = false\n", ["1", "2", "3"], true),
        ("[namespaces]\naudit = false\nvault = false\n", ["1", "2", "1"], false),
    ];
    for (lines, expected, tells_vault) in rows {
        write(catalog.path(), "stores/shop.toml", &format!("{store}{lines}"));
        let checked = tributary(&["check", catalog.path().to_str().unwrap()], "");
        let said = text(&checked.stdout);
        assert_eq!(checked.status.code(), Some(0), "{said}{}", text(&checked.stderr));
        let row: Vec<&str> = said.lines().find(|line| line.starts_with("shop")).unwrap().split_whitespace().collect();
        assert_eq!(row[row.len() - 3..], expected, "{said}");
        assert!(said.contains(told), "{said}");
        assert_eq!(said.contains(vault), tells_vault, "{said}");
    }
}

#[tokio::test]
async fn check_tells_a_database_that_a_mariadb_server_does_not_have() {
    let server = support::mariadb().await;
    let database = server.fresh_database().await.unwrap();
    let catalog = tempfile::tempdir().unwrap();
    write(catalog.path(), "tributary.toml", "listen = \"127.0.0.1:0\"\nhttp.listen = \"off\"\nauth.trust = true\n[roles.ada]\n");
    write(catalog.path(), "password", server.password());
    let store = format!(
        "kind = \"mariadb\"\nport = {}\nuser = \"{}\"\ndatabase = \"{database}\"\npassword = {{ file = \"password\" }}\n",
        server.port(),
        server.user()
    );
    let directory = catalog.path().to_str().unwrap();
    for (named, expected) in [(database.clone(), 0), (format!("{database}x"), 1)] {
        write(catalog.path(), "stores/crm.toml", &store.replace(&database, &named));
        let checked = tributary(&["check", directory], "");
        let said = text(&checked.stdout);
        assert_eq!(checked.status.code(), Some(expected), "{said}{}", text(&checked.stderr));
        let told = format!("\"{named}\" is no database that the server tells of; perhaps \"{database}\"");
        assert_eq!(said.contains(&told), expected == 1, "{said}");
    }
}
