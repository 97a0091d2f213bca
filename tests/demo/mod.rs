//! The demo as its users start it, but inside the test's process: what it shows, keeps and leaves alone.

mod expected;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tributary::command::demo::{self, Arguments};

/// Frames of the planner are large without optimisation; the program's own threads have as much.
const STACK_BYTES: usize = 16 << 20;

/// How often the demo is run at most until it shows what a machine that is too slow may keep from it.
const RUNS: usize = 5;

/// Runs the demo to its end and returns what it wrote, or its error.
fn try_demo(directory: &Path, servers: bool, port: u16) -> Result<String, String> {
    let arguments = Arguments { servers, data_dir: Some(directory.to_owned()), port, once: true };
    let work = move || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.thread_stack_size(STACK_BYTES).enable_all().build().unwrap();
        let mut output = Vec::new();
        let ended = runtime.block_on(demo::run(&arguments, &mut output));
        ended.map(|_| String::from_utf8(output).unwrap()).map_err(|error| error.to_string())
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).unwrap().join().unwrap()
}

fn run_demo(directory: &Path) -> String {
    try_demo(directory, false, free_port()).unwrap_or_else(|error| panic!("{error}"))
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn password(directory: &Path) -> String {
    fs::read_to_string(directory.join("password")).unwrap()
}

/// The three tables that the demo showed, as rows of cells.
fn tables(output: &str) -> Vec<Vec<Vec<String>>> {
    let lines: Vec<&str> = output.lines().collect();
    let is_rule = |line: &str| line.starts_with("--") && line.chars().all(|c| "-+".contains(c));
    let starts = lines.iter().enumerate().filter(|(_, line)| is_rule(line)).map(|(at, _)| at + 1);
    // The first column keeps its indentation, which is part of the answer.
    let cells = |line: &str| -> Vec<String> {
        let cells = line.split('|').map(|cell| cell.get(1..).unwrap_or_default().trim_end()).enumerate();
        cells.map(|(place, cell)| if place == 0 { cell.to_owned() } else { cell.trim().to_owned() }).collect()
    };
    let table = |start: usize| lines[start..].iter().take_while(|line| !line.starts_with('(')).map(|line| cells(line));
    starts.map(|start| table(start).collect()).collect()
}

/// Every file below a directory with its size and the time of its last change.
fn listing(directory: &Path) -> BTreeMap<String, (u64, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let (path, about) = (entry.path(), entry.metadata().unwrap());
            if about.is_dir() {
                open.push(path);
            } else {
                found.insert(path.display().to_string(), (about.len(), about.modified().unwrap()));
            }
        }
    }
    found
}

#[test]
fn a_second_demo_finds_the_same_rows_and_the_same_password() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let before = ["catalog", "src"].map(|below| listing(&checkout.join(below)));
    let outside = tempfile::tempdir().unwrap();
    let first = run_demo(outside.path());
    let databases = listing(&outside.path().join("databases"));
    let secret = password(outside.path());
    let second = run_demo(outside.path());
    assert!(first.contains("Building the demo's databases") && !second.contains("Building"), "{second}");
    assert_eq!(password(outside.path()), secret);
    assert_eq!(tables(&first), tables(&second));
    // Nothing answers any more, so no line to connect with is shown.
    assert!(!first.contains("psql \"") && !first.contains(&secret), "{first}");
    // What is written in the course of it has been taken back in three of them; nothing else was written.
    let after = listing(&outside.path().join("databases"));
    let names = |files: &BTreeMap<String, _>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&databases), names(&after));
    assert_eq!(databases.len(), 5, "{databases:?}");
    let is_written = |file: &str| ["hydro.db", "crew.db", "archive.db"].iter().any(|written| file.ends_with(written));
    for (file, about) in databases.iter().filter(|(file, _)| !is_written(file)) {
        assert_eq!(after.get(file), Some(about), "{file}");
    }
    assert_eq!(before, ["catalog", "src"].map(|below| listing(&checkout.join(below))));
    for file in ["password", "catalog/tributary.toml"] {
        let mode = fs::metadata(outside.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} has mode {mode:o}");
    }
    // The verifier, never the password, is in the catalog.
    assert!(!fs::read_to_string(outside.path().join("catalog/tributary.toml")).unwrap().contains(&secret));
}

#[test]
fn the_three_answers_are_those_of_the_rows_themselves() {
    let outside = tempfile::tempdir().unwrap();
    let output = run_demo(outside.path());
    let shown = tables(&output);
    let rows = expected::Rows::read(&outside.path().join("databases"));
    let expected = [rows.tree(), rows.sightings(), rows.costs()];
    assert_eq!(shown.len(), expected.len(), "{output}");
    for (number, (shown, expected)) in shown.iter().zip(&expected).enumerate() {
        assert!(expected.len() >= 5, "query {} shows only {} rows", number + 1, expected.len());
        assert_eq!(shown, expected, "query {}:\n{output}", number + 1);
    }
    for (store, kind) in [("hydro", "sqlite"), ("crew", "sqlite"), ("archive", "sqlite"), ("field", "sqlite")] {
        assert!(output.contains(&format!("\n{store} ({kind}) sent ")), "{store} was not asked:\n{output}");
    }
    let (_, plan) = output.split_once("\n    EXPLAIN\n").unwrap();
    for told in [
        "FragmentExec: store=hydro, asked=SELECT ",
        "ScanExec: store=archive, ",
        ", keys=station_id",
        "\n Asked of archive: SELECT ",
    ] {
        assert!(plan.contains(told), "{told} is not in the plan:\n{plan}");
    }
}

#[test]
fn the_transaction_that_is_shown_is_kept_in_both_files_or_in_none_and_taken_back() {
    let outside = tempfile::tempdir().unwrap();
    let output = run_demo(outside.path());
    let (_, shown) = output.split_once("\n4. A new station and the first visit to it").unwrap();
    assert!(shown.contains("one transaction of attached files: hydro, crew"), "{shown}");
    let (_, alone) = shown.split_once("\n5. The first reading there").unwrap();
    assert!(alone.contains("INSERT INTO archive.readings") && alone.contains("\n single store: archive\n"), "{shown}");
    let count = |file: &str, sql: &'static str| number(outside.path(), file, sql);
    assert_eq!(count("hydro.db", "SELECT count(*) FROM stations WHERE id = 1001"), 0);
    assert_eq!(count("crew.db", "SELECT count(*) FROM visits WHERE id = 1001"), 0);
    assert_eq!(count("hydro.db", "SELECT count(*) FROM stations"), 46);
    assert_eq!(count("archive.db", "SELECT count(*) FROM readings WHERE station_id = 1001"), 0);
    // Neither is what was written behind the server, of which a client has heard.
    assert_eq!(heard(&output), ["crew.visits"]);
    assert_eq!(count("crew.db", "SELECT count(*) FROM visits WHERE id = 1002"), 0);
}

/// The number that a query of a file of the demo gives.
fn number(directory: &Path, file: &str, sql: &'static str) -> i64 {
    let path = directory.join("databases").join(file);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut connection).await.unwrap()
    })
}

/// Adds rows to a file of the demo, as another program does.
fn add(directory: &Path, file: &str, sql: &'static str) {
    let path = directory.join("databases").join(file);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        sqlx::Connection::close(connection).await.unwrap();
    });
}

#[test]
fn rows_of_the_user_are_left_alone_and_what_a_killed_demo_has_left_is_taken_back() {
    const VISITS: &str = "INSERT INTO visits VALUES (1001, 1001, 2, '2025-01-07', 980, 'set up the gauge'), \
        (1002, 12, 2, '2025-01-08', 120, 'seen by another program'), (1003, 12, 2, '2025-01-08', 5, 'left')";
    const MINE: &str = "SELECT count(*) FROM visits WHERE (id, cost) IN ((1001, 980), (1002, 120))";
    let outside = tempfile::tempdir().unwrap();
    run_demo(outside.path());
    let ask = |file: &str, sql: &'static str| number(outside.path(), file, sql);
    let before = ask("crew.db", "SELECT count(*) FROM visits");
    let add = |file: &str, sql: &'static str| add(outside.path(), file, sql);
    add("crew.db", VISITS);
    add("hydro.db", "INSERT INTO stations VALUES (1001, 1, 'Bonn', 655, '2025-01-07', 2050, 'mixed')");
    add("archive.db", "INSERT INTO readings VALUES (1004, '2025-01-07', 3.1, 2047.5, 4.9)");
    // As a demo that was killed leaves it.
    fs::write(outside.path().join("shown"), "1003").unwrap();
    for _start in 0..2 {
        let output = run_demo(outside.path());
        assert!(output.contains("INSERT INTO archive.readings") && output.contains("VALUES (1003, '2025-01-07', 3.1"), "{output}");
        assert_eq!(heard(&output), ["crew.visits"]);
        assert!(output.contains("\"key\":{\"id\":1005}"), "{output}");
        assert_eq!(ask("crew.db", MINE), 2);
        assert_eq!(ask("crew.db", "SELECT count(*) FROM visits"), before + 2);
        assert_eq!(ask("hydro.db", "SELECT count(*) FROM stations WHERE id = 1001"), 1);
        assert_eq!(ask("hydro.db", "SELECT count(*) FROM stations"), 47);
        assert_eq!(ask("archive.db", "SELECT count(*) FROM readings WHERE station_id > 1000"), 1);
        assert!(!outside.path().join("shown").exists());
    }
}

/// The rows of the view before and behind a write past the server, and what is said of where they come from.
fn followed(output: &str) -> (Vec<&str>, &str) {
    let (_, shown) = output.split_once("\n7. ").unwrap();
    let (shown, source) = shown.split_once("\n EXPLAIN ANALYZE of it says where that comes from:\n\n").unwrap();
    (
        shown.lines().filter_map(|line| line.strip_prefix(" Pettstadt | ")).collect(),
        source.split_once("\n\n").unwrap_or((source, "")).0,
    )
}

#[test]
fn a_view_over_two_stores_follows_a_write_past_the_server() {
    let outside = tempfile::tempdir().unwrap();
    let ask = |sql: &'static str| number(outside.path(), "crew.db", sql);
    run_demo(outside.path());
    let visits = ask("SELECT count(*) FROM visits WHERE station_id = 12");
    let cents = ask("SELECT CAST(round(sum(cost) * 100) AS INTEGER) FROM visits WHERE station_id = 12");
    // The second time the view is there already. Its query is run instead where the machine is so slow that the rows are older than asked for.
    let mut outputs = (0..RUNS).map(|_run| run_demo(outside.path()));
    let output =
        outputs.find(|output| followed(output).1.contains("Source: rows of the view")).expect("rows of the view were never read");
    let (rows, source) = followed(&output);
    let row = |visits: i64, cents: i64| format!("{visits} | {}.{:02}", cents / 100, cents % 100);
    assert_eq!(rows, [row(visits, cents), row(visits + 1, cents + 12_000)], "{output}");
    assert!(source.contains("Maintained: incrementally (public.visited)"), "{source}");
    assert_eq!(ask("SELECT count(*) FROM visits WHERE station_id = 12"), visits);
}

/// The channels of the notifications that the demo showed, each of which tells of an added row.
fn heard(output: &str) -> Vec<&str> {
    let (_, shown) = output.split_once("\n6. ").unwrap();
    let shown = shown.split_once("\n7. ").unwrap().0;
    let told =
        shown.lines().filter_map(|line| line.strip_prefix(" Asynchronous notification \"")?.split_once("\" with payload \""));
    told.map(|(channel, payload)| {
        assert!(payload.contains("\"row\":{") && payload.contains(&format!("\"table\":\"{channel}\"")), "{payload}");
        channel
    })
    .collect()
}

#[test]
fn a_demo_that_was_killed_while_building_starts_over() {
    let outside = tempfile::tempdir().unwrap();
    for left in ["demo.lock", "password"] {
        fs::write(outside.path().join(left), "").unwrap();
    }
    fs::create_dir(outside.path().join("databases.new")).unwrap();
    fs::write(outside.path().join("databases.new/hydro.db"), "SQLite format 3\0 and then the power failed").unwrap();
    let output = run_demo(outside.path());
    assert!(output.contains("Building the demo's databases"), "{output}");
    assert_eq!(password(outside.path()).len(), 24);
    assert!(!outside.path().join("databases.new").exists());
}

#[test]
fn a_busy_port_is_told_and_the_next_free_one_taken() {
    let outside = tempfile::tempdir().unwrap();
    let busy = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let wanted = busy.local_addr().unwrap().port();
    // Another demo may have the port of health, and give it back at any time.
    let health = TcpListener::bind(("127.0.0.1", 8455));
    let output = try_demo(outside.path(), false, wanted).unwrap();
    if health.is_ok() {
        let told = output.split_once("Port 8455 is busy; health is told on ").unwrap().1;
        let port: u16 = told.split_once(".\n").unwrap().0.parse().unwrap();
        assert!(port > 8455, "{output}");
    }
    let told = output.split_once(&format!("Port {wanted} is busy; the demo serves on ")).unwrap().1;
    let port: u16 = told.split_once(".\n").unwrap().0.parse().unwrap();
    assert!(port > wanted, "{port} {wanted}");
}

#[test]
fn postgres_mariadb_and_mongodb_give_the_same_answers() {
    let outside = tempfile::tempdir().unwrap();
    let embedded = run_demo(outside.path());
    let served = try_demo(outside.path(), true, free_port()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(tables(&served), tables(&embedded), "{served}");
    for asked in ["hydro (postgres)", "crew (mysql)", "archive (sqlite)", "field (mongodb)"] {
        assert!(served.contains(&format!("\n{asked} sent ")), "{asked} was not asked:\n{served}");
    }
    let promised = "\n    SHOW tributary.last_commit;\n\n last resource: hydro, crew; last: field\n";
    assert!(served.contains(promised), "{served}");
    assert!(served.contains("\n    SHOW tributary.last_commit;\n\n single store: archive\n"), "{served}");
    assert!(
        embedded.contains("\n    SHOW tributary.last_commit;\n\n one transaction of attached files: hydro, crew\n"),
        "{embedded}"
    );
    assert_eq!(heard(&served), ["hydro.stations", "crew.visits", "field.reports"]);
    assert_eq!(followed(&served).0, followed(&embedded).0);
    // The passwords of servers that have ended are not kept.
    assert!(!outside.path().join("catalog-of-servers").exists());
}

#[test]
fn postgres_psql_connects_with_the_printed_line_until_the_demo_ends() {
    let outside = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_tributary"));
    program.args(["demo", "--port", &free_port().to_string(), "--data-dir"]).arg(outside.path());
    let mut program = program.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
    let (mut connect, mut health) = (String::new(), String::new());
    for line in lines {
        if line.trim_start().starts_with("psql ") {
            connect = line.trim().to_owned();
        }
        if let Some(address) = line.strip_prefix("Health: http://").and_then(|rest| rest.strip_suffix("/health")) {
            health = address.to_owned();
        }
        if line == "Ctrl-C ends the demo." {
            break;
        }
    }
    assert!(std::net::TcpStream::connect(&health).is_ok(), "nothing listens on {health:?}");
    let sql = "SELECT regime, count(*) FROM gauges g JOIN low_water l ON l.station_id = g.id GROUP BY regime ORDER BY regime";
    let answer = Command::new("sh").arg("-c").arg(format!("{connect} --no-psqlrc -At -c '{sql}'")).output().unwrap();
    let said = String::from_utf8(answer.stdout).unwrap();
    let regimes: Vec<&str> = said.lines().map(|line| line.split('|').next().unwrap()).collect();
    assert_eq!(regimes, ["mixed", "rain", "spring"], "{}", String::from_utf8_lossy(&answer.stderr));
    let second = try_demo(outside.path(), false, free_port()).unwrap_err();
    assert!(second.contains("a demo is running already"), "{second}");
    assert!(Command::new("kill").arg(program.id().to_string()).status().unwrap().success());
    assert_eq!(program.wait().unwrap().code(), Some(0));
}
