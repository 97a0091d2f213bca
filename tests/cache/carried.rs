//! What a session has written and seen, carried to another connection and to another instance by `tributary.token`.

use super::copies::{OF_ANY_AGE, reader, served, until_cached};
use super::world::{self, TABLES, cached};
use crate::changes::follow::until_streaming;
use crate::changes::room::{self, LOG, Room};
use crate::commit::stage::START;
use crate::commit::{Said, ask, eventually};
use crate::support::gate::Gate;
use crate::support::proxy::{self, Place};

const BALANCE: &str = "SELECT balance FROM pg.accounts WHERE _id = 1";
/// How a session reads that wants the copy, and not before it has what it must have.
const FAILS: [(&str, &str); 1] = [("on_stale", "error")];

#[tokio::test(flavor = "multi_thread")]
async fn a_token_carries_writes_to_another_instance_over_postgres_whose_copy_is_behind() {
    let server = room::postgres().await;
    let database = proxy::fresh(server, &world::statements()).await;
    let place = Place::new();
    place.postgres("pg", server, &database, &format!("{LOG}{}", cached(&TABLES)));
    let first = Box::pin(Room::open(place)).await;
    until_streaming(first.session(), "pg", &TABLES).await;
    let gate = Gate::to(server.host(), server.port()).await;
    let open = gate.open().await;
    let place = Place::new();
    let login = format!("port = {}\nuser = \"{}\"\npassword = \"{}\"\n", gate.port(), server.user(), server.password());
    let text = format!("kind = \"postgres\"\n{login}database = \"{database}\"\ndeadline = \"2s\"\n{LOG}{}", cached(&TABLES));
    place.write("stores/pg.toml", &text);
    let second = Box::pin(Room::open(place)).await;
    until_streaming(second.session(), "pg", &TABLES).await;
    until_cached(second.session(), "pg", &TABLES).await;
    // Its copy stays as it is from now on.
    open.freeze();
    let session = first.session();
    session.answer("UPDATE pg.accounts SET balance = 5000 WHERE _id = 1").await;
    let token = session.answer("SHOW tributary.token").await;
    assert!(!token.is_empty() && token.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{token}");
    let address = second.server().addresses()[0];
    let without = reader(address, &FAILS).await;
    assert_eq!(without.answer(BALANCE).await, START.to_string(), "one that knows of nothing reads what is there");
    let with = reader(address, &FAILS).await;
    with.answer(&format!("SET tributary.token = '{token}'")).await;
    assert_eq!(ask(&with, BALANCE).await, Err(Said::Code("55000".to_owned())));
    // It carries on from there.
    let onwards = with.answer("SHOW tributary.token").await;
    let third = reader(address, &FAILS).await;
    third.answer(&format!("SET tributary.token = '{onwards}'")).await;
    assert_eq!(ask(&third, BALANCE).await, Err(Said::Code("55000".to_owned())));
    third.answer("SET tributary.token = ''").await;
    assert_eq!(third.answer(BALANCE).await, START.to_string(), "a token that was cleared");
    let careless = reader(address, &OF_ANY_AGE).await;
    careless.answer(&format!("SET tributary.token = '{token}'")).await;
    assert_eq!(careless.answer(BALANCE).await, START.to_string());
    open.shut().await;
    let _open = gate.open().await;
    let before = served(&with, ("pg", "accounts")).await;
    let caught_up = async || ask(&with, BALANCE).await.ok();
    assert_eq!(eventually("a copy that has what was written", caught_up).await, ["5000"]);
    assert!(served(&with, ("pg", "accounts")).await > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_merged_and_what_is_none_is_refused() {
    let world = world::of_sqlite().await;
    let (one, other, third) = (world.reader(&[]).await, world.reader(&[]).await, world.reader(&[("on_stale", "wait")]).await);
    one.answer("UPDATE file.accounts SET balance = 5001 WHERE _id = 1").await;
    other.answer("UPDATE file.accounts SET balance = 5002 WHERE _id = 2").await;
    for session in [&other, &one] {
        let token = session.answer("SHOW tributary.token").await;
        third.answer(&format!("SET tributary.token = '{token}'")).await;
    }
    let both = "SELECT balance FROM file.accounts WHERE _id IN (1, 2) ORDER BY _id";
    assert_eq!(third.answer(both).await, "5001\n5002");
    let merged = third.answer("SHOW tributary.token").await;
    assert!(!merged.is_empty());
    // Neither RESET nor DISCARD forgets what was written.
    third.answer("RESET ALL").await;
    third.answer("DISCARD ALL").await;
    assert_eq!(third.answer("SHOW tributary.token").await, merged);
    let token = one.answer("SHOW tributary.token").await;
    let (cut, turned) = (token[..token.len() / 2].to_owned(), token.chars().rev().collect::<String>());
    for wrong in ["x", "{}", "AAAA", "....", cut.as_str(), turned.as_str()] {
        let failure = third.failure(&format!("SET tributary.token = '{wrong}'")).await;
        assert_eq!(failure.code, "22023", "{wrong}: {failure:?}");
    }
    let long = "A".repeat(1 << 20);
    assert_eq!(third.failure(&format!("SET tributary.token = '{long}'")).await.code, "54000");
    assert_eq!(third.answer(both).await, "5001\n5002");
}
