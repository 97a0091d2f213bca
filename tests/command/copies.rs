//! What `check` says of copies: which tables would be cached, as the files and clients have asked for it, and what keeps the others from it.

use super::feeds::said;
use super::{text, tributary};
use crate::changes::room::{self, OUTBOX};
use crate::support::proxy::Place;

const TABLES: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE notes (id INTEGER PRIMARY KEY, v TEXT);
    CREATE TABLE keyless (v TEXT);";

/// The lines about copies, without the spaces that align them.
fn lines(told: &str) -> Vec<String> {
    let Some((_, section)) = told.split_once("\ncopies of ") else { return Vec::new() };
    let rows = section.lines().skip(1).take_while(|line| !line.is_empty());
    let cells = |line: &str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join("|");
    // What goes to stderr is behind it.
    rows.filter(|line| !line.starts_with("connecting to ")).map(cells).collect()
}

fn checked(place: &Place) -> (Vec<String>, String, Option<i32>) {
    let (told, code) = said(&["check", place.path().to_str().unwrap()]);
    (lines(&told), told, code)
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_which_tables_of_a_file_would_be_cached_and_why_others_are_not() {
    let place = Place::new();
    let asked = "changes.tables = [\"orders\", \"keyless\", \"nots\"]\nchanges.cached = [\"main.*\", \"ordres\"]\n";
    place.sqlite_with("file", TABLES, &format!("{OUTBOX}{asked}")).await;
    place.sqlite("still", "CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    let (lines, told, code) = checked(&place);
    // Nothing of that is a problem: tables that are not cached are read in their store.
    assert_eq!(code, Some(0), "{told}");
    let line = |table: &str| {
        let found = lines.iter().find(|line| line.starts_with(&format!("file|{table}|")));
        found.unwrap_or_else(|| panic!("nothing of {table}: {told}")).as_str()
    };
    assert_eq!(line("main.orders"), "file|main.orders|cached");
    assert!(line("main.keyless").starts_with("file|main.keyless|store-only|it has no primary key|"), "{told}");
    let left_out = "file|main.notes|store-only|changes.tables in the file of store \"file\" leaves it out";
    assert_eq!(line("main.notes"), left_out);
    assert!(line("ordres").starts_with("file|ordres|none|no table that is served has this name|"), "{told}");
    assert_eq!(lines.len(), 4, "{told}");
    assert!(told.contains("no table that is served has the name \"nots\""), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_of_tables_of_a_file_that_clients_have_asked_for() {
    let (mut room, _native) =
        room::of_sqlite(TABLES, &format!("{OUTBOX}changes.cached = [\"orders\"]\n"), &["orders", "notes"]).await;
    room.session().answer("ALTER TABLE file.notes SET (tributary.cached = true)").await;
    room.session().answer("ALTER TABLE file.orders SET (tributary.cached = false)").await;
    assert_eq!(checked(&room.place).0, ["file|main.notes|cached"]);
    room.stop().await;
    assert_eq!(checked(&room.place).0, ["file|main.notes|cached"]);
    // Where the store has no feed any more, nothing follows its tables.
    room.place.write("stores/file.toml", "kind = \"sqlite\"\npath = \"file.db\"\n");
    let (lines, _, code) = checked(&room.place);
    assert_eq!(lines, ["file|main.notes|store-only|the file of store \"file\" asks for no feed of changes"]);
    assert_eq!(code, Some(0));
    room.place.write(".state/cached.json", "{\"format\":1,\"content\":\"x\"}");
    let output = tributary(&["check", room.place.path().to_str().unwrap()], "");
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("cached.json is damaged"), "{told}");
}
