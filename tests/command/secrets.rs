//! Passwords and connection strings are shown nowhere: not by `check`, not in the log at its most talkative, not to a client,
//! and not in `Debug`.

use tributary::config;

use super::serving::Serving;
use super::{text, tributary, write};
use crate::support::{self, proxy};

/// The password of every store, also as it stands in a connection string.
const NEEDLES: [&str; 2] = ["hunter2@needle/", "hunter2%40needle%2F"];

fn assert_hidden(place: &str, said: &str) {
    for needle in NEEDLES {
        assert!(!said.contains(needle), "{place} shows a password:\n{said}");
    }
    assert!(!said.contains("hunter2"), "{place} shows a part of a password:\n{said}");
}

/// Every store kind with a password that is wrong, and with a server that is not there.
async fn stores() -> Vec<(&'static str, String)> {
    let (postgres, mariadb, mongodb) = (support::postgres().await, support::mariadb().await, support::mongodb().await);
    let [plain, encoded] = NEEDLES;
    let login = |kind: &str, port: u16, user: &str| {
        format!(
            "kind = \"{kind}\"\nport = {port}\nuser = \"{user}\"\npassword = \"{plain}\"\ndatabase = \"d\"\nconnect_timeout = \"3s\"\n"
        )
    };
    let timeouts = "connect_timeout = \"3s\"\nserver_selection_timeout = \"3s\"\n";
    let parts = |host: &str, port: u16, user: &str| {
        format!(
            "kind = \"mongodb\"\nhosts = [\"{host}:{port}\"]\nuser = \"{user}\"\npassword = \"{plain}\"\ndatabase = \"d\"\n{timeouts}"
        )
    };
    let uri = |user: &str, host: &str, port: u16| {
        format!("kind = \"mongodb\"\nuri = \"mongodb://{user}:{encoded}@{host}:{port}/d\"\n{timeouts}")
    };
    vec![
        ("elephant_wrong", login("postgres", postgres.port(), postgres.user())),
        ("elephant_away", login("postgres", 1, "u")),
        ("my_wrong", login("mariadb", mariadb.port(), mariadb.user())),
        ("my_away", login("mariadb", 1, "u")),
        ("mongo_wrong", parts(mongodb.host(), mongodb.port(), mongodb.user())),
        ("mongo_away", parts("127.0.0.1", 1, "u")),
        ("mongo_uri_wrong", uri(mongodb.user(), mongodb.host(), mongodb.port())),
        ("mongo_uri_away", uri("u", "127.0.0.1", 1)),
        ("lite_away", format!("kind = \"sqlite\"\npath = \"no/such/file.db\"\n# {plain}\n")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_postgres_mariadb_or_mongodb_refuses_is_shown_nowhere() {
    let catalog = tempfile::tempdir().unwrap();
    let main = "listen = \"127.0.0.1:0\"\nhttp.listen = \"off\"\nauth.trust = true\nlog.level = \"trace\"\n[roles.ada]\n";
    write(catalog.path(), "tributary.toml", main);
    let stores = stores().await;
    for (name, file) in &stores {
        write(catalog.path(), &format!("stores/{name}.toml"), file);
    }
    assert_hidden("Debug", &format!("{:#?}", config::load(catalog.path()).unwrap()));

    let checked = tributary(&["check", "--security", catalog.path().to_str().unwrap()], "");
    let said = format!("{}{}", text(&checked.stdout), text(&checked.stderr));
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert_hidden("check", &said);
    for (name, _) in &stores {
        assert!(said.contains(&format!("problem: store \"{name}\"")), "{name} failed without a word:\n{said}");
    }

    let server = Serving::start(catalog.path());
    let mut login = tokio_postgres::Config::new();
    login.host("127.0.0.1").port(server.address.port()).user("ada").dbname("tributary");
    let session = proxy::open(&login).await.unwrap();
    for (name, _) in &stores {
        let failure = session.failure(&format!("SELECT 'a value', * FROM {name}.t WHERE x = 'another value'")).await;
        assert!(failure.message.contains(name), "{failure:?}");
        assert_hidden(name, &format!("{failure:?}"));
    }
    assert_hidden("a table", &session.answer("SELECT * FROM pg_settings").await);
    drop(session);
    let log = server.end();
    assert_hidden("the log", &log);
    assert!(!log.contains("another value") && !log.contains("SELECT"), "the log shows a statement:\n{log}");
    for (name, _) in &stores {
        assert!(log.contains(name), "{name} failed without a word in the log:\n{log}");
    }
}

#[test]
fn a_connection_string_in_the_wrong_place_is_not_repeated() {
    let catalog = tempfile::tempdir().unwrap();
    write(
        catalog.path(),
        "tributary.toml",
        "listen = \"127.0.0.1:0\"\nhttp.listen = \"off\"\nauth.trust = true\n[roles.ada]\npassword = \"hunter2\"\n",
    );
    let files = [
        ("a", "kind = \"mongodb\"\ndatabase = \"d\"\nhosts = [\"mongodb://u:hunter2@h:1/d\"]\n"),
        ("b", "kind = \"mongodb\"\nuri = \"mongodb://u:hunter2@:::/d\"\n"),
        ("c", "kind = \"postgres\"\nuser = \"u\"\ndatabase = \"d\"\npasword = \"hunter2\"\n"),
        ("d", "kind = \"postgres\"\nuser = \"u\"\ndatabase = \"d\"\npassword = [\"hunter2\"]\n"),
        ("e", "kind = \"postgre\"\nuser = \"u\"\npassword = \"hunter2\n"),
        ("f", "kind = \"mariadb\"\nuser = \"u\"\ndatabase = \"d\"\npassword = { fil = \"hunter2\" }\n"),
    ];
    for (name, file) in files {
        write(catalog.path(), &format!("stores/{name}.toml"), file);
    }
    let checked = tributary(&["check", catalog.path().to_str().unwrap()], "");
    let said = format!("{}{}", text(&checked.stdout), text(&checked.stderr));
    assert_eq!(checked.status.code(), Some(1), "{said}");
    for place in ["tributary.roles.ada.password", "stores.a", "stores.b", "stores.c", "stores.d", "stores.e", "stores.f"] {
        assert!(said.contains(&format!("problem: {place}")), "{place}:\n{said}");
    }
    assert_hidden("check", &said);
}
